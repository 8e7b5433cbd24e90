//! The flags of `events`: what can be asked of the evidence. It must not ask.

use clap::{Args, Subcommand, ValueEnum};

use super::{matching::Match, outputs::ExportArgs};
use nodewall_evidence::when::{When, Zone};

/// What `events` is to do.
#[derive(Clone, Debug, Args)]
pub struct EventsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EventsCommand,
}

/// The commands of `events`.
#[derive(Clone, Debug, Subcommand)]
pub enum EventsCommand {
    /// Who knocked on which closed port, from where, when, how often; and what was not recorded
    List(Box<ListArgs>),
    /// What is recorded from now on, as it comes
    Tail(TailArgs),
    /// One record whole; of a captured frame its headers and bytes
    Show(ShowArgs),
    /// Evidence for other tools: frames as pcapng, or records as JSON lines
    Export(ExportArgs),
    /// Whether anything was altered, removed or inserted since it was written; exit 3 when it was
    Verify(VerifyArgs),
}

/// Flags of `events list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Not over before this time: RFC 3339, 24h (ago), a date, today, yesterday [default: the beginning]
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// Begun by this time; a day counts whole [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
    /// Which.
    #[command(flatten)]
    pub matching: Match,
    /// What to list
    #[arg(long, value_name = "KIND", value_enum, default_value_t = RecordKind::Flows)]
    pub kind: RecordKind,
    /// Sums of flows instead, for each source, port or hour
    #[arg(long, value_name = "WHAT", value_enum)]
    pub group_by: Option<GroupBy>,
    /// No more than this many, the newest (of sums the largest) [default: 1000 in a table, else all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Where days begin and how times are shown: UTC, local, or a name such as Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: Zone,
}

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordKind {
    /// Denied flows: sender, port and reason over a span of time
    Flows,
    /// Captured frames
    Captures,
    /// What is not in the evidence, or not in detail
    Losses,
    /// Policies, peers, operators' commands, the agent's starts and ends
    Events,
}

/// What flows are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// Who sent them
    Source,
    /// Where they were to go
    Port,
    /// When they came, by the zone's clock
    Hour,
}

/// Flags of `events tail`.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Which.
    #[command(flatten)]
    pub matching: Match,
    /// How times are shown: UTC, local, or a name such as Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: Zone,
}

/// Flags of `events show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// A record as the other commands name it: f12, c45, l3, e4
    #[arg(value_name = "ID")]
    pub id: RecordId,
    /// How times are shown: UTC, local, or a name such as Europe/Vienna
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: Zone,
}

/// A record's name: the letter of its kind, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId {
    /// Of which kind.
    pub kind: RecordKind,
    /// Its number among its kind.
    pub number: i64,
}

impl RecordKind {
    /// What begins a record's name.
    pub const fn letter(self) -> char {
        match self {
            Self::Flows => 'f',
            Self::Captures => 'c',
            Self::Losses => 'l',
            Self::Events => 'e',
        }
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}{}", self.kind.letter(), self.number)
    }
}

impl std::str::FromStr for RecordId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = text.chars();
        let letter = rest.next();
        let kind = RecordKind::value_variants().iter().find(|kind| Some(kind.letter()) == letter);
        let digits = rest.as_str();
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        match (kind, number) {
            (Some(&kind), Some(number)) => Ok(Self { kind, number }),
            _ => Err("expected such as f12 (a flow), c45 (a captured frame), l3 (a loss) or e4 (an event)".to_owned()),
        }
    }
}

/// Flags of `events verify`.
#[derive(Clone, Copy, Debug, Args)]
pub struct VerifyArgs {
    /// A head that was noted elsewhere, 64 hexadecimal digits: it must be one of the chain
    #[arg(long, value_name = "HEX", value_parser = hash)]
    pub head: Option<[u8; 32]>,
}

fn hash(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "expected 64 hexadecimal digits, as `nodewall events verify` prints the head".to_owned();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    let bytes: Vec<u8> =
        digits.ok_or_else(wrong)?.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n << 4 | d)).collect();
    if text.len() == 64 { bytes.try_into().map_err(|_| wrong()) } else { Err(wrong()) }
}
