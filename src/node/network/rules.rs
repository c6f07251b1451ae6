//! The rules engine (network 4): one pass over a list of binary entries, no allocation.
//!
//! Bytes beyond the end of a frame count as 0. Entries are read by their length byte, so damaged
//! lists end early and never run over.

use core::net::IpAddr;

use super::config::{FLAG_NDP, IpNet};
use crate::base::{Address, Mac};
use crate::wire::cursor::Reader;
use crate::wire::rule::value_len;

/// Flag of the configuration: unknown matches count as matching.
pub const FLAG_UNKNOWN_MATCHES: u64 = 0x08;

const NOT: u8 = 0x80;
const OR: u8 = 0x40;
const NUMBER: u8 = 0x3f;
const FIRST_MATCH: u8 = 16;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMP6: u8 = 58;
const HAS_PORTS: [u8; 4] = [6, 17, 132, 136];

/// What a member is shown to own: type 1 MAC, 2 IPv4, 3 IPv6, zero-padded.
pub type Thing = (u8, [u8; 16]);

/// A frame on its way.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// It came from a peer; else it comes from the tap.
    pub inbound: bool,
    /// Sending member.
    pub source: Address,
    /// Receiving member; `None` in the first pass of multicast and bridged frames.
    pub destination: Option<Address>,
    /// Source MAC.
    pub from: Mac,
    /// Destination MAC.
    pub to: Mac,
    /// EtherType.
    pub ethertype: u16,
    /// Ethernet payload.
    pub payload: &'a [u8],
}

/// What the engine may look at besides the frame.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This node.
    pub me: Address,
    /// Flags of the configuration.
    pub flags: u64,
    /// Managed addresses of this node.
    pub addresses: &'a [IpNet],
    /// Own tags: id, value.
    pub own_tags: &'a [(u32, u32)],
    /// Valid tags of the peer.
    pub peer_tags: &'a [(u32, u32)],
    /// Own ownership certificates.
    pub own_things: &'a [Thing],
    /// Valid ownership certificates of the peer.
    pub peer_things: &'a [Thing],
    /// The peer has an entry in the membership table.
    pub member: bool,
    /// For the first match "random"; later ones go on from it.
    pub random: u32,
}

/// A copy to be sent to somebody who watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyTo {
    /// To whom.
    pub to: Address,
    /// Watch, not tee.
    pub watch: bool,
    /// So many bytes of the frame.
    pub len: usize,
}

/// Result of one pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// No action fired: the next list decides.
    NoMatch,
    /// Drop.
    Drop,
    /// Pass.
    Accept,
    /// Pass whatever the MACs are.
    Super,
    /// Send it there instead.
    Redirect(Option<Address>),
}

/// Outcome and copy of one pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pass {
    /// What became of the frame.
    pub outcome: Outcome,
    /// Who else gets it.
    pub copy: Option<CopyTo>,
}

/// Numbers for the match "random", one per frame. Not for secrets, and much cheaper than those.
#[derive(Debug)]
pub(crate) struct Lots(u64);

impl Lots {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The high half of an xorshift generator's state.
    pub(crate) fn draw(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}

/// Another lot after `lot`: each match draws its own.
fn next_lot(lot: u32) -> u32 {
    let lot = lot.wrapping_add(0x9e37_79b9);
    let lot = (lot ^ (lot >> 16)).wrapping_mul(0x85eb_ca6b);
    let lot = (lot ^ (lot >> 13)).wrapping_mul(0xc2b2_ae35);
    lot ^ (lot >> 16)
}

/// A match: plain answers are turned round by NOT, hard ones are not.
enum Match {
    Plain(bool),
    Hard(bool),
}

struct State {
    /// All matches of the set so far.
    set: bool,
    /// The next DROP that would fire does not: the receiver decides.
    skip: bool,
    /// We are whom a copy or redirection of this frame is for.
    sup: bool,
    /// For the next match "random".
    lot: u32,
}

/// Runs one list of rules over a frame.
pub fn evaluate(rules: &[u8], subject: &Subject<'_>, facts: &Facts<'_>) -> Pass {
    run(rules, subject, facts, &mut { facts.random })
}

fn run(rules: &[u8], subject: &Subject<'_>, facts: &Facts<'_>, lot: &mut u32) -> Pass {
    let mut state = State {
        set: true,
        skip: false,
        sup: false,
        lot: *lot,
    };
    let pass = run_with(rules, subject, facts, &mut state);
    *lot = state.lot;
    pass
}

fn run_with(rules: &[u8], subject: &Subject<'_>, facts: &Facts<'_>, state: &mut State) -> Pass {
    let mut copy = None;
    let mut reader = Reader::new(rules);
    let done = |outcome, copy| Pass { outcome, copy };
    while let Ok(kind) = reader.u8() {
        let Ok(value) = reader.u8().and_then(|len| reader.bytes(usize::from(len))) else {
            break;
        };
        let number = kind & NUMBER;
        if number >= FIRST_MATCH {
            if !state.set && kind & OR == 0 {
                continue;
            }
            let answer = match matches(number, value, subject, facts, state) {
                Match::Hard(answer) => answer,
                Match::Plain(answer) => answer ^ (kind & NOT != 0),
            };
            state.set = if kind & OR != 0 {
                state.set | answer
            } else {
                state.set & answer
            };
            continue;
        }
        if !state.set {
            let copies = (2..=4).contains(&number);
            if subject.inbound && copies && target(value) == facts.me.get() {
                state.sup = true;
            }
            state.set = true;
            continue;
        }
        match number {
            0 if state.skip => state.skip = false,
            0 => return done(Outcome::Drop, copy),
            1 if state.sup => return done(Outcome::Super, copy),
            1 | 6 => return done(Outcome::Accept, copy),
            5 => return done(Outcome::NoMatch, copy),
            2..=4 => {
                let target = target(value);
                let to = Address::new(target);
                if target == subject.source.get() {
                    // It has seen the frame already.
                } else if target == facts.me.get() {
                    if subject.inbound {
                        return done(Outcome::Super, copy);
                    }
                } else if target == number_of(subject.destination) {
                    // It gets the frame anyway.
                } else if number == 4 {
                    return match to {
                        // A reserved address: nobody will ever get it.
                        None if target != 0 => done(Outcome::Drop, copy),
                        _ => done(Outcome::Redirect(to), copy),
                    };
                } else {
                    let most = value.get(12..14).map_or(0, |len| word(len, 0).into());
                    let all = subject.payload.len();
                    let len = if most == 0 { all } else { most.min(all) };
                    copy = to.map(|to| CopyTo {
                        to,
                        watch: number == 3,
                        len,
                    });
                }
            }
            _ => {}
        }
    }
    done(Outcome::NoMatch, copy)
}

/// What becomes of a frame after base rules and capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Inbound: deliver; outbound: send to the destination.
    pub pass: bool,
    /// Deliver whatever the MACs are.
    pub sup: bool,
    /// The copy remembered by the base rules.
    pub base_copy: Option<CopyTo>,
    /// The copy remembered by the capability that let the frame pass.
    pub capability_copy: Option<CopyTo>,
    /// The whole frame goes there instead.
    pub redirect: Option<Address>,
}

/// Base rules first; if none of them fires, capabilities in order, each by itself
/// (network 4.3).
pub fn decide<'r>(
    base: &[u8],
    capabilities: impl IntoIterator<Item = &'r [u8]>,
    subject: &Subject<'_>,
    facts: &Facts<'_>,
) -> Decision {
    let drop = Decision {
        pass: false,
        sup: false,
        base_copy: None,
        capability_copy: None,
        redirect: None,
    };
    let mut lot = facts.random;
    let first = run(base, subject, facts, &mut lot);
    let (outcome, capability_copy) = match first.outcome {
        Outcome::NoMatch => {
            let passed = capabilities
                .into_iter()
                .map(|rules| run(rules, subject, facts, &mut lot))
                .find(|pass| !matches!(pass.outcome, Outcome::NoMatch | Outcome::Drop));
            match passed {
                Some(pass) => (pass.outcome, pass.copy),
                None => return drop,
            }
        }
        Outcome::Drop => return drop,
        outcome => (outcome, None),
    };
    let redirect = match outcome {
        Outcome::Redirect(to) => to,
        _ => None,
    };
    Decision {
        // A redirection to nobody passes like ACCEPT.
        pass: redirect.is_none(),
        sup: outcome == Outcome::Super,
        base_copy: first.copy,
        capability_copy,
        redirect,
    }
}

/// Whom an action names: any 40 bits, 0 for nobody.
fn target(value: &[u8]) -> u64 {
    value.get(..8).map_or(0, |to| number(to, 3, 5))
}

fn number_of(address: Option<Address>) -> u64 {
    address.map_or(0, Address::get)
}

/// A frame's bytes; 0 behind the end.
fn byte(frame: &[u8], at: usize) -> u8 {
    frame.get(at).copied().unwrap_or(0)
}

/// So many bytes of it as a number.
fn number(frame: &[u8], at: usize, len: usize) -> u64 {
    (at..at + len).fold(0, |n, at| n << 8 | u64::from(byte(frame, at)))
}

fn word(frame: &[u8], at: usize) -> u16 {
    number(frame, at, 2) as u16
}

fn double(frame: &[u8], at: usize) -> u32 {
    number(frame, at, 4) as u32
}

fn is_v4(s: &Subject<'_>) -> bool {
    s.ethertype == IPV4 && s.payload.len() >= 20
}

fn is_v6(s: &Subject<'_>) -> bool {
    s.ethertype == IPV6 && s.payload.len() >= 40
}

/// Upper protocol of a packet and where it begins (network 4.4).
#[inline(never)]
fn upper(s: &Subject<'_>) -> Option<(u8, usize)> {
    if is_v4(s) {
        let words = byte(s.payload, 0) & 15;
        return Some((byte(s.payload, 9), 4 * usize::from(words)));
    }
    (s.ethertype == IPV6).then(|| walk(s.payload)).flatten()
}

/// The same of an IPv6 packet.
fn walk(frame: &[u8]) -> Option<(u8, usize)> {
    if frame.len() < 40 {
        return None;
    }
    let (mut protocol, mut at) = (byte(frame, 6), 40);
    while at <= frame.len() {
        match protocol {
            0 | 43 | 60 | 135 => {
                if at + 8 > frame.len() {
                    return None;
                }
                protocol = byte(frame, at);
                at += 8 * usize::from(byte(frame, at + 1)) + 8;
            }
            _ => return Some((protocol, at)),
        }
    }
    None
}

fn tag(tags: &[(u32, u32)], id: u32) -> Option<u32> {
    tags.iter().find(|t| t.0 == id).map(|t| t.1)
}

fn matches(number: u8, v: &[u8], s: &Subject<'_>, facts: &Facts<'_>, state: &mut State) -> Match {
    use Match::{Hard, Plain};
    let frame = s.payload;
    if v.len() < usize::from(value_len(number)) {
        return Hard(false);
    }
    match number {
        24 => Plain(self::number(v, 0, Address::LEN) == s.source.get()),
        25 => Plain(self::number(v, 0, Address::LEN) == number_of(s.destination)),
        // Tags are not parsed: the VLAN of every frame is 0.
        26 => Plain(word(v, 0) == 0),
        27 | 28 => Plain(byte(v, 0) == 0),
        29 => Plain(v.starts_with(&s.from.to_bytes())),
        30 => Plain(v.starts_with(&s.to.to_bytes())),
        31..=34 => {
            let is_such = if number < 33 { is_v4(s) } else { is_v6(s) };
            if !is_such {
                return Hard(false);
            }
            let (at, len) = [(12, 4), (16, 4), (8, 16), (24, 16)][usize::from(number - 31)];
            let bits = usize::from(byte(v, len));
            Plain((0..len).all(|n| {
                let mask = (0xff00 >> bits.saturating_sub(8 * n).min(8)) as u8;
                // Of IPv6 the net's host bits must be 0.
                let looked_at = if len == 4 { mask } else { 0xff };
                byte(frame, at + n) & mask == byte(v, n) & looked_at
            }))
        }
        35 => {
            let (mask, from, to) = (byte(v, 0), byte(v, 1), byte(v, 2));
            let tos = if is_v4(s) {
                byte(frame, 1)
            } else if is_v6(s) {
                (word(frame, 0) >> 4) as u8
            } else {
                return Hard(false);
            };
            Plain((from..=to).contains(&(tos & mask)))
        }
        36 => {
            let wanted = byte(v, 0);
            upper(s).map_or(Hard(false), |(protocol, _)| Plain(protocol == wanted))
        }
        37 => Plain(word(v, 0) == s.ethertype),
        38 => {
            let (kind, code, flags) = (byte(v, 0), byte(v, 1), byte(v, 2));
            let own = if s.ethertype == IPV4 { ICMP } else { ICMP6 };
            let icmp = upper(s).filter(|(protocol, at)| *protocol == own && frame.len() >= at + 2);
            match icmp {
                Some((_, at)) if byte(frame, at) == kind => {
                    if flags & 1 != 0 {
                        Plain(byte(frame, at + 1) == code)
                    } else {
                        Hard(true)
                    }
                }
                _ => Hard(false),
            }
        }
        39 | 40 => {
            let (from, to) = (word(v, 0), word(v, 2));
            let offset = if number == 39 { 0 } else { 2 };
            let Some((protocol, at)) = upper(s) else {
                return Hard(false);
            };
            let v6 = s.ethertype == IPV6;
            if !HAS_PORTS.contains(&protocol) {
                return Plain(false);
            }
            if frame.len() <= at + 4 {
                return if v6 { Hard(false) } else { Plain(false) };
            }
            let port = word(frame, at + offset);
            Plain((port != 0 || !v6) && (from..=to).contains(&port))
        }
        41 => Plain(characteristics(s, facts) & self::number(v, 0, 8) != 0),
        42 => {
            let (from, to) = (usize::from(word(v, 0)), usize::from(word(v, 2)));
            Plain((from..=to).contains(&frame.len()))
        }
        43 => {
            let lot = state.lot;
            state.lot = next_lot(lot);
            Plain(lot <= double(v, 0))
        }
        44..=48 => {
            let (id, limit) = (double(v, 0), double(v, 4));
            let Some(own) = tag(facts.own_tags, id) else {
                return Hard(false);
            };
            let Some(remote) = s.destination.and_then(|_| tag(facts.peer_tags, id)) else {
                if s.inbound && !state.sup {
                    return Hard(false);
                }
                state.skip = true;
                return Hard(true);
            };
            Plain(match number {
                44 => own.abs_diff(remote) <= limit,
                45 => own & remote == limit,
                46 => own | remote == limit,
                47 => own ^ remote == limit,
                _ => own == limit && remote == limit,
            })
        }
        49 | 50 => {
            let (id, wanted) = (double(v, 0), double(v, 4));
            if state.sup {
                state.skip = true;
                return Hard(true);
            }
            let sender = number == 49;
            if sender != s.inbound {
                return tag(facts.own_tags, id).map_or(Hard(false), |v| Plain(v == wanted));
            }
            match s.destination.and_then(|_| tag(facts.peer_tags, id)) {
                Some(value) => Plain(value == wanted),
                None if sender => Hard(false),
                None => {
                    state.skip = true;
                    Hard(true)
                }
            }
        }
        51 => {
            let (start, end) = (self::number(v, 0, 8), self::number(v, 8, 8));
            let (index, format) = (usize::from(word(v, 16)), byte(v, 18));
            // Real nodes keep the low half of the width only.
            let width = u64::from(end.wrapping_sub(start) as u32);
            let x = integer(frame, index, format);
            Plain(x >= start && x <= start.wrapping_add(width))
        }
        _ => Plain(facts.flags & FLAG_UNKNOWN_MATCHES != 0),
    }
}

/// A number of 1 to 64 bits in a frame (network 4.4).
fn integer(frame: &[u8], index: usize, format: u8) -> u64 {
    let bits = u32::from(format & 63) + 1;
    let bytes = bits.div_ceil(8) as usize;
    let big = format & 0x80 == 0;
    let at = if big { index + 8 - bytes } else { index };
    let Some(part) = frame.get(at..at + bytes) else {
        return 0;
    };
    let join = |n, byte: &u8| n << 8 | u64::from(*byte);
    if big {
        part.iter().fold(0, join) & (u64::MAX >> (64 - bits))
    } else {
        part.iter().rev().fold(0, join) >> (8 * bytes as u32 - bits)
    }
}

fn characteristics(s: &Subject<'_>, facts: &Facts<'_>) -> u64 {
    let mut bits = ownership(s, facts);
    if s.inbound {
        bits |= 1 << 63;
    }
    if s.to.is_multicast() {
        bits |= 1 << 62;
    }
    if s.to.is_broadcast() {
        bits |= 1 << 61;
    }
    let frame = s.payload;
    let tcp = upper(s).filter(|(protocol, at)| {
        *protocol == TCP && (s.ethertype == IPV4 || frame.len() > at + 14)
    });
    if let Some((_, at)) = tcp {
        bits |= u64::from(byte(frame, at + 13)) | (u64::from(byte(frame, at + 12) & 0x0f) << 8);
    }
    bits
}

/// Bits 60 and 59: the sender is known to own its IP address, its MAC.
fn ownership(s: &Subject<'_>, facts: &Facts<'_>) -> u64 {
    const IP: u64 = 1 << 60;
    const MAC: u64 = 1 << 59;
    if s.inbound && !facts.member {
        return 0;
    }
    let things = if s.inbound {
        facts.peer_things
    } else {
        facts.own_things
    };
    let owns = |kind: u8, bytes: &[u8]| {
        let mut value = [0; 16];
        for (room, byte) in value.iter_mut().zip(bytes) {
            *room = *byte;
        }
        things.contains(&(kind, value))
    };
    let frame = s.payload;
    let v4 = |at: usize| frame.get(at..at + 4).is_some_and(|ip| owns(2, ip));
    let v6 = |at: usize| {
        let Some(ip) = frame.get(at..at + 16) else {
            return false;
        };
        owns(3, ip) || (s.inbound && facts.flags & FLAG_NDP != 0 && emulated(ip, facts.addresses))
    };
    let neighbour = frame.len() >= 64 && byte(frame, 6) == ICMP6;
    let known = match s.ethertype {
        IPV4 if frame.len() >= 20 => v4(12),
        ARP if frame.len() >= 28 => v4(14),
        IPV6 if frame.len() >= 40 => match byte(frame, 40) {
            0x87 if neighbour => true,
            0x88 if neighbour => v6(48),
            _ => v6(8),
        },
        _ => false,
    };
    let mac = if owns(1, &s.from.to_bytes()) { MAC } else { 0 };
    if known { mac | IP } else { mac }
}

/// The address belongs to the same 6PLANE or RFC 4193 network as one of ours.
fn emulated(ip: &[u8], addresses: &[IpNet]) -> bool {
    addresses.iter().any(|net| {
        let IpAddr::V6(own) = net.ip else {
            return false;
        };
        let own = own.octets();
        match (net.bits, own[0]) {
            (40, 0xfc) => ip[..5] == own[..5],
            (88, 0xfd) => own[9..11] == [0x99, 0x93] && ip[..11] == own[..11],
            _ => false,
        }
    })
}
