//! Homes as 1.14.1 and 1.0.5 leave them: taken over as they are, and left so that the same program
//! takes them back.
#![cfg(all(target_os = "linux", feature = "os"))]

mod live;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use live::stored::{Wishes, configuration};
use live::{Lab, Service, inside, new_identity, planet, put, text_of, wait_for, world};
use zt::base::NetworkId;
use zt::wire::cursor::Writer;
use zt::wire::identity::SecretIdentity;
use zt::wire::peer_record::{RECORD_MAX, Record, Version};
use zt::wire::world::WorldKind;

const NETWORK: &str = "8056c2e21c000001";
const CONF: &str = "networks.d/8056c2e21c000001.conf";
const LOCAL: &str = "networks.d/8056c2e21c000001.local.conf";
/// Joined by an empty file, as images and packages do.
const TOUCHED: &str = "networks.d/ff00160016000000.conf";
const MOON: u64 = 0xaa;

/// Every file below, links by where they lead.
fn files(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, home: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            let kind = entry.file_type().expect("a kind");
            let name = path.strip_prefix(home).expect("inside").to_owned();
            if kind.is_dir() {
                walk(&path, home, found);
            } else if kind.is_symlink() {
                let to = fs::read_link(&path).expect("a link");
                found.insert(name, to.to_string_lossy().into_owned().into_bytes());
            } else {
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(home, home, &mut found);
    found
}

/// Nothing that was there is gone or different, but for `changed`; what came is in `new`.
fn assert_left_as_found(
    before: &BTreeMap<PathBuf, Vec<u8>>,
    home: &Path,
    changed: &[&str],
    new: &[&str],
) {
    let after = files(home);
    let is_in = |name: &Path, list: &[&str]| list.iter().any(|n| Path::new(n) == name);
    for (name, bytes) in before {
        assert!(
            is_in(name, changed) || after.get(name) == Some(bytes),
            "{}: {:?}",
            name.display(),
            after.get(name).map(|b| String::from_utf8_lossy(b))
        );
    }
    for name in after.keys() {
        assert!(
            before.contains_key(name) || is_in(name, new),
            "{} came",
            name.display()
        );
    }
}

/// A peer's record in the form of 1.14.1.
fn record(peer: &SecretIdentity, at: SocketAddr) -> Vec<u8> {
    let mut bytes = vec![0; RECORD_MAX];
    let mut writer = Writer::new(&mut bytes);
    let record = Record {
        identity: peer.identity,
        version: Some(Version {
            protocol: 12,
            major: 1,
            minor: 14,
            revision: 1,
        }),
        addresses: [at].into_iter().collect(),
    };
    record.write(&mut writer).expect("room");
    let len = writer.len();
    bytes.truncate(len);
    bytes
}

#[test]
fn a_home_of_1_14_1_and_back() {
    let Some(lab) = Lab::new("n") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = lab.home("a");
    let (me, root, peer) = (new_identity(1), new_identity(2), new_identity(3));
    let id = NetworkId::parse(NETWORK).expect("an id");
    let wishes = Wishes {
        addresses: &["10.44.0.5/24", "10.45.0.5/24"],
        mtu: 2800,
        ..Wishes::default()
    };
    let at = |last| SocketAddr::from(([10, 77, 0, last], 9993));
    let peer_file = format!("peers.d/{}.peer", peer.identity.address);
    let moon_file = format!("moons.d/{MOON:016x}.moon");
    let conf = configuration(id, me.identity.address, &wishes);
    // The packages of OpenWrt put a newline there.
    put(
        &home,
        "identity.secret",
        format!("{}\n", text_of(&me)).as_bytes(),
    );
    put(&home, "identity.public", me.identity.to_string().as_bytes());
    put(&home, "authtoken.secret", b"abcdefghijklmnopqrstuvwx\n");
    put(&home, "metricstoken.secret", b"abcdefghijklmnopqrstuvwy");
    put(&home, "planet", &planet(&root, at(9)));
    put(
        &home,
        &moon_file,
        &world(WorldKind::Moon, MOON, &root, at(9)),
    );
    put(&home, &peer_file, &record(&peer, at(8)));
    put(&home, CONF, &conf);
    let only = "allowManaged=10.44.0.0/16\nallowGlobal=0\nallowDefault=0\nallowDNS=1\n";
    put(&home, LOCAL, only.as_bytes());
    put(&home, TOUCHED, b"");
    put(&home, "devicemap", b"8056c2e21c000001=lab7\n");
    put(&home, "trustedpaths", b"1f=10.99.0.0/16\n");
    put(
        &home,
        "local.conf",
        br#"{"physical":{"10.98.0.0/16":{"blacklist":true}},"settings":{"softwareUpdate":"disable"}}"#,
    );
    put(&home, "metrics.prom", b"# HELP zt_packet\n");
    put(&home, "zerotier-one.port", b"9993");
    // Left by a crash.
    put(&home, "zerotier-one.pid", b"1");
    put(&home, "controller.d/network/8056c2e21c000001.json", b"{}");
    symlink("/usr/sbin/zerotier-one", home.join("zerotier-cli")).expect("a link");
    let before = files(&home);

    let service = Service::start(&space, &home);
    assert_eq!(service.address(), me.identity.address);
    let list = service.ask("listnetworks");
    let row = |id: &str| {
        let row = list.lines().find(|row| row.contains(id));
        row.unwrap_or_else(|| panic!("{id}: {list}")).to_owned()
    };
    assert!(row(NETWORK).contains(" lab7 "), "{list}");
    let addresses = || inside(&space, "ip -o addr show dev lab7").unwrap_or_default();
    wait_for("the address", || addresses().contains("10.44.0.5/24"));
    assert!(!addresses().contains("10.45.0.5"), "beyond the list");
    assert!(row("ff00160016000000").contains(" OK "), "{list}");
    assert!(service.ask("listmoons").contains(&format!("{MOON:016x}")));
    let peers = service.ask("peers");
    for known in [&root, &peer] {
        assert!(
            peers.contains(&known.identity.address.to_string()),
            "{peers}"
        );
    }
    assert!(
        service
            .ask(&format!("set {NETWORK} allowGlobal=1"))
            .contains("200 set OK")
    );
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("controller.d/network: "), "{log}");

    assert_left_as_found(
        &before,
        &home,
        &[LOCAL, "zerotier-one.port", "zerotier-one.pid"],
        &[],
    );
    // The four lines that it reads, and the list that it would lose.
    assert_eq!(
        fs::read_to_string(home.join(LOCAL)).expect("settings"),
        only.replace("allowGlobal=0", "allowGlobal=1")
    );
}

#[test]
fn a_home_of_1_0_5_and_back() {
    let Some(lab) = Lab::new("o") else { return };
    let space = lab.space(Some("10.77.0.1/24"));
    let home = lab.home("a");
    let me = new_identity(1);
    put(&home, "identity.secret", text_of(&me).as_bytes());
    put(&home, "identity.public", me.identity.to_string().as_bytes());
    put(&home, "authtoken.secret", b"abcdefghijklmnopqrstuvwx");
    // A public network in the dictionary of its time.
    let conf = format!(
        "et=0000\nid={}\nml=32\nn=old\nnwid={NETWORK}\np=0\npb=0\nr=0000000000000001\n\
         ts=0000018bcfecf1f7\nv4s=10.44.0.5/24\n",
        me.identity.address
    );
    put(&home, CONF, conf.as_bytes());
    put(&home, TOUCHED, b"\n");
    put(&home, "devicemap", b"8056c2e21c000001=zt7\n");
    put(&home, "iddb.d/1122334455", b"1122334455:0:");
    put(&home, "controller.db", b"SQLite format 3\0");
    put(&home, "root-topology", b"root-topology\n");
    put(&home, "ui/index.html", b"<html>");
    put(&home, "zerotier-one.port", b"9993");
    let before = files(&home);

    let service = Service::start(&space, &home);
    assert_eq!(service.address(), me.identity.address);
    let list = service.ask("listnetworks");
    let row = list.lines().find(|row| row.contains(NETWORK));
    let row = row.unwrap_or_else(|| panic!("{list}"));
    assert!(
        row.contains(" zt7 ") && row.contains("10.44.0.5/24"),
        "{list}"
    );
    assert!(list.contains("ff00160016000000"), "{list}");
    let (status, log) = service.stop();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("controller.db: "), "{log}");
    assert_left_as_found(
        &before,
        &home,
        &["zerotier-one.port"],
        // What it does not know, it leaves alone.
        &["planet", "metricstoken.secret"],
    );
}
