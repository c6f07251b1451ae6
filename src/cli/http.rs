//! Services that speak nothing but HTTP (1.0 to 1.14.1): requests of the control protocol are
//! translated, and so are the answers (service 2, 4).

use core::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use zeroize::Zeroizing;

use super::client::{REPLY_MAX_BYTES, Reply, SILENCE_MAX};
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

impl Old {
    /// Asks in the words of the control protocol.
    pub(super) fn ask(&self, json: bool, words: &[&str]) -> io::Result<Reply> {
        let (command, args) = words.split_first().unwrap_or((&"", &[]));
        let arg = |n: usize| args.get(n).copied().unwrap_or_default();
        let path = match *command {
            "info" | "status" => "/status".to_owned(),
            "listpeers" | "peers" => "/peer".to_owned(),
            "listnetworks" => "/network".to_owned(),
            "network" | "join" | "leave" | "get" | "set" => format!("/network/{}", arg(0)),
            "listmoons" => "/moon".to_owned(),
            // From 1.12 to 1.14.1 just ten digits are taken.
            "orbit" | "deorbit" => {
                let id = u64::from_str_radix(arg(0), 16).unwrap_or(0);
                format!("/moon/{id:010x}")
            }
            "metrics" => "/metrics".to_owned(),
            "conf" if json && args.is_empty() => "/config".to_owned(),
            _ => {
                let text = format!("{} {command} not known to this service", Code::NotBuilt);
                return Ok(Reply { rows: vec![text] });
            }
        };
        let answer = match *command {
            "join" | "set" => {
                let settings = if *command == "set" {
                    args.get(1..2)
                } else {
                    args.get(1..)
                };
                self.request("POST", &path, Some(&switches(settings.unwrap_or_default())))?
            }
            "orbit" => {
                let body = Value::Object(vec![("seed".into(), Value::string(arg(1)))]);
                self.request("POST", &path, Some(&body.to_string()))?
            }
            "leave" | "deorbit" => self.request("DELETE", &path, None)?,
            _ => self.request("GET", &path, None)?,
        };
        Ok(Reply {
            rows: rows(json, command, arg(1), &answer),
        })
    }

    /// There are no events: looks again after a while.
    pub(super) fn pause() {
        std::thread::sleep(POLL);
    }

    fn request(&self, method: &str, path: &str, body: Option<&str>) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.at, SILENCE_MAX)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let token = self.token.as_str();
        let mut head = Zeroizing::new(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX-ZT1-Auth: {token}\r\n",
            self.at,
        ));
        if let Some(body) = body {
            // Writing to a String cannot fail.
            let _ = write!(
                head,
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        } else {
            head.push_str("\r\n");
        }
        stream.write_all(head.as_bytes())?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let n = stream.read(&mut buffer)?;
            bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
            if bytes.len() > REPLY_MAX_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            // Not all of them close when they were asked to.
            if let Some(answer) = read_answer(&bytes, n == 0)? {
                return Ok(answer);
            }
        }
    }
}

/// Reads an answer if it is there as a whole; at the end of input it must be.
fn read_answer(bytes: &[u8], ended: bool) -> io::Result<Option<Answer>> {
    let cut = || match ended {
        true => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        false => Ok(None),
    };
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return cut(),
        Err(_) => return Err(bad()),
    };
    let header = |name: &str| {
        let found = head
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))?;
        core::str::from_utf8(found.value).ok().map(str::trim)
    };
    let body = bytes.get(len..).unwrap_or_default();
    let body = if header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        match unchunk(body).ok_or_else(bad)? {
            Some(body) => body,
            None => return cut(),
        }
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().map_err(|_| bad())?;
        match body.get(..length) {
            Some(body) => body.to_vec(),
            None => return cut(),
        }
    } else if ended {
        body.to_vec()
    } else {
        return Ok(None);
    };
    Ok(Some(Answer {
        status: head.code.unwrap_or(0),
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}

/// Puts chunks together. `None`: broken; `Some(None)`: not all of them are there.
fn unchunk(mut rest: &[u8]) -> Option<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else {
            return Some(None);
        };
        let line = core::str::from_utf8(rest.get(..end)?).ok()?;
        let digits = line.split(';').next()?.trim();
        let len = usize::from_str_radix(digits, 16).ok()?;
        if len == 0 {
            return Some(Some(body));
        }
        let chunk = rest.get(end + 2..)?;
        let Some(after) = chunk.get(len.checked_add(2)?..) else {
            return Some(None);
        };
        body.extend_from_slice(chunk.get(..len)?);
        rest = after;
    }
}

/// The body that sets what `key=value` says. It takes nothing but booleans.
fn switches(settings: &[&str]) -> String {
    let members = settings.iter().filter_map(|setting| {
        let (key, value) = setting.split_once('=')?;
        let on = value.starts_with(['t', '1']);
        Some((key.to_owned(), Value::Bool(on)))
    });
    Value::Object(members.collect()).to_string()
}

/// The answer as a reply of the control protocol.
fn rows(json: bool, command: &str, arg: &str, answer: &Answer) -> Vec<String> {
    let ok = |text: &str| vec![format!("{} {command} {text}", Code::Ok)];
    if answer.status != Code::Ok as u16 {
        let text = match (answer.status, command) {
            (404, "get" | "set" | "network") => "unknown network",
            _ => answer.body.trim_end(),
        };
        return vec![format!("{} {command} {text}", answer.status)];
    }
    // What cannot be set is taken without a word, so it is looked for in the answer.
    let value = Value::parse(&answer.body);
    if let ("set", Ok(value)) = (command, &value)
        && value
            .get(arg.split('=').next().unwrap_or_default())
            .is_none()
    {
        return vec![format!("{} set unknown property", Code::NotFound)];
    }
    if json {
        let body = answer.body.lines().map(str::to_owned);
        return ok("json").into_iter().chain(body).collect();
    }
    if command == "metrics" {
        let lines = answer.body.lines().map(|line| format!("200 {line}"));
        return ok("<sample>").into_iter().chain(lines).collect();
    }
    let Ok(value) = value else {
        return vec![format!("{} {command} invalid JSON response", Code::Failed)];
    };
    match command {
        "info" | "status" => vec![info(&value)],
        "listpeers" => list(
            &value,
            "<ztaddr> <path> <latency> <version> <role>",
            command,
            list_peer,
        ),
        "peers" => list(
            &value,
            "<ztaddr> <ver> <role> <lat> <link> <lastTX> <lastRX> <path>",
            command,
            peer,
        ),
        "listnetworks" => list(
            &value,
            "<nwid> <name> <mac> <status> <type> <dev> <ips>",
            command,
            list_network,
        ),
        "network" => {
            let rows = value.as_object().unwrap_or_default().iter();
            let rows = rows.filter_map(|(key, value)| {
                Some(format!("200 network {key} {}", Field(&scalar(value)?)))
            });
            ok("<key> <value>").into_iter().chain(rows).collect()
        }
        "get" => get(&value, arg),
        "leave" if value.get("result").is_none() && value.as_bool().is_none() => {
            vec![format!("{} leave not joined", Code::NotFound)]
        }
        _ => ok("OK"),
    }
}

/// A header and a row of each element.
fn list(
    value: &Value,
    header: &str,
    command: &str,
    row: fn(&Value) -> Option<String>,
) -> Vec<String> {
    let rows = value.as_array().unwrap_or_default().iter().filter_map(row);
    let rows = rows.map(|row| format!("200 {command} {row}"));
    core::iter::once(format!("200 {command} {header}"))
        .chain(rows)
        .collect()
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
fn preferred(peer: &Value) -> Option<(String, String, String)> {
    let paths = peer.get("paths").and_then(Value::as_array)?;
    let path = paths.iter().find(|path| is(path, "preferred"))?;
    let now = clock::now().wall.as_ms();
    let age = |key: &str| match path.get(key).and_then(Value::as_u64) {
        None | Some(0) => "-1".to_owned(),
        Some(at) => now.saturating_sub(at).to_string(),
    };
    Some((
        text(path, "address").to_owned(),
        age("lastSend"),
        age("lastReceive"),
    ))
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

fn addresses(network: &Value) -> impl Iterator<Item = &str> {
    let all = network.get("assignedAddresses").and_then(Value::as_array);
    all.unwrap_or_default().iter().filter_map(Value::as_str)
}

fn list_network(network: &Value) -> Option<String> {
    let ips: Vec<&str> = addresses(network).collect();
    let ips = ips.join(",");
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

fn get(network: &Value, key: &str) -> Vec<String> {
    let ips = || addresses(network).filter_map(|net| net.split('/').next());
    let is_v6 = |ip: &&str| ip.contains(':');
    let values: Vec<String> = match key {
        "ip" => ips().map(str::to_owned).collect(),
        "ip4" => ips().filter(|ip| !is_v6(ip)).map(str::to_owned).collect(),
        "ip6" => ips().filter(is_v6).map(str::to_owned).collect(),
        "ip6plane" | "ip6prefix" => {
            let ip = ips().find(|ip| ip.starts_with("fc")).unwrap_or_default();
            let len = if key == "ip6prefix" {
                SIXPLANE_PREFIX_LEN
            } else {
                ip.len()
            };
            vec![ip.get(..len).unwrap_or(ip).to_owned()]
        }
        key => match network.get(key).and_then(scalar) {
            Some(value) => vec![value],
            None => return vec![format!("{} get unknown property", Code::NotFound)],
        },
    };
    if values.is_empty() {
        return vec![format!("{} get -", Code::Ok)];
    }
    values
        .iter()
        .map(|value| format!("{} get {}", Code::Ok, Field(value)))
        .collect()
}
