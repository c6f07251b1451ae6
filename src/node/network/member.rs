//! Members of a network that we have met, and who was refused (network 3.3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::rules::Thing;
use crate::base::{Address, Mono, NetworkId, Table};
use crate::wire::credential::Com;
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
    pub(crate) const NOTHING: &Self = &Self {
        tags: Vec::new(),
        capabilities: Vec::new(),
        things: Vec::new(),
    };
}

/// A credential on file: its id, when it was issued, and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filed<T> {
    pub(crate) id: u32,
    pub(crate) timestamp: u64,
    pub(crate) what: T,
}

/// Credentials of a member as they were verified, beside its certificate.
///
/// Caps: `Limits::peer_tags`, `Limits::peer_capabilities`, four certificates of ownership. Only
/// what the controller signed enters it; what is beyond the cap is refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) tags: Vec<Filed<u32>>,
    pub(crate) capabilities: Vec<Filed<Box<[u8]>>>,
    pub(crate) ownerships: Vec<Filed<Vec<Thing>>>,
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
    pub(crate) file: Option<Box<File>>,
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
            file: None,
            held: None,
        }
    }

    /// The certificate on file.
    pub(crate) fn com(&self) -> Option<Com<'_>> {
        Com::read(&mut Reader::new(self.com.as_deref()?)).ok()
    }

    /// Works out what is valid while a configuration of `timestamp` is in force (network 3.3).
    pub(crate) fn weigh(&mut self, timestamp: u64, window_ms: u64) {
        let Some(file) = &self.file else {
            self.held = None;
            return;
        };
        let valid = |at: u64| at.abs_diff(timestamp) <= window_ms;
        let held = self.held.get_or_insert_default();
        held.tags.clear();
        let tags = file.tags.iter().filter(|t| valid(t.timestamp));
        held.tags.extend(tags.map(|t| (t.id, t.what)));
        held.things.clear();
        let ownerships = file.ownerships.iter().filter(|o| valid(o.timestamp));
        held.things.extend(ownerships.flat_map(|o| o.what.iter()));
        held.capabilities.clear();
        let capabilities = file.capabilities.iter().filter(|c| valid(c.timestamp));
        held.capabilities
            .extend(capabilities.map(|c| (c.id, c.what.clone())));
        // Differs from 1.14.1, where the order is that of a hash table (network 4.3).
        held.capabilities.sort_unstable_by_key(|c| c.0);
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
                if self.table.is_full() {
                    let stalest = self.table.iter().min_by_key(|(_, m)| m.heard);
                    if let Some(stalest) = stalest.map(|(a, _)| *a) {
                        self.table.remove(&stalest);
                    }
                }
                self.table.insert(address, Member::new(now)).ok()?
            }
        };
        self.table.at_mut(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Address, &Member)> {
        self.table.iter().map(|(a, m)| (*a, m))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Address, &mut Member)> {
        self.table.iter_mut().map(|(a, m)| (*a, m))
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
    table: Table<(NetworkId, Address), Mono>,
}

impl Refusals {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: Table::new(cap, seed),
        }
    }

    /// May it be told now? Remembers that it was.
    pub(crate) fn pass(&mut self, network: NetworkId, peer: Address, now: Mono) -> bool {
        let key = (network, peer);
        match self.table.get_mut(&key) {
            Some(at) if now.since(*at) < REFUSAL_MS => return false,
            Some(at) => {
                *at = now;
                return true;
            }
            None => {}
        }
        if self.table.is_full() {
            let oldest = self.table.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.table.remove(&oldest);
            }
        }
        self.table.insert(key, now).is_ok()
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
