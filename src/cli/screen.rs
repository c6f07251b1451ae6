//! What the tools write to: standard output in large pieces, standard error line by line.

use core::fmt::{self, Write as _};

use super::REFUSED;
use crate::os::file;

/// So much is put together before it is written.
const PIECE_BYTES: usize = 8 * 1024;

/// Standard output and error. A reader that went away is noted: nobody is left to be told but
/// whoever looks at the exit status.
#[derive(Default)]
pub struct Screen {
    out: String,
    failed: bool,
}

impl Screen {
    /// To standard output.
    pub(super) fn print(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
        if self.out.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    /// A line to standard output.
    pub(super) fn line(&mut self, text: &str) {
        self.print(format_args!("{text}\n"));
    }

    /// To standard output at once. No copy is left of it.
    pub(super) fn print_now(&mut self, bytes: &[u8]) {
        self.flush();
        self.write(1, bytes);
    }

    /// A line to standard error, behind all that was printed.
    pub(super) fn tell(&mut self, text: fmt::Arguments<'_>) {
        self.flush();
        self.write(2, format!("{text}\n").as_bytes());
    }

    /// Writes what was printed. `false`: this or something before found no reader.
    pub(super) fn flush(&mut self) -> bool {
        let out = core::mem::take(&mut self.out);
        self.write(1, out.as_bytes());
        !self.failed
    }

    /// The exit status of a tool that has done all: `status`, unless something was not written.
    pub(super) fn end(&mut self, status: u8) -> u8 {
        if self.flush() { status } else { REFUSED }
    }

    fn write(&mut self, number: i32, bytes: &[u8]) {
        self.failed |= file::write_all(file::standard(number), bytes).is_err();
    }
}
