//! TCP for the owner: a listener that never waits.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, sockopt,
};

use super::Error;

/// Connections that wait to be accepted; the kernel refuses further ones.
const BACKLOG: i32 = 16;

/// Listens at an address. A listener for IPv6 leaves IPv4 to others, whatever the system's
/// default is.
pub fn listen(at: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |op| move |errno: Errno| Error::of(op, errno);
    let family = if at.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = socket::socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        Some(SockProtocol::Tcp),
    )
    .map_err(failed("socket"))?;
    // A restart must not wait for connections of the last run to die.
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(failed("setsockopt"))?;
    if at.is_ipv6() {
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(failed("setsockopt"))?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(at)).map_err(failed("bind"))?;
    let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN);
    socket::listen(&fd, backlog).map_err(failed("listen"))?;
    Ok(TcpListener::from(fd))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn nothing_waits_and_both_families_share_a_port() {
        let v4 = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(v4.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let port = v4.local_addr().unwrap().port();
        let taken = listen(SocketAddr::from(([127, 0, 0, 1], port))).unwrap_err();
        assert_eq!(taken.errno, libc::EADDRINUSE);
        match listen(SocketAddr::from(([0; 8], port))) {
            Ok(v6) => assert_eq!(v6.local_addr().unwrap().port(), port),
            // No IPv6 here.
            Err(error) => assert_eq!(error.errno, libc::EAFNOSUPPORT),
        }
    }
}
