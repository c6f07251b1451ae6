//! Networks: which we are on, and what becomes of their frames (network 1, 5, 6).
//!
//! Ad-hoc networks make their own configuration; others ask their controller and keep what it
//! said last.
//!
//! Bounds: `Limits::networks`; the tables of each network and of all together state theirs.

mod bridge;
mod config;
mod controller;
mod credentials;
mod decode;
mod frames;
mod listeners;
mod member;
mod multicast;
mod ndp;
mod pending;
pub mod probe;
mod refusal;
pub mod rules;
mod showing;
mod spread;
mod stored;
#[cfg(test)]
mod tests;
mod update;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use self::bridge::Routes;
use self::config::{AdHoc, Config};
pub use self::config::{Dns, IpNet, Route};
use self::controller::{Ask, Failure};
use self::credentials::{Revocations, Shown};
use self::member::{Agreement, Member, Members, Refusals};
use self::multicast::{Behind, Gathers, Listeners, Queue};
use self::pending::Pendings;
pub use self::refusal::Refusal;
use self::showing::Showings;
pub use self::stored::{SignOn, StoredConfig};
use self::update::Update;
use super::Full;
use super::io::{DropReason, Event};
use crate::base::gate::Bucket;
use crate::base::{Address, Limits, Mac, Mono, NetworkId, Now, Table, sorted};
use crate::crypto::rng::Rng;
use crate::wire::derive;
use crate::wire::identity::Identity;
use crate::wire::multicast::{self as wire, Group};
use crate::wire::packet::{self, HEADER_LEN, PACKET_MAX};
use crate::wire::verb::Verb;

/// All our groups are announced so often to whoever must know.
const ANNOUNCE_MS: u64 = 60_000;
/// The same where every byte costs: a LIKE is good for ten minutes.
const ANNOUNCE_METERED_MS: u64 = 270_000;
/// Signatures checked in a burst, and how often one more: each takes milliseconds on a router.
const CHECKS: (u32, u32) = (256, 10);
/// A stored configuration older than its window by so much is shown as stale.
const STALE_MS: u64 = 86_400_000;
/// Records in one MULTICAST_LIKE: fits a datagram.
const LIKES_MAX: usize = 64;

/// Pause between two announcements of all our groups.
fn announce_ms(c: &dyn Carrier) -> u64 {
    if c.low_bandwidth() {
        ANNOUNCE_METERED_MS
    } else {
        ANNOUNCE_MS
    }
}

/// What the network layer may ask of the node core.
pub(crate) trait Carrier {
    /// Both clocks.
    fn now(&self) -> Now;
    /// That for timers and ages.
    fn mono(&self) -> Mono;
    /// All randomness.
    fn rng(&mut self) -> &mut Rng;
    /// Sends a plain packet: verb at byte 27, payload behind it. Sealed in place, or kept as a
    /// copy if identity or path are missing.
    fn send(&mut self, to: Address, packet: &mut [u8], compress: bool);
    /// Upstream number `n`, the best first.
    fn upstream(&self, n: usize) -> Option<Address>;
    /// Are we one?
    fn am_upstream(&self) -> bool;
    /// The identity of `peer`, if it is known.
    fn identity(&self, peer: Address) -> Option<Identity>;
    /// Asks for the identity of `peer`.
    fn seek(&mut self, peer: Address);
    /// Our protocol version.
    fn protocol(&self) -> u8;
    /// Every byte costs (node 1).
    fn low_bandwidth(&self) -> bool {
        false
    }
    /// Latency of a peer with a direct path; unmeasured: large. `None`: no path.
    fn latency_ms(&self, peer: Address) -> Option<u32>;
    /// An Ethernet frame for a tap.
    fn deliver(&mut self, network: NetworkId, ethernet: &[u8]);
    /// Counts a drop.
    fn drop(&mut self, reason: DropReason);
    /// News for the service.
    fn event(&mut self, event: Event);
}

/// Where a network stands (network 1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkStatus {
    /// No configuration yet.
    RequestingConfiguration,
    /// A configuration is in force.
    Ok,
    /// The controller does not let us in.
    AccessDenied,
    /// There is no such network.
    NotFound,
    /// The controller wants us to sign on first.
    AuthenticationRequired,
}

impl NetworkStatus {
    /// The word that everybody uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestingConfiguration => "REQUESTING_CONFIGURATION",
            Self::Ok => "OK",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::AuthenticationRequired => "AUTHENTICATION_REQUIRED",
        }
    }
}

impl fmt::Display for NetworkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Counters of one network. They wrap.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Frames from the tap.
    pub frames_in: u64,
    /// Their bytes, Ethernet header included.
    pub bytes_in: u64,
    /// Frames to the tap.
    pub frames_out: u64,
    /// Their bytes, Ethernet header included.
    pub bytes_out: u64,
    /// Frames from the tap that went no further.
    pub dropped_in: u64,
    /// Frames from members that were not delivered.
    pub dropped_out: u64,
    reasons: [u64; Self::REASONS.len()],
}

impl Counters {
    /// Why frames of a network may go no further.
    pub const REASONS: [DropReason; 9] = [
        DropReason::NoConfig,
        DropReason::NotMember,
        DropReason::RulesOut,
        DropReason::RulesIn,
        DropReason::BadMac,
        DropReason::BadFrame,
        DropReason::MulticastOff,
        DropReason::MulticastFull,
        DropReason::NoBridge,
    ];

    /// Drops for one of [`Self::REASONS`]; 0 for others.
    pub fn drops(&self, reason: DropReason) -> u64 {
        let mut all = Self::REASONS.iter().zip(self.reasons);
        all.find(|(r, _)| **r == reason).map_or(0, |(_, n)| n)
    }

    fn count(&mut self, reason: DropReason) {
        let mut all = Self::REASONS.iter().zip(&mut self.reasons);
        if let Some((_, n)) = all.find(|(r, _)| **r == reason) {
            *n = n.wrapping_add(1);
        }
    }
}

/// What the owner may see of a network.
#[derive(Clone, Copy, Debug)]
pub struct NetworkView<'a> {
    /// Its id.
    pub id: NetworkId,
    /// Where it stands.
    pub status: NetworkStatus,
    /// Our MAC on it.
    pub mac: Mac,
    /// Its name, as the configuration has it.
    pub name: &'a str,
    /// Anybody may take part.
    pub public: bool,
    /// MTU of the tap.
    pub mtu: u16,
    /// Broadcasts pass.
    pub broadcast: bool,
    /// We may bridge.
    pub bridge: bool,
    /// Revision of the configuration.
    pub revision: u64,
    /// Managed addresses.
    pub addresses: &'a [IpNet],
    /// Routes into the network.
    pub routes: &'a [Route],
    /// Groups we listen to.
    pub groups: &'a [Group],
    /// Most recipients of a multicast frame; 0: off.
    pub multicast_limit: u32,
    /// Members met.
    pub members: usize,
    /// Those of them whose certificate agrees with ours.
    pub authorized: usize,
    /// Who answers names.
    pub dns: Option<&'a Dns>,
    /// Where to sign on if the controller wants that first.
    pub url: &'a str,
    /// A configuration is in force, whatever the status says.
    pub configured: bool,
    /// The controller sent what is in force since the start; else it comes from a file.
    pub confirmed: bool,
    /// What is in force comes from a file and is older than its credentials are good for.
    pub stale: bool,
    /// When what is in force was issued, ms since 1970 by the controller's clock.
    pub timestamp: u64,
    /// How far times of credentials may be apart, ms.
    pub window_ms: u64,
    /// Changes with everything but times and certificates.
    pub generation: u32,
    /// Base rules, binary.
    pub rules: &'a [u8],
    /// Our tags: id, value.
    pub tags: &'a [(u32, u32)],
    /// Our capabilities.
    pub capabilities: usize,
    /// Active bridges.
    pub bridges: usize,
    /// What was not taken last and when.
    pub last_refusal: Option<(Refusal, Mono)>,
    /// Counters.
    pub counters: &'a Counters,
    refused: &'a [u32; Refusal::KINDS],
}

impl NetworkView<'_> {
    /// Configurations, pieces and credentials that were not taken, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u32)> {
        Refusal::NAMES.into_iter().zip(self.refused.iter().copied())
    }
}

struct Network {
    id: NetworkId,
    mac: Mac,
    /// What is in force.
    config: Option<Box<Config>>,
    /// Since when.
    installed: Option<Mono>,
    /// The controller has sent it; else it comes from a file.
    confirmed: bool,
    generation: u32,
    /// The controller's last word, if it was a refusal. What is in force stays so.
    failure: Option<Failure>,
    /// Where to sign on.
    url: String,
    /// The controller, once a signature of its has been good: certificates of members are checked
    /// with it for as long as we are on the network, whether or not it is a peer.
    authority: Option<Identity>,
    ask: Ask,
    update: Option<Update>,
    refused: [u32; Refusal::KINDS],
    last_refusal: Option<(Refusal, Mono)>,
    /// Groups of the tap.
    tap_groups: Vec<Group>,
    /// All groups we listen to, sorted.
    groups: Vec<Group>,
    members: Members,
    counters: Counters,
    /// Our groups are announced to all again; `None`: multicast is off.
    announce: Option<Mono>,
}

/// What an inbound packet proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// The sender is a member of a network of ours.
    pub(crate) member: bool,
}

/// All networks of a node.
pub(crate) struct Networks {
    me: Address,
    limits: Limits,
    networks: Table<NetworkId, Network>,
    listeners: Listeners,
    gathers: Gathers,
    waiting: Queue,
    behind: Behind,
    routes: Routes,
    refusals: Refusals,
    pendings: Pendings,
    revocations: Revocations,
    shown: Shown,
    showings: Showings,
    /// Checks of signatures.
    checks: Bucket,
    /// For rules that let only some frames pass.
    lots: rules::Lots,
    /// Used again for each list of recipients.
    recipients: Vec<Address>,
    /// One packet.
    scratch: Vec<u8>,
    seed: u64,
}

impl Networks {
    pub(crate) fn new(me: Address, limits: &Limits, root: bool, seed: u64) -> Self {
        let listeners = if root {
            limits.multicast_members_as_root
        } else {
            limits.multicast_members
        };
        Self {
            me,
            limits: *limits,
            networks: Table::new(limits.networks, seed),
            listeners: Listeners::new(listeners, seed),
            gathers: Gathers::new(limits.multicast_waiting, seed),
            waiting: Queue::new(limits.multicast_waiting),
            behind: Behind::new(limits.groups_per_network, seed),
            routes: Routes::new(limits.bridge_routes, seed),
            refusals: Refusals::new(limits.refusals, seed),
            pendings: Pendings::new(limits.pending_credentials),
            revocations: Revocations::new(limits.revocations, seed),
            shown: Shown::new(limits.refusals, seed),
            showings: Showings::new(limits.refusals, seed),
            checks: Bucket::new(CHECKS.0, CHECKS.1),
            lots: rules::Lots::new(seed),
            recipients: Vec::new(),
            scratch: alloc::vec![0; PACKET_MAX],
            seed,
        }
    }

    /// Becomes a member, or asks to. `stored`: the configuration that was in force before, as
    /// [`Self::stored`] gave it; what cannot be used of it is ignored.
    pub(crate) fn join(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        stored: Option<&[u8]>,
    ) -> Result<(), Full> {
        if self.is_joined(id) {
            return Ok(());
        }
        let now = c.mono();
        let made = config::ad_hoc(id, self.me);
        let own = id.controller() == Some(self.me);
        let failure = match made {
            AdHoc::Invalid => Some(Failure::NotFound),
            // We are no controller.
            AdHoc::No if own => Some(Failure::NotFound),
            AdHoc::Yes(_) | AdHoc::No => None,
        };
        let asked = matches!(made, AdHoc::No) && id.controller().is_some() && !own;
        let network = Network {
            id,
            mac: derive::mac(id, self.me),
            config: None,
            installed: None,
            confirmed: false,
            generation: 0,
            failure,
            url: String::new(),
            authority: None,
            ask: Ask::new(asked.then_some(now), now),
            update: None,
            refused: [0; Refusal::KINDS],
            last_refusal: None,
            tap_groups: Vec::new(),
            groups: Vec::new(),
            members: Members::new(self.limits.members_per_network, self.seed),
            counters: Counters::default(),
            announce: None,
        };
        self.networks.insert(id, network).ok_or(Full)?;
        // Nothing in it depends on the time, so it is made once and not every minute.
        match made {
            AdHoc::Yes(config) => {
                if let Some(network) = self.networks.get_mut(&id) {
                    network.confirmed = true;
                }
                self.install(c, id, config);
            }
            AdHoc::Invalid => c.event(Event::Network(id)),
            AdHoc::No => {
                let room = 2..=self.limits.config_total;
                let stored = stored.filter(|text| room.contains(&text.len()));
                match stored.map(|text| decode::read(text, id, self.me, &self.limits)) {
                    Some(Ok(config)) if asked => self.install(c, id, config),
                    Some(Err(why)) => {
                        self.refuse(c, id, why);
                        c.event(Event::Network(id));
                    }
                    _ => c.event(Event::Network(id)),
                }
                self.ask_controllers(c);
            }
        }
        Ok(())
    }

    /// The configuration in force in the form that [`Self::join`] takes; of ad-hoc networks and
    /// before there is one nothing.
    pub(crate) fn stored(&self, id: NetworkId) -> Option<Vec<u8>> {
        let network = self.networks.get(&id)?;
        network.ask.next?;
        Some(network.config.as_ref()?.text.to_vec())
    }

    /// Puts a configuration into force.
    fn install(&mut self, c: &mut dyn Carrier, id: NetworkId, config: Box<Config>) {
        let now = c.mono();
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        if network.authority.is_none() {
            // What is put into force came from its controller, or from our own files.
            network.authority = id.controller().and_then(|a| c.identity(a));
        }
        let before = network.status();
        let held = network.config.as_ref();
        let papers = held.is_some_and(|held| held.own != config.own);
        let differs = papers || held.is_none_or(|held| held.differs_in_substance(&config));
        for member in network.members.values_mut() {
            member.weigh(config.timestamp, config.window_ms);
            if member.com.is_some() {
                member.agreement = Agreement::Open;
            }
        }
        network.failure = None;
        network.url.clear();
        network.config = Some(config);
        network.installed = Some(now);
        let news = differs || before != NetworkStatus::Ok;
        if news {
            network.generation = network.generation.wrapping_add(1);
            c.event(Event::Network(id));
        } else {
            c.event(Event::Refreshed(id));
        }
        self.groups_changed(c, id);
        if papers {
            self.push_to_recent(c, id);
        }
    }

    /// Forgets a network. `false`: was not on it.
    pub(crate) fn leave(&mut self, c: &mut dyn Carrier, id: NetworkId) -> bool {
        let Some(slot) = self.networks.find(&id) else {
            return false;
        };
        self.networks.discard(slot);
        self.waiting.forget_network(id);
        self.gathers.forget_network(id);
        self.behind.forget_network(id);
        self.routes.forget_network(id);
        self.pendings.forget_network(id);
        self.revocations.forget_network(id);
        if !c.am_upstream() {
            self.listeners.forget_network(id);
        }
        c.event(Event::Network(id));
        true
    }

    /// Groups that the tap has subscribed to.
    pub(crate) fn set_groups(&mut self, c: &mut dyn Carrier, id: NetworkId, groups: &[Group]) {
        let most = self.limits.groups_per_network;
        if let Some(network) = self.networks.get_mut(&id) {
            network.tap_groups.clear();
            network.tap_groups.extend(groups.iter().take(most));
            self.groups_changed(c, id);
        }
    }

    /// Makes the list of groups anew and announces what is new in it (network 6.1, 6.2).
    fn groups_changed(&mut self, c: &mut dyn Carrier, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        let mut groups = Vec::new();
        for group in &network.tap_groups {
            sorted::insert(&mut groups, *group);
        }
        for address in &config.addresses {
            sorted::insert(&mut groups, derive::group_of_ip(address.ip));
        }
        for group in self.behind.of(id) {
            sorted::insert(&mut groups, group);
        }
        if config.broadcast() {
            sorted::insert(&mut groups, Group::BROADCAST);
        }
        let mut before = core::mem::replace(&mut network.groups, groups);
        if config.multicast_limit == 0 {
            network.announce = None;
            return;
        }
        if network.announce.is_none() {
            // Nobody has been told of any.
            before.clear();
            network.announce = Some(c.mono().after(announce_ms(c)));
        }
        let mut new = network.groups.clone();
        new.retain(|group| before.binary_search(group).is_err());
        if !new.is_empty() {
            self.announce(c, id, Some(&new));
        }
    }

    /// Tells the new groups, or all of them, to whoever must know: upstreams, controller, anchors
    /// and replicators, members.
    fn announce(&mut self, c: &mut dyn Carrier, id: NetworkId, new: Option<&[Group]>) {
        let now = c.mono();
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        // Whoever is told all need not be told again when met.
        let whole = new.is_none_or(|new| new.len() == network.groups.len());
        let mut audience = core::mem::take(&mut self.recipients);
        audience.clear();
        // One that cannot be reached is told when it can: until then it would only push others
        // out of the queue.
        let upstreams = (0..).map_while(|n| c.upstream(n));
        audience.extend(upstreams.filter(|a| c.latency_ms(*a).is_some()));
        audience.extend(id.controller());
        // Those above take our word; who is a member wants to see our certificate first.
        let above = audience.len();
        let Network {
            config, members, ..
        } = network;
        if let Some(config) = config {
            audience.extend(config.anchors().chain(config.replicators()));
            let mut at = 0;
            while let Some((slot, address)) = members.next_from(at) {
                at = slot.index() + 1;
                let Some(member) = members.get_mut(address) else {
                    continue;
                };
                let known = c.identity(address).is_some();
                if known && admits(c, config, address, Some(member)) {
                    if whole {
                        member.announced = Some(now);
                    }
                    audience.push(address);
                }
            }
        }
        let mut seen: Vec<Address> = Vec::with_capacity(audience.len());
        for (n, to) in audience.iter().enumerate() {
            if *to == self.me || seen.contains(to) {
                continue;
            }
            seen.push(*to);
            if n >= above {
                self.tell_groups(c, id, *to, new);
            } else if let Some(network) = self.networks.get(&id) {
                like(c, *to, id, new.unwrap_or(&network.groups));
            }
        }
        self.recipients = audience;
    }

    /// `peer` has passed the gate of a network: it is in the membership table, and is told our
    /// groups now and then (network 3.3).
    fn met(&mut self, c: &mut dyn Carrier, id: NetworkId, peer: Address) {
        let now = c.mono();
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(member) = network.members.meet(peer, now) else {
            return;
        };
        let pause = announce_ms(c);
        let told = |at| now.since(at) < pause;
        if network.announce.is_some() && !member.announced.is_some_and(told) {
            member.announced = Some(now);
            self.tell_groups(c, id, peer, None);
        }
    }

    /// One of our upstreams can be reached (again): it learns our groups now, and is asked for
    /// the members that frames wait for.
    pub(crate) fn upstream_up(&mut self, c: &mut dyn Carrier, upstream: Address) {
        for (id, network) in self.networks.iter() {
            if network.announce.is_some() {
                like(c, upstream, id, &network.groups);
            }
        }
        self.hurry_unanswered(c.mono());
        self.ask_upstream(c, upstream);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        let mut first = Mono::first(self.showings.deadline(), self.waiting.deadline());
        for network in self.networks.values() {
            first = Mono::first(first, Mono::first(network.announce, network.ask.next));
        }
        let mut n = 0;
        while let Some(key) = self.waiting.hungry(n) {
            n += 1;
            first = Mono::first(first, self.gathers.again(key));
        }
        first
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, c: &mut dyn Carrier) {
        let now = c.mono();
        self.waiting.expire(now);
        self.ask_controllers(c);
        self.show_due(c);
        let mut n = 0;
        while let Some(key) = self.waiting.hungry(n) {
            n += 1;
            self.gather_again(c, key);
        }
        let mut at = 0;
        while let Some((slot, id, network)) = self.networks.next_from(at) {
            at = slot.index() + 1;
            if network.announce.is_none_or(|due| due > now) {
                continue;
            }
            self.behind.expire(now);
            if let Some(network) = self.networks.get_mut(&id) {
                network.announce = Some(now.after(announce_ms(c)));
                network.members.expire(now);
            }
            self.groups_changed(c, id);
            self.announce(c, id, None);
        }
    }

    /// All networks, by slot.
    pub(crate) fn iter(&self, now: Now) -> impl Iterator<Item = NetworkView<'_>> {
        self.networks
            .values()
            .map(move |network| network.view(self.me, now))
    }

    /// The managed addresses of each network.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &[IpNet]> {
        let configs = self.networks.values().filter_map(|n| n.config.as_ref());
        configs.map(|config| &config.addresses[..])
    }

    /// A network.
    pub(crate) fn get(&self, id: NetworkId, now: Now) -> Option<NetworkView<'_>> {
        let network = self.networks.get(&id)?;
        Some(network.view(self.me, now))
    }
}

/// What the other files of this module need of a network.
impl Networks {
    fn is_joined(&self, id: NetworkId) -> bool {
        self.networks.find(&id).is_some()
    }

    /// What is in force.
    fn config(&self, id: NetworkId) -> Option<&Config> {
        self.networks.get(&id)?.config.as_deref()
    }

    /// A frame of the tap goes no further.
    fn count_in(&mut self, c: &mut dyn Carrier, id: NetworkId, reason: DropReason) {
        match self.networks.get_mut(&id) {
            Some(network) => network.drop_in(c, reason),
            None => c.drop(reason),
        }
    }

    /// A frame of a member goes no further.
    fn count_out(&mut self, c: &mut dyn Carrier, id: NetworkId, reason: DropReason) {
        match self.networks.get_mut(&id) {
            Some(network) => network.drop_out(c, reason),
            None => c.drop(reason),
        }
    }

    /// A frame for the tap.
    fn deliver(&mut self, c: &mut dyn Carrier, id: NetworkId, ethernet: &[u8]) {
        if let Some(network) = self.networks.get_mut(&id) {
            let counters = &mut network.counters;
            counters.frames_out = counters.frames_out.wrapping_add(1);
            counters.bytes_out = counters.bytes_out.wrapping_add(ethernet.len() as u64);
            c.deliver(id, ethernet);
        }
    }
}

/// May `peer` take part in what `config` governs (network 3.3)? `member`: what we know of it.
fn admits(c: &dyn Carrier, config: &Config, peer: Address, member: Option<&mut Member>) -> bool {
    config.public || member.is_some_and(|m| credentials::agrees(c, config, peer, m))
}

fn like(c: &mut dyn Carrier, to: Address, id: NetworkId, groups: &[Group]) {
    for part in groups.chunks(LIKES_MAX) {
        let mut packet = [0; HEADER_LEN + LIKES_MAX * wire::LIKE_LEN];
        let mut writer = packet::begin(&mut packet, Verb::MulticastLike);
        for group in part {
            wire::write_like(&mut writer, id, *group);
        }
        if let Ok(packet) = writer.finish() {
            c.send(to, packet, true);
        }
    }
}

impl Network {
    fn view(&self, me: Address, now: Now) -> NetworkView<'_> {
        let config = self.config.as_deref();
        let old = |c: &Config| {
            let good_until = c
                .timestamp
                .saturating_add(c.window_ms)
                .saturating_add(STALE_MS);
            now.wall_ok && now.wall.as_ms() > good_until
        };
        let agrees = |m: &Member| m.agreement == Agreement::Yes;
        NetworkView {
            id: self.id,
            status: self.status(),
            mac: self.mac,
            name: config.map_or("", |c| c.name.as_str()),
            public: config.is_some_and(|c| c.public),
            mtu: config.map_or(config::MTU_DEFAULT, |c| c.mtu),
            broadcast: config.is_some_and(Config::broadcast),
            bridge: config.is_some_and(|c| c.is_bridge(me)),
            revision: config.map_or(0, |c| c.revision),
            addresses: config.map_or(&[], |c| &c.addresses),
            routes: config.map_or(&[], |c| &c.routes),
            groups: &self.groups,
            multicast_limit: config.map_or(0, |c| c.multicast_limit),
            members: self.members.len(),
            authorized: self.members.values().filter(|m| agrees(m)).count(),
            dns: config.map(|c| &c.dns).filter(|d| **d != Dns::default()),
            url: &self.url,
            configured: config.is_some(),
            confirmed: self.confirmed,
            stale: !self.confirmed && config.is_some_and(old),
            timestamp: config.map_or(0, |c| c.timestamp),
            window_ms: config.map_or(0, |c| c.window_ms),
            generation: self.generation,
            rules: config.map_or(&[], |c| &c.rules),
            tags: config.map_or(&[], |c| &c.own.tags),
            capabilities: config.map_or(0, |c| c.own.capabilities.len()),
            bridges: config.map_or(0, |c| c.bridges().count()),
            last_refusal: self.last_refusal,
            counters: &self.counters,
            refused: &self.refused,
        }
    }

    /// The gate (network 3.3).
    fn admits(&mut self, c: &dyn Carrier, peer: Address) -> bool {
        let Self {
            config, members, ..
        } = self;
        config
            .as_ref()
            .is_some_and(|config| admits(c, config, peer, members.get_mut(peer)))
    }

    fn drop_in(&mut self, c: &mut dyn Carrier, reason: DropReason) {
        self.counters.dropped_in = self.counters.dropped_in.wrapping_add(1);
        self.counters.count(reason);
        c.drop(reason);
    }

    fn drop_out(&mut self, c: &mut dyn Carrier, reason: DropReason) {
        self.counters.dropped_out = self.counters.dropped_out.wrapping_add(1);
        self.counters.count(reason);
        c.drop(reason);
    }
}

/// What an id comes to without a controller, for those who compare (network 1.3).
#[derive(Clone, Debug)]
pub struct AdHocView {
    /// OK, NOT_FOUND, or waiting for a controller.
    pub status: NetworkStatus,
    /// Name.
    pub name: alloc::string::String,
    /// MTU of the tap.
    pub mtu: u16,
    /// Most recipients of a multicast frame; 0: off.
    pub multicast_limit: u32,
    /// Flags of the configuration.
    pub flags: u64,
    /// Anybody may take part.
    pub public: bool,
    /// Window of credentials.
    pub window_ms: u64,
    /// Revision of the configuration.
    pub revision: u64,
    /// Routes into the network.
    pub routes: Vec<Route>,
    /// Binary rules.
    pub rules: Vec<u8>,
    /// Managed addresses.
    pub addresses: Vec<IpNet>,
    /// Address in the low 40 bits, roles above.
    pub specialists: Vec<u64>,
}

/// The configuration that node `me` makes for itself on joining `id`.
pub fn ad_hoc_view(id: NetworkId, me: Address) -> AdHocView {
    let mut view = AdHocView {
        status: NetworkStatus::RequestingConfiguration,
        name: alloc::string::String::new(),
        mtu: config::MTU_DEFAULT,
        multicast_limit: 0,
        flags: 0,
        public: false,
        window_ms: 0,
        revision: 0,
        routes: Vec::new(),
        rules: Vec::new(),
        addresses: Vec::new(),
        specialists: Vec::new(),
    };
    match config::ad_hoc(id, me) {
        AdHoc::No => {}
        AdHoc::Invalid => view.status = NetworkStatus::NotFound,
        AdHoc::Yes(config) => {
            view.status = NetworkStatus::Ok;
            view.name = config.name.as_str().into();
            view.mtu = config.mtu;
            view.multicast_limit = config.multicast_limit;
            view.flags = config.flags;
            view.public = config.public;
            view.window_ms = config.window_ms;
            view.routes = config.routes;
            view.revision = config.revision;
            view.rules = config.rules.into();
            view.addresses = config.addresses.as_slice().into();
            view.specialists = config.specialists;
        }
    }
    view
}
