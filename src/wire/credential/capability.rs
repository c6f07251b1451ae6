//! Capabilities (network 3.6).

use super::super::Malformed;
use super::super::cursor::{Reader, Writer};
use super::super::netconf::write_signature;
use super::super::rule::{CAPABILITY_RULES_MAX, Rules};
use super::{Paper, Revocation, Signature, read_signature, signed_message};
use crate::base::{Address, NetworkId};

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
        let paper = Paper::read(Revocation::CAPABILITY, reader)?;
        Ok(Self {
            network: paper.network,
            timestamp: paper.timestamp,
            id: paper.id,
            rules: paper.rules,
            max_chain: paper.max_chain,
            chain: paper.chain,
            bytes: paper.bytes,
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
        writer.network_id(self.network);
        writer.u64(self.timestamp);
        writer.u32(self.id);
        writer.u16(self.rules.len());
        self.rules.write(writer)?;
        writer.u8(self.max_chain);
        writer.end()
    }

    /// Writes it with these links; they must be signed.
    pub fn write<'l>(
        &self,
        writer: &mut Writer<'_>,
        links: impl Iterator<Item = Link<'l>>,
    ) -> Result<(), Malformed> {
        self.write_fields(writer)?;
        for link in links {
            writer.address(link.to);
            writer.address(link.from);
            write_signature(writer, link.signature.ok_or(Malformed::Value)?)?;
        }
        writer.bytes(&[0; Address::LEN]);
        writer.u16(0);
        writer.end()
    }

    /// What all links sign; its length in `buffer`.
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        signed_message(buffer, &|writer| self.write_fields(writer))
    }
}
