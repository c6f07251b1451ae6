//! Taps of Linux (service 7.1): one descriptor per device, non-blocking, no sleeps.
//!
//! Addresses are netlink's affair ([`super::netlink::Control`]).

use core::mem::zeroed;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::Path;

use nix::fcntl::OFlag;

use super::{Error, Op, check, file, frame};
use crate::base::Mac;

const DEVICES: [&str; 2] = ["/dev/net/tun", "/dev/tun"];
const TUNSETIFF: libc::Ioctl = nix::request_code_write!(b'T', 202, size_of::<libc::c_int>());

/// What has to be opened for a device. Without the module it is not there.
pub fn device() -> &'static Path {
    let mut devices = DEVICES.iter().map(Path::new);
    let [first, ..] = DEVICES;
    devices
        .find(|path| file::exists(path))
        .unwrap_or(Path::new(first))
}

/// A network device made by us. It goes when this is dropped.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    index: u32,
}

impl Tap {
    /// Makes a device of this name, sets MAC and MTU and brings it up. `EEXIST`: there is one.
    pub fn open(name: &str, mac: Mac, mtu: u16) -> Result<Self, Error> {
        if index_of(name).is_some() {
            return Err(Error {
                op: &"tap",
                errno: libc::EEXIST,
            });
        }
        let file = open_device()?;
        let mut request = request(name)?;
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap_or(0);
        ioctl(&"TUNSETIFF", file.as_raw_fd(), TUNSETIFF, &mut request)?;
        let mut tap = Self {
            file,
            name: name.to_owned(),
            index: 0,
        };
        tap.index = index_of(name).ok_or(Error {
            op: &"if_nametoindex",
            errno: libc::ENODEV,
        })?;
        tap.set_mac(mac)?;
        tap.set_mtu(mtu)?;
        // Networks give addresses through their controller; a router advertisement of some
        // member is nobody's business here (service 7.4). Kernels without IPv6 have no such file.
        let accept = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
        let _ = file::open(Path::new(&accept), OFlag::O_WRONLY, 0)
            .and_then(|accept| file::write_all(accept.as_fd(), b"0"));
        tap.bring_up()?;
        // Some old kernels drop the address that was set before the device was up.
        if tap.mac()? != mac {
            tap.set_mac(mac)?;
        }
        Ok(tap)
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the device.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Reads one frame; its length. `None`: there is none. A frame longer than `room` is cut.
    pub fn read_frame(&self, room: &mut [u8]) -> Result<Option<usize>, Error> {
        frame::read(&self.file, room)
    }

    /// Writes one frame.
    pub fn write_frame(&self, bytes: &[u8]) -> Result<(), Error> {
        frame::write(&self.file, bytes)
    }

    /// The hardware address that the device has now.
    pub fn mac(&self) -> Result<Mac, Error> {
        let mut request = request(&self.name)?;
        control(&"SIOCGIFHWADDR", libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the call above filled in the address.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(&address.sa_data) {
            *to = from.to_ne_bytes()[0];
        }
        Ok(Mac::new(mac))
    }

    /// Sets the MTU.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        let mut request = request(&self.name)?;
        request.ifr_ifru.ifru_mtu = i32::from(mtu);
        control(&"SIOCSIFMTU", libc::SIOCSIFMTU, &mut request)
    }

    /// Groups that the system listens to on this device.
    pub fn multicast_groups(&self, groups: &mut Vec<Mac>) -> Result<(), Error> {
        let text = file::system_text("/proc/net/dev_mcast").ok_or(Error {
            op: &"read /proc/net/dev_mcast",
            errno: libc::ENODATA,
        })?;
        groups.extend(groups_in(&text, self.index));
        Ok(())
    }

    fn set_mac(&self, mac: Mac) -> Result<(), Error> {
        let mut request = request(&self.name)?;
        // SAFETY: all zero bytes are a valid sockaddr.
        let mut address: libc::sockaddr = unsafe { zeroed() };
        address.sa_family = libc::ARPHRD_ETHER;
        for (to, from) in address.sa_data.iter_mut().zip(&mac.to_bytes()) {
            *to = from.cast_signed() as libc::c_char;
        }
        request.ifr_ifru.ifru_hwaddr = address;
        control(&"SIOCSIFHWADDR", libc::SIOCSIFHWADDR, &mut request)
    }

    fn bring_up(&self) -> Result<(), Error> {
        let mut request = request(&self.name)?;
        control(&"SIOCGIFFLAGS", libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the call above filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_MULTICAST).unwrap_or(0);
        request.ifr_ifru.ifru_flags = flags | up;
        control(&"SIOCSIFFLAGS", libc::SIOCSIFFLAGS, &mut request)
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// The number of a device.
pub fn index_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    nix::net::if_::if_nametoindex(name.as_c_str()).ok()
}

fn open_device() -> Result<File, Error> {
    let mut failed = Error {
        op: &"open /dev/net/tun",
        errno: libc::ENOENT,
    };
    for (n, path) in DEVICES.iter().enumerate() {
        match file::open(Path::new(path), OFlag::O_RDWR | OFlag::O_NONBLOCK, 0) {
            Ok(file) => return Ok(file),
            Err(error) if n == 0 => failed.errno = error.errno,
            Err(_) => {}
        }
    }
    Err(failed)
}

fn request(name: &str) -> Result<libc::ifreq, Error> {
    // SAFETY: all zero bytes are a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(Error {
            op: &"interface name",
            errno: libc::EINVAL,
        });
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    Ok(request)
}

/// A request about a device by its name: any socket will do.
fn control(op: Op, code: libc::c_ulong, request: &mut libc::ifreq) -> Result<(), Error> {
    // SAFETY: no memory is involved.
    let fd = check(&"socket", unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    #[allow(clippy::unnecessary_cast, reason = "musl has an int here")]
    ioctl(op, socket.as_raw_fd(), code as libc::Ioctl, request)
}

fn ioctl(op: Op, fd: RawFd, code: libc::Ioctl, request: &mut libc::ifreq) -> Result<(), Error> {
    // SAFETY: all codes used here take an ifreq, which lives for the call.
    check(op, unsafe {
        libc::ioctl(fd, code, std::ptr::from_mut(request))
    })
    .map(drop)
}

/// Lines of `/proc/net/dev_mcast`: index, name, two counts, address.
fn groups_in(text: &str, index: u32) -> impl Iterator<Item = Mac> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        if words.next()?.parse() != Ok(index) {
            return None;
        }
        let digits = words.nth(3)?;
        let mut mac = [0; 6];
        if digits.len() != 2 * mac.len() {
            return None;
        }
        for (n, byte) in mac.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Mac::new(mac))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_one_device_are_read() {
        let text = "2    eth0            1     0     01005e000001\n\
                    14   ztka4jbji3      1     0     333300000001\n\
                    14   ztka4jbji3      2     0     3333ff000001\n\
                    14   ztka4jbji3      bad\n";
        let groups: Vec<String> = groups_in(text, 14).map(|mac| mac.to_string()).collect();
        assert_eq!(groups, ["33:33:00:00:00:01", "33:33:ff:00:00:01"]);
    }
}
