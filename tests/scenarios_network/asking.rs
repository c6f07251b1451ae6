//! Requests, refusals, and what a controller says unasked.

use zt::node::network::NetworkStatus;
use zt::wire::control::OkReply;
use zt::wire::cursor::Reader;
use zt::wire::verb::{ErrorCode, Verb};

use super::lab::{Lab, MINUTE, gaps};
use crate::sim::at;
use crate::sim::controller::Answer;

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
    net.routes = vec![crate::sim::controller::RouteTo {
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
