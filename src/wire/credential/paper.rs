//! What credentials beside the certificate have in common: all kinds are read in one way.

use super::super::Malformed;
use super::super::cursor::{Reader, Writer};
use super::super::rule::{CAPABILITY_RULES_MAX, Rules};
use super::{
    CHAIN_MAX, Link, MARK, Revocation, THINGS_MAX, Thing, read_signature, skip_further, write_end,
};
use crate::base::{Address, NetworkId};

/// Fields of a capability before its rules.
const RULES_AT: usize = 22;
/// Behind the fields: no further ones, and the mark.
const END: [u8; 10] = [0, 0, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f];

/// A tag, a capability, a certificate of ownership or a revocation.
#[derive(Clone, Copy, Debug)]
pub struct Paper<'a> {
    /// As revocations name it: [`Revocation::TAG`] and its neighbours.
    pub kind: u8,
    /// A revocation of what is of this kind.
    pub revokes: bool,
    /// Which network.
    pub network: NetworkId,
    /// Time of issue; what is revoked up to.
    pub timestamp: u64,
    /// Of a certificate of ownership or a revocation.
    pub flags: u64,
    /// Which credential.
    pub id: u32,
    /// Value of a tag.
    pub value: u32,
    /// Rules of a capability.
    pub rules: Rules<'a>,
    /// What is owned, as it is written.
    pub things: &'a [u8],
    /// Whom it is issued to, by whom: of a chain the first link.
    pub link: Option<Link<'a>>,
    /// Links of a capability's chain; 1 of all else.
    pub links: u8,
    /// Longest chain allowed of a capability, 1 to 7.
    pub max_chain: u8,
    /// The links, as they are written.
    pub(super) chain: &'a [u8],
    /// What the signature is made over, but for reserved fields and rules.
    fields: &'a [u8],
    /// All of it as it was read.
    pub bytes: &'a [u8],
}

impl<'a> Paper<'a> {
    /// In place of a kind: a revocation, which says itself of what.
    pub const REVOCATION: u8 = 0;

    /// Reads one of `kind`.
    pub fn read(kind: u8, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let all = reader.rest();
        let behind = |reader: &Reader<'_>, from: &'a [u8]| {
            let len = from.len().saturating_sub(reader.remaining());
            from.get(..len).unwrap_or_default()
        };
        let revokes = kind == Self::REVOCATION;
        let is_capability = kind == Revocation::CAPABILITY;
        // A reserved field, and a random number by which nobody goes.
        reader.bytes(if revokes { 8 } else { 0 })?;
        let network = reader.network_id()?;
        let mut id = 0;
        if revokes {
            reader.u32()?;
            id = reader.u32()?;
        }
        let mut paper = Self {
            kind,
            revokes,
            network,
            timestamp: reader.u64()?,
            flags: 0,
            id,
            value: 0,
            rules: Rules::EMPTY,
            things: &[],
            link: None,
            links: 0,
            max_chain: 1,
            chain: &[],
            fields: &[],
            bytes: &[],
        };
        if revokes || kind == Revocation::OWNERSHIP {
            paper.flags = reader.u64()?;
        }
        if !revokes {
            paper.id = reader.u32()?;
        }
        match kind {
            Revocation::TAG => paper.value = reader.u32()?,
            Revocation::CAPABILITY => {
                let count = reader.u16()?;
                if usize::from(count) > CAPABILITY_RULES_MAX {
                    return Err(Malformed::Length);
                }
                paper.rules = Rules::read(reader, count)?;
                paper.max_chain = reader.u8()?;
                if !(1..=CHAIN_MAX).contains(&paper.max_chain) {
                    return Err(Malformed::Value);
                }
                paper.fields = behind(reader, all);
            }
            Revocation::OWNERSHIP => {
                let count = usize::from(reader.u16()?);
                if count > THINGS_MAX {
                    return Err(Malformed::Length);
                }
                paper.things = reader.bytes(count.saturating_mul(Thing::LEN))?;
            }
            _ => {}
        }
        let start = reader.rest();
        loop {
            if is_capability {
                if reader.rest().get(..Address::LEN) == Some(&[0; Address::LEN]) {
                    break;
                }
                if paper.links == paper.max_chain {
                    return Err(Malformed::Length);
                }
            }
            let (to, from) = (reader.address()?, reader.address()?);
            if revokes {
                paper.kind = reader.u8()?;
            }
            if !is_capability {
                paper.fields = behind(reader, all);
            }
            let signature = read_signature(reader)?;
            let link = Link {
                to,
                from,
                signature,
            };
            paper.link.get_or_insert(link);
            paper.links = paper.links.saturating_add(1);
            if !is_capability {
                break;
            }
        }
        paper.chain = behind(reader, start);
        reader.bytes(if is_capability { Address::LEN } else { 0 })?;
        skip_further(reader)?;
        paper.bytes = behind(reader, all);
        Ok(paper)
    }

    /// Its only link.
    pub const fn only_link(&self) -> Option<Link<'a>> {
        match self.links {
            1 => self.link,
            _ => None,
        }
    }

    /// What the signature is made over, in parts: reserved fields count as 0, rules as they are
    /// written (`rules`).
    pub fn signed<'r>(&'r self, rules: &'r [u8]) -> [&'r [u8]; 6] {
        let part = |from, to| self.fields.get(from..to).unwrap_or_default();
        let end = self.fields.len();
        let parts = if self.revokes {
            [&[0; 4], part(4, 16), &[0; 4], part(20, end)]
        } else if self.kind == Revocation::CAPABILITY {
            let chain = end.saturating_sub(1);
            [part(0, RULES_AT), rules, part(chain, end), &[]]
        } else {
            [self.fields, &[], &[], &[]]
        };
        let [a, b, c, d] = parts;
        [&MARK, a, b, c, d, &END]
    }

    /// Writes a revocation anew, without what is reserved or further; it must be signed.
    pub fn write_revocation(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let [_, parts @ .., _] = self.signed(&[]);
        for part in parts {
            writer.bytes(part);
        }
        write_end(writer, self.link.and_then(|link| link.signature))
    }
}
