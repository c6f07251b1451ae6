//! Salsa20 with 12 and 20 rounds (wire 5).
//!
//! One seam, [`xor12`] and [`xor20`]; behind it eight blocks at once by AVX2, four by SSE2 or NEON where the
//! CPU has them, and a portable form, block by block.

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

const BLOCK: usize = 64;

/// Most that [`batch`] answers.
pub const BATCH_MAX: usize = BLOCK
    * if cfg!(target_arch = "x86_64") {
        8
    } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
        4
    } else {
        1
    };

/// Bytes of key stream that are made at once, and so at little more than the price of a block,
/// where `wanted` bytes are needed from the first block on.
pub const fn batch(wanted: usize) -> usize {
    if wanted <= BLOCK {
        BLOCK
    } else if wanted <= 4 * BLOCK && 4 * BLOCK < BATCH_MAX {
        4 * BLOCK
    } else {
        BATCH_MAX
    }
}

/// XORs the key stream of 12 rounds, blocks `counter`, `counter + 1`, …, into `data`.
pub fn xor12(key: &[u8; 32], iv: &[u8; 8], counter: u64, data: &mut [u8]) {
    xor::<12>(key, iv, counter, data);
}

/// The same with 20 rounds.
pub fn xor20(key: &[u8; 32], iv: &[u8; 8], counter: u64, data: &mut [u8]) {
    xor::<20>(key, iv, counter, data);
}

#[inline(always)]
fn xor<const ROUNDS: usize>(key: &[u8; 32], iv: &[u8; 8], counter: u64, data: &mut [u8]) {
    let state = state(key, iv);
    #[cfg(target_arch = "x86_64")]
    let (counter, data) = x86::xor::<ROUNDS>(&state, counter, data);
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    let (counter, data) = neon::xor::<ROUNDS>(&state, counter, data);
    portable::<ROUNDS>(&state, counter, data);
}

fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(4 * at..).and_then(|b| b.first_chunk()) {
        Some(b) => u32::from_le_bytes(*b),
        None => 0,
    }
}

/// The input block; words 8 and 9 are the counter.
fn state(key: &[u8; 32], iv: &[u8; 8]) -> [u32; 16] {
    let k = |i| word(key, i);
    [
        0x6170_7865,
        k(0),
        k(1),
        k(2),
        k(3),
        0x3320_646e,
        word(iv, 0),
        word(iv, 1),
        0,
        0,
        0x7962_2d32,
        k(4),
        k(5),
        k(6),
        k(7),
        0x6b20_6574,
    ]
}

/// Two rounds: columns, then rows. `$quarter` does one quarter round on words of `$x`; the
/// indices are constants, so that the words stay in registers.
macro_rules! double_round {
    ($quarter:ident, $x:ident) => {
        $quarter!($x, 0, 4, 8, 12);
        $quarter!($x, 5, 9, 13, 1);
        $quarter!($x, 10, 14, 2, 6);
        $quarter!($x, 15, 3, 7, 11);
        $quarter!($x, 0, 1, 2, 3);
        $quarter!($x, 5, 6, 7, 4);
        $quarter!($x, 10, 11, 8, 9);
        $quarter!($x, 15, 12, 13, 14);
    };
}
#[allow(unused_imports, reason = "not every CPU has a form by vectors")]
use double_round;

macro_rules! quarter {
    ($x:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        $x[$b] ^= $x[$a].wrapping_add($x[$d]).rotate_left(7);
        $x[$c] ^= $x[$b].wrapping_add($x[$a]).rotate_left(9);
        $x[$d] ^= $x[$c].wrapping_add($x[$b]).rotate_left(13);
        $x[$a] ^= $x[$d].wrapping_add($x[$c]).rotate_left(18);
    };
}

fn portable<const ROUNDS: usize>(state: &[u32; 16], counter: u64, data: &mut [u8]) {
    let mut state = *state;
    state[8] = counter as u32;
    state[9] = (counter >> 32) as u32;
    let (blocks, tail) = data.as_chunks_mut();
    whole::<ROUNDS>(&mut state, blocks);
    if !tail.is_empty() {
        let mut block = [0; BLOCK];
        block[..tail.len()].copy_from_slice(tail);
        whole::<ROUNDS>(&mut state, core::slice::from_mut(&mut block));
        tail.copy_from_slice(&block[..tail.len()]);
    }
}

/// Whole blocks, and the counter behind them. Not inline: it is called twice.
#[inline(never)]
fn whole<const ROUNDS: usize>(state: &mut [u32; 16], blocks: &mut [[u8; BLOCK]]) {
    for block in blocks {
        let mut x = *state;
        for _ in 0..ROUNDS / 2 {
            double_round!(quarter, x);
        }
        // The state is read again, not kept: 16 words of rounds fill the registers. By words:
        // fewer steps than by bytes.
        for ((word, x), input) in block.as_chunks_mut().0.iter_mut().zip(x).zip(&*state) {
            *word = (u32::from_le_bytes(*word) ^ x.wrapping_add(*input)).to_le_bytes();
        }
        let carry;
        (state[8], carry) = state[8].overflowing_add(1);
        state[9] = state[9].wrapping_add(u32::from(carry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use alloc::vec;
    use salsa20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

    #[test]
    fn all_forms_agree_with_the_library() {
        let mut rng = Bytes::new(3);
        for _ in 0..400 {
            let (mut key, mut iv) = ([0; 32], [0; 8]);
            rng.fill(&mut key);
            rng.fill(&mut iv);
            let len = rng.below(3000) as usize;
            // Around the carry into the second counter word, too.
            let counter = if rng.below(4) == 0 {
                u64::from(u32::MAX) - 3
            } else {
                u64::from(rng.below(9))
            };
            let mut data = vec![0; len];
            rng.fill(&mut data);
            let (mut ours, mut plain) = (data.clone(), data.clone());
            xor::<12>(&key, &iv, counter, &mut ours);
            portable::<12>(&state(&key, &iv), counter, &mut plain);
            let mut theirs = salsa20::Salsa12::new(&key.into(), &iv.into());
            theirs.seek(counter * 64);
            theirs.apply_keystream(&mut data);
            assert!(ours == data && plain == data, "{len} from block {counter}");
            let mut twenty = salsa20::Salsa20::new(&key.into(), &iv.into());
            twenty.apply_keystream(&mut data);
            xor::<20>(&key, &iv, 0, &mut ours);
            assert!(ours == data);
        }
    }

    #[test]
    fn every_length_up_to_300() {
        let mut rng = Bytes::new(6);
        let (mut key, mut iv) = ([0; 32], [0; 8]);
        rng.fill(&mut key);
        rng.fill(&mut iv);
        let mut stream = [0; 320];
        salsa20::Salsa12::new(&key.into(), &iv.into()).apply_keystream(&mut stream);
        for len in 0..=300 {
            let mut ours = [0; 320];
            xor12(&key, &iv, 0, &mut ours[..len]);
            let mut plain = [0; 320];
            portable::<12>(&state(&key, &iv), 0, &mut plain[..len]);
            // Nothing behind the length is touched.
            let (head, rest) = ours.split_at(len);
            assert!(
                head == &stream[..len] && rest.iter().all(|b| *b == 0),
                "{len} bytes"
            );
            assert!(ours == plain, "portable, {len} bytes");
        }
    }
}
