//! The delivery oracle: on a veth pair, with real sockets on every port of the policy, an outsider sends every known shape of packet and random
//! mutations of them, first without nodewall, to learn what this kernel delivers, then with it. Not one byte may reach a socket of a closed port, and
//! whatever the kernel delivers to an open port must still arrive. docs/DELIVERY.md tells more.
#![cfg(test)]

mod ask;
mod judge;
mod mutate;
mod phase;
mod plan;
mod report;
mod rig;
mod shapes;
mod wire;

use std::{
    env, thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    judge::{Delivered, delivered, judge},
    phase::Phase,
    plan::Plan,
    report::Column,
    rig::{FRAGS, Rig},
};
use nodewall_datapath::{Buffers, Mode};
use nodewall_rig::guest;
use nodewall_testbed::skip_unless_privileged;
use rustix::thread::{CpuSet, sched_setaffinity};

/// As long as a veth's native program for single buffers allows, roughly. `NODEWALL_MTU` says otherwise: 1500 is most hosts'.
const LINEAR_MTU: usize = 3000;
const JUMBO_MTU: usize = 9000;
/// Mutated frames sent in each phase, unless `NODEWALL_FRAMES` says otherwise.
const MUTATIONS: usize = 20_000;
/// Shapes of which every kernel so far delivered something; fewer, and the harness proves less than it says.
const LEAST_DELIVERED_SHAPES: usize = 45;

/// A number from the environment. One that is none is an error: running with another than was meant would mislead.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Queues of the kernel are per CPU: on one, frames keep their order.
fn stay_on(cpu: usize) {
    let count = thread::available_parallelism().unwrap().get();
    let mut set = CpuSet::new();
    set.set(cpu % count);
    sched_setaffinity(None, &set).unwrap();
}

/// Every configuration of one MTU: its columns, and what is wrong.
struct Ground {
    plan: Plan,
    columns: Vec<Column>,
    sums: Sums,
    wrong: Vec<String>,
}

/// What the phases of a ground, or of both, came to.
#[derive(Default)]
struct Sums {
    /// Filtered phases.
    phases: usize,
    /// Arrivals at closed ports that each of these phases is measured by, and those under the filter.
    closed_without: usize,
    forbidden: usize,
    /// Arrivals at open ports that each is measured by, those that are missing by design, and those that are lost.
    open_without: usize,
    by_design: usize,
    lost: usize,
}

impl Sums {
    fn add(&mut self, more: &Self) {
        self.phases += more.phases;
        self.closed_without += more.closed_without;
        self.forbidden += more.forbidden;
        self.open_without += more.open_without;
        self.by_design += more.by_design;
        self.lost += more.lost;
    }
}

/// Each phase has ground of its own: what an earlier one left in the node (half a datagram, half a connection) would arrive in a later one.
fn ground(mtu: usize, offload: bool) -> Rig {
    let rig = Rig::new(mtu);
    rig.set_vlan_offload(offload);
    rig
}

fn measure(mtu: usize, configurations: &[(Mode, Buffers)], mutations: usize, seed: u64) -> Ground {
    let plan = Plan::new(&Rig::new(mtu), mutations, seed);
    let (mut columns, mut sums, mut wrong) = (Vec::<Column>::new(), Sums::default(), lacking_devices(&plan));
    for offload in [true, false] {
        let without = Phase::run(&mut ground(mtu, offload), &plan);
        let rows_without = delivered(&plan, &without);
        wrong.extend(proves_too_little(&plan, &rows_without, mutations));
        for (mode, buffers) in configurations {
            let name = match mode {
                // The stack has made one of many buffers that can be read.
                Mode::Tc => format!("tc, MTU {mtu}"),
                _ => format!("{mode:?}, {buffers:?}, MTU {mtu}").to_lowercase().replace("mtu", "MTU"),
            };
            let title = format!("{name}, VLAN offload {}", if offload { "on" } else { "off" });
            let started = Instant::now();
            let mut rig = ground(mtu, offload);
            let Some(filter) = rig.filter(*mode, *buffers) else {
                if offload {
                    guest::lacks(
                        &format!("oracle::{name}").replace(", ", "_").replace(' ', "_"),
                        "multi-buffer XDP",
                        FRAGS,
                    );
                }
                continue;
            };
            let with = Phase::run(&mut rig, &plan);
            let counted = filter.counted().packets;
            let judgement = judge(&mut rig, &plan, &without, &with);
            println!(
                "{title}: {} frames on the wire, {} over the bridge, {} refused by the sender, {counted} counted, {} dropped by design, {:.1} s",
                with.frames_on_wire,
                with.frames_over_bridge,
                with.frames_refused,
                judgement.by_design,
                started.elapsed().as_secs_f32()
            );
            if counted < with.frames_on_wire {
                wrong.push(format!("{title}: {} frames were put on the wire, {counted} counted", with.frames_on_wire));
            }
            if !judgement.is_clean() {
                wrong.push(format!("{title}:\n{judgement}"));
            }
            let of = |count: fn(&Delivered) -> usize| rows_without.iter().map(count).sum::<usize>();
            sums.add(&Sums {
                phases: 1,
                closed_without: of(|row| row.closed),
                forbidden: judgement.forbidden.len(),
                open_without: of(|row| row.open),
                by_design: judgement.by_design,
                lost: judgement.lost.len(),
            });
            let rows = delivered(&plan, &with);
            match columns.iter_mut().find(|column| column.name == name) {
                Some(column) => column.add(&rows_without, &rows),
                None => columns.push(Column { name, without: rows_without.clone(), with: rows }),
            }
        }
    }
    Ground { plan, columns, sums, wrong }
}

/// A guest has every device, so that no shape is skipped there.
fn lacking_devices(plan: &Plan) -> Vec<String> {
    let skipped = plan.shapes.iter().filter(|shape| guest::inside() && shape.skipped.is_some());
    skipped.map(|shape| format!("{} is skipped in a guest: {:?}", shape.name, shape.skipped)).collect()
}

/// What docs/KERNELS.md says of this kernel.
fn tell(plan: &Plan, columns: &[Column], sums: &Sums) {
    let delivered = (0..plan.shapes.len()).filter(|row| columns.iter().any(|column| column.without[*row].closed > 0));
    let asked = plan.shapes.iter().filter(|shape| shape.skipped.is_none()).count();
    guest::fact("oracle_shapes", &format!("{} of {asked}", delivered.count()));
    guest::fact("oracle_closed", &format!("{} → {} ({} phases)", sums.closed_without, sums.forbidden, sums.phases));
    guest::fact("oracle_open", &format!("{}, {}, {}", sums.open_without, sums.by_design, sums.lost));
}

/// What the phase without a filter lacks: a shape that is never delivered proves nothing.
fn proves_too_little(plan: &Plan, rows: &[Delivered], sent: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    for (shape, row) in plan.shapes.iter().zip(rows).filter(|(shape, _)| shape.skipped.is_none()) {
        if shape.proof.is_required() && (row.closed == 0 || row.open == 0) {
            wrong
                .push(format!("without nodewall, {} was not delivered ({row:?}): nothing is proven of it", shape.name));
        }
    }
    let shapes = rows[..plan.shapes.len()].iter().filter(|row| row.closed > 0).count();
    if shapes < LEAST_DELIVERED_SHAPES {
        wrong.push(format!("without nodewall, only {shapes} shapes were delivered, not {LEAST_DELIVERED_SHAPES}"));
    }
    let mutations = rows[plan.shapes.len()].closed;
    if mutations < sent / 25 {
        wrong.push(format!("without nodewall, only {mutations} of some {sent} mutations reached a closed port"));
    }
    wrong
}

#[test]
fn no_shape_reaches_a_closed_port_and_none_is_lost_at_an_open_one() {
    if skip_unless_privileged("no_shape_reaches_a_closed_port_and_none_is_lost_at_an_open_one") {
        return;
    }
    let by_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let seed = number("NODEWALL_SEED").unwrap_or_else(by_clock);
    let mutations = number("NODEWALL_FRAMES").map_or(MUTATIONS, |frames| frames as usize);
    let linear_mtu = number("NODEWALL_MTU").map_or(LINEAR_MTU, |bytes| bytes as usize);
    println!("seed {seed}: again with NODEWALL_SEED={seed} NODEWALL_FRAMES={mutations} NODEWALL_MTU={linear_mtu}");
    let tc = (Mode::Tc, Buffers::Linear);
    let linear = [(Mode::Native, Buffers::Linear), (Mode::Generic, Buffers::Linear), tc];
    let jumbo = [(Mode::Native, Buffers::Frags), (Mode::Generic, Buffers::Frags), (Mode::Generic, Buffers::Linear), tc];
    let on = |cpu, mtu, configurations| {
        move || {
            stay_on(cpu);
            measure(mtu, configurations, mutations, seed)
        }
    };
    let [one, two] = thread::scope(|scope| {
        let one = scope.spawn(on(0, linear_mtu, &linear[..]));
        let two = scope.spawn(on(1, JUMBO_MTU, &jumbo[..]));
        [one, two].map(|thread| thread.join().unwrap())
    });
    let columns: Vec<Column> = one.columns.into_iter().chain(two.columns).collect();
    let table = report::table(&one.plan, &columns, mutations);
    println!("{table}");
    let mut sums = one.sums;
    sums.add(&two.sums);
    tell(&one.plan, &columns, &sums);
    if env::var_os("NODEWALL_REFRESH_DOCS").is_some_and(|value| value == "1") {
        report::refresh(&table, seed);
    }
    let wrong: Vec<String> = one.wrong.into_iter().chain(two.wrong).collect();
    assert!(wrong.is_empty(), "seed {seed}\n{}", wrong.join("\n"));
}
