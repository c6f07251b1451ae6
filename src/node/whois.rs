//! Who has been asked for, and whom nobody knew (node 4.2).
//!
//! Caps: `Limits::whois` addresses asked for at once, `Limits::whois_negative` remembered as
//! unknown; the oldest goes. Anybody can fill both.

use super::policy;
use crate::base::{Address, Mono, Table};

#[derive(Clone, Copy)]
struct Ask {
    since: Mono,
    attempts: u8,
    next: Mono,
}

pub(crate) struct Whois {
    asks: Table<Address, Ask>,
    unknown: Table<Address, Mono>,
}

/// What to do about an unknown address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// Ask for it now.
    Ask,
    /// It is being asked for.
    Asked,
    /// Nobody knew it a moment ago.
    Unknown,
}

/// A deadline has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Ask again; attempt number from 1.
    Ask(Address, u8),
    /// Nobody knows it.
    GiveUp(Address),
}

impl Whois {
    pub(crate) fn new(asks: usize, unknown: usize, seed: u64) -> Self {
        Self {
            asks: Table::new(asks, seed),
            unknown: Table::new(unknown, seed),
        }
    }

    pub(crate) fn want(&mut self, address: Address, now: Mono) -> Want {
        if self.asks.get(&address).is_some() {
            return Want::Asked;
        }
        if let Some(last) = self.unknown.get_mut(&address) {
            if now.since(*last) < policy::WHOIS_NEGATIVE_MS {
                return Want::Unknown;
            }
            *last = now;
            return Want::Ask;
        }
        self.asks.make_room(|a| a.since);
        let first = policy::WHOIS_MS[0];
        let _ = self.asks.insert(
            address,
            Ask {
                since: now,
                attempts: 1,
                next: now.after(first),
            },
        );
        Want::Ask
    }

    /// Its identity is known now.
    pub(crate) fn found(&mut self, address: Address) {
        self.asks.remove(&address);
        self.unknown.remove(&address);
    }

    /// An upstream said that it does not know it (ERROR 3 of 1.0.x): no use in waiting.
    pub(crate) fn hurry(&mut self, address: Address, now: Mono) -> bool {
        match self.asks.get_mut(&address) {
            Some(ask) => {
                ask.next = now;
                true
            }
            None => false,
        }
    }

    /// An upstream can be reached again: nobody need wait for a repeat.
    pub(crate) fn hurry_all(&mut self, now: Mono) {
        for ask in self.asks.values_mut() {
            ask.next = now;
        }
    }

    /// Is `address` being asked for, or was it lately?
    pub(crate) fn asks(&self, address: Address) -> bool {
        self.asks.get(&address).is_some() || self.unknown.get(&address).is_some()
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.asks.values().map(|a| a.next).min()
    }

    pub(crate) fn due(&mut self, now: Mono) -> Option<Due> {
        let (address, _) = self.asks.iter().find(|(_, a)| a.next <= now)?;
        let ask = self.asks.get_mut(&address)?;
        match policy::WHOIS_MS.get(usize::from(ask.attempts)) {
            Some(&pause) => {
                ask.attempts += 1;
                ask.next = now.after(pause);
                Some(Due::Ask(address, ask.attempts - 1))
            }
            None if usize::from(ask.attempts) == policy::WHOIS_MS.len() => {
                // The last attempt gets as long as a packet may wait for it.
                ask.attempts += 1;
                ask.next = ask.since.after(policy::WAITING_MS).max(now.after(1));
                Some(Due::Ask(address, ask.attempts - 1))
            }
            None => {
                let since = self.asks.remove(&address)?.since;
                self.unknown.make_room(|at| *at);
                // Ten seconds from the first question, not from the last.
                let _ = self.unknown.insert(address, since);
                Some(Due::GiveUp(address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_attempts_then_one_per_ten_seconds() {
        let mut w = Whois::new(2, 2, 1);
        let a = Address::new(7).expect("not reserved");
        let start = Mono::from_ms(1 << 30);
        assert_eq!(w.want(a, start), Want::Ask);
        let mut asked = std::vec![0];
        loop {
            let at = w.deadline().expect("asking");
            match w.due(at).expect("due") {
                Due::Ask(..) => asked.push(at.since(start)),
                Due::GiveUp(_) => break assert_eq!(at.since(start), 5_000),
            }
            assert_eq!(w.want(a, at), Want::Asked);
        }
        assert_eq!(asked, [0, 500, 1_500, 3_500]);
        assert_eq!(w.want(a, start.after(9_999)), Want::Unknown);
        assert_eq!(w.want(a, start.after(10_000)), Want::Ask);
        assert_eq!(w.want(a, start.after(10_001)), Want::Unknown);
        w.found(a);
        assert_eq!(w.want(a, start.after(10_002)), Want::Ask);
    }

    #[test]
    fn tables_stay_at_their_caps() {
        let mut w = Whois::new(2, 2, 1);
        for i in 1..100 {
            assert_eq!(
                w.want(Address::new(i).expect("ok"), Mono::from_ms(i)),
                Want::Ask
            );
        }
        assert_eq!(w.asks.len(), 2);
    }
}
