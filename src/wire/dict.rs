//! Text dictionaries of configurations and requests (network 2.1): lines `key=value`, with two
//! ways of escaping.
//!
//! Values may hold any bytes. Nothing is copied until a value is unescaped; unescaping never
//! makes it longer, so it can be done in place.

use core::ops::Range;

use super::Malformed;
use super::cursor::Writer;

/// How values are escaped, and what repeated keys mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// 1.1.6 and later: `=` is `\e`; the first of equal keys counts; a line end ends a value
    /// even behind a backslash; no line end behind the last entry.
    Modern,
    /// 1.0.x: `=` is `\=`; values of equal keys are joined; every entry ends with LF.
    Old,
}

/// Digits of a 64-bit number as 1.1.6 and later write it.
const NUMBER_DIGITS: u32 = 16;
/// Digits of an address.
const ADDRESS_DIGITS: u32 = 10;

/// A dictionary as it was received.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a> {
    text: &'a [u8],
    dialect: Dialect,
}

impl<'a> Dict<'a> {
    /// Of all bytes up to the first zero.
    pub fn new(text: &'a [u8], dialect: Dialect) -> Self {
        let text = text.split(|b| *b == 0).next().unwrap_or_default();
        Self { text, dialect }
    }

    /// All of it.
    pub const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// All lines with a `=`, in order, repeated keys too.
    pub const fn entries(&self) -> Entries<'a> {
        Entries {
            text: self.text,
            at: 0,
            dialect: self.dialect,
        }
    }

    /// First entry of that key; see [`Dict::unescape_all`] for 1.0.x.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entries()
            .find(|(name, _)| *name == key.as_bytes())
            .map(|(_, value)| value)
    }

    /// Number of that key, `default` if it is absent or empty.
    pub fn number(&self, key: &str, default: u64) -> u64 {
        self.get(key)
            .filter(|value| !value.is_empty())
            .map_or(default, |value| value.number())
    }

    /// Value of that key into `out` with equal keys as the dialect has it; `None` if absent.
    pub fn unescape_all<'o>(
        &self,
        key: &str,
        out: &'o mut [u8],
    ) -> Result<Option<&'o [u8]>, Malformed> {
        let mut writer = Writer::new(out);
        let mut found = false;
        for (_, value) in self.entries().filter(|(name, _)| *name == key.as_bytes()) {
            if found && self.dialect == Dialect::Modern {
                break;
            }
            found = true;
            for byte in value.bytes() {
                writer.u8(byte);
            }
        }
        writer.end()?;
        let len = writer.len();
        Ok(out.get(..len).filter(|_| found))
    }
}

/// Entries of a dictionary: key and value. Keys are not unescaped: nobody needs that.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
}

impl<'a> Entries<'a> {
    /// Length of the line at the front of `text`.
    fn line(&self, text: &[u8]) -> usize {
        let mut escaped = false;
        text.iter()
            .position(|byte| {
                let end = matches!(byte, b'\r' | b'\n') && !escaped;
                escaped = self.dialect == Dialect::Old && !escaped && *byte == b'\\';
                end
            })
            .unwrap_or(text.len())
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let text = self.text.get(start..).filter(|text| !text.is_empty())?;
            let len = self.line(text);
            // One byte for the line end.
            self.at = start.saturating_add(len).saturating_add(1);
            let line = text.get(..len)?;
            let Some(key_len) = line.iter().position(|b| *b == b'=') else {
                continue;
            };
            let (key, rest) = line.split_at_checked(key_len)?;
            let raw = rest.get(1..)?;
            let at = start.saturating_add(key_len).saturating_add(1);
            let dialect = self.dialect;
            return Some((key, Value { raw, at, dialect }));
        }
    }
}

/// A value, still escaped.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    raw: &'a [u8],
    at: usize,
    dialect: Dialect,
}

impl<'a> Value<'a> {
    /// Empty as it is written.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// As it is written.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where it stands in the text, for [`unescape_in_place`].
    pub const fn range(&self) -> Range<usize> {
        self.at..self.at.saturating_add(self.raw.len())
    }

    /// The bytes it means.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + use<'a> {
        Unescape {
            raw: self.raw,
            dialect: self.dialect,
        }
    }

    /// The bytes it means, without copying; `None` if anything is escaped.
    pub fn plain(&self) -> Option<&'a [u8]> {
        let special = |b: &u8| *b == b'\\' || (self.dialect == Dialect::Old && *b == b'=');
        (!self.raw.iter().any(special)).then_some(self.raw)
    }

    /// The bytes it means, copied to the front of `out`.
    pub fn unescape<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], Malformed> {
        let mut writer = Writer::new(out);
        self.bytes().for_each(|byte| writer.u8(byte));
        writer.end()?;
        let len = writer.len();
        out.get(..len).ok_or(Malformed::Truncated)
    }

    /// Hexadecimal, as lenient as everybody reads it: `-` and `0x` in front, stops at the first
    /// other character, counts modulo 2^64.
    pub fn number(&self) -> u64 {
        let digits = self.raw;
        let (negative, digits) = match digits.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, digits),
        };
        let digits = digits
            .strip_prefix(b"0x")
            .or_else(|| digits.strip_prefix(b"0X"))
            .unwrap_or(digits);
        let number = digits
            .iter()
            .map_while(|b| char::from(*b).to_digit(16))
            .fold(0u64, |n, digit| (n << 4) | u64::from(digit));
        if negative {
            number.wrapping_neg()
        } else {
            number
        }
    }

    /// Begins with `1`, `t` or `T`.
    pub const fn flag(&self) -> bool {
        matches!(self.raw, [b'1' | b't' | b'T', ..])
    }
}

struct Unescape<'a> {
    raw: &'a [u8],
    dialect: Dialect,
}

impl Iterator for Unescape<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.raw.split_first()?;
            self.raw = rest;
            match *first {
                b'\\' => {}
                // 1.0.x loses an unescaped one.
                b'=' if self.dialect == Dialect::Old => continue,
                byte => return Some(byte),
            }
            // A backslash at the end means nothing.
            let (escaped, rest) = self.raw.split_first()?;
            self.raw = rest;
            return Some(match (*escaped, self.dialect) {
                (b'0', _) => 0,
                (b'r', _) => b'\r',
                (b'n', _) => b'\n',
                (b'e', Dialect::Modern) => b'=',
                (byte, _) => byte,
            });
        }
    }
}

/// Replaces the value at `range` of `text` by the bytes it means; where they are. The rest of
/// the old value is left as it was, so read each value's range before the first such call.
pub fn unescape_in_place(
    text: &mut [u8],
    range: Range<usize>,
    dialect: Dialect,
) -> Result<Range<usize>, Malformed> {
    let start = range.start;
    let value = text.get_mut(range).ok_or(Malformed::Length)?;
    let (mut read, mut write) = (0usize, 0usize);
    while let Some(left) = value.get(read..) {
        let mut unescape = Unescape { raw: left, dialect };
        let Some(byte) = unescape.next() else {
            break;
        };
        let used = left.len().saturating_sub(unescape.raw.len());
        read = read.saturating_add(used);
        *value.get_mut(write).ok_or(Malformed::Length)? = byte;
        write = write.saturating_add(1);
    }
    Ok(start..start.saturating_add(write))
}

/// Writes a dictionary, entry by entry.
#[derive(Debug)]
pub struct DictWriter<'w, 'b> {
    out: &'w mut Writer<'b>,
    dialect: Dialect,
    empty: bool,
}

impl<'w, 'b> DictWriter<'w, 'b> {
    /// Into `out`, behind what is there.
    pub const fn new(out: &'w mut Writer<'b>, dialect: Dialect) -> Self {
        Self {
            out,
            dialect,
            empty: true,
        }
    }

    /// Any value.
    pub fn bytes(&mut self, key: &str, value: &[u8]) -> Result<(), Malformed> {
        self.begin(key);
        for byte in value {
            match byte {
                0 => self.out.bytes(b"\\0"),
                b'\r' => self.out.bytes(b"\\r"),
                b'\n' => self.out.bytes(b"\\n"),
                b'\\' => self.out.bytes(b"\\\\"),
                b'=' if self.dialect == Dialect::Modern => self.out.bytes(b"\\e"),
                b'=' => self.out.bytes(b"\\="),
                byte => self.out.u8(*byte),
            }
        }
        self.end()
    }

    /// Text without anything to escape, in parts.
    pub fn parts(&mut self, key: &str, parts: &[&str]) -> Result<(), Malformed> {
        self.begin(key);
        for part in parts {
            self.out.bytes(part.as_bytes());
        }
        self.end()
    }

    /// A number of so many digits.
    fn hex(&mut self, key: &str, value: u64, digits: u32) -> Result<(), Malformed> {
        self.begin(key);
        for n in (0..digits).rev() {
            let digit = value.checked_shr(n.saturating_mul(4)).unwrap_or(0) & 15;
            let digit = char::from_digit(digit as u32, 16).map_or(b'0', |c| c as u8);
            self.out.u8(digit);
        }
        self.end()
    }

    /// A number of sixteen digits.
    pub fn number(&mut self, key: &str, value: u64) -> Result<(), Malformed> {
        self.hex(key, value, NUMBER_DIGITS)
    }

    /// A number of as many digits as it needs, as 1.0.x clients write it.
    pub fn short_number(&mut self, key: &str, value: u64) -> Result<(), Malformed> {
        let bits = u64::BITS.saturating_sub(value.leading_zeros());
        self.hex(key, value, bits.div_ceil(4).max(1))
    }

    /// A number of ten digits: a node address, 0 for none.
    pub fn address(&mut self, key: &str, value: u64) -> Result<(), Malformed> {
        self.hex(key, value, ADDRESS_DIGITS)
    }

    /// `1` or `0`.
    pub fn flag(&mut self, key: &str, value: bool) -> Result<(), Malformed> {
        self.bytes(key, if value { b"1" } else { b"0" })
    }

    fn begin(&mut self, key: &str) {
        if self.dialect == Dialect::Modern && !self.empty {
            self.out.u8(b'\n');
        }
        self.empty = false;
        self.out.bytes(key.as_bytes());
        self.out.u8(b'=');
    }

    fn end(&mut self) -> Result<(), Malformed> {
        if self.dialect == Dialect::Old {
            self.out.u8(b'\n');
        }
        self.out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_as_the_reader_wants_it() {
        // network 2.1
        for (dialect, text) in [
            (
                Dialect::Modern,
                &b"k=a\\0\\r\\n\\\\\\eb\nn=00000000000000ff"[..],
            ),
            (Dialect::Old, b"k=a\\0\\r\\n\\\\\\=b\nn=00000000000000ff\n"),
        ] {
            let mut buffer = [0; 64];
            let mut out = Writer::new(&mut buffer);
            let mut dict = DictWriter::new(&mut out, dialect);
            dict.bytes("k", b"a\0\r\n\\=b").unwrap();
            dict.number("n", 255).unwrap();
            assert_eq!(out.written(), text);
            let dict = Dict::new(text, dialect);
            let mut value = [0; 16];
            let value = dict.get("k").unwrap().unescape(&mut value).unwrap();
            assert_eq!(value, b"a\0\r\n\\=b");
            assert_eq!(dict.number("n", 0), 255);
            assert_eq!(dict.number("m", 7), 7);
        }
    }

    #[test]
    fn in_place_gives_what_a_copy_gives() {
        let mut text = *b"v=7\nk=\\e\\\\x\\ny\\\nz=1";
        let value = Dict::new(&text, Dialect::Modern).get("k").unwrap();
        let range = value.range();
        assert_eq!(value.plain(), None);
        let mut copy = [0; 16];
        let copy = value.unescape(&mut copy).unwrap();
        let range = unescape_in_place(&mut text, range, Dialect::Modern).unwrap();
        assert_eq!(text.get(range), Some(copy));
        assert_eq!(copy, b"=\\x\ny");
    }

    #[test]
    fn numbers_are_read_leniently() {
        let number = |text: &[u8]| {
            let mut line = std::vec::Vec::from(&b"n="[..]);
            line.extend_from_slice(text);
            Dict::new(&line, Dialect::Modern).number("n", 9)
        };
        assert_eq!(number(b"0xFf"), 255);
        assert_eq!(number(b"1z2"), 1);
        assert_eq!(number(b"-1"), u64::MAX);
        assert_eq!(number(b""), 9);
        assert_eq!(number(b"z"), 0);
    }
}
