//! Identities and HELLO.

use zt::base::Address;
use zt::node::{DropReason, Event};
use zt::wire::hello::OkHello;
use zt::wire::packet::{HEADER_LEN, Suite};
use zt::wire::verb::{ErrorCode, Verb};

use super::lab::{X_PLACE, drops, ok_body, online};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at};

#[test]
fn s13_hello_is_answered_and_asked_back() {
    let (mut world, x, _) = online();
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let id = c.hello(&mut world, x);
    world.run(200);
    let heard = c.heard(&world, x);
    let ok = heard.iter().find(|h| h.verb == Verb::Ok).expect("answered");
    assert_eq!((ok.from, ok.to), (at(X_PLACE), c.place));
    assert_eq!(ok.payload[1..9], id.to_bytes());
    let body = OkHello::parse(ok_body(&ok.payload, Verb::Hello)).expect("parses");
    assert_eq!((body.time, body.seen_as), (4711, Some(c.place)));
    assert_eq!(heard.iter().filter(|h| h.verb == Verb::Hello).count(), 1);
}

#[test]
fn s14_s115_old_protocols() {
    let (mut world, x, _) = online();
    let mut old = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    (old.protocol, old.version) = (4, (1, 0, 5));
    old.hello(&mut world, x);
    world.run(200);
    let ok = old
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Ok)
        .expect("answered");
    let body = OkHello::parse(ok_body(&ok.payload, Verb::Hello)).expect("parses");
    assert_eq!(body.seen_as, Some(at("10.3.0.1:0")));
    let mut older = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    older.protocol = 3;
    older.hello(&mut world, x);
    world.run(200);
    assert!(older.heard(&world, x).is_empty());
    assert_eq!(drops(&world, x, DropReason::Version), 1);
}

#[test]
fn s15_identity_that_fails_its_digest() {
    let (mut world, x, _) = online();
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    // The right keys under another address: the MAC is good, the digest is not.
    c.secret.identity.address = Address::new(0x11_2233_4455).expect("an address");
    c.hello(&mut world, x);
    world.run(500);
    assert!(c.heard(&world, x).is_empty() && !c.is_known(&world, x));
    assert_eq!(drops(&world, x, DropReason::InvalidIdentity), 1);
    assert_eq!(world.hosts[x].node.stats().digests, 1);
}

#[test]
fn s16_one_new_node_per_network_in_two_seconds() {
    let (mut world, x, _) = online();
    let mut first = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let mut second = Scripted::new(&world, x, 3, "10.3.0.2:9993");
    let mut other = Scripted::new(&world, x, 4, "10.4.0.1:9993");
    first.hello(&mut world, x);
    other.hello(&mut world, x);
    world.run(500);
    second.hello(&mut world, x);
    world.run(1_600);
    assert!(first.is_known(&world, x) && other.is_known(&world, x));
    assert!(!second.is_known(&world, x));
    assert_eq!(drops(&world, x, DropReason::HelloGate), 1);
    second.hello(&mut world, x);
    world.run(200);
    assert!(second.is_known(&world, x));
}

#[test]
fn s17_collision_is_refused_and_harms_nobody() {
    let (mut world, x, _) = online();
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    c.meet(&mut world, x);
    let mut thief = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    thief.secret.identity.address = c.address();
    thief.hello(&mut world, x);
    let refused = thief.heard(&world, x);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].verb, Verb::Error);
    assert_eq!(refused[0].payload[9], ErrorCode::IdentityCollision as u8);
    assert_eq!(c.paths(&world, x), [c.place]);
    c.say(&mut world, x, Verb::Echo, b"still me");
    assert_eq!(c.count(&world, x, Verb::Ok), 1);
}

#[test]
fn s18_collision_counts_for_our_own_hello_only() {
    let (mut world, x, mut root) = online();
    let mut leaf = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    leaf.meet(&mut world, x);
    let collisions = |w: &World| {
        w.hosts[x]
            .events
            .iter()
            .filter(|e| e.1 == Event::Collision)
            .count()
    };
    let code = ErrorCode::IdentityCollision;
    root.error(
        &mut world,
        x,
        Verb::Hello,
        zt::base::PacketId::new(5),
        code,
        &[],
    );
    assert_eq!(collisions(&world), 0, "not a HELLO of ours");
    world.run_until(70_000, |w| root.count(w, x, Verb::Hello) > 0);
    let hello = root
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Hello)
        .expect("sent");
    leaf.error(&mut world, x, Verb::Hello, hello.id, code, &[]);
    assert_eq!(collisions(&world), 0, "not from a leaf");
    root.error(&mut world, x, Verb::Hello, hello.id, code, &[]);
    assert_eq!(collisions(&world), 1);
}

#[test]
fn s19_hello_cut_anywhere_never_panics() {
    let (mut world, x, _) = online();
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    c.meet(&mut world, x);
    let identity = c.secret.identity;
    let (_, whole) = c.hello_packet(&identity);
    let boundaries = [84, 91, 99, 107];
    for len in 0..whole.len() - HEADER_LEN {
        c.forget(&world, x);
        let (_, bytes) = c.hello_packet(&identity);
        let mut plain = bytes[HEADER_LEN..HEADER_LEN + len].to_vec();
        plain.truncate(len);
        let (_, packet) = c.packet(Verb::Hello, &plain, Suite::Poly1305);
        world.inject(x, c.place, &packet);
        let answered = c.count(&world, x, Verb::Ok) == 1;
        if len <= 107 {
            assert_eq!(answered, boundaries.contains(&len), "cut at {len}");
        }
    }
}

#[test]
fn s20_ok_to_nothing() {
    let (mut world, x, _) = online();
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    c.meet(&mut world, x);
    let place = at("10.3.7.7:9993");
    c.ok_from(
        &mut world,
        x,
        place,
        Verb::Echo,
        zt::base::PacketId::new(99),
        b"",
    );
    assert_eq!(c.paths(&world, x), [c.place]);
    assert!(c.heard(&world, x).is_empty());
    assert_eq!(drops(&world, x, DropReason::UnexpectedReply), 1);
}

#[test]
fn s21_a_flood_of_identities_costs_few_digests() {
    let (mut world, x, _) = online();
    world.record = false;
    for n in 0..1_000 {
        let mut c = Scripted::new(&world, x, 2, &format!("10.3.0.{}:9993", n % 250));
        c.secret.identity.address = Address::new(0x20_0000_0000 + n).expect("an address");
        c.hello(&mut world, x);
        world.run(10);
    }
    assert!(world.hosts[x].node.stats().digests <= 6);
    assert!(drops(&world, x, DropReason::HelloGate) >= 990);
}
