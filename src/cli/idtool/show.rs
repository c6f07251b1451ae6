//! `show`: what a planet, a moon, a stored peer or an identity says, without secrets.

use std::ffi::OsString;
use std::path::Path;

use zeroize::Zeroizing;

use super::files::read_bounded;
use super::{Outcome, Stop, required};
use crate::cli::Screen;
use crate::crypto::identity::{secret_fits, validate};
use crate::crypto::sign;
use crate::os::shown;
use crate::service::control::line::Hex;
use crate::wire::identity::{Identity, SecretIdentity};
use crate::wire::inet::Slash;
use crate::wire::peer_record::Record;
use crate::wire::world::{SIGNED_MAX_LEN, World, WorldKind};

pub(super) fn run(args: &[OsString], screen: &mut Screen) -> Outcome {
    let file = Path::new(required(args, 0)?);
    let bytes = Zeroizing::new(read_bounded(file)?);
    let why = match World::parse(&bytes) {
        Ok((found, used)) => return world(&found, bytes.len().saturating_sub(used), screen),
        Err(why) => why,
    };
    if let Ok(record) = Record::parse(&bytes) {
        return peer(&record, screen);
    }
    let text = core::str::from_utf8(&bytes).unwrap_or_default();
    if let Ok(found) = Identity::parse(text) {
        return identity(&found, SecretIdentity::parse(text).ok(), screen);
    }
    let file = shown(&file);
    let text = format!(
        "{file} is neither planet, moon, stored peer nor identity (as planet or moon: {why})"
    );
    Err(Stop::text(text))
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn world(world: &World<'_>, others: usize, screen: &mut Screen) -> Outcome {
    let kind = match world.kind {
        WorldKind::Planet => "planet",
        WorldKind::Moon => "moon",
    };
    let mut message = vec![0; SIGNED_MAX_LEN];
    let len = world.signed_message(&mut message).unwrap_or_default();
    let message = message.get(..len).unwrap_or_default();
    let good = sign::verify(world.update_key, &[message], world.signature).is_ok();
    screen.print(format_args!("{kind} {:016x}\n", world.id));
    screen.print(format_args!("timestamp {}\n", world.timestamp));
    screen.print(format_args!(
        "updates must be signed by {}\n",
        Hex(world.update_key)
    ));
    // The first revision is signed by the one before it, if there was one.
    screen.print(format_args!("signed by the same key: {}\n", yes_no(good)));
    for root in world.roots() {
        screen.print(format_args!("root {}\n", root.identity));
        for at in root.endpoints() {
            screen.print(format_args!(" endpoint {}\n", Slash(at)));
        }
    }
    if others > 0 {
        screen.print(format_args!("followed by {others} other bytes\n"));
    }
    Ok(())
}

fn peer(record: &Record, screen: &mut Screen) -> Outcome {
    screen.print(format_args!("peer {}\n", record.identity.address));
    screen.print(format_args!("identity {}\n", record.identity));
    match record.version {
        Some(v) => screen.print(format_args!(
            "version {}.{}.{} protocol {}\n",
            v.major, v.minor, v.revision, v.protocol
        )),
        None => screen.line("version unknown"),
    }
    for at in &record.addresses {
        screen.print(format_args!("address {}\n", Slash(*at)));
    }
    Ok(())
}

fn identity(identity: &Identity, secret: Option<SecretIdentity>, screen: &mut Screen) -> Outcome {
    screen.print(format_args!("identity {identity}\n"));
    screen.print(format_args!("private key: {}\n", yes_no(secret.is_some())));
    let valid = validate(identity) && secret.is_none_or(|secret| secret_fits(&secret));
    screen.print(format_args!("valid: {}\n", yes_no(valid)));
    Ok(())
}
