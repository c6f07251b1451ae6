//! What a running daemon may do, and that it still does all its work: as its own user, and as a
//! root without rights. The names that a network pushes need the rights of the start.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;

use live::stored::{self, Wishes};
use live::{BINARY, Lab, PORT, Service, inside, run, wait_for};
use zt::base::NetworkId;

const NETWORK: &str = "8056c2e21c000001";

const WISHES: Wishes<'static> = Wishes {
    addresses: &["10.147.17.5/24"],
    routes: &[("10.147.17.0/24", "-", 0), ("172.30.0.0/16", "-", 0)],
    mtu: 1400,
    dns: Some(("lab.example", "10.147.17.10")),
    bridges: &[],
};

/// Before the daemon, in a mount namespace of its own: a machine with a user for it or without, a
/// device node with some mode, and dnsmasq as OpenWrt has it.
const MACHINE: &str = r#"
set -e
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/init.d" /etc/init.d
mount -t tmpfs none /run
mkdir /run/dnsmasq.d
mknod -m "$2" /run/tun c 10 200
mount --bind /run/tun /dev/net/tun
shift 2
exec "$@"
"#;

/// Starts a daemon on such a machine; what the machine is made of lies beside the home.
fn start(lab: &Lab, home: &Path, passwd: &str, tun_mode: &str, switch: &[&str]) -> Service {
    let program = [&[BINARY], switch].concat();
    let (process, space) = launch(lab, home, passwd, tun_mode, &program);
    Service::of(process, &space, home)
}

/// The same by the words before the port and the home; its namespace beside it.
fn launch(
    lab: &Lab,
    home: &Path,
    passwd: &str,
    tun_mode: &str,
    program: &[&str],
) -> (Child, String) {
    let machine = lab.home("machine");
    live::put(&machine, "passwd", passwd.as_bytes());
    live::put(&machine, "init.d/dnsmasq", DNSMASQ.as_bytes());
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(machine.join("init.d/dnsmasq"), executable).expect("a mode");
    let space = lab.space(Some("10.77.0.2/24"));
    let (machine, port) = (machine.to_str().expect("text"), format!("-p{PORT}"));
    let before = ["sh", "-c", MACHINE, "sh", machine, tun_mode];
    let behind = [&port, home.to_str().expect("text")];
    let process = live::spawn(&space, &[&before, program, &behind].concat());
    (process, space)
}

/// Writes down who called it, and what it found.
const DNSMASQ: &str = r#"#!/bin/sh
{ id -u; echo "$1"; cat /run/dnsmasq.d/zerotier-*.conf; } > /run/call 2>&1
mv /run/call /run/called
"#;

const ROOT: &str = "root:x:0:0:root:/root:/bin/sh\n";
const USER: &str = "root:x:0:0:root:/root:/bin/sh\n\
                    zerotier-one:x:4711:4712::/var/lib/zerotier-one:/bin/false\n";

/// A file of the daemon's own mount namespace.
fn seen_by(service: &Service, path: &str) -> Option<String> {
    let root = format!("/proc/{}/root", service.pid());
    fs::read_to_string(Path::new(&root).join(path.trim_start_matches('/'))).ok()
}

fn rights(service: &Service) -> String {
    let text = service.ask("dump");
    let row = text.lines().find_map(|row| row.split_once("rights:"));
    row.unwrap_or_else(|| panic!("{text}"))
        .1
        .replace("%20", " ")
}

/// What it must be able to do all its life: devices, addresses, routes, files, names.
fn works(service: &Service) {
    tells_names(service);
    works_but_for_names(service);
}

fn allow_names(service: &Service) {
    let reply = service.ask(&format!("set {NETWORK} allowDNS=1"));
    assert!(reply.contains("200 set OK"), "{reply}");
}

fn tells_names(service: &Service) {
    allow_names(service);
    let called = || seen_by(service, "/run/called").unwrap_or_default();
    wait_for("names in dnsmasq", || {
        called().contains("server=/lab.example/")
    });
    assert!(called().starts_with("0\nrestart\n"), "{}", called());
}

fn await_route(service: &Service) {
    let route = "ip route show proto 201 172.30.0.0/16";
    wait_for("a route", || {
        inside(&service.space, route).is_some_and(|text| !text.is_empty())
    });
}

fn works_but_for_names(service: &Service) {
    await_route(service);
    // A network that was not there at the start.
    assert!(service.ask("join ff00160016000000").contains("200 join OK"));
    wait_for("a second device", || {
        let text = inside(&service.space, "ip -o link show type tun").unwrap_or_default();
        text.lines().count() == 2
    });
    let joined = service.home.join("networks.d/ff00160016000000.conf");
    assert!(joined.exists());
    assert!(
        service
            .ask("leave ff00160016000000")
            .contains("200 leave OK")
    );
    // A new socket, and its number is below 1024.
    live::put(
        &service.home,
        "local.conf",
        b"{ \"settings\": { \"primaryPort\": 1000 } }",
    );
    wait_for("a low port", || {
        service.ask("status").contains("10.77.0.2/1000")
    });
}

fn all_owned_by(dir: &Path, uid: u32) {
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let meta = entry.metadata().expect("it is there");
        // Written by this test while the daemon ran.
        if entry.file_name() != "local.conf" {
            assert_eq!(meta.uid(), uid, "{}", entry.path().display());
        }
        if meta.is_dir() {
            all_owned_by(&entry.path(), uid);
        }
    }
}

fn member(lab: &Lab) -> PathBuf {
    let id = NetworkId::parse(NETWORK).expect("an id");
    stored::member(lab, "a", 11, id, &WISHES)
}

/// With the feature, for a processor with a list, and where the kernel can.
fn filtered() -> &'static str {
    #[cfg(feature = "seccomp")]
    let has_list = zt::os::filter::IS_THERE;
    #[cfg(not(feature = "seccomp"))]
    let has_list = false;
    let can = Path::new("/proc/sys/kernel/seccomp").exists();
    if has_list && can {
        ", calls filtered"
    } else {
        ""
    }
}

/// The three capabilities of a running service, and nothing else.
fn three_for(uid: u32) -> String {
    let three = "net_bind_service net_admin net_raw";
    format!(
        " user {uid}, capabilities {three}, no new ones{}",
        filtered()
    )
}

/// Ends it in order; what it had to say.
fn stop(service: Service) -> String {
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    log
}

#[test]
fn with_a_user_of_its_own_it_is_that_user() {
    let Some(lab) = Lab::new("ru") else { return };
    let home = member(&lab);
    let service = start(&lab, &home, USER, "0666", &[]);
    assert_eq!(rights(&service), three_for(4711));
    works(&service);
    all_owned_by(&home, 4711);
    assert_eq!(fs::metadata(&home).expect("a home").uid(), 4711);
    stop(service);
    assert!(!home.join("zerotier-one.pid").exists());
    // What was its own is its own again.
    let service = start(&lab, &home, USER, "0666", &[]);
    assert!(rights(&service).starts_with(" user 4711, "));
}

#[test]
fn where_the_user_may_not_make_devices_root_stays_and_may_do_little() {
    let Some(lab) = Lab::new("rr") else { return };
    let home = member(&lab);
    let service = start(&lab, &home, USER, "0600", &[]);
    assert_eq!(rights(&service), three_for(0));
    works(&service);
    all_owned_by(&home, 0);
    let log = stop(service);
    let why =
        "runs as root, not as user zerotier-one: /dev/net/tun for that user: open: Permission";
    assert!(log.contains(why), "{log}");
}

#[test]
fn a_switch_keeps_the_rights_there_are() {
    let Some(lab) = Lab::new("rk") else { return };
    let home = member(&lab);
    let service = start(&lab, &home, USER, "0666", &["-U"]);
    let text = rights(&service);
    assert!(text.starts_with(" user 0, "), "{text}");
    assert!(text.contains(" more, no new ones"), "{text}");
    works(&service);
}

/// As a service manager starts it that gives a user three capabilities.
#[test]
fn a_user_with_the_capabilities_needs_no_root() {
    if run("setpriv", &["--version"]).is_err() {
        eprintln!("skipped: no setpriv");
        return;
    }
    let Some(lab) = Lab::new("rc") else { return };
    let home = member(&lab);
    run("chown", &["-R", "4711:4712", home.to_str().expect("text")]).expect("given");
    // Not everybody may go where it was built.
    let program = lab.home("program").join("zerotier-one");
    fs::copy(BINARY, &program).expect("a copy");
    let program = program.to_str().expect("text");
    let given = |capabilities: &str| {
        let by = ["setpriv", "--reuid=4711", "--regid=4712", "--clear-groups"];
        let [inherited, ambient] =
            ["inh", "ambient"].map(|set| format!("--{set}-caps={capabilities}"));
        let by = [&by[..], &[&inherited, &ambient, program]].concat();
        launch(&lab, &home, ROOT, "0666", &by)
    };
    let start = |capabilities: &str| {
        let (process, space) = given(capabilities);
        Service::of(process, &space, &home)
    };
    let service = start("-all,+net_admin,+net_raw,+net_bind_service,+kill");
    // Those three, whatever else there was.
    assert_eq!(rights(&service), three_for(4711));
    works_but_for_names(&service);
    all_owned_by(&home, 4711);
    stop(service);
    // What joining takes is enough; what is lacking is not made up for.
    fs::remove_file(home.join("local.conf")).expect("no low port");
    let service = start("-all,+net_admin");
    let text = rights(&service);
    let capabilities = " user 4711, capabilities net_admin, no new ones";
    assert!(text.starts_with(capabilities), "{text}");
    await_route(&service);
    drop(service);
    let (process, _) = given("-all,+net_raw,+net_bind_service");
    let output = process.wait_with_output().expect("an end");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let why = "must be run as root (uid 0) or with CAP_NET_ADMIN";
    assert!(text.contains(why), "{text}");
}

#[test]
fn names_are_taken_back_however_the_daemon_ends() {
    let Some(lab) = Lab::new("rn") else { return };
    let home = member(&lab);
    for kill in ["-TERM", "-KILL"] {
        let service = start(&lab, &home, ROOT, "0600", &[]);
        allow_names(&service);
        let file = format!("/run/dnsmasq.d/zerotier-{NETWORK}.conf");
        wait_for("names in dnsmasq", || seen_by(&service, &file).is_some());
        let keeper = Keeper::of(&service);
        assert!(keeper.sees(&file));
        run("kill", &[kill, &service.pid().to_string()]).expect("a signal");
        wait_for("no names", || !keeper.sees(&file));
        // It was not the directory that went.
        assert!(keeper.sees("/run/dnsmasq.d"));
    }
}

#[test]
fn a_start_in_vain_leaves_the_names_of_the_running_one() {
    let Some(lab) = Lab::new("rv") else { return };
    let home = member(&lab);
    let service = start(&lab, &home, ROOT, "0600", &[]);
    allow_names(&service);
    let file = format!("/run/dnsmasq.d/zerotier-{NETWORK}.conf");
    wait_for("names in dnsmasq", || seen_by(&service, &file).is_some());
    let pid = service.pid().to_string();
    let home = home.to_str().expect("a path");
    let second = ["-t", &pid, "-m", "-n", BINARY, &format!("-p{PORT}"), home];
    let why = run("nsenter", &second).expect_err("the home is in use");
    assert!(why.contains("another instance"), "{why}");
    assert!(seen_by(&service, &file).is_some());
}

/// Holds a daemon's mount namespace, which would be gone with its last process, and the root of
/// it.
struct Keeper {
    root: fs::File,
    _mounts: fs::File,
}

impl Keeper {
    fn of(service: &Service) -> Self {
        let open = |what| fs::File::open(format!("/proc/{}/{what}", service.pid()));
        Self {
            root: open("root").expect("a root"),
            _mounts: open("ns/mnt").expect("mounts"),
        }
    }

    fn sees(&self, path: &str) -> bool {
        use std::os::fd::AsRawFd as _;
        let root = format!("/proc/self/fd/{}", self.root.as_raw_fd());
        Path::new(&root).join(path.trim_start_matches('/')).exists()
    }
}
