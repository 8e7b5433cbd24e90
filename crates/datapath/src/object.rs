//! The kernel object: loading it with its maps (pinned or private) and its entries. It must not attach anything.

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{ProgramError, ProgramInfo, SchedClassifier, Xdp},
};
use node_ebpf_common::{
    ABI_VERSION, Shape,
    maps::{self, MapKind},
};
use zerocopy::IntoBytes;

use super::{
    bpffs::PinDir,
    carried::Carried,
    error::{DatapathError, os_error},
    former::{Former, forget_carried},
    links::Layer,
    maps::{Maps, check_pins, entries},
    policy_map::PolicyMap,
    resolve::resolve,
    sys,
    tc::Side,
};

/// Times that the kernel may ask to be called again.
const LOAD_ATTEMPTS: u32 = 100;

/// The ELF that build.rs made from `node-ebpf`.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NODEWALL_OBJECT"));
/// The programs that nodewall is measured against.
#[cfg(feature = "bench")]
static REFERENCE_OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NODEWALL_REFERENCE_OBJECT"));

/// The programs that nodewall is measured against; those that ask for a policy have `image`.
#[cfg(feature = "bench")]
pub fn load_reference(
    loader: &mut EbpfLoader<'_>,
    image: Option<&node_ebpf_common::PolicyImage>,
) -> Result<ReferenceObject, DatapathError> {
    let mut policy = PolicyMap::new(None)?;
    if let Some(image) = image {
        policy.fill(image)?.put_into(&mut policy)?;
    }
    for spec in maps::ALL.iter().filter(|spec| spec.max_entries == maps::PER_CPU_ENTRIES) {
        loader.map_max_entries(spec.name, entries(spec)?);
    }
    let object = resolve(REFERENCE_OBJECT, Shape::PLAIN, policy.fd())?;
    let mut ebpf = loader.load(object.as_bytes()).map_err(|e| DatapathError::Object(Box::new(e)))?;
    let counters = ebpf.map_mut(maps::name::COUNTERS);
    let Some(aya::maps::Map::Array(data)) = counters else {
        return Err(DatapathError::Missing(format!("map {}", maps::name::COUNTERS)));
    };
    let fd = sys::fd_of(data).try_clone_to_owned().map_err(DatapathError::io("can not copy a descriptor"))?;
    let data = aya::maps::MapData::from_fd(fd).map_err(DatapathError::map(maps::name::COUNTERS))?;
    Ok(ReferenceObject { ebpf, areas: super::areas::Areas::of(data)?, _policy: policy })
}

/// They, and the maps that their instructions refer to.
#[cfg(feature = "bench")]
pub struct ReferenceObject {
    /// What is loaded.
    pub ebpf: Ebpf,
    areas: super::areas::Areas,
    _policy: PolicyMap,
}

#[cfg(feature = "bench")]
impl ReferenceObject {
    /// An inbound cell, summed over all CPUs.
    pub fn cell(&self, index: u32) -> Result<node_ebpf_common::counter::Counter, DatapathError> {
        let at = std::mem::offset_of!(node_ebpf_common::area::CpuArea, counters);
        let counter = size_of::<node_ebpf_common::counter::Counter>();
        let sums = self.areas.sums(at + index as usize * counter, 1)?;
        sums.first().copied().ok_or_else(|| DatapathError::Missing(format!("counter cell {index}")))
    }
}

/// The target triple that this was built for.
pub const TARGET: &str = env!("NODEWALL_TARGET");
/// The compiler that built it, as it names itself.
pub const COMPILER: &str = env!("NODEWALL_COMPILER");

/// A program of traffic control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classifier {
    /// The filter for frames with an Ethernet header.
    Ingress,
    /// The filter for packets without a link-layer header.
    IngressIp,
    /// What counts outbound frames with an Ethernet header.
    Egress,
    /// What counts outbound packets without a link-layer header.
    EgressIp,
}

impl Classifier {
    /// The one for this side of such an interface.
    pub(super) const fn of(side: Side, layer: Layer) -> Self {
        match (side, layer) {
            (Side::Ingress, Layer::Ethernet) => Self::Ingress,
            (Side::Ingress, Layer::Ip) => Self::IngressIp,
            (Side::Egress, Layer::Ethernet) => Self::Egress,
            (Side::Egress, Layer::Ip) => Self::EgressIp,
        }
    }

    /// Its name, also that of its filter.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "nodewall_ingress",
            Self::IngressIp => "nodewall_packets",
            Self::Egress => "nodewall_egress",
            Self::EgressIp => "nodewall_sent",
        }
    }
}

/// How frames lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffers {
    /// Frames of one buffer only: every kernel.
    Linear,
    /// Multi-buffer frames, too: Linux 5.18.
    Frags,
}

impl Buffers {
    /// The program for such frames.
    const fn program(self) -> &'static str {
        match self {
            Self::Linear => "nodewall",
            Self::Frags => "nodewall_frags",
        }
    }
}

/// A loaded object. Dropping it leaves pinned maps and pinned links in place.
pub struct Loaded {
    pub(super) ebpf: Ebpf,
    /// The maps.
    pub maps: Maps,
    /// The program that was loaded.
    program: Option<&'static str>,
}

impl Loaded {
    /// Creates or adopts the maps. With `pins` they are the pinned ones (checked first), else private and gone with this value. Its programs will have the
    /// instructions of `shape`.
    pub fn new(pins: Option<&PinDir>, shape: Shape) -> Result<Self, DatapathError> {
        let missing = sys::missing_capabilities();
        if !missing.is_empty() {
            return Err(DatapathError::Privilege { missing });
        }
        sys::lift_memlock_limit();
        let mut loader = EbpfLoader::new();
        // Statistics only: a full log of a big program costs seconds. On failure the kernel is asked again by the error path.
        loader.verifier_log_level(VerifierLogLevel::STATS);
        // The policy's map is in no object.
        let of_object = || maps::ALL.iter().filter(|spec| spec.kind != MapKind::DirectValue);
        for spec in of_object() {
            loader.map_max_entries(spec.name, entries(spec)?);
        }
        let mut is_ours = false;
        if let Some(pins) = pins {
            let in_force = pins.in_force()?;
            is_ours = in_force.is_none_or(|version| version == ABI_VERSION);
            // Before anything is made: a layout that can not be read is not taken over.
            Former::all(pins, in_force)?;
            forget_carried(pins, in_force)?;
            check_pins(pins)?;
            for spec in of_object() {
                loader.map_pin_path(spec.name, pins.maps().join(spec.name));
            }
        }
        let policy = PolicyMap::new(pins)?;
        let object = resolve(OBJECT, shape, policy.fd())?;
        let mut ebpf = loader.load(object.as_bytes()).map_err(|e| DatapathError::Object(Box::new(e)))?;
        let mut maps = Maps::take(&mut ebpf, policy)?;
        maps.prepare_flows()?;
        if let Some(pins) = pins {
            maps.describe(None)?;
            maps.carried = Carried::open(&pins.maps())?;
            // Where other maps are in force, that ends with an upgrade and not before.
            if is_ours {
                if pins.sign().exists() { pins.guard_links()? } else { pins.put_sign()? }
            }
        }
        Ok(Self { ebpf, maps, program: None })
    }

    /// The same with private maps, over a policy that programs may not write: one that would is refused. It can hold no policy, so it is for asking the verifier.
    pub fn over_read_only_policy(shape: Shape) -> Result<Self, DatapathError> {
        let policy = PolicyMap::read_only()?;
        let mut loader = EbpfLoader::new();
        for spec in maps::ALL.iter().filter(|spec| spec.kind != MapKind::DirectValue) {
            loader.map_max_entries(spec.name, entries(spec)?);
        }
        let object = resolve(OBJECT, shape, policy.fd())?;
        let mut ebpf = loader.load(object.as_bytes()).map_err(|e| DatapathError::Object(Box::new(e)))?;
        let maps = Maps::take(&mut ebpf, policy)?;
        Ok(Self { ebpf, maps, program: None })
    }

    /// Loads the filter for multi-buffer frames where the kernel can, else for single buffers.
    pub fn load(&mut self) -> Result<Buffers, DatapathError> {
        match self.load_for(Buffers::Frags) {
            Ok(()) => Ok(Buffers::Frags),
            Err(frags) => {
                // Below 5.18 the flag, the helpers or both are unknown: EINVAL. Anything else (no privilege, no memory) is final.
                let DatapathError::Load { source, .. } = &frags else { return Err(frags) };
                if os_error(source) != Some(libc::EINVAL) {
                    return Err(frags);
                }
                self.load_for(Buffers::Linear)?;
                Ok(Buffers::Linear)
            }
        }
    }

    /// Loads exactly this variant.
    pub fn load_for(&mut self, buffers: Buffers) -> Result<(), DatapathError> {
        let name = buffers.program();
        let program = self.named(name)?;
        load(name, || program.load())?;
        self.program = Some(name);
        Ok(())
    }

    /// The program that was loaded.
    pub(super) fn program(&mut self) -> Result<&mut Xdp, DatapathError> {
        let name = self.program.ok_or_else(|| DatapathError::Missing("a loaded program".into()))?;
        self.named(name)
    }

    /// What the kernel says of the program that was loaded.
    pub fn info(&mut self) -> Result<ProgramFacts, DatapathError> {
        let info = self.program()?.info().map_err(|e| DatapathError::Load { program: "info", source: Box::new(e) })?;
        Ok(ProgramFacts::from(&info))
    }

    /// A program of traffic control, loaded now if it was not.
    pub(super) fn classifier(&mut self, which: Classifier) -> Result<&mut SchedClassifier, DatapathError> {
        let name = which.name();
        let missing = || DatapathError::Missing(format!("program {name}"));
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(|_| missing())?;
        if program.fd().is_err() {
            load(name, || program.load())?;
        }
        Ok(program)
    }

    /// What the kernel says of it.
    pub fn classifier_info(&mut self, which: Classifier) -> Result<ProgramFacts, DatapathError> {
        let info = self.classifier(which)?.info();
        info.map(|info| ProgramFacts::from(&info))
            .map_err(|e| DatapathError::Load { program: which.name(), source: Box::new(e) })
    }

    /// Numbers of those filters that were loaded.
    pub fn filter_ids(&mut self) -> Vec<u32> {
        let xdp = self.program().ok().and_then(|program| program.info().ok());
        let tc = [Classifier::Ingress, Classifier::IngressIp].map(|which| {
            let program: &SchedClassifier = self.ebpf.program(which.name())?.try_into().ok()?;
            program.fd().ok()?;
            program.info().ok()
        });
        xdp.into_iter().chain(tc.into_iter().flatten()).map(|info| info.id()).collect()
    }

    fn named(&mut self, name: &'static str) -> Result<&mut Xdp, DatapathError> {
        let missing = || DatapathError::Missing(format!("program {name}"));
        self.ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(|_| missing())
    }
}

/// Loads a program. The verifier gives up when a signal comes (EAGAIN); on a busy machine one would come each time while somebody sends many.
fn load(program: &'static str, mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), DatapathError> {
    let _held = sys::SignalsHeld::new();
    let mut attempt = 1;
    loop {
        match load() {
            Ok(()) => return Ok(()),
            Err(error) if os_error(&error) == Some(libc::EAGAIN) && attempt < LOAD_ATTEMPTS => attempt += 1,
            Err(error) => return Err(DatapathError::Load { program, source: Box::new(error) }),
        }
    }
}

/// Facts of a loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramFacts {
    /// The kernel's id.
    pub id: u32,
    /// Hash of the instructions: equal tags are equal programs.
    pub tag: u64,
    /// Instructions that the verifier went through (5.16; `None` before).
    pub verified_instructions: Option<u32>,
    /// Instructions after translation, where the kernel tells.
    pub translated_instructions: Option<u32>,
}

impl From<&ProgramInfo> for ProgramFacts {
    fn from(info: &ProgramInfo) -> Self {
        Self {
            id: info.id(),
            tag: info.tag(),
            verified_instructions: info.verified_instruction_count(),
            translated_instructions: info.size_translated().map(|bytes| bytes / 8),
        }
    }
}
