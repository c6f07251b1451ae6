//! Frames of ad-hoc networks.

use zt::base::NetworkId;
use zt::node::DropReason;
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::verb::Verb;

use super::lab::{R_PLACE, drops, member_frame, network, online};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, ipv6, planet};

#[test]
fn s67_s69_ad_hoc_rules_and_macs() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let (to, from) = (
        derive::mac(network(), b.address()),
        derive::mac(network(), world.address(x)),
    );
    let ethernet = Ethernet {
        to,
        from,
        ethertype: 0x86dd,
    };
    let syn = |port: u16| {
        let mut p = vec![0; 80];
        p[0] = 0x60;
        p[6] = 6;
        p[42..44].copy_from_slice(&port.to_be_bytes());
        p[53] = 0x02;
        p
    };
    b.forget(&world, x);
    world.send_frame(x, network(), ethernet, &syn(22));
    assert_eq!(b.count(&world, x, Verb::Frame), 1);
    world.send_frame(x, network(), ethernet, &syn(80));
    assert_eq!(
        (
            b.count(&world, x, Verb::Frame),
            drops(&world, x, DropReason::RulesOut)
        ),
        (1, 1)
    );
    for (port, delivered) in [(22u16, 1), (80, 1)] {
        let mut payload = network().to_bytes().to_vec();
        payload.extend_from_slice(&0x86ddu16.to_be_bytes());
        payload.extend_from_slice(&syn(port));
        b.say(&mut world, x, Verb::Frame, &payload);
        assert_eq!(world.hosts[x].frames.len(), delivered);
    }
    assert_eq!(drops(&world, x, DropReason::RulesIn), 1);
    // A solicitation for a member is answered here, and nothing is sent.
    let mut ask = vec![0; 72];
    (ask[0], ask[6], ask[40]) = (0x60, 58, 135);
    ask[48..64].copy_from_slice(&derive::sixplane(network(), b.address()).octets());
    let group = zt::base::Mac::new([0x33, 0x33, 0xff, 0, 0, 1]);
    let mark = world.hosts[x].sent.len();
    world.send_frame(
        x,
        network(),
        Ethernet {
            to: group,
            from,
            ethertype: 0x86dd,
        },
        &ask,
    );
    assert_eq!(world.hosts[x].sent.len(), mark);
    let answer = &world.hosts[x].frames.last().expect("answered").1;
    assert_eq!((&answer[..6], answer[54]), (&from.to_bytes()[..], 136));
    let foreign = Ethernet {
        to,
        from: zt::base::Mac::new([2, 1, 1, 1, 1, 1]),
        ethertype: 0x86dd,
    };
    world.send_frame(x, network(), foreign, &ipv6(1, 60));
    assert_eq!(drops(&world, x, DropReason::BadMac), 1);
}

#[test]
fn s70_ipv4_ad_hoc_multicast_is_gathered_and_spread() {
    let id = NetworkId::new(0xff2c_0000_0000_0001).expect("an id");
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    world.add(0, &[R_PLACE]);
    let hosts: Vec<usize> = (1..5)
        .map(|n| world.add(n, &[&format!("10.{}.0.1:9993", n + 1)]))
        .collect();
    for host in &hosts {
        world.join(*host, id);
    }
    assert!(world.run_until(3_000, |w| hosts.iter().all(|h| w.is_online(*h))));
    let wanted = world.hosts[hosts[1]]
        .node
        .network(id)
        .expect("joined")
        .addresses[1]
        .ip;
    let std::net::IpAddr::V4(wanted) = wanted else {
        panic!("an IPv4 address")
    };
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend_from_slice(&[0; 16]);
    arp.extend_from_slice(&wanted.octets());
    let ethernet = Ethernet {
        to: zt::base::Mac::BROADCAST,
        from: derive::mac(id, world.address(hosts[0])),
        ethertype: 0x0806,
    };
    world.send_frame(hosts[0], id, ethernet, &arp);
    assert!(
        world.run_until(2_000, |w| !w.hosts[hosts[1]].frames.is_empty()),
        "who has that address is found by the group that it listens to"
    );
    world.run(5_000);
    assert_eq!(world.hosts[hosts[1]].frames.len(), 1);
    assert!(hosts[2..].iter().all(|h| world.hosts[*h].frames.is_empty()));
    assert!(
        world.hosts[hosts[0]].frames.is_empty(),
        "the own copy never comes back"
    );
}

#[test]
fn s79_a_network_that_was_left() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    b.say(&mut world, x, Verb::Frame, &member_frame());
    assert_eq!(world.hosts[x].frames.len(), 1);
    assert!(world.call(x, |n, now, out| n.leave(now, network(), out)));
    b.say(&mut world, x, Verb::Frame, &member_frame());
    assert_eq!(world.hosts[x].frames.len(), 1);
    assert_eq!(drops(&world, x, DropReason::UnknownNetwork), 1);
    assert!(!b.paths(&world, x).is_empty());
}
