//! Worlds: planets and moons (wire 11).

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::Malformed;
use super::cursor::{Reader, Writer};
use super::identity::Identity;
use super::inet;

/// The public planet of 1.8.5 to 1.14.1, id 149604618.
pub const DEFAULT_PLANET: &[u8] = include_bytes!("planet.bin");

/// Most roots of a world.
pub const ROOTS_MAX: usize = 4;
/// Most stable endpoints of a root.
pub const ENDPOINTS_MAX: usize = 32;
/// Longest definition that is kept: all roots with all endpoints, no moon trailer.
pub const WORLD_MAX_LEN: usize =
    HEAD_LEN + 1 + ROOTS_MAX * (Identity::LEN + 1 + ENDPOINTS_MAX * inet::WIRE_MAX) + 2;
/// Room for [`World::signed_message`].
pub const SIGNED_MAX_LEN: usize = WORLD_MAX_LEN + 2 * MARK.len();

const HEAD_LEN: usize = 1 + 8 + 8 + 64 + 96;
const MARK: [u8; 8] = [0x7f; 8];
const END_MARK: [u8; 8] = [0xf7; 8];

/// Planet or moon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum WorldKind {
    /// The one planet.
    Planet = 1,
    /// Additional roots.
    Moon = 127,
}

/// A definition, checked whole when it was parsed.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Planet or moon.
    pub kind: WorldKind,
    /// Its id.
    pub id: u64,
    /// Revision, ms since 1970.
    pub timestamp: u64,
    /// Must sign the next revision; two halves as in an identity.
    pub update_key: &'a [u8; 64],
    /// Of this revision.
    pub signature: &'a [u8; 96],
    root_count: u8,
    roots: &'a [u8],
    bytes: &'a [u8],
}

/// A root of a world.
#[derive(Clone, Copy, Debug)]
pub struct RootView<'a> {
    /// Who it is.
    pub identity: Identity,
    endpoint_count: u8,
    endpoints: &'a [u8],
}

impl<'a> RootView<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let identity = Identity::read(reader)?;
        let endpoint_count = reader.u8()?;
        if usize::from(endpoint_count) > ENDPOINTS_MAX {
            return Err(Malformed::Length);
        }
        let start = reader.rest();
        for _ in 0..endpoint_count {
            inet::read(reader)?;
        }
        let used = start.len().saturating_sub(reader.remaining());
        let endpoints = start.get(..used).ok_or(Malformed::Truncated)?;
        Ok(Self {
            identity,
            endpoint_count,
            endpoints,
        })
    }

    /// Where it can always be found.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let mut reader = Reader::new(self.endpoints);
        (0..self.endpoint_count).filter_map(move |_| inet::read(&mut reader).ok().flatten())
    }
}

impl<'a> World<'a> {
    /// Reads one definition; gives it and its length.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader::new(bytes);
        let kind = match reader.u8()? {
            1 => WorldKind::Planet,
            127 => WorldKind::Moon,
            _ => return Err(Malformed::Unsupported),
        };
        let (id, timestamp) = (reader.u64()?, reader.u64()?);
        let (update_key, signature) = (reader.chunk()?, reader.chunk()?);
        let root_count = reader.u8()?;
        if usize::from(root_count) > ROOTS_MAX {
            return Err(Malformed::Length);
        }
        let start = reader.rest();
        for _ in 0..root_count {
            RootView::read(&mut reader)?;
        }
        let used = start.len().saturating_sub(reader.remaining());
        let roots = start.get(..used).ok_or(Malformed::Truncated)?;
        if kind == WorldKind::Moon {
            let reserved = reader.u16()?;
            reader.bytes(usize::from(reserved))?;
        }
        let used = bytes.len().saturating_sub(reader.remaining());
        let bytes = bytes.get(..used).ok_or(Malformed::Truncated)?;
        let world = Self {
            kind,
            id,
            timestamp,
            update_key,
            signature,
            root_count,
            roots,
            bytes,
        };
        Ok((world, used))
    }

    /// The roots.
    pub fn roots(&self) -> impl Iterator<Item = RootView<'a>> + use<'a> {
        let mut reader = Reader::new(self.roots);
        (0..self.root_count).filter_map(move |_| RootView::read(&mut reader).ok())
    }

    /// The definition as it was read.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the signature is made over; its length in `buffer` ([`SIGNED_MAX_LEN`] serves all).
    pub fn signed_message(&self, buffer: &mut [u8]) -> Result<usize, Malformed> {
        let mut writer = Writer::new(buffer);
        writer.bytes(&MARK);
        self.write_part(&mut writer, None);
        writer.bytes(&END_MARK);
        writer.end()?;
        Ok(writer.len())
    }

    fn write_part(&self, writer: &mut Writer<'_>, signature: Option<&[u8; 96]>) {
        writer.u8(self.kind as u8);
        writer.u64(self.id);
        writer.u64(self.timestamp);
        writer.bytes(self.update_key);
        if let Some(signature) = signature {
            writer.bytes(signature);
        }
        writer.u8(self.root_count);
        writer.bytes(self.roots);
        if self.kind == WorldKind::Moon {
            writer.u16(0);
        }
    }
}

/// Writes a definition, to be signed: make it with a zero signature, sign
/// [`World::signed_message`] of it, and make it again.
pub fn write(
    writer: &mut Writer<'_>,
    kind: WorldKind,
    id: u64,
    timestamp: u64,
    update_key: &[u8; 64],
    signature: &[u8; 96],
    roots: &[(Identity, &[SocketAddr])],
) -> Result<(), Malformed> {
    if roots.len() > ROOTS_MAX {
        return Err(Malformed::Length);
    }
    writer.u8(kind as u8);
    writer.u64(id);
    writer.u64(timestamp);
    writer.bytes(update_key);
    writer.bytes(signature);
    writer.u8(u8::try_from(roots.len()).map_err(|_| Malformed::Length)?);
    for (identity, endpoints) in roots {
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(Malformed::Length);
        }
        identity.write(writer)?;
        writer.u8(u8::try_from(endpoints.len()).map_err(|_| Malformed::Length)?);
        for endpoint in *endpoints {
            inet::write(writer, Some(endpoint));
        }
    }
    if kind == WorldKind::Moon {
        writer.u16(0);
    }
    writer.end()
}

/// A definition of one's own: as long as it is, at most [`WORLD_MAX_LEN`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldBuf {
    bytes: Box<[u8]>,
}

impl WorldBuf {
    /// Copies the definition at the front of `bytes`.
    pub fn new(bytes: &[u8]) -> Result<Self, Malformed> {
        let (_, used) = World::parse(bytes)?;
        if used > WORLD_MAX_LEN {
            return Err(Malformed::Length);
        }
        Ok(Self {
            bytes: bytes.get(..used).ok_or(Malformed::Truncated)?.into(),
        })
    }

    /// Its fields.
    pub fn view(&self) -> World<'_> {
        match World::parse(&self.bytes) {
            Ok((world, _)) => world,
            // It was parsed when it was made and has not changed since.
            Err(_) => World {
                kind: WorldKind::Planet,
                id: 0,
                timestamp: 0,
                update_key: &[0; 64],
                signature: &[0; 96],
                root_count: 0,
                roots: &[],
                bytes: &[],
            },
        }
    }

    /// As stored and sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
