//! The cryptography extension of ARMv8: eight counter blocks at once, eight GHASH blocks per
//! reduction.
#![allow(unsafe_code)]

use core::arch::aarch64::*;

use zeroize::Zeroize;

use super::{BLOCK, Engine, POLYNOMIAL, length_block, polyval_key};

const ROUNDS: usize = 14;
const WORD: usize = 4;

pub(super) fn available() -> bool {
    #[cfg(any(feature = "std", test))]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(feature = "std", test)))]
    return cfg!(target_feature = "aes");
}

type Schedule = [[u8; BLOCK]; ROUNDS + 1];

/// Expanded keys and powers of H.
#[derive(Clone)]
pub(super) struct Keys {
    k0: Schedule,
    k1: Schedule,
    powers: [u128; LANES],
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.k0.zeroize();
        self.k1.zeroize();
        self.powers.zeroize();
    }
}

impl Keys {
    /// `None` where the CPU lacks the instructions.
    pub(super) fn try_new(k0: &[u8; 32], k1: &[u8; 32]) -> Option<Self> {
        if !available() {
            return None;
        }
        // SAFETY: the CPU has the instructions, here and wherever there are `Keys`.
        unsafe {
            let (k0, k1) = (expand(k0), expand(k1));
            let h = polyval_key(encrypt(&k0, 0));
            let mut powers = [h; LANES];
            for i in 1..LANES {
                powers[i] = dot(powers[i - 1], h);
            }
            Some(Self { k0, k1, powers })
        }
    }
}

impl Engine for Keys {
    fn gmac(&self, nonce: u128, head: u128, payload: &[u8]) -> u128 {
        // SAFETY: see `Keys::try_new`.
        unsafe {
            encrypt(&self.k0, nonce)
                ^ ghash(&self.powers, head, payload, |row, groups| {
                    row.push_groups(groups);
                })
        }
    }

    fn ctr(&self, first: u128, data: &mut [u8]) {
        // SAFETY: see `Keys::try_new`.
        unsafe {
            ctr(&self.k1, first, data, |groups| {
                ctr_groups(&self.k1, first, groups)
            });
        }
    }

    fn encrypt(&self, block: u128) -> u128 {
        // SAFETY: see `Keys::try_new`.
        unsafe { encrypt(&self.k1, block) }
    }

    fn decrypt(&self, block: u128) -> u128 {
        // SAFETY: see `Keys::try_new`.
        unsafe { decrypt(&self.k1, block) }
    }
}

rows!(uint8x16_t, "neon,aes");

fn load(bytes: &[u8; BLOCK]) -> uint8x16_t {
    // SAFETY: sixteen bytes are there; NEON is part of AArch64.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

fn store(bytes: &mut [u8; BLOCK], vector: uint8x16_t) {
    // SAFETY: as in `load`.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}

#[target_feature(enable = "neon")]
fn zero() -> uint8x16_t {
    vdupq_n_u8(0)
}

#[target_feature(enable = "neon")]
fn xor(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    veorq_u8(a, b)
}

#[target_feature(enable = "neon")]
fn reversed(block: uint8x16_t) -> uint8x16_t {
    swapped(vrev64q_u8(block))
}

/// Both halves, the other way round.
#[target_feature(enable = "neon")]
fn swapped(x: uint8x16_t) -> uint8x16_t {
    vextq_u8::<8>(x, x)
}

/// The S-box on each byte of a word. In equal columns the shift of rows changes nothing.
#[target_feature(enable = "neon,aes")]
fn substitute(word: u32) -> u32 {
    let columns = vreinterpretq_u8_u32(vdupq_n_u32(word));
    vgetq_lane_u32::<0>(vreinterpretq_u32_u8(vaeseq_u8(columns, zero())))
}

#[target_feature(enable = "neon,aes")]
fn expand(key: &[u8; 32]) -> Schedule {
    const KEY_WORDS: usize = 8;
    let mut words = [0u32; (ROUNDS + 1) * BLOCK / WORD];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    for i in KEY_WORDS..words.len() {
        let last = words[i - 1];
        let change = match i % KEY_WORDS {
            0 => substitute(last).rotate_right(8) ^ (1 << (i / KEY_WORDS - 1)),
            4 => substitute(last),
            _ => last,
        };
        words[i] = words[i - KEY_WORDS] ^ change;
    }
    let mut schedule = [[0; BLOCK]; ROUNDS + 1];
    let bytes = schedule.as_flattened_mut().as_chunks_mut().0;
    for (bytes, word) in bytes.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    words.zeroize();
    schedule
}

#[target_feature(enable = "neon,aes")]
fn encrypt(keys: &Schedule, block: u128) -> u128 {
    let mut x = load(&block.to_be_bytes());
    for key in &keys[..ROUNDS - 1] {
        x = vaesmcq_u8(vaeseq_u8(x, load(key)));
    }
    x = vaeseq_u8(x, load(&keys[ROUNDS - 1]));
    number(reversed(xor(x, load(&keys[ROUNDS]))))
}

#[target_feature(enable = "neon,aes")]
fn decrypt(keys: &Schedule, block: u128) -> u128 {
    let mut x = vaesdq_u8(load(&block.to_be_bytes()), load(&keys[ROUNDS]));
    for key in keys[1..ROUNDS].iter().rev() {
        x = vaesdq_u8(vaesimcq_u8(x), vaesimcq_u8(load(key)));
    }
    number(reversed(xor(x, load(&keys[0]))))
}

/// The key stream of `N` counters.
#[target_feature(enable = "neon,aes")]
fn counter_blocks<const N: usize>(keys: &Schedule, first: u128) -> [uint8x16_t; N] {
    let words = vreinterpretq_u32_u8(load(&first.to_be_bytes()));
    let mut x = [zero(); N];
    for (i, x) in (0..).zip(&mut x) {
        let counter = (first as u32).wrapping_add(i).swap_bytes();
        *x = vreinterpretq_u8_u32(vsetq_lane_u32::<3>(counter, words));
    }
    for key in &keys[..ROUNDS - 1] {
        let key = load(key);
        for x in &mut x {
            *x = vaesmcq_u8(vaeseq_u8(*x, key));
        }
    }
    let (key, last) = (load(&keys[ROUNDS - 1]), load(&keys[ROUNDS]));
    for x in &mut x {
        *x = xor(vaeseq_u8(*x, key), last);
    }
    x
}

/// Product of the low halves.
#[target_feature(enable = "neon,aes")]
fn low_product(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let low = |x| vgetq_lane_p64::<0>(vreinterpretq_p64_u8(x));
    vreinterpretq_u8_p128(vmull_p64(low(a), low(b)))
}

/// Product of the high halves.
#[target_feature(enable = "neon,aes")]
fn high_product(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
    let (a, b) = (vreinterpretq_p64_u8(a), vreinterpretq_p64_u8(b));
    vreinterpretq_u8_p128(vmull_high_p64(a, b))
}

/// A sum of products before reduction: low, high, and that of the sums of halves (Karatsuba).
struct Sum {
    low: uint8x16_t,
    middle: uint8x16_t,
    high: uint8x16_t,
}

impl Sum {
    #[target_feature(enable = "neon")]
    fn zero() -> Self {
        Self {
            low: zero(),
            middle: zero(),
            high: zero(),
        }
    }

    #[target_feature(enable = "neon,aes")]
    fn add(&mut self, a: uint8x16_t, b: uint8x16_t) {
        let middle = low_product(xor(a, swapped(a)), xor(b, swapped(b)));
        self.low = xor(self.low, low_product(a, b));
        self.middle = xor(self.middle, middle);
        self.high = xor(self.high, high_product(a, b));
    }

    /// Times x^−128, modulo POLYVAL's polynomial.
    #[target_feature(enable = "neon,aes")]
    fn reduce(&self) -> uint8x16_t {
        let polynomial = vector(POLYNOMIAL >> 64);
        let middle = xor(self.middle, xor(self.low, self.high));
        let mut low = xor(self.low, vextq_u8::<8>(zero(), middle));
        let high = xor(self.high, vextq_u8::<8>(middle, zero()));
        for _ in 0..2 {
            low = xor(swapped(low), low_product(low, polynomial));
        }
        xor(low, high)
    }
}

fn vector(n: u128) -> uint8x16_t {
    load(&n.to_le_bytes())
}

fn number(v: uint8x16_t) -> u128 {
    let mut bytes = [0; BLOCK];
    store(&mut bytes, v);
    u128::from_le_bytes(bytes)
}

#[target_feature(enable = "neon,aes")]
fn dot(a: u128, b: u128) -> u128 {
    let mut sum = Sum::zero();
    sum.add(vector(a), vector(b));
    number(sum.reduce())
}
