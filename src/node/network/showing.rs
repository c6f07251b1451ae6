//! Our credentials shown to others (network 3.8).
//!
//! Real nodes take one NETWORK_CREDENTIALS a second from a peer, whatever network it is about, and
//! drop the next ones unread. So a peer with whom we share several networks is shown all that is
//! due to it in one packet, and what comes up within the next second waits for the end of it.

use super::config::{Batch, Papers};
use super::member::Member;
use super::{Carrier, Network, Networks, like};
use crate::base::{Address, Mono, NetworkId, Table};
use crate::wire::credential::{Bundle, Records, write_bundles};
use crate::wire::cursor::Writer;
use crate::wire::multicast::Group;
use crate::wire::packet::{HEADER_LEN, PACKET_MAX, VERB_AT};
use crate::wire::verb::Verb;

/// A member is shown our credentials so often while we send to it…
const PUSH_MS: u64 = 500_000;
/// …and receivers take one packet of them in this time.
const GATE_MS: u64 = 1_000;
/// Pause between packets to one peer.
const NEXT_MS: u64 = 1_100;
/// Whoever was heard so lately learns of new tags and capabilities at once.
const RECENT_MS: u64 = 60_000;
/// So many members learn of that.
const RECENT_MAX: usize = 64;
/// End of the certificates and four counts.
const FRAME: usize = 9;
/// Room for the credentials in a packet, with some reserve.
const ROOM: usize = PACKET_MAX - HEADER_LEN - 64 - FRAME;
/// Networks in one packet.
const TOGETHER_MAX: usize = 32;

/// Why our credentials might be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Occasion {
    /// A frame is about to go there.
    Frame,
    /// Our groups are.
    Like,
    /// The other has refused a frame.
    Asked,
}

/// When each peer was sent credentials last.
///
/// Cap: `Limits::refusals`. Whoever we send frames to enters it; the longest unused goes, what is
/// owed to it is shown on the next occasion.
pub(crate) struct Showings {
    table: Table<Address, Showing>,
}

struct Showing {
    at: Mono,
    /// Something waits for the end of the pause.
    owing: bool,
}

impl Showings {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            table: Table::new(cap, seed),
        }
    }

    /// May `to` be sent a packet now? If not it is due at the end of the pause.
    fn pass(&mut self, to: Address, now: Mono) -> bool {
        match self.table.get_mut(&to) {
            Some(last) if now.since(last.at) < NEXT_MS => {
                last.owing = true;
                false
            }
            _ => true,
        }
    }

    fn sent(&mut self, to: Address, now: Mono, owing: bool) {
        if self.table.find(&to).is_none() {
            self.table.make_room(|s| s.at);
        }
        let _ = self.table.insert(to, Showing { at: now, owing });
    }

    fn due(&self, now: Mono) -> Option<Address> {
        let mut due = self
            .table
            .iter()
            .filter(|(_, s)| s.owing && s.at.after(NEXT_MS) <= now);
        due.next().map(|(to, _)| to)
    }

    /// The end of the first pause that somebody waits for.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let owing = self.table.values().filter(|s| s.owing);
        owing.map(|s| s.at.after(NEXT_MS)).min()
    }
}

impl Networks {
    /// Shows our credentials to a member if that is due. `false`: it is, at the end of a pause.
    pub(super) fn push(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        to: Address,
        occasion: Occasion,
    ) -> bool {
        let now = c.mono();
        if !self.owe(id, to, occasion, now) {
            return true;
        }
        if !self.showings.pass(to, now) {
            return false;
        }
        self.show(c, to);
        true
    }

    /// Tells a member our groups, all of them or the new ones, behind our credentials: without
    /// them it would not listen.
    pub(super) fn tell_groups(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        to: Address,
        new: Option<&[Group]>,
    ) {
        let later = !self.push(c, id, to, Occasion::Like);
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        if !later {
            like(c, to, id, new.unwrap_or(&network.groups));
        } else if let Some(member) = network.members.get_mut(to) {
            member.groups_owed = true;
        }
    }

    /// A peer of an earlier run can be reached again. Members forget each other when they restart,
    /// and it may be that no upstream is there to ask: each shows itself to the other. Who is on
    /// none of our networks ignores it.
    pub(crate) fn met_again(&mut self, c: &mut dyn Carrier, peer: Address) {
        let now = c.mono();
        let mut at = 0;
        while let Some((slot, id, network)) = self.networks.next_from(at) {
            at = slot.index() + 1;
            if network.announce.is_none() {
                continue;
            }
            let owed = self.owe(id, peer, Occasion::Like, now);
            let Some(network) = self.networks.get_mut(&id) else {
                continue;
            };
            match network.members.get_mut(peer).filter(|_| owed) {
                Some(member) => member.groups_owed = true,
                None => like(c, peer, id, &network.groups),
            }
        }
        if self.showings.pass(peer, now) {
            self.show(c, peer);
        }
    }

    /// Pauses are over.
    pub(super) fn show_due(&mut self, c: &mut dyn Carrier) {
        while let Some(to) = self.showings.due(c.mono()) {
            self.show(c, to);
        }
    }

    /// A configuration with other tags or capabilities is in force: members that talk to us
    /// learn it now.
    pub(super) fn push_to_recent(&mut self, c: &mut dyn Carrier, id: NetworkId) {
        let now = c.mono();
        let Some(network) = self.networks.get(&id) else {
            return;
        };
        let recent = |_, m: &Member| now.since(m.heard) < RECENT_MS && m.pushed.is_some();
        for to in network.members.heard_last(RECENT_MAX, &recent) {
            self.push(c, id, to, Occasion::Frame);
        }
    }

    /// Notes what `to` is to be shown of a network. `false`: nothing.
    fn owe(&mut self, id: NetworkId, to: Address, occasion: Occasion, now: Mono) -> bool {
        let Some(Network {
            config: Some(config),
            members,
            installed: Some(installed),
            ..
        }) = self.networks.get_mut(&id)
        else {
            return false;
        };
        let papers = &config.papers;
        if papers.is_empty() || (occasion == Occasion::Asked && papers.com.is_empty()) {
            return false;
        }
        let Some(member) = members.entry(to, now) else {
            return false;
        };
        let due = due(member.pushed, *installed, occasion, now);
        member.owed = due.or(member.owed);
        member.owed.is_some()
    }

    /// Sends `to` what it is owed, as much as goes into one packet.
    fn show(&mut self, c: &mut dyn Carrier, to: Address) {
        let now = c.mono();
        let Some(room) = self.scratch.get_mut(HEADER_LEN..HEADER_LEN + FRAME + ROOM) else {
            return;
        };
        let mut shown = Shown::new();
        let (len, owing) = pack(&self.networks, to, room, &mut shown);
        self.showings.sent(to, now, owing);
        // Else nothing is owed any more: the network was left, or has no credentials now.
        if let Some(packet) = self.scratch.get_mut(..HEADER_LEN + len).filter(|_| len > 0) {
            packet[VERB_AT] = Verb::NetworkCredentials as u8;
            c.send(to, packet, true);
        }
        for &(id, next) in &shown {
            let Some(network) = self.networks.get_mut(&id) else {
                continue;
            };
            let Some(member) = network.members.get_mut(to) else {
                continue;
            };
            member.pushed = Some(now);
            member.owed = next;
            if core::mem::take(&mut member.groups_owed) {
                like(c, to, id, &network.groups);
            }
        }
    }
}

/// Networks whose credentials are in a packet, each with the number of its next one.
type Shown = heapless::Vec<(NetworkId, Option<u8>), TOGETHER_MAX>;

/// Writes what `to` is owed; its length, and whether something is left for another packet.
fn pack(
    networks: &Table<NetworkId, Network>,
    to: Address,
    room: &mut [u8],
    shown: &mut Shown,
) -> (usize, bool) {
    let mut bundles: heapless::Vec<Bundle<'_>, TOGETHER_MAX> = heapless::Vec::new();
    let mut left = ROOM;
    let mut owing = false;
    for (id, network) in networks.iter() {
        let owed = network.members.get(to).and_then(|m| m.owed);
        let (Some(part), Some(config)) = (owed, &network.config) else {
            continue;
        };
        let (bundle, more) = config.papers.part(part);
        if bundle.len() > left || bundles.is_full() {
            owing = true;
            continue;
        }
        left -= bundle.len();
        let next = more.then(|| part.saturating_add(1));
        owing |= next.is_some();
        let _ = bundles.push(bundle);
        let _ = shown.push((id, next));
    }
    let mut writer = Writer::new(room);
    if bundles.is_empty() || write_bundles(&bundles, &mut writer).is_err() {
        shown.clear();
        return (0, false);
    }
    (writer.len(), owing)
}

/// Which packet of our credentials is due for a member: the first, or none.
fn due(pushed: Option<Mono>, installed: Mono, occasion: Occasion, now: Mono) -> Option<u8> {
    let Some(at) = pushed else {
        return Some(0);
    };
    let age = now.since(at);
    if age < GATE_MS {
        return None;
    }
    // Groups go to everybody once per minute, and each new certificate costs its receiver the
    // check of a signature: an old one will do for them.
    let newer = at <= installed && occasion != Occasion::Like;
    (newer || age >= PUSH_MS || occasion == Occasion::Asked).then_some(0)
}

impl Papers {
    pub(crate) fn is_empty(&self) -> bool {
        let batches = [&self.capabilities, &self.tags, &self.ownerships];
        self.com.is_empty() && batches.iter().all(|b| b.bytes.is_empty())
    }

    /// What packet number `part` of all credentials holds, each as full as it gets; the first has
    /// the certificate. Are there more?
    fn part(&self, part: u8) -> (Bundle<'_>, bool) {
        let mut at = 0u8;
        let mut room = ROOM.saturating_sub(self.com.len());
        let batches = [&self.capabilities, &self.tags, &self.ownerships];
        let mut records = [Records::default(); 3];
        let mut more = false;
        'all: for (batch, record) in batches.into_iter().zip(&mut records) {
            let mut start = 0;
            let mut end = 0;
            let mut count = 0;
            for &len in &batch.lengths {
                let len = len as usize;
                if len > room {
                    if at == part {
                        more = true;
                        *record = records_of(batch, start, end, count);
                        break 'all;
                    }
                    at = at.saturating_add(1);
                    room = ROOM;
                }
                if at == part && count == 0 {
                    start = end;
                }
                if at == part {
                    count += 1;
                }
                end += len;
                room = room.saturating_sub(len);
            }
            if at == part {
                *record = records_of(batch, start, end, count);
            }
        }
        let [capabilities, tags, ownerships] = records;
        let bundle = Bundle {
            com: (part == 0 && !self.com.is_empty()).then_some(&self.com[..]),
            capabilities,
            tags,
            revocations: Records::default(),
            ownerships,
        };
        (bundle, more)
    }
}

fn records_of(batch: &Batch, start: usize, end: usize, count: u16) -> Records<'_> {
    Records {
        count,
        bytes: batch.bytes.get(start..end).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::config::{self, AdHoc};
    use super::super::probe::Recorder;
    use super::*;
    use crate::base::Limits;
    use crate::wire::credential::{Com, Credential, Credentials, Qualifier, write_com};

    fn address(n: u64) -> Address {
        Address::new(n).unwrap()
    }

    const PEER: u64 = 2;

    struct Bench {
        c: Recorder,
        networks: Networks,
    }

    impl Bench {
        /// A member of `count` private networks, with a certificate for each.
        fn new(count: u64) -> Self {
            let c = Recorder::new(address(1), address(0xee));
            let networks = Networks::new(address(1), &Limits::small(), false, 7);
            let mut bench = Self { c, networks };
            for n in 1..=count {
                let id = NetworkId::new(0xcc_0000_0000 + n).unwrap();
                bench.networks.join(&mut bench.c, id, None).unwrap();
                bench.install(id, 1);
            }
            bench.c.sent.clear();
            bench
        }

        fn install(&mut self, id: NetworkId, timestamp: u64) {
            let made = NetworkId::new(0xff0a_0000_0000_0001).unwrap();
            let AdHoc::Yes(mut config) = config::ad_hoc(made, address(1)) else {
                panic!("an ad-hoc id");
            };
            config.public = false;
            config.timestamp = timestamp;
            let mut room = [0; 128];
            let mut writer = Writer::new(&mut room);
            let fields = [(0, timestamp, 10), (1, id.get(), 0), (2, 1, u64::MAX)];
            let fields = fields.map(|(id, value, max_delta)| Qualifier {
                id,
                value,
                max_delta,
            });
            write_com(&mut writer, &fields, None).unwrap();
            config.papers.com = writer.written().into();
            self.networks.install(&mut self.c, id, config);
        }

        fn ids(&self) -> Vec<NetworkId> {
            self.networks.networks.iter().map(|(id, _)| id).collect()
        }

        /// What went to the peer: of each packet of credentials the networks, of each list of
        /// groups the network.
        fn sent(&mut self) -> Vec<(Verb, Vec<NetworkId>)> {
            let sent = core::mem::take(&mut self.c.sent).into_iter();
            let to_peer = sent.filter(|s| s.0 == address(PEER));
            let networks = |verb: Verb, payload: &[u8]| match verb {
                Verb::NetworkCredentials => Credentials::new(payload)
                    .map(|c| match c {
                        Ok(Credential::Com(com)) => Com::network(&com).unwrap(),
                        other => panic!("{other:?}"),
                    })
                    .collect(),
                Verb::MulticastLike => {
                    let likes = crate::wire::multicast::likes(payload).unwrap();
                    let mut all: Vec<NetworkId> = likes.map(|l| l.0).collect();
                    all.dedup();
                    all
                }
                other => panic!("{other:?}"),
            };
            to_peer.map(|s| (s.1, networks(s.1, &s.2))).collect()
        }

        fn wait(&mut self, ms: u64) {
            self.c.now.mono = self.c.now.mono.after(ms);
            self.networks.handle_timeout(&mut self.c);
        }
    }

    #[test]
    fn what_is_owed_for_several_networks_goes_in_one_packet_and_groups_behind_it() {
        let mut bench = Bench::new(5);
        bench.networks.met_again(&mut bench.c, address(PEER));
        let sent = bench.sent();
        let ids = bench.ids();
        assert_eq!(sent.len(), 6);
        assert_eq!(sent[0], (Verb::NetworkCredentials, ids.clone()));
        let likes: Vec<NetworkId> = sent[1..].iter().flat_map(|s| s.1.clone()).collect();
        assert_eq!(likes, ids);
        // Nothing is left.
        bench.wait(NEXT_MS);
        assert_eq!(bench.sent(), []);
    }

    #[test]
    fn what_comes_up_in_the_pause_waits_for_its_end() {
        let mut bench = Bench::new(4);
        let [a, b, c, d] = bench.ids()[..] else {
            panic!("four networks");
        };
        let peer = address(PEER);
        let credentials = Verb::NetworkCredentials;
        assert!(bench.networks.push(&mut bench.c, a, peer, Occasion::Frame));
        assert_eq!(bench.sent(), [(credentials, [a].to_vec())]);
        bench.wait(200);
        for _ in 0..3 {
            assert!(!bench.networks.push(&mut bench.c, b, peer, Occasion::Frame));
        }
        bench.networks.tell_groups(&mut bench.c, c, peer, None);
        // Another peer has a pause of its own.
        let other = address(3);
        assert!(bench.networks.push(&mut bench.c, d, other, Occasion::Frame));
        assert_eq!(bench.sent(), []);
        let due = bench.c.now.mono.after(NEXT_MS - 200);
        assert_eq!(bench.networks.showings.deadline(), Some(due));
        bench.wait(NEXT_MS - 201);
        assert_eq!(bench.sent(), []);
        bench.wait(1);
        let groups = (Verb::MulticastLike, [c].to_vec());
        assert_eq!(bench.sent(), [(credentials, [b, c].to_vec()), groups]);
        assert_eq!(bench.networks.showings.deadline(), None);
    }

    #[test]
    fn a_network_that_was_left_in_the_pause_is_not_shown() {
        let mut bench = Bench::new(2);
        let [a, b] = bench.ids()[..] else {
            panic!("two networks");
        };
        let peer = address(PEER);
        bench.networks.push(&mut bench.c, a, peer, Occasion::Frame);
        assert!(!bench.networks.push(&mut bench.c, b, peer, Occasion::Frame));
        bench.sent();
        bench.networks.leave(&mut bench.c, b);
        bench.wait(NEXT_MS);
        assert_eq!(bench.sent(), []);
        assert_eq!(bench.networks.showings.deadline(), None);
    }

    #[test]
    fn a_newer_certificate_is_shown_with_the_next_frame_and_not_with_groups() {
        let mut bench = Bench::new(1);
        let id = bench.ids()[0];
        let peer = address(PEER);
        bench.networks.push(&mut bench.c, id, peer, Occasion::Frame);
        bench.wait(60_000);
        bench.install(id, 2);
        bench.sent();
        bench.wait(1);
        bench.networks.push(&mut bench.c, id, peer, Occasion::Like);
        assert_eq!(bench.sent(), []);
        bench.networks.push(&mut bench.c, id, peer, Occasion::Frame);
        bench.networks.push(&mut bench.c, id, peer, Occasion::Frame);
        assert_eq!(bench.sent().len(), 1);
        bench.wait(2_000);
        bench.networks.push(&mut bench.c, id, peer, Occasion::Frame);
        assert_eq!(bench.sent(), []);
        bench.networks.push(&mut bench.c, id, peer, Occasion::Asked);
        assert_eq!(bench.sent().len(), 1);
    }
}
