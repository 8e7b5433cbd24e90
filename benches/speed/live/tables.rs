//! The live section's tables and bars.

use serde_json::json;

use super::{Load, Sample, Samples, takers::Taker};
use crate::{
    data::sample::Spread,
    report::{Bar, Report, Table, short},
    setting::Setting,
};

/// Receive-side CPU time a packet: nodewall's over that of a bare program that looks at the frame, and others' over nodewall's.
const OF_READ: f64 = 1.20;
const OTHERS: [(Taker, f64); 3] = [(Taker::XdpFilter, 1.5), (Taker::NftIngress, 4.0), (Taker::NftInput, 6.0)];
/// A flood at the tc hook over that of generic XDP, by hook, and nftables' over that of tcx.
const OF_GENERIC: [(Taker, f64); 2] = [(Taker::NodewallTcx, 1.15), (Taker::NodewallClsact, 1.35)];
const NFT_OF_TCX: f64 = 1.5;
/// What a bulk transfer keeps of its rate without a filter, at the tc hook.
const BULK_KEPT: f64 = 0.95;
/// What the service keeps of the rate that it has while a bare program takes the flood.
const SERVICE_KEPT: f64 = 0.9;

/// Everything that the samples say.
pub fn report(samples: &Samples, setting: &Setting, generator_cpu: usize) -> Report {
    let mut notes = vec![
        format!(
            "Flood: generator and receiver (a NAPI thread, which goes first) are both on CPU {0}. Service: receiver, service and those who ask it are on CPU \
             {0}, the generator has CPU {generator_cpu} for itself.",
            setting.cpu
        ),
        "`XDP_DROP, frame read` fetches the source address from the frame and drops: the floor of any filter."
            .to_owned(),
        "`XDP_DROP, generic` and `TC_ACT_SHOT, tcx` are the floors of the two hooks in the stack: two instructions, which look at nothing.".to_owned(),
        "nodewall is the packaged program (evidence, counters for each peer): nobody sweeps, and the budget for captures is spent.".to_owned(),
    ];
    for taker in Taker::ALL.iter().filter(|taker| !samples.floods.contains_key(taker)) {
        notes.push(format!("{} is not installed: its row is missing.", taker.name()));
    }
    let floods = samples.floods.iter().map(|(taker, all)| json!({ "taker": taker.name(), "samples": all }));
    let floods: Vec<_> = floods.collect();
    let bulk = samples.bulk.iter().map(|(taker, all)| json!({ "taker": taker.name(), "bytes_per_s": all }));
    let bulk: Vec<_> = bulk.collect();
    let service: Vec<_> = samples
        .service
        .iter()
        .map(|(case, all)| {
            let answers: Vec<f64> = all.iter().map(|(answers, _)| *answers).collect();
            let floods: Vec<_> = all.iter().map(|(_, flood)| flood).collect();
            json!({ "case": name(*case), "answers_per_s": answers, "floods": floods })
        })
        .collect();
    Report {
        tables: vec![flood_table(samples), bulk_table(samples), service_table(samples)],
        bars: bars(samples),
        figures: json!({ "floods": floods, "bulk": bulk, "service": service }),
        notes,
    }
}

fn spread(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> Spread {
    let values: Vec<f64> = samples.iter().map(of).collect();
    Spread::of(&values).unwrap_or(Spread { median: 0.0, min: 0.0, max: 0.0 })
}

/// Median of a ratio of two takers' CPU time within the same round.
fn ratio(samples: &Samples, taker: Taker, to: Taker) -> Option<f64> {
    let (these, those) = (samples.floods.get(&taker)?, samples.floods.get(&to)?);
    let ratios: Vec<f64> = these.iter().zip(those).map(|(a, b)| a.cpu_ns / b.cpu_ns).collect();
    Spread::of(&ratios).map(|ratios| ratios.median)
}

/// Millions a second.
fn millions(sample: &Sample) -> f64 {
    sample.received as f64 / sample.seconds / 1e6
}

fn flood_table(samples: &Samples) -> Table {
    let rows = samples.floods.iter().map(|(taker, all)| {
        let cpu_ns = spread(all, |s| s.cpu_ns);
        let mut row = vec![taker.name().to_owned()];
        row.extend([cpu_ns.median, cpu_ns.min, cpu_ns.max].map(short));
        for to in [Taker::BareDrop, Taker::Read, Taker::Nodewall, Taker::NodewallGeneric] {
            row.push(ratio(samples, *taker, to).map_or_else(String::new, short));
        }
        row.push(short(spread(all, millions).median));
        row.push(format!("{:.1} %", 100.0 * spread(all, Sample::lost).median));
        row
    });
    Table {
        name: "live-flood".into(),
        title: "Outsiders flood 9042 over a veth pair: receive-side CPU time a packet that was received, ns; ratios within a round; millions of packets a second with the generator on the same CPU; lost in the link's ring before anybody saw them".to_owned(),
        head: ["who takes it", "CPU ns", "min", "max", "to XDP_DROP", "to frame read", "to nodewall", "to generic", "M/s", "lost"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

/// Median of the rate over that without a filter, within a round.
fn bulk_kept(samples: &Samples, taker: Taker) -> Option<f64> {
    let (these, those) = (samples.bulk.get(&taker)?, samples.bulk.get(&Taker::Nobody)?);
    let ratios: Vec<f64> = these.iter().zip(those).map(|(a, b)| a / b).collect();
    Spread::of(&ratios).map(|ratios| ratios.median)
}

fn bulk_table(samples: &Samples) -> Table {
    let rows = samples.bulk.iter().map(|(taker, all)| {
        let rates: Vec<f64> = all.iter().map(|rate| rate / 1e9).collect();
        let rates = Spread::of(&rates).unwrap_or(Spread { median: 0.0, min: 0.0, max: 0.0 });
        let name = if *taker == Taker::Nobody { "no filter" } else { taker.name() };
        let mut row = vec![name.to_owned()];
        row.extend([rates.median, rates.min, rates.max].map(short));
        row.push(bulk_kept(samples, *taker).map_or_else(String::new, short));
        row
    });
    Table {
        name: "live-bulk".into(),
        title: "A bulk transfer over one TCP connection to public port 443, by the offloads that a veth pair has: gigabytes a second, and the share of the rate without a filter in the same round".to_owned(),
        head: ["who filters", "GB/s", "min", "max", "share"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

fn name(case: Load) -> String {
    match (case.flood, case.taker) {
        (false, _) => "no flood, no filter".to_owned(),
        (true, Taker::Nobody) => "flood, no filter".to_owned(),
        (true, taker) => format!("flood, {}", taker.name()),
    }
}

fn kept(samples: &Samples, case: Load) -> Option<f64> {
    let these = samples.service.get(&case)?;
    let those = samples.service.get(&Load { flood: true, taker: Taker::BareDrop })?;
    let ratios: Vec<f64> = these.iter().zip(those).map(|((a, _), (b, _))| a / b).collect();
    Spread::of(&ratios).map(|ratios| ratios.median)
}

fn answers(all: &[(f64, Option<Sample>)]) -> Spread {
    let values: Vec<f64> = all.iter().map(|(answers, _)| *answers).collect();
    Spread::of(&values).unwrap_or(Spread { median: 0.0, min: 0.0, max: 0.0 })
}

fn service_table(samples: &Samples) -> Table {
    let rows = samples.service.iter().map(|(case, all)| {
        let (answers, floods) = (answers(all), all.iter().filter_map(|(_, flood)| *flood).collect::<Vec<_>>());
        let mut row = vec![name(*case)];
        row.extend([answers.median, answers.min, answers.max].map(short));
        row.push(kept(samples, *case).map_or_else(String::new, short));
        if floods.is_empty() {
            row.extend([const { String::new() }; 3]);
        } else {
            row.push(short(spread(&floods, millions).median));
            row.push(format!("{:.1} %", 100.0 * spread(&floods, Sample::lost).median));
            row.push(short(spread(&floods, |s| s.cpu_ns).median));
        }
        row
    });
    Table {
        name: "live-service".into(),
        title: "A TCP echo service on public port 443 of the same node, asked over another veth pair meanwhile: answers a second, and their share of those beside XDP_DROP; what was received of the flood, millions a second, lost in the link's ring, and receive-side CPU time a packet, ns".to_owned(),
        head: ["", "answers/s", "min", "max", "share", "M/s", "lost", "CPU ns"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

fn bars(samples: &Samples) -> Vec<Bar> {
    let mut bars = Vec::new();
    if let Some(ratio) = ratio(samples, Taker::Nodewall, Taker::Read) {
        let name = format!("live, CPU time a packet over that of `{}`", Taker::Read.name());
        bars.push(Bar::at_most(name, OF_READ, ratio, "times"));
    }
    for (taker, limit) in OTHERS {
        if let Some(ratio) = ratio(samples, taker, Taker::Nodewall) {
            bars.push(Bar::at_least(format!("live, {}'s CPU time over ours", taker.name()), limit, ratio, "times"));
        }
    }
    for (taker, limit) in OF_GENERIC {
        if let Some(ratio) = ratio(samples, taker, Taker::NodewallGeneric) {
            let name = format!("live, {}'s CPU time over that by generic XDP", taker.name());
            bars.push(Bar::at_most(name, limit, ratio, "times"));
        }
        if let Some(kept) = bulk_kept(samples, taker) {
            let name = format!("bulk, {}, share of the rate without a filter", taker.name());
            bars.push(Bar::at_least(name, BULK_KEPT, kept, "times"));
        }
    }
    if let Some(ratio) = ratio(samples, Taker::NftIngress, Taker::NodewallTcx) {
        let name = format!("live, {}'s CPU time over ours by tcx", Taker::NftIngress.name());
        bars.push(Bar::at_least(name, NFT_OF_TCX, ratio, "times"));
    }
    if let Some(kept) = kept(samples, Load { flood: true, taker: Taker::Nodewall }) {
        bars.push(Bar::at_least(
            "service beside a flood, share of its rate with XDP_DROP",
            SERVICE_KEPT,
            kept,
            "times",
        ));
    }
    bars
}
