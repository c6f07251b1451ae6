//! Physical addresses: wire form, `ip/port` text, scope classes (wire 10, node 5.2).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Malformed;
use super::cursor::{Reader, Writer};

const NIL: u8 = 0;
const ETHERNET: u8 = 1;
const BLUETOOTH: u8 = 2;
const OTHER: u8 = 3;
const V4: u8 = 4;
const V6: u8 = 6;
const MAC_LIKE_LEN: usize = 6;

/// Longest wire form.
pub const WIRE_MAX: usize = 19;

/// Reads an address; `None` for nil and for the reserved kinds, which are skipped.
pub fn read(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Malformed> {
    let parts = read_parts(reader)?;
    Ok(parts.map(|(ip, port)| SocketAddr::new(ip, port)))
}

/// The same for those that mean something else by the port.
pub fn read_parts(reader: &mut Reader<'_>) -> Result<Option<(IpAddr, u16)>, Malformed> {
    let skipped = match reader.u8()? {
        NIL => 0,
        ETHERNET | BLUETOOTH => MAC_LIKE_LEN,
        OTHER => usize::from(reader.u16()?),
        V4 => return Ok(Some((reader.array::<4>()?.into(), reader.u16()?))),
        V6 => return Ok(Some((reader.array::<16>()?.into(), reader.u16()?))),
        _ => return Err(Malformed::Unsupported),
    };
    reader.bytes(skipped)?;
    Ok(None)
}

/// Writes an address, or nil.
pub fn write(writer: &mut Writer<'_>, address: Option<&SocketAddr>) {
    let Some(address) = address else {
        return writer.u8(NIL);
    };
    match address.ip() {
        IpAddr::V4(ip) => {
            writer.u8(V4);
            writer.bytes(&ip.octets());
        }
        IpAddr::V6(ip) => {
            writer.u8(V6);
            writer.bytes(&ip.octets());
        }
    }
    writer.u16(address.port());
}

/// Bytes that [`write`] needs.
pub const fn wire_len(address: Option<&SocketAddr>) -> usize {
    match address {
        None => 1,
        Some(SocketAddr::V4(_)) => 7,
        Some(SocketAddr::V6(_)) => 19,
    }
}

/// An address as everybody prints it: `ip/port`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slash(pub SocketAddr);

impl fmt::Display for Slash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.ip(), self.0.port())
    }
}

/// Reads `ip/port`.
pub fn parse_slash(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.trim_ascii().split_once('/')?;
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

/// How far an address reaches, as 1.14.1 numbers it; among usable ones more is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Scope {
    /// No usable address.
    None = 0,
    /// Multicast.
    Multicast = 1,
    /// This machine.
    Loopback = 2,
    /// Assigned to others, but used like private (DoD's and such).
    PseudoPrivate = 3,
    /// The Internet.
    Global = 4,
    /// This link.
    LinkLocal = 5,
    /// Carrier-grade NAT.
    Shared = 6,
    /// This site.
    Private = 7,
}

impl Scope {
    /// Addresses of it may be paths (node 5.5).
    pub const fn is_routed(self) -> bool {
        matches!(
            self,
            Self::Private | Self::PseudoPrivate | Self::Shared | Self::Global
        )
    }
}

/// Blocks of IPv4 that are not global, in the order in which they are looked at. 1.14.1 takes
/// 100.64/10 for private, 44/8 for global.
const V4_SCOPES: &[([u8; 4], u8, Scope)] = &[
    ([0, 0, 0, 0], 8, Scope::None),
    ([255, 255, 255, 255], 32, Scope::None),
    ([224, 0, 0, 0], 4, Scope::Multicast),
    ([127, 0, 0, 0], 8, Scope::Loopback),
    ([169, 254, 0, 0], 16, Scope::LinkLocal),
    ([10, 0, 0, 0], 8, Scope::Private),
    ([100, 64, 0, 0], 10, Scope::Private),
    ([172, 16, 0, 0], 12, Scope::Private),
    ([192, 168, 0, 0], 16, Scope::Private),
    ([192, 0, 2, 0], 24, Scope::Private),
    ([198, 18, 0, 0], 15, Scope::Private),
    ([198, 51, 100, 0], 24, Scope::Private),
    ([203, 0, 113, 0], 24, Scope::Private),
    ([6, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([11, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([21, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([22, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([25, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([26, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([28, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([29, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([30, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([51, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([55, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([56, 0, 0, 0], 8, Scope::PseudoPrivate),
    ([240, 0, 0, 0], 4, Scope::PseudoPrivate),
];

/// The scope class of an address.
pub fn scope(ip: IpAddr) -> Scope {
    match ip {
        IpAddr::V4(ip) => scope_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => scope_v4(ip),
            None => scope_v6(ip),
        },
    }
}

/// [`scope`] of where a socket is.
#[inline(never)]
pub fn scope_of(place: &SocketAddr) -> Scope {
    scope(place.ip())
}

/// Scope and family in one number: of two the greater is to be used.
#[inline(never)]
pub fn class_of(place: &SocketAddr) -> u8 {
    let scope = scope_of(place) as u8;
    scope.wrapping_mul(2) | u8::from(place.is_ipv6())
}

/// The same machine, perhaps another port.
#[inline(never)]
pub fn same_ip(a: &SocketAddr, b: &SocketAddr) -> bool {
    a.ip() == b.ip()
}

fn scope_v4(ip: Ipv4Addr) -> Scope {
    let bits = u32::from(ip);
    for (net, len, scope) in V4_SCOPES {
        let shift = 32u32.saturating_sub(u32::from(*len));
        if (bits ^ u32::from(Ipv4Addr::from(*net))) >> shift == 0 {
            return *scope;
        }
    }
    Scope::Global
}

fn scope_v6(ip: Ipv6Addr) -> Scope {
    let [first, second, ..] = ip.octets();
    if ip.is_unspecified() {
        Scope::None
    } else if ip.is_loopback() {
        Scope::Loopback
    } else if first == 0xff {
        Scope::Multicast
    } else if first == 0xfe && second & 0xc0 == 0x80 {
        Scope::LinkLocal
    } else if first & 0xfe == 0xfc {
        Scope::Private
    } else {
        Scope::Global
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_those_of_1_14_1() {
        // node 5.2
        for (ip, expected) in [
            ("0.1.2.3", Scope::None),
            ("::", Scope::None),
            ("100.64.0.1", Scope::Private),
            ("100.20.0.1", Scope::Global),
            ("100.128.0.1", Scope::Global),
            ("172.31.255.255", Scope::Private),
            ("172.200.0.1", Scope::Global),
            ("192.200.0.1", Scope::Global),
            ("192.0.2.1", Scope::Private),
            ("198.19.255.255", Scope::Private),
            ("198.20.0.1", Scope::Global),
            ("198.51.100.1", Scope::Private),
            ("203.0.113.1", Scope::Private),
            ("44.1.2.3", Scope::Global),
            ("11.1.2.3", Scope::PseudoPrivate),
            ("223.255.255.255", Scope::Global),
            ("239.1.2.3", Scope::Multicast),
            ("::ffff:10.1.2.3", Scope::Private),
            ("fe80::1", Scope::LinkLocal),
            ("fc00::1", Scope::Private),
            ("ff05::1", Scope::Multicast),
            ("2001:db8::1", Scope::Global),
        ] {
            assert_eq!(scope(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn what_is_not_ip_and_port_is_no_address() {
        for text in [
            "",
            "/",
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/65536",
            "10.0.0.1/+1",
            "a/1",
        ] {
            assert_eq!(parse_slash(text), None, "{text}");
        }
        let address = parse_slash(" 2001:db8::1/9993\n").unwrap();
        assert_eq!(std::format!("{}", Slash(address)), "2001:db8::1/9993");
    }
}
