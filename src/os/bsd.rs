//! What the files for FreeBSD and OpenBSD share: requests about interfaces.
//!
//! Written from the systems' headers and type-checked for FreeBSD; it has not run on either yet.

use core::mem::zeroed;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::{request_code_readwrite, request_code_write};

use super::{Error, check};
use crate::base::Mac;

const IFREQ: usize = size_of::<libc::ifreq>();
const SIOCSIFFLAGS: libc::c_ulong = request_code_write!(b'i', 16, IFREQ);
const SIOCGIFFLAGS: libc::c_ulong = request_code_readwrite!(b'i', 17, IFREQ);

#[cfg(target_os = "freebsd")]
mod codes {
    use super::{IFREQ, request_code_write};
    pub(super) const SIOCSIFLLADDR: libc::c_ulong = request_code_write!(b'i', 60, IFREQ);
    pub(super) const SIOCSIFMTU: libc::c_ulong = request_code_write!(b'i', 52, IFREQ);
}

#[cfg(target_os = "openbsd")]
mod codes {
    use super::{IFREQ, request_code_write};
    pub(super) const SIOCSIFLLADDR: libc::c_ulong = request_code_write!(b'i', 31, IFREQ);
    pub(super) const SIOCSIFMTU: libc::c_ulong = request_code_write!(b'i', 127, IFREQ);
}

/// The number of a device.
pub(super) fn index_of(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// The name of a device, as requests want it.
pub(super) fn name_field(name: &str) -> Result<[libc::c_char; libc::IFNAMSIZ], Error> {
    let mut field = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= field.len() {
        return Err(Error {
            op: "interface name",
            errno: libc::EINVAL,
        });
    }
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(field)
}

/// A request about a device.
pub(super) fn request(name: &str) -> Result<libc::ifreq, Error> {
    // SAFETY: integers and null pointers: all bytes zero is a valid value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    request.ifr_name = name_field(name)?;
    Ok(request)
}

/// Makes a request through a socket of a family; any will do, but for addresses.
///
/// `T` must be what the code says: the kernel copies as many bytes as are coded in it.
pub(super) fn control<T>(
    op: &'static str,
    family: libc::c_int,
    code: libc::c_ulong,
    request: &mut T,
) -> Result<(), Error> {
    // SAFETY: no memory is involved.
    let fd = check("socket", unsafe {
        libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    ioctl(op, socket.as_raw_fd(), code, request)
}

/// The call itself.
pub(super) fn ioctl<T>(
    op: &'static str,
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

/// Sets the hardware address.
pub(super) fn set_mac(name: &str, mac: Mac) -> Result<(), Error> {
    let mut request = request(name)?;
    // SAFETY: integers: all bytes zero is a valid value.
    let mut address: libc::sockaddr = unsafe { zeroed() };
    address.sa_len = 6;
    address.sa_family = libc::AF_LINK as libc::sa_family_t;
    for (to, from) in address.sa_data.iter_mut().zip(mac.to_bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_addr = address;
    control(
        "SIOCSIFLLADDR",
        libc::AF_INET,
        codes::SIOCSIFLLADDR,
        &mut request,
    )
}

/// The hardware address that a device has now.
pub(super) fn mac_of(name: &str) -> Result<Mac, Error> {
    let mut list = nix::ifaddrs::getifaddrs().map_err(|e| Error::of("getifaddrs", e))?;
    let mac = list.find_map(|entry| {
        let mine = entry.interface_name == name;
        mine.then(|| entry.address?.as_link_addr()?.addr())?
    });
    mac.map(Mac::new).ok_or(Error {
        op: "getifaddrs",
        errno: libc::ENODEV,
    })
}

/// Sets the MTU.
pub(super) fn set_mtu(name: &str, mtu: u16) -> Result<(), Error> {
    let mut request = request(name)?;
    // The field of the MTU is the same as that of the metric.
    request.ifr_ifru.ifru_metric = mtu.into();
    control("SIOCSIFMTU", libc::AF_INET, codes::SIOCSIFMTU, &mut request)
}

/// Brings a device up.
pub(super) fn bring_up(name: &str) -> Result<(), Error> {
    let mut request = request(name)?;
    control("SIOCGIFFLAGS", libc::AF_INET, SIOCGIFFLAGS, &mut request)?;
    let up = libc::IFF_UP as libc::c_short;
    #[cfg(target_os = "freebsd")]
    {
        // SAFETY: the call above filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = [flags[0] | up, flags[1]];
    }
    #[cfg(target_os = "openbsd")]
    {
        // SAFETY: the call above filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags | up;
    }
    control("SIOCSIFFLAGS", libc::AF_INET, SIOCSIFFLAGS, &mut request)
}
