//! The filter on an interface: attach, adopt, replace. A link is pinned at once, so that enforcement outlives the process; an adopted link gets the new
//! program by one atomic replacement and is never detached first.

use std::{fs, io};

use aya::programs::{
    links::{FdLink, PinnedLink},
    xdp::{XdpLink, XdpMode},
};

use super::{
    bpffs::PinDir,
    classifier::{self, inbound_programs},
    error::{DatapathError, os_error},
    links::{Attached, Hook, Kind, Link, Mode, Target, release},
    listing::links,
    object::{Classifier, Loaded},
    owner::{Owner, owner, uses},
    tc::Side,
};

/// Removes the pins of links whose interface no longer exists (`exists`: whether an index does): they filter nothing and would be in the way when it comes back.
pub fn forget_dead(pins: &PinDir, exists: impl Fn(u32) -> bool) -> Result<(), DatapathError> {
    for link in links(pins)?.into_iter().filter(|l| l.if_index == 0) {
        fs::remove_file(&link.pin).map_err(DatapathError::io(format!("can not remove {}", link.pin.display())))?;
    }
    classifier::forget_dead(pins, exists)
}

/// Runs the loaded filter on `target`, or replaces the program that is there already. What runs there by the other kind of hook stays.
pub fn attach(loaded: &mut Loaded, pins: &PinDir, target: &Target, mode: Mode) -> Result<Attached, DatapathError> {
    match mode {
        Mode::Tc => attach_tc(loaded, pins, target, None),
        Mode::Native | Mode::Generic => attach_xdp(loaded, pins, target, mode),
    }
}

/// The same at the tc hook alone. `only`: by this hook and no other; else the best that the kernel has.
pub fn attach_tc(
    loaded: &mut Loaded,
    pins: &PinDir,
    target: &Target,
    only: Option<Hook>,
) -> Result<Attached, DatapathError> {
    let ours: Vec<u32> = links(pins)?.into_iter().map(|link| link.program_id).collect();
    let counters = loaded.maps.areas.data().info().map(|info| info.id());
    // With others' programs ours shares the hook; with those of another nodewall it would filter twice, by two policies.
    for program_id in inbound_programs(target.if_index).into_iter().filter(|program| !ours.contains(program)) {
        // One of our own whose mark was lost is adopted.
        let is_own = counters.as_ref().is_ok_and(|map_id| uses(program_id, *map_id));
        if !is_own && owner(program_id) == Some(Owner::Nodewall) {
            return Err(DatapathError::Unpinned { interface: target.name.clone(), program_id });
        }
    }
    // Without one the program reads zeros, and would let everything pass.
    loaded.maps.in_force_facts()?;
    classifier::attach(loaded, pins, target, Side::Ingress, only)
}

/// Loads those filters of the tc hook that run now, so that they can be exchanged.
pub fn load_in_use(loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
    for link in links(pins)?.into_iter().filter(|link| link.hook != Hook::Xdp) {
        loaded.classifier(Classifier::of(Side::Ingress, link.layer))?;
    }
    Ok(())
}

fn attach_xdp(loaded: &mut Loaded, pins: &PinDir, target: &Target, mode: Mode) -> Result<Attached, DatapathError> {
    let is_there = |link: &Link| link.if_index == target.if_index && link.hook == Hook::Xdp;
    if let Some(link) = links(pins)?.into_iter().find(is_there) {
        replace(loaded, &link, target)?;
        return Ok(Attached::Replaced);
    }
    // Without one the program reads zeros, and would let everything pass.
    loaded.maps.in_force_facts()?;
    let xdp_mode = match mode {
        Mode::Native => XdpMode::Driver,
        Mode::Generic | Mode::Tc => XdpMode::Skb,
    };
    let program = loaded.program()?;
    let id = program.attach_to_if_index(target.if_index, xdp_mode).map_err(|error| refused(target, mode, error))?;
    let link = program.take_link(id).map_err(|e| failed(target, e))?;
    // aya falls back to a netlink attachment where the kernel has no XDP links; that dies with the process. Dropping it detaches.
    let link: FdLink = link.try_into().map_err(|_| DatapathError::NoLinks { interface: target.name.clone() })?;
    let pin = Kind::Xdp.pin(pins, target);
    link.pin(&pin).map_err(|error| {
        DatapathError::io(format!("can not pin the link of {} at {}", target.name, pin.display()))(io::Error::other(
            error,
        ))
    })?;
    Ok(Attached::New)
}

/// Detaches one interface. `false`: it was not attached.
pub fn detach(pins: &PinDir, target: &Target) -> Result<bool, DatapathError> {
    let [xdp, tc] = [detach_xdp(pins, target)?, classifier::detach(pins, target.if_index, Side::Ingress)?];
    Ok(xdp || tc)
}

/// Detaches what runs by the other kind of hook than `mode`'s.
pub fn detach_other(pins: &PinDir, target: &Target, mode: Mode) -> Result<bool, DatapathError> {
    match mode {
        Mode::Tc => detach_xdp(pins, target),
        Mode::Native | Mode::Generic => classifier::detach(pins, target.if_index, Side::Ingress),
    }
}

fn detach_xdp(pins: &PinDir, target: &Target) -> Result<bool, DatapathError> {
    let is_there = |link: &Link| link.if_index == target.if_index && link.hook == Hook::Xdp;
    let Some(link) = links(pins)?.into_iter().find(is_there) else { return Ok(false) };
    release(&link.pin)?;
    Ok(true)
}

/// Runs the loaded filter wherever one of ours runs, whether the interface is wanted or known any more.
pub(super) fn exchange(loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
    for link in links(pins)?.into_iter().filter(|link| link.if_index != 0) {
        let pin = link.pin.file_name().unwrap_or_default().to_string_lossy();
        let target = Target { name: pin.into_owned(), if_index: link.if_index, layer: link.layer };
        let exchanged = match link.hook {
            Hook::Xdp => replace(loaded, &link, &target),
            Hook::Tcx | Hook::Clsact => classifier::replace(loaded, &link, Side::Ingress),
        };
        match exchanged {
            // The interface has gone since.
            Err(DatapathError::Attach { source, .. }) if os_error(&source) == Some(libc::ENOLINK) => {}
            result => result?,
        }
    }
    Ok(())
}

fn replace(loaded: &mut Loaded, link: &Link, target: &Target) -> Result<(), DatapathError> {
    let broken = |e: String| DatapathError::io(format!("can not adopt {}", link.pin.display()))(io::Error::other(e));
    let pinned = PinnedLink::from_pin(&link.pin).map_err(|e| broken(e.to_string()))?;
    let xdp: XdpLink = FdLink::from(pinned).try_into().map_err(|e| broken(format!("{e}")))?;
    let program = loaded.program()?;
    let id = program.attach_to_link(xdp).map_err(|e| failed(target, e))?;
    // Closes our descriptor: the pin alone holds the link, so that removing the pin detaches, also while an agent runs.
    program.take_link(id).map(drop).map_err(|e| failed(target, e))
}

fn failed(target: &Target, error: aya::programs::ProgramError) -> DatapathError {
    DatapathError::Attach { interface: target.name.clone(), source: Box::new(error) }
}

/// Says why an attachment was refused, in the words of what an operator can change.
fn refused(target: &Target, mode: Mode, error: aya::programs::ProgramError) -> DatapathError {
    let Some(number) = os_error(&error) else { return failed(target, error) };
    let help = match number {
        libc::EOPNOTSUPP => "set attach_mode = \"tc\" to filter in the kernel's stack instead, which is slower",
        libc::ERANGE | libc::EINVAL => {
            "the interface's MTU may be too large for this driver's XDP: lower it, or set attach_mode = \"tc\""
        }
        libc::ENOMEM | libc::ENOSPC | libc::E2BIG => {
            "the driver lacks queues or memory for XDP: lower the number of channels (`ethtool -L`), or set attach_mode = \"tc\""
        }
        libc::EBUSY | libc::EEXIST => return DatapathError::occupied(&target.name, 0),
        _ => return failed(target, error),
    };
    match mode {
        Mode::Native => DatapathError::NativeRefused {
            interface: target.name.clone(),
            source: io::Error::from_raw_os_error(number),
            help,
        },
        Mode::Generic | Mode::Tc => failed(target, error),
    }
}
