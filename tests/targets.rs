//! `cross/targets/*`: every file is whole, and says nothing that the scripts do not read.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What `cross/build` and `cross/run` read of a file that the shell reads as assignments.
fn assignments(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (key, value) = line
            .split_once('=')
            .unwrap_or_else(|| panic!("no assignment: {line}"));
        let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        let bare = quoted.unwrap_or(value);
        assert!(!bare.is_empty(), "{key} is empty");
        // A word for the compiler's --cfg has quotes of its own.
        assert!(
            !bare
                .replace("\\\"", "")
                .contains(['"', '$', '`', '\\', ';']),
            "{key} is more than a text"
        );
        assert!(
            value.starts_with('"') || !bare.contains(' '),
            "{key} has blanks outside quotes"
        );
        assert!(found.insert(key, bare).is_none(), "{key} is there twice");
    }
    found
}

fn check(text: &str) -> String {
    let summary = text.lines().next().unwrap_or_default();
    assert!(
        summary.starts_with("# ") && summary.ends_with('.'),
        "the first line does not say which boards these are"
    );
    let keys = assignments(text);
    let bsd = keys.get("system") == Some(&"bsd");
    let (needed, optional): (&[&str], &[&str]) = if bsd {
        (
            &["triple", "system", "elf", "loader", "zig"],
            &["flags", "zig_drop", "zig_add"],
        )
    } else {
        (
            &["triple", "elf", "qemu"],
            &[
                "cpu",
                "flags",
                "default_level",
                "small_flags",
                "short",
                "short_but",
                "zig",
                "zig_drop",
                "zig_add",
            ],
        )
    };
    for key in needed {
        assert!(keys.contains_key(key), "no {key}");
    }
    for key in keys.keys() {
        let known = needed.iter().chain(optional).any(|k| k == key);
        assert!(known, "{key} means nothing");
    }
    let triple = keys["triple"];
    assert_eq!(bsd, !triple.contains("-linux-musl"), "{triple}");
    if let Some(elf) = keys.get("elf") {
        let words: Vec<&str> = elf.splitn(3, ' ').collect();
        let [class, order, _machine] = words[..] else {
            panic!("elf is class, order, machine: {elf}");
        };
        assert!(matches!(class, "32" | "64"), "class {class}");
        assert!(matches!(order, "LSB" | "MSB"), "byte order {order}");
    }
    // A static PIE crashes there when a thread starts.
    if triple.starts_with("mips") {
        let flags = keys.get("flags").unwrap_or(&"");
        assert!(flags.contains("relocation-model=static"), "{triple}");
    }
    triple.to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

#[test]
fn every_target_is_described_whole() {
    let mut triples = BTreeSet::new();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join("cross/targets"))
        .expect("cross/targets")
        .flatten()
    {
        let name = entry.file_name().into_string().expect("a name");
        let text = fs::read_to_string(entry.path()).expect("a file of the tree");
        let checked = std::panic::catch_unwind(|| check(&text));
        let Ok(triple) = checked else {
            panic!("cross/targets/{name}: see above")
        };
        assert!(triples.insert(triple), "{name}: its triple is there twice");
        names.insert(name);
    }
    for name in [
        "aarch64", "armv5te", "armv6hf", "armv7", "armv7hf", "i586", "mips", "mips64", "mipsel",
        "powerpc", "riscv64", "x86_64",
    ] {
        assert!(names.contains(name), "no target {name}");
    }
}

#[test]
fn a_broken_target_is_found() {
    let good = "# Boards.\ntriple=mips-unknown-linux-musl\nelf=\"32 MSB MIPS\"\nqemu=mips\nflags=\"-C relocation-model=static\"\n";
    assert_eq!(check(good), "mips-unknown-linux-musl");
    for (from, to) in [
        ("qemu=mips\n", ""),
        ("# Boards.\n", ""),
        ("32 MSB", "32 BIG"),
        ("qemu=mips", "qemu=$(id)"),
        ("qemu=mips", "emulator=mips\nqemu=mips"),
        ("-C relocation-model=static", "-C opt-level=z"),
        ("linux-musl", "linux-gnu"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        let result = std::panic::catch_unwind(|| check(&bad));
        assert!(result.is_err(), "taken: {bad}");
    }
}
