//! WHOIS: who somebody is.

use zt::base::Address;
use zt::node::DropReason;
use zt::wire::cursor::{Reader, Writer};
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::identity::Identity;
use zt::wire::verb::{ErrorCode, Verb};

use super::lab::{R_PLACE, X_PLACE, drops, network, ok_body, online};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, identity, ipv6, planet};

#[test]
fn s22_s23_whois_retries() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let b = identity(3).identity;
    let to = derive::mac(network(), b.address);
    let from = derive::mac(network(), world.address(x));
    let ethernet = Ethernet {
        to,
        from,
        ethertype: 0x86dd,
    };
    root.forget(&world, x);
    let start = world.now;
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
    assert_eq!(root.count(&world, x, Verb::Whois), 1, "in the same call");
    for _ in 0..24 {
        root.live(&mut world, x, 1_000);
        world.send_frame(x, network(), ethernet, &ipv6(1, 60));
    }
    let asked: Vec<u64> = root
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Whois)
        .map(|h| h.at - start)
        .collect();
    assert_eq!(asked, [0, 500, 1_500, 3_500, 10_000, 20_000]);
    // The answer lets go the frame that waits.
    let whois = root
        .heard(&world, x)
        .into_iter()
        .rfind(|h| h.verb == Verb::Whois)
        .expect("asked");
    let mut body = vec![0; Identity::LEN];
    b.write(&mut Writer::new(&mut body)).expect("room");
    root.live(&mut world, x, 6_100);
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
    root.ok(&mut world, x, Verb::Whois, whois.id, &body);
    world.run(100);
    let peer = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    let frames = peer.heard(&world, x);
    assert!(
        frames
            .iter()
            .all(|h| h.verb == Verb::Frame && h.to == at(R_PLACE)),
        "by the root"
    );
    assert!(!frames.is_empty());
}

#[test]
fn s24_whois_answers_of_leaves_and_of_liars() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let b = identity(3).identity;
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
    let whois = root
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Whois)
        .expect("asked");
    let mut lie = b;
    lie.public[3] ^= 1;
    let mut body = vec![0; Identity::LEN];
    lie.write(&mut Writer::new(&mut body)).expect("room");
    root.ok(&mut world, x, Verb::Whois, whois.id, &body);
    world.run(200);
    assert!(
        world.hosts[x]
            .node
            .peer(b.address, world.clock().mono)
            .is_none()
    );
    assert_eq!(drops(&world, x, DropReason::InvalidIdentity), 1);
}

#[test]
fn s25_a_packet_of_a_stranger_waits_for_its_identity() {
    let (mut world, x, mut root) = online();
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let echo = c.say(&mut world, x, Verb::Echo, b"hello?");
    assert!(c.heard(&world, x).is_empty());
    world.run(1_700);
    let whois = root
        .heard(&world, x)
        .into_iter()
        .rfind(|h| h.verb == Verb::Whois)
        .expect("asked");
    let mut body = vec![0; Identity::LEN];
    c.secret
        .identity
        .write(&mut Writer::new(&mut body))
        .expect("room");
    root.ok(&mut world, x, Verb::Whois, whois.id, &body);
    world.run(500);
    let heard = c.heard(&world, x);
    let ok = heard
        .iter()
        .find(|h| h.verb == Verb::Ok)
        .expect("answered after all");
    assert_eq!(ok.payload[1..9], echo.to_bytes());
    assert!(
        heard
            .iter()
            .any(|h| h.verb == Verb::Hello && h.to == c.place)
    );
    for n in 0..100 {
        let mut stranger = Scripted::new(&world, x, 3, "10.5.0.1:9993");
        stranger.secret.identity.address = Address::new(0x30_0000_0000 + n).expect("ok");
        stranger.say(&mut world, x, Verb::Echo, b"");
    }
    assert!(
        drops(&world, x, DropReason::WaitingFull) >= 90,
        "the slots have a cap"
    );
}

#[test]
fn s26_whois_gate_of_a_leaf() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    for _ in 0..20 {
        let me = b.address().to_bytes();
        b.say(&mut world, x, Verb::Whois, &me);
        world.run(30);
    }
    assert_eq!(b.count(&world, x, Verb::Ok), 5);
    world.run(200);
    b.forget(&world, x);
    b.say(&mut world, x, Verb::Whois, &[0x12, 0x34, 0x56, 0x78, 0x9a]);
    assert_eq!(
        b.count(&world, x, Verb::Ok),
        0,
        "unknown addresses are not answered"
    );
}

#[test]
fn s27_s100_a_root_asks_another() {
    let roots = [(1, at(X_PLACE)), (0, at(R_PLACE))];
    let mut world = World::new(planet(&roots));
    let x = world.add(1, &[X_PLACE]);
    let mut upstream = Scripted::new(&world, x, 0, R_PLACE);
    world.run(1);
    upstream.answer_hellos(&mut world, x);
    let mut c = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    c.meet(&mut world, x);
    upstream.forget(&world, x);
    let wanted = identity(3).identity;
    c.say(&mut world, x, Verb::Whois, &wanted.address.to_bytes());
    assert_eq!(c.count(&world, x, Verb::Ok), 0);
    let asked = upstream.heard(&world, x);
    assert_eq!(
        (asked.len(), asked[0].verb),
        (1, Verb::Whois),
        "in the same call"
    );
    // 1.0.x says that it does not know: the attempt is over at once.
    upstream.error(
        &mut world,
        x,
        Verb::Whois,
        asked[0].id,
        ErrorCode::ObjectNotFound,
        &wanted.address.to_bytes(),
    );
    world.run(1);
    let again = upstream.heard(&world, x);
    assert_eq!(again.len(), 2);
    let mut body = vec![0; Identity::LEN];
    wanted.write(&mut Writer::new(&mut body)).expect("room");
    upstream.ok(&mut world, x, Verb::Whois, again[1].id, &body);
    world.run(200);
    c.say(&mut world, x, Verb::Whois, &wanted.address.to_bytes());
    let ok = c
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Ok)
        .expect("knows it now");
    let told = Identity::read(&mut Reader::new(ok_body(&ok.payload, Verb::Whois)));
    assert_eq!(told.expect("an identity"), wanted);
}
