//! A peer as it is stored between runs (node 2.2): byte 2, identity, four u16 (protocol, major,
//! minor, revision), u16 number of addresses, the addresses.

use core::net::SocketAddr;

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::identity::Identity;
use super::inet;
use crate::base::Limits;

const FORMAT: u8 = 2;

/// Longest record that is written.
pub const RECORD_MAX: usize = 1 + Identity::LEN + 8 + 2 + Limits::PATHS_MAX * 19;

/// Where a peer was.
pub type Addresses = heapless::Vec<SocketAddr, { Limits::PATHS_MAX }>;

/// What a peer said of itself in HELLO or OK(HELLO).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Protocol (wire 1.1).
    pub protocol: u8,
    /// Software, major.
    pub major: u8,
    /// Software, minor.
    pub minor: u8,
    /// Software, revision.
    pub revision: u16,
}

impl Version {
    /// Knows ECHO and answers it right (wire 9.9).
    pub fn has_echo(self) -> bool {
        self.protocol >= 5 && (self.major, self.minor, self.revision) != (1, 1, 0)
    }

    /// Most pieces of a packet that it can put together (wire 7.3).
    pub fn pieces_max(self) -> usize {
        if self.protocol < 9 || (self.major, self.minor, self.revision) < (1, 2, 6) {
            4
        } else {
            7
        }
    }
}

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
        let mut addresses = Addresses::new();
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

    /// Writes it.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u8(FORMAT);
        self.identity.write(writer)?;
        let version = self.version.map_or([0; 4], |v| {
            let [protocol, major, minor] = [v.protocol, v.major, v.minor].map(u16::from);
            [protocol, major, minor, v.revision]
        });
        for number in version {
            writer.u16(number);
        }
        let count = u16::try_from(self.addresses.len()).map_err(|_| Malformed::Length)?;
        writer.u16(count);
        for address in &self.addresses {
            inet::write(writer, Some(address));
        }
        writer.end()
    }
}
