//! More scenarios in virtual time: relaying, NAT traversal, time, frames, enemies, storage.
#![allow(missing_docs)]

mod sim;

use sim::scripted::Scripted;
use sim::{World, at, identity, ipv6, planet};
use zt::base::{Address, NetworkId, PacketId};
use zt::node::record::RECORD_MAX;
use zt::node::{DropReason, Event, LinkChange};
use zt::wire::control;
use zt::wire::cursor::Writer;
use zt::wire::derive;
use zt::wire::fragment::FragmentHeader;
use zt::wire::frames::Ethernet;
use zt::wire::packet::{self, Suite};
use zt::wire::verb::Verb;

const R_PLACE: &str = "10.1.0.1:9993";
const X_PLACE: &str = "10.2.0.1:9993";

fn network() -> NetworkId {
    NetworkId::new(0xff00_1600_1600_0000).expect("an id")
}

fn online() -> (World, usize, Scripted) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    world.run(1);
    assert_eq!(root.answer_hellos(&mut world, x), 1);
    root.forget(&world, x);
    (world, x, root)
}

fn as_root() -> (World, usize, Scripted, Scripted) {
    let mut world = World::new(planet(&[(1, at(X_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    let mut a = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let mut b = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    a.meet(&mut world, x);
    b.meet(&mut world, x);
    (world, x, a, b)
}

fn drops(world: &World, x: usize, reason: DropReason) -> u64 {
    world.hosts[x].node.stats().drops(reason)
}

fn member_frame() -> Vec<u8> {
    let mut payload = network().to_bytes().to_vec();
    payload.extend_from_slice(&0x86ddu16.to_be_bytes());
    payload.extend_from_slice(&ipv6(3, 60));
    payload
}

/// A packet between two others, sealed with a key that X does not have.
fn foreign(from: Address, to: Address, hops: u8) -> Vec<u8> {
    let mut bytes = vec![0xab; 200];
    packet::write_header(
        &mut bytes,
        PacketId::new(0x1234_5678),
        to,
        from,
        0x88 | hops,
    )
    .expect("room");
    bytes[19..].fill(0xcd);
    bytes
}

/// Datagrams that X has sent to a place since `mark`.
fn sent_to(world: &World, x: usize, mark: usize, place: &str) -> Vec<Vec<u8>> {
    let place = at(place);
    world.hosts[x].sent[mark..]
        .iter()
        .filter(|d| d.to == place)
        .map(|d| d.bytes.clone())
        .collect()
}

// Relay.

#[test]
fn s42_s43_s47_s91_a_root_relays_and_introduces() {
    let (mut world, x, mut a, mut b) = as_root();
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
    let (mut world, x, a, b) = as_root();
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
    let (mut world, x, a, _) = as_root();
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

// NAT traversal.

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

// Time.

#[test]
fn s59_s60_the_wall_clock_moves_nothing() {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    world.wall_ok = false;
    world.wall_offset = -1_789_999_940_000;
    let x = world.add(1, &[X_PLACE]);
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    world.run(5_000);
    assert!(!world.is_online(x));
    assert!(root.count(&world, x, Verb::Hello) >= 3);
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
    let due = world.hosts[x].node.poll_timeout();
    world.wall_offset += 31_536_000_000;
    world.run(1_000);
    world.wall_offset -= 3_600_000;
    world.run(1_000);
    assert_eq!(world.hosts[x].node.poll_timeout(), due);
    assert!(root.is_known(&world, x));
}

#[test]
fn s61_after_sleep_everything_is_proved_again() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    root.forget(&world, x);
    world.now += 3_600_000;
    world.call(x, |n, now, out| n.handle_timeout(now, out));
    world.run(1);
    assert!(
        root.count(&world, x, Verb::Hello) >= 1,
        "upstreams are asked in the first call"
    );
    let usable = world.hosts[x].node.path(b.address(), 0, world.clock().mono);
    assert!(usable.is_none_or(|p| p.expired));
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
}

#[test]
fn s62_an_idle_node_sleeps() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    world.run(1_000);
    let before = world.hosts[x].wakeups;
    for _ in 0..600 {
        world.run(1_000);
        root.answer_hellos(&mut world, x);
    }
    let per_minute = (world.hosts[x].wakeups - before) as f64 / 10.0;
    assert!(per_minute <= 4.0, "{per_minute} wake-ups a minute");
}

#[test]
fn s63_thirty_days_of_peers_coming_and_going() {
    let (mut world, x, mut root) = online();
    world.record = true;
    world.join(x, network());
    let mut peers: Vec<Scripted> = (2..8)
        .map(|n| Scripted::new(&world, x, n, &format!("10.{}.0.1:9993", n + 10)))
        .collect();
    let mut answered = 0;
    for hour in 0..30 * 24u64 {
        let peer = &mut peers[(hour % 6) as usize];
        peer.forget(&world, x);
        peer.hello(&mut world, x);
        world.run(100);
        answered += peer.answer_hellos(&mut world, x);
        peer.say(&mut world, x, Verb::Frame, &member_frame());
        for _ in 0..60 {
            world.run(60_000 - 10);
            root.answer_hellos(&mut world, x);
        }
        assert!(world.hosts[x].node.peer_count() <= 4);
        world.hosts[x].sent.clear();
        world.hosts[x].events.clear();
        world.hosts[x].frames.clear();
        root.forget(&world, x);
    }
    assert!(answered >= 30 * 24);
}

// Frames.

#[test]
fn s67_s69_ad_hoc_rules_and_macs() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let (to, from) = (
        derive::mac(network(), b.address()),
        derive::mac(network(), world.address(x)),
    );
    let ethernet = Ethernet {
        to,
        from,
        ethertype: 0x86dd,
    };
    let syn = |port: u16| {
        let mut p = vec![0; 80];
        p[0] = 0x60;
        p[6] = 6;
        p[42..44].copy_from_slice(&port.to_be_bytes());
        p[53] = 0x02;
        p
    };
    b.forget(&world, x);
    world.send_frame(x, network(), ethernet, &syn(22));
    assert_eq!(b.count(&world, x, Verb::Frame), 1);
    world.send_frame(x, network(), ethernet, &syn(80));
    assert_eq!(
        (
            b.count(&world, x, Verb::Frame),
            drops(&world, x, DropReason::RulesOut)
        ),
        (1, 1)
    );
    for (port, delivered) in [(22u16, 1), (80, 1)] {
        let mut payload = network().to_bytes().to_vec();
        payload.extend_from_slice(&0x86ddu16.to_be_bytes());
        payload.extend_from_slice(&syn(port));
        b.say(&mut world, x, Verb::Frame, &payload);
        assert_eq!(world.hosts[x].frames.len(), delivered);
    }
    assert_eq!(drops(&world, x, DropReason::RulesIn), 1);
    // A solicitation for a member is answered here, and nothing is sent.
    let mut ask = vec![0; 72];
    (ask[0], ask[6], ask[40]) = (0x60, 58, 135);
    ask[48..64].copy_from_slice(&derive::sixplane(network(), b.address()).octets());
    let group = zt::base::Mac::new([0x33, 0x33, 0xff, 0, 0, 1]);
    let mark = world.hosts[x].sent.len();
    world.send_frame(
        x,
        network(),
        Ethernet {
            to: group,
            from,
            ethertype: 0x86dd,
        },
        &ask,
    );
    assert_eq!(world.hosts[x].sent.len(), mark);
    let answer = &world.hosts[x].frames.last().expect("answered").1;
    assert_eq!((&answer[..6], answer[54]), (&from.to_bytes()[..], 136));
    let foreign = Ethernet {
        to,
        from: zt::base::Mac::new([2, 1, 1, 1, 1, 1]),
        ethertype: 0x86dd,
    };
    world.send_frame(x, network(), foreign, &ipv6(1, 60));
    assert_eq!(drops(&world, x, DropReason::BadMac), 1);
}

#[test]
fn s70_ipv4_ad_hoc_multicast_is_gathered_and_spread() {
    let id = NetworkId::new(0xff2c_0000_0000_0001).expect("an id");
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    world.add(0, &[R_PLACE]);
    let hosts: Vec<usize> = (1..5)
        .map(|n| world.add(n, &[&format!("10.{}.0.1:9993", n + 1)]))
        .collect();
    for host in &hosts {
        world.join(*host, id);
    }
    assert!(world.run_until(3_000, |w| hosts.iter().all(|h| w.is_online(*h))));
    let wanted = world.hosts[hosts[1]]
        .node
        .network(id)
        .expect("joined")
        .addresses[1]
        .ip;
    let std::net::IpAddr::V4(wanted) = wanted else {
        panic!("an IPv4 address")
    };
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend_from_slice(&[0; 16]);
    arp.extend_from_slice(&wanted.octets());
    let ethernet = Ethernet {
        to: zt::base::Mac::BROADCAST,
        from: derive::mac(id, world.address(hosts[0])),
        ethertype: 0x0806,
    };
    world.send_frame(hosts[0], id, ethernet, &arp);
    assert!(
        world.run_until(2_000, |w| !w.hosts[hosts[1]].frames.is_empty()),
        "who has that address is found by the group that it listens to"
    );
    world.run(5_000);
    assert_eq!(world.hosts[hosts[1]].frames.len(), 1);
    assert!(hosts[2..].iter().all(|h| world.hosts[*h].frames.is_empty()));
    assert!(
        world.hosts[hosts[0]].frames.is_empty(),
        "the own copy never comes back"
    );
}

#[test]
fn s79_a_network_that_was_left() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    b.say(&mut world, x, Verb::Frame, &member_frame());
    assert_eq!(world.hosts[x].frames.len(), 1);
    assert!(world.call(x, |n, now, out| n.leave(now, network(), out)));
    b.say(&mut world, x, Verb::Frame, &member_frame());
    assert_eq!(world.hosts[x].frames.len(), 1);
    assert_eq!(drops(&world, x, DropReason::UnknownNetwork), 1);
    assert!(!b.paths(&world, x).is_empty());
}

// Enemies.

#[test]
fn s81_any_flipped_bit_changes_nothing() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    for suite in [Suite::Poly1305, Suite::Salsa, Suite::AesGmacSiv] {
        let (_, packet) = b.packet(Verb::Frame, &member_frame(), suite);
        let frames = world.hosts[x].frames.len();
        for bit in 0..packet.len() * 8 {
            let mut altered = packet.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            if bit / 8 == 18 && bit % 8 < 3 {
                continue;
            }
            world.inject(x, b.place, &altered);
        }
        assert_eq!(world.hosts[x].frames.len(), frames, "{suite:?}");
        world.inject(x, b.place, &packet);
        assert_eq!(world.hosts[x].frames.len(), frames + 1);
        world.run(6_000);
    }
    assert_eq!(b.paths(&world, x), [b.place]);
}

#[test]
fn s82_s104_s105_junk_makes_nothing() {
    let (mut world, x, _) = online();
    world.record = false;
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    world.record = true;
    b.meet(&mut world, x);
    world.record = false;
    world.run(30_000);
    let age = |w: &World| {
        w.hosts[x]
            .node
            .path(b.address(), 0, w.clock().mono)
            .expect("a path")
            .received_ms
    };
    let before = (age(&world), world.hosts[x].node.peer_count());
    let mut junk = vec![0; 10_400];
    for n in 0..100_000u32 {
        let len = (world.rng.below(1 << 16) as usize * 7 + n as usize)
            % if n % 50 == 0 { 10_400 } else { 200 };
        world.rng.fill(&mut junk[..len]);
        let from = if n % 2 == 0 {
            b.place
        } else {
            at(&format!("10.{}.0.1:9993", n % 200 + 20))
        };
        let bytes = junk[..len].to_vec();
        world.inject(x, from, &bytes);
    }
    assert_eq!((age(&world), world.hosts[x].node.peer_count()), before);
    assert!(world.hosts[x].node.stats().drops_total() >= 90_000);
}

#[test]
fn s83_unfinished_packets_leave_room() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let me = world.address(x);
    let mut payload = member_frame();
    payload.resize(2_000, 7);
    for round in 0..100u64 {
        let (_, pieces) = b.pieces(Verb::Frame, &payload);
        world.inject(x, b.place, &pieces[0]);
        for n in 0..100u64 {
            let header = FragmentHeader {
                id: PacketId::new(round * 1_000 + n),
                destination: me,
                total: 2,
                number: 1,
                hops: 0,
            };
            world.inject(x, at("10.99.0.9:1"), &header.to_bytes());
            let mut filled = header.to_bytes().to_vec();
            filled.push(1);
            world.inject(x, at("10.99.0.9:1"), &filled);
        }
        world.run(100);
        world.inject(x, b.place, &pieces[1]);
    }
    assert!(
        world.hosts[x].frames.len() >= 90,
        "{} of 100",
        world.hosts[x].frames.len()
    );
}

#[test]
fn s84_frames_to_strangers_stay_at_their_caps() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let from = derive::mac(network(), world.address(x));
    for n in 0..10_000u64 {
        let stranger = Address::new(0x10_0000_0000 + n).expect("ok");
        let to = derive::mac(network(), stranger);
        world.send_frame(
            x,
            network(),
            Ethernet {
                to,
                from,
                ethertype: 0x86dd,
            },
            &ipv6(1, 60),
        );
    }
    root.forget(&world, x);
    b.forget(&world, x);
    let to = derive::mac(network(), b.address());
    world.send_frame(
        x,
        network(),
        Ethernet {
            to,
            from,
            ethertype: 0x86dd,
        },
        &ipv6(1, 60),
    );
    assert_eq!(b.count(&world, x, Verb::Frame), 1);
    world.run(400);
    assert!(root.count(&world, x, Verb::Whois) <= 16);
}

#[test]
fn s86_a_root_that_lies() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    b.forget(&world, x);
    for n in 0..10_000u64 {
        let place = at(&format!("10.150.{}.{}:9993", n / 250, n % 250 + 1));
        let mut payload = vec![0; 64];
        let mut writer = Writer::new(&mut payload);
        control::write_rendezvous(&mut writer, b.address(), &place).expect("room");
        let len = writer.len();
        root.say(&mut world, x, Verb::Rendezvous, &payload[..len]);
        world.run(1);
    }
    // One per peer and second, three ECHOs each.
    assert!(
        b.count(&world, x, Verb::Echo) <= 33,
        "{}",
        b.count(&world, x, Verb::Echo)
    );
}

#[test]
fn s87_duplicates_are_delivered_and_make_nothing_grow() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let (_, packet) = b.packet(Verb::Frame, &member_frame(), Suite::Salsa);
    for _ in 0..1_000 {
        world.inject(x, b.place, &packet);
    }
    assert_eq!(world.hosts[x].frames.len(), 1_000);
    assert_eq!(
        world.hosts[x]
            .node
            .network(network())
            .expect("joined")
            .members,
        1
    );
}

// Old peers, storage.

#[test]
fn s99_s108_a_peer_of_protocol_4() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut old = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    (old.protocol, old.version) = (4, (1, 0, 5));
    old.meet(&mut world, x);
    old.say(&mut world, x, Verb::Frame, &member_frame());
    for _ in 0..12 {
        world.run(10_000);
        world.inject(x, old.place, &[]);
        old.answer_hellos(&mut world, x);
    }
    assert_eq!(old.count(&world, x, Verb::Echo), 0);
    let hellos = old.heard(&world, x).len();
    world.run(60_000);
    assert!(
        old.count(&world, x, Verb::Hello) > hellos,
        "kept alive by HELLO"
    );
    let version = world.hosts[x]
        .node
        .peer(old.address(), world.clock().mono)
        .expect("known")
        .version;
    assert_eq!(
        version.map(|v| (v.major, v.minor, v.revision)),
        Some((1, 0, 5))
    );
}

#[test]
fn s101_two_sockets_make_two_paths() {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE, "10.22.0.1:9993"]);
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    let hellos: Vec<_> = b
        .heard(&world, x)
        .into_iter()
        .filter(|h| h.verb == Verb::Hello)
        .collect();
    assert_eq!(hellos.len(), 2, "from all sockets");
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    for hello in hellos {
        let mut payload = vec![Verb::Hello as u8];
        payload.extend_from_slice(&hello.id.to_bytes());
        payload.extend_from_slice(&body);
        let (_, mut bytes) = b.packet(Verb::Ok, &payload, Suite::Salsa);
        let socket = world.hosts[x]
            .sockets
            .iter()
            .position(|s| *s == hello.from)
            .expect("own");
        let place = b.place;
        world.call(x, |n, now, out| {
            n.handle_datagram(
                now,
                zt::node::SocketId(socket as u16),
                place,
                &mut bytes,
                out,
            );
        });
    }
    assert_eq!(b.paths(&world, x), [b.place, b.place]);
}

#[test]
fn s118_s119_stored_peers() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let mut record = vec![0; RECORD_MAX];
    let len = world.hosts[x]
        .node
        .export_peer(b.address(), &mut record)
        .expect("known");
    record.truncate(len);
    assert_eq!(record[0], 2);
    // A new run of the same node.
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    for cut in 0..record.len() {
        let cut = record[..cut].to_vec();
        let taken = world.call(x, |n, now, out| n.import_peer(now, &cut, out));
        assert!(taken.is_err());
    }
    let taken = world.call(x, |n, now, out| n.import_peer(now, &record, out));
    assert_eq!(taken, Ok(b.address()));
    let hello = b.heard(&world, x);
    assert_eq!(
        (hello.len(), hello[0].verb, hello[0].to),
        (1, Verb::Hello, b.place)
    );
    assert!(b.paths(&world, x).is_empty(), "no path before its OK");
    b.say(&mut world, x, Verb::Echo, b"");
    assert_eq!(
        b.count(&world, x, Verb::Ok),
        1,
        "opened from the stored identity"
    );
    b.answer_hellos(&mut world, x);
    assert_eq!(b.paths(&world, x), [b.place]);
}

#[test]
fn events_are_bounded_and_say_so() {
    let (mut world, x, _) = online();
    let now = world.clock();
    let mut log = sim::Log::default();
    for n in 0..200u64 {
        let id = NetworkId::new(0x1234_5678_9a00_0000 + n).expect("an id");
        let _ = world.hosts[x].node.join(now, id, &mut log);
        world.hosts[x].node.leave(now, id, &mut log);
    }
    let mut events = Vec::new();
    while let Some(event) = world.hosts[x].node.poll_event() {
        events.push(event);
    }
    assert_eq!((events.len(), events.last()), (64, Some(&Event::Lost)));
    world.call(x, |n, now, out| n.handle_link(now, LinkChange::Moved, out));
    assert_eq!(identity(1).identity.address, world.address(x));
}
