//! The server on real sockets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use mio::{Events, Poll, Token};
use zt::base::UnixMs;
use zt::service::control::conn::IDLE_MS;
use zt::service::control::{Access, CONNS_MAX, Class, Server, line};

use crate::fake_daemon::{Fake, NET, START, WALL};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("zt-ctl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Daemon {
    poll: Poll,
    server: Server,
    host: Fake,
    _home: Scratch,
    home: PathBuf,
}

impl Daemon {
    fn new(name: &str, access: Access) -> Self {
        let scratch = Scratch::new(name);
        let home = scratch.0.clone();
        let poll = Poll::new().unwrap();
        let mut server = Server::new(&home, access, Token(10));
        server.open(poll.registry()).unwrap();
        Self {
            poll,
            server,
            host: Fake::new(),
            _home: scratch,
            home,
        }
    }

    /// The loop, until nothing happens any more.
    fn run(&mut self) {
        let mut events = Events::with_capacity(16);
        loop {
            let more = self
                .server
                .turn(START, self.poll.registry(), &mut self.host);
            let wait = if more { 0 } else { 20 };
            self.poll
                .poll(&mut events, Some(Duration::from_millis(wait)))
                .unwrap();
            if events.is_empty() && !more {
                return;
            }
            for event in &events {
                assert!(self.server.owns(event.token()));
                self.server.ready(event.token());
            }
        }
    }

    fn connect(&mut self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(line::socket_path(&self.home)).unwrap();
        self.run();
        BufReader::new(stream)
    }
}

fn reply(reader: &mut BufReader<UnixStream>) -> Vec<String> {
    let mut rows = Vec::new();
    loop {
        let mut row = String::new();
        assert!(
            reader.read_line(&mut row).unwrap() > 0,
            "ended after {rows:?}"
        );
        if row == ".\n" {
            return rows;
        }
        rows.push(row.trim_end().to_owned());
    }
}

#[test]
fn one_asks_and_one_listens() {
    let mut daemon = Daemon::new("asks", Access::default());
    let mode = std::fs::metadata(line::socket_path(&daemon.home))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let (mut asks, mut listens) = (daemon.connect(), daemon.connect());
    assert!(reply(&mut asks)[0].starts_with("220 zt-ctl/1 "));
    reply(&mut listens);
    listens.get_mut().write_all(b"monitor\n").unwrap();
    daemon.run();
    assert_eq!(reply(&mut listens), ["200 monitor OK"]);
    asks.get_mut()
        .write_all(format!("join {NET}\nstop\n").as_bytes())
        .unwrap();
    daemon.run();
    assert_eq!(reply(&mut asks), ["200 join OK"]);
    // We run as the daemon's user.
    assert_eq!(reply(&mut asks), ["200 stop OK"]);
    let wall = UnixMs::from_ms(WALL);
    assert!(
        daemon
            .server
            .publish(wall, Class::Node, format_args!("state=ONLINE"))
    );
    daemon.run();
    let mut event = String::new();
    listens.read_line(&mut event).unwrap();
    assert_eq!(event, format!("! 1 {WALL} node state=ONLINE\n"));
    assert_eq!(daemon.server.next_deadline(), Some(START.after(IDLE_MS)));
    drop(asks);
    daemon.run();
    assert_eq!(daemon.server.next_deadline(), None, "the monitor stays");
}

#[test]
fn the_ninth_is_turned_away_and_a_free_place_is_used_again() {
    let mut daemon = Daemon::new("ninth", Access::default());
    let mut clients: Vec<_> = (0..CONNS_MAX).map(|_| daemon.connect()).collect();
    let mut ninth = daemon.connect();
    assert_eq!(reply(&mut ninth), ["503 zt-ctl too many connections"]);
    assert_eq!(ninth.read_line(&mut String::new()).unwrap(), 0);
    clients.pop();
    daemon.run();
    assert!(reply(&mut daemon.connect())[0].starts_with("220 "));
}

#[test]
fn a_crowd_at_the_door_is_answered_to_the_last() {
    let mut daemon = Daemon::new("crowd", Access::default());
    let path = line::socket_path(&daemon.home);
    let crowd: Vec<_> = (0..3 * CONNS_MAX)
        .map(|_| BufReader::new(UnixStream::connect(&path).unwrap()))
        .collect();
    daemon.run();
    let greetings: Vec<String> = crowd
        .into_iter()
        .map(|mut c| reply(&mut c).swap_remove(0))
        .collect();
    let inside = greetings.iter().filter(|g| g.starts_with("220 ")).count();
    assert_eq!(inside, CONNS_MAX, "{greetings:?}");
}

#[test]
fn the_silent_are_closed_when_their_time_is_over() {
    let mut daemon = Daemon::new("silent", Access::default());
    let (mut silent, mut listens) = (daemon.connect(), daemon.connect());
    reply(&mut silent);
    reply(&mut listens);
    listens.get_mut().write_all(b"monitor\n").unwrap();
    daemon.run();
    reply(&mut listens);
    let end = daemon.server.next_deadline().unwrap();
    assert_eq!(end, START.after(IDLE_MS));
    let registry = daemon.poll.registry();
    let early = START.after(IDLE_MS - 1);
    daemon.server.turn(early, registry, &mut daemon.host);
    assert_eq!(daemon.server.next_deadline(), Some(end));
    daemon.server.turn(end, registry, &mut daemon.host);
    assert_eq!(daemon.server.next_deadline(), None);
    assert_eq!(silent.read_line(&mut String::new()).unwrap(), 0);
    let wall = UnixMs::from_ms(WALL);
    let news = format_args!("state=ONLINE");
    assert!(daemon.server.publish(wall, Class::Node, news));
}

#[test]
fn a_turn_takes_one_command_whoever_asks_and_nobody_is_passed_over() {
    let mut daemon = Daemon::new("turns", Access::default());
    let mut clients: Vec<_> = (0..CONNS_MAX).map(|_| daemon.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        reply(client);
        let twice = format!("deorbit {}\n", n + 1).repeat(2);
        client.get_mut().write_all(twice.as_bytes()).unwrap();
    }
    let mut events = Events::with_capacity(16);
    let wait = Some(Duration::from_millis(20));
    daemon.poll.poll(&mut events, wait).unwrap();
    for event in &events {
        daemon.server.ready(event.token());
    }
    let mut order = Vec::new();
    for n in 1..=2 * CONNS_MAX {
        let registry = daemon.poll.registry();
        let more = daemon.server.turn(START, registry, &mut daemon.host);
        assert_eq!(daemon.host.told.len(), n, "commands in {n} turns");
        assert!(more || n == 2 * CONNS_MAX, "turn {n}");
        order.push(daemon.host.told[n - 1].clone());
    }
    let (first, second) = order.split_at(CONNS_MAX);
    assert_eq!(first, second, "each once, then each again");
    let all: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(all.len(), CONNS_MAX, "{first:?}");
}

#[test]
fn a_group_may_command_if_the_owner_says_so() {
    use std::os::unix::fs::MetadataExt as _;
    let group = nix::unistd::getegid().as_raw();
    let access = Access {
        group: Some(group),
        read_only_socket: false,
    };
    let daemon = Daemon::new("group", access);
    let meta = std::fs::metadata(line::socket_path(&daemon.home)).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, group));
}

#[test]
fn who_may_connect_can_be_said_anew() {
    use std::os::unix::fs::MetadataExt as _;
    use zt::service::local_conf::Router;
    let group = nix::unistd::getegid();
    let name = nix::unistd::Group::from_gid(group).unwrap().unwrap().name;
    let settings = |group: Option<&str>, control_read_only| Router {
        control_group: group.map(str::to_owned),
        control_read_only,
        ..Router::default()
    };
    let mut daemon = Daemon::new("anew", Access::default());
    let (path, read_only) = (
        line::socket_path(&daemon.home),
        line::read_only_socket_path(&daemon.home),
    );
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    for (group, open, wanted) in [
        (Some(name.as_str()), true, 0o660),
        (Some("no-such-group"), true, 0o600),
        (None, false, 0o600),
        (Some(name.as_str()), false, 0o660),
        (None, true, 0o600),
    ] {
        let access = Access::of(&settings(group, open));
        daemon.server.set_access(access, daemon.poll.registry());
        assert_eq!(mode(&path), wanted, "{group:?}");
        assert_eq!(read_only.exists(), open);
        if open {
            assert_eq!(mode(&read_only), 0o666);
            let stream = UnixStream::connect(&read_only).unwrap();
            daemon.run();
            let greeting = reply(&mut BufReader::new(stream));
            assert!(greeting[0].ends_with(" ro"), "{greeting:?}");
        }
        assert!(reply(&mut daemon.connect())[0].ends_with(" rw"));
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let home = Scratch::new("stale");
    let path = line::socket_path(&home.0);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let poll = Poll::new().unwrap();
    let open = || {
        let mut server = Server::new(&home.0, Access::default(), Token(0));
        server.open(poll.registry()).map(|()| server)
    };
    let server = open().unwrap();
    assert_eq!(open().unwrap_err().errno, libc::EADDRINUSE);
    drop(server);
    assert!(!path.exists());
}

/// Whoever looks whether somebody is there must not wait until somebody is.
#[test]
fn a_socket_with_a_full_queue_is_in_use() {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
    };
    use std::os::fd::AsRawFd as _;
    let home = Scratch::new("queue");
    let path = line::socket_path(&home.0);
    let address = UnixAddr::new(&path).unwrap();
    let make = || {
        let kind = SockType::Stream;
        socket(AddressFamily::Unix, kind, SockFlag::SOCK_NONBLOCK, None).unwrap()
    };
    let listener = make();
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = make();
        match connect(client.as_raw_fd(), &address) {
            Ok(()) => waiting.push(client),
            Err(error) => {
                assert_eq!(error, nix::errno::Errno::EAGAIN);
                break;
            }
        }
    }
    let poll = Poll::new().unwrap();
    let mut server = Server::new(&home.0, Access::default(), Token(0));
    let refused = server.open(poll.registry()).unwrap_err();
    assert_eq!(refused.errno, libc::EADDRINUSE);
    assert!(path.exists());
}

#[test]
fn the_second_socket_reads_only() {
    let access = Access {
        group: None,
        read_only_socket: true,
    };
    let mut daemon = Daemon::new("second", access);
    let path = line::read_only_socket_path(&daemon.home);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o666
    );
    let mut client = BufReader::new(UnixStream::connect(&path).unwrap());
    client
        .get_mut()
        .write_all(format!("leave {NET}\n").as_bytes())
        .unwrap();
    daemon.run();
    assert!(reply(&mut client)[0].ends_with(" ro"));
    assert_eq!(
        reply(&mut client),
        ["403 leave not on the read-only socket"]
    );
}

#[test]
fn a_home_with_a_long_path_uses_the_short_directory() {
    let home = PathBuf::from(format!("/{}", "d".repeat(100)));
    assert_eq!(
        line::socket_path(&home),
        PathBuf::from("/var/run/zerotier-one.sock")
    );
    let home = PathBuf::from("/var/lib/zerotier-one");
    assert_eq!(line::socket_path(&home), home.join("zerotier-one.sock"));
}
