//! What is wrong for now, by what it is about: logged when it becomes so, told by `status` for as long as it is. It must not know how any of it is mended.

use std::collections::BTreeMap;

/// What an alarm is about. One that is over takes none of the others with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// Interfaces, pins and maps.
    Path,
    /// What is being set right.
    Repair,
    /// A policy or a program that should be in force and is not.
    Change,
    /// The lock of the state directory.
    Lock,
    /// The last good policy as it was written down.
    Files,
    /// The end of a trial.
    Trial,
    /// Blocks that ran out.
    Blocks,
}

#[derive(Debug, Default)]
pub(super) struct Alarms(BTreeMap<About, Vec<String>>);

impl Alarms {
    /// Takes what is wrong about this now, and logs what was not before.
    pub(super) fn set(&mut self, about: About, now: Vec<String>) {
        let before = self.of(about);
        for alarm in now.iter().filter(|alarm| !before.contains(alarm)) {
            tracing::error!("{alarm}");
        }
        self.0.insert(about, now);
    }

    /// The same of one thing that works or does not.
    pub(super) fn set_one(&mut self, about: About, now: Option<String>) {
        self.set(about, now.into_iter().collect());
    }

    pub(super) fn of(&self, about: About) -> &[String] {
        self.0.get(&about).map_or(&[], Vec::as_slice)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.0.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_takes_nothing_else_with_it() {
        let mut alarms = Alarms::default();
        alarms.set_one(About::Trial, Some("the trial".into()));
        alarms.set(About::Path, vec!["eth0".into(), "eth1".into()]);
        alarms.set(About::Path, vec!["eth1".into()]);
        assert_eq!(alarms.all().collect::<Vec<_>>(), ["eth1", "the trial"]);
        alarms.set_one(About::Trial, None);
        assert_eq!((alarms.of(About::Trial), alarms.of(About::Path)), (&[][..], &["eth1".to_owned()][..]));
    }
}
