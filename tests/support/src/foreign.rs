//! A foreign program: two instructions, loaded and attached without any library, so that nothing of nodewall's is in it. As an XDP program it lets everything pass.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::program::{bpf, read_info};
use crate::raw::index_of;

/// Commands of bpf(2), include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// Attach types.
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
/// `r0 = 2; exit`: `XDP_PASS`, and `TC_ACT_SHOT` for a classifier.
const TWO: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The program, loaded. It is gone when this is dropped, unless a link of somebody else's runs it.
#[derive(Debug)]
pub struct Foreign {
    program: OwnedFd,
    id: u32,
    /// Its own link, if it was attached by one.
    link: Option<OwnedFd>,
}

impl Foreign {
    /// Loads it as an XDP program.
    pub fn load() -> Result<Self> {
        // As everyone else does: a link takes only programs that were loaded alike.
        Self::load_as(BPF_PROG_TYPE_XDP, BPF_XDP)
    }

    /// Loads it as a classifier, which drops everything.
    pub fn load_classifier() -> Result<Self> {
        Self::load_as(BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS)
    }

    fn load_as(kind: u32, attach_type: u32) -> Result<Self> {
        #[repr(C)]
        struct Attributes {
            kind: u32,
            instructions: u32,
            code: u64,
            license: u64,
            log: [u32; 2],
            log_buffer: u64,
            kernel: u32,
            flags: u32,
            name: [u8; 16],
            if_index: u32,
            attach_type: u32,
        }
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            kind: u32,
            id: u32,
        }
        let mut attributes = Attributes {
            kind,
            instructions: TWO.len() as u32,
            code: TWO.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log: [0; 2],
            log_buffer: 0,
            kernel: 0,
            flags: 0,
            name: *b"foreign\0\0\0\0\0\0\0\0\0",
            if_index: 0,
            attach_type,
        };
        let failed = || Error::io("loading a foreign program");
        let program = owned(bpf(BPF_PROG_LOAD, &mut attributes).map_err(failed())?);
        let mut info = Info::default();
        read_info(&program, &mut info).map_err(failed())?;
        Ok(Self { program, id: info.id, link: None })
    }

    /// Loads it and attaches it to an interface, natively, until it is dropped.
    pub fn attach(netns: &NetNs, interface: &str) -> Result<Self> {
        #[repr(C)]
        struct Attributes {
            program: u32,
            if_index: u32,
            kind: u32,
            flags: u32,
        }
        let mut this = Self::load()?;
        let program = this.program.as_raw_fd().cast_unsigned();
        let create = || {
            let if_index = index_of(interface)?;
            bpf(BPF_LINK_CREATE, &mut Attributes { program, if_index, kind: BPF_XDP, flags: 0 })
        };
        let link = netns.run(create)?.map_err(Error::io(format!("attaching a foreign XDP program to {interface}")))?;
        this.link = Some(owned(link));
        Ok(this)
    }

    /// The kernel's number of the program.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Puts it into the link pinned at `pin`, in the place of whatever program is there.
    pub fn take_over(&self, pin: &Path) -> Result<()> {
        #[repr(C)]
        struct Attributes {
            link: u32,
            program: u32,
            flags: u32,
            old_program: u32,
        }
        let link = open_pin(pin)?;
        let mut attributes = Attributes {
            link: link.as_raw_fd().cast_unsigned(),
            program: self.program.as_raw_fd().cast_unsigned(),
            flags: 0,
            old_program: 0,
        };
        bpf(BPF_LINK_UPDATE, &mut attributes)
            .map(drop)
            .map_err(Error::io(format!("putting a foreign program into {}", pin.display())))
    }
}

/// Detaches the link pinned at `pin` and leaves the pin, as `bpftool link detach` does.
pub fn detach_link(pin: &Path) -> Result<()> {
    #[repr(C)]
    struct Attributes {
        link: u32,
    }
    let link = open_pin(pin)?;
    bpf(BPF_LINK_DETACH, &mut Attributes { link: link.as_raw_fd().cast_unsigned() })
        .map(drop)
        .map_err(Error::io(format!("detaching {}", pin.display())))
}

fn open_pin(pin: &Path) -> Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let failed = Error::io(format!("opening {}", pin.display()));
    let open = || {
        let path = CString::new(pin.as_os_str().as_bytes())?;
        bpf(BPF_OBJ_GET, &mut Attributes { path: path.as_ptr() as u64, fd: 0, flags: 0 })
    };
    open().map(owned).map_err(failed)
}

/// A descriptor that bpf(2) has just returned.
fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the call returned a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
