//! The loop (style 2.5): one wait, one thread, no tick.
//!
//! A turn: signals, datagrams, frames, deadlines, netlink; then what the node wants to send leaves,
//! one client of each kind has its turn, events are drained, and the loop sleeps until the earliest
//! deadline of all parts. A source gives at most a budget of packets a turn and stays on the ready
//! list until it would block; while packets are left over, clients wait.

use core::mem::ManuallyDrop;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mio::{Events, Poll};

use super::Fatal;
use super::control::{Access, Class, Server};
use super::daemon::Daemon;
use super::doors::{self, Doors};
use super::log::{self, Tail};
use super::publish;
use super::ready::Source;
use crate::base::{Mono, Now};
use crate::os::Reason;
use crate::os::clock;
use crate::os::file::PidFile;
use crate::os::netlink::Monitor;
use crate::os::signal::{Signal, Signals};
use crate::os::watch::Watch;

/// Events of one wait.
const EVENTS_MAX: usize = 64;

/// Everything that the loop turns.
pub(super) struct EventLoop {
    pub(super) poll: Poll,
    pub(super) signals: Signals,
    pub(super) monitor: Monitor,
    pub(super) server: Server,
    pub(super) doors: Doors,
    /// News of the home directory, where the system has such.
    pub(super) files: Option<Watch>,
    pub(super) daemon: &'static mut ManuallyDrop<Daemon>,
    /// What is logged, for those who asked with `monitor log`.
    pub(super) tail: Option<Tail>,
    /// Turns that clients have waited for packets. ≤ [`WAITS_MAX`].
    pub(super) waits: u8,
    /// The last to go: a home without it is free for others.
    pub(super) pid: Option<PidFile>,
}

/// Most turns that clients wait while there are packets: an eighth of the time is theirs.
const WAITS_MAX: u8 = 7;

impl EventLoop {
    /// Watches its own sources.
    pub(super) fn start(&mut self) -> Result<(), Fatal> {
        let sources = [
            (Source::Signals, Some(self.signals.as_raw_fd())),
            (Source::Netlink, Some(self.monitor.as_raw_fd())),
            (Source::Names, self.daemon.resolver.hands().fd()),
            (Source::Files, self.files.as_ref().map(Watch::as_raw_fd)),
        ];
        for &(source, fd) in &sources {
            if let Some(fd) = fd {
                let watched = source.watch(self.poll.registry(), fd);
                watched
                    .map_err(|error| Fatal::new(format_args!("cannot wait for events: {error}")))?;
            }
        }
        Ok(())
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
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => {
                    return Err(Fatal::new(format_args!(
                        "waiting for events failed: {}",
                        Reason::of(&error)
                    )));
                }
                _ => {}
            }
            let before = core::mem::replace(&mut self.daemon.now, clock::now());
            if let Some(due) = due {
                let late = self.daemon.now.mono.since(due);
                self.daemon.lag.add(late);
            }
            for event in &events {
                match Source::from_token(event.token()) {
                    Source::Control(_) => self.server.ready(event.token()),
                    source => self.daemon.ready.insert(source),
                }
            }
            more = self.notice_step(before) | self.turn();
        }
        self.daemon.flush();
        self.publish_stop();
        self.daemon.store_all();
        self.daemon.report_home();
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
                Source::Netlink | Source::Files | Source::Names | Source::Control(_) => break,
            };
            if drained {
                self.daemon.ready.remove(source);
            }
            last = Some(source);
        }
        self.daemon.work();
        if self.daemon.ready.after(last) == Some(Source::Netlink) {
            let news = self.monitor.drain();
            if news.system {
                self.daemon.system_changed();
            }
            if news.groups {
                self.daemon.groups_changed();
            }
            self.daemon.ready.remove(Source::Netlink);
        }
        if self.daemon.ready.after(last) == Some(Source::Files) {
            if self.files.as_mut().is_some_and(|f| f.drain("local.conf")) {
                self.daemon.conf_changed();
            }
            self.daemon.ready.remove(Source::Files);
        }
        if self.daemon.ready.after(last) == Some(Source::Names) {
            self.daemon.listen_for_names();
            self.daemon.ready.remove(Source::Names);
        }
        // Replies take their time: what is ready to go does not wait for them.
        self.daemon.flush();
        let mut more = self.gives_way() || self.serve();
        // Behind the answer to whoever wanted the change.
        self.follow_conf();
        self.daemon.flush();
        if self.drain_events() {
            more |= self.serve();
        }
        more | self.daemon.home_is_back
    }

    /// More packets wait than a turn takes: they go first, though not for ever.
    fn gives_way(&mut self) -> bool {
        self.waits += 1;
        if self.daemon.ready.is_empty() || self.waits > WAITS_MAX {
            self.waits = 0;
        }
        self.waits > 0
    }

    /// The doors are as the owner wants them.
    fn follow_conf(&mut self) {
        let Self { daemon, server, .. } = self;
        let daemon: &mut Daemon = daemon;
        if core::mem::take(&mut daemon.home_is_back) {
            let home = &mut daemon.home;
            let locked = home.lock_again(&mut self.pid);
            let opened = doors::open_socket(server, home, self.poll.registry());
            for outcome in [&locked, &opened] {
                if let Err(error) = outcome {
                    log::error!("{error}");
                }
            }
            daemon.keep_what_found_no_room();
        }
        if !core::mem::take(&mut daemon.conf.doors_stale) {
            return;
        }
        let (port, registry) = (daemon.port(), self.poll.registry());
        let settings = &daemon.conf.in_force().settings;
        server.set_access(Access::of(&settings.router), registry);
        self.doors
            .follow(settings, port, &mut daemon.home, server, registry);
    }

    fn serve(&mut self) -> bool {
        let mono = self.daemon.now.mono;
        (self.server).turn(mono, self.poll.registry(), self.daemon)
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

    /// Drains the node's news and the log; `true` if somebody has to be told.
    fn drain_events(&mut self) -> bool {
        let Self {
            server,
            daemon,
            tail,
            ..
        } = self;
        let mut heard = false;
        let wall = daemon.now.wall;
        if let Some(news) = daemon.conf.take_news() {
            heard |= server.publish(wall, Class::Node, format_args!("{news}"));
        }
        daemon.drain_events(|daemon, event| heard |= publish::event(server, daemon, event));
        for (id, news) in core::mem::take(&mut daemon.news) {
            heard |= publish::news(server, daemon, id, news);
        }
        if let Some(tail) = tail {
            tail.listen(server.wants(Class::Log));
            while let Some((level, text)) = tail.take() {
                heard |= publish::log(server, daemon.now.wall, level, &text);
            }
        }
        heard
    }

    /// Says when somebody set the clock. `true`: somebody has to be told.
    fn notice_step(&mut self, before: Now) -> bool {
        let Some(ms) = publish::step(before, self.daemon.now) else {
            return false;
        };
        log::info!("the clock was set by {ms} ms");
        publish::jump(&mut self.server, self.daemon.now.wall, ms)
    }

    fn publish_stop(&mut self) {
        let (wall, mono) = (self.daemon.now.wall, self.daemon.now.mono);
        let news = format_args!("state=STOPPING");
        if self.server.publish(wall, Class::Node, news) {
            (self.server).round(mono, self.poll.registry(), self.daemon);
        }
    }

    /// When the next turn is due; `None`: when something happens. With something to do at once
    /// that is when this turn began, so that a long turn shows.
    fn due(&self, more: bool) -> Option<Mono> {
        if more || !self.daemon.ready.is_empty() {
            return Some(self.daemon.now.mono);
        }
        Mono::first(self.daemon.next_deadline(), self.server.next_deadline())
    }
}
