//! One guest: QEMU without acceleration, network or disk (`power.rs` and `systemd.rs` add an image file), driven by what it says on its second serial line. However this ends (a
//! result, a deadline, a panic there or here, Ctrl-C), QEMU is ended by its process id.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use nodewall_testbed::cleanup;

use super::plan::Planned;
use super::transcript::{Event, Transcript};
use crate::progress::seconds;

/// From QEMU's start to the first check: a guest of 128 processors took 16 s on an idle machine.
pub(super) const BOOT_WITHIN: Duration = Duration::from_secs(180);
/// From there to the first check: a whole systemd may have to start in between.
const FIRST_WITHIN: Duration = Duration::from_secs(150);
/// A guest ends a check by itself at the deadline; this long after it, the guest hangs.
const GRACE: Duration = Duration::from_secs(15);
/// How often the kernel's own log is looked at for the end of everything.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a kernel says when nothing good can come any more, or when it found a bug in itself.
const FATAL: &[&str] = &[
    "Kernel panic",
    "BUG: ",
    "Oops: ",
    "general protection fault",
    "soft lockup",
    "rcu: INFO: rcu_sched detected stalls",
];

/// What a guest has besides 2 GiB of memory.
#[derive(Clone, Copy)]
pub(super) struct Hardware<'h> {
    /// How many there are, and how many of them the kernel starts.
    pub(super) processors: (&'static str, &'static str),
    pub(super) disk: Option<&'h Path>,
    /// Whether its time is what it has run (16 ns an instruction) and an interrupt can come after any of them. Else QEMU lets one in at jumps only, and
    /// nothing is torn that a real processor would tear.
    pub(super) counts_instructions: bool,
}

/// Two processors, and no more.
pub(super) const USUAL: Hardware<'static> = Hardware { processors: ("2", "2"), disk: None, counts_instructions: false };

/// Boots a kernel, with a disk where one is given, and lets it run the plan. Logs go to `<log>.tests` and `<log>.console`, QEMU's own
/// complaints to `<log>.qemu`, progress to `say`.
pub(super) fn run(
    vmlinuz: &Path,
    initramfs: &Path,
    hardware: Hardware<'_>,
    plan: &[Planned],
    log: &Path,
    say: &dyn Fn(String),
) -> Result<Transcript> {
    let console = with_suffix(log, "console");
    // The kernel's log is read while QEMU writes it.
    File::create(&console)?;
    let tests = with_suffix(log, "tests");
    let mut copy = File::create(&tests)?;

    let mut command = qemu(vmlinuz, initramfs, &console, hardware.processors);
    if plan.iter().all(|check| check.boots_after.is_none()) {
        command.arg("-no-reboot");
    }
    if hardware.counts_instructions {
        command.args(["-icount", "shift=4,sleep=off"]);
    }
    if let Some(disk) = hardware.disk {
        // What the guest writes is forgotten with it.
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", disk.display()));
    }
    let complaints = with_suffix(log, "qemu");
    command.stderr(File::create(&complaints)?);
    let mut child = command.spawn().context("qemu-system-x86_64 could not be started")?;
    let said = child.stdout.take().ok_or_else(|| anyhow!("QEMU has no standard output"))?;
    let child = Arc::new(Mutex::new(child));
    let ended = Arc::clone(&child);
    // Runs on every way out of this function, and at a signal.
    let _guard = cleanup::guard(move || end(&ended));

    let lines = lines_of(said);
    let mut transcript = Transcript::new(plan);
    let mut awaited = Awaited { what: "the boot".to_owned(), since: Instant::now(), within: BOOT_WITHIN };
    loop {
        let line = match lines.recv_timeout(LOOK_EVERY) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => {
                let last = fatal_line(&console).map_or(String::new(), |bad| format!("; the kernel said: {bad}"));
                let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait()?;
                let said = fs::read_to_string(&complaints).unwrap_or_default();
                let said = said.trim().replace('\n', "; ");
                transcript.problem(format!(
                    "the machine ended in the middle of {}{last}; QEMU: {status}, {}",
                    awaited.what,
                    if said.is_empty() { "and it said nothing" } else { &said }
                ));
                break;
            }
            Err(RecvTimeoutError::Timeout) => String::new(),
        };
        if !line.is_empty() {
            writeln!(copy, "{line}")?;
        }
        match transcript.line(&line) {
            Some(Event::Booted) => {
                say(format!("booted in {}", seconds(awaited.since.elapsed())));
                awaited = Awaited { what: "the first check".to_owned(), since: Instant::now(), within: FIRST_WITHIN };
            }
            Some(Event::Reboots) => {
                awaited = Awaited { what: "another boot".to_owned(), since: Instant::now(), within: BOOT_WITHIN };
            }
            Some(Event::Began(check)) => {
                let deadline = plan
                    .iter()
                    .find(|planned| planned.name == check)
                    .map_or(Duration::ZERO, |planned| planned.deadline);
                awaited = Awaited { what: check, since: Instant::now(), within: deadline + GRACE };
            }
            Some(Event::Ended(check)) => {
                let took = awaited.since.elapsed();
                let (passed, ran) = transcript.count(&check);
                say(format!("{check}: {passed} of {ran} tests passed in {}", seconds(took)));
                awaited = Awaited { what: "the next check".to_owned(), since: Instant::now(), within: GRACE };
            }
            Some(Event::Done) => break,
            None => {}
        }
        if let Some(bad) = fatal_line(&console) {
            transcript.problem(format!("the kernel said: {bad}"));
            break;
        }
        if awaited.since.elapsed() > awaited.within {
            transcript.problem(format!("{} took longer than {}", awaited.what, seconds(awaited.within)));
            break;
        }
    }
    Ok(transcript)
}

/// What is waited for.
struct Awaited {
    what: String,
    since: Instant,
    within: Duration,
}

pub(super) fn with_suffix(log: &Path, suffix: &str) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(format!(".{suffix}"));
    path.into()
}

pub(super) fn qemu(vmlinuz: &Path, initramfs: &Path, console: &Path, (processors, started): (&str, &str)) -> Command {
    // QEMU's emulation of cmpxchg16b sometimes leaves garbage in the flags (double faults of Linux 6.12 while it boots), and kernels do
    // without it. One thread for both processors: with a thread each, QEMU before 8.1 can run a stale copy of code that the kernel
    // is changing ("Oops: int3", and once a soft lockup, on a busy machine).
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-accel",
            "tcg,thread=single",
            "-cpu",
            "max,cx16=off",
            "-smp",
            processors,
            "-m",
            "2048",
            "-nodefaults",
            "-display",
            "none",
        ])
        .arg("-kernel")
        .arg(vmlinuz)
        .arg("-initrd")
        .arg(initramfs)
        .arg("-append")
        .arg(format!("console=ttyS0 quiet loglevel=4 panic=-1 net.ifnames=0 no_timer_check maxcpus={started}"))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// The guest's lines, without what a terminal would act on.
pub(super) fn lines_of(said: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(said);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).replace('\r', "");
            if sender.send(text.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

pub(super) fn fatal_line(console: &Path) -> Option<String> {
    let bytes = fs::read(console).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().find(|line| FATAL.iter().any(|sign| line.contains(sign))).map(|line| line.trim().to_owned())
}

/// Kills it unless it has ended; the handle knows its process id, which can not be another's before it was waited for.
pub(super) fn end(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    if !matches!(child.try_wait(), Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_the_kernels_log() {
        let file = std::env::temp_dir().join(format!("xtask-console-{}", std::process::id()));
        fs::write(&file, "[ 1.0] veth: loaded\r\n").unwrap();
        assert_eq!(fatal_line(&file), None);
        fs::write(&file, b"[ 1.0] \xff\r\n[    2.5] Kernel panic - not syncing: x\r\n").unwrap();
        assert_eq!(fatal_line(&file).unwrap(), "[    2.5] Kernel panic - not syncing: x");
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn no_guest_gets_a_network_or_a_disk() {
        let command = qemu(Path::new("k"), Path::new("i"), Path::new("c"), USUAL.processors);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(words.contains(&"-nodefaults".to_owned()));
        for device in ["-nic", "-netdev", "-net", "-drive", "-hda", "-device", "-virtfs"] {
            assert!(!words.contains(&device.to_owned()), "{device}");
        }
    }
}
