//! A connection in memory and who sits at its other end.

use serde_json::Value;
use zt::base::Mono;
use zt::service::control::Caller;
use zt::service::control::conn::{Conn, Turn};
use zt::service::control::line::ROW_MAX;

use crate::fake_daemon::{Fake, START, Stream};

/// A connection and who sits at its other end.
pub(crate) struct Client {
    pub(crate) conn: Conn<Stream>,
    pub(crate) stream: Stream,
    pub(crate) now: Mono,
}

pub(crate) const OWNER: Caller = Caller {
    uid: Some(0),
    pid: Some(1),
    is_owner: true,
    read_only: false,
};

impl Client {
    /// Connected, greeting read.
    pub(crate) fn new(host: &Fake) -> Self {
        Self::of(host, OWNER)
    }

    pub(crate) fn of(host: &Fake, caller: Caller) -> Self {
        let stream = Stream::default();
        stream.0.borrow_mut().window = usize::MAX;
        let conn = Conn::new(stream.clone(), caller, START, host);
        Self {
            conn,
            stream,
            now: START,
        }
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.stream.0.borrow_mut().incoming.extend(text.as_ref());
        self.conn.ready();
    }

    pub(crate) fn end(&mut self) {
        self.stream.0.borrow_mut().ended = true;
        self.conn.ready();
    }

    pub(crate) fn window(&mut self, bytes: usize) {
        self.stream.0.borrow_mut().window = bytes;
        self.conn.ready();
    }

    /// Turns until it waits or is closed. `true`: closed.
    pub(crate) fn run(&mut self, host: &mut Fake) -> bool {
        for _ in 0..100_000 {
            match self.conn.turn(self.now, host) {
                Turn::More => {}
                Turn::Wait => return false,
                Turn::Closed => return true,
            }
        }
        panic!("it never comes to rest");
    }

    pub(crate) fn received(&mut self) -> String {
        let bytes = std::mem::take(&mut self.stream.0.borrow_mut().outgoing);
        String::from_utf8(bytes).unwrap()
    }

    /// One request, its whole reply without the dot.
    pub(crate) fn ask(&mut self, host: &mut Fake, request: &str) -> Vec<String> {
        self.send(format!("{request}\n"));
        assert!(!self.run(host), "closed by {request}");
        let text = self.received();
        let reply = text
            .strip_suffix(".\n")
            .unwrap_or_else(|| panic!("no end: {text}"));
        assert!(!reply.contains("\n.\n"), "more than one reply: {text}");
        assert!(reply.lines().all(|l| l.len() < ROW_MAX));
        reply.lines().map(str::to_owned).collect()
    }
}

pub(crate) fn connected(host: &mut Fake) -> Client {
    let mut client = Client::new(host);
    assert!(!client.run(host));
    let greeting = client.received();
    let version = zt::service::VERSION;
    assert_eq!(
        greeting,
        format!("220 zt-ctl/1 {version} 3c9439e96a rw\n.\n")
    );
    client
}

/// The first row of a reply to a request, on a connection of its own.
pub(crate) fn first(host: &mut Fake, request: &str) -> String {
    connected(host).ask(host, request).swap_remove(0)
}

pub(crate) fn all(host: &mut Fake, request: &str) -> Vec<String> {
    connected(host).ask(host, request)
}

pub(crate) fn json(host: &mut Fake, request: &str) -> Value {
    let mut reply = all(host, &format!("-j {request}"));
    let command = request.split(' ').next().unwrap();
    assert_eq!(reply.remove(0), format!("200 {command} json"));
    assert!(reply.iter().all(|line| !line.starts_with('.')));
    serde_json::from_str(&reply.concat()).unwrap()
}
