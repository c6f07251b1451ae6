//! Credentials of others: verified, filed, taken back (network 3).
//!
//! Everything is filed under the member that it names, whoever brings it, and only what the
//! network's controller signed. What is equal to what is on file costs no check of a signature.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::config::Config;
use super::member::{Agreement, File, Filed, Member};
use super::refusal::Refusal;
use super::{Carrier, Network, Networks};
use crate::base::gate::Bucket;
use crate::base::{Address, Mono, NetworkId, Table};
use crate::crypto::sign;
use crate::node::io::DropReason;
use crate::wire::Malformed;
use crate::wire::credential::{
    self, Bundle, Capability, Com, Credential, Credentials, Ownership, Records, Revocation, Tag,
};
use crate::wire::cursor::{Reader, Writer};
use crate::wire::packet::{HEADER_LEN, VERB_AT};
use crate::wire::verb::Verb;

/// Packets of credentials taken from one peer at once, and how often one more, ms. Differs from
/// 1.14.1, which takes one per second: a certificate for a second network, or a revocation behind
/// a certificate, would be lost. What is equal costs nothing, checks of signatures are counted.
const GATE: (u32, u32) = (2, 1_000);
/// A revocation is passed on to so many members.
const FORWARD_MAX: usize = 64;
/// Certificates of ownership of one member.
const OWNERSHIPS_MAX: usize = 4;
/// Room for what is signed of a credential: a capability of 64 rules is the longest.
const SIGNED_MAX: usize = 2_048;
/// Binary certificate without signature: eight qualifiers at most.
const COM_MAX: usize = 8 + 8 * 24;

/// What filing a credential came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filing {
    New,
    Redundant,
}

/// From when on credentials count: those issued before were revoked (network 3.4).
///
/// Cap: `Limits::revocations`. Only controllers of our networks fill it; of a full table the
/// oldest threshold goes, which no certificate of today reaches.
pub(crate) struct Revocations {
    table: Table<(NetworkId, (Address, u64)), u64>,
}

/// Kind and number of a credential in one number.
fn thing(kind: u8, id: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(id)
}

impl Revocations {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: Table::new(cap, seed),
        }
    }

    pub(crate) fn threshold(&self, network: NetworkId, of: Address, kind: u8, id: u32) -> u64 {
        let key = (network, (of, thing(kind, id)));
        self.table.get(&key).copied().unwrap_or(0)
    }

    /// `false`: nothing new.
    pub(super) fn raise(
        &mut self,
        network: NetworkId,
        of: Address,
        kind: u8,
        id: u32,
        to: u64,
    ) -> bool {
        let key = (network, (of, thing(kind, id)));
        if let Some(threshold) = self.table.get_mut(&key) {
            let raised = *threshold < to;
            *threshold = to.max(*threshold);
            return raised;
        }
        if self.table.is_full() {
            let oldest = self.table.iter().min_by_key(|(_, threshold)| **threshold);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.table.remove(&oldest);
            }
        }
        self.table.insert(key, to).is_ok()
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.table.retain(|key, _| key.0 != network);
    }
}

/// Who has shown us credentials lately.
///
/// Cap: `Limits::refusals`; anybody fills it; the longest silent goes.
pub(crate) struct Shown {
    table: Table<Address, (Bucket, Mono)>,
}

impl Shown {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: Table::new(cap, seed),
        }
    }

    fn pass(&mut self, from: Address, now: Mono) -> bool {
        if let Some((gate, last)) = self.table.get_mut(&from) {
            *last = now;
            return gate.pass(now);
        }
        if self.table.is_full() {
            let oldest = self.table.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(from, _)| *from) {
                self.table.remove(&oldest);
            }
        }
        let mut gate = Bucket::new(GATE.0, GATE.1);
        gate.pass(now) && self.table.insert(from, (gate, now)).is_ok()
    }
}

/// A credential beside the certificate, before it is checked.
struct Paper<'a, T> {
    network: NetworkId,
    holder: Address,
    signer: Address,
    signature: Option<&'a [u8; 96]>,
    /// As revocations name it.
    kind: u8,
    /// So many of this kind are kept of one member.
    most: usize,
    filed: Filed<T>,
}

/// Does a member that shows `com` take part (network 3.1)? Worked out once per certificate of
/// either side.
pub(super) fn agrees(
    c: &dyn Carrier,
    config: &Config,
    address: Address,
    member: &mut Member,
) -> bool {
    if member.agreement == Agreement::Open {
        let own = Com::read(&mut Reader::new(&config.papers.com));
        let agreement = match (own, member.com(), c.identity(address)) {
            (Ok(own), Some(com), Some(identity)) => {
                own.agrees_with(&com, &sign::fingerprint(&identity))
            }
            // Without an identity we cannot know yet.
            (Ok(_), Some(_), None) => return false,
            _ => false,
        };
        member.agreement = if agreement {
            Agreement::Yes
        } else {
            Agreement::No
        };
    }
    member.agreement == Agreement::Yes
}

impl Networks {
    /// NETWORK_CREDENTIALS (wire 9.11).
    pub(super) fn credentials_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        payload: &[u8],
    ) -> Result<bool, Malformed> {
        if !self.shown.pass(from, c.now().mono) {
            c.drop(DropReason::CredentialsGate);
            return Ok(false);
        }
        let mut proved = false;
        for credential in Credentials::new(payload) {
            let credential = credential?;
            let (network, filed) = match &credential {
                Credential::Com(com) => (com.network(), self.file_com(c, com)),
                Credential::Tag(tag) => (Some(tag.network), self.file_tag(c, tag)),
                Credential::Capability(capability) => (
                    Some(capability.network),
                    self.file_capability(c, from, capability),
                ),
                Credential::Ownership(ownership) => {
                    (Some(ownership.network), self.file_ownership(c, ownership))
                }
                Credential::Revocation(revocation) => (
                    Some(revocation.network),
                    self.file_revocation(c, from, revocation),
                ),
            };
            match (filed, network) {
                (Ok(_), Some(_)) => proved |= matches!(credential, Credential::Com(_)),
                (Err(why), Some(network)) => self.refuse(c, network, why),
                (_, None) => c.drop(DropReason::Refused),
            }
        }
        Ok(proved)
    }

    /// The controller's signature over `parts`, if there is time to look.
    fn check(
        &mut self,
        c: &mut dyn Carrier,
        network: NetworkId,
        signer: Address,
        message: &[u8],
        signature: Option<&[u8; 96]>,
    ) -> Result<(), Refusal> {
        let controller = network.controller().ok_or(Refusal::OtherNetwork)?;
        if signer != controller {
            return Err(Refusal::Signature);
        }
        let signature = signature.ok_or(Refusal::Unsigned)?;
        if !self.checks.pass(c.now().mono) {
            return Err(Refusal::Busy);
        }
        self.check_authority(c, network, controller, message, signature)
    }

    /// The signature of a network's controller, however often that is asked for.
    pub(super) fn check_authority(
        &mut self,
        c: &mut dyn Carrier,
        network: NetworkId,
        controller: Address,
        message: &[u8],
        signature: &[u8; 96],
    ) -> Result<(), Refusal> {
        let known = self.networks.get(&network).and_then(|n| n.authority);
        let Some(identity) = known.or_else(|| c.identity(controller)) else {
            c.seek(controller);
            return Err(Refusal::UnknownController);
        };
        sign::verify(&identity.public, &[message], signature).map_err(|_| Refusal::Signature)?;
        if let Some(network) = self.networks.get_mut(&network) {
            network.authority = Some(identity);
        }
        Ok(())
    }

    /// The membership table of a network that has a configuration.
    fn joined(&mut self, id: NetworkId) -> Result<&mut Network, Refusal> {
        self.networks
            .get_mut(&id)
            .filter(|n| n.config.is_some())
            .ok_or(Refusal::OtherNetwork)
    }

    /// A certificate of membership, alone or attached to a packet.
    pub(super) fn file_com(
        &mut self,
        c: &mut dyn Carrier,
        com: &Com<'_>,
    ) -> Result<Filing, Refusal> {
        let fields = (com.network(), com.issued_to(), com.timestamp());
        let (Some(id), Some(holder), Some(timestamp)) = fields else {
            return Err(Refusal::Form);
        };
        if holder == self.me {
            return Ok(Filing::Redundant);
        }
        if timestamp <= self.revocations.threshold(id, holder, Revocation::COM, 0) {
            return Err(Refusal::Revoked);
        }
        let network = self.joined(id)?;
        let held = network.members.get(holder).and_then(Member::com);
        if let Some(held) = held {
            if held.signed_message() == com.signed_message() {
                return Ok(Filing::Redundant);
            }
            if held.timestamp().is_some_and(|t| t > timestamp) {
                return Err(Refusal::Older);
            }
        }
        let (signer, signature) = com.signed.ok_or(Refusal::Unsigned)?;
        self.check(c, id, signer, com.signed_message(), Some(signature))?;
        let mut room = [0; COM_MAX];
        let mut writer = Writer::new(&mut room);
        let fields: heapless::Vec<_, 8> = com.qualifiers().collect();
        credential::write_com(&mut writer, &fields, None).map_err(|_| Refusal::Form)?;
        let now = c.now().mono;
        if let Some(member) = self.joined(id)?.members.entry(holder, now) {
            let bytes = writer.written();
            match &mut member.com {
                // The usual case: a new one of the same length once per minute.
                Some(old) if old.len() == bytes.len() => old.copy_from_slice(bytes),
                old => *old = Some(bytes.into()),
            }
            member.agreement = Agreement::Open;
        }
        self.release(c, id, holder);
        Ok(Filing::New)
    }

    fn file_tag(&mut self, c: &mut dyn Carrier, tag: &Tag<'_>) -> Result<Filing, Refusal> {
        let paper = Paper {
            network: tag.network,
            holder: tag.issued_to,
            signer: tag.signer,
            signature: tag.signature,
            kind: Revocation::TAG,
            most: self.limits.peer_tags,
            filed: Filed {
                id: tag.id,
                timestamp: tag.timestamp,
                what: tag.value,
            },
        };
        let message = |room: &mut [u8]| tag.signed_message(room);
        self.file(c, paper, |file| &mut file.tags, message)
    }

    /// Differs from 1.14.1: one link, and the one whom it names brings it. The address in it is
    /// not signed (network 3.6).
    fn file_capability(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        capability: &Capability<'_>,
    ) -> Result<Filing, Refusal> {
        let mut links = capability.links();
        let (Some(link), None) = (links.next(), links.next()) else {
            return Err(Refusal::Form);
        };
        if link.to != from {
            return Err(Refusal::Form);
        }
        let mut room = [0; SIGNED_MAX];
        let mut writer = Writer::new(&mut room);
        let rules = capability.rules;
        rules.write(&mut writer).map_err(|_| Refusal::Form)?;
        let paper = Paper {
            network: capability.network,
            holder: from,
            signer: link.from,
            signature: link.signature,
            kind: Revocation::CAPABILITY,
            most: self.limits.peer_capabilities,
            filed: Filed {
                id: capability.id,
                timestamp: capability.timestamp,
                what: Box::from(writer.written()),
            },
        };
        let message = |room: &mut [u8]| capability.signed_message(room);
        self.file(c, paper, |file| &mut file.capabilities, message)
    }

    fn file_ownership(
        &mut self,
        c: &mut dyn Carrier,
        ownership: &Ownership<'_>,
    ) -> Result<Filing, Refusal> {
        let things = ownership.things().map(|t| (t.kind, t.value));
        let paper = Paper {
            network: ownership.network,
            holder: ownership.issued_to,
            signer: ownership.signer,
            signature: ownership.signature,
            kind: Revocation::OWNERSHIP,
            most: OWNERSHIPS_MAX,
            filed: Filed {
                id: ownership.id,
                timestamp: ownership.timestamp,
                what: things.collect::<Vec<_>>(),
            },
        };
        let message = |room: &mut [u8]| ownership.signed_message(room);
        self.file(c, paper, |file| &mut file.ownerships, message)
    }

    /// What is said by one kind of credential is checked and filed under its holder.
    fn file<T: PartialEq>(
        &mut self,
        c: &mut dyn Carrier,
        paper: Paper<'_, T>,
        list: fn(&mut File) -> &mut Vec<Filed<T>>,
        message: impl FnOnce(&mut [u8]) -> Result<usize, Malformed>,
    ) -> Result<Filing, Refusal> {
        let Paper {
            network: id,
            holder,
            signer,
            signature,
            kind,
            most,
            filed,
        } = paper;
        if filed.timestamp <= self.revocations.threshold(id, holder, kind, filed.id) {
            return Err(Refusal::Revoked);
        }
        let member = self.joined(id)?.members.get_mut(holder);
        if let Some(file) = member.and_then(|m| m.file.as_mut())
            && place(list(file), &filed, most)?
        {
            return Ok(Filing::Redundant);
        }
        let mut room = [0; SIGNED_MAX];
        let len = message(&mut room).map_err(|_| Refusal::Form)?;
        let message = room.get(..len).unwrap_or_default();
        self.check(c, id, signer, message, signature)?;
        let now = c.now().mono;
        let Network {
            members, config, ..
        } = self.joined(id)?;
        if let (Some(member), Some(config)) = (members.entry(holder, now), config) {
            replace(list(member.file.get_or_insert_default()), filed);
            member.weigh(config.timestamp, config.window_ms);
        }
        Ok(Filing::New)
    }

    /// Differs from 1.14.1, where revoking a tag moves the threshold of the certificate too
    /// (network 8, 7).
    fn file_revocation(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        revocation: &Revocation<'_>,
    ) -> Result<Filing, Refusal> {
        let Revocation {
            network: id,
            target,
            kind,
            credential_id,
            threshold,
            ..
        } = *revocation;
        if !(Revocation::COM..=Revocation::OWNERSHIP).contains(&kind) {
            return Err(Refusal::Form);
        }
        let credential_id = if kind == Revocation::COM {
            0
        } else {
            credential_id
        };
        self.joined(id)?;
        if self.revocations.threshold(id, target, kind, credential_id) >= threshold {
            return Ok(Filing::Redundant);
        }
        let mut room = [0; 256];
        let len = revocation
            .signed_message(&mut room)
            .map_err(|_| Refusal::Form)?;
        let message = room.get(..len).unwrap_or_default();
        self.check(c, id, revocation.signer, message, revocation.signature)?;
        self.revocations
            .raise(id, target, kind, credential_id, threshold);
        let network = self.joined(id)?;
        let Network {
            members, config, ..
        } = network;
        if let (Some(member), Some(config)) = (members.get_mut(target), config) {
            if kind == Revocation::COM {
                let stale = |com: Com<'_>| com.timestamp().is_none_or(|t| t <= threshold);
                if member.com().is_some_and(stale) {
                    member.com = None;
                    member.agreement = Agreement::No;
                }
            } else if let Some(file) = &mut member.file {
                let counts = |id: u32, at: u64| id != credential_id || at > threshold;
                match kind {
                    Revocation::CAPABILITY => {
                        file.capabilities.retain(|f| counts(f.id, f.timestamp));
                    }
                    Revocation::TAG => file.tags.retain(|f| counts(f.id, f.timestamp)),
                    _ => file.ownerships.retain(|f| counts(f.id, f.timestamp)),
                }
                member.weigh(config.timestamp, config.window_ms);
            }
        }
        if revocation.flags & Revocation::FAST != 0 {
            self.forward(c, from, revocation);
        }
        Ok(Filing::New)
    }

    /// Tells members of a revocation, those heard last first. Each node does so once, which ends
    /// the flood.
    fn forward(&mut self, c: &mut dyn Carrier, from: Address, revocation: &Revocation<'_>) {
        let mut record = [0; Revocation::LEN + 64];
        let mut writer = Writer::new(&mut record);
        if revocation.write(&mut writer).is_err() {
            return;
        }
        let bundle = Bundle {
            revocations: Records {
                count: 1,
                bytes: writer.written(),
            },
            ..Bundle::default()
        };
        let mut others: Vec<(Mono, Address)> = self
            .networks
            .get(&revocation.network)
            .into_iter()
            .flat_map(|n| n.members.iter())
            .map(|(a, m)| (m.heard, a))
            .filter(|(_, a)| *a != from && *a != revocation.signer && *a != self.me)
            .collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        others.truncate(FORWARD_MAX);
        for (_, to) in others {
            let mut packet = [0; HEADER_LEN + Revocation::LEN + 80];
            packet[VERB_AT] = Verb::NetworkCredentials as u8;
            let mut writer = Writer::new(&mut packet[HEADER_LEN..]);
            if bundle.write(&mut writer).is_err() {
                return;
            }
            let end = HEADER_LEN + writer.len();
            if let Some(packet) = packet.get_mut(..end) {
                c.send(to, packet, true);
            }
        }
    }

    /// What waited for the certificate of a member goes on, if that is an agreeing one: the gate
    /// would only put it back.
    fn release(&mut self, c: &mut dyn Carrier, id: NetworkId, member: Address) {
        if !self
            .networks
            .get_mut(&id)
            .is_some_and(|n| n.admits(c, member))
        {
            return;
        }
        let now = c.now().mono;
        if let Some(mut pending) = self.pendings.take(id, member, now) {
            let (verb, packet) = (pending.verb, pending.id);
            self.inbound(c, member, verb, packet, &mut pending.packet);
            self.pendings.give_back(pending);
        }
    }
}

/// May a credential be filed? `true`: it is there already.
fn place<T: PartialEq>(known: &[Filed<T>], new: &Filed<T>, most: usize) -> Result<bool, Refusal> {
    match known.iter().find(|f| f.id == new.id) {
        Some(held) if held.timestamp > new.timestamp => Err(Refusal::Older),
        Some(held) => Ok(held == new),
        None if known.len() >= most => Err(Refusal::TooMany("credentials")),
        None => Ok(false),
    }
}

fn replace<T>(list: &mut Vec<Filed<T>>, new: Filed<T>) {
    match list.iter_mut().find(|f| f.id == new.id) {
        Some(old) => *old = new,
        None => list.push(new),
    }
}
