//! Who listens to which group, and frames that wait for listeners (network 6).

use alloc::vec::Vec;

use crate::base::{Address, Mono, NetworkId, Table, table};
use crate::crypto::rng::Rng;
use crate::wire::multicast::Group;

/// A LIKE is good for so long.
const LIKE_MS: u64 = 600_000;
/// A frame waits for members so long.
const WAIT_MS: u64 = 5_000;
/// Pauses between explicit gathers while nobody is known and frames wait.
const GATHER_MS: [u64; 4] = [250, 1_000, 2_000, 5_000];
/// Pause between explicit gathers for a group with members.
pub(crate) const GATHER_FULL_MS: u64 = 60_000;
/// Most members of one group that are kept.
const GROUP_MAX: usize = 512;

/// A group of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupKey {
    pub(crate) network: NetworkId,
    pub(crate) group: Group,
}

impl table::Key for GroupKey {
    fn mix(&self) -> u64 {
        (self.network, (self.group.mac, self.group.adi)).mix()
    }
}

#[derive(Default)]
struct Members {
    /// In order of the last LIKE.
    list: Vec<(Address, Mono)>,
    /// Last explicit gather.
    gathered: Option<Mono>,
    attempts: u8,
}

/// Who listens, as told by LIKEs and gathers.
///
/// Cap: so many (network, group, member) triples and a sixteenth as many groups; of a full table the group with the most
/// members loses its stalest one. Members fill it; at a root anybody does.
pub(crate) struct Listeners {
    groups: Table<GroupKey, Members>,
    cap: usize,
    total: usize,
}

impl Listeners {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            groups: Table::new((cap / 16).max(64), seed),
            cap: cap.max(1),
            total: 0,
        }
    }

    /// `member` said it listens, or somebody said so of it.
    pub(crate) fn add(&mut self, key: GroupKey, member: Address, now: Mono) {
        if let Some(members) = self.groups.get_mut(&key) {
            let known = members.list.iter().position(|m| m.0 == member);
            let full = members.list.len() >= GROUP_MAX;
            if known.is_some() || full {
                members.list.remove(known.unwrap_or(0));
                members.list.push((member, now));
                return;
            }
        }
        let room = self.groups.get(&key).is_some() || !self.groups.is_full();
        if self.total >= self.cap || !room {
            self.evict(now);
        }
        if self.groups.get(&key).is_none() && self.groups.insert(key, Members::default()).is_err() {
            return;
        }
        if let Some(members) = self.groups.get_mut(&key) {
            members.list.push((member, now));
            self.total += 1;
        }
    }

    fn evict(&mut self, now: Mono) {
        let before = self.total;
        self.expire(now);
        if self.total < before {
            return;
        }
        let fullest = self
            .groups
            .iter()
            .max_by_key(|(_, m)| m.list.len())
            .map(|(k, _)| *k);
        if let Some(members) = fullest.and_then(|key| self.groups.get_mut(&key))
            && !members.list.is_empty()
        {
            members.list.remove(0);
            self.total -= 1;
        }
    }

    fn expire(&mut self, now: Mono) {
        let mut total = 0;
        self.groups.retain(|_, members| {
            members.list.retain(|m| now.since(m.1) < LIKE_MS);
            total += members.list.len();
            !members.list.is_empty() || members.gathered.is_some_and(|g| now.since(g) < LIKE_MS)
        });
        self.total = total;
    }

    pub(crate) fn remove(&mut self, key: GroupKey, member: Address) {
        if let Some(members) = self.groups.get_mut(&key) {
            let before = members.list.len();
            members.list.retain(|m| m.0 != member);
            self.total -= before - members.list.len();
        }
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.groups.retain(|key, _| key.network != network);
        self.total = self.groups.iter().map(|(_, m)| m.list.len()).sum();
    }

    /// Fresh members, the newest first.
    pub(crate) fn of(&self, key: GroupKey, now: Mono) -> impl Iterator<Item = Address> {
        let list = self.groups.get(&key).map_or(&[][..], |m| &m.list);
        list.iter()
            .rev()
            .filter(move |m| now.since(m.1) < LIKE_MS)
            .map(|m| m.0)
    }

    /// May the group be gathered for now? Remembers that it was. `any`: members are known.
    pub(crate) fn gather(&mut self, key: GroupKey, any: bool, now: Mono) -> bool {
        if self.groups.get(&key).is_none() && self.groups.insert(key, Members::default()).is_err() {
            return false;
        }
        let Some(members) = self.groups.get_mut(&key) else {
            return false;
        };
        let last = *GATHER_MS.last().unwrap_or(&WAIT_MS);
        let pause = if any {
            GATHER_FULL_MS
        } else {
            match members.attempts.checked_sub(1) {
                None => 0,
                Some(n) => GATHER_MS.get(usize::from(n)).copied().unwrap_or(last),
            }
        };
        if members.gathered.is_some_and(|at| now.since(at) < pause) {
            return false;
        }
        members.gathered = Some(now);
        members.attempts = if any {
            0
        } else {
            members.attempts.saturating_add(1)
        };
        true
    }

    /// When a group without members may be gathered for again.
    pub(crate) fn gather_at(&self, key: GroupKey) -> Option<Mono> {
        let members = self.groups.get(&key)?;
        let n = usize::from(members.attempts.checked_sub(1)?);
        let pause = GATHER_MS.get(n).or(GATHER_MS.last())?;
        members.gathered.map(|at| at.after(*pause))
    }
}

/// A frame that more members are to get when they become known.
pub(crate) struct Waiting {
    pub(crate) key: GroupKey,
    pub(crate) until: Mono,
    /// Who has it already.
    pub(crate) sent: Vec<Address>,
    /// Most recipients.
    pub(crate) limit: usize,
    /// The Ethernet frame.
    pub(crate) frame: Vec<u8>,
}

/// Cap: `Limits::multicast_waiting` frames; the oldest goes. Only our own taps fill it. Buffers
/// are kept and used again.
pub(crate) struct Queue {
    frames: Vec<Waiting>,
    spare: Vec<(Vec<u8>, Vec<Address>)>,
    cap: usize,
}

impl Queue {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            frames: Vec::with_capacity(cap),
            spare: Vec::with_capacity(cap),
            cap: cap.max(1),
        }
    }

    /// Keeps a copy; `true` if the oldest had to go for it.
    pub(crate) fn push(
        &mut self,
        key: GroupKey,
        frame: &[u8],
        sent: &[Address],
        limit: usize,
        now: Mono,
    ) -> bool {
        let evicted = self.frames.len() >= self.cap;
        if evicted {
            let oldest = self.frames.remove(0);
            self.spare.push((oldest.frame, oldest.sent));
        }
        let (mut copy, mut list) = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(frame);
        list.clear();
        list.extend_from_slice(sent);
        self.frames.push(Waiting {
            key,
            until: now.after(WAIT_MS),
            sent: list,
            limit,
            frame: copy,
        });
        evicted
    }

    /// Takes out the frames of a group that `member` has not got yet, one by one; the caller
    /// puts each back.
    pub(crate) fn take(&mut self, key: GroupKey, member: Address) -> Option<Waiting> {
        let at = self
            .frames
            .iter()
            .position(|w| w.key == key && w.sent.len() < w.limit && !w.sent.contains(&member))?;
        Some(self.frames.remove(at))
    }

    pub(crate) fn put_back(&mut self, waiting: Waiting) {
        let at = self.frames.iter().position(|w| w.until > waiting.until);
        self.frames.insert(at.unwrap_or(self.frames.len()), waiting);
    }

    pub(crate) fn expire(&mut self, now: Mono) {
        while let Some(at) = self.frames.iter().position(|w| w.until <= now) {
            let gone = self.frames.remove(at);
            self.spare.push((gone.frame, gone.sent));
        }
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.frames.retain(|w| w.key.network != network);
    }

    /// Group number `n` for which frames wait that nobody has got.
    pub(crate) fn hungry(&self, n: usize) -> Option<GroupKey> {
        self.frames
            .iter()
            .filter(|w| w.sent.is_empty())
            .map(|w| w.key)
            .nth(n)
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.frames.iter().map(|w| w.until).min()
    }
}

/// Shuffles in place.
pub(crate) fn shuffle(rng: &mut Rng, list: &mut [Address]) {
    for i in (1..list.len()).rev() {
        let j = rng.below(i as u32 + 1) as usize;
        list.swap(i, j);
    }
}
