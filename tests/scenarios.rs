//! Scenarios in virtual time, each with its number: what real nodes rely on, and our own choices.
//! X is the node under test, R its root; peers are scripted.
#![allow(missing_docs)]

mod sim;

use std::net::SocketAddr;

use sim::scripted::Scripted;
use sim::{World, at, definition, identity, ipv6, planet};
use zt::base::{Address, NetworkId};
use zt::node::{DropReason, Event, LinkChange, SocketId};
use zt::wire::control;
use zt::wire::cursor::{Reader, Writer};
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::hello::OkHello;
use zt::wire::identity::Identity;
use zt::wire::packet::{HEADER_LEN, Header, Suite};
use zt::wire::verb::{ErrorCode, Verb};
use zt::wire::world::WorldKind;

const R_PLACE: &str = "10.1.0.1:9993";
const X_PLACE: &str = "10.2.0.1:9993";
const PORTS_22: u64 = 0xff00_1600_1600_0000;

/// A leaf X and its scripted root R (identity 0), not yet met.
fn leaf() -> (World, usize, Scripted) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    let root = Scripted::new(&world, x, 0, R_PLACE);
    (world, x, root)
}

/// The same, online.
fn online() -> (World, usize, Scripted) {
    let (mut world, x, mut root) = leaf();
    world.run(1);
    assert_eq!(root.answer_hellos(&mut world, x), 1);
    assert!(world.is_online(x));
    root.forget(&world, x);
    (world, x, root)
}

/// X is the root itself.
fn as_root() -> (World, usize) {
    let mut world = World::new(planet(&[(1, at(X_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    (world, x)
}

fn drops(world: &World, x: usize, reason: DropReason) -> u64 {
    world.hosts[x].node.stats().drops(reason)
}

fn ok_body(payload: &[u8], verb: Verb) -> &[u8] {
    assert_eq!(payload[0], verb as u8);
    &payload[9..]
}

fn network() -> NetworkId {
    NetworkId::new(PORTS_22).expect("an id")
}

/// A FRAME that every member accepts.
fn member_frame() -> Vec<u8> {
    let mut payload = network().to_bytes().to_vec();
    payload.extend_from_slice(&0x86ddu16.to_be_bytes());
    payload.extend_from_slice(&ipv6(3, 60));
    payload
}

// Start and topology.

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
        sim::PLANET_ID,
        2_000,
        &identity(1_000),
        &roots,
    );
    let forged = definition(
        WorldKind::Planet,
        sim::PLANET_ID,
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

// Identity and HELLO.

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

// WHOIS.

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

// Paths.

#[test]
fn s28_a_path_is_learnt_from_its_ok_only() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    b.forget(&world, x);
    let place = at("10.3.9.9:9993");
    for _ in 0..40 {
        b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
        world.run(50);
    }
    let hellos = b
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Hello)
        .count();
    assert_eq!(hellos, 2, "one HELLO a second");
    assert_eq!(b.count(&world, x, Verb::Ok), 10, "one answer per 166 ms");
    assert!(b.paths(&world, x).is_empty());
    let hello = b
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Hello)
        .expect("sent");
    assert_eq!(hello.to, place);
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    b.ok_from(&mut world, x, place, Verb::Hello, hello.id, &body);
    assert_eq!(b.paths(&world, x), [place]);
}

#[test]
fn s29_a_relayed_packet_teaches_nothing() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    world.run(500);
    b.forget(&world, x);
    b.say_from(&mut world, x, at("10.8.8.8:9993"), 1, Verb::Echo, b"");
    let heard = b.heard(&world, x);
    assert_eq!((heard.len(), heard[0].verb), (1, Verb::Ok));
    assert_eq!(b.paths(&world, x), [b.place]);
}

#[test]
fn s30_another_port_of_a_living_address() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let place = at("10.3.0.1:7777");
    b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
    let heard = b.heard(&world, x);
    assert_eq!(
        (heard.len(), heard[0].verb, heard[0].to),
        (1, Verb::Ok, place)
    );
    world.run(19_000);
    b.forget(&world, x);
    b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
    let hello = b
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Hello)
        .expect("tried");
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    b.ok_from(&mut world, x, place, Verb::Hello, hello.id, &body);
    assert_eq!(b.paths(&world, x), [place], "in the place of the old one");
}

#[test]
fn s31_a_full_list_replaces_the_longest_silent() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    for n in 2..=5 {
        world.run(1_100);
        let place = at(&format!("10.3.{n}.1:9993"));
        b.forget(&world, x);
        b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
        let hello = b
            .heard(&world, x)
            .into_iter()
            .find(|h| h.verb == Verb::Hello)
            .expect("HELLO");
        let body = b.ok_hello_body(at(X_PLACE), &[]);
        b.ok_from(&mut world, x, place, Verb::Hello, hello.id, &body);
    }
    // The cap of small boards is four.
    let expected: Vec<SocketAddr> = [5, 2, 3, 4]
        .iter()
        .map(|n| at(&format!("10.3.{n}.1:9993")))
        .collect();
    assert_eq!(b.paths(&world, x), expected);
}

#[test]
fn s33_s102_traffic_leaves_a_dead_path_within_two_seconds() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let second = at("10.3.2.1:9993");
    world.run(1_100);
    b.say_from(&mut world, x, second, 0, Verb::Echo, b"");
    let hello = b
        .heard(&world, x)
        .into_iter()
        .find(|h| h.to == second && h.verb == Verb::Hello);
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    let hello = hello.expect("HELLO").id;
    b.ok_from(&mut world, x, second, Verb::Hello, hello, &body);
    // `second` answered faster; from now on it is dead, the other answers its ECHOs.
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    b.forget(&world, x);
    let mut used = Vec::new();
    for step in 0..30u64 {
        world.send_frame(x, network(), ethernet, &ipv6(1, 60));
        world.run(100);
        let heard = b.heard(&world, x);
        b.forget(&world, x);
        used.extend(
            heard
                .iter()
                .filter(|h| h.verb == Verb::Frame)
                .map(|h| (step * 100, h.to)),
        );
        let dead = used[0].1;
        for echo in heard
            .iter()
            .filter(|h| h.verb == Verb::Echo && h.to != dead)
        {
            b.ok_from(&mut world, x, echo.to, Verb::Echo, echo.id, b"");
        }
    }
    let dead = used[0].1;
    let moved = used
        .iter()
        .find(|u| u.1 != dead)
        .expect("the traffic moves");
    assert!(moved.0 <= 2_000, "after {} ms", moved.0);
    assert!(used.iter().filter(|u| u.0 > 2_000).all(|u| u.1 != dead));
}

#[test]
fn s35_keep_alives_of_active_peers_only() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut idle = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    idle.meet(&mut world, x);
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    b.say(&mut world, x, Verb::Frame, &member_frame());
    world.run(2_000);
    b.forget(&world, x);
    idle.forget(&world, x);
    let start = world.now;
    world.run(58_000);
    let echoes: Vec<u64> = b
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Echo)
        .map(|h| h.at - start)
        .collect();
    assert!(
        echoes.len() >= 3 && echoes.windows(2).all(|w| w[1] - w[0] <= 14_000),
        "{echoes:?}"
    );
    world.run(60_000);
    assert!(
        b.count(&world, x, Verb::Hello) >= 1,
        "a HELLO round a minute"
    );
    assert!(idle.heard(&world, x).is_empty());
}

#[test]
fn s36_s37_s107_expiry_and_forgetting() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    for _ in 0..5 {
        world.run(48_700);
        root.answer_hellos(&mut world, x);
    }
    b.forget(&world, x);
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
    assert_eq!(
        b.heard(&world, x)[0].to,
        at(R_PLACE),
        "expired: by the root"
    );
    for _ in 0..6 {
        world.run(48_700);
        root.answer_hellos(&mut world, x);
    }
    assert!(!b.is_known(&world, x));
    assert!(root.is_known(&world, x));
    assert!(
        world.hosts[x]
            .events
            .iter()
            .any(|e| e.1 == Event::PeerDown(b.address()))
    );
}

#[test]
fn s38_addresses_that_are_never_contacted() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let own = format!("[{}]:9993", derive::sixplane(network(), b.address()));
    let bad = [
        "127.0.0.1:9993",
        "224.0.0.5:9993",
        "169.254.1.1:9993",
        "0.1.2.3:9993",
        X_PLACE,
        "[fe80::1]:9993",
        "[::1]:9993",
        "[ff02::1]:9993",
        own.as_str(),
    ];
    let before = world.hosts[x].sent.len();
    for place in bad.map(at) {
        let mut payload = vec![0; 64];
        let mut writer = Writer::new(&mut payload);
        control::write_rendezvous(&mut writer, b.address(), &place).expect("room");
        let len = writer.len();
        root.say(&mut world, x, Verb::Rendezvous, &payload[..len]);
        let mut payload = vec![0; 64];
        let mut writer = Writer::new(&mut payload);
        control::write_push(&mut writer, &[place]).expect("room");
        let len = writer.len();
        b.say(&mut world, x, Verb::PushDirectPaths, &payload[..len]);
        world.run(31_000);
        root.answer_hellos(&mut world, x);
    }
    let touched = world.hosts[x].sent[before..]
        .iter()
        .any(|d| bad.map(at).contains(&d.to));
    assert!(!touched);
    assert!(drops(&world, x, DropReason::BadPath) >= 2 * bad.len() as u64);
}

#[test]
fn s39_a_socket_takes_its_paths_with_it() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    world.call(x, |n, now, out| {
        n.handle_link(
            now,
            LinkChange::SocketDown {
                socket: SocketId(0),
            },
            out,
        );
    });
    assert!(b.paths(&world, x).is_empty());
}

#[test]
fn s40_s68_large_frames_in_pieces() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    for (limit, pieces) in [(1_432, 2), (1_232, 3)] {
        let before = world.hosts[x].sent.len();
        world.send_frame(x, network(), ethernet, &ipv6(1, 2_800));
        let sent = &world.hosts[x].sent[before..];
        assert_eq!(sent.len(), pieces);
        assert!(sent.iter().all(|d| d.bytes.len() <= limit));
        let to = b.place;
        world.call(x, |n, now, out| {
            n.handle_link(now, LinkChange::TooBig { to }, out)
        });
    }
}

#[test]
fn s41_old_peers_get_four_pieces_at_most() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut old = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    (old.protocol, old.version) = (4, (1, 0, 5));
    old.meet(&mut world, x);
    let ethernet = Ethernet {
        to: derive::mac(network(), old.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    let before = world.hosts[x].sent.len();
    world.send_frame(x, network(), ethernet, &ipv6(1, 5_600));
    assert_eq!(world.hosts[x].sent.len() - before, 4);
    world.send_frame(x, network(), ethernet, &ipv6(1, 5_700));
    assert_eq!(world.hosts[x].sent.len() - before, 4);
    assert_eq!(drops(&world, x, DropReason::TooLong), 1);
}
