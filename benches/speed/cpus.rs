//! Which thread runs on which CPU, for sections that use more than one. Threads and processes inherit it from whoever starts them.

use std::io;

use anyhow::{Context, Result};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Keeps a thread (`None`: the calling one) on one CPU.
pub fn pin(thread: Option<Pid>, cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(thread, &only).with_context(|| format!("a thread can not be kept on CPU {cpu}"))
}

/// Lets the calling thread run wherever the system lets it: another section may have pinned it.
pub fn unpin() -> Result<()> {
    let mut all = CpuSet::new();
    for cpu in 0..CpuSet::MAX_CPU {
        all.set(cpu);
    }
    sched_setaffinity(None, &all).context("the CPUs of this thread can not be given back")
}

/// Puts a thread (`None`: the calling one) before all ordinary ones, as interrupts are: neither other programs on the machine nor the measured service
/// come between. The greater priority wins; 1 is the smallest. Use it for bounded times only.
pub fn prefer(thread: Option<Pid>, priority: i32) -> Result<()> {
    let thread = thread.map_or(0, |thread| thread.as_raw_nonzero().get());
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: `parameters` is valid for reading; the call changes how a thread is scheduled and nothing else.
    let result = unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("a thread's priority can not be changed") }
}

/// A CPU besides this one, if the (unpinned) calling thread may use any.
pub fn besides(cpu: usize) -> Result<Option<usize>> {
    let allowed = sched_getaffinity(None).context("the CPUs of this thread can not be read")?;
    Ok((0..CpuSet::MAX_CPU).find(|other| *other != cpu && allowed.is_set(*other)))
}
