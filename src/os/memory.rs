//! What the allocator is told.

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
