//! Memory that the system gives page by page, and what the allocator is told.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A zeroed buffer on pages of its own. A page is resident from its first use on, whatever
/// allocator the program has: some write zeros over fresh memory, and a buffer for the rare large
/// burst would cost all its bytes from the start.
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

impl Pages {
    /// Of so many bytes. Without memory the program ends, as with any other allocation.
    pub fn new(len: usize) -> Self {
        if len == 0 {
            return Self {
                start: NonNull::dangling(),
                len,
            };
        }
        // SAFETY: a new mapping that no memory of ours overlaps.
        let start = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(mapped) if start != libc::MAP_FAILED => Self { start: mapped, len },
            _ => std::alloc::handle_alloc_error(
                core::alloc::Layout::array::<u8>(len).unwrap_or(core::alloc::Layout::new::<u8>()),
            ),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the mapping was made by `new`, and nobody else has it.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped, zero or written by us, and borrowed with `self`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is the only one.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({})", self.len)
    }
}

/// Large blocks go back to the system when they are freed: the 2 MiB of an identity check would
/// otherwise stay with the process for ever. Other allocators than glibc's do so anyway.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 128 * 1024;
        // SAFETY: no memory of ours is involved; there is one thread.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn pages_are_zero_and_hold_what_is_written() {
        let mut pages = Pages::new(100_000);
        assert!(pages.len() == 100_000 && pages.iter().all(|b| *b == 0));
        pages.fill(7);
        assert!(pages.iter().all(|b| *b == 7));
        assert!(Pages::new(0).is_empty());
    }
}
