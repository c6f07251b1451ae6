//! The system: sockets, taps, clocks, files. The only layer with unsafe code and system calls.
//!
//! It moves bytes; it knows no ZeroTier. An unsafe block surrounds one call, and says who owns
//! the memory that the kernel is shown and for how long.
//!
//! A system is a whole file with the names of the others: `netlink` and `tap` mean the same on
//! all. What is for the BSDs is written from their headers and has not run there yet.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::fmt;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType};

// libc 0.2.190 and 0.2.191 give mips64 the socket constants of other processors; the release that is
// locked has the right ones.
#[cfg(all(target_os = "linux", target_arch = "mips64"))]
const _: () = assert!(libc::SOL_SOCKET == 0xffff, "this libc is wrong on mips64");

#[cfg(target_os = "linux")]
pub mod board;
#[cfg(any(target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
mod bsd;
pub mod clock;
mod cmsg;
pub mod cpu;
pub mod entropy;
pub mod file;
#[cfg(all(target_os = "linux", feature = "seccomp"))]
#[cfg_attr(
    not(any(
        target_arch = "x86_64",
        target_arch = "x86",
        all(target_arch = "aarch64", target_endian = "little"),
        all(target_arch = "arm", target_endian = "little"),
        target_arch = "mips",
    )),
    path = "filter_none.rs"
)]
pub mod filter;
mod frame;
pub mod helper;
mod ifaces;
pub mod inventory;
pub mod local;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(any(target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
#[path = "route_bsd.rs"]
pub mod netlink;
pub mod privilege;
pub mod program;
#[cfg(any(
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    test
))]
mod route_message;
pub mod signal;
mod sockaddr;
#[cfg(target_os = "linux")]
#[path = "tap_linux.rs"]
pub mod tap;
#[cfg(target_os = "freebsd")]
#[path = "tap_freebsd.rs"]
pub mod tap;
#[cfg(target_os = "netbsd")]
#[path = "tap_netbsd.rs"]
pub mod tap;
#[cfg(target_os = "openbsd")]
#[path = "tap_openbsd.rs"]
pub mod tap;
pub mod tcp;
pub mod udp;
#[cfg(target_os = "linux")]
#[path = "watch_linux.rs"]
pub mod watch;
#[cfg(not(target_os = "linux"))]
#[path = "watch_none.rs"]
pub mod watch;

/// The name of a call, by one address: an [`Error`] goes through registers then, and with it nearly
/// everything that this layer answers.
pub type Op = &'static &'static str;

/// A system call that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Error {
    /// Which call.
    pub op: Op,
    /// Why.
    pub errno: i32,
}

impl Error {
    /// The call `op` failed just now.
    #[cold]
    #[inline(never)]
    pub fn last(op: Op) -> Self {
        Self {
            op,
            errno: nix::errno::Errno::last_raw(),
        }
    }

    /// From an error of the standard library.
    #[cold]
    #[inline(never)]
    pub fn from_io(op: Op, error: io::Error) -> Self {
        Self {
            op,
            errno: Reason::of(&error).0,
        }
    }

    /// From a call of `nix`.
    pub const fn of(op: Op, errno: nix::errno::Errno) -> Self {
        Self {
            op,
            errno: errno as i32,
        }
    }

    /// Nothing to read, or no room to write, at present.
    pub const fn would_block(self) -> bool {
        self.errno == libc::EAGAIN || self.errno == libc::EWOULDBLOCK
    }
}

/// An errno as programs name it: `EPERM`; a rare one as `errno71`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrnoName(pub i32);

impl ErrnoName {
    /// The name; `None`: a rare one.
    pub const fn known(self) -> Option<&'static str> {
        // nix knows them all, which costs 5 KB.
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::EIO => "EIO",
            libc::EAGAIN => "EAGAIN",
            libc::ENXIO => "ENXIO",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::ENOTDIR => "ENOTDIR",
            libc::EISDIR => "EISDIR",
            libc::EFBIG => "EFBIG",
            libc::ELOOP => "ELOOP",
            libc::ENAMETOOLONG => "ENAMETOOLONG",
            libc::EILSEQ => "EILSEQ",
            libc::EINVAL => "EINVAL",
            libc::ENFILE => "ENFILE",
            libc::EMFILE => "EMFILE",
            libc::ENOSPC => "ENOSPC",
            libc::EROFS => "EROFS",
            libc::ENOSYS => "ENOSYS",
            libc::ENOBUFS => "ENOBUFS",
            libc::ECONNREFUSED => "ECONNREFUSED",
            libc::EADDRINUSE => "EADDRINUSE",
            libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
            libc::EAFNOSUPPORT => "EAFNOSUPPORT",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::ENETDOWN => "ENETDOWN",
            libc::ENETUNREACH => "ENETUNREACH",
            libc::EHOSTUNREACH => "EHOSTUNREACH",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrnoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno{}", self.0),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, Reason(self.errno))
    }
}

/// An errno for people: in words where there is room for the table of them (3 KB), else by name.
#[derive(Clone, Copy, Debug)]
pub struct Reason(pub i32);

impl Reason {
    /// Of an error of the standard library.
    #[cold]
    pub fn of(error: &io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(feature = "small") {
            return write!(f, "{} (os error {})", ErrnoName(self.0), self.0);
        }
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Error {}

/// A path or an argument for people, what is no text of it replaced.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a OsStr);

/// Shows it by little code: the library's own way minds widths, which nobody asks for here.
pub fn shown(name: &(impl AsRef<OsStr> + ?Sized)) -> Shown<'_> {
    Shown(name.as_ref())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

/// A variable of the environment. Nothing here changes one.
pub fn environment(name: &CStr) -> Option<OsString> {
    // SAFETY: the name lives for the call.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: it is a text of the C library's that nobody changes.
    let value = unsafe { CStr::from_ptr(value) };
    Some(OsStr::from_bytes(value.to_bytes()).to_owned())
}

/// The result of a call that gives -1 when it fails.
fn check(op: Op, result: libc::c_int) -> Result<libc::c_int, Error> {
    if result < 0 {
        Err(Error::last(op))
    } else {
        Ok(result)
    }
}

/// Asks for the end of a child; its status. `None`: it runs.
fn wait_for(child: libc::pid_t, flags: libc::c_int) -> Result<Option<libc::c_int>, Error> {
    let mut status = 0;
    // SAFETY: the call writes to `status` alone, which lives for it.
    let ended = check(&"waitpid", unsafe {
        libc::waitpid(child, &raw mut status, flags)
    })?;
    Ok((ended != 0).then_some(status))
}

/// A path as the system takes it.
fn text_of(op: Op, path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error {
        op,
        errno: libc::EINVAL,
    })
}

/// Two sockets that lead to each other, and not to programs that are started.
fn pair(kind: SockType, flags: SockFlag) -> Result<(OwnedFd, OwnedFd), Error> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let ends = nix::sys::socket::socketpair(AddressFamily::Unix, kind, None, flags);
    ends.map_err(|errno| Error::of(&"socketpair", errno))
}

#[cfg(test)]
mod tests {
    use super::{ErrnoName, Error};

    #[test]
    fn an_error_tells_call_reason_and_number() {
        let text = |errno| Error { op: &"bind", errno }.to_string();
        let reason = if cfg!(feature = "small") {
            "EPERM"
        } else {
            "Operation not permitted"
        };
        let refused = format!("bind: {reason} (os error 1)");
        assert_eq!(text(libc::EPERM), refused);
        assert!(text(4711).ends_with("(os error 4711)"));
    }

    #[test]
    fn a_number_of_the_system_has_its_name() {
        assert_eq!(ErrnoName(libc::EPERM).to_string(), "EPERM");
        assert_eq!(ErrnoName(libc::EADDRINUSE).to_string(), "EADDRINUSE");
        assert_eq!(ErrnoName(4711).to_string(), "errno4711");
    }
}
