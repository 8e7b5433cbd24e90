//! The programs side by side under one policy, and the proof that they do the same job before anybody measures them. Takes no time of anything.

use std::{collections::BTreeMap, path::Path};

use super::{
    before::Before,
    frames::{MIX_ENTRIES, MixWords, Traffic},
    reference::{Counted, Reference},
    sources::Sources,
    xdp_filter::XdpFilter,
};
use anyhow::{Context, Result, ensure};
use node_ebpf_common::{Shape, Verdict, decide};
use nodewall_datapath::{Buffers, KernelEngine};
use nodewall_testbed::program::{Facts, Program};

/// XDP actions.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
/// Frames of a mix that every program is asked about one by one.
const ASKED_OF_A_MIX: usize = 512;

/// What a program is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Returns at once: the harness's own cost.
    Floor,
    /// nodewall; it counts in maps of its own.
    Nodewall,
    /// The same job otherwise; counts as nodewall does.
    Reference,
    /// Somebody else's.
    Other,
}

/// Names of the programs, in the order of tables.
pub const PASS: &str = "XDP_PASS";
pub const DROP: &str = "XDP_DROP";
pub const NODEWALL: &str = "nodewall";
pub const BEFORE: &str = "25a784f";
pub const NODEWALL_EVIDENCE: &str = "nodewall, evidence";
pub const NODEWALL_PLAIN: &str = "nodewall, neither";
pub const NODEWALL_INTERFACES: &str = "nodewall, interface rules";
pub const NODEWALL_ATOMIC: &str = "nodewall, atomic";
pub const NODEWALL_LINEAR: &str = "nodewall, one buffer";
pub const HASH: &str = "hash map";
pub const LPM: &str = "LPM trie";
pub const XDP_FILTER: &str = "xdp-filter";

/// The shape of the package.
pub const PACKAGED: Shape = Shape::PER_PEER;

/// nodewall's own programs. Nobody sweeps: the budget for captures is spent, and the table of flows is as full as the traffic makes it.
const OURS: [(&str, Shape, Buffers); 6] = [
    (NODEWALL, PACKAGED, Buffers::Frags),
    (NODEWALL_EVIDENCE, Shape::EVIDENCE, Buffers::Frags),
    (NODEWALL_PLAIN, Shape::PLAIN, Buffers::Frags),
    (NODEWALL_INTERFACES, Shape { interface_rules: true, ..PACKAGED }, Buffers::Frags),
    (NODEWALL_ATOMIC, Shape { atomic: true, ..PACKAGED }, Buffers::Frags),
    (NODEWALL_LINEAR, PACKAGED, Buffers::Linear),
];

/// A program that is measured.
pub struct Contender {
    pub name: &'static str,
    pub role: Role,
    programs: Programs,
    /// What writes mixed traffic and then jumps into it.
    is_frags: bool,
}

enum Programs {
    One(Program),
    Before(Before),
}

impl Contender {
    /// What judges this traffic.
    fn program(&self, traffic: Traffic) -> &Program {
        match &self.programs {
            Programs::One(program) => program,
            Programs::Before(before) => before.program(traffic.shape),
        }
    }
}

/// All programs under one policy.
pub struct Lineup {
    contenders: Vec<Contender>,
    reference: Reference,
    mix: [Program; 2],
    engines: Vec<(&'static str, KernelEngine)>,
    _xdp_filter: Option<XdpFilter>,
}

impl Lineup {
    /// Loads those of `names`; what is not installed, and commit 25a784f's without its executable, is left out.
    pub fn new(sources: &Sources, names: &[&str], before: Option<&Path>) -> Result<Self> {
        let reference = Reference::load(sources)?;
        let is_wanted = |name: &str| names.contains(&name);
        let mut contenders = Vec::new();
        let mut add = |name, role, programs, is_frags| contenders.push(Contender { name, role, programs, is_frags });
        for (name, program) in [(PASS, "reference_pass"), (DROP, "reference_drop")] {
            if is_wanted(name) {
                add(name, Role::Floor, Programs::One(reference.program(program)?), false);
            }
        }
        let mut engines = Vec::new();
        for (name, shape, buffers) in OURS.into_iter().filter(|(name, ..)| is_wanted(name)) {
            let mut engine = KernelEngine::new(&sources.compiled.image, shape, Some(buffers))?;
            let program = Program::by_id(engine.facts()?.id)?;
            add(name, Role::Nodewall, Programs::One(program), buffers == Buffers::Frags);
            engines.push((name, engine));
        }
        if let Some(executable) = before.filter(|_| is_wanted(BEFORE)) {
            let before = Before::load(executable, sources)?;
            // Only a program for frames of many buffers fits into the array of such ones.
            let is_frags = before.program(super::frames::Shape::V4).follow(reference.next(true)?).is_ok();
            add(BEFORE, Role::Other, Programs::Before(before), is_frags);
        }
        for (name, program) in [(HASH, "reference_hash"), (LPM, "reference_lpm")] {
            if is_wanted(name) {
                add(name, Role::Reference, Programs::One(reference.program(program)?), false);
            }
        }
        let xdp_filter = if is_wanted(XDP_FILTER) { XdpFilter::load(sources)? } else { None };
        if let Some(filter) = &xdp_filter {
            add(XDP_FILTER, Role::Other, Programs::One(filter.program()?), false);
        }
        let mix = [reference.program("mix")?, reference.program("mix_frags")?];
        Ok(Self { contenders, reference, mix, engines, _xdp_filter: xdp_filter })
    }

    /// The programs, the floor first.
    pub fn contenders(&self) -> &[Contender] {
        &self.contenders
    }

    /// Each program's facts.
    pub fn facts(&self) -> Result<Vec<(&'static str, Facts, usize)>> {
        let facts = |contender: &Contender| {
            let (Programs::One(program) | Programs::Before(Before { any: program, .. })) = &contender.programs;
            let calls = program.instructions()?.iter().filter(|i| i.is_call()).count();
            Ok((contender.name, program.facts()?, calls))
        };
        self.contenders.iter().map(facts).collect()
    }

    /// What to run for this traffic, so that `contender` judges it.
    pub fn route(&self, contender: &Contender, traffic: Traffic) -> Result<&Program> {
        let contender =
            self.contenders.iter().find(|c| c.name == contender.name).context("a program of this line-up")?;
        if !traffic.is_mixed() {
            return Ok(contender.program(traffic));
        }
        contender.program(traffic).follow(self.reference.next(contender.is_frags)?)?;
        let [mix, mix_frags] = &self.mix;
        Ok(if contender.is_frags { mix_frags } else { mix })
    }

    /// From now on mixed traffic is this.
    pub fn set_mix(&mut self, words: &MixWords) -> Result<()> {
        self.reference.set_mix(words)
    }

    /// Fails unless every program gives the verdict of `decide` on this traffic, and those that count as nodewall does count the same.
    pub fn check(&mut self, sources: &Sources, traffic: Traffic, frame: &[u8], mix: &[u64]) -> Result<()> {
        let image = &sources.compiled.image;
        let frames: Vec<Vec<u8>> = if traffic.is_mixed() {
            mix.iter().take(ASKED_OF_A_MIX).map(|entry| traffic.with(frame, *entry)).collect()
        } else {
            vec![frame.to_vec()]
        };
        for frame in &frames {
            let decision = decide(frame.as_slice(), image);
            let expected = if decision.verdict() == Verdict::Drop { XDP_DROP } else { XDP_PASS };
            for contender in self.contenders.iter().filter(|c| c.role != Role::Floor) {
                let action = contender.program(traffic).run(frame, 1)?.action;
                ensure!(
                    action == expected,
                    "{} answers {action} to {}, and decide says {expected} ({:?}): they do not do the same job",
                    contender.name,
                    traffic.name(),
                    decision.reason()
                );
            }
        }
        self.check_counters(sources, traffic, frame, mix)
    }

    /// The whole mix, or the frame as often: every cell of every counting program moves as the host says.
    fn check_counters(&mut self, sources: &Sources, traffic: Traffic, frame: &[u8], mix: &[u64]) -> Result<()> {
        let image = &sources.compiled.image;
        let mut expected: BTreeMap<u32, Counted> = BTreeMap::new();
        let mut expect = |frame: &[u8], times: u64| {
            let decision = decide(frame, image);
            let [packets, bytes] = expected.entry(decision.cell).or_default();
            *packets += times;
            *bytes += times * u64::from(decision.bytes);
        };
        if traffic.is_mixed() {
            for entry in mix {
                expect(&traffic.with(frame, *entry), 1);
            }
            self.set_mix(&*traffic.mix_words(mix)?)?;
        } else {
            expect(frame, MIX_ENTRIES as u64);
        }
        for contender in self.contenders.iter().filter(|c| matches!(c.role, Role::Nodewall | Role::Reference)) {
            let before = self.counted(contender.name, expected.keys())?;
            self.route(contender, traffic)?.run(frame, MIX_ENTRIES as u32)?;
            let after = self.counted(contender.name, expected.keys())?;
            for ((cell, [packets, bytes]), ([p0, b0], [p1, b1])) in expected.iter().zip(before.iter().zip(&after)) {
                ensure!(
                    (p1 - p0, b1 - b0) == (*packets, *bytes),
                    "{} counts {} packets and {} bytes of {} in cell {cell}; it must be {packets} and {bytes}",
                    contender.name,
                    p1 - p0,
                    b1 - b0,
                    traffic.name()
                );
            }
        }
        Ok(())
    }

    fn counted<'c>(&self, name: &str, cells: impl Iterator<Item = &'c u32>) -> Result<Vec<Counted>> {
        match self.engines.iter().find(|(engine, _)| *engine == name) {
            Some((_, engine)) => cells
                .map(|cell| engine.maps().cell(*cell).map(|c| [c.packets, c.bytes]).map_err(anyhow::Error::from))
                .collect(),
            None => cells.map(|cell| self.reference.counted(*cell)).collect(),
        }
    }
}
