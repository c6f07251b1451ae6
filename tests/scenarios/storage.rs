//! Old peers, peers that were stored, bounds.

use zt::base::NetworkId;
use zt::node::record::RECORD_MAX;
use zt::node::{Event, LinkChange};
use zt::wire::packet::Suite;
use zt::wire::verb::Verb;

use super::lab::{R_PLACE, X_PLACE, member_frame, network, online};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, identity, planet};

#[test]
fn s99_s108_a_peer_of_protocol_4() {
    let (mut world, x, _) = online();
    world.join(x, network());
    let mut old = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    (old.protocol, old.version) = (4, (1, 0, 5));
    old.meet(&mut world, x);
    old.say(&mut world, x, Verb::Frame, &member_frame());
    for _ in 0..12 {
        world.run(10_000);
        world.inject(x, old.place, &[]);
        old.answer_hellos(&mut world, x);
    }
    assert_eq!(old.count(&world, x, Verb::Echo), 0);
    let hellos = old.heard(&world, x).len();
    world.run(60_000);
    assert!(
        old.count(&world, x, Verb::Hello) > hellos,
        "kept alive by HELLO"
    );
    let version = world.hosts[x]
        .node
        .peer(old.address(), world.clock().mono)
        .expect("known")
        .version;
    assert_eq!(
        version.map(|v| (v.major, v.minor, v.revision)),
        Some((1, 0, 5))
    );
}

#[test]
fn s101_two_sockets_make_two_paths() {
    let mut world = World::new(planet(&[(0, at(R_PLACE))]));
    let x = world.add(1, &[X_PLACE, "10.22.0.1:9993"]);
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.hello(&mut world, x);
    world.run(200);
    let hellos: Vec<_> = b
        .heard(&world, x)
        .into_iter()
        .filter(|h| h.verb == Verb::Hello)
        .collect();
    assert_eq!(hellos.len(), 2, "from all sockets");
    let body = b.ok_hello_body(at(X_PLACE), &[]);
    for hello in hellos {
        let mut payload = vec![Verb::Hello as u8];
        payload.extend_from_slice(&hello.id.to_bytes());
        payload.extend_from_slice(&body);
        let (_, mut bytes) = b.packet(Verb::Ok, &payload, Suite::Salsa);
        let socket = world.hosts[x]
            .sockets
            .iter()
            .position(|s| *s == hello.from)
            .expect("own");
        let place = b.place;
        world.call(x, |n, now, out| {
            n.handle_datagram(
                now,
                zt::node::SocketId(socket as u16),
                place,
                &mut bytes,
                out,
            );
        });
    }
    assert_eq!(b.paths(&world, x), [b.place, b.place]);
}

#[test]
fn s118_s119_stored_peers() {
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    b.meet(&mut world, x);
    let mut record = vec![0; RECORD_MAX];
    let len = world.hosts[x]
        .node
        .export_peer(b.address(), &mut record)
        .expect("known");
    record.truncate(len);
    assert_eq!(record[0], 2);
    // A new run of the same node.
    let (mut world, x, _) = online();
    let mut b = Scripted::new(&world, x, 2, "10.3.0.1:9993");
    for cut in 0..record.len() {
        let cut = record[..cut].to_vec();
        let taken = world.call(x, |n, now, out| n.import_peer(now, &cut, out));
        assert!(taken.is_err());
    }
    let taken = world.call(x, |n, now, out| n.import_peer(now, &record, out));
    assert_eq!(taken, Ok(b.address()));
    let hello = b.heard(&world, x);
    assert_eq!(
        (hello.len(), hello[0].verb, hello[0].to),
        (1, Verb::Hello, b.place)
    );
    assert!(b.paths(&world, x).is_empty(), "no path before its OK");
    b.say(&mut world, x, Verb::Echo, b"");
    assert_eq!(
        b.count(&world, x, Verb::Ok),
        1,
        "opened from the stored identity"
    );
    b.answer_hellos(&mut world, x);
    assert_eq!(b.paths(&world, x), [b.place]);
}

#[test]
fn events_are_bounded_and_say_so() {
    let (mut world, x, _) = online();
    let now = world.clock();
    let mut log = crate::sim::Log::default();
    for n in 0..200u64 {
        let id = NetworkId::new(0x1234_5678_9a00_0000 + n).expect("an id");
        let _ = world.hosts[x].node.join(now, id, &mut log);
        world.hosts[x].node.leave(now, id, &mut log);
    }
    let mut events = Vec::new();
    while let Some(event) = world.hosts[x].node.poll_event() {
        events.push(event);
    }
    assert_eq!((events.len(), events.last()), (64, Some(&Event::Lost)));
    world.call(x, |n, now, out| n.handle_link(now, LinkChange::Moved, out));
    assert_eq!(identity(1).identity.address, world.address(x));
}
