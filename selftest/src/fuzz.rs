//! `--fuzz SECONDS`: strangers' bytes at everything that reads them. Each target takes any bytes;
//! whatever it does but panic is right. Inputs are mutations of what real nodes say, so that
//! they get past the first checks; the same seed gives the same inputs.

use std::io::Write;

use zt::base::{Limits, Mono, NetworkId, Now, UnixMs};
use zt::crypto::agree::agree;
use zt::crypto::armor::{self, SessionKeys};
use zt::crypto::identity::generate;
use zt::crypto::rng::Rng;
use zt::node::{Config, LinkChange, Node, Outbox, SocketId};
use zt::wire::cursor::Reader;
use zt::wire::dict::{Dialect, Dict};
use zt::wire::frames::{ETHERNET_LEN, HEADROOM};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::packet::{self, HEADER_LEN, Suite, VERB_AT};
use zt::wire::verb::Verb;
use zt::wire::world::{DEFAULT_PLANET, World};
use zt::wire::{inet, lz4, verb};

/// Something that reads bytes.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Lab, &[u8]),
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// A node under fire, its clock, and a member that may say anything to it, well sealed.
pub(crate) struct Lab {
    node: Node,
    keys: SessionKeys,
    peer: SecretIdentity,
    rng: Rng,
    ms: u64,
}

struct Nowhere;

impl Outbox for Nowhere {
    fn datagram(&mut self, _: SocketId, _: std::net::SocketAddr, _: [&[u8]; 2], _: Option<u8>) {}

    fn frame(&mut self, _: NetworkId, _: &[u8]) {}
}

fn network() -> NetworkId {
    NetworkId::parse("ff0b000000000001").expect("an id")
}

impl Lab {
    pub(crate) fn new() -> Self {
        let mut rng = Rng::new([3; 32]);
        let me = generate(&mut rng).expect("memory for the digest");
        let peer = generate(&mut rng).expect("memory for the digest");
        let keys = SessionKeys::new(&agree(&peer, &me.identity).expect("keys"));
        let config = Config {
            secret: me,
            planet: DEFAULT_PLANET,
            limits: Limits::small(),
            seed: [4; 32],
            aes: true,
            relay: true,
        };
        let mut lab = Self {
            node: Node::new(config, clock(1 << 33)).expect("a planet"),
            keys,
            peer,
            rng,
            ms: 1 << 33,
        };
        let local = "10.0.0.1:9993".parse().expect("an address");
        let up = LinkChange::SocketUp {
            socket: SocketId(0),
            local,
        };
        lab.node.handle_link(clock(lab.ms), up, &mut Nowhere);
        lab.node
            .join(clock(lab.ms), network(), &mut Nowhere)
            .expect("room");
        // The member is known from a stored record.
        let mut record = vec![2];
        let mut identity = [0; Identity::LEN];
        let mut writer = zt::wire::cursor::Writer::new(&mut identity);
        lab.peer.identity.write(&mut writer).expect("room");
        record.extend_from_slice(&identity);
        record.extend_from_slice(&[0, 12, 0, 1, 0, 14, 0, 1, 0, 0]);
        lab.node
            .import_peer(clock(lab.ms), &record, &mut Nowhere)
            .expect("a record");
        lab
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let from = "10.0.1.1:9993".parse().expect("an address");
        let mut bytes = bytes.to_vec();
        self.node
            .handle_datagram(clock(self.ms), SocketId(0), from, &mut bytes, &mut Nowhere);
        while self.node.poll_event().is_some() {}
        if self.rng.below(16) == 0 {
            self.ms += u64::from(self.rng.below(3_000));
            self.node.handle_timeout(clock(self.ms), &mut Nowhere);
        }
    }
}

fn clock(ms: u64) -> Now {
    Now {
        mono: Mono::from_ms(ms),
        wall: UnixMs::from_ms(ms),
        wall_ok: true,
    }
}

/// Everything that is fuzzed.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "datagram",
        run: |lab, data| lab.deliver(data),
        seeds: || {
            let mut head = vec![7; 200];
            head[13..18].copy_from_slice(&[0x12, 0x34, 0x56, 0x78, 0x9a]);
            let mut piece = head.clone();
            piece[13..16].copy_from_slice(&[0xff, 0x21, 0]);
            vec![head, piece, vec![1; 13], vec![2; 4]]
        },
    },
    Target {
        // First byte: verb; the rest: payload of a packet whose MAC is right.
        name: "sealed packet",
        run: |lab, data| {
            let Some((verb, payload)) = data.split_first() else {
                return;
            };
            let mut bytes = vec![0; HEADER_LEN];
            bytes[VERB_AT] = *verb;
            bytes.extend_from_slice(payload);
            let id = zt::base::PacketId::new(lab.rng.next_u64());
            let (to, from) = (lab.node.address(), lab.peer.identity.address);
            if packet::write_header(&mut bytes, id, to, from, 0).is_ok() {
                let suite = [Suite::Poly1305, Suite::Salsa, Suite::AesGmacSiv];
                armor::seal(&lab.keys, suite[usize::from(verb >> 5) % 3], &mut bytes);
                lab.deliver(&bytes);
            }
        },
        seeds: || {
            let mut seeds = Vec::new();
            for verb in Verb::ALL {
                let mut seed = vec![*verb as u8];
                seed.extend_from_slice(&network().to_bytes());
                seed.extend_from_slice(&[2, 0, 0, 0, 9, 0x33, 0x33, 0xff, 1, 2, 3, 0, 0, 0, 0]);
                seed.extend_from_slice(&[0x60; 80]);
                seeds.push(seed);
            }
            seeds
        },
    },
    Target {
        name: "frame from the tap",
        run: |lab, data| {
            let mut slot = vec![0; HEADROOM];
            slot.extend_from_slice(data);
            let now = clock(lab.ms);
            lab.node
                .handle_frame(now, network(), &mut slot, data.len(), &mut Nowhere);
        },
        seeds: || {
            let mut arp = vec![0xff; ETHERNET_LEN];
            arp[12..].copy_from_slice(&[8, 6]);
            arp.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
            arp.resize(60, 11);
            vec![arp, vec![0x33; 100]]
        },
    },
    Target {
        name: "world",
        run: |_, data| {
            if let Ok((world, used)) = World::parse(data) {
                assert!(used <= data.len() && world.roots().count() <= 4);
                assert!(world.roots().all(|r| r.endpoints().count() <= 32));
            }
        },
        seeds: || vec![DEFAULT_PLANET.to_vec()],
    },
    Target {
        name: "verbs",
        run: |_, data| {
            for number in 0..32 {
                let _ = verb::parse(number, data);
            }
        },
        seeds: || vec![vec![0; 120], (0..200).collect()],
    },
    Target {
        name: "identity, address, LZ4, dictionary",
        run: |_, data| {
            let _ = Identity::read(&mut Reader::new(data));
            let _ = std::str::from_utf8(data).map(Identity::parse);
            let _ = std::str::from_utf8(data).map(inet::parse_slash);
            let _ = inet::read(&mut Reader::new(data));
            let _ = lz4::decompress(data, &mut [0; 10_000]);
            for dialect in [Dialect::Modern, Dialect::Old] {
                let _ = Dict::new(data, dialect).number("ts", 0);
            }
        },
        seeds: || {
            vec![
                b"v=7\nnwid=8056c2e21c000001\nts=18b\nn=a\\eb\\\\".to_vec(),
                b"10.0.0.1/9993".to_vec(),
                vec![0x1f, 0, 1, 0, 8, 0x50, 0, 0, 0, 0, 0],
            ]
        },
    },
];

/// A changed copy of a seed.
fn mutate(rng: &mut Rng, seed: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(data.len().max(1) as u32) as usize;
        match rng.below(6) {
            0 => data.truncate(at),
            1 => data.resize(data.len() + rng.below(200) as usize, rng.next_u32() as u8),
            2 => data.extend_from_within(at..),
            _ if data.is_empty() => {}
            3 => data[at] ^= 1 << rng.below(8),
            4 => data[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize],
            _ => data[at] = rng.next_u32() as u8,
        }
        data.truncate(11_000);
    }
    data
}

/// Runs one target with so many inputs.
pub(crate) fn run_target(target: &Target, lab: &mut Lab, rng: &mut Rng, inputs: u32) {
    let seeds = (target.seeds)();
    for _ in 0..inputs {
        let seed = &seeds[rng.below(seeds.len() as u32) as usize];
        (target.run)(lab, &mutate(rng, seed));
    }
}

/// All targets in turn until the time is up.
pub(crate) fn run(out: &mut dyn Write, seconds: u64) -> std::io::Result<()> {
    let watch = zt::os::clock::Stopwatch::start();
    let (mut lab, mut rng, mut inputs) = (Lab::new(), Rng::new([9; 32]), 0u64);
    while watch.elapsed_ns() < seconds.saturating_mul(1_000_000_000) {
        for target in TARGETS {
            run_target(target, &mut lab, &mut rng, 500);
            inputs += 500;
        }
    }
    let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    writeln!(out, "[fuzz] {inputs} inputs for: {}", names.join("; "))?;
    writeln!(out, "[fuzz] PASS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_survives_changed_seeds() {
        let (mut lab, mut rng) = (Lab::new(), Rng::new([1; 32]));
        for target in TARGETS {
            run_target(target, &mut lab, &mut rng, 5_000);
        }
        // The shots were no blanks: sealed packets got past authentication.
        assert!(lab.node.stats().rx_datagrams >= 9_000);
        let heard = lab
            .node
            .peer(lab.peer.identity.address, Mono::from_ms(lab.ms));
        assert!(heard.is_some_and(|p| p.received_ms.is_some()));
    }
}
