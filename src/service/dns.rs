//! Names that networks push (service 7.6, wishes 53): told to the first of the machine's resolvers
//! that is there, for the network's own domain alone where that resolver can.
//!
//! 1. dnsmasq as OpenWrt runs it: a file in its `conf-dir` in RAM, and a restart, because it reads
//!    servers there at start only (SIGHUP is for its hosts).
//! 2. systemd-resolved: `resolvectl dns` and `resolvectl domain` for the device.
//! 3. `resolvconf -a` with the device.
//! 4. Else nothing but the `dns` event on the control socket, for who does it himself (netifd).
//!
//! Everything comes from a controller: the domain has to be a host name and the servers unicast
//! addresses before they get anywhere. No shell is started and nothing is waited for: one program
//! at a time, looked after at deadlines, ended when it takes too long.
//!
//! Bounds: [`JOBS_MAX`] programs wait, filled by changes of configurations; beyond that the
//! network is shown as failed.
//!
//! A crash leaves files in RAM: they name the home directory, and the next start removes them.

use core::fmt::Write as _;
use core::net::IpAddr;
use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::base::{Mono, NetworkId};
use crate::os::file;

#[cfg(test)]
mod tests;

/// Programs that wait for their turn.
pub(crate) const JOBS_MAX: usize = 64;
/// Pause between two looks at a program that runs.
const LOOK_MS: u64 = 50;
/// After this a program is ended.
const PATIENCE_MS: u64 = 20_000;
/// Shortest pause after a failure; configurations that are confirmed lead to the next try.
const RETRY_MS: u64 = 30_000;
/// Longest host name, and longest label of one.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// Write permission of others: who may lay links in a directory decides what we write.
const OTHERS_WRITE: u32 = 0o022;
const FILE_MODE: u32 = 0o644;
const FILE_MAX_BYTES: usize = 4096;

/// Where the machine's resolvers are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// `conf-dir`s of dnsmasq in RAM.
    pub(crate) dnsmasq_dirs: Vec<PathBuf>,
    /// What restarts dnsmasq.
    pub(crate) dnsmasq_script: Option<PathBuf>,
    /// systemd-resolved runs, and this talks to it.
    pub(crate) resolvectl: Option<PathBuf>,
    /// `resolvconf`.
    pub(crate) resolvconf: Option<PathBuf>,
}

impl Places {
    /// What this machine has now.
    pub(crate) fn of_system() -> Self {
        let script = PathBuf::from("/etc/init.d/dnsmasq");
        let script = script.is_file().then_some(script);
        let resolved = Path::new("/run/systemd/resolve/io.systemd.Resolve").exists();
        Self {
            dnsmasq_dirs: if script.is_some() {
                dnsmasq_dirs(&["/tmp", "/var/run", "/run"])
            } else {
                Vec::new()
            },
            dnsmasq_script: script,
            resolvectl: program("resolvectl").filter(|_| resolved),
            resolvconf: program("resolvconf"),
        }
    }
}

/// Directories `dnsmasq.d` and `dnsmasq.cfg….d` that belong to us alone.
fn dnsmasq_dirs(parents: &[&str]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for parent in parents {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let of_instance = name.starts_with("dnsmasq.cfg") && name.ends_with(".d");
            if (name == "dnsmasq.d" || of_instance) && is_ours(&entry.path()) {
                all.push(entry.path());
            }
        }
    }
    // /var/run and /run are often the same.
    let mut seen = Vec::new();
    all.retain(|dir| {
        let place = fs::metadata(dir).map(|m| (m.dev(), m.ino())).ok();
        let is_new = !seen.contains(&place);
        seen.push(place);
        is_new
    });
    all.sort_unstable();
    all
}

/// A directory, no link, that nobody else may write to.
fn is_ours(dir: &Path) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(dir).is_ok_and(|m| {
        m.is_dir() && (m.uid() == me || m.uid() == 0) && m.mode() & OTHERS_WRITE == 0
    })
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

/// Who was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hook {
    Dnsmasq,
    Resolvectl,
    Resolvconf,
    /// Who listens to events.
    Event,
}

/// What became of what a network pushes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It pushes nothing.
    Nothing,
    /// The settings do not let it through.
    NotAllowed,
    /// There is no device.
    NoDevice,
    /// The domain is no host name.
    BadDomain,
    /// No server is an address to ask.
    BadServers,
    /// This one knows.
    Told(Hook),
    /// This one could not be told.
    Failed(Hook),
}

impl State {
    /// In one word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::NotAllowed => "not-allowed",
            Self::NoDevice => "no-device",
            Self::BadDomain => "bad-domain",
            Self::BadServers => "bad-servers",
            Self::Told(Hook::Dnsmasq) => "dnsmasq",
            Self::Told(Hook::Resolvectl) => "resolvectl",
            Self::Told(Hook::Resolvconf) => "resolvconf",
            Self::Told(Hook::Event) => "event",
            Self::Failed(_) => "failed",
        }
    }
}

/// What a network pushes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Pushed {
    pub(crate) domain: String,
    pub(crate) servers: Vec<IpAddr>,
}

/// What is worth telling: every part has been looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wish {
    device: String,
    domain: String,
    servers: Vec<IpAddr>,
}

#[derive(Debug)]
struct Entry {
    id: NetworkId,
    pushed: Pushed,
    wish: Option<Wish>,
    state: State,
    failed: Option<Mono>,
}

/// A program to run.
#[derive(Debug)]
struct Job {
    id: NetworkId,
    hook: Hook,
    program: PathBuf,
    arguments: Vec<String>,
    input: String,
}

#[derive(Debug)]
struct Running {
    id: NetworkId,
    hook: Hook,
    child: Child,
    look: Mono,
    end: Mono,
}

/// The machine's resolvers.
pub(crate) struct Resolver {
    find: Box<dyn Fn() -> Places>,
    /// As they were when the first of the present wishes was told.
    places: Places,
    /// First line of our files.
    mark: String,
    entries: Vec<Entry>,
    jobs: VecDeque<Job>,
    running: Option<Running>,
    /// Whose state changed although nobody asked for it. At most one entry per network.
    changed: Vec<NetworkId>,
}

impl Resolver {
    /// Nobody is told anything yet. What an earlier run from the same home left is removed.
    pub(crate) fn new(find: Box<dyn Fn() -> Places>, home: &Path) -> Self {
        let resolver = Self {
            places: find(),
            find,
            mark: format!("# zerotier-one {}\n", home.display()),
            entries: Vec::new(),
            jobs: VecDeque::new(),
            running: None,
            changed: Vec::new(),
        };
        resolver.clean();
        resolver
    }

    fn clean(&self) {
        for dir in &self.places.dnsmasq_dirs {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let is_one = name.to_string_lossy().starts_with(FILE_PREFIX);
                let text = file::read_bounded(&entry.path(), FILE_MAX_BYTES);
                if is_one && text.is_ok_and(|text| text.starts_with(self.mark.as_bytes())) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    /// What became of what a network pushes.
    pub(crate) fn state(&self, id: NetworkId) -> State {
        let entry = self.entries.iter().find(|e| e.id == id);
        entry.map_or(State::Nothing, |e| e.state)
    }

    /// What a network pushes and whether it may. `true`: something is different from before.
    pub(crate) fn set(
        &mut self,
        now: Mono,
        id: NetworkId,
        device: &str,
        allowed: bool,
        pushed: Pushed,
    ) -> bool {
        // At boot a resolver may come after us.
        if self.entries.iter().all(|e| e.wish.is_none()) && !pushed.servers.is_empty() {
            self.places = (self.find)();
        }
        let (wish, state) = match judge(device, allowed, &pushed) {
            Ok(wish) => (Some(wish), State::Told(self.hook())),
            Err(state) => (None, state),
        };
        let held = self.entries.iter().position(|e| e.id == id);
        let Some(entry) = held.and_then(|n| self.entries.get_mut(n)) else {
            if state == State::Nothing {
                return false;
            }
            self.entries.push(Entry {
                id,
                pushed,
                wish: wish.clone(),
                state,
                failed: None,
            });
            if let Some(wish) = wish {
                self.tell(now, id, &wish);
            }
            return true;
        };
        let old = entry.wish.take();
        let changed =
            old != wish || entry.pushed != pushed || wish.is_none() && entry.state != state;
        entry.wish.clone_from(&wish);
        entry.pushed = pushed;
        let again = entry.failed.is_some_and(|at| at.after(RETRY_MS) <= now);
        if old == wish && wish.is_some() && !again {
            return changed;
        }
        entry.state = state;
        entry.failed = None;
        if let Some(old) = &old
            && (wish.is_none() || wish.as_ref().is_some_and(|w| w.device != old.device))
        {
            self.revert(now, id, old);
        }
        if let Some(wish) = &wish {
            self.tell(now, id, wish);
        } else if state == State::Nothing {
            self.entries.retain(|e| e.id != id);
        }
        changed || again
    }

    /// The network was left. `true`: something was in force.
    pub(crate) fn forget(&mut self, now: Mono, id: NetworkId) -> bool {
        self.set(now, id, "", false, Pushed::default())
    }

    /// A network whose state changed since it was set.
    pub(crate) fn take_changed(&mut self) -> Option<NetworkId> {
        self.changed.pop()
    }

    /// When [`Self::work`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.running.as_ref().map(|running| running.look)
    }

    /// Looks after the program that runs.
    pub(crate) fn work(&mut self, now: Mono) {
        let Some(running) = &mut self.running else {
            return;
        };
        let ended = match running.child.try_wait() {
            Ok(Some(status)) => Some(status.success()),
            Ok(None) if running.end <= now => {
                log::warn!(
                    "network {}: {} takes too long and is ended",
                    running.id,
                    State::Told(running.hook).name()
                );
                let _ = running.child.kill();
                // It is dead: this does not wait.
                let _ = running.child.wait();
                Some(false)
            }
            Ok(None) => None,
            Err(_) => Some(false),
        };
        let Some(succeeded) = ended else {
            running.look = now.after(LOOK_MS);
            return;
        };
        let (id, hook) = (running.id, running.hook);
        self.running = None;
        if !succeeded {
            self.failed(now, id, hook);
        }
        self.start_next(now);
    }

    /// The end: everything is taken back as far as that needs no waiting.
    pub(crate) fn finish(&mut self, now: Mono) {
        self.jobs.clear();
        let entries = core::mem::take(&mut self.entries);
        for entry in &entries {
            if let Some(wish) = &entry.wish {
                self.revert(now, entry.id, wish);
            }
        }
        // What is left is started at once; the system looks after it when we are gone.
        while let Some(job) = self.jobs.pop_front() {
            let _ = spawn(&job);
        }
    }

    fn hook(&self) -> Hook {
        let Places {
            dnsmasq_dirs,
            dnsmasq_script,
            resolvectl,
            resolvconf,
        } = &self.places;
        if !dnsmasq_dirs.is_empty() && dnsmasq_script.is_some() {
            Hook::Dnsmasq
        } else if resolvectl.is_some() {
            Hook::Resolvectl
        } else if resolvconf.is_some() {
            Hook::Resolvconf
        } else {
            Hook::Event
        }
    }

    fn tell(&mut self, now: Mono, id: NetworkId, wish: &Wish) {
        let device = wish.device.clone();
        match self.hook() {
            Hook::Dnsmasq => {
                let mut text = self.mark.clone();
                // Writing to a String cannot fail.
                for server in &wish.servers {
                    let _ = writeln!(text, "server=/{}/{server}", wish.domain);
                }
                let _ = writeln!(text, "rebind-domain-ok=/{}/", wish.domain);
                let mut done = Ok(());
                for dir in &self.places.dnsmasq_dirs {
                    let path = dir.join(file_name(id));
                    done = done.and(file::write_cache(&path, text.as_bytes(), FILE_MODE));
                }
                if let Err(error) = done {
                    log::warn!("network {id}: names for dnsmasq: {error}");
                    self.failed(now, id, Hook::Dnsmasq);
                    return;
                }
                self.restart_dnsmasq(now, id);
            }
            Hook::Resolvectl => {
                let servers = wish.servers.iter().map(ToString::to_string);
                let mut dns = vec!["dns".to_owned(), device.clone()];
                dns.extend(servers);
                self.resolvectl(now, id, dns);
                let domain = format!("~{}", wish.domain);
                self.resolvectl(now, id, vec!["domain".to_owned(), device, domain]);
            }
            Hook::Resolvconf => {
                let mut input = String::new();
                for server in &wish.servers {
                    let _ = writeln!(input, "nameserver {server}");
                }
                let _ = writeln!(input, "search {}", wish.domain);
                self.resolvconf(now, id, "-a", device, input);
            }
            Hook::Event => {}
        }
    }

    fn revert(&mut self, now: Mono, id: NetworkId, wish: &Wish) {
        let device = wish.device.clone();
        match self.hook() {
            Hook::Dnsmasq => {
                for dir in &self.places.dnsmasq_dirs {
                    let _ = fs::remove_file(dir.join(file_name(id)));
                }
                self.restart_dnsmasq(now, id);
            }
            Hook::Resolvectl => self.resolvectl(now, id, vec!["revert".to_owned(), device]),
            Hook::Resolvconf => self.resolvconf(now, id, "-d", device, String::new()),
            Hook::Event => {}
        }
    }

    fn restart_dnsmasq(&mut self, now: Mono, id: NetworkId) {
        // One that waits reads what is in the directory by then.
        if self.jobs.iter().any(|job| job.hook == Hook::Dnsmasq) {
            return;
        }
        if let Some(script) = self.places.dnsmasq_script.clone() {
            let restart = vec!["restart".to_owned()];
            self.push(now, id, Hook::Dnsmasq, script, restart, String::new());
        }
    }

    fn resolvectl(&mut self, now: Mono, id: NetworkId, arguments: Vec<String>) {
        if let Some(program) = self.places.resolvectl.clone() {
            self.push(now, id, Hook::Resolvectl, program, arguments, String::new());
        }
    }

    fn resolvconf(&mut self, now: Mono, id: NetworkId, verb: &str, device: String, input: String) {
        if let Some(program) = self.places.resolvconf.clone() {
            let arguments = vec![verb.to_owned(), device];
            self.push(now, id, Hook::Resolvconf, program, arguments, input);
        }
    }

    fn push(
        &mut self,
        now: Mono,
        id: NetworkId,
        hook: Hook,
        program: PathBuf,
        arguments: Vec<String>,
        input: String,
    ) {
        if self.jobs.len() >= JOBS_MAX {
            self.failed(now, id, hook);
            return;
        }
        self.jobs.push_back(Job {
            id,
            hook,
            program,
            arguments,
            input,
        });
        if self.running.is_none() {
            self.start_next(now);
        }
    }

    fn start_next(&mut self, now: Mono) {
        while let Some(job) = self.jobs.pop_front() {
            match spawn(&job) {
                Ok(child) => {
                    self.running = Some(Running {
                        id: job.id,
                        hook: job.hook,
                        child,
                        look: now.after(LOOK_MS),
                        end: now.after(PATIENCE_MS),
                    });
                    return;
                }
                Err(error) => {
                    log::warn!("network {}: {}: {error}", job.id, job.program.display());
                    self.failed(now, job.id, job.hook);
                }
            }
        }
    }

    fn failed(&mut self, now: Mono, id: NetworkId, hook: Hook) {
        let entry = self.entries.iter_mut().find(|e| e.id == id);
        if let Some(entry) = entry.filter(|e| e.wish.is_some()) {
            log::warn!(
                "network {id}: its names could not be given to {}",
                State::Told(hook).name()
            );
            entry.state = State::Failed(hook);
            entry.failed = Some(now);
            if !self.changed.contains(&id) {
                self.changed.push(id);
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // A program that still runs ends by itself; nobody here waits for it.
        if let Some(running) = &mut self.running {
            let _ = running.child.try_wait();
        }
    }
}

const FILE_PREFIX: &str = "zerotier-";

fn file_name(id: NetworkId) -> String {
    format!("{FILE_PREFIX}{id}.conf")
}

/// Starts a program without shell, environment and terminal.
fn spawn(job: &Job) -> std::io::Result<Child> {
    let input = if job.input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = Command::new(&job.program)
        .args(&job.arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // A pipe takes some hundred bytes without a reader.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(job.input.as_bytes());
    }
    Ok(child)
}

fn judge(device: &str, allowed: bool, pushed: &Pushed) -> Result<Wish, State> {
    if pushed.domain.is_empty() && pushed.servers.is_empty() {
        return Err(State::Nothing);
    }
    if !allowed {
        return Err(State::NotAllowed);
    }
    // Without a domain every name of the machine would be asked for there.
    let domain = host_name(&pushed.domain).ok_or(State::BadDomain)?;
    let servers: Vec<IpAddr> = pushed.servers.iter().copied().filter(is_server).collect();
    if servers.is_empty() {
        return Err(State::BadServers);
    }
    if device.is_empty() {
        return Err(State::NoDevice);
    }
    Ok(Wish {
        device: device.to_owned(),
        domain: domain.to_owned(),
        servers,
    })
}

/// A valid host name, without the dot at its end.
fn host_name(text: &str) -> Option<&str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty()
            && label.len() <= LABEL_MAX
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= NAME_MAX && name.split('.').all(is_label)).then_some(name)
}

/// One machine that can be asked from here.
fn is_server(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            !(first == 0 || first >= 224 || v4.is_loopback() || v4.is_link_local())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some())
        }
    }
}
