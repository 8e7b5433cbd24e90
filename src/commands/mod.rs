//! One file per command: what it prints and with what exit code; and here what several of them need. It must not parse configuration.

mod apply;
mod block;
mod capture;
mod check;
mod counters;
mod cut_off;
mod detach;
mod dispatch;
mod doctor;
mod events;
mod evidence_out;
mod explain;
mod failure;
mod init;
mod judging;
mod manual;
mod page;
mod peers;
mod plan;
mod replay;
mod report;
mod run;
mod status;
mod top;
mod trial;
mod trial_guard;
mod trial_wait;
mod usage;

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use node_ebpf_common::{
    Decision,
    counter::{ROW_IP_TUNNELS, ROW_LATER_FRAGMENTS},
    maps::RowRecord,
};

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    cli::{
        Common, Output,
        exit_codes::{DEGRADED, FINE, WOULD_CUT},
    },
    control::{self, ModeOverride, Refused, Site},
    ui,
};
use nodewall_datapath::{DatapathError, Maps, PinDir, missing_capabilities};
use nodewall_host::state::StateDir;
use nodewall_policy::{
    FRAGMENT_CLASS, Policy, TUNNEL_CLASS, class_name,
    config::{self, Config, ConfigErrors, Trust},
};

use failure::Failure;

pub use dispatch::main;

/// The configuration under the command line.
fn read_config(common: &Common, trust: Trust) -> Result<Config, Failure> {
    let config = config::resolve(common.config.as_deref(), trust)?;
    config.with_overrides(&common.overrides()).map_err(Failure::usage)
}

/// The same, for a reload: one kind of error.
fn reread_config(common: &Common, trust: Trust) -> Result<Config, ConfigErrors> {
    config::resolve(common.config.as_deref(), trust)?.with_overrides(&common.overrides())
}

/// The policy that the configuration means on this node, as `plan` and `apply` take it: with the peers that are known from elsewhere, and under an operator's
/// word on the mode. Every command that answers by the file answers by this.
fn meant(common: &Common, config: &Config) -> Result<Policy, Failure> {
    // What the state directory says is told elsewhere where it cannot be read.
    let state = StateDir::open(&common.state_dir).ok().flatten();
    let word = state.as_ref().filter(|_| common.mode.is_none()).and_then(|state| state.load::<ModeOverride>().ok()?);
    match control::desired(state.as_ref(), config, word) {
        Ok((desired, _)) => Ok(desired.policy),
        Err(_) => Ok(Policy::from_config(config)?),
    }
}

/// Where nodewall keeps things on this node; made where it is missing.
fn site(common: &Common, kernel_log: bool) -> Result<Site, Failure> {
    require_privilege()?;
    let state = StateDir::create(&common.state_dir)?;
    Ok(Site { state, bpffs: common.bpffs.clone(), kernel_log })
}

/// The configuration that `apply` and `run` put into force. One that can not be enforced is refused before anything is created, but noted for
/// `status` where there is a state directory.
fn enforceable(common: &Common, attempt: &str, unattended: bool) -> Result<Config, Failure> {
    let refused = |error: Failure| {
        if let Ok(Some(state)) = StateDir::open(&common.state_dir) {
            Refused::note(&state, attempt, unattended, &error.text());
        }
        error
    };
    let config = read_config(common, Trust::OwnerOnly).map_err(refused)?;
    let policy = Policy::from_config(&config).map_err(|error| refused(error.into()))?;
    // What is learnt comes later; only without any other source does the configuration alone tell.
    if !config.peers.has_sources() {
        policy.require_peers().map_err(|error| refused(error.into()))?;
    }
    Ok(config)
}

/// The file that a running agent watches.
fn watched(common: &Common) -> PathBuf {
    common.config.clone().unwrap_or_else(|| config::DEFAULT_PATH.into())
}

/// Refuses before anything is touched, and with one message whatever would have failed first.
fn require_privilege() -> Result<(), DatapathError> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(DatapathError::Privilege { missing }) }
}

/// The live data path; having none is an error that says what to do.
fn live(common: &Common) -> Result<(PinDir, Maps), Failure> {
    Maps::live(&common.bpffs)?.ok_or_else(|| {
        anyhow!("no policy is in force at {}; `nodewall apply` puts one into force", common.bpffs.display()).into()
    })
}

/// The port class of a decision.
fn class_of(decision: &Decision, rows: &[RowRecord]) -> Option<String> {
    match decision.row() {
        ROW_IP_TUNNELS => return Some(TUNNEL_CLASS.into()),
        ROW_LATER_FRAGMENTS => return Some(FRAGMENT_CLASS.into()),
        _ => {}
    }
    rows.get(decision.row() as usize).filter(|record| record.protocol != 0).map(class_name)
}

/// A runtime on this thread: netlink and signals need no more.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("can not start the runtime")?;
    let done = runtime.block_on(future);
    // Does not wait for a NAT tool that hangs.
    runtime.shutdown_background();
    Ok(done)
}

/// What ends a command that goes on until it is told to: an interrupt, a request to end, a terminal that goes away.
struct EndSignals([Signal; 3]);

impl EndSignals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("can not wait for signals");
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// One of them has come.
    async fn come(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Prints what came of a command: with `text` for people, as one document or one line for programs.
fn print<R: Serialize>(common: &Common, report: &R, text: impl FnOnce(&R) -> anyhow::Result<()>) -> anyhow::Result<()> {
    print_list(common, report, [report], || text(report))
}

/// The same where lines are for the elements of a list, not for the whole.
fn print_list<R: Serialize>(
    common: &Common,
    document: &impl Serialize,
    lines: impl IntoIterator<Item = R>,
    text: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    match common.output {
        // CSV is for `events list` alone; every other command has refused it.
        Output::Table | Output::Csv => text(),
        Output::Json => ui::print_json(document),
        Output::Jsonl => ui::print_jsonl(lines),
    }
}
