//! A peer as it is stored between runs (node 2.2): byte 2, identity, four u16 (protocol, major,
//! minor, revision), u16 number of addresses, the addresses.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::Node;
use super::io::Outbox;
use super::peer::Version;
use super::policy;
use super::state::Core;
use crate::base::{Address, Limits, Mono, Now, Slot};
use crate::wire::Malformed;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::identity::Identity;
use crate::wire::inet;

const FORMAT: u8 = 2;

/// Longest record that is written.
pub const RECORD_MAX: usize = 1 + Identity::LEN + 8 + 2 + Limits::PATHS_MAX * 19;

pub(crate) type Addresses = heapless::Vec<SocketAddr, { Limits::PATHS_MAX }>;

/// What is stored of a peer.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who it is.
    pub identity: Identity,
    /// What it said it runs.
    pub version: Option<Version>,
    /// Where it was.
    pub addresses: Addresses,
}

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

impl Record {
    /// Reads a stored record.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(Malformed::Unsupported);
        }
        let identity = Identity::read(&mut reader)?;
        let (protocol, major, minor, revision) =
            (reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?);
        let narrow = |n: u16| u8::try_from(n).map_err(|_| Malformed::Value);
        let version = Version {
            protocol: narrow(protocol)?,
            major: narrow(major)?,
            minor: narrow(minor)?,
            revision,
        };
        let count = reader.u16()?;
        let mut addresses = heapless::Vec::new();
        for _ in 0..count {
            if let Some(address) = inet::read(&mut reader)? {
                // More than we keep: the first ones serve.
                let _ = addresses.push(address);
            }
        }
        Ok(Self {
            identity,
            version: (protocol != 0).then_some(version),
            addresses,
        })
    }
}

impl Node {
    /// The record of a peer, written to `buffer`; its length. `None`: not known, or no room.
    pub fn export_peer(&self, address: Address, buffer: &mut [u8]) -> Option<usize> {
        let peer = self.core.peers.get(&address)?;
        let mut writer = Writer::new(buffer);
        let version = peer.version.unwrap_or(Version {
            protocol: 0,
            major: 0,
            minor: 0,
            revision: 0,
        });
        let mut write = || -> Result<(), Malformed> {
            writer.u8(FORMAT)?;
            peer.identity.write(&mut writer)?;
            writer.u16(u16::from(version.protocol))?;
            writer.u16(u16::from(version.major))?;
            writer.u16(u16::from(version.minor))?;
            writer.u16(version.revision)?;
            let recalled = peer.recalled.as_ref().map(|r| &r.addresses[..]);
            // Who has not been reached in this run may be in the next.
            let recalled = recalled
                .filter(|_| peer.paths.is_empty())
                .unwrap_or_default();
            let count = peer.paths.len().saturating_add(recalled.len());
            writer.u16(u16::try_from(count).unwrap_or(0))?;
            for remote in peer.paths.iter().map(|p| &p.remote).chain(recalled) {
                inet::write(&mut writer, Some(remote))?;
            }
            Ok(())
        };
        write().ok()?;
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
    pub(crate) fn recall(&mut self, out: &mut dyn Outbox, slot: Slot) {
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
        for remote in addresses {
            if self.allows_path(address, &remote) {
                self.hello_from_all(out, slot, remote);
            }
        }
        self.rearm(slot);
    }
}
