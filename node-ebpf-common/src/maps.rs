//! The one list of maps: name, type, key, value, size. The kernel's statics and userspace's typed handles and checks all come from it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The name's room in a [`RowRecord`], bytes.
pub const CLASS_NAME_BYTES: usize = 32;

/// Whose counters a row holds. Kept in a map beside the counters, so that they can be read without any configuration and a port keeps its row
/// across swaps, restarts and upgrades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RowRecord {
    /// First port of the row.
    pub first_port: u16,
    /// Last port of the row, inclusive.
    pub last_port: u16,
    /// IP protocol number; 0 marks a row that was never given away.
    pub protocol: u8,
    /// 1 while the policy names the row's ports, 0 for a row that waits for them to come back.
    pub active: u8,
    /// Keeps the layout free of implicit padding.
    pub reserved: [u8; 2],
    /// Name of the port class, UTF-8, padded with zero bytes.
    pub class: [u8; CLASS_NAME_BYTES],
}

/// Whose cells of the peer matrix a slot holds. Kept beside them as rows are, so that a peer keeps its slot across swaps, restarts and upgrades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PeerRecord {
    /// The address as on the wire; of IPv4 the first four bytes.
    pub address: [u8; 16],
    /// Prefix length.
    pub prefix_len: u8,
    /// 4 or 6; 0 marks a slot that was never given away.
    pub family: u8,
    /// 1 while the policy names the peer, 0 for a slot that waits for it to come back.
    pub active: u8,
    /// Keeps the layout free of implicit padding.
    pub reserved: u8,
}

/// A layout's account of itself, as plain words.
pub type LayoutWords = [u64; 76];

/// `BPF_F_MMAPABLE`: userspace reads it through memory.
pub const MMAPABLE: u32 = 1 << 10;

/// Instead of a number of entries: one for each CPU that may ever come.
pub const PER_CPU_ENTRIES: u32 = 0;

/// The kinds of map in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_ARRAY`
    Array,
    /// `BPF_MAP_TYPE_ARRAY` of one value, whose address stands in the program (`BPF_PSEUDO_MAP_VALUE`, Linux 5.2): no lookup.
    DirectValue,
    /// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
    PerfEventArray,
}

/// What a map must look like before userspace trusts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name of the static, of the pin, and (at most 15 bytes) in `bpftool map`.
    pub name: &'static str,
    /// What sort of map it is.
    pub kind: MapKind,
    /// Key size.
    pub key_bytes: u32,
    /// Value size.
    pub value_bytes: u32,
    /// Entries; [`PER_CPU_ENTRIES`]: one for each CPU.
    pub max_entries: u32,
    /// `BPF_F_*`
    pub flags: u32,
}

/// Hands the list of maps to macro `$with`, an entry each: `[doc] name, MapKind<Value>, entries, flags;`. Every key is a `u32`.
#[macro_export]
macro_rules! with_maps {
    ($with:ident) => {
        $with! {
            /// What each CPU counts and notes, see `area`.
            nw_counters: Array<$crate::area::CpuArea>, $crate::maps::PER_CPU_ENTRIES, $crate::maps::MMAPABLE;
            /// Captured frames on their way to userspace.
            nw_captures: PerfEventArray<u32>, $crate::maps::PER_CPU_ENTRIES, 0;
            /// The policy image in force and the one before it. Programs only read it, which no flag says: a map that they may not write cannot be mapped writable.
            nw_policy: DirectValue<$crate::images::Images>, 1, $crate::maps::MMAPABLE;
            /// Which port each counter row belongs to. Userspace only.
            nw_rows: Array<$crate::maps::RowRecord>, $crate::counter::ROWS, 0;
            /// Which peer each slot of the matrix belongs to. Userspace only.
            nw_peers: Array<$crate::maps::PeerRecord>, $crate::peer_traffic::SLOTS, 0;
            /// Where these maps keep what they count, see `layout`. Userspace only.
            nw_layout: Array<$crate::maps::LayoutWords>, 1, $crate::maps::MMAPABLE;
        }
    };
}

macro_rules! specs {
    ($($(#[$doc:meta])* $name:ident: $kind:ident<$value:ty>, $entries:expr, $flags:expr;)+) => {
        /// The specifications, in the order of the list.
        pub const ALL: &[Spec] = &[$(Spec {
            name: stringify!($name),
            kind: MapKind::$kind,
            key_bytes: 4,
            value_bytes: size_of::<$value>() as u32,
            max_entries: $entries,
            flags: $flags,
        },)+];
    };
}
with_maps!(specs);

/// Names as the list has them.
pub mod name {
    /// What each CPU counts and notes.
    pub const COUNTERS: &str = "nw_counters";
    /// The captured frames.
    pub const CAPTURES: &str = "nw_captures";
    /// The policy images.
    pub const POLICY: &str = "nw_policy";
    /// The rows.
    pub const ROWS: &str = "nw_rows";
    /// The peers.
    pub const PEERS: &str = "nw_peers";
    /// The layout's account of itself.
    pub const LAYOUT: &str = "nw_layout";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_stand_in_the_list() {
        for spec in ALL {
            // BPF_OBJ_NAME_LEN is 16 with its terminator.
            assert!(spec.name.len() < 16, "{}", spec.name);
        }
        let named = [name::COUNTERS, name::CAPTURES, name::POLICY, name::ROWS, name::PEERS, name::LAYOUT];
        for name in named {
            assert!(ALL.iter().any(|s| s.name == name), "{name}");
        }
    }
}
