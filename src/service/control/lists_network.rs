//! Rows about networks: `listnetworks`, `network`, `get` (service 2.2, 4.4).

use core::fmt;
use core::net::IpAddr;

use super::buffer::Buffer;
use super::host::{Host, Installed, NetworkRow};
use super::line::Field;
use super::lists::Or;
use crate::base::NetworkId;

/// Which addresses `get` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

pub(super) fn list_networks_row(host: &dyn Host, network: &NetworkRow<'_>, out: &mut Buffer) {
    let ips = joined(&|n| host.address(network.id, n).map(|net| net.to_string()));
    out.row(format_args!(
        "200 listnetworks {} {} {} {} {} {} {ips}",
        network.id,
        Field(network.name),
        network.mac,
        network.status,
        network.kind,
        Field(network.device),
    ));
}

const SCALARS: usize = 17;

/// The scalar of a network that `picks` chooses by number and key, and its key: those that
/// `network` shows and `get` gives, in the order of service 4.4.
fn scalar(
    network: &NetworkRow<'_>,
    picks: &dyn Fn(usize, &str) -> bool,
) -> Option<(&'static str, String)> {
    let flag = u8::from;
    let all: [(&'static str, &dyn fmt::Display); SCALARS] = [
        ("id", &network.id),
        ("nwid", &network.id),
        ("mac", &network.mac),
        ("name", &network.name),
        ("status", &network.status),
        ("type", &network.kind),
        ("mtu", &network.mtu),
        ("dhcp", &0),
        ("bridge", &flag(network.bridge)),
        ("broadcastEnabled", &flag(network.broadcast)),
        ("portError", &network.port_error),
        ("netconfRevision", &network.revision),
        ("portDeviceName", &network.device),
        ("allowManaged", &flag(network.allow_managed)),
        ("allowGlobal", &flag(network.allow_global)),
        ("allowDefault", &flag(network.allow_default)),
        ("allowDNS", &flag(network.allow_dns)),
    ];
    let mut all = all.iter().enumerate();
    let (_, (key, value)) = all.find(|(n, (key, _))| picks(*n, key))?;
    Some((*key, value.to_string()))
}

/// Suffix that turns the key of a setting into the key of its prefix list.
const PREFIXES: &str = "Prefixes";

/// The prefix list in a setting such as `allowManaged`, which is 0, 1 or a list.
pub(super) fn prefixes(host: &dyn Host, id: NetworkId, key: &str) -> Option<String> {
    let value = host.setting(id, key)?;
    Some(if value.contains('/') {
        value
    } else {
        String::new()
    })
}

/// Length of the text of a 6PLANE address in front of the member's own part.
const SIXPLANE_PREFIX_LEN: usize = 24;

/// What `get` answers, but for addresses. `None`: no such property.
pub(super) fn property(host: &dyn Host, id: NetworkId, key: &str) -> Option<String> {
    let network = host.network(id)?;
    if let Some((_, value)) = scalar(&network, &|_, known| known == key) {
        return Some(value);
    }
    match key {
        "ip6plane" | "ip6prefix" => {
            // 6PLANE addresses are those in fc00::/8.
            let mut nets = (0..).map_while(|n| host.address(id, n));
            let ip = nets.find_map(|net| match net.ip {
                IpAddr::V6(ip) if ip.octets().starts_with(&[0xfc]) => Some(ip),
                _ => None,
            });
            let mut value = ip.map_or_else(String::new, |ip| ip.to_string());
            if key == "ip6prefix" {
                value.truncate(SIXPLANE_PREFIX_LEN);
            }
            Some(value)
        }
        _ => match key.strip_suffix(PREFIXES) {
            Some(setting) => prefixes(host, id, setting),
            None => host.setting(id, key),
        },
    }
}

pub(super) fn network(
    host: &dyn Host,
    id: NetworkId,
    part: &mut usize,
    n: &mut usize,
    out: &mut Buffer,
) -> bool {
    // It may have been left since the last row.
    let Some(network) = host.network(id) else {
        return false;
    };
    if let Some((key, value)) = scalar(&network, &|n, _| n == *part) {
        *part += 1;
        out.row(format_args!("200 network {key} {}", Field(&value)));
        return true;
    }
    loop {
        let i = *n;
        *n += 1;
        let mut say = |text: fmt::Arguments<'_>| out.row(format_args!("200 network {text}"));
        let said = match *part - SCALARS {
            0 => host.setting_keys().get(i).map(|key| {
                let value = host.setting(id, key).unwrap_or_default();
                say(format_args!("setting {key} {}", Field(&value)));
            }),
            1 => host.address(id, i).map(|net| {
                let installed = word(host.address_installed(id, i));
                say(format_args!("ip {net} {}", Field(installed)));
            }),
            2 => host.route(id, i).map(|route| {
                say(format_args!(
                    "route {} {} {} {} {}",
                    route.target,
                    Or(route.via, "-"),
                    route.flags,
                    route.metric,
                    Field(word(route.installed)),
                ));
            }),
            3 => (i == 0).then(|| {
                let servers = joined(&|n| host.dns_server(id, n).map(|ip| ip.to_string()));
                say(format_args!(
                    "dns {} {servers} {}",
                    Field(network.dns_domain),
                    Field(network.dns_state),
                ));
            }),
            4 => (host.group(id, i)).map(|(mac, adi)| say(format_args!("mcast {mac} {adi:08x}"))),
            _ => return false,
        };
        if said.is_some() {
            return true;
        }
        *part += 1;
        *n = 0;
    }
}

pub(super) fn word(installed: Installed<'_>) -> &str {
    match installed {
        Installed::Yes => "yes",
        Installed::No("") => "no",
        Installed::No(reason) => reason,
    }
}

/// With commas between them; `-` if there is none.
fn joined(number: &dyn Fn(usize) -> Option<String>) -> String {
    let mut all = String::new();
    for text in (0..).map_while(number) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&text);
    }
    if all.is_empty() {
        all.push('-');
    }
    all
}

pub(super) fn ips(
    host: &dyn Host,
    id: NetworkId,
    family: Family,
    n: &mut usize,
    out: &mut Buffer,
) -> bool {
    while let Some(net) = host.address(id, *n) {
        *n += 1;
        let wanted = match family {
            Family::Any => true,
            Family::V4 => net.ip.is_ipv4(),
            Family::V6 => net.ip.is_ipv6(),
        };
        if wanted {
            out.row(format_args!("200 get {}", net.ip));
            return true;
        }
    }
    false
}
