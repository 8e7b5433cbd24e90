//! `nodewall events`: one file per question.

pub(super) mod export;
