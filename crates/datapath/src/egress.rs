//! The outbound counter's attachments: tcx links where the kernel has them (6.6), else a filter of classic traffic control. Like XDP links they outlive
//! the process, are adopted and get a new program without a gap. It must not touch inbound filtering, which never depends on any of this.
//!
//! A tcx link is pinned. A filter of traffic control can not be pinned: it lives with its interface, so a mark beside the links (a further pin of the
//! map of the counters) says that there is one, and whether its queueing discipline is of our making.

use std::{
    fs, io,
    mem::forget,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
};
use serde::Serialize;

use super::{
    bpffs::PinDir,
    error::{DatapathError, os_error},
    links::{Attached, CLSACT_SUFFIX, FILTER_SUFFIX, TCX_SUFFIX, Target, is_outbound, pin_of, release},
    object::{EGRESS_PROGRAM, Loaded},
    sign,
    sys::{self, LINK_TYPE_TCX},
    tc::{self, Filter, Side},
};

/// Priority of our filter: the first, as our tcx link is. A program of somebody else's that lets a frame go ends the row of programs, and ours would not
/// see it; ours always says "next".
const PRIORITY: u16 = 1;
/// Handle of our filter: "nw", which nobody else takes by chance.
const HANDLE: TcHandle = TcHandle::new(0, 0x6e77);

/// How the outbound counter hangs at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// A tcx link.
    Tcx,
    /// A filter of classic traffic control.
    Clsact,
}

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
    Ok(pinned(pins)?.into_iter().map(|(outlet, _)| outlet).collect())
}

/// The same with the pin or mark of each.
fn pinned(pins: &PinDir) -> Result<Vec<(Outlet, PathBuf)>, DatapathError> {
    let mut found = Vec::new();
    for (name, pin) in pins.link_pins()? {
        let outlet = if name.ends_with(TCX_SUFFIX) {
            tcx_outlet(&pin)?
        } else if let Some(if_index) = marked_index(&name) {
            let filter = own_filter(if_index).map_err(DatapathError::io("can not list filters"))?;
            filter.map(|filter| Outlet { if_index, hook: Hook::Clsact, program_id: filter.program_id })
        } else {
            None
        };
        found.extend(outlet.map(|outlet| (outlet, pin)));
    }
    Ok(found)
}

/// Counts what leaves by `target`, or replaces the program that does. `only`: by this hook and no other; else the best that the kernel has.
pub fn attach_egress(
    loaded: &mut Loaded,
    pins: &PinDir,
    target: &Target,
    only: Option<Hook>,
) -> Result<Attached, DatapathError> {
    let there = pinned(pins)?.into_iter().find(|(outlet, _)| outlet.if_index == target.if_index);
    if let Some((Outlet { hook: Hook::Tcx, .. }, pin)) = &there {
        return replace_tcx(loaded, target, pin).map(|()| Attached::Replaced);
    }
    let filter = own_filter(target.if_index).map_err(DatapathError::io("can not list filters"))?;
    if filter.is_some() {
        replace_filter(loaded, target)?;
        if there.is_none() {
            // Its mark was lost.
            mark(loaded, &pin(pins, target, FILTER_SUFFIX))?;
        }
        return Ok(Attached::Replaced);
    }
    forget_pins(pins, target.if_index)?;
    if only != Some(Hook::Clsact) {
        match attach_tcx(loaded, pins, target) {
            // No such attach type: Linux before 6.6.
            Err(DatapathError::Attach { source, .. }) if only.is_none() && os_error(&source) == Some(libc::EINVAL) => {}
            result => return result.map(|()| Attached::New),
        }
    }
    attach_filter(loaded, pins, target).map(|()| Attached::New)
}

/// Counts by the loaded program wherever one of ours counts. One that can not be exchanged is taken away: it must not go on counting where nobody reads.
pub(super) fn exchange(loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
    for (Outlet { if_index, hook, .. }, pin) in pinned(pins)? {
        let name = pin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let exchanged = interface_name(if_index).and_then(|interface| {
            let target = Target { name: interface, if_index };
            match hook {
                Hook::Tcx => replace_tcx(loaded, &target, &pin),
                // The mark is a pin of the map that the program counts in.
                Hook::Clsact => replace_filter(loaded, &target).and_then(|()| sign::put(loaded.maps.areas.fd(), &pin)),
            }
        });
        if let Err(error) = exchanged {
            tracing::warn!("{error}; what leaves there is counted anew");
            remove(&name, &pin)?;
        }
    }
    Ok(())
}

fn interface_name(if_index: u32) -> Result<String, DatapathError> {
    use rustix::net::{AddressFamily, SocketType, netdevice::index_to_name, socket};
    let name = socket(AddressFamily::INET, SocketType::DGRAM, None).and_then(|socket| index_to_name(socket, if_index));
    name.map_err(|error| DatapathError::io(format!("interface {if_index} has no name"))(error.into()))
}

/// Stops counting what leaves by one interface. `false`: nothing did.
pub fn detach_egress(pins: &PinDir, if_index: u32) -> Result<bool, DatapathError> {
    let there = outlets(pins)?.into_iter().any(|outlet| outlet.if_index == if_index);
    forget_pins(pins, if_index)?;
    Ok(there)
}

/// Removes the attachment whose pin or mark this is.
pub(super) fn remove(name: &str, path: &Path) -> Result<(), DatapathError> {
    let Some(if_index) = marked_index(name) else { return release(path) };
    remove_filter(if_index, name.ends_with(CLSACT_SUFFIX))
        .map_err(DatapathError::io(format!("can not take the filter from interface {if_index}")))?;
    fs::remove_file(path).map_err(DatapathError::io(format!("can not remove {}", path.display())))
}

/// Removes what is left of interfaces that no longer exist. What can not be judged stays: nothing inbound may depend on it.
pub(super) fn forget_dead(pins: &PinDir, exists: impl Fn(u32) -> bool) -> Result<(), DatapathError> {
    for (name, path) in pins.link_pins()?.into_iter().filter(|(name, _)| is_outbound(name)) {
        let dead = match marked_index(&name) {
            Some(if_index) => !exists(if_index),
            None => matches!(tcx_outlet(&path), Ok(None)),
        };
        if dead && let Err(error) = fs::remove_file(&path) {
            tracing::warn!("can not remove {}: {error}", path.display());
        }
    }
    Ok(())
}

fn forget_pins(pins: &PinDir, if_index: u32) -> Result<(), DatapathError> {
    for (name, path) in pins.link_pins()?.into_iter().filter(|(name, _)| is_outbound(name)) {
        let of_interface = match marked_index(&name) {
            Some(index) => index == if_index,
            // A link whose interface is gone had perhaps this index.
            None => tcx_outlet(&path)?.is_none_or(|outlet| outlet.if_index == if_index),
        };
        if of_interface {
            remove(&name, &path)?;
        }
    }
    Ok(())
}

/// `None`: its interface is gone, or it was detached.
fn tcx_outlet(pin: &Path) -> Result<Option<Outlet>, DatapathError> {
    let failed = |e: io::Error| DatapathError::io(format!("can not open {}", pin.display()))(e);
    let link = match sys::open_pin(pin) {
        // Removed since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let info = sys::link_info(link.as_fd()).map_err(failed)?;
    if info.kind != LINK_TYPE_TCX {
        return Err(DatapathError::ForeignMap {
            path: pin.to_path_buf(),
            found: format!("a link of type {}", info.kind),
            expected: format!("a tcx link ({LINK_TYPE_TCX})"),
        });
    }
    let outlet = Outlet { if_index: info.if_index, hook: Hook::Tcx, program_id: info.program_id };
    Ok((info.if_index != 0).then_some(outlet))
}

/// The interface of a mark.
fn marked_index(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(FILTER_SUFFIX).or_else(|| name.strip_suffix(CLSACT_SUFFIX))?;
    stem.rsplit('-').next()?.parse().ok()
}

fn own_filter(if_index: u32) -> io::Result<Option<Filter>> {
    let ours = |filter: &Filter| {
        (filter.priority, filter.handle) == (PRIORITY, u32::from(HANDLE)) && filter.name == EGRESS_PROGRAM
    };
    Ok(tc::filters(if_index, Side::Egress)?.into_iter().find(ours))
}

fn remove_filter(if_index: u32, with_clsact: bool) -> io::Result<()> {
    if let Some(filter) = own_filter(if_index)? {
        tc::remove_filter(if_index, Side::Egress, &filter)?;
    }
    let unused = || {
        io::Result::Ok(
            tc::filters(if_index, Side::Ingress)?.is_empty() && tc::filters(if_index, Side::Egress)?.is_empty(),
        )
    };
    if with_clsact && unused()? {
        tc::remove_clsact(if_index)?;
    }
    Ok(())
}

fn pin(pins: &PinDir, target: &Target, suffix: &str) -> PathBuf {
    let mut path = pin_of(pins, target).into_os_string();
    path.push(suffix);
    path.into()
}

fn mark(loaded: &Loaded, path: &Path) -> Result<(), DatapathError> {
    match sys::pin(loaded.maps.areas.fd(), path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(DatapathError::io(format!("can not pin {}", path.display()))),
    }
}

fn attach_tcx(loaded: &mut Loaded, pins: &PinDir, target: &Target) -> Result<(), DatapathError> {
    let program = loaded.egress_program()?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(&target.name, TcAttachType::Egress, options)
        .map_err(|error| failed(target, error))?;
    let link = program.take_link(id).map_err(|error| failed(target, error))?;
    let link: FdLink = link.try_into().map_err(|_| DatapathError::Missing("a tcx link".into()))?;
    let pin = pin(pins, target, TCX_SUFFIX);
    let what = || format!("can not pin the outbound link of {} at {}", target.name, pin.display());
    link.pin(&pin).map(drop).map_err(|error| DatapathError::io(what())(io::Error::other(error)))
}

fn replace_tcx(loaded: &mut Loaded, target: &Target, pin: &Path) -> Result<(), DatapathError> {
    let broken = |e: String| DatapathError::io(format!("can not adopt {}", pin.display()))(io::Error::other(e));
    let pinned = PinnedLink::from_pin(pin).map_err(|e| broken(e.to_string()))?;
    let link: SchedClassifierLink = FdLink::from(pinned).try_into().map_err(|e| broken(format!("{e}")))?;
    let program = loaded.egress_program()?;
    let id = program.attach_to_link(link).map_err(|error| failed(target, error))?;
    // Closes our descriptor: the pin alone holds the link.
    program.take_link(id).map(drop).map_err(|error| failed(target, error))
}

fn attach_filter(loaded: &mut Loaded, pins: &PinDir, target: &Target) -> Result<(), DatapathError> {
    let no_clsact = |e| DatapathError::io(format!("{}: can not add clsact", target.name))(e);
    // Before anything changes: a program that does not load leaves nothing behind.
    loaded.egress_program()?;
    let made = tc::add_clsact(target.if_index).map_err(no_clsact)?;
    let mark_at = pin(pins, target, if made { CLSACT_SUFFIX } else { FILTER_SUFFIX });
    let attached = mark(loaded, &mark_at).and_then(|()| {
        let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
        let program = loaded.egress_program()?;
        let id = program
            .attach_with_options(&target.name, TcAttachType::Egress, TcAttachOptions::Netlink(options))
            .map_err(|error| failed(target, error))?;
        keep(program, id, target)
    });
    if attached.is_err() {
        let _ = remove_filter(target.if_index, made);
        let _ = fs::remove_file(&mark_at);
    }
    attached
}

fn replace_filter(loaded: &mut Loaded, target: &Target) -> Result<(), DatapathError> {
    let link = SchedClassifierLink::attached(&target.name, TcAttachType::Egress, PRIORITY, HANDLE, None)
        .map_err(DatapathError::io(format!("can not adopt the filter of {}", target.name)))?;
    let program = match loaded.egress_program() {
        Ok(program) => program,
        Err(error) => {
            // Dropping it would detach.
            forget(link);
            return Err(error);
        }
    };
    let id = program.attach_to_link(link).map_err(|error| failed(target, error))?;
    keep(program, id, target)
}

/// Leaves the filter where it is when this process ends: dropping aya's handle would take it away.
fn keep(
    program: &mut SchedClassifier,
    id: aya::programs::tc::SchedClassifierLinkId,
    target: &Target,
) -> Result<(), DatapathError> {
    program.take_link(id).map(forget).map_err(|error| failed(target, error))
}

fn failed(target: &Target, error: aya::programs::ProgramError) -> DatapathError {
    DatapathError::Attach { interface: target.name.clone(), source: Box::new(error) }
}
