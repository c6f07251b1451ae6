//! What is asked and answered.

use serde_json::Value;
use zt::service::control::{Caller, Code, Refusal, line};

use super::client::{Client, OWNER, all, connected, first, json};
use crate::fake_daemon::{Fake, IDENTITY, NET, WALL, has_fields_of};

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
    host.refusal = Some(Refusal::os(
        libc::EPERM,
        format_args!("cannot open /dev/net/tun"),
    ));
    let reply = first(host, &format!("join {NET}"));
    assert_eq!(reply, "500 join EPERM cannot open /dev/net/tun");
    host.refusal = Some(Refusal::new(Code::NotFound, format_args!("not joined")));
    assert_eq!(first(host, &format!("leave {NET}")), "404 leave not joined");
    host.refusal = Some(Refusal::new(Code::Conflict, format_args!("name in use")));
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
        (
            "bond",
            "501 bond there is no bonding: each peer is reached over the best of its paths",
        ),
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
    let recorded: Value =
        serde_json::from_str(include_str!("../recorded/http-answers.json")).unwrap();
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
    host.refusal = Some(Refusal::os(
        libc::EPERM,
        format_args!("cannot open /dev/net/tun"),
    ));
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
