//! News of the files in a directory, by inotify: no clock has to look at them.

use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Error, text_of};

/// Watches one directory.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
}

impl Watch {
    /// From now on.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let failed = |errno| Error::of(&"inotify", errno);
        let flags = InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC;
        let inotify = Inotify::init(flags).map_err(failed)?;
        // Written, put in place, or taken away; not each write of a long one.
        let news = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR;
        let directory = text_of(&"inotify", directory)?;
        (inotify.add_watch(directory.as_c_str(), news)).map_err(failed)?;
        Ok(Self { inotify })
    }

    /// Reads all news; `true` if one is of the file `name`, or if some were lost.
    pub fn drain(&mut self, name: &str) -> bool {
        let mut hit = false;
        let mut buffer = [0; BUFFER_LEN];
        while let Ok(len @ 1..) = nix::unistd::read(&self.inotify, &mut buffer) {
            let mut rest = buffer.get(..len).unwrap_or_default();
            while let Some((mask, named, behind)) = event_of(rest) {
                let lost = mask & libc::IN_Q_OVERFLOW != 0;
                // It ends with at least one zero.
                let end = named.strip_prefix(name.as_bytes());
                hit |= lost || end.is_some_and(|end| end.first() == Some(&0));
                rest = behind;
            }
        }
        hit
    }
}

/// Room for some events with the longest name.
const BUFFER_LEN: usize = 4096;

/// Mask and name of the first event, and what stands behind it: numbers of four bytes for the
/// watch, the mask, what belongs together, and the length of the name.
fn event_of(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (&[_, _, _, _, a, b, c, d, _, _, _, _, e, f, g, h], rest) = bytes.split_first_chunk()?;
    let len = usize::try_from(u32::from_ne_bytes([e, f, g, h])).ok()?;
    let (name, rest) = rest.split_at_checked(len)?;
    Some((u32::from_ne_bytes([a, b, c, d]), name, rest))
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
