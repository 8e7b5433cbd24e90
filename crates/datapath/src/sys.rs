//! The few system calls that aya does not wrap: a link's interface, a map's values in one call, pins, resource
//! limits, signals and capabilities. Raw numbers and pointers stay in this file.

use std::{
    ffi::CString,
    fs,
    io::{Error, Result},
    marker::PhantomData,
    mem::{MaybeUninit, size_of},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Commands of bpf(2), include/uapi/linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
/// Programs of a row (`BPF_MPROG_MAX`).
const TCX_ROW_MAX: usize = 64;
/// Linux 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
/// Linux 5.7; for XDP 5.9.
const BPF_LINK_CREATE: libc::c_long = 28;
/// Linux 5.9.
const BPF_LINK_DETACH: libc::c_long = 34;

/// Capability numbers, include/uapi/linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

pub(super) fn bpf<T>(command: libc::c_long, attributes: &mut T) -> Result<libc::c_long> {
    // SAFETY: every caller passes a repr(C) prefix of union bpf_attr of exactly the size given, with pointers into live memory.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// Signals to this thread wait until this is dropped, on the same thread.
#[must_use = "dropping it lets signals come again"]
pub(super) struct SignalsHeld {
    before: libc::sigset_t,
    /// A thread's own.
    _thread: PhantomData<*const ()>,
}

impl SignalsHeld {
    pub(super) fn new() -> Self {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both are valid for writing. Neither call can fail with these arguments, so both sets are written.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Self { before, _thread: PhantomData }
    }
}

impl Drop for SignalsHeld {
    fn drop(&mut self) {
        // SAFETY: the set is this thread's own of before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Opens a pinned object.
pub(super) fn open_pin(path: &Path) -> Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let fd = bpf(BPF_OBJ_GET, &mut Attributes { path: path.as_ptr() as u64, fd: 0, flags: 0 })?;
    // SAFETY: BPF_OBJ_GET returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Pins an object that this process holds.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Attributes { path: path.as_ptr() as u64, fd: object.as_raw_fd().cast_unsigned(), flags: 0 };
    bpf(BPF_OBJ_PIN, &mut attributes).map(drop)
}

/// What the kernel says of an XDP or tcx link (`struct bpf_link_info`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) program_id: u32,
    padding: u32,
    /// Interface index; 0 once the interface is gone.
    pub(super) if_index: u32,
    tail: [u32; 7],
}

/// `BPF_LINK_TYPE_TCX`; its interface stands where that of an XDP link does.
pub(super) const LINK_TYPE_TCX: u32 = 11;
/// `BPF_LINK_TYPE_XDP`
pub(super) const LINK_TYPE_XDP: u32 = 6;

pub(super) fn link_info(link: BorrowedFd<'_>) -> Result<LinkInfo> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = LinkInfo::default();
    bpf(
        BPF_OBJ_GET_INFO_BY_FD,
        &mut Attributes {
            fd: link.as_raw_fd().cast_unsigned(),
            info_len: size_of::<LinkInfo>() as u32,
            info: std::ptr::from_mut(&mut info) as u64,
        },
    )?;
    Ok(info)
}

/// A program in an interface's row of tcx programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) program_id: u32,
    /// 0: it is attached without a link.
    pub(super) link_id: u32,
}

/// The row of tcx programs of an interface of this network namespace, in the order in which they run. `attach_type`: one of `enum bpf_attach_type`.
pub(super) fn tcx_row(if_index: u32, attach_type: u32) -> Result<Vec<Running>> {
    #[repr(C)]
    struct Attributes {
        if_index: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        program_ids: u64,
        count: u32,
        padding: u32,
        program_flags: u64,
        link_ids: u64,
        link_flags: u64,
        revision: u64,
    }
    let (mut programs, mut links) = ([0_u32; TCX_ROW_MAX], [0_u32; TCX_ROW_MAX]);
    let mut attributes = Attributes {
        if_index,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        program_ids: programs.as_mut_ptr() as u64,
        count: TCX_ROW_MAX as u32,
        padding: 0,
        program_flags: 0,
        link_ids: links.as_mut_ptr() as u64,
        link_flags: 0,
        revision: 0,
    };
    bpf(BPF_PROG_QUERY, &mut attributes)?;
    let row = programs.into_iter().zip(links).take(attributes.count as usize);
    Ok(row.map(|(program_id, link_id)| Running { program_id, link_id }).collect())
}

/// Detaches a link at once. Merely dropping the last reference lets the kernel detach it some time later.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
    }
    bpf(BPF_LINK_DETACH, &mut Attributes { fd: link.as_raw_fd().cast_unsigned() }).map(drop)
}

/// Whether the kernel has links for XDP. Asks for one without a program, which is refused in any case: as a bad descriptor where the
/// kernel knows the attach type, else as an invalid argument.
pub(super) fn xdp_links() -> Result<bool> {
    #[repr(C)]
    struct Attributes {
        program: i32,
        if_index: u32,
        attach_type: u32,
        flags: u32,
    }
    /// `enum bpf_attach_type`
    const BPF_XDP: u32 = 37;
    match bpf(BPF_LINK_CREATE, &mut Attributes { program: -1, if_index: 0, attach_type: BPF_XDP, flags: 0 }) {
        Ok(_) => Err(Error::other("the kernel made a link without a program")),
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads the value of a key. `value` must be as long as the map's values are, of a per-CPU map times the number of CPUs (the caller checked the map's sizes).
pub(super) fn lookup<T: zerocopy::FromBytes>(map: BorrowedFd<'_>, key: u32, value: &mut [T]) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut attributes = Attributes {
        fd: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes).map(drop)
}

/// The values of a plain array map of `entries` values, in the order of their keys, in one call.
pub(super) fn array_values<T: zerocopy::FromBytes>(map: BorrowedFd<'_>, entries: usize) -> Result<Vec<T>> {
    #[repr(C)]
    struct Attributes {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        fd: u32,
        element_flags: u64,
        flags: u64,
    }
    let mut values = T::new_vec_zeroed(entries).map_err(|_| Error::from(std::io::ErrorKind::OutOfMemory))?;
    let mut keys = vec![0_u32; entries];
    let mut next = 0_u32;
    let mut attributes = Attributes {
        in_batch: 0,
        out_batch: std::ptr::from_mut(&mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(entries).map_err(Error::other)?,
        fd: map.as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    match bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) {
        // ENOENT: that was all.
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
        _ => {}
    }
    if attributes.count as usize != entries {
        return Err(Error::other(format!("{} of {entries} values", attributes.count)));
    }
    Ok(values)
}

/// Kernels before 5.11 charge maps to the memory-lock limit.
pub(super) fn lift_memlock_limit() {
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    // Not fatal: from 5.11 on it does not matter, and before it the map creation says EPERM.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
}

/// What this process may not do, of what the data path needs. Empty: all is there.
pub fn missing_capabilities() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let has = |n: u32| effective >> n & 1 == 1;
    // CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON (5.8), and mounts bpffs.
    [(CAP_NET_ADMIN, "CAP_NET_ADMIN"), (CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(n, _)| !has(*n) && (*n == CAP_NET_ADMIN || !has(CAP_SYS_ADMIN)))
        .map(|(_, name)| name)
        .collect()
}

/// The descriptor of a map handle.
pub(super) fn fd_of(map: &aya::maps::MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}
