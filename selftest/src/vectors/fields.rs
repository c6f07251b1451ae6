//! Reading of the fields of a case, and comparing.

use std::fmt::Display;

use serde_json::{Map, Value};

pub(super) type Object = Map<String, Value>;
pub(super) type Outcome = Result<(), Miss>;

/// Why a case did not pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Failed(String),
    /// Its packet is sealed with AES, which this build is without.
    NoAes,
}

impl Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::NoAes => f.write_str("sealed with AES, which this build is without"),
        }
    }
}

impl From<String> for Miss {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<&str> for Miss {
    fn from(why: &str) -> Self {
        Self::Failed(why.into())
    }
}

pub(super) fn text<'a>(case: &'a Object, key: &str) -> Result<&'a str, Miss> {
    case.get(key)
        .and_then(Value::as_str)
        .ok_or(format!("no text {key}").into())
}

pub(super) fn flag(case: &Object, key: &str) -> Result<bool, Miss> {
    case.get(key)
        .and_then(Value::as_bool)
        .ok_or(format!("no flag {key}").into())
}

pub(super) fn number(case: &Object, key: &str) -> Result<u64, Miss> {
    case.get(key)
        .and_then(Value::as_u64)
        .ok_or(format!("no number {key}").into())
}

pub(super) fn unhex(text: &str) -> Result<Vec<u8>, Miss> {
    let mut bytes = vec![0; text.len() / 2];
    zt::wire::identity::parse_hex(text, &mut bytes).map_err(|e| format!("hex: {e}"))?;
    Ok(bytes)
}

pub(super) fn bytes(case: &Object, key: &str) -> Result<Vec<u8>, Miss> {
    unhex(text(case, key)?)
}

pub(super) fn array<const N: usize>(case: &Object, key: &str) -> Result<[u8; N], Miss> {
    bytes(case, key)?
        .try_into()
        .map_err(|_| format!("{key} has another length").into())
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Outcome {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{what}: {ours:?}, not {theirs:?}").into())
    }
}

pub(super) fn check(what: &str, ok: bool) -> Outcome {
    if ok { Ok(()) } else { Err(what.into()) }
}

pub(super) fn known(case: &Object, fields: &[&str]) -> Outcome {
    match case.keys().find(|k| !fields.contains(&k.as_str())) {
        Some(unknown) => Err(format!("unknown field {unknown}").into()),
        None => Ok(()),
    }
}

pub(super) fn list<'a>(case: &'a Object, key: &str) -> Result<&'a Vec<Value>, Miss> {
    case.get(key)
        .and_then(Value::as_array)
        .ok_or(format!("no list {key}").into())
}

pub(super) fn object(value: &Value) -> Result<&Object, Miss> {
    value.as_object().ok_or("not an object".into())
}

pub(super) fn malformed(error: impl Display) -> Miss {
    Miss::Failed(error.to_string())
}
