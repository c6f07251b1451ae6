//! What the commands need from the daemon: plain rows to read, a few calls to change things.
//!
//! Lists are read in steps, because a reply is made while its reader drains it: a row is asked
//! for by a cursor or a number, is written at once and is never kept. Between two steps anything
//! may have changed, so a cursor may lead to the end at any time and a number may be past it.
//! Every call must return at once.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::line::Code;
use crate::base::{Address, Mac, NetworkId, UnixMs};
use crate::node::Traffic;
use crate::service::json::Value;
use crate::wire::identity::Identity;
use crate::wire::verb::{ErrorCode, Verb};
use crate::wire::world::World;

/// The daemon itself.
#[derive(Clone, Copy, Debug)]
pub struct InfoRow<'a> {
    /// Who we are.
    pub identity: &'a Identity,
    /// An upstream answers.
    pub online: bool,
    /// Why not, in words; `None` while online.
    pub offline_reason: Option<&'a str>,
    /// An upstream says that another identity has our address.
    pub collision: bool,
    /// Time since start.
    pub uptime_ms: u64,
    /// The wall clock.
    pub clock: UnixMs,
    /// The wall clock is plausible.
    pub clock_ok: bool,
    /// Primary UDP port.
    pub port: u16,
    /// The home directory.
    pub home: &'a str,
    /// The planet's id.
    pub planet_id: u64,
    /// The planet's revision, ms since 1970.
    pub planet_timestamp: u64,
    /// Resident memory.
    pub rss_bytes: Option<u64>,
    /// Datagrams received, and their bytes.
    pub received: (u64, u64),
    /// Datagrams sent, and their bytes.
    pub sent: (u64, u64),
}

/// A path of a peer.
#[derive(Clone, Copy, Debug)]
pub struct PathRow<'a> {
    /// Our address, if it is known.
    pub local: Option<SocketAddr>,
    /// Number of our socket.
    pub socket: u16,
    /// The peer's.
    pub remote: SocketAddr,
    /// Interface of `local`.
    pub interface: Option<&'a str>,
    /// ms since something was sent.
    pub sent_ms: Option<u64>,
    /// ms since something was received.
    pub received_ms: Option<u64>,
    /// Round trip.
    pub latency_ms: Option<u32>,
    /// Smaller is better.
    pub quality: u64,
    /// The one that packets take.
    pub preferred: bool,
    /// Heard lately.
    pub active: bool,
    /// Not to be used.
    pub expired: bool,
}

/// A peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerRow<'a> {
    /// Its address.
    pub address: Address,
    /// What it said it runs.
    pub version: Option<(u8, u8, u16)>,
    /// `LEAF`, `MOON` or `PLANET`.
    pub role: &'static str,
    /// Round trip.
    pub latency_ms: Option<u32>,
    /// The path that packets take; none: they are relayed.
    pub path: Option<PathRow<'a>>,
    /// Packets from and to it.
    pub packets: Traffic,
}

/// Frames of a network since it was joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Frames {
    /// From members, given to the device.
    pub received: u64,
    /// From members, not given to the device.
    pub refused_in: u64,
    /// From the device, on their way to members.
    pub sent: u64,
    /// From the device, and not sent.
    pub refused_out: u64,
}

/// How late the loop is with what is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lag {
    /// Turns so far.
    pub turns: u64,
    /// The sum over all turns.
    pub total_ms: u64,
    /// The longest of all turns.
    pub max_ms: u64,
}

/// A network.
#[derive(Clone, Copy, Debug)]
pub struct NetworkRow<'a> {
    /// Its id.
    pub id: NetworkId,
    /// The controller's name for it; may be empty.
    pub name: &'a str,
    /// Our MAC on it.
    pub mac: Mac,
    /// `OK`, `REQUESTING_CONFIGURATION`, … (service 2.2).
    pub status: &'static str,
    /// `PRIVATE` or `PUBLIC`.
    pub kind: &'static str,
    /// The interface; empty while there is none.
    pub device: &'a str,
    /// Of the interface.
    pub mtu: u32,
    /// This member may bridge.
    pub bridge: bool,
    /// ff:ff:ff:ff:ff:ff is delivered.
    pub broadcast: bool,
    /// 0, or -999 when the tap could not be made.
    pub port_error: i32,
    /// Revision of the configuration.
    pub revision: u64,
    /// Managed addresses are allowed, all or some.
    pub allow_managed: bool,
    /// Those of global scope are allowed, all or some.
    pub allow_global: bool,
    /// A default route is allowed.
    pub allow_default: bool,
    /// Pushed DNS servers are allowed.
    pub allow_dns: bool,
    /// Pushed search domain; may be empty.
    pub dns_domain: &'a str,
    /// Who was told of the pushed servers, or why nobody was, in one word.
    pub dns_state: &'a str,
    /// Frames from and to its members.
    pub frames: Frames,
}

impl Lag {
    /// A turn was so late.
    pub fn add(&mut self, late_ms: u64) {
        self.turns = self.turns.wrapping_add(1);
        self.total_ms = self.total_ms.wrapping_add(late_ms);
        self.max_ms = self.max_ms.max(late_ms);
    }
}

/// An address with its prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Net {
    /// The address, with all its bits.
    pub ip: IpAddr,
    /// Prefix length.
    pub bits: u8,
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

/// A managed route.
#[derive(Clone, Copy, Debug)]
pub struct RouteRow<'a> {
    /// Where to.
    pub target: Net,
    /// By whom; none: on the link.
    pub via: Option<IpAddr>,
    /// As the controller sent them.
    pub flags: u16,
    /// As the controller sent it.
    pub metric: u16,
    /// The system has it: `yes`, `no`, or `no` and why.
    pub installed: Installed<'a>,
}

/// Does the system have a route, or an address?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Installed<'a> {
    /// Yes.
    Yes,
    /// No, for this reason (`not-allowed`, `connected`, an errno's name …).
    No(&'a str),
}

/// A moon, held or wanted.
#[derive(Clone, Copy, Debug)]
pub struct MoonRow<'a> {
    /// Its id.
    pub id: u64,
    /// Its definition; none: still waiting for it.
    pub world: Option<World<'a>>,
}

/// A change that was refused. By one address: few calls refuse, and many hand it on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(Box<Why>);

/// Why a change was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Why {
    /// Code of the reply.
    pub code: Code,
    /// Errno behind it, if the system refused.
    pub errno: Option<i32>,
    /// Text of the reply.
    pub text: String,
}

impl Refusal {
    /// A refusal of our own.
    #[cold]
    pub fn new(code: Code, text: fmt::Arguments<'_>) -> Self {
        Self::with(code, None, text)
    }

    /// The system refused.
    #[cold]
    pub fn os(errno: i32, text: fmt::Arguments<'_>) -> Self {
        Self::with(Code::Failed, Some(errno), text)
    }

    fn with(code: Code, errno: Option<i32>, text: fmt::Arguments<'_>) -> Self {
        let text = text.to_string();
        Self(Box::new(Why { code, errno, text }))
    }

    /// What was asked for is not part of this build.
    pub fn not_built() -> Self {
        Self::new(Code::NotBuilt, format_args!("not built"))
    }
}

impl core::ops::Deref for Refusal {
    type Target = Why;

    fn deref(&self) -> &Why {
        &self.0
    }
}

/// The daemon, as the control socket sees it.
pub trait Host {
    /// The daemon's own state.
    fn info(&self) -> InfoRow<'_>;

    /// Bound underlay address number `n`.
    fn bound(&self, n: usize) -> Option<SocketAddr>;

    /// Outside address number `n`, as others see us.
    fn surface(&self, n: usize) -> Option<SocketAddr>;

    /// Counter of drops number `n`: reason and count.
    fn drops(&self, n: usize) -> Option<(&'static str, u64)>;

    /// Further figures of `status`, number `n`: names of one word, lower case.
    fn figure(&self, _n: usize) -> Option<(&'static str, u64)> {
        None
    }

    /// Further words of `status`, number `n`: a name of one word, and a text if there is one now.
    fn note(&self, _n: usize) -> Option<(&'static str, Option<String>)> {
        None
    }

    /// Setting number `n` of `local.conf`: its key and its value in force, as JSON.
    fn conf_number(&self, _n: usize) -> Option<(String, String)> {
        None
    }

    /// The value in force of a key of `local.conf`, as JSON.
    fn conf_value(&self, _key: &str) -> Option<String> {
        None
    }

    /// Changes a key of `local.conf`, which is stored; an empty text takes it out.
    fn change_conf(&mut self, _key: &str, _json: &str) -> Result<(), Refusal> {
        Err(Refusal::not_built())
    }

    /// Packets of a verb, authentic ones that came and those that left.
    fn packets(&self, _verb: Verb) -> (u64, u64) {
        (0, 0)
    }

    /// ERRORs with a code that came and that left.
    fn errors(&self, _code: ErrorCode) -> (u64, u64) {
        (0, 0)
    }

    /// Table number `n`: name, entries in use, entries that it can hold.
    fn table(&self, _n: usize) -> Option<(&'static str, u64, u64)> {
        None
    }

    /// How late the loop is.
    fn lag(&self) -> Lag {
        Lag::default()
    }

    /// First peer at or after `cursor`, and the cursor behind it. Starts at 0.
    fn next_peer(&self, cursor: usize) -> Option<(usize, PeerRow<'_>)>;

    /// A peer.
    fn peer(&self, address: Address) -> Option<PeerRow<'_>>;

    /// Path number `n` of a peer.
    fn path(&self, address: Address, n: usize) -> Option<PathRow<'_>>;

    /// First network at or after `cursor`, and the cursor behind it. Starts at 0.
    fn next_network(&self, cursor: usize) -> Option<(usize, NetworkRow<'_>)>;

    /// A joined network.
    fn network(&self, id: NetworkId) -> Option<NetworkRow<'_>>;

    /// Address number `n` that a network assigned, in its own order, set or not.
    fn address(&self, id: NetworkId, n: usize) -> Option<Net>;

    /// Assigned address number `n` of a network is on the interface.
    fn address_installed(&self, id: NetworkId, n: usize) -> Installed<'_>;

    /// Managed route number `n` of a network.
    fn route(&self, id: NetworkId, n: usize) -> Option<RouteRow<'_>>;

    /// Pushed DNS server number `n` of a network.
    fn dns_server(&self, id: NetworkId, n: usize) -> Option<IpAddr>;

    /// Multicast group number `n` of a network.
    fn group(&self, id: NetworkId, n: usize) -> Option<(Mac, u32)>;

    /// Keys that [`Host::set`] takes.
    fn setting_keys(&self) -> &'static [&'static str];

    /// A setting of a joined network as [`Host::set`] takes it. `None`: no such key or network.
    fn setting(&self, id: NetworkId, key: &str) -> Option<String>;

    /// Joins a network with settings, stored before the tap is opened. Joining again is fine and
    /// changes the settings that are named.
    fn join(&mut self, id: NetworkId, settings: &[(&str, &str)]) -> Result<(), Refusal>;

    /// Leaves a network; [`Code::NotFound`] when it was not joined.
    fn leave(&mut self, id: NetworkId) -> Result<(), Refusal>;

    /// Changes one setting of a joined network, and stores it.
    fn set(&mut self, id: NetworkId, key: &str, value: &str) -> Result<(), Refusal>;

    /// Moon number `n`, held or wanted.
    fn moon(&self, _n: usize) -> Option<MoonRow<'_>> {
        None
    }

    /// Moons are part of this build.
    fn has_moons(&self) -> bool {
        false
    }

    /// Wants a moon; `seed` is asked for its definition.
    fn orbit(&mut self, _id: u64, _seed: Option<Address>) -> Result<(), Refusal> {
        Err(Refusal::not_built())
    }

    /// Forgets a moon. `false`: it was neither held nor wanted.
    fn deorbit(&mut self, _id: u64) -> Result<bool, Refusal> {
        Err(Refusal::not_built())
    }

    /// `local.conf` as it was read, all that is unknown included. `None`: nobody may see it.
    fn local_conf(&self) -> Option<&Value> {
        None
    }

    /// Sets members of `settings` in `local.conf` and stores it; `null` takes one out.
    #[cfg(feature = "http-compat")]
    fn merge_settings(&mut self, _changes: &[(String, Value)]) -> Result<(), Refusal> {
        Err(Refusal::not_built())
    }

    /// Sets the level of the log by name; `false`: no such level.
    fn set_log_level(&mut self, level: &str) -> bool;

    /// Reads `local.conf` and the networks' settings again, as SIGHUP does.
    fn reload(&mut self) -> Result<(), Refusal>;

    /// Line number `n` of what else belongs into a bug report, without its end. `false`: there
    /// is none. Never secrets.
    fn dump_line(&self, _n: usize, _out: &mut dyn fmt::Write) -> bool {
        false
    }

    /// Asks for an orderly stop, soon after this call.
    fn stop(&mut self);

    /// A stop was asked for: nothing is changed any more.
    fn is_stopping(&self) -> bool;
}
