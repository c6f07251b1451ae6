//! A day with fifty peers, in virtual time: what the node of each memory class holds of the heap,
//! and that it is no more in the last hour than in the second.
#![allow(missing_docs, unsafe_code, clippy::print_stdout)]

mod sim;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sim::{RUNNING, World, at, ipv6, planet};
use zt::base::{Limits, NetworkId};

const PEERS: usize = 50;
/// The root, the two nodes that are looked at, their peers.
const HOSTS: usize = 3 + PEERS;

thread_local! {
    /// Bytes held by the node of each host, and the most since it was last asked.
    static HELD: [Cell<(isize, isize)>; HOSTS] = const { [const { Cell::new((0, 0)) }; HOSTS] };
}

struct Counting;

/// The node that runs holds more, or less.
fn held(bytes: isize) {
    if let Some(host) = RUNNING.get() {
        HELD.with(|all| {
            let (now, most) = all[host].get();
            all[host].set((now + bytes, most.max(now + bytes)));
        });
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        held(layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        held(-layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        held(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that the node of this host holds, and the most that it ever did: the second has the
/// 2 MiB of an identity's check in it.
fn bytes(host: usize) -> (usize, usize) {
    let (now, most) = HELD.with(|all| all[host].get());
    (now.cast_unsigned(), most.cast_unsigned())
}

#[test]
fn a_day_with_fifty_peers_takes_no_more_than_its_second_hour() {
    let network = NetworkId::parse("ff00160016000000").expect("an id");
    let mut world = World::new(planet(&[(0, at("10.1.0.1:9993"))]));
    world.record = false;
    world.wire = sim::Wire {
        delay_ms: 20,
        jitter_ms: 10,
        loss: 5,
        duplicates: 5,
    };
    let normal = |c: &mut zt::node::Config<'_>| c.limits = Limits::normal();
    world.add_with(0, &["10.1.0.1:9993"], normal);
    let looked_at = [
        ("small", world.add(1, &["10.2.0.1:9993"])),
        ("normal", world.add_with(2, &["10.2.0.2:9993"], normal)),
    ];
    let peers: Vec<usize> = (0..PEERS)
        .map(|n| world.add_with(3 + n, &[&format!("10.3.{n}.1:9993")], normal))
        .collect();
    let before = looked_at.map(|(_, host)| bytes(host).0);
    for host in 1..HOSTS {
        world.join(host, network);
    }

    let mut hours = Vec::new();
    for hour in 0..24 {
        let mut most = [0; 2];
        for minute in 0..60 {
            for (n, &peer) in peers.iter().enumerate() {
                // Each has its hours of absence, and then another place.
                let away = (hour + n) % 12 == 0;
                world.hosts[peer].up = !away;
                if away {
                    continue;
                }
                let len = 100 + (n * 531 + minute * 97) % 2_700;
                for (_, host) in looked_at {
                    world.unicast(host, peer, network, 0x86dd, &ipv6(n as u8, len));
                    world.unicast(peer, host, network, 0x86dd, &ipv6(n as u8, len));
                }
            }
            world.run(60_000);
            for host in &mut world.hosts {
                host.frames.clear();
                host.events.clear();
            }
            for (most, (_, host)) in most.iter_mut().zip(looked_at) {
                *most = bytes(host).0.max(*most);
            }
        }
        hours.push(most);
    }

    // What a class may cost; 64-bit figures, 32-bit ones are smaller.
    let allowed = [640 << 10, 5 << 20];
    for (i, (class, host)) in looked_at.into_iter().enumerate() {
        let of_hour = |hour: usize| hours[hour - 1][i];
        let view = world.hosts[host].node.peer_count();
        println!(
            "{class}: {} bytes at the start, {} in hour 2, {} in hour 24, {} at the peak; {view} peers",
            before[i],
            of_hour(2),
            of_hour(24),
            bytes(host).1,
        );
        assert!(of_hour(24) <= allowed[i], "{class}: more than its class");
        assert!(view > PEERS / 2, "{class}: {view} peers are left");
        let grown: Vec<_> = (3..=24).filter(|h| of_hour(*h) > of_hour(2)).collect();
        let all: Vec<_> = hours.iter().map(|h| h[i]).collect();
        assert!(
            grown.is_empty(),
            "{class}: more in hours {grown:?}: {all:?}"
        );
    }
}
