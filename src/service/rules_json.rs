//! Rules as objects of the controller API (network 4.6).
//!
//! Fields that are missing or of the wrong type count as 0, as in 1.14.1. Differs from 1.14.1:
//! an object that is no rule is refused and not left out, which would change what the set means;
//! integer ranges and priorities may be entered; what will surprise is warned of.

use core::fmt::{self, Write as _};
use core::net::IpAddr;

use super::json::Value;
use crate::base::Mac;
use crate::wire::rule::{CopyTo, Rule, TagTest, What};

const ADDRESS_MASK: u64 = 0xff_ffff_ffff;
const LITTLE_ENDIAN: u8 = 0x80;
const BITS: u8 = 0x3f;

/// Why an object is no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadRule {
    /// `type` is missing, no text, or no name of a rule.
    Type,
    /// The end of an integer range is before its start, or 2^32 or more behind it.
    Range,
    /// An integer has 1 to 64 bits.
    Bits,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "\"type\" names no rule",
            Self::Range => "the range must not be empty and less than 2^32 long",
            Self::Bits => "\"bits\" must be 1 to 64",
        })
    }
}

/// What the owner should know about a rule that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// `ip` without `/bits`: prefix 0, which every address has.
    NoBits,
    /// An address or MAC that cannot be read: 0 is taken.
    NoAddress,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBits => "an \"ip\" without bits matches every address",
            Self::NoAddress => "this is no address: 0 is taken",
        })
    }
}

/// Fields of an object, read one after the other.
struct Fields<'v> {
    object: &'v Value,
    warning: Option<Warning>,
}

impl<'v> Fields<'v> {
    fn text(&self, key: &str) -> Option<&'v str> {
        self.object.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &str) -> bool {
        self.object.get(key).and_then(Value::as_bool) == Some(true)
    }

    /// A whole number or decimal digits; the caller cuts it to the width of its field.
    fn number_or(&self, key: &str, default: u64) -> u64 {
        match self.object.get(key) {
            Some(Value::Number(digits)) => decimal(digits),
            Some(Value::String(digits)) => decimal(digits),
            _ => default,
        }
    }

    fn number(&self, key: &str) -> u64 {
        self.number_or(key, 0)
    }

    fn u8(&self, key: &str) -> u8 {
        low8(self.number(key))
    }

    fn u16(&self, key: &str) -> u16 {
        low16(self.number(key))
    }

    fn u32(&self, key: &str) -> u32 {
        low32(self.number(key))
    }

    /// Hexadecimal text, or a number.
    fn hex(&self, key: &str) -> u64 {
        match self.text(key) {
            Some(digits) => hexadecimal(digits),
            None => self.number(key),
        }
    }

    fn address(&mut self, key: &str) -> u64 {
        let text = self.text(key).unwrap_or_default();
        if text.len() != 10 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            self.warning = Some(Warning::NoAddress);
        }
        hexadecimal(text) & ADDRESS_MASK
    }

    fn mac(&mut self, key: &str) -> Mac {
        let text = self.text(key).unwrap_or_default();
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
        let mut bytes = [0; 6];
        if crate::wire::identity::parse_hex(&digits, &mut bytes).is_err() {
            self.warning = Some(Warning::NoAddress);
            bytes = [0; 6];
        }
        Mac::new(bytes)
    }

    /// Address and bits of `ip`; `N` bytes.
    fn ip<const N: usize>(&mut self, octets: impl Fn(IpAddr) -> Option<[u8; N]>) -> ([u8; N], u8) {
        let text = self.text("ip").unwrap_or_default();
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, decimal(bits)),
            None => {
                self.warning = Some(Warning::NoBits);
                (text, 0)
            }
        };
        let most = N as u64 * 8;
        match ip.parse().ok().and_then(octets) {
            Some(ip) => (ip, low8(bits.min(most))),
            None => {
                self.warning = Some(Warning::NoAddress);
                ([0; N], low8(bits.min(most)))
            }
        }
    }

    fn ipv4(&mut self) -> ([u8; 4], u8) {
        self.ip(|ip| match ip {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        })
    }

    fn ipv6(&mut self) -> ([u8; 16], u8) {
        self.ip(|ip| match ip {
            IpAddr::V6(ip) => Some(ip.octets()),
            IpAddr::V4(_) => None,
        })
    }

    fn range(&self) -> (u16, u16) {
        let start = self.u16("start");
        (start, low16(self.number_or("end", start.into())))
    }

    fn copy(&mut self, length: bool) -> CopyTo {
        CopyTo {
            to: self.address("address"),
            flags: self.u32("flags"),
            length: if length { self.u16("length") } else { 0 },
        }
    }

    fn tag(&self, test: TagTest) -> What {
        What::Tag {
            test,
            id: self.u32("id"),
            value: self.u32("value"),
        }
    }

    fn icmp(&self) -> What {
        let code = match self.object.get("icmpCode") {
            None | Some(Value::Null) => None,
            Some(_) => Some(self.u8("icmpCode")),
        };
        What::Icmp {
            kind: self.u8("icmpType"),
            code,
            raw: code.map_or([0, 0], |code| [code, 1]),
        }
    }

    fn integer_range(&self) -> Result<What, BadRule> {
        let (start, end) = (self.hex("start"), self.hex("end"));
        let span = end.checked_sub(start).ok_or(BadRule::Range)?;
        let bits = self.number("bits");
        if !(1..=64).contains(&bits) {
            return Err(BadRule::Bits);
        }
        let order = if self.flag("little") {
            LITTLE_ENDIAN
        } else {
            0
        };
        Ok(What::IntegerRange {
            start,
            span: u32::try_from(span).map_err(|_| BadRule::Range)?,
            index: self.u16("idx"),
            format: order | (low8(bits - 1) & BITS),
        })
    }

    fn what(&mut self) -> Result<What, BadRule> {
        Ok(match self.text("type").ok_or(BadRule::Type)? {
            "ACTION_DROP" => What::Drop,
            "ACTION_ACCEPT" => What::Accept,
            "ACTION_TEE" => What::Tee(self.copy(true)),
            "ACTION_WATCH" => What::Watch(self.copy(true)),
            "ACTION_REDIRECT" => What::Redirect(self.copy(false)),
            "ACTION_BREAK" => What::Break,
            // Its bucket is not transmitted.
            "ACTION_PRIORITY" => What::Priority,
            "MATCH_SOURCE_ZEROTIER_ADDRESS" => What::SourceAddress(self.address("zt")),
            "MATCH_DEST_ZEROTIER_ADDRESS" => What::DestAddress(self.address("zt")),
            "MATCH_VLAN_ID" => What::VlanId(self.u16("vlanId")),
            "MATCH_VLAN_PCP" => What::VlanPcp(self.u8("vlanPcp")),
            "MATCH_VLAN_DEI" => What::VlanDei(self.u8("vlanDei")),
            "MATCH_MAC_SOURCE" => What::MacSource(self.mac("mac")),
            "MATCH_MAC_DEST" => What::MacDest(self.mac("mac")),
            "MATCH_IPV4_SOURCE" => {
                let (ip, bits) = self.ipv4();
                What::Ipv4Source(ip, bits)
            }
            "MATCH_IPV4_DEST" => {
                let (ip, bits) = self.ipv4();
                What::Ipv4Dest(ip, bits)
            }
            "MATCH_IPV6_SOURCE" => {
                let (ip, bits) = self.ipv6();
                What::Ipv6Source(ip, bits)
            }
            "MATCH_IPV6_DEST" => {
                let (ip, bits) = self.ipv6();
                What::Ipv6Dest(ip, bits)
            }
            "MATCH_IP_TOS" => What::IpTos {
                mask: self.u8("mask"),
                from: self.u8("start"),
                to: self.u8("end"),
            },
            "MATCH_IP_PROTOCOL" => What::IpProtocol(self.u8("ipProtocol")),
            "MATCH_ETHERTYPE" => What::Ethertype(self.u16("etherType")),
            "MATCH_ICMP" => self.icmp(),
            "MATCH_IP_SOURCE_PORT_RANGE" => {
                let (start, end) = self.range();
                What::SourcePorts(start, end)
            }
            "MATCH_IP_DEST_PORT_RANGE" => {
                let (start, end) = self.range();
                What::DestPorts(start, end)
            }
            "MATCH_CHARACTERISTICS" => What::Characteristics(self.hex("mask")),
            "MATCH_FRAME_SIZE_RANGE" => {
                let (start, end) = self.range();
                What::FrameSize(start, end)
            }
            "MATCH_RANDOM" => What::Random(self.u32("probability")),
            "MATCH_TAGS_DIFFERENCE" => self.tag(TagTest::Difference),
            "MATCH_TAGS_BITWISE_AND" => self.tag(TagTest::And),
            "MATCH_TAGS_BITWISE_OR" => self.tag(TagTest::Or),
            "MATCH_TAGS_BITWISE_XOR" => self.tag(TagTest::Xor),
            "MATCH_TAGS_EQUAL" => self.tag(TagTest::Equal),
            "MATCH_TAG_SENDER" => self.tag(TagTest::Sender),
            "MATCH_TAG_RECEIVER" => self.tag(TagTest::Receiver),
            "INTEGER_RANGE" | "MATCH_INTEGER_RANGE" => self.integer_range()?,
            _ => return Err(BadRule::Type),
        })
    }
}

/// Leading decimal digits, counted modulo 2^64; a minus turns the sign.
fn decimal(text: &str) -> u64 {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = digits
        .bytes()
        .take_while(u8::is_ascii_digit)
        .fold(0u64, |n, b| {
            n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))
        });
    if digits.len() < text.len() {
        number.wrapping_neg()
    } else {
        number
    }
}

/// Leading hexadecimal digits, counted modulo 2^64.
fn hexadecimal(text: &str) -> u64 {
    text.chars()
        .map_while(|c| c.to_digit(16))
        .fold(0, |n, digit| (n << 4) | u64::from(digit))
}

const fn low8(n: u64) -> u8 {
    (n & 0xff) as u8
}

const fn low16(n: u64) -> u16 {
    (n & 0xffff) as u16
}

const fn low32(n: u64) -> u32 {
    (n & 0xffff_ffff) as u32
}

/// Reads a rule.
pub fn parse(object: &Value) -> Result<(Rule, Option<Warning>), BadRule> {
    let mut fields = Fields {
        object,
        warning: None,
    };
    let mut rule = Rule::new(fields.what()?);
    if !rule.is_action() {
        rule.not = fields.flag("not");
        rule.or = fields.flag("or");
    }
    Ok((rule, fields.warning))
}

/// The object of a rule; `None` for one without a name.
pub fn render(rule: &Rule) -> Option<Value> {
    let mut members: Vec<(String, Value)> = Vec::new();
    let mut put = |key: &str, value: Value| members.push((key.into(), value));
    let number = |n: u64| Value::number(n);
    let address = |n: u64| Value::string(format_args!("{n:010x}"));
    let mask = |n: u64| Value::string(format_args!("{n:016x}"));
    let net = |ip: IpAddr, bits: u8| Value::string(format_args!("{ip}/{bits}"));
    put("type", Value::string(name(&rule.what)?));
    match rule.what {
        What::Drop | What::Accept | What::Break | What::Priority | What::Unknown(_) => {}
        What::Tee(copy) | What::Watch(copy) => {
            put("address", address(copy.to));
            put("flags", number(copy.flags.into()));
            put("length", number(copy.length.into()));
        }
        What::Redirect(copy) => {
            put("address", address(copy.to));
            put("flags", number(copy.flags.into()));
        }
        What::SourceAddress(zt) | What::DestAddress(zt) => put("zt", address(zt)),
        What::VlanId(id) => put("vlanId", number(id.into())),
        What::VlanPcp(pcp) => put("vlanPcp", number(pcp.into())),
        What::VlanDei(dei) => put("vlanDei", number(dei.into())),
        What::MacSource(mac) | What::MacDest(mac) => {
            let mut text = String::new();
            for (n, byte) in mac.to_bytes().iter().enumerate() {
                let colon = if n == 0 { "" } else { ":" };
                // Writing to a String cannot fail.
                let _ = write!(text, "{colon}{byte:02x}");
            }
            put("mac", Value::String(text));
        }
        What::Ipv4Source(ip, bits) | What::Ipv4Dest(ip, bits) => put("ip", net(ip.into(), bits)),
        What::Ipv6Source(ip, bits) | What::Ipv6Dest(ip, bits) => put("ip", net(ip.into(), bits)),
        What::IpTos { mask, from, to } => {
            put("mask", number(mask.into()));
            put("start", number(from.into()));
            put("end", number(to.into()));
        }
        What::IpProtocol(protocol) => put("ipProtocol", number(protocol.into())),
        What::Ethertype(ethertype) => put("etherType", number(ethertype.into())),
        What::Icmp { kind, code, .. } => {
            put("icmpType", number(kind.into()));
            put(
                "icmpCode",
                code.map_or(Value::Null, |code| number(code.into())),
            );
        }
        What::SourcePorts(from, to) | What::DestPorts(from, to) | What::FrameSize(from, to) => {
            put("start", number(from.into()));
            put("end", number(to.into()));
        }
        What::Characteristics(bits) => put("mask", mask(bits)),
        What::Random(probability) => put("probability", number(probability.into())),
        What::Tag { id, value, .. } => {
            put("id", number(id.into()));
            put("value", number(value.into()));
        }
        What::IntegerRange {
            start,
            span,
            index,
            format,
        } => {
            put("start", mask(start));
            put("end", mask(start.wrapping_add(span.into())));
            put("idx", number(index.into()));
            put("little", Value::Bool(format & LITTLE_ENDIAN != 0));
            put("bits", number(u64::from(format & BITS) + 1));
        }
    }
    if !rule.is_action() {
        put("not", Value::Bool(rule.not));
        put("or", Value::Bool(rule.or));
    }
    Some(Value::Object(members))
}

const fn name(what: &What) -> Option<&'static str> {
    Some(match what {
        What::Drop => "ACTION_DROP",
        What::Accept => "ACTION_ACCEPT",
        What::Tee(_) => "ACTION_TEE",
        What::Watch(_) => "ACTION_WATCH",
        What::Redirect(_) => "ACTION_REDIRECT",
        What::Break => "ACTION_BREAK",
        What::Priority => "ACTION_PRIORITY",
        What::SourceAddress(_) => "MATCH_SOURCE_ZEROTIER_ADDRESS",
        What::DestAddress(_) => "MATCH_DEST_ZEROTIER_ADDRESS",
        What::VlanId(_) => "MATCH_VLAN_ID",
        What::VlanPcp(_) => "MATCH_VLAN_PCP",
        What::VlanDei(_) => "MATCH_VLAN_DEI",
        What::MacSource(_) => "MATCH_MAC_SOURCE",
        What::MacDest(_) => "MATCH_MAC_DEST",
        What::Ipv4Source(..) => "MATCH_IPV4_SOURCE",
        What::Ipv4Dest(..) => "MATCH_IPV4_DEST",
        What::Ipv6Source(..) => "MATCH_IPV6_SOURCE",
        What::Ipv6Dest(..) => "MATCH_IPV6_DEST",
        What::IpTos { .. } => "MATCH_IP_TOS",
        What::IpProtocol(_) => "MATCH_IP_PROTOCOL",
        What::Ethertype(_) => "MATCH_ETHERTYPE",
        What::Icmp { .. } => "MATCH_ICMP",
        What::SourcePorts(..) => "MATCH_IP_SOURCE_PORT_RANGE",
        What::DestPorts(..) => "MATCH_IP_DEST_PORT_RANGE",
        What::Characteristics(_) => "MATCH_CHARACTERISTICS",
        What::FrameSize(..) => "MATCH_FRAME_SIZE_RANGE",
        What::Random(_) => "MATCH_RANDOM",
        What::Tag { test, .. } => match test {
            TagTest::Difference => "MATCH_TAGS_DIFFERENCE",
            TagTest::And => "MATCH_TAGS_BITWISE_AND",
            TagTest::Or => "MATCH_TAGS_BITWISE_OR",
            TagTest::Xor => "MATCH_TAGS_BITWISE_XOR",
            TagTest::Equal => "MATCH_TAGS_EQUAL",
            TagTest::Sender => "MATCH_TAG_SENDER",
            TagTest::Receiver => "MATCH_TAG_RECEIVER",
        },
        What::IntegerRange { .. } => "INTEGER_RANGE",
        What::Unknown(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Rule, Option<Warning>), BadRule> {
        parse(&Value::parse(text).unwrap())
    }

    #[test]
    fn what_surprises_is_warned_of() {
        let warning = |text| read(text).unwrap().1;
        assert_eq!(
            warning(r#"{"type":"MATCH_IPV4_DEST","ip":"10.1.2.3"}"#),
            Some(Warning::NoBits)
        );
        assert_eq!(
            warning(r#"{"type":"MATCH_IPV4_DEST","ip":"fd00::/8"}"#),
            Some(Warning::NoAddress)
        );
        assert_eq!(
            warning(r#"{"type":"ACTION_TEE","address":"12345678"}"#),
            Some(Warning::NoAddress)
        );
        assert_eq!(
            warning(r#"{"type":"MATCH_MAC_DEST","mac":"02:00"}"#),
            Some(Warning::NoAddress)
        );
        assert_eq!(
            warning(r#"{"type":"MATCH_IPV4_DEST","ip":"10.1.2.3/32"}"#),
            None
        );
    }

    #[test]
    fn integer_ranges_are_taken_whole_or_not_at_all() {
        // network 4.1: bits minus one, 0x80 little-endian
        let range = |start: &str, end: &str, bits: u32| {
            read(&format!(
                r#"{{"type":"INTEGER_RANGE","start":"{start}","end":"{end}",
                "idx":4,"little":true,"bits":{bits},"not":true}}"#
            ))
        };
        let (rule, _) = range("ffffffffffffff00", "ffffffffffffffff", 64).unwrap();
        let what = What::IntegerRange {
            start: 0xffff_ffff_ffff_ff00,
            span: 255,
            index: 4,
            format: 0xbf,
        };
        assert_eq!((rule.what, rule.not, rule.or), (what, true, false));
        assert_eq!(parse(&render(&rule).unwrap()), Ok((rule, None)));
        assert_eq!(range("0", "100000000", 64), Err(BadRule::Range));
        assert_eq!(range("2", "1", 64), Err(BadRule::Range));
        assert_eq!(range("0", "1", 65), Err(BadRule::Bits));
        assert_eq!(range("0", "1", 0), Err(BadRule::Bits));
    }

    #[test]
    fn what_has_no_name_is_not_rendered() {
        assert_eq!(render(&Rule::new(What::Unknown(60))), None);
        assert_eq!(read("[]"), Err(BadRule::Type));
    }
}
