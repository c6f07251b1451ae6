//! A daemon whose line changes under it: it is reachable again, and nothing is left behind.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::net::SocketAddr;

use live::{Lab, PORT, Service, ip, new_identity, planet, put, text_of, wait_for};
use zt::base::NetworkId;
use zt::wire::derive;

/// Ad-hoc: no controller, 6PLANE addresses, ICMPv6 passes.
const NETWORK: &str = "ff00160016000000";

struct Three {
    lab: Lab,
    _root: Service,
    peer: Service,
    node: Service,
}

/// A root, a peer and the node whose line is number 3 of the lab.
fn three(test: &str) -> Option<Three> {
    let lab = Lab::new(test)?;
    let root_identity = new_identity(1);
    let planet = planet(&root_identity, SocketAddr::from(([10, 77, 0, 1], PORT)));
    let home = |name: &str| {
        let home = lab.home(name);
        put(&home, "planet", &planet);
        home
    };
    let root_home = home("root");
    put(
        &root_home,
        "identity.secret",
        text_of(&root_identity).as_bytes(),
    );
    let root = Service::start(&lab.space(Some("10.77.0.1/24")), &root_home);
    let mut nodes = ["peer", "node"].into_iter().zip(2..).map(|(name, n)| {
        let home = home(name);
        put(&home, &format!("networks.d/{NETWORK}.conf"), b"");
        Service::start(&lab.space(Some(&format!("10.77.0.{n}/24"))), &home)
    });
    let (peer, node) = (nodes.next().expect("one"), nodes.next().expect("another"));
    drop(nodes);
    let three = Three {
        lab,
        _root: root,
        peer,
        node,
    };
    three.await_both_ways();
    Some(three)
}

impl Three {
    fn await_both_ways(&self) {
        self.peer.await_ping(&of(&self.node), "56");
        self.node.await_ping(&of(&self.peer), "56");
    }

    /// `ip` in the namespace of the node.
    fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.node.space));
    }

    /// `ip` at the other end of the node's line.
    fn hub(&self, arguments: &str) {
        ip(&format!("-n {}-hub {arguments}", self.lab.name));
    }

    fn await_state(&self, state: &str) {
        wait_for(state, || {
            self.node
                .ask("info")
                .lines()
                .any(|row| row.starts_with("200 info") && row.ends_with(state))
        });
    }
}

fn of(service: &Service) -> String {
    let network = NetworkId::parse(NETWORK).expect("an id");
    derive::sixplane(network, service.address()).to_string()
}

fn status(service: &Service, key: &str) -> String {
    let before = format!("200 status {key} ");
    let text = service.ask("status");
    let row = text.lines().find_map(|row| row.strip_prefix(&before));
    row.unwrap_or_default().to_owned()
}

#[test]
fn a_line_that_changes_is_followed() {
    let Some(three) = three("w") else { return };
    // Another address, as after a lease.
    three.ip("addr flush dev eth0 scope global");
    three.await_state(" OFFLINE");
    assert_eq!(
        status(&three.node, "offline"),
        "no%20usable%20local%20address"
    );
    three.ip("addr add 10.77.0.33/24 dev eth0");
    three.await_state(" ONLINE");
    three.await_both_ways();
    // The device goes and comes back under its name, with another number and the same address.
    three.ip("link del eth0");
    three.await_state(" OFFLINE");
    three.ip(&format!(
        "link add eth0 type veth peer name port3 netns {}-hub",
        three.lab.name
    ));
    three.hub("link set port3 master br0 up");
    three.ip("addr add 10.77.0.33/24 dev eth0");
    three.ip("link set eth0 up");
    three.await_state(" ONLINE");
    three.await_both_ways();
    // The cable.
    three.hub("link set port3 down");
    three.await_state(" OFFLINE");
    three.hub("link set port3 up");
    three.await_state(" ONLINE");
    three.await_both_ways();
}

#[test]
fn a_default_route_that_moves_to_another_line_is_followed() {
    let Some(three) = three("d") else { return };
    let lab = &three.lab.name;
    three.ip(&format!(
        "link add eth1 type veth peer name other3 netns {lab}-hub"
    ));
    three.hub("link set other3 master br0 up");
    three.ip("link set eth1 up");
    three.ip("addr add 10.77.0.43/24 dev eth1");
    three.ip("route add default via 10.77.0.1 dev eth0");
    wait_for("a second socket", || {
        three.node.ask("status").contains("bound 10.77.0.43/")
    });
    // The first one is no move.
    wait_for("the route", || {
        three.node.ask("dump").contains("default route")
    });
    let moves = || status(&three.node, "moves").parse::<u64>().unwrap_or(0);
    let before = moves();
    three.ip("route replace default via 10.77.0.1 dev eth1");
    wait_for("the move", || moves() > before);
    three.hub("link set port3 down");
    three.await_both_ways();
    // None at all, and then one again.
    let before = moves();
    three.ip("route del default");
    wait_for("no route", || {
        !three.node.ask("dump").contains("default route")
    });
    three.ip("route add default via 10.77.0.1 dev eth1");
    wait_for("the move", || moves() > before);
    three.await_both_ways();
}

#[test]
fn a_hundred_flaps_leave_nothing_behind() {
    let Some(three) = three("f") else { return };
    let pid = fs::read_to_string(three.node.home.join("zerotier-one.pid")).expect("a pid");
    let descriptors = || {
        let all = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
        all.count()
    };
    let resident_kb = || -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
        let row = text.lines().find_map(|row| row.strip_prefix("VmRSS:"));
        let row = row.and_then(|row| row.split_whitespace().next());
        row.and_then(|n| n.parse().ok()).expect("a number")
    };
    let opened = || {
        status(&three.node, "sockets-opened")
            .parse::<u64>()
            .expect("a number")
    };
    let flap = |n: usize| {
        let before = opened();
        if n.is_multiple_of(2) {
            three.ip("link set eth0 down");
            three.ip("link set eth0 up");
        } else {
            three.hub("link set port3 down");
            wait_for("no socket", || status(&three.node, "sockets") == "0");
            three.hub("link set port3 up");
        }
        wait_for("a socket", || {
            status(&three.node, "sockets") == "1" && (n.is_multiple_of(2) || opened() > before)
        });
    };
    // What is taken once is taken in the first ones.
    (0..20).for_each(flap);
    three.await_both_ways();
    let (fds, kb) = (descriptors(), resident_kb());
    (0..100).for_each(flap);
    three.await_both_ways();
    assert_eq!(descriptors(), fds);
    let grown = resident_kb().saturating_sub(kb);
    assert!(grown <= 256, "{grown} kB more after 100 flaps");
}

#[test]
fn the_tap_of_another_instance_is_no_underlay_whatever_its_name() {
    let Some(lab) = Lab::new("t") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let (mine, other) = (lab.home("mine"), lab.home("other"));
    put(
        &other,
        "local.conf",
        br#"{"settings":{"primaryPort":30001}}"#,
    );
    let mine = Service::start(&space, &mine);
    let other = Service::start(&space, &other);
    let looks = || status(&mine, "looks").parse::<u64>().expect("a number");
    let before = looks();
    let joined = other.ask(&format!("join {NETWORK} ifname=corp0"));
    assert!(joined.contains("200 join OK"), "{joined}");
    let address = of(&other);
    wait_for("the address of the tap", || {
        live::inside(&space, "ip -6 addr show dev corp0")
            .is_some_and(|text| text.contains(&address))
    });
    wait_for("a look at it", || looks() > before);
    for _ in 0..3 {
        // After anything that may still come.
        assert!(mine.ask("reload").contains("200 reload OK"));
        let again = looks();
        wait_for("another look", || looks() > again || looks() > before + 2);
        let text = mine.ask("status");
        assert!(!text.contains(&format!("bound {address}")), "{text}");
        assert!(text.contains("bound 10.77.0.1/29993"), "{text}");
    }
}

/// Puts a router with address translation before the node. `None`, said aloud: there is none.
fn put_behind_nat(three: &Three) -> Option<Nat> {
    let space = three.lab.space(Some("10.77.0.9/24"));
    let nat = Nat { space };
    if let Err(why) = nat.map_to("40000-40999") {
        eprintln!("SKIPPED, nothing was tested: {why}");
        return None;
    }
    let space = &nat.space;
    three.ip("link del eth0");
    three.ip(&format!(
        "link add eth0 type veth peer name lan0 netns {space}"
    ));
    ip(&format!("-n {space} addr add 192.168.9.1/24 dev lan0"));
    ip(&format!("-n {space} link set lan0 up"));
    three.ip("addr add 192.168.9.2/24 dev eth0");
    three.ip("link set eth0 up");
    three.ip("route add default via 192.168.9.1");
    Some(nat)
}

struct Nat {
    space: String,
}

impl Nat {
    /// Forwards, and lends these ports of its own address.
    fn map_to(&self, ports: &str) -> Result<(), String> {
        let script = format!(
            "echo 1 >/proc/sys/net/ipv4/ip_forward && nft -f - <<END\n\
             table ip lend\n\
             delete table ip lend\n\
             table ip lend {{ chain out {{ type nat hook postrouting priority 100;\n\
             oifname \"eth0\" meta l4proto udp masquerade to :{ports}; }}; }}\n\
             END\n"
        );
        live::run("ip", &["netns", "exec", &self.space, "sh", "-c", &script]).map(drop)
    }

    /// Knows nothing of before, and lends other ports.
    fn reboot(&self, ports: &str) {
        // With its line go the ports that were lent.
        ip(&format!("-n {} link set eth0 down", self.space));
        self.map_to(ports).expect("as before");
        ip(&format!("-n {} link set eth0 up", self.space));
    }
}

#[test]
fn a_router_that_forgot_its_ports_is_no_end() {
    let Some(three) = three("n") else { return };
    let Some(nat) = put_behind_nat(&three) else {
        return;
    };
    let seen_at = |port: &str| {
        let place = format!(" 10.77.0.9/{port}");
        wait_for(&format!("the node at {place}"), || {
            let peers = three.peer.ask("listpeers");
            peers.lines().any(|row| row.contains(&place))
        });
    };
    three.await_state(" ONLINE");
    three.await_both_ways();
    seen_at("40");
    // Somebody on this side has something to say.
    nat.reboot("50000-50999");
    three.node.await_ping(&of(&three.peer), "56");
    seen_at("50");
    // Only those outside have.
    nat.reboot("60000-60999");
    three.await_both_ways();
    three.await_state(" ONLINE");
    seen_at("60");
}
