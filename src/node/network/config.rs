//! A network's configuration in force, and those that need no controller (network 1.3, 2.2).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};

use super::member::Held;
use crate::base::{Address, NetworkId};
use crate::wire::derive;
use crate::wire::dict::{Dialect, Dict, Entries};

/// Most managed addresses (network 2.2).
pub(crate) const ADDRESSES_MAX: usize = 32;
/// Longest name.
pub(crate) const NAME_MAX: usize = 127;
/// MTU where the configuration says nothing.
pub(crate) const MTU_DEFAULT: u16 = 2800;

/// Bounds of the MTU that a configuration may ask for (network 2.2).
pub(crate) const MTU_MIN: u16 = 1280;
pub(crate) const MTU_MAX: u16 = 10_000;
/// DNS servers of a network (network 2.4).
pub(crate) const DNS_SERVERS: usize = 4;
/// Longest DNS domain of a network.
pub(crate) const DOMAIN_MAX: usize = 127;

/// Flag: broadcasts pass.
pub(crate) const FLAG_BROADCAST: u64 = 0x02;
/// Flag: neighbour solicitations for addresses made of ids are answered locally.
pub(crate) const FLAG_NDP: u64 = 0x04;
/// Flag: frames are not compressed.
pub(crate) const FLAG_UNCOMPRESSED: u64 = 0x10;
/// Role bit of a specialist: bridges foreign MACs.
pub(crate) const ROLE_BRIDGE: u64 = 0x0200_0000_0000;
/// Role bit of a specialist: is asked for members of groups.
pub(crate) const ROLE_ANCHOR: u64 = 0x0400_0000_0000;
/// Role bit of a specialist: spreads multicast frames of others.
pub(crate) const ROLE_REPLICATOR: u64 = 0x0800_0000_0000;
/// Window of credentials of an ad-hoc network, which has none.
const AD_HOC_WINDOW_MS: u64 = 7_200_000;

const ADDRESS_MASK: u64 = 0xff_ffff_ffff;

/// An address with the length of its on-link prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IpNet {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the prefix.
    pub bits: u8,
}

impl IpNet {
    /// Is `ip` in the on-link prefix?
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                (u32::from(a) ^ u32::from(b))
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                (u128::from(a) ^ u128::from(b))
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

/// A route into a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where to; host bits 0.
    pub target: IpNet,
    /// By whom; `None`: on-link.
    pub via: Option<IpAddr>,
    /// As sent; nobody gives it a meaning.
    pub flags: u16,
    /// As sent.
    pub metric: u16,
}

/// Who answers names of a network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dns {
    /// Names below this domain; as sent, so it may hold anything.
    pub domain: String,
    /// Who knows them.
    pub servers: heapless::Vec<IpAddr, DNS_SERVERS>,
}

/// Credentials of one kind, back to back as they came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Batch {
    /// How long each is.
    pub(crate) lengths: Vec<u32>,
    pub(crate) bytes: Box<[u8]>,
}

/// Own credentials in the form in which they are shown to others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Papers {
    /// Certificate of membership; empty: none.
    pub(crate) com: Box<[u8]>,
    pub(crate) capabilities: Batch,
    pub(crate) tags: Batch,
    pub(crate) ownerships: Batch,
}

/// What is in force. Sized by its content; who fills it checks the bounds (network 9).
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// When it was issued, ms since 1970 by the controller's clock.
    pub(crate) timestamp: u64,
    /// How far times of credentials may be from that of the configuration.
    pub(crate) window_ms: u64,
    pub(crate) revision: u64,
    pub(crate) flags: u64,
    pub(crate) mtu: u16,
    /// 0: multicast off.
    pub(crate) multicast_limit: u32,
    pub(crate) public: bool,
    /// As sent, so it may hold anything.
    pub(crate) name: heapless::String<NAME_MAX>,
    pub(crate) addresses: heapless::Vec<IpNet, ADDRESSES_MAX>,
    pub(crate) routes: Vec<Route>,
    /// Base rules, binary.
    pub(crate) rules: Box<[u8]>,
    /// Own tags, capabilities, certified addresses.
    pub(crate) own: Held,
    /// The same for others.
    pub(crate) papers: Papers,
    /// Address in the low 40 bits, roles above.
    pub(crate) specialists: Vec<u64>,
    pub(crate) dns: Dns,
    /// The dictionary that says all this, as it came; empty: nobody sent one.
    pub(crate) text: Box<[u8]>,
}

/// The next entry that is none of the times, of our credentials, or of the signature of the old
/// form.
fn substance<'a>(entries: &mut Entries<'a>) -> Option<(&'a [u8], &'a [u8])> {
    const PASSING: [&[u8]; 9] = [
        b"ts",
        b"C",
        b"CAP",
        b"TAG",
        b"COO",
        b"com",
        b"~!sigid",
        b"~!sigts",
        b"~!ed25519",
    ];
    let (key, value) = entries.find(|(key, _)| !PASSING.contains(key))?;
    Some((key, value.raw()))
}

/// What an ad-hoc id comes to.
pub(crate) enum AdHoc {
    /// An ordinary network, or an `ff…` id without meaning.
    No,
    /// A port range whose end is before its start.
    Invalid,
    Yes(Box<Config>),
}

impl Config {
    /// The same but for what changes with every refresh: times and own credentials.
    pub(crate) fn differs_in_substance(&self, other: &Self) -> bool {
        let mut ours = Dict::new(&self.text, Dialect::Modern).entries();
        let mut theirs = Dict::new(&other.text, Dialect::Modern).entries();
        loop {
            match (substance(&mut ours), substance(&mut theirs)) {
                (None, None) => return false,
                (one, other) if one != other => return true,
                _ => {}
            }
        }
    }

    pub(crate) fn broadcast(&self) -> bool {
        self.flags & FLAG_BROADCAST != 0
    }

    pub(crate) fn emulates_ndp(&self) -> bool {
        self.flags & FLAG_NDP != 0
    }

    pub(crate) fn is_bridge(&self, address: Address) -> bool {
        self.bridges().any(|a| a == address)
    }

    pub(crate) fn is_replicator(&self, address: Address) -> bool {
        self.replicators().any(|a| a == address)
    }

    pub(crate) fn has_replicators(&self) -> bool {
        self.replicators().next().is_some()
    }

    /// Active bridges, in the order of the configuration.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = Address> {
        self.with_role(ROLE_BRIDGE)
    }

    /// Members that spread multicast frames of others.
    pub(crate) fn replicators(&self) -> impl Iterator<Item = Address> {
        self.with_role(ROLE_REPLICATOR)
    }

    /// Members that are asked for others, besides the upstreams. The hub of an ad-hoc network is
    /// one: differs from 1.14.1, where it has no role bit and so no use (network 1.3).
    pub(crate) fn anchors(&self) -> impl Iterator<Item = Address> {
        let asked = |s: &&u64| **s & (ROLE_ANCHOR | ROLE_REPLICATOR) != 0 || **s <= ADDRESS_MASK;
        self.specialists.iter().filter(asked).filter_map(specialist)
    }

    fn with_role(&self, role: u64) -> impl Iterator<Item = Address> {
        let has = move |s: &&u64| **s & role != 0;
        self.specialists.iter().filter(has).filter_map(specialist)
    }

    /// One that says nothing.
    pub(crate) fn new() -> Box<Self> {
        let mut config = Box::<Self>::default();
        config.mtu = MTU_DEFAULT;
        config
    }

    fn ad_hoc(multicast_limit: u32, rules: &[u8]) -> Box<Self> {
        let mut config = Self::new();
        config.window_ms = AD_HOC_WINDOW_MS;
        config.revision = 1;
        config.flags = FLAG_NDP;
        config.multicast_limit = multicast_limit;
        config.public = true;
        config.rules = rules.into();
        config
    }
}

fn specialist(number: &u64) -> Option<Address> {
    Address::new(number & ADDRESS_MASK)
}

/// The configuration of an ad-hoc network, made from its id (network 1.3).
pub(crate) fn ad_hoc(network: NetworkId, me: Address) -> AdHoc {
    let [first, a, b, c, d, e, f, last] = network.to_bytes();
    if first != 0xff {
        return AdHoc::No;
    }
    let sixplane = IpNet {
        ip: derive::sixplane(network, me).into(),
        bits: 40,
    };
    if (e, f, last) == (0, 0, 0) {
        // Bytes 1 to 4: start and end port.
        let (start, end) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if end < start {
            return AdHoc::Invalid;
        }
        #[rustfmt::skip]
        let rules = [
            0xa5, 2, 0x86, 0xdd, 0, 0,                               // not IPv6: drop
            0x24, 1, 0x3a, 1, 0,                                     // ICMPv6: accept
            0x24, 1, 0x11, 0x64, 1, 0x06, 0x28, 4, a, b, c, d, 1, 0, // UDP or TCP to the ports
            0xa9, 8, 0, 0, 0, 0, 0, 0, 0, 0x02, 1, 0,                // anything without SYN
            0x29, 8, 0, 0, 0, 0, 0, 0, 0, 0x02,                      // SYN and
            0x29, 8, 0, 0, 0, 0, 0, 0, 0, 0x10, 1, 0,                // ACK: accept
            0, 0,                                                    // drop
        ];
        let mut config = Config::ad_hoc(0, &rules);
        let _ = write!(config.name, "adhoc-{start:04x}-{end:04x}");
        let _ = config.addresses.push(sixplane);
        return AdHoc::Yes(config);
    }
    if last == 0x01 {
        let mut config = Config::ad_hoc(1024, &[1, 0]);
        let _ = write!(config.name, "adhoc-{a}.0.0.0");
        let _ = config.addresses.push(sixplane);
        let [.., x, y, z] = me.to_bytes();
        let ip = IpAddr::V4(Ipv4Addr::new(a, x, y, z));
        let _ = config.addresses.push(IpNet { ip, bits: 8 });
        // The hub has no role bit: it is asked for members, nothing else.
        config
            .specialists
            .extend(Address::from_bytes([b, c, d, e, f]).map(Address::get));
        return AdHoc::Yes(config);
    }
    AdHoc::No
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_certificates_and_signatures_are_no_difference() {
        let config = |text: &str| Config {
            text: text.as_bytes().into(),
            ..Config::default()
        };
        let before =
            config("v=7\nts=1\nn=home\ncom=1:aa\nC=x\n~!sigid=1\n~!sigts=1\n~!ed25519=a\n");
        let refreshed = config("v=7\nts=2\nn=home\ncom=1:bb\n~!sigid=2\n~!sigts=2\n~!ed25519=b\n");
        assert!(!before.differs_in_substance(&refreshed));
        for other in [
            "v=7\nts=1\nn=work\n",
            "v=7\nts=1\n",
            "v=7\nts=1\nn=home\np=1\n",
        ] {
            assert!(before.differs_in_substance(&config(other)), "{other}");
            assert!(config(other).differs_in_substance(&before), "{other}");
        }
    }
}
