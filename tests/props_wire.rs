//! Properties of `zt::wire`: what is written reads back, what is cut is refused or a legal
//! short form, and no bytes whatever make a parser panic.
#![allow(missing_docs)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;

use zt::base::{Address, Mac, NetworkId, PacketId};
use zt::wire::control::{self, ErrorReply, OkReply, PushDirectPaths, Rendezvous};
use zt::wire::credential::{
    self, Bundle, Capability, Com, Credentials, Link, Ownership, Qualifier, Records, Revocation,
    Tag, Thing,
};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::dict::{self, Dialect, Dict, DictWriter};
use zt::wire::fragment::{self, FRAGMENT_HEADER_LEN, FragmentHeader, PIECES_MAX};
use zt::wire::frames::{self, Ethernet, ExtFrame, Frame, HEADROOM};
use zt::wire::hello::{self, Hello, HelloFields, OkHello};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::multicast::{self, Gather, Group, MulticastFrame};
use zt::wire::netconf::{self, Chunk, ConfigRequest};
use zt::wire::packet::{self, HEADER_LEN, Header, Kind, PACKET_MAX};
use zt::wire::rule::{CopyTo, Rule, Rules, TagTest, What};
use zt::wire::verb::{self, ErrorCode, Message, Verb};
use zt::wire::world::{self, World, WorldBuf, WorldKind};
use zt::wire::{Malformed, derive, inet, lz4};

// ---- values --------------------------------------------------------------------------------

fn address() -> impl Strategy<Value = Address> {
    (1u64..0xff_0000_0000).prop_map(|n| Address::new(n).unwrap())
}

fn network() -> impl Strategy<Value = NetworkId> {
    (1u64..).prop_map(|n| NetworkId::new(n).unwrap())
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac::new)
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(|b| IpAddr::V4(Ipv4Addr::from(b))),
        any::<[u8; 16]>().prop_map(|b| IpAddr::V6(Ipv6Addr::from(b))),
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn group() -> impl Strategy<Value = Group> {
    (mac(), any::<u32>()).prop_map(|(mac, adi)| Group { mac, adi })
}

fn array<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

fn identity() -> impl Strategy<Value = Identity> {
    (address(), array()).prop_map(|(address, public)| Identity { address, public })
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<u64>().prop_map(PacketId::new)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..300)
}

fn what() -> impl Strategy<Value = What> {
    let copy = (0u64..1 << 40, any::<u32>(), any::<u16>()).prop_map(|(to, flags, length)| CopyTo {
        to,
        flags,
        length,
    });
    let test = prop_oneof![
        Just(TagTest::Difference),
        Just(TagTest::And),
        Just(TagTest::Or),
        Just(TagTest::Xor),
        Just(TagTest::Equal),
        Just(TagTest::Sender),
        Just(TagTest::Receiver),
    ];
    prop_oneof![
        Just(What::Drop),
        Just(What::Accept),
        copy.clone().prop_map(What::Tee),
        copy.clone().prop_map(What::Watch),
        copy.prop_map(What::Redirect),
        Just(What::Break),
        Just(What::Priority),
        (0u64..1 << 40).prop_map(What::SourceAddress),
        (0u64..1 << 40).prop_map(What::DestAddress),
        any::<u16>().prop_map(What::VlanId),
        any::<u8>().prop_map(What::VlanPcp),
        any::<u8>().prop_map(What::VlanDei),
        mac().prop_map(What::MacSource),
        mac().prop_map(What::MacDest),
        any::<([u8; 4], u8)>().prop_map(|(ip, bits)| What::Ipv4Source(ip, bits)),
        any::<([u8; 4], u8)>().prop_map(|(ip, bits)| What::Ipv4Dest(ip, bits)),
        any::<([u8; 16], u8)>().prop_map(|(ip, bits)| What::Ipv6Source(ip, bits)),
        any::<([u8; 16], u8)>().prop_map(|(ip, bits)| What::Ipv6Dest(ip, bits)),
        any::<[u8; 3]>().prop_map(|[mask, from, to]| What::IpTos { mask, from, to }),
        any::<u8>().prop_map(What::IpProtocol),
        any::<u16>().prop_map(What::Ethertype),
        any::<[u8; 3]>().prop_map(|[kind, code, flags]| What::Icmp {
            kind,
            code: (flags & 1 != 0).then_some(code),
            raw: [code, flags],
        }),
        any::<(u16, u16)>().prop_map(|(from, to)| What::SourcePorts(from, to)),
        any::<(u16, u16)>().prop_map(|(from, to)| What::DestPorts(from, to)),
        any::<u64>().prop_map(What::Characteristics),
        any::<(u16, u16)>().prop_map(|(from, to)| What::FrameSize(from, to)),
        any::<u32>().prop_map(What::Random),
        (test, any::<u32>(), any::<u32>()).prop_map(|(test, id, value)| What::Tag {
            test,
            id,
            value
        }),
        any::<(u64, u32, u16, u8)>().prop_map(|(start, span, index, format)| {
            What::IntegerRange {
                start,
                span,
                index,
                format,
            }
        }),
        (52u8..64).prop_map(What::Unknown),
    ]
}

fn rules(max: usize) -> impl Strategy<Value = Vec<Rule>> {
    let rule = (any::<bool>(), any::<bool>(), what());
    vec(
        rule.prop_map(|(not, or, what)| Rule { not, or, what }),
        0..max,
    )
}

// ---- helpers -------------------------------------------------------------------------------

type Written = Result<(), Malformed>;

fn written(write: impl Fn(&mut Writer<'_>) -> Written) -> Vec<u8> {
    let mut buffer = vec![0; 16_384];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).unwrap();
    let bytes = writer.written().to_vec();
    // A writer without room says so, and writes nothing beyond.
    for room in 0..bytes.len() {
        let mut short = vec![0xee; room + 1];
        let mut writer = Writer::new(&mut short[..room]);
        assert_eq!(write(&mut writer), Err(Malformed::Truncated), "{room}");
        assert_eq!(short[room], 0xee);
    }
    bytes
}

/// Every length below `needed` is refused; every other reads, or is refused, without a panic.
fn cut<'a, T>(bytes: &'a [u8], needed: usize, parse: impl Fn(&'a [u8]) -> Result<T, Malformed>) {
    assert!(parse(bytes).is_ok());
    for len in 0..bytes.len() {
        let got = parse(&bytes[..len]);
        assert!(
            got.is_err() || len >= needed,
            "{len} of {} bytes read",
            bytes.len()
        );
        feed(&bytes[..len]);
    }
}

/// What follows the last known field is left alone.
fn padded(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0xa5; 3]].concat()
}

/// All parsers, all iterators, to their end.
fn feed(bytes: &[u8]) {
    let mut room = [0u8; PACKET_MAX];
    let _ = packet::classify(bytes);
    let _ = Header::parse(bytes);
    let _ = FragmentHeader::parse(bytes);
    let _ = packet::bump_hops(&mut bytes.to_vec());
    for number in 0..32 {
        if let Ok(message) = verb::parse(number, bytes) {
            exhaust(&message);
        }
    }
    let _ = OkHello::parse(bytes);
    if let Ok(moons) = hello::moons(bytes) {
        assert!(moons.count() <= bytes.len());
    }
    let _ = multicast::parse_ok_gather(bytes).map(|(_, _, result)| result.members().count());
    let _ = multicast::parse_ok_frame(bytes)
        .map(|(_, _, result)| result.map(|result| result.members().count()));
    let _ = netconf::parse_error(bytes);
    let _ = Chunk::parse(bytes).map(|chunk| chunk.signed.map(|signed| signed.fingerprint()));
    let _ = Identity::read(&mut Reader::new(bytes));
    let _ = inet::read(&mut Reader::new(bytes));
    if let Ok((world, used)) = World::parse(bytes) {
        assert_eq!(world.bytes().len(), used);
        assert!(world.roots().flat_map(|root| root.endpoints()).count() <= bytes.len());
        let _ = world.signed_message(&mut room);
        let _ = WorldBuf::new(bytes).map(|kept| kept.view().id);
    }
    if let Ok(len) = lz4::decompress(bytes, &mut room) {
        assert!(len <= room.len());
    }
    if let Ok(rules) = Rules::parse(bytes) {
        assert_eq!(rules.iter().count(), usize::from(rules.len()));
    }
    if let Ok(com) = Com::read(&mut Reader::new(bytes)) {
        let _ = com.agrees_with(&com, &[0; 48]);
    }
    let _ = Tag::read(&mut Reader::new(bytes)).map(|tag| tag.signed_message(&mut room));
    let _ = Capability::read(&mut Reader::new(bytes)).map(|cap| {
        assert!(
            cap.signed_message(&mut room[..credential::SIGNED_MAX_LEN])
                .is_ok()
        );
        cap.issued_to()
    });
    let _ = Ownership::read(&mut Reader::new(bytes)).map(|coo| coo.signed_message(&mut room));
    let _ = Revocation::read(&mut Reader::new(bytes)).map(|rev| rev.signed_message(&mut room));
    for dialect in [Dialect::Modern, Dialect::Old] {
        for (_, value) in Dict::new(bytes, dialect).entries() {
            let _ = (value.number(), value.flag(), value.plain());
            assert_eq!(bytes.get(value.range()), Some(value.raw()));
            let plain = value.unescape(&mut room[..bytes.len()]).unwrap();
            let mut copy = bytes.to_vec();
            let at = dict::unescape_in_place(&mut copy, value.range(), dialect).unwrap();
            assert_eq!(&copy[at], plain);
        }
        let _ = Dict::new(bytes, dialect).unescape_all("k", &mut room);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Identity::parse(text);
        let _ = SecretIdentity::parse(text).is_ok();
        let _ = inet::parse_slash(text);
        let mut out = Writer::new(&mut room);
        if credential::com_from_text(text, &mut out).is_ok() {
            assert!(Com::read(&mut Reader::new(out.written())).is_ok());
        }
    }
    if let Some(packed) = lz4::compress(bytes, &mut room) {
        assert!(packed < bytes.len());
    }
    let _ = derive::arp_group(0x0806, bytes);
}

fn exhaust(message: &Message<'_>) {
    match message {
        Message::NetworkCredentials(list) => {
            let results: Vec<_> = list.clone().collect();
            let errors = results.iter().filter(|result| result.is_err()).count();
            // At most one, and the last.
            assert_eq!(
                errors,
                usize::from(results.last().is_some_and(Result::is_err))
            );
        }
        Message::PushDirectPaths(list) => drop(list.clone().collect::<Vec<_>>()),
        Message::Whois(payload) => drop(control::whois(payload).collect::<Vec<_>>()),
        Message::MulticastLike(payload) => {
            let _ = multicast::likes(payload).map(Iterator::count);
        }
        Message::NetworkConfigRefresh(payload) => {
            assert!(netconf::refresh(payload).unwrap().count() <= payload.len() / 8);
        }
        _ => {}
    }
}

// ---- packets -------------------------------------------------------------------------------

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in vec(any::<u8>(), 0..400)) {
        feed(&bytes);
    }

    /// Small values and repetitions: lengths and counts that often fit.
    #[test]
    fn likely_bytes_are_parsed_without_panic(bytes in vec(prop_oneof![
        Just(0u8), Just(1), Just(2), Just(4), Just(6), Just(96), Just(127), Just(b'='),
        Just(b'\n'), Just(b'\\'), Just(b':'), Just(b'0'), Just(b'f'), any::<u8>(),
    ], 0..400)) {
        feed(&bytes);
    }

    #[test]
    fn a_header_reads_back(
        id in packet_id(), to in address(), from in address(), flags: u8, body in payload(),
    ) {
        let mut bytes = vec![0xff; HEADER_LEN];
        bytes.extend_from_slice(&body);
        packet::write_header(&mut bytes, id, to, from, flags).unwrap();
        let header = Header::parse(&bytes).unwrap();
        prop_assert_eq!(header, Header { id, destination: to, source: from, flags });
        prop_assert_eq!(&bytes[19..27], &[0; 8]);
        prop_assert_eq!(bytes[27], 0xff);
        prop_assert_eq!(packet::classify(&bytes), Kind::Packet);
        for len in 0..HEADER_LEN {
            prop_assert!(Header::parse(&bytes[..len]).is_err());
            prop_assert!(packet::classify(&bytes[..len]) != Kind::Packet);
        }
        let mut relayed = bytes.clone();
        match packet::bump_hops(&mut relayed) {
            Ok(hops) => {
                prop_assert_eq!(hops, header.hops() + 1);
                prop_assert_eq!(relayed[18] & !7, flags & !7);
                relayed[18] = flags;
            }
            Err(_) => prop_assert!(header.hops() >= packet::HOPS_LIMIT),
        }
        prop_assert_eq!(relayed, bytes);
    }

    #[test]
    fn a_fragment_header_reads_back(
        id in packet_id(), to in address(), total in 2u8..=7, number: u8, hops in 0u8..8,
        data in payload(),
    ) {
        let number = 1 + number % (total - 1);
        let header = FragmentHeader { id, destination: to, total, number, hops };
        let bytes = [&header.to_bytes()[..], &data].concat();
        prop_assert_eq!(FragmentHeader::parse(&bytes), Ok((header, &data[..])));
        for len in 0..FRAGMENT_HEADER_LEN {
            prop_assert!(FragmentHeader::parse(&bytes[..len]).is_err());
        }
        let mut relayed = bytes.clone();
        if bytes.len() > FRAGMENT_HEADER_LEN && hops < packet::HOPS_LIMIT {
            prop_assert_eq!(packet::classify(&bytes), Kind::Fragment);
            prop_assert_eq!(packet::bump_hops(&mut relayed), Ok(hops + 1));
            prop_assert_eq!(FragmentHeader::parse(&relayed).unwrap().0.hops, hops + 1);
        } else {
            prop_assert!(packet::bump_hops(&mut relayed).is_err());
        }
    }

    #[test]
    fn pieces_are_few_equal_and_whole(
        len in 28usize..PACKET_MAX, max in 600usize..2000, equal: bool,
    ) {
        let packet: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let to = Address::new(1).unwrap();
        let cut = if equal { fragment::pieces } else { fragment::pieces_of };
        let pieces: Vec<_> = cut(&packet, PacketId::new(7), to, max).collect();
        prop_assert_eq!(pieces.len(), fragment::piece_count(len, max));
        let sizes: Vec<usize> =
            pieces.iter().map(|(header, data)| header.map_or(0, |_| 16) + data.len()).collect();
        prop_assert!(sizes.iter().all(|size| *size <= max && *size <= sizes[0]));
        prop_assert!(sizes.iter().rev().skip(1).all(|size| *size == sizes[0]));
        let mut whole = Vec::new();
        for (number, (header, data)) in pieces.iter().enumerate() {
            prop_assert_eq!(header.is_none(), number == 0);
            if let Some(header) = header.filter(|_| pieces.len() <= PIECES_MAX) {
                let (header, _) = FragmentHeader::parse(&header).unwrap();
                prop_assert_eq!(usize::from(header.number), number);
                prop_assert_eq!(usize::from(header.total), pieces.len());
            }
            whole.extend_from_slice(data);
        }
        prop_assert_eq!(whole, packet);
    }

    #[test]
    fn lz4_gives_back_what_it_took(
        seed in vec(vec(any::<u8>(), 1..20), 1..8), order in vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let data: Vec<u8> = order.iter().flat_map(|at| at.get(&seed).clone()).collect();
        let mut packed = vec![0; data.len()];
        if let Some(len) = lz4::compress(&data, &mut packed) {
            prop_assert!(len < data.len());
            let mut back = vec![0; data.len()];
            prop_assert_eq!(lz4::decompress(&packed[..len], &mut back), Ok(data.len()));
            prop_assert_eq!(&back, &data);
            back.pop();
            prop_assert!(lz4::decompress(&packed[..len], &mut back).is_err());
            for cut in 0..len {
                // A shorter block never gives the whole.
                let got = lz4::decompress(&packed[..cut], &mut vec![0; data.len()]);
                prop_assert!(got != Ok(data.len()));
            }
        }
    }
}

// ---- identities, addresses, worlds ---------------------------------------------------------

proptest! {
    #[test]
    fn an_identity_reads_back(identity in identity(), secret in array::<64>()) {
        let bytes = written(|w| identity.write(w));
        prop_assert_eq!(bytes.len(), Identity::LEN);
        cut(&bytes, Identity::LEN, |b| Identity::read(&mut Reader::new(b)));
        prop_assert_eq!(Identity::read(&mut Reader::new(&padded(&bytes))), Ok(identity));
        prop_assert_eq!(Identity::parse(&identity.to_string()), Ok(identity));
        let both = SecretIdentity::from_parts(identity, secret);
        let mut text = String::new();
        both.write_string(&mut text).unwrap();
        let back = SecretIdentity::parse(&format!(" {text}\n")).unwrap();
        prop_assert_eq!(back.identity, identity);
        prop_assert_eq!(back.secret(), &secret);
        for len in 0..text.len() {
            let got = SecretIdentity::parse(&text[..len]);
            prop_assert!(got.is_err(), "{}", len);
        }
    }

    #[test]
    fn a_physical_address_reads_back(address in proptest::option::of(socket())) {
        let bytes = written(|w| {
            inet::write(w, address.as_ref());
            w.end()
        });
        prop_assert_eq!(bytes.len(), inet::wire_len(address.as_ref()));
        cut(&bytes, bytes.len(), |b| inet::read(&mut Reader::new(b)));
        prop_assert_eq!(inet::read(&mut Reader::new(&padded(&bytes))), Ok(address));
        if let Some(address) = address {
            let text = inet::Slash(address).to_string();
            prop_assert_eq!(inet::parse_slash(&text), Some(address));
        }
    }

    #[test]
    fn a_world_reads_back(
        moon: bool, id: u64, timestamp: u64, key in array::<64>(), signature in array::<96>(),
        roots in vec((identity(), vec(socket(), 0..6)), 0..=4),
    ) {
        let kind = if moon { WorldKind::Moon } else { WorldKind::Planet };
        let borrowed: Vec<(Identity, &[SocketAddr])> =
            roots.iter().map(|(identity, at)| (*identity, &at[..])).collect();
        let bytes =
            written(|w| world::write(w, kind, id, timestamp, &key, &signature, &borrowed));
        cut(&bytes, bytes.len(), World::parse);
        let (world, used) = World::parse(&bytes).unwrap();
        prop_assert_eq!(used, bytes.len());
        prop_assert_eq!((world.kind, world.id, world.timestamp), (kind, id, timestamp));
        prop_assert_eq!((*world.update_key, *world.signature), (key, signature));
        let back: Vec<(Identity, Vec<SocketAddr>)> =
            world.roots().map(|root| (root.identity, root.endpoints().collect())).collect();
        prop_assert_eq!(back, roots);
        let mut buffer = [0; world::SIGNED_MAX_LEN];
        let len = world.signed_message(&mut buffer).unwrap();
        // Two marks more, the signature less.
        prop_assert_eq!(len, bytes.len() + 16 - 96);
        let kept = WorldBuf::new(&padded(&bytes)).unwrap();
        prop_assert_eq!(kept.bytes(), &bytes[..]);
    }

    #[test]
    fn a_mac_leads_back_to_its_address(network in network(), address in address()) {
        let mac = derive::mac(network, address);
        prop_assert!(!mac.is_multicast());
        prop_assert!(derive::is_member_mac(network, mac));
        prop_assert_eq!(derive::address_of_mac(network, mac), Some(address));
        let name = derive::device_name(network, 0);
        prop_assert_eq!(name.len(), derive::DEVICE_NAME_LEN);
        prop_assert!(name != derive::device_name(network, 1));
    }
}

// ---- verbs ---------------------------------------------------------------------------------

proptest! {
    #[test]
    fn a_hello_reads_back(
        version: (u8, u8, u8, u16), time: u64, identity in identity(),
        sent_to in proptest::option::of(socket()), planet: (u64, u64),
        held in vec(any::<(u64, u64)>(), 0..4),
    ) {
        let (protocol, major, minor, revision) = version;
        let fields =
            HelloFields { protocol, major, minor, revision, time, identity, sent_to, planet };
        let bytes = written(|w| {
            hello::write_hello(w, &fields, held.iter().copied()).map(|_| ())
        });
        // Identity, address, planet: the places where older nodes end.
        let address_end = 84 + inet::wire_len(sent_to.as_ref());
        let legal = [84, address_end, address_end + 8, address_end + 16];
        for len in 0..bytes.len() {
            let got = Hello::parse(&bytes[..len]);
            let whole = legal.contains(&len) || len > address_end + 16;
            prop_assert_eq!(got.is_ok(), whole, "{} of {}", len, bytes.len());
        }
        let hello = Hello::parse(&bytes).unwrap();
        prop_assert_eq!((hello.protocol, hello.major, hello.minor, hello.revision), version);
        prop_assert_eq!((hello.time, hello.identity, hello.sent_to), (time, identity, sent_to));
        prop_assert_eq!(hello.planet, Some(planet));
        prop_assert_eq!(hello.tail_at, Some(address_end + 16));
        let expected: Vec<(u8, u64, u64)> = held.iter().map(|(id, t)| (127, *id, *t)).collect();
        prop_assert_eq!(hello::moons(hello.tail).unwrap().collect::<Vec<_>>(), expected);
        for len in 2..hello.tail.len() {
            prop_assert!(hello::moons(&hello.tail[..len]).is_err());
        }
    }

    #[test]
    fn an_ok_hello_reads_back(
        version: (u8, u8, u8, u16), time: u64, seen_as in proptest::option::of(socket()),
        worlds in vec(payload(), 0..3),
    ) {
        let bytes = written(|w| {
            let worlds = worlds.iter().map(|world| &world[..]);
            hello::write_ok_hello(w, time, version, seen_as.as_ref(), worlds)
        });
        cut(&bytes, 13, OkHello::parse);
        let padded = padded(&bytes);
        let ok = OkHello::parse(&padded).unwrap();
        prop_assert_eq!((ok.protocol, ok.major, ok.minor, ok.revision), version);
        prop_assert_eq!((ok.time, ok.seen_as), (time, seen_as));
        prop_assert_eq!(ok.worlds, worlds.concat());
    }

    #[test]
    fn replies_and_requests_read_back(
        id in packet_id(), body in payload(), peer in address(), at in socket(),
        paths in vec(socket(), 0..20), code in 1u8..=9, number in 0usize..22,
    ) {
        let verb = Verb::ALL[number % Verb::ALL.len()];
        let bytes = written(|w| {
            control::write_ok_head(w, verb, id);
            w.bytes(&body);
            w.end()
        });
        cut(&bytes, 9, OkReply::parse);
        let ok = OkReply::parse(&bytes).unwrap();
        prop_assert_eq!((ok.verb, ok.id, ok.body), (verb as u8, id, &body[..]));

        let code = ErrorCode::from_byte(code).unwrap();
        let bytes = written(|w| {
            control::write_error_head(w, verb, id, code);
            w.bytes(&body);
            w.end()
        });
        cut(&bytes, 10, ErrorReply::parse);
        let error = ErrorReply::parse(&bytes).unwrap();
        prop_assert_eq!((error.verb, error.id, error.body), (verb as u8, id, &body[..]));
        prop_assert_eq!(ErrorCode::from_byte(error.code), Some(code));

        let bytes = written(|w| {
            control::write_whois(w, peer);
            w.end()
        });
        prop_assert_eq!(control::whois(&bytes).collect::<Vec<_>>(), vec![peer]);

        let bytes = written(|w| control::write_rendezvous(w, peer, &at));
        if at.port() == 0 {
            prop_assert_eq!(Rendezvous::parse(&bytes), Err(Malformed::Value));
        } else {
            cut(&bytes, bytes.len(), Rendezvous::parse);
            let expected = Rendezvous { flags: 0, peer, at };
            prop_assert_eq!(Rendezvous::parse(&padded(&bytes)), Ok(expected));
        }

        let bytes = written(|w| control::write_push(w, &paths));
        let padded = padded(&bytes);
        let read: Vec<SocketAddr> = PushDirectPaths::parse(&padded)
            .unwrap()
            .map(|path| path.unwrap().address.unwrap())
            .collect();
        prop_assert_eq!(&read, &paths);
        for len in 2..bytes.len() {
            let read: Vec<_> = PushDirectPaths::parse(&bytes[..len]).unwrap().collect();
            prop_assert_eq!(read.last().map(Result::is_err), Some(true));
        }
    }

    #[test]
    fn verb_bytes_are_told_by_their_low_bits(byte: u8, body in payload()) {
        let name = |message: Result<Message<'_>, Malformed>| format!("{message:?}");
        prop_assert_eq!(name(verb::parse(byte, &body)), name(verb::parse(byte & 0x1f, &body)));
        let known = Verb::from_byte(byte & 0x1f);
        let unknown = matches!(verb::parse(byte, &body), Ok(Message::Unknown(_)));
        prop_assert_eq!(known.is_none(), unknown);
        prop_assert_eq!(known.map(|verb| verb as u8).unwrap_or(byte & 0x1f), byte & 0x1f);
    }

    #[test]
    fn ethernet_frames_come_out_as_they_went_in(
        network in network(), to in mac(), from in mac(), ethertype: u16, body in payload(),
        flags: u8,
    ) {
        let ethernet = Ethernet { to, from, ethertype };
        let frame = [&ethernet.to_bytes()[..], &body].concat();
        let mut slot = vec![0xcc; HEADROOM];
        slot.extend_from_slice(&frame);
        let mut other = slot.clone();

        let range = frames::prepend_frame(&mut slot, frame.len(), network).unwrap();
        let at = range.end - body.len();
        prop_assert_eq!(&slot[at..range.end], &body[..]);
        let packet = &mut slot[range];
        prop_assert_eq!(packet[27], Verb::Frame as u8);
        let payload = packet[HEADER_LEN..].to_vec();
        cut(&payload, 10, Frame::parse);
        let read = Frame::parse(&payload).unwrap();
        prop_assert_eq!((read.network, read.ethertype, read.payload), (network, ethertype, &body[..]));
        let back = frames::ethernet_in_place(packet, HEADER_LEN + 10, ethernet).unwrap();
        prop_assert_eq!(&packet[back], &frame[..]);

        let flags = flags & !frames::EXT_COM;
        let range = frames::prepend_ext_frame(&mut other, frame.len(), network, flags).unwrap();
        let packet = &other[range];
        prop_assert_eq!(packet[27], Verb::ExtFrame as u8);
        let payload = &packet[HEADER_LEN..];
        cut(payload, 23, ExtFrame::parse);
        let read = ExtFrame::parse(payload).unwrap();
        prop_assert_eq!((read.network, read.flags, read.ethernet), (network, flags, ethernet));
        prop_assert_eq!(read.payload, &body[..]);
        prop_assert!(read.com.is_none());
        // The frame lies there as it was: nothing to do on receipt.
        prop_assert!(payload.ends_with(&frame));

        for len in 0..frames::ETHERNET_LEN {
            prop_assert!(frames::prepend_frame(&mut slot, len, network).is_err());
        }
        let too_long = slot.len() - HEADROOM + 1;
        prop_assert!(frames::prepend_frame(&mut slot, too_long, network).is_err());
    }

    #[test]
    fn multicast_reads_back(
        network in network(), group in group(), limit: u32, total: u32,
        members in vec(address(), 0..40), from in proptest::option::of(mac()), ethertype: u16,
        body in payload(), replicate: bool,
    ) {
        let bytes = written(|w| {
            multicast::write_like(w, network, group);
            w.end()
        });
        prop_assert_eq!(bytes.len(), multicast::LIKE_LEN);
        let twice = bytes.repeat(2);
        let read: Vec<_> = multicast::likes(&twice).unwrap().collect();
        prop_assert_eq!(read, vec![(network, group); 2]);
        prop_assert!(multicast::likes(&twice[1..]).is_err());

        let bytes = written(|w| multicast::write_gather(w, network, group, limit, None));
        cut(&bytes, bytes.len(), Gather::parse);
        let read = Gather::parse(&bytes).unwrap();
        prop_assert_eq!((read.network, read.group, read.limit), (network, group, limit));
        prop_assert!(read.com.is_none());

        let mut buffer = vec![0; 24 + 5 * 30];
        let mut writer = Writer::new(&mut buffer);
        multicast::write_answer_head(&mut writer, network, group).unwrap();
        let count = multicast::write_result(&mut writer, total, members.iter().copied()).unwrap();
        // As many as fit.
        prop_assert_eq!(usize::from(count), members.len().min(30));
        let bytes = writer.written();
        cut(bytes, bytes.len(), multicast::parse_ok_gather);
        let (read_network, read_group, result) = multicast::parse_ok_gather(bytes).unwrap();
        prop_assert_eq!((read_network, read_group, result.total), (network, group, total));
        prop_assert!(result.members().eq(members.iter().copied().take(usize::from(count))));

        let flags = if replicate { MulticastFrame::REPLICATE } else { 0 };
        let frame = MulticastFrame {
            network, flags, com: None, gather_limit: limit, from, group, ethertype,
            payload: &body,
        };
        let bytes = written(|w| frame.write(w));
        cut(&bytes, bytes.len() - body.len(), MulticastFrame::parse);
        let read = MulticastFrame::parse(&bytes).unwrap();
        prop_assert_eq!((read.network, read.gather_limit, read.from), (network, limit, from));
        prop_assert_eq!((read.group, read.ethertype, read.payload), (group, ethertype, &body[..]));
        prop_assert_eq!(read.flags & MulticastFrame::REPLICATE, flags);
    }
}

// ---- configurations, credentials, rules ----------------------------------------------------

proptest! {
    #[test]
    fn configuration_requests_and_chunks_read_back(
        network in network(), meta in payload(), revision: u64, timestamp: Option<u64>,
        data in payload(), flags: u8, update in 1u64.., ahead in 0u32..100_000,
        behind in 0u32..100_000, signature in array::<96>(),
    ) {
        let request = ConfigRequest { network, meta: &meta, revision, timestamp };
        let bytes = written(|w| request.write(w));
        cut(&bytes, 10 + meta.len(), ConfigRequest::parse);
        prop_assert_eq!(ConfigRequest::parse(&bytes), Ok(request));

        let plain = written(|w| netconf::write_chunk(w, network, &data, None));
        prop_assert_eq!(Chunk::parse(&plain), Ok(Chunk { network, data: &data, signed: None }));
        let position = ahead;
        let total = ahead + data.len() as u32 + behind;
        let update = Some((flags, update, total, position));
        let message = written(|w| netconf::write_chunk(w, network, &data, update));
        let bytes = written(|w| {
            netconf::write_chunk(w, network, &data, update)?;
            netconf::write_chunk_signature(w, &signature)
        });
        for len in 0..bytes.len() {
            // Behind the data it is a legal unsigned one.
            let got = Chunk::parse(&bytes[..len]);
            prop_assert_eq!(got.is_ok(), len == plain.len());
        }
        let padded = padded(&bytes);
        let chunk = Chunk::parse(&padded).unwrap();
        let signed = chunk.signed.unwrap();
        prop_assert_eq!((chunk.network, chunk.data), (network, &data[..]));
        prop_assert_eq!((signed.message, signed.signature), (&message[..], &signature));
        prop_assert_eq!(Some((signed.flags, signed.update, signed.total, signed.position)), update);
        prop_assert!(netconf::refresh(&bytes).is_none());
    }

    #[test]
    fn a_dictionary_reads_back(
        entries in vec((("[a-zA-Z]{1,6}", payload()), any::<u64>()), 0..6), old: bool,
    ) {
        let dialect = if old { Dialect::Old } else { Dialect::Modern };
        // One key once, and the two of an entry differ.
        let entries: std::collections::BTreeMap<String, (Vec<u8>, u64)> =
            entries.into_iter().map(|((key, value), n)| (key, (value, n))).collect();
        let text = written(|w| {
            let mut dict = DictWriter::new(w, dialect);
            for (key, (value, number)) in &entries {
                dict.bytes(key, value)?;
                dict.number(&format!("{key}-n"), *number)?;
                dict.short_number(&format!("{key}-s"), *number)?;
                dict.flag(&format!("{key}-f"), *number & 1 != 0)?;
            }
            Ok(())
        });
        prop_assert!(!text.contains(&0));
        let dict = Dict::new(&text, dialect);
        prop_assert_eq!(dict.entries().count(), 4 * entries.len());
        for (key, (value, number)) in &entries {
            let mut out = vec![0; value.len()];
            prop_assert_eq!(dict.get(key).unwrap().unescape(&mut out), Ok(&value[..]));
            out.fill(0);
            prop_assert_eq!(dict.unescape_all(key, &mut out), Ok(Some(&value[..])));
            if let Some(plain) = dict.get(key).unwrap().plain() {
                prop_assert_eq!(plain, &value[..]);
            }
            prop_assert_eq!(dict.number(&format!("{key}-n"), 0), *number);
            prop_assert_eq!(dict.number(&format!("{key}-s"), 0), *number);
            prop_assert_eq!(dict.get(&format!("{key}-f")).unwrap().flag(), number & 1 != 0);
        }
        prop_assert!(dict.get("-").is_none());
        feed(&text);
    }

    #[test]
    fn rules_read_back(list in rules(40)) {
        let bytes = written(|w| list.iter().try_for_each(|rule| rule.write(w)));
        let rules = Rules::parse(&bytes).unwrap();
        prop_assert_eq!(rules.iter().collect::<Vec<_>>(), list.clone());
        prop_assert_eq!(written(|w| rules.write(w)), &bytes[..]);
        for len in 0..bytes.len() {
            if let Ok(cut) = Rules::parse(&bytes[..len]) {
                prop_assert!(cut.iter().eq(list.iter().copied().take(usize::from(cut.len()))));
            }
        }
    }

    #[test]
    fn a_com_reads_back(
        values in proptest::collection::btree_map(0u64..20, any::<(u64, u64)>(), 0..=8),
        signed in proptest::option::of((address(), array::<96>())),
    ) {
        let qualifiers: Vec<Qualifier> = values
            .iter()
            .map(|(id, (value, max_delta))| Qualifier { id: *id, value: *value, max_delta: *max_delta })
            .collect();
        let signed = signed.as_ref().map(|(by, signature)| (*by, signature));
        let bytes = written(|w| credential::write_com(w, &qualifiers, signed));
        cut(&bytes, bytes.len(), |b| Com::read(&mut Reader::new(b)));
        let padded = padded(&bytes);
        let com = Com::read(&mut Reader::new(&padded)).unwrap();
        prop_assert_eq!(com.bytes(), &bytes[..]);
        prop_assert_eq!(com.qualifiers().collect::<Vec<_>>(), qualifiers.clone());
        prop_assert_eq!(com.signed, signed);
        let mut text = String::new();
        com.write_text(&mut text).unwrap();
        prop_assert_eq!(written(|w| credential::com_from_text(&text, w)), &bytes[..]);
        let mut turned = qualifiers.clone();
        turned.reverse();
        let sorted = credential::write_com(&mut Writer::new(&mut [0; 300]), &turned, signed);
        prop_assert_eq!(sorted.is_ok(), turned.len() < 2);
        let bound = (3..=6).any(|id| values.contains_key(&id));
        prop_assert_eq!(com.agrees_with(&com, &[0; 48]), !bound && !qualifiers.is_empty()
            || bound && (3..=6).all(|id| values.get(&id).is_some_and(|(value, _)| *value == 0)));
    }

    #[test]
    fn credentials_read_back(
        network in network(), timestamp: u64, id: u32, value: u32, to in address(),
        by in address(), signature in array::<96>(), list in rules(64),
        things in vec((0u8..6, any::<[u8; 16]>()), 0..=16), flags: u64, kind: u8, threshold: u64,
        hops in 1usize..=7,
    ) {
        let signature = Some(&signature);
        let tag = Tag { network, timestamp, id, value, issued_to: to, signer: by, signature };
        let tag_bytes = written(|w| tag.write(w));
        prop_assert_eq!(tag_bytes.len(), 135);
        cut(&tag_bytes, tag_bytes.len(), |b| Tag::read(&mut Reader::new(b)));
        let padded_tag = padded(&tag_bytes);
        prop_assert_eq!(Tag::read(&mut Reader::new(&padded_tag)), Ok(tag));

        let rule_bytes = written(|w| list.iter().try_for_each(|rule| rule.write(w)));
        let rules = Rules::parse(&rule_bytes).unwrap();
        let mut cap = Capability::new(network, timestamp, id, rules);
        cap.max_chain = hops as u8;
        let links = vec![Link { to, from: by, signature }; hops];
        let cap_bytes = written(|w| cap.write(w, links.iter().copied()));
        cut(&cap_bytes, cap_bytes.len(), |b| Capability::read(&mut Reader::new(b)));
        let padded_cap = padded(&cap_bytes);
        let read = Capability::read(&mut Reader::new(&padded_cap)).unwrap();
        prop_assert_eq!(read.bytes(), &cap_bytes[..]);
        prop_assert!(read.rules.iter().eq(list.iter().copied()));
        prop_assert_eq!(read.links().collect::<Vec<_>>(), links);
        prop_assert_eq!(read.issued_to(), Some(to));
        let signed = |cap: &Capability<'_>| {
            let mut buffer = [0; credential::SIGNED_MAX_LEN];
            let len = cap.signed_message(&mut buffer).unwrap();
            buffer[..len].to_vec()
        };
        prop_assert_eq!(signed(&read), signed(&cap));

        let things: Vec<Thing> =
            things.into_iter().map(|(kind, value)| Thing { kind, value }).collect();
        let thing_bytes = written(|w| things.iter().try_for_each(|thing| thing.write(w)));
        let mut coo = Ownership::new(network, timestamp, id, &thing_bytes, to, by);
        prop_assert_eq!(coo.write(&mut Writer::new(&mut [0; 500])), Err(Malformed::Value));
        coo.flags = flags;
        coo.signature = signature;
        let coo_bytes = written(|w| coo.write(w));
        cut(&coo_bytes, coo_bytes.len(), |b| Ownership::read(&mut Reader::new(b)));
        let padded_coo = padded(&coo_bytes);
        prop_assert_eq!(Ownership::read(&mut Reader::new(&padded_coo)), Ok(coo));
        prop_assert!(things.iter().all(|thing| coo.owns(*thing)));

        let rev = Revocation {
            id, network, credential_id: value, threshold, flags, target: to, signer: by, kind,
            signature,
        };
        let rev_bytes = written(|w| rev.write(w));
        prop_assert_eq!(rev_bytes.len(), Revocation::LEN);
        cut(&rev_bytes, rev_bytes.len(), |b| Revocation::read(&mut Reader::new(b)));
        let padded_rev = padded(&rev_bytes);
        prop_assert_eq!(Revocation::read(&mut Reader::new(&padded_rev)), Ok(rev));

        let records = |count: u16, bytes| Records { count, bytes };
        let two_tags = tag_bytes.repeat(2);
        let bundle = Bundle {
            com: None,
            capabilities: records(1, &cap_bytes),
            tags: records(2, &two_tags),
            revocations: records(0, &[]),
            ownerships: records(1, &coo_bytes),
        };
        let mut packet = vec![0; 16_384];
        let mut writer = Writer::new(&mut packet);
        bundle.write(&mut writer).unwrap();
        let packet = writer.written();
        prop_assert_eq!(Credentials::new(packet).filter_map(Result::ok).count(), 4);
        // Where the packet may end: before each part, and in front of all.
        let tags_at = 3 + cap_bytes.len();
        let revocations_at = tags_at + 2 + two_tags.len();
        let ends = [0, 1, tags_at, revocations_at, revocations_at + 2];
        for len in 0..packet.len() {
            let whole = Credentials::new(&packet[..len]).all(|c| c.is_ok());
            prop_assert_eq!(whole, ends.contains(&len), "{} of {}", len, packet.len());
        }
    }
}
