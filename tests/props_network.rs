//! Properties of what networks are configured by: dictionaries with repeated keys and with any
//! text at all, signed chunks and credentials of which no bit can be turned unnoticed, rules as
//! JSON.
#![allow(missing_docs)]

mod sim;

use proptest::collection::vec;
use proptest::prelude::*;

use sim::controller::{self, Delivery, Net, Order, Revoked};
use sim::{at, identity};
use zt::base::NetworkId;
use zt::crypto::sign;
use zt::service::{json, rules_json};
use zt::wire::Malformed;
use zt::wire::credential::{
    Capability, Com, Ownership, Revocation, SIGNED_MAX_LEN, Signature, Tag, Thing,
};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::dict::{Dialect, Dict, DictWriter, unescape_in_place};
use zt::wire::netconf::Chunk;
use zt::wire::rule::{Rule, What};

const C: usize = 40;
const NOW: u64 = 1_790_000_000_000;

fn network() -> NetworkId {
    NetworkId::new(identity(C).identity.address.get() << 24 | 1).expect("an id")
}

// ---- dictionaries --------------------------------------------------------------------------

fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Modern), Just(Dialect::Old)]
}

/// Pieces that mean something to a reader, more often than other bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"k=", b"n=", b"\nk=", b"\rn=", b"=", b"\\", b"\\e", b"\\0", b"\n", b"\r", b"0x1f", b"-7",
        b"t",
    ];
    let piece = prop::sample::select(PIECES).prop_map(<[u8]>::to_vec);
    let piece = prop_oneof![6 => piece, 1 => any::<u8>().prop_map(|b| vec![b])];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// How 1.14.1 reads a value, written down as plainly as possible: lines end at CR or LF, the
/// first whose beginning is `key=` counts, five escapes.
fn modern(text: &[u8], key: &str) -> Option<Vec<u8>> {
    let text = text.split(|b| *b == 0).next()?;
    let prefix = [key.as_bytes(), b"="].concat();
    let raw = text
        .split(|b| *b == b'\n' || *b == b'\r')
        .find_map(|line| line.strip_prefix(&prefix[..]))?;
    let mut value = Vec::new();
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'\\' {
            value.push(*byte);
        } else if let Some(escaped) = bytes.next() {
            value.push(match *escaped {
                b'0' => 0,
                b'r' => b'\r',
                b'n' => b'\n',
                b'e' => b'=',
                other => other,
            });
        }
    }
    Some(value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn of_equal_keys_the_first_counts_or_all_are_joined(
        entries in vec((0usize..3, vec(any::<u8>(), 0..20)), 0..12), dialect in dialect(),
    ) {
        const KEYS: [&str; 3] = ["k", "kk", "n"];
        let mut buffer = vec![0; 4_096];
        let mut writer = Writer::new(&mut buffer);
        let mut dict = DictWriter::new(&mut writer, dialect);
        for (key, value) in &entries {
            dict.bytes(KEYS[*key], value).expect("room");
        }
        let written = writer.written();
        let dict = Dict::new(written, dialect);
        prop_assert_eq!(dict.entries().count(), entries.len());
        for (n, key) in KEYS.iter().enumerate() {
            let mut values = entries.iter().filter(|e| e.0 == n).map(|e| e.1.clone());
            let expected = match dialect {
                Dialect::Modern => values.next(),
                Dialect::Old => values.reduce(|a, b| [a, b].concat()),
            };
            let mut out = [0; 512];
            let got = dict.unescape_all(key, &mut out).expect("room");
            prop_assert_eq!(got, expected.as_deref());
        }
    }

    #[test]
    fn any_text_is_read_as_1_14_1_reads_it(text in text()) {
        let dict = Dict::new(&text, Dialect::Modern);
        for key in ["k", "n", "0", "e"] {
            let got = dict.get(key).map(|value| value.bytes().collect::<Vec<u8>>());
            prop_assert_eq!(got, modern(&text, key), "{}", key);
        }
    }

    /// Unescaped where it stands or copied, a value is the same, never longer than it was, and
    /// keys around it stay.
    #[test]
    fn values_of_any_text_are_the_same_in_place(text in text(), dialect in dialect()) {
        let dict = Dict::new(&text, dialect);
        for (key, value) in dict.entries() {
            prop_assert!(!key.contains(&b'='));
            prop_assert_eq!(&text[value.range()], value.raw());
            let copy: Vec<u8> = value.bytes().collect();
            prop_assert!(copy.len() <= value.raw().len());
            if let Some(plain) = value.plain() {
                prop_assert_eq!(plain, &copy[..]);
            }
            let mut exact = vec![0; copy.len()];
            prop_assert_eq!(value.unescape(&mut exact), Ok(&copy[..]));
            if let Some(short) = copy.len().checked_sub(1) {
                let mut short = vec![0; short];
                prop_assert_eq!(value.unescape(&mut short), Err(Malformed::Truncated));
            }
            let mut changed = text.clone();
            let range = unescape_in_place(&mut changed, value.range(), dialect).expect("in range");
            prop_assert_eq!(&changed[range], &copy[..]);
            prop_assert_eq!(&changed[..value.range().start], &text[..value.range().start]);
            prop_assert_eq!(&changed[value.range().end..], &text[value.range().end..]);
        }
        prop_assert!(unescape_in_place(&mut text.clone(), 0..text.len() + 1, dialect).is_err());
    }
}

// ---- chunks --------------------------------------------------------------------------------

/// The chunk verifies as the controller's.
fn chunk_is_good(body: &[u8]) -> bool {
    let Ok(chunk) = Chunk::parse(body) else {
        return false;
    };
    chunk.signed.is_some_and(|signed| {
        let key = &identity(C).identity.public;
        sign::verify(key, &[signed.message], signed.signature).is_ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// However a dictionary is cut and in whatever order its chunks come: put where they say they
    /// belong, they are the dictionary.
    #[test]
    fn chunks_tell_where_they_belong(
        length in 1usize..3_000, chunk in 1usize..1_500, shuffle in any::<prop::sample::Index>(),
    ) {
        // Thousands of signatures prove no more than tens.
        let chunk = chunk.max(length / 20 + 1);
        let dictionary: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let count = length.div_ceil(chunk);
        let mut order: Vec<usize> = (0..count).collect();
        order.rotate_left(shuffle.index(count));
        let how = Delivery { chunk, order: Order::Exactly(order), ..Delivery::default() };
        let bodies = controller::chunks(&identity(C), network(), &dictionary, 9, &how);
        prop_assert_eq!(bodies.len(), count);
        let mut whole = vec![0xff; length];
        let mut covered = 0;
        for body in &bodies {
            let chunk = Chunk::parse(body).expect("a chunk");
            let signed = chunk.signed.expect("signed");
            prop_assert_eq!((signed.update, signed.total as usize), (9, length));
            let start = signed.position as usize;
            whole[start..start + chunk.data.len()].copy_from_slice(chunk.data);
            covered += chunk.data.len();
        }
        prop_assert_eq!(covered, length);
        prop_assert_eq!(whole, dictionary);
    }

    #[test]
    fn no_bit_of_a_chunk_can_be_turned(bit in any::<prop::sample::Index>()) {
        let how = Delivery::default();
        let bodies = controller::chunks(&identity(C), network(), b"v=7\nn=name", 9, &how);
        let mut body = bodies[0].clone();
        prop_assert!(chunk_is_good(&body));
        let bit = bit.index(8 * body.len());
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!chunk_is_good(&body), "bit {}", bit);
    }
}

// ---- credentials ---------------------------------------------------------------------------

fn good(
    signature: Option<&Signature>,
    message: impl FnOnce(&mut [u8]) -> Result<usize, Malformed>,
) -> bool {
    let mut buffer = [0; SIGNED_MAX_LEN];
    let len = message(&mut buffer).expect("room");
    let key = &identity(C).identity.public;
    signature.is_some_and(|s| sign::verify(key, &[&buffer[..len]], s).is_ok())
}

/// What a credential says if it parses and its signature is the controller's: all that counts.
fn says(kind: usize, bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new(bytes);
    let signer = identity(C).identity.address;
    let (good, says) = match kind {
        0 => {
            let com = Com::read(&mut reader).ok()?;
            let (by, signature) = com.signed?;
            let key = &identity(C).identity.public;
            let good = sign::verify(key, &[com.signed_message()], signature).is_ok();
            let list: Vec<_> = com.qualifiers().collect();
            (good && by == signer, format!("{list:?}"))
        }
        1 => {
            let tag = Tag::read(&mut reader).ok()?;
            let good = good(tag.signature, |b| tag.signed_message(b));
            (good && tag.signer == signer, format!("{tag:?}"))
        }
        2 => {
            // To whom a link goes is not signed (network 3.6): whoever takes it must compare.
            let cap = Capability::read(&mut reader).ok()?;
            let link = cap.links().next()?;
            let good = good(link.signature, |b| cap.signed_message(b));
            let rules: Vec<Rule> = cap.rules.iter().collect();
            let head = (cap.network, cap.timestamp, cap.id, cap.max_chain);
            (good && link.from == signer, format!("{head:?} {rules:?}"))
        }
        3 => {
            let own = Ownership::read(&mut reader).ok()?;
            let good = good(own.signature, |b| own.signed_message(b));
            (good && own.signer == signer, format!("{own:?}"))
        }
        _ => {
            let rev = Revocation::read(&mut reader).ok()?;
            let good = good(rev.signature, |b| rev.signed_message(b));
            (good && rev.signer == signer, format!("{rev:?}"))
        }
    };
    good.then_some(says)
}

fn credential(kind: usize) -> Vec<u8> {
    let (secret, holder) = (identity(C), identity(1).identity);
    let to = holder.address;
    let rules = [0xa5, 2, 8, 0, 0, 0, 1, 0];
    match kind {
        0 => controller::com(&secret, network(), &holder, (NOW, 1_000), true),
        1 => controller::tag(&secret, network(), to, NOW, (1, 2)),
        2 => controller::capability(&secret, network(), to, NOW, (3, &rules)),
        3 => {
            let things = [Thing::of_ip("10.1.2.3".parse().expect("ip"))];
            controller::ownership(&secret, network(), to, NOW, &things)
        }
        _ => controller::revocation(&secret, network(), 7, Revoked::membership(to, NOW)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// A turned bit makes a credential malformed, makes its signature wrong, or stands in a field
    /// that says nothing.
    #[test]
    fn no_bit_that_counts_can_be_turned(kind in 0usize..5, bit in any::<prop::sample::Index>()) {
        let mut bytes = credential(kind);
        let before = says(kind, &bytes);
        prop_assert!(before.is_some());
        let bit = bit.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        let after = says(kind, &bytes);
        prop_assert!(after.is_none() || after == before, "kind {} bit {}", kind, bit);
    }

    #[test]
    fn any_bytes_are_read_as_credentials_without_panic(
        kind in 0usize..5, cut in any::<prop::sample::Index>(), tail in vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = credential(kind);
        let len = cut.index(bytes.len());
        let changed = tail.iter().zip(&bytes[len..]).any(|(a, b)| a != b);
        bytes.truncate(len);
        let short = says(kind, &bytes);
        prop_assert!(short.is_none(), "cut to {}", len);
        bytes.extend_from_slice(&tail);
        if changed || tail.is_empty() {
            let (whole, said) = (says(kind, &credential(kind)), says(kind, &bytes));
            prop_assert!(said.is_none() || said == whole);
        }
    }
}

// ---- rules as JSON -------------------------------------------------------------------------

/// An entry whose every field can be told in JSON.
fn rule() -> impl Strategy<Value = Rule> {
    let numbers = prop::sample::select((0u8..7).chain(24..52).collect::<Vec<u8>>());
    (numbers, any::<[u8; 24]>(), any::<(bool, bool)>()).prop_map(
        |(number, mut value, (not, or))| {
            match number {
                // REDIRECT has no length in JSON.
                4 => value[12..14].fill(0),
                31 | 32 => value[4] %= 33,
                33 | 34 => value[16] %= 129,
                // Code 0 if it is not compared; no other flag.
                38 => {
                    value[2] &= 1;
                    value[1] *= value[2];
                }
                51 => {
                    // A span of 32 bits that does not wrap; no bit 6 in the format.
                    value[..4].fill(0);
                    value.copy_within(..4, 8);
                    value[8 + 4] |= 0x80;
                    value[4] &= 0x7f;
                    value[18] &= 0xbf;
                }
                _ => {}
            }
            let bytes = [&[number, 24], &value[..]].concat();
            let mut rule = Rule::read(&mut Reader::new(&bytes)).expect("room for every kind");
            if !rule.is_action() {
                (rule.not, rule.or) = (not, or);
            }
            rule
        },
    )
}

fn any_json() -> impl Strategy<Value = json::Value> {
    let digits = prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        "-?[0-9]{1,25}(\\.5)?"
    ];
    prop_oneof![
        Just(json::Value::Null),
        any::<bool>().prop_map(json::Value::Bool),
        digits.prop_map(json::Value::number),
        "[0-9a-fx:./ -]{0,20}".prop_map(json::Value::string),
        Just(json::Value::Array(Vec::new())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rules_come_back_from_json(rule in rule()) {
        let rendered = rules_json::render(&rule).expect("a name");
        let text = rendered.to_string();
        let read = json::Value::parse(&text).expect("JSON");
        prop_assert_eq!(rules_json::parse(&read), Ok((rule, None)), "{}", text);
    }

    /// Fields may be anything: what is taken is shown as something that is taken as the same.
    #[test]
    fn whatever_is_taken_as_a_rule_is_shown_as_that_rule(
        rule in rule(), fields in vec((any::<prop::sample::Index>(), any_json()), 0..4),
    ) {
        let Some(json::Value::Object(mut members)) = rules_json::render(&rule) else {
            panic!("an object with a name");
        };
        for (place, value) in fields {
            if members.len() > 1 {
                let place = 1 + place.index(members.len() - 1);
                members[place].1 = value;
            }
        }
        if let Ok((taken, _)) = rules_json::parse(&json::Value::Object(members)) {
            let shown = rules_json::render(&taken).expect("a name");
            prop_assert_eq!(rules_json::parse(&shown), Ok((taken, None)), "{}", shown);
        }
    }
}

#[test]
fn entries_without_a_name_are_not_shown() {
    for number in (7..24).chain(52..64) {
        assert_eq!(rules_json::render(&Rule::new(What::Unknown(number))), None);
    }
}

// ---- configurations ------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Binary values with any bytes survive the dictionary of the simulated controller.
    #[test]
    fn a_configuration_holds_any_values(
        rules in vec(any::<u8>(), 1..400), name in "[ -~]{1,40}", specialists in vec(any::<u64>(), 1..20),
    ) {
        let member = identity(1).identity;
        let mut net = Net::new(network());
        net.public = true;
        net.rules = rules.clone();
        net.name = name.clone();
        net.specialists = specialists.clone();
        net.member(member.address).addresses = vec![at("10.0.0.61:13")];
        let text = controller::dictionary(&identity(C), &net, &member, NOW);
        let dict = Dict::new(&text, Dialect::Modern);
        let get = |key| dict.get(key).expect("a key").bytes().collect::<Vec<u8>>();
        prop_assert_eq!(get("R"), rules);
        prop_assert_eq!(get("n"), name.into_bytes());
        let all: Vec<u8> = specialists.iter().flat_map(|s| s.to_be_bytes()).collect();
        prop_assert_eq!(get("S"), all);
        prop_assert_eq!(get("I"), [4, 10, 0, 0, 61, 0, 13]);
    }
}
