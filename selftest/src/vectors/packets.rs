//! Vectors of packets: keys, armor, pieces, HELLO, recorded conversations.

use std::collections::BTreeMap;

use zt::crypto::agree::{Key48, agree};
use zt::crypto::armor::{self, SessionKeys};
use zt::wire::fragment::FragmentHeader;
use zt::wire::hello::{self, Hello, OkHello};
use zt::wire::identity::SecretIdentity;
use zt::wire::packet::{HEADER_LEN, Header, PACKET_MAX, Suite, VERB_AT, VERB_COMPRESSED};
use zt::wire::verb::Verb;
use zt::wire::{control, lz4};

use super::fields::{
    Miss, Object, Outcome, array, bytes, check, flag, known, list, malformed, number, object, same,
    text, unhex,
};

/// Opens a packet in place.
pub(super) fn open(keys: &SessionKeys, packet: &mut [u8]) -> Result<Suite, Miss> {
    let suite = Header::parse(packet).map_err(malformed)?.suite();
    if suite == Some(Suite::AesGmacSiv) && !cfg!(feature = "aes") {
        return Err(Miss::NoAes);
    }
    armor::open(keys, packet).map_err(malformed)
}

pub(super) fn keys(case: &Object) -> Result<SessionKeys, Miss> {
    Ok(SessionKeys::new(&Key48::new(array(case, "key48")?)))
}

pub(super) fn agreement(case: &Object) -> Outcome {
    known(
        case,
        &[
            "a_secret",
            "b_secret",
            "x25519",
            "key48",
            "key128",
            "kbkdf_label_0",
            "kbkdf_label_1",
            "aes_k0",
            "aes_k1",
        ],
    )?;
    let a = SecretIdentity::parse(text(case, "a_secret")?).map_err(malformed)?;
    let b = SecretIdentity::parse(text(case, "b_secret")?).map_err(malformed)?;
    let key = agree(&a, &b.identity).map_err(malformed)?;
    let back = agree(&b, &a.identity).map_err(malformed)?;
    same("key", key.bytes(), &array(case, "key48")?)?;
    same("key the other way", back.bytes(), key.bytes())?;
    check(
        "key128 begins with it",
        bytes(case, "key128")?.starts_with(key.bytes()),
    )?;
    for (label, long, short) in [
        (b'0', "kbkdf_label_0", "aes_k0"),
        (b'1', "kbkdf_label_1", "aes_k1"),
    ] {
        let derived = key.derive(label);
        same(long, &derived, &array(case, long)?)?;
        same(short, &derived[..32].to_vec(), &bytes(case, short)?)?;
    }
    Ok(())
}

pub(super) fn armored(case: &Object, suite: Suite) -> Outcome {
    known(
        case,
        &[
            "length",
            "key48",
            "plain",
            "armored",
            "mangled_key",
            "gmac_tag",
            "iv_and_mac_before_aes",
            "ctr_start",
        ],
    )?;
    let keys = keys(case)?;
    let mut packet = bytes(case, "plain")?;
    let wire = bytes(case, "armored")?;
    same("length", &packet.len(), &(number(case, "length")? as usize))?;
    let plain = packet.clone();
    if suite == Suite::AesGmacSiv && !cfg!(feature = "aes") {
        return Err(Miss::NoAes);
    }
    armor::seal(&keys, suite, &mut packet);
    same("sealed", &packet, &wire)?;
    same("suite", &open(&keys, &mut packet)?, &suite)?;
    same(
        "opened",
        &packet[VERB_AT..].to_vec(),
        &plain[VERB_AT..].to_vec(),
    )
}

pub(super) fn armor_check(case: &Object) -> Outcome {
    known(
        case,
        &["why", "key48", "packet", "accept", "plain_from_byte_27"],
    )?;
    let mut packet = bytes(case, "packet")?;
    let opened = match open(&keys(case)?, &mut packet) {
        Err(Miss::NoAes) => return Err(Miss::NoAes),
        opened => opened.is_ok(),
    };
    same(text(case, "why")?, &opened, &flag(case, "accept")?)?;
    if opened {
        same(
            "plain",
            &packet[VERB_AT..].to_vec(),
            &bytes(case, "plain_from_byte_27")?,
        )?;
    }
    Ok(())
}

/// Puts the datagrams of one packet together.
pub(super) fn join(case: &Object) -> Result<Vec<u8>, Miss> {
    let datagrams = list(case, "datagrams")?;
    let mut parts = BTreeMap::new();
    for datagram in datagrams {
        let datagram = unhex(datagram.as_str().ok_or("datagram")?)?;
        match FragmentHeader::parse(&datagram) {
            Ok((header, data)) => {
                same("pieces", &usize::from(header.total), &datagrams.len())?;
                parts.insert(header.number, data.to_vec());
            }
            Err(_) => {
                parts.insert(0, datagram);
            }
        }
    }
    same("pieces", &parts.len(), &datagrams.len())?;
    Ok(parts.into_values().flatten().collect())
}

pub(super) fn fragment(case: &Object) -> Outcome {
    known(
        case,
        &[
            "length",
            "max_datagram",
            "key48",
            "plain",
            "armored",
            "datagrams",
        ],
    )?;
    let whole = bytes(case, "armored")?;
    same("joined", &join(case)?, &whole)?;
    let header = Header::parse(&whole).map_err(malformed)?;
    let most = number(case, "max_datagram")? as usize;
    let ours: Vec<_> =
        zt::wire::fragment::pieces(&whole, header.id, header.destination, most).collect();
    same("pieces", &ours.len(), &list(case, "datagrams")?.len())?;
    let joined: Vec<u8> = ours
        .iter()
        .flat_map(|(_, data)| data.iter().copied())
        .collect();
    same("our pieces joined", &joined, &whole)?;
    let mut packet = whole;
    open(&keys(case)?, &mut packet)?;
    same(
        "opened",
        &packet[VERB_AT..].to_vec(),
        &bytes(case, "plain")?[VERB_AT..].to_vec(),
    )
}

pub(super) fn node(case: &Object) -> Outcome {
    known(case, &["address", "version", "secret", "role"])?;
    let secret = SecretIdentity::parse(text(case, "secret")?).map_err(malformed)?;
    same(
        "address",
        &secret.identity.address.to_string().as_str(),
        &text(case, "address")?,
    )
}

const PACKET_FIELDS: &[&str] = &[
    "from",
    "from_version",
    "to",
    "to_version",
    "cipher",
    "hops",
    "verb",
    "meaning",
    "datagrams",
    "compressed",
    "in_re_verb",
    "in_re_packet_id",
    "payload",
    "note",
];

/// Opens a packet of a conversation; the plain packet.
pub(super) fn opened(case: &Object, keys: &SessionKeys) -> Result<(Header, Vec<u8>), Miss> {
    let mut packet = join(case)?;
    let header = Header::parse(&packet).map_err(malformed)?;
    let suite = open(keys, &mut packet)?;
    same("suite", &(suite as u64), &number(case, "cipher")?)?;
    same("hops", &u64::from(header.hops()), &number(case, "hops")?)?;
    same(
        "source",
        &header.source.to_string().as_str(),
        &text(case, "from")?,
    )?;
    same(
        "destination",
        &header.destination.to_string().as_str(),
        &text(case, "to")?,
    )?;
    let squeezed = packet[VERB_AT] & VERB_COMPRESSED != 0;
    if squeezed {
        let mut plain = vec![0; PACKET_MAX];
        let len = lz4::decompress(&packet[HEADER_LEN..], &mut plain).map_err(malformed)?;
        packet.truncate(HEADER_LEN);
        packet.extend_from_slice(&plain[..len]);
        packet[VERB_AT] &= !VERB_COMPRESSED;
    }
    if case.contains_key("compressed") {
        same("compressed", &squeezed, &flag(case, "compressed")?)?;
    }
    Ok((header, packet))
}

pub(super) fn exchange(case: &Object) -> Outcome {
    known(case, &["key48", "hello", "ok"])?;
    let keys = keys(case)?;
    let hello = object(case.get("hello").ok_or("no hello")?)?;
    known(hello, PACKET_FIELDS)?;
    let (header, mut packet) = opened(hello, &keys)?;
    let meaning = object(hello.get("meaning").ok_or("no meaning")?)?;
    known(
        meaning,
        &[
            "proto",
            "version",
            "timestamp",
            "identity",
            "sent_to",
            "destination_address",
            "physical_destination",
            "planet_id",
            "planet_timestamp",
            "moons",
            "trailer_plain",
            "clear_payload_length",
            "world_id",
            "world_timestamp",
            "address",
            "external_address",
        ],
    )?;
    let parsed = Hello::parse(&packet[HEADER_LEN..]).map_err(malformed)?;
    same(
        "protocol",
        &u64::from(parsed.protocol),
        &number(meaning, "proto")?,
    )?;
    same("time", &parsed.time, &number(meaning, "timestamp")?)?;
    same(
        "identity",
        &parsed.identity.to_string().as_str(),
        &text(meaning, "identity")?,
    )?;
    check(
        "the source is its address",
        parsed.identity.address == header.source,
    )?;
    let (time, tail_at) = (parsed.time, parsed.tail_at);
    if let Some(at) = tail_at {
        armor::mask_hello_tail(&keys, &mut packet, HEADER_LEN + at);
        let tail = &packet[HEADER_LEN + at..];
        if meaning.contains_key("trailer_plain") {
            same("tail", &tail.to_vec(), &bytes(meaning, "trailer_plain")?)?;
        }
        check(
            "moons",
            hello::moons(tail).map_err(malformed)?.count() <= 16,
        )?;
    }
    if let Some(ok) = case.get("ok").filter(|ok| !ok.is_null()) {
        let ok = object(ok)?;
        known(ok, PACKET_FIELDS)?;
        let (_, reply) = opened(ok, &keys)?;
        let head = control::OkReply::parse(&reply[HEADER_LEN..]).map_err(malformed)?;
        same("verb", &head.verb, &(Verb::Hello as u8))?;
        check("answers this HELLO", head.id == header.id)?;
        let parsed_ok = OkHello::parse(head.body).map_err(malformed)?;
        same("time echoed", &parsed_ok.time, &time)?;
        same(
            "payload",
            &reply[HEADER_LEN..].to_vec(),
            &bytes(ok, "payload")?,
        )?;
    }
    Ok(())
}

pub(super) fn secrets(file: &Object) -> BTreeMap<String, SecretIdentity> {
    let nodes = list(file, "nodes")
        .map(|n| n.as_slice())
        .unwrap_or_default();
    nodes
        .iter()
        .filter_map(|node| {
            let secret = SecretIdentity::parse(node.get("secret")?.as_str()?).ok()?;
            Some((secret.identity.address.to_string(), secret))
        })
        .collect()
}

pub(super) fn packet(case: &Object, secrets: &BTreeMap<String, SecretIdentity>) -> Outcome {
    known(case, PACKET_FIELDS)?;
    let from = secrets
        .get(text(case, "from")?)
        .ok_or("no secret of the sender")?;
    let to = secrets
        .get(text(case, "to")?)
        .ok_or("no secret of the receiver")?;
    let keys = SessionKeys::new(&agree(to, &from.identity).map_err(malformed)?);
    let (_, mut packet) = opened(case, &keys)?;
    let verb = Verb::from_byte(packet[VERB_AT] & 0x1f);
    let name = text(case, "verb")?;
    // Verbs that had another name before are named by their time.
    let aliases = [
        "NETWORK_MEMBERSHIP_CERTIFICATE",
        "NETWORK_CONFIG_REFRESH",
        "QOS",
    ];
    check(
        &format!("verb {name}, not {verb:?}"),
        verb.is_some_and(|v| v.name() == name) || aliases.contains(&name),
    )?;
    let plain = bytes(case, "payload")?;
    if verb == Some(Verb::Hello)
        && let Some(at) = Hello::parse(&packet[HEADER_LEN..])
            .map_err(malformed)?
            .tail_at
        && plain != packet[HEADER_LEN..]
    {
        armor::mask_hello_tail(&keys, &mut packet, HEADER_LEN + at);
    }
    same("payload", &packet[HEADER_LEN..].to_vec(), &plain)?;
    zt::wire::verb::parse(packet[VERB_AT], &packet[HEADER_LEN..]).map_err(malformed)?;
    Ok(())
}
