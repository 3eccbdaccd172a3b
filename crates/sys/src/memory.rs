//! Memory that was used and is free again, given back to the kernel.

/// Gives whole pages that nothing is kept in back to the kernel, of all of the process's heaps. The allocator of glibc does
/// so by itself only at the end of its first heap, which is never where the free pages are: without this a process keeps for
/// ever what it needed once. It takes about a millisecond for each 10 MiB that are given back. Elsewhere it does nothing.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "no safe crate has it")]
        // SAFETY: malloc_trim(3) has no conditions: it is safe to be called by any thread at any time, and touches free
        // memory only.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
