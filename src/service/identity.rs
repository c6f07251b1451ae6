//! Who we are: `identity.secret` and `identity.public` (service 1, 3; wishes 1, 2).
//!
//! A secret that exists is never replaced. One that is empty or damaged stops the start with a
//! text that says what to do; told `--new-identity`, the bad file is renamed, never deleted.
//!
//! differs from 1.14.1: an empty file does not count as absent; a public half without its secret
//! is a loss to be reported, not a reason for a new address.

use zeroize::Zeroizing;

use super::Fatal;
use super::log;
use super::state::Home;
use crate::crypto::identity::{Generator, secret_fits, validate};
use crate::crypto::rng::Rng;
use crate::os::file::{self, Look};
use crate::os::{self, shown};
use crate::wire::identity::{Identity, SecretIdentity};

const SECRET: &str = "identity.secret";
const PUBLIC: &str = "identity.public";

/// Blocks of the memory-hard digest between two looks at the signals: about 10 ms on a slow
/// board.
const SLICE_BLOCKS: usize = 4096;

/// The stored identity, or a new one if there has never been one. `None`: `stop` said so while
/// a new one was being made.
#[inline(never)]
pub fn obtain(
    home: &mut Home,
    rng: &mut Rng,
    new_identity: bool,
    stop: &mut dyn FnMut() -> bool,
) -> Result<Option<SecretIdentity>, Fatal> {
    let secret = match read_secret(home, new_identity)? {
        Some(secret) => secret,
        None => {
            log::info!("making a new identity");
            let Some(mut generator) = Generator::new(rng) else {
                return Err(Fatal::new(format_args!(
                    "no memory (2 MiB) to make an identity"
                )));
            };
            let Some(secret) = generate(&mut generator, rng, stop) else {
                return Ok(None);
            };
            store_secret(home, &secret)?;
            log::info!("new identity {}", secret.identity.address);
            secret
        }
    };
    // Written only if it differs; a failure is reported with the home's other trouble.
    let _ = home.write_precious(PUBLIC, secret.identity.to_string().as_bytes());
    Ok(Some(secret))
}

fn generate(
    generator: &mut Generator,
    rng: &mut Rng,
    stop: &mut dyn FnMut() -> bool,
) -> Option<SecretIdentity> {
    loop {
        if let Some(secret) = generator.step(rng, SLICE_BLOCKS) {
            return Some(secret);
        }
        if stop() {
            return None;
        }
    }
}

fn store_secret(home: &mut Home, secret: &SecretIdentity) -> Result<(), Fatal> {
    let mut text = Zeroizing::new(String::with_capacity(300));
    // Writing to a String cannot fail.
    let _ = secret.write_string(&mut *text);
    home.write_secret(SECRET, text.as_bytes()).map_err(|error| {
        Fatal::new(format_args!(
            "the new identity cannot be stored: {}",
            home.explain(SECRET, &error)
        ))
    })
}

/// The stored secret. `None`: none is stored, a new one may be made.
fn read_secret(home: &mut Home, new_identity: bool) -> Result<Option<SecretIdentity>, Fatal> {
    let what = match home.read_secret(SECRET) {
        Ok(None) => return missing(home, new_identity),
        Ok(Some(text)) => match judge(home, &text) {
            Ok(secret) => return Ok(Some(secret)),
            Err(what) => what,
        },
        // Unreadable now is not damaged: the disk may come back, so not even --new-identity
        // touches it.
        Err(error) if !is_something_else(error) => {
            return Err(unreadable(home, SECRET, error));
        }
        Err(_) => "this is no file with an identity",
    };
    if !new_identity {
        let what = format_args!(
            "{what}. It is left as it is. Restore it from a backup, or start once with \
             --new-identity to set it aside and get a new address"
        );
        return Err(Fatal::new(format_args!("{}", home.explain(SECRET, &what))));
    }
    set_aside(home, SECRET)?;
    set_aside(home, PUBLIC)?;
    Ok(None)
}

/// What is there can be read, and is no text.
const fn is_something_else(error: os::Error) -> bool {
    matches!(
        error.errno,
        libc::EILSEQ | libc::EFBIG | libc::EISDIR | libc::EINVAL
    )
}

fn missing(home: &mut Home, new_identity: bool) -> Result<Option<SecretIdentity>, Fatal> {
    match home.read_text(PUBLIC) {
        Ok(Some(text)) if new_identity || text.trim_ascii().is_empty() => {
            set_aside(home, PUBLIC)?;
            Ok(None)
        }
        Ok(Some(text)) => {
            let who = Identity::parse(text.trim_ascii()).map_or_else(
                |_| "another identity".to_owned(),
                |id| id.address.to_string(),
            );
            Err(Fatal::new(format_args!(
                "{} says that this is {who}, but {} is missing. Restore it from a backup, or \
                 start once with --new-identity to get a new address",
                shown(&home.path(PUBLIC)),
                shown(&home.path(SECRET))
            )))
        }
        Ok(None) => Ok(None),
        Err(_) if new_identity => {
            set_aside(home, PUBLIC)?;
            Ok(None)
        }
        Err(error) => Err(unreadable(home, PUBLIC, error)),
    }
}

fn unreadable(home: &Home, name: &str, error: os::Error) -> Fatal {
    Fatal::new(format_args!("cannot read {}", home.explain(name, &error)))
}

/// A secret that can be trusted, or what is wrong with the text.
fn judge(home: &Home, text: &str) -> Result<SecretIdentity, &'static str> {
    if text.trim_ascii().is_empty() {
        return Err("the file is empty");
    }
    let secret = SecretIdentity::parse(text).map_err(|_| "the file holds no secret identity")?;
    if !secret_fits(&secret) {
        return Err("secret and public part do not belong together");
    }
    // The public file is written only after the whole check, so an equal one vouches for it:
    // 2 MiB and a second of a slow board are saved at each start.
    let vouched = home
        .read_text(PUBLIC)
        .ok()
        .flatten()
        .and_then(|text| Identity::parse(text.trim_ascii()).ok())
        .is_some_and(|public| public == secret.identity);
    if vouched || validate(&secret.identity) {
        Ok(secret)
    } else {
        Err("the address does not follow from the key")
    }
}

/// Renames a file to a name that is free. On the disk before anything takes its place: a power
/// cut must not leave the new one alone.
fn set_aside(home: &Home, name: &str) -> Result<(), Fatal> {
    let from = home.path(name);
    if file::look(&from, Look::Itself).is_err() {
        return Ok(());
    }
    let mut to = home.path(&format!("{name}.bad"));
    for n in 0..u32::MAX {
        to = home.path(&format!("{name}.bad{n}"));
        if file::look(&to, Look::Itself).is_err() {
            break;
        }
    }
    let moved = file::rename_atomic(&from, &to);
    let (from, to) = (shown(&from), shown(&to));
    if let Err(error) = moved {
        let text = format_args!("cannot set aside {from} as {to}: {error}");
        return Err(Fatal::new(text));
    }
    log::warn!("{from} set aside as {to}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::Scratch;
    use super::*;

    /// wire 2, vectors/identity.json: a pair made by the reference.
    const PAIR: &str = include_str!("../../tests/vectors/identity.json");

    fn known() -> String {
        let json: serde_json::Value = serde_json::from_str(PAIR).expect("json");
        find_secret(&json).expect("a secret identity in the vectors")
    }

    fn find_secret(json: &serde_json::Value) -> Option<String> {
        match json {
            serde_json::Value::String(text) => SecretIdentity::parse(text)
                .ok()
                .filter(|s| validate(&s.identity))
                .map(|_| text.clone()),
            serde_json::Value::Array(all) => all.iter().find_map(find_secret),
            serde_json::Value::Object(all) => all.values().find_map(find_secret),
            _ => None,
        }
    }

    fn start(scratch: &mut Scratch, new: bool) -> Result<Option<SecretIdentity>, Fatal> {
        obtain(&mut scratch.0, &mut Rng::new([3; 32]), new, &mut || false)
    }

    #[test]
    fn a_stored_secret_is_taken_and_its_public_half_derived() {
        let mut scratch = Scratch::new("id-known");
        let text = known();
        scratch.put(SECRET, format!("{text}\n").as_bytes());
        let secret = start(&mut scratch, false)
            .expect("starts")
            .expect("an identity");
        assert!(text.starts_with(&secret.identity.to_string()));
        assert_eq!(
            scratch.get(PUBLIC),
            Some(secret.identity.to_string().into_bytes())
        );
        assert_eq!(scratch.get(SECRET), Some(format!("{text}\n").into_bytes()));
    }

    #[test]
    fn an_empty_or_damaged_secret_is_never_replaced() {
        let mut scratch = Scratch::new("id-bad");
        let swapped = {
            // The first digit of the public key changed: address and secret no longer fit.
            let text = known();
            let flip = if text.as_bytes().get(13) == Some(&b'0') {
                "1"
            } else {
                "0"
            };
            format!("{}{flip}{}", &text[..13], &text[14..])
        };
        for bad in ["", "\n", "garbage", &known()[..200], &swapped] {
            scratch.put(SECRET, bad.as_bytes());
            let Err(fatal) = start(&mut scratch, false) else {
                panic!("{bad} was taken")
            };
            let text = fatal.to_string();
            assert!(
                text.contains("identity.secret") && text.contains("--new-identity"),
                "{text}"
            );
            assert_eq!(scratch.get(SECRET), Some(bad.as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_new_identity_on_demand_keeps_the_bad_file() {
        let mut scratch = Scratch::new("id-new");
        scratch.put(SECRET, b"garbage");
        let secret = start(&mut scratch, true)
            .expect("starts")
            .expect("an identity");
        assert_eq!(
            scratch.get("identity.secret.bad0").as_deref(),
            Some(&b"garbage"[..])
        );
        let again = start(&mut scratch, true)
            .expect("starts")
            .expect("an identity");
        assert_eq!(again.identity, secret.identity);
    }

    #[test]
    fn a_lost_secret_is_noticed() {
        let mut scratch = Scratch::new("id-lost");
        scratch.put(SECRET, known().as_bytes());
        assert!(start(&mut scratch, false).is_ok());
        scratch.0.remove_cache(SECRET);
        assert!(start(&mut scratch, false).is_err());
        assert!(scratch.get(SECRET).is_none());
    }

    #[test]
    fn a_stop_while_an_identity_is_made_leaves_nothing_behind() {
        let mut scratch = Scratch::new("id-stop");
        let made = obtain(&mut scratch.0, &mut Rng::new([3; 32]), false, &mut || true);
        assert!(made.expect("no error").is_none());
        assert!(scratch.get(SECRET).is_none() && scratch.get(PUBLIC).is_none());
    }
}
