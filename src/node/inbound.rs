//! Datagrams on their way in: kind, reassembly, authentication, dispatch, and the answers to the
//! verbs that concern two nodes only (wire 13.1, node 5.1, 6.4, 8).

use core::net::SocketAddr;

use super::io::{DropReason, Ends, Event, Out};
use super::outbound::{Hop, Seal};
use super::path::Path;
use super::policy;
use super::state::Core;
use super::underlay::Underlay;
use super::waiting::Way;
use super::whois::Want;
use super::{Ctx, Node};
use crate::base::{Address, Limits, PacketId, Slot};
use crate::crypto::armor;
use crate::wire::control::{self, ErrorReply, OkReply, PushDirectPaths, Rendezvous};
use crate::wire::cursor::Reader;
use crate::wire::fragment::FragmentHeader;
use crate::wire::identity::Identity;
use crate::wire::inet;
use crate::wire::lz4;
use crate::wire::packet::{self, HEADER_LEN, Header, Kind, Suite, VERB_AT, VERB_COMPRESSED};
use crate::wire::verb::{ErrorCode, Verb};

/// Identities in one OK(WHOIS).
const WHOIS_ANSWERS: usize = 4;

/// Where an authentic packet came from.
pub(crate) struct Origin {
    pub(crate) slot: Slot,
    pub(crate) peer: Address,
    /// The way that it came.
    pub(crate) back: Ends,
    pub(crate) id: PacketId,
    /// Relays passed.
    pub(crate) hops: u8,
}

/// The packet names the trusted path that its source lies on (wire 6.6).
fn is_trusted(rules: &Underlay, from: &SocketAddr, packet: &[u8]) -> bool {
    let id = rules.trusted(from);
    id.is_some() && id == packet::trusted_id(packet)
}

impl Node {
    pub(super) fn datagram(&mut self, out: &mut Out<'_>, from: &Ends, datagram: &mut [u8]) {
        let core = &mut self.core;
        core.stats.rx_datagrams = core.stats.rx_datagrams.wrapping_add(1);
        core.stats.rx_bytes = core.stats.rx_bytes.wrapping_add(datagram.len() as u64);
        if core.underlay.blocks(&from.remote) {
            return core.stats.drop(DropReason::BadPath);
        }
        let (id, number, total, data) = match packet::classify(datagram) {
            Kind::Junk => return core.stats.drop(DropReason::Junk),
            Kind::Beacon(address) => return core.beacon(out, from, address),
            Kind::Fragment => {
                let Ok((head, data)) = FragmentHeader::parse(datagram) else {
                    return core.stats.drop(DropReason::BadFragment);
                };
                if head.destination != core.me {
                    return core.relay(out, from, datagram, head.destination, None);
                }
                (head.id, head.number, head.total, data)
            }
            Kind::Packet => {
                let Ok(header) = Header::parse(datagram) else {
                    return core.stats.drop(DropReason::Malformed);
                };
                if header.source == core.me {
                    return core.stats.drop(DropReason::OwnSource);
                }
                if header.destination != core.me {
                    let source = Some(header.source);
                    return core.relay(out, from, datagram, header.destination, source);
                }
                if !header.is_fragmented() {
                    return self.packet(out, from, datagram);
                }
                (header.id, 0, 0, &*datagram)
            }
        };
        let (now, stats) = (core.now.mono, &mut core.stats);
        let whole = core
            .reassembly
            .add(now, &from.remote, id, number, total, data, stats);
        if let Some(mut whole) = whole {
            self.packet(out, from, whole.packet());
            self.core.reassembly.give_back(whole);
        }
    }

    /// A whole packet for us.
    pub(super) fn packet(&mut self, out: &mut Out<'_>, from: &Ends, packet: &mut [u8]) {
        let core = &mut self.core;
        let now = core.now.mono;
        let Ok(header) = Header::parse(packet) else {
            return core.stats.drop(DropReason::Malformed);
        };
        if header.source == core.me {
            return core.stats.drop(DropReason::OwnSource);
        }
        let verb = packet.get(VERB_AT).copied().unwrap_or(0);
        if header.suite() == Some(Suite::Poly1305) && verb & 0x1f == Verb::Hello as u8 {
            return core.handle_hello(out, from, &header, packet);
        }
        let Some(slot) = core.peers.find(&header.source) else {
            match core.whois.want(header.source, now) {
                Want::Unknown => core.stats.drop(DropReason::WhoisNegative),
                want => {
                    let way = Way::In(*from);
                    core.waiting
                        .push(header.source, way, packet, now, &mut core.stats);
                    if want == Want::Ask && !core.introduced(header.source) {
                        core.send_whois(out, header.source, 0);
                    }
                }
            }
            return;
        };
        let Some(peer) = core.peers.at_mut(slot) else {
            return;
        };
        match header.suite() {
            Some(Suite::Poly1305 | Suite::Salsa | Suite::AesGmacSiv) => {}
            Some(Suite::Trusted) if is_trusted(&core.underlay, &from.remote, packet) => {}
            Some(Suite::Trusted) | None => return core.stats.drop(DropReason::Suite),
        }
        let opened =
            header.suite() == Some(Suite::Trusted) || armor::open(&peer.keys, packet).is_ok();
        peer.traffic.count(opened);
        if !opened {
            return core.stats.drop(DropReason::Authentication);
        }
        let origin = &Origin {
            slot,
            peer: header.source,
            back: *from,
            id: header.id,
            hops: header.hops(),
        };
        if packet
            .get(VERB_AT)
            .is_some_and(|v| v & VERB_COMPRESSED != 0)
        {
            self.compressed(out, origin, packet);
        } else {
            self.dispatch(out, origin, packet);
        }
    }

    /// Unpacks into the scratch buffer and goes on there.
    fn compressed(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let mut unpacked = core::mem::take(&mut self.unpacked);
        let len = match (unpacked.get_mut(HEADER_LEN..), packet.get(HEADER_LEN..)) {
            (Some(room), Some(squeezed)) => lz4::decompress(squeezed, room).ok(),
            _ => None,
        };
        match (len, packet.get(..HEADER_LEN)) {
            (Some(len), Some(head)) => {
                if let Some(whole) = unpacked.get_mut(..HEADER_LEN + len) {
                    whole[..HEADER_LEN].copy_from_slice(head);
                    whole[VERB_AT] &= !VERB_COMPRESSED;
                    self.dispatch(out, origin, whole);
                }
            }
            _ => self.core.stats.drop(DropReason::Compression),
        }
        self.unpacked = unpacked;
    }

    fn dispatch(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let Some(byte) = packet.get(VERB_AT) else {
            return;
        };
        let Some(verb) = Verb::from_byte(byte & 0x1f) else {
            self.core.stats.drop(DropReason::UnknownVerb);
            return self.core.heard(out, origin, Verb::Nop, false);
        };
        // A HELLO is counted where all of them come together.
        if verb != Verb::Hello {
            self.core.stats.received(verb);
        }
        match verb {
            Verb::Frame
            | Verb::ExtFrame
            | Verb::MulticastLike
            | Verb::NetworkCredentials
            | Verb::NetworkConfigRequest
            | Verb::NetworkConfig
            | Verb::MulticastGather
            | Verb::MulticastFrame => self.network_verb(out, origin, verb, packet),
            Verb::Ok => self.ok(out, origin, packet),
            Verb::Error => self.error(out, origin, packet),
            Verb::Hello => self.core.known_hello(out, origin, packet),
            Verb::Whois => self.core.whois_asked(out, origin, packet),
            Verb::Rendezvous => self.core.rendezvous(out, origin, packet),
            Verb::Echo => self.core.echo(out, origin, packet),
            Verb::PushDirectPaths => self.core.pushed_paths(out, origin, packet),
            Verb::Nop => self.core.heard(out, origin, verb, false),
            Verb::Ack
            | Verb::QosMeasurement
            | Verb::PathNegotiationRequest
            | Verb::CircuitTest
            | Verb::UserMessage
            | Verb::RemoteTrace => {
                self.core.stats.drop(DropReason::Ignored);
                self.core.heard(out, origin, verb, false);
            }
        }
    }

    fn network_verb(&mut self, out: &mut Out<'_>, origin: &Origin, verb: Verb, packet: &mut [u8]) {
        let mut ctx = Ctx {
            core: &mut self.core,
            out,
        };
        let verdict = self
            .networks
            .inbound(&mut ctx, origin.peer, verb, origin.id, packet);
        self.core.heard(out, origin, verb, verdict.member);
    }

    fn ok(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let now = self.core.now.mono;
        let Ok(ok) = OkReply::parse(packet.get(HEADER_LEN..).unwrap_or_default()) else {
            return self.core.stats.drop(DropReason::Malformed);
        };
        let request = self.core.expected.get(ok.id, origin.peer, now);
        let Some(request) = request.filter(|r| r.verb as u8 == ok.verb) else {
            return self.core.stats.drop(DropReason::UnexpectedReply);
        };
        match request.verb {
            Verb::Hello => {
                self.core
                    .handle_ok_hello(out, origin, request.sent, ok.body);
            }
            Verb::Whois => {
                self.core.heard(out, origin, Verb::Ok, false);
                if !self.core.topology.is_upstream(origin.peer) {
                    return self.core.stats.drop(DropReason::NotUpstream);
                }
                match Identity::read(&mut Reader::new(ok.body)) {
                    Ok(identity) if self.core.whois.asks(identity.address) => {
                        self.core.identity_found(identity);
                    }
                    Ok(_) => self.core.stats.drop(DropReason::UnexpectedReply),
                    Err(_) => self.core.stats.drop(DropReason::Malformed),
                }
            }
            Verb::Echo => {
                self.core.heard(out, origin, Verb::Ok, false);
                if origin.hops == 0
                    && let Some(path) = self
                        .core
                        .peers
                        .at_mut(origin.slot)
                        .and_then(|p| p.path_mut(&origin.back))
                {
                    path.measure(now.since(request.sent));
                }
            }
            verb => {
                self.core.heard(out, origin, Verb::Ok, false);
                let mut ctx = Ctx {
                    core: &mut self.core,
                    out,
                };
                self.networks
                    .inbound_ok(&mut ctx, origin.peer, verb, ok.body);
            }
        }
    }

    fn error(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let now = self.core.now.mono;
        let Ok(error) = ErrorReply::parse(packet.get(HEADER_LEN..).unwrap_or_default()) else {
            return self.core.stats.drop(DropReason::Malformed);
        };
        self.core.stats.error_received(error.code);
        self.core.heard(out, origin, Verb::Error, false);
        let asked = self
            .core
            .expected
            .get(error.id, origin.peer, now)
            .map(|r| r.verb);
        let upstream = self.core.topology.is_upstream(origin.peer);
        match Verb::from_byte(error.verb) {
            Some(Verb::Hello) if error.code == ErrorCode::IdentityCollision as u8 => {
                if !upstream {
                    self.core.stats.drop(DropReason::NotUpstream);
                } else if asked == Some(Verb::Hello) {
                    self.core.event(Event::Collision);
                } else {
                    self.core.stats.drop(DropReason::UnexpectedReply);
                }
            }
            Some(Verb::Whois) if error.code == ErrorCode::ObjectNotFound as u8 => {
                // 1.0.x says so; later ones stay silent.
                let address = Reader::new(error.body).address();
                if upstream
                    && asked == Some(Verb::Whois)
                    && let Ok(address) = address
                {
                    self.core.whois.hurry(address, now);
                } else {
                    self.core.stats.drop(DropReason::UnexpectedReply);
                }
            }
            Some(verb) => {
                let mut ctx = Ctx {
                    core: &mut self.core,
                    out,
                };
                self.networks
                    .inbound_error(&mut ctx, origin.peer, verb, error.code, error.body);
            }
            None => self.core.stats.drop(DropReason::UnknownVerb),
        }
    }
}

impl Core {
    /// An authenticated packet that counts (node 4.3). `member`: it proved membership.
    pub(crate) fn heard(&mut self, out: &mut Out<'_>, origin: &Origin, verb: Verb, member: bool) {
        let slot = origin.slot;
        let now = self.now.mono;
        // Drawn for those few who must stay in reach, not for every packet.
        let kept = self.peers.at(slot).is_some_and(|p| p.contact.is_some());
        let next = match self.peers.at(slot) {
            Some(peer) if kept => {
                let round = self.jitter(self.round_ms(peer.identity.address));
                self.beat().from(now.after(round))
            }
            _ => now,
        };
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let address = peer.identity.address;
        peer.heard = Some(now);
        let mut rearm = false;
        if !peer.announced {
            peer.announced = true;
            rearm = true;
            self.event(Event::PeerUp(address));
        }
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let traffic = matches!(
            verb,
            Verb::Frame
                | Verb::ExtFrame
                | Verb::MulticastFrame
                | Verb::NetworkConfig
                | Verb::NetworkConfigRequest
        );
        if traffic {
            rearm |= !peer.is_active(now);
            peer.active = Some(now);
        }
        if member {
            peer.trust = Some(now);
        }
        let mut answering = false;
        if let Some(contact) = peer.contact.as_mut() {
            answering = !contact.answering;
            rearm |= answering || contact.asked.is_some();
            contact.answered(next);
        }
        if origin.hops == 0 {
            if let Some(path) = peer.path_mut(&origin.back) {
                path.receive(now);
                if member {
                    path.trust = Some(now);
                }
                if traffic {
                    path.busy = Some(now);
                }
            } else if !peer.has_sibling(&origin.back, now) {
                self.unknown_path(out, origin, verb);
            }
        }
        if rearm {
            self.rearm(slot);
        }
        if answering {
            self.update_online();
        }
        self.push_paths(out, origin);
    }

    /// A packet came directly over a path that is not in the list (node 5.1).
    fn unknown_path(&mut self, out: &mut Out<'_>, origin: &Origin, verb: Verb) {
        let slot = origin.slot;
        let ends = &origin.back;
        let now = self.now.mono;
        let cap = self.limits.paths_per_peer;
        let Some(address) = self.peers.at(slot).map(|p| p.identity.address) else {
            return;
        };
        if !self.allows_path(address, &ends.remote) {
            return self.stats.drop(DropReason::BadPath);
        }
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        if verb != Verb::Ok {
            if peer.try_path(ends, now) {
                if self.underlay.low_bandwidth {
                    self.send_hello(out, slot, ends);
                } else {
                    self.hello_from_all(out, slot, &ends.remote);
                }
            }
            return;
        }
        let upstream = peer.upstream;
        let recalled = peer.recalled.take().is_some();
        let path = Path::new(*ends, now);
        if let Some(old) = peer.learn(path, cap, now) {
            self.path_down(address, &old);
        }
        let Ends { local, remote } = *ends;
        self.event(Event::PathUp {
            peer: address,
            local,
            remote,
        });
        self.tries.stop(address);
        self.doubt_others(out, origin);
        self.rearm(slot);
        self.retry_for(address);
        if recalled && !upstream {
            self.met_again = Some(address);
        }
        if upstream {
            // Whatever waited for a way out may go.
            self.whois.hurry_all(now);
            self.retry_all = true;
            self.upstream_up = Some(address);
        }
    }

    /// A peer that answers at a new place may have left the places where it was: those that
    /// are silent are asked now, and not used while they do not answer.
    fn doubt_others(&mut self, out: &mut Out<'_>, origin: &Origin) {
        let slot = origin.slot;
        let new = &origin.back;
        let now = self.now.mono;
        let mut asked: heapless::Vec<Ends, { Limits::PATHS_MAX }> = heapless::Vec::new();
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        for path in &mut peer.paths {
            let other = path.ends.local == new.local
                && !inet::same_ip(&path.ends.remote, &new.remote)
                && path.ends.remote.is_ipv4() == new.remote.is_ipv4();
            let silent = now.since(path.heard) >= policy::UNANSWERED_MS && path.probed.is_none();
            if other && silent && path.is_usable(now) && asked.push(path.ends).is_ok() {
                path.unanswered.get_or_insert(now);
                path.probed = Some(now);
                path.probes = 1;
            }
        }
        for ends in &asked {
            self.contact(out, slot, ends);
        }
    }

    /// `ms` ± 10 %.
    pub(crate) fn jitter(&mut self, ms: u64) -> u64 {
        let tenth = u32::try_from(ms / 10).unwrap_or(u32::MAX / 2);
        ms - u64::from(tenth) + u64::from(self.rng.below(2 * tenth + 1))
    }

    /// 13-byte LAN beacon of 1.0.3 and older (wire 7.1).
    fn beacon(&mut self, out: &mut Out<'_>, from: &Ends, address: Option<Address>) {
        let slot = address.and_then(|a| self.peers.find(&a));
        let allowed = address.is_some_and(|a| self.allows_path(a, &from.remote));
        let (Some(slot), true) = (slot, allowed) else {
            return self.stats.drop(DropReason::Junk);
        };
        if !self.beacon_gate.pass(self.now.mono, policy::BEACON_GATE_MS) {
            return self.stats.drop(DropReason::Junk);
        }
        let mut packet = [0u8; HEADER_LEN];
        packet[VERB_AT] = Verb::Nop as u8;
        let seal = Seal {
            suite: Some(Suite::Salsa),
            ..Seal::default()
        };
        self.emit(out, slot, &Hop::plain(from), &mut packet, &seal);
    }

    fn echo(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let now = self.now.mono;
        let Some(peer) = self.peers.at_mut(origin.slot) else {
            return;
        };
        let passed = match peer.path_mut(&origin.back) {
            Some(path) => path.echo_gate.pass(now, policy::ECHO_GATE_MS),
            // Not a path yet, or relayed: one gate for the peer.
            None => peer.probe_gate.pass(now, policy::ECHO_GATE_MS),
        };
        if !passed {
            return self.stats.drop(DropReason::EchoGate);
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        let mut writer = control::begin_ok(&mut scratch, Verb::Echo, origin.id);
        writer.bytes(packet.get(HEADER_LEN..).unwrap_or_default());
        match writer.finish() {
            Ok(reply) => self.reply(out, origin, reply),
            Err(_) => self.stats.drop(DropReason::TooLong),
        }
        self.scratch = scratch;
        self.heard(out, origin, Verb::Echo, false);
    }

    fn whois_asked(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let now = self.now.mono;
        let root = self.topology.am_upstream();
        let Some(peer) = self.peers.at_mut(origin.slot) else {
            return;
        };
        if !root && !peer.whois_gate.pass(now, policy::WHOIS_GATE_MS) {
            return self.stats.drop(DropReason::WhoisGate);
        }
        let mut reply = [0u8; HEADER_LEN + 9 + WHOIS_ANSWERS * Identity::LEN];
        let mut writer = control::begin_ok(&mut reply, Verb::Whois, origin.id);
        let mut found = 0;
        let mut unknown: heapless::Vec<Address, WHOIS_ANSWERS> = heapless::Vec::new();
        for address in control::whois(packet.get(HEADER_LEN..).unwrap_or_default()) {
            if found == WHOIS_ANSWERS {
                break;
            }
            let identity = if address == self.me {
                Some(&self.secret.identity)
            } else {
                self.peers.get(&address).map(|p| &p.identity)
            };
            match identity {
                Some(identity) => {
                    if identity.write(&mut writer).is_ok() {
                        found += 1;
                    }
                }
                None => {
                    let _ = unknown.push(address);
                }
            }
        }
        if found > 0
            && let Ok(reply) = writer.finish()
        {
            self.reply(out, origin, reply);
        }
        if root {
            // Another upstream may know; the asker repeats by itself.
            for address in &unknown {
                if self.whois.want(*address, now) == Want::Ask {
                    self.send_whois(out, *address, 0);
                }
            }
        }
        self.heard(out, origin, Verb::Whois, false);
    }

    fn rendezvous(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let now = self.now.mono;
        self.heard(out, origin, Verb::Rendezvous, false);
        if !self.topology.is_upstream(origin.peer) {
            return self.stats.drop(DropReason::NotUpstream);
        }
        let payload = packet.get(HEADER_LEN..).unwrap_or_default();
        let Ok(Rendezvous { peer, at, .. }) = Rendezvous::parse(payload) else {
            return self.stats.drop(DropReason::Malformed);
        };
        let Some(slot) = self.peers.find(&peer) else {
            return self.stats.drop(DropReason::Ignored);
        };
        let own_surface = self.surfaces.iter(now).any(|s| s == at);
        if !self.allows_path(peer, &at) || own_surface {
            return self.stats.drop(DropReason::BadPath);
        }
        let Some(entry) = self.peers.at_mut(slot) else {
            return;
        };
        if entry.has_alive_like(&at, now) || !entry.rendezvous_gate.pass(now, policy::CONFIRM_MS) {
            return self.stats.drop(DropReason::Ignored);
        }
        let local = origin.back.local;
        let ends = &Ends { local, remote: at };
        if at.is_ipv4() {
            // Opens our NAT without reaching theirs.
            let junk = self.rng.next_u32().to_be_bytes();
            self.put_raw(out, ends, &junk, Some(2));
        }
        self.contact(out, slot, ends);
        self.tries.start(peer, ends, now);
    }

    fn pushed_paths(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let now = self.now.mono;
        self.heard(out, origin, Verb::PushDirectPaths, false);
        let Some(peer) = self.peers.at_mut(origin.slot) else {
            return;
        };
        if !peer.push_gate.pass(now) {
            return self.stats.drop(DropReason::PushGate);
        }
        // One count per class.
        let mut tried = [0u8; Path::CLASSES as usize];
        let payload = packet.get(HEADER_LEN..).unwrap_or_default();
        let Ok(pushed) = PushDirectPaths::parse(payload) else {
            return self.stats.drop(DropReason::Malformed);
        };
        for record in pushed {
            let Ok(record) = record else {
                return self.stats.drop(DropReason::Malformed);
            };
            let Some(at) = record.address else { continue };
            // 0x01 "forget" and 0x02 "use this instead" are no addresses to try.
            if record.flags & 0x03 != 0 {
                continue;
            }
            let Some(peer) = self.peers.at(origin.slot) else {
                return;
            };
            if peer
                .paths
                .iter()
                .any(|p| p.ends.remote == at && p.is_usable(now))
            {
                continue;
            }
            if !self.allows_path(origin.peer, &at) {
                self.stats.drop(DropReason::BadPath);
                continue;
            }
            let class = usize::from(inet::class_of(&at));
            let Some(count) = tried.get_mut(class) else {
                continue;
            };
            if *count >= policy::PUSH_TRIES {
                continue;
            }
            *count += 1;
            self.contact_from_all(out, origin.slot, &at);
        }
    }

    /// Our addresses to a trusted peer that has just spoken, when due (node 8.2).
    fn push_paths(&mut self, out: &mut Out<'_>, origin: &Origin) {
        let (now, pace) = (self.now.mono, self.pace());
        let Some(peer) = self.peers.at_mut(origin.slot) else {
            return;
        };
        if peer.trust.is_none() || !peer.has_trust(now) {
            return;
        }
        let pause = if origin.hops == 0 {
            pace.push_direct_ms
        } else {
            policy::PUSH_RELAYED_MS
        };
        if peer.pushed.is_some_and(|at| now.since(at) < pause) {
            return;
        }
        peer.pushed = Some(now);
        // 1.0.x tries whatever it is given, without limit.
        let most = if peer.version.is_some_and(|v| v.protocol >= 5) {
            policy::PUSH_ADDRESSES
        } else {
            8
        };
        let mut ours: heapless::Vec<SocketAddr, { policy::PUSH_ADDRESSES }> = heapless::Vec::new();
        let mut offer = |address: SocketAddr| {
            if inet::scope_of(&address).is_routed()
                && address.port() != 0
                && ours.len() < most
                && !ours.contains(&address)
                && !self.is_managed(&address)
                && !self.underlay.blocks(&address)
            {
                let _ = ours.push(address);
            }
        };
        self.surfaces.iter(now).for_each(&mut offer);
        self.sockets.iter().flatten().copied().for_each(offer);
        if ours.is_empty() {
            return;
        }
        let mut packet = [0u8; HEADER_LEN + 2 + policy::PUSH_ADDRESSES * 23];
        let mut writer = packet::begin(&mut packet, Verb::PushDirectPaths);
        let written = control::write_push(&mut writer, &ours);
        if let (Ok(()), Ok(packet)) = (written, writer.finish()) {
            self.reply(out, origin, packet);
        }
    }
}
