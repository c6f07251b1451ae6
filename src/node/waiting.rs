//! Packets that wait for an identity or for a path, both ways (node 4.2, 6.1).
//!
//! Cap: `Limits::waiting_packets` slots of 10 KiB, taken at the start, at most four per address.
//! Anybody can fill them. Evicted: of an address with four the second oldest, since the first
//! shows the certificates without which those behind it are refused; else the oldest of all
//! ([`DropReason::WaitingFull`]); after 5 s [`DropReason::WaitingTimeout`].

use alloc::vec::Vec;

use super::io::{DropReason, Ends, Stats};
use super::policy;
use crate::base::{Address, Mono, least};
use crate::wire::packet::PACKET_MAX;

/// Which way a packet was going.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To the address, plain, verb at byte 27.
    Out,
    /// From the address, as received.
    In(Ends),
}

struct Entry {
    address: Address,
    way: Way,
    since: Mono,
    order: u64,
    len: usize,
}

pub(crate) struct Waiting {
    slots: Vec<(Option<Entry>, Vec<u8>)>,
    order: u64,
}

/// A packet taken out, lent until [`Waiting::give_back`].
pub(crate) struct Taken {
    slot: usize,
    buffer: Vec<u8>,
    len: usize,
    pub(crate) address: Address,
    pub(crate) way: Way,
    pub(crate) since: Mono,
}

impl Taken {
    pub(crate) fn packet(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }
}

impl Waiting {
    pub(crate) fn new(slots: usize) -> Self {
        // Reserved now, resident when first used.
        let mut all = Vec::with_capacity(slots.max(1));
        for _ in 0..slots.max(1) {
            all.push((None, Vec::with_capacity(PACKET_MAX)));
        }
        Self {
            slots: all,
            order: 0,
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.slots.iter().all(|s| s.0.is_none())
    }

    /// Keeps a copy. `since` is when the packet began to wait.
    pub(crate) fn push(
        &mut self,
        address: Address,
        way: Way,
        packet: &[u8],
        since: Mono,
        stats: &mut Stats,
    ) {
        if packet.len() > PACKET_MAX {
            stats.drop(DropReason::TooLong);
            return;
        }
        let len = self.slots.len();
        let entry = |at: usize| self.slots.get(at)?.0.as_ref();
        let own = |at: usize| {
            let entry = entry(at).filter(|e| e.address == address)?;
            Some(entry.order)
        };
        let greedy = (0..len).filter_map(own).count() >= policy::WAITING_PER_PEER;
        // A lent buffer leaves an empty vector behind.
        let is_free = |s: &(Option<Entry>, Vec<u8>)| s.0.is_none() && s.1.capacity() > 0;
        let free = self.slots.iter().position(is_free);
        let at = match free {
            Some(at) if !greedy => at,
            _ => {
                stats.drop(DropReason::WaitingFull);
                let loser = if greedy {
                    // Not the first: see above.
                    let first = least(len, &own).and_then(own);
                    least(len, &|at| own(at).filter(|order| Some(*order) > first))
                } else {
                    least(len, &|at| Some(entry(at)?.order))
                };
                let Some(at) = loser else { return };
                at
            }
        };
        let Some((entry, buffer)) = self.slots.get_mut(at) else {
            return;
        };
        // Only as many of the reserved bytes become resident as there were ever packets for.
        buffer.clear();
        buffer.extend_from_slice(packet);
        self.order += 1;
        *entry = Some(Entry {
            address,
            way,
            since,
            order: self.order,
            len: packet.len(),
        });
    }

    /// Packets kept so far have orders up to this.
    pub(crate) fn mark(&self) -> u64 {
        self.order
    }

    /// Takes the oldest packet of `address` (of anybody if `None`) kept before `mark`.
    pub(crate) fn take(&mut self, address: Option<Address>, mark: u64) -> Option<Taken> {
        let order = |at: usize| {
            let entry = self.slots.get(at)?.0.as_ref()?;
            let due = entry.order <= mark && address.is_none_or(|a| a == entry.address);
            due.then_some(entry.order)
        };
        let slot = least(self.slots.len(), &order)?;
        let (entry, buffer) = self.slots.get_mut(slot)?;
        let entry = entry.take()?;
        Some(Taken {
            slot,
            buffer: core::mem::take(buffer),
            len: entry.len,
            address: entry.address,
            way: entry.way,
            since: entry.since,
        })
    }

    pub(crate) fn give_back(&mut self, taken: Taken) {
        if let Some((_, buffer)) = self.slots.get_mut(taken.slot) {
            *buffer = taken.buffer;
        }
    }

    /// Lets go the packets of an address that nobody knows.
    pub(crate) fn forget(&mut self, address: Address, stats: &mut Stats) {
        for (entry, _) in &mut self.slots {
            if entry.as_ref().is_some_and(|e| e.address == address) {
                *entry = None;
                stats.drop(DropReason::WaitingTimeout);
            }
        }
    }

    pub(crate) fn expire(&mut self, now: Mono, stats: &mut Stats) {
        for (entry, _) in &mut self.slots {
            if entry
                .as_ref()
                .is_some_and(|e| now.since(e.since) >= policy::WAITING_MS)
            {
                *entry = None;
                stats.drop(DropReason::WaitingTimeout);
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.slots
            .iter()
            .filter_map(|s| s.0.as_ref().map(|e| e.since.after(policy::WAITING_MS)))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u64) -> Address {
        Address::new(n).expect("not reserved")
    }

    #[test]
    fn four_per_address_and_the_oldest_of_all_goes() {
        let mut w = Waiting::new(8);
        let mut stats = Stats::default();
        let t = Mono::from_ms(1000);
        for i in 0..10u8 {
            w.push(address(1), Way::Out, &[i], t, &mut stats);
        }
        assert_eq!(stats.drops(DropReason::WaitingFull), 6);
        for i in 0..6u8 {
            w.push(address(2 + u64::from(i)), Way::Out, &[i], t, &mut stats);
        }
        assert_eq!(stats.drops(DropReason::WaitingFull), 8);
        // Of the four [0], [7], [8], [9] the oldest of all went last but one.
        let mut first = w.take(Some(address(1)), w.mark()).expect("kept");
        assert_eq!(first.packet(), [8]);
        w.give_back(first);
    }

    #[test]
    fn the_first_of_an_address_stays() {
        let mut w = Waiting::new(8);
        let mut stats = Stats::default();
        let t = Mono::from_ms(1000);
        for i in 0..200u8 {
            w.push(address(1), Way::Out, &[i], t, &mut stats);
        }
        for expected in [0, 197, 198, 199] {
            let mut taken = w.take(Some(address(1)), w.mark()).expect("kept");
            assert_eq!(taken.packet(), [expected]);
            w.give_back(taken);
        }
        assert!(w.is_empty());
    }

    #[test]
    fn a_packet_put_back_is_not_taken_again_in_the_same_round() {
        let mut w = Waiting::new(4);
        let mut stats = Stats::default();
        let t = Mono::from_ms(1000);
        w.push(address(1), Way::Out, b"a", t, &mut stats);
        let mark = w.mark();
        let mut taken = w.take(None, mark).expect("kept");
        let copy = taken.packet().to_vec();
        w.give_back(taken);
        w.push(address(1), Way::Out, &copy, t, &mut stats);
        assert!(w.take(None, mark).is_none());
        assert_eq!(w.deadline(), Some(t.after(5_000)));
        w.expire(t.after(5_000), &mut stats);
        assert!(w.is_empty());
    }
}
