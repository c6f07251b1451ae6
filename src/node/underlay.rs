//! What the owner says of the networks below (service 3.3, node 5.5, 5.7): nets and addresses
//! that are not to be used, trusted paths, sizes of datagrams, and where peers may be.
//!
//! Only the owner fills it. Bounds: [`NETS_MAX`] nets, [`PEERS_MAX`] peers with
//! [`TRIES_MAX`] addresses and [`PEER_NETS_MAX`] nets each; what is beyond is left out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::io::Out;
use super::network::IpNet;
use super::path::Path;
use super::policy;
use super::record::{Addresses, Recalled};
use super::state::Core;
use crate::base::{Address, Slot};
use crate::wire::identity::Identity;
use crate::wire::packet::{DATAGRAM_DEFAULT, DATAGRAM_MAX};

/// Nets in [`Underlay::physical`], as many as 1.14.1 takes.
pub const NETS_MAX: usize = 32;
/// Peers in [`Underlay::peers`].
pub const PEERS_MAX: usize = 64;
/// Addresses of one peer.
pub const TRIES_MAX: usize = 8;
/// Nets of one peer.
pub const PEER_NETS_MAX: usize = 8;

/// Least size of datagrams that can be set.
const DATAGRAM_MIN: usize = 1400;

/// What the owner says of one net.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhysicalNet {
    /// Which.
    pub net: IpNet,
    /// Nothing is sent there, and nothing from there is heard.
    pub blacklist: bool,
    /// Not 0: packets to and from there that carry it are neither encrypted nor authenticated.
    pub trusted_path_id: u64,
    /// Largest payload of a datagram; 0: the usual one.
    pub mtu: u16,
}

/// What the owner says of one peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerHints {
    /// Which.
    pub address: Address,
    /// Where it may be.
    pub try_at: Vec<SocketAddr>,
    /// Where it is never looked for.
    pub blacklist: Vec<IpNet>,
    /// Who it is, so that nobody has to be asked.
    pub identity: Option<Identity>,
}

/// All that the owner says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Underlay {
    /// Nets.
    pub physical: Vec<PhysicalNet>,
    /// Peers.
    pub peers: Vec<PeerHints>,
    /// Every byte costs: less is sent unasked.
    pub low_bandwidth: bool,
}

/// One of the nets does.
fn holds(nets: &[IpNet], at: &SocketAddr) -> bool {
    let ip = at.ip();
    nets.iter().any(|net| net.contains(ip))
}

/// Asked for each datagram.
impl Underlay {
    /// Without what is beyond the bounds.
    fn bounded(mut self) -> Self {
        self.physical.truncate(NETS_MAX);
        self.peers.truncate(PEERS_MAX);
        for peer in &mut self.peers {
            peer.try_at.truncate(TRIES_MAX);
            peer.blacklist.truncate(PEER_NETS_MAX);
        }
        self
    }

    /// The nets that hold an address.
    fn around(&self, at: &SocketAddr) -> impl Iterator<Item = &PhysicalNet> {
        let ip = at.ip();
        self.physical.iter().filter(move |p| p.net.contains(ip))
    }

    /// In the order of 1.14.1, wider nets first: the first that holds an address counts. One that
    /// says nothing of what is asked hides those inside it all the same.
    fn widest(&self, at: &SocketAddr) -> Option<&PhysicalNet> {
        self.around(at).min_by_key(|p| p.net.bits)
    }

    /// Nothing is sent to this address, and nothing from it is heard.
    pub(crate) fn blocks(&self, at: &SocketAddr) -> bool {
        self.around(at).any(|p| p.blacklist)
    }

    /// The peer is never to be met at this address.
    pub(crate) fn blocks_for(&self, peer: Address, at: &SocketAddr) -> bool {
        self.blocks(at) || self.hints(peer).is_some_and(|p| holds(&p.blacklist, at))
    }

    /// The id of the trusted path to and from this address.
    pub(crate) fn trusted(&self, at: &SocketAddr) -> Option<u64> {
        let found = self.widest(at)?;
        (found.trusted_path_id != 0).then_some(found.trusted_path_id)
    }

    /// Largest datagram to this address; `known`: what the path was found to take.
    pub(crate) fn datagram_max(&self, at: &SocketAddr, known: usize) -> usize {
        let found = self.widest(at);
        match found.map(|p| usize::from(p.mtu)).filter(|mtu| *mtu != 0) {
            Some(mtu) => {
                let mtu = mtu.clamp(DATAGRAM_MIN, DATAGRAM_MAX);
                if known < DATAGRAM_DEFAULT {
                    known.min(mtu)
                } else {
                    mtu
                }
            }
            None => known,
        }
    }

    /// What the owner says of a peer.
    pub(crate) fn hints(&self, peer: Address) -> Option<&PeerHints> {
        self.peers.iter().find(|p| p.address == peer)
    }
}

impl Core {
    /// Puts in force what the owner says. Paths that are not to be used any more go.
    pub(crate) fn set_underlay(&mut self, said: Underlay) {
        self.underlay = said.bounded();
        let mut at = 0;
        let mut lost = false;
        while let Some((slot, address, _)) = self.peers.next_from(at) {
            at = slot.index() + 1;
            while let Some(path) = self.peers.at_mut(slot).and_then(|peer| {
                peer.hinted = None;
                let rules = &self.underlay;
                let blocked = |p: &Path| rules.blocks_for(address, &p.ends.remote);
                let gone = peer.paths.iter().position(blocked)?;
                Some(peer.paths.remove(gone))
            }) {
                lost = true;
                self.path_down(address, &path);
            }
            self.rearm(slot);
        }
        if lost {
            self.hurry_upstreams();
        }
    }

    /// The owner has told who this is: checked like any other identity, nobody is asked.
    pub(crate) fn introduced(&mut self, peer: Address) -> bool {
        let identity = self.underlay.hints(peer).and_then(|p| p.identity);
        if let Some(identity) = identity {
            self.identity_found(identity);
        }
        identity.is_some()
    }

    /// There is something for a peer: without a path it is looked for where the owner says
    /// (node 6.1).
    pub(crate) fn try_hints(&mut self, out: &mut Out<'_>, slot: Slot) {
        let now = self.now.mono;
        if self.underlay.peers.is_empty() {
            return;
        }
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let lately = peer
            .hinted
            .is_some_and(|at| now.since(at) < policy::HINT_MS);
        if lately || peer.paths.iter().any(|p| p.is_usable(now)) {
            return;
        }
        let address = peer.identity.address;
        let Some(hints) = self.underlay.hints(address) else {
            return;
        };
        let places: Addresses = hints.try_at.iter().copied().collect();
        if places.is_empty() {
            return;
        }
        peer.hinted = Some(now);
        if self.best_upstream().is_none() {
            // Nobody else brings us together: asked until it answers.
            if let Some(peer) = self.peers.at_mut(slot) {
                peer.recalled = Some(Box::new(Recalled::new(places, now)));
            }
            return self.recall(out, slot);
        }
        for place in &places {
            if self.allows_path(address, place) {
                self.hello_from_all(out, slot, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(ip: &str, bits: u8) -> IpNet {
        let ip = ip.parse().expect("an address");
        IpNet { ip, bits }
    }

    fn physical(ip: &str, bits: u8) -> PhysicalNet {
        PhysicalNet {
            net: net(ip, bits),
            blacklist: false,
            trusted_path_id: 0,
            mtu: 0,
        }
    }

    fn at(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 9993)
    }

    #[test]
    fn the_widest_net_counts() {
        let mut wide = physical("10.0.0.0", 8);
        let mut narrow = physical("10.1.0.0", 16);
        (wide.mtu, narrow.trusted_path_id) = (1500, 7);
        narrow.blacklist = true;
        let rules = Underlay {
            physical: alloc::vec![narrow, wide],
            ..Underlay::default()
        }
        .bounded();
        assert_eq!(rules.datagram_max(&at("10.1.0.1"), 1432), 1500);
        assert_eq!(rules.trusted(&at("10.1.0.1")), None);
        // A blacklist is no such choice: any of them blocks.
        assert!(rules.blocks(&at("10.1.0.1")) && !rules.blocks(&at("10.2.0.1")));
        assert_eq!(rules.datagram_max(&at("11.1.0.1"), 1432), 1432);
    }

    #[test]
    fn sizes_have_bounds_and_what_was_found_counts() {
        let mut lan = physical("192.168.0.0", 16);
        let size = |mtu: u16, known: usize| {
            lan.mtu = mtu;
            let rules = Underlay {
                physical: alloc::vec![lan],
                ..Underlay::default()
            };
            rules.datagram_max(&at("192.168.7.7"), known)
        };
        let mut size = size;
        assert_eq!(size(9000, 1432), 9000);
        assert_eq!(size(1, 1432), 1400);
        assert_eq!(size(65_535, 1432), 10_324);
        assert_eq!(size(9000, 1232), 1232);
        assert_eq!(size(0, 1432), 1432);
    }

    #[test]
    fn a_peer_has_its_own_blacklist() {
        let peer = |n: u64| Address::new(n).expect("an address");
        let hints = |n: u64| PeerHints {
            address: peer(n),
            try_at: Vec::new(),
            blacklist: alloc::vec![net("10.0.0.0", 8)],
            identity: None,
        };
        let rules = Underlay {
            peers: (1..=100).rev().map(hints).collect(),
            ..Underlay::default()
        }
        .bounded();
        assert_eq!(rules.peers.len(), PEERS_MAX);
        assert!(rules.blocks_for(peer(50), &at("10.0.0.1")));
        assert!(!rules.blocks_for(peer(1), &at("10.0.0.1")));
        assert!(!rules.blocks(&at("10.0.0.1")));
    }
}
