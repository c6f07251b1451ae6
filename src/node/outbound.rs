//! Packets on their way out: route, seal in place, cut, hand over (node 6.1, wire 6 and 7).

use core::net::SocketAddr;

use super::expected::Request;
use super::inbound::Origin;
use super::io::{DropReason, Ends, Event, Family, Out, SocketId};
use super::path::Path;
use super::policy;
use super::state::Core;
use super::waiting::Way;
use super::whois::Want;
use crate::base::{Address, PacketId, Slot};
use crate::crypto::armor;
use crate::wire::control::{self, ERROR_CODE_AT};
use crate::wire::fragment;
use crate::wire::lz4;
use crate::wire::packet::{self, DATAGRAM_DEFAULT, FLAG_FRAGMENTED, HEADER_LEN, Suite, VERB_AT};
use crate::wire::verb::Verb;

/// Knows suite 2 (wire 1.1).
const TRUSTED_PROTOCOL: u8 = 7;

/// Where the next datagram goes.
#[derive(Clone, Copy)]
pub(crate) struct Hop {
    pub(crate) ends: Ends,
    pub(crate) datagram_max: usize,
}

impl Hop {
    pub(crate) fn over(path: &Path) -> Self {
        Self {
            ends: path.ends,
            datagram_max: usize::from(path.datagram_max),
        }
    }

    pub(crate) fn plain(ends: &Ends) -> Self {
        Self {
            ends: *ends,
            datagram_max: DATAGRAM_DEFAULT,
        }
    }
}

/// How a packet is sealed and sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seal {
    /// Not the usual suite of the peer.
    pub(crate) suite: Option<Suite>,
    /// Offset in the packet of a HELLO's masked tail.
    pub(crate) tail: Option<usize>,
}

/// A packet whose answer is awaited.
fn is_request(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Hello
            | Verb::Whois
            | Verb::Echo
            | Verb::NetworkConfigRequest
            | Verb::MulticastGather
            | Verb::MulticastFrame
    )
}

/// A packet after which silence of the path is suspect.
fn wants_response(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Frame | Verb::ExtFrame | Verb::Whois | Verb::NetworkConfigRequest
    )
}

fn is_frame(verb: Verb) -> bool {
    matches!(verb, Verb::Frame | Verb::ExtFrame | Verb::MulticastFrame)
}

fn verb_of(packet: &[u8]) -> Option<Verb> {
    packet.get(VERB_AT).and_then(|b| Verb::from_byte(*b & 0x1f))
}

impl Core {
    /// Sends a plain packet (verb at byte 27, payload behind it) the best way there is; keeps a
    /// copy if identity or path are missing.
    pub(crate) fn send(&mut self, out: &mut Out<'_>, to: Address, packet: &mut [u8]) {
        let now = self.now.mono;
        let Some(slot) = self.peers.find(&to) else {
            let introduced = self.introduced(to);
            let want = self.whois.want(to, now);
            if want == Want::Unknown && !introduced {
                self.stats.drop(DropReason::WhoisNegative);
                return;
            }
            self.waiting
                .push(to, Way::Out, packet, now, &mut self.stats);
            if want == Want::Ask && !introduced {
                self.send_whois(out, to, 0);
            }
            return;
        };
        self.try_hints(out, slot);
        match self.route(slot, verb_of(packet)) {
            Some(hop) => self.emit(out, slot, &hop, packet, &Seal::default()),
            None => self
                .waiting
                .push(to, Way::Out, packet, now, &mut self.stats),
        }
    }

    /// As [`Self::send`], compressed if that makes it shorter (wire 8).
    pub(crate) fn send_compressed(&mut self, out: &mut Out<'_>, to: Address, packet: &mut [u8]) {
        const WORTH: usize = HEADER_LEN + 64;
        if packet.len() <= WORTH {
            return self.send(out, to, packet);
        }
        let mut scratch = core::mem::take(&mut self.scratch);
        let squeezed = match (scratch.get_mut(HEADER_LEN..), packet.get(HEADER_LEN..)) {
            (Some(room), Some(payload)) => lz4::compress(payload, room),
            _ => None,
        };
        let verb = packet.get(VERB_AT).copied().unwrap_or(0);
        match squeezed.and_then(|len| scratch.get_mut(..HEADER_LEN + len)) {
            Some(short) => {
                if let Some(byte) = short.get_mut(VERB_AT) {
                    *byte = verb | packet::VERB_COMPRESSED;
                }
                self.send(out, to, short);
            }
            None => self.send(out, to, packet),
        }
        self.scratch = scratch;
    }

    /// Direct path, else the best upstream's, else the last path there was.
    fn route(&mut self, slot: Slot, verb: Option<Verb>) -> Option<Hop> {
        let now = self.now.mono;
        let peer = self.peers.at_mut(slot)?;
        let address = peer.identity.address;
        if let Some(path) = peer.choose(now) {
            path.sent = Some(now);
            if verb.is_some_and(is_frame) {
                path.busy = Some(now);
            }
            let hop = Hop::over(path);
            if verb.is_some_and(wants_response) && path.unanswered.is_none() {
                path.unanswered = Some(now);
                self.timers
                    .set_earlier(slot.index(), now.after(policy::UNANSWERED_MS));
            }
            if peer.tell(&hop.ends) {
                let Ends { local, remote } = hop.ends;
                self.event(Event::PathPreferred {
                    peer: address,
                    local,
                    remote,
                });
            }
            return Some(hop);
        }
        let failed = peer.paths.iter().any(|p| p.failed);
        if failed {
            // Traffic goes on: keep asking the silent path, see `peer_due`.
            self.timers
                .set_earlier(slot.index(), now.after(policy::UNANSWERED_MS));
        }
        self.relay_hop(address).or_else(|| {
            let path = self.peers.at(slot)?.last_straw()?;
            Some(Hop::plain(&path.ends))
        })
    }

    /// The way over an upstream.
    pub(crate) fn relay_hop(&mut self, to: Address) -> Option<Hop> {
        let now = self.now.mono;
        let best = self.best_upstream().filter(|best| *best != to)?;
        let path = self.peers.get_mut(&best)?.choose(now)?;
        path.sent = Some(now);
        Some(Hop::over(path))
    }

    /// Seals and sends over a given hop.
    pub(crate) fn emit(
        &mut self,
        out: &mut Out<'_>,
        slot: Slot,
        hop: &Hop,
        packet: &mut [u8],
        seal: &Seal,
    ) {
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let datagram_max = self
            .underlay
            .datagram_max(&hop.ends.remote, hop.datagram_max);
        let pieces = fragment::piece_count(packet.len(), datagram_max);
        if pieces > peer.pieces_max() {
            self.stats.drop(DropReason::TooLong);
            return;
        }
        let verb = verb_of(packet);
        let to = peer.identity.address;
        let id = PacketId::new(self.rng.next_u64());
        let flags = if pieces > 1 { FLAG_FRAGMENTED } else { 0 };
        if packet::write_header(packet, id, to, self.me, flags).is_err() {
            self.stats.drop(DropReason::Malformed);
            return;
        }
        peer.traffic.sent = peer.traffic.sent.wrapping_add(1);
        if let Some(verb) = verb {
            self.stats.sent(verb);
        }
        if verb == Some(Verb::Error)
            && let Some(code) = packet.get(HEADER_LEN + ERROR_CODE_AT)
        {
            self.stats.error_sent(*code);
        }
        if let Some(at) = seal.tail {
            armor::mask_hello_tail(&peer.keys, packet, at);
        }
        // Answers are sealed even there (wire 6.6), and what an upstream passes on.
        let trusted = match verb {
            Some(Verb::Hello | Verb::Ok | Verb::Error) => None,
            _ => self.underlay.trusted(&hop.ends.remote),
        };
        let trusted = trusted.filter(|_| {
            seal.suite.is_none()
                && peer.version.is_some_and(|v| v.protocol >= TRUSTED_PROTOCOL)
                && peer.path(&hop.ends).is_some()
        });
        match trusted {
            Some(id) => packet::set_trusted_id(packet, id),
            None => {
                let suite = seal.suite.unwrap_or_else(|| peer.suite(self.aes));
                armor::seal(&peer.keys, suite, packet);
            }
        }
        // Suite 3 changes the id.
        let id = packet
            .first_chunk::<8>()
            .map_or(id, |bytes| PacketId::new(u64::from_be_bytes(*bytes)));
        if let Some(verb) = verb.filter(|v| is_request(*v)) {
            self.expected.insert(
                id,
                Request {
                    verb,
                    to,
                    sent: self.now.mono,
                },
            );
        }
        for (head, data) in fragment::pieces(packet, id, to, datagram_max) {
            let head = head.as_ref().map_or(&[][..], |h| &h[..]);
            self.put(out, &hop.ends, [head, data], None);
        }
    }

    fn put(&mut self, out: &mut Out<'_>, ends: &Ends, parts: [&[u8]; 2], ttl: Option<u8>) {
        if self.underlay.blocks(&ends.remote) {
            return self.stats.drop(DropReason::BadPath);
        }
        self.stats.tx_datagrams = self.stats.tx_datagrams.wrapping_add(1);
        let bytes = parts
            .iter()
            .fold(0u64, |sum, p| sum.wrapping_add(p.len() as u64));
        self.stats.tx_bytes = self.stats.tx_bytes.wrapping_add(bytes);
        out.datagram(ends.local, ends.remote, parts, ttl);
    }

    /// Bytes that are no packet of ours: relayed ones, hole-punching junk.
    pub(crate) fn put_raw(
        &mut self,
        out: &mut Out<'_>,
        ends: &Ends,
        bytes: &[u8],
        ttl: Option<u8>,
    ) {
        self.put(out, ends, [bytes, &[]], ttl);
    }

    /// An answer: over the path the request came by if it came directly, else the best way,
    /// else back to whoever relayed it.
    pub(crate) fn reply(&mut self, out: &mut Out<'_>, origin: &Origin, packet: &mut [u8]) {
        let slot = origin.slot;
        let relayed = origin.hops > 0;
        let best = relayed.then(|| self.route(slot, None)).flatten();
        let hop = best.unwrap_or_else(|| Hop::plain(&origin.back));
        let now = self.now.mono;
        if let Some(path) = self.peers.at_mut(slot).and_then(|p| p.path_mut(&hop.ends)) {
            path.sent = Some(now);
        }
        self.emit(out, slot, &hop, packet, &Seal::default());
    }

    /// ECHO (HELLO to peers that may not know it) to an address, known path or not.
    pub(crate) fn contact(&mut self, out: &mut Out<'_>, slot: Slot, ends: &Ends) {
        let now = self.now.mono;
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let echo = peer.has_echo();
        if let Some(path) = peer.path_mut(ends) {
            path.sent = Some(now);
        }
        if !echo {
            return self.send_hello(out, slot, ends);
        }
        let mut packet = [0u8; HEADER_LEN];
        packet[VERB_AT] = Verb::Echo as u8;
        self.emit(out, slot, &Hop::plain(ends), &mut packet, &Seal::default());
    }

    /// [`Self::contact`] from every socket of the family.
    pub(crate) fn contact_from_all(&mut self, out: &mut Out<'_>, slot: Slot, to: &SocketAddr) {
        self.by_all_sockets(out, slot, to, Self::contact);
    }

    /// HELLO to an address from every socket of the family.
    pub(crate) fn hello_from_all(&mut self, out: &mut Out<'_>, slot: Slot, to: &SocketAddr) {
        self.by_all_sockets(out, slot, to, Self::send_hello);
    }

    fn by_all_sockets(
        &mut self,
        out: &mut Out<'_>,
        slot: Slot,
        to: &SocketAddr,
        send: fn(&mut Self, &mut Out<'_>, Slot, &Ends),
    ) {
        for n in 0..self.sockets.len() {
            let local = SocketId(n as u16);
            let own = self.socket(local);
            if own.is_some_and(|own| Family::of(&own) == Family::of(to)) {
                let remote = *to;
                send(self, out, slot, &Ends { local, remote });
            }
        }
    }

    /// Attempt number `attempt` to learn an identity; the best upstream first, then in turn
    /// with the next best.
    pub(crate) fn send_whois(&mut self, out: &mut Out<'_>, address: Address, attempt: u8) {
        if self.best_upstream().is_none() {
            // Asked again as soon as an upstream can be reached.
            return;
        }
        let second = attempt % 2 == 1;
        let upstream = usize::from(second);
        let reachable = |core: &Self, a: &Address| {
            core.peers
                .get(a)
                .is_some_and(|p| p.best(core.now.mono).is_some())
        };
        let Some(to) = self
            .nth_upstream(upstream)
            .filter(|a| reachable(self, a))
            .or_else(|| self.nth_upstream(0))
        else {
            return;
        };
        let mut packet = [0u8; HEADER_LEN + Address::LEN];
        let mut writer = packet::begin(&mut packet, Verb::Whois);
        control::write_whois(&mut writer, address);
        if let Ok(packet) = writer.finish() {
            self.send(out, to, packet);
        }
    }
}
