//! A bounded map whose memory is taken once.
//!
//! Values lie in one vector reserved at the start; an open-addressed index (load ≤ 1/2) finds
//! them. Iteration is by slot, so the same inputs give the same order. The hash is seeded:
//! strangers who choose keys cannot choose collisions. Who is evicted from a full table is the
//! owner's business: [`Table::insert`] only says that it is full.
//!
//! The index knows keys as words, so that its code is there once and not for each kind of table.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

use super::{Address, Mac, Mono, NetworkId, PacketId};

/// Most words of a key.
const WORDS_MAX: usize = 3;

/// What may be a key.
pub trait Key: Copy + Eq {
    /// Words that it takes, three at most.
    const WORDS: usize;
    /// Itself in the first of these.
    fn words(self) -> [u64; WORDS_MAX];
    /// From what [`Self::words`] gave.
    fn from_words(words: [u64; WORDS_MAX]) -> Self;
}

macro_rules! one_word {
    ($($key:ty: $to:expr, $from:expr;)*) => {$(
        impl Key for $key {
            const WORDS: usize = 1;

            fn words(self) -> [u64; WORDS_MAX] {
                [$to(self), 0, 0]
            }

            fn from_words([word, ..]: [u64; WORDS_MAX]) -> Self {
                $from(word)
            }
        }
    )*};
}

one_word! {
    u64: core::convert::identity, core::convert::identity;
    Address: Self::get, Self::from_word;
    NetworkId: Self::get, Self::from_word;
    PacketId: Self::get, Self::new;
    Mac: word_of_mac, mac_of_word;
}

fn word_of_mac(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.to_bytes();
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn mac_of_word(word: u64) -> Mac {
    let [_, _, a, b, c, d, e, f] = word.to_be_bytes();
    Mac::new([a, b, c, d, e, f])
}

/// The first of one word.
impl<A: Key, B: Key> Key for (A, B) {
    const WORDS: usize = 1 + B::WORDS;

    fn words(self) -> [u64; WORDS_MAX] {
        let ([first, ..], [second, third, _]) = (self.0.words(), self.1.words());
        [first, second, third]
    }

    fn from_words([first, second, third]: [u64; WORDS_MAX]) -> Self {
        let first = A::from_words([first, 0, 0]);
        (first, B::from_words([second, third, 0]))
    }
}

/// Where an entry lies. Valid until that entry is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Position in the table, below its capacity.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

const EMPTY: u32 = u32::MAX;

/// Which key lies in which slot.
#[derive(Debug)]
struct Index {
    /// Of all slots that were ever used, one after the other.
    keys: Vec<u64>,
    /// Words of a key.
    words: usize,
    /// Those slots that hold something.
    used: Vec<bool>,
    cells: Vec<u32>,
    free: Vec<u32>,
    capacity: usize,
    len: usize,
    seed: u64,
}

impl Index {
    #[inline(never)]
    fn new(capacity: usize, words: usize, seed: u64) -> Box<Self> {
        let capacity = capacity.clamp(1, 1 << 24);
        let mut cells = Vec::new();
        cells.resize(capacity.saturating_mul(2).next_power_of_two(), EMPTY);
        Box::new(Self {
            keys: Vec::with_capacity(capacity.saturating_mul(words)),
            words,
            used: Vec::with_capacity(capacity),
            cells,
            free: Vec::with_capacity(capacity),
            capacity,
            len: 0,
            seed,
        })
    }

    fn mask(&self) -> usize {
        self.cells.len().saturating_sub(1)
    }

    fn key(&self, slot: u32) -> &[u64] {
        let at = (slot as usize).saturating_mul(self.words);
        let key = self.keys.get(at..at.saturating_add(self.words));
        key.unwrap_or_default()
    }

    fn home(&self, key: &[u64]) -> usize {
        let mix = key.iter().fold(0u64, |h, word| {
            h.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31) ^ word
        });
        let mut h = mix ^ self.seed;
        for _ in 0..2 {
            h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        // The mask makes the loss of the high half on 32-bit machines harmless.
        #[allow(clippy::cast_possible_truncation)]
        let h = (h ^ (h >> 32)) as usize;
        h & self.mask()
    }

    /// The cell that holds `key`, or the empty one where it would go; and what is in it.
    fn probe(&self, key: &[u64]) -> (usize, u32) {
        let mut at = self.home(key);
        loop {
            let slot = self.cells.get(at).copied().unwrap_or(EMPTY);
            // By words: a call of memcmp costs more than a word does.
            let known = self.key(slot);
            if slot == EMPTY || known.iter().zip(key).all(|(a, b)| a == b) {
                return (at, slot);
            }
            at = at.wrapping_add(1) & self.mask();
        }
    }

    fn find(&self, key: &[u64]) -> Option<u32> {
        let (_, slot) = self.probe(key);
        (slot != EMPTY).then_some(slot)
    }

    // These are there once for each kind of key, not for each table.

    fn find_key<K: Key>(&self, key: K) -> Option<u32> {
        self.find(key.words().get(..K::WORDS)?)
    }

    #[inline(never)]
    fn enter_key<K: Key>(&mut self, key: K) -> Option<u32> {
        self.enter(key.words().get(..K::WORDS)?)
    }

    #[inline(never)]
    fn leave_key<K: Key>(&mut self, key: K) -> Option<u32> {
        self.leave(key.words().get(..K::WORDS)?)
    }

    #[inline(never)]
    fn key_at<K: Key>(&self, slot: u32) -> K {
        let mut words = [0; WORDS_MAX];
        for (word, known) in words.iter_mut().zip(self.key(slot)) {
            *word = *known;
        }
        K::from_words(words)
    }

    /// The slot of `key`, a new one if it has none; `None`: full.
    fn enter(&mut self, key: &[u64]) -> Option<u32> {
        let (at, found) = self.probe(key);
        if found != EMPTY {
            return Some(found);
        }
        if self.len >= self.capacity {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                let at = (slot as usize).saturating_mul(self.words);
                let room = self.keys.get_mut(at..at.saturating_add(self.words));
                room?.copy_from_slice(key);
                slot
            }
            None => {
                let slot = u32::try_from(self.keys.len() / self.words.max(1)).ok()?;
                self.keys.extend_from_slice(key);
                slot
            }
        };
        *self.cells.get_mut(at)? = slot;
        match self.used.get_mut(slot as usize) {
            Some(used) => *used = true,
            None => self.used.push(true),
        }
        self.len = self.len.saturating_add(1);
        Some(slot)
    }

    /// The slot that `key` had.
    fn leave(&mut self, key: &[u64]) -> Option<u32> {
        let (cell, slot) = self.probe(key);
        if slot == EMPTY {
            return None;
        }
        self.empty(cell, slot);
        Some(slot)
    }

    /// The first slot in use from this one on.
    fn next_used(&self, from: usize) -> Option<u32> {
        let ahead = self.used.get(from..)?.iter().position(|used| *used)?;
        u32::try_from(from.saturating_add(ahead)).ok()
    }

    /// The key of a slot in use goes.
    fn vacate(&mut self, slot: u32) {
        let (cell, found) = self.probe(self.key(slot));
        if found == slot {
            self.empty(cell, slot);
        }
    }

    fn empty(&mut self, mut hole: usize, found: u32) {
        self.len = self.len.saturating_sub(1);
        self.free.push(found);
        if let Some(used) = self.used.get_mut(found as usize) {
            *used = false;
        }
        // What probed past the hole moves up.
        let mask = self.mask();
        let mut at = hole;
        loop {
            at = at.wrapping_add(1) & mask;
            let slot = self.cells.get(at).copied().unwrap_or(EMPTY);
            if slot == EMPTY {
                break;
            }
            let home = self.home(self.key(slot));
            // Move only if the entry's home does not lie between the hole and itself.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                if let Some(cell) = self.cells.get_mut(hole) {
                    *cell = slot;
                }
                hole = at;
            }
        }
        if let Some(cell) = self.cells.get_mut(hole) {
            *cell = EMPTY;
        }
    }
}

/// Values by slot: there once for each kind of value, whatever its keys are.
#[derive(Debug)]
struct Slots<V> {
    /// Elsewhere, so that a table is small where it lies and moves.
    index: Box<Index>,
    values: Vec<Option<V>>,
}

impl<V> Slots<V> {
    #[inline(never)]
    fn at(&self, slot: u32) -> Option<&V> {
        self.values.get(slot as usize)?.as_ref()
    }

    #[inline(never)]
    fn at_mut(&mut self, slot: u32) -> Option<&mut V> {
        self.values.get_mut(slot as usize)?.as_mut()
    }

    /// Sets the value of a slot that was just entered.
    fn set(&mut self, slot: u32, value: V) -> Option<Slot> {
        // Room was taken at the start; without the second question the code to take more would be
        // there for each kind of value.
        if slot as usize == self.values.len() && self.values.len() < self.values.capacity() {
            self.values.push(None);
        }
        *self.values.get_mut(slot as usize)? = Some(value);
        Some(Slot(slot))
    }

    fn least(&self, age: impl Fn(&V) -> Option<u64>) -> Option<u32> {
        let age = |slot: usize| age(self.values.get(slot)?.as_ref()?);
        u32::try_from(least(self.values.len(), &age)?).ok()
    }

    fn drop_slot(&mut self, slot: u32) {
        self.index.vacate(slot);
        if let Some(value) = self.values.get_mut(slot as usize) {
            *value = None;
        }
    }
}

/// A map of at most `capacity` entries.
#[derive(Debug)]
pub struct Table<K, V> {
    slots: Slots<V>,
    key: PhantomData<K>,
}

impl<K: Key, V> Table<K, V> {
    /// An empty table of at most `capacity` entries. `seed` keys the hash.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let index = Index::new(capacity, K::WORDS, seed);
        Self {
            slots: Slots {
                values: Vec::with_capacity(index.capacity),
                index,
            },
            key: PhantomData,
        }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.slots.index.len
    }

    /// No entries held.
    pub fn is_empty(&self) -> bool {
        self.slots.index.len == 0
    }

    /// Most entries it can hold.
    pub fn capacity(&self) -> usize {
        self.slots.index.capacity
    }

    /// No room for another key.
    pub fn is_full(&self) -> bool {
        self.slots.index.len >= self.slots.index.capacity
    }

    /// The slot of `key`.
    pub fn find(&self, key: &K) -> Option<Slot> {
        self.slots.index.find_key(*key).map(Slot)
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.at(self.find(key)?)
    }

    /// The value of `key`.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.find(key)?;
        self.at_mut(slot)
    }

    /// The value in a slot.
    pub fn at(&self, slot: Slot) -> Option<&V> {
        self.slots.at(slot.0)
    }

    /// The value in a slot.
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut V> {
        self.slots.at_mut(slot.0)
    }

    /// Key and value in a slot.
    pub fn entry(&self, slot: Slot) -> Option<(K, &V)> {
        Some((self.key(slot.0), self.at(slot)?))
    }

    fn key(&self, slot: u32) -> K {
        self.slots.index.key_at(slot)
    }

    /// The first entry at or after slot number `from`: a cursor for lists that are read in parts.
    #[inline(never)]
    pub fn next_from(&self, from: usize) -> Option<(Slot, K, &V)> {
        let slot = self.slots.index.next_used(from)?;
        Some((Slot(slot), self.key(slot), self.slots.at(slot)?))
    }

    /// Sets `key` to `value`. `None`: the table is full and the key new.
    pub fn insert(&mut self, key: K, value: V) -> Option<Slot> {
        let slot = self.slots.index.enter_key(key)?;
        self.slots.set(slot, value)
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.index.leave_key(*key)?;
        self.slots.values.get_mut(slot as usize)?.take()
    }

    /// An entry goes: values that are large are not handed out for that.
    pub fn discard(&mut self, slot: Slot) {
        if self.at(slot).is_some() {
            self.slots.drop_slot(slot.0);
        }
    }

    /// If there is no room for another key, the entry goes that came first by `since`.
    pub fn make_room(&mut self, since: impl Fn(&V) -> Mono) {
        if self.is_full() {
            self.remove_least(|value| Some(since(value).as_ms()));
        }
    }

    /// The least goes of those entries that have an `age`.
    pub fn remove_least(&mut self, age: impl Fn(&V) -> Option<u64>) {
        if let Some(slot) = self.slots.least(age) {
            self.slots.drop_slot(slot);
        }
    }

    /// The key of the least of those entries that have an `age`.
    pub fn least(&self, age: impl Fn(&V) -> Option<u64>) -> Option<K> {
        Some(self.key(self.slots.least(age)?))
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(K, &mut V) -> bool) {
        let mut from = 0;
        while let Some(slot) = self.slots.index.next_used(from) {
            from = (slot as usize).saturating_add(1);
            let key = self.key(slot);
            if self
                .at_mut(Slot(slot))
                .is_some_and(|value| !keep(key, value))
            {
                self.slots.drop_slot(slot);
            }
        }
    }

    /// All entries go whose keys begin with this word.
    pub fn forget(&mut self, first: u64) {
        let mut from = 0;
        while let Some(slot) = self.slots.index.next_used(from) {
            from = (slot as usize).saturating_add(1);
            if self.slots.index.key(slot).first() == Some(&first) {
                self.slots.drop_slot(slot);
            }
        }
    }

    /// All entries, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let (slot, key, value) = self.next_from(from)?;
            from = slot.index().saturating_add(1);
            Some((key, value))
        })
    }

    /// All values, by slot.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.slots.values.iter().flatten()
    }

    /// All values, by slot.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.values.iter_mut().flatten()
    }
}

/// The number below `end` with the least age; the first of several.
pub fn least(end: usize, age: &dyn Fn(usize) -> Option<u64>) -> Option<usize> {
    let mut found: Option<(u64, usize)> = None;
    for at in 0..end {
        if let Some(age) = age(at)
            && found.is_none_or(|(least, _)| age < least)
        {
            found = Some((age, at));
        }
    }
    Some(found?.1)
}

/// When something about a key was last let through.
#[derive(Debug)]
pub struct Recent<K> {
    table: Table<K, Mono>,
}

impl<K: Key> Recent<K> {
    /// Of at most `capacity` keys.
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            table: Table::new(capacity, seed),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// At most once per key and `pause_ms`. Of a full table the oldest goes, which may pass again
    /// a little sooner then; with `patient` only one whose pause is over, else others wait.
    pub fn pass(&mut self, key: K, now: Mono, pause_ms: u64, patient: bool) -> bool {
        let words = key.words();
        let key = words.get(..K::WORDS).unwrap_or_default();
        pass(&mut self.table.slots, key, now, pause_ms, patient).is_some()
    }
}

/// [`Recent::pass`], whatever the keys are.
fn pass(
    slots: &mut Slots<Mono>,
    key: &[u64],
    now: Mono,
    pause_ms: u64,
    patient: bool,
) -> Option<Slot> {
    let fresh = |at: &Mono| now.since(*at) < pause_ms;
    if let Some(slot) = slots.index.find(key) {
        if slots.at(slot).is_some_and(fresh) {
            return None;
        }
    } else if slots.index.len >= slots.index.capacity {
        let may_go = |at: &Mono| (!patient || !fresh(at)).then_some(at.as_ms());
        if let Some(slot) = slots.least(may_go) {
            slots.drop_slot(slot);
        }
    }
    let slot = slots.index.enter(key)?;
    slots.set(slot, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_map_under_a_random_script() {
        let mut table = Table::<u64, u32>::new(64, 7);
        let mut model = BTreeMap::new();
        let mut x = 1u32;
        for step in 0..20_000u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = u64::from((x >> 16) % 96);
            if x & 0x300 == 0 {
                assert_eq!(table.remove(&key), model.remove(&key));
            } else {
                let full = model.len() == 64 && !model.contains_key(&key);
                assert_eq!(table.insert(key, step).is_none(), full);
                if !full {
                    model.insert(key, step);
                }
            }
            assert_eq!(table.len(), model.len());
            assert_eq!(table.get(&key), model.get(&key));
        }
        let mut all: std::vec::Vec<_> = table.iter().map(|(k, v)| (k, *v)).collect();
        all.sort_unstable();
        assert_eq!(all, model.into_iter().collect::<std::vec::Vec<_>>());
    }

    #[test]
    fn a_cursor_meets_every_entry_once() {
        let mut table = Table::new(8, 1);
        for key in 0..8u64 {
            table.insert(key, key * 10);
        }
        for gone in [0, 3, 7] {
            table.remove(&gone);
        }
        let (mut met, mut at) = (Vec::new(), 0);
        while let Some((slot, key, value)) = table.next_from(at) {
            at = slot.index() + 1;
            met.push((key, *value));
        }
        assert_eq!(met, [(1, 10), (2, 20), (4, 40), (5, 50), (6, 60)]);
        assert!(table.next_from(100).is_none());
    }

    #[test]
    fn memory_is_taken_once() {
        let mut table = Table::<u64, u64>::new(10, 1);
        let before = table.slots.values.capacity();
        for i in 0..1000 {
            if table.is_full() {
                table.remove(&(i - 10));
            }
            assert!(table.insert(i, i).is_some());
        }
        assert_eq!(table.slots.values.capacity(), before);
        assert!(table.slots.values.len() <= 10);
    }
}
