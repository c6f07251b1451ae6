//! Who the process is, going to the background, giving up rights.

use std::os::fd::OwnedFd;

use nix::sys::socket::{SockFlag, SockType};

use super::{Error, check, pair, wait_for};

/// The process may do everything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The process may do what joining a network takes: as root, or as anybody with the capability.
pub fn may_make_networks() -> bool {
    #[cfg(target_os = "linux")]
    if holds_net_admin() {
        return true;
    }
    is_root()
}

/// Who [`may_make_networks`], in words.
pub const WHO_MAY: &str = if cfg!(target_os = "linux") {
    "root (uid 0) or with CAP_NET_ADMIN"
} else {
    "root (uid 0)"
};

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
pub struct Ready(OwnedFd);

impl Ready {
    /// Lets the parent go with this status.
    pub fn tell(self, status: u8) {
        // The parent may be gone: nobody waits then.
        let _ = nix::unistd::write(&self.0, &[status]);
    }
}

/// Forks; the parent waits until the child works, so that its exit status tells the truth.
pub fn to_background() -> Result<Side, Error> {
    let (ours, theirs) = pair(SockType::Stream, SockFlag::empty())?;
    // SAFETY: the process has one thread, so the child may do anything.
    let child = check(&"fork", unsafe { libc::fork() })?;
    if child > 0 {
        drop(theirs);
        let mut status = [0];
        return Ok(Side::Parent(match nix::unistd::read(&ours, &mut status) {
            Ok(1..) => i32::from(status[0]),
            // No byte: the child ended before it could say anything.
            _ => exit_status_of(child),
        }));
    }
    drop(ours);
    // SAFETY: no memory is involved.
    check(&"setsid", unsafe { libc::setsid() })?;
    Ok(Side::Child(Ready(theirs)))
}

/// What a child that ended says; 1 if it was killed or says that all is well.
fn exit_status_of(child: libc::pid_t) -> i32 {
    loop {
        match wait_for(child, 0) {
            Err(error) if error.errno == libc::EINTR => {}
            Ok(Some(status)) if libc::WIFEXITED(status) => {
                return libc::WEXITSTATUS(status).max(1);
            }
            _ => return 1,
        }
    }
}

/// Somebody to be instead of root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    /// Number of the user.
    pub uid: u32,
    /// Number of the user's group.
    pub gid: u32,
}

/// Who there is, as the C library says: it may ask others than the files of this machine.
#[cfg(not(target_env = "musl"))]
mod library;
#[cfg(not(target_env = "musl"))]
pub use library::group_id;
#[cfg(all(target_os = "linux", not(target_env = "musl")))]
pub use library::groups_of;

/// The same by the files alone, which is where musl looks, too.
#[cfg(any(target_env = "musl", test))]
mod files;
#[cfg(target_env = "musl")]
pub use files::{group_id, groups_of};

/// Rights of Linux.
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux::holds_net_admin;
#[cfg(target_os = "linux")]
pub use linux::{StillRoot, give_up, keep_needed, no_new_rights, present};
