//! `boards/*.toml`: every file says what a builder and an owner want to know, in words that the
//! rest of the tree understands.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};
use zt::service::local_conf::LocalConf;

const KEYS: &[&str] = &[
    "name",
    "boards",
    "cpu",
    "target",
    "class",
    "memory_mb",
    "features",
    "traps",
    "install",
    "measured",
];
const OPTIONAL: &[&str] = &["openwrt_arch", "settings"];

fn table(path: &Path) -> Table {
    let text = fs::read_to_string(path).expect("a file of the tree");
    text.parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn texts<'a>(board: &'a Table, key: &str) -> Vec<&'a str> {
    let list = board[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key} is no list"));
    list.iter()
        .map(|item| item.as_str().expect("a list of texts"))
        .collect()
}

fn check(board: &Table, features: &Table) {
    for key in KEYS {
        assert!(board.contains_key(*key), "no {key}");
    }
    for key in board.keys() {
        let known = KEYS.iter().chain(OPTIONAL).any(|known| known == key);
        assert!(known, "{key} means nothing");
    }
    for key in ["name", "cpu", "target", "class", "install", "measured"] {
        let text = board[key].as_str();
        assert!(text.is_some_and(|t| !t.is_empty()), "{key} is no text");
    }
    for key in ["boards", "traps", "features"] {
        assert!(!texts(board, key).is_empty(), "{key} is empty");
    }
    for feature in texts(board, "features") {
        assert!(features.contains_key(feature), "no feature {feature}");
    }
    let range: Vec<i64> = board["memory_mb"]
        .as_array()
        .expect("a range")
        .iter()
        .filter_map(Value::as_integer)
        .collect();
    let [least, most] = range[..] else {
        panic!("memory_mb is least and most")
    };
    assert!(least >= 32 && least <= most, "memory_mb {range:?}");
    // Settings are those of local.conf, and understood.
    if let Some(settings) = board.get("settings") {
        let file = serde_json::json!({ "settings": settings }).to_string();
        let (conf, _) = LocalConf::parse(file.as_bytes()).expect("a local.conf");
        assert!(
            conf.doubts.is_empty() && conf.settings.not_built.is_empty(),
            "{:?}",
            conf.doubts
        );
        assert!(conf != LocalConf::default(), "settings that say nothing");
    }
    // The daemon takes the small tables below 96 MB by itself; a small board asks for a small file.
    match board["class"].as_str() {
        Some("small") => assert!(
            least < 96 && texts(board, "features") == ["small"],
            "a small board with all features, or with much memory"
        ),
        Some("default") => assert!(most >= 96, "too little memory for its class"),
        other => panic!("class {other:?}"),
    }
}

#[test]
fn every_board_is_described_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = table(&root.join("Cargo.toml"));
    let features = cargo["features"].as_table().expect("features");
    let mut names = BTreeSet::new();
    let mut count = 0;
    for entry in fs::read_dir(root.join("boards")).expect("boards").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let board = table(&path);
        let file = path.display();
        let checked = std::panic::catch_unwind(|| check(&board, features));
        assert!(checked.is_ok(), "{file}: see above");
        let target = board["target"].as_str().unwrap_or_default();
        let known = root.join("cross/targets").join(target).is_file();
        assert!(known, "{file}: no target {target}");

        for name in texts(&board, "boards") {
            assert!(
                names.insert(name.to_owned()),
                "{file}: {name} is there twice"
            );
        }
        count += 1;
    }
    assert!(count >= 15, "only {count} boards were found");
}
