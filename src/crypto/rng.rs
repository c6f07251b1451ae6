//! All randomness of a node: Salsa20 key stream in output feedback with a fresh key per block of
//! output, so that what was given out cannot be computed from what is left.
#![forbid(unsafe_code)]

use zeroize::Zeroize;

use super::salsa;

const BUFFER: usize = 512;
const KEY: usize = 32;

/// A generator; the same seed gives the same numbers.
pub struct Rng {
    buffer: [u8; BUFFER],
    used: usize,
}

impl Rng {
    /// Seeded once, from outside.
    pub fn new(seed: [u8; 32]) -> Self {
        let mut rng = Self {
            buffer: [0; BUFFER],
            used: BUFFER,
        };
        rng.buffer[..KEY].copy_from_slice(&seed);
        rng.refill();
        rng
    }

    /// The first bytes of each block of output are the key of the next.
    fn refill(&mut self) {
        let mut key = [0; KEY];
        key.copy_from_slice(&self.buffer[..KEY]);
        self.buffer = [0; BUFFER];
        salsa::xor::<20>(&key, &[0; 8], 0, &mut self.buffer);
        key.zeroize();
        self.used = KEY;
    }

    /// Random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut left = out;
        while !left.is_empty() {
            if self.used == BUFFER {
                self.refill();
            }
            let n = left.len().min(BUFFER - self.used);
            let (head, rest) = left.split_at_mut(n);
            let given = &mut self.buffer[self.used..self.used + n];
            head.copy_from_slice(given);
            given.fill(0);
            self.used += n;
            left = rest;
        }
    }

    /// A random number.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number.
    pub fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// A random number below `n`; 0 if `n` is 0. The bias is below n / 2³².
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(n)) >> 32) as u32
    }
}

impl Drop for Rng {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_whatever_the_portions() {
        let (mut a, mut b) = (Rng::new([7; 32]), Rng::new([7; 32]));
        let mut whole = [0; 3000];
        a.fill(&mut whole);
        let mut parts = [0; 3000];
        for part in parts.chunks_mut(77) {
            b.fill(part);
        }
        assert_eq!(whole, parts);
        assert_ne!(Rng::new([8; 32]).next_u64(), Rng::new([7; 32]).next_u64());
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut rng = Rng::new([1; 32]);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[rng.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(rng.below(0), 0);
    }
}
