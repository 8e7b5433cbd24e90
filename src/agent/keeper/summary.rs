//! How the agent does, in one line for people. It must not look at the kernel: it is made at every wake.

use super::Keeper;
use nodewall_policy::mode_in_words;

impl<R> Keeper<R> {
    /// Mode, what it rests on, and what is wrong.
    pub(in crate::agent) fn summary(&self) -> String {
        if self.site.state.is_detached() {
            return "open: detached by an operator; `nodewall apply` closes it again".to_owned();
        }
        let policy = self.applied.in_force.policy();
        let (peers, interfaces) = (policy.peers.len(), self.applied.coverage.covered().count());
        let mut alarms = self.applied.coverage.interface_alarms();
        alarms.extend(self.health.alarms.iter().cloned());
        let health = match alarms.as_slice() {
            [] => "healthy".to_owned(),
            [alarm] => alarm.clone(),
            [alarm, rest @ ..] => format!("{alarm} (and {} more, see `nodewall status`)", rest.len()),
        };
        format!(
            "{}, generation {}, {}, {}; {health}",
            mode_in_words(policy.mode.as_str(), &policy.audited()),
            self.applied.in_force.generation,
            counted(peers, "peer"),
            counted(interfaces, "interface")
        )
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_not_many() {
        assert_eq!([counted(0, "peer"), counted(1, "peer"), counted(2, "peer")], ["0 peers", "1 peer", "2 peers"]);
    }
}
