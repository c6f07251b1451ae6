//! Sockets that have a place in the file system.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, umask};

use super::{Error, Op, text_of};

/// Listens at a path where there is nothing. Nobody but this user may connect yet, and nothing
/// waits.
pub fn listen(path: &Path) -> Result<UnixListener, Error> {
    let fd = open(SockType::Stream, SockFlag::SOCK_NONBLOCK)?;
    // Nobody may connect between bind and chmod.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = at(&"bind", path, &mut |at| socket::bind(fd.as_raw_fd(), at));
    umask(before);
    bound?;
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
    loop {
        match at(&"connect", path, &mut |at| {
            socket::connect(fd.as_raw_fd(), at)
        }) {
            Err(error) if error.errno == libc::EINTR => {}
            connected => return connected.map(|()| fd),
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
    at(&"sendto", path, &mut |at| {
        socket::sendto(fd, bytes, at, MsgFlags::MSG_NOSIGNAL).map(drop)
    })
}

fn open(kind: SockType, flags: SockFlag) -> Result<OwnedFd, Error> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let made = socket::socket(AddressFamily::Unix, kind, flags, None);
    made.map_err(|errno| Error::of(&"socket", errno))
}

/// A call with the address that a path stands for.
fn at(
    op: Op,
    path: &Path,
    call: &mut dyn FnMut(&UnixAddr) -> Result<(), nix::Error>,
) -> Result<(), Error> {
    let text = text_of(op, path)?;
    let done = UnixAddr::new(text.as_c_str()).and_then(|at| call(&at));
    done.map_err(|errno| Error::of(op, errno))
}
