//! Messages of the routing socket of the BSDs, as bytes: no system call here, so that the parsing
//! is tested wherever the tests run.
//!
//! A message is a header, then socket addresses: bit n of a mask in the header says whether the
//! n-th kind follows. Each begins with its length and family and is padded to a word.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ifaces::News;

/// Where the fields of the header are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Bytes of the header.
    header: usize,
    /// Offset of the header's length within it, where there is such a field.
    header_len: Option<usize>,
    index: usize,
    addresses: usize,
    sequence: usize,
    errno: usize,
    /// Socket addresses are padded to this.
    word: usize,
    family_v6: u8,
    version: u8,
    /// Kinds of messages about interfaces and addresses. All of them may mean that sockets or taps
    /// have to follow.
    news: &'static [u8],
    /// Kinds of messages about members of groups.
    groups: &'static [u8],
    asking: Option<Asking>,
}

/// What a question must have on NetBSD: it tells the interface only who asks for it, and instead
/// of the next hop the neighbour's hardware address, unless the route is asked for as one that is
/// up.
#[derive(Clone, Copy, Debug)]
struct Asking {
    /// Offset of the flags.
    flags: usize,
    /// Length of an empty address of the link.
    link: u8,
}

/// FreeBSD: eight fields before `rtm_inits`, which like all metrics is a long.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code))]
pub(super) const FREEBSD: Layout = Layout {
    header: 32 + 15 * size_of::<usize>(),
    header_len: None,
    index: 4,
    addresses: 12,
    sequence: 20,
    errno: 24,
    word: size_of::<usize>(),
    family_v6: 28,
    version: 5,
    // Addresses come and go; interfaces change, come and go.
    news: &[0xc, 0xd, 0xe, 0x11],
    groups: &[0xf, 0x10],
    asking: None,
};

/// NetBSD: the same for 32 and 64 bits.
#[cfg_attr(not(target_os = "netbsd"), allow(dead_code))]
pub(super) const NETBSD: Layout = Layout {
    header: 120,
    header_len: None,
    index: 4,
    addresses: 12,
    sequence: 20,
    errno: 24,
    word: 8,
    family_v6: 24,
    version: 4,
    // Interfaces come, go and change; addresses come, go and change. What lies between is of
    // neighbours.
    news: &[0x10, 0x14, 0x16, 0x17, 0x18],
    groups: &[],
    asking: Some(Asking { flags: 8, link: 32 }),
};

/// OpenBSD.
#[cfg_attr(not(target_os = "openbsd"), allow(dead_code))]
pub(super) const OPENBSD: Layout = Layout {
    header: 96,
    header_len: Some(4),
    index: 6,
    addresses: 12,
    sequence: 28,
    errno: 32,
    word: size_of::<usize>(),
    family_v6: 24,
    version: 5,
    // Addresses come and go; interfaces change, come and go; some messages were lost; an address
    // turned out to be nobody else's.
    news: &[0xc, 0xd, 0xe, 0xf, 0x10, 0x14],
    groups: &[],
    asking: None,
};

const FAMILY_V4: u8 = 2;
const FAMILY_LINK: u8 = 18;

const RTM_ADD: u8 = 1;
const RTM_DELETE: u8 = 2;
const RTM_CHANGE: u8 = 3;
const RTM_GET: u8 = 4;
const RTF_UP: i32 = 1;

const DESTINATION: u32 = 0;
const GATEWAY: u32 = 1;
const DEVICE: u32 = 4;
const KINDS: u32 = 16;

/// Asks for the route to an address.
pub(super) fn question(layout: &Layout, sequence: i32, to: IpAddr) -> Vec<u8> {
    let mut bytes = vec![0; layout.header];
    put(&mut bytes, 2, &[layout.version, RTM_GET]);
    if let Some(at) = layout.header_len {
        put(&mut bytes, at, &(layout.header as u16).to_ne_bytes());
    }
    let mut follow = 1_i32 << DESTINATION;
    if let Some(asking) = layout.asking {
        follow |= 1 << DEVICE;
        put(&mut bytes, asking.flags, &RTF_UP.to_ne_bytes());
    }
    put(&mut bytes, layout.addresses, &follow.to_ne_bytes());
    put(&mut bytes, layout.sequence, &sequence.to_ne_bytes());
    match to {
        IpAddr::V4(ip) => {
            bytes.extend([16, FAMILY_V4, 0, 0]);
            bytes.extend(ip.octets());
            bytes.extend([0; 8]);
        }
        IpAddr::V6(ip) => {
            bytes.extend([28, layout.family_v6, 0, 0, 0, 0, 0, 0]);
            bytes.extend(ip.octets());
            bytes.extend([0; 4]);
        }
    }
    bytes.resize(bytes.len().next_multiple_of(layout.word), 0);
    if let Some(asking) = layout.asking {
        let end = bytes.len() + usize::from(asking.link);
        bytes.extend([asking.link, FAMILY_LINK]);
        bytes.resize(end.next_multiple_of(layout.word), 0);
    }
    let len = bytes.len() as u16;
    put(&mut bytes, 0, &len.to_ne_bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message of these bytes. `None`: cut off, or of another version.
    pub(super) fn new(layout: &'a Layout, bytes: &'a [u8]) -> Option<Self> {
        let &[a, b, version, _] = bytes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        (version == layout.version).then_some(())?;
        let bytes = bytes.get(..len)?;
        (len >= 4).then_some(Self { layout, bytes })
    }

    /// The route that was asked for: number of the interface, next hop. `None`: this is no answer
    /// to that question, or there is no route.
    pub(super) fn answer(&self, sequence: i32) -> Option<(u32, Option<IpAddr>)> {
        let is_answer = self.kind() == RTM_GET
            && self.i32_at(self.layout.sequence)? == sequence
            && self.i32_at(self.layout.errno)? == 0;
        is_answer.then_some(())?;
        let index = self.bytes.get(self.layout.index..)?.first_chunk().copied();
        let index = u16::from_ne_bytes(index?);
        Some((index.into(), self.address(GATEWAY)))
    }

    /// What may have to follow.
    pub(super) fn news(&self) -> News {
        let system = match self.kind() {
            // Of routes only default ones, or a routing daemon would keep us busy.
            RTM_ADD | RTM_DELETE | RTM_CHANGE => self
                .address(DESTINATION)
                .is_some_and(|ip| ip.is_unspecified()),
            kind => self.layout.news.contains(&kind),
        };
        let groups = self.layout.groups.contains(&self.kind());
        News { system, groups }
    }

    fn kind(&self) -> u8 {
        self.bytes.get(3).copied().unwrap_or(0)
    }

    fn i32_at(&self, at: usize) -> Option<i32> {
        let bytes = self.bytes.get(at..)?.first_chunk();
        bytes.copied().map(i32::from_ne_bytes)
    }

    /// The socket address of a kind, if it is there and one of IP.
    fn address(&self, wanted: u32) -> Option<IpAddr> {
        let present = self.i32_at(self.layout.addresses)?;
        let mut rest = self.bytes.get(self.layout.header..)?;
        for kind in (0..KINDS).filter(|kind| present & (1 << kind) != 0) {
            let len = usize::from(*rest.first()?);
            if kind == wanted {
                return ip_of(self.layout, rest.get(..len)?);
            }
            // An empty one takes a word, too.
            rest = rest.get(len.max(1).next_multiple_of(self.layout.word)..)?;
        }
        None
    }
}

/// A socket address of the link: number of the interface, and a hardware address of six bytes
/// if it has one.
#[cfg_attr(not(target_os = "freebsd"), allow(dead_code))]
pub(super) fn link_name(name: &[u8]) -> Option<(u32, Option<[u8; 6]>)> {
    let &[_, family, a, b, _, name_len, mac_len, _] = name.first_chunk()?;
    (family == FAMILY_LINK).then_some(())?;
    let from = 8 + usize::from(name_len);
    let mac = name.get(from..from + usize::from(mac_len));
    let mac = mac.and_then(|mac| mac.try_into().ok());
    Some((u16::from_ne_bytes([a, b]).into(), mac))
}

/// Groups of a device as NetBSD lists them: 16 bytes each, a number of users and the first and
/// last address of a range. A range of more than one is a router's.
#[cfg_attr(not(target_os = "netbsd"), allow(dead_code))]
pub(super) fn groups_listed(list: &[u8]) -> impl Iterator<Item = [u8; 6]> {
    list.chunks_exact(GROUP_LEN).filter_map(|entry| {
        let (first, last) = entry.get(4..)?.split_at(6);
        (first == last).then_some(())?;
        first.try_into().ok()
    })
}

/// Bytes of a group in such a list.
pub(super) const GROUP_LEN: usize = 16;

fn ip_of(layout: &Layout, name: &[u8]) -> Option<IpAddr> {
    match *name.get(1)? {
        FAMILY_V4 => {
            let octets: [u8; 4] = name.get(4..)?.first_chunk().copied()?;
            Some(Ipv4Addr::from(octets).into())
        }
        family if family == layout.family_v6 => {
            let mut octets: [u8; 16] = name.get(8..)?.first_chunk().copied()?;
            // The kernel keeps the number of the interface within link-local addresses.
            if octets[0] == 0xfe && octets[1] & 0xc0 == 0x80 {
                octets[2..4].fill(0);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUTS: [Layout; 3] = [FREEBSD, NETBSD, OPENBSD];

    /// A message of a kind with these addresses: number of the kind, bytes from the length on.
    fn message(layout: &Layout, kind: u8, addresses: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; layout.header];
        put(&mut bytes, 2, &[layout.version, kind]);
        put(&mut bytes, layout.index, &7_u16.to_ne_bytes());
        put(&mut bytes, layout.sequence, &99_i32.to_ne_bytes());
        let mask = addresses
            .iter()
            .fold(0_i32, |mask, (kind, _)| mask | 1 << kind);
        put(&mut bytes, layout.addresses, &mask.to_ne_bytes());
        for (_, address) in addresses {
            bytes.extend(*address);
            bytes.resize(bytes.len().next_multiple_of(layout.word), 0);
        }
        let len = bytes.len() as u16;
        put(&mut bytes, 0, &len.to_ne_bytes());
        bytes
    }

    fn name(layout: &Layout, text: &str) -> Vec<u8> {
        let question = question(layout, 0, text.parse().unwrap());
        question[layout.header..].to_vec()
    }

    #[test]
    fn headers_are_as_long_as_the_systems() {
        if size_of::<usize>() == 8 {
            assert_eq!((FREEBSD.header, OPENBSD.header), (152, 96));
        }
    }

    #[test]
    fn answers_tell_interface_and_next_hop() {
        for layout in &LAYOUTS {
            for (gateway, want) in [("192.0.2.1", "192.0.2.1"), ("fe80:3::1", "fe80::1")] {
                // Link addresses of odd length are padded.
                let before = [11, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9];
                let gateway = name(layout, gateway);
                let bytes = message(
                    layout,
                    RTM_GET,
                    &[(0, &before), (1, &gateway), (4, &before)],
                );
                let parsed = Message::new(layout, &bytes).expect("a message");
                assert_eq!(parsed.answer(99), Some((7, want.parse().ok())));
                assert_eq!(parsed.answer(98), None);
                for cut in 0..bytes.len() {
                    assert!(Message::new(layout, &bytes[..cut]).is_none());
                }
                for (at, value) in (0..bytes.len()).flat_map(|at| [0, 1, 255].map(|v| (at, v))) {
                    let mut bent = bytes.clone();
                    bent[at] = value;
                    if let Some(parsed) = Message::new(layout, &bent) {
                        let _ = (parsed.answer(99), parsed.news());
                    }
                }
            }
            let link = [8, 18, 7, 0, 6, 0, 0, 0];
            let bytes = message(layout, RTM_GET, &[(1, &link)]);
            let parsed = Message::new(layout, &bytes).expect("a message");
            assert_eq!(
                parsed.answer(99),
                Some((7, None)),
                "no next hop but a device"
            );
        }
    }

    #[test]
    fn of_routes_only_default_ones_are_news() {
        for layout in &LAYOUTS {
            let matters = |kind, to: &str| {
                let bytes = message(layout, kind, &[(0, &name(layout, to))]);
                Message::new(layout, &bytes).is_some_and(|message| message.news().system)
            };
            assert!(matters(RTM_ADD, "0.0.0.0") && matters(RTM_DELETE, "::"));
            assert!(!matters(RTM_ADD, "10.0.0.0") && !matters(RTM_CHANGE, "2001:db8::"));
            assert!(layout.news.iter().all(|kind| matters(*kind, "10.0.0.0")));
            assert!(!matters(RTM_GET, "0.0.0.0"));
            for kind in layout.groups {
                let bytes = message(layout, *kind, &[]);
                let parsed = Message::new(layout, &bytes).expect("a message");
                assert!(parsed.news().groups && !parsed.news().system);
            }
        }
    }

    #[test]
    fn names_of_the_link_tell_device_and_address() {
        let [a, b] = 300_u16.to_ne_bytes();
        let mut name = vec![0, FAMILY_LINK, a, b, 6, 4, 6, 0];
        name.extend(*b"tap0");
        name.extend([1, 0, 0x5e, 0, 0, 1]);
        assert_eq!(link_name(&name), Some((300, Some([1, 0, 0x5e, 0, 0, 1]))));
        assert_eq!(link_name(&name[..17]), Some((300, None)));
        assert_eq!(link_name(&name[..7]), None);
        name[1] = FAMILY_V4;
        assert_eq!(link_name(&name), None);
    }

    #[test]
    fn netbsd_is_asked_for_the_device_and_a_route_that_is_up() {
        for to in ["192.0.2.1", "2001:db8::1"] {
            let bytes = question(&NETBSD, 5, to.parse().unwrap());
            assert_eq!(bytes.len() % 8, 0);
            let parsed = Message::new(&NETBSD, &bytes).expect("whole");
            assert_eq!((parsed.i32_at(8), parsed.i32_at(12)), (Some(1), Some(0x11)));
            assert_eq!(parsed.bytes.get(bytes.len() - 32..).unwrap()[..2], [32, 18]);
        }
        // Neighbours that move are no news.
        let moved = message(&NETBSD, 0x13, &[]);
        assert!(!Message::new(&NETBSD, &moved).unwrap().news().system);
        let other = message(&FREEBSD, RTM_GET, &[]);
        assert!(Message::new(&NETBSD, &other).is_none(), "another version");
    }

    #[test]
    fn groups_are_listed_by_sixteen_bytes() {
        let group = [1, 0, 0x5e, 0, 0, 1];
        let entry = |first: [u8; 6], last: [u8; 6]| [&[2, 0, 0, 0], &first[..], &last[..]].concat();
        let mut list = entry(group, group);
        list.extend(entry([1, 0, 0x5e, 0, 0, 0], [1, 0, 0x5e, 0x7f, 0xff, 0xff]));
        list.extend(entry([0x33, 0x33, 0, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]));
        let all = [group, [0x33, 0x33, 0, 0, 0, 1]];
        assert!(groups_listed(&list).eq(all));
        assert!(groups_listed(&list[..list.len() - 1]).eq([group]));
    }

    #[test]
    fn questions_have_their_length_and_place() {
        for layout in &LAYOUTS {
            let bytes = question(layout, 5, "2001:db8::1".parse().unwrap());
            let parsed = Message::new(layout, &bytes).expect("whole");
            let link = layout.asking.map_or(0, |asking| asking.link.into());
            let to = 28_usize.next_multiple_of(layout.word);
            assert_eq!(parsed.bytes.len(), layout.header + to + link);
            assert_eq!(parsed.address(DESTINATION), "2001:db8::1".parse().ok());
            assert_eq!(parsed.i32_at(layout.sequence), Some(5));
        }
    }
}
