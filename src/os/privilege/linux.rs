//! To be somebody else than root, or a root who may do little (service 7.8).

use core::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::prctl;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{self, Gid, Uid};

use super::User;
use crate::os::file::{self, Look, is};
use crate::os::{Error, Op, check, shown};

/// By number: what the running service needs to change the network, to bind sockets to devices,
/// for ports below 1024. The first would let root use files of others.
const NAMED: [(u32, &str); 4] = [
    (1, "dac_override"),
    (10, "net_bind_service"),
    (12, "net_admin"),
    (13, "net_raw"),
];
const DAC_OVERRIDE: u32 = 1 << 1;
const NET_ADMIN: u32 = 1 << 12;
const KEPT: u32 = (1 << 10) | NET_ADMIN | (1 << 13);
/// Capabilities of Linux 6; a kernel that has more does not know what it never gave.
const HIGHEST: u32 = 40;
/// Below the home: `controller.d/network/ID/member` of other versions.
const DEPTH_MAX: u32 = 4;
/// How the names in a home begin, of all versions. Other files there are somebody's.
const NAMES: [&[u8]; 14] = [
    b"authtoken.",
    b"controller.",
    b"devicemap",
    b"iddb.d",
    b"identity.",
    b"local.conf",
    b"metrics",
    b"moons.d",
    b"networks.d",
    b"peers.",
    b"planet",
    b"root-topology",
    b"trustedpaths",
    b"zerotier-one.",
];

/// Why the process is still root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StillRoot {
    /// There is no such user.
    NoUser,
    /// The user may not use this, which the service needs.
    NotFor(PathBuf, Error),
    /// This may not be done here, as in a container that was given little.
    Refused(Error),
}

impl fmt::Display for StillRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser => f.write_str("there is no such user"),
            Self::NotFor(path, error) => write!(f, "{} for that user: {error}", shown(&path)),
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
    // It may be a link, which somebody with the rights for it has laid.
    let home = &file::follow(home).unwrap_or_else(|_| home.to_owned());
    let why = match user {
        None => StillRoot::NoUser,
        Some(user) => match prepare(user, groups, home, needed) {
            Ok(()) => {
                become_user(user, groups)?;
                return Ok(None);
            }
            Err(why) => why,
        },
    };
    let is_ours = all_owned_by(home, unistd::geteuid()).unwrap_or(false);
    // Where that is refused, the groups are what they were.
    let _ = set_groups(unistd::getegid().as_raw(), groups);
    narrow_bounds();
    keep(if is_ours { KEPT } else { KEPT | DAC_OVERRIDE })?;
    Ok(Some(why))
}

/// The same for somebody who was never root, and stays who they are: of the three capabilities
/// those that were given are left, and no program is given any.
pub fn keep_needed() -> Result<(), Error> {
    narrow_bounds();
    keep(KEPT)
}

pub(super) fn holds_net_admin() -> bool {
    capabilities().is_ok_and(|[effective, ..]| effective & NET_ADMIN != 0)
}

/// No program that this process starts, nor the process by starting one, gets more rights.
pub fn no_new_rights() -> Result<(), Error> {
    prctl::set_no_new_privs().map_err(|e| Error::of(&"prctl", e))
}

/// Tries what the user may do, and gives the user the files of the home.
fn prepare(user: User, groups: &[u32], home: &Path, needed: &[&Path]) -> Result<(), StillRoot> {
    let not_for = |path: &Path| {
        let path = path.to_owned();
        move |error| StillRoot::NotFor(path, error)
    };
    as_user(user, groups, || {
        for path in needed {
            let opened = file::open(path, OFlag::O_RDWR, 0);
            opened.map(drop).map_err(not_for(path))?;
        }
        // Whoever may not go there would not get far with the files.
        let above = file::directory_of(home);
        let seen = file::look(&above.join("."), Look::Through);
        seen.map(drop).map_err(not_for(above))
    })?;
    hand_over(home, user).map_err(StillRoot::Refused)
}

/// Does something with the rights of a user, and is root again.
fn as_user(
    user: User,
    groups: &[u32],
    work: impl FnOnce() -> Result<(), StillRoot>,
) -> Result<(), StillRoot> {
    let own_groups = present_groups().map_err(StillRoot::Refused)?;
    let (own_uid, own_gid) = (unistd::geteuid().as_raw(), unistd::getegid().as_raw());
    set_groups(user.gid, groups).map_err(StillRoot::Refused)?;
    let done = set_effective(SETRESGID, user.gid)
        .and_then(|()| set_effective(SETRESUID, user.uid))
        .and_then(|()| work());
    // In the order in which each step may still be done.
    set_effective(SETRESUID, own_uid)?;
    set_effective(SETRESGID, own_gid)?;
    set_group_list(&own_groups).map_err(StillRoot::Refused)?;
    done
}

fn set_effective(what: Call, id: u32) -> Result<(), StillRoot> {
    /// As it is.
    const SAME: u32 = u32::MAX;
    set_ids(what, [SAME, id, SAME]).map_err(StillRoot::Refused)
}

fn set_groups(first: u32, others: &[u32]) -> Result<(), Error> {
    let mut groups = vec![first];
    groups.extend_from_slice(others);
    set_group_list(&groups)
}

fn become_user(user: User, groups: &[u32]) -> Result<(), Error> {
    set_groups(user.gid, groups)?;
    set_ids(SETRESGID, [user.gid; 3])?;
    // Without this the capabilities would go with the user.
    prctl::set_keepcaps(true).map_err(|e| Error::of(&"prctl", e))?;
    // The right to do this goes with root.
    narrow_bounds();
    set_ids(SETRESUID, [user.uid; 3])?;
    keep(KEPT)?;
    prctl::set_keepcaps(false).map_err(|e| Error::of(&"prctl", e))
}

/// A call of the kernel, and its name.
type Call = (libc::c_long, Op);

#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
use libc::{
    SYS_setgroups as SYS_SETGROUPS, SYS_setresgid as SYS_SETRESGID, SYS_setresuid as SYS_SETRESUID,
};
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
use libc::{
    SYS_setgroups32 as SYS_SETGROUPS, SYS_setresgid32 as SYS_SETRESGID,
    SYS_setresuid32 as SYS_SETRESUID,
};

const SETRESGID: Call = (SYS_SETRESGID, &"setresgid");
const SETRESUID: Call = (SYS_SETRESUID, &"setresuid");

/// Sets who this process is: real, effective and saved. The kernel keeps that by thread, of which
/// there is one; the C library is ready for more, and large by that.
fn set_ids((call, op): Call, [real, effective, saved]: [u32; 3]) -> Result<(), Error> {
    // SAFETY: no memory is involved.
    done(op, unsafe { libc::syscall(call, real, effective, saved) })
}

/// The groups of this process.
fn present_groups() -> Result<Vec<u32>, Error> {
    // SAFETY: no memory is involved: this asks how many there are.
    let count = check(&"getgroups", unsafe {
        libc::getgroups(0, core::ptr::null_mut())
    })?;
    let mut all = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the list has so many entries and lives for the call.
    check(&"getgroups", unsafe {
        libc::getgroups(count, all.as_mut_ptr())
    })?;
    Ok(all)
}

/// Sets the groups.
fn set_group_list(groups: &[u32]) -> Result<(), Error> {
    // SAFETY: the list lives for the call and has that many entries.
    done(&"setgroups", unsafe {
        libc::syscall(SYS_SETGROUPS, groups.len(), groups.as_ptr())
    })
}

fn done(op: Op, result: libc::c_long) -> Result<(), Error> {
    if result < 0 {
        return Err(Error::last(op));
    }
    Ok(())
}

/// Nothing that is started later can be given more than is kept. Where this is not allowed, as in
/// a container, somebody else has set the bounds.
fn narrow_bounds() {
    for cap in (0..=HIGHEST).filter(|cap| *cap >= 32 || (KEPT >> cap) & 1 == 0) {
        // SAFETY: no memory is involved.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap)) };
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`: two sets of 32, and the process is this one (0).
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// Effective, permitted, inheritable; once for the lower half, once for the upper one.
fn capabilities() -> Result<[u32; 6], Error> {
    let mut sets = [0_u32; 6];
    let mut header = HEADER;
    // SAFETY: header and sets have the layout of that version and live for the call.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    done(&"capget", got)?;
    Ok(sets)
}

/// Keeps those of these capabilities that there are, and no other; none is passed on to programs:
/// ambient ones go with the inheritable ones.
fn keep(wanted: u32) -> Result<(), Error> {
    let [_, permitted, ..] = capabilities()?;
    let kept = wanted & permitted;
    let sets = [kept, kept, 0, 0, 0, 0];
    // It is for the kernel to write to, and an emulator asks for that before it looks.
    let mut header = HEADER;
    // SAFETY: as above.
    done(&"capset", unsafe {
        libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr())
    })
}

const FOLDER: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

const FILE: OFlag = OFlag::O_PATH
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Gives a user a home. Links stay whose they are, and so does what has a second name: whoever
/// could write there might have laid them.
fn hand_over(home: &Path, user: User) -> Result<(), Error> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    in_home(home, &mut |file, stat| {
        let is_theirs = stat.st_uid == user.uid && stat.st_gid == user.gid;
        let has_names = !is(stat, SFlag::S_IFDIR) && stat.st_nlink != 1;
        if is_theirs || has_names || is(stat, SFlag::S_IFLNK) {
            return Ok(());
        }
        let itself = AtFlags::AT_EMPTY_PATH;
        unistd::fchownat(file, c"", Some(uid), Some(gid), itself)
            .map_err(|e| Error::of(&"chown", e))
    })
}

/// Whether a user owns a home and all that is in it.
fn all_owned_by(home: &Path, user: Uid) -> Result<bool, Error> {
    let mut all = true;
    in_home(home, &mut |_, stat| {
        all &= stat.st_uid == user.as_raw() || is(stat, SFlag::S_IFLNK);
        Ok(())
    })?;
    Ok(all)
}

type Visit<'a> = dyn FnMut(BorrowedFd<'_>, &FileStat) -> Result<(), Error> + 'a;

/// Every file of a home, by a descriptor that is for nothing but this: between a look at a name
/// and the next one it may be another file's. Folders come after what is in them. Other file
/// systems are not entered.
fn in_home(home: &Path, visit: &mut Visit<'_>) -> Result<(), Error> {
    walk(file::open(home, FOLDER, 0)?.into(), 0, visit)
}

fn walk(folder: OwnedFd, depth: u32, visit: &mut Visit<'_>) -> Result<(), Error> {
    let own = fstat(&folder).map_err(|e| Error::of(&"fstat", e))?;
    let mut dir = Dir::from_fd(folder).map_err(|e| Error::of(&"opendir", e))?;
    let mut entries = Vec::new();
    for entry in dir.iter() {
        entries.push(entry.map_err(|e| Error::of(&"readdir", e))?);
    }
    for entry in entries {
        let name = entry.file_name();
        let is_known = NAMES.iter().any(|known| name.to_bytes().starts_with(known));
        if matches!(name.to_bytes(), b"." | b"..") || depth == 0 && !is_known {
            continue;
        }
        // What goes away meanwhile is nobody's.
        let Ok(file) = openat(&dir, name, FILE, Mode::empty()) else {
            continue;
        };
        let stat = fstat(&file).map_err(|e| Error::of(&"fstat", e))?;
        if !is(&stat, SFlag::S_IFDIR) {
            visit(file.as_fd(), &stat)?;
        } else if depth < DEPTH_MAX
            && stat.st_dev == own.st_dev
            && let Ok(inner) = openat(&dir, name, FOLDER, Mode::empty())
        {
            walk(inner, depth + 1, visit)?;
        }
    }
    visit(dir.as_fd(), &own)
}

/// What the process may do, in words, as the kernel tells it: the user, the capabilities, whether
/// it can get more, whether a filter is in force.
pub fn present() -> Option<String> {
    let status = file::system_text("/proc/self/status")?;
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
    for &(cap, name) in &NAMED {
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
