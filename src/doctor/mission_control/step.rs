//! What the steps to Mission Control have in common: a connection, a time limit, what a step comes to.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::doctor::finding::{Finding, Status, Subject};

/// No step takes longer.
pub(super) const STEP: Duration = Duration::from_secs(5);

/// A connection, straight or through a proxy.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
pub(super) type Connection = Box<dyn Stream>;

/// A step that went well, or one that did not, after which there is no other.
pub(super) type StepResult<T> = Result<(T, Finding), Finding>;

/// A step that failed.
pub(super) fn fail(check: &'static str, found: impl Into<String>) -> Finding {
    Finding::new(Subject::MissionControl, Status::Failed, check, found)
}
