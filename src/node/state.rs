//! What the node knows, and the small operations on it. The receiving side is in `inbound`,
//! the sending side in `outbound`, HELLO in `hello`.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::deadline::{Beat, Deadlines};
use super::expected::Expected;
use super::hello::{Digests, HelloGate};
use super::io::{Config, Ends, Event, Out, SocketId, Stats};
use super::nat::{Introductions, Surfaces, Tries};
use super::network::IpNet;
use super::path::Path;
use super::peer::{Contact, Peer};
use super::policy::{self, Pace};
use super::reassembly::Reassembly;
use super::topology::Topology;
use super::underlay::Underlay;
use super::waiting::Waiting;
use super::whois::Whois;
use crate::base::gate::Once;
use crate::base::{Address, Limits, Mono, Now, Slot, Table, earliest};
use crate::crypto::agree::agree;
use crate::crypto::armor::SessionKeys;
use crate::crypto::rng::Rng;
use crate::wire::identity::{Identity, SecretIdentity};
use crate::wire::inet;
use crate::wire::packet::PACKET_MAX;
use crate::wire::world::WorldBuf;

pub(crate) struct Core {
    pub(crate) secret: SecretIdentity,
    pub(crate) me: Address,
    pub(crate) limits: Limits,
    pub(crate) aes: bool,
    pub(crate) relay: bool,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) stats: Stats,
    pub(crate) topology: Topology,
    pub(crate) peers: Table<Address, Peer>,
    /// Per peer, by slot number.
    pub(crate) timers: Deadlines,
    /// Local sockets by number.
    pub(crate) sockets: Vec<Option<SocketAddr>>,
    /// What the owner says of the networks below.
    pub(crate) underlay: Underlay,
    pub(crate) reassembly: Reassembly,
    pub(crate) waiting: Waiting,
    pub(crate) whois: Whois,
    pub(crate) expected: Expected,
    pub(crate) surfaces: Surfaces,
    pub(crate) tries: Tries,
    pub(crate) introductions: Introductions,
    pub(crate) hello_gate: HelloGate,
    pub(crate) digests: Digests,
    pub(crate) beacon_gate: Once,
    /// Offset of the HELLO time field, which only we read (node 2.4).
    pub(crate) time_offset: u64,
    /// Subnets of our networks: never paths (node 5.5).
    pub(crate) managed: Vec<IpNet>,
    pub(crate) managed_stale: bool,
    /// Addresses whose waiting packets can go on.
    pub(crate) retry: heapless::Vec<Address, 16>,
    pub(crate) retry_all: bool,
    /// An upstream came into reach: it has to learn our groups.
    pub(crate) upstream_up: Option<Address>,
    /// A peer of an earlier run has a path again.
    pub(crate) met_again: Option<Address>,
    pub(crate) seeds_next: Option<Mono>,
    /// The last socket went: when that is noticed.
    pub(crate) no_socket: Option<Mono>,
    pub(crate) stir_gate: Once,
    pub(crate) remap_gate: Once,
    pub(crate) scratch: Vec<u8>,
    relay_choice: Option<(Address, Mono)>,
    online: bool,
    events: VecDeque<Event>,
}

impl Core {
    pub(crate) fn new(config: Config<'_>, planet: WorldBuf, now: Now) -> Self {
        let mut rng = Rng::new(config.seed);
        let limits = config.limits;
        let me = config.secret.identity.address;
        let topology = Topology::new(me, planet, limits.moons);
        let peers = if topology.am_upstream() {
            limits.peers_as_root.max(limits.peers)
        } else {
            limits.peers
        };
        let mut core = Self {
            secret: config.secret,
            me,
            limits,
            aes: config.aes,
            relay: config.relay,
            now,
            stats: Stats::default(),
            topology,
            peers: Table::new(peers, rng.next_u64()),
            timers: Deadlines::new(peers),
            sockets: Vec::new(),
            underlay: Underlay::default(),
            reassembly: Reassembly::new(limits.reassembly_slots),
            waiting: Waiting::new(limits.waiting_packets),
            whois: Whois::new(limits.whois, limits.whois_negative, rng.next_u64()),
            expected: Expected::new(limits.expected_replies, rng.next_u64()),
            surfaces: Surfaces::new(limits.surfaces),
            tries: Tries::new(limits.traversal_tries),
            introductions: Introductions::new(limits.introductions, rng.next_u64()),
            hello_gate: HelloGate::new(limits.hello_gate, rng.next_u64()),
            digests: Digests::new(limits.digest_queue),
            beacon_gate: Once::new(),
            time_offset: rng.next_u64() >> 24,
            managed: Vec::new(),
            managed_stale: false,
            retry: heapless::Vec::new(),
            retry_all: false,
            upstream_up: None,
            met_again: None,
            seeds_next: None,
            no_socket: None,
            stir_gate: Once::new(),
            remap_gate: Once::new(),
            scratch: alloc::vec![0; PACKET_MAX],
            relay_choice: None,
            online: false,
            events: VecDeque::with_capacity(limits.events),
            rng,
        };
        core.rebuild_upstreams();
        core
    }

    // Events.

    pub(crate) fn event(&mut self, event: Event) {
        if self.events.len() + 1 < self.limits.events {
            self.events.push_back(event);
        } else if self.events.back() != Some(&Event::Lost) {
            self.events.push_back(Event::Lost);
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A path of a peer is given up.
    #[inline(never)]
    pub(crate) fn path_down(&mut self, peer: Address, path: &Path) {
        let Ends { local, remote } = path.ends;
        self.event(Event::PathDown {
            peer,
            local,
            remote,
        });
    }

    // Online state.

    pub(crate) fn is_online(&self) -> bool {
        self.online
    }

    pub(crate) fn update_online(&mut self) {
        let answering = |a: &Address| {
            self.peers
                .get(a)
                .and_then(|p| p.contact.as_ref())
                .is_some_and(|c| c.answering)
        };
        let online = self.topology.am_upstream() || self.topology.upstreams().iter().any(answering);
        if online != self.online {
            self.online = online;
            self.event(if online {
                Event::Online
            } else {
                Event::Offline
            });
        }
    }

    // Peers.

    /// Agrees on a key with an identity. Costly: never before a gate.
    pub(crate) fn agree(&self, identity: &Identity) -> Option<SessionKeys> {
        agree(&self.secret, identity)
            .ok()
            .map(|key| SessionKeys::new(&key))
    }

    /// Makes room if there must be some, and adds a peer. `None`: nobody may be thrown out.
    pub(crate) fn add_peer(&mut self, identity: Identity, keys: SessionKeys) -> Option<Slot> {
        let now = self.now.mono;
        if self.peers.is_full() {
            let idle = |p: &Peer| {
                let heard = p.heard.unwrap_or(p.created);
                let idle = !p.upstream && p.contact.is_none();
                (idle && now.since(heard) >= policy::BUSY_MS).then(|| heard.as_ms())
            };
            let victim = self.peers.least(idle)?;
            self.remove_peer(victim);
        }
        let address = identity.address;
        let slot = self.peers.insert(address, Peer::new(identity, keys, now))?;
        self.whois.found(address);
        self.retry_for(address);
        self.rearm(slot);
        Some(slot)
    }

    pub(crate) fn remove_peer(&mut self, address: Address) {
        let Some(slot) = self.peers.find(&address) else {
            return;
        };
        self.timers.clear(slot.index());
        self.tries.stop(address);
        let announced = self.peers.at(slot).is_some_and(|p| p.announced);
        self.peers.discard(slot);
        if announced {
            self.event(Event::PeerDown(address));
        }
    }

    pub(crate) fn retry_for(&mut self, address: Address) {
        if !self.retry.contains(&address) && self.retry.push(address).is_err() {
            self.retry_all = true;
        }
    }

    /// Sets the peer's deadline anew.
    pub(crate) fn rearm(&mut self, slot: Slot) {
        let keeps_mapping = self.keeps_mapping(slot);
        if let Some(peer) = self.peers.at(slot) {
            let at = peer.deadline(self.now.mono, keeps_mapping, self.pace(), self.beat());
            // Never in the past after a drain.
            self.timers
                .set(slot.index(), at.max(self.now.mono.after(1)));
        }
    }

    /// Peers for whom the worlds or the moons' seeds want contact get it; others lose it.
    pub(crate) fn rebuild_upstreams(&mut self) {
        let now = self.now.mono;
        let wanted: Vec<Address> = self.topology.upstreams().to_vec();
        let seeds: Vec<Address> = self.topology.seeds().collect();
        let mut at = 0;
        while let Some((slot, address, peer)) = self.peers.next_from(at) {
            at = slot.index() + 1;
            if (!peer.upstream && peer.contact.is_none()) || wanted.contains(&address) {
                continue;
            }
            if let Some(peer) = self.peers.at_mut(slot) {
                peer.upstream = false;
                if !seeds.contains(&address) {
                    peer.contact = None;
                }
            }
        }
        for address in wanted {
            if self.peers.find(&address).is_none()
                && let Some(identity) = self.topology.identity(address)
                && let Some(keys) = self.agree(&identity)
            {
                self.add_peer(identity, keys);
            }
            let Some(slot) = self.peers.find(&address) else {
                continue;
            };
            if let Some(peer) = self.peers.at_mut(slot)
                && !peer.upstream
            {
                peer.upstream = true;
                peer.contact.get_or_insert(Contact::new(now));
            }
            self.rearm(slot);
        }
        for address in &seeds {
            if let Some(slot) = self.peers.find(address) {
                if let Some(peer) = self.peers.at_mut(slot) {
                    peer.contact.get_or_insert(Contact::new(now));
                }
                self.rearm(slot);
            }
        }
        self.seeds_next = (!seeds.is_empty()).then_some(now);
        self.update_online();
    }

    /// The owner wants a moon of this seed: it is asked now, even if it was asked lately for
    /// another reason.
    pub(crate) fn hurry_seed(&mut self, seed: Address) {
        let now = self.now.mono;
        if !self.topology.is_awaited_seed(seed) {
            return;
        }
        let Some(slot) = self.peers.find(&seed) else {
            return;
        };
        if let Some(contact) = self.peers.at_mut(slot).and_then(|p| p.contact.as_mut()) {
            contact.hurry(now);
        }
        self.rearm(slot);
    }

    /// The upstream for WHOIS and relaying: the least weight among those in reach, with some
    /// staying power (node 3.1).
    pub(crate) fn best_upstream(&mut self) -> Option<Address> {
        let now = self.now.mono;
        let weigh = |peers: &Table<Address, Peer>, a: Address| {
            let peer = peers.get(&a)?;
            peer.best(now)?;
            Some(peer.weight(now))
        };
        let mut best: Option<(u64, Address)> = None;
        for &address in self.topology.upstreams() {
            if let Some(weight) = weigh(&self.peers, address)
                && best.is_none_or(|(w, _)| weight <= w)
            {
                best = Some((weight, address));
            }
        }
        let (weight, mut address) = best?;
        if let Some((chosen, since)) = self.relay_choice
            && chosen != address
            && now.since(since) < policy::UPSTREAM_SWITCH_MS
            && let Some(held) = weigh(&self.peers, chosen)
            && held != u64::MAX
            && weight >= held - held / 5
        {
            address = chosen;
        }
        if self
            .relay_choice
            .is_none_or(|(chosen, _)| chosen != address)
        {
            self.relay_choice = Some((address, now));
        }
        Some(address)
    }

    /// Upstream number `n`, the best first, then the others by address.
    pub(crate) fn nth_upstream(&self, n: usize) -> Option<Address> {
        let all = self.topology.upstreams();
        let best = self
            .relay_choice
            .map(|c| c.0)
            .filter(|a| self.topology.is_upstream(*a));
        match (best, n) {
            (None, n) => all.get(n).copied(),
            (Some(best), 0) => Some(best),
            (Some(best), n) => all.iter().copied().filter(|a| *a != best).nth(n - 1),
        }
    }

    // Addresses.

    /// A surface of ours is none of our own addresses.
    pub(crate) fn behind_nat(&self) -> bool {
        let now = self.now.mono;
        self.surfaces.iter(now).any(|s| {
            !self
                .sockets
                .iter()
                .flatten()
                .any(|own| inet::same_ip(own, &s))
        })
    }

    /// How much is sent unasked.
    pub(crate) fn pace(&self) -> &'static Pace {
        if self.underlay.low_bandwidth {
            &policy::METERED
        } else {
            &policy::NORMAL
        }
    }

    /// When what is sent unasked is sent.
    pub(crate) fn beat(&self) -> Beat {
        Beat::new(self.time_offset)
    }

    /// Pause between the HELLO rounds to somebody who must stay in reach.
    pub(crate) fn round_ms(&self, address: Address) -> u64 {
        let pace = self.pace();
        let warm = self
            .relay_choice
            .is_none_or(|(chosen, _)| chosen == address);
        if warm || !self.topology.is_upstream(address) {
            pace.upstream_round_ms
        } else {
            pace.spare_round_ms
        }
    }

    /// The NAT's mapping to an upstream is kept open.
    pub(crate) fn keeps_mapping(&self, slot: Slot) -> bool {
        let address = || self.peers.at(slot).map(|p| p.identity.address);
        let warm = || {
            self.relay_choice
                .is_none_or(|(chosen, _)| Some(chosen) == address())
        };
        self.behind_nat() && (!self.underlay.low_bandwidth || warm())
    }

    pub(crate) fn socket(&self, socket: SocketId) -> Option<SocketAddr> {
        self.sockets.get(usize::from(socket.0)).copied().flatten()
    }

    /// May `remote` be contacted or learnt as a path of `peer` (node 5.5)?
    pub(crate) fn allows_path(&self, peer: Address, remote: &SocketAddr) -> bool {
        inet::scope_of(remote).is_routed()
            && remote.port() != 0
            && !self.is_managed(remote)
            && !self.sockets.iter().flatten().any(|own| own == remote)
            && !self.underlay.blocks_for(peer, remote)
            && self.topology.allows(peer, remote)
    }

    pub(crate) fn is_managed(&self, place: &SocketAddr) -> bool {
        let ip = place.ip();
        self.managed.iter().any(|net| net.contains(ip))
    }

    // Paths.

    /// Paths of a class (all: `None`) must prove themselves before they are used.
    pub(crate) fn reset_paths(&mut self, out: &mut Out<'_>, which: Option<u8>) {
        let hit = |_: &Peer, path: &Path| which.is_none_or(|class| path.class() == class);
        self.ask_paths(out, true, &hit);
    }

    /// The NAT gave this socket another mapping for somebody: whoever may want to reach us over
    /// the others needs a word from us, if they went too.
    pub(crate) fn remapped(&mut self, out: &mut Out<'_>, local: SocketId, class: u8) {
        let now = self.now.mono;
        if !self.remap_gate.pass(now, policy::REMAP_MS) {
            return;
        }
        let silent = |peer: &Peer, path: &Path| {
            (peer.is_active(now) || peer.upstream)
                && path.ends.local == local
                && path.class() == class
                && path.heard != now
        };
        self.ask_paths(out, false, &silent);
    }

    /// ECHO over all such paths, which are in doubt until they answer or stay in use.
    fn ask_paths(&mut self, out: &mut Out<'_>, doubt: bool, such: &dyn Fn(&Peer, &Path) -> bool) {
        let now = self.now.mono;
        let mut at = 0;
        while let Some((slot, _, peer)) = self.peers.next_from(at) {
            at = slot.index() + 1;
            let hit = |path: &&Path| such(peer, path) && !path.is_expired(now);
            let places: heapless::Vec<Ends, { Limits::PATHS_MAX }> =
                peer.paths.iter().filter(hit).map(|p| p.ends).collect();
            for ends in &places {
                let path = self.peers.at_mut(slot).and_then(|p| p.path_mut(ends));
                if let Some(path) = path.filter(|_| doubt) {
                    path.confirmed = None;
                }
                self.contact(out, slot, ends);
            }
        }
    }

    pub(crate) fn too_big(&mut self, to: SocketAddr) {
        for peer in self.peers.values_mut() {
            for path in peer.paths.iter_mut().filter(|p| p.ends.remote == to) {
                path.datagram_max = policy::DATAGRAM_REDUCED as u16;
            }
        }
    }

    /// Earliest of all deadlines but the networks'.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        earliest(&[
            self.timers.first().map(|f| f.0),
            self.digests.deadline(),
            self.waiting.deadline(),
            self.whois.deadline(),
            self.tries.deadline(),
            self.seeds_next,
            self.no_socket,
        ])
    }
}
