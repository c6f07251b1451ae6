//! Another program, by the standard library: what `program.rs` has on systems for which nix has no
//! `posix_spawn`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::Error;

/// A program that was started. One that is dropped goes on.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    /// Starts a program with arguments and what it is to read: less than a pipe holds without a
    /// reader, which is 4096 bytes.
    pub fn start(path: &Path, arguments: &[String], input: &str) -> Result<Self, Error> {
        let mut child = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::from_io("spawn", error))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes());
        }
        Ok(Self(child))
    }

    /// How it ended; `None`: it runs.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let ended = self.0.try_wait();
        ended.map_err(|error| Error::from_io("waitpid", error))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        // It is dead: this does not wait.
        let _ = self.0.wait();
    }
}
