//! Typed handles of the maps in the one list, and the check that a pinned map is really ours before it is adopted.

use std::{os::fd::OwnedFd, path::Path};

use aya::{
    Ebpf,
    maps::{Array, ArrayOfMaps, Map, MapData, MapError, MapType, PerCpuArray},
};
use node_ebpf_common::maps::{self, ImageWords, Kind, RowRecord, Spec, name};

use super::{bpffs::PinDir, error::DatapathError, sys};

/// A counter as plain words (packets, bytes): aya wants its own marker trait on a value type.
pub(super) type CounterWords = [u64; 2];
/// A row record as plain bytes, for the same reason.
pub(super) type RowBytes = [u8; size_of::<RowRecord>()];
pub(super) type ImageMap = Array<MapData, ImageWords>;

/// Handles of every map.
pub struct Maps {
    pub(super) counters: PerCpuArray<MapData, CounterWords>,
    pub(super) policy: ArrayOfMaps<MapData, ImageMap>,
    /// The same map: aya's handle of a map of maps gives no descriptor.
    pub(super) policy_fd: OwnedFd,
    pub(super) rows: Array<MapData, RowBytes>,
    pub(super) images: [ImageMap; 2],
}

impl Maps {
    /// The maps of an object that was just loaded.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Self::from(|name| ebpf.take_map(name).ok_or_else(|| DatapathError::Missing(format!("map {name}"))))
    }

    /// The pinned maps, without loading any program.
    pub(super) fn open(pins: &PinDir) -> Result<Self, DatapathError> {
        check_pins(pins)?;
        Self::from(|name| {
            let path = pins.maps().join(name);
            let data = MapData::from_pin(&path).map_err(DatapathError::map(path.display().to_string()))?;
            Map::from_map_data(data).map_err(DatapathError::map(name))
        })
    }

    fn from(mut find: impl FnMut(&'static str) -> Result<Map, DatapathError>) -> Result<Self, DatapathError> {
        fn typed<M: TryFrom<Map, Error = MapError>>(
            find: &mut impl FnMut(&'static str) -> Result<Map, DatapathError>,
            name: &'static str,
        ) -> Result<M, DatapathError> {
            find(name)?.try_into().map_err(DatapathError::map(name))
        }
        let [first, second] = name::IMAGES;
        let policy = find(name::POLICY)?;
        let Map::ArrayOfMaps(data) = &policy else {
            return Err(DatapathError::Missing(format!("map {}", name::POLICY)));
        };
        let policy_fd =
            sys::fd_of(data).try_clone_to_owned().map_err(DatapathError::io("can not copy a descriptor"))?;
        Ok(Self {
            counters: typed(&mut find, name::COUNTERS)?,
            policy: policy.try_into().map_err(DatapathError::map(name::POLICY))?,
            policy_fd,
            rows: typed(&mut find, name::ROWS)?,
            images: [typed(&mut find, first)?, typed(&mut find, second)?],
        })
    }
}

/// Refuses pinned maps that this build did not make or could not have made.
pub(super) fn check_pins(pins: &PinDir) -> Result<(), DatapathError> {
    for spec in maps::ALL {
        let path = pins.maps().join(spec.name);
        if path.exists() {
            check(&path, spec)?;
        }
    }
    Ok(())
}

fn check(path: &Path, spec: &Spec) -> Result<(), DatapathError> {
    let info =
        MapData::from_pin(path).and_then(|map| map.info()).map_err(DatapathError::map(path.display().to_string()))?;
    let kind = match spec.kind {
        Kind::Array => MapType::Array,
        Kind::PerCpuArray => MapType::PerCpuArray,
        Kind::ArrayOfMaps => MapType::ArrayOfMaps,
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
        ("a number of entries of", info.max_entries(), spec.max_entries),
        ("flags", info.map_flags(), spec.flags),
    ];
    for (what, found, expected) in sizes {
        if found != expected {
            return refuse(what, found.to_string(), expected.to_string());
        }
    }
    Ok(())
}
