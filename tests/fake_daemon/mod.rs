//! What the tests of the control socket and of HTTP share: a daemon and a stream in memory.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use serde_json::{Value, json};
use zt::base::{Address, Mac, Mono, NetworkId, UnixMs};
use zt::node::Traffic;
use zt::service::control::{
    Frames, Host, InfoRow, Installed, MoonRow, Net, NetworkRow, PathRow, PeerRow, Refusal, RouteRow,
};
use zt::wire::identity::Identity;
use zt::wire::verb::{ErrorCode, Verb};
use zt::wire::world::{DEFAULT_PLANET, World};

pub(crate) const IDENTITY: &str = "3c9439e96a:0:0c8b1be28f899b1518835afb8e984e764035a2a1b77c5bf111512fef773e906bb22c4666586b165c118ac35c182c3eaa9b47815b4f1a1773163d318993a957b0";
pub(crate) const NET: &str = "8056c2e21c000001";
pub(crate) const WALL: u64 = 1_795_435_032_062;
/// Far from zero, so that nothing relies on a young clock.
pub(crate) const START: Mono = Mono::from_ms(5_000_000_000);
pub(crate) const KEYS: &[&str] = &["allowManaged", "allowDNS", "ifname"];

/// A daemon with one network, some peers, and a memory of what it was told.
pub(crate) struct Fake {
    pub(crate) identity: Identity,
    pub(crate) peers: Vec<Address>,
    pub(crate) groups: usize,
    pub(crate) joined: bool,
    pub(crate) name: String,
    pub(crate) told: Vec<String>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) moons: bool,
    pub(crate) stopping: bool,
    pub(crate) conf: Option<zt::service::json::Value>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            identity: Identity::parse(IDENTITY).unwrap(),
            peers: vec![address(0x62_f865_ae71), address(0x3d_6ce2_2a72)],
            groups: 2,
            joined: true,
            name: "lab net 100%".into(),
            told: Vec::new(),
            refusal: None,
            moons: true,
            stopping: false,
            conf: None,
        }
    }

    pub(crate) fn change(&mut self, what: String) -> Result<(), Refusal> {
        self.told.push(what);
        self.refusal.take().map_or(Ok(()), Err)
    }

    pub(crate) fn peer_row(&self, n: usize) -> Option<PeerRow<'_>> {
        let address = *self.peers.get(n)?;
        // The first is a root we never heard, the others are direct.
        let path = self.path(address, 0);
        Some(PeerRow {
            address,
            version: path.map(|_| (1, 14, 1)),
            role: if n == 0 { "PLANET" } else { "LEAF" },
            latency_ms: path.map(|_| 28),
            path,
            packets: Traffic {
                received: 30,
                sent: 40,
                refused: n as u64,
            },
        })
    }
}

pub(crate) fn address(n: u64) -> Address {
    Address::new(n).unwrap()
}

pub(crate) fn net() -> NetworkId {
    NetworkId::parse(NET).unwrap()
}

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Host for Fake {
    fn info(&self) -> InfoRow<'_> {
        InfoRow {
            identity: &self.identity,
            online: true,
            offline_reason: None,
            collision: false,
            uptime_ms: 12_345,
            clock: UnixMs::from_ms(WALL),
            clock_ok: true,
            port: 29993,
            home: "/var/lib/zero \"tier\"",
            planet_id: 149_604_618,
            planet_timestamp: 1_644_592_324_813,
            rss_bytes: Some(2_000_000),
            received: (10, 1000),
            sent: (20, 2000),
        }
    }

    fn bound(&self, n: usize) -> Option<SocketAddr> {
        ["10.99.0.1:29993", "[fd00::1]:29993"]
            .get(n)
            .map(|t| socket(t))
    }

    fn surface(&self, n: usize) -> Option<SocketAddr> {
        (n == 0).then(|| socket("198.51.100.7:29993"))
    }

    fn drops(&self, n: usize) -> Option<(&'static str, u64)> {
        [("junk", 3), ("malformed", 0)].get(n).copied()
    }

    fn figure(&self, n: usize) -> Option<(&'static str, u64)> {
        (n == 0).then_some(("tables", 512))
    }

    fn packets(&self, verb: Verb) -> (u64, u64) {
        match verb {
            Verb::Hello => (5, 6),
            _ => (0, 0),
        }
    }

    fn errors(&self, code: ErrorCode) -> (u64, u64) {
        match code {
            ErrorCode::UnwantedMulticast => (7, 8),
            _ => (0, 0),
        }
    }

    fn table(&self, n: usize) -> Option<(&'static str, u64, u64)> {
        (n == 0).then_some(("peers", 3, 64))
    }

    fn next_peer(&self, cursor: usize) -> Option<(usize, PeerRow<'_>)> {
        self.peer_row(cursor).map(|row| (cursor + 1, row))
    }

    fn peer(&self, address: Address) -> Option<PeerRow<'_>> {
        let n = self.peers.iter().position(|p| *p == address)?;
        self.peer_row(n)
    }

    fn path(&self, address: Address, n: usize) -> Option<PathRow<'_>> {
        let direct = self.peers.iter().skip(1).any(|p| *p == address);
        (direct && n == 0).then(|| PathRow {
            local: Some(socket("10.99.0.1:29993")),
            socket: 2,
            remote: socket("10.99.0.2:29993"),
            interface: Some("eth0"),
            sent_ms: None,
            received_ms: Some(16_674),
            latency_ms: Some(28),
            quality: 7,
            preferred: true,
            active: true,
            expired: false,
        })
    }

    fn next_network(&self, cursor: usize) -> Option<(usize, NetworkRow<'_>)> {
        (cursor == 0)
            .then(|| self.network(net()))
            .flatten()
            .map(|row| (1, row))
    }

    fn network(&self, id: NetworkId) -> Option<NetworkRow<'_>> {
        (self.joined && id == net()).then(|| NetworkRow {
            id,
            name: &self.name,
            mac: Mac::new([0xca, 0xf5, 0x69, 0xc1, 0, 0xc1]),
            status: "OK",
            kind: "PRIVATE",
            device: "ztmjfmfyq5",
            mtu: 2800,
            bridge: false,
            broadcast: true,
            port_error: 0,
            revision: 2,
            allow_managed: true,
            allow_global: false,
            allow_default: false,
            allow_dns: false,
            dns_domain: "lab.example",
            dns_state: "not-allowed",
            frames: Frames {
                received: 1,
                refused_in: 2,
                sent: 3,
                refused_out: 4,
            },
        })
    }

    fn address(&self, _: NetworkId, n: usize) -> Option<Net> {
        let all = [("fcd8:69ec:9308:e811:58d0::1", 40), ("10.147.17.11", 24)];
        all.get(n).map(|(text, bits)| Net {
            ip: ip(text),
            bits: *bits,
        })
    }

    fn address_installed(&self, _: NetworkId, n: usize) -> Installed<'_> {
        if n == 0 {
            Installed::Yes
        } else {
            Installed::No("not-allowed-managed")
        }
    }

    fn route(&self, _: NetworkId, n: usize) -> Option<RouteRow<'_>> {
        let target = |text, bits| Net { ip: ip(text), bits };
        let row = |target, via, installed| RouteRow {
            target,
            via,
            flags: 0,
            metric: 0,
            installed,
        };
        match n {
            0 => Some(row(target("10.147.17.0", 24), None, Installed::Yes)),
            1 => {
                let via = Some(ip("10.147.17.10"));
                Some(row(
                    target("192.168.50.0", 24),
                    via,
                    Installed::No("connected"),
                ))
            }
            _ => None,
        }
    }

    fn dns_server(&self, _: NetworkId, n: usize) -> Option<IpAddr> {
        (n < 2).then(|| ip(&format!("10.147.17.1{n}")))
    }

    fn group(&self, _: NetworkId, n: usize) -> Option<(Mac, u32)> {
        (n < self.groups).then_some((Mac::BROADCAST, 177_410_315))
    }

    fn setting_keys(&self) -> &'static [&'static str] {
        KEYS
    }

    fn setting(&self, _: NetworkId, key: &str) -> Option<String> {
        match key {
            "allowManaged" => Some("10.0.0.0/8,fd00::/8".into()),
            "allowDNS" => Some("0".into()),
            "ifname" => Some(String::new()),
            _ => None,
        }
    }

    fn join(&mut self, id: NetworkId, settings: &[(&str, &str)]) -> Result<(), Refusal> {
        self.change(format!("join {id} {settings:?}"))
    }

    fn leave(&mut self, id: NetworkId) -> Result<(), Refusal> {
        self.change(format!("leave {id}"))
    }

    fn set(&mut self, id: NetworkId, key: &str, value: &str) -> Result<(), Refusal> {
        self.change(format!("set {id} {key} {value}"))
    }

    fn moon(&self, n: usize) -> Option<MoonRow<'_>> {
        match n {
            0 => {
                let (world, _) = World::parse(DEFAULT_PLANET).unwrap();
                Some(MoonRow {
                    id: world.id,
                    world: Some(world),
                })
            }
            1 => Some(MoonRow {
                id: 0xde_adbe_ef00,
                world: None,
            }),
            _ => None,
        }
    }

    fn has_moons(&self) -> bool {
        self.moons
    }

    fn orbit(&mut self, id: u64, seed: Option<Address>) -> Result<(), Refusal> {
        self.change(format!("orbit {id:x} {seed:?}"))
    }

    fn deorbit(&mut self, id: u64) -> Result<bool, Refusal> {
        self.change(format!("deorbit {id:x}")).map(|()| false)
    }

    fn local_conf(&self) -> Option<&zt::service::json::Value> {
        self.conf.as_ref()
    }

    fn merge_settings(
        &mut self,
        changes: &[(String, zt::service::json::Value)],
    ) -> Result<(), Refusal> {
        self.change(format!(
            "settings {}",
            zt::service::json::Value::Object(changes.to_vec())
        ))
    }

    fn set_log_level(&mut self, level: &str) -> bool {
        self.told.push(format!("log {level}"));
        level == "debug"
    }

    fn reload(&mut self) -> Result<(), Refusal> {
        self.change("reload".into())
    }

    fn dump_line(&self, n: usize, out: &mut dyn std::fmt::Write) -> bool {
        n < 2 && write!(out, "line {n}\nwith a break").is_ok()
    }

    fn conf_number(&self, n: usize) -> Option<(String, String)> {
        let all = [("primaryPort", "9993"), ("bind", "[\"10.0.0.1\", 1]")];
        all.get(n).map(|(k, v)| ((*k).into(), (*v).into()))
    }

    fn conf_value(&self, key: &str) -> Option<String> {
        (key == "bind").then(|| "[\"10.0.0.1\", 1]".into())
    }

    fn change_conf(&mut self, key: &str, json: &str) -> Result<(), Refusal> {
        self.change(format!("conf {key} {json}"))
    }

    fn stop(&mut self) {
        self.told.push("stop".into());
        self.stopping = true;
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

/// A stream in memory. What it takes and gives at once is set by the test.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) incoming: VecDeque<u8>,
    pub(crate) ended: bool,
    pub(crate) outgoing: Vec<u8>,
    /// Bytes that it still takes.
    pub(crate) window: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Stream(pub(crate) Rc<RefCell<Wire>>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.incoming.is_empty() && !wire.ended {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        wire.incoming.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.window == 0 {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        let taken = bytes.len().min(wire.window);
        wire.window -= taken;
        wire.outgoing.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer, or the first of many, has the members of a recorded one, in its order; but for
/// those that are named as `absent` or as `more`.
#[track_caller]
pub(crate) fn has_fields_of(answer: &Value, case: &Value) {
    let own = answer.as_array().and_then(|l| l.first()).unwrap_or(answer);
    let mut wanted = shape(&case["object"]);
    let mut shape = shape(own);
    for key in case["absent"].as_array().into_iter().flatten() {
        remove(&mut wanted, key.as_str().unwrap());
    }
    for key in case["more"].as_array().into_iter().flatten() {
        remove(&mut shape, key.as_str().unwrap());
    }
    assert_eq!(shape.to_string(), wanted.to_string(), "{}", case["path"]);
}

/// Keys and kinds of values, to the bottom; of arrays the first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(all) => json!(all.first().map(shape).into_iter().collect::<Vec<_>>()),
        Value::Object(all) => all.iter().map(|(k, v)| (k.clone(), shape(v))).collect(),
    }
}

/// Takes out a member by its path of keys.
fn remove(value: &mut Value, path: &str) {
    let (front, last) = path.rsplit_once('/').expect("a path");
    let object = value.pointer_mut(front).and_then(Value::as_object_mut);
    let gone = object.and_then(|o| o.shift_remove(last));
    assert!(gone.is_some(), "no {path}");
}
