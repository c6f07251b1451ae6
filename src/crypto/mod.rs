//! Ciphers, signatures, digests: pure functions over slices. No clock, no entropy: random bytes
//! come from [`rng::Rng`], which is seeded from outside.
#![deny(unsafe_code)]

use core::fmt;

pub mod agree;
pub mod armor;
pub mod identity;
pub mod kmac;
pub mod rng;
pub mod salsa;
pub mod sign;

#[cfg(feature = "aes")]
mod siv;

pub use ciphers::poly;

/// Not authentic, not valid, not possible. Nobody learns why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejected;

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rejected")
    }
}
