//! Relaying for others, and bringing them together (node 6.2, 6.3).

use super::io::{DropReason, Ends, Out};
use super::outbound::{Hop, Seal};
use super::path::Path;
use super::state::Core;
use crate::base::Address;
use crate::wire::control;
use crate::wire::packet::{self, HEADER_LEN};
use crate::wire::verb::Verb;

impl Core {
    /// Somebody else's datagram (node 6.2). `source`: none for a piece.
    pub(super) fn relay(
        &mut self,
        out: &mut Out<'_>,
        from: &Ends,
        datagram: &mut [u8],
        destination: Address,
        source: Option<Address>,
    ) {
        let now = self.now.mono;
        let trusted = |core: &Self| {
            core.peers
                .iter()
                .any(|(_, p)| p.path(from).is_some_and(|path| path.has_trust(now)))
        };
        let may = self.topology.am_upstream() || (self.relay && trusted(self));
        if !may {
            return self.stats.drop(DropReason::RelayRefused);
        }
        let from_upstream = self.topology.upstreams().iter().any(|a| {
            self.peers
                .get(a)
                .is_some_and(|p| p.paths.iter().any(|path| path.ends.remote == from.remote))
        });
        if packet::bump_hops(datagram).is_err() {
            return self.stats.drop(DropReason::RelayHops);
        }
        let direct = self.peers.find(&destination).and_then(|slot| {
            let peer = self.peers.at_mut(slot)?;
            let path = peer.choose(now).filter(|p| p.ends.remote != from.remote)?;
            path.sent = Some(now);
            Some(path.ends)
        });
        let (hop, is_direct) = match direct {
            Some(hop) => (hop, true),
            // What an upstream handed to us is not handed to another: with several roots it
            // would wander until its hops run out.
            None if from_upstream => return self.stats.drop(DropReason::RelayNoPath),
            None => {
                let best = self.best_upstream().filter(|a| Some(*a) != source);
                let Some(hop) = best.and_then(|_| self.relay_hop(destination)) else {
                    return self.stats.drop(DropReason::RelayNoPath);
                };
                if hop.ends.remote == from.remote {
                    return self.stats.drop(DropReason::RelayNoPath);
                }
                (hop.ends, false)
            }
        };
        self.stats.relayed_datagrams = self.stats.relayed_datagrams.wrapping_add(1);
        self.stats.relayed_bytes = self.stats.relayed_bytes.wrapping_add(datagram.len() as u64);
        self.put_raw(out, &hop, datagram, None);
        if is_direct && let Some(source) = source {
            self.introduce(out, source, destination);
        }
    }

    /// RENDEZVOUS to both ends of a relayed conversation (node 6.3).
    fn introduce(&mut self, out: &mut Out<'_>, a: Address, b: Address) {
        let now = self.now.mono;
        let (Some(slot_a), Some(slot_b)) = (self.peers.find(&a), self.peers.find(&b)) else {
            return;
        };
        if !self.introductions.pass(a, b, now) {
            return;
        }
        let (Some(peer_a), Some(peer_b)) = (self.peers.at(slot_a), self.peers.at(slot_b)) else {
            return;
        };
        // The best class that both have.
        let shared = (0..Path::CLASSES).rev().find_map(|class| {
            let at = peer_a.best_of(class, now)?;
            Some((at, peer_b.best_of(class, now)?))
        });
        let Some((at_a, at_b)) = shared else { return };
        let mut ends = [(slot_a, &at_a, b, &at_b), (slot_b, &at_b, a, &at_a)];
        if self.rng.below(2) == 1 {
            ends.swap(0, 1);
        }
        for (slot, at, other, there) in ends {
            let mut packet = [0u8; HEADER_LEN + 32];
            let mut writer = packet::begin(&mut packet, Verb::Rendezvous);
            let written = control::write_rendezvous(&mut writer, other, &there.remote);
            if let (Ok(()), Ok(packet)) = (written, writer.finish()) {
                self.emit(out, slot, &Hop::plain(at), packet, &Seal::default());
            }
        }
    }
}
