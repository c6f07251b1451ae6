//! Who the process is, going to the background, giving up rights.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::{Error, check};

/// The process may do everything.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

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

/// Becomes a user for good and keeps only what the running service needs (service 7.8): to
/// change the network, to bind sockets to devices, ports below 1024. What only root may open
/// must be open by now. When this fails, the process may be half way: end it.
#[cfg(target_os = "linux")]
pub fn drop_to(user: User) -> Result<(), Error> {
    use nix::sys::prctl;
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setgroups(&[gid]).map_err(|e| Error::of("setgroups", e))?;
    setresgid(gid, gid, gid).map_err(|e| Error::of("setresgid", e))?;
    // Without this the capabilities would go with the user.
    prctl::set_keepcaps(true).map_err(|e| Error::of("prctl", e))?;
    setresuid(uid, uid, uid).map_err(|e| Error::of("setresuid", e))?;
    keep_capabilities(KEPT)?;
    prctl::set_keepcaps(false).map_err(|e| Error::of("prctl", e))
}

/// No program that this process starts, nor the process by starting one, gets more rights.
#[cfg(target_os = "linux")]
pub fn no_new_rights() -> Result<(), Error> {
    nix::sys::prctl::set_no_new_privs().map_err(|e| Error::of("prctl", e))
}

/// `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN`, `CAP_NET_RAW`.
#[cfg(target_os = "linux")]
const KEPT: u32 = (1 << 10) | (1 << 12) | (1 << 13);

/// Keeps capabilities of the first 32 and no other; none is passed on to programs.
#[cfg(target_os = "linux")]
fn keep_capabilities(kept: u32) -> Result<(), Error> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two sets of 32, and the process is this one (0).
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted, inheritable; once for the lower half, once for the upper one.
    let sets: [u32; 6] = [kept, kept, 0, 0, 0, 0];
    // SAFETY: header and sets have the layout of that version and live for the call.
    let result = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), sets.as_ptr()) };
    if result < 0 {
        return Err(Error::last("capset"));
    }
    Ok(())
}
