//! Files the tool reads, and those it writes: whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Outcome, Stop, told};
use crate::os::{self, file};

/// Longest file that is read: a world or its JSON.
const FILE_MAX_BYTES: u64 = 64 * 1024;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

fn explain(path: &Path, error: os::Error) -> Stop {
    let path = path.display();
    Stop::text(match error.errno {
        libc::EEXIST => format!("Error writing to {path}: it exists and is not replaced"),
        _ => format!("Error writing to {path}: {error}"),
    })
}

/// For files that are never replaced, an empty one included: it may be what a power cut left.
pub(super) fn must_not_exist(path: &Path) -> Outcome {
    let failed = |errno| Err(explain(path, os::Error { op: "stat", errno }));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => failed(os::Error::from_io("stat", error).errno),
        Ok(_) => failed(libc::EEXIST),
    }
}

/// Makes a file that only its owner may read. An existing one stays as it is.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Outcome {
    file::create_atomic(path, bytes, SECRET_MODE).map_err(|e| explain(path, e))
}

/// Makes a file for all to read. An existing one stays as it is.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Outcome {
    file::create_atomic(path, bytes, PUBLIC_MODE).map_err(|e| explain(path, e))
}

/// The text of a file, if that is what it holds.
pub(super) fn read_text(file: &OsStr) -> Option<Zeroizing<String>> {
    let bytes = read_bounded(Path::new(file)).ok()?;
    String::from_utf8(bytes).ok().map(Zeroizing::new)
}

pub(super) fn read_bounded(file: &Path) -> Result<Vec<u8>, Stop> {
    let fits = fs::metadata(file).is_ok_and(|found| found.len() <= FILE_MAX_BYTES);
    let read = if fits { fs::read(file).ok() } else { None };
    read.ok_or_else(|| cannot_read(file))
}

#[cold]
#[inline(never)]
pub(super) fn cannot_read(file: &Path) -> Stop {
    told("cannot read ", file.as_os_str(), "")
}

/// Puts a file for all to read in the place of `path`.
#[cfg(feature = "worlds")]
pub(super) fn replace_public(path: &Path, bytes: &[u8]) -> Outcome {
    file::write_atomic(path, bytes, PUBLIC_MODE).map_err(|e| explain(path, e))
}
