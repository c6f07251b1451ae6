//! The real binary in network namespaces: a root with a planet of its own, nodes around a bridge.
//!
//! Needs root, `/dev/net/tun` and `ip`; says so and does nothing without them. Names of
//! namespaces hold the pid of the test, and are removed at its end.
#![cfg(all(target_os = "linux", feature = "os"))]

use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use zt::base::{Address, NetworkId};
use zt::crypto::rng::Rng;
use zt::crypto::{identity, sign};
use zt::wire::cursor::Writer;
use zt::wire::derive;
use zt::wire::identity::SecretIdentity;
use zt::wire::world::{self, SIGNED_MAX_LEN, WORLD_MAX_LEN, WorldBuf, WorldKind};

const BINARY: &str = env!("CARGO_BIN_EXE_zerotier-one");
/// Ad-hoc: no controller, 6PLANE addresses, ICMPv6 passes.
const NETWORK: &str = "ff00160016000000";
const PORT: u16 = 29_993;
/// Far above what anything here takes: only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program; its output if it succeeded.
fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
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

fn ip(arguments: &str) {
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
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Namespaces around one bridge, and a directory.
struct Lab {
    name: String,
    spaces: Cell<u8>,
    dir: PathBuf,
}

impl Lab {
    /// `None`: this machine cannot do it.
    fn new(test: &str) -> Option<Self> {
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
    fn space(&self, address: Option<&str>) -> String {
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

    fn home(&self, name: &str) -> PathBuf {
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
struct Service {
    process: Child,
    home: PathBuf,
    space: String,
}

impl Service {
    /// Starts it and waits for its control socket.
    fn start(space: &str, home: &Path) -> Self {
        let service = Self {
            process: launch(space, home),
            home: home.to_owned(),
            space: space.to_owned(),
        };
        service.await_control();
        service
    }

    fn await_control(&self) {
        wait_for("the control socket", || self.connect().is_some());
    }

    fn connect(&self) -> Option<UnixStream> {
        UnixStream::connect(self.home.join("zerotier-one.sock")).ok()
    }

    /// The reply to one command of the control socket.
    fn ask(&self, command: &str) -> String {
        let mut stream = self.connect().expect("a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        writeln!(stream, "{command}")
            .and_then(|()| writeln!(stream, "quit"))
            .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    fn address(&self) -> Address {
        let text = fs::read_to_string(self.home.join("identity.public")).expect("an identity");
        Address::parse(text.get(..10).expect("an address")).expect("an address")
    }

    fn sixplane(&self) -> String {
        derive::sixplane(network(), self.address()).to_string()
    }

    fn kill(mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }

    /// SIGTERM; the exit status and what it had to say.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.process.id().to_string();
        run("kill", &["-TERM", &pid]).expect("a signal");
        let mut log = String::new();
        if let Some(stderr) = &mut self.process.stderr {
            stderr.read_to_string(&mut log).expect("a log");
        }
        (self.process.wait().expect("gone").code(), log)
    }

    /// One ping arrives and its answer too, some time.
    fn await_ping(&self, to: &str, size: &str) {
        wait_for(&format!("a ping of {size} bytes to {to}"), || {
            let ping = ["ping", "-6", "-c1", "-W1", "-s", size, to];
            run("ip", &[&["netns", "exec", &self.space], &ping[..]].concat()).is_ok()
        });
    }

    /// Ten pings, none lost.
    fn ping(&self, to: &str, size: &str) {
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

fn launch(space: &str, home: &Path) -> Child {
    Command::new("ip")
        .args(["netns", "exec", space, BINARY, &format!("-p{PORT}")])
        .arg(home)
        .env_remove("ZEROTIER_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip")
}

/// Starts a service that is to give up; its exit status and standard error.
fn fail(space: &str, home: &Path) -> (Option<i32>, String) {
    let output = launch(space, home).wait_with_output().expect("an end");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn network() -> NetworkId {
    NetworkId::parse(NETWORK).expect("an id")
}

fn new_identity(seed: u8) -> SecretIdentity {
    identity::generate(&mut Rng::new([seed; 32])).expect("memory")
}

fn text_of(secret: &SecretIdentity) -> String {
    let mut text = String::new();
    secret.write_string(&mut text).expect("a string");
    text
}

/// A planet whose only root is `root` at `endpoint`, signed by it.
fn planet(root: &SecretIdentity, endpoint: SocketAddr) -> Vec<u8> {
    let make = |signature: &[u8; 96]| {
        let mut bytes = vec![0; WORLD_MAX_LEN];
        let mut writer = Writer::new(&mut bytes);
        let roots = [(root.identity, &[endpoint][..])];
        let key = &root.identity.public;
        world::write(&mut writer, WorldKind::Planet, 7, 1, key, signature, &roots)
            .expect("a world");
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

#[test]
fn two_nodes_reach_each_other_and_come_back_as_themselves() {
    let Some(lab) = Lab::new("p") else { return };
    let root_identity = new_identity(1);
    let planet = planet(&root_identity, SocketAddr::from(([10, 77, 0, 1], PORT)));
    let home = |name: &str| {
        let home = lab.home(name);
        fs::File::create(home.join("planet"))
            .and_then(|mut file| file.write_all(&planet))
            .expect("a planet");
        home
    };
    let root_home = home("root");
    fs::File::create(root_home.join("identity.secret"))
        .and_then(|mut file| file.write_all(text_of(&root_identity).as_bytes()))
        .expect("an identity");
    let _root = Service::start(&lab.space(Some("10.77.0.1/24")), &root_home);
    // One is told by its owner, the other finds the wish in its home.
    let a = Service::start(&lab.space(Some("10.77.0.2/24")), &home("a"));
    let b_home = home("b");
    fs::create_dir(b_home.join("networks.d")).expect("a directory");
    fs::File::create(b_home.join(format!("networks.d/{NETWORK}.conf"))).expect("a file");
    let b = Service::start(&lab.space(Some("10.77.0.3/24")), &b_home);

    let joined = a.ask(&format!("join {NETWORK}"));
    assert!(joined.contains("200 join OK"), "{joined}");
    assert_eq!(
        fs::read(lab.home("a").join(format!("networks.d/{NETWORK}.conf")))
            .ok()
            .as_deref(),
        Some(&b"\n"[..])
    );
    for node in [&a, &b] {
        wait_for("ONLINE", || node.ask("info").contains("ONLINE"));
        let list = node.ask("listnetworks");
        assert!(
            list.contains("OK PUBLIC zt") && list.contains(&node.sixplane()),
            "{list}"
        );
    }

    a.await_ping(&b.sixplane(), "56");
    b.await_ping(&a.sixplane(), "56");
    for size in ["56", "1400", "2700"] {
        a.ping(&b.sixplane(), size);
        b.ping(&a.sixplane(), size);
    }
    let peers = a.ask("peers");
    let row = peers
        .lines()
        .find(|row| row.contains(&b.address().to_string()));
    assert!(row.is_some_and(|row| row.contains("DIRECT")), "{peers}");

    // No warning, no stop: the same node comes back and is on the same network.
    let (before, space) = (b.address(), b.space.clone());
    b.kill();
    let b = Service::start(&space, &b_home);
    assert_eq!(b.address(), before);
    b.await_ping(&a.sixplane(), "56");
    a.await_ping(&b.sixplane(), "2700");

    let left = a.ask(&format!("leave {NETWORK}"));
    assert!(left.contains("200 leave OK"), "{left}");
    assert!(
        !lab.home("a")
            .join(format!("networks.d/{NETWORK}.conf"))
            .exists()
    );
    let (status, log) = b.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.lines().count() < 10, "{log}");
    assert!(!b_home.join("zerotier-one.pid").exists());
    assert!(!b_home.join("zerotier-one.sock").exists());
    assert!(b_home.join(format!("networks.d/{NETWORK}.conf")).exists());
}

#[test]
fn an_empty_secret_is_refused_and_left_alone() {
    let Some(lab) = Lab::new("e") else { return };
    let space = lab.space(None);
    let home = lab.home("a");
    let secret = home.join("identity.secret");
    fs::File::create(&secret).expect("a file");
    let (status, text) = fail(&space, &home);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("identity.secret: the file is empty"),
        "{text}"
    );
    assert!(text.contains("--new-identity"), "{text}");
    assert_eq!(fs::read(&secret).ok().as_deref(), Some(&b""[..]));
}

#[test]
fn broken_files_are_named_and_do_not_stop_it() {
    let Some(lab) = Lab::new("f") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = lab.home("a");
    fs::create_dir(home.join("networks.d")).expect("a directory");
    let broken = [
        ("planet", &b"garbage"[..]),
        ("devicemap", b"no device here\n"),
        ("networks.d/short.conf", b""),
        (
            "networks.d/ff00160016000000.local.conf",
            b"allowManaged=perhaps\n",
        ),
        ("networks.d/ff00160016000000.conf", b"\0\xff\x01"),
    ];
    for (name, bytes) in broken {
        fs::File::create(home.join(name))
            .and_then(|mut file| file.write_all(bytes))
            .expect("a file");
    }
    let service = Service::start(&space, &home);
    let list = service.ask("listnetworks");
    assert!(list.contains(NETWORK), "{list}");
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    for (name, bytes) in broken {
        assert_eq!(
            fs::read(home.join(name)).ok().as_deref(),
            Some(bytes),
            "{name}"
        );
        // A configuration of another kind says nothing about an ad-hoc network.
        if name != "networks.d/ff00160016000000.conf" {
            assert!(log.contains(name), "{name} is not named: {log}");
        }
    }
}

#[test]
fn a_port_in_use_ends_the_start_with_a_text() {
    let Some(lab) = Lab::new("u") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let _first = Service::start(&space, &lab.home("a"));
    let (status, text) = fail(&space, &lab.home("b"));
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains(&format!("UDP port {PORT}")) && text.contains("in use"),
        "{text}"
    );
    let (status, text) = fail(&space, &lab.home("a"));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("another instance"), "{text}");
}

#[test]
fn sockets_follow_addresses_that_come_and_go() {
    let Some(lab) = Lab::new("l") else { return };
    let space = lab.space(None);
    let service = Service::start(&space, &lab.home("a"));
    let bound = |address: &str| service.ask("info").contains(address);
    assert!(!bound("10.77.0.9"));
    ip(&format!("-n {space} addr add 10.77.0.9/24 dev eth0"));
    wait_for("a socket on the new address", || bound("10.77.0.9"));
    ip(&format!("-n {space} addr add 10.77.0.8/24 dev eth0"));
    wait_for("a second socket", || {
        bound("10.77.0.8") && bound("10.77.0.9")
    });
    ip(&format!("-n {space} addr del 10.77.0.9/24 dev eth0"));
    wait_for("the end of the first socket", || !bound("10.77.0.9"));
}

#[test]
fn in_the_background_the_exit_status_tells_the_truth() {
    let Some(lab) = Lab::new("d") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let start = |home: &Path| {
        Command::new("ip")
            .args(["netns", "exec", &space, BINARY, "-d", &format!("-p{PORT}")])
            .arg(home)
            .env_remove("ZEROTIER_HOME")
            .output()
            .expect("ip")
    };
    let bad = lab.home("bad");
    fs::File::create(bad.join("identity.secret")).expect("a file");
    let output = start(&bad);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the file is empty"));

    let good = lab.home("good");
    let output = start(&good);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The parent has waited: everything is there.
    let socket = good.join("zerotier-one.sock");
    assert!(UnixStream::connect(&socket).is_ok());
    let pid = fs::read_to_string(good.join("zerotier-one.pid")).expect("a pid");
    run("kill", &["-TERM", &pid]).expect("a signal");
    wait_for("the end", || {
        !socket.exists() && !good.join("zerotier-one.pid").exists()
    });
}
