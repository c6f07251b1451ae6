//! Another program, started without shell, environment and terminal, and never waited for.

use core::fmt;
use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, pipe2, read, write};

use super::{Error, check, file, signal, text_of, wait_for};

const ENVIRONMENT: &CStr = c"PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that was started. One that is dropped goes on.
#[derive(Debug)]
pub struct Program(Pid);

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended(libc::c_int);

impl Program {
    /// Starts a program with arguments, which stand with a blank between them and hold none, and with
    /// what it is to read: less than a pipe holds without a reader, which is 4096 bytes.
    pub fn start(path: &Path, arguments: &str, input: &str) -> Result<Self, Error> {
        let mut texts = vec![text_of(&"exec", path)?];
        for argument in arguments.split(' ') {
            texts.push(text_of(&"exec", Path::new(argument))?);
        }
        // Nothing is taken from the heap in the child.
        let mut pointers = Vec::with_capacity(texts.len().saturating_add(1));
        for text in &texts {
            pointers.push(text.as_ptr());
        }
        pointers.push(core::ptr::null());
        let failed = |op| move |errno| Error::of(op, errno);
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(failed(&"pipe"))?;
        if !input.is_empty() {
            write(&writer, input.as_bytes()).map_err(failed(&"write"))?;
        }
        // The program sees the end of it.
        drop(writer);
        // Closes when there is a program; else the child says why there is none.
        let (news, teller) = pipe2(OFlag::O_CLOEXEC).map_err(failed(&"pipe"))?;
        // SAFETY: the child makes system calls alone.
        let child = check(&"fork", unsafe { libc::fork() })?;
        if child == 0 {
            let errno = become_program(&reader, &pointers);
            let _ = write(&teller, &errno.to_ne_bytes());
            // SAFETY: nothing of the parent's is flushed or run again on this side.
            unsafe { libc::_exit(1) };
        }
        drop(teller);
        let child = Pid::from_raw(child);
        let mut errno = [0; size_of::<i32>()];
        if read(&news, &mut errno) == Ok(errno.len()) {
            let _ = wait_for(child.as_raw(), 0);
            let errno = i32::from_ne_bytes(errno);
            return Err(Error { op: &"exec", errno });
        }
        Ok(Self(child))
    }

    /// How it ended; `None`: it runs.
    pub fn ended(&mut self) -> Result<Option<Ended>, Error> {
        Ok(wait_for(self.0.as_raw(), libc::WNOHANG)?.map(Ended))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        // It is dead: this does not wait.
        let _ = wait_for(self.0.as_raw(), 0);
    }
}

impl Ended {
    /// It says that all is well.
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, number) = if libc::WIFEXITED(self.0) {
            ("exit status", libc::WEXITSTATUS(self.0))
        } else {
            ("signal", libc::WTERMSIG(self.0))
        };
        write!(f, "{what} {number}")
    }
}

/// The child's side: it reads from there and says nothing. Comes back with the reason if that
/// cannot be.
fn become_program(input: &OwnedFd, arguments: &[*const libc::c_char]) -> i32 {
    if let Err(error) = file::detach_standard() {
        return error.errno;
    }
    // SAFETY: both are descriptors of this process.
    unsafe { libc::dup2(input.as_raw_fd(), 0) };
    // What we ignore or block is our own business.
    signal::forget_ignored();
    let _ = SigSet::empty().thread_set_mask();
    let environment = [ENVIRONMENT.as_ptr(), core::ptr::null()];
    let Some(path) = arguments.first() else {
        return libc::EINVAL;
    };
    // SAFETY: both lists end with a null and hold texts that live for the call.
    unsafe { libc::execve(*path, arguments.as_ptr(), environment.as_ptr()) };
    Errno::last_raw()
}
