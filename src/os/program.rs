//! Another program, started without shell, environment and terminal, and never waited for.

use std::ffi::CString;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe, write};

use super::{Error, check};

const NULL: &str = "/dev/null";
const ENVIRONMENT: [&std::ffi::CStr; 1] = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin"];

/// A program that was started. One that is dropped goes on.
#[derive(Debug)]
pub struct Program(Pid);

impl Program {
    /// Starts a program with arguments and what it is to read: less than a pipe holds without a
    /// reader, which is 4096 bytes.
    pub fn start(path: &Path, arguments: &[String], input: &str) -> Result<Self, Error> {
        let failed = |op| move |errno| Error::of(op, errno);
        let null = |_| Error {
            op: "posix_spawn",
            errno: libc::EINVAL,
        };
        let name = CString::new(path.as_os_str().as_bytes()).map_err(null)?;
        let mut all = vec![name];
        for argument in arguments {
            all.push(CString::new(argument.as_str()).map_err(null)?);
        }
        let (reader, writer) = pipe().map_err(failed("pipe"))?;
        if !input.is_empty() {
            write(&writer, input.as_bytes()).map_err(failed("write"))?;
        }
        // The program sees the end of it.
        drop(writer);
        let mut files = PosixSpawnFileActions::init().map_err(failed("posix_spawn"))?;
        let set = files
            .add_dup2(reader.as_raw_fd(), 0)
            .and_then(|()| files.add_close(reader.as_raw_fd()))
            .and_then(|()| files.add_open(1, NULL, OFlag::O_WRONLY, Mode::empty()))
            .and_then(|()| files.add_open(2, NULL, OFlag::O_WRONLY, Mode::empty()));
        set.map_err(failed("posix_spawn"))?;
        // What we ignore or block is our own business.
        let mut how = PosixSpawnAttr::init().map_err(failed("posix_spawn"))?;
        let ours: SigSet = [Signal::SIGPIPE, Signal::SIGUSR2].into_iter().collect();
        let flags =
            PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
        let set = how
            .set_sigdefault(&ours)
            .and_then(|()| how.set_sigmask(&SigSet::empty()))
            .and_then(|()| how.set_flags(flags));
        set.map_err(failed("posix_spawn"))?;
        posix_spawn(path, &files, &how, &all, &ENVIRONMENT)
            .map(Self)
            .map_err(failed("posix_spawn"))
    }

    /// How it ended; `None`: it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let mut status = 0;
        // SAFETY: the call writes to `status` alone, which lives for it.
        let pid = unsafe { libc::waitpid(self.0.as_raw(), &raw mut status, libc::WNOHANG) };
        let ended = check("waitpid", pid)? != 0;
        Ok(ended.then(|| ExitStatus::from_raw(status)))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        // It is dead: this does not wait.
        let _ = waitpid(self.0, None);
    }
}
