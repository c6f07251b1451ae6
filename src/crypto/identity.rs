//! What makes an identity valid: the memory-hard digest, in slices (wire 2.2, 2.3).
#![forbid(unsafe_code)]

use alloc::vec::Vec;

use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha512};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroize;

use super::rng::Rng;
use super::salsa;
use crate::base::Address;
use crate::wire::identity::{Identity, SecretIdentity};

/// Work area: 2 MiB.
const MEMORY: usize = 2 << 20;
const BLOCK: usize = 64;
const WORD: usize = 8;
/// Key-stream blocks of the first and of the second phase.
const FILL_BLOCKS: usize = MEMORY / BLOCK;
const MIX_BLOCKS: usize = MEMORY / WORD / 2;
/// Blocks of a whole digest.
pub const DIGEST_BLOCKS: usize = FILL_BLOCKS + MIX_BLOCKS;
/// Key stream made at once.
const BATCH: usize = 16;
/// The first byte of a valid digest is below this.
const HASHCASH: u8 = 17;

/// A digest being computed.
pub struct Digest {
    memory: Vec<u8>,
    digest: [u8; BLOCK],
    key: [u8; 32],
    iv: [u8; 8],
    done: usize,
}

impl Digest {
    /// Takes the work area; `None` if there is no memory for it.
    pub fn try_new(public: &[u8; 64]) -> Option<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(MEMORY).ok()?;
        memory.resize(MEMORY, 0);
        let digest: [u8; BLOCK] = Sha512::digest(public).into();
        let (mut key, mut iv) = ([0; 32], [0; 8]);
        key.copy_from_slice(&digest[..32]);
        iv.copy_from_slice(&digest[32..40]);
        Some(Self {
            memory,
            digest,
            key,
            iv,
            done: 0,
        })
    }

    /// Starts anew with another key, in the same work area.
    fn restart(&mut self, public: &[u8; 64]) {
        self.digest = Sha512::digest(public).into();
        self.key.copy_from_slice(&self.digest[..32]);
        self.iv.copy_from_slice(&self.digest[32..40]);
        self.done = 0;
    }

    /// Works for about `blocks` blocks of [`DIGEST_BLOCKS`]; the digest when it is done.
    pub fn step(&mut self, blocks: usize) -> Option<[u8; BLOCK]> {
        let end = blocks
            .saturating_add(self.done)
            .min(DIGEST_BLOCKS)
            .next_multiple_of(BATCH);
        while self.done < end {
            let mut stream = [0; BATCH * BLOCK];
            salsa::xor::<20>(&self.key, &self.iv, self.done as u64, &mut stream);
            if self.done < FILL_BLOCKS {
                self.fill(&stream);
            } else {
                self.mix(&stream);
            }
            self.done += BATCH;
        }
        (self.done >= DIGEST_BLOCKS).then_some(self.digest)
    }

    /// Each block is the one before it XOR key stream.
    fn fill(&mut self, stream: &[u8; BATCH * BLOCK]) {
        let at = self.done * BLOCK;
        let mut last = [0; BLOCK];
        if at > 0 {
            last.copy_from_slice(&self.memory[at - BLOCK..at]);
        }
        let blocks = self.memory[at..at + BATCH * BLOCK].chunks_exact_mut(BLOCK);
        for (block, stream) in blocks.zip(stream.chunks_exact(BLOCK)) {
            for (last, stream) in last.iter_mut().zip(stream) {
                *last ^= stream;
            }
            block.copy_from_slice(&last);
        }
    }

    fn word(&self, n: usize) -> u64 {
        let mut bytes = [0; WORD];
        bytes.copy_from_slice(&self.memory[n * WORD..(n + 1) * WORD]);
        u64::from_be_bytes(bytes)
    }

    /// Swaps a word of the digest with one of the memory, both named by the memory.
    fn mix(&mut self, stream: &[u8; BATCH * BLOCK]) {
        let mut i = (self.done - FILL_BLOCKS) * 2;
        for stream in stream.chunks_exact(BLOCK) {
            let a = (self.word(i) % (BLOCK / WORD) as u64) as usize * WORD;
            let b = (self.word(i + 1) % (MEMORY / WORD) as u64) as usize * WORD;
            self.digest[a..a + WORD].swap_with_slice(&mut self.memory[b..b + WORD]);
            for (digest, stream) in self.digest.iter_mut().zip(stream) {
                *digest ^= stream;
            }
            i += 2;
        }
    }
}

fn address_of(digest: &[u8; BLOCK]) -> Option<Address> {
    if digest[0] >= HASHCASH {
        return None;
    }
    digest.last_chunk().copied().and_then(Address::from_bytes)
}

/// Do address and digest fit?
pub fn is_valid(identity: &Identity, digest: &[u8; BLOCK]) -> bool {
    address_of(digest) == Some(identity.address)
}

/// Computes the whole digest and compares; `false` also if there is no memory for it.
pub fn validate(identity: &Identity) -> bool {
    let digest = Digest::try_new(&identity.public).and_then(|mut d| d.step(DIGEST_BLOCKS));
    digest.is_some_and(|digest| is_valid(identity, &digest))
}

/// Do the secret keys belong to the public ones?
pub fn secret_fits(secret: &SecretIdentity) -> bool {
    public_of(secret.secret()) == secret.identity.public
}

/// The public keys of secret ones, both halves.
pub fn public_of(secret: &[u8; 64]) -> [u8; 64] {
    let (mut scalar, mut seed) = ([0; 32], [0; 32]);
    scalar.copy_from_slice(&secret[..32]);
    seed.copy_from_slice(&secret[32..]);
    let mut public = [0; 64];
    public[..32].copy_from_slice(PublicKey::from(&StaticSecret::from(scalar)).as_bytes());
    public[32..].copy_from_slice(&SigningKey::from_bytes(&seed).verifying_key().to_bytes());
    scalar.zeroize();
    seed.zeroize();
    public
}

/// An identity in the making: about fifteen digests.
pub struct Generator {
    secret: [u8; 64],
    public: [u8; 64],
    digest: Digest,
}

impl Generator {
    /// Draws the keys; `None` if there is no memory for the work area.
    pub fn new(rng: &mut Rng) -> Option<Self> {
        let mut secret = [0; 64];
        rng.fill(&mut secret);
        let public = public_of(&secret);
        let digest = Digest::try_new(&public)?;
        Some(Self {
            secret,
            public,
            digest,
        })
    }

    /// Works for about `blocks` blocks; the identity when one is found.
    pub fn step(&mut self, rng: &mut Rng, blocks: usize) -> Option<SecretIdentity> {
        let digest = self.digest.step(blocks)?;
        if let Some(address) = address_of(&digest) {
            let identity = Identity {
                address,
                public: self.public,
            };
            return Some(SecretIdentity::from_parts(identity, self.secret));
        }
        // The signing half may stay.
        rng.fill(&mut self.secret[..32]);
        self.public = public_of(&self.secret);
        self.digest.restart(&self.public);
        None
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Makes an identity in one go; `None` if there is no memory for the work area.
pub fn generate(rng: &mut Rng) -> Option<SecretIdentity> {
    let mut generator = Generator::new(rng)?;
    loop {
        if let Some(identity) = generator.step(rng, DIGEST_BLOCKS) {
            return Some(identity);
        }
    }
}
