//! What the system tells of interfaces, in words that fit all systems.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Somewhere in the Internet: the route there is the default route. Nothing is sent.
pub(super) const PROBES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe)),
];

/// An address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length.
    pub bits: u8,
    /// Number of the interface.
    pub index: u32,
    /// Name of the interface.
    pub device: String,
    /// The interface is up.
    pub up: bool,
    /// And it has a carrier, or does not know of such a thing.
    pub running: bool,
    /// Frames that leave by the interface go to a program: a tap of ours or of somebody else.
    pub tap: bool,
    /// A privacy address of IPv6.
    pub temporary: bool,
    /// Duplicate detection is not through, or failed.
    pub tentative: bool,
}

/// What of the system has changed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct News {
    /// Interfaces, addresses or routes.
    pub system: bool,
    /// Multicast groups of some interface.
    pub groups: bool,
}

/// How packets into the Internet leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultRoute {
    /// Number of the interface.
    pub index: u32,
    /// The next hop, if there is one.
    pub gateway: Option<IpAddr>,
    /// IPv6.
    pub v6: bool,
}

/// Number of our routes and rules among those of other programs: what a crash leaves behind is
/// known by it (service 7.2).
pub const PROTOCOL: u8 = 201;

/// The table that is looked at without further rules.
pub const MAIN_TABLE: u32 = 254;

/// Packets that would be answered by another way are dropped on this interface, by a strict
/// reverse path filter (IPv4; `net.ipv4.conf.*.rp_filter`).
#[cfg(target_os = "linux")]
pub fn has_strict_reverse_path(device: &str) -> bool {
    // The stricter word of the two is not what counts: 2 (loose) wins over 1.
    let of = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
        let text = super::file::system_text(&path).unwrap_or_default();
        text.trim_ascii().parse::<u8>().unwrap_or(0)
    };
    of("all").max(of(device)) == 1
}

/// Unknown to this system.
#[cfg(not(target_os = "linux"))]
pub fn has_strict_reverse_path(_device: &str) -> bool {
    false
}

/// A route of ours. Unicast, without the host bits of its target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Route {
    /// In which table.
    pub table: u32,
    /// Where to.
    pub target: IpAddr,
    /// Prefix length of `target`.
    pub bits: u8,
    /// Smaller wins. IPv6 has no 0.
    pub metric: u32,
    /// Number of the interface; 0 in answers: none.
    pub index: u32,
    /// The next hop; none: on the link.
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

impl Route {
    /// A table has one route of ours with this target and metric.
    pub fn has_key_of(&self, other: &Self) -> bool {
        let same = (self.table, self.bits, self.metric) == (other.table, other.bits, other.metric);
        same && self.target == other.target
    }
}

/// Packets with a mark look at a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    /// Smaller is looked at first; the main table is at 32766.
    pub priority: u32,
    /// The whole mark; not 0.
    pub mark: u32,
    /// Where to look.
    pub table: u32,
    /// IPv6.
    pub v6: bool,
}

/// All addresses of all interfaces in the way of BSD, which tells nothing of privacy addresses
/// and duplicate detection.
#[cfg(any(not(target_os = "linux"), test))]
pub(super) fn by_getifaddrs() -> Result<Vec<Address>, super::Error> {
    use nix::net::if_::{InterfaceFlags, if_nametoindex};
    let list = nix::ifaddrs::getifaddrs().map_err(|e| super::Error::of(&"getifaddrs", e))?;
    let address = |entry: nix::ifaddrs::InterfaceAddress| {
        let ip = ip_of(&entry.address?)?;
        let mask = entry.netmask.as_ref().and_then(ip_of);
        Some(Address {
            ip,
            bits: mask.map_or(if ip.is_ipv6() { 128 } else { 32 }, bits_of),
            index: if_nametoindex(entry.interface_name.as_str()).ok()?,
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
            running: entry.flags.contains(InterfaceFlags::IFF_RUNNING),
            // By the name alone: that is the same for all of a kind here.
            tap: entry.interface_name.starts_with("tap"),
            device: entry.interface_name,
            temporary: false,
            tentative: false,
        })
    };
    Ok(list.filter_map(address).collect())
}

#[cfg(any(not(target_os = "linux"), test))]
fn ip_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// Prefix length of a mask.
#[cfg(any(not(target_os = "linux"), test))]
fn bits_of(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_prefixes() {
        for (mask, bits) in [("255.255.254.0", 23), ("0.0.0.0", 0), ("ffff:fff0::", 28)] {
            assert_eq!(bits_of(mask.parse().unwrap()), bits, "{mask}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn both_ways_of_asking_give_the_same_addresses() {
        // Loopback alone: others may change between the questions.
        let loopback = |all: Vec<Address>| {
            let mut all: Vec<Address> = all.into_iter().filter(|a| a.device == "lo").collect();
            all.sort_by_key(|a| a.ip);
            all
        };
        let asked = super::super::netlink::Control::open()
            .and_then(|mut control| control.addresses())
            .expect("a list");
        assert_eq!(loopback(by_getifaddrs().expect("a list")), loopback(asked));
    }
}
