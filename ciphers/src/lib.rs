//! The ciphers that touch every byte of a packet: Salsa20, Poly1305, AES-GMAC-SIV (wire 5, 6.5).
//!
//! A package of its own so that it alone is built for speed where everything else is built for
//! size; for that nothing here that is called from outside is generic. It knows no packets but for
//! the few offsets of suite 3.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate alloc;

pub mod poly;
pub mod salsa;
#[cfg(feature = "aes")]
pub mod siv;

/// Bytes for tests: xorshift, the same for a seed.
#[cfg(test)]
pub(crate) struct Bytes(u64);

#[cfg(test)]
impl Bytes {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(end)) >> 32) as u32
    }

    pub(crate) fn fill(&mut self, room: &mut [u8]) {
        for byte in room {
            *byte = (self.next_u64() >> 56) as u8;
        }
    }
}
