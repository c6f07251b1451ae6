//! Tokens, and the list of sources that still have something to give (style 2.5).
//!
//! mio reports edges: a source that was not read until it would block is not reported again. So
//! it stays on this list until it was, and while the list is not empty the loop polls without
//! waiting. The numbers of the tokens are the order of work: signals, sockets, taps, netlink,
//! files, names, control.

use std::os::fd::RawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use crate::node::SocketId;
use crate::os;

/// A source of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Signals of the owner.
    Signals,
    /// An underlay socket.
    Socket(SocketId),
    /// The device in this slot.
    Tap(u16),
    /// News of interfaces, addresses and routes.
    Netlink,
    /// News of the files in the home directory.
    Files,
    /// What the process for names could not do.
    Names,
    /// The control socket: what is left of its token.
    Control(u16),
}

const KIND_SHIFT: usize = 16;

impl Source {
    /// As a token.
    pub(super) const fn token(self) -> Token {
        let (kind, n) = match self {
            Self::Signals => (0, 0),
            Self::Socket(id) => (1, id.0),
            Self::Tap(slot) => (2, slot),
            Self::Netlink => (3, 0),
            Self::Files => (4, 0),
            Self::Names => (5, 0),
            Self::Control(n) => (6, n),
        };
        Token(kind << KIND_SHIFT | n as usize)
    }

    /// From a token made by [`Self::token`].
    pub(super) const fn from_token(token: Token) -> Self {
        // The mask makes the number fit.
        #[expect(clippy::cast_possible_truncation, reason = "masked")]
        let n = (token.0 & 0xffff) as u16;
        match token.0 >> KIND_SHIFT {
            0 => Self::Signals,
            1 => Self::Socket(SocketId(n)),
            2 => Self::Tap(n),
            3 => Self::Netlink,
            4 => Self::Files,
            5 => Self::Names,
            _ => Self::Control(n),
        }
    }

    /// Waits for a descriptor to become readable.
    pub(super) fn watch(self, registry: &Registry, fd: RawFd) -> Result<(), os::Error> {
        registry
            .register(&mut SourceFd(&fd), self.token(), Interest::READABLE)
            .map_err(|error| os::Error::from_io(&"epoll", error))
    }
}

/// Sources to be read, each once, in order of work: by their tokens.
#[derive(Debug, Default)]
pub(super) struct Ready {
    tokens: Vec<usize>,
}

impl Ready {
    /// Room for this many sources: memory is taken once.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            tokens: Vec::with_capacity(capacity),
        }
    }

    /// A source has something to give.
    pub(super) fn insert(&mut self, source: Source) {
        let Token(token) = source.token();
        let at = self.place(token);
        if self.tokens.get(at) != Some(&token) {
            self.tokens.insert(at, token);
        }
    }

    /// A source was read until it would block, or is gone.
    pub(super) fn remove(&mut self, source: Source) {
        let Token(token) = source.token();
        let at = self.place(token);
        if self.tokens.get(at) == Some(&token) {
            self.tokens.remove(at);
        }
    }

    /// The first source behind `last` in the order of work.
    pub(super) fn after(&self, last: Option<Source>) -> Option<Source> {
        let at = last.map_or(0, |last| self.place(last.token().0.saturating_add(1)));
        let token = *self.tokens.get(at)?;
        Some(Source::from_token(Token(token)))
    }

    /// Where a token is, or would be.
    fn place(&self, token: usize) -> usize {
        self.tokens.partition_point(|before| *before < token)
    }

    /// Nothing to read: the loop may sleep.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Source; 8] = [
        Source::Signals,
        Source::Socket(SocketId(0)),
        Source::Socket(SocketId(u16::MAX)),
        Source::Tap(3),
        Source::Netlink,
        Source::Files,
        Source::Names,
        Source::Control(7),
    ];

    #[test]
    fn tokens_come_back() {
        for source in ALL {
            assert_eq!(Source::from_token(source.token()), source);
        }
    }

    #[test]
    fn sources_are_read_in_order_and_stay_until_removed() {
        let mut ready = Ready::default();
        for source in ALL.into_iter().rev().chain(ALL) {
            ready.insert(source);
        }
        let turn = |ready: &Ready| {
            let mut seen = Vec::new();
            let mut last = None;
            while let Some(source) = ready.after(last) {
                seen.push(source);
                last = Some(source);
            }
            seen
        };
        assert_eq!(turn(&ready), ALL);
        ready.remove(Source::Tap(3));
        assert_eq!(turn(&ready).len(), ALL.len() - 1);
        for source in ALL {
            ready.remove(source);
        }
        assert!(ready.is_empty());
    }
}
