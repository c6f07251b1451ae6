use super::*;

fn pair() -> (Socket, Socket, SocketAddr) {
    let bind = || Socket::bind("127.0.0.1:0".parse().unwrap(), "").expect("bound");
    let (a, b) = (bind(), bind());
    let to = b.local().expect("an address");
    (a, b, to)
}

#[test]
fn a_port_in_use_is_refused_and_says_so() {
    let (_a, _b, to) = pair();
    let error = Socket::bind(to, "").expect_err("in use");
    assert_eq!((*error.op, error.errno), ("bind", libc::EADDRINUSE));
}

#[test]
fn a_datagram_that_is_too_long_is_reported_and_the_rest_leaves() {
    let (a, b, to) = pair();
    let mut batch = SendBatch::new();
    assert!(batch.push(&a, to, [&[1; 10], &[]], None));
    assert!(batch.push(&a, to, [&[2; 66_000], &[]], None));
    assert!(batch.push(&a, to, [&[3; 10], &[]], Some(9)));
    let mut errors = Vec::new();
    batch.flush(|at, error| errors.push((at, error.errno)));
    assert_eq!(errors, [(to, libc::EMSGSIZE)]);
    assert_eq!(batch.counts().datagrams, 2);
    let mut arena = RecvBatch::new(8);
    assert_eq!(b.receive(&mut arena).expect("received"), 2);
    assert_eq!(arena.counts().datagrams, 2);
    assert_eq!(b.receive(&mut arena).expect("nothing"), 0);
}

#[test]
fn a_full_batch_says_so_and_takes_again_after_flush() {
    let (a, b, to) = pair();
    let other = a.local().unwrap();
    let mut batch = SendBatch::new();
    let mut taken = 0;
    // Two destinations by turns: nothing joins.
    while batch.push(&a, [to, other][taken % 2], [&[7], &[]], None) {
        taken += 1;
    }
    assert_eq!(taken, 64);
    batch.flush(|_, error| panic!("{error}"));
    assert!(batch.push(&a, to, [&[7; 1000], &[]], None));
    assert!(!batch.push(&a, to, [&[7; 131_000], &[]], None), "bytes");
    let mut arena = RecvBatch::new(64);
    b.receive(&mut arena).unwrap();
    assert_eq!(arena.counts().datagrams, 32);
}

/// As after EIO from a device that computes no checksums, which recent kernels no longer give.
#[test]
fn a_socket_that_refuses_joined_datagrams_sends_them_apart() {
    let (a, b, to) = pair();
    let mut batch = SendBatch::new();
    let push = |batch: &mut SendBatch| {
        for n in 0..9 {
            let size = if n == 8 { 100 } else { 500 };
            assert!(batch.push(&a, to, [&vec![n; size], &[]], Some(64)));
        }
    };
    let mut arena = RecvBatch::new(16);
    let mut take = || {
        b.receive(&mut arena).expect("received");
        let all: Vec<(u8, usize)> = arena.datagrams().map(|(_, d)| (d[0], d.len())).collect();
        all
    };
    let want: Vec<(u8, usize)> = (0..9)
        .map(|n| (n, if n == 8 { 100 } else { 500 }))
        .collect();
    // What was joined before the refusal is taken apart, what comes after is not joined.
    push(&mut batch);
    batch.refusing.push(a.as_raw_fd());
    batch.flush(|_, error| panic!("{error}"));
    assert_eq!(take(), want);
    push(&mut batch);
    batch.flush(|_, error| panic!("{error}"));
    assert_eq!(take(), want);
    assert_eq!(
        (batch.counts().messages, batch.counts().datagrams),
        (18, 18)
    );
}
