//! Names and addresses that follow from a network id and a node address (wire 12).

use core::net::{IpAddr, Ipv6Addr};

use super::multicast::Group;
use crate::base::{Address, Mac, NetworkId};

/// First byte of all MACs of a network's members.
pub const fn mac_prefix(network: NetworkId) -> u8 {
    let [.., low] = network.to_bytes();
    match (low & 0xfe) | 0x02 {
        // KVM's default range.
        0x52 => 0x32,
        first => first,
    }
}

/// A member's MAC.
pub const fn mac(network: NetworkId, address: Address) -> Mac {
    let [_, _, n5, n4, n3, n2, n1, _] = network.to_bytes();
    let [a0, a1, a2, a3, a4] = address.to_bytes();
    Mac::new([
        mac_prefix(network),
        a0 ^ n1,
        a1 ^ n2,
        a2 ^ n3,
        a3 ^ n4,
        a4 ^ n5,
    ])
}

/// The inverse: whose MAC it is; `None` if no member can have it.
pub fn address_of_mac(network: NetworkId, mac: Mac) -> Option<Address> {
    let [first, m0, m1, m2, m3, m4] = mac.to_bytes();
    if first != mac_prefix(network) {
        return None;
    }
    let [_, _, n5, n4, n3, n2, n1, _] = network.to_bytes();
    Address::from_bytes([m0 ^ n1, m1 ^ n2, m2 ^ n3, m3 ^ n4, m4 ^ n5])
}

/// Begins with the network's first byte: a member's MAC, or nobody's.
pub const fn is_member_mac(network: NetworkId, mac: Mac) -> bool {
    mac.to_bytes()[0] == mac_prefix(network)
}

/// Length of [`device_name`].
pub const DEVICE_NAME_LEN: usize = 10;

/// Linux device name; `trial` counts up while the name is taken.
pub fn device_name(network: NetworkId, trial: u32) -> heapless::String<DEVICE_NAME_LEN> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let id = network.get();
    let bits = ((id ^ (id >> 24)) & 0xff_ffff_ffff).wrapping_add(u64::from(trial));
    let mut name = heapless::String::new();
    // Ten characters in a string of ten: nothing can fail.
    let _ = name.push_str("zt");
    for group in (0..8u32).rev() {
        let index = (bits >> group.wrapping_mul(5)) & 31;
        let letter = usize::try_from(index).ok().and_then(|i| ALPHABET.get(i));
        let _ = name.push(char::from(*letter.unwrap_or(&b'a')));
    }
    name
}

/// RFC 4193 address, on-link /88.
pub fn rfc4193(network: NetworkId, address: Address) -> Ipv6Addr {
    let n = network.to_bytes();
    let [a, b, c, d, e] = address.to_bytes();
    let n = [n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]];
    Ipv6Addr::from([
        0xfd, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], 0x99, 0x93, a, b, c, d, e,
    ])
}

/// 6PLANE address, on-link /40; its owner has the whole /80.
pub fn sixplane(network: NetworkId, address: Address) -> Ipv6Addr {
    let [n0, n1, n2, n3, n4, n5, n6, n7] = network.to_bytes();
    let [a, b, c, d, e] = address.to_bytes();
    Ipv6Addr::from([
        0xfc,
        n0 ^ n4,
        n1 ^ n5,
        n2 ^ n6,
        n3 ^ n7,
        a,
        b,
        c,
        d,
        e,
        0,
        0,
        0,
        0,
        0,
        1,
    ])
}

/// Link-local address that the kernel gives a tap.
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.to_bytes();
    Ipv6Addr::from([
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ])
}

/// The group by which an address is resolved.
pub fn group_of_ip(ip: IpAddr) -> Group {
    match ip {
        IpAddr::V4(ip) => Group {
            mac: Mac::BROADCAST,
            adi: u32::from(ip),
        },
        IpAddr::V6(ip) => {
            let [.., a, b, c] = ip.octets();
            Group {
                mac: Mac::new([0x33, 0x33, 0xff, a, b, c]),
                adi: 0,
            }
        }
    }
}

/// The group that an outgoing broadcast ARP request for IPv4 becomes.
pub fn arp_group(ethertype: u16, payload: &[u8]) -> Option<Group> {
    const ARP: u16 = 0x0806;
    let fields: &[u8; 28] = payload.first_chunk()?;
    let [_, _, 8, 0, 6, 4, _, 1, .., a, b, c, d] = *fields else {
        return None;
    };
    (ethertype == ARP).then(|| Group {
        mac: Mac::BROADCAST,
        adi: u32::from_be_bytes([a, b, c, d]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// wire 12.3: who has 10.99.0.28?
    const REQUEST: [u8; 28] = *b"\0\x01\x08\0\x06\x04\0\x01\x02\x03\x04\x05\x06\x07\x0a\x63\0\x05\
        \0\0\0\0\0\0\x0a\x63\0\x1c";

    #[test]
    fn an_arp_request_goes_to_the_group_of_its_target() {
        let group = arp_group(0x0806, &REQUEST).unwrap();
        assert_eq!(group, group_of_ip("10.99.0.28".parse().unwrap()));
        // Padded to the least Ethernet length.
        let mut padded = [0; 46];
        padded[..28].copy_from_slice(&REQUEST);
        assert_eq!(arp_group(0x0806, &padded), Some(group));
    }

    #[test]
    fn what_is_no_arp_request_has_no_such_group() {
        assert_eq!(arp_group(0x0800, &REQUEST), None);
        assert_eq!(arp_group(0x0806, &REQUEST[..27]), None);
        for (at, byte) in [(2, 9), (3, 1), (4, 8), (5, 16), (7, 2)] {
            let mut other = REQUEST;
            other[at] = byte;
            assert_eq!(arp_group(0x0806, &other), None, "{at}");
        }
    }

    #[test]
    fn the_first_byte_stays_out_of_the_range_of_kvm() {
        // wire 12.1
        let prefix = |low: u64| mac_prefix(NetworkId::new(0x8056_c2e2_1c00_0000 | low).unwrap());
        assert_eq!(prefix(0x50), 0x32);
        assert_eq!(prefix(0x53), 0x32);
        assert_eq!(prefix(0x54), 0x56);
        assert_eq!(prefix(0x01), 0x02);
    }
}
