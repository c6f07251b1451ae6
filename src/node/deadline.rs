//! One deadline per object, in an indexed binary heap. Setting, moving and clearing cost
//! O(log n); memory is taken once.

use alloc::vec::Vec;

use super::policy;
use crate::base::Mono;

/// Moments [`policy::BEAT_MS`] apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beat {
    /// `offset < BEAT_MS`.
    offset: u64,
}

impl Beat {
    /// Machines that start together do not beat together, if `lot` is drawn.
    pub(crate) fn new(lot: u64) -> Self {
        Self {
            offset: lot % policy::BEAT_MS,
        }
    }

    /// The first of these moments that is not before `at`.
    pub(crate) fn from(self, at: Mono) -> Mono {
        let over = (at.as_ms() + (policy::BEAT_MS - self.offset)) % policy::BEAT_MS;
        at.after((policy::BEAT_MS - over) % policy::BEAT_MS)
    }
}

const NONE: u32 = u32::MAX;

/// Deadlines of objects numbered 0 … capacity − 1.
#[derive(Debug)]
pub(crate) struct Deadlines {
    heap: Vec<(Mono, u32)>,
    position: Vec<u32>,
}

impl Deadlines {
    pub(crate) fn new(capacity: usize) -> Self {
        let mut position = Vec::new();
        position.resize(capacity, NONE);
        Self {
            heap: Vec::with_capacity(capacity),
            position,
        }
    }

    /// The earliest deadline and whose it is.
    pub(crate) fn first(&self) -> Option<(Mono, usize)> {
        self.heap.first().map(|&(at, id)| (at, id as usize))
    }

    pub(crate) fn get(&self, id: usize) -> Option<Mono> {
        let at = *self.position.get(id)?;
        self.heap.get(at as usize).map(|e| e.0)
    }

    /// Sets or moves a deadline.
    pub(crate) fn set(&mut self, id: usize, at: Mono) {
        let Some(&position) = self.position.get(id) else {
            return;
        };
        if position == NONE {
            let end = self.heap.len();
            self.heap.push((at, id as u32));
            self.position[id] = end as u32;
            self.up(end);
        } else {
            let position = position as usize;
            let before = core::mem::replace(&mut self.heap[position].0, at);
            if at < before {
                self.up(position)
            } else {
                self.down(position)
            }
        }
    }

    /// Moves a deadline forward, never back.
    pub(crate) fn set_earlier(&mut self, id: usize, at: Mono) {
        if self.get(id).is_none_or(|before| at < before) {
            self.set(id, at);
        }
    }

    pub(crate) fn clear(&mut self, id: usize) {
        let Some(&position) = self.position.get(id) else {
            return;
        };
        if position == NONE {
            return;
        }
        self.position[id] = NONE;
        let position = position as usize;
        let Some(last) = self.heap.pop() else { return };
        if position < self.heap.len() {
            self.heap[position] = last;
            self.position[last.1 as usize] = position as u32;
            self.up(position);
            self.down(position);
        }
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent].0 <= self.heap[at].0 {
                break;
            }
            self.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
                    least = child;
                }
            }
            if least == at {
                break;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.position[self.heap[a].1 as usize] = a as u32;
        self.position[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn gives_the_earliest_under_a_random_script() {
        let mut deadlines = Deadlines::new(50);
        let mut model = BTreeMap::new();
        let mut x = 9u32;
        for _ in 0..20_000 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let id = (x >> 8) as usize % 50;
            let at = Mono::from_ms(u64::from(x >> 20));
            match x & 7 {
                0 => {
                    deadlines.clear(id);
                    model.remove(&id);
                }
                1 => {
                    deadlines.set_earlier(id, at);
                    model
                        .entry(id)
                        .and_modify(|m| *m = at.min(*m))
                        .or_insert(at);
                }
                _ => {
                    deadlines.set(id, at);
                    model.insert(id, at);
                }
            }
            assert_eq!(
                deadlines.first().map(|f| f.0),
                model.values().min().copied()
            );
            assert_eq!(deadlines.get(id), model.get(&id).copied());
        }
    }
}
