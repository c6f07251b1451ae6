//! Every cap of every table, by memory class (node 10.1, network 9). Units in the names; what a
//! user may change later is a field, so nothing below reads a constant.

/// Caps of all tables. One value per node, chosen at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Peers known at once, 2.5 KiB each. Full: the longest silent that matters least goes.
    pub peers: usize,
    /// Peers known at once when this node is a root.
    pub peers_as_root: usize,
    /// Paths of one peer (at most [`Limits::PATHS_MAX`]).
    pub paths_per_peer: usize,
    /// Packets waiting for an identity or a path, both ways together. Oldest goes.
    pub waiting_packets: usize,
    /// Packets being put together, 10 KiB each. Oldest goes.
    pub reassembly_slots: usize,
    /// Ids of requests whose answer is awaited. A ring.
    pub expected_replies: usize,
    /// Reports of our outside address.
    pub surfaces: usize,
    /// Pairs introduced in the last 30 s.
    pub introductions: usize,
    /// Addresses asked for at once.
    pub whois: usize,
    /// Addresses that nobody knew.
    pub whois_negative: usize,
    /// Source networks whose first HELLO was seen lately.
    pub hello_gate: usize,
    /// Identities waiting for the memory-hard check.
    pub digest_queue: usize,
    /// Moons held or wanted.
    pub moons: usize,
    /// NAT traversal tries running.
    pub traversal_tries: usize,
    /// Networks joined.
    pub networks: usize,
    /// Members known per network.
    pub members_per_network: usize,
    /// (network, group, member) triples learnt from MULTICAST_LIKE, all networks together.
    pub multicast_members: usize,
    /// The same when this node is a root.
    pub multicast_members_as_root: usize,
    /// Groups subscribed per network.
    pub groups_per_network: usize,
    /// Multicast frames waiting for members.
    pub multicast_waiting: usize,
    /// MACs behind remote bridges, all networks together.
    pub bridge_routes: usize,
    /// Peers told lately that they are no members.
    pub refusals: usize,
    /// Bytes of a configuration, less one. Each network keeps its own, beside what it says.
    pub config_total: usize,
    /// Our capabilities in one network.
    pub own_capabilities: usize,
    /// Our tags in one network.
    pub own_tags: usize,
    /// Capabilities of one member in one network.
    pub peer_capabilities: usize,
    /// Tags of one member in one network.
    pub peer_tags: usize,
    /// Packets waiting for the certificate of their sender.
    pub pending_credentials: usize,
    /// Revocations held.
    pub revocations: usize,
    /// Events not yet read by the service.
    pub events: usize,
    /// Local sockets.
    pub sockets: usize,
    /// Messages received at once, 64 KiB each where the kernel joins datagrams; they stay resident
    /// after a burst.
    pub receive_slots: usize,
    /// Files that the home could not take, in memory until it can. Filled by the owner and by
    /// networks; what can be learnt again goes first. `status` counts what was given up.
    pub unwritten_files: usize,
    /// Bytes of their contents. One configuration fits beside what the owner wrote.
    pub unwritten_bytes: usize,
}

impl Limits {
    /// Bound of [`Limits::paths_per_peer`], the size of the inline list.
    pub const PATHS_MAX: usize = 8;

    /// Boards with 32 MiB.
    pub const fn small() -> Self {
        Self {
            peers: 64,
            peers_as_root: 256,
            paths_per_peer: 4,
            waiting_packets: 8,
            reassembly_slots: 8,
            expected_replies: 256,
            surfaces: 16,
            introductions: 64,
            whois: 16,
            whois_negative: 64,
            hello_gate: 64,
            digest_queue: 4,
            moons: 4,
            traversal_tries: 8,
            networks: 8,
            members_per_network: 64,
            multicast_members: 512,
            multicast_members_as_root: 4096,
            groups_per_network: 64,
            multicast_waiting: 4,
            bridge_routes: 256,
            refusals: 32,
            config_total: 64 << 10,
            own_capabilities: 16,
            own_tags: 32,
            peer_capabilities: 8,
            peer_tags: 32,
            pending_credentials: 8,
            revocations: 64,
            events: 64,
            sockets: 16,
            receive_slots: 4,
            unwritten_files: 32,
            unwritten_bytes: 96 << 10,
        }
    }

    /// Everything else.
    pub const fn normal() -> Self {
        Self {
            peers: 1024,
            peers_as_root: 16_384,
            paths_per_peer: 8,
            waiting_packets: 32,
            reassembly_slots: 32,
            expected_replies: 4096,
            surfaces: 32,
            introductions: 4096,
            whois: 128,
            whois_negative: 1024,
            hello_gate: 1024,
            digest_queue: 16,
            moons: 16,
            traversal_tries: 64,
            networks: 64,
            members_per_network: 1024,
            multicast_members: 4096,
            multicast_members_as_root: 65_536,
            groups_per_network: 1024,
            multicast_waiting: 32,
            bridge_routes: 2048,
            refusals: 256,
            config_total: 256 << 10,
            own_capabilities: 128,
            own_tags: 128,
            peer_capabilities: 32,
            peer_tags: 128,
            pending_credentials: 16,
            revocations: 512,
            events: 64,
            sockets: 256,
            receive_slots: 6,
            unwritten_files: 128,
            unwritten_bytes: 512 << 10,
        }
    }
}
