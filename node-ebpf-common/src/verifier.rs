//! Values hidden from the verifier or from LLVM, so that programs stay small, branch-free and within the verifier's limit on every kernel. Nothing
//! here changes what a program computes.

use crate::frame::Frame;

/// All ones when `value` is 0, else 0, without a branch: on mixed traffic a mispredicted branch costs as much as the whole lookup.
/// `value` must be 2^63 at most.
#[inline(always)]
pub fn zero_mask<F: Frame + ?Sized>(frame: &F, value: u64) -> u64 {
    frame.opaque((value.wrapping_sub(1).cast_signed() >> 63).cast_unsigned())
}

/// Gives `value` back, which must be at most `MASK`. The verifier forgets which constant it was (`zero` is 0, which it can not know) and learns the
/// bound anew, so that paths that differ in this value alone become one state. LLVM must keep the mask, hence `opaque`.
#[inline(always)]
pub fn rebound<F: Frame + ?Sized, const MASK: usize>(frame: &F, zero: u64, value: usize) -> usize {
    frame.opaque((value as u64).wrapping_add(zero)) as usize & MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_mask_is_all_or_nothing() {
        let frame: &[u8] = &[];
        for value in [1, 2, u64::from(u32::MAX), u64::MAX >> 1, 1 << 63] {
            assert_eq!(zero_mask(frame, value), 0);
        }
        assert_eq!(zero_mask(frame, 0), u64::MAX);
    }
}
