//! Salsa20 with 12 and 20 rounds (wire 5).
#![forbid(unsafe_code)]

pub use ciphers::salsa::{BATCH_MAX, batch};
use ciphers::salsa::{xor12, xor20};

/// XORs the key stream of blocks `counter`, `counter + 1`, … into `data`.
pub fn xor<const ROUNDS: usize>(key: &[u8; 32], iv: &[u8; 8], counter: u64, data: &mut [u8]) {
    const { assert!(ROUNDS == 12 || ROUNDS == 20) };
    if ROUNDS == 12 {
        xor12(key, iv, counter, data);
    } else {
        xor20(key, iv, counter, data);
    }
}

/// The first block of key stream.
pub fn block<const ROUNDS: usize>(key: &[u8; 32], iv: &[u8; 8]) -> [u8; 64] {
    let mut out = [0; 64];
    xor::<ROUNDS>(key, iv, 0, &mut out);
    out
}
