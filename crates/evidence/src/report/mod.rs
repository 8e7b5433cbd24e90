//! A report of what happened in a span of time: one page that needs nothing beside it, for people who were not there. It must not read the store or write a
//! file: batches in, text out.

mod fate;
mod figures;
mod html;

pub use figures::Figures;
pub use html::{Facts, page};
