//! The policy's map: that no program writes it, which no flag of the map can say.

use node_ebpf_common::Shape;
use nodewall_datapath::{Buffers, Classifier, Loaded};
use nodewall_testbed::skip_unless_privileged;

/// A map that programs may not write cannot be written through memory either, so the verifier is asked over one that nobody fills.
#[test]
fn no_program_writes_the_policy() {
    if skip_unless_privileged("no_program_writes_the_policy") {
        return;
    }
    let names = Shape::NAMES.iter().filter(|name| **name != "log");
    let all = names.fold(Shape::PLAIN, |shape, name| shape.with(name));
    for shape in [Shape::PLAIN, Shape::LOGGED, all, Shape { answer: false, ..all }] {
        let mut loaded = Loaded::over_read_only_policy(shape).unwrap();
        loaded.load_for(Buffers::Linear).unwrap();
        if loaded.load_for(Buffers::Frags).is_err() {
            println!("SKIPPED frames of many buffers: this kernel has none");
        }
        for classifier in [Classifier::Ingress, Classifier::IngressIp, Classifier::Egress, Classifier::EgressIp] {
            loaded.classifier_info(classifier).unwrap();
        }
    }
}
