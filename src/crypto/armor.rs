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

/// Everything that the packets of a pair of nodes need of their key. One per peer: 656 bytes on
/// CPUs of a family that has AES instructions, 128 on others, 32 without AES. Wiped on drop.
#[derive(Clone)]
pub struct SessionKeys {
    salsa: [u8; 32],
    #[cfg(feature = "aes")]
    aes: super::siv::Keys,
}

const _: () = assert!(size_of::<SessionKeys>() <= 656);

impl SessionKeys {
    /// Derives all keys.
    pub fn new(key: &Key48) -> Self {
        Self {
            salsa: key.salsa(),
            #[cfg(feature = "aes")]
            aes: super::siv::keys(key),
        }
    }

    /// The key of one packet: header and length are mixed in, hops are not (wire 6.3).
    fn mangled(&self, packet: &[u8]) -> [u8; 32] {
        let word = |bytes: &[u8], at: usize| {
            let bytes = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        // The last two bytes of the source, the flags, and the length behind them.
        let flags = u64::from(!HOPS_MASK) << (8 * (FLAGS_AT - 16));
        let length = (packet.len() as u64 & 0xffff) << (8 * (FLAGS_AT - 16 + 1));
        let mixed = [
            word(packet, 0),
            word(packet, 8),
            (word(packet, 16) & (flags | 0xffff)) | length,
            0,
        ];
        let mut key = [0; 32];
        for (n, (key, mixed)) in key.as_chunks_mut().0.iter_mut().zip(mixed).enumerate() {
            *key = (word(&self.salsa, 8 * n) ^ mixed).to_le_bytes();
        }
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

/// The key stream of one packet. Its first block gives the authentication key, the payload
/// begins with the second; as many blocks as the CPU makes at once are made with the first.
struct Stream {
    key: [u8; 32],
    iv: [u8; 8],
    head: [u8; salsa::BATCH_MAX],
    made: usize,
}

impl Stream {
    fn new(keys: &SessionKeys, packet: &[u8], suite: Suite) -> Self {
        let payload = match suite {
            Suite::Salsa => packet.len() - VERB_AT,
            Suite::Poly1305 | Suite::Trusted | Suite::AesGmacSiv => 0,
        };
        let mut stream = Self {
            key: keys.mangled(packet),
            iv: iv(packet),
            head: [0; salsa::BATCH_MAX],
            made: salsa::batch(BLOCK + payload),
        };
        let head = &mut stream.head[..stream.made];
        salsa::xor::<ROUNDS>(&stream.key, &stream.iv, 0, head);
        stream
    }

    fn mac(&self, payload: &[u8]) -> [u8; 8] {
        let mut one_time = [0; 32];
        one_time.copy_from_slice(&self.head[..BLOCK / 2]);
        let tag = poly1305(&one_time, payload);
        let mut mac = [0; 8];
        mac.copy_from_slice(&tag[..8]);
        mac
    }

    fn xor(&self, payload: &mut [u8]) {
        let made = &self.head[BLOCK..self.made];
        let (first, rest) = payload.split_at_mut(made.len().min(payload.len()));
        for (byte, stream) in first.iter_mut().zip(made) {
            *byte ^= stream;
        }
        let next = (self.made / BLOCK) as u64;
        salsa::xor::<ROUNDS>(&self.key, &self.iv, next, rest);
    }
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
            let stream = Stream::new(keys, packet, suite);
            if suite == Suite::Salsa {
                stream.xor(&mut packet[VERB_AT..]);
            }
            let mac = stream.mac(&packet[VERB_AT..]);
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
            let stream = Stream::new(keys, packet, suite);
            let expected = stream.mac(&packet[VERB_AT..]);
            if !bool::from(expected.ct_eq(&packet[MAC_AT..VERB_AT])) {
                return Err(Rejected);
            }
            if suite == Suite::Salsa {
                stream.xor(&mut packet[VERB_AT..]);
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
    return super::siv::accelerated();
    #[cfg(not(feature = "aes"))]
    return false;
}
