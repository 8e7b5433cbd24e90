//! The kernel's own answer for a frame, without any interface: the program is loaded with private maps and run by `BPF_PROG_TEST_RUN`.

use aya::programs::{TestRun, TestRunOptions};
use node_ebpf_common::{Decision, PolicyImage, Reason, wire::ETHERNET_BYTES};

use super::{
    error::DatapathError,
    maps::Maps,
    object::{Buffers, Entry, Loaded},
};

/// The largest frame that a program for single buffers is given in a test run: a page without head and tail room.
const LINEAR_MAX_BYTES: usize = 3_200;
/// A loaded program that frames are put through.
pub struct KernelEngine {
    loaded: Loaded,
    buffers: Buffers,
}

impl KernelEngine {
    /// Loads `entry` under the policy `image`; `buffers` of `None` takes the best that the kernel has.
    pub fn new(image: &PolicyImage, entry: Entry, buffers: Option<Buffers>) -> Result<Self, DatapathError> {
        let mut loaded = Loaded::new(None)?;
        let buffers = match buffers {
            Some(buffers) => loaded.load_as(entry, buffers).map(|()| buffers)?,
            None => loaded.load(entry)?,
        };
        loaded.maps.swap(image)?;
        Ok(Self { loaded, buffers })
    }

    /// Judges by another policy from now on.
    pub fn swap(&mut self, image: &PolicyImage) -> Result<(), DatapathError> {
        self.loaded.maps.swap(image)
    }

    /// The decision for one frame; its `bytes` are not known. Only for [`Entry::Probe`].
    ///
    /// No kernel shows an XDP program a frame shorter than an Ethernet header (a test run refuses it, `bpf_xdp_adjust_tail` does,
    /// drivers pad or drop it), so for those the answer is the only one there can be.
    pub fn decide(&mut self, frame: &[u8]) -> Result<Decision, DatapathError> {
        if frame.len() < ETHERNET_BYTES {
            return Ok(Decision { reason: Reason::ShortFrame.number(), row: 0, peer: 0, bytes: frame.len() as u32 });
        }
        self.run(frame).map(Decision::unpack)
    }

    /// Runs the program on one frame and returns what it returned: the XDP action for [`Entry::Filter`].
    pub fn run(&mut self, frame: &[u8]) -> Result<u32, DatapathError> {
        if self.buffers == Buffers::Linear && frame.len() > LINEAR_MAX_BYTES {
            let what = format!(
                "a frame of {} bytes (this kernel tests single buffers up to {LINEAR_MAX_BYTES}; Linux 5.18 has more)",
                frame.len()
            );
            return Err(DatapathError::io(what)(std::io::ErrorKind::Unsupported.into()));
        }
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let result = self.loaded.program()?.test_run(options).map_err(|error| {
            DatapathError::io(format!("the kernel did not run a test frame of {} bytes", frame.len()))(
                std::io::Error::other(error),
            )
        })?;
        Ok(result.return_value)
    }

    /// The private maps, for their counters.
    pub fn maps(&self) -> &Maps {
        &self.loaded.maps
    }

    /// The program's facts.
    pub fn facts(&mut self) -> Result<super::object::ProgramFacts, DatapathError> {
        self.loaded.info()
    }
}
