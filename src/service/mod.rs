//! The daemon: one thread, one loop, files, sockets, devices (style 2.5, service).
#![forbid(unsafe_code)]

use core::fmt;
use std::ffi::OsString;

pub mod control;
#[cfg(feature = "http-compat")]
pub mod http;
pub mod identity;
pub mod json;
pub mod link;
pub mod local_conf;
pub mod log;
pub mod networks;
pub mod routes;
pub mod rules_json;
pub mod settings;
pub mod startup;
pub mod state;

mod conf;
mod daemon;
mod dns;
mod doors;
mod dump;
mod event_loop;
mod host;
mod keep;
mod overlay;
#[cfg(test)]
mod power_cut;
mod publish;
mod ready;
mod route_set;
mod underlay;
mod unwritten;
mod wires;

use crate::os::{self, file};

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the service cannot run: a text for the owner, naming file and cause, and exit status 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fatal {
    text: Box<str>,
}

impl Fatal {
    /// With this text.
    #[cold]
    #[inline(never)]
    pub fn new(text: fmt::Arguments<'_>) -> Self {
        Self {
            text: text.to_string().into(),
        }
    }

    /// Exit status.
    pub const fn status(&self) -> i32 {
        1
    }
}

/// Runs the service with the arguments behind the program's name; the exit status.
pub fn run(arguments: &[OsString], program: &str) -> i32 {
    os::memory::return_large_blocks();
    log::tell_of_faults();
    let options = match startup::parse(arguments, os::environment(c"ZEROTIER_HOME")) {
        startup::Request::Run(options) => options,
        startup::Request::BareVersion => return print(1, 0, format_args!("{VERSION}\n")),
        startup::Request::Version => return print(1, 0, format_args!("zerotier-one {VERSION}\n")),
        startup::Request::Help(status) => {
            return print(1, status, format_args!("{}", startup::help(program)));
        }
    };
    match startup::start(&options) {
        Ok(status) => status,
        Err(fatal) => {
            // Nothing is left to do about a standard error that is closed.
            print(2, fatal.status(), format_args!("{program}: {fatal}\n"))
        }
    }
}

/// To standard output or error; the exit status.
fn print(number: i32, status: i32, text: fmt::Arguments<'_>) -> i32 {
    match file::write_all(file::standard(number), text.to_string().as_bytes()) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
