//! Taps of NetBSD: a clone of `/dev/tap`, which goes when it is closed. They have no other names
//! than the system's.
//!
//! Written from the system's headers and sources and type-checked; it has not run on NetBSD yet.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::request_code_read;

use super::route_message::{GROUP_LEN, groups_listed};
use super::{Error, bsd, check, frame};
use crate::base::Mac;

const TAPGIFNAME: libc::c_ulong = request_code_read!(b'e', 0, size_of::<bsd::Request>());

/// The driver's limit. A smaller MTU than the network's works; none at all does not.
const MTU_MAX: u16 = 9000;

/// Groups of a device that are looked at.
const GROUPS_MAX: usize = 256;

/// Where the system lists the groups of devices.
const GROUPS: &core::ffi::CStr = c"net.ether.multicast";

/// A network device made by us. It goes when this is dropped.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    index: u32,
}

impl Tap {
    /// Makes a device, sets MAC and MTU and brings it up. The wanted name is left aside: see
    /// [`Tap::name`].
    pub fn open(_name: &str, mac: Mac, mtu: u16) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tap")
            .map_err(|error| Error::from_io(&"open /dev/tap", error))?;
        // The clone has another descriptor than the one that was opened, without its flags.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|e| Error::of(&"fcntl", e))?;
        let mut on: libc::c_int = 1;
        bsd::ioctl(&"FIONBIO", file.as_raw_fd(), libc::FIONBIO, &mut on)?;
        let name = bsd::name_given(&file, TAPGIFNAME)?;
        let index = index_of(&name).ok_or(Error {
            op: &"if_nametoindex",
            errno: libc::ENODEV,
        })?;
        let tap = Self { file, name, index };
        bsd::set_mac(&tap.name, mac)?;
        tap.set_mtu(mtu)?;
        bsd::bring_up(&tap.name)?;
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
        match frame::read(&self.file, room) {
            // Somebody else was faster: the queue was emptied with the device.
            Ok(Some(0)) => Ok(None),
            // Somebody set the device down. There is nothing until it is up again.
            Err(error) if error.errno == libc::EHOSTDOWN => Ok(None),
            read => read,
        }
    }

    /// Writes one frame.
    pub fn write_frame(&self, bytes: &[u8]) -> Result<(), Error> {
        frame::write(&self.file, bytes)
    }

    /// The hardware address that the device has now.
    pub fn mac(&self) -> Result<Mac, Error> {
        bsd::mac_of(&self.name)
    }

    /// Sets the MTU.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        bsd::set_mtu(&self.name, mtu.min(MTU_MAX))
    }

    /// Groups that the system listens to on this device.
    pub fn multicast_groups(&self, groups: &mut Vec<Mac>) -> Result<(), Error> {
        // Three numbers for the name, one for the device.
        let mut path: [libc::c_int; 4] = [0; 4];
        let mut count = path.len() - 1;
        // SAFETY: the name ends with a zero; the call writes at most `count` numbers.
        check(&"sysctlnametomib", unsafe {
            libc::sysctlnametomib(GROUPS.as_ptr(), path.as_mut_ptr(), &raw mut count)
        })?;
        path[3] = self.index.cast_signed();
        let mut list = vec![0_u8; GROUPS_MAX * GROUP_LEN];
        let mut len = list.len();
        // SAFETY: the path has four numbers, and the call writes at most `len` bytes of the list;
        // both live for the call.
        check(&"sysctl", unsafe {
            libc::sysctl(
                path.as_ptr(),
                4,
                list.as_mut_ptr().cast(),
                &raw mut len,
                core::ptr::null(),
                0,
            )
        })?;
        let list = list.get(..len).unwrap_or_default();
        groups.extend(groups_listed(list).map(Mac::new));
        Ok(())
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// The number of a device.
pub fn index_of(name: &str) -> Option<u32> {
    bsd::index_of(name)
}
