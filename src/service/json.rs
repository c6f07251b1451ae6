//! JSON, small: reads `local.conf`, moons to be signed and replies; prints what the control
//! socket and the tools say. Not for the data path.
//!
//! Numbers are kept as they are written, so nothing is rounded. Of equal keys the last counts.
//! Bounds: nesting [`DEPTH_MAX`]; memory about 32 bytes per byte of input at worst, so the
//! caller bounds the input.

use core::fmt::{self, Write as _};

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
    Number(Box<str>),
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
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: line.chars().count() + 1,
        }
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

/// One step from a value to a value in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// The member of an object by key.
    Key(&'a str),
    /// The element of an array, from 0.
    Index(usize),
}

/// Where the value begins that a path leads to; `None`: the text has no such value.
pub fn locate(text: &str, path: &[Step<'_>]) -> Option<Place> {
    let mut parser = Parser { text, at: 0 };
    path.iter().try_for_each(|step| parser.enter(*step))?;
    parser.blanks();
    Some(Place::of(text, parser.at))
}

impl Value {
    /// Reads a whole text.
    pub fn parse(text: &str) -> Result<Self, BadJson> {
        let mut parser = Parser { text, at: 0 };
        let outcome = parser.value(0).and_then(|value| {
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

    /// A number.
    pub fn number(n: impl fmt::Display) -> Self {
        Self::Number(n.to_string().into())
    }

    /// A string.
    pub fn string(text: impl fmt::Display) -> Self {
        Self::String(text.to_string())
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
        match members.iter().rposition(|(k, _)| k == key) {
            Some(at) => {
                if let Some(member) = members.get_mut(at) {
                    member.1 = value;
                }
                let mut n = 0;
                members.retain(|(k, _)| {
                    n += 1;
                    n == at + 1 || k != key
                });
            }
            None => members.push((key.to_owned(), value)),
        }
    }

    /// Takes a member out of an object.
    pub fn remove(&mut self, key: &str) {
        if let Self::Object(members) = self {
            members.retain(|(k, _)| k != key);
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
        match self {
            Self::Array(elements) => Self::Array(elements.iter().map(Self::sorted).collect()),
            Self::Object(members) => {
                let mut sorted = Self::Object(Vec::new());
                for (key, value) in members {
                    sorted.set(key, value.sorted());
                }
                if let Self::Object(members) = &mut sorted {
                    members.sort_by(|a, b| a.0.cmp(&b.0));
                }
                sorted
            }
            other => other.clone(),
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
        self.write_indented(&mut out, blanks, 0);
        out
    }

    fn write_indented(&self, out: &mut String, blanks: usize, level: usize) {
        let line = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(core::iter::repeat_n(' ', level * blanks));
        };
        match self {
            Self::Array(elements) if !elements.is_empty() => {
                out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    element.write_indented(out, blanks, level + 1);
                }
                line(out, level);
                out.push(']');
            }
            Self::Object(members) if !members.is_empty() => {
                out.push('{');
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    // Writing to a String cannot fail.
                    let _ = write!(out, "{}: ", Quoted(key));
                    value.write_indented(out, blanks, level + 1);
                }
                line(out, level);
                out.push('}');
            }
            _ => {
                let _ = write!(out, "{self}");
            }
        }
    }
}

/// Compact, in one line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(on) => write!(f, "{on}"),
            Self::Number(text) => f.write_str(text),
            Self::String(text) => write!(f, "{}", Quoted(text)),
            Self::Array(elements) => {
                f.write_char('[')?;
                for (n, element) in elements.iter().enumerate() {
                    if n > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{element}")?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{}:{value}", Quoted(key))?;
                }
                f.write_char('}')
            }
        }
    }
}

/// A string in quotes, escaped.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                c if c < ' ' || c == '\x7f' => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// `at` ≤ `text.len()`, always on a character boundary.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().bytes().next()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - trimmed.len();
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Parsed<Value> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.eat("true") => Ok(Value::Bool(true)),
            _ if self.eat("false") => Ok(Value::Bool(false)),
            _ if self.eat("null") => Ok(Value::Null),
            _ => Err("a value is expected"),
        }
    }

    fn deeper(depth: usize) -> Parsed<usize> {
        if depth < DEPTH_MAX {
            Ok(depth + 1)
        } else {
            Err("nested too deep")
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Value> {
        let depth = Self::deeper(depth)?;
        self.eat("[");
        let mut elements = Vec::new();
        self.blanks();
        if self.eat("]") {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.blanks();
            if self.eat("]") {
                return Ok(Value::Array(elements));
            }
            if !self.eat(",") {
                return Err("',' or ']' is expected");
            }
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Value> {
        let depth = Self::deeper(depth)?;
        self.eat("{");
        let mut members = Vec::new();
        self.blanks();
        if self.eat("}") {
            return Ok(Value::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err("a key in quotes is expected");
            }
            let key = self.string()?;
            self.blanks();
            if !self.eat(":") {
                return Err("':' is expected");
            }
            members.push((key, self.value(depth)?));
            self.blanks();
            if self.eat("}") {
                return Ok(Value::Object(members));
            }
            if !self.eat(",") {
                return Err("',' or '}' is expected");
            }
        }
    }

    /// Goes to the value that a step leads to; of equal keys the last counts.
    fn enter(&mut self, step: Step<'_>) -> Option<()> {
        self.blanks();
        let (open, close) = match step {
            Step::Key(_) => ("{", "}"),
            Step::Index(_) => ("[", "]"),
        };
        if !self.eat(open) {
            return None;
        }
        let mut found = None;
        for n in 0.. {
            self.blanks();
            if self.eat(close) || (n > 0 && !self.eat(",")) {
                break;
            }
            self.blanks();
            let here = match step {
                Step::Key(wanted) => {
                    let key = (self.peek() == Some(b'"')).then(|| self.string().ok())??;
                    self.blanks();
                    if !self.eat(":") {
                        return None;
                    }
                    key == wanted
                }
                Step::Index(wanted) => n == wanted,
            };
            if here {
                found = Some(self.at);
            }
            self.value(0).ok()?;
        }
        self.at = found?;
        Some(())
    }

    fn digits(&mut self) -> usize {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        count
    }

    fn number(&mut self) -> Parsed<Value> {
        const BAD: Parsed<Value> = Err("bad number");
        let start = self.at;
        self.eat("-");
        let leading_zero = self.peek() == Some(b'0');
        match self.digits() {
            0 => return BAD,
            1 => {}
            _ if leading_zero => return BAD,
            _ => {}
        }
        if self.eat(".") && self.digits() == 0 {
            return BAD;
        }
        if self.eat("e") || self.eat("E") {
            if !self.eat("+") {
                self.eat("-");
            }
            if self.digits() == 0 {
                return BAD;
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Value::Number(text.into()))
    }

    fn string(&mut self) -> Parsed<String> {
        self.eat("\"");
        let mut out = String::new();
        loop {
            let c = self.rest().chars().next().ok_or("the string has no end")?;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c if c < ' ' => return Err("control character in a string"),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        const BAD: &str = "bad escape";
        let c = self.rest().chars().next().ok_or(BAD)?;
        self.at += c.len_utf8();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.hex4().ok_or(BAD)?;
                let code = match high {
                    0xd800..=0xdbff => {
                        let low = if self.eat("\\u") { self.hex4() } else { None };
                        let low = low.filter(|l| (0xdc00..=0xdfff).contains(l)).ok_or(BAD)?;
                        0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    other => other,
                };
                char::from_u32(code).ok_or(BAD)?
            }
            _ => return Err(BAD),
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| all_hex)?;
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
    fn values_are_found_by_their_path() {
        use Step::{Index, Key};
        let text = "{\"a\": 1,\n  \"b\" : [ 1, {\"c\":[]}, \"ä\", 7 ],\n \"a\": 2}";
        let at = |path: &[Step<'_>]| locate(text, path).map(|p| (p.line, p.column));
        assert_eq!(at(&[]), Some((1, 1)));
        assert_eq!(at(&[Key("a")]), Some((3, 7)));
        assert_eq!(at(&[Key("b"), Index(3)]), Some((2, 29)));
        assert_eq!(at(&[Key("b"), Index(1), Key("c")]), Some((2, 19)));
        for path in [&[Key("x")][..], &[Index(0)], &[Key("b"), Index(4)]] {
            assert_eq!(at(path), None, "{path:?}");
        }
        for cut in 0..text.len() {
            let _ = text
                .get(..cut)
                .map(|text| locate(text, &[Key("b"), Index(1)]));
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
