//! Two maps' values as aya takes them: plain bytes, since it wants its own marker trait on a value type.

use node_ebpf_common::maps::{PeerRecord, RowRecord};

/// A row record.
pub(super) type RowBytes = [u8; size_of::<RowRecord>()];
/// A peer record.
pub(super) type PeerBytes = [u8; size_of::<PeerRecord>()];
