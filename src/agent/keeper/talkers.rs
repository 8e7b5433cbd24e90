//! Who talks with this node, noted for `plan` and `enforce`: the connections that are there, those that ended since, and what the host tracks. No verdict
//! depends on it.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::control::{Seen, affected};
use nodewall_host::{
    net::{self, Conversation, EndedConnections},
    state::{Clock, StateDir},
};
use nodewall_policy::{
    Policy,
    config::{Mode, PortSet},
};

/// How often it is noted who is connected. With no connection at all it is the dearest thing that an idle agent does: the kernel walks its whole table for it.
const SAMPLE_EVERY: Duration = Duration::from_secs(30);
/// Connections that ended and wait to be noted.
const MAX_ENDED: usize = 10_000;

/// What is known of them between two looks.
pub(super) struct Talkers {
    seen: Seen,
    sampled: Option<Instant>,
    /// `None`: this kernel does not tell of connections that end.
    watch: Option<EndedConnections>,
    ended: BTreeSet<Conversation>,
}

impl Talkers {
    pub(super) fn new(state: &StateDir) -> Self {
        let watch = EndedConnections::watch();
        if let Err(error) = &watch {
            tracing::debug!("connections that end between two looks are not noted: {error}");
        }
        Self { seen: state.read_note().unwrap_or_default(), sampled: None, watch: watch.ok(), ended: BTreeSet::new() }
    }

    /// Once a second. `policy`: the one in force, whose ports for few are those that matter.
    pub(super) fn look(&mut self, state: &StateDir, own: &BTreeSet<IpAddr>, policy: &Policy) {
        let ended = self.watch.as_ref().map(EndedConnections::take).unwrap_or_default();
        let room = MAX_ENDED.saturating_sub(self.ended.len());
        self.ended.extend(ended.into_iter().filter(|talk| affected::is_from_outside(talk, own)).take(room));
        let is_time = self.sampled.is_none_or(|then| then.elapsed() >= SAMPLE_EVERY);
        if !is_time && self.ended.is_empty() {
            return;
        }
        let restricted = policy.restricted_ports();
        // Somebody new is noted at once: a plan may be asked for.
        let is_new = |talk: &Conversation| restricted.contains(talk.port) && self.seen.is_new(talk);
        if !is_time && !self.ended.iter().any(is_new) {
            return;
        }
        if let Err(error) = self.note(state, own, policy, &restricted) {
            tracing::debug!("who talks with this node could not be noted: {error}");
        }
    }

    fn note(
        &mut self,
        state: &StateDir,
        own: &BTreeSet<IpAddr>,
        policy: &Policy,
        restricted: &PortSet,
    ) -> io::Result<()> {
        self.sampled = Some(Instant::now());
        let sockets = net::tcp_sockets().map_err(io::Error::other)?;
        // A connection on a port of nobody's was this node's own doing. Behind a redirect it is another port than the policy's.
        let served: BTreeSet<u16> = sockets.listening().map(|socket| socket.local.port()).collect();
        let is_served = |talk: &Conversation| served.contains(&talk.port) || restricted.contains(talk.port);
        let ended = std::mem::take(&mut self.ended).into_iter().filter(is_served);
        // Somebody may be cut off one day who is let in now.
        let audits = policy.mode == Mode::Audit || !policy.audited().is_empty();
        let tracked = if audits { affected::tracked(own) } else { BTreeSet::new() };
        self.seen.add(ended.chain(affected::connected(&sockets, own)).chain(tracked), &Clock::now());
        state.write_note(&self.seen)
    }
}
