//! The challenge that stands before the control protocol on TCP, and the port itself (service 6.1,
//! 6.5, 6.8).
#![cfg(feature = "os")]

mod fake_daemon;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use mio::{Events, Poll, Token};
use proptest::prelude::*;

use fake_daemon::{Fake, START, Stream};
use zt::base::{Mono, UnixMs};
use zt::service::control::auth::{
    ATTEMPTS_PER_S, Challenge, Guard, LINE_MAX, Nonce, PATIENCE_MS, Side, Step, hex, proof, unhex,
};
use zt::service::control::{Access, Class, Server, TCP_CONNS_MAX, TCP_CONTROL_MAX, TcpAccess};

const TOKEN: &str = "iemvv4h0ino7hh9xjcdntcva";

fn secret(text: &str) -> zeroize::Zeroizing<String> {
    text.to_owned().into()
}
const SERVER_NONCE: Nonce = [7; 32];
const CLIENT_NONCE: Nonce = [9; 32];

fn guard() -> Guard {
    Guard::new(secret(TOKEN), Some(secret("metrics")))
}

fn auth_line(token: &str, server: &Nonce, client: &Nonce) -> String {
    let proof = hex(&proof(token.as_bytes(), Side::Client, server, client));
    format!("auth {proof} {}\n", hex(client))
}

fn good() -> String {
    auth_line(TOKEN, &SERVER_NONCE, &CLIENT_NONCE)
}

struct Talk {
    challenge: Challenge<Stream>,
    stream: Stream,
    guard: Guard,
    now: Mono,
}

impl Talk {
    fn new() -> Self {
        let stream = Stream::default();
        stream.0.borrow_mut().window = usize::MAX;
        Self {
            challenge: Challenge::new(stream.clone(), SERVER_NONCE, START),
            stream,
            guard: guard(),
            now: START,
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> Step {
        self.stream.0.borrow_mut().incoming.extend(bytes.as_ref());
        self.run()
    }

    fn run(&mut self) -> Step {
        self.challenge.ready();
        loop {
            match self.challenge.turn(self.now, &mut self.guard) {
                Step::More => {}
                step => return step,
            }
        }
    }

    fn received(&self) -> String {
        let bytes = std::mem::take(&mut self.stream.0.borrow_mut().outgoing);
        String::from_utf8(bytes).unwrap()
    }
}

fn greeting() -> String {
    format!("401 zt-ctl/1 kmac256 {}\n.\n", hex(&SERVER_NONCE))
}

#[test]
fn the_server_is_silent_until_it_is_spoken_to() {
    let mut talk = Talk::new();
    assert_eq!(talk.run(), Step::Wait);
    assert_eq!(talk.received(), "");
    assert_eq!(talk.send("\n"), Step::Wait);
    assert_eq!(talk.received(), greeting());
    assert_eq!(talk.send("hello 1\nhello 2\n"), Step::Wait);
    assert_eq!(talk.received(), "200 hello 1\n.\n505 hello 1\n.\n");
}

#[test]
fn who_knows_the_token_passes_and_learns_that_the_server_knows_it_too() {
    let mut talk = Talk::new();
    talk.send("hello 1\n");
    talk.received();
    assert_eq!(talk.send(good() + "get x\nin"), Step::Passed);
    let own = proof(TOKEN.as_bytes(), Side::Server, &SERVER_NONCE, &CLIENT_NONCE);
    assert_eq!(talk.received(), format!("200 auth OK {}\n.\n", hex(&own)));
    // What was sent behind it is not lost, and it goes on with all rights.
    let mut host = Fake::new();
    let mut conn = talk.challenge.into_conn(START);
    talk.stream.0.borrow_mut().incoming.extend(b"fo\nstop\n");
    while conn.turn(START, &mut host) == zt::service::control::conn::Turn::More {}
    let bytes = std::mem::take(&mut talk.stream.0.borrow_mut().outgoing);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("400 get "), "{text}");
    assert!(text.contains("\n.\n200 info 3c9439e96a "), "{text}");
    assert!(text.ends_with("200 stop OK\n.\n"), "{text}");
    assert_eq!(host.told, ["stop"]);
}

#[test]
fn a_known_answer_of_another_implementation() {
    // KMAC256 by pycryptodome 4.4.0; its keys are at least 32 bytes long.
    let server: Nonce = core::array::from_fn(|n| n as u8);
    let client: Nonce = core::array::from_fn(|n| n as u8 + 32);
    let token = b"0123456789abcdefghijklmnopqrstuvwxyz";
    assert_eq!(
        hex(&proof(token, Side::Client, &server, &client)),
        "286c6824406b1ba2f89c1671d188acd4796f1a64adddb65f280e671e294476f1"
    );
}

#[test]
fn whatever_is_wrong_ends_it_and_a_nonce_serves_once() {
    let swap = |side| {
        let proof = hex(&proof(TOKEN.as_bytes(), side, &SERVER_NONCE, &CLIENT_NONCE));
        format!("auth {proof} {}\n", hex(&CLIENT_NONCE))
    };
    let mut upper = good();
    upper.replace_range(5..6, if &upper[5..6] == "0" { "1" } else { "0" });
    for (line, reply) in [
        (
            auth_line("other", &SERVER_NONCE, &CLIENT_NONCE),
            "401 auth failed",
        ),
        // Of another connection.
        (auth_line(TOKEN, &[8; 32], &CLIENT_NONCE), "401 auth failed"),
        // The server's own proof, sent back.
        (swap(Side::Server), "401 auth failed"),
        (upper, "401 auth failed"),
        ("auth\n".into(), "400 auth proof or nonce missing"),
        ("auth 00 00\n".into(), "400 auth 64 hex digits each"),
        ("info\n".into(), "401 info not authenticated"),
        ("-j stop\n".into(), "401 stop not authenticated"),
        ("x\u{1}\n".into(), "400 - "),
        ("a".repeat(LINE_MAX), "413 - line too long"),
    ] {
        let mut talk = Talk::new();
        assert_eq!(talk.send(&line), Step::Closed, "{line:?}");
        let text = talk.received();
        let text = text.strip_prefix(&greeting()).expect("a greeting");
        assert!(text.starts_with(reply), "{line:?}: {text}");
        // Nothing gets a second chance.
        assert_eq!(talk.send(good()), Step::Closed);
        assert_eq!(talk.received(), "");
    }
}

#[test]
fn an_empty_token_opens_nothing() {
    let mut talk = Talk::new();
    talk.guard = Guard::new(secret(""), None);
    let line = auth_line("", &SERVER_NONCE, &CLIENT_NONCE);
    assert_eq!(talk.send(line), Step::Closed);
    assert!(talk.received().ends_with("401 auth failed\n.\n"));
    assert!(!talk.guard.is_token(b"") && !talk.guard.is_metrics_token(b""));
}

#[test]
fn failures_are_counted_for_all_together() {
    let mut guard = guard();
    let mut attempt = |now: Mono, token: &str| {
        let mut talk = Talk::new();
        std::mem::swap(&mut talk.guard, &mut guard);
        (talk.challenge, talk.now) = (Challenge::new(talk.stream.clone(), SERVER_NONCE, now), now);
        let step = talk.send(auth_line(token, &SERVER_NONCE, &CLIENT_NONCE));
        std::mem::swap(&mut talk.guard, &mut guard);
        let text = talk.received();
        let reply = text.strip_prefix(&greeting()).expect("a greeting");
        (step, reply.split(' ').next().map(str::to_owned).unwrap())
    };
    // A script that runs the CLI a hundred times is no attack.
    for _ in 0..100 {
        assert_eq!(attempt(START, TOKEN), (Step::Passed, "200".into()));
    }
    for _ in 0..ATTEMPTS_PER_S {
        assert_eq!(attempt(START, "other"), (Step::Closed, "401".into()));
    }
    assert_eq!(attempt(START, "other"), (Step::Closed, "429".into()));
    assert_eq!(attempt(START, TOKEN), (Step::Closed, "429".into()));
    let later = START.after(1000 / u64::from(ATTEMPTS_PER_S));
    assert_eq!(attempt(later, TOKEN), (Step::Passed, "200".into()));
}

#[test]
fn patience_ends() {
    let mut talk = Talk::new();
    talk.now = START.after(PATIENCE_MS - 1);
    assert_eq!(talk.send("hello 1\n"), Step::Wait);
    talk.now = START.after(PATIENCE_MS);
    assert_eq!(talk.challenge.deadline(), talk.now);
    assert_eq!(talk.send(good()), Step::Closed);
}

#[test]
fn who_does_not_read_gets_no_second_answer() {
    let mut talk = Talk::new();
    talk.stream.0.borrow_mut().window = 10;
    assert_eq!(talk.send("hello 1\n".repeat(100)), Step::Wait);
    assert_eq!(talk.received().len(), 10);
    talk.stream.0.borrow_mut().window = usize::MAX;
    assert_eq!(talk.run(), Step::Wait);
    let text = talk.received();
    assert_eq!(text.matches("200 hello 1\n.\n").count(), 100);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 1..40_usize) {
        let mut talk = Talk::new();
        for part in bytes.chunks(cut) {
            if talk.send(part) != Step::Wait {
                break;
            }
        }
        let text = talk.received();
        prop_assert!(text.is_empty() || text.starts_with(&greeting()));
    }

    #[test]
    fn hex_comes_back(bytes: [u8; 32]) {
        prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
    }
}

// ---- the port ----------------------------------------------------------------------------

/// A server on a port of its own, and its loop.
struct Port {
    dir: std::path::PathBuf,
    poll: Poll,
    server: Server,
    host: Fake,
    now: Mono,
}

impl Port {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zt-tcp-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let poll = Poll::new().unwrap();
        let mut server = Server::new(&dir, Access::default(), Token(100));
        let access = TcpAccess {
            port: 0,
            management: Vec::new(),
            guard: guard(),
        };
        server.set_tcp(Some(access), poll.registry()).unwrap();
        Self {
            dir,
            poll,
            server,
            host: Fake::new(),
            now: START,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.server.tcp_port().unwrap())).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    fn turn(&mut self) {
        let mut events = Events::with_capacity(64);
        self.poll
            .poll(&mut events, Some(Duration::from_millis(5)))
            .unwrap();
        for event in &events {
            assert!(self.server.owns(event.token()));
            self.server.ready(event.token());
        }
        let registry = self.poll.registry();
        while self.server.turn(self.now, registry, &mut self.host) {}
    }

    /// Turns until the other end has read up to `end`, or to the end of the stream for "".
    fn read(&mut self, mut stream: &TcpStream, end: &str) -> String {
        let mut text = Vec::new();
        loop {
            self.turn();
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => text.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) => panic!("{e} after {}", String::from_utf8_lossy(&text)),
            }
            if !end.is_empty() && text.ends_with(end.as_bytes()) {
                break;
            }
        }
        String::from_utf8(text).unwrap()
    }

    fn authenticate(&mut self, mut stream: &TcpStream) {
        stream.write_all(b"\n").unwrap();
        let text = self.read(stream, ".\n");
        let nonce = text
            .split_whitespace()
            .nth(3)
            .and_then(unhex)
            .expect("a nonce");
        let line = auth_line(TOKEN, &nonce, &CLIENT_NONCE);
        stream.write_all(line.as_bytes()).unwrap();
        assert!(self.read(stream, ".\n").starts_with("200 auth OK "));
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn commands_and_events_after_the_challenge() {
    let mut port = Port::new("a");
    let mut stream = port.connect();
    port.authenticate(&stream);
    stream.write_all(b"hello 1\nmonitor peer\n").unwrap();
    assert_eq!(
        port.read(&stream, "monitor OK\n.\n"),
        "200 hello 1\n.\n200 monitor OK\n.\n"
    );
    let keys = format_args!("addr=1");
    assert!(port.server.publish(UnixMs::from_ms(1), Class::Peer, keys));
    assert_eq!(port.read(&stream, "\n"), "! 1 1 peer addr=1\n");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(port.read(&stream, ""), "");
}

#[test]
fn nonces_differ() {
    let mut port = Port::new("n");
    let (mut a, mut b) = (port.connect(), port.connect());
    a.write_all(b"\n").unwrap();
    b.write_all(b"\n").unwrap();
    assert_ne!(port.read(&a, ".\n"), port.read(&b, ".\n"));
}

#[test]
fn the_control_protocol_has_its_share_of_places() {
    let mut port = Port::new("s");
    let mut held = Vec::new();
    for _ in 0..TCP_CONTROL_MAX {
        let stream = port.connect();
        port.authenticate(&stream);
        held.push(stream);
        port.now = port.now.after(1000);
    }
    let mut next = port.connect();
    next.write_all(b"\n").unwrap();
    assert_eq!(port.read(&next, ""), "503 zt-ctl too many connections\n.\n");
    // What was let in is still there.
    held[0].write_all(b"hello 1\n").unwrap();
    assert_eq!(port.read(&held[0], ".\n"), "200 hello 1\n.\n");
}

#[test]
fn the_silent_give_way() {
    let mut port = Port::new("g");
    let mut silent = Vec::new();
    for _ in 0..TCP_CONNS_MAX {
        silent.push(port.connect());
        port.turn();
        port.now = port.now.after(1);
    }
    let mut last = port.connect();
    last.write_all(b"\n").unwrap();
    assert!(port.read(&last, ".\n").starts_with("401 zt-ctl/1 "));
    // The first that came was the one that went, the next is still there.
    assert_eq!(port.read(&silent[0], ""), "");
    silent[1].write_all(b"\n").unwrap();
    assert!(port.read(&silent[1], ".\n").starts_with("401 zt-ctl/1 "));
    // In the end they all go.
    port.now = port.now.after(PATIENCE_MS);
    assert_eq!(
        port.server.next_deadline().map(|at| at <= port.now),
        Some(true)
    );
    port.turn();
    assert_eq!(port.read(&silent[2], ""), "");
    assert_eq!(port.server.next_deadline(), None);
}
