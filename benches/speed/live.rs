//! The live section: outsiders flood a cluster port over a veth pair. What does a packet cost the node that receives it, and what does its service on
//! a public port notice? The first on one CPU; for the second a generator of our own sends from another than the node's.

mod at_tc;
mod bulk;
mod device;
mod generator;
mod service;
mod tables;
mod takers;
mod wire;

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::{
    Section, cpus,
    data::{
        frames::{Asks, Shape, Traffic},
        sources::Sources,
    },
    random::Random,
    report::Report,
    setting::Setting,
};
use generator::Generator;
use service::Service;
use takers::{Taker, Takers};
use wire::Wire;

/// Peers in the policy.
const PEERS: usize = 64;
/// Frames of a flood that is a sample, and of one before it.
const FRAMES: u32 = 200_000;
const WARM_UP_FRAMES: u32 = 20_000;
/// The flood beside the service: one packet in this time, ns.
const BESIDE_SERVICE_NS: u64 = 1_000;
/// The service is asked for this long, in the middle of a flood.
const ASKED: Duration = Duration::from_millis(400);
const AROUND: Duration = Duration::from_millis(50);
/// Samples of the service; more would take the section's time.
const SERVICE_ROUNDS_MAX: usize = 11;
/// Of bulk transfers, which vary more; each sends for this long.
const BULK_ROUNDS: usize = 15;
const BULK: Duration = Duration::from_millis(300);
/// Whose bulk transfers are compared.
const BULK_TAKERS: [Taker; 5] =
    [Taker::Nobody, Taker::Nodewall, Taker::NodewallGeneric, Taker::NodewallTcx, Taker::NodewallClsact];

/// One flood, as it was received.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    sent: u64,
    received: u64,
    seconds: f64,
    /// Receive-side CPU time a packet that was received, ns.
    cpu_ns: f64,
}

impl Sample {
    fn lost(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }
}

/// What goes on beside the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    flood: bool,
    taker: Taker,
}

/// Every sample of the section, one a round.
#[derive(Default)]
struct Samples {
    floods: BTreeMap<Taker, Vec<Sample>>,
    /// Answers a second, and the flood beside.
    service: BTreeMap<Load, Vec<(f64, Option<Sample>)>>,
    /// Bytes a second of a bulk transfer.
    bulk: BTreeMap<Taker, Vec<f64>>,
}

/// The section.
pub struct Live;

impl Section for Live {
    fn name(&self) -> &'static str {
        "live"
    }

    fn what(&self) -> &'static str {
        "outsiders flood a veth pair: receive-side CPU time a packet, a service beside the flood, and bulk transfers"
    }

    fn run(&self, setting: &Setting) -> Result<Report> {
        cpus::unpin()?;
        let Some(generator_cpu) = cpus::besides(setting.cpu)? else {
            return Ok(Report { notes: vec!["One CPU only: no live figures.".to_owned()], ..Report::default() });
        };
        let sources = Sources::peers(PEERS, setting.seed)?;
        let frame = Traffic::new(Shape::V4, Asks::Outsider).frame(&sources)?;
        let mut generator = Generator::load(frame, setting.seed)?;
        let takers = Takers::load(&sources, &mut generator)?;
        let wire = Wire::new(setting.cpu)?;
        // A bare program where the flood comes from: live frames need it, and it drops the node's answers at once.
        let _dropper = wire.flooding.attach(&wire.flooder, generator.bare("reference_drop")?)?;
        let mut bench = Bench { wire, generator, takers, samples: Samples::default(), setting, generator_cpu };
        bench.floods()?;
        bench.bulks()?;
        bench.services()?;
        Ok(tables::report(&bench.samples, setting, generator_cpu))
    }
}

struct Bench<'s> {
    wire: Wire,
    generator: Generator,
    takers: Takers,
    samples: Samples,
    setting: &'s Setting,
    /// Sends the flood beside the service.
    generator_cpu: usize,
}

impl Bench<'_> {
    /// A round: every taker once, in an order of chance.
    fn floods(&mut self) -> Result<()> {
        let mut random = Random::new(self.setting.seed);
        let mut takers: Vec<Taker> = Taker::ALL.into_iter().filter(|taker| self.takers.has(*taker)).collect();
        for round in 0..=self.setting.rounds {
            random.shuffle(&mut takers);
            for taker in &takers {
                let in_place = self.takers.put(*taker, &self.wire)?;
                let before = self.takers.dropped(&in_place, &self.wire)?;
                let (first, _) = self.wire.received()?;
                // On the generator's own CPU: the frames are in its cache, as a network card puts them there, and the receiver, which goes before the
                // generator, takes each batch at once, so that nothing is lost and all takers wake up equally often.
                self.flood(WARM_UP_FRAMES, 0, self.setting.cpu)?;
                let sample = self.flood(FRAMES, 0, self.setting.cpu)?;
                // The first round warms up.
                if round > 0 {
                    self.samples.floods.entry(*taker).or_default().push(sample);
                }
                let (last, _) = self.wire.received()?;
                if let (Some(before), Some(after)) = (before, self.takers.dropped(&in_place, &self.wire)?) {
                    ensure!(
                        after - before == last - first,
                        "{} dropped {} of {} packets that the device received",
                        taker.name(),
                        after - before,
                        last - first
                    );
                }
                self.takers.take_away(in_place, &self.wire)?;
            }
        }
        Ok(())
    }

    /// One flood, from `cpu`.
    fn flood(&mut self, frames: u32, interval_ns: u64, cpu: usize) -> Result<Sample> {
        let (before, cpu_before_ns) = self.wire.received()?;
        let flood = self.generator.flood(&self.wire, frames, interval_ns, cpu)?;
        let (after, cpu_after_ns) = self.wire.received()?;
        let received = after - before;
        ensure!(received > 0, "nothing of a flood of {frames} frames arrived");
        let cpu_ns = (cpu_after_ns - cpu_before_ns) as f64 / received as f64;
        Ok(Sample { sent: flood.sent, received, seconds: flood.seconds, cpu_ns })
    }

    /// Bulk transfers, without a flood.
    fn bulks(&mut self) -> Result<()> {
        let mut random = Random::new(self.setting.seed);
        let mut takers = BULK_TAKERS;
        for round in 0..=self.setting.rounds.min(BULK_ROUNDS) {
            random.shuffle(&mut takers);
            for taker in takers {
                let in_place = self.takers.put(taker, &self.wire)?;
                let bytes_per_s = bulk::bytes_per_s(&self.wire, BULK, self.setting.cpu, self.generator_cpu)?;
                self.takers.take_away(in_place, &self.wire)?;
                // The first round warms up.
                if round > 0 {
                    self.samples.bulk.entry(taker).or_default().push(bytes_per_s);
                }
            }
        }
        Ok(())
    }

    /// The service without and beside the flood.
    fn services(&mut self) -> Result<()> {
        // The generator has a CPU for itself now, and the receiver is woken from there.
        self.wire.replies.move_to(self.generator_cpu)?;
        self.wire.flooded.coalesce(&self.wire.node)?;
        let mut random = Random::new(self.setting.seed);
        let mut cases = vec![Load { flood: false, taker: Taker::Nobody }];
        cases.extend([Taker::BareDrop, Taker::Nodewall, Taker::Nobody].map(|taker| Load { flood: true, taker }));
        for round in 0..=self.setting.rounds.min(SERVICE_ROUNDS_MAX) {
            random.shuffle(&mut cases);
            for case in &cases {
                let in_place = self.takers.put(case.taker, &self.wire)?;
                let sample = self.serve(case.flood)?;
                self.takers.take_away(in_place, &self.wire)?;
                // The first round warms up.
                if round > 0 {
                    self.samples.service.entry(*case).or_default().push(sample);
                }
            }
        }
        Ok(())
    }

    fn serve(&mut self, with_flood: bool) -> Result<(f64, Option<Sample>)> {
        let service = Service::open(&self.wire)?;
        let cpu = self.setting.cpu;
        if !with_flood {
            return Ok((service.ask(ASKED, cpu)?, None));
        }
        let time = ASKED + 2 * AROUND;
        thread::scope(|scope| {
            let asking = scope.spawn(move || {
                thread::sleep(AROUND);
                service.ask(ASKED, cpu)
            });
            let frames = time.as_nanos() as u64 / BESIDE_SERVICE_NS;
            let sample = self.flood(frames as u32, BESIDE_SERVICE_NS, self.generator_cpu);
            let Ok(answers) = asking.join() else { bail!("the thread that asks panicked") };
            Ok((answers.context("beside the flood")?, Some(sample?)))
        })
    }
}
