//! Which filters are attached, by the kernel's word. It must not attach anything.

use std::path::PathBuf;

use super::{
    bpffs::PinDir,
    classifier,
    error::DatapathError,
    links::{Hook, Kind, Layer, Link, link_info},
    sys::LINK_TYPE_XDP,
    tc::Side,
};

/// The filters that are attached.
pub fn links(pins: &PinDir) -> Result<Vec<Link>, DatapathError> {
    let mut links = Vec::new();
    for (name, pin) in pins.link_pins()? {
        if Kind::of(&name).0 == Kind::Xdp {
            links.extend(xdp_link(pin)?);
        }
    }
    links.extend(classifier::attached(pins, Side::Ingress)?);
    Ok(links)
}

/// `None`: removed since it was listed.
fn xdp_link(pin: PathBuf) -> Result<Option<Link>, DatapathError> {
    let Some(info) = link_info(&pin, LINK_TYPE_XDP)? else { return Ok(None) };
    let (if_index, program_id) = (info.if_index, info.program_id);
    Ok(Some(Link { pin, if_index, hook: Hook::Xdp, program_id, layer: Layer::Ethernet }))
}
