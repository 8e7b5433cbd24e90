//! The bars of the data part: which figures they are about and where they lie. Own cost is above bare `XDP_PASS` in the same run.

use super::{
    Question,
    frames::{Asks, Shape, Traffic},
    lineup::{HASH, NODEWALL, XDP_FILTER},
    sample::Figure,
};
use crate::report::Bar;

/// One hot flow, ns.
const HOT_V4_NS: f64 = 8.0;
const HOT_OTHER_NS: f64 = 10.0;
const UNMANAGED_NS: f64 = 6.0;
/// Mixed sources and ports, ns.
const MIXED_NS: [(usize, f64); 2] = [(1_024, 10.0), (16_384, 12.0)];
/// Each further prefix length, ns.
const LENGTH_V4_NS: f64 = 1.5;
const LENGTH_V6_NS: f64 = 3.0;
/// "Nothing" for ports whose row asks nobody: what a median of this harness can tell from nothing, ns.
const NOTHING_NS: f64 = 0.3;
/// From the fewest to the most peers, ns.
const GROWTH_NS: f64 = 4.0;
/// Shares of others' own cost.
const OF_XDP_FILTER: f64 = 1.0 / 8.0;
const OF_HASH: f64 = 1.0 / 4.0;
/// What the verifier may go through.
pub const VERIFIED_INSTRUCTIONS: u32 = 20_000;

/// The figures of a whole run.
pub struct Figures<'f> {
    pub frames: &'f [Figure],
    pub peers: &'f [Figure],
    pub lengths: &'f [Figure],
}

impl Figures<'_> {
    fn own(figures: &[Figure], program: &str, traffic: Traffic, sources: Option<usize>, lengths: usize) -> Option<f64> {
        let is_it = |f: &&Figure| {
            f.program == program
                && f.traffic == traffic
                && f.lengths == lengths
                && sources.is_none_or(|sources| f.sources == sources)
        };
        figures.iter().find(is_it).map(|f| f.own_ns.median)
    }

    /// Every bar that the run has figures for.
    pub fn bars(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        self.hot(&mut bars);
        self.mixed(&mut bars);
        self.growth(&mut bars);
        self.by_length(&mut bars);
        self.shares(&mut bars);
        bars
    }

    fn hot(&self, bars: &mut Vec<Bar>) {
        for traffic in Question::hot() {
            let limit_ns = match (traffic.asks, traffic.shape) {
                (Asks::Unmanaged, _) => UNMANAGED_NS,
                (_, Shape::V4) => HOT_V4_NS,
                _ => HOT_OTHER_NS,
            };
            if let Some(own_ns) = Self::own(self.frames, NODEWALL, traffic, None, 1) {
                bars.push(Bar::at_most(format!("own cost, {}", traffic.name()), limit_ns, own_ns, "ns"));
            }
        }
    }

    fn mixed(&self, bars: &mut Vec<Bar>) {
        for traffic in Question::mixed() {
            for (peers, limit_ns) in MIXED_NS {
                if let Some(own_ns) = Self::own(self.peers, NODEWALL, traffic, Some(peers), 1) {
                    bars.push(Bar::at_most(
                        format!("own cost, {}, {peers} peers", traffic.name()),
                        limit_ns,
                        own_ns,
                        "ns",
                    ));
                }
            }
        }
    }

    fn growth(&self, bars: &mut Vec<Bar>) {
        let counts = || self.peers.iter().map(|f| f.sources);
        let (Some(fewest), Some(most)) = (counts().min(), counts().max()) else { return };
        for traffic in Question::Peers.traffic() {
            let own = |peers| Self::own(self.peers, NODEWALL, traffic, Some(peers), 1);
            if let (Some(few_ns), Some(many_ns)) = (own(fewest), own(most)) {
                let what = format!("growth from {fewest} to {most} peers, {}", traffic.name());
                bars.push(Bar::at_most(what, GROWTH_NS, many_ns - few_ns, "ns"));
            }
        }
    }

    fn by_length(&self, bars: &mut Vec<Bar>) {
        let Some(most) = self.lengths.iter().map(|f| f.lengths).max() else { return };
        for traffic in Question::Lengths.traffic() {
            let own = |lengths| Self::own(self.lengths, NODEWALL, traffic, None, lengths);
            if let (Some(one_ns), Some(many_ns)) = (own(1), own(most)) {
                let limit_ns = match (traffic.asks, traffic.shape) {
                    (Asks::Unmanaged | Asks::Public, _) => NOTHING_NS,
                    (_, Shape::V6) => LENGTH_V6_NS,
                    _ => LENGTH_V4_NS,
                };
                let each_ns = (many_ns - one_ns) / (most - 1) as f64;
                bars.push(Bar::at_most(
                    format!("each further prefix length, {}", traffic.name()),
                    limit_ns,
                    each_ns,
                    "ns",
                ));
            }
        }
    }

    /// Against others: the worst case of all.
    fn shares(&self, bars: &mut Vec<Bar>) {
        for (other, limit, asks) in
            [(XDP_FILTER, OF_XDP_FILTER, None), (HASH, OF_HASH, Some([Asks::Peer, Asks::Outsider]))]
        {
            let shares = self
                .frames
                .iter()
                .chain(self.peers)
                .filter(|f| f.program == NODEWALL && asks.is_none_or(|asks| asks.contains(&f.traffic.asks)));
            let worst = shares
                .filter_map(|f| {
                    let figures = if self.frames.iter().any(|g| std::ptr::eq(f, g)) { self.frames } else { self.peers };
                    let theirs_ns = Self::own(figures, other, f.traffic, Some(f.sources), f.lengths)?;
                    Some((f.own_ns.median / theirs_ns, f))
                })
                .max_by(|(a, _), (b, _)| a.total_cmp(b));
            if let Some((share, figure)) = worst {
                let what = format!(
                    "own cost over {other}'s, worst of all ({}, {} peers)",
                    figure.traffic.name(),
                    figure.sources
                );
                bars.push(Bar::at_most(what, limit, share, "times"));
            }
        }
    }
}
