//! All interfaces as they are, for reports: names, hardware addresses, MTUs, addresses.

use core::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::Error;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// It is up.
    pub up: bool,
    /// Its hardware address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Its MTU, if the system tells in passing.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
}

/// All but loopback, in the order of the system.
pub fn interfaces() -> Result<Vec<Interface>, Error> {
    let rows = getifaddrs().map_err(|errno| Error::of("getifaddrs", errno))?;
    let mut all: Vec<Interface> = Vec::new();
    for row in rows {
        if row.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let name = row.interface_name;
        let n = all.iter().position(|one| one.name == name);
        let n = n.unwrap_or_else(|| {
            all.push(Interface {
                mtu: mtu(&name),
                name,
                up: row.flags.contains(InterfaceFlags::IFF_UP),
                mac: None,
                ips: Vec::new(),
            });
            all.len() - 1
        });
        let (Some(one), Some(address)) = (all.get_mut(n), row.address) else {
            continue;
        };
        if let Some(address) = address.as_sockaddr_in() {
            one.ips.push(address.ip().into());
        } else if let Some(address) = address.as_sockaddr_in6() {
            one.ips.push(address.ip().into());
        } else if let Some(mac) = address.as_link_addr().and_then(|link| link.addr()) {
            one.mac = Some(mac);
        }
    }
    Ok(all)
}

#[cfg(target_os = "linux")]
fn mtu(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?;
    text.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn mtu(_name: &str) -> Option<u32> {
    None
}
