//! Start, planets, moons, being a root.

use std::collections::BTreeSet;

use zt::base::Address;
use zt::node::{DropReason, Event, Role};
use zt::wire::cursor::Writer;
use zt::wire::identity::Identity;
use zt::wire::packet::{HEADER_LEN, Header, Suite};
use zt::wire::verb::Verb;
use zt::wire::world::WorldKind;

use super::lab::{
    B_PLACE, R_PLACE, X_PLACE, as_root, drops, leaf, network, ok_body, online, online_member, role,
    send_frame, serve,
};
use crate::sim::scripted::Scripted;
use crate::sim::{PLANET_ID, World, at, definition, identity, planet};

#[test]
fn s1_first_hello() {
    let (mut world, x, root) = leaf();
    world.run(900);
    let sent = &world.hosts[x].sent;
    assert_eq!(sent.len(), 1, "one packet within the first second");
    assert_eq!((sent[0].to, sent[0].bytes.len()), (at(R_PLACE), 137));
    assert_eq!(
        Header::parse(&sent[0].bytes).expect("header").suite(),
        Some(Suite::Poly1305)
    );
    assert_eq!(root.heard(&world, x)[0].verb, Verb::Hello);
}

#[test]
fn s2_hello_never_stops() {
    let (mut world, x, root) = leaf();
    world.run(24 * 3_600_000);
    let heard = root.heard(&world, x);
    let times: Vec<u64> = heard.iter().map(|h| h.at - heard[0].at).collect();
    // Our second pause is 1.1 s, see `policy::HELLO_FIRST_MS`.
    assert_eq!(times[..7], [0, 1_000, 2_100, 4_100, 8_100, 13_100, 18_100]);
    let last = &times[times.len() - 2..];
    assert_eq!(last[1] - last[0], 10_000);
    assert!(!world.is_online(x));
}

#[test]
fn s3_online_with_the_first_ok() {
    let (mut world, x, mut root) = leaf();
    world.run_until(10, |w| root.count(w, x, Verb::Hello) > 0);
    world.run(40);
    root.answer_hellos(&mut world, x);
    assert_eq!(
        world.hosts[x]
            .events
            .iter()
            .filter(|e| e.1 == Event::Online)
            .count(),
        1
    );
    let peer = world.hosts[x]
        .node
        .peer(root.address(), world.clock().mono)
        .expect("known");
    assert_eq!(peer.latency_ms, Some(40));
    assert_eq!(peer.version.expect("said").protocol, 12);
    assert_eq!(peer.path.expect("direct").remote, at(R_PLACE));
}

#[test]
fn s4_offline_after_twenty_seconds_of_asking() {
    let (mut world, x, mut root) = online();
    world.run_until(70_000, |w| root.count(w, x, Verb::Hello) > 0);
    let asked = world.now;
    world.run(30_000);
    let times: Vec<u64> = root
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Hello)
        .map(|h| h.at - asked)
        .collect();
    let mut rounds = times.clone();
    rounds.dedup();
    assert_eq!(rounds[..6], [0, 3_000, 4_000, 6_000, 10_000, 18_000]);
    let offline = world.hosts[x]
        .events
        .iter()
        .find(|e| e.1 == Event::Offline)
        .expect("offline");
    assert_eq!(offline.0 - asked, 20_000);
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
}

#[test]
fn s7_a_newer_planet_is_taken_from_a_root_only() {
    let (mut world, x, mut root) = online();
    let roots = [
        (identity(0).identity, &[at(R_PLACE)][..]),
        (identity(5).identity, &[][..]),
    ];
    let newer = definition(
        WorldKind::Planet,
        crate::sim::PLANET_ID,
        2_000,
        &identity(1_000),
        &roots,
    );
    let forged = definition(
        WorldKind::Planet,
        crate::sim::PLANET_ID,
        3_000,
        &identity(6),
        &roots,
    );
    let mut leaf = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    leaf.hello(&mut world, x);
    world.run(200);
    let seen = world.hosts[x].sockets[0];
    leaf.answer_hellos_with(&mut world, x, seen, &newer);
    assert_eq!(
        world.hosts[x].node.planet().view().timestamp,
        1_000,
        "not from a leaf"
    );
    for (offer, expected) in [(&forged, 1_000), (&newer, 2_000), (&newer, 2_000)] {
        world.run(70_000);
        root.answer_hellos_with(&mut world, x, seen, offer);
        assert_eq!(world.hosts[x].node.planet().view().timestamp, expected);
    }
    assert_eq!(
        world.hosts[x]
            .events
            .iter()
            .filter(|e| e.1 == Event::Planet)
            .count(),
        1
    );
    assert!(drops(&world, x, DropReason::BadWorld) >= 2);
}

#[test]
fn s8_s9_s96_orbit_and_deorbit() {
    let (mut world, x, mut root) = online();
    let seed = identity(2).identity;
    let id = seed.address.get();
    let joined = world.call(x, |n, now, out| {
        n.orbit(now, id, Some(seed.address), None, out)
    });
    assert!(joined.is_ok());
    world.run(12_000);
    let asked = root
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Whois && h.payload == seed.address.to_bytes())
        .count();
    assert!(asked >= 2, "the seed is asked for until somebody knows it");
    let whois = root
        .heard(&world, x)
        .into_iter()
        .rfind(|h| h.verb == Verb::Whois)
        .expect("asked");
    let mut body = vec![0; Identity::LEN];
    seed.write(&mut Writer::new(&mut body)).expect("room");
    root.ok(&mut world, x, Verb::Whois, whois.id, &body);
    world.run(200);
    let mut moon = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let hello = moon
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Hello)
        .expect("HELLO");
    assert_eq!(hello.to, at(R_PLACE), "by way of the root");
    let length = world.hosts[x]
        .sent
        .iter()
        .map(|d| d.bytes.len())
        .max()
        .expect("sent");
    assert_eq!(
        length,
        154 - 6,
        "names the wanted moon; no address of the receiver by relay"
    );
    let definition = definition(
        WorldKind::Moon,
        id,
        5,
        &identity(7),
        &[(seed, &[at("10.3.0.1:9993")][..])],
    );
    let body = moon.ok_hello_body(at(X_PLACE), &definition);
    moon.ok(&mut world, x, Verb::Hello, hello.id, &body);
    assert!(world.hosts[x].events.iter().any(|e| e.1 == Event::Moon(id)));
    let role = |w: &World| {
        w.hosts[x]
            .node
            .peer(seed.address, w.clock().mono)
            .map(|p| p.role.to_string())
    };
    assert_eq!(role(&world).as_deref(), Some("MOON"));
    assert!(world.call(x, |n, now, out| n.deorbit(now, id, out)));
    assert_eq!(role(&world).as_deref(), Some("LEAF"));
}

/// Peer 2 as the seed of the only moon, whose definition X has; the seed lives at `B_PLACE`.
fn orbiting() -> (World, usize, Scripted, Scripted, Vec<u8>) {
    let (mut world, x, mut root) = online_member();
    let mut seed = Scripted::new(&world, x, 2, B_PLACE);
    seed.meet(&mut world, x);
    root.forget(&world, x);
    seed.forget(&world, x);
    let places = [at(B_PLACE)];
    let roots = [(seed.secret.identity, &places[..])];
    let id = seed.address().get();
    let moon = definition(WorldKind::Moon, id, 5, &identity(7), &roots);
    orbit(&mut world, x, &seed);
    world.run(100);
    seed.answer_hellos_with(&mut world, x, at(X_PLACE), &moon);
    assert_eq!(role(&world, x, seed.address()), Some(Role::Moon));
    seed.forget(&world, x);
    (world, x, root, seed, moon)
}

fn orbit(world: &mut World, x: usize, seed: &Scripted) {
    let address = seed.address();
    let orbits = world.call(x, |n, now, out| {
        n.orbit(now, address.get(), Some(address), None, out)
    });
    assert!(orbits.is_ok());
}

fn deorbit(world: &mut World, x: usize, seed: &Scripted) {
    let id = seed.address().get();
    assert!(world.call(x, |n, now, out| n.deorbit(now, id, out)));
    assert_eq!(role(world, x, seed.address()), Some(Role::Leaf));
}

#[test]
fn a_moon_that_is_orbited_again_comes_at_once() {
    let (mut world, x, _root, mut seed, moon) = orbiting();
    for pause in [500, 5_000, 50_000] {
        world.run(pause);
        deorbit(&mut world, x, &seed);
        world.run(500);
        seed.forget(&world, x);
        orbit(&mut world, x, &seed);
        world.run(100);
        seed.answer_hellos_with(&mut world, x, at(X_PLACE), &moon);
        assert_eq!(role(&world, x, seed.address()), Some(Role::Moon), "{pause}");
    }
}

#[test]
fn a_root_that_becomes_a_seed_is_asked_at_once() {
    let (mut world, x, mut root) = online_member();
    world.run(5_000);
    root.forget(&world, x);
    let id = root.address().get();
    let places = [at(R_PLACE)];
    let roots = [(root.secret.identity, &places[..])];
    let moon = definition(WorldKind::Moon, id, 5, &identity(7), &roots);
    orbit(&mut world, x, &root);
    world.run(100);
    root.answer_hellos_with(&mut world, x, at(X_PLACE), &moon);
    assert!(world.hosts[x].events.iter().any(|e| e.1 == Event::Moon(id)));
}

#[test]
fn a_seed_that_left_its_place_is_asked_by_relay() {
    let (mut world, x, mut root, mut seed, moon) = orbiting();
    let nobody_at_b = |i, _| (i == 0).then_some(10);
    serve(
        &mut world,
        x,
        &mut [&mut root, &mut seed],
        5_000,
        nobody_at_b,
    );
    deorbit(&mut world, x, &seed);
    orbit(&mut world, x, &seed);
    let asked = world.now;
    let heard = serve(
        &mut world,
        x,
        &mut [&mut root, &mut seed],
        3_000,
        nobody_at_b,
    );
    let relayed = heard[1]
        .iter()
        .find(|h| h.verb == Verb::Hello && h.to == at(R_PLACE))
        .expect("a HELLO by way of the root");
    assert!(relayed.at - asked <= 2_000);
    let mut ok = vec![Verb::Hello as u8];
    ok.extend_from_slice(&relayed.id.to_bytes());
    ok.extend_from_slice(&seed.ok_hello_body(at(X_PLACE), &moon));
    seed.say_from(&mut world, x, at(R_PLACE), 1, Verb::Ok, &ok);
    assert_eq!(role(&world, x, seed.address()), Some(Role::Moon));
}

#[test]
fn a_seed_that_is_wanted_no_more_is_left_alone() {
    let (mut world, x, mut root) = online_member();
    let mut seed = Scripted::new(&world, x, 2, B_PLACE);
    seed.meet(&mut world, x);
    orbit(&mut world, x, &seed);
    let answers = |_, _| Some(10);
    serve(&mut world, x, &mut [&mut root, &mut seed], 5_000, answers);
    deorbit(&mut world, x, &seed);
    seed.forget(&world, x);
    let heard = serve(&mut world, x, &mut [&mut root, &mut seed], 600_000, answers);
    assert!(heard[1].is_empty(), "{:?}", heard[1]);
}

#[test]
fn s10_a_root_is_not_learnt_elsewhere() {
    let (mut world, x, mut root) = online();
    let id = root.say_from(&mut world, x, at("10.1.5.5:9993"), 0, Verb::Echo, b"ping");
    let heard = root.heard(&world, x);
    assert_eq!(heard.len(), 1, "the answer, and no HELLO");
    assert_eq!(
        (heard[0].verb, heard[0].to),
        (Verb::Ok, at("10.1.5.5:9993"))
    );
    assert_eq!(heard[0].payload[1..9], id.to_bytes());
    assert_eq!(root.paths(&world, x), [at(R_PLACE)]);
}

#[test]
fn s11_s92_being_a_root() {
    let (mut world, x) = as_root();
    assert!(world.is_online(x) && world.hosts[x].node.is_upstream());
    let mut a = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let mut b = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    a.meet(&mut world, x);
    b.meet(&mut world, x);
    let mut asked = b.address().to_bytes().to_vec();
    asked.extend_from_slice(&[0x12, 0x34, 0x56, 0x78, 0x9a]);
    asked.extend_from_slice(&a.address().to_bytes());
    for _ in 0..10 {
        a.say(&mut world, x, Verb::Whois, &asked);
    }
    let heard = a.heard(&world, x);
    assert_eq!(heard.len(), 10, "no gate at a root");
    assert_eq!(
        ok_body(&heard[0].payload, Verb::Whois).len(),
        2 * Identity::LEN
    );
}

#[test]
fn s5_the_nearest_root_that_speaks_is_asked() {
    let mut world = World::new(planet(&[(0, at(R_PLACE)), (5, at("10.5.0.1:9993"))]));
    let x = world.add(1, &[X_PLACE]);
    world.join(x, network());
    let mut near = Scripted::new(&world, x, 0, R_PLACE);
    let mut far = Scripted::new(&world, x, 5, "10.5.0.1:9993");
    let both = |i, _| Some(if i == 0 { 20 } else { 80 });
    serve(&mut world, x, &mut [&mut near, &mut far], 70_000, both);
    let mut asked = |world: &mut World, stranger: u64| {
        send_frame(world, x, Address::new(stranger).expect("an address"));
        let whois = [
            near.count(world, x, Verb::Whois),
            far.count(world, x, Verb::Whois),
        ];
        // Nobody answers for the near one from here on.
        let far_only = |i, _| (i == 1).then_some(80);
        serve(world, x, &mut [&mut near, &mut far], 61_000, far_only);
        whois
    };
    assert_eq!(asked(&mut world, 0x20_0000_0001), [1, 0]);
    // The WHOIS itself went unanswered, so that the near one's path has failed: no need to
    // wait for its weight to pass 80, as a real node does.
    assert_eq!(asked(&mut world, 0x20_0000_0002), [0, 1]);
}

#[test]
fn s12_a_full_root_lets_the_longest_silent_go() {
    let mut world = World::new(planet(&[(1, at(X_PLACE))]));
    let x = world.add_with(1, &[X_PLACE], |c| {
        (c.limits.peers, c.limits.peers_as_root) = (3, 3);
    });
    let mut clients: Vec<Scripted> = (2..=5)
        .map(|n| Scripted::new(&world, x, n, &format!("10.{}.0.1:9993", n + 10)))
        .collect();
    for client in &mut clients[..3] {
        client.meet(&mut world, x);
        world.run(1_000);
    }
    // Nobody is thrown out who has spoken within the last minute.
    clients[3].hello(&mut world, x);
    world.run(200);
    assert!(!clients[3].is_known(&world, x));
    assert_eq!(drops(&world, x, DropReason::PeersFull), 1);
    world.run(61_000);
    clients[0].say(&mut world, x, Verb::Echo, b"");
    clients[3].hello(&mut world, x);
    world.run(200);
    let known: Vec<bool> = clients.iter().map(|c| c.is_known(&world, x)).collect();
    assert_eq!(known, [true, false, true, true]);
    assert_eq!(world.hosts[x].node.peer_count(), 3);
}

#[test]
fn s89_an_idle_client_hears_answers_only() {
    let mut world = World::new(planet(&[(1, at(X_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    let mut c = Scripted::new(&world, x, 2, B_PLACE);
    c.meet(&mut world, x);
    let me = c.address().to_bytes();
    let mut answers = 0;
    for step in 1..=720 {
        if step % 45 == 0 {
            c.hello(&mut world, x);
            answers += 1;
        }
        c.say(&mut world, x, Verb::Whois, &me);
        answers += 1;
        world.run(5_000);
    }
    let heard = c.heard(&world, x);
    assert!(heard.iter().all(|h| h.verb == Verb::Ok));
    assert_eq!(heard.len(), answers);
    let whois = heard.iter().filter(|h| h.payload[0] == Verb::Whois as u8);
    let lens: BTreeSet<usize> = whois.map(|h| HEADER_LEN + h.payload.len()).collect();
    assert_eq!(lens, BTreeSet::from([108]));
}

#[test]
fn s95_a_root_that_moves_is_found() {
    let moved = "10.1.9.1:9993";
    let places = [at(R_PLACE), at(moved)];
    let roots = [(identity(0).identity, &places[..])];
    let signer = identity(1_000);
    let planet = definition(WorldKind::Planet, PLANET_ID, 1_000, &signer, &roots);
    let mut world = World::new(planet);
    let x = world.add(1, &[X_PLACE]);
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    let at_first = |_, place| (place == at(R_PLACE)).then_some(10);
    serve(&mut world, x, &mut [&mut root], 20_000, at_first);
    assert_eq!(root.paths(&world, x), [at(R_PLACE)]);
    world.run_until(70_000, |w| root.count(w, x, Verb::Hello) > 0);
    let later = |_, place| (place == at(moved)).then_some(10);
    serve(&mut world, x, &mut [&mut root], 20_000, later);
    assert!(world.is_online(x));
    assert!(root.paths(&world, x).contains(&at(moved)));
    assert_eq!(
        world.hosts[x]
            .events
            .iter()
            .filter(|e| e.1 == Event::Offline)
            .count(),
        0
    );
}

#[test]
fn s97_each_world_is_judged_by_itself() {
    let (mut world, x, mut root) = online_member();
    let id = 0x77_7777;
    let places = [at("10.7.0.1:9993")];
    let roots = [(identity(5).identity, &places[..])];
    let moon = |time| definition(WorldKind::Moon, id, time, &identity(6), &roots);
    let held = moon(5);
    let orbits = world.call(x, |n, now, out| n.orbit(now, id, None, Some(&held), out));
    assert!(orbits.is_ok());
    let forged = definition(WorldKind::Planet, PLANET_ID, 9_000, &identity(6), &roots);
    let mut both = forged;
    both.extend_from_slice(&moon(6));
    world.run_until(70_000, |w| root.count(w, x, Verb::Hello) > 0);
    root.answer_hellos_with(&mut world, x, at(X_PLACE), &both);
    assert_eq!(drops(&world, x, DropReason::BadWorld), 1);
    assert!(world.hosts[x].events.iter().any(|e| e.1 == Event::Moon(id)));
    let times: Vec<u64> = world.hosts[x]
        .node
        .moons()
        .filter_map(|m| Some(m.world?.view().timestamp))
        .collect();
    assert_eq!(times, [6]);
    assert_eq!(world.hosts[x].node.planet().view().timestamp, 1_000);
}

#[test]
fn s98_a_root_that_is_one_no_more() {
    let second = "10.5.0.1:9993";
    let mut world = World::new(planet(&[(0, at(R_PLACE)), (5, at(second))]));
    let x = world.add(1, &[X_PLACE]);
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    let mut other = Scripted::new(&world, x, 5, second);
    let mut both = [&mut root, &mut other];
    serve(&mut world, x, &mut both, 1_000, |_, _| Some(10));
    assert_eq!(role(&world, x, other.address()), Some(Role::Planet));
    let places = [at(R_PLACE)];
    let roots = [(identity(0).identity, &places[..])];
    let signer = identity(1_000);
    let newer = definition(WorldKind::Planet, PLANET_ID, 2_000, &signer, &roots);
    world.run_until(70_000, |w| root.count(w, x, Verb::Hello) > 0);
    root.answer_hellos_with(&mut world, x, at(X_PLACE), &newer);
    assert_eq!(role(&world, x, other.address()), Some(Role::Leaf));
    assert_eq!(other.paths(&world, x), [at(second)]);
    other.forget(&world, x);
    other.hello(&mut world, x);
    assert_eq!(other.count(&world, x, Verb::Ok), 1);
    other.forget(&world, x);
    serve(&mut world, x, &mut [&mut root], 200_000, |_, _| Some(10));
    assert_eq!(other.count(&world, x, Verb::Hello), 0, "not asked any more");
}
