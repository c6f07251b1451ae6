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

/// A list: writes element `n` behind the comma it is given, or says that there is none.
struct Items<'a>(&'a dyn Fn(&mut fmt::Formatter<'_>, &str, usize) -> Option<fmt::Result>);

impl fmt::Display for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        let mut comma = "";
        for n in 0.. {
            match (self.0)(f, comma, n) {
                Some(written) => written?,
                None => break,
            }
            comma = ",";
        }
        f.write_char(']')
    }
}

/// What only some answers have.
struct If<'a>(bool, fmt::Arguments<'a>);

impl fmt::Display for If<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 { f.write_fmt(self.1) } else { Ok(()) }
    }
}

/// A string that needs no escapes.
struct Word<T>(T);

impl<T: fmt::Display> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

const NULL: &str = "null";

/// The members that tell who we are.
macro_rules! version {
    () => {
        concat!(
            r#""version":""#,
            env!("CARGO_PKG_VERSION_MAJOR"),
            ".",
            env!("CARGO_PKG_VERSION_MINOR"),
            ".",
            env!("CARGO_PKG_VERSION_PATCH"),
            r#"","versionBuild":0,"versionMajor":"#,
            env!("CARGO_PKG_VERSION_MAJOR"),
            r#","versionMinor":"#,
            env!("CARGO_PKG_VERSION_MINOR"),
            r#","versionRev":"#,
            env!("CARGO_PKG_VERSION_PATCH"),
        )
    };
}

// Each object is one text with its values in it. Writing to a String cannot fail.

#[cfg(feature = "http-compat")]
fn write_health(out: &mut String, host: &dyn Host) {
    let info = host.info();
    let _ = write!(
        out,
        concat!(r#"{{"clock":{},"online":{},"#, version!(), "}}"),
        info.clock.as_ms(),
        info.online,
    );
}

/// What is in force, and of `local.conf` either nothing or all.
fn config(host: &dyn Host, depth: Depth) -> Value {
    let info = host.info();
    let strings = |at: &dyn Fn(usize) -> Option<SocketAddr>| {
        let mut all = Vec::new();
        while let Some(at) = at(all.len()) {
            all.push(Value::string(Slash(at)));
        }
        Value::Array(all)
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
    let _ = write!(
        out,
        concat!(
            r#"{{"address":"{}","clock":{},"config":{},"online":{},"planetWorldId":{},"#,
            r#""planetWorldTimestamp":{},"publicIdentity":"{}","tcpFallbackActive":false,"#,
            version!(),
            "}}"
        ),
        info.identity.address,
        info.clock.as_ms(),
        config(host, depth),
        info.online,
        info.planet_id,
        info.planet_timestamp,
        info.identity,
    );
}

fn write_peer(out: &mut String, host: &dyn Host, peer: &PeerRow<'_>) {
    let clock = host.info().clock;
    let paths = Items(&|f, comma, n| {
        let path = host.path(peer.address, n)?;
        Some(write_path(f, comma, &path, clock))
    });
    let [major, minor, revision] = peer.version.map_or([-1, -1, -1], |(a, b, c)| {
        [i32::from(a), i32::from(b), i32::from(c)]
    });
    let _ = write!(
        out,
        concat!(
            r#"{{"address":"{}","isBonded":false,"latency":{},"paths":{},"role":"{}","#,
            r#""tunneled":false,"version":"{major}.{minor}.{revision}","#,
            r#""versionMajor":{major},"versionMinor":{minor},"versionRev":{revision}}}"#
        ),
        peer.address,
        Or(peer.latency_ms, NEVER),
        paths,
        peer.role,
        major = major,
        minor = minor,
        revision = revision,
    );
}

fn write_path(
    f: &mut fmt::Formatter<'_>,
    comma: &str,
    path: &PathRow<'_>,
    clock: UnixMs,
) -> fmt::Result {
    let time = |age: Option<u64>| age.map_or(0, |age| clock.as_ms().saturating_sub(age));
    write!(
        f,
        concat!(
            r#"{comma}{{"active":{},"address":"{}","expired":{},"lastReceive":{},"lastSend":{},"#,
            r#""localPort":{},"localSocket":{},"preferred":{},"trustedPathId":0}}"#
        ),
        // The one is the other's opposite there.
        !path.expired,
        Slash(path.remote),
        path.expired,
        time(path.received_ms),
        time(path.sent_ms),
        path.local.map_or(0, |at| at.port()),
        path.socket,
        path.preferred,
        comma = comma,
    )
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
    let addresses = Items(&|f, comma, n| {
        let net = host.address(id, n)?;
        let installed = Quoted(word(host.address_installed(id, n)));
        let text = format_args!(r#"{comma}{{"address":"{net}","installed":{installed}}}"#);
        Some(f.write_fmt(text))
    });
    let mut allowed = String::new();
    let on = [row.allow_default, row.allow_global, row.allow_managed];
    for (key, on) in WITH_PREFIXES.iter().zip(&on) {
        let list = prefixes(host, id, key).unwrap_or_default();
        let prefixes = Items(&|f, comma, n| {
            let prefix = list.split(',').nth(n)?;
            Some(write!(f, r#"{comma}"{prefix}""#))
        });
        let prefixes = format_args!(r#""{key}Prefixes":{prefixes},"#);
        let prefixes = If(!list.is_empty(), prefixes);
        let _ = write!(allowed, r#""{key}":{on},{prefixes}"#);
    }
    let assigned = Items(&|f, comma, n| {
        let net = host.address(id, n)?;
        Some(write!(f, r#"{comma}"{net}""#))
    });
    let servers = Items(&|f, comma, n| {
        let ip = host.dns_server(id, n)?;
        Some(write!(f, r#"{comma}"{ip}""#))
    });
    let groups = Items(&|f, comma, n| {
        let (mac, adi) = host.group(id, n)?;
        Some(write!(f, r#"{comma}{{"adi":{adi},"mac":"{mac}"}}"#))
    });
    let routes = Items(&|f, comma, n| {
        let route = host.route(id, n)?;
        let installed = Quoted(word(route.installed));
        let installed = format_args!(r#""installed":{installed},"#);
        Some(write!(
            f,
            r#"{comma}{{"flags":{},{}"metric":{},"target":"{}","via":{}}}"#,
            route.flags,
            If(states, installed),
            route.metric,
            route.target,
            Or(route.via.map(Word), NULL),
        ))
    });
    let _ = write!(
        out,
        concat!(
            r#"{{{}"allowDNS":{},{}"assignedAddresses":{},"bridge":{},"broadcastEnabled":{},"#,
            r#""dhcp":false,"dns":{{"domain":{},"servers":{}{}}},"id":"{id}","mac":"{}","mtu":{},"#,
            r#""multicastSubscriptions":{},"name":{},"netconfRevision":{},"nwid":"{id}","#,
            r#""portDeviceName":{},"portError":{},"routes":{},"status":"{}","type":"{}"}}"#
        ),
        If(states, format_args!(r#""addresses":{addresses},"#)),
        row.allow_dns,
        allowed,
        assigned,
        row.bridge,
        row.broadcast,
        Quoted(row.dns_domain),
        servers,
        If(
            states,
            format_args!(r#","state":{}"#, Quoted(row.dns_state))
        ),
        row.mac,
        row.mtu,
        groups,
        Quoted(row.name),
        row.revision,
        Quoted(row.device),
        row.port_error,
        routes,
        row.status,
        row.kind,
        id = id,
    );
}

fn write_moon(out: &mut String, moon: &MoonRow<'_>) {
    let world = moon.world.as_ref();
    let roots = Items(&|f, comma, n| {
        let root = world?.roots().nth(n)?;
        let endpoints = Items(&|f, comma, n| {
            let at = Slash(root.endpoints().nth(n)?);
            Some(write!(f, r#"{comma}"{at}""#))
        });
        let identity = root.identity;
        Some(write!(
            f,
            r#"{comma}{{"identity":"{identity}","stableEndpoints":{endpoints}}}"#
        ))
    });
    let _ = write!(
        out,
        concat!(
            r#"{{"id":"{:016x}","roots":{},"signature":{},"timestamp":{},"#,
            r#""updatesMustBeSignedBy":{},"waiting":{}}}"#
        ),
        moon.id,
        roots,
        Or(world.map(|world| Word(Hex(world.signature))), NULL),
        world.map_or(0, |world| world.timestamp),
        Or(world.map(|world| Word(Hex(world.update_key))), NULL),
        world.is_none(),
    );
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
