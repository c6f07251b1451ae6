//! Power cuts, replayed: what a life of a home changes on the disk is recorded step by step, and
//! the disk after every single one is started from, in the ways in which it may look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::identity;
use super::settings::NetworkSettings;
use super::state::Home;
use super::state::tests::Scratch;
use crate::base::{Address, NetworkId};
use crate::crypto::rng::Rng;
use crate::os::file::{STEPS, Step};
use crate::wire::identity::SecretIdentity;

/// What the cut left of what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// All: the process was killed, and the system went on.
    Everything,
    /// Names, but contents only of what was synced: the usual empty file.
    Names,
    /// Nothing.
    Nothing,
}

type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// A disk: names lead to files (numbers) or directories.
#[derive(Default)]
struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Option<usize>>,
    synced_names: BTreeMap<PathBuf, Option<usize>>,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

impl Disk {
    fn apply(&mut self, step: &Step) {
        let file = |disk: &Self, path: &PathBuf| disk.names[path].expect("a file");
        match step {
            Step::Create(path) => {
                self.names.insert(path.clone(), Some(self.files.len()));
                self.files.push(File::default());
            }
            Step::Write(path, bytes) => {
                let n = file(self, path);
                self.files[n].bytes.clone_from(bytes);
            }
            Step::Sync(path) => {
                let n = file(self, path);
                self.files[n].synced = self.files[n].bytes.clone();
            }
            Step::Rename(from, to) => {
                let file = self.names.remove(from).expect("a name");
                self.names.insert(to.clone(), file);
            }
            Step::Link(from, to) => {
                self.names.insert(to.clone(), self.names[from]);
            }
            Step::Unlink(path) => {
                self.names.remove(path).expect("a name");
            }
            Step::Directory(path) => {
                self.names.insert(path.clone(), None);
            }
            Step::SyncDirectory(dir) => {
                let inside = |path: &PathBuf| path.parent() == Some(dir);
                self.synced_names.retain(|path, _| !inside(path));
                let now = self.names.iter().filter(|(path, _)| inside(path));
                self.synced_names
                    .extend(now.map(|(path, file)| (path.clone(), *file)));
            }
        }
    }

    fn after(&self, left: Left) -> Files {
        let names = match left {
            Left::Nothing => &self.synced_names,
            Left::Everything | Left::Names => &self.names,
        };
        let content = |n: usize| match left {
            Left::Everything => self.files[n].bytes.clone(),
            Left::Names | Left::Nothing => self.files[n].synced.clone(),
        };
        let there = names.iter();
        there
            .map(|(path, file)| (path.clone(), file.map(content)))
            .collect()
    }
}

/// What the owner would see.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    /// None yet; `Err`: damaged, and the start refused.
    address: Result<Option<Address>, ()>,
    token: Option<Vec<u8>>,
    planet: Option<Vec<u8>>,
    networks: Vec<(NetworkId, NetworkSettings)>,
    /// Asked for, or held.
    moons: Vec<(u64, Option<Vec<u8>>)>,
}

fn see(home: &mut Home) -> Seen {
    // Told to stop, it makes no new one.
    let secret = identity::obtain(home, &mut Rng::new([1; 32]), false, &mut || true);
    let read = |name: &str| home.read(name, 1 << 16).expect("readable");
    let address = |secret: SecretIdentity| secret.identity.address;
    Seen {
        address: secret.map(|secret| secret.map(address)).map_err(drop),
        token: read("authtoken.secret"),
        planet: read("planet"),
        networks: (home.networks(&mut |_| {}).into_iter())
            .map(|id| (id, home.settings(id, &mut |text| panic!("{text}"))))
            .collect(),
        moons: (home.moons(&mut |text| panic!("{text}")).iter())
            .map(|(id, _)| (*id, read(&format!("moons.d/{id:016x}.moon"))))
            .collect(),
    }
}

fn id(text: &str) -> NetworkId {
    NetworkId::parse(text).expect("an id")
}

/// Something done to a home, and done when it returns.
type Deed = fn(&mut Home);

/// A life, by what it does to its home.
fn deeds() -> Vec<(&'static str, Deed)> {
    vec![
        ("first start: identity", |home| {
            let mut rng = Rng::new([9; 32]);
            let made = identity::obtain(home, &mut rng, false, &mut || false);
            assert!(made.expect("no trouble").is_some());
        }),
        ("first start: token", |home| {
            home.authtoken(&mut Rng::new([2; 32])).expect("a token");
        }),
        ("first start: planet", |home| home.store_planet(b"planet")),
        ("first start: port", |home| {
            home.write_cache("zerotier-one.port", b"9993");
        }),
        ("join", |home| {
            home.store_join(id("8056c2e21c000001")).expect("stored");
        }),
        ("join with settings: settings", |home| {
            let mut settings = NetworkSettings::default();
            settings.set("allowDNS", "1").expect("a setting");
            let network = id("ff00160016000000");
            home.store_settings(network, &settings).expect("stored");
        }),
        ("join with settings: join", |home| {
            home.store_join(id("ff00160016000000")).expect("stored");
        }),
        ("set", |home| {
            let network = id("8056c2e21c000001");
            let mut settings = home.settings(network, &mut |_| {});
            settings.set("ifname", "lab0").expect("a setting");
            home.store_settings(network, &settings).expect("stored");
        }),
        ("a configuration comes", |home| {
            home.store_config(id("8056c2e21c000001"), b"v=7\n");
        }),
        ("another configuration comes", |home| {
            home.store_config(id("8056c2e21c000001"), b"v=7\nr=1\n");
        }),
        ("orbit", |home| {
            home.store_seed(0xaa, Address::parse("1122334455").expect("an address"));
        }),
        ("the moon comes", |home| {
            home.store_moon(0xaa, b"moon").expect("stored");
        }),
        ("another planet comes", |home| {
            home.store_planet(b"planet 2")
        }),
        ("deorbit", |home| home.forget_moon(0xaa)),
        ("leave", |home| home.forget_network(id("8056c2e21c000001"))),
        ("stop: peers", |home| {
            home.store_peer("peers.d/1122334455.peer", b"record");
            home.store_peer("peers.d/1122334466.peer", b"record");
            home.remove_cache("peers.d/1122334455.peer");
        }),
        ("the secret is damaged", |home| {
            home.write_secret("identity.secret", b"garbage")
                .expect("stored");
        }),
        ("it is set aside", |home| {
            let made = identity::obtain(home, &mut Rng::new([8; 32]), true, &mut || true);
            assert!(made.expect("no trouble").is_none());
        }),
        ("leave the other", |home| {
            home.forget_network(id("ff00160016000000"));
        }),
    ]
}

/// The name in the home, whichever home it was.
fn inside(step: Step, home: &Path) -> Step {
    let cut = |path: PathBuf| path.strip_prefix(home).expect("in the home").to_owned();
    match step {
        Step::Create(path) => Step::Create(cut(path)),
        Step::Write(path, bytes) => Step::Write(cut(path), bytes),
        Step::Sync(path) => Step::Sync(cut(path)),
        Step::Rename(from, to) => Step::Rename(cut(from), cut(to)),
        Step::Link(from, to) => Step::Link(cut(from), cut(to)),
        Step::Unlink(path) => Step::Unlink(cut(path)),
        Step::Directory(path) => Step::Directory(cut(path)),
        Step::SyncDirectory(path) => Step::SyncDirectory(cut(path)),
    }
}

fn taken(home: &Path) -> Vec<Step> {
    let steps = STEPS.with_borrow_mut(std::mem::take);
    steps.into_iter().map(|step| inside(step, home)).collect()
}

fn start_from(files: &Files) -> Seen {
    let mut scratch = Scratch::new("power-cut");
    for (name, content) in files {
        // What lies in a directory that was not synced is lost with it.
        let parent = name.parent().expect("in the home");
        if !parent.as_os_str().is_empty() && !files.contains_key(parent) {
            continue;
        }
        let name = name.to_str().expect("text");
        match content {
            Some(bytes) => scratch.put(name, bytes),
            None => std::fs::create_dir_all(scratch.0.path(name)).expect("a directory"),
        }
    }
    see(&mut scratch.0)
}

#[test]
fn a_power_cut_between_any_two_steps_leaves_a_valid_home() {
    let mut scratch = Scratch::new("power-life");
    let dir = scratch.0.dir().to_owned();
    STEPS.with_borrow_mut(Vec::clear);
    let mut disk = Disk::default();
    let mut before = see(&mut scratch.0);
    let mut tried: BTreeSet<(usize, Files)> = BTreeSet::new();
    let mut cuts = 0;
    for (n, (what, deed)) in deeds().into_iter().enumerate() {
        STEPS.with_borrow_mut(Vec::clear);
        deed(&mut scratch.0);
        assert_eq!(scratch.0.trouble(), None, "{what}");
        let steps = taken(&dir);
        assert!(!steps.is_empty(), "{what}: nothing was written");
        let after = see(&mut scratch.0);
        assert!(taken(&dir).is_empty(), "{what}: looking writes");
        for (done, step) in steps.iter().enumerate() {
            disk.apply(step);
            let is_done = done + 1 == steps.len();
            for left in [Left::Everything, Left::Names, Left::Nothing] {
                let files = disk.after(left);
                if !is_done && !tried.insert((n, files.clone())) {
                    continue;
                }
                cuts += 1;
                let at = format!("{what}, after {step:?}, {left:?} is left");
                let seen = start_from(&files);
                // What was done stays done; what was not may be either.
                assert!(
                    seen == after || !is_done && seen == before,
                    "{at}: {seen:#?}, not {after:#?}"
                );
            }
        }
        before = after;
    }
    assert!(cuts > 100, "{cuts}");
}
