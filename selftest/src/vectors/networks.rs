//! Vectors of networks with a controller, as far as formats and signatures go: certificates of
//! membership, other credentials, requests, rules as JSON.

use serde_json::Value;
use zt::base::{Address, Mac};
use zt::crypto::sign;
use zt::service::{json, rules_json};
use zt::wire::Malformed;
use zt::wire::credential::{
    COM_MAX_LEN, Capability, Com, Link, Ownership, Qualifier, Revocation, SIGNED_MAX_LEN,
    Signature, Tag, Thing, com_from_text, write_com,
};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::dict::{Dialect, Dict, DictWriter};
use zt::wire::identity::Identity;
use zt::wire::netconf::{ConfigRequest, META_MAX};
use zt::wire::rule::Rule;

use super::Run;
use super::fields::{
    Miss, Object, Outcome, bytes, check, flag, known, list, malformed, number, object, same, text,
    unhex,
};
use super::members::network;

/// Room for a credential or a request.
const ROOM: usize = 4_096;

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>) -> Result<Vec<u8>, Miss> {
    let mut bytes = vec![0; ROOM];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer).map_err(malformed)?;
    Ok(writer.written().to_vec())
}

/// A value; null if it is not there.
pub(super) fn at<'a>(case: &'a Object, key: &str) -> &'a Value {
    case.get(key).unwrap_or(&Value::Null)
}

fn hex64(value: &Value) -> Result<u64, Miss> {
    let digits = value.as_str().ok_or("no text")?;
    u64::from_str_radix(digits, 16).map_err(malformed)
}

pub(super) fn identity(text: &str) -> Result<Identity, Miss> {
    Identity::parse(text).map_err(malformed)
}

fn controller(file: &Object) -> Result<Identity, Miss> {
    identity(text(file, "controller")?)
}

impl Run {
    /// Every element of a list, with what is common to all of them.
    fn every(&mut self, file: &Object, key: &str, test: impl Fn(&Value) -> Result<(), Miss>) {
        match list(file, key) {
            Ok(cases) => {
                for (n, case) in cases.iter().enumerate() {
                    self.case(&format!("{key} {n}"), test(case));
                }
            }
            Err(why) => self.case(key, Err(why)),
        }
    }

    /// `network-com`; names of the parts that were run.
    pub(super) fn coms(&mut self, file: &Object) -> &'static [&'static str] {
        let signer = match controller(file) {
            Ok(signer) => signer,
            Err(why) => {
                self.case("controller", Err(why));
                return COM_PARTS;
            }
        };
        self.each(file, "identity_fields", identity_fields);
        self.each(file, "certificates", |case| certificate(case, &signer));
        self.every(file, "agreement", |case| agreement(file, case));
        self.every(file, "agreement_with_identity", |case| {
            agreement_with_identity(file, case)
        });
        self.each(file, "decode", |case| com_decode(case, &signer));
        self.each(file, "text_parse", text_parse);
        COM_PARTS
    }

    /// `network-credentials`; names of the parts that were run.
    pub(super) fn credentials(&mut self, file: &Object) -> &'static [&'static str] {
        let keys = controller(file).and_then(|controller| {
            let members = list(file, "known_identities")?.iter();
            let members = members.map(|i| identity(i.as_str().unwrap_or_default()));
            let mut keys = members.collect::<Result<Vec<_>, _>>()?;
            keys.push(controller);
            Ok(keys)
        });
        match keys {
            Ok(keys) => {
                self.each(file, "tags", |case| tag(case, &keys));
                self.each(file, "capabilities", |case| capability(case, &keys));
                self.each(file, "ownership", |case| ownership(case, &keys));
                self.each(file, "revocations", |case| revocation(case, &keys));
                self.each(file, "filing", |case| filing(case, &keys));
            }
            Err(why) => self.case("controller", Err(why)),
        }
        CREDENTIAL_PARTS
    }

    /// `network-request`; names of the parts that were run.
    pub(super) fn requests(&mut self, file: &Object) -> &'static [&'static str] {
        self.each(file, "requests", request);
        self.each(file, "parse", meta_data);
        &["requests", "parse"]
    }

    /// `network-rules-json`; names of the parts that were run.
    pub(super) fn rules_json(&mut self, file: &Object) -> &'static [&'static str] {
        self.each(file, "rules", rule);
        &["rules"]
    }
}

/// 1.0.5 agrees by the places of qualifiers and looks at no identity: not ours, so not run.
const COM_PARTS: &[&str] = &[
    "controller",
    "controller_secret",
    "identity_fields",
    "certificates",
    "agreement",
    "agreement_1_0_5",
    "agreement_with_identity",
    "decode",
    "text_parse",
];

const CREDENTIAL_PARTS: &[&str] = &[
    "controller",
    "network",
    "known_identities",
    "tags",
    "capabilities",
    "ownership",
    "revocations",
    "filing",
];

// Certificates of membership.

fn qualifiers(fields: &Object) -> Result<Vec<Qualifier>, Miss> {
    let one = |q: &Value| {
        Ok(Qualifier {
            id: hex64(&q[0])?,
            value: hex64(&q[1])?,
            max_delta: hex64(&q[2])?,
        })
    };
    list(fields, "qualifiers")?.iter().map(one).collect()
}

pub(super) fn com_fields(com: &Com<'_>, fields: &Object) -> Outcome {
    known(fields, &["qualifiers", "signer", "signature"])?;
    let theirs = qualifiers(fields)?;
    same("qualifiers", &com.qualifiers().collect(), &theirs)?;
    let signer = com.signed.map_or("0000000000".into(), |s| s.0.to_string());
    same("signer", &signer.as_str(), &text(fields, "signer")?)?;
    if let Some((_, signature)) = com.signed {
        same(
            "signature",
            &signature.to_vec(),
            &bytes(fields, "signature")?,
        )?;
    }
    let again = written(|w| write_com(w, &theirs, com.signed))?;
    same("written again", &again.as_slice(), &com.bytes())
}

fn com_verifies(com: &Com<'_>, signer: &Identity) -> bool {
    let issuer = com.network().and_then(zt::base::NetworkId::controller);
    com.signed.is_some_and(|(by, signature)| {
        Some(by) == issuer
            && by == signer.address
            && sign::verify(&signer.public, &[com.signed_message()], signature).is_ok()
    })
}

fn identity_fields(case: &Object) -> Outcome {
    known(case, &["identity", "fields_3_to_6"])?;
    let print = sign::fingerprint(&identity(text(case, "identity")?)?);
    let mut reader = Reader::new(&print);
    for word in list(case, "fields_3_to_6")? {
        same("word", &reader.u64().map_err(malformed)?, &hex64(word)?)?;
    }
    Ok(())
}

fn certificate(case: &Object, signer: &Identity) -> Outcome {
    known(
        case,
        &[
            "name",
            "hex",
            "fields",
            "network",
            "issued_to",
            "timestamp",
            "verified",
            "text",
        ],
    )?;
    let wire = bytes(case, "hex")?;
    let com = Com::read(&mut Reader::new(&wire)).map_err(malformed)?;
    com_fields(&com, object(at(case, "fields"))?)?;
    same("time", &com.timestamp(), &Some(number(case, "timestamp")?))?;
    same("network", &com.network(), &Some(network(case)?))?;
    let holder = Address::parse(text(case, "issued_to")?);
    same("issued to", &com.issued_to(), &holder)?;
    same(
        "verified",
        &com_verifies(&com, signer),
        &flag(case, "verified")?,
    )?;
    let mut string = String::new();
    com.write_text(&mut string).map_err(malformed)?;
    if case.get("text").is_some_and(|t| !t.is_null()) {
        same("text", &string.as_str(), &text(case, "text")?)?;
    }
    same("of text", &written(|w| com_from_text(&string, w))?, &wire)
}

fn com_decode(case: &Object, signer: &Identity) -> Outcome {
    known(
        case,
        &["name", "hex", "parses", "consumed", "fields", "verified"],
    )?;
    let wire = bytes(case, "hex")?;
    let mut reader = Reader::new(&wire);
    let got = Com::read(&mut reader);
    same("parses", &got.is_ok(), &flag(case, "parses")?)?;
    let Ok(com) = got else { return Ok(()) };
    let used = (wire.len() - reader.remaining()) as u64;
    same("used", &used, &number(case, "consumed")?)?;
    same(
        "verified",
        &com_verifies(&com, signer),
        &flag(case, "verified")?,
    )?;
    com_fields(&com, object(at(case, "fields"))?)
}

fn text_parse(case: &Object) -> Outcome {
    known(case, &["name", "text", "fields"])?;
    let fields = object(at(case, "fields"))?;
    let mut buffer = [0; COM_MAX_LEN];
    let mut writer = Writer::new(&mut buffer);
    if com_from_text(text(case, "text")?, &mut writer).is_err() {
        // 1.0.5 takes what it cannot read for an empty certificate.
        return check("refused", qualifiers(fields)?.is_empty());
    }
    let com = Com::read(&mut Reader::new(writer.written())).map_err(malformed)?;
    com_fields(&com, fields)
}

/// Certificate number `n`, and whom it is issued to.
fn certificate_of<'f>(file: &'f Object, n: &Value) -> Result<(Vec<u8>, &'f str), Miss> {
    let n = n.as_u64().and_then(|n| usize::try_from(n).ok());
    let all = list(file, "certificates")?;
    let case = object(n.and_then(|n| all.get(n)).ok_or("no certificate")?)?;
    Ok((bytes(case, "hex")?, text(case, "issued_to")?))
}

/// The fingerprint of a member. That of the node itself stands in its certificate alone, cut.
fn fingerprint(file: &Object, address: &str) -> Result<[u8; 48], Miss> {
    for case in list(file, "identity_fields")? {
        let whole = text(object(case)?, "identity")?;
        if whole.starts_with(address) {
            return Ok(sign::fingerprint(&identity(whole)?));
        }
    }
    let (own, holder) = certificate_of(file, &Value::from(0))?;
    check("holder is known", holder == address)?;
    let com = Com::read(&mut Reader::new(&own)).map_err(malformed)?;
    let mut print = [0; 48];
    for (room, id) in print.chunks_exact_mut(8).zip(Com::FINGERPRINT) {
        let word = com.value(id).ok_or("no fingerprint")?;
        room.copy_from_slice(&word.to_be_bytes());
    }
    Ok(print)
}

fn agrees(file: &Object, case: &Value, print: [u8; 48], theirs: &Value) -> Outcome {
    let (own, _) = certificate_of(file, &case[0])?;
    let (other, _) = certificate_of(file, &case[1])?;
    let own = Com::read(&mut Reader::new(&own)).map_err(malformed)?;
    let other = Com::read(&mut Reader::new(&other)).map_err(malformed)?;
    same(
        "agrees",
        &Some(own.agrees_with(&other, &print)),
        &theirs.as_bool(),
    )
}

fn agreement(file: &Object, case: &Value) -> Outcome {
    let (_, holder) = certificate_of(file, &case[1])?;
    agrees(file, case, fingerprint(file, holder)?, &case[2])
}

fn agreement_with_identity(file: &Object, case: &Value) -> Outcome {
    let other = identity(case[2].as_str().ok_or("no identity")?)?;
    agrees(file, case, sign::fingerprint(&other), &case[3])
}

// Tags, capabilities, ownership, revocations.

const CREDENTIAL_FIELDS: &[&str] = &[
    "name",
    "hex",
    "parses",
    "consumed",
    "fields",
    "signed_bytes",
    "verified",
    "owns",
];

/// What all kinds have in common. `fields` compares; `signed` gives the signed message;
/// `verified` looks at signers.
fn credential<'w, T>(
    case: &Object,
    wire: &'w [u8],
    read: impl FnOnce(&mut Reader<'w>) -> Result<T, Malformed>,
    fields: impl FnOnce(&T, &Object) -> Outcome,
    signed: impl FnOnce(&T, &mut [u8]) -> Result<usize, Malformed>,
    verified: impl FnOnce(&T, &[u8]) -> bool,
) -> Result<Option<T>, Miss> {
    known(case, CREDENTIAL_FIELDS)?;
    let mut reader = Reader::new(wire);
    let got = read(&mut reader);
    same("parses", &got.is_ok(), &flag(case, "parses")?)?;
    let Ok(view) = got else { return Ok(None) };
    let used = (wire.len() - reader.remaining()) as u64;
    same("used", &used, &number(case, "consumed")?)?;
    fields(&view, object(at(case, "fields"))?)?;
    let mut message = [0; SIGNED_MAX_LEN];
    let len = signed(&view, &mut message).map_err(malformed)?;
    let message = &message[..len];
    same("signed", &message, &bytes(case, "signed_bytes")?.as_slice())?;
    let good = verified(&view, message);
    same("verified", &good, &flag(case, "verified")?)?;
    Ok(Some(view))
}

fn by(keys: &[Identity], signer: Address, message: &[u8], signature: Option<&Signature>) -> bool {
    let key = keys.iter().find(|k| k.address == signer);
    let good = |k: &Identity, s: &Signature| sign::verify(&k.public, &[message], s).is_ok();
    key.zip(signature).is_some_and(|(k, s)| good(k, s))
}

fn good_ones_are_written_as_they_were(
    case: &Object,
    wire: &[u8],
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>,
) -> Outcome {
    // Reserved and further fields are not written.
    if text(case, "name")?.starts_with("good") {
        same("written again", &written(write)?.as_slice(), &wire)?;
    }
    Ok(())
}

fn signature_is(ours: Option<&Signature>, fields: &Object) -> Outcome {
    let ours = ours.map(|s| s.to_vec());
    same("signature", &ours, &Some(bytes(fields, "signature")?))
}

fn tag(case: &Object, keys: &[Identity]) -> Outcome {
    let wire = bytes(case, "hex")?;
    let fields = |tag: &Tag<'_>, fields: &Object| {
        known(
            fields,
            &[
                "network",
                "timestamp",
                "id",
                "value",
                "issued_to",
                "signer",
                "signature",
            ],
        )?;
        same("network", &tag.network, &network(fields)?)?;
        same("time", &tag.timestamp, &number(fields, "timestamp")?)?;
        same("id", &u64::from(tag.id), &number(fields, "id")?)?;
        same("value", &u64::from(tag.value), &number(fields, "value")?)?;
        let (to, by) = (tag.issued_to.to_string(), tag.signer.to_string());
        same("issued to", &to.as_str(), &text(fields, "issued_to")?)?;
        same("signer", &by.as_str(), &text(fields, "signer")?)?;
        signature_is(tag.signature, fields)
    };
    let verified = |t: &Tag<'_>, message: &[u8]| {
        t.network.controller() == Some(t.signer) && by(keys, t.signer, message, t.signature)
    };
    let signed = |t: &Tag<'_>, b: &mut [u8]| t.signed_message(b);
    match credential(case, &wire, Tag::read, fields, signed, verified)? {
        Some(tag) => good_ones_are_written_as_they_were(case, &wire, |w| tag.write(w)),
        None => Ok(()),
    }
}

/// The rules of 1.14.1 for chains; a node of ours takes chains of one alone.
fn chain(cap: &Capability<'_>, keys: &[Identity], message: &[u8]) -> bool {
    let mut from = cap.network.controller();
    let mut links = 0;
    for link in cap.links() {
        if Some(link.from) != from || !by(keys, link.from, message, link.signature) {
            return false;
        }
        from = Some(link.to);
        links += 1;
    }
    links > 0
}

fn capability(case: &Object, keys: &[Identity]) -> Outcome {
    let wire = bytes(case, "hex")?;
    let fields = |cap: &Capability<'_>, fields: &Object| {
        known(
            fields,
            &[
                "network",
                "timestamp",
                "id",
                "max_chain",
                "rules",
                "rule_count",
                "issued_to",
                "chain",
            ],
        )?;
        same("network", &cap.network, &network(fields)?)?;
        same("time", &cap.timestamp, &number(fields, "timestamp")?)?;
        same("id", &u64::from(cap.id), &number(fields, "id")?)?;
        same(
            "chain",
            &u64::from(cap.max_chain),
            &number(fields, "max_chain")?,
        )?;
        same(
            "count",
            &u64::from(cap.rules.len()),
            &number(fields, "rule_count")?,
        )?;
        same(
            "rules",
            &written(|w| cap.rules.write(w))?,
            &bytes(fields, "rules")?,
        )?;
        let to = cap
            .issued_to()
            .map_or("0000000000".into(), |a| a.to_string());
        same("issued to", &to.as_str(), &text(fields, "issued_to")?)?;
        let ours: Vec<Link<'_>> = cap.links().collect();
        let theirs = list(fields, "chain")?;
        same("links", &ours.len(), &theirs.len())?;
        for (ours, theirs) in ours.iter().zip(theirs) {
            let theirs = object(theirs)?;
            let (to, from) = (ours.to.to_string(), ours.from.to_string());
            same("to", &to.as_str(), &text(theirs, "to")?)?;
            same("from", &from.as_str(), &text(theirs, "from")?)?;
            signature_is(ours.signature, theirs)?;
        }
        Ok(())
    };
    let verified = |cap: &Capability<'_>, message: &[u8]| chain(cap, keys, message);
    let signed = |cap: &Capability<'_>, b: &mut [u8]| cap.signed_message(b);
    match credential(case, &wire, Capability::read, fields, signed, verified)? {
        Some(cap) => good_ones_are_written_as_they_were(case, &wire, |w| cap.write(w, cap.links())),
        None => Ok(()),
    }
}

fn ownership(case: &Object, keys: &[Identity]) -> Outcome {
    let wire = bytes(case, "hex")?;
    let fields = |own: &Ownership<'_>, fields: &Object| {
        known(
            fields,
            &[
                "network",
                "timestamp",
                "flags",
                "id",
                "things",
                "issued_to",
                "signer",
                "signature",
            ],
        )?;
        same("network", &own.network, &network(fields)?)?;
        same("time", &own.timestamp, &number(fields, "timestamp")?)?;
        same("flags", &own.flags, &hex64(at(fields, "flags"))?)?;
        same("id", &u64::from(own.id), &number(fields, "id")?)?;
        let ours: Vec<Thing> = own.things().collect();
        let theirs = list(fields, "things")?;
        same("things", &ours.len(), &theirs.len())?;
        for (ours, theirs) in ours.iter().zip(theirs) {
            same("kind", &Some(u64::from(ours.kind)), &theirs[0].as_u64())?;
            let value = unhex(theirs[1].as_str().unwrap_or_default())?;
            same("value", &ours.value.get(..value.len()), &Some(&value[..]))?;
        }
        let (to, by) = (own.issued_to.to_string(), own.signer.to_string());
        same("issued to", &to.as_str(), &text(fields, "issued_to")?)?;
        same("signer", &by.as_str(), &text(fields, "signer")?)?;
        signature_is(own.signature, fields)
    };
    let verified = |o: &Ownership<'_>, message: &[u8]| {
        o.network.controller() == Some(o.signer) && by(keys, o.signer, message, o.signature)
    };
    let signed = |o: &Ownership<'_>, b: &mut [u8]| o.signed_message(b);
    let Some(own) = credential(case, &wire, Ownership::read, fields, signed, verified)? else {
        return Ok(());
    };
    for pair in list(case, "owns")? {
        let name = pair[0].as_str().unwrap_or_default();
        let thing = match name.parse() {
            Ok(ip) => Thing::of_ip(ip),
            Err(_) => {
                let mac = unhex(&name.replace(':', ""))?;
                Thing::of_mac(Mac::new(mac.try_into().map_err(|_| "a MAC")?))
            }
        };
        same(name, &Some(own.owns(thing)), &pair[1].as_bool())?;
    }
    good_ones_are_written_as_they_were(case, &wire, |w| own.write(w))
}

fn revocation(case: &Object, keys: &[Identity]) -> Outcome {
    let wire = bytes(case, "hex")?;
    let fields = |rev: &Revocation<'_>, fields: &Object| {
        known(
            fields,
            &[
                "id",
                "network",
                "credential_id",
                "threshold",
                "flags",
                "target",
                "signer",
                "type",
                "signature",
            ],
        )?;
        same("id", &u64::from(rev.id), &number(fields, "id")?)?;
        same("network", &rev.network, &network(fields)?)?;
        let what = u64::from(rev.credential_id);
        same("credential", &what, &number(fields, "credential_id")?)?;
        same("threshold", &rev.threshold, &number(fields, "threshold")?)?;
        same("flags", &rev.flags, &hex64(at(fields, "flags"))?)?;
        same("type", &u64::from(rev.kind), &number(fields, "type")?)?;
        let (to, by) = (rev.target.to_string(), rev.signer.to_string());
        same("target", &to.as_str(), &text(fields, "target")?)?;
        same("signer", &by.as_str(), &text(fields, "signer")?)?;
        signature_is(rev.signature, fields)
    };
    let verified = |r: &Revocation<'_>, message: &[u8]| {
        r.network.controller() == Some(r.signer) && by(keys, r.signer, message, r.signature)
    };
    let signed = |r: &Revocation<'_>, b: &mut [u8]| r.signed_message(b);
    match credential(case, &wire, Revocation::read, fields, signed, verified)? {
        Some(rev) => good_ones_are_written_as_they_were(case, &wire, |w| rev.write(w)),
        None => Ok(()),
    }
}

/// What is filed, in which order, is up to a node. Here: what was filed as new verifies.
fn filing(case: &Object, keys: &[Identity]) -> Outcome {
    known(
        case,
        &[
            "own_com",
            "config_timestamp",
            "credential_window",
            "peer_identity",
            "steps",
        ],
    )?;
    for (n, step) in list(case, "steps")?.iter().enumerate() {
        let step = object(step)?;
        known(
            step,
            &[
                "add",
                "hex",
                "result",
                "is_member",
                "valid_tags_1_2",
                "com_threshold",
            ],
        )?;
        if text(step, "result")? != "new" {
            continue;
        }
        let wire = bytes(step, "hex")?;
        let mut reader = Reader::new(&wire);
        let mut message = [0; SIGNED_MAX_LEN];
        let good = match text(step, "add")? {
            "com" => {
                let com = Com::read(&mut reader).map_err(malformed)?;
                keys.iter().any(|key| com_verifies(&com, key))
            }
            "tag" => {
                let tag = Tag::read(&mut reader).map_err(malformed)?;
                let len = tag.signed_message(&mut message).map_err(malformed)?;
                by(keys, tag.signer, &message[..len], tag.signature)
            }
            "revocation" => {
                let rev = Revocation::read(&mut reader).map_err(malformed)?;
                let len = rev.signed_message(&mut message).map_err(malformed)?;
                by(keys, rev.signer, &message[..len], rev.signature)
            }
            other => return Err(format!("unknown credential {other}").into()),
        };
        check(&format!("step {n} verifies"), good)?;
    }
    Ok(())
}

// Requests.

fn request(case: &Object) -> Outcome {
    known(case, &["version", "holding", "to", "payload", "dictionary"])?;
    let payload = bytes(case, "payload")?;
    let request = ConfigRequest::parse(&payload).map_err(malformed)?;
    let to = Address::parse(text(case, "to")?);
    same("controller", &request.network.controller(), &to)?;
    same(
        "meta-data",
        &request.meta,
        &text(case, "dictionary")?.as_bytes(),
    )?;
    let held = |key: &str| {
        at(case, "holding")
            .get(key)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    same("revision", &request.revision, &held("revision"))?;
    same("time", &request.timestamp.unwrap_or(0), &held("timestamp"))?;
    same("written again", &written(|w| request.write(w))?, &payload)?;
    let modern = match text(case, "version")? {
        "1.14.1" => true,
        "1.0.5" => false,
        other => return Err(format!("unknown version {other}").into()),
    };
    check(
        "time is told since 1.2",
        request.timestamp.is_some() == modern,
    )?;
    let dialect = if modern {
        Dialect::Modern
    } else {
        Dialect::Old
    };
    let again = written(|w| {
        let mut out = DictWriter::new(w, dialect);
        for (key, value) in Dict::new(request.meta, dialect).entries() {
            let key = std::str::from_utf8(key).map_err(|_| Malformed::Value)?;
            match (key, modern) {
                ("o", _) => out.bytes(key, value.raw())?,
                (_, true) => out.number(key, value.number())?,
                (_, false) => out.short_number(key, value.number())?,
            }
        }
        Ok(())
    })?;
    same("dictionary again", &again.as_slice(), &request.meta)
}

fn meta_data(case: &Object) -> Outcome {
    known(case, &["name", "dictionary", "values", "numbers"])?;
    let meta = bytes(case, "dictionary")?;
    let dict = Dict::new(meta.get(..META_MAX).unwrap_or(&meta), Dialect::Modern);
    let values = object(at(case, "values"))?;
    for key in [
        "v", "vend", "pv", "majv", "minv", "revv", "mr", "revr", "o", "a",
    ] {
        let mut out = [0; META_MAX];
        let ours = dict.get(key).map(|value| value.unescape(&mut out));
        let ours = ours.transpose().map_err(malformed)?;
        // Whoever recorded them had room for 511 bytes.
        let ours = ours.map(|value| value.get(..511).unwrap_or(value));
        let theirs = values.get(key).and_then(Value::as_str).map(str::as_bytes);
        same(key, &ours, &theirs)?;
    }
    for (key, theirs) in object(at(case, "numbers"))? {
        same(key, &Some(dict.number(key, 0)), &theirs.as_u64())?;
    }
    Ok(())
}

// Rules as JSON.

/// What 1.14.1 leaves out without a word and ours takes (network 4.6): integer ranges under both
/// names, and priorities.
const ONLY_OURS: &[&str] = &["ACTION_PRIORITY", "INTEGER_RANGE", "MATCH_INTEGER_RANGE"];

fn rule(case: &Object) -> Outcome {
    known(case, &["posted", "stored", "binary"])?;
    let posted = json::Value::parse(&at(case, "posted").to_string()).map_err(malformed)?;
    let got = rules_json::parse(&posted);
    if at(case, "binary").is_null() {
        let name = posted.get("type").and_then(json::Value::as_str);
        let ours = name.is_some_and(|name| ONLY_OURS.contains(&name));
        // Ours says no to the rest, so that no set changes its meaning silently.
        return same("taken", &got.is_ok(), &ours);
    }
    let (rule, warning) = got.map_err(malformed)?;
    let binary = bytes(case, "binary")?;
    same("binary", &written(|w| rule.write(w))?, &binary)?;
    let stored = rules_json::render(&rule).ok_or("no name")?;
    let rendered: Value = serde_json::from_str(&stored.to_string()).map_err(malformed)?;
    same("stored", &rendered, at(case, "stored"))?;
    let read = Rule::read(&mut Reader::new(&binary)).map_err(malformed)?;
    same("of binary", &rules_json::render(&read), &Some(stored))?;
    // An `ip` without bits matches everything, here and there; ours warns.
    let ip = &at(case, "posted")["ip"];
    let bits = ip.as_str().is_some_and(|ip| ip.contains('/'));
    let bare = at(case, "stored")["ip"].is_string() && !bits;
    check("a prefix of 0 is warned of", !bare || warning.is_some())
}
