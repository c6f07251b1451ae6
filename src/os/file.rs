//! Files that survive a power cut, and descriptors of the process.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Error, check};

/// Reads a regular file of at most `max` bytes. A longer one is `EFBIG`; a directory `EISDIR`;
/// a pipe, a socket or a device `EINVAL`, without waiting for its other end.
pub fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, Error> {
    let failed = |errno| Error { op: "read", errno };
    let file = OpenOptions::new()
        .read(true)
        // A pipe nobody writes to would stop us at open.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| Error::from_io("open", &error))?;
    let meta = file
        .metadata()
        .map_err(|error| Error::from_io("stat", &error))?;
    if meta.is_dir() {
        return Err(failed(libc::EISDIR));
    }
    if !meta.is_file() {
        return Err(failed(libc::EINVAL));
    }
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(limit)).unwrap_or(0));
    // One byte more than allowed tells a longer file; its length may be a lie (procfs says 0).
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io("read", &error))?;
    if bytes.len() > max {
        return Err(failed(libc::EFBIG));
    }
    Ok(bytes)
}

/// Replaces a file: at any moment, also across a power cut, there is the old one or the whole
/// new one. `mode` holds whatever the umask says.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    replace(path, bytes, mode, true)?;
    sync_directory_of(path)
}

/// The same without waiting for the disk: after a power cut the file may be empty. For what can
/// be learnt again.
pub fn write_cache(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    replace(path, bytes, mode, false)
}

fn replace(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> Result<(), Error> {
    let temporary = beside(path).ok_or(Error {
        op: "open",
        errno: libc::EISDIR,
    })?;
    // Left over from a run that was cut off; a new one must not go through a link somebody laid.
    let _ = std::fs::remove_file(&temporary);
    let written = write_new(&temporary, bytes, mode, sync).and_then(|()| {
        std::fs::rename(&temporary, path).map_err(|error| Error::from_io("rename", &error))
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Removes a file for good: across a power cut it does not come back. A missing one is as good.
pub fn remove_atomic(path: &Path) -> Result<(), Error> {
    if unlink(path)? {
        sync_directory_of(path)?;
    }
    Ok(())
}

/// The same without waiting for the disk: after a power cut the file may be there again.
pub fn remove_cache(path: &Path) -> Result<(), Error> {
    unlink(path).map(drop)
}

/// `true`: it was there.
fn unlink(path: &Path) -> Result<bool, Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::from_io("unlink", &error)),
    }
}

/// Makes a directory and the parents it lacks; each is on the disk when this returns, or a file
/// synced in it would be lost with it. One that is there is as good.
pub fn make_directories(path: &Path, mode: u32) -> Result<(), Error> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => match sync_directory_of(path) {
            // The parent need not be ours; one that cannot be read cannot be synced.
            Err(error) if error.errno == libc::EACCES => Ok(()),
            synced => synced,
        },
        // Somebody was quicker.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(Error::from_io("mkdir", &error)),
    }
}

/// [`write_atomic`], unless the file holds these bytes already: flash wears out. `true`: written.
pub fn write_if_different(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    if holds(path, bytes) {
        return Ok(false);
    }
    write_atomic(path, bytes, mode).map(|()| true)
}

/// The file has exactly this content.
pub fn holds(path: &Path, bytes: &[u8]) -> bool {
    read_bounded(path, bytes.len()).is_ok_and(|present| present == bytes)
}

/// The name of the temporary file: same directory, so that rename stays on one file system. The
/// same at each run, so that what a power cut left behind goes with the next write.
fn beside(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(".new");
    Some(path.with_file_name(name))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| Error::from_io("open", &error))?;
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(|error| Error::from_io("chmod", &error))?;
    file.write_all(bytes)
        .map_err(|error| Error::from_io("write", &error))?;
    if !sync {
        return Ok(());
    }
    file.sync_all()
        .map_err(|error| Error::from_io("fsync", &error))
}

#[cfg(test)]
thread_local! {
    /// Directories that this thread synced, in order.
    pub(crate) static SYNCED: std::cell::RefCell<Vec<PathBuf>> = const {
        std::cell::RefCell::new(Vec::new())
    };
}

fn sync_directory_of(path: &Path) -> Result<(), Error> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    #[cfg(test)]
    SYNCED.with_borrow_mut(|synced| synced.push(parent.to_owned()));
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    match synced {
        Ok(()) => Ok(()),
        // File systems that cannot sync a directory say so; the file itself is there.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        Err(error) => Err(Error::from_io("fsync", &error)),
    }
}

/// Writes to standard error if that does not wait: one line of at most `PIPE_BUF` bytes.
pub fn write_stderr_now(line: &[u8]) -> bool {
    let mut stderr = io::stderr();
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
    let null = OpenOptions::new()
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

/// Closes what whoever started us left open, standard input, output and error excepted. To be
/// called before anything is opened.
pub fn close_inherited() {
    const HIGHEST: i32 = 1023;
    for fd in 3..=HIGHEST {
        // SAFETY: nothing of this process has a descriptor above 2 yet.
        unsafe { libc::close(fd) };
    }
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
