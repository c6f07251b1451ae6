//! News of the files in a directory, by inotify: no clock has to look at them.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Error;

/// Watches one directory.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
}

impl Watch {
    /// From now on.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let failed = |errno| Error::of("inotify", errno);
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Inotify::init(flags).map_err(failed)?;
        // Written, put in place, or taken away; not each write of a long one.
        let news = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(directory, news).map_err(failed)?;
        Ok(Self { inotify })
    }

    /// Reads all news; `true` if one is of the file `name`, or if some were lost.
    pub fn drain(&mut self, name: &str) -> bool {
        let mut hit = false;
        while let Ok(events) = self.inotify.read_events() {
            hit |= events.iter().any(|event| {
                event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    || event.name.as_deref() == Some(OsStr::new(name))
            });
        }
        hit
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_is_meant_is_news() {
        let directory = std::env::temp_dir().join(format!("zt-{}-watch", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut watch = Watch::open(&directory).expect("a watch");
        let put = |name: &str| {
            super::super::file::write_cache(&directory.join(name), b"x", 0o600).expect("written");
        };
        assert!(!watch.drain("a"));
        put("b");
        assert!(!watch.drain("a"));
        put("a");
        assert!(watch.drain("a") && !watch.drain("a"));
        std::fs::remove_file(directory.join("a")).expect("removed");
        assert!(watch.drain("a"));
        std::fs::remove_dir_all(&directory).expect("removed");
        assert!(Watch::open(&directory).is_err());
    }
}
