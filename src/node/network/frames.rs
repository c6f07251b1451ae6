//! Frames out of the tap and into it, one by one (network 4.3, 5.2 to 5.4).
//!
//! A frame for one member is turned into its packet where it lies, and a received one into the
//! frame: no copy, no heap call.

use super::member::Held;
use super::multicast::{GroupKey, shuffle};
use super::refusal::Refusal;
use super::rules::{self, Decision, Facts, Subject};
use super::showing::Occasion;
use super::{Carrier, Networks, Verdict, ndp};
use crate::base::{Address, NetworkId, PacketId};
use crate::node::io::DropReason;
use crate::wire::Malformed;
use crate::wire::control;
use crate::wire::credential::Com;
use crate::wire::cursor::Reader;
use crate::wire::derive;
use crate::wire::frames::{
    ETHERNET_LEN, EXT_ACK, Ethernet, ExtFrame, Frame, HEADROOM, MTU_MAX, ethernet_in_place,
    prepend_ext_frame, prepend_frame,
};
use crate::wire::multicast::Group;
use crate::wire::packet::{self, HEADER_LEN};
use crate::wire::verb::{ErrorCode, Verb};

/// Bridges that get a frame for a MAC nobody has shown yet.
const BRIDGES_MAX: usize = 32;

/// Subtypes of an EXT_FRAME (wire 9.8).
const TEE_OUT: u8 = 0x02;
const REDIRECT_OUT: u8 = 0x04;
const WATCH_OUT: u8 = 0x16;
const TEE_IN: u8 = 0x08;
const REDIRECT_IN: u8 = 0x0a;
const WATCH_IN: u8 = 0x1c;

/// A frame that goes to more than one member.
#[derive(Clone, Copy)]
pub(super) struct Cast<'a> {
    pub(super) ethernet: Ethernet,
    pub(super) payload: &'a [u8],
    /// The source MAC is not ours and is sent along.
    pub(super) foreign: bool,
}

impl<'a> Cast<'a> {
    pub(super) fn outbound(&self, me: Address, destination: Option<Address>) -> Subject<'a> {
        self.subject(false, me, destination)
    }

    pub(super) fn inbound(&self, me: Address, from: Address) -> Subject<'a> {
        self.subject(true, from, Some(me))
    }

    // Six places ask, and it is all copies of fields.
    #[inline(never)]
    fn subject(&self, inbound: bool, source: Address, destination: Option<Address>) -> Subject<'a> {
        Subject {
            inbound,
            source,
            destination,
            from: self.ethernet.from,
            to: self.ethernet.to,
            ethertype: self.ethernet.ethertype,
            payload: self.payload,
        }
    }
}

/// Which pass of the rules a decision comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdicts {
    /// The only or first one: copies are sent.
    Whole,
    /// That for one of several recipients: no copies, the first pass has sent them.
    Recipient,
}

impl Networks {
    /// Rules and capabilities about a frame.
    fn judge(&mut self, id: NetworkId, subject: &Subject<'_>) -> Option<Decision> {
        let random = self.lots.draw();
        let network = self.networks.get(&id)?;
        let config = network.config.as_ref()?;
        let peer = if subject.inbound {
            Some(subject.source)
        } else {
            subject.destination
        };
        let member = peer.and_then(|peer| network.members.get(peer));
        let held = member
            .and_then(|m| m.held.as_deref())
            .unwrap_or(Held::NOTHING);
        let facts = Facts {
            me: self.me,
            flags: config.flags,
            addresses: &config.addresses,
            own_tags: &config.own.tags,
            peer_tags: &held.tags,
            own_things: &config.own.things,
            peer_things: &held.things,
            member: member.is_some(),
            random,
        };
        let whose = if subject.inbound { held } else { &config.own };
        let capabilities = whose.capabilities.iter().map(|(_, rules)| &rules[..]);
        Some(rules::decide(&config.rules, capabilities, subject, &facts))
    }

    /// Asks the rules, sends the copies that they want, and the frame itself if it is redirected;
    /// counts a drop. `None`: the frame goes no further; else, may it do so whatever its MACs are?
    pub(super) fn passes(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        subject: &Subject<'_>,
        verdicts: Verdicts,
    ) -> Option<bool> {
        let decision = self.judge(id, subject)?;
        let (tee, watch, redirect, reason) = if subject.inbound {
            (TEE_IN, WATCH_IN, REDIRECT_IN, DropReason::RulesIn)
        } else {
            (TEE_OUT, WATCH_OUT, REDIRECT_OUT, DropReason::RulesOut)
        };
        if verdicts == Verdicts::Whole {
            let copies = [decision.capability_copy, decision.base_copy];
            for copy in copies.into_iter().flatten() {
                let flags = if copy.watch { watch } else { tee };
                self.send_ext(c, id, copy.to, flags, subject, copy.len);
            }
        }
        if let Some(to) = decision.redirect {
            self.send_ext(c, id, to, redirect, subject, subject.payload.len());
        } else if !decision.pass {
            if subject.inbound {
                self.count_out(c, id, reason);
            } else {
                self.count_in(c, id, reason);
            }
        }
        decision.pass.then_some(decision.sup)
    }

    /// An EXT_FRAME with the first `len` bytes of a frame, made in the scratch buffer.
    fn send_ext(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        to: Address,
        flags: u8,
        subject: &Subject<'_>,
        len: usize,
    ) {
        let ethernet = Ethernet {
            to: subject.to,
            from: subject.from,
            ethertype: subject.ethertype,
        };
        let mut writer = packet::begin(&mut self.scratch, Verb::ExtFrame);
        let payload = subject.payload.get(..len).unwrap_or(subject.payload);
        writer.network_id(id);
        writer.u8(flags);
        writer.bytes(&ethernet.to_bytes());
        writer.bytes(payload);
        if let Ok(packet) = writer.finish() {
            c.send(to, packet, false);
        }
    }

    /// An Ethernet frame of `len` bytes out of the tap, at `slot[HEADROOM..]` (network 5.2).
    pub(crate) fn handle_frame(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        slot: &mut [u8],
        len: usize,
    ) {
        let me = self.me;
        let Some(network) = self.networks.get_mut(&id) else {
            return c.drop(DropReason::UnknownNetwork);
        };
        network.counters.frames_in = network.counters.frames_in.wrapping_add(1);
        network.counters.bytes_in = network.counters.bytes_in.wrapping_add(len as u64);
        let Some(config) = &network.config else {
            return network.drop_in(c, DropReason::NoConfig);
        };
        let frame = HEADROOM
            .checked_add(len)
            .and_then(|end| slot.get(HEADROOM..end))
            .unwrap_or_default();
        let Ok((ethernet, payload)) = Ethernet::parse(frame) else {
            return network.drop_in(c, DropReason::BadFrame);
        };
        if payload.len() > MTU_MAX {
            return network.drop_in(c, DropReason::BadFrame);
        }
        let foreign = ethernet.from != network.mac;
        if foreign {
            // Differs from 1.14.1: a frame with the MAC of another member came over this very
            // network, so there is a loop behind us (network 5.5).
            if !config.is_bridge(me) || derive::address_of_mac(id, ethernet.from).is_some() {
                return network.drop_in(c, DropReason::BadMac);
            }
            // If it was behind somebody else it has moved here.
            self.routes.forget(id, ethernet.from);
        }
        let cast = Cast {
            ethernet,
            payload,
            foreign,
        };
        if ethernet.to.is_multicast() {
            return self.multicast_out(c, id, cast);
        }
        if ethernet.to == network.mac {
            return self.deliver(c, id, frame);
        }
        let Some(to) = derive::address_of_mac(id, ethernet.to) else {
            return self.bridge_out(c, id, slot, len);
        };
        let subject = cast.outbound(me, Some(to));
        if self.passes(c, id, &subject, Verdicts::Whole).is_some() {
            self.push(c, id, to, Occasion::Frame);
            self.send_in_place(c, id, to, slot, len, foreign);
        }
    }

    fn send_in_place(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        to: Address,
        slot: &mut [u8],
        len: usize,
        with_macs: bool,
    ) {
        let range = if with_macs {
            prepend_ext_frame(slot, len, id, 0)
        } else {
            prepend_frame(slot, len, id)
        };
        match range.ok().and_then(|range| slot.get_mut(range)) {
            Some(packet) => c.send(to, packet, false),
            None => self.count_in(c, id, DropReason::BadFrame),
        }
    }

    /// To a MAC behind a remote bridge: by the one it was seen at, else by all.
    fn bridge_out(&mut self, c: &mut dyn Carrier, id: NetworkId, slot: &mut [u8], len: usize) {
        let me = self.me;
        let frame = slot.get(HEADROOM..HEADROOM + len).unwrap_or_default();
        let Ok((ethernet, payload)) = Ethernet::parse(frame) else {
            return;
        };
        let cast = Cast {
            ethernet,
            payload,
            foreign: true,
        };
        let subject = cast.outbound(me, None);
        if self.passes(c, id, &subject, Verdicts::Whole).is_none() {
            return;
        }
        let mut recipients = core::mem::take(&mut self.recipients);
        recipients.clear();
        let behind = self.routes.find(id, ethernet.to, c.mono());
        if let Some(config) = self.config(id) {
            match behind.filter(|a| *a != me && config.is_bridge(*a)) {
                Some(bridge) => recipients.push(bridge),
                // Differs from 1.14.1: never ourselves (network 5.2).
                None => recipients.extend(config.bridges().filter(|a| *a != me)),
            }
        }
        if recipients.len() > BRIDGES_MAX {
            shuffle(c.rng(), &mut recipients);
            recipients.truncate(BRIDGES_MAX);
        }
        if recipients.is_empty() {
            self.count_in(c, id, DropReason::NoBridge);
        }
        for (n, to) in recipients.iter().enumerate() {
            let frame = slot.get(HEADROOM..HEADROOM + len).unwrap_or_default();
            let payload = frame.get(ETHERNET_LEN..).unwrap_or_default();
            let cast = Cast {
                ethernet,
                payload,
                foreign: true,
            };
            let subject = cast.outbound(me, Some(*to));
            let passes = self.passes(c, id, &subject, Verdicts::Recipient);
            if passes.is_none() {
                continue;
            }
            // Differs from 1.14.1, whose first frame to a bridge is refused (network 8, 19).
            self.push(c, id, *to, Occasion::Frame);
            if n + 1 == recipients.len() {
                self.send_in_place(c, id, *to, slot, len, true);
            } else {
                self.send_ext(c, id, *to, 0, &subject, payload.len());
            }
        }
        self.recipients = recipients;
    }

    fn multicast_out(&mut self, c: &mut dyn Carrier, id: NetworkId, cast: Cast<'_>) {
        let me = self.me;
        let Some(config) = self.config(id) else {
            return;
        };
        let Cast {
            ethernet, payload, ..
        } = cast;
        let mut group = Group {
            mac: ethernet.to,
            adi: 0,
        };
        if ethernet.to.is_broadcast() {
            match derive::arp_group(ethernet.ethertype, payload) {
                Some(arp) => group = arp,
                None if config.broadcast() => {}
                None => return self.count_in(c, id, DropReason::MulticastOff),
            }
        } else if config.emulates_ndp()
            && let Some(answer) = ndp::answer(id, me, &config.addresses, &ethernet, payload)
        {
            return self.deliver(c, id, &answer);
        }
        if config.multicast_limit == 0 {
            return self.count_in(c, id, DropReason::MulticastOff);
        }
        let key = GroupKey { network: id, group };
        if cast.foreign && self.behind.used(key, c.mono()) {
            self.groups_changed(c, id);
        }
        let subject = cast.outbound(me, None);
        if self.passes(c, id, &subject, Verdicts::Whole).is_some() {
            self.multicast(c, key, cast);
        }
    }

    /// An authenticated packet of a peer, decompressed.
    pub(crate) fn inbound(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        verb: Verb,
        id: PacketId,
        packet: &mut [u8],
    ) -> Verdict {
        let parsed = match verb {
            Verb::Frame => self.frame_in(c, from, id, packet),
            Verb::ExtFrame => self.ext_frame_in(c, from, id, packet),
            Verb::MulticastFrame => self.multicast_in(c, from, id, packet),
            Verb::MulticastLike => self.like_in(c, from, packet),
            Verb::MulticastGather => self.gather_in(c, from, id, packet),
            Verb::NetworkConfigRequest => self.config_request_in(c, from, id, packet),
            Verb::NetworkCredentials => {
                self.credentials_in(c, from, packet.get(HEADER_LEN..).unwrap_or_default())
            }
            Verb::NetworkConfig => {
                self.config_in(c, from, id, packet.get(HEADER_LEN..).unwrap_or_default())
            }
            _ => {
                c.drop(DropReason::Ignored);
                Ok(false)
            }
        };
        match parsed {
            Ok(member) => Verdict { member },
            Err(_) => {
                c.drop(DropReason::Malformed);
                Verdict::default()
            }
        }
    }

    /// The gate before everything that members do. A frame of whom it does not let pass is
    /// refused with ERROR 6, but not more than once per second, and kept until the certificate
    /// comes, but not for long.
    pub(super) fn gate(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        from: Address,
        frame: Option<(Verb, PacketId, &[u8])>,
    ) -> bool {
        let Some(network) = self.networks.get_mut(&id) else {
            c.drop(DropReason::UnknownNetwork);
            return false;
        };
        if network.config.is_none() {
            network.drop_out(c, DropReason::NoConfig);
            return false;
        }
        if network.admits(c, from) {
            self.met(c, id, from);
            return true;
        }
        network.drop_out(c, DropReason::NotMember);
        if let Some((verb, packet_id, packet)) = frame {
            let now = c.mono();
            self.pendings.push(id, from, verb, packet_id, packet, now);
            if self.refusals.pass(id, from, now) {
                let code = ErrorCode::NeedMembershipCertificate;
                error(c, from, verb, packet_id, code, id);
            }
        }
        false
    }

    /// FRAME (network 5.3).
    fn frame_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, Malformed> {
        let frame = Frame::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let network = frame.network;
        if !self.gate(c, network, from, Some((Verb::Frame, id, packet))) {
            return Ok(false);
        }
        if frame.payload.is_empty() {
            return Ok(true);
        }
        let ethernet = Ethernet {
            to: derive::mac(network, self.me),
            from: derive::mac(network, from),
            ethertype: frame.ethertype,
        };
        let cast = Cast {
            ethernet,
            payload: frame.payload,
            foreign: false,
        };
        let subject = cast.inbound(self.me, from);
        let passes = self.passes(c, network, &subject, Verdicts::Whole);
        if passes.is_some() {
            let payload_at = packet.len().saturating_sub(frame.payload.len());
            let range = ethernet_in_place(packet, payload_at, ethernet)?;
            self.deliver(c, network, packet.get(range).unwrap_or_default());
        }
        Ok(true)
    }

    /// EXT_FRAME (network 5.4).
    fn ext_frame_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, Malformed> {
        let frame = ExtFrame::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let network = frame.network;
        if let Some(com) = &frame.com {
            self.attached(c, network, com);
        }
        if !self.gate(c, network, from, Some((Verb::ExtFrame, id, packet))) {
            return Ok(false);
        }
        let ethernet = frame.ethernet;
        let cast = Cast {
            ethernet,
            payload: frame.payload,
            foreign: false,
        };
        if !frame.payload.is_empty() {
            if ethernet.from.is_zero() || ethernet.from == derive::mac(network, self.me) {
                self.count_out(c, network, DropReason::BadMac);
                return Ok(true);
            }
            let subject = cast.inbound(self.me, from);
            if let Some(sup) = self.passes(c, network, &subject, Verdicts::Whole) {
                if !sup && !self.macs_allowed(c, network, from, ethernet) {
                    self.count_out(c, network, DropReason::BadMac);
                    return Ok(true);
                }
                // The Ethernet header lies before the payload already.
                let start = packet
                    .len()
                    .saturating_sub(frame.payload.len() + ETHERNET_LEN);
                self.deliver(c, network, packet.get(start..).unwrap_or_default());
            }
        }
        if frame.flags & EXT_ACK != 0 {
            let mut reply = [0; HEADER_LEN + 17];
            let mut writer = control::begin_ok(&mut reply, Verb::ExtFrame, id);
            writer.network_id(network);
            c.send(from, writer.finish()?, false);
        }
        Ok(true)
    }

    /// May an EXT_FRAME of `from` bear these MACs? What a bridge shows is learned.
    fn macs_allowed(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        from: Address,
        ethernet: Ethernet,
    ) -> bool {
        let me = self.me;
        let Some(config) = self.config(id) else {
            return false;
        };
        let (multicast, bridge) = (config.multicast_limit > 0, config.is_bridge(me));
        if ethernet.from != derive::mac(id, from) {
            if !config.is_bridge(from) {
                return false;
            }
            self.routes.learn(id, ethernet.from, from, c.mono());
            // Differs from 1.14.1, which takes any destination here (network 8, 21).
            return ethernet.to.is_multicast() || ethernet.to == derive::mac(id, me) || bridge;
        }
        if ethernet.to.is_multicast() {
            multicast
        } else {
            bridge || ethernet.to == derive::mac(id, me)
        }
    }

    /// A certificate that came with a frame (1.0.x to 1.1.x).
    pub(super) fn attached(&mut self, c: &mut dyn Carrier, id: NetworkId, com: &Com<'_>) {
        if !self.is_joined(id) {
            return;
        }
        let filed = match com.network() {
            Some(of) if of == id => self.file_com(c, com),
            _ => Err(Refusal::OtherNetwork),
        };
        if let Err(why) = filed {
            self.refuse(c, id, why);
        }
    }

    /// We are no controller; requests for networks of others get no answer.
    fn config_request_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, Malformed> {
        let payload = packet.get(HEADER_LEN..).unwrap_or_default();
        let network = Reader::new(payload).network_id()?;
        if network.controller() == Some(self.me) {
            let code = ErrorCode::UnsupportedOperation;
            error(c, from, Verb::NetworkConfigRequest, id, code, network);
        } else {
            c.drop(DropReason::Ignored);
        }
        Ok(false)
    }
}

fn error(
    c: &mut dyn Carrier,
    to: Address,
    verb: Verb,
    id: PacketId,
    code: ErrorCode,
    network: NetworkId,
) {
    let mut packet = [0; HEADER_LEN + 18];
    let mut writer = packet::begin(&mut packet, Verb::Error);
    control::write_error_head(&mut writer, verb, id, code);
    writer.network_id(network);
    if let Ok(packet) = writer.finish() {
        c.send(to, packet, false);
    }
}
