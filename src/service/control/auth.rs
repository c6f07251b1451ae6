//! Who may command over TCP: the token, shown by a challenge without being sent (service 6.5).
//!
//! The client speaks first. HTTP clients do, so a greeting of ours would stand in front of their
//! answer; and what comes first tells the two apart at once, without a delay. `hello 1` or an
//! empty line will do; the greeting with the server's nonce follows, then replies.
//!
//! Bounds before success: [`LINE_MAX`] bytes a line, [`PATIENCE_MS`] in all, one attempt per
//! nonce and connection, [`ATTEMPTS_PER_S`] failures a second by everybody together: above that
//! nobody is let in by TCP, and the Unix socket remains.

use core::fmt;
use std::io::{Read, Write};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::commands::Caller;
use super::conn::Conn;
use super::line::{self, Code, END, Hex};
use super::stream::Stream;
use crate::base::Mono;
use crate::base::gate::{Bucket, Once};
use crate::crypto::kmac::{self, kmac256};
use crate::service::log;

/// Longest line of somebody unknown, its LF included.
pub const LINE_MAX: usize = 256;
/// From the connection to the proof.
pub const PATIENCE_MS: u64 = 10_000;
/// Failed attempts a second, all connections together.
pub const ATTEMPTS_PER_S: u32 = 5;

/// Of somebody who tries tokens, one line of log in this time.
const LOG_INTERVAL_MS: u64 = 60_000;
/// A greeting and a reply.
const OUTPUT_BYTES: usize = 512;

/// A random number that serves once.
pub type Nonce = [u8; 32];

/// Which end proves that it knows the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Who connected.
    Client,
    /// Who was connected to.
    Server,
}

/// What one side sends to show that it knows the token.
pub fn proof(token: &[u8], side: Side, server: &Nonce, client: &Nonce) -> [u8; kmac::LEN] {
    let side: &[u8] = match side {
        Side::Client => b"C",
        Side::Server => b"S",
    };
    kmac256(token, b"zt-ctl/1", &[side, server, client])
}

/// Lower-case hex of 32 bytes.
pub fn hex(bytes: &[u8; 32]) -> String {
    Hex(bytes).to_string()
}

/// 32 bytes from 64 hex digits.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let pairs = text.as_bytes().chunks(2);
    if text.len() != 2 * out.len() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(pairs) {
        *byte = line::hex_pair(pair)?;
    }
    Some(out)
}

/// The tokens, and how often somebody may try one.
pub struct Guard {
    token: Zeroizing<String>,
    metrics_token: Option<Zeroizing<String>>,
    attempts: Bucket,
    failed: u64,
    log: Once,
}

impl Guard {
    /// `token` opens everything, `metrics_token` only the figures; without one HTTP has none.
    pub fn new(token: Zeroizing<String>, metrics_token: Option<Zeroizing<String>>) -> Self {
        Self {
            token,
            metrics_token,
            attempts: Bucket::new(ATTEMPTS_PER_S, 1000 / ATTEMPTS_PER_S),
            failed: 0,
            log: Once::new(),
        }
    }

    /// HTTP shows figures.
    pub fn has_metrics(&self) -> bool {
        self.metrics_token.is_some()
    }

    /// One more attempt is allowed at present.
    pub fn admit(&mut self, now: Mono) -> bool {
        self.attempts.pass(now)
    }

    /// This is the token. Takes the same time wherever it differs.
    pub fn is_token(&self, text: &[u8]) -> bool {
        same(self.token.as_bytes(), text)
    }

    /// This is the token that opens the figures alone.
    pub fn is_metrics_token(&self, text: &[u8]) -> bool {
        let token = self.metrics_token.as_ref();
        token.is_some_and(|token| same(token.as_bytes(), text))
    }

    /// Somebody did not know the token.
    pub fn failed(&mut self, now: Mono) {
        self.failed = self.failed.saturating_add(1);
        if self.log.pass(now, LOG_INTERVAL_MS) {
            log::warn!("control: wrong token over TCP ({} so far)", self.failed);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

fn same(token: &[u8], text: &[u8]) -> bool {
    // An empty token would open the door to everybody.
    !token.is_empty() && bool::from(token.ct_eq(text))
}

/// A connection whose client has not shown yet that it knows the token. `len` ≤ [`LINE_MAX`].
#[derive(Debug)]
pub struct Challenge<S> {
    stream: Stream<S>,
    input: [u8; LINE_MAX],
    len: usize,
    output: Vec<u8>,
    nonce: Nonce,
    greeted: bool,
    end: Option<End>,
    until: Mono,
}

/// What comes when the last reply is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Passed,
    Refused,
}

/// What a turn led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There is more to do at once.
    More,
    /// Nothing to do until the stream is ready again.
    Wait,
    /// To be dropped.
    Closed,
    /// The token is known: go on with [`Challenge::into_conn`].
    Passed,
}

impl<S: Read + Write> Challenge<S> {
    /// `nonce` must be new and unguessable.
    pub fn new(stream: S, nonce: Nonce, now: Mono) -> Self {
        Self {
            stream: Stream::new(stream),
            input: [0; LINE_MAX],
            len: 0,
            output: Vec::with_capacity(OUTPUT_BYTES),
            nonce,
            greeted: false,
            end: None,
            until: now.after(PATIENCE_MS),
        }
    }

    /// The stream may be read or written again.
    pub fn ready(&mut self) {
        self.stream.ready();
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream.inner
    }

    /// The stream, for a proper end.
    pub fn into_stream(self) -> S {
        self.stream.inner
    }

    /// When it will have lasted too long.
    pub fn deadline(&self) -> Mono {
        self.until
    }

    /// The connection behind it, with what was already sent.
    pub fn into_conn(self, now: Mono) -> Conn<S> {
        let caller = Caller {
            uid: None,
            pid: None,
            // The token is a file of the owner.
            is_owner: true,
            read_only: false,
        };
        let rest = self.input.get(..self.len).unwrap_or_default();
        Conn::admitted(self.stream, caller, now, rest)
    }

    /// Reads, answers at most one line, writes. Never waits.
    pub fn turn(&mut self, now: Mono, guard: &mut Guard) -> Step {
        if self.until <= now {
            return Step::Closed;
        }
        if self.end.is_none() && self.stream.fill(&mut self.input, &mut self.len).is_err() {
            return Step::Closed;
        }
        if self.end.is_none() && self.output.is_empty() {
            self.line(now, guard);
        }
        let mut sent = 0;
        if self.stream.flush(&self.output, &mut sent).is_err() {
            return Step::Closed;
        }
        self.output.drain(..sent);
        match self.end {
            _ if !self.output.is_empty() => Step::Wait,
            Some(End::Passed) => Step::Passed,
            Some(End::Refused) => Step::Closed,
            None if self.line_end().is_some() => Step::More,
            None if self.stream.has_ended() => Step::Closed,
            None => Step::Wait,
        }
    }

    /// Where the first line ends, or how much of an endless one there is.
    fn line_end(&self) -> Option<usize> {
        let input = self.input.get(..self.len).unwrap_or_default();
        let end = input.iter().position(|b| *b == b'\n');
        end.or_else(|| (self.len == LINE_MAX).then_some(LINE_MAX))
    }

    /// Answers the line at the front, if there is one.
    fn line(&mut self, now: Mono, guard: &mut Guard) {
        let Some(end) = self.line_end() else { return };
        self.greet();
        if end == LINE_MAX {
            self.refuse(Code::TooLong, "-", &"line too long");
            return;
        }
        let mut line = self.input;
        self.input.copy_within(end + 1..self.len, 0);
        self.len -= end + 1;
        match line::parse(line.get_mut(..end).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(request)) => self.answer(&request, now, guard),
            Err(bad) => self.refuse(Code::BadArguments, "-", &bad),
        }
    }

    fn answer(&mut self, request: &line::Request<'_>, now: Mono, guard: &mut Guard) {
        match (request.command, request.args()) {
            ("hello", [major]) => {
                let code = match major.parse() {
                    Ok(line::MAJOR) => Code::Ok,
                    _ => Code::Version,
                };
                self.reply(code, "hello", &line::MAJOR);
            }
            ("auth", [proof, nonce]) => self.attempt(proof, nonce, now, guard),
            ("auth", _) => self.refuse(Code::BadArguments, "auth", &"proof or nonce missing"),
            (command, _) => self.refuse(Code::NotAllowed, command, &"not authenticated"),
        }
    }

    fn attempt(&mut self, sent: &str, nonce: &str, now: Mono, guard: &mut Guard) {
        if !guard.admit(now) {
            self.refuse(Code::SlowDown, "auth", &"slow down");
            return;
        }
        let (Some(sent), Some(client)) = (unhex(sent), unhex(nonce)) else {
            self.refuse(Code::BadArguments, "auth", &"64 hex digits each");
            return;
        };
        let token = guard.token.as_bytes();
        let wanted = proof(token, Side::Client, &self.nonce, &client);
        if token.is_empty() || !bool::from(wanted.ct_eq(&sent)) {
            guard.failed(now);
            self.refuse(Code::NotAllowed, "auth", &"failed");
            return;
        }
        guard.attempts.give_back();
        let own = proof(token, Side::Server, &self.nonce, &client);
        self.reply(Code::Ok, "auth", &format_args!("OK {}", Hex(&own)));
        self.end = Some(End::Passed);
    }

    fn greet(&mut self) {
        if !self.greeted {
            self.greeted = true;
            let nonce = self.nonce;
            let major = format!("zt-ctl/{}", line::MAJOR);
            let text = format_args!("kmac256 {}", Hex(&nonce));
            self.reply(Code::NotAllowed, &major, &text);
        }
    }

    #[inline(never)]
    fn reply(&mut self, code: Code, command: &str, text: &dyn fmt::Display) {
        let text = format!("{code} {command} {text}\n{END}\n");
        self.output.extend_from_slice(text.as_bytes());
    }

    fn refuse(&mut self, code: Code, command: &str, text: &dyn fmt::Display) {
        self.reply(code, command, text);
        self.end = Some(End::Refused);
    }
}
