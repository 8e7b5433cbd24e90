//! What this kernel can do for the data path, by trying it: maps are created, programs loaded and run on test frames, and all of it is
//! gone when the answer is there. It must not attach or pin anything, and judges nothing by the kernel's version.

use std::{fs, path::Path, sync::OnceLock};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported},
};
use node_ebpf_common::{PolicyImage, Shape, decide};

use super::{
    bpffs::is_bpffs,
    engine::KernelEngine,
    error::DatapathError,
    object::{Buffers, Classifier, Loaded},
    sys,
};

/// The most instructions that the verifier goes through before it refuses a program (`BPF_COMPLEXITY_LIMIT_INSNS`, since Linux 5.2).
pub const VERIFIER_LIMIT_INSTRUCTIONS: u32 = 1_000_000;

/// One feature that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it is.
    pub feature: &'static str,
    /// nodewall can not work without it.
    pub needed: bool,
    /// Since which Linux the mainline has it, for people.
    pub since: &'static str,
    /// Whether it is there, or why that could not be found out.
    pub answer: Result<bool, String>,
}

/// What the kernel made of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterFacts {
    /// The best variant that the kernel took.
    pub buffers: Buffers,
    /// Instructions that the verifier went through, of [`VERIFIER_LIMIT_INSTRUCTIONS`] (5.16; `None` before).
    pub verified_instructions: Option<u32>,
    /// Instructions after translation, where the kernel tells.
    pub translated_instructions: Option<u32>,
    /// Compiled to machine code: the JIT compiler is on.
    pub jit: bool,
}

/// What [`probe`] found.
#[derive(Clone, Debug)]
pub struct Features {
    /// Each feature.
    pub probes: Vec<Probe>,
    /// The filter, loaded with maps of its own and not attached; or the kernel's refusal.
    pub filter: Result<FilterFacts, String>,
    /// The filter of the tc hook, likewise.
    pub ingress: Result<FilterFacts, String>,
    /// The outbound counter, likewise.
    pub egress: Result<FilterFacts, String>,
    /// The number of test frames for which the kernel's decision was the host's; or the first difference, or why none ran.
    pub test_run: Result<usize, String>,
}

/// Whether soft interrupts are threads here, so that programs of one processor can come between one another (`PREEMPT_RT`).
pub fn is_realtime() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| match fs::read_to_string("/sys/kernel/realtime") {
        Ok(text) => text.trim() == "1",
        // Kernels that have no such file say so in their version's text.
        Err(_) => rustix::system::uname().version().to_string_lossy().contains("PREEMPT_RT"),
    })
}

/// Tries every feature, and the filter of `shape`. `image` is the policy that the test frames are judged by, in the kernel and here.
///
/// # Errors
/// When the process has not the privilege to try anything.
pub fn probe(image: &PolicyImage, shape: Shape, frames: &[&[u8]]) -> Result<Features, DatapathError> {
    let missing = sys::missing_capabilities();
    if !missing.is_empty() {
        return Err(DatapathError::Privilege { missing });
    }
    sys::lift_memlock_limit();
    let objects = Loaded::new(None, shape);
    let probes = vec![
        Probe {
            feature: "arrays at a fixed address, which can be mapped into memory",
            needed: true,
            since: "5.5",
            // Our own maps are just that.
            answer: objects.as_ref().map(|_| true).map_err(chain),
        },
        Probe {
            feature: "XDP links",
            needed: true,
            since: "5.9",
            answer: sys::xdp_links().map_err(|error| error.to_string()),
        },
        Probe {
            // The object has one for the in-kernel log, wanted or not.
            feature: "ring buffer",
            needed: true,
            since: "5.8",
            answer: is_map_supported(MapType::RingBuf).map_err(|error| error.to_string()),
        },
        Probe {
            feature: "memory of maps charged to the control group",
            needed: false,
            since: "5.11",
            // Came with the same release and, as libbpf does, stands for it: the accounting itself can not be asked.
            answer: is_helper_supported(ProgramType::SocketFilter, BpfHelper::BPF_FUNC_ktime_get_coarse_ns)
                .map_err(|error| error.to_string()),
        },
    ];
    let [filter, ingress, egress] = match objects {
        Ok(mut loaded) => {
            let filter = filter(&mut loaded).map_err(|e| chain(&e));
            let [ingress, egress] = [Classifier::Ingress, Classifier::Egress]
                .map(|which| classifier(&mut loaded, which).map_err(|e| chain(&e)));
            [filter, ingress, egress]
        }
        Err(error) => [(); 3].map(|()| Err(chain(&error))),
    };
    Ok(Features { probes, filter, ingress, egress, test_run: test_run(image, frames) })
}

fn filter(loaded: &mut Loaded) -> Result<FilterFacts, DatapathError> {
    let buffers = loaded.load()?;
    let facts = loaded.info()?;
    let info = loaded.program()?.info().map_err(|e| DatapathError::Load { program: "info", source: Box::new(e) })?;
    Ok(FilterFacts {
        buffers,
        verified_instructions: facts.verified_instructions,
        translated_instructions: facts.translated_instructions,
        jit: info.size_jitted() > 0,
    })
}

fn classifier(loaded: &mut Loaded, which: Classifier) -> Result<FilterFacts, DatapathError> {
    let facts = loaded.classifier_info(which)?;
    let info =
        loaded.classifier(which)?.info().map_err(|e| DatapathError::Load { program: "info", source: Box::new(e) })?;
    Ok(FilterFacts {
        buffers: Buffers::Frags,
        verified_instructions: facts.verified_instructions,
        translated_instructions: facts.translated_instructions,
        jit: info.size_jitted() > 0,
    })
}

fn test_run(image: &PolicyImage, frames: &[&[u8]]) -> Result<usize, String> {
    let mut engine = KernelEngine::new(image, Shape::ANSWERS, None).map_err(|error| chain(&error))?;
    for (n, frame) in frames.iter().enumerate() {
        let kernel = engine.decide(frame).map_err(|error| chain(&error))?;
        let host = decide(*frame, image);
        if kernel.cell != host.cell {
            return Err(format!("for test frame {n} the kernel answered {kernel:?}, this program {host:?}"));
        }
    }
    Ok(frames.len())
}

/// Whether `path` is on a bpf file system.
pub fn on_bpffs(path: &Path) -> bool {
    is_bpffs(path)
}

/// The error with its causes, in one line.
fn chain(error: &DatapathError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
