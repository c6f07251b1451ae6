//! A second process of this program that keeps the rights of the start, for the few things that
//! need them later. It is forked before anything secret is known, and ends when its parent does.
//!
//! Messages keep their bounds (`SOCK_SEQPACKET`), and what is in one is the caller's business.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{self, MsgFlags, SockFlag, SockType};

use super::signal::Signals;
use super::{Error, check, file, pair, wait_for};

/// Longest message, bytes.
pub const MESSAGE_MAX: usize = 2048;

/// One end of the way between the two.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Sends a message, or fails when there is no room.
    pub fn send(&self, message: &[u8]) -> Result<(), Error> {
        let sent = socket::send(self.0.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL);
        sent.map(drop).map_err(|e| Error::of(&"send", e))
    }

    /// The next message. Empty: the other side is gone. [`Error::would_block`]: there is none at
    /// present. `EMSGSIZE`: one was longer than `buffer`, and is lost.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let received = socket::recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC);
        let len = received.map_err(|e| Error::of(&"recv", e))?;
        buffer.get(..len).ok_or(Error {
            op: &"recv",
            errno: libc::EMSGSIZE,
        })
    }

    /// Waits for a message, the end of the other side, or until the time is over.
    pub fn wait(&self, patience: Option<Duration>) {
        let millis = patience.map_or(-1, |p| i32::try_from(p.as_millis()).unwrap_or(i32::MAX));
        let mut fds = [libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }];
        // SAFETY: `fds` holds one entry and lives for the call. A failure is a wait that was cut
        // short: the caller looks for messages either way.
        unsafe { libc::poll(fds.as_mut_ptr(), 1, millis) };
    }
}

/// The process beside this one.
#[derive(Debug)]
pub struct Helper {
    channel: Option<Channel>,
    pid: libc::pid_t,
}

/// How long an end is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

impl Helper {
    /// Forks. The child does `work` until its channel tells that the parent is gone, holds no
    /// other descriptor of the parent, and says nothing anywhere else. To be called while the
    /// process has one thread, before it holds secrets and before it catches signals.
    pub fn start(work: impl FnOnce(&Channel)) -> Result<Self, Error> {
        let (near, far) = pair(SockType::SeqPacket, SockFlag::SOCK_NONBLOCK)?;
        let (near, far) = (Channel(near), Channel(far));
        // SAFETY: the process has one thread, so the child may do anything.
        let child = check(&"fork", unsafe { libc::fork() })?;
        if child == 0 {
            let status = i32::from(be_helper(&far, work).is_err());
            // SAFETY: nothing of the parent's is flushed or run again on this side.
            unsafe { libc::_exit(status) };
        }
        Ok(Self {
            channel: Some(near),
            pid: child,
        })
    }

    /// The way to it, unless it is gone.
    pub const fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// It was seen to be gone.
    pub fn lose(&mut self) {
        self.channel = None;
        // One that still does something after it closed its end is left to the system.
        let _ = wait_for(self.pid, libc::WNOHANG);
    }

    /// Lets it end: it sees that nobody is there any more, does what it does then and goes. It is
    /// waited for, though not long.
    pub fn end(&mut self) {
        let Some(channel) = self.channel.take() else {
            return;
        };
        // Its end of the way closes with it.
        let _ = socket::shutdown(channel.0.as_raw_fd(), socket::Shutdown::Write);
        channel.wait(Some(PATIENCE));
        let mut byte = [0];
        let gone = loop {
            match channel.receive(&mut byte) {
                Ok([]) => break true,
                Ok(_) => {}
                Err(error) => break !error.would_block(),
            }
        };
        // One that still does something ends by itself; the system looks after it then.
        if gone {
            let _ = wait_for(self.pid, 0);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn be_helper(channel: &Channel, work: impl FnOnce(&Channel)) -> Result<(), Error> {
    // The log's descriptor is the parent's.
    log::set_max_level(log::LevelFilter::Off);
    // Whoever started the parent may wait for the end of its terminal or pipe.
    file::detach_standard()?;
    // No file system is kept from being unmounted.
    nix::unistd::chdir("/").map_err(|e| Error::of(&"chdir", e))?;
    file::close_all_but(channel.as_raw_fd());
    // A service manager ends all processes at once; what is in force is taken back first.
    let _signals = Signals::catch()?;
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_name(c"zerotier-helper");
    work(channel);
    Ok(())
}
