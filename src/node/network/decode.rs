//! Dictionaries of configurations to what is put into force (network 2.2 to 2.5), and back for
//! the file (network 2.8).
//!
//! Both eras are read: the modern form, and the old one that controllers before 1.1.6 send. The
//! modern one is written.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::config::{
    ADDRESSES_MAX, Batch, Config, DNS_SERVERS, DOMAIN_MAX, Dns, FLAG_BROADCAST, FLAG_NDP, IpNet,
    MTU_DEFAULT, MTU_MAX, MTU_MIN, Papers, ROLE_BRIDGE, Route, SignOn,
};
use super::member::Held;
use super::refusal::Refusal;
use crate::base::{Address, Limits, NetworkId};
use crate::wire::credential::{self, Capability, Com, Ownership, Tag};
use crate::wire::cursor::{Reader, Writer};
use crate::wire::dict::{Dialect, Dict, DictWriter, Value};
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
) -> Result<Config, Refusal> {
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
    pub(crate) config: Config,
}

pub(crate) fn read_any(text: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
    let dict = Dict::new(text, Dialect::Modern);
    if dict.number("v", 0) >= MODERN {
        modern(&dict, limits)
    } else {
        old(text)
    }
}

fn network_of(dict: &Dict<'_>) -> Result<NetworkId, Refusal> {
    NetworkId::new(dict.number("nwid", 0)).ok_or(Refusal::Field("nwid"))
}

fn member_of(dict: &Dict<'_>) -> Result<Address, Refusal> {
    Address::new(dict.number("id", 0)).ok_or(Refusal::Field("id"))
}

fn modern(dict: &Dict<'_>, limits: &Limits) -> Result<Decoded, Refusal> {
    let mtu = dict.number("mtu", u64::from(MTU_DEFAULT));
    let mtu = mtu.clamp(u64::from(MTU_MIN), u64::from(MTU_MAX));
    let mut config = Config {
        timestamp: dict.number("ts", 0),
        window_ms: dict.number("ctmd", 0),
        revision: dict.number("r", 0),
        flags: dict.number("f", 0),
        mtu: u16::try_from(mtu).unwrap_or(MTU_DEFAULT),
        multicast_limit: low_half(dict.number("ml", 0)),
        public: dict.number("t", 0) == 1,
        name: heapless::String::new(),
        addresses: heapless::Vec::new(),
        routes: Vec::new(),
        rules: Box::default(),
        own: Held::default(),
        papers: Papers::default(),
        specialists: Vec::new(),
        dns: Dns::default(),
        trace: (dict.number("tt", 0), dict.number("tl", 0)),
        sign_on: sign_on(dict),
    };
    let network = network_of(dict)?;
    let issued_to = member_of(dict)?;
    // One pass: the first of equal keys counts, unknown ones are left alone.
    let mut seen: heapless::Vec<&[u8], 10> = heapless::Vec::new();
    for (key, value) in dict.entries() {
        let known: [&[u8]; 9] = [b"n", b"C", b"CAP", b"TAG", b"COO", b"S", b"RT", b"I", b"R"];
        let is_dns = key == b"DNS";
        if !(known.contains(&key) || is_dns) || seen.contains(&key) {
            continue;
        }
        let _ = seen.push(key);
        if value.is_empty() {
            continue;
        }
        let bytes: Vec<u8> = value.bytes().collect();
        match key {
            b"n" => config.name = text_of(&bytes),
            b"C" => {
                let com = Com::read(&mut Reader::new(&bytes)).map_err(|_| Refusal::Field("C"))?;
                config.papers.com = com.bytes().into();
            }
            b"CAP" => capabilities(&mut config, &bytes, limits)?,
            b"TAG" => tags(&mut config, &bytes, limits)?,
            b"COO" => ownerships(&mut config, &bytes)?,
            b"S" => {
                let numbers = bytes.as_chunks().0.iter().take(SPECIALISTS_MAX);
                config.specialists = numbers.map(|n| u64::from_be_bytes(*n)).collect();
            }
            b"RT" => config.routes = routes(&bytes)?,
            b"I" => addresses(&mut config, &bytes)?,
            b"R" => {
                let rules = Rules::parse(&bytes).map_err(|_| Refusal::Field("R"))?;
                config.rules = canonical(&rules)?;
            }
            _ => config.dns = dns(&bytes)?,
        }
    }
    Ok(Decoded {
        network,
        issued_to,
        config,
    })
}

fn low_half(n: u64) -> u32 {
    (n & u64::from(u32::MAX)) as u32
}

/// At most 127 bytes of text; what is no text is shown as such.
fn text_of<const N: usize>(bytes: &[u8]) -> heapless::String<N> {
    let mut out = heapless::String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if out.push(c).is_err() {
            break;
        }
    }
    out
}

fn string_of(value: Option<Value<'_>>, most: usize) -> String {
    let bytes: Vec<u8> = value.map_or_else(Vec::new, |v| v.bytes().take(most).collect());
    // Strings end at the first zero byte wherever these are read.
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// The rules as they are judged: each entry with the length of its kind.
fn canonical(rules: &Rules<'_>) -> Result<Box<[u8]>, Refusal> {
    let mut room = vec![0; usize::from(rules.len()) * RULE_MAX_LEN];
    let mut writer = Writer::new(&mut room);
    rules.write(&mut writer).map_err(|_| Refusal::Field("R"))?;
    let len = writer.len();
    room.truncate(len);
    Ok(room.into())
}

/// Damage in the middle keeps the records before it.
fn capabilities(config: &mut Config, bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    let mut used = 0;
    let mut count = 0u16;
    while !reader.is_empty() {
        let Ok(capability) = Capability::read(&mut reader) else {
            break;
        };
        if usize::from(count) >= limits.own_capabilities {
            return Err(Refusal::TooMany("CAP"));
        }
        count += 1;
        used = bytes.len() - reader.remaining();
        let rules = canonical(&capability.rules)?;
        config.own.capabilities.push((capability.id, rules));
    }
    config.own.capabilities.sort_by_key(|c| c.0);
    config.papers.capabilities = batch(count, bytes, used);
    Ok(())
}

fn tags(config: &mut Config, bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    let mut used = 0;
    let mut count = 0u16;
    while !reader.is_empty() {
        let Ok(tag) = Tag::read(&mut reader) else {
            break;
        };
        if usize::from(count) >= limits.own_tags {
            return Err(Refusal::TooMany("TAG"));
        }
        count += 1;
        used = bytes.len() - reader.remaining();
        config.own.tags.push((tag.id, tag.value));
    }
    config.own.tags.sort_by_key(|t| t.0);
    config.papers.tags = batch(count, bytes, used);
    Ok(())
}

fn ownerships(config: &mut Config, bytes: &[u8]) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    let mut used = 0;
    let mut count = 0u16;
    while !reader.is_empty() {
        let ownership = Ownership::read(&mut reader).map_err(|_| Refusal::Field("COO"))?;
        if usize::from(count) < OWNERSHIPS_MAX {
            count += 1;
            used = bytes.len() - reader.remaining();
            let things = ownership.things().map(|t| (t.kind, t.value));
            config.own.things.extend(things);
        }
    }
    config.papers.ownerships = batch(count, bytes, used);
    Ok(())
}

fn batch(count: u16, bytes: &[u8], used: usize) -> Batch {
    Batch {
        count,
        bytes: bytes.get(..used).unwrap_or_default().into(),
    }
}

/// The port field of an address holds the bits of a prefix.
fn prefix(address: SocketAddr) -> Option<IpNet> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = u8::try_from(address.port()).ok()?;
    (bits <= most).then_some(IpNet {
        ip: address.ip(),
        bits,
    })
}

fn addresses(config: &mut Config, bytes: &[u8]) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let address = inet::read(&mut reader).map_err(|_| Refusal::Field("I"))?;
        let net = address.and_then(prefix);
        if let Some(net) = net {
            // The first ones count.
            let _ = config.addresses.push(net);
        }
    }
    Ok(())
}

fn routes(bytes: &[u8]) -> Result<Vec<Route>, Refusal> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while !reader.is_empty() {
        let read = |reader: &mut Reader<'_>| {
            Ok((
                inet::read(reader)?,
                inet::read(reader)?,
                reader.u16()?,
                reader.u16()?,
            ))
        };
        let (target, via, flags, metric) =
            read(&mut reader).map_err(|_: crate::wire::Malformed| Refusal::Field("RT"))?;
        let Some(target) = target.and_then(prefix) else {
            continue;
        };
        // The first ones count.
        if all.len() < ROUTES_MAX {
            all.push(Route {
                target,
                via: via.map(|v| v.ip()),
                flags,
                metric,
            });
        }
    }
    Ok(all)
}

fn dns(bytes: &[u8]) -> Result<Dns, Refusal> {
    let (domain, servers) = bytes
        .split_at_checked(DNS_DOMAIN_LEN)
        .ok_or(Refusal::Field("DNS"))?;
    let domain = domain.split(|b| *b == 0).next().unwrap_or_default();
    let domain = domain.get(..DOMAIN_MAX).unwrap_or(domain);
    let mut dns = Dns {
        domain: String::from_utf8_lossy(domain).into_owned(),
        servers: heapless::Vec::new(),
    };
    let mut reader = Reader::new(servers);
    for _ in 0..DNS_SERVERS {
        let server = inet::read(&mut reader).map_err(|_| Refusal::Field("DNS"))?;
        if let Some(server) = server {
            let _ = dns.servers.push(server.ip());
        }
    }
    Ok(dns)
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
    if enabled {
        let text = |key, most| string_of(dict.get(key), most);
        sign_on.url = text("aurl", URL_MAX);
        if flavour == 0 {
            sign_on.expiry = dict.number("aexpt", 0);
        } else {
            sign_on.issuer = text("iurl", URL_MAX);
            sign_on.endpoint = text("ssoce", URL_MAX);
            sign_on.nonce = text("sson", 63);
            sign_on.state = text("ssos", 127);
            sign_on.client_id = text("ssocid", 255);
            if dict.get("ssop").is_some() {
                sign_on.provider = text("ssop", 63);
            }
        }
    }
    Some(Box::new(sign_on))
}

/// The old form. What it cannot say takes the value that 1.1.6 to 1.6.5 gave it; local routes
/// become routes without gateway, as in 1.0.x.
fn old(text: &[u8]) -> Result<Decoded, Refusal> {
    let dict = Dict::new(text, Dialect::Old);
    let mut room = vec![0; text.len()];
    let mut text_key = |key: &'static str| -> Result<Option<String>, Refusal> {
        let found = dict.unescape_all(key, &mut room);
        let found = found.map_err(|_| Refusal::Field(key))?;
        Ok(found.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let network = network_of(&dict)?;
    let issued_to = member_of(&dict)?;
    let timestamp = dict.get("ts").ok_or(Refusal::Field("ts"))?.number();
    let name = text_key("n")?.ok_or(Refusal::Field("n"))?;
    if name.len() > OLD_NAME_MAX {
        return Err(Refusal::Field("n"));
    }
    let ethertypes = text_key("et")?.ok_or(Refusal::Field("et"))?;
    let multicast_limit = match low_half(dict.number("ml", 0)) {
        0 => OLD_MULTICAST_LIMIT,
        limit => limit,
    };
    let broadcast = dict.number("eb", 1) != 0;
    let mut config = Config {
        timestamp,
        window_ms: 0,
        revision: dict.number("r", 1),
        flags: FLAG_NDP | if broadcast { FLAG_BROADCAST } else { 0 },
        mtu: MTU_DEFAULT,
        multicast_limit,
        public: dict.number("p", 1) == 0,
        name: text_of(name.as_bytes()),
        addresses: heapless::Vec::new(),
        routes: Vec::new(),
        rules: old_rules(&ethertypes),
        own: Held::default(),
        papers: Papers::default(),
        specialists: Vec::new(),
        dns: Dns::default(),
        trace: (0, 0),
        sign_on: None,
    };
    for key in ["v4s", "v6s"] {
        old_addresses(&mut config, &text_key(key)?.unwrap_or_default(), key)?;
    }
    if let Some(text) = text_key("com")?.filter(|text| !text.is_empty()) {
        let mut room = [0; COM_MAX];
        let mut writer = Writer::new(&mut room);
        // One that cannot be read is none: members of 1.0.x say so, too.
        let whole = credential::com_from_text(&text, &mut writer).is_ok()
            && Com::read(&mut Reader::new(writer.written())).is_ok_and(|c| c.network().is_some());
        if whole {
            config.papers.com = writer.written().into();
        }
    }
    let bridges = text_key("ab")?.unwrap_or_default();
    config.specialists = bridges
        .split(',')
        .filter_map(Address::parse)
        .map(|a| a.get() | ROLE_BRIDGE)
        .take(SPECIALISTS_MAX)
        .collect();
    Ok(Decoded {
        network,
        issued_to,
        config,
    })
}

/// Each ethertype of the list becomes a match and ACCEPT; 0 is all, no entry nothing.
fn old_rules(ethertypes: &str) -> Box<[u8]> {
    const ACCEPT: [u8; 2] = [1, 0];
    const ETHERTYPE: [u8; 2] = [37, 2];
    let mut rules = Vec::new();
    let numbers = ethertypes.split(',').filter(|t| !t.is_empty());
    for number in numbers.filter_map(|t| u16::from_str_radix(t.trim(), 16).ok()) {
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

fn old_addresses(config: &mut Config, list: &str, key: &'static str) -> Result<(), Refusal> {
    let (mut own, mut routes) = (Vec::new(), Vec::new());
    for entry in list.split(',') {
        let Some((ip, bits)) = entry.split_once('/') else {
            continue;
        };
        let (Ok(ip), Ok(bits)) = (ip.parse::<IpAddr>(), bits.parse::<u8>()) else {
            continue;
        };
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if ip.is_ipv4() != (key == "v4s") || bits == 0 || bits > most {
            continue;
        }
        let net = IpNet { ip, bits };
        if net.is_network() && bits < most {
            routes.push(net);
        } else {
            own.push(net);
        }
    }
    for list in [&mut own, &mut routes] {
        list.sort_by_key(|net| (net.ip, net.bits));
        list.dedup();
        if list.len() > OLD_ADDRESSES_MAX {
            return Err(Refusal::TooMany(key));
        }
    }
    for net in own {
        config
            .addresses
            .push(net)
            .map_err(|_| Refusal::TooMany(key))?;
    }
    config.routes.extend(routes.into_iter().map(|target| Route {
        target,
        via: None,
        flags: 0,
        metric: 0,
    }));
    Ok(())
}

/// The file's form of a configuration (network 2.8): the modern one, which 1.1.6 and later read.
pub(crate) fn write(config: &Config, id: NetworkId, me: Address) -> Option<Vec<u8>> {
    let mut room = vec![0; size(config)];
    let mut writer = Writer::new(&mut room);
    write_to(&mut writer, config, id, me).ok()?;
    let len = writer.len();
    room.truncate(len);
    Some(room)
}

/// More than the dictionary can take: every byte escaped.
fn size(config: &Config) -> usize {
    let Papers {
        com,
        capabilities,
        tags,
        ownerships,
    } = &config.papers;
    let blobs = [com, &capabilities.bytes, &tags.bytes, &ownerships.bytes];
    let blobs: usize = blobs.iter().map(|b| b.len()).sum();
    let texts = config.sign_on.as_ref().map_or(0, |s| {
        let texts = [&s.url, &s.issuer, &s.endpoint, &s.nonce, &s.state];
        texts.iter().map(|t| t.len()).sum::<usize>() + s.client_id.len() + s.provider.len()
    });
    let lists = ADDRESSES_MAX * inet::WIRE_MAX
        + config.routes.len() * (2 * inet::WIRE_MAX + 4)
        + config.specialists.len() * 8;
    1024 + 2 * (blobs + texts + lists + config.rules.len() + config.name.len() + 256)
}

fn write_to(
    writer: &mut Writer<'_>,
    config: &Config,
    id: NetworkId,
    me: Address,
) -> Result<(), crate::wire::Malformed> {
    let mut dict = DictWriter::new(writer, Dialect::Modern);
    dict.number("v", FORMAT)?;
    dict.number("nwid", id.get())?;
    dict.number("ts", config.timestamp)?;
    dict.number("ctmd", config.window_ms)?;
    dict.number("r", config.revision)?;
    dict.address("id", me.get())?;
    dict.address("tt", config.trace.0)?;
    dict.number("tl", config.trace.1)?;
    dict.number("f", config.flags)?;
    dict.number("ml", u64::from(config.multicast_limit))?;
    dict.number("t", u64::from(config.public))?;
    dict.bytes("n", config.name.as_bytes())?;
    dict.number("mtu", u64::from(config.mtu))?;
    let papers = &config.papers;
    let mut blob = |key, bytes: &[u8]| {
        if bytes.is_empty() {
            Ok(())
        } else {
            dict.bytes(key, bytes)
        }
    };
    blob("C", &papers.com)?;
    blob("CAP", &papers.capabilities.bytes)?;
    blob("TAG", &papers.tags.bytes)?;
    blob("COO", &papers.ownerships.bytes)?;
    let specialists: Vec<u8> = config
        .specialists
        .iter()
        .flat_map(|s| s.to_be_bytes())
        .collect();
    blob("S", &specialists)?;
    let mut room = vec![0; (2 * inet::WIRE_MAX + 4) * config.routes.len().max(ADDRESSES_MAX)];
    let mut list = Writer::new(&mut room);
    for route in &config.routes {
        inet::write(&mut list, Some(&socket(route.target)))?;
        let via = route.via.map(|ip| SocketAddr::new(ip, 0));
        inet::write(&mut list, via.as_ref())?;
        list.u16(route.flags)?;
        list.u16(route.metric)?;
    }
    blob("RT", list.written())?;
    let mut list = Writer::new(&mut room);
    for net in &config.addresses {
        inet::write(&mut list, Some(&socket(*net)))?;
    }
    blob("I", list.written())?;
    blob("R", &config.rules)?;
    let mut dns = [0; DNS_DOMAIN_LEN + DNS_SERVERS * inet::WIRE_MAX];
    let mut list = Writer::new(&mut dns);
    let domain = config.dns.domain.as_bytes();
    let domain = domain.get(..DOMAIN_MAX).unwrap_or(domain);
    list.bytes(domain)?;
    list.bytes(&[0; DNS_DOMAIN_LEN][domain.len()..])?;
    for n in 0..DNS_SERVERS {
        let server = config.dns.servers.get(n);
        let server = server.map(|ip| SocketAddr::new(*ip, 0));
        inet::write(&mut list, server.as_ref())?;
    }
    blob("DNS", list.written())?;
    let nothing = SignOn::default();
    let sign_on = config.sign_on.as_deref().unwrap_or(&nothing);
    dict.number("ssov", sign_on.flavour)?;
    dict.flag("ssoe", sign_on.enabled)?;
    if sign_on.enabled && sign_on.flavour == 0 {
        dict.bytes("aurl", sign_on.url.as_bytes())?;
        dict.number("aexpt", sign_on.expiry)?;
    } else if sign_on.enabled {
        dict.bytes("iurl", sign_on.issuer.as_bytes())?;
        if !sign_on.url.is_empty() {
            dict.bytes("aurl", sign_on.url.as_bytes())?;
        }
        dict.bytes("ssoce", sign_on.endpoint.as_bytes())?;
        dict.bytes("sson", sign_on.nonce.as_bytes())?;
        dict.bytes("ssos", sign_on.state.as_bytes())?;
        dict.bytes("ssocid", sign_on.client_id.as_bytes())?;
        dict.bytes("ssop", sign_on.provider.as_bytes())?;
    }
    Ok(())
}

fn socket(net: IpNet) -> SocketAddr {
    SocketAddr::new(net.ip, u16::from(net.bits))
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
