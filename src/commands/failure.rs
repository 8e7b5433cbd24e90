//! Error -> message and exit code, in one place.

use std::io;

use rustix::process::geteuid;

use crate::{
    cli::exit_codes::{FAILED, PRIVILEGE, USAGE, WOULD_CUT},
    control::AgentError,
    init::{AnswersError, FileError},
    peers::OperatorError,
};
use nodewall_datapath::DatapathError;
use nodewall_evidence::store::StoreError;
use nodewall_host::{net::NetError, state::StateError};
use nodewall_policy::{CompileError, PolicyError, config::ConfigErrors};
use nodewall_text::{fit, out::stderr};

/// A command that did not do what was asked. Nothing changed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    /// A flag's value is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    /// Somebody in conversation would be cut off.
    pub(crate) fn would_cut(error: impl Into<anyhow::Error>) -> Self {
        Self { code: WOULD_CUT, error: error.into() }
    }

    /// The message.
    pub(crate) fn text(&self) -> String {
        let told = message(&self.error);
        let is_said = ["run as root", "with sudo"].iter().any(|words| told.contains(words));
        if self.code != PRIVILEGE || is_said || geteuid().is_root() {
            return told;
        }
        format!("{told}; it needs root: run it with sudo")
    }

    /// Tells it, and returns the exit code.
    pub(crate) fn report(self) -> u8 {
        let told = format!("nodewall: {}", self.text());
        let mut err = stderr();
        // Nobody may be listening any more; the exit code still tells.
        let _ = if self.error.chain().any(<dyn std::error::Error>::is::<ConfigErrors>) {
            // Only these have the picture of a place; what they quote has no line ends.
            told.lines().try_for_each(|line| err.line(&fit(line)))
        } else {
            err.line(&fit(&told))
        };
        self.code
    }
}

/// The error and its causes, without those that the text before them already holds.
pub(super) fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        _ if told.contains(&cause) => told,
        _ => format!("{told}: {cause}"),
    })
}

fn datapath_code(error: &DatapathError) -> u8 {
    denied_code(error.is_privilege())
}

fn io_code(error: &io::Error) -> u8 {
    denied_code(error.kind() == io::ErrorKind::PermissionDenied)
}

fn denied_code(is_denied: bool) -> u8 {
    if is_denied { PRIVILEGE } else { FAILED }
}

fn state_code(error: &StateError) -> u8 {
    match error {
        StateError::Io { source, .. } => io_code(source),
        StateError::Directory(refusal) => denied_code(refusal.is_denied()),
        _ => FAILED,
    }
}

fn store_code(error: &StoreError) -> u8 {
    match error {
        StoreError::Io { source, .. } => io_code(source),
        StoreError::Way(refusal) => denied_code(refusal.is_denied()),
        _ => FAILED,
    }
}

fn agent_code(error: &AgentError) -> u8 {
    match error {
        AgentError::Datapath(inner) => datapath_code(inner),
        AgentError::State(inner) => state_code(inner),
        _ => FAILED,
    }
}

fn file_code(error: &FileError) -> u8 {
    match error {
        FileError::Io { source, .. } => io_code(source),
        FileError::Way(refusal) => denied_code(refusal.is_denied()),
        _ => FAILED,
    }
}

fn answers_code(error: &AnswersError) -> u8 {
    if let AnswersError::Ended(_) = error { FAILED } else { USAGE }
}

/// Of an error that was put into words on its way: what it was still tells.
fn told_code(error: &anyhow::Error) -> u8 {
    let code = |cause: &(dyn std::error::Error + 'static)| {
        let of_state = cause.downcast_ref().map(state_code);
        let of_datapath = || cause.downcast_ref().map(datapath_code);
        of_state.or_else(of_datapath).or_else(|| cause.downcast_ref().map(agent_code))
    };
    error.chain().find_map(code).unwrap_or(FAILED)
}

macro_rules! failures {
    ($($error:ty => $code:expr;)+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let code: fn(&$error) -> u8 = $code;
                Self { code: code(&error), error: error.into() }
            }
        })+
    };
}

failures! {
    DatapathError => datapath_code;
    StateError => state_code;
    AgentError => agent_code;
    FileError => file_code;
    AnswersError => answers_code;
    anyhow::Error => told_code;
    ConfigErrors => |errors| denied_code(errors.is_denied());
    PolicyError => |_| FAILED;
    CompileError => |_| FAILED;
    NetError => |_| FAILED;
    OperatorError => |_| FAILED;
    StoreError => store_code;
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::message;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::Error::new(std::io::Error::other("no such thing"));
        assert_eq!(message(&error), "no such thing");
        let once =
            Err::<(), _>(error).context("can not open x: no such thing").context("reading").map_err(|e| message(&e));
        assert_eq!(once, Err("reading: can not open x: no such thing".to_owned()));
    }
}
