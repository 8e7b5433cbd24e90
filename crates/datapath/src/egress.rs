//! The outbound counter on an interface. It must not touch inbound filtering, which never depends on any of this.

use super::{
    bpffs::PinDir,
    classifier,
    error::DatapathError,
    links::{Attached, Hook, Target},
    object::Loaded,
    tc::Side,
};

/// One attachment as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlet {
    /// The interface.
    pub if_index: u32,
    /// How.
    pub hook: Hook,
    /// The program that runs.
    pub program_id: u32,
}

/// Every attachment that works.
pub fn outlets(pins: &PinDir) -> Result<Vec<Outlet>, DatapathError> {
    let attached = classifier::attached(pins, Side::Egress)?.into_iter();
    Ok(attached.map(|link| Outlet { if_index: link.if_index, hook: link.hook, program_id: link.program_id }).collect())
}

/// Counts what leaves by `target`, or replaces the program that does. `only`: by this hook and no other; else the best that the kernel has.
pub fn attach_egress(
    loaded: &mut Loaded,
    pins: &PinDir,
    target: &Target,
    only: Option<Hook>,
) -> Result<Attached, DatapathError> {
    classifier::attach(loaded, pins, target, Side::Egress, only)
}

/// Stops counting what leaves by one interface. `false`: nothing did.
pub fn detach_egress(pins: &PinDir, if_index: u32) -> Result<bool, DatapathError> {
    classifier::detach(pins, if_index, Side::Egress)
}

/// Counts by the loaded program wherever one of ours counts. One that can not be exchanged is taken away: it must not go on counting where nobody reads.
pub(super) fn exchange(loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
    for link in classifier::attached(pins, Side::Egress)? {
        if let Err(error) = classifier::replace(loaded, &link, Side::Egress) {
            tracing::warn!("{error}; what leaves there is counted anew");
            classifier::remove(&link.pin.file_name().unwrap_or_default().to_string_lossy(), &link.pin)?;
        }
    }
    Ok(())
}
