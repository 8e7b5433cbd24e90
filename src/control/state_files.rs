//! The state directory as the levers use it: what is damaged there must not keep a node open, nor a full disk a lever from its work.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::{Mutex, PoisonError},
};

use nodewall_host::state::{StateDir, StateError, Who};

/// What is damaged counts as not there, said loudly: a node must not stay open at a boot because of a file that only refines the policy.
pub(crate) fn readable<T: Default>(read: Result<T, StateError>) -> Result<T, StateError> {
    match read {
        Err(error @ StateError::Damaged { .. }) => {
            tracing::error!("{error}; going on without it");
            Ok(T::default())
        }
        result => result,
    }
}

/// Says that a file cannot be written, and what that costs: once, until it can. Commands end before they could say it twice; the agent tries for ever.
pub(crate) fn tell_once<E: Display>(what: &'static str, written: Result<(), E>, cost: &str) {
    static FAILING: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut failing = FAILING.lock().unwrap_or_else(PoisonError::into_inner);
    match written {
        Ok(()) => drop(failing.remove(what)),
        Err(error) if failing.insert(what) => tracing::error!("{error}; {cost}"),
        Err(_) => {}
    }
}

/// Writes to the journal. A full disk must not keep a lever from working.
pub(crate) fn note(state: &StateDir, action: &str, detail: &str, who: Option<&Who>) {
    if let Err(error) = state.journal(action, detail, who) {
        tracing::error!("{error}; not in the journal: {action}: {detail}");
    }
}
