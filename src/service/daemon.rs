//! The daemon's state: the node and everything it touches, passed by `&mut`.
//!
//! What is done when a source has something, a deadline is over or the system changed lies here;
//! when it is called is the business of `event_loop`. Commands come in through `host`.

use core::mem::ManuallyDrop;

use mio::Registry;

use super::conf::Conf;
use super::control::Lag;
use super::dns::{Far, Places, Resolver};
use super::keep::Kept;
use super::log::{self, Cause, Gate};
use super::overlay::News;
use super::ready::Ready;
use super::route_set::RuleSet;
use super::settings::Prefix;
use super::state::{Home, warn};
use super::underlay::{Ports, Watchdog};
use super::wires::Wires;
use crate::base::{Address, Limits, Mono, NetworkId, Now};
use crate::crypto::rng::Rng;
use crate::node::{Event, LinkChange, MoonView, Node};
use crate::os::netlink::{self, DefaultRoute};
use crate::os::udp::RecvBatch;
use crate::wire::frames::{ETHERNET_LEN, HEADROOM, MTU_MAX};

/// Node, files, sockets and devices.
pub(super) struct Daemon {
    pub(super) node: Node,
    pub(super) home: Home,
    pub(super) wires: Wires,
    pub(super) gate: Gate,
    pub(super) now: Now,
    pub(super) started: Mono,
    pub(super) rng: Rng,
    pub(super) conf: Conf,
    pub(super) ports: Ports,
    pub(super) watchdog: Watchdog,
    pub(super) online: bool,
    pub(super) collision: bool,
    pub(super) stopping: bool,
    /// What could not be made in it may be possible now.
    pub(super) home_is_back: bool,
    /// The first sockets are open.
    pub(super) is_started: bool,
    pub(super) lag: Lag,
    /// What the files of the networks hold.
    pub(super) kept: Vec<Kept>,
    pub(super) ready: Ready,
    pub(super) registry: Registry,
    pub(super) routes: netlink::Control,
    pub(super) rules: RuleSet,
    pub(super) devicemap: Vec<(NetworkId, String)>,
    /// Addresses of interfaces that are not ours, as last read.
    pub(super) connected: Vec<Prefix>,
    /// Networks joined so far.
    pub(super) joins: u32,
    /// Names that networks push.
    pub(super) resolver: Resolver<Far>,
    /// What came and went since the last turn, for those who listen.
    pub(super) news: Vec<(NetworkId, News)>,
    pub(super) default_routes: Vec<DefaultRoute>,
    /// There was one since the start.
    pub(super) had_default_route: bool,
    /// When to look at what the system has, after its news settled.
    pub(super) look: Option<Mono>,
    pub(super) arena: RecvBatch,
    pub(super) receive_slots: usize,
    pub(super) slot: Box<[u8]>,
}

/// What a daemon is made of.
pub(super) struct Parts {
    pub(super) node: Node,
    pub(super) home: Home,
    /// Who tells resolvers of names.
    pub(super) names: Far,
    /// Of the command line.
    pub(super) port: u16,
    pub(super) rng: Rng,
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) routes: netlink::Control,
    pub(super) now: Now,
}

impl Daemon {
    /// It lives as long as the process: what does not end with that, the loop takes back.
    pub(super) fn new(parts: Parts) -> &'static mut ManuallyDrop<Self> {
        let Parts {
            node,
            home,
            names,
            port,
            rng,
            limits,
            registry,
            routes,
            now,
        } = parts;
        let resolver = Resolver::new(Box::new(|| Places::of_system().hook()), names);
        let daemon = Box::leak(Box::new(ManuallyDrop::new(Self {
            node,
            home,
            wires: Wires::new(limits.sockets, limits.networks),
            gate: Gate::default(),
            now,
            started: now.mono,
            rng,
            conf: Conf::new(port),
            ports: Ports::default(),
            watchdog: Watchdog::default(),
            online: false,
            collision: false,
            stopping: false,
            home_is_back: false,
            is_started: false,
            lag: Lag::default(),
            kept: Vec::new(),
            ready: Ready::with_capacity(limits.sockets.saturating_add(limits.networks)),
            registry,
            routes,
            rules: RuleSet::default(),
            devicemap: Vec::new(),
            connected: Vec::new(),
            joins: 0,
            resolver,
            news: Vec::new(),
            default_routes: Vec::new(),
            had_default_route: false,
            look: None,
            arena: RecvBatch::new(limits.receive_slots),
            receive_slots: limits.receive_slots,
            slot: vec![0; HEADROOM + ETHERNET_LEN + MTU_MAX].into_boxed_slice(),
        })));
        daemon.read_devicemap();
        daemon.read_conf();
        daemon
    }

    // ---- time and news -------------------------------------------------------------------

    /// The earliest of all deadlines.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let own = [
            self.node.poll_timeout(),
            self.wires.links.next_deadline(),
            self.look,
            self.watchdog_deadline(),
            self.conf.next_deadline(),
            self.keep_deadline(),
            self.home.next_deadline(),
        ];
        let mut first = own.iter().copied().fold(None, Mono::first);
        for port in self.wires.ports.iter().flatten() {
            first = Mono::first(first, port.next_deadline());
        }
        first
    }

    /// Does what is due.
    pub(super) fn work(&mut self) {
        let mono = self.now.mono;
        let due = |at: Option<Mono>| at.is_some_and(|at| at <= mono);
        if due(self.node.poll_timeout()) {
            self.node.handle_timeout(self.now, &mut self.wires);
        }
        if due(self.look) {
            self.look_at_system();
        }
        if due(self.watchdog_deadline()) {
            self.bark();
        }
        if due(self.conf.next_deadline()) {
            self.read_conf();
        }
        if due(self.wires.links.next_deadline()) {
            self.retry_sockets();
        }
        if due(self.keep_deadline()) {
            self.store_due(false);
        }
        for slot in 0..self.wires.slots() {
            let Some(port) = self.wires.port_mut(slot) else {
                continue;
            };
            if port.is_due(mono) {
                let id = port.id;
                self.apply_network(id);
            } else if due(port.next_deadline()) {
                self.read_groups(slot);
            }
        }
    }

    /// Drains the node's news (the law of style 2.4); `tell` hears each.
    pub(super) fn drain_events(&mut self, mut tell: impl FnMut(&Self, Event)) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Online => {
                    self.online = true;
                    self.clear_watchdog();
                    log::info!("online");
                    self.put_networks_right(None);
                }
                Event::Offline => {
                    self.online = false;
                    self.set_watchdog();
                    log::warn!("offline: {}", self.why_offline());
                    self.put_networks_right(None);
                }
                Event::Collision => {
                    self.collision = true;
                    if self.gate.pass(self.now.mono, Cause::Collision, 0).is_some() {
                        log::error!(
                            "an upstream says that another identity has the address {}: if this \
                             lasts, make a new one with zerotier-idtool generate and restart",
                            self.node.address()
                        );
                    }
                }
                Event::Network(id) | Event::Refreshed(id) => {
                    self.apply_network(id);
                    self.consider_keeping(id);
                }
                Event::Planet => self.home.store_planet(self.node.planet().bytes()),
                Event::Moon(id) => {
                    if let Some(moon) = self.node.moons().find(|moon| moon.id == id) {
                        store_moon(&mut self.home, &moon);
                    }
                }
                Event::Lost => self.read_everything_again(),
                Event::PeerUp(_)
                | Event::PeerDown(_)
                | Event::PathUp { .. }
                | Event::PathDown { .. }
                | Event::PathPreferred { .. }
                | Event::Surface => {}
            }
            tell(self, event);
        }
        self.report_home();
    }

    fn read_everything_again(&mut self) {
        self.online = self.node.is_online();
        for slot in 0..self.wires.slots() {
            if let Some(id) = self.wires.id_at(slot) {
                self.apply_network(id);
            }
        }
        self.home.store_planet(self.node.planet().bytes());
        for moon in self.node.moons() {
            store_moon(&mut self.home, &moon);
        }
    }

    /// Orbits a moon: by its stored definition, else by asking `seed` for it.
    pub(super) fn start_moon(&mut self, id: u64, seed: Option<Address>) -> Result<(), Refused> {
        let stored = self.home.stored_moon(id, &mut warn);
        match seed {
            Some(seed) if stored.is_none() => self.home.store_seed(id, seed),
            // Its definition was written when nobody was there to see it.
            Some(_) => self.home.forget_seed(id),
            // What is wrong with its file was said.
            None if stored.is_none() => return Ok(()),
            _ => {}
        }
        self.node
            .orbit(self.now, id, seed, stored.as_deref(), &mut self.wires)
            .map_err(|_| Refused::Full)
    }

    /// Stops orbiting a moon and forgets it. `false`: did not.
    pub(super) fn stop_moon(&mut self, id: u64) -> bool {
        let known = self.node.deorbit(self.now, id, &mut self.wires);
        if known {
            self.home.forget_moon(id);
        }
        known
    }

    /// Says once why the home cannot be written, and that it can again.
    pub(super) fn report_home(&mut self) {
        self.home.work(self.now.mono);
        while let Some(text) = self.home.take_trouble() {
            log::warn!("cannot store state, running from memory: {text}");
        }
        self.home_is_back |= self.home.take_chance();
        match self.home.take_relief() {
            None => {}
            Some(0) => log::info!("all state is stored again"),
            Some(n) => log::info!("state is stored again; in memory there was no room for {n}"),
        }
    }

    /// SIGHUP and `reload`: everything that the owner may have written is read again.
    pub(super) fn reload(&mut self) {
        self.home.write_again();
        self.home_is_back = true;
        self.read_conf();
        self.system_changed();
        self.read_devicemap();
        for slot in 0..self.wires.slots() {
            let Some(id) = self.wires.id_at(slot) else {
                continue;
            };
            let settings = self.home.settings(id, &mut warn);
            self.change_settings(id, settings);
        }
        log::info!("settings read again");
    }

    fn read_devicemap(&mut self) {
        self.devicemap = self.home.devicemap(&mut warn);
    }

    /// Sends what the node left in the batch, and tells it of what was too long.
    pub(super) fn flush(&mut self) {
        self.wires.flush();
        while let Some(to) = self.wires.take_too_big() {
            self.node
                .handle_link(self.now, LinkChange::TooBig { to }, &mut self.wires);
        }
        self.wires.flush();
    }
}

fn store_moon(home: &mut Home, moon: &MoonView<'_>) {
    if let Some(world) = moon.world {
        // The reason of a failure is reported with the home's other trouble.
        let _ = home.store_moon(moon.id, world.bytes());
    }
}

/// Why a network was not joined, or a moon not orbited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// As many as this machine may have.
    Full,
}
