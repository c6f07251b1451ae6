//! AES-NI and PCLMULQDQ: eight counter blocks at once, eight GHASH blocks per reduction; where
//! the CPU has VAES too, two blocks in a vector.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::{BLOCK, Engine, POLYNOMIAL, length_block, polyval_key};

mod vaes;

const ROUNDS: usize = 14;

pub(super) fn available() -> bool {
    #[cfg(any(feature = "std", test))]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq")
        && std::arch::is_x86_feature_detected!("sse4.1");
    #[cfg(not(any(feature = "std", test)))]
    return cfg!(all(
        target_feature = "aes",
        target_feature = "pclmulqdq",
        target_feature = "sse4.1"
    ));
}

type Schedule = [[u8; BLOCK]; ROUNDS + 1];

/// Expanded keys and powers of H.
#[derive(Clone)]
pub(super) struct Keys {
    k0: Schedule,
    k1: Schedule,
    powers: [u128; LANES],
    /// The bulk goes through [`vaes`].
    wide: bool,
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
            Some(Self {
                k0,
                k1,
                powers,
                wide: vaes::available(),
            })
        }
    }
}

impl Engine for Keys {
    fn gmac(&self, nonce: u128, head: u128, payload: &[u8]) -> u128 {
        // SAFETY: see `Keys::try_new`.
        unsafe {
            encrypt(&self.k0, nonce)
                ^ ghash(&self.powers, head, payload, |row, groups| {
                    if self.wide {
                        vaes::push_groups(row, groups);
                    } else {
                        row.push_groups(groups);
                    }
                })
        }
    }

    fn ctr(&self, first: u128, data: &mut [u8]) {
        // SAFETY: see `Keys::try_new`.
        unsafe {
            ctr(&self.k1, first, data, |groups| {
                if self.wide {
                    vaes::ctr_groups(&self.k1, first, groups)
                } else {
                    ctr_groups(&self.k1, first, groups)
                }
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

rows!(__m128i, "aes,pclmulqdq,ssse3,sse4.1");

fn load(bytes: &[u8; BLOCK]) -> __m128i {
    // SAFETY: sixteen bytes are there; the instruction needs no alignment. SSE2 is part of
    // x86-64.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

fn store(bytes: &mut [u8; BLOCK], vector: __m128i) {
    // SAFETY: as in `load`.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

fn zero() -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_setzero_si128() }
}

fn xor(a: __m128i, b: __m128i) -> __m128i {
    // SAFETY: as in `zero`.
    unsafe { _mm_xor_si128(a, b) }
}

#[target_feature(enable = "ssse3")]
fn reversed(block: __m128i) -> __m128i {
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm_shuffle_epi8(block, order)
}

#[target_feature(enable = "aes,sse4.1")]
fn expand(key: &[u8; 32]) -> Schedule {
    fn spread(mut x: __m128i, assist: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            x = _mm_xor_si128(x, _mm_slli_si128::<4>(x));
            x = _mm_xor_si128(x, _mm_slli_si128::<8>(x));
            _mm_xor_si128(x, assist)
        }
    }
    let mut schedule = [[0; BLOCK]; ROUNDS + 1];
    schedule[0].copy_from_slice(&key[..BLOCK]);
    schedule[1].copy_from_slice(&key[BLOCK..]);
    let (mut even, mut odd) = (load(&schedule[0]), load(&schedule[1]));
    macro_rules! pair {
        ($at:literal, $rcon:literal) => {
            let assist = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$rcon>(odd));
            even = spread(even, assist);
            store(&mut schedule[$at], even);
            if $at < ROUNDS {
                let assist = _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>(even));
                odd = spread(odd, assist);
                store(&mut schedule[($at + 1) % (ROUNDS + 1)], odd);
            }
        };
    }
    pair!(2, 0x01);
    pair!(4, 0x02);
    pair!(6, 0x04);
    pair!(8, 0x08);
    pair!(10, 0x10);
    pair!(12, 0x20);
    pair!(14, 0x40);
    schedule
}

#[target_feature(enable = "aes,ssse3")]
fn encrypt(keys: &Schedule, block: u128) -> u128 {
    let mut x = _mm_xor_si128(load(&block.to_be_bytes()), load(&keys[0]));
    for key in &keys[1..ROUNDS] {
        x = _mm_aesenc_si128(x, load(key));
    }
    number(reversed(_mm_aesenclast_si128(x, load(&keys[ROUNDS]))))
}

#[target_feature(enable = "aes,ssse3")]
fn decrypt(keys: &Schedule, block: u128) -> u128 {
    let mut x = _mm_xor_si128(load(&block.to_be_bytes()), load(&keys[ROUNDS]));
    for key in keys[1..ROUNDS].iter().rev() {
        x = _mm_aesdec_si128(x, _mm_aesimc_si128(load(key)));
    }
    number(reversed(_mm_aesdeclast_si128(x, load(&keys[0]))))
}

/// The key stream of `N` counters.
#[target_feature(enable = "aes,sse4.1")]
fn counter_blocks<const N: usize>(keys: &Schedule, first: u128) -> [__m128i; N] {
    let (bytes, key) = (load(&first.to_be_bytes()), load(&keys[0]));
    let mut x = [key; N];
    for (i, x) in (0..).zip(&mut x) {
        let counter = (first as u32).wrapping_add(i).swap_bytes();
        *x = _mm_xor_si128(*x, _mm_insert_epi32::<3>(bytes, counter as i32));
    }
    for key in &keys[1..ROUNDS] {
        let key = load(key);
        for x in &mut x {
            *x = _mm_aesenc_si128(*x, key);
        }
    }
    let key = load(&keys[ROUNDS]);
    x.map(|x| _mm_aesenclast_si128(x, key))
}

/// A sum of products before reduction: low, high, and that of the sums of halves (Karatsuba).
struct Sum {
    low: __m128i,
    middle: __m128i,
    high: __m128i,
}

impl Sum {
    fn zero() -> Self {
        Self {
            low: zero(),
            middle: zero(),
            high: zero(),
        }
    }

    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn add(&mut self, a: __m128i, b: __m128i) {
        let halves = |x| _mm_xor_si128(x, _mm_shuffle_epi32::<0x4e>(x));
        let middle = _mm_clmulepi64_si128::<0x00>(halves(a), halves(b));
        self.low = _mm_xor_si128(self.low, _mm_clmulepi64_si128::<0x00>(a, b));
        self.middle = _mm_xor_si128(self.middle, middle);
        self.high = _mm_xor_si128(self.high, _mm_clmulepi64_si128::<0x11>(a, b));
    }

    /// Times x^−128, modulo POLYVAL's polynomial.
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn reduce(&self) -> __m128i {
        let polynomial = _mm_set_epi64x(0, (POLYNOMIAL >> 64) as i64);
        let middle = _mm_xor_si128(self.middle, _mm_xor_si128(self.low, self.high));
        let mut low = _mm_xor_si128(self.low, _mm_slli_si128::<8>(middle));
        let high = _mm_xor_si128(self.high, _mm_srli_si128::<8>(middle));
        for _ in 0..2 {
            let fold = _mm_clmulepi64_si128::<0x00>(low, polynomial);
            low = _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(low), fold);
        }
        _mm_xor_si128(low, high)
    }
}

fn vector(n: u128) -> __m128i {
    load(&n.to_le_bytes())
}

fn number(v: __m128i) -> u128 {
    let mut bytes = [0; BLOCK];
    store(&mut bytes, v);
    u128::from_le_bytes(bytes)
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn dot(a: u128, b: u128) -> u128 {
    let mut sum = Sum::zero();
    sum.add(vector(a), vector(b));
    number(sum.reduce())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use alloc::vec;

    #[test]
    fn the_bulk_is_the_same_in_wide_and_narrow_vectors() {
        let Some(mut keys) = Keys::try_new(&[1; 32], &[2; 32]).filter(|keys| keys.wide) else {
            std::eprintln!("skipped: no VAES");
            return;
        };
        let mut rng = Bytes::new(6);
        for round in 0..200u32 {
            let mut data = vec![0; rng.below(4000) as usize];
            rng.fill(&mut data);
            // Around the carry out of each byte of the counter, too.
            let counter = (0x1_0000u32 << (round % 15)) - 9;
            let first = (u128::from(rng.next_u64()) << 64) | u128::from(counter);
            let [wide, narrow] = [true, false].map(|wide| {
                keys.wide = wide;
                let mut data = data.clone();
                keys.ctr(first, &mut data);
                (keys.gmac(first, first, &data), data)
            });
            assert!(wide == narrow, "{} bytes", data.len());
        }
    }
}
