//! Worlds and upstreams (node 3, wire 11).
//!
//! Caps: one planet, `Limits::moons` moons held or wanted. Only the owner (orbit) and those who
//! hold the planet's key fill it.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::base::{Address, sorted};
use crate::crypto::sign;
use crate::wire::identity::Identity;
use crate::wire::inet;
use crate::wire::world::{self, RootView, World, WorldBuf, WorldKind};

/// A moon that we orbit.
pub(crate) struct Moon {
    pub(crate) id: u64,
    pub(crate) seed: Option<Address>,
    pub(crate) world: Option<WorldBuf>,
}

pub(crate) struct Topology {
    me: Address,
    planet: WorldBuf,
    moons: Vec<Moon>,
    moons_max: usize,
    /// Sorted by address, without ourselves.
    upstreams: Vec<Address>,
    am_upstream: bool,
}

/// What a definition offered by somebody came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    Planet,
    Moon(u64),
    /// Known, older, not wanted, or signed by another key.
    Refused,
}

/// Part of a peer in the worlds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Root of the planet.
    Planet,
    /// Root of a moon.
    Moon,
    /// Anybody else.
    Leaf,
}

impl core::fmt::Display for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::Planet => "PLANET",
            Self::Moon => "MOON",
            Self::Leaf => "LEAF",
        })
    }
}

/// `offered` may replace `current` (wire 11.3).
pub fn supersedes(current: &World<'_>, offered: &World<'_>) -> bool {
    if (offered.id, offered.kind) != (current.id, current.kind)
        || offered.timestamp <= current.timestamp
    {
        return false;
    }
    let mut message = alloc::vec![0; world::SIGNED_MAX_LEN];
    let Ok(len) = offered.signed_message(&mut message) else {
        return false;
    };
    let Some(message) = message.get(..len) else {
        return false;
    };
    sign::verify(current.update_key, &[message], offered.signature).is_ok()
}

impl Topology {
    pub(crate) fn new(me: Address, planet: WorldBuf, moons_max: usize) -> Self {
        let mut topology = Self {
            me,
            planet,
            moons: Vec::new(),
            moons_max,
            upstreams: Vec::new(),
            am_upstream: false,
        };
        topology.rebuild();
        topology
    }

    pub(crate) fn planet(&self) -> &WorldBuf {
        &self.planet
    }

    pub(crate) fn moons(&self) -> &[Moon] {
        &self.moons
    }

    pub(crate) fn upstreams(&self) -> &[Address] {
        &self.upstreams
    }

    pub(crate) fn am_upstream(&self) -> bool {
        self.am_upstream
    }

    pub(crate) fn is_upstream(&self, address: Address) -> bool {
        self.upstreams.binary_search(&address).is_ok()
    }

    pub(crate) fn is_awaited_seed(&self, address: Address) -> bool {
        self.moons
            .iter()
            .any(|m| m.world.is_none() && m.seed == Some(address))
    }

    pub(crate) fn seeds(&self) -> impl Iterator<Item = Address> {
        self.moons
            .iter()
            .filter(|m| m.world.is_none())
            .filter_map(|m| m.seed)
    }

    fn worlds(&self) -> impl Iterator<Item = World<'_>> {
        let moons = self.moons.iter().filter_map(|m| m.world.as_ref());
        core::iter::once(&self.planet)
            .chain(moons)
            .map(WorldBuf::view)
    }

    /// Entry `n` of those for one root, all worlds together.
    #[inline(never)]
    fn root(&self, address: Address, mut n: usize) -> Option<RootView<'_>> {
        for world in self.worlds() {
            for root in world.roots().filter(|r| r.identity.address == address) {
                if n == 0 {
                    return Some(root);
                }
                n -= 1;
            }
        }
        None
    }

    fn entries(&self, address: Address) -> impl Iterator<Item = RootView<'_>> {
        (0..).map_while(move |n| self.root(address, n))
    }

    pub(crate) fn role(&self, address: Address) -> Role {
        let mut planet = self.planet.view().roots();
        if planet.any(|r| r.identity.address == address) {
            Role::Planet
        } else if self.is_upstream(address) {
            Role::Moon
        } else {
            Role::Leaf
        }
    }

    /// Identities of all upstreams.
    pub(crate) fn identity(&self, address: Address) -> Option<Identity> {
        Some(self.root(address, 0)?.identity)
    }

    /// Number `n` of an upstream's stable endpoints, all worlds together.
    pub(crate) fn endpoint(&self, address: Address, mut n: usize) -> Option<SocketAddr> {
        for root in self.entries(address) {
            for endpoint in root.endpoints() {
                if n == 0 {
                    return Some(endpoint);
                }
                n -= 1;
            }
        }
        None
    }

    pub(crate) fn endpoints(&self, address: Address) -> impl Iterator<Item = SocketAddr> {
        (0..).map_while(move |n| self.endpoint(address, n))
    }

    /// An upstream is met only at its stable endpoints' IP addresses, any port; one that is
    /// listed anywhere without endpoints, everywhere (node 3.1).
    pub(crate) fn allows(&self, address: Address, at: &SocketAddr) -> bool {
        let (mut listed, mut free, mut found) = (false, false, false);
        for root in self.entries(address) {
            listed = true;
            let mut any = false;
            for endpoint in root.endpoints() {
                any = true;
                found |= inet::same_ip(&endpoint, at);
            }
            free |= !any;
        }
        !listed || free || found
    }

    /// Judges one definition that came from `from` in OK(HELLO).
    pub(crate) fn offer(&mut self, from: Address, offered: &World<'_>) -> Offer {
        let from_upstream = self.is_upstream(from);
        match offered.kind {
            WorldKind::Planet => {
                if !from_upstream || !supersedes(&self.planet.view(), offered) {
                    return Offer::Refused;
                }
                let Ok(copy) = WorldBuf::new(offered.bytes()) else {
                    return Offer::Refused;
                };
                self.planet = copy;
                self.rebuild();
                Offer::Planet
            }
            WorldKind::Moon => {
                let Some(moon) = self.moons.iter_mut().find(|m| m.id == offered.id) else {
                    return Offer::Refused;
                };
                let take = match &moon.world {
                    Some(held) => from_upstream && supersedes(&held.view(), offered),
                    None => {
                        moon.seed == Some(from)
                            && offered.roots().any(|r| r.identity.address == from)
                    }
                };
                if !take {
                    return Offer::Refused;
                }
                let Ok(copy) = WorldBuf::new(offered.bytes()) else {
                    return Offer::Refused;
                };
                moon.world = Some(copy);
                self.rebuild();
                Offer::Moon(offered.id)
            }
        }
    }

    /// Starts to orbit a moon. `false`: no room, or nothing to start from.
    pub(crate) fn orbit(
        &mut self,
        id: u64,
        seed: Option<Address>,
        world: Option<WorldBuf>,
    ) -> bool {
        if let Some(moon) = self.moons.iter_mut().find(|m| m.id == id) {
            moon.seed = seed.or(moon.seed);
            return true;
        }
        if self.moons.len() >= self.moons_max || (seed.is_none() && world.is_none()) {
            return false;
        }
        self.moons.push(Moon { id, seed, world });
        self.rebuild();
        true
    }

    pub(crate) fn deorbit(&mut self, id: u64) -> bool {
        let before = self.moons.len();
        self.moons.retain(|m| m.id != id);
        self.rebuild();
        self.moons.len() != before
    }

    fn rebuild(&mut self) {
        let mut all = Vec::new();
        for world in self.worlds() {
            for root in world.roots() {
                sorted::insert(&mut all, root.identity.address);
            }
        }
        self.am_upstream = all.contains(&self.me);
        all.retain(|a| *a != self.me);
        self.upstreams = all;
    }
}
