//! Bounds and endianness in one place: a reader that never looks past its part, a writer that
//! never writes past its room. All numbers are big-endian.

use super::Malformed;
use crate::base::{Address, Mac, NetworkId};

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Bytes not yet read.
    pub const fn remaining(&self) -> usize {
        self.left.len()
    }

    /// Nothing left.
    pub const fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.left
    }

    /// The next `n` bytes.
    #[inline(never)]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, left) = self.left.split_at_checked(n).ok_or(Malformed::Truncated)?;
        self.left = left;
        Ok(head)
    }

    /// The next `N` bytes, where they lie.
    pub fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (head, left) = self.left.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.left = left;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.chunk().copied()
    }

    /// A reader of the next `n` bytes, so that a length field cannot reach past its part.
    pub fn sub(&mut self, n: usize) -> Result<Self, Malformed> {
        self.bytes(n).map(Self::new)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A node address that is not reserved.
    pub fn address(&mut self) -> Result<Address, Malformed> {
        Address::from_bytes(self.array()?).ok_or(Malformed::Value)
    }

    /// A network id that is not 0.
    pub fn network_id(&mut self) -> Result<NetworkId, Malformed> {
        NetworkId::new(self.u64()?).ok_or(Malformed::Value)
    }

    /// An Ethernet address.
    pub fn mac(&mut self) -> Result<Mac, Malformed> {
        self.array().map(Mac::new)
    }
}

/// Writes to the front of a slice. What there is no room for is left out, and so is all behind
/// it: [`Writer::end`] tells, once for a whole message.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
    /// Something was left out.
    cut: bool,
}

impl<'a> Writer<'a> {
    /// A writer into `buffer`.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            cut: false,
        }
    }

    /// Bytes written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Nothing written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// What was written, for longer than the writer lives.
    pub fn into_written(self) -> &'a [u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// There was room for all of it.
    pub const fn end(&self) -> Result<(), Malformed> {
        if self.cut {
            Err(Malformed::Truncated)
        } else {
            Ok(())
        }
    }

    /// All that was written, to be sent, if there was room for it.
    pub fn finish(self) -> Result<&'a mut [u8], Malformed> {
        self.end()?;
        self.buffer.get_mut(..self.len).ok_or(Malformed::Truncated)
    }

    /// There is room for `n` bytes more.
    pub const fn has_room(&self, n: usize) -> bool {
        !self.cut && self.buffer.len().saturating_sub(self.len) >= n
    }

    /// Bytes as they are. All others come here: not where they are written, or the check for room
    /// would be there once for each field.
    #[inline(never)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let room = self.buffer.get_mut(self.len..).unwrap_or_default();
        match room.get_mut(..bytes.len()) {
            Some(room) if !self.cut => {
                room.copy_from_slice(bytes);
                self.len = self.len.saturating_add(bytes.len());
            }
            _ => self.cut = true,
        }
    }

    /// One byte.
    pub fn u8(&mut self, n: u8) {
        self.bytes(&[n]);
    }

    /// Two bytes.
    pub fn u16(&mut self, n: u16) {
        self.bytes(&n.to_be_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, n: u32) {
        self.bytes(&n.to_be_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, n: u64) {
        self.bytes(&n.to_be_bytes());
    }

    /// A node address.
    pub fn address(&mut self, a: Address) {
        self.bytes(&a.to_bytes());
    }

    /// A network id.
    pub fn network_id(&mut self, n: NetworkId) {
        self.bytes(&n.to_bytes());
    }

    /// An Ethernet address.
    pub fn mac(&mut self, m: Mac) {
        self.bytes(&m.to_bytes());
    }

    /// Overwrites two bytes written before, at offset `at`.
    pub fn patch_u16(&mut self, at: usize, n: u16) {
        let written = self.buffer.get_mut(..self.len).unwrap_or_default();
        match written.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            Some(room) => *room = n.to_be_bytes(),
            None => self.cut = true,
        }
    }
}
