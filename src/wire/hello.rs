//! HELLO and OK(HELLO) (wire 9.2).

use core::net::SocketAddr;

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::identity::Identity;
use super::inet;

/// World type of a moon entry.
const MOON: u8 = 127;

/// A HELLO; the tail is still masked (wire 6.7).
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// Protocol version.
    pub protocol: u8,
    /// Software, major.
    pub major: u8,
    /// Software, minor.
    pub minor: u8,
    /// Software, revision.
    pub revision: u16,
    /// The sender's time, which only it reads.
    pub time: u64,
    /// Who says so.
    pub identity: Identity,
    /// Where it was sent to, i.e. our address as the sender sees it.
    pub sent_to: Option<SocketAddr>,
    /// Planet id and timestamp held.
    pub planet: Option<(u64, u64)>,
    /// Payload offset at which the masked tail begins, if there is one.
    pub tail_at: Option<usize>,
    /// The masked tail.
    pub tail: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Reads a HELLO. Everything behind the identity may be missing, at field boundaries.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let mut hello = Self {
            protocol: reader.u8()?,
            major: reader.u8()?,
            minor: reader.u8()?,
            revision: reader.u16()?,
            time: reader.u64()?,
            identity: Identity::read(&mut reader)?,
            sent_to: None,
            planet: None,
            tail_at: None,
            tail: &[],
        };
        if reader.is_empty() {
            return Ok(hello);
        }
        hello.sent_to = inet::read(&mut reader)?;
        if reader.is_empty() {
            return Ok(hello);
        }
        let id = reader.u64()?;
        if reader.is_empty() {
            return Ok(hello);
        }
        hello.planet = Some((id, reader.u64()?));
        if !reader.is_empty() {
            hello.tail_at = payload.len().checked_sub(reader.remaining());
            hello.tail = reader.rest();
        }
        Ok(hello)
    }
}

/// Entries of an unmasked tail: world type, id, timestamp of the definition held (0: wanted).
pub fn moons(tail: &[u8]) -> Result<impl Iterator<Item = (u8, u64, u64)>, Malformed> {
    const ENTRY: usize = 17;
    let mut reader = Reader::new(tail);
    // A single byte is no count: 1.14.1 lets it pass.
    let count = if reader.remaining() < 2 {
        0
    } else {
        usize::from(reader.u16()?)
    };
    let entries = reader.bytes(count.checked_mul(ENTRY).ok_or(Malformed::Length)?)?;
    Ok(entries.chunks_exact(ENTRY).filter_map(|entry| {
        let mut reader = Reader::new(entry);
        Some((reader.u8().ok()?, reader.u64().ok()?, reader.u64().ok()?))
    }))
}

/// What a HELLO of ours says.
#[derive(Clone, Copy, Debug)]
pub struct HelloFields {
    /// Protocol version.
    pub protocol: u8,
    /// Software, major.
    pub major: u8,
    /// Software, minor.
    pub minor: u8,
    /// Software, revision.
    pub revision: u16,
    /// Comes back in the OK.
    pub time: u64,
    /// Who we are.
    pub identity: Identity,
    /// Where it goes; `None` by a relay.
    pub sent_to: Option<SocketAddr>,
    /// Planet id and timestamp held.
    pub planet: (u64, u64),
}

/// Writes a HELLO with a plain tail; gives the offset of the tail in all that was written.
pub fn write_hello(
    writer: &mut Writer<'_>,
    fields: &HelloFields,
    moons: impl Iterator<Item = (u64, u64)>,
) -> Result<usize, Malformed> {
    writer.u8(fields.protocol);
    writer.u8(fields.major);
    writer.u8(fields.minor);
    writer.u16(fields.revision);
    writer.u64(fields.time);
    fields.identity.write(writer)?;
    inet::write(writer, fields.sent_to.as_ref());
    writer.u64(fields.planet.0);
    writer.u64(fields.planet.1);
    let tail = writer.len();
    writer.u16(0);
    let mut count = 0u16;
    for (id, timestamp) in moons {
        writer.u8(MOON);
        writer.u64(id);
        writer.u64(timestamp);
        count = count.checked_add(1).ok_or(Malformed::Length)?;
    }
    writer.patch_u16(tail, count);
    writer.end()?;
    Ok(tail)
}

/// OK(HELLO), behind the common part.
#[derive(Clone, Copy, Debug)]
pub struct OkHello<'a> {
    /// The HELLO's time.
    pub time: u64,
    /// Protocol version.
    pub protocol: u8,
    /// Software, major.
    pub major: u8,
    /// Software, minor.
    pub minor: u8,
    /// Software, revision.
    pub revision: u16,
    /// Where the HELLO came from.
    pub seen_as: Option<SocketAddr>,
    /// World definitions back to back.
    pub worlds: &'a [u8],
}

impl<'a> OkHello<'a> {
    /// Reads it; what is behind the revision may be missing.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let mut ok = Self {
            time: reader.u64()?,
            protocol: reader.u8()?,
            major: reader.u8()?,
            minor: reader.u8()?,
            revision: reader.u16()?,
            seen_as: None,
            worlds: &[],
        };
        if reader.is_empty() {
            return Ok(ok);
        }
        ok.seen_as = inet::read(&mut reader)?;
        if reader.remaining() >= 2 {
            let len = reader.u16()?;
            ok.worlds = reader.bytes(usize::from(len))?;
        }
        Ok(ok)
    }
}

/// Writes OK(HELLO) behind the common part. `version`: protocol, major, minor, revision.
pub fn write_ok_hello<'a>(
    writer: &mut Writer<'_>,
    time: u64,
    version: (u8, u8, u8, u16),
    seen_as: Option<&SocketAddr>,
    worlds: impl Iterator<Item = &'a [u8]>,
) -> Result<(), Malformed> {
    writer.u64(time);
    writer.u8(version.0);
    writer.u8(version.1);
    writer.u8(version.2);
    writer.u16(version.3);
    inet::write(writer, seen_as);
    let at = writer.len();
    writer.u16(0);
    for world in worlds {
        writer.bytes(world);
    }
    let len = writer.len().saturating_sub(at).saturating_sub(2);
    writer.patch_u16(at, u16::try_from(len).map_err(|_| Malformed::Length)?);
    writer.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_that_runs_out_of_entries_drops_the_hello() {
        // wire 9.2: one entry announced
        let mut tail = [0u8; 2 + 17 + 3];
        tail[..3].copy_from_slice(&[0, 1, MOON]);
        assert!(moons(&tail[..18]).is_err());
        assert!(moons(&tail[..19]).unwrap().eq([(MOON, 0, 0)]));
        // More behind the entries is left alone; a byte alone is no count.
        assert_eq!(moons(&tail).unwrap().count(), 1);
        assert_eq!(moons(&tail[..1]).unwrap().count(), 0);
    }
}
