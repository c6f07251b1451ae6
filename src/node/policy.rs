//! Our own numbers. What the protocol fixes stands in `wire`; what bounds memory in
//! `base::limits`. Times in milliseconds.

/// After an upstream's first HELLO: pauses before the next ones while it has never answered.
/// The second is just above the 2 s for which a root ignores a further new node of the same
/// /24 (wire 13), so that two nodes of one LAN that start together both get in soon.
pub(super) const HELLO_FIRST_MS: [u64; 4] = [1_000, 1_100, 2_000, 4_000];

/// The same for an upstream that has answered before (node 2.5).
pub(super) const HELLO_AGAIN_MS: [u64; 5] = [3_000, 1_000, 2_000, 4_000, 8_000];

/// Pause after those, for the first minute of silence.
pub(super) const HELLO_MINUTE_MS: u64 = 5_000;

/// Pause after that, for ever.
pub(super) const HELLO_FOREVER_MS: u64 = 10_000;

/// How long "the first minute" is.
pub(super) const HELLO_PATIENCE_MS: u64 = 60_000;

/// An upstream that leaves us asking for so long does not count as answering.
pub(super) const OFFLINE_MS: u64 = 20_000;

/// What is sent unasked, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    /// HELLO round to the upstream that relays for us, ± 10 %.
    pub(super) upstream_round_ms: u64,
    /// The same to other upstreams. Real ones forget us after 243 s.
    pub(super) spare_round_ms: u64,
    /// The same to active peers.
    pub(super) peer_round_ms: u64,
    /// ECHO on a path that has carried frames lately and over which nothing left for so long
    /// (NAT mappings of UDP live 30 s).
    pub(super) keepalive_busy_ms: u64,
    /// The same on paths of active peers that carry nothing, and to upstreams from behind a NAT.
    pub(super) keepalive_idle_ms: u64,
    /// Our addresses are pushed so often to a peer whose packets come directly.
    pub(super) push_direct_ms: u64,
}

/// Where nobody counts bytes.
pub(super) const NORMAL: Pace = Pace {
    upstream_round_ms: 60_000,
    spare_round_ms: 60_000,
    peer_round_ms: 60_000,
    keepalive_busy_ms: 14_000,
    // Whoever calls us after our NAT lost its mappings waits for the next of these. Not shorter:
    // 1.14.1 holds on to the old port until that was silent for 19 s, so that one sent earlier
    // would be lost on it and the next count.
    keepalive_idle_ms: 19_500,
    push_direct_ms: 120_000,
};

/// Where every byte costs: one upstream is kept warm, the others know us and no more (node 1,
/// 3.2).
pub(super) const METERED: Pace = Pace {
    upstream_round_ms: 60_000,
    spare_round_ms: 200_000,
    peer_round_ms: 200_000,
    keepalive_busy_ms: 25_000,
    keepalive_idle_ms: 25_000,
    push_direct_ms: 1_920_000,
};

/// A moon's seed without definition is asked so often.
pub(super) const SEED_WHOIS_MS: u64 = 5_000;

/// What is sent unasked waits for the next multiple of this (with an offset of our own): things
/// that are due at about the same time wake the machine once. A keep-alive and this stay below the
/// 30 s of NATs.
pub(super) const BEAT_MS: u64 = 5_000;

/// A HELLO round that is due so soon takes the place of a keep-alive.
pub(super) const ROUND_EARLY_MS: u64 = 10_000;

/// "Lately" of [`Pace::keepalive_busy_ms`].
pub(super) const BUSY_MS: u64 = 60_000;

/// A peer with real traffic is looked after for so long (node 1).
pub(super) const ACTIVE_MS: u64 = 500_000;

/// A peer not heard for so long is forgotten, unless it is an upstream.
pub(super) const FORGET_MS: u64 = 500_000;
/// First pause between two tries of the addresses that a peer had in an earlier run; it doubles
/// up to the second.
pub(super) const RECALL_FIRST_MS: u64 = 1_000;
pub(super) const RECALL_MOST_MS: u64 = 30_000;

/// A path heard within this is alive.
pub(super) const PATH_ALIVE_MS: u64 = 19_000;

/// Where another port of an address speaks, a path that was silent for so long is taken for one
/// whose NAT forgot it. Shorter, and NATs that vary ports would keep us busy.
pub(super) const SIBLING_MS: u64 = 3_000;

/// The addresses that the owner named for a peer without path are tried so often while there is
/// traffic for it.
pub(super) const HINT_MS: u64 = 30_000;

/// News of the underlay make us ask who does not answer at most so often.
pub(super) const STIR_MS: u64 = 1_000;

/// A NAT that gave us another port makes us speak to all active peers at most so often: some give
/// one often.
pub(super) const REMAP_MS: u64 = 10_000;

/// A path not confirmed for so long is not used.
pub(super) const PATH_EXPIRY_MS: u64 = 243_000;

/// An unknown path is tried with a HELLO at most so often.
pub(super) const CONFIRM_MS: u64 = 1_000;

/// Something was sent over a path and nothing came back for so long: ECHO over all paths.
pub(super) const UNANSWERED_MS: u64 = 1_000;

/// A path whose ECHO is not answered for so long has failed until it speaks.
pub(super) const PROBE_MS: u64 = 1_000;

/// The ECHO is repeated within that time.
pub(super) const PROBE_REPEAT_MS: u64 = 250;

/// A failed path is asked again so often while there is traffic for it.
pub(super) const FAILED_PROBE_MS: u64 = 5_000;

/// The path in use is left for a better one at most so often…
pub(super) const SWITCH_MS: u64 = 10_000;

/// …and only for one that is better by so many ms of latency (times its scope factor) and by a
/// fifth: on short ways a fifth is less than jitter, on long ones so few milliseconds are.
pub(super) const SWITCH_GAIN_MS: u64 = 10;

/// The upstream that relays for us is left for a better one at most so often.
pub(super) const UPSTREAM_SWITCH_MS: u64 = 60_000;

/// Step of an upstream's weight (node 3.1).
pub(super) const UPSTREAM_STEP_MS: u64 = 61_000;

/// Latency that stands for "not measured".
pub(super) const LATENCY_UNKNOWN_MS: u32 = 65_535;

/// An ECHO is answered at most so often per path.
pub(super) const ECHO_GATE_MS: u64 = 166;

/// A WHOIS is answered at most so often per peer, by nodes that are no upstream.
pub(super) const WHOIS_GATE_MS: u64 = 100;

/// A first HELLO is looked at so often per source network (wire 13).
pub(super) const HELLO_GATE_MS: u64 = 2_000;

/// A beacon is answered at most so often in all.
pub(super) const BEACON_GATE_MS: u64 = 2_500;

/// Pushes obeyed in a row…
pub(super) const PUSHES_IN_A_ROW: u8 = 8;

/// …unless there was a pause of so long.
pub(super) const PUSH_PAUSE_MS: u64 = 30_000;

/// Addresses tried per push, scope and family.
pub(super) const PUSH_TRIES: u8 = 8;

/// Our addresses are pushed so often to a peer whose packets come by relay.
pub(super) const PUSH_RELAYED_MS: u64 = 15_000;

/// Most addresses in one push.
pub(super) const PUSH_ADDRESSES: usize = 16;

/// Proof of membership makes a peer trusted for so long.
pub(super) const TRUST_MS: u64 = 600_000;

/// A pair is introduced at most so often.
pub(super) const INTRODUCE_MS: u64 = 30_000;

/// A surface report is believed for so long.
pub(super) const SURFACE_MS: u64 = 600_000;

/// WHOIS repeats: pauses after the first, second and third attempt (node 4.2).
pub(super) const WHOIS_MS: [u64; 3] = [500, 1_000, 2_000];

/// Nobody knew the address: asked again only so often while traffic continues.
pub(super) const WHOIS_NEGATIVE_MS: u64 = 10_000;

/// A packet waits so long for an identity or a path.
pub(super) const WAITING_MS: u64 = 5_000;

/// Packets that wait for one address.
pub(super) const WAITING_PER_PEER: usize = 4;

/// An incomplete packet is kept so long.
pub(super) const REASSEMBLY_MS: u64 = 2_000;

/// An answer is accepted so long after the request.
pub(super) const REPLY_MS: u64 = 60_000;

/// Further ECHOs of a RENDEZVOUS after the first.
pub(super) const RENDEZVOUS_MS: [u64; 2] = [250, 1_000];

/// A call that comes so late after the deadline means that the machine slept.
pub(super) const SLEPT_MS: u64 = 10_000;

/// Payload of a datagram on a path that dropped longer ones: IPv6's least MTU less headers.
pub(super) const DATAGRAM_REDUCED: usize = 1_232;

/// The wall clock moved by more than this against the other: it was set.
pub(super) const CLOCK_STEP_MS: u64 = 10_000;

/// Blocks of the memory-hard digest done in one turn: about a millisecond on a PC, 20 turns a
/// digest.
pub(super) const DIGEST_SLICE: usize = 8_192;

/// A newer world is taken from one upstream at most so often.
pub(super) const WORLD_GATE_MS: u64 = 60_000;
