//! What the owner may see of peers, paths and moons: borrowed or small copies.

use core::net::SocketAddr;

use super::Node;
use super::io::SocketId;
use super::path::Path;
use super::peer::{Peer, Traffic, Version};
use super::topology::Role;
use crate::base::{Address, Mono};
use crate::wire::identity::Identity;
use crate::wire::world::WorldBuf;

/// A path of a peer.
#[derive(Clone, Copy, Debug)]
pub struct PathView {
    /// Our socket.
    pub local: SocketId,
    /// Its address.
    pub remote: SocketAddr,
    /// ms since something was sent over it.
    pub sent_ms: Option<u64>,
    /// ms since something authentic was received over it.
    pub received_ms: u64,
    /// Round trip in ms.
    pub latency_ms: Option<u32>,
    /// Smaller is better.
    pub quality: u64,
    /// The one that packets take.
    pub preferred: bool,
    /// Not to be used: silent too long, failed, or in doubt after a move.
    pub expired: bool,
    /// Heard lately.
    pub active: bool,
}

/// A peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerView<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// Its part in the worlds.
    pub role: Role,
    /// What it said it runs.
    pub version: Option<Version>,
    /// Round trip of its best path in ms.
    pub latency_ms: Option<u32>,
    /// The path that packets take; none: by relay.
    pub path: Option<PathView>,
    /// ms since anything authentic came from it.
    pub received_ms: Option<u64>,
    /// Packets from and to it.
    pub traffic: Traffic,
}

/// A moon held or wanted.
#[derive(Clone, Copy)]
pub struct MoonView<'a> {
    /// Its id.
    pub id: u64,
    /// Who is asked for its definition.
    pub seed: Option<Address>,
    /// Its definition; none: waiting.
    pub world: Option<&'a WorldBuf>,
}

impl Node {
    fn path_view(&self, peer: &Peer, path: &Path, now: Mono) -> PathView {
        let preferred = peer.best(now).is_some_and(|best| best.ends == path.ends);
        PathView {
            local: path.ends.local,
            remote: path.ends.remote,
            sent_ms: path.sent.map(|at| now.since(at)),
            received_ms: now.since(path.heard),
            latency_ms: path.latency_ms,
            quality: path.quality(now),
            preferred,
            expired: !path.is_usable(now),
            active: path.is_alive(now),
        }
    }

    fn peer_view<'a>(&'a self, peer: &'a Peer, now: Mono) -> PeerView<'a> {
        PeerView {
            identity: &peer.identity,
            role: self.core.topology.role(peer.identity.address),
            version: peer.version,
            latency_ms: peer.latency_ms(now),
            path: peer.best(now).map(|path| self.path_view(peer, path, now)),
            received_ms: peer.heard.map(|at| now.since(at)),
            traffic: peer.traffic,
        }
    }

    /// The first peer at or after `cursor`, and the cursor behind it. For lists that are read
    /// in parts; start at 0.
    pub fn next_peer(&self, cursor: usize, now: Mono) -> Option<(usize, PeerView<'_>)> {
        let (slot, _, peer) = self.core.peers.next_from(cursor)?;
        Some((slot.index() + 1, self.peer_view(peer, now)))
    }

    /// A peer by address.
    pub fn peer(&self, address: Address, now: Mono) -> Option<PeerView<'_>> {
        self.core
            .peers
            .get(&address)
            .map(|peer| self.peer_view(peer, now))
    }

    /// Path number `n` of a peer.
    pub fn path(&self, address: Address, n: usize, now: Mono) -> Option<PathView> {
        let peer = self.core.peers.get(&address)?;
        peer.paths
            .get(n)
            .map(|path| self.path_view(peer, path, now))
    }

    /// Peers known.
    pub fn peer_count(&self) -> usize {
        self.core.peers.len()
    }

    /// Peers that may be known at once.
    pub fn peers_max(&self) -> usize {
        self.core.peers.capacity()
    }

    /// Moons held or wanted.
    pub fn moons(&self) -> impl Iterator<Item = MoonView<'_>> {
        self.core.topology.moons().iter().map(|m| MoonView {
            id: m.id,
            seed: m.seed,
            world: m.world.as_ref(),
        })
    }
}
