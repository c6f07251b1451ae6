//! Frames and credentials between members.

use zt::base::{Address, Mac};
use zt::node::DropReason;
use zt::node::network::NetworkStatus;
use zt::wire::control::ErrorReply;
use zt::wire::credential::{Credential, Credentials, Revocation};
use zt::wire::derive;
use zt::wire::frames::Ethernet;
use zt::wire::verb::{ErrorCode, Verb};

use super::lab::{C, IPV6, Lab, bundle};
use crate::sim::controller::{ACCEPT, Answer, BRIDGE, Revoked, com, revocation, revocations, tag};
use crate::sim::{identity, ipv6};

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
            && Credentials::new(&h.payload)
                .any(|c| matches!(c, Ok(Credential::Paper(p)) if p.revokes))
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
