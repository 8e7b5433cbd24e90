//! `[counters]`: what it means, and what is refused.

use super::super::Config;
use super::{Case, assert_refusals};

#[test]
fn peers_are_counted_apart_where_the_file_says_so() {
    let per_peer = |text: &str| Config::parse(text, "nodewall.toml").unwrap().counters.per_peer;
    assert_eq!(Config::embedded().counters.per_peer, per_peer(""));
    assert!(per_peer("[counters]\n"));
    assert!(!per_peer("[counters]\nper_peer = false\n"));
    assert!(per_peer("[counters]\nper_peer = true\n"));
}

#[test]
fn anything_but_true_or_false_is_refused() {
    const CASES: &[Case<'_>] = &[
        ("[counters]\nper_peer = ▶\"yes\"\n", "expected true or false"),
        ("[counters]\n▶per_peers = true\n", "unknown key \"per_peers\""),
    ];
    assert_refusals(CASES);
}
