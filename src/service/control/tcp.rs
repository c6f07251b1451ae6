//! The TCP port of the owner: the control protocol behind a challenge, and HTTP (service 6.1, 6.5).
//!
//! Both on one port, the primary one, where people's tools look. The client speaks first and its
//! first byte tells: methods of HTTP are upper case, commands are not. So a page in a browser can
//! never be made to speak the control protocol. On the loopback address, unless the owner named
//! networks that may manage; those get HTTP only, because the control protocol is neither sealed
//! nor signed.
//!
//! Bounds: [`CONNS_MAX`] connections, of which [`CONTROL_MAX`] of the control protocol; who says
//! nothing is closed after [`PATIENCE_MS`](auth::PATIENCE_MS), and sooner when somebody else needs
//! the place.

use core::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::auth::{self, Challenge, Guard, Step};
use super::conn::{Conn, Turn};
use super::events::Class;
use super::host::Host;
use super::line::{Code, END};
use crate::base::{Mono, UnixMs};
use crate::os::{self, tcp};
#[cfg(feature = "http-compat")]
use crate::service::http;
use crate::service::log;
use crate::service::settings::Prefix;

/// Connections at once, taken when they come: up to 25 KiB each.
pub const CONNS_MAX: usize = 8;
/// Connections of the control protocol among them. The next is told `503`.
pub const CONTROL_MAX: usize = 4;

/// Connections taken in one turn; the others wait in the kernel.
const ACCEPTS_PER_TURN: usize = 4;
/// After the last byte: how long the other end may take to read it, and what it may still say.
const LINGER_MS: u64 = 1_000;
const LINGER_BYTES: usize = 64 * 1024;

/// Who may come by TCP, and what they must know.
#[derive(Debug)]
pub struct TcpAccess {
    /// Port on every address; 0: any.
    pub port: u16,
    /// Networks that may manage beside this machine itself; none: only this machine.
    pub management: Vec<Prefix>,
    /// The tokens.
    pub guard: Guard,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Not yet said that it would block.
    pending: bool,
}

/// A connection by what it turned out to be.
#[derive(Debug)]
enum Door {
    /// Nothing came yet. `true`: not yet said that it would block.
    New(UnixStream, bool),
    Challenge(Box<Challenge<UnixStream>>),
    Control(Box<Conn<UnixStream>>),
    #[cfg(feature = "http-compat")]
    Http(Box<http::conn::Conn<UnixStream>>),
    /// Our last byte is out: closed when the other end has it, or after a while.
    Closing {
        stream: UnixStream,
        left: usize,
    },
}

#[derive(Debug)]
struct Slot {
    door: Door,
    /// Came from this machine.
    is_local: bool,
    /// When it came, or began to close.
    since: Mono,
    /// A turn would lead to something.
    due: bool,
}

/// The listeners and their connections. Token `first + n` belongs to listener `n`, those behind to
/// connections.
#[derive(Debug)]
pub(super) struct Tcp {
    first: usize,
    access: TcpAccess,
    listeners: Vec<Listener>,
    slots: [Option<Slot>; CONNS_MAX],
    /// Whose turn is next.
    next: usize,
}

const LISTENERS_MAX: usize = 2;

impl Tcp {
    pub(super) const TOKENS: usize = LISTENERS_MAX + CONNS_MAX;

    /// Listens for both families. One of them is enough; `Err` is why the last failed.
    pub(super) fn open(
        access: TcpAccess,
        registry: &Registry,
        first: usize,
    ) -> Result<Self, os::Error> {
        let ips: [IpAddr; LISTENERS_MAX] = if access.management.is_empty() {
            [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        };
        let mut tcp = Self {
            first,
            access,
            listeners: Vec::with_capacity(LISTENERS_MAX),
            slots: Default::default(),
            next: 0,
        };
        let mut failed = None;
        for ip in ips {
            let at = SocketAddr::new(ip, tcp.access.port);
            if let Err(error) = tcp.listen(at, registry) {
                log::debug!("control: no TCP on {at}: {error}");
                failed = Some(error);
            }
        }
        match failed {
            Some(error) if tcp.listeners.is_empty() => Err(error),
            _ => Ok(tcp),
        }
    }

    fn listen(&mut self, at: SocketAddr, registry: &Registry) -> Result<(), os::Error> {
        let socket = tcp::listen(at)?;
        if at.port() == 0 {
            let local = socket.local_addr();
            self.access.port = local.map_or(0, |local| local.port());
        }
        let token = Token(self.first + self.listeners.len());
        let fd = socket.as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(|error| os::Error::from_io(&"register", error))?;
        self.listeners.push(Listener {
            socket,
            pending: true,
        });
        Ok(())
    }

    pub(super) fn port(&self) -> u16 {
        self.access.port
    }

    /// Token number `n` of ours is ready.
    pub(super) fn ready(&mut self, n: usize) {
        if let Some(slot) = n.checked_sub(LISTENERS_MAX) {
            if let Some(Some(slot)) = self.slots.get_mut(slot) {
                slot.ready();
            }
        } else if let Some(listener) = self.listeners.get_mut(n) {
            listener.pending = true;
        }
    }

    /// The next connection gets its turn. `true`: there is more to do.
    pub(super) fn turn(&mut self, now: Mono, registry: &Registry, host: &mut dyn Host) -> bool {
        self.accept(now, registry);
        if let Some(n) = self.whose_turn(now) {
            self.next = (n + 1) % CONNS_MAX;
            let slot = self.slots.get_mut(n).and_then(Option::take);
            let controls = self.controls();
            let guard = &mut self.access.guard;
            // Of what is dropped, the registration goes with the descriptor.
            let slot = slot.and_then(|slot| slot.turn(now, host, guard, controls));
            if let Some(place) = self.slots.get_mut(n) {
                *place = slot;
            }
        }
        self.whose_turn(now).is_some() || self.listeners.iter().any(|l| l.pending)
    }

    fn whose_turn(&self, now: Mono) -> Option<usize> {
        let mut order = (0..CONNS_MAX).map(|n| (self.next + n) % CONNS_MAX);
        order.find(|n| match self.slots.get(*n) {
            Some(Some(slot)) => slot.due || slot.deadline().is_some_and(|at| at <= now),
            _ => false,
        })
    }

    /// Connections that speak the control protocol, or are about to.
    fn controls(&self) -> usize {
        let slots = self.slots.iter().flatten();
        slots
            .filter(|s| matches!(s.door, Door::Challenge(_) | Door::Control(_)))
            .count()
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.slots.iter().flatten().filter_map(Slot::deadline).min()
    }

    pub(super) fn publish(&mut self, wall: UnixMs, class: Class, keys: fmt::Arguments<'_>) -> bool {
        let mut heard = false;
        for slot in self.slots.iter_mut().flatten() {
            if let Door::Control(conn) = &mut slot.door {
                let hears = conn.event(wall, class, keys);
                slot.due |= hears;
                heard |= hears;
            }
        }
        heard
    }

    pub(super) fn wants(&self, class: Class) -> bool {
        let mut slots = self.slots.iter().flatten();
        slots.any(|slot| matches!(&slot.door, Door::Control(conn) if conn.wants(class)))
    }

    fn accept(&mut self, now: Mono, registry: &Registry) {
        let mut left = ACCEPTS_PER_TURN;
        for n in 0..self.listeners.len() {
            while left > 0 {
                let Some(listener) = self.listeners.get_mut(n).filter(|l| l.pending) else {
                    break;
                };
                match listener.socket.accept() {
                    Ok((stream, from)) => {
                        left -= 1;
                        // Answers are small and complete: nothing is gained by waiting for more.
                        let _ = stream.set_nodelay(true);
                        // From here on it is a stream like those of the home.
                        let stream = UnixStream::from(OwnedFd::from(stream));
                        self.take(stream, from.ip().to_canonical(), now, registry);
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        if e.kind() != io::ErrorKind::WouldBlock {
                            log::warn!("control: cannot accept a TCP connection: {e}");
                        }
                        listener.pending = false;
                    }
                }
            }
        }
    }

    fn take(&mut self, stream: UnixStream, ip: IpAddr, now: Mono, registry: &Registry) {
        let is_local = ip.is_loopback();
        if !is_local && !self.access.management.iter().any(|net| net.holds(&ip)) {
            log::debug!("control: {ip} may not manage");
            turn_away(&stream, "401 Unauthorized");
            return;
        }
        let Some(n) = self.place() else {
            turn_away(&stream, "503 Service Unavailable");
            return;
        };
        let token = Token(self.first + LISTENERS_MAX + n);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = stream.as_raw_fd();
        let ready = stream
            .set_nonblocking(true)
            .and_then(|()| registry.register(&mut SourceFd(&fd), token, interest));
        if let Err(e) = ready {
            log::warn!("control: cannot use a TCP connection: {e}");
            return;
        }
        if let Some(place) = self.slots.get_mut(n) {
            *place = Some(Slot {
                door: Door::New(stream, true),
                is_local,
                since: now,
                due: true,
            });
        }
    }

    /// A free place, else one that is about to be free, else that of whoever has waited longest
    /// without asking for anything: an honest client asks at once.
    fn place(&self) -> Option<usize> {
        let worth = |slot: &Option<Slot>| match slot {
            None => Some((0, None)),
            Some(slot) if matches!(slot.door, Door::Closing { .. }) => Some((1, Some(slot.since))),
            Some(slot) if slot.is_idle() => Some((2, Some(slot.since))),
            Some(_) => None,
        };
        let slots = self.slots.iter().enumerate();
        let places = slots.filter_map(|(n, slot)| Some((worth(slot)?, n)));
        places.min().map(|(_, n)| n)
    }
}

impl Slot {
    fn ready(&mut self) {
        self.due = true;
        match &mut self.door {
            Door::New(_, readable) => *readable = true,
            Door::Challenge(challenge) => challenge.ready(),
            Door::Control(conn) => conn.ready(),
            #[cfg(feature = "http-compat")]
            Door::Http(conn) => conn.ready(),
            Door::Closing { .. } => {}
        }
    }

    /// Nobody misses it.
    fn is_idle(&self) -> bool {
        match &self.door {
            Door::New(..) | Door::Challenge(_) | Door::Closing { .. } => true,
            Door::Control(_) => false,
            #[cfg(feature = "http-compat")]
            Door::Http(conn) => conn.is_waiting(),
        }
    }

    fn deadline(&self) -> Option<Mono> {
        self.door.deadline(self.since)
    }

    /// One turn; the connection, if it lasts.
    fn turn(
        self,
        now: Mono,
        host: &mut dyn Host,
        guard: &mut Guard,
        controls: usize,
    ) -> Option<Self> {
        let Self {
            door,
            is_local,
            since,
            ..
        } = self;
        let keep = |door, since, due| {
            Some(Self {
                door,
                is_local,
                since,
                due,
            })
        };
        match door {
            _ if door.deadline(since).is_some_and(|at| at <= now) => None,
            Door::New(stream, false) => keep(Door::New(stream, false), since, false),
            Door::New(stream, true) => match first_byte(&stream) {
                Ok(byte) => match open(stream, byte, now, is_local, controls) {
                    // At once: who comes after may need the place.
                    Some(door) => Self {
                        door,
                        is_local,
                        since,
                        due: true,
                    }
                    .turn(now, host, guard, controls),
                    None => None,
                },
                Err(Errno::EAGAIN) => keep(Door::New(stream, false), since, false),
                Err(_) => None,
            },
            Door::Challenge(mut challenge) => match challenge.turn(now, guard) {
                Step::Passed => keep(Door::Control(Box::new(challenge.into_conn(now))), now, true),
                Step::Closed => keep(closing(challenge.into_stream()), now, true),
                step => keep(Door::Challenge(challenge), since, step == Step::More),
            },
            Door::Control(mut conn) => match conn.turn(now, host) {
                Turn::Closed => None,
                turn => keep(Door::Control(conn), since, turn == Turn::More),
            },
            #[cfg(feature = "http-compat")]
            Door::Http(mut conn) => match conn.turn(now, host, guard) {
                Turn::Closed => keep(closing(conn.into_stream()), now, true),
                turn => keep(Door::Http(conn), since, turn == Turn::More),
            },
            Door::Closing { stream, left } => match drain(&stream, left) {
                Some(left) => keep(Door::Closing { stream, left }, since, false),
                None => None,
            },
        }
    }
}

impl Door {
    /// When it will have lasted too long, having come or changed at `since`.
    fn deadline(&self, since: Mono) -> Option<Mono> {
        match self {
            Self::New(..) => Some(since.after(auth::PATIENCE_MS)),
            Self::Challenge(challenge) => Some(challenge.deadline()),
            Self::Control(conn) => conn.deadline(),
            #[cfg(feature = "http-compat")]
            Self::Http(conn) => Some(conn.deadline()),
            Self::Closing { .. } => Some(since.after(LINGER_MS)),
        }
    }
}

/// It stays where it is.
fn first_byte(stream: &UnixStream) -> Result<u8, Errno> {
    let mut byte = [0];
    match recv(stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK)? {
        0 => Err(Errno::ECONNRESET),
        _ => Ok(byte[0]),
    }
}

/// What a connection is, by its first byte. `None`: nothing that is spoken here.
fn open(stream: UnixStream, byte: u8, now: Mono, is_local: bool, controls: usize) -> Option<Door> {
    if byte.is_ascii_uppercase() {
        #[cfg(feature = "http-compat")]
        return Some(Door::Http(Box::new(http::conn::Conn::new(stream, now))));
        #[cfg(not(feature = "http-compat"))]
        return None;
    }
    if !is_local {
        return None;
    }
    if controls >= CONTROL_MAX {
        let text = format!("{} zt-ctl too many connections\n{END}\n", Code::Busy);
        let _ = (&stream).write(text.as_bytes());
        return Some(closing(stream));
    }
    match os::entropy::seed() {
        Ok(nonce) => Some(Door::Challenge(Box::new(Challenge::new(
            stream, nonce, now,
        )))),
        Err(error) => {
            log::warn!("control: no challenge without randomness: {error}");
            None
        }
    }
}

/// Says that nothing follows. To close at once could take back what was not read yet.
fn closing(stream: UnixStream) -> Door {
    // It may be closed from the other end already.
    let _ = stream.shutdown(Shutdown::Write);
    Door::Closing {
        stream,
        left: LINGER_BYTES,
    }
}

/// Reads what still comes, to no use. `None`: that was all, or enough.
fn drain(mut stream: &UnixStream, mut left: usize) -> Option<usize> {
    let mut nowhere = [0; 4096];
    loop {
        match stream.read(&mut nowhere) {
            Ok(0) => return None,
            Ok(n) => left = left.checked_sub(n)?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Some(left),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn turn_away(mut stream: &UnixStream, status: &str) {
    // A fresh socket has room for this; if not, it is closed all the same.
    let text = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(text.as_bytes());
}
