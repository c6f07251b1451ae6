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

use super::json::{self, Place, Step, Value};
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
/// Steps from the whole to any value that is looked at.
const DEPTH_MAX: usize = 5;

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
        let plain = |why: &str| Bad {
            place: None,
            why: why.to_owned(),
        };
        if bytes.len() > FILE_MAX_BYTES {
            return Err(plain("longer than 16 KiB"));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let good = core::str::from_utf8(good).unwrap_or_default();
            Bad {
                place: Some(Place::of(good, good.len())),
                why: "no UTF-8".to_owned(),
            }
        })?;
        // Some editors put one there.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Ok((Self::default(), Value::Object(Vec::new())));
        }
        let tree = Value::parse(text).map_err(|bad| Bad {
            place: Some(bad.place),
            why: bad.why.to_owned(),
        })?;
        let conf = Self::of(&tree).map_err(|wrong| Bad {
            place: json::locate(text, &wrong.path),
            why: wrong.why,
        })?;
        Ok((conf, tree))
    }

    /// Adds what the file `trustedpaths` of before 1.2 says, lines `<hex id>=<net/bits>`; nets that
    /// have an id already keep it. `complain` hears of each line that means nothing.
    pub fn add_trusted_paths(&mut self, text: &str, mut complain: impl FnMut(usize)) {
        for (n, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let entry = line.split_once('=').and_then(|(id, at)| {
                let id = u64::from_str_radix(id.trim(), 16).ok()?;
                let at = net(at.trim()).filter(|net| net.bits > 0)?;
                (id != 0).then_some((id, at))
            });
            let Some((id, at)) = entry else {
                complain(n.saturating_add(1));
                continue;
            };
            let physical = &mut self.underlay.physical;
            let room = physical.len() < underlay::NETS_MAX;
            match physical.iter_mut().find(|p| p.net == at) {
                Some(known) if known.trusted_path_id == 0 => known.trusted_path_id = id,
                Some(_) => {}
                None if room => physical.push(PhysicalNet {
                    net: at,
                    blacklist: false,
                    trusted_path_id: id,
                    mtu: 0,
                }),
                None => complain(n.saturating_add(1)),
            }
        }
    }

    fn of(tree: &Value) -> Result<Self, Wrong<'_>> {
        let whole = At {
            value: tree,
            path: heapless::Vec::new(),
        };
        let mut conf = Self::default();
        if let Some(physical) = whole.member("physical")? {
            conf.read_physical(&physical)?;
        }
        if let Some(peers) = whole.member("virtual")? {
            conf.read_virtual(&peers)?;
        }
        if let Some(settings) = whole.member("settings")? {
            conf.settings = read_settings(&settings)?;
        }
        conf.underlay.low_bandwidth = conf.settings.low_bandwidth_mode;
        Ok(conf)
    }

    fn read_physical<'a>(&mut self, physical: &At<'a>) -> Result<(), Wrong<'a>> {
        for (key, entry) in physical.members()? {
            let Some(net) = net(key) else {
                self.doubts
                    .push(format!("physical: \"{key}\" is no network and is ignored"));
                continue;
            };
            // Of equal keys the last counts.
            self.underlay.physical.retain(|p| p.net != net);
            self.underlay.physical.push(PhysicalNet {
                net,
                blacklist: entry.flag("blacklist")?.unwrap_or(false),
                trusted_path_id: entry.number("trustedPathId", u64::MAX)?.unwrap_or(0),
                mtu: narrow(entry.number("mtu", u64::from(u16::MAX))?).unwrap_or(0),
            });
        }
        if self.underlay.physical.len() > underlay::NETS_MAX {
            return Err(physical.wrong(format!("at most {} nets", underlay::NETS_MAX)));
        }
        Ok(())
    }

    fn read_virtual<'a>(&mut self, peers: &At<'a>) -> Result<(), Wrong<'a>> {
        for (key, entry) in peers.members()? {
            let Some(address) = Address::parse(key) else {
                self.doubts
                    .push(format!("virtual: \"{key}\" is no address and is ignored"));
                continue;
            };
            let try_at = entry.list("try", underlay::TRIES_MAX, |item| {
                let at = inet::parse_slash(item.text()?).filter(|at| at.port() != 0);
                at.ok_or_else(|| item.wrong("an address such as 192.0.2.1/9993 is expected"))
            })?;
            let blacklist = entry.list("blacklist", underlay::PEER_NETS_MAX, At::net)?;
            let identity = match entry.member("identity")? {
                Some(item) => {
                    let identity = Identity::parse(item.text()?).ok();
                    let identity = identity.filter(|i| i.address == address);
                    Some(identity.ok_or_else(|| {
                        item.wrong("the public identity of this address is expected")
                    })?)
                }
                None => None,
            };
            self.underlay.peers.retain(|p| p.address != address);
            self.underlay.peers.push(PeerHints {
                address,
                try_at: try_at.unwrap_or_default(),
                blacklist: blacklist.unwrap_or_default(),
                identity,
            });
        }
        if self.underlay.peers.len() > underlay::PEERS_MAX {
            return Err(peers.wrong(format!("at most {} peers", underlay::PEERS_MAX)));
        }
        Ok(())
    }
}

fn read_settings<'a>(at: &At<'a>) -> Result<Settings, Wrong<'a>> {
    let port = |key: &'static str| Ok(narrow(at.number(key, u64::from(u16::MAX))?));
    let router = match at.member("router")? {
        Some(router) => read_router(&router)?,
        None => Router::default(),
    };
    let settings = Settings {
        primary_port: port("primaryPort")?,
        secondary_port: port("secondaryPort")?,
        tertiary_port: port("tertiaryPort")?,
        allow_secondary_port: at.flag("allowSecondaryPort")?,
        bind: at.list("bind", LIST_MAX, At::ip)?.unwrap_or_default(),
        interface_prefix_blacklist: at
            .list("interfacePrefixBlacklist", LIST_MAX, |item| {
                let name = item.text()?;
                // Everything begins with nothing.
                if name.is_empty() {
                    return Err(item.wrong("the beginning of an interface name is expected"));
                }
                Ok(name.to_owned())
            })?
            .unwrap_or_default(),
        allow_management_from: at
            .list("allowManagementFrom", LIST_MAX, |item| {
                item.net().map(|net| Prefix {
                    ip: net.ip,
                    bits: net.bits,
                })
            })?
            .unwrap_or_default(),
        low_bandwidth_mode: at.flag("lowBandwidthMode")?.unwrap_or(false),
        not_built: not_built(at, &router)?,
        router,
    };
    Ok(settings)
}

fn read_router<'a>(at: &At<'a>) -> Result<Router, Wrong<'a>> {
    let text = |key: &'static str| -> Result<Option<String>, Wrong<'a>> {
        let item = at.member(key)?;
        let text = item.map(|item| item.text().map(ToOwned::to_owned));
        Ok(text.transpose()?.filter(|text| !text.is_empty()))
    };
    let control_tcp = match at.member("controlTcp")? {
        None => None,
        Some(item) => Some(match item.value {
            Value::Bool(false) => ControlTcp::Off,
            Value::Bool(true) => ControlTcp::Primary,
            _ => match narrow(Some(item.as_number(u64::from(u16::MAX))?)) {
                None | Some(0) => ControlTcp::Off,
                Some(port) => ControlTcp::Port(port),
            },
        }),
    };
    let log_level = match at.member("logLevel")? {
        None => None,
        Some(item) => Some(
            item.text()?
                .parse()
                .map_err(|_| item.wrong("levels are off, error, warn, info, debug, trace"))?,
        ),
    };
    Ok(Router {
        control_tcp,
        control_group: text("controlGroup")?,
        control_read_only: at.flag("controlReadOnly")?.unwrap_or(false),
        log_level,
        peer_cache: at.flag("peerCache")?,
        metrics: at.flag("metrics")?,
        state_dir: text("stateDir")?,
        netifd: at.flag("netifd")?.unwrap_or(false),
    })
}

/// Keys of 1.14.1 that ask for something that is not there. Their defaults ask for nothing.
fn not_built<'a>(at: &At<'a>, router: &Router) -> Result<Vec<&'static str>, Wrong<'a>> {
    let mut all = Vec::new();
    for key in [
        "portMappingEnabled",
        "allowTcpFallbackRelay",
        "forceTcpRelay",
        "enableWebServer",
    ] {
        if at.flag(key)?.unwrap_or(false) {
            all.push(key);
        }
    }
    for (key, nothing) in [
        ("tcpFallbackRelay", ""),
        ("defaultBondingPolicy", "none"),
        ("controllerDbPath", ""),
        ("softwareUpdate", "disable"),
    ] {
        if let Some(item) = at.member(key)? {
            let text = item.text()?;
            if !text.is_empty() && text != nothing {
                all.push(key);
            }
        }
    }
    for key in ["policies", "peerSpecificBonds"] {
        if let Some(item) = at.member(key)?
            && item.members()?.next().is_some()
        {
            all.push(key);
        }
    }
    let ours = [
        (
            "router.metrics",
            router.metrics == Some(true) && !cfg!(feature = "metrics"),
        ),
        ("router.stateDir", router.state_dir.is_some()),
        ("router.netifd", router.netifd),
    ];
    all.extend(ours.iter().filter(|(_, on)| *on).map(|(key, _)| *key));
    Ok(all)
}

/// A net, or one address alone.
fn net(text: &str) -> Option<IpNet> {
    let prefix = Prefix::parse(text).or_else(|| {
        let ip: IpAddr = text.trim().parse().ok()?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        Some(Prefix { ip, bits })
    })?;
    let net = prefix.network();
    Some(IpNet {
        ip: net.ip,
        bits: net.bits,
    })
}

fn narrow(number: Option<u64>) -> Option<u16> {
    number.and_then(|n| u16::try_from(n).ok())
}

/// A value that is not what it should be.
struct Wrong<'a> {
    path: heapless::Vec<Step<'a>, DEPTH_MAX>,
    why: String,
}

/// A value and the way to it.
#[derive(Clone)]
struct At<'a> {
    value: &'a Value,
    path: heapless::Vec<Step<'a>, DEPTH_MAX>,
}

impl<'a> At<'a> {
    fn wrong(&self, why: impl Into<String>) -> Wrong<'a> {
        Wrong {
            path: self.path.clone(),
            why: why.into(),
        }
    }

    fn step(&self, step: Step<'a>, value: &'a Value) -> Self {
        let mut path = self.path.clone();
        // Deeper than anything here looks: the place is that of what is around it.
        let _ = path.push(step);
        Self { value, path }
    }

    /// A member; `null` is none.
    fn member(&self, key: &'a str) -> Result<Option<Self>, Wrong<'a>> {
        if self.value.as_object().is_none() {
            return Err(self.wrong("an object is expected"));
        }
        let value = self.value.get(key).filter(|value| **value != Value::Null);
        Ok(value.map(|value| self.step(Step::Key(key), value)))
    }

    /// The members of an object but those that are `null`.
    fn members(&self) -> Result<impl Iterator<Item = (&'a str, Self)> + use<'a>, Wrong<'a>> {
        let members = self.value.as_object();
        let members = members.ok_or_else(|| self.wrong("an object is expected"))?;
        let whole = self.clone();
        Ok(members
            .iter()
            .filter(|(_, value)| *value != Value::Null)
            .map(move |(key, value)| (key.as_str(), whole.step(Step::Key(key), value))))
    }

    fn flag(&self, key: &'a str) -> Result<Option<bool>, Wrong<'a>> {
        self.member(key)?.map(|item| item.as_flag()).transpose()
    }

    fn as_flag(&self) -> Result<bool, Wrong<'a>> {
        match self.value {
            Value::Bool(on) => Ok(*on),
            Value::Number(text) => Ok(!text.starts_with('-')
                && text
                    .split(['e', 'E'])
                    .next()
                    .is_some_and(|digits| digits.bytes().any(|b| (b'1'..=b'9').contains(&b)))),
            Value::String(text) => Ok(text.starts_with(['t', 'T', '1'])),
            _ => Err(self.wrong("true or false is expected")),
        }
    }

    fn number(&self, key: &'a str, most: u64) -> Result<Option<u64>, Wrong<'a>> {
        let item = self.member(key)?;
        item.map(|item| item.as_number(most)).transpose()
    }

    fn as_number(&self, most: u64) -> Result<u64, Wrong<'a>> {
        let number = match self.value {
            Value::Bool(on) => Some(u64::from(*on)),
            Value::Number(text) => text.parse().ok(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .filter(|n| *n <= most)
            .ok_or_else(|| self.wrong(format!("a whole number from 0 to {most} is expected")))
    }

    fn text(&self) -> Result<&'a str, Wrong<'a>> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.wrong("a string is expected"))
    }

    fn ip(&self) -> Result<IpAddr, Wrong<'a>> {
        let ip = self.text()?.trim().parse();
        ip.map_err(|_| self.wrong("an IP address is expected"))
    }

    fn net(&self) -> Result<IpNet, Wrong<'a>> {
        net(self.text()?).ok_or_else(|| self.wrong("a network such as 10.0.0.0/8 is expected"))
    }

    /// A list; each of its elements is read by `read`.
    fn list<T>(
        &self,
        key: &'a str,
        most: usize,
        read: impl Fn(&Self) -> Result<T, Wrong<'a>>,
    ) -> Result<Option<Vec<T>>, Wrong<'a>> {
        let Some(item) = self.member(key)? else {
            return Ok(None);
        };
        let elements = item.value.as_array();
        let elements = elements.ok_or_else(|| item.wrong("a list is expected"))?;
        if elements.len() > most {
            return Err(item.wrong(format!("at most {most} elements")));
        }
        let steps = elements.iter().enumerate();
        let read = steps.map(|(n, value)| read(&item.step(Step::Index(n), value)));
        read.collect::<Result<Vec<T>, _>>().map(Some)
    }
}

#[cfg(test)]
mod tests;
