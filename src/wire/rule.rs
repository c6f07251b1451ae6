//! Binary form of rules (network 4.1). What they decide is `node::network`'s.
//!
//! The fixed layout of an entry is read whatever its length byte says; the length byte alone
//! tells where the next entry begins. That is how 1.14.1 reads, and what signatures were made
//! over is re-made from the entries read.

use super::Malformed;
use super::cursor::{Reader, Writer};
use crate::base::Mac;

/// Most base rules that are looked at; more are cut.
pub const RULES_MAX: usize = 1024;
/// Most rules of a capability; more are an error.
pub const CAPABILITY_RULES_MAX: usize = 64;
/// Longest entry as it is written.
pub const RULE_MAX_LEN: usize = 2 + 19;

const NOT: u8 = 0x80;
const OR: u8 = 0x40;
const NUMBER: u8 = 0x3f;
/// Numbers below are actions.
const FIRST_MATCH: u8 = 16;

/// An entry of a rule list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The match is turned round.
    pub not: bool,
    /// Joined to the match before by OR instead of AND.
    pub or: bool,
    /// Action or match.
    pub what: What,
}

/// Where a copy goes, and how much of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyTo {
    /// Low 40 bits: a node address, perhaps a reserved one.
    pub to: u64,
    /// Not used yet.
    pub flags: u32,
    /// Bytes of the frame.
    pub length: u16,
}

/// Comparison of a tag of both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagTest {
    /// The values differ by so much at most.
    Difference,
    /// AND of both equals.
    And,
    /// OR of both equals.
    Or,
    /// XOR of both equals.
    Xor,
    /// Both equal.
    Equal,
    /// The sender's equals.
    Sender,
    /// The receiver's equals.
    Receiver,
}

/// What an entry does or looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// 0
    Drop,
    /// 1
    Accept,
    /// 2
    Tee(CopyTo),
    /// 3
    Watch(CopyTo),
    /// 4
    Redirect(CopyTo),
    /// 5
    Break,
    /// 6, its bucket is not transmitted
    Priority,
    /// 24: low 40 bits
    SourceAddress(u64),
    /// 25: low 40 bits
    DestAddress(u64),
    /// 26
    VlanId(u16),
    /// 27
    VlanPcp(u8),
    /// 28
    VlanDei(u8),
    /// 29
    MacSource(Mac),
    /// 30
    MacDest(Mac),
    /// 31: address, bits
    Ipv4Source([u8; 4], u8),
    /// 32: address, bits
    Ipv4Dest([u8; 4], u8),
    /// 33: address, bits
    Ipv6Source([u8; 16], u8),
    /// 34: address, bits
    Ipv6Dest([u8; 16], u8),
    /// 35
    IpTos {
        /// Bits that are looked at.
        mask: u8,
        /// Least.
        from: u8,
        /// Greatest.
        to: u8,
    },
    /// 36
    IpProtocol(u8),
    /// 37
    Ethertype(u16),
    /// 38
    Icmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code; `None`: any.
        code: Option<u8>,
        /// Code and flags as they were read.
        raw: [u8; 2],
    },
    /// 39: from, to
    SourcePorts(u16, u16),
    /// 40: from, to
    DestPorts(u16, u16),
    /// 41: any of these bits
    Characteristics(u64),
    /// 42: from, to
    FrameSize(u16, u16),
    /// 43: probability in 2^-32
    Random(u32),
    /// 44 to 50
    Tag {
        /// How.
        test: TagTest,
        /// Which tag.
        id: u32,
        /// Value compared with.
        value: u32,
    },
    /// 51
    IntegerRange {
        /// Least.
        start: u64,
        /// Greatest minus least.
        span: u32,
        /// Where in the frame.
        index: u16,
        /// 0x80 little-endian, low six bits: bits minus one.
        format: u8,
    },
    /// A number without meaning here.
    Unknown(u8),
}

const ADDRESS_MASK: u64 = 0xff_ffff_ffff;

/// Bytes of the value that an entry with this number is written with; none of numbers without
/// meaning.
pub const fn value_len(number: u8) -> u8 {
    match number {
        2..=4 => 14,
        27 | 28 | 36 => 1,
        26 | 37 => 2,
        35 | 38 => 3,
        39 | 40 | 42 | 43 => 4,
        24 | 25 | 31 | 32 => 5,
        29 | 30 => 6,
        41 | 44..=50 => 8,
        33 | 34 => 17,
        51 => 19,
        _ => 0,
    }
}

/// Passes over one entry; its first byte, and the value that its number has.
fn entry<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), Malformed> {
    let kind = reader.u8()?;
    let len = usize::from(reader.u8()?);
    let value = reader.clone().bytes(value_len(kind & NUMBER).into())?;
    // 1.14.1 notices only later that a length reaches past the end.
    reader.bytes(len.min(reader.remaining()))?;
    Ok((kind, value))
}

/// Writes one entry with the length that its kind has, and no more in it than is looked at.
fn rewrite(kind: u8, value: &[u8], writer: &mut Writer<'_>) -> Result<(), Malformed> {
    let number = kind & NUMBER;
    writer.u8(kind);
    writer.u8(value_len(number));
    let mut reader = Reader::new(value);
    match number {
        2..=4 => writer.u64(reader.u64()? & ADDRESS_MASK),
        51 => {
            let (start, end) = (reader.u64()?, reader.u64()?);
            let span = end.wrapping_sub(start) & u64::from(u32::MAX);
            writer.u64(start);
            writer.u64(start.wrapping_add(span));
        }
        _ => {}
    }
    writer.bytes(reader.rest());
    Ok(())
}

impl Rule {
    /// An action, or a match that stands by itself.
    pub const fn new(what: What) -> Self {
        Self {
            not: false,
            or: false,
            what,
        }
    }

    /// Reads one entry.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (kind, value) = entry(reader)?;
        let what = What::read(kind & NUMBER, &mut Reader::new(value))?;
        Ok(Self {
            not: kind & NOT != 0,
            or: kind & OR != 0,
            what,
        })
    }

    /// Writes one entry, with the length that its kind has.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let not = if self.not { NOT } else { 0 };
        let or = if self.or { OR } else { 0 };
        let number = self.what.number() & NUMBER;
        writer.u8(not | or | number);
        writer.u8(value_len(number));
        self.what.write(writer);
        writer.end()
    }

    /// An action, known or not; else a match.
    pub const fn is_action(&self) -> bool {
        self.what.number() < FIRST_MATCH
    }
}

impl What {
    fn read(number: u8, r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match number {
            0 => Self::Drop,
            1 => Self::Accept,
            2 => Self::Tee(CopyTo::read(r)?),
            3 => Self::Watch(CopyTo::read(r)?),
            4 => Self::Redirect(CopyTo::read(r)?),
            5 => Self::Break,
            6 => Self::Priority,
            24 => Self::SourceAddress(read_address(r)?),
            25 => Self::DestAddress(read_address(r)?),
            26 => Self::VlanId(r.u16()?),
            27 => Self::VlanPcp(r.u8()?),
            28 => Self::VlanDei(r.u8()?),
            29 => Self::MacSource(r.mac()?),
            30 => Self::MacDest(r.mac()?),
            31 => Self::Ipv4Source(r.array()?, r.u8()?),
            32 => Self::Ipv4Dest(r.array()?, r.u8()?),
            33 => Self::Ipv6Source(r.array()?, r.u8()?),
            34 => Self::Ipv6Dest(r.array()?, r.u8()?),
            35 => Self::IpTos {
                mask: r.u8()?,
                from: r.u8()?,
                to: r.u8()?,
            },
            36 => Self::IpProtocol(r.u8()?),
            37 => Self::Ethertype(r.u16()?),
            38 => {
                let kind = r.u8()?;
                let raw @ [code, flags] = r.array()?;
                Self::Icmp {
                    kind,
                    code: (flags & 1 != 0).then_some(code),
                    raw,
                }
            }
            39 => Self::SourcePorts(r.u16()?, r.u16()?),
            40 => Self::DestPorts(r.u16()?, r.u16()?),
            41 => Self::Characteristics(r.u64()?),
            42 => Self::FrameSize(r.u16()?, r.u16()?),
            43 => Self::Random(r.u32()?),
            44..=50 => Self::Tag {
                test: TagTest::from_number(number),
                id: r.u32()?,
                value: r.u32()?,
            },
            51 => {
                let (start, end) = (r.u64()?, r.u64()?);
                let [_, _, _, _, a, b, c, d] = end.wrapping_sub(start).to_be_bytes();
                Self::IntegerRange {
                    start,
                    span: u32::from_be_bytes([a, b, c, d]),
                    index: r.u16()?,
                    format: r.u8()?,
                }
            }
            number => Self::Unknown(number),
        })
    }

    const fn number(&self) -> u8 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Tee(_) => 2,
            Self::Watch(_) => 3,
            Self::Redirect(_) => 4,
            Self::Break => 5,
            Self::Priority => 6,
            Self::SourceAddress(_) => 24,
            Self::DestAddress(_) => 25,
            Self::VlanId(_) => 26,
            Self::VlanPcp(_) => 27,
            Self::VlanDei(_) => 28,
            Self::MacSource(_) => 29,
            Self::MacDest(_) => 30,
            Self::Ipv4Source(..) => 31,
            Self::Ipv4Dest(..) => 32,
            Self::Ipv6Source(..) => 33,
            Self::Ipv6Dest(..) => 34,
            Self::IpTos { .. } => 35,
            Self::IpProtocol(_) => 36,
            Self::Ethertype(_) => 37,
            Self::Icmp { .. } => 38,
            Self::SourcePorts(..) => 39,
            Self::DestPorts(..) => 40,
            Self::Characteristics(_) => 41,
            Self::FrameSize(..) => 42,
            Self::Random(_) => 43,
            Self::Tag { test, .. } => test.number(),
            Self::IntegerRange { .. } => 51,
            Self::Unknown(number) => *number,
        }
    }

    fn write(&self, w: &mut Writer<'_>) {
        match *self {
            Self::Drop | Self::Accept | Self::Break | Self::Priority | Self::Unknown(_) => {}
            Self::Tee(copy) | Self::Watch(copy) | Self::Redirect(copy) => copy.write(w),
            Self::SourceAddress(address) | Self::DestAddress(address) => {
                let [_, _, _, a, b, c, d, e] = address.to_be_bytes();
                w.bytes(&[a, b, c, d, e]);
            }
            Self::VlanId(n) | Self::Ethertype(n) => w.u16(n),
            Self::VlanPcp(n) | Self::VlanDei(n) | Self::IpProtocol(n) => w.u8(n),
            Self::MacSource(mac) | Self::MacDest(mac) => w.mac(mac),
            Self::Ipv4Source(ip, bits) | Self::Ipv4Dest(ip, bits) => {
                w.bytes(&ip);
                w.u8(bits);
            }
            Self::Ipv6Source(ip, bits) | Self::Ipv6Dest(ip, bits) => {
                w.bytes(&ip);
                w.u8(bits);
            }
            Self::IpTos { mask, from, to } => w.bytes(&[mask, from, to]),
            Self::Icmp { kind, raw, .. } => {
                w.u8(kind);
                w.bytes(&raw);
            }
            Self::SourcePorts(from, to) | Self::DestPorts(from, to) | Self::FrameSize(from, to) => {
                w.u16(from);
                w.u16(to);
            }
            Self::Characteristics(mask) => w.u64(mask),
            Self::Random(n) => w.u32(n),
            Self::Tag { id, value, .. } => {
                w.u32(id);
                w.u32(value);
            }
            Self::IntegerRange {
                start,
                span,
                index,
                format,
            } => {
                w.u64(start);
                w.u64(start.wrapping_add(u64::from(span)));
                w.u16(index);
                w.u8(format);
            }
        }
    }
}

impl TagTest {
    const fn from_number(number: u8) -> Self {
        match number {
            44 => Self::Difference,
            45 => Self::And,
            46 => Self::Or,
            47 => Self::Xor,
            48 => Self::Equal,
            49 => Self::Sender,
            _ => Self::Receiver,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Difference => 44,
            Self::And => 45,
            Self::Or => 46,
            Self::Xor => 47,
            Self::Equal => 48,
            Self::Sender => 49,
            Self::Receiver => 50,
        }
    }
}

impl CopyTo {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            to: reader.u64()? & ADDRESS_MASK,
            flags: reader.u32()?,
            length: reader.u16()?,
        })
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.u64(self.to);
        writer.u32(self.flags);
        writer.u16(self.length);
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let [a, b, c, d, e] = reader.array()?;
    Ok(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]))
}

/// A rule list that was checked whole.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// From the first entry on, perhaps longer than the list.
    bytes: &'a [u8],
    count: u16,
}

impl<'a> Rules<'a> {
    /// No rules.
    pub const EMPTY: Self = Self {
        bytes: &[],
        count: 0,
    };

    /// Entries until the end, at most [`RULES_MAX`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut count = 0u16;
        while !reader.is_empty() && usize::from(count) < RULES_MAX {
            entry(&mut reader)?;
            count = count.saturating_add(1);
        }
        Ok(Self { bytes, count })
    }

    /// That many entries, leaving the rest to the reader.
    pub fn read(reader: &mut Reader<'a>, count: u16) -> Result<Self, Malformed> {
        let bytes = reader.rest();
        for _ in 0..count {
            entry(reader)?;
        }
        Ok(Self { bytes, count })
    }

    /// Entries.
    pub const fn len(&self) -> u16 {
        self.count
    }

    /// No entries.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = Rule> + Clone + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| Rule::read(&mut reader).ok())
    }

    /// Writes them, each with the length that its kind has.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let mut reader = Reader::new(self.bytes);
        for _ in 0..self.count {
            let (kind, value) = entry(&mut reader)?;
            rewrite(kind, value, writer)?;
        }
        writer.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_byte_leads_to_the_next_entry() {
        // network 4.1: ethertype with two more bytes, an unknown match, accept
        let bytes = [0x25, 4, 8, 0, 0xaa, 0xbb, 0x3c, 3, 1, 2, 3, 1, 0];
        let rules = Rules::parse(&bytes).unwrap();
        let what: std::vec::Vec<What> = rules.iter().map(|rule| rule.what).collect();
        assert_eq!(
            what,
            [What::Ethertype(0x0800), What::Unknown(60), What::Accept]
        );
        let mut out = [0; 16];
        let mut writer = Writer::new(&mut out);
        rules.write(&mut writer).unwrap();
        assert_eq!(writer.written(), [0x25, 2, 8, 0, 0x3c, 0, 1, 0]);
    }

    #[test]
    fn a_layout_beyond_the_end_is_refused() {
        assert!(Rules::parse(&[0x29, 8, 1, 2]).is_err());
        assert!(Rules::parse(&[0x01]).is_err());
        // Only the length byte reaches past the end.
        assert_eq!(Rules::parse(&[0x01, 9]).unwrap().len(), 1);
    }

    #[test]
    fn of_an_integer_range_32_bits_of_its_length_are_kept() {
        // network 4.1, entry 51
        let bytes = *b"\x33\x13\0\0\0\0\0\0\0\x0a\0\0\0\x01\0\0\0\x0c\0\x02\x87";
        let rule = Rules::parse(&bytes).unwrap().iter().next().unwrap();
        let what = What::IntegerRange {
            start: 10,
            span: 2,
            index: 2,
            format: 0x87,
        };
        assert_eq!(rule, Rule::new(what));
        let mut out = [0; RULE_MAX_LEN];
        let mut writer = Writer::new(&mut out);
        rule.write(&mut writer).unwrap();
        let mut expected = bytes;
        expected[13] = 0;
        assert_eq!(writer.written(), expected);
    }

    #[test]
    fn base_rules_beyond_1024_are_cut() {
        let many = [1, 0].repeat(1025);
        assert_eq!(usize::from(Rules::parse(&many).unwrap().len()), RULES_MAX);
    }
}
