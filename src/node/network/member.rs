//! Members of a network that we have met, and who was refused (network 3.3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::rules::Thing;
use crate::base::{Address, Mono, NetworkId, Recent, Slot, Table, sorted};
use crate::wire::credential::{self, Com, Revocation};
use crate::wire::cursor::Reader;

/// Kept so long after the last frame, LIKE or gather of it.
const KEPT_MS: u64 = 3_600_000;
/// One ERROR 6 per member and network in this time.
const REFUSAL_MS: u64 = 1_000;

/// What a node may do and is shown to own: input of the rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Held {
    /// Tags: id, value.
    pub(crate) tags: Vec<(u32, u32)>,
    /// Capabilities by id: binary rules.
    pub(crate) capabilities: Vec<(u32, Box<[u8]>)>,
    /// Certified addresses.
    pub(crate) things: Vec<Thing>,
}

impl Held {
    /// A capability.
    pub(crate) fn allow(&mut self, id: u32, rules: Box<[u8]>) {
        sorted::insert_by_key(&mut self.capabilities, (id, rules), |c| c.0);
    }

    /// Things of a certificate of ownership.
    pub(crate) fn own(&mut self, things: &[u8]) {
        for thing in credential::Thing::all(things) {
            self.things.push((thing.kind, thing.value));
        }
    }

    pub(crate) const NOTHING: &Self = &Self {
        tags: Vec::new(),
        capabilities: Vec::new(),
        things: Vec::new(),
    };
}

/// A credential on file, beside the certificate.
///
/// Caps: `Limits::peer_tags`, `Limits::peer_capabilities`, four certificates of ownership. Only
/// what the controller signed is filed; what is beyond the cap is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filed {
    /// As revocations name it.
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) timestamp: u64,
    /// Of a tag.
    pub(crate) value: u32,
    /// Rules of a capability, or the things that are owned.
    pub(crate) what: Box<[u8]>,
}

/// Does our certificate agree with that of the member?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Agreement {
    /// Not looked at since one of them changed.
    Open,
    Yes,
    No,
}

pub(crate) struct Member {
    pub(crate) heard: Mono,
    /// Our groups were told to it.
    pub(crate) announced: Option<Mono>,
    /// Our credentials were shown to it.
    pub(crate) pushed: Option<Mono>,
    /// It is to be shown this packet of them as soon as it takes one.
    pub(crate) owed: Option<u8>,
    /// Behind which it is told our groups.
    pub(crate) groups_owed: bool,
    /// Its certificate of membership, verified, without signature.
    pub(crate) com: Option<Box<[u8]>>,
    pub(crate) agreement: Agreement,
    /// Verified credentials beside the certificate.
    pub(crate) file: Vec<Filed>,
    /// Those of them that are valid now.
    pub(crate) held: Option<Box<Held>>,
}

impl Member {
    fn new(now: Mono) -> Self {
        Self {
            heard: now,
            announced: None,
            pushed: None,
            owed: None,
            groups_owed: false,
            com: None,
            agreement: Agreement::No,
            file: Vec::new(),
            held: None,
        }
    }

    /// The certificate on file.
    pub(crate) fn com(&self) -> Option<Com<'_>> {
        Com::read(&mut Reader::new(self.com.as_deref()?)).ok()
    }

    /// Works out what is valid while a configuration of `timestamp` is in force (network 3.3).
    pub(crate) fn weigh(&mut self, timestamp: u64, window_ms: u64) {
        if self.file.is_empty() {
            self.held = None;
            return;
        }
        let held = self.held.get_or_insert_default();
        held.tags.clear();
        held.things.clear();
        held.capabilities.clear();
        for filed in &self.file {
            if filed.timestamp.abs_diff(timestamp) > window_ms {
                continue;
            }
            match filed.kind {
                Revocation::TAG => held.tags.push((filed.id, filed.value)),
                // Differs from 1.14.1, where the order is that of a hash table (network 4.3).
                Revocation::CAPABILITY => held.allow(filed.id, filed.what.clone()),
                _ => held.own(&filed.what),
            }
        }
    }
}

/// Members by address.
///
/// Cap: `Limits::members_per_network`, about 90 bytes each and 230 with a certificate. Whoever
/// passes the gate enters it, on a public network anybody, and whom we send frames to; the
/// longest silent goes.
pub(crate) struct Members {
    table: Table<Address, Member>,
}

impl Members {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: Table::new(cap, seed),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn get(&self, address: Address) -> Option<&Member> {
        self.table.get(&address)
    }

    pub(crate) fn get_mut(&mut self, address: Address) -> Option<&mut Member> {
        self.table.get_mut(&address)
    }

    /// `address` has passed the gate.
    pub(crate) fn meet(&mut self, address: Address, now: Mono) -> Option<&mut Member> {
        let member = self.entry(address, now)?;
        member.heard = now;
        Some(member)
    }

    /// That of `address`, a new one if there is none.
    pub(crate) fn entry(&mut self, address: Address, now: Mono) -> Option<&mut Member> {
        let slot = match self.table.find(&address) {
            Some(slot) => slot,
            None => {
                self.table.make_room(|m| m.heard);
                self.table.insert(address, Member::new(now))?
            }
        };
        self.table.at_mut(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Address, &Member)> {
        self.table.iter()
    }

    /// So many of those wanted, whoever was heard last first.
    pub(crate) fn heard_last(
        &self,
        most: usize,
        wanted: &dyn Fn(Address, &Member) -> bool,
    ) -> Vec<Address> {
        let mut found: Vec<(Mono, Address)> = Vec::new();
        for (address, member) in self.iter().filter(|(a, m)| wanted(*a, m)) {
            let new = (member.heard, address);
            let at = found.partition_point(|known| *known > new);
            if at < most {
                found.truncate(most - 1);
                found.insert(at, new);
            }
        }
        found.into_iter().map(|(_, address)| address).collect()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Member> {
        self.table.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.table.values_mut()
    }

    /// The first at or after slot number `from`.
    pub(crate) fn next_from(&self, from: usize) -> Option<(Slot, Address)> {
        let (slot, address, _) = self.table.next_from(from)?;
        Some((slot, address))
    }

    pub(crate) fn expire(&mut self, now: Mono) {
        self.table.retain(|_, m| now.since(m.heard) < KEPT_MS);
    }
}

/// Who was told lately that it is no member.
///
/// Cap: `Limits::refusals`, 40 bytes each. Anybody fills it; the oldest goes, which is then told
/// again a little sooner.
pub(crate) struct Refusals {
    table: Recent<(NetworkId, Address)>,
}

impl Refusals {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: Recent::new(cap, seed),
        }
    }

    /// May it be told now? Remembers that it was.
    pub(crate) fn pass(&mut self, network: NetworkId, peer: Address, now: Mono) -> bool {
        self.table.pass((network, peer), now, REFUSAL_MS, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u64) -> Address {
        Address::new(n).unwrap()
    }

    #[test]
    fn the_longest_silent_member_makes_room() {
        let mut members = Members::new(3, 1);
        let now = Mono::from_ms(1 << 40);
        for n in 1..4 {
            assert!(members.meet(address(n), now.after(n)).is_some());
        }
        assert!(members.meet(address(1), now.after(10)).is_some());
        assert!(members.meet(address(4), now.after(11)).is_some());
        assert_eq!(members.len(), 3);
        assert!(members.get(address(2)).is_none() && members.get(address(1)).is_some());
        members.expire(now.after(10 + KEPT_MS));
        assert_eq!(members.len(), 1);
    }

    #[test]
    fn a_refusal_per_second_peer_and_network() {
        let mut refusals = Refusals::new(4, 1);
        let (a, b) = (NetworkId::new(1).unwrap(), NetworkId::new(2).unwrap());
        let now = Mono::from_ms(1 << 40);
        assert!(refusals.pass(a, address(1), now));
        assert!(!refusals.pass(a, address(1), now.after(999)));
        assert!(refusals.pass(b, address(1), now.after(999)));
        assert!(refusals.pass(a, address(1), now.after(1_000)));
        for n in 2..100 {
            assert!(refusals.pass(a, address(n), now.after(1_000 + n)));
        }
        assert_eq!(refusals.table.len(), 4);
    }
}
