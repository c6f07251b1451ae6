//! Packets being put together from pieces (wire 7.3).
//!
//! Cap: `Limits::reassembly_slots` slots of 10 KiB, taken at the start. Anybody can fill them;
//! one source address holds at most a quarter, so that a flood from one place leaves room for
//! others. Evicted: the oldest of that source, else the oldest of all
//! ([`DropReason::ReassemblyFull`]); after 2 s [`DropReason::ReassemblyTimeout`].

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::io::{DropReason, Stats};
use super::policy;
use crate::base::{Mono, PacketId, least};
use crate::wire::fragment::PIECES_MAX;
use crate::wire::inet;
use crate::wire::packet::PACKET_MAX;

struct Assembly {
    id: PacketId,
    from: SocketAddr,
    since: Mono,
    /// Pieces in all, head included; 0 = not known yet.
    total: u8,
    /// Where each piece lies in `data`; an empty range is a piece not yet here.
    pieces: [(u16, u16); PIECES_MAX],
    held: u8,
    len: usize,
}

pub(crate) struct Reassembly {
    slots: Vec<(Option<Assembly>, Vec<u8>)>,
    scratch: Vec<u8>,
}

/// A complete packet, lent until [`Reassembly::give_back`].
pub(crate) struct Whole {
    slot: usize,
    buffer: Vec<u8>,
    len: usize,
}

impl Whole {
    pub(crate) fn packet(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.len).unwrap_or_default()
    }
}

impl Reassembly {
    pub(crate) fn new(slots: usize) -> Self {
        // Reserved now, resident when first used.
        let mut all = Vec::with_capacity(slots.max(1));
        for _ in 0..slots.max(1) {
            all.push((None, Vec::with_capacity(PACKET_MAX)));
        }
        Self {
            slots: all,
            scratch: Vec::with_capacity(PACKET_MAX),
        }
    }

    /// Takes piece `number` (0 = the head, `total` then not known: 0) into its slot.
    pub(crate) fn add(
        &mut self,
        now: Mono,
        from: &SocketAddr,
        id: PacketId,
        number: u8,
        total: u8,
        data: &[u8],
        stats: &mut Stats,
    ) -> Option<Whole> {
        self.expire(now, stats);
        let slot = self.slot(now, from, id, stats);
        let (entry, buffer) = self.slots.get_mut(slot)?;
        let assembly = entry.as_mut()?;
        if total != 0 {
            assembly.total = total;
        }
        let piece = assembly.pieces.get_mut(usize::from(number))?;
        if piece.1 != 0 || data.is_empty() {
            return None;
        }
        let end = assembly.len + data.len();
        if end > PACKET_MAX {
            stats.drop(DropReason::TooLong);
            *entry = None;
            return None;
        }
        // Only as many of the reserved bytes become resident as there were ever packets for.
        buffer.truncate(assembly.len);
        buffer.extend_from_slice(data);
        *piece = (assembly.len as u16, data.len() as u16);
        assembly.len = end;
        assembly.held += 1;
        if assembly.total == 0 || assembly.held < assembly.total {
            return None;
        }
        self.finish(slot, stats)
    }

    fn finish(&mut self, slot: usize, stats: &mut Stats) -> Option<Whole> {
        let (entry, buffer) = self.slots.get_mut(slot)?;
        let assembly = entry.take()?;
        let pieces = assembly.pieces.get(..usize::from(assembly.total))?;
        if pieces.iter().any(|p| p.1 == 0) {
            // As many pieces as needed, but not those that are needed.
            stats.drop(DropReason::BadFragment);
            return None;
        }
        let in_order = pieces.windows(2).all(|w| w[0].0 + w[0].1 == w[1].0);
        if !in_order {
            self.scratch.clear();
            for &(start, len) in pieces {
                let (start, len) = (usize::from(start), usize::from(len));
                self.scratch
                    .extend_from_slice(buffer.get(start..start + len)?);
            }
            core::mem::swap(buffer, &mut self.scratch);
        }
        Some(Whole {
            slot,
            buffer: core::mem::take(buffer),
            len: assembly.len,
        })
    }

    pub(crate) fn give_back(&mut self, whole: Whole) {
        if let Some((_, buffer)) = self.slots.get_mut(whole.slot) {
            *buffer = whole.buffer;
        }
    }

    fn slot(&mut self, now: Mono, from: &SocketAddr, id: PacketId, stats: &mut Stats) -> usize {
        let held = |s: &(Option<Assembly>, Vec<u8>)| s.0.as_ref().is_some_and(|a| a.id == id);
        if let Some(at) = self.slots.iter().position(held) {
            return at;
        }
        let free = self.slots.iter().position(|s| s.0.is_none());
        let of_source = |s: &(Option<Assembly>, Vec<u8>)| {
            s.0.as_ref().is_some_and(|a| inet::same_ip(&a.from, from))
        };
        let greedy =
            self.slots.iter().filter(|s| of_source(s)).count() >= self.slots.len().div_ceil(4);
        let at = match free {
            Some(at) if !greedy => at,
            _ => {
                stats.drop(DropReason::ReassemblyFull);
                let age = |at: usize| {
                    let slot = self.slots.get(at)?;
                    let since = slot.0.as_ref()?.since;
                    (!greedy || of_source(slot)).then_some(since.as_ms())
                };
                least(self.slots.len(), &age).unwrap_or(0)
            }
        };
        if let Some((entry, _)) = self.slots.get_mut(at) {
            *entry = Some(Assembly {
                id,
                from: *from,
                since: now,
                total: 0,
                pieces: [(0, 0); PIECES_MAX],
                held: 0,
                len: 0,
            });
        }
        at
    }

    /// Lets go what waits too long. Runs with each new piece; nothing else needs the memory, so
    /// no timer wakes the node for it.
    fn expire(&mut self, now: Mono, stats: &mut Stats) {
        for (entry, _) in &mut self.slots {
            if entry
                .as_ref()
                .is_some_and(|a| now.since(a.since) >= policy::REASSEMBLY_MS)
            {
                *entry = None;
                stats.drop(DropReason::ReassemblyTimeout);
            }
        }
    }

    #[cfg(test)]
    fn in_use(&self) -> usize {
        self.slots.iter().filter(|s| s.0.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: SocketAddr = SocketAddr::new(
        core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)),
        9993,
    );

    fn other(n: u8) -> SocketAddr {
        SocketAddr::new([10, 0, 1, n].into(), 9993)
    }

    #[test]
    fn any_order_and_duplicates_give_the_packet_once() {
        let pieces: [&[u8]; 4] = [b"head", b"one", b"two", b"three!"];
        for order in [[0u8, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
            let mut r = Reassembly::new(4);
            let mut stats = Stats::default();
            let mut got = None;
            for (i, n) in order.iter().enumerate() {
                for _ in 0..if i == 3 { 1 } else { 2 } {
                    assert!(got.is_none());
                    let total = if *n > 0 { 4 } else { 0 };
                    let data = pieces[usize::from(*n)];
                    let at = Mono::from_ms(77);
                    got = r.add(at, &FROM, PacketId::new(5), *n, total, data, &mut stats);
                }
            }
            let mut whole = got.expect("complete");
            assert_eq!(whole.packet(), b"headonetwothree!");
            r.give_back(whole);
            assert_eq!((r.in_use(), stats.drops_total()), (0, 0));
        }
    }

    #[test]
    fn a_flood_from_one_source_leaves_others_room() {
        let mut r = Reassembly::new(8);
        let mut stats = Stats::default();
        let t = Mono::from_ms(1 << 33);
        assert!(
            r.add(t, &other(1), PacketId::new(1), 0, 0, b"head", &mut stats)
                .is_none()
        );
        for i in 0..1000 {
            r.add(t, &FROM, PacketId::new(100 + i), 1, 2, b"junk", &mut stats);
        }
        assert!(r.in_use() <= 3);
        assert_eq!(stats.drops(DropReason::ReassemblyFull), 998);
        assert!(
            r.add(t, &other(1), PacketId::new(1), 1, 2, b"tail", &mut stats)
                .is_some()
        );
    }

    #[test]
    fn incomplete_packets_go_after_two_seconds() {
        let mut r = Reassembly::new(2);
        let mut stats = Stats::default();
        let t = Mono::from_ms(50_000);
        r.add(t, &FROM, PacketId::new(1), 0, 0, b"head", &mut stats);
        let late = t.after(2_000);
        assert!(
            r.add(late, &FROM, PacketId::new(1), 1, 2, b"x", &mut stats)
                .is_none()
        );
        assert_eq!(stats.drops(DropReason::ReassemblyTimeout), 1);
    }

    #[test]
    fn pieces_that_do_not_fit_are_dropped() {
        let mut r = Reassembly::new(2);
        let mut stats = Stats::default();
        let t = Mono::from_ms(1);
        let big = [0u8; 6000];
        r.add(t, &FROM, PacketId::new(1), 0, 0, &big, &mut stats);
        assert!(
            r.add(t, &FROM, PacketId::new(1), 1, 2, &big, &mut stats)
                .is_none()
        );
        assert_eq!(stats.drops(DropReason::TooLong), 1);
    }
}
