//! The control protocol: lines, connections in memory, and the server on a real socket
//! (service 6).
#![cfg(feature = "os")]

mod fake_daemon;

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use proptest::prelude::*;
use serde_json::Value;

use fake_daemon::{Fake, IDENTITY, NET, START, Stream, WALL, address, has_fields_of};
use zt::base::{Mono, UnixMs};
use zt::service::control::conn::{Conn, IDLE_MS, INPUT_BYTES, OUTPUT_BYTES, Turn};
use zt::service::control::line::{self, LINE_MAX, ROW_MAX};
use zt::service::control::{Access, CONNS_MAX, Caller, Class, Code, Field, Refusal, Server};

/// A connection and who sits at its other end.
struct Client {
    conn: Conn<Stream>,
    stream: Stream,
    now: Mono,
}

const OWNER: Caller = Caller {
    uid: Some(0),
    pid: Some(1),
    is_owner: true,
    read_only: false,
};

impl Client {
    /// Connected, greeting read.
    fn new(host: &Fake) -> Self {
        Self::of(host, OWNER)
    }

    fn of(host: &Fake, caller: Caller) -> Self {
        let stream = Stream::default();
        stream.0.borrow_mut().window = usize::MAX;
        let conn = Conn::new(stream.clone(), caller, START, host);
        Self {
            conn,
            stream,
            now: START,
        }
    }

    fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.0.borrow_mut().incoming.extend(text.as_ref());
        self.conn.ready();
    }

    fn end(&mut self) {
        self.stream.0.borrow_mut().ended = true;
        self.conn.ready();
    }

    fn window(&mut self, bytes: usize) {
        self.stream.0.borrow_mut().window = bytes;
        self.conn.ready();
    }

    /// Turns until it waits or is closed. `true`: closed.
    fn run(&mut self, host: &mut Fake) -> bool {
        for _ in 0..100_000 {
            match self.conn.turn(self.now, host) {
                Turn::More => {}
                Turn::Wait => return false,
                Turn::Closed => return true,
            }
        }
        panic!("it never comes to rest");
    }

    fn received(&mut self) -> String {
        let bytes = std::mem::take(&mut self.stream.0.borrow_mut().outgoing);
        String::from_utf8(bytes).unwrap()
    }

    /// One request, its whole reply without the dot.
    fn ask(&mut self, host: &mut Fake, request: &str) -> Vec<String> {
        self.send(format!("{request}\n"));
        assert!(!self.run(host), "closed by {request}");
        let text = self.received();
        let reply = text
            .strip_suffix(".\n")
            .unwrap_or_else(|| panic!("no end: {text}"));
        assert!(!reply.contains("\n.\n"), "more than one reply: {text}");
        assert!(reply.lines().all(|l| l.len() < ROW_MAX));
        reply.lines().map(str::to_owned).collect()
    }
}

fn connected(host: &mut Fake) -> Client {
    let mut client = Client::new(host);
    assert!(!client.run(host));
    let greeting = client.received();
    let version = zt::service::VERSION;
    assert_eq!(
        greeting,
        format!("220 zt-ctl/1 {version} 3c9439e96a rw\n.\n")
    );
    client
}

/// The first row of a reply to a request, on a connection of its own.
fn first(host: &mut Fake, request: &str) -> String {
    connected(host).ask(host, request).swap_remove(0)
}

fn all(host: &mut Fake, request: &str) -> Vec<String> {
    connected(host).ask(host, request)
}

fn json(host: &mut Fake, request: &str) -> Value {
    let mut reply = all(host, &format!("-j {request}"));
    let command = request.split(' ').next().unwrap();
    assert_eq!(reply.remove(0), format!("200 {command} json"));
    assert!(reply.iter().all(|line| !line.starts_with('.')));
    serde_json::from_str(&reply.concat()).unwrap()
}

#[test]
fn info_is_followed_by_status_rows() {
    let host = &mut Fake::new();
    let (major, minor, revision) = zt::VERSION;
    for command in ["info", "status"] {
        let reply = all(host, command);
        assert_eq!(
            reply[0],
            format!("200 info 3c9439e96a {major}.{minor}.{revision} ONLINE")
        );
        assert_eq!(
            reply[1..],
            [
                format!("200 status identity {IDENTITY}").as_str(),
                "200 status uptime 12345",
                "200 status clock 1795435032062",
                "200 status clock-ok yes",
                "200 status port 29993",
                "200 status planet 0000000008eac90a 1644592324813",
                "200 status rss 2000000",
                "200 status rx 10 1000",
                "200 status tx 20 2000",
                "200 status offline -",
                "200 status collision no",
                "200 status bound 10.99.0.1/29993",
                "200 status bound fd00::1/29993",
                "200 status surface 198.51.100.7/29993",
                "200 status drops junk 3",
                "200 status drops malformed 0",
                "200 status tables 512",
            ]
        );
    }
}

#[test]
fn peers_and_paths() {
    let host = &mut Fake::new();
    assert_eq!(
        all(host, "listpeers"),
        [
            "200 listpeers <ztaddr> <path> <latency> <version> <role>",
            "200 listpeers 62f865ae71 - -1 - PLANET",
            "200 listpeers 3d6ce22a72 10.99.0.2/29993;-1;16674 28 1.14.1 LEAF",
        ]
    );
    assert_eq!(
        all(host, "peers")[1..],
        [
            "200 peers 62f865ae71 - PLANET -1 RELAY -1 -1 -",
            "200 peers 3d6ce22a72 1.14.1 LEAF 28 DIRECT -1 16674 10.99.0.2/29993",
        ]
    );
    assert_eq!(
        all(host, "paths 3d6ce22a72")[1..],
        ["200 paths 10.99.0.1/29993 10.99.0.2/29993 eth0 -1 16674 28 7 yes"]
    );
    assert_eq!(all(host, "paths 62f865ae71").len(), 1);
    assert_eq!(first(host, "paths 1111111111"), "404 paths unknown peer");
    assert_eq!(first(host, "paths zz"), "400 paths bad address");
    assert_eq!(first(host, "paths"), "400 paths address missing");
}

#[test]
fn networks_and_their_properties() {
    let host = &mut Fake::new();
    assert_eq!(
        all(host, "listnetworks")[1..],
        [format!(
            "200 listnetworks {NET} lab%20net%20100%25 ca:f5:69:c1:00:c1 OK PRIVATE ztmjfmfyq5 \
             fcd8:69ec:9308:e811:58d0::1/40,10.147.17.11/24"
        )]
    );
    let reply = all(host, &format!("network {NET}"));
    assert_eq!(reply[1], format!("200 network id {NET}"));
    assert_eq!(
        reply[18..],
        [
            "200 network setting allowManaged 10.0.0.0/8,fd00::/8",
            "200 network setting allowDNS 0",
            "200 network setting ifname -",
            "200 network ip fcd8:69ec:9308:e811:58d0::1/40 yes",
            "200 network ip 10.147.17.11/24 not-allowed-managed",
            "200 network route 10.147.17.0/24 - 0 0 yes",
            "200 network route 192.168.50.0/24 10.147.17.10 0 0 connected",
            "200 network dns lab.example 10.147.17.10,10.147.17.11 not-allowed",
            "200 network mcast ff:ff:ff:ff:ff:ff 0a93110b",
            "200 network mcast ff:ff:ff:ff:ff:ff 0a93110b",
        ]
    );
    for (key, value) in [
        ("name", "lab%20net%20100%25"),
        ("mtu", "2800"),
        ("allowManaged", "1"),
        ("allowManagedPrefixes", "10.0.0.0/8,fd00::/8"),
        ("allowDNSPrefixes", "-"),
        ("broadcastEnabled", "1"),
        ("ifname", "-"),
        ("ip6plane", "fcd8:69ec:9308:e811:58d0::1"),
        ("ip6prefix", "fcd8:69ec:9308:e811:58d0"),
    ] {
        assert_eq!(
            all(host, &format!("get {NET} {key}")),
            [format!("200 get {value}")]
        );
    }
    let get = |host: &mut Fake, key: &str| all(host, &format!("get {NET} {key}"));
    let (six, four) = (
        "200 get fcd8:69ec:9308:e811:58d0::1",
        "200 get 10.147.17.11",
    );
    assert_eq!(get(host, "ip"), [six, four]);
    assert_eq!(get(host, "ip4"), [four]);
    assert_eq!(get(host, "ip6"), [six]);
    assert_eq!(get(host, "routes"), ["404 get unknown property"]);
    assert_eq!(
        first(host, "get 8056c2e21c000002 mtu"),
        "404 get unknown network"
    );
    assert_eq!(
        first(host, "network 8056c2e21c000002"),
        "404 network unknown network"
    );
    assert_eq!(first(host, "network 80"), "400 network bad network id");
    assert_eq!(first(host, "network"), "400 network network id missing");
}

#[test]
fn empty_fields_are_a_dash_and_a_dash_is_not() {
    let host = &mut Fake::new();
    for (name, field) in [("", "-"), ("-", "%2D"), ("a\u{1}b", "a%01b")] {
        host.name = name.into();
        assert_eq!(
            first(host, &format!("get {NET} name")),
            format!("200 get {field}")
        );
        assert_eq!(line::unescape(field), name);
    }
}

#[test]
fn changes_reach_the_host_and_its_refusals_the_caller() {
    let host = &mut Fake::new();
    for (request, told) in [
        (format!("join {NET}"), format!("join {NET} []")),
        (
            format!("join {NET} allowDNS=1 ifname=a%20b"),
            format!("join {NET} [(\"allowDNS\", \"1\"), (\"ifname\", \"a b\")]"),
        ),
        (format!("leave {NET}"), format!("leave {NET}")),
        (
            format!("set {NET} allowDNS=1"),
            format!("set {NET} allowDNS 1"),
        ),
        (format!("set {NET} ifname="), format!("set {NET} ifname ")),
        ("orbit 1234567890".into(), "orbit 1234567890 None".into()),
        (
            "orbit 0000001234567890 3c9439e96a".into(),
            "orbit 1234567890 Some(3c9439e96a)".into(),
        ),
        ("deorbit 1".into(), "deorbit 1".into()),
        ("log debug".into(), "log debug".into()),
        ("reload".into(), "reload".into()),
    ] {
        let command = request.split(' ').next().unwrap();
        assert_eq!(all(host, &request), [format!("200 {command} OK")]);
        assert_eq!(host.told.pop(), Some(told));
    }
    host.refusal = Some(Refusal::os(libc::EPERM, "cannot open /dev/net/tun"));
    let reply = first(host, &format!("join {NET}"));
    assert_eq!(reply, "500 join EPERM cannot open /dev/net/tun");
    host.refusal = Some(Refusal::new(Code::NotFound, "not joined"));
    assert_eq!(first(host, &format!("leave {NET}")), "404 leave not joined");
    host.refusal = Some(Refusal::new(Code::Conflict, "name in use"));
    assert_eq!(
        first(host, &format!("set {NET} ifname=eth0")),
        "409 set name in use"
    );
}

#[test]
fn bad_arguments_change_nothing() {
    let host = &mut Fake::new();
    for (request, reply) in [
        ("join 80", "400 join bad network id"),
        ("join 0000000000000000", "400 join bad network id"),
        (
            "join 8056c2e21c000001 what=1",
            "404 join unknown property what, there are allowManaged allowDNS ifname",
        ),
        (
            "join 8056c2e21c000001 allowDNS",
            "400 join settings must be <key>=<value>",
        ),
        ("leave", "400 leave network id missing"),
        ("set 8056c2e21c000001", "400 set setting missing"),
        (
            "set 8056c2e21c000001 allowDNS",
            "400 set setting must be <key>=<value>",
        ),
        (
            "set 8056c2e21c000001 what=1",
            "404 set unknown property what, there are allowManaged allowDNS ifname",
        ),
        ("set 8056c2e21c000002 allowDNS=1", "404 set unknown network"),
        ("orbit", "400 orbit moon id missing"),
        ("orbit 12345678901234567", "400 orbit bad moon id"),
        ("orbit 0", "400 orbit bad moon id"),
        ("orbit 1 zz", "400 orbit bad seed"),
        ("deorbit +1", "400 deorbit bad moon id"),
        (
            "log",
            "400 log level missing, there are off error warn info debug trace",
        ),
        (
            "monitor what",
            "400 monitor unknown class, there are node network route dns peer path moon planet log",
        ),
        ("hello x", "400 hello bad version"),
        ("hello 2", "505 hello 1"),
        ("hello 1", "200 hello 1"),
        ("frobnicate", "405 frobnicate unknown command"),
        ("Info", "400 - no such form of command"),
        ("-j", "400 - no such form of command"),
        ("join a%0ab", "400 - bad argument"),
        ("join a%zz", "400 - bad argument"),
        ("conf nothing", "404 conf unknown setting nothing, see conf"),
        ("bond", "501 bond not built"),
        ("-j help", "501 help json not built"),
        ("listpeers all", "400 listpeers too many arguments"),
        (
            "leave 8056c2e21c000001 8056c2e21c000002",
            "400 leave too many arguments, must be <nwid>",
        ),
        (
            "set 8056c2e21c000001 allowDNS=1 mtu=1400",
            "400 set too many arguments, must be <nwid> <key>=<value>",
        ),
        ("stop now", "400 stop too many arguments"),
    ] {
        assert_eq!(all(host, request), [reply], "{request}");
    }
    assert_eq!(
        first(host, "log what"),
        "400 log unknown level, there are off error warn info debug trace"
    );
    assert_eq!(host.told, ["log what"]);
    let many = format!("join{}", " a".repeat(17));
    assert_eq!(first(host, &many), "400 - too many arguments");
}

#[test]
fn moons_are_listed_or_not_built() {
    let host = &mut Fake::new();
    let reply = all(host, "listmoons");
    assert!(reply[1].starts_with(
        "200 listmoons 0000000008eac90a 1644592324813 no \
         cafe9efeb9@104.194.8.134/9993,2605:9880:200:1200:30:571:e34:51/9993 778cde7190@"
    ));
    assert_eq!(reply[2], "200 listmoons 000000deadbeef00 0 yes -");
    let moons = json(host, "listmoons");
    assert_eq!(moons[0]["id"], "0000000008eac90a");
    assert_eq!(
        moons[0]["roots"][0]["stableEndpoints"][0],
        "104.194.8.134/9993"
    );
    assert_eq!(moons[0]["signature"].as_str().unwrap().len(), 192);
    assert_eq!(
        moons[0]["updatesMustBeSignedBy"].as_str().unwrap().len(),
        128
    );
    assert_eq!(moons[1]["waiting"], true);
    host.moons = false;
    assert_eq!(all(host, "listmoons"), ["501 listmoons not built"]);
}

#[test]
fn json_has_the_fields_of_1_14_1_sorted() {
    let host = &mut Fake::new();
    let status = json(host, "info");
    assert_eq!(keys(&status).len(), 13);
    assert_eq!(status["clock"], WALL);
    let settings = &status["config"]["settings"];
    assert_eq!(settings["homeDir"], "/var/lib/zero \"tier\"");
    assert_eq!(settings["listeningOn"][1], "fd00::1/29993");
    assert_eq!(settings["surfaceAddresses"][0], "198.51.100.7/29993");

    let peers = json(host, "listpeers");
    assert_eq!(peers.as_array().unwrap().len(), 2);
    assert_eq!(peers[0]["version"], "-1.-1.-1");
    assert_eq!(peers[0]["latency"], -1);
    assert_eq!(peers[0]["paths"].as_array().unwrap().len(), 0);
    assert_eq!(peers[1]["paths"][0]["lastReceive"], WALL - 16_674);
    assert_eq!(peers[1]["paths"][0]["lastSend"], 0);

    // One network alone says what became of its parts; the list is that of 1.14.1.
    let mut network = json(host, &format!("network {NET}"));
    assert!(keys(&network).is_sorted(), "{:?}", keys(&network));
    assert_eq!(network["addresses"][0]["installed"], "yes");
    assert_eq!(network["addresses"][1]["address"], "10.147.17.11/24");
    assert_eq!(network["addresses"][1]["installed"], "not-allowed-managed");
    assert_eq!(network["routes"][0]["installed"], "yes");
    assert_eq!(network["routes"][1]["installed"], "connected");
    assert_eq!(network["dns"]["state"], "not-allowed");
    let take = |value: &mut Value, key: &str| {
        value
            .as_object_mut()
            .and_then(|map| map.shift_remove(key))
            .is_some()
    };
    assert!(take(&mut network, "addresses"));
    assert!(take(&mut network["dns"], "state"));
    assert!(take(&mut network["routes"][0], "installed"));
    assert!(take(&mut network["routes"][1], "installed"));
    assert_eq!(
        json(host, "listnetworks"),
        Value::Array(vec![network.clone()])
    );
    assert_eq!(network["name"], "lab net 100%");
    assert_eq!(network["allowManaged"], true);
    assert_eq!(network["allowManagedPrefixes"][1], "fd00::/8");
    assert_eq!(network["assignedAddresses"][1], "10.147.17.11/24");
    assert_eq!(network["dns"]["servers"][1], "10.147.17.11");
    assert_eq!(network["multicastSubscriptions"][0]["adi"], 177_410_315);
    assert_eq!(network["routes"][0]["via"], Value::Null);
    assert_eq!(network["routes"][1]["via"], "10.147.17.10");
    for object in [&status, &peers[0], &peers[1], &network] {
        let keys = keys(object);
        assert!(keys.is_sorted(), "{keys:?}");
    }

    host.joined = false;
    host.peers.clear();
    assert_eq!(json(host, "listnetworks"), Value::Array(vec![]));
    assert_eq!(json(host, "peers"), Value::Array(vec![]));
}

fn keys(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

#[test]
fn json_has_the_fields_that_were_recorded() {
    let recorded: Value = serde_json::from_str(include_str!("recorded/http-answers.json")).unwrap();
    let host = &mut Fake::new();
    let mut tried = 0;
    for case in recorded["answers"].as_array().unwrap() {
        let path = case["path"].as_str().unwrap();
        let mut words = path.split('/').skip(1);
        let (kind, id) = (words.next().unwrap(), words.next().unwrap_or_default());
        let requests: &[String] = match kind {
            "status" => &["info".into(), "status".into()],
            "peer" => &["listpeers".into(), "peers".into(), format!("paths {id}")],
            "network" => &["listnetworks".into(), format!("join {NET}")],
            "moon" => &["listmoons".into()],
            // Only over HTTP.
            _ => continue,
        };
        for request in requests {
            let answer = json(host, request);
            // The first peer was never heard.
            let peer = answer.as_array().filter(|_| kind == "peer");
            let answer = peer.and_then(|all| all.last()).unwrap_or(&answer);
            has_fields_of(answer, case);
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried}");
}

#[test]
fn changes_are_answered_in_json_as_over_http() {
    let host = &mut Fake::new();
    let network = json(host, "listnetworks")[0].clone();
    assert_eq!(json(host, &format!("join {NET}")), network);
    assert_eq!(json(host, &format!("set {NET} allowDNS=1")), network);
    let done = serde_json::json!({"result": true});
    assert_eq!(json(host, &format!("leave {NET}")), done);
    assert_eq!(json(host, "deorbit 1"), done);
    let moons = json(host, "listmoons");
    assert_eq!(json(host, "orbit 000000deadbeef00 3c9439e96a"), moons[1]);
    assert_eq!(
        json(host, "paths 3d6ce22a72"),
        json(host, "listpeers")[1].clone()
    );
    assert_eq!(host.told.len(), 5);
    host.refusal = Some(Refusal::os(libc::EPERM, "cannot open /dev/net/tun"));
    let refused = first(host, &format!("-j join {NET}"));
    assert_eq!(refused, "500 join EPERM cannot open /dev/net/tun");
}

#[test]
fn what_has_no_json_is_not_done_when_asked_for_it() {
    let host = &mut Fake::new();
    for command in ["log debug", "reload", "stop", "help", "quit", "dump"] {
        let name = command.split(' ').next().unwrap();
        let reply = first(host, &format!("-j {command}"));
        assert_eq!(reply, format!("501 {name} json not built"));
    }
    assert!(host.told.is_empty());
}

#[test]
fn long_json_is_split_between_rows() {
    let host = &mut Fake::new();
    host.groups = 1000;
    let mut client = connected(host);
    let reply = client.ask(host, &format!("-j network {NET}"));
    assert!(reply.len() > 10, "{} rows", reply.len());
    let network: Value = serde_json::from_str(&reply[1..].concat()).unwrap();
    assert_eq!(
        network["multicastSubscriptions"].as_array().unwrap().len(),
        1000
    );
    // Whoever keeps the ends of line has JSON as well.
    let kept: Value = serde_json::from_str(&reply[1..].join("\n")).unwrap();
    assert_eq!(kept, network);
}

#[test]
fn dump_shows_everything_and_stays_in_rows() {
    let host = &mut Fake::new();
    let reply = all(host, "dump");
    for row in [
        "200 status uptime 12345",
        "200 peers 62f865ae71 - PLANET -1 RELAY -1 -1 -",
        "200 paths 10.99.0.1/29993 10.99.0.2/29993 eth0 -1 16674 28 7 yes",
        "200 network status OK",
        "200 listmoons 000000deadbeef00 0 yes -",
        "200 dump line 1 with a break",
    ] {
        assert!(reply.iter().any(|r| r == row), "{row} is not in {reply:#?}");
    }
    assert!(reply.iter().all(|row| row.starts_with("200 ")));
}

#[test]
fn help_names_every_command() {
    let host = &mut Fake::new();
    let reply = all(host, "help");
    assert!(reply.contains(&"200 help set <nwid> <key>=<value>".to_owned()));
    for row in &reply[1..] {
        let command = row.split(' ').nth(2).unwrap();
        if command == "quit" {
            continue;
        }
        let answer = first(host, command);
        assert!(!answer.starts_with("405"), "{answer}");
        host.stopping = false;
    }
}

#[test]
fn quit_closes_behind_its_reply() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send("quit\ninfo\n");
    assert!(client.run(host));
    assert_eq!(client.received(), "200 quit\n.\n");
}

#[test]
fn stop_is_for_the_owner_and_then_nothing_changes_any_more() {
    let host = &mut Fake::new();
    let stranger = Caller {
        uid: Some(1000),
        is_owner: false,
        ..OWNER
    };
    let mut client = Client::of(host, stranger);
    client.run(host);
    client.received();
    let reply = client.ask(host, "stop");
    assert_eq!(reply, ["401 stop only for root and the daemon's own user"]);
    assert_eq!(client.ask(host, &format!("join {NET}")), ["200 join OK"]);
    assert_eq!(all(host, "stop"), ["200 stop OK"]);
    assert_eq!(host.told.last().unwrap(), "stop");
    assert_eq!(first(host, &format!("leave {NET}")), "503 leave stopping");
    assert!(first(host, "info").starts_with("200 info"));
}

#[test]
fn settings_of_the_daemon_are_shown_and_changed() {
    let host = &mut Fake::new();
    assert_eq!(
        all(host, "conf"),
        [
            "200 conf <key> <json>",
            "200 conf primaryPort 9993",
            "200 conf bind [\"10.0.0.1\",%201]"
        ]
    );
    assert_eq!(all(host, "conf bind"), ["200 conf [\"10.0.0.1\",%201]"]);
    assert!(host.told.is_empty());
    assert_eq!(all(host, "conf bind=[%22::%22,%201]"), ["200 conf OK"]);
    assert_eq!(all(host, "conf bind="), ["200 conf OK"]);
    assert_eq!(host.told, ["conf bind [\"::\", 1]", "conf bind "]);
}

#[test]
fn the_read_only_socket_reads_only() {
    let host = &mut Fake::new();
    let mut client = Client::of(
        host,
        Caller {
            read_only: true,
            ..OWNER
        },
    );
    client.run(host);
    assert!(client.received().ends_with(" ro\n.\n"));
    for request in [
        "join",
        "leave",
        "set",
        "orbit",
        "deorbit",
        "log debug",
        "reload",
        "stop",
        "conf bind=1",
    ] {
        let reply = client.ask(host, request);
        let command = request.split(' ').next().unwrap();
        assert_eq!(
            reply,
            [format!("403 {command} not on the read-only socket")]
        );
    }
    let reply = client.ask(host, "-j conf");
    assert_eq!(reply, ["403 conf not on the read-only socket"]);
    for request in [
        "info",
        "listpeers",
        "peers",
        "listnetworks",
        "listmoons",
        "conf",
        "dump",
        "help",
    ] {
        assert!(
            client.ask(host, request)[0].starts_with("200 "),
            "{request}"
        );
    }
    assert!(host.told.is_empty());
}

#[test]
fn requests_may_be_pipelined_and_one_runs_a_turn() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send(format!("join {NET}\r\n\n   \nleave {NET}\nget {NET} mtu\n"));
    assert_eq!(client.conn.turn(START, host), Turn::More);
    assert_eq!(host.told.len(), 1);
    assert_eq!(client.conn.turn(START, host), Turn::More);
    assert_eq!(host.told.len(), 2);
    assert_eq!(client.conn.turn(START, host), Turn::Wait);
    assert_eq!(
        client.received(),
        "200 join OK\n.\n200 leave OK\n.\n200 get 2800\n.\n"
    );
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    for byte in format!("get {NET} mtu\n").bytes() {
        assert_eq!(client.received(), "");
        client.send([byte]);
        client.run(host);
    }
    assert_eq!(client.received(), "200 get 2800\n.\n");
}

#[test]
fn half_close_lets_requests_finish() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send(format!("get {NET} mtu\nget {NET} status\n"));
    client.end();
    assert!(client.run(host));
    assert_eq!(client.received(), "200 get 2800\n.\n200 get OK\n.\n");
}

#[test]
fn a_line_cut_by_the_end_is_not_obeyed() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send(format!("set {NET} allowDNS=1"));
    client.end();
    assert!(client.run(host));
    assert_eq!(client.received(), "400 - line not ended\n.\n");
    assert!(host.told.is_empty());
}

#[test]
fn a_long_line_is_refused_once_and_dropped_to_its_end() {
    let host = &mut Fake::new();
    // The longest that is taken: LINE_MAX with its end.
    let mut client = connected(host);
    let fits = format!("join {}\n", "a".repeat(LINE_MAX - "join \n".len()));
    assert_eq!(fits.len(), LINE_MAX);
    client.send(&fits);
    client.run(host);
    assert_eq!(client.received(), "400 join bad network id\n.\n");
    for len in [LINE_MAX, LINE_MAX + 1, INPUT_BYTES, INPUT_BYTES * 3 + 7] {
        client.send(format!("join {}", "a".repeat(len - 5)));
        client.run(host);
        client.send(format!("tail\nget {NET} mtu\n"));
        client.run(host);
        assert_eq!(
            client.received(),
            "413 - line too long\n.\n200 get 2800\n.\n",
            "{len}"
        );
    }
    // Whole in one piece it is refused as well.
    client.send(format!("{}\nget {NET} mtu\n", "a".repeat(LINE_MAX)));
    client.run(host);
    assert_eq!(
        client.received(),
        "413 - line too long\n.\n200 get 2800\n.\n"
    );
}

/// Enough peers for a list of several output buffers.
fn crowded() -> Fake {
    let mut host = Fake::new();
    host.peers = (0..2000_u64).map(|n| address(0x10_0000_0000 + n)).collect();
    host
}

#[test]
fn a_slow_reader_gets_all_of_a_long_list() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.window(0);
    client.send(format!("listpeers\nget {NET} mtu\n"));
    assert!(!client.run(host));
    assert_eq!(client.received(), "", "it would block");
    let mut text = String::new();
    for step in 0.. {
        assert!(step < 100_000, "no progress");
        client.window(97);
        assert!(!client.run(host));
        let part = client.received();
        if part.is_empty() {
            break;
        }
        text += &part;
    }
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 1 + 2000 + 1 + 2);
    assert_eq!(
        rows[2000],
        "200 listpeers 10000007cf 10.99.0.2/29993;-1;16674 28 1.14.1 LEAF"
    );
    assert_eq!(rows[2001..], [".", "200 get 2800", "."]);
}

#[test]
fn a_list_is_made_as_it_is_read_and_no_turn_makes_more_than_a_buffer() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.send("listpeers\n");
    assert_eq!(client.conn.turn(START, host), Turn::More);
    let part = client.received();
    assert!(
        part.len() <= OUTPUT_BYTES && part.len() > OUTPUT_BYTES / 2,
        "{}",
        part.len()
    );
    // Who goes away meanwhile is not in the rest.
    host.peers.truncate(500);
    client.run(host);
    let rows = part.lines().count() + client.received().lines().count();
    assert_eq!(rows, 1 + 500 + 1);
}

#[test]
fn a_reader_that_does_not_read_stops_its_own_requests() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.window(0);
    let joins = format!("join {NET}\n").repeat(1000);
    client.send("listpeers\n");
    client.send(&joins);
    assert!(!client.run(host));
    assert!(host.told.is_empty(), "no command runs before its turn");
    let waiting = client.stream.0.borrow().incoming.len();
    assert_eq!(
        waiting,
        joins.len() - INPUT_BYTES,
        "and no more is read than fits"
    );
    client.window(usize::MAX);
    assert!(!client.run(host));
    assert_eq!(host.told.len(), 1000);
}

#[test]
fn events_stand_between_replies() {
    let host = &mut crowded();
    let mut client = connected(host);
    assert_eq!(client.ask(host, "monitor network log"), ["200 monitor OK"]);
    let wall = UnixMs::from_ms(WALL);
    client.window(100);
    client.send(format!("listpeers\nget {NET} mtu\n"));
    client.run(host);
    let name = "lab net";
    let heard = client.conn.event(
        wall,
        Class::Network,
        format_args!("nwid={NET} status=OK name={}", Field(name)),
    );
    assert!(heard);
    assert!(
        !client
            .conn
            .event(wall, Class::Peer, format_args!("not=wanted"))
    );
    client.window(usize::MAX);
    client.run(host);
    let text = client.received();
    let rows: Vec<&str> = text.lines().collect();
    let event = format!("! 1 {WALL} network nwid={NET} status=OK name=lab%20net");
    assert_eq!(rows[2001..], [".", &event, "200 get 2800", "."]);
    // Other classes, same numbering.
    assert_eq!(client.ask(host, "monitor"), ["200 monitor OK"]);
    assert!(!client.conn.event(wall, Class::Log, format_args!("text=x")));
    assert!(
        client
            .conn
            .event(wall, Class::Node, format_args!("state=ONLINE"))
    );
    client.run(host);
    assert_eq!(client.received(), format!("! 2 {WALL} node state=ONLINE\n"));
    assert_eq!(client.ask(host, "monitor off"), ["200 monitor OK"]);
    assert!(
        !client
            .conn
            .event(wall, Class::Node, format_args!("state=ONLINE"))
    );
}

#[test]
fn a_reader_learns_how_many_events_it_lost() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.ask(host, "monitor");
    client.window(0);
    let wall = UnixMs::from_ms(WALL);
    let sent = 2000;
    for n in 0..sent {
        client
            .conn
            .event(wall, Class::Node, format_args!("number={n}"));
        client.run(host);
    }
    client.window(usize::MAX);
    client.run(host);
    let text = client.received();
    let (mut seen, mut lost, mut next) = (0, 0, 0);
    for (seq, row) in (1..).zip(text.lines()) {
        let rest = row.strip_prefix(&format!("! {seq} {WALL} ")).expect(row);
        if let Some(n) = rest.strip_prefix("lost n=") {
            let n: usize = n.parse().unwrap();
            assert!(n > 0);
            lost += n;
            next += n;
        } else {
            assert_eq!(rest, format!("node number={next}"), "out of order");
            seen += 1;
            next += 1;
        }
    }
    assert_eq!(seen + lost, sent);
    assert!(lost > 0 && seen > 300, "lost {lost}, seen {seen}");
    client
        .conn
        .event(wall, Class::Node, format_args!("number=last"));
    client.run(host);
    assert!(client.received().ends_with("node number=last\n"));
}

#[test]
fn silence_ends_a_connection_but_not_a_monitor() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    assert_eq!(client.conn.deadline(), Some(START.after(IDLE_MS)));
    client.now = START.after(IDLE_MS - 1);
    client.ask(host, "info");
    assert_eq!(client.conn.deadline(), Some(client.now.after(IDLE_MS)));
    client.now = client.now.after(IDLE_MS);
    assert!(client.run(host));

    let mut client = connected(host);
    client.ask(host, "monitor");
    assert_eq!(client.conn.deadline(), None);
    client.now = START.after(IDLE_MS * 10);
    assert!(!client.run(host));
}

#[test]
fn a_broken_stream_closes() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let host = &mut Fake::new();
    let mut conn = Conn::new(Broken, OWNER, START, host);
    assert_eq!(conn.turn(START, host), Turn::Closed);
}

proptest! {
    #[test]
    fn any_bytes_parse_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Some(request)) = line::parse(&mut bytes) {
            prop_assert!((1..=16).contains(&request.command.len()));
            prop_assert!(request.args().len() <= line::ARGS_MAX);
            for arg in request.args() {
                prop_assert!(!arg.is_empty());
                prop_assert!(!arg.chars().any(|c| c.is_ascii_control()));
            }
        }
    }

    #[test]
    fn fields_survive_the_way_to_the_other_side(
        fields in prop::collection::vec("[ -~äß€😀]{1,40}", 0..16),
        json in any::<bool>(),
    ) {
        let mut text = String::from(if json { "-j set" } else { "set" });
        for field in &fields {
            write!(text, " {}", Field(field)).unwrap();
        }
        let mut bytes = text.into_bytes();
        let request = line::parse(&mut bytes).unwrap().unwrap();
        prop_assert_eq!(request.command, "set");
        prop_assert_eq!(request.json, json);
        prop_assert_eq!(request.args(), fields);
    }

    #[test]
    fn unescape_undoes_escape(text in "\\PC{0,60}") {
        let field = Field(&text).to_string();
        prop_assert!(!field.is_empty() && !field.contains(' '));
        prop_assert_eq!(line::unescape(&field), text);
    }

    /// Whatever comes in, whole or in pieces, each line has one reply, and the replies have the
    /// form of 6.3.
    #[test]
    fn any_input_is_answered_in_form(
        chunks in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..50),
                "[a-z0-9 %.-]{0,20}\n".prop_map(String::into_bytes),
                prop::sample::select(vec![
                    "info\n", "help\n", "listpeers\n", "-j info\n", "monitor\n",
                    "get 8056c2e21c000001 ip\n", "\r\n", "quit\n",
                ]).prop_map(|s| s.as_bytes().to_vec()),
                (900..6000_usize).prop_map(|n| vec![b'a'; n]),
            ],
            0..20,
        ),
        window in 1..5000_usize,
    ) {
        let host = &mut Fake::new();
        let mut client = Client::new(host);
        let mut text = Vec::new();
        let mut closed = false;
        for chunk in &chunks {
            client.send(chunk);
            client.window(window);
            closed = closed || client.run(host);
            text.append(&mut client.stream.0.borrow_mut().outgoing);
        }
        client.end();
        for _ in 0..10_000 {
            client.window(window);
            closed = closed || client.run(host);
            text.append(&mut client.stream.0.borrow_mut().outgoing);
            if closed {
                break;
            }
        }
        prop_assert!(closed, "it goes on for ever");
        let text = String::from_utf8(text).unwrap();
        prop_assert!(text.ends_with("\n.\n"));
        let input = chunks.concat();
        let lines = input.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count();
        let replies = text.split("\n.\n").count() - 1;
        prop_assert!(replies <= lines + 1, "{replies} replies to {lines} lines");
        for reply in text.split_terminator("\n.\n") {
            let code = reply.split(' ').next().unwrap();
            prop_assert!(code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()), "{reply}");
            prop_assert!(reply.lines().all(|l| !l.starts_with('.') && l.len() < ROW_MAX));
        }
    }
}

mod on_a_socket {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::time::Duration;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("zt-ctl-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    struct Daemon {
        poll: Poll,
        server: Server,
        host: Fake,
        _home: Scratch,
        home: PathBuf,
    }

    impl Daemon {
        fn new(name: &str, access: Access) -> Self {
            let scratch = Scratch::new(name);
            let home = scratch.0.clone();
            let poll = Poll::new().unwrap();
            let server = Server::open(&home, access, poll.registry(), Token(10)).unwrap();
            Self {
                poll,
                server,
                host: Fake::new(),
                _home: scratch,
                home,
            }
        }

        /// The loop, until nothing happens any more.
        fn run(&mut self) {
            let mut events = Events::with_capacity(16);
            loop {
                let more = self
                    .server
                    .turn(START, self.poll.registry(), &mut self.host);
                let wait = if more { 0 } else { 20 };
                self.poll
                    .poll(&mut events, Some(Duration::from_millis(wait)))
                    .unwrap();
                if events.is_empty() && !more {
                    return;
                }
                for event in &events {
                    assert!(self.server.owns(event.token()));
                    self.server.ready(event.token());
                }
            }
        }

        fn connect(&mut self) -> BufReader<UnixStream> {
            let stream = UnixStream::connect(line::socket_path(&self.home)).unwrap();
            self.run();
            BufReader::new(stream)
        }
    }

    fn reply(reader: &mut BufReader<UnixStream>) -> Vec<String> {
        let mut rows = Vec::new();
        loop {
            let mut row = String::new();
            assert!(
                reader.read_line(&mut row).unwrap() > 0,
                "ended after {rows:?}"
            );
            if row == ".\n" {
                return rows;
            }
            rows.push(row.trim_end().to_owned());
        }
    }

    #[test]
    fn one_asks_and_one_listens() {
        let mut daemon = Daemon::new("asks", Access::default());
        let mode = std::fs::metadata(line::socket_path(&daemon.home))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let (mut asks, mut listens) = (daemon.connect(), daemon.connect());
        assert!(reply(&mut asks)[0].starts_with("220 zt-ctl/1 "));
        reply(&mut listens);
        listens.get_mut().write_all(b"monitor\n").unwrap();
        daemon.run();
        assert_eq!(reply(&mut listens), ["200 monitor OK"]);
        asks.get_mut()
            .write_all(format!("join {NET}\nstop\n").as_bytes())
            .unwrap();
        daemon.run();
        assert_eq!(reply(&mut asks), ["200 join OK"]);
        // We run as the daemon's user.
        assert_eq!(reply(&mut asks), ["200 stop OK"]);
        let wall = UnixMs::from_ms(WALL);
        assert!(
            daemon
                .server
                .publish(wall, Class::Node, format_args!("state=ONLINE"))
        );
        daemon.run();
        let mut event = String::new();
        listens.read_line(&mut event).unwrap();
        assert_eq!(event, format!("! 1 {WALL} node state=ONLINE\n"));
        assert_eq!(daemon.server.next_deadline(), Some(START.after(IDLE_MS)));
        drop(asks);
        daemon.run();
        assert_eq!(daemon.server.next_deadline(), None, "the monitor stays");
    }

    #[test]
    fn the_ninth_is_turned_away_and_a_free_place_is_used_again() {
        let mut daemon = Daemon::new("ninth", Access::default());
        let mut clients: Vec<_> = (0..CONNS_MAX).map(|_| daemon.connect()).collect();
        let mut ninth = daemon.connect();
        assert_eq!(reply(&mut ninth), ["503 zt-ctl too many connections"]);
        assert_eq!(ninth.read_line(&mut String::new()).unwrap(), 0);
        clients.pop();
        daemon.run();
        assert!(reply(&mut daemon.connect())[0].starts_with("220 "));
    }

    #[test]
    fn a_crowd_at_the_door_is_answered_to_the_last() {
        let mut daemon = Daemon::new("crowd", Access::default());
        let path = line::socket_path(&daemon.home);
        let crowd: Vec<_> = (0..3 * CONNS_MAX)
            .map(|_| BufReader::new(UnixStream::connect(&path).unwrap()))
            .collect();
        daemon.run();
        let greetings: Vec<String> = crowd
            .into_iter()
            .map(|mut c| reply(&mut c).swap_remove(0))
            .collect();
        let inside = greetings.iter().filter(|g| g.starts_with("220 ")).count();
        assert_eq!(inside, CONNS_MAX, "{greetings:?}");
    }

    #[test]
    fn the_silent_are_closed_when_their_time_is_over() {
        let mut daemon = Daemon::new("silent", Access::default());
        let (mut silent, mut listens) = (daemon.connect(), daemon.connect());
        reply(&mut silent);
        reply(&mut listens);
        listens.get_mut().write_all(b"monitor\n").unwrap();
        daemon.run();
        reply(&mut listens);
        let end = daemon.server.next_deadline().unwrap();
        assert_eq!(end, START.after(IDLE_MS));
        let registry = daemon.poll.registry();
        let early = START.after(IDLE_MS - 1);
        daemon.server.turn(early, registry, &mut daemon.host);
        assert_eq!(daemon.server.next_deadline(), Some(end));
        daemon.server.turn(end, registry, &mut daemon.host);
        assert_eq!(daemon.server.next_deadline(), None);
        assert_eq!(silent.read_line(&mut String::new()).unwrap(), 0);
        let wall = UnixMs::from_ms(WALL);
        let news = format_args!("state=ONLINE");
        assert!(daemon.server.publish(wall, Class::Node, news));
    }

    #[test]
    fn a_turn_takes_one_command_whoever_asks_and_nobody_is_passed_over() {
        let mut daemon = Daemon::new("turns", Access::default());
        let mut clients: Vec<_> = (0..CONNS_MAX).map(|_| daemon.connect()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            reply(client);
            let twice = format!("deorbit {}\n", n + 1).repeat(2);
            client.get_mut().write_all(twice.as_bytes()).unwrap();
        }
        let mut events = Events::with_capacity(16);
        let wait = Some(Duration::from_millis(20));
        daemon.poll.poll(&mut events, wait).unwrap();
        for event in &events {
            daemon.server.ready(event.token());
        }
        let mut order = Vec::new();
        for n in 1..=2 * CONNS_MAX {
            let registry = daemon.poll.registry();
            let more = daemon.server.turn(START, registry, &mut daemon.host);
            assert_eq!(daemon.host.told.len(), n, "commands in {n} turns");
            assert!(more || n == 2 * CONNS_MAX, "turn {n}");
            order.push(daemon.host.told[n - 1].clone());
        }
        let (first, second) = order.split_at(CONNS_MAX);
        assert_eq!(first, second, "each once, then each again");
        let all: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(all.len(), CONNS_MAX, "{first:?}");
    }

    #[test]
    fn a_group_may_command_if_the_owner_says_so() {
        use std::os::unix::fs::MetadataExt as _;
        let group = nix::unistd::getegid().as_raw();
        let access = Access {
            group: Some(group),
            read_only_socket: false,
        };
        let daemon = Daemon::new("group", access);
        let meta = std::fs::metadata(line::socket_path(&daemon.home)).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, group));
    }

    #[test]
    fn who_may_connect_can_be_said_anew() {
        use std::os::unix::fs::MetadataExt as _;
        use zt::service::local_conf::Router;
        let group = nix::unistd::getegid();
        let name = nix::unistd::Group::from_gid(group).unwrap().unwrap().name;
        let settings = |group: Option<&str>, control_read_only| Router {
            control_group: group.map(str::to_owned),
            control_read_only,
            ..Router::default()
        };
        let mut daemon = Daemon::new("anew", Access::default());
        let (path, read_only) = (
            line::socket_path(&daemon.home),
            line::read_only_socket_path(&daemon.home),
        );
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        for (group, open, wanted) in [
            (Some(name.as_str()), true, 0o660),
            (Some("no-such-group"), true, 0o600),
            (None, false, 0o600),
            (Some(name.as_str()), false, 0o660),
            (None, true, 0o600),
        ] {
            let access = Access::of(&settings(group, open));
            daemon.server.set_access(access, daemon.poll.registry());
            assert_eq!(mode(&path), wanted, "{group:?}");
            assert_eq!(read_only.exists(), open);
            if open {
                assert_eq!(mode(&read_only), 0o666);
                let stream = UnixStream::connect(&read_only).unwrap();
                daemon.run();
                let greeting = reply(&mut BufReader::new(stream));
                assert!(greeting[0].ends_with(" ro"), "{greeting:?}");
            }
            assert!(reply(&mut daemon.connect())[0].ends_with(" rw"));
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let home = Scratch::new("stale");
        let path = line::socket_path(&home.0);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let poll = Poll::new().unwrap();
        let open = || Server::open(&home.0, Access::default(), poll.registry(), Token(0));
        let server = open().unwrap();
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn the_second_socket_reads_only() {
        let access = Access {
            group: None,
            read_only_socket: true,
        };
        let mut daemon = Daemon::new("second", access);
        let path = line::read_only_socket_path(&daemon.home);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o666
        );
        let mut client = BufReader::new(UnixStream::connect(&path).unwrap());
        client
            .get_mut()
            .write_all(format!("leave {NET}\n").as_bytes())
            .unwrap();
        daemon.run();
        assert!(reply(&mut client)[0].ends_with(" ro"));
        assert_eq!(
            reply(&mut client),
            ["403 leave not on the read-only socket"]
        );
    }

    #[test]
    fn a_home_with_a_long_path_uses_the_short_directory() {
        let home = PathBuf::from(format!("/{}", "d".repeat(100)));
        assert_eq!(
            line::socket_path(&home),
            PathBuf::from("/var/run/zerotier-one.sock")
        );
        let home = PathBuf::from("/var/lib/zerotier-one");
        assert_eq!(line::socket_path(&home), home.join("zerotier-one.sock"));
    }
}
