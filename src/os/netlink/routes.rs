//! Routes and rules of ours: listed, set, taken back (service 7.2).
//!
//! All of them carry [`PROTOCOL`]; what does not is never touched.

use core::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::{
    Control, FRA_PROTOCOL, Message, PROTOCOL, RTA_DST, RTA_GATEWAY, RTA_OIF, RTM_DELROUTE,
    RTM_DELRULE, RTM_GETROUTE, RTM_GETRULE, RTM_NEWROUTE, RTM_NEWRULE, Request, Route, Rule,
    family_of, ip_of, octets_of, u32_of,
};
use crate::os::Error;

const RTA_PRIORITY: u16 = libc::RTA_PRIORITY;
const RTA_PREFSRC: u16 = libc::RTA_PREFSRC;
const RTA_TABLE: u16 = libc::RTA_TABLE;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
/// "To that table."
const FR_ACT_TO_TBL: u8 = 1;
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;

const V4: u8 = libc::AF_INET as u8;
const V6: u8 = libc::AF_INET6 as u8;

/// Length of the fixed part of a message about routes, and of one about rules.
const ROUTE_LEN: usize = 12;
const RULE_LEN: usize = 12;

/// Lists are filtered in the kernel if it can (since 4.20): a table may have a million routes.
/// Older kernels send all, and we leave out the rest ourselves.
pub(super) fn filter_in_kernel(fd: &OwnedFd) {
    let on: libc::c_int = 1;
    // SAFETY: the value lives for the call, and its length is its own.
    let _ = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            NETLINK_GET_STRICT_CHK,
            std::ptr::from_ref(&on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0),
        )
    };
}

impl Control {
    /// All our routes, of all tables and interfaces.
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut all = Vec::new();
        for &family in &[V4, V6] {
            let mut body = [0; ROUTE_LEN];
            body[0] = family;
            body[5] = PROTOCOL;
            let asked = self.dump(&"netlink routes", RTM_GETROUTE, &body, &mut |message| {
                // A family that is not there is answered with all that are.
                if message.body.first() == Some(&family)
                    && let Some(route) = route_of(message)
                {
                    all.push(route);
                }
            });
            unless_family_is_missing(asked)?;
        }
        Ok(all)
    }

    /// Sets a route. `EEXIST`: there is one, ours or not, with the same table, target and metric.
    pub fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = route_request(RTM_NEWROUTE, flags, route);
        self.exchange(&"add route", request, &mut |_| {})
    }

    /// Sets `new` in place of our route `old` with the same key: without a moment with neither
    /// where the system can.
    pub fn replace_route(&mut self, old: &Route, new: &Route) -> Result<(), Error> {
        if new.target.is_ipv6() {
            // Replacing there depends on whether either has a gateway.
            self.remove_route(old)?;
            return self.add_route(new);
        }
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let request = route_request(RTM_NEWROUTE, flags, new);
        self.exchange(&"replace route", request, &mut |_| {})
    }

    /// Takes a route of ours away; it may be gone already.
    pub fn remove_route(&mut self, route: &Route) -> Result<(), Error> {
        let request = route_request(RTM_DELROUTE, 0, route);
        match self.exchange(&"remove route", request, &mut |_| {}) {
            Err(Error {
                errno: libc::ESRCH | libc::ENODEV | libc::ENETDOWN,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// All our rules.
    pub fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        let mut all = Vec::new();
        for &family in &[V4, V6] {
            let mut body = [0; RULE_LEN];
            body[0] = family;
            let asked = self.dump(&"netlink rules", RTM_GETRULE, &body, &mut |message| {
                if message.body.first() == Some(&family)
                    && let Some(rule) = rule_of(message)
                {
                    all.push(rule);
                }
            });
            unless_family_is_missing(asked)?;
        }
        Ok(all)
    }

    /// Sets a rule; it may be there already.
    pub fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match self.exchange(
            &"add rule",
            rule_request(RTM_NEWRULE, flags, rule),
            &mut |_| {},
        ) {
            Err(Error {
                errno: libc::EEXIST,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// Takes a rule of ours away; it may be gone already.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        match self.exchange(
            &"remove rule",
            rule_request(RTM_DELRULE, 0, rule),
            &mut |_| {},
        ) {
            Err(Error {
                errno: libc::ENOENT | libc::ESRCH,
                ..
            }) => Ok(()),
            other => other,
        }
    }
}

fn unless_family_is_missing(asked: Result<(), Error>) -> Result<(), Error> {
    match asked {
        Err(Error {
            errno: libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::ENOENT,
            ..
        }) => Ok(()),
        other => other,
    }
}

/// Tables above 255 are told in an attribute alone; 252 is what the kernel writes then.
fn short_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(libc::RT_TABLE_COMPAT)
}

fn route_request(kind: u16, flags: libc::c_int, route: &Route) -> Request {
    let mut body = [0; ROUTE_LEN];
    body[0] = family_of(&route.target);
    body[1] = route.bits;
    body[4] = short_table(route.table);
    body[5] = PROTOCOL;
    // Of IPv4 a gateway has to be nearer than what it leads to; IPv6 does not look.
    body[6] = match (kind, route.via) {
        (RTM_DELROUTE, _) => libc::RT_SCOPE_NOWHERE,
        (_, None) if route.target.is_ipv4() => libc::RT_SCOPE_LINK,
        _ => libc::RT_SCOPE_UNIVERSE,
    };
    body[7] = libc::RTN_UNICAST;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags;
    let mut request = Request::new(kind, flags, &body);
    request.attribute(RTA_TABLE, &route.table.to_ne_bytes());
    request.attribute(RTA_DST, &octets_of(&route.target));
    if route.metric != 0 {
        request.attribute(RTA_PRIORITY, &route.metric.to_ne_bytes());
    }
    if route.index != 0 {
        request.attribute(RTA_OIF, &route.index.to_ne_bytes());
    }
    if let Some(via) = route.via {
        request.attribute(RTA_GATEWAY, &octets_of(&via));
    }
    if let Some(source) = route.source {
        request.attribute(RTA_PREFSRC, &octets_of(&source));
    }
    request
}

/// A route of ours in a list.
fn route_of(message: &Message<'_>) -> Option<Route> {
    let &[family, bits, _, _, table, protocol] = message.body.first_chunk()?;
    if message.kind != RTM_NEWROUTE || protocol != PROTOCOL {
        return None;
    }
    let number = |kind| message.attribute(ROUTE_LEN, kind).and_then(u32_of);
    let address = |kind| message.attribute(ROUTE_LEN, kind).and_then(ip_of);
    // A default route has no target.
    let target = address(RTA_DST).or(match family {
        V4 => Some(IpAddr::from([0; 4])),
        V6 => Some(IpAddr::from([0; 16])),
        _ => None,
    })?;
    Some(Route {
        table: number(RTA_TABLE).unwrap_or_else(|| u32::from(table)),
        target,
        bits,
        metric: number(RTA_PRIORITY).unwrap_or(0),
        index: number(RTA_OIF).unwrap_or(0),
        via: address(RTA_GATEWAY),
        source: address(RTA_PREFSRC),
    })
}

fn rule_request(kind: u16, flags: libc::c_int, rule: &Rule) -> Request {
    let mut body = [0; RULE_LEN];
    body[0] = if rule.v6 { V6 } else { V4 };
    body[4] = short_table(rule.table);
    body[7] = FR_ACT_TO_TBL;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags;
    let mut request = Request::new(kind, flags, &body);
    request.attribute(FRA_PRIORITY, &rule.priority.to_ne_bytes());
    request.attribute(FRA_FWMARK, &rule.mark.to_ne_bytes());
    request.attribute(FRA_TABLE, &rule.table.to_ne_bytes());
    request.attribute(FRA_PROTOCOL, &[PROTOCOL]);
    request
}

/// A rule of ours in a list.
fn rule_of(message: &Message<'_>) -> Option<Rule> {
    let &[family, _, _, _, table] = message.body.first_chunk()?;
    if message.kind != RTM_NEWRULE || message.attribute(RULE_LEN, FRA_PROTOCOL) != Some(&[PROTOCOL])
    {
        return None;
    }
    let number = |kind| message.attribute(RULE_LEN, kind).and_then(u32_of);
    Some(Rule {
        priority: number(FRA_PRIORITY).unwrap_or(0),
        mark: number(FRA_FWMARK).unwrap_or(0),
        table: number(FRA_TABLE).unwrap_or_else(|| u32::from(table)),
        v6: family == V6,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MAIN_TABLE, messages};
    use super::*;

    fn some_routes() -> [Route; 3] {
        let ip = |text: &str| text.parse().expect("an address");
        [
            Route {
                table: MAIN_TABLE,
                target: ip("192.168.50.0"),
                bits: 24,
                metric: 5000,
                index: 7,
                via: Some(ip("10.1.2.3")),
                source: None,
            },
            Route {
                table: 100_000,
                target: ip("fd77::"),
                bits: 64,
                metric: 1,
                index: u32::MAX,
                via: None,
                source: None,
            },
            Route {
                table: 201,
                target: ip("0.0.0.0"),
                bits: 1,
                metric: 0,
                index: 7,
                via: None,
                source: Some(ip("10.1.2.4")),
            },
        ]
    }

    #[test]
    fn what_is_asked_for_is_read_back_and_bent_bytes_do_no_harm() {
        let rule = Rule {
            priority: 30_201,
            mark: 0x100,
            table: 300,
            v6: true,
        };
        let mut request = rule_request(RTM_NEWRULE, 0, &rule);
        request.finish(1);
        let message = messages(&request.bytes).next().expect("a message");
        assert_eq!(rule_of(&message), Some(rule));
        assert_eq!(route_of(&message), None);
        let mut all = vec![request.bytes];
        for route in some_routes() {
            let mut request = route_request(RTM_NEWROUTE, 0, &route);
            request.finish(1);
            let message = messages(&request.bytes).next().expect("a message");
            assert_eq!(route_of(&message), Some(route));
            assert_eq!(rule_of(&message), None);
            all.push(request.bytes);
        }
        for whole in all {
            for at in 0..whole.len() {
                for value in [0, 1, 3, 4, 255] {
                    let mut bent = whole.clone();
                    bent[at] = value;
                    for message in messages(&bent).take(100) {
                        let _ = (route_of(&message), rule_of(&message), message.matters());
                    }
                    let cut = bent.get(..at).expect("a part");
                    assert_eq!(messages(cut).count(), 0);
                }
            }
        }
    }

    #[test]
    fn routes_of_others_are_not_ours() {
        for route in some_routes() {
            let mut request = route_request(RTM_NEWROUTE, 0, &route);
            request.finish(1);
            let at = super::super::HEADER_LEN + 5;
            request.bytes[at] = libc::RTPROT_STATIC;
            let message = messages(&request.bytes).next().expect("a message");
            assert_eq!(route_of(&message), None);
        }
    }

    #[test]
    fn lists_are_answered() {
        let mut control = Control::open().expect("a netlink socket");
        control.routes().expect("routes");
        control.rules().expect("rules");
        control.addresses().expect("addresses");
    }
}
