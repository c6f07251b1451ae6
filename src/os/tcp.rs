//! TCP for the owner: a listener that never waits.

use std::net::{IpAddr, SocketAddr, TcpListener};
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
    .map_err(failed(&"socket"))?;
    // A restart must not wait for connections of the last run to die.
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(failed(&"setsockopt"))?;
    if at.is_ipv6() {
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true).map_err(failed(&"setsockopt"))?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(at)).map_err(failed(&"bind"))?;
    let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN);
    socket::listen(&fd, backlog).map_err(failed(&"listen"))?;
    Ok(TcpListener::from(fd))
}

/// The user who listens at an address of this machine. `None`: nobody, or the system does not
/// tell.
pub fn owner_of_listener(at: SocketAddr) -> Option<u32> {
    let table = if at.is_ipv6() {
        "/proc/net/tcp6"
    } else {
        "/proc/net/tcp"
    };
    let text = std::fs::read_to_string(table).ok()?;
    let (here, port) = (words(at.ip()), format!(":{:04X}", at.port()));
    for row in text.lines().skip(1) {
        let (mut is_ours, mut is_listener) = (false, false);
        for (n, field) in row.split_ascii_whitespace().enumerate() {
            match n {
                1 => {
                    let ip = field.strip_suffix(port.as_str());
                    is_ours = ip.is_some_and(|ip| ip == here || ip.bytes().all(|b| b == b'0'));
                }
                3 => is_listener = field == LISTENING,
                7 if is_ours && is_listener => return field.parse().ok(),
                _ => {}
            }
        }
    }
    None
}

const LISTENING: &str = "0A";

/// An address as `/proc/net/tcp` prints it: words as this machine holds them.
fn words(ip: IpAddr) -> String {
    let (v4, v6);
    let octets: &[u8] = match ip {
        IpAddr::V4(ip) => {
            v4 = ip.octets();
            &v4
        }
        IpAddr::V6(ip) => {
            v6 = ip.octets();
            &v6
        }
    };
    let mut text = String::new();
    for word in octets.chunks_exact(4) {
        let word = word.first_chunk().copied().unwrap_or_default();
        text.push_str(&format!("{:08X}", u32::from_ne_bytes(word)));
    }
    text
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

    #[cfg(target_os = "linux")]
    #[test]
    fn the_owner_of_a_listener_is_known() {
        let own = nix::unistd::getuid().as_raw();
        // An address of its own: a port that becomes free may be another test's at once.
        let listener = listen("127.88.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(owner_of_listener(at), Some(own));
        drop(listener);
        assert_eq!(owner_of_listener(at), None);
    }
}
