//! The data path in force: what `status` found, as findings. It must not look by itself.

use super::finding::{Finding, Findings, Status, Subject};

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// `enforce` or `audit`.
    pub mode: String,
    /// Classes that only audit while the rest is enforced.
    pub audited: Vec<String>,
    /// Number of the policy image.
    pub generation: u64,
    /// SHA-256 of the policy, hexadecimal.
    pub policy_sha256: String,
    /// Number of peers.
    pub peers: u32,
    /// Name and attach mode (`native`, `generic`) of each filtered interface.
    pub interfaces: Vec<(String, String)>,
    /// The agent's pid; `None`: none runs.
    pub agent: Option<u32>,
    /// The change that was refused last, with the reason, if none was accepted since.
    pub refused: Option<String>,
    /// Why the agent captures no frame of what is denied, though it should.
    pub captures: Option<String>,
}

/// The data path, as far as it could be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataPathState {
    /// A policy is in force; with what is wrong, each with what to do.
    InForce(InForce, Vec<String>),
    /// None is.
    NothingInForce,
    /// These capabilities are missing.
    MissingPrivilege(Vec<&'static str>),
    /// It is there and can not be read; the error says what to do.
    Unreadable(String),
}

/// Judges the data path. `configured_sha256`: the policy that the configuration means.
pub fn findings(state: &DataPathState, configured_sha256: Option<&str>) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::DataPath);
    match state {
        DataPathState::NothingInForce => findings
            .add(Status::Degraded, "in-force", "no policy is in force")
            .because("nothing is filtered")
            .advice("`nodewall apply` or `nodewall run` puts one into force; `mode = \"audit\"` drops nothing"),
        DataPathState::MissingPrivilege(missing) => findings
            .add(Status::NotLookedAt, "in-force", "what is in force")
            .because(format!("reading it needs {}", missing.join(", ")))
            .advice("run `nodewall doctor` as root"),
        DataPathState::Unreadable(error) => findings
            .add(Status::Degraded, "in-force", format!("what is in force can not be read: {error}"))
            .because("neither can `status`, and `apply` may refuse")
            .advice("do what the error says"),
        DataPathState::InForce(force, problems) => in_force(force, problems, configured_sha256, &mut findings),
    }
    findings.into_vec()
}

fn in_force(force: &InForce, problems: &[String], configured_sha256: Option<&str>, findings: &mut Findings) {
    let interfaces: Vec<String> = force.interfaces.iter().map(|(name, mode)| format!("{name} ({mode})")).collect();
    let summary = format!(
        "mode {}, generation {}, {} peers, on {}",
        force.mode,
        force.generation,
        force.peers,
        if interfaces.is_empty() { "no interface".to_owned() } else { interfaces.join(", ") }
    );
    findings.ok("in-force", summary);
    if force.mode == "audit" {
        findings
            .add(Status::Note, "mode", "audit: everything is counted and nothing is dropped")
            .because("an outsider reaches the cluster's ports")
            .advice("set mode = \"enforce\" when `nodewall counters` shows no would_drop that surprises you");
    }
    if !force.audited.is_empty() {
        findings
            .add(Status::Note, "mode", format!("audited while the rest is enforced: {}", force.audited.join(", ")))
            .because("an outsider reaches the ports of these classes, and is counted")
            .advice(
                "take the class out of [profile] audit, or mode out of its [[rule]], when `nodewall counters` shows no would_drop that surprises you",
            );
    }
    if let Some(configured) = configured_sha256.filter(|configured| *configured != force.policy_sha256) {
        let in_force = &force.policy_sha256;
        let found =
            format!("the policy in force ({in_force:.12}…) is not what the configuration means ({configured:.12}…)");
        findings
            .add(Status::Note, "drift", found)
            .because("the configuration was changed, or flags such as --peer or an incident lever made the policy")
            .advice("`nodewall plan` shows the difference; `nodewall apply` puts the configuration into force");
    }
    if force.agent.is_none() {
        findings
            .add(Status::Note, "agent", "no agent runs")
            .because(
                "the policy stays in force, but nobody attaches interfaces that appear, or repairs what is changed",
            )
            .advice("start the service, or `nodewall run`");
    }
    if let Some(refused) = &force.refused {
        findings
            .add(Status::Note, "refused", refused)
            .because("the policy in force is the one before it")
            .advice("correct what the reason says, then `nodewall apply`");
    }
    if let Some(captures) = &force.captures {
        findings
            .add(Status::Note, "captures", format!("frames that are denied are not captured: {captures}"))
            .because("the evidence says who knocked, when and how often, and not with what bytes")
            .advice("sysctl -w kernel.perf_event_paranoid=2 where the kernel's is higher, or the drop-in captures.conf; then start the agent anew");
    }
    for problem in problems {
        let (found, advice) =
            problem.split_once("; ").unwrap_or((problem, "see `nodewall status` and the agent's messages"));
        findings
            .add(Status::Degraded, "problem", found)
            .because("what is in force is not all that it should be")
            .advice(advice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn force(mode: &str) -> InForce {
        InForce {
            mode: mode.to_owned(),
            audited: Vec::new(),
            generation: 7,
            policy_sha256: "a".repeat(64),
            peers: 2,
            interfaces: vec![("eth0".into(), "native".into())],
            agent: Some(7),
            refused: None,
            captures: None,
        }
    }

    #[test]
    fn each_state_has_its_finding() {
        let well = || DataPathState::InForce(force("enforce"), Vec::new());
        let foreign = "eth0: program 5 runs there instead of ours; find out whose it is".to_owned();
        let audit = DataPathState::InForce(force("audit"), vec![foreign]);
        assert!(findings(&well(), None)[0].found.contains("eth0 (native)"));
        assert_eq!(findings(&audit, None)[2].advice.as_deref(), Some("find out whose it is"));
        let blind = InForce { captures: Some("can not open a buffer".into()), ..force("enforce") };
        let alone = InForce { agent: None, refused: Some("reload was refused: x".into()), ..force("enforce") };
        let partly = InForce { audited: vec!["agent".into()], ..force("enforce") };
        let (same, other) = ("a".repeat(64), "b".repeat(64));
        let in_force = ("in-force", Status::Ok);
        let degraded = ("in-force", Status::Degraded);
        for (state, configured, expected) in [
            (well(), Some(&same), vec![in_force]),
            (well(), Some(&other), vec![in_force, ("drift", Status::Note)]),
            (audit, Some(&same), vec![in_force, ("mode", Status::Note), ("problem", Status::Degraded)]),
            (DataPathState::InForce(partly, vec![]), None, vec![in_force, ("mode", Status::Note)]),
            (DataPathState::InForce(blind, vec![]), None, vec![in_force, ("captures", Status::Note)]),
            (
                DataPathState::InForce(alone, vec![]),
                None,
                vec![in_force, ("agent", Status::Note), ("refused", Status::Note)],
            ),
            (DataPathState::NothingInForce, None, vec![degraded]),
            (DataPathState::MissingPrivilege(vec!["CAP_BPF"]), None, vec![("in-force", Status::NotLookedAt)]),
            (DataPathState::Unreadable("x".into()), None, vec![degraded]),
        ] {
            let found = findings(&state, configured.map(String::as_str));
            let found: Vec<_> = found.iter().map(|finding| (finding.check, finding.status)).collect();
            assert_eq!(found, expected, "{state:?}");
        }
    }
}
