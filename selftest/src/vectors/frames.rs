//! Vectors of frames: what goes where, what is taken, whom a private network lets in.

use serde_json::Value;
use zt::base::{Address, Mac, NetworkId};
use zt::node::DropReason;
use zt::node::network::probe::{Probe, Recorder, Sent};
use zt::wire::Malformed;
use zt::wire::credential::{Bundle, Com};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::dict::{Dialect, DictWriter};
use zt::wire::frames::Ethernet;
use zt::wire::identity::Identity;
use zt::wire::verb::Verb;

use super::Run;
use super::fields::{
    Miss, Object, Outcome, bytes, flag, known, list, number, object, same, text, unhex,
};
use super::networks::{at, identity};

/// What stands for the best upstream in the recording.
const ROOT: &str = "00000000ee";

/// From the file `network-com`: who governs the network, and who is who.
struct People {
    all: Vec<Identity>,
}

impl Run {
    /// `network-frames`; names of the parts that were run. `others`: the file `network-com`,
    /// which has the identities.
    pub(super) fn frames(
        &mut self,
        file: &Object,
        others: Option<&Object>,
    ) -> &'static [&'static str] {
        let ids = address(file, "self").and_then(|me| Ok((me, super::members::network(file)?)));
        let (me, id) = match ids {
            Ok(ids) => ids,
            Err(why) => {
                self.case("file", Err(why));
                return PARTS;
            }
        };
        self.each(file, "outbound", |case| outbound(file, case, me, id));
        self.each(file, "inbound", |case| inbound(file, case, me, id));
        match others
            .ok_or(Miss::from("no network-com"))
            .and_then(People::of)
        {
            Ok(people) => self.each(file, "gate", |case| gate(file, case, me, id, &people)),
            Err(why) => self.case("gate", Err(why)),
        }
        PARTS
    }
}

const PARTS: &[&str] = &["self", "network", "peers", "outbound", "inbound", "gate"];

impl People {
    fn of(file: &Object) -> Result<Self, Miss> {
        let mut all = vec![identity(text(file, "controller")?)?];
        for case in list(file, "identity_fields")? {
            all.push(identity(text(object(case)?, "identity")?)?);
        }
        Ok(Self { all })
    }
}

fn address(case: &Object, key: &str) -> Result<Address, Miss> {
    address_of(at(case, key))
}

fn address_of(value: &Value) -> Result<Address, Miss> {
    let text = value.as_str().ok_or("no text")?;
    Address::parse(text).ok_or(format!("no address: {text}").into())
}

fn root() -> Result<Address, Miss> {
    Address::parse(ROOT).ok_or("root".into())
}

fn peer(file: &Object, n: usize) -> Result<Address, Miss> {
    address_of(list(file, "peers")?.get(n).unwrap_or(&Value::Null))
}

fn mac(value: &Value) -> Result<Mac, Miss> {
    let digits = value.as_str().ok_or("no MAC")?.replace(':', "");
    let bytes: [u8; 6] = unhex(&digits)?.try_into().map_err(|_| "length of a MAC")?;
    Ok(Mac::new(bytes))
}

fn ethernet(case: &Object) -> Result<Ethernet, Miss> {
    Ok(Ethernet {
        to: mac(at(case, "mac_destination"))?,
        from: mac(at(case, "mac_source"))?,
        ethertype: number(case, "ethertype")?
            .try_into()
            .map_err(|_| "ethertype")?,
    })
}

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>) -> Result<Vec<u8>, Miss> {
    let mut bytes = vec![0; 16 * 1024];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer).map_err(super::fields::malformed)?;
    Ok(writer.written().to_vec())
}

/// The configuration of a case, as a file.
fn dictionary(me: Address, id: NetworkId, config: &Object) -> Result<Vec<u8>, Miss> {
    known(
        config,
        &["name", "flags", "multicast_limit", "rules", "specialists"],
    )?;
    let mut specialists = Vec::new();
    for entry in list(config, "specialists")? {
        specialists.extend(unhex(entry.as_str().ok_or("no text")?)?);
    }
    let rules = bytes(config, "rules")?;
    let (flags, limit) = (number(config, "flags")?, number(config, "multicast_limit")?);
    written(|w| {
        let mut dict = DictWriter::new(w, Dialect::Modern);
        dict.number("v", 7)?;
        dict.number("nwid", id.get())?;
        dict.address("id", me.get())?;
        dict.number("ts", 1)?;
        dict.number("f", flags)?;
        dict.number("ml", limit)?;
        dict.number("t", 1)?;
        dict.bytes("S", &specialists)?;
        dict.bytes("R", &rules)
    })
}

fn public(me: Address, id: NetworkId, config: &Value) -> Result<Probe, Miss> {
    let stored = dictionary(me, id, object(config)?)?;
    joined(Recorder::new(me, root()?), id, &stored)
}

fn joined(around: Recorder, id: NetworkId, stored: &[u8]) -> Result<Probe, Miss> {
    let mut probe = Probe::new(around);
    probe.join(id, Some(stored)).map_err(|_| "full")?;
    probe.around.sent.clear();
    Ok(probe)
}

/// Frames for the tap; those without bytes of their own are what came out of it.
fn to_tap(case: &Object) -> Result<Vec<Vec<u8>>, Miss> {
    let mut all = Vec::new();
    for frame in list(case, "to_tap")? {
        let frame = object(frame)?;
        let payload = if at(frame, "frame").is_string() {
            frame
        } else {
            case
        };
        all.push([&ethernet(frame)?.to_bytes()[..], &bytes(payload, "frame")?].concat());
    }
    Ok(all)
}

fn tapped(probe: &mut Probe) -> Vec<Vec<u8>> {
    probe.around.frames.drain(..).map(|f| f.1).collect()
}

/// What goes to others besides the announcement of groups, which the recording left out.
fn sent(probe: &mut Probe) -> Vec<Sent> {
    let beside = |s: &Sent| s.1 != Verb::MulticastLike && s.1 != Verb::NetworkConfigRequest;
    probe.around.sent.drain(..).filter(beside).collect()
}

fn verb(name: &str) -> Result<Verb, Miss> {
    Ok(match name {
        "FRAME" => Verb::Frame,
        "EXT_FRAME" => Verb::ExtFrame,
        "MULTICAST_FRAME" => Verb::MulticastFrame,
        "MULTICAST_GATHER" => Verb::MulticastGather,
        verb => return Err(format!("verb {verb}").into()),
    })
}

fn outbound(file: &Object, case: &Object, me: Address, id: NetworkId) -> Outcome {
    known(
        case,
        &[
            "name",
            "config",
            "mac_source",
            "mac_destination",
            "ethertype",
            "frame",
            "known_group_members",
            "sent",
            "to_tap",
        ],
    )?;
    let mut probe = public(me, id, at(case, "config"))?;
    let (header, frame) = (ethernet(case)?, bytes(case, "frame")?);
    if text(case, "name")?.contains("route learned to peer 1") {
        probe.learn(id, header.to, peer(file, 1)?);
    }
    for member in list(case, "known_group_members")? {
        probe.listens(id, header, &frame, address_of(member)?);
    }
    probe.frame(id, header, &frame);
    let mut theirs = Vec::new();
    for packet in list(case, "sent")? {
        let packet = object(packet)?;
        let to = match text(packet, "to")? {
            "root" => root()?,
            to => Address::parse(to).ok_or("no address")?,
        };
        theirs.push(Sent(
            to,
            verb(text(packet, "verb")?)?,
            bytes(packet, "payload")?,
        ));
    }
    same("sent", &sent(&mut probe), &theirs)?;
    same("to the tap", &tapped(&mut probe), &to_tap(case)?)
}

fn inbound(file: &Object, case: &Object, me: Address, id: NetworkId) -> Outcome {
    known(
        case,
        &[
            "name",
            "config",
            "verb",
            "payload",
            "malformed",
            "to_tap",
            "learned_routes",
            "replies",
        ],
    )?;
    let peer = peer(file, 0)?;
    let mut probe = public(me, id, at(case, "config"))?;
    let member = probe.packet(peer, verb(text(case, "verb")?)?, &bytes(case, "payload")?);
    let malformed = flag(case, "malformed")?;
    let dropped = probe.around.drops.contains(&DropReason::Malformed);
    same("malformed", &dropped, &malformed)?;
    same("member", &member, &!malformed)?;
    let mut theirs = to_tap(case)?;
    // It takes any destination from a bridge; we do not (network 8, 21).
    let name = text(case, "name")?;
    let config = text(object(at(case, "config"))?, "name")?;
    let foreign = name == "ext source foreign, destination foreign";
    if foreign && !config.starts_with("self") {
        theirs.clear();
    }
    same("to the tap", &tapped(&mut probe), &theirs)?;
    let mut learned = Vec::new();
    for route in list(case, "learned_routes")? {
        learned.push((mac(&route[0])?, address_of(&route[1])?));
    }
    same("learned", &probe.learned(id), &learned)?;
    replies(&mut probe, peer, case)
}

/// Answers to the peer, as the recording names them.
fn replies(probe: &mut Probe, peer: Address, case: &Object) -> Outcome {
    let name = |s: Sent| match (s.1, s.2.get(9)) {
        (Verb::Ok, _) => "OK".to_owned(),
        (Verb::Error, Some(code)) => format!("ERROR {code}"),
        (verb, _) => format!("{verb:?}"),
    };
    let to_peer = sent(probe).into_iter().filter(|s| s.0 == peer);
    // Own credentials are shown at the first occasion.
    let ours: Vec<_> = to_peer
        .filter(|s| s.1 != Verb::NetworkCredentials)
        .map(name)
        .collect();
    let theirs = list(case, "replies")?.iter();
    let theirs: Vec<_> = theirs
        .map(|r| r.as_str().unwrap_or_default().to_owned())
        .collect();
    same("replies", &ours, &theirs)
}

fn gate(file: &Object, case: &Object, me: Address, id: NetworkId, people: &People) -> Outcome {
    known(
        case,
        &[
            "name",
            "verb",
            "payload",
            "own_com",
            "peer_com_on_file",
            "com_threshold",
            "malformed",
            "to_tap",
            "replies",
            "kept_for_retry",
        ],
    )?;
    let peer = peer(file, 0)?;
    let own = bytes(case, "own_com")?;
    let issued = Com::read(&mut Reader::new(&own)).map_err(super::fields::malformed)?;
    let timestamp = issued.timestamp().ok_or("a time")?;
    let stored = written(|w| {
        let mut dict = DictWriter::new(w, Dialect::Modern);
        dict.number("v", 7)?;
        dict.number("nwid", id.get())?;
        dict.address("id", me.get())?;
        dict.number("ts", timestamp)?;
        dict.number("f", 2)?;
        dict.number("ml", 32)?;
        dict.number("t", 0)?;
        dict.bytes("C", &own)?;
        dict.bytes("R", &[1, 0])
    })?;
    let mut around = Recorder::new(me, root()?);
    around.identities.clone_from(&people.all);
    let mut probe = joined(around, id, &stored)?;
    let threshold = number(case, "com_threshold")?;
    if threshold != 0 {
        probe.revoke(id, peer, threshold);
    }
    if let Ok(com) = bytes(case, "peer_com_on_file") {
        let bundle = Bundle {
            com: Some(&com),
            ..Bundle::default()
        };
        probe.packet(
            peer,
            Verb::NetworkCredentials,
            &written(|w| bundle.write(w))?,
        );
    }
    let payload = bytes(case, "payload")?;
    probe.packet(peer, verb(text(case, "verb")?)?, &payload);
    let dropped = probe.around.drops.contains(&DropReason::Malformed);
    same("malformed", &dropped, &flag(case, "malformed")?)?;
    let frames = tapped(&mut probe).len() as u64;
    same("to the tap", &frames, &number(case, "to_tap")?)?;
    replies(&mut probe, peer, case)?;
    same(
        "kept",
        &probe.keeps(id, peer),
        &flag(case, "kept_for_retry")?,
    )
}
