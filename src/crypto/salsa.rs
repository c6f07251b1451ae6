//! Salsa20 with 12 and 20 rounds (wire 5).
//!
//! One seam, [`xor`]; behind it eight blocks at once by AVX2, four by SSE2 where the CPU has
//! them, and a portable form whose four lanes a compiler can put into vectors.

#[cfg(target_arch = "x86_64")]
mod x86;

const BLOCK: usize = 64;

/// XORs the key stream of blocks `counter`, `counter + 1`, … into `data`.
pub fn xor<const ROUNDS: usize>(key: &[u8; 32], iv: &[u8; 8], counter: u64, data: &mut [u8]) {
    let state = state(key, iv);
    #[cfg(target_arch = "x86_64")]
    let (counter, data) = x86::xor::<ROUNDS>(&state, counter, data);
    portable::<ROUNDS>(&state, counter, data);
}

/// The first block of key stream.
pub fn block<const ROUNDS: usize>(key: &[u8; 32], iv: &[u8; 8]) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    portable::<ROUNDS>(&state(key, iv), 0, &mut out);
    out
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

/// Columns, then rows: (target, two sources, rotation).
#[rustfmt::skip]
const STEPS: [(usize, usize, usize, u32); 32] = [
    (4, 0, 12, 7), (9, 5, 1, 7), (14, 10, 6, 7), (3, 15, 11, 7),
    (8, 4, 0, 9), (13, 9, 5, 9), (2, 14, 10, 9), (7, 3, 15, 9),
    (12, 8, 4, 13), (1, 13, 9, 13), (6, 2, 14, 13), (11, 7, 3, 13),
    (0, 12, 8, 18), (5, 1, 13, 18), (10, 6, 2, 18), (15, 11, 7, 18),
    (1, 0, 3, 7), (6, 5, 4, 7), (11, 10, 9, 7), (12, 15, 14, 7),
    (2, 1, 0, 9), (7, 6, 5, 9), (8, 11, 10, 9), (13, 12, 15, 9),
    (3, 2, 1, 13), (4, 7, 6, 13), (9, 8, 11, 13), (14, 13, 12, 13),
    (0, 3, 2, 18), (5, 4, 7, 18), (10, 9, 8, 18), (15, 14, 13, 18),
];

fn portable<const ROUNDS: usize>(state: &[u32; 16], mut counter: u64, data: &mut [u8]) {
    for chunk in data.chunks_mut(BLOCK) {
        let mut input = *state;
        input[8] = counter as u32;
        input[9] = (counter >> 32) as u32;
        let mut x = input;
        for _ in 0..ROUNDS / 2 {
            for (to, a, b, by) in STEPS {
                x[to] ^= x[a].wrapping_add(x[b]).rotate_left(by);
            }
        }
        let mut stream = [0; BLOCK];
        for ((out, x), input) in stream.chunks_exact_mut(4).zip(x).zip(input) {
            out.copy_from_slice(&x.wrapping_add(input).to_le_bytes());
        }
        for (byte, stream) in chunk.iter_mut().zip(stream) {
            *byte ^= stream;
        }
        counter = counter.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rng::Rng;
    use salsa20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
    use std::vec;

    #[test]
    fn all_forms_agree_with_the_library() {
        let mut rng = Rng::new([3; 32]);
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
}
