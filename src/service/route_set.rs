//! Plans are put into force (service 7.2, wishes 48, 49): addresses and routes of one device,
//! rules of all networks, by the difference to what there is.
//!
//! - What the system refused is kept with its errno and tried again by the caller.
//! - What somebody else took away is noticed when the caller has read the system's lists (`Seen`),
//!   and set again; what somebody else put there is left alone, as it does not carry our
//!   [`PROTOCOL`](crate::os::netlink::PROTOCOL).
//! - A managed route of which the system takes one part and refuses another gets none of them.
//!
//! What a crash leaves behind: a device of ours goes with the process, and with it its addresses
//! and its routes in all tables. Rules belong to no device and stay. So [`RuleSet::clean`] takes
//! at start every rule of ours whose table has no route of ours. That spares those of another
//! instance in the same place; one of those that had no route yet is taken too, but that instance
//! hears of it from the system and sets it again.
//!
//! Bounds: those of the plan ([`super::routes::ROUTES_MAX`], [`super::routes::ADDRESSES_MAX`]).

use core::net::IpAddr;

use super::routes::{Change, Managed, Placed, Plan, Planned, State, difference};
use super::settings::Prefix;
use crate::os::Error;
use crate::os::netlink::{Control, MAIN_TABLE, Route, Rule};

#[cfg(test)]
mod tests;

/// What of the system is needed; tests have one of their own.
pub(crate) trait System {
    fn add_address(&mut self, index: u32, placed: &Placed) -> Result<(), Error>;
    fn remove_address(&mut self, index: u32, prefix: &Prefix) -> Result<(), Error>;
    fn routes(&mut self) -> Result<Vec<Route>, Error>;
    fn add_route(&mut self, route: &Route) -> Result<(), Error>;
    fn replace_route(&mut self, old: &Route, new: &Route) -> Result<(), Error>;
    fn remove_route(&mut self, route: &Route) -> Result<(), Error>;
    fn rules(&mut self) -> Result<Vec<Rule>, Error>;
    fn add_rule(&mut self, rule: &Rule) -> Result<(), Error>;
    fn remove_rule(&mut self, rule: &Rule) -> Result<(), Error>;
}

impl System for Control {
    fn add_address(&mut self, index: u32, placed: &Placed) -> Result<(), Error> {
        let Prefix { ip, bits } = placed.prefix;
        if placed.bare {
            self.add_bare_address(index, ip, bits)
        } else {
            Self::add_address(self, index, ip, bits)
        }
    }

    fn remove_address(&mut self, index: u32, prefix: &Prefix) -> Result<(), Error> {
        Self::remove_address(self, index, prefix.ip, prefix.bits)
    }

    fn routes(&mut self) -> Result<Vec<Route>, Error> {
        Self::routes(self)
    }

    fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        Self::add_route(self, route)
    }

    fn replace_route(&mut self, old: &Route, new: &Route) -> Result<(), Error> {
        Self::replace_route(self, old, new)
    }

    fn remove_route(&mut self, route: &Route) -> Result<(), Error> {
        Self::remove_route(self, route)
    }

    fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        Self::rules(self)
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        Self::add_rule(self, rule)
    }

    fn remove_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        Self::remove_rule(self, rule)
    }
}

/// What the system has, as just read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// Addresses on all interfaces, by number.
    pub(crate) addresses: &'a [(u32, Prefix)],
    /// Our routes on all interfaces; `None`: could not be read.
    pub(crate) routes: Option<&'a [Route]>,
}

/// Something came or went, for those who listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// A managed address.
    Address {
        /// Which one.
        prefix: Prefix,
        /// It came.
        added: bool,
    },
    /// A managed route.
    Route {
        /// Which one.
        managed: Managed,
        /// It came.
        added: bool,
        /// It did not, because the system refused it.
        errno: Option<i32>,
    },
}

/// What of one network is in force.
#[derive(Default, Debug)]
pub(crate) struct RouteSet {
    /// Set and not taken back, sorted.
    addresses: Vec<Placed>,
    /// Not set: the system refused.
    refused: Vec<(Prefix, i32)>,
    /// Ours on the device.
    routes: Vec<Route>,
    /// Keys of those that were refused last time.
    stuck: Vec<(u32, IpAddr, u8, u32)>,
    /// What became of each managed route.
    managed: Vec<(Managed, State)>,
}

/// The first thing that the system refused.
type Trouble = Option<(String, Error)>;

impl RouteSet {
    /// Managed addresses that are set, sorted.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Prefix> {
        self.addresses.iter().map(|placed| placed.prefix)
    }

    /// Subnets that the main table takes to be on the link of this device.
    pub(crate) fn connected(&self) -> impl Iterator<Item = Prefix> {
        let leads_there = |network: &Prefix| {
            self.routes.iter().any(|r| {
                let to = (r.table, r.target, r.bits, r.via);
                to == (MAIN_TABLE, network.ip, network.bits, None)
            })
        };
        let subnets = self.addresses.iter().filter(|p| !p.prefix.is_host());
        subnets
            .filter(move |p| !p.bare || leads_there(&p.prefix.network()))
            .map(|p| p.prefix)
    }

    /// An address is set; if not, the errno of the refusal, if there was one.
    pub(crate) fn has_address(&self, prefix: &Prefix) -> Result<(), Option<i32>> {
        if self.addresses().any(|set| set == *prefix) {
            return Ok(());
        }
        let refused = self.refused.iter().find(|(p, _)| p == prefix);
        Err(refused.map(|(_, errno)| *errno))
    }

    /// What became of managed route number `n`; `None`: it is not known yet.
    pub(crate) fn state(&self, n: usize, managed: &Managed) -> Option<State> {
        let (known, state) = self.managed.get(n)?;
        (known == managed).then_some(*state)
    }

    /// Something waits for the system to change its mind, or for a setting that it gives no news
    /// of.
    pub(crate) fn wants_retry(&self) -> bool {
        let waits = |s: State| matches!(s, State::Failed(_) | State::ReversePath);
        !self.refused.is_empty() || self.managed.iter().any(|(_, state)| waits(*state))
    }

    /// The device is gone, and the system took everything that was on it.
    pub(crate) fn clear(&mut self, mut tell: impl FnMut(News)) {
        for prefix in self.addresses() {
            tell(News::Address {
                prefix,
                added: false,
            });
        }
        for (managed, state) in &self.managed {
            if state.is_installed() {
                tell(News::Route {
                    managed: *managed,
                    added: false,
                    errno: None,
                });
            }
        }
        *self = Self::default();
    }

    /// Brings device number `index` to the plan that was made for `managed`. The first refusal,
    /// if there was one.
    pub(crate) fn apply(
        &mut self,
        index: u32,
        plan: &Plan,
        managed: &[Managed],
        seen: Option<&Seen<'_>>,
        system: &mut impl System,
        mut tell: impl FnMut(News),
    ) -> Trouble {
        if let Some(seen) = seen {
            let is_there = |p: &Prefix| seen.addresses.contains(&(index, *p));
            self.addresses.retain(|placed| is_there(&placed.prefix));
            if let Some(routes) = seen.routes {
                self.take_routes(index, routes);
            }
        }
        let mut trouble = None;
        let before: Vec<Prefix> = self.addresses().collect();
        if self.apply_addresses(index, &plan.addresses, system, &mut trouble) {
            // With an address go the routes that it is the source of, and with the last one of
            // IPv4 all of the device; the system does not tell.
            self.read_routes(index, system);
        }
        let after: Vec<Prefix> = self.addresses().collect();
        for (added, from, without) in [(false, &before, &after), (true, &after, &before)] {
            for prefix in from.iter().copied().filter(|p| !without.contains(p)) {
                tell(News::Address { prefix, added });
            }
        }
        let failed = self.apply_routes(index, &plan.routes, system, &mut trouble);
        let states = managed.iter().copied().zip(plan.states.iter().copied());
        let now: Vec<(Managed, State)> = states
            .enumerate()
            .map(|(n, (managed, state))| {
                let errno = failed.iter().find(|(serves, _)| *serves == Some(n));
                match errno {
                    Some((_, errno)) if state == State::Applied => (managed, State::Failed(*errno)),
                    _ => (managed, state),
                }
            })
            .collect();
        tell_routes(&self.managed, &now, tell);
        self.managed = now;
        trouble
    }

    /// `true`: something was removed.
    fn apply_addresses(
        &mut self,
        index: u32,
        wanted: &[Placed],
        system: &mut impl System,
        trouble: &mut Trouble,
    ) -> bool {
        let mut removed = false;
        self.refused.clear();
        // The same address cannot be on a device with two prefixes, so removal comes first.
        let old: Vec<Placed> = self.addresses.clone();
        for placed in old.iter().filter(|p| !wanted.contains(p)) {
            match system.remove_address(index, &placed.prefix) {
                Ok(()) => {
                    removed = true;
                    self.addresses.retain(|p| p != placed);
                }
                Err(error) => note(trouble, error, || format!("removing {}", placed.prefix)),
            }
        }
        for placed in wanted {
            // Here already, or in another form that could not be removed: not both.
            if self.addresses().any(|there| there.ip == placed.prefix.ip) {
                continue;
            }
            match system.add_address(index, placed) {
                Ok(()) => self.addresses.push(*placed),
                Err(error) => {
                    self.refused.push((placed.prefix, error.errno));
                    note(trouble, error, || format!("address {}", placed.prefix));
                }
            }
        }
        self.addresses
            .sort_unstable_by_key(|p| (p.prefix.ip, p.prefix.bits));
        removed
    }

    /// The managed routes that were refused, with errnos.
    fn apply_routes(
        &mut self,
        index: u32,
        planned: &[Planned],
        system: &mut impl System,
        trouble: &mut Trouble,
    ) -> Vec<(Option<usize>, i32)> {
        let ordered = self.in_order(planned);
        let mut failed = self.step(&ordered, system);
        // Perhaps what is in the way is ours, and only our memory of it is wrong.
        if failed.iter().any(|(_, e)| e.errno == libc::EEXIST) && self.read_routes(index, system) {
            failed = self.step(&ordered, system);
        }
        self.stuck = failed.iter().map(|(route, _)| route.key()).collect();
        let mut by_managed = Vec::new();
        for (route, error) in failed {
            note(trouble, error, || {
                format!("route {}/{}", route.target, route.bits)
            });
            let of_plan = planned.iter().find(|p| p.route.key() == route.key());
            if let Some(of_plan) = of_plan {
                by_managed.push((of_plan.serves, error.errno));
            }
        }
        // Half of a default route is worse than none.
        for half in planned.iter().filter(|p| p.serves.is_some()) {
            let is_broken = by_managed.iter().any(|(n, _)| *n == half.serves);
            if is_broken
                && self.routes.contains(&half.route)
                && system.remove_route(&half.route).is_ok()
            {
                self.routes.retain(|r| *r != half.route);
            }
        }
        by_managed
    }

    /// Of the parts of one managed route, those that were refused last time come first: else the
    /// other part would be set and taken back each time, and the system's news of that would make
    /// us try again at once.
    fn in_order(&self, planned: &[Planned]) -> Vec<Planned> {
        let of_one = |a: &Planned, b: &Planned| a.serves.is_some() && a.serves == b.serves;
        let mut ordered = planned.to_vec();
        for parts in ordered.chunk_by_mut(of_one) {
            parts.sort_by_key(|part| !self.stuck.contains(&part.route.key()));
        }
        ordered
    }

    fn step(&mut self, planned: &[Planned], system: &mut impl System) -> Vec<(Route, Error)> {
        let wanted: Vec<Route> = planned.iter().map(|p| p.route).collect();
        let serves = |route: &Route| {
            let of_plan = planned.iter().find(|p| p.route.key() == route.key());
            of_plan.and_then(|p| p.serves)
        };
        let mut failed: Vec<(Route, Error)> = Vec::new();
        for change in difference(&self.routes, &wanted) {
            if let Change::Add(new) = &change
                && let Some(n) = serves(new)
                && failed.iter().any(|(other, _)| serves(other) == Some(n))
            {
                continue;
            }
            let (route, done) = match &change {
                Change::Add(new) => (new, system.add_route(new)),
                Change::Replace(old, new) => (new, system.replace_route(old, new)),
                Change::Remove(old) => (old, system.remove_route(old)),
            };
            match (done, change) {
                (Ok(()), Change::Add(new)) => self.routes.push(new),
                (Ok(()), Change::Replace(old, new)) => {
                    self.routes.retain(|r| *r != old);
                    self.routes.push(new);
                }
                (Ok(()), Change::Remove(old)) => self.routes.retain(|r| *r != old),
                (Err(error), _) => failed.push((*route, error)),
            }
        }
        failed
    }

    fn read_routes(&mut self, index: u32, system: &mut impl System) -> bool {
        let Ok(all) = system.routes() else {
            return false;
        };
        self.take_routes(index, &all);
        true
    }

    fn take_routes(&mut self, index: u32, all: &[Route]) {
        let on_it = all.iter().filter(|route| route.index == index);
        self.routes = on_it.copied().collect();
    }
}

fn note(trouble: &mut Trouble, error: Error, what: impl FnOnce() -> String) {
    if trouble.is_none() {
        *trouble = Some((what(), error));
    }
}

fn tell_routes(before: &[(Managed, State)], now: &[(Managed, State)], mut tell: impl FnMut(News)) {
    let installed = |all: &[(Managed, State)], managed: &Managed| {
        all.iter()
            .any(|(m, state)| m == managed && state.is_installed())
    };
    for (managed, state) in before {
        if state.is_installed() && !installed(now, managed) {
            tell(News::Route {
                managed: *managed,
                added: false,
                errno: None,
            });
        }
    }
    for (managed, state) in now {
        let errno = match state {
            State::Failed(errno) if !before.contains(&(*managed, *state)) => Some(*errno),
            _ => None,
        };
        if errno.is_some() || state.is_installed() && !installed(before, managed) {
            tell(News::Route {
                managed: *managed,
                added: true,
                errno,
            });
        }
    }
}

/// Rules of all networks: two of them may want the same one.
#[derive(Default, Debug)]
pub(crate) struct RuleSet {
    applied: Vec<Rule>,
}

impl RuleSet {
    /// Takes what an earlier run left behind; how many rules. To be called before the first
    /// network starts.
    pub(crate) fn clean(system: &mut impl System) -> Result<usize, Error> {
        let rules = system.rules()?;
        if rules.is_empty() {
            return Ok(0);
        }
        let routes = system.routes()?;
        let is_used = |rule: &Rule| {
            let mut of_table = routes.iter().filter(|r| r.table == rule.table);
            of_table.any(|r| r.target.is_ipv6() == rule.v6)
        };
        let mut cleaned = 0;
        for rule in rules.iter().filter(|rule| !is_used(rule)) {
            system.remove_rule(rule)?;
            cleaned += 1;
        }
        Ok(cleaned)
    }

    /// There is nothing to look after.
    pub(crate) fn is_empty(&self) -> bool {
        self.applied.is_empty()
    }

    /// Brings the system's rules to these. The first refusal, if there was one.
    pub(crate) fn apply(
        &mut self,
        wanted: &[Rule],
        seen: Option<&[Rule]>,
        system: &mut impl System,
    ) -> Result<(), Error> {
        if let Some(seen) = seen {
            self.applied.retain(|rule| seen.contains(rule));
        }
        let mut done = Ok(());
        for rule in wanted {
            if !self.applied.contains(rule) {
                match system.add_rule(rule) {
                    Ok(()) => self.applied.push(*rule),
                    Err(error) => done = done.and(Err(error)),
                }
            }
        }
        let old: Vec<Rule> = self.applied.clone();
        for rule in old.iter().filter(|rule| !wanted.contains(rule)) {
            match system.remove_rule(rule) {
                Ok(()) => self.applied.retain(|r| r != rule),
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }
}
