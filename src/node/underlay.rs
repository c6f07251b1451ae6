//! What the owner says of the networks below (service 3.3, node 5.5, 5.7): nets and addresses
//! that are not to be used, trusted paths, sizes of datagrams, and where peers may be.
//!
//! Only the owner fills it. Bounds: [`NETS_MAX`] nets, [`PEERS_MAX`] peers with
//! [`TRIES_MAX`] addresses and [`PEER_NETS_MAX`] nets each; what is beyond is left out.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::network::IpNet;
use crate::base::Address;
use crate::wire::identity::Identity;

/// Nets in [`Underlay::physical`], as many as 1.14.1 takes.
pub const NETS_MAX: usize = 32;
/// Peers in [`Underlay::peers`].
pub const PEERS_MAX: usize = 64;
/// Addresses of one peer.
pub const TRIES_MAX: usize = 8;
/// Nets of one peer.
pub const PEER_NETS_MAX: usize = 8;

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
