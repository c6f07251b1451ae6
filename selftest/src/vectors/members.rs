//! Vectors of what follows from the id of a network.

use zt::base::{Address, Mac, NetworkId};
use zt::wire::derive;

use super::fields::{
    Miss, Object, Outcome, bytes, check, known, list, malformed, number, object, same, text,
};

pub(super) fn mac(text: &str) -> Result<Mac, Miss> {
    let mut bytes = [0; 6];
    zt::wire::identity::parse_hex(&text.replace(':', ""), &mut bytes).map_err(malformed)?;
    Ok(Mac::new(bytes))
}

pub(super) fn network(case: &Object) -> Result<NetworkId, Miss> {
    NetworkId::parse(text(case, "network")?).ok_or("network id".into())
}

pub(super) fn member(case: &Object) -> Outcome {
    known(
        case,
        &[
            "address",
            "network",
            "mac",
            "address_from_mac",
            "rfc4193",
            "sixplane",
            "ipv6_link_local",
        ],
    )?;
    // Reserved addresses have no members: nothing is derived for them.
    let Some(address) = Address::parse(text(case, "address")?) else {
        let number = u64::from_str_radix(text(case, "address")?, 16).map_err(malformed)?;
        return check(
            "refused because reserved",
            number == 0 || number >> 32 == 0xff,
        );
    };
    let Ok(network) = network(case) else {
        return check(
            "refused because 0",
            text(case, "network")?.bytes().all(|b| b == b'0'),
        );
    };
    let ours = derive::mac(network, address);
    same("mac", &ours, &mac(text(case, "mac")?)?)?;
    same(
        "inverse",
        &derive::address_of_mac(network, ours),
        &Some(address),
    )?;
    let rfc4193 = format!("{}/88", derive::rfc4193(network, address));
    let sixplane = format!("{}/40", derive::sixplane(network, address));
    let plain = |text: &str| -> Result<(std::net::Ipv6Addr, String), Miss> {
        let (ip, bits) = text.split_once('/').ok_or("no prefix")?;
        Ok((ip.parse().map_err(malformed)?, bits.to_owned()))
    };
    same(
        "rfc4193",
        &plain(&rfc4193)?,
        &plain(text(case, "rfc4193")?)?,
    )?;
    same(
        "6plane",
        &plain(&sixplane)?,
        &plain(text(case, "sixplane")?)?,
    )?;
    let local = format!("{}/64", derive::link_local(ours));
    same(
        "link-local",
        &plain(&local)?,
        &plain(text(case, "ipv6_link_local")?)?,
    )
}

pub(super) fn device(case: &Object) -> Outcome {
    known(case, &["network", "device", "device_on_first_collision"])?;
    let Ok(network) = network(case) else {
        return check(
            "refused because 0",
            text(case, "network")?.bytes().all(|b| b == b'0'),
        );
    };
    same(
        "name",
        &derive::device_name(network, 0).as_str(),
        &text(case, "device")?,
    )?;
    same(
        "second name",
        &derive::device_name(network, 1).as_str(),
        &text(case, "device_on_first_collision")?,
    )
}

pub(super) fn group(case: &Object) -> Outcome {
    known(case, &["address", "group_mac", "adi"])?;
    let ip = text(case, "address")?.parse().map_err(malformed)?;
    let group = derive::group_of_ip(ip);
    same("mac", &group.mac, &mac(text(case, "group_mac")?)?)?;
    same("adi", &u64::from(group.adi), &number(case, "adi")?)
}

pub(super) fn ad_hoc(case: &Object) -> Outcome {
    known(case, &["node", "network", "status", "config"])?;
    let me = Address::parse(text(case, "node")?).ok_or("address")?;
    let made = zt::node::network::ad_hoc_view(network(case)?, me);
    same("status", &made.status.name(), &text(case, "status")?)?;
    let Some(theirs) = case.get("config").filter(|c| !c.is_null()) else {
        return check("no configuration", made.rules.is_empty());
    };
    let theirs = object(theirs)?;
    same("name", &made.name.as_str(), &text(theirs, "name")?)?;
    same("mtu", &u64::from(made.mtu), &number(theirs, "mtu")?)?;
    same(
        "limit",
        &u64::from(made.multicast_limit),
        &number(theirs, "multicast_limit")?,
    )?;
    same(
        "flags",
        &format!("{:016x}", made.flags).as_str(),
        &text(theirs, "flags")?,
    )?;
    same("rules", &made.rules, &bytes(theirs, "rules")?)?;
    same("revision", &made.revision, &number(theirs, "revision")?)?;
    let addresses: Vec<String> = list(theirs, "addresses")?
        .iter()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let ours: Vec<String> = made.addresses.iter().map(ToString::to_string).collect();
    let parse = |list: &[String]| -> Vec<Option<std::net::IpAddr>> {
        list.iter()
            .map(|a| a.split('/').next().and_then(|ip| ip.parse().ok()))
            .collect()
    };
    same("addresses", &parse(&ours), &parse(&addresses))?;
    let specialists: Vec<String> = made
        .specialists
        .iter()
        .map(|s| format!("{s:016x}"))
        .collect();
    let theirs: Vec<String> = list(theirs, "specialists")?
        .iter()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    same("specialists", &specialists, &theirs)
}
