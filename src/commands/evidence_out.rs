//! What `capture`, `events export` and `report` share: where the store is, and where the bytes go. It must not read records.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Failure;
use crate::cli::Common;
use nodewall_evidence::{self as evidence, store::Reader};
use nodewall_host::state::{Clock, StateDir};
use nodewall_text::out::stdout;

/// The store, and the state directory that it is in.
pub(super) fn open(common: &Common) -> Result<(StateDir, Reader), Failure> {
    let none = || {
        anyhow!(
            "there is no evidence in {}; an agent (`nodewall run`) records it, and --state-dir says where",
            common.state_dir.join("evidence").display()
        )
    };
    let state = StateDir::open(&common.state_dir)?.ok_or_else(none)?;
    let reader = reader(&state)?.ok_or_else(none)?;
    Ok((state, reader))
}

/// The store of a state directory, if there is one yet.
pub(super) fn reader(state: &StateDir) -> Result<Option<Reader>, Failure> {
    Ok(Reader::open(&evidence::directory(state))?)
}

/// The clock, as records have it.
pub(super) fn now_unix_ns() -> u64 {
    Clock::now().unix_ns
}

/// Whether nobody is there to read any more: the other end of the pipe is closed. It says so also to one who has nothing to write.
pub(super) fn is_closed(out: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|found| found > 0)
        && fds.iter().any(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// A file of the operator's alone that nobody else has chosen, or standard output for `-`.
#[derive(Debug)]
pub(super) struct Target {
    file: File,
    is_stdout: bool,
}

impl Target {
    /// Makes the file anew. `binary`: a terminal is refused.
    pub(super) fn open(path: &Path, binary: bool) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            let out = stdout();
            if binary && out.as_fd().is_terminal() {
                return Err(anyhow!("the output is no text; name a file with -w, or a pipe such as `| tshark -r -`"));
            }
            let out: OwnedFd = out.as_fd().try_clone_to_owned().context("can not use standard output")?;
            return Ok(Self { file: out.into(), is_stdout: true });
        }
        let file = nodewall_files::output(path).context("can not write the output")?;
        Ok(Self { file, is_stdout: false })
    }

    /// What a failed write means: a reader that went away ends the program quietly, as other tools do.
    pub(super) fn written(is_stdout: bool, result: io::Result<()>) -> Result<(), Failure> {
        match result {
            Err(error) if is_stdout && error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            result => Ok(result.context("can not write the output")?),
        }
    }

    /// Standard output?
    pub(super) fn is_stdout(&self) -> bool {
        self.is_stdout
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
