//! Multicast: to whom a frame goes, what comes from others, who is told of whom
//! (network 6.3 to 6.5).

use super::config::{Config, FLAG_UNCOMPRESSED};
use super::controller::Source;
use super::frames::{Cast, Verdicts};
use super::member::Member;
use super::multicast::{GroupKey, Wanted, gather_ms, shuffle};
use super::showing::Occasion;
use super::{Carrier, Networks};
use crate::base::{Address, NetworkId, PacketId};
use crate::node::io::DropReason;
use crate::wire::Malformed;
use crate::wire::control;
use crate::wire::cursor::Reader;
use crate::wire::derive;
use crate::wire::frames::{Ethernet, MTU_MAX, ethernet_in_place};
use crate::wire::multicast::{self as wire, Gather, Group, MulticastFrame};
use crate::wire::packet::{self, DATAGRAM_DEFAULT, HEADER_LEN};
use crate::wire::verb::{ErrorCode, Verb};

/// Members asked for members in one explicit gather.
const GATHER_FROM: usize = 16;
/// Longest certificate of membership.
const COM_MAX: usize = 8 + 8 * 24 + 96;

impl Networks {
    /// A frame for a group: to a replicator, or to all known listeners up to the limit while the
    /// rest is gathered (network 6.3).
    pub(super) fn multicast(&mut self, c: &mut dyn Carrier, key: GroupKey, cast: Cast<'_>) {
        let me = self.me;
        let Some(config) = self.config(key.network) else {
            return;
        };
        if config.has_replicators() && !config.is_bridge(me) && !config.is_replicator(me) {
            let others = config.replicators().filter(|a| *a != me);
            let reached = others.filter_map(|a| Some((c.latency_ms(a)?, a)));
            if let Some((_, best)) = reached.min() {
                let message = MulticastFrame {
                    network: key.network,
                    flags: MulticastFrame::REPLICATE,
                    com: None,
                    gather_limit: 0,
                    from: Some(cast.ethernet.from),
                    group: key.group,
                    ethertype: cast.ethernet.ethertype,
                    payload: cast.payload,
                };
                let compress = config.flags & FLAG_UNCOMPRESSED == 0;
                return self.send_message(c, best, &message, compress);
            }
        }
        self.spread(c, key, cast, None);
    }

    /// To bridges and listeners, but for `except`.
    fn spread(
        &mut self,
        c: &mut dyn Carrier,
        key: GroupKey,
        cast: Cast<'_>,
        except: Option<Address>,
    ) {
        let now = c.mono();
        let me = self.me;
        let mut recipients = core::mem::take(&mut self.recipients);
        recipients.clear();
        let limit = match self.config(key.network) {
            Some(config) => {
                recipients.extend(config.bridges().filter(|a| *a != me && Some(*a) != except));
                config.multicast_limit as usize
            }
            None => 0,
        };
        let bridges = recipients.len();
        let mut known = 0;
        for member in self.listeners.of(key, now) {
            if member != me && Some(member) != except {
                known += 1;
                if !recipients.iter().take(bridges).any(|b| *b == member) {
                    recipients.push(member);
                }
            }
        }
        let wanted = if known >= limit { 1 } else { limit - known + 1 };
        let pause = gather_ms(c.low_bandwidth());
        if known < limit && self.gathers.pass(key, known > 0, now, pause) {
            self.ask_for_members(c, key, wanted);
        }
        shuffle(c.rng(), recipients.get_mut(bridges..).unwrap_or_default());
        if known >= limit {
            recipients.truncate(limit);
        }
        for to in &recipients {
            self.send_multicast(c, key, cast, *to, wanted);
        }
        if known < limit {
            let wanted = Wanted {
                key,
                limit,
                hungry: known == 0,
                foreign: cast.foreign,
            };
            let header = cast.ethernet.to_bytes();
            let frame = [&header[..], cast.payload];
            if let Some(loser) = self.waiting.push(wanted, frame, &recipients, now) {
                self.count_in(c, loser, DropReason::MulticastFull);
            }
        }
        self.recipients = recipients;
    }

    /// Asks for members again, for frames that found nobody.
    pub(super) fn gather_again(&mut self, c: &mut dyn Carrier, key: GroupKey) {
        let Some(config) = self.config(key.network) else {
            return;
        };
        let wanted = (config.multicast_limit as usize).saturating_add(1);
        let pause = gather_ms(c.low_bandwidth());
        if self.gathers.pass(key, false, c.mono(), pause) {
            self.ask_for_members(c, key, wanted);
        }
    }

    /// The best upstream, the controller, anchors in random order; if none of them can be reached,
    /// members heard lately: each knows at least of itself.
    fn ask_for_members(&mut self, c: &mut dyn Carrier, key: GroupKey, wanted: usize) {
        let mut whom: heapless::Vec<Address, GATHER_FROM> = heapless::Vec::new();
        let first = [c.upstream(0), key.network.controller()];
        for address in first.into_iter().flatten() {
            if address != self.me && !whom.contains(&address) {
                let _ = whom.push(address);
            }
        }
        let given = whom.len();
        for anchor in self
            .config(key.network)
            .into_iter()
            .flat_map(Config::anchors)
        {
            if anchor != self.me && !whom.contains(&anchor) {
                let _ = whom.push(anchor);
            }
        }
        shuffle(c.rng(), whom.get_mut(given..).unwrap_or_default());
        if whom.iter().all(|a| c.latency_ms(*a).is_none())
            && let Some(network) = self.networks.get(&key.network)
        {
            let reached = |a, _: &Member| c.latency_ms(a).is_some();
            for member in network.members.heard_last(GATHER_FROM, &reached) {
                let _ = whom.push(member);
            }
        }
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        for to in &whom {
            self.ask(c, *to, key, wanted);
        }
    }

    /// Upstream `to` can be reached: it is asked for the members that frames wait for.
    pub(super) fn ask_upstream(&mut self, c: &mut dyn Carrier, to: Address) {
        let mut n = 0;
        while let Some(key) = self.waiting.hungry(n) {
            n += 1;
            let limit = self.config(key.network).map_or(0, |c| c.multicast_limit);
            self.ask(c, to, key, limit.saturating_add(1));
        }
    }

    /// MULTICAST_GATHER, with our certificate on private networks: anchors may not have it.
    fn ask(&self, c: &mut dyn Carrier, to: Address, key: GroupKey, wanted: u32) {
        let config = self.config(key.network).filter(|config| !config.public);
        let com = config.map_or(&[][..], |config| &config.papers.com);
        let mut packet = [0; HEADER_LEN + 23 + COM_MAX];
        let mut writer = packet::begin(&mut packet, Verb::MulticastGather);
        let com = Some(com).filter(|com| !com.is_empty() && com.len() <= COM_MAX);
        let written = wire::write_gather(&mut writer, key.network, key.group, wanted, com);
        if let (Ok(()), Ok(packet)) = (written, writer.finish()) {
            c.send(to, packet, false);
        }
    }

    /// One copy to one recipient, if the rules let it.
    fn send_multicast(
        &mut self,
        c: &mut dyn Carrier,
        key: GroupKey,
        cast: Cast<'_>,
        to: Address,
        wanted: usize,
    ) {
        let subject = cast.outbound(self.me, Some(to));
        let passes = self.passes(c, key.network, &subject, Verdicts::Recipient);
        if passes.is_none() {
            return;
        }
        let compress = self
            .config(key.network)
            .is_some_and(|config| config.flags & FLAG_UNCOMPRESSED == 0);
        let message = MulticastFrame {
            network: key.network,
            flags: 0,
            com: None,
            gather_limit: u32::try_from(wanted).unwrap_or(u32::MAX),
            from: cast.foreign.then_some(cast.ethernet.from),
            group: key.group,
            ethertype: cast.ethernet.ethertype,
            payload: cast.payload,
        };
        self.push(c, key.network, to, Occasion::Frame);
        self.send_message(c, to, &message, compress);
    }

    fn send_message(
        &mut self,
        c: &mut dyn Carrier,
        to: Address,
        message: &MulticastFrame<'_>,
        compress: bool,
    ) {
        let mut writer = packet::begin(&mut self.scratch, Verb::MulticastFrame);
        let written = message.write(&mut writer);
        match (written, writer.finish()) {
            (Ok(()), Ok(packet)) => c.send(to, packet, compress),
            _ => self.count_in(c, message.network, DropReason::BadFrame),
        }
    }

    /// `member` listens to a group: it gets the frames that wait for somebody like it.
    fn listener(&mut self, c: &mut dyn Carrier, key: GroupKey, member: Address) {
        if member == self.me {
            return;
        }
        self.listeners.add(key, member, c.mono());
        while let Some(waiting) = self.waiting.take(key, member) {
            if let Ok((ethernet, payload)) = Ethernet::parse(&waiting.frame) {
                let cast = Cast {
                    ethernet,
                    payload,
                    foreign: waiting.foreign,
                };
                self.send_multicast(c, key, cast, member, 1);
            }
            self.waiting.put_back(waiting);
        }
    }

    /// MULTICAST_FRAME (network 6.5).
    pub(super) fn multicast_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, Malformed> {
        let message = MulticastFrame::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let (network, group, wanted) = (message.network, message.group, message.gather_limit);
        let key = GroupKey { network, group };
        if let Some(com) = &message.com {
            self.attached(c, network, com);
        }
        if !self.gate(c, network, from, Some((Verb::MulticastFrame, id, packet))) {
            return Ok(false);
        }
        let Some(config) = self.config(network).filter(|c| c.multicast_limit > 0) else {
            self.count_out(c, network, DropReason::MulticastOff);
            return Ok(true);
        };
        let (trusted, spreads) = (config.is_bridge(from), config.is_replicator(self.me));
        let len = message.payload.len();
        if (1..=MTU_MAX).contains(&len) {
            let own = derive::mac(network, from);
            let source = message.from.unwrap_or(own);
            let sound = group.mac.is_multicast()
                && !source.is_zero()
                && !source.is_multicast()
                && source != derive::mac(network, self.me);
            if !sound {
                self.count_out(c, network, DropReason::BadMac);
                return Ok(true);
            }
            let ethernet = Ethernet {
                to: group.mac,
                from: source,
                ethertype: message.ethertype,
            };
            let cast = Cast {
                ethernet,
                payload: message.payload,
                foreign: true,
            };
            if message.flags & MulticastFrame::REPLICATE != 0 && spreads {
                self.spread(c, key, cast, Some(from));
            }
            if source != own {
                if !trusted {
                    self.count_out(c, network, DropReason::BadMac);
                    return Ok(true);
                }
                self.routes.learn(network, source, from, c.mono());
            }
            let subject = cast.inbound(self.me, from);
            let passes = self.passes(c, network, &subject, Verdicts::Whole);
            if passes.is_some() {
                let payload_at = packet.len().saturating_sub(len);
                let range = ethernet_in_place(packet, payload_at, ethernet)?;
                self.deliver(c, network, packet.get(range).unwrap_or_default());
            }
        } else {
            self.count_out(c, network, DropReason::BadFrame);
        }
        if wanted > 0 {
            self.tell_members(c, from, Verb::MulticastFrame, id, key, wanted)?;
        }
        Ok(true)
    }

    /// MULTICAST_LIKE (network 6.2).
    pub(super) fn like_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        packet: &mut [u8],
    ) -> Result<bool, Malformed> {
        let mut member = false;
        // Differs from 1.14.1: each network is judged by itself (network 8, 17).
        let mut judged: Option<(NetworkId, bool)> = None;
        for (network, group) in wire::likes(packet.get(HEADER_LEN..).unwrap_or_default())? {
            let passes = match judged {
                Some((id, passes)) if id == network => passes,
                _ => {
                    let passes = self.is_joined(network) && self.gate(c, network, from, None);
                    member |= passes;
                    passes || c.am_upstream()
                }
            };
            judged = Some((network, passes));
            if passes && group.mac.is_multicast() {
                self.listener(c, GroupKey { network, group }, from);
            } else {
                c.drop(DropReason::Ignored);
            }
        }
        Ok(member)
    }

    /// MULTICAST_GATHER (network 6.4).
    pub(super) fn gather_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, Malformed> {
        let gather = Gather::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let network = gather.network;
        if let Some(com) = &gather.com {
            self.attached(c, network, com);
        }
        let member = self.is_joined(network) && self.gate(c, network, from, None);
        if gather.limit > 0 && (member || c.am_upstream()) {
            let group = gather.group;
            let key = GroupKey { network, group };
            self.tell_members(c, from, Verb::MulticastGather, id, key, gather.limit)?;
        }
        Ok(member)
    }

    /// OK with the members of a group that we know, ourselves first; nobody: no answer.
    fn tell_members(
        &mut self,
        c: &mut dyn Carrier,
        to: Address,
        verb: Verb,
        id: PacketId,
        key: GroupKey,
        limit: u32,
    ) -> Result<(), Malformed> {
        let now = c.mono();
        let listening = self
            .networks
            .get(&key.network)
            .is_some_and(|n| n.groups.binary_search(&key.group).is_ok());
        let ourselves = listening.then_some(self.me);
        let members = &mut self.recipients;
        members.clear();
        members.extend(self.listeners.of(key, now));
        let known = members.len() + usize::from(listening);
        members.retain(|a| *a != to);
        shuffle(c.rng(), members);
        let members = ourselves.into_iter().chain(members.iter().copied());
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // One datagram: old askers put pieces together badly.
        let mut reply = [0; DATAGRAM_DEFAULT];
        let mut writer = control::begin_ok(&mut reply, verb, id);
        wire::write_answer_head(&mut writer, key.network, key.group)?;
        if verb == Verb::MulticastFrame {
            writer.u8(MulticastFrame::GATHER);
        }
        let total = u32::try_from(known).unwrap_or(u32::MAX);
        let told = wire::write_result(&mut writer, total, members.take(limit))?;
        if told > 0 {
            c.send(to, writer.finish()?, false);
        }
        Ok(())
    }

    /// OK to a request of ours.
    pub(crate) fn inbound_ok(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        in_re: Verb,
        body: &[u8],
    ) {
        if in_re == Verb::NetworkConfigRequest {
            if self.chunk_in(c, from, Source::Answer, body).is_err() {
                c.drop(DropReason::Malformed);
            }
            return;
        }
        let parsed = match in_re {
            Verb::MulticastGather => {
                wire::parse_ok_gather(body).map(|(network, group, r)| (network, group, Some(r)))
            }
            Verb::MulticastFrame => wire::parse_ok_frame(body),
            _ => return c.drop(DropReason::Ignored),
        };
        match parsed {
            Ok((network, group, Some(result))) if self.is_joined(network) => {
                for member in result.members() {
                    self.listener(c, GroupKey { network, group }, member);
                }
            }
            Ok((_, _, Some(_))) => c.drop(DropReason::UnknownNetwork),
            Ok((_, _, None)) => {}
            Err(_) => c.drop(DropReason::Malformed),
        }
    }

    /// ERROR to a packet of ours.
    pub(crate) fn inbound_error(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        in_re: Verb,
        code: u8,
        body: &[u8],
    ) {
        if in_re == Verb::NetworkConfigRequest {
            if self.failed(c, from, code, body).is_err() {
                c.drop(DropReason::Malformed);
            }
            return;
        }
        let mut reader = Reader::new(body);
        if code == ErrorCode::NeedMembershipCertificate as u8
            && let Ok(network) = reader.network_id()
        {
            self.push(c, network, from, Occasion::Asked);
            return;
        }
        let mut reader = Reader::new(body);
        if code == ErrorCode::UnwantedMulticast as u8
            && let (Ok(network), Ok(mac), Ok(adi)) =
                (reader.network_id(), reader.mac(), reader.u32())
        {
            let group = Group { mac, adi };
            return self.listeners.remove(GroupKey { network, group }, from);
        }
        c.drop(DropReason::Ignored);
    }
}
