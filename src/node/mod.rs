//! The node: a sans-IO state machine.
#![forbid(unsafe_code)]
pub mod io;
