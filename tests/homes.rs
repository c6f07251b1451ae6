//! Homes as nobody wants them: every file in turn is something else. The daemon starts as a user
//! would start it, and either says what is wrong and ends, or works; it never waits, and whoever
//! it was before can come back.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};

use live::{Lab, Service, new_identity, put, run, text_of};

const NETWORK: &str = "8056c2e21c000001";
const MOON: &str = "moons.d/00000000000000aa.moon";
const SEED: &str = "moons.d/00000000000000bb.seed";
const CONF: &str = "networks.d/8056c2e21c000001.conf";
const LOCAL: &str = "networks.d/8056c2e21c000001.local.conf";
const PEER: &str = "peers.d/1122334455.peer";

/// On a disk that is not there.
const NOWHERE: &str = "../none/file";

/// Longer than anything that is read.
const OVERSIZE: usize = 3 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Random,
    Empty,
    Directory,
    Pipe,
    Nothing,
    Oversize,
    /// It leads nowhere.
    Link,
}

const KINDS: [Kind; 7] = [
    Kind::Random,
    Kind::Empty,
    Kind::Directory,
    Kind::Pipe,
    Kind::Nothing,
    Kind::Oversize,
    Kind::Link,
];

/// What is to come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    /// A text that names the file, status 1, and nothing touched.
    Refused,
    /// It works, names the file in the log, and leaves it alone.
    Named,
    /// It works, says nothing of it, and leaves it alone.
    Quiet,
    /// It works, and puts there what belongs there.
    Made,
    /// It works without a control socket, says so, and leaves the thing alone.
    Deaf,
}

use Expect::{Deaf, Made, Named, Quiet, Refused};

/// File; random bytes, empty, directory, pipe, nothing, oversize, a link that leads nowhere.
const TABLE: &[(&str, [Expect; 7])] = &[
    ("identity.secret", [Refused; 7]),
    (
        "identity.public",
        [Made, Made, Named, Made, Made, Made, Made],
    ),
    (
        "authtoken.secret",
        [Named, Named, Named, Named, Made, Named, Named],
    ),
    (
        "zerotier-one.port",
        [Made, Made, Named, Made, Made, Made, Made],
    ),
    (
        "zerotier-one.pid",
        [Made, Made, Named, Named, Made, Made, Named],
    ),
    (
        "zerotier-one.sock",
        [Made, Made, Deaf, Made, Made, Made, Made],
    ),
    (
        "zerotier-one.ro.sock",
        [Made, Made, Named, Made, Made, Made, Made],
    ),
    ("planet", [Named, Named, Named, Named, Made, Named, Named]),
    (MOON, [Named, Named, Named, Named, Quiet, Named, Named]),
    (SEED, [Named, Named, Named, Named, Quiet, Named, Named]),
    // A configuration that does not fit is as good as none: the controller is asked again.
    (CONF, [Quiet, Quiet, Named, Named, Quiet, Named, Named]),
    // Lines that mean nothing belong to a newer version.
    (LOCAL, [Quiet, Quiet, Named, Named, Quiet, Named, Named]),
    // Records of peers are learnt again.
    (PEER, [Quiet; 7]),
    (
        "devicemap",
        [Named, Quiet, Named, Named, Quiet, Named, Named],
    ),
    (
        "local.conf",
        [Named, Quiet, Named, Named, Quiet, Named, Named],
    ),
    (
        "trustedpaths",
        [Named, Quiet, Named, Named, Quiet, Named, Named],
    ),
    (
        "networks.d",
        [Named, Named, Named, Named, Made, Named, Named],
    ),
    ("moons.d", [Named, Named, Named, Named, Quiet, Named, Named]),
    ("peers.d", [Named, Named, Quiet, Named, Quiet, Named, Named]),
    // Of other programs and times.
    ("controller.d", [Quiet; 7]),
    (
        "controller.db",
        [Named, Named, Named, Named, Quiet, Named, Quiet],
    ),
    ("iddb.d", [Quiet; 7]),
    ("metrics.prom", [Quiet; 7]),
    ("root-topology", [Quiet; 7]),
];

/// Not text in any encoding, the same each time.
fn random_bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    zt::crypto::rng::Rng::new([5; 32]).fill(&mut bytes);
    bytes
}

fn replace(path: &Path, kind: Kind) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("removed");
    } else {
        let _ = fs::remove_file(path);
    }
    let (home, name) = (path.parent().expect("a home"), path.file_name());
    let name = name.and_then(|n| n.to_str()).expect("a name");
    fs::create_dir_all(home).expect("a directory");
    match kind {
        Kind::Random => put(home, name, &random_bytes(300)),
        Kind::Empty => put(home, name, b""),
        Kind::Directory => put(path, "inside", b"precious"),
        Kind::Pipe => {
            let path = path.to_str().expect("text");
            run("mkfifo", &[path]).expect("a pipe");
        }
        Kind::Nothing => {}
        Kind::Oversize => put(home, name, &random_bytes(OVERSIZE)),
        Kind::Link => symlink(NOWHERE, path).expect("a link"),
    }
}

/// The thing is there as `replace` left it.
fn is_untouched(path: &Path, kind: Kind) -> bool {
    let holds = |bytes: &[u8]| path.is_file() && fs::read(path).is_ok_and(|read| read == bytes);
    match kind {
        Kind::Random => holds(&random_bytes(300)),
        Kind::Empty => holds(b""),
        Kind::Directory => fs::read(path.join("inside")).is_ok_and(|read| read == b"precious"),
        Kind::Pipe => fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_fifo()),
        Kind::Nothing => fs::symlink_metadata(path).is_err(),
        Kind::Oversize => holds(&random_bytes(OVERSIZE)),
        Kind::Link => fs::read_link(path).is_ok_and(|to| to == Path::new(NOWHERE)),
    }
}

/// A home with one of everything.
fn furnish(home: &Path, secret: &str, public: &str) {
    fs::remove_dir_all(home).expect("removed");
    for (name, bytes) in [
        ("identity.secret", secret),
        ("identity.public", public),
        ("authtoken.secret", "token"),
        (SEED, "1122334455"),
        (CONF, "\n"),
        (LOCAL, "allowDNS=1\n"),
        ("devicemap", "8056c2e21c000001=lab0\n"),
        (
            "local.conf",
            r#"{"settings":{"router":{"controlReadOnly":true}}}"#,
        ),
    ] {
        put(home, name, bytes.as_bytes());
    }
}

struct Bench {
    space: String,
    home: PathBuf,
    secret: String,
    public: String,
}

impl Bench {
    /// What is wrong with how it takes this file being of this kind.
    fn judge(&self, name: &str, kind: Kind, expect: Expect) -> Result<(), String> {
        furnish(&self.home, &self.secret, &self.public);
        let path = self.home.join(name);
        replace(&path, kind);
        let started = Service::try_start(&self.space, &self.home, expect == Deaf);
        let outcome = match started {
            Err((status, text)) => {
                if expect != Refused {
                    return Err(format!("ended with {status:?}: {text}"));
                }
                check(status == Some(1), || format!("status {status:?}"))?;
                check(text.contains(&format!("{}", path.display())), || text)
            }
            Ok(service) => self.judge_running(service, name, kind, expect),
        };
        outcome?;
        if matches!(expect, Refused | Named | Quiet | Deaf) {
            check(is_untouched(&path, kind), || "touched".to_owned())?;
        }
        check(!self.home.join("zerotier-one.pid").is_file(), || {
            "the pid file stays".to_owned()
        })?;
        let secret = self.home.join("identity.secret");
        let is_kept = name == "identity.secret"
            || fs::read_to_string(secret).is_ok_and(|text| text == self.secret);
        check(is_kept, || "the secret changed".to_owned())
    }

    fn judge_running(
        &self,
        service: Service,
        name: &str,
        kind: Kind,
        expect: Expect,
    ) -> Result<(), String> {
        let path = self.home.join(name);
        if expect != Deaf {
            let info = service.ask("info");
            check(info.contains(&self.public[..10]), || info)?;
            let joined = name != "networks.d" && !(name == CONF && kind == Kind::Nothing);
            let list = service.ask("listnetworks");
            check(list.contains(NETWORK) == joined, || list)?;
            // It takes orders all the same.
            let reply = service.ask("join ff00160016000000");
            check(reply.contains("200 join OK"), || reply)?;
        }
        let there = fs::symlink_metadata(&path).is_ok() && !is_untouched(&path, kind);
        let (status, log) = service.stop();
        check(expect != Refused, || format!("started: {log}"))?;
        check(status == Some(0), || format!("stop with {status:?}: {log}"))?;
        let named = log.contains(&format!("{}", path.display()));
        match expect {
            Made => check(there, || format!("not made: {log}")),
            Named | Deaf => check(named, || format!("not named: {log}")),
            Quiet => check(!named, || format!("named: {log}")),
            Refused => Ok(()),
        }
    }
}

fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(what()) }
}

#[test]
fn every_file_may_be_anything() {
    let Some(lab) = Lab::new("h") else { return };
    let identity = new_identity(7);
    let bench = Bench {
        space: lab.space(Some("10.77.0.1/24")),
        home: lab.home("a"),
        secret: text_of(&identity),
        public: identity.identity.to_string(),
    };
    let mut wrong = Vec::new();
    for (name, row) in TABLE {
        for (kind, expect) in KINDS.into_iter().zip(row) {
            if let Err(why) = bench.judge(name, kind, *expect) {
                wrong.push(format!("{name}, {kind:?}, {expect:?}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

#[test]
fn a_home_that_is_no_directory_is_refused() {
    let Some(lab) = Lab::new("hn") else { return };
    let space = lab.space(None);
    let home = lab.home("a");
    for kind in [Kind::Random, Kind::Empty, Kind::Pipe, Kind::Link] {
        replace(&home, kind);
        let (status, text) = live::fail(&space, &home);
        assert_eq!(status, Some(1), "{kind:?}: {text}");
        assert!(text.contains(&*home.to_string_lossy()), "{kind:?}: {text}");
        assert!(is_untouched(&home, kind), "{kind:?}");
    }
}

#[test]
fn signals_during_the_first_start_are_heeded_and_only_a_stop_ends_it() {
    let Some(lab) = Lab::new("hs") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let begin = |name: &str| {
        let home = lab.home(name);
        let service = Service::launch_behind(&space, &home, "true");
        // Made before the identity, which takes its time.
        live::wait_for("a pid file", || home.join("zerotier-one.pid").exists());
        service
    };
    let signal = |service: &Service, name: &str| {
        run("kill", &[name, &service.pid().to_string()]).expect("a signal");
    };
    let service = begin("other");
    signal(&service, "-HUP");
    signal(&service, "-USR1");
    service.await_control();
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");

    let service = begin("stop");
    let home = service.home.clone();
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(!home.join("zerotier-one.pid").exists());
    // All or nothing, whichever was quicker.
    let secret = home.join("identity.secret");
    assert_eq!(secret.exists(), home.join("identity.public").exists());
    assert_eq!(secret.exists(), log.contains("new identity "), "{log}");
}
