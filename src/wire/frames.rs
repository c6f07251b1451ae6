//! FRAME and EXT_FRAME, in and out, framed in place (wire 9.7, 9.8).
//!
//! A slot for a frame out of a tap: [`HEADROOM`] bytes, then the Ethernet frame. FRAME needs 38
//! bytes before the Ethernet payload, EXT_FRAME 51, and the Ethernet header gives 14 of them, so
//! the payload never moves.

use core::ops::Range;

use super::Malformed;
use super::credential::Com;
use super::cursor::{Reader, Writer};
use super::packet::{HEADER_LEN, VERB_AT};
use super::verb::Verb;
use crate::base::{Mac, NetworkId};

/// Room before a frame in its slot.
pub const HEADROOM: usize = 64;
/// Destination, source, EtherType.
pub const ETHERNET_LEN: usize = 14;
/// Largest virtual MTU (wire 7.3).
pub const MTU_MAX: usize = 10_000;

/// Payload of a FRAME before the Ethernet payload.
const FRAME_LEN: usize = 10;
/// Payload of an EXT_FRAME before the Ethernet payload, without certificate.
const EXT_FRAME_LEN: usize = 23;
/// Where the Ethernet payload lies in a slot.
const PAYLOAD_AT: usize = HEADROOM + ETHERNET_LEN;
const FRAME_AT: usize = PAYLOAD_AT - FRAME_LEN - HEADER_LEN;
const EXT_FRAME_AT: usize = PAYLOAD_AT - EXT_FRAME_LEN - HEADER_LEN;

/// EXT_FRAME: a certificate of membership is attached.
pub const EXT_COM: u8 = 0x01;
/// EXT_FRAME: acknowledgement wanted.
pub const EXT_ACK: u8 = 0x10;

/// Header of an Ethernet frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ethernet {
    /// Destination.
    pub to: Mac,
    /// Source.
    pub from: Mac,
    /// EtherType.
    pub ethertype: u16,
}

impl Ethernet {
    /// Reads the header; gives it and the payload.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut reader = Reader::new(frame);
        let ethernet = Self {
            to: reader.mac()?,
            from: reader.mac()?,
            ethertype: reader.u16()?,
        };
        Ok((ethernet, reader.rest()))
    }

    /// The fourteen bytes.
    pub fn to_bytes(self) -> [u8; ETHERNET_LEN] {
        let [a, b, c, d, e, f] = self.to.to_bytes();
        let [g, h, i, j, k, l] = self.from.to_bytes();
        let [m, n] = self.ethertype.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }
}

/// A FRAME. The MACs are those of the packet's source and destination.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Which network.
    pub network: NetworkId,
    /// EtherType.
    pub ethertype: u16,
    /// Ethernet payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a FRAME.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            network: reader.network_id()?,
            ethertype: reader.u16()?,
            payload: reader.rest(),
        })
    }
}

/// An EXT_FRAME.
#[derive(Clone, Copy, Debug)]
pub struct ExtFrame<'a> {
    /// Which network.
    pub network: NetworkId,
    /// [`EXT_COM`], subtype, [`EXT_ACK`].
    pub flags: u8,
    /// Attached certificate of membership.
    pub com: Option<Com<'a>>,
    /// MACs and EtherType.
    pub ethernet: Ethernet,
    /// Ethernet payload.
    pub payload: &'a [u8],
}

impl<'a> ExtFrame<'a> {
    /// Reads an EXT_FRAME.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let network = reader.network_id()?;
        let flags = reader.u8()?;
        let com = if flags & EXT_COM != 0 {
            Some(Com::read(&mut reader)?)
        } else {
            None
        };
        let (ethernet, payload) = Ethernet::parse(reader.rest())?;
        Ok(Self {
            network,
            flags,
            com,
            ethernet,
            payload,
        })
    }
}

fn head(slot: &mut [u8], at: usize, verb: Verb) -> Result<Writer<'_>, Malformed> {
    let verb_at = at.saturating_add(VERB_AT);
    let room = slot
        .get_mut(verb_at..PAYLOAD_AT)
        .ok_or(Malformed::Truncated)?;
    let mut writer = Writer::new(room);
    writer.u8(verb as u8);
    Ok(writer)
}

fn end(slot: &[u8], len: usize) -> Result<usize, Malformed> {
    let end = HEADROOM.checked_add(len).ok_or(Malformed::Length)?;
    if len < ETHERNET_LEN || end > slot.len() {
        return Err(Malformed::Truncated);
    }
    Ok(end)
}

/// Turns the Ethernet frame of `len` bytes at `slot[HEADROOM..]` into a plain FRAME packet; its
/// range in the slot.
pub fn prepend_frame(
    slot: &mut [u8],
    len: usize,
    network: NetworkId,
) -> Result<Range<usize>, Malformed> {
    let end = end(slot, len)?;
    let (ethernet, _) = Ethernet::parse(slot.get(HEADROOM..end).unwrap_or_default())?;
    let mut writer = head(slot, FRAME_AT, Verb::Frame)?;
    writer.network_id(network);
    writer.u16(ethernet.ethertype);
    writer.end()?;
    Ok(FRAME_AT..end)
}

/// The same with an EXT_FRAME, the MACs being those of the frame.
pub fn prepend_ext_frame(
    slot: &mut [u8],
    len: usize,
    network: NetworkId,
    flags: u8,
) -> Result<Range<usize>, Malformed> {
    let end = end(slot, len)?;
    let (ethernet, _) = Ethernet::parse(slot.get(HEADROOM..end).unwrap_or_default())?;
    let mut writer = head(slot, EXT_FRAME_AT, Verb::ExtFrame)?;
    writer.network_id(network);
    writer.u8(flags);
    writer.bytes(&ethernet.to_bytes());
    writer.end()?;
    Ok(EXT_FRAME_AT..end)
}

/// Writes an Ethernet header right before the payload that begins at `payload_at`, over bytes
/// of the packet that are spent; the frame's range.
pub fn ethernet_in_place(
    packet: &mut [u8],
    payload_at: usize,
    ethernet: Ethernet,
) -> Result<Range<usize>, Malformed> {
    let start = payload_at
        .checked_sub(ETHERNET_LEN)
        .ok_or(Malformed::Truncated)?;
    let header = packet
        .get_mut(start..payload_at)
        .ok_or(Malformed::Truncated)?;
    header.copy_from_slice(&ethernet.to_bytes());
    Ok(start..packet.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_as_it_went_in() {
        let ethernet = Ethernet {
            to: Mac::new([2, 3, 4, 5, 6, 7]),
            from: Mac::new([8, 9, 10, 11, 12, 13]),
            ethertype: 0x86dd,
        };
        let network = NetworkId::new(0xff00_1600_1600_0000).unwrap();
        let mut slot = [0u8; 200];
        slot[HEADROOM..HEADROOM + 14].copy_from_slice(&ethernet.to_bytes());
        slot[HEADROOM + 14..HEADROOM + 20].copy_from_slice(b"frames");
        let mut other = slot;
        let range = prepend_frame(&mut slot, 20, network).unwrap();
        assert_eq!(range, 40..84);
        let packet = &mut slot[range];
        let frame = Frame::parse(&packet[HEADER_LEN..]).unwrap();
        assert_eq!(
            (frame.network, frame.ethertype, frame.payload),
            (network, 0x86dd, &b"frames"[..])
        );
        let back = ethernet_in_place(packet, HEADER_LEN + 10, ethernet).unwrap();
        assert_eq!(&packet[back][14..], b"frames");
        let range = prepend_ext_frame(&mut other, 20, network, 0x10).unwrap();
        assert_eq!(range, 27..84);
        let ext = ExtFrame::parse(&other[range][HEADER_LEN..]).unwrap();
        assert_eq!(
            (ext.ethernet, ext.flags, ext.payload),
            (ethernet, 0x10, &b"frames"[..])
        );
    }
}
