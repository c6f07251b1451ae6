//! Addresses and routes of FreeBSD, NetBSD and OpenBSD, under the names of the Linux file.
//!
//! Written from the systems' headers and type-checked; it has not run on any of them yet.
//! What it reads is parsed in `route_message`, which is tested.

use core::mem::zeroed;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{MsgFlags, recv, send};
use nix::{request_code_readwrite, request_code_write};

use super::ifaces::{PROBES, by_getifaddrs};
use super::route_message::{self, Message};
use super::{Error, Op, bsd, check};

pub use super::ifaces::{
    Address, DefaultRoute, MAIN_TABLE, News, PROTOCOL, Route, Rule, has_strict_reverse_path,
};

#[cfg(target_os = "freebsd")]
const LAYOUT: route_message::Layout = route_message::FREEBSD;
#[cfg(target_os = "netbsd")]
const LAYOUT: route_message::Layout = route_message::NETBSD;
#[cfg(target_os = "openbsd")]
const LAYOUT: route_message::Layout = route_message::OPENBSD;

const BUFFER_LEN: usize = 4096;
/// Messages of others that are passed over while an answer is waited for.
const PATIENCE: usize = 1000;

#[cfg(target_os = "freebsd")]
const ADD_NUMBERS: (u8, u8) = (43, 27);
#[cfg(target_os = "netbsd")]
const ADD_NUMBERS: (u8, u8) = (26, 107);
#[cfg(target_os = "openbsd")]
const ADD_NUMBERS: (u8, u8) = (26, 26);

const SIOCAIFADDR: libc::c_ulong = request_code_write!(b'i', ADD_NUMBERS.0, size_of::<AddV4>());
const SIOCAIFADDR_IN6: libc::c_ulong = request_code_write!(b'i', ADD_NUMBERS.1, size_of::<AddV6>());
const SIOCDIFADDR: libc::c_ulong = request_code_write!(b'i', 25, size_of::<bsd::Request>());
const SIOCDIFADDR_IN6: libc::c_ulong = request_code_write!(b'i', 25, size_of::<RequestV6>());
const SIOCGIFAFLAG_IN6: libc::c_ulong = request_code_readwrite!(b'i', 73, size_of::<RequestV6>());

const IN6_IFF_TENTATIVE: i32 = 0x02;
const IN6_IFF_DUPLICATED: i32 = 0x04;
#[cfg(target_os = "freebsd")]
const IN6_IFF_NODAD: i32 = 0x20;
const IN6_IFF_TEMPORARY: i32 = 0x80;
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

/// `in_aliasreq`.
#[repr(C)]
struct AddV4 {
    name: [libc::c_char; libc::IFNAMSIZ],
    address: libc::sockaddr_in,
    broadcast: libc::sockaddr_in,
    mask: libc::sockaddr_in,
    #[cfg(target_os = "freebsd")]
    vhid: libc::c_int,
}

/// `in6_aliasreq`.
#[repr(C)]
struct AddV6 {
    name: [libc::c_char; libc::IFNAMSIZ],
    address: libc::sockaddr_in6,
    destination: libc::sockaddr_in6,
    mask: libc::sockaddr_in6,
    flags: libc::c_int,
    expire: libc::time_t,
    preferred: libc::time_t,
    valid_lifetime: u32,
    preferred_lifetime: u32,
    #[cfg(target_os = "freebsd")]
    vhid: libc::c_int,
}

/// `in6_ifreq`: the longest member of its union is a table of 34 counters.
#[repr(C)]
struct RequestV6 {
    name: [libc::c_char; libc::IFNAMSIZ],
    value: ValueV6,
}

#[repr(C)]
union ValueV6 {
    address: libc::sockaddr_in6,
    flags: libc::c_int,
    counters: [u64; 34],
}

/// News of interfaces, addresses and default routes.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
    buffer: Box<[u8]>,
}

impl Monitor {
    /// From now on.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            fd: open(libc::SOCK_NONBLOCK)?,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
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
                    if let Some(message) = Message::new(&LAYOUT, bytes) {
                        let more = message.news();
                        news.system |= more.system;
                        news.groups |= more.groups;
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
    sequence: i32,
    buffer: Box<[u8]>,
}

impl Control {
    /// A socket of its own.
    pub fn open() -> Result<Self, Error> {
        let fd = open(0)?;
        // A kernel that does not answer would stop the whole program.
        let patience = nix::sys::time::TimeVal::new(1, 0);
        nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::ReceiveTimeout, &patience)
            .map_err(|e| Error::of(&"setsockopt", e))?;
        Ok(Self {
            fd,
            sequence: 0,
            buffer: vec![0; BUFFER_LEN].into_boxed_slice(),
        })
    }

    /// All addresses of all interfaces.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let mut all = by_getifaddrs()?;
        for address in &mut all {
            if let IpAddr::V6(ip) = address.ip {
                // An address that went in the meantime has no flags.
                let flags = flags_of(&address.device, ip).unwrap_or(0);
                address.temporary = flags & IN6_IFF_TEMPORARY != 0;
                address.tentative = flags & (IN6_IFF_TENTATIVE | IN6_IFF_DUPLICATED) != 0;
            }
        }
        Ok(all)
    }

    /// The default route of each family that has one. A question for one route: a dump of the
    /// whole table may have a million of them.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, Error> {
        let mut routes = Vec::new();
        for probe in PROBES {
            self.sequence = self.sequence.wrapping_add(1);
            let question = route_message::question(&LAYOUT, self.sequence, probe);
            // No route, or the family is not there at all.
            if send(self.fd.as_raw_fd(), &question, MsgFlags::empty()).is_err() {
                continue;
            }
            if let Some((index, gateway)) = self.answer()? {
                routes.push(DefaultRoute {
                    index,
                    gateway,
                    v6: probe.is_ipv6(),
                });
            }
        }
        Ok(routes)
    }

    /// Sets an address on an interface; it may be there already. Without duplicate detection
    /// where the system can: who sets it knows that nobody else has it.
    pub fn add_address(&mut self, index: u32, ip: IpAddr, bits: u8) -> Result<(), Error> {
        let name = bsd::name_field(&name_of(index)?)?;
        let added = match ip {
            IpAddr::V4(ip) => {
                let hosts = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
                let mut request = AddV4 {
                    name,
                    address: name_v4(ip),
                    broadcast: name_v4(Ipv4Addr::from_bits(ip.to_bits() | hosts)),
                    mask: name_v4(Ipv4Addr::from_bits(!hosts)),
                    #[cfg(target_os = "freebsd")]
                    vhid: 0,
                };
                bsd::control(&"add address", libc::AF_INET, SIOCAIFADDR, &mut request)
            }
            IpAddr::V6(ip) => {
                let hosts = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
                // SAFETY: integers: all bytes zero is a valid value.
                let mut request: AddV6 = unsafe { zeroed() };
                request.name = name;
                request.address = name_v6(ip);
                request.mask = name_v6(Ipv6Addr::from_bits(!hosts));
                #[cfg(target_os = "freebsd")]
                {
                    request.flags = IN6_IFF_NODAD;
                }
                request.valid_lifetime = FOREVER;
                request.preferred_lifetime = FOREVER;
                bsd::control(
                    &"add address",
                    libc::AF_INET6,
                    SIOCAIFADDR_IN6,
                    &mut request,
                )
            }
        };
        added.or_else(|error| unless(error, &[libc::EEXIST]))
    }

    /// The default route that packets bound to an interface take: sockets of these systems cannot
    /// be bound to one.
    pub fn default_route_through(
        &mut self,
        _index: u32,
        _v6: bool,
    ) -> Result<Option<DefaultRoute>, Error> {
        Ok(None)
    }

    /// The same as [`Self::add_address`]: the route to the prefix cannot be left out.
    pub fn add_bare_address(&mut self, index: u32, ip: IpAddr, bits: u8) -> Result<(), Error> {
        self.add_address(index, ip, bits)
    }

    /// Our routes: none, they are not set here yet.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        Ok(Vec::new())
    }

    /// Not yet.
    pub fn add_route(&mut self, _route: &Route) -> Result<(), Error> {
        Err(unsupported(&"add route"))
    }

    /// Not yet.
    pub fn replace_route(&mut self, _old: &Route, _new: &Route) -> Result<(), Error> {
        Err(unsupported(&"replace route"))
    }

    /// There is none.
    pub fn remove_route(&mut self, _route: &Route) -> Result<(), Error> {
        Ok(())
    }

    /// Our rules: these systems have none.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        Ok(Vec::new())
    }

    /// These systems have no rules.
    pub fn add_rule(&mut self, _rule: &Rule) -> Result<(), Error> {
        Err(unsupported(&"add rule"))
    }

    /// There is none.
    pub fn remove_rule(&mut self, _rule: &Rule) -> Result<(), Error> {
        Ok(())
    }

    /// Takes an address from an interface; it may be gone already.
    pub fn remove_address(&mut self, index: u32, ip: IpAddr, _bits: u8) -> Result<(), Error> {
        let name = match name_of(index) {
            Ok(name) => name,
            Err(error) => return unless(error, &[libc::ENXIO, libc::ENODEV]),
        };
        let removed = match ip {
            IpAddr::V4(ip) => {
                let mut request = bsd::request(&name)?;
                let address = name_v4(ip);
                // SAFETY: both forms of an IPv4 socket address have the same 16 bytes.
                request.ifr_ifru.ifru_addr =
                    unsafe { core::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
                bsd::control(&"remove address", libc::AF_INET, SIOCDIFADDR, &mut request)
            }
            IpAddr::V6(ip) => {
                let mut request = request_v6(&name, ip)?;
                bsd::control(
                    &"remove address",
                    libc::AF_INET6,
                    SIOCDIFADDR_IN6,
                    &mut request,
                )
            }
        };
        removed.or_else(|error| unless(error, &[libc::EADDRNOTAVAIL, libc::ENXIO]))
    }

    /// Waits for the answer to the last question.
    fn answer(&mut self) -> Result<Option<(u32, Option<IpAddr>)>, Error> {
        for _ in 0..PATIENCE {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(len) => {
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    let message = Message::new(&LAYOUT, bytes);
                    if let Some(answer) = message.and_then(|m| m.answer(self.sequence)) {
                        return Ok(Some(answer));
                    }
                }
                Err(nix::Error::EINTR | nix::Error::ENOBUFS) => {}
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(errno) => return Err(Error::of(&"routing socket", errno)),
            }
        }
        Ok(None)
    }
}

fn open(flags: libc::c_int) -> Result<OwnedFd, Error> {
    // SAFETY: no memory is involved.
    let fd = check(&"routing socket", unsafe {
        libc::socket(
            libc::PF_ROUTE,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC | flags,
            libc::AF_UNSPEC,
        )
    })?;
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const fn unsupported(op: Op) -> Error {
    Error {
        op,
        errno: libc::EOPNOTSUPP,
    }
}

/// What is wanted is so already.
fn unless(error: Error, fine: &[libc::c_int]) -> Result<(), Error> {
    if fine.contains(&error.errno) {
        Ok(())
    } else {
        Err(error)
    }
}

fn name_of(index: u32) -> Result<String, Error> {
    let name = nix::net::if_::if_indextoname(index).map_err(|e| Error::of(&"if_indextoname", e))?;
    Ok(name.to_string_lossy().into_owned())
}

fn name_v4(ip: Ipv4Addr) -> libc::sockaddr_in {
    // SAFETY: integers: all bytes zero is a valid value.
    let mut name: libc::sockaddr_in = unsafe { zeroed() };
    name.sin_len = size_of::<libc::sockaddr_in>() as u8;
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
    name
}

fn name_v6(ip: Ipv6Addr) -> libc::sockaddr_in6 {
    // SAFETY: integers: all bytes zero is a valid value.
    let mut name: libc::sockaddr_in6 = unsafe { zeroed() };
    name.sin6_len = size_of::<libc::sockaddr_in6>() as u8;
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_addr.s6_addr = ip.octets();
    name
}

fn request_v6(name: &str, ip: Ipv6Addr) -> Result<RequestV6, Error> {
    let mut value = ValueV6 { counters: [0; 34] };
    value.address = name_v6(ip);
    Ok(RequestV6 {
        name: bsd::name_field(name)?,
        value,
    })
}

/// Flags of an address of IPv6.
fn flags_of(device: &str, ip: Ipv6Addr) -> Result<i32, Error> {
    let mut request = request_v6(device, ip)?;
    bsd::control(
        &"SIOCGIFAFLAG_IN6",
        libc::AF_INET6,
        SIOCGIFAFLAG_IN6,
        &mut request,
    )?;
    // SAFETY: the call filled in the flags; the field is an integer in any case.
    Ok(unsafe { request.value.flags })
}

// The codes carry these lengths: a wrong one is another request, or none.
#[cfg(target_pointer_width = "64")]
const _: () = {
    let vhid = if cfg!(target_os = "freebsd") { 4 } else { 0 };
    assert!(size_of::<AddV4>() == 64 + vhid);
    assert!(size_of::<AddV6>() == 128 + 2 * vhid);
    assert!(size_of::<RequestV6>() == 288);
};
