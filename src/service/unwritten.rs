//! What the home could not take: it holds in memory, and is tried again (service 3).
//!
//! Filled by what the owner commands, by configurations that networks send, and at the end by
//! records of peers. At most [`ENTRIES_MAX`] files with [`BYTES_MAX`] of content: of more, what
//! can be learnt again goes first, the oldest before the others.

use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::state::explain;
use crate::base::Mono;
use crate::os::{self, file};

const ENTRIES_MAX: usize = 64;
const BYTES_MAX: usize = 128 * 1024;

/// What the owner wrote, and perhaps keeps elsewhere.
const OF_THE_OWNER: &str = "local.conf";

/// Pause before the home is tried again; it doubles, because trying wears flash too.
const PAUSE_MIN_MS: u64 = 60_000;
const PAUSE_MAX_MS: u64 = 3_600_000;

/// What a power cut may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Nothing: on the disk at once.
    Precious,
    /// The last change: it can be learnt again.
    Cache,
}

/// What is to become of a file.
#[derive(Debug)]
pub(super) enum Wish {
    /// This content, with this mode.
    Put(Zeroizing<Vec<u8>>, u32),
    /// To be gone.
    Gone,
    /// Not known here.
    Past,
}

#[derive(Debug)]
struct Entry {
    name: String,
    class: Class,
    wish: Wish,
    error: os::Error,
    told: bool,
}

impl Entry {
    fn len(&self) -> usize {
        match &self.wish {
            Wish::Put(bytes, _) => bytes.len(),
            Wish::Gone | Wish::Past => 0,
        }
    }

    /// Ends for all files at once, and not by what is done here. Rights are those of directories,
    /// because files are replaced.
    fn is_of_the_disk(&self) -> bool {
        matches!(
            self.error.errno,
            libc::EROFS | libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EACCES | libc::EPERM
        )
    }

    /// The obstacle is gone, as far as can be seen without writing.
    fn may_be_over(&self, dir: &Path) -> bool {
        let is_full = matches!(self.error.errno, libc::ENOSPC | libc::EDQUOT | libc::EIO);
        !is_full && file::may_write(dir).is_ok()
    }

    /// What is said once.
    fn cause(&self) -> (i32, &str) {
        let name = if self.is_of_the_disk() {
            ""
        } else {
            &self.name
        };
        (self.error.errno, name)
    }
}

/// The files that are not as they should be, oldest first.
#[derive(Debug)]
pub(super) struct Unwritten {
    entries: Vec<Entry>,
    /// Somebody was told of a trouble that lasts.
    told: bool,
    next: Option<Mono>,
    pause_ms: u64,
}

impl Unwritten {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            told: false,
            next: None,
            pause_ms: PAUSE_MIN_MS,
        }
    }

    /// Does what is wished, and keeps it if it fails. What it failed for before is forgotten.
    pub(super) fn write(
        &mut self,
        dir: &Path,
        name: &str,
        class: Class,
        wish: Wish,
    ) -> Result<(), os::Error> {
        match fulfil(dir, name, class, &wish) {
            Ok(written) => {
                self.forget(name);
                if written {
                    self.again(dir, true);
                }
                Ok(())
            }
            Err(error) => {
                self.keep(Entry {
                    name: name.to_owned(),
                    class,
                    wish,
                    error,
                    told: false,
                });
                Err(error)
            }
        }
    }

    /// A file failed that is made elsewhere.
    pub(super) fn note(&mut self, name: &str, error: os::Error) {
        self.keep(Entry {
            name: name.to_owned(),
            class: Class::Cache,
            wish: Wish::Past,
            error,
            told: false,
        });
    }

    /// The file is as it should be.
    pub(super) fn forget(&mut self, name: &str) {
        self.entries.retain(|e| e.name != name);
    }

    /// What the file would hold.
    pub(super) fn wish(&self, name: &str) -> Option<&Wish> {
        let entry = self.entries.iter().find(|e| e.name == name);
        entry.map(|e| &e.wish)
    }

    fn keep(&mut self, mut new: Entry) {
        let told = |e: &Entry| e.told && e.cause() == new.cause();
        new.told = told(&new) || self.entries.iter().any(told);
        self.forget(&new.name);
        let bytes = |entries: &[Entry]| entries.iter().map(Entry::len).sum::<usize>();
        while self.entries.len() >= ENTRIES_MAX
            || bytes(&self.entries).saturating_add(new.len()) > BYTES_MAX
        {
            match self.entries.iter().position(|e| e.class == Class::Cache) {
                Some(oldest) => drop(self.entries.remove(oldest)),
                None if self.entries.len() < ENTRIES_MAX => {
                    // The owner hears of it all the same.
                    new.wish = Wish::Past;
                    break;
                }
                None => return,
            }
        }
        self.entries.push(new);
    }

    /// Tries all that failed. `written`: the disk has just taken something.
    pub(super) fn again(&mut self, dir: &Path, mut written: bool) {
        let (past, known): (Vec<_>, Vec<_>) = core::mem::take(&mut self.entries)
            .into_iter()
            .partition(|e| matches!(e.wish, Wish::Past));
        for mut entry in known {
            match fulfil(dir, &entry.name, entry.class, &entry.wish) {
                Ok(done) => written |= done,
                Err(error) => {
                    entry.told &= entry.error.errno == error.errno;
                    entry.error = error;
                    self.keep(entry);
                }
            }
        }
        // Whoever made those is told when the disk is back.
        for entry in past {
            if !(entry.is_of_the_disk() && (written || entry.may_be_over(dir))) {
                self.keep(entry);
            }
        }
    }

    /// What is wrong at present, if anything is.
    pub(super) fn trouble(&self, dir: &Path) -> Option<String> {
        let first = self.entries.first()?;
        let text = explain(&dir.join(&first.name), &first.error);
        Some(match self.entries.len() {
            1 => text,
            n => format!("{text}, and {} more files", n.saturating_sub(1)),
        })
    }

    /// A trouble that nobody was told of.
    pub(super) fn take_trouble(&mut self, dir: &Path) -> Option<String> {
        let first = self.entries.iter().find(|e| !e.told)?;
        let text = explain(&dir.join(&first.name), &first.error);
        let (errno, name) = first.cause();
        let name = name.to_owned();
        for entry in &mut self.entries {
            entry.told |= entry.cause() == (errno, &name);
        }
        self.told = true;
        Some(text)
    }

    /// All is stored of which somebody was told that it is not.
    pub(super) fn take_relief(&mut self) -> bool {
        self.entries.is_empty() && core::mem::take(&mut self.told)
    }

    /// When the disk is to be tried again.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.next
    }

    /// Tries again if it is time, and settles when next.
    pub(super) fn work(&mut self, dir: &Path, now: Mono) {
        if self.next.is_some_and(|at| at <= now) {
            self.again(dir, false);
            self.next = None;
            self.pause_ms = self.pause_ms.saturating_mul(2).min(PAUSE_MAX_MS);
        }
        // What lies in the way of one file stays until its owner acts: that is no reason to try.
        let waits = self.entries.iter().any(Entry::is_of_the_disk);
        if !waits {
            self.next = None;
            self.pause_ms = PAUSE_MIN_MS;
        } else if self.next.is_none() {
            self.next = Some(now.after(self.pause_ms));
        }
    }
}

/// `true`: something was written.
fn fulfil(dir: &Path, name: &str, class: Class, wish: &Wish) -> Result<bool, os::Error> {
    let path = place(dir, name);
    match (wish, class) {
        (Wish::Put(bytes, _), _) if file::holds(&path, bytes) => Ok(false),
        (Wish::Put(bytes, mode), Class::Precious) => {
            make_room(&path)?;
            file::write_atomic(&path, bytes, *mode).map(|()| true)
        }
        (Wish::Put(bytes, mode), Class::Cache) => {
            make_room(&path)?;
            file::write_cache(&path, bytes, *mode).map(|()| true)
        }
        (Wish::Gone, Class::Precious) => file::remove_atomic(&path),
        (Wish::Gone, Class::Cache) => file::remove_cache(&path),
        (Wish::Past, _) => Ok(false),
    }
}

/// Where the file is: packages lay a link to their own settings there, which is to stay.
fn place(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    if name == OF_THE_OWNER && is_link(&path) {
        // One that leads nowhere is replaced.
        return fs::canonicalize(&path).unwrap_or(path);
    }
    path
}

fn make_room(path: &Path) -> Result<(), os::Error> {
    const DIRECTORY_MODE: u32 = 0o755;
    path.parent()
        .map_or(Ok(()), |dir| file::make_directories(dir, DIRECTORY_MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a directory in the place of each of these files, which fails for root too.
    struct Blocked(PathBuf);

    impl Blocked {
        fn new(test: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("zt-{}-{test}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir(&dir).expect("a directory");
            Self(dir)
        }

        fn block(&self, name: &str) {
            fs::create_dir(self.0.join(name)).expect("a directory");
        }

        fn free(&self, name: &str) {
            fs::remove_dir(self.0.join(name)).expect("empty");
        }

        fn get(&self, name: &str) -> Option<Vec<u8>> {
            fs::read(self.0.join(name)).ok()
        }
    }

    impl Drop for Blocked {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn put(bytes: &[u8]) -> Wish {
        Wish::Put(Zeroizing::new(bytes.to_vec()), 0o644)
    }

    #[test]
    fn one_good_write_does_not_hide_a_file_that_is_not_written() {
        let dir = Blocked::new("unwritten-hide");
        dir.block("a");
        let mut unwritten = Unwritten::new();
        let write = |unwritten: &mut Unwritten, name: &str, bytes: &[u8]| {
            unwritten.write(&dir.0, name, Class::Precious, put(bytes))
        };
        assert!(write(&mut unwritten, "a", b"1").is_err());
        let said = unwritten.take_trouble(&dir.0);
        assert!(said.is_some_and(|text| text.contains("/a: ")));
        assert!(write(&mut unwritten, "b", b"1").is_ok());
        assert!(unwritten.trouble(&dir.0).is_some());
        assert!(unwritten.take_trouble(&dir.0).is_none(), "said already");
        assert!(!unwritten.take_relief());
        dir.free("a");
        assert!(write(&mut unwritten, "b", b"2").is_ok());
        assert_eq!(dir.get("a").as_deref(), Some(&b"1"[..]));
        assert!(unwritten.trouble(&dir.0).is_none());
        assert!(unwritten.take_relief() && !unwritten.take_relief());
    }

    #[test]
    fn the_last_wish_counts() {
        let dir = Blocked::new("unwritten-last");
        dir.block("a");
        let mut unwritten = Unwritten::new();
        for bytes in [b"1", b"2"] {
            let failed = unwritten.write(&dir.0, "a", Class::Precious, put(bytes));
            assert!(failed.is_err());
        }
        dir.free("a");
        unwritten.again(&dir.0, false);
        assert_eq!(dir.get("a").as_deref(), Some(&b"2"[..]));
        dir.block("b");
        assert!(
            unwritten
                .write(&dir.0, "b", Class::Cache, put(b"1"))
                .is_err()
        );
        dir.free("b");
        assert!(
            unwritten
                .write(&dir.0, "b", Class::Cache, Wish::Gone)
                .is_ok()
        );
        unwritten.again(&dir.0, false);
        assert_eq!(dir.get("b"), None);
    }

    #[test]
    fn a_link_of_the_owner_stays_and_others_are_replaced() {
        let dir = Blocked::new("unwritten-link");
        let mut unwritten = Unwritten::new();
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(dir.0.join(to), dir.0.join(name)).expect("a link");
        };
        let is_link = |name: &str| dir.0.join(name).is_symlink();
        dir.block("etc");
        for name in ["etc/settings", "etc/planet"] {
            file::write_cache(&dir.0.join(name), b"old", 0o644).expect("written");
        }
        link("etc/settings", "local.conf");
        link("etc/planet", "planet");
        for name in ["local.conf", "planet"] {
            let written = unwritten.write(&dir.0, name, Class::Precious, put(b"new"));
            assert_eq!(written, Ok(()), "{name}");
            assert_eq!(dir.get(name).as_deref(), Some(&b"new"[..]), "{name}");
        }
        assert!(is_link("local.conf") && !is_link("planet"));
        assert_eq!(dir.get("etc/settings").as_deref(), Some(&b"new"[..]));
        assert_eq!(dir.get("etc/planet").as_deref(), Some(&b"old"[..]));
        fs::remove_file(dir.0.join("etc/settings")).expect("removed");
        let written = unwritten.write(&dir.0, "local.conf", Class::Precious, put(b"3"));
        assert_eq!(written, Ok(()));
        assert!(!is_link("local.conf"));
    }

    fn failing(name: usize, class: Class, len: usize, errno: i32) -> Entry {
        Entry {
            name: name.to_string(),
            class,
            wish: put(&vec![0; len]),
            error: os::Error { op: "write", errno },
            told: false,
        }
    }

    #[test]
    fn a_full_disk_is_said_once_for_all_files() {
        let mut unwritten = Unwritten::new();
        let dir = Path::new("home");
        for n in 0..5 {
            unwritten.keep(failing(n, Class::Cache, 1, libc::ENOSPC));
        }
        let said = unwritten.take_trouble(dir).expect("a trouble");
        assert!(said.contains("home/0") && said.contains("ENOSPC"), "{said}");
        unwritten.keep(failing(5, Class::Cache, 1, libc::ENOSPC));
        assert_eq!(unwritten.take_trouble(dir), None);
        unwritten.keep(failing(6, Class::Cache, 1, libc::EISDIR));
        unwritten.keep(failing(7, Class::Cache, 1, libc::EISDIR));
        assert!(
            unwritten
                .take_trouble(dir)
                .is_some_and(|t| t.contains("home/6"))
        );
        assert!(
            unwritten
                .take_trouble(dir)
                .is_some_and(|t| t.contains("home/7"))
        );
        assert_eq!(unwritten.take_trouble(dir), None);
    }

    #[test]
    fn what_is_made_elsewhere_may_be_possible_again_with_the_disk() {
        let dir = Blocked::new("unwritten-elsewhere");
        let mut unwritten = Unwritten::new();
        let note = |unwritten: &mut Unwritten, errno| {
            unwritten.note("socket", os::Error { op: "bind", errno });
            assert!(unwritten.take_trouble(&dir.0).is_some());
            unwritten.again(&dir.0, false);
        };
        // The directory can be written, as can be seen.
        note(&mut unwritten, libc::EROFS);
        assert!(unwritten.take_relief());
        // Whether there is room cannot.
        note(&mut unwritten, libc::ENOSPC);
        assert!(!unwritten.take_relief());
        let written = unwritten.write(&dir.0, "a", Class::Cache, put(b"1"));
        assert_eq!(written, Ok(()));
        assert!(unwritten.take_relief());
        // That has nothing to do with the disk.
        note(&mut unwritten, libc::EISDIR);
        let written = unwritten.write(&dir.0, "a", Class::Cache, put(b"2"));
        assert_eq!(written, Ok(()));
        assert!(!unwritten.take_relief() && unwritten.trouble(&dir.0).is_some());
    }

    #[test]
    fn what_can_be_learnt_again_goes_first() {
        let mut unwritten = Unwritten::new();
        let len = BYTES_MAX / 8;
        for n in 0..100 {
            let class = if n % 10 == 0 {
                Class::Precious
            } else {
                Class::Cache
            };
            unwritten.keep(failing(n, class, len, libc::EROFS));
            assert!(unwritten.entries.len() <= ENTRIES_MAX);
            assert!(unwritten.entries.iter().map(Entry::len).sum::<usize>() <= BYTES_MAX);
        }
        for n in [0, 10, 20, 30, 40, 50, 60, 70] {
            let wish = unwritten.wish(&n.to_string());
            assert!(matches!(wish, Some(Wish::Put(..))), "{n}");
        }
        // No room for its content; that it is not stored is known all the same.
        assert!(matches!(unwritten.wish("90"), Some(Wish::Past)));
        for n in 100..300 {
            unwritten.keep(failing(n, Class::Precious, 0, libc::EROFS));
        }
        assert_eq!(unwritten.entries.len(), ENTRIES_MAX);
    }

    #[test]
    fn the_disk_is_tried_again_ever_more_rarely_and_an_obstacle_is_not() {
        let dir = Blocked::new("unwritten-pauses");
        let mut unwritten = Unwritten::new();
        let mut now = Mono::from_ms(1 << 40);
        dir.block("a");
        let write = |unwritten: &mut Unwritten, name: &str| {
            unwritten.write(&dir.0, name, Class::Precious, put(b"1"))
        };
        assert!(write(&mut unwritten, "a").is_err());
        unwritten.work(&dir.0, now);
        assert_eq!(unwritten.next_deadline(), None);
        file::FAULT.set(libc::ENOSPC);
        assert!(write(&mut unwritten, "b").is_err());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            unwritten.work(&dir.0, now);
            let next = unwritten.next_deadline().expect("a deadline");
            pauses.push(next.since(now) / 1000);
            now = next;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        file::FAULT.set(0);
        unwritten.work(&dir.0, now);
        assert_eq!(unwritten.next_deadline(), None);
        assert_eq!(dir.get("b").as_deref(), Some(&b"1"[..]));
    }
}
