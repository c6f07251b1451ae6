//! UDP sockets and batches of datagrams: system calls decide the speed.
//!
//! `recvmmsg` and `sendmmsg` move many datagrams a call; with the UDP offload of Linux one
//! message carries many datagrams of one size: [`SendBatch`] joins what belongs together,
//! [`RecvBatch`] takes it apart. Kernels and systems without get one call per datagram.

use core::mem::zeroed;
use core::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd, RawFd};

use super::{Error, check, sockaddr};

mod recv;
mod send;

pub use recv::RecvBatch;
pub use send::SendBatch;

/// Wanted size of the socket's buffers.
const BUFFER_BYTES: libc::c_int = 1 << 20;

/// What moved, and in how many system calls.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// System calls, including those that moved nothing.
    pub calls: u64,
    /// Messages, each of one datagram or of joined ones.
    pub messages: u64,
    /// Datagrams.
    pub datagrams: u64,
}

/// A bound UDP socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// The kernel splits a message into datagrams of one size.
    splits: bool,
    /// Packets leave by the device of the socket, whatever the routes say.
    keeps_to_device: bool,
}

impl Socket {
    /// Binds to an address, and to a device if one is named and the rights allow it. IPv6 sockets
    /// hear IPv6 only.
    pub fn bind(local: SocketAddr, device: &str) -> Result<Self, Error> {
        let family = if local.is_ipv6() {
            libc::AF_INET6
        } else {
            libc::AF_INET
        };
        // SAFETY: no memory is involved.
        let fd = check(&"socket", unsafe {
            libc::socket(
                family,
                libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                libc::IPPROTO_UDP,
            )
        })?;
        // SAFETY: the descriptor was made just now and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let raw = fd.as_raw_fd();
        if local.is_ipv6() {
            set(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        allow_fragments(raw, local.is_ipv6());
        widen_buffers(raw);
        let keeps_to_device = bind_to_device(raw, device);
        let mut name = sockaddr::empty();
        let len = sockaddr::write(&mut name, &local);
        // SAFETY: `name` holds an address of `len` bytes and lives for the call.
        check(&"bind", unsafe {
            libc::bind(raw, (&raw const name).cast(), len)
        })?;
        let mut socket = Self {
            fd,
            splits: false,
            keeps_to_device,
        };
        socket.set_joining(true);
        Ok(socket)
    }

    /// Lets the kernel join datagrams on receipt and split them on sending, if it can; on from
    /// the beginning.
    pub fn set_joining(&mut self, on: bool) {
        self.splits = on && kernel_splits(self.fd.as_raw_fd());
        join_received(self.fd.as_raw_fd(), on);
    }

    /// Packets leave by the device of the socket, whatever the routes say.
    pub const fn keeps_to_device(&self) -> bool {
        self.keeps_to_device
    }

    /// Where the socket is bound: tells the port if none was asked for.
    pub fn local(&self) -> Result<SocketAddr, Error> {
        let mut name = sockaddr::empty();
        let mut len = sockaddr::STORAGE_LEN;
        // SAFETY: `name` is `len` bytes long, and both live for the call.
        check(&"getsockname", unsafe {
            libc::getsockname(self.as_raw_fd(), (&raw mut name).cast(), &raw mut len)
        })?;
        sockaddr::read(&name).ok_or(Error {
            op: &"getsockname",
            errno: libc::EAFNOSUPPORT,
        })
    }

    /// Receives what is there, at most a batch; how many messages came. Fewer than a batch holds
    /// means that there was no more.
    pub fn receive(&self, batch: &mut RecvBatch) -> Result<usize, Error> {
        batch.receive(self.fd.as_raw_fd())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// No don't-fragment: who is in the way of large datagrams cuts them.
fn allow_fragments(fd: RawFd, v6: bool) {
    #[cfg(target_os = "linux")]
    let (level, name, value) = if v6 {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
        )
    };
    #[cfg(target_os = "freebsd")]
    let (level, name, value) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
    } else {
        (libc::IPPROTO_IP, libc::IP_DONTFRAG, 0)
    };
    // A system that refuses has no such flag to clear.
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    let _ = set(fd, level, name, value);
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    let _ = (fd, v6);
}

/// Less is slower, not wrong.
fn widen_buffers(fd: RawFd) {
    #[cfg(target_os = "linux")]
    let forced = [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE];
    #[cfg(not(target_os = "linux"))]
    let forced = [libc::SO_RCVBUF, libc::SO_SNDBUF];
    for (forced, modest) in forced.iter().zip(&[libc::SO_RCVBUF, libc::SO_SNDBUF]) {
        // The second cuts to the system's limit, so it may only come where the first failed.
        if set(fd, libc::SOL_SOCKET, *forced, BUFFER_BYTES).is_err() {
            let _ = set(fd, libc::SOL_SOCKET, *modest, BUFFER_BYTES);
        }
    }
}

/// Keeps to a device. Without the right to (kernels before 5.7) the address alone decides.
fn bind_to_device(fd: RawFd, device: &str) -> bool {
    #[cfg(target_os = "linux")]
    if !device.is_empty() {
        // SAFETY: `device` lives for the call and has the length given.
        let result = unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_BINDTODEVICE,
                device.as_ptr().cast(),
                device.len() as libc::socklen_t,
            )
        };
        return result == 0;
    }
    let _ = (fd, device);
    false
}

/// The kernel knows `UDP_SEGMENT` (4.18).
fn kernel_splits(fd: RawFd) -> bool {
    #[cfg(target_os = "linux")]
    return set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        false
    }
}

/// Asks for joined datagrams on receipt (5.0); a kernel that cannot gives them one by one.
fn join_received(fd: RawFd, on: bool) {
    #[cfg(target_os = "linux")]
    let _ = set(fd, libc::SOL_UDP, libc::UDP_GRO, on.into());
    #[cfg(not(target_os = "linux"))]
    let _ = (fd, on);
}

fn set(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<(), Error> {
    // SAFETY: `value` lives for the call and has the length given.
    check(&"setsockopt", unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

#[cfg(target_os = "linux")]
type Message = libc::mmsghdr;

/// The same shape where the system has no such calls.
#[cfg(not(target_os = "linux"))]
struct Message {
    msg_hdr: libc::msghdr,
    msg_len: libc::c_uint,
}

fn empty_message() -> Message {
    // SAFETY: integers and null pointers: all bytes zero is a valid value.
    unsafe { zeroed() }
}

fn empty_vector() -> libc::iovec {
    libc::iovec {
        iov_base: core::ptr::null_mut(),
        iov_len: 0,
    }
}

#[cfg(test)]
mod tests;
