//! Adding to words of this CPU's tables. Where programs of one CPU can come between one another (`setting_atomic`), each addition is one instruction that
//! nothing comes into.
//!
//! Both ways are one piece of assembly each, asked for as `settings` does: of two that LLVM chooses between it would keep more in registers, and every packet
//! would pay for it. The verifier leaves one of them.

use core::arch::asm;

use node_ebpf_common::{counter::Counter, flow::Change};

use crate::settings::setting;

/// Adds to both words of a counter.
///
/// # Safety
/// It must be valid memory of a map, this CPU's own.
#[inline(always)]
pub unsafe fn count(counter: *mut Counter, packets: u64, bytes: u64) {
    // SAFETY: the caller's; the words are aligned.
    unsafe {
        asm!(
            "call setting_atomic",
            "if {bytes} > -1 goto +7",
            "{t} = *(u64 *)({at} + 0)",
            "{t} += {packets}",
            "*(u64 *)({at} + 0) = {t}",
            "{t} = *(u64 *)({at} + 8)",
            "{t} += {bytes}",
            "*(u64 *)({at} + 8) = {t}",
            "goto +2",
            "lock *(u64 *)({at} + 0) += {packets}",
            "lock *(u64 *)({at} + 8) += {bytes}",
            t = out(reg) _, at = in(reg) counter, packets = in(reg) packets, bytes = in(reg) bytes,
            options(nostack, preserves_flags)
        );
    }
}

/// Adds one frame to a counter.
///
/// # Safety
/// As for [`count`].
#[inline(always)]
unsafe fn count_frame(counter: *mut Counter, bytes: u64) {
    // SAFETY: the caller's; the words are aligned.
    unsafe {
        asm!(
            "call setting_atomic",
            "if {bytes} > -1 goto +7",
            "{t} = *(u64 *)({at} + 0)",
            "{t} += 1",
            "*(u64 *)({at} + 0) = {t}",
            "{t} = *(u64 *)({at} + 8)",
            "{t} += {bytes}",
            "*(u64 *)({at} + 8) = {t}",
            "goto +3",
            "{t} = 1",
            "lock *(u64 *)({at} + 0) += {t}",
            "lock *(u64 *)({at} + 8) += {bytes}",
            // Not one of the inputs': it is written before they are read.
            t = out(reg) _, at = in(reg) counter, bytes = in(reg) bytes,
            options(nostack, preserves_flags)
        );
    }
}

/// How much is counted.
pub trait Amount: Copy {
    /// Adds it to a counter. `bytes`: those that can be read, as one frame's.
    ///
    /// # Safety
    /// As for [`count`].
    unsafe fn count(self, counter: *mut Counter, bytes: u64);
}

/// One frame, all of which can be read.
#[derive(Clone, Copy)]
pub struct One;

impl Amount for One {
    #[inline(always)]
    unsafe fn count(self, counter: *mut Counter, bytes: u64) {
        // SAFETY: the caller's.
        unsafe { count_frame(counter, bytes) };
    }
}

/// How the tables of denied flows are changed, by how much is counted.
#[derive(Clone, Copy)]
pub struct Tables<A>(pub A);

impl<A: Amount> Change for Tables<A> {
    #[inline(always)]
    fn is_alone(self) -> bool {
        !setting!(atomic, 0_u64)
    }

    #[inline(always)]
    fn count(self, sums: &mut Counter, bytes: u64) {
        // SAFETY: a reference into this CPU's table.
        unsafe { self.0.count(core::ptr::from_mut(sums), bytes) };
    }

    #[inline(always)]
    fn add(self, word: &mut u64, by: u64) {
        // SAFETY: an aligned word that can be written.
        unsafe {
            asm!(
                "call setting_atomic",
                "if {by} > -1 goto +4",
                "{t} = *(u64 *)({at} + 0)",
                "{t} += {by}",
                "*(u64 *)({at} + 0) = {t}",
                "goto +1",
                "lock *(u64 *)({at} + 0) += {by}",
                t = out(reg) _, at = in(reg) core::ptr::from_mut(word), by = in(reg) by,
                options(nostack, preserves_flags)
            );
        }
    }

    #[inline(always)]
    fn read(self, word: &u64) -> u64 {
        // SAFETY: a reference can be read.
        unsafe { core::ptr::from_ref(word).read_volatile() }
    }

    #[inline(always)]
    fn publish(self, word: &mut u64, value: u64) {
        // Assembly that may touch memory: LLVM moves no store over it.
        // SAFETY: an aligned word that can be written.
        unsafe {
            asm!(
                "*(u64 *)({at} + 0) = {value}",
                at = in(reg) core::ptr::from_mut(word), value = in(reg) value,
                options(nostack, preserves_flags)
            );
        }
    }
}
