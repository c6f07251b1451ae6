//! What the first process of an emulated board needs of the kernel: file systems, modules, and
//! the echo of ICMPv6. The service does none of this; what is not called is not linked.

use core::net::Ipv6Addr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use super::{Error, check};

/// Mounts a file system that the kernel makes up, such as `proc`.
pub fn mount(kind: &str, at: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(at).map_err(|error| Error::from_io(&"mkdir", error))?;
    let text = |bytes: &[u8]| {
        std::ffi::CString::new(bytes).map_err(|_| Error {
            op: &"mount",
            errno: libc::EINVAL,
        })
    };
    let kind = text(kind.as_bytes())?;
    let at = text(at.as_os_str().as_encoded_bytes())?;
    // SAFETY: both texts end with a zero and live for the call; no data is given.
    check(&"mount", unsafe {
        libc::mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            0,
            core::ptr::null(),
        )
    })
    .map(drop)
}

/// Loads a kernel module from its file; it may be there already.
pub fn load_module(path: &Path) -> Result<(), Error> {
    let file = File::open(path).map_err(|error| Error::from_io(&"open", error))?;
    // SAFETY: the descriptor and the empty text live for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    match result {
        0 => Ok(()),
        _ => match Error::last(&"finit_module") {
            error if error.errno == libc::EEXIST => Ok(()),
            error => Err(error),
        },
    }
}

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// Asks other machines for an echo (RFC 4443 4.1).
#[derive(Debug)]
pub struct Pinger {
    socket: File,
    id: [u8; 2],
}

impl Pinger {
    /// Needs root.
    pub fn open() -> Result<Self, Error> {
        // SAFETY: no memory is involved.
        let fd = check(&"socket", unsafe {
            libc::socket(
                libc::AF_INET6,
                libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                libc::IPPROTO_ICMPV6,
            )
        })?;
        // SAFETY: the descriptor was made just now and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let [.., a, b] = std::process::id().to_be_bytes();
        Ok(Self {
            socket: File::from(fd),
            id: [a, b],
        })
    }

    /// Asks once. The kernel fills in the checksum.
    pub fn ask(&self, to: Ipv6Addr, number: u16, payload: usize) -> Result<(), Error> {
        let mut message = vec![ECHO_REQUEST, 0, 0, 0];
        message.extend_from_slice(&self.id);
        message.extend_from_slice(&number.to_be_bytes());
        message.resize(message.len() + payload, 0x5a);
        let mut name = super::sockaddr::empty();
        let len = super::sockaddr::write(&mut name, &core::net::SocketAddr::from((to, 0)));
        // SAFETY: message and address have the lengths given and live for the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
                (&raw const name).cast(),
                len,
            )
        };
        if sent < 0 {
            return Err(Error::last(&"sendto"));
        }
        Ok(())
    }

    /// The next answer that waits: its number and the length of what came back with it.
    pub fn answer(&self) -> Option<(u16, usize)> {
        let mut room = [0; 4096];
        loop {
            let len = (&self.socket).read(&mut room).ok()?;
            if let [ECHO_REPLY, _, _, _, a, b, c, d, rest @ ..] = room.get(..len)?
                && [*a, *b] == self.id
            {
                return Some((u16::from_be_bytes([*c, *d]), rest.len()));
            }
        }
    }
}
