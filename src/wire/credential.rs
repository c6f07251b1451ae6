//! Credentials: certificates of membership, tags, capabilities, certificates of ownership,
//! revocations, and the packet that carries them (network 3, wire 9.11).
//!
//! Views borrow from the packet. A signature is made over the fields alone
//! (`Paper::signed`), as they were read, but for reserved fields, which count as 0, and rules,
//! which count as they are written. A view with a signature of one's own making is also what is written.

mod capability;
mod com;
mod ownership;
mod packet;
mod paper;

pub use capability::{Capability, Link};
pub use com::{Com, Qualifier, com_from_text, write_com};
pub use ownership::{Ownership, Thing};
pub use packet::{Bundle, Credential, Credentials, Records, write_bundles};
pub use paper::Paper;

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::netconf::write_signature;
use super::rule::{CAPABILITY_RULES_MAX, RULE_MAX_LEN};
use crate::base::{Address, NetworkId};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 96;
/// Most qualifiers of a certificate of membership.
pub const QUALIFIERS_MAX: usize = 8;
/// Longest certificate of membership.
pub const COM_MAX_LEN: usize = 3 + QUALIFIERS_MAX * QUALIFIER_LEN + Address::LEN + SIGNATURE_LEN;
/// Most things of a certificate of ownership.
pub const THINGS_MAX: usize = 16;
/// Longest chain of a capability.
pub const CHAIN_MAX: u8 = 7;
/// Room for the signed message of any credential: a capability with all its rules.
pub const SIGNED_MAX_LEN: usize =
    2 * MARK.len() + 8 + 8 + 4 + 2 + CAPABILITY_RULES_MAX * RULE_MAX_LEN + 1 + 2;

const COM_TYPE: u8 = 1;
const QUALIFIER_LEN: usize = 24;
const SIGNATURE_TYPE: u8 = 1;
const MARK: [u8; 8] = [0x7f; 8];

/// Made by a controller.
pub type Signature = [u8; SIGNATURE_LEN];

/// u8 type, u16 length, signature. Of other types: `None`, skipped.
fn read_signature<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a Signature>, Malformed> {
    let kind = reader.u8()?;
    let len = usize::from(reader.u16()?);
    if kind != SIGNATURE_TYPE {
        reader.bytes(len)?;
        return Ok(None);
    }
    if len != SIGNATURE_LEN {
        return Err(Malformed::Length);
    }
    reader.chunk().map(Some)
}

/// u16 length and bytes of fields of later versions.
fn skip_further(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let len = reader.u16()?;
    reader.bytes(usize::from(len)).map(|_| ())
}

/// Writes what is signed of a credential.
type Fields<'f> = &'f dyn Fn(&mut Writer<'_>) -> Result<(), Malformed>;

/// Eight bytes 7f, fields, u16 0, eight bytes 7f; its length in `buffer`.
fn signed_message(buffer: &mut [u8], fields: Fields<'_>) -> Result<usize, Malformed> {
    let mut writer = Writer::new(buffer);
    writer.bytes(&MARK);
    fields(&mut writer)?;
    writer.u16(0);
    writer.bytes(&MARK);
    writer.end()?;
    Ok(writer.len())
}

/// Signature and the empty list of further fields.
fn write_end(writer: &mut Writer<'_>, signature: Option<&Signature>) -> Result<(), Malformed> {
    write_signature(writer, signature.ok_or(Malformed::Value)?)?;
    writer.u16(0);
    writer.end()
}

/// Tag: a number that rules look at (network 3.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag<'a> {
    /// Which network.
    pub network: NetworkId,
    /// Time of issue.
    pub timestamp: u64,
    /// Which tag.
    pub id: u32,
    /// Its value.
    pub value: u32,
    /// Whom it is issued to.
    pub issued_to: Address,
    /// Who signed it.
    pub signer: Address,
    /// `None`: of a kind not known here.
    pub signature: Option<&'a Signature>,
}

impl<'a> Tag<'a> {
    /// Reads a tag.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let paper = Paper::read(Revocation::TAG, reader)?;
        let link = paper.link.ok_or(Malformed::Value)?;
        Ok(Self {
            network: paper.network,
            timestamp: paper.timestamp,
            id: paper.id,
            value: paper.value,
            issued_to: link.to,
            signer: link.from,
            signature: link.signature,
        })
    }

    fn write_fields(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.network_id(self.network);
        writer.u64(self.timestamp);
        writer.u32(self.id);
        writer.u32(self.value);
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

/// Revocation of what was issued up to a time (network 3.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revocation<'a> {
    /// Random.
    pub id: u32,
    /// Which network.
    pub network: NetworkId,
    /// Which credential; 0 for a certificate of membership.
    pub credential_id: u32,
    /// What was issued at or before this time is void.
    pub threshold: u64,
    /// [`Revocation::FAST`].
    pub flags: u64,
    /// Whose credential.
    pub target: Address,
    /// Who signed it.
    pub signer: Address,
    /// [`Revocation::COM`] and its neighbours.
    pub kind: u8,
    /// `None`: of a kind not known here.
    pub signature: Option<&'a Signature>,
}

impl<'a> Revocation<'a> {
    /// Flag: pass it on at once.
    pub const FAST: u64 = 1;
    /// Kind: certificate of membership.
    pub const COM: u8 = 1;
    /// Kind: capability.
    pub const CAPABILITY: u8 = 2;
    /// Kind: tag.
    pub const TAG: u8 = 3;
    /// Kind: certificate of ownership.
    pub const OWNERSHIP: u8 = 4;
    /// Bytes as it is written.
    pub const LEN: usize = 152;

    /// Reads a revocation.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut fields = Reader::new(reader.rest());
        let paper = Paper::read(Paper::REVOCATION, reader)?;
        let link = paper.link.ok_or(Malformed::Value)?;
        fields.u32()?;
        Ok(Self {
            id: fields.u32()?,
            network: paper.network,
            credential_id: paper.id,
            threshold: paper.timestamp,
            flags: paper.flags,
            target: link.to,
            signer: link.from,
            kind: paper.kind,
            signature: link.signature,
        })
    }

    fn write_fields(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(0);
        writer.u32(self.id);
        writer.network_id(self.network);
        writer.u32(0);
        writer.u32(self.credential_id);
        writer.u64(self.threshold);
        writer.u64(self.flags);
        writer.address(self.target);
        writer.address(self.signer);
        writer.u8(self.kind);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// network 3.1: unsigned, ids 0 and 1
    const COM: &[u8] = b"\x01\0\x02\
        \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x64\0\0\0\0\0\0\0\x0a\
        \0\0\0\0\0\0\0\x01\x80\x56\xc2\xe2\x1c\0\0\x01\0\0\0\0\0\0\0\0\
        \0\0\0\0\0";

    fn kinds(payload: &[u8]) -> Vec<bool> {
        Credentials::new(payload).map(|c| c.is_ok()).collect()
    }

    #[test]
    fn a_packet_may_end_behind_any_part() {
        // wire 9.11
        let old = [COM, COM].concat();
        assert_eq!(kinds(&old), [true, true]);
        assert_eq!(kinds(&[COM, &[0]].concat()), [true]);
        assert_eq!(kinds(&[COM, &[0, 0, 0, 0, 0]].concat()), [true]);
        assert_eq!(kinds(&[COM, &[0, 0]].concat()), [true, false]);
        assert_eq!(kinds(&[COM, &[2]].concat()), [true, false]);
        assert_eq!(kinds(&[COM, &[0, 0, 1]].concat()), [true, false]);
        assert_eq!(kinds(&[]), [] as [bool; 0]);
    }

    #[test]
    fn agreement_allows_the_deltas_of_ones_own() {
        // network 3.1
        let own = Com::read(&mut Reader::new(COM)).unwrap();
        let at = |time: u8| {
            let mut other = COM.to_vec();
            other[18] = time;
            let other = Com::read(&mut Reader::new(&other)).unwrap();
            own.agrees_with(&other, &[0; 48])
        };
        assert!(at(100) && at(90) && at(110));
        assert!(!at(89) && !at(111));
    }

    #[test]
    fn a_signature_of_another_kind_is_skipped_by_its_length() {
        // network 3.4
        let address = Address::new(1).unwrap();
        let revocation = Revocation {
            id: 1,
            network: NetworkId::new(2).unwrap(),
            credential_id: 3,
            threshold: 4,
            flags: Revocation::FAST,
            target: address,
            signer: address,
            kind: Revocation::TAG,
            signature: None,
        };
        let mut buffer = [0; Revocation::LEN];
        let mut writer = Writer::new(&mut buffer);
        revocation.write_fields(&mut writer).unwrap();
        writer.bytes(&[9, 0, 3, 1, 2, 3, 0, 0]);
        let mut reader = Reader::new(writer.written());
        assert_eq!(Revocation::read(&mut reader), Ok(revocation));
        assert!(reader.is_empty());
        assert_eq!(revocation.write(&mut writer), Err(Malformed::Value));
    }
}
