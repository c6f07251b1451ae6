//! The other end of the control protocol: one request, one reply, waiting.
//!
//! By the socket of the home, else by TCP with the challenge, else, where a service of before
//! answers, by HTTP with the token (service 2).

use core::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

#[cfg(feature = "http-compat")]
use super::http::Old;
use super::target::{Target, Token};
use crate::os::entropy;
#[cfg(feature = "http-compat")]
use crate::os::tcp;
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

const STRANGER: Failure = Failure::Protocol("not a control socket that this program knows");

/// Where a service is to be.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Its socket.
    Socket(PathBuf),
    /// Its TCP port.
    Tcp(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{} can be contacted", path.display()),
            Self::Tcp(at) => {
                let (ip, port) = (at.ip(), at.port());
                write!(f, "TCP port {port} can be contacted via {ip}")
            }
        }
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// No socket in the home, and no sign that the service ever ran there.
    NoService,
    /// The socket is not for us, and neither is the token.
    NotAllowed,
    /// Nobody answers there.
    Connection(Place, &'static str),
    /// It answers, but not as it should.
    Protocol(&'static str),
}

impl Failure {
    fn from_io(place: &Place, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "timed out",
            _ => "connection failed",
        };
        Self::Connection(place.clone(), reason)
    }
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
        self.first().splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The fields of the rows behind the header, from the third word on.
    pub(super) fn table(&self) -> impl Iterator<Item = Vec<&str>> {
        self.rows
            .iter()
            .skip(1)
            .map(|row| row.split(' ').skip(2).collect())
    }

    /// The text behind a `json` row.
    pub(super) fn json(&self) -> String {
        self.rows.iter().skip(1).map(String::as_str).collect()
    }
}

/// A connection.
pub(super) struct Client {
    place: Place,
    link: Link,
    greeting: Reply,
}

enum Link {
    Control(BufReader<Stream>),
    /// A service that knows only HTTP.
    #[cfg(feature = "http-compat")]
    Http(Old),
}

/// What the control protocol is spoken over.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Client {
    /// Connects by the control socket, else by TCP; what is said is what the first of them said.
    pub(super) fn connect(target: &Target) -> Result<Self, Failure> {
        if target.is_by_tcp() {
            if !BY_TCP {
                return Err(Failure::Protocol("this build speaks by the socket only"));
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

    fn by_socket(target: &Target) -> Result<Self, Failure> {
        let path = socket_path(&target.home);
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::NotAllowed,
            io::ErrorKind::NotFound if !target.has_port_file() => Failure::NoService,
            _ => Failure::from_io(&Place::Socket(path.clone()), &error),
        })?;
        let mut client = Self {
            place: Place::Socket(path),
            link: Link::Control(BufReader::new(Stream::Unix(stream))),
            greeting: Reply { rows: Vec::new() },
        };
        client.set_silence(Some(SILENCE_MAX))?;
        let greeting = client.reply()?;
        if greeting.is(Code::Banner) && greeting.first().contains(" zt-ctl/1 ") {
            client.greeting = greeting;
            Ok(client)
        } else if greeting.is(Code::Busy) {
            Err(Failure::Connection(client.place, "too many connections"))
        } else {
            Err(STRANGER)
        }
    }

    fn by_tcp(target: &Target) -> Result<Self, Failure> {
        let at = target.address().ok_or(Failure::NoService)?;
        let token = target.token().ok_or(Failure::NotAllowed)?;
        let place = Place::Tcp(at);
        let failed = |error: io::Error| Failure::from_io(&place, &error);
        let stream = TcpStream::connect_timeout(&at, CONNECT_MAX).map_err(failed)?;
        // A request is one write, and the next is made only of its answer.
        stream.set_nodelay(true).map_err(failed)?;
        stream
            .set_write_timeout(Some(SILENCE_MAX))
            .map_err(failed)?;
        let mut client = Self {
            place: Place::Tcp(at),
            link: Link::Control(BufReader::new(Stream::Tcp(stream))),
            greeting: Reply { rows: Vec::new() },
        };
        client.set_silence(Some(CONNECT_MAX))?;
        client.send(false, &["hello", &MAJOR.to_string()])?;
        let nonce = match client.line() {
            Ok(line) if line.starts_with(&Code::Busy.to_string()) => {
                return Err(Failure::Connection(client.place, "too many connections"));
            }
            Ok(line) => match line.strip_prefix("401 zt-ctl/1 kmac256 ").and_then(unhex) {
                Some(nonce) => nonce,
                None if line.is_empty() || line.starts_with("HTTP/") => {
                    return Self::by_http(target, token, client.place, at);
                }
                None => return Err(STRANGER),
            },
            Err(_) => return Self::by_http(target, token, client.place, at),
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
        let entropy = |_| Failure::Protocol("no randomness");
        let own: Nonce = entropy::seed().map_err(entropy)?;
        let proof_of = |side| proof(token.text.as_bytes(), side, server, &own);
        let reply = self.ask(&["auth", &hex(&proof_of(Side::Client)), &hex(&own)])?;
        if reply.is(Code::SlowDown) {
            return Err(Failure::Protocol("too many tries, wait a second"));
        }
        if !reply.is_ok() {
            return Err(Failure::Protocol("the token is wrong"));
        }
        let theirs = reply.text().strip_prefix("OK ").and_then(unhex);
        let same = theirs.is_some_and(|theirs| theirs.ct_eq(&proof_of(Side::Server)).into());
        if !same {
            return Err(Failure::Protocol("whoever answers does not know the token"));
        }
        self.greeting = reply;
        Ok(())
    }

    /// A service of before. It is sent the token, so it must be who it should be: not just anybody
    /// who listens there, unless the user named the place.
    #[cfg(feature = "http-compat")]
    fn by_http(
        target: &Target,
        token: Token,
        place: Place,
        at: SocketAddr,
    ) -> Result<Self, Failure> {
        let is_named = target.ip.is_some() || target.port.is_some() || target.token.is_some();
        let is_trusted = match tcp::owner_of_listener(at) {
            Some(uid) => uid == 0 || Some(uid) == token.owner,
            None => false,
        };
        if !is_named && !is_trusted {
            return Err(STRANGER);
        }
        Ok(Self {
            place,
            link: Link::Http(Old {
                at,
                token: token.text,
            }),
            greeting: Reply { rows: Vec::new() },
        })
    }

    #[cfg(not(feature = "http-compat"))]
    fn by_http(_: &Target, _: Token, _: Place, _: SocketAddr) -> Result<Self, Failure> {
        Err(STRANGER)
    }

    /// What came so far, the greeting first, and the stream to go on with.
    pub(super) fn into_parts(self) -> Result<(String, Stream), Failure> {
        let mut text = String::new();
        for row in &self.greeting.rows {
            text.push_str(row);
            text.push('\n');
        }
        text.push_str(END);
        text.push('\n');
        match self.link {
            Link::Control(stream) => {
                text.push_str(&String::from_utf8_lossy(stream.buffer()));
                Ok((text, stream.into_inner()))
            }
            #[cfg(feature = "http-compat")]
            Link::Http(_) => Err(Failure::Protocol("this service knows only HTTP")),
        }
    }

    /// How long a line may be waited for.
    pub(super) fn set_silence(&mut self, longest: Option<Duration>) -> Result<(), Failure> {
        let set = match &self.link {
            Link::Control(stream) => match stream.get_ref() {
                Stream::Unix(stream) => stream.set_read_timeout(longest),
                Stream::Tcp(stream) => stream.set_read_timeout(longest),
            },
            #[cfg(feature = "http-compat")]
            Link::Http(_) => Ok(()),
        };
        set.map_err(|e| self.failure(&e))
    }

    /// Asks and waits for the whole reply.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Reply, Failure> {
        self.exchange(false, words)
    }

    /// Asks for JSON.
    pub(super) fn ask_json(&mut self, words: &[&str]) -> Result<Reply, Failure> {
        self.exchange(true, words)
    }

    fn exchange(&mut self, json: bool, words: &[&str]) -> Result<Reply, Failure> {
        #[cfg(feature = "http-compat")]
        if let Link::Http(old) = &self.link {
            return old.ask(json, words).map_err(|e| self.failure(&e));
        }
        self.send(json, words)?;
        self.reply()
    }

    /// One line: an event, or a row of a reply. Empty at the end.
    pub(super) fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let read = match &mut self.link {
            Link::Control(stream) => stream.take(ROW_MAX as u64).read_until(b'\n', &mut line),
            #[cfg(feature = "http-compat")]
            Link::Http(_) => {
                Old::pause();
                return Ok("!".into());
            }
        };
        if let Err(error) = read {
            return Err(self.failure(&error));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if !line.is_empty() {
            return Err(Failure::Protocol("cut or overlong line"));
        } else {
            return Ok(String::new());
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn send(&mut self, json: bool, words: &[&str]) -> Result<(), Failure> {
        struct Words<'a>(&'a [&'a str]);
        impl fmt::Display for Words<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (n, word) in self.0.iter().enumerate() {
                    let blank = if n > 0 { " " } else { "" };
                    write!(f, "{blank}{}", Field(word))?;
                }
                Ok(())
            }
        }
        let switch = if json { "-j " } else { "" };
        let line = format!("{switch}{}\n", Words(words));
        let sent = match &mut self.link {
            Link::Control(stream) => stream.get_mut().write_all(line.as_bytes()),
            #[cfg(feature = "http-compat")]
            Link::Http(_) => Ok(()),
        };
        sent.map_err(|e| self.failure(&e))
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        loop {
            let row = self.line()?;
            match row.as_bytes() {
                [] => {
                    return Err(Failure::Connection(self.place.clone(), "connection failed"));
                }
                row if row == END.as_bytes() => return Ok(Reply { rows }),
                // An event between two replies.
                [b'!', ..] => {}
                _ => {
                    bytes += row.len();
                    if bytes > REPLY_MAX_BYTES {
                        return Err(Failure::Protocol("reply too long"));
                    }
                    rows.push(row);
                }
            }
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::from_io(&self.place, error)
    }
}

impl Stream {
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(true),
            Self::Tcp(stream) => stream.set_nonblocking(true),
        }
    }

    /// Says that nothing more is asked.
    pub(super) fn end(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
