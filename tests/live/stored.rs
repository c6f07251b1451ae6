//! Networks as a home holds them after an earlier run: their controller does not have to exist.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::{Lab, new_identity, put, text_of};
use zt::base::{Address, NetworkId};
use zt::wire::cursor::Writer;
use zt::wire::dict::{Dialect, DictWriter};
use zt::wire::inet;

/// Role bit of a specialist (network 2.3).
const ACTIVE_BRIDGE: u64 = 0x0200_0000_0000;

/// What a network asks for.
#[derive(Clone, Default)]
pub(crate) struct Wishes<'a> {
    pub(crate) addresses: &'a [&'a str],
    /// Target, gateway or `-`, metric.
    pub(crate) routes: &'a [(&'a str, &'a str, u16)],
    pub(crate) mtu: u64,
    pub(crate) dns: Option<(&'a str, &'a str)>,
    /// Members that bridge.
    pub(crate) bridges: &'a [Address],
}

/// `ip/bits` as the wire has it: the bits stand for the port.
fn prefix(text: &str) -> SocketAddr {
    let (ip, bits) = text.split_once('/').expect("a prefix");
    SocketAddr::new(
        ip.parse().expect("an address"),
        bits.parse().expect("a length"),
    )
}

fn list(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut room = vec![0; 16 * 1024];
    let mut writer = Writer::new(&mut room);
    write(&mut writer);
    writer.end().expect("room");
    writer.written().to_vec()
}

/// A stored configuration of a public network where everything is accepted (network 2.2, 2.8).
pub(crate) fn configuration(id: NetworkId, member: Address, wishes: &Wishes<'_>) -> Vec<u8> {
    let addresses = list(|writer| {
        for text in wishes.addresses {
            inet::write(writer, Some(&prefix(text)));
        }
    });
    let routes = list(|writer| {
        for (target, via, metric) in wishes.routes {
            let via: Option<IpAddr> = via.parse().ok();
            let via = via.map(|ip| SocketAddr::new(ip, 0));
            inet::write(writer, Some(&prefix(target)));
            inet::write(writer, via.as_ref());
            writer.u16(0);
            writer.u16(*metric);
        }
    });
    let bridges = list(|writer| {
        for bridge in wishes.bridges {
            writer.u64(ACTIVE_BRIDGE | bridge.get());
        }
    });
    let dns = wishes.dns.map(|(domain, server)| {
        list(|writer| {
            let mut name = [0; 128];
            name[..domain.len()].copy_from_slice(domain.as_bytes());
            writer.bytes(&name);
            let server = SocketAddr::new(server.parse().expect("an address"), 0);
            inet::write(writer, Some(&server));
            for _ in 1..4 {
                inet::write(writer, None);
            }
        })
    });
    list(|writer| {
        let mut dict = DictWriter::new(writer, Dialect::Modern);
        let mut write = || {
            dict.number("v", 7)?;
            dict.number("nwid", id.get())?;
            dict.number("ts", 1_795_435_032_062)?;
            dict.number("ctmd", 7_200_000)?;
            dict.number("r", 1)?;
            dict.address("id", member.get())?;
            // Broadcasts pass.
            dict.number("f", 2)?;
            dict.number("ml", 32)?;
            dict.number("t", 1)?;
            dict.bytes("n", b"lab")?;
            dict.number("mtu", wishes.mtu)?;
            dict.bytes("S", &bridges)?;
            dict.bytes("RT", &routes)?;
            dict.bytes("I", &addresses)?;
            // ACTION_ACCEPT.
            dict.bytes("R", &[1, 0])?;
            dns.iter().try_for_each(|dns| dict.bytes("DNS", dns))
        };
        write().expect("room");
    })
}

/// A home with an identity of its own and a network that it was on before.
pub(crate) fn member(
    lab: &Lab,
    name: &str,
    seed: u8,
    id: NetworkId,
    wishes: &Wishes<'_>,
) -> PathBuf {
    let home = lab.home(name);
    let secret = new_identity(seed);
    put(&home, "identity.secret", text_of(&secret).as_bytes());
    let conf = configuration(id, secret.identity.address, wishes);
    put(&home, &format!("networks.d/{id}.conf"), &conf);
    home
}
