//! Relaying, as a root and as a leaf.

use zt::base::{Address, PacketId};
use zt::node::DropReason;
use zt::wire::control;
use zt::wire::fragment::FragmentHeader;
use zt::wire::verb::Verb;

use super::lab::{
    R_PLACE, X_PLACE, drops, foreign, member_frame, network, online, root_of_two, sent_to,
};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, planet};

#[test]
fn s42_s43_s47_s91_a_root_relays_and_introduces() {
    let (mut world, x, mut a, mut b) = root_of_two();
    a.forget(&world, x);
    b.forget(&world, x);
    let mark = world.hosts[x].sent.len();
    let packet = foreign(a.address(), b.address(), 0);
    for second in 0..66 {
        // Whichever direction.
        let (place, bytes) = if second % 2 == 0 {
            (a.place, packet.clone())
        } else {
            (b.place, foreign(b.address(), a.address(), 0))
        };
        world.inject(x, place, &bytes);
        world.run(1_000);
    }
    let relayed = &sent_to(&world, x, mark, "10.4.0.1:9993")[0];
    let mut expected = packet.clone();
    expected[18] += 1;
    assert_eq!(
        *relayed, expected,
        "nothing but the hops changes, a broken MAC neither"
    );
    for peer in [&a, &b] {
        let heard = peer.heard(&world, x);
        assert!(
            heard.iter().all(|h| h.verb == Verb::Rendezvous),
            "nothing else unasked"
        );
        assert_eq!(heard.len(), 3, "at 0, 30 and 60 s");
    }
    let told = control::Rendezvous::parse(&a.heard(&world, x)[0].payload).expect("parses");
    assert_eq!((told.peer, told.at), (b.address(), b.place));
    let mark = world.hosts[x].sent.len();
    for hops in [2, 3, 7] {
        world.inject(x, a.place, &foreign(a.address(), b.address(), hops));
    }
    let relayed = sent_to(&world, x, mark, "10.4.0.1:9993");
    assert_eq!((relayed.len(), relayed[0][18] & 7), (1, 3));
    assert_eq!(drops(&world, x, DropReason::RelayHops), 2);
}

#[test]
fn s44_a_packet_never_goes_back_or_round() {
    let roots = [(1, at(X_PLACE)), (0, at(R_PLACE)), (4, at("10.6.0.1:9993"))];
    let mut world = World::new(planet(&roots));
    let x = world.add(1, &[X_PLACE]);
    for (n, place) in [(0, R_PLACE), (4, "10.6.0.1:9993")] {
        let mut root = Scripted::new(&world, x, n, place);
        world.run(1);
        root.answer_hellos(&mut world, x);
    }
    let nobody = Address::new(0x12_3456_789a).expect("an address");
    let from = Address::new(0x22_3456_789a).expect("an address");
    let mark = world.hosts[x].sent.len();
    world.inject(x, at("10.9.0.1:9993"), &foreign(from, nobody, 0));
    assert_eq!(world.hosts[x].sent.len() - mark, 1, "to the best upstream");
    world.inject(x, at(R_PLACE), &foreign(from, nobody, 1));
    assert_eq!(
        world.hosts[x].sent.len() - mark,
        1,
        "what an upstream gave is not passed on"
    );
    assert_eq!(drops(&world, x, DropReason::RelayNoPath), 1);
}

#[test]
fn s45_pieces_are_relayed_without_introduction() {
    let (mut world, x, a, b) = root_of_two();
    let mark = world.hosts[x].sent.len();
    let header = FragmentHeader {
        id: PacketId::new(5),
        destination: b.address(),
        total: 2,
        number: 1,
        hops: 1,
    };
    let mut piece = header.to_bytes().to_vec();
    piece.extend_from_slice(b"some data");
    world.inject(x, a.place, &piece);
    let sent = sent_to(&world, x, mark, "10.4.0.1:9993");
    assert_eq!(world.hosts[x].sent.len() - mark, 1);
    assert_eq!((sent[0][15], &sent[0][16..]), (2, &b"some data"[..]));
}

#[test]
fn s46_a_leaf_relays_for_members_only() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut a = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let mut b = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    a.meet(&mut world, x);
    b.meet(&mut world, x);
    let relay = |world: &mut World, a: &Scripted, b: &Scripted| {
        let mark = world.hosts[x].sent.len();
        world.inject(x, a.place, &foreign(a.address(), b.address(), 0));
        sent_to(world, x, mark, "10.4.0.1:9993")
            .iter()
            .any(|d| d.len() == 200)
    };
    assert!(!relay(&mut world, &a, &b));
    assert_eq!(drops(&world, x, DropReason::RelayRefused), 1);
    a.say(&mut world, x, Verb::Frame, &member_frame());
    assert!(relay(&mut world, &a, &b));
}

#[test]
fn s90_a_client_that_did_not_answer_is_not_relayed_to() {
    let (mut world, x, a, _) = root_of_two();
    let mut c = Scripted::new(&world, x, 4, "10.5.0.1:9993");
    c.hello(&mut world, x);
    world.run(200);
    let mark = world.hosts[x].sent.len();
    world.inject(x, a.place, &foreign(a.address(), c.address(), 0));
    assert!(sent_to(&world, x, mark, "10.5.0.1:9993").is_empty());
    assert!(c.answer_hellos(&mut world, x) > 0);
    world.inject(x, a.place, &foreign(a.address(), c.address(), 0));
    assert!(
        sent_to(&world, x, mark, "10.5.0.1:9993")
            .iter()
            .any(|d| d.len() == 200)
    );
}
