//! The simulated controller of the scenarios: what it makes is read back by the parsers and
//! verifies, and it does with a request what it was told to do.
#![allow(missing_docs)]

mod sim;

use std::cell::RefCell;
use std::rc::Rc;

use sim::controller::{
    ACCEPT, Answer, BRIDGE, Controller, Delivery, Net, Order, Revoked, RouteTo, chunks, com,
    dictionary, old_dictionary, revocation, revocations,
};
use sim::{Datagram, World, at, identity, planet};
use zt::base::{Address, NetworkId, PacketId};
use zt::crypto::agree::agree;
use zt::crypto::armor::{self, SessionKeys};
use zt::crypto::sign;
use zt::wire::control::{ErrorReply, OkReply};
use zt::wire::credential::{COM_MAX_LEN, SIGNED_MAX_LEN, Thing, com_from_text};
use zt::wire::credential::{Capability, Com, Credential, Credentials, Ownership, Revocation, Tag};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::dict::{Dialect, Dict};
use zt::wire::fragment::FRAGMENT_HEADER_LEN;
use zt::wire::identity::SecretIdentity;
use zt::wire::inet;
use zt::wire::netconf::{Chunk, ConfigRequest, Signed, parse_error, refresh};
use zt::wire::packet::{self, HEADER_LEN, Suite, VERB_AT};
use zt::wire::verb::{ErrorCode, Verb};

const C: usize = 40;
const NOW: u64 = 1_790_000_000_000;

fn controller() -> (Controller, NetworkId) {
    let mut controller = Controller::new(C, "192.0.2.7:9993");
    let id = controller.create(1);
    (controller, id)
}

fn value(text: &[u8], key: &str) -> Vec<u8> {
    let dict = Dict::new(text, Dialect::Modern);
    let value = dict.get(key).unwrap_or_else(|| panic!("no {key}"));
    value.bytes().collect()
}

fn verify(
    signer: &SecretIdentity,
    signature: Option<&[u8; 96]>,
    message: impl FnOnce(&mut [u8]) -> Result<usize, zt::wire::Malformed>,
) -> bool {
    let mut buffer = [0; SIGNED_MAX_LEN];
    let len = message(&mut buffer).expect("room");
    let signature = signature.expect("of the known kind");
    sign::verify(&signer.identity.public, &[&buffer[..len]], signature).is_ok()
}

/// A network with everything that a configuration may hold, and a member that has it all.
fn rich(id: NetworkId, member: Address) -> Net {
    let mut net = Net::new(id);
    net.window = 600_000;
    net.revision = 0x76c;
    net.mtu = 1_400;
    net.specialists = vec![BRIDGE | member.get()];
    net.capabilities = vec![(9, ACCEPT.to_vec()), (10, vec![0x25, 2, 8, 0, 1, 0])];
    net.routes = vec![
        RouteTo {
            target: at("10.5.0.0:16"),
            via: None,
            flags: 0,
            metric: 0,
        },
        RouteTo {
            target: at("[2001:db8::]:32"),
            via: Some(at("[fd00::1]:0")),
            flags: 3,
            metric: 4,
        },
    ];
    net.dns = Some(("lan.example".into(), vec!["10.5.0.53".parse().expect("ip")]));
    let record = net.member(member);
    record.authorised = true;
    record.addresses = vec![at("10.5.0.2:16"), at("[fd00::2]:64")];
    record.tags = vec![(1, 100), (2, 0xffff_ffff)];
    record.capabilities = vec![10];
    net
}

#[test]
fn a_dictionary_holds_what_the_network_and_the_member_have() {
    let (controller, id) = controller();
    let member = identity(1).identity;
    let net = rich(id, member.address);
    let text = dictionary(&controller.secret, &net, &member, NOW);
    let dict = Dict::new(&text, Dialect::Modern);
    assert_eq!(dict.number("v", 0), 7);
    assert_eq!(dict.number("nwid", 0), id.get());
    assert_eq!(dict.number("id", 0), member.address.get());
    assert_eq!(
        (dict.number("ts", 0), dict.number("ctmd", 0)),
        (NOW, 600_000)
    );
    assert_eq!((dict.number("r", 0), dict.number("mtu", 0)), (0x76c, 1_400));
    assert_eq!((dict.number("t", 9), dict.number("f", 0)), (0, 2));
    assert_eq!(dict.get("r").expect("r").raw(), b"000000000000076c");
    assert_eq!(value(&text, "n"), b"simulated");
    assert_eq!(value(&text, "R"), ACCEPT);
    assert_eq!(
        value(&text, "S"),
        (BRIDGE | member.address.get()).to_be_bytes()
    );

    let routes = value(&text, "RT");
    let mut reader = Reader::new(&routes);
    for route in &net.routes {
        assert_eq!(inet::read(&mut reader), Ok(Some(route.target)));
        assert_eq!(inet::read(&mut reader), Ok(route.via));
        assert_eq!(reader.u16(), Ok(route.flags));
        assert_eq!(reader.u16(), Ok(route.metric));
    }
    assert!(reader.is_empty());

    let addresses = value(&text, "I");
    let mut reader = Reader::new(&addresses);
    assert_eq!(inet::read(&mut reader), Ok(Some(at("10.5.0.2:16"))));
    assert_eq!(inet::read(&mut reader), Ok(Some(at("[fd00::2]:64"))));
    assert!(reader.is_empty());

    let dns = value(&text, "DNS");
    assert_eq!(
        (&dns[..12], dns.len()),
        (&b"lan.example\0"[..], 128 + 7 + 3)
    );
    let mut reader = Reader::new(&dns[128..]);
    assert_eq!(inet::read(&mut reader), Ok(Some(at("10.5.0.53:53"))));
}

#[test]
fn credentials_of_a_dictionary_verify() {
    let (controller, id) = controller();
    let member = identity(1).identity;
    let secret = &controller.secret;
    let text = dictionary(secret, &rich(id, member.address), &member, NOW);

    let com = value(&text, "C");
    assert_eq!(com.len(), 272);
    let com = Com::read(&mut Reader::new(&com)).expect("a certificate");
    let (signer, signature) = com.signed.expect("signed");
    assert_eq!(signer, controller.address());
    let message = com.signed_message();
    sign::verify(&secret.identity.public, &[message], signature).expect("signed well");
    assert_eq!(
        (com.network(), com.issued_to()),
        (Some(id), Some(member.address))
    );
    assert!(com.agrees_with(&com, &sign::fingerprint(&member)));
    assert!(!com.agrees_with(&com, &sign::fingerprint(&secret.identity)));

    let tags = value(&text, "TAG");
    assert_eq!(tags.len(), 2 * 135);
    let mut reader = Reader::new(&tags);
    for expected in [(1, 100), (2, 0xffff_ffff)] {
        let tag = Tag::read(&mut reader).expect("a tag");
        assert_eq!((tag.id, tag.value), expected);
        assert!(verify(secret, tag.signature, |b| tag.signed_message(b)));
    }

    let caps = value(&text, "CAP");
    let mut reader = Reader::new(&caps);
    let cap = Capability::read(&mut reader).expect("a capability");
    assert!(reader.is_empty(), "the member has one of the two");
    assert_eq!((cap.id, cap.rules.len()), (10, 2));
    assert_eq!(cap.issued_to(), Some(member.address));
    let link = cap.links().next().expect("a link");
    assert!(verify(secret, link.signature, |b| cap.signed_message(b)));

    let own = value(&text, "COO");
    let own = Ownership::read(&mut Reader::new(&own)).expect("a certificate");
    assert!(verify(secret, own.signature, |b| own.signed_message(b)));
    assert!(own.owns(Thing::of_ip("fd00::2".parse().expect("ip"))));
    assert_eq!(own.things().count(), 2);
}

#[test]
fn a_public_network_has_no_certificate_and_keys_can_be_put_instead() {
    let (controller, id) = controller();
    let member = identity(1).identity;
    let mut net = Net::new(id);
    net.public = true;
    net.instead = vec![("mtu", b"578".to_vec()), ("zz", b"a=b".to_vec())];
    let text = dictionary(&controller.secret, &net, &member, NOW);
    let dict = Dict::new(&text, Dialect::Modern);
    assert!(dict.get("C").is_none() && dict.get("CAP").is_none());
    assert_eq!((dict.number("t", 0), dict.number("mtu", 0)), (1, 0x578));
    assert_eq!(dict.entries().filter(|e| e.0 == b"mtu").count(), 1);
    assert_eq!(value(&text, "zz"), b"a=b");
}

#[test]
fn the_old_form_has_its_keys_and_a_certificate_as_text() {
    let (controller, id) = controller();
    let member = identity(1).identity;
    let mut net = rich(id, member.address);
    net.fingerprints = false;
    let text = old_dictionary(&controller.secret, &net, &member, NOW);
    assert_eq!(text.last(), Some(&b'\n'));
    let dict = Dict::new(&text, Dialect::Old);
    for key in ["nwid", "ts", "id", "n", "et"] {
        assert!(dict.get(key).is_some(), "{key} is required");
    }
    assert!(dict.get("v").is_none());
    let get = |key: &str| -> Vec<u8> { dict.get(key).expect("a key").bytes().collect() };
    assert_eq!(get("v4s"), b"10.5.0.2/16");
    assert_eq!(get("v6s"), b"fd00::2/64");
    assert_eq!(get("ab"), member.address.to_string().into_bytes());
    let com = String::from_utf8(get("com")).expect("text");
    let mut bytes = [0; COM_MAX_LEN];
    let mut writer = Writer::new(&mut bytes);
    com_from_text(&com, &mut writer).expect("a certificate");
    let com = Com::read(&mut Reader::new(writer.written())).expect("a certificate");
    let (_, signature) = com.signed.expect("signed");
    let message = com.signed_message();
    sign::verify(&controller.secret.identity.public, &[message], signature).expect("signed well");
    assert_eq!(com.qualifiers().count(), 3);
    assert_eq!(com.issued_to(), Some(member.address));
}

fn valid(secret: &SecretIdentity, body: &[u8]) -> bool {
    let chunk = Chunk::parse(body).expect("a chunk");
    let signed = chunk.signed.expect("signed");
    sign::verify(&secret.identity.public, &[signed.message], signed.signature).is_ok()
}

#[test]
fn chunks_cover_the_dictionary_and_verify() {
    let (controller, id) = controller();
    let text: Vec<u8> = (0..2_500u32).map(|n| b'a' + (n % 23) as u8).collect();
    let how = Delivery {
        chunk: 1_000,
        order: Order::Backward,
        flags: Signed::PASS_ON,
        ..Delivery::default()
    };
    let bodies = chunks(&controller.secret, id, &text, 77, &how);
    assert_eq!(bodies.len(), 3);
    let mut whole = vec![0; text.len()];
    let mut before = u32::MAX;
    for body in &bodies {
        assert!(valid(&controller.secret, body));
        let chunk = Chunk::parse(body).expect("a chunk");
        let signed = chunk.signed.expect("signed");
        assert_eq!(
            (chunk.network, signed.update, signed.total),
            (id, 77, 2_500)
        );
        assert_eq!(signed.flags, Signed::PASS_ON);
        assert!(signed.position < before, "backward");
        before = signed.position;
        let at = signed.position as usize;
        whole[at..at + chunk.data.len()].copy_from_slice(chunk.data);
    }
    assert_eq!(whole, text);
}

#[test]
fn chunks_are_damaged_as_told() {
    let (controller, id) = controller();
    let secret = &controller.secret;
    let text = [b'x'; 30];
    let make = |how: Delivery| {
        let how = Delivery { chunk: 10, ..how };
        chunks(secret, id, &text, 5, &how)
    };
    let validity = |how: Delivery| -> Vec<bool> {
        let bodies = make(how);
        bodies.iter().map(|body| valid(secret, body)).collect()
    };
    let corrupt = Delivery {
        corrupt: Some(1),
        ..Delivery::default()
    };
    assert_eq!(validity(corrupt), [true, false, true]);
    let altered = Delivery {
        altered: Some(2),
        ..Delivery::default()
    };
    assert_eq!(validity(altered), [true, true, false]);
    let foreign = Delivery {
        signer: Some(C + 1),
        ..Delivery::default()
    };
    assert_eq!(validity(foreign), [false; 3]);

    let order = make(Delivery {
        order: Order::Exactly(vec![2, 0, 0]),
        ..Delivery::default()
    });
    let positions: Vec<u32> = order
        .iter()
        .map(|b| {
            Chunk::parse(b)
                .expect("a chunk")
                .signed
                .expect("signed")
                .position
        })
        .collect();
    assert_eq!(positions, [20, 0, 0]);
    assert_eq!(order[1], order[2], "a duplicate has the same signature");

    let off = make(Delivery {
        total_off: 7,
        position_off: 1,
        ..Delivery::default()
    });
    let last = Chunk::parse(&off[2])
        .expect("a chunk")
        .signed
        .expect("signed");
    assert_eq!((last.total, last.position), (37, 21));
    let unsigned = make(Delivery {
        unsigned: true,
        ..Delivery::default()
    });
    assert_eq!(Chunk::parse(&unsigned[0]).expect("a chunk").signed, None);
}

#[test]
fn revocations_come_in_a_packet_of_credentials() {
    let (controller, id) = controller();
    let target = identity(1).identity.address;
    let what = Revoked::membership(target, NOW);
    let one = revocation(&controller.secret, id, 3, what);
    assert_eq!(one.len(), Revocation::LEN);
    let payload = revocations(&[one.clone(), one]);
    let list: Vec<Credential<'_>> = Credentials::new(&payload)
        .map(|c| c.expect("well-formed"))
        .collect();
    assert_eq!(list.len(), 2);
    let Credential::Paper(paper) = list[0] else {
        panic!("a revocation");
    };
    assert!(paper.revokes && paper.kind == Revocation::COM);
    let read = Revocation::read(&mut Reader::new(paper.bytes)).expect("a revocation");
    assert_eq!((read.target, read.threshold), (target, NOW));
    assert_eq!((read.kind, read.flags), (Revocation::COM, Revocation::FAST));
    assert!(verify(&controller.secret, read.signature, |b| read
        .signed_message(b)));
    let mut message = [0; 256];
    let len = read.signed_message(&mut message).expect("room");
    assert_eq!(paper.signed(&[]).concat(), message[..len]);
}

/// What is said to the host, and the keys of its talk with the controller.
struct Tapped {
    keys: SessionKeys,
    heard: Rc<RefCell<Vec<Datagram>>>,
}

impl Tapped {
    fn new(world: &mut World, controller: &Controller) -> Self {
        let key = agree(&identity(1), &controller.secret.identity).expect("keys");
        let heard = Rc::new(RefCell::new(Vec::new()));
        let tap = Rc::clone(&heard);
        let from = at("192.0.2.7:9993");
        world.filter = Box::new(move |d| {
            if d.from == from {
                tap.borrow_mut().push(d.clone());
            }
            true
        });
        Self {
            keys: SessionKeys::new(&key),
            heard,
        }
    }

    /// A request of the host, as if it had just been sent.
    fn ask(&self, world: &mut World, controller: &Controller, network: NetworkId, n: u64) {
        let mut bytes = vec![0; HEADER_LEN + 200];
        let mut writer = Writer::new(&mut bytes[HEADER_LEN..]);
        let request = ConfigRequest {
            network,
            meta: b"v=7\nmajv=1",
            revision: 4,
            timestamp: Some(5),
        };
        request.write(&mut writer).expect("room");
        let len = HEADER_LEN + writer.len();
        bytes.truncate(len);
        bytes[VERB_AT] = Verb::NetworkConfigRequest as u8;
        let (to, from) = (controller.address(), world.address(0));
        packet::write_header(&mut bytes, PacketId::new(n), to, from, 0).expect("room");
        armor::seal(&self.keys, Suite::Salsa, &mut bytes);
        let datagram = Datagram {
            at: world.now,
            from: world.hosts[0].sockets[0],
            to: at("192.0.2.7:9993"),
            bytes,
            ttl: None,
        };
        world.hosts[0].sent.push(datagram);
    }

    /// Verb and payload of every packet heard, pieces put together.
    fn packets(&self) -> Vec<(Verb, Vec<u8>)> {
        let mut whole: Vec<Vec<u8>> = Vec::new();
        for datagram in self.heard.borrow_mut().drain(..) {
            if datagram.bytes[13] == 0xff {
                let packet = whole.last_mut().expect("a head before");
                packet.extend_from_slice(&datagram.bytes[FRAGMENT_HEADER_LEN..]);
            } else {
                whole.push(datagram.bytes);
            }
        }
        let open = |mut bytes: Vec<u8>| {
            armor::open(&self.keys, &mut bytes).expect("sealed for the host");
            let verb = Verb::from_byte(bytes[VERB_AT]).expect("a verb");
            (verb, bytes[HEADER_LEN..].to_vec())
        };
        whole.into_iter().map(open).collect()
    }
}

/// What one request brings.
fn answer_to(change: impl FnOnce(&mut Controller, NetworkId)) -> Vec<(Verb, Vec<u8>)> {
    let (mut controller, id) = controller();
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    world.add(1, &["198.51.100.1:9993"]);
    change(&mut controller, id);
    let tapped = Tapped::new(&mut world, &controller);
    tapped.ask(&mut world, &controller, id, 99);
    controller.serve(&mut world, 1);
    assert_eq!(controller.times(0, id), [sim::START]);
    let last = controller.last(0).expect("the request");
    assert_eq!((last.revision, last.timestamp), (4, Some(5)));
    assert_eq!((last.number("v"), last.number("minv")), (Some(7), None));
    tapped.packets()
}

fn refusal(change: impl FnOnce(&mut Controller, NetworkId)) -> (u8, Option<Vec<u8>>) {
    let answers = answer_to(change);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, Verb::Error);
    let reply = ErrorReply::parse(&answers[0].1).expect("an error");
    assert_eq!(reply.verb, Verb::NetworkConfigRequest as u8);
    assert_eq!(reply.id, PacketId::new(99));
    let (network, dictionary) = parse_error(reply.body).expect("a network");
    assert_eq!(network, controller().1);
    (reply.code, dictionary.map(<[u8]>::to_vec))
}

#[test]
fn requests_are_refused_as_told() {
    let with = |answer: Answer| {
        move |c: &mut Controller, id| {
            c.net(id).answer = answer;
        }
    };
    assert_eq!(
        refusal(|_, _| {}),
        (ErrorCode::NetworkAccessDenied as u8, None)
    );
    assert_eq!(refusal(with(Answer::Unknown)).0, 3);
    assert_eq!(refusal(with(Answer::NotController)).0, 5);
    assert_eq!(refusal(with(Answer::Denied)).0, 7);
    assert_eq!(refusal(with(Answer::SignOn(None))), (9, None));
    let url = "https://sign.example/?a=b";
    let (code, text) = refusal(with(Answer::SignOn(Some(url.into()))));
    let text = text.expect("a dictionary");
    assert_eq!((code, value(&text, "aU")), (9, url.as_bytes().to_vec()));
    assert_eq!(Dict::new(&text, Dialect::Modern).number("aV", 9), 0);
    assert_eq!(refusal(|c, _| c.networks.clear()).0, 3);
    assert!(answer_to(with(Answer::Silence)).is_empty());
    assert!(answer_to(|c, id| c.net(id).answer = Answer::Silence).is_empty());
}

#[test]
fn a_members_own_answer_goes_before_that_of_the_network() {
    let me = identity(1).identity.address;
    let (code, _) = refusal(|c, id| {
        c.net(id).public = true;
        c.net(id).member(me).answer = Some(Answer::Unknown);
    });
    assert_eq!(code, 3);
}

#[test]
fn a_member_gets_its_configuration_in_ok_to_its_request() {
    let me = identity(1).identity.address;
    let answers = answer_to(|c, id| {
        let net = c.net(id);
        net.member(me).authorised = true;
        // More than one datagram per chunk, more than one chunk.
        net.rules = ACCEPT.repeat(1_000);
        net.delivery.chunk = 1_500;
    });
    let (controller, id) = controller();
    assert!(answers.len() > 1);
    let mut text = Vec::new();
    for (verb, payload) in &answers {
        assert_eq!(*verb, Verb::Ok);
        let reply = OkReply::parse(payload).expect("an OK");
        assert_eq!(reply.verb, Verb::NetworkConfigRequest as u8);
        assert_eq!(reply.id, PacketId::new(99));
        assert!(valid(&controller.secret, reply.body));
        text.extend_from_slice(Chunk::parse(reply.body).expect("a chunk").data);
    }
    let dict = Dict::new(&text, Dialect::Modern);
    assert_eq!(dict.number("nwid", 0), id.get());
    assert_eq!(value(&text, "R").len(), 2_000);
}

#[test]
fn the_old_answer_is_one_unsigned_chunk() {
    let answers = answer_to(|c, id| c.net(id).answer = Answer::Old);
    assert_eq!(answers.len(), 1);
    let reply = OkReply::parse(&answers[0].1).expect("an OK");
    let chunk = Chunk::parse(reply.body).expect("a chunk");
    assert_eq!(chunk.signed, None);
    assert!(Dict::new(chunk.data, Dialect::Old).get("et").is_some());
}

#[test]
fn what_is_pushed_has_its_own_verbs() {
    let (mut controller, id) = controller();
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    world.add(1, &["198.51.100.1:9993"]);
    controller.authorise(&world, id, 0, Some("10.1.0.2/24"));
    let tapped = Tapped::new(&mut world, &controller);
    controller.push(&mut world, 0, id);
    controller.refresh(&mut world, 0, &[id]);
    let target = world.address(0);
    controller.revoke(&mut world, &[0], id, Revoked::membership(target, 5));
    let packets = tapped.packets();
    let verbs: Vec<Verb> = packets.iter().map(|p| p.0).collect();
    let config = Verb::NetworkConfig;
    assert_eq!(verbs, [config, config, Verb::NetworkCredentials]);
    assert!(valid(&controller.secret, &packets[0].1));
    let ids: Vec<NetworkId> = refresh(&packets[1].1).expect("a refresh").collect();
    assert_eq!(ids, [id]);
    assert_eq!(Credentials::new(&packets[2].1).count(), 1);
    controller.up = false;
    tapped.ask(&mut world, &controller, id, 7);
    controller.serve(&mut world, 1);
    assert!(controller.asked.is_empty(), "nobody is there to hear it");
}

#[test]
fn a_host_meets_the_controller_without_a_root() {
    let (mut controller, id) = controller();
    let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
    let host = world.add(1, &["198.51.100.1:9993"]);
    controller.meet(&mut world, host);
    assert!(world.is_direct_to(host, controller.address()));
    let com = com(
        &controller.secret,
        id,
        &identity(1).identity,
        (NOW, 1),
        false,
    );
    assert_eq!(com.len(), 176);
}
