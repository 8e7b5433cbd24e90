//! Why a change was refused. Whatever it is, the last good state stands.

use std::net::IpAddr;

use crate::control::TrialKind;
use nodewall_datapath::DatapathError;
use nodewall_host::{
    net::{NetError, SelectError},
    state::{Owner, StateError},
};
use nodewall_policy::{CompileError, PolicyError, config::ConfigErrors};

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The configuration; a cause, by which whoever prints it knows its lines.
    #[error("{0}")]
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
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Enforcing with no other node in the peer set.
    #[error(
        "every peer named is this node's own address, so mode = \"enforce\" would cut this node off its cluster; \
         name the other nodes (--peer ADDR or [peers] static), or set single_node = true, or mode = \"audit\""
    )]
    OnlyOwnAddresses,
    /// Enforcing with a peer set that is very different from the last good one.
    #[error(
        "held: of {old} peers {gone} would go and {added} would come, more than half; the last good peers stay in force; \
         if this is meant, `nodewall apply --allow-peer-change`"
    )]
    PeerChange {
        /// Peers of the last good policy, this node left out.
        old: usize,
        /// Those of them that the new one lacks.
        gone: usize,
        /// Those that only the new one has.
        added: usize,
    },
    /// The command came through an SSH session that the policy would cut.
    #[error(
        "held: this SSH session comes from {client} to port {port}, which the policy would drop ({reason}); \
         let that source in (a rule with access = \"public\" or also_allow), or set allow_lockout = true in the configuration"
    )]
    SshSession {
        /// Where the operator sits.
        client: IpAddr,
        /// The server's port.
        port: u16,
        /// Name of the reason.
        reason: &'static str,
    },
    /// The attachment would have to change its mode, which needs a detach.
    #[error(
        "{interface}: it is attached in {live} mode and attach_mode = \"{wanted}\"; `nodewall apply`, or a restart of the agent, changes it{}",
        if *opens { ", and the interface is open for a moment" } else { "" }
    )]
    ModeChange {
        /// Interface.
        interface: String,
        /// As it is.
        live: &'static str,
        /// As configured.
        wanted: &'static str,
        /// Whether the interface is open meanwhile.
        opens: bool,
    },
    /// An operator opened the node.
    #[error("the node was opened by `nodewall detach`; SIGHUP, a restart or `nodewall apply` enforces again")]
    Detached,
    /// Somebody detached and applied: what this process holds is no longer in force.
    #[error("other maps are pinned than those that this agent holds")]
    OtherMaps,
    /// The live data path has another layout, and an agent beside this process holds it.
    #[error("{why}; process {agent} is an agent of that build: end it first")]
    OtherBuild {
        /// Who it is.
        agent: Owner,
        /// What both layouts are.
        why: String,
    },
    /// A change waits for its confirmation.
    #[error(
        "`{}` is on trial; {}, and then this can be done",
        .kind.command(),
        match .kind {
            TrialKind::Enforce => "`nodewall confirm` keeps it, `nodewall rollback` ends it",
            TrialKind::PanicOpen => "it ends by itself, `nodewall rollback` ends it now",
        }
    )]
    OnTrial {
        /// What is on trial.
        kind: TrialKind,
    },
    /// There is nothing to do.
    #[error("the node enforces already (generation {generation})")]
    Enforcing {
        /// Number of the policy image.
        generation: u64,
    },
    /// There is no trial to confirm.
    #[error("{0}")]
    NoTrial(&'static str),
    /// No policy was ever applied here.
    #[error("no policy is in force, and none is stored; `nodewall apply` puts one into force")]
    NothingInForce,
    /// The policy that is stored is not in force, for nothing of nodewall is in the kernel.
    #[error(
        "nothing of nodewall is in the kernel: its pins are gone; `nodewall apply` or a start of the agent brings back the policy that is stored"
    )]
    NothingRuns,
    /// A first policy, and no interface that would carry it.
    #[error("{0}")]
    NothingCovered(String),
    /// A detach whose end the kernel does not show.
    #[error(
        "{interfaces} still runs a program of nodewall: its pins are hidden by a mount or in another directory (`findmnt -t bpf`), or a process holds its link (`bpftool link show`)"
    )]
    StillFiltered {
        /// Names of the interfaces.
        interfaces: String,
    },
    /// There is nothing to go back to.
    #[error("there is no policy before this one to go back to")]
    NoPrevious,
    /// A block that would hurt the node or its operator.
    #[error("{prefix} is not blocked: {why}; --force does it all the same")]
    BlockRefused {
        /// What was to be blocked.
        prefix: String,
        /// Whom it would hurt.
        why: String,
    },
    /// A block that is not there.
    #[error("{prefix} is not blocked{}", .nearest.as_ref().map(|n| format!("; {n} is, and covers it")).unwrap_or_default())]
    NotBlocked {
        /// What was to be unblocked.
        prefix: String,
        /// A block that covers it.
        nearest: Option<String>,
    },
    /// A system call of the agent's loop failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl AgentError {
    /// Whether this build's maps are not there: pins are gone, all of them or those of maps, or they are of another layout.
    pub(crate) fn is_lost_pins(&self) -> bool {
        match self {
            Self::NothingRuns => true,
            Self::Datapath(error) => error.is_not_found() || error.is_other_layout(),
            _ => false,
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
