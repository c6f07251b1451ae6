//! Scenarios of networks with a controller, in virtual time, each with its number where it has
//! one. Members are nodes behind a root; the controller is simulated, and so are members that
//! must say what no honest node says.
#![allow(missing_docs)]

mod sim;

use sim::controller::{
    ACCEPT, Answer, BRIDGE, Controller, Delivery, Order, Revoked, com, revocation, revocations,
    tag, written,
};
use sim::scripted::Scripted;
use sim::{World, at, identity, ipv6, planet};
use zt::base::{Address, Mac, NetworkId};
use zt::node::DropReason;
use zt::node::network::NetworkStatus;
use zt::node::record::RECORD_MAX;
use zt::wire::control::{ErrorReply, OkReply};
use zt::wire::credential::{Bundle, Credential, Credentials, Records, Revocation};
use zt::wire::cursor::Reader;
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::verb::{ErrorCode, Verb};

const IPV6: u16 = 0x86dd;
const C: usize = 40;
const C_PLACE: &str = "192.0.2.7:9993";
const MINUTE: u64 = 60_000;

/// A root, members that have not joined yet, a controller that the root knows, and a private
/// network in which all members have an address.
struct Lab {
    world: World,
    c: Controller,
    id: NetworkId,
    tag: u8,
}

impl Lab {
    fn new(members: usize) -> Self {
        let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
        world.add(0, &["192.0.2.1:9993"]);
        for n in 1..=members {
            // Each behind a network of its own: roots let in one new node per network at a time.
            world.add(n, &[&format!("203.{n}.113.1:9993")]);
        }
        let mut c = Controller::new(C, C_PLACE);
        let id = c.create(1);
        for n in 1..=members {
            c.authorise(&world, id, n, Some(&format!("10.1.0.{n}/24")));
        }
        let all = |w: &World, _: &Controller| (1..=members).all(|n| w.is_online(n));
        assert!(c.serve_until(&mut world, 20_000, all));
        c.meet(&mut world, 0);
        Self {
            world,
            c,
            id,
            tag: 0,
        }
    }

    /// The same with everybody in.
    fn joined(members: usize) -> Self {
        let mut lab = Self::new(members);
        for n in 1..=members {
            lab.join(n);
        }
        for n in 1..=members {
            assert!(lab.comes(n, NetworkStatus::Ok, 5_000), "{n} is let in");
        }
        lab
    }

    fn join(&mut self, host: usize) {
        self.world.join(host, self.id);
    }

    fn serve(&mut self, ms: u64) {
        self.c.serve(&mut self.world, ms);
    }

    fn status(&self, host: usize) -> NetworkStatus {
        let view = self.world.hosts[host].node.network(self.id);
        view.expect("joined").status
    }

    fn name(&self, host: usize) -> String {
        let view = self.world.hosts[host].node.network(self.id);
        view.expect("joined").name.to_owned()
    }

    /// The status is reached within this time.
    fn comes(&mut self, host: usize, status: NetworkStatus, ms: u64) -> bool {
        let id = self.id;
        self.c.serve_until(&mut self.world, ms, |w, _| {
            let view = w.hosts[host].node.network(id);
            view.is_some_and(|v| v.status == status)
        })
    }

    fn passes(&mut self, from: usize, to: usize) -> bool {
        self.passes_in(self.id, from, to)
    }

    /// A unicast frame arrives within two seconds.
    fn passes_in(&mut self, id: NetworkId, from: usize, to: usize) -> bool {
        self.tag = self.tag.wrapping_add(1);
        let payload = ipv6(self.tag, 60 + usize::from(self.tag));
        self.world.hosts[to].frames.clear();
        self.world.unicast(from, to, id, IPV6, &payload);
        self.c.serve_until(&mut self.world, 2_000, |w, _| {
            let mut frames = w.hosts[to].frames.iter();
            frames.any(|(network, frame)| *network == id && frame.ends_with(&payload))
        })
    }

    fn drops(&self, host: usize, reason: DropReason) -> u64 {
        let view = self.world.hosts[host].node.network(self.id);
        view.expect("joined").counters.drops(reason)
    }

    fn all_drops(&self, host: usize) -> u64 {
        self.world.hosts[host].node.stats().drops_total()
    }

    /// Wall clock in ms.
    fn wall(&self) -> u64 {
        self.world.clock().wall.as_ms()
    }

    /// A scripted peer that `host` knows, and that is a member as far as its certificate goes.
    fn member(&mut self, host: usize, n: usize) -> (Scripted, Vec<u8>) {
        let place = format!("192.0.2.{n}:9993");
        let mut peer = Scripted::new(&self.world, host, n, &place);
        peer.meet(&mut self.world, host);
        let own = peer.secret.identity;
        let times = (self.wall(), self.c.net(self.id).window);
        let com = com(&self.c.secret, self.id, &own, times, true);
        (peer, com)
    }

    /// A FRAME of that peer to `host`; was it delivered?
    fn frame_of(&mut self, peer: &mut Scripted, host: usize) -> bool {
        self.tag = self.tag.wrapping_add(1);
        let body = ipv6(self.tag, 100);
        let mut payload = self.id.to_bytes().to_vec();
        payload.extend_from_slice(&IPV6.to_be_bytes());
        payload.extend_from_slice(&body);
        self.world.hosts[host].frames.clear();
        peer.say(&mut self.world, host, Verb::Frame, &payload);
        let frames = &self.world.hosts[host].frames;
        frames.iter().any(|(_, frame)| frame.ends_with(&body))
    }

    /// Makes the peer a member in the eyes of `host`.
    fn admit(&mut self, peer: &mut Scripted, host: usize, com: &[u8]) {
        let payload = bundle(com, &[]);
        peer.say(&mut self.world, host, Verb::NetworkCredentials, &payload);
        assert!(self.frame_of(peer, host), "a member's frame passes");
    }
}

/// A NETWORK_CREDENTIALS of a certificate and tags.
fn bundle(com: &[u8], tags: &[Vec<u8>]) -> Vec<u8> {
    let bytes = tags.concat();
    let bundle = Bundle {
        com: Some(com),
        tags: Records {
            count: tags.len() as u16,
            bytes: &bytes,
        },
        ..Bundle::default()
    };
    written(4_096, |w| bundle.write(w))
}

fn gaps(times: &[u64]) -> Vec<u64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

// ---- asking --------------------------------------------------------------------------------

#[test]
fn s60_networks_are_asked_again_once_when_the_clock_is_set() {
    let mut lab = Lab::joined(1);
    lab.serve(200_000);
    for step in [31_536_000_000, -3_600_000, 9_000] {
        let asked = |lab: &Lab| lab.c.times(1, lab.id);
        // Right behind a request of the schedule: the next is due in a minute.
        let before = asked(&lab).len();
        while asked(&lab).len() == before {
            lab.serve(500);
        }
        lab.serve(2_000);
        let before = asked(&lab).len();
        lab.world.wall_offset += step;
        lab.world
            .call(1, |node, now, out| node.handle_timeout(now, out));
        lab.serve(5_000);
        let expected = usize::from(step.unsigned_abs() > 10_000);
        assert_eq!(asked(&lab).len() - before, expected, "{step} ms");
    }
}

#[test]
fn a_member_asks_its_controller_and_is_configured() {
    let mut lab = Lab::new(1);
    let id = lab.id;
    let net = lab.c.net(id);
    net.name = "office".into();
    net.mtu = 1_400;
    net.revision = 77;
    net.routes = vec![sim::controller::RouteTo {
        target: at("10.9.0.0:16"),
        via: Some(at("10.1.0.9:0")),
        flags: 0,
        metric: 0,
    }];
    lab.join(1);
    assert_eq!(lab.status(1), NetworkStatus::RequestingConfiguration);
    assert!(lab.comes(1, NetworkStatus::Ok, 1_000));
    let view = lab.world.hosts[1].node.network(id).expect("joined");
    assert_eq!((view.name, view.mtu, view.revision), ("office", 1_400, 77));
    assert!(!view.public && view.broadcast);
    let addresses: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.1/24"]);
    assert_eq!(view.routes.len(), 1);
    assert_eq!(view.routes[0].target.to_string(), "10.9.0.0/16");
    assert_eq!(view.routes[0].via, Some("10.1.0.9".parse().expect("ip")));
    let last = lab.c.last(1).expect("a request");
    // network 1.7: without these the controller sends other rules, or none.
    assert_eq!((last.number("v"), last.number("revr")), (Some(7), Some(1)));
    for key in [
        "vend", "pv", "majv", "minv", "revv", "mr", "mc", "mcr", "mt",
    ] {
        assert!(last.number(key).is_some(), "{key}");
    }
}

#[test]
fn a_configuration_is_refreshed_every_minute() {
    let mut lab = Lab::joined(1);
    lab.serve(20 * MINUTE);
    let times = lab.c.times(1, lab.id);
    assert!((18..=23).contains(&times.len()), "{}", times.len());
    for gap in gaps(&times) {
        assert!((55_000..=65_000).contains(&gap), "{gap}");
    }
    let last = lab.c.last(1).expect("a request");
    assert_eq!(last.revision, 1, "the request tells what is held");
}

#[test]
fn an_unanswered_request_is_repeated_more_and_more_rarely() {
    let mut lab = Lab::new(1);
    let id = lab.id;
    lab.c.net(id).answer = Answer::Silence;
    // With the path known, every request leaves at once.
    lab.c.meet(&mut lab.world, 1);
    lab.join(1);
    lab.serve(60 * MINUTE);
    let times = lab.c.times(1, id);
    let offset: Vec<u64> = times.iter().map(|t| t - times[0]).collect();
    let near = |a: u64, b: u64| a.abs_diff(b) <= 300;
    for (got, wanted) in offset.iter().zip([0, 2_000, 5_000, 10_000, 15_000]) {
        assert!(near(*got, wanted), "{offset:?}");
    }
    let gaps = gaps(&times);
    let minute = offset.iter().take_while(|t| **t < MINUTE).count();
    assert!((13..=15).contains(&minute), "{minute} in the first minute");
    assert!(
        gaps[2..minute - 1].iter().all(|g| near(*g, 5_000)),
        "{gaps:?}"
    );
    // Then 15 s, then a minute: never sooner again.
    let rare = gaps.iter().position(|g| *g >= 54_000).expect("minutes");
    assert!(
        gaps[minute..rare].iter().any(|g| near(*g, 15_000)),
        "{gaps:?}"
    );
    assert!(
        gaps[rare..].iter().all(|g| (54_000..=66_000).contains(g)),
        "{gaps:?}"
    );
    assert_eq!(lab.status(1), NetworkStatus::RequestingConfiguration);
}

#[test]
fn refusals_are_shown_and_count_from_the_controller_alone() {
    for (answer, status) in [
        (Answer::Unknown, "NOT_FOUND"),
        (Answer::NotController, "NOT_FOUND"),
        (Answer::Denied, "ACCESS_DENIED"),
        (Answer::SignOn(None), "AUTHENTICATION_REQUIRED"),
        (
            Answer::SignOn(Some("https://x.example".into())),
            "AUTHENTICATION_REQUIRED",
        ),
    ] {
        let mut lab = Lab::new(1);
        let id = lab.id;
        lab.c.net(id).answer = answer.clone();
        lab.join(1);
        lab.serve(1_000);
        assert_eq!(lab.status(1).name(), status, "{answer:?}");
    }
    let mut lab = Lab::joined(1);
    let (mut peer, _) = lab.member(1, 50);
    let mut payload = vec![Verb::NetworkConfigRequest as u8];
    payload.extend_from_slice(&[0; 8]);
    payload.push(ErrorCode::NetworkAccessDenied as u8);
    payload.extend_from_slice(&lab.id.to_bytes());
    peer.say(&mut lab.world, 1, Verb::Error, &payload);
    assert_eq!(lab.status(1), NetworkStatus::Ok, "said by a stranger");
}

#[test]
fn s75_the_controller_is_silent_for_a_day() {
    let mut lab = Lab::joined(2);
    lab.c.up = false;
    lab.serve(24 * 60 * MINUTE);
    assert_eq!(lab.status(1), NetworkStatus::Ok);
    let view = lab.world.hosts[1].node.network(lab.id).expect("joined");
    assert_eq!(view.addresses.len(), 1);
    assert!(
        lab.passes(1, 2) && lab.passes(2, 1),
        "the two are of an age"
    );
    lab.c.up = true;
    // The root has forgotten it, too.
    lab.c.meet(&mut lab.world, 0);
    let before = lab.c.asked.len();
    lab.serve(3 * MINUTE);
    let times = lab.c.times(1, lab.id);
    assert!(lab.c.asked.len() > before + 2, "answered again");
    assert!(gaps(&times[times.len() - 2..])[0] <= 66_000);
}

#[test]
fn s75_requests_to_a_dead_controller_become_one_a_minute() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.c.net(id).answer = Answer::Silence;
    lab.serve(6 * 60 * MINUTE);
    let times = lab.c.times(1, id);
    let last = &times[times.len() - 30..];
    for gap in gaps(last) {
        assert!((54_000..=66_000).contains(&gap), "{gap}");
    }
    assert!(times.len() < 6 * 66 + 40, "{}", times.len());
}

#[test]
fn s76_denied_then_authorised() {
    for (wait, limit) in [(20_000, 5_500), (60 * MINUTE, 67_000)] {
        let mut lab = Lab::new(1);
        let (id, me) = (lab.id, lab.world.address(1));
        lab.c.net(id).member(me).authorised = false;
        lab.join(1);
        assert!(lab.comes(1, NetworkStatus::AccessDenied, 1_000));
        lab.serve(wait);
        assert_eq!(lab.status(1), NetworkStatus::AccessDenied);
        lab.c.net(id).member(me).authorised = true;
        assert!(lab.comes(1, NetworkStatus::Ok, limit), "after {wait}");
    }
}

// ---- what comes unasked --------------------------------------------------------------------

#[test]
fn a_push_is_taken_at_once_and_answered() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    lab.c.net(id).name = "renamed".into();
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(200);
    assert_eq!(lab.name(1), "renamed");
    assert_eq!(lab.c.taken.len(), 1);
    // wire 9.13: the answer names verb ECHO, network and update.
    let reply = OkReply::parse(&lab.c.taken[0].1).expect("an OK");
    let mut reader = Reader::new(reply.body);
    assert_eq!(reader.network_id(), Ok(id));
    assert_eq!(reader.u64().ok().as_ref(), lab.c.updates.back());
}

#[test]
fn a_refresh_makes_the_member_ask_at_most_once_a_second() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(5_000);
    let before = lab.c.times(1, id).len();
    lab.c.refresh(&mut lab.world, 1, &[id]);
    lab.serve(500);
    assert_eq!(lab.c.times(1, id).len(), before + 1);
    for _ in 0..100 {
        lab.c.refresh(&mut lab.world, 1, &[id]);
        lab.serve(50);
    }
    let times = lab.c.times(1, id);
    assert!(times.len() <= before + 7, "5 s, 1.1 s apart");
    let gaps = gaps(&times[before - 1..]);
    assert!(gaps.iter().all(|g| *g >= 1_100), "{gaps:?}");
}

#[test]
fn a_refresh_of_a_stranger_is_nothing() {
    let mut lab = Lab::joined(1);
    let (mut peer, _) = lab.member(1, 50);
    lab.serve(5_000);
    let before = lab.c.times(1, lab.id).len();
    let ids = lab.id.to_bytes();
    peer.say(&mut lab.world, 1, Verb::NetworkConfig, &ids);
    lab.serve(3_000);
    assert_eq!(lab.c.times(1, lab.id).len(), before);
}

// ---- chunks --------------------------------------------------------------------------------

/// A configuration of three chunks.
fn long(lab: &mut Lab) {
    let net = lab.c.net(lab.id);
    net.rules = ACCEPT.repeat(400);
    net.delivery.chunk = 1_000;
}

#[test]
fn s74_chunks_in_any_order_with_duplicates() {
    for order in [
        vec![0, 1, 2],
        vec![2, 1, 0],
        vec![1, 2, 0],
        vec![1, 1, 0, 2],
        vec![2, 0, 2, 0, 1, 1],
    ] {
        let mut lab = Lab::joined(1);
        let id = lab.id;
        long(&mut lab);
        lab.serve(2_000);
        let count = lab.c.bodies(&lab.world, 1, id).len();
        assert_eq!(count, 3, "the test's own length");
        lab.c.net(id).name = "in pieces".into();
        lab.c.net(id).delivery.order = Order::Exactly(order.clone());
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(200);
        assert_eq!(lab.name(1), "in pieces", "{order:?}");
        assert_eq!(lab.c.taken.len(), 1, "{order:?}: taken once");
    }
}

#[test]
fn s74_a_chunk_that_is_missing_or_wrong_spoils_all() {
    let base = Delivery {
        chunk: 1_000,
        ..Delivery::default()
    };
    let cases = [
        (
            "missing",
            Delivery {
                order: Order::Exactly(vec![0, 2]),
                ..base.clone()
            },
        ),
        (
            "twice for a missing one",
            Delivery {
                order: Order::Exactly(vec![0, 2, 2]),
                ..base.clone()
            },
        ),
        (
            "altered",
            Delivery {
                altered: Some(1),
                ..base.clone()
            },
        ),
        (
            "signature",
            Delivery {
                corrupt: Some(1),
                ..base.clone()
            },
        ),
        (
            "signed by another",
            Delivery {
                signer: Some(C + 1),
                ..base.clone()
            },
        ),
        (
            "total too large",
            Delivery {
                total_off: 1,
                ..base.clone()
            },
        ),
        (
            "a gap",
            Delivery {
                position_off: 1,
                total_off: 1,
                ..base.clone()
            },
        ),
    ];
    for (why, delivery) in cases {
        let mut lab = Lab::joined(1);
        let id = lab.id;
        lab.serve(2_000);
        long(&mut lab);
        lab.c.net(id).name = "spoilt".into();
        lab.c.net(id).delivery = delivery;
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(1_000);
        assert_eq!(lab.name(1), "simulated", "{why}");
        assert!(lab.c.taken.is_empty(), "{why}");
        // What was begun does not stand in the way of what is right.
        lab.c.net(id).delivery = base.clone();
        lab.c.net(id).name = "whole".into();
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(1_000);
        assert_eq!(lab.name(1), "whole", "after: {why}");
    }
}

#[test]
fn s74_what_is_older_is_refused_unless_it_was_asked_for() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    lab.c.net(id).timestamp = Some(lab.wall() - 60_000);
    lab.c.net(id).name = "older".into();
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    assert!(lab.c.taken.is_empty());
    // The controller's clock was put back: its answers count.
    lab.serve(70_000);
    assert_eq!(lab.name(1), "older");
}

#[test]
fn an_old_configuration_cannot_be_replayed_by_a_third_party() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    let old = lab.c.bodies(&lab.world, 1, id);
    lab.serve(65_000);
    lab.c.net(id).name = "new".into();
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(500);
    assert_eq!(lab.name(1), "new");
    let (mut peer, _) = lab.member(1, 50);
    for body in &old {
        peer.say(&mut lab.world, 1, Verb::NetworkConfig, body);
    }
    lab.serve(500);
    assert_eq!(lab.name(1), "new");
    // A new one may come from anybody: the signature counts.
    lab.c.net(id).name = "newer".into();
    for body in lab.c.bodies(&lab.world, 1, id) {
        peer.say(&mut lab.world, 1, Verb::NetworkConfig, &body);
    }
    lab.serve(500);
    assert_eq!(lab.name(1), "newer");
}

#[test]
fn unsigned_chunks_count_from_the_controller_alone() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    let (mut peer, _) = lab.member(1, 50);
    lab.c.net(id).name = "unsigned".into();
    lab.c.net(id).delivery.unsigned = true;
    for body in lab.c.bodies(&lab.world, 1, id) {
        peer.say(&mut lab.world, 1, Verb::NetworkConfig, &body);
    }
    lab.serve(500);
    assert_eq!(lab.name(1), "simulated");
}

#[test]
fn a_configuration_for_another_node_or_network_is_refused() {
    let mut lab = Lab::new(2);
    let (id, me, other) = (lab.id, lab.world.address(1), lab.world.address(2));
    lab.c.net(id).member(me).issued_to = Some(other.get());
    lab.join(1);
    lab.serve(3_000);
    assert_eq!(lab.status(1), NetworkStatus::RequestingConfiguration);
    lab.c.net(id).member(me).issued_to = None;
    let foreign = format!("{:016x}", lab.c.id(2).get()).into_bytes();
    lab.c.net(id).instead = vec![("nwid", foreign)];
    lab.serve(10_000);
    assert_eq!(lab.status(1), NetworkStatus::RequestingConfiguration);
    lab.c.net(id).instead.clear();
    assert!(lab.comes(1, NetworkStatus::Ok, 6_000));
}

#[test]
fn chunks_that_are_too_many_too_long_or_endless_change_nothing() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    lab.serve(2_000);
    let before = lab.all_drops(1);
    // Longer than any node holds.
    let net = lab.c.net(id);
    net.name = "huge".into();
    net.instead = vec![("zz", vec![b'z'; 300_000])];
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    assert!(lab.all_drops(1) > before, "counted");
    // Ever new updates, none of them whole.
    lab.c.net(id).instead.clear();
    lab.c.net(id).name = "endless".into();
    long(&mut lab);
    lab.c.net(id).delivery.order = Order::Exactly(vec![0, 1]);
    for _ in 0..200 {
        lab.c.push(&mut lab.world, 1, id);
        lab.serve(20);
    }
    assert_eq!(lab.name(1), "simulated");
    // Crumbs: every chunk as short as can be.
    lab.c.net(id).delivery = Delivery {
        chunk: 10,
        ..Delivery::default()
    };
    lab.c.net(id).name = "crumbs".into();
    let before = lab.all_drops(1);
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    assert!(lab.all_drops(1) > before, "counted");
    // The other of two halves that come more than ten seconds apart is too late.
    lab.c.net(id).name = "late".into();
    lab.c.net(id).delivery = Delivery {
        chunk: 1_000,
        ..Delivery::default()
    };
    let bodies = lab.c.bodies(&lab.world, 1, id);
    let (last, first) = bodies.split_last().expect("chunks");
    for body in first {
        lab.c.say(&mut lab.world, 1, Verb::NetworkConfig, body);
    }
    lab.serve(11_000);
    lab.c.say(&mut lab.world, 1, Verb::NetworkConfig, last);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "simulated");
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(1_000);
    assert_eq!(lab.name(1), "late", "and is taken when it comes whole");
}

// ---- frames between members ----------------------------------------------------------------

#[test]
fn s71_members_of_a_private_network_reach_each_other_with_the_first_frame() {
    let mut lab = Lab::joined(3);
    assert!(lab.passes(1, 2));
    assert!(lab.passes(2, 1));
    assert!(lab.passes(3, 1));
    assert_eq!(lab.drops(2, DropReason::NotMember), 0);
}

#[test]
fn s71_a_frame_without_certificate_is_refused_and_the_next_with_one_passes() {
    let mut lab = Lab::joined(1);
    let (mut peer, com) = lab.member(1, 50);
    peer.forget(&lab.world, 1);
    for _ in 0..10 {
        assert!(!lab.frame_of(&mut peer, 1));
    }
    let errors = peer.heard(&lab.world, 1);
    let mut errors = errors.iter().filter(|h| h.verb == Verb::Error);
    let error = errors.next().expect("an answer");
    assert!(errors.next().is_none(), "one a second");
    let error = ErrorReply::parse(&error.payload).expect("an error");
    assert_eq!(error.code, ErrorCode::NeedMembershipCertificate as u8);
    assert_eq!(error.body, lab.id.to_bytes());
    assert!(lab.drops(1, DropReason::NotMember) >= 9);
    lab.admit(&mut peer, 1, &com);
}

#[test]
fn s71_credentials_are_pushed_once_a_second_at_most() {
    let mut lab = Lab::joined(1);
    let (mut peer, com) = lab.member(1, 50);
    lab.admit(&mut peer, 1, &com);
    lab.serve(3_000);
    peer.forget(&lab.world, 1);
    let mut payload = vec![Verb::Frame as u8];
    payload.extend_from_slice(&[0; 8]);
    payload.push(ErrorCode::NeedMembershipCertificate as u8);
    payload.extend_from_slice(&lab.id.to_bytes());
    for _ in 0..30 {
        peer.say(&mut lab.world, 1, Verb::Error, &payload);
        lab.serve(100);
    }
    let pushes = peer.count(&lab.world, 1, Verb::NetworkCredentials);
    assert!((2..=4).contains(&pushes), "{pushes} in three seconds");
    let heard = peer.heard(&lab.world, 1);
    let push = heard.iter().find(|h| h.verb == Verb::NetworkCredentials);
    let list: Vec<_> = Credentials::new(&push.expect("a push").payload).collect();
    let Some(Ok(Credential::Com(com))) = list.first() else {
        panic!("a certificate first: {list:?}");
    };
    assert_eq!(com.issued_to(), Some(lab.world.address(1)));
}

#[test]
fn a_foreign_certificate_helps_nobody() {
    let mut lab = Lab::joined(2);
    let (mut peer, _) = lab.member(1, 50);
    let times = (lab.wall(), lab.c.net(lab.id).window);
    let id = lab.id;
    let others = identity(2).identity;
    let own = peer.secret.identity;
    let stolen = com(&lab.c.secret, id, &others, times, true);
    let forged = com(&identity(C + 1), id, &own, times, true);
    let other_network = com(&lab.c.secret, lab.c.id(2), &own, times, true);
    // Same address, another identity: rule 3 of network 3.1.
    let mut double = identity(2).identity;
    double.address = own.address;
    let wrong_print = com(&lab.c.secret, id, &double, times, true);
    for com in [stolen, forged, other_network, wrong_print] {
        let payload = bundle(&com, &[]);
        peer.say(&mut lab.world, 1, Verb::NetworkCredentials, &payload);
        assert!(!lab.frame_of(&mut peer, 1));
        lab.serve(1_500);
    }
}

#[test]
fn s72_a_revocation_while_frames_flow() {
    let mut lab = Lab::joined(3);
    let (mut peer, com) = lab.member(2, 50);
    lab.admit(&mut peer, 2, &com);
    assert!(lab.passes(1, 2) && lab.passes(1, 3) && lab.passes(2, 3));
    lab.serve(2_000);
    peer.forget(&lab.world, 2);
    let what = Revoked::membership(lab.world.address(1), lab.wall());
    let one = revocations(&[revocation(&lab.c.secret, lab.id, 9, what)]);
    // To one member alone, and twice.
    for _ in 0..2 {
        lab.c.say(&mut lab.world, 2, Verb::NetworkCredentials, &one);
        lab.serve(1_500);
    }
    assert!(!lab.passes(1, 2), "dropped by who was told");
    assert!(!lab.passes(1, 3), "and by who was told by that one");
    assert!(lab.passes(2, 3), "others go on");
    let heard = peer.heard(&lab.world, 2);
    let told = heard.iter().filter(|h| {
        h.verb == Verb::NetworkCredentials
            && Credentials::new(&h.payload).any(|c| matches!(c, Ok(Credential::Revocation(_))))
    });
    assert_eq!(told.count(), 1, "each member is told once");
    // A certificate that is newer than the revocation counts.
    lab.serve(70_000);
    assert!(lab.passes(1, 2) && lab.passes(1, 3));
}

#[test]
fn a_revocation_must_be_the_controllers() {
    let mut lab = Lab::joined(2);
    assert!(lab.passes(1, 2));
    let (mut peer, _) = lab.member(2, 50);
    let what = Revoked::membership(lab.world.address(1), lab.wall());
    let forged = revocations(&[revocation(&identity(50), lab.id, 9, what)]);
    peer.say(&mut lab.world, 2, Verb::NetworkCredentials, &forged);
    lab.serve(1_500);
    assert!(lab.passes(1, 2));
    // Of a tag: membership is another matter (network 3.4, a slip of 1.14.1).
    let what = Revoked {
        kind: Revocation::TAG,
        credential: 1,
        ..what
    };
    let of_tag = revocations(&[revocation(&lab.c.secret, lab.id, 10, what)]);
    lab.c
        .say(&mut lab.world, 2, Verb::NetworkCredentials, &of_tag);
    lab.serve(1_500);
    assert!(lab.passes(1, 2));
}

#[test]
fn s73_certificates_further_apart_than_the_window() {
    let mut lab = Lab::new(2);
    let (id, one) = (lab.id, lab.world.address(1));
    lab.c.net(id).window = 300_000;
    lab.join(1);
    lab.join(2);
    assert!(lab.comes(1, NetworkStatus::Ok, 5_000) && lab.comes(2, NetworkStatus::Ok, 5_000));
    assert!(lab.passes(1, 2) && lab.passes(2, 1));
    lab.c.net(id).member(one).answer = Some(Answer::Silence);
    lab.serve(200_000);
    assert!(lab.passes(1, 2) && lab.passes(2, 1), "within the window");
    lab.serve(300_000);
    assert_eq!(lab.status(1), NetworkStatus::Ok);
    assert!(!lab.passes(1, 2) && !lab.passes(2, 1), "both ways");
    lab.c.net(id).member(one).answer = None;
    lab.serve(70_000);
    assert!(lab.passes(1, 2) && lab.passes(2, 1), "without a restart");
}

#[test]
fn after_deauthorisation_no_frame_passes_beyond_the_window() {
    let mut lab = Lab::new(2);
    let (id, one) = (lab.id, lab.world.address(1));
    lab.c.net(id).window = 300_000;
    lab.join(1);
    lab.join(2);
    assert!(lab.comes(1, NetworkStatus::Ok, 5_000) && lab.comes(2, NetworkStatus::Ok, 5_000));
    // Nobody is told by a revocation: the window alone must do.
    lab.c.net(id).member(one).authorised = false;
    assert!(lab.comes(1, NetworkStatus::AccessDenied, 70_000));
    let view = lab.world.hosts[1].node.network(id).expect("joined");
    assert_eq!(view.addresses.len(), 1, "a failure takes nothing away");
    assert!(lab.passes(1, 2), "until the certificate is too old");
    lab.serve(400_000);
    for _ in 0..20 {
        assert!(!lab.passes(1, 2) && !lab.passes(2, 1));
        lab.serve(30_000);
    }
    assert_eq!(lab.status(1), NetworkStatus::AccessDenied);
}

#[test]
fn s77_capabilities_and_tags_decide_between_two_nodes() {
    let mut lab = Lab::new(2);
    let (id, one, two) = (lab.id, lab.world.address(1), lab.world.address(2));
    let net = lab.c.net(id);
    // Nothing fires but for what a capability lets through: IPv6.
    net.rules = vec![0xa5, 2, 0x86, 0xdd, 0, 0];
    net.capabilities = vec![(7, vec![0x25, 2, 0x86, 0xdd, 1, 0])];
    net.member(one).capabilities = vec![7];
    lab.join(1);
    lab.join(2);
    assert!(lab.comes(1, NetworkStatus::Ok, 5_000) && lab.comes(2, NetworkStatus::Ok, 5_000));
    assert!(lab.passes(1, 2), "the sender has the capability");
    assert!(!lab.passes(2, 1), "this one has not");
    assert!(lab.drops(2, DropReason::RulesOut) > 0);
    // Tags: pass if both have tag 1 = 5.
    let net = lab.c.net(id);
    net.capabilities.clear();
    net.rules = vec![0x30, 8, 0, 0, 0, 1, 0, 0, 0, 5, 1, 0, 0, 0];
    net.member(one).tags = vec![(1, 5)];
    net.member(two).tags = vec![(1, 6)];
    lab.serve(70_000);
    assert!(!lab.passes(1, 2));
    lab.c.net(id).member(two).tags = vec![(1, 5)];
    lab.serve(70_000);
    assert!(lab.passes(1, 2) && lab.passes(2, 1));
}

#[test]
fn s77_the_receiver_judges_too() {
    let mut lab = Lab::joined(1);
    let id = lab.id;
    let (mut peer, com) = lab.member(1, 50);
    lab.admit(&mut peer, 1, &com);
    lab.c.net(id).rules = vec![0x25, 2, 0x86, 0xdd, 0, 0, 1, 0];
    lab.c.push(&mut lab.world, 1, id);
    lab.serve(500);
    assert!(!lab.frame_of(&mut peer, 1), "the sender let it go");
    assert_eq!(lab.drops(1, DropReason::RulesIn), 1);
}

#[test]
fn s78_foreign_macs_behind_a_bridge() {
    let mut lab = Lab::new(3);
    let (id, two) = (lab.id, lab.world.address(2));
    lab.c.net(id).specialists = vec![BRIDGE | two.get()];
    for n in 1..=3 {
        lab.join(n);
    }
    for n in 1..=3 {
        assert!(lab.comes(n, NetworkStatus::Ok, 5_000));
    }
    assert!(lab.passes(1, 2) && lab.passes(1, 3));
    let foreign = Mac::new([0x0e, 1, 2, 3, 4, 5]);
    let own = |lab: &Lab, n: usize| derive::mac(id, lab.world.address(n));
    let frame = |to, from| Ethernet {
        to,
        from,
        ethertype: IPV6,
    };
    let arrives = |lab: &mut Lab, from: usize, to: usize, ethernet: Ethernet, tag: u8| {
        let payload = ipv6(tag, 90);
        lab.world.hosts[to].frames.clear();
        lab.world.send_frame(from, id, ethernet, &payload);
        lab.serve(1_000);
        let frames = &lab.world.hosts[to].frames;
        frames.iter().any(|(_, f)| f.ends_with(&payload))
    };
    let to_one = own(&lab, 1);
    // Unknown so far: goes to the bridges.
    let from_one = frame(foreign, to_one);
    assert!(arrives(&mut lab, 1, 2, from_one, 200));
    assert!(
        arrives(&mut lab, 2, 1, frame(to_one, foreign), 201),
        "of a bridge"
    );
    assert!(arrives(&mut lab, 1, 2, from_one, 202), "learnt");
    let before = lab.drops(3, DropReason::BadMac) + lab.drops(1, DropReason::BadMac);
    assert!(
        !arrives(&mut lab, 3, 1, frame(to_one, foreign), 203),
        "of no bridge"
    );
    let after = lab.drops(3, DropReason::BadMac) + lab.drops(1, DropReason::BadMac);
    assert_eq!(after, before + 1);
}

#[test]
fn s80_two_networks_with_the_same_peers_never_mix() {
    let mut lab = Lab::joined(2);
    let first = lab.id;
    let second = lab.c.create(2);
    for n in 1..=2 {
        lab.c
            .authorise(&lab.world, second, n, Some(&format!("10.2.0.{n}/24")));
    }
    // IPv6 passes in the first alone.
    lab.c.net(second).rules = vec![0x25, 2, 0x86, 0xdd, 0, 0, 1, 0];
    for n in 1..=2 {
        lab.world.join(n, second);
    }
    lab.serve(5_000);
    let count = |lab: &Lab, id| {
        let view = lab.world.hosts[1].node.network(id).expect("joined");
        assert_eq!(view.status, NetworkStatus::Ok);
        (
            view.counters.frames_in,
            view.counters.drops(DropReason::RulesOut),
        )
    };
    assert!(lab.passes_in(first, 1, 2));
    assert!(!lab.passes_in(second, 1, 2));
    assert_eq!(count(&lab, first).1, 0);
    assert_eq!(count(&lab, second).1, 1);
    assert_eq!((count(&lab, first).0, count(&lab, second).0), (1, 1));
    // A revocation in one is none in the other.
    lab.c.net(second).rules = ACCEPT.to_vec();
    for n in 1..=2 {
        lab.c.push(&mut lab.world, n, second);
    }
    lab.serve(500);
    assert!(lab.passes_in(second, 1, 2));
    let what = Revoked::membership(lab.world.address(1), lab.wall());
    lab.c.revoke(&mut lab.world, &[2], second, what);
    lab.serve(1_500);
    assert!(lab.passes_in(first, 1, 2));
    assert!(!lab.passes_in(second, 1, 2));
}

#[test]
fn s85_a_member_that_pushes_a_thousand_credentials_a_second() {
    let mut lab = Lab::joined(1);
    let (mut peer, com) = lab.member(1, 50);
    lab.admit(&mut peer, 1, &com);
    lab.serve(1_500);
    let stats = |lab: &Lab| {
        lab.world.hosts[1]
            .node
            .stats()
            .drops(DropReason::CredentialsGate)
    };
    let before = stats(&lab);
    let (own, now): (Address, u64) = (peer.address(), lab.wall());
    let secret = lab.c.secret.clone();
    for n in 0..2_000u32 {
        // Cheap to make, so signed once: what is refused is not even read.
        let tags = [tag(&secret, lab.id, own, now, (n, 1))];
        let payload = bundle(&com, &tags);
        peer.say(&mut lab.world, 1, Verb::NetworkCredentials, &payload);
        lab.serve(1);
    }
    let refused = stats(&lab) - before;
    assert!(
        (1_995..=1_999).contains(&refused),
        "{refused} of 2000 in two seconds"
    );
    assert!(lab.frame_of(&mut peer, 1), "and the member is one still");
}

// ---- without a controller ------------------------------------------------------------------

#[test]
fn s68_a_frame_of_2800_bytes_is_two_pieces_and_one_frame() {
    let id = NetworkId::new(0xff00_1600_1600_0000).expect("an id");
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    let x = world.add(1, &["198.51.100.1:9993"]);
    world.join(x, id);
    let mut peer = Scripted::new(&world, x, 50, "192.0.2.50:9993");
    peer.meet(&mut world, x);
    // Out: random, so that nothing can be packed.
    let mut payload = ipv6(1, 2_800);
    world.rng.fill(&mut payload[60..]);
    let ethernet = Ethernet {
        to: derive::mac(id, peer.address()),
        from: derive::mac(id, world.address(x)),
        ethertype: IPV6,
    };
    let mark = world.hosts[x].sent.len();
    world.send_frame(x, id, ethernet, &payload);
    let lengths: Vec<usize> = world.hosts[x].sent[mark..]
        .iter()
        .map(|d| d.bytes.len())
        .collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths.iter().all(|len| *len <= 1_432), "{lengths:?}");
    assert_eq!(lengths.iter().sum::<usize>(), 28 + 16 + 10 + 2_800);
    // In: any order, one piece twice.
    for order in [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 1]] {
        let mut body = id.to_bytes().to_vec();
        body.extend_from_slice(&IPV6.to_be_bytes());
        body.extend_from_slice(&payload);
        let (_, pieces) = peer.pieces(Verb::Frame, &body);
        world.hosts[x].frames.clear();
        for n in order {
            world.inject(x, peer.place, &pieces[n]);
        }
        let frames = &world.hosts[x].frames;
        assert_eq!(frames.len(), 1, "{order:?}");
        assert!(frames[0].1.ends_with(&payload), "{order:?}");
    }
}

// ---- the old form --------------------------------------------------------------------------

#[test]
fn a_configuration_of_the_old_form_is_one() {
    let mut lab = Lab::new(2);
    let id = lab.id;
    lab.c.net(id).answer = Answer::Old;
    lab.c.net(id).name = "old".into();
    lab.join(1);
    lab.join(2);
    assert!(lab.comes(1, NetworkStatus::Ok, 5_000) && lab.comes(2, NetworkStatus::Ok, 5_000));
    let view = lab.world.hosts[1].node.network(id).expect("joined");
    assert_eq!(
        (view.name, view.mtu, view.multicast_limit),
        ("old", 2_800, 32)
    );
    assert!(view.broadcast && !view.public);
    let addresses: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.1.0.1/24"]);
    assert!(lab.passes(1, 2) && lab.passes(2, 1));
}

/// What the service stores: the configurations, and the peers that were reached.
fn stored(lab: &Lab, ids: &[NetworkId], host: usize, other: usize) -> Stored {
    let node = &lab.world.hosts[host].node;
    let config = |id: &NetworkId| (*id, node.stored_config(*id).expect("one in force"));
    let record = |address: Address| {
        let mut record = vec![0; RECORD_MAX];
        let len = node.export_peer(address, &mut record).expect("known");
        record.truncate(len);
        record
    };
    Stored {
        configs: ids.iter().map(config).collect(),
        peers: [lab.world.address(other), lab.c.secret.identity.address].map(record),
    }
}

struct Stored {
    configs: Vec<(NetworkId, Vec<u8>)>,
    peers: [Vec<u8>; 2],
}

/// Two nodes with what they stored; neither root nor controller is there. The second starts so
/// long after the first.
fn restarted(kept: &[Stored; 2], pause_ms: u64) -> World {
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    for (stored, n) in kept.iter().zip(1..) {
        if n > 1 {
            world.run(pause_ms);
        }
        let host = world.add(n, &[&format!("203.{n}.113.1:9993")]);
        for record in &stored.peers {
            world
                .call(host, |node, now, out| node.import_peer(now, record, out))
                .expect("a record");
        }
        for (id, config) in &stored.configs {
            world
                .call(host, |node, now, out| {
                    node.join_with(now, *id, Some(config), out)
                })
                .expect("room");
            let view = world.hosts[host].node.network(*id).expect("joined");
            assert_eq!(view.status, NetworkStatus::Ok);
            assert!(!view.confirmed);
            assert_eq!(view.addresses.len(), 1);
        }
    }
    world
}

/// The first thing that IPv4 sends is a broadcast: who has 10.1.0.`of`? Does it arrive once, and
/// then unicast both ways?
fn resolves(world: &mut World, id: NetworkId, from: usize, to: usize, of: u8) -> bool {
    let mut arp = b"\0\x01\x08\0\x06\x04\0\x01".to_vec();
    arp.resize(24, 0);
    arp.extend_from_slice(&[10, 1, 0, of]);
    let ethernet = Ethernet {
        to: Mac::BROADCAST,
        from: derive::mac(id, world.address(from)),
        ethertype: 0x0806,
    };
    world.hosts[to].frames.clear();
    world.send_frame(from, id, ethernet, &arp);
    world.run(1_000);
    let heard = world.hosts[to].frames.iter();
    let asked = heard.filter(|f| f.0 == id && f.1.ends_with(&arp)).count() == 1;
    asked
        && [(from, to), (to, from)].into_iter().all(|(from, to)| {
            let payload = ipv6(7, 80);
            world.hosts[to].frames.clear();
            world.unicast(from, to, id, IPV6, &payload);
            world.run(1_000);
            let mut frames = world.hosts[to].frames.iter();
            frames.any(|f| f.0 == id && f.1.ends_with(&payload))
        })
}

#[test]
fn a_start_without_controller_and_root() {
    let mut lab = Lab::joined(3);
    for (a, b) in [(1, 2), (2, 1), (1, 3), (2, 3)] {
        assert!(lab.passes(a, b));
    }
    lab.serve(MINUTE);
    assert!(lab.passes(1, 2) && lab.world.is_direct(1, 2));
    let ids = [lab.id];
    let kept = [stored(&lab, &ids, 1, 2), stored(&lab, &ids, 2, 1)];
    let mut world = restarted(&kept, MINUTE);
    world.run(MINUTE);
    assert!(world.is_direct(0, 1));
    assert!(resolves(&mut world, lab.id, 0, 1, 2));
}

#[test]
fn members_of_many_networks_find_each_other_in_all_of_them_after_a_restart() {
    let mut lab = Lab::new(2);
    let mut ids = vec![lab.id];
    for low in 2..=8 {
        let id = lab.c.create(low);
        for n in 1..=2 {
            lab.c
                .authorise(&lab.world, id, n, Some(&format!("10.1.0.{n}/24")));
        }
        ids.push(id);
    }
    for n in 1..=2 {
        for id in &ids {
            lab.world.join(n, *id);
        }
    }
    lab.serve(MINUTE);
    for id in &ids {
        assert!(lab.passes_in(*id, 1, 2) && lab.passes_in(*id, 2, 1));
    }
    let kept = [stored(&lab, &ids, 1, 2), stored(&lab, &ids, 2, 1)];
    let mut world = restarted(&kept, 500);
    world.run(3_000);
    let gate = DropReason::CredentialsGate;
    for host in [0, 1] {
        assert_eq!(world.hosts[host].node.stats().drops(gate), 0);
    }
    for id in ids {
        assert!(resolves(&mut world, id, 0, 1, 2), "{id}");
    }
}
