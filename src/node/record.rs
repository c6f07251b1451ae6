//! A peer as it is stored between runs (node 2.2): byte 2, identity, four u16 (protocol, major,
//! minor, revision), u16 number of addresses, the addresses.

use core::net::SocketAddr;

use super::Node;
use super::io::Outbox;
use super::peer::Version;
use crate::base::{Address, Limits, Now};
use crate::wire::Malformed;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::identity::Identity;
use crate::wire::inet;

const FORMAT: u8 = 2;

/// Longest record that is written.
pub const RECORD_MAX: usize = 1 + Identity::LEN + 8 + 2 + Limits::PATHS_MAX * 19;

struct Record {
    identity: Identity,
    version: Option<Version>,
    addresses: heapless::Vec<SocketAddr, { Limits::PATHS_MAX }>,
}

fn parse(bytes: &[u8]) -> Result<Record, Malformed> {
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
    Ok(Record {
        identity,
        version: (protocol != 0).then_some(version),
        addresses,
    })
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
            writer.u16(peer.paths.len() as u16)?;
            for path in &peer.paths {
                inet::write(&mut writer, Some(&path.remote))?;
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
        let record = parse(record)?;
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
            }
            for remote in record.addresses {
                if self.core.allows_path(address, &remote) {
                    self.core.hello_from_all(out, slot, remote);
                }
            }
        }
        self.leave_call(out);
        Ok(address)
    }
}
