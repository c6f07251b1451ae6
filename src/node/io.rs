//! What goes into the node and what comes out of it.

use core::net::SocketAddr;

use crate::base::{Address, Limits, NetworkId};
use crate::wire::identity::SecretIdentity;
use crate::wire::verb::{ErrorCode, Verb};

/// A local UDP socket, numbered by the service. Below [`Limits::sockets`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct SocketId(pub u16);

/// Both ends of a path: a socket of ours, and where what it sends goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) local: SocketId,
    pub(crate) remote: SocketAddr,
}

impl PartialEq for Ends {
    // Compared everywhere, so out of line.
    #[inline(never)]
    fn eq(&self, other: &Self) -> bool {
        self.local == other.local && self.remote == other.remote
    }
}

impl Eq for Ends {}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(place: &SocketAddr) -> Self {
        match place {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// Where packets go while the node works. Both calls take their bytes before they return.
pub trait Outbox {
    /// One datagram: the parts back to back. `ttl` is the IP hop limit if it matters.
    fn datagram(&mut self, local: SocketId, to: SocketAddr, parts: [&[u8]; 2], ttl: Option<u8>);

    /// One Ethernet frame for a network's tap.
    fn frame(&mut self, network: NetworkId, ethernet: &[u8]);
}

/// An [`Outbox`] as it is handed on inside: `&mut Out` is one word, it would be two.
pub(crate) type Out<'a> = &'a mut dyn Outbox;

/// News of the underlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// A socket can be used. Its id was free.
    SocketUp {
        /// Number given by the service.
        socket: SocketId,
        /// Bound address; never a wildcard unless nothing better is known.
        local: SocketAddr,
    },
    /// A socket is gone.
    SocketDown {
        /// Its number.
        socket: SocketId,
    },
    /// The default route of a family moved, or the machine slept: paths must prove themselves.
    Moved,
    /// Something of the underlay changed that may have brought back who does not answer.
    Stirred,
    /// A datagram was too long for the path it was sent to (EMSGSIZE).
    TooBig {
        /// Destination of the datagram.
        to: SocketAddr,
    },
}

/// News for the service. Facts, never instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An upstream answered.
    Online,
    /// No upstream answers.
    Offline,
    /// An upstream says that another identity has our address.
    Collision,
    /// A peer was heard for the first time, or again after it was forgotten.
    PeerUp(Address),
    /// A peer was forgotten.
    PeerDown(Address),
    /// A path was confirmed.
    PathUp {
        /// Whose.
        peer: Address,
        /// Our socket.
        local: SocketId,
        /// Its address.
        remote: SocketAddr,
    },
    /// A path is not used any more.
    PathDown {
        /// Whose.
        peer: Address,
        /// Our socket.
        local: SocketId,
        /// Its address.
        remote: SocketAddr,
    },
    /// Packets to a peer take another path than before.
    PathPreferred {
        /// Whose.
        peer: Address,
        /// Our socket.
        local: SocketId,
        /// Its address.
        remote: SocketAddr,
    },
    /// Status, addresses or settings of a network changed.
    Network(NetworkId),
    /// A network was given the same configuration with new credentials.
    Refreshed(NetworkId),
    /// The planet was replaced: store it.
    Planet,
    /// A moon was taken or replaced: store it.
    Moon(u64),
    /// Our address as others see it changed.
    Surface,
    /// Events were lost: read the whole state again.
    Lost,
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a datagram, packet or frame went no further. Each has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum DropReason { $($(#[$doc])* $name,)* }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Short stable name, as in `status` and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

drop_reasons! {
    /// Too short, a keep-alive, or no kind of datagram we know.
    Junk = "junk",
    /// Header or payload does not parse.
    Malformed = "malformed",
    /// Our own packet came back.
    OwnSource = "own-source",
    /// A piece number or total out of bounds.
    BadFragment = "bad-fragment",
    /// A packet whose pieces did not all come.
    ReassemblyTimeout = "reassembly-timeout",
    /// An unfinished packet gave way to another.
    ReassemblyFull = "reassembly-full",
    /// MAC wrong.
    Authentication = "authentication",
    /// Cipher suite unknown or not allowed here.
    Suite = "suite",
    /// LZ4 malformed or too long.
    Compression = "compression",
    /// Protocol version below 4.
    Version = "version",
    /// Identity does not match its digest.
    InvalidIdentity = "invalid-identity",
    /// Another identity claims an address we know.
    Collision = "collision",
    /// First HELLO above the gate of its source network.
    HelloGate = "hello-gate",
    /// Identity check queue full.
    DigestQueue = "digest-queue",
    /// ECHO above its gate.
    EchoGate = "echo-gate",
    /// WHOIS above its gate.
    WhoisGate = "whois-gate",
    /// PUSH_DIRECT_PATHS above its gate.
    PushGate = "push-gate",
    /// NETWORK_CREDENTIALS above its gate.
    CredentialsGate = "credentials-gate",
    /// OK or ERROR to nothing we asked.
    UnexpectedReply = "unexpected-reply",
    /// Only upstreams may say this.
    NotUpstream = "not-upstream",
    /// Verb unknown.
    UnknownVerb = "unknown-verb",
    /// Verb known and of no use here.
    Ignored = "ignored",
    /// For somebody else, and we do not relay for it.
    RelayRefused = "relay-refused",
    /// For somebody else, hops used up.
    RelayHops = "relay-hops",
    /// For somebody else, and we know no way.
    RelayNoPath = "relay-no-path",
    /// Waiting for an identity or a path: gave way to another.
    WaitingFull = "waiting-full",
    /// Waiting for an identity or a path: too long.
    WaitingTimeout = "waiting-timeout",
    /// Nobody knew the address lately.
    WhoisNegative = "whois-negative",
    /// Longer than the receiver can take.
    TooLong = "too-long",
    /// Peer table full.
    PeersFull = "peers-full",
    /// Address that may not be used.
    BadPath = "bad-path",
    /// A network we are not on.
    UnknownNetwork = "unknown-network",
    /// Network without configuration.
    NoConfig = "no-config",
    /// Sender is no member.
    NotMember = "not-member",
    /// Rules said no, outbound.
    RulesOut = "rules-out",
    /// Rules said no, inbound.
    RulesIn = "rules-in",
    /// Source or destination MAC not allowed.
    BadMac = "bad-mac",
    /// Frame too short or longer than the MTU.
    BadFrame = "bad-frame",
    /// Multicast off in this network.
    MulticastOff = "multicast-off",
    /// Multicast frame that found no room to wait.
    MulticastFull = "multicast-full",
    /// No bridge for a foreign destination.
    NoBridge = "no-bridge",
    /// Surface report that may not count.
    BadSurface = "bad-surface",
    /// World definition refused.
    BadWorld = "bad-world",
    /// Configuration, piece of one or credential refused; the network says why.
    Refused = "refused",
}

/// Counters of the whole node. They wrap.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Datagrams received.
    pub rx_datagrams: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Datagrams sent.
    pub tx_datagrams: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Datagrams relayed for others.
    pub relayed_datagrams: u64,
    /// Bytes relayed for others.
    pub relayed_bytes: u64,
    /// Frames taken from taps.
    pub frames_in: u64,
    /// Frames given to taps.
    pub frames_out: u64,
    /// Identity checks run.
    pub digests: u64,
    /// Rounds of asking all upstreams because something changed below us.
    pub hurries: u64,
    /// Times that all paths had to prove themselves: the default route moved, or we slept.
    pub moves: u64,
    drops: [u64; DropReason::ALL.len()],
    /// Packets by verb, then by error code, authentic ones only; in, out.
    verbs: [(u64, u64); VERBS],
    errors: [(u64, u64); ERRORS],
}

/// One more than the highest of either.
const VERBS: usize = Verb::PathNegotiationRequest as usize + 1;
const ERRORS: usize = ErrorCode::NetworkAuthenticationRequired as usize + 1;

impl Default for Stats {
    fn default() -> Self {
        Self {
            rx_datagrams: 0,
            rx_bytes: 0,
            tx_datagrams: 0,
            tx_bytes: 0,
            relayed_datagrams: 0,
            relayed_bytes: 0,
            frames_in: 0,
            frames_out: 0,
            digests: 0,
            hurries: 0,
            moves: 0,
            drops: [0; DropReason::ALL.len()],
            verbs: [(0, 0); VERBS],
            errors: [(0, 0); ERRORS],
        }
    }
}

impl Stats {
    /// Counts a drop.
    pub fn drop(&mut self, reason: DropReason) {
        if let Some(n) = self.drops.get_mut(reason as usize) {
            *n = n.wrapping_add(1);
        }
    }

    /// Drops for a reason so far.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// Counts a packet that came and was authentic.
    pub(crate) fn received(&mut self, verb: Verb) {
        if let Some((n, _)) = self.verbs.get_mut(verb as usize) {
            *n = n.wrapping_add(1);
        }
    }

    /// Counts a packet that leaves.
    pub(crate) fn sent(&mut self, verb: Verb) {
        if let Some((_, n)) = self.verbs.get_mut(verb as usize) {
            *n = n.wrapping_add(1);
        }
    }

    /// Counts the code of an ERROR that came.
    pub(crate) fn error_received(&mut self, code: u8) {
        if let Some((n, _)) = self.errors.get_mut(usize::from(code)) {
            *n = n.wrapping_add(1);
        }
    }

    /// Counts the code of an ERROR that leaves.
    pub(crate) fn error_sent(&mut self, code: u8) {
        if let Some((_, n)) = self.errors.get_mut(usize::from(code)) {
            *n = n.wrapping_add(1);
        }
    }

    /// Packets of a verb so far, in and out.
    pub fn packets(&self, verb: Verb) -> (u64, u64) {
        self.verbs.get(verb as usize).copied().unwrap_or_default()
    }

    /// ERRORs of a code so far, in and out.
    pub fn errors(&self, code: ErrorCode) -> (u64, u64) {
        self.errors.get(code as usize).copied().unwrap_or_default()
    }

    /// All drops so far.
    pub fn drops_total(&self) -> u64 {
        self.drops.iter().fold(0, |a, n| a.wrapping_add(*n))
    }
}

/// What a node is made of.
pub struct Config<'a> {
    /// Who we are. Validated by the caller.
    pub secret: SecretIdentity,
    /// World definition of the roots, parsed and accepted by the caller (wire 11.3).
    pub planet: &'a [u8],
    /// Caps.
    pub limits: Limits,
    /// Seed of all randomness; the same seed and inputs give the same outputs.
    pub seed: [u8; 32],
    /// Send suite 3 to peers that can open it, and say protocol 12.
    pub aes: bool,
    /// Relay for members without being a root (node 6.2).
    pub relay: bool,
}
