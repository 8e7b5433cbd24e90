//! What can go wrong between userspace and the kernel, each with what to do next.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::owner::{Owner, owner};

/// An error of the data path. Whatever it is, the state before the call still stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatapathError {
    /// Not enough privilege.
    #[error("the data path needs {}; run as root, or give these capabilities to the process", .missing.join(", "))]
    Privilege {
        /// Names of the capabilities.
        missing: Vec<&'static str>,
    },
    /// The pin directory can not be trusted or made.
    #[error("{path}: {problem}; {help}")]
    PinDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// Others can put another in the pin directory's place.
    #[error(transparent)]
    Way(#[from] nodewall_files::Refusal),
    /// What is pinned there dies with the process.
    #[error(
        "{path}: this process has a mount namespace of its own (`ip netns exec`, `unshare -m`), and not the host's bpf file system: what it \
         pinned there would go when it ends, and what the host has pinned it can not see; \
         run it in the host's mounts, for a network namespace by `nsenter --net=/run/netns/NAME nodewall …`"
    )]
    OwnMounts {
        /// The pin directory.
        path: PathBuf,
    },
    /// What is mounted there dies with the container.
    #[error(
        "{path}: this is a container (a process namespace of its own) without a bpf file system: what nodewall pinned on one of its own would go with \
         the container, and what the host has pinned it can not see; give it the host's (`-v /sys/fs/bpf:/sys/fs/bpf`), or run nodewall on the host; \
         where the network ends with the container, have the container mount one before: `mount -t bpf bpf /sys/fs/bpf`"
    )]
    Contained {
        /// Where there is none.
        path: PathBuf,
    },
    /// A pinned map is not what this build expects.
    #[error(
        "{path}: this map has {found} where this build of nodewall expects {expected}; \
         something else made it: `nodewall detach` takes it away, and opens the node"
    )]
    ForeignMap {
        /// The pin.
        path: PathBuf,
        /// What was found.
        found: String,
        /// What this build wants.
        expected: String,
    },
    /// The live data path has another layout.
    #[error(
        "the live data path has ABI version {found}, this build has {expected}; starting this build's agent (`systemctl restart nodewall`) takes it over without a \
         gap, or `nodewall apply` where no agent runs"
    )]
    Abi {
        /// Version of the live image.
        found: u32,
        /// This build's.
        expected: u32,
    },
    /// The live data path has a layout that can not be read.
    #[error(
        "the live data path has ABI version {found}, which this build ({expected}) does not know: what is enforced stays; use the nodewall that made it, and \
         upgrade by a version that knows both"
    )]
    UnknownLayout {
        /// Version of the live data path.
        found: u32,
        /// This build's.
        expected: u32,
    },
    /// Another program filters this interface.
    #[error(
        "{interface}: another XDP program is attached (program id {program_id}{named}); remove it first, nodewall does not share an interface (`bpftool prog show id {program_id}` tells whose it is)"
    )]
    Occupied {
        /// Interface.
        interface: String,
        /// Id of the other program.
        program_id: u32,
        /// `, NAME` of the other program, where it is known.
        named: String,
    },
    /// A program of nodewall's is there, and this pin directory knows nothing of it.
    #[error(
        "{interface}: a program of nodewall runs there (program id {program_id}) whose pins are not here; they are hidden by a mount or in another directory (`findmnt -t bpf`): unmount what hides them, or name their directory by --bpffs"
    )]
    Unpinned {
        /// Interface.
        interface: String,
        /// Id of the program.
        program_id: u32,
    },
    /// The driver can not run XDP natively.
    #[error("{interface}: the driver refused a native XDP program ({source}); {help}")]
    NativeRefused {
        /// Interface.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
        /// What to try.
        help: &'static str,
    },
    /// Attaching failed.
    #[error("{interface}: can not attach: {source}")]
    Attach {
        /// Interface.
        interface: String,
        /// The kernel's answer.
        source: Box<ProgramError>,
    },
    /// The kernel has no XDP links, so that enforcement could not outlive the agent.
    #[error(
        "{interface}: this kernel can not pin an XDP attachment (bpf links for XDP came with Linux 5.9; nodewall needs 5.10)"
    )]
    NoLinks {
        /// Interface.
        interface: String,
    },
    /// The verifier or the kernel refused the program.
    #[error("the kernel refused the program {program}: {source}")]
    Load {
        /// Which entry.
        program: &'static str,
        /// The kernel's answer, with the end of the verifier's log.
        source: Box<ProgramError>,
    },
    /// The object could not be loaded.
    #[error("can not create the kernel objects: {0}")]
    Object(#[from] Box<EbpfError>),
    /// A map operation failed.
    #[error("map {map}: {source}")]
    Map {
        /// Name of the map.
        map: String,
        /// The kernel's answer.
        source: Box<MapError>,
    },
    /// Something that must be there is not.
    #[error("{0} is missing; the data path is damaged: run `nodewall detach`, then `nodewall apply`")]
    Missing(String),
    /// No policy was ever put into force.
    #[error("no policy is in force")]
    NoPolicy,
    /// An operating system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl DatapathError {
    /// The interface carries a program that no link here stands for.
    pub fn occupied(interface: &str, program_id: u32) -> Self {
        let interface = interface.to_owned();
        match owner(program_id) {
            Some(Owner::Nodewall) => Self::Unpinned { interface, program_id },
            Some(Owner::Other(name)) if !name.is_empty() => {
                Self::Occupied { interface, program_id, named: format!(", {name}") }
            }
            Some(Owner::Other(_)) | None => Self::Occupied { interface, program_id, named: String::new() },
        }
    }

    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(super) fn map(map: impl Into<String>) -> impl FnOnce(MapError) -> Self {
        let map = map.into();
        move |source| Self::Map { map, source: Box::new(source) }
    }

    /// Whether something that should be there is not.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Map { source, .. } => match &**source {
                MapError::SyscallError(call) => call.io_error.kind() == io::ErrorKind::NotFound,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether maps of another layout are in force, which a start takes over.
    pub const fn is_other_layout(&self) -> bool {
        matches!(self, Self::Abi { .. })
    }

    /// Whether the cause is a missing privilege.
    pub fn is_privilege(&self) -> bool {
        match self {
            Self::Privilege { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Way(refusal) => refusal.is_denied(),
            _ => false,
        }
    }
}

/// The operating system's error number inside a program error.
pub(super) fn os_error(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(call) => call.io_error.raw_os_error(),
        ProgramError::LoadError { io_error, .. } => io_error.raw_os_error(),
        _ => None,
    }
}
