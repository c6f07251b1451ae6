//! `dump`: what a bug report needs, and nothing secret.

use core::fmt::Write as _;
use std::env;
use std::fs;
use std::io;
use std::path::Path;

use super::commands::{Outcome, Run};
use super::{DONE, REFUSED, VERSION};
use crate::base::Mac;
use crate::os::{file, inventory};
use crate::service::control::line::unescape;
use crate::service::json::Value;

const FILE_NAME: &str = "zerotier_dump.txt";
const FILE_MODE: u32 = 0o644;
const LOCAL_CONF: &str = "local.conf";
const HIDDEN: &str = "(hidden)";
/// Words in keys whose values stay here.
const SECRET_WORDS: [&str; 5] = ["token", "secret", "password", "vault", "redis"];

/// To a file in the current directory as ever, or where standard output leads.
pub(super) fn run(run: &mut Run<'_, '_>) -> Outcome {
    let reply = run.connect()?.ask(&["dump"])?;
    if !reply.is_ok() {
        return run.refused(&reply);
    }
    let mut text = format!(
        "platform: {} {}\nzerotier version: {VERSION}\n\n",
        env::consts::OS,
        env::consts::ARCH
    );
    for row in reply.rows.iter().skip(1) {
        text.push_str(&unescape(row));
        text.push('\n');
    }
    text.push_str("\nlocal.conf:\n");
    text.push_str(&local_conf(&run.target.home.join(LOCAL_CONF)));
    text.push_str("\n\ninterfaces:\n");
    text.push_str(&interfaces());
    if !run.screen.is_terminal {
        run.screen.out.write_all(text.as_bytes())?;
        return Ok(DONE);
    }
    let path = env::current_dir()?.join(FILE_NAME);
    writeln!(run.screen.out, "Writing dump to: {}", path.display())?;
    // Root writes this, perhaps where anybody may: a link that lies there is not followed.
    if let Err(error) = file::write_cache(&path, text.as_bytes(), FILE_MODE) {
        writeln!(
            run.screen.err,
            "{}: cannot write {}: {error}",
            run.program,
            path.display()
        )?;
        return Ok(REFUSED);
    }
    Ok(DONE)
}

fn local_conf(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => match Value::parse(&text) {
            Ok(value) => without_secrets(value).pretty(),
            Err(why) => format!("invalid JSON ({why})"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => "None Present".into(),
        Err(error) => format!("not readable: {error}"),
    }
}

/// What the system has, for whoever reads the report: a node cannot see all of it.
fn interfaces() -> String {
    let all = match inventory::interfaces() {
        Ok(all) => all,
        Err(error) => return format!("not readable: {error}\n"),
    };
    let mut text = String::new();
    for one in all {
        let state = if one.up { "up" } else { "down" };
        let mtu = one.mtu.map_or_else(|| "-".into(), |mtu| mtu.to_string());
        let mac = one
            .mac
            .map_or_else(|| "-".into(), |mac| Mac::new(mac).to_string());
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {state} mtu {mtu} mac {mac}", one.name);
        for ip in one.ips {
            let _ = write!(text, " {ip}");
        }
        text.push('\n');
    }
    text
}

fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| {
                    let lower = key.to_ascii_lowercase();
                    let value = if SECRET_WORDS.iter().any(|w| lower.contains(w)) {
                        Value::string(HIDDEN)
                    } else {
                        without_secrets(value)
                    };
                    (key, value)
                })
                .collect(),
        ),
        Value::Array(elements) => Value::Array(elements.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let text =
            r#"{"settings":{"vault":{"vaultToken":"a"},"list":[{"myPassword":1}],"port":1}}"#;
        assert_eq!(
            without_secrets(Value::parse(text).unwrap()).to_string(),
            r#"{"settings":{"vault":"(hidden)","list":[{"myPassword":"(hidden)"}],"port":1}}"#
        );
    }
}
