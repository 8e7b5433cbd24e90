//! The flags of what takes evidence out of the store: `capture`, `events export`, `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Match;
use crate::evidence::when::{When, Zone};

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
    /// Which denied frames.
    #[command(flatten)]
    pub only: Match,
    /// The zone in which days begin: UTC, local, or a name such as Europe/Vienna
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
