//! Every entry of the kernel object is taken by this kernel's verifier. Tells the host what it cost.

use crate::{
    cases::{Compile as _, Policy, all, ipv4::jumbo},
    guest::{fact, lacks, skip_outside, version},
};
use nodewall_datapath::{Buffers, DatapathError, EgressEngine, Entry, KernelEngine, ProgramFacts};

/// Multi-buffer XDP.
const FRAGS: (u32, u32) = (5, 18);
/// The verifier's count of instructions.
const COUNT: (u32, u32) = (5, 16);

fn load(test: &str, entry: Entry, buffers: Buffers) -> Result<String, DatapathError> {
    let image = Policy::Enforce.compiled().image;
    Ok(cost(test, KernelEngine::new(&image, entry, Some(buffers))?.facts()?))
}

fn cost(test: &str, facts: ProgramFacts) -> String {
    if facts.verified_instructions.is_none() {
        lacks(test, "count of verified instructions", COUNT);
    }
    let verified = facts.verified_instructions.map_or("?".to_owned(), |count| count.to_string());
    let translated = facts.translated_instructions.map_or("?".to_owned(), |count| count.to_string());
    format!("{verified} / {translated}")
}

fn linear(test: &str, name: &str, entry: Entry) {
    if skip_outside(test) {
        return;
    }
    let loaded = load(test, entry, Buffers::Linear);
    fact(name, loaded.as_deref().unwrap_or("REFUSED"));
    loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn frags(test: &str, name: &str, entry: Entry) {
    if skip_outside(test) {
        return;
    }
    match load(test, entry, Buffers::Frags) {
        Ok(cost) => fact(name, &cost),
        Err(error) => {
            fact(name, "REFUSED");
            // An older kernel does not know the flag; anything else is the verifier's.
            let unknown_flag = version() < FRAGS && error.to_string().contains("Invalid argument");
            assert!(unknown_flag, "{name}: {error}");
            fact(name, "none");
            lacks(test, "multi-buffer XDP", FRAGS);
        }
    }
}

#[test]
fn the_filter() {
    linear("load::the_filter", "nodewall", Entry::Filter);
}

#[test]
fn the_filter_for_many_buffers() {
    frags("load::the_filter_for_many_buffers", "nodewall_frags", Entry::Filter);
}

#[test]
fn the_filter_that_notes_who_is_denied() {
    linear("load::the_filter_that_notes_who_is_denied", "nodewall_ev", Entry::FilterEvidence);
}

#[test]
fn the_filter_that_notes_who_is_denied_in_many_buffers() {
    frags("load::the_filter_that_notes_who_is_denied_in_many_buffers", "nodewall_ev_f", Entry::FilterEvidence);
}

#[test]
fn the_filter_that_counts_for_each_peer() {
    linear("load::the_filter_that_counts_for_each_peer", "nodewall_peers", Entry::FilterPerPeer);
}

#[test]
fn the_filter_that_counts_for_each_peer_in_many_buffers() {
    frags("load::the_filter_that_counts_for_each_peer_in_many_buffers", "nodewall_peer_f", Entry::FilterPerPeer);
}

#[test]
fn the_filter_that_logs() {
    linear("load::the_filter_that_logs", "nodewall_log", Entry::FilterLogged);
}

#[test]
fn the_filter_that_logs_for_many_buffers() {
    frags("load::the_filter_that_logs_for_many_buffers", "nodewall_log_f", Entry::FilterLogged);
}

#[test]
fn the_probe() {
    linear("load::the_probe", "nodewall_probe", Entry::Probe);
}

#[test]
fn the_probe_for_many_buffers() {
    frags("load::the_probe_for_many_buffers", "nodewall_probe_f", Entry::Probe);
}

#[test]
fn the_outbound_counter() {
    let (test, name) = ("load::the_outbound_counter", "nodewall_egress");
    if skip_outside(test) {
        return;
    }
    let loaded = EgressEngine::new(&Policy::Enforce.compiled().image).and_then(|mut engine| engine.facts());
    let said = loaded.map(|facts| cost(test, facts));
    fact(name, said.as_deref().unwrap_or("REFUSED"));
    said.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// The best that the kernel has is taken unasked, and works: nobody has to know the kernel's version.
#[test]
fn without_a_choice_the_best_is_taken() {
    if skip_outside("load::without_a_choice_the_best_is_taken") {
        return;
    }
    let compiled = Policy::Enforce.compiled();
    let mut engine = KernelEngine::new(&compiled.image, Entry::Probe, None).unwrap();
    for case in all().iter().filter(|case| case.policy == Policy::Enforce && case.frame.len() >= 14) {
        assert_eq!(engine.decide(&case.frame).unwrap().reason, case.reason.number(), "{}", case.name);
    }
    fact("cases_linear", &all().iter().filter(|case| case.frame.len() >= 14).count().to_string());
    fact("cases_frags", &all().iter().filter(|case| case.frame.len() >= 14).chain(&jumbo()).count().to_string());
}
