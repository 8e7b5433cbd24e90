//! An allocator that remembers the largest single request, so that a target can tell memory that is claimed from memory that is filled.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static LARGEST_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, watched. A target makes it its `#[global_allocator]`.
pub struct Watched;

// SAFETY: every call goes on to `System` unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and the memory came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST_BYTES.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as for `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        LARGEST_BYTES.fetch_max(new_bytes, Ordering::Relaxed);
        // SAFETY: as for `dealloc`, and the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, new_bytes) }
    }
}

/// The largest request, in bytes, that Rust code made while `work` ran, and what `work` gave. Counts for all threads.
pub fn largest_request_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST_BYTES.store(0, Ordering::Relaxed);
    let value = work();
    (value, LARGEST_BYTES.load(Ordering::Relaxed))
}
