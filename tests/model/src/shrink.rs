//! Making a frame smaller while a disagreement lasts, as a `proptest` value tree: the tail is cut, pieces are taken
//! out, bytes become 0, halves, one less (so that a length can follow what it counts).
//! Must not know what a frame means; that is why it can shrink what nobody can parse.

use proptest::strategy::ValueTree;

use super::generated::Generated;

/// What is tried next.
#[derive(Clone, Copy, Debug)]
struct Step {
    phase: Phase,
    /// Where in the frame.
    at: usize,
    /// How many bytes at once: a power of two, because headers are; halves until it is 1.
    width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Cut,
    Remove,
    Zero,
    Halve,
    Decrement,
}

impl Phase {
    fn next(self) -> Option<Self> {
        match self {
            Self::Cut => Some(Self::Remove),
            Self::Remove => Some(Self::Zero),
            Self::Zero => Some(Self::Halve),
            Self::Halve => Some(Self::Decrement),
            Self::Decrement => None,
        }
    }
}

/// A frame, and how far its shrinking has got. What is offered is shorter than what was kept, or
/// as long with a smaller sum of bytes; so it ends.
pub struct Shrinking {
    kept: Generated,
    offered: Generated,
    next: Option<Step>,
    /// Whether something was kept since the first phase began: then all phases are tried once more.
    progress: bool,
}

impl Shrinking {
    pub fn new(generated: Generated) -> Self {
        let next = first(Phase::Cut, generated.frame.len());
        Self { kept: generated.clone(), offered: generated, next, progress: false }
    }

    /// The frame that `step` leads to, if that is another one.
    fn tried(&self, step: Step) -> Option<Vec<u8>> {
        let frame = &self.kept.frame;
        let range = step.at..(step.at + step.width).min(frame.len());
        let mut smaller = frame.clone();
        match step.phase {
            Phase::Cut => smaller.truncate(frame.len() - step.width),
            Phase::Remove => drop(smaller.drain(range)),
            Phase::Zero => smaller[range].fill(0),
            Phase::Halve => smaller[step.at] /= 2,
            Phase::Decrement => smaller[step.at] = smaller[step.at].saturating_sub(1),
        }
        (smaller != *frame).then_some(smaller)
    }

    fn after(&mut self, step: Step) -> Option<Step> {
        let length = self.kept.frame.len();
        // Headers stand at even offsets, not at multiples of their own length.
        let stride = if step.phase == Phase::Remove && step.width <= 64 { step.width.min(2) } else { step.width };
        let beyond = step.phase == Phase::Cut || step.at + stride >= length;
        if !beyond {
            return Some(Step { at: step.at + stride, ..step });
        }
        if step.width > 1 {
            return Some(Step { at: 0, width: step.width / 2, ..step });
        }
        match step.phase.next() {
            Some(phase) => first(phase, length),
            None if self.progress => {
                self.progress = false;
                first(Phase::Cut, length)
            }
            None => None,
        }
    }
}

fn first(phase: Phase, length: usize) -> Option<Step> {
    let width = match phase {
        Phase::Cut | Phase::Remove | Phase::Zero => length.div_ceil(2).next_power_of_two(),
        Phase::Halve | Phase::Decrement => 1,
    };
    (length > 0).then_some(Step { phase, at: 0, width })
}

fn fits(step: Step, length: usize) -> bool {
    match step.phase {
        Phase::Cut => step.width <= length,
        _ => step.at < length,
    }
}

impl ValueTree for Shrinking {
    type Value = Generated;

    fn current(&self) -> Generated {
        self.offered.clone()
    }

    /// Called while the test fails: what was offered is kept, something smaller is offered.
    fn simplify(&mut self) -> bool {
        if self.kept != self.offered {
            self.kept = self.offered.clone();
            self.progress = true;
        }
        self.offer()
    }

    /// Called when what was offered no longer fails: back to what was kept, and the next try.
    fn complicate(&mut self) -> bool {
        self.offered = self.kept.clone();
        self.offer()
    }
}

impl Shrinking {
    fn offer(&mut self) -> bool {
        while let Some(step) = self.next {
            let smaller = if fits(step, self.kept.frame.len()) { self.tried(step) } else { None };
            // A cut or removal that is kept makes the next bytes slide to the same place; they are seen in the next round.
            self.next = self.after(step);
            if let Some(frame) = smaller {
                self.offered.frame = frame;
                return true;
            }
        }
        self.offered = self.kept.clone();
        false
    }
}
