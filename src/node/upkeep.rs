//! What is done for a peer when its deadline comes: contact, checks of silent paths, keep-alives,
//! forgetting (node 3.2, 4.5, 5.2, 5.3).

use super::io::{Ends, Out};
use super::path::Path;
use super::policy;
use super::state::Core;
use crate::base::{Limits, Slot};

impl Core {
    /// A peer's deadline has come: forget it, check its paths, keep them open.
    pub(crate) fn peer_due(&mut self, out: &mut Out<'_>, slot: Slot) {
        let now = self.now.mono;
        let pace = self.pace();
        let beat = self.beat();
        let round = beat.from(now.after(self.jitter(pace.peer_round_ms)));
        let keeps_mapping = self.keeps_mapping(slot);
        let Some(peer) = self.peers.at_mut(slot) else {
            self.timers.clear(slot.index());
            return;
        };
        let address = peer.identity.address;
        let silent = now.since(peer.heard.unwrap_or(peer.created));
        if !peer.upstream && peer.contact.is_none() && silent >= policy::FORGET_MS {
            self.remove_peer(address);
            return;
        }
        let keeps = peer.is_active(now) || (peer.upstream && keeps_mapping);
        let awake = keeps
            && peer
                .paths
                .iter()
                .any(|p| !p.is_expired(now) && p.keepalive_at(now, pace, beat) <= now);
        let soon = if awake {
            now.after(policy::ROUND_EARLY_MS)
        } else {
            now
        };
        // Contact: silence turns into "does not answer"; next HELLO.
        let mut ask = false;
        let mut offline = false;
        if let Some(contact) = peer.contact.as_mut() {
            if contact.gives_up_at().is_some_and(|at| at <= now) {
                contact.answering = false;
                offline = true;
            }
            ask = contact.next <= if contact.asked.is_none() { soon } else { now };
        }
        if offline {
            self.update_online();
        }
        if ask {
            self.ask_contact(out, slot);
        }
        self.recall(out, slot);
        self.check_paths(out, slot);
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        let active = peer.is_active(now);
        if active && !peer.upstream && peer.round.is_none_or(|at| soon >= at) {
            // `round` holds the next one's time, jitter included.
            peer.round = Some(round);
            self.drop_expired(slot);
            self.each_path(out, slot, &mut |core, out, ends| {
                core.send_hello(out, slot, ends);
            });
        }
        let keeps = self
            .peers
            .at(slot)
            .is_some_and(|p| p.is_active(now) || (p.upstream && keeps_mapping));
        if keeps {
            self.each_path(out, slot, &mut |core, out, ends| {
                let due = core
                    .peers
                    .at(slot)
                    .and_then(|p| p.path(ends))
                    .is_some_and(|p| p.keepalive_at(now, pace, beat) <= now);
                if due {
                    core.contact(out, slot, ends);
                }
            });
        }
        self.rearm(slot);
    }

    /// Does something with every path that is not expired.
    fn each_path(
        &mut self,
        out: &mut Out<'_>,
        slot: Slot,
        act: &mut dyn FnMut(&mut Self, &mut Out<'_>, &Ends),
    ) {
        let now = self.now.mono;
        for i in 0..Limits::PATHS_MAX {
            let path = self.peers.at(slot).and_then(|p| p.paths.get(i));
            let Some(path) = path.filter(|p| !p.is_expired(now)) else {
                continue;
            };
            let ends = path.ends;
            act(self, out, &ends);
        }
    }

    fn drop_expired(&mut self, slot: Slot) {
        let now = self.now.mono;
        while let Some((address, path)) = self.peers.at_mut(slot).and_then(|peer| {
            // A path in doubt after a reset has no stamp: its last word counts.
            let dead =
                |p: &Path| now.since(p.confirmed.unwrap_or(p.heard)) >= policy::PATH_EXPIRY_MS;
            let at = peer.paths.iter().position(dead)?;
            Some((peer.identity.address, peer.paths.remove(at)))
        }) {
            self.path_down(address, &path);
        }
    }

    /// Silence after sending: ECHO over all paths; silence after that: the path has failed
    /// until it speaks again (node 5.2).
    fn check_paths(&mut self, out: &mut Out<'_>, slot: Slot) {
        let now = self.now.mono;
        let mut probe = false;
        let Some(peer) = self.peers.at_mut(slot) else {
            return;
        };
        for path in &mut peer.paths {
            let Some(sent) = path.unanswered else {
                continue;
            };
            match path.probed {
                None if now.since(sent) >= policy::UNANSWERED_MS => {
                    path.probed = Some(now);
                    path.probes = 1;
                    probe = true;
                }
                Some(since) if !path.failed => {
                    if now.since(since) >= policy::PROBE_MS {
                        path.failed = true;
                    } else if now.since(since) >= u64::from(path.probes) * policy::PROBE_REPEAT_MS {
                        path.probes += 1;
                        probe = true;
                    }
                }
                Some(since) if now.since(since) >= policy::FAILED_PROBE_MS => {
                    path.probed = Some(now);
                    probe = true;
                }
                _ => {}
            }
        }
        if probe {
            self.each_path(out, slot, &mut |core, out, ends| {
                core.contact(out, slot, ends);
            });
        }
    }
}
