//! Requests for a configuration, and the chunks it comes in (wire 9.12, 9.13; network 1.7, 1.8).

use super::Malformed;
use super::cursor::{Reader, Writer};
use crate::base::NetworkId;

/// Longest meta-data of a request.
pub const META_MAX: usize = 1023;
/// Longest chunk that real controllers make.
pub const CHUNK_MAX: usize = 9740;
/// Bytes of a signed chunk besides its data.
pub const CHUNK_OVERHEAD: usize = 126;

const SIGNATURE_LEN: usize = 96;
const SIGNATURE_TYPE: u8 = 1;

/// NETWORK_CONFIG_REQUEST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigRequest<'a> {
    /// Which network.
    pub network: NetworkId,
    /// Dictionary, at most [`META_MAX`] bytes.
    pub meta: &'a [u8],
    /// Revision of the configuration held, 0 if none.
    pub revision: u64,
    /// Its timestamp; `None`: not said (before 1.2).
    pub timestamp: Option<u64>,
}

impl<'a> ConfigRequest<'a> {
    /// Reads a request. Meta-data that is too long is cut, as everybody does.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let network = reader.network_id()?;
        let len = reader.u16()?;
        let meta = reader.bytes(usize::from(len))?;
        let revision = if reader.remaining() < 8 {
            0
        } else {
            reader.u64()?
        };
        Ok(Self {
            network,
            meta: meta.get(..META_MAX).unwrap_or(meta),
            revision,
            timestamp: reader.u64().ok(),
        })
    }

    /// Writes a request.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Malformed> {
        if self.meta.len() > META_MAX {
            return Err(Malformed::Length);
        }
        writer.network_id(self.network);
        writer.u16(u16::try_from(self.meta.len()).map_err(|_| Malformed::Length)?);
        writer.bytes(self.meta);
        writer.u64(self.revision);
        if let Some(timestamp) = self.timestamp {
            writer.u64(timestamp);
        }
        writer.end()
    }
}

/// Part of a configuration, in OK(NETWORK_CONFIG_REQUEST) behind the common part and in
/// NETWORK_CONFIG.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk<'a> {
    /// Which network.
    pub network: NetworkId,
    /// Part of the dictionary.
    pub data: &'a [u8],
    /// `None`: from an old controller, `data` is all, and only its own word may be taken.
    pub signed: Option<Signed<'a>>,
}

/// What the controller signed about a chunk. `position + data.len() <= total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed<'a> {
    /// [`Signed::PASS_ON`].
    pub flags: u8,
    /// The same for all chunks of one configuration; not 0.
    pub update: u64,
    /// Length of the whole dictionary.
    pub total: u32,
    /// Where `data` belongs in it.
    pub position: u32,
    /// Made over [`Signed::message`].
    pub signature: &'a [u8; SIGNATURE_LEN],
    /// Network id through position.
    pub message: &'a [u8],
}

impl Signed<'_> {
    /// Pass the chunk on to other members.
    pub const PASS_ON: u8 = 0x01;

    /// Tells chunks apart: two with the same are duplicates.
    pub fn fingerprint(&self) -> u64 {
        let mut reader = Reader::new(self.signature);
        match (reader.u64(), reader.u64()) {
            (Ok(a), Ok(b)) => a ^ b,
            _ => 0,
        }
    }
}

impl<'a> Chunk<'a> {
    /// Reads a chunk.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let network = reader.network_id()?;
        let len = reader.u16()?;
        let data = reader.bytes(usize::from(len))?;
        let signed = if reader.is_empty() {
            None
        } else {
            Some(Self::signed(body, len, &mut reader)?)
        };
        Ok(Self {
            network,
            data,
            signed,
        })
    }

    fn signed(body: &'a [u8], len: u16, reader: &mut Reader<'a>) -> Result<Signed<'a>, Malformed> {
        let flags = reader.u8()?;
        let update = reader.u64()?;
        let (total, position) = (reader.u32()?, reader.u32()?);
        let message_len = body.len().saturating_sub(reader.remaining());
        let end = position.checked_add(u32::from(len));
        if end.is_none_or(|end| end > total) {
            return Err(Malformed::Length);
        }
        if update == 0 {
            return Err(Malformed::Value);
        }
        if reader.u8()? != SIGNATURE_TYPE {
            return Err(Malformed::Unsupported);
        }
        if usize::from(reader.u16()?) != SIGNATURE_LEN {
            return Err(Malformed::Length);
        }
        let (signature, _) = reader
            .rest()
            .split_first_chunk()
            .ok_or(Malformed::Truncated)?;
        Ok(Signed {
            flags,
            update,
            total,
            position,
            signature,
            message: body.get(..message_len).ok_or(Malformed::Truncated)?,
        })
    }
}

/// Writes a chunk without signature: for old members, that is all (`update` is `None`); for
/// others, what is to be signed: flags, update id, total, position.
pub fn write_chunk(
    writer: &mut Writer<'_>,
    network: NetworkId,
    data: &[u8],
    update: Option<(u8, u64, u32, u32)>,
) -> Result<(), Malformed> {
    writer.network_id(network);
    writer.u16(u16::try_from(data.len()).map_err(|_| Malformed::Length)?);
    writer.bytes(data);
    if let Some((flags, update, total, position)) = update {
        writer.u8(flags);
        writer.u64(update);
        writer.u32(total);
        writer.u32(position);
    }
    writer.end()
}

/// Writes the signature of what [`write_chunk`] wrote.
pub fn write_chunk_signature(
    writer: &mut Writer<'_>,
    signature: &[u8; SIGNATURE_LEN],
) -> Result<(), Malformed> {
    write_signature(writer, signature)
}

/// u8 1, u16 96, signature: as in chunks and credentials.
pub(super) fn write_signature(
    writer: &mut Writer<'_>,
    signature: &[u8; SIGNATURE_LEN],
) -> Result<(), Malformed> {
    writer.u8(SIGNATURE_TYPE);
    writer.u16(u16::try_from(SIGNATURE_LEN).map_err(|_| Malformed::Length)?);
    writer.bytes(signature);
    writer.end()
}

/// Networks of a NETWORK_CONFIG_REFRESH of 1.0.x and 1.1.x, whose verb is now NETWORK_CONFIG;
/// `None` if the payload is a chunk.
pub fn refresh(payload: &[u8]) -> Option<impl Iterator<Item = NetworkId>> {
    const ID: usize = 8;
    let is_refresh =
        !payload.is_empty() && payload.len().is_multiple_of(ID) && payload.len() < CHUNK_OVERHEAD;
    is_refresh.then(|| {
        payload
            .chunks_exact(ID)
            .filter_map(|id| Reader::new(id).network_id().ok())
    })
}

/// Writes the answer to a taken NETWORK_CONFIG, behind the common part (which names verb ECHO).
pub fn write_taken(
    writer: &mut Writer<'_>,
    network: NetworkId,
    update: u64,
) -> Result<(), Malformed> {
    writer.network_id(network);
    writer.u64(update);
    writer.end()
}

/// Body of an ERROR about a network: its id, and what comes with code 9, a dictionary.
pub fn parse_error(body: &[u8]) -> Result<(NetworkId, Option<&[u8]>), Malformed> {
    let mut reader = Reader::new(body);
    let network = reader.network_id()?;
    if reader.remaining() < 2 {
        return Ok((network, None));
    }
    let len = reader.u16()?;
    Ok((network, Some(reader.bytes(usize::from(len))?)))
}

/// Writes the body of an ERROR about a network.
pub fn write_error(
    writer: &mut Writer<'_>,
    network: NetworkId,
    dictionary: Option<&[u8]>,
) -> Result<(), Malformed> {
    writer.network_id(network);
    if let Some(dictionary) = dictionary {
        writer.u16(u16::try_from(dictionary.len()).map_err(|_| Malformed::Length)?);
        writer.bytes(dictionary);
    }
    writer.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> NetworkId {
        NetworkId::new(0x8056_c2e2_1c00_0001).unwrap()
    }

    #[test]
    fn a_signed_chunk_reads_back() {
        // wire 9.12
        let mut buffer = [0; 200];
        let mut writer = Writer::new(&mut buffer);
        write_chunk(&mut writer, network(), b"v=7\nx", Some((1, 9, 20, 15))).unwrap();
        let message = writer.written().to_vec();
        assert_eq!(message.len(), 27 + 5);
        let mut signature = [0x5a; 96];
        signature[0] = 0x5b;
        write_chunk_signature(&mut writer, &signature).unwrap();
        assert_eq!(writer.len(), CHUNK_OVERHEAD + 5);
        let chunk = Chunk::parse(writer.written()).unwrap();
        let signed = chunk.signed.unwrap();
        assert_eq!((chunk.network, chunk.data), (network(), &b"v=7\nx"[..]));
        assert_eq!(signed.message, message);
        assert_eq!((signed.flags, signed.update), (Signed::PASS_ON, 9));
        assert_eq!((signed.total, signed.position), (20, 15));
        assert_eq!(signed.fingerprint(), 1 << 56);
    }

    #[test]
    fn a_chunk_that_reaches_past_the_total_is_refused() {
        let chunk = |total, position| {
            let mut buffer = [0; 200];
            let mut writer = Writer::new(&mut buffer);
            write_chunk(
                &mut writer,
                network(),
                b"12345",
                Some((0, 9, total, position)),
            )
            .unwrap();
            write_chunk_signature(&mut writer, &[0; 96]).unwrap();
            Chunk::parse(writer.written()).map(|_| ())
        };
        assert_eq!(chunk(20, 15), Ok(()));
        assert_eq!(chunk(20, 16), Err(Malformed::Length));
        assert_eq!(chunk(20, u32::MAX), Err(Malformed::Length));
    }

    #[test]
    fn an_unsigned_chunk_ends_behind_its_data() {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        write_chunk(&mut writer, network(), b"et=0\n", None).unwrap();
        let chunk = Chunk::parse(writer.written()).unwrap();
        assert_eq!((chunk.data, chunk.signed), (&b"et=0\n"[..], None));
    }

    #[test]
    fn a_refresh_is_a_short_multiple_of_eight() {
        let id = network().to_bytes();
        assert_eq!(refresh(&id).unwrap().next(), Some(network()));
        assert!(refresh(&[0; 128]).is_none());
        assert!(refresh(&[0; 15]).is_none());
        assert!(refresh(&[]).is_none());
    }
}
