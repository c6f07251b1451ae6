//! One connection, one request, one answer.
//!
//! Works over any stream that answers `EAGAIN`. Bounds: a request within
//! [`REQUEST_MS`], an answer taken within [`ANSWER_MS`], input as in [`super::request`], output
//! [`OUTPUT_BYTES`] at a time and one such piece a turn. Whoever does not read waits alone.

use std::io::{Read, Write};

use zeroize::Zeroizing;

use super::request::{self, BODY_MAX, HEADERS_MAX, LINE_MAX, Method};
use super::routes::{self, Answer, Body};
use crate::base::Mono;
use crate::service::control::Host;
use crate::service::control::auth::Guard;
use crate::service::control::conn::Turn;
use crate::service::control::lists_json::JsonList;
#[cfg(feature = "metrics")]
use crate::service::control::metrics::Metrics;
use crate::service::control::stream::Stream;

/// From the connection to the end of its request.
pub const REQUEST_MS: u64 = 5_000;
/// From the request to the last byte of its answer.
pub const ANSWER_MS: u64 = 30_000;
/// Bytes of an answer not yet taken. Up to so many it has a `Content-Length`, else it goes in
/// chunks.
pub const OUTPUT_BYTES: usize = 16 * 1024;

const INPUT_BYTES: usize = LINE_MAX + HEADERS_MAX + BODY_MAX;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Of a chunk: its length in front and the ends of both.
const CHUNK_ROOM: usize = 16;
const HEAD_ROOM: usize = 256;

const JSON: &str = "application/json";
const SCRIPT: &str = "application/javascript";
#[cfg(feature = "metrics")]
const TEXT: &str = "text/plain";

/// A connection. `len` ≤ [`INPUT_BYTES`], `sent` ≤ `output.len()`.
#[derive(Debug)]
pub struct Conn<S> {
    stream: Stream<S>,
    /// Holds the token of a request.
    input: Zeroizing<Box<[u8]>>,
    len: usize,
    output: Vec<u8>,
    sent: usize,
    stage: Stage,
    until: Mono,
}

#[derive(Debug)]
enum Stage {
    /// The request is not there yet as a whole. `true`: it was told to go on.
    Request(bool),
    /// More of the answer is to come, in chunks or as it is.
    Answer { rest: Rest, chunks: bool },
    /// What is in the output is all.
    Last,
}

/// What is written as it is taken.
#[derive(Debug)]
enum Rest {
    /// JSON, and what stands behind it.
    Json(JsonList, &'static str),
    #[cfg(feature = "metrics")]
    Metrics(Metrics),
}

impl Rest {
    /// Appends about as much as makes `max` bytes. `false`: that was all of it.
    fn read(&mut self, host: &dyn Host, out: &mut Vec<u8>, max: usize) -> bool {
        match self {
            Self::Json(json, tail) => {
                let more = json.read(host, out, max);
                if !more {
                    out.extend_from_slice(tail.as_bytes());
                }
                more
            }
            #[cfg(feature = "metrics")]
            Self::Metrics(metrics) => metrics.read(host, out, max),
        }
    }
}

impl<S: Read + Write> Conn<S> {
    /// Taken as readable and writable until the stream says otherwise.
    pub fn new(stream: S, now: Mono) -> Self {
        Self {
            stream: Stream::new(stream),
            input: Zeroizing::new(vec![0; INPUT_BYTES].into_boxed_slice()),
            len: 0,
            output: Vec::with_capacity(OUTPUT_BYTES + CHUNK_ROOM),
            sent: 0,
            stage: Stage::Request(false),
            until: now.after(REQUEST_MS),
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

    /// Nothing has been asked for yet.
    pub fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Request(_))
    }

    /// Reads, answers, writes. Never waits.
    pub fn turn(&mut self, now: Mono, host: &mut dyn Host, guard: &mut Guard) -> Turn {
        if self.until <= now {
            return Turn::Closed;
        }
        if self.is_waiting() {
            if self.stream.fill(&mut self.input, &mut self.len).is_err() {
                return Turn::Closed;
            }
            self.request(now, host, guard);
        } else if self.sent == self.output.len() {
            self.produce(host);
        }
        if self.stream.flush(&self.output, &mut self.sent).is_err() {
            return Turn::Closed;
        }
        if self.sent < self.output.len() {
            return Turn::Wait;
        }
        match self.stage {
            Stage::Request(_) if self.stream.has_ended() => Turn::Closed,
            Stage::Request(_) => Turn::Wait,
            Stage::Answer { .. } => Turn::More,
            Stage::Last => Turn::Closed,
        }
    }

    /// Answers the request if all of it is there.
    fn request(&mut self, now: Mono, host: &mut dyn Host, guard: &mut Guard) {
        let input = self.input.get(..self.len).unwrap_or_default();
        let request = match request::parse(input) {
            Ok(None) => return,
            Ok(Some(request)) => request,
            Err(bad) => {
                self.begin(&Reply::default(), bad.into(), now, host);
                return;
            }
        };
        let end = request.head_len + request.body_len;
        let Some(body) = input.get(request.head_len..end) else {
            if request.waits && matches!(self.stage, Stage::Request(false)) {
                self.stage = Stage::Request(true);
                self.output.extend_from_slice(CONTINUE);
            }
            return;
        };
        let (callback, answer) = match request.callback() {
            Ok(callback) => {
                let answer = routes::answer(&request, body, now, host, guard);
                (callback, answer)
            }
            Err(bad) => (None, bad.into()),
        };
        let reply = Reply {
            head_only: request.method == Method::Head,
            has_chunks: request.has_chunks,
            callback,
        };
        self.begin(&reply, answer, now, host);
    }

    /// Puts the first piece of an answer, or all of it, into the output.
    fn begin(&mut self, reply: &Reply, answer: Answer, now: Mono, host: &dyn Host) {
        self.until = now.after(ANSWER_MS);
        self.stage = Stage::Last;
        let mut body = Vec::new();
        let mut rest = None;
        let callback = reply.callback.as_deref();
        let tail = if callback.is_some() { ");" } else { "" };
        if let (Some(name), Body::Short(_) | Body::Json(_)) = (callback, &answer.body) {
            body.extend_from_slice(name.as_bytes());
            body.push(b'(');
        }
        let json = if callback.is_some() { SCRIPT } else { JSON };
        let kind = match answer.body {
            Body::Nothing => None,
            Body::Short(text) => {
                let text = match (&*text, callback) {
                    ("", Some(_)) => "null",
                    ("", None) => "{}",
                    (text, _) => text,
                };
                body.extend_from_slice(text.as_bytes());
                body.extend_from_slice(tail.as_bytes());
                Some(json)
            }
            Body::Json(list) => {
                rest = Some(Rest::Json(list, tail));
                Some(json)
            }
            #[cfg(feature = "metrics")]
            Body::Metrics(metrics) => {
                rest = Some(Rest::Metrics(metrics));
                Some(TEXT)
            }
        };
        // What fits is not kept for later.
        let max = OUTPUT_BYTES - HEAD_ROOM;
        rest = rest.and_then(|mut rest| rest.read(host, &mut body, max).then_some(rest));
        let chunks = rest.is_some() && reply.has_chunks;
        let length = rest.is_none().then_some(body.len());
        write_head(&mut self.output, answer.status, length, chunks, kind);
        if reply.head_only {
            return;
        }
        put(&mut self.output, &body, chunks);
        if let Some(rest) = rest {
            self.stage = Stage::Answer { rest, chunks };
        }
    }

    /// The next piece of an answer.
    fn produce(&mut self, host: &dyn Host) {
        let Stage::Answer { rest, chunks } = &mut self.stage else {
            return;
        };
        let chunks = *chunks;
        self.output.clear();
        self.sent = 0;
        let mut piece = Vec::with_capacity(OUTPUT_BYTES);
        let more = rest.read(host, &mut piece, OUTPUT_BYTES - CHUNK_ROOM);
        put(&mut self.output, &piece, chunks);
        if !more {
            if chunks {
                self.output.extend_from_slice(b"0\r\n\r\n");
            }
            self.stage = Stage::Last;
        }
    }
}

/// What the request says of the form of its answer.
#[derive(Debug, Default)]
struct Reply {
    head_only: bool,
    has_chunks: bool,
    callback: Option<String>,
}

fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    length: Option<usize>,
    chunks: bool,
    kind: Option<&str>,
) {
    let length = length.map(|length| length.to_string());
    let lines = [
        ("Connection", "close"),
        ("Content-Length", length.as_deref().unwrap_or_default()),
        ("Content-Type", kind.unwrap_or_default()),
        ("Transfer-Encoding", if chunks { "chunked" } else { "" }),
    ];
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in lines.into_iter().filter(|line| !line.1.is_empty()) {
        for part in [name, ": ", value, "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
}

fn put(out: &mut Vec<u8>, piece: &[u8], as_chunk: bool) {
    // A chunk of length 0 would be the end.
    if !as_chunk || piece.is_empty() {
        out.extend_from_slice(piece);
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        411 => "Length Required",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}
