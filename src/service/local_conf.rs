//! `local.conf`: what the owner says of ports, interfaces, nets and peers (service 3.3).
//!
//! The file of 1.14.1, with its leniency: booleans may be numbers or words, numbers may be
//! strings, `null` is as good as nothing. Keys that mean nothing here are left alone. Settings of
//! our own stand under `settings.router`. A file is taken as a whole or not at all: [`Bad`] says
//! where it stops making sense.
//!
//! Bounds: [`FILE_MAX_BYTES`], the nesting of [`json`](super::json), and those of
//! [`node::underlay`](crate::node::underlay); lists of addresses and names [`LIST_MAX`].

use core::fmt;
use core::net::IpAddr;

use super::json::{self, Place, Value};
use super::settings::Prefix;
use crate::base::Address;
use crate::node::network::IpNet;
use crate::node::underlay::{self, PeerHints, PhysicalNet, Underlay};
use crate::wire::identity::Identity;
use crate::wire::inet;

/// Longest file that is read.
pub const FILE_MAX_BYTES: usize = 16 * 1024;
/// Elements of one list.
pub const LIST_MAX: usize = 32;

/// Where and why a file is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bad {
    /// Where; `None`: the file as such.
    pub place: Option<Place>,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "{place}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Control by TCP (service 6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlTcp {
    /// No.
    Off,
    /// On the primary port.
    Primary,
    /// On this port.
    Port(u16),
}

/// Settings of our own: `settings.router`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Router {
    /// Control by TCP; `None`: as the build has it.
    pub control_tcp: Option<ControlTcp>,
    /// Members of this group may use the control socket.
    pub control_group: Option<String>,
    /// There is a second control socket, for reading only.
    pub control_read_only: bool,
    /// Level of the log.
    pub log_level: Option<log::LevelFilter>,
    /// Peers are kept between runs; `None`: they are.
    pub peer_cache: Option<bool>,
    /// Figures for Prometheus are answered by HTTP; `None`: they are, where that is built.
    pub metrics: Option<bool>,
    /// State goes to this directory.
    pub state_dir: Option<String>,
    /// Addresses and routes are left to netifd.
    pub netifd: bool,
}

/// `settings`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Settings {
    /// UDP port; 0: a random one; `None`: as the command line says.
    pub primary_port: Option<u16>,
    /// A second UDP port; 0: a random one.
    pub secondary_port: Option<u16>,
    /// A third UDP port; 0: none.
    pub tertiary_port: Option<u16>,
    /// A second port is allowed, or even wanted if none is named.
    pub allow_secondary_port: Option<bool>,
    /// Addresses to bind instead of those of the interfaces.
    pub bind: Vec<IpAddr>,
    /// Interfaces whose names begin so are no underlay.
    pub interface_prefix_blacklist: Vec<String>,
    /// Nets that may manage by TCP beside this machine.
    pub allow_management_from: Vec<Prefix>,
    /// Less is sent unasked.
    pub low_bandwidth_mode: bool,
    /// `router`.
    pub router: Router,
    /// Keys that ask for something that is not built.
    pub not_built: Vec<&'static str>,
}

impl Settings {
    /// A second port is wanted: its number, or 0 for a random one.
    pub fn second_port(&self) -> Option<u16> {
        match (self.allow_secondary_port, self.secondary_port) {
            (Some(false), _) => None,
            (Some(true), None) => Some(0),
            (_, port) => port,
        }
    }

    /// A third port.
    pub fn third_port(&self) -> Option<u16> {
        self.tertiary_port.filter(|port| *port != 0)
    }
}

/// All of the file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LocalConf {
    /// `physical`, `virtual` and `lowBandwidthMode`: what the node is told.
    pub underlay: Underlay,
    /// `settings`.
    pub settings: Settings,
    /// What is probably not meant so, in words.
    pub doubts: Vec<String>,
}

impl LocalConf {
    /// Reads a file's bytes; the text as a tree, too, with all that is unknown. An empty file
    /// says nothing.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Value), Bad> {
        let bad = |place, why: &str| Bad {
            place,
            why: why.to_owned(),
        };
        if bytes.len() > FILE_MAX_BYTES {
            return Err(bad(None, "longer than 16 KiB"));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let good = core::str::from_utf8(good).unwrap_or_default();
            bad(Some(Place::of(good, good.len())), "no UTF-8")
        })?;
        // Some editors put one there.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut conf = Self::default();
        if text.trim_ascii().is_empty() {
            return Ok((conf, Value::Object(Vec::new())));
        }
        let tree = Value::parse(text).map_err(|e| bad(Some(e.place), e.why))?;
        let mut reader = Reader { wrong: None };
        conf.read(&mut reader, &tree);
        match reader.wrong {
            Some((at, why)) => Err(Bad {
                place: json::locate(text, &tree, at),
                why,
            }),
            None => Ok((conf, tree)),
        }
    }

    /// Adds what the file `trustedpaths` of before 1.2 says, lines `<hex id>=<net/bits>`; nets that
    /// have an id already keep it. `complain` hears of each line that means nothing.
    pub fn add_trusted_paths(&mut self, text: &str, complain: &mut dyn FnMut(usize)) {
        for (n, line) in text.lines().enumerate() {
            if !line.trim_ascii().is_empty() && self.add_trusted_path(line).is_none() {
                complain(n.saturating_add(1));
            }
        }
    }

    fn add_trusted_path(&mut self, line: &str) -> Option<()> {
        let (id, at) = line.split_once('=')?;
        let id = u64::from_str_radix(id.trim_ascii(), 16).ok()?;
        let net = net(at.trim_ascii()).filter(|net| net.bits > 0 && id != 0)?;
        let physical = &mut self.underlay.physical;
        let is_full = physical.len() >= underlay::NETS_MAX;
        match physical.iter_mut().find(|p| p.net == net) {
            Some(known) if known.trusted_path_id == 0 => known.trusted_path_id = id,
            Some(_) => {}
            None if is_full => return None,
            None => physical.push(PhysicalNet {
                net,
                blacklist: false,
                trusted_path_id: id,
                mtu: 0,
            }),
        }
        Some(())
    }

    fn read<'a>(&mut self, reader: &mut Reader<'a>, tree: &'a Value) {
        if let Some(physical) = reader.member(tree, "physical") {
            self.read_physical(reader, physical);
        }
        if let Some(peers) = reader.member(tree, "virtual") {
            self.read_virtual(reader, peers);
        }
        if let Some(settings) = reader.member(tree, "settings") {
            self.settings.read(reader, settings);
        }
        self.underlay.low_bandwidth = self.settings.low_bandwidth_mode;
    }

    fn read_physical<'a>(&mut self, reader: &mut Reader<'a>, physical: &'a Value) {
        let nets = &mut self.underlay.physical;
        for (key, entry) in reader.members(physical) {
            if entry.is_null() {
                continue;
            }
            let Some(net) = net(key) else {
                self.doubts
                    .push(format!("physical: \"{key}\" is no network and is ignored"));
                continue;
            };
            let read = PhysicalNet {
                net,
                blacklist: reader.flag(entry, "blacklist") == Some(true),
                trusted_path_id: reader.number(entry, "trustedPathId", u64::MAX).unwrap_or(0),
                mtu: reader.short(entry, "mtu").unwrap_or(0),
            };
            // Of equal keys the last counts.
            if let Some(n) = nets.iter().position(|p| p.net == net) {
                nets.remove(n);
            }
            nets.push(read);
        }
        if nets.len() > underlay::NETS_MAX {
            reader.wrong(
                physical,
                format_args!("at most {} nets", underlay::NETS_MAX),
            );
        }
    }

    fn read_virtual<'a>(&mut self, reader: &mut Reader<'a>, virtual_: &'a Value) {
        let peers = &mut self.underlay.peers;
        for (key, entry) in reader.members(virtual_) {
            if entry.is_null() {
                continue;
            }
            let Some(address) = Address::parse(key) else {
                self.doubts
                    .push(format!("virtual: \"{key}\" is no address and is ignored"));
                continue;
            };
            let mut peer = PeerHints {
                address,
                try_at: Vec::new(),
                blacklist: Vec::new(),
                identity: None,
            };
            for item in reader.list(entry, "try", underlay::TRIES_MAX) {
                let at = reader.text(item).and_then(inet::parse_slash);
                match at.filter(|at| at.port() != 0) {
                    Some(at) => peer.try_at.push(at),
                    None => reader.expected(item, "an address such as 192.0.2.1/9993"),
                }
            }
            for item in reader.list(entry, "blacklist", underlay::PEER_NETS_MAX) {
                if let Some(net) = reader.net(item) {
                    peer.blacklist.push(net);
                }
            }
            if let Some(item) = reader.member(entry, "identity") {
                let identity = reader.text(item);
                peer.identity = identity.and_then(|text| Identity::parse(text).ok());
                if peer.identity.is_none_or(|i| i.address != address) {
                    reader.expected(item, "the public identity of this address");
                }
            }
            if let Some(n) = peers.iter().position(|p| p.address == address) {
                peers.remove(n);
            }
            peers.push(peer);
        }
        if peers.len() > underlay::PEERS_MAX {
            reader.wrong(
                virtual_,
                format_args!("at most {} peers", underlay::PEERS_MAX),
            );
        }
    }
}

impl Settings {
    fn read<'a>(&mut self, reader: &mut Reader<'a>, at: &'a Value) {
        if let Some(router) = reader.member(at, "router") {
            self.router.read(reader, router);
        }
        self.primary_port = reader.short(at, "primaryPort");
        self.secondary_port = reader.short(at, "secondaryPort");
        self.tertiary_port = reader.short(at, "tertiaryPort");
        self.allow_secondary_port = reader.flag(at, "allowSecondaryPort");
        for item in reader.list(at, "bind", LIST_MAX) {
            match reader
                .text(item)
                .and_then(|text| text.trim_ascii().parse().ok())
            {
                Some(ip) => self.bind.push(ip),
                None => reader.expected(item, "an IP address"),
            }
        }
        for item in reader.list(at, "interfacePrefixBlacklist", LIST_MAX) {
            match reader.text(item) {
                // Everything begins with nothing.
                None | Some("") => reader.expected(item, "the beginning of an interface name"),
                Some(name) => self.interface_prefix_blacklist.push(name.to_owned()),
            }
        }
        for item in reader.list(at, "allowManagementFrom", LIST_MAX) {
            if let Some(IpNet { ip, bits }) = reader.net(item) {
                self.allow_management_from.push(Prefix { ip, bits });
            }
        }
        self.low_bandwidth_mode = reader.flag(at, "lowBandwidthMode") == Some(true);
        self.read_not_built(reader, at);
    }

    /// Keys of 1.14.1 that ask for something that is not there. Their defaults ask for nothing.
    fn read_not_built<'a>(&mut self, reader: &mut Reader<'a>, at: &'a Value) {
        let mut ask = |key: &'static str, on: bool| {
            if on {
                self.not_built.push(key);
            }
        };
        for key in &[
            "portMappingEnabled",
            "allowTcpFallbackRelay",
            "forceTcpRelay",
            "enableWebServer",
        ] {
            ask(key, reader.flag(at, key) == Some(true));
        }
        for (key, nothing) in &[
            ("tcpFallbackRelay", ""),
            ("defaultBondingPolicy", "none"),
            ("controllerDbPath", ""),
            ("softwareUpdate", "disable"),
        ] {
            let text = reader.member(at, key).and_then(|item| reader.text(item));
            ask(
                key,
                text.is_some_and(|text| !text.is_empty() && text != *nothing),
            );
        }
        for key in &["policies", "peerSpecificBonds"] {
            let members = reader.member(at, key).map(|item| reader.members(item));
            let mut members = members.unwrap_or_default().iter();
            ask(key, members.any(|(_, value)| !value.is_null()));
        }
        let router = &self.router;
        let figures = router.metrics == Some(true) && !cfg!(feature = "metrics");
        ask("router.metrics", figures);
        ask("router.stateDir", router.state_dir.is_some());
        ask("router.netifd", router.netifd);
    }
}

impl Router {
    fn read<'a>(&mut self, reader: &mut Reader<'a>, at: &'a Value) {
        self.control_tcp = reader.member(at, "controlTcp").map(|item| match item {
            Value::Bool(false) => ControlTcp::Off,
            Value::Bool(true) => ControlTcp::Primary,
            _ => match reader.as_short(item) {
                0 => ControlTcp::Off,
                port => ControlTcp::Port(port),
            },
        });
        self.log_level = reader.member(at, "logLevel").and_then(|item| {
            let level = reader.text(item)?.parse().ok();
            if level.is_none() {
                let why = "levels are off, error, warn, info, debug, trace";
                reader.wrong(item, format_args!("{why}"));
            }
            level
        });
        self.control_group = reader.owned(at, "controlGroup");
        self.control_read_only = reader.flag(at, "controlReadOnly") == Some(true);
        self.peer_cache = reader.flag(at, "peerCache");
        self.metrics = reader.flag(at, "metrics");
        self.state_dir = reader.owned(at, "stateDir");
        self.netifd = reader.flag(at, "netifd") == Some(true);
    }
}

/// A net, or one address alone.
fn net(text: &str) -> Option<IpNet> {
    let prefix = Prefix::parse(text).or_else(|| {
        let ip: IpAddr = text.trim_ascii().parse().ok()?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        Some(Prefix { ip, bits })
    })?;
    let net = prefix.network();
    Some(IpNet {
        ip: net.ip,
        bits: net.bits,
    })
}

/// Looks at values. What is not as it should be reads as nothing; the first such is noted, and the
/// file is not taken.
struct Reader<'a> {
    wrong: Option<(&'a Value, String)>,
}

impl<'a> Reader<'a> {
    #[cold]
    #[inline(never)]
    fn wrong(&mut self, at: &'a Value, why: fmt::Arguments<'_>) {
        if self.wrong.is_none() {
            self.wrong = Some((at, why.to_string()));
        }
    }

    #[cold]
    fn expected(&mut self, at: &'a Value, what: &str) {
        self.wrong(at, format_args!("{what} is expected"));
    }

    /// The members of an object, those that are `null` too.
    fn members(&mut self, at: &'a Value) -> &'a [(String, Value)] {
        at.as_object().unwrap_or_else(|| {
            self.expected(at, "an object");
            &[]
        })
    }

    /// A member; `null` is none.
    #[inline(never)]
    fn member(&mut self, at: &'a Value, key: &str) -> Option<&'a Value> {
        self.members(at);
        at.get(key).filter(|value| !value.is_null())
    }

    #[inline(never)]
    fn flag(&mut self, at: &'a Value, key: &str) -> Option<bool> {
        let item = self.member(at, key)?;
        match item {
            Value::Bool(on) => Some(*on),
            Value::Number(text) => {
                let mut digits = text.bytes().take_while(|b| !matches!(b, b'e' | b'E'));
                let is_some = digits.any(|b| matches!(b, b'1'..=b'9'));
                Some(is_some && !text.starts_with('-'))
            }
            Value::String(text) => Some(matches!(text.as_bytes(), [b't' | b'T' | b'1', ..])),
            _ => {
                self.expected(item, "true or false");
                None
            }
        }
    }

    fn number(&mut self, at: &'a Value, key: &str, most: u64) -> Option<u64> {
        let item = self.member(at, key)?;
        Some(self.as_number(item, most))
    }

    #[inline(never)]
    fn as_number(&mut self, item: &'a Value, most: u64) -> u64 {
        let number = match item {
            Value::Bool(on) => Some(u64::from(*on)),
            Value::Number(text) => text.parse().ok(),
            Value::String(text) => text.trim_ascii().parse().ok(),
            _ => None,
        };
        number.filter(|n| *n <= most).unwrap_or_else(|| {
            let why = format_args!("a whole number from 0 to {most} is expected");
            self.wrong(item, why);
            0
        })
    }

    fn short(&mut self, at: &'a Value, key: &str) -> Option<u16> {
        let item = self.member(at, key)?;
        Some(self.as_short(item))
    }

    fn as_short(&mut self, item: &'a Value) -> u16 {
        u16::try_from(self.as_number(item, u64::from(u16::MAX))).unwrap_or(0)
    }

    fn text(&mut self, item: &'a Value) -> Option<&'a str> {
        let text = item.as_str();
        if text.is_none() {
            self.expected(item, "a string");
        }
        text
    }

    /// A string; an empty one is none.
    fn owned(&mut self, at: &'a Value, key: &str) -> Option<String> {
        let item = self.member(at, key)?;
        let text = self.text(item)?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn net(&mut self, item: &'a Value) -> Option<IpNet> {
        let net = self.text(item).and_then(net);
        if net.is_none() {
            self.expected(item, "a network such as 10.0.0.0/8");
        }
        net
    }

    /// The elements of a list, if there is one.
    #[inline(never)]
    fn list(&mut self, at: &'a Value, key: &str, most: usize) -> &'a [Value] {
        let Some(item) = self.member(at, key) else {
            return &[];
        };
        match item.as_array() {
            None => self.expected(item, "a list"),
            Some(elements) if elements.len() <= most => return elements,
            Some(_) => self.wrong(item, format_args!("at most {most} elements")),
        }
        &[]
    }
}

#[cfg(test)]
mod tests;
