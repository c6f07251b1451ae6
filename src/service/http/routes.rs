//! What each path answers (service 4): statuses and fields of 1.14.1.

use std::borrow::Cow;

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
    const fn short(status: u16, text: &'static str) -> Self {
        Self {
            status,
            body: Body::Short(Cow::Borrowed(text)),
        }
    }

    const fn empty(status: u16) -> Self {
        Self::short(status, EMPTY)
    }

    /// Something that is not there: `{}`, and `null` for a script.
    const fn absent(status: u16) -> Self {
        Self::short(status, "")
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
enum Target {
    Status,
    Health,
    Config,
    Settings,
    Networks,
    Network,
    Peers,
    Peer,
    Moons,
    Moon,
    BondShow,
    BondRotate,
    BondMtu,
    #[cfg(feature = "metrics")]
    Metrics,
    Nothing,
}

/// First words of paths, what each names alone, and what with an id of so many digits behind it.
const PLACES: &[(&str, Target, &[usize], Target)] = &[
    ("status", Target::Status, &[], Target::Nothing),
    ("health", Target::Health, &[], Target::Nothing),
    ("config", Target::Config, &[], Target::Nothing),
    ("network", Target::Networks, &[16], Target::Network),
    ("peer", Target::Peers, &[10], Target::Peer),
    // differs from 1.14.1: 16 digits will do, as its manual says (service 2.2).
    ("moon", Target::Moons, &[10, 16], Target::Moon),
    #[cfg(feature = "metrics")]
    ("metrics", Target::Metrics, &[], Target::Nothing),
];

/// Paths of two words; behind these of bonds stands something.
const LONG_PLACES: [(&str, Target); 4] = [
    ("config/settings", Target::Settings),
    ("bond/show/", Target::BondShow),
    ("bond/rotate/", Target::BondRotate),
    ("bond/setmtu/", Target::BondMtu),
];

/// What a path names, and the id in it.
fn target(path: &str) -> (Target, &str) {
    let path = path.strip_prefix('/').unwrap_or_default();
    for (place, target) in LONG_PLACES {
        if path == place || place.ends_with('/') && path.starts_with(place) {
            return (target, "");
        }
    }
    let (word, id) = match path.split_once('/') {
        Some((word, id)) => (word, Some(id)),
        None => (path, None),
    };
    let place = PLACES.iter().find(|place| place.0 == word);
    match (place, id) {
        (Some((_, alone, ..)), None) => (*alone, ""),
        (Some((.., lengths, named)), Some(id))
            if lengths.contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            (*named, id)
        }
        _ => (Target::Nothing, ""),
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
    let (target, id) = target(&request.path);
    if target != Target::Health
        && let Err(status) = admit(request, target, now, guard)
    {
        return Answer::empty(status);
    }
    match (request.method, target) {
        #[cfg(feature = "metrics")]
        (Method::Get | Method::Head, Target::Metrics) if guard.has_metrics() => Answer {
            status: 200,
            body: Body::Metrics(Metrics::default()),
        },
        (Method::Get | Method::Head, target) => get(target, id, host),
        (Method::Post, Target::Network) => join(id, body, host),
        (Method::Delete, Target::Network) => leave(id, host),
        (Method::Post, Target::Moon) => orbit(moon_id(id), body, host),
        (Method::Delete, Target::Moon) => removed(host.deorbit(moon_id(id)).map(drop)),
        (Method::Post, Target::Settings) => settings(body, host),
        (Method::Post, Target::BondRotate) => Answer::absent(400),
        (Method::Post, Target::BondMtu) => Answer::short(400, "\"bonding is not in use\""),
        _ => Answer::nothing(404),
    }
}

/// The digits are some, and not too many.
fn moon_id(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

/// The token opens everything, that of the figures these alone. Guesses are slowed down, whoever
/// knows it is not.
fn admit(request: &Request<'_>, target: Target, now: Mono, guard: &mut Guard) -> Result<(), u16> {
    let token = request.token().ok_or(401_u16)?;
    let is_figures = match target {
        #[cfg(feature = "metrics")]
        Target::Metrics => true,
        _ => false,
    };
    if guard.is_token(&token) || is_figures && guard.is_metrics_token(&token) {
        return Ok(());
    }
    guard.failed(now);
    Err(if guard.admit(now) { 401 } else { 429 })
}

fn get(target: Target, id: &str, host: &dyn Host) -> Answer {
    Answer::json(match target {
        Target::Status => JsonList::whole_status(),
        Target::Config if host.local_conf().is_some() => JsonList::config(),
        Target::Health => JsonList::health(),
        Target::Networks => JsonList::networks(),
        Target::Network => match NetworkId::parse(id) {
            Some(id) if host.network(id).is_some() => JsonList::bare_network(id),
            _ => return Answer::absent(404),
        },
        Target::Peers => JsonList::peers(),
        Target::Peer => match Address::parse(id) {
            Some(address) => JsonList::peer(address),
            None => return Answer::empty(200),
        },
        Target::Moons => JsonList::moons(),
        Target::Moon => JsonList::moon(moon_id(id)),
        // There is no bonding: what 1.14.1 says without a policy.
        Target::BondShow => return Answer::absent(400),
        _ => return Answer::nothing(404),
    })
}

const SWITCHES: [&str; 4] = ["allowManaged", "allowGlobal", "allowDefault", "allowDNS"];

/// Joins, and sets what the body says with booleans; anything else in it is ignored, as ever.
fn join(id: &str, body: &[u8], host: &mut dyn Host) -> Answer {
    let Some(id) = NetworkId::parse(id) else {
        return Answer::empty(404);
    };
    let body = object(body);
    let mut settings = Vec::with_capacity(SWITCHES.len());
    for key in SWITCHES {
        if let Some(on) = body.get(key).and_then(Value::as_bool) {
            settings.push((key, if on { "1" } else { "0" }));
        }
    }
    let joined = host.join(id, &settings);
    if host.network(id).is_some() {
        // Why it has no device stands in its status.
        return Answer::json(JsonList::bare_network(id));
    }
    joined.map_or_else(|refusal| refused(&refusal), |()| Answer::empty(404))
}

fn leave(id: &str, host: &mut dyn Host) -> Answer {
    let left = NetworkId::parse(id).map(|id| host.leave(id));
    match left {
        Some(Err(refusal)) if refusal.code == Code::NotFound => Answer::empty(200),
        Some(left) => removed(left),
        None => Answer::empty(200),
    }
}

fn removed(outcome: Result<(), Refusal>) -> Answer {
    match outcome {
        Ok(()) => Answer::short(200, "{\"result\":true}"),
        Err(refusal) => refused(&refusal),
    }
}

fn orbit(id: u64, body: &[u8], host: &mut dyn Host) -> Answer {
    let body = object(body);
    let seed = body.get("seed").and_then(Value::as_str);
    let seed = seed.and_then(Address::parse);
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

/// Sets what the body says in `settings` of `local.conf`.
fn settings(body: &[u8], host: &mut dyn Host) -> Answer {
    let Value::Object(changes) = object(body) else {
        return Answer::failed(500, "a JSON object is expected");
    };
    match host.merge_settings(&changes) {
        Ok(()) => Answer::empty(200),
        Err(refusal) if refusal.code == Code::NotBuilt => Answer::nothing(404),
        Err(refusal) => refused(&refusal),
    }
}

/// What the body says. What is no JSON says nothing.
fn object(body: &[u8]) -> Value {
    let text = core::str::from_utf8(body).ok();
    let value = text.and_then(|text| Value::parse(text).ok());
    value.unwrap_or(Value::Null)
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal.code {
        Code::Busy => Answer::empty(503),
        // differs from 1.14.1: it stores whatever it is told.
        Code::BadArguments => Answer::failed(400, &refusal.text),
        _ => Answer::failed(500, &refusal.text),
    }
}
