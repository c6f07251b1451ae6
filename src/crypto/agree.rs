//! Key agreement and the keys of AES-GMAC-SIV (wire 4).
#![forbid(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha384, Sha512};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroize;

use super::Rejected;
use crate::wire::identity::{Identity, SecretIdentity};

/// The key of a pair of identities, the same both ways and for ever. Wiped on drop.
#[derive(Clone)]
pub struct Key48([u8; 48]);

impl Key48 {
    /// From bytes agreed elsewhere.
    pub const fn new(bytes: [u8; 48]) -> Self {
        Self(bytes)
    }

    /// All 48 bytes.
    pub const fn bytes(&self) -> &[u8; 48] {
        &self.0
    }

    /// The part that suites 0 and 1 use.
    pub fn salsa(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(&self.0[..32]);
        key
    }

    /// KBKDF with HMAC-SHA-384 and one iteration (wire 4.1); label `'0'` or `'1'`.
    pub fn derive(&self, label: u8) -> [u8; 48] {
        let message = [0, 0, 0, 0, b'Z', b'T', label, 0, 0, 0, 0, 0x01, 0x80];
        let mut out = [0; 48];
        // HMAC takes keys of any length.
        if let Ok(mut mac) = Hmac::<Sha384>::new_from_slice(&self.0) {
            mac.update(&message);
            out.copy_from_slice(&mac.finalize().into_bytes());
        }
        out
    }
}

impl Drop for Key48 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Agrees on the key with another identity. Refuses public keys of small order.
pub fn agree(secret: &SecretIdentity, peer: &Identity) -> Result<Key48, Rejected> {
    let (mut scalar, mut point) = ([0; 32], [0; 32]);
    scalar.copy_from_slice(&secret.secret()[..32]);
    point.copy_from_slice(&peer.public[..32]);
    let shared = StaticSecret::from(scalar).diffie_hellman(&PublicKey::from(point));
    scalar.zeroize();
    if !shared.was_contributory() {
        return Err(Rejected);
    }
    let digest = Sha512::digest(shared.as_bytes());
    let mut key = [0; 48];
    key.copy_from_slice(&digest[..48]);
    Ok(Key48(key))
}
