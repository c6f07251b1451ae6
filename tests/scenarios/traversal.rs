//! Through NATs and firewalls.

use std::collections::BTreeSet;

use zt::base::Address;
use zt::node::DropReason;
use zt::node::record::RECORD_MAX;
use zt::wire::control;
use zt::wire::cursor::Writer;
use zt::wire::identity::Identity;
use zt::wire::verb::{ErrorCode, Verb};

use super::lab::{
    B_PLACE, R_PLACE, X_PLACE, drops, member_frame, network, online, online_member, peer_at, role,
    send_frame, sent_to, serve,
};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, identity, ipv6, planet};

#[test]
fn s48_rendezvous() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    b.forget(&world, x);
    let place = at("10.3.5.5:1234");
    let mut payload = vec![0; 64];
    let mut writer = Writer::new(&mut payload);
    control::write_rendezvous(&mut writer, b.address(), &place).expect("room");
    let len = writer.len();
    payload.truncate(len);
    b.say(&mut world, x, Verb::Rendezvous, &payload);
    b.forget(&world, x);
    let mark = world.hosts[x].sent.len();
    assert_eq!(drops(&world, x, DropReason::NotUpstream), 1);
    let start = world.now;
    root.say(&mut world, x, Verb::Rendezvous, &payload);
    let junk = &world.hosts[x].sent[mark];
    assert_eq!((junk.to, junk.bytes.len(), junk.ttl), (place, 4, Some(2)));
    world.run(3_000);
    let echoes: Vec<(u64, Option<u8>)> = b
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Echo && h.to == place)
        .map(|h| (h.at - start, h.ttl))
        .collect();
    assert_eq!(echoes, [(0, None), (250, None), (1_000, None)]);
    for (at, wrong) in [(6, 0), (7, 0)] {
        payload[at] = wrong;
    }
    let mark = world.hosts[x].sent.len();
    root.say(&mut world, x, Verb::Rendezvous, &payload);
    assert_eq!(world.hosts[x].sent.len(), mark, "port 0");
}

#[test]
fn s51_s113_s114_pushes() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    // A stranger's word about our address is worth nothing.
    let mut liar = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    liar.hello(&mut world, x);
    world.run(200);
    liar.answer_hellos_with(&mut world, x, at("10.66.66.66:1"), &[]);
    b.forget(&world, x);
    b.say(&mut world, x, Verb::Frame, &member_frame());
    let pushes = |world: &World, b: &Scripted| b.count(world, x, Verb::PushDirectPaths);
    assert_eq!(
        pushes(&world, &b),
        1,
        "with the first proof of membership, in the same call"
    );
    let payload = b.heard(&world, x)[0].payload.clone();
    let pushed: Vec<_> = control::PushDirectPaths::parse(&payload)
        .expect("parses")
        .map(|p| p.expect("parses").address)
        .collect();
    assert_eq!(pushed, [Some(at(X_PLACE))]);
    for _ in 0..100 {
        world.run(1_000);
        b.say(&mut world, x, Verb::Frame, &member_frame());
    }
    assert_eq!(pushes(&world, &b), 1, "direct: every two minutes");
    for _ in 0..60 {
        root.answer_hellos(&mut world, x);
        world.run(1_000);
        b.say_from(&mut world, x, at(R_PLACE), 1, Verb::Frame, &member_frame());
    }
    assert!(
        (4..=6).contains(&pushes(&world, &b)),
        "relayed: every fifteen seconds"
    );
}

#[test]
fn s52_s112_pushes_received() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let push = |n: u8| {
        let places: Vec<_> = (1..=20)
            .map(|i| at(&format!("10.77.{n}.{i}:9993")))
            .collect();
        let mut payload = vec![0; 600];
        let mut writer = Writer::new(&mut payload);
        control::write_push(&mut writer, &places).expect("room");
        let len = writer.len();
        payload.truncate(len);
        payload
    };
    for n in 0..9 {
        b.forget(&world, x);
        b.say(&mut world, x, Verb::PushDirectPaths, &push(n));
        let echoes = b.count(&world, x, Verb::Echo);
        assert_eq!(echoes, if n < 8 { 8 } else { 0 }, "push {n}");
        world.run(900);
    }
    assert_eq!(drops(&world, x, DropReason::PushGate), 1);
    world.run(31_000);
    b.forget(&world, x);
    b.say(&mut world, x, Verb::PushDirectPaths, &push(50));
    assert_eq!(b.count(&world, x, Verb::Echo), 8);
    world.run(31_000);
    b.forget(&world, x);
    let mut forget = push(51);
    for record in 0..20 {
        forget[2 + record * 11] = control::PushDirectPaths::FORGET;
    }
    b.say(&mut world, x, Verb::PushDirectPaths, &forget);
    assert_eq!(b.count(&world, x, Verb::Echo), 0);
}

#[test]
fn s54_a_new_surface_puts_paths_in_doubt() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let report = |world: &mut World, root: &mut Scripted, ours: &str| {
        world.run_until(70_000, |w| root.count(w, x, Verb::Hello) > 0);
        root.answer_hellos_with(world, x, at(ours), &[]);
    };
    report(&mut world, &mut root, "10.2.0.1:5555");
    b.forget(&world, x);
    let usable = |w: &World| {
        w.hosts[x]
            .node
            .path(b.address(), 0, w.clock().mono)
            .is_some_and(|p| !p.expired)
    };
    assert!(usable(&world), "another port only");
    let mark = world.hosts[x].sent.len();
    report(&mut world, &mut root, "10.200.0.1:5555");
    assert!(!usable(&world));
    assert!(
        world.hosts[x].sent[mark..].iter().any(|d| d.to == b.place),
        "ECHO at once"
    );
    b.say(&mut world, x, Verb::Nop, b"");
    assert!(
        world.hosts[x]
            .node
            .path(b.address(), 0, world.clock().mono)
            .is_some_and(|p| !p.expired),
        "it has spoken"
    );
}

#[test]
fn s55_beacons() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let beacon = |address: Address| {
        let mut bytes = vec![7; 8];
        bytes.extend_from_slice(&address.to_bytes());
        bytes
    };
    let mut answered = 0;
    for _ in 0..10 {
        b.forget(&world, x);
        world.inject(x, at("10.3.0.1:9993"), &beacon(b.address()));
        answered += b.count(&world, x, Verb::Nop);
        world.run(500);
    }
    assert_eq!(answered, 2, "at most every 2.5 s");
    let mark = world.hosts[x].sent.len();
    world.run(3_000);
    let me = world.address(x);
    world.inject(
        x,
        at("10.9.0.1:9993"),
        &beacon(Address::new(0x12_3456_7890).expect("ok")),
    );
    world.inject(x, at("10.9.0.1:9993"), &beacon(me));
    assert!(sent_to(&world, x, mark, "10.9.0.1:9993").is_empty());
}

/// Firewalls before the hosts at these addresses: only who was written to may answer, from the
/// very port. Datagrams with a short TTL open them and go no further.
fn firewalls(world: &mut World, before: &'static [&'static str]) {
    let mut open = BTreeSet::new();
    world.filter = Box::new(move |d| {
        open.insert((d.from, d.to));
        let guarded = before.iter().any(|b| at(b) == d.to);
        d.ttl.is_none() && (!guarded || open.contains(&(d.to, d.from)))
    });
}

#[test]
fn s49_firewalls_are_opened_from_within() {
    let cases: [&'static [&'static str]; 3] = [&[], &[B_PLACE], &[X_PLACE, B_PLACE]];
    for guarded in cases {
        let mut world = World::new(planet(&[(0, at(R_PLACE))]));
        firewalls(&mut world, guarded);
        world.add(0, &[R_PLACE]);
        let x = world.add(1, &[X_PLACE]);
        let b = world.add(2, &[B_PLACE]);
        for host in [x, b] {
            world.join(host, network());
        }
        assert!(world.run_until(5_000, |w| w.is_online(x) && w.is_online(b)));
        let start = world.now;
        let mut direct = None;
        for _ in 0..40 {
            world.unicast(x, b, network(), 0x86dd, &ipv6(1, 100));
            world.unicast(b, x, network(), 0x86dd, &ipv6(2, 100));
            world.run(100);
            if world.is_direct(x, b) && world.is_direct(b, x) {
                direct.get_or_insert(world.now - start);
            }
        }
        assert!(direct.is_some_and(|ms| ms <= 2_000), "{direct:?}");
        world.run(1_000);
        for host in [x, b] {
            assert_eq!(world.hosts[host].frames.len(), 40, "none is lost");
        }
    }
}

#[test]
fn s53_a_leaf_cannot_order_us_to_another_place() {
    let (mut world, x, _) = online_member();
    let mut b = peer_at(&mut world, x, &[B_PLACE], |_, _| Some(20));
    let mut payload = vec![0; 64];
    let mut writer = Writer::new(&mut payload);
    control::write_push(&mut writer, &[at("10.66.0.1:9993")]).expect("room");
    let len = writer.len();
    payload.truncate(len);
    // "Use this instead of the others."
    payload[2] = 0x02;
    b.say(&mut world, x, Verb::PushDirectPaths, &payload);
    world.run(2_000);
    assert!(b.heard(&world, x).is_empty());
    assert_eq!(b.paths(&world, x), [at(B_PLACE)]);
    payload[2] = 0;
    b.say(&mut world, x, Verb::PushDirectPaths, &payload);
    assert_eq!(b.count(&world, x, Verb::Echo), 1, "it is the flag");
}

#[test]
fn s24_a_leaf_cannot_tell_who_somebody_is() {
    let (mut world, x, root) = online_member();
    let mut leaf = peer_at(&mut world, x, &[B_PLACE], |_, _| Some(20));
    let wanted = identity(3).identity;
    send_frame(&mut world, x, wanted.address);
    let asked = root.heard(&world, x);
    let asked = asked.iter().find(|h| h.verb == Verb::Whois).expect("asked");
    let mut body = vec![0; Identity::LEN];
    wanted.write(&mut Writer::new(&mut body)).expect("room");
    leaf.ok(&mut world, x, Verb::Whois, asked.id, &body);
    world.run(200);
    assert_eq!(drops(&world, x, DropReason::UnexpectedReply), 1);
    assert_eq!(role(&world, x, wanted.address), None);
}

#[test]
fn s93_a_restarted_root_knows_its_clients() {
    let root_planet = planet(&[(1, at(X_PLACE))]);
    let mut world = World::new(root_planet.clone());
    let x = world.add(1, &[X_PLACE]);
    let mut c = Scripted::new(&world, x, 2, B_PLACE);
    c.meet(&mut world, x);
    let mut record = vec![0; RECORD_MAX];
    let exported = world.hosts[x].node.export_peer(c.address(), &mut record);
    record.truncate(exported.expect("known"));
    for remembers in [true, false] {
        let mut world = World::new(root_planet.clone());
        let x = world.add(1, &[X_PLACE]);
        let mut c = Scripted::new(&world, x, 2, B_PLACE);
        if remembers {
            let taken = world.call(x, |n, now, out| n.import_peer(now, &record, out));
            assert_eq!(taken, Ok(c.address()));
        }
        world.run(3_000);
        c.forget(&world, x);
        let me = c.address().to_bytes();
        c.say(&mut world, x, Verb::Whois, &me);
        let verbs: BTreeSet<&str> = c.heard(&world, x).iter().map(|h| h.verb.name()).collect();
        if remembers {
            assert_eq!(verbs, BTreeSet::from(["OK", "HELLO"]));
            assert!(c.answer_hellos(&mut world, x) > 0);
            assert_eq!(c.paths(&world, x), [c.place]);
        } else {
            assert!(verbs.is_empty());
            c.meet(&mut world, x);
        }
    }
}

#[test]
fn s100_roots_that_say_they_do_not_know() {
    let second = "10.5.0.1:9993";
    let mut world = World::new(planet(&[(0, at(R_PLACE)), (5, at(second))]));
    let x = world.add(1, &[X_PLACE]);
    world.join(x, network());
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    let mut other = Scripted::new(&world, x, 5, second);
    let mut both = [&mut root, &mut other];
    let near_and_far = |i, _| Some(if i == 0 { 20 } else { 80 });
    serve(&mut world, x, &mut both, 1_000, near_and_far);
    let stranger = Address::new(0x20_0000_0001).expect("an address");
    let start = world.now;
    let mut asked = Vec::new();
    for _ in 0..110 {
        send_frame(&mut world, x, stranger);
        let heard = serve(&mut world, x, &mut both, 100, near_and_far);
        for (i, heard) in heard.iter().enumerate() {
            for whois in heard.iter().filter(|h| h.verb == Verb::Whois) {
                asked.push((whois.at - start, i));
                let code = ErrorCode::ObjectNotFound;
                let body = stranger.to_bytes();
                both[i].error(&mut world, x, Verb::Whois, whois.id, code, &body);
            }
        }
    }
    asked.sort_unstable();
    let (early, late): (Vec<_>, Vec<_>) = asked.iter().copied().partition(|a| a.0 < 1_000);
    assert_eq!(early[..2].iter().map(|a| a.1).collect::<Vec<_>>(), [0, 1]);
    assert!(early.len() <= 4, "{early:?}");
    assert!(late.iter().all(|a| a.0 >= 10_000), "{late:?}");
    assert!(!late.is_empty(), "asked again in the end");
}
