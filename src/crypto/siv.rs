//! AES-GMAC-SIV, suite 3 (wire 6.5).
#![forbid(unsafe_code)]

pub(super) use ciphers::siv::{Keys, accelerated};
use zeroize::Zeroize;

use super::Rejected;
use super::agree::Key48;
use crate::wire::packet;

// The ciphers know of packets no more than this.
const _: () = assert!(
    ciphers::siv::FLAGS_AT == packet::FLAGS_AT
        && ciphers::siv::HOPS_MASK == packet::HOPS_MASK
        && ciphers::siv::VERB_AT == packet::VERB_AT
);

/// Both keys of a pair of nodes.
pub(super) fn keys(key: &Key48) -> Keys {
    let half = |label| {
        let mut derived = key.derive(label);
        let mut key = [0; 32];
        key.copy_from_slice(&derived[..32]);
        derived.zeroize();
        key
    };
    let (mut k0, mut k1) = (half(b'0'), half(b'1'));
    let keys = Keys::new(&k0, &k1);
    k0.zeroize();
    k1.zeroize();
    keys
}

impl From<ciphers::siv::Rejected> for Rejected {
    fn from(_: ciphers::siv::Rejected) -> Self {
        Self
    }
}
