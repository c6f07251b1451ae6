//! A bounded map whose memory is taken once.
//!
//! Slots lie in one vector reserved at the start; an open-addressed index (load ≤ 1/2) finds
//! them. Iteration is by slot, so the same inputs give the same order. The hash is seeded:
//! strangers who choose keys cannot choose collisions. Who is evicted from a full table is the
//! owner's business: [`Table::insert`] only says that it is full.

use alloc::vec::Vec;

/// What may be a key.
pub trait Key: Copy + Eq {
    /// Mixes the key into a number; need not be strong.
    fn mix(&self) -> u64;
}

impl Key for u32 {
    fn mix(&self) -> u64 {
        u64::from(*self)
    }
}

impl Key for u64 {
    fn mix(&self) -> u64 {
        *self
    }
}

impl Key for super::Address {
    fn mix(&self) -> u64 {
        self.get()
    }
}

impl Key for super::NetworkId {
    fn mix(&self) -> u64 {
        self.get()
    }
}

impl Key for super::PacketId {
    fn mix(&self) -> u64 {
        self.get()
    }
}

impl Key for super::Mac {
    fn mix(&self) -> u64 {
        let [a, b, c, d, e, f] = self.to_bytes();
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn mix(&self) -> u64 {
        self.0
            .mix()
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31)
            ^ self.1.mix()
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

/// A map of at most `capacity` entries.
#[derive(Debug)]
pub struct Table<K, V> {
    slots: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    index: Vec<u32>,
    capacity: usize,
    len: usize,
    seed: u64,
}

impl<K: Key, V> Table<K, V> {
    /// An empty table of at most `capacity` entries. `seed` keys the hash.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.clamp(1, 1 << 24);
        let mut index = Vec::new();
        index.resize(capacity.saturating_mul(2).next_power_of_two(), EMPTY);
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            index,
            capacity,
            len: 0,
            seed,
        }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No entries held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most entries it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// No room for another key.
    pub fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// The slot of `key`.
    pub fn find(&self, key: &K) -> Option<Slot> {
        let at = self.probe(key).ok()?;
        self.index.get(at).map(|&slot| Slot(slot))
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
        self.slots.get(slot.index())?.as_ref().map(|(_, v)| v)
    }

    /// The value in a slot.
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut V> {
        self.slots.get_mut(slot.index())?.as_mut().map(|(_, v)| v)
    }

    /// Key and value in a slot.
    pub fn entry(&self, slot: Slot) -> Option<(&K, &V)> {
        self.slots.get(slot.index())?.as_ref().map(|(k, v)| (k, v))
    }

    /// The first entry at or after slot number `from`: a cursor for lists that are read in parts.
    pub fn next_from(&self, from: usize) -> Option<(Slot, &K, &V)> {
        self.slots.iter().enumerate().skip(from).find_map(|(i, s)| {
            let (k, v) = s.as_ref()?;
            Some((Slot(u32::try_from(i).ok()?), k, v))
        })
    }

    /// Sets `key` to `value`. Gives the value back if the table is full and the key new.
    pub fn insert(&mut self, key: K, value: V) -> Result<Slot, V> {
        let at = match self.probe(&key) {
            Ok(at) => {
                let slot = Slot(self.index.get(at).copied().unwrap_or(EMPTY));
                if let Some(entry) = self.slots.get_mut(slot.index()) {
                    *entry = Some((key, value));
                }
                return Ok(slot);
            }
            Err(at) => at,
        };
        if self.is_full() {
            return Err(value);
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(entry) = self.slots.get_mut(slot as usize) {
                    *entry = Some((key, value));
                }
                slot
            }
            None => {
                let Ok(slot) = u32::try_from(self.slots.len()) else {
                    return Err(value);
                };
                self.slots.push(Some((key, value)));
                slot
            }
        };
        if let Some(cell) = self.index.get_mut(at) {
            *cell = slot;
        }
        self.len = self.len.saturating_add(1);
        Ok(Slot(slot))
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.probe(key).ok()?;
        let slot = self.index.get(at).copied()?;
        self.unlink(at);
        self.len = self.len.saturating_sub(1);
        self.free.push(slot);
        self.slots.get_mut(slot as usize)?.take().map(|(_, v)| v)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.free.clear();
        self.index.fill(EMPTY);
        self.len = 0;
    }

    /// Keeps the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for i in 0..self.slots.len() {
            let gone = match self.slots.get_mut(i).and_then(Option::as_mut) {
                Some((k, v)) => (!keep(k, v)).then_some(*k),
                None => None,
            };
            if let Some(key) = gone {
                self.remove(&key);
            }
        }
    }

    /// All entries, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots
            .iter()
            .filter_map(|s| s.as_ref().map(|(k, v)| (k, v)))
    }

    /// All entries, by slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.slots
            .iter_mut()
            .filter_map(|s| s.as_mut().map(|(k, v)| (&*k, v)))
    }

    fn mask(&self) -> usize {
        self.index.len().saturating_sub(1)
    }

    fn home(&self, key: &K) -> usize {
        let mut h = key.mix() ^ self.seed;
        h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        // The mask makes the loss of the high half on 32-bit machines harmless.
        #[allow(clippy::cast_possible_truncation)]
        let h = (h ^ (h >> 32)) as usize;
        h & self.mask()
    }

    /// The index cell that holds `key`, or the empty one where it would go.
    fn probe(&self, key: &K) -> Result<usize, usize> {
        let mut at = self.home(key);
        loop {
            let Some(&slot) = self.index.get(at) else {
                return Err(at);
            };
            if slot == EMPTY {
                return Err(at);
            }
            if let Some(Some((k, _))) = self.slots.get(slot as usize)
                && k == key
            {
                return Ok(at);
            }
            at = at.wrapping_add(1) & self.mask();
        }
    }

    /// Empties an index cell and moves up what probed past it.
    fn unlink(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut at = hole;
        loop {
            at = at.wrapping_add(1) & mask;
            let slot = self.index.get(at).copied().unwrap_or(EMPTY);
            if slot == EMPTY {
                break;
            }
            let Some(Some((k, _))) = self.slots.get(slot as usize) else {
                break;
            };
            let home = self.home(k);
            // Move only if the entry's home does not lie between the hole and itself.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                if let Some(cell) = self.index.get_mut(hole) {
                    *cell = slot;
                }
                hole = at;
            }
        }
        if let Some(cell) = self.index.get_mut(hole) {
            *cell = EMPTY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_map_under_a_random_script() {
        let mut table = Table::<u32, u32>::new(64, 7);
        let mut model = BTreeMap::new();
        let mut x = 1u32;
        for step in 0..20_000u32 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (x >> 16) % 96;
            if x & 0x300 == 0 {
                assert_eq!(table.remove(&key), model.remove(&key));
            } else {
                let full = model.len() == 64 && !model.contains_key(&key);
                assert_eq!(table.insert(key, step).is_err(), full);
                if !full {
                    model.insert(key, step);
                }
            }
            assert_eq!(table.len(), model.len());
            assert_eq!(table.get(&key), model.get(&key));
        }
        let mut all: std::vec::Vec<_> = table.iter().map(|(k, v)| (*k, *v)).collect();
        all.sort_unstable();
        assert_eq!(all, model.into_iter().collect::<std::vec::Vec<_>>());
    }

    #[test]
    fn memory_is_taken_once() {
        let mut table = Table::<u64, u64>::new(10, 1);
        let before = table.slots.capacity();
        for i in 0..1000 {
            if table.is_full() {
                table.remove(&(i - 10));
            }
            assert!(table.insert(i, i).is_ok());
        }
        assert_eq!(table.slots.capacity(), before);
        assert!(table.slots.len() <= 10);
    }
}
