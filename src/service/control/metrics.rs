//! Figures as Prometheus text (service 4.7): the names of 1.14.1 where it has the figure, and ours.
//!
//! Written when it is asked for, line by line, and never to a file. Histograms are left out.
//! Bounds: one cursor; a line is under 256 bytes.

use core::fmt::Write as _;

use super::host::{Host, NetworkRow, PeerRow};
use crate::wire::verb::{ErrorCode, Verb};

/// Longest line, its end included.
#[cfg(feature = "http-compat")]
const LINE_MAX: usize = 256;

/// Where a text is.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::service) struct Metrics {
    family: usize,
    /// The head of the family is out.
    begun: bool,
    cursor: usize,
    line: usize,
}

/// One name, and what is counted under it.
struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    rows: Rows,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Untyped,
}

/// How the samples of a family are found.
enum Rows {
    /// One, or none if it is not known.
    One(fn(&dyn Host) -> Option<u64>),
    /// By number: labels and value. `None`: that was the last.
    Numbered(fn(&dyn Host, usize) -> Option<(Labels, u64)>),
    /// Of each peer, by number.
    OfPeers(&'static [PeerRows]),
    /// Of each network, by number.
    OfNetworks(&'static [NetworkRows]),
}

type Labels = String;
type PeerRows = (&'static str, fn(&dyn Host, &PeerRow<'_>) -> Option<u64>);
type NetworkRows = (&'static str, fn(&dyn Host, &NetworkRow<'_>) -> Option<u64>);

impl Metrics {
    /// Writes the next line, without its end. `false`: there is none, and nothing was written.
    pub(in crate::service) fn next(&mut self, host: &dyn Host, out: &mut String) -> bool {
        loop {
            let Some(family) = FAMILIES.get(self.family) else {
                return false;
            };
            if self.head(family, out) || self.sample(family, host, out) {
                return true;
            }
            *self = Self {
                family: self.family + 1,
                ..Self::default()
            };
        }
    }

    /// Appends whole lines while there is room for any below `max` bytes. `false`: that was all.
    #[cfg(feature = "http-compat")]
    pub(in crate::service) fn read(
        &mut self,
        host: &dyn Host,
        out: &mut Vec<u8>,
        max: usize,
    ) -> bool {
        let mut line = String::new();
        while out.len() + LINE_MAX <= max {
            line.clear();
            if !self.next(host, &mut line) {
                return false;
            }
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        true
    }

    fn head(&mut self, family: &Family, out: &mut String) -> bool {
        let line = self.line;
        if self.begun {
            return false;
        }
        self.line += 1;
        self.begun = line == 1;
        // Writing to a String cannot fail.
        let _ = match line {
            0 => write!(out, "# HELP {} {}", family.name, family.help),
            _ => write!(out, "# TYPE {} {}", family.name, family.kind.name()),
        };
        true
    }

    fn sample(&mut self, family: &Family, host: &dyn Host, out: &mut String) -> bool {
        match &family.rows {
            Rows::One(value) => {
                let first = self.cursor == 0;
                self.cursor += 1;
                match value(host).filter(|_| first) {
                    Some(value) => write!(out, "{} {value}", family.name).is_ok(),
                    None => false,
                }
            }
            Rows::Numbered(row) => {
                let n = self.cursor;
                self.cursor += 1;
                match row(host, n) {
                    Some((labels, value)) => {
                        write!(out, "{}{{{labels}}} {value}", family.name).is_ok()
                    }
                    None => false,
                }
            }
            Rows::OfPeers(rows) => loop {
                let Some((next, peer)) = host.next_peer(self.cursor) else {
                    return false;
                };
                let Some((labels, value)) = rows.get(self.line - HEAD_LINES) else {
                    (self.cursor, self.line) = (next, HEAD_LINES);
                    continue;
                };
                self.line += 1;
                if let Some(value) = value(host, &peer) {
                    let (name, id) = (family.name, peer.address);
                    return write!(out, "{name}{{{labels}node_id=\"{id}\"}} {value}").is_ok();
                }
            },
            Rows::OfNetworks(rows) => loop {
                let Some((next, network)) = host.next_network(self.cursor) else {
                    return false;
                };
                let Some((labels, value)) = rows.get(self.line - HEAD_LINES) else {
                    (self.cursor, self.line) = (next, HEAD_LINES);
                    continue;
                };
                self.line += 1;
                if let Some(value) = value(host, &network) {
                    let (name, id) = (family.name, network.id);
                    return write!(out, "{name}{{{labels}network_id=\"{id}\"}} {value}").is_ok();
                }
            },
        }
    }
}

const HEAD_LINES: usize = 2;

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
        }
    }
}

macro_rules! families {
    ($($kind:ident $name:literal $help:literal $rows:expr,)*) => {
        const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind,
            help: $help,
            rows: $rows,
        },)*];
    };
}

families! {
    // Names of 1.14.1.
    Counter "zt_packet" "ZeroTier packet type counts" Rows::Numbered(packets),
    Counter "zt_packet_error" "ZeroTier packet errors" Rows::Numbered(packet_errors),
    Counter "zt_data" "number of bytes ZeroTier has transmitted or received"
        Rows::Numbered(data),
    Gauge "zt_num_networks" "number of networks this instance is joined to"
        Rows::One(|host| {
            let mut all = Some(0);
            let cursors = core::iter::from_fn(|| {
                all = all.and_then(|cursor| Some(host.next_network(cursor)?.0));
                all
            });
            Some(count(cursors.count()))
        }),
    Gauge "zt_network_multicast_groups_subscribed"
        "number of multicast groups networks are subscribed to"
        Rows::OfNetworks(&[("", |host, network| {
            Some(count((0..).map_while(|n| host.group(network.id, n)).count()))
        })]),
    Counter "zt_network_packets" "number of incoming/outgoing packets per network"
        Rows::OfNetworks(&[
            ("accepted=\"no\",direction=\"tx\",", |_, n| Some(n.frames.refused_out)),
            ("accepted=\"yes\",direction=\"tx\",", |_, n| Some(n.frames.sent)),
            ("accepted=\"no\",direction=\"rx\",", |_, n| Some(n.frames.refused_in)),
            ("accepted=\"yes\",direction=\"rx\",", |_, n| Some(n.frames.received)),
        ]),
    Gauge "zt_peer_path_count" "number of paths to peer"
        Rows::OfPeers(&[
            ("status=\"alive\",", |host, peer| paths(host, peer, true)),
            ("status=\"dead\",", |host, peer| paths(host, peer, false)),
        ]),
    Counter "zt_peer_packets" "number of packets to/from a peer"
        Rows::OfPeers(&[
            ("direction=\"rx\",", |_, peer| Some(peer.packets.received)),
            ("direction=\"tx\",", |_, peer| Some(peer.packets.sent)),
        ]),
    Counter "zt_peer_packet_errors" "number of incoming packet errors from a peer"
        Rows::OfPeers(&[("", |_, peer| Some(peer.packets.refused))]),
    // Ours.
    Gauge "zt_peer_latency_ms" "round trip to a peer, if it is known"
        Rows::OfPeers(&[("", |_, peer| peer.latency_ms.map(u64::from))]),
    Gauge "zt_online" "1 while an upstream answers"
        Rows::One(|host| Some(host.info().online.into())),
    Counter "zt_uptime_seconds" "time since start"
        Rows::One(|host| Some(host.info().uptime_ms / 1000)),
    Gauge "zt_clock_ok" "1 if the wall clock is plausible"
        Rows::One(|host| Some(host.info().clock_ok.into())),
    Gauge "process_resident_memory_bytes" "memory of the process that is in RAM"
        Rows::One(|host| host.info().rss_bytes),
    Counter "zt_datagrams" "datagrams on all sockets" Rows::Numbered(datagrams),
    Counter "zt_drops" "datagrams, packets and frames that went no further, by reason"
        Rows::Numbered(|host, n| {
            let (reason, count) = host.drops(n)?;
            Some((label("reason", reason), count))
        }),
    Untyped "zt_status" "further figures, as in the rows of status"
        Rows::Numbered(|host, n| {
            let (name, value) = host.figure(n)?;
            Some((label("name", name), value))
        }),
    Gauge "zt_table_entries" "entries of tables in use"
        Rows::Numbered(|host, n| {
            let (name, used, _) = host.table(n)?;
            Some((label("table", name), used))
        }),
    Gauge "zt_table_capacity" "entries that tables can hold"
        Rows::Numbered(|host, n| {
            let (name, _, capacity) = host.table(n)?;
            Some((label("table", name), capacity))
        }),
    Counter "zt_loop_turns" "turns of the loop" Rows::One(|host| Some(host.lag().turns)),
    Counter "zt_loop_lag_ms" "how late deadlines were served, sum over all turns"
        Rows::One(|host| Some(host.lag().total_ms)),
    Gauge "zt_loop_lag_max_ms" "how late the latest deadline since start was served"
        Rows::One(|host| Some(host.lag().max_ms)),
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn label(key: &str, value: &str) -> Labels {
    format!("{key}=\"{value}\"")
}

const DIRECTIONS: usize = 2;

/// Number `n` is one direction of something counted in both.
fn both_ways(n: usize, key: &str, value: &str, both: (u64, u64)) -> (Labels, u64) {
    let (way, count) = match n % DIRECTIONS {
        0 => ("rx", both.0),
        _ => ("tx", both.1),
    };
    let value = value.to_ascii_lowercase();
    let labels = format!("direction=\"{way}\",{key}=\"{value}\"");
    (labels, count)
}

fn packets(host: &dyn Host, n: usize) -> Option<(Labels, u64)> {
    let verb = *Verb::ALL.get(n / DIRECTIONS)?;
    let name = match verb {
        Verb::QosMeasurement => "qos",
        verb => verb.name(),
    };
    Some(both_ways(n, "packet_type", name, host.packets(verb)))
}

const ERRORS: [(ErrorCode, &str); 7] = [
    (ErrorCode::ObjectNotFound, "obj_not_found"),
    (ErrorCode::UnsupportedOperation, "unsupported_operation"),
    (ErrorCode::IdentityCollision, "identity_collision"),
    (
        ErrorCode::NeedMembershipCertificate,
        "need_membership_certificate",
    ),
    (ErrorCode::NetworkAccessDenied, "network_access_denied"),
    (ErrorCode::UnwantedMulticast, "unwanted_multicast"),
    (
        ErrorCode::NetworkAuthenticationRequired,
        "authentication_required",
    ),
];

fn packet_errors(host: &dyn Host, n: usize) -> Option<(Labels, u64)> {
    let (code, name) = *ERRORS.get(n / DIRECTIONS)?;
    Some(both_ways(n, "error_type", name, host.errors(code)))
}

fn data(host: &dyn Host, n: usize) -> Option<(Labels, u64)> {
    let info = host.info();
    let bytes = (info.received.1, info.sent.1);
    (n < DIRECTIONS).then(|| both_ways(n, "protocol", "udp", bytes))
}

fn datagrams(host: &dyn Host, n: usize) -> Option<(Labels, u64)> {
    let info = host.info();
    let both = (info.received.0, info.sent.0);
    (n < DIRECTIONS).then(|| both_ways(n, "protocol", "udp", both))
}

fn paths(host: &dyn Host, peer: &PeerRow<'_>, alive: bool) -> Option<u64> {
    let paths = (0..).map_while(|n| host.path(peer.address, n));
    let fitting = paths.filter(|path| path.expired != alive);
    Some(count(fitting.count()))
}
