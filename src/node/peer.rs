//! A peer: an identity with a key agreed once, its version, its paths, its gates (node 4).

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::deadline::Beat;
use super::io::Ends;
use super::path::Path;
use super::policy::{self, Pace};
use super::record::Recalled;
use crate::base::gate::Once;
use crate::base::{Limits, Mono, least};
use crate::crypto::armor::SessionKeys;
use crate::wire::identity::Identity;
use crate::wire::inet;
use crate::wire::packet::Suite;
pub use crate::wire::peer_record::Version;

/// Added to the quality of a path that did not answer an ECHO…
const IN_DOUBT: u64 = 1 << 40;

/// …within this.
const DOUBT_MS: u64 = policy::PROBE_REPEAT_MS;

/// Pushes obeyed in a row (node 8.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PushGate {
    last: Option<Mono>,
    count: u8,
}

impl PushGate {
    pub(crate) fn pass(&mut self, now: Mono) -> bool {
        if self
            .last
            .is_none_or(|at| now.since(at) > policy::PUSH_PAUSE_MS)
        {
            self.count = 0;
        }
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
        self.count <= policy::PUSHES_IN_A_ROW
    }
}

/// How we keep in touch with an upstream, a moon's seed or an anchor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contact {
    /// Next HELLO.
    pub(crate) next: Mono,
    /// HELLOs since the last answer.
    pub(crate) attempts: u32,
    /// First of them.
    pub(crate) asked: Option<Mono>,
    /// Answers now; turned off [`policy::OFFLINE_MS`] after `asked`.
    pub(crate) answering: bool,
    /// Has ever answered.
    pub(crate) met: bool,
    /// Asked because of news, so that silence is not to be expected.
    hurried: bool,
}

impl Contact {
    pub(crate) fn new(now: Mono) -> Self {
        Self {
            next: now,
            attempts: 0,
            asked: None,
            answering: false,
            met: false,
            hurried: false,
        }
    }

    /// It said something; is there no other reason, it is asked again at `next`.
    pub(crate) fn answered(&mut self, next: Mono) {
        if self.asked.is_some() || !self.answering {
            self.next = next;
        }
        self.attempts = 0;
        self.asked = None;
        self.answering = true;
        self.met = true;
        self.hurried = false;
    }

    /// Something changed: it is asked now, and soon again.
    pub(crate) fn hurry(&mut self, now: Mono) {
        self.next = now;
        self.attempts = 0;
        self.hurried = true;
    }

    /// Whatever was asked before cannot have been answered.
    pub(crate) fn start_over(&mut self) {
        self.asked = None;
    }

    /// A HELLO leaves now.
    pub(crate) fn asking(&mut self, now: Mono) {
        let asked = *self.asked.get_or_insert(now);
        let steps: &[u64] = if self.met && !self.hurried {
            &policy::HELLO_AGAIN_MS
        } else {
            &policy::HELLO_FIRST_MS
        };
        let pause = match steps.get(self.attempts as usize) {
            Some(&pause) => pause,
            None if now.since(asked) < policy::HELLO_PATIENCE_MS => policy::HELLO_MINUTE_MS,
            None => policy::HELLO_FOREVER_MS,
        };
        self.attempts = self.attempts.saturating_add(1);
        self.next = now.after(pause);
    }

    /// When silence turns into "does not answer".
    pub(crate) fn gives_up_at(&self) -> Option<Mono> {
        self.asked
            .filter(|_| self.answering)
            .map(|at| at.after(policy::OFFLINE_MS))
    }

    /// Next thing to do.
    pub(crate) fn deadline(&self) -> Mono {
        self.gives_up_at().map_or(self.next, |at| at.min(self.next))
    }
}

/// Packets between us and a peer since it is known. They wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Authentic ones from it.
    pub received: u64,
    /// To it.
    pub sent: u64,
    /// In its name, and not authentic.
    pub refused: u64,
}

impl Traffic {
    /// A packet came in its name.
    pub(crate) fn count(&mut self, authentic: bool) {
        let n = if authentic {
            &mut self.received
        } else {
            &mut self.refused
        };
        *n = n.wrapping_add(1);
    }
}

pub(crate) struct Peer {
    pub(crate) identity: Identity,
    pub(crate) keys: SessionKeys,
    pub(crate) version: Option<Version>,
    pub(crate) paths: heapless::Vec<Path, { Limits::PATHS_MAX }>,
    /// Last authenticated packet that counts (node 6.4), direct or relayed.
    pub(crate) heard: Option<Mono>,
    /// Last real traffic.
    pub(crate) active: Option<Mono>,
    /// Last proof of membership.
    pub(crate) trust: Option<Mono>,
    /// Next HELLO round over the paths.
    pub(crate) round: Option<Mono>,
    /// Set for upstreams and whoever else must stay in reach.
    pub(crate) contact: Option<Contact>,
    /// In a world: reached only at stable endpoints, never forgotten.
    pub(crate) upstream: bool,
    /// When the path in use was chosen.
    switched: Option<Mono>,
    chosen: Option<Ends>,
    /// The path that was told as the one in use.
    told: Option<Ends>,
    /// Unknown paths tried lately.
    tried: heapless::Vec<(Ends, Mono), 4>,
    pub(crate) pushed: Option<Mono>,
    pub(crate) push_gate: PushGate,
    pub(crate) whois_gate: Once,
    pub(crate) rendezvous_gate: Once,
    pub(crate) world_gate: Once,
    pub(crate) probe_gate: Once,
    pub(crate) created: Mono,
    pub(crate) announced: bool,
    pub(crate) traffic: Traffic,
    /// Where it was in an earlier run, until it has a path.
    pub(crate) recalled: Option<Box<Recalled>>,
    /// When the owner's hints were tried.
    pub(crate) hinted: Option<Mono>,
}

impl Peer {
    pub(crate) fn new(identity: Identity, keys: SessionKeys, now: Mono) -> Self {
        Self {
            identity,
            keys,
            version: None,
            paths: heapless::Vec::new(),
            heard: None,
            active: None,
            trust: None,
            round: None,
            contact: None,
            upstream: false,
            switched: None,
            chosen: None,
            told: None,
            tried: heapless::Vec::new(),
            recalled: None,
            hinted: None,
            pushed: None,
            push_gate: PushGate::default(),
            whois_gate: Once::new(),
            rendezvous_gate: Once::new(),
            world_gate: Once::new(),
            probe_gate: Once::new(),
            created: now,
            announced: false,
            traffic: Traffic::default(),
        }
    }

    /// Suite for packets to it (wire 6.8).
    pub(crate) fn suite(&self, aes: bool) -> Suite {
        if aes && self.version.is_some_and(|v| v.protocol >= 12) {
            Suite::AesGmacSiv
        } else {
            Suite::Salsa
        }
    }

    pub(crate) fn has_echo(&self) -> bool {
        self.version.is_some_and(Version::has_echo)
    }

    pub(crate) fn pieces_max(&self) -> usize {
        self.version.map_or(4, Version::pieces_max)
    }

    pub(crate) fn is_active(&self, now: Mono) -> bool {
        self.active
            .is_some_and(|at| now.since(at) < policy::ACTIVE_MS)
    }

    pub(crate) fn has_trust(&self, now: Mono) -> bool {
        self.trust
            .is_some_and(|at| now.since(at) < policy::TRUST_MS)
    }

    pub(crate) fn path(&self, ends: &Ends) -> Option<&Path> {
        self.paths.iter().find(|p| p.ends == *ends)
    }

    pub(crate) fn path_mut(&mut self, ends: &Ends) -> Option<&mut Path> {
        self.paths.iter_mut().find(|p| p.ends == *ends)
    }

    /// The path to send over, with some staying power (node 5.2).
    pub(crate) fn choose(&mut self, now: Mono) -> Option<&mut Path> {
        if self.paths.len() == 1 {
            return self.paths.first_mut().filter(|p| p.is_usable(now));
        }
        let mut best: Option<(usize, u64)> = None;
        let mut current: Option<(usize, u64)> = None;
        for (i, path) in self.paths.iter().enumerate() {
            if !path.is_usable(now) {
                continue;
            }
            let mut quality = path.quality(now);
            let doubt = |p: &Path| p.probed.is_some_and(|at| now.since(at) >= DOUBT_MS);
            if doubt(path) && self.paths.iter().any(|p| p.is_usable(now) && !doubt(p)) {
                // One that has just answered is better than one that has not.
                quality = quality.saturating_add(IN_DOUBT);
            }
            // Ties: the later entry.
            if best.is_none_or(|(_, q)| quality <= q) {
                best = Some((i, quality));
            }
            if self.chosen.is_some_and(|ends| ends == path.ends) {
                current = Some((i, quality));
            }
        }
        let (mut at, quality) = best?;
        if let Some((now_at, now_quality)) = current {
            let alive = self.paths.get(now_at).is_some_and(|p| p.is_alive(now));
            let fresh = self
                .switched
                .is_some_and(|s| now.since(s) < policy::SWITCH_MS);
            let gain = now_quality.saturating_sub(quality);
            let scope = self
                .paths
                .get(at)
                .map_or(1, |p| 8 - inet::scope_of(&p.ends.remote) as u64);
            let small = gain < policy::SWITCH_GAIN_MS * scope || gain * 5 < now_quality;
            // Nothing measured yet is no reason to stay.
            let measured = self
                .paths
                .get(now_at)
                .is_some_and(|p| p.latency_ms.is_some());
            let doubt = now_quality >= IN_DOUBT;
            if alive && !doubt && (small || (fresh && measured)) {
                at = now_at;
            }
        }
        let path = self.paths.get_mut(at)?;
        if self.chosen.is_none_or(|ends| ends != path.ends) {
            self.chosen = Some(path.ends);
            self.switched = Some(now);
        }
        Some(path)
    }

    /// Packets take this path; `true`: another one than was told last.
    pub(crate) fn tell(&mut self, ends: &Ends) -> bool {
        self.told.replace(*ends).is_none_or(|told| told != *ends)
    }

    /// The path [`Self::choose`] would give, without changing anything.
    pub(crate) fn best(&self, now: Mono) -> Option<&Path> {
        if let Some(ends) = &self.chosen
            && let Some(path) = self.path(ends)
            && path.is_usable(now)
            && path.is_alive(now)
        {
            return Some(path);
        }
        self.paths
            .iter()
            .rev()
            .filter(|p| p.is_usable(now))
            .min_by_key(|p| p.quality(now))
    }

    /// The best path of that class, as others would find it: socket and address.
    pub(crate) fn best_of(&self, class: u8, now: Mono) -> Option<Ends> {
        let all = self.paths.iter();
        let such = all.filter(|p| !p.is_expired(now) && p.class() == class);
        such.min_by_key(|p| p.quality(now)).map(|p| p.ends)
    }

    /// Any path, even an expired one: the last straw (node 6.1).
    pub(crate) fn last_straw(&self) -> Option<&Path> {
        self.paths.iter().max_by_key(|p| p.heard)
    }

    /// Adds a confirmed path: over a silent one with the same IP and socket, else into free room,
    /// else over the longest silent. Gives back what it replaced.
    pub(crate) fn learn(&mut self, path: Path, cap: usize, now: Mono) -> Option<Path> {
        let same = self.paths.iter().position(|p| {
            p.ends.local == path.ends.local
                && inet::same_ip(&p.ends.remote, &path.ends.remote)
                && !p.holds_against_sibling(now)
        });
        let at = match same {
            Some(at) => at,
            None if self.paths.len() < cap.min(Limits::PATHS_MAX) => {
                let _ = self.paths.push(path);
                return None;
            }
            None => {
                let heard = |at: usize| self.paths.get(at).map(|p| p.heard.as_ms());
                least(self.paths.len(), &heard)?
            }
        };
        self.paths
            .get_mut(at)
            .map(|slot| core::mem::replace(slot, path))
    }

    /// An entry with this IP on this socket is in use: another port of it is a NAT's whim.
    ///
    /// differs from 1.14.1, which holds the entry for 19 s: a NAT that forgot its mappings gives
    /// others, and until they are learnt nobody reaches who is behind it.
    pub(crate) fn has_sibling(&self, ends: &Ends, now: Mono) -> bool {
        self.paths.iter().any(|p| {
            p.ends.local == ends.local
                && inet::same_ip(&p.ends.remote, &ends.remote)
                && p.holds_against_sibling(now)
        })
    }

    /// May an unknown path be tried now? Remembers that it was.
    pub(crate) fn try_path(&mut self, ends: &Ends, now: Mono) -> bool {
        if let Some(entry) = self.tried.iter_mut().find(|t| t.0 == *ends) {
            if now.since(entry.1) < policy::CONFIRM_MS {
                return false;
            }
            entry.1 = now;
            return true;
        }
        if self.tried.is_full() {
            let tried = |at: usize| self.tried.get(at).map(|t| t.1.as_ms());
            let Some(at) = least(self.tried.len(), &tried) else {
                return false;
            };
            let late = |t: &(Ends, Mono)| now.since(t.1) < policy::CONFIRM_MS;
            if self.tried.get(at).is_some_and(late) {
                return false;
            }
            self.tried.swap_remove(at);
        }
        self.tried.push((*ends, now)).is_ok()
    }

    /// Latency of the best path.
    pub(crate) fn latency_ms(&self, now: Mono) -> Option<u32> {
        self.best(now).and_then(|p| p.latency_ms)
    }

    /// Smaller relays better (node 3.1).
    pub(crate) fn weight(&self, now: Mono) -> u64 {
        let Some(age) = self.heard.map(|at| now.since(at)) else {
            return u64::MAX;
        };
        if age >= policy::ACTIVE_MS {
            return u64::MAX;
        }
        let latency = self
            .latency_ms(now)
            .filter(|l| *l > 0)
            .unwrap_or(policy::LATENCY_UNKNOWN_MS);
        u64::from(latency) * (age / policy::UPSTREAM_STEP_MS + 1)
    }

    /// A usable, living path of the same scope class and family exists.
    pub(crate) fn has_alive_like(&self, at: &SocketAddr, now: Mono) -> bool {
        self.paths
            .iter()
            .any(|p| p.is_usable(now) && p.is_alive(now) && p.class() == inet::class_of(at))
    }

    /// Next thing to do for this peer; `keeps_mapping` matters to upstreams only.
    pub(crate) fn deadline(&self, now: Mono, keeps_mapping: bool, pace: &Pace, beat: Beat) -> Mono {
        let mut at = match (&self.contact, self.upstream) {
            (Some(contact), true) => contact.deadline(),
            (contact, _) => {
                let forget = self.heard.unwrap_or(self.created).after(policy::FORGET_MS);
                contact
                    .as_ref()
                    .map_or(forget, |c| forget.min(c.deadline()))
            }
        };
        if self.is_active(now) && !self.paths.is_empty() && !self.upstream {
            at = at.min(self.round.unwrap_or(now));
        }
        if let Some(recalled) = &self.recalled {
            at = at.min(recalled.next());
        }
        let keeps = self.is_active(now) || (self.upstream && keeps_mapping);
        for path in &self.paths {
            if keeps && !path.is_expired(now) {
                at = at.min(path.keepalive_at(now, pace, beat));
            }
            if let Some(check) = path.check_at() {
                at = at.min(check);
            }
        }
        at
    }
}
