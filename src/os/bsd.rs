//! What the files for FreeBSD, NetBSD and OpenBSD share: requests about interfaces.
//!
//! Written from the systems' headers and type-checked; it has not run on any of them yet.

use core::mem::zeroed;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::{request_code_readwrite, request_code_write};

use super::{Error, Op, check};
use crate::base::Mac;

const IFREQ: usize = size_of::<Request>();
const SIOCSIFFLAGS: libc::c_ulong = request_code_write!(b'i', 16, IFREQ);
const SIOCGIFFLAGS: libc::c_ulong = request_code_readwrite!(b'i', 17, IFREQ);

#[cfg(target_os = "freebsd")]
mod system {
    use super::{IFREQ, request_code_write};
    pub(in super::super) use libc::ifreq as Request;
    pub(super) const SIOCSIFLLADDR: libc::c_ulong = request_code_write!(b'i', 60, IFREQ);
    pub(super) const SIOCSIFMTU: libc::c_ulong = request_code_write!(b'i', 52, IFREQ);
}

#[cfg(target_os = "openbsd")]
mod system {
    use super::{IFREQ, request_code_write};
    pub(in super::super) use libc::ifreq as Request;
    pub(super) const SIOCSIFLLADDR: libc::c_ulong = request_code_write!(b'i', 31, IFREQ);
    pub(super) const SIOCSIFMTU: libc::c_ulong = request_code_write!(b'i', 127, IFREQ);
}

#[cfg(target_os = "netbsd")]
mod system {
    use super::{IFREQ, request_code_write};
    pub(super) const SIOCSIFPHYADDR: libc::c_ulong =
        request_code_write!(b'i', 70, size_of::<AliasRequest>());
    pub(super) const SIOCSIFMTU: libc::c_ulong = request_code_write!(b'i', 127, IFREQ);

    /// `ifreq`, which `libc` lacks, with the names that it gives to the fields elsewhere.
    #[repr(C)]
    pub(in super::super) struct Request {
        pub(in super::super) ifr_name: [libc::c_char; libc::IFNAMSIZ],
        pub(in super::super) ifr_ifru: Value,
    }

    #[repr(C)]
    pub(in super::super) union Value {
        pub(in super::super) ifru_addr: libc::sockaddr,
        pub(super) ifru_flags: libc::c_short,
        pub(super) ifru_metric: libc::c_int,
        _space: libc::sockaddr_storage,
    }

    /// `ifaliasreq`.
    #[repr(C)]
    pub(super) struct AliasRequest {
        pub(super) name: [libc::c_char; libc::IFNAMSIZ],
        pub(super) address: libc::sockaddr,
        _destination: libc::sockaddr,
        _mask: libc::sockaddr,
    }

    // The codes carry these lengths: a wrong one is another request, or none.
    const _: () = assert!(IFREQ == 144 && size_of::<AliasRequest>() == 64);
}

pub(super) use system::Request;

/// The number of a device.
pub(super) fn index_of(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The name of a device, as requests want it.
pub(super) fn name_field(name: &str) -> Result<[libc::c_char; libc::IFNAMSIZ], Error> {
    let mut field = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= field.len() {
        return Err(Error {
            op: &"interface name",
            errno: libc::EINVAL,
        });
    }
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(field)
}

/// A request about a device.
pub(super) fn request(name: &str) -> Result<Request, Error> {
    // SAFETY: integers and null pointers: all bytes zero is a valid value.
    let mut request: Request = unsafe { zeroed() };
    request.ifr_name = name_field(name)?;
    Ok(request)
}

/// Makes a request through a socket of a family; any will do, but for addresses.
///
/// `T` must be what the code says: the kernel copies as many bytes as are coded in it.
pub(super) fn control<T>(
    op: Op,
    family: libc::c_int,
    code: libc::c_ulong,
    request: &mut T,
) -> Result<(), Error> {
    // SAFETY: no memory is involved.
    let fd = check(&"socket", unsafe {
        libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    ioctl(op, socket.as_raw_fd(), code, request)
}

/// The call itself.
pub(super) fn ioctl<T>(
    op: Op,
    fd: RawFd,
    code: libc::c_ulong,
    request: &mut T,
) -> Result<(), Error> {
    // Bits 16 to 28 of a code are the length of its argument.
    debug_assert_eq!((code >> 16) as usize & 0x1fff, size_of::<T>());
    // SAFETY: the argument is as long as the code says, and lives for the call.
    check(op, unsafe {
        libc::ioctl(fd, code, core::ptr::from_mut(request))
    })
    .map(drop)
}

/// A hardware address as a socket address: its bytes alone, nothing of the device.
fn link_address(mac: Mac) -> libc::sockaddr {
    // SAFETY: integers: all bytes zero is a valid value.
    let mut address: libc::sockaddr = unsafe { zeroed() };
    address.sa_len = 6;
    address.sa_family = libc::AF_LINK as libc::sa_family_t;
    for (to, from) in address.sa_data.iter_mut().zip(mac.to_bytes()) {
        *to = from as libc::c_char;
    }
    address
}

/// Sets the hardware address.
#[cfg(not(target_os = "netbsd"))]
pub(super) fn set_mac(name: &str, mac: Mac) -> Result<(), Error> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_addr = link_address(mac);
    let code = system::SIOCSIFLLADDR;
    control(&"SIOCSIFLLADDR", libc::AF_INET, code, &mut request)
}

/// Sets the hardware address of a tap, which takes the request for the ends of a tunnel as this.
#[cfg(target_os = "netbsd")]
pub(super) fn set_mac(name: &str, mac: Mac) -> Result<(), Error> {
    // SAFETY: integers: all bytes zero is a valid value.
    let mut request: system::AliasRequest = unsafe { zeroed() };
    request.name = name_field(name)?;
    request.address = link_address(mac);
    let code = system::SIOCSIFPHYADDR;
    control(&"SIOCSIFPHYADDR", libc::AF_INET, code, &mut request)
}

/// The hardware address that a device has now.
pub(super) fn mac_of(name: &str) -> Result<Mac, Error> {
    let mut list = nix::ifaddrs::getifaddrs().map_err(|e| Error::of(&"getifaddrs", e))?;
    let mac = list.find_map(|entry| {
        let mine = entry.interface_name == name;
        mine.then(|| entry.address?.as_link_addr()?.addr())?
    });
    mac.map(Mac::new).ok_or(Error {
        op: &"getifaddrs",
        errno: libc::ENODEV,
    })
}

/// The name that the system gave to a new tap; `code` is its TAPGIFNAME.
#[cfg(not(target_os = "openbsd"))]
pub(super) fn name_given(tap: &std::fs::File, code: libc::c_ulong) -> Result<String, Error> {
    let mut request = request("tap")?;
    ioctl(&"TAPGIFNAME", tap.as_raw_fd(), code, &mut request)?;
    let bytes = request.ifr_name.iter().map(|byte| *byte as u8);
    let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Sets the MTU.
pub(super) fn set_mtu(name: &str, mtu: u16) -> Result<(), Error> {
    let mut request = request(name)?;
    // The field of the MTU is the same as that of the metric.
    request.ifr_ifru.ifru_metric = mtu.into();
    control(
        &"SIOCSIFMTU",
        libc::AF_INET,
        system::SIOCSIFMTU,
        &mut request,
    )
}

/// Brings a device up.
pub(super) fn bring_up(name: &str) -> Result<(), Error> {
    let mut request = request(name)?;
    control(&"SIOCGIFFLAGS", libc::AF_INET, SIOCGIFFLAGS, &mut request)?;
    let up = libc::IFF_UP as libc::c_short;
    #[cfg(target_os = "freebsd")]
    {
        // SAFETY: the call above filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = [flags[0] | up, flags[1]];
    }
    #[cfg(not(target_os = "freebsd"))]
    {
        // SAFETY: the call above filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags | up;
    }
    control(&"SIOCSIFFLAGS", libc::AF_INET, SIOCSIFFLAGS, &mut request)
}
