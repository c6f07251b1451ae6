//! `/any/path`: paths of the HTTP API, their body as it is (service 2.2).
//!
//! Over the socket, from what its commands say as JSON. What only HTTP has is not found here.

use super::commands::{Outcome, Run};
use super::{DONE, REFUSED};
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

pub(super) fn run(run: &mut Run<'_, '_>, path: &str) -> Outcome {
    let mut parts = path.trim_start_matches('/').split('/');
    let (kind, id) = (parts.next().unwrap_or_default(), parts.next());
    let (words, key): (&[&str], _) = match (kind, id) {
        ("status" | "health", None) => (&["info"], ""),
        ("network", None) => (&["listnetworks"], ""),
        ("network", Some(_)) => (&["listnetworks"], "nwid"),
        ("peer", None) => (&["listpeers"], ""),
        ("peer", Some(_)) => (&["listpeers"], "address"),
        ("moon", None) => (&["listmoons"], ""),
        ("moon", Some(_)) => (&["listmoons"], "id"),
        ("config", None) => (&["conf"], ""),
        ("metrics", None) => return run.metrics(),
        _ => {
            run.connect()?;
            writeln!(run.screen.out, "404 {path} ")?;
            return Ok(REFUSED);
        }
    };
    let reply = run.connect()?.ask_json(words)?;
    if !reply.is_ok() {
        return run.refused(&reply);
    }
    let Some(id) = id else {
        if kind != "health" {
            return run.raw(&reply);
        }
        let status = Value::parse(&reply.json()).unwrap_or(Value::Null);
        let members = HEALTH
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), status.get(key)?.clone())));
        write!(run.screen.out, "{}", Value::Object(members.collect()))?;
        return Ok(DONE);
    };
    let list = Value::parse(&reply.json()).unwrap_or(Value::Null);
    let wanted = |value: &&Value| {
        let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
        // Moons are asked for by 10 digits and shown with 16.
        text == id || kind == "moon" && id.len() == 10 && text.strip_prefix("000000") == Some(id)
    };
    match list.as_array().and_then(|list| list.iter().find(wanted)) {
        Some(value) => write!(run.screen.out, "{value}")?,
        None if kind == "network" => {
            writeln!(run.screen.out, "404 {path} {{}}")?;
            return Ok(REFUSED);
        }
        None => write!(run.screen.out, "{{}}")?,
    }
    Ok(DONE)
}
