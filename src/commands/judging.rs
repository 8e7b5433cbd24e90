//! The policy that `explain` and `replay` judge by, and where it comes from. It must not judge.

use anyhow::anyhow;
use node_ebpf_common::{PolicyImage, maps::RowRecord};
use serde::Serialize;

use super::{Failure, block_on, meant, read_config};
use crate::{cli::Common, control::surroundings::interfaces};
use nodewall_datapath::{DatapathError, Maps};
use nodewall_host::net;
use nodewall_policy::{Facts, RowTable, compile, config::Trust};

/// An image and the names of its rows.
pub(super) struct JudgingPolicy {
    pub(super) image: Box<PolicyImage>,
    pub(super) rows: Vec<RowRecord>,
    pub(super) basis: Basis,
}

/// What an answer rests on.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Basis {
    /// What the kernel has.
    InForce,
    /// The configuration: what is in force may be another.
    ByTheFile,
}

/// Whether the command line describes a policy, so that the live one is not meant.
fn is_described(common: &Common) -> bool {
    common.config.is_some() || common.mode.is_some() || !common.peers.is_empty()
}

/// What the flags describe, else what is in force; having neither is an error that says what to do.
pub(super) fn described_or_live(common: &Common) -> Result<JudgingPolicy, Failure> {
    if is_described(common) {
        return configured(common);
    }
    live(common)?.ok_or_else(|| {
        anyhow!(
            "no policy is in force at {}; name one with --config FILE or --peer ADDR, or put one into force with `nodewall apply`",
            common.bpffs.display()
        )
        .into()
    })
}

/// What the flags describe, else what is in force, else the configuration that `apply` would take.
pub(super) fn described_live_or_default(common: &Common) -> Result<JudgingPolicy, Failure> {
    if is_described(common) {
        return configured(common);
    }
    match live(common) {
        Ok(Some(judged)) => Ok(judged),
        Ok(None) => default(common, "no policy is in force"),
        // Frames can be judged without privilege, but not by what is in force.
        Err(DatapathError::Privilege { missing }) => {
            default(common, &format!("the live policy can not be read without {}", missing.join(", ")))
        }
        Err(error) => Err(error.into()),
    }
}

fn live(common: &Common) -> Result<Option<JudgingPolicy>, DatapathError> {
    let Some((_, maps)) = Maps::live(&common.bpffs)? else { return Ok(None) };
    match maps.policy() {
        Ok(image) => {
            tracing::info!("judging by the live policy, generation {}", image.generation);
            Ok(Some(JudgingPolicy { image, rows: maps.rows()?, basis: Basis::InForce }))
        }
        Err(DatapathError::NoPolicy) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Verdicts depend on it, so a policy that nobody named is.
fn default(common: &Common, why: &str) -> Result<JudgingPolicy, Failure> {
    let judged = configured(common)?;
    tracing::info!("judging by the default configuration: {why}");
    Ok(judged)
}

/// The index of the interface that frames come in by, where one is named; 0 is none.
pub(super) fn index_of(interface: Option<&str>) -> Result<u32, Failure> {
    let Some(name) = interface else { return Ok(0) };
    let network = block_on(net::snapshot())?.map_err(anyhow::Error::new)?;
    let link = network.by_name(name).ok_or_else(|| anyhow!("{name:?} is no interface of this host (`ip link`)"))?;
    Ok(link.index)
}

fn configured(common: &Common) -> Result<JudgingPolicy, Failure> {
    let policy = meant(common, &read_config(common, Trust::Anyone)?)?;
    let mut facts = Facts::default();
    if !policy.interface_peers.is_empty() {
        facts.interfaces = interfaces(&block_on(net::snapshot())?.map_err(anyhow::Error::new)?, &policy);
    }
    let compiled = compile(&policy, RowTable::default(), &facts)?;
    let rows = compiled.rows.records().to_vec();
    Ok(JudgingPolicy { image: compiled.image, rows, basis: Basis::ByTheFile })
}
