//! Who the process is, going to the background, giving up rights.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::{Error, check};

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

/// The number of a group by its name.
pub fn group_id(name: &str) -> Option<u32> {
    let group = nix::unistd::Group::from_name(name).ok().flatten();
    group.map(|group| group.gid.as_raw())
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
    let child = check("fork", unsafe { libc::fork() })?;
    if child > 0 {
        drop(theirs);
        let mut status = [0];
        return Ok(Side::Parent(match ours.read_exact(&mut status) {
            Ok(()) => i32::from(status[0]),
            // No byte: the child ended before it could say anything.
            Err(_) => exit_status_of(nix::unistd::Pid::from_raw(child)),
        }));
    }
    drop(ours);
    // SAFETY: no memory is involved.
    check("setsid", unsafe { libc::setsid() })?;
    Ok(Side::Child(Ready(theirs)))
}

/// What a child that ended says; 1 if it was killed or says that all is well.
fn exit_status_of(child: nix::unistd::Pid) -> i32 {
    use nix::sys::wait::{WaitStatus, waitpid};
    loop {
        match waitpid(child, None) {
            Err(nix::Error::EINTR) => {}
            Ok(WaitStatus::Exited(_, status)) if status != 0 => return status,
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

impl User {
    /// Looks a user up. `None`: there is none of that name.
    pub fn named(name: &str) -> Result<Option<Self>, Error> {
        let found = nix::unistd::User::from_name(name).map_err(|e| Error::of("getpwnam", e))?;
        Ok(found.map(|user| Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }))
    }
}

/// The groups that a user of this name is in.
#[cfg(target_os = "linux")]
pub fn groups_of(name: &str, user: User) -> Vec<u32> {
    let name = std::ffi::CString::new(name).unwrap_or_default();
    let groups = nix::unistd::getgrouplist(&name, nix::unistd::Gid::from_raw(user.gid));
    // A list that cannot be read gives nobody anything.
    let groups = groups.unwrap_or_default().into_iter();
    let groups = groups.map(nix::unistd::Gid::as_raw);
    groups.filter(|gid| *gid != user.gid).collect()
}

/// Rights of Linux.
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux::holds_net_admin;
#[cfg(target_os = "linux")]
pub use linux::{StillRoot, give_up, keep_needed, no_new_rights, present};
