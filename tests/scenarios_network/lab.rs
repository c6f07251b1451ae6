//! Members, their root and their controller.

use zt::base::NetworkId;
use zt::node::DropReason;
use zt::node::network::NetworkStatus;
use zt::wire::credential::{Bundle, Records};
use zt::wire::verb::Verb;

use crate::sim::controller::{Controller, com, written};
use crate::sim::scripted::Scripted;
use crate::sim::{World, at, ipv6, planet};

pub(crate) const IPV6: u16 = 0x86dd;

pub(crate) const C: usize = 40;

pub(crate) const C_PLACE: &str = "192.0.2.7:9993";

pub(crate) const MINUTE: u64 = 60_000;

/// A root, members that have not joined yet, a controller that the root knows, and a private
/// network in which all members have an address.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) c: Controller,
    pub(crate) id: NetworkId,
    pub(crate) tag: u8,
}

impl Lab {
    pub(crate) fn new(members: usize) -> Self {
        let mut world = World::new(planet(&[(0, at("192.0.2.1:9993"))]));
        world.add(0, &["192.0.2.1:9993"]);
        for n in 1..=members {
            // Each behind a network of its own: roots let in one new node per network at a time.
            world.add(n, &[&format!("203.{n}.113.1:9993")]);
        }
        let mut c = Controller::new(C, C_PLACE);
        let id = c.create(1);
        for n in 1..=members {
            c.authorise(&world, id, n, Some(&format!("10.1.0.{n}/24")));
        }
        let all = |w: &World, _: &Controller| (1..=members).all(|n| w.is_online(n));
        assert!(c.serve_until(&mut world, 20_000, all));
        c.meet(&mut world, 0);
        Self {
            world,
            c,
            id,
            tag: 0,
        }
    }

    /// The same with everybody in.
    pub(crate) fn joined(members: usize) -> Self {
        let mut lab = Self::new(members);
        for n in 1..=members {
            lab.join(n);
        }
        for n in 1..=members {
            assert!(lab.comes(n, NetworkStatus::Ok, 5_000), "{n} is let in");
        }
        lab
    }

    pub(crate) fn join(&mut self, host: usize) {
        self.world.join(host, self.id);
    }

    pub(crate) fn serve(&mut self, ms: u64) {
        self.c.serve(&mut self.world, ms);
    }

    pub(crate) fn status(&self, host: usize) -> NetworkStatus {
        let view = self.world.hosts[host].node.network(self.id);
        view.expect("joined").status
    }

    pub(crate) fn name(&self, host: usize) -> String {
        let view = self.world.hosts[host].node.network(self.id);
        view.expect("joined").name.to_owned()
    }

    /// The status is reached within this time.
    pub(crate) fn comes(&mut self, host: usize, status: NetworkStatus, ms: u64) -> bool {
        let id = self.id;
        self.c.serve_until(&mut self.world, ms, |w, _| {
            let view = w.hosts[host].node.network(id);
            view.is_some_and(|v| v.status == status)
        })
    }

    pub(crate) fn passes(&mut self, from: usize, to: usize) -> bool {
        self.passes_in(self.id, from, to)
    }

    /// A unicast frame arrives within two seconds.
    pub(crate) fn passes_in(&mut self, id: NetworkId, from: usize, to: usize) -> bool {
        self.tag = self.tag.wrapping_add(1);
        let payload = ipv6(self.tag, 60 + usize::from(self.tag));
        self.world.hosts[to].frames.clear();
        self.world.unicast(from, to, id, IPV6, &payload);
        self.c.serve_until(&mut self.world, 2_000, |w, _| {
            let mut frames = w.hosts[to].frames.iter();
            frames.any(|(network, frame)| *network == id && frame.ends_with(&payload))
        })
    }

    pub(crate) fn drops(&self, host: usize, reason: DropReason) -> u64 {
        let view = self.world.hosts[host].node.network(self.id);
        view.expect("joined").counters.drops(reason)
    }

    pub(crate) fn all_drops(&self, host: usize) -> u64 {
        self.world.hosts[host].node.stats().drops_total()
    }

    /// Wall clock in ms.
    pub(crate) fn wall(&self) -> u64 {
        self.world.clock().wall.as_ms()
    }

    /// A scripted peer that `host` knows, and that is a member as far as its certificate goes.
    pub(crate) fn member(&mut self, host: usize, n: usize) -> (Scripted, Vec<u8>) {
        let place = format!("192.0.2.{n}:9993");
        let mut peer = Scripted::new(&self.world, host, n, &place);
        peer.meet(&mut self.world, host);
        let own = peer.secret.identity;
        let times = (self.wall(), self.c.net(self.id).window);
        let com = com(&self.c.secret, self.id, &own, times, true);
        (peer, com)
    }

    /// A FRAME of that peer to `host`; was it delivered?
    pub(crate) fn frame_of(&mut self, peer: &mut Scripted, host: usize) -> bool {
        self.tag = self.tag.wrapping_add(1);
        let body = ipv6(self.tag, 100);
        let mut payload = self.id.to_bytes().to_vec();
        payload.extend_from_slice(&IPV6.to_be_bytes());
        payload.extend_from_slice(&body);
        self.world.hosts[host].frames.clear();
        peer.say(&mut self.world, host, Verb::Frame, &payload);
        let frames = &self.world.hosts[host].frames;
        frames.iter().any(|(_, frame)| frame.ends_with(&body))
    }

    /// Makes the peer a member in the eyes of `host`.
    pub(crate) fn admit(&mut self, peer: &mut Scripted, host: usize, com: &[u8]) {
        let payload = bundle(com, &[]);
        peer.say(&mut self.world, host, Verb::NetworkCredentials, &payload);
        assert!(self.frame_of(peer, host), "a member's frame passes");
    }
}

/// A NETWORK_CREDENTIALS of a certificate and tags.
pub(crate) fn bundle(com: &[u8], tags: &[Vec<u8>]) -> Vec<u8> {
    let bytes = tags.concat();
    let bundle = Bundle {
        com: Some(com),
        tags: Records {
            count: tags.len() as u16,
            bytes: &bytes,
        },
        ..Bundle::default()
    };
    written(4_096, |w| bundle.write(w))
}

pub(crate) fn gaps(times: &[u64]) -> Vec<u64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}
