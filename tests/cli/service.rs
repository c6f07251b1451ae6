//! The programs in a folder of their own, and a service that says what the test wants.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

pub(crate) const NET: &str = "08e81158d081fdcb";

pub(crate) const VERSION: &str = zt::service::VERSION;

/// A directory with the program under its names, and a home in it.
pub(crate) struct Scratch {
    pub(crate) dir: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("zt-cli-{}-{n}", std::process::id()));
        fs::create_dir_all(dir.join("home")).unwrap();
        for name in ["zerotier-one", "zerotier-cli", "zerotier-idtool"] {
            symlink(env!("CARGO_BIN_EXE_zerotier-one"), dir.join(name)).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.dir.join(name));
        command.current_dir(&self.dir).env_remove("ZEROTIER_HOME");
        command.env("HOME", &self.dir);
        command
    }

    /// `zerotier-cli` with this home.
    pub(crate) fn cli(&self, args: &[&str]) -> Ran {
        let home = format!("-D{}", self.home().display());
        Ran::from(
            self.program("zerotier-cli")
                .arg(home)
                .args(args)
                .output()
                .unwrap(),
        )
    }

    /// A service that knows these requests and replies. Each connection is served to its end.
    /// Replies that differ from time to time are divided by [`THEN`]; the last one stays.
    pub(crate) fn serve(&self, replies: &[(&str, &str)]) -> Fake {
        let listener = UnixListener::bind(self.home().join("zerotier-one.sock")).unwrap();
        let replies: HashMap<String, String> = replies
            .iter()
            .map(|(q, a)| ((*q).to_owned(), (*a).to_owned()))
            .collect();
        #[expect(clippy::disallowed_methods, reason = "the other side of a socket")]
        let thread = thread::spawn(move || serve(&listener, &replies));
        Fake {
            thread: Some(thread),
            home: self.home(),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Ends with a connection that says so, and gives the requests it was asked.
pub(crate) struct Fake {
    pub(crate) thread: Option<JoinHandle<Vec<String>>>,
    pub(crate) home: PathBuf,
}

pub(crate) const LAST: &str = "last";

pub(crate) const THEN: &str = " then ";

impl Fake {
    pub(crate) fn asked(mut self) -> Vec<String> {
        let mut stream =
            std::os::unix::net::UnixStream::connect(self.home.join("zerotier-one.sock")).unwrap();
        writeln!(stream, "{LAST}").unwrap();
        self.thread.take().unwrap().join().unwrap()
    }
}

pub(crate) fn serve(listener: &UnixListener, replies: &HashMap<String, String>) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        // Whoever goes away in the middle is not our concern.
        let _ = out.write_all(b"220 zt-ctl/1 9.9.9 08e81158d0 rw\n.\n");
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if line == LAST {
                return asked;
            }
            let Some(reply) = replies.get(&line) else {
                panic!("unexpected request: {line}");
            };
            let times = asked.iter().filter(|q| **q == line).count();
            let reply = reply.split(THEN).take(times + 1).last().unwrap_or_default();
            asked.push(line);
            if let Some(events) = reply.strip_prefix("close ") {
                let _ = out.write_all(events.as_bytes());
                break;
            }
            let _ = out.write_all(reply.as_bytes());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn is(&self, status: i32, out: &str, err: &str) {
        let wanted = Self {
            status: Some(status),
            out: out.into(),
            err: err.into(),
        };
        assert_eq!(*self, wanted);
    }

    #[track_caller]
    pub(crate) fn is_help(&self, status: i32) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.out.contains("Available switches:"), "{self:?}");
        assert_eq!(self.err, "");
    }
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}
