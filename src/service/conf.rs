//! `local.conf` in force: read at the start and whenever it changes, applied by difference,
//! changed by `conf` (service 3.3, 6.6).
//!
//! A file that cannot be used changes nothing: what was in force stays, and the reason is told in
//! the log, in `status` and to those who listen. It is never written over either.

use core::fmt;

use super::control::{Code, Refusal};
use super::daemon::Daemon;
use super::json::Value;
use super::local_conf::{Bad, ControlTcp, FILE_MAX_BYTES, LocalConf};
use super::log;
use crate::base::{Address, Mono};

const FILE: &str = "local.conf";
/// From before there was one.
const TRUSTED_PATHS: &str = "trustedpaths";
/// From the first news of the file to reading it: editors write in steps.
const SETTLE_MS: u64 = 50;
/// As 1.14.1 writes it.
const INDENT: usize = 4;
/// Longest value that `conf` shows whole.
const SHOWN_MAX: usize = 3 * 1024;

/// Settings that are known, in the order of `conf`.
const KEYS: [&str; 12] = [
    "primaryPort",
    "secondaryPort",
    "tertiaryPort",
    "allowSecondaryPort",
    "bind",
    "interfacePrefixBlacklist",
    "allowManagementFrom",
    "lowBandwidthMode",
    "portMappingEnabled",
    "allowTcpFallbackRelay",
    "defaultBondingPolicy",
    "softwareUpdate",
];

/// Those that are known to 1.14.1 and not shown.
const HIDDEN_KEYS: [&str; 11] = [
    "forceTcpRelay",
    "tcpFallbackRelay",
    "enableWebServer",
    "policies",
    "peerSpecificBonds",
    "multicoreEnabled",
    "concurrency",
    "cpuPinningEnabled",
    "softwareUpdateChannel",
    "softwareUpdateDist",
    "controllerDbPath",
];
/// The same of `settings.router`.
const ROUTER_KEYS: [&str; 8] = [
    "controlTcp",
    "controlGroup",
    "controlReadOnly",
    "logLevel",
    "peerCache",
    "metrics",
    "stateDir",
    "netifd",
];

/// What [`KEYS`] name, then what [`ROUTER_KEYS`] name, in their order.
#[derive(Clone, Copy)]
enum Key {
    PrimaryPort,
    SecondaryPort,
    TertiaryPort,
    AllowSecondaryPort,
    Bind,
    InterfacePrefixBlacklist,
    AllowManagementFrom,
    LowBandwidthMode,
    PortMapping,
    FallbackRelay,
    BondingPolicy,
    SoftwareUpdate,
    ControlTcp,
    ControlGroup,
    ControlReadOnly,
    LogLevel,
    PeerCache,
    Metrics,
    StateDir,
    Netifd,
}

impl Key {
    const ALL: [Self; KEYS.len() + ROUTER_KEYS.len()] = [
        Self::PrimaryPort,
        Self::SecondaryPort,
        Self::TertiaryPort,
        Self::AllowSecondaryPort,
        Self::Bind,
        Self::InterfacePrefixBlacklist,
        Self::AllowManagementFrom,
        Self::LowBandwidthMode,
        Self::PortMapping,
        Self::FallbackRelay,
        Self::BondingPolicy,
        Self::SoftwareUpdate,
        Self::ControlTcp,
        Self::ControlGroup,
        Self::ControlReadOnly,
        Self::LogLevel,
        Self::PeerCache,
        Self::Metrics,
        Self::StateDir,
        Self::Netifd,
    ];

    /// What a path in the tree leads to, if that is known.
    fn of(path: &[&str]) -> Option<Self> {
        let (names, name, before) = match path {
            ["settings", name] => (&KEYS[..], name, 0),
            ["settings", "router", name] => (&ROUTER_KEYS[..], name, KEYS.len()),
            _ => return None,
        };
        let n = names.iter().position(|known| known == name)?;
        Self::ALL.get(before + n).copied()
    }
}

/// The file and what is made of it.
#[derive(Debug)]
pub(super) struct Conf {
    local: LocalConf,
    /// The file's tree, all that is unknown included.
    tree: Value,
    /// What was read last.
    seen: Option<Result<Vec<u8>, Bad>>,
    /// Why the file is not in force.
    bad: Option<Bad>,
    /// A port that is in use by somebody else.
    refused_port: Option<u16>,
    look: Option<Mono>,
    /// What was said of the file of before, so that it is said once.
    doubts_of_old: Vec<String>,
    /// Not yet told to those who listen.
    untold: bool,
    /// Port of the command line.
    pub(super) command_port: u16,
    /// Whoever may come in by which door is to be looked at.
    pub(super) doors_stale: bool,
}

impl Conf {
    pub(super) fn new(command_port: u16) -> Self {
        Self {
            local: LocalConf::default(),
            tree: Value::Object(Vec::new()),
            seen: None,
            bad: None,
            refused_port: None,
            look: None,
            doubts_of_old: Vec::new(),
            untold: false,
            command_port,
            doors_stale: false,
        }
    }

    /// What is in force.
    pub(super) fn in_force(&self) -> &LocalConf {
        &self.local
    }

    /// The tree of the file in force.
    pub(super) fn tree(&self) -> &Value {
        &self.tree
    }

    /// Why the file is not in force, or not as it stands.
    pub(super) fn trouble(&self) -> Option<String> {
        let file = self.bad.as_ref().map(|bad| format!("{FILE}: {bad}"));
        file.or_else(|| {
            let port = self.refused_port?;
            Some(format!("port {port} is in use, the old one stays"))
        })
    }

    /// What is to be told to those who listen, once.
    pub(super) fn take_news(&mut self) -> Option<ConfNews<'_>> {
        let untold = core::mem::take(&mut self.untold);
        untold.then_some(ConfNews(self.bad.as_ref()))
    }

    /// When the file is to be read.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.look
    }
}

/// The keys of an event.
pub(super) struct ConfNews<'a>(Option<&'a Bad>);

impl fmt::Display for ConfNews<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("conf=ok"),
            Some(Bad { place: None, .. }) => f.write_str("conf=bad"),
            Some(Bad {
                place: Some(place), ..
            }) => write!(f, "conf=bad line={} column={}", place.line, place.column),
        }
    }
}

impl Daemon {
    /// Somebody wrote the file, or took it away.
    pub(super) fn conf_changed(&mut self) {
        // Whoever could write it knows better than what is still to be written.
        self.home.forget_trouble(FILE);
        let at = self.now.mono.after(SETTLE_MS);
        self.conf.look.get_or_insert(at);
    }

    /// Reads the file and puts in force what is new in it.
    pub(super) fn read_conf(&mut self) {
        self.conf.look = None;
        let read = match self.home.read(FILE, FILE_MAX_BYTES) {
            Ok(bytes) => Ok(bytes.unwrap_or_default()),
            Err(error) => Err(Bad {
                place: None,
                why: error.to_string(),
            }),
        };
        let first = self.conf.seen.is_none();
        if self.conf.seen.as_ref() == Some(&read) {
            return;
        }
        let parsed = match &read {
            Ok(bytes) => self.parse_conf(bytes),
            Err(bad) => Err(bad.clone()),
        };
        self.conf.seen = Some(read);
        match parsed {
            Ok((local, tree)) => {
                let is_empty = tree.as_object().is_none_or(<[_]>::is_empty);
                if !first || !is_empty {
                    log::info!("{FILE} is in force");
                }
                self.conf.tree = tree;
                self.conf.bad = None;
                self.put_conf_in_force(local);
            }
            Err(bad) => {
                let path = self.home.explain(FILE, &bad);
                let kept = if first {
                    "defaults hold"
                } else {
                    "what was in force stays"
                };
                log::error!("{path}; {kept}");
                self.conf.bad = Some(bad);
            }
        }
        self.conf.untold = !first;
    }

    /// What `local.conf` says, and a file that it took the place of.
    fn parse_conf(&mut self, bytes: &[u8]) -> Result<(LocalConf, Value), Bad> {
        let (mut local, tree) = LocalConf::parse(bytes)?;
        let home = &self.home;
        let mut doubts = Vec::new();
        match self.home.read(TRUSTED_PATHS, FILE_MAX_BYTES) {
            Ok(None) => {}
            Ok(Some(text)) => {
                local.add_trusted_paths(&String::from_utf8_lossy(&text), &mut |line| {
                    let what = format_args!("line {line} is ignored");
                    doubts.push(home.explain(TRUSTED_PATHS, &what));
                });
            }
            Err(error) => doubts.push(home.explain(TRUSTED_PATHS, &error)),
        }
        if doubts != self.conf.doubts_of_old {
            for doubt in &doubts {
                log::warn!("{doubt}");
            }
            self.conf.doubts_of_old = doubts;
        }
        Ok((local, tree))
    }

    /// Applies the difference to what was in force.
    fn put_conf_in_force(&mut self, mut local: LocalConf) {
        for doubt in &local.doubts {
            log::warn!("{FILE}: {doubt}");
        }
        // The node keeps what it is told.
        let said = core::mem::take(&mut local.underlay);
        let before = core::mem::replace(&mut self.conf.local, local);
        let settings = &self.conf.local.settings;
        if settings.not_built != before.settings.not_built && !settings.not_built.is_empty() {
            let keys = settings.not_built.join(", ");
            log::warn!("{FILE}: not built, and without effect: {keys}");
        }
        let level = settings.router.log_level;
        if level != before.settings.router.log_level {
            ::log::set_max_level(level.unwrap_or(::log::LevelFilter::Info));
        }
        let nets = said != *self.node.underlay();
        if nets {
            self.node.set_underlay(self.now, said, &mut self.wires);
        }
        let after = &self.conf.local.settings;
        let was = &before.settings;
        self.conf.doors_stale |=
            after.router != was.router || after.allow_management_from != was.allow_management_from;
        let sockets = nets
            || after.bind != was.bind
            || after.interface_prefix_blacklist != was.interface_prefix_blacklist
            || after.primary_port != was.primary_port
            || after.second_port() != was.second_port()
            || after.third_port() != was.third_port();
        // At the start nothing is open yet.
        if sockets && self.is_started {
            let before = self.port();
            self.conf.refused_port = self.change_sockets().err();
            if let Some(port) = self.conf.refused_port {
                log::error!(
                    "{FILE}: UDP port {port} is in use on every local address; {before} stays"
                );
            }
            if self.port() != before {
                self.conf.doors_stale = true;
                self.store_port();
                log::info!("on port {}", self.port());
            }
        }
    }

    /// Writes the port where tools look for it.
    pub(super) fn store_port(&mut self) {
        let port = self.port().to_string();
        self.home.write_cache("zerotier-one.port", port.as_bytes());
    }

    // ---- `conf` -----------------------------------------------------------------------------

    /// Setting number `n`, its key and its value in force.
    pub(super) fn conf_number(&self, n: usize) -> Option<(String, String)> {
        let tree = &self.conf.tree;
        let settings = tree.get("settings");
        let router = settings.and_then(|s| s.get("router"));
        let mut keys: Vec<(&str, &str)> = Vec::new();
        for (before, known) in &[("", &KEYS[..]), ("router.", &ROUTER_KEYS)] {
            for key in *known {
                keys.push((before, key));
            }
        }
        let others = [
            ("physical.", tree.get("physical"), &[][..]),
            ("virtual.", tree.get("virtual"), &[]),
            ("settings.", settings, &KEYS),
            ("router.", router, &ROUTER_KEYS),
        ];
        for &(before, part, known) in &others {
            let members = part.and_then(Value::as_object).unwrap_or_default();
            for (key, _) in members {
                let is_new = !known.contains(&key.as_str()) && key != "router";
                if is_new || known.is_empty() {
                    keys.push((before, key));
                }
            }
        }
        let (before, key) = keys.get(n)?;
        let key = format!("{before}{key}");
        let value = self.conf_value(&key).unwrap_or_else(|| "null".to_owned());
        Some((key, value))
    }

    /// The value in force of a key, as JSON.
    pub(super) fn conf_value(&self, key: &str) -> Option<String> {
        let path = path_of(key);
        let text = match Key::of(&path) {
            // As the file has them.
            Some(Key::StateDir | Key::Netifd) => {
                self.raw(&path).unwrap_or(&Value::Null).to_string()
            }
            Some(key) => self.in_force(key).to_string(),
            None => self.raw(&path)?.to_string(),
        };
        Some(if text.len() > SHOWN_MAX {
            format!("\"{} bytes, see {FILE}\"", text.len())
        } else {
            text
        })
    }

    fn raw(&self, path: &[&str]) -> Option<&Value> {
        let mut value = &self.conf.tree;
        for step in path {
            value = value.get(step)?;
        }
        Some(value)
    }

    fn in_force(&self, key: Key) -> Value {
        let settings = &self.conf.local.settings;
        let router = &settings.router;
        let port = |port: Option<u16>| port.map_or(Value::Null, Value::number);
        let [second, third] = self.ports.others();
        match key {
            Key::PrimaryPort => Value::number(self.port()),
            Key::SecondaryPort => port(second),
            Key::TertiaryPort => port(third),
            Key::AllowSecondaryPort => Value::Bool(settings.second_port().is_some()),
            Key::Bind => strings(&settings.bind),
            Key::InterfacePrefixBlacklist => strings(&settings.interface_prefix_blacklist),
            Key::AllowManagementFrom => strings(&settings.allow_management_from),
            Key::LowBandwidthMode => Value::Bool(settings.low_bandwidth_mode),
            // Not built: off, whatever the file says.
            Key::PortMapping | Key::FallbackRelay => Value::Bool(false),
            Key::StateDir | Key::Netifd => Value::Null,
            Key::BondingPolicy => Value::string("none"),
            Key::SoftwareUpdate => Value::string("disable"),
            Key::ControlTcp => match self.control_port() {
                Some(port) => Value::number(port),
                None => Value::Bool(false),
            },
            Key::ControlGroup => match &router.control_group {
                Some(name) => Value::string(name),
                None => Value::Null,
            },
            Key::ControlReadOnly => Value::Bool(router.control_read_only),
            Key::LogLevel => Value::string(log::level_name()),
            Key::PeerCache => Value::Bool(router.peer_cache.unwrap_or(true)),
            Key::Metrics => {
                Value::Bool(cfg!(feature = "metrics") && router.metrics.unwrap_or(true))
            }
        }
    }

    /// Port of the control protocols by TCP.
    pub(super) fn control_port(&self) -> Option<u16> {
        match self.conf.local.settings.router.control_tcp {
            Some(ControlTcp::Off) => None,
            Some(ControlTcp::Port(port)) => Some(port),
            Some(ControlTcp::Primary) => Some(self.port()),
            // For those who know nothing but HTTP: it is there when that is built.
            None => cfg!(feature = "http-compat").then(|| self.port()),
        }
    }

    /// Changes a key, stores the file and puts it in force. An empty text or `null` takes it out.
    pub(super) fn change_conf(&mut self, key: &str, json: &str) -> Result<(), Refusal> {
        let mut tree = self.conf_to_change()?;
        let path = path_of(key);
        if !is_settable(&path) {
            let text = format_args!("no such setting as {key}, see conf");
            return Err(Refusal::new(Code::NotFound, text));
        }
        let value = match json {
            "" => Value::Null,
            json => Value::parse(json).map_err(|e| bad(format_args!("no JSON, {e}")))?,
        };
        put(&mut tree, &path, value).ok_or_else(|| no_place(key))?;
        self.store_conf(&tree, key)
    }

    /// Sets members of `settings`, known or not, in one go; `null` takes one out.
    #[cfg(feature = "http-compat")]
    pub(super) fn merge_settings(&mut self, changes: &[(String, Value)]) -> Result<(), Refusal> {
        let mut tree = self.conf_to_change()?;
        for (key, value) in changes {
            let path = ["settings", key.as_str()];
            put(&mut tree, &path, value.clone()).ok_or_else(|| no_place(key))?;
        }
        self.store_conf(&tree, "")
    }

    /// The tree of the file as it stands: whatever its owner has written meanwhile stays.
    fn conf_to_change(&mut self) -> Result<Value, Refusal> {
        self.read_conf();
        if let Some(bad) = &self.conf.bad {
            let text = format_args!("repair {FILE} first: {bad}");
            return Err(Refusal::new(Code::Conflict, text));
        }
        // Made from its text: a copy of a tree is nothing that anybody else needs.
        let tree = match &self.conf.seen {
            Some(Ok(bytes)) => LocalConf::parse(bytes).ok().map(|(_, tree)| tree),
            _ => None,
        };
        Ok(tree.unwrap_or(Value::Object(Vec::new())))
    }

    /// Stores a changed tree and puts it in force. `key`: what was changed, if it is one thing.
    fn store_conf(&mut self, tree: &Value, key: &str) -> Result<(), Refusal> {
        let mut text = tree.indented(INDENT);
        text.push('\n');
        let parsed = self.parse_conf(text.as_bytes());
        let (local, tree) = parsed.map_err(|e| {
            let colon = if key.is_empty() { "" } else { ": " };
            bad(format_args!("{key}{colon}{}", e.why))
        })?;
        // A home that cannot be written is reported by the daemon; the setting holds until then.
        let _ = self.home.write_precious(FILE, text.as_bytes());
        self.conf.seen = Some(Ok(text.into_bytes()));
        self.conf.tree = tree;
        self.conf.untold = true;
        self.put_conf_in_force(local);
        match self.conf.refused_port {
            Some(port) => Err(Refusal::new(
                Code::Conflict,
                format_args!("stored, but port {port} is in use and the old one stays"),
            )),
            None => Ok(()),
        }
    }
}

fn bad(text: fmt::Arguments<'_>) -> Refusal {
    Refusal::new(Code::BadArguments, text)
}

fn no_place(key: &str) -> Refusal {
    bad(format_args!("no place for {key}"))
}

fn strings<T: fmt::Display>(list: &[T]) -> Value {
    let mut all = Vec::new();
    for one in list {
        all.push(Value::string(one));
    }
    Value::Array(all)
}

/// The steps that a key names. Nets have dots, so what is in `physical` and `virtual` is cut at
/// its end.
fn path_of(key: &str) -> Vec<&str> {
    for part in &["physical", "virtual"] {
        let Some(rest) = key.strip_prefix(part).and_then(|r| r.strip_prefix('.')) else {
            continue;
        };
        let whole = super::settings::Prefix::parse(rest).is_some()
            || rest.parse::<core::net::IpAddr>().is_ok()
            || Address::parse(rest).is_some();
        let dot = rest.bytes().rposition(|byte| byte == b'.');
        return match dot.filter(|_| !whole).map(|dot| rest.split_at(dot)) {
            Some((object, member)) => vec![part, object, member.get(1..).unwrap_or_default()],
            None => vec![part, rest],
        };
    }
    let mut steps = Vec::new();
    for step in key.split('.') {
        if steps.is_empty() && !matches!(step, "physical" | "virtual" | "settings") {
            steps.push("settings");
        }
        steps.push(step);
    }
    steps
}

/// Known, or meant so by its whole name.
fn is_settable(path: &[&str]) -> bool {
    match path {
        _ if Key::of(path).is_some() => true,
        ["settings", key] => HIDDEN_KEYS.contains(key),
        ["physical" | "virtual", rest @ ..] => {
            matches!(rest.len(), 1..=2) && rest.iter().all(|step| !step.is_empty())
        }
        _ => false,
    }
}

/// Sets or removes what a path leads to; objects on the way are made.
fn put(tree: &mut Value, path: &[&str], value: Value) -> Option<()> {
    let (last, way) = path.split_last()?;
    let mut at = tree;
    for step in way {
        at = at.object_in(step)?;
    }
    if value == Value::Null {
        at.remove(last);
    } else {
        at.set(last, value);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_into_the_tree() {
        for (key, path) in [
            ("primaryPort", &["settings", "primaryPort"][..]),
            ("settings.bind", &["settings", "bind"]),
            ("router.logLevel", &["settings", "router", "logLevel"]),
            ("physical.10.0.0.0/8", &["physical", "10.0.0.0/8"]),
            (
                "physical.10.0.0.0/8.mtu",
                &["physical", "10.0.0.0/8", "mtu"],
            ),
            (
                "physical.fd00::/8.blacklist",
                &["physical", "fd00::/8", "blacklist"],
            ),
            ("virtual.feedbeef12.try", &["virtual", "feedbeef12", "try"]),
            ("virtual.feedbeef12", &["virtual", "feedbeef12"]),
            ("physical", &["physical"]),
        ] {
            assert_eq!(path_of(key), path, "{key}");
        }
        for key in [
            "",
            "nonsense",
            "settings",
            "physical",
            "router.x",
            "settings.router",
            "a.b.c",
        ] {
            assert!(!is_settable(&path_of(key)), "{key}");
        }
    }

    #[test]
    fn a_change_keeps_the_rest_where_it_is() {
        let text = r#"{"x":1,"settings":{"zz":[2.50],"primaryPort":1,"router":{"own":null}}}"#;
        let mut tree = Value::parse(text).expect("JSON");
        put(&mut tree, &path_of("primaryPort"), Value::number(2)).expect("a place");
        put(
            &mut tree,
            &path_of("router.logLevel"),
            Value::string("warn"),
        )
        .expect("a place");
        put(
            &mut tree,
            &path_of("physical.10.0.0.0/8.mtu"),
            Value::number(1400),
        )
        .expect("a place");
        put(&mut tree, &path_of("settings.bind"), Value::Null).expect("a place");
        assert_eq!(
            tree.to_string(),
            r#"{"x":1,"settings":{"zz":[2.50],"primaryPort":2,"router":{"own":null,"logLevel":"warn"}},"physical":{"10.0.0.0/8":{"mtu":1400}}}"#
        );
    }
}
