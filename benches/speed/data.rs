//! The data section: what a program costs for a packet, by test run. The program that it is about is the packaged one. Questions: by kind of frame, by
//! feature, by number of peers, by number of prefix lengths; and the facts of each program. It measures no network.

mod bars;
mod before;
pub mod frames;
mod instructions;
pub mod lineup;
pub mod reference;
pub mod sample;
pub mod sources;
mod tables;
pub mod xdp_filter;

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::{Section, report::Report, setting::Setting};
use bars::Figures;
use frames::{Asks, Shape, Traffic};
use instructions::Committed;
use lineup::{
    BEFORE, DROP, HASH, LPM, Lineup, NODEWALL, NODEWALL_ATOMIC, NODEWALL_EVIDENCE, NODEWALL_INTERFACES,
    NODEWALL_LINEAR, NODEWALL_PLAIN, PASS, XDP_FILTER,
};
use sample::{Figure, measure};
use sources::Sources;

/// Peers of the first question.
const SOME_PEERS: usize = 64;
/// Peers of the second.
const PEERS: [usize; 4] = [3, 64, 1_024, 16_384];
/// Prefix lengths of the third.
const LENGTHS: [usize; 4] = [1, 2, 4, 8];
/// Every program, for the questions at [`SOME_PEERS`].
const LOADED: [&str; 12] = [
    PASS,
    DROP,
    NODEWALL,
    BEFORE,
    NODEWALL_EVIDENCE,
    NODEWALL_PLAIN,
    NODEWALL_INTERFACES,
    NODEWALL_ATOMIC,
    NODEWALL_LINEAR,
    HASH,
    LPM,
    XDP_FILTER,
];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Which kind of frame costs what?
    Frames,
    /// What does each feature cost when it is on?
    Features,
    /// What do more peers cost?
    Peers,
    /// What do more prefix lengths cost?
    Lengths,
}

impl Question {
    /// One hot flow of each kind.
    fn hot() -> impl Iterator<Item = Traffic> {
        let shapes = [Shape::V4, Shape::V6, Shape::TaggedV4];
        shapes.into_iter().flat_map(|shape| Asks::HOT.map(|asks| Traffic::new(shape, asks)))
    }

    /// 65,536 sources and ports.
    fn mixed() -> impl Iterator<Item = Traffic> {
        [Shape::V4, Shape::V6, Shape::TaggedV4].into_iter().map(|shape| Traffic::new(shape, Asks::Mixed))
    }

    fn traffic(self) -> Vec<Traffic> {
        let of = |shapes: &[Shape], asks: &[Asks]| -> Vec<Traffic> {
            shapes.iter().flat_map(|shape| asks.iter().map(|asks| Traffic::new(*shape, *asks))).collect()
        };
        match self {
            Self::Frames => Self::hot().chain(Self::mixed()).collect(),
            Self::Features => of(&[Shape::V4, Shape::V6], &[Asks::Peer, Asks::Outsider, Asks::Public]),
            Self::Peers => {
                // Hot flows first: whoever is denied has an entry of its own before a flood fills the table of flows.
                let mut traffic = of(&[Shape::V4, Shape::V6], &[Asks::Peer, Asks::Outsider]);
                traffic.extend(of(&[Shape::V4, Shape::V6], &[Asks::Flood]));
                traffic.extend(Self::mixed());
                traffic
            }
            Self::Lengths => of(&[Shape::V4, Shape::V6], &[Asks::Peer, Asks::Outsider, Asks::Unmanaged]),
        }
    }

    fn programs(self, is_quick: bool) -> &'static [&'static str] {
        match self {
            Self::Frames => &[
                PASS,
                DROP,
                NODEWALL,
                BEFORE,
                NODEWALL_EVIDENCE,
                NODEWALL_PLAIN,
                NODEWALL_LINEAR,
                HASH,
                LPM,
                XDP_FILTER,
            ],
            Self::Features => {
                &[PASS, NODEWALL, NODEWALL_EVIDENCE, NODEWALL_PLAIN, NODEWALL_INTERFACES, NODEWALL_ATOMIC]
            }
            Self::Peers if is_quick => &[PASS, NODEWALL, BEFORE, HASH],
            Self::Peers => &[PASS, NODEWALL, BEFORE, HASH, LPM, XDP_FILTER],
            // Neither the hash map nor xdp-filter knows prefixes.
            Self::Lengths => &[PASS, NODEWALL, LPM],
        }
    }
}

/// The section.
pub struct Data;

impl Section for Data {
    fn name(&self) -> &'static str {
        "data"
    }

    fn what(&self) -> &'static str {
        "what a program costs for a packet (BPF_PROG_TEST_RUN, thread CPU time, interleaved)"
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn run(&self, setting: &Setting) -> Result<Report> {
        setting.pin()?;
        let mut notes = Vec::new();
        let committed = Committed::read()?;
        let before = before::executable();
        let before = before.as_deref();
        if before.is_none() {
            notes.push(
                "There is no executable of commit 25a784f: its column and the bars over it are missing.".to_owned(),
            );
        }
        let sources = Sources::peers(SOME_PEERS, setting.seed)?;
        let mut lineup = Lineup::new(&sources, &LOADED, before)?;
        if !lineup.contenders().iter().any(|c| c.name == XDP_FILTER) {
            notes.push("xdp-filter (Debian's xdp-tools) is not installed: its columns are missing.".to_owned());
        }
        let (facts, facts_json) = tables::facts(&lineup)?;
        let frames = ask(Question::Frames, &mut lineup, &sources, setting)?;
        let features = ask(Question::Features, &mut lineup, &sources, setting)?;
        drop(lineup);
        let with = |question: Question, sources: &Sources| {
            let mut lineup = Lineup::new(sources, question.programs(setting.quick), before)?;
            ask(question, &mut lineup, sources, setting)
        };
        let mut peers = Vec::new();
        for count in PEERS {
            peers.extend(with(Question::Peers, &Sources::peers(count, setting.seed)?)?);
        }
        let mut lengths = Vec::new();
        let [fewest, .., most] = LENGTHS;
        for count in LENGTHS.into_iter().filter(|count| !setting.quick || [fewest, most].contains(count)) {
            lengths.extend(with(Question::Lengths, &Sources::with_lengths(count, setting.seed)?)?);
        }
        let bars = Figures { frames: &frames, peers: &peers, lengths: &lengths, committed: &committed }.bars();
        Ok(Report {
            tables: vec![
                tables::production(&frames, &peers, &committed),
                tables::features(&features, &committed),
                tables::by_program(&frames),
                tables::spread(&frames),
                tables::by(&peers, "peers", |f| f.sources),
                tables::by(&lengths, "lengths", |f| f.lengths),
                facts,
            ],
            bars,
            figures: json!({
                "frames": frames, "features": features, "peers": peers, "lengths": lengths, "programs": facts_json,
                "instructions_run": committed.run, "instructions_verified": committed.verified,
            }),
            notes,
        })
    }
}

fn ask(question: Question, lineup: &mut Lineup, sources: &Sources, setting: &Setting) -> Result<Vec<Figure>> {
    let began = Instant::now();
    let figures = measure(lineup, sources, &question.traffic(), question.programs(setting.quick), setting)?;
    let took_s = began.elapsed().as_secs_f64();
    eprintln!("    {question:?}: {} sources, {} prefix lengths: {took_s:.1} s", sources.count, sources.lengths);
    Ok(figures)
}
