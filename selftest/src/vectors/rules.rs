//! Vectors of rules: what passes.

use serde_json::Value;
use zt::base::{Address, NetworkId};
use zt::node::network::{IpNet, rules};
use zt::wire::frames::{Ethernet, ExtFrame};

use super::fields::{
    Miss, Object, Outcome, bytes, check, known, malformed, number, object, same, text,
};
use super::members::mac;

pub(super) fn tags(case: &Object, key: &str) -> Result<Vec<(u32, u32)>, Miss> {
    let Some(list) = case.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|pair| {
            let number = |n: usize| pair.get(n)?.as_u64().and_then(|v| u32::try_from(v).ok());
            Some((number(0)?, number(1)?))
        })
        .collect::<Option<_>>()
        .ok_or(format!("{key} is no list of tags").into())
}

pub(super) fn things(case: &Object, key: &str) -> Result<Vec<rules::Thing>, Miss> {
    let Some(list) = case.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|thing| {
            let text = thing.as_str().ok_or("no text")?;
            let mut value = [0; 16];
            if let Ok(mac) = mac(text) {
                value[..6].copy_from_slice(&mac.to_bytes());
                return Ok((1, value));
            }
            match text.parse().map_err(malformed)? {
                std::net::IpAddr::V4(ip) => {
                    value[..4].copy_from_slice(&ip.octets());
                    Ok((2, value))
                }
                std::net::IpAddr::V6(ip) => Ok((3, ip.octets())),
            }
        })
        .collect()
}

pub(super) fn nets(case: &Object, key: &str) -> Result<Vec<IpNet>, Miss> {
    let Some(list) = case.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|net| {
            let (ip, bits) = net
                .as_str()
                .and_then(|n| n.split_once('/'))
                .ok_or("no prefix")?;
            Ok(IpNet {
                ip: ip.parse().map_err(malformed)?,
                bits: bits.parse().map_err(malformed)?,
            })
        })
        .collect()
}

pub(super) fn rules_case(case: &Object, me: &str, network: NetworkId) -> Outcome {
    known(
        case,
        &[
            "name",
            "direction",
            "source",
            "destination",
            "mac_source",
            "mac_destination",
            "ethertype",
            "frame",
            "rules",
            "verdict",
            "own_tags",
            "peer_tags",
            "own_ownership",
            "peer_ownership",
            "copies",
            "capabilities",
            "copies_suppressed",
            "config_flags",
            "own_addresses",
        ],
    )?;
    let frame = bytes(case, "frame")?;
    let ethernet = Ethernet {
        to: mac(text(case, "mac_destination")?)?,
        from: mac(text(case, "mac_source")?)?,
        ethertype: number(case, "ethertype")? as u16,
    };
    let inbound = text(case, "direction")? == "in";
    let subject = rules::Subject {
        inbound,
        source: Address::parse(text(case, "source")?).ok_or("source")?,
        destination: Address::parse(text(case, "destination")?),
        from: ethernet.from,
        to: ethernet.to,
        ethertype: ethernet.ethertype,
        payload: &frame,
    };
    let (own_tags, peer_tags) = (tags(case, "own_tags")?, tags(case, "peer_tags")?);
    let own_things = things(case, "own_ownership")?;
    let peer_things = things(case, "peer_ownership")?;
    let addresses = nets(case, "own_addresses")?;
    let facts = rules::Facts {
        me: Address::parse(me).ok_or("self")?,
        flags: case
            .get("config_flags")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        addresses: &addresses,
        own_tags: &own_tags,
        peer_tags: &peer_tags,
        own_things: &own_things,
        peer_things: &peer_things,
        member: true,
        random: 0x8000_0000,
    };
    let mut capabilities = Vec::new();
    for capability in case
        .get("capabilities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let capability = object(capability)?;
        known(capability, &["id", "rules"])?;
        capabilities.push((number(capability, "id")?, bytes(capability, "rules")?));
    }
    capabilities.sort();
    let base = bytes(case, "rules")?;
    let lists = capabilities.iter().map(|(_, rules)| &rules[..]);
    let decision = rules::decide(&base, lists, &subject, &facts);
    let verdict = match (decision.pass, decision.sup && inbound) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    same("verdict", &verdict, &number(case, "verdict")?)?;
    // Who else gets the frame, with which flags, and how much of it (network 4.3).
    let suppressed = case.get("copies_suppressed").and_then(Value::as_bool) == Some(true);
    let mut ours = Vec::new();
    for copy in [decision.capability_copy, decision.base_copy]
        .into_iter()
        .flatten()
    {
        let flags = match (inbound, copy.watch) {
            (false, false) => 0x02,
            (false, true) => 0x16,
            (true, false) => 0x08,
            (true, true) => 0x1c,
        };
        if !suppressed {
            ours.push((copy.to, flags, copy.len));
        }
    }
    if let Some(to) = decision.redirect {
        ours.push((to, if inbound { 0x0a } else { 0x04 }, frame.len()));
    }
    let mut theirs = Vec::new();
    for copy in case
        .get("copies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let copy = object(copy)?;
        known(copy, &["to", "flags", "ext_frame"])?;
        let payload = bytes(copy, "ext_frame")?;
        let ext = ExtFrame::parse(&payload).map_err(malformed)?;
        check(
            "copied MACs",
            ext.network == network && ext.ethernet == ethernet,
        )?;
        check("copied bytes", frame.starts_with(ext.payload))?;
        let to = Address::parse(text(copy, "to")?).ok_or("to")?;
        theirs.push((to, number(copy, "flags")?, ext.payload.len()));
    }
    same("copies", &ours, &theirs)
}
