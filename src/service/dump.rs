//! The state in words: for bug reports and for the log (SIGUSR1). Never secrets.

use core::fmt;

use super::daemon::Daemon;
use super::link::Wanted;
use super::log;
use super::networks::Trouble;
use super::overlay::managed;
use super::routes::State;
use crate::node::DropReason;
use crate::os::clock;
use crate::os::netlink::DefaultRoute;

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

    /// What hinders at present, where packets leave, what the daemon may do: one line each.
    fn tell_state(&self, tell: &mut dyn FnMut(fmt::Arguments<'_>)) {
        for failed in self.wires.links.failed() {
            let Wanted { local, device, .. } = &failed.wanted;
            let error = failed.error;
            tell(format_args!("socket {local} on {device}: {error}"));
        }
        for port in self.wires.ports() {
            if let Some(Trouble { device, error }) = port.trouble() {
                let id = port.id;
                tell(format_args!("network {id}: device {device}: {error}"));
            }
        }
        for port in self.wires.ports() {
            let view = self.node.network(port.id);
            let routes = view.map_or(&[][..], |view| view.routes);
            for (n, route) in routes.iter().enumerate() {
                let (id, target) = (port.id, route.target);
                match port.route_state(n, &managed(route)) {
                    state if state.is_installed() => {}
                    State::NotAllowed(_) | State::NoDevice => {}
                    state => {
                        let reason = state.reason();
                        tell(format_args!("network {id}: route {target}: {reason}"));
                    }
                }
            }
        }
        if let Some(text) = self.home.trouble() {
            tell(format_args!("home: {text}"));
        }
        if let Some(text) = self.conf.trouble() {
            tell(format_args!("{text}"));
        }
        if let Some(error) = self.wires.last_refusal {
            tell(format_args!("last refusal of a datagram: {error}"));
        }
        for DefaultRoute { index, gateway, .. } in &self.default_routes {
            let line = format_args!("default route: interface {index}");
            match gateway {
                Some(gateway) => tell(format_args!("{line} gateway {gateway}")),
                None => tell(line),
            }
        }
        #[cfg(target_os = "linux")]
        if let Some(rights) = crate::os::privilege::present() {
            tell(format_args!("rights: {rights}"));
        }
    }

    /// Line number `n` of what is no list of its own. `false`: there is none.
    pub(super) fn write_dump_line(&self, n: usize, out: &mut dyn fmt::Write) -> bool {
        let mut before = Some(n);
        let mut written = false;
        self.tell_state(&mut |line| {
            if before == Some(0) {
                written = out.write_fmt(line).is_ok();
            }
            before = before.and_then(|n| n.checked_sub(1));
        });
        written
    }

    /// Everything, to the log.
    pub(super) fn dump_to_log(&self) {
        let mono = clock::mono();
        let state = if self.node.is_online() {
            "ONLINE"
        } else {
            self.why_offline()
        };
        let say = |line: fmt::Arguments<'_>| log::info!("dump: {line}");
        let (address, port) = (self.node.address(), self.port());
        let seconds = mono.since(self.started) / 1000;
        let peers = self.node.peer_count();
        say(format_args!(
            "{address} {state} up {seconds} s, port {port}, {peers} peers"
        ));
        for (id, link) in self.wires.links.iter() {
            let (id, Wanted { local, device, .. }) = (id.0, &link.wanted);
            say(format_args!("socket {id} {local} on {device}"));
        }
        for port in self.wires.ports() {
            let id = port.id;
            let view = self.node.network(id);
            let status = view.map_or("-", |view| self.status_of(&view));
            say(format_args!("network {id} {status} {}", self.device_of(id)));
        }
        let mut cursor = 0;
        while let Some((next, peer)) = self.node.next_peer(cursor, mono) {
            cursor = next;
            let (address, role) = (peer.identity.address, peer.role);
            let latency = peer.latency_ms.map_or(-1, i64::from);
            match peer.path {
                Some(path) => say(format_args!(
                    "peer {address} {role} {} latency {latency} ms",
                    path.remote
                )),
                None => say(format_args!("peer {address} {role} by relay")),
            }
        }
        for reason in DropReason::ALL {
            let count = self.node.stats().drops(*reason);
            if count > 0 {
                say(format_args!("dropped {count} {}", reason.name()));
            }
        }
        self.tell_state(&mut |line| say(line));
    }
}
