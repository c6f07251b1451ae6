//! What the home could not take: it holds in memory, and is tried again (service 3).
//!
//! Filled by what the owner commands, by configurations that networks send, and at the end by
//! records of peers. Bounds: [`Limits::unwritten_files`] with [`Limits::unwritten_bytes`] of
//! content. Of more, what can be learnt again goes first, the oldest before the others; what was
//! given up is counted in [`Unwritten::trouble`].

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::state::explain;
use crate::base::{Limits, Mono};
use crate::os::{self, file};

/// What the owner wrote, and perhaps keeps elsewhere.
const OF_THE_OWNER: &str = "local.conf";
/// What fails if a link leads nowhere.
const FOLLOW: os::Op = &"follow the link";

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
    /// Not known here: whoever makes the file is told when to try again, and says when it is made.
    Past,
}

/// Why what failed is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Occasion {
    /// The disk has just taken something.
    Written,
    /// Some time is over.
    Pause,
    /// The owner says so, or it is the last time. What lies in the way of one file may be gone.
    Asked,
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

    /// Ends for all files at once, and not by what is done here. Whether a file can be made is a
    /// right of its directory; what cannot be moved to its place then meets an obstacle there,
    /// and each try of that wears flash.
    fn is_of_the_disk(&self) -> bool {
        match self.error.errno {
            libc::EROFS | libc::ENOSPC | libc::EDQUOT | libc::EIO => true,
            libc::EACCES | libc::EPERM => !matches!(*self.error.op, "rename" | "chmod"),
            // Nothing is mounted where the owner's link leads.
            libc::ENOENT => self.error.op == FOLLOW,
            _ => false,
        }
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
    files_max: usize,
    bytes_max: usize,
    /// Wishes that found no room since all was well.
    given_up: u32,
    /// What is made elsewhere may be possible now.
    chance: bool,
}

impl Unwritten {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            entries: Vec::new(),
            told: false,
            next: None,
            pause_ms: PAUSE_MIN_MS,
            files_max: limits.unwritten_files,
            bytes_max: limits.unwritten_bytes,
            given_up: 0,
            chance: false,
        }
    }

    /// From now on this much is held.
    pub(super) const fn set_limits(&mut self, limits: &Limits) {
        self.files_max = limits.unwritten_files;
        self.bytes_max = limits.unwritten_bytes;
    }

    /// Does what is wished, and keeps it if it fails. What it failed for before is forgotten.
    pub(super) fn write(
        &mut self,
        dir: &Path,
        name: &str,
        class: Class,
        wish: Wish,
    ) -> Result<(), os::Error> {
        // What a power cut may not take is still not on the disk: that holds for what replaces it.
        let owed = self.class(name) == Some(Class::Precious);
        let class = if owed { Class::Precious } else { class };
        match fulfil(dir, name, class, &wish, owed) {
            Ok(written) => {
                self.forget(name);
                if written {
                    self.again(dir, Occasion::Written);
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

    /// A file failed that is made elsewhere. `true`: that is new.
    pub(super) fn note(&mut self, name: &str, error: os::Error) -> bool {
        let known = |e: &Entry| e.name == name && e.error.errno == error.errno;
        let is_new = !self.entries.iter().any(known);
        self.keep(Entry {
            name: name.to_owned(),
            class: Class::Precious,
            wish: Wish::Past,
            error,
            told: false,
        });
        is_new
    }

    /// The file is as it should be.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(n) = self.entries.iter().position(|e| e.name == name) {
            self.entries.remove(n);
        }
    }

    /// What the file would hold.
    pub(super) fn wish(&self, name: &str) -> Option<&Wish> {
        let entry = self.entries.iter().find(|e| e.name == name);
        entry.map(|e| &e.wish)
    }

    fn class(&self, name: &str) -> Option<Class> {
        let entry = self.entries.iter().find(|e| e.name == name);
        entry.map(|e| e.class)
    }

    fn keep(&mut self, mut new: Entry) {
        new.told = self.was_told(&new);
        let before = self.entries.iter().position(|e| e.name == new.name);
        let before = before.map(|n| self.entries.remove(n));
        if let Some(before) = before {
            if before.class == Class::Precious {
                new.class = Class::Precious;
            }
            if !self.may_fit(&new) {
                self.give_up();
                // Better than nothing: of a network, that it is joined.
                new.wish = match before.wish {
                    Wish::Put(..) => before.wish,
                    Wish::Gone | Wish::Past => Wish::Past,
                };
            }
        } else if !self.may_fit(&new) {
            self.give_up();
            // The owner hears of it all the same.
            new.wish = Wish::Past;
            if !self.may_fit(&new) {
                return;
            }
        }
        while !self.fits(&new) {
            match self.entries.iter().position(|e| e.class == Class::Cache) {
                Some(oldest) => drop(self.entries.remove(oldest)),
                None => return,
            }
            self.give_up();
        }
        self.entries.push(new);
    }

    const fn give_up(&mut self) {
        self.given_up = self.given_up.saturating_add(1);
    }

    /// There is room beside all others.
    fn fits(&self, new: &Entry) -> bool {
        self.fits_beside(new, |_| true)
    }

    /// There would be, if what can be learnt again were gone.
    fn may_fit(&self, new: &Entry) -> bool {
        self.fits_beside(new, |e| e.class == Class::Precious)
    }

    fn fits_beside(&self, new: &Entry, stays: impl Fn(&Entry) -> bool) -> bool {
        let stay = self.entries.iter().filter(|e| stays(e));
        let (files, bytes) = stay.fold((1_usize, new.len()), |(files, bytes), e| {
            (files.saturating_add(1), bytes.saturating_add(e.len()))
        });
        files <= self.files_max && bytes <= self.bytes_max
    }

    fn was_told(&self, new: &Entry) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|e| e.told && e.cause() == new.cause())
    }

    /// Tries what failed.
    pub(super) fn again(&mut self, dir: &Path, occasion: Occasion) {
        let mut written = occasion == Occasion::Written;
        for mut entry in core::mem::take(&mut self.entries) {
            let is_due = occasion == Occasion::Asked || entry.is_of_the_disk();
            if is_due && !matches!(entry.wish, Wish::Past) {
                let owed = entry.class == Class::Precious;
                match fulfil(dir, &entry.name, entry.class, &entry.wish, owed) {
                    Ok(done) => {
                        written |= done;
                        continue;
                    }
                    Err(error) => {
                        entry.told &= entry.error.errno == error.errno;
                        entry.error = error;
                    }
                }
            }
            entry.told |= self.was_told(&entry);
            self.entries.push(entry);
        }
        let is_past = |e: &&Entry| matches!(e.wish, Wish::Past) && e.is_of_the_disk();
        let mut past = self.entries.iter().filter(is_past);
        self.chance |= past.any(|e| written || e.may_be_over(dir));
    }

    /// Once when what failed elsewhere is worth another try.
    pub(super) const fn take_chance(&mut self) -> bool {
        core::mem::replace(&mut self.chance, false)
    }

    /// What is wrong at present, if anything is.
    pub(super) fn trouble(&self, dir: &Path) -> Option<String> {
        let first = self.entries.first()?;
        let text = explain(&dir.join(&first.name), &first.error);
        let more = match self.entries.len() {
            1 => String::new(),
            n => format!(", and {} more files", n.saturating_sub(1)),
        };
        let given_up = match self.given_up {
            0 => String::new(),
            n => format!("; no room in memory for {n}"),
        };
        Some(format!("{text}{more}{given_up}"))
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

    /// All is stored of which somebody was told that it is not, but for so many files that found
    /// no room in memory.
    pub(super) fn take_relief(&mut self) -> Option<u32> {
        if !self.entries.is_empty() {
            return None;
        }
        let given_up = core::mem::take(&mut self.given_up);
        core::mem::take(&mut self.told).then_some(given_up)
    }

    /// When the disk is to be tried again.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.next
    }

    /// Tries again if it is time, and settles when next.
    pub(super) fn work(&mut self, dir: &Path, now: Mono) {
        if self.next.is_some_and(|at| at <= now) {
            self.again(dir, Occasion::Pause);
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

/// `true`: something was written. `owed`: an earlier try failed, perhaps after the last change and
/// before it was on the disk; what seems to be done already is not for certain.
fn fulfil(
    dir: &Path,
    name: &str,
    class: Class,
    wish: &Wish,
    owed: bool,
) -> Result<bool, os::Error> {
    let path = place(dir, name)?;
    match (wish, class) {
        (Wish::Put(bytes, _), _) if file::holds(&path, bytes) => {
            if owed {
                file::sync(&path)?;
                sync_place(dir, name)?;
            }
            Ok(false)
        }
        (Wish::Put(bytes, mode), Class::Precious) => {
            make_room(&path)?;
            file::write_atomic(&path, bytes, *mode)?;
            if owed {
                sync_place(dir, name)?;
            }
            Ok(true)
        }
        (Wish::Put(bytes, mode), Class::Cache) => {
            make_room(&path)?;
            file::write_cache(&path, bytes, *mode).map(|()| true)
        }
        (Wish::Gone, Class::Precious) => {
            let was_there = file::remove_atomic(&path)?;
            if owed && !was_there {
                match file::sync_directory_of(&path) {
                    // As gone as can be.
                    Err(error) if error.errno == libc::ENOENT => {}
                    synced => synced?,
                }
            }
            Ok(was_there)
        }
        (Wish::Gone, Class::Cache) => file::remove_cache(&path),
        (Wish::Past, _) => Ok(false),
    }
}

/// The directory of a file in the home is on the disk itself.
fn sync_place(dir: &Path, name: &str) -> Result<(), os::Error> {
    if !name.contains('/') {
        return Ok(());
    }
    match file::sync_directory_of(file::directory_of(&dir.join(name))) {
        // What cannot be read cannot be synced.
        Err(error) if error.errno == libc::EACCES => Ok(()),
        synced => synced,
    }
}

/// Where the file is: packages lay a link to their own settings there, which is to stay. One that
/// leads nowhere may lead somewhere when a disk is mounted.
fn place(dir: &Path, name: &str) -> Result<PathBuf, os::Error> {
    let path = dir.join(name);
    if name != OF_THE_OWNER || !file::is_link(&path) {
        return Ok(path);
    }
    file::follow(&path).map_err(|error| os::Error {
        op: FOLLOW,
        ..error
    })
}

fn make_room(path: &Path) -> Result<(), os::Error> {
    const DIRECTORY_MODE: u32 = 0o755;
    file::make_directories(file::directory_of(path), DIRECTORY_MODE)
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    const LIMITS: Limits = Limits::small();

    fn unwritten() -> Unwritten {
        Unwritten::new(&LIMITS)
    }

    /// What is done fails at this step, and at no other.
    struct Fault;

    impl Fault {
        fn at(op: &'static str, errno: i32) -> Self {
            file::FAULT_OF.set(op);
            file::FAULT.set(errno);
            Self
        }
    }

    impl Drop for Fault {
        fn drop(&mut self) {
            file::FAULT_OF.set("");
            file::FAULT.set(0);
        }
    }

    fn steps() -> Vec<file::Step> {
        file::STEPS.with_borrow_mut(std::mem::take)
    }

    fn put(bytes: &[u8]) -> Wish {
        Wish::Put(Zeroizing::new(bytes.to_vec()), 0o644)
    }

    #[test]
    fn one_good_write_does_not_hide_a_file_that_is_not_written() {
        let dir = Blocked::new("unwritten-hide");
        dir.block("a");
        let mut unwritten = unwritten();
        let write = |unwritten: &mut Unwritten, name: &str, bytes: &[u8]| {
            unwritten.write(&dir.0, name, Class::Precious, put(bytes))
        };
        assert!(write(&mut unwritten, "a", b"1").is_err());
        let said = unwritten.take_trouble(&dir.0);
        assert!(said.is_some_and(|text| text.contains("/a: ")));
        assert!(write(&mut unwritten, "b", b"1").is_ok());
        assert!(unwritten.trouble(&dir.0).is_some());
        assert!(unwritten.take_trouble(&dir.0).is_none(), "said already");
        assert_eq!(unwritten.take_relief(), None);
        dir.free("a");
        unwritten.again(&dir.0, Occasion::Asked);
        assert_eq!(dir.get("a").as_deref(), Some(&b"1"[..]));
        assert!(unwritten.trouble(&dir.0).is_none());
        assert_eq!(unwritten.take_relief(), Some(0));
        assert_eq!(unwritten.take_relief(), None);
    }

    #[test]
    fn the_last_wish_counts() {
        let dir = Blocked::new("unwritten-last");
        dir.block("a");
        let mut unwritten = unwritten();
        for bytes in [b"1", b"2"] {
            let failed = unwritten.write(&dir.0, "a", Class::Precious, put(bytes));
            assert!(failed.is_err());
        }
        dir.free("a");
        unwritten.again(&dir.0, Occasion::Asked);
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
        unwritten.again(&dir.0, Occasion::Asked);
        assert_eq!(dir.get("b"), None);
    }

    #[test]
    fn a_link_of_the_owner_stays_and_others_are_replaced() {
        let dir = Blocked::new("unwritten-link");
        let mut unwritten = unwritten();
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
        assert_eq!(written.map_err(|e| e.errno), Err(libc::ENOENT));
        assert!(is_link("local.conf"), "a disk may be mounted later");
        file::write_cache(&dir.0.join("etc/settings"), b"mounted", 0o644).expect("written");
        unwritten.again(&dir.0, Occasion::Pause);
        assert!(is_link("local.conf"));
        assert_eq!(dir.get("etc/settings").as_deref(), Some(&b"3"[..]));
    }

    fn failing(name: usize, class: Class, len: usize, errno: i32) -> Entry {
        Entry {
            name: name.to_string(),
            class,
            wish: put(&vec![0; len]),
            error: os::Error {
                op: &"write",
                errno,
            },
            told: false,
        }
    }

    #[test]
    fn a_full_disk_is_said_once_for_all_files() {
        let mut unwritten = unwritten();
        let dir = Path::new("home");
        for n in 0..5 {
            unwritten.keep(failing(n, Class::Cache, 1, libc::ENOSPC));
        }
        let said = unwritten.take_trouble(dir).expect("a trouble");
        assert!(
            said.contains("home/0") && said.contains("No space left"),
            "{said}"
        );
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
    fn what_is_made_elsewhere_is_over_when_its_maker_says_so() {
        let dir = Blocked::new("unwritten-elsewhere");
        let mut unwritten = unwritten();
        let note = |unwritten: &mut Unwritten, errno| {
            unwritten.note("socket", os::Error { op: &"bind", errno })
        };
        // The directory can be written, as can be seen; a socket cannot be made in it all the same.
        assert!(note(&mut unwritten, libc::EACCES), "new");
        assert!(unwritten.take_trouble(&dir.0).is_some());
        let mut now = Mono::from_ms(1 << 40);
        let mut pauses = Vec::new();
        for _ in 0..4 {
            unwritten.work(&dir.0, now);
            let next = unwritten.next_deadline().expect("a deadline");
            pauses.push(next.since(now) / 1000);
            now = next;
            unwritten.work(&dir.0, now);
            assert!(unwritten.take_chance() && !unwritten.take_chance());
            assert!(!note(&mut unwritten, libc::EACCES), "known");
            assert_eq!(unwritten.take_trouble(&dir.0), None, "said already");
            assert_eq!(unwritten.take_relief(), None);
        }
        assert_eq!(pauses, [60, 120, 240, 480]);
        unwritten.forget("socket");
        assert_eq!(unwritten.take_relief(), Some(0));
        // Whether there is room cannot be seen.
        assert!(note(&mut unwritten, libc::ENOSPC));
        unwritten.again(&dir.0, Occasion::Pause);
        assert!(!unwritten.take_chance());
        let written = unwritten.write(&dir.0, "a", Class::Cache, put(b"1"));
        assert_eq!(written, Ok(()));
        assert!(unwritten.take_chance());
        // That has nothing to do with the disk.
        assert!(note(&mut unwritten, libc::EISDIR));
        let written = unwritten.write(&dir.0, "a", Class::Cache, put(b"2"));
        assert_eq!(written, Ok(()));
        assert!(!unwritten.take_chance());
        assert!(unwritten.trouble(&dir.0).is_some());
    }

    #[test]
    fn what_can_be_learnt_again_goes_first() {
        let mut unwritten = unwritten();
        let len = LIMITS.unwritten_bytes / 8;
        for n in 0..100 {
            let class = if n % 10 == 0 {
                Class::Precious
            } else {
                Class::Cache
            };
            unwritten.keep(failing(n, class, len, libc::EROFS));
            assert!(unwritten.entries.len() <= LIMITS.unwritten_files);
            let bytes = unwritten.entries.iter().map(Entry::len).sum::<usize>();
            assert!(bytes <= LIMITS.unwritten_bytes);
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
        assert_eq!(unwritten.entries.len(), LIMITS.unwritten_files);
        let said = unwritten.trouble(Path::new("home")).expect("a trouble");
        assert!(said.contains("; no room in memory for "), "{said}");
    }

    #[test]
    fn what_is_too_long_does_not_drive_out_the_rest_and_is_counted() {
        let mut unwritten = unwritten();
        unwritten.keep(failing(1, Class::Cache, 10, libc::EROFS));
        let len = LIMITS.unwritten_bytes + 1;
        unwritten.keep(failing(2, Class::Cache, len, libc::EROFS));
        assert!(matches!(unwritten.wish("1"), Some(Wish::Put(..))));
        assert!(matches!(unwritten.wish("2"), Some(Wish::Past)));
        let said = unwritten.trouble(Path::new("home")).expect("a trouble");
        assert!(said.ends_with("; no room in memory for 1"), "{said}");
        assert!(unwritten.take_trouble(Path::new("home")).is_some());
        unwritten.forget("1");
        unwritten.forget("2");
        assert_eq!(unwritten.take_relief(), Some(1));
    }

    #[test]
    fn a_precious_file_stays_precious_whatever_replaces_it() {
        let dir = Blocked::new("unwritten-class");
        let mut unwritten = unwritten();
        let write = |unwritten: &mut Unwritten, class, bytes: &[u8]| {
            unwritten.write(&dir.0, "networks.d/1.conf", class, put(bytes))
        };
        let fault = Fault::at("write", libc::ENOSPC);
        assert!(write(&mut unwritten, Class::Precious, b"\n").is_err());
        assert!(write(&mut unwritten, Class::Cache, b"configuration").is_err());
        // Others that can be learnt again do not drive it out.
        for n in 0..2 * LIMITS.unwritten_files {
            unwritten.keep(failing(n, Class::Cache, 1, libc::ENOSPC));
        }
        let long = vec![0; LIMITS.unwritten_bytes + 1];
        assert!(write(&mut unwritten, Class::Cache, &long).is_err());
        drop(fault);
        unwritten.entries.retain(|e| e.class == Class::Precious);
        steps();
        unwritten.again(&dir.0, Occasion::Pause);
        assert_eq!(
            dir.get("networks.d/1.conf").as_deref(),
            Some(&b"configuration"[..])
        );
        let is_sync = |step: &file::Step| matches!(step, file::Step::Sync(_));
        assert!(steps().iter().any(is_sync));
        assert_eq!(unwritten.trouble(&dir.0), None);
        // The same if it is the replacement that finds the disk back.
        let fault = Fault::at("write", libc::ENOSPC);
        assert!(write(&mut unwritten, Class::Precious, b"\n").is_err());
        drop(fault);
        steps();
        assert!(write(&mut unwritten, Class::Cache, b"other").is_ok());
        assert!(steps().iter().any(is_sync));
        // All is well since: what can be learnt again does not wait for the disk.
        assert!(write(&mut unwritten, Class::Cache, b"another").is_ok());
        assert!(!steps().iter().any(is_sync));
    }

    #[test]
    fn what_was_changed_and_not_synced_is_synced_before_it_counts() {
        let dir = Blocked::new("unwritten-sync");
        let mut unwritten = unwritten();
        let name = "networks.d/1.conf";
        let directory = dir.0.join("networks.d");
        let synced = |dir: &Path| file::Step::SyncDirectory(dir.to_owned());
        let fault = Fault::at("fsync", libc::EIO);
        let put_there =
            |unwritten: &mut Unwritten| unwritten.write(&dir.0, name, Class::Precious, put(b"1"));
        // The directory is made, the file is not.
        assert!(put_there(&mut unwritten).is_err());
        assert!(directory.is_dir() && dir.get(name).is_none());
        // Now it is, by its name.
        assert!(put_there(&mut unwritten).is_err());
        assert_eq!(dir.get(name).as_deref(), Some(&b"1"[..]));
        unwritten.again(&dir.0, Occasion::Pause);
        assert!(unwritten.trouble(&dir.0).is_some());
        drop(fault);
        steps();
        unwritten.again(&dir.0, Occasion::Pause);
        assert_eq!(unwritten.trouble(&dir.0), None);
        let file = file::Step::Sync(dir.0.join(name));
        assert_eq!(steps(), [file, synced(&directory), synced(&dir.0)]);
        let fault = Fault::at("fsync", libc::EIO);
        let gone = unwritten.write(&dir.0, name, Class::Precious, Wish::Gone);
        assert!(gone.is_err() && dir.get(name).is_none());
        drop(fault);
        steps();
        unwritten.again(&dir.0, Occasion::Pause);
        assert_eq!(steps(), [synced(&directory)]);
        assert_eq!(unwritten.trouble(&dir.0), None);
    }

    #[test]
    fn an_obstacle_costs_nothing_while_others_are_stored() {
        let dir = Blocked::new("unwritten-obstacle");
        let mut unwritten = unwritten();
        for name in ["a", "b"] {
            dir.block(name);
            let failed = unwritten.write(&dir.0, name, Class::Cache, put(b"1"));
            assert!(failed.is_err());
        }
        // A file that may not be replaced, in a directory where others may be made.
        for entry in &mut unwritten.entries[1..] {
            let (op, errno) = (&"rename", libc::EPERM);
            entry.error = os::Error { op, errno };
        }
        dir.free("b");
        steps();
        for bytes in [b"1", b"2", b"3"] {
            let written = unwritten.write(&dir.0, "c", Class::Cache, put(bytes));
            assert_eq!(written, Ok(()));
        }
        let touches = |step: &file::Step| match step {
            file::Step::Create(path) => !path.ends_with(".c.new"),
            _ => false,
        };
        assert_eq!(steps().into_iter().find(touches), None);
        unwritten.again(&dir.0, Occasion::Asked);
        assert!(dir.get("b").is_some() && dir.get("a").is_none());
    }

    #[test]
    fn the_disk_is_tried_again_ever_more_rarely_and_an_obstacle_is_not() {
        let dir = Blocked::new("unwritten-pauses");
        let mut unwritten = unwritten();
        let mut now = Mono::from_ms(1 << 40);
        dir.block("a");
        let write = |unwritten: &mut Unwritten, name: &str| {
            unwritten.write(&dir.0, name, Class::Precious, put(b"1"))
        };
        assert!(write(&mut unwritten, "a").is_err());
        unwritten.work(&dir.0, now);
        assert_eq!(unwritten.next_deadline(), None);
        let fault = Fault::at("write", libc::ENOSPC);
        assert!(write(&mut unwritten, "b").is_err());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            unwritten.work(&dir.0, now);
            let next = unwritten.next_deadline().expect("a deadline");
            pauses.push(next.since(now) / 1000);
            now = next;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        drop(fault);
        unwritten.work(&dir.0, now);
        assert_eq!(unwritten.next_deadline(), None);
        assert_eq!(dir.get("b").as_deref(), Some(&b"1"[..]));
    }
}
