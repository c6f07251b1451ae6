//! Poly1305 (wire 5): 64-bit limbs where the CPU multiplies 64 × 64 bits, 26-bit limbs
//! elsewhere. No table, no branch on secrets.
#![forbid(unsafe_code)]

/// One-time authenticator of `message` under `key` (r and s).
pub fn poly1305(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
    #[cfg(target_pointer_width = "64")]
    return wide::poly1305(key, message);
    #[cfg(not(target_pointer_width = "64"))]
    return narrow::poly1305(key, message);
}

/// The blocks of a message: 16 bytes and the bit behind them; the last one padded.
fn blocks(message: &[u8]) -> impl Iterator<Item = ([u8; 16], u32)> {
    let chunks = message.chunks_exact(16);
    let rest = chunks.remainder();
    let last = (!rest.is_empty()).then(|| {
        let mut block = [0; 16];
        block[..rest.len()].copy_from_slice(rest);
        block[rest.len()] = 1;
        (block, 0)
    });
    chunks
        .map(|chunk| {
            let mut block = [0; 16];
            block.copy_from_slice(chunk);
            (block, 1)
        })
        .chain(last)
}

#[cfg(any(target_pointer_width = "64", test))]
mod wide {
    use super::blocks;

    const fn product(a: u64, b: u64) -> u128 {
        a as u128 * b as u128
    }

    pub(super) fn poly1305(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&key[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let r0 = word(0) & 0x0fff_fffc_0fff_ffff;
        let r1 = word(8) & 0x0fff_fffc_0fff_fffc;
        // r1 is a multiple of 4: 2^128 r1 ≡ 5/4 r1 (mod 2^130 − 5).
        let s1 = r1 + (r1 >> 2);
        let (mut h0, mut h1, mut h2) = (0u64, 0u64, 0u64);
        for (block, bit) in blocks(message) {
            let block = u128::from_le_bytes(block);
            let (low, carry) = h0.overflowing_add(block as u64);
            let sum = u128::from(h1) + (block >> 64) + u128::from(carry);
            h0 = low;
            h1 = sum as u64;
            h2 += (sum >> 64) as u64 + u64::from(bit);
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
        // h − p, if that is not negative.
        let (g0, carry) = h0.overflowing_add(5);
        let (g1, carry) = h1.overflowing_add(u64::from(carry));
        let g2 = h2 + u64::from(carry);
        let mask = 0u64.wrapping_sub(g2 >> 2);
        let h0 = (h0 & !mask) | (g0 & mask);
        let h1 = (h1 & !mask) | (g1 & mask);
        let h = u128::from(h0) | (u128::from(h1) << 64);
        let s = u128::from(word(16)) | (u128::from(word(24)) << 64);
        h.wrapping_add(s).to_le_bytes()
    }
}

#[cfg(any(not(target_pointer_width = "64"), test))]
mod narrow {
    use super::blocks;

    const MASK: u32 = 0x3ff_ffff;

    /// 130 bits as five limbs of 26.
    fn limbs(block: &[u8; 16], bit: u32) -> [u32; 5] {
        let word = |i: usize| {
            u32::from_le_bytes([
                block[4 * i],
                block[4 * i + 1],
                block[4 * i + 2],
                block[4 * i + 3],
            ])
        };
        let (a, b, c, d) = (word(0), word(1), word(2), word(3));
        [
            a & MASK,
            ((a >> 26) | (b << 6)) & MASK,
            ((b >> 20) | (c << 12)) & MASK,
            ((c >> 14) | (d << 18)) & MASK,
            (d >> 8) | (bit << 24),
        ]
    }

    pub(super) fn poly1305(key: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let mut first = [0; 16];
        first.copy_from_slice(&key[..16]);
        let clamp = 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff_u128.to_le_bytes();
        for (byte, mask) in first.iter_mut().zip(clamp) {
            *byte &= mask;
        }
        let r = limbs(&first, 0);
        let s = r.map(|limb| limb.wrapping_mul(5));
        let mut h = [0u32; 5];
        for (block, bit) in blocks(message) {
            for (h, m) in h.iter_mut().zip(limbs(&block, bit)) {
                *h += m;
            }
            let m = |a: u32, b: u32| u64::from(a) * u64::from(b);
            let [h0, h1, h2, h3, h4] = h;
            let d0 = m(h0, r[0]) + m(h1, s[4]) + m(h2, s[3]) + m(h3, s[2]) + m(h4, s[1]);
            let mut d1 = m(h0, r[1]) + m(h1, r[0]) + m(h2, s[4]) + m(h3, s[3]) + m(h4, s[2]);
            let mut d2 = m(h0, r[2]) + m(h1, r[1]) + m(h2, r[0]) + m(h3, s[4]) + m(h4, s[3]);
            let mut d3 = m(h0, r[3]) + m(h1, r[2]) + m(h2, r[1]) + m(h3, r[0]) + m(h4, s[4]);
            let mut d4 = m(h0, r[4]) + m(h1, r[3]) + m(h2, r[2]) + m(h3, r[1]) + m(h4, r[0]);
            d1 += d0 >> 26;
            d2 += d1 >> 26;
            d3 += d2 >> 26;
            d4 += d3 >> 26;
            let low = |d: u64| d as u32 & MASK;
            let fold = low(d0) + ((d4 >> 26) as u32) * 5;
            h = [
                fold & MASK,
                low(d1) + (fold >> 26),
                low(d2),
                low(d3),
                low(d4),
            ];
        }
        let mut carry = 0;
        for _ in 0..2 {
            for limb in &mut h {
                *limb += carry;
                carry = *limb >> 26;
                *limb &= MASK;
            }
            carry *= 5;
        }
        h[0] += carry;
        // h − p, if that is not negative.
        let mut g = h;
        let mut carry = 5;
        for limb in &mut g {
            *limb += carry;
            carry = *limb >> 26;
            *limb &= MASK;
        }
        let mask = 0u32.wrapping_sub(carry);
        let mut sum = 0u128;
        for (i, (h, g)) in h.into_iter().zip(g).enumerate() {
            let limb = (h & !mask) | (g & mask);
            sum = sum.wrapping_add(u128::from(limb) << (26 * i));
        }
        let mut last = [0; 16];
        last.copy_from_slice(&key[16..]);
        sum.wrapping_add(u128::from_le_bytes(last)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use alloc::vec;
    use poly1305::universal_hash::KeyInit;

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
            let theirs = poly1305::Poly1305::new(&key.into()).compute_unpadded(&message);
            assert_eq!(wide::poly1305(&key, &message)[..], theirs[..]);
            assert_eq!(narrow::poly1305(&key, &message)[..], theirs[..]);
        }
    }
}
