//! A controller that does what the test says: it answers requests for configurations with signed
//! chunks, refusals, nonsense or silence, and pushes what it is told to push (network 2, 3, 7).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use zt::base::{Address, NetworkId, PacketId};
use zt::crypto::sign;
use zt::wire::Malformed;
use zt::wire::credential::{
    Bundle, Capability, Com, Link, Ownership, Qualifier, Records, Revocation, SIGNED_MAX_LEN,
    Signature, Tag, Thing, write_com,
};
use zt::wire::cursor::Writer;
use zt::wire::dict::{Dialect, Dict, DictWriter};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::inet;
use zt::wire::netconf::{ConfigRequest, write_chunk, write_chunk_signature, write_error};
use zt::wire::rule::Rules;
use zt::wire::verb::{ErrorCode, Verb};

use super::scripted::{Heard, Scripted};
use super::{World, identity};

/// What 1.14.1 gives unless told otherwise.
pub const WINDOW_MS: u64 = 1_800_000;
/// Flag of a configuration: broadcasts pass.
pub const BROADCAST: u64 = 0x02;
/// Flag of a configuration: neighbour solicitations are answered locally.
pub const NDP: u64 = 0x04;
/// Role bit of a specialist: active bridge.
pub const BRIDGE: u64 = 0x0200_0000_0000;
/// The rules of a new network: everything passes.
pub const ACCEPT: [u8; 2] = [1, 0];

/// How a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// By the configuration, or by ERROR 7 if the member may not have it.
    Properly,
    /// ERROR 3.
    Unknown,
    /// ERROR 5.
    NotController,
    /// ERROR 7.
    Denied,
    /// ERROR 9 with the dictionary of flavour 0 that has this address, or with none.
    SignOn(Option<String>),
    /// By a dictionary as 1.0.5 makes it, in one unsigned chunk.
    Old,
    /// Not at all.
    Silence,
}

/// In what order chunks are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Backward,
    /// By number; those not named are not sent, those named twice are sent twice.
    Exactly(Vec<usize>),
}

/// How a dictionary is cut and what is done to its chunks.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Most bytes of a chunk.
    pub chunk: usize,
    pub order: Order,
    /// Flags of every chunk.
    pub flags: u8,
    /// The update id; `None`: a fresh one each time.
    pub update: Option<u64>,
    /// Chunk whose signature has a bit flipped.
    pub corrupt: Option<usize>,
    /// Chunk whose data has a bit flipped behind the signing.
    pub altered: Option<usize>,
    /// Added to the total that every chunk says.
    pub total_off: u32,
    /// Added to the position of all chunks but the first.
    pub position_off: u32,
    /// Identity that signs instead of the controller's (see `identity`).
    pub signer: Option<usize>,
    /// Chunks end behind their data.
    pub unsigned: bool,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            chunk: 9_000,
            order: Order::Forward,
            flags: 0,
            update: None,
            corrupt: None,
            altered: None,
            total_off: 0,
            position_off: 0,
            signer: None,
            unsigned: false,
        }
    }
}

/// Where packets go: address and bits of the prefix, next hop, flags, metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTo {
    pub target: SocketAddr,
    pub via: Option<SocketAddr>,
    pub flags: u16,
    pub metric: u16,
}

/// A member as its controller knows it.
#[derive(Clone, Debug, Default)]
pub struct Member {
    pub authorised: bool,
    /// Managed addresses; the port is the length of the prefix.
    pub addresses: Vec<SocketAddr>,
    pub tags: Vec<(u32, u32)>,
    pub capabilities: Vec<u32>,
    /// Overrides that of the network.
    pub answer: Option<Answer>,
    /// Overrides that of the network.
    pub delivery: Option<Delivery>,
    /// Issued to this address instead of the member's.
    pub issued_to: Option<u64>,
}

/// A network of a controller.
#[derive(Clone, Debug)]
pub struct Net {
    pub id: NetworkId,
    pub public: bool,
    pub name: String,
    pub revision: u64,
    /// Window of certificates: max delta of their first qualifier, and `ctmd`.
    pub window: u64,
    /// Certificates name the holder's fingerprint.
    pub fingerprints: bool,
    pub flags: u64,
    pub mtu: u64,
    pub multicast_limit: u64,
    /// Binary.
    pub rules: Vec<u8>,
    /// Id and binary rules.
    pub capabilities: Vec<(u32, Vec<u8>)>,
    pub specialists: Vec<u64>,
    pub routes: Vec<RouteTo>,
    pub dns: Option<(String, Vec<IpAddr>)>,
    /// Certificates of ownership are issued.
    pub ownership: bool,
    /// Keys as they stand here replace those that would be written, or come last.
    pub instead: Vec<(&'static str, Vec<u8>)>,
    pub answer: Answer,
    pub delivery: Delivery,
    /// Time of issue; `None`: now, by the world's wall clock.
    pub timestamp: Option<u64>,
    pub members: BTreeMap<Address, Member>,
}

impl Net {
    pub fn new(id: NetworkId) -> Self {
        Self {
            id,
            public: false,
            name: "simulated".into(),
            revision: 1,
            window: WINDOW_MS,
            fingerprints: true,
            flags: BROADCAST,
            mtu: 2_800,
            multicast_limit: 32,
            rules: ACCEPT.to_vec(),
            capabilities: Vec::new(),
            specialists: Vec::new(),
            routes: Vec::new(),
            dns: None,
            ownership: true,
            instead: Vec::new(),
            answer: Answer::Properly,
            delivery: Delivery::default(),
            timestamp: None,
            members: BTreeMap::new(),
        }
    }

    /// The record of a member, made if there is none.
    pub fn member(&mut self, address: Address) -> &mut Member {
        self.members.entry(address).or_default()
    }

    fn lets_in(&self, address: Address) -> bool {
        self.public || self.members.get(&address).is_some_and(|m| m.authorised)
    }

    fn delivery(&self, address: Address) -> &Delivery {
        let own = self.members.get(&address).and_then(|m| m.delivery.as_ref());
        own.unwrap_or(&self.delivery)
    }

    fn answer(&self, address: Address) -> &Answer {
        let own = self.members.get(&address).and_then(|m| m.answer.as_ref());
        own.unwrap_or(&self.answer)
    }
}

/// A request for a configuration.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Virtual time.
    pub at: u64,
    pub host: usize,
    pub network: NetworkId,
    pub meta: Vec<u8>,
    pub revision: u64,
    pub timestamp: Option<u64>,
}

impl Asked {
    /// A value of its meta-data.
    pub fn number(&self, key: &str) -> Option<u64> {
        Some(Dict::new(&self.meta, Dialect::Modern).get(key)?.number())
    }
}

/// What a writer makes.
pub fn written(
    room: usize,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Malformed>,
) -> Vec<u8> {
    let mut bytes = vec![0; room];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer).expect("room, and nothing forbidden");
    let len = writer.len();
    bytes.truncate(len);
    bytes
}

fn signature_of(
    secret: &SecretIdentity,
    message: impl FnOnce(&mut [u8]) -> Result<usize, Malformed>,
) -> Signature {
    let mut buffer = vec![0; SIGNED_MAX_LEN];
    let len = message(&mut buffer).expect("room");
    sign::sign(secret.secret(), &[&buffer[..len]])
}

/// A signed certificate of membership.
pub fn com(
    secret: &SecretIdentity,
    network: NetworkId,
    member: &Identity,
    (timestamp, window): (u64, u64),
    fingerprints: bool,
) -> Vec<u8> {
    let q = |id, value, max_delta| Qualifier {
        id,
        value,
        max_delta,
    };
    let mut list = vec![
        q(Com::TIMESTAMP, timestamp, window),
        q(Com::NETWORK, network.get(), 0),
        q(Com::ISSUED_TO, member.address.get(), u64::MAX),
    ];
    if fingerprints {
        let print = sign::fingerprint(member);
        for (id, word) in Com::FINGERPRINT.iter().zip(print.chunks_exact(8)) {
            let word = u64::from_be_bytes(word.try_into().expect("eight bytes"));
            list.push(q(*id, word, u64::MAX));
        }
    }
    let message = written(8 * 24, |w| list.iter().try_for_each(|q| q.write(w)));
    let signature = sign::sign(secret.secret(), &[&message]);
    let signer = secret.identity.address;
    written(400, |w| write_com(w, &list, Some((signer, &signature))))
}

/// A signed tag.
pub fn tag(
    secret: &SecretIdentity,
    network: NetworkId,
    issued_to: Address,
    timestamp: u64,
    (id, value): (u32, u32),
) -> Vec<u8> {
    let mut tag = Tag {
        network,
        timestamp,
        id,
        value,
        issued_to,
        signer: secret.identity.address,
        signature: None,
    };
    let signature = signature_of(secret, |b| tag.signed_message(b));
    tag.signature = Some(&signature);
    written(200, |w| tag.write(w))
}

/// A signed capability with a chain of one.
pub fn capability(
    secret: &SecretIdentity,
    network: NetworkId,
    issued_to: Address,
    timestamp: u64,
    (id, rules): (u32, &[u8]),
) -> Vec<u8> {
    let rules = Rules::parse(rules).expect("rules");
    let capability = Capability::new(network, timestamp, id, rules);
    let signature = signature_of(secret, |b| capability.signed_message(b));
    let link = Link {
        to: issued_to,
        from: secret.identity.address,
        signature: Some(&signature),
    };
    written(2_000, |w| capability.write(w, [link].into_iter()))
}

/// A signed certificate of ownership.
pub fn ownership(
    secret: &SecretIdentity,
    network: NetworkId,
    issued_to: Address,
    timestamp: u64,
    things: &[Thing],
) -> Vec<u8> {
    let things = written(17 * 17, |w| things.iter().try_for_each(|t| t.write(w)));
    let signer = secret.identity.address;
    let mut own = Ownership::new(network, timestamp, 1, &things, issued_to, signer);
    let signature = signature_of(secret, |b| own.signed_message(b));
    own.signature = Some(&signature);
    written(600, |w| own.write(w))
}

/// What a revocation is about.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    pub target: Address,
    pub kind: u8,
    pub credential: u32,
    pub threshold: u64,
    pub fast: bool,
}

impl Revoked {
    /// The membership of `target`, passed on, as real controllers revoke.
    pub fn membership(target: Address, threshold: u64) -> Self {
        Self {
            target,
            kind: Revocation::COM,
            credential: 0,
            threshold,
            fast: true,
        }
    }
}

/// A signed revocation.
pub fn revocation(secret: &SecretIdentity, network: NetworkId, id: u32, what: Revoked) -> Vec<u8> {
    let mut revocation = Revocation {
        id,
        network,
        credential_id: what.credential,
        threshold: what.threshold,
        flags: if what.fast { Revocation::FAST } else { 0 },
        target: what.target,
        signer: secret.identity.address,
        kind: what.kind,
        signature: None,
    };
    let signature = signature_of(secret, |b| revocation.signed_message(b));
    revocation.signature = Some(&signature);
    written(200, |w| revocation.write(w))
}

/// The payload of a NETWORK_CREDENTIALS with revocations alone.
pub fn revocations(list: &[Vec<u8>]) -> Vec<u8> {
    let bytes = list.concat();
    let bundle = Bundle {
        revocations: Records {
            count: list.len() as u16,
            bytes: &bytes,
        },
        ..Bundle::default()
    };
    written(bytes.len() + 16, |w| bundle.write(w))
}

/// One entry of a dictionary, before escaping.
enum Value {
    Number(u64),
    Address(u64),
    Bytes(Vec<u8>),
}

/// The configuration of a member as 1.14.1 writes it.
pub fn dictionary(secret: &SecretIdentity, net: &Net, member: &Identity, now: u64) -> Vec<u8> {
    let to = member.address;
    let none = Member::default();
    let record = net.members.get(&to).unwrap_or(&none);
    let ts = net.timestamp.unwrap_or(now);
    let mut entries: Vec<(&str, Value)> = vec![
        ("v", Value::Number(7)),
        ("nwid", Value::Number(net.id.get())),
        ("ts", Value::Number(ts)),
        ("ctmd", Value::Number(net.window)),
        ("r", Value::Number(net.revision)),
        ("id", Value::Address(record.issued_to.unwrap_or(to.get()))),
        ("tt", Value::Address(0)),
        ("tl", Value::Number(0)),
        ("f", Value::Number(net.flags)),
        ("ml", Value::Number(net.multicast_limit)),
        ("t", Value::Number(u64::from(net.public))),
        ("n", Value::Bytes(net.name.clone().into_bytes())),
        ("mtu", Value::Number(net.mtu)),
    ];
    let mut blob = |key, bytes: Vec<u8>| {
        if !bytes.is_empty() {
            entries.push((key, Value::Bytes(bytes)));
        }
    };
    if !net.public {
        let times = (ts, net.window);
        blob("C", com(secret, net.id, member, times, net.fingerprints));
    }
    let held = net.capabilities.iter();
    let held = held.filter(|(id, _)| record.capabilities.contains(id));
    let caps: Vec<Vec<u8>> = held
        .map(|(id, rules)| capability(secret, net.id, to, ts, (*id, rules)))
        .collect();
    blob("CAP", caps.concat());
    let tags = record.tags.iter();
    let tags: Vec<Vec<u8>> = tags.map(|t| tag(secret, net.id, to, ts, *t)).collect();
    blob("TAG", tags.concat());
    if net.ownership && !record.addresses.is_empty() {
        let addresses = record.addresses.iter().take(16);
        let things: Vec<Thing> = addresses.map(|a| Thing::of_ip(a.ip())).collect();
        blob("COO", ownership(secret, net.id, to, ts, &things));
    }
    let specialists = net.specialists.iter();
    blob("S", specialists.flat_map(|s| s.to_be_bytes()).collect());
    let routes = written(44 * net.routes.len(), |w| {
        for route in &net.routes {
            inet::write(w, Some(&route.target));
            inet::write(w, route.via.as_ref());
            w.u16(route.flags);
            w.u16(route.metric);
        }
        w.end()
    });
    blob("RT", routes);
    let addresses = written(inet::WIRE_MAX * record.addresses.len(), |w| {
        for address in &record.addresses {
            inet::write(w, Some(address));
        }
        w.end()
    });
    blob("I", addresses);
    blob("R", net.rules.clone());
    let dns = written(128 + 4 * inet::WIRE_MAX, |w| {
        let (domain, servers) = net.dns.clone().unwrap_or_default();
        let mut field = domain.into_bytes();
        field.resize(128, 0);
        w.bytes(&field);
        for n in 0..4 {
            let server = servers.get(n).map(|ip| SocketAddr::new(*ip, 53));
            inet::write(w, server.as_ref());
        }
        w.end()
    });
    blob("DNS", dns);
    entries.push(("ssov", Value::Number(0)));
    entries.push(("ssoe", Value::Number(0)));
    for (key, value) in &net.instead {
        let value = Value::Bytes(value.clone());
        match entries.iter_mut().find(|(k, _)| k == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    written(1 << 20, |w| {
        let mut dict = DictWriter::new(w, Dialect::Modern);
        entries.iter().try_for_each(|(key, value)| match value {
            Value::Number(n) => dict.number(key, *n),
            Value::Address(n) => dict.address(key, *n),
            Value::Bytes(bytes) => dict.bytes(key, bytes),
        })
    })
}

/// The configuration of a member as 1.0.5 writes it (network 2.5), without its signature.
pub fn old_dictionary(secret: &SecretIdentity, net: &Net, member: &Identity, now: u64) -> Vec<u8> {
    let ts = net.timestamp.unwrap_or(now);
    let times = (ts, net.window);
    let com = com(secret, net.id, member, times, net.fingerprints);
    let mut text = String::new();
    zt::wire::credential::Com::read(&mut zt::wire::cursor::Reader::new(&com))
        .expect("just written")
        .write_text(&mut text)
        .expect("a string has room");
    let none = Member::default();
    let record = net.members.get(&member.address).unwrap_or(&none);
    let list = |v4: bool| {
        let own = record.addresses.iter().filter(|a| a.is_ipv4() == v4);
        let own: Vec<String> = own.map(|a| inet::Slash(*a).to_string()).collect();
        own.join(",")
    };
    let bridges = net.specialists.iter().filter(|s| **s & BRIDGE != 0);
    let bridges: Vec<String> = bridges
        .map(|s| format!("{:010x}", s & 0xff_ffff_ffff))
        .collect();
    written(1 << 14, |w| {
        let mut dict = DictWriter::new(w, Dialect::Old);
        dict.number("nwid", net.id.get())?;
        dict.number("ts", ts)?;
        dict.number("r", net.revision)?;
        dict.address("id", record.issued_to.unwrap_or(member.address.get()))?;
        dict.bytes("n", net.name.as_bytes())?;
        dict.bytes("et", b"0")?;
        dict.short_number("ml", net.multicast_limit)?;
        dict.flag("p", !net.public)?;
        dict.flag("eb", net.flags & BROADCAST != 0)?;
        dict.flag("pb", false)?;
        dict.bytes("v4s", list(true).as_bytes())?;
        dict.bytes("v6s", list(false).as_bytes())?;
        dict.bytes("ab", bridges.join(",").as_bytes())?;
        if !net.public {
            dict.bytes("com", text.as_bytes())?;
        }
        Ok(())
    })
}

/// A dictionary in signed chunks, in the order of sending.
pub fn chunks(
    secret: &SecretIdentity,
    network: NetworkId,
    dictionary: &[u8],
    update: u64,
    how: &Delivery,
) -> Vec<Vec<u8>> {
    let secret = how.signer.map_or_else(|| secret.clone(), identity);
    let total = dictionary.len() as u32 + how.total_off;
    let mut position = 0;
    let made: Vec<Vec<u8>> = dictionary
        .chunks(how.chunk)
        .enumerate()
        .map(|(n, data)| {
            let off = if n == 0 { 0 } else { how.position_off };
            let at = position + off;
            position += data.len() as u32;
            if how.unsigned {
                return written(data.len() + 10, |w| write_chunk(w, network, data, None));
            }
            let mut bytes = written(data.len() + 27, |w| {
                write_chunk(w, network, data, Some((how.flags, update, total, at)))
            });
            let mut signature = sign::sign(secret.secret(), &[&bytes]);
            if how.corrupt == Some(n) {
                signature[70] ^= 0x04;
            }
            if how.altered == Some(n) {
                bytes[10 + data.len() / 2] ^= 0x01;
            }
            bytes.extend(written(99, |w| write_chunk_signature(w, &signature)));
            bytes
        })
        .collect();
    match &how.order {
        Order::Forward => made,
        Order::Backward => made.into_iter().rev().collect(),
        Order::Exactly(list) => list.iter().map(|n| made[*n].clone()).collect(),
    }
}

/// The controller.
pub struct Controller {
    pub secret: SecretIdentity,
    /// Off the wire if not: hears and says nothing.
    pub up: bool,
    pub networks: BTreeMap<NetworkId, Net>,
    /// Every request heard, oldest first.
    pub asked: Vec<Asked>,
    /// Every OK to a push heard: host, payload.
    pub taken: Vec<(usize, Vec<u8>)>,
    /// Update ids of what was sent, newest last.
    pub updates: VecDeque<u64>,
    n: usize,
    place: String,
    /// Its side of the talk with each host.
    lines: BTreeMap<usize, Line>,
    serial: u64,
}

struct Line {
    peer: Scripted,
    /// Datagrams of the host that were looked at.
    seen: usize,
}

impl Controller {
    /// With identity number `n` (see `identity`).
    pub fn new(n: usize, place: &str) -> Self {
        Self {
            secret: identity(n),
            up: true,
            networks: BTreeMap::new(),
            asked: Vec::new(),
            taken: Vec::new(),
            updates: VecDeque::new(),
            n,
            place: place.into(),
            lines: BTreeMap::new(),
            serial: 0,
        }
    }

    pub fn address(&self) -> Address {
        self.secret.identity.address
    }

    /// The id of network number `low` of this controller.
    pub fn id(&self, low: u64) -> NetworkId {
        NetworkId::new(self.address().get() << 24 | low).expect("an id")
    }

    /// A new private network.
    pub fn create(&mut self, low: u64) -> NetworkId {
        let id = self.id(low);
        self.networks.insert(id, Net::new(id));
        id
    }

    pub fn net(&mut self, id: NetworkId) -> &mut Net {
        self.networks.get_mut(&id).expect("a network of ours")
    }

    /// Lets a host in, with this managed address, if any.
    pub fn authorise(&mut self, world: &World, id: NetworkId, host: usize, ip: Option<&str>) {
        let address = world.address(host);
        let member = self.net(id).member(address);
        member.authorised = true;
        if let Some(ip) = ip {
            member.addresses = vec![inet::parse_slash(ip).expect("address/bits")];
        }
    }

    /// The peer that talks to `host`.
    pub fn line(&mut self, world: &World, host: usize) -> &mut Scripted {
        &mut self.entry(world, host).peer
    }

    fn entry(&mut self, world: &World, host: usize) -> &mut Line {
        let (n, place) = (self.n, &self.place);
        self.lines.entry(host).or_insert_with(|| Line {
            peer: Scripted::new(world, host, n, place),
            seen: 0,
        })
    }

    /// Becomes a peer of the host with a confirmed path, so that nobody need ask a root.
    pub fn meet(&mut self, world: &mut World, host: usize) {
        let line = self.entry(world, host);
        line.peer.hello(world, host);
        let end = world.now + 500;
        while world.now < end && self.line(world, host).paths(world, host).is_empty() {
            self.serve(world, 50);
        }
        assert_eq!(self.line(world, host).paths(world, host).len(), 1);
    }

    /// Forgets that a host was there: it is built anew with the same identity.
    pub fn restarted(&mut self, world: &World, host: usize) {
        let seen = world.hosts[host].sent.len();
        self.entry(world, host).seen = seen;
    }

    /// Lets the world run and answers.
    pub fn serve(&mut self, world: &mut World, ms: u64) {
        self.serve_until(world, ms, |_, _| false);
    }

    /// The same until `done` says so; `false` if it did not.
    pub fn serve_until(
        &mut self,
        world: &mut World,
        limit_ms: u64,
        mut done: impl FnMut(&World, &Self) -> bool,
    ) -> bool {
        let end = world.now + limit_ms;
        loop {
            self.work(world);
            if done(world, self) {
                return true;
            }
            if world.now >= end {
                return false;
            }
            let sent = |w: &World| w.hosts.iter().map(|h| h.sent.len()).sum::<usize>();
            let before = sent(world);
            world.run_until(end - world.now, |w| sent(w) > before || done(w, self));
        }
    }

    /// Answers what was heard and not yet looked at.
    fn work(&mut self, world: &mut World) {
        for host in 0..world.hosts.len() {
            let up = self.up;
            let line = self.entry(world, host);
            let from = std::mem::replace(&mut line.seen, world.hosts[host].sent.len());
            if !up {
                continue;
            }
            for heard in line.peer.heard_since(world, host, from) {
                self.hear(world, host, &heard);
            }
        }
    }

    fn hear(&mut self, world: &mut World, host: usize, heard: &Heard) {
        match heard.verb {
            Verb::Hello => {
                let seen_as = world.hosts[host].sockets[0];
                let line = self.line(world, host);
                let body = line.ok_hello_body(seen_as, &[]);
                self.ok(world, host, Verb::Hello, heard.id, &body);
            }
            Verb::Echo => self.ok(world, host, Verb::Echo, heard.id, &[]),
            Verb::Ok if heard.payload.first() == Some(&(Verb::Echo as u8)) => {
                self.taken.push((host, heard.payload.clone()));
            }
            Verb::NetworkConfigRequest => self.asked_for(world, host, heard),
            _ => {}
        }
    }

    fn asked_for(&mut self, world: &mut World, host: usize, heard: &Heard) {
        let request = ConfigRequest::parse(&heard.payload).expect("a well-formed request");
        let id = request.network;
        self.asked.push(Asked {
            at: heard.at,
            host,
            network: id,
            meta: request.meta.to_vec(),
            revision: request.revision,
            timestamp: request.timestamp,
        });
        let address = world.address(host);
        let (answer, lets_in) = match self.networks.get(&id) {
            Some(net) => (net.answer(address).clone(), net.lets_in(address)),
            None => (Answer::Unknown, false),
        };
        let refuse = |code, dictionary: Option<&[u8]>| {
            let mut body = vec![Verb::NetworkConfigRequest as u8];
            body.extend_from_slice(&heard.id.to_bytes());
            body.push(code as u8);
            body.extend(written(4_096, |w| write_error(w, id, dictionary)));
            body
        };
        let refusal = match answer {
            Answer::Silence => return,
            Answer::Properly if lets_in => {
                return self.configure(world, host, id, Some(heard.id));
            }
            Answer::Old => {
                let net = &self.networks[&id];
                let member = *world.hosts[host].node.identity();
                let now = world.clock().wall.as_ms();
                let text = old_dictionary(&self.secret, net, &member, now);
                let body = written(text.len() + 10, |w| write_chunk(w, id, &text, None));
                return self.ok(world, host, Verb::NetworkConfigRequest, heard.id, &body);
            }
            Answer::Properly | Answer::Denied => refuse(ErrorCode::NetworkAccessDenied, None),
            Answer::Unknown => refuse(ErrorCode::ObjectNotFound, None),
            Answer::NotController => refuse(ErrorCode::UnsupportedOperation, None),
            Answer::SignOn(url) => {
                let text = url.map(|url| {
                    written(4_000, |w| {
                        let mut dict = DictWriter::new(w, Dialect::Modern);
                        dict.number("aV", 0)?;
                        dict.bytes("aU", url.as_bytes())
                    })
                });
                refuse(ErrorCode::NetworkAuthenticationRequired, text.as_deref())
            }
        };
        self.say(world, host, Verb::Error, &refusal);
    }

    /// Sends a member its configuration: in OKs to that request, or unasked.
    fn configure(
        &mut self,
        world: &mut World,
        host: usize,
        id: NetworkId,
        request: Option<PacketId>,
    ) {
        for body in self.bodies(world, host, id) {
            match request {
                Some(r) => self.ok(world, host, Verb::NetworkConfigRequest, r, &body),
                None => drop(self.say(world, host, Verb::NetworkConfig, &body)),
            }
        }
    }

    /// The chunks that a member would be sent now.
    pub fn bodies(&mut self, world: &World, host: usize, id: NetworkId) -> Vec<Vec<u8>> {
        let member = *world.hosts[host].node.identity();
        self.serial += 1;
        let net = &self.networks[&id];
        let how = net.delivery(member.address);
        let update = how.update.unwrap_or(0x5151_0000_0000_0000 | self.serial);
        self.updates.push_back(update);
        let now = world.clock().wall.as_ms();
        let text = dictionary(&self.secret, net, &member, now);
        chunks(&self.secret, id, &text, update, how)
    }

    /// NETWORK_CONFIG without having been asked.
    pub fn push(&mut self, world: &mut World, host: usize, id: NetworkId) {
        self.configure(world, host, id, None);
    }

    /// NETWORK_CONFIG_REFRESH, as controllers before 1.2 tell of changes.
    pub fn refresh(&mut self, world: &mut World, host: usize, ids: &[NetworkId]) {
        let payload: Vec<u8> = ids.iter().flat_map(|id| id.to_bytes()).collect();
        self.say(world, host, Verb::NetworkConfig, &payload);
    }

    /// Sends a revocation to these hosts.
    pub fn revoke(&mut self, world: &mut World, hosts: &[usize], id: NetworkId, what: Revoked) {
        self.serial += 1;
        let one = revocation(&self.secret, id, self.serial as u32, what);
        let payload = revocations(&[one]);
        for host in hosts {
            self.say(world, *host, Verb::NetworkCredentials, &payload);
        }
    }

    fn ok(&mut self, world: &mut World, host: usize, verb: Verb, id: PacketId, body: &[u8]) {
        let mut payload = vec![verb as u8];
        payload.extend_from_slice(&id.to_bytes());
        payload.extend_from_slice(body);
        self.say(world, host, Verb::Ok, &payload);
    }

    /// Any packet to a host; travels as all datagrams do.
    pub fn say(&mut self, world: &mut World, host: usize, verb: Verb, payload: &[u8]) -> PacketId {
        let line = self.line(world, host);
        line.post(world, host, verb, payload)
    }

    /// Requests of a host for a network, by their times.
    pub fn times(&self, host: usize, id: NetworkId) -> Vec<u64> {
        let of = self.asked.iter();
        of.filter(|a| a.host == host && a.network == id)
            .map(|a| a.at)
            .collect()
    }

    /// The newest request of a host.
    pub fn last(&self, host: usize) -> Option<&Asked> {
        self.asked.iter().rev().find(|a| a.host == host)
    }
}
