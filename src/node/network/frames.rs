//! Frames out of the tap and into it (network 5, 6.3–6.5).

use super::config::FLAG_UNCOMPRESSED;
use super::multicast::{GroupKey, shuffle};
use super::rules::{self, Decision, Facts, Subject};
use super::{Carrier, Network, Networks, Verdict, ndp};
use crate::base::{Address, NetworkId, PacketId};
use crate::node::io::DropReason;
use crate::wire::control;
use crate::wire::cursor::Writer;
use crate::wire::derive;
use crate::wire::frames::{
    ETHERNET_LEN, EXT_ACK, Ethernet, ExtFrame, Frame, HEADROOM, MTU_MAX, ethernet_in_place,
    prepend_frame,
};
use crate::wire::multicast::{self as wire, Gather, Group, MulticastFrame};
use crate::wire::packet::{HEADER_LEN, VERB_AT};
use crate::wire::verb::{ErrorCode, Verb};

/// Members asked for members in one explicit gather.
const GATHER_FROM: usize = 16;

impl Network {
    /// Copies and redirections are for networks with a controller: they are decided, not sent.
    fn judge(&self, c: &mut dyn Carrier, subject: &Subject<'_>) -> Option<Decision> {
        let config = self.config.as_ref()?;
        let facts = Facts {
            me: c.me(),
            flags: config.flags,
            addresses: &config.addresses,
            own_tags: &[],
            peer_tags: &[],
            own_things: &[],
            peer_things: &[],
            member: true,
            // Ad-hoc rules draw no lots.
            random: 0,
        };
        Some(rules::decide(&config.rules, [], subject, &facts))
    }

    fn passes(&self, c: &mut dyn Carrier, subject: &Subject<'_>) -> bool {
        self.judge(c, subject).is_some_and(|d| d.pass)
    }
}

impl Networks {
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
            .and_then(|end| slot.get(HEADROOM..end));
        let Some(Ok((ethernet, payload))) = frame.map(Ethernet::parse) else {
            return network.drop_in(c, DropReason::BadFrame);
        };
        if payload.len() > MTU_MAX {
            return network.drop_in(c, DropReason::BadFrame);
        }
        // Foreign source MACs come from behind a bridge, which needs a controller.
        if ethernet.from != network.mac {
            return network.drop_in(c, DropReason::BadMac);
        }
        if ethernet.to.is_multicast() {
            return self.multicast_out(c, id, slot, len, ethernet);
        }
        if ethernet.to == network.mac {
            let whole = slot.get(HEADROOM..HEADROOM + len).unwrap_or_default();
            return network.deliver(c, whole);
        }
        let Some(to) = derive::address_of_mac(id, ethernet.to) else {
            return network.drop_in(c, DropReason::NoBridge);
        };
        let subject = Subject {
            inbound: false,
            source: me,
            destination: Some(to),
            from: ethernet.from,
            to: ethernet.to,
            ethertype: ethernet.ethertype,
            payload,
        };
        let _ = config;
        if !network.passes(c, &subject) {
            return network.drop_in(c, DropReason::RulesOut);
        }
        match prepend_frame(slot, len, id) {
            Ok(range) => {
                if let Some(packet) = slot.get_mut(range) {
                    c.send(to, packet, false);
                }
            }
            Err(_) => network.drop_in(c, DropReason::BadFrame),
        }
    }

    fn multicast_out(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        slot: &mut [u8],
        len: usize,
        ethernet: Ethernet,
    ) {
        let me = self.me;
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        let frame = slot.get(HEADROOM..HEADROOM + len).unwrap_or_default();
        let payload = frame.get(ETHERNET_LEN..).unwrap_or_default();
        let mut group = Group {
            mac: ethernet.to,
            adi: 0,
        };
        if ethernet.to.is_broadcast() {
            match derive::arp_group(ethernet.ethertype, payload) {
                Some(arp) => group = arp,
                None if config.broadcast() => {}
                None => return network.drop_in(c, DropReason::MulticastOff),
            }
        } else if config.flags & super::config::FLAG_NDP != 0
            && let Some(answer) = ndp::answer(id, me, &config.addresses, &ethernet, payload)
        {
            return network.deliver(c, &answer);
        }
        if config.multicast_limit == 0 {
            return network.drop_in(c, DropReason::MulticastOff);
        }
        let subject = Subject {
            inbound: false,
            source: me,
            destination: None,
            from: ethernet.from,
            to: ethernet.to,
            ethertype: ethernet.ethertype,
            payload,
        };
        if !network.passes(c, &subject) {
            return network.drop_in(c, DropReason::RulesOut);
        }
        self.spread(c, GroupKey { network: id, group }, frame);
    }

    /// To all known listeners up to the limit; the rest is gathered (network 6.3).
    fn spread(&mut self, c: &mut dyn Carrier, key: GroupKey, frame: &[u8]) {
        let now = c.now().mono;
        let me = self.me;
        let Some(network) = self.networks.get(&key.network) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        let limit = config.multicast_limit as usize;
        self.recipients.clear();
        self.recipients
            .extend(self.listeners.of(key, now).filter(|a| *a != me).take(limit));
        let known = self.recipients.len();
        let wanted = if known >= limit { 1 } else { limit - known + 1 };
        if known < limit && self.listeners.gather(key, known > 0, now) {
            self.ask_for_members(c, key, wanted);
        }
        let mut recipients = core::mem::take(&mut self.recipients);
        shuffle(c.rng(), &mut recipients);
        for to in &recipients {
            self.send_multicast(c, key, frame, *to, wanted);
        }
        if known < limit && self.waiting.push(key, frame, &recipients, limit, now) {
            c.drop(DropReason::MulticastFull);
        }
        self.recipients = recipients;
    }

    /// Asks for members again for frames that nobody has got.
    pub(super) fn gather(&mut self, c: &mut dyn Carrier, key: GroupKey, known: usize) {
        let Some(config) = self
            .networks
            .get(&key.network)
            .and_then(|n| n.config.as_ref())
        else {
            return;
        };
        let wanted = (config.multicast_limit as usize).saturating_sub(known) + 1;
        if self.listeners.gather(key, known > 0, c.now().mono) {
            self.ask_for_members(c, key, wanted);
        }
    }

    fn ask_for_members(&mut self, c: &mut dyn Carrier, key: GroupKey, wanted: usize) {
        let mut whom: heapless::Vec<Address, GATHER_FROM> = heapless::Vec::new();
        let _ = c.upstream(0).map(|a| whom.push(a));
        if let Some(config) = self
            .networks
            .get(&key.network)
            .and_then(|n| n.config.as_ref())
        {
            for anchor in config.anchors().chain(key.network.controller()) {
                if anchor != self.me && !whom.contains(&anchor) {
                    let _ = whom.push(anchor);
                }
            }
        }
        for to in whom {
            let mut packet = [0; HEADER_LEN + 23];
            packet[VERB_AT] = Verb::MulticastGather as u8;
            let mut writer = Writer::new(&mut packet[HEADER_LEN..]);
            let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
            if wire::write_gather(&mut writer, key.network, key.group, wanted).is_ok() {
                c.send(to, &mut packet, false);
            }
        }
    }

    /// One sealed copy to one recipient, if the rules let it.
    fn send_multicast(
        &mut self,
        c: &mut dyn Carrier,
        key: GroupKey,
        frame: &[u8],
        to: Address,
        wanted: usize,
    ) {
        let Some(network) = self.networks.get_mut(&key.network) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        let compress = config.flags & FLAG_UNCOMPRESSED == 0;
        let Ok((ethernet, payload)) = Ethernet::parse(frame) else {
            return;
        };
        let subject = Subject {
            inbound: false,
            source: self.me,
            destination: Some(to),
            from: ethernet.from,
            to: ethernet.to,
            ethertype: ethernet.ethertype,
            payload,
        };
        if !network.passes(c, &subject) {
            return network.drop_in(c, DropReason::RulesOut);
        }
        let message = MulticastFrame {
            network: key.network,
            flags: 0,
            com: None,
            gather_limit: u32::try_from(wanted).unwrap_or(u32::MAX),
            from: None,
            group: key.group,
            ethertype: ethernet.ethertype,
            payload,
        };
        let Some(room) = self.scratch.get_mut(HEADER_LEN..) else {
            return;
        };
        let mut writer = Writer::new(room);
        if message.write(&mut writer).is_err() {
            return c.drop(DropReason::BadFrame);
        }
        let end = HEADER_LEN + writer.len();
        if let Some(packet) = self.scratch.get_mut(..end) {
            packet[VERB_AT] = Verb::MulticastFrame as u8;
            c.send(to, packet, compress);
        }
    }

    /// `member` listens to a group: it gets the frames that wait for somebody like it.
    fn listener(&mut self, c: &mut dyn Carrier, key: GroupKey, member: Address) {
        if member == self.me {
            return;
        }
        self.listeners.add(key, member, c.now().mono);
        while let Some(mut waiting) = self.waiting.take(key, member) {
            waiting.sent.push(member);
            self.send_multicast(c, key, &waiting.frame, member, 1);
            self.waiting.put_back(waiting);
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
            Verb::NetworkConfigRequest => {
                self.config_request_in(c, from, id, packet);
                Ok(false)
            }
            // Credentials and configurations belong to networks with a controller.
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

    /// The gate before everything that members do; refused with ERROR 6.
    fn gate(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        from: Address,
        refuse: Option<(Verb, PacketId)>,
    ) -> bool {
        let Some(network) = self.networks.get_mut(&id) else {
            c.drop(DropReason::UnknownNetwork);
            return false;
        };
        if network.config.is_none() {
            network.drop_out(c, DropReason::NoConfig);
            return false;
        }
        if !network.admits(from) {
            network.drop_out(c, DropReason::NotMember);
            if let Some((verb, packet)) = refuse {
                let code = ErrorCode::NeedMembershipCertificate;
                error(c, from, verb, packet, code, id);
            }
            return false;
        }
        self.met(c, id, from);
        true
    }

    fn frame_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, crate::wire::Malformed> {
        let frame = Frame::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let nwid = frame.network;
        if !self.gate(c, nwid, from, Some((Verb::Frame, id))) {
            return Ok(false);
        }
        let Some(network) = self.networks.get_mut(&nwid) else {
            return Ok(false);
        };
        if frame.payload.is_empty() {
            return Ok(true);
        }
        let ethernet = Ethernet {
            to: network.mac,
            from: derive::mac(nwid, from),
            ethertype: frame.ethertype,
        };
        let subject = Subject {
            inbound: true,
            source: from,
            destination: Some(self.me),
            from: ethernet.from,
            to: ethernet.to,
            ethertype: frame.ethertype,
            payload: frame.payload,
        };
        if !network.passes(c, &subject) {
            network.drop_out(c, DropReason::RulesIn);
            return Ok(true);
        }
        let payload_at = packet.len().saturating_sub(frame.payload.len());
        let range = ethernet_in_place(packet, payload_at, ethernet)?;
        if let Some(ethernet) = packet.get(range) {
            network.deliver(c, ethernet);
        }
        Ok(true)
    }

    fn ext_frame_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, crate::wire::Malformed> {
        let frame = ExtFrame::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let nwid = frame.network;
        if !self.gate(c, nwid, from, Some((Verb::ExtFrame, id))) {
            return Ok(false);
        }
        let me = self.me;
        let Some(network) = self.networks.get_mut(&nwid) else {
            return Ok(false);
        };
        let ethernet = frame.ethernet;
        if !frame.payload.is_empty() {
            if ethernet.from.is_zero() || ethernet.from == network.mac {
                network.drop_out(c, DropReason::BadMac);
                return Ok(true);
            }
            let subject = Subject {
                inbound: true,
                source: from,
                destination: Some(me),
                from: ethernet.from,
                to: ethernet.to,
                ethertype: ethernet.ethertype,
                payload: frame.payload,
            };
            let decision = network.judge(c, &subject).filter(|d| d.pass);
            let multicast = network
                .config
                .as_ref()
                .is_some_and(|c| c.multicast_limit > 0);
            let fits = ethernet.from == derive::mac(nwid, from)
                && (ethernet.to == network.mac || (ethernet.to.is_multicast() && multicast));
            match decision {
                Some(decision) if decision.sup || fits => {
                    deliver_ext(network, c, packet, frame.payload.len());
                }
                Some(_) => {
                    network.drop_out(c, DropReason::BadMac);
                    return Ok(true);
                }
                None => network.drop_out(c, DropReason::RulesIn),
            }
        }
        if frame.flags & EXT_ACK != 0 {
            let mut reply = [0; HEADER_LEN + 17];
            reply[VERB_AT] = Verb::Ok as u8;
            let mut writer = Writer::new(&mut reply[HEADER_LEN..]);
            control::write_ok_head(&mut writer, Verb::ExtFrame, id)?;
            writer.network_id(nwid)?;
            c.send(from, &mut reply, false);
        }
        Ok(true)
    }

    fn multicast_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, crate::wire::Malformed> {
        let message = MulticastFrame::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let (nwid, group, wanted) = (message.network, message.group, message.gather_limit);
        if !self.gate(c, nwid, from, Some((Verb::MulticastFrame, id))) {
            return Ok(false);
        }
        let me = self.me;
        let Some(network) = self.networks.get_mut(&nwid) else {
            return Ok(false);
        };
        if network
            .config
            .as_ref()
            .is_none_or(|c| c.multicast_limit == 0)
        {
            network.drop_out(c, DropReason::MulticastOff);
            return Ok(true);
        }
        let source = message.from.unwrap_or_else(|| derive::mac(nwid, from));
        let len = message.payload.len();
        if (1..=MTU_MAX).contains(&len) {
            let fits = group.mac.is_multicast()
                && !source.is_zero()
                && !source.is_multicast()
                && source != network.mac;
            if !fits {
                network.drop_out(c, DropReason::BadMac);
                return Ok(true);
            }
            let subject = Subject {
                inbound: true,
                source: from,
                destination: Some(me),
                from: source,
                to: group.mac,
                ethertype: message.ethertype,
                payload: message.payload,
            };
            if source != derive::mac(nwid, from) {
                // Bridges need a controller.
                network.drop_out(c, DropReason::BadMac);
            } else if network.passes(c, &subject) {
                let ethernet = Ethernet {
                    to: group.mac,
                    from: source,
                    ethertype: message.ethertype,
                };
                let payload_at = packet.len().saturating_sub(len);
                let range = ethernet_in_place(packet, payload_at, ethernet)?;
                if let Some(ethernet) = packet.get(range) {
                    network.deliver(c, ethernet);
                }
            } else {
                network.drop_out(c, DropReason::RulesIn);
            }
        } else {
            network.drop_out(c, DropReason::BadFrame);
        }
        if wanted > 0 {
            self.tell_members(
                c,
                from,
                Verb::MulticastFrame,
                id,
                GroupKey {
                    network: nwid,
                    group,
                },
                wanted,
            )?;
        }
        Ok(true)
    }

    fn like_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        packet: &mut [u8],
    ) -> Result<bool, crate::wire::Malformed> {
        let mut member = false;
        let mut judged: Option<(NetworkId, bool)> = None;
        for (network, group) in wire::likes(packet.get(HEADER_LEN..).unwrap_or_default())? {
            let passes = match judged {
                Some((id, passes)) if id == network => passes,
                _ => {
                    let joined = self.networks.get(&network).is_some();
                    let passes = joined && self.gate(c, network, from, None);
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

    fn gather_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) -> Result<bool, crate::wire::Malformed> {
        let gather = Gather::parse(packet.get(HEADER_LEN..).unwrap_or_default())?;
        let joined = self.networks.get(&gather.network).is_some();
        let member = joined && self.gate(c, gather.network, from, None);
        if gather.limit > 0 && (member || c.am_upstream()) {
            let key = GroupKey {
                network: gather.network,
                group: gather.group,
            };
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
    ) -> Result<(), crate::wire::Malformed> {
        let now = c.now().mono;
        let listening = self
            .networks
            .get(&key.network)
            .is_some_and(|n| n.groups.binary_search(&key.group).is_ok());
        self.recipients.clear();
        self.recipients
            .extend(self.listeners.of(key, now).filter(|a| *a != to));
        let mut members = core::mem::take(&mut self.recipients);
        shuffle(c.rng(), &mut members);
        if listening {
            members.insert(0, self.me);
        }
        let known = self.listeners.of(key, now).count() + usize::from(listening);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // One datagram: the asker may be old.
        let mut reply = [0; 1400];
        reply[VERB_AT] = Verb::Ok as u8;
        let mut writer = Writer::new(&mut reply[HEADER_LEN..]);
        control::write_ok_head(&mut writer, verb, id)?;
        wire::write_answer_head(&mut writer, key.network, key.group)?;
        if verb == Verb::MulticastFrame {
            writer.u8(MulticastFrame::GATHER)?;
        }
        let total = u32::try_from(known).unwrap_or(u32::MAX);
        let told = wire::write_result(&mut writer, total, members.iter().copied().take(limit))?;
        self.recipients = members;
        let end = HEADER_LEN + writer.len();
        if told > 0
            && let Some(reply) = reply.get_mut(..end)
        {
            c.send(to, reply, false);
        }
        Ok(())
    }

    /// We are no controller.
    fn config_request_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        packet: &mut [u8],
    ) {
        let payload = packet.get(HEADER_LEN..).unwrap_or_default();
        match crate::wire::cursor::Reader::new(payload).network_id() {
            Ok(network) => {
                let code = ErrorCode::UnsupportedOperation;
                error(c, from, Verb::NetworkConfigRequest, id, code, network);
            }
            Err(_) => c.drop(DropReason::Malformed),
        }
    }

    /// OK to a request of ours.
    pub(crate) fn inbound_ok(
        &mut self,
        c: &mut dyn Carrier,
        _from: Address,
        in_re: Verb,
        _id: PacketId,
        body: &[u8],
    ) {
        let parsed = match in_re {
            Verb::MulticastGather => {
                wire::parse_ok_gather(body).map(|(network, group, r)| (network, group, Some(r)))
            }
            Verb::MulticastFrame => wire::parse_ok_frame(body),
            _ => return c.drop(DropReason::Ignored),
        };
        match parsed {
            Ok((network, group, Some(result))) => {
                if self.networks.get(&network).is_none() {
                    return c.drop(DropReason::UnknownNetwork);
                }
                for member in result.members() {
                    self.listener(c, GroupKey { network, group }, member);
                }
            }
            Ok((_, _, None)) => {}
            Err(_) => c.drop(DropReason::Malformed),
        }
    }

    /// ERROR to a packet of ours.
    pub(crate) fn inbound_error(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        _in_re: Verb,
        code: u8,
        body: &[u8],
    ) {
        let mut reader = crate::wire::cursor::Reader::new(body);
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

/// In an EXT_FRAME the Ethernet header lies before the payload already.
fn deliver_ext(network: &mut Network, c: &mut dyn Carrier, packet: &[u8], payload: usize) {
    let start = packet.len().saturating_sub(payload + ETHERNET_LEN);
    if let Some(ethernet) = packet.get(start..) {
        network.deliver(c, ethernet);
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
    packet[VERB_AT] = Verb::Error as u8;
    let mut writer = Writer::new(&mut packet[HEADER_LEN..]);
    let written = control::write_error_head(&mut writer, verb, id, code)
        .and_then(|()| writer.network_id(network));
    if written.is_ok() {
        c.send(to, &mut packet, false);
    }
}
