//! The first process of an emulated board, for `cross/boot`: the file is its `/init`.
//!
//! It mounts what it needs, starts the daemon, pings the other board and its neighbours through
//! the virtual network, reads what the kernel says of the daemon's memory, sends a stream, and
//! says on the console what it saw. `cross/boot` believes nothing but the line `board: passed`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use zt::base::{Address, NetworkId};
use zt::crypto::identity;
use zt::os::board::{Pinger, load_module, mount};
use zt::os::clock::Stopwatch;
use zt::os::netlink::Control;
use zt::os::tap::index_of;
use zt::wire::derive;
use zt::wire::identity::Identity;

const HOME: &str = "/home";
/// Opened by the rules of the ad-hoc network that `cross/boot` joins.
const STREAM_PORT: u16 = 22;
/// Until the first answer: an emulated board needs seconds for each new identity.
const MEET_S: u64 = 240;
const ECHOES: usize = 10;
const LARGE: usize = 2_700;
const IDLE_S: u64 = 20;
const STREAM_S: u64 = 8;

/// This process is the first one of a board, not a program in a container.
pub(crate) fn is_init() -> bool {
    std::process::id() == 1
        && std::env::args_os()
            .next()
            .is_some_and(|name| name == "/init")
}

/// Runs the board; the first process must never end.
pub(crate) fn run() -> ! {
    match whole() {
        Ok(()) => say("passed", ""),
        Err(why) => say("FAILED", &why),
    }
    loop {
        // The kernel still answers echoes of the other board.
        pause(1_000);
    }
}

fn say(what: &str, value: &str) {
    let _ = writeln!(std::io::stdout(), "board: {what} {value}");
}

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Repeats until there is something, for at most so many seconds of the board.
fn until<T>(seconds: u64, mut what: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = what() {
            return Some(found);
        }
        if watch.elapsed_ns() > seconds * 1_000_000_000 {
            return None;
        }
        pause(10);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A number behind a word, as in `/proc/meminfo`.
fn figure(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(word))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// `key=value` lines. (Not the kernel's command line: of that Malta keeps 256 bytes.)
struct Settings(String);

impl Settings {
    fn get(&self, key: &str) -> Result<&str, String> {
        let mut lines = self.0.lines();
        let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.ok_or_else(|| format!("no {key} in the settings"))
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        let text = self.get(key)?;
        text.parse().map_err(|_| format!("{key}={text}"))
    }

    fn addresses(&self, key: &str) -> Result<Vec<Address>, String> {
        let all = self.get(key)?.split(',');
        all.map(|text| Address::parse(text).ok_or_else(|| format!("{key}: {text}")))
            .collect()
    }
}

fn whole() -> Result<(), String> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(kind, Path::new(at)).map_err(|e| format!("{at}: {e}"))?;
    }
    let version = read("/proc/version");
    say("kernel", version.split(" (").next().unwrap_or_default());
    load_modules()?;
    let settings = Settings(read("/settings"));
    let uptime = read("/proc/uptime");
    say(
        "user_space_at_s",
        uptime.split(' ').next().unwrap_or_default(),
    );
    underlay(&settings)?;
    let memory = read("/proc/meminfo");
    for (name, word) in [
        ("mem_total_kb", "MemTotal:"),
        ("mem_available_before_kb", "MemAvailable:"),
    ] {
        say(name, &figure(&memory, word).unwrap_or(0).to_string());
    }

    let network = settings.get("network")?;
    let network = NetworkId::parse(network).ok_or("network")?;
    let public = read(&format!("{HOME}/identity.public"));
    let identity = Identity::parse(&public).map_err(|e| e.to_string())?;
    let me = identity.address;
    let watch = Stopwatch::start();
    if !identity::validate(&identity) {
        return Err("the identity fails its check".into());
    }
    say(
        "identity_check_ms",
        &(watch.elapsed_ns() / 1_000_000).to_string(),
    );
    let ip = |node| derive::sixplane(network, node);
    let mut daemon = Command::new("/zerotier-one")
        .arg(HOME)
        .spawn()
        .map_err(|e| format!("zerotier-one: {e}"))?;
    let mut control = Control::open().map_err(|e| e.to_string())?;
    until(60, || {
        let all = control.addresses().ok()?;
        all.iter()
            .any(|a| a.ip == IpAddr::from(ip(me)))
            .then_some(())
    })
    .ok_or("the network's address never came")?;

    let pinger = Pinger::open().map_err(|e| e.to_string())?;
    let other = settings.addresses("other")?;
    let other = *other.first().ok_or("other")?;
    let peers = settings.addresses("peers")?;
    let watch = Stopwatch::start();
    for peer in core::iter::once(&other).chain(&peers) {
        ping(&pinger, ip(*peer), 1, 56, MEET_S).map_err(|got| format!("{peer}: {got} echoes"))?;
    }
    say(
        "all_met_after_s",
        &(watch.elapsed_ns() / 1_000_000_000).to_string(),
    );
    for size in [56, LARGE] {
        let missing =
            |got| format!("{got} of {ECHOES} echoes of {size} bytes from the other board");
        ping(&pinger, ip(other), ECHOES, size, 60).map_err(missing)?;
    }
    say(
        "echoes",
        &format!(
            "{ECHOES} of 56 and {ECHOES} of {LARGE} bytes from the other board, 1 from each of {} neighbours",
            peers.len()
        ),
    );
    direct_peers(peers.len() + 2)?;

    let before = ticks(&daemon)?;
    pause(IDLE_S * 1_000);
    let idle = status(&mut daemon, "idle")?;
    let spent = ticks(&daemon)?.saturating_sub(before);
    // The kernel counts hundredths of a second.
    say(
        "idle_cpu_percent",
        &format!("{}.{:02}", spent / IDLE_S, spent % IDLE_S * 100 / IDLE_S),
    );
    let available = figure(&read("/proc/meminfo"), "MemAvailable:");
    say("mem_available_idle_kb", &available.unwrap_or(0).to_string());

    let stream = if settings.get("stream")? == "send" {
        send
    } else {
        receive
    };
    stream(ip(me), ip(other))?;
    status(&mut daemon, "load")?;

    let (rss, peak) = idle;
    for (what, is, allowed) in [
        ("resident", rss, settings.number("rss_kb")?),
        ("peak", peak, settings.number("peak_kb")?),
    ] {
        if is > allowed {
            return Err(format!("{what}: {is} kB, more than {allowed}"));
        }
    }
    Ok(())
}

/// Loads what lies in `/modules`. Which wants which is found by trying.
fn load_modules() -> Result<(), String> {
    let folder = fs::read_dir("/modules").map_err(|e| format!("/modules: {e}"))?;
    let mut waiting: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    while !waiting.is_empty() {
        let mut refused = Vec::new();
        let before = waiting.len();
        waiting.retain(|path| match load_module(path) {
            Ok(()) => false,
            Err(error) => {
                refused.push(format!("{}: {error}", path.display()));
                true
            }
        });
        if waiting.len() == before {
            return Err(refused.join(", "));
        }
    }
    Ok(())
}

/// The card gets its address.
fn underlay(settings: &Settings) -> Result<(), String> {
    let mut control = Control::open().map_err(|e| e.to_string())?;
    let card = until(10, || index_of("eth0")).ok_or("no eth0")?;
    for index in [index_of("lo").ok_or("no lo")?, card] {
        control.bring_up(index).map_err(|e| e.to_string())?;
    }
    let (ip, bits) = settings.get("address")?.split_once('/').ok_or("address")?;
    let ip = ip.parse().map_err(|_| "address")?;
    let bits = bits.parse().map_err(|_| "address")?;
    control
        .add_address(card, ip, bits)
        .map_err(|e| e.to_string())
}

/// Wants `count` echoes within so many seconds; else says how many came.
fn ping(
    pinger: &Pinger,
    to: Ipv6Addr,
    count: usize,
    size: usize,
    seconds: u64,
) -> Result<(), usize> {
    let watch = Stopwatch::start();
    let mut got = 0;
    for number in 0..u16::MAX {
        // No route yet, or no room: the next try tells.
        let _ = pinger.ask(to, number, size);
        let answered = until(1, || {
            core::iter::from_fn(|| pinger.answer()).find(|answer| *answer == (number, size))
        });
        got += usize::from(answered.is_some());
        if got == count {
            return Ok(());
        }
        if watch.elapsed_ns() > seconds * 1_000_000_000 {
            break;
        }
    }
    Err(got)
}

/// The daemon's own list must show so many peers with a direct path.
fn direct_peers(wanted: usize) -> Result<(), String> {
    let count = || {
        let output = Command::new("/zerotier-one")
            .args(["cli", "-D/home", "listpeers"])
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut last = String::new();
    let found = until(60, || {
        last = count()?;
        let direct = last.lines().skip(1).filter(|row| {
            let path = row.split_whitespace().nth(3);
            path.is_some_and(|path| path != "-")
        });
        (direct.count() >= wanted).then_some(())
    });
    found.ok_or_else(|| format!("fewer than {wanted} direct peers:\n{last}"))?;
    say("direct_peers", &wanted.to_string());
    Ok(())
}

/// What the kernel says of the daemon's memory: resident now, and at most ever.
fn status(daemon: &mut Child, when: &str) -> Result<(u64, u64), String> {
    if let Ok(Some(ended)) = daemon.try_wait() {
        return Err(format!("zerotier-one ended: {ended}"));
    }
    let text = read(&format!("/proc/{}/status", daemon.id()));
    let of = |word| figure(&text, word).ok_or_else(|| format!("no {word}"));
    let (rss, peak) = (of("VmRSS:")?, of("VmHWM:")?);
    say(
        &format!("{when}_rss_kb"),
        &format!(
            "{rss} (own {}, of the file {})",
            of("RssAnon:")?,
            of("RssFile:")? + of("RssShmem:")?
        ),
    );
    say(&format!("{when}_peak_kb"), &peak.to_string());
    // 2: a filter is in force.
    if let Some(mode) = figure(&text, "Seccomp:") {
        say(&format!("{when}_seccomp"), &mode.to_string());
    }
    Ok((rss, peak))
}

/// CPU time of the daemon so far.
fn ticks(daemon: &Child) -> Result<u64, String> {
    let text = read(&format!("/proc/{}/stat", daemon.id()));
    // The name in brackets may hold blanks.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
    field(11)
        .zip(field(12))
        .map(|(user, system)| user + system)
        .ok_or_else(|| "no CPU time".into())
}

fn send(_: Ipv6Addr, other: Ipv6Addr) -> Result<(), String> {
    // The other board may still be at its pings.
    let mut stream = until(MEET_S, || TcpStream::connect((other, STREAM_PORT)).ok())
        .ok_or("nobody takes the stream")?;
    let failed = |e: std::io::Error| format!("stream: {e}");
    stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .map_err(failed)?;
    let block = [0x5a; 16 << 10];
    let watch = Stopwatch::start();
    while watch.elapsed_ns() < STREAM_S * 1_000_000_000 {
        stream.write_all(&block).map_err(failed)?;
    }
    stream.shutdown(std::net::Shutdown::Write).map_err(failed)?;
    stream.read_to_end(&mut Vec::new()).map_err(failed)?;
    Ok(())
}

fn receive(me: Ipv6Addr, _: Ipv6Addr) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("stream: {e}");
    let listener = TcpListener::bind((me, STREAM_PORT)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let (mut stream, _) =
        until(MEET_S, || listener.accept().ok()).ok_or("nobody sends the stream")?;
    stream.set_nonblocking(false).map_err(failed)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .map_err(failed)?;
    let mut block = [0; 16 << 10];
    let mut bytes: u64 = 0;
    let watch = Stopwatch::start();
    loop {
        match stream.read(&mut block).map_err(failed)? {
            0 => break,
            len => bytes += len as u64,
        }
    }
    let rate = bytes * 1_000 / (watch.elapsed_ns() / 1_000_000).max(1) / 1_000;
    if bytes == 0 {
        return Err("an empty stream".into());
    }
    say(
        "stream",
        &format!("{bytes} bytes, {rate} kB a second of the board"),
    );
    Ok(())
}
