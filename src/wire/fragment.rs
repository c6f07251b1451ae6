//! Pieces of a packet (wire 7.2).
//!
//! Cut: as few pieces as the datagram limit allows, all but the last of one size, so that a
//! burst of them can leave as one segmented datagram.

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::packet::HOPS_MASK;
use crate::base::{Address, PacketId};

/// Header of every piece but the head.
pub const FRAGMENT_HEADER_LEN: usize = 16;
/// Most pieces that 1.2.6 and later put together, head included.
pub const PIECES_MAX: usize = 7;

const MARK: u8 = 0xff;

/// Header of a piece. `1 <= number < total <= 7`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentHeader {
    /// Packet id of the head.
    pub id: PacketId,
    /// Whom it is for.
    pub destination: Address,
    /// Pieces in all.
    pub total: u8,
    /// Which piece.
    pub number: u8,
    /// Relays passed.
    pub hops: u8,
}

impl FragmentHeader {
    /// Reads the header; gives it and the data behind it.
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader::new(datagram);
        let id = PacketId::new(reader.u64()?);
        let destination = reader.address()?;
        if reader.u8()? != MARK {
            return Err(Malformed::Unsupported);
        }
        let counts = reader.u8()?;
        let hops = reader.u8()? & HOPS_MASK;
        let (total, number) = (counts >> 4, counts & 0x0f);
        if number == 0 || number >= total || usize::from(total) > PIECES_MAX {
            return Err(Malformed::Value);
        }
        Ok((
            Self {
                id,
                destination,
                total,
                number,
                hops,
            },
            reader.rest(),
        ))
    }

    /// The sixteen bytes.
    pub fn to_bytes(&self) -> [u8; FRAGMENT_HEADER_LEN] {
        let mut bytes = [0; FRAGMENT_HEADER_LEN];
        let mut writer = Writer::new(&mut bytes);
        // The room is exact.
        writer.u64(self.id.get());
        writer.address(self.destination);
        writer.u8(MARK);
        writer.u8((self.total << 4) | (self.number & 0x0f));
        writer.u8(self.hops & HOPS_MASK);
        bytes
    }
}

/// Pieces that a packet of `len` bytes needs; 1: it is sent whole.
pub fn piece_count(len: usize, datagram_max: usize) -> usize {
    if len <= datagram_max {
        return 1;
    }
    let room = datagram_max.saturating_sub(FRAGMENT_HEADER_LEN).max(1);
    len.saturating_sub(datagram_max)
        .div_ceil(room)
        .saturating_add(1)
}

/// The pieces of a sealed packet, see [`pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    left: &'a [u8],
    id: PacketId,
    destination: Address,
    size: usize,
    total: u8,
    number: u8,
}

/// Cuts a sealed packet: the head first, then (header, data).
///
/// With n pieces the datagrams are `ceil((len + 16 (n − 1)) / n)` bytes long, the last one maybe
/// less; that never exceeds the limit.
pub fn pieces(
    packet: &[u8],
    id: PacketId,
    destination: Address,
    datagram_max: usize,
) -> Pieces<'_> {
    let count = piece_count(packet.len(), datagram_max);
    let headers = FRAGMENT_HEADER_LEN.saturating_mul(count.saturating_sub(1));
    let size = packet.len().saturating_add(headers).div_ceil(count.max(1));
    pieces_of(packet, id, destination, size)
}

/// Cuts a sealed packet into datagrams of exactly `size` bytes, the last one maybe less. With
/// the datagram limit for `size` that is how real nodes cut.
pub fn pieces_of(packet: &[u8], id: PacketId, destination: Address, size: usize) -> Pieces<'_> {
    let size = size.max(FRAGMENT_HEADER_LEN.saturating_add(1));
    let total = u8::try_from(piece_count(packet.len(), size)).unwrap_or(u8::MAX);
    Pieces {
        left: packet,
        id,
        destination,
        size,
        total,
        number: 0,
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (Option<[u8; FRAGMENT_HEADER_LEN]>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let head = self.number == 0;
        let room = if head {
            self.size
        } else {
            self.size.saturating_sub(FRAGMENT_HEADER_LEN)
        };
        let (data, left) = self.left.split_at_checked(room).unwrap_or((self.left, &[]));
        self.left = left;
        let header = (!head).then(|| {
            FragmentHeader {
                id: self.id,
                destination: self.destination,
                total: self.total,
                number: self.number,
                hops: 0,
            }
            .to_bytes()
        });
        self.number = self.number.saturating_add(1);
        Some((header, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_equal_few_and_within_the_limit() {
        let to = Address::new(0x12_3456_789a).unwrap();
        let packet: std::vec::Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        for max in [600usize, 1232, 1400, 1432, 1444] {
            for len in (28..9_900).step_by(37) {
                let packet = &packet[..len];
                let count = piece_count(len, max);
                let classic = 1 + len.saturating_sub(max).div_ceil(max - 16);
                assert_eq!(count, classic);
                let parts: std::vec::Vec<_> = pieces(packet, PacketId::new(9), to, max).collect();
                assert_eq!(parts.len(), count, "{len} in {max}");
                let sizes: std::vec::Vec<usize> = parts
                    .iter()
                    .map(|(h, d)| d.len() + h.map_or(0, |_| 16))
                    .collect();
                assert!(sizes.iter().all(|s| *s <= max && *s <= sizes[0]));
                assert!(sizes[..count - 1].iter().all(|s| *s == sizes[0]));
                let joined: std::vec::Vec<u8> =
                    parts.iter().flat_map(|(_, d)| d.iter().copied()).collect();
                assert_eq!(joined, packet);
                for (n, (header, data)) in parts.iter().enumerate().skip(1) {
                    if count > PIECES_MAX {
                        break;
                    }
                    let mut datagram = header.unwrap().to_vec();
                    datagram.extend_from_slice(data);
                    let (parsed, rest) = FragmentHeader::parse(&datagram).unwrap();
                    assert_eq!((usize::from(parsed.number), rest), (n, *data));
                    assert_eq!(usize::from(parsed.total), count);
                }
            }
        }
    }

    #[test]
    fn piece_with_number_zero_is_refused() {
        let good = FragmentHeader {
            id: PacketId::new(1),
            destination: Address::new(1).unwrap(),
            total: 2,
            number: 1,
            hops: 0,
        };
        assert!(FragmentHeader::parse(&good.to_bytes()).is_ok());
        for counts in [0x00, 0x20, 0x10, 0x11, 0x22, 0x23, 0x81, 0xf1] {
            let mut bytes = good.to_bytes();
            bytes[14] = counts;
            assert_eq!(
                FragmentHeader::parse(&bytes),
                Err(Malformed::Value),
                "{counts:02x}"
            );
        }
    }
}
