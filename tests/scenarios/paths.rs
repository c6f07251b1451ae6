//! Paths: how they are learnt, chosen, lost.

use std::cell::Cell;
use std::net::SocketAddr;

use zt::node::{DropReason, Event, LinkChange, SocketId};
use zt::wire::cursor::Writer;
use zt::wire::frames::Ethernet;
use zt::wire::verb::Verb;
use zt::wire::{control, derive};

use super::lab::{
    B_PLACE, GLOBAL, R_PLACE, X_PLACE, drops, frames, member_frame, network, online, online_member,
    peer_at, send_frame, serve,
};
use crate::sim::scripted::Scripted;
use crate::sim::{at, ipv6};

#[test]
fn s28_a_path_is_learnt_from_its_ok_only() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    b.forget(&world, x);
    let place = at("10.3.9.9:9993");
    for _ in 0..40 {
        b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
        world.run(50);
    }
    let hellos = b
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Hello)
        .count();
    assert_eq!(hellos, 2, "one HELLO a second");
    assert_eq!(b.count(&world, x, Verb::Ok), 10, "one answer per 166 ms");
    assert!(b.paths(&world, x).is_empty());
    let hello = b
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Hello)
        .expect("sent");
    assert_eq!(hello.to, place);
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    b.ok_from(&mut world, x, place, Verb::Hello, hello.id, &body);
    assert_eq!(b.paths(&world, x), [place]);
}

#[test]
fn s29_a_relayed_packet_teaches_nothing() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    world.run(500);
    b.forget(&world, x);
    b.say_from(&mut world, x, at("10.8.8.8:9993"), 1, Verb::Echo, b"");
    let heard = b.heard(&world, x);
    assert_eq!((heard.len(), heard[0].verb), (1, Verb::Ok));
    assert_eq!(b.paths(&world, x), [b.place]);
}

#[test]
fn s30_another_port_of_a_living_address() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let place = at("10.3.0.1:7777");
    b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
    let heard = b.heard(&world, x);
    assert_eq!(
        (heard.len(), heard[0].verb, heard[0].to),
        (1, Verb::Ok, place)
    );
    world.run(19_000);
    b.forget(&world, x);
    b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
    let hello = b
        .heard(&world, x)
        .into_iter()
        .find(|h| h.verb == Verb::Hello)
        .expect("tried");
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    b.ok_from(&mut world, x, place, Verb::Hello, hello.id, &body);
    assert_eq!(b.paths(&world, x), [place], "in the place of the old one");
}

#[test]
fn s31_a_full_list_replaces_the_longest_silent() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    for n in 2..=5 {
        world.run(1_100);
        let place = at(&format!("10.3.{n}.1:9993"));
        b.forget(&world, x);
        b.say_from(&mut world, x, place, 0, Verb::Echo, b"");
        let hello = b
            .heard(&world, x)
            .into_iter()
            .find(|h| h.verb == Verb::Hello)
            .expect("HELLO");
        let body = b.ok_hello_body(at(X_PLACE), &[]);
        b.ok_from(&mut world, x, place, Verb::Hello, hello.id, &body);
    }
    // The cap of small boards is four.
    let expected: Vec<SocketAddr> = [5, 2, 3, 4]
        .iter()
        .map(|n| at(&format!("10.3.{n}.1:9993")))
        .collect();
    assert_eq!(b.paths(&world, x), expected);
}

#[test]
fn s33_s102_traffic_leaves_a_dead_path_within_two_seconds() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let second = at("10.3.2.1:9993");
    world.run(1_100);
    b.say_from(&mut world, x, second, 0, Verb::Echo, b"");
    let hello = b
        .heard(&world, x)
        .into_iter()
        .find(|h| h.to == second && h.verb == Verb::Hello);
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    let hello = hello.expect("HELLO").id;
    b.ok_from(&mut world, x, second, Verb::Hello, hello, &body);
    // `second` answered faster; from now on it is dead, the other answers its ECHOs.
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    b.forget(&world, x);
    let mut used = Vec::new();
    for step in 0..30u64 {
        world.send_frame(x, network(), ethernet, &ipv6(1, 60));
        world.run(100);
        let heard = b.heard(&world, x);
        b.forget(&world, x);
        used.extend(
            heard
                .iter()
                .filter(|h| h.verb == Verb::Frame)
                .map(|h| (step * 100, h.to)),
        );
        let dead = used[0].1;
        for echo in heard
            .iter()
            .filter(|h| h.verb == Verb::Echo && h.to != dead)
        {
            b.ok_from(&mut world, x, echo.to, Verb::Echo, echo.id, b"");
        }
    }
    let dead = used[0].1;
    let moved = used
        .iter()
        .find(|u| u.1 != dead)
        .expect("the traffic moves");
    assert!(moved.0 <= 2_000, "after {} ms", moved.0);
    assert!(used.iter().filter(|u| u.0 > 2_000).all(|u| u.1 != dead));
}

#[test]
fn s35_keep_alives_of_active_peers_only() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut idle = Scripted::new(&world, x, 3, "10.4.0.1:9993");
    idle.meet(&mut world, x);
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    b.say(&mut world, x, Verb::Frame, &member_frame());
    world.run(2_000);
    b.forget(&world, x);
    idle.forget(&world, x);
    let start = world.now;
    world.run(58_000);
    let echoes: Vec<u64> = b
        .heard(&world, x)
        .iter()
        .filter(|h| h.verb == Verb::Echo)
        .map(|h| h.at - start)
        .collect();
    assert!(
        echoes.len() >= 3 && echoes.windows(2).all(|w| w[1] - w[0] <= 15_000),
        "{echoes:?}"
    );
    world.run(60_000);
    assert!(
        b.count(&world, x, Verb::Hello) >= 1,
        "a HELLO round a minute"
    );
    assert!(idle.heard(&world, x).is_empty());
}

#[test]
fn s36_s37_s107_expiry_and_forgetting() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    for _ in 0..5 {
        world.run(48_700);
        root.answer_hellos(&mut world, x);
    }
    b.forget(&world, x);
    world.send_frame(x, network(), ethernet, &ipv6(1, 60));
    assert_eq!(
        b.heard(&world, x)[0].to,
        at(R_PLACE),
        "expired: by the root"
    );
    for _ in 0..6 {
        world.run(48_700);
        root.answer_hellos(&mut world, x);
    }
    assert!(!b.is_known(&world, x));
    assert!(root.is_known(&world, x));
    assert!(
        world.hosts[x]
            .events
            .iter()
            .any(|e| e.1 == Event::PeerDown(b.address()))
    );
}

#[test]
fn s38_addresses_that_are_never_contacted() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let own = format!("[{}]:9993", derive::sixplane(network(), b.address()));
    let bad = [
        "127.0.0.1:9993",
        "224.0.0.5:9993",
        "169.254.1.1:9993",
        "0.1.2.3:9993",
        X_PLACE,
        "[fe80::1]:9993",
        "[::1]:9993",
        "[ff02::1]:9993",
        own.as_str(),
    ];
    let before = world.hosts[x].sent.len();
    for place in bad.map(at) {
        let mut payload = vec![0; 64];
        let mut writer = Writer::new(&mut payload);
        control::write_rendezvous(&mut writer, b.address(), &place).expect("room");
        let len = writer.len();
        root.say(&mut world, x, Verb::Rendezvous, &payload[..len]);
        let mut payload = vec![0; 64];
        let mut writer = Writer::new(&mut payload);
        control::write_push(&mut writer, &[place]).expect("room");
        let len = writer.len();
        b.say(&mut world, x, Verb::PushDirectPaths, &payload[..len]);
        world.run(31_000);
        root.answer_hellos(&mut world, x);
    }
    let touched = world.hosts[x].sent[before..]
        .iter()
        .any(|d| bad.map(at).contains(&d.to));
    assert!(!touched);
    assert!(drops(&world, x, DropReason::BadPath) >= 2 * bad.len() as u64);
}

#[test]
fn s39_a_socket_takes_its_paths_with_it() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    world.call(x, |n, now, out| {
        n.handle_link(
            now,
            LinkChange::SocketDown {
                socket: SocketId(0),
            },
            out,
        );
    });
    assert!(b.paths(&world, x).is_empty());
}

#[test]
fn s40_s68_large_frames_in_pieces() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let ethernet = Ethernet {
        to: derive::mac(network(), b.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    for (limit, pieces) in [(1_432, 2), (1_232, 3)] {
        let before = world.hosts[x].sent.len();
        world.send_frame(x, network(), ethernet, &ipv6(1, 2_800));
        let sent = &world.hosts[x].sent[before..];
        assert_eq!(sent.len(), pieces);
        assert!(sent.iter().all(|d| d.bytes.len() <= limit));
        let to = b.place;
        world.call(x, |n, now, out| {
            n.handle_link(now, LinkChange::TooBig { to }, out)
        });
    }
}

#[test]
fn s41_old_peers_get_four_pieces_at_most() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut old = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    (old.protocol, old.version) = (4, (1, 0, 5));
    old.meet(&mut world, x);
    let ethernet = Ethernet {
        to: derive::mac(network(), old.address()),
        from: derive::mac(network(), world.address(x)),
        ethertype: 0x86dd,
    };
    let before = world.hosts[x].sent.len();
    world.send_frame(x, network(), ethernet, &ipv6(1, 5_600));
    assert_eq!(world.hosts[x].sent.len() - before, 4);
    world.send_frame(x, network(), ethernet, &ipv6(1, 5_700));
    assert_eq!(world.hosts[x].sent.len() - before, 4);
    assert_eq!(drops(&world, x, DropReason::TooLong), 1);
}

#[test]
fn s32_scope_weighs_latency() {
    for (global_ms, wanted) in [(30, B_PLACE), (5, GLOBAL)] {
        let (mut world, x, _) = online_member();
        let delay = |_, place| Some(if place == at(GLOBAL) { global_ms } else { 62 });
        let b = peer_at(&mut world, x, &[B_PLACE, GLOBAL], delay);
        send_frame(&mut world, x, b.address());
        assert_eq!(frames(&b.heard(&world, x)), [at(wanted)], "{global_ms} ms");
    }
}

#[test]
fn s34_equal_paths_do_not_flap() {
    let (mut world, x, mut root) = online_member();
    let turn = Cell::new(0u64);
    let jitter = |_, _| {
        turn.set(turn.get() + 1);
        Some(15 + turn.get() * 7 % 11)
    };
    let mut b = peer_at(&mut world, x, &[B_PLACE, "10.3.2.1:9993"], jitter);
    let mut used = Vec::new();
    for _ in 0..600 {
        send_frame(&mut world, x, b.address());
        let heard = serve(&mut world, x, &mut [&mut b, &mut root], 1_000, jitter);
        used.extend(frames(&heard[0]));
    }
    assert_eq!(used.len(), 600, "all of them directly");
    let switches = used.windows(2).filter(|w| w[0] != w[1]).count();
    assert!(switches <= 1, "{switches} switches");
    assert!(turn.get() > 100, "latencies were measured again and again");
}

#[test]
fn s103_one_way_traffic_stays_where_echoes_are_answered() {
    let (mut world, x, mut root) = online_member();
    let delay = |_, place| Some(if place == at(B_PLACE) { 20 } else { 60 });
    let mut b = peer_at(&mut world, x, &[B_PLACE, "10.3.2.1:9993"], delay);
    let mut used = Vec::new();
    for _ in 0..600 {
        send_frame(&mut world, x, b.address());
        let heard = serve(&mut world, x, &mut [&mut b, &mut root], 100, delay);
        used.extend(frames(&heard[0]));
    }
    assert_eq!(used, vec![at(B_PLACE); 600]);
}

#[test]
fn s109_a_bonding_peer_is_answered_and_not_followed() {
    let (mut world, x, mut root) = online_member();
    let second = at("10.3.2.1:9993");
    let delay = |_, _| Some(20);
    let mut b = peer_at(&mut world, x, &[B_PLACE, "10.3.2.1:9993"], delay);
    send_frame(&mut world, x, b.address());
    let chosen = frames(&b.heard(&world, x))[0];
    let paths = b.paths(&world, x);
    for round in 0..30 {
        for place in [at(B_PLACE), second] {
            b.forget(&world, x);
            let id = b.say_from(&mut world, x, place, 0, Verb::Echo, b"12345678");
            let heard = b.heard(&world, x);
            assert_eq!(heard.len(), 1);
            assert_eq!((heard[0].verb, heard[0].to), (Verb::Ok, place));
            assert_eq!(heard[0].payload[1..9], id.to_bytes());
        }
        if round % 5 == 0 {
            b.forget(&world, x);
            b.say(&mut world, x, Verb::QosMeasurement, &[0; 20]);
            assert!(b.heard(&world, x).is_empty());
        }
        serve(&mut world, x, &mut [&mut b, &mut root], 2_000, delay);
    }
    send_frame(&mut world, x, b.address());
    assert_eq!(frames(&b.heard(&world, x)), [chosen]);
    assert_eq!(b.paths(&world, x), paths);
}
