//! The network layer by itself, with a node around it that writes down what it is asked: for
//! tests, and for those who compare decisions about frames (`zerotier-selftest`).

use alloc::vec::Vec;

use super::multicast::GroupKey;
use super::{Carrier, NetworkView, Networks, Verdict};
use crate::base::{Address, Limits, Mac, Mono, NetworkId, Now, PacketId, UnixMs};
use crate::crypto::rng::Rng;
use crate::node::Full;
use crate::node::io::{DropReason, Event};
use crate::wire::credential::Revocation;
use crate::wire::derive;
use crate::wire::frames::{ETHERNET_LEN, Ethernet, HEADROOM};
use crate::wire::identity::Identity;
use crate::wire::multicast::Group;
use crate::wire::packet::{HEADER_LEN, VERB_AT};
use crate::wire::verb::Verb;

/// A packet that was sent: to whom, verb, payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent(pub Address, pub Verb, pub Vec<u8>);

/// Stands in for the node.
#[expect(
    missing_debug_implementations,
    reason = "random numbers are nobody's business"
)]
pub struct Recorder {
    /// Both clocks.
    pub now: Now,
    /// Own address.
    pub me: Address,
    /// Who relays.
    pub upstreams: Vec<Address>,
    /// Do we?
    pub am_upstream: bool,
    /// Peers with a direct path, and their latency in ms.
    pub paths: Vec<(Address, u32)>,
    /// Identities; who is not among them has one without meaning.
    pub identities: Vec<Identity>,
    /// Peers without any.
    pub unknown: Vec<Address>,
    /// What was sent.
    pub sent: Vec<Sent>,
    /// Frames for the tap.
    pub frames: Vec<(NetworkId, Vec<u8>)>,
    /// What was dropped.
    pub drops: Vec<DropReason>,
    /// What was told.
    pub events: Vec<Event>,
    rng: Rng,
}

impl Recorder {
    /// A node with one upstream.
    pub fn new(me: Address, upstream: Address) -> Self {
        Self {
            now: Now {
                mono: Mono::from_ms(1 << 36),
                wall: UnixMs::from_ms(1_790_000_000_000),
                wall_ok: true,
            },
            me,
            upstreams: [upstream].into(),
            am_upstream: false,
            paths: [(upstream, 1)].into(),
            identities: Vec::new(),
            unknown: Vec::new(),
            sent: Vec::new(),
            frames: Vec::new(),
            drops: Vec::new(),
            events: Vec::new(),
            rng: Rng::new([1; 32]),
        }
    }
}

impl Carrier for Recorder {
    fn mono(&self) -> Mono {
        self.now.mono
    }

    fn now(&self) -> Now {
        self.now
    }

    fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    fn send(&mut self, to: Address, packet: &mut [u8], _compress: bool) {
        let verb = packet.get(VERB_AT).copied().and_then(Verb::from_byte);
        let payload = packet.get(HEADER_LEN..).unwrap_or_default().to_vec();
        // As sealing does.
        packet.fill(0xa5);
        self.sent.extend(verb.map(|verb| Sent(to, verb, payload)));
    }

    fn upstream(&self, n: usize) -> Option<Address> {
        self.upstreams.get(n).copied()
    }

    fn am_upstream(&self) -> bool {
        self.am_upstream
    }

    fn identity(&self, peer: Address) -> Option<Identity> {
        if self.unknown.contains(&peer) {
            return None;
        }
        let known = self.identities.iter().find(|i| i.address == peer);
        Some(known.copied().unwrap_or(Identity {
            address: peer,
            public: [7; 64],
        }))
    }

    fn seek(&mut self, _peer: Address) {}

    fn protocol(&self) -> u8 {
        12
    }

    fn latency_ms(&self, peer: Address) -> Option<u32> {
        self.paths.iter().find(|p| p.0 == peer).map(|p| p.1)
    }

    fn deliver(&mut self, network: NetworkId, ethernet: &[u8]) {
        self.frames.push((network, ethernet.to_vec()));
    }

    fn drop(&mut self, reason: DropReason) {
        self.drops.push(reason);
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// The layer and what is round it.
pub struct Probe {
    /// What it asked for.
    pub around: Recorder,
    pub(super) networks: Networks,
}

impl core::fmt::Debug for Probe {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

impl Probe {
    /// A node on no network.
    pub fn new(around: Recorder) -> Self {
        let networks = Networks::new(around.me, &Limits::small(), false, 7);
        Self { around, networks }
    }

    /// Joins a network whose stored configuration is this.
    pub fn join(&mut self, id: NetworkId, stored: Option<&[u8]>) -> Result<(), Full> {
        self.networks.join(&mut self.around, id, stored)
    }

    /// A packet of `from`, decrypted: what is behind the verb. `true`: it proved that the sender
    /// is a member.
    pub fn packet(&mut self, from: Address, verb: Verb, payload: &[u8]) -> bool {
        packet(&mut self.networks, &mut self.around, from, verb, payload).member
    }

    /// A frame that was read from the tap.
    pub fn frame(&mut self, id: NetworkId, ethernet: Ethernet, payload: &[u8]) {
        frame(&mut self.networks, &mut self.around, id, ethernet, payload);
    }

    /// A foreign MAC has been seen behind a member.
    pub fn learn(&mut self, id: NetworkId, mac: Mac, behind: Address) {
        let now = self.around.now.mono;
        self.networks.routes.learn(id, mac, behind, now);
    }

    /// Foreign MACs and the members behind which they are.
    pub fn learned(&self, id: NetworkId) -> Vec<(Mac, Address)> {
        self.networks.routes.of(id).collect()
    }

    /// A member listens to the group of this frame.
    pub fn listens(&mut self, network: NetworkId, ethernet: Ethernet, payload: &[u8], to: Address) {
        let mut group = Group {
            mac: ethernet.to,
            adi: 0,
        };
        if ethernet.to.is_broadcast() {
            group = derive::arp_group(ethernet.ethertype, payload).unwrap_or(group);
        }
        let now = self.around.now.mono;
        self.networks
            .listeners
            .add(GroupKey { network, group }, to, now);
    }

    /// Certificates of a member up to this time count no more.
    pub fn revoke(&mut self, network: NetworkId, member: Address, up_to: u64) {
        let kind = Revocation::COM;
        self.networks
            .revocations
            .raise(network, member, kind, 0, up_to);
    }

    /// A packet of this peer waits for its certificate. It does so no longer after this.
    pub fn keeps(&mut self, network: NetworkId, from: Address) -> bool {
        let now = self.around.now.mono;
        self.networks.pendings.take(network, from, now).is_some()
    }

    /// A network as the service sees it.
    pub fn view(&self, id: NetworkId, now: Now) -> Option<NetworkView<'_>> {
        self.networks.get(id, now)
    }
}

/// A packet of `from`, decrypted: what is behind the verb.
pub(super) fn packet(
    networks: &mut Networks,
    around: &mut Recorder,
    from: Address,
    verb: Verb,
    payload: &[u8],
) -> Verdict {
    let mut packet = [0; HEADER_LEN].to_vec();
    if let Some(byte) = packet.get_mut(VERB_AT) {
        *byte = verb as u8;
    }
    packet.extend_from_slice(payload);
    let id = PacketId::new(0x1122_3344_5566_7788);
    networks.inbound(around, from, verb, id, &mut packet)
}

/// A frame that was read from the tap.
pub(super) fn frame(
    networks: &mut Networks,
    around: &mut Recorder,
    id: NetworkId,
    ethernet: Ethernet,
    payload: &[u8],
) {
    let mut slot = [0; HEADROOM].to_vec();
    slot.extend_from_slice(&ethernet.to_bytes());
    slot.extend_from_slice(payload);
    let len = ETHERNET_LEN + payload.len();
    networks.handle_frame(around, id, &mut slot, len);
}
