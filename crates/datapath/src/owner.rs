//! Whose a program on an interface is, by the maps that it uses: pins can be hidden by a mount, or lie elsewhere. The kernel tells it with `CAP_SYS_ADMIN` alone.

use aya::{maps::loaded_maps, programs::loaded_programs};
use node_ebpf_common::maps::name;

/// Whose a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A nodewall's: it reads a policy.
    Nodewall,
    /// Somebody else's, with the name that the kernel has for it.
    Other(String),
}

/// Whose the program with this number is; `None`: it is gone, or this process may not ask.
pub fn owner(program_id: u32) -> Option<Owner> {
    let program = loaded_programs().flatten().find(|program| program.id() == program_id)?;
    let maps = program.map_ids().ok().flatten()?;
    let policy = |map: &aya::maps::MapInfo| map.name_as_str() == Some(name::POLICY) && maps.contains(&map.id());
    if loaded_maps().flatten().any(|map| policy(&map)) {
        return Some(Owner::Nodewall);
    }
    Some(Owner::Other(program.name_as_str().unwrap_or_default().to_owned()))
}

/// Whether the program with this number works on that map.
pub(super) fn uses(program_id: u32, map_id: u32) -> bool {
    let program = loaded_programs().flatten().find(|program| program.id() == program_id);
    program.and_then(|program| program.map_ids().ok().flatten()).is_some_and(|maps| maps.contains(&map_id))
}
