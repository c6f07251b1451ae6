//! JSON, small: reads `local.conf`, moons to be signed and replies; prints what the control
//! socket and the tools say. Not for the data path.
//!
//! Numbers are kept as they are written, so nothing is rounded. Of equal keys the last counts.
//! Bounds: nesting [`DEPTH_MAX`]; memory about 32 bytes per byte of input at worst, so the
//! caller bounds the input.

use core::fmt::{self, Write as _};

use crate::base::sorted::take_out;

/// Deepest nesting of arrays and objects.
pub const DEPTH_MAX: usize = 32;

/// A JSON value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A string, decoded.
    String(String),
    /// `[…]`
    Array(Vec<Self>),
    /// `{…}` in the order of the text.
    Object(Vec<(String, Self)>),
}

/// A place in a text, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Character in that line.
    pub column: usize,
}

impl Place {
    /// Of a byte.
    pub(super) fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let (mut line, mut column) = (1, 1);
        for c in before.chars() {
            column += 1;
            if c == '\n' {
                (line, column) = (line + 1, 1);
            }
        }
        Self { line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Where and why a text is no JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadJson {
    /// Where.
    pub place: Place,
    /// What was expected there.
    pub why: &'static str,
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// Where in `text`, of which `tree` was read, one of its values begins; `None`: it is not in there.
pub fn locate(text: &str, tree: &Value, value: &Value) -> Option<Place> {
    let mut before = 0;
    if !tree.counts_to(value, &mut before) {
        return None;
    }
    let mut parser = Parser::new(text);
    parser.left = before;
    // It stops there.
    let _ = parser.value();
    Some(Place::of(text, parser.at))
}

impl Value {
    /// Reads a whole text.
    pub fn parse(text: &str) -> Result<Self, BadJson> {
        let mut parser = Parser::new(text);
        let outcome = parser.value().and_then(|value| {
            parser.blanks();
            if parser.at == text.len() {
                Ok(value)
            } else {
                Err("nothing may follow the value")
            }
        });
        outcome.map_err(|why| BadJson {
            place: Place::of(text, parser.at),
            why,
        })
    }

    /// Adds how many values stand in front of `wanted` in the text. `false`: it is none of these.
    fn counts_to(&self, wanted: &Self, before: &mut usize) -> bool {
        if core::ptr::eq(self, wanted) {
            return true;
        }
        *before += 1;
        match self {
            Self::Array(elements) => elements.iter().any(|e| e.counts_to(wanted, before)),
            Self::Object(members) => members.iter().any(|(_, v)| v.counts_to(wanted, before)),
            _ => false,
        }
    }

    /// A number.
    pub fn number(n: impl fmt::Display) -> Self {
        Self::Number(shown(&n))
    }

    /// A string.
    pub fn string(text: impl fmt::Display) -> Self {
        Self::String(shown(&text))
    }

    /// `null`
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The member of an object by key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Sets a member of an object; a new one comes last. Of equal keys one is left. Nothing else
    /// than an object has members.
    pub fn set(&mut self, key: &str, value: Self) {
        let Self::Object(members) = self else { return };
        let last = members.iter().rposition(|(k, _)| k == key);
        let before = members.iter().take(last.unwrap_or(members.len()));
        let at = before.filter(|(k, _)| k != key).count();
        self.remove(key);
        if let Self::Object(members) = self {
            members.insert(at, (key.to_owned(), value));
        }
    }

    /// Takes a member out of an object.
    pub fn remove(&mut self, key: &str) {
        if let Self::Object(members) = self {
            take_out(members, &mut |(k, _)| k == key);
        }
    }

    /// The member of an object, an empty object if there was none or it was something else.
    pub fn object_in(&mut self, key: &str) -> Option<&mut Self> {
        if self.get(key).and_then(Self::as_object).is_none() {
            self.set(key, Self::Object(Vec::new()));
        }
        let Self::Object(members) = self else {
            return None;
        };
        let found = members.iter_mut().rev().find(|(k, _)| k == key);
        found.map(|(_, value)| value)
    }

    /// With the members of every object in the order of their keys.
    #[must_use]
    pub fn sorted(&self) -> Self {
        // Made anew of its text, which takes no code of its own; what was read once can be again.
        let mut sorted = Self::parse(&self.to_string()).unwrap_or(Self::Null);
        sorted.sort();
        sorted
    }

    fn sort(&mut self) {
        match self {
            Self::Array(elements) => {
                for element in elements {
                    element.sort();
                }
            }
            Self::Object(members) => {
                let mut sorted: Vec<(String, Self)> = Vec::new();
                for mut member in core::mem::take(members) {
                    member.1.sort();
                    let at = sorted.iter().take_while(|(k, _)| *k < member.0).count();
                    match sorted.get_mut(at).filter(|(k, _)| *k == member.0) {
                        Some(same) => *same = member,
                        None => sorted.insert(at, member),
                    }
                }
                *members = sorted;
            }
            _ => {}
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// A whole number that is not negative, exactly.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(on) => Some(*on),
            _ => None,
        }
    }

    /// In lines, one blank more for each level.
    pub fn pretty(&self) -> String {
        self.indented(1)
    }

    /// In lines, so many blanks more for each level.
    pub fn indented(&self, blanks: usize) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, Some(blanks), 0);
        out
    }

    /// In lines with so many blanks for each level; `None`: compact.
    fn write(&self, out: &mut dyn fmt::Write, blanks: Option<usize>, level: usize) -> fmt::Result {
        let line = |out: &mut dyn fmt::Write, level: usize| match blanks {
            Some(blanks) => write!(out, "\n{:1$}", "", level * blanks),
            None => Ok(()),
        };
        let (count, brackets) = match self {
            Self::Null => return out.write_str("null"),
            Self::Bool(on) => return out.write_str(if *on { "true" } else { "false" }),
            Self::Number(text) => return out.write_str(text),
            Self::String(text) => return write!(out, "{}", Quoted(text)),
            Self::Array(elements) => (elements.len(), ['[', ']']),
            Self::Object(members) => (members.len(), ['{', '}']),
        };
        let [open, close] = brackets;
        out.write_char(open)?;
        for n in 0..count {
            if n > 0 {
                out.write_char(',')?;
            }
            line(out, level + 1)?;
            let value = match self {
                Self::Object(members) => members.get(n).map(|(key, value)| {
                    let colon = if blanks.is_some() { ": " } else { ":" };
                    write!(out, "{}{colon}", Quoted(key)).map(|()| value)
                }),
                _ => self.as_array().and_then(|all| all.get(n)).map(Ok),
            };
            if let Some(value) = value.transpose()? {
                value.write(out, blanks, level + 1)?;
            }
        }
        if count > 0 {
            line(out, level)?;
        }
        out.write_char(close)
    }
}

#[inline(never)]
fn shown(value: &dyn fmt::Display) -> String {
    value.to_string()
}

/// Compact, in one line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None, 0)
    }
}

/// What stands for what behind a backslash.
const ESCAPES: [(u8, u8); 7] = [
    (b'"', b'"'),
    (b'\\', b'\\'),
    (b'n', b'\n'),
    (b'r', b'\r'),
    (b't', b'\t'),
    (b'b', 0x08),
    (b'f', 0x0c),
];

/// A string in quotes, escaped.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            let escape = ESCAPES.iter().find(|(_, is)| char::from(*is) == c);
            if let Some((name, _)) = escape {
                f.write_char('\\')?;
                f.write_char(char::from(*name))?;
            } else if c < ' ' || c == '\x7f' {
                write!(f, "\\u{:04x}", u32::from(c))?;
            } else {
                f.write_char(c)?;
            }
        }
        f.write_char('"')
    }
}

/// `at` ≤ `text.len()`, always on a character boundary.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Values until it stops.
    left: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            left: usize::MAX,
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// An ASCII character, if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self) -> Parsed<Value> {
        self.blanks();
        if self.left == 0 {
            return Err("");
        }
        self.left -= 1;
        match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.items(b'}', "',' or '}' is expected", &mut |parser| {
                    if parser.peek() != Some(b'"') {
                        return Err("a key in quotes is expected");
                    }
                    let key = parser.string()?;
                    parser.blanks();
                    if !parser.eat(b':') {
                        return Err("':' is expected");
                    }
                    members.push((key, parser.value()?));
                    Ok(())
                })?;
                Ok(Value::Object(members))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.items(b']', "',' or ']' is expected", &mut |parser| {
                    elements.push(parser.value()?);
                    Ok(())
                })?;
                Ok(Value::Array(elements))
            }
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Parsed<Value> {
        let (word, value) = match self.peek() {
            Some(b't') => ("true", Value::Bool(true)),
            Some(b'f') => ("false", Value::Bool(false)),
            _ => ("null", Value::Null),
        };
        if !self.rest().starts_with(word) {
            return Err("a value is expected");
        }
        self.at += word.len();
        Ok(value)
    }

    /// What stands between brackets, each read by `item`.
    fn items(
        &mut self,
        close: u8,
        expected: &'static str,
        item: &mut dyn FnMut(&mut Self) -> Parsed<()>,
    ) -> Parsed<()> {
        if self.depth == DEPTH_MAX {
            return Err("nested too deep");
        }
        self.depth += 1;
        self.at += 1;
        self.blanks();
        if !self.eat(close) {
            loop {
                self.blanks();
                item(self)?;
                self.blanks();
                if self.eat(close) {
                    break;
                }
                if !self.eat(b',') {
                    return Err(expected);
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Parsed<Value> {
        const BAD: Parsed<Value> = Err("bad number");
        let start = self.at;
        self.eat(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let count = self.digits();
        if count == 0 || count > 1 && leading_zero {
            return BAD;
        }
        if self.eat(b'.') && self.digits() == 0 {
            return BAD;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            if self.digits() == 0 {
                return BAD;
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(text.to_owned()))
    }

    fn string(&mut self) -> Parsed<String> {
        self.eat(b'"');
        let mut out = String::new();
        loop {
            let c = match self.next().ok_or("the string has no end")? {
                '"' => return Ok(out),
                '\\' => self.escape().ok_or("bad escape")?,
                c if c < ' ' => return Err("control character in a string"),
                c => c,
            };
            out.push(c);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.next()?;
        if c == '/' {
            return Some(c);
        }
        if c != 'u' {
            let escape = ESCAPES.iter().find(|(name, _)| char::from(*name) == c)?;
            return Some(char::from(escape.1));
        }
        let mut code = self.hex4()?;
        if let 0xd800..=0xdbff = code {
            if !self.rest().starts_with("\\u") {
                return None;
            }
            self.at += 2;
            let low = self.hex4().filter(|low| (0xdc00..=0xdfff).contains(low))?;
            code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        char::from_u32(code)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let mut code = 0;
        for digit in digits.chars() {
            code = code << 4 | digit.to_digit(16)?;
        }
        self.at += digits.len();
        Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_prints_the_same() {
        let text = r#"{"a":[1,-2.5e+3,18446744073709551615],"b":"q\"\\\n\u0001ä","c":{},"d":[],"e":[true,false,null]}"#;
        let value = Value::parse(text).unwrap();
        assert_eq!(value.to_string(), text);
        assert_eq!(Value::parse(&value.pretty()).unwrap(), value);
        assert_eq!(
            value.get("a").unwrap().as_array().unwrap()[2].as_u64(),
            Some(u64::MAX)
        );
    }

    #[test]
    fn pretty_is_one_blank_per_level() {
        let value = Value::parse(r#"{"a":[1,{"b":2}],"c":[]}"#).unwrap();
        assert_eq!(
            value.pretty(),
            "{\n \"a\": [\n  1,\n  {\n   \"b\": 2\n  }\n ],\n \"c\": []\n}"
        );
    }

    #[test]
    fn escapes_are_decoded_and_lone_surrogates_refused() {
        let text = |json: &str| Value::parse(json).map(|v| v.as_str().unwrap().to_owned());
        assert_eq!(text(r#""\ud83d\ude00\/\u00e4""#).unwrap(), "😀/ä");
        for bad in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\u+123""#,
            r#""\x""#,
        ] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let bad = Value::parse("{\n \"a\": 1,\n \"b\" 2\n}").unwrap_err();
        assert_eq!(bad.to_string(), "line 3, column 6: ':' is expected");
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "-",
            "1 2",
            "tru",
            "\"a",
            "{a:1}",
        ] {
            assert!(Value::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_found_in_their_text() {
        let text = "{\"a\": 1,\n  \"b\" : [ 1, {\"c\":[]}, \"ä\", 7 ],\n \"a\": 2}";
        let tree = Value::parse(text).unwrap();
        let at = |value: &Value| locate(text, &tree, value).map(|p| (p.line, p.column));
        let b = tree.get("b").and_then(Value::as_array).unwrap();
        assert_eq!(at(&tree), Some((1, 1)));
        assert_eq!(at(tree.get("a").unwrap()), Some((3, 7)));
        assert_eq!(at(&b[3]), Some((2, 29)));
        assert_eq!(at(b[1].get("c").unwrap()), Some((2, 19)));
        assert_eq!(at(&Value::number(7)), None);
        for cut in 0..text.len() {
            let _ = text.get(..cut).map(|text| locate(text, &tree, &b[3]));
        }
    }

    #[test]
    fn a_member_is_changed_where_it_stands() {
        let mut value = Value::parse(r#"{"a":1,"b":{"x":0},"a":2,"c":3}"#).unwrap();
        value.set("a", Value::number(5));
        value.object_in("b").unwrap().set("y", Value::Null);
        value.object_in("c").unwrap().set("z", Value::Bool(true));
        value.set("d", Value::string("new"));
        assert_eq!(
            value.to_string(),
            r#"{"b":{"x":0,"y":null},"a":5,"c":{"z":true},"d":"new"}"#
        );
        value.remove("b");
        assert_eq!(value.get("b"), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |n: usize| Value::parse(&("[".repeat(n) + &"]".repeat(n)));
        assert!(nested(DEPTH_MAX).is_ok());
        assert!(nested(DEPTH_MAX + 1).is_err());
        assert!(nested(100_000).is_err());
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = Value::parse(r#"{"b":[{"z":1,"a":2}],"a":{"c":1,"B":2,"c":3}}"#).unwrap();
        let sorted = r#"{"a":{"B":2,"c":3},"b":[{"a":2,"z":1}]}"#;
        assert_eq!(value.sorted().to_string(), sorted);
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let value = Value::parse(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(value.get("a").and_then(Value::as_u64), Some(2));
    }
}
