//! Loaded BPF programs, whoever loaded them, by the kernel's own numbers: facts, translated instructions, test runs. Raw system calls, because
//! it must treat all programs alike. It attaches nothing and knows no program.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::error::{Error, Result};

/// Commands of bpf(2), include/uapi/linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_MAP_GET_FD_BY_ID: libc::c_long = 14;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// A program in the kernel.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

/// What the kernel says of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// At most 15 bytes of its name.
    pub name: String,
    /// Instructions that the verifier went through; 0 before Linux 5.16.
    pub verified_instructions: u32,
    /// Instructions after translation (inlined lookups and the like).
    pub translated_instructions: u32,
    /// Machine code, bytes; 0 where the kernel does not tell or does not compile.
    pub machine_bytes: u32,
}

/// One instruction as the kernel runs it, `struct bpf_insn`. A 64-bit constant takes two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and source.
    pub opcode: u8,
    /// Destination register.
    pub destination: u8,
    /// Source register, or which kind of call or constant it is.
    pub source: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;

impl Instruction {
    /// Whether it calls anything: a helper, a kernel function or a subprogram.
    pub const fn is_call(self) -> bool {
        self.opcode == CALL
    }
}

/// A map that a program uses.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    /// The kernel's number: in translated instructions it stands for the map.
    pub id: u32,
    /// At most 15 bytes of its name.
    pub name: String,
    kind: u32,
    /// Size of a value; of a per-CPU array that of one CPU.
    pub value_bytes: u32,
}

/// `BPF_MAP_TYPE_ARRAY`
const ARRAY: u32 = 2;
/// Most maps that a program of ours uses.
const MAPS_MAX: usize = 64;

/// What came of a test run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What the program returned the last time: the XDP action.
    pub action: u32,
    /// CPU time of this thread for the whole system call, ns.
    pub cpu_ns: u64,
}

/// `struct bpf_prog_info` up to `verified_insns`.
#[expect(clippy::struct_field_names, reason = "as the kernel names them")]
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    machine_bytes: u32,
    translated_bytes: u32,
    machine_code: u64,
    translated: u64,
    load_time_ns: u64,
    user: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
    if_index: u32,
    gpl: u32,
    netns: [u64; 2],
    symbol_count: u32,
    function_count: u32,
    symbols: u64,
    function_lengths: u64,
    btf_id: u32,
    function_info_bytes: u32,
    function_info: u64,
    function_infos: u32,
    line_infos: u32,
    line_info: u64,
    machine_line_info: u64,
    machine_line_infos: u32,
    line_info_bytes: u32,
    machine_line_info_bytes: u32,
    tag_count: u32,
    tags: u64,
    run_time_ns: u64,
    runs: u64,
    recursion_misses: u64,
    verified: u32,
    attached_btf: u32,
}

/// `struct bpf_map_info` up to `name`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; 16],
}

/// `BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_UPDATE_ELEM`
#[repr(C)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A new descriptor of the object with this id.
fn open_by_id(command: libc::c_long, id: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        id: u32,
        next: u32,
        flags: u32,
    }
    let fd = bpf(command, &mut Attributes { id, next: 0, flags: 0 })?;
    // SAFETY: the call returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Fills `info`, which must begin as the kernel's own struct for this kind of object does.
pub(crate) fn read_info<T>(fd: &OwnedFd, info: &mut T) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: u32,
        length: u32,
        info: u64,
    }
    let mut attributes = Attributes {
        fd: fd.as_raw_fd().cast_unsigned(),
        length: size_of::<T>() as u32,
        info: std::ptr::from_mut(info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes).map(drop)
}

/// A name of the kernel's, which ends at the first zero byte.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

pub(crate) fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: every caller passes a repr(C) prefix of union bpf_attr of exactly the size given, with pointers into live memory.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Program {
    /// The program with this id. Needs `CAP_SYS_ADMIN`.
    pub fn by_id(id: u32) -> Result<Self> {
        let fd = open_by_id(BPF_PROG_GET_FD_BY_ID, id)
            .map_err(Error::io(format!("opening the BPF program with id {id}")))?;
        Ok(Self { fd })
    }

    /// What the kernel says of it.
    pub fn facts(&self) -> Result<Facts> {
        let mut info = Info::default();
        self.read_info(&mut info)?;
        Ok(Facts {
            name: text(&info.name),
            verified_instructions: info.verified,
            translated_instructions: info.translated_bytes / 8,
            machine_bytes: info.machine_bytes,
        })
    }

    /// Its instructions after translation: what the kernel compiles or interprets. Numbers of helpers are not theirs any more.
    pub fn instructions(&self) -> Result<Vec<Instruction>> {
        let mut info = Info::default();
        self.read_info(&mut info)?;
        let mut words = vec![0_u64; info.translated_bytes as usize / 8];
        let mut info =
            Info { translated: words.as_mut_ptr() as u64, translated_bytes: info.translated_bytes, ..Info::default() };
        self.read_info(&mut info)?;
        if info.translated == 0 {
            let refused = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(Error::io("reading a translated program (is kernel.kptr_restrict or bpf_jit_harden 2?)")(
                refused,
            ));
        }
        Ok(words.into_iter().map(decoded).collect())
    }

    /// The maps that it uses.
    pub fn maps(&self) -> Result<Vec<Map>> {
        let mut ids = [0_u32; MAPS_MAX];
        let mut info = Info { maps: ids.as_mut_ptr() as u64, map_count: MAPS_MAX as u32, ..Info::default() };
        self.read_info(&mut info)?;
        ids.iter().take(info.map_count as usize).map(|id| Map::by_id(*id)).collect()
    }

    fn read_info(&self, info: &mut Info) -> Result<()> {
        read_info(&self.fd, info).map_err(Error::io("reading a BPF program's facts"))
    }

    /// Runs it `repeat` times on one frame, which it may change, and takes the time of it.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<Run> {
        #[repr(C)]
        struct Attributes {
            fd: u32,
            action: u32,
            in_bytes: u32,
            out_bytes: u32,
            data_in: u64,
            data_out: u64,
            repeat: u32,
            duration_ns: u32,
        }
        let mut attributes = Attributes {
            fd: self.fd.as_raw_fd().cast_unsigned(),
            action: 0,
            in_bytes: frame.len() as u32,
            out_bytes: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat,
            duration_ns: 0,
        };
        let before_ns = thread_cpu_ns();
        let result = bpf(BPF_PROG_TEST_RUN, &mut attributes);
        let cpu_ns = thread_cpu_ns() - before_ns;
        result.map_err(Error::io(format!("running a BPF program on a frame of {} bytes", frame.len())))?;
        Ok(Run { action: attributes.action, cpu_ns })
    }

    /// Makes it what programs jump to that jump to the first entry of the program array `programs`.
    pub fn follow(&self, programs: BorrowedFd<'_>) -> Result<()> {
        let (key, value) = (0_u32, self.fd.as_raw_fd().cast_unsigned());
        let mut attributes = ElementAttributes {
            map: programs.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: std::ptr::from_ref(&value) as u64,
            flags: 0,
        };
        bpf(BPF_MAP_UPDATE_ELEM, &mut attributes).map_err(Error::io("putting a program into a program array"))?;
        Ok(())
    }
}

impl Map {
    fn by_id(id: u32) -> Result<Self> {
        let what = || format!("opening the BPF map with id {id}");
        let fd = open_by_id(BPF_MAP_GET_FD_BY_ID, id).map_err(Error::io(what()))?;
        let mut info = MapInfo::default();
        read_info(&fd, &mut info).map_err(Error::io(what()))?;
        Ok(Self { fd, id, name: text(&info.name), kind: info.kind, value_bytes: info.value_bytes })
    }

    /// The value at key 0 of an array; `None` for any other kind of map, where it would be of another size.
    pub fn first_value(&self) -> Result<Option<Vec<u8>>> {
        if self.kind != ARRAY {
            return Ok(None);
        }
        let mut value = vec![0_u8; self.value_bytes as usize];
        let key = 0_u32;
        let mut attributes = ElementAttributes {
            map: self.fd.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes).map_err(Error::io(format!("reading the BPF map {}", self.name)))?;
        Ok(Some(value))
    }
}

fn decoded(word: u64) -> Instruction {
    let [opcode, registers, o0, o1, i0, i1, i2, i3] = word.to_le_bytes();
    Instruction {
        opcode,
        destination: registers & 15,
        source: registers >> 4,
        offset: i16::from_le_bytes([o0, o1]),
        immediate: i32::from_le_bytes([i0, i1, i2, i3]),
    }
}

/// CPU time that this thread has used, ns.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; the clock exists on every Linux, so that the call can not fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_decoded() {
        // r1 += 272; call 1; if r0 == 0 goto -2
        let words = [0x0000_0110_0000_0107_u64, 0x0000_0001_0000_0085, 0x0000_0000_fffe_0015];
        let [add, call, jump] = words.map(decoded);
        assert_eq!((add.destination, add.immediate, add.is_call()), (1, 272, false));
        assert!(call.is_call());
        assert_eq!((jump.opcode, jump.offset), (0x15, -2));
    }

    #[test]
    fn cpu_time_passes_while_working_and_not_while_asleep() {
        let before_ns = thread_cpu_ns();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(thread_cpu_ns() - before_ns < 40_000_000);
        let before_ns = thread_cpu_ns();
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        assert!(thread_cpu_ns() > before_ns);
    }
}
