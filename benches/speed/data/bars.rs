//! The bars of the data part: which figures they are about and where they lie. The program is the packaged one; times are own costs above bare `XDP_PASS`, and
//! judged only over another program's of the same run. Instructions are the committed table's.

use super::{
    PEERS, Question,
    frames::{Asks, Shape, Traffic},
    instructions::Committed,
    lineup::{BEFORE, HASH, NODEWALL, NODEWALL_PLAIN, XDP_FILTER},
    sample::Figure,
};
use crate::report::Bar;

/// Instructions run, one prefix length of each family.
const RUN: [(&str, Shape, Asks, u32); 6] = [
    (NODEWALL, Shape::V4, Asks::Peer, 122),
    (NODEWALL, Shape::V4, Asks::Public, 110),
    (NODEWALL, Shape::V4, Asks::Outsider, 155),
    (NODEWALL, Shape::V6, Asks::Peer, 150),
    (NODEWALL, Shape::V6, Asks::Outsider, 205),
    (NODEWALL_PLAIN, Shape::V4, Asks::Peer, 95),
];
/// What one VLAN tag may add.
const RUN_FOR_A_TAG: u32 = 10;
/// What the verifier may go through, whatever the shape.
const VERIFIED_INSTRUCTIONS: u32 = 20_000;
/// Of the own cost of commit 25a784f's program: one hot flow.
const OF_BEFORE_HOT: [(Shape, Asks, f64); 4] = [
    (Shape::V4, Asks::Peer, 0.65),
    (Shape::V4, Asks::Public, 0.65),
    (Shape::V4, Asks::Outsider, 0.60),
    (Shape::V6, Asks::Outsider, 0.75),
];
/// Mixed traffic and the flood, with fewer peers than the most, and with the most.
const OF_BEFORE_MANY: [(Shape, f64); 2] = [(Shape::V4, 0.70), (Shape::V6, 0.80)];
const OF_BEFORE_AT_MOST_PEERS: f64 = 0.55;
/// Several prefix lengths over one.
const OF_ONE_LENGTH: f64 = 1.1;
/// Shares of others' own cost.
const OF_XDP_FILTER: f64 = 1.0 / 8.0;
const OF_HASH: f64 = 1.0 / 4.0;

/// The figures of a whole run.
pub struct Figures<'f> {
    pub frames: &'f [Figure],
    pub peers: &'f [Figure],
    pub lengths: &'f [Figure],
    pub committed: &'f Committed,
}

/// Median own cost of a program under one policy.
fn own(figures: &[Figure], program: &str, traffic: Traffic, sources: usize, lengths: usize) -> Option<f64> {
    let is_it =
        |f: &&Figure| f.program == program && f.traffic == traffic && f.lengths == lengths && f.sources == sources;
    figures.iter().find(is_it).map(|f| f.own_ns.median)
}

/// The greatest of some shares, and what it is of.
fn worst(shares: impl Iterator<Item = (f64, usize)>) -> Option<(f64, usize)> {
    shares.max_by(|(a, _), (b, _)| a.total_cmp(b))
}

impl Figures<'_> {
    /// Every bar that the run has figures for.
    pub fn bars(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        self.instructions(&mut bars);
        self.of_before(&mut bars);
        self.by_length(&mut bars);
        self.shares(&mut bars);
        bars
    }

    fn instructions(&self, bars: &mut Vec<Bar>) {
        let mut add = |what: String, limit: u32, got: u32| {
            bars.push(Bar::at_most(what, f64::from(limit), f64::from(got), ""));
        };
        for (program, shape, asks, limit) in RUN {
            let traffic = Traffic::new(shape, asks);
            if let Some(run) = self.committed.of(program, traffic) {
                add(format!("instructions run, {program}, {}", traffic.name()), limit, run);
            }
        }
        let of_tag = |asks: Asks| {
            let of = |shape| self.committed.of(NODEWALL, Traffic::new(shape, asks));
            Some(of(Shape::TaggedV4)?.saturating_sub(of(Shape::V4)?))
        };
        if let Some(more) = Asks::HOT.into_iter().filter_map(of_tag).max() {
            add(format!("instructions run, {NODEWALL}, more for one VLAN tag"), RUN_FOR_A_TAG, more);
        }
        for (buffers, shape, verified) in self.committed.verified.worst() {
            add(
                format!("verified instructions, {buffers}, most of all shapes ({shape})"),
                VERIFIED_INSTRUCTIONS,
                verified,
            );
        }
    }

    /// Own cost over that of commit 25a784f's program.
    fn of_before(&self, bars: &mut Vec<Bar>) {
        let share = |figures: &[Figure], traffic, sources| {
            let own = |program| own(figures, program, traffic, sources, 1);
            Some((own(NODEWALL)? / own(BEFORE)?, sources))
        };
        let mut add = |what: String, limit, share: Option<(f64, usize)>| {
            if let Some((share, _)) = share {
                bars.push(Bar::at_most(format!("own cost over {BEFORE}'s, {what}"), limit, share, "times"));
            }
        };
        for (shape, asks, limit) in OF_BEFORE_HOT {
            let traffic = Traffic::new(shape, asks);
            let sources = self.frames.first().map_or(0, |f| f.sources);
            add(traffic.name(), limit, share(self.frames, traffic, sources));
        }
        let [fewer @ .., most] = PEERS;
        let below = fewer.last().copied().unwrap_or(most);
        for (shape, limit) in OF_BEFORE_MANY {
            for asks in [Asks::Mixed, Asks::Flood] {
                let traffic = Traffic::new(shape, asks);
                let got = worst(fewer.iter().filter_map(|sources| share(self.peers, traffic, *sources)));
                let at = got.map_or(0, |(_, sources)| sources);
                add(format!("{}, up to {below} peers, worst ({at})", traffic.name()), limit, got);
                add(
                    format!("{}, {most} peers", traffic.name()),
                    OF_BEFORE_AT_MOST_PEERS,
                    share(self.peers, traffic, most),
                );
            }
        }
    }

    fn by_length(&self, bars: &mut Vec<Bar>) {
        for traffic in Question::Lengths.traffic() {
            let own = |f: &Figure| own(self.lengths, NODEWALL, traffic, f.sources, 1);
            let several =
                self.lengths.iter().filter(|f| f.program == NODEWALL && f.traffic == traffic && f.lengths > 1);
            if let Some((share, lengths)) = worst(several.filter_map(|f| Some((f.own_ns.median / own(f)?, f.lengths))))
            {
                let what = format!("own cost over that with one prefix length, {}, worst ({lengths})", traffic.name());
                bars.push(Bar::at_most(what, OF_ONE_LENGTH, share, "times"));
            }
        }
    }

    /// Against others: the worst case of all.
    fn shares(&self, bars: &mut Vec<Bar>) {
        for (other, limit, asks) in
            [(XDP_FILTER, OF_XDP_FILTER, None), (HASH, OF_HASH, Some([Asks::Peer, Asks::Outsider]))]
        {
            let of = |figures: &[Figure]| {
                let ours = figures
                    .iter()
                    .filter(|f| f.program == NODEWALL && asks.is_none_or(|asks| asks.contains(&f.traffic.asks)));
                let share = |f: &Figure| {
                    let theirs_ns = own(figures, other, f.traffic, f.sources, f.lengths)?;
                    Some((f.own_ns.median / theirs_ns, f.traffic, f.sources))
                };
                ours.filter_map(share).collect::<Vec<_>>()
            };
            let all = of(self.frames).into_iter().chain(of(self.peers));
            if let Some((share, traffic, sources)) = all.max_by(|(a, ..), (b, ..)| a.total_cmp(b)) {
                let what = format!("own cost over {other}'s, worst of all ({}, {sources} peers)", traffic.name());
                bars.push(Bar::at_most(what, limit, share, "times"));
            }
        }
    }
}
