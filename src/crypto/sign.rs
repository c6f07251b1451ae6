//! 96-byte signatures: Ed25519 over half a SHA-512, and that half (wire 3).
#![forbid(unsafe_code)]

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha384, Sha512};

use super::Rejected;
use crate::wire::identity::Identity;

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 96;

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha512::new();
    for part in parts {
        sha.update(part);
    }
    let mut half = [0; 32];
    half.copy_from_slice(&sha.finalize()[..32]);
    half
}

/// Signs the parts, back to back, with the Ed25519 half of a secret.
pub fn sign(secret: &[u8; 64], parts: &[&[u8]]) -> [u8; SIGNATURE_LEN] {
    let mut seed = [0; 32];
    seed.copy_from_slice(&secret[32..]);
    let hash = hash(parts);
    let signature = SigningKey::from_bytes(&seed).sign(&hash);
    let mut out = [0; SIGNATURE_LEN];
    out[..64].copy_from_slice(&signature.to_bytes());
    out[64..].copy_from_slice(&hash);
    out
}

/// Checks a signature over the parts, back to back, with the Ed25519 half of a public key.
pub fn verify(public: &[u8; 64], parts: &[&[u8]], signature: &[u8]) -> Result<(), Rejected> {
    let signature: &[u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| Rejected)?;
    let hash = hash(parts);
    if signature[64..] != hash {
        return Err(Rejected);
    }
    let (mut key, mut rs) = ([0; 32], [0; 64]);
    key.copy_from_slice(&public[32..]);
    rs.copy_from_slice(&signature[..64]);
    let key = VerifyingKey::from_bytes(&key).map_err(|_| Rejected)?;
    key.verify_strict(&hash, &Signature::from_bytes(&rs))
        .map_err(|_| Rejected)
}

/// SHA-384 of address and public key, as newer certificates name a member (wire 2.3).
pub fn fingerprint(identity: &Identity) -> [u8; 48] {
    let mut sha = Sha384::new();
    sha.update(identity.address.to_bytes());
    sha.update(identity.public);
    sha.finalize().into()
}
