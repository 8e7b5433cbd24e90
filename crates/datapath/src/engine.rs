//! The kernel's own answer for a frame, without any interface: the program is loaded with private maps and run by `BPF_PROG_TEST_RUN`.

use aya::programs::{TestRun, TestRunOptions};
use node_ebpf_common::{Decision, PolicyImage, Reason, Shape, counter::portless, wire::ETHERNET_BYTES};

use super::{
    error::DatapathError,
    links::Layer,
    maps::Maps,
    object::{Buffers, Classifier, Loaded, ProgramFacts},
    tc::Side,
};

/// The largest frame that a program for single buffers is given in a test run: a page without head and tail room.
const LINEAR_MAX_BYTES: usize = 3_200;

/// A loaded filter that frames are put through.
pub struct KernelEngine {
    loaded: Loaded,
    entry: Entry,
    /// The policy's.
    denied_from: u32,
}

/// Which of the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Xdp(Buffers),
    Tc(Classifier),
}

/// An aggregate as receive offload hands it over, for a test run.
#[derive(Clone, Copy, Debug)]
pub struct Aggregate<'a> {
    /// What is in the buffer.
    pub frame: &'a [u8],
    /// Frames that it was, as the kernel says; 0: it does not say.
    pub pieces: u32,
    /// What each of them carried; 0: it is a plain frame.
    pub piece_bytes: u32,
}

impl KernelEngine {
    /// Loads the XDP filter of `shape` under the policy `image`; `buffers` of `None` takes the best that the kernel has.
    pub fn new(image: &PolicyImage, shape: Shape, buffers: Option<Buffers>) -> Result<Self, DatapathError> {
        let mut loaded = Loaded::new(None, shape)?;
        let buffers = match buffers {
            Some(buffers) => loaded.load_for(buffers).map(|()| buffers)?,
            None => loaded.load()?,
        };
        loaded.maps.swap(image)?;
        Ok(Self { loaded, entry: Entry::Xdp(buffers), denied_from: image.denied_from.into() })
    }

    /// The same at the tc hook.
    pub fn at_tc(image: &PolicyImage, shape: Shape, layer: Layer) -> Result<Self, DatapathError> {
        let mut loaded = Loaded::new(None, shape)?;
        let filter = Classifier::of(Side::Ingress, layer);
        loaded.classifier(filter)?;
        loaded.maps.swap(image)?;
        Ok(Self { loaded, entry: Entry::Tc(filter), denied_from: image.denied_from.into() })
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

    /// Runs the program on one frame and returns what it returned: the action of its hook, where its shape does not answer.
    pub fn run(&mut self, frame: &[u8]) -> Result<u32, DatapathError> {
        let Entry::Xdp(buffers) = self.entry else {
            return self.run_aggregate(Aggregate { frame, pieces: 0, piece_bytes: 0 });
        };
        if buffers == Buffers::Linear && frame.len() > LINEAR_MAX_BYTES {
            let what = format!(
                "a frame of {} bytes (this kernel tests single buffers up to {LINEAR_MAX_BYTES}; Linux 5.18 has more)",
                frame.len()
            );
            return Err(DatapathError::io(what)(std::io::ErrorKind::Unsupported.into()));
        }
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let result = self.loaded.program()?.test_run(options).map_err(not_run(frame))?;
        Ok(result.return_value)
    }

    /// The same for what may be an aggregate. Only at the tc hook.
    pub fn run_aggregate(&mut self, aggregate: Aggregate<'_>) -> Result<u32, DatapathError> {
        let Entry::Tc(filter) = self.entry else {
            return Err(DatapathError::Missing("a program of the tc hook".into()));
        };
        let Aggregate { frame, pieces, piece_bytes } = aggregate;
        let fields = [(SK_BUFF_GSO_SEGS, pieces), (SK_BUFF_GSO_SIZE, piece_bytes)];
        run_classifier(&mut self.loaded, filter, frame, &fields)
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
        match self.entry {
            Entry::Xdp(_) => self.loaded.info(),
            Entry::Tc(filter) => self.loaded.classifier_info(filter),
        }
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
        loaded.classifier(Classifier::Egress)?;
        loaded.maps.swap(image)?;
        Ok(Self { loaded })
    }

    /// Accounts by another policy from now on.
    pub fn swap(&mut self, image: &PolicyImage) -> Result<(), DatapathError> {
        self.loaded.maps.swap(image)
    }

    /// Runs the program on one frame and returns what it returned, -1 for "next program".
    pub fn run(&mut self, sending: Sending<'_>) -> Result<i32, DatapathError> {
        let fields = [(SK_BUFF_GSO_SEGS, sending.pieces), (SK_BUFF_WIRE_LEN, sending.wire_bytes)];
        run_classifier(&mut self.loaded, Classifier::Egress, sending.frame, &fields).map(u32::cast_signed)
    }

    /// The private maps, for their counters.
    pub fn maps(&self) -> &Maps {
        &self.loaded.maps
    }

    /// The program's facts.
    pub fn facts(&mut self) -> Result<ProgramFacts, DatapathError> {
        self.loaded.classifier_info(Classifier::Egress)
    }
}

/// Runs a program of traffic control on a frame in a socket buffer whose fields at these offsets have these values.
fn run_classifier(
    loaded: &mut Loaded,
    which: Classifier,
    frame: &[u8],
    fields: &[(usize, u32)],
) -> Result<u32, DatapathError> {
    let mut context = [0_u8; SK_BUFF_BYTES];
    for (offset, value) in fields {
        if let Some(field) = context.get_mut(*offset..offset + 4) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
    }
    let options = TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), ..TestRunOptions::new() };
    let result = loaded.classifier(which)?.test_run(options).map_err(not_run(frame))?;
    Ok(result.return_value)
}

fn not_run<E: Into<Box<dyn std::error::Error + Send + Sync>>>(frame: &[u8]) -> impl FnOnce(E) -> DatapathError {
    let what = format!("the kernel did not run a test frame of {} bytes", frame.len());
    move |error| DatapathError::io(what)(std::io::Error::other(error))
}

/// `struct __sk_buff` (include/uapi/linux/bpf.h) up to `gso_size`, which Linux 5.7 has; and some of its fields.
const SK_BUFF_BYTES: usize = 180;
const SK_BUFF_WIRE_LEN: usize = 160;
const SK_BUFF_GSO_SEGS: usize = 164;
const SK_BUFF_GSO_SIZE: usize = 176;
