//! The model of the verdict that the property test compares with.

pub use nodewall_model::{answer, node::Node, verdict::judge};
