//! The state directory as the levers use it: what is damaged there must not keep a node open, nor a full disk a lever from its work.

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

/// Writes to the journal. A full disk must not keep a lever from working.
pub(crate) fn note(state: &StateDir, action: &str, detail: &str, who: Option<&Who>) {
    if let Err(error) = state.journal(action, detail, who) {
        tracing::error!("{error}; not in the journal: {action}: {detail}");
    }
}
