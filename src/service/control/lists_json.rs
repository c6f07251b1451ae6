//! The same as JSON, for the control protocol and for HTTP, with the fields of 1.14.1 (service 4.2 to 4.6), keys sorted, in lines.
//!
//! One object at a time is written down and sent in lines that end at a comma. The longest is a
//! network with many groups, about 45 bytes each: under 64 KiB.

use core::fmt::{self, Write as _};
use core::net::{IpAddr, SocketAddr};

use super::buffer::Buffer;
use super::host::{Host, MoonRow, NetworkRow, PathRow, PeerRow};
use super::line::ROW_MAX;
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
    /// Element at this cursor, and whether it is the first.
    Element(usize, bool),
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
        self.text.clear();
        self.sent = 0;
        // Writing to a String cannot fail.
        let _ = self.write_down(host);
    }

    fn write_down(&mut self, host: &dyn Host) -> fmt::Result {
        let text = &mut self.text;
        match (self.next, self.what) {
            (Next::Nothing, _) => Ok(()),
            (_, What::Status(depth)) => {
                self.next = Next::Nothing;
                write!(text, "{}", Status(host, depth))
            }
            (_, What::Config) => {
                self.next = Next::Nothing;
                write!(text, "{}", OrEmpty(host.local_conf().map(Value::sorted)))
            }
            (_, What::Done) => {
                self.next = Next::Nothing;
                text.write_str("{\"result\":true}")
            }
            #[cfg(feature = "http-compat")]
            (_, What::Health) => {
                self.next = Next::Nothing;
                write!(text, "{}", Health(host))
            }
            (_, What::Peer(address)) => {
                self.next = Next::Nothing;
                let peer = host.peer(address).map(|row| Peer(host, row));
                write!(text, "{}", OrEmpty(peer))
            }
            (_, What::Moon(id)) => {
                self.next = Next::Nothing;
                let mut moons = (0..).map_while(|n| host.moon(n));
                let moon = moons.find(|moon| moon.id == id).map(Moon);
                write!(text, "{}", OrEmpty(moon))
            }
            (_, What::Network(id, depth)) => {
                self.next = Next::Nothing;
                let network = host.network(id).map(|row| Network(host, row, depth));
                write!(text, "{}", OrEmpty(network))
            }
            (Next::Begin, _) => {
                self.next = Next::Element(0, true);
                text.write_char('[')
            }
            (Next::Element(cursor, first), _) => {
                if !first {
                    text.push(',');
                }
                let next = match self.what {
                    What::Peers => host.next_peer(cursor).map(|(next, row)| {
                        let written = write!(text, "{}", Peer(host, row));
                        written.map(|()| next)
                    }),
                    What::Networks => host.next_network(cursor).map(|(next, row)| {
                        let written = write!(text, "{}", Network(host, row, Depth::AsReference));
                        written.map(|()| next)
                    }),
                    What::Moons => host.moon(cursor).map(|row| {
                        let written = write!(text, "{}", Moon(row));
                        written.map(|()| cursor + 1)
                    }),
                    _ => None,
                };
                self.next = match next.transpose()? {
                    Some(next) => Next::Element(next, false),
                    None => {
                        text.clear();
                        text.push(']');
                        Next::Nothing
                    }
                };
                Ok(())
            }
        }
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

/// `[a,b,…]`, each in quotes.
fn write_strings<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
) -> fmt::Result {
    f.write_char('[')?;
    for (n, item) in items.enumerate() {
        write!(f, "{}\"{item}\"", comma(n))?;
    }
    f.write_char(']')
}

fn comma(n: usize) -> &'static str {
    if n > 0 { "," } else { "" }
}

/// An object, or one without members.
struct OrEmpty<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrEmpty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(object) => object.fmt(f),
            None => f.write_str("{}"),
        }
    }
}

struct Version;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, revision) = crate::VERSION;
        write!(
            f,
            "\"version\":\"{major}.{minor}.{revision}\",\"versionBuild\":0,\
             \"versionMajor\":{major},\"versionMinor\":{minor},\"versionRev\":{revision}"
        )
    }
}

#[cfg(feature = "http-compat")]
struct Health<'a>(&'a dyn Host);

#[cfg(feature = "http-compat")]
impl fmt::Display for Health<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.0.info();
        let (clock, online) = (info.clock.as_ms(), info.online);
        write!(f, "{{\"clock\":{clock},\"online\":{online},{Version}}}")
    }
}

struct Status<'a>(&'a dyn Host, Depth);

impl Status<'_> {
    /// What is in force, and of `local.conf` either nothing or all.
    fn config(&self) -> Value {
        let Self(host, depth) = self;
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
            for (key, value) in [
                // Not built, whatever the file says.
                ("allowTcpFallbackRelay", Value::Bool(false)),
                ("forceTcpRelay", Value::Bool(false)),
                ("portMappingEnabled", Value::Bool(false)),
                ("softwareUpdate", Value::string("disable")),
                ("softwareUpdateChannel", Value::string("release")),
                ("homeDir", Value::string(info.home)),
                ("listeningOn", strings(&|n| host.bound(n))),
                ("primaryPort", Value::number(info.port)),
                ("surfaceAddresses", strings(&|n| host.surface(n))),
            ] {
                settings.set(key, value);
            }
            for key in ["secondaryPort", "tertiaryPort"] {
                let in_force = host.conf_value(key);
                let in_force = in_force.and_then(|text| Value::parse(&text).ok());
                let in_force = in_force.filter(|value| *value != Value::Null);
                settings.set(key, in_force.unwrap_or_else(|| Value::number(0)));
            }
        }
        config.sorted()
    }
}

impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.0.info();
        write!(
            f,
            "{{\"address\":\"{}\",\"clock\":{},\"config\":{},\"online\":{},\
             \"planetWorldId\":{},\"planetWorldTimestamp\":{},\
             \"publicIdentity\":\"{}\",\"tcpFallbackActive\":false,{Version}}}",
            info.identity.address,
            info.clock.as_ms(),
            self.config(),
            info.online,
            info.planet_id,
            info.planet_timestamp,
            info.identity,
        )
    }
}

struct Peer<'a>(&'a dyn Host, PeerRow<'a>);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, peer) = self;
        let clock = host.info().clock;
        write!(
            f,
            "{{\"address\":\"{}\",\"isBonded\":false,\"latency\":{},\"paths\":[",
            peer.address,
            peer.latency_ms.map_or(-1, i64::from),
        )?;
        let mut n = 0;
        while let Some(path) = host.path(peer.address, n) {
            write!(f, "{}{}", comma(n), Path(path, clock))?;
            n += 1;
        }
        let (major, minor, revision) = peer.version.map_or((-1, -1, -1), |(a, b, c)| {
            (i32::from(a), i32::from(b), i32::from(c))
        });
        write!(
            f,
            "],\"role\":\"{}\",\"tunneled\":false,\"version\":\"{major}.{minor}.{revision}\",\
             \"versionMajor\":{major},\"versionMinor\":{minor},\"versionRev\":{revision}}}",
            peer.role,
        )
    }
}

struct Path<'a>(PathRow<'a>, UnixMs);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, clock) = self;
        let time = |age: Option<u64>| age.map_or(0, |age| clock.as_ms().saturating_sub(age));
        write!(
            f,
            "{{\"active\":{},\"address\":\"{}\",\"expired\":{},\"lastReceive\":{},\
             \"lastSend\":{},\"localPort\":{},\"localSocket\":{},\"preferred\":{},\"trustedPathId\":0}}",
            // The one is the other's opposite there.
            !path.expired,
            Slash(path.remote),
            path.expired,
            time(path.received_ms),
            time(path.sent_ms),
            path.local.map_or(0, |at| at.port()),
            path.socket,
            path.preferred,
        )
    }
}

struct Network<'a>(&'a dyn Host, NetworkRow<'a>, Depth);

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

impl Network<'_> {
    fn write_settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, row, _) = self;
        write!(f, "\"allowDNS\":{}", row.allow_dns)?;
        let on = [row.allow_default, row.allow_global, row.allow_managed];
        for (key, on) in WITH_PREFIXES.into_iter().zip(on) {
            write!(f, ",\"{key}\":{on}")?;
            let list = prefixes(*host, row.id, key).unwrap_or_default();
            if !list.is_empty() {
                write!(f, ",\"{key}Prefixes\":")?;
                write_strings(f, list.split(','))?;
            }
        }
        Ok(())
    }

    fn write_routes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, row, depth) = self;
        let mut n = 0;
        while let Some(route) = host.route(row.id, n) {
            write!(f, "{}{{\"flags\":{}", comma(n), route.flags)?;
            if *depth == Depth::States {
                write!(f, ",\"installed\":{}", Quoted(word(route.installed)))?;
            }
            write!(
                f,
                ",\"metric\":{},\"target\":\"{}\",\"via\":{}}}",
                route.metric,
                route.target,
                Via(route.via),
            )?;
            n += 1;
        }
        Ok(())
    }
}

impl fmt::Display for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, row, depth) = self;
        let id = row.id;
        f.write_char('{')?;
        if *depth == Depth::States {
            f.write_str("\"addresses\":[")?;
            for (n, net) in (0..).map_while(|n| host.address(id, n)).enumerate() {
                let installed = Quoted(word(host.address_installed(id, n)));
                write!(
                    f,
                    "{}{{\"address\":\"{net}\",\"installed\":{installed}}}",
                    comma(n)
                )?;
            }
            f.write_str("],")?;
        }
        self.write_settings(f)?;
        f.write_str(",\"assignedAddresses\":")?;
        write_strings(f, (0..).map_while(|n| host.address(id, n)))?;
        write!(
            f,
            ",\"bridge\":{},\"broadcastEnabled\":{},\"dhcp\":false,\
             \"dns\":{{\"domain\":{},\"servers\":",
            row.bridge,
            row.broadcast,
            Quoted(row.dns_domain),
        )?;
        write_strings(f, (0..).map_while(|n| host.dns_server(id, n)))?;
        if *depth == Depth::States {
            write!(f, ",\"state\":{}", Quoted(row.dns_state))?;
        }
        write!(
            f,
            "}},\"id\":\"{id}\",\"mac\":\"{}\",\"mtu\":{},\"multicastSubscriptions\":[",
            row.mac, row.mtu,
        )?;
        for (n, (mac, adi)) in (0..).map_while(|n| host.group(id, n)).enumerate() {
            write!(f, "{}{{\"adi\":{adi},\"mac\":\"{mac}\"}}", comma(n))?;
        }
        write!(
            f,
            "],\"name\":{},\"netconfRevision\":{},\"nwid\":\"{id}\",\"portDeviceName\":{},\
             \"portError\":{},\"routes\":[",
            Quoted(row.name),
            row.revision,
            Quoted(row.device),
            row.port_error,
        )?;
        self.write_routes(f)?;
        write!(
            f,
            "],\"status\":\"{}\",\"type\":\"{}\"}}",
            row.status, row.kind
        )
    }
}

struct Via(Option<IpAddr>);

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ip) => write!(f, "\"{ip}\""),
            None => f.write_str("null"),
        }
    }
}

struct Moon<'a>(MoonRow<'a>);

impl fmt::Display for Moon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(moon) = self;
        let Some(world) = &moon.world else {
            return write!(
                f,
                "{{\"id\":\"{:016x}\",\"roots\":[],\"signature\":null,\"timestamp\":0,\
                 \"updatesMustBeSignedBy\":null,\"waiting\":true}}",
                moon.id
            );
        };
        write!(f, "{{\"id\":\"{:016x}\",\"roots\":[", world.id)?;
        for (n, root) in world.roots().enumerate() {
            write!(
                f,
                "{}{{\"identity\":\"{}\",\"stableEndpoints\":",
                comma(n),
                root.identity
            )?;
            write_strings(f, root.endpoints().map(Slash))?;
            f.write_char('}')?;
        }
        f.write_str("],\"signature\":\"")?;
        write_hex(f, &world.signature)?;
        write!(f, "\",\"timestamp\":{},", world.timestamp)?;
        f.write_str("\"updatesMustBeSignedBy\":\"")?;
        write_hex(f, &world.update_key)?;
        f.write_str("\",\"waiting\":false}")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
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
