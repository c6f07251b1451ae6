//! Properties of `zt::crypto`: what is sealed opens, what was altered does not, and every cut
//! of a computation gives the same result.
#![allow(missing_docs)]

use proptest::collection::vec;
use proptest::prelude::*;

use zt::base::{Address, PacketId};
use zt::crypto::Rejected;
use zt::crypto::agree::{Key48, agree};
use zt::crypto::armor::{self, SessionKeys};
use zt::crypto::identity::{Digest, Generator};
use zt::crypto::identity::{is_valid, public_of, secret_fits, validate};
use zt::crypto::rng::Rng;
use zt::crypto::{salsa, sign};
use zt::wire::identity::{Identity, SecretIdentity};
use zt::wire::packet::{
    FLAG_FRAGMENTED, FLAGS_AT, HEADER_LEN, HOPS_MASK, PACKET_MAX, Suite, VERB_AT, write_header,
};

fn suite() -> impl Strategy<Value = Suite> {
    prop_oneof![
        Just(Suite::Poly1305),
        Just(Suite::Salsa),
        Just(Suite::AesGmacSiv),
    ]
    .prop_filter("built in", |suite| {
        cfg!(feature = "aes") || *suite != Suite::AesGmacSiv
    })
}

fn address() -> impl Strategy<Value = Address> {
    (1u64..0xff_0000_0000).prop_map(|n| Address::new(n).unwrap())
}

/// Lengths around those where the ciphers change their step, and any other.
fn length() -> impl Strategy<Value = usize> {
    let edge = (
        0usize..20,
        0usize..5,
        prop_oneof![Just(64), Just(128), Just(512)],
    )
        .prop_map(|(times, more, block)| VERB_AT + times * block + more);
    prop_oneof![
        HEADER_LEN..200,
        edge.prop_map(|len| len.max(HEADER_LEN)),
        HEADER_LEN..=PACKET_MAX,
    ]
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut out = vec![0; len];
    Rng::new(key).fill(&mut out);
    out
}

prop_compose! {
    /// A packet before sealing: header written, MAC zero.
    fn packet()(
        len in length(),
        seed in any::<u64>(),
        (to, from) in (address(), address()),
        fragmented in any::<bool>(),
    ) -> Vec<u8> {
        let mut packet = bytes(seed, len);
        let flags = if fragmented { FLAG_FRAGMENTED } else { 0 };
        write_header(&mut packet, PacketId::new(seed), to, from, flags).unwrap();
        packet
    }
}

fn keys(seed: u64) -> SessionKeys {
    SessionKeys::new(&Key48::new(bytes(seed, 48).try_into().unwrap()))
}

/// An identity that fits its secret; its address is no digest.
fn secret(seed: u64) -> SecretIdentity {
    let secret: [u8; 64] = bytes(seed, 64).try_into().unwrap();
    let address = Address::new(1 + seed % 0xffff).unwrap();
    let public = public_of(&secret);
    SecretIdentity::from_parts(Identity { address, public }, secret)
}

proptest! {
    #[test]
    fn what_is_sealed_opens_whatever_the_hops(
        plain in packet(), suite in suite(), key in any::<u64>(), hops in 0..=HOPS_MASK,
    ) {
        let keys = keys(key);
        let mut sealed = plain.clone();
        armor::seal(&keys, suite, &mut sealed);
        prop_assert_eq!(sealed[FLAGS_AT], suite.flags() | plain[FLAGS_AT]);
        prop_assert_eq!(&sealed[8..FLAGS_AT], &plain[8..FLAGS_AT]);
        let is_plain = sealed[VERB_AT..] == plain[VERB_AT..];
        // A short payload may encrypt to itself by chance.
        prop_assert!(is_plain == (suite == Suite::Poly1305) || plain.len() < HEADER_LEN + 7);
        sealed[FLAGS_AT] |= hops;
        let header = sealed[..VERB_AT].to_vec();
        prop_assert_eq!(armor::open(&keys, &mut sealed), Ok(suite));
        prop_assert_eq!(&sealed[VERB_AT..], &plain[VERB_AT..]);
        prop_assert_eq!(&sealed[..VERB_AT], header);
    }

    #[test]
    fn a_flipped_bit_is_rejected(
        plain in packet(), suite in suite(), key in any::<u64>(), at in any::<usize>(),
        bit in 0..8u8,
    ) {
        let keys = keys(key);
        let mut sealed = plain;
        armor::seal(&keys, suite, &mut sealed);
        // In the header as often as behind it.
        let end = if at.is_multiple_of(2) { HEADER_LEN } else { sealed.len() };
        let at = (at / 2) % end;
        prop_assume!(at != FLAGS_AT || 1 << bit > HOPS_MASK);
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(armor::open(&keys, &mut sealed), Err(Rejected));
    }

    #[test]
    fn another_length_or_key_is_rejected(
        plain in packet(), suite in suite(), key in any::<u64>(), more in vec(any::<u8>(), 1..40),
    ) {
        let mut sealed = plain;
        armor::seal(&keys(key), suite, &mut sealed);
        let mut longer = sealed.clone();
        longer.extend_from_slice(&more);
        prop_assert_eq!(armor::open(&keys(key), &mut longer), Err(Rejected));
        let mut shorter = sealed[..HEADER_LEN.max(sealed.len().saturating_sub(more.len()))].to_vec();
        if shorter.len() < sealed.len() {
            prop_assert_eq!(armor::open(&keys(key), &mut shorter), Err(Rejected));
        }
        prop_assert_eq!(armor::open(&keys(!key), &mut sealed), Err(Rejected));
    }

    #[test]
    fn opening_never_panics(mut packet in vec(any::<u8>(), 0..300), key in any::<u64>()) {
        prop_assert_eq!(armor::open(&keys(key), &mut packet), Err(Rejected));
    }

    #[test]
    fn a_masked_tail_is_masked_back(packet in packet(), key in any::<u64>(), at in any::<usize>()) {
        let keys = keys(key);
        let at = HEADER_LEN + at % (packet.len() + 2);
        let mut masked = packet.clone();
        armor::mask_hello_tail(&keys, &mut masked, at);
        let head = at.min(packet.len());
        prop_assert_eq!(&masked[..head], &packet[..head]);
        prop_assert!(masked[head..] != packet[head..] || packet.len() < head + 8);
        armor::mask_hello_tail(&keys, &mut masked, at);
        prop_assert_eq!(masked, packet);
    }

    #[test]
    fn a_key_stream_may_be_cut_between_any_blocks(
        key in any::<[u8; 32]>(), iv in any::<[u8; 8]>(), counter in any::<u64>(),
        cuts in vec(0usize..20, 1..6), rest in 0usize..64,
    ) {
        let len = cuts.iter().sum::<usize>() * 64 + rest;
        let mut whole = vec![0; len];
        salsa::xor::<12>(&key, &iv, counter, &mut whole);
        let mut parts = vec![0; len];
        let (mut at, mut block) = (0, counter);
        for blocks in cuts {
            salsa::xor::<12>(&key, &iv, block, &mut parts[at..at + blocks * 64]);
            at += blocks * 64;
            block = block.wrapping_add(blocks as u64);
        }
        salsa::xor::<12>(&key, &iv, block, &mut parts[at..]);
        prop_assert_eq!(whole, parts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn both_sides_agree(a in any::<u64>(), b in any::<u64>()) {
        let (a, b) = (secret(a), secret(b));
        prop_assert!(secret_fits(&a) && secret_fits(&b));
        let key = agree(&a, &b.identity).unwrap();
        let same = agree(&b, &a.identity).unwrap();
        prop_assert_eq!(key.bytes(), same.bytes());
    }

    #[test]
    fn signatures_hold_for_the_message_alone(
        seed in any::<u64>(), message in vec(any::<u8>(), 0..200), cut in any::<usize>(),
        at in 0usize..96, bit in 0..8u8,
    ) {
        let secret = secret(seed);
        let public = &secret.identity.public;
        let signature = sign::sign(secret.secret(), &[&message]);
        let (head, tail) = message.split_at(cut % (message.len() + 1));
        prop_assert_eq!(sign::verify(public, &[head, tail], &signature), Ok(()));
        prop_assert_eq!(sign::sign(secret.secret(), &[head, tail]), signature);
        prop_assert_eq!(sign::verify(public, &[&message, &[0]], &signature), Err(Rejected));
        let mut altered = signature;
        altered[at] ^= 1 << bit;
        prop_assert_eq!(sign::verify(public, &[&message], &altered), Err(Rejected));
        prop_assert_eq!(sign::verify(public, &[&message], &signature[..at]), Err(Rejected));
    }
}

#[test]
fn a_made_identity_is_valid_and_the_same_for_the_same_seed() {
    let make = |slice| {
        let mut rng = Rng::new([11; 32]);
        let mut generator = Generator::new(&mut rng).unwrap();
        loop {
            if let Some(made) = generator.step(&mut rng, slice) {
                return made;
            }
        }
    };
    let made = make(usize::MAX);
    assert!(validate(&made.identity));
    assert!(secret_fits(&made));
    let sliced = make(30_011);
    assert!(sliced.identity == made.identity && sliced.secret() == made.secret());
    // An address next to it is not valid for the same keys.
    let mut other = made.identity;
    other.address = Address::new(other.address.get() ^ 1).unwrap();
    let digest = Digest::try_new(&other.public)
        .and_then(|mut digest| digest.step(usize::MAX))
        .unwrap();
    assert!(is_valid(&made.identity, &digest) && !is_valid(&other, &digest));
}
