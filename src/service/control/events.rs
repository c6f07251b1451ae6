//! Events for connections that asked with `monitor` (service 6.7).
//!
//! An event is formatted once per reader into the reader's own buffer of [`EVENTS_BYTES`]. When
//! that is full, events are dropped and counted; the reader learns how many with `lost` as soon
//! as there is room.

use core::fmt;

use super::buffer::Buffer;
use crate::base::UnixMs;

/// Memory for events of one reader. Filled by the daemon's news, emptied by the reader; what
/// does not fit is dropped, the newest first.
pub const EVENTS_BYTES: usize = 4096;

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Kinds of events a reader may choose.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])* $name,)* }

        impl Class {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is said to whoever asks for another.
            pub(super) const UNKNOWN: &'static str =
                concat!("unknown class, there are", $(" ", $text),*);

            /// As on the line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

classes! {
    /// Online, offline, clock jumps, collision, stopping.
    Node = "node",
    /// Status or addresses of a network.
    Network = "network",
    /// Routes that came and went.
    Route = "route",
    /// Pushed DNS settings.
    Dns = "dns",
    /// Peers that came and went.
    Peer = "peer",
    /// Paths that came and went.
    Path = "path",
    /// Moons taken or replaced.
    Moon = "moon",
    /// Planet replaced.
    Planet = "planet",
    /// Lines of the log.
    Log = "log",
}

const LOST: &str = "lost";

/// A set of classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Classes(u16);

impl Classes {
    /// What `monitor` without arguments means.
    pub(super) fn default_set() -> Self {
        [Class::Node, Class::Network, Class::Route, Class::Dns]
            .into_iter()
            .fold(Self(0), Self::with)
    }

    /// By names; `None` if one is unknown.
    pub(super) fn by_name(names: &[&str]) -> Option<Self> {
        names.iter().try_fold(Self(0), |set, name| {
            let class = Class::ALL.iter().find(|c| c.name() == *name)?;
            Some(set.with(*class))
        })
    }

    fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    pub(super) fn has(self, class: Class) -> bool {
        self.0 & 1 << class as u8 != 0
    }
}

/// A reader of events.
#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) classes: Classes,
    seq: u64,
    lost: u64,
    wall: UnixMs,
    buffer: Buffer,
}

impl Monitor {
    pub(super) fn new(classes: Classes) -> Self {
        Self {
            classes,
            seq: 0,
            lost: 0,
            wall: UnixMs::from_ms(0),
            buffer: Buffer::new(EVENTS_BYTES),
        }
    }

    /// Takes an event of a class that was chosen. `true`: there is something to send.
    pub(super) fn push(&mut self, wall: UnixMs, class: Class, keys: fmt::Arguments<'_>) -> bool {
        if !self.classes.has(class) {
            return false;
        }
        self.wall = wall;
        // Behind the gap its size comes first, else the order would be wrong.
        if !self.tell_lost() || !self.line(class.name(), keys) {
            self.lost = self.lost.saturating_add(1);
        }
        true
    }

    /// Moves what fits into `out`.
    pub(super) fn drain_into(&mut self, out: &mut Buffer) {
        out.take_lines(&mut self.buffer);
        if self.buffer.is_empty() && self.lost > 0 && self.tell_lost() {
            out.take_lines(&mut self.buffer);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.lost == 0
    }

    fn tell_lost(&mut self) -> bool {
        if self.lost == 0 {
            return true;
        }
        let lost = self.lost;
        let told = self.line(LOST, format_args!("n={lost}"));
        if told {
            self.lost = 0;
        }
        told
    }

    fn line(&mut self, class: &str, keys: fmt::Arguments<'_>) -> bool {
        let (seq, ms) = (self.seq + 1, self.wall.as_ms());
        let fits = self
            .buffer
            .try_row(format_args!("! {seq} {ms} {class} {keys}"));
        if fits {
            self.seq = seq;
        }
        fits
    }
}
