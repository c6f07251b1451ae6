//! Long frames, the old form, starts without controller and root.

use zt::base::{Address, Mac, NetworkId};
use zt::node::DropReason;
use zt::node::network::NetworkStatus;
use zt::node::record::RECORD_MAX;
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::verb::Verb;

use super::lab::{IPV6, Lab, MINUTE};
use crate::sim::controller::Answer;
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, ipv6, planet};

#[test]
fn s68_a_frame_of_2800_bytes_is_two_pieces_and_one_frame() {
    let id = NetworkId::new(0xff00_1600_1600_0000).expect("an id");
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    let x = world.add(1, &["198.51.100.1:9993"]);
    world.join(x, id);
    let mut peer = Scripted::new(&world, x, 50, "192.0.2.50:9993");
    peer.meet(&mut world, x);
    // Out: random, so that nothing can be packed.
    let mut payload = ipv6(1, 2_800);
    world.rng.fill(&mut payload[60..]);
    let ethernet = Ethernet {
        to: derive::mac(id, peer.address()),
        from: derive::mac(id, world.address(x)),
        ethertype: IPV6,
    };
    let mark = world.hosts[x].sent.len();
    world.send_frame(x, id, ethernet, &payload);
    let lengths: Vec<usize> = world.hosts[x].sent[mark..]
        .iter()
        .map(|d| d.bytes.len())
        .collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths.iter().all(|len| *len <= 1_432), "{lengths:?}");
    assert_eq!(lengths.iter().sum::<usize>(), 28 + 16 + 10 + 2_800);
    // In: any order, one piece twice.
    for order in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]] {
        let mut body = id.to_bytes().to_vec();
        body.extend_from_slice(&IPV6.to_be_bytes());
        body.extend_from_slice(&payload);
        let (_, pieces) = peer.pieces(Verb::Frame, &body);
        world.hosts[x].frames.clear();
        for n in order {
            world.inject(x, peer.place, &pieces[n]);
        }
        let frames = &world.hosts[x].frames;
        assert_eq!(frames.len(), 1, "{order:?}");
        assert!(frames[0].1.ends_with(&payload), "{order:?}");
    }
}

#[test]
fn a_configuration_of_the_old_form_is_one() {
    let mut lab = Lab::new(2);
    let id = lab.id;
    lab.c.net(id).answer = Answer::Old;
    lab.c.net(id).name = "old".into();
    lab.join(1);
    lab.join(2);
    assert!(lab.comes(1, NetworkStatus::Ok, 5_000) && lab.comes(2, NetworkStatus::Ok, 5_000));
    let view = lab.world.hosts[1].node.network(id).expect("joined");
    assert_eq!(
        (view.name, view.mtu, view.multicast_limit),
        ("old", 2_800, 32)
    );
    assert!(view.broadcast && !view.public);
    let addresses: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.1/24"]);
    assert!(lab.passes(1, 2) && lab.passes(2, 1));
    // It is stored as it came, and is one after a restart.
    lab.serve(MINUTE);
    assert!(lab.passes(1, 2) && lab.world.is_direct(1, 2));
    let ids = [id];
    let kept = [stored(&lab, &ids, 1, 2), stored(&lab, &ids, 2, 1)];
    let mut world = restarted(&kept, MINUTE);
    world.run(MINUTE);
    let view = world.hosts[0].node.network(id).expect("joined");
    assert_eq!((view.name, view.mtu), ("old", 2_800));
    assert!(world.is_direct(0, 1) && resolves(&mut world, id, 0, 1, 2));
}

/// What the service stores: the configurations, and the peers that were reached.
fn stored(lab: &Lab, ids: &[NetworkId], host: usize, other: usize) -> Stored {
    let node = &lab.world.hosts[host].node;
    let config = |id: &NetworkId| (*id, node.stored_config(*id).expect("one in force"));
    let record = |address: Address| {
        let mut record = vec![0; RECORD_MAX];
        let len = node.export_peer(address, &mut record).expect("known");
        record.truncate(len);
        record
    };
    Stored {
        configs: ids.iter().map(config).collect(),
        peers: [lab.world.address(other), lab.c.secret.identity.address].map(record),
    }
}

struct Stored {
    configs: Vec<(NetworkId, Vec<u8>)>,
    peers: [Vec<u8>; 2],
}

/// Two nodes with what they stored; neither root nor controller is there. The second starts so
/// long after the first.
fn restarted(kept: &[Stored; 2], pause_ms: u64) -> World {
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    for (stored, n) in kept.iter().zip(1..) {
        if n > 1 {
            world.run(pause_ms);
        }
        let host = world.add(n, &[&format!("203.{n}.113.1:9993")]);
        for record in &stored.peers {
            world
                .call(host, |node, now, out| node.import_peer(now, record, out))
                .expect("a record");
        }
        for (id, config) in &stored.configs {
            world
                .call(host, |node, now, out| {
                    node.join_with(now, *id, Some(config), out)
                })
                .expect("room");
            let view = world.hosts[host].node.network(*id).expect("joined");
            assert_eq!(view.status, NetworkStatus::Ok);
            assert!(!view.confirmed);
            assert_eq!(view.addresses.len(), 1);
        }
    }
    world
}

/// The first thing that IPv4 sends is a broadcast: who has 10.1.0.`of`? Does it arrive once, and
/// then unicast both ways?
fn resolves(world: &mut World, id: NetworkId, from: usize, to: usize, of: u8) -> bool {
    let mut arp = b"\0\x01\x08\0\x06\x04\0\x01".to_vec();
    arp.resize(24, 0);
    arp.extend_from_slice(&[10, 1, 0, of]);
    let ethernet = Ethernet {
        to: Mac::BROADCAST,
        from: derive::mac(id, world.address(from)),
        ethertype: 0x0806,
    };
    world.hosts[to].frames.clear();
    world.send_frame(from, id, ethernet, &arp);
    world.run(1_000);
    let heard = world.hosts[to].frames.iter();
    let asked = heard.filter(|f| f.0 == id && f.1.ends_with(&arp)).count() == 1;
    asked
        && [(from, to), (to, from)].into_iter().all(|(from, to)| {
            let payload = ipv6(7, 80);
            world.hosts[to].frames.clear();
            world.unicast(from, to, id, IPV6, &payload);
            world.run(1_000);
            let mut frames = world.hosts[to].frames.iter();
            frames.any(|f| f.0 == id && f.1.ends_with(&payload))
        })
}

#[test]
fn a_start_without_controller_and_root() {
    let mut lab = Lab::joined(3);
    for (a, b) in [(1, 2), (2, 1), (1, 3), (2, 3)] {
        assert!(lab.passes(a, b));
    }
    lab.serve(MINUTE);
    assert!(lab.passes(1, 2) && lab.world.is_direct(1, 2));
    let ids = [lab.id];
    let kept = [stored(&lab, &ids, 1, 2), stored(&lab, &ids, 2, 1)];
    let mut world = restarted(&kept, MINUTE);
    world.run(MINUTE);
    assert!(world.is_direct(0, 1));
    assert!(resolves(&mut world, lab.id, 0, 1, 2));
}

#[test]
fn members_of_many_networks_find_each_other_in_all_of_them_after_a_restart() {
    let mut lab = Lab::new(2);
    let mut ids = vec![lab.id];
    for low in 2..=8 {
        let id = lab.c.create(low);
        for n in 1..=2 {
            lab.c
                .authorise(&lab.world, id, n, Some(&format!("10.1.0.{n}/24")));
        }
        ids.push(id);
    }
    for n in 1..=2 {
        for id in &ids {
            lab.world.join(n, *id);
        }
    }
    lab.serve(MINUTE);
    for id in &ids {
        assert!(lab.passes_in(*id, 1, 2) && lab.passes_in(*id, 2, 1));
    }
    let kept = [stored(&lab, &ids, 1, 2), stored(&lab, &ids, 2, 1)];
    let mut world = restarted(&kept, 500);
    world.run(3_000);
    let gate = DropReason::CredentialsGate;
    for host in [0, 1] {
        assert_eq!(world.hosts[host].node.stats().drops(gate), 0);
    }
    for id in ids {
        assert!(resolves(&mut world, id, 0, 1, 2), "{id}");
    }
}
