//! The daemon's state: the node and everything it touches, passed by `&mut`.
//!
//! What is done when a source has something, a deadline is over or the system changed lies here;
//! when it is called is the business of `event_loop`. Commands come in through `host`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use super::Fatal;
use super::control::Lag;
use super::dns::{Places, Resolver};
use super::keep::Kept;
use super::link::{Candidate, Failed, Wanted, wanted};
use super::log::{Cause, Gate};
use super::overlay::{News, Present};
use super::ready::{Ready, Source};
use super::route_set::RuleSet;
use super::settings::Prefix;
use super::state::Home;
use super::wires::Wires;
use crate::base::{Address, Limits, Mono, NetworkId, Now};
use crate::crypto::rng::Rng;
use crate::node::{Event, LinkChange, Node, SocketId};
use crate::os;
use crate::os::netlink::{self, DefaultRoute};
use crate::os::udp::{RecvBatch, Socket};
use crate::wire::frames::{ETHERNET_LEN, HEADROOM, MTU_MAX};

/// From the first news of the system to looking at it: changes come in bursts.
const SETTLE_MS: u64 = 5;
/// Random ports lie here (service 1).
const RANDOM_PORT_FIRST: u16 = 20_000;
const RANDOM_PORT_COUNT: u32 = 45_500;
const RANDOM_PORT_TRIES: u32 = 16;

/// Node, files, sockets and devices.
pub(super) struct Daemon {
    pub(super) node: Node,
    pub(super) home: Home,
    pub(super) wires: Wires,
    pub(super) gate: Gate,
    pub(super) now: Now,
    pub(super) started: Mono,
    pub(super) port: u16,
    pub(super) online: bool,
    pub(super) collision: bool,
    pub(super) stopping: bool,
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
    pub(super) resolver: Resolver,
    /// What came and went since the last turn, for those who listen.
    pub(super) news: Vec<(NetworkId, News)>,
    pub(super) default_routes: Vec<DefaultRoute>,
    /// When to look at what the system has, after its news settled.
    look: Option<Mono>,
    arena: RecvBatch,
    receive_slots: usize,
    pub(super) slot: Box<[u8]>,
}

/// What a daemon is made of.
pub(super) struct Parts {
    pub(super) node: Node,
    pub(super) home: Home,
    pub(super) port: u16,
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) routes: netlink::Control,
    pub(super) now: Now,
}

impl Daemon {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            node,
            home,
            port,
            limits,
            registry,
            routes,
            now,
        } = parts;
        let resolver = Resolver::new(Box::new(Places::of_system), home.dir());
        let mut daemon = Self {
            node,
            home,
            wires: Wires::new(limits.sockets, limits.networks),
            gate: Gate::default(),
            now,
            started: now.mono,
            port,
            online: false,
            collision: false,
            stopping: false,
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
            look: None,
            arena: RecvBatch::new(limits.receive_slots),
            receive_slots: limits.receive_slots,
            slot: vec![0; HEADROOM + ETHERNET_LEN + MTU_MAX].into_boxed_slice(),
        };
        daemon.read_devicemap();
        daemon
    }

    // ---- underlay ------------------------------------------------------------------------

    /// The first sockets. Fails only if every address has somebody else on this port: then
    /// another instance runs, and waiting helps nobody.
    pub(super) fn open_sockets(&mut self, rng: &mut Rng) -> Result<(), Fatal> {
        let random = self.port == 0;
        for _ in 0..RANDOM_PORT_TRIES {
            if random {
                let offset = u16::try_from(rng.below(RANDOM_PORT_COUNT)).unwrap_or(0);
                self.port = RANDOM_PORT_FIRST.saturating_add(offset);
            }
            self.look_at_system();
            let busy = |f: &Failed| f.error.errno == libc::EADDRINUSE;
            let failed = self.wires.links.failed();
            let unusable =
                self.wires.links.is_empty() && !failed.is_empty() && failed.iter().all(busy);
            if !unusable {
                return Ok(());
            }
            if !random {
                break;
            }
        }
        Err(Fatal::new(format!(
            "cannot bind to UDP port {}: it is in use on every local address",
            self.port
        )))
    }

    /// The system said that something changed.
    pub(super) fn system_changed(&mut self) {
        self.look.get_or_insert(self.now.mono.after(SETTLE_MS));
    }

    /// Interfaces, addresses and default routes as they are now: sockets follow, taps are put
    /// right, the node hears of a move.
    fn look_at_system(&mut self) {
        self.look = None;
        let present = match self.routes.addresses() {
            Ok(all) => {
                let (candidates, present) = split(all);
                self.follow(&candidates);
                Some(present)
            }
            Err(error) => {
                self.gate.warn(
                    self.now.mono,
                    Cause::Interfaces,
                    0,
                    format_args!("cannot list the interfaces: {error}; using any address"),
                );
                self.apply_sockets(&wildcards(self.port));
                None
            }
        };
        self.put_networks_right(present);
        self.follow_default_routes();
    }

    fn follow(&mut self, candidates: &[Candidate]) {
        let ports = &self.wires.ports;
        let is_own = |name: &str| ports.iter().flatten().any(|port| port.device() == name);
        let wanted = wanted(candidates, self.port, is_own);
        self.wires.links.hurry(self.now.mono);
        self.apply_sockets(&wanted);
    }

    fn retry_sockets(&mut self) {
        let wanted: Vec<Wanted> = {
            let links = &self.wires.links;
            let open = links.iter().map(|(_, link)| link.wanted.clone());
            open.chain(links.failed().iter().map(|f| f.wanted.clone()))
                .collect()
        };
        self.apply_sockets(&wanted);
    }

    fn apply_sockets(&mut self, wanted: &[Wanted]) {
        // What waits in the batch belongs to sockets that may be closed now.
        self.wires.flush();
        let mut changes = Vec::new();
        let (registry, ready) = (&self.registry, &mut self.ready);
        self.wires.links.apply(
            self.now.mono,
            wanted,
            |id, want| {
                let socket = Socket::bind(want.local, &want.device)?;
                watch(registry, &socket, Source::Socket(id))?;
                Ok(socket)
            },
            |id, _| ready.remove(Source::Socket(id)),
            |change| changes.push(change),
        );
        for failed in self.wires.links.failed() {
            self.gate.warn(
                self.now.mono,
                Cause::Bind,
                number_of(&failed.wanted.local.ip()),
                format_args!(
                    "cannot bind {}: {}; trying again",
                    failed.wanted.local, failed.error
                ),
            );
        }
        for change in changes {
            log::debug!("{change:?}");
            self.node.handle_link(self.now, change, &mut self.wires);
        }
    }

    fn follow_default_routes(&mut self) {
        let Ok(mut routes) = self.routes.default_routes() else {
            return;
        };
        // With a default route into a network the answer is our own device, which says nothing of
        // the underlay: there it is asked what sockets that are bound to their devices see.
        let own = self.own_indices();
        for route in routes.iter_mut().filter(|r| own.contains(&r.index)) {
            let known = self.default_routes.iter().find(|r| r.v6 == route.v6);
            let known = known.copied();
            let mut others = self.default_routes_of_links(route.v6);
            let held = known.filter(|known| others.contains(known));
            if let Some(other) = held.or_else(|| others.pop()) {
                *route = other;
            }
        }
        routes.retain(|r| !own.contains(&r.index));
        if routes == self.default_routes {
            return;
        }
        let first = self.default_routes.is_empty();
        self.default_routes = routes;
        if !first {
            log::debug!("default route moved");
            self.node
                .handle_link(self.now, LinkChange::Moved, &mut self.wires);
        }
    }

    /// The default routes through the devices of the underlay, the first device last.
    fn default_routes_of_links(&mut self, v6: bool) -> Vec<DefaultRoute> {
        let links = self.wires.links.iter();
        let of_family = links.filter(|(_, link)| link.wanted.local.is_ipv6() == v6);
        let devices = of_family.map(|(_, link)| link.wanted.device.as_str());
        let mut indices: Vec<u32> = devices.filter_map(os::tap::index_of).collect();
        indices.sort_unstable_by(|a, b| b.cmp(a));
        indices.dedup();
        let routes = &mut self.routes;
        let asked = indices
            .into_iter()
            .filter_map(|index| routes.default_route_through(index, v6).ok().flatten());
        asked.collect()
    }

    /// Reads a socket; `true` if it would block now.
    pub(super) fn drain_socket(&mut self, id: SocketId) -> bool {
        let Some(link) = self.wires.links.get(id) else {
            return true;
        };
        let received = match link.socket.receive(&mut self.arena) {
            Ok(received) => received,
            Err(error) => {
                self.gate.warn(
                    self.now.mono,
                    Cause::Receive,
                    u64::from(error.errno.unsigned_abs()),
                    format_args!("receiving on {}: {error}", link.wanted.local),
                );
                return true;
            }
        };
        for (from, datagram) in self.arena.datagrams() {
            self.node
                .handle_datagram(self.now, id, from, datagram, &mut self.wires);
        }
        self.wires.flush();
        received < self.receive_slots
    }

    // ---- time and news -------------------------------------------------------------------

    /// The earliest of all deadlines.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let ports = self
            .wires
            .ports()
            .filter_map(|(_, port)| port.next_deadline());
        [
            self.node.poll_timeout(),
            self.wires.links.next_deadline(),
            self.look,
            self.resolver.next_deadline(),
            self.keep_deadline(),
        ]
        .into_iter()
        .flatten()
        .chain(ports)
        .min()
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
        if due(self.wires.links.next_deadline()) {
            self.retry_sockets();
        }
        if due(self.keep_deadline()) {
            self.store_due(false);
        }
        if due(self.resolver.next_deadline()) {
            self.resolver.work(mono);
            self.tell_of_names();
        }
        for slot in (0u16..).take(self.wires.ports.len()) {
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
                    log::info!("online");
                    self.put_networks_right(None);
                }
                Event::Offline => {
                    self.online = false;
                    log::warn!("offline: no upstream answers");
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
                Event::Moon(id) => self.store_moon(id),
                Event::Lost => self.read_everything_again(),
                Event::PeerUp(_)
                | Event::PeerDown(_)
                | Event::PathUp { .. }
                | Event::PathDown { .. }
                | Event::PathPreferred { .. }
                | Event::Surface => log::debug!("{event:?}"),
            }
            tell(self, event);
        }
        self.report_home();
    }

    fn read_everything_again(&mut self) {
        self.online = self.node.is_online();
        let ids: Vec<NetworkId> = self.wires.ports().map(|(_, port)| port.id).collect();
        for id in ids {
            self.apply_network(id);
        }
        self.home.store_planet(self.node.planet().bytes());
        let moons: Vec<u64> = self.node.moons().map(|m| m.id).collect();
        for id in moons {
            self.store_moon(id);
        }
    }

    /// Orbits a moon: by its stored definition, else by asking `seed` for it.
    pub(super) fn start_moon(&mut self, id: u64, seed: Option<Address>) -> Result<(), Refused> {
        let stored = self.home.stored_moon(id).unwrap_or_else(|error| {
            log::warn!("moon {id:016x}: {error}");
            None
        });
        if stored.is_none()
            && let Some(seed) = seed
        {
            self.home.store_seed(id, seed);
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

    fn store_moon(&mut self, id: u64) {
        let world = self.node.moons().find(|m| m.id == id).and_then(|m| m.world);
        if let Some(world) = world {
            // The reason of a failure is reported with the home's other trouble.
            let _ = self.home.store_moon(id, world.bytes());
        }
    }

    /// Says once why the home cannot be written.
    pub(super) fn report_home(&mut self) {
        if let Some(text) = self.home.take_trouble() {
            log::warn!("cannot store state, running from memory: {text}");
        }
    }

    /// SIGHUP and `reload`: settings of networks and names of devices are read again.
    pub(super) fn reload(&mut self) {
        self.read_devicemap();
        let ids: Vec<NetworkId> = self.wires.ports().map(|(_, port)| port.id).collect();
        for id in ids {
            let settings = self.home.settings(id, |text| log::warn!("{text}"));
            self.change_settings(id, settings);
        }
        log::info!("settings read again");
    }

    fn read_devicemap(&mut self) {
        self.devicemap = self.home.devicemap(|text| log::warn!("{text}"));
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

/// Why a network was not joined, or a moon not orbited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// As many as this machine may have.
    Full,
}

fn watch(registry: &Registry, socket: &Socket, source: Source) -> Result<(), os::Error> {
    use std::os::fd::AsRawFd as _;
    registry
        .register(
            &mut SourceFd(&socket.as_raw_fd()),
            source.token(),
            Interest::READABLE,
        )
        .map_err(|error| os::Error::from_io("epoll", &error))
}

/// The system's list, as candidates for sockets and as what is on which device.
fn split(all: Vec<netlink::Address>) -> (Vec<Candidate>, Vec<Present>) {
    let present = all.iter().map(|a| Present {
        index: a.index,
        up: a.up,
        prefix: Prefix {
            ip: a.ip,
            bits: a.bits,
        },
    });
    let present = present.collect();
    let candidates = all
        .into_iter()
        .map(|a| Candidate {
            ip: a.ip,
            device: a.device,
            up: a.up,
            temporary: a.temporary,
            tentative: a.tentative,
        })
        .collect();
    (candidates, present)
}

/// One socket per family, for when nothing better is known.
fn wildcards(port: u16) -> Vec<Wanted> {
    [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ]
    .map(|ip| Wanted {
        local: SocketAddr::new(ip, port),
        device: String::new(),
    })
    .to_vec()
}

/// Tells causes of different addresses apart.
fn number_of(ip: &IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(u32::from(*ip)),
        IpAddr::V6(ip) => u64::from_be_bytes(*ip.octets().last_chunk().unwrap_or(&[0; 8])),
    }
}
