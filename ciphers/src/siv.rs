//! AES-GMAC-SIV, suite 3 (wire 6.5).
//!
//! Two forms: AES and carry-less multiplication by instructions (x86-64 and ARMv8, asked for at
//! run time), and a portable one in constant time. A node without the instructions says protocol
//! 11, so the portable form is for the few packets that come all the same (wire 6.8); it keeps 80
//! bytes a peer and expands its keys per packet.
#![deny(unsafe_code)]

use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
))]
#[macro_use]
mod rows;

#[cfg_attr(target_arch = "x86_64", path = "siv/x86.rs")]
#[cfg_attr(
    all(target_arch = "aarch64", target_endian = "little"),
    path = "siv/armv8.rs"
)]
#[cfg_attr(
    not(any(
        target_arch = "x86_64",
        all(target_arch = "aarch64", target_endian = "little")
    )),
    path = "siv/none.rs"
)]
mod fast;

const BLOCK: usize = 16;
const ADDRESSES_AT: usize = 8;
/// Where a packet has its flags; the low bits of them are the hops, which relays change.
pub const FLAGS_AT: usize = 18;
/// The hops.
pub const HOPS_MASK: u8 = 7;
/// Where it has its MAC.
pub const MAC_AT: usize = 19;
/// Where what is sealed begins.
pub const VERB_AT: usize = 27;

/// Not authentic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejected;

/// Are there instructions for both parts?
pub fn accelerated() -> bool {
    fast::available()
}

/// Both keys of a pair of nodes. Wiped on drop.
#[derive(Clone)]
pub struct Keys {
    form: Form,
}

#[derive(Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "one per peer, and a machine has one form only"
)]
enum Form {
    Fast(fast::Keys),
    Portable(Portable),
}

/// The operations that differ between forms. A block is a number here, its first byte the
/// highest: what is put together in registers need not wait for memory.
trait Engine {
    /// GMAC over `head` and `payload`, with the first counter block of `nonce`.
    fn gmac(&self, nonce: u128, head: u128, payload: &[u8]) -> u128;
    /// XORs the CTR key stream of K1 into `data`. The counter is the last 32 bits of `first`;
    /// the top one is clear, so that it cannot overflow.
    fn ctr(&self, first: u128, data: &mut [u8]);
    fn encrypt(&self, block: u128) -> u128;
    fn decrypt(&self, block: u128) -> u128;
}

impl Keys {
    /// From K0 and K1.
    pub fn new(k0: &[u8; 32], k1: &[u8; 32]) -> Self {
        let form = fast::Keys::try_new(k0, k1)
            .map_or_else(|| Form::Portable(Portable::new(k0, k1)), Form::Fast);
        Self { form }
    }

    /// Seals a packet in place. At least [`VERB_AT`] bytes.
    pub fn seal(&self, packet: &mut [u8]) {
        match &self.form {
            Form::Fast(engine) => seal(engine, packet),
            Form::Portable(engine) => seal(engine, packet),
        }
    }

    /// Opens one in place; what is not authentic is left scrambled.
    pub fn open(&self, packet: &mut [u8]) -> Result<(), Rejected> {
        match &self.form {
            Form::Fast(engine) => open(engine, packet),
            Form::Portable(engine) => open(engine, packet),
        }
    }
}

fn word(packet: &[u8], at: usize) -> u64 {
    let bytes = packet.get(at..).and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// T[0..8] XOR T[8..16] of the packet's plain bytes.
fn short_tag(engine: &impl Engine, iv: u64, packet: &[u8]) -> u64 {
    const AT: usize = ADDRESSES_AT;
    const HOPS: u64 = (HOPS_MASK as u64) << (8 * (AT + 15 - FLAGS_AT));
    const PADDING: u64 = u64::MAX >> (8 * (MAC_AT - AT - 8));
    let head = pair(word(packet, AT), word(packet, AT + 8) & !(HOPS | PADDING));
    let tag = engine.gmac(pair(iv, 1), head, &packet[VERB_AT..]);
    (tag >> 64) as u64 ^ tag as u64
}

fn pair(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

fn first_counter(tag: u128) -> u128 {
    tag & !(1 << 31)
}

fn seal(engine: &impl Engine, packet: &mut [u8]) {
    let iv = word(packet, 0);
    let tag = engine.encrypt(pair(iv, short_tag(engine, iv, packet)));
    engine.ctr(first_counter(tag), &mut packet[VERB_AT..]);
    let (id, mac) = ((tag >> 64) as u64, tag as u64);
    packet[..8].copy_from_slice(&id.to_be_bytes());
    packet[MAC_AT..VERB_AT].copy_from_slice(&mac.to_be_bytes());
}

fn open(engine: &impl Engine, packet: &mut [u8]) -> Result<(), Rejected> {
    let tag = pair(word(packet, 0), word(packet, MAC_AT));
    engine.ctr(first_counter(tag), &mut packet[VERB_AT..]);
    let inner = engine.decrypt(tag);
    let (iv, expected) = ((inner >> 64) as u64, inner as u64);
    if bool::from(short_tag(engine, iv, packet).ct_eq(&expected)) {
        Ok(())
    } else {
        Err(Rejected)
    }
}

/// H as POLYVAL has it: GHASH's bytes reversed, times x.
fn polyval_key(h: u128) -> u128 {
    (h << 1) ^ (0u128.wrapping_sub(h >> 127) & POLYNOMIAL)
}

/// x^128 + x^127 + x^126 + x^121 + 1, without the first.
const POLYNOMIAL: u128 = 0xc2000000_00000000_00000000_00000001;

/// The padded blocks that GHASH takes after the head: payload, then the lengths in bits.
fn length_block(payload: usize) -> u128 {
    ((BLOCK + payload) as u128 * 8) << 64
}

#[derive(Clone)]
struct Portable {
    k0: [u8; 32],
    k1: [u8; 32],
    h: u128,
}

impl Portable {
    fn new(k0: &[u8; 32], k1: &[u8; 32]) -> Self {
        Self {
            k0: *k0,
            k1: *k1,
            h: polyval_key(encrypt(k0, 0)),
        }
    }
}

impl Drop for Portable {
    fn drop(&mut self) {
        self.k0.zeroize();
        self.k1.zeroize();
        self.h.zeroize();
    }
}

/// Low half of a carry-less product. Bits four apart cannot carry into each other within a
/// product of 64 bits, so ordinary multiplication serves.
fn low_product(x: u64, y: u64) -> u64 {
    const M: [u64; 4] = [
        0x1111_1111_1111_1111,
        0x2222_2222_2222_2222,
        0x4444_4444_4444_4444,
        0x8888_8888_8888_8888,
    ];
    let mut sum = 0;
    for (k, mask) in M.iter().enumerate() {
        let mut part = 0;
        for i in 0..4 {
            part ^= (x & M[i]).wrapping_mul(y & M[(k + 4 - i) % 4]);
        }
        sum |= part & mask;
    }
    sum
}

fn product(x: u64, y: u64) -> u128 {
    let high = low_product(x.reverse_bits(), y.reverse_bits()).reverse_bits() >> 1;
    u128::from(low_product(x, y)) | (u128::from(high) << 64)
}

/// a · b · x^−128 in POLYVAL's field.
fn dot(a: u128, b: u128) -> u128 {
    let (a0, a1, b0, b1) = (a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64);
    let (low, high) = (product(a0, b0), product(a1, b1));
    let middle = product(a0 ^ a1, b0 ^ b1) ^ low ^ high;
    let (mut low, high) = (low ^ (middle << 64), high ^ (middle >> 64));
    for _ in 0..2 {
        low = low.rotate_left(64) ^ product(low as u64, (POLYNOMIAL >> 64) as u64);
    }
    low ^ high
}

fn encrypt(key: &[u8; 32], block: u128) -> u128 {
    let mut block = Block::from(block.to_be_bytes());
    Aes256::new(key.into()).encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

impl Engine for Portable {
    fn gmac(&self, nonce: u128, head: u128, payload: &[u8]) -> u128 {
        let mut state = dot(head, self.h);
        for chunk in payload.chunks(BLOCK) {
            let mut block = [0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            state = dot(state ^ u128::from_be_bytes(block), self.h);
        }
        state = dot(state ^ length_block(payload.len()), self.h);
        state ^ encrypt(&self.k0, nonce)
    }

    fn ctr(&self, first: u128, data: &mut [u8]) {
        let cipher = Aes256::new((&self.k1).into());
        let mut counter = first;
        for group in data.chunks_mut(8 * BLOCK) {
            let mut stream = [Block::default(); 8];
            for block in &mut stream {
                *block = counter.to_be_bytes().into();
                counter = counter.wrapping_add(1);
            }
            cipher.encrypt_blocks(&mut stream);
            for (chunk, block) in group.chunks_mut(BLOCK).zip(stream) {
                for (byte, stream) in chunk.iter_mut().zip(block) {
                    *byte ^= stream;
                }
            }
        }
    }

    fn encrypt(&self, block: u128) -> u128 {
        encrypt(&self.k1, block)
    }

    fn decrypt(&self, block: u128) -> u128 {
        let mut block = Block::from(block.to_be_bytes());
        Aes256::new((&self.k1).into()).decrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;
    use alloc::vec;

    #[test]
    fn both_forms_agree() {
        let mut rng = Bytes::new(5);
        for round in 0..300usize {
            let (mut k0, mut k1, mut counter) = ([0; 32], [0; 32], [0; BLOCK]);
            rng.fill(&mut k0);
            rng.fill(&mut k1);
            rng.fill(&mut counter);
            let portable = Portable::new(&k0, &k1);
            let Some(fast) = fast::Keys::try_new(&k0, &k1) else {
                std::eprintln!("skipped: no AES instructions");
                return;
            };
            let len = if round < 200 {
                round
            } else {
                rng.below(3000) as usize
            };
            let mut data = vec![0; len];
            rng.fill(&mut data);
            let counter = first_counter(u128::from_be_bytes(counter));
            let (nonce, head) = (counter << 1, counter.rotate_left(40));
            assert_eq!(
                fast.gmac(nonce, head, &data),
                portable.gmac(nonce, head, &data)
            );
            let mut other = data.clone();
            fast.ctr(counter, &mut data);
            portable.ctr(counter, &mut other);
            assert_eq!(data, other);
            let block = fast.encrypt(counter);
            assert_eq!(block, portable.encrypt(counter));
            assert_eq!(fast.decrypt(block), counter);
            assert_eq!(portable.decrypt(block), counter);
        }
    }
}
