//! Names of things: node addresses, networks, MACs, packets (wire 1, 2.3, 12.1).
//!
//! Private fields: an [`Address`] is never 0 and never starts with ff, so nobody checks twice.

use core::fmt;
use core::num::NonZeroU64;

/// A node's 40-bit address. Never 0, never ff….
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(NonZeroU64);

impl Address {
    /// Bytes on the wire.
    pub const LEN: usize = 5;

    /// The low 40 bits of `value`, unless reserved (wire 2.3).
    pub const fn new(value: u64) -> Option<Self> {
        if value >> 40 != 0 || value >> 32 == 0xff {
            return None;
        }
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// From five bytes, most significant first.
    pub const fn from_bytes(b: [u8; 5]) -> Option<Self> {
        Self::new(u64::from_be_bytes([0, 0, 0, b[0], b[1], b[2], b[3], b[4]]))
    }

    /// Five bytes, most significant first.
    pub const fn to_bytes(self) -> [u8; 5] {
        let b = self.get().to_be_bytes();
        [b[3], b[4], b[5], b[6], b[7]]
    }

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// From what [`Self::get`] gave.
    pub(super) const fn from_word(word: u64) -> Self {
        match NonZeroU64::new(word) {
            Some(word) => Self(word),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Exactly ten hex digits of either case.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 10)
            .then(|| parse_hex(text))
            .flatten()
            .and_then(Self::new)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A network's 64-bit id. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(NonZeroU64);

impl NetworkId {
    /// Any number but 0.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// From what [`Self::get`] gave.
    pub(super) const fn from_word(word: u64) -> Self {
        match NonZeroU64::new(word) {
            Some(word) => Self(word),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Eight bytes, most significant first.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.get().to_be_bytes()
    }

    /// The node that governs it; none for ad-hoc ids `ff…` (network 1.1).
    pub const fn controller(self) -> Option<Address> {
        Address::new(self.get() >> 24)
    }

    /// Exactly sixteen hex digits of either case.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16)
            .then(|| parse_hex(text))
            .flatten()
            .and_then(Self::new)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac([u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// From its six bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Its six bytes.
    pub const fn to_bytes(self) -> [u8; 6] {
        self.0
    }

    /// Group bit set (broadcast included).
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// All bits set.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// All bits clear.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// First eight bytes of a packet as they were on the wire (wire 6.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(u64);

impl PacketId {
    /// From the number (big-endian on the wire).
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Eight bytes as on the wire.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Debug for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses_are_refused() {
        assert_eq!(Address::new(0), None);
        assert_eq!(Address::new(0x00ff_0000_0001), None);
        assert_eq!(Address::new(1 << 40), None);
        assert_eq!(Address::parse("+123456789"), None);
    }

    #[test]
    fn ids_print_as_they_parse() {
        let a = Address::parse("3C9439e96a").unwrap();
        assert_eq!(std::format!("{a}"), "3c9439e96a");
        assert_eq!(Address::from_bytes(a.to_bytes()), Some(a));
        let n = NetworkId::parse("8056c2e21c000001").unwrap();
        assert_eq!(std::format!("{n}"), "8056c2e21c000001");
        assert_eq!(n.controller(), Address::parse("8056c2e21c"));
        assert_eq!(
            NetworkId::parse("ff00160016000000").unwrap().controller(),
            None
        );
    }
}
