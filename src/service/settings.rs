//! Settings of one network: `networks.d/<nwid>.local.conf` (service 3.4).
//!
//! Lines `key=value`. What is not understood is kept as it stands, so that a file written by a
//! newer version, or by hand, survives a change of one setting.
//!
//! differs from 1.14.1: a prefix list survives every rewrite, and `allowGlobal` and
//! `allowDefault` may be lists too (wishes 5).

use core::fmt::{self, Write as _};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::inet::{Scope, scope};

/// Longest file that is read.
pub const FILE_MAX_BYTES: usize = 16 * 1024;

/// Longest interface name, without the terminator.
pub const IFNAME_MAX: usize = 15;

/// Prefixes in one list. Only the owner fills it.
const PREFIXES_MAX: usize = 64;

/// A prefix as written in lists: address and length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Prefix {
    /// Any address inside.
    pub ip: IpAddr,
    /// Bits that count: ≤ 32 or ≤ 128.
    pub bits: u8,
}

impl Prefix {
    /// `ip/bits`.
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = text.split_once('/')?;
        let ip: IpAddr = ip.trim_ascii().parse().ok()?;
        let bits: u8 = bits.trim_ascii().parse().ok()?;
        (bits <= width(&ip)).then_some(Self { ip, bits })
    }

    /// `other` lies in this prefix and is not wider.
    pub fn contains(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.holds(&other.ip)
    }

    /// `ip` lies in this prefix.
    pub fn holds(&self, ip: &IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                u32::from(a).checked_shr(shift) == u32::from(*b).checked_shr(shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                u128::from(a).checked_shr(shift) == u128::from(*b).checked_shr(shift)
            }
            _ => false,
        }
    }

    /// Without the bits of the host.
    pub fn network(&self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !self.hosts_v4()).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !self.hosts_v6()).into(),
        };
        Self { ip, ..*self }
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        match self.ip {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() | self.hosts_v4()).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() | self.hosts_v6()).into(),
        }
    }

    /// One address alone.
    pub fn is_host(&self) -> bool {
        self.bits >= width(&self.ip)
    }

    fn hosts_v4(&self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0)
    }

    fn hosts_v6(&self) -> u128 {
        u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0)
    }

    /// Everything: `0.0.0.0/0` or `::/0`.
    pub fn is_default(&self) -> bool {
        self.bits == 0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

fn width(ip: &IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// What a setting lets through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allow {
    /// Nothing.
    No,
    /// Everything.
    Yes,
    /// What lies inside one of these.
    Only(Vec<Prefix>),
}

impl Allow {
    fn parse(text: &str) -> Option<Self> {
        if let Some(on) = parse_bool(text) {
            return Some(if on { Self::Yes } else { Self::No });
        }
        let mut list = Vec::new();
        for prefix in text.split(',').map(str::trim_ascii) {
            if !prefix.is_empty() {
                list.push(Prefix::parse(prefix)?);
            }
        }
        let fits = !list.is_empty() && list.len() <= PREFIXES_MAX;
        fits.then_some(Self::Only(list))
    }

    /// Anything at all may pass.
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::No)
    }

    fn admits(&self, prefix: &Prefix) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::Only(list) => list.iter().any(|p| p.contains(prefix)),
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_char('0'),
            Self::Yes => f.write_char('1'),
            Self::Only(list) => {
                for (n, prefix) in list.iter().enumerate() {
                    if n > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{prefix}")?;
                }
                Ok(())
            }
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Why a setting was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No such key.
    UnknownKey,
    /// The value does not fit the key.
    BadValue,
}

/// Why a managed address or route is not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAllowed {
    /// `allowManaged` is off, or its list does not hold it.
    Managed,
    /// It is of global scope, and `allowGlobal` does not let it through.
    Global,
    /// It is a default route, and `allowDefault` does not let it through.
    Default,
    /// Never: loopback, multicast, this link.
    Scope,
}

/// What [`NetworkSettings::KEYS`] name, in their order.
#[derive(Clone, Copy)]
enum Key {
    Managed,
    Global,
    Default,
    Dns,
    Ifname,
    Metric,
    Table,
    Mtu,
    Mark,
}

impl Key {
    const ALL: [Self; NetworkSettings::KEYS.len()] = [
        Self::Managed,
        Self::Global,
        Self::Default,
        Self::Dns,
        Self::Ifname,
        Self::Metric,
        Self::Table,
        Self::Mtu,
        Self::Mark,
    ];

    #[inline(never)]
    fn of(name: &str) -> Option<Self> {
        let n = NetworkSettings::KEYS.iter().position(|key| *key == name)?;
        Self::ALL.get(n).copied()
    }

    /// A number that it takes.
    fn admits(self, number: u32) -> bool {
        match self {
            Self::Table => number != TABLE_UNSPECIFIED && number != TABLE_LOCAL,
            Self::Mtu => (u32::from(MTU_MIN)..=u32::from(MTU_MAX)).contains(&number),
            _ => true,
        }
    }
}

/// Settings of one network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkSettings {
    /// Managed addresses and routes may be applied.
    pub allow_managed: Allow,
    /// Those of global scope too.
    pub allow_global: Allow,
    /// A default route too.
    pub allow_default: Allow,
    /// The pushed DNS servers may be used.
    pub allow_dns: bool,
    /// Name of the interface; none: `devicemap`, else computed.
    pub ifname: Option<String>,
    /// Metric of routes that have none.
    pub metric: Option<u32>,
    /// Routing table; none: main.
    pub table: Option<u32>,
    /// Upper bound of the tap's MTU.
    pub mtu: Option<u16>,
    /// Mark of the firewall.
    pub firewall_mark: Option<u32>,
    /// Lines that mean nothing to us.
    other: Vec<String>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            allow_managed: Allow::Yes,
            allow_global: Allow::No,
            allow_default: Allow::No,
            allow_dns: false,
            ifname: None,
            metric: None,
            table: None,
            mtu: None,
            firewall_mark: None,
            other: Vec::new(),
        }
    }
}

impl NetworkSettings {
    /// Every key, in the order of the file.
    pub const KEYS: [&'static str; 9] = [
        "allowManaged",
        "allowGlobal",
        "allowDefault",
        "allowDNS",
        "ifname",
        "metric",
        "table",
        "mtu",
        "firewallMark",
    ];

    /// What values a key takes, in words.
    pub fn form(key: &str) -> &'static str {
        match Key::of(key) {
            Some(Key::Managed | Key::Global | Key::Default) => "0, 1 or a list of ip/bits",
            Some(Key::Dns) => "0 or 1",
            Some(Key::Ifname) => "at most 15 letters and digits",
            Some(Key::Mtu) => "1280 to 10000",
            Some(Key::Table) => "a number, and not 0 or 255",
            _ => "a number",
        }
    }

    /// Reads a file's text. `complain` hears of each line of a known key with a bad value, by
    /// number; such a line counts as absent and is kept.
    pub fn parse(text: &str, mut complain: impl FnMut(usize, &str)) -> Self {
        let mut settings = Self::default();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let taken = match line.split_once('=') {
                Some((key, value)) => settings.set(key.trim_ascii(), value.trim_ascii()),
                None => Err(Refused::UnknownKey),
            };
            if let Err(why) = taken {
                if why == Refused::BadValue {
                    complain(n.saturating_add(1), line);
                }
                settings.other.push(line.to_owned());
            }
        }
        settings
    }

    /// Sets one key; an empty value takes back an optional one.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let key = Key::of(key).ok_or(Refused::UnknownKey)?;
        let bad = Refused::BadValue;
        match key {
            Key::Managed | Key::Global | Key::Default => {
                let allow = Allow::parse(value).ok_or(bad)?;
                *match key {
                    Key::Managed => &mut self.allow_managed,
                    Key::Global => &mut self.allow_global,
                    _ => &mut self.allow_default,
                } = allow;
            }
            Key::Dns => self.allow_dns = parse_bool(value).ok_or(bad)?,
            Key::Ifname => {
                self.ifname = match value {
                    "" => None,
                    name if is_ifname(name) => Some(name.to_owned()),
                    _ => return Err(bad),
                }
            }
            Key::Metric | Key::Table | Key::Mtu | Key::Mark => {
                let number = match value {
                    "" => None,
                    value => Some(value.parse().map_err(|_| bad)?),
                };
                if number.is_some_and(|number| !key.admits(number)) {
                    return Err(bad);
                }
                match key {
                    Key::Metric => self.metric = number,
                    Key::Table => self.table = number,
                    Key::Mtu => self.mtu = number.and_then(|mtu| mtu.try_into().ok()),
                    _ => self.firewall_mark = number,
                }
            }
        }
        Ok(())
    }

    /// The value of a key as `set` takes it. `None`: no such key.
    pub fn get(&self, key: &str) -> Option<String> {
        let dns = u8::from(self.allow_dns);
        let value: Option<&dyn fmt::Display> = match Key::of(key)? {
            Key::Managed => Some(&self.allow_managed),
            Key::Global => Some(&self.allow_global),
            Key::Default => Some(&self.allow_default),
            Key::Dns => Some(&dns),
            Key::Ifname => self.ifname.as_ref().map(|name| name as _),
            Key::Metric => self.metric.as_ref().map(|n| n as _),
            Key::Table => self.table.as_ref().map(|n| n as _),
            Key::Mtu => self.mtu.as_ref().map(|n| n as _),
            Key::Mark => self.firewall_mark.as_ref().map(|n| n as _),
        };
        Some(value.map_or_else(String::new, ToString::to_string))
    }

    /// The file's text: the four lines that 1.14.1 reads, ours if set, and what was kept.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (n, key) in Self::KEYS.iter().enumerate() {
            let value = self.get(key).unwrap_or_default();
            if n < 4 || !value.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{key}={value}");
            }
        }
        for line in &self.other {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// A managed address or the target of a managed route may be applied.
    pub fn allows(&self, prefix: &Prefix) -> bool {
        self.judge(prefix).is_ok()
    }

    /// The same, with the reason (service 3.4).
    ///
    /// differs from 1.14.1: a prefix that is wider than its private block reaches into the
    /// Internet and needs `allowGlobal`; one of length 0 is a default route, whatever its bits.
    pub fn judge(&self, prefix: &Prefix) -> Result<(), NotAllowed> {
        let permit = |allow: &Allow, or| {
            if allow.admits(prefix) {
                Ok(())
            } else {
                Err(or)
            }
        };
        if prefix.is_default() {
            permit(&self.allow_managed, NotAllowed::Managed)?;
            return permit(&self.allow_default, NotAllowed::Default);
        }
        let is_inside = |ip| {
            matches!(
                scope(ip),
                Scope::PseudoPrivate | Scope::Shared | Scope::Private
            )
        };
        match scope(prefix.ip) {
            Scope::None | Scope::Multicast | Scope::Loopback | Scope::LinkLocal => {
                return Err(NotAllowed::Scope);
            }
            Scope::Global => permit(&self.allow_global, NotAllowed::Global)?,
            Scope::PseudoPrivate | Scope::Shared | Scope::Private => {
                if !is_inside(prefix.network().ip) || !is_inside(prefix.last()) {
                    permit(&self.allow_global, NotAllowed::Global)?;
                }
            }
        }
        permit(&self.allow_managed, NotAllowed::Managed)
    }
}

/// Bounds of a tap's MTU (network 2.3).
const MTU_MIN: u16 = 1280;
const MTU_MAX: u16 = 10_000;

/// No table at all, and the one with the machine's own addresses: nothing of ours goes there.
const TABLE_UNSPECIFIED: u32 = 0;
const TABLE_LOCAL: u32 = 255;

/// A name that the kernel takes and that cannot lead out of `/proc/sys/net`.
pub fn is_ifname(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= IFNAME_MAX
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).expect("a prefix")
    }

    #[test]
    fn a_list_and_unknown_lines_survive_a_change_of_another_key() {
        let text = "allowManaged=10.0.0.0/8,fd00::/8\nallowDNS=1\nfuture=x=y\nmtu=bad\n";
        let mut bad = Vec::new();
        let mut s = NetworkSettings::parse(text, |n, line| bad.push((n, line.to_owned())));
        assert_eq!(bad, [(4, "mtu=bad".to_owned())]);
        s.set("allowGlobal", "1").expect("known key");
        let again = NetworkSettings::parse(&s.to_text(), |_, _| {});
        assert_eq!(again, s);
        assert_eq!(
            again.get("allowManaged").as_deref(),
            Some("10.0.0.0/8,fd00::/8")
        );
        assert!(s.to_text().ends_with("future=x=y\nmtu=bad\n"));
    }

    #[test]
    fn what_is_allowed_follows_scope_and_lists() {
        let mut s = NetworkSettings::default();
        assert!(s.allows(&prefix("10.1.2.3/24")));
        assert!(s.allows(&prefix("fd00::1/88")));
        for never in [
            "169.254.1.1/16",
            "127.0.0.1/8",
            "224.0.0.1/4",
            "8.8.8.8/32",
            "0.0.0.0/0",
            "10.1.2.3/0",
        ] {
            assert!(!s.allows(&prefix(never)), "{never}");
        }
        s.set("allowGlobal", "8.8.0.0/16").expect("known key");
        assert!(s.allows(&prefix("8.8.8.8/32")));
        assert!(!s.allows(&prefix("8.0.0.0/8")));
        s.set("allowDefault", "1").expect("known key");
        assert!(s.allows(&prefix("::/0")));
        s.set("allowDefault", "0.0.0.0/0").expect("known key");
        assert!(s.allows(&prefix("0.0.0.0/0")));
        assert_eq!(s.judge(&prefix("::/0")), Err(NotAllowed::Default));
        s.set("allowManaged", "10.1.0.0/16").expect("known key");
        assert!(s.allows(&prefix("10.1.2.3/24")));
        assert!(!s.allows(&prefix("10.2.2.3/24")));
        s.set("allowManaged", "0").expect("known key");
        assert!(!s.allows(&prefix("10.1.2.3/24")));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let mut s = NetworkSettings::default();
        for bad in ["..", "a/b", "a b", "sixteen-letters-", "eth0:1"] {
            assert_eq!(s.set("ifname", bad), Err(Refused::BadValue), "{bad}");
        }
        assert_eq!(s.set("ifname", "lab0"), Ok(()));
        assert_eq!(s.set("ifname", ""), Ok(()));
        assert_eq!(s.ifname, None);
        for bad in ["0", "255", "-1", "main"] {
            assert_eq!(s.set("table", bad), Err(Refused::BadValue), "{bad}");
        }
    }

    #[test]
    fn a_prefix_that_reaches_into_the_internet_is_global() {
        let mut s = NetworkSettings::default();
        let global = ["192.168.0.0/15", "172.16.0.0/10", "fc00::/5", "10.0.0.1/1"];
        for wide in global {
            assert_eq!(s.judge(&prefix(wide)), Err(NotAllowed::Global), "{wide}");
        }
        s.set("allowGlobal", "1").expect("known key");
        for wide in global {
            assert_eq!(s.judge(&prefix(wide)), Ok(()), "{wide}");
        }
    }

    #[test]
    fn a_prefix_has_a_first_and_a_last_address() {
        for (text, first, last) in [
            ("10.1.2.3/24", "10.1.2.0/24", "10.1.2.255"),
            ("10.1.2.3/32", "10.1.2.3/32", "10.1.2.3"),
            ("1.2.3.4/0", "0.0.0.0/0", "255.255.255.255"),
            ("fd00::1/64", "fd00::/64", "fd00::ffff:ffff:ffff:ffff"),
            ("::1/128", "::1/128", "::1"),
        ] {
            let p = prefix(text);
            assert_eq!(p.network(), prefix(first));
            assert_eq!(p.last(), last.parse::<IpAddr>().expect("an address"));
        }
    }
}
