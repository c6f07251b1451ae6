//! Managed addresses, routes, rules and an exit node, by the kernel's own lists. The networks come
//! from stored configurations: their controller does not exist.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use live::stored::{self, Wishes, configuration};
use live::{Lab, PORT, Service, inside, ip, new_identity, planet, put, text_of, wait_for};
use serde_json::Value;
use zt::base::NetworkId;
use zt::wire::derive;

const NETWORK: &str = "8056c2e21c000001";

fn network() -> NetworkId {
    NetworkId::parse(NETWORK).expect("an id")
}

fn member(lab: &Lab, name: &str, seed: u8, wishes: &Wishes<'_>) -> PathBuf {
    stored::member(lab, name, seed, network(), wishes)
}

/// `ip -j …` in the namespace of a service.
fn listed(service: &Service, what: &str) -> Vec<Value> {
    let text = inside(&service.space, &format!("ip -j {what}")).unwrap_or_default();
    // Nothing at all stands for an empty list.
    let value = serde_json::from_str(&text).unwrap_or(Value::Array(vec![]));
    value.as_array().cloned().expect("a list")
}

/// Routes of ours: target, gateway or `-`, metric; sorted.
fn routes(service: &Service, table: &str) -> Vec<String> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        let what = format!("-N {family} route show table {table} proto 201");
        for route in listed(service, &what) {
            let text = |key: &str| route[key].as_str().unwrap_or("-").to_owned();
            all.push(format!(
                "{} {} {}",
                text("dst"),
                text("gateway"),
                route["metric"].as_u64().unwrap_or(0)
            ));
        }
    }
    all.sort_unstable();
    all
}

fn await_routes(service: &Service, table: &str, want: &[&str]) {
    wait_for(&format!("routes {want:?} in {table}"), || {
        routes(service, table) == want
    });
}

/// Addresses on the device that were not made by the kernel.
fn addresses(service: &Service, device: &str) -> Vec<String> {
    let of_device = listed(service, &format!("addr show dev {device}"));
    let infos = of_device
        .iter()
        .flat_map(|d| d["addr_info"].as_array().cloned().unwrap_or_default());
    let mut all: Vec<String> = infos
        .filter(|info| info["scope"] == "global")
        .map(|info| {
            format!(
                "{}/{}",
                info["local"].as_str().unwrap_or("-"),
                info["prefixlen"]
            )
        })
        .collect();
    all.sort_unstable();
    all
}

fn device(service: &Service) -> String {
    let mut name = String::new();
    wait_for("a device", || {
        let text = service.ask(&format!("get {NETWORK} portDeviceName"));
        name = text
            .lines()
            .find_map(|l| l.strip_prefix("200 get "))
            .unwrap_or("-")
            .to_owned();
        name != "-"
    });
    name
}

/// Rows of `network` that begin with a word.
fn rows(service: &Service, word: &str) -> Vec<String> {
    rows_of(service, NETWORK, word)
}

fn rows_of(service: &Service, network: &str, word: &str) -> Vec<String> {
    let text = service.ask(&format!("network {network}"));
    let prefix = format!("200 network {word} ");
    text.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}

fn set(service: &Service, pair: &str) {
    let reply = service.ask(&format!("set {NETWORK} {pair}"));
    assert!(reply.contains("200 set OK"), "{pair}: {reply}");
}

fn rules(service: &Service) -> Vec<String> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        // `ip` does not show the protocol of a rule in every form, the mark is ours alone.
        for rule in listed(service, &format!("-N {family} rule show")) {
            if let Some(mark) = rule["fwmark"].as_str() {
                all.push(format!("{family} {mark} {}", rule["table"]));
            }
        }
    }
    all
}

const ASKED: Wishes<'_> = Wishes {
    addresses: &["fd17::5/64", "10.147.17.5/24", "8.8.8.8/24"],
    routes: &[
        ("10.147.17.0/24", "-", 0),
        ("172.30.0.0/16", "-", 0),
        ("fd77::/64", "-", 0),
        ("192.168.50.0/24", "10.147.17.10", 0),
        ("192.168.51.0/24", "10.147.17.10", 77),
        ("10.77.0.0/24", "-", 0),
        ("0.0.0.0/0", "10.147.17.10", 0),
        ("192.168.60.0/24", "10.99.0.1", 0),
        ("192.168.70.0/24", "10.147.17.5", 0),
        ("9.9.9.0/24", "10.147.17.10", 0),
    ],
    mtu: 1400,
    dns: Some(("lab.example", "10.147.17.10")),
    bridges: &[],
};

/// What becomes of them with the settings of a new network.
const SET: [&str; 4] = [
    "172.30.0.0/16 - 5000",
    "192.168.50.0/24 10.147.17.10 5000",
    "192.168.51.0/24 10.147.17.10 77",
    "fd77::/64 - 5000",
];

#[test]
fn what_a_network_asks_for_is_in_the_kernel_and_what_not_has_a_reason() {
    let Some(lab) = Lab::new("ra") else { return };
    let home = member(&lab, "a", 11, &ASKED);
    let service = Service::start(&lab.space(Some("10.77.0.2/24")), &home);
    let name = device(&service);
    assert_eq!(name, derive::device_name(network(), 0).as_str());
    await_routes(&service, "main", &SET);
    assert_eq!(
        rows(&service, "route"),
        [
            "10.147.17.0/24 - 0 0 yes",
            "172.30.0.0/16 - 0 0 yes",
            "fd77::/64 - 0 0 yes",
            "192.168.50.0/24 10.147.17.10 0 0 yes",
            "192.168.51.0/24 10.147.17.10 0 77 yes",
            "10.77.0.0/24 - 0 0 connected",
            "0.0.0.0/0 10.147.17.10 0 0 not-allowed-default",
            "192.168.60.0/24 10.99.0.1 0 0 via-unreachable",
            "192.168.70.0/24 10.147.17.5 0 0 via-self",
            "9.9.9.0/24 10.147.17.10 0 0 not-allowed-global",
        ]
    );
    // In the order of the network, whatever is set.
    assert_eq!(
        rows(&service, "ip"),
        [
            "fd17::5/64 yes",
            "10.147.17.5/24 yes",
            "8.8.8.8/24 not-allowed-global"
        ]
    );
    // What this machine listens to, not that the network has broadcasts; addresses ask for
    // their own.
    wait_for("groups", || {
        let groups = rows(&service, "mcast");
        let broadcast: Vec<&str> = groups
            .iter()
            .filter_map(|g| g.strip_prefix("ff:ff:ff:ff:ff:ff "))
            .collect();
        broadcast == ["0a931105"] && groups.contains(&"01:00:5e:00:00:01 00000000".to_owned())
    });
    let list = service.ask("listnetworks");
    let all = "fd17::5/64,10.147.17.5/24,8.8.8.8/24";
    assert!(list.contains(&format!("{name} {all}")), "{list}");
    assert_eq!(addresses(&service, &name), ["10.147.17.5/24", "fd17::5/64"]);
    assert_eq!(
        rows(&service, "dns"),
        ["lab.example 10.147.17.10 not-allowed"]
    );
    // Usable at once: nobody has to find out whether it is unique.
    let six = listed(&service, &format!("-6 addr show dev {name} scope global"));
    let info = &six[0]["addr_info"][0];
    assert_eq!(info["nodad"], true, "{info}");
    assert_eq!(info["tentative"], Value::Null, "{info}");
    assert_eq!(
        listed(&service, &format!("link show dev {name}"))[0]["mtu"],
        1400
    );
    let json = service.ask(&format!("-j network {NETWORK}"));
    let json: String = json
        .lines()
        .filter(|line| line.starts_with(['{', '"']))
        .collect();
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{e}: {json}"));
    assert_eq!(json["routes"][5]["installed"], "connected");
    assert_eq!(json["routes"][4]["metric"], 77);
    assert_eq!(json["addresses"][2]["installed"], "not-allowed-global");
    assert_eq!(json["assignedAddresses"][0], "fd17::5/64");
    assert_eq!(json["dns"]["state"], "not-allowed");
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn what_somebody_takes_comes_back_and_what_he_brings_stays() {
    let Some(lab) = Lab::new("rb") else { return };
    let home = member(&lab, "a", 12, &ASKED);
    let space = lab.space(Some("10.77.0.2/24"));
    let service = Service::start(&space, &home);
    let name = device(&service);
    await_routes(&service, "main", &SET);
    ip(&format!("-n {space} route add 192.168.99.0/24 dev {name}"));
    ip(&format!("-n {space} addr add 10.200.0.1/24 dev {name}"));
    ip(&format!("-n {space} route del 192.168.50.0/24"));
    await_routes(&service, "main", &SET);
    // With the address the kernel takes what depends on it.
    ip(&format!("-n {space} addr del 10.147.17.5/24 dev {name}"));
    let both = ["10.147.17.5/24", "10.200.0.1/24", "fd17::5/64"];
    wait_for("the address", || addresses(&service, &name) == both);
    await_routes(&service, "main", &SET);
    ip(&format!("-n {space} link set {name} down"));
    ip(&format!("-n {space} link set {name} up"));
    wait_for("the addresses", || addresses(&service, &name) == both);
    await_routes(&service, "main", &SET);
    let others = format!("-4 route show 192.168.99.0/24 dev {name}");
    // The kernel took it when the device went down; it is not ours to bring back.
    assert_eq!(listed(&service, &others), [] as [Value; 0]);
    // The whole device.
    ip(&format!("-n {space} link del {name}"));
    let ours = ["10.147.17.5/24", "fd17::5/64"];
    wait_for("the device", || addresses(&service, &name) == ours);
    await_routes(&service, "main", &SET);
    // A LAN with the subnet of a managed route appears, and goes.
    ip(&format!("-n {space} addr add 172.30.1.1/16 dev eth0"));
    await_routes(&service, "main", &SET[1..]);
    let row = |state: &str| format!("172.30.0.0/16 - 0 0 {state}");
    assert!(rows(&service, "route").contains(&row("connected")));
    ip(&format!("-n {space} addr del 172.30.1.1/16 dev eth0"));
    await_routes(&service, "main", &SET);
    assert!(rows(&service, "route").contains(&row("yes")));
    // Another program has the very route: said, and left to it.
    set(&service, "allowManaged=fd00::/8");
    await_routes(&service, "main", &SET[3..]);
    let foreign = "192.168.50.0/24 via 10.77.0.1 metric 5000";
    ip(&format!("-n {space} route add {foreign}"));
    set(&service, "allowManaged=1");
    await_routes(&service, "main", &[SET[0], SET[2], SET[3]]);
    let row = |state: &str| format!("192.168.50.0/24 10.147.17.10 0 0 {state}");
    assert!(rows(&service, "route").contains(&row("EEXIST")));
    ip(&format!("-n {space} route del {foreign}"));
    await_routes(&service, "main", &SET);
    assert!(rows(&service, "route").contains(&row("yes")));
}

#[test]
fn of_two_networks_with_one_subnet_that_has_it_which_was_joined_first() {
    const SECOND: &str = "8056c2e21c000002";
    let Some(lab) = Lab::new("r2") else { return };
    let wishes = Wishes {
        addresses: &["10.147.17.5/24"],
        routes: &[
            ("10.147.17.0/24", "-", 0),
            ("10.147.17.64/26", "10.147.17.9", 0),
            ("192.168.50.0/24", "10.147.17.10", 0),
        ],
        mtu: 2800,
        ..Wishes::default()
    };
    let home = member(&lab, "a", 12, &wishes);
    let second = Wishes {
        addresses: &["10.147.17.6/24", "10.9.0.6/24"],
        routes: &[
            ("10.147.17.0/24", "-", 0),
            ("10.147.17.128/25", "10.9.0.1", 0),
            ("192.168.51.0/24", "10.9.0.1", 0),
        ],
        ..wishes
    };
    let secret = new_identity(12);
    let id = NetworkId::parse(SECOND).expect("an id");
    let conf = configuration(id, secret.identity.address, &second);
    put(&home, &format!("networks.d/{SECOND}.conf"), &conf);
    let service = Service::start(&lab.space(Some("10.77.0.2/24")), &home);
    device(&service);
    let one = [
        "10.147.17.64/26 10.147.17.9 5000",
        "192.168.50.0/24 10.147.17.10 5000",
        "192.168.51.0/24 10.9.0.1 5000",
    ];
    await_routes(&service, "main", &one);
    // Its own address is there all the same: whoever sends to it is heard.
    assert_eq!(
        rows_of(&service, SECOND, "ip"),
        ["10.147.17.6/24 yes", "10.9.0.6/24 yes"]
    );
    assert_eq!(
        rows_of(&service, SECOND, "route"),
        [
            "10.147.17.0/24 - 0 0 connected",
            "10.147.17.128/25 10.9.0.1 0 0 connected",
            "192.168.51.0/24 10.9.0.1 0 0 yes"
        ]
    );
    let kernels = || {
        let all = listed(&service, "-4 route show 10.147.17.0/24 proto kernel");
        let devices = all.iter().map(|r| r["dev"].as_str().map(str::to_owned));
        devices.flatten().collect::<Vec<String>>()
    };
    assert_eq!(kernels(), [derive::device_name(network(), 0).as_str()]);
    // With the first its subnet goes to the second.
    let left = service.ask(&format!("leave {NETWORK}"));
    assert!(left.contains("200 leave OK"), "{left}");
    let two = [
        "10.147.17.128/25 10.9.0.1 5000",
        "192.168.51.0/24 10.9.0.1 5000",
    ];
    await_routes(&service, "main", &two);
    wait_for("the subnet", || {
        kernels() == [derive::device_name(id, 0).as_str()]
    });
    assert_eq!(
        rows_of(&service, SECOND, "route")[0],
        "10.147.17.0/24 - 0 0 yes"
    );
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn settings_are_followed_without_a_restart() {
    let Some(lab) = Lab::new("rc") else { return };
    let home = member(&lab, "a", 13, &ASKED);
    let service = Service::start(&lab.space(Some("10.77.0.2/24")), &home);
    let name = device(&service);
    await_routes(&service, "main", &SET);
    set(&service, "allowManaged=0");
    await_routes(&service, "main", &[]);
    assert_eq!(addresses(&service, &name), [""; 0]);
    assert_eq!(
        rows(&service, "ip")[..2],
        [
            "fd17::5/64 not-allowed-managed",
            "10.147.17.5/24 not-allowed-managed"
        ]
    );
    // What the network assigned is listed all the same.
    assert!(service.ask("listnetworks").contains("10.147.17.5/24"));
    set(&service, "allowManaged=10.147.0.0/16,192.168.50.0/23");
    await_routes(&service, "main", &SET[1..3]);
    set(&service, "allowManaged=1");
    await_routes(&service, "main", &SET);
    set(&service, "allowGlobal=1");
    let mut all = SET.to_vec();
    all.insert(3, "9.9.9.0/24 10.147.17.10 5000");
    await_routes(&service, "main", &all);
    assert!(addresses(&service, &name).contains(&"8.8.8.8/24".to_owned()));
    set(&service, "allowGlobal=0");
    await_routes(&service, "main", &SET);
    assert!(!addresses(&service, &name).contains(&"8.8.8.8/24".to_owned()));

    set(&service, "metric=9");
    let own_metric = [
        "10.147.17.0/24 - 9",
        "172.30.0.0/16 - 9",
        "192.168.50.0/24 10.147.17.10 9",
        "192.168.51.0/24 10.147.17.10 77",
        "fd17::/64 - 9",
        "fd77::/64 - 9",
    ];
    await_routes(&service, "main", &own_metric);
    set(&service, "table=300");
    await_routes(&service, "300", &own_metric);
    assert_eq!(routes(&service, "main"), [""; 0]);
    assert_eq!(rules(&service), [""; 0]);
    set(&service, "firewallMark=256");
    let marked = ["-4 0x100 \"300\"", "-6 0x100 \"300\""];
    wait_for("rules", || rules(&service) == marked);
    // Taken by somebody, set again.
    ip(&format!(
        "-n {} rule del fwmark 256 table 300",
        service.space
    ));
    wait_for("rules", || rules(&service) == marked);
    set(&service, "mtu=1300");
    let mtu = |want: u64| {
        wait_for("the MTU", || {
            listed(&service, &format!("link show dev {name}"))[0]["mtu"] == want
        });
    };
    mtu(1300);
    set(&service, "mtu=");
    mtu(1400);
    set(&service, "ifname=lab0");
    wait_for("the other device", || device(&service) == "lab0");
    await_routes(&service, "300", &own_metric);
    assert_eq!(rules(&service), marked);
    assert_eq!(
        listed(&service, &format!("link show dev {name}")),
        [] as [Value; 0]
    );
    set(&service, "table=");
    await_routes(&service, "main", &own_metric);
    assert_eq!(rules(&service), [""; 0]);
    set(&service, "metric=");
    await_routes(&service, "main", &SET);

    set(&service, "table=300");
    wait_for("rules", || rules(&service) == marked);
    let left = service.ask(&format!("leave {NETWORK}"));
    assert!(left.contains("200 leave OK"), "{left}");
    await_routes(&service, "all", &[]);
    assert_eq!(rules(&service), [""; 0]);
    assert_eq!(listed(&service, "link show dev lab0"), [] as [Value; 0]);
}

#[test]
fn nothing_is_left_after_a_stop_and_after_a_crash() {
    let Some(lab) = Lab::new("rd") else { return };
    let home = member(&lab, "a", 14, &ASKED);
    let settings = format!("networks.d/{NETWORK}.local.conf");
    let text = "allowManaged=1\ntable=300\nfirewallMark=256\n";
    put(&home, &settings, text.as_bytes());
    let space = lab.space(Some("10.77.0.2/24"));
    let marked = ["-4 0x100 \"300\"", "-6 0x100 \"300\""];
    let service = Service::start(&space, &home);
    wait_for("rules", || rules(&service) == marked);
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    let looked = |what: &str| inside(&space, what).expect("an answer");
    assert!(!looked("ip rule show").contains("300"));

    let service = Service::start(&space, &home);
    wait_for("rules", || rules(&service) == marked);
    // Of another instance, with a route in its table: to be spared.
    ip(&format!(
        "-n {space} route add 10.66.0.0/16 dev eth0 table 301 proto 201"
    ));
    ip(&format!(
        "-n {space} rule add fwmark 7 table 301 protocol 201"
    ));
    ip(&format!("-n {space} rule add fwmark 8 table 302"));
    service.kill();
    // Else there would be nothing to clean.
    assert!(looked("ip rule show").contains("lookup 300"));
    fs::remove_dir_all(home.join("networks.d")).expect("left");
    let service = Service::start(&space, &home);
    assert_eq!(rules(&service), ["-4 0x8 \"302\"", "-4 0x7 \"301\""]);
    assert!(!looked("ip -6 rule show").contains("300"));
    assert_eq!(routes(&service, "301"), ["10.66.0.0/16 - 0"]);
    assert_eq!(routes(&service, "300"), [""; 0]);
}

#[test]
fn who_listens_hears_of_addresses_routes_and_names() {
    let Some(lab) = Lab::new("re") else { return };
    let wishes = Wishes {
        dns: Some(("bad domain\u{1b}", "10.147.17.10")),
        ..ASKED
    };
    let home = member(&lab, "a", 15, &wishes);
    let service = Service::start(&lab.space(Some("10.77.0.2/24")), &home);
    let name = device(&service);
    await_routes(&service, "main", &SET);
    let mut stream = service.connect().expect("a control socket");
    writeln!(stream, "monitor").expect("sent");
    let mut lines = BufReader::new(stream).lines();
    // Up to the reply: only what comes now is counted.
    for line in lines.by_ref() {
        if line.expect("a line").contains("monitor OK") {
            break;
        }
    }
    set(&service, "allowManaged=fd00::/8");
    set(&service, "allowDNS=1");
    let mut expected = vec![
        format!("network nwid={NETWORK} dev={name} ip-=10.147.17.5/24"),
        format!("route nwid={NETWORK} target=172.30.0.0/16 via=- dev={name} op=del"),
        format!("route nwid={NETWORK} target=192.168.50.0/24 via=10.147.17.10 dev={name} op=del"),
        format!(
            "dns nwid={NETWORK} dev={name} domain=bad%20domain%1B servers=10.147.17.10 \
             state=bad-domain"
        ),
    ];
    for line in lines {
        let line = line.expect("a line");
        expected.retain(|want| !line.ends_with(want.as_str()));
        if expected.is_empty() {
            break;
        }
    }
    assert_eq!(expected, [""; 0]);
    assert_eq!(
        rows(&service, "dns"),
        ["bad%20domain%1B 10.147.17.10 bad-domain"]
    );
}

/// A root behind a router, a member, and one that leads out.
struct World {
    member: Service,
    exit: Service,
    root: Service,
    lab: Lab,
}

impl World {
    fn new(test: &str) -> Option<Self> {
        let lab = Lab::new(test)?;
        let root_identity = new_identity(1);
        let planet = planet(&root_identity, SocketAddr::from(([10, 88, 0, 1], PORT)));
        let hub = format!("{}-hub", lab.name);
        for address in ["10.77.0.254/24", "10.88.0.254/24"] {
            ip(&format!("-n {hub} addr add {address} dev br0"));
        }
        forward(&hub);
        let space = |address: &str, gateway: &str| {
            let space = lab.space(Some(address));
            ip(&format!("-n {space} route add default via {gateway}"));
            space
        };
        let spaces = [
            space("10.88.0.1/24", "10.88.0.254"),
            space("10.77.0.2/24", "10.77.0.254"),
            space("10.77.0.3/24", "10.77.0.254"),
        ];
        let [root_space, member_space, exit_space] = &spaces;
        let root_home = lab.home("root");
        put(
            &root_home,
            "identity.secret",
            text_of(&root_identity).as_bytes(),
        );
        put(&root_home, "planet", &planet);
        let homes = [
            member(
                &lab,
                "a",
                21,
                &Wishes {
                    addresses: &["10.147.17.5/24", "fd17::5/64"],
                    routes: &[("0.0.0.0/0", "10.147.17.10", 0), ("::/0", "fd17::10", 0)],
                    mtu: 2800,
                    ..Wishes::default()
                },
            ),
            member(
                &lab,
                "b",
                22,
                &Wishes {
                    addresses: &["10.147.17.10/24"],
                    mtu: 2800,
                    ..Wishes::default()
                },
            ),
        ];
        for home in &homes {
            put(home, "planet", &planet);
        }
        // Beyond the exit node: a host that nobody else knows a way to.
        let far = lab.space(None);
        ip(&format!(
            "-n {far} link add far0 type veth peer name far1 netns {exit_space}"
        ));
        ip(&format!("-n {far} addr add 203.0.113.2/24 dev far0"));
        ip(&format!("-n {far} link set far0 up"));
        ip(&format!("-n {exit_space} addr add 203.0.113.1/24 dev far1"));
        ip(&format!("-n {exit_space} link set far1 up"));
        ip(&format!("-n {far} route add default via 203.0.113.1"));
        forward(exit_space);
        let start = |space: &str, home: &Path| Service::start(space, home);
        let root = start(root_space, &root_home);
        let [a, b] = &homes;
        let (member, exit) = (start(member_space, a), start(exit_space, b));
        Some(Self {
            member,
            exit,
            root,
            lab,
        })
    }
}

fn forward(space: &str) {
    for name in ["ip_forward", "conf/all/rp_filter", "conf/default/rp_filter"] {
        let value = u8::from(name == "ip_forward");
        let word = name.replace('/', ".");
        inside(space, &format!("sysctl -qw net.ipv4.{word}={value}")).expect("sysctl");
    }
}

fn pings(service: &Service, to: &str) -> bool {
    inside(&service.space, &format!("ping -c1 -W1 {to}")).is_some()
}

const HALVES: [&str; 4] = [
    "0.0.0.0/1 10.147.17.10 5000",
    "128.0.0.0/1 10.147.17.10 5000",
    "8000::/1 fd17::10 5000",
    "::/1 fd17::10 5000",
];
const FAR: &str = "203.0.113.2";

#[test]
fn an_exit_node_leads_out_and_the_underlay_stays_reachable() {
    let Some(world) = World::new("rx") else {
        return;
    };
    let World {
        member: node,
        exit,
        root,
        lab,
    } = &world;
    node.ask("log debug");
    for space in [&node.space, &root.space] {
        for name in ["all", "eth0"] {
            let word = format!("sysctl -qw net.ipv4.conf.{name}.rp_filter=0");
            inside(space, &word).expect("sysctl");
        }
    }
    for service in [node, exit] {
        wait_for("ONLINE", || service.ask("info").contains("ONLINE"));
    }
    wait_for("a ping inside", || pings(node, "10.147.17.10"));
    assert!(!pings(node, FAR));
    set(node, "allowDefault=1");
    await_routes(node, "main", &HALVES);
    assert_eq!(
        rows(node, "route"),
        ["0.0.0.0/0 10.147.17.10 0 0 yes", "::/0 fd17::10 0 0 yes"]
    );
    wait_for("a ping to the other side", || pings(node, FAR));
    // The own default route is still there, and everything but it goes the other way.
    let way = inside(&node.space, "ip route get 10.88.0.1").expect("a way");
    assert!(way.contains("via 10.147.17.10"), "{way}");
    let own = listed(node, "-4 route show default");
    assert_eq!(own[0]["gateway"], "10.77.0.254");

    // Somebody new: to find out who he is, the root has to be asked, and it has to answer.
    let third = member(
        lab,
        "c",
        23,
        &Wishes {
            addresses: &["10.147.17.20/24"],
            mtu: 2800,
            ..Wishes::default()
        },
    );
    let planet = fs::read(root.home.join("planet")).expect("a planet");
    put(&third, "planet", &planet);
    let third_space = lab.space(Some("10.77.0.4/24"));
    ip(&format!(
        "-n {third_space} route add default via 10.77.0.254"
    ));
    let third = Service::start(&third_space, &third);
    wait_for("ONLINE", || third.ask("info").contains("ONLINE"));
    wait_for("a ping to somebody new", || pings(node, "10.147.17.20"));
    assert!(node.ask("info").contains("ONLINE"));

    // The root is gone, which shows at once when it is asked from a new address: offline, so the
    // way out is taken back; and it returns with the root.
    ip(&format!("-n {} link set eth0 down", root.space));
    ip(&format!("-n {} addr add 10.77.0.9/24 dev eth0", node.space));
    wait_for("OFFLINE", || node.ask("info").contains("OFFLINE"));
    await_routes(node, "main", &[]);
    assert_eq!(
        rows(node, "route"),
        [
            "0.0.0.0/0 10.147.17.10 0 0 offline",
            "::/0 fd17::10 0 0 offline"
        ]
    );
    ip(&format!("-n {} link set eth0 up", root.space));
    ip(&format!(
        "-n {} route add default via 10.88.0.254",
        root.space
    ));
    wait_for("ONLINE", || node.ask("info").contains("ONLINE"));
    await_routes(node, "main", &HALVES);
    wait_for("a ping to the other side", || pings(node, FAR));

    set(node, "allowDefault=0");
    await_routes(node, "main", &[]);
    // With a strict filter the answers of the root would be dropped: refused, with the reason.
    inside(&node.space, "sysctl -qw net.ipv4.conf.eth0.rp_filter=1").expect("sysctl");
    set(node, "allowDefault=1");
    assert_eq!(
        rows(node, "route"),
        [
            "0.0.0.0/0 10.147.17.10 0 0 reverse-path-filter",
            "::/0 fd17::10 0 0 yes"
        ]
    );
    assert_eq!(routes(node, "main"), HALVES[2..]);
    inside(&node.space, "sysctl -qw net.ipv4.conf.eth0.rp_filter=2").expect("sysctl");
    set(node, "allowDefault=1");
    await_routes(node, "main", &HALVES);
    let (status, log) = world.member.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("default route moved"), "{log}");
}
