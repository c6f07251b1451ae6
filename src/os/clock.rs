//! The two clocks. Nothing outside this file reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::{Mono, Now, UnixMs};

/// Wall clocks before this are not believed: nothing of this program was written then
/// (2024-01-01).
const PLAUSIBLE_MS: u64 = 1_704_067_200_000;

/// Milliseconds of a clock that does not step, but goes on while the machine sleeps where the
/// system has such a one.
pub fn mono() -> Mono {
    #[cfg(target_os = "linux")]
    let time = read(libc::CLOCK_BOOTTIME).or_else(|| read(libc::CLOCK_MONOTONIC));
    #[cfg(not(target_os = "linux"))]
    let time = read(libc::CLOCK_MONOTONIC);
    // POSIX: there is a monotonic clock, so this default is never seen.
    Mono::from_ms(millis(time.unwrap_or_default()))
}

fn millis((seconds, nanos): (u64, u64)) -> u64 {
    let millis = nanos / 1_000_000;
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// Seconds and nanoseconds. `None`: the kernel has no such clock.
fn read(clock: libc::clockid_t) -> Option<(u64, u64)> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` lives for the call.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    (result == 0).then_some((seconds, nanos))
}

/// Both clocks.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads clocks"
)]
pub fn now() -> Now {
    // The library asks for seconds of 64 bits where those of libc have 32, which end in 2038. A time
    // before 1970 is as good as none.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = wall.unwrap_or_default();
    let wall = millis((wall.as_secs(), wall.subsec_nanos().into()));
    Now {
        mono: mono(),
        wall: UnixMs::from_ms(wall),
        wall_ok: wall >= PLAUSIBLE_MS,
    }
}

/// For measuring: nanoseconds since it was started.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads clocks"
    )]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Nanoseconds since the start.
    pub fn elapsed_ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_does_not_go_back() {
        let before = mono();
        assert!(before > Mono::from_ms(0));
        assert!(mono() >= before);
        assert_eq!(now().wall_ok, now().wall >= UnixMs::from_ms(PLAUSIBLE_MS));
    }

    #[test]
    fn a_clock_that_is_not_there_is_no_time() {
        assert_eq!(read(libc::clockid_t::from(99_i8)), None);
    }
}
