//! Typed handles of the maps in the one list, and the check that a pinned map is really ours before it is adopted.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::UNIX_EPOCH,
};

use aya::{
    Ebpf,
    maps::{Array, IterableMap, Map, MapData, MapError, MapType},
    util::nr_cpus,
};
use node_ebpf_common::{
    Layout, PolicyImage,
    maps::{self, LayoutWords, MapKind, PER_CPU_ENTRIES, Spec, name},
};
use zerocopy::transmute;

use super::{
    areas::Areas,
    bpffs::{PinDir, pinned},
    carried::Carried,
    error::DatapathError,
    policy_map::{Filled, ImageFacts, PolicyMap},
    sys,
    words::{PeerBytes, RowBytes},
};

/// Handles of every map.
pub struct Maps {
    pub(super) areas: Areas,
    /// Never used, and held: a program that is still to be loaded refers to it by its descriptor.
    _captures: Map,
    /// The same map: aya's handle gives no descriptor.
    pub(super) captures_fd: OwnedFd,
    pub(super) policy: PolicyMap,
    pub(super) rows: Array<MapData, RowBytes>,
    pub(super) peers: Array<MapData, PeerBytes>,
    /// Only where these maps were just made or adopted: who looks at them mostly does not ask.
    layout: Option<Array<MapData, LayoutWords>>,
    /// What was counted before these.
    pub(super) carried: Carried,
}

impl Maps {
    /// The maps of an object that was just loaded, over this policy.
    pub(super) fn take(ebpf: &mut Ebpf, policy: PolicyMap) -> Result<Self, DatapathError> {
        let mut find = |name: &str| ebpf.take_map(name).ok_or_else(|| DatapathError::Missing(format!("map {name}")));
        let layout = Some(find(name::LAYOUT)?.try_into().map_err(DatapathError::map(name::LAYOUT))?);
        Ok(Self { layout, ..Self::from(find, policy)? })
    }

    /// The pinned maps, without loading any program.
    pub(super) fn open(pins: &PinDir) -> Result<Self, DatapathError> {
        pins.require_ours()?;
        let mut opened = BTreeMap::new();
        for spec in maps::ALL.iter().filter(|spec| spec.name != name::LAYOUT) {
            let path = pins.maps().join(spec.name);
            let data = MapData::from_pin(&path).map_err(DatapathError::map(path.display().to_string()))?;
            check(&path, spec, &data)?;
            opened.insert(spec.name, data);
        }
        let mut take = |name: &str| opened.remove(name).ok_or_else(|| DatapathError::Missing(format!("map {name}")));
        let policy = PolicyMap::of(take(name::POLICY)?);
        let maps = Self::from(|name| Map::from_map_data(take(name)?).map_err(DatapathError::map(name)), policy)?;
        let maps = Self { carried: Carried::open(&pins.maps())?, ..maps };
        // An upgrade to another layout may have come between: it takes away first what these had carried over, and without that they would have gone back.
        pins.require_ours()?;
        Ok(maps)
    }

    fn from(
        mut find: impl FnMut(&'static str) -> Result<Map, DatapathError>,
        policy: PolicyMap,
    ) -> Result<Self, DatapathError> {
        fn typed<M: TryFrom<Map, Error = MapError>>(
            find: &mut impl FnMut(&'static str) -> Result<Map, DatapathError>,
            name: &'static str,
        ) -> Result<M, DatapathError> {
            find(name)?.try_into().map_err(DatapathError::map(name))
        }
        fn fd_of(data: &MapData) -> Result<OwnedFd, DatapathError> {
            sys::fd_of(data).try_clone_to_owned().map_err(DatapathError::io("can not copy a descriptor"))
        }
        let counters = find(name::COUNTERS)?;
        let Map::Array(areas) = counters else {
            return Err(DatapathError::Missing(format!("map {}", name::COUNTERS)));
        };
        let captures = find(name::CAPTURES)?;
        let Map::PerfEventArray(data) = &captures else {
            return Err(DatapathError::Missing(format!("map {}", name::CAPTURES)));
        };
        let captures_fd = fd_of(data)?;
        Ok(Self {
            areas: Areas::of(areas)?,
            captures_fd,
            _captures: captures,
            policy,
            rows: typed(&mut find, name::ROWS)?,
            peers: typed(&mut find, name::PEERS)?,
            layout: None,
            carried: Carried::default(),
        })
    }
}

impl Maps {
    /// A copy of the policy that packets are judged by right now.
    pub fn policy(&self) -> Result<Box<PolicyImage>, DatapathError> {
        self.policy.policy()
    }

    /// What the image in force says of itself: without copying it.
    pub fn in_force_facts(&self) -> Result<ImageFacts, DatapathError> {
        self.policy.facts()
    }

    /// Puts `image` into force.
    pub fn swap(&mut self, image: &PolicyImage) -> Result<(), DatapathError> {
        let filled = self.fill(image)?;
        self.put(filled)
    }

    /// Writes `image` beside the one in force.
    pub fn fill(&mut self, image: &PolicyImage) -> Result<Filled, DatapathError> {
        self.policy.fill(image)
    }

    /// Puts it into force: one word. Returns after the kernel's grace period: no packet meets the image before it any more.
    pub fn put(&mut self, filled: Filled) -> Result<(), DatapathError> {
        filled.put_into(&mut self.policy)
    }

    /// Whether these are the maps that are pinned; a missing pin counts as ours.
    pub fn are_pinned(&self, pins: &PinDir) -> Result<bool, DatapathError> {
        let path = pins.maps().join(name::COUNTERS);
        let pinned = match MapData::from_pin(&path) {
            Err(MapError::SyscallError(call)) if call.io_error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(true);
            }
            result => result.and_then(|map| map.info()).map_err(DatapathError::map(path.display().to_string()))?,
        };
        Ok(pinned.id() == self.map_id()?)
    }

    /// The kernel's number of the map that these counters began in, which is another where an upgrade carried them over: nothing else of this boot has or will
    /// have it.
    pub fn counters_id(&self, pins: &PinDir) -> Result<u32, DatapathError> {
        let account: Vec<Layout> = values(&pins.maps(), name::LAYOUT, 1)?;
        match account.first() {
            Some(Layout { origin, .. }) if *origin != 0 => Ok(*origin),
            _ => self.map_id(),
        }
    }

    /// When these counters began, Unix ns by the clock of that time; `None`: nobody knows, they were carried over from others.
    pub fn began_unix_ns(&self, pins: &PinDir) -> Result<Option<u64>, DatapathError> {
        if self.counters_id(pins)? != self.map_id()? {
            return Ok(None);
        }
        let path = pins.maps().join(name::COUNTERS);
        let pinned = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let pinned = pinned.map_err(DatapathError::io(path.display().to_string()))?;
        Ok(pinned.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()))
    }

    /// Writes down where these maps keep what they count. `origin`: they go on from the counters of that number; `None`: from where they were.
    pub(super) fn describe(&mut self, origin: Option<u32>) -> Result<(), DatapathError> {
        let Some(map) = &mut self.layout else { return Err(DatapathError::Missing("the layout's account".into())) };
        let there: LayoutWords = map.get(&0, 0).map_err(DatapathError::map(name::LAYOUT))?;
        let there: Layout = transmute!(there);
        let words: LayoutWords = transmute!(Layout { origin: origin.unwrap_or(there.origin), ..Layout::OURS });
        map.set(0, words, 0).map_err(DatapathError::map(name::LAYOUT))
    }

    fn map_id(&self) -> Result<u32, DatapathError> {
        let info = self.areas.data().info().map_err(DatapathError::map(name::COUNTERS))?;
        Ok(info.id())
    }

    /// Whether the pin of a map is gone, or the sign of the layout.
    pub fn lack_pins(&self, pins: &PinDir) -> bool {
        // One reading of the folder instead of a look at each name: it is asked each second.
        let Ok(there) = fs::read_dir(pins.maps()) else { return true };
        let there: Vec<_> = there.flatten().map(|pin| pin.file_name()).collect();
        let mut names = maps::ALL.iter().map(|spec| spec.name).chain(self.carried.maps().map(|(name, _)| name));
        names.any(|name| !there.iter().any(|pin| pin == name)) || !pins.sign().exists()
    }

    /// Pins again those maps whose pins are gone, so that their contents carry on.
    pub fn repin(&self, pins: &PinDir) -> Result<(), DatapathError> {
        let all = [
            (name::COUNTERS, self.areas.fd()),
            (name::CAPTURES, self.captures_fd.as_fd()),
            (name::POLICY, self.policy.fd()),
            (name::ROWS, sys::fd_of(IterableMap::map(&self.rows))),
            (name::PEERS, sys::fd_of(IterableMap::map(&self.peers))),
        ];
        let layout = self.layout.as_ref().map(|map| (name::LAYOUT, sys::fd_of(IterableMap::map(map))));
        for (name, map) in all.into_iter().chain(layout).chain(self.carried.maps()) {
            let path = pins.maps().join(name);
            match sys::pin(map, &path) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(DatapathError::io(format!("can not pin {}", path.display()))(error));
                }
                _ => {}
            }
        }
        if pins.sign().exists() { Ok(()) } else { pins.put_sign() }
    }
}

/// Refuses pinned maps that this build did not make or could not have made.
pub(super) fn check_pins(pins: &PinDir) -> Result<(), DatapathError> {
    for spec in maps::ALL {
        let path = pins.maps().join(spec.name);
        if path.exists() {
            let map = MapData::from_pin(&path).map_err(DatapathError::map(path.display().to_string()))?;
            check(&path, spec, &map)?;
        }
    }
    Ok(())
}

/// The values of a plain array that has so many.
pub(super) fn values<T: zerocopy::FromBytes>(folder: &Path, name: &str, entries: u32) -> Result<Vec<T>, DatapathError> {
    let path = folder.join(name);
    let map = pinned(&path)?;
    let info = map.info().map_err(DatapathError::map(path.display().to_string()))?;
    if (info.value_size() as usize, info.max_entries()) != (size_of::<T>(), entries) {
        return Err(DatapathError::ForeignMap {
            path,
            found: format!("{} values of {} bytes", info.max_entries(), info.value_size()),
            expected: format!("{entries} of {}", size_of::<T>()),
        });
    }
    let failed = DatapathError::io(format!("can not read {}", path.display()));
    sys::array_values(sys::fd_of(&map), entries as usize).map_err(failed)
}

/// How many entries a map has on this machine.
pub(super) fn entries(spec: &Spec) -> Result<u32, DatapathError> {
    match spec.max_entries {
        PER_CPU_ENTRIES => {
            let cpus = nr_cpus().map_err(|(what, error)| DatapathError::io(format!("can not read {what}"))(error))?;
            Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
        }
        entries => Ok(entries),
    }
}

fn check(path: &Path, spec: &Spec, map: &MapData) -> Result<(), DatapathError> {
    let info = map.info().map_err(DatapathError::map(path.display().to_string()))?;
    let kind = match spec.kind {
        MapKind::Array | MapKind::DirectValue => MapType::Array,
        MapKind::PerfEventArray => MapType::PerfEventArray,
    };
    let refuse = |what: &str, found: String, expected: String| {
        Err(DatapathError::ForeignMap { path: path.to_path_buf(), found: format!("{what} {found}"), expected })
    };
    let found = info.map_type().map_err(DatapathError::map(spec.name))?;
    if found != kind {
        return refuse("type", format!("{found:?}"), format!("{kind:?}"));
    }
    let name = info.name_as_str().unwrap_or_default();
    if name != spec.name {
        return refuse("the name", format!("\"{name}\""), format!("\"{}\"", spec.name));
    }
    let sizes = [
        ("a key of", info.key_size(), spec.key_bytes),
        ("a value of", info.value_size(), spec.value_bytes),
        ("a number of entries of", info.max_entries(), entries(spec)?),
        ("flags", info.map_flags(), spec.flags),
    ];
    for (what, found, expected) in sizes {
        if found != expected {
            return refuse(what, found.to_string(), expected.to_string());
        }
    }
    Ok(())
}
