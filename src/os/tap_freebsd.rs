//! Taps of FreeBSD: a clone of `/dev/tap`, renamed, destroyed with its owner.
//!
//! Written from the system's headers and type-checked; it has not run on FreeBSD yet. Needs the
//! module `if_tuntap`.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::{request_code_read, request_code_write};

use super::route_message::link_name;
use super::{Error, bsd, check, frame};
use crate::base::Mac;

const IFREQ: usize = size_of::<bsd::Request>();
const TAPGIFNAME: libc::c_ulong = request_code_read!(b't', 93, IFREQ);
const SIOCSIFNAME: libc::c_ulong = request_code_write!(b'i', 40, IFREQ);
const SIOCIFDESTROY: libc::c_ulong = request_code_write!(b'i', 121, IFREQ);

/// A network device made by us. It goes when this is dropped.
#[derive(Debug)]
pub struct Tap {
    // Before the device: destroying one waits until nobody has it open.
    file: File,
    device: Device,
    index: u32,
}

/// A device of this name is there as long as this is.
#[derive(Debug)]
struct Device {
    name: String,
}

impl Drop for Device {
    fn drop(&mut self) {
        // It may be gone already, and nobody is left to be told.
        let _ = bsd::request(&self.name).and_then(|mut request| {
            bsd::control(&"SIOCIFDESTROY", libc::AF_INET, SIOCIFDESTROY, &mut request)
        });
    }
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
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/tap")
            .map_err(|error| Error::from_io(&"open /dev/tap", error))?;
        let mut tap = Self {
            device: Device {
                name: bsd::name_given(&file, TAPGIFNAME)?,
            },
            file,
            index: 0,
        };
        tap.device.rename(name)?;
        tap.index = index_of(name).ok_or(Error {
            op: &"if_nametoindex",
            errno: libc::ENODEV,
        })?;
        bsd::set_mac(name, mac)?;
        tap.set_mtu(mtu)?;
        bsd::bring_up(name)?;
        Ok(tap)
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.device.name
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
        bsd::mac_of(self.name())
    }

    /// Sets the MTU.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        bsd::set_mtu(self.name(), mtu)
    }

    /// Groups that the system listens to on this device.
    pub fn multicast_groups(&self, groups: &mut Vec<Mac>) -> Result<(), Error> {
        let mut list: *mut GroupEntry = core::ptr::null_mut();
        // SAFETY: the call writes the head of a list that is freed below.
        check(&"getifmaddrs", unsafe { getifmaddrs(&raw mut list) })?;
        let mut next = list;
        // SAFETY: entries are valid until the list is freed; the last one has no next.
        while let Some(entry) = unsafe { next.as_ref() } {
            next = entry.next;
            let device = link_name(bytes_of(entry.device)).map(|(index, _)| index);
            let group = link_name(bytes_of(entry.address)).and_then(|(_, mac)| mac);
            if device == Some(self.index) {
                groups.extend(group.map(Mac::new));
            }
        }
        // SAFETY: the list came from the call above, and nothing of it is used any more.
        unsafe { freeifmaddrs(list) };
        Ok(())
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Device {
    fn rename(&mut self, name: &str) -> Result<(), Error> {
        // Refuses what is too long.
        bsd::name_field(name)?;
        let wanted = CString::new(name).map_err(|_| Error {
            op: &"interface name",
            errno: libc::EINVAL,
        })?;
        let mut request = bsd::request(&self.name)?;
        // The kernel only reads it.
        request.ifr_ifru.ifru_data = wanted.as_ptr().cast_mut().cast();
        bsd::control(&"SIOCSIFNAME", libc::AF_INET, SIOCSIFNAME, &mut request)?;
        name.clone_into(&mut self.name);
        Ok(())
    }
}

/// The number of a device.
pub fn index_of(name: &str) -> Option<u32> {
    bsd::index_of(name)
}

/// An entry of the list of group memberships: the addresses of IP and of the link are entries of
/// their own.
#[repr(C)]
struct GroupEntry {
    next: *mut Self,
    device: *const u8,
    address: *const u8,
    link: *const u8,
}

/// A socket address of the list. Null is an empty one.
fn bytes_of<'a>(name: *const u8) -> &'a [u8] {
    if name.is_null() {
        return &[];
    }
    // SAFETY: not null, so it is an address of the list, and the first byte is its length.
    let len = unsafe { *name };
    // SAFETY: as above; the list lives until the caller, who drops the bytes before, frees it.
    unsafe { core::slice::from_raw_parts(name, len.into()) }
}

unsafe extern "C" {
    fn getifmaddrs(list: *mut *mut GroupEntry) -> libc::c_int;
    fn freeifmaddrs(list: *mut GroupEntry);
}
