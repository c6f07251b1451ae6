//! A request as it comes from the socket: bounded, borrowed, never trusted.
//!
//! Bounds: request line [`LINE_MAX`], headers [`HEADERS_MAX`] and [`HEADER_COUNT_MAX`], body
//! [`BODY_MAX`] of a length that is said in front; nothing chunked.

use zeroize::Zeroizing;

use crate::service::control::line::hex_pair;

/// Longest request line, its end included.
pub const LINE_MAX: usize = 1024;
/// Longest headers together, the empty line included.
pub const HEADERS_MAX: usize = 4096;
/// Most headers.
pub const HEADER_COUNT_MAX: usize = 32;
/// Longest body.
pub const BODY_MAX: usize = 4096;

/// What is to be done with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: as GET, without the body of the answer.
    Head,
    /// POST, and PUT, which is the same here.
    Post,
    /// DELETE
    Delete,
    /// Something that no path knows.
    Other,
}

/// A request without its body, in the buffer it came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub method: Method,
    /// The path, decoded.
    pub path: String,
    /// What stands behind `?`, not decoded.
    query: &'a str,
    /// `X-ZT1-Auth`
    token: Option<&'a [u8]>,
    /// `Authorization`
    authorization: Option<&'a [u8]>,
    /// Bytes of the head, its empty line included.
    pub head_len: usize,
    /// Bytes of the body.
    pub body_len: usize,
    /// The client waits to be told that it may send the body.
    pub waits: bool,
    /// It understands bodies in chunks.
    pub has_chunks: bool,
}

const METHODS: [(&str, Method); 5] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("POST", Method::Post),
    ("PUT", Method::Post),
    ("DELETE", Method::Delete),
];

/// Headers that matter.
const HEADERS: [(&str, Header); 5] = [
    ("x-zt1-auth", Header::Token),
    ("authorization", Header::Authorization),
    ("content-length", Header::Length),
    ("transfer-encoding", Header::Coding),
    ("expect", Header::Expect),
];

#[derive(Clone, Copy)]
enum Header {
    Token,
    Authorization,
    Length,
    Coding,
    Expect,
}

/// Why bytes are no request, as the status that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Bad {
    /// Not HTTP.
    Malformed = 400,
    /// A body without its length in front.
    LengthRequired = 411,
    /// Body longer than [`BODY_MAX`].
    BodyTooLong = 413,
    /// Request line longer than [`LINE_MAX`].
    LineTooLong = 414,
    /// Headers longer than [`HEADERS_MAX`], or more than [`HEADER_COUNT_MAX`].
    HeadersTooLong = 431,
}

/// Reads the head at the front of `input`. `None`: it is not there yet as a whole.
pub fn parse(input: &[u8]) -> Result<Option<Request<'_>>, Bad> {
    let line_len = match input.iter().position(|b| *b == b'\n') {
        Some(end) if end < LINE_MAX => end + 1,
        None if input.len() < LINE_MAX => return Ok(None),
        _ => return Err(Bad::LineTooLong),
    };
    let Some(head_len) = head_len(input) else {
        return if input.len() - line_len < HEADERS_MAX {
            Ok(None)
        } else {
            Err(Bad::HeadersTooLong)
        };
    };
    if head_len - line_len > HEADERS_MAX {
        return Err(Bad::HeadersTooLong);
    }
    let head = input.get(..head_len).unwrap_or_default();
    let mut headers = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        // An empty line may stand in front of a request, but then it does not end one.
        Ok(httparse::Status::Complete(len)) if len == head_len => {}
        Ok(_) => return Err(Bad::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(Bad::HeadersTooLong),
        Err(_) => return Err(Bad::Malformed),
    }
    let method = parsed.method.unwrap_or_default();
    let method = METHODS.iter().find(|(name, _)| *name == method);
    let method = method.map_or(Method::Other, |(_, method)| *method);
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // No separator can be a part of what is encoded: all of it is sound if every word is.
    if decode(query, true).is_none() {
        return Err(Bad::Malformed);
    }
    let mut request = Request {
        method,
        path: decode(path, false).ok_or(Bad::Malformed)?,
        query,
        token: None,
        authorization: None,
        head_len,
        body_len: 0,
        waits: false,
        has_chunks: parsed.version == Some(1),
    };
    let mut length = None;
    for header in parsed.headers.iter() {
        let mut known = HEADERS.iter();
        let Some((_, what)) = known.find(|(name, _)| header.name.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let value = header.value.trim_ascii();
        match what {
            Header::Token => drop(request.token.get_or_insert(value)),
            Header::Authorization => drop(request.authorization.get_or_insert(value)),
            Header::Length => {
                let said = content_length(value)?;
                // Two that differ are an attempt to be read in two ways.
                if length.is_some_and(|length| length != said) {
                    return Err(Bad::Malformed);
                }
                length = Some(said);
            }
            Header::Coding => return Err(Bad::LengthRequired),
            Header::Expect => request.waits |= value.eq_ignore_ascii_case(b"100-continue"),
        }
    }
    if method == Method::Post && length.is_none() {
        return Err(Bad::LengthRequired);
    }
    request.body_len = length.unwrap_or(0);
    Ok(Some(request))
}

/// Where the empty line ends that ends the head.
fn head_len(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = input.get(at..)?;
        let line = rest.iter().position(|b| *b == b'\n')?;
        let is_empty = matches!(rest.get(..line)?, [] | [b'\r']);
        at += line + 1;
        if is_empty {
            return Some(at);
        }
    }
}

fn content_length(text: &[u8]) -> Result<usize, Bad> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Malformed);
    }
    let length = core::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    length.filter(|n| *n <= BODY_MAX).ok_or(Bad::BodyTooLong)
}

impl Request<'_> {
    /// The token that the client shows: of the header, of the query or of `Authorization`; the
    /// first of these that is there counts.
    pub fn token(&self) -> Option<Zeroizing<Vec<u8>>> {
        let token = match (self.token, self.parameter("auth")) {
            (Some(token), _) => token,
            (None, Some(token)) => return Some(Zeroizing::new(token.into_bytes())),
            (None, None) => {
                let (scheme, token) = self.authorization?.split_at_checked(BEARER.len())?;
                let is_bearer = scheme.eq_ignore_ascii_case(BEARER);
                is_bearer.then_some(token)?.trim_ascii()
            }
        };
        Some(Zeroizing::new(token.to_vec()))
    }

    /// The function that the answer is to be an argument of. `Err`: that is no name.
    pub fn callback(&self) -> Result<Option<String>, Bad> {
        let is_name = |name: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.');
            name.bytes().all(fits)
        };
        match self.parameter("jsonp") {
            // Anything else would let whoever made the link say what this server says.
            Some(name) if !is_name(&name) => Err(Bad::Malformed),
            other => Ok(other),
        }
    }

    /// A parameter of the query, decoded.
    fn parameter(&self, key: &str) -> Option<String> {
        let pairs = self.query.split('&');
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.find(|(name, _)| *name == key)?;
        decode(value, true)
    }
}

const BEARER: &[u8] = b"bearer ";

/// Undoes `%xx`, and `+` in queries. `None`: broken, or no text.
fn decode(text: &str, in_query: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex_pair(&[bytes.next()?, bytes.next()?])?,
            b'+' if in_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}
