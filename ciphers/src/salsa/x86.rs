//! Salsa20 by SSE2 (always there on x86-64) and AVX2 (asked for at run time): word i of several
//! blocks lies in one vector, so that a round is the plain round on vectors.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::{BLOCK, double_round};

/// Does as many whole groups of blocks as it can; gives what is left.
pub(super) fn xor<'a, const ROUNDS: usize>(
    state: &[u32; 16],
    mut counter: u64,
    mut data: &'a mut [u8],
) -> (u64, &'a mut [u8]) {
    if data.len() > 4 * BLOCK && has_avx2() {
        while data.len() >= 8 * BLOCK {
            let (group, rest) = data.split_at_mut(8 * BLOCK);
            // SAFETY: the CPU has AVX2; the group is 512 bytes long.
            unsafe { eight::<ROUNDS>(state, counter, group) };
            counter = counter.wrapping_add(8);
            data = rest;
        }
        if data.len() > 4 * BLOCK {
            // The rest in one more group: cheaper than block by block.
            let mut group = [0; 8 * BLOCK];
            group[..data.len()].copy_from_slice(data);
            // SAFETY: as above.
            unsafe { eight::<ROUNDS>(state, counter, &mut group) };
            data.copy_from_slice(&group[..data.len()]);
            return (counter, &mut []);
        }
    }
    while data.len() > BLOCK {
        if data.len() < 4 * BLOCK {
            let mut group = [0; 4 * BLOCK];
            group[..data.len()].copy_from_slice(data);
            // SAFETY: SSE2 is part of x86-64; the group is 256 bytes long.
            unsafe { four::<ROUNDS>(state, counter, &mut group) };
            data.copy_from_slice(&group[..data.len()]);
            return (counter, &mut []);
        }
        let (group, rest) = data.split_at_mut(4 * BLOCK);
        // SAFETY: as above.
        unsafe { four::<ROUNDS>(state, counter, group) };
        counter = counter.wrapping_add(4);
        data = rest;
    }
    (counter, data)
}

#[cfg(any(feature = "std", test))]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(any(feature = "std", test)))]
const fn has_avx2() -> bool {
    cfg!(target_feature = "avx2")
}

macro_rules! step {
    ($ops:ident, $x:ident, $to:literal, $a:literal, $b:literal, $by:literal) => {
        let sum = $ops!(add)($x[$a], $x[$b]);
        let turned = $ops!(or)($ops!(left $by)(sum), $ops!(right $by)(sum));
        $x[$to] = $ops!(xor)($x[$to], turned);
    };
}

macro_rules! narrow {
    (add) => {
        _mm_add_epi32
    };
    (or) => {
        _mm_or_si128
    };
    (xor) => {
        _mm_xor_si128
    };
    (left $by:literal) => {
        _mm_slli_epi32::<$by>
    };
    (right $by:literal) => {
        _mm_srli_epi32::<{ 32 - $by }>
    };
}

macro_rules! wide {
    (add) => {
        _mm256_add_epi32
    };
    (or) => {
        _mm256_or_si256
    };
    (xor) => {
        _mm256_xor_si256
    };
    (left $by:literal) => {
        _mm256_slli_epi32::<$by>
    };
    (right $by:literal) => {
        _mm256_srli_epi32::<{ 32 - $by }>
    };
}

macro_rules! quarter_narrow {
    ($x:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        step!(narrow, $x, $b, $a, $d, 7);
        step!(narrow, $x, $c, $b, $a, 9);
        step!(narrow, $x, $d, $c, $b, 13);
        step!(narrow, $x, $a, $d, $c, 18);
    };
}

macro_rules! quarter_wide {
    ($x:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        step!(wide, $x, $b, $a, $d, 7);
        step!(wide, $x, $c, $b, $a, 9);
        step!(wide, $x, $d, $c, $b, 13);
        step!(wide, $x, $a, $d, $c, 18);
    };
}

#[target_feature(enable = "sse2")]
unsafe fn four<const ROUNDS: usize>(state: &[u32; 16], counter: u64, data: &mut [u8]) {
    let mut input = [_mm_setzero_si128(); 16];
    for (vector, word) in input.iter_mut().zip(state) {
        *vector = _mm_set1_epi32(*word as i32);
    }
    let c = |i: u64| counter.wrapping_add(i);
    input[8] = _mm_set_epi32(c(3) as i32, c(2) as i32, c(1) as i32, c(0) as i32);
    let h = |i: u64| (c(i) >> 32) as i32;
    input[9] = _mm_set_epi32(h(3), h(2), h(1), h(0));
    let mut x = input;
    for _ in 0..ROUNDS / 2 {
        double_round!(quarter_narrow, x);
    }
    for quarter in 0..4 {
        let w = |i: usize| _mm_add_epi32(x[4 * quarter + i], input[4 * quarter + i]);
        let (a, b, c, d) = (w(0), w(1), w(2), w(3));
        let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        let (ef, gh) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
        let rows = [
            _mm_unpacklo_epi64(ab, cd),
            _mm_unpackhi_epi64(ab, cd),
            _mm_unpacklo_epi64(ef, gh),
            _mm_unpackhi_epi64(ef, gh),
        ];
        for (block, row) in rows.into_iter().enumerate() {
            let at = block * BLOCK + quarter * 16;
            let part = &mut data[at..at + 16];
            let pointer = part.as_mut_ptr().cast::<__m128i>();
            // SAFETY: `part` is 16 bytes long; the instructions need no alignment.
            unsafe { _mm_storeu_si128(pointer, _mm_xor_si128(_mm_loadu_si128(pointer), row)) };
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn eight<const ROUNDS: usize>(state: &[u32; 16], counter: u64, data: &mut [u8]) {
    let mut input = [_mm256_setzero_si256(); 16];
    for (vector, word) in input.iter_mut().zip(state) {
        *vector = _mm256_set1_epi32(*word as i32);
    }
    let c = |i: u64| counter.wrapping_add(i) as i32;
    input[8] = _mm256_set_epi32(c(7), c(6), c(5), c(4), c(3), c(2), c(1), c(0));
    let h = |i: u64| (counter.wrapping_add(i) >> 32) as i32;
    input[9] = _mm256_set_epi32(h(7), h(6), h(5), h(4), h(3), h(2), h(1), h(0));
    let mut x = input;
    for _ in 0..ROUNDS / 2 {
        double_round!(quarter_wide, x);
    }
    for quarter in 0..4 {
        let w = |i: usize| _mm256_add_epi32(x[4 * quarter + i], input[4 * quarter + i]);
        let (a, b, c, d) = (w(0), w(1), w(2), w(3));
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ef, gh) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        // Each vector holds a quarter of block n in its low half, of block n + 4 in its high.
        let rows = [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ef, gh),
            _mm256_unpackhi_epi64(ef, gh),
        ];
        for (n, row) in rows.into_iter().enumerate() {
            let halves = [
                _mm256_castsi256_si128(row),
                _mm256_extracti128_si256::<1>(row),
            ];
            for (half, stream) in halves.into_iter().enumerate() {
                let at = (n + 4 * half) * BLOCK + quarter * 16;
                let part = &mut data[at..at + 16];
                let pointer = part.as_mut_ptr().cast::<__m128i>();
                // SAFETY: `part` is 16 bytes long; the instructions need no alignment.
                unsafe {
                    _mm_storeu_si128(pointer, _mm_xor_si128(_mm_loadu_si128(pointer), stream));
                }
            }
        }
    }
}
