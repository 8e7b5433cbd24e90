//! The kernel's own answer for a frame, without any interface: the program is loaded with private maps and run by `BPF_PROG_TEST_RUN`.

use aya::programs::{TestRun, TestRunOptions};
use node_ebpf_common::{Decision, PolicyImage, Reason, Shape, counter::portless, wire::ETHERNET_BYTES};

use super::{
    error::DatapathError,
    maps::Maps,
    object::{Buffers, Loaded, ProgramFacts},
};

/// The largest frame that a program for single buffers is given in a test run: a page without head and tail room.
const LINEAR_MAX_BYTES: usize = 3_200;
/// A loaded program that frames are put through.
pub struct KernelEngine {
    loaded: Loaded,
    buffers: Buffers,
    /// The policy's.
    denied_from: u32,
}

impl KernelEngine {
    /// Loads the filter of `shape` under the policy `image`; `buffers` of `None` takes the best that the kernel has.
    pub fn new(image: &PolicyImage, shape: Shape, buffers: Option<Buffers>) -> Result<Self, DatapathError> {
        let mut loaded = Loaded::new(None, shape)?;
        let buffers = match buffers {
            Some(buffers) => loaded.load_for(buffers).map(|()| buffers)?,
            None => loaded.load()?,
        };
        loaded.maps.swap(image)?;
        Ok(Self { loaded, buffers, denied_from: image.denied_from.into() })
    }

    /// Judges by another policy from now on.
    pub fn swap(&mut self, image: &PolicyImage) -> Result<(), DatapathError> {
        self.denied_from = image.denied_from.into();
        self.loaded.maps.swap(image)
    }

    /// The decision for one frame; its `bytes` are not known. Only for shapes that answer.
    ///
    /// No kernel shows an XDP program a frame shorter than an Ethernet header (a test run refuses it, `bpf_xdp_adjust_tail` does,
    /// drivers pad or drop it), so for those the answer is the only one there can be.
    pub fn decide(&mut self, frame: &[u8]) -> Result<Decision, DatapathError> {
        if frame.len() < ETHERNET_BYTES {
            return Ok(Decision {
                cell: portless(Reason::ShortFrame.number(), self.denied_from),
                source_peer: 0,
                bytes: frame.len() as u32,
            });
        }
        self.run(frame).map(Decision::unpack)
    }

    /// Runs the program on one frame and returns what it returned: the XDP action, where its shape does not answer.
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

    /// The same, to write into.
    pub fn maps_mut(&mut self) -> &mut Maps {
        &mut self.loaded.maps
    }

    /// The program's facts.
    pub fn facts(&mut self) -> Result<ProgramFacts, DatapathError> {
        self.loaded.info()
    }
}

/// An outbound frame as the stack hands it over, for a test run.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// What is in the buffer.
    pub frame: &'a [u8],
    /// Frames that the device will make of it; 0 for a plain frame.
    pub pieces: u32,
    /// Their bytes altogether; 0: those of the buffer.
    pub wire_bytes: u32,
}

/// The loaded outbound program that frames are put through.
pub struct EgressEngine {
    loaded: Loaded,
}

impl EgressEngine {
    /// Loads it under the policy `image`.
    pub fn new(image: &PolicyImage) -> Result<Self, DatapathError> {
        let mut loaded = Loaded::new(None, Shape::PLAIN)?;
        loaded.egress_program()?;
        loaded.maps.swap(image)?;
        Ok(Self { loaded })
    }

    /// Accounts by another policy from now on.
    pub fn swap(&mut self, image: &PolicyImage) -> Result<(), DatapathError> {
        self.loaded.maps.swap(image)
    }

    /// Runs the program on one frame and returns what it returned, -1 for "next program".
    pub fn run(&mut self, sending: Sending<'_>) -> Result<i32, DatapathError> {
        let mut context = [0_u8; SK_BUFF_BYTES];
        for (offset, value) in [(SK_BUFF_GSO_SEGS, sending.pieces), (SK_BUFF_WIRE_LEN, sending.wire_bytes)] {
            if let Some(field) = context.get_mut(offset..offset + 4) {
                field.copy_from_slice(&value.to_ne_bytes());
            }
        }
        let options = TestRunOptions { data_in: Some(sending.frame), ctx_in: Some(&context), ..TestRunOptions::new() };
        let result =
            self.loaded.egress_program()?.test_run(options).map_err(|error| {
                DatapathError::io(format!(
                    "the kernel did not run an outbound test frame of {} bytes",
                    sending.frame.len()
                ))(std::io::Error::other(error))
            })?;
        Ok(result.return_value.cast_signed())
    }

    /// The private maps, for their counters.
    pub fn maps(&self) -> &Maps {
        &self.loaded.maps
    }

    /// The program's facts.
    pub fn facts(&mut self) -> Result<ProgramFacts, DatapathError> {
        self.loaded.egress_info()
    }
}

/// `struct __sk_buff` (include/uapi/linux/bpf.h) up to `gso_size`, which Linux 5.7 has; and two of its fields.
const SK_BUFF_BYTES: usize = 180;
const SK_BUFF_WIRE_LEN: usize = 160;
const SK_BUFF_GSO_SEGS: usize = 164;
