//! Signals as bytes of a socket pair, so that the loop waits for them like for anything else.

use std::os::fd::{AsRawFd, IntoRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::socket::{SockFlag, SockType};

use super::{Error, check, pair};

/// What the owner wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// INT, TERM, QUIT: stop in order.
    Stop,
    /// HUP: read the settings again.
    Reload,
    /// USR1: dump the state to the log.
    Dump,
}

/// Where the handler writes. A handler gets nothing but the number, so this must be global.
static PIPE: AtomicI32 = AtomicI32::new(-1);

const HANDLED: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
];
const IGNORED: [libc::c_int; 2] = [libc::SIGPIPE, libc::SIGUSR2];

extern "C" fn handler(signal: libc::c_int) {
    let byte = [u8::try_from(signal).unwrap_or(0)];
    // SAFETY: write is async-signal-safe, the byte is on this stack. errno is put back, because
    // the interrupted code may be about to read it.
    unsafe {
        let errno = errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::Relaxed), byte.as_ptr().cast(), 1);
        *errno = before;
    }
}

unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: gives the address of the thread's errno; no preconditions.
    unsafe {
        #[cfg(target_os = "linux")]
        return libc::__errno_location();
        #[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
        return libc::__errno();
        #[cfg(not(any(target_os = "linux", target_os = "netbsd", target_os = "openbsd")))]
        return libc::__error();
    }
}

/// The signals of this process.
#[derive(Debug)]
pub struct Signals {
    stream: OwnedFd,
}

impl Signals {
    /// Catches signals from now on. Once per process.
    pub fn catch() -> Result<Self, Error> {
        let (stream, sender) = pair(SockType::Stream, SockFlag::SOCK_NONBLOCK)?;
        // Open for as long as the process lives: the handler may run at any time.
        PIPE.store(sender.into_raw_fd(), Ordering::Relaxed);
        for signal in &HANDLED {
            set(*signal, handler as *const () as libc::sighandler_t)?;
        }
        for signal in &IGNORED {
            set(*signal, libc::SIG_IGN)?;
        }
        Ok(Self { stream })
    }

    /// The next signal, if there is one.
    pub fn take(&mut self) -> Option<Signal> {
        loop {
            let mut byte = [0];
            if !matches!(nix::unistd::read(&self.stream, &mut byte), Ok(1)) {
                return None;
            }
            match libc::c_int::from(byte[0]) {
                libc::SIGHUP => return Some(Signal::Reload),
                libc::SIGUSR1 => return Some(Signal::Dump),
                libc::SIGINT | libc::SIGTERM | libc::SIGQUIT => return Some(Signal::Stop),
                _ => {}
            }
        }
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// For a program that takes the place of this process: what is ignored here is not ignored there.
pub(super) fn forget_ignored() {
    for signal in &IGNORED {
        let _ = set(*signal, libc::SIG_DFL);
    }
}

fn set(signal: libc::c_int, to: libc::sighandler_t) -> Result<(), Error> {
    // SAFETY: all zero bytes are a valid sigaction: no flags, empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = to;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` lives for the call; the handler is async-signal-safe.
    check(&"sigaction", unsafe {
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    })
    .map(drop)
}
