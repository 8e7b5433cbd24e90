//! The command line: what can be typed, and what it means. It must not do the work.

mod events;
mod examples;
pub mod exit_codes;
mod formats;
mod init;
mod matching;
mod outputs;
mod values;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{
    Args, CommandFactory, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
    error::{ContextValue, ErrorKind},
};

use ipnet::IpNet;

use crate::control::Allow;
use nodewall_policy::config::{InterfacePattern, Mode, Overrides, Protocol, parse_blocked, parse_listen, parse_peer};
use nodewall_text::{
    fit,
    out::{Mark, Part, stderr, stdout, takes_color},
    shown,
};

pub use events::{EventsArgs, EventsCommand, GroupBy, ListArgs, RecordId, RecordKind, ShowArgs, TailArgs, VerifyArgs};
pub use examples::of as examples;
pub use init::InitArgs;
pub use matching::Match;
use values::{Listen, duration, one_line, read, top_interval};

pub use outputs::{
    CaptureArgs, CompletionsArgs, ExportArgs, ExportFormat, ManArgs, PageArgs, ReportArgs, UsageArgs, UsageBy,
};

/// Under this heading stand, in every command's help, the flags that all of them know.
const COMMON: &str = "Common options";

/// What the library begins an error with.
const ERROR: &str = "error:";

/// Keeps the cluster-only ports of Dynatrace Managed nodes for cluster nodes, at the network driver.
#[derive(Debug, Parser)]
#[command(name = "nodewall", version, arg_required_else_help = true)]
pub struct Cli {
    /// Flags that every command knows.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line as each command's help has it: with its examples, and the output formats that it has.
    pub fn described() -> clap::Command {
        let codes: Vec<String> =
            exit_codes::EXIT_CODES.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
        let after = format!("Exit codes: {}.", codes.join(", "));
        formats::named(examples::added(Self::command())).after_help(after)
    }

    /// What is typed, or the end of the program: with help, the version, or what is wrong.
    pub fn read() -> Self {
        let typed = Self::described().try_get_matches().and_then(formats::checked);
        typed.and_then(|matches| Self::from_arg_matches(&matches)).unwrap_or_else(|mut error| {
            let mut words = std::env::args_os().skip(1);
            let whole =
                error.kind() == ErrorKind::DisplayVersion && words.any(|word| word == "--verbose" || word == "-v");
            let text = if whole { crate::version::text() } else { told(&mut error) };
            // Nobody may be there to read it; the exit code still tells.
            let _ = if error.use_stderr() {
                let (mut err, color) = (stderr(), takes_color(stderr()));
                text.lines().try_for_each(|line| match line.strip_prefix(ERROR).filter(|_| color) {
                    Some(rest) => err.write(&[
                        Part::Mark(Mark::Red),
                        Part::Text(ERROR),
                        Part::Mark(Mark::Plain),
                        Part::Text(&fit(rest)),
                        Part::LineEnd,
                    ]),
                    None => err.line(&fit(line)),
                })
            } else {
                let mut out = stdout();
                text.lines().try_for_each(|line| out.line(line))
            };
            std::process::exit(error.exit_code())
        })
    }
}

/// The library's text. Words that were typed make no lines of their own in it.
fn told(error: &mut clap::Error) -> String {
    let typed = |(kind, value): (_, &ContextValue)| match value {
        ContextValue::String(text) => Some((kind, shown(text).into_owned())),
        _ => None,
    };
    let words: Vec<_> = error.context().filter_map(typed).collect();
    for (kind, text) in words {
        error.insert(kind, ContextValue::String(text));
    }
    error.render().to_string()
}

/// Flags that every command knows.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Configuration [default: /etc/nodewall/nodewall.toml if it exists, else the embedded default]
    #[arg(long, value_name = "FILE", global = true, help_heading = COMMON)]
    pub config: Option<PathBuf>,
    /// Interface to filter, or a beginning such as "bond*"; repeatable [default: every way in: Ethernet interfaces that are up, but lo, slaves, bridges and container veths]
    #[arg(long = "interface", value_name = "IF", value_parser = read(str::parse::<InterfacePattern>), global = true, help_heading = COMMON)]
    pub interfaces: Vec<InterfacePattern>,
    /// A cluster node's address or prefix, besides those of the configuration; repeatable
    #[arg(long = "peer", value_name = "ADDR", value_parser = read(parse_peer), global = true, help_heading = COMMON)]
    pub peers: Vec<IpNet>,
    /// Overrides the configuration's mode
    #[arg(long, value_name = "MODE", value_parser = mode(), global = true, help_heading = COMMON)]
    pub mode: Option<Mode>,
    /// Locks and the record of what was applied
    #[arg(long, value_name = "DIR", default_value = "/var/lib/nodewall", global = true, help_heading = COMMON)]
    pub state_dir: PathBuf,
    /// Where maps and links are pinned
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/nodewall", global = true, help_heading = COMMON)]
    pub bpffs: PathBuf,
    /// Output format
    #[arg(short = 'o', long, value_name = "FORMAT", value_enum, default_value = "table", global = true, help_heading = COMMON)]
    pub output: Output,
    /// More messages: -v debug, -vv trace
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = COMMON)]
    pub verbose: u8,
    /// Colour in messages
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, global = true, help_heading = COMMON)]
    pub color: Color,
}

impl Common {
    /// What the flags change in a configuration.
    pub fn overrides(&self) -> Overrides {
        Overrides { mode: self.mode, interfaces: self.interfaces.clone(), peers: self.peers.clone() }
    }
}

/// The words stand in the help.
fn mode() -> impl TypedValueParser<Value = Mode> {
    PossibleValuesParser::new(["audit", "enforce"]).try_map(|text| text.parse::<Mode>())
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a heading
    #[value(hide = true)]
    Csv,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When the output is a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the first configuration: looks at this node, asks what only people know, shows what it would do. Starts in audit
    Init(InitArgs),
    /// Agent in the foreground: apply, adopt pins, watch. Its end leaves enforcement in place
    Run(RunArgs),
    /// One shot: compile, load, attach, pin, exit
    Apply(AllowArgs),
    /// Validate the configuration and print the compiled policy; never touches the kernel
    Check,
    /// What apply would change of what is in force, and who would be affected; exit 3 when something would, 5 when somebody would be cut off
    Plan(AllowArgs),
    /// Drop what the policy in force has only audited so far
    Enforce(EnforceArgs),
    /// Keep what `enforce --confirm-within` put on trial
    Confirm,
    /// End what is on trial, or go back to the policy before the last change
    Rollback(AllowArgs),
    /// Open the node for a while: nothing is dropped, blocks are lifted; then what was in force comes back by itself
    PanicOpen(PanicOpenArgs),
    /// Drop everything from a source, public ports too
    Block(BlockArgs),
    /// Take a block back
    Unblock(UnblockArgs),
    /// The cluster's nodes: which count, which source knows them; admit or remove one
    Peers(PeersArgs),
    /// Attached where and how, mode, generation, peers, blocks, health
    Status,
    /// What goes on, at a glance: rates per port, what is denied, peers, health
    Top(TopArgs),
    /// Packets and bytes per class, port, protocol, verdict and reason
    Counters(CountersArgs),
    /// Traffic by port, class or peer over hours, days or weeks: the ledger
    Usage(UsageArgs),
    /// The evidence: what was denied, when, from where; follow it, show a frame, verify that nobody edited it
    Events(EventsArgs),
    /// The address of the running agent's page, which opens it once, within a minute
    Page(PageArgs),
    /// The verdict for a source and a port, under the live policy or --config, and why
    Explain(ExplainArgs),
    /// The verdict for each frame of a capture file
    Replay(ReplayArgs),
    /// What of this host stands in nodewall's way or beside it, and what to do. Changes nothing
    Doctor(DoctorArgs),
    /// Denied frames as they are captured, as pcapng, until it is ended
    Capture(CaptureArgs),
    /// What was denied in a span of time, as one page for people who were not there
    Report(ReportArgs),
    /// Remove links, maps and pins: opens the node
    Detach,
    /// End a trial whose time is over: what a timer or a guard runs
    #[command(hide = true)]
    TrialGuard(TrialGuardArgs),
    /// Print a script that completes nodewall's command line: bash, zsh, fish, elvish or powershell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

/// Flags of `doctor`.
#[derive(Clone, Copy, Debug, Args)]
pub struct DoctorArgs {
    /// Try the way to the vendor's Mission Control instead, step by step; exit 3 when one fails
    #[arg(long)]
    pub mission_control: bool,
}

/// Flags of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Print a message for every frame the kernel program judges (slow; for debugging)
    #[arg(long)]
    pub kernel_log: bool,
    /// Where metrics, API and page are served: an address with its port, or "none" [default: the configuration's, else 127.0.0.1:9117]
    #[arg(long, value_name = "ADDR", value_parser = read(parse_listen))]
    pub listen: Option<Listen>,
    /// What the guards are told to let through.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// What the guards are told to let through.
#[derive(Clone, Copy, Debug, Args)]
pub struct AllowArgs {
    /// Enforce although the peer set differs by more than half from the last good one
    #[arg(long)]
    pub allow_peer_change: bool,
}

impl AllowArgs {
    /// The same for the agent.
    pub fn allow(self) -> Allow {
        Allow { peer_change: self.allow_peer_change }
    }
}

/// Flags of `enforce`.
#[derive(Clone, Copy, Debug, Args)]
pub struct EnforceArgs {
    /// Go back unless `nodewall confirm`, or Enter here, comes within this time, such as 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub confirm_within: Option<Duration>,
    /// Enforce although somebody who talks with this node would be cut off, or no peer ever talked with it
    #[arg(long)]
    pub allow_affected: bool,
    /// What the guards are told to let through.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// Flags of `panic-open`.
#[derive(Clone, Copy, Debug, Args)]
pub struct PanicOpenArgs {
    /// For how long, such as 10m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub open_for: Duration,
}

/// Which trial is guarded.
#[derive(Clone, Copy, Debug, Args)]
pub struct TrialGuardArgs {
    /// Its number
    #[arg(value_name = "TRIAL")]
    pub trial: u64,
}

/// Flags of `block`.
#[derive(Clone, Debug, Args)]
pub struct BlockArgs {
    /// An address or a prefix
    #[arg(value_name = "ADDR", value_parser = read(parse_blocked))]
    pub source: IpNet,
    /// For how long, such as 1h [default: until `nodewall unblock`]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", value_parser = one_line)]
    pub reason: Option<String>,
    /// Even a peer, an own address, the default gateway, this SSH session, or a prefix shorter than /8 (IPv6: /32)
    #[arg(long)]
    pub force: bool,
}

/// Flags of `unblock`.
#[derive(Clone, Copy, Debug, Args)]
pub struct UnblockArgs {
    /// The address or prefix as it was blocked
    #[arg(value_name = "ADDR", value_parser = read(parse_blocked))]
    pub source: IpNet,
}

/// Flags of `top`.
#[derive(Clone, Copy, Debug, Args)]
pub struct TopArgs {
    /// Print one frame and exit; needs no terminal
    #[arg(long)]
    pub once: bool,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = top_interval)]
    pub interval: Duration,
}

/// What `peers` is to do.
#[derive(Clone, Debug, Args)]
pub struct PeersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PeersCommand,
}

/// The commands of `peers`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum PeersCommand {
    /// Every peer: whether it counts, from which sources, since when
    List,
    /// Which source knows which peer; exit 3 when a peer is known to one of several sources alone
    Diff,
    /// Admit a node that is about to join, before any source knows it
    Add(PeersAddArgs),
    /// Remove a peer at once; it stays out until every source has dropped it
    Remove(PeersRemoveArgs),
}

/// Flags of `peers add`.
#[derive(Clone, Copy, Debug, Args)]
pub struct PeersAddArgs {
    /// An address or a prefix
    #[arg(value_name = "ADDR", value_parser = read(parse_peer))]
    pub peer: IpNet,
    /// For how long, such as 24h [default: until `nodewall peers remove`]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// What the guards are told to let through.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// Flags of `peers remove`.
#[derive(Clone, Copy, Debug, Args)]
pub struct PeersRemoveArgs {
    /// The address or prefix as `peers list` shows it
    #[arg(value_name = "ADDR", value_parser = read(parse_peer))]
    pub peer: IpNet,
    /// What the guards are told to let through.
    #[command(flatten)]
    pub allow: AllowArgs,
}

/// Flags of `counters`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CountersArgs {
    /// Per peer and port instead, both directions; needs `per_peer = true` in `[counters]`
    #[arg(long)]
    pub per_peer: bool,
}

/// Flags of `explain`.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Source address of the packet
    #[arg(long, value_name = "ADDR")]
    pub source: IpAddr,
    /// Destination port of the packet
    #[arg(long, value_name = "N")]
    pub port: u16,
    /// Protocol of the packet: tcp or udp
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp", value_parser = read(str::parse::<Protocol>))]
    pub protocol: Protocol,
    /// Interface that the packet comes in by [default: one without `peers` of its own]
    #[arg(long, value_name = "NAME")]
    pub in_interface: Option<String>,
}

/// Flags of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A pcap or pcapng file, also packed by gzip; `-` is standard input. Frames are judged as if they came in
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Who judges: the same code in this process, or the kernel program by test run (needs privilege)
    #[arg(long, value_enum, default_value_t = Engine::Host)]
    pub engine: Engine,
    /// Interface that the frames come in by [default: one without `peers` of its own]
    #[arg(long, value_name = "NAME")]
    pub in_interface: Option<String>,
}

/// Who judges a replayed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// `decide` in this process
    Host,
    /// The kernel program, by `BPF_PROG_TEST_RUN`
    Kernel,
}
