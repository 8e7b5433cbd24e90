//! The kernel: what it can do, by trying, and how much of the verifier's patience the filter takes. Version numbers are for people only.

use std::fs;
use std::path::{Path, PathBuf};

use node_ebpf_common::{PolicyImage, Shape};

use super::finding::{Finding, Findings, Status, Subject};
use nodewall_datapath::{self as datapath, Buffers, DatapathError, Features, VERIFIER_LIMIT_INSTRUCTIONS};

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const BTF: &str = "/sys/kernel/btf/vmlinux";
const UNPRIVILEGED: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
/// Where `apply` mounts bpffs by itself.
const BPFFS_MOUNT: &str = "/sys/fs/bpf";
/// Above this share of the verifier's limit another kernel's verifier may well refuse.
const COMFORTABLE_SHARE: u32 = 4;

/// Test frames: nothing but an Ethernet header, an ARP request's beginning, TCP to 9042 from an outsider, UDP to 53.
const FRAMES: [&[u8]; 4] = [
    &[0; 14],
    b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01",
    b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\x45\0\0\x28\0\0\0\0\x40\x06\0\0\xcb\0\x71\x4d\x0a\0\0\x01\xc0\0\x23\x52\0\0\0\0\0\0\0\0\x50\x02\0\0\0\0\0\0",
    b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\xcb\0\x71\x4d\x0a\0\0\x01\xc0\0\0\x35\0\x08\0\0",
];

/// What was found of the kernel.
#[derive(Debug)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// What was tried; or why it was not.
    pub features: Result<Features, DatapathError>,
    /// The kernel publishes its types.
    pub btf: bool,
    /// Whether the place for pins, or what is there of its path, is on a bpf file system.
    pub bpffs: bool,
    /// The place for pins.
    pub pins: PathBuf,
    /// `kernel.unprivileged_bpf_disabled`; `None` where that is not.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// `RLIMIT_MEMLOCK` in bytes; `None` is unlimited.
    pub memory_lock_bytes: Option<u64>,
}

/// Tries what the kernel can do, and the filter of `shape`; `image` is the policy for the test frames.
pub fn probe(pins: &Path, image: &PolicyImage, shape: Shape) -> KernelFacts {
    // Before the probes, which lift it for this process.
    let memory_lock_bytes = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let there = pins.ancestors().find(|path| path.exists());
    KernelFacts {
        release: fs::read_to_string(RELEASE).unwrap_or_default().trim().to_owned(),
        features: datapath::probe(image, shape, &FRAMES),
        btf: Path::new(BTF).exists(),
        bpffs: there.is_some_and(datapath::on_bpffs),
        pins: pins.to_owned(),
        unprivileged_bpf_disabled: fs::read_to_string(UNPRIVILEGED).ok().and_then(|text| text.trim().parse().ok()),
        memory_lock_bytes,
    }
}

/// Judges the kernel.
pub fn findings(kernel: &KernelFacts) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Kernel);
    match &kernel.features {
        Ok(features) => judge(kernel, features, &mut findings),
        Err(DatapathError::Privilege { missing }) => findings
            .add(Status::NotLookedAt, "features", format!("Linux {}: what it can do was not tried", kernel.release))
            .because(format!("trying needs {}", missing.join(", ")))
            .advice("run `nodewall doctor` as root"),
        Err(error) => {
            let found = format!("Linux {}: what it can do could not be tried: {error}", kernel.release);
            findings.add(Status::Unknown, "features", found);
        }
    }
    bpffs(kernel, &mut findings);
    if !kernel.btf {
        findings
            .add(Status::Note, "btf", format!("the kernel does not publish its types ({BTF} is missing)"))
            .because("nodewall does not need them, but `bpftool` shows less")
            .advice("nothing, or use a kernel built with CONFIG_DEBUG_INFO_BTF");
    }
    if kernel.unprivileged_bpf_disabled == Some(0) {
        let found = "every user may load BPF programs (kernel.unprivileged_bpf_disabled = 0)";
        findings
            .add(Status::Note, "unprivileged-bpf", found)
            .because("the kernel's own documentation advises against it; nodewall does not need it")
            .advice("sysctl -w kernel.unprivileged_bpf_disabled=2");
    }
    findings.into_vec()
}

fn judge(kernel: &KernelFacts, features: &Features, findings: &mut Findings) {
    let there: Vec<&str> = features.probes.iter().filter(|p| p.answer == Ok(true)).map(|p| p.feature).collect();
    findings.ok("features", format!("Linux {}: {}", kernel.release, there.join(", ")));
    for probe in &features.probes {
        match &probe.answer {
            Ok(true) => {}
            Ok(false) if probe.feature.starts_with("memory of maps") => memory(kernel, findings),
            Ok(false) => {
                let found = format!("the kernel has no {} (mainline has since {})", probe.feature, probe.since);
                findings
                    .add(Status::Failed, "features", found)
                    .because("nodewall can not work without it")
                    .advice("use a kernel that has it: any from Linux 5.10 on");
            }
            Err(error) => {
                let status = if probe.needed { Status::Failed } else { Status::Unknown };
                findings.add(status, "features", format!("{} could not be had: {error}", probe.feature));
            }
        }
    }
    match &features.filter {
        Err(refusal) => findings
            .add(Status::Failed, "filter", format!("the kernel refuses the filter: {refusal}"))
            .because("without it nothing is filtered")
            .advice("report this with the kernel's version; `nodewall apply -vv` shows the end of the verifier's log"),
        Ok(filter) => {
            verifier("filter", "the filter", filter, findings);
            if filter.buffers == Buffers::Linear {
                findings
                    .add(Status::Note, "multi-buffer", "the kernel takes XDP programs for frames of one buffer only")
                    .because("native mode needs an MTU of at most about 3,500 bytes (jumbo frames need Linux 5.18)")
                    .advice("keep the MTU below that, or set attach_mode = \"tc\", or use a newer kernel");
            }
            if !filter.jit {
                findings
                    .add(Status::Degraded, "jit", "the filter is interpreted: the kernel's BPF compiler is off")
                    .because("every packet costs many times more")
                    .advice("sysctl -w net.core.bpf_jit_enable=1, then apply again");
            }
        }
    }
    match &features.ingress {
        Err(refusal) => findings
            .add(Status::Degraded, "ingress", format!("the kernel refuses the filter of the tc hook: {refusal}"))
            .because("attach = \"tc\" does not work here")
            .advice("report this with the kernel's version"),
        Ok(ingress) => verifier("ingress", "the filter of the tc hook", ingress, findings),
    }
    match &features.egress {
        Err(refusal) => findings
            .add(Status::Degraded, "egress", format!("the kernel refuses the outbound counter: {refusal}"))
            .because("what this node sends is not counted; what it receives is filtered all the same")
            .advice("report this with the kernel's version"),
        Ok(egress) => verifier("egress", "the outbound counter", egress, findings),
    }
    match &features.test_run {
        Ok(frames) => {
            findings.ok("test-run", format!("{frames} test frames: the kernel decides as this program does"));
        }
        Err(why) => findings
            .add(Status::Failed, "test-run", format!("test frames: {why}"))
            .because(
                "the kernel's program and this one must decide alike; `replay --engine kernel` will not work either",
            )
            .advice("report this with the kernel's version"),
    }
}

fn verifier(check: &'static str, what: &str, filter: &datapath::FilterFacts, findings: &mut Findings) {
    let Some(verified) = filter.verified_instructions else {
        return findings.ok(check, format!("{what} loads (this kernel does not say how much its verifier did)"));
    };
    let left = 100.0 - f64::from(verified) * 100.0 / f64::from(VERIFIER_LIMIT_INSTRUCTIONS);
    let found = format!(
        "{what} loads: {verified} of {VERIFIER_LIMIT_INSTRUCTIONS} instructions verified ({left:.1} % headroom)"
    );
    if verified <= VERIFIER_LIMIT_INSTRUCTIONS / COMFORTABLE_SHARE {
        return findings.ok(check, found);
    }
    findings
        .add(Status::Note, check, found)
        .because("another kernel's verifier may go through more and refuse")
        .advice("try the next kernel on one node first");
}

/// Only for kernels that charge maps to the limit.
fn memory(kernel: &KernelFacts, findings: &mut Findings) {
    let Some(bytes) = kernel.memory_lock_bytes else { return };
    findings
        .add(Status::Note, "memory-lock", format!("maps count against the memory-lock limit of {bytes} bytes"))
        .because("nodewall lifts the limit for itself where it may (CAP_SYS_RESOURCE); a service may not")
        .advice("set LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`");
}

fn bpffs(kernel: &KernelFacts, findings: &mut Findings) {
    let pins = kernel.pins.display();
    if kernel.bpffs {
        return findings.ok("bpffs", format!("{pins} is on bpffs"));
    }
    let found = format!("{pins} is not on a bpf file system");
    if kernel.pins.starts_with(BPFFS_MOUNT) {
        return findings
            .add(Status::Note, "bpffs", found)
            .because("links and maps are pinned there")
            .advice(format!("nothing: `nodewall apply` mounts it; or `mount -t bpf bpf {BPFFS_MOUNT}`"));
    }
    findings
        .add(Status::Failed, "bpffs", found)
        .because("links and maps are pinned there, and can not be elsewhere")
        .advice("name a place on a bpf file system with --bpffs");
}

#[cfg(test)]
mod tests;
