//! Requests, rules, dictionaries.

use serde_json::Value;
use zt::base::Address;
use zt::service::rules_json;
use zt::wire::cursor::Reader;
use zt::wire::dict::{Dialect, Dict, DictWriter};
use zt::wire::netconf::{ConfigRequest, META_MAX};
use zt::wire::rule::{Rule, Rules, What};

use super::values::{hex, written};
use crate::common::{bytes, list, load, report, text, unhex};

#[test]
fn configuration_requests() {
    let file = load("network-request");
    let mut cases = 0;
    for case in list(&file, "requests") {
        let payload = bytes(case, "payload");
        let request = ConfigRequest::parse(&payload).unwrap();
        assert_eq!(
            request.network.controller(),
            Address::parse(text(case, "to"))
        );
        assert_eq!(request.meta, text(case, "dictionary").as_bytes());
        let holding = &case["holding"];
        assert_eq!(request.revision, holding["revision"].as_u64().unwrap_or(0));
        assert_eq!(
            request.timestamp.unwrap_or(0),
            holding["timestamp"].as_u64().unwrap_or(0)
        );
        let modern = text(case, "version") == "1.14.1";
        assert_eq!(request.timestamp.is_some(), modern);
        assert_eq!(written(|w| request.write(w)), payload);
        // The dictionary again, entry by entry.
        let dialect = if modern {
            Dialect::Modern
        } else {
            Dialect::Old
        };
        let again = written(|w| {
            let mut writer = DictWriter::new(w, dialect);
            for (key, value) in Dict::new(request.meta, dialect).entries() {
                let key = std::str::from_utf8(key).unwrap();
                match (key, modern) {
                    ("o", _) => writer.bytes(key, value.raw())?,
                    (_, true) => writer.number(key, value.number())?,
                    (_, false) => writer.short_number(key, value.number())?,
                }
            }
            Ok(())
        });
        assert_eq!(again, request.meta);
        cases += 1;
    }
    for case in list(&file, "parse") {
        let name = text(case, "name");
        let meta = bytes(case, "dictionary");
        let meta = &meta[..meta.len().min(META_MAX)];
        let dict = Dict::new(meta, Dialect::Modern);
        for key in [
            "v", "vend", "pv", "majv", "minv", "revv", "mr", "revr", "o", "a",
        ] {
            let mut out = [0; META_MAX];
            let got = dict.get(key).map(|value| value.unescape(&mut out).unwrap());
            let expected = case["values"][key].as_str().map(str::as_bytes);
            // Whoever recorded them had room for 511 bytes.
            let got = got.map(|value| value.get(..511).unwrap_or(value));
            assert_eq!(got, expected, "{name}: {key}");
        }
        for (key, expected) in case["numbers"].as_object().unwrap() {
            assert_eq!(
                Some(dict.number(key, 0)),
                expected.as_u64(),
                "{name}: {key}"
            );
        }
        cases += 1;
    }
    report("network-request.json", cases);
}

#[test]
fn rules() {
    let file = load("network-rules");
    let mut cases = 0;
    let mut check = |wire: &[u8]| {
        let rules = Rules::parse(wire).unwrap();
        assert_eq!(rules.iter().count(), usize::from(rules.len()));
        let again = written(|w| rules.write(w));
        // What it means is unchanged; where lengths are ordinary, so are the bytes.
        let reread: Vec<Rule> = Rules::parse(&again).unwrap().iter().collect();
        assert_eq!(reread, rules.iter().collect::<Vec<_>>());
        // Of an integer range the high half of its length is lost.
        let range = |rule: &Rule| matches!(rule.what, What::IntegerRange { .. });
        if again.len() == wire.len() && !reread.iter().any(range) {
            assert_eq!(hex(&again), hex(wire));
        }
        cases += 1;
        again.len() == wire.len()
    };
    let mut same = 0;
    for case in list(&file, "cases") {
        same += usize::from(check(&bytes(case, "rules")));
    }
    for case in list(&load("network-rules-json"), "rules") {
        if let Some(binary) = case["binary"].as_str() {
            assert!(check(&unhex(binary)), "{binary}");
        }
    }
    for case in list(&load("network-adhoc"), "cases") {
        if let Some(rules) = case["config"]["rules"].as_str() {
            assert!(check(&unhex(rules)), "{rules}");
        }
    }
    assert!(
        same * 10 > cases * 8,
        "{same} of {cases} written as they were"
    );
    report("network-rules.json", cases);
}

#[test]
fn dictionaries() {
    let file = load("network-config");
    let mut cases = 0;
    for (dialect, version) in [(Dialect::Modern, "1_14_1"), (Dialect::Old, "1_0_5")] {
        for case in list(&file, &format!("dictionary_write_{version}")) {
            let value = bytes(case, "value");
            let dictionary = bytes(case, "text");
            let again = written(|w| DictWriter::new(w, dialect).bytes("k", &value));
            assert_eq!(hex(&again), hex(&dictionary));
            let mut out = vec![0; value.len()];
            let dict = Dict::new(&dictionary, dialect);
            let got = dict.get("k").unwrap().unescape(&mut out).unwrap();
            assert_eq!(hex(got), hex(&value));
            cases += 1;
        }
        for case in list(&file, &format!("dictionary_read_{version}")) {
            let dictionary = bytes(case, "text");
            let mut out = vec![0; dictionary.len()];
            let dict = Dict::new(&dictionary, dialect);
            let got = dict.unescape_all("k", &mut out).unwrap();
            let expected = case["k"].as_str();
            assert_eq!(
                got.map(hex).as_deref(),
                expected,
                "{version}: {:?}",
                String::from_utf8_lossy(&dictionary)
            );
            cases += 1;
        }
    }
    // Whole dictionaries of 1.14.1, entry by entry.
    for case in list(&file, "modern") {
        let dictionary = bytes(case, "dictionary");
        let again = written(|w| {
            let mut writer = DictWriter::new(w, Dialect::Modern);
            for (key, value) in Dict::new(&dictionary, Dialect::Modern).entries() {
                let value: Vec<u8> = value.bytes().collect();
                writer.bytes(std::str::from_utf8(key).unwrap(), &value)?;
            }
            Ok(())
        });
        assert_eq!(hex(&again), hex(&dictionary));
        cases += 1;
    }
    report("network-config.json", cases);
}

/// As serde_json reads what ours has written.
fn as_value(ours: &zt::service::json::Value) -> Value {
    serde_json::from_str(&ours.to_string()).expect("JSON")
}

#[test]
fn rules_as_json() {
    let file = load("network-rules-json");
    let mut cases = 0;
    for case in list(&file, "rules") {
        let posted = zt::service::json::Value::parse(&case["posted"].to_string()).unwrap();
        let got = rules_json::parse(&posted);
        let Some(binary) = case["binary"].as_str() else {
            // 1.14.1 leaves these out without a word. Ours takes those that mean something and
            // refuses the rest.
            let ours = match posted.get("type").and_then(|t| t.as_str()) {
                Some("ACTION_PRIORITY") => Some("0600"),
                Some("INTEGER_RANGE") => Some("33130000000000000010000000000000002000048f"),
                Some("MATCH_INTEGER_RANGE") => Some("331300000000000000010000000000000002000407"),
                _ => None,
            };
            let got = got.map(|(rule, _)| hex(&written(|w| rule.write(w))));
            assert_eq!(got.as_deref().ok(), ours, "{case}");
            cases += 1;
            continue;
        };
        let (rule, warning) = got.unwrap();
        assert_eq!(hex(&written(|w| rule.write(w))), binary, "{case}");
        let rendered = rules_json::render(&rule).unwrap();
        assert_eq!(as_value(&rendered), case["stored"], "{case}");
        let read = Rule::read(&mut Reader::new(&unhex(binary))).unwrap();
        assert_eq!(rules_json::render(&read), Some(rendered.clone()));
        assert_eq!(rules_json::parse(&rendered), Ok((read, None)));
        // 1.14.1 says nothing about a prefix of 0 that nobody asked for, nor about "xyz".
        let posted = &case["posted"];
        let bits = posted["ip"].as_str().is_some_and(|ip| ip.contains('/'));
        let surprising = case["stored"]["ip"].is_string() && !bits || posted["address"] == "xyz";
        assert_eq!(warning.is_some(), surprising, "{case}");
        cases += 1;
    }
    report("network-rules-json.json", cases);
}
