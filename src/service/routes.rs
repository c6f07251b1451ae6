//! Which routes, rules and addresses a network gets of what its controller asks for (service 3.4,
//! 7.2; wishes 46 to 49). No system calls: what the machine has comes in, a plan comes out.
//!
//! Rules of the plan:
//! - A subnet that another interface is connected to is never shadowed: no route to it or into
//!   it, and an address of the same subnet gets no route of its own.
//! - A default route is two halves, so that the machine's own stays; packets of the underlay keep
//!   leaving by that one because their sockets are bound to devices (service 7.3).
//! - Routes on the link come before those through a gateway, which need them.
//!
//! Bounds: [`ROUTES_MAX`] and [`ADDRESSES_MAX`] per network, filled by its controller; what is
//! beyond is left out and shown as such.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::settings::{NetworkSettings, NotAllowed, Prefix};
use crate::os::ErrnoName;
use crate::os::netlink::{MAIN_TABLE, Route, Rule};

#[cfg(test)]
mod tests;

/// Managed routes of one network.
pub const ROUTES_MAX: usize = 128;
/// Managed addresses of one network.
pub const ADDRESSES_MAX: usize = 32;
/// Metric when neither network nor owner says one (service 7.2).
pub const METRIC_DEFAULT: u32 = 5000;
/// What the kernel gives the route to an IPv6 prefix; 0 for IPv4.
const METRIC_CONNECTED_V6: u32 = 256;
/// Before the main table, behind the rules of policy routers.
const RULE_PRIORITY: u32 = 30_201;

/// A route that a network asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Managed {
    /// Where to; host bits do not count.
    pub target: Prefix,
    /// By whom; `None`: on the link.
    pub via: Option<IpAddr>,
    /// 0: none.
    pub metric: u16,
}

/// What the machine has besides this network.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// Addresses of other interfaces, with their prefixes.
    pub connected: &'a [Prefix],
    /// An upstream answers: a default route into the network leads somewhere.
    pub online: bool,
    /// Every underlay socket is bound to a device, so a default route does not swallow its
    /// packets.
    pub bound: bool,
    /// An underlay device drops what the default route would not answer.
    pub strict: bool,
}

/// What became of a managed route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The system has it.
    Applied,
    /// The system made it itself for a managed address.
    OnLink,
    /// The settings do not let it through.
    NotAllowed(NotAllowed),
    /// Another interface is connected to that subnet.
    Connected,
    /// The gateway is not on the link.
    Unreachable,
    /// The gateway is this machine.
    Own,
    /// On the link, but we have no address of its family there to speak from.
    NoAddress,
    /// The same target and metric came before.
    Duplicate,
    /// A default route while no upstream answers.
    Offline,
    /// A default route while sockets are not bound to devices: it would swallow their packets.
    Unbound,
    /// A default route while a strict reverse path filter would drop what others send us.
    ReversePath,
    /// More than this machine keeps.
    TooMany,
    /// There is no device.
    NoDevice,
    /// The system refused, with this errno.
    Failed(i32),
}

/// An address to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// With the bits of the host.
    pub prefix: Prefix,
    /// The system is not to make the route to its prefix.
    pub bare: bool,
}

/// A route to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planned {
    /// For the system.
    pub route: Route,
    /// Number of the managed route that it serves; `None`: the prefix of an address.
    pub serves: Option<usize>,
}

/// What a network gets.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// Addresses, sorted, each once.
    pub addresses: Vec<Placed>,
    /// Routes, in the order in which they are to be set. No two have the same key.
    pub routes: Vec<Planned>,
    /// Rules that lead to the network's own table.
    pub rules: Vec<Rule>,
    /// Of each managed route: what it becomes if the system takes all of it.
    pub states: Vec<State>,
}

/// Works out the plan for device number `index`.
pub fn plan(
    index: u32,
    addresses: &[Prefix],
    managed: &[Managed],
    settings: &NetworkSettings,
    around: &Around<'_>,
) -> Plan {
    let mut planner = Planner {
        index,
        table: settings.table.unwrap_or(MAIN_TABLE),
        settings,
        around,
        on_link: Vec::new(),
        plan: Plan::default(),
    };
    planner.place(addresses, managed);
    for _ in managed {
        planner.plan.states.push(State::TooMany);
    }
    // A gateway may be behind a route on the link that comes later in the list.
    for &through_gateway in &[false, true] {
        for (n, route) in managed.iter().enumerate().take(ROUTES_MAX) {
            if route.via.is_some() == through_gateway {
                let state = planner.add(n, route);
                if let Some(place) = planner.plan.states.get_mut(n) {
                    *place = state;
                }
            }
        }
    }
    planner.rules();
    planner.plan
}

struct Planner<'a> {
    index: u32,
    table: u32,
    settings: &'a NetworkSettings,
    around: &'a Around<'a>,
    /// Where gateways may be.
    on_link: Vec<Prefix>,
    plan: Plan,
}

impl Planner<'_> {
    /// Addresses, and the routes to their prefixes where the system is not to make them.
    fn place(&mut self, addresses: &[Prefix], managed: &[Managed]) {
        for prefix in allowed(self.settings, addresses) {
            let network = prefix.network();
            let asked = managed
                .iter()
                .find(|m| m.via.is_none() && m.target.network() == network && m.metric != 0);
            let metric = asked
                .map(|m| u32::from(m.metric))
                .or(self.settings.metric)
                .map(|metric| usable_metric(metric, &network));
            let conflict = !prefix.is_host() && self.is_connected(&network);
            let special = metric.is_some() || self.settings.table.is_some();
            // A host has no prefix to reach others by.
            let bare = !prefix.is_host() && (conflict || special);
            self.plan.addresses.push(Placed { prefix, bare });
            if conflict {
                continue;
            }
            self.on_link.push(network);
            if bare {
                let kernels = if network.ip.is_ipv6() {
                    METRIC_CONNECTED_V6
                } else {
                    0
                };
                let mut route = self.route(&network, None, metric.unwrap_or(kernels));
                // IPv6 chooses the source by the longest common prefix anyway.
                route.source = prefix.ip.is_ipv4().then_some(prefix.ip);
                self.push(route, None);
            }
        }
    }

    /// One managed route.
    fn add(&mut self, n: usize, managed: &Managed) -> State {
        let target = managed.target.network();
        if let Err(why) = self.settings.judge(&target) {
            return State::NotAllowed(why);
        }
        if target.is_default() {
            if let Some(state) = self.hinders_default(managed, &target) {
                return state;
            }
        } else if self.is_connected(&target) {
            return State::Connected;
        } else if self.is_prefix_of_address(&target) {
            return State::OnLink;
        }
        if let Some(via) = managed.via {
            if self.plan.addresses.iter().any(|a| a.prefix.ip == via) {
                return State::Own;
            }
            if !self.is_reachable(&via, &target) {
                return State::Unreachable;
            }
        } else if !self.has_address_like(&target) {
            return State::NoAddress;
        }
        let metric = match managed.metric {
            0 => self.settings.metric.unwrap_or(METRIC_DEFAULT),
            metric => u32::from(metric),
        };
        let metric = usable_metric(metric, &target);
        let parts = if target.is_default() {
            &halves(&target)[..]
        } else {
            &[target]
        };
        for part in parts {
            let route = self.route(part, managed.via, metric);
            if !self.push(route, Some(n)) {
                return State::Duplicate;
            }
        }
        if managed.via.is_none() && !target.is_default() {
            self.on_link.push(target);
        }
        State::Applied
    }

    fn hinders_default(&self, managed: &Managed, target: &Prefix) -> Option<State> {
        if managed.via.is_some() && !self.around.online {
            return Some(State::Offline);
        }
        // Only the packets that a rule sends there see another table.
        if self.settings.table.is_some() {
            return None;
        }
        if !self.around.bound {
            return Some(State::Unbound);
        }
        (self.around.strict && target.ip.is_ipv4()).then_some(State::ReversePath)
    }

    fn rules(&mut self) {
        let (Some(table), Some(mark)) = (self.settings.table, self.settings.firewall_mark) else {
            return;
        };
        if mark == 0 {
            return;
        }
        for &v6 in &[false, true] {
            let planned = &self.plan.routes;
            if planned.iter().any(|p| p.route.target.is_ipv6() == v6) {
                self.plan.rules.push(Rule {
                    priority: RULE_PRIORITY,
                    mark,
                    table,
                    v6,
                });
            }
        }
    }

    /// A route to `target` would take something from a subnet that another interface is
    /// connected to. A wider route does not: the longer prefix wins.
    fn is_connected(&self, target: &Prefix) -> bool {
        self.around
            .connected
            .iter()
            .any(|there| !there.is_default() && there.contains(target))
    }

    fn is_prefix_of_address(&self, target: &Prefix) -> bool {
        self.plan
            .addresses
            .iter()
            .any(|a| !a.prefix.is_host() && a.prefix.network() == *target)
    }

    fn has_address_like(&self, target: &Prefix) -> bool {
        let mut own = self.plan.addresses.iter();
        own.any(|a| a.prefix.ip.is_ipv4() == target.ip.is_ipv4())
    }

    fn is_reachable(&self, via: &IpAddr, target: &Prefix) -> bool {
        if via.is_ipv4() != target.ip.is_ipv4() || via.is_unspecified() || via.is_multicast() {
            return false;
        }
        match via {
            IpAddr::V6(via) if via.is_unicast_link_local() => true,
            via => self.on_link.iter().any(|there| there.holds(via)),
        }
    }

    fn route(&self, target: &Prefix, via: Option<IpAddr>, metric: u32) -> Route {
        Route {
            table: self.table,
            target: target.ip,
            bits: target.bits,
            metric,
            index: self.index,
            via,
            source: None,
        }
    }

    /// `false`: there is one with this key.
    fn push(&mut self, route: Route, serves: Option<usize>) -> bool {
        if self.plan.routes.iter().any(|p| p.route.has_key_of(&route)) {
            return false;
        }
        self.plan.routes.push(Planned { route, serves });
        true
    }
}

/// The addresses that the settings let through, each once.
fn allowed(settings: &NetworkSettings, addresses: &[Prefix]) -> Vec<Prefix> {
    let mut all: Vec<Prefix> = Vec::new();
    for prefix in addresses.iter().filter(|p| settings.allows(p)) {
        let at = all.iter().take_while(|known| known.ip < prefix.ip).count();
        match all.get_mut(at) {
            // The same address with two prefixes: the wider one reaches more members.
            Some(known) if known.ip == prefix.ip => known.bits = known.bits.min(prefix.bits),
            _ => all.insert(at, *prefix),
        }
    }
    all.truncate(ADDRESSES_MAX);
    all
}

/// IPv6 takes 0 for "the usual one" and would not show what was asked for.
fn usable_metric(metric: u32, target: &Prefix) -> u32 {
    if target.ip.is_ipv6() {
        metric.max(1)
    } else {
        metric
    }
}

/// More specific than any default route, and together the same.
fn halves(default: &Prefix) -> [Prefix; 2] {
    let ips: [IpAddr; 2] = match default.ip {
        IpAddr::V4(_) => [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(128, 0, 0, 0).into(),
        ],
        IpAddr::V6(_) => [
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0).into(),
        ],
    };
    ips.map(|ip| Prefix { ip, bits: 1 })
}

/// One step from what is applied to what is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// What is there, and goes.
    pub old: Option<Route>,
    /// What comes, in its place if there is one: both have the same key.
    pub new: Option<Route>,
}

/// The steps from `applied` to `wanted`, both without two of the same key. New ones come before
/// old ones go, so that no packet finds neither.
pub fn difference(applied: &[Route], wanted: &[Planned]) -> Vec<Change> {
    let mut changes = Vec::new();
    for Planned { route, .. } in wanted {
        let old = applied.iter().find(|have| have.has_key_of(route)).copied();
        let new = Some(*route);
        if old != new {
            changes.push(Change { old, new });
        }
    }
    for have in applied {
        if !wanted.iter().any(|want| want.route.has_key_of(have)) {
            let (old, new) = (Some(*have), None);
            changes.push(Change { old, new });
        }
    }
    changes
}

impl State {
    /// The system has a route for it.
    pub const fn is_installed(self) -> bool {
        matches!(self, Self::Applied | Self::OnLink)
    }

    /// Why not, in one word; empty if it is installed.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Applied | Self::OnLink => "",
            Self::NotAllowed(NotAllowed::Managed) => "not-allowed-managed",
            Self::NotAllowed(NotAllowed::Global) => "not-allowed-global",
            Self::NotAllowed(NotAllowed::Default) => "not-allowed-default",
            Self::NotAllowed(NotAllowed::Scope) => "bad-scope",
            Self::Connected => "connected",
            Self::Unreachable => "via-unreachable",
            Self::Own => "via-self",
            Self::NoAddress => "no-address",
            Self::Duplicate => "duplicate",
            Self::Offline => "offline",
            Self::Unbound => "underlay-unbound",
            Self::ReversePath => "reverse-path-filter",
            Self::TooMany => "too-many",
            Self::NoDevice => "no-device",
            Self::Failed(errno) => ErrnoName(errno).known().unwrap_or("failed"),
        }
    }
}

impl State {
    /// What the owner can do about a default route that he wants.
    pub(crate) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::ReversePath => Some(
                "the strict reverse path filter would drop what arrives; \
                 set net.ipv4.conf.*.rp_filter to 2",
            ),
            Self::Unbound => Some(
                "sockets cannot be bound to their devices, so it would swallow our own packets; \
                 set table and firewallMark",
            ),
            _ => None,
        }
    }
}
