//! The real binary on loopback, as an ordinary user may run it: HTTP, the control protocol by TCP,
//! tokens, and what becomes of those who misbehave. Its planet has a root on loopback alone, so
//! nothing leaves the machine.
#![cfg(all(target_os = "linux", feature = "http-compat", feature = "metrics"))]

mod live;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use live::{BINARY, Lab, PATIENCE, PORT, Service, new_identity, planet, put, text_of, wait_for};
use serde_json::Value;

const NET: &str = "8056c2e21c000001";

struct Daemon {
    process: Child,
    dir: PathBuf,
    port: u16,
}

impl Daemon {
    /// `None`: the random port of UDP was taken for TCP.
    fn try_start(dir: PathBuf, conf: &str) -> Option<Self> {
        let mut daemon = Self::launch(dir, conf);
        let home = daemon.dir.join("home");
        let port = fs::read_to_string(home.join("zerotier-one.port")).unwrap();
        daemon.port = port.parse().unwrap();
        TcpStream::connect(("127.0.0.1", daemon.port))
            .is_ok()
            .then_some(daemon)
    }

    /// With this `local.conf`; whatever it says of TCP.
    fn launch(dir: PathBuf, conf: &str) -> Self {
        let home = dir.join("home");
        fs::create_dir_all(&home).unwrap();
        let root = new_identity(1);
        let own = new_identity(2);
        put(
            &home,
            "planet",
            &planet(&root, SocketAddr::from(([127, 0, 0, 1], 9))),
        );
        put(&home, "identity.secret", text_of(&own).as_bytes());
        put(&home, "local.conf", conf.as_bytes());
        let process = Command::new(BINARY)
            .args(["-U", "-p0"])
            .arg(&home)
            .env_remove("ZEROTIER_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self {
            process,
            dir,
            port: 0,
        };
        // The loop greets: by then the port is open too, if it ever will be.
        wait_for("the control socket", || {
            UnixStream::connect(daemon.socket())
                .is_ok_and(|mut stream| stream.read_exact(&mut [0; 3]).is_ok())
        });
        daemon
    }

    fn start() -> Self {
        let dir = scratch();
        let daemon = (0..5).find_map(|_| Self::try_start(dir.clone(), ""));
        daemon.expect("a port of five")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("home/zerotier-one.sock")
    }

    fn token(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join("home").join(name)).unwrap()
    }

    fn connect(&self, ip: impl Into<IpAddr>) -> TcpStream {
        let stream = TcpStream::connect((ip.into(), self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// An answer to bytes: its status and body, read to the end of the connection.
    fn exchange(&self, ip: impl Into<IpAddr>, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect(ip);
        stream.write_all(bytes).unwrap();
        answer(stream)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let token = self.token("authtoken.secret");
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nX-ZT1-Auth: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.exchange(Ipv4Addr::LOCALHOST, text.as_bytes())
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// What the Unix socket says: the owner's own way in.
    fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{command}\nquit\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn cli(&self, args: &[&str]) -> (Option<i32>, String) {
        let cli = self.dir.join("zerotier-cli");
        if !cli.exists() {
            symlink(BINARY, &cli).unwrap();
        }
        let output = Command::new(cli)
            .args(args)
            .env_remove("ZEROTIER_HOME")
            .env("HOME", &self.dir)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            text + &String::from_utf8(output.stderr).unwrap(),
        )
    }
}

fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("zt-loop-{}-{n}", std::process::id()))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn every_path_is_served_on_both_loopbacks() {
    let daemon = Daemon::start();
    let health = b"GET /health HTTP/1.1\r\n\r\n";
    let (status, body) = daemon.exchange(Ipv4Addr::LOCALHOST, health);
    assert_eq!(status, 200);
    assert!(body.starts_with("{\"clock\":"), "{body}");
    if TcpStream::connect((Ipv6Addr::LOCALHOST, daemon.port)).is_ok() {
        assert_eq!(daemon.exchange(Ipv6Addr::LOCALHOST, health).0, 200);
    }
    let status = daemon.json("/status");
    assert_eq!(status["config"]["settings"]["primaryPort"], daemon.port);
    assert!(
        daemon
            .ask("info")
            .contains(status["address"].as_str().unwrap())
    );
    assert_eq!(daemon.json("/network"), Value::Array(Vec::new()));
    assert_eq!(daemon.json("/peer")[0]["role"], "PLANET");
    assert_eq!(daemon.json("/moon"), Value::Array(Vec::new()));
    // Without /dev/net/tun or the right to it the network is there all the same, and says so.
    let (code, body) = daemon.request("POST", &format!("/network/{NET}"), "{\"allowDNS\":true}");
    let network: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, network["id"].as_str()), (200, Some(NET)));
    assert_eq!(network["allowDNS"], true);
    assert!(daemon.ask("listnetworks").contains(NET));
    let left = daemon.request("DELETE", &format!("/network/{NET}"), "");
    assert_eq!(left, (200, "{\"result\":true}".into()));
    assert!(!daemon.ask("listnetworks").contains(NET));
    let moon = daemon.request("POST", "/moon/deadbeef01", "{\"seed\":\"deadbeef02\"}");
    assert!(moon.1.contains("\"waiting\":true"), "{moon:?}");
    assert!(daemon.ask("listmoons").contains("000000deadbeef01"));
    assert_eq!(daemon.request("DELETE", "/moon/deadbeef01", "").0, 200);
    assert_eq!(daemon.request("GET", "/controller", "").0, 404);
}

#[test]
fn tokens_are_made_once_and_are_for_their_owner_only() {
    let daemon = Daemon::start();
    for name in ["authtoken.secret", "metricstoken.secret"] {
        let meta = fs::metadata(daemon.dir.join("home").join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        assert_eq!(meta.len(), 24);
    }
    let metrics = daemon.token("metricstoken.secret");
    let get = |path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {metrics}\r\n\r\n");
        daemon.exchange(Ipv4Addr::LOCALHOST, text.as_bytes())
    };
    let (status, text) = get("/metrics");
    assert_eq!(status, 200);
    let sample = |name: &str| {
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse::<u64>()
            .unwrap()
    };
    assert!(sample("process_resident_memory_bytes") > 100_000);
    assert!(sample("zt_loop_turns") > 0);
    assert_eq!(sample("zt_online"), 0);
    assert_eq!(sample("zt_num_networks"), 0);
    assert!(sample("zt_table_capacity{table=\"peers\"}") >= 64);
    assert_eq!(get("/status").0, 401);
    // Figures are never a file.
    assert!(!daemon.dir.join("home/metrics.prom").exists());
}

#[test]
fn the_cli_goes_by_tcp_when_there_is_no_socket() {
    let daemon = Daemon::start();
    let home = format!("-D{}", daemon.dir.join("home").display());
    let by_socket = daemon.cli(&[&home, "info"]);
    assert_eq!(by_socket.0, Some(0), "{by_socket:?}");
    fs::remove_file(daemon.socket()).unwrap();
    assert_eq!(daemon.cli(&[&home, "info"]), by_socket);
    assert_eq!(
        daemon.cli(&[&home, "-j", "listnetworks"]),
        (Some(0), "[]\n".into())
    );
    let metrics = daemon.cli(&[&home, "metrics"]).1;
    assert!(metrics.starts_with("# HELP zt_packet "), "{metrics}");
    // Without the home, by what is said.
    let (port, token) = (
        format!("-p{}", daemon.port),
        daemon.token("authtoken.secret"),
    );
    let token = format!("-T{token}");
    assert_eq!(
        daemon.cli(&["-D/nonexistent", &port, &token, "info"]),
        by_socket
    );
    let wrong = daemon.cli(&["-D/nonexistent", &port, "-Tno", "info"]);
    let text = "Error talking to the ZeroTier service: the token is wrong\n";
    assert_eq!(wrong, (Some(1), text.into()));
}

#[test]
fn whoever_misbehaves_is_in_nobodys_way() {
    let daemon = Daemon::start();
    // Silent ones, slow ones, ones that never read, floods: many times the places there are.
    let mut held = Vec::new();
    let token = daemon.token("authtoken.secret");
    for n in 0..60 {
        let mut stream = daemon.connect(Ipv4Addr::LOCALHOST);
        let bytes = match n % 6 {
            0 => Vec::new(),
            1 => b"GET /sta".to_vec(),
            2 => b"hello 1\n".to_vec(),
            3 => format!("GET /metrics HTTP/1.1\r\nX-ZT1-Auth: {token}\r\n\r\n").into_bytes(),
            4 => b"POST /network/x HTTP/1.1\r\nContent-Length: 4096\r\n\r\n".to_vec(),
            _ => b"GET /status HTTP/1.1\r\nX-ZT1-Auth: no\r\n\r\n".repeat(500),
        };
        // Who was given up already cannot be written to.
        let _ = stream.write_all(&bytes);
        held.push(stream);
        // Everybody else is served meanwhile.
        assert!(daemon.ask("info").contains("200 info "));
        assert_eq!(daemon.json("/status")["tcpFallbackActive"], false);
    }
    // One drips a request of endless headers.
    let mut slow = daemon.connect(Ipv4Addr::LOCALHOST);
    let _ = slow.write_all(b"GET /health HTTP/1.1\r\n");
    for _ in 0..2000 {
        if slow.write_all(b"a: b\r\n").is_err() {
            break;
        }
    }
    let (status, _) = answer_or_reset(slow);
    assert!(status.is_none_or(|status| status == 431), "{status:?}");
    assert!(daemon.ask("info").contains("200 info "));
    // Limits over a real socket: the answer arrives although not all was read.
    let long = b"GET /"
        .iter()
        .chain([b'a'; 100_000].iter())
        .copied()
        .collect::<Vec<u8>>();
    let mut stream = daemon.connect(Ipv4Addr::LOCALHOST);
    let _ = stream.write_all(&long);
    let _ = stream.shutdown(Shutdown::Write);
    let (status, _) = answer_or_reset(stream);
    assert!(status.is_none_or(|status| status == 414), "{status:?}");
    assert_eq!(daemon.request("GET", "/health", "").0, 200);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.process.id()))
        .unwrap()
        .count();
    assert!(descriptors < 60, "{descriptors} descriptors");
    drop(held);
}

/// As [`answer`], of a connection that may be reset.
fn answer_or_reset(mut stream: TcpStream) -> (Option<u16>, String) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text.get(9..12).and_then(|code| code.parse().ok()), text)
}

#[test]
fn a_stop_is_prompt_and_frees_the_port() {
    let daemon = Daemon::start();
    let held = daemon.connect(Ipv4Addr::LOCALHOST);
    assert!(daemon.ask("stop").contains("200 stop OK"));
    wait_for("its end", || !daemon.socket().exists());
    wait_for("the port", || {
        TcpStream::connect(("127.0.0.1", daemon.port)).is_err()
    });
    drop(held);
    // What a start makes a start finds again.
    let before = (
        daemon.token("authtoken.secret"),
        daemon.token("metricstoken.secret"),
    );
    let inodes = |d: &Daemon| {
        ["authtoken.secret", "metricstoken.secret"]
            .map(|name| fs::metadata(d.dir.join("home").join(name)).unwrap().ino())
    };
    let first = inodes(&daemon);
    let again = Daemon::try_start(daemon.dir.clone(), "");
    let again = again.unwrap_or_else(|| Daemon::try_start(daemon.dir.clone(), "").expect("a port"));
    assert_eq!(
        (
            again.token("authtoken.secret"),
            again.token("metricstoken.secret")
        ),
        before
    );
    assert_eq!(inodes(&again), first, "not written again");
}

#[test]
fn the_owner_says_what_is_open() {
    let settings = |router: &str| format!(r#"{{"settings":{{"router":{{{router}}}}}}}"#);
    let port = |daemon: &Daemon| {
        let text = fs::read_to_string(daemon.dir.join("home/zerotier-one.port")).unwrap();
        text.parse::<u16>().unwrap()
    };
    let closed = Daemon::launch(scratch(), &settings(r#""controlTcp":false"#));
    assert!(TcpStream::connect(("127.0.0.1", port(&closed))).is_err());
    let figures = |daemon: &Daemon| daemon.dir.join("home/metricstoken.secret").exists();
    assert!(!figures(&closed), "nobody needs it");
    assert!(closed.ask("metrics").contains("200 zt_num_networks 0\n"));

    let plain = settings(r#""metrics":false"#);
    let dir = scratch();
    let daemon = (0..5).find_map(|_| Daemon::try_start(dir.clone(), &plain));
    let daemon = daemon.expect("a port of five");
    assert_eq!(daemon.request("GET", "/metrics", "").0, 404);
    assert!(!figures(&daemon), "nobody needs it");
    assert_eq!(daemon.request("GET", "/status", "").0, 200);
}

#[test]
fn local_conf_is_shown_changed_and_in_force() {
    let conf = r#"{"settings":{"zz":[1],"interfacePrefixBlacklist":["wg"]}}"#;
    let dir = scratch();
    let daemon = (0..5).find_map(|_| Daemon::try_start(dir.clone(), conf));
    let daemon = daemon.expect("a port of five");
    let sorted = r#"{"settings":{"interfacePrefixBlacklist":["wg"],"zz":[1]}}"#;
    assert_eq!(daemon.request("GET", "/config", ""), (200, sorted.into()));
    let settings = &daemon.json("/status")["config"]["settings"];
    assert_eq!(settings["zz"][0], 1);
    assert_eq!(settings["primaryPort"], daemon.port);
    let changes = r#"{"zz":null,"interfacePrefixBlacklist":["br"],"own":{"a":1}}"#;
    let changed = daemon.request("POST", "/config/settings", changes);
    assert_eq!(changed, (200, "{}".into()));
    let sorted = r#"{"settings":{"interfacePrefixBlacklist":["br"],"own":{"a":1}}}"#;
    assert_eq!(daemon.request("GET", "/config", ""), (200, sorted.into()));
    let file = fs::read_to_string(dir.join("home/local.conf")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["settings"]["own"]["a"], 1);
    assert!(
        daemon
            .ask("conf interfacePrefixBlacklist")
            .contains("[\"br\"]")
    );
    // What makes no sense changes nothing.
    let bad = daemon.request("POST", "/config/settings", r#"{"bind":"what"}"#);
    assert_eq!(bad.0, 400, "{bad:?}");
    assert_eq!(daemon.request("GET", "/config", ""), (200, sorted.into()));
    // The answer comes before the door closes.
    let close = r#"{"router":{"controlTcp":false}}"#;
    assert_eq!(
        daemon.request("POST", "/config/settings", close),
        (200, "{}".into())
    );
    wait_for("a closed door", || {
        TcpStream::connect(("127.0.0.1", daemon.port)).is_err()
    });
    assert!(
        daemon
            .ask("conf router.controlTcp=true")
            .contains("200 conf OK")
    );
    wait_for("an open door", || {
        TcpStream::connect(("127.0.0.1", daemon.port)).is_ok()
    });
    assert_eq!(daemon.request("GET", "/metrics", "").0, 200);
}

#[test]
fn other_machines_manage_if_they_are_named_and_by_http_only() {
    let Some(lab) = Lab::new("m") else { return };
    let home = lab.home("a");
    let root = new_identity(1);
    put(
        &home,
        "planet",
        &planet(&root, SocketAddr::from(([127, 0, 0, 1], 9))),
    );
    put(
        &home,
        "identity.secret",
        text_of(&new_identity(2)).as_bytes(),
    );
    let conf = r#"{"settings":{"allowManagementFrom":["10.77.0.2/32","fd00::/8"]}}"#;
    put(&home, "local.conf", conf.as_bytes());
    let service = Service::start(&lab.space(Some("10.77.0.1/24")), &home);
    let (named, other) = (
        lab.space(Some("10.77.0.2/24")),
        lab.space(Some("10.77.0.3/24")),
    );
    let token = fs::read_to_string(home.join("authtoken.secret")).expect("a token");
    let ask = |space: &str, port: u16| {
        let cli = format!("{BINARY} cli -D/nonexistent -H10.77.0.1 -p{port} -T{token} info");
        live::inside(space, &cli)
    };
    // The control protocol is refused there, so the client goes by HTTP.
    let info = format!("200 info {} ", service.address());
    let text = ask(&named, PORT).expect("an answer");
    assert!(text.starts_with(&info), "{text}");
    assert_eq!(ask(&other, PORT), None);
    assert_eq!(ask(&named, PORT + 1), None);
    // This machine itself is asked by both, as ever.
    let local = format!("{BINARY} cli -D/nonexistent -p{PORT} -T{token} info");
    let text = live::inside(&service.space, &local).expect("an answer");
    assert!(text.starts_with(&info), "{text}");
    let (_, log) = service.stop();
    assert!(!log.contains("wrong token"), "{log}");
}
