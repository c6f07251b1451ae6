//! Flash that takes nothing: the daemon runs on from memory, says so once, and writes what was
//! wanted when it can. Mounts are seen by the daemon alone.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Child;

use live::{BINARY, Lab, Service, inside, new_identity, put, run, text_of, wait_for, world};
use zt::wire::world::WorldKind;

const NETWORK: &str = "ff00160016000000";
const OTHER: &str = "ff00170017000000";
const CONF: &str = "networks.d/ff00160016000000.conf";
const LOCAL: &str = "networks.d/ff00160016000000.local.conf";
const OTHER_CONF: &str = "networks.d/ff00170017000000.conf";
const SEED: &str = "moons.d/00000000000000aa.seed";
/// What the log says when the first file cannot be written.
const TROUBLE: &str = "cannot store state, running from memory";
const RELIEF: &str = "all state is stored again";

/// A home as a service of before left it.
fn used_home(lab: &Lab, space: &str) -> PathBuf {
    let home = lab.home("a");
    put(
        &home,
        "identity.secret",
        text_of(&new_identity(7)).as_bytes(),
    );
    let (status, log) = Service::start(space, &home).stop();
    assert_eq!(status, Some(0), "{log}");
    home
}

/// Something that is done to a file system, as the daemon sees it.
fn mount(service: &Service, arguments: &[&str]) {
    let pid = service.pid().to_string();
    let enter = ["-t", &pid, "-m", "mount"];
    run("nsenter", &[&enter[..], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
}

fn remount(service: &Service, how: &str) {
    let home = service.home.to_str().expect("text");
    mount(service, &["-o", &format!("remount,bind,{how}"), home]);
}

/// The home as the daemon sees it.
fn seen(service: &Service) -> PathBuf {
    let home = service.home.strip_prefix("/").expect("an absolute path");
    Path::new(&format!("/proc/{}/root", service.pid())).join(home)
}

fn obey(service: &Service, order: &str) {
    let reply = service.ask(order);
    let verb = order.split(' ').next().expect("a verb");
    assert!(
        reply.contains(&format!("200 {verb} OK")),
        "{order}: {reply}"
    );
}

/// Orders of an owner; each is obeyed.
fn command(service: &Service) {
    for order in [
        format!("join {NETWORK}"),
        format!("set {NETWORK} allowDNS=1"),
        format!("join {OTHER}"),
        format!("set {OTHER} allowManaged=0"),
        format!("leave {OTHER}"),
        "orbit 00000000000000aa 1122334455".to_owned(),
        "conf allowSecondaryPort=true".to_owned(),
    ] {
        obey(service, &order);
    }
    let list = service.ask("listnetworks");
    assert!(list.contains(NETWORK) && !list.contains(OTHER), "{list}");
    let status = service.ask("status");
    assert!(status.contains("200 status home-trouble "), "{status}");
    // What holds does not come back from the disk.
    obey(service, "reload");
    let setting = service.ask(&format!("get {NETWORK} allowDNS"));
    assert!(
        setting.lines().any(|line| line.ends_with(" 1")),
        "{setting}"
    );
}

fn assert_all_is_stored(home: &Path) {
    assert_eq!(
        fs::read(home.join(CONF)).ok(),
        Some(b"\n".to_vec()),
        "{:?}",
        names(home)
    );
    let settings = fs::read_to_string(home.join(LOCAL)).expect("settings");
    assert!(settings.contains("allowDNS=1"), "{settings}");
    assert!(!home.join(OTHER_CONF).exists());
    let conf = fs::read_to_string(home.join("local.conf")).expect("settings");
    assert!(conf.contains("allowSecondaryPort"), "{conf}");
    assert_eq!(fs::read(home.join(SEED)).expect("a seed"), b"1122334455");
}

fn assert_said_once(log: &str, what: &str) {
    assert_eq!(log.matches(what).count(), 1, "{what}: {log}");
}

#[test]
fn a_home_that_becomes_read_only_is_written_when_it_can() {
    let Some(lab) = Lab::new("r") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = used_home(&lab, &space);
    let bind = format!("mount --bind {0} {0}", home.display());
    let service = Service::start_behind(&space, &home, &bind);
    remount(&service, "ro");
    command(&service);
    assert!(!home.join("networks.d").exists());
    remount(&service, "rw");
    obey(&service, "reload");
    assert_all_is_stored(&home);
    assert!(!service.ask("status").contains("home-trouble"));
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    assert_said_once(&log, TROUBLE);
    assert_said_once(&log, "os error 30");
    assert_said_once(&log, RELIEF);
}

#[test]
fn a_home_that_is_read_only_from_the_start_is_run_from() {
    let Some(lab) = Lab::new("s") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = used_home(&lab, &space);
    let files = names(&home);
    let bind = format!("mount --bind -o ro {0} {0}", home.display());
    let service = Service::launch_behind(&space, &home, &bind);
    // There can be no socket; the TCP port and the token of before are found.
    let cli = |words: &[&str]| live::cli(&space, &home, words);
    wait_for("an answer", || cli(&["info"]).status.success());
    let joined = cli(&["join", NETWORK]);
    assert!(joined.status.success(), "{joined:?}");
    assert_eq!(names(&home), files);
    remount(&service, "rw");
    // By its own clock, or when its owner says.
    run("kill", &["-HUP", &service.pid().to_string()]).expect("a signal");
    wait_for("the socket", || service.connect().is_some());
    assert_eq!(fs::read(home.join(CONF)).expect("joined"), b"\n");
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    assert_said_once(&log, TROUBLE);
    assert_said_once(&log, RELIEF);
}

#[test]
fn a_home_of_somebody_else_is_run_from() {
    let Some(lab) = Lab::new("e") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = used_home(&lab, &space);
    // Whoever it is can read what is needed, and write nothing.
    fs::set_permissions(
        home.join("identity.secret"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("a mode");
    let files = names(&home);
    let process = start_as_nobody(&lab, &space, &home);
    let log = stop(process);
    assert_said_once(&log, TROUBLE);
    assert_eq!(names(&home), files);
}

/// Ends with the test.
struct Nobody(Child);

impl Drop for Nobody {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it as a user without rights.
fn start_as_nobody(lab: &Lab, space: &str, home: &Path) -> Nobody {
    let program = lab.home("bin").join("zerotier-one");
    fs::copy(BINARY, &program).expect("copied");
    let [program, home] = [&program, home].map(|path| path.to_str().expect("text"));
    let nobody = ["setpriv", "--reuid=65534", "--clear-groups"];
    let process = live::spawn(
        space,
        &[&nobody[..], &[program, "-U", "-p29993", home]].concat(),
    );
    let bound = || inside(space, "cat /proc/net/udp").unwrap_or_default();
    // 29993 in hex.
    let process = Nobody(process);
    wait_for("its port", || bound().contains(":7529 "));
    process
}

/// What it said until it was told to stop.
fn stop(mut process: Nobody) -> String {
    let process = &mut process.0;
    run("kill", &["-TERM", &process.id().to_string()]).expect("a signal");
    let mut log = String::new();
    let stderr = process.stderr.as_mut().expect("a log");
    stderr.read_to_string(&mut log).expect("a log");
    assert_eq!(process.wait().expect("gone").code(), Some(0), "{log}");
    log
}

/// Its directory takes what it likes, and a socket cannot be made in it all the same.
#[test]
fn a_control_socket_that_cannot_be_made_is_said_once() {
    let Some(lab) = Lab::new("o") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = used_home(&lab, &space);
    for name in names(&home) {
        chown(home.join(name), Some(65534), None).expect("given");
    }
    chown(&home, Some(65534), None).expect("given");
    let socket = home.join("zerotier-one.sock");
    drop(UnixListener::bind(&socket).expect("a socket"));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("a mode");
    let process = start_as_nobody(&lab, &space, &home);
    let cli = |words: &[&str]| live::cli(&space, &home, words);
    wait_for("an answer", || cli(&["info"]).status.success());
    // Whatever is stored, it is tried again.
    let orbit = ["orbit", "00000000000000aa", "1122334455"];
    for order in [&orbit[..], &["deorbit", "00000000000000aa"], &orbit] {
        let done = cli(order);
        assert!(done.status.success(), "{order:?}: {done:?}");
    }
    assert!(home.join(SEED).exists());
    let dump = cli(&["dump"]);
    let dump = String::from_utf8_lossy(&dump.stdout);
    assert!(dump.contains("zerotier-one.sock: "), "{dump}");
    let kill = |how: &str| run("kill", &[how, &process.0.id().to_string()]).expect("a signal");
    kill("-HUP");
    cli(&["info"]);
    fs::remove_file(&socket).expect("there");
    kill("-HUP");
    wait_for("the socket", || socket.exists());
    let log = stop(process);
    assert_said_once(&log, "no control socket");
    assert_said_once(&log, TROUBLE);
    assert_said_once(&log, RELIEF);
}

/// As left where the definition found no room at once, and was written when there was some.
#[test]
fn a_seed_goes_when_its_moon_is_there() {
    let Some(lab) = Lab::new("m") else { return };
    let space = lab.space(None);
    let home = used_home(&lab, &space);
    let root = new_identity(9);
    let at = "10.77.0.9:9993".parse().expect("an address");
    let moon = world(WorldKind::Moon, 0xaa, &root, at);
    put(&home, SEED, b"1122334455");
    put(&home, "moons.d/00000000000000aa.moon", &moon);
    let service = Service::start(&space, &home);
    let moons = service.ask("listmoons");
    assert!(moons.contains("00000000000000aa"), "{moons}");
    assert!(!home.join(SEED).exists());
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
}

/// Without an identity there is nobody to be: another address at each start would be worse.
#[test]
fn a_new_identity_that_cannot_be_kept_is_not_used() {
    let Some(lab) = Lab::new("i") else { return };
    let space = lab.space(None);
    let home = lab.home("a");
    let bind = format!("mount --bind -o ro {0} {0}", home.display());
    let mut service = Service::launch_behind(&space, &home, &bind);
    let (status, log) = service.end();
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("the new identity cannot be stored"), "{log}");
    assert!(names(&home).is_empty());
}

#[test]
fn a_full_home_is_written_when_there_is_room() {
    let Some(lab) = Lab::new("t") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let used = used_home(&lab, &space);
    let home = lab.home("full");
    put(
        &lab.home("etc"),
        "passwd",
        b"root:x:0:0::/:/bin/sh\nzerotier-one:x:4711:4711::/:/bin/sh\n",
    );
    let passwd = lab.home("etc").join("passwd");
    let machine = format!(
        "mount --bind {} /etc/passwd && mount -t tmpfs none /run && \
         mknod -m 666 /run/tun c 10 200 && mount --bind /run/tun /dev/net/tun",
        passwd.display()
    );
    // As root, and as a user of its own who may make devices.
    for (machine, uid) in [("true", 0), (&*machine, 4711)] {
        let fill = format!(
            "{machine} && mount -t tmpfs -o size=64k,mode=755 none {1} && cp -a {0}/. {1}/ && \
             (cat /dev/zero > {1}/filler; true) 2>/dev/null",
            used.display(),
            home.display()
        );
        fill_and_empty(Service::launch_behind(&space, &home, &fill), uid);
    }
}

fn fill_and_empty(mut service: Service, uid: u32) {
    let process = format!("/proc/{}", service.pid());
    wait_for("the filled disk", || {
        fs::read_link(format!("{process}/exe")).is_ok_and(|exe| exe == Path::new(BINARY))
    });
    service.home = seen(&service);
    service.await_control();
    command(&service);
    // A full disk does not cost what it held.
    assert_eq!(
        fs::read(service.home.join("identity.secret")).expect("a secret"),
        text_of(&new_identity(7)).as_bytes()
    );
    fs::remove_file(service.home.join("filler")).expect("removed");
    // The next thing that is stored takes the rest along.
    obey(&service, &format!("set {NETWORK} allowGlobal=1"));
    assert_all_is_stored(&service.home);
    let owner = |path: &Path| fs::metadata(path).expect("there").uid();
    assert_eq!(owner(&service.home.join(CONF)), uid);
    assert_eq!(owner(Path::new(&process)), uid);
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    assert_said_once(&log, TROUBLE);
    assert_said_once(&log, "os error 28");
    assert_said_once(&log, RELIEF);
}

fn names(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home).expect("a home").flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}
