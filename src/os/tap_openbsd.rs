//! Taps of OpenBSD: the first of `/dev/tap0` and so on that nobody has open. They have no other
//! names.
//!
//! Written from the system's headers and type-checked; it has not run on OpenBSD yet.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use super::{Error, bsd, frame};
use crate::base::Mac;

/// Device nodes that are tried. Each must have been made (`MAKEDEV`).
const DEVICES_MAX: u32 = 64;

/// A network device. If opening made it, closing removes it.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    index: u32,
}

impl Tap {
    /// Takes a device, sets MAC and MTU and brings it up. The wanted name is left aside: see
    /// [`Tap::name`].
    pub fn open(_name: &str, mac: Mac, mtu: u16) -> Result<Self, Error> {
        let (file, name) = first_free()?;
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
        frame::read(&self.file, room)
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
        bsd::set_mtu(&self.name, mtu)
    }

    /// Adds nothing: the system has no list of group memberships for programs. Those that follow
    /// from addresses are known without it.
    pub fn multicast_groups(&self, _groups: &mut Vec<Mac>) -> Result<(), Error> {
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

/// Opens the first device that nobody has; its name.
fn first_free() -> Result<(File, String), Error> {
    let mut failed = Error {
        op: &"open /dev/tap",
        errno: libc::ENOENT,
    };
    for n in 0..DEVICES_MAX {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(format!("/dev/tap{n}"));
        match opened {
            Ok(file) => return Ok((file, format!("tap{n}"))),
            // Nodes are made one after the other, so behind a missing one there are no more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            Err(error) => failed = Error::from_io(&"open /dev/tap", error),
        }
    }
    Err(failed)
}
