//! The one guard in front of a policy that would cut off a cluster or its operator: the size of the peer set, and the SSH session that the command
//! came through. Pure: it is given everything it judges.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use node_ebpf_common::{PolicyImage, Reason, decide};

use super::{allow::Allow, error::AgentError, session::Session};
use crate::control::{Desired, Good};
use nodewall_policy::{
    config::{Mode, Protocol},
    probe_frame,
};

/// What the guard knows besides the policies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// What the operator allowed.
    pub(crate) allow: Allow,
    /// The session that the command came through.
    pub(crate) session: Option<Session>,
}

impl Guard {
    /// Holds `desired` unless it is safe to enforce. A policy that drops nothing is always safe.
    pub(crate) fn judge(
        &self,
        desired: &Desired,
        image: &PolicyImage,
        own: &[IpAddr],
        before: Option<&Good>,
    ) -> Result<(), AgentError> {
        desired.policy.require_peers()?;
        if desired.policy.mode != Mode::Enforce {
            return Ok(());
        }
        self.peers(desired, own, before)?;
        match &self.session {
            // A node that is its own client is so over `lo`.
            Some(session) if !desired.allow_lockout && !own.contains(&session.client) => refuse_lockout(session, image),
            _ => Ok(()),
        }
    }

    fn peers(&self, desired: &Desired, own: &[IpAddr], before: Option<&Good>) -> Result<(), AgentError> {
        let others = |peers: &[IpNet]| -> BTreeSet<IpNet> {
            let is_own = |net: &IpNet| net.prefix_len() == net.max_prefix_len() && own.contains(&net.addr());
            peers.iter().filter(|net| !is_own(net)).copied().collect()
        };
        let new = others(&desired.policy.peers);
        if new.is_empty() && !desired.policy.single_node {
            return Err(AgentError::OnlyOwnAddresses);
        }
        let Some(before) = before else { return Ok(()) };
        let old = others(&before.desired.policy.peers);
        let (gone, added) = (old.difference(&new).count(), new.difference(&old).count());
        // Without any before there is nothing to compare with.
        let too_many = |changed: usize| !old.is_empty() && changed * 2 > old.len();
        if !self.allow.peer_change && (too_many(gone) || too_many(added)) {
            return Err(AgentError::PeerChange { old: old.len(), gone, added });
        }
        Ok(())
    }
}

/// Whether `image` would cut the session off. A class that only audits cuts nobody.
fn refuse_lockout(session: &Session, image: &PolicyImage) -> Result<(), AgentError> {
    let frame = probe_frame(session.client, session.server_port, Protocol::Tcp);
    let decision = decide(frame.as_slice(), image);
    if decision.dropped() == 1 {
        return Err(AgentError::SshSession {
            client: session.client,
            port: session.server_port,
            reason: decision.reason().map_or("of another version", Reason::name),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodewall_policy::Facts;
    use nodewall_policy::RowTable;
    use nodewall_policy::compile;
    use nodewall_policy::config::Config;

    fn desired(peers: &[&str], more: &str) -> Desired {
        let text = format!("mode = \"enforce\"\n{more}\n[peers]\nstatic = {peers:?}\n");
        Desired::from_config(&Config::parse(&text, "test.toml").unwrap(), None).unwrap()
    }

    fn good(peers: &[&str]) -> Good {
        let desired = desired(peers, "single_node = true");
        Good {
            generation: 1,
            policy_sha256: String::new(),
            since_unix_ns: 0,
            decided_unix_ns: 0,
            mode_since_unix_ns: 0,
            attached: Vec::new(),
            desired,
        }
    }

    fn judge(guard: &Guard, new: &Desired, own: &[&str], before: Option<&Good>) -> Result<(), AgentError> {
        let own: Vec<IpAddr> = own.iter().map(|address| address.parse().unwrap()).collect();
        let image = compile(&new.policy, RowTable::default(), &Facts::default()).unwrap().image;
        guard.judge(new, &image, &own, before)
    }

    #[test]
    fn own_addresses_are_no_peers() {
        let guard = Guard::default();
        let only_own = desired(&["10.0.0.1"], "");
        assert!(matches!(judge(&guard, &only_own, &["10.0.0.1"], None), Err(AgentError::OnlyOwnAddresses)));
        assert!(judge(&guard, &only_own, &["10.0.0.2"], None).is_ok());
        assert!(judge(&guard, &desired(&[], "single_node = true"), &["10.0.0.1"], None).is_ok());
        assert!(matches!(judge(&guard, &desired(&[], ""), &[], None), Err(AgentError::Policy(_))));
    }

    #[test]
    fn a_peer_set_that_changes_by_more_than_half_is_held() {
        let names = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"];
        let before = good(&names[..4]);
        let held = |new: &[&str]| {
            let new = desired(new, "");
            let held = matches!(judge(&Guard::default(), &new, &[], Some(&before)), Err(AgentError::PeerChange { .. }));
            let allowed = Guard { allow: Allow { peer_change: true }, session: None };
            assert!(judge(&allowed, &new, &[], Some(&before)).is_ok());
            held
        };
        assert!(!held(&names[..2]) && held(&names[..1]));
        assert!(!held(&names[..6]) && held(&names[..7]));
        // As many as before, but others.
        assert!(!held(&names[2..6]) && held(&names[3..7]));
        // In audit nothing is cut off.
        let audit = desired(&names[..1], "");
        let audit = Desired { policy: nodewall_policy::Policy { mode: Mode::Audit, ..audit.policy }, ..audit };
        assert!(judge(&Guard::default(), &audit, &[], Some(&before)).is_ok());
    }

    #[test]
    fn the_session_that_the_command_came_through_is_not_cut() {
        let session = |client: &str, server_port| Guard {
            allow: Allow::default(),
            session: Some(Session { client: client.parse().unwrap(), server_port }),
        };
        let policy = |more: &str| desired(&["10.0.0.9"], more);
        // Port 22 is in no policy; an SSH server on a peers' port is.
        assert!(judge(&session("192.0.2.7", 22), &policy(""), &[], None).is_ok());
        let error = judge(&session("192.0.2.7", 9042), &policy(""), &[], None).unwrap_err();
        assert!(error.to_string().contains("192.0.2.7") && error.to_string().contains("9042"), "{error}");
        let audited = policy("[profile]\naudit = [\"cassandra\"]");
        assert!(judge(&session("192.0.2.7", 9042), &audited, &[], None).is_ok(), "what only audits cuts nobody");
        assert!(judge(&session("10.0.0.9", 9042), &policy(""), &[], None).is_ok());
        assert!(judge(&session("192.0.2.7", 9042), &policy("allow_lockout = true"), &[], None).is_ok());
        assert!(judge(&session("192.0.2.7", 9042), &policy(""), &["192.0.2.7"], None).is_ok());
    }
}
