//! The real binary from start to stop: two nodes, files of its home, ports, addresses.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use live::{BINARY, Lab, PORT, Service, fail, ip, new_identity, planet, run, text_of, wait_for};
use zt::base::NetworkId;
use zt::wire::derive;

/// Ad-hoc: no controller, 6PLANE addresses, ICMPv6 passes.
const NETWORK: &str = "ff00160016000000";

fn sixplane(service: &Service) -> String {
    let network = NetworkId::parse(NETWORK).expect("an id");
    derive::sixplane(network, service.address()).to_string()
}

#[test]
fn two_nodes_reach_each_other_and_come_back_as_themselves() {
    let Some(lab) = Lab::new("p") else { return };
    let root_identity = new_identity(1);
    let planet = planet(&root_identity, SocketAddr::from(([10, 77, 0, 1], PORT)));
    let home = |name: &str| {
        let home = lab.home(name);
        fs::File::create(home.join("planet"))
            .and_then(|mut file| file.write_all(&planet))
            .expect("a planet");
        home
    };
    let root_home = home("root");
    fs::File::create(root_home.join("identity.secret"))
        .and_then(|mut file| file.write_all(text_of(&root_identity).as_bytes()))
        .expect("an identity");
    let _root = Service::start(&lab.space(Some("10.77.0.1/24")), &root_home);
    // One is told by its owner, the other finds the wish in its home.
    let a = Service::start(&lab.space(Some("10.77.0.2/24")), &home("a"));
    let mut heard = a.listen("peer path");
    let b_home = home("b");
    fs::create_dir(b_home.join("networks.d")).expect("a directory");
    fs::File::create(b_home.join(format!("networks.d/{NETWORK}.conf"))).expect("a file");
    let b = Service::start(&lab.space(Some("10.77.0.3/24")), &b_home);

    let joined = a.ask(&format!("join {NETWORK}"));
    assert!(joined.contains("200 join OK"), "{joined}");
    assert_eq!(
        fs::read(lab.home("a").join(format!("networks.d/{NETWORK}.conf")))
            .ok()
            .as_deref(),
        Some(&b"\n"[..])
    );
    for node in [&a, &b] {
        wait_for("ONLINE", || node.ask("info").contains("ONLINE"));
        let list = node.ask("listnetworks");
        assert!(
            list.contains("OK PUBLIC zt") && list.contains(&sixplane(node)),
            "{list}"
        );
    }

    a.await_ping(&sixplane(&b), "56");
    b.await_ping(&sixplane(&a), "56");
    for size in ["56", "1400", "2700"] {
        a.ping(&sixplane(&b), size);
        b.ping(&sixplane(&a), size);
    }
    let other = format!("addr={}", b.address());
    let path = format!("{other} local=10.77.0.2/{PORT} remote=10.77.0.3/{PORT} if=eth0 latency=");
    // Which comes first is chance.
    let mut wanted = vec![
        (format!(" peer {other} role=LEAF version="), "state=up"),
        (format!(" path {path}"), "op=add"),
        (format!(" path {path}"), "op=prefer"),
    ];
    let mut lines = Vec::new();
    while !wanted.is_empty() {
        let line = heard
            .next()
            .unwrap_or_else(|| panic!("{wanted:?} not in {lines:#?}"));
        wanted.retain(|(front, end)| !(line.contains(front) && line.ends_with(*end)));
        lines.push(line);
    }
    let peers = a.ask("peers");
    let row = peers
        .lines()
        .find(|row| row.contains(&b.address().to_string()));
    assert!(row.is_some_and(|row| row.contains("DIRECT")), "{peers}");

    // No warning, no stop: the same node comes back and is on the same network.
    let (before, space) = (b.address(), b.space.clone());
    b.kill();
    let b = Service::start(&space, &b_home);
    assert_eq!(b.address(), before);
    b.await_ping(&sixplane(&a), "56");
    a.await_ping(&sixplane(&b), "2700");

    let left = a.ask(&format!("leave {NETWORK}"));
    assert!(left.contains("200 leave OK"), "{left}");
    assert!(
        !lab.home("a")
            .join(format!("networks.d/{NETWORK}.conf"))
            .exists()
    );
    let (status, log) = b.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.lines().count() < 10, "{log}");
    assert!(!b_home.join("zerotier-one.pid").exists());
    assert!(!b_home.join("zerotier-one.sock").exists());
    assert!(b_home.join(format!("networks.d/{NETWORK}.conf")).exists());
}

#[test]
fn an_empty_secret_is_refused_and_left_alone() {
    let Some(lab) = Lab::new("e") else { return };
    let space = lab.space(None);
    let home = lab.home("a");
    let secret = home.join("identity.secret");
    fs::File::create(&secret).expect("a file");
    let (status, text) = fail(&space, &home);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("identity.secret: the file is empty"),
        "{text}"
    );
    assert!(text.contains("--new-identity"), "{text}");
    assert_eq!(fs::read(&secret).ok().as_deref(), Some(&b""[..]));
}

#[test]
fn broken_files_are_named_and_do_not_stop_it() {
    let Some(lab) = Lab::new("f") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = lab.home("a");
    fs::create_dir(home.join("networks.d")).expect("a directory");
    let broken = [
        ("planet", &b"garbage"[..]),
        ("devicemap", b"no device here\n"),
        ("networks.d/short.conf", b""),
        (
            "networks.d/ff00160016000000.local.conf",
            b"allowManaged=perhaps\n",
        ),
        ("networks.d/ff00160016000000.conf", b"\0\xff\x01"),
    ];
    for (name, bytes) in broken {
        fs::File::create(home.join(name))
            .and_then(|mut file| file.write_all(bytes))
            .expect("a file");
    }
    let service = Service::start(&space, &home);
    let list = service.ask("listnetworks");
    assert!(list.contains(NETWORK), "{list}");
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    for (name, bytes) in broken {
        assert_eq!(
            fs::read(home.join(name)).ok().as_deref(),
            Some(bytes),
            "{name}"
        );
        // A configuration of another kind says nothing about an ad-hoc network.
        if name != "networks.d/ff00160016000000.conf" {
            assert!(log.contains(name), "{name} is not named: {log}");
        }
    }
}

#[test]
fn a_port_in_use_ends_the_start_with_a_text() {
    let Some(lab) = Lab::new("u") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let _first = Service::start(&space, &lab.home("a"));
    let (status, text) = fail(&space, &lab.home("b"));
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains(&format!("UDP port {PORT}")) && text.contains("in use"),
        "{text}"
    );
    let (status, text) = fail(&space, &lab.home("a"));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("another instance"), "{text}");
}

#[test]
fn sockets_follow_addresses_that_come_and_go() {
    let Some(lab) = Lab::new("l") else { return };
    let space = lab.space(None);
    let service = Service::start(&space, &lab.home("a"));
    let bound = |address: &str| service.ask("info").contains(address);
    assert!(!bound("10.77.0.9"));
    ip(&format!("-n {space} addr add 10.77.0.9/24 dev eth0"));
    wait_for("a socket on the new address", || bound("10.77.0.9"));
    ip(&format!("-n {space} addr add 10.77.0.8/24 dev eth0"));
    wait_for("a second socket", || {
        bound("10.77.0.8") && bound("10.77.0.9")
    });
    ip(&format!("-n {space} addr del 10.77.0.9/24 dev eth0"));
    wait_for("the end of the first socket", || !bound("10.77.0.9"));
}

#[test]
fn in_the_background_the_exit_status_tells_the_truth() {
    let Some(lab) = Lab::new("d") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let start = |home: &Path| {
        Command::new("ip")
            .args(["netns", "exec", &space, BINARY, "-d", &format!("-p{PORT}")])
            .arg(home)
            .env_remove("ZEROTIER_HOME")
            .output()
            .expect("ip")
    };
    let bad = lab.home("bad");
    fs::File::create(bad.join("identity.secret")).expect("a file");
    let output = start(&bad);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the file is empty"));

    let good = lab.home("good");
    let output = start(&good);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The parent has waited: everything is there.
    let socket = good.join("zerotier-one.sock");
    assert!(UnixStream::connect(&socket).is_ok());
    let pid = fs::read_to_string(good.join("zerotier-one.pid")).expect("a pid");
    run("kill", &["-TERM", &pid]).expect("a signal");
    wait_for("the end", || {
        !socket.exists() && !good.join("zerotier-one.pid").exists()
    });
}
