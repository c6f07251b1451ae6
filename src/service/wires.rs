//! What the node sends through: underlay sockets and taps, with the batch of datagrams between.
//!
//! A datagram is copied into the batch, a frame is written at once. Neither waits: what finds no
//! room is dropped and counted. The batch leaves when it is full, when a source is drained, and
//! before a socket is closed.

use core::mem::ManuallyDrop;
use std::net::SocketAddr;

use super::link::Links;
use super::networks::Port;
use crate::base::NetworkId;
use crate::node::{Outbox, SocketId};
use crate::os;
use crate::os::udp::{SendBatch, Socket};

/// Datagrams that were too long for their path, remembered until the node hears of them.
const TOO_BIG_MAX: usize = 8;

/// What was lost on the way out.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Losses {
    /// No room in a socket's buffer.
    pub(super) send_full: u64,
    /// The system refused a datagram.
    pub(super) send_failed: u64,
    /// No room in a tap's queue, or the device is down.
    pub(super) tap_full: u64,
    /// The system refused a frame.
    pub(super) tap_failed: u64,
}

/// Sockets and taps. They last as long as the process: what the node has them as, an [`Outbox`],
/// would bring the end of them all.
pub(super) struct Wires {
    pub(super) links: ManuallyDrop<Links<Socket>>,
    /// By slot, which is the number of the tap's token.
    pub(super) ports: ManuallyDrop<Vec<Option<Port>>>,
    pub(super) losses: Losses,
    /// Errno of the last datagram that the system refused.
    pub(super) last_refusal: Option<os::Error>,
    batch: ManuallyDrop<SendBatch>,
    too_big: heapless::Vec<SocketAddr, TOO_BIG_MAX>,
}

impl Wires {
    /// Nothing open; at most so many sockets and networks.
    pub(super) fn new(sockets: usize, networks: usize) -> Self {
        let mut ports = Vec::with_capacity(networks);
        for _ in 0..networks.min(usize::from(u16::MAX)) {
            ports.push(None);
        }
        Self {
            links: ManuallyDrop::new(Links::new(sockets)),
            ports: ManuallyDrop::new(ports),
            losses: Losses::default(),
            last_refusal: None,
            batch: ManuallyDrop::new(SendBatch::new()),
            too_big: heapless::Vec::new(),
        }
    }

    /// All networks, by slot.
    pub(super) fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> u16 {
        u16::try_from(self.ports.len()).unwrap_or(u16::MAX)
    }

    /// The network in a slot.
    pub(super) fn id_at(&self, slot: u16) -> Option<NetworkId> {
        self.port_at(slot).map(|port| port.id)
    }

    /// The slot of a network.
    pub(super) fn slot_of(&self, id: NetworkId) -> Option<u16> {
        (0..self.slots()).find(|slot| self.id_at(*slot) == Some(id))
    }

    /// The port of a network.
    pub(super) fn port(&self, id: NetworkId) -> Option<&Port> {
        self.ports().find(|port| port.id == id)
    }

    /// The port in a slot.
    #[inline(never)]
    pub(super) fn port_at(&self, slot: u16) -> Option<&Port> {
        self.ports.get(usize::from(slot))?.as_ref()
    }

    /// The port in a slot, to be changed.
    #[inline(never)]
    pub(super) fn port_mut(&mut self, slot: u16) -> Option<&mut Port> {
        self.ports.get_mut(usize::from(slot))?.as_mut()
    }

    /// Hands the batch to the system.
    pub(super) fn flush(&mut self) {
        let Self {
            batch,
            losses,
            too_big,
            last_refusal,
            ..
        } = self;
        batch.flush(|to, error| match error.errno {
            libc::EAGAIN | libc::ENOBUFS => losses.send_full = losses.send_full.wrapping_add(1),
            libc::EMSGSIZE => {
                // Eight different ones in one batch are enough; the next batch finds the rest.
                if !too_big.contains(&to) {
                    let _ = too_big.push(to);
                }
            }
            _ => {
                losses.send_failed = losses.send_failed.wrapping_add(1);
                *last_refusal = Some(error);
            }
        });
    }

    /// A destination that a datagram was too long for, each once.
    pub(super) fn take_too_big(&mut self) -> Option<SocketAddr> {
        self.too_big.pop()
    }
}

impl Outbox for Wires {
    fn datagram(&mut self, local: SocketId, to: SocketAddr, parts: [&[u8]; 2], ttl: Option<u8>) {
        let Some(link) = self.links.get(local) else {
            self.losses.send_failed = self.losses.send_failed.wrapping_add(1);
            return;
        };
        if self.batch.push(&link.socket, to, parts, ttl) {
            return;
        }
        self.flush();
        if let Some(link) = self.links.get(local)
            && !self.batch.push(&link.socket, to, parts, ttl)
        {
            self.losses.send_failed = self.losses.send_failed.wrapping_add(1);
        }
    }

    fn frame(&mut self, network: NetworkId, ethernet: &[u8]) {
        // At most some dozens of networks: a walk over the slots costs less than a hash.
        let Some(tap) = self.port(network).and_then(Port::tap) else {
            self.losses.tap_full = self.losses.tap_full.wrapping_add(1);
            return;
        };
        match tap.write_frame(ethernet) {
            Ok(()) => {}
            Err(error) if matches!(error.errno, libc::EAGAIN | libc::EIO | libc::ENOBUFS) => {
                self.losses.tap_full = self.losses.tap_full.wrapping_add(1);
            }
            Err(_) => self.losses.tap_failed = self.losses.tap_failed.wrapping_add(1),
        }
    }
}
