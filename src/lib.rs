//! ZeroTier for routers and small boards.
//!
//! Layers, each may use only those before it:
//! `base` ← [`wire`] (formats) ← [`crypto`] ← [`node`] (sans-IO state machine) ← [`os`]
//! (sockets, taps, clocks) ← [`service`] (the loop, files, control socket) ← [`cli`] and the
//! binaries. Without the feature `os` the first four build as `no_std` + `alloc`.
//!
//! The driving law of [`node::Node`]: feed a batch of inputs, drain `poll_event` to `None`, read
//! `poll_timeout`, sleep.
#![cfg_attr(not(any(feature = "os", test)), no_std)]

extern crate alloc;

/// Software version: major.minor.revision.
pub const VERSION_TEXT: &str = env!("CARGO_PKG_VERSION");

/// The same as told to peers. They choose by it how many pieces we can put together, so it must
/// never be below 1.2.6 (wire 7.3).
pub const VERSION: (u8, u8, u16) = (
    number(env!("CARGO_PKG_VERSION_MAJOR")) as u8,
    number(env!("CARGO_PKG_VERSION_MINOR")) as u8,
    number(env!("CARGO_PKG_VERSION_PATCH")),
);

const fn number(digits: &str) -> u16 {
    let (digits, mut n, mut i) = (digits.as_bytes(), 0, 0);
    while i < digits.len() {
        n = 10 * n + (digits[i] - b'0') as u16;
        i += 1;
    }
    n
}

pub mod base;
pub mod crypto;
pub mod node;
pub mod wire;

#[cfg(feature = "os")]
pub mod cli;
#[cfg(feature = "os")]
pub mod os;
#[cfg(feature = "os")]
pub mod service;
