//! Examples in the help of every command: one table. A test parses each of them, so that none can be wrong.

use clap::Command;

/// The command, and its examples: a line each, what it is for behind the `#`.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "init",
        "nodewall init                                          # asks
nodewall init --yes --vendor-firewall                  # takes the peers from the vendor's own firewall rules
nodewall init --stdout --peers-file /etc/cluster/nodes # only shows the file",
    ),
    (
        "run",
        "nodewall run --mode audit --peer 10.0.0.12   # counts what would be dropped, drops nothing
nodewall run --listen 10.0.0.11:9117         # metrics, API and page for others, too",
    ),
    (
        "apply",
        "nodewall apply                       # what the configuration says, or what was stored
nodewall apply --allow-peer-change   # although more than half of the peers are others",
    ),
    (
        "check",
        "nodewall check                                  # the policy, as compiled
nodewall check --config new.toml -o json        # before it is put into its place",
    ),
    (
        "plan",
        "nodewall plan                   # exit code 3 when something would change
nodewall plan --mode enforce    # who would be cut off",
    ),
    (
        "enforce",
        "nodewall enforce --confirm-within 5m   # goes back unless it is confirmed
nodewall enforce                       # asks nobody",
    ),
    ("confirm", "nodewall confirm   # from another terminal, while the cluster is well"),
    ("rollback", "nodewall rollback   # ends what is on trial, or goes back to the policy before"),
    ("panic-open", "nodewall panic-open --for 10m   # then what was in force comes back"),
    (
        "block",
        "nodewall block 198.51.100.7 --ttl 1h --reason \"port scan\"
nodewall block 198.51.100.0/24   # until `nodewall unblock`",
    ),
    ("unblock", "nodewall unblock 198.51.100.7"),
    (
        "peers list",
        "nodewall peers list
nodewall peers list -o jsonl   # an object a line",
    ),
    ("peers diff", "nodewall peers diff   # exit code 3 when one of several sources alone knows a peer"),
    (
        "peers add",
        "nodewall peers add 10.0.0.14 --ttl 24h   # a node that joins today
nodewall peers add 2001:db8:1::/64",
    ),
    ("peers remove", "nodewall peers remove 10.0.0.14   # at once, until every source has dropped it"),
    (
        "status",
        "nodewall status
nodewall status -o json   # exit code 3 unless it is healthy",
    ),
    (
        "top",
        "nodewall top --interval 5s
nodewall top --once   # one frame; needs no terminal",
    ),
    (
        "counters",
        "nodewall counters
nodewall counters --per-peer -o json   # per peer and port",
    ),
    (
        "events list",
        "nodewall events list --since 24h --port 9042
nodewall events list --since yesterday --until today --group-by source --limit 20
nodewall events list --source 203.0.113.0/24 --kind captures --tz Europe/Vienna
nodewall events list --since 2026-11-01T00:00:00Z --reason outsider -o csv",
    ),
    (
        "events tail",
        "nodewall events tail
nodewall events tail --port 9042 --outcome drop",
    ),
    ("events show", "nodewall events show c45   # as `events list` names it"),
    (
        "events export",
        "nodewall events export --format pcapng --since 1h -w denied.pcapng
nodewall events export --format ecs --since 24h",
    ),
    (
        "events verify",
        "nodewall events verify   # exit code 3 when something was altered, removed or inserted
nodewall events verify --head 7f3c2a9e0b51d846c2e19a7730f4d58b6ea1c09274bd35f81e60ca94d2b7835f   # against a head noted elsewhere",
    ),
    ("page", "nodewall page   # open it in a browser; through SSH with -L 9117:127.0.0.1:9117"),
    (
        "explain",
        "nodewall explain --source 198.51.100.7 --port 9042
nodewall explain --source 10.0.0.12 --port 5701 --protocol udp --config new.toml",
    ),
    (
        "replay",
        "nodewall replay capture.pcapng
nodewall replay capture.pcap --engine kernel -o jsonl   # an object a frame",
    ),
    (
        "doctor",
        "nodewall doctor                     # exit code 3 when something is wrong
nodewall doctor --mission-control   # the way to the vendor's Mission Control",
    ),
    (
        "capture",
        "nodewall capture -w denied.pcapng
nodewall capture -w - | tshark -r -",
    ),
    ("report", "nodewall report --since 7d --out incident.html --tz Europe/Vienna"),
    ("detach", "nodewall detach   # opens the node"),
    (
        "completions",
        "nodewall completions bash > /etc/bash_completion.d/nodewall
nodewall completions zsh",
    ),
    (
        "man",
        "nodewall man | man -l -
nodewall man /usr/local/share/man/man1   # a page for each command",
    ),
];

/// The command line with the examples in each command's long help.
pub(super) fn added(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, text)| {
        let words: Vec<&str> = path.split(' ').collect();
        with(command, &words, text)
    })
}

fn with(command: Command, path: &[&str], text: &str) -> Command {
    match path {
        [] => {
            let lines: String = text.lines().map(|line| format!("\n  {line}")).collect();
            command.after_long_help(format!("Examples:{lines}"))
        }
        // The name is one of this command's own, or `mut_subcommand` would add it: a test looks at each.
        [first, rest @ ..] => command.mut_subcommand(*first, |inner| with(inner, rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    /// Paths of the commands that do something themselves.
    fn leaves(command: &Command, path: &str) -> Vec<String> {
        command
            .get_subcommands()
            .flat_map(|inner| {
                let path = format!("{path} {}", inner.get_name()).trim().to_owned();
                if inner.has_subcommands() { leaves(inner, &path) } else { vec![path] }
            })
            .collect()
    }

    #[test]
    fn every_command_has_examples_and_nothing_else_has() {
        let mut commands = leaves(&Cli::command(), "");
        let mut described: Vec<String> = EXAMPLES.iter().map(|(path, _)| (*path).to_owned()).collect();
        commands.sort();
        described.sort();
        assert_eq!(described, commands);
    }

    #[test]
    fn every_example_can_be_typed() {
        for (path, text) in EXAMPLES {
            for line in text.lines() {
                assert!(line.starts_with(&format!("nodewall {path}")), "{line}");
                // What a shell does: a comment, another program, quotes.
                let end = [" #", " | ", " > "].iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
                let words: Vec<String> = line[..end]
                    .split('"')
                    .enumerate()
                    .flat_map(|(n, part)| {
                        let quoted = n % 2 == 1;
                        if quoted {
                            vec![part.to_owned()]
                        } else {
                            part.split_whitespace().map(str::to_owned).collect()
                        }
                    })
                    .collect();
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }
}
