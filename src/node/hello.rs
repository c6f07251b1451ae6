//! HELLO: who is there, the gate before strangers, the memory-hard check in slices (wire 9.2,
//! 13; node 4.1).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::inbound::Origin;
use super::io::{DropReason, Ends, Event, Out};
use super::nat::News;
use super::outbound::{Hop, Seal};
use super::peer::{Contact, Peer, Version};
use super::policy;
use super::state::Core;
use super::topology::Offer;
use crate::base::{Mono, PacketId, Recent, Slot};
use crate::crypto::armor::{self, SessionKeys};
use crate::crypto::identity::{self as digest, Digest};
use crate::wire::control;
use crate::wire::hello::{self, Hello, HelloFields, OkHello};
use crate::wire::identity::Identity;
use crate::wire::packet::{self, HEADER_LEN, Header, PACKET_MAX, Suite};
use crate::wire::verb::{ErrorCode, Verb};
use crate::wire::world::World;

/// Least protocol that anybody speaks with us.
const PROTOCOL_MIN: u8 = 4;

/// Largest HELLO of ours: 13 + 71 + 19 + 16 + 2 + 17 a moon.
const HELLO_MAX: usize = HEADER_LEN + 512;

/// Moons of a HELLO that are looked at.
const MOONS_MAX: usize = 4;

/// What we say of ourselves.
pub(crate) fn own_version(aes: bool) -> Version {
    Version {
        // 11 keeps peers from sending suite 3 to a node that opens it slowly (wire 6.8).
        protocol: if aes { 12 } else { 11 },
        major: crate::VERSION.0,
        minor: crate::VERSION.1,
        revision: crate::VERSION.2,
    }
}

/// First HELLOs per source network (wire 13).
///
/// Cap: `Limits::hello_gate`. Anybody can fill it; full of fresh entries, further networks
/// wait.
pub(crate) struct HelloGate {
    seen: Recent<u64>,
}

impl HelloGate {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            seen: Recent::new(cap, seed),
        }
    }

    fn network(ip: IpAddr) -> u64 {
        match ip {
            IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
            IpAddr::V6(ip) => (1 << 63) | ((u128::from(ip) >> 80) as u64),
        }
    }

    pub(crate) fn pass(&mut self, ip: IpAddr, now: Mono) -> bool {
        let pause = policy::HELLO_GATE_MS;
        self.seen.pass(Self::network(ip), now, pause, true)
    }
}

/// What a HELLO said besides the identity.
#[derive(Clone)]
pub(crate) struct Facts {
    id: PacketId,
    time: u64,
    version: Version,
    sent_to: Option<SocketAddr>,
    planet: Option<(u64, u64)>,
    moons: heapless::Vec<(u64, u64), MOONS_MAX>,
    back: Ends,
    hops: u8,
}

/// Why an identity is checked.
enum Cause {
    Hello(Facts),
    Whois,
}

struct Job {
    identity: Identity,
    keys: SessionKeys,
    cause: Cause,
}

/// Identities waiting for the memory-hard check; one is worked on at a time, in slices.
///
/// Cap: `Limits::digest_queue`. Strangers fill it, through the gate only; upstreams fill it
/// with answers to our questions. Full: the newcomer is dropped.
pub(crate) struct Digests {
    queue: VecDeque<Job>,
    cap: usize,
    work: Option<Digest>,
    next: Option<Mono>,
}

impl Digests {
    pub(crate) fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self {
            queue: VecDeque::with_capacity(cap),
            cap,
            work: None,
            next: None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.next
    }

    fn push(&mut self, job: Job, now: Mono) -> bool {
        let same = |j: &Job| {
            j.identity == job.identity
                && matches!(j.cause, Cause::Whois) == matches!(job.cause, Cause::Whois)
        };
        if self.queue.iter().any(same) {
            return true;
        }
        if self.queue.len() >= self.cap {
            return false;
        }
        self.queue.push_back(job);
        self.next.get_or_insert(now.after(1));
        true
    }
}

impl Core {
    /// Our HELLO to an address.
    pub(crate) fn send_hello(&mut self, out: &mut Out<'_>, slot: Slot, ends: &Ends) {
        self.hello_over(out, slot, &Hop::plain(ends), Some(&ends.remote));
    }

    /// Our HELLO over a hop; `sent_to` is where the peer itself is, if that is known.
    pub(crate) fn hello_over(
        &mut self,
        out: &mut Out<'_>,
        slot: Slot,
        hop: &Hop,
        sent_to: Option<&SocketAddr>,
    ) {
        let now = self.now.mono;
        let mut packet = [0u8; HELLO_MAX];
        let version = own_version(self.aes);
        let planet = self.topology.planet().view();
        let fields = HelloFields {
            protocol: version.protocol,
            major: version.major,
            minor: version.minor,
            revision: version.revision,
            time: now.as_ms().wrapping_add(self.time_offset),
            identity: self.secret.identity,
            sent_to: sent_to.copied(),
            planet: (planet.id, planet.timestamp),
        };
        let moons = self
            .topology
            .moons()
            .iter()
            .map(|m| (m.id, m.world.as_ref().map_or(0, |w| w.view().timestamp)));
        let mut writer = packet::begin(&mut packet, Verb::Hello);
        let Ok(tail) = hello::write_hello(&mut writer, &fields, moons) else {
            return;
        };
        let Ok(packet) = writer.finish() else {
            return;
        };
        if let Some(path) = self.peers.at_mut(slot).and_then(|p| p.path_mut(&hop.ends)) {
            path.sent = Some(now);
        }
        let seal = Seal {
            suite: Some(Suite::Poly1305),
            tail: Some(tail),
        };
        self.emit(out, slot, hop, packet, &seal);
    }

    /// HELLO in suite 0, from anybody. Not yet authenticated.
    pub(crate) fn handle_hello(
        &mut self,
        out: &mut Out<'_>,
        from: &Ends,
        header: &Header,
        packet: &mut [u8],
    ) {
        let payload = packet.get(HEADER_LEN..).unwrap_or_default();
        let Ok(hello) = Hello::parse(payload) else {
            self.stats.drop(DropReason::Malformed);
            return;
        };
        if hello.protocol < PROTOCOL_MIN {
            self.stats.drop(DropReason::Version);
            return;
        }
        if hello.identity.address != header.source {
            self.stats.drop(DropReason::Malformed);
            return;
        }
        let identity = hello.identity;
        let known = self.peers.find(&header.source);
        let same = known
            .and_then(|slot| self.peers.at(slot))
            .map(|peer| peer.identity == identity);
        match (known, same) {
            (Some(slot), Some(true)) => {
                let Some(peer) = self.peers.at_mut(slot) else {
                    return;
                };
                let opened = armor::open(&peer.keys, packet).is_ok();
                peer.traffic.count(opened);
                if !opened {
                    self.stats.drop(DropReason::Authentication);
                    return;
                }
                let origin = Origin {
                    slot,
                    peer: header.source,
                    back: *from,
                    id: header.id,
                    hops: header.hops(),
                };
                self.known_hello(out, &origin, packet);
            }
            (_, same) => {
                if !self.hello_gate.pass(from.remote.ip(), self.now.mono) {
                    self.stats.drop(DropReason::HelloGate);
                    return;
                }
                let Some(keys) = self.agree(&identity) else {
                    self.stats.drop(DropReason::InvalidIdentity);
                    return;
                };
                if armor::open(&keys, packet).is_err() {
                    self.stats.drop(DropReason::Authentication);
                    return;
                }
                if same == Some(false) {
                    self.stats.drop(DropReason::Collision);
                    self.refuse_collision(out, &identity, &keys, from, header.id);
                    return;
                }
                let Some(facts) = self.hello_facts(&keys, from, header.id, header.hops(), packet)
                else {
                    return;
                };
                let job = Job {
                    identity,
                    keys,
                    cause: Cause::Hello(facts),
                };
                if !self.digests.push(job, self.now.mono) {
                    self.stats.drop(DropReason::DigestQueue);
                }
            }
        }
    }

    /// HELLO of a known peer, authenticated.
    pub(crate) fn known_hello(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let Some(peer) = self.peers.at(origin.slot) else {
            return;
        };
        let keys = peer.keys.clone();
        let facts = self.hello_facts(&keys, &origin.back, origin.id, origin.hops, packet);
        if let Some(facts) = facts {
            self.answer_hello(out, origin.slot, facts);
        }
    }

    /// Unmasks the tail and reads everything.
    fn hello_facts(
        &mut self,
        keys: &SessionKeys,
        back: &Ends,
        id: PacketId,
        hops: u8,
        packet: &mut [u8],
    ) -> Option<Facts> {
        self.stats.received(Verb::Hello);
        let hello = Hello::parse(packet.get(HEADER_LEN..)?).ok()?;
        let mut facts = Facts {
            id,
            time: hello.time,
            version: Version {
                protocol: hello.protocol,
                major: hello.major,
                minor: hello.minor,
                revision: hello.revision,
            },
            sent_to: hello.sent_to,
            planet: hello.planet,
            moons: heapless::Vec::new(),
            back: *back,
            hops,
        };
        if let Some(at) = hello.tail_at {
            let at = HEADER_LEN + at;
            armor::mask_hello_tail(keys, packet, at);
            match hello::moons(packet.get(at..)?) {
                Ok(moons) => {
                    for (_, id, timestamp) in moons.filter(|m| m.0 == 127).take(MOONS_MAX) {
                        let _ = facts.moons.push((id, timestamp));
                    }
                }
                Err(_) => {
                    self.stats.drop(DropReason::Malformed);
                    return None;
                }
            }
        }
        Some(facts)
    }

    /// OK(HELLO), then what the HELLO tells about the peer.
    fn answer_hello(&mut self, out: &mut Out<'_>, slot: Slot, facts: Facts) {
        let Some(peer) = self.peers.at(slot) else {
            return;
        };
        let origin = Origin {
            slot,
            peer: peer.identity.address,
            back: facts.back,
            id: facts.id,
            hops: facts.hops,
        };
        let mut scratch = core::mem::take(&mut self.scratch);
        if let Some(len) = self.write_ok_hello(&mut scratch, &facts)
            && let Some(packet) = scratch.get_mut(..len)
        {
            self.reply(out, &origin, packet);
        }
        self.scratch = scratch;
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.version = Some(facts.version);
        }
        if facts.hops == 0
            && let Some(ours) = facts.sent_to
        {
            self.surface_report(out, &origin, &ours);
        }
        self.heard(out, &origin, Verb::Hello, false);
    }

    fn write_ok_hello(&self, buffer: &mut [u8], facts: &Facts) -> Option<usize> {
        let version = own_version(self.aes);
        let mut writer = control::begin_ok(buffer, Verb::Hello, facts.id);
        // Nodes before 1.1.0 take another port for another address of theirs (wire 9.2).
        let mut seen_as = facts.back.remote;
        if facts.version.protocol < 5 {
            seen_as.set_port(0);
        }
        let planet = self.topology.planet();
        let newer = facts.planet.is_some_and(|(id, timestamp)| {
            id == planet.view().id && timestamp < planet.view().timestamp
        });
        let planet = newer.then_some(planet.bytes());
        let moons = self.topology.moons().iter().filter_map(|moon| {
            let world = moon.world.as_ref()?;
            let held = facts.moons.iter().find(|m| m.0 == moon.id)?;
            (world.view().timestamp > held.1).then_some(world.bytes())
        });
        hello::write_ok_hello(
            &mut writer,
            facts.time,
            (
                version.protocol,
                version.major,
                version.minor,
                version.revision,
            ),
            Some(&seen_as),
            planet.into_iter().chain(moons),
        )
        .ok()?;
        let len = writer.len();
        (len <= PACKET_MAX).then_some(len)
    }

    /// ERROR code 4 under the key agreed with the identity that came second.
    fn refuse_collision(
        &mut self,
        out: &mut Out<'_>,
        identity: &Identity,
        keys: &SessionKeys,
        ends: &Ends,
        id: PacketId,
    ) {
        let mut packet = [0u8; HEADER_LEN + 10];
        let mut writer = packet::begin(&mut packet, Verb::Error);
        control::write_error_head(&mut writer, Verb::Hello, id, ErrorCode::IdentityCollision);
        let reply = PacketId::new(self.rng.next_u64());
        let to = identity.address;
        if packet::write_header(&mut packet, reply, to, self.me, 0).is_ok() {
            armor::seal(keys, Suite::Salsa, &mut packet);
            self.stats.sent(Verb::Error);
            self.stats.error_sent(ErrorCode::IdentityCollision as u8);
            self.put_raw(out, ends, &packet, None);
        }
    }

    /// OK(HELLO) to a HELLO of ours, sent `sent`.
    pub(crate) fn handle_ok_hello(
        &mut self,
        out: &mut Out<'_>,
        origin: &Origin,
        sent: Mono,
        body: &[u8],
    ) {
        let Ok(ok) = OkHello::parse(body) else {
            self.stats.drop(DropReason::Malformed);
            return;
        };
        if ok.protocol < PROTOCOL_MIN {
            self.stats.drop(DropReason::Version);
            return;
        }
        let now = self.now.mono;
        let Some(peer) = self.peers.at_mut(origin.slot) else {
            return;
        };
        let from = peer.identity.address;
        peer.version = Some(Version {
            protocol: ok.protocol,
            major: ok.major,
            minor: ok.minor,
            revision: ok.revision,
        });
        self.heard(out, origin, Verb::Ok, false);
        if origin.hops == 0 {
            let path = self
                .peers
                .at_mut(origin.slot)
                .and_then(|p| p.path_mut(&origin.back));
            if let Some(path) = path {
                path.measure(now.since(sent));
            }
            if let Some(ours) = ok.seen_as {
                self.surface_report(out, origin, &ours);
            }
        }
        let may_tell = self.topology.is_upstream(from) || self.topology.is_awaited_seed(from);
        if may_tell && !ok.worlds.is_empty() {
            self.offered_worlds(origin.slot, ok.worlds);
        }
    }

    /// Definitions back to back; each is judged by itself.
    fn offered_worlds(&mut self, slot: Slot, mut bytes: &[u8]) {
        let now = self.now.mono;
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let from = peer.identity.address;
        // A moon that its owner waits for can come once only: no gate before that, or one that is
        // orbited again would wait for the gate that its first definition went through.
        let awaited = self.topology.is_awaited_seed(from);
        if !awaited && !peer.world_gate.pass(now, policy::WORLD_GATE_MS) {
            return;
        }
        let mut taken = false;
        while !bytes.is_empty() {
            let Ok((world, used)) = World::parse(bytes) else {
                self.stats.drop(DropReason::BadWorld);
                break;
            };
            match self.topology.offer(from, &world) {
                Offer::Planet => {
                    taken = true;
                    self.event(Event::Planet);
                }
                Offer::Moon(id) => {
                    taken = true;
                    self.event(Event::Moon(id));
                }
                Offer::Refused => self.stats.drop(DropReason::BadWorld),
            }
            bytes = bytes.get(used..).unwrap_or_default();
        }
        if taken {
            self.rebuild_upstreams();
        }
    }

    /// A peer, heard directly, sees us at `ours`.
    fn surface_report(&mut self, out: &mut Out<'_>, origin: &Origin, ours: &SocketAddr) {
        let now = self.now.mono;
        let Some(peer) = self.peers.at(origin.slot) else {
            return;
        };
        let (reporter, upstream) = (peer.identity.address, peer.upstream);
        // Reports of strangers would end up in our pushes.
        if !upstream && !peer.has_trust(now) {
            return;
        }
        match self
            .surfaces
            .report(reporter, upstream, &origin.back, ours, now)
        {
            News::Changed(class) => {
                self.event(Event::Surface);
                self.reset_paths(out, Some(class));
            }
            News::First => self.event(Event::Surface),
            News::Remapped(class) => {
                self.event(Event::Surface);
                self.remapped(out, origin.back.local, class);
            }
            News::Same => {}
            News::Refused => self.stats.drop(DropReason::BadSurface),
        }
    }

    /// An identity from OK(WHOIS): checked like any other before it is believed.
    pub(crate) fn identity_found(&mut self, identity: Identity) {
        if let Some(known) = self.peers.get(&identity.address) {
            if known.identity != identity {
                self.stats.drop(DropReason::Collision);
            }
            return;
        }
        let Some(keys) = self.agree(&identity) else {
            self.stats.drop(DropReason::InvalidIdentity);
            return;
        };
        if !self.digests.push(
            Job {
                identity,
                keys,
                cause: Cause::Whois,
            },
            self.now.mono,
        ) {
            self.stats.drop(DropReason::DigestQueue);
        }
    }

    /// A slice of the check that is running.
    pub(crate) fn work_on_digest(&mut self, out: &mut Out<'_>) {
        let now = self.now.mono;
        if self.digests.next.is_none_or(|at| at > now) {
            return;
        }
        let Some(job) = self.digests.queue.front() else {
            self.digests.next = None;
            self.digests.work = None;
            return;
        };
        let work = match self.digests.work.take() {
            Some(work) => Some(work),
            None => Digest::try_new(&job.identity.public),
        };
        let Some(mut work) = work else {
            // No memory for the work area now.
            self.digests.queue.pop_front();
            self.digests.next = (!self.digests.queue.is_empty()).then_some(now.after(1_000));
            self.stats.drop(DropReason::DigestQueue);
            return;
        };
        let Some(result) = work.step(policy::DIGEST_SLICE) else {
            self.digests.work = Some(work);
            self.digests.next = Some(now.after(1));
            return;
        };
        drop(work);
        self.stats.digests = self.stats.digests.wrapping_add(1);
        let job = self.digests.queue.pop_front();
        self.digests.next = (!self.digests.queue.is_empty()).then_some(now.after(1));
        let Some(Job {
            identity,
            keys,
            cause,
        }) = job
        else {
            return;
        };
        if !digest::is_valid(&identity, &result) {
            self.stats.drop(DropReason::InvalidIdentity);
            return;
        }
        let slot = match self.peers.find(&identity.address) {
            Some(slot) => {
                if self.peers.at(slot).is_none_or(|p| p.identity != identity) {
                    self.stats.drop(DropReason::Collision);
                    return;
                }
                slot
            }
            None => match self.add_peer(identity, keys) {
                Some(slot) => slot,
                None => {
                    self.stats.drop(DropReason::PeersFull);
                    return;
                }
            },
        };
        if self.topology.is_awaited_seed(identity.address) {
            if let Some(peer) = self.peers.at_mut(slot) {
                peer.contact.get_or_insert(Contact::new(now));
            }
            self.rearm(slot);
        }
        if let Cause::Hello(facts) = cause {
            self.answer_hello(out, slot, facts);
        }
    }

    /// HELLO round to somebody who must stay in reach (node 3.2).
    pub(crate) fn ask_contact(&mut self, out: &mut Out<'_>, slot: Slot) {
        let now = self.now.mono;
        let any_socket = self.sockets.iter().any(Option::is_some);
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let address = peer.identity.address;
        let Some(contact) = peer.contact.as_mut() else {
            return;
        };
        if !any_socket {
            contact.next = now.after(policy::HELLO_FOREVER_MS);
            return;
        }
        let first = contact.attempts == 0;
        contact.asking(now);
        let mut sent = false;
        for i in 0..peer.paths.len() {
            let Some(path) = self.peers.at(slot).and_then(|p| p.paths.get(i)) else {
                break;
            };
            if path.confirmed.is_some() {
                let ends = path.ends;
                self.send_hello(out, slot, &ends);
                sent = true;
            }
        }
        if sent && first {
            return;
        }
        // Who has no stable endpoint may have left the place of its path: by relay, too.
        sent = self.hello_endpoints(out, slot, first)
            || (sent && self.topology.endpoint(address, 0).is_some());
        if !sent && let Some(hop) = self.relay_hop(address) {
            self.hello_over(out, slot, &hop, None);
        }
    }

    /// HELLO to stable endpoints: one per family drawn by lot, or all.
    fn hello_endpoints(&mut self, out: &mut Out<'_>, slot: Slot, by_lot: bool) -> bool {
        let Some(address) = self.peers.at(slot).map(|p: &Peer| p.identity.address) else {
            return false;
        };
        let mut sent = false;
        for v6 in [false, true] {
            let mut all = Vec::new();
            for endpoint in self.topology.endpoints(address) {
                if endpoint.is_ipv6() == v6 && !self.underlay.blocks_for(address, &endpoint) {
                    all.push(endpoint);
                }
            }
            if all.is_empty() {
                continue;
            }
            sent = true;
            let lot = self.rng.below(all.len() as u32) as usize;
            for (n, endpoint) in all.iter().enumerate() {
                if !by_lot || n == lot {
                    self.hello_from_all(out, slot, endpoint);
                }
            }
        }
        sent
    }
}
