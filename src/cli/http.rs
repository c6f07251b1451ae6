//! Services that speak nothing but HTTP (1.0 to 1.14.1): requests of the control protocol are
//! translated, and so are the answers (service 2, 4).

use core::fmt;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::client::{Failure, REPLY_MAX_BYTES, Reply, SILENCE_MAX, Way, connect_tcp};
use crate::os::clock;
use crate::service::control::line::{Code, Field};
use crate::service::json::Value;

/// Between two looks for news that cannot be waited for.
const POLL: Duration = Duration::from_millis(500);

/// A service by its address and token. A connection for each request.
pub(super) struct Old {
    pub(super) at: SocketAddr,
    pub(super) token: Zeroizing<String>,
}

/// An answer: its status and body.
struct Answer {
    status: u16,
    body: String,
}

/// Commands, the method that does each, and where; behind a slash stands the id.
const COMMANDS: [(&str, &str, &str); 15] = [
    ("info", GET, "/status"),
    ("status", GET, "/status"),
    ("listpeers", GET, "/peer"),
    ("peers", GET, "/peer"),
    ("listnetworks", GET, "/network"),
    ("network", GET, "/network/"),
    ("get", GET, "/network/"),
    ("join", POST, "/network/"),
    ("set", POST, "/network/"),
    ("leave", DELETE, "/network/"),
    ("listmoons", GET, "/moon"),
    ("orbit", POST, "/moon/"),
    ("deorbit", DELETE, "/moon/"),
    ("metrics", GET, "/metrics"),
    ("conf", GET, "/config"),
];

const GET: &str = "GET";
const POST: &str = "POST";
const DELETE: &str = "DELETE";

const BROKEN: Failure = Failure::Connection(Way::Tcp, &"connection failed");

impl Old {
    /// Asks in the words of the control protocol.
    pub(super) fn ask(&self, json: bool, words: &[&str]) -> Result<Reply, Failure> {
        let (command, args) = words.split_first().unwrap_or((&"", &[]));
        let arg = |n: usize| args.get(n).copied().unwrap_or_default();
        let mut out = Rows {
            command,
            rows: Vec::new(),
        };
        let known = COMMANDS.iter().find(|known| known.0 == *command);
        // Of `local.conf` there is only the whole.
        let known = known.filter(|known| known.0 != "conf" || json && args.is_empty());
        let Some((_, method, place)) = known else {
            let text = format!("{} {command} not known to this service", Code::NotBuilt);
            return Ok(Reply { rows: vec![text] });
        };
        let mut path = (*place).to_owned();
        if path == "/moon/" {
            // From 1.12 to 1.14.1 just ten digits are taken.
            let id = u64::from_str_radix(arg(0), 16).unwrap_or(0);
            path.push_str(&format!("{id:010x}"));
        } else if path.ends_with('/') {
            path.push_str(arg(0));
        }
        let body = match *command {
            "orbit" => vec![("seed".into(), Value::string(arg(1)))],
            "set" => switches(args.get(1..2)),
            _ => switches(args.get(1..)),
        };
        let body = (*method == POST).then(|| Value::Object(body).to_string());
        let answer = self.request(method, &path, body.as_deref())?;
        out.take(json, arg(1), &answer);
        Ok(Reply { rows: out.rows })
    }

    /// There are no events: looks again after a while.
    pub(super) fn pause() {
        std::thread::sleep(POLL);
    }

    fn request(&self, method: &str, path: &str, body: Option<&str>) -> Result<Answer, Failure> {
        let mut stream = connect_tcp(self.at, SILENCE_MAX)?;
        let token = self.token.as_str();
        let mut head = Zeroizing::new(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-ZT1-Auth: {token}\r\n",
            self.at,
        ));
        if let Some(body) = body {
            head.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        head.push_str("\r\n");
        head.push_str(body.unwrap_or_default());
        let failed = |error| Way::Tcp.failed(&error);
        stream.write_all(head.as_bytes()).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let n = stream.read(&mut buffer).map_err(failed)?;
            bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
            if bytes.len() > REPLY_MAX_BYTES {
                return Err(BROKEN);
            }
            // Not all of them close when they were asked to.
            match read_answer(&bytes, n == 0) {
                Ok(answer) => return Ok(answer),
                Err(Unread::Cut) if n > 0 => {}
                Err(_) => return Err(BROKEN),
            }
        }
    }
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug)]
enum Unread {
    /// Not all of them are there.
    Cut,
    Bad,
}

/// Reads an answer if it is there as a whole.
fn read_answer(bytes: &[u8], ended: bool) -> Result<Answer, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Err(Unread::Cut),
        Err(_) => return Err(Unread::Bad),
    };
    let header = |name: &str| {
        let mut headers = head.headers.iter();
        let found = headers.find(|h| h.name.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(found.value).ok().map(str::trim_ascii)
    };
    let mut body = bytes.get(len..).unwrap_or_default();
    let chunks;
    if header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        chunks = unchunk(body)?;
        body = &chunks;
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().map_err(|_| Unread::Bad)?;
        body = body.get(..length).ok_or(Unread::Cut)?;
    } else if !ended {
        return Err(Unread::Cut);
    }
    Ok(Answer {
        status: head.code.unwrap_or(0),
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// Puts chunks together.
fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n");
        let (line, chunk) = rest
            .split_at_checked(end.ok_or(Unread::Cut)?)
            .ok_or(Unread::Bad)?;
        let len = chunk_len(line).ok_or(Unread::Bad)?;
        if len == 0 {
            return Ok(body);
        }
        let chunk = chunk.get(2..).ok_or(Unread::Bad)?;
        let end = len.checked_add(2).ok_or(Unread::Bad)?;
        rest = chunk.get(end..).ok_or(Unread::Cut)?;
        body.extend_from_slice(chunk.get(..len).ok_or(Unread::Bad)?);
    }
}

fn chunk_len(line: &[u8]) -> Option<usize> {
    let line = core::str::from_utf8(line).ok()?;
    let digits = line.split(';').next()?.trim_ascii();
    u64::from_str_radix(digits, 16).ok()?.try_into().ok()
}

/// What sets what `key=value` says. It takes nothing but booleans.
fn switches(settings: Option<&[&str]>) -> Vec<(String, Value)> {
    let mut members = Vec::new();
    for setting in settings.unwrap_or_default() {
        if let Some((key, value)) = setting.split_once('=') {
            members.push((
                key.to_owned(),
                Value::Bool(matches!(value.as_bytes(), [b't' | b'1', ..])),
            ));
        }
    }
    members
}

/// A row of a list.
type Row = fn(&Value) -> Option<String>;

/// Commands that list, their headers and rows.
const LISTS: [(&str, &str, Row); 3] = [
    (
        "listpeers",
        "<ztaddr> <path> <latency> <version> <role>",
        list_peer,
    ),
    (
        "peers",
        "<ztaddr> <ver> <role> <lat> <link> <lastTX> <lastRX> <path>",
        peer,
    ),
    (
        "listnetworks",
        "<nwid> <name> <mac> <status> <type> <dev> <ips>",
        list_network,
    ),
];

/// A reply of the control protocol to this command.
struct Rows<'a> {
    command: &'a str,
    rows: Vec<String>,
}

impl Rows<'_> {
    #[inline(never)]
    fn add(&mut self, status: u16, text: &dyn fmt::Display) {
        self.rows.push(format!("{status} {} {text}", self.command));
    }

    fn ok(&mut self, text: &dyn fmt::Display) {
        self.add(Code::Ok as u16, text);
    }

    fn not_found(&mut self, text: &str) {
        self.add(Code::NotFound as u16, &text);
    }

    /// What an answer says.
    fn take(&mut self, json: bool, arg: &str, answer: &Answer) {
        let command = self.command;
        if answer.status != Code::Ok as u16 {
            let text = match (answer.status, command) {
                (404, "get" | "set" | "network") => "unknown network",
                _ => answer.body.trim_ascii_end(),
            };
            return self.add(answer.status, &text);
        }
        // What cannot be set is taken without a word, so it is looked for in the answer.
        let value = Value::parse(&answer.body);
        let key = arg.split('=').next().unwrap_or_default();
        if command == "set" && value.as_ref().is_ok_and(|value| value.get(key).is_none()) {
            return self.not_found("unknown property");
        }
        if json || command == "metrics" {
            let (first, before) = if json {
                ("json", "")
            } else {
                ("<sample>", "200 ")
            };
            self.ok(&first);
            for line in answer.body.lines() {
                self.rows.push(format!("{before}{line}"));
            }
            return;
        }
        let Ok(value) = value else {
            return self.add(Code::Failed as u16, &"invalid JSON response");
        };
        if let Some((_, header, row)) = LISTS.iter().find(|list| list.0 == command) {
            self.ok(header);
            for row in value.as_array().unwrap_or_default().iter().filter_map(row) {
                self.ok(&row);
            }
            return;
        }
        match command {
            "info" | "status" => self.rows.push(info(&value)),
            "network" => {
                self.ok(&"<key> <value>");
                for (key, value) in value.as_object().unwrap_or_default() {
                    if let Some(value) = scalar(value) {
                        self.ok(&format_args!("{key} {}", Field(&value)));
                    }
                }
            }
            "get" => self.get(&value, arg),
            "leave" if value.get("result").is_none() && value.as_bool().is_none() => {
                self.not_found("not joined");
            }
            _ => self.ok(&"OK"),
        }
    }

    /// One property of a network.
    fn get(&mut self, network: &Value, key: &str) {
        let ips = addresses(network);
        let ips = ips
            .iter()
            .map(|net| net.split_once('/').map_or(*net, |(ip, _)| ip));
        match key {
            "ip" | "ip4" | "ip6" => {
                for ip in ips {
                    if key == "ip" || (key == "ip6") == ip.contains(':') {
                        self.ok(&Field(ip));
                    }
                }
                if self.rows.is_empty() {
                    self.ok(&"-");
                }
            }
            "ip6plane" | "ip6prefix" => {
                let mut ips = ips;
                let ip = ips.find(|ip| ip.starts_with("fc")).unwrap_or_default();
                let prefix = ip.get(..SIXPLANE_PREFIX_LEN).filter(|_| key == "ip6prefix");
                self.ok(&Field(prefix.unwrap_or(ip)));
            }
            key => match network.get(key).and_then(scalar) {
                Some(value) => self.ok(&Field(&value)),
                None => self.not_found("unknown property"),
            },
        }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// A string, number or boolean as `get` shows it.
fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Number(text) => text.to_string(),
        Value::Bool(on) => u8::from(*on).to_string(),
        _ => return None,
    })
}

fn info(status: &Value) -> String {
    let state = match (is(status, "tcpFallbackActive"), is(status, "online")) {
        (true, _) => "TUNNELED",
        (false, true) => "ONLINE",
        (false, false) => "OFFLINE",
    };
    let (address, version) = (text(status, "address"), text(status, "version"));
    format!("200 info {} {} {state}", Field(address), Field(version))
}

/// The path in use: remote, ms since something was sent and received.
fn preferred(peer: &Value) -> Option<(&str, i64, i64)> {
    let mut paths = peer.get("paths").and_then(Value::as_array)?.iter();
    let path = paths.find(|path| is(path, "preferred"))?;
    let now = clock::now().wall.as_ms();
    let age = |key: &str| match path.get(key).and_then(Value::as_u64) {
        None | Some(0) => -1,
        Some(at) => now.saturating_sub(at).cast_signed(),
    };
    Some((text(path, "address"), age("lastSend"), age("lastReceive")))
}

fn version(peer: &Value) -> &str {
    match text(peer, "version") {
        "" | "-1.-1.-1" => "-",
        version => version,
    }
}

fn latency(peer: &Value) -> String {
    peer.get("latency")
        .and_then(scalar)
        .unwrap_or_else(|| "-1".into())
}

fn list_peer(peer: &Value) -> Option<String> {
    let path = preferred(peer).map(|(at, sent, received)| format!("{at};{sent};{received}"));
    Some(format!(
        "{} {} {} {} {}",
        peer.get("address")?.as_str()?,
        path.as_deref().unwrap_or("-"),
        latency(peer),
        version(peer),
        Field(text(peer, "role")),
    ))
}

fn peer(peer: &Value) -> Option<String> {
    let (link, path) = match preferred(peer) {
        Some((at, sent, received)) => ("DIRECT", format!("{sent} {received} {at}")),
        None => ("RELAY", "-1 -1 -".to_owned()),
    };
    Some(format!(
        "{} {} {} {} {link} {path}",
        peer.get("address")?.as_str()?,
        version(peer),
        Field(text(peer, "role")),
        latency(peer),
    ))
}

fn addresses(network: &Value) -> Vec<&str> {
    let mut texts = Vec::new();
    let all = network.get("assignedAddresses").and_then(Value::as_array);
    for net in all.unwrap_or_default() {
        texts.extend(net.as_str());
    }
    texts
}

fn list_network(network: &Value) -> Option<String> {
    let ips = addresses(network).join(",");
    Some(format!(
        "{} {} {} {} {} {} {}",
        network.get("nwid")?.as_str()?,
        Field(text(network, "name")),
        Field(text(network, "mac")),
        Field(text(network, "status")),
        Field(text(network, "type")),
        Field(text(network, "portDeviceName")),
        Field(&ips),
    ))
}

/// Length of the text of a 6PLANE address in front of the member's own part.
const SIXPLANE_PREFIX_LEN: usize = 24;
