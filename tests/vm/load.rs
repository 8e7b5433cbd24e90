//! Every program of the kernel object, in every shape, is taken by this kernel's verifier. Tells the host what it cost.

use crate::{
    cases::{Compile as _, Policy, all, ipv4::jumbo},
    guest::{fact, lacks, skip_outside, version},
};
use node_ebpf_common::Shape;
use nodewall_datapath::{Buffers, DatapathError, EgressEngine, KernelEngine, Layer, ProgramFacts};

/// Multi-buffer XDP.
const FRAGS: (u32, u32) = (5, 18);
/// The verifier's count of instructions.
const COUNT: (u32, u32) = (5, 16);

fn load(test: &str, shape: Shape, buffers: Buffers) -> Result<String, DatapathError> {
    let image = Policy::Enforce.compiled().image;
    Ok(cost(test, KernelEngine::new(&image, shape, Some(buffers))?.facts()?))
}

fn cost(test: &str, facts: ProgramFacts) -> String {
    if facts.verified_instructions.is_none() {
        lacks(test, "count of verified instructions", COUNT);
    }
    let verified = facts.verified_instructions.map_or("?".to_owned(), |count| count.to_string());
    let translated = facts.translated_instructions.map_or("?".to_owned(), |count| count.to_string());
    format!("{verified} / {translated}")
}

/// Every shape that the product uses.
const SHAPES: [Shape; 7] = [
    Shape::PLAIN,
    Shape::EVIDENCE,
    Shape::PER_PEER,
    Shape { interface_rules: true, ..Shape::PER_PEER },
    Shape { interface_rules: true, ..Shape::LOGGED },
    Shape { atomic: true, ..Shape::PER_PEER },
    Shape::ANSWERS,
];

#[test]
fn the_filter_in_every_shape() {
    let test = "load::the_filter_in_every_shape";
    if skip_outside(test) {
        return;
    }
    for shape in SHAPES {
        let loaded = load(test, shape, Buffers::Linear);
        fact(&format!("nodewall[{shape}]"), loaded.as_deref().unwrap_or("REFUSED"));
        loaded.unwrap_or_else(|error| panic!("{shape}: {error}"));
    }
}

#[test]
fn the_filter_for_many_buffers_in_every_shape() {
    let test = "load::the_filter_for_many_buffers_in_every_shape";
    if skip_outside(test) {
        return;
    }
    for shape in SHAPES {
        let name = format!("nodewall_frags[{shape}]");
        match load(test, shape, Buffers::Frags) {
            Ok(cost) => fact(&name, &cost),
            Err(error) => {
                fact(&name, "REFUSED");
                // An older kernel does not know the flag; anything else is the verifier's.
                let unknown_flag = version() < FRAGS && error.to_string().contains("Invalid argument");
                assert!(unknown_flag, "{name}: {error}");
                fact(&name, "none");
                lacks(test, "multi-buffer XDP", FRAGS);
            }
        }
    }
}

#[test]
fn the_filter_of_the_tc_hook_in_every_shape() {
    let test = "load::the_filter_of_the_tc_hook_in_every_shape";
    if skip_outside(test) {
        return;
    }
    let image = Policy::Enforce.compiled().image;
    for (layer, program) in [(Layer::Ethernet, "nodewall_ingress"), (Layer::Ip, "nodewall_packets")] {
        for shape in SHAPES {
            let loaded = KernelEngine::at_tc(&image, shape, layer).and_then(|mut engine| engine.facts());
            let said = loaded.map(|facts| cost(test, facts));
            fact(&format!("{program}[{shape}]"), said.as_deref().unwrap_or("REFUSED"));
            said.unwrap_or_else(|error| panic!("{program}, {shape}: {error}"));
        }
    }
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
    let mut engine = KernelEngine::new(&compiled.image, Shape::ANSWERS, None).unwrap();
    for case in all().iter().filter(|case| case.policy == Policy::Enforce && case.frame.len() >= 14) {
        assert_eq!(engine.decide(&case.frame).unwrap().reason(), Some(case.reason), "{}", case.name);
    }
    fact("cases_linear", &all().iter().filter(|case| case.frame.len() >= 14).count().to_string());
    fact("cases_frags", &all().iter().filter(|case| case.frame.len() >= 14).chain(&jumbo()).count().to_string());
}
