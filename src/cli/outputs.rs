//! The flags of what prints or writes something made elsewhere: `capture`, `events export`, `report`, `usage`, `completions`, `man`; and of `page`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::matching::Match;
use nodewall_evidence::{
    ledger::Step,
    when::{When, Zone},
};

/// Flags of `page`.
#[derive(Clone, Copy, Debug, Args)]
pub struct PageArgs {
    /// First make another token: ends all sessions, and what the one before opened
    #[arg(long)]
    pub new_token: bool,
}

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

/// Flags of `usage`.
#[derive(Clone, Debug, Args)]
pub struct UsageArgs {
    /// From when: RFC 3339, a time ago such as 24h, a date, today, or yesterday
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub since: When,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// What is told apart, one or several; direction and outcome always are
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',', default_value = "port")]
    pub by: Vec<UsageBy>,
    /// How long a step is; auto: the finest that the ledger has of the whole time, and no more than can be shown
    #[arg(long, value_name = "STEP", value_enum, default_value_t = UsageStep::Auto)]
    pub step: UsageStep,
    /// The zone in which days of --since begin and times of the table are shown: UTC, local, or a name such as Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: Zone,
}

/// What amounts are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageBy {
    /// Port, with its class and protocol
    Port,
    /// Class of ports
    Class,
    /// Peer
    Peer,
    /// Direction and outcome alone
    Direction,
    /// When
    Hour,
}

/// How long a step of the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageStep {
    /// What fits
    Auto,
    /// A minute
    #[value(name = "1m")]
    Minute,
    /// An hour
    #[value(name = "1h")]
    Hour,
    /// A day of UTC
    #[value(name = "1d")]
    Day,
}

impl UsageStep {
    /// The step; `None`: what fits.
    pub fn step(self) -> Option<Step> {
        match self {
            Self::Auto => None,
            Self::Minute => Some(Step::Minute),
            Self::Hour => Some(Step::Hour),
            Self::Day => Some(Step::Day),
        }
    }
}

/// What evidence is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Captured frames, for Wireshark and its like
    Pcapng,
    /// Elastic Common Schema, one JSON object a line
    Ecs,
}

/// Flags of `completions`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArgs {
    /// Whose command line
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Flags of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Write all pages here, as nodewall*.1, instead of printing the first
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
