//! The store of evidence: what goes in comes out, the oldest leaves, a full disk and a damaged file are survived; and no edit goes unnoticed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

#[path = "evidence/beside.rs"]
mod beside;
#[path = "evidence/damage.rs"]
mod damage;
#[path = "evidence/forgery.rs"]
mod forgery;
#[path = "evidence/keeping.rs"]
mod keeping;
#[path = "evidence/samples.rs"]
mod samples;
