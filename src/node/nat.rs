//! What we learn of our outside and do about NATs: surfaces, RENDEZVOUS tries, introductions
//! (node 6.3, 8).

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::io::{Ends, SocketId};
use super::policy;
use crate::base::{Address, Mono, Recent, least};
use crate::wire::inet::{self, Scope};

struct Report {
    reporter: Address,
    /// Both ends of the path by which it came.
    ends: Ends,
    ours: SocketAddr,
    since: Mono,
}

/// What a report changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// Nothing new.
    Same,
    /// First report of this kind.
    First,
    /// Our address of this class is another one now: paths must prove themselves.
    Changed(u8),
    /// The same address as before with another port: the NAT has forgotten a mapping.
    Remapped(u8),
    /// Not a report that may count.
    Refused,
}

/// Our addresses as others see them (node 8.1).
///
/// Cap: `Limits::surfaces`; the oldest goes. Filled by upstreams and trusted peers only, since
/// what stands here is pushed to others.
pub(crate) struct Surfaces {
    reports: Vec<Report>,
    cap: usize,
}

impl Surfaces {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            reports: Vec::with_capacity(cap),
            cap: cap.max(1),
        }
    }

    /// `reporter`, heard directly from `at` on `local`, sees us at `ours`.
    pub(crate) fn report(
        &mut self,
        reporter: Address,
        upstream: bool,
        ends: &Ends,
        ours: &SocketAddr,
        now: Mono,
    ) -> News {
        let class = inet::class_of(ours);
        let scope = inet::scope_of(ours);
        if class != inet::class_of(&ends.remote)
            || matches!(scope, Scope::None | Scope::Loopback | Scope::Multicast)
            || ours.port() == 0
        {
            return News::Refused;
        }
        self.reports
            .retain(|r| now.since(r.since) < policy::SURFACE_MS);
        let same = |r: &Report| {
            r.reporter == reporter && r.ends == *ends && inet::class_of(&r.ours) == class
        };
        let known = self.reports.iter_mut().find(|r| same(r));
        if let Some(entry) = known {
            let moved = !inet::same_ip(&entry.ours, ours);
            entry.since = now;
            let remapped = !moved && entry.ours != *ours;
            entry.ours = *ours;
            if moved && upstream {
                self.reports.retain(|r| {
                    inet::same_ip(&r.ends.remote, &ends.remote) || inet::class_of(&r.ours) != class
                });
                return News::Changed(class);
            }
            return match (moved, remapped) {
                (true, _) => News::First,
                (_, true) => News::Remapped(class),
                (false, false) => News::Same,
            };
        }
        let since = |at: usize| self.reports.get(at).map(|r| r.since.as_ms());
        if self.reports.len() >= self.cap
            && let Some(oldest) = least(self.reports.len(), &since)
        {
            self.reports.swap_remove(oldest);
        }
        let fresh = self.reports.iter().all(|r| r.ours != *ours);
        self.reports.push(Report {
            reporter,
            ends: *ends,
            ours: *ours,
            since: now,
        });
        if fresh { News::First } else { News::Same }
    }

    /// Our addresses as seen, without duplicates.
    pub(crate) fn iter(&self, now: Mono) -> impl Iterator<Item = SocketAddr> {
        let reports = &self.reports;
        reports.iter().enumerate().filter_map(move |(i, r)| {
            let fresh = now.since(r.since) < policy::SURFACE_MS;
            let first = reports.get(..i)?.iter().all(|o| o.ours != r.ours);
            (fresh && first).then_some(r.ours)
        })
    }

    pub(crate) fn forget_socket(&mut self, local: SocketId) {
        self.reports.retain(|r| r.ends.local != local);
    }
}

/// A running try to reach a peer where an upstream said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try {
    pub(crate) peer: Address,
    pub(crate) ends: Ends,
    step: u8,
    pub(crate) next: Mono,
}

/// Cap: `Limits::traversal_tries`, one per peer; the oldest goes. Upstreams fill it.
pub(crate) struct Tries {
    tries: Vec<Try>,
    cap: usize,
}

impl Tries {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            tries: Vec::with_capacity(cap),
            cap: cap.max(1),
        }
    }

    pub(crate) fn start(&mut self, peer: Address, ends: &Ends, now: Mono) {
        self.stop(peer);
        if self.tries.len() >= self.cap {
            self.tries.remove(0);
        }
        let next = now.after(policy::RENDEZVOUS_MS[0]);
        self.tries.push(Try {
            peer,
            ends: *ends,
            step: 0,
            next,
        });
    }

    pub(crate) fn stop(&mut self, peer: Address) {
        self.tries.retain(|t| t.peer != peer);
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.tries.iter().map(|t| t.next).min()
    }

    /// A try whose next ECHO is due; it is moved on or ended.
    pub(crate) fn due(&mut self, now: Mono) -> Option<Try> {
        let at = self.tries.iter().position(|t| t.next <= now)?;
        let due = *self.tries.get(at)?;
        let steps = policy::RENDEZVOUS_MS;
        let step = usize::from(due.step);
        match (steps.get(step), steps.get(step + 1)) {
            (Some(done), Some(pause)) => {
                let entry = self.tries.get_mut(at)?;
                entry.step += 1;
                entry.next = now.after(pause - done);
            }
            _ => {
                self.tries.remove(at);
            }
        }
        Some(due)
    }
}

/// Pairs introduced lately (node 6.3).
///
/// Cap: `Limits::introductions`; the oldest goes. Whoever sends through us fills it.
pub(crate) struct Introductions {
    pairs: Recent<(Address, Address)>,
}

impl Introductions {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            pairs: Recent::new(cap, seed),
        }
    }

    /// May this pair be introduced now? Remembers that it was.
    pub(crate) fn pass(&mut self, a: Address, b: Address, now: Mono) -> bool {
        let pair = if a < b { (a, b) } else { (b, a) };
        self.pairs.pass(pair, now, policy::INTRODUCE_MS, false)
    }
}
