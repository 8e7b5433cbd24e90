//! What a check says: its subject, how bad it is, what was found, why it matters, what to do.

use serde::Serialize;

/// Every check, in the order of docs/DOCTOR.md, which has a heading for each.
pub const CHECKS: &[&str] = &[
    "features",
    "filter",
    "test-run",
    "ingress",
    "egress",
    "multi-buffer",
    "jit",
    "memory-lock",
    "bpffs",
    "btf",
    "unprivileged-bpf",
    "in-force",
    "mode",
    "drift",
    "agent",
    "refused",
    "captures",
    "problem",
    "attached",
    "tc",
    "no-link-header",
    "generic",
    "native",
    "mtu",
    "lro",
    "queues",
    "bond",
    "foreign-program",
    "missing",
    "selection",
    "uncovered",
    "incomplete",
    "tunnel",
    "peer-route",
    "peer-source",
    "peer-nat",
    "local-ports",
    "masquerade",
    "fragments",
    "unnamed-listener",
    "closed-listener",
    "silent-port",
    "sockets",
    "policy",
    "packet-filter",
    "configuration",
    "ownership",
    "resolve",
    "connect",
    "proxy",
    "proxy-login",
    "tls",
    "certificate",
    "upgrade",
];

/// What a finding is about; findings are shown in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// What the kernel can do.
    Kernel,
    /// The policy and the links in force.
    DataPath,
    /// Interfaces, drivers, tunnels.
    Interfaces,
    /// The ways to the peers.
    Peers,
    /// Replies to this host's own connections, and fragments.
    Replies,
    /// Sockets against the policy.
    Listeners,
    /// Other packet filters on this host.
    Firewall,
    /// Configuration, state directory.
    Files,
    /// The way to the vendor's Mission Control.
    MissionControl,
}

impl Subject {
    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::DataPath => "data path",
            Self::Interfaces => "interfaces",
            Self::Peers => "the ways to the peers",
            Self::Replies => "replies and fragments",
            Self::Listeners => "listening sockets",
            Self::Firewall => "the host's own packet filter",
            Self::Files => "files",
            Self::MissionControl => "the way to Mission Control",
        }
    }
}

/// How bad it is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works; worth knowing.
    Note,
    /// Could not be read or understood; nothing is claimed.
    Unknown,
    /// Not looked at, because this process may not.
    NotLookedAt,
    /// Protects less than it should, or breaks something.
    Degraded,
    /// nodewall can not work like this.
    Failed,
}

impl Status {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::NotLookedAt => "not_looked_at",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// How bad it is.
    pub status: Status,
    /// Which check this is: a stable word for scripts, a heading of docs/DOCTOR.md.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// Why it matters; `None` when all is well.
    pub why: Option<String>,
    /// What to do.
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: Subject, check: &'static str, found: impl Into<String>) -> Self {
        debug_assert!(CHECKS.contains(&check), "{check} is not among the checks");
        Self { subject, status: Status::Ok, check, found: found.into(), why: None, advice: None }
    }

    /// Something that is not.
    pub fn new(subject: Subject, status: Status, check: &'static str, found: impl Into<String>) -> Self {
        Self { status, ..Self::ok(subject, check, found) }
    }

    /// Why it matters.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// What to do.
    #[must_use]
    pub fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// The findings of one subject, as they are made.
pub(super) struct Findings {
    subject: Subject,
    made: Vec<Finding>,
}

impl Findings {
    /// None yet.
    pub(super) fn of(subject: Subject) -> Self {
        Self { subject, made: Vec::new() }
    }

    /// All is well.
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.made.push(Finding::ok(self.subject, check, found));
    }

    /// Something is not; what it means and what to do is said next.
    pub(super) fn add(&mut self, status: Status, check: &'static str, found: impl Into<String>) -> Explained<'_> {
        Explained(self.made.push_mut(Finding::new(self.subject, status, check, found)))
    }

    /// All of them.
    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.made
    }
}

/// A finding that gets its explanation.
pub(super) struct Explained<'a>(&'a mut Finding);

impl Explained<'_> {
    /// Why it matters.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        self.0.why = Some(why.into());
        self
    }

    /// What to do.
    pub(super) fn advice(self, advice: impl Into<String>) {
        self.0.advice = Some(advice.into());
    }
}

/// The worst of all findings.
pub fn worst(findings: &[Finding]) -> Status {
    findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_a_heading_for_each_check() {
        let page = include_str!("../../docs/DOCTOR.md");
        let headings: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
        assert_eq!(headings, CHECKS);
        for subject in [
            Subject::Kernel,
            Subject::DataPath,
            Subject::Interfaces,
            Subject::Peers,
            Subject::Replies,
            Subject::Listeners,
            Subject::Firewall,
            Subject::Files,
            Subject::MissionControl,
        ] {
            let word = serde_json::to_string(&subject).unwrap_or_default();
            assert!(page.contains(&format!("(`{}`)", word.trim_matches('"'))), "{word}");
        }
        for status in [Status::Ok, Status::Note, Status::Unknown, Status::NotLookedAt, Status::Degraded, Status::Failed]
        {
            assert_eq!(serde_json::to_string(&status).ok(), Some(format!("{:?}", status.name())));
            assert!(page.contains(&format!("| `{}` |", status.name())), "{}", status.name());
        }
    }

    #[test]
    fn the_worst_counts() {
        let of = |status| Finding::new(Subject::Kernel, status, "bpffs", "");
        assert_eq!(worst(&[]), Status::Ok);
        assert_eq!(worst(&[of(Status::Degraded), of(Status::NotLookedAt), of(Status::Note)]), Status::Degraded);
    }
}
