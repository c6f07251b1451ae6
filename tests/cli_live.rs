//! Every command of `zerotier-cli` against a running service: what goes to standard output, to
//! standard error, and the exit status (service 2.1, 2.2).
//!
//! The service is the only root of a planet of its own, so it is online and talks to nobody. As
//! root it lives in a network namespace without anything in it; as anybody else it may not make
//! devices, and the table knows both.
#![cfg(all(target_os = "linux", feature = "os"))]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NET: &str = "8056c2e21c000001";
/// Far above what anything here takes: only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    dir: PathBuf,
    service: Child,
    address: String,
    /// Devices can be made here.
    taps: bool,
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
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Bench {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zt-cli-{name}-{}", std::process::id()));
        let home = dir.join("home");
        fs::create_dir_all(&home).unwrap();
        for name in ["zerotier-one", "zerotier-cli", "zerotier-idtool"] {
            symlink(env!("CARGO_BIN_EXE_zerotier-one"), dir.join(name)).unwrap();
        }
        let made = |args: &[&str]| {
            let tool = dir.join("zerotier-idtool");
            let output = Command::new(tool).args(args).current_dir(&home).output();
            assert!(output.unwrap().status.success(), "{args:?}");
        };
        made(&["generate", "identity.secret", "identity.public"]);
        made(&["genplanet", "identity.public@127.0.0.1/9", "-k", "key"]);
        let address = fs::read_to_string(home.join("identity.public")).unwrap();

        let is_root = nix::unistd::geteuid().is_root();
        let program = dir.join("zerotier-one");
        let mut command = if is_root {
            let mut command = Command::new("unshare");
            command.arg("--net").arg(program);
            command
        } else {
            Command::new(program)
        };
        let service = command
            .args(["-U", "-p0", "home"])
            .current_dir(&dir)
            .env_remove("ZEROTIER_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bench = Self {
            dir,
            service,
            address: address[..10].to_owned(),
            taps: is_root && Path::new("/dev/net/tun").exists(),
        };
        wait_for("the control socket", || {
            bench.run(&["-Dhome", "info"]).status == Some(0)
        });
        bench
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("./zerotier-cli");
        command
            .args(args)
            .current_dir(&self.dir)
            .env_remove("ZEROTIER_HOME")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// With this input.
    fn feed(&self, args: &[&str], input: &str) -> String {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Text against a pattern in which `*` is anything, line ends included.
fn fits(text: &str, pattern: &str) -> bool {
    let Some((front, rest)) = pattern.split_once('*') else {
        return text == pattern;
    };
    let Some(text) = text.strip_prefix(front) else {
        return false;
    };
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .any(|at| fits(&text[at..], rest))
}

#[test]
fn patterns() {
    assert!(fits("a b\nc", "a*c") && fits("", "*") && fits("ab", "a*b") && fits("a", "a"));
    assert!(!fits("a b", "a") && !fits("xab", "a*") && !fits("ab", "a*c"));
}

const HELP: &str = "zerotier-cli *\nUsage: *\nAvailable switches:\n*Available commands:\n*";
const NO_ID: &str = "invalid format: must be a 16-digit (network) ID\n";
const NO_WORLD: &str = "invalid format: must be a world ID of up to 16 hex digits\n";
const NOT_JOINED: &str = "unknown network ID, check that you are a member of the network\n";
const UNKNOWN: &str = "error, unknown property name\n";
const BONDS: &str = "    <peer>                        <bondtype>     <links>\n      \
                     NONE\t\t\t\tNONE\t    NONE       NONE\n";
const NO_BOND: &str = "(bond) command is missing required arguments\n";
const PORT: &str = "*: missing port and zerotier-one.port not found in nowhere\n*";

/// `ADDR`, `VER`, `NET`, `MAC`, `DEV` and `STATUS` stand for what differs between runs. In order:
/// what one line changes, the next ones see.
const TABLE: &[(&str, i32, &str, &str)] = &[
    // Switches.
    ("-h", 0, HELP, ""),
    ("-?", 0, HELP, ""),
    ("-x info", 0, HELP, "*unknown switch -x\n"),
    ("info -h", 0, HELP, ""),
    ("-v", 0, "VER\n", ""),
    ("--version", 0, "zerotier-cli VER\n", ""),
    ("-jx info", 1, HELP, "*bad switch -jx\n"),
    ("-p info", 1, HELP, "*bad switch -p\n"),
    ("-p0 info", 1, HELP, "*bad switch -p0\n"),
    ("-p65536 info", 1, HELP, "*bad switch -p65536\n"),
    ("-T info", 1, HELP, "*bad switch -T\n"),
    ("-H info", 1, HELP, "*bad switch -H\n"),
    ("info -D", 1, HELP, "*bad switch -D\n"),
    ("-q info", 0, "200 info ADDR VER ONLINE\n", ""),
    ("-D home info", 0, "200 info ADDR VER ONLINE\n", ""),
    ("-Dnowhere info", 2, "", PORT),
    ("", 0, "", HELP),
    ("help", 0, HELP, ""),
    ("frobnicate", 1, "", "*: unknown command: frobnicate\n"),
    // info, status
    ("info", 0, "200 info ADDR VER ONLINE\n", ""),
    ("status", 0, "200 info ADDR VER ONLINE\n", ""),
    (
        "info -j",
        0,
        "{\n \"address\": \"ADDR\",\n \"clock\": *\n}\n",
        "",
    ),
    (
        "--json info",
        0,
        "{\n \"address\": \"ADDR\",\n \"clock\": *\n}\n",
        "",
    ),
    // listpeers, peers, paths
    (
        "listpeers",
        0,
        "200 listpeers <ztaddr> <path> <latency> <version> <role>\n",
        "",
    ),
    ("listpeers -j", 0, "[]\n", ""),
    (
        "peers",
        0,
        "200 peers\n<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n",
        "",
    ),
    ("peers -j", 0, "[]\n", ""),
    ("paths", 2, "400 paths address missing\n", ""),
    ("paths zz", 2, "400 paths bad address\n", ""),
    ("paths 1234567890", 1, "404 paths unknown peer\n", ""),
    // listnetworks, join, network
    (
        "listnetworks",
        0,
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n",
        "",
    ),
    ("listnetworks -j", 0, "[]\n", ""),
    ("join", 2, "invalid network id\n", ""),
    ("join 80", 2, "invalid network id\n", ""),
    ("join zzzzzzzzzzzzzzzz", 2, "invalid network id\n", ""),
    (
        "join NET what=1",
        1,
        "404 join unknown property what, there are *\n",
        "",
    ),
    (
        "join NET allowDNS",
        2,
        "400 join settings must be <key>=<value>\n",
        "",
    ),
    (
        "join NET mtu=x",
        2,
        "400 join bad value for mtu, must be 1280 to 10000\n",
        "",
    ),
    ("JOIN NET", 0, "200 join OK\n", ""),
    ("join NET", 0, "200 join OK\n", ""),
    ("join NET allowDNS=true", 0, "200 join OK\n", ""),
    (
        "-j join NET",
        0,
        "{\"allowDNS\":true,*\"type\":\"PRIVATE\"}",
        "",
    ),
    (
        "listnetworks",
        0,
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n\
         200 listnetworks NET  MAC STATUS PRIVATE DEV -\n",
        "",
    ),
    (
        "-j listnetworks",
        0,
        "[\n {\n  \"allowDNS\": true,\n*\n }\n]\n",
        "",
    ),
    ("network", 2, "400 network network id missing\n", ""),
    ("network 80", 2, "400 network bad network id\n", ""),
    (
        "network 1234567812345678",
        1,
        "404 network unknown network\n",
        "",
    ),
    (
        "network NET",
        0,
        "200 network <key> <value>\n200 network id NET\n*200 network status STATUS\n*",
        "",
    ),
    ("-j network NET", 0, "{\n \"addresses\": [],\n*\n}\n", ""),
    // get
    ("get", 2, "", NO_ID),
    ("get 80", 2, "", NO_ID),
    ("get zzzzzzzzzzzzzzzz mtu", 2, "", NO_ID),
    (
        "get NET",
        2,
        "",
        "invalid format: include a property name to get\n",
    ),
    ("get 1234567812345678 mtu", 1, "", NOT_JOINED),
    ("get NET what", 1, UNKNOWN, ""),
    ("get NET routes", 1, UNKNOWN, ""),
    ("get NET mtu", 0, "2800\n", ""),
    ("-j get NET mtu", 0, "2800\n", ""),
    ("get NET status", 0, "STATUS\n", ""),
    ("get NET name", 0, "\n", ""),
    ("get NET allowDNS", 0, "1\n", ""),
    ("get NET allowManaged", 0, "1\n", ""),
    ("get NET ip", 0, "\n", ""),
    ("get NET ip6plane", 0, "\n", ""),
    // set
    ("set", 2, "", NO_ID),
    ("set 80 allowDNS=1", 2, "", NO_ID),
    (
        "set NET",
        2,
        "",
        "invalid format: include a property name to set\n",
    ),
    (
        "set NET allowDNS",
        2,
        "",
        "*: must be <setting>=<value>: allowDNS\n",
    ),
    (
        "set NET what=1",
        1,
        UNKNOWN,
        "*no setting \"what\"; there are allowManaged *\n",
    ),
    (
        "set NET =1",
        1,
        UNKNOWN,
        "*no setting \"\"; there are allowManaged *\n",
    ),
    (
        "set NET mtu=x",
        2,
        "400 set bad value for mtu, must be 1280 to 10000\n",
        "",
    ),
    ("set 1234567812345678 allowDNS=1", 1, "", NOT_JOINED),
    ("set NET allowDNS=0", 0, "{\"allowDNS\":false,*}", ""),
    ("set NET allowDNS=true", 0, "{\"allowDNS\":true,*}", ""),
    (
        "set NET allowManaged=10.0.0.0/8",
        0,
        "{*\"allowManaged\":true,\"allowManagedPrefixes\":[\"10.0.0.0/8\"],*}",
        "",
    ),
    (
        "set NET allowGlobal=1",
        0,
        "{*\"allowManagedPrefixes\":[\"10.0.0.0/8\"],*}",
        "",
    ),
    (
        "set NET ifname=lo",
        1,
        "409 set there is an interface lo already\n",
        "",
    ),
    (
        "set NET allowDNS=1 mtu=1400",
        2,
        "",
        "*: set: one too many: mtu=1400\n",
    ),
    ("get NET mtu name", 2, "", "*: get: one too many: name\n"),
    // wait
    ("wait", 2, "", NO_ID),
    ("wait 80", 2, "", NO_ID),
    (
        "wait NET soon",
        2,
        "",
        "invalid format: must be a number of seconds\n",
    ),
    ("wait 1234567812345678", 1, "", NOT_JOINED),
    ("wait NET 0", 1, "", "*: NET is STATUS after 0 seconds\n"),
    // moons
    ("listmoons", 0, "[]\n", ""),
    ("orbit", 2, "", NO_WORLD),
    ("orbit zz zz", 2, "", NO_WORLD),
    ("orbit 0 0", 2, "", NO_WORLD),
    (
        "orbit 1234567890 zz",
        2,
        "",
        "invalid format: the seed must be a 10-digit address\n",
    ),
    (
        "orbit 1234567890",
        2,
        "400 orbit seed missing: no definition of this moon is stored\n",
        "",
    ),
    ("orbit 1234567890 1234567890", 0, "200 orbit OK\n", ""),
    ("orbit 0000001234567890 1234567890", 0, "200 orbit OK\n", ""),
    ("-j orbit 1234567890 1234567890", 0, "200 orbit OK\n", ""),
    (
        "listmoons",
        0,
        "[\n {\n  \"id\": \"0000001234567890\",\n*\n }\n]\n",
        "",
    ),
    ("/moon/1234567890", 0, "{\"id\":\"0000001234567890\",*}", ""),
    ("deorbit", 2, "", NO_WORLD),
    ("deorbit zz", 2, "", NO_WORLD),
    ("deorbit 1234567890", 0, "200 deorbit OK\n", ""),
    ("deorbit 1234567890", 0, "200 deorbit OK\n", ""),
    ("-j deorbit 1234567890", 0, "{\"result\":true}", ""),
    // bonds
    ("bond", 2, NO_BOND, ""),
    ("bond list", 0, BONDS, ""),
    ("listbonds", 0, BONDS, ""),
    ("-j listbonds", 0, "[]\n", ""),
    ("bond foo", 2, NO_BOND, ""),
    ("bond 1234567890", 2, NO_BOND, ""),
    ("bond foo show", 2, NO_BOND, ""),
    ("bond 1234567890 show", 1, "400 bond {}\n", ""),
    ("bond 1234567890 rotate", 1, "400 bond {}\n", ""),
    ("bond setmtu", 1, "404 Failed to set MTU: \n", ""),
    (
        "bond setmtu 1400 eth0 10.0.0.1",
        1,
        "400 Failed to set MTU: bonding is not in use\n",
        "",
    ),
    // paths of the API
    ("/status", 0, "{\"address\":\"ADDR\",*}", ""),
    (
        "/health",
        0,
        "{\"clock\":*,\"online\":true,\"version\":\"VER\",*}",
        "",
    ),
    ("/network", 0, "[{\"allowDNS\":true,*}]", ""),
    ("/network/NET", 0, "{\"allowDNS\":true,*}", ""),
    (
        "/network/1234567812345678",
        1,
        "404 /network/1234567812345678 {}\n",
        "",
    ),
    ("/peer", 0, "[]", ""),
    ("/peer/1234567890", 0, "{}", ""),
    ("/moon", 0, "[]", ""),
    ("/moon/1234567890", 0, "{}", ""),
    ("/nope", 1, "404 /nope \n", ""),
    ("/", 1, "404 / \n", ""),
    // what only we have
    (
        "log",
        2,
        "400 log level missing, there are off error warn info debug trace\n",
        "",
    ),
    (
        "log what",
        2,
        "400 log unknown level, there are off error warn info debug trace\n",
        "",
    ),
    ("log debug", 0, "200 log OK\n", ""),
    ("reload", 0, "200 reload OK\n", ""),
    ("-j reload", 1, "501 reload json not built\n", ""),
    (
        "monitor what",
        2,
        "400 monitor unknown class, there are node *\n",
        "",
    ),
    (
        "dump",
        0,
        "platform: linux *\nzerotier version: VER\n\n200 status identity ADDR:0:*\n\
         200 status uptime *\nlocal.conf:\nNone Present\n\ninterfaces:\n*",
        "",
    ),
    ("monitor off", 2, "", "*: monitor: nothing to switch off\n"),
    ("reload now", 2, "400 reload too many arguments\n", ""),
    (
        "log info now",
        2,
        "400 log too many arguments, must be <level>\n",
        "",
    ),
    // conf
    (
        "conf",
        0,
        "200 conf <key> <json>\n200 conf primaryPort *\n*",
        "",
    ),
    ("conf what", 1, "404 conf unknown setting what, *\n", ""),
    ("conf bind=x", 2, "400 conf no JSON, *\n", ""),
    ("conf router.logLevel=\"warn\"", 0, "200 conf OK\n", ""),
    ("conf router.logLevel", 0, "200 conf \"warn\"\n", ""),
    ("conf router.logLevel=", 0, "200 conf OK\n", ""),
    ("-j conf", 0, "{\n*\n}\n", ""),
    ("/config", 0, "{*}", ""),
    ("-j conf bind", 1, "501 conf json not built\n", ""),
    // leave
    ("leave", 2, "invalid network id\n", ""),
    ("leave 80", 2, "invalid network id\n", ""),
    ("leave NET NET", 2, "", "*: leave: one too many: NET\n"),
    ("leave NET", 0, "200 leave OK\n", ""),
    ("leave NET", 0, "200 leave OK\n", ""),
    ("-j leave NET", 0, "{}", ""),
    ("JOIN NET", 0, "200 join OK\n", ""),
    ("-j leave NET", 0, "{\"result\":true}", ""),
    ("stop", 0, "200 stop OK\n", ""),
];

#[test]
fn every_row_of_the_table() {
    let mut bench = Bench::new("table");
    let mut wrong = Vec::new();
    for (n, (args, status, out, err)) in TABLE.iter().enumerate() {
        // The first time without a device, which may not be made everywhere.
        let first = args.starts_with("JOIN");
        let args = args.replace("JOIN", "join").replace("NET", NET);
        let mut words: Vec<&str> = args.split_whitespace().collect();
        if !args.contains("-D") {
            words.insert(0, "-Dhome");
        }
        let ran = bench.run(&words);
        let fill = |pattern: &str| {
            let status = if bench.taps {
                "REQUESTING_CONFIGURATION"
            } else {
                "PORT_ERROR"
            };
            pattern
                .replace("ADDR", &bench.address)
                .replace("VER", zt::service::VERSION)
                .replace("NET", NET)
                .replace("MAC", "*:*:*:*:*:*")
                .replace("DEV", "*")
                .replace("STATUS", status)
        };
        let (mut status, mut out) = (*status, fill(out));
        if first && !bench.taps {
            (status, out) = (1, "500 join *, trying again\n".into());
        }
        if ran.status != Some(status) || !fits(&ran.out, &out) || !fits(&ran.err, &fill(err)) {
            wrong.push(format!(
                "row {n}: {words:?}\n wanted {status} {out:?} {err:?}\n got {ran:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The last row was `stop`.
    assert_eq!(bench.service.wait().unwrap().code(), Some(0));
    assert_eq!(
        bench.run(&["-Dhome", "info"]).status,
        Some(1),
        "it was here"
    );
}

#[test]
fn connect_relays_requests_and_replies() {
    let bench = Bench::new("connect");
    let greeting = format!(
        "220 zt-ctl/1 {} {} rw\n.\n",
        zt::service::VERSION,
        bench.address
    );
    let run = |input: &str| bench.feed(&["-Dhome", "connect"], input);
    assert_eq!(run(""), greeting);
    assert_eq!(run("hello 1\n"), format!("{greeting}200 hello 1\n.\n"));
    assert_eq!(run("quit\nhello 1\n"), format!("{greeting}200 quit\n.\n"));
    // More than all buffers on the way hold, in both directions at once.
    let many = 3000;
    let text = run(&"dump\n".repeat(many));
    assert_eq!(text.matches("\n.\n").count(), many + 1);
}

#[test]
fn who_listens_hears_who_changed_what() {
    let bench = Bench::new("monitor");
    let stream = UnixStream::connect(bench.dir.join("home/zerotier-one.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
    (&stream).write_all(b"monitor log node network\n").unwrap();
    let greeting: Vec<String> = lines.by_ref().take(4).collect();
    assert_eq!(greeting[1..], [".", "200 monitor OK", "."]);
    assert_eq!(bench.run(&["-Dhome", "leave", NET]).status, Some(0));
    let own = nix::unistd::geteuid();
    let leave =
        format!(" log level=info text=control:%20leave%20{NET}%20by%20uid%20{own}%20pid%20");
    let event = lines.next().unwrap();
    assert!(
        event.starts_with("! 1 ") && event.contains(&leave),
        "{event}"
    );
    assert_eq!(bench.run(&["-Dhome", "stop"]).status, Some(0));
    let rest: Vec<String> = lines.collect();
    for (n, line) in rest.iter().enumerate() {
        assert!(line.starts_with(&format!("! {} ", n + 2)), "{rest:?}");
    }
    let last = rest.last().unwrap();
    assert!(last.ends_with(" node state=STOPPING"), "{rest:?}");
}

/// Settings of the node stand in its manual.
#[test]
fn the_manual_knows_the_settings_of_the_node() {
    let bench = Bench::new("conf");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/zerotier-one.8");
    let manual = fs::read_to_string(path).unwrap();
    let list = bench.run(&["-Dhome", "conf"]).out;
    let keys: Vec<&str> = list
        .lines()
        .skip(1)
        .map(|row| row.split(' ').nth(2).unwrap())
        .collect();
    assert!(keys.len() > 10, "{keys:?}");
    // Read for the sake of files of 1.14.1, and of no effect here.
    let idle = [
        "portMappingEnabled",
        "allowTcpFallbackRelay",
        "defaultBondingPolicy",
        "softwareUpdate",
        "router.stateDir",
        "router.netifd",
    ];
    for key in keys.iter().filter(|key| !idle.contains(key)) {
        assert!(manual.contains(key), "the manual lacks {key}");
    }
}

/// Everything that can be asked for, by the help of the program.
fn commands(bench: &Bench) -> Vec<String> {
    let help = bench.run(&["-h"]).out;
    let (_, rest) = help.split_once("Available commands:\n").unwrap();
    let (commands, _) = rest.split_once("\n\n").unwrap();
    let lines = commands.lines().filter(|line| !line.starts_with("   "));
    let words = lines.map(|line| line.trim().split([' ', ',']).next().unwrap().to_owned());
    words.collect()
}

#[test]
fn manual_and_completion_know_every_command_class_and_setting() {
    let bench = Bench::new("words");
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::read_to_string(path).unwrap()
    };
    let (manual, protocol) = (read("doc/zerotier-cli.1"), read("doc/zt-ctl.7"));
    let completion = read("share/bash-completion/zerotier-cli");
    let has = |text: &str, word: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        text.split(|c| !is_part(c)).any(|other| other == word)
    };
    let commands = commands(&bench);
    assert!(commands.len() > 20, "{commands:?}");
    for word in &commands {
        assert!(has(&manual, word), "the manual lacks {word}");
        assert!(has(&completion, word), "the completion lacks {word}");
    }
    for class in zt::service::control::Class::ALL {
        let word = class.name();
        assert!(has(&protocol, word), "the manual lacks class {word}");
        assert!(has(&completion, word), "the completion lacks class {word}");
    }
    for word in zt::service::settings::NetworkSettings::KEYS {
        assert!(has(&manual, word), "the manual lacks {word}");
        assert!(has(&completion, word), "the completion lacks {word}");
    }
    let spoken = bench.feed(&["-Dhome", "connect"], "help\n");
    for row in spoken
        .lines()
        .filter_map(|row| row.strip_prefix("200 help "))
    {
        let word = row.split(' ').next().unwrap();
        assert!(
            word.starts_with('<') || has(&protocol, word),
            "zt-ctl(7) lacks {word}"
        );
    }
}

#[test]
fn completion_asks_the_service() {
    let bench = Bench::new("tab");
    bench.run(&["-Dhome", "join", NET]);
    bench.run(&["-Dhome", "orbit", "1234567890", "1234567890"]);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/share/bash-completion/zerotier-cli"
    );
    let offers = |words: &str| {
        let line = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _zerotier_cli; printf '%s ' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &line]).current_dir(&bench.dir).output();
        output.map(|output| {
            assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        })
    };
    if offers("x").is_err() {
        eprintln!("SKIPPED, nothing was tested: no bash");
        return;
    }
    for (words, wanted) in [
        (
            "./zerotier-cli li",
            "listpeers listnetworks listmoons listbonds",
        ),
        ("./zerotier-cli -D home leave ''", NET),
        ("./zerotier-cli -Dhome get 80", NET),
        ("./zerotier-cli -Dhome deorbit ''", "0000001234567890"),
        ("./zerotier-cli -Dhome leave 90", ""),
        ("./zerotier-cli -Dnowhere leave ''", ""),
        ("./zerotier-cli set 80 allowD", "allowDefault= allowDNS="),
        ("./zerotier-cli set 80 allowDNS = ''", "0 1"),
        ("./zerotier-cli get 80 ip6", "ip6 ip6plane ip6prefix"),
        ("./zerotier-cli log w", "warn"),
        (
            "./zerotier-cli -Dhome conf router.c",
            "router.controlTcp router.controlGroup router.controlReadOnly",
        ),
        ("./zerotier-cli monitor node p", "peer path planet"),
        ("./zerotier-cli -D ho", "home"),
    ] {
        assert_eq!(offers(words).unwrap(), wanted, "{words}");
    }
}
