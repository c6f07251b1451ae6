//! `join`, `leave`, `set`, `get`, `orbit`, `deorbit` (service 2.2).

use super::client::Reply;
use super::commands::{Run, values};
use super::{Help, REFUSED, USAGE};
use crate::base::{Address, NetworkId};
use crate::service::control::line::Code;
use crate::service::settings::NetworkSettings;

const UNKNOWN_NETWORK: &str = "unknown network ID, check that you are a member of the network";
const UNKNOWN_PROPERTY: &str = "error, unknown property name";
pub(super) const NO_NETWORK_ID: &str = "invalid format: must be a 16-digit (network) ID";
/// Digits of a network id and of a world id, at most.
const ID_LEN: usize = 16;

impl<'a> Run<'a> {
    /// Checks a network id as `join` and `leave` do.
    fn id_to_join(&mut self) -> &'a str {
        let id = self.arg(0);
        if NetworkId::parse(id).is_none() {
            self.screen.line("invalid network id");
            self.end(USAGE);
        }
        id
    }

    /// Checks a network id and what else there is as `set` and `get` do.
    fn property_of_member(&mut self, command: &str) -> (&'a str, &'a str) {
        let (id, property) = (self.arg(0), self.arg(1));
        if NetworkId::parse(id).is_none() || id.len() != ID_LEN {
            self.malformed(format_args!("{NO_NETWORK_ID}"));
        }
        self.must_end_at(command, 2);
        if property.is_empty() {
            self.malformed(format_args!(
                "invalid format: include a property name to {command}"
            ));
        }
        (id, property)
    }

    /// Arguments from number `n` on are none of this command.
    #[inline(never)]
    fn must_end_at(&mut self, command: &str, n: usize) {
        if let Some(argument) = self.args.get(n) {
            let program = self.program;
            self.malformed(format_args!(
                "{program}: {command}: one too many: {argument}"
            ));
        }
    }

    /// Asks for a change. With JSON its answer is printed as it comes.
    fn change(&mut self, words: &[&str]) {
        let reply = self.ask_ok(self.json, words);
        if self.json {
            self.screen.print(format_args!("{}", reply.json()));
        } else {
            self.screen.line(reply.first());
        }
    }

    pub(super) fn join(&mut self, command: &str) {
        let id = self.id_to_join();
        let mut settings = Vec::new();
        for setting in self.args.get(1..).unwrap_or_default() {
            settings.push(assignment(setting));
        }
        let mut words = vec![command, id];
        for setting in &settings {
            words.push(setting);
        }
        self.change(&words);
    }

    pub(super) fn leave(&mut self, command: &str) {
        let id = self.id_to_join();
        self.must_end_at(command, 1);
        let reply = self.ask(false, &[command, id]);
        // Not joined is left, says 1.14.1, and scripts rely on it.
        let absent = reply.is(Code::NotFound);
        if !reply.is_ok() && !absent {
            self.refused(&reply);
        }
        self.screen.print(match (self.json, absent) {
            (false, _) => format_args!("200 leave OK\n"),
            (true, false) => format_args!("{{\"result\":true}}"),
            (true, true) => format_args!("{{}}"),
        });
    }

    /// Prints the network as 1.14.1 does: one line of JSON without its end.
    pub(super) fn set(&mut self, command: &str) {
        let (id, setting) = self.property_of_member(command);
        let program = self.program;
        let Some((key, _)) = setting.split_once('=') else {
            // Behind the help, where it is seen.
            self.malformed(format_args!(
                "{}\n\n{program}: set: must be <setting>=<value>: {setting}",
                Help(program)
            ));
        };
        if !NetworkSettings::KEYS.contains(&key) {
            self.screen.line(UNKNOWN_PROPERTY);
            let keys = NetworkSettings::KEYS.join(" ");
            self.screen.tell(format_args!(
                "{program}: set: no setting \"{key}\"; there are {keys}"
            ));
            self.end(REFUSED);
        }
        let reply = self.ask(true, &[command, id, &assignment(setting)]);
        if reply.is(Code::NotFound) {
            self.no_such(&reply);
        }
        if !reply.is_ok() {
            self.refused(&reply);
        }
        self.screen.print(format_args!("{}", reply.json()));
    }

    pub(super) fn get(&mut self, command: &str) {
        let (id, key) = self.property_of_member(command);
        let reply = self.ask(false, &[command, id, key]);
        if !reply.is_ok() {
            self.no_such(&reply);
        }
        values(self.screen, &reply);
    }

    /// A network or a property that is not there.
    #[cold]
    #[inline(never)]
    pub(super) fn no_such(&mut self, reply: &Reply) -> ! {
        match reply.text() {
            "unknown network" => self.screen.tell(format_args!("{UNKNOWN_NETWORK}")),
            "unknown property" => self.screen.line(UNKNOWN_PROPERTY),
            _ => self.refused(reply),
        }
        self.end(REFUSED)
    }

    fn moon_id(&mut self) -> &'a str {
        let id = self.arg(0);
        let is_id = (1..=ID_LEN).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_hexdigit())
            && id.bytes().any(|b| b != b'0');
        if !is_id {
            self.malformed(format_args!(
                "invalid format: must be a world ID of up to 16 hex digits"
            ));
        }
        id
    }

    pub(super) fn orbit(&mut self, command: &str) {
        let id = self.moon_id();
        self.must_end_at(command, 2);
        let words = [command, id, self.arg(1)];
        let [.., seed] = words;
        // 1.14.1's scripts say 0 when there is no seed.
        if Address::parse(seed).is_none() && seed.bytes().any(|b| b != b'0') {
            self.malformed(format_args!(
                "invalid format: the seed must be a 10-digit address"
            ));
        }
        let count = if seed.is_empty() { 2 } else { 3 };
        // The same with JSON, as in 1.14.1.
        self.ask_ok(false, words.get(..count).unwrap_or_default());
        self.screen.line("200 orbit OK");
    }

    pub(super) fn deorbit(&mut self, command: &str) {
        let id = self.moon_id();
        self.must_end_at(command, 1);
        self.change(&[command, id]);
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
