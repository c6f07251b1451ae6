//! Salsa20 by NEON, which every AArch64 has: word i of four blocks lies in one vector, so that
//! a round is the plain round on vectors.
#![allow(unsafe_code)]

use core::arch::aarch64::*;

use super::{BLOCK, double_round};

const GROUP: usize = 4 * BLOCK;

/// All but a last single block, in groups of four; gives what is left.
pub(super) fn xor<'a, const ROUNDS: usize>(
    state: &[u32; 16],
    mut counter: u64,
    data: &'a mut [u8],
) -> (u64, &'a mut [u8]) {
    let (groups, rest) = data.as_chunks_mut::<GROUP>();
    for group in groups {
        four::<ROUNDS>(state, counter, group);
        counter = counter.wrapping_add(4);
    }
    if rest.len() <= BLOCK {
        return (counter, rest);
    }
    let mut group = [0; GROUP];
    group[..rest.len()].copy_from_slice(rest);
    four::<ROUNDS>(state, counter, &mut group);
    rest.copy_from_slice(&group[..rest.len()]);
    (counter, &mut [])
}

macro_rules! step {
    ($x:ident, $to:literal, $a:literal, $b:literal, $by:literal) => {
        let sum = vaddq_u32($x[$a], $x[$b]);
        let turned = vsriq_n_u32::<{ 32 - $by }>(vshlq_n_u32::<$by>(sum), sum);
        $x[$to] = veorq_u32($x[$to], turned);
    };
}

macro_rules! quarter {
    ($x:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        step!($x, $b, $a, $d, 7);
        step!($x, $c, $b, $a, 9);
        step!($x, $d, $c, $b, 13);
        step!($x, $a, $d, $c, 18);
    };
}

fn four<const ROUNDS: usize>(state: &[u32; 16], counter: u64, data: &mut [u8; GROUP]) {
    let counters = [0, 1, 2, 3].map(|i| counter.wrapping_add(i));
    // SAFETY: NEON is part of AArch64; each array loaded is four words long.
    unsafe {
        let mut input = state.map(|word| vdupq_n_u32(word));
        input[8] = vld1q_u32(counters.map(|c| c as u32).as_ptr());
        input[9] = vld1q_u32(counters.map(|c| (c >> 32) as u32).as_ptr());
        let mut x = input;
        for _ in 0..ROUNDS / 2 {
            double_round!(quarter, x);
        }
        for quarter in 0..4 {
            let w = |i: usize| vaddq_u32(x[4 * quarter + i], input[4 * quarter + i]);
            let pair = |a, b| {
                let (low, high) = (vzip1q_u32(a, b), vzip2q_u32(a, b));
                (vreinterpretq_u64_u32(low), vreinterpretq_u64_u32(high))
            };
            let ((ab, ef), (cd, gh)) = (pair(w(0), w(1)), pair(w(2), w(3)));
            let rows = [
                vzip1q_u64(ab, cd),
                vzip2q_u64(ab, cd),
                vzip1q_u64(ef, gh),
                vzip2q_u64(ef, gh),
            ];
            for (block, row) in rows.into_iter().enumerate() {
                let part = &mut data[block * BLOCK + quarter * 16..][..16];
                // Words lie in vectors as in memory: little-endian.
                let row = veorq_u8(vld1q_u8(part.as_ptr()), vreinterpretq_u8_u64(row));
                vst1q_u8(part.as_mut_ptr(), row);
            }
        }
    }
}
