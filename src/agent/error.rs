//! Why a change was refused. Whatever it is, the last good state stands.

use std::{io, path::PathBuf};

use crate::{
    config::ConfigErrors,
    datapath::DatapathError,
    net::{NetError, SelectError},
    policy::{CompileError, PolicyError},
};

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The configuration's meaning.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The policy does not fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The kernel's BPF side.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The host's network could not be read.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The interfaces named can not be attached.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Enforcing with no other node in the peer set.
    #[error(
        "every peer named is this node's own address, so mode = \"enforce\" would cut this node off its cluster; \
         name the other nodes (--peer ADDR or [peers] static), or set single_node = true, or mode = \"audit\""
    )]
    OnlyOwnAddresses,
    /// The attachment would have to change its mode, which needs a detach.
    #[error(
        "{interface}: it is attached in {live} mode and attach_mode = \"{wanted}\"; changing it opens the interface for a moment: `nodewall detach`, then apply again"
    )]
    ModeChange {
        /// Interface.
        interface: String,
        /// As it is.
        live: &'static str,
        /// As configured.
        wanted: &'static str,
    },
    /// An operator opened the node.
    #[error("the node was opened by `nodewall detach`; SIGHUP, a restart or `nodewall apply` enforces again")]
    Detached,
    /// Another agent runs.
    #[error("another nodewall agent is running (pid {pid}, {lock}); stop it first")]
    Running {
        /// Its process id, as it wrote it down.
        pid: String,
        /// The lock it holds.
        lock: PathBuf,
    },
    /// The state directory can not be used.
    #[error("{path}: {problem}; {help}")]
    StateDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// The state directory could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl AgentError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
