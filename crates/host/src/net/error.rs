//! What goes wrong while the host's network is read.

use std::path::PathBuf;

/// Why the host's network could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The netlink socket could not be opened, or was closed by the kernel.
    #[error("netlink socket ({action}): {source}; the host's interfaces can not be listed without it")]
    Socket {
        /// What was being done with the socket.
        action: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The kernel refused a request, or its answer stopped half-way.
    #[error("netlink: listing {what} failed: {reason}")]
    Dump {
        /// What was asked for: `links` or `addresses`.
        what: &'static str,
        /// What the kernel answered.
        reason: String,
    },
    /// Links came and went faster than they could be listed.
    #[error(
        "the list of interfaces kept changing while it was read ({attempts} attempts; last: {last}); try again once the network is quiet"
    )]
    Unsettled {
        /// How often the list was read.
        attempts: u32,
        /// What did not fit together in the last attempt.
        last: String,
    },
    /// A file under /proc could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A file under /proc held something other than ports.
    #[error("{}: expected {expected}, found {found:?}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What should have been there.
        expected: &'static str,
        /// What was there.
        found: String,
    },
}
