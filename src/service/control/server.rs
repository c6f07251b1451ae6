//! The sockets of the control protocol and their connections (service 6.1, 6.8).
//!
//! Driving law: [`Server::ready`] for each event of the poll with one of our tokens, then
//! [`Server::turn`] until it says that nothing is left (other sources may have their turn in
//! between), then [`Server::next_deadline`]. [`Server::publish`] is followed by a turn too.

use core::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::commands::Caller;
use super::conn::{Conn, Turn};
use super::events::Class;
use super::host::Host;
use super::line::{Code, END, read_only_socket_path, socket_path};
use super::tcp::{Tcp, TcpAccess};
use crate::base::{Mono, UnixMs};
use crate::os::{self, file, local, privilege, shown};
use crate::service::local_conf::Router;
use crate::service::log;

/// Connections at once, about 20 KiB each, taken when they come. The next is told `503`.
pub const CONNS_MAX: usize = 8;

/// Connections taken or turned away in one turn; the others wait in the kernel.
const ACCEPTS_PER_TURN: usize = 2;

/// Who may connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Members of this group may command as well (0660 instead of 0600).
    pub group: Option<u32>,
    /// Anybody may read, on a second socket.
    pub read_only_socket: bool,
}

impl Access {
    /// As `local.conf` says. A group that there is not gives nobody anything.
    pub fn of(settings: &Router) -> Self {
        let group = settings.control_group.as_deref().and_then(|name| {
            let id = privilege::group_id(name);
            if id.is_none() {
                log::warn!("control: there is no group {name}: only its owner has the socket");
            }
            id
        });
        Self {
            group,
            read_only_socket: settings.control_read_only,
        }
    }
}

const MODE_OWNER: u32 = 0o600;
const MODE_GROUP: u32 = 0o660;
const MODE_ALL: u32 = 0o666;

#[derive(Debug)]
struct Place {
    conn: Conn<UnixStream>,
    /// A turn would lead to something.
    due: bool,
}

#[derive(Debug)]
struct Listener {
    socket: UnixListener,
    path: PathBuf,
    read_only: bool,
    /// Not yet said that it would block.
    pending: bool,
}

/// The control server. Token `first + n` belongs to listener `n`, those behind to connections, the
/// last to what comes by TCP.
#[derive(Debug)]
pub struct Server {
    first: usize,
    listeners: Vec<Listener>,
    places: [Option<Box<Place>>; CONNS_MAX],
    /// Whose turn is next.
    next: usize,
    tcp: Option<Tcp>,
    path: PathBuf,
    read_only_path: PathBuf,
    access: Access,
}

const LISTENERS_MAX: usize = 2;
const OWN_TOKENS: usize = LISTENERS_MAX + CONNS_MAX;

impl Listener {
    /// The owner alone, or the members of a group as well.
    fn admit(&self, group: Option<u32>) -> Result<(), os::Error> {
        file::set_mode(&self.path, MODE_OWNER)?;
        if let Some(group) = group {
            file::set_group(&self.path, group)?;
            file::set_mode(&self.path, MODE_GROUP)?;
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may be gone with its directory.
        let _ = file::remove_cache(&self.path);
    }
}

impl Server {
    /// Tokens in use, from the first on.
    pub const TOKENS: usize = OWN_TOKENS + Tcp::TOKENS;

    /// For a home. Nothing is open yet.
    pub fn new(home: &Path, access: Access, first: Token) -> Self {
        Self {
            first: first.0,
            listeners: Vec::with_capacity(LISTENERS_MAX),
            places: Default::default(),
            next: 0,
            tcp: None,
            path: socket_path(home),
            read_only_path: read_only_socket_path(home),
            access,
        }
    }

    /// Opens the sockets of the home, unless they are open. `EADDRINUSE`: somebody answers there.
    pub fn open(&mut self, registry: &Registry) -> Result<(), os::Error> {
        if !self.is_open() {
            self.listen(self.path.clone(), false, registry)?;
            self.set_access(self.access, registry);
        }
        Ok(())
    }

    /// Has the socket of the home. Without it there may be TCP.
    pub fn is_open(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Says anew who may connect. Whoever is connected stays. What cannot be given is said, and
    /// not given.
    pub fn set_access(&mut self, access: Access, registry: &Registry) {
        self.access = access;
        let Some(listener) = self.listeners.first() else {
            return;
        };
        if let Err(error) = listener.admit(access.group) {
            let path = shown(&listener.path);
            match error.errno {
                // Rights that are gone by now are there at the start.
                libc::EPERM | libc::EACCES => {
                    log::warn!("control: {path} is given to its group at the next start");
                }
                _ => log::warn!("control: {path} cannot be given to its group: {error}"),
            }
        }
        let is_open = self.listeners.len() > 1;
        if access.read_only_socket && !is_open {
            let path = self.read_only_path.clone();
            if let Err(error) = self.listen(path.clone(), true, registry) {
                log::warn!("control: no socket at {}: {error}", shown(&path));
            }
        } else if !access.read_only_socket && is_open {
            // Its registration goes with the descriptor.
            self.listeners.truncate(1);
        }
    }

    /// Listens by TCP too, or no more. Connections of before end.
    pub fn set_tcp(
        &mut self,
        access: Option<TcpAccess>,
        registry: &Registry,
    ) -> Result<(), os::Error> {
        self.tcp = None;
        if let Some(access) = access {
            self.tcp = Some(Tcp::open(access, registry, self.first + OWN_TOKENS)?);
        }
        Ok(())
    }

    /// The TCP port, if there is one.
    pub fn tcp_port(&self) -> Option<u16> {
        self.tcp.as_ref().map(Tcp::port)
    }

    fn listen(
        &mut self,
        path: PathBuf,
        read_only: bool,
        registry: &Registry,
    ) -> Result<(), os::Error> {
        remove_stale(&path)?;
        let listener = Listener {
            socket: local::listen(&path)?,
            path,
            read_only,
            pending: true,
        };
        if read_only {
            file::set_mode(&listener.path, MODE_ALL)?;
        }
        let token = Token(self.first + self.listeners.len());
        let fd = listener.socket.as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(|error| os::Error::from_io(&"epoll", error))?;
        self.listeners.push(listener);
        Ok(())
    }

    /// This token is ours.
    pub fn owns(&self, token: Token) -> bool {
        (self.first..self.first + Self::TOKENS).contains(&token.0)
    }

    /// Something happened on one of our tokens. Work is done by the next turn.
    pub fn ready(&mut self, token: Token) {
        let Some(n) = token.0.checked_sub(self.first) else {
            return;
        };
        if n < LISTENERS_MAX {
            if let Some(listener) = self.listeners.get_mut(n) {
                listener.pending = true;
            }
        } else if let Some(n) = n.checked_sub(OWN_TOKENS) {
            if let Some(tcp) = &mut self.tcp {
                tcp.ready(n);
            }
        } else if let Some(Some(place)) = self.places.get_mut(n - LISTENERS_MAX) {
            place.conn.ready();
            place.due = true;
        }
    }

    /// One connection of each kind, in their order, gets its turn: at most one command. Packets go
    /// on between two turns, so they wait for one reply at most, however many clients there are.
    /// `true`: there is more to do, so poll without waiting.
    pub fn turn(&mut self, now: Mono, registry: &Registry, host: &mut dyn Host) -> bool {
        self.accept(now, registry, host);
        if let Some(n) = self.whose_turn(now) {
            self.next = (n + 1) % CONNS_MAX;
            self.serve(n, now, registry, host);
        }
        let more = self.whose_turn(now).is_some() || self.listeners.iter().any(|l| l.pending);
        match &mut self.tcp {
            Some(tcp) => tcp.turn(now, registry, host) || more,
            None => more,
        }
    }

    /// As many turns as there may be connections: everybody had one. For the end.
    pub fn round(&mut self, now: Mono, registry: &Registry, host: &mut dyn Host) {
        for _ in 0..CONNS_MAX + super::tcp::CONNS_MAX {
            if !self.turn(now, registry, host) {
                return;
            }
        }
    }

    fn whose_turn(&self, now: Mono) -> Option<usize> {
        let mut order = (0..CONNS_MAX).map(|n| (self.next + n) % CONNS_MAX);
        order.find(|n| match self.places.get(*n) {
            Some(Some(place)) => place.due || place.conn.deadline().is_some_and(|at| at <= now),
            _ => false,
        })
    }

    fn serve(&mut self, n: usize, now: Mono, registry: &Registry, host: &mut dyn Host) {
        let Some(slot) = self.places.get_mut(n) else {
            return;
        };
        let Some(place) = slot else { return };
        match place.conn.turn(now, host) {
            Turn::More => place.due = true,
            Turn::Wait => place.due = false,
            Turn::Closed => {
                // Closing the descriptor would do as well; nobody else has a copy.
                let fd = place.conn.stream().as_raw_fd();
                let _ = registry.deregister(&mut SourceFd(&fd));
                *slot = None;
            }
        }
    }

    /// When the next silent connection will be closed, by a turn.
    pub fn next_deadline(&self) -> Option<Mono> {
        let places = self.places.iter().flatten();
        places
            .filter_map(|place| place.conn.deadline())
            .chain(self.tcp.as_ref().and_then(Tcp::next_deadline))
            .min()
    }

    /// Tells those who asked with `monitor`: `key=value` pairs, values through [`Field`] where
    /// they may hold blanks. Sent by the next turn.
    ///
    /// [`Field`]: super::line::Field
    pub fn publish(&mut self, wall: UnixMs, class: Class, keys: fmt::Arguments<'_>) -> bool {
        let mut heard = false;
        for place in self.places.iter_mut().flatten() {
            let hears = place.conn.event(wall, class, keys);
            place.due |= hears;
            heard |= hears;
        }
        if let Some(tcp) = &mut self.tcp {
            heard |= tcp.publish(wall, class, keys);
        }
        heard
    }

    /// Somebody asked for this class.
    pub fn wants(&self, class: Class) -> bool {
        let mut places = self.places.iter().flatten();
        places.any(|place| place.conn.wants(class))
            || self.tcp.as_ref().is_some_and(|tcp| tcp.wants(class))
    }

    fn accept(&mut self, now: Mono, registry: &Registry, host: &dyn Host) {
        let mut left = ACCEPTS_PER_TURN;
        for listener in &mut self.listeners {
            while listener.pending && left > 0 {
                left -= 1;
                let stream = match listener.socket.accept() {
                    Ok((stream, _)) => stream,
                    Err(e) if e.raw_os_error() == Some(libc::EINTR) => continue,
                    Err(e) => {
                        // Out of descriptors, for instance: the next event brings another try.
                        if e.raw_os_error() != Some(libc::EAGAIN) {
                            complain("accept", &e);
                        }
                        listener.pending = false;
                        break;
                    }
                };
                if let Err(e) = stream.set_nonblocking(true) {
                    complain("use", &e);
                    continue;
                }
                let mut places = self.places.iter_mut().enumerate();
                let free = places.find(|(_, place)| place.is_none());
                let Some((n, slot)) = free else {
                    turn_away(&stream);
                    continue;
                };
                let token = Token(self.first + LISTENERS_MAX + n);
                let interest = Interest::READABLE | Interest::WRITABLE;
                let fd = stream.as_raw_fd();
                if let Err(e) = registry.register(&mut SourceFd(&fd), token, interest) {
                    complain("watch", &e);
                    continue;
                }
                let caller = identify(&stream, listener.read_only);
                *slot = Some(Box::new(Place {
                    conn: Conn::new(stream, caller, now, host),
                    due: true,
                }));
            }
        }
    }
}

#[cold]
#[inline(never)]
fn complain(what: &str, error: &io::Error) {
    let reason = os::Reason::of(error);
    log::warn!("control: cannot {what} a connection: {reason}");
}

fn turn_away(mut stream: &UnixStream) {
    // A fresh socket has room for this; if not, it is closed all the same.
    let text = format!("{} zt-ctl too many connections\n{END}\n", Code::Busy);
    let _ = io::Write::write(&mut stream, text.as_bytes());
}

/// Removes a socket on which nobody answers, or a link that leads nowhere.
fn remove_stale(path: &Path) -> Result<(), os::Error> {
    let in_use = os::Error {
        op: &"bind",
        errno: libc::EADDRINUSE,
    };
    let Err(error) = local::answers(path) else {
        return Err(in_use);
    };
    match error.errno {
        libc::EAGAIN => Err(in_use),
        libc::ENOENT if !file::is_link(path) => Ok(()),
        libc::ENOENT | libc::ECONNREFUSED => file::remove_cache(path).map(drop),
        _ => Err(error),
    }
}

fn identify(stream: &impl AsFd, read_only: bool) -> Caller {
    let (uid, pid) = credentials(stream);
    let own = nix::unistd::geteuid().as_raw();
    Caller {
        uid,
        pid,
        is_owner: uid.is_some_and(|uid| uid == 0 || uid == own),
        read_only,
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn credentials(stream: &impl AsFd) -> (Option<u32>, Option<i32>) {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    match getsockopt(stream, PeerCredentials) {
        Ok(peer) => (Some(peer.uid()), Some(peer.pid())),
        Err(_) => (None, None),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn credentials(stream: &impl AsFd) -> (Option<u32>, Option<i32>) {
    match nix::unistd::getpeereid(stream) {
        Ok((uid, _)) => (Some(uid.as_raw()), None),
        Err(_) => (None, None),
    }
}
