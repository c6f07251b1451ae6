//! A peer that does only what the test says: it seals and opens packets with its own identity.

use std::net::SocketAddr;

use zt::base::{Address, PacketId};
use zt::crypto::agree::agree;
use zt::crypto::armor::{self, SessionKeys};
use zt::node::SocketId;
use zt::wire::control;
use zt::wire::cursor::Writer;
use zt::wire::hello::{self, HelloFields};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::lz4;
use zt::wire::packet::{self, HEADER_LEN, Header, Suite, VERB_AT};
use zt::wire::verb::{ErrorCode, Verb};

use super::{Datagram, PLANET_ID, World, at, identity};

/// A packet that the node under test sent to the scripted peer.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: u64,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub verb: Verb,
    pub payload: Vec<u8>,
    pub id: PacketId,
    pub ttl: Option<u8>,
}

pub struct Scripted {
    pub secret: SecretIdentity,
    pub place: SocketAddr,
    pub protocol: u8,
    pub version: (u8, u8, u16),
    keys: SessionKeys,
    x: Address,
    next: u64,
    /// What was sent before this is not looked at.
    mark: usize,
}

impl Scripted {
    /// Peer number `n` (see `identity`) that talks to `host`.
    pub fn new(world: &World, host: usize, n: usize, place: &str) -> Self {
        let secret = identity(n);
        let x = *world.hosts[host].node.identity();
        let key = agree(&secret, &x).expect("keys of both");
        Self {
            keys: SessionKeys::new(&key),
            place: at(place),
            protocol: 12,
            version: (1, 14, 1),
            x: x.address,
            next: 0x1000 * n as u64 + 77,
            mark: 0,
            secret,
        }
    }

    pub fn address(&self) -> Address {
        self.secret.identity.address
    }

    fn id(&mut self) -> PacketId {
        self.next += 0x0123_4567_89ab;
        PacketId::new(self.next)
    }

    /// A sealed packet; its id on the wire.
    pub fn packet(&mut self, verb: Verb, payload: &[u8], suite: Suite) -> (PacketId, Vec<u8>) {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[VERB_AT] = verb as u8;
        bytes.extend_from_slice(payload);
        let id = self.id();
        packet::write_header(&mut bytes, id, self.x, self.address(), 0).expect("room");
        armor::seal(&self.keys, suite, &mut bytes);
        let id = Header::parse(&bytes).expect("a header").id;
        (id, bytes)
    }

    /// Says something to the host, from its usual place.
    pub fn say(&mut self, world: &mut World, host: usize, verb: Verb, payload: &[u8]) -> PacketId {
        let place = self.place;
        self.say_from(world, host, place, 0, verb, payload)
    }

    pub fn say_from(
        &mut self,
        world: &mut World,
        host: usize,
        place: SocketAddr,
        hops: u8,
        verb: Verb,
        payload: &[u8],
    ) -> PacketId {
        let (id, mut bytes) = self.packet(verb, payload, Suite::Salsa);
        bytes[18] |= hops;
        world.inject(host, place, &bytes);
        id
    }

    /// A sealed packet cut into two pieces.
    pub fn pieces(&mut self, verb: Verb, payload: &[u8]) -> (PacketId, [Vec<u8>; 2]) {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[VERB_AT] = verb as u8;
        bytes.extend_from_slice(payload);
        let (id, to) = (self.id(), self.x);
        packet::write_header(&mut bytes, id, to, self.address(), packet::FLAG_FRAGMENTED)
            .expect("room");
        armor::seal(&self.keys, Suite::Salsa, &mut bytes);
        let mut parts = zt::wire::fragment::pieces(&bytes, id, to, 1_432).map(|(head, data)| {
            let mut piece = head.map_or(Vec::new(), |h| h.to_vec());
            piece.extend_from_slice(data);
            piece
        });
        let pair = [parts.next().expect("head"), parts.next().expect("second")];
        assert!(parts.next().is_none());
        (id, pair)
    }

    /// The payload of a HELLO with its tail masked for packet `id`, whole packet sealed.
    pub fn hello_packet(&mut self, identity: &Identity) -> (PacketId, Vec<u8>) {
        let mut bytes = vec![0; HEADER_LEN + 300];
        bytes[VERB_AT] = Verb::Hello as u8;
        let fields = HelloFields {
            protocol: self.protocol,
            major: self.version.0,
            minor: self.version.1,
            revision: self.version.2,
            time: 4711,
            identity: *identity,
            sent_to: Some(at("10.9.9.9:9993")),
            planet: (PLANET_ID, 1_000),
        };
        let mut writer = Writer::new(&mut bytes[HEADER_LEN..]);
        let tail = hello::write_hello(&mut writer, &fields, std::iter::empty()).expect("room");
        let len = HEADER_LEN + writer.len();
        bytes.truncate(len);
        if self.protocol < 9 {
            // No tail before 1.2, no worlds before 1.1.
            bytes.truncate(HEADER_LEN + if self.protocol < 5 { tail - 16 } else { tail });
        }
        let id = self.id();
        packet::write_header(&mut bytes, id, self.x, self.address(), 0).expect("room");
        if self.protocol >= 9 {
            armor::mask_hello_tail(&self.keys, &mut bytes, HEADER_LEN + tail);
        }
        armor::seal(&self.keys, Suite::Poly1305, &mut bytes);
        (id, bytes)
    }

    pub fn hello(&mut self, world: &mut World, host: usize) -> PacketId {
        let identity = self.secret.identity;
        let (id, bytes) = self.hello_packet(&identity);
        world.inject(host, self.place, &bytes);
        id
    }

    /// Everything that the host has sent to this peer, wherever to, since [`Self::forget`].
    pub fn heard(&self, world: &World, host: usize) -> Vec<Heard> {
        self.heard_since(world, host, self.mark)
    }

    /// The same from datagram number `from` on.
    pub fn heard_since(&self, world: &World, host: usize, from: usize) -> Vec<Heard> {
        world.hosts[host].sent[from.min(world.hosts[host].sent.len())..]
            .iter()
            .filter_map(|d| {
                let mut bytes = d.bytes.clone();
                let header = Header::parse(&bytes).ok()?;
                if header.destination != self.address() || header.source != self.x {
                    return None;
                }
                armor::open(&self.keys, &mut bytes).ok()?;
                let mut payload = bytes[HEADER_LEN..].to_vec();
                if bytes[VERB_AT] & packet::VERB_COMPRESSED != 0 {
                    let mut whole = vec![0; packet::PACKET_MAX];
                    let len = lz4::decompress(&payload, &mut whole).ok()?;
                    whole.truncate(len);
                    payload = whole;
                }
                Some(Heard {
                    at: d.at,
                    from: d.from,
                    to: d.to,
                    verb: Verb::from_byte(bytes[VERB_AT] & packet::VERB_MASK)?,
                    payload,
                    id: header.id,
                    ttl: d.ttl,
                })
            })
            .collect()
    }

    /// Says something to the host over the wire, in pieces if one datagram is too small.
    pub fn post(&mut self, world: &mut World, host: usize, verb: Verb, payload: &[u8]) -> PacketId {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[VERB_AT] = verb as u8;
        bytes.extend_from_slice(payload);
        let (id, to) = (self.id(), self.x);
        let size = packet::DATAGRAM_DEFAULT;
        let flags = if bytes.len() > size {
            packet::FLAG_FRAGMENTED
        } else {
            0
        };
        packet::write_header(&mut bytes, id, to, self.address(), flags).expect("room");
        armor::seal(&self.keys, Suite::Salsa, &mut bytes);
        for (head, data) in zt::wire::fragment::pieces(&bytes, id, to, size) {
            let mut piece = head.map_or(Vec::new(), |h| h.to_vec());
            piece.extend_from_slice(data);
            let datagram = Datagram {
                at: world.now,
                from: self.place,
                to: world.hosts[host].sockets[0],
                bytes: piece,
                ttl: None,
            };
            world.fly(datagram);
        }
        id
    }

    pub fn count(&self, world: &World, host: usize, verb: Verb) -> usize {
        self.heard(world, host)
            .iter()
            .filter(|h| h.verb == verb)
            .count()
    }

    /// What was sent so far is not looked at any more.
    pub fn forget(&mut self, world: &World, host: usize) {
        self.mark = world.hosts[host].sent.len();
    }

    /// OK with this body behind the common part.
    pub fn ok(&mut self, world: &mut World, host: usize, verb: Verb, id: PacketId, body: &[u8]) {
        let place = self.place;
        self.ok_from(world, host, place, verb, id, body);
    }

    pub fn ok_from(
        &mut self,
        world: &mut World,
        host: usize,
        place: SocketAddr,
        verb: Verb,
        id: PacketId,
        body: &[u8],
    ) {
        let mut payload = vec![verb as u8];
        payload.extend_from_slice(&id.to_bytes());
        payload.extend_from_slice(body);
        self.say_from(world, host, place, 0, Verb::Ok, &payload);
    }

    /// ERROR with this body behind the common part.
    pub fn error(
        &mut self,
        world: &mut World,
        host: usize,
        verb: Verb,
        id: PacketId,
        code: ErrorCode,
        body: &[u8],
    ) {
        let mut payload = vec![0; 10];
        let mut writer = Writer::new(&mut payload);
        control::write_error_head(&mut writer, verb, id, code);
        writer.end().expect("room");
        payload.extend_from_slice(body);
        self.say(world, host, Verb::Error, &payload);
    }

    /// The body of an OK(HELLO) that sees the host at `seen_as`.
    pub fn ok_hello_body(&self, seen_as: SocketAddr, worlds: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 2_000];
        let mut writer = Writer::new(&mut body);
        let (major, minor, revision) = self.version;
        hello::write_ok_hello(
            &mut writer,
            0,
            (self.protocol, major, minor, revision),
            Some(&seen_as),
            Some(worlds).filter(|w| !w.is_empty()).into_iter(),
        )
        .expect("room");
        let len = writer.len();
        body.truncate(len);
        body
    }

    /// Answers every HELLO heard so far that went to this peer's place; how many.
    pub fn answer_hellos(&mut self, world: &mut World, host: usize) -> usize {
        let seen_as = world.hosts[host].sockets[0];
        self.answer_hellos_with(world, host, seen_as, &[])
    }

    pub fn answer_hellos_with(
        &mut self,
        world: &mut World,
        host: usize,
        seen_as: SocketAddr,
        worlds: &[u8],
    ) -> usize {
        let hellos: Vec<Heard> = self
            .heard(world, host)
            .into_iter()
            .filter(|h| h.verb == Verb::Hello && h.to == self.place)
            .collect();
        self.forget(world, host);
        let body = self.ok_hello_body(seen_as, worlds);
        for hello in &hellos {
            self.ok(world, host, Verb::Hello, hello.id, &body);
        }
        hellos.len()
    }

    /// Runs for `ms`, answering ECHOs at once, as a living peer does.
    pub fn live(&mut self, world: &mut World, host: usize, ms: u64) {
        let end = world.now + ms;
        let mut seen = world.hosts[host].sent.len();
        while world.now < end {
            world.run_until(end - world.now, |w| w.hosts[host].sent.len() > seen);
            let mark = std::mem::replace(&mut self.mark, seen);
            seen = world.hosts[host].sent.len();
            let echoes = self
                .heard(world, host)
                .into_iter()
                .filter(|h| h.verb == Verb::Echo);
            for echo in echoes.collect::<Vec<_>>() {
                self.ok_from(world, host, echo.to, Verb::Echo, echo.id, b"");
            }
            self.mark = mark;
        }
    }

    /// Becomes a peer with a confirmed path: HELLO, then OK to the host's HELLO.
    pub fn meet(&mut self, world: &mut World, host: usize) {
        self.hello(world, host);
        world.run(200);
        assert!(
            self.answer_hellos(world, host) > 0,
            "the host says HELLO too"
        );
        assert_eq!(self.paths(world, host).len(), 1);
        self.forget(world, host);
    }

    /// Addresses that the host has as paths to this peer.
    pub fn paths(&self, world: &World, host: usize) -> Vec<SocketAddr> {
        let now = world.clock().mono;
        (0..8)
            .filter_map(|n| world.hosts[host].node.path(self.address(), n, now))
            .map(|p| p.remote)
            .collect()
    }

    pub fn is_known(&self, world: &World, host: usize) -> bool {
        world.hosts[host]
            .node
            .peer(self.address(), world.clock().mono)
            .is_some()
    }
}

/// The socket that every host has.
pub const SOCKET: SocketId = SocketId(0);
