//! Rows about networks: `listnetworks`, `network`, `get` (service 2.2, 4.4).

use core::fmt::{self, Write as _};
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
    struct Ips<'a>(&'a dyn Host, NetworkId);
    impl fmt::Display for Ips<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut n = 0;
            while let Some(net) = self.0.address(self.1, n) {
                if n > 0 {
                    f.write_char(',')?;
                }
                write!(f, "{net}")?;
                n += 1;
            }
            if n == 0 { f.write_char('-') } else { Ok(()) }
        }
    }
    out.row(format_args!(
        "200 listnetworks {} {} {} {} {} {} {}",
        network.id,
        Field(network.name),
        network.mac,
        network.status,
        network.kind,
        Field(network.device),
        Ips(host, network.id),
    ));
}

/// Scalars of a network that `network` shows and `get` gives, in the order of service 4.4.
const NETWORK_SCALARS: &[&str] = &[
    "id",
    "nwid",
    "mac",
    "name",
    "status",
    "type",
    "mtu",
    "dhcp",
    "bridge",
    "broadcastEnabled",
    "portError",
    "netconfRevision",
    "portDeviceName",
    "allowManaged",
    "allowGlobal",
    "allowDefault",
    "allowDNS",
];

fn write_scalar(out: &mut String, network: &NetworkRow<'_>, key: &str) -> Option<fmt::Result> {
    let flag = u8::from;
    Some(match key {
        "id" | "nwid" => write!(out, "{}", network.id),
        "mac" => write!(out, "{}", network.mac),
        "name" => write!(out, "{}", network.name),
        "status" => write!(out, "{}", network.status),
        "type" => write!(out, "{}", network.kind),
        "mtu" => write!(out, "{}", network.mtu),
        "dhcp" => write!(out, "0"),
        "bridge" => write!(out, "{}", flag(network.bridge)),
        "broadcastEnabled" => write!(out, "{}", flag(network.broadcast)),
        "portError" => write!(out, "{}", network.port_error),
        "netconfRevision" => write!(out, "{}", network.revision),
        "portDeviceName" => write!(out, "{}", network.device),
        "allowManaged" => write!(out, "{}", flag(network.allow_managed)),
        "allowGlobal" => write!(out, "{}", flag(network.allow_global)),
        "allowDefault" => write!(out, "{}", flag(network.allow_default)),
        "allowDNS" => write!(out, "{}", flag(network.allow_dns)),
        _ => return None,
    })
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
    let mut value = String::new();
    if write_scalar(&mut value, &network, key).is_some() {
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
            let Some(ip) = ip else { return Some(value) };
            let _ = write!(value, "{ip}");
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
    if let Some(key) = NETWORK_SCALARS.get(*part) {
        *part += 1;
        let mut value = String::new();
        let _ = write_scalar(&mut value, &network, key);
        out.row(format_args!("200 network {key} {}", Field(&value)));
        return true;
    }
    loop {
        let i = *n;
        *n += 1;
        match *part - NETWORK_SCALARS.len() {
            0 => {
                if let Some(key) = host.setting_keys().get(i) {
                    let value = host.setting(id, key).unwrap_or_default();
                    out.row(format_args!("200 network setting {key} {}", Field(&value)));
                    return true;
                }
            }
            1 => {
                if let Some(net) = host.address(id, i) {
                    let installed = word(host.address_installed(id, i));
                    out.row(format_args!("200 network ip {net} {}", Field(installed)));
                    return true;
                }
            }
            2 => {
                if let Some(route) = host.route(id, i) {
                    out.row(format_args!(
                        "200 network route {} {} {} {} {}",
                        route.target,
                        Or(route.via, "-"),
                        route.flags,
                        route.metric,
                        Field(word(route.installed)),
                    ));
                    return true;
                }
            }
            3 if i == 0 => {
                dns_row(host, &network, out);
                return true;
            }
            4 => {
                if let Some((mac, adi)) = host.group(id, i) {
                    out.row(format_args!("200 network mcast {mac} {adi:08x}"));
                    return true;
                }
            }
            3 => {}
            _ => return false,
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

fn dns_row(host: &dyn Host, network: &NetworkRow<'_>, out: &mut Buffer) {
    struct Servers<'a>(&'a dyn Host, NetworkId);
    impl fmt::Display for Servers<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut n = 0;
            while let Some(ip) = self.0.dns_server(self.1, n) {
                let comma = if n > 0 { "," } else { "" };
                write!(f, "{comma}{ip}")?;
                n += 1;
            }
            if n == 0 { f.write_char('-') } else { Ok(()) }
        }
    }
    out.row(format_args!(
        "200 network dns {} {} {}",
        Field(network.dns_domain),
        Servers(host, network.id),
        Field(network.dns_state),
    ));
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
