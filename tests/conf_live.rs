//! `local.conf` and a running daemon: what is written takes effect at once, what cannot be used
//! changes nothing.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use live::{Lab, PATIENCE, PORT, Service, inside, ip, new_identity, planet, put, run, text_of};
use live::{fail, wait_for};

const NETWORK: &str = "ff00160016000000";

/// Replaced as editors do it: never half a file.
fn write(home: &Path, text: &str) {
    put(home, "local.conf.new", text.as_bytes());
    fs::rename(home.join("local.conf.new"), home.join("local.conf")).expect("renamed");
}

/// The value of one row of `status`; rows of the same name one after the other.
fn status(service: &Service, key: &str) -> Vec<String> {
    let before = format!("200 status {key} ");
    let text = service.ask("status");
    let rows = text.lines().filter_map(|row| row.strip_prefix(&before));
    rows.map(|text| text.replace("%20", " ")).collect()
}

fn bound(service: &Service) -> Vec<String> {
    let mut all = status(service, "bound");
    all.sort_unstable();
    all
}

fn await_bound(service: &Service, wanted: &[&str]) {
    wait_for(&format!("sockets on {wanted:?}"), || {
        bound(service) == wanted
    });
}

fn await_conf(service: &Service, wanted: &str) {
    wait_for(&format!("the word {wanted}"), || {
        status(service, "conf")
            .iter()
            .any(|text| text.contains(wanted))
    });
}

#[test]
fn what_is_written_takes_effect_and_what_is_wrong_does_not() {
    let Some(lab) = Lab::new("c") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    ip(&format!("-n {space} addr add 10.78.0.1/24 dev eth0"));
    ip(&format!(
        "-n {space} link add guest0 type veth peer name other0"
    ));
    ip(&format!("-n {space} link set other0 up"));
    ip(&format!("-n {space} addr add 10.79.0.1/24 dev guest0"));
    ip(&format!("-n {space} link set guest0 up"));
    let home = lab.home("a");
    // Bad from the beginning: defaults.
    put(
        &home,
        "local.conf",
        b"{\n \"settings\": {\n  \"primaryPort\" 7 } }",
    );
    put(&home, "trustedpaths", b"1f=10.99.0.0/16\nnonsense\n");
    let service = Service::start(&space, &home);
    let all = ["10.77.0.1/29993", "10.78.0.1/29993", "10.79.0.1/29993"];
    await_bound(&service, &all);
    await_conf(&service, "line 3, column 17: ':' is expected");
    assert!(service.ask("conf primaryPort=8").contains("409 conf"));
    assert_eq!(
        service.ask("conf primaryPort").lines().nth(2),
        Some("200 conf 29993")
    );

    let mut monitor = BufReader::new(service.connect().expect("a control socket"));
    monitor
        .get_ref()
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    writeln!(monitor.get_mut(), "monitor node").expect("sent");
    let mut event = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(
                monitor.read_line(&mut line).expect("an event"),
                0,
                "{wanted}"
            );
        }
    };
    event("200 monitor OK");

    // Repaired: seen without being told.
    write(
        &home,
        r#"{"settings":{"interfacePrefixBlacklist":["gue"]},"own":[1]}"#,
    );
    event("conf=ok");
    await_bound(&service, &all[..2]);
    await_conf(&service, "ok");
    write(
        &home,
        r#"{"physical":{"10.78.0.0/16":{"blacklist":true}},"own":[1]}"#,
    );
    await_bound(&service, &["10.77.0.1/29993", "10.79.0.1/29993"]);
    // A wrong type keeps what was in force.
    write(&home, "{\"physical\":{},\n\"settings\":{\"bind\":7}}");
    event("conf=bad line=2 column=20");
    await_conf(&service, "line 2, column 20: a list is expected");
    assert_eq!(bound(&service).len(), 2);
    write(&home, r#"{"settings":{"bind":["10.78.0.1"]},"own":[1]}"#);
    await_bound(&service, &all[1..2]);

    // By the control socket; the rest of the file stays.
    for (command, wanted) in [
        ("conf secondaryPort=29994", "200 conf OK"),
        ("conf router.logLevel=\"debug\"", "200 conf OK"),
        ("conf bind=", "200 conf OK"),
        ("conf primaryPort=66000", "400 conf primaryPort"),
        ("conf primaryPort=x", "400 conf no JSON"),
        ("conf nonsense=1", "404 conf no such setting"),
        ("conf nonsense", "404 conf unknown setting"),
        ("conf router.logLevel", "200 conf \"debug\""),
    ] {
        let answer = service.ask(command);
        assert!(answer.contains(wanted), "{command}: {answer}");
    }
    let text = fs::read_to_string(home.join("local.conf")).expect("a file");
    assert_eq!(
        text.split_whitespace().collect::<String>(),
        r#"{"settings":{"secondaryPort":29994,"router":{"logLevel":"debug"}},"own":[1]}"#
    );
    await_bound(
        &service,
        &[
            "10.77.0.1/29993",
            "10.77.0.1/29994",
            "10.78.0.1/29993",
            "10.78.0.1/29994",
            "10.79.0.1/29993",
            "10.79.0.1/29994",
        ],
    );
    assert_eq!(status(&service, "second-port"), ["29994"]);
    let list = service.ask("conf");
    assert!(list.contains("200 conf primaryPort 29993"), "{list}");
    assert!(list.contains("200 conf secondaryPort 29994"), "{list}");

    // A port that others have is refused, and the daemon can still be reached.
    let answer = service.ask("conf allowSecondaryPort=false");
    assert!(answer.contains("200 conf OK"), "{answer}");
    await_bound(&service, &all);
    let answer = service.ask("conf primaryPort=30001");
    assert!(answer.contains("200 conf OK"), "{answer}");
    await_bound(
        &service,
        &["10.77.0.1/30001", "10.78.0.1/30001", "10.79.0.1/30001"],
    );
    let port = || fs::read_to_string(home.join("zerotier-one.port")).ok();
    assert_eq!(port().as_deref(), Some("30001"));
    let other = Service::start(&space, &lab.home("other"));
    let answer = service.ask(&format!("conf primaryPort={PORT}"));
    assert!(
        answer.contains("409 conf stored, but port 29993"),
        "{answer}"
    );
    assert_eq!(bound(&service).len(), 3);
    assert_eq!(port().as_deref(), Some("30001"));
    drop(other);
    assert!(service.ask("reload").contains("200 reload OK"));

    // What is not built is said.
    write(
        &home,
        r#"{"settings":{"portMappingEnabled":true,"policies":{"x":{}}}}"#,
    );
    wait_for("what is not built", || {
        status(&service, "conf-not-built") == ["portMappingEnabled,policies"]
    });
    let (code, log) = service.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("not built, and without effect: portMappingEnabled, policies"));
    assert_eq!(log.matches("':' is expected").count(), 1, "{log}");
    let of_old = log.matches("trustedpaths: line 2 is ignored").count();
    assert_eq!(of_old, 1, "{log}");
}

#[test]
fn whatever_takes_the_place_of_the_file_does_no_harm() {
    let Some(lab) = Lab::new("r") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = lab.home("a");
    write(&home, r#"{"settings":{"primaryPort":30001}}"#);
    let service = Service::start(&space, &home);
    await_bound(&service, &["10.77.0.1/30001"]);
    let file = home.join("local.conf");
    let pid = fs::read_to_string(home.join("zerotier-one.pid")).expect("a pid");
    let hup = || run("kill", &["-HUP", &pid]).expect("a signal");
    let gone = || {
        let _ = fs::remove_file(&file);
        let _ = fs::remove_dir(&file);
    };
    gone();
    fs::create_dir(&file).expect("a directory");
    hup();
    await_conf(&service, "os error 21");
    gone();
    run("mkfifo", &[file.to_str().expect("a name")]).expect("a fifo");
    hup();
    await_conf(&service, "os error 22");
    gone();
    let mut bytes = vec![0x7f; 3_000];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = (n * 131 + 17) as u8;
    }
    put(&home, "local.conf", &bytes);
    await_conf(&service, "UTF-8");
    put(&home, "local.conf", &[b' '; 20_000]);
    await_conf(&service, "os error 27");
    // All the time what was in force stays.
    assert_eq!(bound(&service), ["10.77.0.1/30001"]);
    // None at all is no error: defaults.
    gone();
    await_bound(&service, &["10.77.0.1/29993"]);
    await_conf(&service, "ok");
}

#[test]
fn the_doors_follow_the_file() {
    let Some(lab) = Lab::new("o") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = lab.home("a");
    write(
        &home,
        r#"{"settings":{"router":{"controlReadOnly":true,"controlGroup":"daemon"}}}"#,
    );
    let service = Service::start(&space, &home);
    let read_only = home.join("zerotier-one.ro.sock");
    assert!(read_only.exists());
    let socket = home.join("zerotier-one.sock");
    let rights = || {
        let meta = fs::metadata(&socket).expect("a socket");
        (meta.permissions().mode() & 0o777, meta.gid())
    };
    let group = nix::unistd::Group::from_name("daemon").ok().flatten();
    let group = group.expect("a group").gid.as_raw();
    let give_to = |group: &str| {
        let reply = service.ask(&format!("conf router.controlGroup={group}"));
        assert!(reply.contains("200 conf OK"), "{reply}");
    };
    assert_eq!(rights(), (0o660, group));
    give_to("null");
    wait_for("the owner alone", || rights().0 == 0o600);
    give_to("\"daemon\"");
    wait_for("the group", || rights() == (0o660, group));
    // The right to give it to any other group is gone after the start.
    let mut log = service.listen("log");
    give_to("\"bin\"");
    assert!(log.any(|line| line.contains("at%20the%20next%20start")));
    wait_for("the owner alone", || rights().0 == 0o600);
    assert!(
        service
            .ask("conf router.controlReadOnly=false")
            .contains("200 conf OK")
    );
    wait_for("one socket", || !read_only.exists());
    let listening = || inside(&space, "ss -Hltn").unwrap_or_default();
    if cfg!(feature = "http-compat") {
        assert!(listening().contains("127.0.0.1:29993"));
    }
    assert!(
        service
            .ask("conf router.controlTcp=30007")
            .contains("200 conf OK")
    );
    wait_for("another port", || {
        listening().contains("127.0.0.1:30007") && !listening().contains(":29993")
    });
    assert!(
        service
            .ask("conf allowManagementFrom=[\"10.77.0.0/24\"]")
            .contains("200 conf OK")
    );
    wait_for("every address", || listening().contains("0.0.0.0:30007"));
    assert!(
        service
            .ask("conf router.controlTcp=false")
            .contains("200 conf OK")
    );
    wait_for("none", || !listening().contains(":30007"));
}

#[test]
fn two_sites_without_any_root() {
    let Some(lab) = Lab::new("s") else { return };
    // A planet whose root is nowhere.
    let nowhere = planet(&new_identity(1), SocketAddr::from(([10, 77, 9, 9], PORT)));
    let home = |name: &str, seed: u8| {
        let home = lab.home(name);
        put(&home, "planet", &nowhere);
        let secret = text_of(&new_identity(seed));
        put(&home, "identity.secret", secret.as_bytes());
        home
    };
    let (home_a, home_b) = (home("a", 2), home("b", 3));
    let of_b = new_identity(3).identity;
    let text = of_b.to_string();
    let address = of_b.address;
    write(
        &home_a,
        &format!(
            r#"{{"virtual":{{"{address}":{{"try":["10.77.0.2/{PORT}"],"identity":"{text}"}}}}}}"#
        ),
    );
    let a = Service::start(&lab.space(Some("10.77.0.1/24")), &home_a);
    let b = Service::start(&lab.space(Some("10.77.0.2/24")), &home_b);
    for node in [&a, &b] {
        assert!(node.ask(&format!("join {NETWORK}")).contains("200 join OK"));
    }
    let network = zt::base::NetworkId::parse(NETWORK).expect("an id");
    let of = |service: &Service| zt::wire::derive::sixplane(network, service.address()).to_string();
    a.await_ping(&of(&b), "56");
    b.await_ping(&of(&a), "1400");
    assert!(a.ask("info").contains("OFFLINE"));
}

#[test]
fn the_owners_port_wins_over_the_command_line() {
    let Some(lab) = Lab::new("w") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let (one, two) = (lab.home("a"), lab.home("b"));
    write(&one, r#"{"settings":{"primaryPort":30001}}"#);
    write(&two, r#"{"settings":{"primaryPort":0}}"#);
    let one = Service::start(&space, &one);
    assert_eq!(status(&one, "port"), ["30001"]);
    let two = Service::start(&space, &two);
    let port: u16 = status(&two, "port")[0].parse().expect("a number");
    assert!(port >= 20_000 && port != PORT && port != 30_001);
    let three = lab.home("c");
    write(&three, r#"{"settings":{"primaryPort":30001}}"#);
    let (code, text) = fail(&space, &three);
    assert_eq!(code, Some(1));
    assert!(text.contains("UDP port 30001"), "{text}");
}
