//! What an operator allows by a flag.

/// Flags by which an operator allows what the guards would hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// The peer set may change by more than half.
    pub peer_change: bool,
}
