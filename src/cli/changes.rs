//! `join`, `leave`, `set`, `get`, `orbit`, `deorbit` (service 2.2).

use super::client::Reply;
use super::commands::{Outcome, Run, Stop};
use super::{DONE, REFUSED, USAGE, help};
use crate::base::{Address, NetworkId};
use crate::service::control::line::{Code, unescape};
use crate::service::settings::NetworkSettings;

const UNKNOWN_NETWORK: &str = "unknown network ID, check that you are a member of the network";
const UNKNOWN_PROPERTY: &str = "error, unknown property name";
/// Digits of a network id and of a world id, at most.
const ID_LEN: usize = 16;

impl Run<'_, '_> {
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
    pub(super) fn id_of_member(&mut self) -> Result<Option<String>, Stop> {
        let id = self.arg(0);
        if NetworkId::parse(id).is_none() || id.len() != ID_LEN {
            self.malformed("invalid format: must be a 16-digit (network) ID")?;
            return Ok(None);
        }
        Ok(Some(id.to_owned()))
    }

    /// Arguments from number `n` on are none of this command.
    fn ends_at(&mut self, command: &str, n: usize) -> Result<bool, Stop> {
        let Some(argument) = self.args.get(n) else {
            return Ok(true);
        };
        let text = format!("{}: {command}: one too many: {argument}", self.program);
        self.malformed(&text)?;
        Ok(false)
    }

    /// Asks for a change. With JSON its answer is printed as it comes.
    fn change(&mut self, words: &[&str]) -> Outcome {
        let mut client = self.connect()?;
        if self.json {
            let reply = client.ask_json(words)?;
            return self.raw(&reply);
        }
        let reply = client.ask(words)?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        writeln!(self.screen.out, "{}", reply.first())?;
        Ok(DONE)
    }

    pub(super) fn join(&mut self) -> Outcome {
        let Some(id) = self.id_to_join()? else {
            return Ok(USAGE);
        };
        let settings: Vec<String> = self.args.iter().skip(1).map(|s| assignment(s)).collect();
        let mut words = vec!["join", &id];
        words.extend(settings.iter().map(String::as_str));
        self.change(&words)
    }

    pub(super) fn leave(&mut self) -> Outcome {
        let Some(id) = self.id_to_join()? else {
            return Ok(USAGE);
        };
        if !self.ends_at("leave", 1)? {
            return Ok(USAGE);
        }
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

    /// Prints the network as 1.14.1 does: one line of JSON without its end.
    pub(super) fn set(&mut self) -> Outcome {
        let Some(id) = self.id_of_member()? else {
            return Ok(USAGE);
        };
        if !self.ends_at("set", 2)? {
            return Ok(USAGE);
        }
        let setting = self.arg(1).to_owned();
        if setting.is_empty() {
            return self.malformed("invalid format: include a property name to set");
        }
        let Some((key, _)) = setting.split_once('=') else {
            help(self.program, self.screen.err)?;
            let program = self.program;
            // Behind the help, where it is seen.
            let text = format!("\n{program}: set: must be <setting>=<value>: {setting}");
            return self.malformed(&text);
        };
        if !NetworkSettings::KEYS.contains(&key) {
            writeln!(self.screen.out, "{UNKNOWN_PROPERTY}")?;
            let keys = NetworkSettings::KEYS.join(" ");
            let program = self.program;
            writeln!(
                self.screen.err,
                "{program}: set: no setting \"{key}\"; there are {keys}"
            )?;
            return Ok(REFUSED);
        }
        let reply = self
            .connect()?
            .ask_json(&["set", &id, &assignment(&setting)])?;
        if reply.is(Code::NotFound) {
            return self.no_such(&reply);
        }
        self.raw(&reply)
    }

    pub(super) fn get(&mut self) -> Outcome {
        let Some(id) = self.id_of_member()? else {
            return Ok(USAGE);
        };
        if !self.ends_at("get", 2)? {
            return Ok(USAGE);
        }
        let key = self.arg(1).to_owned();
        if key.is_empty() {
            return self.malformed("invalid format: include a property name to get");
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

    fn moon_id(&mut self) -> Result<Option<String>, Stop> {
        let id = self.arg(0);
        let is_id = (1..=ID_LEN).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_hexdigit())
            && id.bytes().any(|b| b != b'0');
        if !is_id {
            self.malformed("invalid format: must be a world ID of up to 16 hex digits")?;
            return Ok(None);
        }
        Ok(Some(id.to_owned()))
    }

    pub(super) fn orbit(&mut self) -> Outcome {
        let Some(id) = self.moon_id()? else {
            return Ok(USAGE);
        };
        if !self.ends_at("orbit", 2)? {
            return Ok(USAGE);
        }
        let seed = self.arg(1).to_owned();
        let mut words = vec!["orbit", &id];
        if !seed.is_empty() {
            // 1.14.1's scripts say 0 when there is no seed.
            if Address::parse(&seed).is_none() && seed.bytes().any(|b| b != b'0') {
                return self.malformed("invalid format: the seed must be a 10-digit address");
            }
            words.push(&seed);
        }
        // The same with JSON, as in 1.14.1.
        let reply = self.connect()?.ask(&words)?;
        if !reply.is_ok() {
            return self.refused(&reply);
        }
        writeln!(self.screen.out, "200 orbit OK")?;
        Ok(DONE)
    }

    pub(super) fn deorbit(&mut self) -> Outcome {
        let Some(id) = self.moon_id()? else {
            return Ok(USAGE);
        };
        if !self.ends_at("deorbit", 1)? {
            return Ok(USAGE);
        }
        self.change(&["deorbit", &id])
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
