//! Ad-hoc networks from end to end, in virtual time: what a user sees between `join` and the
//! first ping (network 1.3, 5, 6).
#![allow(missing_docs)]

mod sim;

use sim::{World, at, ipv6, planet};
use zt::base::{Mac, NetworkId};
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::multicast::Group;

const V4: u64 = 0xff0a_0000_0000_0001;
const PORTS: u64 = 0xff00_1600_1600_0000;

/// A root and two members; whether they wait until they are online is up to the caller.
fn world() -> (World, usize, usize) {
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    world.add(0, &["192.0.2.1:9993"]);
    let a = world.add(1, &["198.51.100.1:9993"]);
    let b = world.add(2, &["203.0.113.1:9993"]);
    (world, a, b)
}

fn id(number: u64) -> NetworkId {
    NetworkId::new(number).expect("an id")
}

/// The IPv4 address of a host in the network.
fn ip(world: &World, host: usize) -> [u8; 4] {
    let [.., x, y, z] = world.address(host).to_bytes();
    [10, x, y, z]
}

/// "Who has the address of `to`?" out of the tap of `from`.
fn ask(world: &mut World, from: usize, to: usize, network: NetworkId) -> Vec<u8> {
    let mac = derive::mac(network, world.address(from));
    let mut arp = b"\0\x01\x08\0\x06\x04\0\x01".to_vec();
    arp.extend_from_slice(&mac.to_bytes());
    arp.extend_from_slice(&ip(world, from));
    arp.extend_from_slice(&[0; 6]);
    arp.extend_from_slice(&ip(world, to));
    let ethernet = Ethernet {
        to: Mac::BROADCAST,
        from: mac,
        ethertype: 0x0806,
    };
    world.send_frame(from, network, ethernet, &arp);
    arp
}

/// Answers every request in the taps as kernels do.
fn answer_arp(world: &mut World, hosts: &[usize], network: NetworkId) -> usize {
    let mut answered = 0;
    for &host in hosts {
        for (_, frame) in std::mem::take(&mut world.hosts[host].frames) {
            let (ethernet, arp) = Ethernet::parse(&frame).expect("a frame");
            if ethernet.ethertype == 0x0806 && arp[7] == 1 && arp[24..28] == ip(world, host) {
                let mac = derive::mac(network, world.address(host));
                let mut reply = arp.to_vec();
                reply[7] = 2;
                reply[18..28].copy_from_slice(&arp[8..18]);
                reply[8..14].copy_from_slice(&mac.to_bytes());
                reply[14..18].copy_from_slice(&arp[24..28]);
                let back = Ethernet {
                    to: ethernet.from,
                    from: mac,
                    ethertype: 0x0806,
                };
                world.send_frame(host, network, back, &reply);
                answered += 1;
            }
        }
    }
    answered
}

#[test]
fn an_arp_request_is_answered_within_a_second_of_two_cold_starts() {
    let (mut world, a, b) = world();
    let network = id(V4);
    world.join(a, network);
    world.join(b, network);
    // Before anybody is online, as an impatient user pings.
    ask(&mut world, a, b, network);
    assert!(world.run_until(1_000, |w| !w.hosts[b].frames.is_empty()));
    assert_eq!(answer_arp(&mut world, &[b], network), 1);
    assert!(world.run_until(500, |w| !w.hosts[a].frames.is_empty()));
    let (_, frame) = &world.hosts[a].frames[0];
    assert_eq!(frame[20..22], [0, 2], "an answer");
    assert_eq!(
        frame[6..12],
        derive::mac(network, world.address(b)).to_bytes()
    );
}

#[test]
fn a_request_that_waits_finds_the_member_that_joins_a_moment_later() {
    let (mut world, a, b) = world();
    let network = id(V4);
    world.join(a, network);
    assert!(world.run_until(1_000, |w| w.is_online(a) && w.is_online(b)));
    ask(&mut world, a, b, network);
    world.run(1_000);
    assert!(world.hosts[b].frames.is_empty());
    world.join(b, network);
    // Asked again at 250 ms, 1.25 s, 3.25 s after the first time.
    assert!(world.run_until(2_400, |w| !w.hosts[b].frames.is_empty()));
    assert_eq!(answer_arp(&mut world, &[b], network), 1);
}

#[test]
fn only_the_owner_of_an_address_is_asked_for_it() {
    let (mut world, a, b) = world();
    let c = world.add(3, &["198.18.0.1:9993"]);
    let network = id(V4);
    for host in [a, b, c] {
        world.join(host, network);
    }
    assert!(world.run_until(2_000, |w| [a, b, c].iter().all(|h| w.is_online(*h))));
    ask(&mut world, a, b, network);
    assert!(world.run_until(500, |w| !w.hosts[b].frames.is_empty()));
    world.run(10_000);
    assert_eq!(world.hosts[b].frames.len(), 1);
    assert!(world.hosts[c].frames.is_empty());
}

#[test]
fn a_group_of_a_tap_is_reached_by_all_who_joined_it() {
    let (mut world, a, b) = world();
    let c = world.add(3, &["198.18.0.1:9993"]);
    let network = id(V4);
    let group = Group {
        mac: Mac::new([1, 0, 0x5e, 0, 0, 0xfb]),
        adi: 0,
    };
    for host in [a, b, c] {
        world.join(host, network);
    }
    for host in [b, c] {
        world.call(host, |node, now, out| {
            node.set_groups(now, network, &[group], out)
        });
    }
    assert!(world.run_until(2_000, |w| [a, b, c].iter().all(|h| w.is_online(*h))));
    let ethernet = Ethernet {
        to: group.mac,
        from: derive::mac(network, world.address(a)),
        ethertype: 0x0800,
    };
    world.send_frame(a, network, ethernet, &[0x45; 60]);
    assert!(world.run_until(1_000, |w| {
        [b, c].iter().all(|h| w.hosts[*h].frames.len() == 1)
    }));
    // A plain broadcast goes nowhere.
    let to = Mac::BROADCAST;
    world.send_frame(a, network, Ethernet { to, ..ethernet }, &[0x45; 60]);
    world.run(6_000);
    assert!([b, c].iter().all(|h| world.hosts[*h].frames.len() == 1));
}

#[test]
fn ports_outside_the_range_are_closed_for_connections() {
    let (mut world, a, b) = world();
    let network = id(PORTS);
    world.join(a, network);
    world.join(b, network);
    assert!(world.run_until(1_000, |w| w.is_online(a) && w.is_online(b)));
    // IPv6, TCP, SYN; port 22 is 0x16.
    let mut syn = ipv6(1, 60);
    syn[6] = 6;
    syn[53] = 0x02;
    for (port, arrives) in [(0x16u8, true), (0x17, false), (0x15, false)] {
        (syn[42], syn[43]) = (0, port);
        world.hosts[b].frames.clear();
        world.unicast(a, b, network, 0x86dd, &syn);
        world.run(500);
        assert_eq!(
            world.hosts[b].frames.len(),
            usize::from(arrives),
            "{port:x}"
        );
    }
    // IPv4 has no place here.
    world.hosts[b].frames.clear();
    world.unicast(a, b, network, 0x0800, &[0x45; 60]);
    world.run(500);
    assert!(world.hosts[b].frames.is_empty());
}

#[test]
fn a_quiet_network_wakes_for_announcements_alone() {
    let (mut world, a, b) = world();
    let network = id(V4);
    world.join(a, network);
    world.join(b, network);
    assert!(world.run_until(1_000, |w| w.is_online(a) && w.is_online(b)));
    ask(&mut world, a, b, network);
    world.run(60_000);
    let (with, without) = (world.hosts[a].wakeups, {
        let (mut other, a, b) = crate::world();
        assert!(other.run_until(1_000, |w| w.is_online(a) && w.is_online(b)));
        other.run(60_000);
        let before = other.hosts[a].wakeups;
        other.run(600_000);
        other.hosts[a].wakeups - before
    });
    world.run(600_000);
    let more = world.hosts[a].wakeups - with;
    // Ten announcements, and what keeps the path to one peer alive.
    assert!(
        more <= without + 10 + 120,
        "{more} wake-ups, {without} without"
    );
}
