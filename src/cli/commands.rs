//! The words of `zerotier-cli`: what each asks, and how its answer is printed (service 2.2).

use std::io::{self, Write as _};
use std::path::Path;

use super::client::{Client, Failure, Reply};
use super::{DONE, Options, REFUSED, Screen, USAGE, dump, help, wait};
use crate::base::NetworkId;
use crate::service::control::line::{Code, unescape};
use crate::service::json::Value;

/// One invocation.
pub(super) struct Run<'a, 'b> {
    pub(super) program: &'a str,
    pub(super) home: &'a Path,
    json: bool,
    args: &'a [String],
    pub(super) screen: &'a mut Screen<'b>,
}

/// Why a command ended without its own output.
pub(super) enum Stop {
    /// The service cannot be asked.
    Failure(Failure),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

pub(super) type Outcome = Result<u8, Stop>;

const UNKNOWN_NETWORK: &str = "unknown network ID, check that you are a member of the network";
const UNKNOWN_PROPERTY: &str = "error, unknown property name";
const NETWORK_ID_LEN: usize = 16;

/// Runs the command in `options`.
pub(super) fn run(program: &str, options: &Options, screen: &mut Screen<'_>) -> io::Result<u8> {
    let Some((command, args)) = options.words.split_first() else {
        return help(program, screen.err).map(|()| DONE);
    };
    let mut run = Run {
        program,
        home: &options.home,
        json: options.json,
        args,
        screen,
    };
    match run.command(command) {
        Ok(status) => Ok(status),
        Err(Stop::Output(error)) => Err(error),
        Err(Stop::Failure(failure)) => run.explain(&failure),
    }
}

impl Run<'_, '_> {
    fn command(&mut self, command: &str) -> Outcome {
        match command {
            "info" | "status" => self.info(),
            "listpeers" => self.list_peers(),
            "peers" => self.peers(),
            "listnetworks" => self.list_networks(),
            "join" => self.join(),
            "leave" => self.leave(),
            "set" => self.set(),
            "get" => self.get(),
            "listmoons" => self.list_moons(),
            "orbit" => self.orbit(),
            "deorbit" => self.deorbit(),
            "bond" | "listbonds" => self.bond(command),
            "dump" => dump::run(self),
            "monitor" => self.monitor(),
            "wait" => wait::run(self),
            "help" => {
                help(self.program, self.screen.out)?;
                Ok(DONE)
            }
            "metrics" => self.metrics(),
            "paths" | "network" | "conf" | "log" | "reload" | "stop" => self.pass_through(command),
            path if path.starts_with('/') => self.path(path),
            _ => {
                help(self.program, self.screen.err)?;
                Ok(REFUSED)
            }
        }
    }

    /// The texts of service 2.1.
    fn explain(&mut self, failure: &Failure) -> io::Result<u8> {
        let (program, home) = (self.program, self.home.display());
        match failure {
            Failure::NoService => {
                writeln!(
                    self.screen.err,
                    "{program}: missing port and zerotier-one.port not found in {home}"
                )?;
                Ok(USAGE)
            }
            Failure::NotAllowed => {
                writeln!(
                    self.screen.err,
                    "{program}: authtoken.secret not found or readable in {home} \
                     (try again as root)"
                )?;
                Ok(USAGE)
            }
            Failure::Connection(path, reason) => {
                writeln!(
                    self.screen.out,
                    "Error connecting to the ZeroTier service: {reason}\n\n\
                     Please check that the service is running and that {} can be contacted.",
                    path.display()
                )?;
                Ok(REFUSED)
            }
            Failure::Protocol(why) => {
                writeln!(
                    self.screen.out,
                    "Error talking to the ZeroTier service: {why}"
                )?;
                Ok(REFUSED)
            }
        }
    }

    pub(super) fn connect(&self) -> Result<Client, Failure> {
        Client::connect(self.home)
    }

    /// Argument number `n`, or nothing.
    pub(super) fn arg(&self, n: usize) -> &str {
        self.args.get(n).map_or("", String::as_str)
    }

    /// Prints an error row as it is: `<code> <command> <text>`.
    pub(super) fn refused(&mut self, reply: &Reply) -> Outcome {
        writeln!(self.screen.out, "{}", unescape(reply.first()))?;
        Ok(REFUSED)
    }

    /// JSON with one blank per level.
    fn pretty(&mut self, reply: &Reply) -> Outcome {
        if !reply.is_ok() {
            return self.refused(reply);
        }
        match Value::parse(&reply.json()) {
            Ok(value) => {
                writeln!(self.screen.out, "{}", value.pretty())?;
                Ok(DONE)
            }
            Err(why) => {
                let command = reply.first().split(' ').nth(1).unwrap_or_default();
                writeln!(
                    self.screen.out,
                    "200 {command} invalid JSON response ({why})"
                )?;
                Ok(REFUSED)
            }
        }
    }

    fn info(&mut self) -> Outcome {
        let mut client = self.connect()?;
        if self.json {
            let reply = client.ask_json(&["info"])?;
            return self.pretty(&reply);
        }
        let reply = client.ask(&["info"])?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        writeln!(self.screen.out, "{}", reply.first())?;
        Ok(DONE)
    }

    fn list_peers(&mut self) -> Outcome {
        let mut client = self.connect()?;
        if self.json {
            let reply = client.ask_json(&["listpeers"])?;
            return self.pretty(&reply);
        }
        self.rows(&mut client, &["listpeers"])
    }

    fn peers(&mut self) -> Outcome {
        let mut client = self.connect()?;
        if self.json {
            let reply = client.ask_json(&["peers"])?;
            return self.pretty(&reply);
        }
        let reply = client.ask(&["peers"])?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        let out = &mut self.screen.out;
        writeln!(out, "200 peers")?;
        writeln!(
            out,
            "<ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>"
        )?;
        for row in reply.table() {
            let [
                address,
                version,
                role,
                latency,
                link,
                sent,
                received,
                path,
                ..,
            ] = row[..]
            else {
                continue;
            };
            write!(out, "{address} {version:<6} {role:<6} {latency:>5} ")?;
            if link == "DIRECT" {
                writeln!(out, "DIRECT   {sent:<8} {received:<8} {path}")?;
            } else {
                writeln!(out, "{link}")?;
            }
        }
        Ok(DONE)
    }

    fn list_networks(&mut self) -> Outcome {
        let mut client = self.connect()?;
        if self.json {
            let reply = client.ask_json(&["listnetworks"])?;
            return self.pretty(&reply);
        }
        let reply = client.ask(&["listnetworks"])?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        let out = &mut self.screen.out;
        writeln!(
            out,
            "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>"
        )?;
        for row in reply.table() {
            let [id, name, mac, status, kind, device, ips, ..] = row[..] else {
                continue;
            };
            let (name, device) = (unescape(name), unescape(device));
            writeln!(
                out,
                "200 listnetworks {id} {name} {mac} {status} {kind} {device} {ips}"
            )?;
        }
        Ok(DONE)
    }

    /// Checks a network id as `join` and `leave` do.
    fn id_to_join(&mut self) -> Result<Option<String>, Stop> {
        let id = self.arg(0);
        if NetworkId::parse(id).is_none() {
            writeln!(self.screen.out, "invalid network id")?;
            return Ok(None);
        }
        Ok(Some(id.to_owned()))
    }

    /// Checks a network id as `set` and `get` do.
    fn id_of_member(&mut self) -> Result<Option<String>, Stop> {
        let id = self.arg(0);
        if NetworkId::parse(id).is_none() || id.len() != NETWORK_ID_LEN {
            let text = "invalid format: must be a 16-digit (network) ID";
            writeln!(self.screen.err, "{text}")?;
            return Ok(None);
        }
        Ok(Some(id.to_owned()))
    }

    /// The network as 1.14.1 answers changes: one line of JSON without its end.
    fn print_network(&mut self, client: &mut Client, id: &str) -> Outcome {
        let reply = client.ask_json(&["network", id])?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        write!(self.screen.out, "{}", reply.json())?;
        Ok(DONE)
    }

    fn join(&mut self) -> Outcome {
        let Some(id) = self.id_to_join()? else {
            return Ok(USAGE);
        };
        let mut client = self.connect()?;
        let settings: Vec<String> = self.args.iter().skip(1).map(|s| assignment(s)).collect();
        let mut words = vec!["join", &id];
        words.extend(settings.iter().map(String::as_str));
        let reply = client.ask(&words)?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        if self.json {
            return self.print_network(&mut client, &id);
        }
        writeln!(self.screen.out, "200 join OK")?;
        Ok(DONE)
    }

    fn leave(&mut self) -> Outcome {
        let Some(id) = self.id_to_join()? else {
            return Ok(USAGE);
        };
        let reply = self.connect()?.ask(&["leave", &id])?;
        // Not joined is left, says 1.14.1, and scripts rely on it.
        let absent = reply.is(Code::NotFound);
        if !reply.is_ok() && !absent {
            return self.refused(&reply);
        }
        match (self.json, absent) {
            (false, _) => writeln!(self.screen.out, "200 leave OK")?,
            (true, false) => write!(self.screen.out, "{{\"result\":true}}")?,
            (true, true) => write!(self.screen.out, "{{}}")?,
        }
        Ok(DONE)
    }

    fn set(&mut self) -> Outcome {
        let Some(id) = self.id_of_member()? else {
            return Ok(USAGE);
        };
        let setting = self.arg(1).to_owned();
        if setting.is_empty() {
            writeln!(
                self.screen.err,
                "invalid format: include a property name to set"
            )?;
            return Ok(USAGE);
        }
        if !setting.contains('=') {
            help(self.program, self.screen.err)?;
            return Ok(USAGE);
        }
        let mut client = self.connect()?;
        let reply = client.ask(&["set", &id, &assignment(&setting)])?;
        if reply.is_ok() {
            return self.print_network(&mut client, &id);
        }
        self.no_such(&reply)
    }

    fn get(&mut self) -> Outcome {
        let Some(id) = self.id_of_member()? else {
            return Ok(USAGE);
        };
        let key = self.arg(1).to_owned();
        if key.is_empty() {
            writeln!(
                self.screen.err,
                "invalid format: include a property name to get"
            )?;
            return Ok(USAGE);
        }
        let reply = self.connect()?.ask(&["get", &id, &key])?;
        if !reply.is_ok() {
            return self.no_such(&reply);
        }
        for row in &reply.rows {
            let value = row.splitn(3, ' ').nth(2).unwrap_or_default();
            writeln!(self.screen.out, "{}", unescape(value))?;
        }
        Ok(DONE)
    }

    /// A network or a property that is not there.
    pub(super) fn no_such(&mut self, reply: &Reply) -> Outcome {
        match reply.text() {
            "unknown network" => writeln!(self.screen.err, "{UNKNOWN_NETWORK}")?,
            "unknown property" => writeln!(self.screen.out, "{UNKNOWN_PROPERTY}")?,
            _ => return self.refused(reply),
        }
        Ok(REFUSED)
    }

    fn list_moons(&mut self) -> Outcome {
        let reply = self.connect()?.ask_json(&["listmoons"])?;
        self.pretty(&reply)
    }

    fn moon_id(&mut self) -> Result<Option<String>, Stop> {
        let id = self.arg(0);
        let fits =
            (1..=NETWORK_ID_LEN).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
        if !fits {
            let text = "invalid format: must be a world ID of up to 16 hex digits";
            writeln!(self.screen.err, "{text}")?;
            return Ok(None);
        }
        Ok(Some(id.to_owned()))
    }

    fn orbit(&mut self) -> Outcome {
        let Some(id) = self.moon_id()? else {
            return Ok(USAGE);
        };
        let seed = self.arg(1).to_owned();
        let mut words = vec!["orbit", &id];
        if !seed.is_empty() {
            words.push(&seed);
        }
        let reply = self.connect()?.ask(&words)?;
        writeln!(self.screen.out, "{}", reply.first())?;
        Ok(if reply.is_ok() { DONE } else { REFUSED })
    }

    fn deorbit(&mut self) -> Outcome {
        let Some(id) = self.moon_id()? else {
            return Ok(USAGE);
        };
        let reply = self.connect()?.ask(&["deorbit", &id])?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        if self.json {
            write!(self.screen.out, "{{\"result\":true}}")?;
        } else {
            writeln!(self.screen.out, "200 deorbit OK")?;
        }
        Ok(DONE)
    }

    /// There is no bonding: what 1.14.1 says without a policy.
    fn bond(&mut self, command: &str) -> Outcome {
        if command == "bond" && self.args.is_empty() {
            writeln!(
                self.screen.out,
                "(bond) command is missing required arguments"
            )?;
            return Ok(USAGE);
        }
        self.connect()?;
        if command == "listbonds" || self.arg(0) == "list" {
            let out = &mut self.screen.out;
            writeln!(
                out,
                "    <peer>                        <bondtype>     <links>"
            )?;
            writeln!(out, "      NONE\t\t\t\tNONE\t    NONE       NONE")?;
            return Ok(DONE);
        }
        writeln!(self.screen.out, "400 bond {{}}")?;
        Ok(REFUSED)
    }

    fn monitor(&mut self) -> Outcome {
        let mut client = self.connect()?;
        let mut words = vec!["monitor"];
        words.extend(self.args.iter().map(String::as_str));
        let reply = client.ask(&words)?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        client.set_silence(None)?;
        loop {
            let line = client.line()?;
            if line.is_empty() {
                return Ok(DONE);
            }
            writeln!(self.screen.out, "{line}")?;
            self.screen.out.flush()?;
        }
    }

    /// Prometheus text as it is over HTTP.
    fn metrics(&mut self) -> Outcome {
        let reply = self.connect()?.ask(&["metrics"])?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        for row in reply.rows.iter().skip(1) {
            let line = row.split_once(' ').map_or("", |(_, line)| line);
            writeln!(self.screen.out, "{line}")?;
        }
        Ok(DONE)
    }

    /// Commands that 1.14.1 does not have: their rows, or their JSON.
    fn pass_through(&mut self, command: &str) -> Outcome {
        let mut client = self.connect()?;
        let mut words = vec![command];
        words.extend(self.args.iter().map(String::as_str));
        if self.json {
            let reply = client.ask_json(&words)?;
            return self.pretty(&reply);
        }
        self.rows(&mut client, &words)
    }

    fn rows(&mut self, client: &mut Client, words: &[&str]) -> Outcome {
        let reply = client.ask(words)?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        for row in &reply.rows {
            writeln!(self.screen.out, "{}", unescape(row))?;
        }
        Ok(DONE)
    }

    /// The paths of the HTTP API that can be read: their body as it is.
    fn path(&mut self, path: &str) -> Outcome {
        let mut parts = path.trim_start_matches('/').split('/');
        let (kind, id) = (parts.next().unwrap_or_default(), parts.next());
        let (words, key): (&[&str], _) = match (kind, id) {
            ("status", None) => (&["info"], ""),
            ("network", None) => (&["listnetworks"], ""),
            ("network", Some(_)) => (&["listnetworks"], "nwid"),
            ("peer", None) => (&["listpeers"], ""),
            ("peer", Some(_)) => (&["listpeers"], "address"),
            ("moon", None) => (&["listmoons"], ""),
            ("moon", Some(_)) => (&["listmoons"], "id"),
            _ => {
                self.connect()?;
                writeln!(self.screen.out, "404 {path} ")?;
                return Ok(REFUSED);
            }
        };
        let reply = self.connect()?.ask_json(words)?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        let Some(id) = id else {
            write!(self.screen.out, "{}", reply.json())?;
            return Ok(DONE);
        };
        let list = Value::parse(&reply.json()).unwrap_or(Value::Null);
        let found = list.as_array().and_then(|l| {
            l.iter()
                .find(|v| v.get(key).and_then(Value::as_str) == Some(id))
        });
        match found {
            Some(value) => write!(self.screen.out, "{value}")?,
            None if kind == "network" => {
                writeln!(self.screen.out, "404 {path} {{}}")?;
                return Ok(REFUSED);
            }
            None => write!(self.screen.out, "{{}}")?,
        }
        Ok(DONE)
    }
}

/// Values of the switches `allow…` as 1.14.1 reads them: on if they begin with `t` or `1`. A
/// list of prefixes stays what it is, and so does what only the service can judge.
fn assignment(setting: &str) -> String {
    let Some((key, value)) = setting.split_once('=') else {
        return setting.to_owned();
    };
    if !key.starts_with("allow") || value.contains('/') {
        return setting.to_owned();
    }
    let value = match value.as_bytes().first() {
        Some(b't' | b'1') => "1",
        Some(b'f' | b'0') => "0",
        _ => value,
    };
    format!("{key}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_as_ever_and_lists_are_kept() {
        for (given, sent) in [
            ("allowDNS=true", "allowDNS=1"),
            ("allowDNS=1", "allowDNS=1"),
            ("allowDNS=false", "allowDNS=0"),
            ("allowDNS=what", "allowDNS=what"),
            (
                "allowManaged=10.0.0.0/8,fd00::/8",
                "allowManaged=10.0.0.0/8,fd00::/8",
            ),
            ("ifname=t0", "ifname=t0"),
            ("allowDNS", "allowDNS"),
        ] {
            assert_eq!(assignment(given), sent);
        }
    }
}
