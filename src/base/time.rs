//! Two clocks that do not mix: [`Mono`] for every timer and age, [`UnixMs`] for what is on the
//! wire or signed. The caller reads them; nothing below `os` does.

/// Milliseconds of a clock that never steps. Its zero means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mono(u64);

impl Mono {
    /// A point in time.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's own zero.
    pub const fn as_ms(self) -> u64 {
        self.0
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
        self.0.saturating_sub(earlier.0)
    }
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
