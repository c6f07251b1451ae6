//! The daemon as the control socket sees it (service 6.6).

use core::fmt;
use core::mem::ManuallyDrop;
use core::net::{IpAddr, SocketAddr};

use super::control::{
    Code, Frames, Host, InfoRow, Installed, Lag, MoonRow, Net, NetworkRow, PathRow, PeerRow,
    Refusal, RouteRow,
};
use super::daemon::{Daemon, Refused};
use super::json::Value;
use super::log;
use super::overlay::managed;
use super::settings::{self, NetworkSettings, Prefix};
use super::state::ignore;
use crate::base::{Address, Mac, NetworkId};
use crate::node::network::{IpNet, NetworkView};
use crate::node::{DropReason, PathView, PeerView, Role};
use crate::os::tap;
use crate::wire::verb::{ErrorCode, Verb};

/// What 1.14.1 says when the tap could not be made.
const PORT_ERROR: i32 = -999;

impl Daemon {
    /// Status word of a network: without a device nothing else matters.
    pub(super) fn status_of(&self, view: &NetworkView<'_>) -> &'static str {
        match self.wires.port(view.id) {
            Some(port) if port.trouble().is_some() => "PORT_ERROR",
            _ => view.status.name(),
        }
    }

    /// Interface of a network, `-` without one.
    pub(super) fn device_of(&self, id: NetworkId) -> &str {
        match self.wires.port(id).map_or("", |port| port.device()) {
            "" => "-",
            name => name,
        }
    }

    fn path_row(&self, path: &PathView) -> PathRow<'_> {
        let link = self.wires.links.get(path.local);
        PathRow {
            local: link.map(|link| link.wanted.local),
            socket: path.local.0,
            remote: path.remote,
            interface: link.map(|link| link.wanted.device.as_str()),
            sent_ms: path.sent_ms,
            received_ms: Some(path.received_ms),
            latency_ms: path.latency_ms,
            quality: path.quality,
            preferred: path.preferred,
            active: path.active,
            expired: path.expired,
        }
    }

    fn peer_row(&self, peer: &PeerView<'_>) -> PeerRow<'_> {
        PeerRow {
            address: peer.identity.address,
            version: peer.version.map(|v| (v.major, v.minor, v.revision)),
            role: match peer.role {
                Role::Planet => "PLANET",
                Role::Moon => "MOON",
                Role::Leaf => "LEAF",
            },
            latency_ms: peer.latency_ms,
            path: peer.path.as_ref().map(|path| self.path_row(path)),
            packets: peer.traffic,
        }
    }

    fn network_row<'a>(&'a self, view: &NetworkView<'a>) -> NetworkRow<'a> {
        let port = self.wires.port(view.id);
        let settings = port.map(|port| &port.settings);
        NetworkRow {
            id: view.id,
            name: view.name,
            mac: view.mac,
            status: self.status_of(view),
            kind: if view.public { "PUBLIC" } else { "PRIVATE" },
            device: port.map_or("", |port| port.device()),
            mtu: u32::from(port.map_or(view.mtu, |port| port.mtu())),
            bridge: view.bridge,
            broadcast: view.broadcast,
            port_error: match port {
                Some(port) if port.trouble().is_some() => PORT_ERROR,
                _ => 0,
            },
            revision: view.revision,
            allow_managed: settings.is_some_and(|s| s.allow_managed.is_on()),
            allow_global: settings.is_some_and(|s| s.allow_global.is_on()),
            allow_default: settings.is_some_and(|s| s.allow_default.is_on()),
            allow_dns: settings.is_some_and(|s| s.allow_dns),
            dns_domain: view.dns.map_or("", |dns| &dns.domain),
            dns_state: self.resolver.state(view.id).name(),
            frames: Frames {
                received: view.counters.frames_out,
                refused_in: view.counters.dropped_out,
                sent: (view.counters.frames_in).saturating_sub(view.counters.dropped_in),
                refused_out: view.counters.dropped_in,
            },
        }
    }

    fn refuse_while_stopping(&self) -> Result<(), Refusal> {
        if self.stopping {
            Err(Refusal::new(Code::Busy, format_args!("stopping")))
        } else {
            Ok(())
        }
    }

    /// A name for the device of a network that another interface has already.
    fn refuse_taken_name(&self, id: NetworkId, key: &str, value: &str) -> Result<(), Refusal> {
        let own = self.wires.port(id).map_or("", |port| port.device());
        if key != "ifname" || value.is_empty() || value == own || tap::index_of(value).is_none() {
            return Ok(());
        }
        let text = format_args!("there is an interface {value} already");
        Err(Refusal::new(Code::Conflict, text))
    }

    /// Changes settings and applies them.
    fn apply_settings(&mut self, id: NetworkId, settings: NetworkSettings) {
        // A home that cannot be written is reported by the daemon; the setting holds until then.
        let _ = self.home.store_settings(id, &settings);
        self.change_settings(id, settings);
    }
}

fn set(settings: &mut NetworkSettings, key: &str, value: &str) -> Result<(), Refusal> {
    settings.set(key, value).map_err(|why| match why {
        settings::Refused::UnknownKey => {
            Refusal::new(Code::BadArguments, format_args!("unknown property {key}"))
        }
        settings::Refused::BadValue => {
            let form = NetworkSettings::form(key);
            let text = format_args!("bad value for {key}, must be {form}");
            Refusal::new(Code::BadArguments, text)
        }
    })
}

fn net(net: &IpNet) -> Net {
    Net {
        ip: net.ip,
        bits: net.bits,
    }
}

fn not_joined() -> Refusal {
    Refusal::new(Code::NotFound, format_args!("not joined"))
}

/// Of a daemon that is never dropped, or its end would be built for whoever has it as a [`Host`].
impl Host for ManuallyDrop<Daemon> {
    fn info(&self) -> InfoRow<'_> {
        let planet = self.node.planet().view();
        let stats = self.node.stats();
        let online = self.node.is_online();
        InfoRow {
            identity: self.node.identity(),
            online,
            offline_reason: (!online).then(|| self.why_offline()),
            collision: self.collision,
            uptime_ms: self.now.mono.since(self.started),
            clock: self.now.wall,
            clock_ok: self.now.wall_ok,
            port: self.port(),
            home: self.home.dir().to_str().unwrap_or("-"),
            planet_id: planet.id,
            planet_timestamp: planet.timestamp,
            rss_bytes: crate::os::file::resident_bytes(),
            received: (stats.rx_datagrams, stats.rx_bytes),
            sent: (stats.tx_datagrams, stats.tx_bytes),
        }
    }

    fn bound(&self, n: usize) -> Option<SocketAddr> {
        self.wires
            .links
            .iter()
            .nth(n)
            .map(|(_, link)| link.wanted.local)
    }

    fn surface(&self, n: usize) -> Option<SocketAddr> {
        // The library's way has the question twice.
        let mut all = self.node.surfaces().zip(0..);
        all.find(|(_, at)| *at == n).map(|(surface, _)| surface)
    }

    fn drops(&self, n: usize) -> Option<(&'static str, u64)> {
        let reason = *DropReason::ALL.get(n)?;
        Some((reason.name(), self.node.stats().drops(reason)))
    }

    fn figure(&self, n: usize) -> Option<(&'static str, u64)> {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (stats, losses) = (self.node.stats(), &self.wires.losses);
        let figures = [
            ("peers", count(self.node.peer_count())),
            ("sockets", count(self.wires.links.iter().count())),
            ("sockets-failed", count(self.wires.links.failed().len())),
            ("frames-in", stats.frames_in),
            ("frames-out", stats.frames_out),
            ("relayed", stats.relayed_datagrams),
            ("send-full", losses.send_full),
            ("send-failed", losses.send_failed),
            ("tap-full", losses.tap_full),
            ("tap-failed", losses.tap_failed),
            ("loop-turns", self.lag.turns),
            ("loop-lag-max", self.lag.max_ms),
            ("looks", self.watchdog.looks),
            ("sockets-opened", self.watchdog.opened),
            ("sockets-anew", self.watchdog.anew),
            ("hello-rounds", stats.hurries),
            ("moves", stats.moves),
        ];
        figures.get(n).copied()
    }

    fn note(&self, n: usize) -> Option<(&'static str, Option<String>)> {
        let [second, third] = self.ports.others();
        let port = |port: Option<u16>| port.map(|port| port.to_string());
        let not_built = &self.conf.in_force().settings.not_built;
        Some(match n {
            0 => ("second-port", port(second)),
            1 => ("third-port", port(third)),
            2 => {
                let trouble = self.conf.trouble();
                ("conf", trouble.or_else(|| Some("ok".to_owned())))
            }
            3 => {
                let any = !not_built.is_empty();
                ("conf-not-built", any.then(|| not_built.join(",")))
            }
            4 => ("home-trouble", self.home.trouble()),
            _ => return None,
        })
    }

    fn conf_number(&self, n: usize) -> Option<(String, String)> {
        Daemon::conf_number(self, n)
    }

    fn conf_value(&self, key: &str) -> Option<String> {
        Daemon::conf_value(self, key)
    }

    fn local_conf(&self) -> Option<&Value> {
        Some(self.conf.tree())
    }

    #[cfg(feature = "http-compat")]
    fn merge_settings(&mut self, changes: &[(String, Value)]) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        Daemon::merge_settings(self, changes)
    }

    fn change_conf(&mut self, key: &str, json: &str) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        Daemon::change_conf(self, key, json)
    }

    fn packets(&self, verb: Verb) -> (u64, u64) {
        self.node.stats().packets(verb)
    }

    fn errors(&self, code: ErrorCode) -> (u64, u64) {
        self.node.stats().errors(code)
    }

    fn table(&self, n: usize) -> Option<(&'static str, u64, u64)> {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (links, ports) = (&self.wires.links, &self.wires.ports);
        let tables = [
            ("peers", self.node.peer_count(), self.node.peers_max()),
            ("sockets", links.iter().count(), links.capacity()),
            ("networks", self.wires.ports().count(), ports.len()),
        ];
        let (name, used, capacity) = *tables.get(n)?;
        Some((name, count(used), count(capacity)))
    }

    fn lag(&self) -> Lag {
        self.lag
    }

    fn next_peer(&self, cursor: usize) -> Option<(usize, PeerRow<'_>)> {
        let (next, view) = self.node.next_peer(cursor, self.now.mono)?;
        Some((next, self.peer_row(&view)))
    }

    fn peer(&self, address: Address) -> Option<PeerRow<'_>> {
        let view = self.node.peer(address, self.now.mono)?;
        Some(self.peer_row(&view))
    }

    fn path(&self, address: Address, n: usize) -> Option<PathRow<'_>> {
        let view = self.node.path(address, n, self.now.mono)?;
        Some(self.path_row(&view))
    }

    fn next_network(&self, cursor: usize) -> Option<(usize, NetworkRow<'_>)> {
        let mut ports = self.wires.ports.iter().enumerate().skip(cursor);
        let (slot, port) = ports.find_map(|(slot, port)| Some((slot, port.as_ref()?)))?;
        let view = self.node.network(port.id)?;
        Some((slot.saturating_add(1), self.network_row(&view)))
    }

    fn network(&self, id: NetworkId) -> Option<NetworkRow<'_>> {
        let view = self.node.network(id)?;
        Some(self.network_row(&view))
    }

    fn address(&self, id: NetworkId, n: usize) -> Option<Net> {
        let view = self.node.network(id)?;
        view.addresses.get(n).map(net)
    }

    fn address_installed(&self, id: NetworkId, n: usize) -> Installed<'_> {
        let view = self.node.network(id);
        let address = view.as_ref().and_then(|view| view.addresses.get(n));
        let (Some(port), Some(address)) = (self.wires.port(id), address) else {
            return Installed::No("");
        };
        let prefix = Prefix {
            ip: address.ip,
            bits: address.bits,
        };
        match port.judge_address(&prefix) {
            Ok(()) => Installed::Yes,
            Err(state) => Installed::No(state.reason()),
        }
    }

    fn route(&self, id: NetworkId, n: usize) -> Option<RouteRow<'_>> {
        let view = self.node.network(id)?;
        let route = view.routes.get(n)?;
        let state = self.wires.port(id)?.route_state(n, &managed(route));
        Some(RouteRow {
            target: net(&route.target),
            via: route.via,
            flags: route.flags,
            metric: route.metric,
            installed: if state.is_installed() {
                Installed::Yes
            } else {
                Installed::No(state.reason())
            },
        })
    }

    fn dns_server(&self, id: NetworkId, n: usize) -> Option<IpAddr> {
        let view = self.node.network(id)?;
        view.dns?.servers.get(n).copied()
    }

    fn group(&self, id: NetworkId, n: usize) -> Option<(Mac, u32)> {
        // Those of this machine, as 1.14.1 shows them: not what the node adds for the network's
        // broadcast and for hosts behind a bridge.
        let port = self.wires.port(id)?;
        port.groups().get(n).map(|group| (group.mac, group.adi))
    }

    fn setting_keys(&self) -> &'static [&'static str] {
        &NetworkSettings::KEYS
    }

    fn setting(&self, id: NetworkId, key: &str) -> Option<String> {
        self.wires.port(id)?.settings.get(key)
    }

    fn join(&mut self, id: NetworkId, changes: &[(&str, &str)]) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        let held = self.wires.port(id).map(|port| port.settings.clone());
        let mut wanted = held
            .clone()
            .unwrap_or_else(|| self.home.settings(id, &mut ignore));
        for (key, value) in changes {
            set(&mut wanted, key, value)?;
            self.refuse_taken_name(id, key, value)?;
        }
        if held.is_some() {
            if !changes.is_empty() {
                self.apply_settings(id, wanted);
            }
            return Ok(());
        }
        if self.wires.ports.iter().all(Option::is_some) {
            return Err(Refusal::new(
                Code::Failed,
                format_args!("too many networks"),
            ));
        }
        // Stored before the tap is opened: a crash on the way does not forget the wish.
        if !changes.is_empty() {
            let _ = self.home.store_settings(id, &wanted);
        }
        let _ = self.home.store_join(id);
        self.start_network(id, wanted).map_err(|Refused::Full| {
            self.home.forget_network(id);
            Refusal::new(Code::Failed, format_args!("too many networks"))
        })?;
        match self.wires.port(id).and_then(|port| port.trouble()) {
            Some(trouble) => Err(Refusal::os(
                trouble.error.errno,
                format_args!("{}, trying again", trouble.error.op),
            )),
            None => Ok(()),
        }
    }

    fn leave(&mut self, id: NetworkId) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        if !self.stop_network(id) {
            return Err(not_joined());
        }
        self.home.forget_network(id);
        Ok(())
    }

    fn set(&mut self, id: NetworkId, key: &str, value: &str) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        let mut settings = self
            .wires
            .port(id)
            .map(|port| port.settings.clone())
            .ok_or_else(not_joined)?;
        set(&mut settings, key, value)?;
        self.refuse_taken_name(id, key, value)?;
        self.apply_settings(id, settings);
        Ok(())
    }

    fn moon(&self, n: usize) -> Option<MoonRow<'_>> {
        let moon = self.node.moons().nth(n)?;
        Some(MoonRow {
            id: moon.id,
            world: moon.world.map(|world| world.view()),
        })
    }

    fn has_moons(&self) -> bool {
        true
    }

    fn orbit(&mut self, id: u64, seed: Option<Address>) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        let held = self.node.moons().any(|moon| moon.id == id);
        if seed.is_none() && !held && self.home.stored_moon(id, &mut ignore).is_none() {
            return Err(Refusal::new(
                Code::BadArguments,
                format_args!("seed missing: no definition of this moon is stored"),
            ));
        }
        self.start_moon(id, seed)
            .map_err(|Refused::Full| Refusal::new(Code::Failed, format_args!("too many moons")))
    }

    fn deorbit(&mut self, id: u64) -> Result<bool, Refusal> {
        self.refuse_while_stopping()?;
        Ok(self.stop_moon(id))
    }

    fn set_log_level(&mut self, level: &str) -> bool {
        log::set_level(level)
    }

    fn reload(&mut self) -> Result<(), Refusal> {
        self.refuse_while_stopping()?;
        Daemon::reload(self);
        Ok(())
    }

    fn dump_line(&self, n: usize, out: &mut dyn fmt::Write) -> bool {
        self.write_dump_line(n, out)
    }

    fn stop(&mut self) {
        self.stopping = true;
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}
