//! Our classifiers' attachments, inbound and outbound: tcx links where the kernel has them (6.6), else filters of classic traffic control. Like XDP links they
//! outlive the process, are adopted and get a new program without a gap. It must not know what the programs do.
//!
//! A tcx link is pinned. A filter of traffic control can not be pinned: it lives with its interface, so a mark beside the links (a further pin of the
//! map of the counters) says that there is one, and whether its queueing discipline is of our making.

use std::{fs, io, mem::forget, path::Path};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
    tc::{NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle},
};

use super::{
    bpffs::PinDir,
    error::{DatapathError, os_error},
    links::{Attached, Hook, Kind, Layer, Link, Target, link_info, release},
    object::{Classifier, Loaded},
    sign,
    sys::{self, LINK_TYPE_TCX},
    tc::{self, Filter, Side},
};

/// Priority of our filters: the first, as our tcx links are. A program of somebody else's that lets a frame go ends the row of programs, and ours would not
/// see it; ours says "next" of whatever it does not drop.
const PRIORITY: u16 = 1;
/// Handle of our filters: "nw", which nobody else takes by chance.
const HANDLE: TcHandle = TcHandle::new(0, 0x6e77);

/// Every attachment of this side that works.
pub(super) fn attached(pins: &PinDir, side: Side) -> Result<Vec<Link>, DatapathError> {
    let mut found = Vec::new();
    for (name, pin) in pins.link_pins()? {
        let (kind, _) = Kind::of(&name);
        match kind {
            Kind::Tcx(of, layer) if of == side => found.extend(tcx_link(&pin, side, layer)?),
            Kind::Mark(of, _) if of == side => {
                let Some(if_index) = marked_index(&name) else { continue };
                let filter = own_filter(if_index, side).map_err(DatapathError::io("can not list filters"))?;
                found.extend(filter.map(|(Filter { program_id, .. }, layer)| Link {
                    pin,
                    if_index,
                    hook: Hook::Clsact,
                    program_id,
                    layer,
                }));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Runs our classifier of this side on `target`, or replaces the program that is there. `only`: by this hook and no other; else the best that the kernel has.
pub(super) fn attach(
    loaded: &mut Loaded,
    pins: &PinDir,
    target: &Target,
    side: Side,
    only: Option<Hook>,
) -> Result<Attached, DatapathError> {
    let there = attached(pins, side)?.into_iter().find(|link| link.if_index == target.if_index);
    let place = Place { target, program: Classifier::of(side, target.layer), side };
    if let Some(link) = there.as_ref().filter(|link| link.hook == Hook::Tcx) {
        return place.replace_tcx(loaded, &link.pin).map(|()| Attached::Replaced);
    }
    let filter = own_filter(target.if_index, side).map_err(DatapathError::io("can not list filters"))?;
    if filter.is_some() {
        place.replace_filter(loaded)?;
        if there.is_none() {
            // Its mark was lost.
            mark(loaded, &Kind::Mark(side, false).pin(pins, target))?;
        }
        return Ok(Attached::Replaced);
    }
    forget_pins(pins, target.if_index, side)?;
    if only != Some(Hook::Clsact) {
        match place.attach_tcx(loaded, pins) {
            // No such attach type: Linux before 6.6.
            Err(DatapathError::Attach { source, .. }) if only.is_none() && os_error(&source) == Some(libc::EINVAL) => {}
            result => return result.map(|()| Attached::New),
        }
    }
    place.attach_filter(loaded, pins).map(|()| Attached::New)
}

/// Runs the loaded program in the place of the one that is there.
pub(super) fn replace(loaded: &mut Loaded, link: &Link, side: Side) -> Result<(), DatapathError> {
    let target = Target { name: interface_name(link.if_index)?, if_index: link.if_index, layer: link.layer };
    let place = Place { target: &target, program: Classifier::of(side, link.layer), side };
    if link.hook == Hook::Tcx {
        return place.replace_tcx(loaded, &link.pin);
    }
    place.replace_filter(loaded)?;
    // The mark is a pin of the map that the program counts in.
    sign::put(loaded.maps.areas.fd(), &link.pin)
}

fn interface_name(if_index: u32) -> Result<String, DatapathError> {
    use rustix::net::{AddressFamily, SocketType, netdevice::index_to_name, socket};
    let name = socket(AddressFamily::INET, SocketType::DGRAM, None).and_then(|socket| index_to_name(socket, if_index));
    name.map_err(|error| DatapathError::io(format!("interface {if_index} has no name"))(error.into()))
}

/// Takes our classifier of this side from one interface. `false`: there was none.
pub(super) fn detach(pins: &PinDir, if_index: u32, side: Side) -> Result<bool, DatapathError> {
    let there = attached(pins, side)?.into_iter().any(|link| link.if_index == if_index);
    forget_pins(pins, if_index, side)?;
    Ok(there)
}

/// Removes the attachment whose pin or mark this is.
pub(super) fn remove(name: &str, path: &Path) -> Result<(), DatapathError> {
    let (Kind::Mark(side, own_clsact), Some(if_index)) = (Kind::of(name).0, marked_index(name)) else {
        return release(path);
    };
    let failed = |error| DatapathError::io(format!("can not take the filter from interface {if_index}"))(error);
    if let Some((filter, _)) = own_filter(if_index, side).map_err(failed)? {
        tc::remove_filter(if_index, side, &filter).map_err(failed)?;
    }
    if own_clsact {
        let filters = |side| tc::filters(if_index, side).map_err(failed);
        if filters(Side::Ingress)?.is_empty() && filters(Side::Egress)?.is_empty() {
            tc::remove_clsact(if_index).map_err(failed)?;
        } else {
            hand_over_clsact(name, path, side.other());
        }
    }
    fs::remove_file(path).map_err(DatapathError::io(format!("can not remove {}", path.display())))
}

/// From now on it is the other side's to take the clsact away that we made.
fn hand_over_clsact(name: &str, path: &Path, other: Side) {
    let (_, stem) = Kind::of(name);
    let mark = |own| path.with_file_name(format!("{stem}{}", Kind::Mark(other, own).end()));
    // Where there is no such mark, the rest of the row is somebody else's.
    if let Err(error) = fs::rename(mark(false), mark(true))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{}: {error}; a clsact of ours will stay behind", mark(false).display());
    }
}

/// Removes what is left of interfaces that no longer exist. What can not be judged stays: nothing else may depend on it.
pub(super) fn forget_dead(pins: &PinDir, exists: impl Fn(u32) -> bool) -> Result<(), DatapathError> {
    for (name, path) in pins.link_pins()? {
        let dead = match Kind::of(&name).0 {
            Kind::Xdp => false,
            Kind::Mark(..) => marked_index(&name).is_some_and(|if_index| !exists(if_index)),
            Kind::Tcx(..) => matches!(link_info(&path, LINK_TYPE_TCX), Ok(Some(info)) if info.if_index == 0),
        };
        if dead && let Err(error) = fs::remove_file(&path) {
            tracing::warn!("can not remove {}: {error}", path.display());
        }
    }
    Ok(())
}

fn forget_pins(pins: &PinDir, if_index: u32, side: Side) -> Result<(), DatapathError> {
    for (name, path) in pins.link_pins()? {
        let of_interface = match Kind::of(&name).0 {
            Kind::Mark(of, _) if of == side => marked_index(&name) == Some(if_index),
            // A link whose interface is gone had perhaps this index.
            Kind::Tcx(of, _) if of == side => {
                link_info(&path, LINK_TYPE_TCX)?.is_some_and(|info| [0, if_index].contains(&info.if_index))
            }
            _ => false,
        };
        if of_interface {
            remove(&name, &path)?;
        }
    }
    Ok(())
}

/// `None`: its interface is gone or in another network namespace, or it was detached.
fn tcx_link(pin: &Path, side: Side, layer: Layer) -> Result<Option<Link>, DatapathError> {
    let Some(info) = link_info(pin, LINK_TYPE_TCX)?.filter(|info| info.if_index != 0) else { return Ok(None) };
    // The link's own word is of whatever namespace its interface went to.
    let here = sys::tcx_row(info.if_index, attach_type(side)).unwrap_or_default();
    let (if_index, program_id) = (info.if_index, info.program_id);
    let link = Link { pin: pin.to_path_buf(), if_index, hook: Hook::Tcx, program_id, layer };
    Ok(here.iter().any(|running| running.link_id == info.id).then_some(link))
}

/// `enum bpf_attach_type`
const fn attach_type(side: Side) -> u32 {
    match side {
        Side::Ingress => 46,
        Side::Egress => 47,
    }
}

/// Every program in an interface's inbound rows, whoever attached it; those of links first, as they run.
pub fn inbound_programs(if_index: u32) -> Vec<u32> {
    let row = sys::tcx_row(if_index, attach_type(Side::Ingress)).unwrap_or_default();
    let filters = tc::filters(if_index, Side::Ingress).unwrap_or_default();
    let filters = filters.into_iter().map(|filter| filter.program_id).filter(|id| *id != 0);
    row.into_iter().map(|running| running.program_id).chain(filters).collect()
}

/// The interface of a mark.
fn marked_index(name: &str) -> Option<u32> {
    Kind::of(name).1.rsplit('-').next()?.parse().ok()
}

/// Our filter of this side, and what it takes frames to begin with.
fn own_filter(if_index: u32, side: Side) -> io::Result<Option<(Filter, Layer)>> {
    let ours = |filter: Filter| {
        let is_there = (filter.priority, filter.handle) == (PRIORITY, u32::from(HANDLE));
        let named = |layer: &Layer| Classifier::of(side, *layer).name() == filter.name;
        let layer = [Layer::Ethernet, Layer::Ip].into_iter().find(named).filter(|_| is_there)?;
        Some((filter, layer))
    };
    Ok(tc::filters(if_index, side)?.into_iter().find_map(ours))
}

fn mark(loaded: &Loaded, path: &Path) -> Result<(), DatapathError> {
    match sys::pin(loaded.maps.areas.fd(), path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map_err(DatapathError::io(format!("can not pin {}", path.display()))),
    }
}

/// Where a program is to run.
struct Place<'a> {
    target: &'a Target,
    program: Classifier,
    side: Side,
}

impl Place<'_> {
    fn attach_type(&self) -> TcAttachType {
        match self.side {
            Side::Ingress => TcAttachType::Ingress,
            Side::Egress => TcAttachType::Egress,
        }
    }

    fn attach_tcx(&self, loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
        let program = loaded.classifier(self.program)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = program
            .attach_with_options(&self.target.name, self.attach_type(), options)
            .map_err(|error| self.failed(error))?;
        let link = program.take_link(id).map_err(|error| self.failed(error))?;
        let link: FdLink = link.try_into().map_err(|_| DatapathError::Missing("a tcx link".into()))?;
        let pin = Kind::Tcx(self.side, self.target.layer).pin(pins, self.target);
        let what = || format!("can not pin the link of {} at {}", self.target.name, pin.display());
        link.pin(&pin).map(drop).map_err(|error| DatapathError::io(what())(io::Error::other(error)))
    }

    fn replace_tcx(&self, loaded: &mut Loaded, pin: &Path) -> Result<(), DatapathError> {
        let broken = |e: String| DatapathError::io(format!("can not adopt {}", pin.display()))(io::Error::other(e));
        let pinned = PinnedLink::from_pin(pin).map_err(|e| broken(e.to_string()))?;
        let link: SchedClassifierLink = FdLink::from(pinned).try_into().map_err(|e| broken(format!("{e}")))?;
        let program = loaded.classifier(self.program)?;
        let id = program.attach_to_link(link).map_err(|error| self.failed(error))?;
        // Closes our descriptor: the pin alone holds the link.
        program.take_link(id).map(drop).map_err(|error| self.failed(error))
    }

    fn attach_filter(&self, loaded: &mut Loaded, pins: &PinDir) -> Result<(), DatapathError> {
        let if_index = self.target.if_index;
        let no_clsact = |e| DatapathError::io(format!("{}: can not add clsact", self.target.name))(e);
        // Before anything changes: a program that does not load leaves nothing behind.
        loaded.classifier(self.program)?;
        let made = tc::add_clsact(if_index).map_err(no_clsact)?;
        let mark_at = Kind::Mark(self.side, made).pin(pins, self.target);
        let attached = mark(loaded, &mark_at).and_then(|()| {
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
            let program = loaded.classifier(self.program)?;
            let id = program
                .attach_with_options(&self.target.name, self.attach_type(), TcAttachOptions::Netlink(options))
                .map_err(|error| self.failed(error))?;
            self.keep(program, id)
        });
        if attached.is_err() {
            let name = mark_at.file_name().unwrap_or_default().to_string_lossy();
            let _ = remove(&name, &mark_at);
        }
        attached
    }

    fn replace_filter(&self, loaded: &mut Loaded) -> Result<(), DatapathError> {
        let name = &self.target.name;
        let link = SchedClassifierLink::attached(name, self.attach_type(), PRIORITY, HANDLE, None)
            .map_err(DatapathError::io(format!("can not adopt the filter of {name}")))?;
        let program = match loaded.classifier(self.program) {
            Ok(program) => program,
            Err(error) => {
                // Dropping it would detach.
                forget(link);
                return Err(error);
            }
        };
        let id = program.attach_to_link(link).map_err(|error| self.failed(error))?;
        self.keep(program, id)
    }

    /// Leaves the filter where it is when this process ends: dropping aya's handle would take it away.
    fn keep(&self, program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Result<(), DatapathError> {
        program.take_link(id).map(forget).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ProgramError) -> DatapathError {
        DatapathError::Attach { interface: self.target.name.clone(), source: Box::new(error) }
    }
}
