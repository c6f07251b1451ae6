//! What we ask of a network's controller, and what it answers (network 1.5 to 1.8).

use alloc::boxed::Box;
use alloc::string::String;

use super::config::Config;
use super::decode::{self, FORMAT, URL_MAX};
use super::member::Member;
use super::refusal::Refusal;
use super::update::{self, Piece};
use super::{Carrier, Network, NetworkStatus, Networks};
use crate::base::{Address, Mono, NetworkId, PacketId};
use crate::node::io::{DropReason, Event};
use crate::wire::Malformed;
use crate::wire::control;
use crate::wire::cursor::Writer;
use crate::wire::dict::{Dialect, Dict, DictWriter};
use crate::wire::netconf::{self, Chunk, ConfigRequest, META_MAX, Signed};
use crate::wire::packet::{self, HEADER_LEN, PACKET_MAX, VERB_AT};
use crate::wire::verb::{ErrorCode, Verb};

/// A configuration is asked for again so long after it came, ± 5 %.
const REFRESH_MS: u64 = 60_000;
/// First tries, counted from the first.
const FIRST_MS: [u64; 2] = [2_000, 3_000];
/// Then so often…
const TRY_MS: u64 = 5_000;
/// …for so long…
const EAGER_MS: u64 = 60_000;
/// …then so often…
const PATIENT_MS: u64 = 15_000;
/// …for so long; then once in a refresh.
const PATIENCE_MS: u64 = 600_000;
/// Controllers answer a member once per second.
const GATE_MS: u64 = 1_100;
/// Refreshes left out where every byte costs (node 1).
const METERED: u64 = 64;
/// A clock that is that much behind the controller's is wrong: then an older configuration may
/// be the right one.
const DAY_MS: u64 = 86_400_000;
/// Chunks are passed on to so many members.
const PASS_ON_MAX: usize = 64;
/// Longest dictionary of a refusal that we look at.
const REFUSAL_MAX: usize = 8_192;

/// When the controller is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Next time; `None`: there is nobody to ask.
    pub(crate) next: Option<Mono>,
    last: Option<Mono>,
    /// First of the unanswered requests.
    began: Mono,
    /// Requests since a configuration was accepted.
    tries: u32,
}

impl Ask {
    pub(crate) fn new(next: Option<Mono>, now: Mono) -> Self {
        Self {
            next,
            last: None,
            began: now,
            tries: 0,
        }
    }

    /// A request goes out; `jitter` is up to a tenth of a refresh.
    fn sent(&mut self, now: Mono, jitter: u64) {
        if self.tries == 0 {
            self.began = now;
        }
        self.last = Some(now);
        let asking = now.since(self.began);
        let pause = match FIRST_MS.get(self.tries as usize) {
            Some(pause) => *pause,
            None if asking < EAGER_MS => TRY_MS,
            None if asking < PATIENCE_MS => PATIENT_MS,
            None => REFRESH_MS.saturating_sub(jitter),
        };
        self.tries = self.tries.saturating_add(1);
        self.next = Some(now.after(pause));
    }

    /// A configuration was accepted; `jitter` is up to a tenth of a refresh, of which the next
    /// comes after `pauses`.
    fn answered(&mut self, now: Mono, jitter: u64, pauses: u64) {
        if self.next.is_some() {
            self.tries = 0;
            let pause = REFRESH_MS * pauses + REFRESH_MS / 20;
            self.next = Some(now.after(pause.saturating_sub(jitter)));
        }
    }

    /// As soon as the controller may answer.
    pub(crate) fn hurry(&mut self, now: Mono) {
        if self.next.is_some() {
            let earliest = self.last.map_or(now, |last| last.after(GATE_MS));
            self.tries = 0;
            self.next = Some(earliest.max(now));
        }
    }

    /// Requests are out that nobody answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.tries > 0
    }
}

/// What the controller said last, if it was not a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    AccessDenied,
    NotFound,
    AuthenticationRequired,
}

impl Failure {
    pub(crate) const fn status(self) -> NetworkStatus {
        match self {
            Self::AccessDenied => NetworkStatus::AccessDenied,
            Self::NotFound => NetworkStatus::NotFound,
            Self::AuthenticationRequired => NetworkStatus::AuthenticationRequired,
        }
    }
}

/// Where a configuration came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An answer of the controller to a request of ours.
    Answer,
    /// Anybody.
    Push(PacketId),
}

impl Networks {
    /// Asks whoever is due.
    pub(super) fn ask_controllers(&mut self, c: &mut dyn Carrier) {
        let now = c.mono();
        let mut at = 0;
        while let Some((slot, id, network)) = self.networks.next_from(at) {
            at = slot.index() + 1;
            if network.ask.next.is_none_or(|due| due > now) {
                continue;
            }
            let jitter = u64::from(c.rng().below((REFRESH_MS / 10) as u32));
            if let Some(network) = self.networks.get_mut(&id) {
                network.ask.sent(now, jitter);
                let config = network.config.as_ref();
                let held = config.map_or((0, 0), |c| (c.revision, c.timestamp));
                self.ask_controller(c, id, held);
            }
        }
    }

    fn ask_controller(&self, c: &mut dyn Carrier, id: NetworkId, held: (u64, u64)) {
        let Some(controller) = id.controller() else {
            return;
        };
        let mut meta = [0; META_MAX];
        let mut packet = [0; HEADER_LEN + 10 + META_MAX + 16];
        let mut writer = Writer::new(&mut meta);
        if self.write_meta(&mut writer, c.protocol()).is_err() {
            return;
        }
        let request = ConfigRequest {
            network: id,
            meta: writer.written(),
            revision: held.0,
            timestamp: Some(held.1),
        };
        let mut writer = packet::begin(&mut packet, Verb::NetworkConfigRequest);
        if request.write(&mut writer).is_ok() {
            let end = HEADER_LEN + writer.len();
            if let Some(packet) = packet.get_mut(..end) {
                c.send(controller, packet, true);
            }
        }
    }

    /// What controllers want to know of a member (network 1.7).
    fn write_meta(&self, writer: &mut Writer<'_>, protocol: u8) -> Result<(), Malformed> {
        let (major, minor, revision) = crate::VERSION;
        let limits = &self.limits;
        let mut dict = DictWriter::new(writer, Dialect::Modern);
        let numbers = [
            ("v", FORMAT),
            ("vend", 1),
            ("pv", u64::from(protocol)),
            ("majv", u64::from(major)),
            ("minv", u64::from(minor)),
            ("revv", u64::from(revision)),
            ("mr", crate::wire::rule::RULES_MAX as u64),
            ("mc", limits.own_capabilities as u64),
            ("mcr", crate::wire::rule::CAPABILITY_RULES_MAX as u64),
            ("mt", limits.own_tags as u64),
            ("f", 0),
            ("revr", 1),
        ];
        for (key, value) in numbers {
            dict.number(key, value)?;
        }
        dict.parts("o", &[c_os(), "/", c_arch()])
    }

    /// Ask at once: we were offline, or the user says so.
    pub(crate) fn hurry(&mut self, c: &dyn Carrier, id: NetworkId) -> bool {
        let now = c.mono();
        match self.networks.get_mut(&id) {
            Some(network) => {
                network.ask.hurry(now);
                true
            }
            None => false,
        }
    }

    /// Every controller is asked.
    pub(crate) fn hurry_all(&mut self, now: Mono) {
        for network in self.networks.values_mut() {
            network.ask.hurry(now);
        }
    }

    /// We can reach an upstream again: whoever did not answer may now.
    pub(super) fn hurry_unanswered(&mut self, now: Mono) {
        for network in self.networks.values_mut() {
            if network.ask.is_unanswered() {
                network.ask.hurry(now);
            }
        }
    }

    /// NETWORK_CONFIG: a chunk from anybody, or the word of an old controller that there is
    /// something new.
    pub(super) fn config_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        id: PacketId,
        payload: &[u8],
    ) -> Result<bool, Malformed> {
        if let Some(networks) = netconf::refresh(payload) {
            for network in networks {
                if network.controller() == Some(from) && self.hurry(c, network) {
                    continue;
                }
                c.drop(DropReason::Ignored);
            }
            return Ok(false);
        }
        self.chunk_in(c, from, Source::Push(id), payload)?;
        Ok(false)
    }

    /// A chunk of a configuration (network 1.8).
    pub(super) fn chunk_in(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        source: Source,
        body: &[u8],
    ) -> Result<(), Malformed> {
        let chunk = Chunk::parse(body)?;
        let id = chunk.network;
        if !self.is_joined(id) {
            c.drop(DropReason::UnknownNetwork);
            return Ok(());
        }
        match self.take_chunk(c, from, source, &chunk, body) {
            Ok(()) => {}
            Err(why) => self.refuse(c, id, why),
        }
        Ok(())
    }

    fn take_chunk(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        source: Source,
        chunk: &Chunk<'_>,
        body: &[u8],
    ) -> Result<(), Refusal> {
        let id = chunk.network;
        let now = c.mono();
        let controller = id.controller().ok_or(Refusal::OtherNetwork)?;
        let Some(signed) = &chunk.signed else {
            // The form of old controllers: only the packet itself proves where it is from.
            if from != controller {
                return Err(Refusal::Unsigned);
            }
            return self.take_whole(c, id, from, source, chunk.data, None);
        };
        let most = self.limits.config_total;
        if signed.total as usize >= most {
            return Err(Refusal::TooLong);
        }
        let update = self.networks.get(&id).and_then(|n| n.update.as_ref());
        if update::is_known(update, signed, chunk.data) {
            return Ok(());
        }
        if !self.checks.pass(now) {
            return Err(Refusal::Busy);
        }
        self.check_authority(c, id, controller, &[signed.message], signed.signature)?;
        let direct = from == controller;
        let Some(network) = self.networks.get_mut(&id) else {
            return Ok(());
        };
        let piece = update::add(&mut network.update, signed, chunk.data, direct, most, now)?;
        let passed_on = signed.flags & Signed::PASS_ON != 0;
        match piece {
            Piece::Duplicate => return Ok(()),
            Piece::Kept => {}
            Piece::Whole(text) => {
                let update = Some(signed.update);
                self.take_whole(c, id, from, source, &text, update)?;
            }
        }
        if passed_on {
            self.pass_on(c, id, from, body);
        }
        Ok(())
    }

    /// A whole dictionary.
    fn take_whole(
        &mut self,
        c: &mut dyn Carrier,
        id: NetworkId,
        from: Address,
        source: Source,
        text: &[u8],
        update: Option<u64>,
    ) -> Result<(), Refusal> {
        let config = decode::read(text, id, self.me, &self.limits)?;
        let now = c.now();
        let Some(network) = self.networks.get_mut(&id) else {
            return Ok(());
        };
        let direct = id.controller() == Some(from);
        if let Some(held) = &network.config {
            let ahead = now.wall.as_ms().saturating_add(DAY_MS) < held.timestamp;
            let replay = source != Source::Answer || !direct;
            // Differs from 1.14.1, which takes old ones from anybody (network 1.8). With one
            // from the future in force we would take nothing any more.
            if replay && config.timestamp < held.timestamp && !(now.wall_ok && ahead) {
                return Err(Refusal::Older);
            }
            if replay && !direct && held.text == config.text {
                return Ok(());
            }
        }
        self.accept(c, id, config);
        if let (Source::Push(packet), Some(update)) = (source, update) {
            taken(c, from, packet, id, update);
        }
        Ok(())
    }

    /// Puts a configuration of the controller into force.
    pub(super) fn accept(&mut self, c: &mut dyn Carrier, id: NetworkId, config: Box<Config>) {
        let now = c.mono();
        let jitter = u64::from(c.rng().below((REFRESH_MS / 10) as u32));
        let pauses = if c.low_bandwidth() { METERED } else { 1 };
        if let Some(network) = self.networks.get_mut(&id) {
            network.ask.answered(now, jitter, pauses);
            network.confirmed = true;
            network.update = None;
        }
        self.install(c, id, config);
    }

    /// What comes back instead of a configuration.
    pub(super) fn failed(
        &mut self,
        c: &mut dyn Carrier,
        from: Address,
        code: u8,
        body: &[u8],
    ) -> Result<(), Malformed> {
        let (id, dictionary) = netconf::parse_error(body)?;
        let Some(network) = self.networks.get_mut(&id) else {
            c.drop(DropReason::UnknownNetwork);
            return Ok(());
        };
        if id.controller() != Some(from) {
            c.drop(DropReason::Ignored);
            return Ok(());
        }
        let failure = match ErrorCode::from_byte(code) {
            Some(ErrorCode::ObjectNotFound | ErrorCode::UnsupportedOperation) => Failure::NotFound,
            Some(ErrorCode::NetworkAccessDenied) => Failure::AccessDenied,
            Some(ErrorCode::NetworkAuthenticationRequired) => Failure::AuthenticationRequired,
            _ => {
                c.drop(DropReason::Ignored);
                return Ok(());
            }
        };
        let url = match dictionary {
            Some(text) if failure == Failure::AuthenticationRequired => sign_on_url(text),
            _ => String::new(),
        };
        if network.failure != Some(failure) || network.url != url {
            network.failure = Some(failure);
            network.url = url;
            c.event(Event::Network(id));
        }
        Ok(())
    }

    /// Members that we know get a chunk as it came.
    fn pass_on(&mut self, c: &mut dyn Carrier, id: NetworkId, from: Address, body: &[u8]) {
        let Some(network) = self.networks.get(&id) else {
            return;
        };
        let told = [Some(from), id.controller(), Some(self.me)];
        let other = |a, _: &Member| !told.contains(&Some(a));
        for to in network.members.heard_last(PASS_ON_MAX, &other) {
            let Some(room) = self
                .scratch
                .get_mut(..PACKET_MAX.min(HEADER_LEN + body.len()))
            else {
                return;
            };
            let Some(payload) = room.get_mut(HEADER_LEN..).filter(|p| p.len() == body.len()) else {
                return;
            };
            payload.copy_from_slice(body);
            room[VERB_AT] = Verb::NetworkConfig as u8;
            c.send(to, room, true);
        }
    }

    /// Counts what was not taken and remembers why.
    pub(super) fn refuse(&mut self, c: &mut dyn Carrier, id: NetworkId, why: Refusal) {
        c.drop(DropReason::Refused);
        let now = c.mono();
        if let Some(network) = self.networks.get_mut(&id) {
            let n = &mut network.refused[why.slot()];
            *n = n.saturating_add(1);
            network.last_refusal = Some((why, now));
        }
    }
}

impl Network {
    pub(super) fn status(&self) -> NetworkStatus {
        match (self.failure, &self.config) {
            (Some(failure), _) => failure.status(),
            (None, Some(_)) => NetworkStatus::Ok,
            (None, None) => NetworkStatus::RequestingConfiguration,
        }
    }
}

/// OK to a NETWORK_CONFIG, which names the wrong verb (wire 9.13).
fn taken(c: &mut dyn Carrier, to: Address, packet: PacketId, id: NetworkId, update: u64) {
    let mut reply = [0; HEADER_LEN + 25];
    let mut writer = control::begin_ok(&mut reply, Verb::Echo, packet);
    let written = netconf::write_taken(&mut writer, id, update);
    if let (Ok(()), Ok(reply)) = (written, writer.finish()) {
        c.send(to, reply, false);
    }
}

/// Where to sign on (network 7.8).
fn sign_on_url(text: &[u8]) -> String {
    let Some(text) = text.get(..text.len().min(REFUSAL_MAX)) else {
        return String::new();
    };
    let dict = Dict::new(text, Dialect::Modern);
    // Flavour 0 has one address; of flavour 1 the first that leads somewhere.
    let url = ["aU", "iU", "aCU"].iter().find_map(|key| dict.get(key));
    decode::string_of(url, URL_MAX)
}

/// Names as others say them.
const fn c_os() -> &'static str {
    if cfg!(target_os = "linux") {
        "linux"
    } else if cfg!(target_os = "freebsd") {
        "freebsd"
    } else if cfg!(target_os = "openbsd") {
        "openbsd"
    } else if cfg!(target_os = "netbsd") {
        "netbsd"
    } else {
        "unknown"
    }
}

const fn c_arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "x86_64"
    } else if cfg!(target_arch = "x86") {
        "x86"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else if cfg!(target_arch = "arm") {
        "arm"
    } else if cfg!(any(target_arch = "mips", target_arch = "mips32r6")) {
        "mips"
    } else if cfg!(target_arch = "mips64") {
        "mips64"
    } else if cfg!(target_arch = "powerpc") {
        "ppc"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64"
    } else {
        "unknown"
    }
}
