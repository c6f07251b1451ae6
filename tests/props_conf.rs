//! Properties of `local.conf`: no bytes do harm, and a change of one value keeps the rest.
#![cfg(feature = "os")]

use proptest::prelude::*;
use zt::service::json::{Value, locate};
use zt::service::local_conf::LocalConf;

const FILE: &str = r#"{
  "physical": { "10.0.0.0/8": { "blacklist": true, "mtu": 1400 }, "fd00::/8": { "trustedPathId": 7 } },
  "virtual": { "feedbeef12": { "try": [ "10.10.20.1/9993", "2001:db8::1/9994" ] } },
  "settings": {
    "primaryPort": 9995, "secondaryPort": "0", "bind": [ "192.0.2.1", "::" ], "unknown": [ 1.50, null ],
    "interfacePrefixBlacklist": [ "br-lan", "wg" ], "lowBandwidthMode": "true",
    "router": { "controlTcp": 9996, "logLevel": "debug" }
  }
}"#;

/// One step from a value to a value in it.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The value that a path leads to.
fn follow<'a>(tree: &'a Value, way: &[Step<'_>]) -> &'a Value {
    way.iter().fold(tree, |value, step| match step {
        Step::Key(key) => value.get(key).expect("a member"),
        Step::Index(n) => &value.as_array().expect("an array")[*n],
    })
}

/// Every place of a tree, as a path.
fn places<'a>(value: &'a Value, way: &[Step<'a>], all: &mut Vec<Vec<Step<'a>>>) {
    all.push(way.to_vec());
    let mut enter = |step, value| places(value, &[way, &[step]].concat(), all);
    for (key, value) in value.as_object().unwrap_or_default() {
        enter(Step::Key(key), value);
    }
    for (n, value) in value.as_array().unwrap_or_default().iter().enumerate() {
        enter(Step::Index(n), value);
    }
}

/// The tree with another value at a place.
fn with(tree: &Value, way: &[Step<'_>], new: &Value) -> Value {
    let Some((step, rest)) = way.split_first() else {
        return new.clone();
    };
    match (tree, step) {
        (Value::Object(members), Step::Key(wanted)) => {
            let members = members.iter().map(|(key, value)| {
                let value = if key == wanted {
                    with(value, rest, new)
                } else {
                    value.clone()
                };
                (key.clone(), value)
            });
            Value::Object(members.collect())
        }
        (Value::Array(elements), Step::Index(wanted)) => {
            let elements = elements.iter().enumerate().map(|(n, value)| {
                if n == *wanted {
                    with(value, rest, new)
                } else {
                    value.clone()
                }
            });
            Value::Array(elements.collect())
        }
        _ => panic!("no such place"),
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?(e-?[0-9]{1,3})?".prop_map(Value::number),
        "\\PC{0,12}".prop_map(Value::string),
        "[0-9./:]{0,20}".prop_map(Value::string),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec(("[a-z]{1,3}", inner), 0..3).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(bad) = LocalConf::parse(&bytes) {
            prop_assert!(!bad.to_string().is_empty());
        }
    }

    #[test]
    fn nor_does_a_file_with_some_bytes_changed(
        changes in prop::collection::vec((0..FILE.len(), any::<u8>()), 1..4),
        cut in 0..FILE.len() * 4,
    ) {
        let mut bytes = FILE.as_bytes().to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(cut);
        if let Err(bad) = LocalConf::parse(&bytes) {
            let place = bad.place.expect("a place");
            let lines = String::from_utf8_lossy(&bytes).split('\n').count();
            prop_assert!((1..=lines).contains(&place.line), "{bad}");
        }
    }

    #[test]
    fn a_value_that_is_another_keeps_the_rest(nth in any::<prop::sample::Index>(), new in any_value()) {
        let tree = Value::parse(FILE).expect("JSON");
        let mut all = Vec::new();
        places(&tree, &[], &mut all);
        let way = nth.get(&all);
        let changed = with(&tree, way, &new);
        // What is written is what is read, and its places are found.
        let text = changed.indented(4);
        prop_assert_eq!(&Value::parse(&text).expect("JSON"), &changed);
        prop_assert!(locate(&text, &changed, follow(&changed, way)).is_some());
        match LocalConf::parse(text.as_bytes()) {
            Ok((conf, kept)) => {
                prop_assert_eq!(kept, changed);
                // Each part is read alone: a change in one shows in no other.
                let (before, _) = LocalConf::parse(FILE.as_bytes()).expect("good");
                let part = match way.first() {
                    Some(Step::Key(part)) => *part,
                    _ => "",
                };
                if !matches!(part, "" | "physical") {
                    prop_assert_eq!(&conf.underlay.physical, &before.underlay.physical);
                }
                if !matches!(part, "" | "virtual") {
                    prop_assert_eq!(&conf.underlay.peers, &before.underlay.peers);
                }
                if !matches!(part, "" | "settings") {
                    prop_assert_eq!(&conf.settings, &before.settings);
                }
            }
            Err(bad) => prop_assert!(bad.place.is_some(), "{bad}"),
        }
    }

    #[test]
    fn any_tree_is_taken_or_refused_with_a_place(tree in any_value()) {
        let text = tree.to_string();
        if let Err(bad) = LocalConf::parse(text.as_bytes()) {
            prop_assert!(bad.place.is_some(), "{text}: {bad}");
        }
    }
}
