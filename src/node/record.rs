//! Peers as they are stored between runs (node 2.2).

use alloc::boxed::Box;

use super::Node;
use super::io::{Out, Outbox};
use super::policy;
use super::state::Core;
use crate::base::{Address, Limits, Mono, Now, Slot};
use crate::wire::Malformed;
use crate::wire::cursor::Writer;
pub(crate) use crate::wire::peer_record::Addresses;
use crate::wire::peer_record::Record;

pub use crate::wire::peer_record::RECORD_MAX;

/// Where a peer was in an earlier run. It may start later than we do, and there may be no root to
/// bring us together: its addresses are tried again, more and more rarely, until it has a path or
/// is forgotten.
#[derive(Debug)]
pub(crate) struct Recalled {
    addresses: Addresses,
    next: Mono,
    pause_ms: u64,
}

impl Recalled {
    /// To be tried from now on.
    pub(crate) fn new(addresses: Addresses, now: Mono) -> Self {
        Self {
            addresses,
            next: now,
            pause_ms: policy::RECALL_FIRST_MS,
        }
    }

    pub(crate) fn next(&self) -> Mono {
        self.next
    }

    /// Something changed: now, and soon again.
    pub(crate) fn hurry(&mut self, now: Mono) {
        self.next = now;
        self.pause_ms = policy::RECALL_FIRST_MS;
    }
}

impl Node {
    /// The record of a peer, written to `buffer`; its length. `None`: not known, or no room.
    pub fn export_peer(&self, address: Address, buffer: &mut [u8]) -> Option<usize> {
        let peer = self.core.peers.get(&address)?;
        let recalled = peer.recalled.as_ref().map(|r| &r.addresses[..]);
        // Who has not been reached in this run may be in the next.
        let recalled = recalled
            .filter(|_| peer.paths.is_empty())
            .unwrap_or_default();
        let known = peer.paths.iter().map(|p| p.ends.remote);
        let addresses = known.chain(recalled.iter().copied());
        let record = Record {
            identity: peer.identity,
            version: peer.version,
            addresses: addresses.take(Limits::PATHS_MAX).collect(),
        };
        let mut writer = Writer::new(buffer);
        record.write(&mut writer).ok()?;
        Some(writer.len())
    }

    /// Takes a stored peer back: its packets can be opened at once, and a HELLO goes to each of
    /// its addresses; none is a path before it answers. The owner vouches for the record.
    pub fn import_peer(
        &mut self,
        now: Now,
        record: &[u8],
        out: &mut dyn Outbox,
    ) -> Result<Address, Malformed> {
        let out = &mut { out };
        self.enter(now, out);
        let record = Record::parse(record)?;
        let address = record.identity.address;
        if address == self.core.me {
            return Err(Malformed::Value);
        }
        if self.core.peers.find(&address).is_none() {
            let keys = self.core.agree(&record.identity).ok_or(Malformed::Value)?;
            let slot = self
                .core
                .add_peer(record.identity, keys)
                .ok_or(Malformed::Length)?;
            if let Some(peer) = self.core.peers.at_mut(slot) {
                peer.version = record.version;
                if !record.addresses.is_empty() {
                    peer.recalled = Some(Box::new(Recalled::new(record.addresses, now.mono)));
                }
            }
            self.core.recall(out, slot);
        }
        self.leave_call(out);
        Ok(address)
    }
}

impl Core {
    /// Tries the addresses of an earlier run if that is due.
    pub(crate) fn recall(&mut self, out: &mut Out<'_>, slot: Slot) {
        let now = self.now.mono;
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let address = peer.identity.address;
        let Some(recalled) = peer.recalled.as_mut().filter(|r| r.next <= now) else {
            return;
        };
        recalled.next = now.after(recalled.pause_ms);
        recalled.pause_ms = (recalled.pause_ms * 2).min(policy::RECALL_MOST_MS);
        let addresses = recalled.addresses.clone();
        for remote in &addresses {
            if self.allows_path(address, remote) {
                self.hello_from_all(out, slot, remote);
            }
        }
        self.rearm(slot);
    }
}
