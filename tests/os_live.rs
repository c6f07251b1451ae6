//! The system layer against this machine's kernel: loopback, files in a directory of our own, and
//! with rights for it devices in a network namespace of the test's own thread.
#![cfg(feature = "os")]

use std::net::SocketAddr;

use zt::os::udp::{Counts, RecvBatch, SendBatch, Socket};

fn bound(address: &str) -> Socket {
    Socket::bind(address.parse().expect("an address"), "").expect("a socket")
}

/// How datagrams travel.
#[derive(Clone, Copy, Debug)]
struct Way {
    joined: bool,
    one_by_one: bool,
}

const WAYS: [Way; 4] = [
    Way::new(true, false),
    Way::new(true, true),
    Way::new(false, false),
    Way::new(false, true),
];

impl Way {
    const fn new(joined: bool, one_by_one: bool) -> Self {
        Self { joined, one_by_one }
    }
}

/// Sends datagrams of these sizes from one socket to another; what came, and both counts.
fn travel(address: &str, sizes: &[usize], way: Way) -> (Vec<Vec<u8>>, Counts, Counts) {
    let (mut from, mut to) = (bound(address), bound(address));
    from.set_joining(way.joined);
    to.set_joining(way.joined);
    let target = to.local().expect("an address");
    let source = from.local().expect("an address");
    let mut out = SendBatch::new();
    let mut arena = RecvBatch::new(4);
    if way.one_by_one {
        out.set_one_by_one();
        arena.set_one_by_one();
    }
    let mut got: Vec<Vec<u8>> = Vec::new();
    let mut take = |arena: &mut RecvBatch| {
        while to.receive(arena).expect("received") > 0 {
            got.extend(arena.datagrams().map(|(sender, bytes)| {
                assert_eq!(sender, source);
                bytes.to_vec()
            }));
        }
    };
    for (n, size) in sizes.iter().enumerate() {
        let bytes = contents(n, *size);
        let (head, tail) = bytes.split_at(size / 3);
        while !out.push(&from, target, [head, tail], None) {
            out.flush(|_, error| panic!("{way:?}: {error}"));
            take(&mut arena);
        }
    }
    out.flush(|_, error| panic!("{way:?}: {error}"));
    take(&mut arena);
    let counts = (out.counts(), arena.counts());
    (got, counts.0, counts.1)
}

fn contents(n: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (n + at / 256) as u8).collect()
}

#[test]
fn datagrams_arrive_whole_and_in_order_on_every_way() {
    // Runs of one size, with shorter ones that end a run, longer ones that cannot join, and
    // empty ones.
    let sizes: Vec<usize> = (0..400)
        .map(|n| match n % 23 {
            7 => 40 + n,
            11 => 3000,
            13 => 0,
            _ => 1400,
        })
        .collect();
    // What is empty says nothing and is left out.
    let want: Vec<Vec<u8>> = sizes
        .iter()
        .enumerate()
        .map(|(n, size)| contents(n, *size))
        .filter(|bytes| !bytes.is_empty())
        .collect();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for way in WAYS {
            let (got, sent, received) = travel(address, &sizes, way);
            assert!(
                got == want,
                "{address} {way:?}: {} of {}",
                got.len(),
                want.len()
            );
            assert_eq!(sent.datagrams, 400, "{address} {way:?}");
            assert_eq!(received.datagrams, want.len() as u64, "{address} {way:?}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn batches_and_joining_save_calls() {
    let sizes = [1400; 256];
    let of = |joined, one_by_one| travel("127.0.0.1:0", &sizes, Way::new(joined, one_by_one)).1;
    let single = of(false, true);
    assert_eq!((single.calls, single.messages), (256, 256));
    let batched = of(false, false);
    assert_eq!(batched.messages, 256);
    assert!(batched.calls <= 8, "{batched:?}");
    let joined = of(true, false);
    if joined.messages == 256 {
        eprintln!("NOT TESTED: this kernel has no UDP_SEGMENT");
        return;
    }
    // 46 datagrams of 1400 bytes are less than 65000.
    assert!(joined.messages <= 8 && joined.calls <= 4, "{joined:?}");
}

#[test]
fn one_batch_serves_several_sockets() {
    let senders = [bound("127.0.0.1:0"), bound("127.0.0.1:0")];
    let to = bound("127.0.0.1:0");
    let target = to.local().unwrap();
    let mut out = SendBatch::new();
    for n in 0..6_u8 {
        let socket = &senders[usize::from(n / 2 % 2)];
        assert!(out.push(socket, target, [&[n], &[n]], Some(3)));
    }
    out.flush(|_, error| panic!("{error}"));
    let mut arena = RecvBatch::new(16);
    to.receive(&mut arena).unwrap();
    let got: Vec<(SocketAddr, Vec<u8>)> = arena
        .datagrams()
        .map(|(from, bytes)| (from, bytes.to_vec()))
        .collect();
    let want: Vec<(SocketAddr, Vec<u8>)> = (0..6_u8)
        .map(|n| (senders[usize::from(n / 2 % 2)].local().unwrap(), vec![n, n]))
        .collect();
    assert_eq!(got, want);
}
