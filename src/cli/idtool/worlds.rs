//! Moons and planets: their JSON, their signing, their display (wire 11, service 5).

use core::net::SocketAddr;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::files::read_bounded;
use super::{MISSING, Outcome, Stop, files, random, read_identity};
use crate::cli::{DONE, Screen};
use crate::crypto::identity::{public_of, validate};
use crate::crypto::sign;
use crate::os::clock;
use crate::service::control::line::Hex;
use crate::service::json::Value;
use crate::wire::cursor::Writer;
use crate::wire::identity::{Identity, parse_hex};
use crate::wire::inet::parse_slash;
use crate::wire::world::{self, ENDPOINTS_MAX, ROOTS_MAX, SIGNED_MAX_LEN, World, WorldKind};

/// Ids that are taken: none, the public planet, and the one reserved for Mars (wire 11.2).
const RESERVED_IDS: [u64; 3] = [0, 149_604_618, 227_883_110];

const DEFAULT_PLANET_FILE: &str = "planet";
/// Behind the planet's name.
const KEY_FILE_SUFFIX: &str = ".secret";

/// A key pair that signs worlds.
struct SigningKey {
    public: [u8; 64],
    secret: Zeroizing<[u8; 64]>,
}

impl SigningKey {
    fn new() -> Result<Self, Stop> {
        let mut secret = Zeroizing::new([0; 64]);
        random()?.fill(&mut *secret);
        Ok(Self {
            public: public_of(&secret),
            secret,
        })
    }

    /// From the members that [`SigningKey::members`] makes.
    fn read(file: &Path, json: &Value) -> Result<Self, String> {
        let secret = Zeroizing::new(key(file, json, "signingKey_SECRET")?);
        let public = key(file, json, "signingKey")?;
        if public_of(&secret) != public {
            return Err(format!(
                "signingKey_SECRET in {} does not belong to signingKey",
                file.display()
            ));
        }
        Ok(Self { public, secret })
    }

    fn members(&self) -> [(String, Value); 3] {
        let public = Value::string(Hex(&self.public));
        [
            ("signingKey".into(), public.clone()),
            (
                "signingKey_SECRET".into(),
                Value::string(Hex(&*self.secret)),
            ),
            ("updatesMustBeSignedBy".into(), public),
        ]
    }
}

fn key(file: &Path, json: &Value, name: &str) -> Result<[u8; 64], String> {
    let mut key = [0; 64];
    let text = json.get(name).and_then(Value::as_str).unwrap_or_default();
    parse_hex(text, &mut key)
        .map(|()| key)
        .map_err(|_| format!("{name} in {} is invalid", file.display()))
}

/// What a world is made of.
struct Draft {
    kind: WorldKind,
    id: u64,
    timestamp: u64,
    update_key: [u8; 64],
    roots: Vec<(Identity, Vec<SocketAddr>)>,
}

impl Draft {
    /// The signed definition.
    fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, String> {
        let unsigned = self.write(&[0; sign::SIGNATURE_LEN])?;
        let (world, _) = World::parse(&unsigned).map_err(|e| format!("world: {e}"))?;
        let mut message = vec![0; SIGNED_MAX_LEN];
        let len = world
            .signed_message(&mut message)
            .map_err(|e| format!("world: {e}"))?;
        let message = message.get(..len).unwrap_or_default();
        self.write(&sign::sign(&key.secret, &[message]))
    }

    fn write(&self, signature: &[u8; sign::SIGNATURE_LEN]) -> Result<Vec<u8>, String> {
        let roots: Vec<(Identity, &[SocketAddr])> = self
            .roots
            .iter()
            .map(|(identity, at)| (*identity, at.as_slice()))
            .collect();
        let mut bytes = vec![0; world::WORLD_MAX_LEN];
        let mut writer = Writer::new(&mut bytes);
        world::write(
            &mut writer,
            self.kind,
            self.id,
            self.timestamp,
            &self.update_key,
            signature,
            &roots,
        )
        .map_err(|e| format!("world: {e}"))?;
        let len = writer.len();
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// A revision's time: now, and behind the one that is there already.
fn timestamp_after(file: &Path, kind: WorldKind, id: u64) -> Result<u64, String> {
    let now = clock::now();
    let old = read_bounded(file).ok();
    let old = old.as_deref().and_then(|bytes| World::parse(bytes).ok());
    let old = old
        .filter(|(w, _)| w.kind == kind && w.id == id)
        .map(|(w, _)| w.timestamp);
    match old {
        Some(old) => Ok(now.wall.as_ms().max(old.saturating_add(1))),
        None if now.wall_ok => Ok(now.wall.as_ms()),
        // Nodes that hold a later revision would never take it.
        None => Err("the clock is not set: set it first, it dates the definition".into()),
    }
}

fn read_json(file: &Path) -> Result<Value, String> {
    let bytes = Zeroizing::new(read_bounded(file)?);
    let text =
        core::str::from_utf8(&bytes).map_err(|_| format!("cannot read {}", file.display()))?;
    let json = Value::parse(text).map_err(|e| format!("{}: invalid JSON, {e}", file.display()))?;
    match json {
        Value::Object(_) => Ok(json),
        _ => Err(format!("{}: invalid JSON, not an object", file.display())),
    }
}

fn read_id(file: &Path, json: &Value) -> Result<u64, String> {
    let text = json.get("id").and_then(Value::as_str).unwrap_or_default();
    let hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16)
        .ok()
        .filter(|id| hex && *id != 0);
    id.ok_or_else(|| format!("ID in {} is invalid", file.display()))
}

/// `initmoon`: what `genmoon` wants, with a new key, to be filled in by hand.
pub(super) fn init_moon(args: &[OsString], screen: &mut Screen) -> Outcome {
    let Some(arg) = args.first() else {
        return Err(Stop::Usage(MISSING, DONE));
    };
    let (identity, _) =
        read_identity(arg).ok_or_else(|| format!("{} is not a valid identity", arg.display()))?;
    let root = Value::Object(vec![
        ("identity".into(), Value::string(identity)),
        ("stableEndpoints".into(), Value::Array(Vec::new())),
    ]);
    let mut members = vec![
        ("id".into(), Value::string(identity.address)),
        ("objtype".into(), Value::string("world")),
        ("roots".into(), Value::Array(vec![root])),
    ];
    members.extend(SigningKey::new()?.members());
    members.push(("worldType".into(), Value::string("moon")));
    let text = Zeroizing::new(Value::Object(members).pretty() + "\n");
    screen.print_now(text.as_bytes());
    Ok(())
}

/// `genmoon`: signs what the file says, into the current directory.
pub(super) fn generate_moon(args: &[OsString], screen: &mut Screen) -> Outcome {
    let Some(file) = args.first().map(Path::new) else {
        return Err(Stop::Usage(MISSING, DONE));
    };
    let json = read_json(file)?;
    let id = read_id(file, &json)?;
    let kind = match json.get("worldType").and_then(Value::as_str) {
        Some("moon") => WorldKind::Moon,
        Some("planet") => WorldKind::Planet,
        _ => return Err("invalid worldType".to_owned().into()),
    };
    let mut roots = Vec::new();
    for root in json
        .get("roots")
        .and_then(Value::as_array)
        .unwrap_or_default()
    {
        roots.push(read_root(file, root)?);
    }
    check_roots(&roots)?;
    let name = format!("{id:016x}.moon");
    let path = Path::new(&name);
    let draft = Draft {
        kind,
        id,
        timestamp: timestamp_after(path, kind, id)?,
        update_key: key(file, &json, "updatesMustBeSignedBy")?,
        roots,
    };
    files::replace_public(path, &draft.sign(&SigningKey::read(file, &json)?)?)?;
    let timestamp = draft.timestamp;
    screen.print(format_args!(
        "wrote {name} (signed world with timestamp {timestamp})\n"
    ));
    Ok(())
}

fn read_root(file: &Path, root: &Value) -> Result<(Identity, Vec<SocketAddr>), String> {
    let text = root
        .get("identity")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let identity = Identity::parse(text)
        .map_err(|_| format!("{text} in {} is not a valid identity", file.display()))?;
    let endpoints = root
        .get("stableEndpoints")
        .and_then(Value::as_array)
        .unwrap_or_default();
    let endpoints: Result<_, _> = endpoints
        .iter()
        .map(|e| endpoint(e.as_str().unwrap_or_default()))
        .collect();
    Ok((identity, endpoints?))
}

fn endpoint(text: &str) -> Result<SocketAddr, String> {
    parse_slash(text)
        .filter(|at| at.port() != 0 && !at.ip().is_unspecified())
        .ok_or_else(|| format!("invalid endpoint {text}: must be ip/port"))
}

fn check_roots(roots: &[(Identity, Vec<SocketAddr>)]) -> Result<(), String> {
    if roots.is_empty() || roots.len() > ROOTS_MAX {
        return Err(format!("a world has 1 to {ROOTS_MAX} roots"));
    }
    for (n, (identity, endpoints)) in roots.iter().enumerate() {
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(format!(
                "{}: at most {ENDPOINTS_MAX} endpoints",
                identity.address
            ));
        }
        if roots
            .iter()
            .take(n)
            .any(|(other, _)| other.address == identity.address)
        {
            return Err(format!("{}: twice among the roots", identity.address));
        }
        if !validate(identity) {
            return Err(format!("{identity} is not a valid identity"));
        }
    }
    Ok(())
}

/// `genplanet`: private roots in one step; run again, it makes an update that nodes accept.
pub(super) fn generate_planet(args: &[OsString], screen: &mut Screen) -> Outcome {
    let (mut roots, mut out, mut key_file) = (Vec::new(), None, None);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let slot = match arg.to_str() {
            Some("-o") => &mut out,
            Some("-k") => &mut key_file,
            _ => {
                roots.push(planet_root(arg)?);
                continue;
            }
        };
        *slot = Some(PathBuf::from(
            rest.next().ok_or(Stop::Usage(MISSING, super::REFUSED))?,
        ));
    }
    if roots.is_empty() {
        return Err(Stop::Usage(MISSING, super::REFUSED));
    }
    check_roots(&roots)?;
    let out = out.unwrap_or_else(|| DEFAULT_PLANET_FILE.into());
    let key_file = key_file.unwrap_or_else(|| {
        let mut name = out.clone().into_os_string();
        name.push(KEY_FILE_SUFFIX);
        name.into()
    });
    let (id, key) = planet_key(&key_file, screen)?;
    let draft = Draft {
        kind: WorldKind::Planet,
        id,
        timestamp: timestamp_after(&out, WorldKind::Planet, id)?,
        update_key: key.public,
        roots,
    };
    files::replace_public(&out, &draft.sign(&key)?)?;
    screen.print(format_args!(
        "wrote {} (signed world {id:016x} with timestamp {})\n",
        out.display(),
        draft.timestamp
    ));
    Ok(())
}

/// `identity@ip/port,ip/port`
fn planet_root(arg: &OsString) -> Result<(Identity, Vec<SocketAddr>), Stop> {
    let text = arg.to_str().and_then(|t| t.rsplit_once('@'));
    let (identity, endpoints) =
        text.ok_or_else(|| format!("{} is not identity@ip/port", arg.display()))?;
    let (found, _) = read_identity(identity.as_ref())
        .ok_or_else(|| format!("Identity argument invalid or file unreadable: {identity}"))?;
    let endpoints: Result<Vec<_>, _> = endpoints.split(',').map(endpoint).collect();
    Ok((found, endpoints?))
}

/// Id and key of a planet: from the file, or new and kept there.
fn planet_key(file: &Path, screen: &mut Screen) -> Result<(u64, SigningKey), Stop> {
    if fs::symlink_metadata(file).is_ok() {
        let json = read_json(file)?;
        return Ok((read_id(file, &json)?, SigningKey::read(file, &json)?));
    }
    let rng = &mut random()?;
    let id = loop {
        // JSON readers that know only doubles keep it exact.
        let id = rng.next_u64() >> (u64::BITS - f64::MANTISSA_DIGITS);
        if !RESERVED_IDS.contains(&id) {
            break id;
        }
    };
    let key = SigningKey::new()?;
    let mut members = vec![
        ("id".into(), Value::string(format_args!("{id:016x}"))),
        ("objtype".into(), Value::string("world")),
    ];
    members.extend(key.members());
    members.push(("worldType".into(), Value::string("planet")));
    let text = Zeroizing::new(Value::Object(members).pretty() + "\n");
    files::write_secret(file, text.as_bytes())?;
    screen.print(format_args!(
        "wrote {} (keep it: it signs updates)\n",
        file.display()
    ));
    Ok((id, key))
}
