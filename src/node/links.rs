//! The sockets below us, and what is done when they or the ways behind them change: whoever may
//! have lost us is asked at once (node 2.5, 5.4).

use core::net::SocketAddr;

use super::io::{Out, SocketId};
use super::peer::Contact;
use super::policy;
use super::record::{Addresses, Recalled};
use super::state::Core;
use alloc::boxed::Box;

impl Core {
    /// The machine slept, or the underlay moved: nothing is certain any more.
    pub(crate) fn moved(&mut self, out: &mut Out<'_>) {
        self.stats.moves = self.stats.moves.wrapping_add(1);
        self.reset_paths(out, None);
        self.each_contact(&Contact::start_over);
        self.hurry_upstreams();
    }

    /// Something changed that may have brought back who does not answer.
    pub(crate) fn stirred(&mut self) {
        let silent = |core: &Self| {
            core.topology.upstreams().iter().any(|address| {
                let contact = core.peers.get(address).and_then(|p| p.contact.as_ref());
                contact.is_some_and(|c| c.asked.is_some() || !c.answering)
            })
        };
        if silent(self) && self.stir_gate.pass(self.now.mono, policy::STIR_MS) {
            self.hurry_upstreams();
        }
    }

    /// All upstreams are asked at the next timeout, which is now.
    pub(crate) fn hurry_upstreams(&mut self) {
        let now = self.now.mono;
        self.stats.hurries = self.stats.hurries.wrapping_add(1);
        self.each_contact(&|contact| contact.hurry(now));
        if self.seeds_next.is_some() {
            self.seeds_next = Some(now);
        }
    }

    pub(crate) fn socket_up(&mut self, socket: SocketId, local: SocketAddr) {
        let at = usize::from(socket.0);
        if at >= self.limits.sockets {
            return;
        }
        if self.sockets.len() <= at {
            self.sockets.resize(at + 1, None);
        }
        if let Some(entry) = self.sockets.get_mut(at) {
            *entry = Some(local);
        }
        self.no_socket = None;
        self.hurry_upstreams();
        // Who was reached from another socket, or could not be, may be now.
        let now = self.now.mono;
        let mut at = 0;
        while let Some((slot, ..)) = self.peers.next_from(at) {
            at = slot.index() + 1;
            let Some(peer) = self.peers.at_mut(slot) else {
                continue;
            };
            peer.hinted = None;
            if let Some(recalled) = &mut peer.recalled {
                recalled.hurry(now);
                self.rearm(slot);
            }
        }
    }

    pub(crate) fn socket_down(&mut self, socket: SocketId) {
        let now = self.now.mono;
        if let Some(entry) = self.sockets.get_mut(usize::from(socket.0)) {
            *entry = None;
        }
        self.surfaces.forget_socket(socket);
        let mut at = 0;
        while let Some((slot, address, _)) = self.peers.next_from(at) {
            at = slot.index() + 1;
            let mut lost = Addresses::new();
            while let Some(path) = self.peers.at_mut(slot).and_then(|peer| {
                let gone = peer.paths.iter().position(|p| p.ends.local == socket)?;
                Some(peer.paths.remove(gone))
            }) {
                let _ = lost.push(path.ends.remote);
                self.path_down(address, &path);
            }
            // It goes on sending to where we were until it hears from us.
            if let Some(peer) = self.peers.at_mut(slot)
                && !peer.upstream
                && !lost.is_empty()
                && peer.paths.is_empty()
                && (peer.is_active(now) || peer.has_trust(now))
            {
                peer.recalled = Some(Box::new(Recalled::new(lost, now.after(1))));
                self.rearm(slot);
            }
        }
        if self.sockets.iter().all(Option::is_none) {
            // Not in this call: a socket may be about to take its place.
            self.no_socket = Some(now.after(1));
        }
        self.hurry_upstreams();
    }

    /// Without a socket nobody can answer.
    pub(crate) fn notice_no_socket(&mut self) {
        if self.no_socket.is_none_or(|at| at > self.now.mono) {
            return;
        }
        self.no_socket = None;
        self.each_contact(&|contact| {
            contact.start_over();
            contact.answering = false;
        });
        self.update_online();
    }

    /// What is known of each upstream changes, and with it when it is asked.
    fn each_contact(&mut self, act: &dyn Fn(&mut Contact)) {
        let mut n = 0;
        while let Some(address) = self.topology.upstreams().get(n).copied() {
            n += 1;
            let Some(slot) = self.peers.find(&address) else {
                continue;
            };
            if let Some(contact) = self.peers.at_mut(slot).and_then(|p| p.contact.as_mut()) {
                act(contact);
            }
            self.rearm(slot);
        }
    }
}
