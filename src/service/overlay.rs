//! What the daemon does to the devices of its networks, and reads from them (service 7).
//!
//! A network is put right when its configuration or its settings changed, when the system said
//! that something did, when the daemon went online or offline, and when a pause after a refusal is
//! over. All of them lead to [`Daemon::put_right`], which works out the whole plan and applies the
//! difference.

use mio::Interest;
use mio::unix::SourceFd;

use super::daemon::{Daemon, Refused};
use super::dns::Pushed;
use super::log::Cause;
use super::networks::{Port, Want, is_membership_report};
use super::ready::Source;
use super::route_set::{self, RuleSet, Seen};
use super::routes::{Around, Managed};
use super::settings::{NetworkSettings, Prefix};
use crate::base::NetworkId;
use crate::node::Node;
use crate::os;
use crate::os::netlink::{Rule, has_strict_reverse_path};
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

/// An address of an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) index: u32,
    pub(super) up: bool,
    pub(super) prefix: Prefix,
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

    /// The end: what does not go with the devices is taken back.
    pub(super) fn finish_system(&mut self) {
        let _ = self.rules.apply(&[], None, &mut self.routes);
        self.resolver.finish(self.now.mono);
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
        let complain = |text: String| log::warn!("{text}");
        let stored = self.home.stored_config(id, CONFIG_MAX_BYTES, complain);
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
        let order = place.and_then(Option::take).map(|mut port| {
            let device = port.device().to_owned();
            port.close(|one| tell(news, id, News::Set(one)));
            tell(news, id, News::Left(device));
            port.order
        });
        self.ready.remove(Source::Tap(slot));
        self.put_later_right(order);
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
        let mapped = self
            .devicemap
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, name)| name.as_str());
        let Some(port) = self.wires.port_mut(slot) else {
            return;
        };
        if port.open(self.now.mono, &want, mapped, &mut self.gate)
            && let Some(fd) = port.fd()
        {
            let source = Source::Tap(slot);
            let watched =
                self.registry
                    .register(&mut SourceFd(&fd), source.token(), Interest::READABLE);
            if let Err(error) = watched {
                let news = &mut self.news;
                port.lost(self.now.mono, os::Error::from_io("epoll", &error), |one| {
                    tell(news, id, News::Set(one));
                });
            } else {
                self.ready.insert(source);
            }
        }
        let before = self.subnets(slot);
        self.put_right(slot, None);
        if self.subnets(slot) != before {
            self.put_later_right(self.wires.port_at(slot).map(|port| port.order));
        }
        self.put_rules_right(None);
        self.read_groups(slot);
    }

    /// Subnets on the link of a network's device.
    fn subnets(&self, slot: u16) -> Vec<Prefix> {
        let port = self.wires.port_at(slot);
        port.into_iter().flat_map(Port::connected).collect()
    }

    /// Networks by the order in which they were joined.
    fn slots_in_order(&self) -> Vec<u16> {
        let mut all: Vec<(u32, u16)> = self.wires.ports().map(|(s, p)| (p.order, s)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, slot)| slot).collect()
    }

    /// The networks that were joined after number `order`: they yield to it.
    fn put_later_right(&mut self, order: Option<u32>) {
        let Some(order) = order else { return };
        for slot in self.slots_in_order() {
            if self.wires.port_at(slot).is_some_and(|p| p.order > order) {
                self.put_right(slot, None);
            }
        }
    }

    /// All networks; `present`: the addresses that the system has, if they were read just now.
    pub(super) fn put_networks_right(&mut self, present: Option<Vec<Present>>) {
        let found = present.map(|present| self.found(&present));
        for slot in self.slots_in_order() {
            self.put_right(slot, found.as_ref());
            if found.is_some()
                && let Some(port) = self.wires.port_mut(slot)
            {
                port.groups_may_have_changed(self.now.mono);
            }
        }
        self.put_rules_right(found.as_ref().and_then(|f| f.rules.as_deref()));
    }

    /// What there is of addresses, and of routes and rules of ours.
    fn found(&mut self, present: &[Present]) -> Found {
        let own = self.own_indices();
        let others = present.iter().filter(|p| p.up && !own.contains(&p.index));
        self.connected = others.map(|p| p.prefix).collect();
        if own.is_empty() {
            return Found::default();
        }
        Found {
            addresses: present.iter().map(|p| (p.index, p.prefix)).collect(),
            routes: self.routes.routes().ok(),
            // Without rules of ours there are none to miss.
            rules: if self.rules.is_empty() {
                None
            } else {
                self.routes.rules().ok()
            },
        }
    }

    /// Numbers of our devices.
    pub(super) fn own_indices(&self) -> Vec<u32> {
        let taps = self.wires.ports().filter_map(|(_, port)| port.tap());
        taps.map(os::tap::Tap::index).collect()
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
        let earlier = self.wires.ports().filter(|(_, port)| port.order < order);
        let mut connected = self.connected.clone();
        connected.extend(earlier.flat_map(|(_, port)| port.connected()));
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
            |one| tell(news, id, News::Set(one)),
        );
        let (device, allowed) = (port.device(), port.settings.allow_dns);
        let pushed = self.node.network(id).and_then(|view| view.dns);
        let pushed = pushed.map_or_else(Pushed::default, |dns| Pushed {
            domain: dns.domain.clone(),
            servers: dns.servers.to_vec(),
        });
        if self
            .resolver
            .set(self.now.mono, id, device, allowed, pushed)
        {
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
        for (_, port) in self.wires.ports() {
            let new = port.rules().iter().filter(|rule| !wanted.contains(rule));
            let new: Vec<Rule> = new.copied().collect();
            wanted.extend(new);
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
            .is_some_and(|port| port.change(now, settings, |one| tell(news, id, News::Set(one))))
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
            port.lost(now, error, |one| tell(news, id, News::Set(one)));
        }
    }
}

fn tell(news: &mut Vec<(NetworkId, News)>, id: NetworkId, one: News) {
    if news.len() < NEWS_MAX {
        news.push((id, one));
    }
}

/// What a network wants of its device.
fn want_of(node: &Node, id: NetworkId) -> Option<Want> {
    let view = node.network(id)?;
    let prefix = |net: &crate::node::network::IpNet| Prefix {
        ip: net.ip,
        bits: net.bits,
    };
    Some(Want {
        mac: view.mac,
        mtu: view.mtu,
        addresses: view.addresses.iter().map(prefix).collect(),
        routes: view.routes.iter().map(managed).collect(),
    })
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
