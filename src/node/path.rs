//! A path: a local socket and a remote address over which a peer has answered (node 5).

use super::deadline::Beat;
use super::io::Ends;
use super::policy::{self, Pace};
use crate::base::Mono;
use crate::base::gate::Once;
use crate::wire::inet;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) ends: Ends,
    /// Last time the peer proved that it is there; `None` after a reset: not to be used.
    pub(crate) confirmed: Option<Mono>,
    /// Last authenticated receipt.
    pub(crate) heard: Mono,
    /// Last time something was sent.
    pub(crate) sent: Option<Mono>,
    /// Last time a frame was sent or received.
    pub(crate) busy: Option<Mono>,
    /// Last proof of membership that came this way.
    pub(crate) trust: Option<Mono>,
    /// Round trip in ms, if measured.
    pub(crate) latency_ms: Option<u32>,
    /// First sending since the last receipt.
    pub(crate) unanswered: Option<Mono>,
    /// First unanswered ECHO of a check.
    pub(crate) probed: Option<Mono>,
    /// ECHOs of that check.
    pub(crate) probes: u8,
    /// The check found nobody; cleared by the next receipt.
    pub(crate) failed: bool,
    /// Largest datagram.
    pub(crate) datagram_max: u16,
    pub(crate) echo_gate: Once,
}

impl Path {
    pub(crate) fn new(ends: Ends, now: Mono) -> Self {
        Self {
            ends,
            confirmed: Some(now),
            heard: now,
            sent: None,
            busy: None,
            trust: None,
            latency_ms: None,
            unanswered: None,
            probed: None,
            probes: 0,
            failed: false,
            datagram_max: crate::wire::packet::DATAGRAM_DEFAULT as u16,
            echo_gate: Once::new(),
        }
    }

    pub(crate) fn is_alive(&self, now: Mono) -> bool {
        now.since(self.heard) < policy::PATH_ALIVE_MS
    }

    /// Of two paths that differ in port only this may be the one in use.
    pub(crate) fn holds_against_sibling(&self, now: Mono) -> bool {
        !self.failed && self.probed.is_none() && now.since(self.heard) < policy::SIBLING_MS
    }

    pub(crate) fn is_expired(&self, now: Mono) -> bool {
        self.confirmed
            .is_none_or(|at| now.since(at) >= policy::PATH_EXPIRY_MS)
    }

    /// May carry packets.
    pub(crate) fn is_usable(&self, now: Mono) -> bool {
        !self.failed && !self.is_expired(now)
    }

    pub(crate) fn has_trust(&self, now: Mono) -> bool {
        self.trust
            .is_some_and(|at| now.since(at) < policy::TRUST_MS)
    }

    pub(crate) fn is_busy(&self, now: Mono) -> bool {
        self.busy.is_some_and(|at| now.since(at) < policy::BUSY_MS)
    }

    /// An authenticated packet came this way.
    pub(crate) fn receive(&mut self, now: Mono) {
        self.confirmed = Some(now);
        self.heard = now;
        self.unanswered = None;
        self.probed = None;
        self.failed = false;
    }

    /// First value as it is, then the mean of old and new (node 4.4).
    pub(crate) fn measure(&mut self, ms: u64) {
        let ms = u32::try_from(ms)
            .unwrap_or(u32::MAX)
            .min(policy::LATENCY_UNKNOWN_MS - 1);
        self.latency_ms = Some(self.latency_ms.map_or(ms, |old| (old + ms) / 2));
    }

    /// Smaller is better (node 5.2).
    ///
    /// differs from 1.14.1: the age of a silent path is not multiplied by the scope factor, so
    /// a dead private path does not beat a living global one.
    pub(crate) fn quality(&self, now: Mono) -> u64 {
        let scope = 8 - inet::scope_of(&self.ends.remote) as u64;
        let latency = u64::from(self.latency_ms.unwrap_or(policy::LATENCY_UNKNOWN_MS));
        let age = now.since(self.heard);
        let silence = if age < policy::PATH_ALIVE_MS {
            0
        } else {
            65_535 + age.min(140_000)
        };
        // A silent path is worse than any that speaks, whatever their scopes.
        latency * scope + silence * 8
    }

    /// Classes are below this: two families of each scope.
    pub(crate) const CLASSES: u8 = 2 * (inet::Scope::Private as u8 + 1);

    /// Scope and family in one number: of two classes the greater is to be used.
    pub(crate) fn class(&self) -> u8 {
        inet::class_of(&self.ends.remote)
    }

    /// When the check of a silent path goes on.
    pub(crate) fn check_at(&self) -> Option<Mono> {
        let sent = self.unanswered.filter(|_| !self.failed)?;
        Some(
            self.probed
                .map_or(sent.after(policy::UNANSWERED_MS), |since| {
                    let repeat = u64::from(self.probes) * policy::PROBE_REPEAT_MS;
                    since.after(repeat.min(policy::PROBE_MS))
                }),
        )
    }

    /// When the keep-alive of an active peer's path is due.
    pub(crate) fn keepalive_at(&self, now: Mono, pace: &Pace, beat: Beat) -> Mono {
        let pause = if self.is_busy(now) {
            pace.keepalive_busy_ms
        } else {
            pace.keepalive_idle_ms
        };
        beat.from(self.sent.unwrap_or(self.heard).after(pause))
    }
}
