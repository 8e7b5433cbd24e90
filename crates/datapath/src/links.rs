//! Pinned links: which there are, where each is pinned, and letting one go. It must not attach anything.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::{
    bpffs::PinDir,
    error::DatapathError,
    sys::{self, LINK_TYPE_XDP},
};

/// End of the name of a tcx link's pin.
pub(super) const TCX_SUFFIX: &str = "-egress";
/// End of the name of the mark for a filter on a clsact that was there before.
pub(super) const FILTER_SUFFIX: &str = "-filter";
/// The same where clsact is of our making.
pub(super) const CLSACT_SUFFIX: &str = "-clsact";

/// How the program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the driver, before the kernel allocates anything.
    Native,
    /// By the kernel's stack, after receive offload. Only when asked for.
    Generic,
}

/// An interface to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, for messages and for the pin.
    pub name: String,
    /// Its index, which is what counts.
    pub if_index: u32,
}

/// What [`attach`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A new link.
    New,
    /// The program of an existing link was replaced.
    Replaced,
}

/// A pinned link as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is pinned.
    pub pin: PathBuf,
    /// The interface, 0 once that is gone.
    pub if_index: u32,
    /// The program that runs.
    pub program_id: u32,
}

/// All pinned XDP links.
pub fn links(pins: &PinDir) -> Result<Vec<Link>, DatapathError> {
    let mut links = Vec::new();
    for (_, pin) in pins.link_pins()?.into_iter().filter(|(name, _)| !is_outbound(name)) {
        let failed = |e: io::Error| DatapathError::io(format!("can not open {}", pin.display()))(e);
        let fd = match sys::open_pin(&pin) {
            // Removed since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result.map_err(failed)?,
        };
        let info = sys::link_info(fd.as_fd()).map_err(failed)?;
        if info.kind != LINK_TYPE_XDP {
            return Err(DatapathError::ForeignMap {
                path: pin,
                found: format!("a link of type {}", info.kind),
                expected: format!("an XDP link ({LINK_TYPE_XDP})"),
            });
        }
        links.push(Link { pin, if_index: info.if_index, program_id: info.program_id });
    }
    Ok(links)
}

/// Whether there are pins of XDP links, whatever has become of those of the maps: programs may run on.
pub fn links_remain(root: &Path) -> bool {
    let dir = PinDir { root: root.to_path_buf() };
    dir.link_pins().is_ok_and(|pins| pins.iter().any(|(name, _)| !is_outbound(name)))
}

/// Whether a pin below `links/` is that of an outbound counter.
pub(super) fn is_outbound(name: &str) -> bool {
    [TCX_SUFFIX, FILTER_SUFFIX, CLSACT_SUFFIX].iter().any(|suffix| name.ends_with(suffix))
}

/// Detaches the link pinned at `pin` and removes the pin; when this returns, the interface is free.
pub(super) fn release(pin: &Path) -> Result<(), DatapathError> {
    let failed = |e: io::Error| DatapathError::io(format!("can not detach {}", pin.display()))(e);
    let link = sys::open_pin(pin).map_err(failed)?;
    match sys::detach_link(link.as_fd()) {
        // Its interface is gone already.
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) && error.raw_os_error() != Some(libc::EINVAL) => {
            return Err(failed(error));
        }
        _ => {}
    }
    fs::remove_file(pin).map_err(failed)
}

pub(super) fn pin_of(pins: &PinDir, target: &Target) -> PathBuf {
    // The index as well: an interface may be renamed and another take its name. bpffs refuses dots (EPERM).
    pins.links().join(format!("{}-{}", target.name.replace('.', "_"), target.if_index))
}
