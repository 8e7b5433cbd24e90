//! `nodewall capture`: denied frames as they are captured, as pcapng, until somebody ends it. Follows the store; captures nothing itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;
use tokio::sync::oneshot;

use super::{
    EndSignals, FINE, Failure, block_on,
    evidence_out::{self, Target},
};
use crate::{
    cli::{CaptureArgs, Common},
    control::Good,
};
use nodewall_evidence::{node::Node, pcapng::Captures, store::Reader};
use nodewall_host::state::StateDir;

/// How often the store is looked at: the agent writes about once a second.
const EVERY: Duration = Duration::from_millis(200);
/// How long a reader that takes nothing may hold up the end.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(common: &Common, args: &CaptureArgs) -> Result<u8, Failure> {
    let no_agent = || {
        anyhow!(
            "no agent runs with {}, and only an agent captures; start it with `nodewall run`, or read what was \
             captured with `nodewall events export --format pcapng`",
            common.state_dir.display()
        )
    };
    let state = StateDir::open(&common.state_dir)?.ok_or_else(no_agent)?;
    state.agent().ok_or_else(no_agent)?;
    let target = Target::open(&args.write, true)?;
    block_on(until_told(state, target))?
}

/// The store is followed on a thread of its own: a reader that takes nothing would hold up the signals.
async fn until_told(state: StateDir, target: Target) -> Result<u8, Failure> {
    let mut end = EndSignals::listen()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (done, mut ended) = oneshot::channel();
    let told = Arc::clone(&stop);
    thread::spawn(move || done.send(follow(&state, target, &told)));
    let outcome = tokio::select! {
        outcome = &mut ended => outcome,
        () = end.come() => {
            stop.store(true, Ordering::Relaxed);
            match tokio::time::timeout(PATIENCE, ended).await {
                Ok(outcome) => outcome,
                Err(_) => return Ok(FINE),
            }
        }
    };
    outcome.map_err(|_| anyhow!("the thread that follows the store broke off; please report it"))??;
    Ok(FINE)
}

fn follow(state: &StateDir, target: Target, stop: &AtomicBool) -> Result<(), Failure> {
    let is_stdout = target.is_stdout();
    let written = |result| Target::written(is_stdout, result);
    let mut reader = evidence_out::reader(state)?;
    let mut seq = reader.as_ref().map_or(Ok(0), Reader::last_seq)?;
    let policy = Good::last(state)?.map(|good| good.policy_sha256);
    let mut file = match Captures::new(target, &Node::here(), policy.as_deref(), Vec::new()) {
        Ok(file) => file,
        Err(error) => return written(Err(error)),
    };
    written(file.flush())?;
    while !stop.load(Ordering::Relaxed) {
        if reader.is_none() {
            reader = evidence_out::reader(state)?;
        }
        let found = reader.as_ref().map_or(Ok(Vec::new()), |reader| reader.numbered_after(seq))?;
        if found.is_empty() {
            if evidence_out::is_closed(file.get_ref()) {
                return Ok(());
            }
            thread::sleep(EVERY);
        }
        for found in found {
            seq = found.seq;
            let captures = (found.first_capture..).zip(&found.batch.captures);
            written(file.merged(captures.map(|(id, capture)| (Some(id), capture)), &found.batch.losses))?;
            written(file.flush())?;
        }
    }
    written(file.finish().map(drop))
}
