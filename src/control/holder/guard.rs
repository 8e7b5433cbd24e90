//! A process that belongs to nobody: a session of its own, no parent but the first process, nothing open of whoever began the trial. Where systemd does
//! not hold a trial, it does. It is this executable, by another name, so that whoever kills all that is called nodewall leaves it.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use super::arguments;
use crate::control::{change::Site, trial_file::Trial};

/// The name of its process. The kernel keeps 15 letters.
const NAME: &std::ffi::CStr = c"nw-trial-guard";

pub(super) fn start(site: &Site, trial: &Trial) -> io::Result<()> {
    // Whatever an upgrade puts in the place of this executable in the meantime.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("nodewall").args(arguments(site, trial)?);
    command.current_dir("/").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: `leave_parent` makes system calls; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(leave_parent) };
    // The child that this waits for is the one in between; an exec that fails is told all the same, through the grandchild's copy of the pipe.
    let status = command.spawn()?.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended at once ({status})"))) }
}

/// Between fork and exec: no signal to the session or the group of whoever began the trial reaches what is started, and it is the first process's child.
fn leave_parent() -> io::Result<()> {
    rustix::process::setsid()?;
    // SAFETY: this process has one thread, and both sides of the fork make system calls alone from here on.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        // SAFETY: it runs nothing that was set up for the end of the process that this one was forked from.
        _ => unsafe { libc::_exit(0) },
    }
}

/// What the guard does first, before it opens anything: takes its name, and lets go of what whoever began the trial had open.
pub fn stand_apart() {
    // A name is a courtesy.
    let _ = rustix::thread::set_name(NAME);
    // SAFETY: nothing above the standard descriptors belongs to a value of this process yet. (Linux 5.9; musl has no function for it.)
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed != 0 {
        tracing::debug!("what was inherited stays open: {}", io::Error::last_os_error());
    }
}
