//! Flows summed by source, port or hour. What was dropped and what only would have been are never added up. It must not read the store or print.

mod rows;
mod summing;
mod totals;

pub use rows::{HourSum, LossSum, PortSum, SourceSum, Sums, by_loss};
pub use summing::{ByHour, ByPort, BySource, Group, Summing};
