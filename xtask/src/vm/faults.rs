//! The faults that need a machine of their own (`cargo xtask faults`): its clock, its processors, its power. One kernel: these are faults of the
//! machine, and what differs between kernels is what `cargo xtask vm` is for.

use anyhow::{Result, anyhow};

use super::kernels::{self, KERNELS};
use super::{folder, image, machine, plan, power};
use crate::progress::seconds;

/// Debian's present one.
const SERIES: &str = "6.12";

/// Which of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Names of checks.
    pub(crate) checks: Vec<String>,
    /// How often the power is cut.
    pub(crate) power_cuts: u32,
}

/// The results, a JSON object each, and which kernel they are from.
pub(crate) fn run(wanted: &Wanted) -> Result<(Vec<String>, String)> {
    let _lock = super::prepare()?;
    let kernel = KERNELS.iter().find(|kernel| kernel.series == SERIES);
    let kernel = kernels::fetch(kernel.ok_or_else(|| anyhow!("no kernel {SERIES}"))?, false)?;
    let common = super::build()?;
    let mut lines = Vec::new();
    if !wanted.checks.is_empty() {
        let plan = plan::for_kernel(kernel.version(), kernel.kernel.flavour, &wanted.checks);
        let initramfs = image::for_kernel(&kernel, &common.archive, &plan, |_| Ok(()))?;
        let began = std::time::Instant::now();
        let say = |what: String| eprintln!("    Linux {}: {what}", kernel.release);
        let log = folder().join("log-faults");
        let transcript = machine::run(&kernel.vmlinuz(), &initramfs, machine::USUAL, &plan, &log, &say)?;
        std::fs::remove_file(&initramfs)?;
        say(format!("done in {}", seconds(began.elapsed())));
        // A fault that failed has said so in its own line, or is missed for having none.
        for failure in transcript.failures() {
            eprintln!("    Linux {}: {failure}; see {}.tests", kernel.release, log.display());
        }
        lines.extend(transcript.faults);
    }
    if wanted.power_cuts > 0 {
        lines.push(power::run(&kernel, &common.archive, wanted.power_cuts)?);
    }
    Ok((lines, kernel.release))
}
