//! Every exit status that the manuals name, by a way to it that needs no network. Those of a
//! running daemon are in `service_live`, `homes` and `cli_live`.
#![cfg(all(unix, feature = "os"))]

use std::fs;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zt::crypto::identity;
use zt::crypto::rng::Rng;

const BINARY: &str = env!("CARGO_BIN_EXE_zerotier-one");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Stdout,
    Stderr,
}

use On::{Stderr, Stdout};

/// Arguments, exit status, and what stands where. `@` is a directory with homes: `good` has an
/// identity, `bad` an empty one, `lost` the public half alone, `empty` nothing; `file` is none.
const SERVICE: &[(&str, i32, On, &str)] = &[
    ("-h", 0, Stdout, "Usage: "),
    ("-?", 0, Stdout, "Usage: "),
    ("--help", 0, Stdout, "Usage: "),
    ("-x", 0, Stdout, "Usage: "),
    ("-v", 0, Stdout, VERSION),
    ("--version", 0, Stdout, "zerotier-one "),
    ("@/good @/empty", 0, Stdout, "Usage: "),
    ("-p65536", 1, Stdout, "Usage: "),
    ("-p", 1, Stdout, "Usage: "),
    ("-p 9993", 1, Stdout, "Usage: "),
    ("-U @/file", 1, Stderr, "cannot create the home directory "),
    (
        "-U @/file/below",
        1,
        Stderr,
        "cannot create the home directory ",
    ),
    ("-U @/bad", 1, Stderr, "identity.secret: the file is empty"),
    ("-U @/lost", 1, Stderr, "identity.secret is missing"),
    (
        "-U -d @/bad",
        1,
        Stderr,
        "identity.secret: the file is empty",
    ),
];

const IDTOOL: &[(&str, i32, On, &str)] = &[
    ("help", 0, Stdout, "Usage: "),
    ("", 1, Stdout, "Usage: "),
    ("nonsense", 1, Stderr, "unknown command"),
    (
        "validate @/good/identity.secret",
        0,
        Stdout,
        "is a valid identity",
    ),
    ("validate @/none", 1, Stderr, "@/none"),
    ("getpublic @/good/identity.secret", 0, Stdout, ":0:"),
    (
        "getpublic @/bad/identity.secret",
        1,
        Stderr,
        "bad/identity.secret",
    ),
    (
        "generate @/good/identity.secret",
        1,
        Stderr,
        "is not replaced",
    ),
    ("generate @/none/secret", 1, Stderr, "@/none/secret"),
    (
        "sign @/lost/identity.public @/file",
        1,
        Stderr,
        "does not contain a private key",
    ),
    (
        "verify @/lost/identity.public @/file 00",
        1,
        Stderr,
        "FAILED",
    ),
    ("initmoon", 0, Stdout, "Usage: "),
    ("genmoon", 0, Stdout, "Usage: "),
];

const CLI: &[(&str, i32, On, &str)] = &[
    ("help", 0, Stdout, "Usage: "),
    ("-h", 0, Stdout, "Usage: "),
    ("-v", 0, Stdout, VERSION),
    ("-D@/empty nonsense", 1, Stderr, "Usage: "),
    ("-p70000 info", 1, Stderr, "bad switch"),
    (
        "-D@/empty info",
        2,
        Stderr,
        "zerotier-one.port not found in @/empty",
    ),
    (
        "-D@/gone info",
        1,
        Stdout,
        "Error connecting to the ZeroTier service",
    ),
    ("-D@/empty join", 2, Stdout, "invalid network id"),
    (
        "-D@/empty get 80",
        2,
        Stderr,
        "must be a 16-digit (network) ID",
    ),
    ("-D@/empty orbit", 2, Stderr, "invalid format"),
];

struct Homes(PathBuf);

impl Homes {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("zt-exit-{}", std::process::id()));
        let homes = Self(dir);
        let secret = identity::generate(&mut Rng::new([4; 32])).expect("memory");
        let mut text = String::new();
        secret.write_string(&mut text).expect("a string");
        let public = secret.identity.to_string();
        homes.put("good/identity.secret", &text);
        // Nobody listens there.
        homes.put("gone/zerotier-one.port", "1");
        homes.put("gone/authtoken.secret", "token");
        homes.put("bad/identity.secret", "");
        homes.put("lost/identity.public", &public);
        homes.put("empty/readme", "");
        homes.put("file", "text");
        homes
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::File::create(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("written");
    }

    fn command(&self, program: &Path, arguments: &str) -> Command {
        let dir = self.0.to_str().expect("text");
        let mut command = Command::new(program);
        command
            .args(
                arguments
                    .split_whitespace()
                    .map(|word| word.replace('@', dir)),
            )
            .env_remove("ZEROTIER_HOME")
            // No token of whoever runs this.
            .env("HOME", dir)
            .stdin(Stdio::null());
        command
    }

    /// What differs from the table, in words.
    fn judge(&self, name: &str, table: &[(&str, i32, On, &str)]) -> Vec<String> {
        // The name says which of the three it is.
        let program = self.0.join(name);
        std::os::unix::fs::symlink(BINARY, &program).expect("a link");
        let dir = self.0.to_str().expect("text");
        let mut wrong = Vec::new();
        for (arguments, status, on, text) in table {
            let output = self.command(&program, arguments).output().expect("run");
            let said = match on {
                Stdout => &output.stdout,
                Stderr => &output.stderr,
            };
            let said = String::from_utf8_lossy(said);
            if output.status.code() != Some(*status) || !said.contains(&text.replace('@', dir)) {
                wrong.push(format!("{name} {arguments}: {output:?}"));
            }
        }
        wrong
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn statuses_are_those_of_the_manuals() {
    let homes = Homes::new();
    let mut wrong = homes.judge("zerotier-one", SERVICE);
    wrong.extend(homes.judge("zerotier-idtool", IDTOOL));
    wrong.extend(homes.judge("zerotier-cli", CLI));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!homes.0.join("bad/zerotier-one.pid").exists());

    if nix::unistd::geteuid().is_root() {
        const NOBODY: u32 = 65_534;
        let program = homes.0.join("copy");
        fs::copy(BINARY, &program).expect("copied");
        let started = homes.command(&program, "@/good").uid(NOBODY).output();
        let output = started.expect("run");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        let wanted = format!(": must be run as {}\n", zt::os::privilege::WHO_MAY);
        assert!(text.ends_with(&wanted), "{text}");
        assert_eq!(output.status.signal(), None);
    }
}

/// The statuses of the tables are all that the manuals name.
#[test]
fn the_manuals_name_each_status() {
    let manuals = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc");
    for (manual, table) in [
        ("zerotier-one.8", SERVICE),
        ("zerotier-idtool.1", IDTOOL),
        ("zerotier-cli.1", CLI),
    ] {
        let text = fs::read_to_string(manuals.join(manual)).expect("a manual");
        let (_, section) = text.split_once(".Sh EXIT STATUS").expect("the section");
        let section = section.split("\n.El").next().unwrap_or_default();
        let mut named: Vec<i32> = section
            .lines()
            .filter_map(|line| line.strip_prefix(".It ")?.parse().ok())
            .collect();
        let mut tried: Vec<i32> = table.iter().map(|row| row.1).collect();
        tried.sort_unstable();
        tried.dedup();
        // Of a fault: see the log's own test.
        named.retain(|status| *status != 134);
        assert_eq!(named, tried, "{manual}");
    }
}
