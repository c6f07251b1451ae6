//! The HTTP API: requests, answers by the fields of 1.14.1, limits, and the port (service 4).
#![cfg(feature = "http-compat")]

mod fake_daemon;

use proptest::prelude::*;
use serde_json::{Value, json};

use fake_daemon::{Fake, NET, START, Stream, WALL, address, has_fields_of};
use zt::base::Mono;
use zt::service::control::auth::{ATTEMPTS_PER_S, Guard};
use zt::service::control::conn::Turn;
use zt::service::control::{Code, Refusal};
use zt::service::http::conn::{ANSWER_MS, Conn, OUTPUT_BYTES, REQUEST_MS};
use zt::service::http::request::{
    BODY_MAX, Bad, HEADER_COUNT_MAX, HEADERS_MAX, LINE_MAX, Method, parse,
};

const TOKEN: &str = "iemvv4h0ino7hh9xjcdntcva";

fn secret(text: &str) -> zeroize::Zeroizing<String> {
    text.to_owned().into()
}

struct Client {
    conn: Conn<Stream>,
    stream: Stream,
    guard: Guard,
    host: Fake,
    now: Mono,
}

impl Client {
    fn new() -> Self {
        let stream = Stream::default();
        stream.0.borrow_mut().window = usize::MAX;
        Self {
            conn: Conn::new(stream.clone(), START),
            stream,
            guard: Guard::new(secret(TOKEN), Some(secret("figures"))),
            host: Fake::new(),
            now: START,
        }
    }

    /// Turns until it waits or is closed. `true`: closed.
    fn run(&mut self) -> bool {
        self.conn.ready();
        loop {
            match self.conn.turn(self.now, &mut self.host, &mut self.guard) {
                Turn::More => {}
                Turn::Wait => return false,
                Turn::Closed => return true,
            }
        }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.0.borrow_mut().incoming.extend(bytes.as_ref());
        self.run()
    }

    fn received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stream.0.borrow_mut().outgoing)
    }

    /// A request to its answer and the end of the connection.
    fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        assert!(self.send(request), "not closed");
        let bytes = self.received();
        self.conn = Conn::new(self.stream.clone(), self.now);
        Answer::read(&bytes)
    }

    fn get(&mut self, path: &str) -> Answer {
        self.ask(with_token("GET", path, None))
    }
}

fn with_token(method: &str, path: &str, body: Option<&str>) -> String {
    let length = body.map_or(String::new(), |b| {
        format!("Content-Length: {}\r\n", b.len())
    });
    let body = body.unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nX-ZT1-Auth: {TOKEN}\r\n{length}\r\n{body}")
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    kind: Option<String>,
    body: String,
    has_length: bool,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line");
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap();
        let status = first.strip_prefix("HTTP/1.1 ").expect("HTTP");
        let headers: Vec<(&str, &str)> = lines.map(|l| l.split_once(": ").unwrap()).collect();
        let header = |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1);
        assert_eq!(header("Connection"), Some("close"), "{head}");
        assert!(
            headers.is_sorted() && status.len() > 4,
            "status has its reason, headers their order: {head}"
        );
        let length = header("Content-Length").map(|n| n.parse::<usize>().unwrap());
        let body = match header("Transfer-Encoding") {
            Some("chunked") => unchunk(body),
            None => body.to_owned(),
            other => panic!("{other:?}"),
        };
        if let Some(length) = length {
            assert!(body.is_empty() || body.len() == length, "{text}");
        }
        Self {
            status: status[..3].parse().unwrap(),
            kind: header("Content-Type").map(str::to_owned),
            body,
            has_length: length.is_some(),
        }
    }

    fn json(&self) -> Value {
        assert_eq!(self.kind.as_deref(), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        let kind = (!body.is_empty()).then(|| "application/json".to_owned());
        let is = (self.status, &self.kind, self.body.as_str());
        assert_eq!(is, (status, &kind, body));
    }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").expect("a length");
        let length = usize::from_str_radix(length, 16).unwrap();
        out.push_str(&rest[..length]);
        body = rest[length..].strip_prefix("\r\n").expect("an end");
        if length == 0 {
            assert_eq!(body, "");
            return out;
        }
    }
}

// ---- answers -----------------------------------------------------------------------------

#[test]
fn every_answer_has_the_fields_of_1_14_1_in_its_order() {
    let recorded: Value = serde_json::from_str(include_str!("recorded/http-answers.json")).unwrap();
    let mut client = Client::new();
    let mut tried = 0;
    for case in recorded["answers"].as_array().unwrap() {
        let path = case["path"].as_str().unwrap();
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}");
        has_fields_of(&answer.json(), case);
        tried += 1;
    }
    assert!(tried >= 5, "only {tried}");
}

#[test]
fn what_is_answered_is_the_state_of_the_daemon() {
    let mut client = Client::new();
    let status = client.get("/status").json();
    assert_eq!(status["address"], "3c9439e96a");
    assert_eq!(status["clock"], WALL);
    assert_eq!(status["config"]["settings"]["primaryPort"], 29993);
    let health = client.ask("GET /health HTTP/1.1\r\n\r\n");
    assert_eq!(health.json()["clock"], WALL);
    let network = client.get(&format!("/network/{NET}")).json();
    assert_eq!(network["name"], "lab net 100%");
    assert_eq!(client.get("/network").json(), json!([network]));
    // What only our own commands show is not here.
    assert_eq!(network.get("addresses"), None);
    let peers = client.get("/peer").json();
    assert_eq!(peers[1], client.get("/peer/3D6CE22A72").json());
    let moons = client.get("/moon").json();
    assert_eq!(moons[0], client.get("/moon/0000000008eac90a").json());
    assert_eq!(moons[1], client.get("/moon/deadbeef00").json());
}

#[test]
fn what_is_not_there_is_answered_as_ever() {
    let mut client = Client::new();
    client.get("/network/0000000000000001").is(404, "{}");
    client.get("/network/0000000000000000").is(404, "{}");
    client.get("/peer/0000000001").is(200, "{}");
    client.get("/peer/0000000000").is(200, "{}");
    client.get("/moon/0000000001").is(200, "{}");
    client.get("/bond/show/0000000001").is(400, "{}");
    for path in [
        "/",
        "//status",
        "/status/",
        "/network/",
        "/network/zz",
        "/network/8056c2e21c00000",
        "/peer/1",
        "/peer/zzzzzzzzzz",
        "/moon/1",
        "/controller",
        "/controller/network",
        "/sso",
        "/nope",
        "*",
        "/network/8056c2e21c000001/x",
        "http://localhost/status",
    ] {
        client.get(path).is(404, "");
    }
    for (method, path) in [
        ("POST", "/status"),
        ("PUT", "/peer"),
        ("DELETE", "/network"),
        ("DELETE", "/status"),
        ("PATCH", "/status"),
        ("OPTIONS", "/network"),
        ("FOO", "/status"),
    ] {
        client.ask(with_token(method, path, Some("{}"))).is(404, "");
    }
    assert!(client.host.told.is_empty(), "{:?}", client.host.told);
}

#[test]
fn head_is_get_without_the_body() {
    let mut client = Client::new();
    let get = client.get("/network");
    let head = client.ask(with_token("HEAD", "/network", None));
    assert_eq!(
        (head.status, head.kind, head.body.as_str()),
        (200, get.kind, "")
    );
    assert!(head.has_length);
}

#[test]
fn changes_reach_the_daemon() {
    let mut client = Client::new();
    let path = format!("/network/{NET}");
    let mut post = |method: &str, body: &str| {
        let answer = client.ask(with_token(method, &path, Some(body)));
        assert_eq!(answer.json()["id"], NET);
        client.host.told.pop().expect("told")
    };
    let none = format!("join {NET} []");
    assert_eq!(post("POST", ""), none);
    assert_eq!(post("POST", "{}"), none);
    // Not JSON, or not booleans: ignored, as ever.
    assert_eq!(post("POST", "junk"), none);
    assert_eq!(post("POST", "[true]"), none);
    assert_eq!(
        post("POST", r#"{"allowManaged":"1","allowDNS":1,"ifname":true}"#),
        none
    );
    assert_eq!(
        post("PUT", r#"{"allowDNS":true,"x":[],"allowManaged":false}"#),
        format!(r#"join {NET} [("allowManaged", "0"), ("allowDNS", "1")]"#)
    );
    client
        .ask(with_token("DELETE", &path, None))
        .is(200, r#"{"result":true}"#);
    assert_eq!(client.host.told.pop(), Some(format!("leave {NET}")));
    client.host.refusal = Some(Refusal::new(Code::NotFound, format_args!("not joined")));
    client.ask(with_token("DELETE", &path, None)).is(200, "{}");
    client.host.told.clear();

    let orbit = |client: &mut Client, id: &str, body: &str| {
        client
            .ask(with_token("POST", &format!("/moon/{id}"), Some(body)))
            .json()
    };
    let seed = r#"{"seed":"3d6ce22a72"}"#;
    assert_eq!(orbit(&mut client, "deadbeef01", seed), json!({}));
    let told = format!("orbit deadbeef01 {:?}", Some(address(0x3d_6ce2_2a72)));
    assert_eq!(client.host.told.pop(), Some(told));
    // Known already, or nobody to ask: nothing is done.
    assert_eq!(orbit(&mut client, "deadbeef00", seed)["waiting"], true);
    assert_eq!(orbit(&mut client, "deadbeef02", "{}"), json!({}));
    assert_eq!(orbit(&mut client, "0000000000", seed), json!({}));
    assert_eq!(client.host.told.pop(), None);
    client
        .ask(with_token("DELETE", "/moon/000000deadbeef01", None))
        .is(200, r#"{"result":true}"#);
    assert_eq!(client.host.told.pop(), Some("deorbit deadbeef01".into()));
}

#[test]
fn local_conf_is_shown_and_changed() {
    let mut client = Client::new();
    // Nobody may see it, says the daemon.
    client.get("/config").is(404, "");
    let file =
        r#"{"virtual":{"b":1,"a":{}},"settings":{"zz":1,"primaryPort":7,"secondaryPort":8}}"#;
    client.host.conf = Some(zt::service::json::Value::parse(file).unwrap());
    let sorted =
        r#"{"settings":{"primaryPort":7,"secondaryPort":8,"zz":1},"virtual":{"a":{},"b":1}}"#;
    client.get("/config").is(200, sorted);
    // The status has the file with what is in force.
    let status = client.get("/status").json();
    let config = &status["config"];
    assert_eq!(config["virtual"], json!({"a": {}, "b": 1}));
    assert_eq!(config["settings"]["zz"], 1);
    assert_eq!(config["settings"]["primaryPort"], 29993);
    // Not that of the file: there is no such port.
    assert_eq!(config["settings"]["secondaryPort"], 0);

    let mut post = |body: &str| client.ask(with_token("POST", "/config/settings", Some(body)));
    post(r#"{"zz":null,"bind":["10.0.0.1"]}"#).is(200, "{}");
    for bad in ["", "junk", "[1]", "\"x\""] {
        assert_eq!(post(bad).status, 500, "{bad}");
    }
    let told = r#"settings {"zz":null,"bind":["10.0.0.1"]}"#;
    assert_eq!(client.host.told, [told]);
    client.host.refusal = Some(Refusal::new(
        Code::BadArguments,
        format_args!("bind: no list"),
    ));
    client
        .ask(with_token("POST", "/config/settings", Some("{}")))
        .is(400, r#"{"error": 400, "description": "bind: no list"}"#);
    client.get("/config/settings").is(404, "");
}

#[test]
fn refusals_are_said() {
    let mut client = Client::new();
    client.host.joined = false;
    client.host.refusal = Some(Refusal::new(
        Code::Failed,
        format_args!("too many \"networks\""),
    ));
    let join = with_token("POST", &format!("/network/{NET}"), Some("{}"));
    client.ask(&join).is(
        500,
        r#"{"error": 500, "description": "too many \"networks\""}"#,
    );
    client.host.refusal = Some(Refusal::new(Code::Busy, format_args!("stopping")));
    client.ask(&join).is(503, "{}");
}

#[test]
fn a_callback_wraps_the_body() {
    let mut client = Client::new();
    let answer = client.get("/network/0000000000000001?jsonp=a.b_$1");
    assert_eq!(answer.kind.as_deref(), Some("application/javascript"));
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, "a.b_$1(null);")
    );
    client.get("/network/0000000000000001").is(404, "{}");
    let mut script = |path| {
        let answer = client.get(path);
        (answer.status, answer.body)
    };
    let null = "f(null);".to_owned();
    assert_eq!(script("/bond/show/0000000001?jsonp=f"), (400, null));
    let nobody = "f({});".to_owned();
    assert_eq!(script("/peer/0000000001?jsonp=f"), (200, nobody));
    assert!(client.get("/status?jsonp=f").body.ends_with("});"));
    client.get("/nope?jsonp=f").is(404, "");
    // What is no name could be a whole script.
    for bad in ["alert(1)//", "a%3Cb", "a;b", "%ff", "a+b"] {
        client.get(&format!("/status?jsonp={bad}")).is(400, "");
    }
}

// ---- tokens ------------------------------------------------------------------------------

#[test]
fn the_first_place_with_a_token_decides() {
    let mut client = Client::new();
    let mut status = |query: &str, headers: &str| {
        client.now = client.now.after(10_000);
        client.conn = Conn::new(client.stream.clone(), client.now);
        client
            .ask(format!("GET /status{query} HTTP/1.1\r\n{headers}\r\n"))
            .status
    };
    let good = format!("?x=1&auth={TOKEN}");
    let coded = format!("?auth=%69{}", &TOKEN[1..]);
    let header = format!("X-ZT1-Auth:  {TOKEN} \r\n");
    let bearer = format!("authorization: bearer {TOKEN}\r\n");
    for (query, headers) in [
        ("", header.as_str()),
        (&good, ""),
        (&coded, ""),
        ("", &bearer),
        (&good, "Authorization: Bearer no\r\n"),
        ("?auth=no", &header),
    ] {
        assert_eq!(status(query, headers), 200, "{query} {headers}");
    }
    for (query, headers) in [
        ("", ""),
        ("?auth=no", bearer.as_str()),
        ("?auth=", &bearer),
        (&good, "X-ZT1-Auth: no\r\n"),
        ("", "X-ZT1-Auth:\r\n"),
        ("", "Authorization: Basic aaa\r\n"),
        ("", "Authorization: x\r\n"),
        ("", "X-ZT1-Auth: figures\r\n"),
        ("?token=iemvv4h0ino7hh9xjcdntcva", ""),
        ("", "X-ZT1-Auth: iemvv4h0ino7hh9xjcdntcvb\r\n"),
        ("", "X-ZT1-Auth: iemvv4h0ino7hh9xjcdntcv\r\n"),
    ] {
        assert_eq!(status(query, headers), 401, "{query} {headers}");
    }
}

#[test]
fn without_a_token_nothing_is_said_but_that() {
    let mut client = Client::new();
    for path in ["/status", "/nope", "/network/zz", "/metrics", "/config"] {
        client
            .ask(format!("GET {path} HTTP/1.1\r\n\r\n"))
            .is(401, "{}");
    }
    client
        .ask(format!("DELETE /network/{NET} HTTP/1.1\r\n\r\n"))
        .is(401, "{}");
    let post = format!("POST /network/{NET} HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    client.ask(post).is(401, "{}");
    assert!(client.host.told.is_empty());
}

#[test]
fn guesses_are_slowed_down_and_who_knows_is_not() {
    let mut client = Client::new();
    let guess = "GET /status HTTP/1.1\r\nX-ZT1-Auth: no\r\n\r\n";
    for _ in 0..ATTEMPTS_PER_S {
        client.ask(guess).is(401, "{}");
    }
    client.ask(guess).is(429, "{}");
    assert_eq!(client.get("/status").status, 200);
    client.now = client.now.after(1000);
    client.ask(guess).is(401, "{}");
}

// ---- limits ------------------------------------------------------------------------------

#[test]
fn each_limit_has_its_status() {
    let mut client = Client::new();
    let line = |len: usize| {
        let rest = "GET / HTTP/1.1\r\n".len();
        format!("GET /{} HTTP/1.1\r\n", "a".repeat(len - rest))
    };
    let header = |len: usize| {
        let rest = "A: \r\n\r\n".len();
        format!("A: {}\r\n\r\n", "a".repeat(len - rest))
    };
    let get = |headers: &str| format!("GET /health HTTP/1.1\r\n{headers}\r\n");
    client.ask(line(LINE_MAX) + "\r\n").is(401, "{}");
    client.ask(line(LINE_MAX + 1) + "\r\n").is(414, "");
    client
        .ask("GET /".to_owned() + &"a".repeat(LINE_MAX))
        .is(414, "");
    assert_eq!(
        client
            .ask("GET /health HTTP/1.1\r\n".to_owned() + &header(HEADERS_MAX))
            .status,
        200
    );
    client
        .ask("GET /health HTTP/1.1\r\n".to_owned() + &header(HEADERS_MAX + 1))
        .is(431, "");
    client
        .ask("GET /health HTTP/1.1\r\nA: ".to_owned() + &"a".repeat(HEADERS_MAX))
        .is(431, "");
    assert_eq!(
        client.ask(get(&"A: b\r\n".repeat(HEADER_COUNT_MAX))).status,
        200
    );
    client
        .ask(get(&"A: b\r\n".repeat(HEADER_COUNT_MAX + 1)))
        .is(431, "");
    let post = |length: &str| format!("POST /network/{NET} HTTP/1.1\r\n{length}\r\n");
    client.ask(post("")).is(411, "");
    client
        .ask(post("Transfer-Encoding: chunked\r\n"))
        .is(411, "");
    client.ask(post("Content-Length: 4097\r\n")).is(413, "");
    client
        .ask(post("Content-Length: 99999999999999999999999\r\n"))
        .is(413, "");
    client
        .ask(post(&format!("Content-Length: {BODY_MAX}\r\n")) + &"a".repeat(BODY_MAX))
        .is(401, "{}");
    for bad in [
        "Content-Length: -1\r\n",
        "Content-Length: 1,1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
    ] {
        client.ask(post(bad)).is(400, "");
    }
    for bad in [
        "junk\r\n\r\n",
        "GET\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/2.0\r\n\r\n",
        "GET /health HTTP/1.1\r\nA\r\n\r\n",
        "GET /health HTTP/1.1\r\nA : b\r\n\r\n",
        "GET /health HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET /%zz HTTP/1.1\r\n\r\n",
        "GET /%ff HTTP/1.1\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\n\r\n",
        "\r\n\r\n",
    ] {
        client.ask(bad).is(400, "");
    }
    assert!(client.host.told.is_empty());
}

#[test]
fn time_is_limited() {
    let mut client = Client::new();
    client.now = START.after(REQUEST_MS - 1);
    assert!(!client.send("GET /hea"));
    client.now = START.after(REQUEST_MS);
    assert_eq!(client.conn.deadline(), client.now);
    assert!(client.send("lth HTTP/1.1\r\n\r\n"));
    assert_eq!(client.received(), b"");

    let mut client = Client::new();
    client.stream.0.borrow_mut().window = 10;
    assert!(!client.send("GET /health HTTP/1.1\r\n\r\n"));
    client.now = START.after(ANSWER_MS);
    assert!(client.run());
    assert_eq!(client.received().len(), 10);
}

#[test]
fn the_body_may_be_waited_for_and_asked_for() {
    let mut client = Client::new();
    let head = format!(
        "POST /network/{NET} HTTP/1.1\r\nX-ZT1-Auth: {TOKEN}\r\nExpect: 100-continue\r\n\
         Content-Length: 17\r\n\r\n"
    );
    assert!(!client.send(&head));
    assert_eq!(client.received(), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(!client.send("{\"allowDNS\""));
    assert_eq!(client.received(), b"", "told once");
    assert!(client.send(":true}"));
    assert_eq!(
        client.host.told,
        [format!("join {NET} [(\"allowDNS\", \"1\")]")]
    );
}

#[test]
fn half_close_is_no_hindrance_and_a_cut_request_no_request() {
    let mut client = Client::new();
    client.stream.0.borrow_mut().ended = true;
    assert!(client.send("GET /health HTTP/1.1\r\n\r\n"));
    assert_eq!(Answer::read(&client.received()).status, 200);

    let mut client = Client::new();
    client.stream.0.borrow_mut().ended = true;
    assert!(
        client
            .send(with_token("POST", &format!("/network/{NET}"), Some("{}")).trim_end_matches('}'))
    );
    assert_eq!(client.received(), b"");
    assert!(client.host.told.is_empty());
}

#[test]
fn what_is_pipelined_is_not_answered() {
    let mut client = Client::new();
    let delete = with_token("DELETE", &format!("/network/{NET}"), None);
    assert!(client.send(delete.repeat(20)));
    assert_eq!(client.host.told.len(), 1);
    Answer::read(&client.received()).is(200, r#"{"result":true}"#);
}

#[test]
fn long_bodies_go_in_chunks_as_they_are_read() {
    let mut client = Client::new();
    // 46 KiB of one network, then many peers.
    client.host.groups = 1000;
    let network = client.get(&format!("/network/{NET}"));
    assert!(!network.has_length);
    assert_eq!(
        network.json()["multicastSubscriptions"]
            .as_array()
            .unwrap()
            .len(),
        1000
    );
    client.host.peers = (1..2000).map(address).collect();
    let peers = client.get("/peer");
    assert_eq!(peers.json().as_array().unwrap().len(), 1999);
    let wrapped = client.get("/peer?jsonp=f");
    assert_eq!(wrapped.body, format!("f({});", peers.body));
    // HTTP/1.0 knows no chunks: the end of the connection is the end.
    let old = with_token("GET", "/peer", None).replace("HTTP/1.1", "HTTP/1.0");
    assert!(client.send(old));
    let text = String::from_utf8(client.received()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        !head.contains("Transfer-Encoding") && !head.contains("Content-Length"),
        "{head}"
    );
    assert_eq!(body, peers.body);
    // Nobody keeps more for a slow reader than a piece.
    client.conn = Conn::new(client.stream.clone(), client.now);
    client.stream.0.borrow_mut().window = 1;
    assert!(!client.send(with_token("GET", "/peer", None)));
    client.stream.0.borrow_mut().window = OUTPUT_BYTES + 1024;
    assert!(!client.run());
    client.host.peers.clear();
    client.stream.0.borrow_mut().window = usize::MAX;
    assert!(client.run());
    assert!(client.received().len() < 3 * OUTPUT_BYTES);
}

// ---- requests ----------------------------------------------------------------------------

fn fields(
    request: &zt::service::http::request::Request<'_>,
) -> (Method, String, Option<Vec<u8>>, usize) {
    (
        request.method,
        request.path.clone(),
        request.token().map(|token| token.to_vec()),
        request.head_len + request.body_len,
    )
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..12_000)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn almost_requests_are_survived(
        mut text in r"(GET|POST|PUT|DELETE|HEAD|X) /[ -~]{0,40} HTTP/1\.[01]\r\n([A-Za-z-]{1,16}: ?[ -~]{0,40}\r\n){0,6}\r\n[ -~]{0,20}",
        at: prop::sample::Index,
        byte: u8,
    ) {
        if let Ok(Some(request)) = parse(text.as_bytes()) {
            let _ = (request.token().is_some(), request.callback().is_ok());
            prop_assert!(request.head_len <= text.len() && request.body_len <= BODY_MAX);
        }
        let mut bytes = std::mem::take(&mut text).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Some(request)) = parse(&bytes) {
            let _ = (request.token().is_some(), request.callback().is_ok());
        }
    }

    #[test]
    fn it_does_not_matter_where_a_request_is_cut(
        path in "(/[a-z0-9]{0,16}){1,3}", token in "[a-z0-9]{1,30}", body in "[ -~]{0,40}",
        folded: bool, cut: prop::sample::Index,
    ) {
        let end = if folded { "\n" } else { "\r\n" };
        let text = format!(
            "POST {path}?a=b HTTP/1.1{end}X-ZT1-AUTH: {token}{end}Content-Length: {}{end}{end}{body}",
            body.len()
        );
        let whole = parse(text.as_bytes()).unwrap().expect("whole");
        prop_assert_eq!(
            fields(&whole),
            (Method::Post, path, Some(token.into_bytes()), text.len())
        );
        let front = &text.as_bytes()[..cut.index(text.len())];
        match parse(front).unwrap() {
            None => prop_assert!(front.len() < whole.head_len),
            Some(request) => prop_assert_eq!(request, whole),
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_answer(cuts in prop::collection::vec(1..30_usize, 1..60)) {
        let text = with_token("POST", &format!("/network/{NET}"), Some("{\"allowDNS\":true}"));
        let mut client = Client::new();
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (front, back) = rest.split_at(cut.min(rest.len()));
            rest = back;
            prop_assert_eq!(client.send(front), rest.is_empty() );
            if rest.is_empty() {
                break;
            }
        }
        if !rest.is_empty() {
            prop_assert!(client.send(rest));
        }
        prop_assert_eq!(Answer::read(&client.received()).status, 200);
        prop_assert_eq!(client.host.told.len(), 1);
    }
}

#[test]
fn methods_are_case_sensitive_and_limits_are_errors() {
    let method = |name: &str| {
        let text = format!("{name} / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        parse(text.as_bytes()).unwrap().unwrap().method
    };
    assert_eq!(method("PUT"), Method::Post);
    assert_eq!(method("get"), Method::Other);
    assert_eq!(parse(&[b'a'; LINE_MAX]), Err(Bad::LineTooLong));
    assert_eq!(parse(&[b'a'; LINE_MAX - 1]), Ok(None));
}
