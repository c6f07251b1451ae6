//! `zerotier-idtool` as it is run, against the vectors of real nodes (service 5, wire 2, 3, 11).
#![cfg(feature = "os")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use zt::crypto::identity::{secret_fits, validate};
use zt::crypto::sign;
use zt::wire::identity::SecretIdentity;
use zt::wire::inet::Slash;
use zt::wire::world::{DEFAULT_PLANET, SIGNED_MAX_LEN, World, WorldKind};

struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("zt-idtool-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        symlink(
            env!("CARGO_BIN_EXE_zerotier-one"),
            dir.join("zerotier-idtool"),
        )
        .unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(self.path("zerotier-idtool"));
        Ran::from(command.current_dir(&self.dir).args(args).output().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::File::create(self.path(name))
            .unwrap()
            .write_all(bytes)
            .unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "zerotier-idtool")
            .collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn is(&self, status: i32, out: &str, err: &str) {
        let wanted = Self {
            status: Some(status),
            out: out.into(),
            err: err.into(),
        };
        assert_eq!(*self, wanted);
    }

    #[track_caller]
    fn is_help(&self, status: i32) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.out.contains("\nCommands:\n  generate "), "{self:?}");
        assert_eq!(self.err, "");
    }

    /// The help, and what is wrong behind it.
    #[track_caller]
    fn is_usage(&self, status: i32, why: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.out.contains("\nCommands:\n  generate "), "{self:?}");
        assert!(self.err.ends_with(&format!(": {why}\n")), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
    }
}

fn vectors(name: &str) -> Value {
    let dir = std::env::var_os("ZT_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    serde_json::from_str(&fs::read_to_string(dir.join(name)).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    let list = value[key].as_array().unwrap();
    assert!(!list.is_empty(), "{key} is empty");
    list
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |n: usize| u8::from_str_radix(&text[n..n + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// A secret identity and its public half from the vectors, number `n`.
fn known(n: usize) -> (String, String) {
    let identities = vectors("identity.json");
    let entry = &list(&identities, "valid")[n];
    (
        text(entry, "secret_string").into(),
        text(entry, "public_string").into(),
    )
}

#[test]
fn nothing_and_the_unknown_print_the_help() {
    let scratch = Scratch::new();
    scratch.run(&[]).is_help(1);
    scratch.run(&["-h"]).is_help(0);
    scratch
        .run(&["frobnicate"])
        .is_usage(1, "frobnicate: unknown command");
    for (args, status) in [
        (&["validate"][..], 1),
        (&["getpublic"], 1),
        (&["sign"], 1),
        (&["sign", "x"], 1),
        (&["verify", "x", "y"], 1),
        (&["mkcom"], 1),
        (&["genplanet"], 1),
        (&["genplanet", "-o"], 1),
        (&["show"], 1),
        (&["initmoon"], 0),
        (&["genmoon"], 0),
    ] {
        let why = format!("{}: arguments missing, see above", args[0]);
        scratch.run(args).is_usage(status, &why);
    }
}

#[test]
fn identities_of_real_nodes_are_judged_as_they_judge_them() {
    let scratch = Scratch::new();
    let identities = vectors("identity.json");
    for entry in list(&identities, "valid") {
        let (secret, public) = (text(entry, "secret_string"), text(entry, "public_string"));
        for arg in [secret, public] {
            scratch
                .run(&["validate", arg])
                .is(0, &format!("{arg} is a valid identity\n"), "");
            scratch.run(&["getpublic", arg]).is(0, public, "");
        }
    }
    for entry in list(&identities, "invalid") {
        // As a file: not every one of them would be taken for an identity as an argument.
        let (why, string) = (text(entry, "why"), text(entry, "string"));
        scratch.write("bad", string.as_bytes());
        let ran = scratch.run(&["validate", "bad"]);
        // Where the reference reads on (wire 2.4) the key is not what was meant.
        let not_hex = why == "non-hex characters in the public key";
        let wanted = if entry["parses"].as_bool().unwrap() && !not_hex {
            "bad FAILED validation.\n"
        } else {
            "Identity argument invalid or file unreadable: bad\n"
        };
        assert_eq!(ran.status, Some(1), "{why}");
        assert_eq!(ran.err, wanted, "{why}");
    }
    let absent = "Identity argument invalid or file unreadable: absent\n";
    for command in ["validate", "getpublic"] {
        scratch.run(&[command, "absent"]).is(1, "", absent);
    }
}

#[test]
fn a_secret_of_somebody_else_is_no_valid_identity() {
    let scratch = Scratch::new();
    let ((one, _), (other, _)) = (known(0), known(1));
    let (_, foreign) = other.rsplit_once(':').unwrap();
    let (public, _) = one.rsplit_once(':').unwrap();
    let mixed = format!("{public}:{foreign}");
    scratch
        .run(&["validate", &mixed])
        .is(1, "", &format!("{mixed} FAILED validation.\n"));
}

#[test]
fn signatures_are_those_of_real_nodes() {
    let scratch = Scratch::new();
    let signatures = vectors("signature.json");
    for entry in list(&signatures, "signatures") {
        let signature = text(entry, "signature");
        scratch.write("message", &unhex(text(entry, "message")));
        // Real verifiers let this pass, and no real signer makes it (wire 3).
        let not_reduced = entry["why"] == "S not reduced (S+L)";
        let valid = entry["valid"].as_bool().unwrap() && !not_reduced;
        let public = match entry["secret"].as_str() {
            Some(secret) => {
                scratch
                    .run(&["sign", secret, "message"])
                    .is(0, signature, "");
                secret.rsplit_once(':').unwrap().0
            }
            None => text(entry, "public"),
        };
        scratch.write("signature", format!("{signature}\n").as_bytes());
        for argument in [signature, "signature"] {
            let ran = scratch.run(&["verify", public, "message", argument]);
            if valid {
                ran.is(0, "message signature valid\n", "");
            } else {
                ran.is(1, "", "message signature check FAILED\n");
            }
        }
    }
}

#[test]
fn signing_needs_a_secret_and_a_file() {
    let scratch = Scratch::new();
    let (secret, public) = known(0);
    scratch.write("message", b"hello");
    let text = format!("{public} does not contain a private key (must use private to sign)\n");
    scratch.run(&["sign", &public, "message"]).is(1, "", &text);
    scratch
        .run(&["sign", &secret, "absent"])
        .is(1, "", "absent is not readable\n");
    scratch
        .run(&["verify", &public, "absent", "aa"])
        .is(1, "", "absent is not readable\n");
    let text = "message signature check FAILED\n";
    scratch
        .run(&["verify", &public, "message", "aa"])
        .is(1, "", text);
}

#[test]
fn generate_prints_or_writes_a_valid_identity() {
    let scratch = Scratch::new();
    let ran = scratch.run(&["generate"]);
    assert_eq!(
        (ran.status, ran.err.as_str(), ran.out.len()),
        (Some(0), "", 270)
    );
    let secret = SecretIdentity::parse(&ran.out).unwrap();
    assert!(secret_fits(&secret) && validate(&secret.identity));

    let ran = scratch.run(&["generate", "a.secret", "a.public"]);
    ran.is(0, "a.secret written\na.public written\n", "");
    assert_eq!(
        (scratch.mode("a.secret"), scratch.mode("a.public") & 0o600),
        (0o600, 0o600)
    );
    let made = scratch.text("a.secret");
    assert_ne!(made, String::from_utf8_lossy(ran.out.as_bytes()));
    assert_eq!(
        SecretIdentity::parse(&made).unwrap().identity.to_string(),
        scratch.text("a.public")
    );
    scratch
        .run(&["validate", "a.secret"])
        .is(0, "a.secret is a valid identity\n", "");
    assert_eq!(scratch.files(), ["a.public", "a.secret"]);
}

#[test]
fn generate_never_replaces_a_file() {
    let scratch = Scratch::new();
    scratch.write("old", b"precious");
    // What a power cut may leave.
    scratch.write("empty", b"");
    for (args, file) in [
        (&["generate", "old"][..], "old"),
        (&["generate", "empty"], "empty"),
        (&["generate", "new", "old"], "old"),
    ] {
        let text = format!("Error writing to {file}: it exists and is not replaced\n");
        scratch.run(args).is(1, "", &text);
    }
    assert_eq!(
        (scratch.text("old"), scratch.text("empty")),
        ("precious".into(), String::new())
    );
    assert_eq!(scratch.files(), ["empty", "old"]);
    let ran = scratch.run(&["generate", "no/where"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.starts_with("Error writing to no/where"), "{ran:?}");
    // Half of it done: what is there is said, and stays.
    let ran = scratch.run(&["generate", "new", "no/where"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), "new written\n"));
    let hint = "\nnew is good: getpublic prints the rest\n";
    assert!(ran.err.ends_with(hint), "{ran:?}");
    assert_eq!(scratch.run(&["validate", "new"]).status, Some(0));
}

#[test]
fn vanity_is_found_or_refused() {
    let scratch = Scratch::new();
    let ran = scratch.run(&["generate", "v.secret", "v.public", "7"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let public = scratch.text("v.public");
    assert!(public.starts_with('7'), "{public}");
    let last = format!("vanity address: found {} !\n", &public[..10]);
    assert!(ran.err.ends_with(&last), "{ran:?}");
    for line in ran.err.lines().rev().skip(1) {
        assert!(line.starts_with("vanity address: tried "), "{line}");
        assert!(
            line.ends_with(" looking for first 4 bits of 7000000000"),
            "{line}"
        );
    }
    // 1.14.1 looks for these without end.
    for bad in ["", "zz", "12345678901", "ff", "0000000000", "+1"] {
        let ran = scratch.run(&["generate", "w.secret", "w.public", bad]);
        assert_eq!(ran.status, Some(1), "{bad}");
        assert!(ran.err.starts_with("vanity must be"), "{ran:?}");
    }
}

#[test]
fn certificates_are_those_of_real_controllers() {
    let scratch = Scratch::new();
    let vectors = vectors("network-com.json");
    let secret = text(&vectors, "controller_secret");
    let controller = &secret[..10];
    let mut count = 0;
    for certificate in list(&vectors, "certificates") {
        let Some(wanted) = certificate["text"].as_str() else {
            continue;
        };
        if certificate["verified"] != true || !wanted.contains(&format!(":{controller}:")) {
            continue;
        }
        let mut args = vec!["mkcom".to_owned(), secret.to_owned()];
        for qualifier in certificate["fields"]["qualifiers"].as_array().unwrap() {
            let words: Vec<&str> = qualifier
                .as_array()
                .unwrap()
                .iter()
                .map(|w| w.as_str().unwrap())
                .collect();
            args.push(words.join(","));
        }
        // In any order.
        args[2..].reverse();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        scratch.run(&args).is(0, wanted, "");
        count += 1;
    }
    assert!(count > 3, "only {count} certificates");
    let (_, public) = known(0);
    let text = "Identity argument invalid, does not include private key, or file unreadable: ";
    scratch
        .run(&["mkcom", &public, "0,1,2"])
        .is(1, "", &format!("{text}{public}\n"));
    for bad in [
        "0,1",
        "0,1,2,3",
        "0,,2",
        "zz,1,2",
        "+0,1,2",
        "11111111111111111,0,0",
    ] {
        let text = format!("{bad} is not id,value,maxDelta in hex\n");
        scratch.run(&["mkcom", secret, bad]).is(1, "", &text);
    }
}

/// Does the world's own key verify its signature?
fn is_signed_by(world: &World<'_>, key: &[u8; 64]) -> bool {
    let mut message = vec![0; SIGNED_MAX_LEN];
    let len = world.signed_message(&mut message).unwrap();
    sign::verify(key, &[&message[..len]], world.signature).is_ok()
}

fn roots(world: &World<'_>) -> Vec<(String, Vec<String>)> {
    let endpoints = |root: &zt::wire::world::RootView<'_>| {
        root.endpoints().map(|at| Slash(at).to_string()).collect()
    };
    world
        .roots()
        .map(|root| (root.identity.to_string(), endpoints(&root)))
        .collect()
}

#[test]
fn a_moon_from_its_json_to_its_signature() {
    let scratch = Scratch::new();
    let (secret, public) = known(0);
    scratch
        .run(&["initmoon", "absent"])
        .is(1, "", "absent is not a valid identity\n");
    let ran = scratch.run(&["initmoon", &secret]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    assert!(
        ran.out
            .starts_with("{\n \"id\": \"3c9439e96a\",\n \"objtype\": \"world\",\n")
    );
    let (_, private) = secret.rsplit_once(':').unwrap();
    assert!(
        !ran.out.contains(private),
        "the secret of the identity is nobody's business"
    );
    let mut json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["roots"][0]["identity"], public);
    assert_eq!(json["worldType"], "moon");
    assert_eq!(json["updatesMustBeSignedBy"], json["signingKey"]);

    let (_, second) = known(1);
    json["roots"][0]["stableEndpoints"] = serde_json::json!(["10.0.0.1/9993", "fd00::1/9993"]);
    json["roots"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({
            "identity": second, "stableEndpoints": []
        }));
    let make = |json: &Value| {
        scratch.write(
            "moon.json",
            serde_json::to_string_pretty(json).unwrap().as_bytes(),
        );
        scratch.run(&["genmoon", "moon.json"])
    };
    let ran = make(&json);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    let bytes = fs::read(scratch.path("0000003c9439e96a.moon")).unwrap();
    let (world, used) = World::parse(&bytes).unwrap();
    assert_eq!(used, bytes.len());
    let told = world.timestamp;
    let text = format!("wrote 0000003c9439e96a.moon (signed world with timestamp {told})\n");
    assert_eq!(ran.out, text);
    assert_eq!((world.kind, world.id), (WorldKind::Moon, 0x3c_9439_e96a));
    let endpoints = vec!["10.0.0.1/9993".to_owned(), "fd00::1/9993".into()];
    assert_eq!(roots(&world), [(public, endpoints), (second, vec![])]);
    let key: [u8; 64] = unhex(text_of(&json, "signingKey")).try_into().unwrap();
    assert!(is_signed_by(&world, &key));
    assert_eq!(*world.update_key, key);

    // An update is later, whatever the clock says, and signed by the same key.
    let ran = make(&json);
    assert_eq!(ran.status, Some(0));
    let bytes = fs::read(scratch.path("0000003c9439e96a.moon")).unwrap();
    let (update, _) = World::parse(&bytes).unwrap();
    assert!(update.timestamp > told);
    assert!(is_signed_by(&update, world.update_key));
    let shown = scratch.run(&["show", "0000003c9439e96a.moon"]);
    assert!(
        shown.out.starts_with("moon 0000003c9439e96a\n"),
        "{shown:?}"
    );
    assert!(
        shown.out.contains("signed by the same key: yes\n"),
        "{shown:?}"
    );
    assert!(
        shown.out.contains("\n endpoint fd00::1/9993\n"),
        "{shown:?}"
    );
}

fn text_of<'a>(json: &'a Value, key: &str) -> &'a str {
    json[key].as_str().unwrap()
}

#[test]
fn a_bad_moon_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let (_, public) = known(0);
    let good: Value = serde_json::from_str(&scratch.run(&["initmoon", &public]).out).unwrap();
    scratch
        .run(&["genmoon", "absent"])
        .is(1, "", "cannot read absent\n");
    type Damage = fn(&mut Value);
    let cases: [(Damage, &str); 9] = [
        (|j| j["id"] = "zz".into(), "ID in bad.json is invalid\n"),
        (|j| j["id"] = "0".into(), "ID in bad.json is invalid\n"),
        (|j| j["worldType"] = "star".into(), "invalid worldType\n"),
        (
            |j| j["roots"] = serde_json::json!([]),
            "a world has 1 to 4 roots\n",
        ),
        (
            |j| j["roots"][0]["identity"] = "x".into(),
            "x in bad.json is not a valid identity\n",
        ),
        (
            |j| j["roots"][0]["stableEndpoints"] = serde_json::json!(["10.0.0.1"]),
            "invalid endpoint 10.0.0.1: must be ip/port\n",
        ),
        (
            |j| j["signingKey"] = "00".into(),
            "signingKey in bad.json is invalid\n",
        ),
        (
            |j| j["signingKey"] = "00".repeat(64).into(),
            "signingKey_SECRET in bad.json does not belong to signingKey\n",
        ),
        (
            |j| {
                let root = j["roots"][0].clone();
                j["roots"].as_array_mut().unwrap().push(root);
            },
            "3c9439e96a: twice among the roots\n",
        ),
    ];
    for (damage, wanted) in cases {
        let mut bad = good.clone();
        damage(&mut bad);
        scratch.write("bad.json", bad.to_string().as_bytes());
        scratch.run(&["genmoon", "bad.json"]).is(1, "", wanted);
    }
    let mut tampered = good;
    let other = format!("1c{}", &public[2..]);
    tampered["roots"][0]["identity"] = other.clone().into();
    scratch.write("bad.json", tampered.to_string().as_bytes());
    let text = format!("{other} is not a valid identity\n");
    scratch.run(&["genmoon", "bad.json"]).is(1, "", &text);
    scratch.write("bad.json", b"{\n\"id\":\n");
    let text = "bad.json: invalid JSON, line 3, column 1: a value is expected\n";
    scratch.run(&["genmoon", "bad.json"]).is(1, "", text);
    scratch.write("bad.json", b"[]");
    let text = "bad.json: invalid JSON, not an object\n";
    scratch.run(&["genmoon", "bad.json"]).is(1, "", text);
    assert_eq!(scratch.files(), ["bad.json"]);
}

#[test]
fn a_planet_in_one_step_and_its_update() {
    let scratch = Scratch::new();
    let ((first_secret, first), (_, second)) = (known(0), known(1));
    scratch.write("first.secret", first_secret.as_bytes());
    let first_arg = "first.secret@198.51.100.1/9993,2001:db8::1/9993";
    let ran = scratch.run(&["genplanet", first_arg]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(scratch.files(), ["first.secret", "planet", "planet.secret"]);
    assert_eq!(scratch.mode("planet.secret"), 0o600);
    let bytes = fs::read(scratch.path("planet")).unwrap();
    let (world, used) = World::parse(&bytes).unwrap();
    assert_eq!((world.kind, used), (WorldKind::Planet, bytes.len()));
    let (public_planet, _) = World::parse(DEFAULT_PLANET).unwrap();
    assert_ne!(world.id, public_planet.id);
    let endpoints = vec!["198.51.100.1/9993".to_owned(), "2001:db8::1/9993".into()];
    assert_eq!(roots(&world), [(first.clone(), endpoints)]);
    assert!(is_signed_by(&world, world.update_key));
    assert_eq!(
        ran.out,
        format!(
            "wrote planet.secret (keep it: it signs updates)\n\
             wrote planet (signed world {:016x} with timestamp {})\n",
            world.id, world.timestamp
        )
    );

    // With the kept key the next one is an update that holders of the first accept.
    let key = scratch.text("planet.secret");
    let second_arg = format!("{second}@198.51.100.2/9993");
    let ran = scratch.run(&["genplanet", first_arg, &second_arg]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(scratch.text("planet.secret"), key);
    let new = fs::read(scratch.path("planet")).unwrap();
    let (update, _) = World::parse(&new).unwrap();
    assert_eq!((update.kind, update.id), (world.kind, world.id));
    assert!(update.timestamp > world.timestamp);
    assert!(is_signed_by(&update, world.update_key));
    assert_eq!(roots(&update).len(), 2);

    // Other names, another planet.
    let ran = scratch.run(&["genplanet", "-k", "k", &second_arg, "-o", "p"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let bytes = fs::read(scratch.path("p")).unwrap();
    let (other, _) = World::parse(&bytes).unwrap();
    assert_ne!(other.id, world.id);
    assert_ne!(other.update_key, world.update_key);
    let shown = scratch.run(&["show", "p"]);
    assert_eq!(shown.status, Some(0));
    assert!(
        shown
            .out
            .contains(&format!("root {second}\n endpoint 198.51.100.2/9993\n"))
    );
}

#[test]
fn a_bad_planet_leaves_no_file() {
    let scratch = Scratch::new();
    let (_, public) = known(0);
    let (five, at) = (
        [0, 1, 2, 3, 4].map(|n| format!("{}@10.0.0.1/1", known(n).1)),
        "10.0.0.1/1",
    );
    let five: Vec<&str> = five.iter().map(String::as_str).collect();
    let wrong = format!("1c{}@{at}", &public[2..]);
    let no_port = format!("{public}@10.0.0.1");
    let port_zero = format!("{public}@10.0.0.1/0");
    let twice = format!("{public}@{at}");
    for args in [
        vec![public.as_str()],
        vec!["absent@10.0.0.1/1"],
        vec![&no_port],
        vec![&port_zero],
        vec![&wrong],
        vec![&twice, &twice],
        five,
    ] {
        let mut all = vec!["genplanet"];
        all.extend(args);
        let ran = scratch.run(&all);
        assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""), "{all:?}");
        assert!(!ran.err.is_empty());
    }
    assert_eq!(scratch.files(), [""; 0]);
    // A key file that is something else is neither used nor replaced.
    scratch.write("planet.secret", b"something else");
    let ran = scratch.run(&["genplanet", &twice]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(scratch.text("planet.secret"), "something else");
    assert_eq!(scratch.files(), ["planet.secret"]);
}

#[test]
fn show_tells_what_worlds_say() {
    let scratch = Scratch::new();
    let worlds = vectors("world.json");
    for entry in list(&worlds, "worlds") {
        let name = text(entry, "name");
        scratch.write("world", &unhex(text(entry, "hex")));
        let ran = scratch.run(&["show", "world"]);
        assert_eq!(ran.status, Some(0), "{name}: {ran:?}");
        let kind = if entry["type"] == 1 { "planet" } else { "moon" };
        let signed = if entry["signature_matches_own_update_key"] == true {
            "yes"
        } else {
            "no"
        };
        let mut wanted = format!(
            "{kind} {}\ntimestamp {}\nupdates must be signed by {}\nsigned by the same key: {signed}\n",
            text(entry, "id"),
            entry["timestamp"],
            text(entry, "update_key"),
        );
        for root in list(entry, "roots") {
            wanted += &format!("root {}\n", text(root, "identity"));
            for at in root["endpoints"].as_array().unwrap() {
                wanted += &format!(" endpoint {}\n", at.as_str().unwrap());
            }
        }
        assert!(
            ran.out.starts_with(&wanted),
            "{name}: {}\n{wanted}",
            ran.out
        );
    }
    for entry in list(&worlds, "invalid") {
        scratch.write("world", &unhex(text(entry, "hex")));
        let ran = scratch.run(&["show", "world"]);
        assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""), "{entry}");
    }
}

#[test]
fn show_tells_what_a_stored_peer_and_an_identity_hold() {
    let scratch = Scratch::new();
    let (secret, public) = known(0);
    let address = public.get(..10).unwrap();
    // Byte 2, identity, protocol 13, version 1.14.1, two addresses (node 2.2).
    let key = unhex(public.rsplit(':').next().unwrap());
    let mut peer = vec![2];
    peer.extend(unhex(address));
    peer.push(0);
    peer.extend(&key);
    peer.push(0);
    let numbers = "000d0001000e00010002";
    let addresses = "040a4d00012709 0620010db8000000000000000000000001270a";
    peer.extend(unhex(numbers));
    peer.extend(unhex(&addresses.replace(' ', "")));
    scratch.write("x.peer", &peer);
    let wanted = format!(
        "peer {address}\nidentity {public}\nversion 1.14.1 protocol 13\n\
         address 10.77.0.1/9993\naddress 2001:db8::1/9994\n"
    );
    scratch.run(&["show", "x.peer"]).is(0, &wanted, "");
    scratch.write("cut", &peer[..peer.len() - 1]);
    let text = "cut is neither planet, moon, stored peer nor identity (as planet or moon: ";
    let ran = scratch.run(&["show", "cut"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.starts_with(text), "{ran:?}");

    scratch.write("id", secret.as_bytes());
    let wanted = |private| format!("identity {public}\nprivate key: {private}\nvalid: yes\n");
    scratch.run(&["show", "id"]).is(0, &wanted("yes"), "");
    scratch.write("public", public.as_bytes());
    scratch.run(&["show", "public"]).is(0, &wanted("no"), "");
}
