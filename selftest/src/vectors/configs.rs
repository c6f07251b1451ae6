//! Vectors of configurations: dictionaries of both eras, and what is read from them.

use core::net::IpAddr;

use serde_json::Value;
use zt::base::{Address, Limits, NetworkId};
use zt::crypto::sign;
use zt::node::network::{IpNet, Refusal, StoredConfig};
use zt::wire::credential::{Capability, Com, Ownership, Tag};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::dict::{Dialect, Dict, DictWriter};
use zt::wire::identity::Identity;

use super::Run;
use super::fields::{
    Miss, Object, Outcome, bytes, check, flag, list, malformed, number, object, same, text, unhex,
};
use super::networks::{at, com_fields};

/// NDP is answered locally: what the old form means without saying so.
const FLAG_NDP: u64 = 0x04;
const FLAG_BROADCAST: u64 = 0x02;
const ROLE_BRIDGE: u64 = 0x0200_0000_0000;

/// Reading by the old rules is not ours: `old_reads_modern` says what 1.0.5 refuses, and what we
/// read as the modern form is looked at in `modern`.
const PARTS: &[&str] = &[
    "modern",
    "modern_parse",
    "old",
    "old_parse",
    "old_reads_modern",
    "both",
    "old_signatures",
    "dictionary_write_1_14_1",
    "dictionary_read_1_14_1",
    "dictionary_write_1_0_5",
    "dictionary_read_1_0_5",
];

impl Run {
    /// `network-config`; names of the parts that were run.
    pub(super) fn configs(&mut self, file: &Object) -> &'static [&'static str] {
        self.each(file, "modern", modern);
        self.each(file, "modern_parse", modern_parse);
        self.each(file, "old", old);
        self.each(file, "old_parse", old_parse);
        self.each(file, "old_reads_modern", |case| {
            // 1.0.5 refuses them; we are a member of both eras.
            same("by 1.0.5", &flag(case, "accepted")?, &false)?;
            read(case).map(|_| ())
        });
        self.each(file, "both", both);
        self.each(file, "old_signatures", signature);
        for (key, dialect) in [
            ("dictionary_write_1_14_1", Dialect::Modern),
            ("dictionary_write_1_0_5", Dialect::Old),
        ] {
            self.each(file, key, |case| value_written(case, dialect));
        }
        for (key, dialect) in [
            ("dictionary_read_1_14_1", Dialect::Modern),
            ("dictionary_read_1_0_5", Dialect::Old),
        ] {
            self.each(file, key, |case| value_read(case, dialect));
        }
        PARTS
    }
}

/// Room for whatever a controller may say.
fn limits() -> Limits {
    Limits {
        own_capabilities: 128,
        own_tags: 128,
        ..Limits::small()
    }
}

fn read(case: &Object) -> Result<StoredConfig, Miss> {
    try_read(case)?.map_err(malformed)
}

fn try_read(case: &Object) -> Result<Result<StoredConfig, Refusal>, Miss> {
    Ok(StoredConfig::read(&bytes(case, "dictionary")?, &limits()))
}

fn hex(fields: &Object, key: &str) -> Result<u64, Miss> {
    u64::from_str_radix(text(fields, key)?, 16).map_err(malformed)
}

fn net(value: &Value) -> Result<IpNet, Miss> {
    let (ip, bits) = value
        .as_str()
        .and_then(|t| t.split_once('/'))
        .ok_or("no prefix")?;
    Ok(IpNet {
        ip: ip.parse().map_err(malformed)?,
        bits: bits.parse().map_err(malformed)?,
    })
}

fn nets(fields: &Object, key: &str) -> Result<Vec<IpNet>, Miss> {
    list(fields, key)?.iter().map(net).collect()
}

/// Text whose characters are bytes; a byte sequence that is no text is shown as such.
fn latin(fields: &Object, key: &str) -> Result<String, Miss> {
    let bytes: Vec<u8> = text(fields, key)?.chars().map(|c| c as u8).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What both eras have.
fn head(ours: &StoredConfig, fields: &Object) -> Outcome {
    let id = NetworkId::parse(text(fields, "network")?).ok_or("a network")?;
    same("network", &ours.network, &id)?;
    let to = Address::parse(text(fields, "issued_to")?).ok_or("an address")?;
    same("issued to", &ours.issued_to, &to)?;
    same("time", &ours.timestamp, &number(fields, "timestamp")?)?;
    same("revision", &ours.revision, &number(fields, "revision")?)?;
    same("name", &ours.name, &latin(fields, "name")?)?;
    let limit = u64::from(ours.multicast_limit);
    same(
        "multicast limit",
        &limit,
        &number(fields, "multicast_limit")?,
    )?;
    com(&ours.com, at(fields, "com"))
}

fn com(ours: &[u8], theirs: &Value) -> Outcome {
    let Ok(theirs) = object(theirs) else {
        return check("no certificate", ours.is_empty());
    };
    let com = Com::read(&mut Reader::new(ours)).map_err(malformed)?;
    com_fields(&com, theirs)
}

fn fields_of(ours: &StoredConfig, fields: &Object) -> Outcome {
    head(ours, fields)?;
    same(
        "window",
        &ours.window_ms,
        &number(fields, "credential_window")?,
    )?;
    let trace = (hex(fields, "trace_target")?, number(fields, "trace_level")?);
    same("trace", &ours.trace, &trace)?;
    same("flags", &ours.flags, &hex(fields, "flags")?)?;
    same("mtu", &u64::from(ours.mtu), &number(fields, "mtu")?)?;
    same("public", &ours.public, &(text(fields, "type")? == "public"))?;
    same("addresses", &ours.addresses, &nets(fields, "addresses")?)?;
    let rules = text(fields, "rules")?;
    same("rules", &ours.rules.to_vec(), &unhex(rules)?)?;
    let specialists = list(fields, "specialists")?.iter();
    let specialists = specialists
        .map(|s| u64::from_str_radix(s.as_str().unwrap_or_default(), 16).map_err(malformed))
        .collect::<Result<Vec<_>, _>>()?;
    same("specialists", &ours.specialists, &specialists)?;
    routes(ours, fields)?;
    credentials(ours, fields)?;
    dns(ours, object(at(fields, "dns"))?)?;
    sso(ours, object(at(fields, "sso"))?)
}

fn routes(ours: &StoredConfig, fields: &Object) -> Outcome {
    let theirs = list(fields, "routes")?;
    same("count of routes", &ours.routes.len(), &theirs.len())?;
    for (ours, theirs) in ours.routes.iter().zip(theirs) {
        let theirs = object(theirs)?;
        same("target", &ours.target, &net(at(theirs, "target"))?)?;
        let via = at(theirs, "via").as_str();
        let via = via.map(|ip| ip.parse::<IpAddr>().map_err(malformed));
        same("via", &ours.via, &via.transpose()?)?;
        same("flags", &u64::from(ours.flags), &number(theirs, "flags")?)?;
        same(
            "metric",
            &u64::from(ours.metric),
            &number(theirs, "metric")?,
        )?;
    }
    Ok(())
}

/// Own tags and capabilities are tried by id, whatever their order.
fn credentials(ours: &StoredConfig, fields: &Object) -> Outcome {
    let mut values = Vec::new();
    for tag in list(fields, "tags")? {
        let tag = object(tag)?;
        values.push((number(tag, "id")?, number(tag, "value")?));
    }
    let own: Vec<_> = ours
        .tag_values
        .iter()
        .map(|t| (u64::from(t.0), u64::from(t.1)))
        .collect();
    same("tags", &own, &values)?;
    let mut reader = Reader::new(&ours.tags);
    let mut count = 0;
    while !reader.is_empty() {
        let tag = Tag::read(&mut reader).map_err(malformed)?;
        let theirs = list(fields, "tags")?.iter().filter_map(Value::as_object);
        let same_id = |t: &&Object| number(t, "id") == Ok(u64::from(tag.id));
        let theirs = theirs.clone().find(same_id).ok_or("another tag")?;
        let signature = tag.signature.map(|s| s.to_vec());
        same("signature", &signature, &Some(bytes(theirs, "signature")?))?;
        count += 1;
    }
    same("count of tags", &count, &values.len())?;
    let theirs = list(fields, "capabilities")?;
    let ids = theirs
        .iter()
        .map(|c| number(object(c)?, "id"))
        .collect::<Result<Vec<_>, _>>()?;
    let own: Vec<_> = ours
        .capability_ids
        .iter()
        .map(|id| u64::from(*id))
        .collect();
    same("capabilities", &own, &ids)?;
    let mut reader = Reader::new(&ours.capabilities);
    let mut count = 0;
    while !reader.is_empty() {
        let capability = Capability::read(&mut reader).map_err(malformed)?;
        check(
            "another capability",
            ids.contains(&u64::from(capability.id)),
        )?;
        count += 1;
    }
    same("count of capabilities", &count, &ids.len())?;
    let theirs = list(fields, "ownership")?;
    let mut reader = Reader::new(&ours.ownerships);
    for theirs in theirs {
        let ownership = Ownership::read(&mut reader).map_err(malformed)?;
        let theirs = object(theirs)?;
        same(
            "ownership",
            &u64::from(ownership.id),
            &number(theirs, "id")?,
        )?;
        same(
            "things",
            &ownership.things().count(),
            &list(theirs, "things")?.len(),
        )?;
    }
    check("further ownership", reader.is_empty())
}

fn dns(ours: &StoredConfig, fields: &Object) -> Outcome {
    same("domain", &ours.dns.domain, &latin(fields, "domain")?)?;
    let servers = list(fields, "servers")?.iter();
    let servers = servers
        .map(|s| {
            s.as_str()
                .unwrap_or_default()
                .parse::<IpAddr>()
                .map_err(malformed)
        })
        .collect::<Result<Vec<_>, _>>()?;
    same("servers", &ours.dns.servers.to_vec(), &servers)
}

fn sso(ours: &StoredConfig, fields: &Object) -> Outcome {
    let enabled = flag(fields, "enabled")?;
    let Some(ours) = ours.sign_on.as_deref() else {
        return check("signing on", !enabled && number(fields, "flavour")? == 0);
    };
    same("enabled", &ours.enabled, &enabled)?;
    same("flavour", &ours.flavour, &number(fields, "flavour")?)?;
    same("expiry", &ours.expiry, &number(fields, "expiry")?)?;
    for (key, ours) in [
        ("url", &ours.url),
        ("issuer", &ours.issuer),
        ("endpoint", &ours.endpoint),
        ("nonce", &ours.nonce),
        ("state", &ours.state),
        ("client_id", &ours.client_id),
        ("provider", &ours.provider),
    ] {
        same(key, ours, &latin(fields, key)?)?;
    }
    Ok(())
}

fn modern(case: &Object) -> Outcome {
    let ours = read(case)?;
    fields_of(&ours, object(at(case, "fields"))?)
}

fn modern_parse(case: &Object) -> Outcome {
    let name = text(case, "name")?;
    let ours = try_read(case)?;
    let accepted = flag(case, "accepted")?;
    if name.contains("old form") || name == "version 5" {
        // 1.14.1 refuses the old form as such; for us it is one, with its own required keys.
        return Ok(());
    }
    same("accepted", &ours.is_ok(), &accepted).map_err(|why| format!("{name}: {why}"))?;
    let Ok(ours) = ours else { return Ok(()) };
    fields_of(&ours, object(at(case, "fields"))?).map_err(|why| format!("{name}: {why}").into())
}

/// What 1.0.5 reads.
fn old_fields(ours: &StoredConfig, fields: &Object) -> Outcome {
    head(ours, fields)?;
    same("private", &!ours.public, &flag(fields, "private")?)?;
    let broadcast = ours.flags & FLAG_BROADCAST != 0;
    same("broadcast", &broadcast, &flag(fields, "broadcast")?)
}

fn old_only(ours: &StoredConfig, fields: &Object) -> Outcome {
    old_fields(ours, fields)?;
    check("NDP", ours.flags & FLAG_NDP != 0)?;
    let mut addresses = ours.addresses.clone();
    addresses.sort_by_key(|a| (a.ip, a.bits));
    let mut theirs = nets(fields, "addresses")?;
    theirs.sort_by_key(|a| (a.ip, a.bits));
    same("addresses", &addresses, &theirs)?;
    let mut local: Vec<_> = ours.routes.iter().map(|r| r.target).collect();
    local.sort_by_key(|a| (a.ip, a.bits));
    check("no gateways", ours.routes.iter().all(|r| r.via.is_none()))?;
    let mut theirs = nets(fields, "local_routes")?;
    theirs.sort_by_key(|a| (a.ip, a.bits));
    same("local routes", &local, &theirs)?;
    let mut bridges: Vec<_> = ours.specialists.iter().map(|s| s ^ ROLE_BRIDGE).collect();
    bridges.sort_unstable();
    let theirs = list(fields, "active_bridges")?.iter();
    let mut theirs = theirs
        .map(|a| u64::from_str_radix(a.as_str().unwrap_or_default(), 16).map_err(malformed))
        .collect::<Result<Vec<_>, _>>()?;
    theirs.sort_unstable();
    same("bridges", &bridges, &theirs)?;
    // Each ethertype becomes a match and ACCEPT; 0 is all of them.
    let mut rules = Vec::new();
    let types = list(fields, "ethertypes_0_is_all")?
        .iter()
        .filter_map(Value::as_u64);
    let types: Vec<u64> = types.collect();
    if types.contains(&0) {
        rules.extend([1, 0]);
    } else {
        for ethertype in types {
            let number = u16::try_from(ethertype).map_err(malformed)?;
            rules.extend([37, 2]);
            rules.extend(number.to_be_bytes());
            rules.extend([1, 0]);
        }
    }
    same("rules", &ours.rules.to_vec(), &rules)
}

fn old(case: &Object) -> Outcome {
    let ours = read(case)?;
    let fields = object(at(case, "fields"))?;
    old_only(&ours, fields)?;
    // What 1.4.6 makes of it; it takes an absent limit for 0, an empty list of ethertypes for
    // all, and a prefix of no bits for an address.
    let theirs = bytes(case, "by_1_4_6")?;
    let theirs = StoredConfig::read(&theirs, &limits()).map_err(malformed)?;
    let mut own = ours.addresses.clone();
    own.sort_by_key(|a| (a.ip, a.bits));
    let mut addresses = theirs.addresses;
    addresses.retain(|a| a.bits != 0);
    addresses.sort_by_key(|a| (a.ip, a.bits));
    same("addresses by 1.4.6", &own, &addresses)?;
    same("certificate", &ours.com, &theirs.com)?;
    same("specialists", &ours.specialists, &theirs.specialists)?;
    same("window", &ours.window_ms, &theirs.window_ms)?;
    same("mtu", &ours.mtu, &theirs.mtu)?;
    same("flags", &ours.flags, &theirs.flags)?;
    same("public", &ours.public, &theirs.public)?;
    if !ours.rules.is_empty() {
        same("rules", &ours.rules, &theirs.rules)?;
    }
    Ok(())
}

fn old_parse(case: &Object) -> Outcome {
    let name = text(case, "name")?;
    let ours = try_read(case)?;
    same("accepted", &ours.is_ok(), &flag(case, "accepted")?)
        .map_err(|why| format!("{name}: {why}"))?;
    let Ok(ours) = ours else { return Ok(()) };
    old_only(&ours, object(at(case, "fields"))?).map_err(|why| format!("{name}: {why}").into())
}

/// With the keys of both eras the modern ones count; those for 1.0.5 must not lead astray.
fn both(case: &Object) -> Outcome {
    let ours = read(case)?;
    if !flag(case, "accepted")? {
        // 1.0.5 stumbles over something modern.
        return Ok(());
    }
    let fields = object(at(case, "fields"))?;
    old_fields(&ours, fields)?;
    let mut theirs = nets(fields, "addresses")?;
    let mut addresses = ours.addresses.clone();
    addresses.sort_by_key(|a| (a.ip, a.bits));
    theirs.sort_by_key(|a| (a.ip, a.bits));
    same("addresses", &addresses, &theirs)
}

/// Nobody checks these; they are good nevertheless (network 2.6).
fn signature(case: &Object) -> Outcome {
    let text = bytes(case, "dictionary")?;
    let dict = Dict::new(&text, Dialect::Old);
    let string = |key| {
        let value = dict.get(key).ok_or("no signature")?;
        String::from_utf8(value.bytes().collect()).map_err(malformed)
    };
    let signer = Identity::parse(&string("~!sigid")?).map_err(malformed)?;
    let signature: [u8; 96] = unhex(&string("~!ed25519")?)?
        .try_into()
        .map_err(|_| "length of a signature")?;
    let message = bytes(case, "signed_bytes")?;
    let good = sign::verify(&signer.public, &[&message], &signature).is_ok();
    same("verified", &good, &flag(case, "verified")?)?;
    StoredConfig::read(&text, &limits())
        .map(|_| ())
        .map_err(malformed)
}

fn value_written(case: &Object, dialect: Dialect) -> Outcome {
    let value = bytes(case, "value")?;
    let mut room = vec![0; 2 * value.len() + 8];
    let mut writer = Writer::new(&mut room);
    DictWriter::new(&mut writer, dialect)
        .bytes("k", &value)
        .map_err(malformed)?;
    same("text", &writer.written(), &bytes(case, "text")?.as_slice())
}

fn value_read(case: &Object, dialect: Dialect) -> Outcome {
    let text = bytes(case, "text")?;
    let dict = Dict::new(&text, dialect);
    let mut room = vec![0; text.len()];
    let ours = match dialect {
        Dialect::Modern => dict.get("k").map(|v| v.bytes().collect::<Vec<u8>>()),
        Dialect::Old => dict
            .unescape_all("k", &mut room)
            .map_err(malformed)?
            .map(<[u8]>::to_vec),
    };
    let theirs = at(case, "k").as_str().map(unhex).transpose()?;
    same("value", &ours, &theirs)
}
