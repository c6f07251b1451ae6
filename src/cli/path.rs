//! `/any/path`: paths of the HTTP API, their body as it is (service 2.2).
//!
//! Over the socket, from what its commands say as JSON. What only HTTP has is not found here.

use super::commands::{Outcome, Run};
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

pub(super) fn run(run: &mut Run<'_>, path: &str) -> Outcome {
    let mut parts = path.trim_start_matches('/').split('/');
    let (kind, id) = (parts.next().unwrap_or_default(), parts.next());
    let (command, key) = match (kind, id) {
        ("status" | "health", None) => ("info", ""),
        ("network", None) => ("listnetworks", ""),
        ("network", Some(_)) => ("listnetworks", "nwid"),
        ("peer", None) => ("listpeers", ""),
        ("peer", Some(_)) => ("listpeers", "address"),
        ("moon", None) => ("listmoons", ""),
        ("moon", Some(_)) => ("listmoons", "id"),
        ("config", None) => ("conf", ""),
        ("metrics", None) => return run.metrics(path),
        _ => {
            run.client()?;
            return Err(run.no(format_args!("404 {path} ")));
        }
    };
    let json = run.ask_ok(true, &[command])?.json();
    if id.is_none() && kind != "health" {
        run.screen.print(format_args!("{json}"));
        return Ok(());
    }
    let all = Value::parse(&json).unwrap_or(Value::Null);
    let Some(id) = id else {
        let members = HEALTH.iter().filter_map(|key| Some((*key, all.get(key)?)));
        let mut health = Value::Object(Vec::new());
        for (key, value) in members {
            health.set(key, value.clone());
        }
        run.screen.print(format_args!("{health}"));
        return Ok(());
    };
    let wanted = |value: &&Value| {
        let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
        // Moons are asked for by 10 digits and shown with 16.
        text == id || kind == "moon" && id.len() == 10 && text.strip_prefix("000000") == Some(id)
    };
    match all.as_array().unwrap_or_default().iter().find(wanted) {
        Some(value) => run.screen.print(format_args!("{value}")),
        None if kind == "network" => return Err(run.no(format_args!("404 {path} {{}}"))),
        None => run.screen.print(format_args!("{{}}")),
    }
    Ok(())
}
