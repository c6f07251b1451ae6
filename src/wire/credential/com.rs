//! Certificates of membership (network 3.1, 3.2).

use core::fmt;

use super::super::Malformed;
use super::super::cursor::{Reader, Writer};
use super::super::identity::parse_hex;
use super::{COM_TYPE, QUALIFIER_LEN, QUALIFIERS_MAX, SIGNATURE_LEN, Signature};
use crate::base::{Address, NetworkId};

/// A field of a certificate of membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Qualifier {
    /// See [`Com::TIMESTAMP`] and its neighbours.
    pub id: u64,
    /// Value.
    pub value: u64,
    /// How far the other's value may be off.
    pub max_delta: u64,
}

impl Qualifier {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: reader.u64()?,
            value: reader.u64()?,
            max_delta: reader.u64()?,
        })
    }

    /// Writes it; that many of them back to back is what the controller signs.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u64(self.id);
        writer.u64(self.value);
        writer.u64(self.max_delta);
        writer.end()
    }
}

/// Certificate of membership (network 3.1). At most 8 qualifiers, ids not descending.
#[derive(Clone, Copy, Debug)]
pub struct Com<'a> {
    bytes: &'a [u8],
    qualifiers: &'a [u8],
    /// Who signed it, and the signature.
    pub signed: Option<(Address, &'a Signature)>,
}

impl<'a> Com<'a> {
    /// Id of the qualifier with the time of issue; its delta is the window.
    pub const TIMESTAMP: u64 = 0;
    /// Id of the qualifier with the network.
    pub const NETWORK: u64 = 1;
    /// Id of the qualifier with the holder's address.
    pub const ISSUED_TO: u64 = 2;
    /// Ids of the four qualifiers with the first 32 bytes of the holder's fingerprint.
    pub const FINGERPRINT: [u64; 4] = [3, 4, 5, 6];

    /// Reads a certificate.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let all = reader.rest();
        if reader.u8()? != COM_TYPE {
            return Err(Malformed::Unsupported);
        }
        let count = usize::from(reader.u16()?);
        if count > QUALIFIERS_MAX {
            return Err(Malformed::Length);
        }
        let qualifiers = reader.bytes(count.saturating_mul(QUALIFIER_LEN))?;
        if !ids(qualifiers).is_sorted() {
            return Err(Malformed::Value);
        }
        let signer: [u8; Address::LEN] = reader.array()?;
        let signed = if signer == [0; Address::LEN] {
            None
        } else {
            let signer = Address::from_bytes(signer).ok_or(Malformed::Value)?;
            Some((signer, reader.chunk()?))
        };
        let used = all.len().saturating_sub(reader.remaining());
        Ok(Self {
            bytes: all.get(..used).ok_or(Malformed::Truncated)?,
            qualifiers,
            signed,
        })
    }

    /// The certificate as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the signature is made over.
    pub const fn signed_message(&self) -> &'a [u8] {
        self.qualifiers
    }

    /// Its qualifiers, ids not descending.
    pub fn qualifiers(&self) -> impl Iterator<Item = Qualifier> + use<'a> {
        self.qualifiers
            .chunks_exact(QUALIFIER_LEN)
            .filter_map(|q| Qualifier::read(&mut Reader::new(q)).ok())
    }

    /// Value of a qualifier; the last one's of equal ids.
    pub fn value(&self, id: u64) -> Option<u64> {
        self.qualifiers()
            .filter(|q| q.id == id)
            .last()
            .map(|q| q.value)
    }

    /// Time of issue, ms since 1970 by the controller's clock.
    pub fn timestamp(&self) -> Option<u64> {
        self.value(Self::TIMESTAMP)
    }

    /// Which network.
    pub fn network(&self) -> Option<NetworkId> {
        self.value(Self::NETWORK).and_then(NetworkId::new)
    }

    /// Whom it is issued to.
    pub fn issued_to(&self) -> Option<Address> {
        self.value(Self::ISSUED_TO).and_then(Address::new)
    }

    /// Does a node that holds this one take a peer that shows `other` for a member? `fingerprint`
    /// is that of the identity with which the peer was authenticated.
    pub fn agrees_with(&self, other: &Com<'_>, fingerprint: &[u8; 48]) -> bool {
        if self.qualifiers.is_empty() || other.qualifiers.is_empty() {
            return false;
        }
        let within = self.qualifiers().all(|own| {
            other
                .value(own.id)
                .is_some_and(|value| value.abs_diff(own.value) <= own.max_delta)
        });
        let bound = ids(self.qualifiers).any(|id| Self::FINGERPRINT.contains(&id));
        within && (!bound || other.names(fingerprint))
    }

    /// Has all four fingerprint qualifiers, and they are those of this identity.
    fn names(&self, fingerprint: &[u8; 48]) -> bool {
        let mut reader = Reader::new(fingerprint);
        Self::FINGERPRINT
            .iter()
            .all(|id| reader.u64().is_ok_and(|word| self.value(*id) == Some(word)))
    }

    /// Writes it without its signature.
    pub fn write_unsigned(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let count = self.qualifiers.len() / QUALIFIER_LEN;
        writer.u8(COM_TYPE);
        writer.u16(u16::try_from(count).map_err(|_| Malformed::Length)?);
        writer.bytes(self.qualifiers);
        write_signed(writer, None)
    }

    /// Text form of 1.0.x to 1.6.5 (network 3.2).
    pub fn write_text(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let hex = |out: &mut dyn fmt::Write, bytes: &[u8]| {
            bytes.iter().try_for_each(|b| write!(out, "{b:02x}"))
        };
        out.write_str("1:")?;
        hex(out, self.qualifiers)?;
        match self.signed {
            Some((signer, signature)) => {
                write!(out, ":{signer}:")?;
                hex(out, signature)
            }
            None => out.write_str(":0000000000"),
        }
    }
}

fn ids(qualifiers: &[u8]) -> impl Iterator<Item = u64> {
    qualifiers
        .chunks_exact(QUALIFIER_LEN)
        .filter_map(|q| Reader::new(q).u64().ok())
}

/// Writes a certificate of membership: qualifiers with ascending ids, and the signature over
/// them.
pub fn write_com(
    writer: &mut Writer<'_>,
    qualifiers: &[Qualifier],
    signed: Option<(Address, &Signature)>,
) -> Result<(), Malformed> {
    if qualifiers.len() > QUALIFIERS_MAX {
        return Err(Malformed::Length);
    }
    if !qualifiers.is_sorted_by_key(|q| q.id) {
        return Err(Malformed::Value);
    }
    writer.u8(COM_TYPE);
    writer.u16(u16::try_from(qualifiers.len()).map_err(|_| Malformed::Length)?);
    qualifiers.iter().try_for_each(|q| q.write(writer))?;
    write_signed(writer, signed)
}

fn write_signed(
    writer: &mut Writer<'_>,
    signed: Option<(Address, &Signature)>,
) -> Result<(), Malformed> {
    match signed {
        Some((signer, signature)) => {
            writer.address(signer);
            writer.bytes(signature);
        }
        None => writer.bytes(&[0; Address::LEN]),
    }
    writer.end()
}

/// Writes the binary form of a certificate in text form. As in 1.0.5 qualifiers are sorted,
/// cut ones and those with an id seen before are left out, and whatever is wrong behind them
/// leaves the certificate unsigned.
pub fn com_from_text(text: &str, writer: &mut Writer<'_>) -> Result<(), Malformed> {
    const DIGITS: usize = 2 * QUALIFIER_LEN;
    let mut fields = text.trim_ascii().split(':');
    if fields.next() != Some("1") {
        return Err(Malformed::Unsupported);
    }
    let hex = fields.next().ok_or(Malformed::Truncated)?;
    let start = writer.len();
    writer.u8(COM_TYPE);
    writer.u16(0);
    let mut count = 0u16;
    let mut last = None;
    loop {
        // The one with the next id; of equal ones the first.
        let mut next: Option<Qualifier> = None;
        for digits in hex.as_bytes().chunks_exact(DIGITS) {
            let mut bytes = [0; QUALIFIER_LEN];
            let digits = core::str::from_utf8(digits).map_err(|_| Malformed::Value)?;
            parse_hex(digits, &mut bytes)?;
            let read = Qualifier::read(&mut Reader::new(&bytes))?;
            if last.is_none_or(|id| read.id > id) && next.is_none_or(|q| read.id < q.id) {
                next = Some(read);
            }
        }
        let Some(next) = next else {
            break;
        };
        if usize::from(count) >= QUALIFIERS_MAX {
            return Err(Malformed::Length);
        }
        last = Some(next.id);
        count = count.saturating_add(1);
        next.write(writer)?;
    }
    writer.patch_u16(start.saturating_add(1), count);
    let mut signature = [0; SIGNATURE_LEN];
    let signer = fields.next().and_then(Address::parse);
    let signed = signer.filter(|_| {
        fields
            .next()
            .is_some_and(|hex| parse_hex(hex, &mut signature).is_ok())
    });
    write_signed(writer, signed.map(|signer| (signer, &signature)))
}
