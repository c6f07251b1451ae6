//! The network layer by itself, with a carrier that writes down what it is asked.

use alloc::boxed::Box;
use std::string::{String, ToString};
use std::vec::Vec;

use super::config::{Config, FLAG_BROADCAST, ROLE_BRIDGE, ROLE_REPLICATOR};
use super::multicast::GroupKey;
use super::probe::{self, Recorder, Sent};
use super::*;
use crate::wire::cursor::{Reader, Writer};
use crate::wire::frames::{Ethernet, ExtFrame};
use crate::wire::multicast::{Gather, MulticastFrame};
use crate::wire::verb::ErrorCode;

const AD_HOC: u64 = 0xff00_1600_1600_0000;
const AD_HOC_V4: u64 = 0xff0a_0000_0000_0001;

fn address(n: u64) -> Address {
    Address::new(n).unwrap()
}

fn recorder(me: Address) -> Recorder {
    let mut recorder = Recorder::new(me, address(0xee));
    recorder.unknown.push(address(0x404));
    recorder
}

impl Recorder {
    fn take(&mut self) -> Vec<Sent> {
        core::mem::take(&mut self.sent)
    }

    fn likes(&mut self) -> Vec<(Address, Vec<Group>)> {
        let likes = self
            .take()
            .into_iter()
            .filter(|s| s.1 == Verb::MulticastLike);
        let groups = |payload: &[u8]| wire::likes(payload).unwrap().map(|l| l.1).collect();
        likes.map(|s| (s.0, groups(&s.2))).collect()
    }
}

/// A node and what is round it.
struct Bench {
    c: Recorder,
    networks: Networks,
}

impl Bench {
    fn new(me: u64) -> Self {
        let me = address(me);
        Self {
            c: recorder(me),
            networks: Networks::new(me, &Limits::small(), false, 7),
        }
    }

    fn join(&mut self, id: u64) -> NetworkId {
        let id = NetworkId::new(id).unwrap();
        self.networks.join(&mut self.c, id, None).unwrap();
        id
    }

    /// Joins a public network with this configuration.
    fn configured(&mut self, id: u64, change: impl FnOnce(&mut Config)) -> NetworkId {
        let made = NetworkId::new(AD_HOC_V4).unwrap();
        let AdHoc::Yes(mut config) = config::ad_hoc(made, self.c.me) else {
            panic!("an ad-hoc id");
        };
        config.flags = FLAG_BROADCAST;
        config.addresses.clear();
        config.multicast_limit = 32;
        change(&mut config);
        let id = self.join(id);
        self.networks.install(&mut self.c, id, config);
        self.c.take();
        id
    }

    fn wait(&mut self, ms: u64) {
        let end = self.c.now.mono.after(ms);
        while let Some(at) = self.networks.next_deadline().filter(|at| *at <= end) {
            assert!(at >= self.c.now.mono, "no deadline is left in the past");
            self.c.now.mono = at;
            self.networks.handle_timeout(&mut self.c);
            assert!(self.networks.next_deadline().is_none_or(|next| next > at));
        }
        self.c.now.mono = end;
    }

    fn tap(&mut self, id: NetworkId, ethernet: Ethernet, payload: &[u8]) {
        probe::frame(&mut self.networks, &mut self.c, id, ethernet, payload);
    }

    fn packet(&mut self, from: u64, verb: Verb, payload: &[u8]) -> Verdict {
        probe::packet(
            &mut self.networks,
            &mut self.c,
            address(from),
            verb,
            payload,
        )
    }

    fn frame(&mut self, from: u64, network: NetworkId, ethertype: u16, body: &[u8]) -> Verdict {
        let mut payload = network.to_bytes().to_vec();
        payload.extend_from_slice(&ethertype.to_be_bytes());
        payload.extend_from_slice(body);
        self.packet(from, Verb::Frame, &payload)
    }

    fn like(&mut self, from: u64, likes: &[(NetworkId, Group)]) -> Verdict {
        let mut payload = std::vec![0; likes.len() * wire::LIKE_LEN];
        let mut writer = Writer::new(&mut payload);
        for (network, group) in likes {
            wire::write_like(&mut writer, *network, *group);
        }
        self.packet(from, Verb::MulticastLike, &payload)
    }

    /// OK(MULTICAST_GATHER).
    fn gathered(&mut self, network: NetworkId, group: Group, members: &[u64]) {
        let mut body = [0; 1000];
        let mut writer = Writer::new(&mut body);
        wire::write_answer_head(&mut writer, network, group).unwrap();
        let members = members.iter().map(|m| address(*m));
        wire::write_result(&mut writer, 9, members).unwrap();
        let len = writer.len();
        self.networks.inbound_ok(
            &mut self.c,
            address(0xee),
            Verb::MulticastGather,
            &body[..len],
        );
    }

    /// A frame of ours to `to`.
    fn own(&self, network: NetworkId, to: Mac, ethertype: u16) -> Ethernet {
        Ethernet {
            to,
            from: derive::mac(network, self.c.me),
            ethertype,
        }
    }
}

fn arp_request(target: [u8; 4]) -> Vec<u8> {
    let mut arp = b"\0\x01\x08\0\x06\x04\0\x01".to_vec();
    arp.resize(24, 0);
    arp.extend_from_slice(&target);
    arp
}

fn multicast_group(n: u8) -> Group {
    Group {
        mac: Mac::new([1, 0, 0x5e, 0, 0, n]),
        adi: 0,
    }
}

#[test]
fn an_ad_hoc_network_is_ok_at_once_and_tells_its_groups_upstream() {
    let mut bench = Bench::new(0x12_3456_789a);
    let id = bench.join(AD_HOC_V4);
    assert_eq!(bench.c.events, [Event::Network(id)]);
    let view = bench.networks.get(id, bench.c.now).unwrap();
    assert_eq!(view.status, NetworkStatus::Ok);
    assert_eq!(
        (view.name, view.mtu, view.public),
        ("adhoc-10.0.0.0", 2800, true)
    );
    let ips: Vec<String> = view.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["fcff:a00:112:3456:789a::1/40", "10.86.120.154/8"]);
    let mut likes = bench.c.likes();
    assert_eq!(likes.len(), 1);
    let (to, groups) = likes.pop().unwrap();
    assert_eq!(to, address(0xee));
    let expected: Vec<Group> = bench.networks.get(id, bench.c.now).unwrap().groups.to_vec();
    assert_eq!(groups, expected);
    assert!(groups.contains(&derive::group_of_ip("10.86.120.154".parse().unwrap())));
    // No broadcast in ad-hoc networks.
    assert!(!groups.contains(&Group::BROADCAST));
    // All again after a minute, and not before.
    bench.wait(59_999);
    assert!(bench.c.likes().is_empty());
    bench.wait(1);
    assert_eq!(bench.c.likes(), [(address(0xee), expected)]);
}

#[test]
fn ids_without_meaning_wait_for_ever_and_send_nothing() {
    let mut bench = Bench::new(5);
    for (id, status) in [
        (
            0xffff_ffff_ffff_ffff,
            NetworkStatus::RequestingConfiguration,
        ),
        (
            0xff0a_0000_0000_0002,
            NetworkStatus::RequestingConfiguration,
        ),
        (0xff00_5000_2000_0000, NetworkStatus::NotFound),
    ] {
        let id = bench.join(id);
        assert_eq!(
            bench.networks.get(id, bench.c.now).unwrap().status,
            status,
            "{id}"
        );
        let to = Mac::BROADCAST;
        bench.tap(id, bench.own(id, to, 0x0806), &arp_request([10, 0, 0, 1]));
        assert_eq!(bench.c.drops.pop(), Some(DropReason::NoConfig));
        let view = bench.networks.get(id, bench.c.now).unwrap();
        assert_eq!(view.counters.drops(DropReason::NoConfig), 1);
        assert_eq!(view.counters.dropped_in, 1);
        assert!(!bench.frame(6, id, 0x0800, &[0; 20]).member);
    }
    assert_eq!(bench.networks.next_deadline(), None);
    assert!(bench.c.take().is_empty() && bench.c.frames.is_empty());
}

#[test]
fn more_networks_than_there_is_room_for_are_refused() {
    let mut bench = Bench::new(5);
    for n in 0..Limits::small().networks as u64 {
        bench.join(AD_HOC_V4 | (n << 8));
    }
    let one_more = NetworkId::new(AD_HOC).unwrap();
    assert!(bench.networks.join(&mut bench.c, one_more, None).is_err());
    // Joined already.
    bench.join(AD_HOC_V4);
    assert!(
        bench
            .networks
            .leave(&mut bench.c, NetworkId::new(AD_HOC_V4).unwrap())
    );
    assert!(
        !bench
            .networks
            .leave(&mut bench.c, NetworkId::new(AD_HOC_V4).unwrap())
    );
    assert!(bench.networks.join(&mut bench.c, one_more, None).is_ok());
}

#[test]
fn a_frame_is_sent_from_where_it_lies_and_arrives_the_same() {
    let mut a = Bench::new(0x11_1111_1111);
    let mut b = Bench::new(0x22_2222_2222);
    let id = a.join(AD_HOC_V4);
    b.join(AD_HOC_V4);
    a.c.take();
    let to = derive::mac(id, b.c.me);
    let ethernet = a.own(id, to, 0x0800);
    a.tap(id, ethernet, b"twenty bytes of IPv4");
    let Sent(to, verb, payload) = a.c.take().pop().unwrap();
    assert_eq!((to, verb), (b.c.me, Verb::Frame));
    assert!(b.packet(0x11_1111_1111, verb, &payload).member);
    let (network, frame) = b.c.frames.pop().unwrap();
    assert_eq!(network, id);
    assert_eq!(frame[..14], ethernet.to_bytes());
    assert_eq!(&frame[14..], b"twenty bytes of IPv4");
    let sent = a.networks.get(id, a.c.now).unwrap().counters;
    assert_eq!((sent.frames_in, sent.bytes_in), (1, 34));
    let got = b.networks.get(id, b.c.now).unwrap();
    assert_eq!((got.counters.frames_out, got.counters.bytes_out), (1, 34));
    assert_eq!(got.members, 1);
}

#[test]
fn a_member_met_is_told_our_groups_once_a_minute() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC_V4);
    bench.c.take();
    bench.frame(2, id, 0x0800, &[0; 20]);
    let groups = bench.networks.get(id, bench.c.now).unwrap().groups.to_vec();
    assert_eq!(bench.c.likes(), [(address(2), groups.clone())]);
    bench.frame(2, id, 0x0800, &[0; 20]);
    assert!(bench.c.likes().is_empty());
    // With the minute's announcement, not beside it; whoever is not known is left out.
    bench.frame(0x404, id, 0x0800, &[0; 20]);
    bench.c.take();
    bench.wait(60_000);
    let mut told = bench.c.likes();
    told.sort();
    assert_eq!(
        told,
        [(address(2), groups.clone()), (address(0xee), groups)]
    );
    bench.frame(2, id, 0x0800, &[0; 20]);
    assert!(bench.c.likes().is_empty());
}

#[test]
fn a_new_group_alone_is_announced_at_once() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC_V4);
    bench.frame(2, id, 0x0800, &[0; 20]);
    bench.c.take();
    let new = multicast_group(7);
    bench.networks.set_groups(&mut bench.c, id, &[new]);
    let told = [
        (address(0xee), std::vec![new]),
        (address(2), std::vec![new]),
    ];
    assert_eq!(bench.c.likes(), told);
    bench.networks.set_groups(&mut bench.c, id, &[new]);
    assert!(bench.c.take().is_empty());
    // An upstream that can be reached later hears all.
    bench.networks.upstream_up(&mut bench.c, address(0xef));
    let likes = bench.c.likes();
    assert_eq!(likes.len(), 1);
    assert_eq!(
        likes[0].1,
        bench.networks.get(id, bench.c.now).unwrap().groups
    );
}

#[test]
fn no_groups_are_told_where_multicast_is_off() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC);
    bench
        .networks
        .set_groups(&mut bench.c, id, &[multicast_group(1)]);
    bench.networks.upstream_up(&mut bench.c, address(0xee));
    bench.frame(2, id, 0x86dd, &[0; 40]);
    bench.wait(200_000);
    assert!(bench.c.likes().is_empty());
    assert_eq!(bench.networks.next_deadline(), None);
    let to = multicast_group(1).mac;
    bench.c.drops.clear();
    bench.tap(id, bench.own(id, to, 0x86dd), &[0; 40]);
    assert_eq!(bench.c.drops, [DropReason::MulticastOff]);
}

#[test]
fn arp_finds_a_member_that_nobody_knew_a_moment_ago() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC_V4);
    bench.c.take();
    let arp = arp_request([10, 0, 0, 2]);
    let group = derive::group_of_ip("10.0.0.2".parse().unwrap());
    bench.tap(id, bench.own(id, Mac::BROADCAST, 0x0806), &arp);
    let sent = bench.c.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].0, sent[0].1),
        (address(0xee), Verb::MulticastGather)
    );
    let gather = Gather::parse(&sent[0].2).unwrap();
    assert_eq!(
        (gather.network, gather.group, gather.limit),
        (id, group, 1025)
    );
    // Asked again soon, as long as the frame waits.
    for pause in [250, 1_000, 2_000] {
        bench.wait(pause - 1);
        assert!(bench.c.take().is_empty());
        bench.wait(1);
        assert_eq!(bench.c.take(), sent);
    }
    bench.gathered(id, group, &[2, 1]);
    let found = bench.c.take();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1), (address(2), Verb::MulticastFrame));
    let frame = MulticastFrame::parse(&found[0].2).unwrap();
    assert_eq!(
        (frame.group, frame.payload, frame.from),
        (group, &arp[..], None)
    );
    // Each gets it once.
    bench.gathered(id, group, &[2]);
    bench.like(2, &[(id, group)]);
    assert!(bench.c.take().iter().all(|s| s.1 != Verb::MulticastFrame));
    // The next one goes out at once.
    bench.tap(id, bench.own(id, Mac::BROADCAST, 0x0806), &arp);
    let verbs: Vec<_> = bench.c.take().iter().map(|s| (s.0, s.1)).collect();
    assert_eq!(verbs, [(address(2), Verb::MulticastFrame)]);
}

#[test]
fn frames_stop_waiting_after_five_seconds() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC_V4);
    let arp = arp_request([10, 0, 0, 2]);
    bench.tap(id, bench.own(id, Mac::BROADCAST, 0x0806), &arp);
    bench.wait(5_000);
    bench.c.take();
    bench.wait(50_000);
    assert!(bench.c.take().is_empty());
    bench.gathered(id, derive::group_of_ip("10.0.0.2".parse().unwrap()), &[2]);
    assert!(bench.c.take().is_empty());
}

#[test]
fn an_upstream_that_comes_up_is_asked_what_frames_wait_for() {
    let mut bench = Bench::new(1);
    bench.c.upstreams.clear();
    let id = bench.join(AD_HOC_V4);
    let arp = arp_request([10, 0, 0, 2]);
    bench.tap(id, bench.own(id, Mac::BROADCAST, 0x0806), &arp);
    assert!(bench.c.take().is_empty());
    bench.networks.upstream_up(&mut bench.c, address(0xef));
    let verbs: Vec<_> = bench.c.take().iter().map(|s| s.1).collect();
    assert_eq!(verbs, [Verb::MulticastLike, Verb::MulticastGather]);
}

#[test]
fn while_no_upstream_can_be_reached_members_are_asked() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC_V4);
    for member in [2, 3] {
        bench.frame(member, id, 0x86dd, &[0x60; 40]);
    }
    let gathers = |bench: &mut Bench, last: u8| {
        bench.c.take();
        let arp = arp_request([10, 0, 0, last]);
        bench.tap(id, bench.own(id, Mac::BROADCAST, 0x0806), &arp);
        let sent = bench.c.take().into_iter();
        let asked = sent.filter(|s| s.1 == Verb::MulticastGather);
        asked.map(|s| s.0).collect::<Vec<Address>>()
    };
    let upstream = address(0xee);
    // 3 is only reached by the upstream, so it cannot be while that is gone.
    bench.c.paths = std::vec![(upstream, 9), (address(2), 5)];
    assert_eq!(gathers(&mut bench, 9), [upstream]);
    bench.c.paths.remove(0);
    assert_eq!(gathers(&mut bench, 10), [upstream, address(2)]);
}

#[test]
fn the_hub_of_an_ad_hoc_network_is_asked_too() {
    let mut bench = Bench::new(1);
    let id = bench.join(0xff0a_0000_0000_7701);
    assert_eq!(bench.c.likes().len(), 2);
    let arp = arp_request([10, 0, 0, 2]);
    bench.tap(id, bench.own(id, Mac::BROADCAST, 0x0806), &arp);
    let asked: Vec<_> = bench.c.take().iter().map(|s| (s.0, s.1)).collect();
    let gather = Verb::MulticastGather;
    assert_eq!(asked, [(address(0xee), gather), (address(0x77), gather)]);
}

#[test]
fn a_root_keeps_likes_of_networks_it_is_not_on_and_answers_gathers() {
    let mut bench = Bench::new(1);
    let id = NetworkId::new(AD_HOC_V4).unwrap();
    let group = multicast_group(1);
    let mut gather = [0; 23];
    wire::write_gather(&mut Writer::new(&mut gather), id, group, 2, None).unwrap();
    for root in [false, true] {
        bench.c.am_upstream = root;
        for member in 2..6 {
            assert!(!bench.like(member, &[(id, group)]).member);
        }
        assert!(!bench.packet(5, Verb::MulticastGather, &gather).member);
        let answers = bench.c.take();
        assert_eq!(answers.len(), usize::from(root));
        let Some(Sent(to, Verb::Ok, payload)) = answers.first() else {
            continue;
        };
        assert_eq!(*to, address(5));
        assert_eq!(payload[0], Verb::MulticastGather as u8);
        assert_eq!(payload[1..9], 0x1122_3344_5566_7788u64.to_be_bytes());
        let (network, told, result) = wire::parse_ok_gather(&payload[9..]).unwrap();
        assert_eq!((network, told, result.total), (id, group, 4));
        let members: Vec<_> = result.members().collect();
        assert_eq!(members.len(), 2);
        assert!(members.iter().all(|m| (2..5).contains(&m.get())));
    }
}

#[test]
fn a_member_lists_itself_first_and_answers_members_of_networks_it_is_on() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC_V4);
    let group = bench.networks.get(id, bench.c.now).unwrap().groups[0];
    assert!(bench.like(2, &[(id, group)]).member);
    bench.c.take();
    let mut gather = [0; 23];
    wire::write_gather(&mut Writer::new(&mut gather), id, group, 9, None).unwrap();
    assert!(bench.packet(3, Verb::MulticastGather, &gather).member);
    let sent = bench.c.take();
    let answer = sent.iter().find(|s| s.1 == Verb::Ok).unwrap();
    let (_, _, result) = wire::parse_ok_gather(&answer.2[9..]).unwrap();
    let members: Vec<_> = result.members().collect();
    assert_eq!(
        (result.total, members),
        (2, std::vec![address(1), address(2)])
    );
    // "Not for me": off the list.
    let mut unwanted = id.to_bytes().to_vec();
    unwanted.extend_from_slice(&group.mac.to_bytes());
    unwanted.extend_from_slice(&group.adi.to_be_bytes());
    let code = ErrorCode::UnwantedMulticast as u8;
    let verb = Verb::MulticastFrame;
    bench
        .networks
        .inbound_error(&mut bench.c, address(2), verb, code, &unwanted);
    let key = GroupKey { network: id, group };
    assert_eq!(
        bench.networks.listeners.of(key, bench.c.now.mono).count(),
        0
    );
}

#[test]
fn whoever_is_no_member_hears_so_once_a_second() {
    let mut bench = Bench::new(1);
    let id = bench.configured(0x8056_c2e2_1c00_0001, |config| config.public = false);
    for ms in [0, 999, 1] {
        bench.wait(ms);
        assert!(!bench.frame(2, id, 0x0800, &[0; 20]).member);
        // Likes and gathers are refused silently.
        assert!(!bench.like(2, &[(id, Group::BROADCAST)]).member);
    }
    let errors = bench.c.take();
    assert_eq!(errors.len(), 2);
    let Sent(to, verb, payload) = &errors[0];
    assert_eq!((*to, *verb), (address(2), Verb::Error));
    let mut reader = Reader::new(payload);
    assert_eq!(reader.u8(), Ok(Verb::Frame as u8));
    assert_eq!(reader.u64(), Ok(0x1122_3344_5566_7788));
    assert_eq!(reader.u8(), Ok(6));
    assert_eq!(reader.network_id(), Ok(id));
    assert!(bench.c.frames.is_empty());
    let view = bench.networks.get(id, bench.c.now).unwrap();
    assert_eq!(view.counters.drops(DropReason::NotMember), 6);
    assert_eq!(view.members, 0);
}

#[test]
fn requests_for_configuration_are_refused_for_our_own_ids_alone() {
    let mut bench = Bench::new(0x12_3456_789a);
    for (id, answered) in [
        (0x1234_5678_9a00_0001u64, true),
        (0x8056_c2e2_1c00_0001, false),
    ] {
        let mut request = id.to_be_bytes().to_vec();
        request.extend_from_slice(&[0; 2]);
        bench.packet(7, Verb::NetworkConfigRequest, &request);
        let sent = bench.c.take();
        assert_eq!(sent.len(), usize::from(answered), "{id:x}");
        if let Some(Sent(to, verb, payload)) = sent.first() {
            assert_eq!((*to, *verb, payload[9]), (address(7), Verb::Error, 5));
        }
    }
}

#[test]
fn a_neighbour_solicitation_for_a_member_is_answered_locally() {
    let mut bench = Bench::new(1);
    let id = bench.join(AD_HOC);
    let target = derive::sixplane(id, address(2)).octets();
    let mut asked = std::vec![0u8; 72];
    asked[6] = 58;
    asked[40] = 135;
    asked[48..64].copy_from_slice(&target);
    let to = Mac::new([0x33, 0x33, 0xff, 0, 0, 1]);
    bench.tap(id, bench.own(id, to, 0x86dd), &asked);
    let (_, answer) = bench.c.frames.pop().unwrap();
    assert_eq!(answer[6..12], derive::mac(id, address(2)).to_bytes());
    assert_eq!(answer[..6], derive::mac(id, address(1)).to_bytes());
    assert!(bench.c.take().is_empty());
}

/// Drop TCP SYN to port 22, accept all else.
const NO_SSH: &[u8] = &[
    0x24, 1, 6, 0x28, 4, 0, 22, 0, 22, 0x29, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0,
];

fn syn(port: u8) -> Vec<u8> {
    let mut ip = std::vec![0u8; 40];
    (ip[0], ip[9], ip[23], ip[33]) = (0x45, 6, port, 2);
    ip
}

#[test]
fn rules_hold_in_both_directions() {
    let mut bench = Bench::new(1);
    let id = bench.configured(0x8056_c2e2_1c00_0001, |c| c.rules = NO_SSH.into());
    let to = derive::mac(id, address(2));
    for port in [22, 80] {
        bench.tap(id, bench.own(id, to, 0x0800), &syn(port));
        bench.frame(2, id, 0x0800, &syn(port));
    }
    let frames: Vec<_> = bench.c.take();
    let sent = frames.iter().filter(|s| s.1 == Verb::Frame).count();
    assert_eq!((sent, bench.c.frames.len()), (1, 1));
    let counters = bench.networks.get(id, bench.c.now).unwrap().counters;
    assert_eq!(counters.drops(DropReason::RulesOut), 1);
    assert_eq!(counters.drops(DropReason::RulesIn), 1);
}

#[test]
fn capabilities_and_tags_of_both_sides_count() {
    let mut bench = Bench::new(1);
    // Equal tags 5 pass; else a capability is needed.
    let same_tag = [0x30, 8, 0, 0, 0, 5, 0, 0, 0, 9, 1, 0];
    let id = bench.configured(0x8056_c2e2_1c00_0001, |c| {
        c.rules = same_tag.into();
        c.own.tags.push((5, 9));
    });
    let held = |value: u32, rules: &[u8]| {
        Some(Box::new(super::member::Held {
            tags: std::vec![(5, value)],
            capabilities: std::vec![(1, rules.into())],
            things: Vec::new(),
        }))
    };
    let mut try_in = |held| {
        bench.frame(2, id, 0x0800, &[0; 20]);
        let network = bench.networks.networks.get_mut(&id).unwrap();
        network.members.get_mut(address(2)).unwrap().held = held;
        bench.c.frames.clear();
        bench.frame(2, id, 0x0800, &[0; 20]);
        bench.c.frames.len()
    };
    assert_eq!(try_in(None), 0);
    assert_eq!(try_in(held(9, &[])), 1);
    assert_eq!(try_in(held(8, &[])), 0);
    assert_eq!(try_in(held(8, &[1, 0])), 1);
    assert_eq!(try_in(held(8, &[0, 0])), 0);
    // Outbound one's own capabilities count.
    let to = derive::mac(id, address(2));
    bench.c.take();
    bench.tap(id, bench.own(id, to, 0x0800), &[0; 20]);
    assert!(bench.c.take().is_empty());
    let network = bench.networks.networks.get_mut(&id).unwrap();
    let own = &mut network.config.as_mut().unwrap().own;
    own.capabilities.push((1, Box::new([1, 0])));
    bench.tap(id, bench.own(id, to, 0x0800), &[0; 20]);
    assert_eq!(bench.c.take().len(), 1);
}

/// TEE (2), WATCH (3) or REDIRECT (4) to address 9, at most `len` bytes.
fn copy_to_nine(action: u8, len: u8) -> Vec<u8> {
    std::vec![action, 14, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, len, 1, 0]
}

#[test]
fn copies_go_to_whom_the_rules_name_and_redirected_frames_nowhere_else() {
    for (action, out, inward) in [(2, 0x02, 0x08), (3, 0x16, 0x1c), (4, 0x04, 0x0a)] {
        let mut bench = Bench::new(1);
        let id = bench.configured(0x8056_c2e2_1c00_0001, |c| {
            c.rules = copy_to_nine(action, 5).into();
        });
        let to = derive::mac(id, address(2));
        let ethernet = bench.own(id, to, 0x0800);
        let whole = action == 4;
        let payload = [7u8; 20];
        let len = if whole { 20 } else { 5 };
        bench.tap(id, ethernet, &payload);
        let sent = bench.c.take();
        assert_eq!((sent[0].0, sent[0].1), (address(9), Verb::ExtFrame));
        let copy = ExtFrame::parse(&sent[0].2).unwrap();
        assert_eq!((copy.flags, copy.payload), (out, &payload[..len]));
        assert_eq!(copy.ethernet, ethernet);
        assert_eq!(sent.len(), if whole { 1 } else { 2 });
        bench.frame(2, id, 0x0800, &payload);
        let sent = bench.c.take();
        let copy = sent.iter().find(|s| s.1 == Verb::ExtFrame).unwrap();
        assert_eq!(copy.0, address(9));
        let copy = ExtFrame::parse(&copy.2).unwrap();
        assert_eq!((copy.flags, copy.payload), (inward, &payload[..len]));
        assert_eq!(bench.c.frames.len(), usize::from(!whole));
        // One copy of a multicast frame, however many get it.
        bench.like(2, &[(id, multicast_group(1))]);
        bench.like(3, &[(id, multicast_group(1))]);
        bench.c.take();
        bench.tap(id, bench.own(id, multicast_group(1).mac, 0x0800), &payload);
        let sent = bench.c.take();
        let count = |verb| sent.iter().filter(|s| s.1 == verb).count();
        assert_eq!(count(Verb::ExtFrame), 1);
        assert_eq!(count(Verb::MulticastFrame), if whole { 0 } else { 2 });
    }
}

#[test]
fn a_replicator_spreads_for_others_and_is_asked_to() {
    let replicators = |c: &mut Config| {
        c.specialists = std::vec![ROLE_REPLICATOR | 8, ROLE_REPLICATOR | 9 | ROLE_BRIDGE];
    };
    let mut bench = Bench::new(1);
    let id = bench.configured(0x8056_c2e2_1c00_0001, replicators);
    let group = multicast_group(1);
    let ethernet = bench.own(id, group.mac, 0x0800);
    // None can be reached: by ourselves.
    bench.like(2, &[(id, group)]);
    bench.c.take();
    bench.tap(id, ethernet, &[1; 20]);
    assert!(bench.c.take().iter().any(|s| s.0 == address(2)));
    bench.c.paths = std::vec![(address(8), 30), (address(9), 20)];
    bench.tap(id, ethernet, &[1; 20]);
    let sent = bench.c.take();
    assert_eq!(sent.len(), 1);
    let Sent(to, Verb::MulticastFrame, payload) = &sent[0] else {
        panic!("{sent:?}");
    };
    assert_eq!((*to, payload[8]), (address(9), 0x0c));

    let mut replicator = Bench::new(9);
    replicator.configured(0x8056_c2e2_1c00_0001, replicators);
    for member in [1, 2, 3] {
        replicator.like(member, &[(id, group)]);
    }
    replicator.c.take();
    replicator.packet(1, Verb::MulticastFrame, payload);
    let sent = replicator.c.take();
    let mut to: Vec<_> = sent
        .iter()
        .filter(|s| s.1 == Verb::MulticastFrame)
        .map(|s| s.0.get())
        .collect();
    to.sort_unstable();
    assert_eq!(to, [2, 3]);
    let copy = sent
        .iter()
        .find(|s| s.0 == address(2) && s.1 == Verb::MulticastFrame);
    let copy = MulticastFrame::parse(&copy.unwrap().2).unwrap();
    assert_eq!(copy.from, Some(ethernet.from));
    assert_eq!(copy.flags & MulticastFrame::REPLICATE, 0);
    assert_eq!(replicator.c.frames.len(), 1);
    // And the member takes it from the replicator, which is a bridge.
    let payload = &sent.iter().find(|s| s.0 == address(2)).unwrap().2;
    let mut member = Bench::new(2);
    member.configured(0x8056_c2e2_1c00_0001, replicators);
    member.packet(9, Verb::MulticastFrame, payload);
    assert_eq!(member.c.frames.len(), 1);
}

#[test]
fn a_loop_behind_a_bridge_is_cut_and_a_host_that_moves_is_found_again() {
    let mut bench = Bench::new(1);
    let id = bench.configured(0x8056_c2e2_1c00_0001, |c| {
        c.specialists = std::vec![ROLE_BRIDGE | 1, ROLE_BRIDGE | 9];
    });
    // What another member sent comes back out of our tap.
    let looped = Ethernet {
        to: Mac::BROADCAST,
        from: derive::mac(id, address(2)),
        ethertype: 0x0800,
    };
    bench.tap(id, looped, &[0; 20]);
    assert_eq!(bench.c.drops.pop(), Some(DropReason::BadMac));
    let host = Mac::new([0x3c, 0, 0, 0, 0, 5]);
    let now = bench.c.now.mono;
    bench.networks.routes.learn(id, host, address(9), now);
    let from_host = Ethernet {
        from: host,
        to: multicast_group(1).mac,
        ethertype: 0x0800,
    };
    bench.tap(id, from_host, &[0; 20]);
    assert_eq!(bench.networks.routes.find(id, host, now), None);
    // Its groups are announced as ours.
    let groups = bench.networks.get(id, bench.c.now).unwrap().groups;
    assert!(groups.contains(&multicast_group(1)));
    assert!(!bench.c.likes().is_empty());
    bench.wait(1_260_000);
    let groups = bench.networks.get(id, bench.c.now).unwrap().groups;
    assert!(!groups.contains(&multicast_group(1)));
}

#[test]
fn the_multicast_limit_counts_recipients() {
    let mut bench = Bench::new(1);
    let id = bench.configured(0x8056_c2e2_1c00_0001, |c| c.multicast_limit = 3);
    let group = multicast_group(1);
    for member in 2..10 {
        bench.like(member, &[(id, group)]);
    }
    bench.c.take();
    let ethernet = bench.own(id, group.mac, 0x0800);
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..50 {
        bench.tap(id, ethernet, &[0; 20]);
        let sent = bench.c.take();
        assert_eq!(sent.len(), 3, "{sent:?}");
        for Sent(to, verb, payload) in sent {
            assert_eq!(verb, Verb::MulticastFrame);
            assert_eq!(MulticastFrame::parse(&payload).unwrap().gather_limit, 1);
            reached.insert(to);
        }
    }
    // Not always the same ones.
    assert_eq!(reached.len(), 8);
}

#[test]
fn the_same_inputs_give_the_same_packets() {
    let script = || {
        let mut bench = Bench::new(1);
        let id = bench.configured(0x8056_c2e2_1c00_0001, |c| c.multicast_limit = 4);
        let group = multicast_group(1);
        for member in 2..40 {
            bench.like(member, &[(id, group)]);
            bench.tap(id, bench.own(id, group.mac, 0x0800), &[0; 20]);
            bench.wait(700);
        }
        bench.c.take()
    };
    assert_eq!(script(), script());
}
