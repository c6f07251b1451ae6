//! Sockets that have a place in the file system.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, umask};

use super::{Error, text_of};

/// Listens at a path where there is nothing. Nobody but this user may connect yet, and nothing
/// waits.
pub fn listen(path: &Path) -> Result<UnixListener, Error> {
    let fd = open(SockType::Stream, SockFlag::SOCK_NONBLOCK)?;
    let at = address(path)?;
    // Nobody may connect between bind and chmod.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = socket::bind(fd.as_raw_fd(), &at);
    umask(before);
    bound.map_err(|errno| Error::of(&"bind", errno))?;
    socket::listen(&fd, Backlog::MAXCONN).map_err(|errno| Error::of(&"listen", errno))?;
    Ok(UnixListener::from(fd))
}

/// Connects to whoever listens there.
pub fn connect(path: &Path) -> Result<UnixStream, Error> {
    connected(path, SockFlag::empty()).map(UnixStream::from)
}

/// Whether anybody listens there, without waiting for an answer. `EAGAIN`: so many wait there that
/// there is no place in the queue.
pub fn answers(path: &Path) -> Result<(), Error> {
    connected(path, SockFlag::SOCK_NONBLOCK).map(drop)
}

fn connected(path: &Path, flags: SockFlag) -> Result<OwnedFd, Error> {
    let fd = open(SockType::Stream, flags)?;
    let at = address(path)?;
    loop {
        match socket::connect(fd.as_raw_fd(), &at) {
            Ok(()) => return Ok(fd),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(Error::of(&"connect", errno)),
        }
    }
}

/// A socket for datagrams that never waits.
pub fn datagrams() -> Result<OwnedFd, Error> {
    open(SockType::Datagram, SockFlag::SOCK_NONBLOCK)
}

/// Sends a datagram to whoever listens there.
pub fn send_to(socket: &impl AsFd, bytes: &[u8], path: &Path) -> Result<(), Error> {
    let fd = socket.as_fd().as_raw_fd();
    let sent = socket::sendto(fd, bytes, &address(path)?, MsgFlags::MSG_NOSIGNAL);
    sent.map(drop).map_err(|errno| Error::of(&"sendto", errno))
}

fn open(kind: SockType, flags: SockFlag) -> Result<OwnedFd, Error> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let made = socket::socket(AddressFamily::Unix, kind, flags, None);
    made.map_err(|errno| Error::of(&"socket", errno))
}

fn address(path: &Path) -> Result<UnixAddr, Error> {
    let text = text_of(&"sun_path", path)?;
    UnixAddr::new(text.as_c_str()).map_err(|errno| Error::of(&"sun_path", errno))
}
