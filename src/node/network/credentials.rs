//! Credentials of others: verified, filed, taken back (network 3).
//!
//! Everything is filed under the member that it names, whoever brings it, and only what the
//! network's controller signed. What is equal to what is on file costs no check of a signature.

use alloc::vec::Vec;

use super::config::Config;
use super::member::{Agreement, Filed, Member};
use super::refusal::{Field, Refusal};
use super::{Carrier, Network, Networks};
use crate::base::gate::Bucket;
use crate::base::{Address, Mono, NetworkId, Table};
use crate::crypto::sign;
use crate::node::io::DropReason;
use crate::wire::Malformed;
use crate::wire::credential::{
    Bundle, Com, Credential, Credentials, Link, Paper, Records, Revocation,
};
use crate::wire::cursor::{Reader, Writer};
use crate::wire::packet::{self, HEADER_LEN};
use crate::wire::verb::Verb;

/// Packets of credentials taken from one peer at once, and how often one more, ms. Differs from
/// 1.14.1, which takes one per second: a certificate for a second network, or a revocation behind
/// a certificate, would be lost. What is equal costs nothing, checks of signatures are counted.
const GATE: (u32, u32) = (2, 1_000);
/// A revocation is passed on to so many members.
const FORWARD_MAX: usize = 64;
/// Certificates of ownership of one member.
const OWNERSHIPS_MAX: usize = 4;
/// Room for the rules of what is signed: a capability has 64 at most.
const SIGNED_MAX: usize = 2_048;
/// Binary certificate without signature: eight qualifiers at most.
const COM_MAX: usize = 8 + 8 * 24;

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
            self.table.remove_least(|threshold| Some(*threshold));
        }
        self.table.insert(key, to).is_some()
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.table.forget(network.get());
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
        self.table.make_room(|(_, last)| *last);
        let mut gate = Bucket::new(GATE.0, GATE.1);
        gate.pass(now) && self.table.insert(from, (gate, now)).is_some()
    }
}

fn is(paper: &Paper<'_>, filed: &Filed) -> bool {
    filed.kind == paper.kind && filed.id == paper.id
}

/// May it be filed? `true`: it is there already. `what`: its rules or things; `most`: so many of
/// its kind are kept of one member.
fn place(paper: &Paper<'_>, what: &[u8], known: &[Filed], most: usize) -> Result<bool, Refusal> {
    match known.iter().find(|f| is(paper, f)) {
        Some(held) if held.timestamp > paper.timestamp => Err(Refusal::Older),
        Some(held) => {
            let same = (held.timestamp, held.value) == (paper.timestamp, paper.value);
            Ok(same && *held.what == *what)
        }
        None if known.iter().filter(|f| f.kind == paper.kind).count() >= most => {
            Err(Refusal::TooMany(Field::Credentials))
        }
        None => Ok(false),
    }
}

fn put(paper: &Paper<'_>, what: &[u8], list: &mut Vec<Filed>) {
    let new = Filed {
        kind: paper.kind,
        id: paper.id,
        timestamp: paper.timestamp,
        value: paper.value,
        what: what.into(),
    };
    match list.iter_mut().find(|f| is(paper, f)) {
        Some(old) => *old = new,
        None => list.push(new),
    }
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
        if !self.shown.pass(from, c.mono()) {
            c.drop(DropReason::CredentialsGate);
            return Ok(false);
        }
        let mut proved = false;
        for credential in Credentials::new(payload) {
            let credential = credential?;
            let Some(network) = credential.network() else {
                c.drop(DropReason::Refused);
                continue;
            };
            let filed = match &credential {
                Credential::Com(com) => self.file_com(c, com).map(|()| proved = true),
                Credential::Paper(paper) => self.file(c, from, paper),
            };
            if let Err(why) = filed {
                self.refuse(c, network, why);
            }
        }
        Ok(proved)
    }

    /// The controller's signature over the parts of a message, if there is time to look.
    fn check(
        &mut self,
        c: &mut dyn Carrier,
        network: NetworkId,
        signer: Address,
        message: &[&[u8]],
        signature: Option<&[u8; 96]>,
    ) -> Result<(), Refusal> {
        let controller = network.controller().ok_or(Refusal::OtherNetwork)?;
        if signer != controller {
            return Err(Refusal::Signature);
        }
        let signature = signature.ok_or(Refusal::Unsigned)?;
        if !self.checks.pass(c.mono()) {
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
        message: &[&[u8]],
        signature: &[u8; 96],
    ) -> Result<(), Refusal> {
        let known = self.networks.get(&network).and_then(|n| n.authority);
        let Some(identity) = known.or_else(|| c.identity(controller)) else {
            c.seek(controller);
            return Err(Refusal::UnknownController);
        };
        sign::verify(&identity.public, message, signature).map_err(|_| Refusal::Signature)?;
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
    pub(super) fn file_com(&mut self, c: &mut dyn Carrier, com: &Com<'_>) -> Result<(), Refusal> {
        let fields = (com.network(), com.issued_to(), com.timestamp());
        let (Some(id), Some(holder), Some(timestamp)) = fields else {
            return Err(Refusal::Form);
        };
        if holder == self.me {
            return Ok(());
        }
        if timestamp <= self.revocations.threshold(id, holder, Revocation::COM, 0) {
            return Err(Refusal::Revoked);
        }
        let network = self.joined(id)?;
        let held = network.members.get(holder).and_then(Member::com);
        if let Some(held) = held {
            if held.signed_message() == com.signed_message() {
                return Ok(());
            }
            if held.timestamp().is_some_and(|t| t > timestamp) {
                return Err(Refusal::Older);
            }
        }
        let (signer, signature) = com.signed.ok_or(Refusal::Unsigned)?;
        self.check(c, id, signer, &[com.signed_message()], Some(signature))?;
        let mut room = [0; COM_MAX];
        let mut writer = Writer::new(&mut room);
        com.write_unsigned(&mut writer).map_err(|_| Refusal::Form)?;
        let now = c.mono();
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
        Ok(())
    }

    /// What a credential says is checked, and filed under its holder or carried out. By itself: it
    /// takes two kilobytes of stack, which are not for every packet.
    ///
    /// Differs from 1.14.1: a capability has one link, and the one whom it names brings it. The
    /// address in it is not signed (network 3.6).
    #[inline(never)]
    fn file(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        paper: &Paper<'_>,
    ) -> Result<(), Refusal> {
        let link = paper.only_link().ok_or(Refusal::Form)?;
        let (id, holder) = (paper.network, link.to);
        let mut room = [0; SIGNED_MAX];
        let mut rules = Writer::new(&mut room);
        let mut what = paper.things;
        let most = match paper.kind {
            _ if paper.revokes => 0,
            Revocation::TAG => self.limits.peer_tags,
            Revocation::CAPABILITY => {
                if holder != from || paper.rules.write(&mut rules).is_err() {
                    return Err(Refusal::Form);
                }
                what = rules.written();
                self.limits.peer_capabilities
            }
            _ => OWNERSHIPS_MAX,
        };
        let thing = match paper.kind {
            Revocation::COM => 0,
            Revocation::CAPABILITY..=Revocation::OWNERSHIP => paper.id,
            _ => return Err(Refusal::Form),
        };
        let revoked = self.revocations.threshold(id, holder, paper.kind, thing);
        let member = self.joined(id)?.members.get(holder);
        let known = if paper.revokes {
            revoked >= paper.timestamp
        } else if paper.timestamp <= revoked {
            return Err(Refusal::Revoked);
        } else if let Some(member) = member {
            place(paper, what, &member.file, most)?
        } else {
            false
        };
        if known {
            return Ok(());
        }
        self.check(c, id, link.from, &paper.signed(what), link.signature)?;
        if paper.revokes {
            self.revocations
                .raise(id, holder, paper.kind, thing, paper.timestamp);
            self.revoke(c, from, paper, &link);
            return Ok(());
        }
        let now = c.mono();
        let Network {
            members, config, ..
        } = self.joined(id)?;
        if let (Some(member), Some(config)) = (members.entry(holder, now), config) {
            put(paper, what, &mut member.file);
            member.weigh(config.timestamp, config.window_ms);
        }
        Ok(())
    }

    /// Differs from 1.14.1, where revoking a tag moves the threshold of the certificate too
    /// (network 8, 7).
    fn revoke(&mut self, c: &mut dyn Carrier, from: Address, paper: &Paper<'_>, link: &Link<'_>) {
        let (id, target, threshold) = (paper.network, link.to, paper.timestamp);
        if let Ok(Network {
            members,
            config: Some(config),
            ..
        }) = self.joined(id)
            && let Some(member) = members.get_mut(target)
        {
            if paper.kind == Revocation::COM {
                let stale = |com: Com<'_>| com.timestamp().is_none_or(|t| t <= threshold);
                if member.com().is_some_and(stale) {
                    member.com = None;
                    member.agreement = Agreement::No;
                }
            } else {
                let void = |f: &Filed| is(paper, f) && f.timestamp <= threshold;
                if let Some(at) = member.file.iter().position(void) {
                    member.file.swap_remove(at);
                }
                member.weigh(config.timestamp, config.window_ms);
            }
        }
        if paper.flags & Revocation::FAST != 0 {
            self.forward(c, [from, link.from, self.me], paper);
        }
    }

    /// Tells members of a revocation but for those `told`, those heard last first. Each node does so
    /// once, which ends the flood.
    fn forward(&mut self, c: &mut dyn Carrier, told: [Address; 3], paper: &Paper<'_>) {
        let mut record = [0; Revocation::LEN + 64];
        let mut writer = Writer::new(&mut record);
        if paper.write_revocation(&mut writer).is_err() {
            return;
        }
        let bundle = Bundle {
            revocations: Records {
                count: 1,
                bytes: writer.written(),
            },
            ..Bundle::default()
        };
        let Some(network) = self.networks.get(&paper.network) else {
            return;
        };
        let other = |a, _: &Member| !told.contains(&a);
        let others = network.members.heard_last(FORWARD_MAX, &other);
        for to in others {
            let mut packet = [0; HEADER_LEN + Revocation::LEN + 80];
            let mut writer = packet::begin(&mut packet, Verb::NetworkCredentials);
            let written = bundle.write(&mut writer);
            if let (Ok(()), Ok(packet)) = (written, writer.finish()) {
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
        let now = c.mono();
        if let Some(mut pending) = self.pendings.take(id, member, now) {
            let (verb, packet) = (pending.verb, pending.id);
            self.inbound(c, member, verb, packet, &mut pending.packet);
            self.pendings.give_back(pending);
        }
    }
}
