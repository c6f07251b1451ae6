//! Configurations in signed pieces.

use zt::node::network::NetworkStatus;
use zt::wire::verb::Verb;

use super::lab::{C, Lab};
use crate::sim::controller::{ACCEPT, Delivery, Order};

/// A configuration of three chunks.
fn long(lab: &mut Lab) {
    let net = lab.c.net(lab.id);
    net.rules = ACCEPT.repeat(400);
    net.delivery.chunk = 1_000;
}

#[test]
fn s74_chunks_in_any_order_with_duplicates() {
    for order in [
        vec![0, 1, 2],
        vec![2, 1, 0],
        vec![1, 2, 0],
        vec![1, 1, 0, 2],
        vec![2, 0, 2, 0, 1, 1],
    ] {
        let mut lab = Lab::joined(1);
        let id = lab.id;
        long(&mut lab);
        lab.serve(2_000);
        let count = lab.c.bodies(&lab.world, 1, id).len();
        assert_eq!(count, 3, "the test's own length");
        lab.c.net(id).name = "in pieces".into();
        lab.c.net(id).delivery.order = Order::Exactly(order.clone());
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(200);
        assert_eq!(lab.name(1), "in pieces", "{order:?}");
        assert_eq!(lab.c.taken.len(), 1, "{order:?}: taken once");
    }
}

#[test]
fn s74_a_chunk_that_is_missing_or_wrong_spoils_all() {
    let base = Delivery {
        chunk: 1_000,
        ..Delivery::default()
    };
    let cases = [
        (
            "missing",
            Delivery {
                order: Order::Exactly(vec![0, 2]),
                ..base.clone()
            },
        ),
        (
            "twice for a missing one",
            Delivery {
                order: Order::Exactly(vec![0, 2, 2]),
                ..base.clone()
            },
        ),
        (
            "altered",
            Delivery {
                altered: Some(1),
                ..base.clone()
            },
        ),
        (
            "signature",
            Delivery {
                corrupt: Some(1),
                ..base.clone()
            },
        ),
        (
            "signed by another",
            Delivery {
                signer: Some(C + 1),
                ..base.clone()
            },
        ),
        (
            "total too large",
            Delivery {
                total_off: 1,
                ..base.clone()
            },
        ),
        (
            "a gap",
            Delivery {
                position_off: 1,
                total_off: 1,
                ..base.clone()
            },
        ),
    ];
    for (why, delivery) in cases {
        let mut lab = Lab::joined(1);
        let id = lab.id;
        lab.serve(2_000);
        long(&mut lab);
        lab.c.net(id).name = "spoilt".into();
        lab.c.net(id).delivery = delivery;
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(1_000);
        assert_eq!(lab.name(1), "simulated", "{why}");
        assert!(lab.c.taken.is_empty(), "{why}");
        // What was begun does not stand in the way of what is right.
        lab.c.net(id).delivery = base.clone();
        lab.c.net(id).name = "whole".into();
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(1_000);
        assert_eq!(lab.name(1), "whole", "after: {why}");
    }
}

#[test]
fn s74_what_is_older_is_refused_unless_it_was_asked_for() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    lab.c.net(id).timestamp = Some(lab.wall() - 60_000);
    lab.c.net(id).name = "older".into();
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    assert!(lab.c.taken.is_empty());
    // The controller's clock was put back: its answers count.
    lab.serve(70_000);
    assert_eq!(lab.name(1), "older");
}

#[test]
fn an_old_configuration_cannot_be_replayed_by_a_third_party() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    let old = lab.c.bodies(&lab.world, 1, id);
    lab.serve(65_000);
    lab.c.net(id).name = "new".into();
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(500);
    assert_eq!(lab.name(1), "new");
    let (mut peer, _) = lab.member(1, 50);
    for body in &old {
        peer.say(&mut lab.world, 1, Verb::NetworkConfig, body);
    }
    lab.serve(500);
    assert_eq!(lab.name(1), "new");
    // A new one may come from anybody: the signature counts.
    lab.c.net(id).name = "newer".into();
    for body in lab.c.bodies(&lab.world, 1, id) {
        peer.say(&mut lab.world, 1, Verb::NetworkConfig, &body);
    }
    lab.serve(500);
    assert_eq!(lab.name(1), "newer");
}

#[test]
fn unsigned_chunks_count_from_the_controller_alone() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    let (mut peer, _) = lab.member(1, 50);
    lab.c.net(id).name = "unsigned".into();
    lab.c.net(id).delivery.unsigned = true;
    for body in lab.c.bodies(&lab.world, 1, id) {
        peer.say(&mut lab.world, 1, Verb::NetworkConfig, &body);
    }
    lab.serve(500);
    assert_eq!(lab.name(1), "simulated");
}

#[test]
fn a_configuration_for_another_node_or_network_is_refused() {
    let mut lab = Lab::new(2);
    let (id, me, other) = (lab.id, lab.world.address(1), lab.world.address(2));
    lab.c.net(id).member(me).issued_to = Some(other.get());
    lab.join(1);
    lab.serve(3_000);
    assert_eq!(lab.status(1), NetworkStatus::RequestingConfiguration);
    lab.c.net(id).member(me).issued_to = None;
    let foreign = format!("{:016x}", lab.c.id(2).get()).into_bytes();
    lab.c.net(id).instead = vec![("nwid", foreign)];
    lab.serve(10_000);
    assert_eq!(lab.status(1), NetworkStatus::RequestingConfiguration);
    lab.c.net(id).instead.clear();
    assert!(lab.comes(1, NetworkStatus::Ok, 6_000));
}

#[test]
fn chunks_that_are_too_many_too_long_or_endless_change_nothing() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    let before = lab.all_drops(1);
    // Longer than any node holds.
    let net = lab.c.net(id);
    net.name = "huge".into();
    net.instead = vec![("zz", vec![b'z'; 300_000])];
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    assert!(lab.all_drops(1) > before, "counted");
    // Ever new updates, none of them whole.
    lab.c.net(id).instead.clear();
    lab.c.net(id).name = "endless".into();
    long(&mut lab);
    lab.c.net(id).delivery.order = Order::Exactly(vec![0, 1]);
    for _ in 0..200 {
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(20);
    }
    assert_eq!(lab.name(1), "simulated");
    // Crumbs: every chunk as short as can be.
    lab.c.net(id).delivery = Delivery {
        chunk: 10,
        ..Delivery::default()
    };
    lab.c.net(id).name = "crumbs".into();
    let before = lab.all_drops(1);
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    assert!(lab.all_drops(1) > before, "counted");
    // The other of two halves that come more than ten seconds apart is too late.
    lab.c.net(id).name = "late".into();
    lab.c.net(id).delivery = Delivery {
        chunk: 1_000,
        ..Delivery::default()
    };
    let bodies = lab.c.bodies(&lab.world, 1, id);
    let (last, first) = bodies.split_last().expect("chunks");
    for body in first {
        lab.c.say(&mut lab.world, 1, Verb::NetworkConfig, body);
    }
    lab.serve(11_000);
    lab.c.say(&mut lab.world, 1, Verb::NetworkConfig, last);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "late", "and is taken when it comes whole");
}
