//! Identities, addresses, pieces, HELLO, LZ4, worlds.

use std::net::SocketAddr;

use serde_json::Value;
use zt::base::{Address, NetworkId};
use zt::wire::control::OkReply;
use zt::wire::cursor::Reader;
use zt::wire::fragment::{FRAGMENT_HEADER_LEN, FragmentHeader, PIECES_MAX, pieces, pieces_of};
use zt::wire::hello::{Hello, HelloFields, OkHello, moons, write_hello, write_ok_hello};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::inet::{self, Slash, parse_slash};
use zt::wire::packet::{self, HEADER_LEN, Header, Kind, PACKET_MAX};
use zt::wire::world::{self, World, WorldBuf, WorldKind};
use zt::wire::{derive, lz4};

use super::values::{hex, hex_number, parse_mac, version, written};
use crate::common::{bytes, flag, list, load, number, report, text, unhex};

#[test]
fn identity_formats() {
    let file = load("identity");
    let mut cases = 0;
    for case in list(&file, "valid") {
        let public = Identity::parse(text(case, "public_string")).unwrap();
        let secret = SecretIdentity::parse(text(case, "secret_string")).unwrap();
        assert_eq!(secret.identity, public);
        assert_eq!(public.address.to_string(), text(case, "address"));
        assert_eq!(public.to_string(), text(case, "public_string"));
        let mut string = String::new();
        secret.write_string(&mut string).unwrap();
        assert_eq!(string, text(case, "secret_string"));
        assert_eq!(written(|w| public.write(w)), bytes(case, "bin_public"));
        for key in ["bin_public", "bin_secret"] {
            let bin = bytes(case, key);
            let mut reader = Reader::new(&bin);
            assert_eq!(Identity::read(&mut reader), Ok(public));
            assert!(reader.is_empty());
        }
        assert!(bytes(case, "bin_secret").ends_with(secret.secret()));
        cases += 1;
    }
    for case in list(&file, "invalid") {
        // The reference takes any byte for a hex digit; nobody writes such strings.
        let parses = flag(case, "parses") && !text(case, "why").starts_with("non-hex");
        let got = Identity::parse(text(case, "string"));
        assert_eq!(got.is_ok(), parses, "{}", text(case, "why"));
        cases += 1;
    }
    for case in list(&file, "lenient") {
        // What is not refused must mean what the reference takes it for.
        let strict = Identity::parse(text(case, "string"));
        if let Ok(identity) = strict {
            assert_eq!(identity.to_string(), text(case, "public_string"));
        }
        let why = text(case, "why");
        let needed = why.contains("newline") || why.contains("upper-case");
        assert!(strict.is_ok() || !needed, "{why}");
        cases += 1;
    }
    for case in list(&file, "invalid_binary") {
        let bin = bytes(case, "hex");
        let got = Identity::read(&mut Reader::new(&bin));
        assert!(got.is_err(), "{}", text(case, "why"));
        cases += 1;
    }
    report("identity.json", cases);
}

#[test]
fn inetaddress() {
    let file = load("inetaddress");
    let mut cases = 0;
    for case in list(&file, "addresses") {
        let address = parse_slash(text(case, "text")).unwrap();
        assert_eq!(Slash(address).to_string(), text(case, "text_out"));
        let wire = bytes(case, "hex");
        let bytes = written(|w| {
            inet::write(w, Some(&address));
            w.end()
        });
        assert_eq!(bytes, wire);
        assert_eq!(inet::wire_len(Some(&address)), wire.len());
        let mut reader = Reader::new(&wire);
        assert_eq!(inet::read(&mut reader), Ok(Some(address)));
        assert!(reader.is_empty());
        let scope = inet::scope(address.ip()) as u64;
        assert_eq!(scope, number(case, "scope"), "{address}");
        cases += 1;
    }
    for case in list(&file, "decode") {
        let wire = bytes(case, "hex");
        let mut reader = Reader::new(&wire);
        let got = inet::read(&mut reader);
        assert_eq!(got.is_ok(), flag(case, "ok"), "{}", text(case, "why"));
        if let Ok(address) = got {
            let used = wire.len() - reader.remaining();
            assert_eq!(used as u64, number(case, "consumed"));
            assert_eq!(address, case["text"].as_str().and_then(parse_slash));
        }
        cases += 1;
    }
    report("inetaddress.json", cases);
}

/// Head and pieces back to the packet, whatever the cut.
fn join(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let head = Header::parse(&datagrams[0]).unwrap();
    assert!(head.is_fragmented());
    let mut packet = datagrams[0].clone();
    for (n, datagram) in datagrams.iter().enumerate().skip(1) {
        assert_eq!(packet::classify(datagram), Kind::Fragment);
        let (header, data) = FragmentHeader::parse(datagram).unwrap();
        assert_eq!((header.id, header.destination), (head.id, head.destination));
        assert_eq!(usize::from(header.number), n);
        assert_eq!(usize::from(header.total), datagrams.len());
        assert_eq!(header.hops, 0);
        packet.extend_from_slice(data);
    }
    packet
}

#[test]
fn fragments() {
    let file = load("fragment");
    let mut cases = 0;
    for case in list(&file, "packets") {
        let armored = bytes(case, "armored");
        let max = number(case, "max_datagram") as usize;
        let theirs: Vec<Vec<u8>> = list(case, "datagrams")
            .iter()
            .map(|d| unhex(d.as_str().unwrap()))
            .collect();
        assert_eq!(join(&theirs), armored);
        let head = Header::parse(&armored).unwrap();
        let datagram = |(header, data): (Option<[u8; FRAGMENT_HEADER_LEN]>, &[u8])| {
            [header.unwrap_or_default().as_slice(), data][usize::from(header.is_none())..].concat()
        };
        let as_they_cut: Vec<Vec<u8>> = pieces_of(&armored, head.id, head.destination, max)
            .map(datagram)
            .collect();
        assert_eq!(as_they_cut, theirs);
        let ours: Vec<Vec<u8>> = pieces(&armored, head.id, head.destination, max)
            .map(datagram)
            .collect();
        assert_eq!(join(&ours), armored);
        assert_eq!(ours.len(), theirs.len());
        assert!(ours.len() <= PIECES_MAX);
        let (last, full) = ours.split_last().unwrap();
        assert!(
            full.iter()
                .all(|d| d.len() == full[0].len() && d.len() <= max)
        );
        assert!(last.len() <= full[0].len());
        cases += 1;
    }
    report("fragment.json", cases);
}

fn socket_address(value: &Value) -> Option<SocketAddr> {
    value.as_str().and_then(parse_slash)
}

#[test]
fn hello_and_its_ok() {
    let file = load("hello");
    let mut cases = 0;
    let mut tails = 0;
    for case in list(&file, "exchanges") {
        let hello = &case["hello"];
        let meaning = &hello["meaning"];
        let datagram = unhex(hello["datagrams"][0].as_str().unwrap());
        assert_eq!(packet::classify(&datagram), Kind::Packet);
        let header = Header::parse(&datagram).unwrap();
        assert_eq!(header.source.to_string(), text(hello, "from"));
        assert_eq!(header.destination.to_string(), text(hello, "to"));
        assert_eq!(u64::from(header.hops()), number(hello, "hops"));
        assert_eq!(header.suite().unwrap() as u64, number(hello, "cipher"));
        if number(hello, "cipher") == 0 {
            let payload = &datagram[HEADER_LEN..];
            let got = Hello::parse(payload).unwrap();
            assert_eq!(u64::from(got.protocol), number(meaning, "proto"));
            assert_eq!((got.major, got.minor, got.revision), version(meaning));
            assert_eq!(got.time, number(meaning, "timestamp"));
            assert_eq!(got.identity.to_string(), text(meaning, "identity"));
            assert_eq!(got.sent_to, socket_address(&meaning["sent_to"]));
            let planet = meaning["planet_id"].as_str().map(|id| {
                let id = u64::from_str_radix(id, 16).unwrap();
                (id, number(meaning, "planet_timestamp"))
            });
            assert_eq!(got.planet, planet);
            if let Some(plain) = meaning["trailer_plain"].as_str() {
                let plain = unhex(plain);
                let at = got.tail_at.unwrap();
                assert_eq!(at as u64, number(meaning, "clear_payload_length"));
                assert_eq!(got.tail.len(), plain.len());
                let held: Vec<(u8, u64, u64)> = moons(&plain).unwrap().collect();
                let expected = list(meaning, "moons");
                assert_eq!(held.len(), expected.len());
                for (moon, expected) in held.iter().zip(expected) {
                    let id = expected.get("id").or(expected.get("world_id")).unwrap();
                    assert_eq!(moon.1, hex_number(id), "{expected}");
                    assert_eq!(moon.2, number(expected, "timestamp"));
                }
                // Written again it is the same, up to the mask.
                let fields = HelloFields {
                    protocol: got.protocol,
                    major: got.major,
                    minor: got.minor,
                    revision: got.revision,
                    time: got.time,
                    identity: got.identity,
                    sent_to: got.sent_to,
                    planet: planet.unwrap(),
                };
                let again = written(|w| {
                    let moons = held.iter().map(|(_, id, time)| (*id, *time));
                    assert_eq!(write_hello(w, &fields, moons), Ok(at));
                    Ok(())
                });
                assert_eq!(again[..at], payload[..at]);
                assert_eq!(again[at..], plain[..again.len() - at]);
                tails += 1;
            }
        }
        let ok = &case["ok"];
        if ok["payload"].is_string() && ok["in_re_verb"] == "HELLO" {
            let payload = bytes(ok, "payload");
            let reply = OkReply::parse(&payload).unwrap();
            assert_eq!(reply.verb, 1);
            assert_eq!(hex(&reply.id.to_bytes()), text(ok, "in_re_packet_id"));
            let meaning = &ok["meaning"];
            let got = OkHello::parse(reply.body).unwrap();
            assert_eq!(got.time, number(meaning, "echoed_timestamp"));
            assert_eq!(u64::from(got.protocol), number(meaning, "proto"));
            assert_eq!((got.major, got.minor, got.revision), version(meaning));
            assert_eq!(got.seen_as, socket_address(&meaning["sent_to"]));
            if let Some(worlds) = meaning["worlds"].as_str() {
                assert_eq!(hex(got.worlds), worlds);
                let mut left = got.worlds;
                let mut parts = Vec::new();
                while !left.is_empty() {
                    let (_, used) = World::parse(left).unwrap();
                    parts.push(&left[..used]);
                    left = &left[used..];
                }
                let version = (got.protocol, got.major, got.minor, got.revision);
                let again = written(|w| {
                    let worlds = parts.iter().copied();
                    write_ok_hello(w, got.time, version, got.seen_as.as_ref(), worlds)
                });
                assert_eq!(again, reply.body);
            }
        }
        cases += 1;
    }
    assert!(tails > 0);
    report("hello.json", cases);
}

#[test]
fn lz4_blocks() {
    let file = load("lz4");
    let mut cases = 0;
    let mut out = vec![0; PACKET_MAX - HEADER_LEN];
    let mut packed = vec![0; PACKET_MAX];
    for case in list(&file, "compress") {
        let plain = bytes(case, "payload");
        for by in ["by_1_14_1", "by_1_0_5"] {
            if let Some(block) = case[by]["payload"].as_str() {
                let len = lz4::decompress(&unhex(block), &mut out).unwrap();
                assert_eq!(out[..len], plain);
                cases += 1;
            }
        }
        if let Some(len) = lz4::compress(&plain, &mut packed) {
            assert!(len < plain.len());
            let back = lz4::decompress(&packed[..len], &mut out).unwrap();
            assert_eq!(out[..back], plain);
        }
        cases += 1;
    }
    for case in list(&file, "decode") {
        let block = bytes(case, "payload");
        let got = lz4::decompress(&block, &mut out);
        assert_eq!(got.is_ok(), flag(case, "accept"), "{}", text(case, "why"));
        if let Ok(len) = got {
            assert_eq!(out[..len], bytes(case, "plain"));
        }
        cases += 1;
    }
    report("lz4.json", cases);
}

#[test]
fn network_ids() {
    let file = load("network_ids");
    let mut cases = 0;
    for case in list(&file, "macs") {
        let address = Address::parse(text(case, "address"));
        let network = NetworkId::parse(text(case, "network"));
        let (Some(address), Some(network)) = (address, network) else {
            // Reserved: our types cannot hold them.
            let reserved = text(case, "address").starts_with("ff");
            assert!(reserved || text(case, "network") == "0000000000000000");
            cases += 1;
            continue;
        };
        let mac = derive::mac(network, address);
        assert_eq!(mac, parse_mac(text(case, "mac")));
        assert!(derive::is_member_mac(network, mac));
        let back = Address::parse(text(case, "address_from_mac"));
        assert_eq!(derive::address_of_mac(network, mac), back);
        let rfc4193 = format!("{}/88", derive::rfc4193(network, address));
        assert_eq!(rfc4193, text(case, "rfc4193"));
        let sixplane = format!("{}/40", derive::sixplane(network, address));
        assert_eq!(sixplane, text(case, "sixplane"));
        let link_local = format!("{}/64", derive::link_local(mac));
        assert_eq!(link_local, text(case, "ipv6_link_local"));
        cases += 1;
    }
    for case in list(&file, "devices") {
        let Some(network) = NetworkId::parse(text(case, "network")) else {
            assert_eq!(text(case, "network"), "0000000000000000");
            continue;
        };
        assert_eq!(derive::device_name(network, 0), text(case, "device"));
        let second = derive::device_name(network, 1);
        assert_eq!(second, text(case, "device_on_first_collision"));
        cases += 1;
    }
    for case in list(&file, "groups") {
        let group = derive::group_of_ip(text(case, "address").parse().unwrap());
        assert_eq!(group.mac, parse_mac(text(case, "group_mac")));
        assert_eq!(u64::from(group.adi), number(case, "adi"));
        cases += 1;
    }
    report("network_ids.json", cases);
}

#[test]
fn worlds() {
    let file = load("world");
    let mut cases = 0;
    for case in list(&file, "worlds") {
        let name = text(case, "name");
        let wire = bytes(case, "hex");
        let (world, used) = World::parse(&wire).unwrap();
        assert_eq!(used as u64, number(case, "consumed"), "{name}");
        assert_eq!(world.bytes(), &wire[..used]);
        assert_eq!(world.kind as u64, number(case, "type"));
        assert_eq!(world.id, hex_number(&case["id"]));
        assert_eq!(world.timestamp, number(case, "timestamp"));
        assert_eq!(hex(world.update_key), text(case, "update_key"));
        assert_eq!(hex(world.signature), text(case, "signature"));
        let roots: Vec<(Identity, Vec<SocketAddr>)> = world
            .roots()
            .map(|root| (root.identity, root.endpoints().collect()))
            .collect();
        let expected = list(case, "roots");
        assert_eq!(roots.len(), expected.len());
        for (root, expected) in roots.iter().zip(expected) {
            assert_eq!(root.0.to_string(), text(expected, "identity"));
            let endpoints: Vec<String> = root.1.iter().map(|a| Slash(*a).to_string()).collect();
            assert_eq!(serde_json::json!(endpoints), expected["endpoints"]);
        }
        let borrowed: Vec<(Identity, &[SocketAddr])> =
            roots.iter().map(|(id, at)| (*id, at.as_slice())).collect();
        let again = written(|w| {
            let (id, time) = (world.id, world.timestamp);
            let (key, signature) = (&world.update_key, &world.signature);
            world::write(w, world.kind, id, time, key, signature, &borrowed)
        });
        if wire.len() == again.len() {
            assert_eq!(again, wire, "{name}");
        } else {
            // The trailing bytes of a moon are not kept.
            assert_eq!(world.kind, WorldKind::Moon);
        }
        let mut buffer = [0; world::SIGNED_MAX_LEN];
        let len = world.signed_message(&mut buffer).unwrap();
        if let Some(signed) = case["signed_bytes"].as_str() {
            assert_eq!(hex(&buffer[..len]), signed, "{name}");
        }
        let kept = WorldBuf::new(&wire).unwrap();
        assert_eq!(kept.bytes(), &wire[..used]);
        assert_eq!(kept.view().id, world.id);
        cases += 1;
    }
    let default = list(&file, "worlds")
        .iter()
        .any(|case| bytes(case, "hex") == world::DEFAULT_PLANET);
    assert!(default, "the built-in planet is none of the recorded ones");
    for case in list(&file, "updates") {
        for key in ["current", "update"] {
            let wire = bytes(case, key);
            assert!(
                wire.is_empty() || World::parse(&wire).is_ok(),
                "{}",
                text(case, "why")
            );
        }
        cases += 1;
    }
    for case in list(&file, "invalid") {
        let got = World::parse(&bytes(case, "hex")).map(|_| ());
        assert!(got.is_err(), "{}", text(case, "why"));
        cases += 1;
    }
    report("world.json", cases);
}
