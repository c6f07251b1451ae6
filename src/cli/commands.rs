//! The words of `zerotier-cli`: what each asks, and how its answer is printed (service 2.2).

use super::client::{Client, Failure, Reply, Way, text_of};
use super::target::Target;
use super::{DONE, Help, Options, REFUSED, Screen, USAGE, bond, connect, dump, path, wait};
use crate::os::shown;
use crate::service::control::line::{Code, socket_path, unescape};
use crate::service::json::Value;

/// One invocation.
pub(super) struct Run<'a> {
    pub(super) program: &'a str,
    pub(super) target: &'a Target,
    pub(super) json: bool,
    pub(super) args: &'a [String],
    pub(super) screen: &'a mut Screen,
    client: Option<Client>,
}

/// What fails says so and ends the process there and then: nothing is left to be done.
type Command = fn(&mut Run<'_>, &str);

const COMMANDS: &[(&str, Command)] = &[
    ("info", |run, word| run.info(word)),
    ("status", |run, word| run.info(word)),
    ("listpeers", |run, word| run.list_peers(word)),
    ("peers", |run, word| run.peers(word)),
    ("listnetworks", |run, word| run.list_networks(word)),
    ("join", |run, word| run.join(word)),
    ("leave", |run, word| run.leave(word)),
    ("set", |run, word| run.set(word)),
    ("get", |run, word| run.get(word)),
    ("listmoons", |run, word| run.list_moons(word)),
    ("orbit", |run, word| run.orbit(word)),
    ("deorbit", |run, word| run.deorbit(word)),
    ("bond", bond::run),
    ("listbonds", bond::list),
    ("connect", connect::run),
    ("dump", dump::run),
    ("monitor", |run, word| run.monitor(word)),
    ("wait", wait::run),
    ("help", |run, word| run.help(word)),
    ("metrics", |run, word| run.metrics(word)),
    ("paths", |run, word| run.pass_through(word)),
    ("network", |run, word| run.pass_through(word)),
    ("conf", |run, word| run.pass_through(word)),
    ("log", |run, word| run.pass_through(word)),
    ("reload", |run, word| run.pass_through(word)),
    ("stop", |run, word| run.pass_through(word)),
];

/// Runs the command in `options`; its exit status.
pub(super) fn run(program: &str, options: &Options, screen: &mut Screen) -> u8 {
    let Some((command, args)) = options.words.split_first() else {
        screen.tell(format_args!("{}", Help(program)));
        return DONE;
    };
    let mut run = Run {
        program,
        target: &options.target,
        json: options.json,
        args,
        screen,
        client: None,
    };
    let known = COMMANDS.iter().find(|(name, _)| name == command);
    let does: Command = match known {
        Some((_, does)) => *does,
        None if command.starts_with('/') => path::run,
        None => |run, word| run.unknown(word),
    };
    does(&mut run, command);
    DONE
}

impl<'a> Run<'a> {
    /// The end, when all is said.
    #[cold]
    #[inline(never)]
    pub(super) fn end(&mut self, status: u8) -> ! {
        std::process::exit(self.screen.end(status).into())
    }

    /// The texts of service 2.1, and the end.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, failure: Failure) -> ! {
        let (program, home) = (self.program, &self.target.home);
        let screen = &mut *self.screen;
        let status = match failure {
            Failure::NoService => {
                screen.tell(format_args!(
                    "{program}: missing port and zerotier-one.port not found in {}\n\
                     Is zerotier-one running, and is this its home? -D<path> names another.",
                    shown(&home)
                ));
                USAGE
            }
            Failure::NotAllowed => {
                screen.tell(format_args!(
                    "{program}: authtoken.secret not found or readable in {} \
                     (try again as root)",
                    shown(&home)
                ));
                USAGE
            }
            Failure::Connection(way, reason) => {
                screen.print(format_args!(
                    "Error connecting to the ZeroTier service: {reason}\n\n\
                     Please check that the service is running and that "
                ));
                match way {
                    Way::Socket => {
                        let path = socket_path(home);
                        screen.print(format_args!("{} can be contacted.\n", shown(&path)));
                    }
                    Way::Tcp => {
                        if let Some(at) = self.target.address() {
                            let (port, ip) = (at.port(), at.ip());
                            screen.print(format_args!(
                                "TCP port {port} can be contacted via {ip}.\n"
                            ));
                        }
                    }
                }
                REFUSED
            }
            Failure::Protocol(why) => {
                screen.print(format_args!(
                    "Error talking to the ZeroTier service: {why}\n"
                ));
                REFUSED
            }
        };
        self.end(status)
    }

    /// What came of it, unless it failed.
    pub(super) fn must<T>(&mut self, outcome: Result<T, Failure>) -> T {
        match outcome {
            Ok(value) => value,
            Err(failure) => self.fail(failure),
        }
    }

    /// Connects, unless that is done.
    pub(super) fn connect(&mut self) -> Result<&mut Client, Failure> {
        if self.client.is_none() {
            self.client = Some(Client::connect(self.target)?);
        }
        // It was put there just now.
        self.client.as_mut().ok_or(Failure::NoService)
    }

    /// There must be a service.
    #[inline(never)]
    pub(super) fn must_connect(&mut self) {
        if let Err(failure) = self.connect() {
            self.fail(failure);
        }
    }

    /// The connection, out of our hands.
    pub(super) fn take_client(&mut self) -> Client {
        self.must_connect();
        let client = self.client.take();
        self.must(client.ok_or(Failure::NoService))
    }

    /// Asks; whatever is said.
    #[inline(never)]
    pub(super) fn ask(&mut self, json: bool, words: &[&str]) -> Reply {
        let reply = self.connect().and_then(|client| client.ask(json, words));
        self.must(reply)
    }

    /// Asks; a refusal is printed, and that was it.
    #[inline(never)]
    pub(super) fn ask_ok(&mut self, json: bool, words: &[&str]) -> Reply {
        let reply = self.ask(json, words);
        if !reply.is_ok() {
            self.refused(&reply);
        }
        reply
    }

    /// Asks, and prints the answer: as JSON if that is wanted, else as `plain` has it.
    pub(super) fn show(&mut self, words: &[&str], plain: fn(&mut Screen, &Reply)) {
        let reply = self.ask_ok(self.json, words);
        if self.json {
            self.pretty(&reply);
        } else {
            plain(self.screen, &reply);
        }
    }

    /// Argument number `n`, or nothing.
    #[inline(never)]
    pub(super) fn arg(&self, n: usize) -> &'a str {
        self.args.get(n).map_or("", String::as_str)
    }

    /// The command and its arguments.
    fn words<'w>(&self, command: &'w str) -> Vec<&'w str>
    where
        'a: 'w,
    {
        let mut words = vec![command];
        for argument in self.args {
            words.push(argument);
        }
        words
    }

    /// Prints an error row as it is: `<code> <command> <text>`.
    #[cold]
    #[inline(never)]
    pub(super) fn refused(&mut self, reply: &Reply) -> ! {
        self.screen.line(&unescape(reply.first()));
        self.end(if reply.is(Code::BadArguments) {
            USAGE
        } else {
            REFUSED
        })
    }

    /// Says on standard output that it cannot be.
    #[cold]
    #[inline(never)]
    pub(super) fn no(&mut self, text: core::fmt::Arguments<'_>) -> ! {
        self.screen.print(format_args!("{text}\n"));
        self.end(REFUSED)
    }

    /// Says on standard error what is malformed.
    #[cold]
    #[inline(never)]
    pub(super) fn malformed(&mut self, text: core::fmt::Arguments<'_>) -> ! {
        self.screen.tell(text);
        self.end(USAGE)
    }

    /// JSON with one blank per level.
    pub(super) fn pretty(&mut self, reply: &Reply) {
        match Value::parse(&reply.json()) {
            Ok(value) => self.screen.line(&value.pretty()),
            Err(why) => {
                let command = reply.first().split(' ').nth(1).unwrap_or_default();
                self.no(format_args!("200 {command} invalid JSON response ({why})"))
            }
        }
    }

    fn unknown(&mut self, command: &str) {
        let program = self.program;
        // Behind the help, where it is seen.
        self.screen.tell(format_args!(
            "{}\n\n{program}: unknown command: {command}",
            Help(program)
        ));
        self.end(REFUSED)
    }

    fn help(&mut self, _: &str) {
        self.screen.print(format_args!("{}\n", Help(self.program)));
    }

    fn info(&mut self, _: &str) {
        self.show(&["info"], |screen, reply| screen.line(reply.first()));
    }

    pub(super) fn list_peers(&mut self, _: &str) {
        self.show(&["listpeers"], rows);
    }

    fn peers(&mut self, _: &str) {
        self.show(&["peers"], |screen, reply| {
            screen.line(
                "200 peers\n\
                 <ztaddr>   <ver>  <role> <lat> <link>   <lastTX> <lastRX> <path>",
            );
            reply.table(&mut |row| {
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
                ] = *row
                else {
                    return;
                };
                screen.print(format_args!(
                    "{address} {version:<6} {role:<6} {latency:>5} "
                ));
                if link == "DIRECT" {
                    screen.print(format_args!("DIRECT   {sent:<8} {received:<8} {path}\n"));
                } else {
                    screen.line(link);
                }
            });
        });
    }

    fn list_networks(&mut self, _: &str) {
        self.show(&["listnetworks"], |screen, reply| {
            screen.line(
                "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>",
            );
            reply.table(&mut |row| {
                let [id, name, mac, status, kind, device, ips, ..] = *row else {
                    return;
                };
                let (name, device) = (unescape(name), unescape(device));
                screen.print(format_args!(
                    "200 listnetworks {id} {name} {mac} {status} {kind} {device} {ips}\n"
                ));
            });
        });
    }

    fn list_moons(&mut self, _: &str) {
        let reply = self.ask_ok(true, &["listmoons"]);
        self.pretty(&reply);
    }

    fn monitor(&mut self, command: &str) {
        if self.args.iter().any(|class| class == "off") {
            let program = self.program;
            self.malformed(format_args!("{program}: monitor: nothing to switch off"));
        }
        self.ask_ok(false, &self.words(command));
        let set = self.connect().and_then(|client| client.set_silence(None));
        self.must(set);
        while self.screen.flush() {
            let line = self.connect().and_then(Client::line);
            let line = self.must(line);
            if line.is_empty() {
                break;
            }
            self.screen.line(&line);
        }
    }

    /// Prometheus text as it is over HTTP.
    pub(super) fn metrics(&mut self, _: &str) {
        let reply = self.ask_ok(false, &["metrics"]);
        for row in reply.rows.iter().skip(1) {
            let line = row.split_once(' ').map_or("", |(_, line)| line);
            self.screen.line(line);
        }
    }

    /// Commands that 1.14.1 does not have: their rows, or their JSON.
    fn pass_through(&mut self, command: &str) {
        self.show(&self.words(command), rows);
    }
}

/// All rows as they are.
fn rows(screen: &mut Screen, reply: &Reply) {
    for row in &reply.rows {
        screen.line(&unescape(row));
    }
}

/// The values of rows.
pub(super) fn values(screen: &mut Screen, reply: &Reply) {
    for row in &reply.rows {
        screen.line(&unescape(text_of(row)));
    }
}
