//! The sections of a plain run: one line per test, PASS, the first failure ends the run.

use std::io::Write;

use zt::base::{Address, Limits, Mac, Mono, NetworkId, Now, UnixMs};
use zt::crypto::agree::{Key48, agree};
use zt::crypto::armor::{self, SessionKeys};
use zt::crypto::rng::Rng;
use zt::crypto::{identity, poly, salsa, sign};
use zt::node::{Config, LinkChange, Node, Outbox, SocketId};
use zt::wire::cursor::{Reader, Writer};
use zt::wire::frames::{ETHERNET_LEN, Ethernet, HEADROOM};
use zt::wire::identity::{Identity, SecretIdentity, parse_hex};
use zt::wire::packet::Suite;
use zt::wire::world::{self, DEFAULT_PLANET, World, WorldKind};
use zt::wire::{derive, lz4};

/// A node of 1.14.1 with its secret, from the published test vectors.
const KNOWN: &str = "e583763ffd:0:08751a0b92f6f628f0e9c946d0f26eba6f43b15b730211866ca0eac6ce774f5b66625358461a61a9f39a070e86996bd12267a8b8b5";

/// What this build is and where it runs.
pub(crate) fn report(out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "[info] zerotier-selftest {}", zt::VERSION_TEXT)?;
    writeln!(
        out,
        "[info] target {}-{}, {}-bit, {}-endian",
        std::env::consts::ARCH,
        std::env::consts::OS,
        usize::BITS,
        if cfg!(target_endian = "big") {
            "big"
        } else {
            "little"
        },
    )?;
    let aes = if cfg!(feature = "aes") {
        "aes"
    } else {
        "(no aes)"
    };
    let checks = if cfg!(debug_assertions) {
        ", debug checks"
    } else {
        ""
    };
    writeln!(out, "[info] features {aes}{checks}")?;
    let cpu = zt::os::cpu::extensions().join(" ");
    writeln!(
        out,
        "[info] CPU extensions: {}",
        if cpu.is_empty() { "none known" } else { &cpu }
    )?;
    let fast = if armor::cpu_has_aes() {
        "used"
    } else {
        "not used"
    };
    writeln!(out, "[info] AES instructions: {fast}")
}

type Test = (&'static str, &'static str, fn() -> Result<(), String>);

const TESTS: &[Test] = &[
    ("crypto", "Salsa20/12", salsa20),
    ("crypto", "Poly1305", poly1305),
    (
        "crypto",
        "packet armor, all suites and lengths",
        packet_armor,
    ),
    ("crypto", "signatures", signatures),
    ("identity", "a known identity", known_identity),
    ("identity", "a new identity", new_identity),
    ("packet", "LZ4", compression),
    ("world", "built-in planet", planet),
    ("network", "names and addresses from ids", derived),
    ("node", "two nodes and a root exchange frames", simulation),
];

/// All sections; `false` after the first failure.
pub(crate) fn run(out: &mut dyn Write) -> std::io::Result<bool> {
    for (section, name, test) in TESTS {
        write!(out, "[{section}] Testing {name}... ")?;
        out.flush()?;
        match test() {
            Ok(()) => writeln!(out, "PASS")?,
            Err(why) => {
                writeln!(out, "FAILED: {why}")?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn check(what: &str, ok: bool) -> Result<(), String> {
    if ok { Ok(()) } else { Err(what.into()) }
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    parse_hex(text, &mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn salsa20() -> Result<(), String> {
    let key = hex("2c870bdd72cb771018f7397152228c69f2d5d4d10c71db282b3d761e87207a62")?;
    let iv = hex("eee1b4032fcc6940")?;
    let mut stream = [0; 32];
    salsa::xor::<12>(&key, &iv, 0, &mut stream);
    let expected = hex("8bacfbe98f5bbae55410f9b8da16afeabfef1322450d8b86690dfddcd4b26cd6")?;
    check("12 rounds", stream == expected)?;
    // Long streams take other ways through the code than short ones.
    let mut long = [0; 1000];
    salsa::xor::<12>(&key, &iv, 0, &mut long);
    for (n, block) in long.chunks(64).enumerate() {
        let mut alone = [0; 64];
        salsa::xor::<12>(&key, &iv, n as u64, &mut alone[..block.len()]);
        check("blocks one by one", alone[..block.len()] == *block)?;
    }
    Ok(())
}

fn poly1305() -> Result<(), String> {
    let key = hex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")?;
    // RFC 8439 2.5.2
    let tag = poly::poly1305(&key, b"Cryptographic Forum Research Group");
    check("RFC 8439", tag == hex("a8061dc1305136c6c22b8baf0c0127a9")?)
}

fn packet_armor() -> Result<(), String> {
    let mut rng = Rng::new([1; 32]);
    let mut key = [0; 48];
    rng.fill(&mut key);
    let keys = SessionKeys::new(&Key48::new(key));
    let mut suites = vec![Suite::Poly1305, Suite::Salsa];
    if cfg!(feature = "aes") {
        suites.push(Suite::AesGmacSiv);
    }
    for suite in suites {
        for len in (28..400).chain([1400, 1432, 2828, 10_024]) {
            let mut plain = vec![0; len];
            rng.fill(&mut plain);
            plain[18] = 0;
            let mut packet = plain.clone();
            armor::seal(&keys, suite, &mut packet);
            let mut altered = packet.clone();
            altered[27 + rng.below(len as u32 - 27) as usize] ^= 1 << rng.below(8);
            check(
                "altered packet refused",
                armor::open(&keys, &mut altered).is_err(),
            )?;
            // Relays raise the hops.
            packet[18] |= 3;
            check("opened", armor::open(&keys, &mut packet) == Ok(suite))?;
            check("as it was", packet[27..] == plain[27..])?;
        }
    }
    Ok(())
}

fn generated() -> Result<SecretIdentity, String> {
    identity::generate(&mut Rng::new([7; 32])).ok_or("no memory for 2 MiB".into())
}

fn signatures() -> Result<(), String> {
    let secret = generated()?;
    let signature = sign::sign(secret.secret(), &[b"mess", b"age"]);
    let public = &secret.identity.public;
    check(
        "accepted",
        sign::verify(public, &[b"message"], &signature).is_ok(),
    )?;
    check(
        "other message",
        sign::verify(public, &[b"massage"], &signature).is_err(),
    )
}

fn known_identity() -> Result<(), String> {
    check("a cut string is refused", Identity::parse(KNOWN).is_err())?;
    let (planet, _) = World::parse(DEFAULT_PLANET).map_err(|e| e.to_string())?;
    let root = planet.roots().next().ok_or("no root")?.identity;
    check(
        "a root of the public planet is valid",
        identity::validate(&root),
    )?;
    let mut other = root;
    other.public[0] ^= 1;
    check("another key is not", !identity::validate(&other))?;
    let mut buffer = [0; Identity::LEN];
    root.write(&mut Writer::new(&mut buffer))
        .map_err(|e| e.to_string())?;
    check(
        "binary form",
        Identity::read(&mut Reader::new(&buffer)) == Ok(root),
    )?;
    check(
        "string form",
        Identity::parse(&root.to_string()) == Ok(root),
    )
}

fn new_identity() -> Result<(), String> {
    let secret = generated()?;
    check("valid", identity::validate(&secret.identity))?;
    check("secret fits", identity::secret_fits(&secret))?;
    let other = identity::generate(&mut Rng::new([8; 32])).ok_or("no memory")?;
    let ours = agree(&secret, &other.identity).map_err(|e| e.to_string())?;
    let theirs = agree(&other, &secret.identity).map_err(|e| e.to_string())?;
    check("agreement", ours.bytes() == theirs.bytes())
}

fn compression() -> Result<(), String> {
    let plain: Vec<u8> = (0..3000u32).map(|i| (i / 40) as u8).collect();
    let mut block = vec![0; 3000];
    let len = lz4::compress(&plain, &mut block).ok_or("not compressed")?;
    let mut back = vec![0; 3000];
    check(
        "unpacked",
        lz4::decompress(&block[..len], &mut back) == Ok(3000) && back == plain,
    )
}

fn planet() -> Result<(), String> {
    let (planet, used) = World::parse(DEFAULT_PLANET).map_err(|e| e.to_string())?;
    check("whole", used == DEFAULT_PLANET.len())?;
    check(
        "id",
        planet.id == 149_604_618 && planet.kind == WorldKind::Planet,
    )?;
    check("four roots", planet.roots().count() == 4)?;
    let mut message = vec![0; world::SIGNED_MAX_LEN];
    let len = planet
        .signed_message(&mut message)
        .map_err(|e| e.to_string())?;
    let signed = sign::verify(planet.update_key, &[&message[..len]], planet.signature);
    check("signature", signed.is_ok())
}

fn derived() -> Result<(), String> {
    let network = NetworkId::parse("8056c2e21c000001").ok_or("network id")?;
    let node = Address::parse("3c9439e96a").ok_or("address")?;
    check(
        "MAC",
        derive::mac(network, node).to_string() == "02:3c:94:25:0b:a8",
    )?;
    check("device", derive::device_name(network, 0) == "ztmjfmfyq5")?;
    let sixplane = derive::sixplane(network, node).to_string();
    check("6PLANE", sixplane == "fc9c:56c2:e33c:9439:e96a::1")
}

/// A wire between nodes without delay.
#[derive(Default)]
struct Wire {
    datagrams: Vec<(usize, std::net::SocketAddr, Vec<u8>)>,
    frames: Vec<Vec<u8>>,
    sender: usize,
}

impl Outbox for Wire {
    fn datagram(
        &mut self,
        _: SocketId,
        to: std::net::SocketAddr,
        parts: [&[u8]; 2],
        _: Option<u8>,
    ) {
        self.datagrams.push((self.sender, to, parts.concat()));
    }

    fn frame(&mut self, _: NetworkId, ethernet: &[u8]) {
        self.frames.push(ethernet.to_vec());
    }
}

fn simulation() -> Result<(), String> {
    let places = ["10.1.0.1:9993", "10.2.0.1:9993", "10.3.0.1:9993"]
        .map(|p| p.parse::<std::net::SocketAddr>().expect("an address"));
    let secrets: Vec<SecretIdentity> = (0..3u8)
        .map(|n| identity::generate(&mut Rng::new([n; 32])).ok_or("no memory"))
        .collect::<Result<_, _>>()?;
    let mut planet = [0; 600];
    let mut writer = Writer::new(&mut planet);
    let roots = [(secrets[0].identity, &places[..1])];
    world::write(
        &mut writer,
        WorldKind::Planet,
        7,
        1,
        &[0; 64],
        &[0; 96],
        &roots,
    )
    .map_err(|e| e.to_string())?;
    let len = writer.len();
    let mut ms = 1 << 33;
    let clock = |ms| Now {
        mono: Mono::from_ms(ms),
        wall: UnixMs::from_ms(ms),
        wall_ok: false,
    };
    let mut nodes = Vec::new();
    let mut wire = Wire::default();
    let network = NetworkId::parse("ff00160016000000").ok_or("network id")?;
    for (n, secret) in secrets.iter().enumerate() {
        let config = Config {
            secret: secret.clone(),
            planet: &planet[..len],
            limits: Limits::small(),
            seed: [n as u8; 32],
            aes: armor::cpu_has_aes(),
            relay: false,
        };
        let mut node = Node::new(config, clock(ms)).map_err(|e| e.to_string())?;
        wire.sender = n;
        let up = LinkChange::SocketUp {
            socket: SocketId(0),
            local: places[n],
        };
        node.handle_link(clock(ms), up, &mut wire);
        node.join(clock(ms), network, &mut wire)
            .map_err(|_| "join")?;
        nodes.push(node);
    }
    let addresses: Vec<Address> = nodes.iter().map(Node::address).collect();
    let mut payload = [0x60; 1500];
    payload[6] = 17;
    for step in 0..4_000 {
        if step % 200 == 100 && wire.frames.is_empty() {
            let ethernet = Ethernet {
                to: derive::mac(network, addresses[2]),
                from: derive::mac(network, addresses[1]),
                ethertype: 0x86dd,
            };
            let mut slot = vec![0; HEADROOM];
            slot.extend_from_slice(&ethernet.to_bytes());
            slot.extend_from_slice(&payload);
            wire.sender = 1;
            let len = ETHERNET_LEN + payload.len();
            nodes[1].handle_frame(clock(ms), network, &mut slot, len, &mut wire);
        }
        for (from, to, mut bytes) in std::mem::take(&mut wire.datagrams) {
            if let Some(n) = places.iter().position(|p| *p == to) {
                wire.sender = n;
                let from = places[from];
                nodes[n].handle_datagram(clock(ms), SocketId(0), from, &mut bytes, &mut wire);
            }
        }
        for (n, node) in nodes.iter_mut().enumerate() {
            wire.sender = n;
            if node.poll_timeout().is_some_and(|at| at.as_ms() <= ms) {
                node.handle_timeout(clock(ms), &mut wire);
            }
            while node.poll_event().is_some() {}
        }
        if wire.frames.iter().any(|f| f[ETHERNET_LEN..] == payload) {
            return Ok(());
        }
        ms += 1;
    }
    Err("no frame arrived within four seconds of virtual time".into())
}

/// `--tap`: a device is made, brought up, written and read.
#[cfg(target_os = "linux")]
pub(crate) fn tap(out: &mut dyn Write) -> std::io::Result<bool> {
    use zt::os::tap::Tap;
    let name = format!("ztself{}", std::process::id() % 100_000);
    write!(out, "[tap] Testing {name}: open, MAC, MTU, up... ")?;
    let mac = Mac::new([0x02, 1, 2, 3, 4, 5]);
    let tap = match Tap::open(&name, mac, 2800) {
        Ok(tap) => tap,
        Err(error) => {
            writeln!(out, "FAILED: {error}")?;
            return Ok(false);
        }
    };
    writeln!(out, "PASS")?;
    write!(out, "[tap] Testing a frame into the kernel... ")?;
    let ethernet = Ethernet {
        to: mac,
        from: Mac::new([0x02, 9, 9, 9, 9, 9]),
        ethertype: 0x88b5,
    };
    let mut frame = ethernet.to_bytes().to_vec();
    frame.resize(60, 0);
    if let Err(error) = tap.write_frame(&frame) {
        writeln!(out, "FAILED: {error}")?;
        return Ok(false);
    }
    writeln!(out, "PASS")?;
    // The kernel itself speaks when a device comes up: router solicitations and such.
    write!(out, "[tap] Testing a frame out of the kernel... ")?;
    out.flush()?;
    let mut room = [0; 2814];
    let watch = zt::os::clock::Stopwatch::start();
    while watch.elapsed_ns() < 5_000_000_000 {
        match tap.read_frame(&mut room) {
            Ok(Some(len)) if len >= ETHERNET_LEN => {
                writeln!(out, "PASS")?;
                return Ok(true);
            }
            Ok(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            Err(error) => {
                writeln!(out, "FAILED: {error}")?;
                return Ok(false);
            }
        }
    }
    writeln!(
        out,
        "FAILED: nothing within five seconds (IPv6 off in this kernel?)"
    )?;
    Ok(false)
}

/// `--tap` where no device is written for this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tap(out: &mut dyn Write) -> std::io::Result<bool> {
    let _ = Mac::BROADCAST;
    writeln!(out, "[tap] not built for this system")?;
    Ok(false)
}
