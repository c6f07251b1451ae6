//! Credentials: certificates of membership, tags, capabilities, certificates of ownership,
//! revocations, and the packet that carries them (network 3, wire 9.11).
//!
//! Views borrow from the packet. A signature is made over the fields alone
//! (`signed_message`), re-made from what was read: reserved fields count as 0, rules as they
//! are written. A view with a signature of one's own making is also what is written.

use core::fmt;
use core::net::IpAddr;

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::identity::parse_hex;
use super::netconf::write_signature;
use super::rule::{CAPABILITY_RULES_MAX, RULE_MAX_LEN, Rules};
use crate::base::{Address, Mac, NetworkId};

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
    let signature = reader.bytes(SIGNATURE_LEN)?;
    signature
        .first_chunk()
        .map(Some)
        .ok_or(Malformed::Truncated)
}

/// u16 length and bytes of fields of later versions.
fn skip_further(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let len = reader.u16()?;
    reader.bytes(usize::from(len)).map(|_| ())
}

/// Eight bytes 7f, fields, u16 0, eight bytes 7f; its length in `buffer`.
fn signed_message(
    buffer: &mut [u8],
    fields: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>,
) -> Result<usize, Malformed> {
    let mut writer = Writer::new(buffer);
    writer.bytes(&MARK)?;
    fields(&mut writer)?;
    writer.u16(0)?;
    writer.bytes(&MARK)?;
    Ok(writer.len())
}

/// Signature and the empty list of further fields.
fn write_end(writer: &mut Writer<'_>, signature: Option<&Signature>) -> Result<(), Malformed> {
    write_signature(writer, signature.ok_or(Malformed::Value)?)?;
    writer.u16(0)
}

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
        writer.u64(self.id)?;
        writer.u64(self.value)?;
        writer.u64(self.max_delta)
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
            let signature = reader.bytes(SIGNATURE_LEN)?;
            Some((signer, signature.first_chunk().ok_or(Malformed::Truncated)?))
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
    writer.u8(COM_TYPE)?;
    writer.u16(u16::try_from(qualifiers.len()).map_err(|_| Malformed::Length)?)?;
    qualifiers.iter().try_for_each(|q| q.write(writer))?;
    match signed {
        Some((signer, signature)) => {
            writer.address(signer)?;
            writer.bytes(signature)
        }
        None => writer.bytes(&[0; Address::LEN]),
    }
}

/// Writes the binary form of a certificate in text form. As in 1.0.5 qualifiers are sorted,
/// cut ones and those with an id seen before are left out, and whatever is wrong behind them
/// leaves the certificate unsigned.
pub fn com_from_text(text: &str, writer: &mut Writer<'_>) -> Result<(), Malformed> {
    const DIGITS: usize = 2 * QUALIFIER_LEN;
    let mut fields = text.trim().split(':');
    if fields.next() != Some("1") {
        return Err(Malformed::Unsupported);
    }
    let mut list = heapless::Vec::<Qualifier, QUALIFIERS_MAX>::new();
    let hex = fields.next().ok_or(Malformed::Truncated)?;
    for digits in hex.as_bytes().chunks_exact(DIGITS) {
        let mut bytes = [0; QUALIFIER_LEN];
        let digits = core::str::from_utf8(digits).map_err(|_| Malformed::Value)?;
        parse_hex(digits, &mut bytes)?;
        let qualifier = Qualifier::read(&mut Reader::new(&bytes))?;
        if list.iter().all(|known| known.id != qualifier.id) {
            list.push(qualifier).map_err(|_| Malformed::Length)?;
        }
    }
    list.sort_unstable_by_key(|q| q.id);
    let mut signature = [0; SIGNATURE_LEN];
    let signer = fields.next().and_then(Address::parse);
    let signed = signer.filter(|_| {
        fields
            .next()
            .is_some_and(|hex| parse_hex(hex, &mut signature).is_ok())
    });
    write_com(writer, &list, signed.map(|signer| (signer, &signature)))
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
        let tag = Self {
            network: reader.network_id()?,
            timestamp: reader.u64()?,
            id: reader.u32()?,
            value: reader.u32()?,
            issued_to: reader.address()?,
            signer: reader.address()?,
            signature: read_signature(reader)?,
        };
        skip_further(reader)?;
        Ok(tag)
    }

    fn write_fields(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.network_id(self.network)?;
        writer.u64(self.timestamp)?;
        writer.u32(self.id)?;
        writer.u32(self.value)?;
        writer.address(self.issued_to)?;
        writer.address(self.signer)
    }

    /// Writes it; it must be signed.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        self.write_fields(writer)?;
        write_end(writer, self.signature)
    }

    /// What the signature is made over; its length in `buffer`.
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        signed_message(buffer, |writer| self.write_fields(writer))
    }
}

/// A link of a capability's chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link<'a> {
    /// To whom.
    pub to: Address,
    /// By whom: the controller, or the holder before.
    pub from: Address,
    /// `None`: of a kind not known here.
    pub signature: Option<&'a Signature>,
}

impl<'a> Link<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            to: reader.address()?,
            from: reader.address()?,
            signature: read_signature(reader)?,
        })
    }
}

/// Capability: rules that its holder may add (network 3.6).
#[derive(Clone, Copy, Debug)]
pub struct Capability<'a> {
    /// Which network.
    pub network: NetworkId,
    /// Time of issue.
    pub timestamp: u64,
    /// Which capability.
    pub id: u32,
    /// At most 64.
    pub rules: Rules<'a>,
    /// Longest chain allowed, 1 to 7.
    pub max_chain: u8,
    chain: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Capability<'a> {
    /// One that nobody has signed yet.
    pub const fn new(network: NetworkId, timestamp: u64, id: u32, rules: Rules<'a>) -> Self {
        Self {
            network,
            timestamp,
            id,
            rules,
            max_chain: 1,
            chain: &[],
            bytes: &[],
        }
    }

    /// Reads a capability.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let all = reader.rest();
        let (network, timestamp, id) = (reader.network_id()?, reader.u64()?, reader.u32()?);
        let count = reader.u16()?;
        if usize::from(count) > CAPABILITY_RULES_MAX {
            return Err(Malformed::Length);
        }
        let rules = Rules::read(reader, count)?;
        let max_chain = reader.u8()?;
        if !(1..=CHAIN_MAX).contains(&max_chain) {
            return Err(Malformed::Value);
        }
        let start = reader.rest();
        let mut links = 0u8;
        while reader.rest().get(..Address::LEN) != Some(&[0; Address::LEN]) {
            if links == max_chain {
                return Err(Malformed::Length);
            }
            Link::read(reader)?;
            links = links.saturating_add(1);
        }
        let chain_len = start.len().saturating_sub(reader.remaining());
        reader.bytes(Address::LEN)?;
        skip_further(reader)?;
        let used = all.len().saturating_sub(reader.remaining());
        Ok(Self {
            network,
            timestamp,
            id,
            rules,
            max_chain,
            chain: start.get(..chain_len).ok_or(Malformed::Truncated)?,
            bytes: all.get(..used).ok_or(Malformed::Truncated)?,
        })
    }

    /// The capability as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The chain, from the controller on.
    pub fn links(&self) -> impl Iterator<Item = Link<'a>> + use<'a> {
        let mut reader = Reader::new(self.chain);
        core::iter::from_fn(move || Link::read(&mut reader).ok())
    }

    /// Its holder: whom the last link names.
    pub fn issued_to(&self) -> Option<Address> {
        self.links().last().map(|link| link.to)
    }

    fn write_fields(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        if usize::from(self.rules.len()) > CAPABILITY_RULES_MAX {
            return Err(Malformed::Length);
        }
        writer.network_id(self.network)?;
        writer.u64(self.timestamp)?;
        writer.u32(self.id)?;
        writer.u16(self.rules.len())?;
        self.rules.write(writer)?;
        writer.u8(self.max_chain)
    }

    /// Writes it with these links; they must be signed.
    pub fn write<'l>(
        &self,
        writer: &mut Writer<'_>,
        links: impl Iterator<Item = Link<'l>>,
    ) -> Result<(), Malformed> {
        self.write_fields(writer)?;
        for link in links {
            writer.address(link.to)?;
            writer.address(link.from)?;
            write_signature(writer, link.signature.ok_or(Malformed::Value)?)?;
        }
        writer.bytes(&[0; Address::LEN])?;
        writer.u16(0)
    }

    /// What all links sign; its length in `buffer`.
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        signed_message(buffer, |writer| self.write_fields(writer))
    }
}

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

    const LEN: usize = 17;

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

    /// Writes it: as many of these back to back make [`Ownership::new`]'s `things`.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u8(self.kind)?;
        writer.bytes(&self.value)
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
        let (network, timestamp) = (reader.network_id()?, reader.u64()?);
        let (flags, id) = (reader.u64()?, reader.u32()?);
        let count = usize::from(reader.u16()?);
        if count > THINGS_MAX {
            return Err(Malformed::Length);
        }
        let ownership = Self {
            network,
            timestamp,
            flags,
            id,
            things: reader.bytes(count.saturating_mul(Thing::LEN))?,
            issued_to: reader.address()?,
            signer: reader.address()?,
            signature: read_signature(reader)?,
        };
        skip_further(reader)?;
        Ok(ownership)
    }

    /// What is owned.
    pub fn things(&self) -> impl Iterator<Item = Thing> + use<'a> {
        self.things
            .chunks_exact(Thing::LEN)
            .filter_map(|thing| Thing::read(&mut Reader::new(thing)).ok())
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
        writer.network_id(self.network)?;
        writer.u64(self.timestamp)?;
        writer.u64(self.flags)?;
        writer.u32(self.id)?;
        writer.u16(u16::try_from(count.len()).map_err(|_| Malformed::Length)?)?;
        writer.bytes(self.things)?;
        writer.address(self.issued_to)?;
        writer.address(self.signer)
    }

    /// Writes it; it must be signed.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        self.write_fields(writer)?;
        write_end(writer, self.signature)
    }

    /// What the signature is made over; its length in `buffer`.
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        signed_message(buffer, |writer| self.write_fields(writer))
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
        reader.u32()?;
        let (id, network) = (reader.u32()?, reader.network_id()?);
        reader.u32()?;
        let revocation = Self {
            id,
            network,
            credential_id: reader.u32()?,
            threshold: reader.u64()?,
            flags: reader.u64()?,
            target: reader.address()?,
            signer: reader.address()?,
            kind: reader.u8()?,
            signature: read_signature(reader)?,
        };
        skip_further(reader)?;
        Ok(revocation)
    }

    fn write_fields(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.u32(0)?;
        writer.u32(self.id)?;
        writer.network_id(self.network)?;
        writer.u32(0)?;
        writer.u32(self.credential_id)?;
        writer.u64(self.threshold)?;
        writer.u64(self.flags)?;
        writer.address(self.target)?;
        writer.address(self.signer)?;
        writer.u8(self.kind)
    }

    /// Writes it; it must be signed.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        self.write_fields(writer)?;
        write_end(writer, self.signature)
    }

    /// What the signature is made over; its length in `buffer`.
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        signed_message(buffer, |writer| self.write_fields(writer))
    }
}

/// Anything in a NETWORK_CREDENTIALS.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// Certificate of membership.
    Com(Com<'a>),
    /// Capability.
    Capability(Capability<'a>),
    /// Tag.
    Tag(Tag<'a>),
    /// Revocation.
    Revocation(Revocation<'a>),
    /// Certificate of ownership.
    Ownership(Ownership<'a>),
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Coms,
    Capabilities,
    Tags,
    Revocations,
    Ownerships,
    End,
}

/// Credentials of a NETWORK_CREDENTIALS, or of the certificates that were sent before 1.2. Each
/// may turn out malformed, and ends the list then.
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    reader: Reader<'a>,
    part: Part,
    left: u16,
}

impl<'a> Credentials<'a> {
    /// Of that payload.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(payload),
            part: Part::Coms,
            left: 0,
        }
    }

    /// Steps to a part with something left to read; `None` at the end.
    fn part(&mut self) -> Result<Part, Malformed> {
        if matches!(self.part, Part::Coms) {
            match self.reader.rest().first() {
                None => self.part = Part::End,
                Some(0) => {
                    self.reader.u8()?;
                    self.enter(Part::Capabilities)?;
                }
                Some(_) => return Ok(self.part),
            }
        }
        while self.left == 0 {
            match self.part {
                Part::Capabilities => self.enter(Part::Tags)?,
                Part::Tags => self.enter(Part::Revocations)?,
                Part::Revocations => self.enter(Part::Ownerships)?,
                Part::Coms | Part::Ownerships | Part::End => {
                    self.part = Part::End;
                    break;
                }
            }
        }
        Ok(self.part)
    }

    /// The packet may end before any part.
    fn enter(&mut self, part: Part) -> Result<(), Malformed> {
        if self.reader.is_empty() {
            self.part = Part::End;
            self.left = 1;
        } else {
            self.part = part;
            self.left = self.reader.u16()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Credential<'a>>, Malformed> {
        let part = self.part()?;
        self.left = self.left.saturating_sub(1);
        let reader = &mut self.reader;
        Ok(Some(match part {
            Part::Coms => Credential::Com(Com::read(reader)?),
            Part::Capabilities => Credential::Capability(Capability::read(reader)?),
            Part::Tags => Credential::Tag(Tag::read(reader)?),
            Part::Revocations => Credential::Revocation(Revocation::read(reader)?),
            Part::Ownerships => Credential::Ownership(Ownership::read(reader)?),
            Part::End => return Ok(None),
        }))
    }
}

impl<'a> Iterator for Credentials<'a> {
    type Item = Result<Credential<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.part = Part::End;
        }
        item
    }
}

/// Credentials of one kind, back to back as they were received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Records<'a> {
    /// How many.
    pub count: u16,
    /// All of them.
    pub bytes: &'a [u8],
}

/// What goes into one NETWORK_CREDENTIALS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bundle<'a> {
    /// Certificate of membership.
    pub com: Option<&'a [u8]>,
    /// Capabilities.
    pub capabilities: Records<'a>,
    /// Tags.
    pub tags: Records<'a>,
    /// Revocations.
    pub revocations: Records<'a>,
    /// Certificates of ownership.
    pub ownerships: Records<'a>,
}

impl Bundle<'_> {
    /// Bytes of the payload behind which [`write_bundles`] puts 9 more for all together.
    pub fn len(&self) -> usize {
        let parts = [
            self.capabilities,
            self.tags,
            self.revocations,
            self.ownerships,
        ];
        let com = self.com.map_or(0, <[u8]>::len);
        let len = |sum: usize, part: &Records<'_>| sum.saturating_add(part.bytes.len());
        parts.iter().fold(com, len)
    }

    /// There is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the payload.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        write_bundles(core::slice::from_ref(self), writer)
    }
}

/// Writes one payload with the credentials of several networks: each names its own.
pub fn write_bundles(bundles: &[Bundle<'_>], writer: &mut Writer<'_>) -> Result<(), Malformed> {
    for com in bundles.iter().filter_map(|b| b.com) {
        writer.bytes(com)?;
    }
    writer.u8(0)?;
    let kinds: [for<'a> fn(&Bundle<'a>) -> Records<'a>; 4] = [
        |b| b.capabilities,
        |b| b.tags,
        |b| b.revocations,
        |b| b.ownerships,
    ];
    for kind in kinds {
        let add = |sum: u16, bundle| sum.checked_add(kind(bundle).count);
        let count = bundles.iter().try_fold(0, add);
        writer.u16(count.ok_or(Malformed::Length)?)?;
        for bundle in bundles {
            writer.bytes(kind(bundle).bytes)?;
        }
    }
    Ok(())
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
        writer.bytes(&[9, 0, 3, 1, 2, 3, 0, 0]).unwrap();
        let mut reader = Reader::new(writer.written());
        assert_eq!(Revocation::read(&mut reader), Ok(revocation));
        assert!(reader.is_empty());
        assert_eq!(revocation.write(&mut writer), Err(Malformed::Value));
    }
}
