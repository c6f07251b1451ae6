//! Rate gates: a token bucket without floats, and "once per interval".

use super::time::Mono;

/// At most one pass per interval.
#[derive(Clone, Copy, Debug, Default)]
pub struct Once {
    last: Option<Mono>,
}

impl Once {
    /// Never passed yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Passes if the last pass is `interval_ms` or more ago.
    pub fn pass(&mut self, now: Mono, interval_ms: u64) -> bool {
        match self.last {
            Some(last) if now.since(last) < interval_ms => false,
            _ => {
                self.last = Some(now);
                true
            }
        }
    }
}

/// `burst` passes at once, one more every `interval_ms`.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    burst: u32,
    interval_ms: u32,
    tokens: u32,
    filled: Option<Mono>,
}

impl Bucket {
    /// A full bucket.
    pub const fn new(burst: u32, interval_ms: u32) -> Self {
        Self {
            burst,
            interval_ms,
            tokens: burst,
            filled: None,
        }
    }

    /// Takes a token if there is one.
    pub fn pass(&mut self, now: Mono) -> bool {
        let filled = self.filled.unwrap_or(now);
        let interval = u64::from(self.interval_ms.max(1));
        let earned = now.since(filled) / interval;
        self.tokens = u32::try_from(earned).map_or(self.burst, |n| {
            self.tokens.saturating_add(n).min(self.burst)
        });
        self.filled = Some(filled.after(earned.saturating_mul(interval)));
        match self.tokens.checked_sub(1) {
            Some(rest) => {
                self.tokens = rest;
                true
            }
            None => false,
        }
    }

    /// Takes back the last pass, which turned out not to count.
    pub fn give_back(&mut self) {
        self.tokens = self.tokens.saturating_add(1).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_lets_one_through_per_interval() {
        let mut gate = Once::new();
        let t = Mono::from_ms(5);
        assert!(gate.pass(t, 100));
        assert!(!gate.pass(t.after(99), 100));
        assert!(gate.pass(t.after(100), 100));
    }

    #[test]
    fn bucket_refills_one_by_one() {
        let mut bucket = Bucket::new(2, 1000);
        let t = Mono::from_ms(1 << 40);
        assert!(bucket.pass(t) && bucket.pass(t) && !bucket.pass(t));
        assert!(!bucket.pass(t.after(999)));
        assert!(bucket.pass(t.after(1000)));
        assert!(!bucket.pass(t.after(1001)));
        let later = t.after(100_000);
        assert!(bucket.pass(later) && bucket.pass(later) && !bucket.pass(later));
        bucket.give_back();
        assert!(bucket.pass(later) && !bucket.pass(later));
        for _ in 0..3 {
            bucket.give_back();
        }
        assert!(bucket.pass(later) && bucket.pass(later) && !bucket.pass(later));
    }
}
