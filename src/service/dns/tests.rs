use std::os::unix::fs::PermissionsExt as _;

use super::super::state::tests::Scratch;
use super::hands::{JOBS_MAX, PATIENCE_MS, Worker, dnsmasq_dirs};
use super::*;

const STUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/service/dns/stub.sh");
/// Far above what a script of two lines takes.
const ROUNDS: u32 = 60_000;

fn id(n: u64) -> NetworkId {
    NetworkId::new(0x8056_c2e2_1c00_0000 + n).expect("an id")
}

fn pushed(domain: &'static str, servers: &[&str]) -> Pushed<'static> {
    let servers = servers.iter().map(|ip| ip.parse().expect("an address"));
    let servers: Vec<IpAddr> = servers.collect();
    Pushed {
        domain,
        servers: servers.leak(),
    }
}

fn lab() -> Pushed<'static> {
    pushed("lab.example", &["10.1.0.1", "fd01::1"])
}

/// Resolvers that write down how they were called.
struct Bench {
    scratch: Scratch,
    resolver: Resolver<Worker>,
    now: Mono,
}

fn resolver(places: Places, home: &std::path::Path) -> Resolver<Worker> {
    let hook = places.hook();
    let worker = Worker::new(Box::new(move || places.clone()), home);
    Resolver::new(Box::new(move || hook), worker)
}

impl Bench {
    fn new(name: &str, hook: Hook) -> Self {
        let scratch = Scratch::new(name);
        let dir = scratch.0.dir().to_owned();
        // A link to a file that nobody writes: one just written may be busy while other tests
        // start programs.
        let script = |name: &str| {
            let path = dir.join(name);
            std::os::unix::fs::symlink(STUB, &path).expect("a link");
            path
        };
        let mut places = Places::default();
        match hook {
            Hook::Dnsmasq => {
                std::fs::create_dir(dir.join("dnsmasq.d")).expect("a directory");
                places.dnsmasq_dirs = vec![dir.join("dnsmasq.d")];
                places.dnsmasq_script = Some(script("dnsmasq"));
                places.resolvectl = Some(script("resolvectl"));
            }
            Hook::Resolvectl => {
                places.resolvectl = Some(script("resolvectl"));
                places.resolvconf = Some(script("resolvconf"));
            }
            Hook::Resolvconf => places.resolvconf = Some(script("resolvconf")),
            Hook::Event => {}
        }
        let resolver = resolver(places, &dir);
        Self {
            scratch,
            resolver,
            now: Mono::from_ms(1 << 40),
        }
    }

    fn set(&mut self, n: u64, device: &str, allowed: bool, pushed: Pushed<'_>) -> bool {
        let changed = self.resolver.set(self.now, id(n), device, allowed, pushed);
        self.settle();
        changed
    }

    /// Until no program runs. How long that takes depends on the machine alone, so the clock of
    /// the resolver stands still: nothing here takes too long.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            if self.resolver.hands.next_deadline().is_none() {
                return;
            }
            self.work(self.now);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("a program does not end");
    }

    fn work(&mut self, now: Mono) {
        self.resolver.hands.work(now);
        self.resolver.listen(now);
    }

    /// How they were called since the last time.
    fn calls(&self) -> Vec<String> {
        let path = self.scratch.0.dir().join("calls");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    fn file(&self, n: u64) -> Option<String> {
        let name = format!("dnsmasq.d/zerotier-{}.conf", id(n));
        let bytes = self.scratch.get(&name)?;
        Some(String::from_utf8(bytes).expect("text"))
    }
}

#[test]
fn a_domain_is_a_host_name() {
    for good in ["lab.example", "lab", "a-b.c_d.x1", "xn--bcher-kva.example"] {
        assert_eq!(host_name(good), Some(good));
    }
    assert_eq!(host_name("lab.example."), Some("lab.example"));
    let long_label = "a".repeat(64);
    let long = format!("{}a", "abcdefg.".repeat(32));
    for bad in [
        "",
        ".",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "a#b",
        "a\nserver=/x/1.2.3.4",
        "a\0b",
        "-a",
        "a-",
        "bücher.example",
        "$(id)",
        "a;b",
        "*",
        "~.",
        &long_label,
        &long,
    ] {
        assert_eq!(host_name(bad), None, "{bad:?}");
    }
}

#[test]
fn a_server_is_one_machine() {
    let is = |text: &str| is_server(&text.parse().expect("an address"));
    for good in ["10.1.0.1", "8.8.8.8", "fd01::1", "2606:4700::1111"] {
        assert!(is(good), "{good}");
    }
    for bad in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.251",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "ff02::fb",
        "::ffff:10.0.0.1",
    ] {
        assert!(!is(bad), "{bad}");
    }
}

#[test]
fn each_reason_has_its_word_and_nobody_is_told() {
    let mut bench = Bench::new("dns-reasons", Hook::Resolvectl);
    let cases = [
        (pushed("", &[]), true, "zt0", "none"),
        (lab(), false, "zt0", "not-allowed"),
        (pushed("", &["10.1.0.1"]), true, "zt0", "bad-domain"),
        (pushed("a b", &["10.1.0.1"]), true, "zt0", "bad-domain"),
        (pushed("lab", &[]), true, "zt0", "bad-servers"),
        (pushed("lab", &["127.0.0.1"]), true, "zt0", "bad-servers"),
        (lab(), true, "", "no-device"),
    ];
    for (pushed, allowed, device, word) in cases {
        bench.set(1, device, allowed, pushed);
        assert_eq!(bench.resolver.state(id(1)).name(), word);
        assert!(!bench.set(1, device, allowed, pushed), "{word}");
    }
    assert_eq!(bench.calls(), [""; 0]);
}

#[test]
fn dnsmasq_gets_a_file_and_a_restart() {
    let mut bench = Bench::new("dns-dnsmasq", Hook::Dnsmasq);
    assert!(bench.set(1, "zt0", true, lab()));
    assert_eq!(bench.resolver.state(id(1)).name(), "dnsmasq");
    let text = bench.file(1).expect("a file");
    assert!(text.starts_with("# zerotier-one "));
    assert!(
        text.ends_with(
            "server=/lab.example/10.1.0.1\nserver=/lab.example/fd01::1\n\
             rebind-domain-ok=/lab.example/\n"
        ),
        "{text}"
    );
    assert_eq!(bench.calls(), ["dnsmasq restart"]);
    assert!(!bench.set(1, "zt0", true, lab()));
    assert_eq!(bench.calls(), [""; 0]);
    // One restart does for a second change that comes while the first is served.
    let more = pushed("lab.example", &["10.1.0.9"]);
    let now = bench.now;
    let mut change = |n, pushed| bench.resolver.set(now, id(n), "zt0", true, pushed);
    assert!(change(1, more) && change(2, lab()) && change(3, lab()));
    bench.settle();
    assert_eq!(bench.calls(), ["dnsmasq restart"; 2]);
    assert!(bench.file(1).is_some_and(|text| text.contains("10.1.0.9")));
    // Not allowed any more, left, stopped.
    assert!(bench.set(1, "zt0", false, lab()));
    assert!(bench.file(1).is_none() && bench.file(2).is_some());
    assert!(bench.resolver.forget(bench.now, id(2)));
    assert!(!bench.resolver.forget(bench.now, id(2)));
    bench.settle();
    assert!(bench.file(2).is_none() && bench.file(3).is_some());
    bench.resolver.finish(bench.now);
    assert!(bench.file(3).is_none());
}

#[test]
fn files_of_a_run_that_was_cut_off_are_removed() {
    let mut bench = Bench::new("dns-crash", Hook::Dnsmasq);
    bench.set(1, "zt0", true, lab());
    let others = "dnsmasq.d/zerotier-8056c2e21c000009.conf";
    bench
        .scratch
        .put(others, b"# zerotier-one \"/elsewhere\"\n");
    bench
        .scratch
        .put("dnsmasq.d/mine.conf", b"server=1.1.1.1\n");
    let places = bench.resolver.hands.places.clone();
    // What is told is not taken back when it just ends.
    drop(bench.resolver);
    let home = bench.scratch.0.dir().to_owned();
    bench.resolver = resolver(places, &home);
    assert_eq!(bench.file(1), None);
    assert!(bench.scratch.get(others).is_some());
    assert!(bench.scratch.get("dnsmasq.d/mine.conf").is_some());
}

#[test]
fn resolved_hears_of_servers_and_domain_of_the_device() {
    let mut bench = Bench::new("dns-resolved", Hook::Resolvectl);
    bench.set(1, "zt0", true, lab());
    assert_eq!(bench.resolver.state(id(1)).name(), "resolvectl");
    let told = |device: &str| {
        [
            format!("resolvectl dns {device} 10.1.0.1 fd01::1"),
            format!("resolvectl domain {device} ~lab.example"),
        ]
    };
    assert_eq!(bench.calls(), told("zt0"));
    // Another device: the old one is put back first.
    bench.set(1, "zt1", true, lab());
    let calls = bench.calls();
    assert_eq!(
        calls.first().map(String::as_str),
        Some("resolvectl revert zt0")
    );
    assert_eq!(calls.get(1..), Some(&told("zt1")[..]));
    bench.set(1, "zt1", true, Pushed::default());
    assert_eq!(bench.calls(), ["resolvectl revert zt1"]);
    assert_eq!(bench.resolver.state(id(1)).name(), "none");
}

#[test]
fn a_program_that_fails_is_shown_and_tried_again_after_a_pause() {
    let mut bench = Bench::new("dns-resolvconf", Hook::Resolvconf);
    bench.scratch.put("fails", b"");
    bench.set(1, "zt0", true, lab());
    assert_eq!(bench.calls(), ["resolvconf -a zt0"]);
    let input = bench.scratch.get("input").expect("what it was told");
    assert_eq!(
        String::from_utf8(input).expect("text"),
        "nameserver 10.1.0.1\nnameserver fd01::1\nsearch lab.example\n"
    );
    assert_eq!(bench.resolver.state(id(1)).name(), "failed");
    bench.set(1, "zt0", true, lab());
    assert_eq!(bench.calls(), [""; 0]);
    bench.set(1, "zt0", true, pushed("other.example", &["10.1.0.1"]));
    assert_eq!(bench.calls(), ["resolvconf -a zt0"]);
    assert_eq!(bench.resolver.take_changed(), Some(id(1)));
    assert_eq!(bench.resolver.take_changed(), None);
    let other = || pushed("other.example", &["10.1.0.1"]);
    bench.now = bench.now.after(RETRY_MS - 1);
    bench.set(1, "zt0", true, other());
    assert_eq!(bench.calls(), [""; 0]);
    let fails = bench.scratch.0.dir().join("fails");
    std::fs::remove_file(fails).expect("removed");
    bench.now = bench.now.after(1);
    bench.set(1, "zt0", true, other());
    assert_eq!(bench.calls(), ["resolvconf -a zt0"]);
    assert_eq!(bench.resolver.state(id(1)).name(), "resolvconf");
    assert_eq!(bench.resolver.take_changed(), None);
}

#[test]
fn a_program_that_hangs_is_ended_and_one_that_is_missing_does_no_harm() {
    let mut bench = Bench::new("dns-hang", Hook::Resolvectl);
    let path = bench
        .resolver
        .hands
        .places
        .resolvectl
        .clone()
        .expect("a path");
    bench.scratch.put("hangs", b"");
    let now = bench.now;
    bench.resolver.set(now, id(1), "zt0", true, lab());
    bench.work(now);
    assert!(bench.resolver.hands.running.is_some());
    // Both calls, one after the other.
    let late = now.after(PATIENCE_MS);
    bench.work(late);
    assert!(bench.resolver.hands.running.is_some());
    bench.work(late.after(PATIENCE_MS));
    assert!(bench.resolver.hands.running.is_none());
    assert_eq!(bench.resolver.state(id(1)).name(), "failed");
    std::fs::remove_file(path).expect("removed");
    bench.set(1, "zt0", true, pushed("other.example", &["10.1.0.1"]));
    assert_eq!(bench.resolver.state(id(1)).name(), "failed");
}

#[test]
fn programs_that_wait_are_bounded() {
    let mut bench = Bench::new("dns-many", Hook::Resolvectl);
    for n in 0..200 {
        bench.resolver.set(bench.now, id(n), "zt0", true, lab());
        assert!(bench.resolver.hands.waiting() <= JOBS_MAX);
    }
    assert_eq!(bench.resolver.state(id(199)).name(), "failed");
    bench.settle();
    assert_eq!(bench.resolver.state(id(0)).name(), "resolvectl");
}

#[test]
fn without_a_resolver_there_is_the_event() {
    let mut bench = Bench::new("dns-event", Hook::Event);
    assert!(bench.set(1, "zt0", true, lab()));
    assert_eq!(bench.resolver.state(id(1)).name(), "event");
    assert!(bench.resolver.forget(bench.now, id(1)));
}

#[test]
fn only_directories_of_our_own_are_written_to() {
    let scratch = Scratch::new("dns-dirs");
    let dir = scratch.0.dir().to_owned();
    for (name, mode) in [
        ("dnsmasq.d", 0o755),
        ("dnsmasq.cfg01411c.d", 0o755),
        ("dnsmasq.cfgopen.d", 0o777),
        ("dnsmasq.other", 0o755),
    ] {
        std::fs::create_dir(dir.join(name)).expect("a directory");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(dir.join(name), mode).expect("a mode");
    }
    std::os::unix::fs::symlink(dir.join("dnsmasq.d"), dir.join("dnsmasq.cfglink.d"))
        .expect("a link");
    let text = dir.to_str().expect("a path");
    // The same place by two ways counts once.
    let found = dnsmasq_dirs(&[text, &format!("{text}/.")]);
    let names: Vec<&str> = found
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .collect();
    assert_eq!(names, ["dnsmasq.cfg01411c.d", "dnsmasq.d"]);
}
