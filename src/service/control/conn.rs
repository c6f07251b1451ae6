//! One connection: lines in, replies and events out (service 6.2, 6.8).
//!
//! Works over any stream that answers `EAGAIN`, so tests need no socket. Bounds: input
//! [`INPUT_BYTES`], output [`OUTPUT_BYTES`], one command a turn, one buffer of output a turn.
//! A reader that does not read stops its own reply and loses its own events; nobody waits for it.

use core::fmt;
use std::io::{Read, Write};

use super::buffer::Buffer;
use super::commands::{self, Caller, Next};
use super::events::{Class, Monitor};
use super::host::{Host, Refusal};
use super::line::{self, Code, END, LINE_MAX, ROW_MAX};
use super::lists::List;
use super::lists_json::JsonList;
use super::stream::{Broken, Stream};
use crate::base::{Mono, UnixMs};

/// Bytes of requests not yet looked at. Full: no more is read.
pub const INPUT_BYTES: usize = 4096;
/// Bytes of replies not yet taken. Full: lists wait, and no request is begun.
pub const OUTPUT_BYTES: usize = 16 * 1024;
/// A connection without `monitor` that is silent so long is closed.
pub const IDLE_MS: u64 = 300_000;

/// Room for any row and the end of its reply.
const ROOM: usize = ROW_MAX + END.len() + 1;

/// What a turn led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// There is more to do at once: give it another turn soon.
    More,
    /// Nothing to do until the stream is ready again.
    Wait,
    /// To be dropped.
    Closed,
}

/// The rest of a reply.
#[derive(Debug)]
enum Rest {
    Rows(List),
    Json(JsonList),
}

/// A connection. `input_len` ≤ [`INPUT_BYTES`].
#[derive(Debug)]
pub struct Conn<S> {
    stream: Stream<S>,
    caller: Caller,
    input: Box<[u8]>,
    input_len: usize,
    /// The line at work is too long: what comes up to its end is dropped.
    skipping: bool,
    output: Buffer,
    /// The reply at work; no event may stand inside it.
    reply: Option<Rest>,
    monitor: Option<Monitor>,
    closing: bool,
    last_active: Mono,
}

impl<S: Read + Write> Conn<S> {
    /// Greets. Taken as readable and writable until the stream says otherwise.
    pub fn new(stream: S, caller: Caller, now: Mono, host: &dyn Host) -> Self {
        let mut conn = Self::silent(Stream::new(stream), caller, now);
        conn.output.row(format_args!(
            "{} zt-ctl/{} {} {} {}",
            Code::Banner,
            line::MAJOR,
            crate::service::VERSION,
            host.info().identity.address,
            if caller.read_only { "ro" } else { "rw" },
        ));
        conn.end_reply();
        conn
    }

    /// Goes on where a challenge ended: greeted already, with `input` read.
    pub(super) fn admitted(stream: Stream<S>, caller: Caller, now: Mono, input: &[u8]) -> Self {
        let mut conn = Self::silent(stream, caller, now);
        conn.stream.ready();
        if let Some(front) = conn.input.get_mut(..input.len()) {
            front.copy_from_slice(input);
            conn.input_len = input.len();
        }
        conn
    }

    fn silent(stream: Stream<S>, caller: Caller, now: Mono) -> Self {
        Self {
            stream,
            caller,
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            input_len: 0,
            skipping: false,
            output: Buffer::new(OUTPUT_BYTES),
            reply: None,
            monitor: None,
            closing: false,
            last_active: now,
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

    /// Puts an event aside for the next turn, if this reader wants it. `true`: it does.
    pub fn event(&mut self, wall: UnixMs, class: Class, keys: core::fmt::Arguments<'_>) -> bool {
        match &mut self.monitor {
            Some(monitor) => monitor.push(wall, class, keys),
            None => false,
        }
    }

    /// This reader asked for events of this class.
    pub(super) fn wants(&self, class: Class) -> bool {
        self.monitor.as_ref().is_some_and(|m| m.classes.has(class))
    }

    /// When it will have been silent too long.
    pub fn deadline(&self) -> Option<Mono> {
        self.monitor
            .is_none()
            .then(|| self.last_active.after(IDLE_MS))
    }

    /// Reads, runs at most one command, writes. Never waits.
    pub fn turn(&mut self, now: Mono, host: &mut dyn Host) -> Turn {
        if self.deadline().is_some_and(|at| at <= now) {
            return Turn::Closed;
        }
        if self.fill(now).is_err() {
            return Turn::Closed;
        }
        self.command(host);
        self.produce(host);
        if self.flush(now).is_err() {
            return Turn::Closed;
        }
        if self.output.is_empty() && self.has_ended() {
            return Turn::Closed;
        }
        if self.has_work() {
            Turn::More
        } else {
            Turn::Wait
        }
    }

    fn has_ended(&self) -> bool {
        self.closing
            || self.stream.has_ended() && self.input_len == 0 && self.reply.is_none() && {
                // Events that were there before the end are still due.
                self.monitor.as_ref().is_none_or(Monitor::is_empty)
            }
    }

    fn has_work(&self) -> bool {
        let room = self.output.free() >= ROOM;
        let write = self.stream.is_writable() && !self.output.is_empty();
        let read = self.may_read() && self.input_len < INPUT_BYTES;
        let reply = self.reply.is_some() && room;
        let request = self.reply.is_none() && room && !self.closing && self.has_line();
        let events =
            self.reply.is_none() && room && self.monitor.as_ref().is_some_and(|m| !m.is_empty());
        write || read || reply || request || events
    }

    fn may_read(&self) -> bool {
        self.stream.is_readable() && !self.closing
    }

    fn has_line(&self) -> bool {
        // At the end of input what is left is looked at as well.
        self.line_end().is_some() || self.input_len > 0 && self.stream.has_ended()
    }

    fn line_end(&self) -> Option<usize> {
        let input = self.input.get(..self.input_len).unwrap_or_default();
        input.iter().position(|b| *b == b'\n')
    }

    fn fill(&mut self, now: Mono) -> Result<(), Broken> {
        let before = self.input_len;
        if !self.closing {
            self.stream.fill(&mut self.input, &mut self.input_len)?;
        }
        if self.input_len > before {
            self.last_active = now;
        }
        Ok(())
    }

    /// Takes one line off the input, if there is one and its reply has room.
    fn command(&mut self, host: &mut dyn Host) {
        while self.reply.is_none() && !self.closing && self.output.free() >= ROOM {
            let end = self.line_end();
            let used = end.map_or(self.input_len, |end| end + 1);
            if self.skipping {
                self.consume(used);
                self.skipping = end.is_none();
                if end.is_none() {
                    return;
                }
                continue;
            }
            let Some(end) = end else {
                self.unfinished_line();
                return;
            };
            let replied = if used > LINE_MAX {
                self.refuse(Code::TooLong, format_args!("line too long"));
                true
            } else {
                self.run(end, host)
            };
            self.consume(used);
            if replied {
                return;
            }
        }
    }

    fn unfinished_line(&mut self) {
        if self.input_len >= LINE_MAX {
            self.refuse(Code::TooLong, format_args!("line too long"));
            self.skipping = true;
            self.consume(self.input_len);
        } else if self.stream.has_ended() && self.input_len > 0 {
            // Perhaps cut short, so it may not be obeyed.
            self.refuse(Code::BadArguments, format_args!("line not ended"));
            self.consume(self.input_len);
        }
    }

    /// Runs the line that ends at `end`. `false`: it was empty.
    fn run(&mut self, end: usize, host: &mut dyn Host) -> bool {
        let line = self.input.get_mut(..end).unwrap_or_default();
        match line::parse(line) {
            Ok(None) => return false,
            Ok(Some(request)) => {
                let (caller, monitor) = (&self.caller, &mut self.monitor);
                match commands::run(&request, caller, host, monitor, &mut self.output) {
                    Next::Done => self.end_reply(),
                    Next::Rows(list) => self.reply = Some(Rest::Rows(list)),
                    Next::Json(list) => self.reply = Some(Rest::Json(list)),
                    Next::Close => {
                        self.end_reply();
                        self.closing = true;
                    }
                }
            }
            Err(bad) => {
                self.refuse(Code::BadArguments, format_args!("{bad}"));
            }
        }
        true
    }

    fn refuse(&mut self, code: Code, text: fmt::Arguments<'_>) {
        commands::refuse(&mut self.output, "-", &Refusal::new(code, text));
        self.end_reply();
    }

    fn end_reply(&mut self) {
        self.output.row(format_args!("{END}"));
    }

    fn consume(&mut self, used: usize) {
        self.input.copy_within(used..self.input_len, 0);
        self.input_len -= used;
    }

    /// Goes on with the reply while there is room; behind it, events.
    fn produce(&mut self, host: &dyn Host) {
        while let Some(rest) = &mut self.reply {
            if self.output.free() < ROOM {
                return;
            }
            let more = match rest {
                Rest::Rows(list) => list.next(host, &mut self.output),
                Rest::Json(list) => list.next(host, &mut self.output),
            };
            if !more {
                self.reply = None;
                self.end_reply();
            }
        }
        if let Some(monitor) = &mut self.monitor {
            monitor.drain_into(&mut self.output);
        }
    }

    fn flush(&mut self, now: Mono) -> Result<(), Broken> {
        let mut sent = 0;
        self.stream.flush(self.output.rest(), &mut sent)?;
        if sent > 0 {
            self.output.took(sent);
            self.last_active = now;
        }
        Ok(())
    }
}
