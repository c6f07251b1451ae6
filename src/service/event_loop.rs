//! The loop (style 2.5): one wait, one thread, no tick.
//!
//! A turn: signals, datagrams, frames, deadlines, netlink, control; then what the node wants to
//! send leaves, its events are drained, and the loop sleeps until the earliest deadline of all
//! parts. A source gives at most a budget of packets a turn and stays on the ready list until it
//! would block.

use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use super::Fatal;
use super::control::{Class, Field, Server};
use super::daemon::Daemon;
use super::overlay::News;
use super::ready::Source;
use super::route_set;
use super::routes::State;
use crate::base::{Mono, NetworkId};
use crate::node::Event;
use crate::os::clock;
use crate::os::netlink::Monitor;
use crate::os::signal::{Signal, Signals};

/// Events of one wait.
const EVENTS_MAX: usize = 64;

/// Everything that the loop turns.
pub(super) struct EventLoop {
    pub(super) poll: Poll,
    pub(super) signals: Signals,
    pub(super) monitor: Monitor,
    pub(super) server: Option<Server>,
    pub(super) daemon: Daemon,
}

/// Waits for a descriptor to become readable.
pub(super) fn watch(poll: &Poll, fd: RawFd, source: Source) -> Result<(), Fatal> {
    poll.registry()
        .register(&mut SourceFd(&fd), source.token(), Interest::READABLE)
        .map_err(|error| Fatal::new(format!("cannot wait for {source:?}: {error}")))
}

impl EventLoop {
    /// Watches its own sources.
    pub(super) fn start(&mut self) -> Result<(), Fatal> {
        watch(&self.poll, self.signals.as_raw_fd(), Source::Signals)?;
        watch(&self.poll, self.monitor.as_raw_fd(), Source::Netlink)
    }

    /// Turns until somebody asks for a stop.
    pub(super) fn run(&mut self) -> Result<(), Fatal> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.daemon.now = clock::now();
        // Before the first wait there may be events of the start to be told.
        let mut more = true;
        while !self.daemon.stopping {
            let due = self.due(more);
            let pause = due.map(|at| Duration::from_millis(at.since(clock::mono())));
            match self.poll.poll(&mut events, pause) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(Fatal::new(format!("waiting for events failed: {error}")));
                }
                _ => {}
            }
            self.daemon.now = clock::now();
            if let Some(due) = due {
                self.daemon.lag.add(self.daemon.now.mono.since(due));
            }
            for event in &events {
                match Source::from_token(event.token()) {
                    Source::Control(_) => {
                        if let Some(server) = &mut self.server {
                            server.ready(event.token());
                        }
                    }
                    source => self.daemon.ready.insert(source),
                }
            }
            more = self.turn();
        }
        self.daemon.flush();
        self.daemon.report_home();
        self.publish_stop();
        self.daemon.store_all();
        self.daemon.finish_system();
        Ok(())
    }

    /// One turn of every source. `true`: some connection has more to do.
    fn turn(&mut self) -> bool {
        let mut last = None;
        while let Some(source) = self.daemon.ready.after(last) {
            let drained = match source {
                Source::Signals => self.take_signals(),
                Source::Socket(id) => self.daemon.drain_socket(id),
                Source::Tap(slot) => self.daemon.drain_tap(slot),
                Source::Netlink | Source::Control(_) => break,
            };
            if drained {
                self.daemon.ready.remove(source);
            }
            last = Some(source);
        }
        self.daemon.work();
        if self.daemon.ready.after(last) == Some(Source::Netlink) {
            if self.monitor.drain() {
                self.daemon.system_changed();
            }
            self.daemon.ready.remove(Source::Netlink);
        }
        let mut more = self.serve();
        self.daemon.flush();
        if self.drain_events() {
            more |= self.serve();
        }
        more
    }

    fn serve(&mut self) -> bool {
        let Some(server) = &mut self.server else {
            return false;
        };
        let mono = self.daemon.now.mono;
        server.turn(mono, self.poll.registry(), &mut self.daemon)
    }

    fn take_signals(&mut self) -> bool {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::Stop => self.daemon.stopping = true,
                Signal::Reload => self.daemon.reload(),
                Signal::Dump => self.daemon.dump_to_log(),
            }
        }
        true
    }

    /// Drains the node's news; `true` if somebody has to be told.
    fn drain_events(&mut self) -> bool {
        let Self { server, daemon, .. } = self;
        let mut heard = false;
        daemon.drain_events(|daemon, event| {
            if let Some(server) = server {
                heard |= publish(server, daemon, event);
            }
        });
        for (id, news) in core::mem::take(&mut daemon.news) {
            if let Some(server) = server {
                heard |= publish_news(server, daemon, id, news);
            }
        }
        heard
    }

    fn publish_stop(&mut self) {
        if let Some(server) = &mut self.server
            && server.publish(
                self.daemon.now.wall,
                Class::Node,
                format_args!("state=STOPPING"),
            )
        {
            server.turn(self.daemon.now.mono, self.poll.registry(), &mut self.daemon);
        }
    }

    /// When the next turn is due; `None`: when something happens. With something to do at once
    /// that is when this turn began, so that a long turn shows.
    fn due(&self, more: bool) -> Option<Mono> {
        if more || !self.daemon.ready.is_empty() {
            return Some(self.daemon.now.mono);
        }
        let server = self.server.as_ref().and_then(Server::next_deadline);
        let next = [self.daemon.next_deadline(), server];
        next.into_iter().flatten().min()
    }
}

/// Tells of addresses, routes and names (service 6.7).
fn publish_news(server: &mut Server, daemon: &Daemon, id: NetworkId, news: News) -> bool {
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
            let via = managed.via.map(|ip| ip.to_string());
            let via = via.as_deref().unwrap_or("-");
            let error = errno.map(|errno| State::Failed(errno).reason());
            let (err, error) = error.map_or(("", ""), |word| (" err=", word));
            let target = managed.target;
            let keys = format_args!(
                "nwid={id} target={target} via={via} dev={device} op={op}{err}{error}"
            );
            server.publish(wall, Class::Route, keys)
        }
        News::Dns => {
            let dns = daemon.node.network(id).and_then(|view| view.dns);
            let servers: Vec<String> = dns
                .into_iter()
                .flat_map(|dns| dns.servers.iter().map(ToString::to_string))
                .collect();
            let domain = Field(dns.map_or("", |dns| &dns.domain));
            let (servers, state) = (servers.join(","), daemon.resolver.state(id).name());
            let servers = Field(&servers);
            let keys = format_args!(
                "nwid={id} dev={device} domain={domain} servers={servers} state={state}"
            );
            server.publish(wall, Class::Dns, keys)
        }
    }
}

/// Tells those who asked to be told (service 6.7).
fn publish(server: &mut Server, daemon: &Daemon, event: Event) -> bool {
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
        Event::PeerUp(peer) => {
            server.publish(wall, Class::Peer, format_args!("addr={peer} state=up"))
        }
        Event::PeerDown(peer) => {
            server.publish(wall, Class::Peer, format_args!("addr={peer} state=down"))
        }
        Event::PathUp {
            peer,
            local,
            remote,
        }
        | Event::PathDown {
            peer,
            local,
            remote,
        } => {
            let op = if matches!(event, Event::PathUp { .. }) {
                "add"
            } else {
                "del"
            };
            let link = daemon.wires.links.get(local).map(|link| &link.wanted);
            let device = link.map_or("-", |w| w.device.as_str());
            match link {
                Some(w) => server.publish(
                    wall,
                    Class::Path,
                    format_args!(
                        "addr={peer} local={} remote={remote} if={device} op={op}",
                        w.local
                    ),
                ),
                None => server.publish(
                    wall,
                    Class::Path,
                    format_args!("addr={peer} local=- remote={remote} if=- op={op}"),
                ),
            }
        }
        Event::Planet => {
            let planet = daemon.node.planet().view();
            server.publish(
                wall,
                Class::Planet,
                format_args!("id={} ts={}", planet.id, planet.timestamp),
            )
        }
        Event::Moon(id) => server.publish(wall, Class::Moon, format_args!("id={id:016x}")),
        Event::Refreshed(_) | Event::Surface | Event::Lost => false,
    }
}
