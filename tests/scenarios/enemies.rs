//! Whoever means harm.

use zt::base::{Address, PacketId};
use zt::wire::cursor::Writer;
use zt::wire::fragment::FragmentHeader;
use zt::wire::frames::Ethernet;
use zt::wire::packet::Suite;
use zt::wire::verb::Verb;
use zt::wire::{control, derive};

use super::lab::{member_frame, network, online};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, ipv6};

#[test]
fn s81_any_flipped_bit_changes_nothing() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    for suite in [Suite::Poly1305, Suite::Salsa, Suite::AesGmacSiv] {
        let (_, packet) = b.packet(Verb::Frame, &member_frame(), suite);
        let frames = world.hosts[x].frames.len();
        for bit in 0..packet.len() * 8 {
            let mut altered = packet.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            if bit / 8 == 18 && bit % 8 < 3 {
                continue;
            }
            world.inject(x, b.place, &altered);
        }
        assert_eq!(world.hosts[x].frames.len(), frames, "{suite:?}");
        world.inject(x, b.place, &packet);
        assert_eq!(world.hosts[x].frames.len(), frames + 1);
        world.run(6_000);
    }
    assert_eq!(b.paths(&world, x), [b.place]);
}

#[test]
fn s82_s104_s105_junk_makes_nothing() {
    let (mut world, x, _) = online();
    world.record = false;
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    world.record = true;
    b.meet(&mut world, x);
    world.record = false;
    world.run(30_000);
    let age = |w: &World| {
        w.hosts[x]
            .node
            .path(b.address(), 0, w.clock().mono)
            .expect("a path")
            .received_ms
    };
    let before = (age(&world), world.hosts[x].node.peer_count());
    let mut junk = vec![0; 10_400];
    for n in 0..100_000u32 {
        let len = (world.rng.below(1 << 16) as usize * 7 + n as usize)
            % if n % 50 == 0 { 10_400 } else { 200 };
        world.rng.fill(&mut junk[..len]);
        let from = if n % 2 == 0 {
            b.place
        } else {
            at(&format!("10.{}.0.1:9993", n % 200 + 20))
        };
        let bytes = junk[..len].to_vec();
        world.inject(x, from, &bytes);
    }
    assert_eq!((age(&world), world.hosts[x].node.peer_count()), before);
    assert!(world.hosts[x].node.stats().drops_total() >= 90_000);
}

#[test]
fn s83_unfinished_packets_leave_room() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let me = world.address(x);
    let mut payload = member_frame();
    payload.resize(2_000, 7);
    for round in 0..100u64 {
        let (_, pieces) = b.pieces(Verb::Frame, &payload);
        world.inject(x, b.place, &pieces[0]);
        for n in 0..100u64 {
            let header = FragmentHeader {
                id: PacketId::new(round * 1_000 + n),
                destination: me,
                total: 2,
                number: 1,
                hops: 0,
            };
            world.inject(x, at("10.99.0.9:1"), &header.to_bytes());
            let mut filled = header.to_bytes().to_vec();
            filled.push(1);
            world.inject(x, at("10.99.0.9:1"), &filled);
        }
        world.run(100);
        world.inject(x, b.place, &pieces[1]);
    }
    assert!(
        world.hosts[x].frames.len() >= 90,
        "{} of 100",
        world.hosts[x].frames.len()
    );
}

#[test]
fn s84_frames_to_strangers_stay_at_their_caps() {
    let (mut world, x, mut root) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let from = derive::mac(network(), world.address(x));
    for n in 0..10_000u64 {
        let stranger = Address::new(0x10_0000_0000 + n).expect("ok");
        let to = derive::mac(network(), stranger);
        world.send_frame(
            x,
            network(),
            Ethernet {
                to,
                from,
                ethertype: 0x86dd,
            },
            &ipv6(1, 60),
        );
    }
    root.forget(&world, x);
    b.forget(&world, x);
    let to = derive::mac(network(), b.address());
    world.send_frame(
        x,
        network(),
        Ethernet {
            to,
            from,
            ethertype: 0x86dd,
        },
        &ipv6(1, 60),
    );
    assert_eq!(b.count(&world, x, Verb::Frame), 1);
    world.run(400);
    assert!(root.count(&world, x, Verb::Whois) <= 16);
}

#[test]
fn s86_a_root_that_lies() {
    let (mut world, x, mut root) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    b.forget(&world, x);
    for n in 0..10_000u64 {
        let place = at(&format!("10.150.{}.{}:9993", n / 250, n % 250 + 1));
        let mut payload = vec![0; 64];
        let mut writer = Writer::new(&mut payload);
        control::write_rendezvous(&mut writer, b.address(), &place).expect("room");
        let len = writer.len();
        root.say(&mut world, x, Verb::Rendezvous, &payload[..len]);
        world.run(1);
    }
    // One per peer and second, three ECHOs each.
    assert!(
        b.count(&world, x, Verb::Echo) <= 33,
        "{}",
        b.count(&world, x, Verb::Echo)
    );
}

#[test]
fn s87_duplicates_are_delivered_and_make_nothing_grow() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let (_, packet) = b.packet(Verb::Frame, &member_frame(), Suite::Salsa);
    for _ in 0..1_000 {
        world.inject(x, b.place, &packet);
    }
    assert_eq!(world.hosts[x].frames.len(), 1_000);
    assert_eq!(
        world.hosts[x]
            .node
            .network(network())
            .expect("joined")
            .members,
        1
    );
}
