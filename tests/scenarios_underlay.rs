//! Scenarios in virtual time of what the owner says of the networks below, and of staying online
//! while they change.
#![allow(missing_docs)]

mod sim;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use sim::scripted::Scripted;
use sim::{PLANET_ID, World, at, definition, identity, ipv6, planet};
use zt::base::NetworkId;
use zt::node::network::IpNet;
use zt::node::underlay::{PeerHints, PhysicalNet, Underlay};
use zt::node::{DropReason, Event, LinkChange, SocketId};
use zt::wire::packet::{Header, Suite};
use zt::wire::verb::Verb;
use zt::wire::world::WorldKind;

const R_PLACE: &str = "10.1.0.1:9993";
const X_PLACE: &str = "10.2.0.1:9993";
const B_PLACE: &str = "10.3.0.1:9993";

fn network() -> NetworkId {
    NetworkId::new(0xff00_1600_1600_0000).expect("an id")
}

fn net(text: &str) -> IpNet {
    let (ip, bits) = text.split_once('/').expect("a net");
    IpNet {
        ip: ip.parse().expect("an address"),
        bits: bits.parse().expect("a number"),
    }
}

fn physical(text: &str) -> PhysicalNet {
    PhysicalNet {
        net: net(text),
        blacklist: false,
        trusted_path_id: 0,
        mtu: 0,
    }
}

fn blacklist(text: &str) -> PhysicalNet {
    PhysicalNet {
        blacklist: true,
        ..physical(text)
    }
}

fn hints(peer: usize, places: &[&str]) -> PeerHints {
    PeerHints {
        address: identity(peer).identity.address,
        try_at: places.iter().map(|p| at(p)).collect(),
        blacklist: Vec::new(),
        identity: None,
    }
}

fn nets(physical: &[PhysicalNet]) -> Underlay {
    Underlay {
        physical: physical.to_vec(),
        ..Underlay::default()
    }
}

fn say(world: &mut World, host: usize, said: &Underlay) {
    let said = said.clone();
    world.call(host, |node, now, out| node.set_underlay(now, said, out));
}

fn unplug(world: &mut World, host: usize, socket: u16) {
    let socket = SocketId(socket);
    world.hosts[host].sockets[usize::from(socket.0)] = at("0.0.0.0:0");
    world.call(host, |node, now, out| {
        node.handle_link(now, LinkChange::SocketDown { socket }, out);
    });
}

/// X and its root, a script.
fn online() -> (World, usize, Scripted) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    world.join(x, network());
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    world.run(1);
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
    (world, x, root)
}

/// Root, X and B, which have a direct path.
fn three() -> (World, usize, usize) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    world.add(0, &[R_PLACE]);
    let (x, b) = (world.add(1, &[X_PLACE]), world.add(2, &[B_PLACE]));
    for host in [x, b] {
        world.join(host, network());
    }
    assert!(world.run_until(30_000, |w| w.is_online(x) && w.is_online(b)));
    talk(&mut world, x, b, 20_000).expect("to meet");
    let direct = |w: &World| w.is_direct(x, b) && w.is_direct(b, x);
    assert!(world.run_until(10_000, direct));
    (world, x, b)
}

/// Frames every 100 ms both ways until one has arrived each way; how long it took.
fn talk(world: &mut World, x: usize, b: usize, limit_ms: u64) -> Option<u64> {
    let start = world.now;
    for host in [x, b] {
        world.hosts[host].frames.clear();
    }
    while world.now - start < limit_ms {
        world.unicast(x, b, network(), 0x86dd, &ipv6(1, 60));
        world.unicast(b, x, network(), 0x86dd, &ipv6(2, 60));
        world.run(100);
        if [x, b].iter().all(|h| !world.hosts[*h].frames.is_empty()) {
            return Some(world.now - start);
        }
    }
    None
}

fn sent_to(world: &World, host: usize, mark: usize, place: &str) -> usize {
    let all = world.hosts[host].sent.iter().skip(mark);
    all.filter(|d| d.to == at(place)).count()
}

// What the owner says.

#[test]
fn s106_a_hint_is_tried_every_thirty_seconds_while_there_is_traffic() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, B_PLACE);
    // Known, but only by way of the root.
    let own = b.secret.identity;
    let (_, mut hello) = b.hello_packet(&own);
    hello[18] |= 1;
    world.inject(x, at(R_PLACE), &hello);
    world.run(300);
    assert!(b.is_known(&world, x) && b.paths(&world, x).is_empty());
    say(
        &mut world,
        x,
        &Underlay {
            peers: vec![hints(2, &["192.168.9.9:9993"])],
            ..Underlay::default()
        },
    );
    b.forget(&world, x);
    let (start, mark) = (world.now, world.hosts[x].sent.len());
    assert_eq!(sent_to(&world, x, mark, "192.168.9.9:9993"), 0);
    for _ in 0..70 {
        let to = zt::wire::derive::mac(network(), b.address());
        let from = zt::wire::derive::mac(network(), world.address(x));
        let ethernet = zt::wire::frames::Ethernet {
            to,
            from,
            ethertype: 0x86dd,
        };
        world.send_frame(x, network(), ethernet, &ipv6(1, 60));
        world.run(1_000);
        root.answer_hellos(&mut world, x);
    }
    let heard = b.heard(&world, x);
    let hint = at("192.168.9.9:9993");
    let tries: Vec<u64> = heard
        .iter()
        .filter(|h| h.to == hint)
        .inspect(|h| assert_eq!(h.verb, Verb::Hello))
        .map(|h| (h.at - start) / 1_000)
        .collect();
    assert_eq!(tries, [0, 30, 60]);
    let frames: Vec<_> = heard.iter().filter(|h| h.verb == Verb::Frame).collect();
    assert_eq!(frames.len(), 70);
    assert!(frames.iter().all(|h| h.to == at(R_PLACE)));
    let relayed = world.hosts[x].sent.iter().skip(mark);
    let relayed = relayed.filter_map(|d| Header::parse(&d.bytes).ok());
    let mut relayed = relayed.filter(|h| h.destination == b.address());
    assert!(relayed.all(|h| h.hops() == 0));
}

#[test]
fn two_sites_meet_without_any_root() {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let (x, b) = (world.add(1, &[X_PLACE]), world.add(2, &[B_PLACE]));
    for host in [x, b] {
        world.join(host, network());
    }
    world.run(5_000);
    assert!(!world.is_online(x) && !world.is_online(b));
    assert_eq!(talk(&mut world, x, b, 5_000), None);
    // X knows who and where B is; B learns of X by its HELLO.
    let mut known = hints(2, &[B_PLACE]);
    known.identity = Some(identity(2).identity);
    let said = Underlay {
        peers: vec![known],
        ..Underlay::default()
    };
    say(&mut world, x, &said);
    let took = talk(&mut world, x, b, 5_000).expect("to meet");
    assert!(took <= 3_000, "{took} ms");
    assert!(world.is_direct(x, b) && world.is_direct(b, x));
    // B restarts without memory while nobody is there to ask.
    world.hosts[b].up = false;
    world.run(700_000);
    assert!(!world.is_direct(x, b));
    let again = world.add(2, &[]);
    world.hosts[b].sockets.clear();
    world.plug(again, at(B_PLACE));
    world.join(again, network());
    let took = talk(&mut world, x, again, 40_000).expect("to meet again");
    assert!(took <= 31_000, "{took} ms");
}

#[test]
fn an_identity_that_is_none_is_not_believed() {
    let (mut world, x, _) = online();
    let mut lie = hints(2, &[B_PLACE]);
    let mut wrong = identity(3).identity;
    wrong.address = lie.address;
    lie.identity = Some(wrong);
    say(
        &mut world,
        x,
        &Underlay {
            peers: vec![lie],
            ..Underlay::default()
        },
    );
    let b = world.add(2, &[B_PLACE]);
    world.unicast(x, b, network(), 0x86dd, &ipv6(1, 60));
    world.run(2_000);
    let drops = world.hosts[x]
        .node
        .stats()
        .drops(DropReason::InvalidIdentity);
    assert_eq!(drops, 1);
    let known = world.hosts[x]
        .node
        .peer(world.address(b), world.clock().mono);
    assert!(known.is_none());
}

#[test]
fn nothing_goes_to_a_blacklisted_net_and_nothing_from_there_is_heard() {
    let (mut world, x, b) = three();
    say(&mut world, x, &nets(&[blacklist("10.3.0.0/16")]));
    assert!(!world.is_direct(x, b));
    let dropped = |w: &World| w.hosts[x].node.stats().drops(DropReason::BadPath);
    let (mark, before) = (world.hosts[x].sent.len(), dropped(&world));
    world.run(120_000);
    // By way of the root they still reach each other.
    assert!(talk(&mut world, x, b, 5_000).is_some());
    assert_eq!(sent_to(&world, x, mark, B_PLACE), 0);
    assert!(dropped(&world) > before);
    say(&mut world, x, &Underlay::default());
    let mut direct = false;
    for _ in 0..60 {
        assert!(talk(&mut world, x, b, 5_000).is_some());
        world.run(1_000);
        direct |= world.is_direct(x, b);
    }
    assert!(direct, "the net may be used again");
}

#[test]
fn a_blacklisted_root_is_not_asked() {
    let (mut world, x, _) = online();
    say(&mut world, x, &nets(&[blacklist("10.1.0.0/24")]));
    let mark = world.hosts[x].sent.len();
    world.run(300_000);
    assert_eq!(sent_to(&world, x, mark, R_PLACE), 0);
    assert!(!world.is_online(x));
    say(&mut world, x, &Underlay::default());
    assert!(world.run_until(10_000, |w| sent_to(w, x, mark, R_PLACE) > 0));
}

#[test]
fn a_peers_own_blacklist_concerns_that_peer_alone() {
    let (mut world, x, b) = three();
    let c = world.add(3, &["10.3.0.3:9993"]);
    world.join(c, network());
    assert!(talk(&mut world, x, c, 20_000).is_some());
    assert!(world.run_until(10_000, |w| w.is_direct(x, c)));
    let mut only = hints(2, &[]);
    only.blacklist.push(net("10.3.0.0/16"));
    let said = Underlay {
        peers: vec![only],
        ..Underlay::default()
    };
    say(&mut world, x, &said);
    assert!(!world.is_direct(x, b) && world.is_direct(x, c));
    for _ in 0..30 {
        assert!(talk(&mut world, x, b, 5_000).is_some());
        world.run(1_000);
        assert!(!world.is_direct(x, b));
    }
}

#[test]
fn a_trusted_path_carries_plain_packets_both_ways() {
    let (mut world, x, b) = three();
    let suites = |w: &World, host: usize, mark: usize, place: &str| -> Vec<Option<Suite>> {
        let sent = w.hosts[host].sent.iter().skip(mark);
        let sent = sent.filter(|d| d.to == at(place));
        let heads = sent.filter_map(|d| Header::parse(&d.bytes).ok());
        heads.map(|h| h.suite()).collect()
    };
    let trusted = |n: u64| {
        nets(&[PhysicalNet {
            trusted_path_id: n,
            ..physical("10.2.0.0/15")
        }])
    };
    // One side alone: what it sends is not taken.
    say(&mut world, x, &trusted(7));
    world.hosts[b].frames.clear();
    world.unicast(x, b, network(), 0x86dd, &ipv6(1, 60));
    world.run(100);
    assert!(world.hosts[b].frames.is_empty());
    assert!(world.hosts[b].node.stats().drops(DropReason::Suite) > 0);
    // Another id is as bad.
    say(&mut world, b, &trusted(8));
    world.unicast(x, b, network(), 0x86dd, &ipv6(1, 60));
    world.run(100);
    assert!(world.hosts[b].frames.is_empty());
    say(&mut world, b, &trusted(7));
    let marks = [x, b].map(|h| world.hosts[h].sent.len());
    assert_eq!(talk(&mut world, x, b, 5_000), Some(100));
    world.run(130_000);
    assert!(talk(&mut world, x, b, 5_000).is_some());
    assert!(world.is_direct(x, b) && world.is_direct(b, x));
    for (host, mark, place) in [(x, marks[0], B_PLACE), (b, marks[1], X_PLACE)] {
        let all = suites(&world, host, mark, place);
        assert!(all.contains(&Some(Suite::Trusted)));
        // HELLO and answers are never plain.
        assert!(all.contains(&Some(Suite::Poly1305)));
        assert!(all.contains(&Some(Suite::AesGmacSiv)));
    }
    let mark = world.hosts[x].sent.len();
    world.run(60_000);
    let to_root = suites(&world, x, mark, R_PLACE);
    assert!(!to_root.is_empty() && !to_root.contains(&Some(Suite::Trusted)));
}

#[test]
fn datagrams_are_as_large_as_the_net_takes() {
    let (mut world, x, b) = three();
    let mut sizes = |mtu: u16| {
        let said = nets(&[PhysicalNet {
            mtu,
            ..physical("10.3.0.0/16")
        }]);
        say(&mut world, x, &said);
        world.hosts[b].frames.clear();
        let mark = world.hosts[x].sent.len();
        // Nothing that compresses.
        let mut payload = ipv6(1, 2_800);
        for (n, byte) in payload.iter_mut().enumerate().skip(48) {
            *byte = (n * n % 251) as u8 ^ (n / 7) as u8;
        }
        world.unicast(x, b, network(), 0x86dd, &payload);
        world.run(100);
        let came = world.hosts[b].frames.first().map(|f| f.1.len());
        assert_eq!(came, Some(2_814));
        let sent = world.hosts[x].sent.iter().skip(mark);
        let sizes = sent.filter(|d| d.to == at(B_PLACE)).map(|d| d.bytes.len());
        sizes.collect::<Vec<_>>()
    };
    let usual = sizes(0);
    assert_eq!(usual.len(), 2);
    assert!(usual.iter().any(|len| *len > 1_400));
    let small = sizes(1_300);
    assert_eq!(small.len(), 3);
    assert!(small.iter().all(|len| *len <= 1_400));
    assert_eq!(sizes(9_000).len(), 1);
    assert_eq!(sizes(0).len(), 2);
}

#[test]
fn s58_where_every_byte_costs_a_day_with_ten_idle_peers_is_cheap() {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    world.record = false;
    world.add(0, &[R_PLACE]);
    let x = world.add(1, &[X_PLACE]);
    let said = Underlay {
        low_bandwidth: true,
        ..Underlay::default()
    };
    say(&mut world, x, &said);
    world.join(x, network());
    let peers: Vec<usize> = (0..10)
        .map(|n| {
            let peer = world.add(10 + n, &[&format!("10.{}.0.1:9993", n + 30)]);
            world.join(peer, network());
            peer
        })
        .collect();
    assert!(world.run_until(30_000, |w| peers.iter().all(|p| w.is_online(*p))));
    for peer in &peers {
        assert!(talk(&mut world, x, *peer, 20_000).is_some());
    }
    let total = |w: &World| {
        let stats = w.hosts[x].node.stats();
        // With the headers of UDP and IPv4.
        let datagrams = stats.rx_datagrams + stats.tx_datagrams;
        stats.rx_bytes + stats.tx_bytes + 28 * datagrams
    };
    world.run(600_000);
    let before = total(&world);
    world.run(86_400_000);
    let day = total(&world) - before;
    assert!(day <= 3_000_000, "{day} bytes");
    for peer in &peers {
        world.hosts[*peer].frames.clear();
        world.hosts[x].frames.clear();
        world.unicast(*peer, x, network(), 0x86dd, &ipv6(2, 60));
        assert!(world.run_until(3_000, |w| !w.hosts[x].frames.is_empty()));
    }
    eprintln!("{day} bytes a day");
}

// Staying online.

#[test]
fn s94_a_root_that_dies_is_asked_at_all_its_endpoints() {
    let places = [at(R_PLACE), at("10.1.0.2:9993"), at("10.1.0.3:443")];
    let list = [(identity(0).identity, &places[..])];
    let world = definition(WorldKind::Planet, PLANET_ID, 1_000, &identity(1_000), &list);
    let mut world = World::new(world);
    let x = world.add(1, &[X_PLACE]);
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    while !world.is_online(x) {
        world.run(500);
        root.answer_hellos(&mut world, x);
    }
    // Dead from now on. The next HELLO of the schedule finds nobody; behind it all are asked.
    root.forget(&world, x);
    world.run(90_000);
    let heard = root.heard(&world, x);
    let hellos: Vec<_> = heard.iter().filter(|h| h.verb == Verb::Hello).collect();
    let missed = hellos.first().expect("a HELLO of the schedule").at;
    for place in places {
        let asked = hellos
            .iter()
            .any(|h| h.to == place && h.at > missed && h.at <= missed + 3_000);
        assert!(asked, "{place} is not asked: {hellos:?}");
    }
    // For ever, never more rarely than once a minute; OFFLINE after 20 s of silence.
    let offline = world.hosts[x].events.iter().find(|e| e.1 == Event::Offline);
    let offline = offline.expect("OFFLINE").0;
    assert!((20_000..=20_100).contains(&(offline - missed)));
    root.forget(&world, x);
    world.run(3 * 86_400_000);
    let times: Vec<u64> = root.heard(&world, x).iter().map(|h| h.at).collect();
    let gap = times.windows(2).map(|w| w[1] - w[0]).max();
    assert!(gap.is_some_and(|gap| gap <= 60_000), "{gap:?}");
}

#[test]
fn without_a_socket_the_node_is_offline_at_once() {
    let (mut world, x, mut root) = online();
    let offline = |w: &World| {
        let all = w.hosts[x].events.iter();
        all.filter(|e| e.1 == Event::Offline).count()
    };
    // One socket takes the place of another: nobody notices.
    unplug(&mut world, x, 0);
    world.plug(x, at("10.2.0.9:9993"));
    world.run(100);
    root.answer_hellos(&mut world, x);
    assert_eq!(offline(&world), 0);
    assert!(world.is_online(x));
    unplug(&mut world, x, 1);
    world.run(5);
    assert!(!world.is_online(x));
    assert_eq!(offline(&world), 1);
    world.run(600_000);
    world.plug(x, at("10.2.0.10:9993"));
    root.forget(&world, x);
    world.run(5);
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
}

/// Makes X unreachable in some way, and reachable again; how long both ways took to work.
fn recovery(change: impl FnOnce(&mut World, usize)) -> u64 {
    let (mut world, x, b) = three();
    world.run(30_000);
    change(&mut world, x);
    let took = talk(&mut world, x, b, 60_000).expect("to come back");
    // And it lasts.
    for _ in 0..20 {
        world.run(1_000);
        let again = talk(&mut world, x, b, 60_000).expect("to stay");
        assert!(again <= 3_000, "{again} ms");
    }
    assert!(world.is_online(x));
    took
}

fn check(what: &str, took: u64) {
    eprintln!("{what}: {took} ms");
    assert!(took <= 3_000, "{what}: {took} ms");
}

#[test]
fn a_new_wan_address_is_used_at_once() {
    let took = recovery(|world, x| {
        unplug(world, x, 0);
        world.plug(x, at("10.2.7.7:9993"));
    });
    check("another address", took);
}

#[test]
fn a_peer_that_speaks_from_elsewhere_is_answered_there_soon() {
    let (mut world, x, b) = three();
    world.run(30_000);
    unplug(&mut world, x, 0);
    world.plug(x, at("10.2.7.7:9993"));
    // X says nothing of its own will: frames of B alone have to find it.
    world.run(1_000);
    world.hosts[x].frames.clear();
    let start = world.now;
    while world.hosts[x].frames.is_empty() {
        world.unicast(b, x, network(), 0x86dd, &ipv6(2, 60));
        world.run(50);
        assert!(world.now - start < 1_000, "B still sends to where X was");
    }
}

#[test]
fn a_redial_is_over_when_the_line_is() {
    let took = recovery(|world, x| {
        unplug(world, x, 0);
        world.run(45_000);
        world.plug(x, at("10.9.1.1:9993"));
    });
    check("redial", took);
}

#[test]
fn the_same_address_comes_back_after_a_flap() {
    let took = recovery(|world, x| {
        for _ in 0..10 {
            unplug(world, x, 0);
            world.run(200);
            world.hosts[x].sockets[0] = at(X_PLACE);
            world.call(x, |node, now, out| {
                let (socket, local) = (SocketId(0), at(X_PLACE));
                node.handle_link(now, LinkChange::SocketUp { socket, local }, out);
            });
            world.run(200);
        }
    });
    check("flaps", took);
}

#[test]
fn a_default_route_that_moves_costs_no_more_than_a_round_trip_or_two() {
    let took = recovery(|world, x| {
        world.call(x, |node, now, out| {
            node.handle_link(now, LinkChange::Moved, out)
        });
    });
    check("route", took);
}

#[test]
fn a_dead_line_that_comes_back_is_used_when_the_system_says_so() {
    let took = recovery(|world, x| {
        world.filter = Box::new(move |d| d.from != at(X_PLACE) && d.to != at(X_PLACE));
        world.run(300_000);
        assert!(!world.is_online(x));
        world.filter = Box::new(|_| true);
        world.run(1_700);
        world.call(x, |node, now, out| {
            node.handle_link(now, LinkChange::Stirred, out);
        });
    });
    check("dead line", took);
}

#[test]
fn suspend_is_noticed_by_the_clock() {
    let took = recovery(|world, x| {
        world.now += 7_200_000;
        world.call(x, |node, now, out| node.handle_timeout(now, out));
    });
    check("suspend", took);
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    let took = recovery(|world, _| {
        world.wall_ok = false;
        world.wall_offset = -1_790_000_000_000;
        world.run(5_000);
        world.wall_ok = true;
        world.wall_offset = 0;
    });
    check("wall clock", took);
}

/// X behind a NAT that gives out one port per inside socket and outside address.
#[derive(Default)]
struct Nat {
    next: u16,
    mapped: Vec<(SocketAddr, u16)>,
}

const OUTSIDE: &str = "10.2.200.1";

impl Nat {
    /// `true`: may pass.
    fn translate(&mut self, datagram: &mut sim::Datagram) -> bool {
        let outside = |port: u16| SocketAddr::new(OUTSIDE.parse().expect("an address"), port);
        if datagram.from == at(X_PLACE) {
            let known = self.mapped.iter().find(|m| m.0 == datagram.to);
            let port = known.map(|m| m.1).unwrap_or_else(|| {
                self.next += 1;
                self.mapped.push((datagram.to, 40_000 + self.next));
                40_000 + self.next
            });
            datagram.from = outside(port);
            return true;
        }
        if datagram.to.ip() == outside(0).ip() {
            let from = datagram.from;
            let known = self
                .mapped
                .iter()
                .any(|m| m.0 == from && outside(m.1) == datagram.to);
            datagram.to = at(X_PLACE);
            return known;
        }
        datagram.to != at(X_PLACE)
    }
}

#[test]
fn a_nat_that_forgot_its_mappings_is_noticed_with_the_next_packets() {
    let (mut world, nat, x, b) = behind_a_nat();
    let mut worst = 0;
    for pause in [20_000, 33_000, 61_500, 7_700] {
        world.run(pause);
        nat.borrow_mut().mapped.clear();
        let took = talk(&mut world, x, b, 60_000).expect("to come back");
        worst = worst.max(took);
        assert!(world.run_until(10_000, |w| w.is_direct(x, b) && w.is_direct(b, x)));
    }
    check("NAT reboot", worst);
}

/// Root, X behind a NAT, and B outside, who have met.
fn behind_a_nat() -> (World, Rc<RefCell<Nat>>, usize, usize) {
    let nat = Rc::new(RefCell::new(Nat::default()));
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let theirs = nat.clone();
    world.nat = Box::new(move |d| theirs.borrow_mut().translate(d));
    world.add(0, &[R_PLACE]);
    let (x, b) = (world.add(1, &[X_PLACE]), world.add(2, &[B_PLACE]));
    for host in [x, b] {
        world.join(host, network());
    }
    assert!(world.run_until(30_000, |w| w.is_online(x) && w.is_online(b)));
    talk(&mut world, x, b, 20_000).expect("to meet");
    assert!(world.run_until(10_000, |w| w.is_direct(x, b) && w.is_direct(b, x)));
    (world, nat, x, b)
}

/// B sends a frame a second, and X answers what arrives; how long nothing does.
fn call_in(world: &mut World, x: usize, b: usize, limit_ms: u64) -> Option<u64> {
    let start = world.now;
    for host in [x, b] {
        world.hosts[host].frames.clear();
    }
    while world.now - start < limit_ms {
        world.unicast(b, x, network(), 0x86dd, &ipv6(2, 60));
        let heard = world.run_until(1_000, |w| !w.hosts[x].frames.is_empty());
        if heard {
            let took = world.now - start;
            world.unicast(x, b, network(), 0x86dd, &ipv6(1, 60));
            return Some(took);
        }
    }
    None
}

/// X talks to each of these once more.
fn refresh(world: &mut World, x: usize, peers: &[usize]) {
    for peer in peers {
        talk(world, x, *peer, 20_000).expect("to talk");
    }
}

#[test]
fn who_sleeps_behind_a_nat_that_forgot_is_reached_after_a_keep_alive_at_most() {
    let (mut world, nat, x, b) = behind_a_nat();
    let mut worst = 0;
    for n in 0..50 {
        // Behind 500 s B is nobody who is kept in reach: only the root knows the way.
        world.run([31_000, 900_000][n % 2] + n as u64 * 977);
        nat.borrow_mut().mapped.clear();
        let took = call_in(&mut world, x, b, 60_000).expect("to be reached");
        worst = worst.max(took);
        refresh(&mut world, x, &[b]);
    }
    eprintln!("called in after a NAT reboot: {worst} ms");
    // The keep-alive, and a second between two calls.
    assert!(worst <= 22_000, "{worst} ms");
}

#[test]
fn a_nat_that_forgot_one_mapping_has_forgotten_those_to_others() {
    let (mut world, nat, x, b) = behind_a_nat();
    let c = world.add(3, &["10.4.0.1:9993"]);
    world.join(c, network());
    assert!(world.run_until(30_000, |w| w.is_online(c)));
    refresh(&mut world, x, &[b, c]);
    for n in 0..20 {
        world.run(61_000 + n * 977);
        nat.borrow_mut().mapped.clear();
        let mapped = |place: &str| nat.borrow().mapped.iter().any(|m| m.0 == at(place));
        assert!(world.run_until(30_000, |_| !nat.borrow().mapped.is_empty()));
        // Out and back, and out to all.
        let all = [R_PLACE, B_PLACE, "10.4.0.1:9993"];
        assert!(world.run_until(100, |_| all.iter().all(|place| mapped(place))));
        refresh(&mut world, x, &[b, c]);
    }
}

#[test]
fn what_is_due_at_about_the_same_time_wakes_once() {
    let (mut world, _nat, x, b) = behind_a_nat();
    let mut peers = vec![b];
    for n in 0..4 {
        let peer = world.add(10 + n, &[&format!("10.{}.0.1:9993", n + 30)]);
        world.join(peer, network());
        assert!(world.run_until(30_000, |w| w.is_online(peer)));
        peers.push(peer);
    }
    let wakeups = |w: &World| {
        let timers = w.hosts[x].wakeups;
        (timers, timers + w.hosts[x].node.stats().rx_datagrams)
    };
    // Per 1000 s: by timers alone, and with what comes in.
    let per_1000_s = |world: &mut World, s: u64| {
        let before = wakeups(world);
        world.run(s * 1_000);
        let after = wakeups(world);
        [after.0 - before.0, after.1 - before.1].map(|n| n * 1_000 / s)
    };
    refresh(&mut world, x, &peers);
    let [timers, all] = per_1000_s(&mut world, 400);
    eprintln!("five active peers: {timers} wake-ups by timers, {all} in all, per 1000 s");
    assert!(timers <= 250 && all <= 650, "{timers} {all}");
    world.run(600_000);
    let [timers, all] = per_1000_s(&mut world, 3_600);
    eprintln!("nobody but the root: {timers} and {all}");
    assert!(timers <= 53 && all <= 106, "{timers} {all}");
}
