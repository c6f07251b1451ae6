use super::super::routes::{Around, plan};
use super::super::settings::NetworkSettings;
use super::*;
use crate::crypto::rng::Rng;
use crate::os::netlink::MAIN_TABLE;

const DEVICE: u32 = 7;

/// A system that does as it is told, and remembers in which order.
#[derive(Default)]
struct Fake {
    addresses: Vec<(u32, Prefix)>,
    routes: Vec<Route>,
    rules: Vec<Rule>,
    /// Targets that are refused, and how.
    refuse: Vec<(&'static str, i32)>,
    calls: Vec<String>,
}

impl Fake {
    fn judge(&mut self, call: String) -> Result<(), Error> {
        let refused = self.refuse.iter().find(|(word, _)| call.contains(word));
        let errno = refused.map(|(_, errno)| *errno);
        self.calls.push(call);
        errno.map_or(Ok(()), |errno| Err(Error { op: &"fake", errno }))
    }

    fn take_calls(&mut self) -> Vec<String> {
        core::mem::take(&mut self.calls)
    }
}

impl System for Fake {
    fn add_address(&mut self, index: u32, placed: &Placed) -> Result<(), Error> {
        let bare = if placed.bare { " bare" } else { "" };
        self.judge(format!("+{}{bare}", placed.prefix))?;
        self.addresses.push((index, placed.prefix));
        Ok(())
    }

    fn remove_address(&mut self, index: u32, prefix: &Prefix) -> Result<(), Error> {
        self.judge(format!("-{prefix}"))?;
        self.addresses.retain(|a| *a != (index, *prefix));
        // As Linux does, without a word.
        self.routes.retain(|r| r.source != Some(prefix.ip));
        if !self.addresses.iter().any(|(_, p)| p.ip.is_ipv4()) {
            self.routes
                .retain(|r| r.target.is_ipv6() || r.index != index);
        }
        Ok(())
    }

    fn routes(&mut self) -> Result<Vec<Route>, Error> {
        Ok(self.routes.clone())
    }

    fn add_route(&mut self, route: &Route) -> Result<(), Error> {
        self.judge(format!("add {}/{}", route.target, route.bits))?;
        if self.routes.iter().any(|r| r.has_key_of(route)) {
            return Err(Error {
                op: &"fake",
                errno: libc::EEXIST,
            });
        }
        self.routes.push(*route);
        Ok(())
    }

    fn replace_route(&mut self, old: &Route, new: &Route) -> Result<(), Error> {
        self.judge(format!("replace {}/{}", new.target, new.bits))?;
        self.routes.retain(|r| !r.has_key_of(old));
        self.routes.push(*new);
        Ok(())
    }

    fn remove_route(&mut self, route: &Route) -> Result<(), Error> {
        self.judge(format!("del {}/{}", route.target, route.bits))?;
        self.routes.retain(|r| r != route);
        Ok(())
    }

    fn rules(&mut self) -> Result<Vec<Rule>, Error> {
        Ok(self.rules.clone())
    }

    fn add_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        self.judge(format!("rule {}", rule.table))?;
        self.rules.push(*rule);
        Ok(())
    }

    fn remove_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        self.judge(format!("no rule {}", rule.table))?;
        self.rules.retain(|r| r != rule);
        Ok(())
    }
}

/// A network's wishes, and what of them is in force.
struct Bench {
    system: Fake,
    set: RouteSet,
    addresses: Vec<Prefix>,
    managed: Vec<Managed>,
    settings: NetworkSettings,
    news: Vec<String>,
}

impl Bench {
    fn new(addresses: &[&str], routes: &[(&str, &str)]) -> Self {
        let mut bench = Self {
            system: Fake::default(),
            set: RouteSet::default(),
            addresses: Vec::new(),
            managed: Vec::new(),
            settings: NetworkSettings::default(),
            news: Vec::new(),
        };
        bench.want(addresses, routes);
        bench
    }

    fn want(&mut self, addresses: &[&str], routes: &[(&str, &str)]) {
        let prefix = |text: &str| Prefix::parse(text).expect("a prefix");
        self.addresses = addresses.iter().map(|text| prefix(text)).collect();
        let managed = routes.iter().map(|(target, via)| Managed {
            target: prefix(target),
            via: via.parse().ok(),
            metric: 0,
        });
        self.managed = managed.collect();
    }

    fn plan(&self) -> Plan {
        let around = Around {
            connected: &[],
            online: true,
            bound: true,
            strict: false,
        };
        plan(
            DEVICE,
            &self.addresses,
            &self.managed,
            &self.settings,
            &around,
        )
    }

    /// Applies; `look`: after reading the system's lists.
    fn apply(&mut self, look: bool) -> (Trouble, Vec<String>) {
        let plan = self.plan();
        let (addresses, routes) = (self.system.addresses.clone(), self.system.routes.clone());
        let seen = Seen {
            addresses: &addresses,
            routes: Some(&routes),
        };
        let news = &mut self.news;
        let trouble = self.set.apply(
            DEVICE,
            &plan,
            &self.managed,
            look.then_some(&seen),
            &mut self.system,
            &mut |one| {
                news.push(match one {
                    News::Address { prefix, added } => format!("{prefix} {added}"),
                    News::Route {
                        managed,
                        added,
                        errno,
                    } => format!("{} {added} {errno:?}", managed.target),
                });
            },
        );
        (trouble, self.system.take_calls())
    }

    fn state(&self, n: usize) -> State {
        self.set.state(n, &self.managed[n]).expect("a state")
    }
}

const LAN: (&str, &str) = ("192.168.50.0/24", "10.1.0.1");
const FAR: (&str, &str) = ("192.168.60.0/24", "10.1.0.1");

#[test]
fn only_the_difference_is_touched() {
    let mut bench = Bench::new(
        &["10.1.0.2/24", "fd00::2/88"],
        &[LAN, ("172.30.0.0/16", "-")],
    );
    let (trouble, calls) = bench.apply(false);
    assert_eq!(trouble, None);
    assert_eq!(
        calls,
        [
            "+10.1.0.2/24",
            "+fd00::2/88",
            "add 172.30.0.0/16",
            "add 192.168.50.0/24"
        ]
    );
    assert_eq!(
        bench.news,
        [
            "10.1.0.2/24 true",
            "fd00::2/88 true",
            "192.168.50.0/24 true None",
            "172.30.0.0/16 true None"
        ]
    );
    bench.news.clear();
    for look in [false, true] {
        assert_eq!(bench.apply(look), (None, vec![]));
    }
    bench.want(&["10.1.0.2/24", "fd00::2/88"], &[FAR]);
    let (_, calls) = bench.apply(false);
    assert_eq!(
        calls,
        [
            "add 192.168.60.0/24",
            "del 172.30.0.0/16",
            "del 192.168.50.0/24"
        ]
    );
    assert_eq!(
        bench.news,
        [
            "192.168.50.0/24 false None",
            "172.30.0.0/16 false None",
            "192.168.60.0/24 true None"
        ]
    );
    assert!(!bench.set.wants_retry());
}

#[test]
fn what_somebody_took_is_set_again_and_what_others_put_there_stays() {
    let mut bench = Bench::new(&["10.1.0.2/24"], &[LAN, FAR]);
    bench.apply(false);
    bench.system.routes.remove(0);
    let others = Route {
        index: 9,
        metric: 1,
        ..bench.system.routes[0]
    };
    bench.system.routes.push(others);
    assert_eq!(bench.apply(false), (None, vec![]));
    let (trouble, calls) = bench.apply(true);
    assert_eq!(
        (trouble, calls),
        (None, vec!["add 192.168.50.0/24".to_owned()])
    );
    assert!(bench.system.routes.contains(&others));
    bench.system.addresses.clear();
    let (_, calls) = bench.apply(true);
    assert_eq!(calls, ["+10.1.0.2/24"]);
}

#[test]
fn routes_that_go_with_an_address_come_back() {
    let mut bench = Bench::new(&["10.1.0.2/24"], &[LAN]);
    bench.apply(false);
    // The last address takes all routes with it, and nobody says so.
    bench.want(&["10.1.0.3/24"], &[LAN]);
    let (trouble, calls) = bench.apply(false);
    assert_eq!(trouble, None);
    assert_eq!(
        calls,
        ["-10.1.0.2/24", "+10.1.0.3/24", "add 192.168.50.0/24"]
    );
    assert_eq!(bench.system.routes.len(), 1);
    // Another prefix of the same address: never both.
    bench.want(&["10.1.0.3/16"], &[]);
    let (_, calls) = bench.apply(false);
    assert_eq!(calls, ["-10.1.0.3/24", "+10.1.0.3/16"]);
    assert_eq!(bench.system.routes, []);
}

#[test]
fn a_refusal_is_kept_with_its_errno_and_tried_again() {
    let mut bench = Bench::new(&["10.1.0.2/24", "10.9.0.2/24"], &[LAN, FAR]);
    bench.system.refuse = vec![("192.168.50", libc::ENOMEM), ("10.9.0.2", libc::EPERM)];
    let (trouble, _) = bench.apply(false);
    let (what, error) = trouble.expect("a refusal");
    assert_eq!(
        (what.as_str(), error.errno),
        ("address 10.9.0.2/24", libc::EPERM)
    );
    assert_eq!(bench.state(0), State::Failed(libc::ENOMEM));
    assert_eq!(bench.state(0).reason(), "ENOMEM");
    assert_eq!(bench.state(1), State::Applied);
    let refused = bench.set.has_address(&bench.addresses[1]);
    assert_eq!(refused, Err(Some(libc::EPERM)));
    assert_eq!(bench.set.has_address(&bench.addresses[0]), Ok(()));
    assert!(bench.set.wants_retry());
    let told = format!("192.168.50.0/24 true Some({})", libc::ENOMEM);
    assert!(bench.news.contains(&told), "{:?}", bench.news);
    // The same again is no news.
    bench.news.clear();
    bench.apply(false);
    assert_eq!(bench.news, [""; 0]);
    bench.system.refuse.clear();
    let (trouble, calls) = bench.apply(false);
    assert_eq!(trouble, None);
    assert_eq!(calls, ["+10.9.0.2/24", "add 192.168.50.0/24"]);
    assert_eq!(bench.state(0), State::Applied);
    assert!(!bench.set.wants_retry());
    assert_eq!(
        bench.news,
        ["10.9.0.2/24 true", "192.168.50.0/24 true None"]
    );
}

#[test]
fn a_route_of_another_program_in_the_way_is_said_and_one_of_ours_is_taken_over() {
    let mut bench = Bench::new(&["10.1.0.2/24"], &[LAN]);
    bench.apply(false);
    let route = bench.system.routes[0];
    // Of another interface, so not in our list.
    bench.system.routes = vec![Route { index: 9, ..route }];
    bench.apply(true);
    assert_eq!(bench.state(0), State::Failed(libc::EEXIST));
    assert_eq!(bench.system.routes, [Route { index: 9, ..route }]);
    // Ours, but our memory of it was lost.
    bench.system.routes = vec![route];
    let (trouble, _) = bench.apply(false);
    assert_eq!(trouble, None);
    assert_eq!(bench.state(0), State::Applied);
    // Ours with another gateway.
    let other = Route {
        via: "10.1.0.99".parse().ok(),
        ..route
    };
    bench.system.routes = vec![other];
    let (_, calls) = bench.apply(true);
    assert_eq!(calls, ["replace 192.168.50.0/24"]);
    assert_eq!(bench.system.routes, [route]);
}

#[test]
fn half_of_a_default_route_is_taken_back() {
    let mut bench = Bench::new(&["10.1.0.2/24"], &[("0.0.0.0/0", "10.1.0.1"), LAN]);
    bench.settings.set("allowDefault", "1").expect("a setting");
    bench.system.refuse = vec![("add 128.0.0.0", libc::EINVAL)];
    bench.apply(false);
    assert_eq!(bench.state(0), State::Failed(libc::EINVAL));
    assert_eq!(bench.state(1), State::Applied);
    let targets: Vec<String> = bench
        .system
        .routes
        .iter()
        .map(|r| r.target.to_string())
        .collect();
    assert_eq!(targets, ["192.168.50.0"]);
    // The second try does not even begin: the kernel would tell us of each removal, and we would
    // try again.
    bench.system.take_calls();
    for look in [true, false] {
        let (_, calls) = bench.apply(look);
        assert_eq!(calls, ["add 128.0.0.0/1"]);
    }
    bench.system.refuse.clear();
    bench.apply(false);
    assert_eq!(bench.state(0), State::Applied);
    assert_eq!(bench.system.routes.len(), 3);
}

#[test]
fn another_metric_and_another_table_leave_nothing_behind() {
    let mut bench = Bench::new(&["10.1.0.2/24"], &[LAN]);
    bench.apply(false);
    for (key, value, table, metric) in [
        ("metric", "9", MAIN_TABLE, 9),
        ("table", "300", 300, 9),
        ("metric", "", 300, 5000),
        ("table", "", MAIN_TABLE, 5000),
    ] {
        bench.settings.set(key, value).expect("a setting");
        let (trouble, _) = bench.apply(false);
        assert_eq!(trouble, None);
        let lan = bench.system.routes.iter().filter(|r| r.via.is_some());
        let lan: Vec<(u32, u32)> = lan.map(|r| (r.table, r.metric)).collect();
        assert_eq!(lan, [(table, metric)], "{key} {value}");
        assert_eq!(bench.apply(true), (None, vec![]));
    }
    bench.settings.set("allowManaged", "0").expect("a setting");
    bench.apply(false);
    assert_eq!(
        (bench.system.routes.len(), bench.system.addresses.len()),
        (0, 0)
    );
    assert_eq!(bench.set.addresses().count(), 0);
}

#[test]
fn a_device_that_is_gone_took_everything() {
    let mut bench = Bench::new(&["10.1.0.2/24"], &[LAN]);
    bench.apply(false);
    let mut news = 0;
    bench.set.clear(&mut |_| news += 1);
    assert_eq!(news, 2);
    assert_eq!(bench.set.state(0, &bench.managed[0]), None);
    bench.system = Fake::default();
    let (_, calls) = bench.apply(false);
    assert_eq!(calls, ["+10.1.0.2/24", "add 192.168.50.0/24"]);
}

#[test]
fn whatever_happened_the_system_ends_with_the_plan_and_the_routes_of_others() {
    const ADDRESSES: [&str; 5] = [
        "10.1.0.2/24",
        "10.1.0.3/24",
        "10.1.0.2/16",
        "fd00::2/88",
        "10.9.0.2/24",
    ];
    const ROUTES: [(&str, &str); 6] = [
        LAN,
        FAR,
        ("192.168.50.0/24", "10.1.0.9"),
        ("0.0.0.0/0", "10.1.0.1"),
        ("fd77::/64", "fd00::1"),
        ("172.30.0.0/16", "-"),
    ];
    const REFUSED: [&str; 5] = ["192.168.50", "add 128.", "+10.1", "-10.1", "del "];
    let mut rng = Rng::new([7; 32]);
    let mut pick = |n: usize| usize::try_from(rng.below(u32::try_from(n).unwrap())).unwrap();
    let (mut refusals, mut applied) = (0, 0);
    for _ in 0..3_000 {
        let mut bench = Bench::new(&[], &[]);
        bench.settings.set("allowDefault", "1").expect("a setting");
        let others = Route {
            table: MAIN_TABLE,
            target: "192.168.60.0".parse().expect("an address"),
            bits: 24,
            metric: 1,
            index: 9,
            via: None,
            source: None,
        };
        bench.system.routes.push(others);
        for _ in 0..12 {
            match pick(7) {
                0 => {
                    let addresses: Vec<&str> =
                        ADDRESSES.into_iter().filter(|_| pick(2) == 0).collect();
                    let routes: Vec<(&str, &str)> =
                        ROUTES.into_iter().filter(|_| pick(2) == 0).collect();
                    bench.want(&addresses, &routes);
                }
                1 => {
                    let table = ["", "300"][pick(2)];
                    bench.settings.set("table", table).expect("a setting");
                }
                2 => {
                    let metric = ["", "9", "256"][pick(3)];
                    bench.settings.set("metric", metric).expect("a setting");
                }
                3 => {
                    let word = REFUSED[pick(REFUSED.len())];
                    bench.system.refuse = vec![(word, libc::ENOMEM)];
                }
                // Somebody else takes something.
                4 => {
                    if bench.system.routes.len() > 1 {
                        let n = 1 + pick(bench.system.routes.len() - 1);
                        if bench.system.routes[n] != others {
                            bench.system.routes.remove(n);
                        }
                    }
                }
                5 => {
                    if !bench.system.addresses.is_empty() {
                        let n = pick(bench.system.addresses.len());
                        bench.system.addresses.remove(n);
                    }
                }
                _ => bench.system.refuse.clear(),
            }
            let look = pick(2) == 0;
            refusals += u32::from(bench.apply(look).0.is_some());
        }
        bench.system.refuse.clear();
        bench.apply(true);
        assert_eq!(bench.apply(true), (None, vec![]), "it does not settle");
        assert!(!bench.set.wants_retry());
        let plan = bench.plan();
        let mut wanted: Vec<Route> = plan.routes.iter().map(|p| p.route).collect();
        applied += wanted.len();
        wanted.push(others);
        wanted.sort_unstable();
        bench.system.routes.sort_unstable();
        assert_eq!(bench.system.routes, wanted);
        let addresses: Vec<(u32, Prefix)> =
            plan.addresses.iter().map(|p| (DEVICE, p.prefix)).collect();
        bench
            .system
            .addresses
            .sort_unstable_by_key(|(_, p)| (p.ip, p.bits));
        assert_eq!(bench.system.addresses, addresses);
    }
    assert!(refusals > 100 && applied > 100, "{refusals} {applied}");
}

const RULE: Rule = Rule {
    priority: 30_201,
    mark: 256,
    table: 300,
    v6: false,
};

#[test]
fn rules_of_an_earlier_run_go_and_those_in_use_stay() {
    let other_family = Rule { v6: true, ..RULE };
    let stale = Rule { table: 301, ..RULE };
    let mut system = Fake {
        rules: vec![RULE, other_family, stale],
        routes: vec![Route {
            table: 300,
            target: "10.0.0.0".parse().expect("an address"),
            bits: 8,
            metric: 5000,
            index: 9,
            via: None,
            source: None,
        }],
        ..Fake::default()
    };
    assert_eq!(RuleSet::clean(&mut system), Ok(2));
    assert_eq!(system.rules, [RULE]);
    assert_eq!(RuleSet::clean(&mut system), Ok(0));
}

#[test]
fn rules_follow_and_come_back() {
    let mut system = Fake::default();
    let mut set = RuleSet::default();
    let second = Rule { table: 301, ..RULE };
    assert_eq!(set.apply(&[RULE, second], None, &mut system), Ok(()));
    assert_eq!(system.take_calls(), ["rule 300", "rule 301"]);
    assert_eq!(set.apply(&[RULE, second], None, &mut system), Ok(()));
    assert_eq!(system.take_calls(), [""; 0]);
    system.rules.remove(0);
    let seen = system.rules.clone();
    assert_eq!(set.apply(&[RULE, second], Some(&seen), &mut system), Ok(()));
    assert_eq!(system.take_calls(), ["rule 300"]);
    system.refuse = vec![("rule 302", libc::EPERM)];
    let third = Rule { table: 302, ..RULE };
    let refused = set.apply(&[RULE, third], None, &mut system);
    assert_eq!(refused.map_err(|e| e.errno), Err(libc::EPERM));
    assert_eq!(system.rules, [RULE]);
    assert_eq!(set.apply(&[], None, &mut system), Ok(()));
    assert!(system.rules.is_empty() && set.is_empty());
}
