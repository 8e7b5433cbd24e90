//! Error -> message and exit code, in one place.

use std::{io::Write, process::ExitCode};

use crate::{control::AgentError, peers::OperatorError};
use nodewall_datapath::DatapathError;
use nodewall_evidence::store::StoreError;
use nodewall_host::{net::NetError, state::StateError};
use nodewall_policy::{CompileError, PolicyError, config::ConfigErrors};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
pub(super) const PRIVILEGE: u8 = 4;

/// A command that did not do what was asked. Nothing changed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
}

impl Failure {
    pub(crate) fn other(error: anyhow::Error) -> Self {
        Self { code: FAILED, error }
    }

    /// A flag's value is wrong.
    pub(crate) fn usage(error: ConfigErrors) -> Self {
        Self { code: USAGE, error: error.into() }
    }

    /// The message, in one line.
    pub(crate) fn text(&self) -> String {
        message(&self.error)
    }

    /// A flag's value is wrong, as only the command itself could see.
    pub(crate) fn usage_text(text: String) -> Self {
        Self { code: USAGE, error: anyhow::anyhow!(text) }
    }

    /// With the exit code that tells what is missing.
    pub(crate) fn with_code(code: u8, error: anyhow::Error) -> Self {
        Self { code, error }
    }

    pub(crate) fn report(self) -> ExitCode {
        // Nobody may be listening any more; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "nodewall: {}", message(&self.error));
        ExitCode::from(self.code)
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
    if error.is_privilege() { PRIVILEGE } else { FAILED }
}

impl From<DatapathError> for Failure {
    fn from(error: DatapathError) -> Self {
        Self { code: datapath_code(&error), error: error.into() }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let code = match &error {
            AgentError::Datapath(inner) => datapath_code(inner),
            AgentError::State(inner) => state_code(inner),
            _ => FAILED,
        };
        Self { code, error: error.into() }
    }
}

fn state_code(error: &StateError) -> u8 {
    match error {
        StateError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => PRIVILEGE,
        _ => FAILED,
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self { code: state_code(&error), error: error.into() }
    }
}

macro_rules! failed {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self { code: FAILED, error: error.into() }
            }
        })+
    };
}
failed!(anyhow::Error, ConfigErrors, PolicyError, CompileError, NetError, OperatorError, StoreError);

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
