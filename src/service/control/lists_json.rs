//! The same as JSON, for the control protocol and for HTTP, with the fields of 1.14.1 (service 4.2 to 4.6), keys sorted, in lines.
//!
//! One object at a time is written down and sent in lines that end at a comma. The longest is a
//! network with many groups, about 45 bytes each: under 64 KiB.

use core::fmt::{self, Write as _};
use core::net::SocketAddr;

use super::buffer::Buffer;
use super::host::{Host, MoonRow, NetworkRow, PathRow, PeerRow};
use super::line::{Hex, ROW_MAX};
use super::lists::{NEVER, Or};
use super::lists_network::{prefixes, word};
use crate::base::{Address, NetworkId, UnixMs};
use crate::service::json::{Quoted, Value};
use crate::wire::inet::Slash;

/// Where a text is. `sent` ≤ `text.len()`.
#[derive(Debug)]
pub(in crate::service) struct JsonList {
    what: What,
    next: Next,
    text: String,
    sent: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Status(Depth),
    Config,
    Done,
    #[cfg(feature = "http-compat")]
    Health,
    Peers,
    Peer(Address),
    Networks,
    Network(NetworkId, Depth),
    Moons,
    Moon(u64),
}

/// What is written down next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Begin,
    /// Element at this cursor, which is not the first.
    Element(usize),
    Nothing,
}

impl JsonList {
    const fn new(what: What) -> Self {
        Self {
            what,
            next: Next::Begin,
            text: String::new(),
            sent: 0,
        }
    }

    pub(super) const fn status() -> Self {
        Self::new(What::Status(Depth::AsReference))
    }

    pub(in crate::service) const fn peers() -> Self {
        Self::new(What::Peers)
    }

    pub(in crate::service) const fn networks() -> Self {
        Self::new(What::Networks)
    }

    /// A network, with what became of its addresses, routes and names.
    pub(super) const fn network(id: NetworkId) -> Self {
        Self::new(What::Network(id, Depth::States))
    }

    pub(in crate::service) const fn moons() -> Self {
        Self::new(What::Moons)
    }

    /// What 1.14.1 answers when something is gone.
    pub(super) const fn done() -> Self {
        Self::new(What::Done)
    }

    #[cfg(feature = "http-compat")]
    pub(in crate::service) const fn whole_status() -> Self {
        Self::new(What::Status(Depth::WithFile))
    }

    /// `local.conf` as a whole.
    pub(in crate::service) const fn config() -> Self {
        Self::new(What::Config)
    }

    #[cfg(feature = "http-compat")]
    pub(in crate::service) const fn health() -> Self {
        Self::new(What::Health)
    }

    /// A peer; without members if there is none.
    pub(in crate::service) const fn peer(address: Address) -> Self {
        Self::new(What::Peer(address))
    }

    /// A network as 1.14.1 shows it; without members if there is none.
    pub(in crate::service) const fn bare_network(id: NetworkId) -> Self {
        Self::new(What::Network(id, Depth::AsReference))
    }

    /// A moon; without members if there is none.
    pub(in crate::service) const fn moon(id: u64) -> Self {
        Self::new(What::Moon(id))
    }

    /// Appends text until `out` holds `max` bytes. `false`: that was all of it.
    #[cfg(feature = "http-compat")]
    pub(in crate::service) fn read(
        &mut self,
        host: &dyn Host,
        out: &mut Vec<u8>,
        max: usize,
    ) -> bool {
        loop {
            let rest = self.text.as_bytes().get(self.sent..).unwrap_or_default();
            let part = rest.get(..max.saturating_sub(out.len())).unwrap_or(rest);
            out.extend_from_slice(part);
            self.sent += part.len();
            if self.sent < self.text.len() {
                return true;
            }
            self.write_next(host);
            if self.text.is_empty() {
                return false;
            }
        }
    }

    /// Writes the next line. `false`: there is none.
    pub(super) fn next(&mut self, host: &dyn Host, out: &mut Buffer) -> bool {
        if self.sent == self.text.len() {
            self.write_next(host);
        }
        let rest = self.text.get(self.sent..).unwrap_or_default();
        let line = first_line(rest, ROW_MAX - 1);
        if line.is_empty() {
            return false;
        }
        out.row(format_args!("{line}"));
        self.sent += line.len();
        true
    }

    fn write_next(&mut self, host: &dyn Host) {
        let text = &mut self.text;
        text.clear();
        self.sent = 0;
        let (cursor, is_first) = match self.next {
            Next::Nothing => return,
            Next::Begin => (0, true),
            Next::Element(cursor) => (cursor, false),
        };
        let is_list = matches!(self.what, What::Peers | What::Networks | What::Moons);
        if is_list {
            text.push(if is_first { '[' } else { ',' });
        }
        match self.what {
            What::Status(depth) => write_status(text, host, depth),
            What::Config => {
                if let Some(tree) = host.local_conf() {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{}", tree.sorted());
                }
            }
            What::Done => text.push_str("{\"result\":true}"),
            #[cfg(feature = "http-compat")]
            What::Health => write_health(text, host),
            What::Peer(address) => {
                if let Some(row) = host.peer(address) {
                    write_peer(text, host, &row);
                }
            }
            What::Moon(id) => {
                let mut moons = (0..).map_while(|n| host.moon(n));
                if let Some(moon) = moons.find(|moon| moon.id == id) {
                    write_moon(text, &moon);
                }
            }
            What::Network(id, depth) => {
                if let Some(row) = host.network(id) {
                    write_network(text, host, &row, depth);
                }
            }
            What::Peers | What::Networks | What::Moons => {}
        }
        if !is_list {
            if text.is_empty() {
                text.push_str("{}");
            }
            self.next = Next::Nothing;
            return;
        }
        let next = match self.what {
            What::Peers => host.next_peer(cursor).map(|(next, row)| {
                write_peer(text, host, &row);
                next
            }),
            What::Networks => host.next_network(cursor).map(|(next, row)| {
                write_network(text, host, &row, Depth::AsReference);
                next
            }),
            _ => host.moon(cursor).map(|row| {
                write_moon(text, &row);
                cursor + 1
            }),
        };
        self.next = match next {
            Some(next) => Next::Element(next),
            None => {
                text.truncate(usize::from(is_first));
                text.push(']');
                Next::Nothing
            }
        };
    }
}

/// As much of `text` as fits into `max` bytes and ends behind a comma that is no part of a
/// string; all of it when it fits.
fn first_line(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let (mut in_string, mut escaped, mut end) = (false, false, 0);
    for (at, byte) in text.bytes().enumerate().take(max) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b',' if !in_string => end = at + 1,
            _ => {}
        }
    }
    if end == 0 {
        // One string of 4 KiB: whoever puts the lines together again has it whole.
        end = max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
    }
    text.get(..end).unwrap_or_default()
}

/// An object, written member by member.
struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    #[inline(never)]
    fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self {
            out,
            is_empty: true,
        }
    }

    #[inline(never)]
    fn end(self) {
        self.out.push('}');
    }

    /// Writing to a String cannot fail.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(text);
    }

    #[inline(never)]
    fn key(&mut self, key: &str) -> &mut String {
        let comma = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        self.write(format_args!("{comma}\"{key}\":"));
        self.out
    }

    /// A number, a boolean, or JSON as it is.
    #[inline(never)]
    fn plain(&mut self, key: &str, value: &dyn fmt::Display) {
        self.key(key);
        self.write(format_args!("{value}"));
    }

    /// A string that needs no escapes.
    #[inline(never)]
    fn word(&mut self, key: &str, value: &dyn fmt::Display) {
        self.plain(key, &format_args!("\"{value}\""));
    }

    fn text(&mut self, key: &str, text: &str) {
        self.plain(key, &Quoted(text));
    }

    #[inline(never)]
    fn flag(&mut self, key: &str, on: bool) {
        self.plain(key, &on);
    }

    #[inline(never)]
    fn number(&mut self, key: &str, number: u64) {
        self.plain(key, &number);
    }

    /// A list; `item` writes the next of it, or says that there is none.
    #[inline(never)]
    fn list(&mut self, key: &str, item: &mut dyn FnMut(&mut String) -> Option<()>) {
        let out = self.key(key);
        out.push('[');
        let begin = out.len();
        while item(out).is_some() {
            out.push(',');
        }
        if out.len() > begin {
            out.pop();
        }
        out.push(']');
    }

    /// A list of strings that need no escapes.
    #[inline(never)]
    fn words(&mut self, key: &str, next: &mut dyn FnMut() -> Option<String>) {
        self.list(key, &mut |out| {
            let _ = write!(out, "\"{}\"", next()?);
            Some(())
        });
    }

    fn version(&mut self) {
        let (major, minor, revision) = crate::VERSION;
        self.word("version", &format_args!("{major}.{minor}.{revision}"));
        self.number("versionBuild", 0);
        self.number("versionMajor", major.into());
        self.number("versionMinor", minor.into());
        self.number("versionRev", revision.into());
    }
}

#[cfg(feature = "http-compat")]
fn write_health(out: &mut String, host: &dyn Host) {
    let info = host.info();
    let mut object = Object::begin(out);
    object.number("clock", info.clock.as_ms());
    object.flag("online", info.online);
    object.version();
    object.end();
}

/// What is in force, and of `local.conf` either nothing or all.
fn config(host: &dyn Host, depth: Depth) -> Value {
    let info = host.info();
    let strings = |at: &dyn Fn(usize) -> Option<SocketAddr>| {
        let all = (0..).map_while(at);
        Value::Array(all.map(|at| Value::string(Slash(at))).collect())
    };
    let file = match depth {
        #[cfg(feature = "http-compat")]
        Depth::WithFile => host.local_conf().cloned(),
        _ => None,
    };
    let mut config = file.unwrap_or(Value::Object(Vec::new()));
    if let Some(settings) = config.object_in("settings") {
        let mut set = |key, value| settings.set(key, value);
        // Not built, whatever the file says.
        for key in &[
            "allowTcpFallbackRelay",
            "forceTcpRelay",
            "portMappingEnabled",
        ] {
            set(key, Value::Bool(false));
        }
        set("softwareUpdate", Value::string("disable"));
        set("softwareUpdateChannel", Value::string("release"));
        set("homeDir", Value::string(info.home));
        set("listeningOn", strings(&|n| host.bound(n)));
        set("primaryPort", Value::number(info.port));
        set("surfaceAddresses", strings(&|n| host.surface(n)));
        for key in &["secondaryPort", "tertiaryPort"] {
            let in_force = host.conf_value(key);
            let in_force = in_force.and_then(|text| Value::parse(&text).ok());
            let in_force = in_force.filter(|value| !value.is_null());
            set(key, in_force.unwrap_or_else(|| Value::number(0)));
        }
    }
    config.sorted()
}

fn write_status(out: &mut String, host: &dyn Host, depth: Depth) {
    let info = host.info();
    let mut object = Object::begin(out);
    object.word("address", &info.identity.address);
    object.number("clock", info.clock.as_ms());
    object.plain("config", &config(host, depth));
    object.flag("online", info.online);
    object.number("planetWorldId", info.planet_id);
    object.number("planetWorldTimestamp", info.planet_timestamp);
    object.word("publicIdentity", info.identity);
    object.flag("tcpFallbackActive", false);
    object.version();
    object.end();
}

fn write_peer(out: &mut String, host: &dyn Host, peer: &PeerRow<'_>) {
    let clock = host.info().clock;
    let mut object = Object::begin(out);
    object.word("address", &peer.address);
    object.flag("isBonded", false);
    object.plain("latency", &Or(peer.latency_ms, NEVER));
    let mut n = 0;
    object.list("paths", &mut |out| {
        let path = host.path(peer.address, n)?;
        n += 1;
        write_path(out, &path, clock);
        Some(())
    });
    object.word("role", &peer.role);
    object.flag("tunneled", false);
    let [major, minor, revision] = peer.version.map_or([-1, -1, -1], |(a, b, c)| {
        [i32::from(a), i32::from(b), i32::from(c)]
    });
    object.word("version", &format_args!("{major}.{minor}.{revision}"));
    object.plain("versionMajor", &major);
    object.plain("versionMinor", &minor);
    object.plain("versionRev", &revision);
    object.end();
}

fn write_path(out: &mut String, path: &PathRow<'_>, clock: UnixMs) {
    let time = |age: Option<u64>| age.map_or(0, |age| clock.as_ms().saturating_sub(age));
    let mut object = Object::begin(out);
    // The one is the other's opposite there.
    object.flag("active", !path.expired);
    object.word("address", &Slash(path.remote));
    object.flag("expired", path.expired);
    object.number("lastReceive", time(path.received_ms));
    object.number("lastSend", time(path.sent_ms));
    object.number("localPort", path.local.map_or(0, |at| at.port().into()));
    object.number("localSocket", path.socket.into());
    object.flag("preferred", path.preferred);
    object.number("trustedPathId", 0);
    object.end();
}

/// What of a network, or of the daemon itself, is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Depth {
    /// The fields of 1.14.1.
    AsReference,
    /// And all of `local.conf`.
    #[cfg(feature = "http-compat")]
    WithFile,
    /// And what became of addresses, routes and names.
    States,
}

/// Settings with prefix lists; 1.14.1 has only the boolean (service 3.4).
const WITH_PREFIXES: [&str; 3] = ["allowDefault", "allowGlobal", "allowManaged"];

fn write_network(out: &mut String, host: &dyn Host, row: &NetworkRow<'_>, depth: Depth) {
    let id = row.id;
    let states = depth == Depth::States;
    let mut object = Object::begin(out);
    if states {
        let mut n = 0;
        object.list("addresses", &mut |out| {
            let net = host.address(id, n)?;
            let mut address = Object::begin(out);
            address.word("address", &net);
            address.text("installed", word(host.address_installed(id, n)));
            address.end();
            n += 1;
            Some(())
        });
    }
    object.flag("allowDNS", row.allow_dns);
    let on = [row.allow_default, row.allow_global, row.allow_managed];
    for (key, on) in WITH_PREFIXES.iter().zip(on) {
        object.flag(key, on);
        let list = prefixes(host, id, key).unwrap_or_default();
        if !list.is_empty() {
            let mut list = list.split(',');
            let key = format!("{key}Prefixes");
            object.words(&key, &mut || list.next().map(ToOwned::to_owned));
        }
    }
    let mut n = 0..;
    object.words("assignedAddresses", &mut || {
        Some(host.address(id, n.next()?)?.to_string())
    });
    object.flag("bridge", row.bridge);
    object.flag("broadcastEnabled", row.broadcast);
    object.flag("dhcp", false);
    let mut dns = Object::begin(object.key("dns"));
    dns.text("domain", row.dns_domain);
    let mut n = 0..;
    dns.words("servers", &mut || {
        Some(host.dns_server(id, n.next()?)?.to_string())
    });
    if states {
        dns.text("state", row.dns_state);
    }
    dns.end();
    object.word("id", &id);
    object.word("mac", &row.mac);
    object.number("mtu", row.mtu.into());
    let mut n = 0..;
    object.list("multicastSubscriptions", &mut |out| {
        let (mac, adi) = host.group(id, n.next()?)?;
        let mut group = Object::begin(out);
        group.number("adi", adi.into());
        group.word("mac", &mac);
        group.end();
        Some(())
    });
    object.text("name", row.name);
    object.number("netconfRevision", row.revision);
    object.word("nwid", &id);
    object.text("portDeviceName", row.device);
    object.plain("portError", &row.port_error);
    let mut n = 0..;
    object.list("routes", &mut |out| {
        let read = host.route(id, n.next()?)?;
        let mut route = Object::begin(out);
        route.number("flags", read.flags.into());
        if states {
            route.text("installed", word(read.installed));
        }
        route.number("metric", read.metric.into());
        route.word("target", &read.target);
        match read.via {
            Some(via) => route.word("via", &via),
            None => route.plain("via", &"null"),
        }
        route.end();
        Some(())
    });
    object.word("status", &row.status);
    object.word("type", &row.kind);
    object.end();
}

fn write_moon(out: &mut String, moon: &MoonRow<'_>) {
    let mut object = Object::begin(out);
    object.word("id", &format_args!("{:016x}", moon.id));
    let world = moon.world.as_ref();
    let mut roots = world.into_iter().flat_map(|world| world.roots());
    object.list("roots", &mut |out| {
        let root = roots.next()?;
        let mut object = Object::begin(out);
        object.word("identity", &root.identity);
        let mut endpoints = root.endpoints();
        object.words("stableEndpoints", &mut || {
            Some(Slash(endpoints.next()?).to_string())
        });
        object.end();
        Some(())
    });
    match world {
        Some(world) => {
            object.word("signature", &Hex(&world.signature));
            object.number("timestamp", world.timestamp);
            object.word("updatesMustBeSignedBy", &Hex(&world.update_key));
        }
        None => {
            object.plain("signature", &"null");
            object.number("timestamp", 0);
            object.plain("updatesMustBeSignedBy", &"null");
        }
    }
    object.flag("waiting", world.is_none());
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_commas_outside_strings() {
        let text = r#"["a,b\",c","d,e",1,2]"#;
        assert_eq!(first_line(text, text.len()), text);
        assert_eq!(first_line(text, 12), r#"["a,b\",c","#);
        assert_eq!(first_line(text, 16), r#"["a,b\",c","#);
        assert_eq!(first_line(text, 17), r#"["a,b\",c","d,e","#);
        assert_eq!(first_line("\"äää\"", 4), "\"ä");
    }
}
