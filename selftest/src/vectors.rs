//! Test vectors made by real nodes: `--vectors DIR` runs every file of a known kind. An unknown
//! kind or field counts as failed, so that nothing is passed over silently.

mod configs;
mod frames;
mod networks;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value};
use zt::base::{Address, Mac, NetworkId};
use zt::crypto::agree::{Key48, agree};
use zt::crypto::armor::{self, SessionKeys};
use zt::crypto::{identity as digest, poly, salsa, sign};
use zt::node::network::{IpNet, rules};
use zt::node::supersedes;
use zt::wire::cursor::{Reader, Writer};
use zt::wire::fragment::FragmentHeader;
use zt::wire::frames::{Ethernet, ExtFrame};
use zt::wire::hello::{self, Hello, OkHello};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::packet::{HEADER_LEN, Header, PACKET_MAX, Suite, VERB_AT, VERB_COMPRESSED};
use zt::wire::verb::Verb;
use zt::wire::world::{self, World};
use zt::wire::{control, derive, inet, lz4};

/// Passed and failed cases.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Cases that this build is not made for; see [`NO_AES`].
    pub(crate) left_out: usize,
}

/// Why a case of suite 3 is neither passed nor failed in a build without `aes`.
const NO_AES: &str = "sealed with AES, which this build is without";

impl core::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out += other.left_out;
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.left_out > 0 {
            write!(f, ", {} left out ({NO_AES})", self.left_out)?;
        }
        Ok(())
    }
}

type Outcome = Result<(), String>;
type Object = Map<String, Value>;

/// Runs all files of a folder.
pub(crate) fn run(folder: &Path, out: &mut dyn std::io::Write) -> std::io::Result<Tally> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut all = Tally::default();
    for path in files {
        let kind = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_owned();
        let mut run = Run {
            tally: Tally::default(),
            failures: Vec::new(),
        };
        match load(&path) {
            Ok(file) => {
                // The identities behind the addresses of the other network files.
                let others = load(&folder.join("network-com.json")).ok();
                run.file(&kind, &file, others.as_ref());
            }
            Err(error) => run.case("file", Err(error)),
        }
        if run.tally.passed + run.tally.failed + run.tally.left_out == 0 {
            run.case("file", Err("no case in it".into()));
        }
        for failure in run.failures.iter().take(5) {
            writeln!(out, "  {kind}: {failure}")?;
        }
        writeln!(out, "{kind}: {}", run.tally)?;
        all += run.tally;
    }
    Ok(all)
}

fn load(path: &Path) -> Result<Object, String> {
    let bytes = std::fs::read(path).map_err(malformed)?;
    match serde_json::from_slice(&bytes).map_err(malformed)? {
        Value::Object(file) => Ok(file),
        _ => Err("not an object".into()),
    }
}

struct Run {
    tally: Tally,
    failures: Vec<String>,
}

// Reading of fields.

fn text<'a>(case: &'a Object, key: &str) -> Result<&'a str, String> {
    case.get(key)
        .and_then(Value::as_str)
        .ok_or(format!("no text {key}"))
}

fn flag(case: &Object, key: &str) -> Result<bool, String> {
    case.get(key)
        .and_then(Value::as_bool)
        .ok_or(format!("no flag {key}"))
}

fn number(case: &Object, key: &str) -> Result<u64, String> {
    case.get(key)
        .and_then(Value::as_u64)
        .ok_or(format!("no number {key}"))
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; text.len() / 2];
    zt::wire::identity::parse_hex(text, &mut bytes).map_err(|e| format!("hex: {e}"))?;
    Ok(bytes)
}

fn bytes(case: &Object, key: &str) -> Result<Vec<u8>, String> {
    unhex(text(case, key)?)
}

fn array<const N: usize>(case: &Object, key: &str) -> Result<[u8; N], String> {
    bytes(case, key)?
        .try_into()
        .map_err(|_| format!("{key} has another length"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Outcome {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{what}: {ours:?}, not {theirs:?}"))
    }
}

fn check(what: &str, ok: bool) -> Outcome {
    if ok { Ok(()) } else { Err(what.into()) }
}

fn known(case: &Object, fields: &[&str]) -> Outcome {
    match case.keys().find(|k| !fields.contains(&k.as_str())) {
        Some(unknown) => Err(format!("unknown field {unknown}")),
        None => Ok(()),
    }
}

fn list<'a>(case: &'a Object, key: &str) -> Result<&'a Vec<Value>, String> {
    case.get(key)
        .and_then(Value::as_array)
        .ok_or(format!("no list {key}"))
}

fn object(value: &Value) -> Result<&Object, String> {
    value.as_object().ok_or("not an object".into())
}

fn malformed(error: impl Display) -> String {
    error.to_string()
}

/// Opens a packet in place.
fn open(keys: &SessionKeys, packet: &mut [u8]) -> Result<Suite, String> {
    let suite = Header::parse(packet).map_err(malformed)?.suite();
    if suite == Some(Suite::AesGmacSiv) && !cfg!(feature = "aes") {
        return Err(NO_AES.into());
    }
    armor::open(keys, packet).map_err(malformed)
}

fn keys(case: &Object) -> Result<SessionKeys, String> {
    Ok(SessionKeys::new(&Key48::new(array(case, "key48")?)))
}

impl Run {
    fn case(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.tally.passed += 1,
            Err(why) if why == NO_AES => self.tally.left_out += 1,
            Err(why) => {
                self.tally.failed += 1;
                self.failures.push(format!("{name}: {why}"));
            }
        }
    }

    /// Every case of a list of objects.
    fn each(&mut self, file: &Object, key: &str, test: impl Fn(&Object) -> Outcome) {
        match list(file, key) {
            Ok(cases) => {
                for (n, case) in cases.iter().enumerate() {
                    self.case(&format!("{key} {n}"), object(case).and_then(&test));
                }
            }
            Err(why) => self.case(key, Err(why)),
        }
    }

    fn file(&mut self, kind: &str, file: &Object, others: Option<&Object>) {
        let mut parts: Vec<&str> = vec!["about"];
        match kind {
            "agreement" => {
                parts.push("pairs");
                self.each(file, "pairs", agreement);
            }
            "armor_c0" | "armor_c1" | "armor_c3" => {
                let suite = match kind {
                    "armor_c0" => Suite::Poly1305,
                    "armor_c1" => Suite::Salsa,
                    _ => Suite::AesGmacSiv,
                };
                if suite == Suite::AesGmacSiv && !cfg!(feature = "aes") {
                    return self.case(kind, Err(NO_AES.into()));
                }
                parts.extend(["packets", "checks"]);
                self.each(file, "packets", |case| armored(case, suite));
                self.each(file, "checks", armor_check);
            }
            "fragment" => {
                parts.push("packets");
                self.each(file, "packets", fragment);
            }
            "hello" => {
                parts.extend(["nodes", "exchanges"]);
                self.each(file, "nodes", node);
                self.each(file, "exchanges", exchange);
            }
            "identity" => {
                parts.extend(["valid", "invalid", "lenient", "invalid_binary"]);
                self.each(file, "valid", valid_identity);
                self.each(file, "invalid", invalid_identity);
                self.each(file, "lenient", lenient_identity);
                self.each(file, "invalid_binary", |case| {
                    known(case, &["why", "hex"])?;
                    let read = Identity::read(&mut Reader::new(&bytes(case, "hex")?));
                    check("refused", read.is_err())
                });
            }
            "inetaddress" => {
                parts.extend(["addresses", "decode"]);
                self.each(file, "addresses", physical_address);
                self.each(file, "decode", physical_decode);
            }
            "lz4" => {
                parts.extend(["compress", "decode"]);
                self.each(file, "compress", lz4_compress);
                self.each(file, "decode", lz4_decode);
            }
            "network_ids" => {
                parts.extend(["macs", "devices", "groups"]);
                self.each(file, "macs", member);
                self.each(file, "devices", device);
                self.each(file, "groups", group);
            }
            "network-adhoc" => {
                parts.push("cases");
                self.each(file, "cases", ad_hoc);
            }
            "network-config" => parts.extend(self.configs(file)),
            "network-frames" => parts.extend(self.frames(file, others)),
            "network-com" => parts.extend(self.coms(file)),
            "network-credentials" => parts.extend(self.credentials(file)),
            "network-request" => parts.extend(self.requests(file)),
            "network-rules-json" => parts.extend(self.rules_json(file)),
            "network-rules" => {
                parts.extend(["self", "network", "cases"]);
                let ids = text(file, "self").and_then(|me| Ok((me, network(file)?)));
                match ids {
                    Ok((me, network)) => {
                        self.each(file, "cases", |case| rules_case(case, me, network));
                    }
                    Err(why) => self.case("file", Err(why)),
                }
            }
            "poly1305" => {
                parts.push("tags");
                self.each(file, "tags", |case| {
                    known(case, &["key", "message", "tag"])?;
                    let tag = poly::poly1305(&array(case, "key")?, &bytes(case, "message")?);
                    same("tag", &tag, &array(case, "tag")?)
                });
            }
            "salsa20" => {
                parts.extend(["keystreams", "split_calls"]);
                self.each(file, "keystreams", keystream);
                let split = file.get("split_calls").ok_or("no split_calls".to_owned());
                self.case("split_calls", split.and_then(object).and_then(split_calls));
            }
            "signature" => {
                parts.push("signatures");
                self.each(file, "signatures", signature);
            }
            "transcript_1_0_5" | "transcript_1_14_1" => {
                parts.extend(["nodes", "packets"]);
                self.each(file, "nodes", node);
                let secrets = secrets(file);
                self.each(file, "packets", |case| packet(case, &secrets));
            }
            "world" => {
                parts.extend(["worlds", "updates", "invalid"]);
                self.each(file, "worlds", world_definition);
                self.each(file, "updates", |case| {
                    known(case, &["why", "current", "update", "accept"])?;
                    world_update(case)
                });
                self.each(file, "invalid", |case| {
                    known(case, &["why", "hex"])?;
                    check("refused", World::parse(&bytes(case, "hex")?).is_err())
                });
            }
            _ => return self.case("file", Err("unknown kind".into())),
        }
        if let Err(why) = known(file, &parts) {
            self.case("file", Err(why));
        }
    }
}

fn agreement(case: &Object) -> Outcome {
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

fn armored(case: &Object, suite: Suite) -> Outcome {
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
    armor::seal(&keys, suite, &mut packet);
    same("sealed", &packet, &wire)?;
    same(
        "suite",
        &armor::open(&keys, &mut packet).map_err(malformed)?,
        &suite,
    )?;
    same(
        "opened",
        &packet[VERB_AT..].to_vec(),
        &plain[VERB_AT..].to_vec(),
    )
}

fn armor_check(case: &Object) -> Outcome {
    known(
        case,
        &["why", "key48", "packet", "accept", "plain_from_byte_27"],
    )?;
    let mut packet = bytes(case, "packet")?;
    let opened = armor::open(&keys(case)?, &mut packet).is_ok();
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
fn join(case: &Object) -> Result<Vec<u8>, String> {
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

fn fragment(case: &Object) -> Outcome {
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

fn node(case: &Object) -> Outcome {
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
fn opened(case: &Object, keys: &SessionKeys) -> Result<(Header, Vec<u8>), String> {
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

fn exchange(case: &Object) -> Outcome {
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

fn secrets(file: &Object) -> BTreeMap<String, SecretIdentity> {
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

fn packet(case: &Object, secrets: &BTreeMap<String, SecretIdentity>) -> Outcome {
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

fn valid_identity(case: &Object) -> Outcome {
    known(
        case,
        &[
            "made_by",
            "address",
            "public_string",
            "secret_string",
            "bin_public",
            "bin_secret",
            "sha512_of_public",
            "digest",
            "fingerprint_sha384",
        ],
    )?;
    let secret = SecretIdentity::parse(text(case, "secret_string")?).map_err(malformed)?;
    let identity = Identity::parse(text(case, "public_string")?).map_err(malformed)?;
    check("same identity", secret.identity == identity)?;
    same(
        "address",
        &identity.address.to_string().as_str(),
        &text(case, "address")?,
    )?;
    same(
        "printed",
        &identity.to_string().as_str(),
        &text(case, "public_string")?,
    )?;
    let mut printed = String::new();
    secret.write_string(&mut printed).map_err(malformed)?;
    same(
        "printed secret",
        &printed.as_str(),
        &text(case, "secret_string")?,
    )?;
    let mut buffer = [0; Identity::LEN];
    identity
        .write(&mut Writer::new(&mut buffer))
        .map_err(malformed)?;
    same("binary", &buffer.to_vec(), &bytes(case, "bin_public")?)?;
    let with_secret = bytes(case, "bin_secret")?;
    let read = Identity::read(&mut Reader::new(&with_secret)).map_err(malformed)?;
    check("read from binary with secret", read == identity)?;
    let mut work = digest::Digest::try_new(&identity.public).ok_or("no memory")?;
    let result = loop {
        if let Some(result) = work.step(20_000) {
            break result;
        }
    };
    same("digest", &result, &array(case, "digest")?)?;
    check("valid", digest::is_valid(&identity, &result))?;
    check("the secret fits", digest::secret_fits(&secret))?;
    same(
        "fingerprint",
        &sign::fingerprint(&identity),
        &array(case, "fingerprint_sha384")?,
    )
}

fn invalid_identity(case: &Object) -> Outcome {
    known(case, &["why", "string", "parses", "parses_in_1_0_5"])?;
    // A stricter reader may refuse the text itself.
    let parsed = Identity::parse(text(case, "string")?);
    check(
        text(case, "why")?,
        parsed.map_or(true, |identity| !digest::validate(&identity)),
    )
}

fn lenient_identity(case: &Object) -> Outcome {
    known(
        case,
        &[
            "why",
            "string",
            "address",
            "public_string",
            "accepted_by_1_14_1",
            "accepted_by_1_0_5",
            "secret_string",
        ],
    )?;
    // Refused, or read as the reference reads it.
    match Identity::parse(text(case, "string")?) {
        Ok(identity) => same(
            "read as",
            &identity.to_string().as_str(),
            &text(case, "public_string")?,
        ),
        Err(_) => Ok(()),
    }
}

fn physical_address(case: &Object) -> Outcome {
    known(case, &["text", "hex", "text_out", "scope"])?;
    let wire = bytes(case, "hex")?;
    let mut reader = Reader::new(&wire);
    let address = inet::read(&mut reader).map_err(malformed)?.ok_or("nil")?;
    check("all of it read", reader.is_empty())?;
    same(
        "text",
        &inet::Slash(address).to_string().as_str(),
        &text(case, "text_out")?,
    )?;
    same(
        "parsed",
        &inet::parse_slash(text(case, "text")?),
        &Some(address),
    )?;
    same(
        "scope",
        &(inet::scope(address.ip()) as u64),
        &number(case, "scope")?,
    )?;
    let mut buffer = [0; inet::WIRE_MAX];
    let mut writer = Writer::new(&mut buffer);
    inet::write(&mut writer, Some(&address)).map_err(malformed)?;
    same("written", &writer.written().to_vec(), &wire)
}

fn physical_decode(case: &Object) -> Outcome {
    known(case, &["why", "hex", "ok", "consumed", "text"])?;
    let wire = bytes(case, "hex")?;
    let mut reader = Reader::new(&wire);
    let read = inet::read(&mut reader);
    same(text(case, "why")?, &read.is_ok(), &flag(case, "ok")?)?;
    if let Ok(address) = read {
        let used = wire.len() - reader.remaining();
        same("consumed", &used, &(number(case, "consumed")? as usize))?;
        let ours = address.map(|a: SocketAddr| inet::Slash(a).to_string());
        let theirs = case.get("text").and_then(Value::as_str).map(str::to_owned);
        same("address", &ours, &theirs)?;
    }
    Ok(())
}

fn lz4_compress(case: &Object) -> Outcome {
    known(case, &["kind", "payload", "by_1_14_1", "by_1_0_5"])?;
    let plain = bytes(case, "payload")?;
    let mut buffer = vec![0; PACKET_MAX];
    for by in ["by_1_14_1", "by_1_0_5"] {
        // Payloads that one of them cannot hold stand without its form.
        let Some(made) = case.get(by) else { continue };
        let made = object(made)?;
        known(made, &["compressed", "payload", "verb_byte"])?;
        if flag(made, "compressed")? {
            let block = bytes(made, "payload")?;
            let len = lz4::decompress(&block, &mut buffer).map_err(malformed)?;
            same(by, &buffer[..len].to_vec(), &plain)?;
        }
    }
    let mut block = vec![0; PACKET_MAX];
    if let Some(len) = lz4::compress(&plain, &mut block) {
        check("shorter", len < plain.len())?;
        let back = lz4::decompress(&block[..len], &mut buffer).map_err(malformed)?;
        same("our own block", &buffer[..back].to_vec(), &plain)?;
    }
    Ok(())
}

fn lz4_decode(case: &Object) -> Outcome {
    known(
        case,
        &["why", "payload", "accept", "accept_in_1_0_5", "plain"],
    )?;
    let mut buffer = vec![0; PACKET_MAX - HEADER_LEN];
    let decoded = lz4::decompress(&bytes(case, "payload")?, &mut buffer);
    same(text(case, "why")?, &decoded.is_ok(), &flag(case, "accept")?)?;
    match decoded {
        Ok(len) => same("plain", &buffer[..len].to_vec(), &bytes(case, "plain")?),
        Err(_) => Ok(()),
    }
}

fn mac(text: &str) -> Result<Mac, String> {
    let mut bytes = [0; 6];
    zt::wire::identity::parse_hex(&text.replace(':', ""), &mut bytes).map_err(malformed)?;
    Ok(Mac::new(bytes))
}

fn network(case: &Object) -> Result<NetworkId, String> {
    NetworkId::parse(text(case, "network")?).ok_or("network id".into())
}

fn member(case: &Object) -> Outcome {
    known(
        case,
        &[
            "address",
            "network",
            "mac",
            "address_from_mac",
            "rfc4193",
            "sixplane",
            "ipv6_link_local",
        ],
    )?;
    // Reserved addresses have no members: nothing is derived for them.
    let Some(address) = Address::parse(text(case, "address")?) else {
        let number = u64::from_str_radix(text(case, "address")?, 16).map_err(malformed)?;
        return check(
            "refused because reserved",
            number == 0 || number >> 32 == 0xff,
        );
    };
    let Ok(network) = network(case) else {
        return check(
            "refused because 0",
            text(case, "network")?.bytes().all(|b| b == b'0'),
        );
    };
    let ours = derive::mac(network, address);
    same("mac", &ours, &mac(text(case, "mac")?)?)?;
    same(
        "inverse",
        &derive::address_of_mac(network, ours),
        &Some(address),
    )?;
    let rfc4193 = format!("{}/88", derive::rfc4193(network, address));
    let sixplane = format!("{}/40", derive::sixplane(network, address));
    let plain = |text: &str| -> Result<(std::net::Ipv6Addr, String), String> {
        let (ip, bits) = text.split_once('/').ok_or("no prefix")?;
        Ok((ip.parse().map_err(malformed)?, bits.to_owned()))
    };
    same(
        "rfc4193",
        &plain(&rfc4193)?,
        &plain(text(case, "rfc4193")?)?,
    )?;
    same(
        "6plane",
        &plain(&sixplane)?,
        &plain(text(case, "sixplane")?)?,
    )?;
    let local = format!("{}/64", derive::link_local(ours));
    same(
        "link-local",
        &plain(&local)?,
        &plain(text(case, "ipv6_link_local")?)?,
    )
}

fn device(case: &Object) -> Outcome {
    known(case, &["network", "device", "device_on_first_collision"])?;
    let Ok(network) = network(case) else {
        return check(
            "refused because 0",
            text(case, "network")?.bytes().all(|b| b == b'0'),
        );
    };
    same(
        "name",
        &derive::device_name(network, 0).as_str(),
        &text(case, "device")?,
    )?;
    same(
        "second name",
        &derive::device_name(network, 1).as_str(),
        &text(case, "device_on_first_collision")?,
    )
}

fn group(case: &Object) -> Outcome {
    known(case, &["address", "group_mac", "adi"])?;
    let ip = text(case, "address")?.parse().map_err(malformed)?;
    let group = derive::group_of_ip(ip);
    same("mac", &group.mac, &mac(text(case, "group_mac")?)?)?;
    same("adi", &u64::from(group.adi), &number(case, "adi")?)
}

fn ad_hoc(case: &Object) -> Outcome {
    known(case, &["node", "network", "status", "config"])?;
    let me = Address::parse(text(case, "node")?).ok_or("address")?;
    let made = zt::node::network::ad_hoc_view(network(case)?, me);
    same("status", &made.status.name(), &text(case, "status")?)?;
    let Some(theirs) = case.get("config").filter(|c| !c.is_null()) else {
        return check("no configuration", made.rules.is_empty());
    };
    let theirs = object(theirs)?;
    same("name", &made.name.as_str(), &text(theirs, "name")?)?;
    same("mtu", &u64::from(made.mtu), &number(theirs, "mtu")?)?;
    same(
        "limit",
        &u64::from(made.multicast_limit),
        &number(theirs, "multicast_limit")?,
    )?;
    same(
        "flags",
        &format!("{:016x}", made.flags).as_str(),
        &text(theirs, "flags")?,
    )?;
    same("rules", &made.rules, &bytes(theirs, "rules")?)?;
    same("revision", &made.revision, &number(theirs, "revision")?)?;
    let addresses: Vec<String> = list(theirs, "addresses")?
        .iter()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let ours: Vec<String> = made.addresses.iter().map(ToString::to_string).collect();
    let parse = |list: &[String]| -> Vec<Option<std::net::IpAddr>> {
        list.iter()
            .map(|a| a.split('/').next().and_then(|ip| ip.parse().ok()))
            .collect()
    };
    same("addresses", &parse(&ours), &parse(&addresses))?;
    let specialists: Vec<String> = made
        .specialists
        .iter()
        .map(|s| format!("{s:016x}"))
        .collect();
    let theirs: Vec<String> = list(theirs, "specialists")?
        .iter()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    same("specialists", &specialists, &theirs)
}

fn keystream(case: &Object) -> Outcome {
    known(case, &["key", "iv", "length", "salsa20_12", "salsa20_20"])?;
    let (key, iv) = (array(case, "key")?, array(case, "iv")?);
    let len = number(case, "length")? as usize;
    let (mut twelve, mut twenty) = (vec![0; len], vec![0; len]);
    salsa::xor::<12>(&key, &iv, 0, &mut twelve);
    salsa::xor::<20>(&key, &iv, 0, &mut twenty);
    same("12 rounds", &twelve, &bytes(case, "salsa20_12")?)?;
    same("20 rounds", &twenty, &bytes(case, "salsa20_20")?)
}

fn split_calls(case: &Object) -> Outcome {
    known(case, &["key", "iv", "rounds", "lengths", "outputs"])?;
    same("rounds", &number(case, "rounds")?, &12)?;
    let (key, iv) = (array(case, "key")?, array(case, "iv")?);
    let mut block = 0;
    for (len, output) in list(case, "lengths")?.iter().zip(list(case, "outputs")?) {
        let len = len.as_u64().ok_or("length")? as usize;
        let mut stream = vec![0; len];
        salsa::xor::<12>(&key, &iv, block, &mut stream);
        same("part", &stream, &unhex(output.as_str().ok_or("output")?)?)?;
        block += len.div_ceil(64) as u64;
    }
    Ok(())
}

fn signature(case: &Object) -> Outcome {
    known(
        case,
        &[
            "secret",
            "public",
            "message",
            "signature",
            "valid",
            "why",
            "identity",
        ],
    )?;
    let message = bytes(case, "message")?;
    let theirs = bytes(case, "signature")?;
    let public = match (
        case.get("secret"),
        case.get("public").or(case.get("identity")),
    ) {
        (Some(Value::String(secret)), _) => {
            let secret = SecretIdentity::parse(secret).map_err(malformed)?;
            if flag(case, "valid")? {
                let ours = sign::sign(secret.secret(), &[&message]);
                same("signature", &ours.to_vec(), &theirs)?;
            }
            secret.identity.public
        }
        (_, Some(Value::String(public))) => Identity::parse(public).map_err(malformed)?.public,
        _ => return Err("no key".into()),
    };
    let accepted = sign::verify(&public, &[&message], &theirs).is_ok();
    // A strict verifier refuses what no real node makes.
    if flag(case, "valid")? && case.get("why").is_none() {
        check("accepted", accepted)
    } else {
        check("refused", !accepted || flag(case, "valid")?)
    }
}

fn world_definition(case: &Object) -> Outcome {
    known(
        case,
        &[
            "name",
            "hex",
            "consumed",
            "type",
            "id",
            "timestamp",
            "update_key",
            "signature",
            "roots",
            "signature_matches_own_update_key",
            "signed_bytes",
        ],
    )?;
    let wire = bytes(case, "hex")?;
    let (world, used) = World::parse(&wire).map_err(malformed)?;
    same("consumed", &used, &(number(case, "consumed")? as usize))?;
    same("type", &(world.kind as u64), &number(case, "type")?)?;
    same(
        "id",
        &format!("{:016x}", world.id).as_str(),
        &text(case, "id")?,
    )?;
    same("timestamp", &world.timestamp, &number(case, "timestamp")?)?;
    same(
        "update key",
        &world.update_key.to_vec(),
        &bytes(case, "update_key")?,
    )?;
    same(
        "signature",
        &world.signature.to_vec(),
        &bytes(case, "signature")?,
    )?;
    let mut message = vec![0; world::SIGNED_MAX_LEN];
    let len = world.signed_message(&mut message).map_err(malformed)?;
    if case.contains_key("signed_bytes") {
        same(
            "signed bytes",
            &message[..len].to_vec(),
            &bytes(case, "signed_bytes")?,
        )?;
    }
    let own = sign::verify(&world.update_key, &[&message[..len]], &world.signature).is_ok();
    same(
        "signature",
        &own,
        &flag(case, "signature_matches_own_update_key")?,
    )?;
    let roots = list(case, "roots")?;
    same("roots", &world.roots().count(), &roots.len())?;
    for (ours, theirs) in world.roots().zip(roots) {
        let theirs = object(theirs)?;
        known(theirs, &["identity", "endpoints"])?;
        same(
            "root",
            &ours.identity.to_string().as_str(),
            &text(theirs, "identity")?,
        )?;
        let places: Vec<String> = ours
            .endpoints()
            .map(|e| inet::Slash(e).to_string())
            .collect();
        let listed: Vec<String> = list(theirs, "endpoints")?
            .iter()
            .filter_map(|e| e.as_str().map(str::to_owned))
            .collect();
        same("endpoints", &places, &listed)?;
    }
    Ok(())
}

fn world_update(case: &Object) -> Outcome {
    let (current, update) = (bytes(case, "current")?, bytes(case, "update")?);
    let (update, _) = World::parse(&update).map_err(malformed)?;
    let taken = match World::parse(&current) {
        Ok((current, _)) => supersedes(&current, &update),
        // Nothing held: taken as it is.
        Err(_) => true,
    };
    same(text(case, "why")?, &taken, &flag(case, "accept")?)
}

fn tags(case: &Object, key: &str) -> Result<Vec<(u32, u32)>, String> {
    let Some(list) = case.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|pair| {
            let number = |n: usize| pair.get(n)?.as_u64().and_then(|v| u32::try_from(v).ok());
            Some((number(0)?, number(1)?))
        })
        .collect::<Option<_>>()
        .ok_or(format!("{key} is no list of tags"))
}

fn things(case: &Object, key: &str) -> Result<Vec<rules::Thing>, String> {
    let Some(list) = case.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|thing| {
            let text = thing.as_str().ok_or("no text")?;
            let mut value = [0; 16];
            if let Ok(mac) = mac(text) {
                value[..6].copy_from_slice(&mac.to_bytes());
                return Ok((1, value));
            }
            match text.parse().map_err(malformed)? {
                std::net::IpAddr::V4(ip) => {
                    value[..4].copy_from_slice(&ip.octets());
                    Ok((2, value))
                }
                std::net::IpAddr::V6(ip) => Ok((3, ip.octets())),
            }
        })
        .collect()
}

fn nets(case: &Object, key: &str) -> Result<Vec<IpNet>, String> {
    let Some(list) = case.get(key).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    list.iter()
        .map(|net| {
            let (ip, bits) = net
                .as_str()
                .and_then(|n| n.split_once('/'))
                .ok_or("no prefix")?;
            Ok(IpNet {
                ip: ip.parse().map_err(malformed)?,
                bits: bits.parse().map_err(malformed)?,
            })
        })
        .collect()
}

fn rules_case(case: &Object, me: &str, network: NetworkId) -> Outcome {
    known(
        case,
        &[
            "name",
            "direction",
            "source",
            "destination",
            "mac_source",
            "mac_destination",
            "ethertype",
            "frame",
            "rules",
            "verdict",
            "own_tags",
            "peer_tags",
            "own_ownership",
            "peer_ownership",
            "copies",
            "capabilities",
            "copies_suppressed",
            "config_flags",
            "own_addresses",
        ],
    )?;
    let frame = bytes(case, "frame")?;
    let ethernet = Ethernet {
        to: mac(text(case, "mac_destination")?)?,
        from: mac(text(case, "mac_source")?)?,
        ethertype: number(case, "ethertype")? as u16,
    };
    let inbound = text(case, "direction")? == "in";
    let subject = rules::Subject {
        inbound,
        source: Address::parse(text(case, "source")?).ok_or("source")?,
        destination: Address::parse(text(case, "destination")?),
        from: ethernet.from,
        to: ethernet.to,
        ethertype: ethernet.ethertype,
        payload: &frame,
    };
    let (own_tags, peer_tags) = (tags(case, "own_tags")?, tags(case, "peer_tags")?);
    let own_things = things(case, "own_ownership")?;
    let peer_things = things(case, "peer_ownership")?;
    let addresses = nets(case, "own_addresses")?;
    let facts = rules::Facts {
        me: Address::parse(me).ok_or("self")?,
        flags: case
            .get("config_flags")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        addresses: &addresses,
        own_tags: &own_tags,
        peer_tags: &peer_tags,
        own_things: &own_things,
        peer_things: &peer_things,
        member: true,
        random: 0x8000_0000,
    };
    let mut capabilities = Vec::new();
    for capability in case
        .get("capabilities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let capability = object(capability)?;
        known(capability, &["id", "rules"])?;
        capabilities.push((number(capability, "id")?, bytes(capability, "rules")?));
    }
    capabilities.sort();
    let base = bytes(case, "rules")?;
    let lists = capabilities.iter().map(|(_, rules)| &rules[..]);
    let decision = rules::decide(&base, lists, &subject, &facts);
    let verdict = match (decision.pass, decision.sup && inbound) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    };
    same("verdict", &verdict, &number(case, "verdict")?)?;
    // Who else gets the frame, with which flags, and how much of it (network 4.3).
    let suppressed = case.get("copies_suppressed").and_then(Value::as_bool) == Some(true);
    let mut ours = Vec::new();
    for copy in [decision.capability_copy, decision.base_copy]
        .into_iter()
        .flatten()
    {
        let flags = match (inbound, copy.watch) {
            (false, false) => 0x02,
            (false, true) => 0x16,
            (true, false) => 0x08,
            (true, true) => 0x1c,
        };
        if !suppressed {
            ours.push((copy.to, flags, copy.len));
        }
    }
    if let Some(to) = decision.redirect {
        ours.push((to, if inbound { 0x0a } else { 0x04 }, frame.len()));
    }
    let mut theirs = Vec::new();
    for copy in case
        .get("copies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let copy = object(copy)?;
        known(copy, &["to", "flags", "ext_frame"])?;
        let payload = bytes(copy, "ext_frame")?;
        let ext = ExtFrame::parse(&payload).map_err(malformed)?;
        check(
            "copied MACs",
            ext.network == network && ext.ethernet == ethernet,
        )?;
        check("copied bytes", frame.starts_with(ext.payload))?;
        let to = Address::parse(text(copy, "to")?).ok_or("to")?;
        theirs.push((to, number(copy, "flags")?, ext.payload.len()));
    }
    same("copies", &ours, &theirs)
}
