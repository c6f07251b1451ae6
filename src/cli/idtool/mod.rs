//! `zerotier-idtool`: identities, signatures, moons and planets by hand (service 5, wire 11).
//!
//! Exit status 1 when anything fails. Files with secrets are made with mode 0600 and never
//! replaced.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use zeroize::Zeroizing;

use super::{DONE, REFUSED, Screen, VERSION};
use crate::base::Address;
use crate::crypto::identity::{generate, secret_fits, validate};
use crate::crypto::rng::Rng;
use crate::crypto::sign;
use crate::os::entropy;
use crate::wire::identity::{Identity, SecretIdentity, parse_hex};

mod files;
mod show;
#[cfg(feature = "worlds")]
mod worlds;

/// Why a command ended without success.
enum Stop {
    /// The help, and this status.
    Help(u8),
    /// The help, and why, and this status.
    Usage(&'static str, u8),
    /// A text for standard error.
    Text(String),
    /// The output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

type Outcome = Result<(), Stop>;

/// Runs `zerotier-idtool` with the arguments behind its name; gives its exit status.
pub fn run(program: &str, arguments: &[OsString], screen: &mut Screen<'_>) -> u8 {
    let outcome = command(arguments, screen)
        .map(|()| DONE)
        .or_else(|stop| match stop {
            Stop::Help(status) => help(program, screen.out).map(|()| status),
            Stop::Usage(why, status) => {
                let what = arguments.first().cloned().unwrap_or_default();
                let what = what.display();
                help(program, screen.out)
                    .and_then(|()| screen.out.flush())
                    .and_then(|()| writeln!(screen.err, "{program}: {what}: {why}"))
                    .map(|()| status)
            }
            Stop::Text(text) => writeln!(screen.err, "{text}").map(|()| REFUSED),
            Stop::Output(error) => Err(error),
        });
    // Nobody is left to be told.
    outcome
        .and_then(|status| screen.out.flush().map(|()| status))
        .unwrap_or(REFUSED)
}

fn command(arguments: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let Some((command, args)) = arguments.split_first() else {
        return Err(Stop::Help(REFUSED));
    };
    match command.to_str() {
        Some("generate") => generate_identity(args, screen),
        Some("validate") => validate_identity(args, screen),
        Some("getpublic") => get_public(args, screen),
        Some("sign") => sign_file(args, screen),
        Some("verify") => verify_file(args, screen),
        Some("mkcom") => make_certificate(args, screen),
        #[cfg(feature = "worlds")]
        Some("initmoon") => worlds::init_moon(args, screen),
        #[cfg(feature = "worlds")]
        Some("genmoon") => worlds::generate_moon(args, screen),
        #[cfg(feature = "worlds")]
        Some("genplanet") => worlds::generate_planet(args, screen),
        #[cfg(not(feature = "worlds"))]
        Some("initmoon" | "genmoon" | "genplanet") => Err(Stop::Text(
            "this build makes no planets and moons: use zerotier-idtool of another".into(),
        )),
        Some("show") => show::run(args, screen),
        Some("-v") => Ok(writeln!(screen.out, "{VERSION}")?),
        Some("--version") => Ok(writeln!(screen.out, "zerotier-idtool {VERSION}")?),
        Some("-h" | "--help" | "help") => Err(Stop::Help(DONE)),
        _ => Err(Stop::Usage("unknown command", REFUSED)),
    }
}

/// Why a command did nothing.
const MISSING: &str = "arguments missing, see above";

fn help(program: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
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
    )
}

/// Argument number `n`; the help without it.
fn required(args: &[OsString], n: usize) -> Result<&OsStr, Stop> {
    args.get(n)
        .map(OsString::as_os_str)
        .ok_or(Stop::Usage(MISSING, REFUSED))
}

/// Longest file with an identity or a signature in it.
const TEXT_FILE_MAX_BYTES: u64 = 64 * 1024;
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
    let path = Path::new(arg);
    if fs::metadata(path).ok()?.len() > TEXT_FILE_MAX_BYTES {
        return None;
    }
    fs::read_to_string(path).ok().map(Zeroizing::new)
}

/// An identity with its secret, if there is one.
fn read_identity(arg: &OsStr) -> Option<(Identity, Option<SecretIdentity>)> {
    let text = identity_text(arg)?;
    let identity = Identity::parse(&text).ok()?;
    Some((identity, SecretIdentity::parse(&text).ok()))
}

fn identity_of(arg: &OsStr) -> Result<(Identity, Option<SecretIdentity>), Stop> {
    read_identity(arg).ok_or_else(|| {
        let arg = arg.display();
        Stop::Text(format!(
            "Identity argument invalid or file unreadable: {arg}"
        ))
    })
}

fn random() -> Result<Rng, Stop> {
    let seed = entropy::seed().map_err(|e| Stop::Text(format!("no random numbers: {e}")))?;
    Ok(Rng::new(seed))
}

fn generate_identity(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let (secret_file, public_file) = (args.first().map(Path::new), args.get(1).map(Path::new));
    let vanity = match args.get(2) {
        Some(text) => Some(Vanity::parse(text).ok_or_else(|| {
            format!(
                "vanity must be 1 to 10 hex digits and no reserved address: {}",
                text.display()
            )
        })?),
        None => None,
    };
    // Before the work, not behind it.
    for path in [secret_file, public_file].into_iter().flatten() {
        files::must_not_exist(path)?;
    }
    let rng = &mut random()?;
    let identity = loop {
        let made = generate(rng).ok_or_else(|| "not enough memory".to_owned())?;
        let Some(vanity) = &vanity else { break made };
        let address = made.identity.address;
        if vanity.fits(address) {
            writeln!(screen.err, "vanity address: found {address} !")?;
            break made;
        }
        writeln!(
            screen.err,
            "vanity address: tried {address} looking for first {} bits of {:010x}",
            vanity.bits, vanity.value
        )?;
    };
    let mut text = Zeroizing::new(String::with_capacity(SECRET_TEXT_LEN));
    // Writing to a String cannot fail.
    let _ = identity.write_string(&mut *text);
    let Some(secret_file) = secret_file else {
        return Ok(screen.out.write_all(text.as_bytes())?);
    };
    files::write_secret(secret_file, text.as_bytes())?;
    writeln!(screen.out, "{} written", secret_file.display())?;
    if let Some(public_file) = public_file {
        let public = identity.identity.to_string();
        files::write_public(public_file, public.as_bytes()).map_err(|why| {
            let secret = secret_file.display();
            format!("{why}\n{secret} is good: getpublic prints the rest")
        })?;
        writeln!(screen.out, "{} written", public_file.display())?;
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

fn validate_identity(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let arg = required(args, 0)?;
    let (identity, secret) = identity_of(arg)?;
    // differs from 1.14.1: a secret that does not belong to its public key is no good either.
    if !validate(&identity) || secret.is_some_and(|s| !secret_fits(&s)) {
        return Err(format!("{} FAILED validation.", arg.display()).into());
    }
    Ok(writeln!(
        screen.out,
        "{} is a valid identity",
        arg.display()
    )?)
}

fn get_public(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let (identity, _) = identity_of(required(args, 0)?)?;
    Ok(write!(screen.out, "{identity}")?)
}

fn secret_of(arg: &OsStr) -> Result<SecretIdentity, Stop> {
    let (_, secret) = identity_of(arg)?;
    secret.ok_or_else(|| {
        let arg = arg.display();
        Stop::Text(format!(
            "{arg} does not contain a private key (must use private to sign)"
        ))
    })
}

fn read_file(arg: &OsStr) -> Result<Vec<u8>, Stop> {
    fs::read(arg).map_err(|_| Stop::Text(format!("{} is not readable", arg.display())))
}

fn sign_file(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let (identity, file) = (required(args, 0)?, required(args, 1)?);
    let secret = secret_of(identity)?;
    let signature = sign::sign(secret.secret(), &[&read_file(file)?]);
    Ok(write!(screen.out, "{}", Hex(&signature))?)
}

fn verify_file(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let (identity, file) = (required(args, 0)?, required(args, 1)?);
    let signature = required(args, 2)?;
    let (identity, _) = identity_of(identity)?;
    let message = read_file(file)?;
    let good = read_signature(signature)
        .is_some_and(|s| sign::verify(&identity.public, &[&message], &s).is_ok());
    let file = file.display();
    if !good {
        return Err(format!("{file} signature check FAILED").into());
    }
    Ok(writeln!(screen.out, "{file} signature valid")?)
}

/// A signature in hex, or in a file.
fn read_signature(arg: &OsStr) -> Option<[u8; sign::SIGNATURE_LEN]> {
    let parse = |text: &str| {
        let mut signature = [0; sign::SIGNATURE_LEN];
        parse_hex(text.trim(), &mut signature)
            .ok()
            .map(|()| signature)
    };
    arg.to_str().and_then(parse).or_else(|| {
        let path = Path::new(arg);
        let fits = fs::metadata(path).ok()?.len() <= TEXT_FILE_MAX_BYTES;
        let text = fits.then(|| fs::read_to_string(path).ok())??;
        parse(&text)
    })
}

/// A certificate of membership as text (network 3.1).
fn make_certificate(args: &[OsString], screen: &mut Screen<'_>) -> Outcome {
    let arg = required(args, 0)?;
    let secret = read_identity(arg)
        .and_then(|(_, secret)| secret)
        .ok_or_else(|| {
            format!(
                "Identity argument invalid, does not include private key, or file unreadable: {}",
                arg.display()
            )
        })?;
    // Ids ascend, and of equal ones the last counts.
    let mut fields = std::collections::BTreeMap::new();
    for arg in args.iter().skip(1) {
        let [id, value, max_delta] = qualifier(arg)
            .ok_or_else(|| format!("{} is not id,value,maxDelta in hex", arg.display()))?;
        fields.insert(id, [value, max_delta]);
    }
    let mut message = Vec::with_capacity(fields.len() * 24);
    for (id, [value, max_delta]) in fields {
        for number in [id, value, max_delta] {
            message.extend_from_slice(&number.to_be_bytes());
        }
    }
    let signature = sign::sign(secret.secret(), &[&message]);
    let issuer = secret.identity.address;
    Ok(write!(
        screen.out,
        "1:{}:{issuer}:{}",
        Hex(&message),
        Hex(&signature)
    )?)
}

fn qualifier(arg: &OsStr) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    let mut words = arg.to_str()?.split(',');
    for number in &mut numbers {
        let word = words.next()?;
        let hex = !word.is_empty() && word.bytes().all(|b| b.is_ascii_hexdigit());
        *number = u64::from_str_radix(word, 16).ok().filter(|_| hex)?;
    }
    words.next().is_none().then_some(numbers)
}

/// Bytes in hex.
struct Hex<'a>(&'a [u8]);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
