//! The policy section: from a configuration to an image in force, step by step. What does a change cost, apart from the kernel's own grace period, and
//! what does an image cost in memory? It attaches nothing.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use crate::{
    Section,
    data::sample::Spread,
    random::Random,
    report::{Bar, Report, Table, short},
    setting::Setting,
};
use anyhow::{Context, Result, anyhow, ensure};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use node_ebpf_common::{
    PolicyImage, Shape,
    maps::{ALL, PER_CPU_ENTRIES},
};
use nodewall_datapath::Loaded;
use nodewall_policy::{Compiled, Facts, Policy, RowTable, compile, config::Config};
use serde::Serialize;
use serde_json::json;

/// Peers and prefixes of each size of policy; the last is as many as a configuration may name.
const SIZES: [(usize, usize); 4] = [(3, 0), (64, 0), (1_024, 64), (16_384, 1_024)];
/// A median of fewer is not taken.
const ROUNDS_MIN: usize = 9;
/// Compiling and writing a policy of so many peers, ms.
const COMPILE_AND_WRITE_MS: [(usize, f64); 2] = [(64, 15.0), (16_384, 30.0)];
/// Memory for the default policy: for all, and for each CPU that may ever come; MiB.
const MEMORY_MIB: f64 = 4.0;
const MEMORY_OF_A_CPU_MIB: f64 = 1.2;
/// Images in the kernel: the one in force, and the one to fill next.
const IMAGES: usize = 2;

/// Times of one change, ms.
#[derive(Clone, Copy, Debug, Serialize)]
struct Change {
    /// Reading the configuration and finding out what it means.
    read: f64,
    /// Compiling the image.
    compile: f64,
    /// Writing it into a map of the kernel's.
    write: f64,
    /// Putting it into force, which waits for the packets in flight.
    grace: f64,
}

/// A size of policy and its changes.
#[derive(Debug, Serialize)]
struct Size {
    peers: usize,
    prefixes: usize,
    lengths_v4: usize,
    lengths_v6: usize,
    changes: Vec<Change>,
}

/// The section.
pub struct PolicyWork;

impl Section for PolicyWork {
    fn name(&self) -> &'static str {
        "policy"
    }

    fn what(&self) -> &'static str {
        "compiling a policy and swapping it in, and the memory of its image"
    }

    fn run(&self, setting: &Setting) -> Result<Report> {
        setting.pin()?;
        let rounds = setting.rounds.max(ROUNDS_MIN);
        let mut loaded = Loaded::new(None, Shape::PLAIN)?;
        loaded.load()?;
        let mut sizes = Vec::new();
        for (peers, prefixes) in SIZES {
            let text = configuration(peers, prefixes, setting.seed)?;
            let mut size = Size { peers, prefixes, lengths_v4: 0, lengths_v6: 0, changes: Vec::new() };
            // The first warms up.
            for round in 0..=rounds {
                let (compiled, change) = change(&text, &mut loaded)?;
                (size.lengths_v4, size.lengths_v6) = lengths(&compiled)?;
                if round > 0 {
                    size.changes.push(change);
                }
            }
            sizes.push(size);
        }
        Ok(report(&sizes))
    }
}

/// One change, as the agent makes it.
fn change(text: &str, loaded: &mut Loaded) -> Result<(Compiled, Change)> {
    let began = Instant::now();
    let policy = Policy::from_config(&Config::parse(text, "bench.toml").map_err(|errors| anyhow!("{errors}"))?)?;
    let read = ms_since(began);
    let own_addresses = vec![Ipv4Addr::new(10, 255, 255, 1).into()];
    let facts = Facts { generation: 1, own_addresses, ..Facts::default() };
    let began = Instant::now();
    let compiled = compile(&policy, RowTable::default(), &facts)?;
    let compile = ms_since(began);

    let began = Instant::now();
    let filled = loaded.maps.fill(&compiled.image)?;
    let write = ms_since(began);
    let began = Instant::now();
    loaded.maps.put(filled)?;
    Ok((compiled, Change { read, compile, write, grace: ms_since(began) }))
}

fn ms_since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}

/// The lengths that a lookup probes, from the image itself: as many as are used and all different, so that one probe each is all there is to do.
fn lengths(compiled: &Compiled) -> Result<(usize, usize)> {
    let image: &PolicyImage = &compiled.image;
    let v4: Vec<u64> = image.length_v4.iter().map(|l| u64::from(l.length_plus_one())).collect();
    let v6: Vec<u64> = image.length_v6.iter().map(|l| l.length_plus_one).collect();
    for (family, all, probed, said) in
        [("IPv4", v4, image.lengths_v4, compiled.lengths.v4), ("IPv6", v6, image.lengths_v6, compiled.lengths.v6)]
    {
        let used: Vec<u64> = all.into_iter().filter(|length| *length != 0).collect();
        let distinct: BTreeSet<u64> = used.iter().copied().collect();
        ensure!(
            used.len() == probed as usize && distinct.len() == used.len() && said == used.len(),
            "{family}: {probed} probes for the prefix lengths {used:?} ({said} by the compiler)"
        );
    }
    Ok((image.lengths_v4 as usize, image.lengths_v6 as usize))
}

/// A configuration with peers and prefixes, half of each family, prefixes of many lengths.
fn configuration(peers: usize, prefixes: usize, seed: u64) -> Result<String> {
    let mut random = Random::new(seed);
    let mut nets: BTreeSet<IpNet> = BTreeSet::new();
    while nets.len() < peers {
        let bits = random.next() as u32 & 0x007f_ffff;
        nets.insert(if nets.len().is_multiple_of(2) {
            IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | bits)).into()
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(0xfd00_6e77 << 96 | u128::from(bits))).into()
        });
    }
    while nets.len() < peers + prefixes {
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        nets.insert(if nets.len().is_multiple_of(2) {
            // 128/8 to 159/8, /16 to /29.
            let address = Ipv4Addr::from_bits(128 << 24 | (bits as u32 & 0x1fff_ffff));
            Ipv4Net::new(address, 16 + random.below(14) as u8)?.trunc().into()
        } else {
            // 2001:db8::/32 is for documentation; a peer's prefix is at least a /32.
            let address = Ipv6Addr::from_bits(0x2001_0db9 << 96 | bits >> 32);
            Ipv6Net::new(address, 48 + random.below(5) as u8 * 8)?.trunc().into()
        });
    }
    let list: Vec<String> = nets.iter().map(|net| format!("{:?}", net.to_string())).collect();
    Ok(format!("[peers]\nstatic = [{}]\n", list.join(", ")))
}

fn median(size: &Size, of: impl Fn(&Change) -> f64) -> Result<Spread> {
    let values: Vec<f64> = size.changes.iter().map(of).collect();
    Spread::of(&values).context("no samples")
}

fn report(sizes: &[Size]) -> Report {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for size in sizes {
        let spread = |of: fn(&Change) -> f64| median(size, of).ok();
        let work = spread(|c| c.compile + c.write);
        let mut row = vec![format!("{} peers, {} prefixes", size.peers, size.prefixes)];
        for one in [spread(|c| c.read), spread(|c| c.compile), spread(|c| c.write), work, spread(|c| c.grace)] {
            row.push(one.map_or_else(String::new, |s| short(s.median)));
        }
        row.push(work.map_or_else(String::new, |s| short(s.max)));
        row.extend([size.lengths_v4.to_string(), size.lengths_v6.to_string()]);
        rows.push(row);
        let bar = COMPILE_AND_WRITE_MS.iter().find(|(peers, _)| *peers == size.peers);
        if let (Some((_, ms)), Some(work)) = (bar, work) {
            let what = format!("compile and write {} peers and {} prefixes", size.peers, size.prefixes);
            bars.push(Bar::at_most(what, *ms, work.median, "ms"));
        }
    }
    let changes = Table {
        name: "policy-changes".into(),
        title: "A change of policy, ms, medians: reading the configuration, compiling the image, writing it to the kernel, both together (and their largest), the swap (the kernel's grace period); probes for a source, one each distinct prefix length of the image".to_owned(),
        head: ["policy", "read", "compile", "write", "both", "swap", "largest", "IPv4 probes", "IPv6 probes"].map(str::to_owned).to_vec(),
        rows,
    };
    let (memory, memory_bar) = memory();
    bars.push(memory_bar);
    Report {
        tables: vec![changes, memory],
        bars,
        figures: json!({ "sizes": sizes, "image_bytes": size_of::<PolicyImage>(), "images": IMAGES }),
        notes: vec![
            "An image has the same size whatever is in it: nothing is allocated when a policy grows.".to_owned(),
        ],
    }
}

/// The maps as they are declared: there is no other memory in the kernel but the program's, and the ring of captures, which the agent asks for.
fn memory() -> (Table, Bar) {
    let cpus = aya::util::nr_cpus().unwrap_or(1);
    let mut all_mib = 0.0;
    let rows = ALL.iter().map(|spec| {
        let entries = if spec.max_entries == PER_CPU_ENTRIES { cpus } else { spec.max_entries as usize };
        let mib = (spec.value_bytes as usize * entries) as f64 / 1_048_576.0;
        all_mib += mib;
        vec![spec.name.to_owned(), entries.to_string(), spec.value_bytes.to_string(), format!("{mib:.2}")]
    });
    let table = Table {
        name: "policy-memory".into(),
        title: format!(
            "Memory in the kernel on {cpus} CPUs: {IMAGES} images of {} bytes, whatever the policy, and what each CPU counts",
            size_of::<PolicyImage>()
        ),
        head: ["map", "entries", "bytes each", "MiB"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    let limit_mib = MEMORY_MIB + MEMORY_OF_A_CPU_MIB * cpus as f64;
    (
        table,
        Bar::at_most(
            format!("memory for a policy on {cpus} CPUs, without the ring of captures"),
            limit_mib,
            all_mib,
            "MiB",
        ),
    )
}
