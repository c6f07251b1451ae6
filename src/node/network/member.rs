//! Members of a network that we have met, and who was refused (network 3.3).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::rules::Thing;
use crate::base::{Address, Mono, NetworkId, Table};

/// Kept so long after the last frame, LIKE or gather of it.
const KEPT_MS: u64 = 3_600_000;
/// One ERROR 6 per member and network in this time.
const REFUSAL_MS: u64 = 1_000;

/// What a node may do and is shown to own: input of the rules.
#[derive(Clone, Debug, Default)]
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

pub(crate) struct Member {
    pub(crate) heard: Mono,
    /// Our groups were told to it.
    pub(crate) announced: Option<Mono>,
    /// Valid credentials on file, beside the certificate.
    pub(crate) held: Option<Box<Held>>,
}

/// Members by address.
///
/// Cap: `Limits::members_per_network`, 48 bytes each. Whoever passes the gate enters it, on a
/// public network anybody; the longest silent goes.
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

    #[cfg(test)]
    pub(crate) fn get_mut(&mut self, address: Address) -> Option<&mut Member> {
        self.table.get_mut(&address)
    }

    /// `address` has passed the gate.
    pub(crate) fn meet(&mut self, address: Address, now: Mono) -> Option<&mut Member> {
        let slot = match self.table.find(&address) {
            Some(slot) => slot,
            None => {
                if self.table.is_full() {
                    let stalest = self.table.iter().min_by_key(|(_, m)| m.heard);
                    if let Some(stalest) = stalest.map(|(a, _)| *a) {
                        self.table.remove(&stalest);
                    }
                }
                let member = Member {
                    heard: now,
                    announced: None,
                    held: None,
                };
                self.table.insert(address, member).ok()?
            }
        };
        let member = self.table.at_mut(slot)?;
        member.heard = now;
        Some(member)
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
