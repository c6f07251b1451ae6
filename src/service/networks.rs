//! Network devices: wanted against present (service 7.1, 7.2).
//!
//! One [`Port`] per joined network. It owns the tap, brings MAC, MTU and managed addresses to
//! what the network wants, and reads which multicast groups the system listens to. What fails is
//! kept with its reason (`PORT_ERROR` if there is no tap at all) and tried again every 30 s.
//!
//! Invariant: `applied` is what this program has set and not taken back; addresses that somebody
//! else put on the device are left alone.

use std::os::fd::{AsRawFd as _, RawFd};

use super::log::{Cause, Gate};
use super::settings::{NetworkSettings, Prefix};
use crate::base::{Mac, Mono, NetworkId};
use crate::os::tap::Tap;
use crate::os::{self, netlink};
use crate::wire::derive;
use crate::wire::multicast::Group;

/// Pause between two tries to make a device or to set what was refused.
pub const RETRY_MS: u64 = 30_000;
/// Pause between two looks at the multicast groups without other reason (service 7.1).
pub const GROUPS_MS: u64 = 30_000;
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
    tap: Option<Tap>,
    trouble: Option<Trouble>,
    retry: Option<Mono>,
    applied: Vec<Prefix>,
    mtu: u16,
    groups: Vec<Group>,
    groups_next: Mono,
}

impl Port {
    /// A network without device yet.
    pub fn new(id: NetworkId, settings: NetworkSettings, now: Mono) -> Self {
        Self {
            id,
            settings,
            tap: None,
            trouble: None,
            retry: None,
            applied: Vec::new(),
            mtu: MTU_DEFAULT,
            groups: Vec::new(),
            groups_next: now,
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

    /// Managed addresses that are set.
    pub fn addresses(&self) -> &[Prefix] {
        &self.applied
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
        [self.retry, groups].into_iter().flatten().min()
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
    pub fn lost(&mut self, now: Mono, error: os::Error) {
        let device = self.device().to_owned();
        self.tap = None;
        self.applied.clear();
        self.groups.clear();
        self.trouble = Some(Trouble { error, device });
        self.retry = Some(now);
    }

    /// Brings MTU and addresses to what is wanted. `present`: what is on the device by the
    /// system's own list, if it was read.
    pub fn apply(
        &mut self,
        now: Mono,
        want: &Want,
        present: Option<&[Prefix]>,
        routes: &mut netlink::Control,
        gate: &mut Gate,
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
        // Somebody else removed what we had set: it is set again.
        if let Some(present) = present {
            self.applied.retain(|p| present.contains(p));
        }
        let wanted = allowed(&self.settings, &want.addresses);
        let (remove, add) = difference(&self.applied, &wanted);
        for prefix in remove {
            match routes.remove_address(tap.index(), prefix.ip, prefix.bits) {
                Ok(()) => self.applied.retain(|p| *p != prefix),
                Err(error) => failed = Some((format!("removing {prefix}"), error)),
            }
        }
        for prefix in add {
            match routes.add_address(tap.index(), prefix.ip, prefix.bits) {
                Ok(()) => self.applied.push(prefix),
                Err(error) => failed = Some((format!("address {prefix}"), error)),
            }
        }
        self.applied.sort_unstable_by_key(|p| (p.ip, p.bits));
        self.retry = failed.is_some().then(|| now.after(RETRY_MS));
        match failed {
            Some((what, error)) => gate.warn(
                now,
                Cause::Address,
                self.id.get(),
                format_args!("network {}: {what} on {}: {error}", self.id, tap.name()),
            ),
            None => gate.over(Cause::Address, self.id.get()),
        }
    }

    /// New settings; the device is made anew if its name is another. `true`: it is gone.
    pub fn change(&mut self, now: Mono, settings: NetworkSettings) -> bool {
        let renamed = self.settings.ifname != settings.ifname;
        self.settings = settings;
        if renamed {
            self.tap = None;
            self.applied.clear();
            self.groups.clear();
            self.retry = Some(now);
        }
        renamed
    }

    /// Looks again at the groups as soon as possible.
    pub fn groups_may_have_changed(&mut self, now: Mono) {
        self.groups_next = now;
    }

    /// Reads the groups if that is due. `true`: they are others than before.
    pub fn read_groups(&mut self, now: Mono) -> bool {
        let Some(tap) = &self.tap else { return false };
        if self.groups_next > now {
            return false;
        }
        self.groups_next = now.after(GROUPS_MS);
        let mut macs = Vec::new();
        if tap.multicast_groups(&mut macs).is_err() {
            return false;
        }
        let groups = collect_groups(&macs, &self.applied);
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
    for name in names(id, settings, mapped) {
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
            op: "name",
            errno: libc::EBUSY,
        },
    ));
    Err(Trouble { error, device })
}

fn names<'a>(
    id: NetworkId,
    settings: &'a NetworkSettings,
    mapped: Option<&'a str>,
) -> impl Iterator<Item = String> + 'a {
    let chosen = settings.ifname.as_deref().or(mapped).map(str::to_owned);
    let computed = (0..NAME_TRIALS).map(move |n| derive::device_name(id, n).as_str().to_owned());
    chosen.into_iter().chain(computed)
}

/// The addresses that the settings let through, each once.
fn allowed(settings: &NetworkSettings, addresses: &[Prefix]) -> Vec<Prefix> {
    let mut all: Vec<Prefix> = addresses
        .iter()
        .copied()
        .filter(|p| settings.allows(p))
        .collect();
    all.sort_unstable_by_key(|p| (p.ip, core::cmp::Reverse(p.bits)));
    // The same address with two prefixes: the wider one reaches more members.
    all.reverse();
    all.dedup_by_key(|p| p.ip);
    all.reverse();
    all
}

/// What to remove and what to add, in this order: the same address cannot be on a device with
/// two prefixes.
fn difference(applied: &[Prefix], wanted: &[Prefix]) -> (Vec<Prefix>, Vec<Prefix>) {
    let missing = |from: &[Prefix], all: &[Prefix]| -> Vec<Prefix> {
        all.iter().copied().filter(|p| !from.contains(p)).collect()
    };
    (missing(wanted, applied), missing(applied, wanted))
}

/// What the device listens to, and the group of each managed address (service 7.1).
fn collect_groups(macs: &[Mac], addresses: &[Prefix]) -> Vec<Group> {
    let listened = macs
        .iter()
        .filter(|mac| mac.is_multicast())
        .take(GROUPS_MAX)
        .map(|&mac| Group { mac, adi: 0 });
    let mut groups: Vec<Group> = listened
        .chain(addresses.iter().map(|p| derive::group_of_ip(p.ip)))
        .collect();
    groups.sort_unstable();
    groups.dedup();
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
    fn only_the_difference_is_touched_and_removal_comes_first() {
        let applied = prefixes(&["10.1.0.1/24", "fd00::1/88"]);
        let wanted = prefixes(&["10.1.0.1/16", "fd00::1/88"]);
        assert_eq!(
            difference(&applied, &wanted),
            (prefixes(&["10.1.0.1/24"]), prefixes(&["10.1.0.1/16"]))
        );
        assert_eq!(difference(&wanted, &wanted), (vec![], vec![]));
    }

    #[test]
    fn an_address_comes_once_and_only_if_allowed() {
        let settings = NetworkSettings::default();
        let all = prefixes(&["10.1.0.1/24", "10.1.0.1/16", "8.8.8.8/24", "fd00::1/88"]);
        assert_eq!(
            allowed(&settings, &all),
            prefixes(&["10.1.0.1/16", "fd00::1/88"])
        );
    }

    #[test]
    fn the_chosen_name_comes_first_then_the_computed_ones() {
        let id = NetworkId::parse("08e81158d081fdcb").expect("an id");
        let mut settings = NetworkSettings::default();
        let first = |settings: &NetworkSettings, mapped| {
            names(id, settings, mapped).take(2).collect::<Vec<_>>()
        };
        assert_eq!(first(&settings, None), ["ztka4jbji3", "ztka4jbji4"]);
        assert_eq!(first(&settings, Some("lab0")), ["lab0", "ztka4jbji3"]);
        settings.set("ifname", "own0").expect("known key");
        assert_eq!(first(&settings, Some("lab0")), ["own0", "ztka4jbji3"]);
    }

    #[test]
    fn groups_are_those_of_the_device_and_of_the_addresses() {
        let all = Mac::new([0x33, 0x33, 0, 0, 0, 1]);
        let unicast = Mac::new([2, 0, 0, 0, 0, 1]);
        let groups = collect_groups(&[all, unicast, all], &prefixes(&["10.147.17.11/24"]));
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
