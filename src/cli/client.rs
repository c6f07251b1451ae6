//! The other end of the control protocol: one request, one reply, waiting.
//!
//! By the socket of the home, else by TCP with the challenge, else, where a service of before
//! answers, by HTTP with the token (service 2).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

#[cfg(feature = "http-compat")]
use super::http::Old;
use super::target::{Target, Token};
#[cfg(feature = "http-compat")]
use crate::os::tcp;
use crate::os::{entropy, local};
use crate::service::control::auth::{Nonce, Side, hex, proof, unhex};
use crate::service::control::line::{Code, END, Field, MAJOR, ROW_MAX, socket_path};

/// Longest silence within a reply.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a connection and the first word of the other end.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest reply that is kept.
pub(super) const REPLY_MAX_BYTES: usize = 16 << 20;

/// The challenge and its hash are in this build.
const BY_TCP: bool = cfg!(feature = "control-tcp");

const STRANGER: Failure = Failure::Protocol(&"not a control socket that this program knows");
const CUT: Failure = Failure::Protocol(&"cut or overlong line");

/// How a service is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By the socket of its home.
    Socket,
    /// By its TCP port.
    Tcp,
}

/// A text by one address, so that a [`Failure`] goes through registers.
pub(super) type Text = &'static &'static str;

/// Why a command ended before its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// No socket in the home, and no sign that the service ever ran there.
    NoService,
    /// The socket is not for us, and neither is the token.
    NotAllowed,
    /// Nobody answers there.
    Connection(Way, Text),
    /// It answers, but not as it should.
    Protocol(Text),
}

impl Way {
    #[cold]
    #[inline(never)]
    pub(super) fn failed(self, error: &io::Error) -> Failure {
        // What the library gave up by itself has no number.
        self.failed_for(error.raw_os_error().unwrap_or(libc::ETIMEDOUT))
    }

    fn failed_for(self, errno: i32) -> Failure {
        let reason = match errno {
            libc::EAGAIN | libc::ETIMEDOUT => &"timed out",
            _ => &"connection failed",
        };
        Failure::Connection(self, reason)
    }
}

/// Connects, and waits no longer than this for anything to be read. What it is of no longer
/// matters.
pub(super) fn connect_tcp(at: SocketAddr, longest: Duration) -> Result<UnixStream, Failure> {
    let connected = TcpStream::connect_timeout(&at, longest).and_then(|stream| {
        // A request is one write, and the next is made only of its answer.
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        stream.set_read_timeout(Some(longest))?;
        Ok(UnixStream::from(OwnedFd::from(stream)))
    });
    connected.map_err(|error| Way::Tcp.failed(&error))
}

/// A reply: its rows without the dot.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) rows: Vec<String>,
}

impl Reply {
    /// The first row.
    pub(super) fn first(&self) -> &str {
        self.rows.first().map_or("", String::as_str)
    }

    pub(super) fn is_ok(&self) -> bool {
        self.is(Code::Ok)
    }

    pub(super) fn is(&self, code: Code) -> bool {
        self.first().split(' ').next() == Some(&code.to_string())
    }

    /// What stands behind code and command in the first row.
    pub(super) fn text(&self) -> &str {
        text_of(self.first())
    }

    /// The fields of each row behind the header, from the third word on.
    pub(super) fn table(&self, each: &mut dyn FnMut(&[&str])) {
        for row in self.rows.iter().skip(1) {
            let fields: Vec<&str> = text_of(row).split(' ').collect();
            each(&fields);
        }
    }

    /// The text behind a `json` row.
    pub(super) fn json(&self) -> String {
        self.rows.iter().skip(1).map(String::as_str).collect()
    }
}

/// What stands behind code and command in a row.
pub(super) fn text_of(row: &str) -> &str {
    row.splitn(3, ' ').nth(2).unwrap_or_default()
}

/// A connection.
pub(super) struct Client {
    way: Way,
    link: Link,
    /// Read, and not yet looked at from `taken` on.
    input: Vec<u8>,
    taken: usize,
    greeting: Reply,
}

enum Link {
    /// A socket of any kind: what is done with it is the same for all.
    Control(UnixStream),
    /// A service that knows only HTTP.
    #[cfg(feature = "http-compat")]
    Http(Old),
}

impl Client {
    /// Connects by the control socket, else by TCP; what is said is what the first of them said.
    pub(super) fn connect(target: &Target) -> Result<Self, Failure> {
        if target.is_by_tcp() {
            if !BY_TCP {
                return Err(Failure::Protocol(&"this build speaks by the socket only"));
            }
            return Self::by_tcp(target);
        }
        let failure = match Self::by_socket(target) {
            Err(failure @ (Failure::NoService | Failure::NotAllowed | Failure::Connection(..))) => {
                failure
            }
            outcome => return outcome,
        };
        if !BY_TCP {
            return Err(failure);
        }
        match Self::by_tcp(target) {
            // Not even asked, or nobody there either.
            Err(Failure::NoService | Failure::NotAllowed | Failure::Connection(..)) => Err(failure),
            outcome => outcome,
        }
    }

    fn new(way: Way, link: Link) -> Self {
        Self {
            way,
            link,
            input: Vec::new(),
            taken: 0,
            greeting: Reply { rows: Vec::new() },
        }
    }

    fn by_socket(target: &Target) -> Result<Self, Failure> {
        let stream = local::connect(&socket_path(&target.home));
        let stream = stream.map_err(|error| match error.errno {
            libc::EPERM | libc::EACCES => Failure::NotAllowed,
            libc::ENOENT if !target.has_port_file() => Failure::NoService,
            errno => Way::Socket.failed_for(errno),
        })?;
        let mut client = Self::new(Way::Socket, Link::Control(stream));
        client.set_silence(Some(SILENCE_MAX))?;
        let greeting = client.reply()?;
        let protocol = greeting.first().split(' ').nth(1);
        if greeting.is(Code::Banner) && protocol == Some("zt-ctl/1") {
            client.greeting = greeting;
            Ok(client)
        } else if greeting.is(Code::Busy) {
            Err(Failure::Connection(client.way, &"too many connections"))
        } else {
            Err(STRANGER)
        }
    }

    fn by_tcp(target: &Target) -> Result<Self, Failure> {
        let at = target.address().ok_or(Failure::NoService)?;
        let token = target.token().ok_or(Failure::NotAllowed)?;
        let way = Way::Tcp;
        let stream = connect_tcp(at, CONNECT_MAX)?;
        let mut client = Self::new(way, Link::Control(stream));
        client.send(false, &["hello", &MAJOR.to_string()])?;
        let nonce = match client.line() {
            Ok(line) if line.starts_with(&Code::Busy.to_string()) => {
                return Err(Failure::Connection(way, &"too many connections"));
            }
            Ok(line) => match line.strip_prefix("401 zt-ctl/1 kmac256 ").and_then(unhex) {
                Some(nonce) => nonce,
                None if line.is_empty() || line.starts_with("HTTP/") => {
                    return Self::by_http(target, token, at);
                }
                None => return Err(STRANGER),
            },
            Err(_) => return Self::by_http(target, token, at),
        };
        client.set_silence(Some(SILENCE_MAX))?;
        client.reply()?;
        client.reply()?;
        client.authenticate(&token, &nonce)?;
        Ok(client)
    }

    /// Shows that we know the token, and sees that the service does: whoever took its port while
    /// it was down learns nothing and cannot pose as it.
    fn authenticate(&mut self, token: &Token, server: &Nonce) -> Result<(), Failure> {
        let entropy = |_| Failure::Protocol(&"no randomness");
        let own: Nonce = entropy::seed().map_err(entropy)?;
        let proof_of = |side| proof(token.text.as_bytes(), side, server, &own);
        let reply = self.ask(false, &["auth", &hex(&proof_of(Side::Client)), &hex(&own)])?;
        if reply.is(Code::SlowDown) {
            return Err(Failure::Protocol(&"too many tries, wait a second"));
        }
        if !reply.is_ok() {
            return Err(Failure::Protocol(&"the token is wrong"));
        }
        let theirs = reply.text().strip_prefix("OK ").and_then(unhex);
        let same = theirs.is_some_and(|theirs| theirs.ct_eq(&proof_of(Side::Server)).into());
        if !same {
            return Err(Failure::Protocol(
                &"whoever answers does not know the token",
            ));
        }
        self.greeting = reply;
        Ok(())
    }

    /// A service of before. It is sent the token, so it must be who it should be: not just anybody
    /// who listens there, unless the user named the place.
    #[cfg(feature = "http-compat")]
    fn by_http(target: &Target, token: Token, at: SocketAddr) -> Result<Self, Failure> {
        let is_named = target.ip.is_some() || target.port.is_some() || target.token.is_some();
        let is_trusted = match tcp::owner_of_listener(at) {
            Some(uid) => uid == 0 || Some(uid) == token.owner,
            None => false,
        };
        if !is_named && !is_trusted {
            return Err(STRANGER);
        }
        let token = token.text;
        Ok(Self::new(Way::Tcp, Link::Http(Old { at, token })))
    }

    #[cfg(not(feature = "http-compat"))]
    fn by_http(_: &Target, _: Token, _: SocketAddr) -> Result<Self, Failure> {
        Err(STRANGER)
    }

    /// What came so far, the greeting first, and the stream to go on with.
    pub(super) fn into_parts(self) -> Result<(Vec<u8>, UnixStream), Failure> {
        let mut greeting = self.greeting.rows;
        greeting.push(END.to_owned());
        let mut came = Vec::new();
        for row in greeting {
            came.extend_from_slice(row.as_bytes());
            came.push(b'\n');
        }
        match self.link {
            Link::Control(stream) => {
                came.extend_from_slice(self.input.get(self.taken..).unwrap_or_default());
                Ok((came, stream))
            }
            #[cfg(feature = "http-compat")]
            Link::Http(_) => Err(Failure::Protocol(&"this service knows only HTTP")),
        }
    }

    /// How long a line may be waited for.
    pub(super) fn set_silence(&mut self, longest: Option<Duration>) -> Result<(), Failure> {
        let set = match &self.link {
            Link::Control(stream) => stream.set_read_timeout(longest),
            #[cfg(feature = "http-compat")]
            Link::Http(_) => Ok(()),
        };
        set.map_err(|e| self.way.failed(&e))
    }

    /// Asks, for JSON or rows, and waits for the whole reply.
    pub(super) fn ask(&mut self, json: bool, words: &[&str]) -> Result<Reply, Failure> {
        #[cfg(feature = "http-compat")]
        if let Link::Http(old) = &self.link {
            return old.ask(json, words);
        }
        self.send(json, words)?;
        self.reply()
    }

    /// One line: an event, or a row of a reply. Empty at the end.
    pub(super) fn line(&mut self) -> Result<String, Failure> {
        #[cfg(feature = "http-compat")]
        if let Link::Http(_) = self.link {
            Old::pause();
            return Ok("!".into());
        }
        loop {
            let there = self.input.get(self.taken..).unwrap_or_default();
            if let Some(len) = there.iter().position(|b| *b == b'\n')
                && len < ROW_MAX
            {
                let line = there.get(..len).unwrap_or_default();
                let line = String::from_utf8_lossy(line).into_owned();
                self.taken += len + 1;
                return Ok(line);
            }
            if there.len() >= ROW_MAX {
                return Err(CUT);
            }
            let is_empty = there.is_empty();
            self.input.drain(..self.taken);
            self.taken = 0;
            let mut piece = [0; ROW_MAX];
            let read = match &mut self.link {
                Link::Control(stream) => stream.read(&mut piece),
                #[cfg(feature = "http-compat")]
                Link::Http(_) => Ok(0),
            };
            match read {
                Ok(0) if is_empty => return Ok(String::new()),
                Ok(0) => return Err(CUT),
                Ok(n) => self
                    .input
                    .extend_from_slice(piece.get(..n).unwrap_or_default()),
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                Err(e) => return Err(self.way.failed(&e)),
            }
        }
    }

    fn send(&mut self, json: bool, words: &[&str]) -> Result<(), Failure> {
        let mut line = String::new();
        let switch: &[&str] = if json { &["-j"] } else { &[] };
        for word in switch.iter().chain(words) {
            let blank = if line.is_empty() { "" } else { " " };
            line.push_str(blank);
            line.push_str(&Field(word).to_string());
        }
        line.push('\n');
        let sent = match &mut self.link {
            Link::Control(stream) => stream.write_all(line.as_bytes()),
            #[cfg(feature = "http-compat")]
            Link::Http(_) => Ok(()),
        };
        sent.map_err(|e| self.way.failed(&e))
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        loop {
            let row = self.line()?;
            match row.as_bytes() {
                [] => {
                    return Err(Failure::Connection(self.way, &"connection failed"));
                }
                row if row == END.as_bytes() => return Ok(Reply { rows }),
                // An event between two replies.
                [b'!', ..] => {}
                _ => {
                    bytes += row.len();
                    if bytes > REPLY_MAX_BYTES {
                        return Err(Failure::Protocol(&"reply too long"));
                    }
                    rows.push(row);
                }
            }
        }
    }
}
