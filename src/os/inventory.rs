//! All interfaces as they are, for reports: names, hardware addresses, MTUs, addresses.

use core::net::IpAddr;

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
#[cfg(target_os = "linux")]
pub fn interfaces() -> Result<Vec<Interface>, Error> {
    let mut control = super::netlink::Control::open()?;
    let links = control.links()?;
    let addresses = control.addresses()?;
    let mut all = Vec::new();
    for link in links {
        if !link.loopback {
            let mut ips = Vec::new();
            for address in &addresses {
                if address.index == link.index {
                    ips.push(address.ip);
                }
            }
            all.push(Interface {
                name: link.name,
                up: link.up,
                mac: link.mac,
                mtu: link.mtu,
                ips,
            });
        }
    }
    Ok(all)
}

/// All but loopback, in the order of the system.
#[cfg(not(target_os = "linux"))]
pub fn interfaces() -> Result<Vec<Interface>, Error> {
    use nix::net::if_::InterfaceFlags;
    let rows = nix::ifaddrs::getifaddrs().map_err(|errno| Error::of(&"getifaddrs", errno))?;
    let mut all: Vec<Interface> = Vec::new();
    for row in rows {
        if row.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let name = row.interface_name;
        let n = all.iter().position(|one| one.name == name);
        let n = n.unwrap_or_else(|| {
            all.push(Interface {
                mtu: None,
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
