//! Poly1305 (wire 5): the sum in words of the size that the CPU multiplies to twice its size, 64
//! bits or 32. No table, no branch on secrets.
#![forbid(unsafe_code)]

/// One-time authenticator of `message` under `key` (r and s).
pub fn poly1305(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    #[cfg(target_pointer_width = "64")]
    return wide::poly1305(key, message);
    #[cfg(not(target_pointer_width = "64"))]
    return narrow::poly1305(key, message);
}

const CLAMP: u128 = 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;

/// r and s.
fn halves(key: &[u8; 32]) -> (u128, u128) {
    let half = |at: usize| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&key[at..at + 16]);
        u128::from_le_bytes(bytes)
    };
    (half(0) & CLAMP, half(16))
}

/// The whole blocks of a message, which have a bit behind them, and the last one with its bit in
/// the padding.
fn blocks(message: &[u8]) -> (&[[u8; 16]], Option<[u8; 16]>) {
    let (whole, rest) = message.as_chunks();
    let last = (!rest.is_empty()).then(|| {
        let mut block = [0; 16];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 1;
        block
    });
    (whole, last)
}

/// h, which is below 2p, modulo p, plus s; `top` is what h has above 128 bits.
fn finish(h: u128, top: u32, s: u128) -> [u8; 16] {
    // h − p, if that is not negative.
    let (less, carry) = h.overflowing_add(5);
    let mask = 0u128.wrapping_sub(u128::from((top + u32::from(carry)) >> 2));
    ((h & !mask) | (less & mask)).wrapping_add(s).to_le_bytes()
}

#[cfg(any(target_pointer_width = "64", test))]
mod wide {
    use super::{blocks, finish, halves};

    const fn product(a: u64, b: u64) -> u128 {
        a as u128 * b as u128
    }

    pub(super) fn poly1305(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let (r, s) = halves(key);
        let (r0, r1) = (r as u64, (r >> 64) as u64);
        // r1 is a multiple of 4: 2^128 r1 ≡ 5/4 r1 (mod 2^130 − 5).
        let s1 = r1 + (r1 >> 2);
        let (mut h0, mut h1, mut h2) = (0u64, 0u64, 0u64);
        let (whole, last) = blocks(message);
        // One loop: with two of them a block takes an eighth longer on x86-64.
        let whole = whole.iter().map(|block| (*block, 1u64));
        for (block, bit) in whole.chain(last.map(|block| (block, 0))) {
            let block = u128::from_le_bytes(block);
            let (low, carry) = h0.overflowing_add(block as u64);
            let sum = u128::from(h1) + (block >> 64) + u128::from(carry);
            h0 = low;
            h1 = sum as u64;
            h2 += (sum >> 64) as u64 + bit;
            // h2 stays below 8, so its products fit 64 bits.
            let d0 = product(h0, r0) + product(h1, s1);
            let d1 = product(h0, r1) + product(h1, r0) + u128::from(h2 * s1);
            let d2 = h2 * r0;
            h0 = d0 as u64;
            let d1 = d1 + (d0 >> 64);
            h1 = d1 as u64;
            let d2 = d2 + (d1 >> 64) as u64;
            h2 = d2 & 3;
            // What is above 2^130 comes back five times.
            let fold = (d2 >> 2) + (d2 & !3);
            let (low, carry) = h0.overflowing_add(fold);
            let (middle, carry) = h1.overflowing_add(u64::from(carry));
            h0 = low;
            h1 = middle;
            h2 += u64::from(carry);
        }
        finish(u128::from(h0) | (u128::from(h1) << 64), h2 as u32, s)
    }
}

#[cfg(any(not(target_pointer_width = "64"), test))]
mod narrow {
    use super::{blocks, finish, halves};

    struct Sum {
        r: [u32; 4],
        h: [u32; 4],
        /// What h has above 128 bits.
        top: u32,
        /// Still to be added to h: it is, with the next block.
        fold: u32,
    }

    fn product(a: u32, b: u32) -> u64 {
        u64::from(a) * u64::from(b)
    }

    impl Sum {
        /// Not inline: it is called twice.
        #[inline(never)]
        fn absorb(&mut self, blocks: &[[u8; 16]], bit: u32) {
            let [r0, r1, r2, r3] = self.r;
            // Multiples of 4: 2^128 r ≡ 5/4 r (mod 2^130 − 5).
            let [s1, s2, s3] = [r1, r2, r3].map(|r| r + (r >> 2));
            let ([mut h0, mut h1, mut h2, mut h3], mut top) = (self.h, self.top);
            let mut fold = self.fold;
            for block in blocks {
                let words = block.as_chunks().0;
                let word = |i: usize| u64::from(u32::from_le_bytes(words[i]));
                let e0 = u64::from(h0) + word(0) + u64::from(fold);
                let e1 = u64::from(h1) + word(1) + (e0 >> 32);
                let e2 = u64::from(h2) + word(2) + (e1 >> 32);
                let e3 = u64::from(h3) + word(3) + (e2 >> 32);
                (h0, h1, h2, h3) = (e0 as u32, e1 as u32, e2 as u32, e3 as u32);
                top += (e3 >> 32) as u32 + bit;
                // r has 28 bits a word, s less than 29, top stays below 8: its products fit 32
                // bits, and a sum of all fits 64.
                let m = product;
                let d0 = m(h0, r0) + m(h1, s3) + m(h2, s2) + m(h3, s1);
                let d1 = m(h0, r1) + m(h1, r0) + m(h2, s3) + m(h3, s2) + u64::from(top * s1);
                let d2 = m(h0, r2) + m(h1, r1) + m(h2, r0) + m(h3, s3) + u64::from(top * s2);
                let d3 = m(h0, r3) + m(h1, r2) + m(h2, r1) + m(h3, r0) + u64::from(top * s3);
                let d1 = d1 + (d0 >> 32);
                let d2 = d2 + (d1 >> 32);
                let d3 = d3 + (d2 >> 32);
                (h0, h1, h2, h3) = (d0 as u32, d1 as u32, d2 as u32, d3 as u32);
                let d4 = top * r0 + (d3 >> 32) as u32;
                // What is above 2^130 comes back five times.
                top = d4 & 3;
                fold = (d4 >> 2) + (d4 & !3);
            }
            (self.h, self.top, self.fold) = ([h0, h1, h2, h3], top, fold);
        }
    }

    pub(super) fn poly1305(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let (r, s) = halves(key);
        let mut sum = Sum {
            r: [
                r as u32,
                (r >> 32) as u32,
                (r >> 64) as u32,
                (r >> 96) as u32,
            ],
            h: [0; 4],
            top: 0,
            fold: 0,
        };
        let (whole, last) = blocks(message);
        sum.absorb(whole, 1);
        sum.absorb(last.as_slice(), 0);
        let [h0, h1, h2, h3] = sum.h.map(u128::from);
        let h = h0 | (h1 << 32) | (h2 << 64) | (h3 << 96);
        let (h, carry) = h.overflowing_add(u128::from(sum.fold));
        finish(h, sum.top + u32::from(carry), s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use alloc::vec;
    use poly1305::universal_hash::KeyInit;

    /// Both forms say what the library says.
    fn compare(key: [u8; 32], message: &[u8], what: &str) {
        let theirs = poly1305::Poly1305::new(&key.into()).compute_unpadded(message);
        let len = message.len();
        assert_eq!(
            wide::poly1305(&key, message)[..],
            theirs[..],
            "wide, {len} bytes, {what}"
        );
        assert_eq!(
            narrow::poly1305(&key, message)[..],
            theirs[..],
            "narrow, {len} bytes, {what}"
        );
    }

    #[test]
    fn both_forms_agree_with_the_library() {
        let mut rng = Bytes::new(4);
        for round in 0..3000 {
            let mut key = [0xff; 32];
            let longest = if round % 3 == 0 { 2000 } else { 200 };
            let mut message = vec![0xff; rng.below(longest) as usize];
            // All ones drive the carries; then random keys and messages.
            if round > 300 {
                rng.fill(&mut key);
            }
            if round > 600 {
                rng.fill(&mut message);
            }
            compare(key, &message, "any");
        }
    }

    #[test]
    fn every_length_up_to_300() {
        let mut rng = Bytes::new(5);
        for len in 0..=300 {
            let (mut key, mut message) = ([0; 32], vec![0; len]);
            for what in ["first", "second", "third"] {
                rng.fill(&mut key);
                rng.fill(&mut message);
                compare(key, &message, what);
            }
            compare([0xff; 32], &vec![0xff; len], "ones");
        }
    }

    /// With r = 1 the sum is that of the blocks and their bits, here three: p and what is wanted
    /// beyond it. Up to 2^130 it comes to the last step as it is.
    #[test]
    fn sums_just_below_at_and_above_p() {
        let mut key = [0; 32];
        key[0] = 1;
        for (beyond, rest) in [
            (-6i128, 0u128.wrapping_sub(11)),
            (-1, 0u128.wrapping_sub(6)),
            (0, 0),
            (1, 1),
            (4, 4),
            (5, 5),
            (6, 6),
        ] {
            let blocks = [0u128.wrapping_sub(16), 5, (6 + beyond).cast_unsigned()];
            let message = blocks.map(u128::to_le_bytes);
            let message = message.as_flattened();
            compare(key, message, "at p");
            assert_eq!(narrow::poly1305(&key, message), rest.to_le_bytes());
            assert_eq!(wide::poly1305(&key, message), rest.to_le_bytes());
        }
    }

    /// The sums pass every border of a word by little, in both directions.
    #[test]
    fn sums_at_the_borders_of_words() {
        for r in [1, 2, 4] {
            for ones in 0..=9 {
                for last in (0..=20).chain((0..128).map(|bit| 1 << bit)) {
                    for last in [last, 0u128.wrapping_sub(last)] {
                        let mut message = vec![0xff; 16 * ones];
                        message.extend_from_slice(&last.to_le_bytes());
                        for s in [0, u128::MAX] {
                            let mut key = [0; 32];
                            key[0] = r;
                            key[16..].copy_from_slice(&s.to_le_bytes());
                            compare(key, &message, "at a border");
                        }
                    }
                }
            }
        }
    }
}
