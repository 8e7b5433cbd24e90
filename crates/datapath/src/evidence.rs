//! What the kernel noted about denied frames: sweeping the tables of flows, granting captures and taking them. It must not name an interface, a class or
//! a file, and it is done by one process at a time: the agent.

use std::{
    fs,
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use aya::{
    maps::{
        Map, MapData, PerfEventArray,
        perf::{PerfEvent, PerfEventArrayBuffer},
    },
    util::online_cpus,
};
use node_ebpf_common::{
    area::{BANK_BYTES, CpuArea},
    capture::Beside,
    flow::{Bank, FlowEntry, KEY_WORDS},
    maps::name,
};
use zerocopy::transmute;

use super::{
    captured::Captured,
    error::DatapathError,
    maps::Maps,
    memory::{Grace, Words},
};

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const SECOND_NS: i128 = 1_000_000_000;
/// Words of an area before its counters.
const HEAD_WORDS: usize = offset_of!(CpuArea, counters) / 8;
/// Words of a bank.
const BANK_WORDS: usize = size_of::<Bank>() / 8;
/// Words of an entry.
const ENTRY_WORDS: usize = size_of::<FlowEntry>() / 8;
/// What a capture takes in the buffer besides the frame: record header, size, entry, padding.
const CAPTURE_OVERHEAD_BYTES: usize = 8 + 4 + size_of::<FlowEntry>() + size_of::<Beside>() + 8;
/// Sweeps for which a CPU's buffer holds all that may be captured.
const BUFFERED_SWEEPS: usize = 2;
/// The largest buffer of one CPU.
const MAX_BUFFER_BYTES: usize = 1 << 20;

macro_rules! words {
    ($($name:ident = $of:ty, $($field:ident).+;)+) => { $(const $name: usize = offset_of!($of, $($field).+) / 8;)+ };
}
words! {
    BANK = CpuArea, bank;
    GRANTED = CpuArea, granted;
    SNAP_BYTES = CpuArea, snap_bytes;
    SPENT = CpuArea, spent;
    MULTIPLIERS = Bank, multipliers;
    OTHER_PACKETS = Bank, other.packets;
    OTHER_BYTES = Bank, other.bytes;
    OFFERED = Bank, offered;
    WRITTEN = Bank, written;
    OVER_BUDGET = Bank, over_budget;
    UNREAD = Bank, unread;
    BUCKETS = Bank, buckets;
}

/// How much is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureBudget {
    /// Of a frame.
    pub snap_bytes: u32,
    /// In a second, over all CPUs; what was not used is not saved up beyond a second.
    pub per_second: u32,
}

/// What a sweep found since the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Denied flows; one that came by several CPUs is there for each.
    pub flows: Vec<FlowEntry>,
    /// Denied frames, all of them; bytes.
    pub denied_packets: u64,
    /// Their bytes.
    pub denied_bytes: u64,
    /// Of these, in no flow: the table was full.
    pub not_attributed_packets: u64,
    /// Their bytes.
    pub not_attributed_bytes: u64,
    /// First frames of flows.
    pub offered: u64,
    /// Of these, written into the buffer.
    pub written: u64,
    /// Of these, beyond the budget.
    pub over_budget: u64,
    /// Of these, not taken by a buffer: it was full, or nobody read it.
    pub unread: u64,
    /// Captures.
    pub captures: Vec<Captured>,
}

/// The agent's hold on the kernel's evidence.
pub struct Evidence {
    tables: Tables,
    captures: PerfEventArray<MapData>,
    buffers: Vec<(u32, PerfEventArrayBuffer<MapData>)>,
    grace: Grace,
    budget: CaptureBudget,
    /// Captures that may be granted, times a second in ns; below 0 when several CPUs spent the same grant.
    tokens_ns: i128,
    spent: u64,
    /// Why there are no buffers, though there should be.
    refused: Option<DatapathError>,
}

impl Maps {
    /// Opens the evidence for sweeping. From the first [`Evidence::sweep`] on frames are captured.
    pub fn evidence(&self, budget: CaptureBudget) -> Result<Evidence, DatapathError> {
        let tables = self.flow_tables()?;
        let spent = tables.each().map(|table| load(table.head(), SPENT)).sum();
        let mut evidence = Evidence {
            tables,
            captures: self.captures()?,
            buffers: Vec::new(),
            grace: Grace::new().map_err(DatapathError::io("can not make a map of maps to wait by"))?,
            budget,
            // The first second's worth is there from the beginning.
            tokens_ns: i128::from(budget.per_second) * SECOND_NS,
            spent,
            refused: None,
        };
        evidence.configure(budget);
        evidence.grant(0);
        Ok(evidence)
    }

    fn captures(&self) -> Result<PerfEventArray<MapData>, DatapathError> {
        let fd = self.captures_fd.try_clone().map_err(DatapathError::io("can not copy a descriptor"))?;
        MapData::from_fd(fd)
            .and_then(Map::from_map_data)
            .and_then(PerfEventArray::try_from)
            .map_err(DatapathError::map(name::CAPTURES))
    }

    fn flow_tables(&self) -> Result<Tables, DatapathError> {
        let heads = self.areas.parts(0, HEAD_WORDS);
        let banks = self.areas.parts(offset_of!(CpuArea, banks), 2 * BANK_WORDS);
        let tables = heads.zip(banks).map(|(head, banks)| Ok(Table { head: head?, banks: banks? }));
        Ok(Tables(tables.collect::<Result<_, DatapathError>>()?))
    }

    /// Gives tables that were just made the numbers they hash by. Without them all flows of a CPU would share a bucket.
    pub fn prepare_flows(&self) -> Result<(), DatapathError> {
        for table in self.flow_tables()?.each() {
            for bank in [0, 1].into_iter().filter_map(|which| table.bank(which)) {
                if load(bank, MULTIPLIERS) == 0 {
                    draw_multipliers(bank)?;
                }
            }
        }
        Ok(())
    }
}

/// The denied flows of one CPU.
struct Table {
    head: Words,
    banks: Words,
}

impl Table {
    fn head(&self) -> &[AtomicU64] {
        self.head.all()
    }

    fn bank(&self, which: u64) -> Option<&[AtomicU64]> {
        self.banks.all().chunks_exact(BANK_WORDS).nth(which as usize)
    }

    /// Which bank the program uses.
    fn in_use(&self) -> u64 {
        u64::from(load(self.head(), BANK) != 0)
    }

    fn turn_to(&self, which: u64) {
        store(self.head(), BANK, which * BANK_BYTES as u64);
    }

    /// Whether anything was denied since the last sweep: the first frame of a flow is offered, and one without a place is counted. The bank that is not in use
    /// has something only where a sweep was broken off; the next ones take that, too.
    fn has_moved(&self) -> bool {
        let counted = |bank: &[AtomicU64]| load(bank, OFFERED) != 0 || load(bank, OTHER_PACKETS) != 0;
        [0, 1].into_iter().filter_map(|which| self.bank(which)).any(counted)
    }
}

struct Tables(Vec<Table>);

impl Tables {
    fn each(&self) -> impl Iterator<Item = &Table> {
        self.0.iter()
    }
}

impl Evidence {
    /// Captures by another budget from now on. Where the kernel refuses its buffers there are none, and flows all the same.
    pub fn configure(&mut self, budget: CaptureBudget) {
        for table in self.tables.each() {
            store(table.head(), SNAP_BYTES, u64::from(budget.snap_bytes));
        }
        self.budget = budget;
        self.buffers.clear();
        self.refused = self.open_buffers().err();
        if self.refused.is_some() {
            self.buffers.clear();
        }
    }

    fn open_buffers(&mut self) -> Result<(), DatapathError> {
        let budget = self.budget;
        if budget.per_second == 0 || budget.snap_bytes == 0 {
            return Ok(());
        }
        let record = (budget.snap_bytes as usize + CAPTURE_OVERHEAD_BYTES).next_multiple_of(8);
        let wanted = (record * budget.per_second as usize * BUFFERED_SWEEPS).min(MAX_BUFFER_BYTES);
        let pages = wanted.div_ceil(rustix::param::page_size()).next_power_of_two();
        let cpus = online_cpus().map_err(|(what, error)| DatapathError::io(format!("can not read {what}"))(error))?;
        for cpu in cpus {
            let buffer = self.captures.open(cpu, Some(pages)).map_err(|error| {
                // Debian and Ubuntu ship 3 and 4, which mainline does not know: then CAP_PERFMON does not do.
                let hint = match fs::read_to_string(PARANOID).ok().and_then(|text| text.trim().parse::<i32>().ok()) {
                    Some(level) if level > 2 => format!(
                        " (this kernel asks for CAP_SYS_ADMIN, as kernel.perf_event_paranoid is {level}: set it to 2, or use the \
                         drop-in captures.conf, and start the agent anew)"
                    ),
                    _ => String::new(),
                };
                DatapathError::io(format!("can not open a buffer for captures{hint}"))(std::io::Error::other(error))
            })?;
            self.buffers.push((cpu, buffer));
        }
        Ok(())
    }

    /// Why no frame is captured, though frames should be.
    pub fn refused(&self) -> Option<&DatapathError> {
        self.refused.as_ref()
    }

    /// Whether anything was denied since the last sweep. Costs a load for each CPU.
    pub fn moved(&self) -> bool {
        self.tables.each().any(Table::has_moved)
    }

    /// Takes what was noted since the last sweep, and grants captures for `elapsed_ns` more.
    pub fn sweep(&mut self, elapsed_ns: u64) -> Result<Sweep, DatapathError> {
        let mut sweep = Sweep::default();
        // Most processors deny nothing, and many were never started: their tables stay as they are.
        let moved: Vec<&Table> = self.tables.each().filter(|table| table.has_moved()).collect();
        if !moved.is_empty() {
            for table in &moved {
                let next = 1 - table.in_use();
                // Emptied when it was swept last; the program does not look at it yet.
                if let Some(bank) = table.bank(next) {
                    draw_multipliers(bank)?;
                }
                table.turn_to(next);
            }
            self.grace.wait().map_err(DatapathError::io("can not wait for the programs that run"))?;
            for table in &moved {
                if let Some(bank) = table.bank(1 - table.in_use()) {
                    take(bank, &mut sweep);
                }
            }
            sweep.denied_packets += sweep.not_attributed_packets;
            sweep.denied_bytes += sweep.not_attributed_bytes;
        }
        let snap = self.budget.snap_bytes as usize;
        for (cpu, buffer) in &mut self.buffers {
            buffer.for_each(|event| {
                if let PerfEvent::Sample { head, tail } = event {
                    sweep.captures.extend(Captured::read(*cpu, &[head, tail].concat(), snap));
                }
            });
        }
        self.grant(elapsed_ns);
        Ok(sweep)
    }

    /// What all CPUs spent is taken from what may be spent; each may spend all of the rest, so that one busy CPU gets all of it.
    fn grant(&mut self, elapsed_ns: u64) {
        let spent: u64 = self.tables.each().map(|table| load(table.head(), SPENT)).sum();
        let full = i128::from(self.budget.per_second) * SECOND_NS;
        let used = i128::from(spent.wrapping_sub(self.spent)) * SECOND_NS;
        let earned = i128::from(self.budget.per_second) * i128::from(elapsed_ns);
        self.tokens_ns = (self.tokens_ns - used + earned).min(full);
        self.spent = spent;
        let available =
            if self.buffers.is_empty() { 0 } else { u64::try_from(self.tokens_ns / SECOND_NS).unwrap_or(0) };
        for table in self.tables.each() {
            let granted = load(table.head(), SPENT) + available;
            if load(table.head(), GRANTED) != granted {
                store(table.head(), GRANTED, granted);
            }
        }
    }
}

impl Drop for Evidence {
    /// Nobody will read the buffers.
    fn drop(&mut self) {
        for table in self.tables.each() {
            store(table.head(), GRANTED, 0);
        }
    }
}

fn load(words: &[AtomicU64], at: usize) -> u64 {
    words.get(at).map_or(0, |word| word.load(Relaxed))
}

fn store(words: &[AtomicU64], at: usize, value: u64) {
    if let Some(word) = words.get(at) {
        word.store(value, Relaxed);
    }
}

fn draw_multipliers(bank: &[AtomicU64]) -> Result<(), DatapathError> {
    let mut drawn = [0_u8; 8 * KEY_WORDS];
    rustix::rand::getrandom(&mut drawn, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| DatapathError::io("can not draw random numbers")(error.into()))?;
    let drawn: [u64; KEY_WORDS] = transmute!(drawn);
    for (n, multiplier) in drawn.into_iter().enumerate() {
        store(bank, MULTIPLIERS + n, multiplier | 1);
    }
    Ok(())
}

/// Reads and empties a bank that no program writes into.
fn take(bank: &[AtomicU64], sweep: &mut Sweep) {
    let taken = |at: usize| {
        let value = load(bank, at);
        store(bank, at, 0);
        value
    };
    sweep.not_attributed_packets += taken(OTHER_PACKETS);
    sweep.not_attributed_bytes += taken(OTHER_BYTES);
    sweep.offered += taken(OFFERED);
    sweep.written += taken(WRITTEN);
    sweep.over_budget += taken(OVER_BUDGET);
    sweep.unread += taken(UNREAD);
    for entry in bank.get(BUCKETS..).unwrap_or_default().chunks_exact(ENTRY_WORDS) {
        let mut words = [0_u64; ENTRY_WORDS];
        for (word, cell) in words.iter_mut().zip(entry) {
            *word = cell.load(Relaxed);
        }
        let flow: FlowEntry = transmute!(words);
        if flow.sums.packets != 0 {
            for cell in entry {
                cell.store(0, Relaxed);
            }
            sweep.denied_packets += flow.sums.packets;
            sweep.denied_bytes += flow.sums.bytes;
            sweep.flows.push(flow);
        }
    }
}
