//! Identities: string and binary forms (wire 2). What makes them valid is `crypto::identity`'s.

use core::fmt;

use zeroize::Zeroize;

use super::Malformed;
use super::cursor::{Reader, Writer};
use crate::base::Address;

const TYPE: u8 = 0;
const KEY_LEN: usize = 64;

/// An address and its public keys: X25519 in the first half, Ed25519 in the second.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Last five bytes of the digest of `public`, if valid.
    pub address: Address,
    /// Both public keys.
    pub public: [u8; KEY_LEN],
}

impl Identity {
    /// Bytes of the binary form without secret.
    pub const LEN: usize = 71;

    /// Reads the binary form (wire 2.5); a secret is skipped.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let address = reader.address()?;
        if reader.u8()? != TYPE {
            return Err(Malformed::Unsupported);
        }
        let public = reader.array()?;
        match usize::from(reader.u8()?) {
            0 => {}
            KEY_LEN => {
                reader.bytes(KEY_LEN)?;
            }
            _ => return Err(Malformed::Length),
        }
        Ok(Self { address, public })
    }

    /// Writes the binary form, without secret.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        writer.address(self.address);
        writer.u8(TYPE);
        writer.bytes(&self.public);
        writer.u8(0);
        writer.end()
    }

    /// Reads `address:0:public`, with or without a secret behind it. White space around it is
    /// ignored, everything else must be as it is written.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        parse(text).map(|(identity, _)| identity)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{TYPE}:", self.address)?;
        write_hex(f, &self.public)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.address)
    }
}

#[derive(Clone)]
struct Secret([u8; KEY_LEN]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// An identity with its secret keys: X25519 scalar (unclamped), Ed25519 seed. Wiped on drop.
#[derive(Clone)]
pub struct SecretIdentity {
    /// The public part.
    pub identity: Identity,
    secret: Secret,
}

impl SecretIdentity {
    /// Puts both parts together; that they fit is the caller's knowledge.
    pub const fn from_parts(identity: Identity, secret: [u8; KEY_LEN]) -> Self {
        Self {
            identity,
            secret: Secret(secret),
        }
    }

    /// Reads `address:0:public:secret`. That the secret fits is not checked here.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (identity, secret) = parse(text)?;
        secret
            .map(|secret| Self { identity, secret })
            .ok_or(Malformed::Truncated)
    }

    /// Both secret keys.
    pub const fn secret(&self) -> &[u8; KEY_LEN] {
        &self.secret.0
    }

    /// Writes `address:0:public:secret`.
    pub fn write_string(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{}:", self.identity)?;
        write_hex(out, &self.secret.0)
    }
}

fn write_hex(out: &mut dyn fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(out, "{b:02x}"))
}

fn parse(text: &str) -> Result<(Identity, Option<Secret>), Malformed> {
    let mut fields = text.trim_ascii().split(':');
    let address = fields
        .next()
        .and_then(Address::parse)
        .ok_or(Malformed::Value)?;
    match fields.next() {
        Some("0") => {}
        Some(_) => return Err(Malformed::Unsupported),
        None => return Err(Malformed::Truncated),
    }
    let public = fields
        .next()
        .ok_or(Malformed::Truncated)
        .and_then(parse_key)?;
    let secret = match fields.next() {
        Some(text) => Some(Secret(parse_key(text)?)),
        None => None,
    };
    if fields.next().is_some() {
        return Err(Malformed::Length);
    }
    Ok((Identity { address, public }, secret))
}

fn parse_key(text: &str) -> Result<[u8; KEY_LEN], Malformed> {
    let mut key = [0; KEY_LEN];
    parse_hex(text, &mut key)?;
    Ok(key)
}

/// Exactly `out.len()` bytes of hex digits.
pub fn parse_hex(text: &str, out: &mut [u8]) -> Result<(), Malformed> {
    let digits = text.as_bytes();
    if digits.len() != out.len().saturating_mul(2) {
        return Err(Malformed::Length);
    }
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else {
            return Err(Malformed::Length);
        };
        let (Some(high), Some(low)) = (value(high), value(low)) else {
            return Err(Malformed::Value);
        };
        *byte = (high << 4) | low;
    }
    Ok(())
}
