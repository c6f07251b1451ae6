//! `--bench`: how fast this machine is. Figures are medians of five rounds on one thread.

use std::hint::black_box;
use std::io::Write;

use zt::crypto::agree::{Key48, agree};
use zt::crypto::armor::{self, SessionKeys};
use zt::crypto::rng::Rng;
use zt::crypto::{identity, poly, salsa, sign};
use zt::os::clock::Stopwatch;
use zt::wire::packet::Suite;

const ROUNDS: usize = 5;
const ROUND_NS: u64 = 60_000_000;

/// Nanoseconds a call, median of several rounds.
fn measure(mut call: impl FnMut()) -> u64 {
    let mut results = [0; ROUNDS];
    for result in &mut results {
        let watch = Stopwatch::start();
        let mut calls = 0;
        while watch.elapsed_ns() < ROUND_NS {
            call();
            calls += 1;
        }
        *result = watch.elapsed_ns() / calls;
    }
    results.sort_unstable();
    results[ROUNDS / 2]
}

pub(crate) fn run(out: &mut dyn Write) -> std::io::Result<()> {
    let keys = SessionKeys::new(&Key48::new([7; 48]));
    let mut line = |name: &str, bytes: usize, ns: u64| {
        let rate = bytes as u64 * 1000 / ns.max(1);
        writeln!(
            out,
            "[bench] {name:<28} {bytes:>5} bytes {ns:>8} ns {rate:>6} MB/s"
        )
    };
    for len in [64, 1400, 2828] {
        let mut data = vec![1; len];
        let key = [9; 32];
        let ns = measure(|| salsa::xor::<12>(&key, &[1; 8], 0, black_box(&mut data)));
        line("Salsa20/12", len, ns)?;
        let ns = measure(|| {
            black_box(poly::poly1305(&key, black_box(&data)));
        });
        line("Poly1305", len, ns)?;
        let mut packet = vec![1; len];
        let ns = measure(|| armor::seal(&keys, Suite::Salsa, black_box(&mut packet)));
        line("seal suite 1", len, ns)?;
        if cfg!(feature = "aes") {
            let ns = measure(|| armor::seal(&keys, Suite::AesGmacSiv, black_box(&mut packet)));
            line("seal suite 3 (AES)", len, ns)?;
        }
    }
    let mut rng = Rng::new([1; 32]);
    let (a, b) = (identity::generate(&mut rng), identity::generate(&mut rng));
    let (Some(a), Some(b)) = (a, b) else {
        return writeln!(out, "[bench] no memory for identities");
    };
    let ns = measure(|| {
        let _ = black_box(agree(&a, black_box(&b.identity)));
    });
    writeln!(
        out,
        "[bench] key agreements a second: {}",
        1_000_000_000 / ns.max(1)
    )?;
    let ns = measure(|| {
        black_box(sign::sign(a.secret(), &[b"message"]));
    });
    writeln!(
        out,
        "[bench] signatures a second: {}",
        1_000_000_000 / ns.max(1)
    )?;
    let ns = measure(|| {
        black_box(identity::validate(black_box(&b.identity)));
    });
    writeln!(out, "[bench] identity check: {} ms", ns / 1_000_000)?;
    writeln!(
        out,
        "[bench] identity made in about: {} ms",
        ns * 15 / 1_000_000
    )
}

/// Names of what [`repeat`] does.
const WORKS: &[&str] = &[
    "salsa20/12-64",
    "salsa20/12-1400",
    "poly1305-64",
    "poly1305-1400",
    "seal-64",
    "seal-1400",
    "key-agreement",
    "signature",
    "identity-check",
];

/// Does one piece of work `times` times and nothing else, so that a tool can count what it takes
/// by a difference. `list` names all. `false`: there is no such work.
pub(crate) fn repeat(out: &mut dyn Write, work: &str, times: u32) -> std::io::Result<bool> {
    if work == "list" {
        for name in WORKS {
            writeln!(out, "{name}")?;
        }
        return Ok(true);
    }
    let again = |call: &mut dyn FnMut()| (0..times).for_each(|_| call());
    let (key, (name, len)) = ([9; 32], work.rsplit_once('-').unwrap_or_default());
    let mut data = vec![1; len.parse().unwrap_or_default()];
    match name {
        "salsa20/12" => again(&mut || salsa::xor::<12>(&key, &[1; 8], 0, black_box(&mut data))),
        "poly1305" => again(&mut || {
            black_box(poly::poly1305(&key, black_box(&data)));
        }),
        "seal" => {
            let keys = SessionKeys::new(&Key48::new([7; 48]));
            again(&mut || armor::seal(&keys, Suite::Salsa, black_box(&mut data)));
        }
        _ => {
            let Some(known) = identity::generate(&mut Rng::new([1; 32])) else {
                return Ok(false);
            };
            match work {
                "key-agreement" => again(&mut || {
                    let _ = black_box(agree(&known, black_box(&known.identity)));
                }),
                "signature" => again(&mut || {
                    black_box(sign::sign(known.secret(), &[b"message"]));
                }),
                "identity-check" => again(&mut || {
                    black_box(identity::validate(black_box(&known.identity)));
                }),
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}
