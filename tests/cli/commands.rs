//! Names, switches, commands, and what they print.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::{fs, thread};

use super::service::{NET, Ran, Scratch, VERSION, write};

#[test]
fn names_and_first_arguments_pick_the_program() {
    let scratch = Scratch::new();
    let run =
        |name: &str, args: &[&str]| Ran::from(scratch.program(name).args(args).output().unwrap());
    run("zerotier-cli", &["-v"]).is(0, &format!("{VERSION}\n"), "");
    run("zerotier-one", &["-v"]).is(0, &format!("{VERSION}\n"), "");
    run("zerotier-cli", &["--version"]).is(0, &format!("zerotier-cli {VERSION}\n"), "");
    run("zerotier-one", &["--version"]).is(0, &format!("zerotier-one {VERSION}\n"), "");
    run("zerotier-one", &["cli", "--version"]).is(0, &format!("zerotier-cli {VERSION}\n"), "");
    run("zerotier-one", &["-q", "-h"]).is_help(0);
    assert!(
        run("zerotier-one", &["-q", "-h"])
            .out
            .contains("Available commands:")
    );
    for ran in [run("zerotier-idtool", &[]), run("zerotier-one", &["-i"])] {
        assert_eq!(ran.status, Some(1));
        assert!(ran.out.contains("\nCommands:\n  generate "), "{ran:?}");
    }
    // A directory with the name of another program does not count.
    let trap = scratch.dir.join("zerotier-cli-build");
    fs::create_dir(&trap).unwrap();
    symlink(
        env!("CARGO_BIN_EXE_zerotier-one"),
        trap.join("zerotier-one"),
    )
    .unwrap();
    run("zerotier-cli-build/zerotier-one", &["--version"]).is(
        0,
        &format!("zerotier-one {VERSION}\n"),
        "",
    );
}

#[test]
fn bad_switches_and_unknown_commands() {
    let scratch = Scratch::new();
    for args in [&["-h"][..], &["-?"], &["info", "--help"]] {
        scratch.cli(args).is_help(0);
    }
    for (args, status, why) in [
        (&["-x", "info"][..], 0, "unknown switch -x"),
        (&["-jx"], 1, "bad switch -jx"),
        (&["-p0", "info"], 1, "bad switch -p0"),
        (&["-p65536"], 1, "bad switch -p65536"),
        (&["-T"], 1, "bad switch -T"),
        (&["info", "-D"], 1, "bad switch -D"),
    ] {
        let mut ran = scratch.cli(args);
        assert!(ran.err.ends_with(&format!(": {why}\n")), "{ran:?}");
        ran.err.clear();
        ran.is_help(status);
    }
    let none = scratch.cli(&[]);
    assert_eq!((none.status, none.out.as_str()), (Some(0), ""));
    assert!(none.err.contains("Available commands:"));
    let unknown = scratch.cli(&["frobnicate"]);
    assert_eq!((unknown.status, unknown.out.as_str()), (Some(1), ""));
    assert!(unknown.err.contains("Available commands:"));
}

#[test]
fn malformed_arguments_need_no_service() {
    let scratch = Scratch::new();
    for args in [&["join"][..], &["join", "80"], &["leave"], &["leave", "zz"]] {
        scratch.cli(args).is(2, "invalid network id\n", "");
    }
    for args in [
        &["set"][..],
        &["set", "80"],
        &["get"],
        &["get", "80", "mtu"],
        &["wait", "80"],
    ] {
        let text = "invalid format: must be a 16-digit (network) ID\n";
        scratch.cli(args).is(2, "", text);
    }
    let text = "invalid format: include a property name to set\n";
    scratch.cli(&["set", NET]).is(2, "", text);
    let text = "invalid format: include a property name to get\n";
    scratch.cli(&["get", NET]).is(2, "", text);
    let ran = scratch.cli(&["set", NET, "allowDNS"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("Available commands:"));
    scratch
        .cli(&["bond"])
        .is(2, "(bond) command is missing required arguments\n", "");
    assert_eq!(scratch.cli(&["orbit"]).status, Some(2));
    assert_eq!(scratch.cli(&["deorbit", "zz"]).status, Some(2));
    assert_eq!(scratch.cli(&["wait", NET, "soon"]).status, Some(2));
}

#[test]
fn nobody_there() {
    let scratch = Scratch::new();
    let home = scratch.home();
    let program = scratch.dir.join("zerotier-cli");
    let never = format!(
        "{}: missing port and zerotier-one.port not found in {}\n\
         Is zerotier-one running, and is this its home? -D<path> names another.\n",
        program.display(),
        home.display()
    );
    for command in [
        "info",
        "listpeers",
        "listnetworks",
        "peers",
        "dump",
        "monitor",
        "/status",
    ] {
        scratch.cli(&[command]).is(2, "", &never);
    }
    scratch.cli(&["-j", "info"]).is(2, "", &never);
    // It ran once: connection failed.
    let stopped = format!(
        "Error connecting to the ZeroTier service: connection failed\n\n\
         Please check that the service is running and that {} can be contacted.\n",
        home.join("zerotier-one.sock").display()
    );
    write(&home.join("zerotier-one.port"), "9993");
    scratch.cli(&["info"]).is(1, &stopped, "");
    // It died: the socket is there, and nobody behind it.
    drop(UnixListener::bind(home.join("zerotier-one.sock")).unwrap());
    scratch.cli(&["join", NET]).is(1, &stopped, "");
    scratch.cli(&["wait", NET, "0"]).is(1, &stopped, "");
}

#[test]
fn without_rights_it_says_try_again_as_root() {
    let scratch = Scratch::new();
    let home = scratch.home();
    let _nobody_accepts = UnixListener::bind(home.join("zerotier-one.sock")).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = scratch.program("zerotier-cli");
    command.arg(format!("-D{}", home.display())).arg("info");
    if fs::read_dir(&home).is_ok() {
        // Root may do everything.
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let Ok(output) = output else {
        eprintln!(
            "skipped: another user cannot start {}",
            env!("CARGO_BIN_EXE_zerotier-one")
        );
        return;
    };
    let text = format!(
        "{}: authtoken.secret not found or readable in {} (try again as root)\n",
        scratch.dir.join("zerotier-cli").display(),
        home.display()
    );
    Ran::from(output).is(2, "", &text);
}

const NOBODY: u32 = 65_534;

#[test]
fn who_is_no_service_is_told_from_one() {
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.home().join("zerotier-one.sock")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the other side of a socket")]
    let thread = thread::spawn(move || {
        for greeting in [
            "HTTP/1.1 400 no\r\n.\n",
            "",
            "503 zt-ctl too many connections\n.\n",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
        }
    });
    let text = "Error talking to the ZeroTier service: \
                not a control socket that this program knows\n";
    scratch.cli(&["info"]).is(1, text, "");
    for reason in ["connection failed", "too many connections"] {
        let ran = scratch.cli(&["info"]);
        assert_eq!(ran.status, Some(1));
        let text = format!("Error connecting to the ZeroTier service: {reason}\n\n");
        assert!(ran.out.starts_with(&text), "{ran:?}");
    }
    thread.join().unwrap();
}

#[test]
fn lists_look_like_those_of_1_14_1() {
    let scratch = Scratch::new();
    let fake = scratch.serve(&[
        (
            "info",
            "200 info 08e81158d0 1.14.1 ONLINE\n200 status uptime 1\n.\n",
        ),
        (
            "listpeers",
            "200 listpeers <ztaddr> <path> <latency> <version> <role>\n\
             200 listpeers 3d6ce22a72 10.99.0.2/29993;-1;16674 28 1.14.1 LEAF\n\
             200 listpeers 62f865ae71 - -1 - PLANET\n.\n",
        ),
        (
            "peers",
            "200 peers <ztaddr> <ver> <role> <lat> <link> <lastTX> <lastRX> <path>\n\
             200 peers 08e81158d0 1.14.1 MOON 28 DIRECT 1726 1726 10.99.0.1/29993\n\
             200 peers 62f865ae71 - PLANET -1 RELAY -1 -1 - and fields of a later version\n.\n",
        ),
        (
            "listnetworks",
            "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ips>\n\
             200 listnetworks 08e81158d081fdcb - ca:c0:ed:32:72:63 REQUESTING_CONFIGURATION \
             PRIVATE ztka4jbji3 -\n\
             200 listnetworks 08e81158d081fdcc lab%20net ca:f5:69:c1:00:c1 OK PRIVATE \
             ztka4jbji4 10.147.17.11/24\n.\n",
        ),
    ]);
    scratch
        .cli(&["info"])
        .is(0, "200 info 08e81158d0 1.14.1 ONLINE\n", "");
    scratch
        .cli(&["status"])
        .is(0, "200 info 08e81158d0 1.14.1 ONLINE\n", "");
    scratch.cli(&["listpeers"]).is(
        0,
        "200 listpeers <ztaddr> <path> <latency> <version> <role>\n\
         200 listpeers 3d6ce22a72 10.99.0.2/29993;-1;16674 28 1.14.1 LEAF\n\
         200 listpeers 62f865ae71 - -1 - PLANET\n",
        "",
    );
    scratch.cli(&["peers"]).is(
        0,
        "200 peers\n\
         <ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>\n\
         08e81158d0 1.14.1 MOON      28 DIRECT   1726     1726     10.99.0.1/29993\n\
         62f865ae71 -      PLANET    -1 RELAY\n",
        "",
    );
    scratch.cli(&["listnetworks"]).is(
        0,
        "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n\
         200 listnetworks 08e81158d081fdcb  ca:c0:ed:32:72:63 REQUESTING_CONFIGURATION PRIVATE \
         ztka4jbji3 -\n\
         200 listnetworks 08e81158d081fdcc lab net ca:f5:69:c1:00:c1 OK PRIVATE ztka4jbji4 \
         10.147.17.11/24\n",
        "",
    );
    scratch.cli(&["listbonds"]).is(
        0,
        "    <peer>                        <bondtype>     <links>\n      \
         NONE\t\t\t\tNONE\t    NONE       NONE\n",
        "",
    );
    scratch
        .cli(&["bond", "08e81158d0", "show"])
        .is(1, "400 bond {}\n", "");
    assert_eq!(fake.asked().len(), 5);
}

#[test]
fn changes_and_properties() {
    let scratch = Scratch::new();
    let json =
        |command: &str| format!("200 {command} json\n{{\"id\":\"{NET}\",\n\"mtu\":2800}}\n.\n");
    let ask = |text: &str| text.replace("NET", NET);
    let requests = [
        ("join NET", "200 join OK\n.\n"),
        (
            "join NET allowDNS=1 allowManaged=10.0.0.0/8",
            "200 join OK\n.\n",
        ),
        (
            "join 0000000000000001",
            "500 join EPERM cannot open /dev/net/tun\n.\n",
        ),
        ("leave NET", "200 leave OK\n.\n"),
        ("leave 0000000000000001", "404 leave not joined\n.\n"),
        ("-j set NET ifname=a%20b", "400 set bad value\n.\n"),
        (
            "-j set 0000000000000001 allowDNS=1",
            "404 set unknown network\n.\n",
        ),
        ("get NET name", "200 get lab%20net\n.\n"),
        ("get NET ip", "200 get 10.0.0.1\n200 get fd00::1\n.\n"),
        ("get NET ip6", "200 get -\n.\n"),
        ("get NET what", "404 get unknown property\n.\n"),
        ("get 0000000000000001 name", "404 get unknown network\n.\n"),
        ("orbit 1234567890 1234567890", "200 orbit OK\n.\n"),
        ("orbit 1234567891", "501 orbit not built\n.\n"),
        ("deorbit 1234567890", "200 deorbit OK\n.\n"),
        (
            "-j deorbit 1234567890",
            "200 deorbit json\n{\"result\":true}\n.\n",
        ),
        (
            "-j join 0000000000000001",
            "500 join EPERM cannot open /dev/net/tun\n.\n",
        ),
        ("log debug", "200 log OK\n.\n"),
        (
            "stop",
            "401 stop only for root and the daemon's own user\n.\n",
        ),
        (
            "paths 1234567890",
            "200 paths <local>\n200 paths a%20b\n.\n",
        ),
    ]
    .map(|(q, a)| (ask(q), a.to_owned()));
    let mut requests = requests.to_vec();
    requests.push((ask("-j join NET"), json("join")));
    requests.push((ask("-j set NET allowDNS=1"), json("set")));
    let requests: Vec<(&str, &str)> = requests
        .iter()
        .map(|(q, a)| (q.as_str(), a.as_str()))
        .collect();
    let fake = scratch.serve(&requests);
    let object = format!("{{\"id\":\"{NET}\",\"mtu\":2800}}");
    let foreign = "0000000000000001";
    let unknown = "unknown network ID, check that you are a member of the network\n";
    let property = "error, unknown property name\n";

    scratch.cli(&["join", NET]).is(0, "200 join OK\n", "");
    scratch
        .cli(&["join", NET, "allowDNS=true", "allowManaged=10.0.0.0/8"])
        .is(0, "200 join OK\n", "");
    scratch.cli(&["-j", "join", NET]).is(0, &object, "");
    scratch
        .cli(&["join", foreign])
        .is(1, "500 join EPERM cannot open /dev/net/tun\n", "");
    scratch
        .cli(&["join", foreign, "-j"])
        .is(1, "500 join EPERM cannot open /dev/net/tun\n", "");
    scratch.cli(&["leave", NET]).is(0, "200 leave OK\n", "");
    scratch.cli(&["leave", foreign]).is(0, "200 leave OK\n", "");
    scratch
        .cli(&["leave", NET, "-j"])
        .is(0, "{\"result\":true}", "");
    scratch.cli(&["leave", foreign, "-j"]).is(0, "{}", "");
    scratch
        .cli(&["set", NET, "allowDNS=true"])
        .is(0, &object, "");
    scratch
        .cli(&["set", NET, "ifname=a b"])
        .is(2, "400 set bad value\n", "");
    let ran = scratch.cli(&["set", NET, "what=1"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), property));
    let hint = "zerotier-cli: set: no setting \"what\"; there are allowManaged allowGlobal ";
    assert!(ran.err.contains(hint), "{ran:?}");
    scratch
        .cli(&["set", foreign, "allowDNS=1"])
        .is(1, "", unknown);
    scratch.cli(&["get", NET, "name"]).is(0, "lab net\n", "");
    scratch
        .cli(&["get", NET, "ip"])
        .is(0, "10.0.0.1\nfd00::1\n", "");
    scratch.cli(&["get", NET, "ip6"]).is(0, "\n", "");
    scratch.cli(&["get", NET, "what"]).is(1, property, "");
    scratch.cli(&["get", foreign, "name"]).is(1, "", unknown);
    scratch
        .cli(&["orbit", "1234567890", "1234567890"])
        .is(0, "200 orbit OK\n", "");
    scratch
        .cli(&["orbit", "1234567891"])
        .is(1, "501 orbit not built\n", "");
    scratch
        .cli(&["deorbit", "1234567890"])
        .is(0, "200 deorbit OK\n", "");
    scratch
        .cli(&["-j", "deorbit", "1234567890"])
        .is(0, "{\"result\":true}", "");
    scratch.cli(&["log", "debug"]).is(0, "200 log OK\n", "");
    scratch
        .cli(&["stop"])
        .is(1, "401 stop only for root and the daemon's own user\n", "");
    scratch
        .cli(&["paths", "1234567890"])
        .is(0, "200 paths <local>\n200 paths a b\n", "");
    fake.asked();
}

#[test]
fn json_is_indented_by_one_blank_and_paths_print_it_as_it_is() {
    let scratch = Scratch::new();
    let fake = scratch.serve(&[
        (
            "-j info",
            "200 info json\n{\"address\":\"08e81158d0\",\"config\":\n{}}\n.\n",
        ),
        (
            "-j listnetworks",
            "200 listnetworks json\n[\n{\"nwid\":\"08e81158d081fdcb\"}\n]\n.\n",
        ),
        ("-j listpeers", "200 listpeers json\n[\n]\n.\n"),
        ("-j listmoons", "200 listmoons json\n[\n]\n.\n"),
        ("-j peers", "200 peers json\n[\n.\n"),
        ("-j conf", "501 conf not built\n.\n"),
    ]);
    let info = "{\n \"address\": \"08e81158d0\",\n \"config\": {}\n}\n";
    scratch.cli(&["-j", "info"]).is(0, info, "");
    scratch.cli(&["info", "--json"]).is(0, info, "");
    let networks = "[\n {\n  \"nwid\": \"08e81158d081fdcb\"\n }\n]\n";
    scratch.cli(&["-j", "listnetworks"]).is(0, networks, "");
    scratch.cli(&["listmoons"]).is(0, "[]\n", "");
    let ran = scratch.cli(&["-j", "peers"]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.out.starts_with("200 peers invalid JSON response ("),
        "{ran:?}"
    );
    scratch
        .cli(&["-j", "conf"])
        .is(1, "501 conf not built\n", "");
    let status = "{\"address\":\"08e81158d0\",\"config\":{}}";
    scratch.cli(&["/status"]).is(0, status, "");
    let network = format!("/network/{NET}");
    scratch
        .cli(&[&network])
        .is(0, "{\"nwid\":\"08e81158d081fdcb\"}", "");
    let absent = "404 /network/0000000000000000 {}\n";
    scratch
        .cli(&["/network/0000000000000000"])
        .is(1, absent, "");
    scratch.cli(&["/peer/08e81158d0"]).is(0, "{}", "");
    scratch.cli(&["/nope"]).is(1, "404 /nope \n", "");
    fake.asked();
}

#[test]
fn monitor_prints_events_until_the_service_goes() {
    let scratch = Scratch::new();
    let events = "! 1 1795435032062 node state=ONLINE\n! 2 1795435032063 log text=a%20b\n";
    let fake = scratch.serve(&[
        (
            "monitor node log",
            &format!("close 200 monitor OK\n.\n{events}"),
        ),
        ("monitor what", "400 monitor unknown class\n.\n"),
    ]);
    scratch.cli(&["monitor", "node", "log"]).is(0, events, "");
    scratch
        .cli(&["monitor", "what"])
        .is(2, "400 monitor unknown class\n", "");
    fake.asked();
}

#[test]
fn wait_asks_again_after_an_event() {
    let scratch = Scratch::new();
    let get = format!("get {NET} status");
    let fake = scratch.serve(&[
        ("monitor network", "200 monitor OK\n.\n"),
        (
            &get,
            "200 get REQUESTING_CONFIGURATION\n.\n! 1 1 network status=OK\n \
             then 200 get OK\n.\n",
        ),
        (
            "get 0000000000000001 status",
            "404 get unknown network\n.\n",
        ),
        ("get 0000000000000002 status", "200 get ACCESS_DENIED\n.\n"),
    ]);
    scratch.cli(&["wait", NET]).is(0, "", "");
    let unknown = "unknown network ID, check that you are a member of the network\n";
    scratch
        .cli(&["wait", "0000000000000001"])
        .is(1, "", unknown);
    let ran = scratch.cli(&["wait", "0000000000000002", "0"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""));
    let text = "0000000000000002 is ACCESS_DENIED after 0 seconds\n";
    assert!(ran.err.ends_with(text), "{ran:?}");
    let asked = fake.asked();
    assert_eq!(asked.iter().filter(|q| **q == get).count(), 2, "{asked:?}");
}

#[test]
fn dump_hides_secrets() {
    let scratch = Scratch::new();
    write(
        &scratch.home().join("local.conf"),
        r#"{"settings":{"primaryPort":9993,"vault":{"vaultToken":"hvs.x"}}}"#,
    );
    let fake = scratch.serve(&[("dump", "200 dump <row>\n200 status uptime 1\n.\n")]);
    let ran = scratch.cli(&["dump"]);
    assert_eq!(ran.status, Some(0));
    assert!(ran.out.contains("\n200 status uptime 1\n"), "{ran:?}");
    assert!(ran.out.contains("\"primaryPort\": 9993"), "{ran:?}");
    assert!(!ran.out.contains("hvs.x"), "{ran:?}");
    assert!(
        !scratch.dir.join("zerotier_dump.txt").exists(),
        "it went to standard output"
    );
    fake.asked();
}

#[test]
fn the_home_comes_from_the_environment_too() {
    let scratch = Scratch::new();
    let fake = scratch.serve(&[("info", "200 info 08e81158d0 1.14.1 ONLINE\n.\n")]);
    let run = |command: &mut Command| Ran::from(command.output().unwrap());
    let wanted = "200 info 08e81158d0 1.14.1 ONLINE\n";
    run(scratch
        .program("zerotier-cli")
        .env("ZEROTIER_HOME", scratch.home())
        .arg("info"))
    .is(0, wanted, "");
    run(scratch
        .program("zerotier-cli")
        .args(["-D", "home", "info", "-q", "-p9993", "-Tx"]))
    .is(0, wanted, "");
    fake.asked();
}
