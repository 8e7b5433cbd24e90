//! The flags of what takes evidence out of the store: `capture`, `events export`, `report`.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use node_ebpf_common::Reason;

use crate::evidence::{
    record::Outcome,
    when::{When, Zone},
};

/// Flags of `capture`.
#[derive(Clone, Debug, Args)]
pub struct CaptureArgs {
    /// A pcapng file, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub write: PathBuf,
}

/// Flags of `events export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Captured frames as pcapng, or every record as a line of JSON in the Elastic Common Schema
    #[arg(long, value_enum)]
    pub format: ExportFormat,
    /// A file, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub write: PathBuf,
    /// Nothing older: RFC 3339, a time ago such as 24h, a date, today, or yesterday [default: everything]
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// Nothing younger [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// Only this destination port; repeatable
    #[arg(long = "port", value_name = "N")]
    pub ports: Vec<u16>,
    /// Only this source address or prefix; repeatable
    #[arg(long = "source", value_name = "CIDR", value_parser = prefix)]
    pub sources: Vec<IpNet>,
    /// Only this reason; repeatable
    #[arg(long = "reason", value_name = "NAME", value_parser = reason)]
    pub reasons: Vec<Reason>,
    /// Only what was dropped (drop), or would have been (`would_drop`)
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    pub outcome: Option<Outcome>,
    /// The zone in which days begin: UTC, local, or a name such as Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: Zone,
}

/// Flags of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// From when: RFC 3339, a time ago such as 24h, a date, today, or yesterday
    #[arg(long, value_name = "TIME")]
    pub since: When,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// The page, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The zone in which days begin and times are shown: UTC, local, or a name such as Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: Zone,
}

/// What evidence is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Captured frames, for Wireshark and its like
    Pcapng,
    /// Elastic Common Schema, one JSON object a line
    Ecs,
}

fn prefix(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "expected an address or a prefix such as 203.0.113.0/24".to_owned())
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::ALL.iter().find(|reason| reason.name() == text).copied().ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn outcome(text: &str) -> Result<Outcome, String> {
    [Outcome::Drop, Outcome::WouldDrop]
        .into_iter()
        .find(|outcome| outcome.name() == text)
        .ok_or_else(|| "expected drop or would_drop".to_owned())
}
