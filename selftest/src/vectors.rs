//! Test vectors made by real nodes: `--vectors DIR` runs every file of a known kind. An unknown
//! kind or field counts as failed, so that nothing is passed over silently.

mod ciphers;
mod configs;
mod encodings;
mod fields;
mod frames;
mod identities;
mod members;
mod networks;
mod packets;
mod rules;
mod worlds;

use std::fmt::Display;
use std::path::Path;

use serde_json::Value;
use zt::crypto::poly;
use zt::wire::cursor::Reader;
use zt::wire::identity::Identity;
use zt::wire::packet::Suite;
use zt::wire::world::World;

use fields::{
    Miss, Object, Outcome, array, bytes, check, known, list, malformed, object, same, text,
};

/// Passed and failed cases.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Cases of suite 3 in a build without AES.
    pub(crate) left_out: usize,
}

impl core::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out += other.left_out;
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.left_out > 0 {
            write!(f, ", {} left out (sealed with AES)", self.left_out)?;
        }
        Ok(())
    }
}

/// Runs all files of a folder.
pub(crate) fn run(folder: &Path, out: &mut dyn std::io::Write) -> std::io::Result<Tally> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let mut all = Tally::default();
    for path in files {
        let kind = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_owned();
        let mut run = Run {
            tally: Tally::default(),
            failures: Vec::new(),
        };
        match load(&path) {
            Ok(file) => {
                // The identities behind the addresses of the other network files.
                let others = load(&folder.join("network-com.json")).ok();
                run.file(&kind, &file, others.as_ref());
            }
            Err(error) => run.case("file", Err(error)),
        }
        if run.tally.passed + run.tally.failed + run.tally.left_out == 0 {
            run.case("file", Err("no case in it".into()));
        }
        for failure in run.failures.iter().take(5) {
            writeln!(out, "  {kind}: {failure}")?;
        }
        writeln!(out, "{kind}: {}", run.tally)?;
        all += run.tally;
    }
    Ok(all)
}

fn load(path: &Path) -> Result<Object, Miss> {
    let bytes = std::fs::read(path).map_err(malformed)?;
    match serde_json::from_slice(&bytes).map_err(malformed)? {
        Value::Object(file) => Ok(file),
        _ => Err("not an object".into()),
    }
}

struct Run {
    tally: Tally,
    failures: Vec<String>,
}

impl Run {
    fn case(&mut self, name: &str, outcome: Outcome) {
        match outcome {
            Ok(()) => self.tally.passed += 1,
            Err(Miss::NoAes) => self.tally.left_out += 1,
            Err(Miss::Failed(why)) => {
                self.tally.failed += 1;
                self.failures.push(format!("{name}: {why}"));
            }
        }
    }

    /// Every case of a list of objects.
    fn each(&mut self, file: &Object, key: &str, test: impl Fn(&Object) -> Outcome) {
        match list(file, key) {
            Ok(cases) => {
                for (n, case) in cases.iter().enumerate() {
                    self.case(&format!("{key} {n}"), object(case).and_then(&test));
                }
            }
            Err(why) => self.case(key, Err(why)),
        }
    }

    fn file(&mut self, kind: &str, file: &Object, others: Option<&Object>) {
        let mut parts: Vec<&str> = vec!["about"];
        match kind {
            "agreement" => {
                parts.push("pairs");
                self.each(file, "pairs", packets::agreement);
            }
            "armor_c0" | "armor_c1" | "armor_c3" => {
                let suite = match kind {
                    "armor_c0" => Suite::Poly1305,
                    "armor_c1" => Suite::Salsa,
                    _ => Suite::AesGmacSiv,
                };
                parts.extend(["packets", "checks"]);
                self.each(file, "packets", |case| packets::armored(case, suite));
                self.each(file, "checks", packets::armor_check);
            }
            "fragment" => {
                parts.push("packets");
                self.each(file, "packets", packets::fragment);
            }
            "hello" => {
                parts.extend(["nodes", "exchanges"]);
                self.each(file, "nodes", packets::node);
                self.each(file, "exchanges", packets::exchange);
            }
            "identity" => {
                parts.extend(["valid", "invalid", "lenient", "invalid_binary"]);
                self.each(file, "valid", identities::valid_identity);
                self.each(file, "invalid", identities::invalid_identity);
                self.each(file, "lenient", identities::lenient_identity);
                self.each(file, "invalid_binary", |case| {
                    known(case, &["why", "hex"])?;
                    let read = Identity::read(&mut Reader::new(&bytes(case, "hex")?));
                    check("refused", read.is_err())
                });
            }
            "inetaddress" => {
                parts.extend(["addresses", "decode"]);
                self.each(file, "addresses", encodings::physical_address);
                self.each(file, "decode", encodings::physical_decode);
            }
            "lz4" => {
                parts.extend(["compress", "decode"]);
                self.each(file, "compress", encodings::lz4_compress);
                self.each(file, "decode", encodings::lz4_decode);
            }
            "network_ids" => {
                parts.extend(["macs", "devices", "groups"]);
                self.each(file, "macs", members::member);
                self.each(file, "devices", members::device);
                self.each(file, "groups", members::group);
            }
            "network-adhoc" => {
                parts.push("cases");
                self.each(file, "cases", members::ad_hoc);
            }
            "network-config" => parts.extend(self.configs(file)),
            "network-frames" => parts.extend(self.frames(file, others)),
            "network-com" => parts.extend(self.coms(file)),
            "network-credentials" => parts.extend(self.credentials(file)),
            "network-request" => parts.extend(self.requests(file)),
            "network-rules-json" => parts.extend(self.rules_json(file)),
            "network-rules" => {
                parts.extend(["self", "network", "cases"]);
                let ids = text(file, "self").and_then(|me| Ok((me, members::network(file)?)));
                match ids {
                    Ok((me, network)) => {
                        self.each(file, "cases", |case| rules::rules_case(case, me, network));
                    }
                    Err(why) => self.case("file", Err(why)),
                }
            }
            "poly1305" => {
                parts.push("tags");
                self.each(file, "tags", |case| {
                    known(case, &["key", "message", "tag"])?;
                    let tag = poly::poly1305(&array(case, "key")?, &bytes(case, "message")?);
                    same("tag", &tag, &array(case, "tag")?)
                });
            }
            "salsa20" => {
                parts.extend(["keystreams", "split_calls"]);
                self.each(file, "keystreams", ciphers::keystream);
                let split = file.get("split_calls").ok_or(Miss::from("no split_calls"));
                self.case(
                    "split_calls",
                    split.and_then(object).and_then(ciphers::split_calls),
                );
            }
            "signature" => {
                parts.push("signatures");
                self.each(file, "signatures", identities::signature);
            }
            "transcript_1_0_5" | "transcript_1_14_1" => {
                parts.extend(["nodes", "packets"]);
                self.each(file, "nodes", packets::node);
                let secrets = packets::secrets(file);
                self.each(file, "packets", |case| packets::packet(case, &secrets));
            }
            "world" => {
                parts.extend(["worlds", "updates", "invalid"]);
                self.each(file, "worlds", worlds::world_definition);
                self.each(file, "updates", |case| {
                    known(case, &["why", "current", "update", "accept"])?;
                    worlds::world_update(case)
                });
                self.each(file, "invalid", |case| {
                    known(case, &["why", "hex"])?;
                    check("refused", World::parse(&bytes(case, "hex")?).is_err())
                });
            }
            _ => return self.case("file", Err("unknown kind".into())),
        }
        if let Err(why) = known(file, &parts) {
            self.case("file", Err(why));
        }
    }
}
