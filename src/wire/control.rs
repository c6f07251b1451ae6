//! OK, ERROR, WHOIS, RENDEZVOUS, PUSH_DIRECT_PATHS (wire 9.3–9.6, 9.16).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::packet;
use super::verb::{ErrorCode, Verb};
use crate::base::{Address, PacketId};

/// Common part of an OK.
#[derive(Clone, Copy, Debug)]
pub struct OkReply<'a> {
    /// Verb of the request.
    pub verb: u8,
    /// Its packet id.
    pub id: PacketId,
    /// Depends on the verb.
    pub body: &'a [u8],
}

impl<'a> OkReply<'a> {
    /// Reads the common part.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            verb: reader.u8()?,
            id: PacketId::new(reader.u64()?),
            body: reader.rest(),
        })
    }
}

/// Common part of an ERROR.
#[derive(Clone, Copy, Debug)]
pub struct ErrorReply<'a> {
    /// Verb of the request.
    pub verb: u8,
    /// Its packet id.
    pub id: PacketId,
    /// See [`ErrorCode`].
    pub code: u8,
    /// Depends on verb and code.
    pub body: &'a [u8],
}

impl<'a> ErrorReply<'a> {
    /// Reads the common part.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            verb: reader.u8()?,
            id: PacketId::new(reader.u64()?),
            code: reader.u8()?,
            body: reader.rest(),
        })
    }
}

/// Writes the common part of an OK.
pub fn write_ok_head(writer: &mut Writer<'_>, verb: Verb, id: PacketId) {
    writer.u8(verb as u8);
    writer.u64(id.get());
}

/// Begins an OK.
#[inline(never)]
pub fn begin_ok(room: &mut [u8], verb: Verb, id: PacketId) -> Writer<'_> {
    let mut writer = packet::begin(room, Verb::Ok);
    write_ok_head(&mut writer, verb, id);
    writer
}

/// Where the payload of an ERROR has its code.
pub const ERROR_CODE_AT: usize = 9;

/// Writes the common part of an ERROR.
pub fn write_error_head(writer: &mut Writer<'_>, verb: Verb, id: PacketId, code: ErrorCode) {
    write_ok_head(writer, verb, id);
    writer.u8(code as u8);
}

/// Addresses asked for in a WHOIS; reserved ones and a cut last one are left out.
pub fn whois(payload: &[u8]) -> impl Iterator<Item = Address> {
    payload
        .chunks_exact(Address::LEN)
        .filter_map(|chunk| chunk.first_chunk().copied().and_then(Address::from_bytes))
}

/// Asks for one address: real nodes before 1.2 answer no other form.
pub fn write_whois(writer: &mut Writer<'_>, address: Address) {
    writer.address(address);
}

/// Where to meet a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rendezvous {
    /// Not used yet.
    pub flags: u8,
    /// Whom.
    pub peer: Address,
    /// Where; the port is not 0.
    pub at: SocketAddr,
}

impl Rendezvous {
    /// Reads a RENDEZVOUS.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let flags = reader.u8()?;
        let peer = reader.address()?;
        let port = reader.u16()?;
        let ip = match reader.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)),
            16 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)),
            _ => return Err(Malformed::Length),
        };
        if port == 0 {
            return Err(Malformed::Value);
        }
        Ok(Self {
            flags,
            peer,
            at: SocketAddr::new(ip, port),
        })
    }
}

/// Writes a RENDEZVOUS.
pub fn write_rendezvous(
    writer: &mut Writer<'_>,
    peer: Address,
    at: &SocketAddr,
) -> Result<(), Malformed> {
    writer.u8(0);
    writer.address(peer);
    writer.u16(at.port());
    match at.ip() {
        IpAddr::V4(ip) => {
            writer.u8(4);
            writer.bytes(&ip.octets());
        }
        IpAddr::V6(ip) => {
            writer.u8(16);
            writer.bytes(&ip.octets());
        }
    }
    writer.end()
}

/// One record of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushedPath {
    /// [`PushDirectPaths::FORGET`], [`PushDirectPaths::REDIRECT`].
    pub flags: u8,
    /// `None`: of a kind that is skipped.
    pub address: Option<SocketAddr>,
}

/// Records of a PUSH_DIRECT_PATHS; each may turn out malformed, and ends the list then.
#[derive(Clone, Debug)]
pub struct PushDirectPaths<'a> {
    left: u16,
    reader: Reader<'a>,
}

impl<'a> PushDirectPaths<'a> {
    /// Do not use this address any more.
    pub const FORGET: u8 = 0x01;
    /// Use this instead of the address that this packet came from.
    pub const REDIRECT: u8 = 0x02;

    /// Reads the count.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            left: reader.u16()?,
            reader,
        })
    }

    fn record(&mut self) -> Result<PushedPath, Malformed> {
        let reader = &mut self.reader;
        let flags = reader.u8()?;
        let extension = reader.u16()?;
        reader.bytes(usize::from(extension))?;
        let kind = reader.u8()?;
        let len = reader.u8()?;
        let mut body = reader.sub(usize::from(len))?;
        let address = match (kind, len) {
            (4, 6) => {
                let ip = Ipv4Addr::from(body.array::<4>()?);
                Some(SocketAddr::new(ip.into(), body.u16()?))
            }
            (6, 18) => {
                let ip = Ipv6Addr::from(body.array::<16>()?);
                Some(SocketAddr::new(ip.into(), body.u16()?))
            }
            _ => None,
        };
        Ok(PushedPath { flags, address })
    }
}

impl Iterator for PushDirectPaths<'_> {
    type Item = Result<PushedPath, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.record();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// Writes a push of addresses.
pub fn write_push(writer: &mut Writer<'_>, addresses: &[SocketAddr]) -> Result<(), Malformed> {
    writer.u16(u16::try_from(addresses.len()).map_err(|_| Malformed::Length)?);
    for address in addresses {
        writer.u8(0);
        writer.u16(0);
        match address.ip() {
            IpAddr::V4(ip) => {
                writer.u8(4);
                writer.u8(6);
                writer.bytes(&ip.octets());
            }
            IpAddr::V6(ip) => {
                writer.u8(6);
                writer.u8(18);
                writer.bytes(&ip.octets());
            }
        }
        writer.u16(address.port());
    }
    writer.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_rendezvous_without_port_or_with_another_length_is_refused() {
        // wire 9.6
        let good = *b"\0\x3c\x94\x39\xe9\x6a\x27\x09\x04\x0a\x4d\0\x01";
        let meet = Rendezvous::parse(&good).unwrap();
        assert_eq!(meet.peer.get(), 0x3c_9439_e96a);
        assert_eq!(meet.at, "10.77.0.1:9993".parse().unwrap());
        let mut no_port = good;
        no_port[6..8].fill(0);
        assert_eq!(Rendezvous::parse(&no_port), Err(Malformed::Value));
        let mut other_length = good;
        other_length[8] = 6;
        assert_eq!(Rendezvous::parse(&other_length), Err(Malformed::Length));
    }

    #[test]
    fn pushed_records_of_other_kinds_are_skipped_by_their_length() {
        // wire 9.16: a kind 1 of 6 bytes; an IPv4 with two bytes of extension and "forget"
        let bytes = b"\0\x02\0\0\0\x01\x06macmac\x01\0\x02ex\x04\x06\x0a\x4d\0\x01\x27\x09";
        let paths: Vec<PushedPath> = PushDirectPaths::parse(bytes)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let expected = [
            PushedPath {
                flags: 0,
                address: None,
            },
            PushedPath {
                flags: PushDirectPaths::FORGET,
                address: Some("10.77.0.1:9993".parse().unwrap()),
            },
        ];
        assert_eq!(paths, expected);
    }
}
