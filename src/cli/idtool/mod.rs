//! `zerotier-idtool`: identities, signatures, moons and planets by hand (service 5, wire 11).
//!
//! Exit status 1 when anything fails. Files with secrets are made with mode 0600 and never
//! replaced.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use zeroize::Zeroizing;

use super::{DONE, REFUSED, Screen, VERSION};
use crate::base::Address;
use crate::crypto::identity::{generate, secret_fits, validate};
use crate::crypto::rng::Rng;
use crate::crypto::sign;
use crate::os::{entropy, file, shown};
use crate::service::control::line::Hex;
use crate::wire::identity::{Identity, SecretIdentity, parse_hex};

#[cfg(feature = "worlds")]
mod certificate;
mod files;
#[cfg(feature = "worlds")]
mod show;
#[cfg(feature = "worlds")]
mod worlds;
#[cfg(not(feature = "worlds"))]
#[path = "no_worlds.rs"]
mod worlds;

/// Why a command ended without success: a word, so that it is cheap to hand on.
struct Stop(Box<Why>);

enum Why {
    /// The help, and this status.
    Help(u8),
    /// The help, and why, and this status.
    Usage(&'static str, u8),
    /// A text for standard error.
    Text(String),
}

impl Stop {
    fn help(status: u8) -> Self {
        Self(Box::new(Why::Help(status)))
    }

    #[cold]
    #[inline(never)]
    fn usage(why: &'static str, status: u8) -> Self {
        Self(Box::new(Why::Usage(why, status)))
    }

    #[cold]
    #[inline(never)]
    fn text(text: String) -> Self {
        Self(Box::new(Why::Text(text)))
    }
}

type Outcome = Result<(), Stop>;

type Command = fn(&[OsString], &mut Screen) -> Outcome;

const COMMANDS: &[(&str, Command)] = &[
    ("generate", generate_identity),
    ("validate", validate_identity),
    ("getpublic", get_public),
    ("sign", sign_file),
    ("verify", verify_file),
    ("mkcom", worlds::make_certificate),
    ("initmoon", worlds::init_moon),
    ("genmoon", worlds::generate_moon),
    ("genplanet", worlds::generate_planet),
    ("show", worlds::show),
    ("-v", |_, screen| {
        screen.line(VERSION);
        Ok(())
    }),
    ("--version", |_, screen| {
        screen.line(concat!("zerotier-idtool ", env!("CARGO_PKG_VERSION")));
        Ok(())
    }),
    ("-h", |_, _| Err(Stop::help(DONE))),
    ("--help", |_, _| Err(Stop::help(DONE))),
    ("help", |_, _| Err(Stop::help(DONE))),
];

/// Runs `zerotier-idtool` with the arguments behind its name; gives its exit status.
pub fn run(program: &str, arguments: &[OsString], screen: &mut Screen) -> u8 {
    let why = match command(arguments, screen) {
        Ok(()) => return screen.end(DONE),
        Err(Stop(why)) => *why,
    };
    let status = match why {
        Why::Help(status) => {
            help(program, screen);
            status
        }
        Why::Usage(why, status) => {
            help(program, screen);
            let what = arguments
                .first()
                .map_or(OsStr::new(""), OsString::as_os_str);
            screen.tell(format_args!("{program}: {}: {why}", shown(&what)));
            status
        }
        Why::Text(text) => {
            screen.tell(format_args!("{text}"));
            REFUSED
        }
    };
    screen.end(status)
}

fn command(arguments: &[OsString], screen: &mut Screen) -> Outcome {
    let Some((command, args)) = arguments.split_first() else {
        return Err(Stop::help(REFUSED));
    };
    match COMMANDS.iter().find(|(name, _)| command == name) {
        Some((_, does)) => does(args, screen),
        None => Err(Stop::usage("unknown command", REFUSED)),
    }
}

/// Why a command did nothing.
const MISSING: &str = "arguments missing, see above";

fn help(program: &str, screen: &mut Screen) {
    screen.print(format_args!(
        "zerotier-idtool {VERSION}
ZeroTier for routers and small boards
Licence: Mozilla Public License 2.0
Usage: {program} <command> [<args>]

Commands:
  generate [<identity.secret>] [<identity.public>] [<vanity>]
  validate <identity.secret/public>
  getpublic <identity.secret>
  sign <identity.secret> <file>
  verify <identity.secret/public> <file> <signature>
  initmoon <identity.public of first seed>
  genmoon <moon json>
  genplanet <identity.public>@<ip>/<port>[,<ip>/<port>...] ... [-o <planet>] [-k <key file>]
  show <planet/moon/peer/identity file>
  mkcom <identity.secret> [<id,value,maxDelta> ...] (hexadecimal integers)
"
    ));
}

/// Argument number `n`; the help without it.
fn required(args: &[OsString], n: usize) -> Result<&OsStr, Stop> {
    args.get(n)
        .map(OsString::as_os_str)
        .ok_or_else(|| Stop::usage(MISSING, REFUSED))
}

/// An argument is an identity itself when it is longer than this and has its first colon here.
const LITERAL_MIN_LEN: usize = 33;
const LITERAL_COLON_AT: usize = 10;

/// The text of an identity: the argument itself, or the file that it names.
fn identity_text(arg: &OsStr) -> Option<Zeroizing<String>> {
    if let Some(text) = arg.to_str()
        && text.len() >= LITERAL_MIN_LEN
        && text.as_bytes().get(LITERAL_COLON_AT) == Some(&b':')
    {
        return Some(Zeroizing::new(text.to_owned()));
    }
    files::read_text(arg)
}

/// An identity, and the text that may hold its secret.
fn parsed(arg: &OsStr) -> Option<(Identity, Zeroizing<String>)> {
    let text = identity_text(arg)?;
    Some((Identity::parse(&text).ok()?, text))
}

fn text_of(arg: &OsStr) -> Result<(Identity, Zeroizing<String>), Stop> {
    parsed(arg).ok_or_else(|| told("Identity argument invalid or file unreadable: ", arg, ""))
}

fn identity_of(arg: &OsStr) -> Result<Identity, Stop> {
    text_of(arg).map(|(identity, _)| identity)
}

/// A text with an argument in it.
#[cold]
#[inline(never)]
fn told(before: &str, arg: &OsStr, behind: &str) -> Stop {
    Stop::text(format!("{before}{}{behind}", shown(&arg)))
}

fn random() -> Result<Rng, Stop> {
    let seed = entropy::seed().map_err(|e| Stop::text(format!("no random numbers: {e}")))?;
    Ok(Rng::new(seed))
}

fn generate_identity(args: &[OsString], screen: &mut Screen) -> Outcome {
    let (secret_file, public_file) = (args.first().map(Path::new), args.get(1).map(Path::new));
    let vanity = match args.get(2) {
        Some(text) => Some(Vanity::parse(text).ok_or_else(|| {
            let why = "vanity must be 1 to 10 hex digits and no reserved address: ";
            told(why, text, "")
        })?),
        None => None,
    };
    // Before the work, not behind it.
    for path in args.iter().take(2) {
        files::must_not_exist(Path::new(path))?;
    }
    let rng = &mut random()?;
    let identity = loop {
        let Some(made) = generate(rng) else {
            return Err(Stop::text("not enough memory".into()));
        };
        let Some(vanity) = &vanity else { break made };
        let address = made.identity.address;
        if vanity.fits(address) {
            screen.tell(format_args!("vanity address: found {address} !"));
            break made;
        }
        screen.tell(format_args!(
            "vanity address: tried {address} looking for first {} bits of {:010x}",
            vanity.bits, vanity.value
        ));
        if !screen.flush() {
            return Ok(());
        }
    };
    let mut text = Zeroizing::new(String::with_capacity(SECRET_TEXT_LEN));
    // Writing to a String cannot fail.
    let _ = identity.write_string(&mut *text);
    let Some(secret_file) = secret_file else {
        screen.print_now(text.as_bytes());
        return Ok(());
    };
    files::write_secret(secret_file, text.as_bytes())?;
    screen.print(format_args!("{} written\n", shown(&secret_file)));
    if let Some(public_file) = public_file {
        let public = identity.identity.to_string();
        if let Err(mut stop) = files::write_public(public_file, public.as_bytes()) {
            if let Why::Text(why) = &mut *stop.0 {
                let secret = shown(&secret_file);
                why.push_str(&format!("\n{secret} is good: getpublic prints the rest"));
            }
            return Err(stop);
        }
        screen.print(format_args!("{} written\n", shown(&public_file)));
    }
    Ok(())
}

/// Room for a secret identity, so that no copy is left behind by growing.
const SECRET_TEXT_LEN: usize = 270;

/// First digits that an address shall have.
struct Vanity {
    value: u64,
    bits: u32,
}

const ADDRESS_BITS: u32 = 40;

impl Vanity {
    fn parse(text: &OsStr) -> Option<Self> {
        let text = text.to_str()?;
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let bits = u32::try_from(text.len()).ok()?.checked_mul(4)?;
        if bits == 0 || bits > ADDRESS_BITS {
            return None;
        }
        let value = u64::from_str_radix(text, 16).ok()? << (ADDRESS_BITS - bits);
        // What no address can begin with would be looked for without end.
        let reserved = value >> 32 == 0xff || bits == ADDRESS_BITS && value == 0;
        (!reserved).then_some(Self { value, bits })
    }

    fn fits(&self, address: Address) -> bool {
        (address.get() ^ self.value) >> (ADDRESS_BITS - self.bits) == 0
    }
}

fn validate_identity(args: &[OsString], screen: &mut Screen) -> Outcome {
    let arg = required(args, 0)?;
    let (identity, text) = text_of(arg)?;
    let secret = SecretIdentity::parse(&text);
    // differs from 1.14.1: a secret that does not belong to its public key is no good either.
    if !validate(&identity) || secret.is_ok_and(|s| !secret_fits(&s)) {
        return Err(told("", arg, " FAILED validation."));
    }
    screen.print(format_args!("{} is a valid identity\n", shown(&arg)));
    Ok(())
}

fn get_public(args: &[OsString], screen: &mut Screen) -> Outcome {
    let identity = identity_of(required(args, 0)?)?;
    screen.print(format_args!("{identity}"));
    Ok(())
}

fn secret_of(arg: &OsStr) -> Result<SecretIdentity, Stop> {
    let (_, text) = text_of(arg)?;
    SecretIdentity::parse(&text).map_err(|_| {
        let why = " does not contain a private key (must use private to sign)";
        told("", arg, why)
    })
}

fn read_file(arg: &OsStr) -> Result<Vec<u8>, Stop> {
    file::read_any(Path::new(arg), usize::MAX).map_err(|_| told("", arg, " is not readable"))
}

fn sign_file(args: &[OsString], screen: &mut Screen) -> Outcome {
    let (identity, file) = (required(args, 0)?, required(args, 1)?);
    let secret = secret_of(identity)?;
    let signature = sign::sign(secret.secret(), &[&read_file(file)?]);
    screen.print(format_args!("{}", Hex(&signature)));
    Ok(())
}

fn verify_file(args: &[OsString], screen: &mut Screen) -> Outcome {
    let (identity, file) = (required(args, 0)?, required(args, 1)?);
    let signature = required(args, 2)?;
    let identity = identity_of(identity)?;
    let message = read_file(file)?;
    let good = read_signature(signature)
        .is_some_and(|s| sign::verify(&identity.public, &[&message], &s).is_ok());
    if !good {
        return Err(told("", file, " signature check FAILED"));
    }
    screen.print(format_args!("{} signature valid\n", shown(&file)));
    Ok(())
}

/// A signature in hex, or in a file.
fn read_signature(arg: &OsStr) -> Option<[u8; sign::SIGNATURE_LEN]> {
    let parse = |text: &str| {
        let mut signature = [0; sign::SIGNATURE_LEN];
        parse_hex(text.trim_ascii(), &mut signature)
            .ok()
            .map(|()| signature)
    };
    let literal = arg.to_str().and_then(parse);
    literal.or_else(|| parse(&files::read_text(arg)?))
}
