//! Rules and ad-hoc configurations against what real nodes did, and whatever else may be given
//! to the rules engine (network 1.3, 4).
#![allow(missing_docs)]

mod common;

use std::net::IpAddr;

use common::{bytes, flag, list, load, number, report, text, unhex};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use zt::base::{Address, Mac, NetworkId};
use zt::crypto::sign;
use zt::node::network::rules::{self, Facts, Subject, Thing};
use zt::node::network::{IpNet, NetworkStatus, ad_hoc_view};
use zt::wire::credential::{Capability, Com, Ownership, Revocation, SIGNED_MAX_LEN, Tag};
use zt::wire::cursor::Reader;
use zt::wire::frames::{Ethernet, ExtFrame};
use zt::wire::identity::Identity;

fn mac(text: &str) -> Mac {
    Mac::new(unhex(&text.replace(':', "")).try_into().expect("six bytes"))
}

fn net(text: &str) -> IpNet {
    let (ip, bits) = text.split_once('/').expect("a prefix");
    IpNet {
        ip: ip.parse().expect("an address"),
        bits: bits.parse().expect("bits"),
    }
}

/// A list that may be left out.
fn optional<'v>(case: &'v Value, key: &str) -> &'v [Value] {
    case[key].as_array().map_or(&[], Vec::as_slice)
}

fn tags(case: &Value, key: &str) -> Vec<(u32, u32)> {
    let number = |v: &Value| u32::try_from(v.as_u64().expect("a number")).expect("32 bits");
    let pair = |tag: &Value| (number(&tag[0]), number(&tag[1]));
    optional(case, key).iter().map(pair).collect()
}

fn things(case: &Value, key: &str) -> Vec<Thing> {
    let thing = |text: &Value| {
        let text = text.as_str().expect("text");
        let (kind, bytes) = match text.parse() {
            Ok(IpAddr::V4(ip)) => (2, ip.octets().to_vec()),
            Ok(IpAddr::V6(ip)) => (3, ip.octets().to_vec()),
            Err(_) => (1, mac(text).to_bytes().to_vec()),
        };
        let mut value = [0; 16];
        value[..bytes.len()].copy_from_slice(&bytes);
        (kind, value)
    };
    optional(case, key).iter().map(thing).collect()
}

/// To whom, flags, bytes of the frame.
type Copies = Vec<(Address, u64, usize)>;

#[test]
fn rules_decide_as_1_14_1_does() {
    let file = load("network-rules");
    let me = Address::parse(text(&file, "self")).expect("an address");
    let network = NetworkId::parse(text(&file, "network")).expect("an id");
    let cases = list(&file, "cases");
    for case in cases {
        let name = text(case, "name");
        let frame = bytes(case, "frame");
        let ethernet = Ethernet {
            to: mac(text(case, "mac_destination")),
            from: mac(text(case, "mac_source")),
            ethertype: number(case, "ethertype") as u16,
        };
        let inbound = text(case, "direction") == "in";
        let subject = Subject {
            inbound,
            source: Address::parse(text(case, "source")).expect("an address"),
            destination: Address::parse(text(case, "destination")),
            from: ethernet.from,
            to: ethernet.to,
            ethertype: ethernet.ethertype,
            payload: &frame,
        };
        let addresses: Vec<IpNet> = optional(case, "own_addresses")
            .iter()
            .map(|a| net(a.as_str().expect("text")))
            .collect();
        let facts = Facts {
            me,
            flags: case["config_flags"].as_u64().unwrap_or(0),
            addresses: &addresses,
            own_tags: &tags(case, "own_tags"),
            peer_tags: &tags(case, "peer_tags"),
            own_things: &things(case, "own_ownership"),
            peer_things: &things(case, "peer_ownership"),
            member: true,
            // The recorded lots are "never" and "always".
            random: 0x8000_0000,
        };
        let mut capabilities: Vec<(u64, Vec<u8>)> = optional(case, "capabilities")
            .iter()
            .map(|c| (number(c, "id"), bytes(c, "rules")))
            .collect();
        capabilities.sort();
        let lists = capabilities.iter().map(|c| &c.1[..]);
        let decision = rules::decide(&bytes(case, "rules"), lists, &subject, &facts);
        let verdict = match (decision.pass, decision.sup && inbound) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => 2,
        };
        assert_eq!(verdict, number(case, "verdict"), "{name}");

        let mut ours: Copies = Vec::new();
        if !case["copies_suppressed"].as_bool().unwrap_or(false) {
            let copies = [decision.capability_copy, decision.base_copy];
            for copy in copies.into_iter().flatten() {
                let flags = match (inbound, copy.watch) {
                    (false, false) => 0x02,
                    (false, true) => 0x16,
                    (true, false) => 0x08,
                    (true, true) => 0x1c,
                };
                ours.push((copy.to, flags, copy.len));
            }
        }
        let redirected = if inbound { 0x0a } else { 0x04 };
        ours.extend(decision.redirect.map(|to| (to, redirected, frame.len())));
        let theirs: Copies = optional(case, "copies")
            .iter()
            .map(|copy| {
                let payload = bytes(copy, "ext_frame");
                let ext = ExtFrame::parse(&payload).expect("an EXT_FRAME");
                assert_eq!((ext.network, ext.ethernet), (network, ethernet), "{name}");
                assert!(frame.starts_with(ext.payload), "{name}");
                let to = Address::parse(text(copy, "to")).expect("an address");
                (to, number(copy, "flags"), ext.payload.len())
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
    }
    assert_eq!(cases.len(), 1387);
    report("network-rules.json", cases.len());
}

#[test]
fn ad_hoc_ids_come_to_the_configuration_that_1_14_1_makes() {
    let file = load("network-adhoc");
    let lists = file.as_object().expect("an object").values();
    let cases: Vec<&Value> = lists.filter_map(Value::as_array).flatten().collect();
    for case in &cases {
        let (node, id) = (text(case, "node"), text(case, "network"));
        let me = Address::parse(node).expect("an address");
        let network = NetworkId::parse(id).expect("an id");
        let view = ad_hoc_view(network, me);
        assert_eq!(view.status.name(), text(case, "status"), "{id}");
        let config = &case["config"];
        if config.is_null() {
            assert_ne!(view.status, NetworkStatus::Ok);
            assert!(view.rules.is_empty() && view.addresses.is_empty(), "{id}");
            continue;
        }
        assert_eq!(text(config, "network"), id);
        assert_eq!(text(config, "issued_to"), node);
        assert_eq!(view.name, text(config, "name"));
        assert_eq!(u64::from(view.mtu), number(config, "mtu"));
        assert_eq!(view.window_ms, number(config, "credential_window"));
        assert_eq!(view.revision, number(config, "revision"));
        assert_eq!(format!("{:016x}", view.flags), text(config, "flags"));
        assert_eq!(
            u64::from(view.multicast_limit),
            number(config, "multicast_limit")
        );
        assert_eq!(view.public, text(config, "type") == "public");
        assert_eq!(view.rules, bytes(config, "rules"));
        let rules = zt::wire::rule::Rules::parse(&view.rules).expect("rules");
        assert_eq!(rules.iter().count() as u64, number(config, "rule_count"));
        let text_of = |v: &Value| v.as_str().expect("text").to_owned();
        let addresses: Vec<IpNet> = list(config, "addresses")
            .iter()
            .map(|a| net(&text_of(a)))
            .collect();
        assert_eq!(view.addresses, addresses, "{id}");
        let specialists: Vec<String> = list(config, "specialists").iter().map(text_of).collect();
        let ours: Vec<String> = view
            .specialists
            .iter()
            .map(|s| format!("{s:016x}"))
            .collect();
        assert_eq!(ours, specialists, "{id}");
        assert!(list(config, "routes").is_empty() && view.routes.is_empty());
        // What ours does not have at all, because it is always empty.
        assert!(config["com"].is_null());
        for key in ["capabilities", "tags", "ownership"] {
            assert!(list(config, key).is_empty(), "{id}: {key}");
        }
        assert_eq!(text(&config["dns"], "domain"), "");
        assert!(list(&config["dns"], "servers").is_empty());
        assert!(!flag(&config["sso"], "enabled"));
        assert_eq!(number(config, "trace_level"), 0);
    }
    assert_eq!(cases.len(), 30);
    report("network-adhoc.json", cases.len());
}

/// A frame that is likely to get far: real ethertypes, header lengths, protocols.
fn frames() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let ethertype = prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x0806), any::<u16>()];
    let protocol = prop::sample::select(vec![0u8, 1, 6, 17, 43, 44, 58, 60, 132, 135, 136]);
    (ethertype, vec(any::<u8>(), 0..200), protocol).prop_map(|(ethertype, mut frame, protocol)| {
        let at = if ethertype == 0x0800 { 9 } else { 6 };
        if let Some(byte) = frame.get_mut(at) {
            *byte = protocol;
        }
        (ethertype, frame)
    })
}

/// Entries with lengths that fit their type or do not, then raw bytes.
fn rule_bytes() -> impl Strategy<Value = Vec<u8>> {
    let entry = (any::<u8>(), vec(any::<u8>(), 0..24), any::<bool>());
    let entries = vec(entry, 0..12).prop_map(|entries| {
        let mut all = Vec::new();
        for (kind, value, short) in entries {
            let value = if short {
                &value[..value.len().min(3)]
            } else {
                &value[..]
            };
            all.extend_from_slice(&[kind, value.len() as u8]);
            all.extend_from_slice(value);
        }
        all
    });
    prop_oneof![entries, vec(any::<u8>(), 0..200)]
}

/// Entries whose values are longer than any kind needs.
fn roomy_rules() -> impl Strategy<Value = Vec<u8>> {
    let entry = (any::<u8>(), vec(any::<u8>(), 19..24));
    vec(entry, 0..12).prop_map(|entries| {
        let bytes =
            |(kind, value): (u8, Vec<u8>)| [&[kind, value.len() as u8], &value[..]].concat();
        entries.into_iter().flat_map(bytes).collect()
    })
}

fn node(n: u64) -> Address {
    Address::new(n).expect("not reserved")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Neither do rules from a controller panic, nor frames from anybody, and what comes out
    /// keeps what the frame layer relies on.
    #[test]
    fn no_rules_and_no_frame_are_too_strange(
        base in rule_bytes(),
        capabilities in vec(rule_bytes(), 0..3),
        (ethertype, payload) in frames(),
        inbound: bool,
        destination in prop_oneof![Just(None), Just(Some(node(1))), Just(Some(node(2)))],
        flags: u64,
        random: u32,
        tags in vec((0u32..4, 0u32..4), 0..4),
        macs: [u8; 12],
    ) {
        let [a, b, c, d, e, f, rest @ ..] = macs;
        let subject = Subject {
            inbound,
            source: node(if inbound { 2 } else { 1 }),
            destination,
            from: Mac::new([a, b, c, d, e, f]),
            to: Mac::new(rest),
            ethertype,
            payload: &payload,
        };
        let own = [net("fc00:1:2:3:4::1/40"), net("10.1.2.3/8")];
        let facts = Facts {
            me: node(1),
            flags,
            addresses: &own,
            own_tags: &tags,
            peer_tags: &tags,
            own_things: &[],
            peer_things: &[(2, [1; 16])],
            member: true,
            random,
        };
        let lists = || capabilities.iter().map(|c| &c[..]);
        let decision = rules::decide(&base, lists(), &subject, &facts);
        prop_assert!(!(decision.pass && decision.redirect.is_some()));
        prop_assert!(!decision.sup || decision.pass);
        for copy in [decision.base_copy, decision.capability_copy].into_iter().flatten() {
            prop_assert!(copy.len <= payload.len());
            prop_assert!(copy.to != subject.source && copy.to != facts.me);
        }
        prop_assert_eq!(decision, rules::decide(&base, lists(), &subject, &facts));
        // Nothing may fire behind a plain ACCEPT or DROP.
        let accepts = rules::decide(&[&[1, 0][..], &base].concat(), lists(), &subject, &facts);
        prop_assert!(accepts.pass && accepts.base_copy.is_none());
        let drops = rules::decide(&[&[0, 0][..], &base].concat(), lists(), &subject, &facts);
        prop_assert!(!drops.pass && drops.redirect.is_none());
    }

    /// Rules whose values have room for what their kinds hold are judged the same after they
    /// were read and written again.
    #[test]
    fn rules_read_and_written_decide_the_same(
        base in roomy_rules(),
        (ethertype, payload) in frames(),
        inbound: bool,
    ) {
        let before = judge(&base, ethertype, &payload, inbound);
        prop_assert_eq!(before, judge(&rewritten(&base), ethertype, &payload, inbound));
    }

    /// Written once, any rules stay as they are.
    #[test]
    fn rules_written_again_are_the_same(base in rule_bytes()) {
        if zt::wire::rule::Rules::parse(&base).is_ok() {
            let written = rewritten(&base);
            prop_assert_eq!(rewritten(&written), written);
        }
    }
}

/// The rules as they are written after they were read.
fn rewritten(base: &[u8]) -> Vec<u8> {
    let parsed = zt::wire::rule::Rules::parse(base).expect("rules");
    let mut written = vec![0; 10_000];
    let mut writer = zt::wire::cursor::Writer::new(&mut written);
    parsed.write(&mut writer).expect("room");
    let len = writer.len();
    written.truncate(len);
    written
}

fn judge(rules: &[u8], ethertype: u16, payload: &[u8], inbound: bool) -> rules::Pass {
    let subject = Subject {
        inbound,
        source: node(if inbound { 2 } else { 1 }),
        destination: Some(node(if inbound { 1 } else { 2 })),
        from: Mac::new([2; 6]),
        to: Mac::new([4; 6]),
        ethertype,
        payload,
    };
    let facts = Facts {
        me: node(1),
        flags: 0,
        addresses: &[],
        own_tags: &[(1, 1)],
        peer_tags: &[(1, 2)],
        own_things: &[],
        peer_things: &[],
        member: true,
        random: 7,
    };
    rules::evaluate(rules, &subject, &facts)
}

/// A reader takes a value whole even where the length byte says less (network 4.1): the length
/// only leads to the next entry. The engine keeps to the lengths, so it must be given rules that
/// were read and written again; else the TEE here, of length 0, would name nobody.
#[test]
fn a_value_shorter_than_its_kind_is_read_past_its_end() {
    let base = [194, 0, 5, 2, 0, 0, 5, 3, 0, 0, 0, 133, 3, 0, 0, 0];
    let written = rewritten(&base);
    assert_eq!(written[..2], [0xc2, 14]);
    assert_eq!(written[2..16], [0, 0, 0, 0, 5, 3, 0, 0, 0, 133, 3, 0, 0, 0]);
    let copy = judge(&written, 0x0800, &[], false).copy.expect("a copy");
    assert_eq!(copy.to.get(), 0x00_0503_0000);
    assert!(judge(&base, 0x0800, &[], false).copy.is_none());
}

/// Does this signature belong to that signer, for that network?
fn is_signed(
    keys: &[Identity],
    network: Option<NetworkId>,
    (signer, signature): (Address, &[u8; 96]),
    message: &[u8],
) -> bool {
    let key = keys.iter().find(|k| k.address == signer);
    network.and_then(NetworkId::controller) == Some(signer)
        && key.is_some_and(|k| sign::verify(&k.public, &[message], signature).is_ok())
}

#[test]
fn certificates_verify_as_in_1_14_1() {
    let file = load("network-com");
    let keys = [Identity::parse(text(&file, "controller")).expect("an identity")];
    let mut cases = 0;
    for case in list(&file, "certificates")
        .iter()
        .chain(list(&file, "decode"))
    {
        let Some(expected) = case["verified"].as_bool() else {
            continue;
        };
        let wire = bytes(case, "hex");
        let com = Com::read(&mut Reader::new(&wire)).expect("a certificate");
        let message = com.signed_message();
        let good = com
            .signed
            .is_some_and(|s| is_signed(&keys, com.network(), s, message));
        assert_eq!(good, expected, "{}", text(case, "name"));
        cases += 1;
    }
    for case in list(&file, "identity_fields") {
        let identity = Identity::parse(text(case, "identity")).expect("an identity");
        let print = sign::fingerprint(&identity);
        for (word, theirs) in print.chunks_exact(8).zip(list(case, "fields_3_to_6")) {
            assert_eq!(word, unhex(theirs.as_str().expect("hex")));
        }
        cases += 1;
    }
    report("network-com.json", cases);
}

#[test]
fn credentials_verify_as_in_1_14_1() {
    let file = load("network-credentials");
    let mut keys = vec![Identity::parse(text(&file, "controller")).expect("an identity")];
    let known = list(&file, "known_identities").iter();
    keys.extend(known.map(|i| Identity::parse(i.as_str().expect("text")).expect("an identity")));
    let mut cases = 0;
    for kind in ["tags", "ownership", "revocations", "capabilities"] {
        for case in list(&file, kind) {
            let Some(expected) = case["verified"].as_bool() else {
                continue;
            };
            let name = text(case, "name");
            let wire = bytes(case, "hex");
            let reader = &mut Reader::new(&wire);
            let mut message = [0; SIGNED_MAX_LEN];
            let (network, len, signed) = match kind {
                "tags" => {
                    let tag = Tag::read(reader).expect("a tag");
                    let len = tag.signed_message(&mut message);
                    (tag.network, len, Some((tag.signer, tag.signature)))
                }
                "ownership" => {
                    let own = Ownership::read(reader).expect("a certificate");
                    let len = own.signed_message(&mut message);
                    (own.network, len, Some((own.signer, own.signature)))
                }
                "revocations" => {
                    let rev = Revocation::read(reader).expect("a revocation");
                    let len = rev.signed_message(&mut message);
                    (rev.network, len, Some((rev.signer, rev.signature)))
                }
                _ => {
                    let cap = Capability::read(reader).expect("a capability");
                    let len = cap.signed_message(&mut message);
                    // Longer chains than one are none of ours (network 3.6); 1.14.1 takes this.
                    let links: Vec<_> = cap.links().collect();
                    assert_eq!(links.len() > 1, name.contains("chain"), "{name}");
                    let first = (links.len() == 1).then(|| (links[0].from, links[0].signature));
                    (cap.network, len, first)
                }
            };
            let message = &message[..len.expect("room")];
            let signed = signed.map(|(by, s)| (by, s.expect("of the known kind")));
            let good = signed.is_some_and(|s| is_signed(&keys, Some(network), s, message));
            assert_eq!(good, expected && name != "chain of two", "{kind}: {name}");
            cases += 1;
        }
    }
    report("network-credentials.json", cases);
}
