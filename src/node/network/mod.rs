//! Networks: which we are on, and what becomes of their frames (network 1, 5, 6).
//!
//! Ad-hoc networks are whole. A network with a controller is joined and waits for its
//! configuration.

mod config;
mod frames;
mod multicast;
mod ndp;
pub mod rules;

use alloc::vec::Vec;
use core::fmt;

pub use self::config::IpNet;
use self::config::{AdHoc, Config};
use self::multicast::{Listeners, Queue};
use super::Full;
use super::io::{DropReason, Event};
use crate::base::{Address, Limits, Mac, Mono, NetworkId, Now, Table};
use crate::crypto::rng::Rng;
use crate::wire::cursor::Writer;
use crate::wire::derive;
use crate::wire::multicast::{self as wire, Group};
use crate::wire::packet::{HEADER_LEN, PACKET_MAX, VERB_AT};
use crate::wire::verb::Verb;

/// All our groups are announced so often to whoever must know.
const ANNOUNCE_MS: u64 = 60_000;
/// Records in one MULTICAST_LIKE: fits a datagram.
const LIKES_MAX: usize = 64;

/// What the network layer may ask of the node core.
pub(crate) trait Carrier {
    /// Both clocks.
    fn now(&self) -> Now;
    /// Our address.
    fn me(&self) -> Address;
    /// All randomness.
    fn rng(&mut self) -> &mut Rng;
    /// Sends a plain packet: verb at byte 27, payload behind it. Sealed in place, or kept as a
    /// copy if identity or path are missing.
    fn send(&mut self, to: Address, packet: &mut [u8], compress: bool);
    /// Upstream number `n`, the best first.
    fn upstream(&self, n: usize) -> Option<Address>;
    /// Are we one?
    fn am_upstream(&self) -> bool;
    /// Is the identity of `peer` known?
    fn knows(&self, peer: Address) -> bool;
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
}

impl NetworkStatus {
    /// The word that everybody uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestingConfiguration => "REQUESTING_CONFIGURATION",
            Self::Ok => "OK",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::NotFound => "NOT_FOUND",
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
    /// Groups we listen to.
    pub groups: &'a [Group],
    /// Most recipients of a multicast frame; 0: off.
    pub multicast_limit: u32,
    /// Members met.
    pub members: usize,
    /// Counters.
    pub counters: Counters,
}

/// A member we have met.
struct Member {
    heard: Mono,
    announced: Option<Mono>,
}

struct Network {
    id: NetworkId,
    status: NetworkStatus,
    mac: Mac,
    config: Option<Config>,
    /// Groups of the tap.
    tap_groups: Vec<Group>,
    /// All groups we listen to, sorted.
    groups: Vec<Group>,
    members: Table<Address, Member>,
    counters: Counters,
    announce: Option<Mono>,
}

/// What an inbound packet proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    /// The sender is a member of a network of ours.
    pub(crate) member: bool,
}

pub(crate) struct Networks {
    me: Address,
    limits: Limits,
    networks: Table<NetworkId, Network>,
    listeners: Listeners,
    waiting: Queue,
    recipients: Vec<Address>,
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
            waiting: Queue::new(limits.multicast_waiting),
            recipients: Vec::new(),
            scratch: alloc::vec![0; PACKET_MAX],
            seed,
        }
    }

    pub(crate) fn join(&mut self, c: &mut dyn Carrier, id: NetworkId) -> Result<(), Full> {
        if self.networks.get(&id).is_some() {
            return Ok(());
        }
        let (status, config) = match config::ad_hoc(id, self.me) {
            AdHoc::Yes(config) => (NetworkStatus::Ok, Some(config)),
            AdHoc::Invalid => (NetworkStatus::NotFound, None),
            AdHoc::No => (NetworkStatus::RequestingConfiguration, None),
        };
        let network = Network {
            id,
            status,
            mac: derive::mac(id, self.me),
            config,
            tap_groups: Vec::new(),
            groups: Vec::new(),
            members: Table::new(self.limits.members_per_network, self.seed),
            counters: Counters::default(),
            announce: None,
        };
        self.networks.insert(id, network).map_err(|_| Full)?;
        c.event(Event::Network(id));
        self.groups_changed(c, id);
        Ok(())
    }

    pub(crate) fn leave(&mut self, c: &mut dyn Carrier, id: NetworkId) -> bool {
        if self.networks.remove(&id).is_none() {
            return false;
        }
        self.waiting.forget_network(id);
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

    /// Makes the list of groups anew and announces what is new in it.
    fn groups_changed(&mut self, c: &mut dyn Carrier, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(config) = &network.config else {
            return;
        };
        let mut groups = network.tap_groups.clone();
        groups.extend(config.addresses.iter().map(|a| derive::group_of_ip(a.ip)));
        if config.broadcast() {
            groups.push(Group::BROADCAST);
        }
        groups.sort_unstable();
        groups.dedup();
        if groups == network.groups {
            return;
        }
        let before = core::mem::replace(&mut network.groups, groups);
        if config.multicast_limit == 0 {
            return;
        }
        let new: Vec<Group> = network
            .groups
            .iter()
            .filter(|g| before.binary_search(g).is_err())
            .copied()
            .collect();
        network
            .announce
            .get_or_insert(c.now().mono.after(ANNOUNCE_MS));
        self.audience(c, id);
        let audience = core::mem::take(&mut self.recipients);
        for to in &audience {
            self.like(c, *to, id, &new);
        }
        self.recipients = audience;
    }

    /// Who must know our groups, into `self.recipients`: upstreams, anchors, members.
    fn audience(&mut self, c: &mut dyn Carrier, id: NetworkId) {
        self.recipients.clear();
        let upstreams = (0..).map_while(|n| c.upstream(n));
        self.recipients.extend(upstreams);
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        if let Some(config) = &network.config {
            self.recipients
                .extend(config.anchors().filter(|a| *a != self.me));
        }
        let now = c.now().mono;
        for (address, member) in network.members.iter_mut() {
            if c.knows(*address) {
                member.announced = Some(now);
                self.recipients.push(*address);
            }
        }
        self.recipients.sort_unstable();
        self.recipients.dedup();
    }

    fn like(&mut self, c: &mut dyn Carrier, to: Address, id: NetworkId, groups: &[Group]) {
        for part in groups.chunks(LIKES_MAX) {
            let mut packet = [0; HEADER_LEN + LIKES_MAX * wire::LIKE_LEN];
            packet[VERB_AT] = Verb::MulticastLike as u8;
            let mut writer = Writer::new(&mut packet[HEADER_LEN..]);
            for group in part {
                if wire::write_like(&mut writer, id, *group).is_err() {
                    return;
                }
            }
            let end = HEADER_LEN + writer.len();
            if let Some(packet) = packet.get_mut(..end) {
                c.send(to, packet, true);
            }
        }
    }

    /// `peer` has passed the gate of a network: it is in the membership table, and is told our
    /// groups now and then (network 3.3).
    fn met(&mut self, c: &mut dyn Carrier, id: NetworkId, peer: Address) {
        let now = c.now().mono;
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let members = &mut network.members;
        if members.get(&peer).is_none() {
            if members.is_full()
                && let Some(stalest) = members.iter().min_by_key(|(_, m)| m.heard).map(|(a, _)| *a)
            {
                members.remove(&stalest);
            }
            let _ = members.insert(
                peer,
                Member {
                    heard: now,
                    announced: None,
                },
            );
        }
        let Some(member) = members.get_mut(&peer) else {
            return;
        };
        member.heard = now;
        let multicast = network
            .config
            .as_ref()
            .is_some_and(|c| c.multicast_limit > 0);
        if !multicast
            || member
                .announced
                .is_some_and(|at| now.since(at) < ANNOUNCE_MS)
        {
            return;
        }
        member.announced = Some(now);
        let groups = core::mem::take(&mut network.groups);
        self.like(c, peer, id, &groups);
        if let Some(network) = self.networks.get_mut(&id) {
            network.groups = groups;
        }
    }

    /// Our upstreams can be reached (again): they learn our groups now.
    pub(crate) fn upstream_up(&mut self, c: &mut dyn Carrier, upstream: Address) {
        let mut at = 0;
        while let Some((slot, &id, _)) = self.networks.next_from(at) {
            at = slot.index() + 1;
            let Some(network) = self.networks.get_mut(&id) else {
                continue;
            };
            if network.announce.is_some() {
                let groups = core::mem::take(&mut network.groups);
                self.like(c, upstream, id, &groups);
                if let Some(network) = self.networks.get_mut(&id) {
                    network.groups = groups;
                }
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        let announce = self.networks.iter().filter_map(|(_, n)| n.announce).min();
        let gather = (0..)
            .map_while(|n| self.waiting.hungry(n))
            .filter_map(|key| self.listeners.gather_at(key))
            .min();
        [announce, gather, self.waiting.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, c: &mut dyn Carrier) {
        let now = c.now().mono;
        self.waiting.expire(now);
        let mut n = 0;
        while let Some(key) = self.waiting.hungry(n) {
            n += 1;
            if self.listeners.gather_at(key).is_some_and(|at| at <= now) {
                self.gather(c, key, 0);
            }
        }
        let mut at = 0;
        while let Some((slot, &id, network)) = self.networks.next_from(at) {
            at = slot.index() + 1;
            if network.announce.is_none_or(|due| due > now) {
                continue;
            }
            self.audience(c, id);
            let audience = core::mem::take(&mut self.recipients);
            let Some(network) = self.networks.get_mut(&id) else {
                continue;
            };
            network.announce = Some(now.after(ANNOUNCE_MS));
            let groups = core::mem::take(&mut network.groups);
            for to in &audience {
                self.like(c, *to, id, &groups);
            }
            if let Some(network) = self.networks.get_mut(&id) {
                network.groups = groups;
            }
            self.recipients = audience;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NetworkView<'_>> {
        self.networks
            .iter()
            .map(|(_, network)| network.view(self.me))
    }

    pub(crate) fn get(&self, id: NetworkId) -> Option<NetworkView<'_>> {
        self.networks.get(&id).map(|network| network.view(self.me))
    }
}

impl Network {
    fn view(&self, me: Address) -> NetworkView<'_> {
        let config = self.config.as_ref();
        NetworkView {
            id: self.id,
            status: self.status,
            mac: self.mac,
            name: config.map_or("", |c| c.name.as_str()),
            public: config.is_some_and(|c| c.public),
            mtu: config.map_or(config::MTU_DEFAULT, |c| c.mtu),
            broadcast: config.is_some_and(Config::broadcast),
            bridge: config.is_some_and(|c| c.is_bridge(me)),
            revision: config.map_or(0, |c| c.revision),
            addresses: config.map_or(&[], |c| &c.addresses),
            groups: &self.groups,
            multicast_limit: config.map_or(0, |c| c.multicast_limit),
            members: self.members.len(),
            counters: self.counters,
        }
    }

    /// May `peer` take part? Certificates are for networks with a controller.
    fn admits(&self, _peer: Address) -> bool {
        self.config.as_ref().is_some_and(|c| c.public)
    }

    fn drop_in(&mut self, c: &mut dyn Carrier, reason: DropReason) {
        self.counters.dropped_in = self.counters.dropped_in.wrapping_add(1);
        c.drop(reason);
    }

    fn drop_out(&mut self, c: &mut dyn Carrier, reason: DropReason) {
        self.counters.dropped_out = self.counters.dropped_out.wrapping_add(1);
        c.drop(reason);
    }

    fn deliver(&mut self, c: &mut dyn Carrier, ethernet: &[u8]) {
        self.counters.frames_out = self.counters.frames_out.wrapping_add(1);
        self.counters.bytes_out = self.counters.bytes_out.wrapping_add(ethernet.len() as u64);
        c.deliver(self.id, ethernet);
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
    /// Revision of the configuration.
    pub revision: u64,
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
        revision: 0,
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
            view.revision = config.revision;
            view.rules = config.rules.into();
            view.addresses = config.addresses.as_slice().into();
            view.specialists = config.specialists;
        }
    }
    view
}
