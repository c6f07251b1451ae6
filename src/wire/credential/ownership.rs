//! Certificates of ownership (network 3.7).

use core::net::IpAddr;

use super::super::Malformed;
use super::super::cursor::{Reader, Writer};
use super::{Paper, Revocation, Signature, THINGS_MAX, signed_message, write_end};
use crate::base::{Address, Mac, NetworkId};

/// A thing that a member owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thing {
    /// [`Thing::MAC`], [`Thing::IPV4`], [`Thing::IPV6`].
    pub kind: u8,
    /// Padded with zeros.
    pub value: [u8; 16],
}

impl Thing {
    /// Six bytes.
    pub const MAC: u8 = 1;
    /// Four bytes.
    pub const IPV4: u8 = 2;
    /// Sixteen bytes.
    pub const IPV6: u8 = 3;

    pub(super) const LEN: usize = 17;

    /// An IP address.
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                let value = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                Self::new(Self::IPV4, value)
            }
            IpAddr::V6(ip) => Self::new(Self::IPV6, ip.octets()),
        }
    }

    /// A MAC.
    pub const fn of_mac(mac: Mac) -> Self {
        let [a, b, c, d, e, f] = mac.to_bytes();
        Self::new(Self::MAC, [a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    const fn new(kind: u8, value: [u8; 16]) -> Self {
        Self { kind, value }
    }

    /// The bytes that count; the rest is not looked at.
    fn significant(&self) -> &[u8] {
        let len = match self.kind {
            Self::MAC => 6,
            Self::IPV4 => 4,
            _ => 16,
        };
        self.value.get(..len).unwrap_or(&self.value)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            kind: reader.u8()?,
            value: reader.array()?,
        })
    }

    /// Back to back.
    pub fn all(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes
            .chunks_exact(Self::LEN)
            .filter_map(|thing| Self::read(&mut Reader::new(thing)).ok())
    }

    /// Writes it: as many of these back to back make [`Ownership::new`]'s `things`.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u8(self.kind);
        writer.bytes(&self.value);
        writer.end()
    }
}

/// Certificate of ownership (network 3.7). At most 16 things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ownership<'a> {
    /// Which network.
    pub network: NetworkId,
    /// Time of issue.
    pub timestamp: u64,
    /// Not used yet.
    pub flags: u64,
    /// Which certificate.
    pub id: u32,
    things: &'a [u8],
    /// Whom it is issued to.
    pub issued_to: Address,
    /// Who signed it.
    pub signer: Address,
    /// `None`: of a kind not known here.
    pub signature: Option<&'a Signature>,
}

impl<'a> Ownership<'a> {
    /// One that nobody has signed yet; `things`: see [`Thing::write`].
    pub const fn new(
        network: NetworkId,
        timestamp: u64,
        id: u32,
        things: &'a [u8],
        issued_to: Address,
        signer: Address,
    ) -> Self {
        Self {
            network,
            timestamp,
            flags: 0,
            id,
            things,
            issued_to,
            signer,
            signature: None,
        }
    }

    /// Reads a certificate.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let paper = Paper::read(Revocation::OWNERSHIP, reader)?;
        let link = paper.link.ok_or(Malformed::Value)?;
        Ok(Self {
            network: paper.network,
            timestamp: paper.timestamp,
            flags: paper.flags,
            id: paper.id,
            things: paper.things,
            issued_to: link.to,
            signer: link.from,
            signature: link.signature,
        })
    }

    /// What is owned, as it is written.
    pub const fn written_things(&self) -> &'a [u8] {
        self.things
    }

    /// What is owned.
    pub fn things(&self) -> impl Iterator<Item = Thing> + use<'a> {
        Thing::all(self.things)
    }

    /// Is it listed?
    pub fn owns(&self, thing: Thing) -> bool {
        self.things()
            .any(|owned| owned.kind == thing.kind && owned.significant() == thing.significant())
    }

    fn write_fields(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let count = self.things.chunks_exact(Thing::LEN);
        if count.len() > THINGS_MAX || !count.remainder().is_empty() {
            return Err(Malformed::Length);
        }
        writer.network_id(self.network);
        writer.u64(self.timestamp);
        writer.u64(self.flags);
        writer.u32(self.id);
        writer.u16(u16::try_from(count.len()).map_err(|_| Malformed::Length)?);
        writer.bytes(self.things);
        writer.address(self.issued_to);
        writer.address(self.signer);
        writer.end()
    }

    /// Writes it; it must be signed.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        self.write_fields(writer)?;
        write_end(writer, self.signature)
    }

    /// What the signature is made over; its length in `buffer`.
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        signed_message(buffer, &|writer| self.write_fields(writer))
    }
}
