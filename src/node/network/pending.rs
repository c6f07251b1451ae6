//! Packets of peers whose certificate we do not have yet (network 3.3).
//!
//! Bounds: `cap` packets, one of a peer, two seconds. Anybody fills it; the oldest goes. Buffers
//! are kept and used again.

use alloc::vec::Vec;

use crate::base::{Address, Mono, NetworkId, PacketId};
use crate::wire::verb::Verb;

/// Certificates come at once, or after a round trip.
const WAIT_MS: u64 = 2_000;

/// A packet that waits, decrypted.
pub(crate) struct Pending {
    pub(crate) network: NetworkId,
    pub(crate) from: Address,
    pub(crate) verb: Verb,
    pub(crate) id: PacketId,
    until: Mono,
    pub(crate) packet: Vec<u8>,
}

pub(crate) struct Pendings {
    all: Vec<Pending>,
    spare: Vec<Vec<u8>>,
    cap: usize,
}

impl Pendings {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            all: Vec::with_capacity(cap.max(1)),
            spare: Vec::with_capacity(cap.max(1)),
            cap: cap.max(1),
        }
    }

    /// Keeps a copy.
    pub(crate) fn push(
        &mut self,
        network: NetworkId,
        from: Address,
        verb: Verb,
        id: PacketId,
        packet: &[u8],
        now: Mono,
    ) {
        self.drop_if(|p| p.until <= now || p.from == from);
        if self.all.len() >= self.cap {
            let oldest = self.all.remove(0);
            self.spare.push(oldest.packet);
        }
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(packet);
        self.all.push(Pending {
            network,
            from,
            verb,
            id,
            until: now.after(WAIT_MS),
            packet: copy,
        });
    }

    /// Takes out what waits for the certificate of `from`; the caller gives the buffer back.
    pub(crate) fn take(&mut self, network: NetworkId, from: Address, now: Mono) -> Option<Pending> {
        self.drop_if(|p| p.until <= now);
        let of = |p: &Pending| p.network == network && p.from == from;
        let at = self.all.iter().position(of)?;
        Some(self.all.remove(at))
    }

    pub(crate) fn give_back(&mut self, pending: Pending) {
        self.spare.push(pending.packet);
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.drop_if(|p| p.network == network);
    }

    fn drop_if(&mut self, mut gone: impl FnMut(&Pending) -> bool) {
        while let Some(at) = self.all.iter().position(&mut gone) {
            let gone = self.all.remove(at);
            self.spare.push(gone.packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_packet_of_a_peer_waits_for_two_seconds() {
        let network = NetworkId::new(5).unwrap();
        let [a, b, c] = [1, 2, 3].map(|n| Address::new(n).unwrap());
        let now = Mono::from_ms(1 << 40);
        let mut pendings = Pendings::new(2);
        let id = PacketId::new(1);
        pendings.push(network, a, Verb::Frame, id, b"1", now);
        pendings.push(network, a, Verb::Frame, id, b"2", now);
        let taken = pendings.take(network, a, now).unwrap();
        assert_eq!(taken.packet, b"2");
        pendings.give_back(taken);
        assert!(pendings.take(network, a, now).is_none());
        for (from, text) in [(a, b"a"), (b, b"b"), (c, b"c")] {
            pendings.push(network, from, Verb::Frame, id, text, now.after(1));
        }
        assert!(pendings.take(network, a, now.after(1)).is_none());
        assert!(pendings.take(network, b, now.after(1)).is_some());
        assert!(pendings.take(network, c, now.after(1 + WAIT_MS)).is_none());
    }
}
