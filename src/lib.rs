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

/// Software version as told to peers: major, minor, revision.
pub const VERSION: (u8, u8, u16) = (1, 14, 2);

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
