//! Figures as Prometheus text: by the control protocol and by HTTP (service 4.7).
#![cfg(all(feature = "metrics", feature = "http-compat"))]

mod fake_daemon;
mod sim;

use std::collections::{HashMap, HashSet};

use fake_daemon::{Fake, NET, START, Stream, address};
use sim::{World, at, planet};
use zt::base::Mono;
use zt::node::DropReason;
use zt::service::control::Caller;
use zt::service::control::auth::Guard;
use zt::service::control::conn::{Conn as Control, Turn};
use zt::service::http::conn::Conn;
use zt::wire::verb::Verb;

const TOKEN: &str = "iemvv4h0ino7hh9xjcdntcva";

fn secret(text: &str) -> zeroize::Zeroizing<String> {
    text.to_owned().into()
}
const FIGURES: &str = "ov6o7coa7l56v8w3stli0x7p";

/// Status, head and body of a GET.
fn get(host: &mut Fake, path: &str, token: &str, metrics: Option<&str>) -> (u16, String, String) {
    let stream = Stream::default();
    stream.0.borrow_mut().window = usize::MAX;
    let request = format!("GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.0.borrow_mut().incoming.extend(request.as_bytes());
    let mut guard = Guard::new(secret(TOKEN), metrics.map(secret));
    let mut conn = Conn::new(stream.clone(), START);
    while conn.turn(START, host, &mut guard) != Turn::Closed {}
    let text = String::from_utf8(std::mem::take(&mut stream.0.borrow_mut().outgoing)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (
        head[9..12].parse().unwrap(),
        head.to_owned(),
        body.to_owned(),
    )
}

fn figures(host: &mut Fake) -> String {
    let (status, head, body) = get(host, "/metrics", FIGURES, Some(FIGURES));
    assert_eq!(status, 200);
    assert!(head.contains("\r\nContent-Type: text/plain"), "{head}");
    body
}

/// Reads the text as Prometheus does: samples by name with labels.
fn read(text: &str) -> HashMap<String, u64> {
    let mut samples = HashMap::new();
    let (mut family, mut families) = (String::new(), HashSet::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} twice");
            let kind = lines
                .next()
                .and_then(|l| l.strip_prefix(&format!("# TYPE {family} ")));
            assert!(
                matches!(kind, Some("counter" | "gauge" | "untyped")),
                "{family} {kind:?}"
            );
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        assert_eq!(name, family, "a sample outside its family");
        let labels = labels.strip_suffix('}').expect("an end");
        for label in labels.split(',').filter(|l| !l.is_empty()) {
            let (key, value) = label.split_once("=\"").expect("a label");
            let value = value.strip_suffix('"').expect("a quote");
            let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            assert!(
                key.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{line}"
            );
            assert!(!value.is_empty() && value.chars().all(fits), "{line}");
        }
        let former = samples.insert(sample.to_owned(), value.parse().unwrap());
        assert_eq!(former, None, "{sample} twice");
    }
    samples
}

#[test]
fn names_and_labels_are_those_of_1_14_1() {
    let mut host = Fake::new();
    let samples = read(&figures(&mut host));
    let id = "3d6ce22a72";
    for (sample, value) in [
        (
            "zt_packet{direction=\"rx\",packet_type=\"hello\"}".to_owned(),
            5,
        ),
        (
            "zt_packet{direction=\"tx\",packet_type=\"hello\"}".to_owned(),
            6,
        ),
        (
            "zt_packet_error{direction=\"rx\",error_type=\"unwanted_multicast\"}".to_owned(),
            7,
        ),
        (
            "zt_packet_error{direction=\"tx\",error_type=\"unwanted_multicast\"}".to_owned(),
            8,
        ),
        (
            "zt_data{direction=\"rx\",protocol=\"udp\"}".to_owned(),
            1000,
        ),
        (
            "zt_data{direction=\"tx\",protocol=\"udp\"}".to_owned(),
            2000,
        ),
        ("zt_num_networks".to_owned(), 1),
        (
            format!("zt_network_multicast_groups_subscribed{{network_id=\"{NET}\"}}"),
            2,
        ),
        (
            format!("zt_network_packets{{accepted=\"yes\",direction=\"rx\",network_id=\"{NET}\"}}"),
            1,
        ),
        (
            format!("zt_network_packets{{accepted=\"no\",direction=\"rx\",network_id=\"{NET}\"}}"),
            2,
        ),
        (
            format!("zt_network_packets{{accepted=\"yes\",direction=\"tx\",network_id=\"{NET}\"}}"),
            3,
        ),
        (
            format!("zt_network_packets{{accepted=\"no\",direction=\"tx\",network_id=\"{NET}\"}}"),
            4,
        ),
        (
            format!("zt_peer_path_count{{status=\"alive\",node_id=\"{id}\"}}"),
            1,
        ),
        (
            format!("zt_peer_path_count{{status=\"dead\",node_id=\"{id}\"}}"),
            0,
        ),
        (
            format!("zt_peer_packets{{direction=\"rx\",node_id=\"{id}\"}}"),
            30,
        ),
        (
            format!("zt_peer_packets{{direction=\"tx\",node_id=\"{id}\"}}"),
            40,
        ),
        (format!("zt_peer_packet_errors{{node_id=\"{id}\"}}"), 1),
        // Ours.
        (format!("zt_peer_latency_ms{{node_id=\"{id}\"}}"), 28),
        ("zt_online".to_owned(), 1),
        ("zt_uptime_seconds".to_owned(), 12),
        ("process_resident_memory_bytes".to_owned(), 2_000_000),
        ("zt_drops{reason=\"junk\"}".to_owned(), 3),
        ("zt_table_entries{table=\"peers\"}".to_owned(), 3),
        ("zt_table_capacity{table=\"peers\"}".to_owned(), 64),
        ("zt_loop_lag_max_ms".to_owned(), 0),
    ] {
        assert_eq!(
            samples.get(&sample),
            Some(&value),
            "{sample} in {samples:#?}"
        );
    }
    // Every type of packet that 1.14.1 counts.
    let counted = |name: &str| {
        let types = samples.keys().filter_map(|s| {
            let labels = s.strip_prefix("zt_packet{direction=\"rx\",packet_type=\"")?;
            labels.strip_suffix("\"}")
        });
        types.into_iter().any(|t| t == name)
    };
    for name in [
        "nop",
        "error",
        "ack",
        "qos",
        "hello",
        "ok",
        "whois",
        "rendezvous",
        "frame",
        "ext_frame",
        "echo",
        "multicast_like",
        "network_credentials",
        "network_config_request",
        "network_config",
        "multicast_gather",
        "multicast_frame",
        "push_direct_paths",
        "user_message",
        "remote_trace",
        "path_negotiation_request",
    ] {
        assert!(counted(name), "{name}");
    }
    // An unknown latency is no sample.
    assert!(!samples.contains_key("zt_peer_latency_ms{node_id=\"62f865ae71\"}"));
}

#[test]
fn the_control_protocol_has_the_same_rows() {
    let mut host = Fake::new();
    let stream = Stream::default();
    stream.0.borrow_mut().window = usize::MAX;
    stream.0.borrow_mut().incoming.extend(b"metrics\nquit\n");
    let caller = Caller {
        uid: None,
        pid: None,
        is_owner: false,
        read_only: true,
    };
    let mut conn = Control::new(stream.clone(), caller, START, &host);
    while conn.turn(START, &mut host) != Turn::Closed {}
    let text = String::from_utf8(std::mem::take(&mut stream.0.borrow_mut().outgoing)).unwrap();
    let rows = text.split(".\n").nth(1).expect("a reply");
    let mut rows = rows
        .lines()
        .map(|row| row.strip_prefix("200 ").expect("a code"));
    assert_eq!(rows.next(), Some("metrics <sample>"));
    let lines: String = rows.map(|row| format!("{row}\n")).collect();
    assert_eq!(lines, figures(&mut host));
}

#[test]
fn the_token_of_the_figures_opens_nothing_else() {
    let mut host = Fake::new();
    let mut status = |path: &str, token: &str, metrics| get(&mut host, path, token, metrics).0;
    assert_eq!(status("/metrics", TOKEN, Some(FIGURES)), 200);
    assert_eq!(status("/metrics", "no", Some(FIGURES)), 401);
    assert_eq!(status("/status", FIGURES, Some(FIGURES)), 401);
    assert_eq!(status("/nope", FIGURES, Some(FIGURES)), 401);
    // Without a token for them there are none.
    assert_eq!(status("/metrics", TOKEN, None), 404);
    assert_eq!(status("/metrics", "", None), 401);
    assert_eq!(status("/metrics", "", Some("")), 401);
}

#[test]
fn many_peers_are_written_as_they_are_read() {
    let mut host = Fake::new();
    host.peers = (1..3000).map(address).collect();
    let samples = read(&figures(&mut host));
    let count = |family: &str| samples.keys().filter(|s| s.starts_with(family)).count();
    assert_eq!(count("zt_peer_packets{"), 2 * 2999);
    assert_eq!(count("zt_peer_packet_errors{"), 2999);
}

#[test]
fn what_one_node_sends_the_other_receives() {
    const ROOT: &str = "10.1.0.1:9993";
    let mut world = World::new(planet(&[(0, at(ROOT))]));
    let root = world.add(0, &[ROOT]);
    let a = world.add(1, &["10.2.0.1:9993"]);
    assert!(world.run_until(10_000, |w| w.is_online(a)));
    world.run(300_000);
    let sum = |from: usize, to: usize| {
        let (sent, received) = (world.hosts[from].node.stats(), world.hosts[to].node.stats());
        let mut sum = 0;
        for verb in Verb::ALL {
            let (sent, received) = (sent.packets(*verb).1, received.packets(*verb).0);
            assert_eq!(sent, received, "{verb} from {from}");
            sum += sent;
        }
        sum
    };
    let (up, down) = (sum(a, root), sum(root, a));
    assert!(up > 5 && down > 5, "{up} {down}");
    assert!(world.hosts[a].node.stats().packets(Verb::Hello).1 > 0);
    let now = Mono::from_ms(world.now);
    let peer = world.hosts[a]
        .node
        .peer(world.address(root), now)
        .expect("a peer");
    assert_eq!(
        (
            peer.traffic.received,
            peer.traffic.sent,
            peer.traffic.refused
        ),
        (down, up, 0)
    );

    // What is not authentic counts for nobody's verbs.
    world.record = true;
    world.hosts[root].sent.clear();
    world.run(120_000);
    let sent = &world.hosts[root].sent;
    let mut forged = sent.last().expect("a datagram").bytes.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    let before = world.hosts[a]
        .node
        .stats()
        .drops(DropReason::Authentication);
    world.inject(a, at(ROOT), &forged);
    let peer = world.hosts[a]
        .node
        .peer(world.address(root), now)
        .expect("a peer");
    assert_eq!(peer.traffic.refused, 1);
    let after = world.hosts[a]
        .node
        .stats()
        .drops(DropReason::Authentication);
    assert_eq!(after, before + 1);
}
