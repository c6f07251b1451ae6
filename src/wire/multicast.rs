//! MULTICAST_LIKE, MULTICAST_GATHER, MULTICAST_FRAME (wire 9.10, 9.14, 9.15).

use super::Malformed;
use super::credential::Com;
use super::cursor::{Reader, Writer};
use crate::base::{Address, Mac, NetworkId};

/// A multicast group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Group {
    /// Its MAC, group bit set.
    pub mac: Mac,
    /// Additional distinguishing information: 0 but for IPv4 address resolution.
    pub adi: u32,
}

impl Group {
    /// All broadcasts but IPv4 address resolution.
    pub const BROADCAST: Self = Self {
        mac: Mac::BROADCAST,
        adi: 0,
    };

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            mac: reader.mac()?,
            adi: reader.u32()?,
        })
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.mac(self.mac);
        writer.u32(self.adi);
    }
}

/// Bytes of one record of MULTICAST_LIKE.
pub const LIKE_LEN: usize = 18;

/// Records of a MULTICAST_LIKE. The payload must be made of whole records.
pub fn likes(payload: &[u8]) -> Result<impl Iterator<Item = (NetworkId, Group)>, Malformed> {
    if !payload.len().is_multiple_of(LIKE_LEN) {
        return Err(Malformed::Length);
    }
    Ok(payload.chunks_exact(LIKE_LEN).filter_map(|record| {
        let mut reader = Reader::new(record);
        Some((reader.network_id().ok()?, Group::read(&mut reader).ok()?))
    }))
}

/// Writes one record of a MULTICAST_LIKE.
pub fn write_like(writer: &mut Writer<'_>, network: NetworkId, group: Group) {
    writer.network_id(network);
    group.write(writer);
}

/// MULTICAST_GATHER.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a> {
    /// Which network.
    pub network: NetworkId,
    /// Which group.
    pub group: Group,
    /// Most members wanted.
    pub limit: u32,
    /// Attached certificate of membership.
    pub com: Option<Com<'a>>,
}

impl<'a> Gather<'a> {
    /// Reads a MULTICAST_GATHER.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let network = reader.network_id()?;
        let flags = reader.u8()?;
        let group = Group::read(&mut reader)?;
        let limit = reader.u32()?;
        let com = if flags & 0x01 != 0 {
            Some(Com::read(&mut reader)?)
        } else {
            None
        };
        Ok(Self {
            network,
            group,
            limit,
            com,
        })
    }
}

/// Writes a MULTICAST_GATHER, with a binary certificate of membership if there is one.
pub fn write_gather(
    writer: &mut Writer<'_>,
    network: NetworkId,
    group: Group,
    limit: u32,
    com: Option<&[u8]>,
) -> Result<(), Malformed> {
    writer.network_id(network);
    writer.u8(u8::from(com.is_some()));
    group.write(writer);
    writer.u32(limit);
    writer.bytes(com.unwrap_or_default());
    writer.end()
}

/// Members of a group as told by somebody.
#[derive(Clone, Copy, Debug)]
pub struct GatherResult<'a> {
    /// Members that the teller knows.
    pub total: u32,
    members: &'a [u8],
}

impl<'a> GatherResult<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let total = reader.u32()?;
        let count = usize::from(reader.u16()?);
        let members = reader.bytes(count.saturating_mul(Address::LEN))?;
        Ok(Self { total, members })
    }

    /// The members told, reserved addresses left out.
    pub fn members(&self) -> impl Iterator<Item = Address> + use<'a> {
        self.members
            .chunks_exact(Address::LEN)
            .filter_map(|m| m.first_chunk().copied().and_then(Address::from_bytes))
    }
}

/// OK(MULTICAST_GATHER) behind the common part: network, group, members.
pub fn parse_ok_gather(body: &[u8]) -> Result<(NetworkId, Group, GatherResult<'_>), Malformed> {
    let mut reader = Reader::new(body);
    let network = reader.network_id()?;
    let group = Group::read(&mut reader)?;
    Ok((network, group, GatherResult::read(&mut reader)?))
}

/// OK(MULTICAST_FRAME) behind the common part; no result if the sender gave none.
pub fn parse_ok_frame(
    body: &[u8],
) -> Result<(NetworkId, Group, Option<GatherResult<'_>>), Malformed> {
    let mut reader = Reader::new(body);
    let network = reader.network_id()?;
    let group = Group::read(&mut reader)?;
    let flags = reader.u8()?;
    if flags & 0x01 != 0 {
        Com::read(&mut reader)?;
    }
    let result = if flags & 0x02 != 0 {
        Some(GatherResult::read(&mut reader)?)
    } else {
        None
    };
    Ok((network, group, result))
}

/// Writes network and group, the head of both answers.
pub fn write_answer_head(
    writer: &mut Writer<'_>,
    network: NetworkId,
    group: Group,
) -> Result<(), Malformed> {
    writer.network_id(network);
    group.write(writer);
    writer.end()
}

/// Writes a gather result with as many members as there is room for; how many.
pub fn write_result(
    writer: &mut Writer<'_>,
    total: u32,
    members: impl Iterator<Item = Address>,
) -> Result<u16, Malformed> {
    writer.u32(total);
    let at = writer.len();
    writer.u16(0);
    let mut count = 0u16;
    for member in members {
        if count == u16::MAX || !writer.has_room(Address::LEN) {
            break;
        }
        writer.address(member);
        count = count.saturating_add(1);
    }
    writer.patch_u16(at, count);
    writer.end()?;
    Ok(count)
}

/// MULTICAST_FRAME.
#[derive(Clone, Copy, Debug)]
pub struct MulticastFrame<'a> {
    /// Which network.
    pub network: NetworkId,
    /// See [`MulticastFrame::GATHER`] and its neighbours.
    pub flags: u8,
    /// Attached certificate of membership.
    pub com: Option<Com<'a>>,
    /// The receiver may answer with so many members; 0 = none wanted.
    pub gather_limit: u32,
    /// Source MAC; `None`: that of the packet's source.
    pub from: Option<Mac>,
    /// Destination.
    pub group: Group,
    /// EtherType.
    pub ethertype: u16,
    /// Ethernet payload.
    pub payload: &'a [u8],
}

impl<'a> MulticastFrame<'a> {
    /// Certificate attached.
    pub const COM: u8 = 0x01;
    /// Gather limit given.
    pub const GATHER: u8 = 0x02;
    /// Source MAC given.
    pub const SOURCE: u8 = 0x04;
    /// The receiver is to spread it.
    pub const REPLICATE: u8 = 0x08;

    /// Reads a MULTICAST_FRAME.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let network = reader.network_id()?;
        let flags = reader.u8()?;
        let com = if flags & Self::COM != 0 {
            Some(Com::read(&mut reader)?)
        } else {
            None
        };
        let gather_limit = if flags & Self::GATHER != 0 {
            reader.u32()?
        } else {
            0
        };
        let from = if flags & Self::SOURCE != 0 {
            Some(reader.mac()?)
        } else {
            None
        };
        let group = Group::read(&mut reader)?;
        let ethertype = reader.u16()?;
        Ok(Self {
            network,
            flags,
            com,
            gather_limit,
            from,
            group,
            ethertype,
            payload: reader.rest(),
        })
    }

    /// Writes it, without certificate; `flags` are made from the fields and
    /// [`Self::REPLICATE`].
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        let mut flags = self.flags & Self::REPLICATE;
        if self.gather_limit != 0 {
            flags |= Self::GATHER;
        }
        if self.from.is_some() {
            flags |= Self::SOURCE;
        }
        writer.network_id(self.network);
        writer.u8(flags);
        if self.gather_limit != 0 {
            writer.u32(self.gather_limit);
        }
        if let Some(from) = self.from {
            writer.mac(from);
        }
        self.group.write(writer);
        writer.u16(self.ethertype);
        writer.bytes(self.payload);
        writer.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_of_a_frame_come_in_order() {
        // wire 9.15
        let bytes = b"\x80\x56\xc2\xe2\x1c\0\0\x01\x0e\0\0\0\x20\x02\x03\x04\x05\x06\x07\
            \xff\xff\xff\xff\xff\xff\x0a\x63\0\x1c\x08\x06arp";
        let frame = MulticastFrame::parse(bytes).unwrap();
        assert_eq!(frame.network.get(), 0x8056_c2e2_1c00_0001);
        assert_eq!(frame.gather_limit, 32);
        assert_eq!(frame.from, Some(Mac::new([2, 3, 4, 5, 6, 7])));
        let group = Group {
            mac: Mac::BROADCAST,
            adi: 0x0a63_001c,
        };
        assert_eq!((frame.group, frame.ethertype), (group, 0x0806));
        assert_eq!(frame.payload, b"arp");
        let mut out = [0; 64];
        let mut writer = Writer::new(&mut out);
        frame.write(&mut writer).unwrap();
        assert_eq!(writer.written(), bytes);
    }

    #[test]
    fn a_cut_record_is_an_error() {
        // wire 9.10
        assert_eq!(likes(&[1; 36]).unwrap().count(), 2);
        assert!(likes(&[1; 35]).is_err());
    }
}
