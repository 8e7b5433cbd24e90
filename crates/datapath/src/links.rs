//! What is pinned of our attachments: what kinds there are, where each is pinned, and letting a link go. It must not attach anything.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    bpffs::PinDir,
    error::DatapathError,
    sys::{self, LinkInfo},
    tc::Side,
};

/// What is behind a pin below `links/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An XDP link.
    Xdp,
    /// A tcx link.
    Tcx(Side, Layer),
    /// A mark for a filter of traffic control; whether its clsact is of our making.
    Mark(Side, bool),
}

/// How the names of pins end that are none of XDP links.
const ENDS: [(&str, Kind); 8] = [
    ("-egress", Kind::Tcx(Side::Egress, Layer::Ethernet)),
    ("-sent", Kind::Tcx(Side::Egress, Layer::Ip)),
    ("-filter", Kind::Mark(Side::Egress, false)),
    ("-clsact", Kind::Mark(Side::Egress, true)),
    ("-ingress", Kind::Tcx(Side::Ingress, Layer::Ethernet)),
    ("-packets", Kind::Tcx(Side::Ingress, Layer::Ip)),
    ("-infilter", Kind::Mark(Side::Ingress, false)),
    ("-inclsact", Kind::Mark(Side::Ingress, true)),
];

impl Kind {
    /// By a pin's name, and what is before its end.
    pub(super) fn of(name: &str) -> (Self, &str) {
        let found = ENDS.iter().find_map(|(end, kind)| Some((*kind, name.strip_suffix(end)?)));
        found.unwrap_or((Self::Xdp, name))
    }

    /// Which way the frames go.
    pub(super) const fn side(self) -> Side {
        match self {
            Self::Xdp => Side::Ingress,
            Self::Tcx(side, _) | Self::Mark(side, _) => side,
        }
    }

    /// How the names of its pins end.
    pub(super) fn end(self) -> &'static str {
        ENDS.iter().find(|(_, kind)| *kind == self).map_or("", |(end, _)| *end)
    }

    /// Where it is pinned.
    pub(super) fn pin(self, pins: &PinDir, target: &Target) -> PathBuf {
        let end = self.end();
        // The index as well: an interface may be renamed and another take its name. bpffs refuses dots (EPERM).
        pins.links().join(format!("{}-{}{end}", target.name.replace('.', "_"), target.if_index))
    }
}

/// How the filter is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the driver, before the kernel allocates anything.
    Native,
    /// By the kernel's stack, after receive offload and beside the programs of others.
    Tc,
    /// By the kernel's stack as if the driver had XDP. Only when asked for.
    Generic,
}

/// Where one of our programs hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// An XDP link.
    Xdp,
    /// A tcx link.
    Tcx,
    /// A filter of classic traffic control.
    Clsact,
}

/// What an interface's frames begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// Their IP header.
    Ip,
}

/// An interface to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, for messages and for the pin.
    pub name: String,
    /// Its index, which is what counts.
    pub if_index: u32,
    /// What its frames begin with.
    pub layer: Layer,
}

/// What [`attach`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// A new link.
    New,
    /// The program of an existing link was replaced.
    Replaced,
}

/// An attachment as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is pinned, or its mark.
    pub pin: PathBuf,
    /// The interface, 0 once that is gone.
    pub if_index: u32,
    /// How it hangs there.
    pub hook: Hook,
    /// The program that runs.
    pub program_id: u32,
    /// What this program takes the frames to begin with.
    pub layer: Layer,
}

/// What the kernel says of a pinned link of this type. `None`: removed since it was listed.
pub(super) fn link_info(pin: &Path, kind: u32) -> Result<Option<LinkInfo>, DatapathError> {
    let failed = |e: io::Error| DatapathError::io(format!("can not open {}", pin.display()))(e);
    let link = match sys::open_pin(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let info = sys::link_info(link.as_fd()).map_err(failed)?;
    if info.kind != kind {
        return Err(DatapathError::ForeignMap {
            path: pin.to_path_buf(),
            found: format!("a link of type {}", info.kind),
            expected: format!("a link of type {kind}"),
        });
    }
    Ok(Some(info))
}

/// Whether there are pins of filters, whatever has become of those of the maps: programs may run on.
pub fn links_remain(root: &Path) -> bool {
    let dir = PinDir { root: root.to_path_buf() };
    dir.link_pins().is_ok_and(|pins| pins.iter().any(|(name, _)| Kind::of(name).0.side() == Side::Ingress))
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
