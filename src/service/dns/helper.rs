//! The hands in a process of their own, which keeps the rights of the start while the daemon gives
//! its own up. The daemon is not trusted there: an order is looked at like anything that comes
//! from outside, and can lead to nothing but what [`Worker`] does for a network.
//!
//! An order is `tell|revert NETWORK HOOK DEVICE DOMAIN SERVER…`, what went wrong `NETWORK|- HOOK
//! REASON`.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd as _, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::hands::{Failed, Hands, Order, Places, Verb, Worker};
use super::{Hook, Pushed, judge};
use crate::base::{Mono, NetworkId};
use crate::os::helper::{Channel, Helper, MESSAGE_MAX};
use crate::os::{clock, file};
use crate::service::settings::is_ifname;

/// The hands as the daemon has them.
pub(in crate::service) struct Far {
    helper: Helper,
    failed: VecDeque<Failed>,
}

impl Far {
    /// Starts the process; [`Helper::start`] says when that may be done.
    pub(in crate::service) fn start(home: PathBuf) -> Result<Self, crate::os::Error> {
        let helper = Helper::start(move |channel| {
            serve(channel, Worker::new(Box::new(Places::of_system), &home));
        })?;
        Ok(Self {
            helper,
            failed: VecDeque::new(),
        })
    }

    /// Readable when something went wrong.
    pub(in crate::service) fn fd(&self) -> Option<RawFd> {
        self.helper.channel().map(Channel::as_raw_fd)
    }

    fn listen(&mut self) {
        let mut buffer = [0; MESSAGE_MAX];
        while let Some(channel) = self.helper.channel() {
            match channel.receive(&mut buffer) {
                Ok(message) if !message.is_empty() => {
                    if let Some(failed) = Failed::parse(message) {
                        self.failed.push_back(failed);
                    }
                }
                Err(error) if error.would_block() => return,
                Ok(_) | Err(_) => {
                    self.helper.lose();
                    self.failed.push_back(Failed {
                        id: None,
                        hook: Hook::Event,
                        reason: "the process for names has ended".to_owned(),
                    });
                }
            }
        }
    }
}

impl Hands for Far {
    fn begin(&mut self) {
        if let Some(channel) = self.helper.channel() {
            // Without it old files stay until the next start.
            let _ = channel.send(BEGIN);
        }
    }

    fn are_there(&self) -> bool {
        self.helper.channel().is_some()
    }

    fn take(&mut self, _: Mono, order: Order) {
        let sent = match self.helper.channel() {
            Some(channel) => channel.send(order.to_string().as_bytes()),
            None => Err(crate::os::Error {
                op: &"send",
                errno: libc::EPIPE,
            }),
        };
        if let Err(error) = sent {
            self.failed.push_back(Failed {
                id: Some(order.id),
                hook: order.hook,
                reason: error.to_string(),
            });
        }
    }

    fn failed(&mut self) -> Option<Failed> {
        self.listen();
        self.failed.pop_front()
    }

    fn finish(&mut self, _: Mono) {
        self.helper.end();
    }
}

/// The home is this daemon's.
const BEGIN: &[u8] = b"begin";

/// Not for a device that is seen to be something else than a tap: nobody else's names are to be
/// changed. What is taken back is what was told.
fn is_for_us(order: &Order) -> bool {
    let device = Path::new("/sys/class/net").join(&order.wish.device);
    order.verb == Verb::Revert || !file::exists(&device) || file::exists(&device.join("tun_flags"))
}

/// The life of the process.
fn serve(channel: &Channel, mut worker: Worker) {
    let mut buffer = [0; MESSAGE_MAX];
    loop {
        let now = clock::mono();
        match channel.receive(&mut buffer) {
            Ok([]) => break,
            Ok(message) if message == BEGIN => worker.begin(),
            Ok(message) => {
                if let Some(order) = Order::parse(message).filter(is_for_us) {
                    worker.take(now, order);
                }
            }
            Err(error) if error.errno == libc::EMSGSIZE => {}
            Err(error) if error.would_block() => {
                let due = worker.next_deadline();
                channel.wait(due.map(|at| Duration::from_millis(at.since(now))));
                let now = clock::mono();
                if worker.next_deadline().is_some_and(|at| at <= now) {
                    worker.work(now);
                }
            }
            Err(_) => break,
        }
        while let Some(failed) = worker.failed() {
            // Without room for it the daemon believes that all is well; it is behind anyway.
            let _ = channel.send(failed.to_string().as_bytes());
        }
    }
    worker.finish(clock::mono());
}

impl core::fmt::Display for Order {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let verb = match self.verb {
            Verb::Tell => "tell",
            Verb::Revert => "revert",
        };
        let (id, hook) = (self.id, self.hook.name());
        write!(
            f,
            "{verb} {id} {hook} {} {}",
            self.wish.device, self.wish.domain
        )?;
        self.wish
            .servers
            .iter()
            .try_for_each(|ip| write!(f, " {ip}"))
    }
}

impl Order {
    fn parse(message: &[u8]) -> Option<Self> {
        let mut words = core::str::from_utf8(message).ok()?.split(' ');
        let verb = match words.next()? {
            "tell" => Verb::Tell,
            "revert" => Verb::Revert,
            _ => return None,
        };
        let id = NetworkId::parse(words.next()?)?;
        let hook = Hook::named(words.next()?)?;
        // No program may take it for a switch.
        let device = words
            .next()
            .filter(|name| is_ifname(name) && !name.starts_with('-'))?;
        let domain = words.next()?;
        let mut servers: Vec<IpAddr> = Vec::new();
        for word in words {
            servers.push(word.parse().ok()?);
        }
        let servers = &servers;
        let wish = judge(device, true, Pushed { domain, servers }).ok()?;
        Some(Self {
            id,
            verb,
            hook,
            wish: Rc::new(wish),
        })
    }
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.id {
            Some(id) => write!(f, "{id}")?,
            None => f.write_str("-")?,
        }
        write!(f, " {} {}", self.hook.name(), self.reason)
    }
}

impl Failed {
    fn parse(message: &[u8]) -> Option<Self> {
        let mut words = core::str::from_utf8(message).ok()?.splitn(3, ' ');
        let id = match words.next()? {
            "-" => None,
            id => Some(NetworkId::parse(id)?),
        };
        Some(Self {
            id,
            hook: Hook::named(words.next()?)?,
            reason: words.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TELL: &str = "tell 8056c2e21c000001 resolvectl zt0 lab.example 10.1.0.1 fd01::1";

    #[test]
    fn an_order_comes_back() {
        let order = Order::parse(TELL.as_bytes()).expect("an order");
        assert_eq!(order.to_string(), TELL);
        assert_eq!(order.verb, Verb::Tell);
        let revert = TELL
            .replace("tell", "revert")
            .replace("resolvectl", "dnsmasq");
        let order = Order::parse(revert.as_bytes()).expect("an order");
        assert_eq!(order.to_string(), revert);
    }

    #[test]
    fn orders_that_make_no_sense_lead_nowhere() {
        for (good, bad) in [
            ("tell ", "run "),
            ("8056c2e21c000001", "8056c2e21c00000g"),
            ("8056c2e21c000001", "0"),
            ("resolvectl", "/bin/sh"),
            ("zt0", "-x"),
            ("zt0", "../zt0"),
            ("zt0", "a-name-of-sixteen"),
            ("lab.example", "$(id)"),
            ("lab.example", "a\nb"),
            ("lab.example", "-a"),
            ("10.1.0.1 fd01::1", "127.0.0.1"),
            ("10.1.0.1", "--help"),
            (" 10.1.0.1 fd01::1", ""),
            (" lab.example 10.1.0.1 fd01::1", ""),
        ] {
            let text = TELL.replacen(good, bad, 1);
            assert_ne!(text, TELL);
            assert_eq!(Order::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Order::parse(b""), None);
        assert_eq!(Order::parse(b"\xff\xfe"), None);
    }

    #[test]
    fn what_went_wrong_comes_back() {
        for id in [None, NetworkId::new(0x8056_c2e2_1c00_0001)] {
            let failed = Failed {
                id,
                hook: Hook::Dnsmasq,
                reason: "exit status: 1".to_owned(),
            };
            let text = failed.to_string();
            assert_eq!(Failed::parse(text.as_bytes()), Some(failed));
        }
        assert_eq!(Failed::parse(b"- dnsmasq"), None);
    }
}
