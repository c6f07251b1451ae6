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
            Self::BriefPeers { cursor } => {
                let Some((next, peer)) = host.next_peer(*cursor) else {
                    return false;
                };
                *cursor = next;
                list_peers_row(&peer, out);
                true
            }
            Self::Peers { cursor } => {
                let Some((next, peer)) = host.next_peer(*cursor) else {
                    return false;
                };
                *cursor = next;
                peers_row(&peer, out);
                true
            }
            Self::Paths { peer, n } => paths(host, *peer, n, out),
            Self::BriefNetworks { cursor } => {
                let Some((next, network)) = host.next_network(*cursor) else {
                    return false;
                };
                *cursor = next;
                list_networks_row(host, &network, out);
                true
            }
            Self::Network { id, part, n } => network(host, *id, part, n, out),
            Self::Ips { id, family, n } => ips(host, *id, *family, n, out),
            Self::Moons { n } => {
                let Some(moon) = host.moon(*n) else {
                    return false;
                };
                *n += 1;
                moon_row(&moon, out);
                true
            }
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
                Section::Peers { cursor } => match host.next_peer(*cursor) {
                    Some((next, peer)) => {
                        *cursor = next;
                        self.paths = Some((peer.address, 0));
                        peers_row(&peer, out);
                        return true;
                    }
                    None => Section::Networks { cursor: 0 },
                },
                Section::Networks { cursor } => match host.next_network(*cursor) {
                    Some((next, row)) => {
                        *cursor = next;
                        self.network = Some((row.id, 0, 0));
                        list_networks_row(host, &row, out);
                        return true;
                    }
                    None => Section::Moons { n: 0 },
                },
                Section::Moons { n } => match host.moon(*n) {
                    Some(moon) => {
                        *n += 1;
                        moon_row(&moon, out);
                        return true;
                    }
                    None => Section::Lines { n: 0 },
                },
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

const STATUS_SCALARS: &[&str] = &[
    "identity",
    "uptime",
    "clock",
    "clock-ok",
    "port",
    "planet",
    "rss",
    "rx",
    "tx",
    "offline",
    "collision",
];

fn status(host: &dyn Host, part: &mut usize, n: &mut usize, out: &mut Buffer) -> bool {
    if let Some(key) = STATUS_SCALARS.get(*part) {
        *part += 1;
        let value = StatusValue(key, host.info());
        out.row(format_args!("200 status {key} {value}"));
        return true;
    }
    loop {
        let i = *n;
        *n += 1;
        match *part - STATUS_SCALARS.len() {
            0 => {
                if let Some(at) = host.bound(i) {
                    out.row(format_args!("200 status bound {}", Slash(at)));
                    return true;
                }
            }
            1 => {
                if let Some(at) = host.surface(i) {
                    out.row(format_args!("200 status surface {}", Slash(at)));
                    return true;
                }
            }
            2 => {
                if let Some((reason, count)) = host.drops(i) {
                    out.row(format_args!("200 status drops {reason} {count}"));
                    return true;
                }
            }
            3 => {
                if let Some((name, figure)) = host.figure(i) {
                    out.row(format_args!("200 status {name} {figure}"));
                    return true;
                }
            }
            4 => {
                if let Some((name, text)) = host.note(i) {
                    out.row(format_args!("200 status {name} {}", Field(&text)));
                    return true;
                }
            }
            _ => return false,
        }
        *part += 1;
        *n = 0;
    }
}

struct StatusValue<'a>(&'static str, InfoRow<'a>);

impl fmt::Display for StatusValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key, info) = self;
        match *key {
            "identity" => write!(f, "{}", info.identity),
            "uptime" => write!(f, "{}", info.uptime_ms),
            "clock" => write!(f, "{}", info.clock.as_ms()),
            "clock-ok" => f.write_str(yes_no(info.clock_ok)),
            "port" => write!(f, "{}", info.port),
            "planet" => write!(f, "{:016x} {}", info.planet_id, info.planet_timestamp),
            "rss" => match info.rss_bytes {
                Some(bytes) => write!(f, "{bytes}"),
                None => f.write_char('-'),
            },
            "rx" => write!(f, "{} {}", info.received.0, info.received.1),
            "tx" => write!(f, "{} {}", info.sent.0, info.sent.1),
            "offline" => write!(f, "{}", Field(info.offline_reason.unwrap_or_default())),
            "collision" => f.write_str(yes_no(info.collision)),
            _ => Ok(()),
        }
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
const NEVER: &str = "-1";

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
