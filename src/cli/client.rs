//! The other end of the control socket: one request, one reply, waiting.

use core::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::service::control::line::{Code, END, Field, ROW_MAX, socket_path};

/// Longest silence within a reply.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest reply that is kept.
const REPLY_MAX_BYTES: usize = 16 << 20;

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// No socket in the home, and no sign that the service ever ran there.
    NoService,
    /// The socket is not for us.
    NotAllowed,
    /// Nobody answers at this path.
    Connection(PathBuf, &'static str),
    /// It answers, but not as it should.
    Protocol(&'static str),
}

impl Failure {
    fn from_io(path: &Path, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "timed out",
            _ => "connection failed",
        };
        Self::Connection(path.to_owned(), reason)
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
#[derive(Debug)]
pub(super) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    greeting: Reply,
}

impl Client {
    /// Connects and reads the greeting.
    pub(super) fn connect(home: &Path) -> Result<Self, Failure> {
        let path = socket_path(home);
        let stream = UnixStream::connect(&path).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::NotAllowed,
            io::ErrorKind::NotFound if !home.join(PORT_FILE).exists() => Failure::NoService,
            _ => Failure::from_io(&path, &error),
        })?;
        let mut client = Self {
            path,
            stream: BufReader::new(stream),
            greeting: Reply { rows: Vec::new() },
        };
        client.set_silence(Some(SILENCE_MAX))?;
        let greeting = client.reply()?;
        if greeting.is(Code::Banner) && greeting.first().contains(" zt-ctl/1 ") {
            client.greeting = greeting;
            Ok(client)
        } else if greeting.is(Code::Busy) {
            Err(Failure::Connection(client.path, "too many connections"))
        } else {
            Err(Failure::Protocol(
                "not a control socket that this program knows",
            ))
        }
    }

    /// What came so far, the greeting first, and the stream to go on with.
    pub(super) fn into_parts(self) -> (String, UnixStream) {
        let mut text = String::new();
        for row in &self.greeting.rows {
            text.push_str(row);
            text.push('\n');
        }
        text.push_str(END);
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(self.stream.buffer()));
        (text, self.stream.into_inner())
    }

    /// How long a line may be waited for.
    pub(super) fn set_silence(&mut self, longest: Option<Duration>) -> Result<(), Failure> {
        self.stream
            .get_ref()
            .set_read_timeout(longest)
            .map_err(|e| self.failure(&e))
    }

    /// Asks and waits for the whole reply.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<Reply, Failure> {
        self.send(false, words)?;
        self.reply()
    }

    /// Asks for JSON.
    pub(super) fn ask_json(&mut self, words: &[&str]) -> Result<Reply, Failure> {
        self.send(true, words)?;
        self.reply()
    }

    /// One line: an event, or a row of a reply. Empty at the end.
    pub(super) fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let mut source = (&mut self.stream).take(ROW_MAX as u64);
        if let Err(error) = source.read_until(b'\n', &mut line) {
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
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(|e| self.failure(&e))
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        loop {
            let row = self.line()?;
            match row.as_bytes() {
                [] => {
                    return Err(Failure::Connection(self.path.clone(), "connection failed"));
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
        Failure::from_io(&self.path, error)
    }
}

/// Written at every start of the service, and left when it stops.
const PORT_FILE: &str = "zerotier-one.port";
