//! Files that survive a power cut, and descriptors of the process.
//!
//! All that this program changes on a disk goes through here, by few steps: whole new files,
//! names, directories. What a power cut between any two of them leaves is tried
//! where they are used.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{FlockArg, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, lstat, stat};

use super::{Error, Op, check, text_of};
use crate::base::sorted;

/// Reads a regular file of at most `max` bytes. A longer one is `EFBIG`; a directory `EISDIR`;
/// a pipe, a socket or a device `EINVAL`, without waiting for its other end.
pub fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, Error> {
    let (file, seen) = regular(open_to_read(path)?).map_err(|error| Error {
        op: &"read",
        ..error
    })?;
    read_from(&file, seen.st_size, max)
}

/// The same of whatever can be read, though that may take as long as its other end likes.
pub fn read_any(path: &Path, max: usize) -> Result<Vec<u8>, Error> {
    let file = open(path, OFlag::O_RDONLY, 0)?;
    let len = fstat(&file).map_or(0, |seen| seen.st_size);
    read_from(&file, len, max)
}

fn read_from(file: &File, len: libc::off_t, max: usize) -> Result<Vec<u8>, Error> {
    let failed = |errno| Error { op: &"read", errno };
    // One byte more than allowed tells a longer file; its length may be a lie (procfs says 0, and
    // gives what it has at once).
    let limit = max.saturating_add(1);
    let len = match len {
        0 => PIECE_BYTES,
        len => usize::try_from(len).unwrap_or(limit),
    };
    let mut bytes = vec![0; len.saturating_add(1).min(limit)];
    let mut end = 0;
    loop {
        // A secret of an honest length is never moved, so no copy of it stays behind.
        if end == bytes.len() {
            if end == limit {
                return Err(failed(libc::EFBIG));
            }
            bytes.resize(end.saturating_add(PIECE_BYTES).min(limit), 0);
        }
        match nix::unistd::read(file, bytes.get_mut(end..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(len) => end = end.saturating_add(len),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::of(&"read", errno)),
        }
    }
    bytes.truncate(end);
    Ok(bytes)
}

/// By how much more is read of a file that says nothing of its length.
const PIECE_BYTES: usize = 4096;

/// What the system tells in a file of its own, if it does.
pub fn system_text(path: &str) -> Option<String> {
    /// Longer than any of them.
    const MAX_BYTES: usize = 1 << 20;
    let bytes = read_bounded(Path::new(path), MAX_BYTES).ok()?;
    String::from_utf8(bytes).ok()
}

/// Names of what is in a directory, sorted; of one that is no text what can be read. Without those
/// that begin with a dot: they are ours, left by a power cut, or hidden by their owner.
pub fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut dir = open(dir, flags, 0)
        .and_then(|dir| Dir::from_fd(dir.into()).map_err(|e| Error::of(&"opendir", e)))
        .map_err(|error| Error {
            op: &"opendir",
            ..error
        })?;
    let mut names: Vec<String> = Vec::new();
    for entry in dir.iter() {
        // What was read up to here is as good as it gets.
        let Ok(entry) = entry else { break };
        let name = String::from_utf8_lossy(entry.file_name().to_bytes()).into_owned();
        if !name.starts_with('.') {
            sorted::insert(&mut names, name);
        }
    }
    Ok(names)
}

/// Where a link leads, and the link there, up to what is none. What lies on the way is for the
/// system to follow.
pub fn follow(path: &Path) -> Result<PathBuf, Error> {
    const LINKS_MAX: usize = 40;
    let failed = |errno| Error {
        op: &"readlink",
        errno,
    };
    let mut at = path.to_owned();
    for _ in 0..LINKS_MAX {
        let mut to = [0; PATH_MAX];
        let mut len = 0;
        let read = by_name(&"readlink", &at, &mut |name| {
            // SAFETY: the text and the room live for the call, which writes no more than that.
            let got = unsafe { libc::readlink(name, to.as_mut_ptr().cast(), to.len()) };
            len = usize::try_from(got).unwrap_or(0);
            if got < 0 { -1 } else { 0 }
        });
        match read {
            Ok(()) => {
                let to = OsStr::from_bytes(to.get(..len).unwrap_or_default());
                at = directory_of(&at).join(to);
            }
            Err(error) if error.errno == libc::EINVAL => return Ok(at),
            Err(error) => return Err(error),
        }
    }
    Err(failed(libc::ELOOP))
}

/// No path is longer.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// Where this process is.
pub fn current_directory() -> Result<PathBuf, Error> {
    let mut room: [u8; PATH_MAX] = [0; PATH_MAX];
    // SAFETY: the call writes a text into the room, which lives for it, or nothing.
    let text = unsafe { libc::getcwd(room.as_mut_ptr().cast(), room.len()) };
    if text.is_null() {
        return Err(Error::last(&"getcwd"));
    }
    let len = room.iter().position(|byte| *byte == 0).unwrap_or(0);
    Ok(OsStr::from_bytes(room.get(..len).unwrap_or_default()).into())
}

/// Opens a file, and not for programs that are started. `mode`: of one that is made, within the
/// umask. The standard library's way brings 3 KB with it for what nobody asks for here.
pub(super) fn open(path: &Path, how: OFlag, mode: u32) -> Result<File, Error> {
    let how = how | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let mode = mode_of(mode);
    let text = text_of(&"open", path)?;
    loop {
        match nix::fcntl::open(text.as_c_str(), how, mode) {
            Ok(fd) => return Ok(fd.into()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::of(&"open", errno)),
        }
    }
}

const fn mode_of(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode as libc::mode_t)
}

fn open_to_read(path: &Path) -> Result<File, Error> {
    // A pipe nobody writes to would stop us at open.
    open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0)
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
    place(path, bytes, mode, sync, |temporary| rename(temporary, path))
}

/// Makes a file, whole and on the disk or not at all. One that exists, an empty one too, is not
/// replaced: `EEXIST`.
pub fn create_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    place(path, bytes, mode, true, |temporary| {
        // A link refuses to replace; where there are none, looking first has to do.
        match link(temporary, path) {
            Err(error) if error.errno != libc::EEXIST => match look(path, Look::Itself) {
                Ok(_) => Err(Error {
                    op: &"link",
                    errno: libc::EEXIST,
                }),
                Err(_) => rename(temporary, path),
            },
            Err(error) => Err(error),
            Ok(()) => unlink(temporary).map(drop),
        }
    })?;
    sync_directory_of(path)
}

/// Writes a file beside `path`, to be moved there; nothing stays of it if that fails.
fn place(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    sync: bool,
    to_its_place: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let temporary = beside(path).ok_or(Error {
        op: &"open",
        errno: libc::EISDIR,
    })?;
    // Left over from a run that was cut off; a new one must not go through a link somebody laid.
    let _ = unlink(&temporary);
    let placed = write_new(&temporary, bytes, mode, sync).and_then(|()| to_its_place(&temporary));
    if placed.is_err() {
        let _ = unlink(&temporary);
    }
    placed
}

/// Gives a file or directory another name in the same directory, for good.
pub fn rename_atomic(from: &Path, to: &Path) -> Result<(), Error> {
    rename(from, to)?;
    sync_directory_of(to)
}

/// Removes a file for good: across a power cut it does not come back. `true`: it was there.
pub fn remove_atomic(path: &Path) -> Result<bool, Error> {
    let was_there = unlink(path)?;
    if was_there {
        sync_directory_of(path)?;
    }
    Ok(was_there)
}

/// The same without waiting for the disk: after a power cut the file may be there again.
pub fn remove_cache(path: &Path) -> Result<bool, Error> {
    unlink(path)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fault(&"rename")?;
    by_names(&"rename", from, to, libc::rename)?;
    note(|| Step::Rename(from.to_owned(), to.to_owned()));
    Ok(())
}

fn link(from: &Path, to: &Path) -> Result<(), Error> {
    fault(&"link")?;
    by_names(&"link", from, to, libc::link)?;
    note(|| Step::Link(from.to_owned(), to.to_owned()));
    Ok(())
}

type ByNames = unsafe extern "C" fn(*const libc::c_char, *const libc::c_char) -> libc::c_int;

fn by_names(op: Op, from: &Path, to: &Path, call: ByNames) -> Result<(), Error> {
    let [from, to] = [text_of(op, from)?, text_of(op, to)?];
    // SAFETY: both texts live for the call.
    check(op, unsafe { call(from.as_ptr(), to.as_ptr()) }).map(drop)
}

type Name = *const libc::c_char;

/// A call about a file by its name.
fn by_name(op: Op, path: &Path, call: &mut dyn FnMut(Name) -> libc::c_int) -> Result<(), Error> {
    let name = text_of(op, path)?;
    check(op, call(name.as_ptr())).map(drop)
}

/// `true`: it was there.
fn unlink(path: &Path) -> Result<bool, Error> {
    fault(&"unlink")?;
    // SAFETY: the text lives for the call.
    match by_name(&"unlink", path, &mut |name| unsafe { libc::unlink(name) }) {
        Ok(()) => {
            note(|| Step::Unlink(path.to_owned()));
            Ok(true)
        }
        Err(error) if error.errno == libc::ENOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a directory and the parents it lacks; each is on the disk when this returns, or a file
/// synced in it would be lost with it. One that is there is as good.
pub fn make_directories(path: &Path, mode: u32) -> Result<(), Error> {
    if path.as_os_str().is_empty() || is_directory(path) {
        return Ok(());
    }
    make_directories(directory_of(path), mode)?;
    fault(&"mkdir")?;
    let made = by_name(&"mkdir", path, &mut |name| {
        // SAFETY: the text lives for the call.
        unsafe { libc::mkdir(name, mode_of(mode).bits()) }
    });
    match made {
        Ok(()) => {
            note(|| Step::Directory(path.to_owned()));
            match sync_directory_of(path) {
                // The parent need not be ours; one that cannot be read cannot be synced.
                Err(error) if error.errno == libc::EACCES => Ok(()),
                synced => synced,
            }
        }
        // Somebody was quicker.
        Err(_) if is_directory(path) => Ok(()),
        made => made,
    }
}

/// Files may be made in this directory, as far as can be said without making one.
pub fn may_write(dir: &Path) -> Result<(), Error> {
    fault(&"access")?;
    by_name(&"access", dir, &mut |name| {
        // SAFETY: the text lives for the call.
        unsafe { libc::access(name, libc::W_OK) }
    })
}

/// Sets who may do what with a file. Not for what has to outlive a power cut.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    by_name(&"chmod", path, &mut |name| {
        // SAFETY: the text lives for the call.
        unsafe { libc::chmod(name, mode_of(mode).bits()) }
    })
}

/// Gives a file to a group.
pub fn set_group(path: &Path, group: u32) -> Result<(), Error> {
    by_name(&"chown", path, &mut |name| {
        // SAFETY: the text lives for the call. The owner is left as it is.
        unsafe { libc::chown(name, libc::uid_t::MAX, group) }
    })
}

/// A file that was moved into its place, and its name, are on the disk when this returns: for what
/// may have failed on the way.
pub fn sync(path: &Path) -> Result<(), Error> {
    fault(&"fsync")?;
    let (file, _) = open_to_read(path).and_then(regular)?;
    sync_file(&file)?;
    note(|| Step::Sync(path.to_owned()));
    sync_directory_of(path)
}

/// The names beside this one are on the disk when this returns.
pub fn sync_directory_of(path: &Path) -> Result<(), Error> {
    fault(&"fsync")?;
    let parent = directory_of(path);
    let opened = open(parent, OFlag::O_RDONLY, 0);
    match opened.and_then(|dir| sync_file(&dir)) {
        // File systems that cannot sync a directory say so; the file itself is there.
        Err(error) if error.errno != libc::EINVAL => Err(Error {
            op: &"fsync",
            ..error
        }),
        _ => {
            note(|| Step::SyncDirectory(parent.to_owned()));
            Ok(())
        }
    }
}

fn sync_file(file: &File) -> Result<(), Error> {
    file.sync_all()
        .map_err(|error| Error::from_io(&"fsync", error))
}

fn set_mode_of(file: &File, mode: Mode) -> Result<(), Error> {
    fchmod(file, mode).map_err(|errno| Error::of(&"chmod", errno))
}

/// The file has exactly this content.
pub fn holds(path: &Path, bytes: &[u8]) -> bool {
    read_bounded(path, bytes.len()).is_ok_and(|present| present == bytes)
}

/// The name of the temporary file: same directory, so that rename stays on one file system. The
/// same at each run, so that what a power cut left behind goes with the next write.
fn beside(path: &Path) -> Option<PathBuf> {
    let (dir, name) = split(path);
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let name = [b".", name, b".new"].concat();
    Some(dir.join(OsStr::from_bytes(&name)))
}

/// The directory that a file lies in, by its name alone.
pub fn directory_of(path: &Path) -> &Path {
    split(path).0
}

/// A directory, and the name there.
fn split(path: &Path) -> (&Path, &[u8]) {
    let bytes = path.as_os_str().as_bytes();
    let (dir, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (&b"/"[..], bytes.get(1..)),
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (&b"."[..], Some(bytes)),
    };
    (Path::new(OsStr::from_bytes(dir)), name.unwrap_or_default())
}

fn write_new(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> Result<(), Error> {
    fault(&"write")?;
    let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let file = open(path, new, mode)?;
    note(|| Step::Create(path.to_owned()));
    set_mode_of(&file, mode_of(mode))?;
    write_all(file.as_fd(), bytes)?;
    note(|| Step::Write(path.to_owned(), bytes.to_vec()));
    if sync {
        sync_file(&file)?;
        note(|| Step::Sync(path.to_owned()));
    }
    Ok(())
}

/// Takes from others the right to read a file, if they have it. A missing one is as good.
pub fn close_to_others(path: &Path) -> Result<(), Error> {
    // What a link leads to is closed by whoever laid it.
    let how = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let (file, seen) = match open(path, how, 0) {
        Err(error) if error.errno == libc::ENOENT => return Ok(()),
        opened => regular(opened?)?,
    };
    let mode = Mode::from_bits_truncate(seen.st_mode);
    if !mode.intersects(Mode::S_IRWXG | Mode::S_IRWXO) {
        return Ok(());
    }
    set_mode_of(&file, mode & Mode::S_IRWXU)
}

/// No link, or one that root or this user has laid.
pub fn is_link_of_ours(path: &Path) -> bool {
    let Ok(seen) = look(path, Look::Itself) else {
        return true;
    };
    let me = nix::unistd::geteuid().as_raw();
    !is(&seen, SFlag::S_IFLNK) || seen.st_uid == 0 || seen.st_uid == me
}

/// Of a link that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// What it leads to.
    Through,
    /// The link.
    Itself,
}

/// What the system says of a file.
pub fn look(path: &Path, how: Look) -> Result<FileStat, Error> {
    let text = text_of(&"stat", path)?;
    let seen = match how {
        Look::Through => stat(text.as_c_str()),
        Look::Itself => lstat(text.as_c_str()),
    };
    seen.map_err(|errno| Error::of(&"stat", errno))
}

/// This is a file of that kind.
pub fn is(seen: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(seen.st_mode & SFlag::S_IFMT.bits()) == kind
}

/// It leads to something.
pub fn exists(path: &Path) -> bool {
    look(path, Look::Through).is_ok()
}

/// It leads to a directory.
pub fn is_directory(path: &Path) -> bool {
    look(path, Look::Through).is_ok_and(|seen| is(&seen, SFlag::S_IFDIR))
}

/// It leads to a regular file.
pub fn is_regular(path: &Path) -> bool {
    look(path, Look::Through).is_ok_and(|seen| is(&seen, SFlag::S_IFREG))
}

/// A link lies there.
pub fn is_link(path: &Path) -> bool {
    look(path, Look::Itself).is_ok_and(|seen| is(&seen, SFlag::S_IFLNK))
}

/// With what the system says of it. `EISDIR`: a directory; `EINVAL`: a pipe, a socket or a device.
fn regular(file: File) -> Result<(File, FileStat), Error> {
    let seen = fstat(&file).map_err(|errno| Error::of(&"stat", errno))?;
    if is(&seen, SFlag::S_IFREG) {
        return Ok((file, seen));
    }
    let errno = if is(&seen, SFlag::S_IFDIR) {
        libc::EISDIR
    } else {
        libc::EINVAL
    };
    Err(Error { op: &"open", errno })
}

/// A file with the number of this process, which holds it. It goes with the value.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    held: File,
    /// Why the number is not in it.
    pub trouble: Option<Error>,
}

/// Whose a pid file is.
#[derive(Debug)]
pub enum Claim {
    /// Ours, until the value is dropped.
    Ours(PidFile),
    /// Of another process that runs; what its file says.
    Theirs(String),
}

impl PidFile {
    /// Takes the file, made if it is missing, and writes our number into it. A link is not
    /// followed: whoever may write the directory could have any file cut.
    pub fn claim(path: &Path, mode: u32) -> Result<Claim, Error> {
        Self::claim_by(path, mode, &try_lock)
    }

    fn claim_by(
        path: &Path,
        mode: u32,
        lock: &dyn Fn(&File) -> Result<(), Error>,
    ) -> Result<Claim, Error> {
        /// Longer than any number.
        const NUMBER_MAX: usize = 32;
        /// Whoever ends just now takes the file with it; nobody starts and ends that often.
        const TRIES: usize = 16;
        for _ in 0..TRIES {
            let ours = open_own(path, OFlag::O_WRONLY | OFlag::O_CREAT, mode)?;
            // What is held for years is open for reading only: the disk may be made read-only.
            let file = open_own(path, OFlag::O_RDONLY, 0)?;
            let (held, locked) = match lock(&file) {
                // Across a network only what may be written can be locked.
                Err(error) if !error.would_block() => match lock(&ours) {
                    Ok(()) => (ours, Ok(())),
                    refused => (file, refused),
                },
                locked => (file, locked),
            };
            // Some file systems have no locks.
            if locked.is_err_and(Error::would_block) {
                let mut text = [0; NUMBER_MAX];
                let len = nix::unistd::read(&held, &mut text).unwrap_or(0);
                let text = String::from_utf8_lossy(text.get(..len).unwrap_or_default());
                return Ok(Claim::Theirs(text.into_owned()));
            }
            if !is_at(&held, path) {
                continue;
            }
            let mut claimed = Self {
                path: path.to_owned(),
                held,
                trouble: None,
            };
            // It says itself what it could not.
            let _ = claimed.write();
            return Ok(Claim::Ours(claimed));
        }
        Err(Error {
            op: &"lock",
            errno: libc::EAGAIN,
        })
    }

    /// Writes our number into it.
    pub fn write(&mut self) -> Result<(), Error> {
        let opened = open_own(&self.path, OFlag::O_WRONLY, 0);
        let written = opened.and_then(|ours| {
            let number = std::process::id().to_string();
            nix::unistd::ftruncate(&ours, 0)
                .and_then(|()| nix::unistd::write(&ours, number.as_bytes()))
                .map(drop)
                .map_err(|errno| Error::of(&"write", errno))
        });
        self.trouble = written.err();
        written
    }
}

fn open_own(path: &Path, how: OFlag, mode: u32) -> Result<File, Error> {
    fault(&"open")?;
    let opened = open(path, how | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW, mode);
    opened.and_then(regular).map(|(file, _)| file)
}

/// Holds the file for this process alone, as long as it is open.
fn try_lock(file: &File) -> Result<(), Error> {
    #[expect(
        deprecated,
        reason = "the new one cannot hold a file that has no locks"
    )]
    let locked = nix::fcntl::flock(file.as_raw_fd(), FlockArg::LockExclusiveNonblock);
    locked.map_err(|errno| Error::of(&"flock", errno))
}

/// The file has this name, still.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(named)) = (fstat(file), look(path, Look::Itself)) else {
        return false;
    };
    is_same(&file, &named)
}

/// Two looks at one file.
pub fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Before the lock goes, or it could be the file of whoever takes it next.
        if is_at(&self.held, &self.path) {
            let _ = unlink(&self.path);
        }
    }
}

/// One change of the disk. Tests replay them up to any of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// An empty file.
    Create(PathBuf),
    /// Its content.
    Write(PathBuf, Vec<u8>),
    /// Its content is on the disk.
    Sync(PathBuf),
    /// Another name.
    Rename(PathBuf, PathBuf),
    /// A second name.
    Link(PathBuf, PathBuf),
    /// One name less.
    Unlink(PathBuf),
    /// An empty directory.
    Directory(PathBuf),
    /// The names in a directory are on the disk.
    SyncDirectory(PathBuf),
}

#[cfg(test)]
thread_local! {
    /// What this thread changed, in order.
    pub(crate) static STEPS: std::cell::RefCell<Vec<Step>> = const {
        std::cell::RefCell::new(Vec::new())
    };
    /// Why this thread can change nothing; 0: it can.
    pub(crate) static FAULT: std::cell::Cell<i32> = const { std::cell::Cell::new(0) };
    /// Of which steps that is so; none named: of all.
    pub(crate) static FAULT_OF: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

fn note(step: impl FnOnce() -> Step) {
    #[cfg(test)]
    STEPS.with_borrow_mut(|steps| steps.push(step()));
    #[cfg(not(test))]
    drop(step);
}

fn fault(op: Op) -> Result<(), Error> {
    #[cfg(test)]
    let errno = match FAULT_OF.get() {
        "" => FAULT.get(),
        this if this == *op => FAULT.get(),
        _ => 0,
    };
    #[cfg(not(test))]
    let errno = 0;
    if errno == 0 {
        return Ok(());
    }
    Err(Error { op, errno })
}

/// Writes to standard error if that does not wait: one line of at most `PIPE_BUF` bytes.
pub fn write_stderr_now(line: &[u8]) -> bool {
    let stderr = standard(2);
    let mut poll = libc::pollfd {
        fd: stderr.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd that lives for the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLOUT != 0 && write_all(stderr, line).is_ok()
}

/// Standard input, output or error by number.
pub fn standard(number: RawFd) -> BorrowedFd<'static> {
    debug_assert!((0..=2).contains(&number), "a standard descriptor");
    // SAFETY: they are open from the start of the process to its end, and led elsewhere at most.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Writes all of it, by as few calls as there may be.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(Error::of(&"write", errno)),
        }
    }
    Ok(())
}

/// Standard input, output and error lead nowhere from now on.
pub fn detach_standard() -> Result<(), Error> {
    let null = open(Path::new("/dev/null"), OFlag::O_RDWR, 0).map_err(|error| Error {
        op: &"open /dev/null",
        ..error
    })?;
    for fd in 0..=2 {
        // SAFETY: both are descriptors of this process.
        check(&"dup2", unsafe { libc::dup2(null.as_raw_fd(), fd) })?;
    }
    Ok(())
}

/// Closes what whoever started us left open, standard input, output and error excepted. To be
/// called before anything is opened.
pub fn close_inherited() {
    close_all_but(-1);
}

/// Closes all but standard input, output, error and this one. What holds the others must not be
/// used any more.
pub(super) fn close_all_but(kept: RawFd) {
    const HIGHEST: i32 = 1023;
    for fd in (3..=HIGHEST).filter(|fd| *fd != kept) {
        // SAFETY: nobody uses them from here on.
        unsafe { libc::close(fd) };
    }
}

/// Memory of this process that is in RAM.
pub fn resident_bytes() -> Option<u64> {
    let text = system_text("/proc/self/statm")?;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("zt-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir(&dir).expect("a directory");
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const MODE: u32 = 0o644;

    fn ours(claim: Result<Claim, Error>) -> PidFile {
        match claim {
            Ok(Claim::Ours(file)) => file,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pid_file_that_goes_before_it_is_locked_is_made_again() {
        let scratch = Scratch::new("pid-race");
        let path = scratch.0.join("pid");
        let removals = Cell::new(2);
        let file = ours(PidFile::claim_by(&path, MODE, &|file| {
            // Whoever had it ends just now.
            if removals.get() > 0 {
                removals.set(removals.get() - 1);
                std::fs::remove_file(&path).expect("there");
            }
            try_lock(file)
        }));
        assert_eq!(removals.get(), 0);
        let number = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(number, std::process::id().to_string());
        assert!(matches!(
            PidFile::claim(&path, MODE),
            Ok(Claim::Theirs(text)) if text == number
        ));
        // What another has put there is not ours to take along.
        std::fs::remove_file(&path).expect("there");
        write_cache(&path, b"other", MODE).expect("written");
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn where_only_what_may_be_written_can_be_locked_that_is_locked() {
        let scratch = Scratch::new("pid-write");
        let path = scratch.0.join("pid");
        let lock = |file: &File| {
            let flags = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETFL).expect("flags");
            match flags & libc::O_ACCMODE {
                libc::O_RDONLY => Err(Error::of(&"flock", Errno::EBADF)),
                _ => try_lock(file),
            }
        };
        let held = ours(PidFile::claim_by(&path, MODE, &lock));
        let second = PidFile::claim_by(&path, MODE, &lock);
        assert!(matches!(second, Ok(Claim::Theirs(_))), "{second:?}");
        drop(held);
        ours(PidFile::claim_by(&path, MODE, &lock));
    }

    #[test]
    fn a_number_that_found_no_room_is_written_later() {
        let scratch = Scratch::new("pid-number");
        let path = scratch.0.join("pid");
        let mut file = ours(PidFile::claim(&path, MODE));
        FAULT.set(libc::ENOSPC);
        assert!(file.write().is_err() && file.trouble.is_some());
        FAULT.set(0);
        assert_eq!(file.write(), Ok(()));
        assert_eq!(file.trouble, None);
    }
}
