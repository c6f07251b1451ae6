//! Configurations as they lie in files, for those who look into them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::config::{Dns, IpNet, Route};
use super::decode::{self, URL_MAX, string_of};
use super::refusal::Refusal;
use crate::base::{Address, Limits, NetworkId};
use crate::wire::dict::{Dialect, Dict};

/// What a network says about signing on (network 2.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SignOn {
    /// Members must sign on now and then.
    pub enabled: bool,
    /// 0 or 1.
    pub flavour: u64,
    /// Where to sign on.
    pub url: String,
    /// Until when that holds, ms since 1970.
    pub expiry: u64,
    /// Issuer of tokens.
    pub issuer: String,
    /// Where tokens are made.
    pub endpoint: String,
    /// For the request for a token.
    pub nonce: String,
    /// For the request for a token.
    pub state: String,
    /// For the request for a token.
    pub client_id: String,
    /// Who provides it.
    pub provider: String,
}

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
    /// The dictionary as it is stored again.
    pub text: Box<[u8]>,
}

impl StoredConfig {
    /// Reads a dictionary within these limits.
    pub fn read(text: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let decoded = decode::read_any(text, limits)?;
        let (network, issued_to, config) = (decoded.network, decoded.issued_to, decoded.config);
        let dict = Dict::new(&config.text, Dialect::Modern);
        let trace = (dict.number("tt", 0), dict.number("tl", 0));
        let sign_on = sign_on(&dict);
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
            trace,
            sign_on,
            text: config.text,
        })
    }
}

fn sign_on(dict: &Dict<'_>) -> Option<Box<SignOn>> {
    let flavour = dict.number("ssov", 0);
    let enabled = dict.get("ssoe").is_some_and(|v| v.flag());
    if flavour == 0 && !enabled {
        return None;
    }
    let mut sign_on = SignOn {
        enabled,
        flavour,
        ..SignOn::default()
    };
    sign_on.provider.push_str("default");
    if enabled && flavour == 0 {
        sign_on.expiry = dict.number("aexpt", 0);
    }
    for ((key, most), text) in SignOn::TEXTS.into_iter().zip(sign_on.texts_mut()) {
        let value = dict.get(key);
        // Who provides it has a default.
        let told = value.is_some() || key != "ssop";
        if enabled && told && (flavour != 0 || key == "aurl") {
            *text = string_of(value, most);
        }
    }
    Some(Box::new(sign_on))
}

impl SignOn {
    /// Keys of the texts, with the most that is taken of each.
    const TEXTS: [(&str, usize); 7] = [
        ("iurl", URL_MAX),
        ("aurl", URL_MAX),
        ("ssoce", URL_MAX),
        ("sson", 63),
        ("ssos", 127),
        ("ssocid", 255),
        ("ssop", 63),
    ];

    /// In the order of [`Self::TEXTS`].
    fn texts_mut(&mut self) -> [&mut String; 7] {
        [
            &mut self.issuer,
            &mut self.url,
            &mut self.endpoint,
            &mut self.nonce,
            &mut self.state,
            &mut self.client_id,
            &mut self.provider,
        ]
    }
}
