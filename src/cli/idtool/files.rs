//! Files the tool reads, and those it writes: whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longest file that is read: a world or its JSON.
const FILE_MAX_BYTES: u64 = 64 * 1024;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;

fn explain(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!(
                "Error writing to {}: it exists and is not replaced",
                path.display()
            )
        }
        _ => format!("Error writing to {}: {error}", path.display()),
    }
}

/// For files that are never replaced, an empty one included: it may be what a power cut left.
pub(super) fn must_not_exist(path: &Path) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(explain(path, &error)),
        Ok(_) => Err(explain(path, &io::ErrorKind::AlreadyExists.into())),
    }
}

/// Makes a file that only its owner may read. An existing one stays as it is.
pub(super) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), String> {
    create(path, bytes, SECRET_MODE).map_err(|e| explain(path, &e))
}

/// Makes a file for all to read. An existing one stays as it is.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), String> {
    create(path, bytes, PUBLIC_MODE).map_err(|e| explain(path, &e))
}

pub(super) fn read_bounded(file: &Path) -> Result<Vec<u8>, String> {
    let text = || format!("cannot read {}", file.display());
    if fs::metadata(file).map_err(|_| text())?.len() > FILE_MAX_BYTES {
        return Err(text());
    }
    fs::read(file).map_err(|_| text())
}

/// Puts a file for all to read in the place of `path`.
#[cfg(feature = "worlds")]
pub(super) fn replace_public(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let new = new_name(path);
    let written = write_new(&new, bytes, PUBLIC_MODE)
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| sync_directory(path));
    written.map_err(|e| {
        let _ = fs::remove_file(&new);
        explain(path, &e)
    })
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = new_name(path);
    // A link refuses to replace; where there are none, looking first has to do.
    let placed = write_new(&new, bytes, mode).and_then(|()| match fs::hard_link(&new, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(path) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(&new, path),
            }
        }
        outcome => outcome,
    });
    let _ = fs::remove_file(&new);
    placed.and_then(|()| sync_directory(path))
}

/// `.<name>.new` beside `path`.
fn new_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // Left by a power cut, perhaps with another mode.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
