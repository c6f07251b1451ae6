//! No instructions for AES that we know of.

use super::{BLOCK, Engine};

pub(super) const fn available() -> bool {
    false
}

/// There are none.
#[derive(Clone)]
pub(super) enum Keys {}

impl Keys {
    pub(super) const fn try_new(_: &[u8; 32], _: &[u8; 32]) -> Option<Self> {
        None
    }
}

impl Engine for Keys {
    fn gmac(&self, _: &[u8; 12], _: &[u8; BLOCK], _: &[u8]) -> [u8; BLOCK] {
        match *self {}
    }

    fn ctr(&self, _: &[u8; BLOCK], _: &mut [u8]) {
        match *self {}
    }

    fn encrypt(&self, _: &mut [u8; BLOCK]) {
        match *self {}
    }

    fn decrypt(&self, _: &mut [u8; BLOCK]) {
        match *self {}
    }
}
