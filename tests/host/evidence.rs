//! The store of evidence: what goes in comes out, the oldest leaves, a full disk and a damaged file are survived; and no edit goes unnoticed.

mod damage;
mod forgery;
mod keeping;
mod readers;
mod samples;
