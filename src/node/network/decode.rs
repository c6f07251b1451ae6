//! Dictionaries of configurations to what is put into force (network 2.2 to 2.5).
//!
//! Both eras are read: the modern form, and the old one that controllers before 1.1.6 send. The
//! dictionary itself is what lies in the file (network 2.8): whoever reads one from a controller
//! reads it there too.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::config::{
    Batch, Config, DNS_SERVERS, DOMAIN_MAX, Dns, FLAG_BROADCAST, FLAG_NDP, IpNet, MTU_DEFAULT,
    MTU_MAX, MTU_MIN, ROLE_BRIDGE, Route,
};
use super::refusal::{Field, Refusal};
use crate::base::{Address, Limits, NetworkId, sorted};
use crate::wire::Malformed;
use crate::wire::credential::{self, Com, Paper, Revocation};
use crate::wire::cursor::{Reader, Writer};
use crate::wire::dict::{Dialect, Dict, Value};
use crate::wire::inet;
use crate::wire::rule::{RULE_MAX_LEN, Rules};

/// Format that we ask for; from [`MODERN`] on the modern keys are there.
pub(crate) const FORMAT: u64 = 7;
const MODERN: u64 = 6;
const ROUTES_MAX: usize = 128;
const SPECIALISTS_MAX: usize = 256;
const OWNERSHIPS_MAX: usize = 4;
const DNS_DOMAIN_LEN: usize = 128;
/// Room for the binary form of a certificate.
const COM_MAX: usize = 8 + 8 * 24 + 96;
/// Longest URL of a sign-on.
pub(crate) const URL_MAX: usize = 2047;
/// What a controller of 1.0.x means by no limit at all.
const OLD_MULTICAST_LIMIT: u32 = 32;
/// Bounds of the lists of the old form (network 2.5).
const OLD_ADDRESSES_MAX: usize = 16;
const OLD_NAME_MAX: usize = 255;

/// Reads a configuration that is for `me` in network `id`.
pub(crate) fn read(
    text: &[u8],
    id: NetworkId,
    me: Address,
    limits: &Limits,
) -> Result<Box<Config>, Refusal> {
    let config = read_any(text, limits)?;
    if config.network != id {
        return Err(Refusal::OtherNetwork);
    }
    if config.issued_to != me {
        return Err(Refusal::OtherMember);
    }
    Ok(config.config)
}

/// A configuration and for whom it is.
pub(crate) struct Decoded {
    pub(crate) network: NetworkId,
    pub(crate) issued_to: Address,
    pub(crate) config: Box<Config>,
}

pub(crate) fn read_any(text: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
    let dict = Dict::new(text, Dialect::Modern);
    let modern = dict.number("v", 0) >= MODERN;
    let dict = if modern {
        dict
    } else {
        Dict::new(text, Dialect::Old)
    };
    let number = |field: Field| dict.number(field.key(), 0);
    let network = NetworkId::new(number(Field::NetworkId));
    let issued_to = Address::new(number(Field::Id));
    let mut config = Config::new();
    let decoded = Decoded {
        network: network.ok_or(Refusal::Field(Field::NetworkId))?,
        issued_to: issued_to.ok_or(Refusal::Field(Field::Id))?,
        config: {
            if modern {
                read_modern(&dict, &mut config, limits)?;
            } else {
                read_old(&dict, &mut config)?;
            }
            config.text = dict.text().into();
            config
        },
    };
    Ok(decoded)
}

fn read_modern(dict: &Dict<'_>, config: &mut Config, limits: &Limits) -> Result<(), Refusal> {
    let number = |key| dict.number(key, 0);
    let mtu = dict.number("mtu", u64::from(MTU_DEFAULT));
    let mtu = mtu.clamp(u64::from(MTU_MIN), u64::from(MTU_MAX));
    config.timestamp = number("ts");
    config.window_ms = number("ctmd");
    config.revision = number("r");
    config.flags = number("f");
    config.mtu = u16::try_from(mtu).unwrap_or(MTU_DEFAULT);
    config.multicast_limit = low_half(number("ml"));
    config.public = number("t") == 1;
    // One pass: the first of equal keys counts, unknown ones are left alone.
    let mut seen: heapless::Vec<Field, { VALUES.len() }> = heapless::Vec::new();
    for (key, value) in dict.entries() {
        let known = VALUES.iter().find(|f| f.key().as_bytes() == key);
        let Some(&field) = known.filter(|f| !seen.contains(f)) else {
            continue;
        };
        let _ = seen.push(field);
        if !value.is_empty() {
            let bytes: Vec<u8> = value.bytes().collect();
            read_value(field, &bytes, config, limits)?;
        }
    }
    Ok(())
}

/// Fields with values of their own forms.
const VALUES: [Field; 10] = [
    Field::Name,
    Field::ModernCom,
    Field::Capabilities,
    Field::Tags,
    Field::Ownerships,
    Field::Specialists,
    Field::Routes,
    Field::Addresses,
    Field::Rules,
    Field::Dns,
];

fn read_value(
    field: Field,
    bytes: &[u8],
    config: &mut Config,
    limits: &Limits,
) -> Result<(), Refusal> {
    let bad = |_: Malformed| Refusal::Field(field);
    let (own, papers) = (&mut config.own, &mut config.papers);
    let mut reader = Reader::new(bytes);
    match field {
        Field::Name => config.name = text_of(bytes),
        Field::ModernCom => papers.com = Com::read(&mut reader).map_err(bad)?.bytes().into(),
        // Of these two damage in the middle keeps the records before it.
        Field::Capabilities => {
            papers.capabilities = batch(bytes, &mut |reader, count| {
                let Ok(capability) = Paper::read(Revocation::CAPABILITY, reader) else {
                    return Ok(false);
                };
                if count >= limits.own_capabilities {
                    return Err(Refusal::TooMany(field));
                }
                own.allow(capability.id, canonical(&capability.rules)?);
                Ok(true)
            })?;
        }
        Field::Tags => {
            papers.tags = batch(bytes, &mut |reader, count| {
                let Ok(tag) = Paper::read(Revocation::TAG, reader) else {
                    return Ok(false);
                };
                if count >= limits.own_tags {
                    return Err(Refusal::TooMany(field));
                }
                sorted::insert_by_key(&mut own.tags, (tag.id, tag.value), |t| t.0);
                Ok(true)
            })?;
        }
        Field::Ownerships => {
            papers.ownerships = batch(bytes, &mut |reader, count| {
                let ownership = Paper::read(Revocation::OWNERSHIP, reader).map_err(bad)?;
                if count < OWNERSHIPS_MAX {
                    own.own(ownership.things);
                    return Ok(true);
                }
                while !reader.is_empty() {
                    Paper::read(Revocation::OWNERSHIP, reader).map_err(bad)?;
                }
                Ok(false)
            })?;
        }
        Field::Specialists => {
            let numbers = bytes.as_chunks().0.iter().take(SPECIALISTS_MAX);
            config.specialists = numbers.map(|n| u64::from_be_bytes(*n)).collect();
        }
        Field::Routes => routes(&mut reader, &mut config.routes).map_err(bad)?,
        Field::Addresses => {
            while !reader.is_empty() {
                let address = inet::read_parts(&mut reader).map_err(bad)?;
                if let Some(net) = address.and_then(prefix) {
                    // The first ones count.
                    let _ = config.addresses.push(net);
                }
            }
        }
        Field::Rules => config.rules = canonical(&Rules::parse(bytes).map_err(bad)?)?,
        _ => dns(&mut reader, &mut config.dns).map_err(bad)?,
    }
    Ok(())
}

fn low_half(n: u64) -> u32 {
    (n & u64::from(u32::MAX)) as u32
}

/// At most so many bytes of text.
fn text_of<const N: usize>(bytes: &[u8]) -> heapless::String<N> {
    let text = lossy(bytes);
    let whole = (0..=N).rev().find_map(|end| text.get(..end));
    let mut out = heapless::String::new();
    let _ = out.push_str(whole.unwrap_or_default());
    out
}

/// What is no text is shown as such.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Strings end at the first zero byte wherever these are read.
pub(super) fn string_of(value: Option<Value<'_>>, most: usize) -> String {
    let ends = |b: &u8| *b == 0;
    let bytes: Vec<u8> = value.map_or_else(Vec::new, |v| v.bytes().take(most).collect());
    lossy(bytes.split(ends).next().unwrap_or_default())
}

/// The rules as they are judged: each entry with the length of its kind.
fn canonical(rules: &Rules<'_>) -> Result<Box<[u8]>, Refusal> {
    let mut room = vec![0; usize::from(rules.len()) * RULE_MAX_LEN];
    let mut writer = Writer::new(&mut room);
    let written = rules.write(&mut writer);
    written.map_err(|_| Refusal::Field(Field::Rules))?;
    Ok(writer.written().into())
}

/// Records back to back. `take` reads one, being told how many were taken; `false`: it is not
/// taken, and what is behind it is left alone.
fn batch<'a>(
    bytes: &'a [u8],
    take: &mut dyn FnMut(&mut Reader<'a>, usize) -> Result<bool, Refusal>,
) -> Result<Batch, Refusal> {
    let mut reader = Reader::new(bytes);
    let mut lengths: Vec<u32> = Vec::new();
    let mut left = bytes.len();
    while !reader.is_empty() && take(&mut reader, lengths.len())? {
        lengths.push((left - reader.remaining()) as u32);
        left = reader.remaining();
    }
    Ok(Batch {
        lengths,
        bytes: bytes.get(..bytes.len() - left).unwrap_or_default().into(),
    })
}

/// The port field of an address holds the bits of a prefix.
fn prefix((ip, bits): (IpAddr, u16)) -> Option<IpNet> {
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let bits = u8::try_from(bits).ok()?;
    (bits <= most).then_some(IpNet { ip, bits })
}

fn routes(reader: &mut Reader<'_>, all: &mut Vec<Route>) -> Result<(), Malformed> {
    while !reader.is_empty() {
        let (target, via) = (inet::read_parts(reader)?, inet::read_parts(reader)?);
        let (flags, metric) = (reader.u16()?, reader.u16()?);
        // The first ones count.
        if let Some(target) = target.and_then(prefix)
            && all.len() < ROUTES_MAX
        {
            all.push(Route {
                target,
                via: via.map(|v| v.0),
                flags,
                metric,
            });
        }
    }
    Ok(())
}

fn dns(reader: &mut Reader<'_>, dns: &mut Dns) -> Result<(), Malformed> {
    let domain = reader.bytes(DNS_DOMAIN_LEN)?;
    let domain = domain.split(|b| *b == 0).next().unwrap_or_default();
    let domain = domain.get(..DOMAIN_MAX).unwrap_or(domain);
    dns.domain = lossy(domain);
    for _ in 0..DNS_SERVERS {
        if let Some((server, _)) = inet::read_parts(reader)? {
            let _ = dns.servers.push(server);
        }
    }
    Ok(())
}

/// The old form, with equal keys joined. What it cannot say takes the value that 1.1.6 to 1.6.5
/// gave it; local routes become routes without gateway, as in 1.0.x.
fn read_old(dict: &Dict<'_>, config: &mut Config) -> Result<(), Refusal> {
    let timestamp = dict.get("ts").ok_or(Refusal::Field(Field::Timestamp))?;
    config.timestamp = timestamp.number();
    config.multicast_limit = match low_half(dict.number("ml", 0)) {
        0 => OLD_MULTICAST_LIMIT,
        limit => limit,
    };
    let broadcast = dict.number("eb", 1) != 0;
    config.flags = FLAG_NDP | if broadcast { FLAG_BROADCAST } else { 0 };
    config.revision = dict.number("r", 1);
    config.public = dict.number("p", 1) == 0;
    for field in OLD_TEXTS {
        read_old_text(field, &old_text(dict, field)?, config)?;
    }
    Ok(())
}

/// Texts of the old form.
const OLD_TEXTS: [Field; 6] = [
    Field::Name,
    Field::Ethertypes,
    Field::V4,
    Field::V6,
    Field::Com,
    Field::Bridges,
];

fn read_old_text(field: Field, text: &str, config: &mut Config) -> Result<(), Refusal> {
    match field {
        Field::Name if text.len() > OLD_NAME_MAX => return Err(Refusal::Field(field)),
        Field::Name => config.name = text_of(text.as_bytes()),
        Field::Ethertypes => config.rules = old_rules(text),
        Field::V4 | Field::V6 => return old_addresses(config, text, field),
        Field::Com if text.is_empty() => {}
        Field::Com => {
            let mut room = [0; COM_MAX];
            let mut writer = Writer::new(&mut room);
            // One that cannot be read is none: members of 1.0.x say so, too.
            let com = credential::com_from_text(text, &mut writer).is_ok();
            let whole = Com::read(&mut Reader::new(writer.written()));
            if com && whole.is_ok_and(|c| c.network().is_some()) {
                config.papers.com = writer.written().into();
            }
        }
        _ => {
            for bridge in text.split(',').filter_map(Address::parse) {
                if config.specialists.len() < SPECIALISTS_MAX {
                    config.specialists.push(bridge.get() | ROLE_BRIDGE);
                }
            }
        }
    }
    Ok(())
}

/// A text of the old form. Name and ethertypes must be there.
fn old_text(dict: &Dict<'_>, field: Field) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    let mut found = !matches!(field, Field::Name | Field::Ethertypes);
    for (key, value) in dict.entries() {
        if key == field.key().as_bytes() {
            found = true;
            bytes.extend(value.bytes());
        }
    }
    if !found {
        return Err(Refusal::Field(field));
    }
    Ok(lossy(&bytes))
}

/// Each ethertype of the list becomes a match and ACCEPT; 0 is all, no entry nothing.
fn old_rules(ethertypes: &str) -> Box<[u8]> {
    const ACCEPT: [u8; 2] = [1, 0];
    const ETHERTYPE: [u8; 2] = [37, 2];
    let mut rules = Vec::new();
    let numbers = ethertypes.split(',').filter(|t| !t.is_empty());
    for number in numbers.filter_map(|t| u16::from_str_radix(t.trim_ascii(), 16).ok()) {
        if number == 0 {
            // Everything passes, whatever else is listed.
            return ACCEPT.into();
        }
        rules.extend_from_slice(&ETHERTYPE);
        rules.extend_from_slice(&number.to_be_bytes());
        rules.extend_from_slice(&ACCEPT);
    }
    rules.into()
}

fn old_addresses(config: &mut Config, list: &str, field: Field) -> Result<(), Refusal> {
    let whole = |net: &IpNet| {
        let most = if net.ip.is_ipv4() { 32 } else { 128 };
        net.is_network() && net.bits < most
    };
    let mut all = Vec::new();
    for entry in list.split(',') {
        let Some((ip, bits)) = entry.split_once('/') else {
            continue;
        };
        let (Ok(ip), Ok(bits)) = (ip.parse::<IpAddr>(), bits.parse::<u8>()) else {
            continue;
        };
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if ip.is_ipv4() != (field == Field::V4) || bits == 0 || bits > most {
            continue;
        }
        let net = IpNet { ip, bits };
        sorted::insert(&mut all, net);
        let alike = all.iter().filter(|n| whole(n) == whole(&net));
        if alike.count() > OLD_ADDRESSES_MAX {
            return Err(Refusal::TooMany(field));
        }
    }
    for net in all {
        if whole(&net) {
            config.routes.push(Route {
                target: net,
                via: None,
                flags: 0,
                metric: 0,
            });
        } else {
            let pushed = config.addresses.push(net);
            pushed.map_err(|_| Refusal::TooMany(field))?;
        }
    }
    Ok(())
}

impl IpNet {
    /// All host bits are 0.
    pub fn is_network(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                ip & Ipv4Addr::from(mask) == Ipv4Addr::UNSPECIFIED
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                u128::from(ip) & mask == 0
            }
        }
    }
}
