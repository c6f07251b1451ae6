//! Lines of `zt-ctl/1`: requests, fields, codes, and where the socket is (service 6.1 to 6.4).
//!
//! A request line comes from anybody who may connect. Bounds: a line is at most [`LINE_MAX`]
//! bytes with its end, a command 16, arguments [`ARGS_MAX`]. Parsing works in the caller's
//! buffer and allocates nothing.

use core::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// Version of the protocol, raised with incompatible changes.
pub const MAJOR: u32 = 1;
/// Longest request, its LF included.
pub const LINE_MAX: usize = 1024;
/// Longest row of a reply, its LF included.
pub const ROW_MAX: usize = 4096;
/// Most arguments of a request.
pub const ARGS_MAX: usize = 16;
/// Ends a reply.
pub const END: &str = ".";

const COMMAND_MAX: usize = 16;
const JSON_SWITCH: &[u8] = b"-j";

/// Where the daemon keeps its state when nobody says.
#[cfg(any(target_os = "freebsd", target_os = "openbsd", target_os = "netbsd"))]
pub const DEFAULT_HOME: &str = "/var/db/zerotier-one";
/// Where the daemon keeps its state when nobody says.
#[cfg(target_os = "macos")]
pub const DEFAULT_HOME: &str = "/Library/Application Support/ZeroTier/One";
/// Where the daemon keeps its state when nobody says.
#[cfg(not(any(
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "netbsd",
    target_os = "macos"
)))]
pub const DEFAULT_HOME: &str = "/var/lib/zerotier-one";

const SOCKET_NAME: &str = "zerotier-one.sock";
const READ_ONLY_SOCKET_NAME: &str = "zerotier-one.ro.sock";
const SHORT_DIRECTORY: &str = "/var/run";

/// Bytes of `sun_path`, its terminator included.
const SUN_PATH_LEN: usize = if cfg!(target_os = "linux") { 108 } else { 104 };

/// The control socket of a home directory.
pub fn socket_path(home: &Path) -> PathBuf {
    fitting(home, SOCKET_NAME)
}

/// The socket for reading only.
pub fn read_only_socket_path(home: &Path) -> PathBuf {
    fitting(home, READ_ONLY_SOCKET_NAME)
}

fn fitting(home: &Path, name: &str) -> PathBuf {
    let path = home.join(name);
    if path.as_os_str().len() < SUN_PATH_LEN {
        path
    } else {
        Path::new(SHORT_DIRECTORY).join(name)
    }
}

/// The three digits that begin a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Code {
    /// Done.
    Ok = 200,
    /// The server's greeting.
    Banner = 220,
    /// Bad arguments.
    BadArguments = 400,
    /// Not authenticated, or not by this user.
    NotAllowed = 401,
    /// Not on the read-only socket.
    ReadOnly = 403,
    /// No such object.
    NotFound = 404,
    /// No such command.
    UnknownCommand = 405,
    /// In use by something else.
    Conflict = 409,
    /// Line too long.
    TooLong = 413,
    /// Slow down.
    SlowDown = 429,
    /// The system refused.
    Failed = 500,
    /// Not in this build.
    NotBuilt = 501,
    /// Too many connections, or stopping.
    Busy = 503,
    /// Version of the protocol not spoken.
    Version = 505,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&(*self as u16), f)
    }
}

/// Why a line is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadLine {
    /// No command, or with letters that are not allowed.
    Command,
    /// A control character, a broken escape, or not UTF-8.
    Argument,
    /// More than [`ARGS_MAX`].
    TooManyArguments,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "no such form of command",
            Self::Argument => "bad argument",
            Self::TooManyArguments => "too many arguments",
        })
    }
}

/// A request, in the buffer it came in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `-j` stood before the command.
    pub json: bool,
    /// 1 to 16 of `a-z`, digits and `-`.
    pub command: &'a str,
    args: [&'a str; ARGS_MAX],
    count: usize,
}

impl<'a> Request<'a> {
    /// The arguments, decoded: none is empty, none holds control characters.
    pub fn args(&self) -> &[&'a str] {
        self.args.get(..self.count).unwrap_or_default()
    }
}

/// Reads a line without its LF. `None`: an empty line, to be ignored.
///
/// Escapes are decoded in place, so the line is spent afterwards. Blanks in a row count as one:
/// people type these lines too.
pub fn parse(line: &mut [u8]) -> Result<Option<Request<'_>>, BadLine> {
    let len = match line.split_last() {
        Some((b'\r', rest)) => rest.len(),
        _ => line.len(),
    };
    let len = decode(line, len)?;
    let line: &[u8] = line.get(..len).unwrap_or_default();
    let mut request = Request {
        json: false,
        command: "",
        args: [""; ARGS_MAX],
        count: 0,
    };
    for word in line.split(|b| *b == BREAK) {
        if word.is_empty() {
            continue;
        }
        if !request.command.is_empty() {
            let slot = request.args.get_mut(request.count);
            let slot = slot.ok_or(BadLine::TooManyArguments)?;
            *slot = core::str::from_utf8(word).map_err(|_| BadLine::Argument)?;
            request.count += 1;
        } else if word == JSON_SWITCH && !request.json {
            request.json = true;
        } else {
            request.command = command(word).ok_or(BadLine::Command)?;
        }
    }
    match request.command {
        "" if request.json => Err(BadLine::Command),
        "" => Ok(None),
        _ => Ok(Some(request)),
    }
}

/// Stands between two words that are decoded: no word holds it.
const BREAK: u8 = 0;

/// Decodes the first `len` bytes in place, with a [`BREAK`] for each blank; how many they are.
fn decode(line: &mut [u8], len: usize) -> Result<usize, BadLine> {
    let (mut read, mut write) = (0, 0);
    while read < len {
        let byte = match line.get(read).copied().unwrap_or(b' ') {
            b' ' => BREAK,
            byte => {
                let digits = line.get(read + 1..len.min(read + 3));
                let byte = if byte == b'%' {
                    read += 2;
                    digits.and_then(hex_pair).ok_or(BadLine::Argument)?
                } else {
                    byte
                };
                // Controls could end a line in a file or in the log that shows an argument.
                if byte < b' ' || byte == 0x7f {
                    return Err(BadLine::Argument);
                }
                byte
            }
        };
        read += 1;
        // write < read, so nothing unread is lost.
        if let Some(slot) = line.get_mut(write) {
            *slot = byte;
        }
        write += 1;
    }
    Ok(write)
}

fn command(word: &[u8]) -> Option<&str> {
    let fits = !word.is_empty()
        && word.len() <= COMMAND_MAX
        && word
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    fits.then(|| core::str::from_utf8(word).ok()).flatten()
}

pub(in crate::service) fn hex_pair(digits: &[u8]) -> Option<u8> {
    let &[high, low] = digits else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Bytes in hex.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A field of a row: empty is `-`; blanks, percents and controls are escaped.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a>(pub &'a str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => return f.write_char('-'),
            // Else it would read as empty.
            "-" => return f.write_str("%2D"),
            _ => {}
        }
        for c in self.0.chars() {
            if c == ' ' || c == '%' || c.is_control() {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "%{byte:02X}")?;
                }
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// A field as it was before [`Field`]; what is not well escaped stands for itself.
pub fn unescape(field: &str) -> String {
    if field == "-" {
        return String::new();
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after.get(..2).and_then(hex_pair)) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
