//! Each layer uses only what stands before it.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// Layer, and the layers that it may name.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &["base"]),
    ("wire", &["base", "wire"]),
    ("crypto", &["base", "wire", "crypto"]),
    ("node", &["base", "wire", "crypto", "node"]),
    ("os", &["base", "os"]),
    (
        "service",
        &["base", "wire", "crypto", "node", "os", "service"],
    ),
    ("cli", &["base", "wire", "crypto", "os", "service", "cli"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Modules of the crate that a source names by `crate::…`, outside comments.
fn named(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in source.lines().filter(|l| !l.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

#[test]
fn layers_use_only_what_stands_before_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers: Vec<&str> = LAYERS.iter().map(|l| l.0).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (layer, allowed) in LAYERS {
        let mut files = Vec::new();
        sources(&root.join(layer), &mut files);
        for file in files {
            let source = fs::read_to_string(&file).expect("a source");
            for name in named(&source)
                .iter()
                .filter(|n| layers.contains(&n.as_str()))
            {
                seen += 1;
                if !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{} uses {name}", file.display()));
                }
            }
        }
    }
    assert!(
        seen > 100,
        "only {seen} uses were found: the reader is broken"
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_stands_in_os_and_in_vector_code_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("ciphers/src"), &mut files);
    // File by file, so that a new one is looked at. The forms for ARMv8 are checked under
    // emulation only: their speed is not measured yet.
    let allowed = [
        "src/os",
        "ciphers/src/salsa/x86.rs",
        "ciphers/src/salsa/neon.rs",
        "ciphers/src/siv/x86.rs",
        "ciphers/src/siv/vaes.rs",
        "ciphers/src/siv/armv8.rs",
    ]
    .map(|path| root.join(path));
    for file in files {
        if allowed.iter().any(|a| file.starts_with(a)) {
            continue;
        }
        let source = fs::read_to_string(&file).expect("a source");
        let code = source.lines().filter(|l| !l.trim_start().starts_with("//"));
        let found = code.filter(|l| !l.contains("unsafe_code")).find(|l| {
            l.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .any(|word| word == "unsafe")
        });
        assert!(found.is_none(), "{}: {found:?}", file.display());
    }
}
