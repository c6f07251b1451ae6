//! A world in virtual time: nodes on one clock, joined by wires with delay, loss, reordering and
//! duplication. Nothing sleeps; `run_until` jumps to the next deadline or delivery.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod controller;
pub mod scripted;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;

use zt::base::{Address, Limits, Mono, NetworkId, Now, UnixMs};
use zt::crypto::identity::generate;
use zt::crypto::rng::Rng;
use zt::crypto::sign;
use zt::node::{Config, Event, LinkChange, Node, Outbox, SocketId};
use zt::wire::cursor::Writer;
use zt::wire::frames::{ETHERNET_LEN, Ethernet, HEADROOM};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::world::{self, World as Definition, WorldKind};

/// Far from 0, so that "never" and "at the start" cannot be mixed up.
pub const START: u64 = 1 << 36;
const WALL: u64 = 1_790_000_000_000;

/// A datagram on its way or seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub at: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
    pub ttl: Option<u8>,
}

#[derive(PartialEq, Eq)]
struct Flight(u64, u64, Datagram);

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

thread_local! {
    /// The host whose node runs now, for allocators that ask whose memory it is. The harness
    /// itself, called or calling, is nobody.
    pub static RUNNING: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs something as this host, or as nobody.
fn running<T>(host: Option<usize>, act: impl FnOnce() -> T) -> T {
    let before = RUNNING.replace(host);
    let result = act();
    RUNNING.set(before);
    result
}

/// What a node did in one call.
#[derive(Default)]
pub struct Log {
    pub datagrams: Vec<(SocketId, SocketAddr, Vec<u8>, Option<u8>)>,
    pub frames: Vec<(NetworkId, Vec<u8>)>,
}

impl Outbox for Log {
    fn datagram(&mut self, local: SocketId, to: SocketAddr, parts: [&[u8]; 2], ttl: Option<u8>) {
        running(None, || {
            self.datagrams.push((local, to, parts.concat(), ttl));
        });
    }

    fn frame(&mut self, network: NetworkId, ethernet: &[u8]) {
        running(None, || self.frames.push((network, ethernet.to_vec())));
    }
}

pub struct Host {
    pub node: Node,
    pub sockets: Vec<SocketAddr>,
    pub frames: Vec<(NetworkId, Vec<u8>)>,
    pub events: Vec<(u64, Event)>,
    pub sent: Vec<Datagram>,
    pub up: bool,
    pub wakeups: u64,
    /// `poll_timeout` after the last call.
    pub due: Option<u64>,
}

/// Properties of every wire.
#[derive(Clone, Copy)]
pub struct Wire {
    pub delay_ms: u64,
    pub jitter_ms: u64,
    /// Of 1000.
    pub loss: u32,
    /// Of 1000.
    pub duplicates: u32,
}

pub struct World {
    pub hosts: Vec<Host>,
    pub now: u64,
    pub wall_offset: i64,
    pub wall_ok: bool,
    pub wire: Wire,
    pub rng: Rng,
    pub planet: Vec<u8>,
    /// Datagrams for which this says `false` are lost.
    pub filter: Box<dyn FnMut(&Datagram) -> bool>,
    /// Changes addresses on the way, as NATs do; `false`: the datagram goes no further.
    pub nat: Box<dyn FnMut(&mut Datagram) -> bool>,
    /// Whether to keep what hosts send.
    pub record: bool,
    flights: BinaryHeap<Flight>,
    order: u64,
}

/// Identities are dear to make: made once, the same for the same number.
pub fn identity(n: usize) -> SecretIdentity {
    thread_local!(static MADE: RefCell<BTreeMap<usize, SecretIdentity>> = const { RefCell::new(BTreeMap::new()) });
    MADE.with_borrow_mut(|made| {
        made.entry(n)
            .or_insert_with(|| {
                let mut seed = [0x5a; 32];
                seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
                generate(&mut Rng::new(seed)).expect("memory for the digest")
            })
            .clone()
    })
}

/// A signed definition.
pub fn definition(
    kind: WorldKind,
    id: u64,
    timestamp: u64,
    signer: &SecretIdentity,
    roots: &[(Identity, &[SocketAddr])],
) -> Vec<u8> {
    let mut signature = [0; 96];
    let mut bytes = vec![0; world::WORLD_MAX_LEN];
    for _ in 0..2 {
        let mut writer = Writer::new(&mut bytes);
        let key = &signer.identity.public;
        world::write(&mut writer, kind, id, timestamp, key, &signature, roots).expect("room");
        let len = writer.len();
        let mut message = vec![0; world::SIGNED_MAX_LEN];
        let (parsed, _) = Definition::parse(&bytes[..len]).expect("just written");
        let n = parsed.signed_message(&mut message).expect("room");
        signature = sign::sign(signer.secret(), &[&message[..n]]);
        bytes.truncate(len);
        bytes.resize(world::WORLD_MAX_LEN, 0);
    }
    let (_, used) = Definition::parse(&bytes).expect("just written");
    bytes.truncate(used);
    bytes
}

pub const PLANET_ID: u64 = 0x1234_5678;

/// A planet with these roots.
pub fn planet(roots: &[(usize, SocketAddr)]) -> Vec<u8> {
    let places: Vec<[SocketAddr; 1]> = roots.iter().map(|r| [r.1]).collect();
    let list: Vec<(Identity, &[SocketAddr])> = roots
        .iter()
        .zip(&places)
        .map(|(r, p)| (identity(r.0).identity, &p[..]))
        .collect();
    definition(WorldKind::Planet, PLANET_ID, 1_000, &identity(1_000), &list)
}

pub fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl World {
    pub fn new(planet: Vec<u8>) -> Self {
        Self {
            hosts: Vec::new(),
            now: START,
            wall_offset: 0,
            wall_ok: true,
            wire: Wire {
                delay_ms: 10,
                jitter_ms: 0,
                loss: 0,
                duplicates: 0,
            },
            rng: Rng::new([9; 32]),
            planet,
            filter: Box::new(|_| true),
            nat: Box::new(|_| true),
            record: true,
            flights: BinaryHeap::new(),
            order: 0,
        }
    }

    pub fn clock(&self) -> Now {
        let wall = (WALL + self.now - START).saturating_add_signed(self.wall_offset);
        Now {
            mono: Mono::from_ms(self.now),
            wall: UnixMs::from_ms(wall),
            wall_ok: self.wall_ok,
        }
    }

    /// Adds node number `n` with these sockets; its place in `hosts`.
    pub fn add(&mut self, n: usize, sockets: &[&str]) -> usize {
        self.add_with(n, sockets, |_| {})
    }

    pub fn add_with(
        &mut self,
        n: usize,
        sockets: &[&str],
        change: impl FnOnce(&mut Config<'_>),
    ) -> usize {
        let mut seed = [7; 32];
        seed[0] = n as u8;
        seed[1] = (n >> 8) as u8;
        seed[2] = self.hosts.len() as u8;
        let planet = self.planet.clone();
        let mut config = Config {
            secret: identity(n),
            planet: &planet,
            limits: Limits::small(),
            seed,
            aes: true,
            relay: true,
        };
        change(&mut config);
        let host = self.hosts.len();
        let node = running(Some(host), || Node::new(config, self.clock()));
        let node = node.expect("a planet that parses");
        self.hosts.push(Host {
            node,
            sockets: Vec::new(),
            frames: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            up: true,
            wakeups: 0,
            due: None,
        });
        for socket in sockets {
            self.plug(host, at(socket));
        }
        host
    }

    pub fn plug(&mut self, host: usize, local: SocketAddr) {
        let socket = SocketId(self.hosts[host].sockets.len() as u16);
        self.hosts[host].sockets.push(local);
        self.call(host, |node, now, out| {
            node.handle_link(now, LinkChange::SocketUp { socket, local }, out);
        });
    }

    pub fn address(&self, host: usize) -> Address {
        self.hosts[host].node.address()
    }

    /// A call of a node with everything that follows from it.
    pub fn call<T>(
        &mut self,
        host: usize,
        act: impl FnOnce(&mut Node, Now, &mut dyn Outbox) -> T,
    ) -> T {
        let now = self.clock();
        let mut log = Log::default();
        let h = &mut self.hosts[host];
        let result = running(Some(host), || act(&mut h.node, now, &mut log));
        while let Some(event) = running(Some(host), || h.node.poll_event()) {
            h.events.push((self.now, event));
        }
        h.due = h.node.poll_timeout().map(Mono::as_ms);
        h.frames.append(&mut log.frames);
        for (local, to, bytes, ttl) in log.datagrams {
            let from = self.hosts[host].sockets[usize::from(local.0)];
            let datagram = Datagram {
                at: self.now,
                from,
                to,
                bytes,
                ttl,
            };
            if self.record {
                self.hosts[host].sent.push(datagram.clone());
            }
            self.fly(datagram);
        }
        result
    }

    /// Puts a datagram on the wire.
    pub fn fly(&mut self, mut datagram: Datagram) {
        if !(self.nat)(&mut datagram) {
            return;
        }
        if !(self.filter)(&datagram) || self.rng.below(1000) < self.wire.loss {
            return;
        }
        let copies = if self.rng.below(1000) < self.wire.duplicates {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let jitter = u64::from(self.rng.below(self.wire.jitter_ms as u32 + 1));
            let due = self.now + self.wire.delay_ms + jitter;
            self.order += 1;
            self.flights.push(Flight(due, self.order, datagram.clone()));
        }
    }

    /// An arbitrary datagram reaches a host now.
    pub fn inject(&mut self, host: usize, from: SocketAddr, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.call(host, |node, now, out| {
            node.handle_datagram(now, SocketId(0), from, &mut bytes, out);
        });
    }

    fn deliver(&mut self, datagram: Datagram) {
        let place = self.hosts.iter().enumerate().find_map(|(i, h)| {
            let socket = h.sockets.iter().position(|s| *s == datagram.to)?;
            h.up.then_some((i, socket))
        });
        if let Some((host, socket)) = place {
            let mut bytes = datagram.bytes;
            self.call(host, |node, now, out| {
                let socket = SocketId(socket as u16);
                node.handle_datagram(now, socket, datagram.from, &mut bytes, out);
            });
        }
    }

    fn next_time(&self) -> Option<u64> {
        let timers = self
            .hosts
            .iter()
            .filter(|h| h.up)
            .filter_map(|h| h.due)
            .min();
        let flight = self.flights.peek().map(|f| f.0);
        [timers, flight].into_iter().flatten().min()
    }

    /// Runs until `done` says so; `false` if it did not within `limit_ms`.
    pub fn run_until(&mut self, limit_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit_ms;
        loop {
            if done(self) {
                return true;
            }
            match self.next_time() {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => {
                    self.now = end;
                    return done(self);
                }
            }
            while self.flights.peek().is_some_and(|f| f.0 <= self.now) {
                if let Some(flight) = self.flights.pop() {
                    self.deliver(flight.2);
                }
            }
            for host in 0..self.hosts.len() {
                let due = self.hosts[host].due;
                if self.hosts[host].up && due.is_some_and(|d| d <= self.now) {
                    self.hosts[host].wakeups += 1;
                    self.call(host, |node, now, out| node.handle_timeout(now, out));
                    let next = self.hosts[host].due;
                    assert!(
                        next.is_none_or(|n| n > self.now),
                        "a deadline in the past after a drain"
                    );
                }
            }
        }
    }

    pub fn run(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    pub fn join(&mut self, host: usize, network: NetworkId) {
        self.call(host, |node, now, out| node.join(now, network, out))
            .expect("room");
    }

    /// An Ethernet frame out of a host's tap.
    pub fn send_frame(
        &mut self,
        host: usize,
        network: NetworkId,
        ethernet: Ethernet,
        payload: &[u8],
    ) {
        let mut slot = vec![0; HEADROOM + ETHERNET_LEN + payload.len()];
        slot[HEADROOM..HEADROOM + ETHERNET_LEN].copy_from_slice(&ethernet.to_bytes());
        slot[HEADROOM + ETHERNET_LEN..].copy_from_slice(payload);
        let len = ETHERNET_LEN + payload.len();
        self.call(host, |node, now, out| {
            node.handle_frame(now, network, &mut slot, len, out)
        });
    }

    /// A unicast frame from host to host, in network `network`.
    pub fn unicast(
        &mut self,
        from: usize,
        to: usize,
        network: NetworkId,
        ethertype: u16,
        payload: &[u8],
    ) {
        let mac = |h: usize| zt::wire::derive::mac(network, self.address(h));
        let ethernet = Ethernet {
            to: mac(to),
            from: mac(from),
            ethertype,
        };
        self.send_frame(from, network, ethernet, payload);
    }

    pub fn is_online(&self, host: usize) -> bool {
        self.hosts[host].node.is_online()
    }

    /// Does `a` have a usable path to `b`?
    pub fn is_direct(&self, a: usize, b: usize) -> bool {
        self.is_direct_to(a, self.address(b))
    }

    /// The same for peers that are no hosts.
    pub fn is_direct_to(&self, a: usize, peer: Address) -> bool {
        let now = Mono::from_ms(self.now);
        let view = self.hosts[a].node.peer(peer, now);
        view.is_some_and(|p| p.path.is_some())
    }
}

/// An IPv6 packet that every ad-hoc network lets pass: UDP to port 7.
pub fn ipv6(tag: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![tag; len.max(48)];
    packet[0] = 0x60;
    packet[6] = 17;
    packet[42] = 0;
    packet[43] = 7;
    packet
}
