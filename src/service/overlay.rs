//! What the daemon does to the devices of its networks, and reads from them (service 7).
//!
//! A network is put right when its configuration or its settings changed, when the system said
//! that something did, when the daemon went online or offline, and when a pause after a refusal is
//! over. All of them lead to [`Daemon::put_right`], which works out the whole plan and applies the
//! difference.

use super::daemon::{Daemon, Refused};
use super::dns::Pushed;
use super::log::{self, Cause};
use super::networks::{Port, Want, is_membership_report};
use super::ready::Source;
use super::route_set::{self, RuleSet, Seen};
use super::routes::{Around, Managed};
use super::settings::{NetworkSettings, Prefix};
use super::state::warn;
use crate::base::NetworkId;
use crate::node::Node;
use crate::node::network::IpNet;
use crate::os;
use crate::os::netlink::{Address, Rule, has_strict_reverse_path};
use crate::wire::frames::HEADROOM;

/// Frames of one tap in one turn (style 2.5).
const BUDGET: usize = 32;
/// Longest stored configuration that is read.
const CONFIG_MAX_BYTES: usize = 1 << 19;
/// News kept for one turn; who misses some sees it in the lists.
const NEWS_MAX: usize = 512;

/// Something of a network changed, for those who listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// It is not joined any more; it had this device.
    Left(String),
    /// An address or a route came or went.
    Set(route_set::News),
    /// What it pushes for names, or what became of that.
    Dns,
}

/// What the system was just found to have.
#[derive(Default)]
struct Found {
    addresses: Vec<(u32, Prefix)>,
    routes: Option<Vec<os::netlink::Route>>,
    rules: Option<Vec<Rule>>,
}

impl Daemon {
    /// Takes what a crash left behind. To be called before the first network starts.
    pub(super) fn clean_system(&mut self) {
        match RuleSet::clean(&mut self.routes) {
            Ok(0) => {}
            Ok(n) => log::info!("{n} rules of an earlier run removed"),
            Err(error) => log::warn!("rules of an earlier run: {error}"),
        }
    }

    /// The end: devices go, and what does not go with them is taken back.
    pub(super) fn finish_system(&mut self) {
        let _ = self.rules.apply(&[], None, &mut self.routes);
        self.resolver.finish(self.now.mono);
        self.wires.ports.clear();
    }

    /// Joins a network, with a device of its own.
    pub(super) fn start_network(
        &mut self,
        id: NetworkId,
        settings: NetworkSettings,
    ) -> Result<(), Refused> {
        if self.wires.slot_of(id).is_some() {
            return Ok(());
        }
        let Some(place) = self.wires.ports.iter_mut().find(|place| place.is_none()) else {
            return Err(Refused::Full);
        };
        *place = Some(Port::new(id, settings, self.joins, self.now.mono));
        self.joins = self.joins.wrapping_add(1);
        let stored = self.home.stored_config(id, CONFIG_MAX_BYTES, &mut warn);
        let stored = stored.as_deref();
        let joined = self.node.join_with(self.now, id, stored, &mut self.wires);
        if joined.is_err() {
            self.stop_network(id);
            return Err(Refused::Full);
        }
        self.keep(id);
        self.apply_network(id);
        Ok(())
    }

    /// Leaves a network; the files stay. `false`: was not on it.
    pub(super) fn stop_network(&mut self, id: NetworkId) -> bool {
        let Some(slot) = self.wires.slot_of(id) else {
            return false;
        };
        self.node.leave(self.now, id, &mut self.wires);
        self.forget_kept(id);
        let news = &mut self.news;
        let place = self.wires.ports.get_mut(usize::from(slot));
        let Some(mut port) = place.and_then(Option::take) else {
            return false;
        };
        let device = port.device().to_owned();
        port.close(&mut teller(news, id));
        tell(news, id, News::Left(device));
        self.ready.remove(Source::Tap(slot));
        self.put_later_right(Some(port.order), None);
        self.put_rules_right(None);
        if self.resolver.forget(self.now.mono, id) {
            tell(&mut self.news, id, News::Dns);
        }
        true
    }

    /// Brings a network's device to what the network and the settings want.
    pub(super) fn apply_network(&mut self, id: NetworkId) {
        let Some(slot) = self.wires.slot_of(id) else {
            return;
        };
        let Some(want) = want_of(&self.node, id) else {
            return;
        };
        let mapped = self.devicemap.iter().find(|(known, _)| *known == id);
        let mapped = mapped.map(|(_, name)| name.as_str());
        let Some(port) = self.wires.port_mut(slot) else {
            return;
        };
        if port.open(self.now.mono, &want, mapped, &mut self.gate)
            && let Some(fd) = port.fd()
        {
            let source = Source::Tap(slot);
            if let Err(error) = source.watch(&self.registry, fd) {
                let news = &mut self.news;
                port.lost(self.now.mono, error, &mut teller(news, id));
            } else {
                self.ready.insert(source);
            }
        }
        let before = self.subnets(slot);
        self.put_right(slot, None);
        if self.subnets(slot) != before
            && let Some(port) = self.wires.port_at(slot)
        {
            self.put_later_right(Some(port.order), None);
        }
        self.put_rules_right(None);
        self.read_groups(slot);
    }

    /// Subnets on the link of a network's device.
    fn subnets(&self, slot: u16) -> Vec<Prefix> {
        let mut subnets = Vec::new();
        if let Some(port) = self.wires.port_at(slot) {
            port.add_connected(&mut subnets);
        }
        subnets
    }

    /// The networks that were joined after number `last`, in that order: they yield to those
    /// before. `None`: all.
    fn put_later_right(&mut self, mut last: Option<u32>, found: Option<&Found>) {
        loop {
            let mut next: Option<(u32, u16)> = None;
            for slot in 0..self.wires.slots() {
                let Some(Port { order, .. }) = self.wires.port_at(slot) else {
                    continue;
                };
                let is_later = Some(*order) > last;
                if is_later && next.is_none_or(|(first, _)| *order < first) {
                    next = Some((*order, slot));
                }
            }
            let Some((order, slot)) = next else { return };
            last = Some(order);
            self.put_right(slot, found);
        }
    }

    /// All networks; `present`: the addresses that the system has, if they were read just now.
    pub(super) fn put_networks_right(&mut self, present: Option<&[Address]>) {
        let found = present.map(|present| self.found(present));
        self.put_later_right(None, found.as_ref());
        if found.is_some() {
            self.groups_changed();
        }
        self.put_rules_right(found.as_ref().and_then(|f| f.rules.as_deref()));
    }

    /// What there is of addresses, and of routes and rules of ours.
    fn found(&mut self, present: &[Address]) -> Found {
        let mut found = Found::default();
        self.connected.clear();
        for one in present {
            let (ip, bits) = (one.ip, one.bits);
            if self.is_own(one.index) {
                found.addresses.push((one.index, Prefix { ip, bits }));
            } else if one.up {
                self.connected.push(Prefix { ip, bits });
            }
        }
        if self.wires.ports().any(|port| port.tap().is_some()) {
            found.routes = self.routes.routes().ok();
            // Without rules of ours there are none to miss.
            if !self.rules.is_empty() {
                found.rules = self.routes.rules().ok();
            }
        }
        found
    }

    /// The number of one of our devices.
    pub(super) fn is_own(&self, index: u32) -> bool {
        let is_its = |port: &Port| port.tap().is_some_and(|tap| tap.index() == index);
        self.wires.ports().any(is_its)
    }

    /// One network's addresses, routes and names.
    fn put_right(&mut self, slot: u16, found: Option<&Found>) {
        let Some(port) = self.wires.port_at(slot) else {
            return;
        };
        let (id, order) = (port.id, port.order);
        let Some(want) = want_of(&self.node, id) else {
            return;
        };
        let mut connected = self.connected.clone();
        for other in self.wires.ports() {
            if other.order < order {
                other.add_connected(&mut connected);
            }
        }
        // Only a default route asks for this.
        let strict = port.settings.allow_default.is_on() && self.is_strict();
        let links = &self.wires.links;
        let around = Around {
            connected: &connected,
            online: self.node.is_online(),
            bound: links.iter().all(|(_, link)| link.socket.keeps_to_device()),
            strict,
        };
        let seen = found.map(|found| Seen {
            addresses: &found.addresses,
            routes: found.routes.as_deref(),
        });
        let news = &mut self.news;
        let Some(port) = self.wires.port_mut(slot) else {
            return;
        };
        port.apply(
            self.now.mono,
            &want,
            &around,
            seen.as_ref(),
            &mut self.routes,
            &mut self.gate,
            &mut teller(news, id),
        );
        let (device, allowed) = (port.device(), port.settings.allow_dns);
        let pushed = self.node.network(id).and_then(|view| view.dns);
        let pushed = pushed.map_or_else(Pushed::default, |dns| Pushed {
            domain: &dns.domain,
            servers: &dns.servers,
        });
        let now = self.now.mono;
        if self.resolver.set(now, id, device, allowed, pushed) {
            tell(&mut self.news, id, News::Dns);
        }
    }

    /// Something could not be done for names, later than it was asked for.
    pub(super) fn listen_for_names(&mut self) {
        self.resolver.listen(self.now.mono);
        while let Some(id) = self.resolver.take_changed() {
            tell(&mut self.news, id, News::Dns);
        }
    }

    /// What others send us by a device of the underlay would be dropped if the default route led
    /// elsewhere.
    fn is_strict(&self) -> bool {
        let links = self.wires.links.iter();
        let mut v4 = links.filter(|(_, link)| link.wanted.local.is_ipv4());
        v4.any(|(_, link)| has_strict_reverse_path(&link.wanted.device))
    }

    fn put_rules_right(&mut self, seen: Option<&[Rule]>) {
        let mut wanted: Vec<Rule> = Vec::new();
        for port in self.wires.ports() {
            for rule in port.rules() {
                if !wanted.contains(rule) {
                    wanted.push(*rule);
                }
            }
        }
        if wanted.is_empty() && self.rules.is_empty() {
            return;
        }
        match self.rules.apply(&wanted, seen, &mut self.routes) {
            Ok(()) => self.gate.over(Cause::Route, 0),
            Err(error) => {
                self.gate.warn(
                    self.now.mono,
                    Cause::Route,
                    0,
                    format_args!("rules of routing tables: {error}; trying again"),
                );
                // Who wants one is due again, and leads here.
                for port in self.wires.ports.iter_mut().flatten() {
                    port.try_rules_again(self.now.mono);
                }
            }
        }
    }

    /// Other settings of a network.
    pub(super) fn change_settings(&mut self, id: NetworkId, settings: NetworkSettings) {
        let Some(slot) = self.wires.slot_of(id) else {
            return;
        };
        let now = self.now.mono;
        let news = &mut self.news;
        if self
            .wires
            .port_mut(slot)
            .is_some_and(|port| port.change(now, settings, &mut teller(news, id)))
        {
            self.ready.remove(Source::Tap(slot));
        }
        self.apply_network(id);
    }

    pub(super) fn groups_changed(&mut self) {
        let now = self.now.mono;
        for port in self.wires.ports.iter_mut().flatten() {
            port.groups_may_have_changed(now);
        }
    }

    pub(super) fn read_groups(&mut self, slot: u16) {
        let Some(port) = self.wires.port_mut(slot) else {
            return;
        };
        if port.read_groups(self.now.mono) {
            let (id, groups) = (port.id, port.groups().to_vec());
            self.node.set_groups(self.now, id, &groups, &mut self.wires);
        }
    }

    /// Reads a tap; `true` if it would block now.
    pub(super) fn drain_tap(&mut self, slot: u16) -> bool {
        let mut drained = false;
        let mut reported = false;
        for _ in 0..BUDGET {
            let Some(port) = self
                .wires
                .ports
                .get(usize::from(slot))
                .and_then(Option::as_ref)
            else {
                return true;
            };
            let (id, Some(tap)) = (port.id, port.tap()) else {
                return true;
            };
            let room = self.slot.get_mut(HEADROOM..).unwrap_or_default();
            match tap.read_frame(room) {
                Ok(Some(len)) => {
                    reported |= is_membership_report(room.get(..len).unwrap_or_default());
                    self.node
                        .handle_frame(self.now, id, &mut self.slot, len, &mut self.wires);
                }
                Ok(None) => {
                    drained = true;
                    break;
                }
                Err(error) => {
                    self.tap_failed(slot, error);
                    drained = true;
                    break;
                }
            }
        }
        self.wires.flush();
        if reported && let Some(port) = self.wires.port_mut(slot) {
            port.groups_may_have_changed(self.now.mono);
        }
        drained
    }

    fn tap_failed(&mut self, slot: u16, error: os::Error) {
        // A device that is only down comes back by itself.
        if error.errno == libc::EIO || error.errno == libc::ENETDOWN {
            return;
        }
        let now = self.now.mono;
        let Some(port) = self.wires.port_mut(slot) else {
            return;
        };
        let id = port.id;
        self.gate.warn(
            now,
            Cause::Tap,
            id.get(),
            format_args!(
                "network {id}: device {}: {error}; making it again",
                port.device()
            ),
        );
        let news = &mut self.news;
        if let Some(port) = self.wires.port_mut(slot) {
            port.lost(now, error, &mut teller(news, id));
        }
    }
}

/// Hears what of a device comes and goes.
fn teller(
    news: &mut Vec<(NetworkId, News)>,
    id: NetworkId,
) -> impl FnMut(route_set::News) + use<'_> {
    move |one| tell(news, id, News::Set(one))
}

fn tell(news: &mut Vec<(NetworkId, News)>, id: NetworkId, one: News) {
    if news.len() < NEWS_MAX {
        news.push((id, one));
    }
}

/// What a network wants of its device.
fn want_of(node: &Node, id: NetworkId) -> Option<Want> {
    let view = node.network(id)?;
    let mut want = Want {
        mac: view.mac,
        mtu: view.mtu,
        addresses: Vec::new(),
        routes: Vec::new(),
    };
    for &IpNet { ip, bits } in view.addresses {
        want.addresses.push(Prefix { ip, bits });
    }
    for route in view.routes {
        want.routes.push(managed(route));
    }
    Some(want)
}

/// A route as the node has it.
pub(super) fn managed(route: &crate::node::network::Route) -> Managed {
    Managed {
        target: Prefix {
            ip: route.target.ip,
            bits: route.target.bits,
        },
        via: route.via,
        metric: route.metric,
    }
}
