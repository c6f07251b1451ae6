//! The node under test, its root, and what they say.

use std::net::SocketAddr;

use zt::base::{Address, NetworkId, PacketId};
use zt::node::{DropReason, Role};
use zt::wire::frames::Ethernet;
use zt::wire::verb::Verb;
use zt::wire::{derive, packet};

use crate::sim::scripted::{Heard, Scripted};
use crate::sim::{World, at, ipv6, planet};

pub(crate) const R_PLACE: &str = "10.1.0.1:9993";

pub(crate) const X_PLACE: &str = "10.2.0.1:9993";

pub(crate) const PORTS_22: u64 = 0xff00_1600_1600_0000;

/// A leaf X and its scripted root R (identity 0), not yet met.
pub(crate) fn leaf() -> (World, usize, Scripted) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    let root = Scripted::new(&world, x, 0, R_PLACE);
    (world, x, root)
}

/// The same, online.
pub(crate) fn online() -> (World, usize, Scripted) {
    let (mut world, x, mut root) = leaf();
    world.run(1);
    assert_eq!(root.answer_hellos(&mut world, x), 1);
    assert!(world.is_online(x));
    root.forget(&world, x);
    (world, x, root)
}

/// X is the root itself.
pub(crate) fn as_root() -> (World, usize) {
    let mut world = World::new(planet(&[(1, at(X_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    (world, x)
}

pub(crate) fn drops(world: &World, x: usize, reason: DropReason) -> u64 {
    world.hosts[x].node.stats().drops(reason)
}

pub(crate) fn ok_body(payload: &[u8], verb: Verb) -> &[u8] {
    assert_eq!(payload[0], verb as u8);
    &payload[9..]
}

pub(crate) fn network() -> NetworkId {
    NetworkId::new(PORTS_22).expect("an id")
}

/// A FRAME that every member accepts.
pub(crate) fn member_frame() -> Vec<u8> {
    let mut payload = network().to_bytes().to_vec();
    payload.extend_from_slice(&0x86ddu16.to_be_bytes());
    payload.extend_from_slice(&ipv6(3, 60));
    payload
}

pub(crate) fn root_of_two() -> (World, usize, Scripted, Scripted) {
    let mut world = World::new(planet(&[(1, at(X_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    let mut a = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    let mut b = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    a.meet(&mut world, x);
    b.meet(&mut world, x);
    (world, x, a, b)
}

/// A packet between two others, sealed with a key that X does not have.
pub(crate) fn foreign(from: Address, to: Address, hops: u8) -> Vec<u8> {
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
pub(crate) fn sent_to(world: &World, x: usize, mark: usize, place: &str) -> Vec<Vec<u8>> {
    let place = at(place);
    world.hosts[x].sent[mark..]
        .iter()
        .filter(|d| d.to == place)
        .map(|d| d.bytes.clone())
        .collect()
}

pub(crate) const B_PLACE: &str = "10.3.0.1:9993";

pub(crate) const GLOBAL: &str = "44.1.0.1:9993";

/// Runs for `ms`; the peers answer HELLO and ECHO after `delay(peer, place)` ms, or not at all.
/// What each has heard.
pub(crate) fn serve(
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
pub(crate) fn online_member() -> (World, usize, Scripted) {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE]);
    world.join(x, network());
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    serve(&mut world, x, &mut [&mut root], 100, |_, _| Some(10));
    assert!(world.is_online(x));
    (world, x, root)
}

/// Peer 2 with a path at each place, which answers after `delay`.
pub(crate) fn peer_at(
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

pub(crate) fn send_frame(world: &mut World, x: usize, to: Address) {
    let ethernet = Ethernet {
        to: derive::mac(network(), to),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
}

/// Where frames have gone.
pub(crate) fn frames(heard: &[Heard]) -> Vec<SocketAddr> {
    let frames = heard.iter().filter(|h| h.verb == Verb::Frame);
    frames.map(|h| h.to).collect()
}

pub(crate) fn role(world: &World, x: usize, of: Address) -> Option<Role> {
    let peer = world.hosts[x].node.peer(of, world.clock().mono);
    peer.map(|p| p.role)
}
