//! Cutting the power: a guest writes its state to a disk without end, QEMU is killed at a random moment, and the next boot must load what was last
//! known to be stored, whole. The disk is an image file below `target/vm`.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nodewall_testbed::cleanup;
use serde_json::json;

use super::kernels::Fetched;
use super::plan::{Guest, Planned};
use super::{folder, image, machine};
use crate::cmd::Cmd;
use crate::workspace;

/// The test that runs in the guest.
const TEST: &str = "power::the_power_is_cut_again_and_again";
const MARK: &str = "NODEWALL-VM power ";
const DISK_MIB: u64 = 64;
/// From the boot to the first state that is stored.
const STORED_WITHIN: Duration = Duration::from_secs(120);
/// The power goes after so many states more, and at any moment of the next few.
const STATES_AT_MOST: u64 = 40;
const MOMENT_AT_MOST_US: u64 = 30_000;

/// What a guest said before its power went.
#[derive(Debug, Default)]
struct Boot {
    /// The state that this boot found, by its number.
    loaded: Option<u64>,
    /// The last one that it said was stored.
    stored: Option<u64>,
}

/// Cuts the power so many times, boots once more, and says what came of it, as a JSON object.
pub(super) fn run(kernel: &Fetched, common: &Path, cuts: u32) -> Result<String> {
    let began = Instant::now();
    let disk = disk()?;
    let plan = [Planned {
        name: "power",
        command: format!("/tests/faults --nocapture --exact {TEST}"),
        deadline: Duration::from_secs(600),
        guest: Guest::Usual,
        boots_after: None,
        skipped: Vec::new(),
    }];
    let initramfs = image::for_kernel(kernel, common, &plan, |_| Ok(()))?;
    let mut problems = Vec::new();
    let (mut before, mut states, mut later_at_most) = (None, 0, 0);
    // Different moments in every run, the same in a second one.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for cut in 0..=cuts {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let said = boot(kernel, &initramfs, &disk, random >> 16);
        match said {
            Ok(boot) => {
                match (before, boot.loaded) {
                    (Some(stored), Some(loaded)) if loaded < stored => {
                        problems.push(format!("cut {cut}: state {stored} was stored, {loaded} was loaded"));
                    }
                    (Some(stored), Some(loaded)) => later_at_most = later_at_most.max(loaded - stored),
                    (Some(stored), None) => {
                        problems.push(format!("cut {cut}: state {stored} was stored, none was loaded"));
                    }
                    (None, _) => {}
                }
                states += boot.stored.unwrap_or(0).saturating_sub(boot.loaded.unwrap_or(0));
                before = boot.stored;
            }
            Err(error) => problems.push(format!("cut {cut}: {error:#}")),
        }
        eprintln!("    power cut {cut} of {cuts}: {} states stored so far, {} problems", states, problems.len());
        if !problems.is_empty() {
            break;
        }
    }
    for file in [&initramfs, &disk] {
        fs::remove_file(file)?;
    }
    for problem in &problems {
        eprintln!("    {problem}");
    }
    let measured = if problems.is_empty() {
        format!(
            "{states} states stored; every boot loaded the last one that was known to be stored, or one of the {later_at_most} after it"
        )
    } else {
        problems.join("; ")
    };
    Ok(json!({
        "name": "power", "fault": "QEMU killed while the state is written, and booted again (VM)", "runs": cuts, "measured": measured,
        "bar": "the last good policy loads, whole; nothing that was acknowledged is lost", "ok": problems.is_empty(),
        "seconds": began.elapsed().as_secs_f64(),
    })
    .to_string())
}

/// An empty disk with a file system.
fn disk() -> Result<PathBuf> {
    let path = folder().join("power.img");
    File::create(&path).and_then(|file| file.set_len(DISK_MIB << 20))?;
    Cmd::new(workspace::tool("mke2fs")?).args(["-q", "-t", "ext4"]).arg(&path).run_quiet()?;
    Ok(path)
}

/// Boots, lets the guest write for a while, and cuts the power.
fn boot(kernel: &Fetched, initramfs: &Path, disk: &Path, random: u64) -> Result<Boot> {
    let log = folder().join("log-power");
    let console = machine::with_suffix(&log, "console");
    File::create(&console)?;
    let mut copy = File::create(machine::with_suffix(&log, "tests")).context("the log could not be made")?;
    let mut command = machine::qemu(&kernel.vmlinuz(), initramfs, &console, machine::USUAL.processors);
    command
        .arg("-no-reboot")
        .arg("-drive")
        .arg(format!("file={},format=raw,if=virtio,cache=writeback", disk.display()));
    let mut child = command.spawn().context("qemu-system-x86_64 could not be started")?;
    let said = child.stdout.take().ok_or_else(|| anyhow!("QEMU has no standard output"))?;
    let child = Arc::new(Mutex::new(child));
    let ended = Arc::clone(&child);
    let _guard = cleanup::guard(move || machine::end(&ended));

    let lines = machine::lines_of(said);
    let (mut boot, mut states_left) = (Boot::default(), random % STATES_AT_MOST + 1);
    let deadline = Instant::now() + machine::BOOT_WITHIN + STORED_WITHIN;
    while states_left > 0 {
        let line = match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => String::new(),
            Err(RecvTimeoutError::Disconnected) => bail!("the machine ended by itself; see {}.tests", log.display()),
        };
        writeln!(copy, "{line}").context("the log could not be written")?;
        ensure!(!line.contains("NODEWALL-VM end"), "the test ended by itself; see {}.tests", log.display());
        ensure!(Instant::now() < deadline, "the guest does not write; see {}.tests", log.display());
        if let Some(bad) = machine::fatal_line(&console) {
            bail!("the kernel said: {bad}");
        }
        let Some((_, news)) = line.split_once(MARK) else { continue };
        let mut words = news.split_whitespace();
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
        match words.next() {
            Some("loaded") => boot.loaded = number(words.next()),
            Some("stored") => {
                boot.stored = number(words.next());
                states_left -= 1;
            }
            _ => bail!("not understood: {line}"),
        }
    }
    thread::sleep(Duration::from_micros(random / STATES_AT_MOST % MOMENT_AT_MOST_US));
    machine::end(&child);
    // What it said in its last moment was said before the power went.
    for line in &lines {
        if let Some(number) =
            line.split_once(MARK).and_then(|(_, news)| news.strip_prefix("stored ")?.trim().parse().ok())
        {
            boot.stored = Some(number);
        }
    }
    Ok(boot)
}
