//! AES-NI and PCLMULQDQ: eight counter blocks at once, eight GHASH blocks per reduction.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::{BLOCK, Engine, POLYNOMIAL, length_block, polyval_key};

const ROUNDS: usize = 14;
const POWERS: usize = 8;

pub(super) fn available() -> bool {
    #[cfg(any(feature = "os", test))]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq")
        && std::arch::is_x86_feature_detected!("sse4.1");
    #[cfg(not(any(feature = "os", test)))]
    return cfg!(all(
        target_feature = "aes",
        target_feature = "pclmulqdq",
        target_feature = "sse4.1"
    ));
}

type Schedule = [[u8; BLOCK]; ROUNDS + 1];

/// Expanded keys and powers of H; made only where [`available`] says so.
#[derive(Clone)]
pub(super) struct Keys {
    k0: Schedule,
    k1: Schedule,
    powers: [u128; POWERS],
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.k0.zeroize();
        self.k1.zeroize();
        self.powers.zeroize();
    }
}

impl Keys {
    pub(super) fn new(k0: &[u8; 32], k1: &[u8; 32]) -> Self {
        assert!(available(), "made only where the CPU has the instructions");
        // SAFETY: the CPU has the instructions, here and in all methods of `Keys`.
        unsafe {
            let (k0, k1) = (expand(k0), expand(k1));
            let mut h = [0; BLOCK];
            encrypt(&k0, &mut h);
            let h = polyval_key(h);
            let mut powers = [h; POWERS];
            for i in 1..POWERS {
                powers[i] = dot(powers[i - 1], h);
            }
            Self { k0, k1, powers }
        }
    }
}

impl Engine for Keys {
    fn gmac(&self, nonce: &[u8; 12], head: &[u8; BLOCK], payload: &[u8]) -> [u8; BLOCK] {
        let mut mask = [0; BLOCK];
        mask[..12].copy_from_slice(nonce);
        mask[15] = 1;
        // SAFETY: see `Keys::new`.
        let state = unsafe {
            encrypt(&self.k0, &mut mask);
            ghash(&self.powers, head, payload)
        };
        (state ^ u128::from_be_bytes(mask)).to_be_bytes()
    }

    fn ctr(&self, counter: &[u8; BLOCK], data: &mut [u8]) {
        // SAFETY: see `Keys::new`.
        unsafe { ctr(&self.k1, counter, data) }
    }

    fn encrypt(&self, block: &mut [u8; BLOCK]) {
        // SAFETY: see `Keys::new`.
        unsafe { encrypt(&self.k1, block) }
    }

    fn decrypt(&self, block: &mut [u8; BLOCK]) {
        // SAFETY: see `Keys::new`.
        unsafe { decrypt(&self.k1, block) }
    }
}

fn load(bytes: &[u8; BLOCK]) -> __m128i {
    // SAFETY: sixteen bytes are there; the instruction needs no alignment. SSE2 is part of
    // x86-64.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

fn store(bytes: &mut [u8; BLOCK], vector: __m128i) {
    // SAFETY: as in `load`.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}

#[target_feature(enable = "aes,sse4.1")]
unsafe fn expand(key: &[u8; 32]) -> Schedule {
    fn spread(mut x: __m128i, assist: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            x = _mm_xor_si128(x, _mm_slli_si128::<4>(x));
            x = _mm_xor_si128(x, _mm_slli_si128::<8>(x));
            _mm_xor_si128(x, assist)
        }
    }
    let mut schedule = [[0; BLOCK]; ROUNDS + 1];
    schedule[0].copy_from_slice(&key[..BLOCK]);
    schedule[1].copy_from_slice(&key[BLOCK..]);
    let (mut even, mut odd) = (load(&schedule[0]), load(&schedule[1]));
    macro_rules! pair {
        ($at:literal, $rcon:literal) => {
            let assist = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$rcon>(odd));
            even = spread(even, assist);
            store(&mut schedule[$at], even);
            if $at < ROUNDS {
                let assist = _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>(even));
                odd = spread(odd, assist);
                store(&mut schedule[($at + 1) % (ROUNDS + 1)], odd);
            }
        };
    }
    pair!(2, 0x01);
    pair!(4, 0x02);
    pair!(6, 0x04);
    pair!(8, 0x08);
    pair!(10, 0x10);
    pair!(12, 0x20);
    pair!(14, 0x40);
    schedule
}

#[target_feature(enable = "aes")]
unsafe fn encrypt(keys: &Schedule, block: &mut [u8; BLOCK]) {
    let mut x = _mm_xor_si128(load(block), load(&keys[0]));
    for key in &keys[1..ROUNDS] {
        x = _mm_aesenc_si128(x, load(key));
    }
    store(block, _mm_aesenclast_si128(x, load(&keys[ROUNDS])));
}

#[target_feature(enable = "aes")]
unsafe fn decrypt(keys: &Schedule, block: &mut [u8; BLOCK]) {
    let mut x = _mm_xor_si128(load(block), load(&keys[ROUNDS]));
    for key in keys[1..ROUNDS].iter().rev() {
        x = _mm_aesdec_si128(x, _mm_aesimc_si128(load(key)));
    }
    store(block, _mm_aesdeclast_si128(x, load(&keys[0])));
}

/// The counter is the last 32 bits; its top bit is clear at the start, so it cannot overflow.
#[target_feature(enable = "aes,sse4.1")]
unsafe fn ctr(keys: &Schedule, first: &[u8; BLOCK], data: &mut [u8]) {
    const LANES: usize = 8;
    let base = load(first);
    let mut counter = u32::from_be_bytes([first[12], first[13], first[14], first[15]]);
    let mut round_keys = [_mm_setzero_si128(); ROUNDS + 1];
    for (to, key) in round_keys.iter_mut().zip(keys) {
        *to = load(key);
    }
    let mut groups = data.chunks_exact_mut(LANES * BLOCK);
    macro_rules! stream {
        ($lanes:expr) => {{
            let mut x = [_mm_setzero_si128(); $lanes];
            for x in &mut x {
                let block = _mm_insert_epi32::<3>(base, counter.swap_bytes() as i32);
                *x = _mm_xor_si128(block, round_keys[0]);
                counter = counter.wrapping_add(1);
            }
            for key in &round_keys[1..ROUNDS] {
                for x in &mut x {
                    *x = _mm_aesenc_si128(*x, *key);
                }
            }
            for x in &mut x {
                *x = _mm_aesenclast_si128(*x, round_keys[ROUNDS]);
            }
            x
        }};
    }
    for group in &mut groups {
        let stream = stream!(LANES);
        for (chunk, stream) in group.chunks_exact_mut(BLOCK).zip(stream) {
            let pointer = chunk.as_mut_ptr().cast::<__m128i>();
            // SAFETY: the chunk is sixteen bytes long; no alignment is needed.
            unsafe { _mm_storeu_si128(pointer, _mm_xor_si128(_mm_loadu_si128(pointer), stream)) };
        }
    }
    for chunk in groups.into_remainder().chunks_mut(BLOCK) {
        let mut stream = [0; BLOCK];
        store(&mut stream, stream!(1)[0]);
        for (byte, stream) in chunk.iter_mut().zip(stream) {
            *byte ^= stream;
        }
    }
}

/// A product before reduction: low, middle, high.
#[derive(Clone, Copy)]
struct Product(__m128i, __m128i, __m128i);

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn multiply(a: __m128i, b: __m128i) -> Product {
    let cross = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x01>(a, b),
        _mm_clmulepi64_si128::<0x10>(a, b),
    );
    Product(
        _mm_clmulepi64_si128::<0x00>(a, b),
        cross,
        _mm_clmulepi64_si128::<0x11>(a, b),
    )
}

/// Times x^−128, modulo POLYVAL's polynomial.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn reduce(Product(low, middle, high): Product) -> __m128i {
    let polynomial = _mm_set_epi64x(0, (POLYNOMIAL >> 64) as i64);
    let mut low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    for _ in 0..2 {
        let fold = _mm_clmulepi64_si128::<0x00>(low, polynomial);
        low = _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(low), fold);
    }
    _mm_xor_si128(low, high)
}

fn vector(n: u128) -> __m128i {
    load(&n.to_le_bytes())
}

fn number(v: __m128i) -> u128 {
    let mut bytes = [0; BLOCK];
    store(&mut bytes, v);
    u128::from_le_bytes(bytes)
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
unsafe fn dot(a: u128, b: u128) -> u128 {
    number(reduce(multiply(vector(a), vector(b))))
}

#[target_feature(enable = "pclmulqdq,sse4.1,ssse3")]
unsafe fn ghash(powers: &[u128; POWERS], head: &[u8; BLOCK], payload: &[u8]) -> u128 {
    let reverse = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut h = [_mm_setzero_si128(); POWERS];
    for (to, power) in h.iter_mut().zip(powers) {
        *to = vector(*power);
    }
    let mut state = reduce(multiply(_mm_shuffle_epi8(load(head), reverse), h[0]));
    let mut groups = payload.chunks_exact(POWERS * BLOCK);
    for group in &mut groups {
        let mut sum = Product(
            _mm_setzero_si128(),
            _mm_setzero_si128(),
            _mm_setzero_si128(),
        );
        for (i, chunk) in group.chunks_exact(BLOCK).enumerate() {
            // SAFETY: the chunk is sixteen bytes long; no alignment is needed.
            let block = unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) };
            let mut block = _mm_shuffle_epi8(block, reverse);
            if i == 0 {
                block = _mm_xor_si128(block, state);
            }
            let part = multiply(block, h[POWERS - 1 - i]);
            sum = Product(
                _mm_xor_si128(sum.0, part.0),
                _mm_xor_si128(sum.1, part.1),
                _mm_xor_si128(sum.2, part.2),
            );
        }
        state = reduce(sum);
    }
    for chunk in groups.remainder().chunks(BLOCK) {
        let mut block = [0; BLOCK];
        block[..chunk.len()].copy_from_slice(chunk);
        let block = _mm_shuffle_epi8(load(&block), reverse);
        state = reduce(multiply(_mm_xor_si128(state, block), h[0]));
    }
    let lengths = vector(length_block(payload.len()));
    number(reduce(multiply(_mm_xor_si128(state, lengths), h[0])))
}
