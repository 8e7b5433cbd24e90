//! Memory that the kernel's programs write while userspace reads it: every word an atomic. And the wait until no program runs any more that read an
//! old word. Raw pointers and bpf(2) attributes stay in here and in `sys`; what the words mean is not known here.

use std::{
    io::{Error, Result},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Acquire},
};

use super::sys::bpf;

/// A writable view of a part of an mmapable map.
#[derive(Debug)]
pub(super) struct Words {
    at: NonNull<u8>,
    /// Bytes that are mapped, of these the ones before the first word, and the number of words.
    mapped: usize,
    skipped: usize,
    length: usize,
}

// SAFETY: plain shared memory that lives until this is dropped; it is only ever read and written as atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps the first `words` words of `map`, which must hold that many (the caller checked the map's sizes).
    pub(super) fn new(map: BorrowedFd<'_>, words: usize) -> Result<Self> {
        Self::part(map, 0, words)
    }

    /// The same from byte `begin` on, a multiple of 8.
    pub(super) fn part(map: BorrowedFd<'_>, begin: usize, words: usize) -> Result<Self> {
        Self::map(map, begin, words, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn map(map: BorrowedFd<'_>, begin: usize, words: usize, protection: libc::c_int) -> Result<Self> {
        // A mapping begins with a page.
        let skipped = begin % rustix::param::page_size();
        let mapped = skipped + words * 8;
        let first = libc::off_t::try_from(begin - skipped).map_err(Error::other)?;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a fresh shared mapping; the kernel chooses the address.
        let at = unsafe { libc::mmap(nowhere, mapped, protection, libc::MAP_SHARED, map.as_raw_fd(), first) };
        if at == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or_else(|| Error::other("mmap returned null"))?;
        Ok(Self { at, mapped, skipped, length: words })
    }

    pub(super) fn all(&self) -> &[AtomicU64] {
        // SAFETY: mapped for that many words behind what is skipped, a multiple of 8; the kernel writes whole aligned words.
        unsafe { std::slice::from_raw_parts(self.at.add(self.skipped).as_ptr().cast(), self.length) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: the same address and length that mmap gave.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.mapped) };
    }
}

/// A view of an mmapable map that cannot be written through.
#[derive(Debug)]
pub(super) struct ReadOnly(Words);

impl ReadOnly {
    /// Maps `words` words of `map` from byte `begin` on, as [`Words::part`] does.
    pub(super) fn part(map: BorrowedFd<'_>, begin: usize, words: usize) -> Result<Self> {
        Words::map(map, begin, words, libc::PROT_READ).map(Self)
    }

    /// The words, each as it is when it is asked for.
    pub(super) fn load(&self) -> impl Iterator<Item = u64> {
        self.0.all().iter().map(|word| word.load(Acquire))
    }
}

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// A way to wait for the programs that run at this moment: the kernel does so whenever a map of maps changes (`maybe_wait_bpf_programs`, since
/// Linux 4.12 for each update). This one is nobody's else.
#[derive(Debug)]
pub(super) struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Grace {
    pub(super) fn new() -> Result<Self> {
        let inner = create(&Attributes::of(MAP_TYPE_ARRAY, 4, 1))?;
        let outer = Attributes { inner: inner.as_raw_fd(), ..Attributes::of(MAP_TYPE_ARRAY_OF_MAPS, 4, 1) };
        let outer = create(&outer)?;
        Ok(Self { outer, inner })
    }

    /// Returns when no program runs any more that ran at the call.
    pub(super) fn wait(&self) -> Result<()> {
        #[repr(C)]
        struct Attributes {
            fd: u32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let (key, value) = (0_u32, self.inner.as_raw_fd());
        let mut attributes = Attributes {
            fd: self.outer.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: std::ptr::from_ref(&value) as u64,
            flags: 0,
        };
        bpf(BPF_MAP_UPDATE_ELEM, &mut attributes).map(drop)
    }
}

/// A new array.
pub(super) fn new_array(name: &str, value_bytes: u32, entries: u32, flags: u32) -> Result<OwnedFd> {
    let mut attributes = Attributes { flags, ..Attributes::of(MAP_TYPE_ARRAY, value_bytes, entries) };
    // The kernel's names have 15 bytes and a zero.
    attributes.name.iter_mut().zip(name.bytes().take(15)).for_each(|(to, from)| *to = from);
    create(&attributes)
}

/// What `BPF_MAP_CREATE` takes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attributes {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
    flags: u32,
    inner: i32,
    numa_node: u32,
    name: [u8; 16],
}

impl Attributes {
    const fn of(kind: u32, value_bytes: u32, max_entries: u32) -> Self {
        Self { kind, key_bytes: 4, value_bytes, max_entries, flags: 0, inner: 0, numa_node: 0, name: [0; 16] }
    }
}

fn create(attributes: &Attributes) -> Result<OwnedFd> {
    let fd = bpf(BPF_MAP_CREATE, &mut { *attributes })?;
    // SAFETY: BPF_MAP_CREATE returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
