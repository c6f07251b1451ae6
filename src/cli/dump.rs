//! `dump`: what a bug report needs, and nothing secret.

use core::fmt::{self, Write as _};
use std::env;
use std::io::IsTerminal as _;
use std::path::Path;

use super::commands::Run;
use super::{REFUSED, VERSION};
use crate::base::Mac;
use crate::os::{file, inventory, shown};
use crate::service::control::line::unescape;
use crate::service::json::Value;

const FILE_NAME: &str = "zerotier_dump.txt";
const FILE_MODE: u32 = 0o644;
const LOCAL_CONF: &str = "local.conf";
const HIDDEN: &str = "(hidden)";
/// Words in keys whose values stay here.
const SECRET_WORDS: [&str; 5] = ["token", "secret", "password", "vault", "redis"];

/// To a file in the current directory as ever, or where standard output leads.
pub(super) fn run(run: &mut Run<'_>, _: &str) {
    let reply = run.ask_ok(false, &["dump"]);
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
    if !file::standard(1).is_terminal() {
        run.screen.print(format_args!("{text}"));
        return;
    }
    let Ok(path) = file::current_directory() else {
        run.end(REFUSED);
    };
    let path = path.join(FILE_NAME);
    let file = shown(&path);
    run.screen.print(format_args!("Writing dump to: {file}\n"));
    // Root writes this, perhaps where anybody may: a link that lies there is not followed.
    if let Err(error) = file::write_cache(&path, text.as_bytes(), FILE_MODE) {
        let program = run.program;
        run.screen
            .tell(format_args!("{program}: cannot write {file}: {error}"));
        run.end(REFUSED);
    }
}

fn local_conf(path: &Path) -> String {
    match file::read_any(path, usize::MAX) {
        Ok(bytes) => match Value::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(mut value) => {
                hide_secrets(&mut value);
                value.pretty()
            }
            Err(why) => format!("invalid JSON ({why})"),
        },
        Err(error) if error.errno == libc::ENOENT => "None Present".into(),
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
        let mac = one.mac.map(Mac::new);
        let none: &dyn fmt::Display = &"-";
        let mtu = one.mtu.as_ref().map_or(none, |mtu| mtu);
        let mac = mac.as_ref().map_or(none, |mac| mac);
        // Writing to a String cannot fail.
        let _ = write!(text, "{} {state} mtu {mtu} mac {mac}", one.name);
        for ip in one.ips {
            let _ = write!(text, " {ip}");
        }
        text.push('\n');
    }
    text
}

fn hide_secrets(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let holds = |word: &&str| {
                    let mut parts = key.as_bytes().windows(word.len());
                    parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
                };
                if SECRET_WORDS.iter().any(holds) {
                    *value = Value::string(HIDDEN);
                } else {
                    hide_secrets(value);
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(hide_secrets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let text =
            r#"{"settings":{"vault":{"vaultToken":"a"},"list":[{"myPassword":1}],"port":1}}"#;
        let mut value = Value::parse(text).unwrap();
        hide_secrets(&mut value);
        assert_eq!(
            value.to_string(),
            r#"{"settings":{"vault":"(hidden)","list":[{"myPassword":"(hidden)"}],"port":1}}"#
        );
    }
}
