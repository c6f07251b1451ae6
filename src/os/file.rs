//! Descriptors of the process.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use super::{Error, check};

/// Writes to standard error if that does not wait: one line of at most `PIPE_BUF` bytes.
pub fn write_stderr_now(line: &[u8]) -> bool {
    let mut stderr = std::io::stderr();
    let mut poll = libc::pollfd {
        fd: stderr.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd that lives for the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLOUT != 0 && stderr.write_all(line).is_ok()
}

/// Standard input, output and error lead nowhere from now on.
pub fn detach_standard() -> Result<(), Error> {
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| Error::from_io("open /dev/null", &error))?;
    for fd in 0..=2 {
        // SAFETY: both are descriptors of this process.
        check("dup2", unsafe { libc::dup2(null.as_raw_fd(), fd) })?;
    }
    Ok(())
}

/// Memory of this process that is in RAM.
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes()?)
}

/// Memory of the machine.
pub fn memory_bytes() -> Option<u64> {
    // SAFETY: no memory is involved.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    u64::try_from(pages).ok()?.checked_mul(page_bytes()?)
}

fn page_bytes() -> Option<u64> {
    // SAFETY: no memory is involved.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}
