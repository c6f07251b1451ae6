//! Control messages beside a datagram: a short buffer, written and read with bounds.
//!
//! The layout (length, level, type, value, padding) is the system's; its sizes come from `libc`.

use core::mem::zeroed;

/// Two values of an `int` fit on every system.
const LEN: usize = 64;

/// The buffer. Aligned for the kernel's own header.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct ControlBuffer([u8; LEN]);

impl ControlBuffer {
    /// Zeros.
    pub(super) const fn new() -> Self {
        Self([0; LEN])
    }

    /// For the kernel to write to.
    pub(super) fn room(&mut self) -> (*mut libc::c_void, usize) {
        (self.0.as_mut_ptr().cast(), LEN)
    }

    /// Writes one message at `at`, which is 0 or what the last call gave; where the next one goes.
    pub(super) fn write(
        &mut self,
        at: usize,
        level: libc::c_int,
        kind: libc::c_int,
        value: &[u8],
    ) -> usize {
        let end = at + space_of(value.len());
        let Some(room) = self.0.get_mut(at..end) else {
            return at;
        };
        room.fill(0);
        // SAFETY: integers only: all bytes zero is a valid value.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        header.cmsg_len = len_of(value.len()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: `room` is longer than a header, and borrowed.
        unsafe {
            room.as_mut_ptr()
                .cast::<libc::cmsghdr>()
                .write_unaligned(header)
        };
        room[len_of(0)..len_of(value.len())].copy_from_slice(value);
        end
    }

    /// The `int` of the message of this level and type, if the kernel wrote one into the first
    /// `len` bytes.
    #[cfg_attr(
        not(target_os = "linux"),
        allow(dead_code, reason = "only Linux tells something on receipt")
    )]
    pub(super) fn read_int(
        &self,
        len: usize,
        level: libc::c_int,
        kind: libc::c_int,
    ) -> Option<libc::c_int> {
        let mut rest = self.0.get(..len.min(LEN))?;
        loop {
            rest.get(..size_of::<libc::cmsghdr>())?;
            // SAFETY: `rest` is longer than a header, whose any bytes are valid.
            let header = unsafe { rest.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
            #[allow(clippy::unnecessary_cast, reason = "it is, on some systems only")]
            let end = header.cmsg_len as usize;
            let value = rest.get(len_of(0)..end)?;
            if (header.cmsg_level, header.cmsg_type) == (level, kind) {
                return value.first_chunk().copied().map(libc::c_int::from_ne_bytes);
            }
            rest = rest.get(space_of(value.len())..)?;
        }
    }
}

/// Header and value.
fn len_of(value: usize) -> usize {
    // SAFETY: arithmetic only.
    unsafe { libc::CMSG_LEN(value as libc::c_uint) as usize }
}

/// Header, value and padding.
fn space_of(value: usize) -> usize {
    // SAFETY: arithmetic only.
    unsafe { libc::CMSG_SPACE(value as libc::c_uint) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_behind_others_and_never_outside() {
        let mut buffer = ControlBuffer::new();
        let first = buffer.write(0, 3, 4, &[9, 0]);
        let end = buffer.write(first, 5, 6, &(-8_i32).to_ne_bytes());
        assert_eq!(buffer.read_int(end, 5, 6), Some(-8));
        assert_eq!(buffer.read_int(end, 3, 4), None, "too short for an int");
        assert_eq!(buffer.read_int(end, 9, 9), None);
        assert_eq!(buffer.read_int(first, 5, 6), None);
        for cut in 0..end {
            let _ = buffer.read_int(cut, 5, 6);
        }
        for (at, value) in (0..end).flat_map(|at| [0, 1, 15, 255].map(|value| (at, value))) {
            let mut bent = buffer;
            bent.0[at] = value;
            let _ = bent.read_int(end, 5, 6);
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut buffer = ControlBuffer::new();
        assert_eq!(buffer.write(0, 1, 1, &[0; LEN]), 0);
    }
}
