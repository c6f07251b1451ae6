//! Scenarios in virtual time that need several paths, several roots or a firewall.
#![allow(missing_docs)]

mod sim;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use sim::scripted::{Heard, Scripted};
use sim::{PLANET_ID, World, at, definition, identity, ipv6, planet};
use zt::base::{Address, NetworkId};
use zt::node::record::RECORD_MAX;
use zt::node::{DropReason, Event, Role};
use zt::wire::control;
use zt::wire::cursor::Writer;
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::identity::Identity;
use zt::wire::packet::HEADER_LEN;
use zt::wire::verb::{ErrorCode, Verb};
use zt::wire::world::WorldKind;

const R_PLACE: &str = "10.1.0.1:9993";
const X_PLACE: &str = "10.2.0.1:9993";
const B_PLACE: &str = "10.3.0.1:9993";
const GLOBAL: &str = "44.1.0.1:9993";

fn network() -> NetworkId {
    NetworkId::new(0xff00_1600_1600_0000).expect("an id")
}

/// Runs for `ms`; the peers answer HELLO and ECHO after `delay(peer, place)` ms, or not at all.
/// What each has heard.
fn serve(
    world: &mut World,
    x: usize,
    peers: &mut [&mut Scripted],
    ms: u64,
    delay: impl Fn(usize, SocketAddr) -> Option<u64>,
) -> Vec<Vec<Heard>> {
    let end = world.now + ms;
    let mut all = vec![Vec::new(); peers.len()];
    let mut due: Vec<(u64, usize, Heard)> = Vec::new();
    loop {
        for (i, peer) in peers.iter_mut().enumerate() {
            for heard in peer.heard(world, x) {
                let asks = matches!(heard.verb, Verb::Hello | Verb::Echo);
                if let Some(ms) = delay(i, heard.to).filter(|_| asks) {
                    due.push((world.now + ms, i, heard.clone()));
                }
                all[i].push(heard);
            }
            peer.forget(world, x);
        }
        if let Some(n) = due.iter().position(|d| d.0 <= world.now) {
            let (_, i, heard) = due.swap_remove(n);
            let seen_as = world.hosts[x].sockets[0];
            let body = match heard.verb {
                Verb::Hello => peers[i].ok_hello_body(seen_as, &[]),
                _ => heard.payload,
            };
            peers[i].ok_from(world, x, heard.to, heard.verb, heard.id, &body);
            continue;
        }
        if world.now >= end {
            return all;
        }
        let next = due.iter().map(|d| d.0).min().unwrap_or(end).min(end);
        let seen = world.hosts[x].sent.len();
        world.run_until(next - world.now, |w| w.hosts[x].sent.len() > seen);
    }
}

/// X, member of the network, and its root, which has answered.
fn online() -> (World, usize, Scripted) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    world.join(x, network());
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    serve(&mut world, x, &mut [&mut root], 100, |_, _| Some(10));
    assert!(world.is_online(x));
    (world, x, root)
}

/// Peer 2 with a path at each place, which answers after `delay`.
fn peer_at(
    world: &mut World,
    x: usize,
    places: &[&str],
    delay: impl Fn(usize, SocketAddr) -> Option<u64> + Copy,
) -> Scripted {
    let mut b = Scripted::new(world, x, 2, places[0]);
    b.hello(world, x);
    serve(world, x, &mut [&mut b], 500, delay);
    for place in &places[1..] {
        b.say_from(world, x, at(place), 0, Verb::Echo, b"");
        serve(world, x, &mut [&mut b], 1_100, delay);
    }
    let expected: Vec<SocketAddr> = places.iter().map(|p| at(p)).collect();
    assert_eq!(b.paths(world, x), expected);
    b
}

fn send_frame(world: &mut World, x: usize, to: Address) {
    let ethernet = Ethernet {
        to: derive::mac(network(), to),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
}

/// Where frames have gone.
fn frames(heard: &[Heard]) -> Vec<SocketAddr> {
    let frames = heard.iter().filter(|h| h.verb == Verb::Frame);
    frames.map(|h| h.to).collect()
}

fn drops(world: &World, x: usize, reason: DropReason) -> u64 {
    world.hosts[x].node.stats().drops(reason)
}

fn role(world: &World, x: usize, of: Address) -> Option<Role> {
    let peer = world.hosts[x].node.peer(of, world.clock().mono);
    peer.map(|p| p.role)
}

// Topology.

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
    let (mut world, x, mut root) = online();
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

// Paths.

#[test]
fn s32_scope_weighs_latency() {
    for (global_ms, wanted) in [(30, B_PLACE), (5, GLOBAL)] {
        let (mut world, x, _) = online();
        let delay = |_, place| Some(if place == at(GLOBAL) { global_ms } else { 62 });
        let b = peer_at(&mut world, x, &[B_PLACE, GLOBAL], delay);
        send_frame(&mut world, x, b.address());
        assert_eq!(frames(&b.heard(&world, x)), [at(wanted)], "{global_ms} ms");
    }
}

#[test]
fn s34_equal_paths_do_not_flap() {
    let (mut world, x, mut root) = online();
    let turn = Cell::new(0u64);
    let jitter = |_, _| {
        turn.set(turn.get() + 1);
        Some(15 + turn.get() * 7 % 11)
    };
    let mut b = peer_at(&mut world, x, &[B_PLACE, "10.3.2.1:9993"], jitter);
    let mut used = Vec::new();
    for _ in 0..600 {
        send_frame(&mut world, x, b.address());
        let heard = serve(&mut world, x, &mut [&mut b, &mut root], 1_000, jitter);
        used.extend(frames(&heard[0]));
    }
    assert_eq!(used.len(), 600, "all of them directly");
    let switches = used.windows(2).filter(|w| w[0] != w[1]).count();
    assert!(switches <= 1, "{switches} switches");
    assert!(turn.get() > 100, "latencies were measured again and again");
}

#[test]
fn s103_one_way_traffic_stays_where_echoes_are_answered() {
    let (mut world, x, mut root) = online();
    let delay = |_, place| Some(if place == at(B_PLACE) { 20 } else { 60 });
    let mut b = peer_at(&mut world, x, &[B_PLACE, "10.3.2.1:9993"], delay);
    let mut used = Vec::new();
    for _ in 0..600 {
        send_frame(&mut world, x, b.address());
        let heard = serve(&mut world, x, &mut [&mut b, &mut root], 100, delay);
        used.extend(frames(&heard[0]));
    }
    assert_eq!(used, vec![at(B_PLACE); 600]);
}

#[test]
fn s109_a_bonding_peer_is_answered_and_not_followed() {
    let (mut world, x, mut root) = online();
    let second = at("10.3.2.1:9993");
    let delay = |_, _| Some(20);
    let mut b = peer_at(&mut world, x, &[B_PLACE, "10.3.2.1:9993"], delay);
    send_frame(&mut world, x, b.address());
    let chosen = frames(&b.heard(&world, x))[0];
    let paths = b.paths(&world, x);
    for round in 0..30 {
        for place in [at(B_PLACE), second] {
            b.forget(&world, x);
            let id = b.say_from(&mut world, x, place, 0, Verb::Echo, b"12345678");
            let heard = b.heard(&world, x);
            assert_eq!(heard.len(), 1);
            assert_eq!((heard[0].verb, heard[0].to), (Verb::Ok, place));
            assert_eq!(heard[0].payload[1..9], id.to_bytes());
        }
        if round % 5 == 0 {
            b.forget(&world, x);
            b.say(&mut world, x, Verb::QosMeasurement, &[0; 20]);
            assert!(b.heard(&world, x).is_empty());
        }
        serve(&mut world, x, &mut [&mut b, &mut root], 2_000, delay);
    }
    send_frame(&mut world, x, b.address());
    assert_eq!(frames(&b.heard(&world, x)), [chosen]);
    assert_eq!(b.paths(&world, x), paths);
}

// Traversal.

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
    let (mut world, x, _) = online();
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
    let (mut world, x, root) = online();
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
