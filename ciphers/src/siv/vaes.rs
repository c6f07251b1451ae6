//! The bulk of a packet on newer x86-64: two blocks in a vector.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{BLOCK, GROUP, LANES, ROUNDS, Row, Schedule, Sum, load, vector, xor};

pub(super) fn available() -> bool {
    #[cfg(any(feature = "std", test))]
    return std::arch::is_x86_feature_detected!("vaes")
        && std::arch::is_x86_feature_detected!("vpclmulqdq")
        && std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(any(feature = "std", test)))]
    return cfg!(all(
        target_feature = "vaes",
        target_feature = "vpclmulqdq",
        target_feature = "avx2"
    ));
}

/// Blocks of a vector.
const PAIR: usize = 2;

#[target_feature(enable = "avx2")]
fn load_pair(bytes: &[u8; PAIR * BLOCK]) -> __m256i {
    // SAFETY: 32 bytes are there; no alignment is needed.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store_pair(bytes: &mut [u8; PAIR * BLOCK], pair: __m256i) {
    // SAFETY: as in `load_pair`.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), pair) }
}

/// Both with the same block.
#[target_feature(enable = "avx2")]
fn twice(block: &[u8; BLOCK]) -> __m256i {
    _mm256_broadcastsi128_si256(load(block))
}

/// As `ctr_groups` of the parent.
#[target_feature(enable = "avx2,vaes")]
pub(super) fn ctr_groups(keys: &Schedule, first: u128, groups: &mut [[u8; GROUP]]) -> u128 {
    // Counters in the order of the CPU; the others of their bytes stay where they are.
    let order = _mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let order = _mm256_broadcastsi128_si256(order);
    let counters = |i: u32| (first as u32).wrapping_add(i) as i32;
    let next = twice(&first.to_be_bytes());
    let next = _mm256_insert_epi32::<3>(next, counters(0));
    let mut next = _mm256_insert_epi32::<7>(next, counters(1));
    let step = _mm256_set_epi32(PAIR as i32, 0, 0, 0, PAIR as i32, 0, 0, 0);
    let key = twice(&keys[0]);
    let last = twice(&keys[ROUNDS]);
    macro_rules! encrypt {
        ($pairs:literal, $data:expr) => {
            let mut x = [key; $pairs];
            for x in &mut x {
                *x = _mm256_xor_si256(*x, _mm256_shuffle_epi8(next, order));
                next = _mm256_add_epi32(next, step);
            }
            for key in &keys[1..ROUNDS] {
                let key = twice(key);
                for x in &mut x {
                    *x = _mm256_aesenc_epi128(*x, key);
                }
            }
            for (pair, x) in $data.as_chunks_mut().0.iter_mut().zip(x) {
                let stream = _mm256_aesenclast_epi128(x, last);
                store_pair(pair, _mm256_xor_si256(load_pair(pair), stream));
            }
        };
    }
    let blocks = (groups.len() * LANES) as u128;
    let (couples, single) = groups.as_chunks_mut::<2>();
    for couple in couples {
        encrypt!(8, couple.as_flattened_mut());
    }
    for group in single {
        encrypt!(4, group);
    }
    first.wrapping_add(blocks)
}

/// As `Row::push_groups`.
#[target_feature(enable = "avx2,vpclmulqdq,aes,pclmulqdq,ssse3,sse4.1")]
pub(super) fn push_groups(row: &mut Row<'_>, groups: &[[u8; GROUP]]) {
    const PAIRS: usize = LANES / PAIR;
    let order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let order = _mm256_broadcastsi128_si256(order);
    let halves = |x| _mm256_xor_si256(x, _mm256_shuffle_epi32::<0x4e>(x));
    let mut powers = [_mm256_setzero_si256(); PAIRS];
    for (pair, powers) in powers.iter_mut().zip(row.powers.as_chunks().0.iter().rev()) {
        let [low, high]: [u128; PAIR] = *powers;
        *pair = _mm256_set_m128i(vector(low), vector(high));
    }
    for group in groups {
        let mut carry = _mm256_zextsi128_si256(row.carry);
        let zero = _mm256_setzero_si256();
        let (mut low, mut middle, mut high) = (zero, zero, zero);
        for (bytes, power) in group.as_chunks().0.iter().zip(powers) {
            let blocks = _mm256_shuffle_epi8(load_pair(bytes), order);
            let blocks = _mm256_xor_si256(blocks, carry);
            carry = zero;
            let products = (
                _mm256_clmulepi64_epi128::<0x00>(blocks, power),
                _mm256_clmulepi64_epi128::<0x00>(halves(blocks), halves(power)),
                _mm256_clmulepi64_epi128::<0x11>(blocks, power),
            );
            low = _mm256_xor_si256(low, products.0);
            middle = _mm256_xor_si256(middle, products.1);
            high = _mm256_xor_si256(high, products.2);
        }
        let fold = |x| xor(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
        let sum = Sum {
            low: fold(low),
            middle: fold(middle),
            high: fold(high),
        };
        row.carry = sum.reduce();
    }
}
