//! The command line and the order of start (service 1).

use core::mem::ManuallyDrop;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mio::{Poll, Registry};

use super::control::{Access, Server};
use super::daemon::{Daemon, Parts};
use super::dns::Far;
use super::doors::{self, Doors};
use super::event_loop::EventLoop;
use super::log;
use super::ready::Source;
use super::state::{DEFAULT_HOME, Home, warn};
use super::{Fatal, identity, log as logging};
use crate::base::Limits;
use crate::crypto::rng::Rng;
use crate::node::{Config, Node, supersedes};
use crate::os::netlink::{Control, Monitor};
use crate::os::privilege::{self, Ready, Side};
use crate::os::signal::{Signal, Signals};
use crate::os::watch::Watch;
use crate::os::{self, clock, entropy, file, shown};
use crate::wire::identity::SecretIdentity;
use crate::wire::world::{DEFAULT_PLANET, WorldBuf, WorldKind};

/// Port when nobody says.
pub const DEFAULT_PORT: u16 = 9993;

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Run the service.
    Run(Options),
    /// Print the bare version (`-v`).
    BareVersion,
    /// Print name and version (`--version`).
    Version,
    /// Print the help and exit with this status.
    Help(i32),
}

/// How to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The home directory.
    pub home: PathBuf,
    /// UDP port; 0: a random one.
    pub port: u16,
    /// `-U`: any user will do, and rights are not dropped.
    pub any_user: bool,
    /// `-d`: go to the background.
    pub background: bool,
    /// `--new-identity`: set a damaged identity aside and make a new one.
    pub new_identity: bool,
}

/// Reads the arguments behind the program's name. `home` is `$ZEROTIER_HOME`.
///
/// Values are glued to their switch, and only the first letter after the dash counts, as scripts
/// have relied on since 1.0.
pub fn parse(arguments: &[OsString], home: Option<OsString>) -> Request {
    let mut port = DEFAULT_PORT;
    let (mut any_user, mut background, mut new_identity) = (false, false, false);
    let mut given = None;
    for argument in arguments {
        // By comparison: a pattern would be looked at byte by byte.
        match argument.as_bytes() {
            _ if argument == "--version" => return Request::Version,
            _ if argument == "--new-identity" => new_identity = true,
            [b'-', b'p', number @ ..] => match parse_port(number) {
                Some(number) => port = number,
                None => return Request::Help(1),
            },
            [b'-', b'U', ..] => any_user = true,
            [b'-', b'd', ..] => background = true,
            [b'-', b'v', ..] => return Request::BareVersion,
            [b'-', ..] | [] => return Request::Help(0),
            _ if given.is_some() => return Request::Help(0),
            _ => given = Some(argument),
        }
    }
    let home = given.or(home.as_ref().filter(|home| !home.is_empty()));
    Request::Run(Options {
        home: home.map_or(Path::new(DEFAULT_HOME), Path::new).to_owned(),
        port,
        any_user,
        background,
        new_identity,
    })
}

fn parse_port(text: &[u8]) -> Option<u16> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// The help text.
pub fn help(program: &str) -> String {
    format!(
        "zerotier-one {version}\n\
         ZeroTier for routers and small boards\n\
         Licence: Mozilla Public License 2.0\n\
         \n\
         Usage: {program} [-switches] [home directory]\n\
         \n\
         Available switches:\n\
         \x20 -h                - Display this help\n\
         \x20 -v                - Show version\n\
         \x20 -U                - Skip privilege check and do not attempt to drop privileges\n\
         \x20 -p<port>          - Port for UDP (default: {DEFAULT_PORT}, 0 for random)\n\
         \x20 -d                - Fork and run as daemon\n\
         \x20 -i                - Generate and manage identities (zerotier-idtool)\n\
         \x20 -q                - Query API (zerotier-cli)\n\
         \x20 --version         - Show name and version\n\
         \x20 --new-identity    - If the stored identity is damaged, set it aside and make a new one\n\
         \n\
         Default home directory: {DEFAULT_HOME} (or $ZEROTIER_HOME)\n",
        version = super::VERSION,
    )
}

/// Boards with less memory get the small tables.
const SMALL_BELOW_BYTES: u64 = 96 << 20;

/// Starts and runs; the exit status of an orderly end.
pub(super) fn start(options: &Options) -> Result<i32, Fatal> {
    file::close_inherited();
    if !options.any_user && !privilege::may_make_networks() {
        let text = format_args!("must be run as {}", privilege::WHO_MAY);
        return Err(Fatal::new(text));
    }
    let home = Home::open(&options.home)?;
    if !options.background {
        return run(options, home, None);
    }
    match privilege::to_background().map_err(fatal)? {
        Side::Parent(status) => Ok(status),
        Side::Child(ready) => run(options, home, Some(ready)),
    }
}

/// Everything up to the loop, the loop, and the end. `background`: who waits until the sockets
/// are open.
fn run(options: &Options, mut home: Home, background: Option<Ready>) -> Result<i32, Fatal> {
    let tail = logging::start(background.is_some());
    // Before there are secrets, locks and signals: it must not have a share in any.
    let names = Far::start(options.home.clone()).map_err(fatal)?;
    let mut signals = Signals::catch().map_err(fatal)?;
    let pid = home.lock()?;
    let mut rng = Rng::new(entropy::seed().map_err(fatal)?);
    let obtained = identity::obtain(&mut home, &mut rng, options.new_identity, &mut || {
        // Others than a stop find nothing to do yet.
        while let Some(signal) = signals.take() {
            if signal == Signal::Stop {
                return true;
            }
        }
        false
    })?;
    let Some(secret) = obtained else {
        return Ok(0);
    };
    let no_poll = |error| fatal(os::Error::from_io(&"epoll", error));
    let poll = Poll::new().map_err(no_poll)?;
    let registry = poll.registry().try_clone().map_err(no_poll)?;
    let monitor = Monitor::open().map_err(fatal)?;
    let routes = Control::open().map_err(fatal)?;
    let token = home.authtoken(&mut rng);
    let port = options.port;
    let daemon = daemon_of(home, names, port, secret, &mut rng, registry, routes)?;
    if !options.any_user {
        give_up_rights(daemon)?;
    }
    daemon.open_sockets()?;
    daemon.is_started = true;
    // Nothing is open yet that could be stale.
    daemon.conf.doors_stale = false;
    daemon.store_port();
    let mut doors = Doors::new(token);
    let access = Access::of(&daemon.conf.in_force().settings.router);
    let first = Source::Control(0).token();
    let mut server = Server::new(daemon.home.dir(), access, first);
    doors::open_socket(&mut server, &mut daemon.home, poll.registry())?;
    let Daemon {
        conf, ports, home, ..
    } = &mut **daemon;
    let (settings, port) = (&conf.in_force().settings, ports.primary());
    doors.follow(settings, port, home, &mut server, poll.registry());
    log::info!("{} on port {}", daemon.node.address(), daemon.port());
    // A system without such news has `reload`.
    let files = Watch::open(daemon.home.dir())
        .inspect_err(|error| log::debug!("local.conf is not watched: {error}"))
        .ok();
    daemon.clean_system();
    start_memberships(daemon);
    daemon.report_home();
    let mut event_loop = EventLoop {
        poll,
        signals,
        monitor,
        server,
        doors,
        files,
        daemon,
        tail,
        waits: 0,
        pid,
    };
    event_loop.start()?;
    if let Some(ready) = background {
        // The log goes to syslog; whoever started us gets its terminal back.
        if let Err(error) = file::detach_standard() {
            log::warn!("{error}");
        }
        ready.tell(0);
    }
    confine();
    event_loop.run().map(|()| 0)
}

/// The daemon with its node. Both are large, so they are made in a frame that does not live as long
/// as they.
#[inline(never)]
fn daemon_of(
    mut home: Home,
    names: Far,
    port: u16,
    secret: SecretIdentity,
    rng: &mut Rng,
    registry: Registry,
    routes: Control,
) -> Result<&'static mut ManuallyDrop<Daemon>, Fatal> {
    let planet = planet(&mut home);
    let roomy = file::memory_bytes().is_none_or(|bytes| bytes >= SMALL_BELOW_BYTES);
    let limits = if roomy && !cfg!(feature = "small") {
        Limits::normal()
    } else {
        Limits::small()
    };
    home.set_limits(&limits);
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let now = clock::now();
    let config = Config {
        secret,
        planet: planet.bytes(),
        limits,
        seed,
        aes: crate::crypto::armor::cpu_has_aes(),
        relay: false,
    };
    let node = Node::new(config, now)
        .map_err(|error| Fatal::new(format_args!("the planet cannot be used: {error}")))?;
    let mut daemon_seed = [0; 32];
    rng.fill(&mut daemon_seed);
    Ok(Daemon::new(Parts {
        node,
        home,
        names,
        port,
        rng: Rng::new(daemon_seed),
        limits,
        registry,
        routes,
        now,
    }))
}

/// Who the service is, if there is such a user (service 1).
#[cfg(target_os = "linux")]
const USER: &str = "zerotier-one";

/// Root up to here, the service's own user from here on, or a root who may do little; who was
/// never root stays who that is.
#[cfg(target_os = "linux")]
#[inline(never)]
fn give_up_rights(daemon: &Daemon) -> Result<(), Fatal> {
    use privilege::StillRoot;
    if !privilege::is_root() {
        // A service manager chose the user and gave the capabilities.
        return privilege::keep_needed().map_err(fatal);
    }
    let user = privilege::User::named(USER).unwrap_or_else(|error| {
        log::warn!("user {USER}: {error}");
        None
    });
    let router = &daemon.conf.in_force().settings.router;
    let group = router.control_group.as_deref();
    let mut groups = user.map_or(Vec::new(), |user| privilege::groups_of(USER, user));
    if let Some(group) = group.and_then(privilege::group_id) {
        groups.push(group);
    }
    let device = os::tap::device();
    let still = privilege::give_up(user, &groups, daemon.home.dir(), &[device]);
    match still.map_err(fatal)? {
        None => log::debug!("runs as user {USER}"),
        Some(StillRoot::NoUser) => log::debug!("runs as root: there is no user {USER}"),
        Some(why) => log::info!("runs as root, not as user {USER}: {why}"),
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_up_rights(_: &Daemon) -> Result<(), Fatal> {
    Ok(())
}

/// The end of what the service ever has to do beside its work.
#[cfg(target_os = "linux")]
fn confine() {
    // Kernels of some routers and emulators have neither.
    if let Err(error) = privilege::no_new_rights() {
        log::info!("new rights are not ruled out: {error}");
        return;
    }
    #[cfg(feature = "seccomp")]
    if let Err(error) = os::filter::install() {
        log::info!("system calls are not filtered: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn confine() {}

fn fatal(error: os::Error) -> Fatal {
    Fatal::new(format_args!("{error}"))
}

/// The planet to start with: the stored one unless the built-in one is its successor (wire
/// 11.3). One that does not parse is left alone and said.
fn planet(home: &mut Home) -> WorldBuf {
    const NAME: &str = "planet";
    let built_in = WorldBuf::new(DEFAULT_PLANET)
        .unwrap_or_else(|error| unreachable!("the built-in planet parses: {error}"));
    let trouble = match home.stored_planet() {
        Ok(None) => None,
        Ok(Some(bytes)) => match WorldBuf::new(&bytes) {
            Ok(world) if world.view().kind == WorldKind::Moon => {
                Some(home.explain(NAME, &"this is a moon"))
            }
            Ok(stored) if !supersedes(&stored.view(), &built_in.view()) => return stored,
            Ok(_) => None,
            Err(error) => Some(home.explain(NAME, &error)),
        },
        Err(error) => Some(home.explain(NAME, &error)),
    };
    match trouble {
        None => home.store_planet(built_in.bytes()),
        Some(text) => {
            log::warn!("{text}; the file is left as it is and the built-in planet used");
            home.keep_planet_file();
        }
    }
    built_in
}

/// Networks and moons that the home directory knows of.
#[inline(never)]
fn start_memberships(daemon: &mut Daemon) {
    if let Some(path) = daemon.home.governed() {
        log::warn!(
            "{}: this program is no controller, the networks there are not served",
            shown(&path)
        );
    }
    daemon.recall_peers();
    for id in daemon.home.networks(&mut warn) {
        let settings = daemon.home.settings(id, &mut warn);
        if daemon.start_network(id, settings).is_err() {
            log::error!("network {id} not joined: too many networks");
        }
    }
    for (id, seed) in daemon.home.moons(&mut warn) {
        if daemon.start_moon(id, seed).is_err() {
            log::error!("moon {id:016x} not orbited: too many moons");
        }
    }
    daemon.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(arguments: &[&str]) -> Request {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        parse(&arguments, None)
    }

    fn run(arguments: &[&str]) -> Options {
        match ask(arguments) {
            Request::Run(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_glued() {
        let options = run(&["-U", "-p29993", "-d", "/tmp/h", "--new-identity"]);
        assert_eq!(options.home, PathBuf::from("/tmp/h"));
        assert_eq!(options.port, 29993);
        assert!(options.any_user && options.background && options.new_identity);
        assert_eq!(run(&["-p0"]).port, 0);
        assert_eq!(run(&[]).home, PathBuf::from(DEFAULT_HOME));
    }

    #[test]
    fn what_is_wrong_prints_the_help() {
        assert_eq!(ask(&["-p65536"]), Request::Help(1));
        assert_eq!(ask(&["-p"]), Request::Help(1));
        // The blank makes 9993 the home, and the port's value missing.
        assert_eq!(ask(&["-p", "9993"]), Request::Help(1));
        assert_eq!(ask(&["/a", "/b"]), Request::Help(0));
        assert_eq!(ask(&["-h"]), Request::Help(0));
        assert_eq!(ask(&["--what"]), Request::Help(0));
        assert_eq!(ask(&["-v"]), Request::BareVersion);
        assert_eq!(ask(&["-version"]), Request::BareVersion);
        assert_eq!(ask(&["--version"]), Request::Version);
    }

    #[test]
    fn the_environment_gives_the_home_and_the_argument_wins() {
        let from = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            parse(&arguments, Some("/env".into()))
        };
        let Request::Run(options) = from(&[]) else {
            panic!("no run")
        };
        assert_eq!(options.home, PathBuf::from("/env"));
        let Request::Run(options) = from(&["/arg"]) else {
            panic!("no run")
        };
        assert_eq!(options.home, PathBuf::from("/arg"));
    }
}
