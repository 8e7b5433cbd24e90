//! Everything that touches the kernel's BPF side: the object, the pins, the policy map, the links, the counters. The only crate
//! that depends on aya. It must not know about configuration, and it changes nothing before it checked what it can.

mod areas;
mod attach;
mod bpffs;
mod captured;
mod carried;
mod classifier;
mod counting;
mod egress;
mod engine;
mod error;
mod evidence;
mod features;
mod former;
mod kernel_log;
mod links;
mod listing;
mod maps;
mod memory;
mod object;
mod owner;
mod peer_cells;
mod policy_map;
mod remove;
mod resolve;
mod sign;
mod sys;
mod tc;
mod upgrade;
mod words;

pub use attach::{attach, attach_tc, detach, detach_other, forget_dead, load_in_use};
pub use bpffs::PinDir;
pub use captured::Captured;
pub use classifier::inbound_programs;
pub use counting::{Cell, OutboundCell};
pub use egress::{Outlet, attach_egress, detach_egress, outlets};
pub use engine::{Aggregate, EgressEngine, KernelEngine, Sending};
pub use error::DatapathError;
pub use evidence::{CaptureBudget, Evidence, Sweep};
pub use features::{Features, FilterFacts, Probe, VERIFIER_LIMIT_INSTRUCTIONS, is_realtime, on_bpffs, probe};
pub use kernel_log::forward as forward_kernel_log;
pub use links::{Attached, Hook, Layer, Link, Mode, Target, links_remain};
pub use listing::links;
pub use maps::Maps;
pub use object::{Buffers, COMPILER, Classifier, Loaded, OBJECT, ProgramFacts, TARGET};
#[cfg(feature = "bench")]
pub use object::{ReferenceObject, load_reference};
pub use owner::{Owner, owner};
pub use peer_cells::PeerCell;
pub use policy_map::{Filled, ImageFacts};
pub use sys::missing_capabilities;
pub use upgrade::Upgrade;

/// Attempts to open a data path that is being made or removed by another process at this moment.
const OPEN_ATTEMPTS: u32 = 10;
/// Wait between them.
const OPEN_RETRY: std::time::Duration = std::time::Duration::from_millis(20);

impl Maps {
    /// The maps of the live data path, or `None` where none was ever installed.
    pub fn live(root: &std::path::Path) -> Result<Option<(PinDir, Self)>, DatapathError> {
        let missing = missing_capabilities();
        if !missing.is_empty() {
            return Err(DatapathError::Privilege { missing });
        }
        let mut attempt = 1;
        loop {
            match Self::open_live(root) {
                // Half of it is there: a change is under way. One that is over stays as it is, and is reported.
                Err(error) if error.is_not_found() && attempt < OPEN_ATTEMPTS => std::thread::sleep(OPEN_RETRY),
                result => return result,
            }
            attempt += 1;
        }
    }

    fn open_live(root: &std::path::Path) -> Result<Option<(PinDir, Self)>, DatapathError> {
        let Some(pins) = PinDir::open(root)? else { return Ok(None) };
        let maps = Self::open(&pins)?;
        Ok(Some((pins, maps)))
    }
}
