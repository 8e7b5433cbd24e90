//! Choices out of `proptest`'s random numbers. Must not know what is chosen.

use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

/// The generator of a round: the same number, the same frames.
pub fn seeded(seed: u64) -> TestRng {
    // Neighbouring seeds must not give related streams, and all zeros is no state (splitmix64's first step).
    let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let words = [seed.to_le_bytes(), (mixed ^ (mixed >> 31) | 1).to_le_bytes()].concat();
    TestRng::from_seed(RngAlgorithm::XorShift, &words)
}

/// Random choices.
pub(super) struct Dice<'r> {
    rng: &'r mut TestRng,
}

impl<'r> Dice<'r> {
    pub(super) fn new(rng: &'r mut TestRng) -> Self {
        Self { rng }
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.rng.next_u64()) * bound as u128) >> 64) as usize
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// One of them, where it stands.
    pub(super) fn one_of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Noise.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}
