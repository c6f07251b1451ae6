//! Files the tool reads, and those it writes: whole or not at all.

use std::ffi::OsStr;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Outcome, Stop, told};
use crate::os::file::{self, Look};
use crate::os::{self, shown};

/// Longest file that is read: a world or its JSON.
const FILE_MAX_BYTES: usize = 64 * 1024;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

fn explain(path: &Path, error: os::Error) -> Stop {
    let path = shown(&path);
    Stop::text(match error.errno {
        libc::EEXIST => format!("Error writing to {path}: it exists and is not replaced"),
        _ => format!("Error writing to {path}: {error}"),
    })
}

/// For files that are never replaced, an empty one included: it may be what a power cut left.
pub(super) fn must_not_exist(path: &Path) -> Outcome {
    let failed = |errno| Err(explain(path, os::Error { op: &"stat", errno }));
    match file::look(path, Look::Itself) {
        Err(error) if error.errno == libc::ENOENT => Ok(()),
        Err(error) => failed(error.errno),
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

pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, Stop> {
    file::read_any(path, FILE_MAX_BYTES).map_err(|_| cannot_read(path))
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
