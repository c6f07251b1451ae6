//! Two segments of a LAN joined by a network, with hosts behind both ends that know nothing of it.
//! The network comes from stored configurations: its controller does not exist.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use live::stored::{Wishes, member};
use live::{Lab, PORT, Service, inside, ip, new_identity, planet, put, text_of, wait_for};
use zt::base::NetworkId;
use zt::wire::derive;

const NETWORK: &str = "8056c2e21c000001";

/// A host in a namespace of its own, on a cable to the bridge `lan0` in the space of a service,
/// of which the tap of the network is another port.
struct Host {
    space: String,
}

impl Host {
    fn behind(service: &Service, tap: &str, address: &str) -> Self {
        let space = format!("{}-host", service.space);
        ip(&format!("netns add {space}"));
        let host = Self { space };
        let (inner, outer) = (&host.space, &service.space);
        ip(&format!("-n {inner} link set lo up"));
        ip(&format!("-n {outer} link add lan0 type bridge"));
        ip(&format!(
            "-n {outer} link add lan1 type veth peer name eth0 netns {inner}"
        ));
        for port in ["lan1", tap] {
            ip(&format!("-n {outer} link set {port} master lan0 up"));
        }
        ip(&format!("-n {outer} link set lan0 up"));
        ip(&format!("-n {inner} addr add {address} dev eth0"));
        ip(&format!("-n {inner} link set eth0 up"));
        host
    }

    fn pings(&self, to: &str, size: &str) -> bool {
        let ping = format!("ping -4 -c1 -W1 -s {size} {to}");
        inside(&self.space, &ping).is_some()
    }

    /// All of so many.
    fn await_pings(&self, to: &str) {
        wait_for(&format!("a ping to {to}"), || self.pings(to, "56"));
        for size in ["56", "1400"] {
            let ping = format!("ping -4 -c20 -i0.02 -W5 -s {size} {to}");
            let text = inside(&self.space, &ping).unwrap_or_default();
            assert!(text.contains(" 0% packet loss"), "{to}, {size}: {text}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = live::run("ip", &["netns", "del", &self.space]);
    }
}

#[test]
fn hosts_behind_two_bridges_and_a_member_reach_each_other() {
    let Some(lab) = Lab::new("br") else { return };
    let id = NetworkId::parse(NETWORK).expect("an id");
    let root = new_identity(31);
    let root_home = lab.home("root");
    put(&root_home, "identity.secret", text_of(&root).as_bytes());
    let endpoint = format!("10.77.0.1:{PORT}").parse().expect("an endpoint");
    let definition = planet(&root, endpoint);
    put(&root_home, "planet", &definition);
    let root = Service::start(&lab.space(Some("10.77.0.1/24")), &root_home);

    let seeds = [32, 33];
    let bridges = seeds.map(|seed| new_identity(seed).identity.address);
    let start = |name: &str, seed: u8, addresses: &[&str], outside: &str| {
        let wishes = Wishes {
            addresses,
            mtu: 2800,
            bridges: &bridges,
            ..Wishes::default()
        };
        let home = member(&lab, name, seed, id, &wishes);
        put(&home, "planet", &definition);
        Service::start(&lab.space(Some(outside)), &home)
    };
    let a = start("a", seeds[0], &[], "10.77.0.2/24");
    let b = start("b", seeds[1], &[], "10.77.0.3/24");
    let c = start("c", 34, &["10.5.0.3/24"], "10.77.0.4/24");
    for service in [&a, &b, &c] {
        wait_for("ONLINE", || service.ask("info").contains("ONLINE"));
    }
    let tap = derive::device_name(id, 0);
    for service in [&a, &b] {
        wait_for("a tap", || {
            inside(&service.space, &format!("ip link show {tap}")).is_some()
        });
    }
    let one = Host::behind(&a, tap.as_str(), "10.5.0.1/24");
    let two = Host::behind(&b, tap.as_str(), "10.5.0.2/24");
    one.await_pings("10.5.0.2");
    two.await_pings("10.5.0.1");
    // A member without a bridge finds hosts behind one, and they find it.
    one.await_pings("10.5.0.3");
    wait_for("the member reaches a host", || {
        inside(&c.space, "ping -4 -c1 -W1 10.5.0.2").is_some()
    });
    // A bridge whose tap is no port of anything any more: its host is out of reach, others not.
    ip(&format!("-n {} link set {tap} nomaster", b.space));
    wait_for("out of reach", || !one.pings("10.5.0.2", "56"));
    assert!(one.pings("10.5.0.3", "56"));
    ip(&format!("-n {} link set {tap} master lan0", b.space));
    one.await_pings("10.5.0.2");
    drop((one, two));
    for service in [a, b, c, root] {
        let (status, log) = service.stop();
        assert_eq!(status, Some(0), "{log}");
    }
}
