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

use core::fmt;

use super::routes::{Change, Managed, Placed, Plan, Planned, State, difference};
use super::settings::Prefix;
use crate::base::sorted::{self, take_out};
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

/// Hears what came and went.
pub(crate) type Tell<'a> = &'a mut dyn FnMut(News);

/// What of one network is in force.
#[derive(Default, Debug)]
pub(crate) struct RouteSet {
    /// Set and not taken back, sorted.
    addresses: Vec<Placed>,
    /// Not set: the system refused.
    refused: Vec<(Prefix, i32)>,
    /// Ours on the device.
    routes: Vec<Route>,
    /// Those that were refused last time.
    stuck: Vec<Route>,
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
    pub(crate) fn add_connected(&self, subnets: &mut Vec<Prefix>) {
        for Placed { prefix, bare } in &self.addresses {
            let network = prefix.network();
            let leads_there = |r: &Route| {
                let on_link = r.table == MAIN_TABLE && r.via.is_none();
                on_link && r.bits == network.bits && r.target == network.ip
            };
            if !prefix.is_host() && (!bare || self.routes.iter().any(leads_there)) {
                subnets.push(*prefix);
            }
        }
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
    pub(crate) fn clear(&mut self, tell: Tell<'_>) {
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
        tell: Tell<'_>,
    ) -> Trouble {
        if let Some(seen) = seen {
            take_out(&mut self.addresses, &mut |placed| {
                !seen.addresses.contains(&(index, placed.prefix))
            });
            if let Some(routes) = seen.routes {
                self.take_routes(index, routes);
            }
        }
        let mut trouble = None;
        let before = self.addresses.clone();
        if self.apply_addresses(index, &plan.addresses, system, &mut trouble) {
            // With an address go the routes that it is the source of, and with the last one of
            // IPv4 all of the device; the system does not tell.
            self.read_routes(index, system);
        }
        let after = &self.addresses;
        for &(added, from, without) in &[(false, &before, after), (true, after, &before)] {
            for Placed { prefix, .. } in from {
                if !without.iter().any(|other| other.prefix == *prefix) {
                    let prefix = *prefix;
                    tell(News::Address { prefix, added });
                }
            }
        }
        let failed = self.apply_routes(index, &plan.routes, system, &mut trouble);
        let mut now: Vec<(Managed, State)> = Vec::with_capacity(managed.len());
        for (n, (managed, state)) in managed.iter().zip(&plan.states).enumerate() {
            let errno = failed.iter().find(|(serves, _)| *serves == Some(n));
            let state = match errno {
                Some((_, errno)) if *state == State::Applied => State::Failed(*errno),
                _ => *state,
            };
            now.push((*managed, state));
        }
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
        take_out(&mut self.addresses, &mut |placed| {
            if wanted.contains(placed) {
                return false;
            }
            let done = system.remove_address(index, &placed.prefix);
            match done {
                Ok(()) => removed = true,
                Err(error) => note(trouble, error, format_args!("removing {}", placed.prefix)),
            }
            done.is_ok()
        });
        for placed in wanted {
            // Here already, or in another form that could not be removed: not both.
            if self.addresses().any(|there| there.ip == placed.prefix.ip) {
                continue;
            }
            match system.add_address(index, placed) {
                Ok(()) => {
                    sorted::insert_by_key(&mut self.addresses, *placed, |p| p.prefix);
                }
                Err(error) => {
                    self.refused.push((placed.prefix, error.errno));
                    note(trouble, error, format_args!("address {}", placed.prefix));
                }
            }
        }
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
        self.stuck.clear();
        let mut by_managed = Vec::new();
        for (route, error) in failed {
            let what = format_args!("route {}/{}", route.target, route.bits);
            note(trouble, error, what);
            if let Some(of_plan) = served_by(planned, &route) {
                by_managed.push((of_plan.serves, error.errno));
            }
            self.stuck.push(route);
        }
        // Half of a default route is worse than none.
        for half in planned.iter().filter(|p| p.serves.is_some()) {
            let is_broken = by_managed.iter().any(|(n, _)| *n == half.serves);
            if is_broken
                && self.routes.contains(&half.route)
                && system.remove_route(&half.route).is_ok()
            {
                self.forget(&half.route);
            }
        }
        by_managed
    }

    /// Of the parts of one managed route, those that were refused last time come first: else the
    /// other part would be set and taken back each time, and the system's news of that would make
    /// us try again at once.
    fn in_order(&self, planned: &[Planned]) -> Vec<Planned> {
        let mut ordered: Vec<Planned> = Vec::with_capacity(planned.len());
        for part in planned {
            let is_stuck = |route: &Route| self.stuck.iter().any(|r| r.has_key_of(route));
            let mut at = ordered.len();
            if part.serves.is_some() && is_stuck(&part.route) {
                // Before the parts of the same route that are not.
                while let Some(other) = at.checked_sub(1).and_then(|n| ordered.get(n))
                    && other.serves == part.serves
                    && !is_stuck(&other.route)
                {
                    at = at.saturating_sub(1);
                }
            }
            ordered.insert(at, *part);
        }
        ordered
    }

    fn step(&mut self, planned: &[Planned], system: &mut impl System) -> Vec<(Route, Error)> {
        let serves = |route: &Route| served_by(planned, route).and_then(|p| p.serves);
        let mut failed: Vec<(Route, Error)> = Vec::new();
        for change in difference(&self.routes, planned) {
            let Change { old, new } = change;
            let done = match (&old, &new) {
                (None, Some(new)) => {
                    if let Some(n) = serves(new)
                        && failed.iter().any(|(other, _)| serves(other) == Some(n))
                    {
                        continue;
                    }
                    system.add_route(new)
                }
                (Some(old), Some(new)) => system.replace_route(old, new),
                (Some(old), None) => system.remove_route(old),
                (None, None) => Ok(()),
            };
            match (done, new.or(old)) {
                (Ok(()), _) => {
                    if let Some(old) = old {
                        self.forget(&old);
                    }
                    if let Some(new) = new {
                        self.routes.push(new);
                    }
                }
                (Err(error), Some(route)) => failed.push((route, error)),
                (Err(_), None) => {}
            }
        }
        failed
    }

    #[inline(never)]
    fn forget(&mut self, gone: &Route) {
        take_out(&mut self.routes, &mut |route| route == gone);
    }

    fn read_routes(&mut self, index: u32, system: &mut impl System) -> bool {
        let Ok(all) = system.routes() else {
            return false;
        };
        self.take_routes(index, &all);
        true
    }

    fn take_routes(&mut self, index: u32, all: &[Route]) {
        self.routes.clear();
        for route in all {
            if route.index == index {
                self.routes.push(*route);
            }
        }
    }
}

/// The part of a plan that has the key of a route.
fn served_by<'a>(planned: &'a [Planned], route: &Route) -> Option<&'a Planned> {
    planned.iter().find(|p| p.route.has_key_of(route))
}

fn note(trouble: &mut Trouble, error: Error, what: fmt::Arguments<'_>) {
    if trouble.is_none() {
        *trouble = Some((what.to_string(), error));
    }
}

fn tell_routes(before: &[(Managed, State)], now: &[(Managed, State)], tell: Tell<'_>) {
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
            take_out(&mut self.applied, &mut |rule| !seen.contains(rule));
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
        take_out(&mut self.applied, &mut |rule| {
            if wanted.contains(rule) {
                return false;
            }
            let removed = system.remove_rule(rule);
            done = done.and(removed);
            removed.is_ok()
        });
        done
    }
}
