//! What a run has covered, and whether that is enough: a generator that silently stops reaching a rule makes the run fail, not shine.

use node_ebpf_common::Reason;

use super::{
    answer::Answer,
    generated::{Features, Generated},
    policies::{COUNT, name},
};

/// Shares are of so many frames.
const OF_FRAMES: u64 = 100_000;
/// Every reason must be reached so often.
const LEAST_PER_REASON: u64 = 150;
/// Every policy must judge so many.
const LEAST_PER_POLICY: u64 = 4_000;
/// Blocked sources' packets without a port, which are judged apart from all others.
const LEAST_BLOCKED_UNPORTED: u64 = 500;

/// A shape of frames, how often it must come, and how to tell.
type Shape = (&'static str, u64, fn(&Features, usize) -> bool);

const SHAPES: [Shape; 18] = [
    ("no tag", 20_000, |f, _| f.tags == 0),
    ("eight tags", 1_000, |f, _| f.tags == 8),
    ("more than eight tags", 2_000, |f, _| f.tags > 8),
    ("eight extension headers", 1_000, |f, _| f.extensions == 8),
    ("more than eight extension headers", 2_000, |f, _| f.extensions > 8),
    ("authentication headers", 5_000, |f, _| f.authentication),
    ("IPv4 options", 5_000, |f, _| f.options),
    ("first fragments", 5_000, |f, _| f.first_fragment),
    ("later fragments", 5_000, |f, _| f.later_fragment),
    ("atomic fragments", 5_000, |f, _| f.atomic_fragment),
    ("neighbour discovery, or nearly", 500, |f, _| f.discovery),
    ("lengths that lie", 5_000, |f, _| f.lies),
    ("truncated", 10_000, |f, _| f.truncated),
    ("changed bytes", 5_000, |f, _| f.mutated),
    ("padded", 5_000, |f, _| f.padded),
    ("none of these, to reach the policy", 4_000, |f, _| {
        !(f.lies || f.truncated || f.mutated || f.later_fragment) && f.tags <= 8 && f.extensions <= 8
    }),
    ("more than one page", 200, |_, bytes| bytes > 4_096),
    ("longer than a length field can say", 10, |_, bytes| bytes > 65_535),
];

/// Counts of a run.
#[derive(Clone, Default)]
pub struct Tally {
    pub frames: u64,
    pub in_kernel: u64,
    reasons: Vec<u64>,
    blocked_unported: u64,
    policies: [u64; COUNT],
    shapes: [u64; SHAPES.len()],
}

impl Tally {
    pub fn add(&mut self, policy: usize, generated: &Generated, answer: &Answer, in_kernel: bool) {
        self.frames += 1;
        self.in_kernel += u64::from(in_kernel);
        self.policies[policy] += 1;
        self.reasons.resize(64, 0);
        self.reasons[answer.reason.number() as usize] += 1;
        self.blocked_unported += u64::from(answer.reason == Reason::BlockedSource && answer.to.is_none());
        for (count, (_, _, is)) in self.shapes.iter_mut().zip(&SHAPES) {
            *count += u64::from(is(&generated.features, generated.frame.len()));
        }
    }

    pub fn join(&mut self, other: &Self) {
        self.frames += other.frames;
        self.in_kernel += other.in_kernel;
        self.reasons.resize(64, 0);
        for (count, more) in self.reasons.iter_mut().zip(&other.reasons) {
            *count += more;
        }
        self.blocked_unported += other.blocked_unported;
        for (count, more) in self.policies.iter_mut().zip(other.policies) {
            *count += more;
        }
        for (count, more) in self.shapes.iter_mut().zip(other.shapes) {
            *count += more;
        }
    }

    /// Every count by its name with the least that it must be for this many frames.
    pub fn lines(&self) -> Vec<(String, u64, u64)> {
        // A shorter run is somebody's repetition of a round, and need not cover anything.
        let least = |of: u64| if self.frames < OF_FRAMES { 0 } else { of * self.frames / OF_FRAMES };
        let reasons = Reason::ALL.iter().map(|reason| {
            let count = self.reasons.get(reason.number() as usize).copied().unwrap_or(0);
            (format!("reason {}", reason.name()), count, least(LEAST_PER_REASON))
        });
        let policies = self
            .policies
            .iter()
            .enumerate()
            .map(|(n, count)| (format!("policy {}", name(n)), *count, least(LEAST_PER_POLICY)));
        let shapes =
            SHAPES.iter().zip(self.shapes).map(|((name, of, _), count)| ((*name).to_owned(), count, least(*of)));
        let unported =
            ("blocked_source without a port".to_owned(), self.blocked_unported, least(LEAST_BLOCKED_UNPORTED));
        reasons.chain([unported]).chain(policies).chain(shapes).collect()
    }

    /// What was not covered well enough.
    pub fn shortfalls(&self) -> Vec<String> {
        let short = self.lines().into_iter().filter(|(_, count, least)| count < least);
        short.map(|(name, count, least)| format!("{name}: {count}, and {least} are the least")).collect()
    }
}
