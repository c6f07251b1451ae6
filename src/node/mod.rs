//! The node: a sans-IO state machine.
//!
//! Time, datagrams and frames go in; datagrams, frames and events come out. It never reads a
//! clock, a socket or a file.
//!
//! The law: after a batch of inputs drain [`Node::poll_event`] to `None`, then read
//! [`Node::poll_timeout`], then sleep until then.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

pub mod io;
pub mod network;
pub mod view;

mod deadline;
mod expected;
mod hello;
mod inbound;
mod links;
mod nat;
mod outbound;
mod path;
mod peer;
mod policy;
mod reassembly;
pub mod record;
mod relay;
mod state;
mod topology;
pub mod underlay;
mod upkeep;
mod waiting;
mod whois;

pub use self::io::{Config, DropReason, Event, Family, LinkChange, Outbox, SocketId, Stats};
pub use self::peer::{Traffic, Version};
pub use self::topology::{Role, supersedes};
pub use self::view::{MoonView, PathView, PeerView};

use self::io::{Ends, Out};
use self::network::{Carrier, NetworkView, Networks};
use self::state::Core;
use self::underlay::Underlay;
use self::waiting::Way;
use self::whois::{Due, Want};
use crate::base::{Address, Mono, NetworkId, Now, earliest};
use crate::crypto::rng::Rng;
use crate::wire::Malformed;
use crate::wire::identity::Identity;
use crate::wire::multicast::Group;
use crate::wire::packet::PACKET_MAX;
use crate::wire::world::WorldBuf;

/// A table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A ZeroTier node.
pub struct Node {
    core: Core,
    networks: Networks,
    /// A packet after decompression.
    unpacked: Vec<u8>,
}

/// The node core as the network layer sees it.
struct Ctx<'a, 'o> {
    core: &'a mut Core,
    out: &'a mut Out<'o>,
}

impl Carrier for Ctx<'_, '_> {
    fn now(&self) -> Now {
        self.core.now
    }

    fn mono(&self) -> Mono {
        self.core.now.mono
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.core.rng
    }

    fn send(&mut self, to: Address, packet: &mut [u8], compress: bool) {
        if compress {
            self.core.send_compressed(self.out, to, packet);
        } else {
            self.core.send(self.out, to, packet);
        }
    }

    fn upstream(&self, n: usize) -> Option<Address> {
        self.core.nth_upstream(n)
    }

    fn am_upstream(&self) -> bool {
        self.core.topology.am_upstream()
    }

    fn identity(&self, peer: Address) -> Option<Identity> {
        self.core.peers.get(&peer).map(|p| p.identity)
    }

    fn seek(&mut self, peer: Address) {
        let now = self.core.now.mono;
        if self.core.peers.find(&peer).is_none()
            && !self.core.introduced(peer)
            && self.core.whois.want(peer, now) == Want::Ask
        {
            self.core.send_whois(self.out, peer, 0);
        }
    }

    fn low_bandwidth(&self) -> bool {
        self.core.underlay.low_bandwidth
    }

    fn protocol(&self) -> u8 {
        hello::own_version(self.core.aes).protocol
    }

    fn latency_ms(&self, peer: Address) -> Option<u32> {
        let now = self.core.now.mono;
        let peer = self.core.peers.get(&peer)?;
        peer.best(now)?;
        Some(peer.latency_ms(now).unwrap_or(u32::MAX))
    }

    fn deliver(&mut self, network: NetworkId, ethernet: &[u8]) {
        self.core.stats.frames_out = self.core.stats.frames_out.wrapping_add(1);
        self.out.frame(network, ethernet);
    }

    fn drop(&mut self, reason: DropReason) {
        self.core.stats.drop(reason);
    }

    fn event(&mut self, event: Event) {
        self.core.managed_stale = true;
        self.core.event(event);
    }
}

impl Node {
    /// A node that knows only its identity and its planet. `config.planet` must parse.
    pub fn new(config: Config<'_>, now: Now) -> Result<Self, Malformed> {
        let planet = WorldBuf::new(config.planet)?;
        let mut core = Core::new(config, planet, now);
        let seed = core.rng.next_u64();
        let root = core.topology.am_upstream();
        let networks = Networks::new(core.me, &core.limits, root, seed);
        Ok(Self {
            core,
            networks,
            unpacked: alloc::vec![0; PACKET_MAX],
        })
    }

    /// Bytes from a socket. They are opened in place.
    pub fn handle_datagram(
        &mut self,
        now: Now,
        local: SocketId,
        from: SocketAddr,
        datagram: &mut [u8],
        out: &mut dyn Outbox,
    ) {
        let out = &mut { out };
        self.enter(now, out);
        let remote = canonical(from);
        self.datagram(out, &Ends { local, remote }, datagram);
        self.leave_call(out);
    }

    /// An Ethernet frame of `len` bytes from a tap, at `slot[HEADROOM..]`. It is sealed in place.
    pub fn handle_frame(
        &mut self,
        now: Now,
        network: NetworkId,
        slot: &mut [u8],
        len: usize,
        out: &mut dyn Outbox,
    ) {
        let out = &mut { out };
        self.enter(now, out);
        self.core.stats.frames_in = self.core.stats.frames_in.wrapping_add(1);
        let mut ctx = Ctx {
            core: &mut self.core,
            out,
        };
        self.networks.handle_frame(&mut ctx, network, slot, len);
        self.leave_call(out);
    }

    /// Does what is due, nothing else.
    pub fn handle_timeout(&mut self, now: Now, out: &mut dyn Outbox) {
        let out = &mut { out };
        self.enter(now, out);
        while let Some((at, id)) = self.core.timers.first() {
            if at > now.mono {
                break;
            }
            match self.core.peers.next_from(id) {
                Some((slot, ..)) if slot.index() == id => self.core.peer_due(out, slot),
                _ => self.core.timers.clear(id),
            }
        }
        self.core.notice_no_socket();
        while let Some(due) = self.core.tries.due(now.mono) {
            if let Some(slot) = self.core.peers.find(&due.peer)
                && self.core.allows_path(due.peer, &due.ends.remote)
            {
                self.core.contact(out, slot, &due.ends);
            }
        }
        while let Some(due) = self.core.whois.due(now.mono) {
            match due {
                Due::Ask(address, attempt) => self.core.send_whois(out, address, attempt),
                Due::GiveUp(address) => self.core.waiting.forget(address, &mut self.core.stats),
            }
        }
        self.core.waiting.expire(now.mono, &mut self.core.stats);
        self.seek_seeds(out);
        if self
            .networks
            .next_deadline()
            .is_some_and(|at| at <= now.mono)
        {
            let mut ctx = Ctx {
                core: &mut self.core,
                out,
            };
            self.networks.handle_timeout(&mut ctx);
        }
        self.core.work_on_digest(out);
        self.leave_call(out);
    }

    /// News of the underlay.
    pub fn handle_link(&mut self, now: Now, change: LinkChange, out: &mut dyn Outbox) {
        let out = &mut { out };
        self.enter(now, out);
        match change {
            LinkChange::SocketUp { socket, local } => self.core.socket_up(socket, canonical(local)),
            LinkChange::SocketDown { socket } => self.core.socket_down(socket),
            LinkChange::Moved => self.core.moved(out),
            LinkChange::Stirred => self.core.stirred(),
            LinkChange::TooBig { to } => self.core.too_big(canonical(to)),
        }
        self.leave_call(out);
    }

    /// What the owner says of the networks below, in place of what was said before.
    pub fn set_underlay(&mut self, now: Now, said: Underlay, out: &mut dyn Outbox) {
        let out = &mut { out };
        self.enter(now, out);
        self.core.set_underlay(said);
        self.leave_call(out);
    }

    /// What the owner said last, as far as it is in force.
    pub fn underlay(&self) -> &Underlay {
        &self.core.underlay
    }

    /// When [`Self::handle_timeout`] wants to be called. May change after every call above.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let networks = self.networks.next_deadline();
        earliest(&[self.core.deadline(), networks])
    }

    /// News for the service; drain it after each batch of inputs.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// Becomes a member of a network, or asks to.
    pub fn join(&mut self, now: Now, id: NetworkId, out: &mut dyn Outbox) -> Result<(), Full> {
        self.join_with(now, id, None, out)
    }

    /// [`Self::join`] with the configuration that was in force before, a dictionary of either era
    /// (network 2.8). What cannot be used of it is ignored.
    pub fn join_with(
        &mut self,
        now: Now,
        id: NetworkId,
        stored: Option<&[u8]>,
        out: &mut dyn Outbox,
    ) -> Result<(), Full> {
        let out = &mut { out };
        self.enter(now, out);
        let mut ctx = Ctx {
            core: &mut self.core,
            out,
        };
        let joined = self.networks.join(&mut ctx, id, stored);
        self.core.managed_stale = true;
        self.leave_call(out);
        joined
    }

    /// Asks the controller of a network again, as soon as it may answer. `false`: not on it.
    pub fn refresh(&mut self, now: Now, id: NetworkId, out: &mut dyn Outbox) -> bool {
        let out = &mut { out };
        self.enter(now, out);
        let ctx = Ctx {
            core: &mut self.core,
            out,
        };
        let known = self.networks.hurry(&ctx, id);
        self.leave_call(out);
        known
    }

    /// The configuration of a network as it is to be stored. `None`: there is none, or it needs
    /// none.
    pub fn stored_config(&self, id: NetworkId) -> Option<Vec<u8>> {
        self.networks.stored(id)
    }

    /// Leaves a network. `false`: was not on it.
    pub fn leave(&mut self, now: Now, id: NetworkId, out: &mut dyn Outbox) -> bool {
        let out = &mut { out };
        self.enter(now, out);
        let mut ctx = Ctx {
            core: &mut self.core,
            out,
        };
        let left = self.networks.leave(&mut ctx, id);
        self.core.managed_stale = true;
        self.leave_call(out);
        left
    }

    /// The multicast groups that the tap of a network has subscribed to.
    pub fn set_groups(&mut self, now: Now, id: NetworkId, groups: &[Group], out: &mut dyn Outbox) {
        let out = &mut { out };
        self.enter(now, out);
        let mut ctx = Ctx {
            core: &mut self.core,
            out,
        };
        self.networks.set_groups(&mut ctx, id, groups);
        self.leave_call(out);
    }

    /// Starts to orbit a moon: by its stored definition, or by asking `seed` for it.
    pub fn orbit(
        &mut self,
        now: Now,
        id: u64,
        seed: Option<Address>,
        definition: Option<&[u8]>,
        out: &mut dyn Outbox,
    ) -> Result<(), Full> {
        let out = &mut { out };
        self.enter(now, out);
        let world = definition.and_then(|bytes| WorldBuf::new(bytes).ok());
        let taken = self.core.topology.orbit(id, seed, world);
        self.core.rebuild_upstreams();
        if let Some(seed) = seed {
            self.core.hurry_seed(seed);
        }
        self.leave_call(out);
        if taken { Ok(()) } else { Err(Full) }
    }

    /// Stops orbiting a moon. `false`: did not.
    pub fn deorbit(&mut self, now: Now, id: u64, out: &mut dyn Outbox) -> bool {
        let out = &mut { out };
        self.enter(now, out);
        let known = self.core.topology.deorbit(id);
        self.core.rebuild_upstreams();
        self.leave_call(out);
        known
    }

    /// Who we are.
    pub fn identity(&self) -> &Identity {
        &self.core.secret.identity
    }

    /// Our address.
    pub fn address(&self) -> Address {
        self.core.me
    }

    /// An upstream answers, or we are one.
    pub fn is_online(&self) -> bool {
        self.core.is_online()
    }

    /// Our identity is in a world.
    pub fn is_upstream(&self) -> bool {
        self.core.topology.am_upstream()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// The planet in force, as stored and sent.
    pub fn planet(&self) -> &WorldBuf {
        self.core.topology.planet()
    }

    /// Networks joined.
    pub fn networks(&self) -> impl Iterator<Item = NetworkView<'_>> {
        self.networks.iter(self.core.now)
    }

    /// A network joined.
    pub fn network(&self, id: NetworkId) -> Option<NetworkView<'_>> {
        self.networks.get(id, self.core.now)
    }

    /// Our addresses as others see them.
    pub fn surfaces(&self) -> impl Iterator<Item = SocketAddr> {
        self.core.surfaces.iter(self.core.now.mono)
    }

    fn enter(&mut self, now: Now, out: &mut Out<'_>) {
        let Now {
            mono: before, wall, ..
        } = core::mem::replace(&mut self.core.now, now);
        let passed = |since: u64, to: u64| to.wrapping_sub(since).cast_signed();
        let step = passed(wall.as_ms(), now.wall.as_ms())
            .wrapping_sub(passed(before.as_ms(), now.mono.as_ms()));
        // The clock was set: certificates are younger or older than was thought.
        if step.unsigned_abs() > policy::CLOCK_STEP_MS {
            self.networks.hurry_all(now.mono);
        }
        // A call that comes long after the deadline: the machine slept.
        if now.mono.since(before) > policy::SLEPT_MS
            && self
                .poll_timeout()
                .is_some_and(|at| now.mono.since(at) > policy::SLEPT_MS)
        {
            self.core.moved(out);
        }
    }

    fn leave_call(&mut self, out: &mut Out<'_>) {
        if self.core.managed_stale {
            self.core.managed_stale = false;
            self.core.managed.clear();
            for addresses in self.networks.addresses() {
                self.core.managed.extend_from_slice(addresses);
            }
        }
        if let Some(upstream) = self.core.upstream_up.take() {
            let mut ctx = Ctx {
                core: &mut self.core,
                out,
            };
            self.networks.upstream_up(&mut ctx, upstream);
        }
        if let Some(peer) = self.core.met_again.take() {
            let mut ctx = Ctx {
                core: &mut self.core,
                out,
            };
            self.networks.met_again(&mut ctx, peer);
        }
        while let Some(address) = self.core.retry.pop() {
            self.retry(Some(address), out);
        }
        if self.core.retry_all {
            self.core.retry_all = false;
            self.retry(None, out);
        }
    }

    /// Packets that waited for an identity or a path go on, or wait on.
    fn retry(&mut self, address: Option<Address>, out: &mut Out<'_>) {
        let mark = self.core.waiting.mark();
        while let Some(mut taken) = self.core.waiting.take(address, mark) {
            let (peer, way) = (taken.address, taken.way);
            if self.core.peers.find(&peer).is_none() {
                let (since, stats) = (taken.since, &mut self.core.stats);
                let copy = &mut self.unpacked;
                let len = taken.packet().len();
                if let Some(room) = copy.get_mut(..len) {
                    room.copy_from_slice(taken.packet());
                }
                self.core.waiting.give_back(taken);
                if let Some(packet) = copy.get(..len) {
                    self.core.waiting.push(peer, way, packet, since, stats);
                }
                continue;
            }
            match way {
                Way::Out => self.core.send(out, peer, taken.packet()),
                Way::In(from) => self.packet(out, &from, taken.packet()),
            }
            self.core.waiting.give_back(taken);
        }
    }

    /// Seeds of awaited moons that nobody has told us about yet.
    fn seek_seeds(&mut self, out: &mut Out<'_>) {
        let now = self.core.now.mono;
        if self.core.seeds_next.is_none_or(|at| at > now) {
            return;
        }
        self.core.seeds_next = Some(now.after(policy::SEED_WHOIS_MS));
        for n in 0..self.core.topology.moons().len() {
            let moon = self.core.topology.moons().get(n);
            let Some(seed) = moon.filter(|m| m.world.is_none()).and_then(|m| m.seed) else {
                continue;
            };
            if self.core.peers.find(&seed).is_none()
                && self.core.whois.want(seed, now) != Want::Asked
            {
                self.core.send_whois(out, seed, 0);
            }
        }
    }
}

/// IPv4 addresses in IPv6 clothes are IPv4 addresses.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
        // Scope and flow say nothing about the peer.
        IpAddr::V6(ip) => SocketAddr::new(IpAddr::V6(ip), address.port()),
    }
}
