//! `zerotier-cli` and `zerotier-idtool`: the words, texts and exit statuses of 1.14.1
//! (service 2, 5), over the control socket.
//!
//! Exit statuses: 0 done, 1 refused or not reachable, 2 malformed arguments.
//! differs from 1.14.1: what cannot be done is 1 where it says 0 (unknown command, property or
//! network, property that cannot be set), and 2 for a moon's id that is none.
#![forbid(unsafe_code)]

use core::fmt;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

pub use self::screen::Screen;
use self::target::Target;
use crate::os::shown;
use crate::service::control::line::DEFAULT_HOME;

mod bond;
mod changes;
mod client;
mod commands;
mod connect;
mod dump;
#[cfg(feature = "http-compat")]
mod http;
pub mod idtool;
mod path;
mod screen;
mod target;
mod wait;

/// Version of the programs.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const DONE: u8 = 0;
const REFUSED: u8 = 1;
const USAGE: u8 = 2;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The help.
    Help,
    /// The help, because of this switch, and this status.
    BadSwitch(String, u8),
    /// The bare version.
    BareVersion,
    /// Name and version.
    Version,
    /// A command.
    Run(Options),
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: Target,
    json: bool,
    words: Vec<String>,
}

/// Runs `zerotier-cli` with the arguments behind its name; gives its exit status.
pub fn run(program: &str, arguments: &[OsString], screen: &mut Screen) -> u8 {
    let home = crate::os::environment(c"ZEROTIER_HOME");
    let status = match parse(arguments, home) {
        Asked::Help => {
            screen.print(format_args!("{}\n", Help(program)));
            DONE
        }
        Asked::BadSwitch(why, status) => {
            screen.print(format_args!("{}\n", Help(program)));
            screen.tell(format_args!("{program}: {why}"));
            status
        }
        Asked::BareVersion => {
            screen.line(VERSION);
            DONE
        }
        Asked::Version => {
            screen.line(concat!("zerotier-cli ", env!("CARGO_PKG_VERSION")));
            DONE
        }
        Asked::Run(options) => commands::run(program, &options, screen),
    };
    screen.end(status)
}

/// Reads the arguments. Switches may stand anywhere, their values are glued to them.
fn parse(arguments: &[OsString], home: Option<OsString>) -> Asked {
    let mut options = Options {
        target: Target::new(
            home.filter(|h| !h.is_empty())
                .unwrap_or_else(|| DEFAULT_HOME.into()),
        ),
        json: false,
        words: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let [b'-', switch @ ..] = argument.as_bytes() else {
            let word = argument.to_string_lossy();
            options.words.push(word.into_owned());
            continue;
        };
        let (letter, value) = match switch {
            _ if argument == "--json" => (b'j', &[][..]),
            _ if argument == "--help" => (b'h', &[][..]),
            _ if argument == "--version" => return Asked::Version,
            [letter, value @ ..] => (*letter, value),
            [] => (b'-', &[][..]),
        };
        match (letter, value) {
            (b'j', []) => options.json = true,
            (b'v', []) => return Asked::BareVersion,
            (b'h' | b'?', []) => return Asked::Help,
            // differs from 1.14.1: the path may stand by itself too.
            (b'D', []) => match rest.next() {
                Some(path) => options.target.home = path.into(),
                None => return bad_switch("bad", argument, REFUSED),
            },
            (b'D', path) => options.target.home = OsStr::from_bytes(path).into(),
            (b'q', _) => {}
            (b'p' | b'T' | b'H', _) if set(&mut options.target, letter, value).is_some() => {}
            (b'p' | b'T' | b'H' | b'v' | b'j', _) => return bad_switch("bad", argument, REFUSED),
            _ => return bad_switch("unknown", argument, DONE),
        }
    }
    Asked::Run(options)
}

fn bad_switch(how: &str, argument: &OsStr, status: u8) -> Asked {
    Asked::BadSwitch(format!("{how} switch {}", shown(&argument)), status)
}

/// Takes a switch with its value; `None`: that is no value for it.
fn set(target: &mut Target, switch: u8, value: &[u8]) -> Option<()> {
    let text = core::str::from_utf8(value).ok().filter(|t| !t.is_empty())?;
    match switch {
        b'p' => target.port = Some(text.parse().ok().filter(|port| *port != 0)?),
        b'H' => target.ip = Some(text.parse().ok()?),
        _ => target.token = Some(text.to_owned()),
    }
    Some(())
}

/// The help, without its last end of line.
struct Help<'a>(&'a str);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.0;
        write!(
            f,
            "zerotier-cli {VERSION}
ZeroTier for routers and small boards
Licence: Mozilla Public License 2.0
Usage: {program} [-switches] <command/path> [<args>]

Available switches:
  -h                      - Display this help
  -v                      - Show version
  -j, --json              - Display full raw JSON output
  -D<path>                - ZeroTier home path (default: {DEFAULT_HOME})
  -p<port>                - TCP port, if it is not that of the home
  -T<token>               - Authentication token for TCP
  -H<ip>                  - Address for TCP (default: 127.0.0.1)

Available commands:
  info                    - Display status info
  listpeers               - List all peers
  peers                   - List all peers (prettier)
  paths <address>         - List all paths of a peer
  listnetworks            - List all networks
  network <network ID>    - Display all of one network
  join <network ID> [<setting>=<value>...]
                          - Join a network
  leave <network ID>      - Leave a network
  wait <network ID> [<seconds>]
                          - Wait until a network is OK (60 s)
  set <network ID> <setting>=<value>
                          - Set a network setting
  get <network ID> <setting>
                          - Get a network setting
  listmoons               - List moons (federated root sets)
  orbit <world ID> [<seed>]
                          - Join a moon via any member root
  deorbit <world ID>      - Leave a moon
  monitor [<class>...]    - Display events as they come
  connect                 - Talk to the control socket by hand
  bond ..., listbonds     - As in 1.14.1 without a bonding policy
  conf [<key>[=<json>]]   - Display or change settings of the service
  metrics                 - Display figures as Prometheus text
  log <level>             - Set the level of the log
  reload                  - Read the settings again
  dump                    - Debug settings dump for support
  stop                    - Stop the service

Available settings:
  Settings to use with [get/set] may include property names from
  the JSON output of \"zerotier-cli -j listnetworks\". Additionally,
  (ip, ip4, ip6, ip6plane, and ip6prefix can be used). For instance:
  {program} get <network ID> ip6plane will return the 6PLANE address
  assigned to this node."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(arguments: &[&str]) -> Asked {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        parse(&arguments, Some("/env".into()))
    }

    fn options(home: &str, json: bool, words: &[&str]) -> Asked {
        Asked::Run(Options {
            target: Target::new(home),
            json,
            words: words.iter().map(|w| (*w).to_owned()).collect(),
        })
    }

    #[test]
    fn switches_stand_anywhere_and_values_are_glued() {
        assert_eq!(ask(&["info"]), options("/env", false, &["info"]));
        assert_eq!(ask(&["-D/h", "info", "-j"]), options("/h", true, &["info"]));
        assert_eq!(ask(&["-D", "/h", "info"]), options("/h", false, &["info"]));
        let given = [
            "-p9993", "-Ttoken", "-H::1", "-q", "--json", "get", "a", "b",
        ];
        let Asked::Run(options) = ask(&given) else {
            panic!("no command")
        };
        let target = Target {
            home: "/env".into(),
            port: Some(9993),
            token: Some("token".into()),
            ip: Some("::1".parse().unwrap()),
        };
        assert_eq!(options.target, target);
        assert_eq!(options.words, ["get", "a", "b"]);
        assert!(options.json);
    }

    #[test]
    fn bad_switches_print_the_help() {
        for refused in [
            "-jx", "-D", "-p0", "-p", "-p65536", "-px", "-T", "-H", "-Hx", "-vx",
        ] {
            let why = format!("bad switch {refused}");
            assert_eq!(ask(&["info", refused]), Asked::BadSwitch(why, REFUSED));
        }
        for unknown in ["-x", "-", "--what"] {
            let why = format!("unknown switch {unknown}");
            assert_eq!(ask(&["info", unknown]), Asked::BadSwitch(why, DONE));
        }
        for help in ["-h", "-?", "--help"] {
            assert_eq!(ask(&["info", help]), Asked::Help, "{help}");
        }
        assert_eq!(ask(&["-v"]), Asked::BareVersion);
        assert_eq!(ask(&["--version"]), Asked::Version);
    }
}
