//! Moons and planets: their JSON, their signing, their display (wire 11, service 5).

use core::fmt;
use core::net::SocketAddr;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub(super) use super::certificate::make_certificate;
use super::files::{cannot_read, read_bounded};
pub(super) use super::show::run as show;
use super::{MISSING, Outcome, Stop, files, identity_of, parsed, random, told};
use crate::cli::{DONE, Screen};
use crate::crypto::identity::{public_of, validate};
use crate::crypto::sign;
use crate::os::{clock, shown};
use crate::service::control::line::Hex;
use crate::service::json::Value;
use crate::wire::Malformed;
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

    /// From the members that [`SigningKey::text`] makes.
    fn read(file: &Path, json: &Value) -> Result<Self, Stop> {
        let secret = Zeroizing::new(key(file, json, "signingKey_SECRET")?);
        let public = key(file, json, "signingKey")?;
        if public_of(&secret) != public {
            return Err(wrong(
                "signingKey_SECRET",
                file,
                " does not belong to signingKey",
            ));
        }
        Ok(Self { public, secret })
    }

    /// The JSON of a world that it signs, with members for its roots.
    fn text(&self, id: &dyn fmt::Display, kind: &str, roots: Option<Value>) -> Zeroizing<String> {
        let mut json = Value::Object(Vec::new());
        json.set("id", Value::string(id));
        json.set("objtype", Value::string("world"));
        if let Some(roots) = roots {
            json.set("roots", roots);
        }
        let public = Value::string(Hex(&self.public));
        json.set("signingKey", public.clone());
        json.set("signingKey_SECRET", Value::string(Hex(&*self.secret)));
        json.set("updatesMustBeSignedBy", public);
        json.set("worldType", Value::string(kind));
        Zeroizing::new(json.pretty() + "\n")
    }
}

/// What a file says is no good.
#[cold]
#[inline(never)]
fn wrong(what: &str, file: &Path, why: &str) -> Stop {
    Stop::text(format!("{what} in {}{why}", shown(&file)))
}

fn text<'v>(json: &'v Value, name: &str) -> &'v str {
    json.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(json: &'v Value, name: &str) -> &'v [Value] {
    json.get(name).and_then(Value::as_array).unwrap_or_default()
}

fn key(file: &Path, json: &Value, name: &str) -> Result<[u8; 64], Stop> {
    let mut key = [0; 64];
    match parse_hex(text(json, name), &mut key) {
        Ok(()) => Ok(key),
        Err(_) => Err(wrong(name, file, INVALID)),
    }
}

const INVALID: &str = " is invalid";
const NO_IDENTITY: &str = " is not a valid identity";

#[cold]
#[inline(never)]
fn bad_world(why: Malformed) -> Stop {
    Stop::text(format!("world: {why}"))
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
    fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, Stop> {
        let unsigned = self.write(&[0; sign::SIGNATURE_LEN])?;
        let (world, _) = World::parse(&unsigned).map_err(bad_world)?;
        let mut message = vec![0; SIGNED_MAX_LEN];
        let len = world.signed_message(&mut message).map_err(bad_world)?;
        let message = message.get(..len).unwrap_or_default();
        self.write(&sign::sign(&key.secret, &[message]))
    }

    fn write(&self, signature: &[u8; sign::SIGNATURE_LEN]) -> Result<Vec<u8>, Stop> {
        let mut roots = Vec::with_capacity(self.roots.len());
        for (identity, at) in &self.roots {
            roots.push((*identity, at.as_slice()));
        }
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
        .map_err(bad_world)?;
        let len = writer.len();
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// A revision's time: now, and behind the one that is there already.
fn timestamp_after(file: &Path, kind: WorldKind, id: u64) -> Result<u64, Stop> {
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
        None => {
            let why = "the clock is not set: set it first, it dates the definition";
            Err(Stop::text(why.into()))
        }
    }
}

fn read_json(file: &Path) -> Result<Value, Stop> {
    let bytes = Zeroizing::new(read_bounded(file)?);
    let text = core::str::from_utf8(&bytes).map_err(|_| cannot_read(file))?;
    let bad = |why: &dyn fmt::Display| Stop::text(format!("{}: invalid JSON, {why}", shown(&file)));
    match Value::parse(text) {
        Ok(json @ Value::Object(_)) => Ok(json),
        Ok(_) => Err(bad(&"not an object")),
        Err(why) => Err(bad(&why)),
    }
}

fn read_id(file: &Path, json: &Value) -> Result<u64, Stop> {
    let text = text(json, "id");
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = u64::from_str_radix(text, 16);
    id.ok()
        .filter(|id| hex && *id != 0)
        .ok_or_else(|| wrong("ID", file, INVALID))
}

/// `initmoon`: what `genmoon` wants, with a new key, to be filled in by hand.
pub(super) fn init_moon(args: &[OsString], screen: &mut Screen) -> Outcome {
    let Some(arg) = args.first() else {
        return Err(Stop::usage(MISSING, DONE));
    };
    let (identity, _) = parsed(arg).ok_or_else(|| told("", arg, NO_IDENTITY))?;
    let mut root = Value::Object(Vec::new());
    root.set("identity", Value::string(identity));
    root.set("stableEndpoints", Value::Array(Vec::new()));
    let roots = Some(Value::Array(vec![root]));
    let text = SigningKey::new()?.text(&identity.address, "moon", roots);
    screen.print_now(text.as_bytes());
    Ok(())
}

/// `genmoon`: signs what the file says, into the current directory.
pub(super) fn generate_moon(args: &[OsString], screen: &mut Screen) -> Outcome {
    let Some(file) = args.first().map(Path::new) else {
        return Err(Stop::usage(MISSING, DONE));
    };
    let json = read_json(file)?;
    let id = read_id(file, &json)?;
    let kind = match text(&json, "worldType") {
        "moon" => WorldKind::Moon,
        "planet" => WorldKind::Planet,
        _ => return Err(Stop::text("invalid worldType".into())),
    };
    let mut roots = Vec::new();
    for root in list(&json, "roots") {
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

/// A root, and where it is.
type Root = (Identity, Vec<SocketAddr>);

fn read_root(file: &Path, root: &Value) -> Result<Root, Stop> {
    let identity = text(root, "identity");
    let found = Identity::parse(identity).map_err(|_| wrong(identity, file, NO_IDENTITY))?;
    let mut endpoints = Vec::new();
    for at in list(root, "stableEndpoints") {
        endpoints.push(endpoint(at.as_str().unwrap_or_default())?);
    }
    Ok((found, endpoints))
}

fn endpoint(text: &str) -> Result<SocketAddr, Stop> {
    match parse_slash(text) {
        Some(at) if at.port() != 0 && !at.ip().is_unspecified() => Ok(at),
        _ => Err(told(
            "invalid endpoint ",
            text.as_ref(),
            ": must be ip/port",
        )),
    }
}

fn check_roots(roots: &[Root]) -> Outcome {
    if roots.is_empty() || roots.len() > ROOTS_MAX {
        return Err(Stop::text(format!("a world has 1 to {ROOTS_MAX} roots")));
    }
    for (n, (identity, endpoints)) in roots.iter().enumerate() {
        let address = identity.address;
        let mut before = roots.iter().take(n);
        if endpoints.len() > ENDPOINTS_MAX {
            let why = format!("{address}: at most {ENDPOINTS_MAX} endpoints");
            return Err(Stop::text(why));
        }
        if before.any(|(other, _)| other.address == address) {
            return Err(Stop::text(format!("{address}: twice among the roots")));
        }
        if !validate(identity) {
            return Err(Stop::text(format!("{identity}{NO_IDENTITY}")));
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
            rest.next()
                .ok_or_else(|| Stop::usage(MISSING, super::REFUSED))?,
        ));
    }
    if roots.is_empty() {
        return Err(Stop::usage(MISSING, super::REFUSED));
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
        shown(&out),
        draft.timestamp
    ));
    Ok(())
}

/// `identity@ip/port,ip/port`
fn planet_root(arg: &OsString) -> Result<Root, Stop> {
    let text = arg.to_str().and_then(|t| t.rsplit_once('@'));
    let (identity, places) = text.ok_or_else(|| told("", arg, " is not identity@ip/port"))?;
    let found = identity_of(identity.as_ref())?;
    let mut endpoints = Vec::new();
    for at in places.split(',') {
        endpoints.push(endpoint(at)?);
    }
    Ok((found, endpoints))
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
    let text = key.text(&format_args!("{id:016x}"), "planet", None);
    files::write_secret(file, text.as_bytes())?;
    screen.print(format_args!(
        "wrote {} (keep it: it signs updates)\n",
        shown(&file)
    ));
    Ok((id, key))
}
