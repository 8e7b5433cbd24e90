//! The flags of `init`. Each answers a question, so that with enough of them nobody is asked.

use std::path::{Path, PathBuf};

use clap::Args;

use super::values::read;
use nodewall_policy::config::{ClusterVersion, ProfileAccess};

/// Flags of `init`. It writes to `--config`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "Examples:
  nodewall init                                              asks
  nodewall init --vendor-firewall --cluster-version 1.300    asks nothing
  nodewall init --peer 10.0.0.12 --peer 10.0.0.13 --yes      takes what is found for the rest
  nodewall init --yes --stdout                               shows the file, writes nothing")]
pub struct InitArgs {
    /// Ask nothing: take what was found. Whoever merely connected to this node is not taken for a peer
    #[arg(long)]
    pub yes: bool,
    /// Replace a configuration that is there; the old one is kept beside it
    #[arg(long, conflicts_with = "stdout")]
    pub force: bool,
    /// Print the configuration instead of writing it
    #[arg(long)]
    pub stdout: bool,
    /// Follow the rules that Dynatrace Managed's own firewall service writes into iptables
    #[arg(long)]
    pub vendor_firewall: bool,
    /// Follow this file of addresses and prefixes, one a line
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub peers_file: Option<PathBuf>,
    /// This cluster has no other node
    #[arg(long)]
    pub single_node: bool,
    /// Version of the cluster, such as 1.300: decides who may reach 8443
    #[arg(long, value_name = "VERSION", value_parser = read(str::parse::<ClusterVersion>))]
    pub cluster_version: Option<ClusterVersion>,
    /// Who may reach 8443, whatever the version says: cluster or public
    #[arg(long, value_name = "ACCESS", value_parser = read(str::parse::<ProfileAccess>))]
    pub agent_port_8443: Option<ProfileAccess>,
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_path_buf()) } else { Err("expected an absolute path".to_owned()) }
}
