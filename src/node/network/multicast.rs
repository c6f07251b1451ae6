//! What sending a multicast frame leaves behind: questions for members, frames that wait for
//! them, groups of hosts behind our bridge (network 6.2, 6.3).

use alloc::vec::Vec;

pub(crate) use super::listeners::{GroupKey, Listeners};
use crate::base::{Address, Mono, NetworkId, Table};
use crate::crypto::rng::Rng;
use crate::wire::multicast::Group;

/// A frame waits for members so long.
const WAIT_MS: u64 = 5_000;
/// Pauses between explicit gathers while nobody is known and frames wait. Real nodes ask once
/// and wait for the next frame, so that a node whose group was not announced in time is found
/// a second later at best.
const GATHER_MS: [u64; 4] = [250, 1_000, 2_000, 5_000];
/// Pause between explicit gathers for a group with members.
const GATHER_FULL_MS: u64 = 60_000;
/// A group of hosts behind us is announced so long after its last use.
const BEHIND_MS: u64 = 1_200_000;

/// Pause between two gathers for a group whose members are known in part.
pub(crate) const fn gather_ms(low_bandwidth: bool) -> u64 {
    if low_bandwidth {
        3 * GATHER_FULL_MS
    } else {
        GATHER_FULL_MS
    }
}

#[derive(Clone, Copy)]
struct Asked {
    at: Mono,
    /// Since members were known or nobody asked for a while.
    attempts: u8,
}

impl Asked {
    /// When to ask again while nobody is known.
    fn again(self) -> Mono {
        let n = usize::from(self.attempts).saturating_sub(1);
        let last = GATHER_MS.len() - 1;
        self.at.after(GATHER_MS[n.min(last)])
    }
}

/// When which group was gathered for.
///
/// Cap: four groups per waiting frame; only our own taps fill it; the oldest goes, which may be
/// asked for again at once then.
pub(crate) struct Gathers {
    table: Table<GroupKey, Asked>,
}

impl Gathers {
    pub(crate) fn new(frames: usize, seed: u64) -> Self {
        Self {
            table: Table::new(frames.saturating_mul(4).max(16), seed),
        }
    }

    /// May the group be gathered for now? Remembers that it was. `any`: members are known.
    /// `full_ms`: pause while members are known, [`gather_ms`].
    pub(crate) fn pass(&mut self, key: GroupKey, any: bool, now: Mono, full_ms: u64) -> bool {
        let before = self.table.get(&key).copied();
        let due = before.is_none_or(|asked| {
            let due = if any {
                asked.at.after(full_ms)
            } else {
                asked.again()
            };
            due <= now
        });
        if !due {
            return false;
        }
        if before.is_none() {
            self.table.make_room(|asked| asked.at);
        }
        let attempts = match before {
            Some(asked) if !any && now.since(asked.at) < GATHER_FULL_MS => {
                asked.attempts.saturating_add(1)
            }
            _ => 1,
        };
        let _ = self.table.insert(key, Asked { at: now, attempts });
        true
    }

    /// When a group without members may be gathered for again.
    pub(crate) fn again(&self, key: GroupKey) -> Option<Mono> {
        self.table.get(&key).map(|asked| asked.again())
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.table.forget(network.get());
    }
}

/// A frame that more members are to get when they become known.
pub(crate) struct Waiting {
    pub(crate) key: GroupKey,
    until: Mono,
    /// Who has it already.
    pub(crate) sent: Vec<Address>,
    /// Most recipients.
    limit: usize,
    /// Nobody listened when it came.
    hungry: bool,
    /// The source MAC is sent along.
    pub(crate) foreign: bool,
    /// The Ethernet frame.
    pub(crate) frame: Vec<u8>,
}

/// Frames that wait.
///
/// Cap: `Limits::multicast_waiting` frames; the oldest goes
/// ([`MulticastFull`](crate::node::io::DropReason::MulticastFull)). Our own taps fill it, and
/// members that ask a replicator. Buffers are kept and used again.
pub(crate) struct Queue {
    frames: Vec<Waiting>,
    spare: Vec<(Vec<u8>, Vec<Address>)>,
    cap: usize,
}

/// What a frame waits for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) key: GroupKey,
    pub(crate) limit: usize,
    pub(crate) hungry: bool,
    pub(crate) foreign: bool,
}

impl Queue {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            frames: Vec::with_capacity(cap),
            spare: Vec::with_capacity(cap),
            cap: cap.max(1),
        }
    }

    /// Keeps a copy; the network whose oldest frame had to go for it, if one had to.
    pub(crate) fn push(
        &mut self,
        wanted: Wanted,
        frame: [&[u8]; 2],
        sent: &[Address],
        now: Mono,
    ) -> Option<NetworkId> {
        let mut evicted = None;
        if self.frames.len() >= self.cap {
            let oldest = self.frames.remove(0);
            evicted = Some(oldest.key.network);
            self.spare.push((oldest.frame, oldest.sent));
        }
        let (mut copy, mut list) = self.spare.pop().unwrap_or_default();
        copy.clear();
        for part in frame {
            copy.extend_from_slice(part);
        }
        list.clear();
        list.extend_from_slice(sent);
        let Wanted {
            key,
            limit,
            hungry,
            foreign,
        } = wanted;
        self.frames.push(Waiting {
            key,
            until: now.after(WAIT_MS),
            sent: list,
            limit,
            hungry,
            foreign,
            frame: copy,
        });
        evicted
    }

    /// Takes out the oldest frame of a group that `member` has not got yet, and counts it among
    /// those who have; the caller puts it back.
    pub(crate) fn take(&mut self, key: GroupKey, member: Address) -> Option<Waiting> {
        let wants =
            |w: &Waiting| w.key == key && w.sent.len() < w.limit && !w.sent.contains(&member);
        let at = self.frames.iter().position(wants)?;
        let mut waiting = self.frames.remove(at);
        waiting.sent.push(member);
        waiting.hungry = false;
        Some(waiting)
    }

    pub(crate) fn put_back(&mut self, waiting: Waiting) {
        let at = self.frames.iter().position(|w| w.until > waiting.until);
        self.frames.insert(at.unwrap_or(self.frames.len()), waiting);
    }

    pub(crate) fn expire(&mut self, now: Mono) {
        self.drop_if(|w| w.until <= now);
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        self.drop_if(|w| w.key.network == network);
    }

    fn drop_if(&mut self, mut gone: impl FnMut(&Waiting) -> bool) {
        while let Some(at) = self.frames.iter().position(&mut gone) {
            let gone = self.frames.remove(at);
            self.spare.push((gone.frame, gone.sent));
        }
    }

    /// Group number `n` for which frames wait that found no listener.
    pub(crate) fn hungry(&self, n: usize) -> Option<GroupKey> {
        let mut hungry = self.frames.iter().filter(|w| w.hungry);
        hungry.nth(n).map(|w| w.key)
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.frames.first().map(|w| w.until)
    }
}

/// Groups of hosts behind us, announced as if they were ours.
///
/// Cap: `Limits::groups_per_network` for all networks together; hosts behind our bridge fill
/// it; the longest unused goes.
pub(crate) struct Behind {
    table: Option<Table<GroupKey, Mono>>,
    cap: usize,
    seed: u64,
}

impl Behind {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: None,
            cap,
            seed,
        }
    }

    /// A host sent to the group, so it may listen to it. Is that new?
    pub(crate) fn used(&mut self, key: GroupKey, now: Mono) -> bool {
        let (cap, seed) = (self.cap, self.seed);
        let table = self.table.get_or_insert_with(|| Table::new(cap, seed));
        if let Some(at) = table.get_mut(&key) {
            *at = now;
            return false;
        }
        table.make_room(|at| *at);
        table.insert(key, now).is_some()
    }

    pub(crate) fn of(&self, network: NetworkId) -> impl Iterator<Item = Group> {
        let all = self.table.iter().flat_map(Table::iter);
        all.filter(move |(key, _)| key.network == network)
            .map(|(key, _)| key.group)
    }

    pub(crate) fn expire(&mut self, now: Mono) {
        if let Some(table) = &mut self.table {
            table.retain(|_, at| now.since(*at) < BEHIND_MS);
        }
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        if let Some(table) = &mut self.table {
            table.forget(network.get());
        }
    }
}

/// Shuffles in place.
pub(crate) fn shuffle(rng: &mut Rng, list: &mut [Address]) {
    for i in (1..list.len()).rev() {
        let j = rng.below(u32::try_from(i).unwrap_or(u32::MAX).saturating_add(1));
        list.swap(i, j as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mac;

    fn key(n: u8) -> GroupKey {
        GroupKey {
            network: NetworkId::new(0xff0a_0000_0000_0001).unwrap(),
            group: Group {
                mac: Mac::new([1, 0, 0x5e, 0, 0, n]),
                adi: 0,
            },
        }
    }

    fn wanted(n: u8) -> Wanted {
        Wanted {
            key: key(n),
            limit: 2,
            hungry: true,
            foreign: false,
        }
    }

    fn address(n: u64) -> Address {
        Address::new(n).unwrap()
    }

    #[test]
    fn pauses_between_gathers_grow_and_start_anew_after_a_minute() {
        let mut gathers = Gathers::new(4, 1);
        let start = Mono::from_ms(1 << 40);
        let mut now = start;
        assert!(gathers.pass(key(1), false, now, gather_ms(false)));
        for pause in [250, 1_000, 2_000, 5_000, 5_000] {
            assert_eq!(gathers.again(key(1)), Some(now.after(pause)));
            assert!(!gathers.pass(key(1), false, now.after(pause - 1), gather_ms(false)));
            now = now.after(pause);
            assert!(gathers.pass(key(1), false, now, gather_ms(false)));
        }
        // Members are known: once per minute.
        assert!(!gathers.pass(key(1), true, now.after(59_999), gather_ms(false)));
        assert!(gathers.pass(key(1), true, now.after(60_000), gather_ms(false)));
        now = now.after(160_000);
        assert!(gathers.pass(key(1), false, now, gather_ms(false)));
        assert_eq!(gathers.again(key(1)), Some(now.after(250)));
    }

    #[test]
    fn of_too_many_gathers_the_oldest_is_forgotten() {
        let mut gathers = Gathers::new(4, 1);
        let now = Mono::from_ms(1 << 40);
        for n in 0..17 {
            assert!(gathers.pass(key(n), false, now.after(u64::from(n)), gather_ms(false)));
        }
        let now = now.after(20);
        assert!(!gathers.pass(key(1), false, now, gather_ms(false)));
        assert!(gathers.pass(key(0), false, now, gather_ms(false)));
    }

    #[test]
    fn a_waiting_frame_goes_to_each_once_up_to_its_limit() {
        let mut queue = Queue::new(2);
        let now = Mono::from_ms(1 << 40);
        assert_eq!(queue.push(wanted(1), [b"a", b"b"], &[], now), None);
        assert_eq!(queue.hungry(0), Some(key(1)));
        let waiting = queue.take(key(1), address(1)).unwrap();
        assert_eq!(waiting.frame, b"ab");
        queue.put_back(waiting);
        assert_eq!(queue.hungry(0), None);
        assert!(queue.take(key(1), address(1)).is_none());
        assert!(queue.take(key(2), address(2)).is_none());
        let waiting = queue.take(key(1), address(2)).unwrap();
        queue.put_back(waiting);
        assert!(queue.take(key(1), address(3)).is_none());
        assert_eq!(queue.deadline(), Some(now.after(WAIT_MS)));
        queue.expire(now.after(WAIT_MS));
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn the_oldest_waiting_frame_makes_room_and_order_survives() {
        let mut queue = Queue::new(2);
        let now = Mono::from_ms(1 << 40);
        queue.push(wanted(1), [b"a", b""], &[], now);
        queue.push(wanted(1), [b"b", b""], &[], now.after(1));
        let evicted = queue.push(wanted(1), [b"c", b""], &[], now.after(2));
        assert_eq!(evicted, Some(key(1).network));
        let first = queue.take(key(1), address(1)).unwrap();
        assert_eq!(first.frame, b"b");
        queue.put_back(first);
        assert_eq!(queue.deadline(), Some(now.after(1 + WAIT_MS)));
        queue.forget_network(key(1).network);
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn groups_of_hosts_behind_us_are_bounded_and_age() {
        let mut behind = Behind::new(2, 1);
        let now = Mono::from_ms(1 << 40);
        assert!(behind.used(key(1), now));
        assert!(!behind.used(key(1), now.after(5)));
        assert!(behind.used(key(2), now.after(6)));
        assert!(behind.used(key(3), now.after(7)));
        let network = key(1).network;
        let mut left: std::vec::Vec<Group> = behind.of(network).collect();
        left.sort_unstable();
        assert_eq!(left, [key(2).group, key(3).group]);
        behind.expire(now.after(6 + BEHIND_MS));
        assert_eq!(behind.of(network).count(), 1);
        behind.forget_network(network);
        assert_eq!(behind.of(network).count(), 0);
    }
}
