//! What those who asked with `monitor` are told (service 6.7). Each function says whether
//! anybody heard it.

use core::fmt::{Display, Write as _};
use core::net::SocketAddr;

use super::control::{Class, Field, Server};
use super::daemon::Daemon;
use super::log;
use super::overlay::News;
use super::route_set;
use super::routes::State;
use crate::base::{Address, NetworkId, Now, UnixMs};
use crate::node::{Event, SocketId};
use crate::wire::inet::Slash;

/// The wall clock may drift from the other one so far without having been set.
const STEP_MS: i64 = 10_000;

/// By how much the wall clock was set between two turns.
pub(super) fn step(before: Now, after: Now) -> Option<i64> {
    let passed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let wall = passed(after.wall.as_ms()).saturating_sub(passed(before.wall.as_ms()));
    let by = wall.saturating_sub(passed(after.mono.since(before.mono)));
    (by.abs() >= STEP_MS).then_some(by)
}

/// The wall clock was set by `ms`.
pub(super) fn jump(server: &mut Server, wall: UnixMs, ms: i64) -> bool {
    server.publish(wall, Class::Node, format_args!("clock=jump by={ms}"))
}

/// A line of the log.
pub(super) fn log(server: &mut Server, wall: UnixMs, level: &str, text: &str) -> bool {
    let text = Field(text);
    server.publish(wall, Class::Log, format_args!("level={level} text={text}"))
}

/// Tells of addresses, routes and names (service 6.7).
pub(super) fn news(server: &mut Server, daemon: &Daemon, id: NetworkId, news: News) -> bool {
    let wall = daemon.now.wall;
    let device = daemon.device_of(id);
    match news {
        News::Set(route_set::News::Address { prefix, added }) => {
            let sign = if added { '+' } else { '-' };
            let keys = format_args!("nwid={id} dev={device} ip{sign}={prefix}");
            server.publish(wall, Class::Network, keys)
        }
        News::Set(route_set::News::Route {
            managed,
            added,
            errno,
        }) => {
            let op = if added { "add" } else { "del" };
            let via = managed.via.as_ref().map(|ip| ip as &dyn Display);
            let via = via.unwrap_or(&"-");
            let error = errno.map(|errno| State::Failed(errno).reason());
            let (err, error) = error.map_or(("", ""), |word| (" err=", word));
            let target = managed.target;
            let keys = format_args!(
                "nwid={id} target={target} via={via} dev={device} op={op}{err}{error}"
            );
            server.publish(wall, Class::Route, keys)
        }
        News::Left(device) => {
            let device = Field(&device);
            let keys = format_args!("nwid={id} status=LEFT dev={device}");
            server.publish(wall, Class::Network, keys)
        }
        News::Dns => {
            let dns = daemon.node.network(id).and_then(|view| view.dns);
            let mut servers = String::new();
            for ip in dns.map_or(&[][..], |dns| &dns.servers) {
                let comma = if servers.is_empty() { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(servers, "{comma}{ip}");
            }
            let domain = Field(dns.map_or("", |dns| &dns.domain));
            let state = daemon.resolver.state(id).name();
            let servers = Field(&servers);
            let keys = format_args!(
                "nwid={id} dev={device} domain={domain} servers={servers} state={state}"
            );
            server.publish(wall, Class::Dns, keys)
        }
    }
}

/// Tells those who asked to be told (service 6.7).
pub(super) fn event(server: &mut Server, daemon: &Daemon, event: Event) -> bool {
    let wall = daemon.now.wall;
    match event {
        Event::Online => server.publish(wall, Class::Node, format_args!("state=ONLINE")),
        Event::Offline => server.publish(wall, Class::Node, format_args!("state=OFFLINE")),
        Event::Collision => server.publish(wall, Class::Node, format_args!("collision=1")),
        Event::Network(id) => {
            let Some(view) = daemon.node.network(id) else {
                return false;
            };
            server.publish(
                wall,
                Class::Network,
                format_args!(
                    "nwid={id} status={} dev={} rev={}",
                    daemon.status_of(&view),
                    daemon.device_of(id),
                    view.revision
                ),
            )
        }
        Event::PeerUp(address) => peer(server, daemon, address, "up"),
        Event::PeerDown(address) => peer(server, daemon, address, "down"),
        Event::PathUp {
            peer,
            local,
            remote,
        } => path(server, daemon, (peer, local, remote), "add"),
        Event::PathDown {
            peer,
            local,
            remote,
        } => path(server, daemon, (peer, local, remote), "del"),
        Event::PathPreferred {
            peer,
            local,
            remote,
        } => path(server, daemon, (peer, local, remote), "prefer"),
        Event::Planet => {
            let planet = daemon.node.planet().view();
            server.publish(
                wall,
                Class::Planet,
                format_args!("id={:016x} ts={}", planet.id, planet.timestamp),
            )
        }
        Event::Moon(id) => {
            let world = daemon
                .node
                .moons()
                .find(|m| m.id == id)
                .and_then(|m| m.world);
            let ts = world.map_or(0, |world| world.view().timestamp);
            server.publish(wall, Class::Moon, format_args!("id={id:016x} ts={ts}"))
        }
        Event::Refreshed(_) | Event::Surface | Event::Lost => false,
    }
}

fn peer(server: &mut Server, daemon: &Daemon, address: Address, state: &str) -> bool {
    let view = daemon.node.peer(address, daemon.now.mono);
    let role = view.as_ref().map(|peer| &peer.role as &dyn Display);
    let role = role.unwrap_or(&"-");
    let version = view.as_ref().and_then(|peer| peer.version);
    let version = version.map(|v| format!("{}.{}.{}", v.major, v.minor, v.revision));
    let version = version.as_deref().unwrap_or("-");
    let keys = format_args!("addr={address} role={role} version={version} state={state}");
    log::debug!("peer {keys}");
    server.publish(daemon.now.wall, Class::Peer, keys)
}

fn path(
    server: &mut Server,
    daemon: &Daemon,
    (peer, socket, remote): (Address, SocketId, SocketAddr),
    op: &str,
) -> bool {
    let link = daemon.wires.links.get(socket).map(|link| &link.wanted);
    let local = link.map(|link| Slash(link.local));
    let local = local.as_ref().map(|local| local as &dyn Display);
    let local = local.unwrap_or(&"-");
    let device = link.map_or("-", |link| link.device.as_str());
    let mono = daemon.now.mono;
    let mut paths = (0..).map_while(|n| daemon.node.path(peer, n, mono));
    let path = paths.find(|path| path.local == socket && path.remote == remote);
    let latency = path.and_then(|path| path.latency_ms).map_or(-1, i64::from);
    let remote = Slash(remote);
    let keys = format_args!(
        "addr={peer} local={local} remote={remote} if={device} latency={latency} op={op}"
    );
    log::debug!("path {keys}");
    server.publish(daemon.now.wall, Class::Path, keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Mono;

    #[test]
    fn a_clock_that_was_set_is_told_from_one_that_runs() {
        let at = |mono, wall| Now {
            mono: Mono::from_ms(mono),
            wall: UnixMs::from_ms(wall),
            wall_ok: true,
        };
        let before = at(5_000_000_000, 1_795_435_032_062);
        let after =
            |mono: u64, wall: u64| step(before, at(5_000_000_000 + mono, 1_795_435_032_062 + wall));
        assert_eq!(after(0, 0), None);
        // An hour of sleep is no step, and neither is a clock that is drawn back to the truth.
        assert_eq!(after(3_600_000, 3_600_000), None);
        assert_eq!(after(60_000, 69_999), None);
        assert_eq!(after(60_000, 70_000), Some(10_000));
        assert_eq!(after(10_000, 0), Some(-10_000));
        assert_eq!(step(before, at(5_000_000_000, 0)), Some(-1_795_435_032_062));
    }
}
