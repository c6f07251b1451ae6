//! Recorded bytes of real nodes against the formats in `zt::wire`.
#![allow(clippy::print_stdout)] // how many cases ran
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod conversations;
mod credentials;
mod formats;
mod networks;
mod values;
