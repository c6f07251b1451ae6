//! Configurations as they lie in files, for those who look into them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::config::{Dns, IpNet, Route, SignOn};
use super::decode;
use super::refusal::Refusal;
use crate::base::{Address, Limits, NetworkId};

/// What a dictionary of either era comes to (network 2.2 to 2.5).
#[derive(Clone, Debug)]
pub struct StoredConfig {
    /// The network that it is of.
    pub network: NetworkId,
    /// The member that it is for.
    pub issued_to: Address,
    /// When it was issued, ms since 1970 by the controller's clock.
    pub timestamp: u64,
    /// How far times of credentials may be apart, ms.
    pub window_ms: u64,
    /// Revision of the network.
    pub revision: u64,
    /// Flags (network 2.3).
    pub flags: u64,
    /// MTU of the tap.
    pub mtu: u16,
    /// Most recipients of a multicast frame; 0: off.
    pub multicast_limit: u32,
    /// Anybody may take part.
    pub public: bool,
    /// Name, as sent.
    pub name: String,
    /// Managed addresses.
    pub addresses: Vec<IpNet>,
    /// Managed routes.
    pub routes: Vec<Route>,
    /// Base rules, binary.
    pub rules: Box<[u8]>,
    /// Certificate of membership, binary; empty: none.
    pub com: Box<[u8]>,
    /// Capabilities, binary, back to back.
    pub capabilities: Box<[u8]>,
    /// Tags, binary, back to back.
    pub tags: Box<[u8]>,
    /// Certificates of ownership, binary, back to back.
    pub ownerships: Box<[u8]>,
    /// Tags by id: id and value.
    pub tag_values: Vec<(u32, u32)>,
    /// Ids of the capabilities, in the order in which they are tried.
    pub capability_ids: Vec<u32>,
    /// Address in the low 40 bits, roles above.
    pub specialists: Vec<u64>,
    /// Names.
    pub dns: Dns,
    /// Who wants traces, and how many.
    pub trace: (u64, u64),
    /// Signing on.
    pub sign_on: Option<Box<SignOn>>,
    /// The same in the form of the file.
    pub rewritten: Vec<u8>,
}

impl StoredConfig {
    /// Reads a dictionary within these limits.
    pub fn read(text: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let decoded = decode::read_any(text, limits)?;
        let (network, issued_to, config) = (decoded.network, decoded.issued_to, decoded.config);
        let rewritten = decode::write(&config, network, issued_to).unwrap_or_default();
        Ok(Self {
            network,
            issued_to,
            timestamp: config.timestamp,
            window_ms: config.window_ms,
            revision: config.revision,
            flags: config.flags,
            mtu: config.mtu,
            multicast_limit: config.multicast_limit,
            public: config.public,
            name: config.name.as_str().into(),
            addresses: config.addresses.as_slice().into(),
            routes: config.routes,
            rules: config.rules,
            com: config.papers.com,
            capabilities: config.papers.capabilities.bytes,
            tags: config.papers.tags.bytes,
            ownerships: config.papers.ownerships.bytes,
            tag_values: config.own.tags,
            capability_ids: config.own.capabilities.iter().map(|c| c.0).collect(),
            specialists: config.specialists,
            dns: config.dns,
            trace: config.trace,
            sign_on: config.sign_on,
            rewritten,
        })
    }
}
