//! Requests whose answer is awaited, by packet id (wire 6.2).
//!
//! Cap: `Limits::expected_replies`, a ring: the oldest goes. Only we fill it.

use alloc::vec::Vec;

use super::policy;
use crate::base::{Address, Mono, PacketId, Table};
use crate::wire::verb::Verb;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) to: Address,
    pub(crate) sent: Mono,
}

pub(crate) struct Expected {
    requests: Table<PacketId, Request>,
    ring: Vec<PacketId>,
    next: usize,
}

impl Expected {
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let capacity = capacity.max(1);
        Self {
            requests: Table::new(capacity, seed),
            ring: Vec::with_capacity(capacity),
            next: 0,
        }
    }

    pub(crate) fn insert(&mut self, id: PacketId, request: Request) {
        if self.ring.len() < self.requests.capacity() {
            self.ring.push(id);
        } else if let Some(oldest) = self.ring.get_mut(self.next) {
            self.requests.remove(&core::mem::replace(oldest, id));
            self.next = (self.next + 1) % self.ring.len();
        }
        let _ = self.requests.insert(id, request);
    }

    /// The request that an answer from `from` names. Some requests have several answers, so it
    /// stays.
    pub(crate) fn get(&self, id: PacketId, from: Address, now: Mono) -> Option<Request> {
        let request = self.requests.get(&id)?;
        let fresh = now.since(request.sent) < policy::REPLY_MS;
        (request.to == from && fresh).then_some(*request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_only_the_asked_may_answer() {
        let a = Address::new(1).expect("ok");
        let b = Address::new(2).expect("ok");
        let t = Mono::from_ms(1 << 35);
        let mut e = Expected::new(3, 5);
        for i in 0..10 {
            e.insert(
                PacketId::new(i),
                Request {
                    verb: Verb::Echo,
                    to: a,
                    sent: t,
                },
            );
        }
        assert!(e.get(PacketId::new(6), a, t).is_none());
        assert!(e.get(PacketId::new(7), a, t).is_some());
        assert!(e.get(PacketId::new(7), b, t).is_none());
        assert!(e.get(PacketId::new(7), a, t.after(60_000)).is_none());
    }
}
