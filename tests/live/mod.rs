//! Namespaces around one bridge, and the real binary in them.
//!
//! Needs root, `/dev/net/tun` and `ip`; says so and does nothing without them. Names of
//! namespaces hold the pid of the test, and are removed at its end.
#![allow(dead_code, reason = "not every test needs all of it")]

pub(crate) mod stored;

use std::cell::Cell;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use zt::base::Address;
use zt::crypto::rng::Rng;
use zt::crypto::{identity, sign};
use zt::wire::cursor::Writer;
use zt::wire::identity::SecretIdentity;
use zt::wire::world::{self, SIGNED_MAX_LEN, WORLD_MAX_LEN, WorldBuf, WorldKind};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_zerotier-one");
pub(crate) const PORT: u16 = 29_993;
/// Far above what anything here takes: only a hang meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program; its output if it succeeded.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

pub(crate) fn ip(arguments: &str) {
    let words: Vec<&str> = arguments.split(' ').collect();
    if let Err(error) = run("ip", &words) {
        panic!("{error}");
    }
}

/// Waits for something to become true.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs under test live in real time"
)]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Namespaces around one bridge, and a directory.
pub(crate) struct Lab {
    pub(crate) name: String,
    spaces: Cell<u8>,
    dir: PathBuf,
}

impl Lab {
    /// `None`: this machine cannot do it.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let name = format!("zt{}{test}", std::process::id());
        let root = nix::unistd::geteuid().is_root();
        let missing = if !root {
            Some("not root".to_owned())
        } else if !Path::new("/dev/net/tun").exists() {
            Some("no /dev/net/tun".to_owned())
        } else {
            run("ip", &["netns", "add", &format!("{name}-hub")]).err()
        };
        if let Some(why) = missing {
            eprintln!("SKIPPED, nothing was tested: {why}");
            return None;
        }
        ip(&format!("-n {name}-hub link add br0 type bridge"));
        ip(&format!("-n {name}-hub link set br0 up"));
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(&dir).expect("a directory");
        Some(Self {
            name,
            spaces: Cell::new(0),
            dir,
        })
    }

    /// A namespace on the bridge, with an address or without.
    pub(crate) fn space(&self, address: Option<&str>) -> String {
        let n = self.spaces.get() + 1;
        self.spaces.set(n);
        let (lab, space) = (&self.name, format!("{}-{n}", self.name));
        ip(&format!("netns add {space}"));
        ip(&format!("-n {space} link set lo up"));
        ip(&format!(
            "-n {space} link add eth0 type veth peer name port{n} netns {lab}-hub"
        ));
        ip(&format!("-n {lab}-hub link set port{n} master br0 up"));
        ip(&format!("-n {space} link set eth0 up"));
        if let Some(address) = address {
            ip(&format!("-n {space} addr add {address} dev eth0"));
        }
        space
    }

    pub(crate) fn home(&self, name: &str) -> PathBuf {
        let home = self.dir.join(name);
        fs::create_dir_all(&home).expect("a home");
        home
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for n in 1..=self.spaces.get() {
            let _ = run("ip", &["netns", "del", &format!("{}-{n}", self.name)]);
        }
        let _ = run("ip", &["netns", "del", &format!("{}-hub", self.name)]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A running service.
pub(crate) struct Service {
    process: Child,
    pub(crate) home: PathBuf,
    pub(crate) space: String,
}

impl Service {
    /// Starts it and waits for its control socket.
    pub(crate) fn start(space: &str, home: &Path) -> Self {
        Self::of(launch(space, home), space, home)
    }

    /// One that was started in another way.
    pub(crate) fn of(process: Child, space: &str, home: &Path) -> Self {
        let service = Self {
            process,
            home: home.to_owned(),
            space: space.to_owned(),
        };
        service.await_control();
        service
    }

    /// Starts it; the exit status and standard error of one that gives up. A deaf one has no
    /// control socket: its port file says that it works, so there must be none before.
    pub(crate) fn try_start(
        space: &str,
        home: &Path,
        deaf: bool,
    ) -> Result<Self, (Option<i32>, String)> {
        let mut service = Self {
            process: launch(space, home),
            home: home.to_owned(),
            space: space.to_owned(),
        };
        let mut ended = None;
        wait_for("a start or an end", || {
            ended = service.process.try_wait().expect("a child");
            let works = match deaf {
                true => home.join("zerotier-one.port").exists(),
                false => service.connect().is_some(),
            };
            ended.is_some() || works
        });
        match ended {
            None => Ok(service),
            Some(status) => Err((status.code(), service.log())),
        }
    }

    /// Starts it with mounts of its own, which a command of the shell makes.
    pub(crate) fn launch_behind(space: &str, home: &Path, mounts: &str) -> Self {
        let script = format!("{mounts} && exec {BINARY} -p{PORT} {}", home.display());
        let apart = ["unshare", "-m", "--propagation", "private"];
        let process = spawn(space, &[&apart[..], &["sh", "-c", &script]].concat());
        Self {
            process,
            home: home.to_owned(),
            space: space.to_owned(),
        }
    }

    /// The same, up to its control socket.
    pub(crate) fn start_behind(space: &str, home: &Path, mounts: &str) -> Self {
        let service = Self::launch_behind(space, home, mounts);
        service.await_control();
        service
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its own end; the exit status and what it had to say.
    pub(crate) fn end(&mut self) -> (Option<i32>, String) {
        let log = self.log();
        (self.process.wait().expect("gone").code(), log)
    }

    /// What it says until its end.
    fn log(&mut self) -> String {
        let mut log = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            stderr.read_to_string(&mut log).expect("a log");
        }
        log
    }

    pub(crate) fn await_control(&self) {
        wait_for("the control socket", || self.connect().is_some());
    }

    pub(crate) fn connect(&self) -> Option<UnixStream> {
        UnixStream::connect(self.home.join("zerotier-one.sock")).ok()
    }

    /// The reply to one command of the control socket.
    pub(crate) fn ask(&self, command: &str) -> String {
        let mut stream = self.connect().expect("a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        writeln!(stream, "{command}")
            .and_then(|()| writeln!(stream, "quit"))
            .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    /// Events of these classes from now on, until none comes for long.
    pub(crate) fn listen(&self, classes: &str) -> impl Iterator<Item = String> + use<> {
        let mut stream = self.connect().expect("a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        writeln!(stream, "monitor {classes}").expect("sent");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "200 monitor OK"));
        lines.filter(|line| line.starts_with('!'))
    }

    pub(crate) fn address(&self) -> Address {
        let text = fs::read_to_string(self.home.join("identity.public")).expect("an identity");
        Address::parse(text.get(..10).expect("an address")).expect("an address")
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    /// SIGTERM; the exit status and what it had to say.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.process.id().to_string();
        run("kill", &["-TERM", &pid]).expect("a signal");
        self.end()
    }

    /// One ping arrives and its answer too, some time.
    pub(crate) fn await_ping(&self, to: &str, size: &str) {
        wait_for(&format!("a ping of {size} bytes to {to}"), || {
            let ping = ["ping", "-6", "-c1", "-W1", "-s", size, to];
            run("ip", &[&["netns", "exec", &self.space], &ping[..]].concat()).is_ok()
        });
    }

    /// Ten pings, none lost.
    pub(crate) fn ping(&self, to: &str, size: &str) {
        let ping = ["ping", "-6", "-c10", "-i0.05", "-W5", "-s", size, to];
        let output = run("ip", &[&["netns", "exec", &self.space], &ping[..]].concat());
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(" 0% packet loss"), "{text}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn launch(space: &str, home: &Path) -> Child {
    let home = home.to_str().expect("text");
    spawn(space, &[BINARY, &format!("-p{PORT}"), home])
}

/// Starts a program in a namespace. What it says on standard error can be read.
pub(crate) fn spawn(space: &str, words: &[&str]) -> Child {
    Command::new("ip")
        .args(["netns", "exec", space])
        .args(words)
        .env_remove("ZEROTIER_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip")
}

/// `zerotier-cli` for a home, from a namespace.
pub(crate) fn cli(space: &str, home: &Path, words: &[&str]) -> Output {
    Command::new("ip")
        .args(["netns", "exec", space, BINARY, "cli"])
        .arg(format!("-D{}", home.display()))
        .args(words)
        .output()
        .expect("ip")
}

/// Starts a service that is to give up; its exit status and standard error.
pub(crate) fn fail(space: &str, home: &Path) -> (Option<i32>, String) {
    let output = launch(space, home).wait_with_output().expect("an end");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

pub(crate) fn new_identity(seed: u8) -> SecretIdentity {
    identity::generate(&mut Rng::new([seed; 32])).expect("memory")
}

pub(crate) fn text_of(secret: &SecretIdentity) -> String {
    let mut text = String::new();
    secret.write_string(&mut text).expect("a string");
    text
}

/// A planet whose only root is `root` at `endpoint`, signed by it.
pub(crate) fn planet(root: &SecretIdentity, endpoint: SocketAddr) -> Vec<u8> {
    world(WorldKind::Planet, 7, root, endpoint)
}

/// The same of either kind.
pub(crate) fn world(
    kind: WorldKind,
    id: u64,
    root: &SecretIdentity,
    endpoint: SocketAddr,
) -> Vec<u8> {
    let make = |signature: &[u8; 96]| {
        let mut bytes = vec![0; WORLD_MAX_LEN];
        let mut writer = Writer::new(&mut bytes);
        let roots = [(root.identity, &[endpoint][..])];
        let key = &root.identity.public;
        world::write(&mut writer, kind, id, 1, key, signature, &roots).expect("a world");
        let len = writer.len();
        bytes.truncate(len);
        bytes
    };
    let unsigned = WorldBuf::new(&make(&[0; 96])).expect("a world");
    let mut message = vec![0; SIGNED_MAX_LEN];
    let len = unsigned.view().signed_message(&mut message).expect("room");
    make(&sign::sign(
        root.secret(),
        &[message.get(..len).expect("signed part")],
    ))
}

/// A file in a home.
pub(crate) fn put(home: &Path, name: &str, bytes: &[u8]) {
    let path = home.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).expect("a directory");
    }
    fs::File::create(path)
        .and_then(|mut file| file.write_all(bytes))
        .expect("a file");
}

/// What a program says in a namespace; `None`: it failed.
pub(crate) fn inside(space: &str, command: &str) -> Option<String> {
    let words: Vec<&str> = command.split(' ').collect();
    let output = run("ip", &[&["netns", "exec", space], &words[..]].concat()).ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
