//! Two clocks that do not mix: [`Mono`] for every timer and age, [`UnixMs`] for what is on the
//! wire or signed. The caller reads them; nothing below `os` does.

use core::num::NonZeroU64;

/// Milliseconds of a clock that never steps. Its zero means nothing, so it does without: times that
/// may be "never" need no room for that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mono(NonZeroU64);

impl Mono {
    /// A point in time.
    pub const fn from_ms(ms: u64) -> Self {
        match NonZeroU64::new(ms) {
            Some(ms) => Self(ms),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Milliseconds since the clock's own zero.
    pub const fn as_ms(self) -> u64 {
        self.0.get()
    }

    /// This point plus `ms`.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The earlier of two points, of which either may be never.
    #[must_use]
    pub fn first(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, None) => one,
            (None, other) => other,
        }
    }

    /// Milliseconds from `earlier` to this point; 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }
}

/// The first of those times that will come.
pub fn earliest(times: &[Option<Mono>]) -> Option<Mono> {
    times.iter().flatten().copied().min()
}

/// Milliseconds since 1970 by the wall clock, which may step and may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnixMs(u64);

impl UnixMs {
    /// A point in time.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970.
    pub const fn as_ms(self) -> u64 {
        self.0
    }
}

/// Both clocks, read once per batch of inputs.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers and ages.
    pub mono: Mono,
    /// For signed times.
    pub wall: UnixMs,
    /// The wall clock is plausible (not near 1970).
    pub wall_ok: bool,
}

/// `since(now, stamp)` for stamps that may be "never".
pub fn age(now: Mono, stamp: Option<Mono>) -> Option<u64> {
    stamp.map(|s| now.since(s))
}
