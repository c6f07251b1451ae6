//! Underlay sockets follow the interfaces (service 7.3, node 5.6, wishes 11).
//!
//! One UDP socket per usable local address, bound to its device. What is wanted is worked out
//! from the addresses that the machine has; the difference to what is open is applied at once,
//! and what cannot be bound is tried again after 1, 2, 4 … 30 s, for ever.
//!
//! Invariants: ids are below `capacity`; an id is told up before down, and down before it is
//! used again; no address has two sockets.
//!
//! Generic over the socket, so that the tests need none.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::Mono;
use crate::base::sorted::take_out;
use crate::node::underlay::PhysicalNet;
use crate::node::{LinkChange, SocketId};
use crate::os;
use crate::os::netlink::Address;
use crate::wire::inet::{Scope, scope};

/// First and longest pause between two tries to bind.
const RETRY_MIN_MS: u64 = 1_000;
const RETRY_MAX_MS: u64 = 30_000;

/// Interfaces that are no underlay unless their address is asked for: loopback and tunnels, ours
/// among them. A tunnel under a tunnel under itself is the usual loop (wishes 42).
const EXCLUDED: [&str; 4] = ["lo", "zt", "tun", "tap"];

/// A socket to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Where to bind.
    pub local: SocketAddr,
    /// To which device; empty for a wildcard.
    pub device: String,
    /// The number of that device: one that comes back under its name is another.
    pub index: u32,
}

/// What the owner says of sockets (service 3.3).
#[derive(Clone, Copy, Default, Debug)]
pub struct Choice<'a> {
    /// Each address gets one socket per port.
    pub ports: &'a [u16],
    /// These addresses, and no others; empty: what the interfaces have.
    pub bind: &'a [IpAddr],
    /// No interface whose name begins so.
    pub prefixes: &'a [String],
    /// No address in those of these nets that are blacklisted.
    pub physical: &'a [PhysicalNet],
}

impl Choice<'_> {
    fn is_blocked(&self, ip: IpAddr) -> bool {
        let blacklisted = |p: &PhysicalNet| p.blacklist && p.net.contains(ip);
        self.physical.iter().any(blacklisted)
    }

    fn takes(&self, c: &Address) -> bool {
        if !c.up || !c.running || c.tentative || self.is_blocked(c.ip) {
            return false;
        }
        if !self.bind.is_empty() {
            return self.bind.contains(&c.ip);
        }
        let begins = |prefix: &str| c.device.starts_with(prefix);
        !c.temporary
            && !c.tap
            && matches!(
                scope(c.ip),
                Scope::Global | Scope::Shared | Scope::Private | Scope::PseudoPrivate
            )
            && !EXCLUDED.iter().any(|prefix| begins(prefix))
            && !self.prefixes.iter().any(|prefix| begins(prefix))
    }
}

/// The sockets to have on these addresses, in a stable order. `is_own_tap` knows our taps by
/// name.
pub fn wanted(
    candidates: &[Address],
    choice: &Choice<'_>,
    is_own_tap: &dyn Fn(&str) -> bool,
) -> Vec<Wanted> {
    let mut all = Vec::new();
    for ip in choice.bind.iter().filter(|ip| ip.is_unspecified()) {
        add(&mut all, choice.ports, *ip, "", 0);
    }
    for c in candidates {
        if choice.takes(c) && !is_own_tap(&c.device) {
            add(&mut all, choice.ports, c.ip, &c.device, c.index);
        }
    }
    all
}

/// One socket per family and port, for when nothing better is known.
pub(super) fn wildcards(ports: &[u16]) -> Vec<Wanted> {
    let mut all = Vec::new();
    for ip in &[
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        add(&mut all, ports, *ip, "", 0);
    }
    all
}

/// Adds the sockets of one address in their places.
fn add(all: &mut Vec<Wanted>, ports: &[u16], ip: IpAddr, device: &str, index: u32) {
    for port in ports {
        let local = SocketAddr::new(ip, *port);
        let at = all.iter().take_while(|known| known.local < local).count();
        let wanted = Wanted {
            local,
            device: device.to_owned(),
            index,
        };
        match all.get_mut(at) {
            // The same address on two interfaces: the first by name has it.
            Some(known) if known.local == local => {
                if (device, index) < (&known.device, known.index) {
                    *known = wanted;
                }
            }
            _ => all.insert(at, wanted),
        }
    }
}
/// An open socket.
#[derive(Debug)]
pub struct Link<S> {
    /// The socket.
    pub socket: S,
    /// What it serves.
    pub wanted: Wanted,
}

/// A socket that could not be opened.
#[derive(Debug)]
pub struct Failed {
    /// What was wanted.
    pub wanted: Wanted,
    /// Why it failed.
    pub error: os::Error,
    pause_ms: u64,
    next: Mono,
}

/// All underlay sockets.
#[derive(Debug)]
pub struct Links<S> {
    links: Vec<Option<Link<S>>>,
    failed: Vec<Failed>,
}

impl<S> Links<S> {
    /// None yet, at most `capacity`.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::from(u16::MAX));
        let mut links = Vec::with_capacity(capacity);
        for _ in 0..capacity {
            links.push(None);
        }
        Self {
            links,
            failed: Vec::new(),
        }
    }

    /// Sockets that may be open at once.
    pub fn capacity(&self) -> usize {
        self.links.len()
    }

    /// The socket with this id.
    pub fn get(&self, id: SocketId) -> Option<&Link<S>> {
        self.links.get(usize::from(id.0))?.as_ref()
    }

    /// The socket with this id.
    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut Link<S>> {
        self.links.get_mut(usize::from(id.0))?.as_mut()
    }

    /// Open sockets.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &Link<S>)> {
        self.links
            .iter()
            .zip(0u16..)
            .filter_map(|(link, n)| link.as_ref().map(|link| (SocketId(n), link)))
    }

    /// What could not be opened, and why.
    pub fn failed(&self) -> &[Failed] {
        &self.failed
    }

    /// Nothing is open.
    pub fn is_empty(&self) -> bool {
        self.links.iter().all(Option::is_none)
    }

    /// When [`Self::apply`] wants to be called again although nothing changed.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.failed.iter().map(|f| f.next).min()
    }

    /// Closes what is not wanted any more and opens what is. What failed before is tried when
    /// its pause is over. `bind` opens a socket under its id; `close` has it for the last time;
    /// `report` hears of every change, in order.
    pub fn apply(
        &mut self,
        now: Mono,
        wanted: &[Wanted],
        mut bind: impl FnMut(SocketId, &Wanted) -> Result<S, os::Error>,
        mut close: impl FnMut(SocketId, S),
        mut report: impl FnMut(LinkChange),
    ) {
        for (slot, n) in self.links.iter_mut().zip(0u16..) {
            if let Some(link) = slot.take_if(|link| !wanted.contains(&link.wanted)) {
                report(LinkChange::SocketDown {
                    socket: SocketId(n),
                });
                close(SocketId(n), link.socket);
            }
        }
        take_out(&mut self.failed, &mut |f| !wanted.contains(&f.wanted));
        for want in wanted {
            if self.links.iter().flatten().any(|link| link.wanted == *want) {
                continue;
            }
            let known = self.failed.iter().position(|f| f.wanted == *want);
            if known
                .and_then(|n| self.failed.get(n))
                .is_some_and(|f| f.next > now)
            {
                continue;
            }
            let Some((slot, n)) = self.links.iter_mut().zip(0u16..).find(|(s, _)| s.is_none())
            else {
                break;
            };
            match bind(SocketId(n), want) {
                Ok(socket) => {
                    *slot = Some(Link {
                        socket,
                        wanted: want.clone(),
                    });
                    if let Some(known) = known {
                        self.failed.swap_remove(known);
                    }
                    report(LinkChange::SocketUp {
                        socket: SocketId(n),
                        local: want.local,
                    });
                }
                Err(error) => self.put_off(now, known, want, error),
            }
        }
    }

    /// The machine's view changed: what failed may work now.
    pub fn hurry(&mut self, now: Mono) {
        for failed in &mut self.failed {
            failed.next = now;
        }
    }

    /// A socket that the system has broken: it is opened anew by the next [`Self::apply`].
    pub fn take(&mut self, id: SocketId) -> Option<Link<S>> {
        self.links.get_mut(usize::from(id.0))?.take()
    }

    fn put_off(&mut self, now: Mono, known: Option<usize>, want: &Wanted, error: os::Error) {
        if let Some(failed) = known.and_then(|n| self.failed.get_mut(n)) {
            failed.pause_ms = failed.pause_ms.saturating_mul(2).min(RETRY_MAX_MS);
            failed.next = now.after(failed.pause_ms);
            failed.error = error;
        } else {
            self.failed.push(Failed {
                wanted: want.clone(),
                error,
                pause_ms: RETRY_MIN_MS,
                next: now.after(RETRY_MIN_MS),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::network::IpNet;

    const BUSY: os::Error = os::Error {
        op: &"bind",
        errno: libc::EADDRINUSE,
    };

    fn candidate(ip: &str, device: &str) -> Address {
        Address {
            ip: ip.parse().expect("an address"),
            bits: 24,
            device: device.to_owned(),
            index: 1,
            up: true,
            running: true,
            tap: false,
            temporary: false,
            tentative: false,
        }
    }

    fn want(local: &str) -> Wanted {
        Wanted {
            local: local.parse().expect("an address"),
            device: "eth0".to_owned(),
            index: 1,
        }
    }

    /// Runs `apply` with sockets that are strings; those in `busy` fail.
    fn apply(
        links: &mut Links<String>,
        now: Mono,
        wanted: &[Wanted],
        busy: &[&str],
    ) -> Vec<LinkChange> {
        let mut changes = Vec::new();
        links.apply(
            now,
            wanted,
            |_, w| {
                let local = w.local.to_string();
                if busy.contains(&local.as_str()) {
                    Err(BUSY)
                } else {
                    Ok(local)
                }
            },
            |_, _| {},
            |change| changes.push(change),
        );
        changes
    }

    fn up(n: u16, local: &str) -> LinkChange {
        LinkChange::SocketUp {
            socket: SocketId(n),
            local: local.parse().expect("an address"),
        }
    }

    #[test]
    fn only_addresses_that_reach_others_get_a_socket() {
        let mut temporary = candidate("2001:db8::99", "eth0");
        temporary.temporary = true;
        let mut tentative = candidate("2001:db8::98", "eth0");
        tentative.tentative = true;
        let mut foreign = candidate("10.147.19.10", "corp");
        foreign.tap = true;
        let mut down = candidate("192.0.2.7", "eth9");
        down.running = false;
        let all = [
            candidate("127.0.0.1", "lo"),
            candidate("192.168.1.1", "br-lan"),
            candidate("192.168.1.1", "wlan0"),
            candidate("100.64.3.4", "wwan0"),
            candidate("fe80::1", "eth0"),
            candidate("169.254.7.7", "eth0"),
            candidate("2001:db8::1", "eth0"),
            candidate("10.9.8.7", "tun0"),
            candidate("10.147.17.10", "ztka4jbji3"),
            candidate("10.147.18.10", "lab0"),
            candidate("100.64.9.9", "ppp0"),
            candidate("10.66.0.2", "wg0"),
            foreign,
            temporary,
            tentative,
            down,
        ];
        let found = |choice: Choice<'_>| -> Vec<String> {
            let found = wanted(&all, &choice, &|name| name == "lab0");
            let found = found.iter().map(|w| format!("{} {}", w.local, w.device));
            found.collect()
        };
        let usual = Choice {
            ports: &[9993],
            ..Choice::default()
        };
        assert_eq!(
            found(usual),
            [
                "10.66.0.2:9993 wg0",
                "100.64.3.4:9993 wwan0",
                "100.64.9.9:9993 ppp0",
                "192.168.1.1:9993 br-lan",
                "[2001:db8::1]:9993 eth0"
            ]
        );
        let less = Choice {
            prefixes: &["br-".to_owned(), "wg".to_owned()],
            physical: &[PhysicalNet {
                net: IpNet {
                    ip: IpAddr::from([100, 64, 9, 0]),
                    bits: 24,
                },
                blacklist: true,
                trusted_path_id: 0,
                mtu: 0,
            }],
            ..usual
        };
        assert_eq!(
            found(less),
            [
                "100.64.3.4:9993 wwan0",
                "192.168.1.1:9993 wlan0",
                "[2001:db8::1]:9993 eth0"
            ]
        );
        // What is asked for by address is taken wherever it is, but for our own networks.
        let named = ["10.9.8.7", "10.147.18.10", "192.0.2.7", "::", "192.168.1.1"];
        let named = named.map(|ip| ip.parse().expect("an address"));
        let chosen = Choice {
            ports: &[1, 2],
            bind: &named,
            ..less
        };
        assert_eq!(
            found(chosen),
            [
                "10.9.8.7:1 tun0",
                "10.9.8.7:2 tun0",
                "192.168.1.1:1 br-lan",
                "192.168.1.1:2 br-lan",
                "[::]:1 ",
                "[::]:2 "
            ]
        );
    }

    #[test]
    fn sockets_follow_the_addresses() {
        let mut links = Links::new(4);
        let t = Mono::from_ms(1 << 40);
        let (a, b) = (want("192.0.2.1:9993"), want("192.0.2.2:9993"));
        assert_eq!(
            apply(&mut links, t, &[a.clone(), b.clone()], &[]),
            [up(0, "192.0.2.1:9993"), up(1, "192.0.2.2:9993")]
        );
        assert_eq!(apply(&mut links, t, &[a.clone(), b.clone()], &[]), []);
        let c = want("192.0.2.3:9993");
        assert_eq!(
            apply(&mut links, t, &[b, c], &[]),
            [
                LinkChange::SocketDown {
                    socket: SocketId(0)
                },
                up(0, "192.0.2.3:9993")
            ]
        );
        assert_eq!(links.iter().count(), 2);
    }

    #[test]
    fn what_is_busy_is_tried_again_with_growing_pauses() {
        let mut links = Links::new(4);
        let a = [want("192.0.2.1:9993")];
        let busy = ["192.0.2.1:9993"];
        let mut now = Mono::from_ms(1 << 40);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(apply(&mut links, now, &a, &busy), []);
            let next = links.next_deadline().expect("a retry");
            assert_eq!(next.since(now), pause * 1000);
            // Not before its time.
            assert_eq!(apply(&mut links, now.after(pause * 1000 - 1), &a, &[]), []);
            now = next;
        }
        assert_eq!(links.failed().first().map(|f| f.error), Some(BUSY));
        links.hurry(now.after(1));
        assert_eq!(
            apply(&mut links, now.after(1), &a, &[]),
            [up(0, "192.0.2.1:9993")]
        );
        assert_eq!((links.next_deadline(), links.failed().len()), (None, 0));
    }

    #[test]
    fn more_addresses_than_room_are_left_out() {
        let mut links = Links::new(2);
        let all = [
            want("192.0.2.1:1"),
            want("192.0.2.2:1"),
            want("192.0.2.3:1"),
        ];
        let now = Mono::from_ms(1);
        assert_eq!(apply(&mut links, now, &all, &[]).len(), 2);
        assert_eq!(links.next_deadline(), None);
    }

    #[test]
    fn an_address_that_moves_to_another_device_gets_a_new_socket() {
        let mut links = Links::new(2);
        let now = Mono::from_ms(1);
        let mut a = want("192.0.2.1:1");
        apply(&mut links, now, &[a.clone()], &[]);
        a.device = "eth1".to_owned();
        let anew = [
            LinkChange::SocketDown {
                socket: SocketId(0),
            },
            up(0, "192.0.2.1:1"),
        ];
        assert_eq!(apply(&mut links, now, &[a.clone()], &[]), anew);
        // A device that was made anew has the name of the old one, and another number.
        a.index = 2;
        assert_eq!(apply(&mut links, now, &[a], &[]), anew);
    }
}
