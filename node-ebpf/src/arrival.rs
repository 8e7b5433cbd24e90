//! What a hook hands over: how it is read, how many frames it was on the wire, and how the hook is answered. It must not know what is asked of it.

use aya_ebpf::cty::c_long;
use node_ebpf_common::{Frame, flow::FlowEntry};

use crate::add::Amount;

/// What arrived, as its hook has it.
pub trait Arrival: Amount {
    /// How its bytes are read.
    type Frame: Frame;
    /// The frame.
    fn frame(self) -> Self::Frame;
    /// The same, to be read anew: the compiler keeps nothing for it that was read before.
    fn anew(self) -> Self;
    /// The interface that it came in by.
    fn interface(self) -> u32;
    /// Bytes in front of what can be read.
    fn bytes_before(self) -> u64;
    /// How many frames it was on the wire, and their bytes. `bytes`: those of all that can be read, as one frame.
    fn amount(self, bytes: u64) -> (u64, u64);
    /// Gives userspace the entry and the frame's first bytes. Negative: it did not.
    ///
    /// # Safety
    /// `entry` must be valid.
    unsafe fn capture(self, entry: *const FlowEntry, length_bytes: u64) -> c_long;
    /// The answer; `dropped` is 1 or 0.
    fn answer(dropped: u32) -> u32;
}
