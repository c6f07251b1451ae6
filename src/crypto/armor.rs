//! Packets sealed and opened in place (wire 6.3–6.7).
#![forbid(unsafe_code)]

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::Rejected;
use super::agree::Key48;
use super::poly::poly1305;
use super::salsa;
use crate::wire::packet::{FLAG_FRAGMENTED, FLAGS_AT, HEADER_LEN, HOPS_MASK, Suite, VERB_AT};

const MAC_AT: usize = 19;
const ROUNDS: usize = 12;
const BLOCK: usize = 64;

/// Everything that the packets of a pair of nodes need of their key. Wiped on drop.
#[derive(Clone)]
pub struct SessionKeys {
    salsa: [u8; 32],
    #[cfg(feature = "aes")]
    aes: super::aes::SivKeys,
}

impl SessionKeys {
    /// Derives all keys.
    pub fn new(key: &Key48) -> Self {
        Self {
            salsa: key.salsa(),
            #[cfg(feature = "aes")]
            aes: super::aes::SivKeys::new(key),
        }
    }

    /// The key of one packet: header and length are mixed in, hops are not (wire 6.3).
    fn mangled(&self, packet: &[u8]) -> [u8; 32] {
        let mut key = self.salsa;
        for (key, byte) in key.iter_mut().zip(&packet[..FLAGS_AT]) {
            *key ^= byte;
        }
        key[18] ^= packet[FLAGS_AT] & !HOPS_MASK;
        let [low, high, ..] = (packet.len() as u32).to_le_bytes();
        key[19] ^= low;
        key[20] ^= high;
        key
    }
}

impl Drop for SessionKeys {
    fn drop(&mut self) {
        self.salsa.zeroize();
    }
}

fn iv(packet: &[u8]) -> [u8; 8] {
    packet.first_chunk().copied().unwrap_or_default()
}

/// The first block of the packet's key stream gives the authentication key; the payload begins
/// with the second.
fn mac(key: &[u8; 32], iv: &[u8; 8], payload: &[u8]) -> [u8; 8] {
    let stream = salsa::block::<ROUNDS>(key, iv);
    let mut one_time = [0; 32];
    one_time.copy_from_slice(&stream[..BLOCK / 2]);
    let tag = poly1305(&one_time, payload);
    let mut mac = [0; 8];
    mac.copy_from_slice(&tag[..8]);
    mac
}

/// Seals a packet whose header is written (hops 0, MAC 0, fragmented flag as it will be sent).
/// Sets the suite's bits. Suite 3 replaces the packet id: it is `packet[..8]` afterwards; where
/// AES is not built in, suite 1 takes its place, which every peer opens. A packet without verb
/// byte is left alone, and so is the payload of suite 2.
pub fn seal(keys: &SessionKeys, suite: Suite, packet: &mut [u8]) {
    if packet.len() < HEADER_LEN {
        return;
    }
    let suite = match suite {
        Suite::AesGmacSiv if cfg!(not(feature = "aes")) => Suite::Salsa,
        suite => suite,
    };
    packet[FLAGS_AT] = (packet[FLAGS_AT] & FLAG_FRAGMENTED) | suite.flags();
    match suite {
        Suite::Poly1305 | Suite::Salsa => {
            let (key, iv) = (keys.mangled(packet), iv(packet));
            if suite == Suite::Salsa {
                salsa::xor::<ROUNDS>(&key, &iv, 1, &mut packet[VERB_AT..]);
            }
            let mac = mac(&key, &iv, &packet[VERB_AT..]);
            packet[MAC_AT..VERB_AT].copy_from_slice(&mac);
        }
        Suite::AesGmacSiv => {
            #[cfg(feature = "aes")]
            keys.aes.seal(packet);
        }
        Suite::Trusted => {}
    }
}

/// Checks and decrypts a packet in place, by the suite that it names. After [`Rejected`] its
/// bytes are worthless: suite 3 decrypts before it can check.
pub fn open(keys: &SessionKeys, packet: &mut [u8]) -> Result<Suite, Rejected> {
    if packet.len() < HEADER_LEN {
        return Err(Rejected);
    }
    let suite = Suite::from_flags(packet[FLAGS_AT]).ok_or(Rejected)?;
    match suite {
        Suite::Poly1305 | Suite::Salsa => {
            let (key, iv) = (keys.mangled(packet), iv(packet));
            let expected = mac(&key, &iv, &packet[VERB_AT..]);
            if !bool::from(expected.ct_eq(&packet[MAC_AT..VERB_AT])) {
                return Err(Rejected);
            }
            if suite == Suite::Salsa {
                salsa::xor::<ROUNDS>(&key, &iv, 1, &mut packet[VERB_AT..]);
            }
        }
        #[cfg(feature = "aes")]
        Suite::AesGmacSiv => keys.aes.open(packet)?,
        #[cfg(not(feature = "aes"))]
        Suite::AesGmacSiv => return Err(Rejected),
        Suite::Trusted => return Err(Rejected),
    }
    Ok(suite)
}

/// Masks or unmasks the tail of a HELLO, from `at` to the end: before sealing, after opening.
pub fn mask_hello_tail(keys: &SessionKeys, packet: &mut [u8], at: usize) {
    let mut iv = iv(packet);
    iv[7] &= 0xf8;
    if let Some(tail) = packet.get_mut(at..) {
        salsa::xor::<ROUNDS>(&keys.salsa, &iv, 0, tail);
    }
}

/// Does this machine have instructions for suite 3, so that it is faster than suite 1?
pub fn cpu_has_aes() -> bool {
    #[cfg(feature = "aes")]
    return super::aes::accelerated();
    #[cfg(not(feature = "aes"))]
    return false;
}
