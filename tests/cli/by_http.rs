//! Services that are asked by TCP.

#[cfg(feature = "http-compat")]
use std::io::Read as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
#[cfg(feature = "http-compat")]
use std::path::Path;
use std::thread;

use super::service::{Scratch, write};

/// A service of before on a port of its own: HTTP, and the answers of 1.14.1. It ends with the
/// test's process.
#[cfg(feature = "http-compat")]
fn serve_http(home: &Path) {
    let recorded = include_str!("../recorded/http-answers.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
    let object = |path: &str| {
        let all = recorded["answers"].as_array().unwrap();
        all.iter().find(|a| a["path"] == path).expect("recorded")["object"].clone()
    };
    let (status, network, peer) = (
        object("/status"),
        object("/network"),
        object("/peer/3d6ce22a72"),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "the other side of a socket")]
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut lines: Vec<String> = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_owned());
                if !lines[0].ends_with(" HTTP/1.1") {
                    break;
                }
            }
            let has_token = lines.iter().any(|l| l == "X-ZT1-Auth: secret");
            let length = lines
                .iter()
                .find_map(|l| l.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.map_or(0, |n| n.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let (code, answer) = match lines[0].trim_end_matches(" HTTP/1.1") {
                _ if !lines[0].contains("HTTP") => (400, String::new()),
                _ if !has_token => (401, "{}".into()),
                "GET /status" => (200, status.to_string()),
                "GET /peer" => (200, format!("[{peer}]")),
                "GET /network" => (200, format!("[{network}]")),
                "GET /network/294348aa9a000001" => (200, network.to_string()),
                "POST /network/294348aa9a000001" if body == r#"{"allowDNS":true}"# => {
                    (200, network.to_string())
                }
                "POST /network/ff00160016000000" if body == "{}" => (200, network.to_string()),
                "DELETE /network/294348aa9a000001" => (200, r#"{"result":true}"#.into()),
                "DELETE /network/ff00160016000000" => (200, "{}".into()),
                "POST /network/294348aa9a000001" => (200, network.to_string()),
                "GET /moon" => (200, "[]".into()),
                "POST /moon/deadbeef01" if body == r#"{"seed":"deadbeef02"}"# => (200, "{}".into()),
                "GET /metrics" => (200, "# TYPE a counter\na{b=\"c\"} 1\n".into()),
                _ => (404, "{}".into()),
            };
            let mut stream = stream;
            let length = answer.len();
            let head = format!("HTTP/1.1 {code} x\r\nContent-Length: {length}\r\n\r\n");
            let _ = stream.write_all((head + &answer).as_bytes());
        }
    });
    write(&home.join("zerotier-one.port"), &port.to_string());
}

#[cfg(feature = "http-compat")]
#[test]
fn a_service_that_knows_only_http_is_asked_by_http() {
    let scratch = Scratch::new();
    let home = scratch.home();
    serve_http(&home);
    write(&home.join("authtoken.secret"), "secret\n");
    const NET: &str = "294348aa9a000001";
    let lists = scratch.cli(&["listnetworks"]);
    let ips = "fcb3:4348:ab29:4348:aa9a::1/40,10.147.17.18/24";
    assert_eq!(
        lists.out,
        format!(
            "200 listnetworks <nwid> <name> <mac> <status> <type> <dev> <ZT assigned ips>\n\
             200 listnetworks {NET} lab net 02:29:43:d2:00:d2 OK PRIVATE ztqpmurku3 {ips}\n"
        )
    );
    scratch
        .cli(&["info"])
        .is(0, "200 info 294348aa9a 1.14.1 ONLINE\n", "");
    let peers = scratch.cli(&["listpeers"]).out;
    assert!(
        peers.starts_with("200 listpeers <ztaddr> <path> <latency> <version> <role>\n200 listpeers d31200885f 10.99.1.1/9993;"),
        "{peers}"
    );
    assert!(peers.ends_with(" 24 1.15.0 PLANET\n"), "{peers}");
    let pretty = scratch.cli(&["peers"]).out;
    assert!(
        pretty.contains("\nd31200885f 1.15.0 PLANET    24 DIRECT   "),
        "{pretty}"
    );
    assert!(
        scratch
            .cli(&["-j", "info"])
            .out
            .starts_with("{\n \"address\": \"294348aa9a\",")
    );
    scratch
        .cli(&["get", NET, "ip4"])
        .is(0, "10.147.17.18\n", "");
    scratch
        .cli(&["get", NET, "ip6prefix"])
        .is(0, "fcb3:4348:ab29:4348:aa9a\n", "");
    scratch
        .cli(&["get", NET, "broadcastEnabled"])
        .is(0, "1\n", "");
    scratch
        .cli(&["get", NET, "what"])
        .is(1, "error, unknown property name\n", "");
    let unknown = "unknown network ID, check that you are a member of the network\n";
    scratch
        .cli(&["get", "294348aa9a000002", "mac"])
        .is(1, "", unknown);
    assert!(
        scratch
            .cli(&["set", NET, "allowDNS=1"])
            .out
            .starts_with("{\"allowDNS\":")
    );
    let set = scratch.cli(&["set", NET, "what=1"]);
    let none = "error, unknown property name\n";
    assert_eq!((set.status, set.out.as_str()), (Some(1), none));
    scratch
        .cli(&["join", "ff00160016000000"])
        .is(0, "200 join OK\n", "");
    scratch.cli(&["leave", NET]).is(0, "200 leave OK\n", "");
    scratch
        .cli(&["-j", "leave", "ff00160016000000"])
        .is(0, "{}", "");
    scratch.cli(&["listmoons"]).is(0, "[]\n", "");
    scratch
        .cli(&["orbit", "000000deadbeef01", "deadbeef02"])
        .is(0, "200 orbit OK\n", "");
    scratch
        .cli(&["deorbit", "deadbeef03"])
        .is(1, "404 deorbit {}\n", "");
    scratch
        .cli(&["metrics"])
        .is(0, "# TYPE a counter\na{b=\"c\"} 1\n", "");
    scratch
        .cli(&["monitor"])
        .is(1, "501 monitor not known to this service\n", "");
    scratch.cli(&["wait", NET, "0"]).is(0, "", "");
    let status = scratch.cli(&["/status"]).out;
    assert!(
        status.starts_with("{\"address\":\"294348aa9a\""),
        "{status}"
    );
    scratch.cli(&["-Twrong", "info"]).is(1, "401 info {}\n", "");
}

#[test]
fn a_port_without_anybody_and_a_missing_token() {
    let scratch = Scratch::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let home = scratch.home();
    write(&home.join("zerotier-one.port"), "1");
    let program = scratch.dir.join("zerotier-cli");
    let missing = format!(
        "{}: authtoken.secret not found or readable in {} (try again as root)\n",
        program.display(),
        home.display()
    );
    let named = format!("-p{port}");
    scratch.cli(&[&named, "info"]).is(2, "", &missing);
    let nobody = format!(
        "Error connecting to the ZeroTier service: connection failed\n\n\
         Please check that the service is running and that TCP port {port} can be contacted via 127.0.0.1.\n"
    );
    scratch.cli(&[&named, "-Tx", "info"]).is(1, &nobody, "");
    // The copy that a user keeps serves too.
    write(&scratch.dir.join(".zeroTierOneAuthToken"), "x");
    scratch
        .cli(&["-H127.0.0.1", &named, "info"])
        .is(1, &nobody, "");
}

#[test]
fn who_does_not_prove_that_he_knows_the_token_is_not_believed() {
    let scratch = Scratch::new();
    let home = scratch.home();
    write(&home.join("authtoken.secret"), "secret");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    write(
        &home.join("zerotier-one.port"),
        &listener.local_addr().unwrap().port().to_string(),
    );
    #[expect(clippy::disallowed_methods, reason = "the other side of a socket")]
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "hello 1");
        let zeros = "0".repeat(64);
        write!(out, "401 zt-ctl/1 kmac256 {zeros}\n.\n200 hello 1\n.\n").unwrap();
        let auth = lines.next().unwrap().unwrap();
        assert!(
            auth.starts_with("auth ") && auth.len() == 5 + 64 + 1 + 64,
            "{auth}"
        );
        assert!(!auth.contains("secret"));
        write!(out, "200 auth OK {zeros}\n.\n").unwrap();
        // Nothing more is said to a liar.
        assert!(lines.next().is_none_or(|line| line.is_err()));
    });
    let text = "Error talking to the ZeroTier service: whoever answers does not know the token\n";
    scratch.cli(&["info"]).is(1, text, "");
    thread.join().unwrap();
}
