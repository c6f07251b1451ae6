//! Who listens to which group, as told by LIKEs and gathers (network 6.2, 6.4).
//!
//! Bounds: `cap` pairs of group and member (40 bytes each, resident when first used), a
//! sixteenth as many groups, an eighth as many members, 512 members of a group, 64 groups (at a
//! root a sixty-fourth of the cap) of a member. Members fill it; at a root anybody does, so a
//! member at its bound gets no more, and of full tables the pair goes that was refreshed the
//! longest ago.
//!
//! Invariants: each pair hangs in two lists, that of all pairs and that of its group, both in
//! order of refresh; a group is in the table if and only if its list is not empty; the count of
//! a member is the number of its pairs and not 0.

use alloc::vec::Vec;

use crate::base::{Address, Key, Mac, Mono, NetworkId, Slot, Table};
use crate::wire::multicast::Group;

/// A LIKE is good for so long.
pub(crate) const LIKE_MS: u64 = 600_000;
/// Most members of one group that are kept.
const GROUP_MAX: u32 = 512;
/// Least bound of the groups of one member.
const MEMBER_MAX: usize = 64;
/// The end of a list.
const NONE: u32 = u32::MAX;

/// A group of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupKey {
    pub(crate) network: NetworkId,
    pub(crate) group: Group,
}

impl Key for GroupKey {
    const WORDS: usize = 3;

    fn words(self) -> [u64; 3] {
        (self.network, (self.group.mac, u64::from(self.group.adi))).words()
    }

    fn from_words(words: [u64; 3]) -> Self {
        let (network, (mac, adi)) = <(NetworkId, (Mac, u64))>::from_words(words);
        let adi = adi as u32;
        Self {
            network,
            group: Group { mac, adi },
        }
    }
}

#[derive(Clone, Copy)]
struct Links {
    before: u32,
    after: u32,
}

const ALONE: Links = Links {
    before: NONE,
    after: NONE,
};

/// A list through the pairs, in order of refresh.
#[derive(Clone, Copy)]
struct Chain {
    first: u32,
    last: u32,
    len: u32,
}

const EMPTY: Chain = Chain {
    first: NONE,
    last: NONE,
    len: 0,
};

#[derive(Clone, Copy)]
enum List {
    All,
    Group,
}

struct Pair {
    member: Address,
    refreshed: Mono,
    group: Slot,
    links: [Links; 2],
}

/// Pairs of group and member.
pub(crate) struct Listeners {
    pairs: Vec<Pair>,
    /// Slots of `pairs` that are free again, chained by their first links.
    free: u32,
    all: Chain,
    groups: Table<GroupKey, Chain>,
    members: Table<Address, u32>,
    cap: usize,
    member_max: u32,
}

impl Listeners {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        let cap = cap.clamp(1, 1 << 24);
        Self {
            pairs: Vec::with_capacity(cap),
            free: NONE,
            all: EMPTY,
            groups: Table::new((cap / 16).max(64), seed),
            members: Table::new((cap / 8).max(64), seed),
            cap,
            member_max: u32::try_from((cap / 64).max(MEMBER_MAX)).unwrap_or(u32::MAX),
        }
    }

    /// Pairs held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all.len as usize
    }

    /// `member` said it listens, or somebody said so of it.
    pub(crate) fn add(&mut self, key: GroupKey, member: Address, now: Mono) {
        self.expire(now);
        if let Some(at) = self.find(key, member) {
            return self.refresh(at, now);
        }
        let count = self.members.get(&member).copied().unwrap_or(0);
        if count >= self.member_max {
            return;
        }
        if let Some(chain) = self.groups.get(&key)
            && chain.len >= GROUP_MAX
        {
            self.take_out(chain.first);
        }
        while self.all.len > 0 && !self.has_room(key, member) {
            self.take_out(self.all.first);
        }
        let group = match self.groups.find(&key) {
            Some(group) => group,
            None => match self.groups.insert(key, EMPTY) {
                Some(group) => group,
                None => return,
            },
        };
        // Evictions may have been the member's own.
        let count = self.members.get(&member).copied().unwrap_or(0);
        let _ = self.members.insert(member, count + 1);
        let pair = Pair {
            member,
            refreshed: now,
            group,
            links: [ALONE; 2],
        };
        let at = self.free;
        let at = if let Some(slot) = self.pairs.get_mut(at as usize) {
            self.free = slot.links[0].after;
            *slot = pair;
            at
        } else {
            self.pairs.push(pair);
            u32::try_from(self.pairs.len() - 1).unwrap_or(NONE)
        };
        self.append(List::All, at);
        self.append(List::Group, at);
    }

    pub(crate) fn remove(&mut self, key: GroupKey, member: Address) {
        if let Some(at) = self.find(key, member) {
            self.take_out(at);
        }
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        let mut from = 0;
        while let Some((slot, key, chain)) = self.groups.next_from(from) {
            if key.network == network && chain.len > 0 {
                // With its last pair the group goes and the next one is found.
                self.take_out(chain.first);
            } else {
                from = slot.index() + 1;
            }
        }
    }

    /// Fresh members, the newest first.
    pub(crate) fn of(&self, key: GroupKey, now: Mono) -> impl Iterator<Item = Address> {
        let last = self.groups.get(&key).map_or(NONE, |chain| chain.last);
        let newest = self.pairs.get(last as usize);
        core::iter::successors(newest, |pair| {
            self.pairs
                .get(pair.links[List::Group as usize].before as usize)
        })
        .filter(move |pair| now.since(pair.refreshed) < LIKE_MS)
        .map(|pair| pair.member)
    }

    fn has_room(&self, key: GroupKey, member: Address) -> bool {
        (self.all.len as usize) < self.cap
            && (!self.groups.is_full() || self.groups.find(&key).is_some())
            && (!self.members.is_full() || self.members.find(&member).is_some())
    }

    fn expire(&mut self, now: Mono) {
        while let Some(oldest) = self.pairs.get(self.all.first as usize)
            && now.since(oldest.refreshed) >= LIKE_MS
        {
            self.take_out(self.all.first);
        }
    }

    fn find(&self, key: GroupKey, member: Address) -> Option<u32> {
        let mut at = self.groups.get(&key)?.last;
        loop {
            let pair = self.pairs.get(at as usize)?;
            if pair.member == member {
                return Some(at);
            }
            at = pair.links[List::Group as usize].before;
        }
    }

    fn refresh(&mut self, at: u32, now: Mono) {
        if let Some(pair) = self.pairs.get_mut(at as usize) {
            pair.refreshed = now;
        }
        for list in [List::All, List::Group] {
            self.unlink(list, at);
            self.append(list, at);
        }
    }

    fn take_out(&mut self, at: u32) {
        self.unlink(List::All, at);
        self.unlink(List::Group, at);
        let Some(pair) = self.pairs.get_mut(at as usize) else {
            return;
        };
        pair.links[0].after = self.free;
        self.free = at;
        let (member, group) = (pair.member, pair.group);
        if let Some((key, chain)) = self.groups.entry(group)
            && chain.len == 0
        {
            self.groups.remove(&key);
        }
        match self.members.get_mut(&member) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.members.remove(&member);
            }
        }
    }

    fn links(&mut self, list: List, at: u32) -> Option<&mut Links> {
        self.pairs
            .get_mut(at as usize)
            .map(|pair| &mut pair.links[list as usize])
    }

    /// The list in which the pair hangs.
    fn chain(&mut self, list: List, at: u32) -> Option<&mut Chain> {
        match list {
            List::All => Some(&mut self.all),
            List::Group => {
                let group = self.pairs.get(at as usize)?.group;
                self.groups.at_mut(group)
            }
        }
    }

    fn append(&mut self, list: List, at: u32) {
        let Some(chain) = self.chain(list, at) else {
            return;
        };
        let last = core::mem::replace(&mut chain.last, at);
        if last == NONE {
            chain.first = at;
        }
        chain.len += 1;
        if let Some(links) = self.links(list, last) {
            links.after = at;
        }
        if let Some(links) = self.links(list, at) {
            *links = Links {
                before: last,
                after: NONE,
            };
        }
    }

    fn unlink(&mut self, list: List, at: u32) {
        let Some(Links { before, after }) = self.links(list, at).copied() else {
            return;
        };
        match self.links(list, before) {
            Some(links) => links.after = after,
            None => {
                if let Some(chain) = self.chain(list, at) {
                    chain.first = after;
                }
            }
        }
        match self.links(list, after) {
            Some(links) => links.before = before,
            None => {
                if let Some(chain) = self.chain(list, at) {
                    chain.last = before;
                }
            }
        }
        if let Some(chain) = self.chain(list, at) {
            chain.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rng::Rng;
    use std::vec::Vec;

    fn key(network: u64, group: u8) -> GroupKey {
        GroupKey {
            network: NetworkId::new(0xff0a_0000_0000_0001 + (network << 8)).unwrap(),
            group: Group {
                mac: Mac::new([1, 0, 0x5e, 0, 0, group]),
                adi: 0,
            },
        }
    }

    fn member(n: u64) -> Address {
        Address::new(0x10_0000_0000 + n).unwrap()
    }

    /// The same by a list that is searched.
    #[derive(Default)]
    struct Slow(Vec<(GroupKey, Address, Mono)>);

    impl Slow {
        fn of(&self, key: GroupKey) -> Vec<Address> {
            let mine = self.0.iter().rev().filter(|p| p.0 == key);
            mine.map(|p| p.1).collect()
        }
    }

    #[test]
    fn behaves_like_a_list_under_a_random_script() {
        let mut rng = Rng::new([3; 32]);
        let mut fast = Listeners::new(100, 5);
        let mut slow = Slow::default();
        let mut now = Mono::from_ms(1 << 40);
        for step in 0..20_000 {
            now = now.after(u64::from(rng.below(4_000)));
            let key = key(u64::from(rng.below(3)), rng.below(5) as u8);
            let who = member(u64::from(rng.below(12)));
            slow.0.retain(|p| now.since(p.2) < LIKE_MS);
            match rng.below(40) {
                0 => {
                    fast.remove(key, who);
                    slow.0.retain(|p| (p.0, p.1) != (key, who));
                }
                1 => {
                    fast.forget_network(key.network);
                    slow.0.retain(|p| p.0.network != key.network);
                }
                _ => {
                    fast.add(key, who, now);
                    slow.0.retain(|p| (p.0, p.1) != (key, who));
                    if slow.0.len() == 100 {
                        slow.0.remove(0);
                    }
                    slow.0.push((key, who, now));
                }
            }
            let fresh: Vec<Address> = fast.of(key, now).collect();
            assert_eq!(fresh, slow.of(key), "step {step}");
            fast.expire(now);
            assert_eq!(fast.len(), slow.0.len(), "step {step}");
            assert!(fast.pairs.len() <= 100);
            let counted: u32 = fast.members.iter().map(|m| *m.1).sum();
            let grouped: u32 = fast.groups.iter().map(|g| g.1.len).sum();
            assert_eq!((counted, grouped), (fast.all.len, fast.all.len));
            assert!(fast.groups.iter().all(|g| g.1.len > 0));
        }
    }

    #[test]
    fn one_member_cannot_fill_the_table() {
        let mut listeners = Listeners::new(4096, 1);
        let now = Mono::from_ms(1 << 40);
        for n in 0..1000u64 {
            listeners.add(key(n, 1), member(7), now);
        }
        assert_eq!(listeners.len(), MEMBER_MAX);
        // The first ones stay, and are refreshed.
        assert_eq!(listeners.of(key(0, 1), now).next(), Some(member(7)));
        assert_eq!(listeners.of(key(999, 1), now).next(), None);
    }

    #[test]
    fn a_full_group_loses_its_stalest_member() {
        let mut listeners = Listeners::new(65_536, 1);
        let now = Mono::from_ms(1 << 40);
        for n in 0..600 {
            listeners.add(key(0, 1), member(n), now.after(n));
        }
        let all: Vec<Address> = listeners.of(key(0, 1), now.after(600)).collect();
        assert_eq!(all.len(), 512);
        assert_eq!((all[0], all[511]), (member(599), member(88)));
    }

    #[test]
    fn more_members_and_groups_than_there_is_room_for_push_out_the_oldest() {
        let mut listeners = Listeners::new(512, 1);
        let now = Mono::from_ms(1 << 40);
        for n in 0..2_000u64 {
            listeners.add(key(n, 1), member(n), now.after(n));
            assert!(listeners.len() <= 64);
        }
        assert_eq!(listeners.len(), 64);
        let late = now.after(2_000);
        assert_eq!(
            listeners.of(key(1_999, 1), late).next(),
            Some(member(1_999))
        );
        assert_eq!(listeners.of(key(1_935, 1), late).next(), None);
    }

    #[test]
    fn ten_minutes_of_silence_end_it() {
        let mut listeners = Listeners::new(64, 1);
        let now = Mono::from_ms(1 << 40);
        listeners.add(key(0, 1), member(1), now);
        let almost = now.after(LIKE_MS - 1);
        assert_eq!(listeners.of(key(0, 1), almost).count(), 1);
        assert_eq!(listeners.of(key(0, 1), almost.after(1)).count(), 0);
    }
}
