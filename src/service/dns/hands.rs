//! What tells the machine's resolvers: files and programs, one at a time.

use core::fmt::Write as _;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::sys::stat::{FileStat, SFlag};

use super::{Hook, Wish};
use crate::base::{Mono, NetworkId};
use crate::os::file::{self, Look};
use crate::os::program::Program;
use crate::os::{self, shown};

/// Programs that wait for their turn.
pub(super) const JOBS_MAX: usize = 64;
/// Networks whose names are known to a resolver: as many as a node may join.
const TOLD_MAX: usize = 64;
/// Pause between two looks at a program that runs.
const LOOK_MS: u64 = 50;
/// After this a program is ended.
pub(super) const PATIENCE_MS: u64 = 20_000;
/// Write permission of others: who may lay links in a directory decides what we write.
const OTHERS_WRITE: libc::mode_t = 0o022;
const FILE_MODE: u32 = 0o644;
const FILE_MAX_BYTES: usize = 4096;

/// Where the machine's resolvers are.
#[derive(Clone, Debug, Default)]
pub(in crate::service) struct Places {
    /// `conf-dir`s of dnsmasq in RAM.
    pub(in crate::service) dnsmasq_dirs: Vec<PathBuf>,
    /// What restarts dnsmasq.
    pub(in crate::service) dnsmasq_script: Option<PathBuf>,
    /// systemd-resolved runs, and this talks to it.
    pub(in crate::service) resolvectl: Option<PathBuf>,
    /// `resolvconf`.
    pub(in crate::service) resolvconf: Option<PathBuf>,
}

impl Places {
    /// What this machine has now.
    pub(in crate::service) fn of_system() -> Self {
        let script = PathBuf::from("/etc/init.d/dnsmasq");
        let script = file::is_regular(&script).then_some(script);
        let resolved = file::exists(Path::new("/run/systemd/resolve/io.systemd.Resolve"));
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

    /// The first that is there.
    pub(in crate::service) fn hook(&self) -> Hook {
        if !self.dnsmasq_dirs.is_empty() && self.dnsmasq_script.is_some() {
            Hook::Dnsmasq
        } else if self.resolvectl.is_some() {
            Hook::Resolvectl
        } else if self.resolvconf.is_some() {
            Hook::Resolvconf
        } else {
            Hook::Event
        }
    }
}

/// Directories `dnsmasq.d` and `dnsmasq.cfg….d` that belong to us alone.
pub(super) fn dnsmasq_dirs(parents: &[&str]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    // /var/run and /run are often the same.
    let mut seen = Vec::new();
    for parent in parents {
        let parent = Path::new(parent);
        for name in &file::names_in(parent).unwrap_or_default() {
            let of_instance = name.starts_with("dnsmasq.cfg") && name.ends_with(".d");
            if name != "dnsmasq.d" && !of_instance {
                continue;
            }
            let dir = parent.join(name);
            if let Some(place) = place_of_ours(&dir)
                && !seen.iter().any(|before| file::is_same(before, &place))
            {
                seen.push(place);
                all.push(dir);
            }
        }
    }
    all
}

/// A directory, no link, that nobody else may write to.
fn place_of_ours(dir: &Path) -> Option<FileStat> {
    let me = nix::unistd::geteuid().as_raw();
    let seen = file::look(dir, Look::Itself).ok()?;
    let is_ours = seen.st_uid == me || seen.st_uid == 0;
    let is_safe = file::is(&seen, SFlag::S_IFDIR) && seen.st_mode & OTHERS_WRITE == 0;
    (is_ours && is_safe).then_some(seen)
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| file::is_regular(path))
}

/// Something to be done for a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::service) struct Order {
    pub(super) id: NetworkId,
    pub(super) verb: Verb,
    pub(super) hook: Hook,
    pub(super) wish: Rc<Wish>,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::service) enum Verb {
    Tell,
    Revert,
}

/// Something was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::service) struct Failed {
    /// `None`: nothing that was asked for can be relied on.
    pub(super) id: Option<NetworkId>,
    pub(super) hook: Hook,
    pub(super) reason: String,
}

/// Who does what the resolvers have to hear.
pub(in crate::service) trait Hands {
    /// The home is ours alone: what an earlier run from it left is removed.
    fn begin(&mut self);
    /// They can do something.
    fn are_there(&self) -> bool {
        true
    }
    /// Does it, now or later.
    fn take(&mut self, now: Mono, order: Order);
    /// What was not done since the last call.
    fn failed(&mut self) -> Option<Failed>;
    /// Takes everything back as far as that needs no waiting.
    fn finish(&mut self, now: Mono);
}

/// A program to run.
#[derive(Debug)]
struct Job {
    id: NetworkId,
    hook: Hook,
    program: PathBuf,
    /// Words with a blank between: none of them holds one.
    arguments: String,
    input: String,
}

impl Job {
    fn start(&self) -> Result<Program, os::Error> {
        Program::start(&self.program, &self.arguments, &self.input)
    }
}

#[derive(Debug)]
pub(super) struct Running {
    id: NetworkId,
    hook: Hook,
    program: Program,
    look: Mono,
    end: Mono,
}

/// Does it itself.
pub(in crate::service) struct Worker {
    find: Box<dyn Fn() -> Places>,
    /// As they were when the first of the present wishes was told.
    pub(super) places: Places,
    /// First line of our files.
    mark: String,
    /// What is in force. ≤ [`TOLD_MAX`].
    told: Vec<(NetworkId, Hook, Rc<Wish>)>,
    /// ≤ [`JOBS_MAX`].
    jobs: VecDeque<Job>,
    pub(super) running: Option<Running>,
    /// Taken by the caller of whatever adds to it.
    failed: VecDeque<Failed>,
}

impl Hands for Worker {
    fn begin(&mut self) {
        for dir in &self.places.dnsmasq_dirs {
            for name in &file::names_in(dir).unwrap_or_default() {
                if !name.starts_with(FILE_PREFIX) {
                    continue;
                }
                let path = dir.join(name);
                let text = file::read_bounded(&path, FILE_MAX_BYTES);
                if text.is_ok_and(|text| text.starts_with(self.mark.as_bytes())) {
                    let _ = file::remove_cache(&path);
                }
            }
        }
    }

    fn take(&mut self, now: Mono, order: Order) {
        // At boot a resolver may come after us.
        if self.told.is_empty() {
            self.places = (self.find)();
        }
        let Order {
            id,
            verb,
            hook,
            wish,
        } = order;
        let known = self.told.iter().position(|told| told.0 == id);
        let before = known.map(|n| self.told.swap_remove(n));
        match (verb, before) {
            (Verb::Tell, _) if self.told.len() >= TOLD_MAX => {
                self.fail(id, hook, "too many networks");
            }
            (Verb::Tell, _) => {
                self.tell(now, id, hook, &wish);
                self.told.push((id, hook, wish));
            }
            // Whoever was told, whatever is there by now.
            (Verb::Revert, Some((id, hook, wish))) => self.revert(now, id, hook, &wish),
            (Verb::Revert, None) => {}
        }
    }

    fn failed(&mut self) -> Option<Failed> {
        self.failed.pop_front()
    }

    fn finish(&mut self, now: Mono) {
        self.jobs.clear();
        for (id, hook, wish) in core::mem::take(&mut self.told) {
            self.revert(now, id, hook, &wish);
        }
        // What is left is started at once; the system looks after it when we are gone.
        while let Some(job) = self.jobs.pop_front() {
            let _ = job.start();
        }
    }
}

impl Worker {
    /// Nobody is told anything yet.
    pub(in crate::service) fn new(find: Box<dyn Fn() -> Places>, home: &Path) -> Self {
        Self {
            places: find(),
            find,
            mark: format!("# zerotier-one {}\n", shown(&home)),
            told: Vec::new(),
            jobs: VecDeque::new(),
            running: None,
            failed: VecDeque::new(),
        }
    }

    /// When [`Self::work`] wants to be called.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.running.as_ref().map(|running| running.look)
    }

    /// Looks after the program that runs.
    pub(super) fn work(&mut self, now: Mono) {
        let Some(running) = &mut self.running else {
            return;
        };
        let ended = match running.program.ended() {
            Ok(Some(status)) if status.is_success() => Ok(()),
            Ok(Some(status)) => Err(status.to_string()),
            Ok(None) if running.end <= now => {
                running.program.kill();
                Err("it took too long".to_owned())
            }
            Ok(None) => {
                running.look = now.after(LOOK_MS);
                return;
            }
            Err(error) => Err(error.to_string()),
        };
        let (id, hook) = (running.id, running.hook);
        self.running = None;
        if let Err(reason) = ended {
            self.fail(id, hook, &reason);
        }
        self.start_next(now);
    }

    fn tell(&mut self, now: Mono, id: NetworkId, hook: Hook, wish: &Wish) {
        let device = &wish.device;
        match hook {
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
                match done {
                    Ok(()) => self.restart_dnsmasq(now, id),
                    Err(error) => self.fail(id, Hook::Dnsmasq, &error.to_string()),
                }
            }
            Hook::Resolvectl => {
                let mut dns = format!("dns {device}");
                for server in &wish.servers {
                    let _ = write!(dns, " {server}");
                }
                self.push(now, id, hook, dns, String::new());
                let domain = format!("domain {device} ~{}", wish.domain);
                self.push(now, id, hook, domain, String::new());
            }
            Hook::Resolvconf => {
                let mut input = String::new();
                for server in &wish.servers {
                    let _ = writeln!(input, "nameserver {server}");
                }
                let _ = writeln!(input, "search {}", wish.domain);
                self.push(now, id, hook, format!("-a {device}"), input);
            }
            Hook::Event => {}
        }
    }

    fn revert(&mut self, now: Mono, id: NetworkId, hook: Hook, wish: &Wish) {
        let device = &wish.device;
        match hook {
            Hook::Dnsmasq => {
                for dir in &self.places.dnsmasq_dirs {
                    let _ = file::remove_cache(&dir.join(file_name(id)));
                }
                self.restart_dnsmasq(now, id);
            }
            Hook::Resolvectl => self.push(now, id, hook, format!("revert {device}"), String::new()),
            Hook::Resolvconf => self.push(now, id, hook, format!("-d {device}"), String::new()),
            Hook::Event => {}
        }
    }

    fn restart_dnsmasq(&mut self, now: Mono, id: NetworkId) {
        // One that waits reads what is in the directory by then.
        if self.jobs.iter().any(|job| job.hook == Hook::Dnsmasq) {
            return;
        }
        let restart = "restart".to_owned();
        self.push(now, id, Hook::Dnsmasq, restart, String::new());
    }

    fn push(&mut self, now: Mono, id: NetworkId, hook: Hook, arguments: String, input: String) {
        let program = match hook {
            Hook::Dnsmasq => &self.places.dnsmasq_script,
            Hook::Resolvectl => &self.places.resolvectl,
            Hook::Resolvconf => &self.places.resolvconf,
            Hook::Event => &None,
        };
        let Some(program) = program.clone() else {
            self.fail(id, hook, "it is not there");
            return;
        };
        if self.jobs.len() >= JOBS_MAX {
            self.fail(id, hook, "too much to do");
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
            match job.start() {
                Ok(program) => {
                    self.running = Some(Running {
                        id: job.id,
                        hook: job.hook,
                        program,
                        look: now.after(LOOK_MS),
                        end: now.after(PATIENCE_MS),
                    });
                    return;
                }
                Err(error) => {
                    let reason = format!("{}: {error}", shown(&job.program));
                    self.fail(job.id, job.hook, &reason);
                }
            }
        }
    }

    fn fail(&mut self, id: NetworkId, hook: Hook, reason: &str) {
        self.failed.push_back(Failed {
            id: Some(id),
            hook,
            reason: reason.to_owned(),
        });
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.jobs.len()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A program that still runs ends by itself; nobody here waits for it.
        if let Some(running) = &mut self.running {
            let _ = running.program.ended();
        }
    }
}

const FILE_PREFIX: &str = "zerotier-";

fn file_name(id: NetworkId) -> String {
    format!("{FILE_PREFIX}{id}.conf")
}
