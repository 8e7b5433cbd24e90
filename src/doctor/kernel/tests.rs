//! Tests of `kernel`: each answer of a kernel has its finding, and the kernel here gives answers.
use super::*;
use nodewall_datapath::{FilterFacts, Probe};
use nodewall_policy::{Facts, Policy, RowTable, compile, config::Config};

const LOADED: FilterFacts = FilterFacts {
    buffers: Buffers::Frags,
    verified_instructions: Some(14_000),
    translated_instructions: Some(600),
    jit: true,
};

fn features() -> Features {
    let probe = |feature, needed, answer| Probe { feature, needed, since: "5.9", answer };
    Features {
        probes: vec![
            probe("XDP links", true, Ok(true)),
            probe("ring buffer", true, Ok(true)),
            probe("memory of maps charged to the control group", false, Ok(true)),
        ],
        filter: Ok(LOADED),
        ingress: Ok(LOADED),
        egress: Ok(LOADED),
        test_run: Ok(4),
    }
}

fn kernel(features: Features) -> KernelFacts {
    KernelFacts {
        release: "6.1.0".to_owned(),
        features: Ok(features),
        btf: true,
        bpffs: true,
        pins: "/sys/fs/bpf/nodewall".into(),
        unprivileged_bpf_disabled: Some(2),
        memory_lock_bytes: Some(65_536),
    }
}

/// What is not well: check and status.
fn complaints(kernel: &KernelFacts) -> Vec<(&'static str, Status)> {
    let findings = findings(kernel);
    findings
        .iter()
        .filter(|finding| finding.status != Status::Ok)
        .map(|finding| (finding.check, finding.status))
        .collect()
}

#[test]
fn a_good_kernel_has_no_complaint() {
    assert_eq!(complaints(&kernel(features())), []);
    let text: Vec<String> = findings(&kernel(features())).into_iter().map(|finding| finding.found).collect();
    assert!(text.iter().any(|line| line.contains("14000 of 1000000") && line.contains("98.6 %")), "{text:?}");
}

#[test]
fn each_lack_is_named_by_its_weight() {
    let without = |feature: &str, answer: Result<bool, String>| {
        let mut features = features();
        features.probes.iter_mut().find(|probe| probe.feature.starts_with(feature)).unwrap().answer = answer;
        complaints(&kernel(features))
    };
    assert_eq!(without("XDP links", Ok(false)), [("features", Status::Failed)]);
    assert_eq!(without("XDP links", Err("x".into())), [("features", Status::Failed)]);
    assert_eq!(without("ring buffer", Ok(false)), [("features", Status::Failed)]);
    // A limit matters only where maps count against it.
    assert_eq!(without("memory", Ok(false)), [("memory-lock", Status::Note)]);
    assert_eq!(without("memory", Err("x".into())), [("features", Status::Unknown)]);

    let filter = |change: fn(&mut FilterFacts)| {
        let mut features = features();
        change(features.filter.as_mut().unwrap());
        complaints(&kernel(features))
    };
    assert_eq!(filter(|filter| filter.buffers = Buffers::Linear), [("multi-buffer", Status::Note)]);
    assert_eq!(filter(|filter| filter.jit = false), [("jit", Status::Degraded)]);
    assert_eq!(filter(|filter| filter.verified_instructions = Some(250_001)), [("filter", Status::Note)]);
    assert_eq!(filter(|filter| filter.verified_instructions = None), []);

    let refused = Features { filter: Err("refused".into()), ..features() };
    assert_eq!(complaints(&kernel(refused)), [("filter", Status::Failed)]);
    let xdp_alone = Features { ingress: Err("refused".into()), ..features() };
    assert_eq!(complaints(&kernel(xdp_alone)), [("ingress", Status::Degraded)]);
    let silent = Features { egress: Err("refused".into()), ..features() };
    assert_eq!(complaints(&kernel(silent)), [("egress", Status::Degraded)]);
    let differs = Features { test_run: Err("for test frame 2 …".into()), ..features() };
    assert_eq!(complaints(&kernel(differs)), [("test-run", Status::Failed)]);
}

#[test]
fn what_surrounds_the_features() {
    let change = |change: fn(&mut KernelFacts)| {
        let mut kernel = kernel(features());
        change(&mut kernel);
        complaints(&kernel)
    };
    assert_eq!(change(|kernel| kernel.btf = false), [("btf", Status::Note)]);
    assert_eq!(change(|kernel| kernel.unprivileged_bpf_disabled = Some(0)), [("unprivileged-bpf", Status::Note)]);
    assert_eq!(change(|kernel| kernel.bpffs = false), [("bpffs", Status::Note)]);
    let elsewhere = |kernel: &mut KernelFacts| (kernel.bpffs, kernel.pins) = (false, "/var/pins".into());
    assert_eq!(change(elsewhere), [("bpffs", Status::Failed)]);
    let unseen =
        |kernel: &mut KernelFacts| kernel.features = Err(DatapathError::Privilege { missing: vec!["CAP_BPF"] });
    assert_eq!(change(unseen), [("features", Status::NotLookedAt)]);
    let other = |kernel: &mut KernelFacts| kernel.features = Err(DatapathError::NoPolicy);
    assert_eq!(change(other), [("features", Status::Unknown)]);
}

#[test]
fn the_kernel_here_is_tried() {
    if !datapath::missing_capabilities().is_empty() {
        assert!(std::env::var_os("NODEWALL_REQUIRE_ROOT").is_none_or(|value| value != "1"), "no privilege");
        return eprintln!("skipped: no privilege");
    }
    let policy = Policy::from_config(&Config::embedded()).unwrap();
    let image = compile(&policy, RowTable::default(), &Facts::default()).unwrap().image;
    let kernel = probe(Path::new("/proc/self"), &image, Shape::PER_PEER);
    let features = kernel.features.as_ref().unwrap();
    for probe in features.probes.iter().filter(|probe| probe.needed) {
        assert_eq!(probe.answer, Ok(true), "{}", probe.feature);
    }
    assert_eq!(features.test_run, Ok(FRAMES.len()));
    let filter = features.filter.as_ref().unwrap();
    assert!(filter.verified_instructions.is_none_or(|n| (100..=30_000).contains(&n)), "{filter:?}");
    assert!(!kernel.bpffs && !kernel.release.is_empty(), "/proc is no bpffs");
}

/// Frames that prove something: an outsider's to a cluster port is dropped, the others pass.
#[test]
fn the_test_frames_have_different_answers() {
    let policy = Policy::from_config(&Config::embedded()).unwrap();
    let image = compile(&policy, RowTable::default(), &Facts::default()).unwrap().image;
    let reasons: std::collections::BTreeSet<&str> =
        FRAMES.iter().map(|frame| node_ebpf_common::decide(*frame, &image).reason().unwrap().name()).collect();
    assert!(reasons.len() >= 3, "{reasons:?}");
    let drops = FRAMES
        .iter()
        .filter(|frame| node_ebpf_common::decide(**frame, &image).verdict() == node_ebpf_common::Verdict::Drop);
    assert_eq!(drops.count(), 1);
}
