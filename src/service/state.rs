//! The home directory (service 3).
//!
//! Two classes of files. *Precious* ones (identity, token, settings, who we joined) are written
//! to a new file, synced, renamed and the directory synced: after a power cut there is the old
//! file or the new one. *Cache* files (planet, network configurations) are renamed into place
//! without waiting for the disk. Both are written only if their content differs, so a node whose
//! world stands still writes nothing (wishes 7).
//!
//! A home that cannot be written is no reason to stop: what is known lives on in memory, is what
//! the home is seen to hold, and is written when that works again ([`super::unwritten`]).

use core::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Fatal;
use super::log;
use super::settings::{self, NetworkSettings, is_ifname};
use super::unwritten::{Class, Occasion, Unwritten, Wish};
use crate::base::{Address, Limits, Mono, NetworkId};
use crate::crypto::rng::Rng;
use crate::os::file::{self, Claim, PidFile};
use crate::os::{self, shown};
use crate::wire::world::{WorldBuf, WorldKind};

/// Where the home is when nobody says.
#[cfg(not(any(target_os = "freebsd", target_os = "openbsd", target_os = "netbsd")))]
pub const DEFAULT_HOME: &str = "/var/lib/zerotier-one";
/// Where the home is when nobody says.
#[cfg(any(target_os = "freebsd", target_os = "openbsd", target_os = "netbsd"))]
pub const DEFAULT_HOME: &str = "/var/db/zerotier-one";

const PID_FILE: &str = "zerotier-one.pid";

/// Longest of the small text files that is read.
const TEXT_MAX_BYTES: usize = 16 * 1024;
/// Longest stored world that is read; longer than any that parses.
const WORLD_MAX_BYTES: usize = 8 * 1024;

const SECRET_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

const NO_TEXT: os::Error = os::Error {
    op: &"read",
    errno: libc::EILSEQ,
};

/// Characters of an authtoken.
const TOKEN_LEN: usize = 24;
const TOKEN_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A file that failed, and why.
pub(crate) fn explain(path: &Path, error: &dyn fmt::Display) -> String {
    format!("{}: {error}", shown(&path))
}

/// Who hears what is wrong with a file.
pub type Complain<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

/// For the log.
pub(super) fn warn(text: fmt::Arguments<'_>) {
    log::warn!("{text}");
}

/// What was said before.
pub(super) fn ignore(_: fmt::Arguments<'_>) {}

/// The home directory of one instance.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    unwritten: Unwritten,
    /// The stored planet does not parse: it stays as it is.
    planet_is_foreign: bool,
}

impl Home {
    /// The directory, made with its parents if it is missing.
    pub fn open(dir: &Path) -> Result<Self, Fatal> {
        let made = file::make_directories(dir, DIRECTORY_MODE);
        if let Err(error) = made
            && !file::is_directory(dir)
        {
            return Err(Fatal::new(format_args!(
                "cannot create the home directory {}",
                explain(dir, &error)
            )));
        }
        let home = Self {
            dir: dir.to_owned(),
            // Any machine has room for these.
            unwritten: Unwritten::new(&Limits::small()),
            planet_is_foreign: false,
        };
        for secret in &["identity.secret", "authtoken.secret", "metricstoken.secret"] {
            // Best effort: on a read-only home the mode is what it is.
            let _ = file::close_to_others(&home.path(secret));
        }
        Ok(home)
    }

    /// From now on this much is held of what cannot be written.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.unwritten.set_limits(limits);
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What cannot be written at present.
    pub fn trouble(&self) -> Option<String> {
        self.unwritten.trouble(&self.dir)
    }

    /// What cannot be written, each cause once.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.unwritten.take_trouble(&self.dir)
    }

    /// Once when the trouble that was taken is over; how much was given up.
    pub(super) fn take_relief(&mut self) -> Option<u32> {
        self.unwritten.take_relief()
    }

    /// Once when [`Self::note_trouble`] may be over: its caller is to try again.
    pub(super) fn take_chance(&mut self) -> bool {
        self.unwritten.take_chance()
    }

    /// A file of somebody else's making failed. `true`: that is new.
    pub(super) fn note_trouble(&mut self, name: &str, error: os::Error) -> bool {
        self.unwritten.note(name, error)
    }

    /// It did not any more.
    pub(super) fn forget_trouble(&mut self, name: &str) {
        self.unwritten.forget(name);
    }

    /// Tries now what could not be written.
    pub(super) fn write_again(&mut self) {
        self.unwritten.again(&self.dir, Occasion::Asked);
    }

    /// When [`Self::work`] is due.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.unwritten.next_deadline()
    }

    /// Tries what could not be written, if it is time. To be called after changes, too.
    pub(super) fn work(&mut self, now: Mono) {
        self.unwritten.work(&self.dir, now);
    }

    /// A file's content. `None`: there is none.
    pub fn read(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, os::Error> {
        match self.unwritten.wish(name) {
            Some(Wish::Put(bytes, _)) if bytes.len() <= max => return Ok(Some(bytes.to_vec())),
            Some(Wish::Gone) => return Ok(None),
            _ => {}
        }
        let path = self.path(name);
        match file::read_bounded(&path, max) {
            Ok(bytes) => Ok(Some(bytes)),
            // A link that leads nowhere may lead somewhere when a disk is mounted: that is not
            // nothing, and nothing may take its place.
            Err(error) if error.errno == libc::ENOENT && !file::is_link(&path) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same; what cannot be read is said, and as good as nothing.
    fn read_or_say(&self, name: &str, max: usize, complain: Complain<'_>) -> Option<Vec<u8>> {
        let read = self.read(name, max);
        read.unwrap_or_else(|error| {
            self.say(name, &error, complain);
            None
        })
    }

    /// There is something of this name, or would be.
    pub(super) fn holds(&self, name: &str) -> bool {
        match self.unwritten.wish(name) {
            Some(Wish::Gone) => false,
            Some(_) => true,
            None => file::exists(&self.path(name)),
        }
    }

    /// Text of a small file. `None`: there is none. `EILSEQ`: it is no text.
    pub fn read_text(&self, name: &str) -> Result<Option<String>, os::Error> {
        let Some(bytes) = self.read(name, TEXT_MAX_BYTES)? else {
            return Ok(None);
        };
        String::from_utf8(bytes).map(Some).map_err(|_| NO_TEXT)
    }

    /// The same, of a file with a secret: no copy of it stays in memory. A link is followed if
    /// root or this user has laid it: in a home that belongs to another user, it may lead to what
    /// that user must not know.
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<String>>, os::Error> {
        if !file::is_link_of_ours(&self.path(name)) {
            return Err(os::Error {
                op: &"open",
                errno: libc::ELOOP,
            });
        }
        let Some(bytes) = self.read(name, TEXT_MAX_BYTES)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        match core::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(Zeroizing::new(text.to_owned()))),
            Err(_) => Err(NO_TEXT),
        }
    }

    /// Stores a precious file: on the disk when this returns.
    pub fn write_precious(&mut self, name: &str, bytes: &[u8]) -> Result<(), os::Error> {
        self.write(name, bytes, PUBLIC_MODE, Class::Precious)
    }

    /// Stores a precious file that nobody else may read.
    pub fn write_secret(&mut self, name: &str, bytes: &[u8]) -> Result<(), os::Error> {
        self.write(name, bytes, SECRET_MODE, Class::Precious)
    }

    /// Stores what could be learnt again. Failure is remembered, see [`Self::take_trouble`].
    pub fn write_cache(&mut self, name: &str, bytes: &[u8]) {
        let _ = self.write(name, bytes, PUBLIC_MODE, Class::Cache);
    }

    fn write(
        &mut self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        class: Class,
    ) -> Result<(), os::Error> {
        let wish = Wish::Put(Zeroizing::new(bytes.to_vec()), mode);
        self.unwritten.write(&self.dir, name, class, wish)
    }

    /// Removes a precious file: it does not come back with a power cut.
    fn remove_precious(&mut self, name: &str) {
        // Failure is remembered.
        let _ = (self.unwritten).write(&self.dir, name, Class::Precious, Wish::Gone);
    }

    /// Removes what could be learnt again.
    pub fn remove_cache(&mut self, name: &str) {
        let _ = (self.unwritten).write(&self.dir, name, Class::Cache, Wish::Gone);
    }

    /// The token of the owner, made if there is none. An existing file is never replaced; if it
    /// holds nothing usable, nobody can use the token until its owner acts.
    pub fn authtoken(&mut self, rng: &mut Rng) -> Result<Zeroizing<String>, String> {
        self.token("authtoken.secret", rng)
    }

    /// The token for figures alone, by the same rules.
    pub fn metrics_token(&mut self, rng: &mut Rng) -> Result<Zeroizing<String>, String> {
        self.token("metricstoken.secret", rng)
    }

    fn token(&mut self, name: &str, rng: &mut Rng) -> Result<Zeroizing<String>, String> {
        match self.read_secret(name) {
            Ok(Some(text)) if text.trim_ascii().is_empty() => {
                return Err(self.explain(name, &"the file is empty"));
            }
            Ok(Some(text)) => return Ok(Zeroizing::new(text.trim_ascii().to_owned())),
            Ok(None) => {}
            Err(error) => return Err(self.explain(name, &error)),
        }
        let mut token = Zeroizing::new(String::with_capacity(TOKEN_LEN));
        for _ in 0..TOKEN_LEN {
            let n = rng.below(TOKEN_ALPHABET.len() as u32) as usize;
            token.push(TOKEN_ALPHABET.get(n).map_or('0', |&c| char::from(c)));
        }
        // Without a file the token serves this run only, and nobody can read it: that is said by
        // the report of the home's trouble.
        let _ = self.write_secret(name, token.as_bytes());
        Ok(token)
    }

    /// Takes the pid file for this instance, for as long as the result lives.
    pub fn lock(&mut self) -> Result<Option<PidFile>, Fatal> {
        match PidFile::claim(&self.path(PID_FILE), PUBLIC_MODE) {
            Ok(Claim::Ours(file)) => {
                match file.trouble {
                    Some(error) => drop(self.note_trouble(PID_FILE, error)),
                    None => self.forget_trouble(PID_FILE),
                }
                Ok(Some(file))
            }
            Ok(Claim::Theirs(pid)) => {
                let errno = libc::EWOULDBLOCK;
                self.note_trouble(PID_FILE, os::Error { op: &"lock", errno });
                Err(Fatal::new(format_args!(
                    "another instance (pid {}) uses the home directory {}",
                    if pid.is_empty() {
                        "unknown"
                    } else {
                        pid.trim_ascii()
                    },
                    shown(&self.dir)
                )))
            }
            Err(error) => {
                self.note_trouble(PID_FILE, error);
                Ok(None)
            }
        }
    }

    /// The same later on, if it did not work, or not wholly.
    pub(super) fn lock_again(&mut self, held: &mut Option<PidFile>) -> Result<(), Fatal> {
        match held {
            None => *held = self.lock()?,
            Some(file) if file.trouble.is_some() => match file.write() {
                Ok(()) => self.forget_trouble(PID_FILE),
                Err(error) => drop(self.note_trouble(PID_FILE, error)),
            },
            Some(_) => {}
        }
        Ok(())
    }

    /// The bytes of the stored planet, for the caller to judge.
    pub fn stored_planet(&self) -> Result<Option<Vec<u8>>, os::Error> {
        self.read("planet", WORLD_MAX_BYTES)
    }

    /// The stored planet is not ours to replace.
    pub fn keep_planet_file(&mut self) {
        self.planet_is_foreign = true;
    }

    /// Stores the planet in force: one with private roots cannot be learnt again.
    pub fn store_planet(&mut self, bytes: &[u8]) {
        if !self.planet_is_foreign {
            // The reason of a failure is kept in `trouble`.
            let _ = self.write_precious("planet", bytes);
        }
    }

    /// Moons to orbit, by file name: `moons.d/<16 hex>.moon`, a definition, or `.seed`, the
    /// address that will be asked for one.
    pub fn moons(&self, complain: Complain<'_>) -> Vec<(u64, Option<Address>)> {
        let mut moons: Vec<(u64, Option<Address>)> = Vec::new();
        for name in &self.names_in("moons.d", complain) {
            let path = format!("moons.d/{name}");
            let parts = name.split_once('.').and_then(|(id, kind)| {
                let id = NetworkId::parse(id)?.get();
                matches!(kind, "moon" | "seed").then_some((id, kind))
            });
            let Some((id, kind)) = parts else {
                let what = "ignored, the name is not 16 hex digits and .moon";
                self.say(&path, &what, complain);
                continue;
            };
            let mut seed = None;
            if kind == "seed" {
                let text = self.read_text(&path).map(Option::unwrap_or_default);
                let known = text.map(|text| Address::parse(text.trim_ascii()));
                match &known {
                    Ok(Some(address)) => seed = Some(*address),
                    Ok(None) => self.say(&path, &"ignored, this is no address", complain),
                    Err(error) => self.say(&path, error, complain),
                }
                if seed.is_none() {
                    continue;
                }
            }
            match moons.iter_mut().find(|(known, _)| *known == id) {
                Some(entry) => entry.1 = entry.1.or(seed),
                None => moons.push((id, seed)),
            }
        }
        moons
    }

    /// A file in it that failed, and why.
    pub(super) fn explain(&self, name: &str, error: &dyn fmt::Display) -> String {
        explain(&self.path(name), error)
    }

    fn say(&self, name: &str, what: &dyn fmt::Display, complain: Complain<'_>) {
        complain(format_args!("{}: {what}", shown(&self.path(name))));
    }

    /// The stored definition of a moon. A file that holds none is said and left as it is.
    pub fn stored_moon(&self, id: u64, complain: Complain<'_>) -> Option<Vec<u8>> {
        let name = moon_name(id);
        let bytes = self.read_or_say(&name, WORLD_MAX_BYTES, complain)?;
        let fits = WorldBuf::new(&bytes).is_ok_and(|world| {
            let view = world.view();
            view.kind == WorldKind::Moon && view.id == id
        });
        if !fits {
            let what = "ignored, this is no definition of that moon";
            self.say(&name, &what, complain);
        }
        fits.then_some(bytes)
    }

    /// Stores a moon.
    pub fn store_moon(&mut self, id: u64, bytes: &[u8]) -> Result<(), os::Error> {
        self.write_precious(&moon_name(id), bytes)?;
        self.forget_seed(id);
        Ok(())
    }

    /// Notes who is asked for a moon, so that a restart goes on asking (wishes 6).
    pub fn store_seed(&mut self, id: u64, seed: Address) {
        // The reason of a failure is kept in `trouble`.
        let _ = self.write_precious(&seed_name(id), seed.to_string().as_bytes());
    }

    /// The moon is there.
    pub(super) fn forget_seed(&mut self, id: u64) {
        let name = seed_name(id);
        if self.holds(&name) {
            self.remove_precious(&name);
        }
    }

    /// Forgets a moon.
    pub fn forget_moon(&mut self, id: u64) {
        self.remove_precious(&moon_name(id));
        self.remove_precious(&seed_name(id));
    }

    /// Networks to be on: `networks.d/<16 hex>.conf`. `complain` hears of names that look like
    /// somebody meant one.
    pub fn networks(&self, complain: Complain<'_>) -> Vec<NetworkId> {
        let mut networks = Vec::new();
        for name in &self.names_in("networks.d", complain) {
            let stem = name.strip_suffix(".conf");
            let settings = stem.and_then(|stem| stem.strip_suffix(".local"));
            if settings.and_then(NetworkId::parse).is_some() {
                continue;
            }
            match stem.and_then(NetworkId::parse) {
                // The names are sorted, but may differ in the case of their digits.
                Some(id) if !networks.contains(&id) => networks.push(id),
                Some(_) => {}
                None => {
                    let what = match stem {
                        Some(_) => "ignored, the name is not 16 hex digits and .conf",
                        None => "ignored, the name does not end in .conf",
                    };
                    self.say(&format!("networks.d/{name}"), &what, complain);
                }
            }
        }
        networks
    }

    /// Where it is written that this node governs networks, which is not done here.
    pub(super) fn governed(&self) -> Option<PathBuf> {
        // Of 1.0.5 and of 1.14.1.
        let database = self.path("controller.db");
        if file::exists(&database) {
            return Some(database);
        }
        let directory = self.path("controller.d/network");
        let names = file::names_in(&directory).unwrap_or_default();
        let rules = names.iter().any(|name| name.ends_with(".json"));
        rules.then_some(directory)
    }

    /// Notes that a network is joined, before it is (service 6.6).
    pub fn store_join(&mut self, id: NetworkId) -> Result<(), os::Error> {
        let name = conf_name(id);
        if self.holds(&name) {
            return Ok(());
        }
        self.write_precious(&name, b"\n")
    }

    /// The stored configuration of a network, if the file holds any.
    pub(super) fn stored_config(
        &self,
        id: NetworkId,
        max: usize,
        complain: Complain<'_>,
    ) -> Option<Vec<u8>> {
        let name = conf_name(id);
        let stored = self.read_or_say(&name, max, complain);
        // One newline: joined, and nothing came yet.
        stored.filter(|text| text.len() > 1)
    }

    /// Stores the configuration of a network that is joined.
    pub(super) fn store_config(&mut self, id: NetworkId, text: &[u8]) {
        self.write_cache(&conf_name(id), text);
    }

    /// There was no room for its configuration, neither in the home nor in memory.
    pub(super) fn lacks_config(&self, id: NetworkId) -> bool {
        matches!(self.unwritten.wish(&conf_name(id)), Some(Wish::Past))
    }

    /// Names of the records of peers.
    pub(super) fn peers(&self, complain: Complain<'_>) -> Vec<Address> {
        let mut peers = Vec::new();
        for name in &self.names_in("peers.d", complain) {
            let stem = name.strip_suffix(".peer");
            if let Some(address) = stem.and_then(Address::parse) {
                peers.push(address);
            }
        }
        peers
    }

    /// Stores the record of a peer.
    pub(super) fn store_peer(&mut self, name: &str, record: &[u8]) {
        self.write_cache(name, record);
    }

    /// Forgets a network and its settings.
    pub fn forget_network(&mut self, id: NetworkId) {
        self.remove_precious(&conf_name(id));
        self.remove_precious(&settings_name(id));
    }

    /// Settings of a network; defaults where the file says nothing usable.
    pub fn settings(&self, id: NetworkId, complain: Complain<'_>) -> NetworkSettings {
        let name = settings_name(id);
        let bytes = self.read_or_say(&name, settings::FILE_MAX_BYTES, complain);
        let text = bytes.unwrap_or_default();
        NetworkSettings::parse(&String::from_utf8_lossy(&text), |line, text| {
            let what = format_args!("line {line}: not understood: {text}");
            self.say(&name, &what, complain);
        })
    }

    /// Stores the settings of a network.
    pub fn store_settings(
        &mut self,
        id: NetworkId,
        settings: &NetworkSettings,
    ) -> Result<(), os::Error> {
        self.write_precious(&settings_name(id), settings.to_text().as_bytes())
    }

    /// The wanted interface names: lines `<16 hex>=<name>`, the first of a network counts.
    pub fn devicemap(&self, complain: Complain<'_>) -> Vec<(NetworkId, String)> {
        const NAME: &str = "devicemap";
        let bytes = self.read_or_say(NAME, TEXT_MAX_BYTES, complain);
        let bytes = bytes.unwrap_or_default();
        let mut map: Vec<(NetworkId, String)> = Vec::new();
        for (n, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = line.split_once('=').and_then(|(id, name)| {
                let name = name.trim_ascii();
                let id = NetworkId::parse(id.trim_ascii())?;
                is_ifname(name).then(|| (id, name.to_owned()))
            });
            match entry {
                Some((id, name)) if !map.iter().any(|(known, _)| *known == id) => {
                    map.push((id, name));
                }
                Some(_) => {}
                None => {
                    let line = n.saturating_add(1);
                    let what = "ignored, not <network id>=<interface name>";
                    self.say(NAME, &format_args!("line {line}: {what}"), complain);
                }
            }
        }
        map
    }

    fn names_in(&self, directory: &str, complain: Complain<'_>) -> Vec<String> {
        let path = self.path(directory);
        match file::names_in(&path) {
            Ok(names) => names,
            Err(error) => {
                if error.errno != libc::ENOENT || file::is_link(&path) {
                    self.say(directory, &error, complain);
                }
                Vec::new()
            }
        }
    }
}

fn conf_name(id: NetworkId) -> String {
    format!("networks.d/{id}.conf")
}

fn moon_name(id: u64) -> String {
    format!("moons.d/{id:016x}.moon")
}

fn seed_name(id: u64) -> String {
    format!("moons.d/{id:016x}.seed")
}

fn settings_name(id: NetworkId) -> String {
    format!("networks.d/{id}.local.conf")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::os::file::Step;

    /// A home that is deleted when the test ends.
    pub(crate) struct Scratch(pub(crate) Home);

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("zt-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(Home::open(&dir.join("a/b")).expect("a home"))
        }

        pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
            let path = self.0.path(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            let mut file = File::create(path).expect("a file");
            file.write_all(bytes).expect("written");
        }

        pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.0.read(name, 1 << 20).expect("readable")
        }

        fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.0.path(name))
                .expect("a file")
                .permissions()
                .mode()
                & 0o777
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            if let Some(top) = self.0.dir.parent().and_then(Path::parent) {
                let _ = fs::remove_dir_all(top);
            }
        }
    }

    #[test]
    fn equal_content_is_not_written_again() {
        let mut scratch = Scratch::new("same");
        scratch.0.write_cache("planet", b"one");
        let inode = |s: &Scratch| {
            use std::os::unix::fs::MetadataExt as _;
            fs::metadata(s.0.path("planet")).expect("a file").ino()
        };
        let before = inode(&scratch);
        scratch.0.write_cache("planet", b"one");
        assert_eq!(inode(&scratch), before);
        scratch.0.write_cache("planet", b"on");
        assert_eq!(scratch.get("planet").as_deref(), Some(&b"on"[..]));
    }

    #[test]
    fn the_token_is_made_once_and_only_its_owner_reads_it() {
        let mut scratch = Scratch::new("token");
        let mut rng = Rng::new([7; 32]);
        let token = scratch.0.authtoken(&mut rng).expect("a token");
        assert_eq!(token.len(), TOKEN_LEN);
        assert!(token.bytes().all(|b| TOKEN_ALPHABET.contains(&b)));
        assert_eq!(scratch.mode("authtoken.secret"), 0o600);
        assert_eq!(scratch.0.authtoken(&mut rng).as_ref(), Ok(&token));
        scratch.put("authtoken.secret", b"own token \n");
        let token = scratch.0.authtoken(&mut rng).expect("a token");
        assert_eq!(*token, "own token");
        scratch.put("authtoken.secret", b"");
        assert!(scratch.0.authtoken(&mut rng).is_err());
        assert_eq!(scratch.get("authtoken.secret").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn only_sixteen_digits_and_conf_are_networks() {
        let mut scratch = Scratch::new("networks");
        for name in [
            "8056c2e21c000001.conf",
            "8056c2e21c000001.local.conf",
            "ff00160016000000.conf",
            "8056c2e21c00001.conf",
            "0000000000000000.conf",
            "readme",
            ".8056c2e21c000002.conf.new",
        ] {
            scratch.put(&format!("networks.d/{name}"), b"");
        }
        let mut bad = 0;
        let found = scratch.0.networks(&mut |_| bad += 1);
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["8056c2e21c000001", "ff00160016000000"]);
        assert_eq!(bad, 3);
        let id = NetworkId::parse("8056c2e21c000009").expect("an id");
        scratch.0.store_join(id).expect("stored");
        assert_eq!(
            scratch.get("networks.d/8056c2e21c000009.conf").as_deref(),
            Some(&b"\n"[..])
        );
        scratch
            .0
            .store_settings(id, &NetworkSettings::default())
            .expect("stored");
        scratch.0.forget_network(id);
        assert_eq!(scratch.0.networks(&mut ignore).len(), 2);
        assert!(
            scratch
                .get("networks.d/8056c2e21c000009.local.conf")
                .is_none()
        );
    }

    #[test]
    fn a_wanted_moon_is_remembered_by_its_seed_until_it_is_there() {
        let mut scratch = Scratch::new("moons");
        let seed = Address::parse("1122334455").expect("an address");
        scratch.0.store_seed(5, seed);
        scratch.put("moons.d/x.moon", b"");
        let mut bad = 0;
        assert_eq!(scratch.0.moons(&mut |_| bad += 1), [(5, Some(seed))]);
        assert_eq!(bad, 1);
        scratch.0.store_moon(5, b"definition").expect("stored");
        assert_eq!(scratch.0.moons(&mut ignore), [(5, None)]);
        assert_eq!(
            scratch.get("moons.d/0000000000000005.moon").as_deref(),
            Some(&b"definition"[..])
        );
        let mut bad = 0;
        assert_eq!(scratch.0.stored_moon(5, &mut |_| bad += 1), None);
        assert_eq!(scratch.0.stored_moon(6, &mut |_| bad += 10), None);
        assert_eq!(bad, 1, "no moon is no fault");
        scratch.0.forget_moon(5);
        assert_eq!(scratch.0.moons(&mut ignore), []);
    }

    #[test]
    fn devicemap_takes_the_first_line_of_a_network() {
        let scratch = Scratch::new("devicemap");
        scratch.put(
            "devicemap",
            b"8056c2e21c000001=lab0\n8056c2e21c000001=lab1\n\n#x\nnonsense\n1=2\n\
              ff00160016000000=../../etc\n",
        );
        let mut bad = Vec::new();
        let map = scratch.0.devicemap(&mut |text| bad.push(text.to_string()));
        assert_eq!(map.len(), 1);
        assert_eq!(map.first().map(|(_, name)| name.as_str()), Some("lab0"));
        assert_eq!(bad.len(), 3);
    }

    #[test]
    fn one_instance_per_home() {
        let mut scratch = Scratch::new("lock");
        let held = scratch.0.lock().expect("free");
        let Err(refused) = scratch.0.lock() else {
            panic!("locked twice")
        };
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string())
        );
        drop(held);
        assert!(scratch.get("zerotier-one.pid").is_none());
        assert!(scratch.0.lock().is_ok_and(|held| held.is_some()));
    }

    #[test]
    fn trouble_is_told_once_and_forgotten_when_it_ends() {
        let mut scratch = Scratch::new("trouble");
        // A directory where the file should go fails for root too.
        fs::create_dir(scratch.0.path("planet")).expect("a directory");
        scratch.0.write_cache("planet", b"x");
        assert!(
            scratch
                .0
                .take_trouble()
                .is_some_and(|text| text.contains("planet"))
        );
        scratch.0.write_cache("planet", b"x");
        assert!(scratch.0.take_trouble().is_none());
        fs::remove_dir(scratch.0.path("planet")).expect("empty");
        scratch.0.write_cache("planet", b"x");
        assert!(scratch.0.trouble().is_none());
    }

    #[test]
    fn a_planet_that_is_not_ours_stays() {
        let mut scratch = Scratch::new("planet");
        scratch.put("planet", b"garbage");
        scratch.0.keep_planet_file();
        scratch.0.store_planet(b"new");
        assert_eq!(scratch.get("planet").as_deref(), Some(&b"garbage"[..]));
    }

    fn synced() -> Vec<PathBuf> {
        let steps = file::STEPS.with_borrow_mut(std::mem::take);
        let directory = |step| match step {
            Step::SyncDirectory(path) => Some(path),
            _ => None,
        };
        steps.into_iter().filter_map(directory).collect()
    }

    #[test]
    fn what_must_outlive_a_power_cut_is_synced() {
        let mut scratch = Scratch::new("synced");
        let home = &mut scratch.0;
        let top = home.dir().to_owned();
        let networks = top.join("networks.d");
        let moons = top.join("moons.d");
        let id = NetworkId::parse("8056c2e21c000001").expect("an id");
        synced();
        home.store_join(id).expect("stored");
        assert_eq!(synced(), [top.clone(), networks.clone()]);
        home.forget_network(id);
        assert!(home.networks(&mut ignore).is_empty());
        assert_eq!(synced(), [networks], "the settings were not there");
        home.store_moon(1, b"moon").expect("stored");
        assert_eq!(synced(), [top.clone(), moons.clone()]);
        home.forget_moon(1);
        assert_eq!(synced(), [moons]);
        home.store_planet(b"private");
        assert_eq!(synced(), std::slice::from_ref(&top));
        let deep = top.join("a/b");
        Home::open(&deep).expect("made");
        assert_eq!(synced(), [top.clone(), top.join("a")]);
        Home::open(&deep).expect("there");
        assert!(synced().is_empty(), "nothing was made");
    }
}
