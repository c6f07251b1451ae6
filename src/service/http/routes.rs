//! What each path answers (service 4): statuses and fields of 1.14.1.

use std::borrow::Cow;

use zeroize::Zeroize as _;

use super::request::{Bad, Method, Request};
use crate::base::{Address, Mono, NetworkId};
use crate::service::control::auth::Guard;
use crate::service::control::lists_json::JsonList;
#[cfg(feature = "metrics")]
use crate::service::control::metrics::Metrics;
use crate::service::control::{Code, Host, Refusal};
use crate::service::json::{Quoted, Value};

/// What goes back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Nothing, of no type.
    Nothing,
    /// JSON that is short.
    Short(Cow<'static, str>),
    /// JSON that is written as it is taken.
    Json(JsonList),
    /// Figures, as they are taken.
    #[cfg(feature = "metrics")]
    Metrics(Metrics),
}

const EMPTY: &str = "{}";

impl Answer {
    const fn empty(status: u16) -> Self {
        Self {
            status,
            body: Body::Short(Cow::Borrowed(EMPTY)),
        }
    }

    /// Something that is not there: `{}`, and `null` for a script.
    const fn absent(status: u16) -> Self {
        Self {
            status,
            body: Body::Short(Cow::Borrowed("")),
        }
    }

    const fn nothing(status: u16) -> Self {
        Self {
            status,
            body: Body::Nothing,
        }
    }

    const fn json(list: JsonList) -> Self {
        Self {
            status: 200,
            body: Body::Json(list),
        }
    }

    fn failed(status: u16, text: &str) -> Self {
        let text = format!("{{\"error\": {status}, \"description\": {}}}", Quoted(text));
        Self {
            status,
            body: Body::Short(text.into()),
        }
    }
}

impl From<Bad> for Answer {
    fn from(bad: Bad) -> Self {
        Self::nothing(bad as u16)
    }
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target<'a> {
    Status,
    Health,
    Config,
    Settings,
    Networks,
    Network(&'a str),
    Peers,
    Peer(&'a str),
    Moons,
    Moon(u64),
    Bond(&'a str),
    #[cfg(feature = "metrics")]
    Metrics,
    Nothing,
}

fn target(path: &str) -> Target<'_> {
    let is_hex =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
    let mut words = path.strip_prefix('/').unwrap_or_default().split('/');
    let words = [words.next(), words.next(), words.next()];
    match words {
        [Some("status"), None, _] => Target::Status,
        [Some("health"), None, _] => Target::Health,
        [Some("config"), None, _] => Target::Config,
        [Some("config"), Some("settings"), None] => Target::Settings,
        [Some("network"), None, _] => Target::Networks,
        [Some("network"), Some(id), None] if is_hex(id, 16) => Target::Network(id),
        [Some("peer"), None, _] => Target::Peers,
        [Some("peer"), Some(address), None] if is_hex(address, 10) => Target::Peer(address),
        [Some("moon"), None, _] => Target::Moons,
        // differs from 1.14.1: 16 digits will do, as its manual says (service 2.2).
        [Some("moon"), Some(id), None] if is_hex(id, 10) || is_hex(id, 16) => {
            u64::from_str_radix(id, 16).map_or(Target::Nothing, Target::Moon)
        }
        #[cfg(feature = "metrics")]
        [Some("metrics"), None, _] => Target::Metrics,
        [
            Some("bond"),
            Some(what @ ("show" | "rotate" | "setmtu")),
            Some(_),
        ] => Target::Bond(what),
        _ => Target::Nothing,
    }
}

/// Does what is asked for.
pub(super) fn answer(
    request: &Request<'_>,
    body: &[u8],
    now: Mono,
    host: &mut dyn Host,
    guard: &mut Guard,
) -> Answer {
    let target = target(&request.path);
    if target != Target::Health
        && let Err(answer) = admit(request, &target, now, guard)
    {
        return answer;
    }
    match (request.method, target) {
        #[cfg(feature = "metrics")]
        (Method::Get | Method::Head, Target::Metrics) if guard.has_metrics() => Answer {
            status: 200,
            body: Body::Metrics(Metrics::default()),
        },
        (Method::Get | Method::Head, target) => get(target, host),
        (Method::Post, Target::Network(id)) => join(id, body, host),
        (Method::Delete, Target::Network(id)) => leave(id, host),
        (Method::Post, Target::Moon(id)) => orbit(id, body, host),
        (Method::Delete, Target::Moon(id)) => deorbit(id, host),
        (Method::Post, Target::Settings) => settings(body, host),
        (Method::Post, Target::Bond("rotate")) => Answer::absent(400),
        (Method::Post, Target::Bond("setmtu")) => Answer {
            status: 400,
            body: Body::Short("\"bonding is not in use\"".into()),
        },
        _ => Answer::nothing(404),
    }
}

/// The token opens everything, that of the figures these alone. Guesses are slowed down, whoever
/// knows it is not.
fn admit(
    request: &Request<'_>,
    target: &Target<'_>,
    now: Mono,
    guard: &mut Guard,
) -> Result<(), Answer> {
    let Some(token) = request.token() else {
        return Err(Answer::empty(401));
    };
    let is_figures = match target {
        #[cfg(feature = "metrics")]
        Target::Metrics => true,
        _ => false,
    };
    let is_known = guard.is_token(&token) || is_figures && guard.is_metrics_token(&token);
    if let Cow::Owned(mut token) = token {
        token.zeroize();
    }
    if is_known {
        return Ok(());
    }
    guard.failed(now);
    Err(Answer::empty(if guard.admit(now) { 401 } else { 429 }))
}

fn get(target: Target<'_>, host: &dyn Host) -> Answer {
    match target {
        Target::Status => Answer::json(JsonList::whole_status()),
        Target::Config if host.local_conf().is_some() => Answer::json(JsonList::config()),
        Target::Health => Answer::json(JsonList::health()),
        Target::Networks => Answer::json(JsonList::networks()),
        Target::Network(id) => {
            let id = NetworkId::parse(id).filter(|id| host.network(*id).is_some());
            id.map_or(Answer::absent(404), |id| {
                Answer::json(JsonList::bare_network(id))
            })
        }
        Target::Peers => Answer::json(JsonList::peers()),
        Target::Peer(address) => {
            Address::parse(address).map_or(Answer::empty(200), |a| Answer::json(JsonList::peer(a)))
        }
        Target::Moons => Answer::json(JsonList::moons()),
        Target::Moon(id) => Answer::json(JsonList::moon(id)),
        // There is no bonding: what 1.14.1 says without a policy.
        Target::Bond("show") => Answer::absent(400),
        _ => Answer::nothing(404),
    }
}

const SWITCHES: [&str; 4] = ["allowManaged", "allowGlobal", "allowDefault", "allowDNS"];

/// Joins, and sets what the body says with booleans; anything else in it is ignored, as ever.
fn join(id: &str, body: &[u8], host: &mut dyn Host) -> Answer {
    let Some(id) = NetworkId::parse(id) else {
        return Answer::empty(404);
    };
    let body = object(body);
    let mut settings = [("", ""); SWITCHES.len()];
    let mut count = 0;
    for key in SWITCHES {
        let on = body
            .as_ref()
            .and_then(|b| b.get(key))
            .and_then(Value::as_bool);
        if let (Some(on), Some(slot)) = (on, settings.get_mut(count)) {
            *slot = (key, if on { "1" } else { "0" });
            count += 1;
        }
    }
    let joined = host.join(id, settings.get(..count).unwrap_or_default());
    if host.network(id).is_some() {
        // Why it has no device stands in its status.
        return Answer::json(JsonList::bare_network(id));
    }
    joined.map_or_else(|refusal| refused(&refusal), |()| Answer::empty(404))
}

fn leave(id: &str, host: &mut dyn Host) -> Answer {
    let left = NetworkId::parse(id).map(|id| host.leave(id));
    match left {
        Some(Ok(())) => Answer {
            status: 200,
            body: Body::Short("{\"result\":true}".into()),
        },
        Some(Err(refusal)) if refusal.code != Code::NotFound => refused(&refusal),
        _ => Answer::empty(200),
    }
}

fn orbit(id: u64, body: &[u8], host: &mut dyn Host) -> Answer {
    let body = object(body);
    let seed = body.as_ref().and_then(|b| b.get("seed"));
    let seed = seed.and_then(Value::as_str).and_then(Address::parse);
    let is_held = (0..).map_while(|n| host.moon(n)).any(|moon| moon.id == id);
    // Without a seed 1.14.1 does nothing at all.
    if seed.is_some()
        && !is_held
        && id != 0
        && let Err(refusal) = host.orbit(id, seed)
    {
        return refused(&refusal);
    }
    Answer::json(JsonList::moon(id))
}

fn deorbit(id: u64, host: &mut dyn Host) -> Answer {
    match host.deorbit(id) {
        Ok(_) => Answer {
            status: 200,
            body: Body::Short("{\"result\":true}".into()),
        },
        Err(refusal) => refused(&refusal),
    }
}

/// Sets what the body says in `settings` of `local.conf`.
fn settings(body: &[u8], host: &mut dyn Host) -> Answer {
    let Some(Value::Object(changes)) = object(body) else {
        return Answer::failed(500, "a JSON object is expected");
    };
    match host.merge_settings(&changes) {
        Ok(()) => Answer::empty(200),
        Err(refusal) if refusal.code == Code::NotBuilt => Answer::nothing(404),
        Err(refusal) => refused(&refusal),
    }
}

/// A JSON object, if the body is one.
fn object(body: &[u8]) -> Option<Value> {
    let text = core::str::from_utf8(body).ok()?;
    Value::parse(text).ok().filter(|v| v.as_object().is_some())
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal.code {
        Code::Busy => Answer::empty(503),
        // differs from 1.14.1: it stores whatever it is told.
        Code::BadArguments => Answer::failed(400, &refusal.text),
        _ => Answer::failed(500, &refusal.text),
    }
}
