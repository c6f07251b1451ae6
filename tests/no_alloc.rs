//! The packet path takes nothing from the heap: frames between two members and datagrams relayed
//! by their root, counted by an allocator of our own.
#![allow(missing_docs, unsafe_code, clippy::print_stdout)]

mod sim;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use sim::controller as credentials;
use zt::base::{Address, Limits, Mono, NetworkId, Now, UnixMs};
use zt::crypto::identity::generate;
use zt::crypto::rng::Rng;
use zt::node::network::NetworkStatus;
use zt::node::{Config, LinkChange, Node, Outbox, SocketId};
use zt::wire::cursor::Writer;
use zt::wire::derive;
use zt::wire::dict::{Dialect, DictWriter};
use zt::wire::frames::{ETHERNET_LEN, Ethernet, HEADROOM};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::world::{self, WorldKind};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SLOTS: usize = 64;
const SLOT: usize = 1_500;

/// A wire without delay whose memory is taken once.
struct Wire {
    slots: Vec<[u8; SLOT]>,
    /// Sender, destination, length.
    queue: Vec<(usize, SocketAddr, usize)>,
    sender: usize,
    frames: u64,
    /// The root answers nothing directly between the members: all goes through it.
    direct: bool,
}

impl Outbox for Wire {
    fn datagram(&mut self, _: SocketId, to: SocketAddr, parts: [&[u8]; 2], _: Option<u8>) {
        let at = self.queue.len();
        assert!(at < SLOTS, "more datagrams at once than the harness holds");
        let mut len = 0;
        for part in parts {
            self.slots[at][len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        self.queue.push((self.sender, to, len));
    }

    fn frame(&mut self, _: NetworkId, _: &[u8]) {
        self.frames += 1;
    }
}

struct Lab {
    nodes: Vec<Node>,
    places: [SocketAddr; 3],
    wire: Wire,
    ms: u64,
    pending: Vec<(usize, SocketAddr, usize)>,
    buffers: Vec<[u8; SLOT]>,
}

impl Lab {
    fn clock(&self) -> Now {
        let ms = self.ms;
        Now {
            mono: Mono::from_ms(ms),
            wall: UnixMs::from_ms(ms),
            wall_ok: false,
        }
    }

    fn new(direct: bool, private: bool) -> (Self, NetworkId) {
        let places = ["10.1.0.1:9993", "10.2.0.1:9993", "10.3.0.1:9993"]
            .map(|p| p.parse().expect("an address"));
        let secrets: Vec<_> = (0..3u8)
            .map(|n| generate(&mut Rng::new([n; 32])).expect("memory"))
            .collect();
        let mut planet = [0; 600];
        let mut writer = Writer::new(&mut planet);
        let roots = [(secrets[0].identity, &places[..1])];
        world::write(
            &mut writer,
            WorldKind::Planet,
            7,
            1,
            &[0; 64],
            &[0; 96],
            &roots,
        )
        .expect("room");
        let len = writer.len();
        let wire = Wire {
            slots: vec![[0; SLOT]; SLOTS],
            queue: Vec::with_capacity(SLOTS),
            sender: 0,
            frames: 0,
            direct,
        };
        let mut lab = Self {
            nodes: Vec::new(),
            places,
            wire,
            ms: 1 << 35,
            pending: Vec::with_capacity(SLOTS),
            buffers: vec![[0; SLOT]; SLOTS],
        };
        let controller = generate(&mut Rng::new([40; 32])).expect("memory");
        let network = if private {
            controller.identity.address.get() << 24 | 1
        } else {
            0xff00_1600_1600_0000
        };
        let network = NetworkId::new(network).expect("an id");
        for (n, secret) in secrets.into_iter().enumerate() {
            let member = secret.identity;
            let config = Config {
                secret,
                planet: &planet[..len],
                limits: Limits::normal(),
                seed: [n as u8; 32],
                aes: n != 1,
                relay: false,
            };
            let now = lab.clock();
            let mut node = Node::new(config, now).expect("a planet");
            lab.wire.sender = n;
            let up = LinkChange::SocketUp {
                socket: SocketId(0),
                local: places[n],
            };
            node.handle_link(now, up, &mut lab.wire);
            if n > 0 && private {
                let record = record(&controller.identity);
                node.import_peer(now, &record, &mut lab.wire)
                    .expect("a record");
                let stored = dictionary(&controller, network, &member);
                node.join_with(now, network, Some(&stored), &mut lab.wire)
                    .expect("room");
                let view = node.network(network).expect("joined");
                assert_eq!((view.status, view.public), (NetworkStatus::Ok, false));
            } else if n > 0 {
                node.join(now, network, &mut lab.wire).expect("room");
            }
            lab.nodes.push(node);
        }
        (lab, network)
    }

    /// Delivers what is under way until nothing is.
    fn settle(&mut self) {
        while !self.wire.queue.is_empty() {
            std::mem::swap(&mut self.pending, &mut self.wire.queue);
            std::mem::swap(&mut self.buffers, &mut self.wire.slots);
            for i in 0..self.pending.len() {
                let (from, to, len) = self.pending[i];
                let Some(host) = self.places.iter().position(|p| *p == to) else {
                    continue;
                };
                // Members without a direct path: their mutual datagrams are lost.
                if !self.wire.direct && from != 0 && host != 0 {
                    continue;
                }
                self.wire.sender = host;
                let now = self.clock();
                let from = self.places[from];
                self.nodes[host].handle_datagram(
                    now,
                    SocketId(0),
                    from,
                    &mut self.buffers[i][..len],
                    &mut self.wire,
                );
            }
            self.pending.clear();
        }
    }

    fn tick(&mut self) {
        self.ms += 1;
        for host in 0..3 {
            let now = self.clock();
            self.wire.sender = host;
            if self.nodes[host]
                .poll_timeout()
                .is_some_and(|at| at <= now.mono)
            {
                self.nodes[host].handle_timeout(now, &mut self.wire);
            }
            while self.nodes[host].poll_event().is_some() {}
        }
        self.settle();
    }

    fn frame(&mut self, from: usize, to: usize, network: NetworkId, slot: &mut [u8], len: usize) {
        let address = |n: usize| -> Address { self.nodes[n].address() };
        let ethernet = Ethernet {
            to: derive::mac(network, address(to)),
            from: derive::mac(network, address(from)),
            ethertype: 0x86dd,
        };
        slot[HEADROOM..HEADROOM + ETHERNET_LEN].copy_from_slice(&ethernet.to_bytes());
        let payload = &mut slot[HEADROOM + ETHERNET_LEN..];
        payload[0] = 0x60;
        payload[6] = 17;
        let now = self.clock();
        self.wire.sender = from;
        self.nodes[from].handle_frame(now, network, slot, len, &mut self.wire);
        self.settle();
    }

    /// Sends so many frames of mixed sizes both ways; how many arrived.
    fn traffic(&mut self, network: NetworkId, frames: u64) -> u64 {
        let mut slot = [0u8; 3_000];
        let before = self.wire.frames;
        for n in 0..frames {
            let (from, to) = if n % 3 == 0 { (2, 1) } else { (1, 2) };
            let len = ETHERNET_LEN + 60 + (n as usize * 397) % 2_741;
            self.frame(from, to, network, &mut slot, len);
            if n % 4 == 0 {
                self.tick();
            }
        }
        self.wire.frames - before
    }
}

/// A peer without addresses, as it is stored.
fn record(identity: &Identity) -> Vec<u8> {
    let mut record = vec![0; 256];
    let mut writer = Writer::new(&mut record);
    writer.u8(2);
    identity.write(&mut writer).expect("room");
    writer.bytes(&[0; 10]);
    writer.end().expect("room");
    writer.written().to_vec()
}

/// A private network: certificate, tag, capability; base rules that pass nothing but what the
/// capability lets through when the tags have bits in common.
fn dictionary(controller: &SecretIdentity, network: NetworkId, member: &Identity) -> Vec<u8> {
    const TIME: u64 = 1_790_000_000_000;
    const COMMON_BITS: [u8; 12] = [0x30, 8, 0, 0, 0, 1, 0, 0, 0, 5, 1, 0];
    let to = member.address;
    let com = credentials::com(controller, network, member, (TIME, 3_600_000), true);
    let tag = credentials::tag(controller, network, to, TIME, (1, 5));
    let capability = credentials::capability(controller, network, to, TIME, (7, &COMMON_BITS));
    let mut room = vec![0; 8_192];
    let mut writer = Writer::new(&mut room);
    let mut dict = DictWriter::new(&mut writer, Dialect::Modern);
    dict.number("v", 7).expect("room");
    dict.number("nwid", network.get()).expect("room");
    dict.number("ts", TIME).expect("room");
    dict.number("ctmd", 3_600_000).expect("room");
    dict.address("id", to.get()).expect("room");
    dict.number("ml", 32).expect("room");
    dict.bytes("C", &com).expect("room");
    dict.bytes("CAP", &capability).expect("room");
    dict.bytes("TAG", &tag).expect("room");
    // Lets through an ethertype that nobody sends; what is sent needs the capability.
    dict.bytes("R", &[0x25, 2, 0x12, 0x34, 1, 0]).expect("room");
    writer.written().to_vec()
}

fn steady(direct: bool, private: bool) {
    const FRAMES: u64 = 10_000;
    let (mut lab, network) = Lab::new(direct, private);
    for _ in 0..3_000 {
        lab.tick();
    }
    // Certificates are shown again after a second at the earliest.
    for _ in 0..3 {
        lab.traffic(network, 200);
        for _ in 0..1_100 {
            lab.tick();
        }
    }
    let relayed = lab.nodes[0].stats().relayed_datagrams;
    let before = CALLS.with(Cell::get);
    let arrived = lab.traffic(network, FRAMES);
    let calls = CALLS.with(Cell::get) - before;
    let relayed = lab.nodes[0].stats().relayed_datagrams - relayed;
    println!("{arrived} frames, {relayed} datagrams relayed, {calls} heap calls");
    assert_eq!(arrived, FRAMES);
    assert_eq!(calls, 0, "heap calls in steady state");
    if direct {
        assert!(relayed < FRAMES / 100);
    } else {
        assert!(relayed >= FRAMES, "all of it went through the root");
    }
}

#[test]
fn direct_frames_take_nothing_from_the_heap() {
    steady(true, false);
}

#[test]
fn relayed_frames_take_nothing_from_the_heap() {
    steady(false, false);
}

#[test]
fn frames_of_a_private_network_take_nothing_from_the_heap() {
    steady(true, true);
    steady(false, true);
}
