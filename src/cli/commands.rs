//! The words of `zerotier-cli`: what each asks, and how its answer is printed (service 2.2).

use std::io::{self, Write as _};

use super::client::{Client, Failure, Reply};
use super::target::Target;
use super::{DONE, Options, REFUSED, Screen, USAGE, bond, connect, dump, help, path, wait};
use crate::service::control::line::{Code, unescape};
use crate::service::json::Value;

/// One invocation.
pub(super) struct Run<'a, 'b> {
    pub(super) program: &'a str,
    pub(super) target: &'a Target,
    pub(super) json: bool,
    pub(super) args: &'a [String],
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

/// Runs the command in `options`.
pub(super) fn run(program: &str, options: &Options, screen: &mut Screen<'_>) -> io::Result<u8> {
    let Some((command, args)) = options.words.split_first() else {
        return help(program, screen.err).map(|()| DONE);
    };
    let mut run = Run {
        program,
        target: &options.target,
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
            "bond" => bond::run(self),
            "listbonds" => bond::list(self),
            "connect" => connect::run(self),
            "dump" => dump::run(self),
            "monitor" => self.monitor(),
            "wait" => wait::run(self),
            "help" => {
                help(self.program, self.screen.out)?;
                Ok(DONE)
            }
            "metrics" => self.metrics(),
            "paths" | "network" | "conf" | "log" | "reload" | "stop" => self.pass_through(command),
            path if path.starts_with('/') => path::run(self, path),
            _ => {
                help(self.program, self.screen.err)?;
                let program = self.program;
                // Behind the help, where it is seen.
                writeln!(self.screen.err, "\n{program}: unknown command: {command}")?;
                Ok(REFUSED)
            }
        }
    }

    /// The texts of service 2.1.
    fn explain(&mut self, failure: &Failure) -> io::Result<u8> {
        let (program, home) = (self.program, self.target.home.display());
        match failure {
            Failure::NoService => {
                writeln!(
                    self.screen.err,
                    "{program}: missing port and zerotier-one.port not found in {home}\n\
                     Is zerotier-one running, and is this its home? -D<path> names another."
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
            Failure::Connection(place, reason) => {
                writeln!(
                    self.screen.out,
                    "Error connecting to the ZeroTier service: {reason}\n\n\
                     Please check that the service is running and that {place}."
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
        Client::connect(self.target)
    }

    /// Argument number `n`, or nothing.
    pub(super) fn arg(&self, n: usize) -> &str {
        self.args.get(n).map_or("", String::as_str)
    }

    /// Prints an error row as it is: `<code> <command> <text>`.
    pub(super) fn refused(&mut self, reply: &Reply) -> Outcome {
        writeln!(self.screen.out, "{}", unescape(reply.first()))?;
        Ok(if reply.is(Code::BadArguments) {
            USAGE
        } else {
            REFUSED
        })
    }

    /// Says on standard error what is malformed.
    pub(super) fn malformed(&mut self, text: &str) -> Outcome {
        writeln!(self.screen.err, "{text}")?;
        Ok(USAGE)
    }

    /// JSON as it came, without an end of line: what 1.14.1 prints after changes.
    pub(super) fn raw(&mut self, reply: &Reply) -> Outcome {
        if !reply.is_ok() {
            return self.refused(reply);
        }
        write!(self.screen.out, "{}", reply.json())?;
        Ok(DONE)
    }

    /// JSON with one blank per level.
    pub(super) fn pretty(&mut self, reply: &Reply) -> Outcome {
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

    pub(super) fn list_peers(&mut self) -> Outcome {
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

    fn list_moons(&mut self) -> Outcome {
        let reply = self.connect()?.ask_json(&["listmoons"])?;
        self.pretty(&reply)
    }

    fn monitor(&mut self) -> Outcome {
        if self.args.iter().any(|class| class == "off") {
            let program = self.program;
            return self.malformed(&format!("{program}: monitor: nothing to switch off"));
        }
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
    pub(super) fn metrics(&mut self) -> Outcome {
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
}
