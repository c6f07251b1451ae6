//! Who the process is, and going to the background.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::{Error, check};

/// The process may do everything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// One side of a fork.
#[derive(Debug)]
pub enum Side {
    /// The child, in its own session. It tells the parent when it works.
    Child(Ready),
    /// The parent: the child works, or ended with this status.
    Parent(i32),
}

/// The parent's end waits for a byte from here.
#[derive(Debug)]
pub struct Ready(UnixStream);

impl Ready {
    /// Lets the parent go with this status.
    pub fn tell(mut self, status: u8) {
        // The parent may be gone: nobody waits then.
        let _ = self.0.write_all(&[status]);
    }
}

/// Forks; the parent waits until the child works, so that its exit status tells the truth.
pub fn to_background() -> Result<Side, Error> {
    let (mut ours, theirs) =
        UnixStream::pair().map_err(|error| Error::from_io("socketpair", &error))?;
    // SAFETY: the process has one thread, so the child may do anything.
    if check("fork", unsafe { libc::fork() })? > 0 {
        drop(theirs);
        let mut status = [0];
        // No byte: the child died before it could say anything.
        return Ok(Side::Parent(match ours.read_exact(&mut status) {
            Ok(()) => i32::from(status[0]),
            Err(_) => 1,
        }));
    }
    drop(ours);
    // SAFETY: no memory is involved.
    check("setsid", unsafe { libc::setsid() })?;
    Ok(Side::Child(Ready(theirs)))
}
