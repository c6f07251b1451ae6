//! Clocks, sleep, long runs.

use zt::wire::verb::Verb;

use super::lab::{R_PLACE, X_PLACE, member_frame, network, online};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, planet};

#[test]
fn s59_s60_the_wall_clock_moves_nothing() {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    world.wall_ok = false;
    world.wall_offset = -1_789_999_940_000;
    let x = world.add(1, &[X_PLACE]);
    let mut root = Scripted::new(&world, x, 0, R_PLACE);
    world.run(5_000);
    assert!(!world.is_online(x));
    assert!(root.count(&world, x, Verb::Hello) >= 3);
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
    let due = world.hosts[x].node.poll_timeout();
    world.wall_offset += 31_536_000_000;
    world.run(1_000);
    world.wall_offset -= 3_600_000;
    world.run(1_000);
    assert_eq!(world.hosts[x].node.poll_timeout(), due);
    assert!(root.is_known(&world, x));
}

#[test]
fn s61_after_sleep_everything_is_proved_again() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    root.forget(&world, x);
    world.now += 3_600_000;
    world.call(x, |n, now, out| n.handle_timeout(now, out));
    world.run(1);
    assert!(
        root.count(&world, x, Verb::Hello) >= 1,
        "upstreams are asked in the first call"
    );
    let usable = world.hosts[x].node.path(b.address(), 0, world.clock().mono);
    assert!(usable.is_none_or(|p| p.expired));
    root.answer_hellos(&mut world, x);
    assert!(world.is_online(x));
}

#[test]
fn s62_an_idle_node_sleeps() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    world.run(1_000);
    let before = world.hosts[x].wakeups;
    for _ in 0..600 {
        world.run(1_000);
        root.answer_hellos(&mut world, x);
    }
    let per_minute = (world.hosts[x].wakeups - before) as f64 / 10.0;
    assert!(per_minute <= 4.0, "{per_minute} wake-ups a minute");
}

#[test]
fn s63_thirty_days_of_peers_coming_and_going() {
    let (mut world, x, mut root) = online();
    world.record = true;
    world.join(x, network());
    let mut peers: Vec<Scripted> = (2..8)
        .map(|n| Scripted::new(&world, x, n, &format!("10.{}.0.1:9993", n + 10)))
        .collect();
    let mut answered = 0;
    for hour in 0..30 * 24u64 {
        let peer = &mut peers[(hour % 6) as usize];
        peer.forget(&world, x);
        peer.hello(&mut world, x);
        world.run(100);
        answered += peer.answer_hellos(&mut world, x);
        peer.say(&mut world, x, Verb::Frame, &member_frame());
        for _ in 0..60 {
            world.run(60_000 - 10);
            root.answer_hellos(&mut world, x);
        }
        assert!(world.hosts[x].node.peer_count() <= 4);
        world.hosts[x].sent.clear();
        world.hosts[x].events.clear();
        world.hosts[x].frames.clear();
        root.forget(&world, x);
    }
    assert!(answered >= 30 * 24);
}
