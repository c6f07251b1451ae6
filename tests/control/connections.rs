//! Lines, pieces, slow readers, events: connections in memory.

use std::io::{self, Read, Write};

use zt::base::UnixMs;
use zt::service::control::conn::{Conn, IDLE_MS, INPUT_BYTES, OUTPUT_BYTES, Turn};
use zt::service::control::line::LINE_MAX;
use zt::service::control::{Class, Field};

use super::client::{OWNER, connected};
use crate::fake_daemon::{Fake, NET, START, WALL, address};

#[test]
fn requests_may_be_pipelined_and_one_runs_a_turn() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send(format!("join {NET}\r\n\n   \nleave {NET}\nget {NET} mtu\n"));
    assert_eq!(client.conn.turn(START, host), Turn::More);
    assert_eq!(host.told.len(), 1);
    assert_eq!(client.conn.turn(START, host), Turn::More);
    assert_eq!(host.told.len(), 2);
    assert_eq!(client.conn.turn(START, host), Turn::Wait);
    assert_eq!(
        client.received(),
        "200 join OK\n.\n200 leave OK\n.\n200 get 2800\n.\n"
    );
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    for byte in format!("get {NET} mtu\n").bytes() {
        assert_eq!(client.received(), "");
        client.send([byte]);
        client.run(host);
    }
    assert_eq!(client.received(), "200 get 2800\n.\n");
}

#[test]
fn half_close_lets_requests_finish() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send(format!("get {NET} mtu\nget {NET} status\n"));
    client.end();
    assert!(client.run(host));
    assert_eq!(client.received(), "200 get 2800\n.\n200 get OK\n.\n");
}

#[test]
fn a_line_cut_by_the_end_is_not_obeyed() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    client.send(format!("set {NET} allowDNS=1"));
    client.end();
    assert!(client.run(host));
    assert_eq!(client.received(), "400 - line not ended\n.\n");
    assert!(host.told.is_empty());
}

#[test]
fn a_long_line_is_refused_once_and_dropped_to_its_end() {
    let host = &mut Fake::new();
    // The longest that is taken: LINE_MAX with its end.
    let mut client = connected(host);
    let fits = format!("join {}\n", "a".repeat(LINE_MAX - "join \n".len()));
    assert_eq!(fits.len(), LINE_MAX);
    client.send(&fits);
    client.run(host);
    assert_eq!(client.received(), "400 join bad network id\n.\n");
    for len in [LINE_MAX, LINE_MAX + 1, INPUT_BYTES, INPUT_BYTES * 3 + 7] {
        client.send(format!("join {}", "a".repeat(len - 5)));
        client.run(host);
        client.send(format!("tail\nget {NET} mtu\n"));
        client.run(host);
        assert_eq!(
            client.received(),
            "413 - line too long\n.\n200 get 2800\n.\n",
            "{len}"
        );
    }
    // Whole in one piece it is refused as well.
    client.send(format!("{}\nget {NET} mtu\n", "a".repeat(LINE_MAX)));
    client.run(host);
    assert_eq!(
        client.received(),
        "413 - line too long\n.\n200 get 2800\n.\n"
    );
}

/// Enough peers for a list of several output buffers.
fn crowded() -> Fake {
    let mut host = Fake::new();
    host.peers = (0..2000_u64).map(|n| address(0x10_0000_0000 + n)).collect();
    host
}

#[test]
fn a_slow_reader_gets_all_of_a_long_list() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.window(0);
    client.send(format!("listpeers\nget {NET} mtu\n"));
    assert!(!client.run(host));
    assert_eq!(client.received(), "", "it would block");
    let mut text = String::new();
    for step in 0.. {
        assert!(step < 100_000, "no progress");
        client.window(97);
        assert!(!client.run(host));
        let part = client.received();
        if part.is_empty() {
            break;
        }
        text += &part;
    }
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 1 + 2000 + 1 + 2);
    assert_eq!(
        rows[2000],
        "200 listpeers 10000007cf 10.99.0.2/29993;-1;16674 28 1.14.1 LEAF"
    );
    assert_eq!(rows[2001..], [".", "200 get 2800", "."]);
}

#[test]
fn a_list_is_made_as_it_is_read_and_no_turn_makes_more_than_a_buffer() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.send("listpeers\n");
    assert_eq!(client.conn.turn(START, host), Turn::More);
    let part = client.received();
    assert!(
        part.len() <= OUTPUT_BYTES && part.len() > OUTPUT_BYTES / 2,
        "{}",
        part.len()
    );
    // Who goes away meanwhile is not in the rest.
    host.peers.truncate(500);
    client.run(host);
    let rows = part.lines().count() + client.received().lines().count();
    assert_eq!(rows, 1 + 500 + 1);
}

#[test]
fn a_reader_that_does_not_read_stops_its_own_requests() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.window(0);
    let joins = format!("join {NET}\n").repeat(1000);
    client.send("listpeers\n");
    client.send(&joins);
    assert!(!client.run(host));
    assert!(host.told.is_empty(), "no command runs before its turn");
    let waiting = client.stream.0.borrow().incoming.len();
    assert_eq!(
        waiting,
        joins.len() - INPUT_BYTES,
        "and no more is read than fits"
    );
    client.window(usize::MAX);
    assert!(!client.run(host));
    assert_eq!(host.told.len(), 1000);
}

#[test]
fn events_stand_between_replies() {
    let host = &mut crowded();
    let mut client = connected(host);
    assert_eq!(client.ask(host, "monitor network log"), ["200 monitor OK"]);
    let wall = UnixMs::from_ms(WALL);
    client.window(100);
    client.send(format!("listpeers\nget {NET} mtu\n"));
    client.run(host);
    let name = "lab net";
    let heard = client.conn.event(
        wall,
        Class::Network,
        format_args!("nwid={NET} status=OK name={}", Field(name)),
    );
    assert!(heard);
    assert!(
        !client
            .conn
            .event(wall, Class::Peer, format_args!("not=wanted"))
    );
    client.window(usize::MAX);
    client.run(host);
    let text = client.received();
    let rows: Vec<&str> = text.lines().collect();
    let event = format!("! 1 {WALL} network nwid={NET} status=OK name=lab%20net");
    assert_eq!(rows[2001..], [".", &event, "200 get 2800", "."]);
    // Other classes, same numbering.
    assert_eq!(client.ask(host, "monitor"), ["200 monitor OK"]);
    assert!(!client.conn.event(wall, Class::Log, format_args!("text=x")));
    assert!(
        client
            .conn
            .event(wall, Class::Node, format_args!("state=ONLINE"))
    );
    client.run(host);
    assert_eq!(client.received(), format!("! 2 {WALL} node state=ONLINE\n"));
    assert_eq!(client.ask(host, "monitor off"), ["200 monitor OK"]);
    assert!(
        !client
            .conn
            .event(wall, Class::Node, format_args!("state=ONLINE"))
    );
}

#[test]
fn a_reader_learns_how_many_events_it_lost() {
    let host = &mut crowded();
    let mut client = connected(host);
    client.ask(host, "monitor");
    client.window(0);
    let wall = UnixMs::from_ms(WALL);
    let sent = 2000;
    for n in 0..sent {
        client
            .conn
            .event(wall, Class::Node, format_args!("number={n}"));
        client.run(host);
    }
    client.window(usize::MAX);
    client.run(host);
    let text = client.received();
    let (mut seen, mut lost, mut next) = (0, 0, 0);
    for (seq, row) in (1..).zip(text.lines()) {
        let rest = row.strip_prefix(&format!("! {seq} {WALL} ")).expect(row);
        if let Some(n) = rest.strip_prefix("lost n=") {
            let n: usize = n.parse().unwrap();
            assert!(n > 0);
            lost += n;
            next += n;
        } else {
            assert_eq!(rest, format!("node number={next}"), "out of order");
            seen += 1;
            next += 1;
        }
    }
    assert_eq!(seen + lost, sent);
    assert!(lost > 0 && seen > 300, "lost {lost}, seen {seen}");
    client
        .conn
        .event(wall, Class::Node, format_args!("number=last"));
    client.run(host);
    assert!(client.received().ends_with("node number=last\n"));
}

#[test]
fn silence_ends_a_connection_but_not_a_monitor() {
    let host = &mut Fake::new();
    let mut client = connected(host);
    assert_eq!(client.conn.deadline(), Some(START.after(IDLE_MS)));
    client.now = START.after(IDLE_MS - 1);
    client.ask(host, "info");
    assert_eq!(client.conn.deadline(), Some(client.now.after(IDLE_MS)));
    client.now = client.now.after(IDLE_MS);
    assert!(client.run(host));

    let mut client = connected(host);
    client.ask(host, "monitor");
    assert_eq!(client.conn.deadline(), None);
    client.now = START.after(IDLE_MS * 10);
    assert!(!client.run(host));
}

#[test]
fn a_broken_stream_closes() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let host = &mut Fake::new();
    let mut conn = Conn::new(Broken, OWNER, START, host);
    assert_eq!(conn.turn(START, host), Turn::Closed);
}
