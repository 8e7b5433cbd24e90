//! A small interpreter of translated BPF: walks the path that one frame takes through the program that the kernel compiled, instruction by
//! instruction, and says what it met: how many instructions, which calls, which counter, which action. It reads maps nowhere: values at fixed addresses
//! (the policy, read-only data) come from the test. It knows the kernel's inlined lookups (`array_map_gen_lookup` and its kin) by what they load, and nothing
//! of what the program means.
#![allow(
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::match_same_arms,
    reason = "registers are two's complement, and one arm for each number of an operation reads better"
)]

use std::{collections::BTreeMap, mem::offset_of};

use node_ebpf_common::{area::CpuArea, counter::CELLS};
use nodewall_testbed::program::Instruction;

/// More than any path has.
const LONGEST_PATH: usize = 100_000;

/// Where things lie; far apart, so that arithmetic does not lead from one to another.
const CONTEXT: u64 = 0x10 << 32;
const PACKET: u64 = 0x20 << 32;
const STACK_END: u64 = 0x31 << 32;
const STACK_BYTES: u64 = 512;
const CELL_BYTES: u64 = 16;
/// The receive queue and the device of the frame.
const DEVICE: u64 = 0x40 << 32;
/// Where this CPU's number is.
const CPU: u64 = 0x60 << 32;
/// `struct bpf_map` of the map with this id, and the value of the one with read-only data.
const MAPS: u64 = 0x100 << 32;
const VALUES: u64 = 0x20_0000 << 32;
const REGION: u64 = 1 << 32;

/// What the program may look at besides the frame.
pub(crate) struct Memory<'m> {
    /// Id of the map with the counters.
    pub(crate) counter_map: u32,
    /// First values of arrays, by id: read at fixed addresses (the policy's, `.rodata`), or found by this CPU's number, which is 0.
    pub(crate) values: &'m BTreeMap<u32, Vec<u8>>,
}

/// What the walk met.
#[derive(Debug, Default)]
pub(crate) struct Path {
    /// Instructions that ran, in their order: indices into the program.
    pub(crate) steps: Vec<usize>,
    /// Those of them that call.
    pub(crate) calls: Vec<usize>,
    /// Cells of the counters that were written.
    pub(crate) cells: Vec<u32>,
    /// Packets and bytes added to the last of them.
    pub(crate) counted: [u64; 2],
    /// What the program returned; `None` after a call, behind which nothing can be known.
    pub(crate) action: Option<u64>,
}

/// The state of a walk.
struct Walk<'w> {
    memory: &'w Memory<'w>,
    packet: &'w [u8],
    registers: [u64; 11],
    stack: [u8; STACK_BYTES as usize],
    /// Where an array's values begin in `struct bpf_array`: what a lookup adds to the counters' map.
    value_offset: u64,
    /// What was written into maps, by the address.
    stored: BTreeMap<u64, u64>,
    path: Path,
}

/// Walks `program` with `packet` in one buffer, until it ends or calls.
pub(crate) fn walk(program: &[Instruction], memory: &Memory<'_>, packet: &[u8]) -> Path {
    let mut registers = [0; 11];
    registers[1] = CONTEXT;
    registers[10] = STACK_END;
    let stack = [0xa5; STACK_BYTES as usize];
    let mut walk =
        Walk { memory, packet, registers, stack, value_offset: 0, stored: BTreeMap::new(), path: Path::default() };
    let mut at = 0;
    while let Some(next) = walk.step(program, at) {
        at = next;
        assert!(walk.path.steps.len() < LONGEST_PATH, "the walk does not end");
    }
    walk.path
}

impl Walk<'_> {
    /// Runs one instruction and returns the index of the next.
    fn step(&mut self, program: &[Instruction], at: usize) -> Option<usize> {
        let this = program[at];
        self.path.steps.push(at);
        match this.opcode & 7 {
            // 64-bit constant, in two instructions.
            0 if this.opcode == 0x18 => {
                self.registers[usize::from(this.destination)] = constant(this, program[at + 1]);
                return Some(at + 2);
            }
            1 => self.load(this),
            2 | 3 => self.store(this),
            4 | 7 => self.compute(this),
            5 | 6 => return self.jump(this, at),
            _ => panic!("unknown instruction {at}: {this:?}"),
        }
        Some(at + 1)
    }

    fn jump(&mut self, this: Instruction, at: usize) -> Option<usize> {
        let is_wide = this.opcode & 7 == 5;
        let to = |offset: i64| Some(usize::try_from(at as i64 + 1 + offset).unwrap());
        let (a, b) = (self.registers[usize::from(this.destination)], self.operand(this));
        let (a, b) = if is_wide { (a, b) } else { (a & 0xffff_ffff, b & 0xffff_ffff) };
        let (sa, sb) = if is_wide { (a as i64, b as i64) } else { (i64::from(a as i32), i64::from(b as i32)) };
        let taken = match this.opcode >> 4 {
            0x0 if is_wide => true,
            // A jump by a 32-bit distance.
            0x0 => return to(i64::from(this.immediate)),
            0x1 => a == b,
            0x2 => a > b,
            0x3 => a >= b,
            0x4 => a & b != 0,
            0x5 => a != b,
            0x6 => sa > sb,
            0x7 => sa >= sb,
            0x8 => {
                self.path.calls.push(at);
                return None;
            }
            0x9 => {
                self.path.action = Some(self.registers[0]);
                return None;
            }
            0xa => a < b,
            0xb => a <= b,
            0xc => sa < sb,
            0xd => sa <= sb,
            _ => panic!("unknown jump {at}: {this:?}"),
        };
        to(if taken { i64::from(this.offset) } else { 0 })
    }

    /// The second operand of a jump or a computation.
    fn operand(&self, this: Instruction) -> u64 {
        if this.opcode & 8 == 0 { i64::from(this.immediate) as u64 } else { self.registers[usize::from(this.source)] }
    }

    fn compute(&mut self, this: Instruction) {
        let is_wide = this.opcode & 7 == 7;
        let (a, b) = (self.registers[usize::from(this.destination)], self.operand(this));
        let bits = if is_wide { 64 } else { 32 };
        let (a, b) = if is_wide { (a, b) } else { (a & 0xffff_ffff, b & 0xffff_ffff) };
        let is_map = (MAPS..VALUES).contains(&a) && a % REGION == 0;
        if is_wide && this.opcode >> 4 == 0 && this.opcode & 8 == 0 && is_map {
            self.value_offset = b;
        }
        let shift = (b & (bits - 1)) as u32;
        let result = match this.opcode >> 4 {
            0x0 => a.wrapping_add(b),
            0x1 => a.wrapping_sub(b),
            0x2 => a.wrapping_mul(b),
            0x3 if this.offset == 0 => a.checked_div(b).unwrap_or(0),
            0x4 => a | b,
            0x5 => a & b,
            0x6 => a << shift,
            0x7 => a >> shift,
            0x8 => a.wrapping_neg(),
            0x9 if this.offset == 0 => a.checked_rem(b).unwrap_or(a),
            0xa => a ^ b,
            // Plain, sign-extending, or (-1) the address of this CPU's own of the one variable that is asked for.
            0xb => match this.offset {
                0 => b,
                -1 => CPU,
                8 => i64::from(b as i8) as u64,
                16 => i64::from(b as i16) as u64,
                32 => i64::from(b as i32) as u64,
                _ => panic!("unknown move {this:?}"),
            },
            0xc if is_wide => ((a as i64) >> shift) as u64,
            0xc => ((a as i32) >> shift) as u64,
            0xd => swapped(this, self.registers[usize::from(this.destination)], is_wide),
            _ => panic!("unknown computation {this:?}"),
        };
        let is_swap = this.opcode >> 4 == 0xd;
        self.registers[usize::from(this.destination)] = if is_wide || is_swap { result } else { result & 0xffff_ffff };
    }

    fn load(&mut self, this: Instruction) {
        let bytes = width(this.opcode);
        let value = self.read(self.address(this, this.source), bytes);
        let is_signed = this.opcode & 0xe0 == 0x80;
        assert!(is_signed || this.opcode & 0xe0 == 0x60, "unknown load {this:?}");
        let unused = 64 - 8 * bytes as u32;
        self.registers[usize::from(this.destination)] =
            if is_signed { ((value << unused) as i64 >> unused) as u64 } else { value };
    }

    fn store(&mut self, this: Instruction) {
        let is_atomic_addition = this.opcode & 0xe0 == 0xc0 && this.immediate == 0;
        assert!(is_atomic_addition || this.opcode & 0xe0 == 0x60, "unknown store {this:?}");
        let value = if this.opcode & 7 == 2 {
            i64::from(this.immediate) as u64
        } else {
            self.registers[usize::from(this.source)]
        };
        let (address, bytes) = (self.address(this, this.destination), width(this.opcode));
        let before = if is_atomic_addition { self.read(address, bytes) } else { 0 };
        self.write(address, bytes, before.wrapping_add(value));
    }

    fn address(&self, this: Instruction, register: u8) -> u64 {
        self.registers[usize::from(register)].wrapping_add_signed(i64::from(this.offset))
    }

    fn read(&mut self, address: u64, bytes: usize) -> u64 {
        let packet_end = PACKET + self.packet.len() as u64;
        let within = |at: u64, memory: &[u8]| {
            let at = usize::try_from(at).unwrap();
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(&memory[at..at + bytes]);
            u64::from_le_bytes(value)
        };
        match address & !(REGION - 1) {
            // `struct xdp_buff` begins with data and data_end.
            CONTEXT if bytes == 8 && address == CONTEXT => PACKET,
            CONTEXT if bytes == 8 && address == CONTEXT + 8 => packet_end,
            PACKET => within(address - PACKET, self.packet),
            _ if (STACK_END - STACK_BYTES..STACK_END).contains(&address) => {
                within(address - (STACK_END - STACK_BYTES), &self.stack)
            }
            CPU => 0,
            // The interface's index is two pointers away; a test run has the loopback device's.
            CONTEXT | DEVICE if bytes == 8 => DEVICE,
            DEVICE => 1,
            // What userspace wrote is in one word with what the program writes nowhere.
            _ if let Some(value) = self.stored.get(&address) => *value,
            region @ MAPS..VALUES => {
                within(address - region - self.value_offset, &self.memory.values[&(((region - MAPS) / REGION) as u32)])
            }
            region @ VALUES.. => within(address - region, &self.memory.values[&(((region - VALUES) / REGION) as u32)]),
            _ => panic!("a load of {bytes} bytes at {address:#x}"),
        }
    }

    fn write(&mut self, address: u64, bytes: usize, value: u64) {
        if (STACK_END - STACK_BYTES..STACK_END).contains(&address) {
            let at = (address - (STACK_END - STACK_BYTES)) as usize;
            self.stack[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
            return;
        }
        assert!(bytes == 8 && address >= MAPS, "a store of {bytes} bytes at {address:#x}");
        let before = self.read(address, 8);
        self.stored.insert(address, value);
        let area = MAPS + u64::from(self.memory.counter_map) * REGION + self.value_offset;
        let counters = area + offset_of!(CpuArea, counters) as u64;
        if let Some(place) = address.checked_sub(counters).filter(|place| *place < u64::from(CELLS) * CELL_BYTES) {
            let cell = (place / CELL_BYTES) as u32;
            if self.path.cells.last() != Some(&cell) {
                self.path.cells.push(cell);
            }
            self.path.counted[usize::from(place % CELL_BYTES >= 8)] = value.wrapping_sub(before);
        }
    }
}

/// A 64-bit constant; of maps the kernel shows their ids.
fn constant(first: Instruction, second: Instruction) -> u64 {
    let low = u64::from(first.immediate.cast_unsigned());
    let high = u64::from(second.immediate.cast_unsigned());
    match first.source {
        0 => low | high << 32,
        1 => MAPS + low * REGION,
        2 => VALUES + low * REGION + high,
        _ => panic!("unknown kind of constant {first:?}"),
    }
}

/// To little-endian (this machine's, the compiler's only target), to big-endian, or unconditionally swapped.
fn swapped(this: Instruction, value: u64, is_wide: bool) -> u64 {
    let swap = is_wide || this.opcode & 8 != 0;
    match (this.immediate, swap) {
        (16, true) => u64::from((value as u16).swap_bytes()),
        (32, true) => u64::from((value as u32).swap_bytes()),
        (64, true) => value.swap_bytes(),
        (16, false) => value & 0xffff,
        (32, false) => value & 0xffff_ffff,
        _ => value,
    }
}

/// Bytes that a load or store moves.
fn width(opcode: u8) -> usize {
    match opcode & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}
