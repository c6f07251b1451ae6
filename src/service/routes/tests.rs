use super::*;

const DEVICE: u32 = 7;

fn prefix(text: &str) -> Prefix {
    Prefix::parse(text).unwrap_or_else(|| panic!("{text} is a prefix"))
}

fn prefixes(all: &[&str]) -> Vec<Prefix> {
    all.iter().map(|text| prefix(text)).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// `target`, `target via gateway`, each with `metric n` behind it or without.
fn managed(text: &str) -> Managed {
    let mut words = text.split(' ');
    let mut managed = Managed {
        target: prefix(words.next().expect("a target")),
        via: None,
        metric: 0,
    };
    while let Some(word) = words.next() {
        let value = words.next().expect("a value");
        match word {
            "via" => managed.via = Some(ip(value)),
            "metric" => managed.metric = value.parse().expect("a number"),
            other => panic!("{other}"),
        }
    }
    managed
}

/// One case: addresses, managed routes, settings, what is around.
struct Case {
    addresses: Vec<Prefix>,
    managed: Vec<Managed>,
    settings: NetworkSettings,
    connected: Vec<Prefix>,
    online: bool,
    bound: bool,
    strict: bool,
}

impl Case {
    fn new(addresses: &[&str], routes: &[&str]) -> Self {
        Self {
            addresses: prefixes(addresses),
            managed: routes.iter().map(|text| managed(text)).collect(),
            settings: NetworkSettings::default(),
            connected: Vec::new(),
            online: true,
            bound: true,
            strict: false,
        }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.set(key, value).expect("a setting");
        self
    }

    fn beside(mut self, connected: &[&str]) -> Self {
        self.connected = prefixes(connected);
        self
    }

    fn plan(&self) -> Plan {
        let around = Around {
            connected: &self.connected,
            online: self.online,
            bound: self.bound,
            strict: self.strict,
        };
        let plan = plan(
            DEVICE,
            &self.addresses,
            &self.managed,
            &self.settings,
            &around,
        );
        assert_eq!(plan.states.len(), self.managed.len());
        // What the documents promise of every plan.
        for (n, planned) in plan.routes.iter().enumerate() {
            let route = planned.route;
            assert_eq!(route.index, DEVICE);
            let of_route = Prefix {
                ip: route.target,
                bits: route.bits,
            };
            assert_eq!(of_route.network(), of_route);
            assert!(!of_route.is_default(), "a default route in one piece");
            assert!(!(route.target.is_ipv6() && route.metric == 0));
            let mut subnets = self.connected.iter().filter(|c| !c.is_default());
            assert!(!subnets.any(|c| c.contains(&of_route)), "{of_route}");
            let same = |other: &&Planned| other.route.has_key_of(&route);
            assert_eq!(plan.routes.iter().filter(same).count(), 1);
            if route.via.is_none() {
                let before = plan.routes.get(..n).expect("those before");
                assert!(before.iter().all(|b| b.route.via.is_none()), "order");
            }
            if let Some(serves) = planned.serves {
                assert_eq!(plan.states.get(serves), Some(&State::Applied));
            }
        }
        plan
    }

    fn states(&self) -> Vec<State> {
        self.plan().states
    }
}

/// Routes of a plan as `ip route` writes them.
fn written(plan: &Plan) -> Vec<String> {
    let write = |planned: &Planned| {
        let r = planned.route;
        let mut text = format!("{}/{}", r.target, r.bits);
        if let Some(via) = r.via {
            text += &format!(" via {via}");
        }
        if r.table != MAIN_TABLE {
            text += &format!(" table {}", r.table);
        }
        if let Some(source) = r.source {
            text += &format!(" src {source}");
        }
        text + &format!(" metric {}", r.metric)
    };
    plan.routes.iter().map(write).collect()
}

#[test]
fn routes_on_the_link_come_before_those_through_a_gateway() {
    let case = Case::new(
        &["10.1.0.2/24"],
        &[
            "192.168.50.0/24 via 10.1.0.1",
            "10.1.0.0/24",
            "192.168.60.0/24 via 172.30.0.1",
            "172.30.0.0/16",
            // We have no address of this family there.
            "fd77::/64",
        ],
    );
    let plan = case.plan();
    assert_eq!(
        written(&plan),
        [
            "172.30.0.0/16 metric 5000",
            "192.168.50.0/24 via 10.1.0.1 metric 5000",
            "192.168.60.0/24 via 172.30.0.1 metric 5000",
        ]
    );
    assert_eq!(
        plan.states,
        [
            State::Applied,
            State::OnLink,
            State::Applied,
            State::Applied,
            State::NoAddress
        ]
    );
    assert_eq!(
        plan.addresses,
        [Placed {
            prefix: prefix("10.1.0.2/24"),
            bare: false
        }]
    );
    assert_eq!(plan.rules, []);
    let both = Case::new(&["10.1.0.2/24", "fd01::2/64"], &["fd77::/64"]);
    assert_eq!(written(&both.plan()), ["fd77::/64 metric 5000"]);
    let none = Case::new(&[], &["172.30.0.0/16", "0.0.0.0/0"]).with("allowDefault", "1");
    assert_eq!(none.states(), [State::NoAddress, State::NoAddress]);
}

#[test]
fn a_connected_subnet_is_never_shadowed() {
    // Equal, inside, and wider than what eth0 is connected to.
    let routes = ["192.168.1.0/24", "192.168.1.128/25", "192.168.0.0/16"];
    let lan = ["192.168.1.10/24", "fd00:1::5/64"];
    let case = Case::new(&["10.1.0.2/24"], &routes).beside(&lan);
    assert_eq!(
        case.states(),
        [State::Connected, State::Connected, State::Applied]
    );
    let six = ["fd00:1::/64", "fd00::/32"];
    let case = Case::new(&["fd02::2/64"], &six).beside(&lan);
    assert_eq!(case.states(), [State::Connected, State::Applied]);
    // The managed address itself: set, but without the route that the system would make.
    let case = Case::new(&["192.168.1.77/24"], &["192.168.1.0/24"]).beside(&lan);
    let plan = case.plan();
    assert_eq!(
        plan.addresses,
        [Placed {
            prefix: prefix("192.168.1.77/24"),
            bare: true
        }]
    );
    assert_eq!((plan.routes, plan.states), (vec![], vec![State::Connected]));
    // A gateway inside the subnet of somebody else is not on our link.
    let case = Case::new(&["192.168.1.77/24"], &["172.16.0.0/12 via 192.168.1.1"]).beside(&lan);
    assert_eq!(case.states(), [State::Unreachable]);
    // A default route of another interface is no subnet.
    let case = Case::new(&["10.1.0.2/24"], &["10.2.0.0/16"]).beside(&["10.9.9.9/0"]);
    assert_eq!(case.states(), [State::Applied]);
}

#[test]
fn a_default_route_is_two_halves_and_asks_first() {
    let new = || {
        Case::new(
            &["10.1.0.2/24", "fd01::2/64"],
            &["0.0.0.0/0 via 10.1.0.1", "::/0 via fd01::1"],
        )
    };
    let refused = State::NotAllowed(NotAllowed::Default);
    assert_eq!(new().states(), [refused, refused]);
    let case = new().with("allowDefault", "1");
    assert_eq!(
        written(&case.plan()),
        [
            "0.0.0.0/1 via 10.1.0.1 metric 5000",
            "128.0.0.0/1 via 10.1.0.1 metric 5000",
            "::/1 via fd01::1 metric 5000",
            "8000::/1 via fd01::1 metric 5000",
        ]
    );
    assert_eq!(case.states(), [State::Applied, State::Applied]);
    // Not the managed ones at all.
    let case = new().with("allowDefault", "1").with("allowManaged", "0");
    let refused = State::NotAllowed(NotAllowed::Managed);
    assert_eq!(case.states(), [refused, refused]);
    assert_eq!(case.plan().addresses, []);
    // One family by a list.
    let case = new().with("allowDefault", "0.0.0.0/0");
    let refused = State::NotAllowed(NotAllowed::Default);
    assert_eq!(case.states(), [State::Applied, refused]);
}

#[test]
fn a_default_route_that_would_cut_us_off_is_not_set() {
    let new = || {
        Case::new(
            &["10.1.0.2/24", "fd01::2/64"],
            &["0.0.0.0/0 via 10.1.0.1", "::/0 via fd01::1"],
        )
        .with("allowDefault", "1")
    };
    let case = |online, bound, strict| Case {
        online,
        bound,
        strict,
        ..new()
    };
    assert_eq!(case(true, true, false).states(), [State::Applied; 2]);
    assert_eq!(case(false, true, false).states(), [State::Offline; 2]);
    assert_eq!(case(true, false, false).states(), [State::Unbound; 2]);
    // IPv6 has no such filter.
    assert_eq!(
        case(true, true, true).states(),
        [State::ReversePath, State::Applied]
    );
    // In a table of its own only marked packets see it.
    let own = Case {
        settings: new().with("table", "100").settings,
        ..case(true, false, true)
    };
    assert_eq!(own.states(), [State::Applied; 2]);
    let own = Case {
        online: false,
        ..own
    };
    assert_eq!(own.states(), [State::Offline; 2]);
}

#[test]
fn prefix_lists_let_through_what_lies_inside() {
    let case = Case::new(
        &["10.1.0.2/24", "10.2.0.2/24", "fd01::2/64"],
        &["10.1.64.0/18 via 10.1.0.1", "10.0.0.0/8", "fd02::/64"],
    )
    .with("allowManaged", "10.1.0.0/16,fd00::/8");
    let plan = case.plan();
    let set: Vec<Prefix> = plan.addresses.iter().map(|p| p.prefix).collect();
    assert_eq!(set, prefixes(&["10.1.0.2/24", "fd01::2/64"]));
    let refused = State::NotAllowed(NotAllowed::Managed);
    assert_eq!(plan.states, [State::Applied, refused, State::Applied]);
}

#[test]
fn what_is_of_no_or_of_global_scope_is_refused() {
    let routes = [
        "127.0.0.0/8",
        "224.0.0.0/4",
        "169.254.0.0/16",
        "fe80::/64",
        "8.8.8.0/24",
        "2001:db9::/32",
        "192.0.0.0/4",
    ];
    let scope = State::NotAllowed(NotAllowed::Scope);
    let global = State::NotAllowed(NotAllowed::Global);
    let case = Case::new(&["10.1.0.2/24", "fd01::2/64"], &routes);
    assert_eq!(
        case.states(),
        [scope, scope, scope, scope, global, global, global]
    );
    let applied = State::Applied;
    assert_eq!(
        case.with("allowGlobal", "1").states(),
        [scope, scope, scope, scope, applied, applied, applied]
    );
}

#[test]
fn metrics_come_from_the_network_then_from_the_owner() {
    let routes = [
        "10.5.0.0/16 metric 77",
        "10.6.0.0/16",
        "10.7.0.0/16 via 10.1.0.1",
        "fd77::/64 metric 3",
    ];
    let case = Case::new(&["10.1.0.2/24", "fd01::2/128"], &routes);
    let metrics = |case: &Case| -> Vec<(String, u32)> {
        let planned = case.plan().routes;
        planned
            .iter()
            .map(|p| (p.route.target.to_string(), p.route.metric))
            .collect()
    };
    let named = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
        all.iter().map(|(t, m)| ((*t).to_owned(), *m)).collect()
    };
    let with = |others: u32| {
        named(&[
            ("10.5.0.0", 77),
            ("10.6.0.0", others),
            ("fd77::", 3),
            ("10.7.0.0", others),
        ])
    };
    assert_eq!(metrics(&case), with(METRIC_DEFAULT));
    let owned = metrics(&case.with("metric", "9"));
    // The route to the prefix of the address gets it too, so it is ours instead of the system's.
    assert_eq!(owned.first(), Some(&("10.1.0.0".to_owned(), 9)));
    assert_eq!(owned.get(1..), Some(with(9).as_slice()));
    // The system's own routes to IPv6 prefixes have 256; 0 would mean something else there.
    let zero = Case::new(&["fd01::2/64"], &["fd77::/64"]).with("metric", "0");
    assert_eq!(metrics(&zero), named(&[("fd01::", 1), ("fd77::", 1)]));
}

#[test]
fn a_table_of_its_own_takes_everything_and_a_mark_leads_there() {
    let routes = ["192.168.50.0/24 via 10.1.0.1", "10.1.0.0/24"];
    let case = Case::new(&["10.1.0.2/24"], &routes).with("table", "300");
    let plan = case.plan();
    assert_eq!(
        written(&plan),
        [
            "10.1.0.0/24 table 300 src 10.1.0.2 metric 0",
            "192.168.50.0/24 via 10.1.0.1 table 300 metric 5000",
        ]
    );
    assert!(plan.addresses.iter().all(|a| a.bare));
    assert_eq!(plan.states, [State::Applied, State::OnLink]);
    assert_eq!(plan.rules, []);
    let marked = case.with("firewallMark", "256");
    let rule = Rule {
        priority: RULE_PRIORITY,
        mark: 256,
        table: 300,
        v6: false,
    };
    assert_eq!(marked.plan().rules, [rule]);
    let both = Case {
        addresses: prefixes(&["10.1.0.2/24", "fd01::2/64"]),
        ..marked
    };
    assert_eq!(both.plan().rules, [rule, Rule { v6: true, ..rule }]);
    // A mark without a table leads nowhere.
    let mark = Case::new(&["10.1.0.2/24"], &routes).with("firewallMark", "256");
    assert_eq!(mark.plan().rules, []);
}

#[test]
fn the_same_target_comes_once() {
    let routes = [
        "10.5.0.0/16 via 10.1.0.1",
        "10.5.99.0/16 via 10.1.0.3",
        "10.5.0.0/16 via 10.1.0.3 metric 6000",
        "10.5.0.0/16",
    ];
    let case = Case::new(&["10.1.0.2/24"], &routes);
    // The one on the link was looked at first.
    assert_eq!(
        case.states(),
        [
            State::Duplicate,
            State::Duplicate,
            State::Applied,
            State::Applied
        ]
    );
}

#[test]
fn a_gateway_is_on_the_link_and_somebody_else() {
    let via = |gateway: &str| {
        let route = format!("192.168.50.0/24 via {gateway}");
        Case::new(&["10.1.0.2/24"], &[&route]).states()
    };
    assert_eq!(via("10.1.0.1"), [State::Applied]);
    assert_eq!(via("10.1.0.2"), [State::Own]);
    assert_eq!(via("10.2.0.1"), [State::Unreachable]);
    assert_eq!(via("0.0.0.0"), [State::Unreachable]);
    assert_eq!(via("224.0.0.1"), [State::Unreachable]);
    assert_eq!(via("fd00::1"), [State::Unreachable]);
    // Link-local ones are on every link.
    let six = Case::new(&["fd01::2/64"], &["fd50::/64 via fe80::1"]);
    assert_eq!(six.states(), [State::Applied]);
    // Without any address there is no link.
    let none = Case::new(&[], &["192.168.50.0/24 via 10.1.0.1"]);
    assert_eq!(none.states(), [State::Unreachable]);
}

#[test]
fn what_is_too_many_is_shown_as_such() {
    let routes: Vec<String> = (0..ROUTES_MAX + 3)
        .map(|n| format!("10.{}.{}.0/24", n / 200, n % 200))
        .collect();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let states = Case::new(&["172.20.0.2/24"], &routes).states();
    let (kept, beyond) = states.split_at(ROUTES_MAX);
    assert!(kept.iter().all(|state| *state == State::Applied));
    assert_eq!(beyond, [State::TooMany; 3]);
    let addresses: Vec<String> = (0..ADDRESSES_MAX + 3)
        .map(|n| format!("10.1.0.{n}/24"))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let plan = Case::new(&addresses, &[]).plan();
    assert_eq!(plan.addresses.len(), ADDRESSES_MAX);
}

#[test]
fn an_address_comes_once_with_its_wider_prefix() {
    let all = ["10.1.0.1/24", "10.1.0.1/16", "8.8.8.8/24", "fd00::1/88"];
    let plan = Case::new(&all, &[]).plan();
    let set: Vec<Prefix> = plan.addresses.iter().map(|p| p.prefix).collect();
    assert_eq!(set, prefixes(&["10.1.0.1/16", "fd00::1/88"]));
}

#[test]
fn new_routes_come_before_old_ones_go() {
    let route = |target: &str, metric, via: &str| Route {
        table: MAIN_TABLE,
        target: ip(target),
        bits: 24,
        metric,
        index: DEVICE,
        via: Some(ip(via)),
        source: None,
    };
    let kept = route("10.5.0.0", 5000, "10.1.0.1");
    let old = route("10.6.0.0", 5000, "10.1.0.1");
    let other_metric = route("10.6.0.0", 1, "10.1.0.1");
    let other_via = route("10.5.0.0", 5000, "10.1.0.9");
    let steps = |applied: &[Route], wanted: &[Route]| -> Vec<(Option<Route>, Option<Route>)> {
        let serves = None;
        let planned = wanted.iter().map(|&route| Planned { route, serves });
        let changes = difference(applied, &planned.collect::<Vec<_>>());
        changes.iter().map(|c| (c.old, c.new)).collect()
    };
    let (add, remove) = (|new| (None, Some(new)), |old| (Some(old), None));
    assert_eq!(steps(&[kept, old], &[kept, old]), []);
    assert_eq!(
        steps(&[kept, old], &[other_metric, kept]),
        [add(other_metric), remove(old)]
    );
    assert_eq!(
        steps(&[kept, old], &[other_via]),
        [(Some(kept), Some(other_via)), remove(old)]
    );
    assert_eq!(steps(&[], &[old]), [add(old)]);
    assert_eq!(steps(&[old], &[]), [remove(old)]);
}

#[test]
fn each_state_has_its_word() {
    let states = [
        State::NotAllowed(NotAllowed::Managed),
        State::NotAllowed(NotAllowed::Global),
        State::NotAllowed(NotAllowed::Default),
        State::NotAllowed(NotAllowed::Scope),
        State::Connected,
        State::Unreachable,
        State::Own,
        State::NoAddress,
        State::Duplicate,
        State::Offline,
        State::Unbound,
        State::ReversePath,
        State::TooMany,
        State::NoDevice,
        State::Failed(libc::EEXIST),
        State::Failed(-1),
    ];
    let mut words: Vec<&str> = states.iter().map(|state| state.reason()).collect();
    assert!(states.iter().all(|state| !state.is_installed()));
    assert!(words.iter().all(|w| !w.is_empty() && !w.contains(' ')));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), states.len());
    for state in [State::Applied, State::OnLink] {
        assert!(state.is_installed() && state.reason().is_empty());
    }
}
