//! The daemon: one thread, one loop, files, sockets, devices (style 2.5, service).
#![forbid(unsafe_code)]

use core::fmt;

pub mod control;
pub mod identity;
pub mod json;
pub mod log;
pub mod settings;
pub mod startup;
pub mod state;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the service cannot run: a text for the owner, naming file and cause, and exit status 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fatal {
    text: String,
}

impl Fatal {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Exit status.
    pub const fn status(&self) -> i32 {
        1
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
