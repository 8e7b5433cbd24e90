//! The flags that say which denied frames are meant. It must not look for them.

use clap::Args;
use ipnet::IpNet;
use node_ebpf_common::Reason;

use nodewall_evidence::record::Outcome;

/// Which denied frames are meant.
#[derive(Clone, Debug, Args)]
pub struct Match {
    /// Only to this destination port; repeatable
    #[arg(long = "port", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Only from this address or prefix; repeatable
    #[arg(long = "source", value_name = "CIDR", value_parser = net)]
    pub sources: Vec<IpNet>,
    /// Only for this reason, such as outsider; repeatable
    #[arg(long = "reason", value_name = "NAME", value_parser = reason)]
    pub reasons: Vec<Reason>,
    /// Only what was dropped, or what would have been (audit mode)
    #[arg(long, value_name = "WHAT", value_parser = outcome)]
    pub outcome: Option<Outcome>,
}

impl Match {
    /// Whether everything is meant.
    pub fn is_all(&self) -> bool {
        self.ports.is_empty() && self.sources.is_empty() && self.reasons.is_empty() && self.outcome.is_none()
    }
}

fn net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()))
        .map_err(|_| "expected an address or a prefix such as 203.0.113.0/24".to_owned())
}

fn reason(text: &str) -> Result<Reason, String> {
    let mut denied = Reason::ALL.iter().filter(|reason| reason.verdict() == node_ebpf_common::reason::Verdict::Drop);
    denied.clone().find(|reason| reason.name() == text).copied().ok_or_else(|| {
        let names: Vec<&str> = denied.by_ref().map(|reason| reason.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn outcome(text: &str) -> Result<Outcome, String> {
    [Outcome::Drop, Outcome::WouldDrop]
        .into_iter()
        .find(|outcome| outcome.name() == text)
        .ok_or_else(|| "expected drop or would_drop".to_owned())
}
