//! The 28-byte packet header and the kinds of datagram (wire 6.1, 7.1).

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::verb::Verb;
use crate::base::{Address, PacketId};

/// Header with verb byte.
pub const HEADER_LEN: usize = 28;
/// Offset of the verb byte, the first that is encrypted and authenticated as payload.
pub const VERB_AT: usize = 27;
/// Offset of the byte with flags, cipher suite and hops.
pub const FLAGS_AT: usize = 18;
/// Longest packet that 1.4.0 and later can hold (wire 7.3).
pub const PACKET_MAX: usize = 10_024;
/// Longest datagram sent by default: UDP payload that fits 1500 over IPv4 and 1480 over IPv6.
pub const DATAGRAM_DEFAULT: usize = 1432;
/// Longest datagram that a real node can be set to send.
pub const DATAGRAM_MAX: usize = 10_324;

/// Set exactly when the suite is 1.
pub const FLAG_LEGACY_ENCRYPTED: u8 = 0x80;
/// The head of a packet whose rest follows in pieces.
pub const FLAG_FRAGMENTED: u8 = 0x40;
/// The only part that changes in transit.
pub const HOPS_MASK: u8 = 0x07;
/// A relay drops what arrives with so many hops.
pub const HOPS_LIMIT: u8 = 3;
/// In the verb byte: LZ4 payload.
pub const VERB_COMPRESSED: u8 = 0x80;
/// In the verb byte: the verb.
pub const VERB_MASK: u8 = 0x1f;

const MAC_AT: usize = 19;
const SUITE_SHIFT: u8 = 3;
const SUITE_MASK: u8 = 0x38;
const FRAGMENT_MARK_AT: usize = 13;
const FRAGMENT_HOPS_AT: usize = 15;
const BEACON_LEN: usize = 13;
const SHORTEST: usize = 17;

/// How a packet is protected (wire 6.3–6.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Suite {
    /// 0: authenticated only.
    Poly1305 = 0,
    /// 1: Salsa20/12 and Poly1305.
    Salsa = 1,
    /// 2: trusted path, nothing.
    Trusted = 2,
    /// 3: AES-GMAC-SIV.
    AesGmacSiv = 3,
}

impl Suite {
    /// From byte 18.
    pub const fn from_flags(flags: u8) -> Option<Self> {
        match (flags & SUITE_MASK) >> SUITE_SHIFT {
            0 => Some(Self::Poly1305),
            1 => Some(Self::Salsa),
            2 => Some(Self::Trusted),
            3 => Some(Self::AesGmacSiv),
            _ => None,
        }
    }

    /// Its bits of byte 18, the legacy flag included.
    pub const fn flags(self) -> u8 {
        match self {
            Self::Poly1305 => 0,
            Self::Salsa => 0x88,
            Self::Trusted => 0x10,
            Self::AesGmacSiv => 0x18,
        }
    }
}

/// What a datagram is, by its length and first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// LAN beacon of 1.0.3 and older, with its sender's address.
    Beacon(Option<Address>),
    /// A piece of a packet.
    Fragment,
    /// A packet, or the head of a fragmented one.
    Packet,
    /// Keep-alives, hole-punching junk, anything else.
    Junk,
}

/// Tells the kinds of datagram apart.
pub fn classify(datagram: &[u8]) -> Kind {
    if datagram.len() == BEACON_LEN {
        let mut reader = Reader::new(datagram);
        return Kind::Beacon(reader.u64().and_then(|_| reader.address()).ok());
    }
    if datagram.len() < SHORTEST {
        return Kind::Junk;
    }
    // No address starts with ff.
    if datagram.get(FRAGMENT_MARK_AT) == Some(&0xff) {
        return Kind::Fragment;
    }
    if datagram.len() < HEADER_LEN {
        Kind::Junk
    } else {
        Kind::Packet
    }
}

/// The part of the header that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// As on the wire.
    pub id: PacketId,
    /// Whom it is for.
    pub destination: Address,
    /// Who says to have sent it.
    pub source: Address,
    /// Byte 18.
    pub flags: u8,
}

impl Header {
    /// Reads the header of a packet of at least [`HEADER_LEN`] bytes.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        if packet.len() < HEADER_LEN {
            return Err(Malformed::Truncated);
        }
        let mut reader = Reader::new(packet);
        Ok(Self {
            id: PacketId::new(reader.u64()?),
            destination: reader.address()?,
            source: reader.address()?,
            flags: reader.u8()?,
        })
    }

    /// Relays passed.
    pub const fn hops(self) -> u8 {
        self.flags & HOPS_MASK
    }

    /// More pieces follow.
    pub const fn is_fragmented(self) -> bool {
        self.flags & FLAG_FRAGMENTED != 0
    }

    /// Cipher suite; `None` for numbers nobody uses.
    pub const fn suite(self) -> Option<Suite> {
        Suite::from_flags(self.flags)
    }
}

/// Begins a plain packet: what is written behind this is its payload. [`write_header`] does the
/// rest when it leaves.
#[inline(never)]
pub fn begin(room: &mut [u8], verb: Verb) -> Writer<'_> {
    let mut writer = Writer::new(room);
    writer.bytes(&[0; VERB_AT]);
    writer.u8(verb as u8);
    writer
}

/// Writes bytes 0..27: header with MAC zero. The verb byte and what follows are left alone.
pub fn write_header(
    packet: &mut [u8],
    id: PacketId,
    destination: Address,
    source: Address,
    flags: u8,
) -> Result<(), Malformed> {
    if packet.len() < HEADER_LEN {
        return Err(Malformed::Truncated);
    }
    let mut writer = Writer::new(packet);
    writer.u64(id.get());
    writer.address(destination);
    writer.address(source);
    writer.u8(flags);
    writer.u64(0);
    writer.end()
}

/// The id of the trusted path that a packet in suite 2 names, in place of the MAC (wire 6.6).
pub fn trusted_id(packet: &[u8]) -> Option<u64> {
    let bytes = packet.get(MAC_AT..)?.first_chunk()?;
    Some(u64::from_be_bytes(*bytes))
}

/// Makes a packet whose header is written one of suite 2.
pub fn set_trusted_id(packet: &mut [u8], id: u64) {
    if let Some(flags) = packet.get_mut(FLAGS_AT) {
        *flags = (*flags & FLAG_FRAGMENTED) | Suite::Trusted.flags();
    }
    if let Some(room) = packet.get_mut(MAC_AT..VERB_AT) {
        room.copy_from_slice(&id.to_be_bytes());
    }
}

/// Raises the hops of a packet or piece that is passed on; the new number. Refuses one that has
/// used them up ([`Malformed::Value`]).
pub fn bump_hops(datagram: &mut [u8]) -> Result<u8, Malformed> {
    let at = match classify(datagram) {
        Kind::Fragment => FRAGMENT_HOPS_AT,
        Kind::Packet => FLAGS_AT,
        Kind::Beacon(_) | Kind::Junk => return Err(Malformed::Unsupported),
    };
    let byte = datagram.get_mut(at).ok_or(Malformed::Truncated)?;
    let hops = *byte & HOPS_MASK;
    if hops >= HOPS_LIMIT {
        return Err(Malformed::Value);
    }
    let hops = hops.saturating_add(1);
    *byte = (*byte & !HOPS_MASK) | hops;
    Ok(hops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_datagram_are_told_by_length_and_byte_13() {
        // wire 7.1
        let mut piece = [0u8; 17];
        piece[13] = 0xff;
        let sender = Address::new(0x3c_9439_e96a);
        let beacon = *b"\0\x01\x02\x03\x04\x05\x06\x07\x3c\x94\x39\xe9\x6a";
        assert_eq!(classify(&beacon), Kind::Beacon(sender));
        assert_eq!(classify(&[0xff; 13]), Kind::Beacon(None));
        for len in [0, 4, 12, 14, 16] {
            assert_eq!(classify(&[0xff; 16][..len]), Kind::Junk, "{len}");
        }
        assert_eq!(classify(&piece), Kind::Fragment);
        assert_eq!(classify(&[0xff; 1500]), Kind::Fragment);
        assert_eq!(classify(&[0; 27]), Kind::Junk);
        assert_eq!(classify(&[0; 28]), Kind::Packet);
    }

    #[test]
    fn byte_18_is_flags_suite_and_hops() {
        // wire 6.1: the usual values
        let header = |flags| Header {
            id: PacketId::new(0),
            destination: Address::new(1).unwrap(),
            source: Address::new(2).unwrap(),
            flags,
        };
        for (flags, suite) in [
            (0x00, Suite::Poly1305),
            (0x88, Suite::Salsa),
            (0x10, Suite::Trusted),
            (0x18, Suite::AesGmacSiv),
        ] {
            let header = header(flags | FLAG_FRAGMENTED | 5);
            assert_eq!(header.suite(), Some(suite));
            assert_eq!(suite.flags(), flags);
            assert!(header.is_fragmented());
            assert_eq!(header.hops(), 5);
        }
        assert_eq!(header(0x20).suite(), None);
        assert!(!header(0x88).is_fragmented());
    }

    #[test]
    fn a_relay_stops_at_three_hops() {
        // wire 7.1
        let mut packet = [0u8; 28];
        packet[FLAGS_AT] = 0xc8;
        for hops in 1..=3 {
            assert_eq!(bump_hops(&mut packet), Ok(hops));
            assert_eq!(packet[FLAGS_AT], 0xc8 | hops);
        }
        assert_eq!(bump_hops(&mut packet), Err(Malformed::Value));
        assert_eq!(packet[FLAGS_AT], 0xcb);
    }
}
