//! Formats: typed views over untrusted bytes, and writers in place. No state, no I/O, no
//! allocation.
//!
//! The contract: a parser never panics and never looks past its input; what it returns cannot
//! be wrong in itself, so nobody checks twice; bytes behind the last known field are left alone
//! (wire 1).
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use core::fmt;

pub mod control;
pub mod credential;
pub mod cursor;
pub mod derive;
pub mod dict;
pub mod fragment;
pub mod frames;
pub mod hello;
pub mod identity;
pub mod inet;
pub mod lz4;
pub mod multicast;
pub mod netconf;
pub mod packet;
pub mod peer_record;
pub mod rule;
pub mod verb;
pub mod world;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// They end too soon; or a writer has no room left.
    Truncated,
    /// A length field that cannot be right.
    Length,
    /// A field with a value that is not allowed.
    Value,
    /// Right perhaps, but of a kind that is not known here.
    Unsupported,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated",
            Self::Length => "bad length",
            Self::Value => "bad value",
            Self::Unsupported => "unknown kind",
        })
    }
}
