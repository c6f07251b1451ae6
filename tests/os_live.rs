//! The system layer against this machine's kernel: loopback, files in a directory of our own, and
//! with rights for it devices in a network namespace of the test's own thread.
#![cfg(feature = "os")]

use std::net::SocketAddr;

use zt::os::udp::{Counts, RecvBatch, SendBatch, Socket};

fn bound(address: &str) -> Socket {
    Socket::bind(address.parse().expect("an address"), "").expect("a socket")
}

/// How datagrams travel.
#[derive(Clone, Copy, Debug)]
struct Way {
    joined: bool,
    one_by_one: bool,
}

const WAYS: [Way; 4] = [
    Way::new(true, false),
    Way::new(true, true),
    Way::new(false, false),
    Way::new(false, true),
];

impl Way {
    const fn new(joined: bool, one_by_one: bool) -> Self {
        Self { joined, one_by_one }
    }
}

/// Sends datagrams of these sizes from one socket to another; what came, and both counts.
fn travel(address: &str, sizes: &[usize], way: Way) -> (Vec<Vec<u8>>, Counts, Counts) {
    let (mut from, mut to) = (bound(address), bound(address));
    from.set_joining(way.joined);
    to.set_joining(way.joined);
    let target = to.local().expect("an address");
    let source = from.local().expect("an address");
    let mut out = SendBatch::new();
    let mut arena = RecvBatch::new(4);
    if way.one_by_one {
        out.set_one_by_one();
        arena.set_one_by_one();
    }
    let mut got: Vec<Vec<u8>> = Vec::new();
    let mut take = |arena: &mut RecvBatch| {
        while to.receive(arena).expect("received") > 0 {
            got.extend(arena.datagrams().map(|(sender, bytes)| {
                assert_eq!(sender, source);
                bytes.to_vec()
            }));
        }
    };
    for (n, size) in sizes.iter().enumerate() {
        let bytes = contents(n, *size);
        let (head, tail) = bytes.split_at(size / 3);
        while !out.push(&from, target, [head, tail], None) {
            out.flush(|_, error| panic!("{way:?}: {error}"));
            take(&mut arena);
        }
    }
    out.flush(|_, error| panic!("{way:?}: {error}"));
    take(&mut arena);
    let counts = (out.counts(), arena.counts());
    (got, counts.0, counts.1)
}

fn contents(n: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (n + at / 256) as u8).collect()
}

#[test]
fn datagrams_arrive_whole_and_in_order_on_every_way() {
    // Runs of one size, with shorter ones that end a run, longer ones that cannot join, and
    // empty ones.
    let sizes: Vec<usize> = (0..400)
        .map(|n| match n % 23 {
            7 => 40 + n,
            11 => 3000,
            13 => 0,
            _ => 1400,
        })
        .collect();
    // What is empty says nothing and is left out.
    let want: Vec<Vec<u8>> = sizes
        .iter()
        .enumerate()
        .map(|(n, size)| contents(n, *size))
        .filter(|bytes| !bytes.is_empty())
        .collect();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for way in WAYS {
            let (got, sent, received) = travel(address, &sizes, way);
            assert!(
                got == want,
                "{address} {way:?}: {} of {}",
                got.len(),
                want.len()
            );
            assert_eq!(sent.datagrams, 400, "{address} {way:?}");
            assert_eq!(received.datagrams, want.len() as u64, "{address} {way:?}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn batches_and_joining_save_calls() {
    let sizes = [1400; 256];
    let of = |joined, one_by_one| travel("127.0.0.1:0", &sizes, Way::new(joined, one_by_one)).1;
    let single = of(false, true);
    assert_eq!((single.calls, single.messages), (256, 256));
    let batched = of(false, false);
    assert_eq!(batched.messages, 256);
    assert!(batched.calls <= 8, "{batched:?}");
    let joined = of(true, false);
    if joined.messages == 256 {
        eprintln!("NOT TESTED: this kernel has no UDP_SEGMENT");
        return;
    }
    // 46 datagrams of 1400 bytes are less than 65000.
    assert!(joined.messages <= 8 && joined.calls <= 4, "{joined:?}");
}

#[test]
fn one_batch_serves_several_sockets() {
    let senders = [bound("127.0.0.1:0"), bound("127.0.0.1:0")];
    let to = bound("127.0.0.1:0");
    let target = to.local().unwrap();
    let mut out = SendBatch::new();
    for n in 0..6_u8 {
        let socket = &senders[usize::from(n / 2 % 2)];
        assert!(out.push(socket, target, [&[n], &[n]], Some(3)));
    }
    out.flush(|_, error| panic!("{error}"));
    let mut arena = RecvBatch::new(16);
    to.receive(&mut arena).unwrap();
    let got: Vec<(SocketAddr, Vec<u8>)> = arena
        .datagrams()
        .map(|(from, bytes)| (from, bytes.to_vec()))
        .collect();
    let want: Vec<(SocketAddr, Vec<u8>)> = (0..6_u8)
        .map(|n| (senders[usize::from(n / 2 % 2)].local().unwrap(), vec![n, n]))
        .collect();
    assert_eq!(got, want);
}

/// Runs a test, by its path, in a process and a network namespace of its own, both of which it may
/// spoil: `/proc/net` shows the namespace of a process, not of a thread, and nobody gets rights
/// back.
#[cfg(target_os = "linux")]
fn apart(test: &str, work: impl FnOnce()) {
    use std::process::Command;
    /// Holds the test's path where it is safe to go on.
    const INSIDE: &str = "ZT_OS_LIVE_INSIDE";
    if std::env::var_os(INSIDE).is_some_and(|inside| inside == test) {
        return work();
    }
    let may = Command::new("unshare").args(["-n", "ip", "link"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: {test}: no right to make a namespace");
        return;
    }
    // Who gave up its rights cannot clear up.
    let dir = test.replace(':', "-");
    let dir = std::env::temp_dir().join(format!("zt{}{dir}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let output = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, test)
        .env("TMPDIR", &dir)
        .output()
        .expect("unshare runs");
    std::fs::remove_dir_all(&dir).expect("removed");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    eprint!("{errors}");
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

#[cfg(target_os = "linux")]
mod rights {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::os::unix::process::CommandExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::apart;
    use zt::os::privilege::{StillRoot, User, give_up, is_root, no_new_rights, present};

    const USER: User = User {
        uid: 4711,
        gid: 4712,
    };

    /// A line of the thread's status: capabilities belong to threads.
    fn status(key: &str) -> String {
        let text = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
        words.join(" ")
    }

    fn capabilities(wanted: &str) {
        for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
            assert_eq!(status(set), wanted, "{set}");
        }
        assert_eq!(status("CapInh:"), "0000000000000000");
    }

    /// A directory with a file, a folder, a second name of a file elsewhere and a link to it.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("zt{}{name}", std::process::id()));
            for place in ["home/networks.d", "home/of-mine", "elsewhere"] {
                fs::create_dir_all(dir.join(place)).expect("a directory");
            }
            for file in [
                "home/identity.secret",
                "home/networks.d/one",
                "home/of-mine/file",
                "elsewhere/file",
            ] {
                fs::File::create(dir.join(file)).expect("a file");
            }
            let elsewhere = dir.join("elsewhere/file");
            fs::hard_link(&elsewhere, dir.join("home/planet")).expect("a name");
            symlink(&elsewhere, dir.join("home/authtoken.secret")).expect("a link");
            symlink(dir.join("elsewhere"), dir.join("home/moons.d")).expect("a link");
            symlink(dir.join("home"), dir.join("link-to-home")).expect("a link");
            Self(dir)
        }

        fn path(&self) -> PathBuf {
            // As packages of routers have it.
            self.0.join("link-to-home")
        }

        fn owner(&self, name: &str) -> (u32, u32) {
            let meta = fs::symlink_metadata(self.0.join(name)).expect("it is there");
            (meta.uid(), meta.gid())
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            // Whoever started this does it if that is not allowed any more.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_user_keeps_the_network_and_nothing_else() {
        apart("rights::a_user_keeps_the_network_and_nothing_else", || {
            assert_eq!(User::named("no-such-user-here"), Ok(None));
            assert_eq!(User::named("root"), Ok(Some(User { uid: 0, gid: 0 })));
            let home = Home::new("user");
            let needed: &[&Path] = &[Path::new("/dev/null")];
            assert_eq!(give_up(Some(USER), &[4713], &home.path(), needed), Ok(None));
            no_new_rights().expect("for good");
            assert!(!is_root());
            assert_eq!(status("Uid:"), "4711 4711 4711 4711");
            assert_eq!(status("Gid:"), "4712 4712 4712 4712");
            assert_eq!(status("Groups:"), "4712 4713");
            capabilities("0000000000003400");
            assert_eq!(status("NoNewPrivs:"), "1");
            for name in ["", "/identity.secret", "/networks.d", "/networks.d/one"] {
                assert_eq!(home.owner(&format!("home{name}")), (4711, 4712), "{name}");
            }
            for name in [
                "home/planet",
                "home/authtoken.secret",
                "home/moons.d",
                "home/of-mine",
                "home/of-mine/file",
                "elsewhere",
                "elsewhere/file",
            ] {
                assert_eq!(home.owner(name), (0, 0), "{name}");
            }
            // What is kept works: the loopback device is the namespace's own.
            let mut control = zt::os::netlink::Control::open().expect("netlink");
            let ip = "127.9.9.9".parse().expect("an address");
            control.add_address(1, ip, 32).expect("still may");
            // In a process of its own: this one has a thread that gave up nothing.
            assert!(Command::new("true").uid(0).status().is_err());
        });
    }

    #[test]
    fn a_root_keeps_no_more_than_a_user() {
        apart("rights::a_root_keeps_no_more_than_a_user", || {
            let home = Home::new("root");
            let secret = home.path().join("identity.secret");
            let needed: &[&Path] = &[Path::new("/dev/null"), Path::new("/dev/nothing")];
            let still = give_up(Some(USER), &[4713], &home.path(), needed).expect("given up");
            let why = still.expect("still root").to_string();
            assert_eq!(
                why,
                "/dev/nothing for that user: open: No such file or directory (os error 2)"
            );
            assert_eq!(status("Uid:"), "0 0 0 0");
            assert_eq!(status("Groups:"), "0 4713");
            capabilities("0000000000003400");
            assert_eq!(home.owner("home/identity.secret"), (0, 0));
            assert!(fs::File::open(&secret).is_ok());
            assert_eq!(
                nix::unistd::chown(&secret, Some(4711.into()), None),
                Err(nix::errno::Errno::EPERM)
            );
            let text = present().expect("a status");
            assert!(!text.contains("no new ones"), "{text}");
        });
    }

    #[test]
    fn a_root_may_use_a_home_of_somebody_else() {
        apart("rights::a_root_may_use_a_home_of_somebody_else", || {
            let home = Home::new("other");
            let file = home.path().join("networks.d/one");
            nix::unistd::chown(&file, Some(4711.into()), None).expect("somebody's");
            let still = give_up(None, &[], &home.path(), &[]).expect("given up");
            assert_eq!(still, Some(StillRoot::NoUser));
            for set in ["CapEff:", "CapPrm:"] {
                assert_eq!(status(set), "0000000000003402", "{set}");
            }
            assert!(fs::File::create(file).is_ok());
        });
    }
}

#[cfg(target_os = "linux")]
mod namespace {
    use std::net::IpAddr;
    use std::os::fd::AsRawFd as _;
    use std::process::Command;

    use zt::base::Mac;
    use zt::os::netlink::{Control, Monitor};
    use zt::os::tap::Tap;

    use super::{Way, apart, contents, travel};

    const MAC: Mac = Mac::new([0x02, 1, 2, 3, 4, 5]);

    fn ip(arguments: &str) -> String {
        let output = Command::new("ip")
            .args(arguments.split(' '))
            .output()
            .expect("ip runs");
        assert!(output.status.success(), "ip {arguments}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The monitor in a poll, as in the loop. The kernel tells of addresses of IPv6 some time
    /// after it has set them.
    struct News {
        poll: mio::Poll,
        monitor: Monitor,
    }

    impl News {
        fn new() -> Self {
            let monitor = Monitor::open().expect("netlink");
            let poll = mio::Poll::new().expect("a poll");
            poll.registry()
                .register(
                    &mut mio::unix::SourceFd(&monitor.as_raw_fd()),
                    mio::Token(0),
                    mio::Interest::READABLE,
                )
                .expect("registered");
            Self { poll, monitor }
        }

        fn wait(&mut self, what: &str) {
            let mut events = mio::Events::with_capacity(4);
            while !self.monitor.drain().system {
                let patience = std::time::Duration::from_secs(30);
                self.poll.poll(&mut events, Some(patience)).expect("polled");
                assert!(!events.is_empty(), "no news of {what}");
            }
        }
    }

    /// `None`, said aloud, where there are no taps.
    fn tap(name: &str) -> Option<Tap> {
        match Tap::open(name, MAC, 2800) {
            Ok(tap) => Some(tap),
            Err(error) if *error.op == "open /dev/net/tun" => {
                eprintln!("NOT TESTED: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_tap_is_what_was_asked_for_and_goes_with_its_owner() {
        apart(
            "namespace::a_tap_is_what_was_asked_for_and_goes_with_its_owner",
            || {
                let Some(tap) = tap("zttest0") else { return };
                assert_eq!((tap.name(), tap.mac()), ("zttest0", Ok(MAC)));
                let shown = ip("-o link show dev zttest0");
                assert!(shown.starts_with(&format!("{}: zttest0", tap.index())));
                assert!(
                    shown.contains("mtu 2800") && shown.contains("UP"),
                    "{shown}"
                );
                tap.set_mtu(1400).expect("an MTU");
                assert!(ip("-o link show dev zttest0").contains("mtu 1400"));
                let taken = Tap::open("zttest0", MAC, 2800).expect_err("taken");
                assert_eq!(taken.errno, libc::EEXIST);
                let long = Tap::open("sixteen-letters-", MAC, 2800).expect_err("too long");
                assert_eq!(long.errno, libc::EINVAL);
                if let Ok(accept) = std::fs::read("/proc/sys/net/ipv6/conf/zttest0/accept_ra") {
                    assert_eq!(accept, b"0\n");
                }
                drop(tap);
                assert!(!ip("-o link").contains("zttest0"));
            },
        );
    }

    #[test]
    fn frames_pass_a_tap_both_ways() {
        apart("namespace::frames_pass_a_tap_both_ways", || {
            let Some(tap) = tap("zttest1") else { return };
            let mut control = Control::open().expect("netlink");
            let own: IpAddr = "10.99.1.1".parse().expect("an address");
            control.add_address(tap.index(), own, 24).expect("added");
            // Who has 10.99.1.1? Tell 10.99.1.2.
            let mut question = vec![0xff; 6];
            question.extend([2, 9, 9, 9, 9, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            question.extend([
                2, 9, 9, 9, 9, 9, 10, 99, 1, 2, 0, 0, 0, 0, 0, 0, 10, 99, 1, 1,
            ]);
            tap.write_frame(&question).expect("written");
            let mut room = [0; 1514];
            let mut answered = false;
            // The kernel answers within the write; what it says on its own lies in the queue before.
            while let Some(len) = tap.read_frame(&mut room).expect("read") {
                let frame = &room[..len];
                answered |= frame.get(12..14) == Some(&[8, 6])
                    && frame.get(20..22) == Some(&[0, 2])
                    && frame.get(22..28) == Some(&MAC.to_bytes());
            }
            assert!(answered, "an ARP reply");
            let mut groups = Vec::new();
            tap.multicast_groups(&mut groups).expect("groups");
            let all_hosts = Mac::new([1, 0, 0x5e, 0, 0, 1]);
            assert!(groups.contains(&all_hosts), "{groups:?}");
            ip("link set zttest1 down");
            let error = tap.write_frame(&question).expect_err("down");
            assert_eq!(error.errno, libc::EIO);
            ip("link del zttest1");
            let error = tap.read_frame(&mut room).expect_err("gone");
            assert_eq!(error.errno, libc::EBADFD);
        });
    }

    #[test]
    fn addresses_and_the_default_route_are_seen_and_their_changes_told() {
        apart(
            "namespace::addresses_and_the_default_route_are_seen_and_their_changes_told",
            || {
                let Some(tap) = tap("zttest2") else { return };
                let mut control = Control::open().expect("netlink");
                let mut news = News::new();
                let v6 = std::path::Path::new("/proc/net/if_inet6").exists();
                let mut wanted = vec![("10.99.2.1", 24)];
                if v6 {
                    wanted.push(("fd99::2:1", 88));
                } else {
                    eprintln!("NOT TESTED: addresses of IPv6: not in this kernel");
                }
                for (text, bits) in wanted {
                    let ip: IpAddr = text.parse().expect("an address");
                    let present = |control: &mut Control| {
                        let all = control.addresses().expect("a list");
                        all.into_iter().find(|a| a.ip == ip)
                    };
                    control.add_address(tap.index(), ip, bits).expect("added");
                    control
                        .add_address(tap.index(), ip, bits)
                        .expect("there already");
                    let found = present(&mut control).expect("is there");
                    assert_eq!(
                        (found.bits, found.index, found.up),
                        (bits, tap.index(), true)
                    );
                    assert_eq!(found.device, "zttest2");
                    assert!(!found.tentative && !found.temporary, "{found:?}");
                    news.wait("a new address");
                    control
                        .remove_address(tap.index(), ip, bits)
                        .expect("removed");
                    control
                        .remove_address(tap.index(), ip, bits)
                        .expect("gone already");
                    assert_eq!(present(&mut control), None);
                    news.wait("an address less");
                }
                assert_eq!(control.default_routes().expect("an answer"), []);
                let own: IpAddr = "10.99.2.1".parse().expect("an address");
                control.add_address(tap.index(), own, 24).expect("added");
                news.wait("the address");
                ip("route add default via 10.99.2.9");
                let routes = control.default_routes().expect("an answer");
                assert_eq!(routes.len(), 1, "{routes:?}");
                assert_eq!((routes[0].index, routes[0].v6), (tap.index(), false));
                assert_eq!(routes[0].gateway, "10.99.2.9".parse().ok());
                news.wait("a default route");
            },
        );
    }

    #[test]
    fn a_path_too_narrow_for_joined_datagrams_gets_them_one_by_one() {
        apart(
            "namespace::a_path_too_narrow_for_joined_datagrams_gets_them_one_by_one",
            || {
                ip("link set lo up mtu 1300");
                let sizes = [1400, 1400, 1400, 900, 200, 200, 200];
                let want: Vec<Vec<u8>> = (0..).zip(sizes).map(|(n, s)| contents(n, s)).collect();
                let (got, sent, _) = travel("127.0.0.1:0", &sizes, Way::new(true, false));
                assert_eq!(got, want);
                assert_eq!(sent.datagrams, 7);
                // 3 + 1 alone, 200 + 200 + 200 still joined if the kernel can.
                assert!([5, 7].contains(&sent.messages), "{sent:?}");
                ip("link set lo mtu 65536");
            },
        );
    }
}

mod files {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use zt::os::file::{
        Claim, PidFile, close_to_others, create_atomic, holds, read_bounded, write_atomic,
        write_cache,
    };

    /// A directory that goes with its owner.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("zt-os-{}-{name}", std::process::id()));
            fs::create_dir(&path).expect("a directory");
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("a list");
            let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
            entries
                .map(|entry| name(entry.expect("an entry")))
                .collect()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_replaced_whole_with_the_mode_asked_for() {
        let dir = Dir::new("replace");
        let path = dir.0.join("secret");
        for (bytes, wanted) in [(&b"first, and longer"[..], 0o600), (b"second", 0o666)] {
            write_atomic(&path, bytes, wanted).expect("written");
            assert_eq!(read_bounded(&path, 100).expect("read"), bytes);
            // Whatever the umask says.
            assert_eq!(mode(&path), wanted);
            assert_eq!(dir.names(), ["secret"], "nothing is left over");
        }
        // A reader of the old one keeps the old one.
        let old = fs::File::open(&path).expect("opened");
        write_atomic(&path, b"third", 0o600).expect("written");
        assert_eq!(std::io::read_to_string(old).expect("read"), "second");
    }

    #[test]
    fn what_cannot_be_replaced_is_left_alone() {
        let dir = Dir::new("fail");
        fs::create_dir(dir.0.join("taken")).expect("a directory");
        let error = write_atomic(&dir.0.join("taken"), b"x", 0o600).expect_err("a directory");
        assert_eq!((*error.op, error.errno), ("rename", libc::EISDIR));
        assert_eq!(dir.names(), ["taken"], "nothing is left over");
        let error = write_atomic(&dir.0.join("no/file"), b"x", 0o600).expect_err("no directory");
        assert_eq!((*error.op, error.errno), ("open", libc::ENOENT));
    }

    #[test]
    fn equal_content_is_seen() {
        let dir = Dir::new("same");
        let path = dir.0.join("cache");
        assert!(!holds(&path, b""), "there is none");
        write_cache(&path, b"abc", 0o644).expect("written");
        assert!(holds(&path, b"abc"));
        for other in [&b"ab"[..], b"abd", b"abcd", b""] {
            assert!(!holds(&path, other));
        }
    }

    #[test]
    fn a_link_in_the_way_is_replaced_and_not_followed() {
        let dir = Dir::new("link");
        let (precious, path) = (dir.0.join("precious"), dir.0.join("file"));
        write_atomic(&precious, b"precious", 0o644).expect("written");
        for name in ["file", ".file.new", "file.pid"] {
            std::os::unix::fs::symlink(&precious, dir.0.join(name)).expect("a link");
        }
        for text in [&b"one"[..], b"another"] {
            write_cache(&path, text, 0o644).expect("written");
            assert_eq!(fs::read(&path).expect("read"), text);
        }
        let claimed = PidFile::claim(&dir.0.join("file.pid"), 0o644);
        assert_eq!(claimed.expect_err("a link").errno, libc::ELOOP);
        assert_eq!(fs::read(&precious).expect("read"), b"precious");
    }

    #[test]
    fn what_exists_is_not_made_again() {
        let dir = Dir::new("create");
        let path = dir.0.join("secret");
        create_atomic(&path, b"one", 0o600).expect("made");
        assert_eq!(mode(&path), 0o600);
        let error = create_atomic(&path, b"two", 0o600).expect_err("it exists");
        assert_eq!(error.errno, libc::EEXIST);
        assert_eq!(fs::read(&path).expect("read"), b"one");
        assert_eq!(dir.names(), ["secret"], "nothing is left over");
    }

    #[test]
    fn secrets_are_closed_and_other_modes_left() {
        let dir = Dir::new("close");
        let path = dir.0.join("secret");
        close_to_others(&path).expect("none is as good");
        for (before, after) in [(0o644, 0o600), (0o660, 0o600), (0o400, 0o400)] {
            write_atomic(&path, b"x", before).expect("written");
            close_to_others(&path).expect("closed");
            assert_eq!(mode(&path), after);
        }
        let pipe = dir.0.join("pipe");
        make_pipe(&pipe);
        assert_eq!(
            close_to_others(&pipe).expect_err("a pipe").errno,
            libc::EINVAL
        );
    }

    #[test]
    fn a_pid_file_is_claimed_once_and_a_pipe_never() {
        let dir = Dir::new("pid");
        let path = dir.0.join("pid");
        write_atomic(&path, b"1234567890123", 0o644).expect("left by a crash");
        let Ok(Claim::Ours(held)) = PidFile::claim(&path, 0o644) else {
            panic!("not claimed")
        };
        let own = std::process::id().to_string();
        assert_eq!(fs::read_to_string(&path).expect("read"), own);
        let again = PidFile::claim(&path, 0o644);
        assert!(matches!(again, Ok(Claim::Theirs(pid)) if pid == own));
        drop(held);
        assert!(!path.exists());
        make_pipe(&path);
        let refused = PidFile::claim(&path, 0o644);
        // Nobody reads it.
        assert_eq!(refused.expect_err("a pipe").errno, libc::ENXIO);
    }

    fn make_pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.is_ok_and(|status| status.success()), "a pipe");
    }

    #[test]
    fn only_files_of_bounded_length_are_read() {
        let dir = Dir::new("bounds");
        let errno = |path: &Path, max| read_bounded(path, max).expect_err("refused").errno;
        let path = dir.0.join("file");
        write_atomic(&path, &[7; 1000], 0o600).expect("written");
        assert_eq!(read_bounded(&path, 1000).expect("read").len(), 1000);
        assert_eq!(errno(&path, 999), libc::EFBIG);
        assert_eq!(errno(&dir.0, 999), libc::EISDIR);
        assert_eq!(errno(&dir.0.join("none"), 999), libc::ENOENT);
        let pipe = dir.0.join("pipe");
        make_pipe(&pipe);
        // Must not wait for a writer.
        assert_eq!(errno(&pipe, 999), libc::EINVAL);
        assert_eq!(errno(Path::new("/dev/zero"), 999), libc::EINVAL);
    }
}

#[test]
fn whose_a_link_is_decides() {
    use std::os::unix::fs::{lchown, symlink};
    use zt::os::file::is_link_of_ours;
    let path = std::env::temp_dir().join(format!("zt{}link", std::process::id()));
    assert!(is_link_of_ours(&path), "there is none");
    symlink("/etc/passwd", &path).expect("a link");
    assert!(is_link_of_ours(&path));
    if nix::unistd::geteuid().is_root() {
        lchown(&path, Some(4711), None).expect("somebody's");
        assert!(!is_link_of_ours(&path));
    }
    std::fs::remove_file(path).expect("removed");
}
