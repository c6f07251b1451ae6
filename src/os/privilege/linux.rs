//! To be somebody else than root, or a root who may do little (service 7.8).

use core::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::prctl;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{self, Gid, Uid};

use super::User;
use crate::os::Error;

/// By number: what the running service needs to change the network, to bind sockets to devices,
/// for ports below 1024. The first would let root use files of others.
const NAMED: [(u32, &str); 4] = [
    (1, "dac_override"),
    (10, "net_bind_service"),
    (12, "net_admin"),
    (13, "net_raw"),
];
const DAC_OVERRIDE: u32 = 1 << 1;
const KEPT: u32 = (1 << 10) | (1 << 12) | (1 << 13);
/// Capabilities of Linux 6; a kernel that has more does not know what it never gave.
const HIGHEST: u32 = 40;
/// A home has two floors.
const DEPTH_MAX: u32 = 4;

/// Why the process is still root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StillRoot {
    /// There is no such user.
    NoUser,
    /// The user may not use this, which the service needs.
    NotFor(PathBuf),
    /// This may not be done here, as in a container that was given little.
    Refused(Error),
}

impl fmt::Display for StillRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser => f.write_str("there is no such user"),
            Self::NotFor(path) => write!(f, "{} is not for that user", path.display()),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// Gives up for good what the running service does not need. The process becomes `user`, who
/// then owns all files in `home`, if that user may use `home` and everything in `needed`; else it
/// stays root, and gets to know why. Either way three capabilities are left of those that there
/// were, and none that a program could be given. A root who does not own all files in `home` may
/// use files of others as well. `groups` are those beside the user's own.
///
/// An error: the process may be half way. End it.
pub fn give_up(
    user: Option<User>,
    groups: &[u32],
    home: &Path,
    needed: &[&Path],
) -> Result<Option<StillRoot>, Error> {
    let why = match user {
        None => StillRoot::NoUser,
        Some(user) => match prepare(user, home, needed) {
            Ok(()) => {
                become_user(user, groups)?;
                return Ok(None);
            }
            Err(why) => why,
        },
    };
    let is_ours = all_owned_by(home, unistd::geteuid()).unwrap_or(false);
    // Where that is refused, the groups are what they were.
    let _ = set_groups(unistd::getegid(), groups);
    keep(if is_ours { KEPT } else { KEPT | DAC_OVERRIDE })?;
    Ok(Some(why))
}

/// No program that this process starts, nor the process by starting one, gets more rights.
pub fn no_new_rights() -> Result<(), Error> {
    prctl::set_no_new_privs().map_err(|e| Error::of("prctl", e))
}

fn refused(op: &'static str) -> impl Fn(Errno) -> StillRoot {
    move |errno| StillRoot::Refused(Error::of(op, errno))
}

/// Tries what the user may do, and gives the user the files of the home.
fn prepare(user: User, home: &Path, needed: &[&Path]) -> Result<(), StillRoot> {
    as_user(user, || Ok(()))?;
    for path in needed {
        as_user(user, || {
            let opened = open(*path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
            opened.map(drop).map_err(|_| StillRoot::NotFor(path.into()))
        })?;
    }
    // Whoever may not go there would not get far with the files.
    if let Some(above) = home.parent() {
        let inside = above.join(".");
        as_user(user, || {
            let seen = nix::sys::stat::stat(&inside);
            seen.map(drop).map_err(|_| StillRoot::NotFor(above.into()))
        })?;
    }
    hand_over(home, user).map_err(StillRoot::Refused)
}

/// Does something with the rights of a user, and is root again.
fn as_user(user: User, work: impl FnOnce() -> Result<(), StillRoot>) -> Result<(), StillRoot> {
    let groups = unistd::getgroups().map_err(refused("getgroups"))?;
    let (own_uid, own_gid) = (unistd::geteuid(), unistd::getegid());
    set_groups(Gid::from_raw(user.gid), &[]).map_err(StillRoot::Refused)?;
    let done = unistd::setegid(Gid::from_raw(user.gid))
        .and_then(|()| unistd::seteuid(Uid::from_raw(user.uid)))
        .map_err(refused("seteuid"))
        .and_then(|()| work());
    // In the order in which each step may still be done.
    unistd::seteuid(own_uid).map_err(refused("seteuid"))?;
    unistd::setegid(own_gid).map_err(refused("setegid"))?;
    unistd::setgroups(&groups).map_err(refused("setgroups"))?;
    done
}

fn set_groups(first: Gid, others: &[u32]) -> Result<(), Error> {
    let others = others.iter().map(|gid| Gid::from_raw(*gid));
    let groups: Vec<Gid> = core::iter::once(first).chain(others).collect();
    unistd::setgroups(&groups).map_err(|e| Error::of("setgroups", e))
}

fn become_user(user: User, groups: &[u32]) -> Result<(), Error> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_groups(gid, groups)?;
    unistd::setresgid(gid, gid, gid).map_err(|e| Error::of("setresgid", e))?;
    // Without this the capabilities would go with the user.
    prctl::set_keepcaps(true).map_err(|e| Error::of("prctl", e))?;
    narrow_bounds();
    unistd::setresuid(uid, uid, uid).map_err(|e| Error::of("setresuid", e))?;
    keep(KEPT)?;
    prctl::set_keepcaps(false).map_err(|e| Error::of("prctl", e))
}

/// Nothing that is started later can be given more than is kept. Where this is not allowed, as in
/// a container, somebody else has set the bounds.
fn narrow_bounds() {
    for cap in (0..=HIGHEST).filter(|cap| *cap >= 32 || (KEPT >> cap) & 1 == 0) {
        // SAFETY: no memory is involved.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0, 0, 0) };
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`: two sets of 32, and the process is this one (0).
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// Keeps those of these capabilities that there are, and no other; none is passed on to programs.
fn keep(wanted: u32) -> Result<(), Error> {
    narrow_bounds();
    // Effective, permitted, inheritable; once for the lower half, once for the upper one.
    let mut sets = [0_u32; 6];
    let mut header = HEADER;
    // SAFETY: header and sets have the layout of that version and live for the call.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    if got < 0 {
        return Err(Error::last("capget"));
    }
    let [_, permitted, ..] = sets;
    let kept = wanted & permitted;
    let sets = [kept, kept, 0, 0, 0, 0];
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), sets.as_ptr()) };
    if set < 0 {
        return Err(Error::last("capset"));
    }
    Ok(())
}

const FOLDER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Gives a user a directory and what is in it. Links are not followed, and what has other names
/// than that in the directory is left: whoever could write there might have laid them.
fn hand_over(dir: &Path, user: User) -> Result<(), Error> {
    let fd = open(dir, FOLDER, Mode::empty()).map_err(|e| Error::of("open", e))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let is_theirs = |at: &FileStat| at.st_uid == user.uid && at.st_gid == user.gid;
    walk(fd, DEPTH_MAX, &mut |at| {
        let done = match at {
            Found::Folder(fd, stat) if !is_theirs(stat) => unistd::fchown(fd, Some(uid), Some(gid)),
            Found::File(fd, name, stat) if !is_theirs(stat) && stat.st_nlink == 1 => {
                let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
                unistd::fchownat(fd, name, Some(uid), Some(gid), flags)
            }
            Found::Folder(..) | Found::File(..) => Ok(()),
        };
        done.map_err(|e| Error::of("chown", e))
    })
}

/// Whether a user owns a directory and all that is in it.
fn all_owned_by(dir: &Path, user: Uid) -> Result<bool, Error> {
    let fd = open(dir, FOLDER, Mode::empty()).map_err(|e| Error::of("open", e))?;
    let mut all = true;
    walk(fd, DEPTH_MAX, &mut |found| {
        let (Found::Folder(_, stat) | Found::File(_, _, stat)) = found;
        all &= stat.st_uid == user.as_raw();
        Ok(())
    })?;
    Ok(all)
}

enum Found<'a> {
    Folder(BorrowedFd<'a>, &'a FileStat),
    /// A name in a folder.
    File(BorrowedFd<'a>, &'a core::ffi::CStr, &'a FileStat),
}

fn walk(
    folder: OwnedFd,
    depth: u32,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let stat = fstat(&folder).map_err(|e| Error::of("fstat", e))?;
    visit(Found::Folder(folder.as_fd(), &stat))?;
    let mut dir = Dir::from_fd(folder).map_err(|e| Error::of("opendir", e))?;
    let entries: Vec<_> = dir.iter().filter_map(Result::ok).collect();
    for entry in entries {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // What goes away meanwhile is nobody's.
        let Ok(stat) = fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue;
        };
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) != SFlag::S_IFDIR {
            visit(Found::File(dir.as_fd(), name, &stat))?;
        } else if depth > 0
            && let Ok(inner) = openat(&dir, name, FOLDER, Mode::empty())
        {
            walk(inner, depth - 1, visit)?;
        }
    }
    Ok(())
}

/// What the process may do, in words, as the kernel tells it: the user, the capabilities, whether
/// it can get more, whether a filter is in force.
pub fn present() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| {
            line.split_ascii_whitespace()
                .nth(1)
                .or(line.split_ascii_whitespace().next())
        })
    };
    let uid = field("Uid:")?;
    let held = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
    let mut text = format!("user {uid}, capabilities");
    let mut rest = held;
    for (cap, name) in NAMED {
        if held & (1 << cap) != 0 {
            text.push(' ');
            text.push_str(name);
            rest &= !(1 << cap);
        }
    }
    match (held, rest) {
        (0, _) => text.push_str(" none"),
        (_, 0) => {}
        (_, rest) => text.push_str(&format!(" and {} more", rest.count_ones())),
    }
    let is = |key| field(key).is_some_and(|value| value != "0");
    text.push_str(if is("NoNewPrivs:") {
        ", no new ones"
    } else {
        ""
    });
    text.push_str(if is("Seccomp:") {
        ", calls filtered"
    } else {
        ""
    });
    Some(text)
}
