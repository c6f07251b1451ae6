//! The sockets of the daemon follow the system and the owner's word (service 7.3, wishes 10, 11).
//!
//! Nothing here polls: news of the system or of the owner bring a look at what there is. Only
//! while nobody answers at all the sockets are opened anew now and then, in case they are what is
//! wrong.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use std::os::fd::AsRawFd as _;

use super::Fatal;
use super::daemon::Daemon;
use super::link::{Choice, Failed, Wanted, wanted, wildcards};
use super::log::{self, Cause};
use super::ready::Source;
use crate::base::Mono;
use crate::base::sorted::take_out;
use crate::crypto::rng::Rng;
use crate::node::{LinkChange, SocketId};
use crate::os;
use crate::os::netlink;
use crate::os::udp::Socket;

/// From the first news of the system to looking at it: changes come in bursts.
const SETTLE_MS: u64 = 5;
/// Random ports lie here (service 1).
const RANDOM_PORT_FIRST: u16 = 20_000;
const RANDOM_PORT_COUNT: u32 = 45_500;
const RANDOM_PORT_TRIES: u32 = 16;
/// Nobody answers: when the sockets are opened anew, at first and at most so often.
const ANEW_FIRST_MS: u64 = 60_000;
const ANEW_MOST_MS: u64 = 600_000;

/// UDP ports in use.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Ports {
    /// As was asked for, 0 for random ones: a change of this is a change.
    asked: [Option<u16>; 3],
    /// The primary one first.
    bound: [Option<u16>; 3],
}

impl Ports {
    /// The primary one.
    pub(super) fn primary(&self) -> u16 {
        self.bound[0].unwrap_or(0)
    }

    /// The second and third one.
    pub(super) fn others(&self) -> [Option<u16>; 2] {
        [self.bound[1], self.bound[2]]
    }

    /// Takes what is asked for; what was asked for before stays as it is.
    fn choose(&mut self, asked: [Option<u16>; 3], mut draw: impl FnMut(&Self) -> u16) {
        for (n, port) in asked.into_iter().enumerate() {
            if self.asked[n] == port {
                continue;
            }
            self.asked[n] = port;
            self.bound[n] = match port {
                Some(0) => Some(draw(self)),
                port => port,
            };
        }
    }

    /// A second port that nobody named may be another one: some NATs fail with one in particular.
    /// The primary one stays, even if it was drawn: its owner may have told others.
    fn draw_again(&mut self, draw: impl FnOnce(&Self) -> u16) {
        if self.asked[1] == Some(0) {
            self.bound[1] = Some(draw(self));
        }
    }

    fn list(&self) -> heapless::Vec<u16, 3> {
        let mut list = heapless::Vec::new();
        for port in self.bound.iter().flatten() {
            if !list.contains(port) {
                // Three at most.
                let _ = list.push(*port);
            }
        }
        list
    }
}

/// What keeps an eye on the sockets while nobody answers.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Watchdog {
    next: Option<Mono>,
    pause_ms: u64,
    /// Datagrams received when it was set.
    received: u64,
    /// Sockets opened because something changed.
    pub(super) opened: u64,
    /// Looks at interfaces, addresses and routes.
    pub(super) looks: u64,
    /// Times that all sockets were opened anew.
    pub(super) anew: u64,
}

impl Watchdog {
    fn set(&mut self, now: Mono, received: u64) {
        self.pause_ms = ANEW_FIRST_MS;
        self.received = received;
        self.next = Some(now.after(ANEW_FIRST_MS));
    }

    /// It is time to look: whether the sockets are suspect, since nothing came by any.
    fn look(&mut self, now: Mono, received: u64, any_socket: bool) -> bool {
        let silent = received == self.received && any_socket;
        self.received = received;
        self.pause_ms = self.pause_ms.saturating_mul(2).min(ANEW_MOST_MS);
        self.next = Some(now.after(self.pause_ms));
        if silent {
            self.anew = self.anew.wrapping_add(1);
        }
        silent
    }
}

impl Daemon {
    /// The primary port.
    pub(super) fn port(&self) -> u16 {
        self.ports.primary()
    }

    /// Takes the ports that are asked for; those that were asked for before stay as they are.
    pub(super) fn choose_ports(&mut self) {
        let settings = &self.conf.in_force().settings;
        let asked = [
            Some(settings.primary_port.unwrap_or(self.conf.command_port)),
            settings.second_port(),
            settings.third_port(),
        ];
        let rng = &mut self.rng;
        self.ports
            .choose(asked, |taken| random_port(rng, &taken.bound));
    }

    /// Nothing could be bound because everything is in use on every address.
    fn all_in_use(&self) -> bool {
        let busy = |f: &Failed| f.error.errno == libc::EADDRINUSE;
        let links = &self.wires.links;
        links.is_empty() && !links.failed().is_empty() && links.failed().iter().all(busy)
    }

    /// The first sockets. Fails only if every address has somebody else on this port: then
    /// another instance runs, and waiting helps nobody.
    pub(super) fn open_sockets(&mut self) -> Result<(), Fatal> {
        self.choose_ports();
        self.look_at_system();
        self.set_watchdog();
        if !self.all_in_use() {
            return Ok(());
        }
        Err(Fatal::new(format_args!(
            "cannot bind to UDP port {}: it is in use on every local address",
            self.port()
        )))
    }

    /// The owner named other ports, addresses or interfaces. `Err`: the new port is in use
    /// everywhere, the old one stays.
    pub(super) fn change_sockets(&mut self) -> Result<(), u16> {
        let before = self.ports.clone();
        self.choose_ports();
        self.look_at_system();
        if self.ports == before || !self.all_in_use() {
            return Ok(());
        }
        let refused = self.port();
        self.ports.bound[0] = before.bound[0];
        self.look_at_system();
        Err(refused)
    }

    /// The system said that something changed.
    pub(super) fn system_changed(&mut self) {
        self.look.get_or_insert(self.now.mono.after(SETTLE_MS));
    }

    /// Interfaces, addresses and default routes as they are now: sockets follow, taps are put
    /// right, the node hears of a move.
    pub(super) fn look_at_system(&mut self) {
        self.look = None;
        self.watchdog.looks = self.watchdog.looks.wrapping_add(1);
        let present = self.routes.addresses();
        match &present {
            Ok(all) => self.follow(all),
            Err(error) => {
                self.gate.warn(
                    self.now.mono,
                    Cause::Interfaces,
                    0,
                    format_args!("cannot list the interfaces: {error}; using any address"),
                );
                let wanted = wildcards(&self.ports.list());
                self.apply_sockets(&wanted);
            }
        }
        self.put_networks_right(present.as_deref().ok());
        self.follow_default_routes();
        // Whatever it was: who does not answer may do so now.
        self.node
            .handle_link(self.now, LinkChange::Stirred, &mut self.wires);
    }

    fn follow(&mut self, present: &[netlink::Address]) {
        let ports = &self.wires.ports;
        let is_own = |name: &str| ports.iter().flatten().any(|port| port.device() == name);
        let conf = self.conf.in_force();
        let choice = Choice {
            ports: &self.ports.list(),
            bind: &conf.settings.bind,
            prefixes: &conf.settings.interface_prefix_blacklist,
            physical: &self.node.underlay().physical,
        };
        let wanted = wanted(present, &choice, &is_own);
        self.wires.links.hurry(self.now.mono);
        self.apply_sockets(&wanted);
    }

    pub(super) fn retry_sockets(&mut self) {
        let links = &self.wires.links;
        let mut wanted: Vec<Wanted> = Vec::new();
        for (_, link) in links.iter() {
            wanted.push(link.wanted.clone());
        }
        for failed in links.failed() {
            wanted.push(failed.wanted.clone());
        }
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
                Source::Socket(id).watch(registry, socket.as_raw_fd())?;
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
            if let LinkChange::SocketUp { local, .. } = change {
                log::debug!("bound {local}");
                self.watchdog.opened = self.watchdog.opened.wrapping_add(1);
            }
            self.node.handle_link(self.now, change, &mut self.wires);
        }
    }

    fn follow_default_routes(&mut self) {
        let Ok(mut routes) = self.routes.default_routes() else {
            return;
        };
        // With a default route into a network the answer is our own device, which says nothing of
        // the underlay: there it is asked what sockets that are bound to their devices see.
        for route in &mut routes {
            if self.is_own(route.index)
                && let Some(other) = self.default_route_of_links(route.v6)
            {
                *route = other;
            }
        }
        take_out(&mut routes, &mut |r| self.is_own(r.index));
        if routes == self.default_routes {
            return;
        }
        // One that goes takes nothing with it that silence would not show, and the first one
        // since the start is no news.
        let moved = self.had_default_route && !routes.is_empty();
        self.had_default_route |= !routes.is_empty();
        self.default_routes = routes;
        if moved {
            log::debug!("default route moved");
            self.node
                .handle_link(self.now, LinkChange::Moved, &mut self.wires);
        }
    }

    /// The default route through the devices of the underlay: the known one if it is still there,
    /// else that of the first device.
    fn default_route_of_links(&mut self, v6: bool) -> Option<netlink::DefaultRoute> {
        let known = self.default_routes.iter().find(|r| r.v6 == v6).copied();
        let mut first: Option<netlink::DefaultRoute> = None;
        for (_, link) in self.wires.links.iter() {
            if link.wanted.local.is_ipv6() != v6 {
                continue;
            }
            let Some(index) = os::tap::index_of(&link.wanted.device) else {
                continue;
            };
            let Ok(Some(route)) = self.routes.default_route_through(index, v6) else {
                continue;
            };
            if Some(route) == known {
                return known;
            }
            if first.is_none_or(|first| index < first.index) {
                first = Some(route);
            }
        }
        first
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

    // ---- watchdog --------------------------------------------------------------------------

    /// Nobody answers (yet): sets the time when the sockets are suspect.
    pub(super) fn set_watchdog(&mut self) {
        let received = self.node.stats().rx_datagrams;
        self.watchdog.set(self.now.mono, received);
    }

    /// Somebody answers.
    pub(super) fn clear_watchdog(&mut self) {
        self.watchdog.next = None;
    }

    /// When [`Self::bark`] wants to be called.
    pub(super) fn watchdog_deadline(&self) -> Option<Mono> {
        self.watchdog.next
    }

    /// Nobody has answered for a while: if nothing at all was received, the sockets are opened
    /// anew, random ports drawn again, and everything looked at.
    pub(super) fn bark(&mut self) {
        let received = self.node.stats().rx_datagrams;
        let any_socket = !self.wires.links.is_empty();
        if self.watchdog.look(self.now.mono, received, any_socket) {
            log::debug!("nothing received for long: the sockets are opened anew");
            self.apply_sockets(&[]);
            let rng = &mut self.rng;
            self.ports
                .draw_again(|taken| random_port(rng, &taken.bound));
        }
        self.look_at_system();
    }
}

/// One that is free, as far as that can be told.
fn random_port(rng: &mut Rng, taken: &[Option<u16>]) -> u16 {
    let mut port = RANDOM_PORT_FIRST;
    for _ in 0..RANDOM_PORT_TRIES {
        let offset = u16::try_from(rng.below(RANDOM_PORT_COUNT)).unwrap_or(0);
        port = RANDOM_PORT_FIRST.saturating_add(offset);
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        if !taken.contains(&Some(port)) && Socket::bind(any, "").is_ok() {
            break;
        }
    }
    port
}

/// Tells causes of different addresses apart.
fn number_of(ip: &IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(u32::from(*ip)),
        IpAddr::V6(ip) => u64::from_be_bytes(*ip.octets().last_chunk().unwrap_or(&[0; 8])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offline with a second port (scenario 117): it is there from the start, and another one
    /// each time that the sockets are suspect.
    #[test]
    fn a_second_port_is_drawn_again_while_nothing_at_all_comes() {
        let mut ports = Ports::default();
        let mut drawn = 20_000;
        let mut draw = |taken: &Ports| {
            drawn += 1;
            assert!(!taken.bound.contains(&Some(drawn)));
            drawn
        };
        ports.choose([Some(9993), Some(0), None], &mut draw);
        assert_eq!(ports.bound, [Some(9993), Some(20_001), None]);
        let mut watchdog = Watchdog::default();
        let start = Mono::from_ms(5_000);
        watchdog.set(start, 7);
        let mut seen = Vec::new();
        while let Some(now) = watchdog.next.filter(|at| at.since(start) < 2_400_000) {
            assert!(watchdog.look(now, 7, true));
            ports.draw_again(&mut draw);
            seen.push((now.since(start) / 1_000, ports.bound[1]));
        }
        let port = |n: u16| Some(20_001 + n);
        let times = [60, 180, 420, 900, 1_500, 2_100];
        assert_eq!(
            seen,
            times.into_iter().zip((1..).map(port)).collect::<Vec<_>>()
        );
        assert_eq!((ports.primary(), watchdog.anew), (9993, 6));
        // Somebody speaks, if not to us: the way is open.
        assert!(!watchdog.look(start, 8, true));
        assert!(!watchdog.look(start, 8, false));
        assert!(watchdog.look(start, 8, true));
    }

    #[test]
    fn ports_that_somebody_named_stay() {
        let mut ports = Ports::default();
        let mut drawn = 20_000;
        let mut draw = |_: &Ports| {
            drawn += 1;
            drawn
        };
        ports.choose([Some(0), Some(7), Some(0)], &mut draw);
        let bound = [Some(20_001), Some(7), Some(20_002)];
        assert_eq!(ports.bound, bound);
        ports.draw_again(&mut draw);
        // The same wish again is none.
        ports.choose([Some(0), Some(7), Some(0)], &mut draw);
        assert_eq!(ports.bound, bound);
        ports.choose([Some(0), Some(0), None], &mut draw);
        assert_eq!(ports.bound, [Some(20_001), Some(20_003), None]);
    }
}
