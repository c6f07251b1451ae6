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
//! All of it needs rights that the daemon has given up by then, so the hands are in a process of
//! their own (`helper`). When the daemon ends, in whatever way, they take back what they told.
//! What both leave, if both are killed, are files in RAM: they name the home directory, and the
//! next start removes them.
//!
//! Bounds: a number of programs may wait, filled by changes of configurations; beyond that the
//! network is shown as failed.

use core::net::IpAddr;
use std::rc::Rc;

use self::hands::{Failed, Order, Verb};
pub(super) use self::hands::{Hands, Places};
pub(super) use self::helper::Far;
use super::log;
use crate::base::sorted::take_out;
use crate::base::{Mono, NetworkId};

mod hands;
mod helper;
#[cfg(test)]
mod tests;

/// Shortest pause after a failure; configurations that are confirmed lead to the next try.
const RETRY_MS: u64 = 30_000;
/// Longest host name, and longest label of one.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Who was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hook {
    Dnsmasq,
    Resolvectl,
    Resolvconf,
    /// Who listens to events.
    Event,
}

impl Hook {
    const ALL: [Self; 4] = [
        Self::Dnsmasq,
        Self::Resolvectl,
        Self::Resolvconf,
        Self::Event,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Dnsmasq => "dnsmasq",
            Self::Resolvectl => "resolvectl",
            Self::Resolvconf => "resolvconf",
            Self::Event => "event",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|hook| hook.name() == name)
    }
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
    /// Who should know could not be told.
    Failed,
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
            Self::Told(hook) => hook.name(),
            Self::Failed => "failed",
        }
    }
}

/// What a network pushes.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pushed<'a> {
    pub(crate) domain: &'a str,
    pub(crate) servers: &'a [IpAddr],
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
    domain: String,
    servers: Vec<IpAddr>,
    wish: Option<Rc<Wish>>,
    state: State,
    failed: Option<Mono>,
}

impl Entry {
    const fn new(id: NetworkId) -> Self {
        Self {
            id,
            domain: String::new(),
            servers: Vec::new(),
            wish: None,
            state: State::Nothing,
            failed: None,
        }
    }
}

/// The machine's resolvers.
pub(crate) struct Resolver<H> {
    find: Box<dyn Fn() -> Hook>,
    /// Who was there when the first of the present wishes was told.
    hook: Hook,
    hands: H,
    entries: Vec<Entry>,
    /// Whose state changed although nobody asked for it. At most one entry per network.
    changed: Vec<NetworkId>,
}

impl<H: Hands> Resolver<H> {
    /// Nobody is told anything yet. To be called when the home is ours.
    pub(crate) fn new(find: Box<dyn Fn() -> Hook>, mut hands: H) -> Self {
        hands.begin();
        Self {
            hook: find(),
            find,
            hands,
            entries: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// Who tells them.
    pub(crate) const fn hands(&self) -> &H {
        &self.hands
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
        pushed: Pushed<'_>,
    ) -> bool {
        // At boot a resolver may come after us.
        if self.entries.iter().all(|e| e.wish.is_none()) && !pushed.servers.is_empty() {
            self.hook = (self.find)();
        }
        let (wish, state) = match judge(device, allowed, pushed) {
            Ok(wish) => (Some(Rc::new(wish)), State::Told(self.hook)),
            Err(state) => (None, state),
        };
        let held = self.entries.iter().position(|e| e.id == id);
        if held.is_none() && state == State::Nothing {
            return false;
        }
        let at = held.unwrap_or_else(|| {
            self.entries.push(Entry::new(id));
            self.entries.len().saturating_sub(1)
        });
        let Some(entry) = self.entries.get_mut(at) else {
            return false;
        };
        let old = entry.wish.take();
        let is_same = old == wish;
        let changed = !is_same
            || entry.domain != pushed.domain
            || entry.servers != pushed.servers
            || wish.is_none() && entry.state != state;
        entry.wish.clone_from(&wish);
        pushed.domain.clone_into(&mut entry.domain);
        pushed.servers.clone_into(&mut entry.servers);
        let again = entry.failed.is_some_and(|at| at.after(RETRY_MS) <= now);
        let again = again && self.hands.are_there();
        if is_same && wish.is_some() && !again {
            return changed;
        }
        entry.state = state;
        entry.failed = None;
        if let Some(old) = old
            && wish.as_ref().is_none_or(|w| w.device != old.device)
        {
            self.order(now, id, Verb::Revert, old);
        }
        if let Some(wish) = wish {
            self.order(now, id, Verb::Tell, wish);
        } else if state == State::Nothing {
            take_out(&mut self.entries, &mut |e| e.id == id);
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

    /// Hears what was not done.
    pub(crate) fn listen(&mut self, now: Mono) {
        while let Some(failed) = self.hands.failed() {
            self.failed(now, &failed);
        }
    }

    /// The end: everything is taken back as far as that needs no waiting.
    pub(crate) fn finish(&mut self, now: Mono) {
        self.entries.clear();
        self.hands.finish(now);
    }

    fn order(&mut self, now: Mono, id: NetworkId, verb: Verb, wish: Rc<Wish>) {
        let hook = self.hook;
        // For those who listen to events there is nothing to do.
        if verb == Verb::Tell && hook == Hook::Event {
            return;
        }
        let order = Order {
            id,
            verb,
            hook,
            wish,
        };
        self.hands.take(now, order);
        self.listen(now);
    }

    fn failed(&mut self, now: Mono, failed: &Failed) {
        let Failed { id, hook, reason } = failed;
        let of = |entry: &&mut Entry| entry.wish.is_some() && id.is_none_or(|id| id == entry.id);
        for entry in self.entries.iter_mut().filter(of) {
            let (id, hook) = (entry.id, State::Told(*hook).name());
            log::warn!("network {id}: its names could not be given to {hook}: {reason}");
            entry.state = State::Failed;
            entry.failed = Some(now);
            if !self.changed.contains(&id) {
                self.changed.push(id);
            }
        }
    }
}

fn judge(device: &str, allowed: bool, pushed: Pushed<'_>) -> Result<Wish, State> {
    if pushed.domain.is_empty() && pushed.servers.is_empty() {
        return Err(State::Nothing);
    }
    if !allowed {
        return Err(State::NotAllowed);
    }
    // Without a domain every name of the machine would be asked for there.
    let domain = host_name(pushed.domain).ok_or(State::BadDomain)?;
    let mut servers = Vec::new();
    for ip in pushed.servers {
        if is_server(ip) {
            servers.push(*ip);
        }
    }
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
