//! `mkcom`: certificates of membership by hand.

use std::ffi::{OsStr, OsString};

use super::{Outcome, parsed, required, told};
use crate::cli::Screen;
use crate::crypto::sign;
use crate::service::control::line::Hex;
use crate::wire::identity::SecretIdentity;

/// A certificate of membership as text (network 3.1).
pub(super) fn make_certificate(args: &[OsString], screen: &mut Screen) -> Outcome {
    let arg = required(args, 0)?;
    let secret = parsed(arg).and_then(|(_, text)| SecretIdentity::parse(&text).ok());
    let secret = secret.ok_or_else(|| {
        let why = "Identity argument invalid, does not include private key, or file unreadable: ";
        told(why, arg, "")
    })?;
    // Ids ascend, and of equal ones the last counts.
    let mut fields: Vec<[u64; 3]> = Vec::new();
    for arg in args.iter().skip(1) {
        let field =
            qualifier(arg).ok_or_else(|| told("", arg, " is not id,value,maxDelta in hex"))?;
        let at = fields.iter().take_while(|f| f[0] < field[0]).count();
        match fields.get_mut(at).filter(|f| f[0] == field[0]) {
            Some(same) => *same = field,
            None => fields.insert(at, field),
        }
    }
    let mut message = Vec::with_capacity(fields.len() * 24);
    for number in fields.as_flattened() {
        message.extend_from_slice(&number.to_be_bytes());
    }
    let signature = sign::sign(secret.secret(), &[&message]);
    let issuer = secret.identity.address;
    screen.print(format_args!(
        "1:{}:{issuer}:{}",
        Hex(&message),
        Hex(&signature)
    ));
    Ok(())
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
