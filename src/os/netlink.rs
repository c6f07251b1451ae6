//! Linux netlink: what addresses and routes there are, news of changes, setting addresses.
//!
//! Messages are built and read by hand: a header of 16 bytes, a fixed part, attributes of
//! (length, type, value) padded to four. Everything is in the byte order of the machine but the
//! addresses. News that were lost (ENOBUFS) mean: read again.

use core::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

use super::ifaces::PROBES;
use super::memory::Pages;
use super::{Error, Op};

mod routes;

pub use super::ifaces::{
    Address, DefaultRoute, MAIN_TABLE, News, PROTOCOL, Route, Rule, has_strict_reverse_path,
};

const HEADER_LEN: usize = 16;
const BUFFER_LEN: usize = 32 * 1024;

const RTM_NEWLINK: u16 = libc::RTM_NEWLINK;
const RTM_DELLINK: u16 = libc::RTM_DELLINK;
const RTM_GETLINK: u16 = libc::RTM_GETLINK;
const RTM_NEWADDR: u16 = libc::RTM_NEWADDR;
const RTM_DELADDR: u16 = libc::RTM_DELADDR;
const RTM_GETADDR: u16 = libc::RTM_GETADDR;
const RTM_NEWROUTE: u16 = libc::RTM_NEWROUTE;
const RTM_DELROUTE: u16 = libc::RTM_DELROUTE;
const RTM_GETROUTE: u16 = libc::RTM_GETROUTE;

const IFA_ADDRESS: u16 = libc::IFA_ADDRESS;
const IFA_LOCAL: u16 = libc::IFA_LOCAL;
const IFA_BROADCAST: u16 = libc::IFA_BROADCAST;
const IFA_FLAGS: u16 = 8;
const IFLA_ADDRESS: u16 = libc::IFLA_ADDRESS;
const IFLA_MTU: u16 = libc::IFLA_MTU;
const IFLA_IFNAME: u16 = libc::IFLA_IFNAME;
const IFLA_LINKINFO: u16 = libc::IFLA_LINKINFO;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_TUN_TYPE: u16 = 3;
const RTA_DST: u16 = libc::RTA_DST;
const RTA_OIF: u16 = libc::RTA_OIF;
const RTA_GATEWAY: u16 = libc::RTA_GATEWAY;

const RTM_NEWRULE: u16 = libc::RTM_NEWRULE;
const RTM_DELRULE: u16 = libc::RTM_DELRULE;
const RTM_GETRULE: u16 = libc::RTM_GETRULE;
const FRA_PROTOCOL: u16 = 21;
const RTM_NEWMULTICAST: u16 = 56;
const RTM_DELMULTICAST: u16 = 57;
const RTNLGRP_IPV4_MCADDR: libc::c_int = 37;
const RTNLGRP_IPV6_MCADDR: libc::c_int = 38;
const RTMGRP_IPV4_RULE: u32 = 1 << 7;
const RTMGRP_IPV6_RULE: u32 = 1 << 18;
/// The route itself, not what a packet would make of it (since 4.13).
const RTM_F_FIB_MATCH: u32 = 0x2000;

const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_PERMANENT: u32 = 0x80;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// News of interfaces, addresses, default routes, and of routes and rules of ours that went.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
    buffer: Pages,
}

impl Monitor {
    /// From now on.
    pub fn open() -> Result<Self, Error> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_IFADDR
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE;
        let groups = groups.cast_unsigned() | RTMGRP_IPV4_RULE | RTMGRP_IPV6_RULE;
        let fd = open(groups, SockFlag::SOCK_NONBLOCK)?;
        for &group in &[RTNLGRP_IPV4_MCADDR, RTNLGRP_IPV6_MCADDR] {
            // Kernels before 6.14 have no such news: then groups are read now and then only.
            let _ = join_group(&fd, group);
        }
        Ok(Self {
            fd,
            buffer: Pages::new(BUFFER_LEN),
        })
    }

    /// Reads all news.
    pub fn drain(&mut self) -> News {
        let mut news = News::default();
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(0) => return news,
                Ok(len) => {
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    for message in messages(bytes) {
                        news.system |= message.matters();
                        news.groups |= matches!(message.kind, RTM_NEWMULTICAST | RTM_DELMULTICAST);
                    }
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return news,
                // ENOBUFS: some were lost. Anything else: look, too.
                Err(errno) => {
                    news.system = true;
                    if errno != nix::Error::ENOBUFS {
                        return news;
                    }
                }
            }
        }
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Questions and changes. The kernel answers within the call.
#[derive(Debug)]
pub struct Control {
    fd: OwnedFd,
    sequence: u32,
    buffer: Pages,
}

impl Control {
    /// A socket of its own.
    pub fn open() -> Result<Self, Error> {
        let fd = open(0, SockFlag::empty())?;
        routes::filter_in_kernel(&fd);
        Ok(Self {
            fd,
            sequence: 0,
            buffer: Pages::new(BUFFER_LEN),
        })
    }

    /// All interfaces, but for what [`Self::addresses`] tells.
    pub(super) fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut links: Vec<Link> = Vec::new();
        self.dump(&"netlink links", RTM_GETLINK, &[0; 16], &mut |message| {
            if message.kind != RTM_NEWLINK {
                return;
            }
            let (Some(index), Some(flags)) = (message.u32_at(4), message.u32_at(8)) else {
                return;
            };
            let name = message.attribute(16, IFLA_IFNAME).map(|name| {
                let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
                String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned()
            });
            let name = name.unwrap_or_default();
            let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
            links.push(Link {
                index,
                up: has(libc::IFF_UP),
                running: has(libc::IFF_RUNNING),
                loopback: has(libc::IFF_LOOPBACK),
                mac: (message.attribute(16, IFLA_ADDRESS)).and_then(|mac| mac.try_into().ok()),
                mtu: message.attribute(16, IFLA_MTU).and_then(u32_of),
                tap: message
                    .attribute(16, IFLA_LINKINFO)
                    .is_some_and(|info| is_tap(info).unwrap_or_else(|| has_tap_flag(&name))),
                name,
            });
        })?;
        Ok(links)
    }

    /// All addresses of all interfaces.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let links = self.links()?;
        let mut addresses = Vec::new();
        self.dump(&"netlink addresses", RTM_GETADDR, &[0; 8], &mut |message| {
            if message.kind != RTM_NEWADDR {
                return;
            }
            let Some(&[_, bits, flags, _]) = message.body.first_chunk() else {
                return;
            };
            let Some(index) = message.u32_at(4) else {
                return;
            };
            // On point-to-point links IFA_ADDRESS is the other end.
            let ip = message
                .attribute(8, IFA_LOCAL)
                .or(message.attribute(8, IFA_ADDRESS));
            let Some(ip) = ip.and_then(ip_of) else { return };
            let flags = message
                .attribute(8, IFA_FLAGS)
                .and_then(u32_of)
                .unwrap_or(u32::from(flags));
            let Some(link) = links.iter().find(|link| link.index == index) else {
                return;
            };
            addresses.push(Address {
                ip,
                bits,
                index,
                device: link.name.clone(),
                up: link.up,
                running: link.running,
                tap: link.tap,
                // The same bit means "secondary" for IPv4.
                temporary: ip.is_ipv6() && flags & IFA_F_TEMPORARY != 0,
                tentative: ip.is_ipv6() && flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) != 0,
            });
        })?;
        Ok(addresses)
    }

    /// The default route of each family that has one. A question for one route: a dump of the
    /// whole table may have a million of them.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, Error> {
        let mut routes = Vec::new();
        for probe in &PROBES {
            match self.default_route(probe, None) {
                Ok(None) => {}
                Ok(Some(route)) => routes.push(route),
                Err(error) if matches!(error.errno, libc::ENOMEM | libc::EIO) => return Err(error),
                // No route, or the family is not there at all.
                Err(_) => {}
            }
        }
        Ok(routes)
    }

    /// The default route that packets bound to an interface take, if there is one.
    pub fn default_route_through(
        &mut self,
        index: u32,
        v6: bool,
    ) -> Result<Option<DefaultRoute>, Error> {
        let Some(probe) = PROBES.iter().find(|probe| probe.is_ipv6() == v6) else {
            return Ok(None);
        };
        match self.default_route(probe, Some(index)) {
            // The kernel's words for "no route", or no such family or interface.
            Err(Error {
                errno:
                    libc::ENETUNREACH
                    | libc::EHOSTUNREACH
                    | libc::ENODEV
                    | libc::EAFNOSUPPORT
                    | libc::EOPNOTSUPP
                    | libc::EACCES
                    | libc::EINVAL,
                ..
            }) => Ok(None),
            asked => asked,
        }
    }

    /// The route to an address far away, through an interface if one is named.
    fn default_route(
        &mut self,
        probe: &IpAddr,
        through: Option<u32>,
    ) -> Result<Option<DefaultRoute>, Error> {
        let v6 = probe.is_ipv6();
        let mut body = [0; 12];
        body[0] = family_of(probe);
        body[1] = if v6 { 128 } else { 32 };
        if through.is_some() {
            body[8..].copy_from_slice(&RTM_F_FIB_MATCH.to_ne_bytes());
        }
        let mut request = Request::new(RTM_GETROUTE, libc::NLM_F_REQUEST, &body);
        request.attribute(RTA_DST, &octets_of(probe));
        if let Some(index) = through {
            request.attribute(RTA_OIF, &index.to_ne_bytes());
        }
        let mut route = None;
        self.exchange(&"netlink route", request, &mut |message| {
            if message.kind != RTM_NEWROUTE {
                return;
            }
            let index = through.or_else(|| message.attribute(12, RTA_OIF).and_then(u32_of));
            if let Some(index) = index {
                route = Some(DefaultRoute {
                    index,
                    gateway: message.attribute(12, RTA_GATEWAY).and_then(ip_of),
                    v6,
                });
            }
        })?;
        Ok(route)
    }

    /// Sets an address on an interface; it may be there already. Without duplicate detection:
    /// who sets it knows that nobody else has it.
    pub fn add_address(&mut self, index: u32, ip: IpAddr, bits: u8) -> Result<(), Error> {
        self.set_address(index, ip, bits, 0)
    }

    /// The same, but the system makes no route to the prefix of the address.
    pub fn add_bare_address(&mut self, index: u32, ip: IpAddr, bits: u8) -> Result<(), Error> {
        self.set_address(index, ip, bits, IFA_F_NOPREFIXROUTE)
    }

    fn set_address(&mut self, index: u32, ip: IpAddr, bits: u8, more: u32) -> Result<(), Error> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = address_request(RTM_NEWADDR, flags, index, &ip, bits);
        if more != 0 {
            let all = address_flags(&ip) | more;
            request.attribute(IFA_FLAGS, &all.to_ne_bytes());
        }
        if let IpAddr::V4(ip) = ip
            && bits < 31
        {
            let hosts = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            request.attribute(IFA_BROADCAST, &(u32::from(ip) | hosts).to_be_bytes());
        }
        match self.exchange(&"add address", request, &mut |_| {}) {
            Err(Error {
                errno: libc::EEXIST,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// Takes an address from an interface; it may be gone already.
    pub fn remove_address(&mut self, index: u32, ip: IpAddr, bits: u8) -> Result<(), Error> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let request = address_request(RTM_DELADDR, flags, index, &ip, bits);
        match self.exchange(&"remove address", request, &mut |_| {}) {
            Err(Error {
                errno: libc::EADDRNOTAVAIL | libc::ENODEV,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// Switches an interface on.
    pub fn bring_up(&mut self, index: u32) -> Result<(), Error> {
        let up = libc::IFF_UP.cast_unsigned().to_ne_bytes();
        let mut body = [0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        // What is to be, and which flags are meant by that.
        body[8..12].copy_from_slice(&up);
        body[12..].copy_from_slice(&up);
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        let request = Request::new(RTM_NEWLINK, flags, &body);
        self.exchange(&"bring up", request, &mut |_| {})
    }

    fn dump(
        &mut self,
        op: Op,
        kind: u16,
        body: &[u8],
        take: &mut dyn FnMut(&Message<'_>),
    ) -> Result<(), Error> {
        let request = Request::new(kind, libc::NLM_F_REQUEST | libc::NLM_F_DUMP, body);
        self.exchange(op, request, take)
    }

    /// Sends a request and reads its answers up to the last one.
    fn exchange(
        &mut self,
        op: Op,
        mut request: Request,
        take: &mut dyn FnMut(&Message<'_>),
    ) -> Result<(), Error> {
        let failed = |errno: nix::Error| Error {
            op,
            errno: errno as i32,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let is_dump = request.finish(self.sequence);
        send(self.fd.as_raw_fd(), &request.bytes, MsgFlags::empty()).map_err(failed)?;
        loop {
            let len = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(len) => len,
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            for message in messages(self.buffer.get(..len).unwrap_or_default()) {
                // The rest of an answer that was given up.
                if message.sequence != self.sequence {
                    continue;
                }
                match libc::c_int::from(message.kind) {
                    // The end of a list, with the reason if it is not whole.
                    libc::NLMSG_DONE if message.u32_at(0).is_none_or(|n| n == 0) => return Ok(()),
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        let code = message
                            .u32_at(0)
                            .map_or(libc::EIO, |code| code.cast_signed().wrapping_neg());
                        return if code == 0 {
                            Ok(())
                        } else {
                            Err(Error { op, errno: code })
                        };
                    }
                    _ => take(&message),
                }
                if !is_dump {
                    return Ok(());
                }
            }
        }
    }
}

fn open(groups: u32, flags: SockFlag) -> Result<OwnedFd, Error> {
    let failed = |errno: nix::Error| Error {
        op: &"netlink socket",
        errno: errno as i32,
    };
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .map_err(failed)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed)?;
    // A kernel that does not answer would stop the whole program.
    let patience = nix::sys::time::TimeVal::new(1, 0);
    nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::ReceiveTimeout, &patience)
        .map_err(failed)?;
    Ok(fd)
}

/// Asks for further news on a socket.
fn join_group(fd: &OwnedFd, group: libc::c_int) -> Result<(), Error> {
    // SAFETY: `group` lives for the call and has the length given.
    super::check(&"setsockopt", unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_ADD_MEMBERSHIP,
            (&raw const group).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// An interface.
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) loopback: bool,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) mtu: Option<u32>,
    running: bool,
    tap: bool,
}

/// Of `IFLA_LINKINFO`: a tap, and not another interface or a tunnel of IP packets. `None`: the
/// kernel does not say (before 4.18).
fn is_tap(info: &[u8]) -> Option<bool> {
    let kind = attribute_in(info, IFLA_INFO_KIND)?;
    if kind.strip_suffix(&[0]).unwrap_or(kind) != b"tun" {
        return Some(false);
    }
    let data = attribute_in(info, IFLA_INFO_DATA)?;
    let kind = attribute_in(data, IFLA_TUN_TYPE)?;
    Some(kind.first().copied().map(libc::c_int::from) == Some(libc::IFF_TAP))
}

/// The same as older kernels say it.
fn has_tap_flag(name: &str) -> bool {
    let path = format!("/sys/class/net/{name}/tun_flags");
    let text = super::file::system_text(&path).unwrap_or_default();
    let flags = text.trim_ascii().strip_prefix("0x").unwrap_or_default();
    let flags = u64::from_str_radix(flags, 16).unwrap_or(0);
    flags & u64::from(libc::IFF_TAP.cast_unsigned()) != 0
}

fn address_request(kind: u16, flags: libc::c_int, index: u32, ip: &IpAddr, bits: u8) -> Request {
    let mut body = [0; 8];
    body[0] = family_of(ip);
    body[1] = bits;
    body[2] = u8::try_from(address_flags(ip)).unwrap_or(0);
    body[4..].copy_from_slice(&index.to_ne_bytes());
    let octets = octets_of(ip);
    let mut request = Request::new(kind, flags, &body);
    request.attribute(IFA_LOCAL, &octets);
    request.attribute(IFA_ADDRESS, &octets);
    request
}

fn address_flags(ip: &IpAddr) -> u32 {
    IFA_F_PERMANENT | if ip.is_ipv6() { IFA_F_NODAD } else { 0 }
}

fn family_of(ip: &IpAddr) -> u8 {
    let family = if ip.is_ipv6() {
        libc::AF_INET6
    } else {
        libc::AF_INET
    };
    u8::try_from(family).unwrap_or(0)
}

fn octets_of(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A request in the making.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: libc::c_int, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&u16::try_from(flags).unwrap_or(0).to_ne_bytes());
        bytes.extend_from_slice(body);
        Self { bytes }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Fills in length and number. `true`: the answer is a list.
    fn finish(&mut self, sequence: u32) -> bool {
        let len = u32::try_from(self.bytes.len()).unwrap_or(0);
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        libc::c_int::from(flags) & libc::NLM_F_DUMP == libc::NLM_F_DUMP
    }
}

/// One message of the kernel.
struct Message<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    fn u32_at(&self, at: usize) -> Option<u32> {
        self.body.get(at..).and_then(u32_of)
    }

    /// The first attribute of a kind; `at`: length of the fixed part.
    fn attribute(&self, at: usize, kind: u16) -> Option<&'a [u8]> {
        attribute_in(self.body.get(at..)?, kind)
    }

    /// Sockets or taps may have to follow.
    fn matters(&self) -> bool {
        match self.kind {
            RTM_NEWLINK | RTM_DELLINK | RTM_NEWADDR | RTM_DELADDR => true,
            // Of routes only default ones, or a routing daemon would keep us busy; and ours when
            // somebody takes them.
            RTM_NEWROUTE => self.body.get(1) == Some(&0),
            RTM_DELROUTE => self.body.get(1) == Some(&0) || self.body.get(5) == Some(&PROTOCOL),
            RTM_DELRULE => self.attribute(12, FRA_PROTOCOL) == Some(&[PROTOCOL]),
            _ => false,
        }
    }
}

/// The first attribute of a kind among those that stand one after the other.
fn attribute_in(mut rest: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let &[a, b, c, d] = rest.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = rest.get(4..len)?;
        if u16::from_ne_bytes([c, d]) & 0x3fff == kind {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let header: &[u8; HEADER_LEN] = rest.first_chunk()?;
        let [a, b, c, d, e, f, _, _, g, h, i, j, ..] = *header;
        let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
        let body = rest.get(HEADER_LEN..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([e, f]),
            sequence: u32::from_ne_bytes([g, h, i, j]),
            body,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_end_where_their_bytes_do() {
        let mut request = Request::new(RTM_NEWADDR, 0, &[2, 24, 0x80, 0, 7, 0, 0, 0]);
        request.attribute(IFA_LOCAL, &[10, 0, 0, 1]);
        request.attribute(IFA_BROADCAST, &[10, 0, 0]);
        assert!(!request.finish(9));
        let whole = request.bytes;
        let message = messages(&whole).next().expect("a message");
        assert_eq!((message.kind, message.sequence), (RTM_NEWADDR, 9));
        assert_eq!(
            message.attribute(8, IFA_LOCAL).and_then(ip_of),
            "10.0.0.1".parse().ok()
        );
        assert_eq!(message.attribute(8, IFA_BROADCAST), Some(&[10, 0, 0][..]));
        assert_eq!(message.attribute(8, IFA_FLAGS), None);
        for cut in 0..whole.len() {
            assert_eq!(messages(whole.get(..cut).expect("a part")).count(), 0);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 3, 255] {
                let mut bent = whole.clone();
                bent[at] = value;
                for message in messages(&bent).take(100) {
                    let _ = message.attribute(8, IFA_BROADCAST);
                    let _ = message.matters();
                }
            }
        }
    }

    #[test]
    fn a_tap_is_told_from_tunnels_and_other_links() {
        let info = |kind: &[u8], mode: Option<u8>| {
            let mut data = Request { bytes: Vec::new() };
            if let Some(mode) = mode {
                data.attribute(IFLA_TUN_TYPE, &[mode]);
            }
            let mut info = Request { bytes: Vec::new() };
            info.attribute(IFLA_INFO_KIND, kind);
            info.attribute(IFLA_INFO_DATA, &data.bytes);
            info.bytes
        };
        assert_eq!(is_tap(&info(b"tun\0", Some(2))), Some(true));
        assert_eq!(is_tap(&info(b"tun\0", Some(1))), Some(false));
        assert_eq!(is_tap(&info(b"tun\0", None)), None);
        for kind in [&b"wireguard\0"[..], b"ppp\0", b"veth"] {
            assert_eq!(is_tap(&info(kind, Some(2))), Some(false));
        }
        assert_eq!(is_tap(&[]), None);
    }

    #[test]
    fn of_routes_only_default_ones_matter_and_ours_that_went() {
        let matters = |kind, bits| {
            let mut body = [0; 12];
            body[1] = bits;
            let mut request = Request::new(kind, 0, &body);
            request.finish(1);
            messages(&request.bytes)
                .next()
                .expect("a message")
                .matters()
        };
        assert!(matters(RTM_NEWROUTE, 0) && matters(RTM_DELROUTE, 0));
        assert!(!matters(RTM_NEWROUTE, 16) && !matters(RTM_DELROUTE, 1));
        let mut body = [0; 12];
        (body[1], body[5]) = (16, PROTOCOL);
        for (kind, ours) in [(RTM_DELROUTE, true), (RTM_NEWROUTE, false)] {
            let mut request = Request::new(kind, 0, &body);
            request.finish(1);
            let message = messages(&request.bytes).next().expect("a message");
            assert_eq!(message.matters(), ours, "{kind}");
        }
        assert!(matters(RTM_DELADDR, 24) && matters(RTM_DELLINK, 1));
        assert!(!matters(libc::RTM_NEWNEIGH, 0));
    }

    #[test]
    fn loopback_is_listed() {
        let mut control = Control::open().expect("a netlink socket");
        let all = control.addresses().expect("a list");
        assert!(all.iter().all(|a| !a.device.is_empty()));
        control.default_routes().expect("an answer");
    }
}
