//! Network devices: wanted against present (service 7.1, 7.2).
//!
//! One [`Port`] per joined network. It owns the tap, brings MAC, MTU, managed addresses and routes
//! to what the network wants, and reads which multicast groups the system listens to. What fails
//! is kept with its reason (`PORT_ERROR` if there is no tap at all) and tried again every 30 s.

use std::os::fd::{AsRawFd as _, RawFd};

use super::log::{self, Cause, Gate};
use super::route_set::{RouteSet, Seen, System, Tell};
use super::routes::{Around, Managed, State, plan};
use super::settings::{NetworkSettings, Prefix};
use crate::base::{Mac, Mono, NetworkId, sorted};
use crate::os;
use crate::os::netlink::Rule;
use crate::os::tap::Tap;
use crate::wire::derive;
use crate::wire::multicast::Group;

/// Pause between two tries to make a device or to set what was refused.
pub const RETRY_MS: u64 = 30_000;
/// Pause between two looks at the multicast groups without other reason (service 7.1).
pub const GROUPS_MS: u64 = 30_000;
/// Shortest pause between two looks: members of a bridged segment report all the time.
const GROUPS_PAUSE_MS: u64 = 500;
/// MTU until the network says otherwise (network 2.3).
pub const MTU_DEFAULT: u16 = 2800;
/// Computed names tried.
const NAME_TRIALS: u32 = 64;
/// Groups read from one device; the node keeps fewer.
const GROUPS_MAX: usize = 4096;

/// What a network wants of its device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// MAC of this member.
    pub mac: Mac,
    /// MTU of the network.
    pub mtu: u16,
    /// Managed addresses.
    pub addresses: Vec<Prefix>,
    /// Managed routes.
    pub routes: Vec<Managed>,
}

/// Why there is no working device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// The call that failed.
    pub error: os::Error,
    /// The name that was tried.
    pub device: String,
}

/// A network's device.
#[derive(Debug)]
pub struct Port {
    /// The network.
    pub id: NetworkId,
    /// Its settings.
    pub settings: NetworkSettings,
    /// Of two networks with the same subnet the one with the lower number has it.
    pub(super) order: u32,
    tap: Option<Tap>,
    trouble: Option<Trouble>,
    retry: Option<Mono>,
    set: RouteSet,
    rules: Vec<Rule>,
    mtu: u16,
    groups: Vec<Group>,
    groups_next: Mono,
    groups_read: Option<Mono>,
}

impl Port {
    /// A network without device yet.
    pub(super) fn new(id: NetworkId, settings: NetworkSettings, order: u32, now: Mono) -> Self {
        Self {
            id,
            settings,
            order,
            tap: None,
            trouble: None,
            retry: None,
            set: RouteSet::default(),
            rules: Vec::new(),
            mtu: MTU_DEFAULT,
            groups: Vec::new(),
            groups_next: now,
            groups_read: None,
        }
    }

    /// The device.
    pub fn tap(&self) -> Option<&Tap> {
        self.tap.as_ref()
    }

    /// Name of the device; empty without one.
    pub fn device(&self) -> &str {
        self.tap.as_ref().map_or("", Tap::name)
    }

    /// What to wait on.
    pub fn fd(&self) -> Option<RawFd> {
        self.tap.as_ref().map(Tap::as_raw_fd)
    }

    /// Why there is no device.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Why a managed address is not set; `Ok`: it is.
    pub fn judge_address(&self, prefix: &Prefix) -> Result<(), State> {
        let Err(errno) = self.set.has_address(prefix) else {
            return Ok(());
        };
        Err(match (self.settings.judge(prefix), errno) {
            (Err(why), _) => State::NotAllowed(why),
            (Ok(()), Some(errno)) => State::Failed(errno),
            (Ok(()), None) if self.tap.is_none() => State::NoDevice,
            // With another prefix, or beyond what a network may have.
            (Ok(()), None) if self.set.addresses().any(|p| p.ip == prefix.ip) => State::Duplicate,
            (Ok(()), None) => State::TooMany,
        })
    }

    /// What became of managed route number `n`.
    pub fn route_state(&self, n: usize, managed: &Managed) -> State {
        self.set.state(n, managed).unwrap_or(State::NoDevice)
    }

    /// Adds the subnets that are on the link of its device.
    pub(super) fn add_connected(&self, subnets: &mut Vec<Prefix>) {
        self.set.add_connected(subnets);
    }

    /// Rules that the network wants.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// MTU of the device.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Groups that the system listens to, as last read.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// When something here is due although nothing changed.
    pub fn next_deadline(&self) -> Option<Mono> {
        let groups = self.tap.is_some().then_some(self.groups_next);
        Mono::first(self.retry, groups)
    }

    /// The retry pause is over.
    pub fn is_due(&self, now: Mono) -> bool {
        self.retry.is_some_and(|at| at <= now)
    }

    /// Makes the device if there is none. `true`: there is a new one, to be waited on.
    pub fn open(&mut self, now: Mono, want: &Want, mapped: Option<&str>, gate: &mut Gate) -> bool {
        if self.tap.is_some() {
            return false;
        }
        match make(
            self.id,
            want,
            self.limit_mtu(want.mtu),
            &self.settings,
            mapped,
        ) {
            Ok(tap) => {
                log::info!("network {}: device {}", self.id, tap.name());
                self.tap = Some(tap);
                self.mtu = self.limit_mtu(want.mtu);
                self.trouble = None;
                self.retry = None;
                self.groups_next = now;
                gate.over(Cause::Tap, self.id.get());
                true
            }
            Err(trouble) => {
                gate.warn(
                    now,
                    Cause::Tap,
                    self.id.get(),
                    format_args!(
                        "network {}: no device {}: {}; trying again",
                        self.id, trouble.device, trouble.error
                    ),
                );
                self.trouble = Some(trouble);
                self.retry = Some(now.after(RETRY_MS));
                false
            }
        }
    }

    /// The device is broken or somebody deleted it: it is made again at once, then every 30 s.
    pub(super) fn lost(&mut self, now: Mono, error: os::Error, tell: Tell<'_>) {
        let device = self.device().to_owned();
        self.close(tell);
        self.trouble = Some(Trouble { error, device });
        self.retry = Some(now);
    }

    /// Lets go of the device, and with it of everything that is on it.
    pub(super) fn close(&mut self, tell: Tell<'_>) {
        self.tap = None;
        self.set.clear(tell);
        self.rules.clear();
        self.groups.clear();
    }

    /// Brings MTU, addresses and routes to what is wanted. `seen`: what there is by the system's
    /// own lists, if they were read.
    pub(super) fn apply(
        &mut self,
        now: Mono,
        want: &Want,
        around: &Around<'_>,
        seen: Option<&Seen<'_>>,
        system: &mut impl System,
        gate: &mut Gate,
        tell: Tell<'_>,
    ) {
        let mtu = self.limit_mtu(want.mtu);
        let Some(tap) = &self.tap else { return };
        let mut failed = None;
        if mtu != self.mtu {
            match tap.set_mtu(mtu) {
                Ok(()) => self.mtu = mtu,
                Err(error) => failed = Some((format!("MTU {mtu}"), error)),
            }
        }
        let plan = plan(
            tap.index(),
            &want.addresses,
            &want.routes,
            &self.settings,
            around,
        );
        let index = tap.index();
        let trouble = self
            .set
            .apply(index, &plan, &want.routes, seen, system, tell);
        self.rules = plan.rules;
        let failed = failed.or(trouble);
        let again = failed.is_some() || self.set.wants_retry();
        self.retry = again.then(|| now.after(RETRY_MS));
        match failed {
            Some((what, error)) => gate.warn(
                now,
                Cause::Address,
                self.id.get(),
                format_args!("network {}: {what} on {}: {error}", self.id, tap.name()),
            ),
            None => gate.over(Cause::Address, self.id.get()),
        }
        // A default route that is allowed and not set is a disappointment: the log says why.
        let Some(hint) = plan.states.iter().find_map(|state| state.hint()) else {
            return gate.over(Cause::Route, self.id.get());
        };
        gate.warn(
            now,
            Cause::Route,
            self.id.get(),
            format_args!("network {}: default route not set: {hint}", self.id),
        );
    }

    /// A rule of this network was refused.
    pub(super) fn try_rules_again(&mut self, now: Mono) {
        if !self.rules.is_empty() {
            self.retry.get_or_insert(now.after(RETRY_MS));
        }
    }

    /// New settings; the device is made anew if its name is another. `true`: it is gone.
    pub(super) fn change(&mut self, now: Mono, settings: NetworkSettings, tell: Tell<'_>) -> bool {
        let renamed = self.settings.ifname != settings.ifname;
        self.settings = settings;
        if renamed {
            self.close(tell);
            self.retry = Some(now);
        }
        renamed
    }

    /// Looks again at the groups as soon as possible.
    pub fn groups_may_have_changed(&mut self, now: Mono) {
        let earliest = self.groups_read.map(|at| at.after(GROUPS_PAUSE_MS));
        self.groups_next = earliest.map_or(now, |at| at.max(now)).min(self.groups_next);
    }

    /// Reads the groups if that is due. `true`: they are others than before.
    pub fn read_groups(&mut self, now: Mono) -> bool {
        let Some(tap) = &self.tap else { return false };
        if self.groups_next > now {
            return false;
        }
        self.groups_next = now.after(GROUPS_MS);
        self.groups_read = Some(now);
        let mut macs = Vec::new();
        if tap.multicast_groups(&mut macs).is_err() {
            return false;
        }
        let groups = collect_groups(&macs, self.set.addresses());
        if groups == self.groups {
            return false;
        }
        self.groups = groups;
        true
    }

    fn limit_mtu(&self, mtu: u16) -> u16 {
        self.settings.mtu.map_or(mtu, |limit| limit.min(mtu))
    }
}

/// A tap under the wanted name, else under the first computed one that is free.
fn make(
    id: NetworkId,
    want: &Want,
    mtu: u16,
    settings: &NetworkSettings,
    mapped: Option<&str>,
) -> Result<Tap, Trouble> {
    let mut refused = None;
    let mut n = 0;
    while let Some(name) = name(id, settings, mapped, n) {
        n += 1;
        match Tap::open(&name, want.mac, mtu) {
            Ok(tap) => {
                if let Some((taken, error)) = refused {
                    log::warn!(
                        "network {id}: the name {taken} cannot be used ({error}), using {}",
                        tap.name()
                    );
                }
                return Ok(tap);
            }
            // Only a name in use makes another name worth a try.
            Err(error) if error.errno == libc::EBUSY || error.errno == libc::EEXIST => {
                if refused.is_none() {
                    refused = Some((name, error));
                }
            }
            Err(error) => {
                return Err(Trouble {
                    error,
                    device: name,
                });
            }
        }
    }
    let (device, error) = refused.unwrap_or((
        String::new(),
        os::Error {
            op: &"name",
            errno: libc::EBUSY,
        },
    ));
    Err(Trouble { error, device })
}

/// The name that is tried when `n` others were in use: the chosen one, then those that are computed.
fn name(id: NetworkId, settings: &NetworkSettings, mapped: Option<&str>, n: u32) -> Option<String> {
    let chosen = settings.ifname.as_deref().or(mapped);
    match (chosen, n) {
        (Some(name), 0) => Some(name.to_owned()),
        (chosen, n) => {
            let n = n - u32::from(chosen.is_some());
            (n < NAME_TRIALS).then(|| derive::device_name(id, n).as_str().to_owned())
        }
    }
}

/// The system tells the network that it listens to a group (IGMP, MLD): that is when the list of
/// groups changed. `ethernet` is a frame from the tap.
pub(super) fn is_membership_report(ethernet: &[u8]) -> bool {
    const IGMP: u8 = 2;
    const HOP_BY_HOP: u8 = 0;
    const ICMPV6: u8 = 58;
    let at = |n: usize| ethernet.get(n).copied();
    match (at(12), at(13)) {
        (Some(0x08), Some(0x00)) => at(14 + 9) == Some(IGMP),
        // MLD always comes behind a router alert option of eight bytes (RFC 3810, 5).
        (Some(0x86), Some(0xdd)) => {
            at(14 + 6) == Some(HOP_BY_HOP)
                && at(14 + 40) == Some(ICMPV6)
                && matches!(at(14 + 48), Some(131 | 132 | 143))
        }
        _ => false,
    }
}

/// What the device listens to, and the group of each managed address (service 7.1).
fn collect_groups(macs: &[Mac], addresses: impl Iterator<Item = Prefix>) -> Vec<Group> {
    let listened = macs
        .iter()
        .filter(|mac| mac.is_multicast())
        .take(GROUPS_MAX)
        .map(|&mac| Group { mac, adi: 0 });
    let mut groups = Vec::new();
    for group in listened.chain(addresses.map(|p| derive::group_of_ip(p.ip))) {
        sorted::insert(&mut groups, group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(all: &[&str]) -> Vec<Prefix> {
        all.iter()
            .map(|text| Prefix::parse(text).expect("a prefix"))
            .collect()
    }

    #[test]
    fn the_chosen_name_comes_first_then_the_computed_ones() {
        let id = NetworkId::parse("08e81158d081fdcb").expect("an id");
        let mut settings = NetworkSettings::default();
        let first = |settings: &NetworkSettings, mapped| {
            [0, 1].map(|n| name(id, settings, mapped, n).expect("a name"))
        };
        assert_eq!(first(&settings, None), ["ztka4jbji3", "ztka4jbji4"]);
        assert_eq!(first(&settings, Some("lab0")), ["lab0", "ztka4jbji3"]);
        settings.set("ifname", "own0").expect("known key");
        assert_eq!(first(&settings, Some("lab0")), ["own0", "ztka4jbji3"]);
    }

    #[test]
    fn a_membership_report_is_known_by_a_few_bytes() {
        // What Linux sends when a group is joined: IGMPv3, IGMPv2, MLDv2, MLDv1.
        let frame = |kind: &[u8], at: usize, tail: &[u8]| {
            let mut frame = vec![0x11; at];
            frame[12..14].copy_from_slice(kind);
            frame.extend_from_slice(tail);
            frame
        };
        let v4 = |protocol: u8| {
            let mut frame = frame(&[0x08, 0], 14, &[0x46, 0xc0, 0, 40, 0, 0, 0x40, 0, 1]);
            frame.push(protocol);
            frame.resize(54, 0);
            frame
        };
        let v6 = |next: u8, inner: u8, kind: u8| {
            let mut frame = frame(&[0x86, 0xdd], 14, &[0x60, 0, 0, 0, 0, 36]);
            frame.push(next);
            frame.resize(14 + 40, 0);
            frame.extend_from_slice(&[inner, 0, 5, 2, 0, 0, 1, 0, kind, 0, 0, 0]);
            frame
        };
        for report in [v4(2), v6(0, 58, 143), v6(0, 58, 131), v6(0, 58, 132)] {
            assert!(is_membership_report(&report), "{report:02x?}");
            let needed = if report.len() == 54 { 23 } else { 62 };
            for cut in 0..=needed {
                let part = report.get(..cut).expect("a part");
                assert!(!is_membership_report(part), "{cut}");
            }
        }
        // UDP, a neighbour solicitation, an echo with a router alert, TCP behind options.
        for other in [v4(17), v6(58, 135, 0), v6(0, 58, 128), v6(0, 6, 143)] {
            assert!(!is_membership_report(&other), "{other:02x?}");
        }
        let arp = frame(&[0x08, 0x06], 14, &[2; 40]);
        assert!(!is_membership_report(&arp));
    }

    #[test]
    fn a_look_at_the_groups_is_hurried_but_not_without_end() {
        let now = Mono::from_ms(1 << 40);
        let id = NetworkId::parse("08e81158d081fdcb").expect("an id");
        let mut port = Port::new(id, NetworkSettings::default(), 0, now);
        port.groups_read = Some(now);
        port.groups_next = now.after(GROUPS_MS);
        port.groups_may_have_changed(now.after(1));
        assert_eq!(port.groups_next, now.after(GROUPS_PAUSE_MS));
        // A second report does not put it off.
        port.groups_may_have_changed(now.after(GROUPS_PAUSE_MS * 2));
        assert_eq!(port.groups_next, now.after(GROUPS_PAUSE_MS));
        port.groups_next = now.after(GROUPS_MS);
        port.groups_may_have_changed(now.after(GROUPS_PAUSE_MS * 2));
        assert_eq!(port.groups_next, now.after(GROUPS_PAUSE_MS * 2));
    }

    #[test]
    fn groups_are_those_of_the_device_and_of_the_addresses() {
        let all = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
        let unicast = Mac::new([2, 0, 0, 0, 0, 1]);
        let addresses = prefixes(&["10.147.17.11/24"]).into_iter();
        let groups = collect_groups(&[all, unicast, all], addresses);
        assert_eq!(
            groups,
            [
                Group { mac: all, adi: 0 },
                Group {
                    mac: Mac::BROADCAST,
                    adi: 0x0a93_110b
                }
            ]
        );
    }
}
