//! Formats: typed views over untrusted bytes and in-place writers. No state, no I/O.
#![forbid(unsafe_code)]
pub mod identity;
