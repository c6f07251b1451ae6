//! `show`: what a planet, a moon, a stored peer or an identity says, without secrets.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use zeroize::Zeroizing;

use super::files::read_bounded;
use super::{Hex, Outcome, required};
use crate::cli::Screen;
use crate::crypto::identity::{secret_fits, validate};
use crate::crypto::sign;
use crate::wire::identity::{Identity, SecretIdentity};
use crate::wire::inet::Slash;
use crate::wire::peer_record::Record;
use crate::wire::world::{SIGNED_MAX_LEN, World, WorldKind};

pub(super) fn run(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let file = Path::new(required(args, 0)?);
    let bytes = Zeroizing::new(read_bounded(file)?);
    let out = &mut *screen.out;
    let why = match World::parse(&bytes) {
        Ok((found, used)) => return world(&found, bytes.len().saturating_sub(used), out),
        Err(why) => why,
    };
    if let Ok(record) = Record::parse(&bytes) {
        return peer(&record, out);
    }
    let text = core::str::from_utf8(&bytes).unwrap_or_default();
    if let Ok(found) = Identity::parse(text) {
        return identity(&found, SecretIdentity::parse(text).ok(), out);
    }
    let file = file.display();
    let text = format!(
        "{file} is neither planet, moon, stored peer nor identity (as planet or moon: {why})"
    );
    Err(text.into())
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn world(world: &World<'_>, others: usize, out: &mut dyn Write) -> Outcome {
    let kind = match world.kind {
        WorldKind::Planet => "planet",
        WorldKind::Moon => "moon",
    };
    let mut message = vec![0; SIGNED_MAX_LEN];
    let len = world.signed_message(&mut message).unwrap_or_default();
    let message = message.get(..len).unwrap_or_default();
    let good = sign::verify(&world.update_key, &[message], &world.signature).is_ok();
    writeln!(out, "{kind} {:016x}", world.id)?;
    writeln!(out, "timestamp {}", world.timestamp)?;
    writeln!(out, "updates must be signed by {}", Hex(&world.update_key))?;
    // The first revision is signed by the one before it, if there was one.
    writeln!(out, "signed by the same key: {}", yes_no(good))?;
    for root in world.roots() {
        writeln!(out, "root {}", root.identity)?;
        for at in root.endpoints() {
            writeln!(out, " endpoint {}", Slash(at))?;
        }
    }
    if others > 0 {
        writeln!(out, "followed by {others} other bytes")?;
    }
    Ok(())
}

fn peer(record: &Record, out: &mut dyn Write) -> Outcome {
    writeln!(out, "peer {}", record.identity.address)?;
    writeln!(out, "identity {}", record.identity)?;
    match record.version {
        Some(v) => writeln!(
            out,
            "version {}.{}.{} protocol {}",
            v.major, v.minor, v.revision, v.protocol
        )?,
        None => writeln!(out, "version unknown")?,
    }
    for at in &record.addresses {
        writeln!(out, "address {}", Slash(*at))?;
    }
    Ok(())
}

fn identity(identity: &Identity, secret: Option<SecretIdentity>, out: &mut dyn Write) -> Outcome {
    writeln!(out, "identity {identity}")?;
    writeln!(out, "private key: {}", yes_no(secret.is_some()))?;
    let valid = validate(identity) && secret.is_none_or(|secret| secret_fits(&secret));
    writeln!(out, "valid: {}", yes_no(valid))?;
    Ok(())
}
