//! The rules of packet filters and NAT, as the host's own tools list them. The tools answer for the network namespace of the thread that starts them.

use crate::tool::{find, run};

/// What one of the tools listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `nft` (as JSON), `iptables-save` and kin.
    pub tool: &'static str,
    /// Its output, or why there is none.
    pub answer: Result<String, String>,
}

/// All rules of the calling thread's network namespace, by each tool that is installed; the same rules may come more than once.
///
/// Blocks while the tools run (milliseconds, at most ten seconds each). Listing rules needs the privilege `CAP_NET_ADMIN`.
pub fn listings() -> Vec<Listing> {
    let nft = find("nft").map(|tool| Listing { tool: "nft", answer: run(&tool, &["-j", "list", "ruleset"]) });
    let others = ["iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"];
    // Without `-t nat`: naming a table makes the legacy tools load its kernel module.
    let others = others.into_iter().filter_map(|tool| Some(Listing { tool, answer: run(&find(tool)?, &[""; 0]) }));
    nft.into_iter().chain(others).collect()
}
