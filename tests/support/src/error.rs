//! The one error type of the testbed. It says what was tried, on what, and what the system answered.

use std::io;
use std::time::Duration;

/// What went wrong in the testbed itself. What a probe met on the network is no error but an [`crate::Outcome`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call or file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A required tool is not installed.
    #[error(
        "`{0}` was found neither in PATH nor in /usr/sbin, /sbin or /usr/bin; install it (`cargo xtask setup` does; Debian: iproute2, nftables, bpftool, iputils-ping, strace)"
    )]
    MissingTool(&'static str),
    /// A tool ended with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line, with the script it was fed.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it said, trimmed.
        stderr: String,
    },
    /// The lab's links did not come up.
    #[error("the lab's links were not up within {waited:?}: {missing}")]
    LinksDown {
        /// How long was waited.
        waited: Duration,
        /// Which ones are missing.
        missing: String,
    },
    /// A lab that can not be built as it was described.
    #[error("this lab can not be built: {0}")]
    BadLab(String),
    /// A child process did not do what was waited for.
    #[error("{name} {what}; what it printed:\n{output}")]
    Process {
        /// The process's label.
        name: String,
        /// What happened instead.
        what: String,
        /// Its output so far, both streams.
        output: String,
    },
}

impl Error {
    /// Makes the adapter that says what was tried: `.map_err(Error::io("binding port 443"))`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The testbed's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
