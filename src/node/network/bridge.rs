//! MAC addresses behind remote bridges (network 5.5).
//!
//! Bounds: `cap` routes of all networks together, memory taken with the first one; 15 minutes
//! without traffic. Only active bridges, named by a controller, fill it: one member has at most
//! a quarter, then its least recently used route goes; of a full table the least recently used.

use crate::base::{Address, Mac, Mono, NetworkId, Table};

/// A route is forgotten after so long without traffic.
const IDLE_MS: u64 = 900_000;

struct Route {
    member: Address,
    used: Mono,
}

pub(crate) struct Routes {
    table: Option<Table<(NetworkId, Mac), Route>>,
    cap: usize,
    seed: u64,
}

impl Routes {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: None,
            cap: cap.max(1),
            seed,
        }
    }

    /// A frame from `mac` came by `member`.
    pub(crate) fn learn(&mut self, network: NetworkId, mac: Mac, member: Address, now: Mono) {
        let (cap, seed) = (self.cap, self.seed);
        let table = self.table.get_or_insert_with(|| Table::new(cap, seed));
        let key = (network, mac);
        // The common case: nothing new.
        if let Some(route) = table.get_mut(&key)
            && route.member == member
        {
            route.used = now;
            return;
        }
        let of_member = table.values().filter(|r| r.member == member).count();
        let greedy = of_member >= (cap / 4).max(1);
        if greedy || (table.is_full() && table.get(&key).is_none()) {
            table.remove_least(|r| (!greedy || r.member == member).then_some(r.used.as_ms()));
        }
        let _ = table.insert(key, Route { member, used: now });
    }

    /// Behind whom `mac` is. Counts as traffic.
    pub(crate) fn find(&mut self, network: NetworkId, mac: Mac, now: Mono) -> Option<Address> {
        let route = self.table.as_mut()?.get_mut(&(network, mac))?;
        if now.since(route.used) >= IDLE_MS {
            return None;
        }
        route.used = now;
        Some(route.member)
    }

    /// `mac` is somewhere else now.
    pub(crate) fn forget(&mut self, network: NetworkId, mac: Mac) {
        if let Some(table) = &mut self.table {
            table.remove(&(network, mac));
        }
    }

    pub(crate) fn forget_network(&mut self, network: NetworkId) {
        if let Some(table) = &mut self.table {
            table.forget(network.get());
        }
    }

    /// All routes of a network, by slot.
    pub(crate) fn of(&self, network: NetworkId) -> impl Iterator<Item = (Mac, Address)> {
        let all = self.table.iter().flat_map(Table::iter);
        all.filter(move |(key, _)| key.0 == network)
            .map(|(key, route)| (key.1, route.member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(n: u8) -> Mac {
        Mac::new([2, 0, 0, 0, 0, n])
    }

    #[test]
    fn one_bridge_has_a_quarter_and_the_least_used_route_goes() {
        let network = NetworkId::new(5).unwrap();
        let other = NetworkId::new(6).unwrap();
        let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|n| Address::new(n).unwrap());
        let mut routes = Routes::new(16, 3);
        let now = Mono::from_ms(1 << 40);
        for n in 0..10 {
            routes.learn(network, mac(n), a, now.after(u64::from(n)));
            if n == 3 {
                // Used, so it outlives those learned after it.
                assert_eq!(routes.find(network, mac(0), now.after(5_000)), Some(a));
            }
        }
        assert_eq!(routes.of(network).count(), 4);
        assert_eq!(routes.find(network, mac(0), now.after(5_000)), Some(a));
        assert_eq!(routes.find(network, mac(6), now.after(5_000)), None);
        assert_eq!(routes.find(other, mac(0), now.after(5_000)), None);
        for (at, member) in [b, c, d, e].into_iter().enumerate() {
            for n in 0..4 {
                let host = mac(20 + 4 * at as u8 + n);
                routes.learn(network, host, member, now.after(6_000 + u64::from(n)));
            }
        }
        assert_eq!(routes.of(network).count(), 16);
        assert_eq!(routes.of(network).filter(|r| r.1 == a).count(), 0);
        // It moved.
        routes.learn(network, mac(20), e, now.after(7_000));
        assert_eq!(routes.find(network, mac(20), now.after(7_000)), Some(e));
        assert_eq!(routes.of(network).filter(|r| r.1 == e).count(), 4);
        assert_eq!(
            routes.find(network, mac(20), now.after(7_000 + IDLE_MS)),
            None
        );
        routes.forget(network, mac(21));
        assert_eq!(routes.find(network, mac(21), now.after(7_000)), None);
        routes.forget_network(network);
        assert_eq!(routes.of(network).count(), 0);
    }
}
