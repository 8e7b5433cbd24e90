//! Examples in the help of every command: one text. A test types each line of it (tests/network/examples.rs), so that none can be wrong.

use clap::Command;

/// A line each, what it is for behind the `#`. Each stands in the help of the command that it begins with.
const EXAMPLES: &str = r#"
nodewall init                                          # asks
nodewall init --yes --vendor-firewall                  # takes the peers from the vendor's own firewall rules
nodewall init --yes --stdout --peers-file /etc/cluster/nodes   # only shows the file
nodewall run --mode audit --peer 10.0.0.12   # counts what would be dropped, drops nothing
nodewall run --listen 10.0.0.11:9117         # metrics, API and page for others, too
nodewall apply                       # what the configuration says, or what was stored
nodewall apply --allow-peer-change   # although more than half of the peers are others
nodewall check                                  # the policy, as compiled
nodewall check --config new.toml -o json        # before it is put into its place
nodewall plan                   # exit code 3 when something would change, 5 when somebody in conversation would be cut off
nodewall plan --mode enforce    # who would be cut off
nodewall enforce --confirm-within 5m   # goes back unless it is confirmed
nodewall enforce                       # asks nobody
nodewall confirm   # from another terminal, while the cluster is well
nodewall rollback   # ends what is on trial, or goes back to the policy before
nodewall panic-open --for 10m   # then what was in force comes back
nodewall block 198.51.100.7 --ttl 1h --reason "port scan"
nodewall block 198.51.100.0/24   # until `nodewall unblock`
nodewall unblock 198.51.100.7
nodewall peers list
nodewall peers list -o jsonl   # an object a line
nodewall peers diff   # exit code 3 when one of several sources alone knows a peer
nodewall peers add 10.0.0.14 --ttl 24h   # a node that joins today
nodewall peers add 2001:db8:1::/64
nodewall peers remove 10.0.0.14   # at once, until every source has dropped it
nodewall status
nodewall status -o json   # exit code 3 unless it is healthy
nodewall top --interval 5s
nodewall top --once   # one frame; needs no terminal
nodewall counters
nodewall counters --per-peer -o json   # per peer and port
nodewall usage                        # how much went by each port in the last 24 hours
nodewall usage --since 7d --by peer,port --peer 10.0.0.12   # what one peer did, and when
nodewall events list --since 24h --port 9042
nodewall events list --since yesterday --until today --group-by source --limit 20
nodewall events list --source 203.0.113.0/24 --kind captures --tz Europe/Vienna
nodewall events list --since 2026-11-01T00:00:00Z --reason outsider -o csv
nodewall events tail
nodewall events tail --port 9042 --outcome drop
nodewall events show c1   # as `events list` names it
nodewall events export --format pcapng --since 1h -w denied.pcapng
nodewall events export --format ecs --since 24h
nodewall events verify   # exit code 3 when something was altered, removed or inserted
nodewall events verify --head "$(nodewall events verify | awk '/^head/ {print $2}')"   # better: one noted elsewhere
nodewall page   # open it in a browser; through SSH with -L 9117:127.0.0.1:9117
nodewall page --new-token   # ends every browser's session, and what programs send counts no more
nodewall explain --source 198.51.100.7 --port 9042
nodewall explain --source 10.0.0.12 --port 5701 --protocol udp --config new.toml
nodewall replay capture.pcapng
nodewall replay capture.pcap --engine kernel -o jsonl   # an object a frame
nodewall doctor                     # exit code 3 when something is wrong
nodewall doctor --mission-control   # the way to the vendor's Mission Control
nodewall capture -w denied.pcapng
nodewall capture -w - | tshark -r -
nodewall report --since 7d --out incident.html --tz Europe/Vienna
nodewall detach   # opens the node
nodewall completions bash > nodewall.bash   # then: source nodewall.bash
nodewall completions zsh
nodewall man | man -l -
nodewall man /usr/local/share/man/man1   # a page for each command
"#;

/// The command line with the examples in each command's long help.
pub(super) fn added(command: Command) -> Command {
    with(command, "nodewall")
}

/// `path`: what is typed for this command.
fn with(command: Command, path: &str) -> Command {
    if command.has_subcommands() {
        return command.mut_subcommands(|inner| {
            let path = format!("{path} {}", inner.get_name());
            with(inner, &path)
        });
    }
    let lines: String = of(path).map(|line| format!("\n  {line}")).collect();
    command.after_long_help(format!("Examples:{lines}"))
}

/// The lines of one command, such as `nodewall peers list`.
pub fn of(path: &str) -> impl Iterator<Item = &'static str> {
    let path = format!("{path} ");
    EXAMPLES.lines().filter(move |line| format!("{line} ").starts_with(&path))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// What is typed for the commands that do something themselves.
    fn leaves(command: &Command, path: &str) -> Vec<String> {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        if command.has_subcommands() {
            // One that nobody types is hidden.
            let typed = command.get_subcommands().filter(|inner| !inner.is_hide_set());
            typed.flat_map(|inner| leaves(inner, &path)).collect()
        } else {
            vec![path]
        }
    }

    #[test]
    fn every_command_has_examples_and_nothing_else_has() {
        let mut described: Vec<&str> = leaves(&Cli::command(), "")
            .iter()
            .flat_map(|path| {
                let lines: Vec<&str> = of(path).collect();
                assert!(!lines.is_empty(), "{path}");
                lines
            })
            .collect();
        let mut lines: Vec<&str> = EXAMPLES.lines().skip(1).collect();
        described.sort_unstable();
        lines.sort_unstable();
        assert_eq!(described, lines);
    }
}
