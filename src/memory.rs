//! What the allocator keeps of memory that is free. It must not know what it was used for.

/// Gives free pages back to the system: after something large and rare (a registry was read, a policy compiled), when the allocator would keep them for a
/// thread that seldom needs them.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches free memory of the allocator only, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
