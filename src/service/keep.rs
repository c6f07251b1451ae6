//! What is stored between runs besides what the owner says: configurations of networks and
//! records of peers, so that a start without controller and roots works (network 2.8, node 2.2).
//!
//! Flash is precious: a configuration is written when something besides times and credentials
//! changed, or when the stored certificate is older than half its window, and not more often than
//! every ten minutes; peers at the end alone, and controllers when they are met first.

use super::daemon::Daemon;
use super::log;
use super::state::{ignore, warn};
use crate::base::{Address, Mono, NetworkId};
use crate::node::network::{NetworkStatus, NetworkView};
use crate::node::record::RECORD_MAX;

/// Least time between two writes of a configuration.
const PAUSE_MS: u64 = 600_000;
/// What half a window comes to in a network that states none.
const HALF_WINDOW_MS: u64 = 900_000;
/// Records of peers that are kept.
const PEERS_MAX: usize = 256;

/// What the file of a network holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    id: NetworkId,
    generation: u32,
    timestamp: u64,
    written: Option<Mono>,
    due: Option<Mono>,
}

impl Kept {
    /// After joining: what is in force came from the file.
    pub(super) fn new(view: &NetworkView<'_>) -> Self {
        Self {
            id: view.id,
            generation: view.generation,
            timestamp: view.timestamp,
            written: None,
            due: None,
        }
    }

    /// When the configuration in force is to be written; `None`: the file is good enough.
    fn decide(&self, now: Mono, view: &NetworkView<'_>) -> Option<Mono> {
        if view.status != NetworkStatus::Ok || !view.confirmed {
            return None;
        }
        let half = match view.window_ms / 2 {
            0 => HALF_WINDOW_MS,
            half => half,
        };
        let old = view.timestamp.abs_diff(self.timestamp) >= half;
        (view.generation != self.generation || old)
            .then(|| self.written.map_or(now, |at| at.after(PAUSE_MS).max(now)))
    }
}

fn peer_name(address: Address) -> String {
    format!("peers.d/{address}.peer")
}

impl Daemon {
    /// The records of an earlier run. Before the networks are joined: they need their controllers.
    pub(super) fn recall_peers(&mut self) {
        let peers = self.home.peers(&mut warn);
        for address in peers.into_iter().take(PEERS_MAX) {
            let name = peer_name(address);
            let Ok(Some(record)) = self.home.read(&name, RECORD_MAX) else {
                continue;
            };
            let taken = self.node.import_peer(self.now, &record, &mut self.wires);
            if let Err(error) = taken {
                log::debug!("{name}: {error}");
            }
        }
    }

    /// A network was joined.
    pub(super) fn keep(&mut self, id: NetworkId) {
        self.forget_kept(id);
        if let Some(network) = self.node.network(id) {
            self.kept.push(Kept::new(&network));
        }
    }

    /// A network was left.
    pub(super) fn forget_kept(&mut self, id: NetworkId) {
        if let Some(n) = self.kept.iter().position(|k| k.id == id) {
            self.kept.swap_remove(n);
        }
    }

    /// A configuration came: when is it to be stored?
    pub(super) fn consider_keeping(&mut self, id: NetworkId) {
        let Some(view) = self.node.network(id) else {
            return;
        };
        let controller = id.controller().filter(|_| view.confirmed);
        let now = self.now.mono;
        if let Some(kept) = self.kept.iter_mut().find(|k| k.id == id) {
            kept.due = kept.decide(now, &view);
        }
        // Certificates of members cannot be checked without it.
        if let Some(controller) = controller
            && !self.home.holds(&peer_name(controller))
        {
            self.store_peer(controller);
        }
        self.store_due(false);
    }

    /// Next time that something is to be stored.
    pub(super) fn keep_deadline(&self) -> Option<Mono> {
        self.kept.iter().map(|k| k.due).fold(None, Mono::first)
    }

    /// Stores what is due; at the end all that has changed.
    pub(super) fn store_due(&mut self, end: bool) {
        let now = self.now.mono;
        for kept in &mut self.kept {
            if !kept.due.is_some_and(|at| end || at <= now) {
                continue;
            }
            kept.due = None;
            let (Some(view), Some(text)) =
                (self.node.network(kept.id), self.node.stored_config(kept.id))
            else {
                continue;
            };
            kept.generation = view.generation;
            kept.timestamp = view.timestamp;
            kept.written = Some(now);
            self.home.store_config(kept.id, &text);
        }
    }

    /// The end: who was reached is looked for again at the next start.
    pub(super) fn store_all(&mut self) {
        self.home.write_again();
        self.store_due(true);
        if self.conf.in_force().settings.router.peer_cache == Some(false) {
            return;
        }
        let mut reached: Vec<Address> = Vec::new();
        let mut cursor = 0;
        while let Some((next, peer)) = self.node.next_peer(cursor, self.now.mono) {
            cursor = next;
            if peer.path.is_some() && reached.len() < PEERS_MAX {
                reached.push(peer.identity.address);
            }
        }
        for address in &reached {
            self.store_peer(*address);
        }
        // Room for those who are new: whoever has been out of reach goes first.
        let stored = self.home.peers(&mut ignore);
        let mut surplus = stored.len().saturating_sub(PEERS_MAX);
        for address in stored {
            if surplus == 0 {
                break;
            }
            let governs = |kept: &Kept| kept.id.controller() == Some(address);
            if reached.contains(&address) || self.kept.iter().any(governs) {
                continue;
            }
            surplus -= 1;
            self.home.remove_cache(&peer_name(address));
        }
    }

    /// The home takes more than it did.
    pub(super) fn keep_what_found_no_room(&mut self) {
        for kept in &mut self.kept {
            if self.home.lacks_config(kept.id) {
                kept.due = Some(self.now.mono);
            }
        }
        self.store_due(false);
    }

    fn store_peer(&mut self, address: Address) {
        let mut record = [0; RECORD_MAX];
        if let Some(len) = self.node.export_peer(address, &mut record) {
            let bytes = record.get(..len).unwrap_or_default();
            self.home.store_peer(&peer_name(address), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Now, UnixMs};
    use crate::node::network::probe::{Probe, Recorder};

    /// The decision alone; a view comes from a network that was joined with a file.
    fn decision(change: impl FnOnce(&mut Kept, &mut NetworkView<'_>)) -> Option<u64> {
        let id = NetworkId::new(0xff0a_0000_0000_0001).expect("an id");
        let me = Address::new(0x12_3456_789a).expect("an address");
        let mut probe = Probe::new(Recorder::new(me, Address::new(1).expect("an address")));
        probe.join(id, None).expect("room");
        let now = Now {
            mono: Mono::from_ms(1 << 40),
            wall: UnixMs::from_ms(0),
            wall_ok: false,
        };
        let mut view = probe.view(id, now).expect("joined");
        view.window_ms = 3_600_000;
        view.timestamp = 1 << 40;
        let mut kept = Kept::new(&view);
        change(&mut kept, &mut view);
        kept.decide(now.mono, &view).map(|at| at.since(now.mono))
    }

    #[test]
    fn a_configuration_is_written_when_it_says_something_new() {
        assert_eq!(decision(|_, _| {}), None);
        assert_eq!(decision(|_, v| v.generation += 1), Some(0));
        assert_eq!(decision(|_, v| v.timestamp += 1_799_999), None);
        assert_eq!(decision(|_, v| v.timestamp += 1_800_000), Some(0));
        let denied = |_: &mut Kept, v: &mut NetworkView<'_>| {
            v.generation += 1;
            v.status = NetworkStatus::AccessDenied;
        };
        assert_eq!(decision(denied), None);
    }

    #[test]
    fn not_more_often_than_every_ten_minutes() {
        let again = |ago: u64| {
            decision(|k, v| {
                v.generation += 1;
                k.written = Some(Mono::from_ms((1 << 40) - ago));
            })
        };
        assert_eq!(again(60_000), Some(540_000));
        assert_eq!(again(600_000), Some(0));
    }
}
