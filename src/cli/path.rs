//! `/any/path`: paths of the HTTP API, their body as it is (service 2.2).
//!
//! Over the socket, from what its commands say as JSON. What only HTTP has is not found here.

use core::fmt::Write as _;

use super::commands::Run;
use crate::service::json::Value;

/// Fields of `/status` that `/health` shows, in its order.
const HEALTH: [&str; 7] = [
    "clock",
    "online",
    "version",
    "versionBuild",
    "versionMajor",
    "versionMinor",
    "versionRev",
];

/// What stands for which command, and the key by which one of a list is found; none: it is no list.
const KINDS: [(&str, &str, &str); 6] = [
    ("status", "info", ""),
    ("health", "info", ""),
    ("network", "listnetworks", "nwid"),
    ("peer", "listpeers", "address"),
    ("moon", "listmoons", "id"),
    ("config", "conf", ""),
];

pub(super) fn run(run: &mut Run<'_>, path: &str) {
    let mut parts = path.trim_start_matches('/').split('/');
    let (kind, id) = (parts.next().unwrap_or_default(), parts.next());
    if (kind, id) == ("metrics", None) {
        return run.metrics(path);
    }
    let known = KINDS.iter().find(|(name, ..)| *name == kind);
    let Some((_, command, key)) = known.filter(|(.., key)| id.is_none() || !key.is_empty()) else {
        run.must_connect();
        run.no(format_args!("404 {path} "));
    };
    let json = run.ask_ok(true, &[command]).json();
    if id.is_none() && kind != "health" {
        run.screen.print(format_args!("{json}"));
        return;
    }
    let all = Value::parse(&json).unwrap_or(Value::Null);
    let Some(id) = id else {
        let mut text = String::new();
        for key in &HEALTH {
            if let Some(value) = all.get(key) {
                let comma = if text.is_empty() { "" } else { "," };
                // Writing to a String cannot fail.
                let _ = write!(text, "{comma}\"{key}\":{value}");
            }
        }
        run.screen.print(format_args!("{{{text}}}"));
        return;
    };
    let wanted = |value: &&Value| {
        let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
        // Moons are asked for by 10 digits and shown with 16.
        text == id || kind == "moon" && id.len() == 10 && text.strip_prefix("000000") == Some(id)
    };
    match all.as_array().unwrap_or_default().iter().find(wanted) {
        Some(value) => run.screen.print(format_args!("{value}")),
        None if kind == "network" => run.no(format_args!("404 {path} {{}}")),
        None => run.screen.print(format_args!("{{}}")),
    }
}
