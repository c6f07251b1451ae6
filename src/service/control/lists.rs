//! Replies of many rows: each list is a small cursor, and each step writes one row (service 6.8).

use core::fmt::{self, Write as _};
use core::net::SocketAddr;

use super::buffer::Buffer;
use super::commands::COMMANDS;
use super::host::{Host, InfoRow, MoonRow, PathRow, PeerRow};
use super::line::Field;
use super::lists_network::{Family, ips, list_networks_row, network};
#[cfg(feature = "metrics")]
use super::metrics::Metrics;
use crate::base::{Address, NetworkId};
use crate::wire::inet::Slash;

/// Where a list is. Holds nothing of the daemon's state but names and numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum List {
    /// Rows of `status`: scalars, then bound, surface, drops, figures.
    Status {
        part: usize,
        n: usize,
    },
    BriefPeers {
        cursor: usize,
    },
    Peers {
        cursor: usize,
    },
    Paths {
        peer: Address,
        n: usize,
    },
    BriefNetworks {
        cursor: usize,
    },
    /// Rows of `network`: scalars, settings, then addresses, routes, DNS, groups.
    Network {
        id: NetworkId,
        part: usize,
        n: usize,
    },
    Ips {
        id: NetworkId,
        family: Family,
        n: usize,
    },
    Moons {
        n: usize,
    },
    Help {
        n: usize,
    },
    /// Rows of `conf`.
    Conf {
        n: usize,
    },
    Dump(Dump),
    #[cfg(feature = "metrics")]
    Metrics(Metrics),
}

/// Everything: sections one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dump {
    section: Section,
    /// Paths of the peer shown last.
    paths: Option<(Address, usize)>,
    /// Details of the network shown last.
    network: Option<(NetworkId, usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Section {
    Status { part: usize, n: usize },
    Peers { cursor: usize },
    Networks { cursor: usize },
    Moons { n: usize },
    Lines { n: usize },
}

impl List {
    pub(super) const fn status() -> Self {
        Self::Status { part: 0, n: 0 }
    }

    pub(super) const fn network(id: NetworkId) -> Self {
        Self::Network { id, part: 0, n: 0 }
    }

    pub(super) const fn dump() -> Self {
        Self::Dump(Dump {
            section: Section::Status { part: 0, n: 0 },
            paths: None,
            network: None,
        })
    }

    /// Writes the next row. `false`: there is none, and nothing was written.
    pub(super) fn next(&mut self, host: &dyn Host, out: &mut Buffer) -> bool {
        match self {
            Self::Status { part, n } => status(host, part, n, out),
            Self::BriefPeers { cursor } => next_peer(host, cursor, list_peers_row, out).is_some(),
            Self::Peers { cursor } => next_peer(host, cursor, peers_row, out).is_some(),
            Self::Paths { peer, n } => paths(host, *peer, n, out),
            Self::BriefNetworks { cursor } => next_network(host, cursor, out).is_some(),
            Self::Network { id, part, n } => network(host, *id, part, n, out),
            Self::Ips { id, family, n } => ips(host, *id, *family, n, out),
            Self::Moons { n } => next_moon(host, n, out),
            Self::Help { n } => {
                let Some(spec) = COMMANDS.get(*n) else {
                    return false;
                };
                *n += 1;
                let blank = if spec.args.is_empty() { "" } else { " " };
                out.row(format_args!("200 help {}{blank}{}", spec.name, spec.args));
                true
            }
            Self::Conf { n } => {
                let Some((key, value)) = host.conf_number(*n) else {
                    return false;
                };
                *n += 1;
                out.row(format_args!("200 conf {} {}", Field(&key), Field(&value)));
                true
            }
            Self::Dump(dump) => dump.next(host, out),
            #[cfg(feature = "metrics")]
            Self::Metrics(metrics) => {
                let mut line = String::new();
                let more = metrics.next(host, &mut line);
                if more {
                    out.row(format_args!("200 {line}"));
                }
                more
            }
        }
    }
}

impl Dump {
    fn next(&mut self, host: &dyn Host, out: &mut Buffer) -> bool {
        loop {
            if let Some((peer, n)) = &mut self.paths {
                if paths(host, *peer, n, out) {
                    return true;
                }
                self.paths = None;
            }
            if let Some((id, part, n)) = &mut self.network {
                if network(host, *id, part, n, out) {
                    return true;
                }
                self.network = None;
            }
            self.section = match &mut self.section {
                Section::Status { part, n } => {
                    if status(host, part, n, out) {
                        return true;
                    }
                    Section::Peers { cursor: 0 }
                }
                Section::Peers { cursor } => match next_peer(host, cursor, peers_row, out) {
                    Some(address) => {
                        self.paths = Some((address, 0));
                        return true;
                    }
                    None => Section::Networks { cursor: 0 },
                },
                Section::Networks { cursor } => match next_network(host, cursor, out) {
                    Some(id) => {
                        self.network = Some((id, 0, 0));
                        return true;
                    }
                    None => Section::Moons { n: 0 },
                },
                Section::Moons { n } => {
                    if next_moon(host, n, out) {
                        return true;
                    }
                    Section::Lines { n: 0 }
                }
                Section::Lines { n } => {
                    let mut line = String::new();
                    if !host.dump_line(*n, &mut line) {
                        return false;
                    }
                    *n += 1;
                    out.row(format_args!("200 dump {line}"));
                    return true;
                }
            };
        }
    }
}

/// Writes the row of the next peer; its address.
#[inline(never)]
fn next_peer(
    host: &dyn Host,
    cursor: &mut usize,
    row: fn(&PeerRow<'_>, &mut Buffer),
    out: &mut Buffer,
) -> Option<Address> {
    let (next, peer) = host.next_peer(*cursor)?;
    *cursor = next;
    row(&peer, out);
    Some(peer.address)
}

/// Writes the row of the next network; its id.
#[inline(never)]
fn next_network(host: &dyn Host, cursor: &mut usize, out: &mut Buffer) -> Option<NetworkId> {
    let (next, network) = host.next_network(*cursor)?;
    *cursor = next;
    list_networks_row(host, &network, out);
    Some(network.id)
}

/// Writes the row of the next moon, if there is one.
#[inline(never)]
fn next_moon(host: &dyn Host, n: &mut usize, out: &mut Buffer) -> bool {
    let moon = host.moon(*n);
    if let Some(moon) = &moon {
        *n += 1;
        moon_row(moon, out);
    }
    moon.is_some()
}

/// Row number `n` of what `status` says in one row each. `false`: there are not so many.
fn status_scalar(info: &InfoRow<'_>, n: usize, out: &mut Buffer) -> bool {
    let rows: [(&str, &dyn fmt::Display); STATUS_SCALARS] = [
        ("identity", info.identity),
        ("uptime", &info.uptime_ms),
        ("clock", &info.clock.as_ms()),
        ("clock-ok", &yes_no(info.clock_ok)),
        ("port", &info.port),
        (
            "planet",
            &format_args!("{:016x} {}", info.planet_id, info.planet_timestamp),
        ),
        ("rss", &Or(info.rss_bytes, "-")),
        (
            "rx",
            &format_args!("{} {}", info.received.0, info.received.1),
        ),
        ("tx", &format_args!("{} {}", info.sent.0, info.sent.1)),
        ("offline", &Field(info.offline_reason.unwrap_or_default())),
        ("collision", &yes_no(info.collision)),
    ];
    let Some((key, value)) = rows.get(n) else {
        return false;
    };
    out.row(format_args!("200 status {key} {value}"));
    true
}

const STATUS_SCALARS: usize = 11;

fn status(host: &dyn Host, part: &mut usize, n: &mut usize, out: &mut Buffer) -> bool {
    if *part < STATUS_SCALARS {
        *part += 1;
        return status_scalar(&host.info(), *part - 1, out);
    }
    loop {
        let i = *n;
        *n += 1;
        let mut say = |text: fmt::Arguments<'_>| out.row(format_args!("200 status {text}"));
        let said = match *part - STATUS_SCALARS {
            0 => (host.bound(i)).map(|at| say(format_args!("bound {}", Slash(at)))),
            1 => (host.surface(i)).map(|at| say(format_args!("surface {}", Slash(at)))),
            2 => (host.drops(i)).map(|(why, count)| say(format_args!("drops {why} {count}"))),
            3 => (host.figure(i)).map(|(name, n)| say(format_args!("{name} {n}"))),
            4 => match host.note(i) {
                Some((_, None)) => continue,
                note => note.map(|(name, text)| {
                    say(format_args!("{name} {}", Field(&text.unwrap_or_default())));
                }),
            },
            _ => return false,
        };
        if said.is_some() {
            return true;
        }
        *part += 1;
        *n = 0;
    }
}

fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// A number, or what stands for none.
pub(super) struct Or<T>(pub(super) Option<T>, pub(super) &'static str);

impl<T: fmt::Display> fmt::Display for Or<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(self.1),
        }
    }
}

/// What 1.14.1 prints for "never" and "unknown".
pub(super) const NEVER: &str = "-1";

struct Version(Option<(u8, u8, u16)>);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((major, minor, revision)) => write!(f, "{major}.{minor}.{revision}"),
            None => f.write_char('-'),
        }
    }
}

fn list_peers_row(peer: &PeerRow<'_>, out: &mut Buffer) {
    struct PathField<'a>(Option<PathRow<'a>>);
    impl fmt::Display for PathField<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.0 {
                Some(path) => write!(
                    f,
                    "{};{};{}",
                    Slash(path.remote),
                    Or(path.sent_ms, NEVER),
                    Or(path.received_ms, NEVER)
                ),
                None => f.write_char('-'),
            }
        }
    }
    out.row(format_args!(
        "200 listpeers {} {} {} {} {}",
        peer.address,
        PathField(peer.path),
        Or(peer.latency_ms, NEVER),
        Version(peer.version),
        peer.role,
    ));
}

fn peers_row(peer: &PeerRow<'_>, out: &mut Buffer) {
    let path = peer.path.as_ref();
    out.row(format_args!(
        "200 peers {} {} {} {} {} {} {} {}",
        peer.address,
        Version(peer.version),
        peer.role,
        Or(peer.latency_ms, NEVER),
        if path.is_some() { "DIRECT" } else { "RELAY" },
        Or(path.and_then(|p| p.sent_ms), NEVER),
        Or(path.and_then(|p| p.received_ms), NEVER),
        Or(path.map(|p| Slash(p.remote)), "-"),
    ));
}

fn paths(host: &dyn Host, peer: Address, n: &mut usize, out: &mut Buffer) -> bool {
    let Some(path) = host.path(peer, *n) else {
        return false;
    };
    *n += 1;
    out.row(format_args!(
        "200 paths {} {} {} {} {} {} {} {}",
        Or(path.local.map(Slash), "-"),
        Slash(path.remote),
        Field(path.interface.unwrap_or_default()),
        Or(path.sent_ms, NEVER),
        Or(path.received_ms, NEVER),
        Or(path.latency_ms, NEVER),
        path.quality,
        yes_no(path.preferred),
    ));
    true
}

fn moon_row(moon: &MoonRow<'_>, out: &mut Buffer) {
    struct Roots<'a, 'b>(&'a MoonRow<'b>);
    impl fmt::Display for Roots<'_, '_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Some(world) = &self.0.world else {
                return f.write_char('-');
            };
            for (n, root) in world.roots().enumerate() {
                let blank = if n > 0 { " " } else { "" };
                write!(f, "{blank}{}@", root.identity.address)?;
                write_list(f, root.endpoints())?;
            }
            Ok(())
        }
    }
    out.row(format_args!(
        "200 listmoons {:016x} {} {} {}",
        moon.id,
        moon.world.map_or(0, |w| w.timestamp),
        yes_no(moon.world.is_none()),
        Roots(moon),
    ));
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    endpoints: impl Iterator<Item = SocketAddr>,
) -> fmt::Result {
    for (n, at) in endpoints.enumerate() {
        let comma = if n > 0 { "," } else { "" };
        write!(f, "{comma}{}", Slash(at))?;
    }
    Ok(())
}
