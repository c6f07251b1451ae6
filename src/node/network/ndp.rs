//! Neighbour discovery answered locally: the node address is in the IPv6 address (wire 12.5).

use core::net::{IpAddr, Ipv6Addr};

use super::config::IpNet;
use crate::base::{Address, Mac, NetworkId};
use crate::wire::derive;
use crate::wire::frames::{ETHERNET_LEN, Ethernet};

const IPV6: u16 = 0x86dd;
const ICMP6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const HEADER: usize = 40;
const BODY: usize = 32;

/// Length of the answer.
pub(crate) const ANSWER_LEN: usize = ETHERNET_LEN + HEADER + BODY;

/// The answer to an outgoing neighbour solicitation for an address that names its node;
/// `None`: multicast as usual.
pub(crate) fn answer(
    network: NetworkId,
    me: Address,
    addresses: &[IpNet],
    ethernet: &Ethernet,
    payload: &[u8],
) -> Option<[u8; ANSWER_LEN]> {
    if !ethernet.to.is_multicast()
        || ethernet.ethertype != IPV6
        || payload.len() < 64
        || payload.get(6) != Some(&ICMP6)
        || payload.get(HEADER) != Some(&SOLICITATION)
    {
        return None;
    }
    let target: [u8; 16] = *payload.get(48..)?.first_chunk()?;
    let (node, own) = addresses.iter().find_map(|net| {
        let IpAddr::V6(own) = net.ip else { return None };
        Some((named_node(network, net.bits, own, &target)?, own))
    })?;
    (node != me).then(|| advertisement(derive::mac(network, node), ethernet.from, &target, own))
}

/// The node whose address `target` is, if it is of the same form as `own`.
fn named_node(network: NetworkId, bits: u8, own: Ipv6Addr, target: &[u8; 16]) -> Option<Address> {
    let own = own.octets();
    // Of any node: only the network's part is looked at.
    let any = Address::new(1)?;
    let rfc4193 = derive::rfc4193(network, any).octets();
    let sixplane = derive::sixplane(network, any).octets();
    if bits == 88 && own[..11] == rfc4193[..11] && target[..11] == own[..11] {
        return Address::from_bytes(*target.last_chunk()?);
    }
    if bits == 40 && own[..5] == sixplane[..5] && target[..5] == own[..5] {
        return Address::from_bytes(*target.get(5..)?.first_chunk()?);
    }
    None
}

fn advertisement(from: Mac, to: Mac, target: &[u8; 16], own: Ipv6Addr) -> [u8; ANSWER_LEN] {
    let mut frame = [0; ANSWER_LEN];
    let ethernet = Ethernet {
        to,
        from,
        ethertype: IPV6,
    };
    frame[..ETHERNET_LEN].copy_from_slice(&ethernet.to_bytes());
    let ip = &mut frame[ETHERNET_LEN..];
    ip[0] = 0x60;
    ip[5] = BODY as u8;
    ip[6] = ICMP6;
    ip[7] = 255;
    ip[8..24].copy_from_slice(target);
    ip[24..40].copy_from_slice(&own.octets());
    ip[40] = ADVERTISEMENT;
    // Solicited, override.
    ip[44] = 0x60;
    ip[48..64].copy_from_slice(target);
    ip[64] = 2;
    ip[65] = 1;
    ip[66..72].copy_from_slice(&from.to_bytes());
    let sum = checksum(ip);
    ip[42..44].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Of the ICMPv6 message behind the header, over the usual pseudo header.
fn checksum(ip: &[u8]) -> u16 {
    let words = ip[8..]
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum = words.sum::<u32>() + BODY as u32 + u32::from(ICMP6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_solicitation_for_a_member_is_answered_with_its_mac() {
        let network = NetworkId::new(0xff00_1600_1600_0000).unwrap();
        let me = Address::new(0x12_3456_789a).unwrap();
        let peer = Address::new(0x99_aabb_ccdd).unwrap();
        for (own, target, bits) in [
            (
                derive::sixplane(network, me),
                derive::sixplane(network, peer),
                40,
            ),
            (
                derive::rfc4193(network, me),
                derive::rfc4193(network, peer),
                88,
            ),
        ] {
            let addresses = [IpNet {
                ip: own.into(),
                bits,
            }];
            let ethernet = Ethernet {
                to: Mac::new([0x33, 0x33, 0xff, 0, 0, 1]),
                from: derive::mac(network, me),
                ethertype: IPV6,
            };
            let mut asked = [0u8; 72];
            asked[6] = ICMP6;
            asked[40] = SOLICITATION;
            asked[48..64].copy_from_slice(&target.octets());
            let frame = answer(network, me, &addresses, &ethernet, &asked).unwrap();
            let (header, ip) = Ethernet::parse(&frame).unwrap();
            assert_eq!(
                (header.to, header.from),
                (ethernet.from, derive::mac(network, peer))
            );
            assert_eq!(
                (&ip[8..24], &ip[24..40]),
                (&target.octets()[..], &own.octets()[..])
            );
            assert_eq!(checksum(ip), 0);
            asked[48..64].copy_from_slice(&own.octets());
            assert!(answer(network, me, &addresses, &ethernet, &asked).is_none());
        }
    }
}
