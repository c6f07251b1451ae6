//! Receiving.

use core::net::SocketAddr;
use std::os::fd::RawFd;

use super::super::cmsg::ControlBuffer;
use super::super::memory::Pages;
use super::{Counts, Error, Message, empty_message, empty_vector, sockaddr};

/// Bytes of one slot: the longest message, of one datagram or of joined ones.
const SLOT_BYTES: usize = 65_536;

/// Receive slots, taken once. Pages that no datagram touched are not resident.
pub struct RecvBatch {
    slots: Pages,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[ControlBuffer]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[Message]>,
    /// Messages received.
    count: usize,
    /// The system has no call for several messages.
    one_by_one: bool,
    counts: Counts,
}

impl RecvBatch {
    /// Room for so many messages.
    pub fn new(messages: usize) -> Self {
        Self {
            slots: Pages::new(messages.saturating_mul(SLOT_BYTES)),
            names: vec![sockaddr::empty(); messages].into_boxed_slice(),
            controls: vec![ControlBuffer::new(); messages].into_boxed_slice(),
            vectors: vec![empty_vector(); messages].into_boxed_slice(),
            headers: (0..messages).map(|_| empty_message()).collect(),
            count: 0,
            one_by_one: cfg!(not(target_os = "linux")),
            counts: Counts::default(),
        }
    }

    /// Makes one call per message, as on a kernel without `recvmmsg`.
    pub fn set_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// What came since the beginning.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn receive(&mut self, fd: RawFd) -> Result<usize, Error> {
        self.rearm();
        self.count = self.fill(fd)?;
        let received = self.headers.iter().zip(&self.controls).take(self.count);
        let datagrams = received.map(|(header, control)| {
            let (len, size) = cut_of(header, control);
            len.div_ceil(size)
        });
        self.counts.messages += self.count as u64;
        self.counts.datagrams += datagrams.sum::<usize>() as u64;
        Ok(self.count)
    }

    /// What was received last: sender and datagram, joined ones taken apart; empty
    /// ones are left out.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let messages = self.headers.iter().zip(&self.controls).zip(&self.names);
        let slots = self.slots.chunks_exact_mut(SLOT_BYTES);
        let received = messages.zip(slots).take(self.count);
        received.flat_map(|(((header, control), name), slot)| {
            let (len, size) = cut_of(header, control);
            let from = sockaddr::read(name);
            let pieces = slot.get_mut(..len).unwrap_or_default().chunks_mut(size);
            pieces.filter_map(move |piece| from.map(|from| (from, piece)))
        })
    }

    /// Points the headers at their slots; the kernel has overwritten lengths.
    fn rearm(&mut self) {
        self.count = 0;
        let parts = self
            .slots
            .chunks_exact_mut(SLOT_BYTES)
            .zip(&mut self.names)
            .zip(&mut self.controls)
            .zip(&mut self.vectors);
        for (message, (((slot, name), control), vector)) in self.headers.iter_mut().zip(parts) {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot.len();
            let (control, control_len) = control.room();
            let header = &mut message.msg_hdr;
            header.msg_name = core::ptr::from_mut(name).cast();
            header.msg_namelen = sockaddr::STORAGE_LEN;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control;
            header.msg_controllen = control_len as _;
            header.msg_flags = 0;
        }
    }

    /// How many messages came; none is no error.
    fn fill(&mut self, fd: RawFd) -> Result<usize, Error> {
        loop {
            let result = if self.one_by_one {
                self.fill_one_by_one(fd)
            } else {
                self.fill_at_once(fd)
            };
            match result {
                Err(error) if error.would_block() => return Ok(0),
                Err(error) if error.errno == libc::EINTR => {}
                Err(error) if error.errno == libc::ENOSYS && !self.one_by_one => {
                    self.one_by_one = true;
                }
                other => return other,
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn fill_at_once(&mut self, fd: RawFd) -> Result<usize, Error> {
        self.counts.calls += 1;
        // SAFETY: the headers point into slots, names, controls and vectors of this batch, which
        // nobody else uses during the call.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                core::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| Error::last(&"recvmmsg"))
    }

    #[cfg(not(target_os = "linux"))]
    fn fill_at_once(&mut self, fd: RawFd) -> Result<usize, Error> {
        self.fill_one_by_one(fd)
    }

    fn fill_one_by_one(&mut self, fd: RawFd) -> Result<usize, Error> {
        for (n, message) in self.headers.iter_mut().enumerate() {
            self.counts.calls += 1;
            // SAFETY: as with all of them at once.
            let len = unsafe { libc::recvmsg(fd, &raw mut message.msg_hdr, libc::MSG_DONTWAIT) };
            match libc::c_uint::try_from(len) {
                Ok(len) => message.msg_len = len,
                Err(_) if n > 0 => return Ok(n),
                Err(_) => return Err(Error::last(&"recvmsg")),
            }
        }
        Ok(self.headers.len())
    }
}

/// Bytes of a message, and the size of the datagrams in it (at least 1).
fn cut_of(message: &Message, control: &ControlBuffer) -> (usize, usize) {
    // What was cut is longer than any datagram we know.
    let whole = message.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
    let len = if whole { message.msg_len as usize } else { 0 };
    let size = joined_size(&message.msg_hdr, control).unwrap_or(len);
    (len, size.max(1))
}

#[cfg(target_os = "linux")]
fn joined_size(header: &libc::msghdr, control: &ControlBuffer) -> Option<usize> {
    let size = control.read_int(header.msg_controllen as _, libc::SOL_UDP, libc::UDP_GRO)?;
    usize::try_from(size).ok()
}

#[cfg(not(target_os = "linux"))]
fn joined_size(_header: &libc::msghdr, _control: &ControlBuffer) -> Option<usize> {
    None
}
