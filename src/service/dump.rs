//! The state in words: for bug reports and for the log (SIGUSR1). Never secrets.

use core::fmt;

use super::daemon::Daemon;
use super::overlay::managed;
use super::routes::State;
use crate::node::DropReason;
use crate::os::clock;

/// What the daemon may do, as the system says.
fn rights() -> Option<String> {
    #[cfg(target_os = "linux")]
    let rights = crate::os::privilege::present();
    #[cfg(not(target_os = "linux"))]
    let rights: Option<String> = None;
    rights.map(|rights| format!("rights: {rights}"))
}

impl Daemon {
    /// Why nobody answers, as far as this side can tell.
    pub(super) fn why_offline(&self) -> &'static str {
        let links = &self.wires.links;
        if !links.is_empty() {
            "no upstream answers"
        } else if links.failed().is_empty() {
            "no usable local address"
        } else {
            "no socket could be bound"
        }
    }

    /// What hinders at present, one line each.
    fn troubles(&self) -> impl Iterator<Item = String> {
        let sockets = self.wires.links.failed().iter().map(|f| {
            format!(
                "socket {} on {}: {}",
                f.wanted.local, f.wanted.device, f.error
            )
        });
        let devices = self.wires.ports().filter_map(|(_, port)| {
            let trouble = port.trouble()?;
            Some(format!(
                "network {}: device {}: {}",
                port.id, trouble.device, trouble.error
            ))
        });
        let routes = self.wires.ports().flat_map(|(_, port)| {
            let view = self.node.network(port.id);
            let routes = view.map_or(&[][..], |view| view.routes);
            routes.iter().enumerate().filter_map(move |(n, route)| {
                let (id, target) = (port.id, route.target);
                match port.route_state(n, &managed(route)) {
                    state if state.is_installed() => None,
                    State::NotAllowed(_) | State::NoDevice => None,
                    state => Some(format!("network {id}: route {target}: {}", state.reason())),
                }
            })
        });
        let home = self.home.trouble().map(|text| format!("home: {text}"));
        let conf = self.conf.trouble();
        let sending = self
            .wires
            .last_refusal
            .map(|error| format!("last refusal of a datagram: {error}"));
        sockets
            .chain(devices)
            .chain(routes)
            .chain(home)
            .chain(conf)
            .chain(sending)
    }

    /// Line number `n` of what is no list of its own. `false`: there is none.
    pub(super) fn write_dump_line(&self, n: usize, out: &mut dyn fmt::Write) -> bool {
        let routes = self.default_routes.iter().map(|r| {
            format!(
                "default route: interface {} gateway {:?}",
                r.index, r.gateway
            )
        });
        match self.troubles().chain(routes).chain(rights()).nth(n) {
            Some(line) => out.write_str(&line).is_ok(),
            None => false,
        }
    }

    /// Everything, to the log.
    pub(super) fn dump_to_log(&self) {
        let mono = clock::mono();
        let state = if self.node.is_online() {
            "ONLINE"
        } else {
            self.why_offline()
        };
        log::info!(
            "dump: {} {} up {} s, port {}, {} peers",
            self.node.address(),
            state,
            mono.since(self.started) / 1000,
            self.port(),
            self.node.peer_count()
        );
        for (id, link) in self.wires.links.iter() {
            log::info!(
                "dump: socket {} {} on {}",
                id.0,
                link.wanted.local,
                link.wanted.device
            );
        }
        for (_, port) in self.wires.ports() {
            let status = self
                .node
                .network(port.id)
                .map_or("-", |view| self.status_of(&view));
            log::info!(
                "dump: network {} {status} {}",
                port.id,
                self.device_of(port.id)
            );
        }
        let mut cursor = 0;
        while let Some((next, peer)) = self.node.next_peer(cursor, mono) {
            cursor = next;
            let address = peer.identity.address;
            match peer.path {
                Some(path) => log::info!(
                    "dump: peer {address} {} {} latency {:?} ms",
                    peer.role,
                    path.remote,
                    peer.latency_ms
                ),
                None => log::info!("dump: peer {address} {} by relay", peer.role),
            }
        }
        for reason in DropReason::ALL {
            let count = self.node.stats().drops(*reason);
            if count > 0 {
                log::info!("dump: dropped {count} {}", reason.name());
            }
        }
        for line in self.troubles().chain(rights()) {
            log::info!("dump: {line}");
        }
    }
}
