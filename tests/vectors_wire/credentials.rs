//! Certificates, tags, capabilities, ownership, revocations.

use serde_json::Value;
use zt::base::{Address, NetworkId};
use zt::wire::Malformed;
use zt::wire::credential::{
    self, Bundle, CHAIN_MAX, Capability, Com, Credential, Credentials, Link, Ownership, Paper,
    Qualifier, Records, Revocation, SIGNED_MAX_LEN, Signature, Tag, Thing,
};
use zt::wire::cursor::{Reader, Writer};

use super::values::{hex, hex_number, parse_mac, written};
use crate::common::{bytes, flag, list, load, number, report, text, unhex};

fn qualifiers(fields: &Value) -> Vec<Qualifier> {
    list(fields, "qualifiers")
        .iter()
        .map(|q| Qualifier {
            id: hex_number(&q[0]),
            value: hex_number(&q[1]),
            max_delta: hex_number(&q[2]),
        })
        .collect()
}

fn check_com(com: &Com<'_>, fields: &Value) {
    let expected = qualifiers(fields);
    assert_eq!(com.qualifiers().collect::<Vec<_>>(), expected);
    let signer = com
        .signed
        .map_or("0000000000".into(), |(by, _)| by.to_string());
    assert_eq!(signer, text(fields, "signer"));
    if let Some((_, signature)) = com.signed {
        assert_eq!(hex(signature), text(fields, "signature"));
    }
    let again = written(|w| credential::write_com(w, &expected, com.signed));
    assert_eq!(again, com.bytes());
    assert_eq!(
        com.signed_message(),
        &com.bytes()[3..3 + 24 * expected.len()]
    );
}

#[test]
fn certificates_of_membership() {
    let file = load("network-com");
    let mut cases = 0;
    let hexes: Vec<Vec<u8>> = list(&file, "certificates")
        .iter()
        .map(|case| bytes(case, "hex"))
        .collect();
    for (case, wire) in list(&file, "certificates").iter().zip(&hexes) {
        let com = Com::read(&mut Reader::new(wire)).unwrap();
        assert_eq!(com.bytes(), wire);
        check_com(&com, &case["fields"]);
        assert_eq!(com.timestamp(), Some(number(case, "timestamp")));
        assert_eq!(com.network(), NetworkId::parse(text(case, "network")));
        assert_eq!(com.issued_to(), Address::parse(text(case, "issued_to")));
        let mut string = String::new();
        com.write_text(&mut string).unwrap();
        if let Some(expected) = case["text"].as_str() {
            assert_eq!(string, expected);
        }
        assert_eq!(written(|w| credential::com_from_text(&string, w)), *wire);
        cases += 1;
    }
    for case in list(&file, "decode") {
        let name = text(case, "name");
        let wire = bytes(case, "hex");
        let mut reader = Reader::new(&wire);
        let got = Com::read(&mut reader);
        assert_eq!(got.is_ok(), flag(case, "parses"), "{name}");
        if let Ok(com) = got {
            let used = wire.len() - reader.remaining();
            assert_eq!(used as u64, number(case, "consumed"), "{name}");
            check_com(&com, &case["fields"]);
        }
        cases += 1;
    }
    for case in list(&file, "text_parse") {
        let name = text(case, "name");
        let mut buffer = [0; credential::COM_MAX_LEN];
        let mut writer = Writer::new(&mut buffer);
        match credential::com_from_text(text(case, "text"), &mut writer) {
            Ok(()) => {
                let com = Com::read(&mut Reader::new(writer.written())).unwrap();
                check_com(&com, &case["fields"]);
            }
            // 1.0.5 takes what it cannot read for an empty one.
            Err(_) => assert!(qualifiers(&case["fields"]).is_empty(), "{name}"),
        }
        cases += 1;
    }
    // Fingerprints by address; only their first 32 bytes count. That of the node itself stands
    // in its own certificate.
    let fingerprint = |address: &str| {
        let own = qualifiers(&list(&file, "certificates")[0]["fields"]);
        let words: Vec<u64> = list(&file, "identity_fields")
            .iter()
            .find(|case| text(case, "identity").starts_with(address))
            .map_or_else(
                || own[3..7].iter().map(|q| q.value).collect(),
                |case| list(case, "fields_3_to_6").iter().map(hex_number).collect(),
            );
        let mut fingerprint = [0; 48];
        for (room, word) in fingerprint.chunks_exact_mut(8).zip(words) {
            room.copy_from_slice(&word.to_be_bytes());
        }
        fingerprint
    };
    let certificates = list(&file, "certificates");
    let com =
        |n: &Value| Com::read(&mut Reader::new(&hexes[n.as_u64().unwrap() as usize])).unwrap();
    for case in list(&file, "agreement") {
        let holder = text(
            &certificates[case[1].as_u64().unwrap() as usize],
            "issued_to",
        );
        let got = com(&case[0]).agrees_with(&com(&case[1]), &fingerprint(holder));
        assert_eq!(got, case[2].as_bool().unwrap(), "{case}");
        cases += 1;
    }
    for case in list(&file, "agreement_with_identity") {
        let address = &case[2].as_str().unwrap()[..10];
        let got = com(&case[0]).agrees_with(&com(&case[1]), &fingerprint(address));
        assert_eq!(got, case[3].as_bool().unwrap(), "{case}");
        cases += 1;
    }
    report("network-com.json", cases);
}

fn signature(signature: Option<&Signature>) -> String {
    hex(signature.unwrap())
}

/// Runs one list of `network-credentials.json`; `check` gets the view, the fields, and gives
/// its signed message and its written form.
fn credentials<'v, T>(
    file: &'v Value,
    key: &str,
    read: impl Fn(&mut Reader<'v>) -> Result<T, Malformed>,
    wires: &'v [Vec<u8>],
    check: impl Fn(&T, &Value) -> (Vec<u8>, Vec<u8>),
) -> usize {
    let mut cases = 0;
    for (case, wire) in list(file, key).iter().zip(wires) {
        let name = text(case, "name");
        let mut reader = Reader::new(wire);
        let got = read(&mut reader);
        assert_eq!(got.is_ok(), flag(case, "parses"), "{key}: {name}");
        if let Ok(view) = got {
            let used = wire.len() - reader.remaining();
            assert_eq!(used as u64, number(case, "consumed"), "{key}: {name}");
            let (message, again) = check(&view, &case["fields"]);
            assert_eq!(hex(&message), text(case, "signed_bytes"), "{key}: {name}");
            // Reserved and further fields are not written.
            if name.starts_with("good") {
                assert_eq!(again, *wire, "{key}: {name}");
            }
        }
        cases += 1;
    }
    assert_eq!(cases, wires.len());
    cases
}

fn message(sign: impl FnOnce(&mut [u8]) -> Result<usize, Malformed>) -> Vec<u8> {
    let mut buffer = [0; SIGNED_MAX_LEN];
    let len = sign(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

fn same_message<'a>(
    kind: u8,
    wire: &'a [u8],
    sign: impl FnOnce(&mut Reader<'a>, &mut [u8]) -> Result<usize, Malformed>,
) {
    let Ok(paper) = Paper::read(kind, &mut Reader::new(wire)) else {
        let mut room = [0; SIGNED_MAX_LEN];
        assert!(sign(&mut Reader::new(wire), &mut room).is_err());
        return;
    };
    let rules = written(|w| paper.rules.write(w));
    let expected = message(|b| sign(&mut Reader::new(wire), b));
    assert_eq!(paper.signed(&rules).concat(), expected);
}

#[test]
fn tags_capabilities_ownership_revocations() {
    let file = load("network-credentials");
    let wires = |key: &str| -> Vec<Vec<u8>> {
        list(&file, key)
            .iter()
            .map(|case| bytes(case, "hex"))
            .collect()
    };
    let mut cases = 0;
    let tags = wires("tags");
    cases += credentials(&file, "tags", Tag::read, &tags, |tag, fields| {
        assert_eq!(
            tag.network,
            NetworkId::parse(text(fields, "network")).unwrap()
        );
        assert_eq!(tag.timestamp, number(fields, "timestamp"));
        assert_eq!(u64::from(tag.id), number(fields, "id"));
        assert_eq!(u64::from(tag.value), number(fields, "value"));
        assert_eq!(tag.issued_to.to_string(), text(fields, "issued_to"));
        assert_eq!(tag.signer.to_string(), text(fields, "signer"));
        assert_eq!(signature(tag.signature), text(fields, "signature"));
        (
            message(|b| tag.signed_message(b)),
            written(|w| tag.write(w)),
        )
    });
    let capabilities = wires("capabilities");
    cases += credentials(
        &file,
        "capabilities",
        Capability::read,
        &capabilities,
        |cap, fields| {
            assert_eq!(
                cap.network,
                NetworkId::parse(text(fields, "network")).unwrap()
            );
            assert_eq!(cap.timestamp, number(fields, "timestamp"));
            assert_eq!(u64::from(cap.id), number(fields, "id"));
            assert_eq!(u64::from(cap.max_chain), number(fields, "max_chain"));
            assert!(cap.max_chain <= CHAIN_MAX);
            assert_eq!(u64::from(cap.rules.len()), number(fields, "rule_count"));
            assert_eq!(hex(&written(|w| cap.rules.write(w))), text(fields, "rules"));
            let holder = cap
                .issued_to()
                .map_or("0000000000".into(), |to| to.to_string());
            assert_eq!(holder, text(fields, "issued_to"));
            let links: Vec<Link<'_>> = cap.links().collect();
            let chain = list(fields, "chain");
            assert_eq!(links.len(), chain.len());
            for (link, expected) in links.iter().zip(chain) {
                assert_eq!(link.to.to_string(), text(expected, "to"));
                assert_eq!(link.from.to_string(), text(expected, "from"));
                assert_eq!(signature(link.signature), text(expected, "signature"));
            }
            let again = written(|w| cap.write(w, cap.links()));
            (message(|b| cap.signed_message(b)), again)
        },
    );
    let ownerships = wires("ownership");
    cases += credentials(
        &file,
        "ownership",
        Ownership::read,
        &ownerships,
        |coo, fields| {
            assert_eq!(
                coo.network,
                NetworkId::parse(text(fields, "network")).unwrap()
            );
            assert_eq!(coo.timestamp, number(fields, "timestamp"));
            assert_eq!(coo.flags, hex_number(&fields["flags"]));
            assert_eq!(u64::from(coo.id), number(fields, "id"));
            let things: Vec<Thing> = coo.things().collect();
            let expected = list(fields, "things");
            assert_eq!(things.len(), expected.len());
            for (thing, expected) in things.iter().zip(expected) {
                assert_eq!(u64::from(thing.kind), expected[0].as_u64().unwrap());
                let value = unhex(expected[1].as_str().unwrap());
                assert_eq!(thing.value[..value.len()], value);
            }
            assert_eq!(coo.issued_to.to_string(), text(fields, "issued_to"));
            assert_eq!(coo.signer.to_string(), text(fields, "signer"));
            assert_eq!(signature(coo.signature), text(fields, "signature"));
            (
                message(|b| coo.signed_message(b)),
                written(|w| coo.write(w)),
            )
        },
    );
    for (case, wire) in list(&file, "ownership").iter().zip(&ownerships) {
        for owned in case["owns"].as_array().into_iter().flatten() {
            let coo = Ownership::read(&mut Reader::new(wire)).unwrap();
            let name = owned[0].as_str().unwrap();
            let thing = match name.parse() {
                Ok(ip) => Thing::of_ip(ip),
                Err(_) => Thing::of_mac(parse_mac(name)),
            };
            assert_eq!(coo.owns(thing), owned[1].as_bool().unwrap(), "{owned}");
            cases += 1;
        }
    }
    let revocations = wires("revocations");
    cases += credentials(
        &file,
        "revocations",
        Revocation::read,
        &revocations,
        |rev, fields| {
            assert_eq!(u64::from(rev.id), number(fields, "id"));
            assert_eq!(
                rev.network,
                NetworkId::parse(text(fields, "network")).unwrap()
            );
            assert_eq!(
                u64::from(rev.credential_id),
                number(fields, "credential_id")
            );
            assert_eq!(rev.threshold, number(fields, "threshold"));
            assert_eq!(rev.flags, hex_number(&fields["flags"]));
            assert_eq!(rev.target.to_string(), text(fields, "target"));
            assert_eq!(rev.signer.to_string(), text(fields, "signer"));
            assert_eq!(u64::from(rev.kind), number(fields, "type"));
            assert_eq!(signature(rev.signature), text(fields, "signature"));
            let again = written(|w| rev.write(w));
            assert_eq!(again.len(), Revocation::LEN);
            (message(|b| rev.signed_message(b)), again)
        },
    );
    // All good ones together in one packet.
    let one = |bytes| Records { count: 1, bytes };
    let com = bytes(&list(&file, "filing")[0], "own_com");
    let bundle = Bundle {
        com: Some(&com),
        capabilities: one(&capabilities[0]),
        tags: one(&tags[0]),
        revocations: one(&revocations[0]),
        ownerships: one(&ownerships[0]),
    };
    let packet = written(|w| bundle.write(w));
    let got: Vec<Credential<'_>> = Credentials::new(&packet).map(Result::unwrap).collect();
    let kinds: Vec<_> = got
        .iter()
        .map(|credential| match credential {
            Credential::Com(_) => None,
            Credential::Paper(paper) => Some((paper.revokes, paper.kind)),
        })
        .collect();
    let kind = Revocation::read(&mut Reader::new(&revocations[0])).map(|r| r.kind);
    assert_eq!(
        kinds,
        [
            None,
            Some((false, Revocation::CAPABILITY)),
            Some((false, Revocation::TAG)),
            Some((true, kind.unwrap())),
            Some((false, Revocation::OWNERSHIP)),
        ]
    );
    // What is signed is the same of a paper, whatever its kind.
    for wire in &tags {
        same_message(Revocation::TAG, wire, |r, b| {
            Tag::read(r)?.signed_message(b)
        });
    }
    for wire in &capabilities {
        same_message(Revocation::CAPABILITY, wire, |r, b| {
            Capability::read(r)?.signed_message(b)
        });
    }
    for wire in &ownerships {
        same_message(Revocation::OWNERSHIP, wire, |r, b| {
            Ownership::read(r)?.signed_message(b)
        });
    }
    for wire in &revocations {
        same_message(Paper::REVOCATION, wire, |r, b| {
            Revocation::read(r)?.signed_message(b)
        });
        if let Ok(again) = Revocation::read(&mut Reader::new(wire))
            && again.signature.is_some()
        {
            let paper = Paper::read(Paper::REVOCATION, &mut Reader::new(wire)).unwrap();
            let anew = written(|w| paper.write_revocation(w));
            assert_eq!(anew, written(|w| again.write(w)));
        }
    }
    cases += 1;
    report("network-credentials.json", cases);
}
