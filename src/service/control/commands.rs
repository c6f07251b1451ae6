//! The commands: a request becomes its first row at once, and the rest row by row (service 6.6).

use core::fmt;

use super::buffer::Buffer;
use super::events::{Class, Classes, Monitor};
use super::host::{Host, Refusal, Why};
use super::line::{self, Code, Field, Request};
use super::lists::List;
use super::lists_json::JsonList;
use super::lists_network::{Family, property};
#[cfg(feature = "metrics")]
use super::metrics::Metrics;
use crate::base::{Address, NetworkId};
use crate::os::ErrnoName;
use crate::service::log;

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The user, if the system tells.
    pub uid: Option<u32>,
    /// The process, if the system tells.
    pub pid: Option<i32>,
    /// Root, or the user the daemon runs as.
    pub is_owner: bool,
    /// Came by the socket for reading only.
    pub read_only: bool,
}

/// The reply after its first row.
pub(super) enum Next {
    /// Complete.
    Done,
    /// More rows to come.
    Rows(List),
    /// More rows of JSON to come.
    Json(JsonList),
    /// Complete; close behind it.
    Close,
}

/// The first row of the reply is written, and [`Call::next`] says how it goes on.
type Outcome = Result<(), Refusal>;

/// What a command is and who may use it.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) args: &'static str,
    reads_only: bool,
    /// Has an answer in JSON.
    json: bool,
    run: fn(&mut Call<'_>) -> Outcome,
}

impl Spec {
    /// Most arguments, as the text of `help` has them: dots stand for any number.
    fn args_max(&self) -> usize {
        let has = |wanted: u8| self.args.bytes().filter(move |byte| *byte == wanted);
        if self.args.is_empty() {
            0
        } else if has(b'.').next().is_some() {
            line::ARGS_MAX
        } else {
            1 + has(b' ').count()
        }
    }
}

/// One command at work.
struct Call<'a> {
    request: &'a Request<'a>,
    caller: &'a Caller,
    host: &'a mut dyn Host,
    monitor: &'a mut Option<Monitor>,
    out: &'a mut Buffer,
    next: Next,
}

const READ: bool = true;
const CHANGE: bool = false;
const JSON: bool = true;
const PLAIN: bool = false;

macro_rules! commands {
    ($($name:literal $args:literal $access:ident $form:ident $run:expr,)*) => {
        /// All commands, as `help` shows them.
        pub(super) const COMMANDS: &[Spec] = &[$(Spec {
            name: $name,
            args: $args,
            reads_only: $access,
            json: $form,
            run: $run,
        },)*];
    };
}

commands! {
    "hello" "<major>" READ PLAIN hello,
    "info" "" READ JSON info,
    "status" "" READ JSON info,
    "listpeers" "" READ JSON list_peers,
    "peers" "" READ JSON peers,
    "paths" "<address>" READ JSON paths,
    "listnetworks" "" READ JSON list_networks,
    "network" "<nwid>" READ JSON network,
    "join" "<nwid> [<key>=<value>...]" CHANGE JSON join,
    "leave" "<nwid>" CHANGE JSON leave,
    "get" "<nwid> <key>" READ PLAIN get,
    "set" "<nwid> <key>=<value>" CHANGE JSON set,
    "listmoons" "" READ JSON list_moons,
    "orbit" "<id> [<seed>]" CHANGE JSON orbit,
    "deorbit" "<id>" CHANGE JSON deorbit,
    "conf" "[<key>[=<json>]]" READ JSON conf,
    "bond" "[<peer>]" READ PLAIN bond,
    "metrics" "" READ PLAIN metrics,
    "monitor" "[<class>...|off]" READ PLAIN monitor,
    "log" "<level>" CHANGE PLAIN log_level,
    "reload" "" CHANGE PLAIN reload,
    "dump" "" READ PLAIN dump,
    "help" "" READ PLAIN help,
    "quit" "" READ PLAIN quit,
    "stop" "" CHANGE PLAIN stop,
}

/// Runs a request and writes exactly one row.
pub(super) fn run(
    request: &Request<'_>,
    caller: &Caller,
    host: &mut dyn Host,
    monitor: &mut Option<Monitor>,
    out: &mut Buffer,
) -> Next {
    let name = request.command;
    let mut call = Call {
        request,
        caller,
        host,
        monitor,
        out,
        next: Next::Done,
    };
    let outcome = find(request, caller, call.host).and_then(|spec| {
        if !spec.reads_only {
            audit(request, caller);
        }
        (spec.run)(&mut call)
    });
    match outcome {
        Ok(()) => call.next,
        Err(refusal) => {
            refuse(call.out, name, &refusal);
            Next::Done
        }
    }
}

/// One row that says no.
pub(super) fn refuse(out: &mut Buffer, command: &str, refusal: &Refusal) {
    let Why { code, errno, text } = &**refusal;
    match errno {
        Some(errno) => {
            let name = ErrnoName(*errno);
            out.row(format_args!("{code} {command} {name} {text}"));
        }
        None => out.row(format_args!("{code} {command} {text}")),
    }
}

fn find(request: &Request<'_>, caller: &Caller, host: &dyn Host) -> Result<&'static Spec, Refusal> {
    let spec = COMMANDS
        .iter()
        .find(|spec| spec.name == request.command)
        .ok_or_else(|| Refusal::new(Code::UnknownCommand, format_args!("unknown command")))?;
    if caller.read_only && !spec.reads_only {
        return Err(Refusal::new(
            Code::ReadOnly,
            format_args!("not on the read-only socket"),
        ));
    }
    if host.is_stopping() && !spec.reads_only {
        return Err(Refusal::new(Code::Busy, format_args!("stopping")));
    }
    // Who says more than is understood means something else.
    if request.args().len() > spec.args_max() {
        let must = if spec.args.is_empty() {
            ""
        } else {
            ", must be "
        };
        let text = format_args!("too many arguments{must}{}", spec.args);
        return Err(Refusal::new(Code::BadArguments, text));
    }
    // Before anything is changed: who asked for JSON could not read the answer.
    if request.json && !spec.json {
        return Err(Refusal::new(Code::NotBuilt, format_args!("json not built")));
    }
    Ok(spec)
}

/// Changes go to the log with who asked for them.
fn audit(request: &Request<'_>, caller: &Caller) {
    struct Known<T>(Option<T>);
    impl<T: fmt::Display> fmt::Display for Known<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.0 {
                Some(value) => value.fmt(f),
                None => f.write_str("unknown"),
            }
        }
    }
    let object = request.args().first().copied().unwrap_or_default();
    let blank = if object.is_empty() { "" } else { " " };
    log::info!(
        "control: {}{blank}{object} by uid {} pid {}",
        request.command,
        Known(caller.uid),
        Known(caller.pid),
    );
}

fn bad(text: &str) -> Refusal {
    Refusal::new(Code::BadArguments, format_args!("{text}"))
}

/// Names what there is instead.
fn unknown_property(host: &dyn Host, key: &str) -> Refusal {
    let keys = host.setting_keys().join(" ");
    let text = format_args!("unknown property {key}, there are {keys}");
    Refusal::new(Code::NotFound, text)
}

fn unknown_network() -> Refusal {
    Refusal::new(Code::NotFound, format_args!("unknown network"))
}

impl<'a> Call<'a> {
    fn arg(&self, n: usize, missing: &'static str) -> Result<&'a str, Refusal> {
        self.request
            .args()
            .get(n)
            .copied()
            .ok_or_else(|| bad(missing))
    }

    fn network_id(&self) -> Result<NetworkId, Refusal> {
        NetworkId::parse(self.arg(0, "network id missing")?).ok_or_else(|| bad("bad network id"))
    }

    /// `200 <command> <text>`
    fn ok(&mut self, text: fmt::Arguments<'_>) {
        self.out
            .row(format_args!("{} {} {text}", Code::Ok, self.request.command));
    }

    fn ok_done(&mut self) -> Outcome {
        self.ok(format_args!("OK"));
        Ok(())
    }

    /// A change is made: `OK`, or what 1.14.1 answers over HTTP.
    fn ok_or_json(&mut self, json: JsonList) -> Outcome {
        if !self.request.json {
            return self.ok_done();
        }
        self.ok(format_args!("json"));
        self.next = Next::Json(json);
        Ok(())
    }

    /// The first row of a list, and its rest.
    fn list(&mut self, header: &str, list: List) -> Outcome {
        self.ok(format_args!("{header}"));
        self.next = Next::Rows(list);
        Ok(())
    }

    fn list_or_json(&mut self, header: &str, list: List, json: JsonList) -> Outcome {
        if !self.request.json {
            return self.list(header, list);
        }
        self.ok(format_args!("json"));
        self.next = Next::Json(json);
        Ok(())
    }
}

fn hello(call: &mut Call<'_>) -> Outcome {
    let major = call.arg(0, "version missing")?.parse::<u32>();
    match major {
        Ok(line::MAJOR) => {
            call.ok(format_args!("{}", line::MAJOR));
            Ok(())
        }
        Ok(_) => Err(Refusal::new(Code::Version, format_args!("{}", line::MAJOR))),
        Err(_) => Err(bad("bad version")),
    }
}

fn info(call: &mut Call<'_>) -> Outcome {
    if call.request.json {
        call.ok(format_args!("json"));
        call.next = Next::Json(JsonList::status());
        return Ok(());
    }
    let (major, minor, revision) = crate::VERSION;
    let info = call.host.info();
    let state = if info.online { "ONLINE" } else { "OFFLINE" };
    // The word is `info` for both commands: scripts match it.
    call.out.row(format_args!(
        "{} info {} {major}.{minor}.{revision} {state}",
        Code::Ok,
        info.identity.address,
    ));
    call.next = Next::Rows(List::status());
    Ok(())
}

fn list_peers(call: &mut Call<'_>) -> Outcome {
    call.list_or_json(
        "<ztaddr> <path> <latency> <version> <role>",
        List::BriefPeers { cursor: 0 },
        JsonList::peers(),
    )
}

fn peers(call: &mut Call<'_>) -> Outcome {
    call.list_or_json(
        "<ztaddr> <ver> <role> <lat> <link> <lastTX> <lastRX> <path>",
        List::Peers { cursor: 0 },
        JsonList::peers(),
    )
}

fn paths(call: &mut Call<'_>) -> Outcome {
    let peer = Address::parse(call.arg(0, "address missing")?).ok_or_else(|| bad("bad address"))?;
    if call.host.peer(peer).is_none() {
        return Err(Refusal::new(Code::NotFound, format_args!("unknown peer")));
    }
    call.list_or_json(
        "<local> <remote> <if> <tx> <rx> <latency> <quality> <preferred>",
        List::Paths { peer, n: 0 },
        JsonList::peer(peer),
    )
}

fn list_networks(call: &mut Call<'_>) -> Outcome {
    call.list_or_json(
        "<nwid> <name> <mac> <status> <type> <dev> <ips>",
        List::BriefNetworks { cursor: 0 },
        JsonList::networks(),
    )
}

fn network(call: &mut Call<'_>) -> Outcome {
    let id = call.network_id()?;
    if call.host.network(id).is_none() {
        return Err(unknown_network());
    }
    call.list_or_json("<key> <value>", List::network(id), JsonList::network(id))
}

fn join(call: &mut Call<'_>) -> Outcome {
    let id = call.network_id()?;
    let mut settings = [("", ""); line::ARGS_MAX];
    let mut count = 0;
    for (slot, arg) in settings.iter_mut().zip(call.request.args().iter().skip(1)) {
        let setting = arg
            .split_once('=')
            .ok_or_else(|| bad("settings must be <key>=<value>"))?;
        if !call.host.setting_keys().contains(&setting.0) {
            return Err(unknown_property(call.host, setting.0));
        }
        *slot = setting;
        count += 1;
    }
    call.host
        .join(id, settings.get(..count).unwrap_or_default())?;
    call.ok_or_json(JsonList::bare_network(id))
}

fn leave(call: &mut Call<'_>) -> Outcome {
    let id = call.network_id()?;
    call.host.leave(id)?;
    call.ok_or_json(JsonList::done())
}

fn set(call: &mut Call<'_>) -> Outcome {
    let id = call.network_id()?;
    let assignment = call.arg(1, "setting missing")?;
    let Some((key, value)) = assignment.split_once('=') else {
        return Err(bad("setting must be <key>=<value>"));
    };
    if call.host.network(id).is_none() {
        return Err(unknown_network());
    }
    if !call.host.setting_keys().contains(&key) {
        return Err(unknown_property(call.host, key));
    }
    call.host.set(id, key, value)?;
    call.ok_or_json(JsonList::bare_network(id))
}

fn get(call: &mut Call<'_>) -> Outcome {
    let id = call.network_id()?;
    let key = call.arg(1, "property missing")?;
    if call.host.network(id).is_none() {
        return Err(unknown_network());
    }
    let family = match key {
        "ip" => Some(Family::Any),
        "ip4" => Some(Family::V4),
        "ip6" => Some(Family::V6),
        _ => None,
    };
    if let Some(family) = family {
        let mut list = List::Ips { id, family, n: 0 };
        if !list.next(call.host, call.out) {
            call.ok(format_args!("-"));
        }
        call.next = Next::Rows(list);
        return Ok(());
    }
    let value = property(call.host, id, key)
        .ok_or_else(|| Refusal::new(Code::NotFound, format_args!("unknown property")))?;
    call.ok(format_args!("{}", Field(&value)));
    Ok(())
}

fn list_moons(call: &mut Call<'_>) -> Outcome {
    if !call.host.has_moons() {
        return Err(Refusal::not_built());
    }
    call.list_or_json(
        "<id> <timestamp> <waiting> <roots>",
        List::Moons { n: 0 },
        JsonList::moons(),
    )
}

/// 10 digits as 1.14.1 wants them, 16 as its manual says, or without the zeros in front.
fn moon_id(text: &str) -> Result<u64, Refusal> {
    let fits = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|id| fits && *id != 0)
        .ok_or_else(|| bad("bad moon id"))
}

fn orbit(call: &mut Call<'_>) -> Outcome {
    let id = moon_id(call.arg(0, "moon id missing")?)?;
    let seed = match call.request.args().get(1) {
        // 1.14.1's tools say 0 when there is no seed.
        None | Some(&"0" | &"0000000000") => None,
        Some(text) => Some(Address::parse(text).ok_or_else(|| bad("bad seed"))?),
    };
    call.host.orbit(id, seed)?;
    call.ok_or_json(JsonList::moon(id))
}

fn deorbit(call: &mut Call<'_>) -> Outcome {
    let id = moon_id(call.arg(0, "moon id missing")?)?;
    // Not orbiting is fine too, as in 1.14.1.
    call.host.deorbit(id)?;
    call.ok_or_json(JsonList::done())
}

fn monitor(call: &mut Call<'_>) -> Outcome {
    let classes = match call.request.args() {
        ["off"] => {
            *call.monitor = None;
            return call.ok_done();
        }
        [] => Classes::default_set(),
        names => Classes::by_name(names).ok_or_else(|| bad(Class::UNKNOWN))?,
    };
    match &mut *call.monitor {
        // Asked again: other classes, same numbering.
        Some(monitor) => monitor.classes = classes,
        none => *none = Some(Monitor::new(classes)),
    }
    call.ok_done()
}

fn log_level(call: &mut Call<'_>) -> Outcome {
    let level = call.arg(
        0,
        "level missing, there are off error warn info debug trace",
    )?;
    if !call.host.set_log_level(level) {
        return Err(bad(
            "unknown level, there are off error warn info debug trace",
        ));
    }
    call.ok_done()
}

fn conf(call: &mut Call<'_>) -> Outcome {
    let Some(arg) = call.request.args().first().copied() else {
        // The file as a whole may hold what others must not see.
        if call.request.json && call.caller.read_only {
            return Err(Refusal::new(
                Code::ReadOnly,
                format_args!("not on the read-only socket"),
            ));
        }
        return call.list_or_json("<key> <json>", List::Conf { n: 0 }, JsonList::config());
    };
    if call.request.json {
        return Err(Refusal::new(Code::NotBuilt, format_args!("json not built")));
    }
    let Some((key, json)) = arg.split_once('=') else {
        let value = call.host.conf_value(arg).ok_or_else(|| {
            let text = format_args!("unknown setting {arg}, see conf");
            Refusal::new(Code::NotFound, text)
        })?;
        call.ok(format_args!("{}", Field(&value)));
        return Ok(());
    };
    if call.caller.read_only {
        return Err(Refusal::new(
            Code::ReadOnly,
            format_args!("not on the read-only socket"),
        ));
    }
    audit(call.request, call.caller);
    call.host.change_conf(key, json)?;
    call.ok_done()
}

fn reload(call: &mut Call<'_>) -> Outcome {
    call.host.reload()?;
    call.ok_done()
}

fn dump(call: &mut Call<'_>) -> Outcome {
    call.list("<row>", List::dump())
}

fn help(call: &mut Call<'_>) -> Outcome {
    call.list("<command> <args>", List::Help { n: 0 })
}

fn quit(call: &mut Call<'_>) -> Outcome {
    call.out.row(format_args!("{} quit", Code::Ok));
    call.next = Next::Close;
    Ok(())
}

fn stop(call: &mut Call<'_>) -> Outcome {
    if !call.caller.is_owner {
        return Err(Refusal::new(
            Code::NotAllowed,
            format_args!("only for root and the daemon's own user"),
        ));
    }
    call.host.stop();
    call.ok_done()
}

#[cfg(feature = "metrics")]
fn metrics(call: &mut Call<'_>) -> Outcome {
    call.list("<sample>", List::Metrics(Metrics::default()))
}

#[cfg(not(feature = "metrics"))]
fn metrics(_: &mut Call<'_>) -> Outcome {
    Err(Refusal::new(
        Code::NotBuilt,
        format_args!("this build has no figures"),
    ))
}

fn bond(_: &mut Call<'_>) -> Outcome {
    let text = format_args!("there is no bonding: each peer is reached over the best of its paths");
    Err(Refusal::new(Code::NotBuilt, text))
}
