//! Fifty nodes and two roots over bad wires: every pair exchanges frames, nothing leaks.
#![allow(missing_docs)]

mod sim;

use sim::{World, at, ipv6, planet};
use zt::base::{Limits, NetworkId};

const NETWORK: u64 = 0xff00_1600_1600_0000;

#[test]
fn two_nodes_and_a_root_exchange_frames() {
    let network = NetworkId::new(NETWORK).expect("an id");
    let mut world = World::new(planet(&[(0, at("10.1.0.1:9993"))]));
    let root = world.add(0, &["10.1.0.1:9993"]);
    let a = world.add(1, &["10.2.0.1:9993"]);
    let b = world.add(2, &["10.3.0.1:9993"]);
    world.join(a, network);
    world.join(b, network);
    assert!(world.run_until(1_000, |w| w.is_online(root)
        && w.is_online(a)
        && w.is_online(b)));
    world.unicast(a, b, network, 0x86dd, &ipv6(1, 100));
    assert!(world.run_until(1_000, |w| w.hosts[b].frames.len() == 1));
    world.unicast(b, a, network, 0x86dd, &ipv6(2, 2_800));
    assert!(world.run_until(1_000, |w| w.hosts[a].frames.len() == 1));
    assert_eq!(world.hosts[a].frames[0].1[14..], ipv6(2, 2_800));
    assert!(world.run_until(5_000, |w| w.is_direct(a, b) && w.is_direct(b, a)));
}

#[test]
fn fifty_nodes_and_two_roots_over_bad_wires() {
    const NODES: usize = 50;
    let network = NetworkId::new(NETWORK).expect("an id");
    let roots = [(0, at("10.1.0.1:9993")), (1, at("10.1.1.1:9993"))];
    let mut world = World::new(planet(&roots));
    world.record = false;
    world.wire = sim::Wire {
        delay_ms: 10,
        jitter_ms: 15,
        loss: 50,
        duplicates: 50,
    };
    let normal = |c: &mut zt::node::Config<'_>| c.limits = Limits::normal();
    world.add_with(0, &["10.1.0.1:9993"], normal);
    world.add_with(1, &["10.1.1.1:9993"], normal);
    for n in 0..NODES {
        let place = format!("10.2.{n}.1:9993");
        let host = world.add_with(2 + n, &[&place], normal);
        world.join(host, network);
    }
    let online = world.run_until(60_000, |w| (0..NODES + 2).all(|h| w.is_online(h)));
    assert!(online, "all nodes are online within a minute");
    // Every pair, both ways; lost frames are sent again, as a transport would.
    let mut missing: Vec<(usize, usize)> = (2..NODES + 2)
        .flat_map(|a| (2..NODES + 2).filter(move |b| *b != a).map(move |b| (a, b)))
        .collect();
    for round in 0..40 {
        if missing.is_empty() {
            break;
        }
        for &(a, b) in &missing {
            let mut payload = ipv6(a as u8, 100 + (a * 53 + b * 97) % 2_700);
            payload[44] = a as u8;
            world.unicast(a, b, network, 0x86dd, &payload);
            world.run(1);
        }
        world.run(if round == 0 { 10_000 } else { 3_000 });
        for host in &mut world.hosts {
            host.frames.sort_unstable();
            host.frames.dedup();
        }
        missing.retain(|&(a, b)| {
            !world.hosts[b]
                .frames
                .iter()
                .any(|(_, frame)| frame[14 + 44] == a as u8)
        });
    }
    assert!(
        missing.is_empty(),
        "{} pairs never heard of each other",
        missing.len()
    );
    // An hour of quiet: peers without traffic are forgotten, nothing is left waiting.
    for host in &mut world.hosts {
        host.frames.clear();
    }
    world.run(3_600_000);
    for (n, host) in world.hosts.iter().enumerate() {
        let peers = host.node.peer_count();
        assert!(
            peers <= if n < 2 { NODES + 1 } else { 2 },
            "host {n} still knows {peers}"
        );
    }
}
