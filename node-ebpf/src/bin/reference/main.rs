//! Programs that nodewall is measured against by `cargo xtask bench`: nothing at all, and nodewall's own job with the sources in a kernel hash map or
//! LPM trie. Also the prologue that turns one frame into mixed traffic, and a generator of floods. For the bench only; nodewall never loads them. Packets are read by
//! `frame` and judged by `node_ebpf_common`, as in nodewall itself.
//!
//! On hosts that are not the BPF target this crate is an empty binary.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        missing_docs,
        non_upper_case_globals,
        unreachable_pub,
        clippy::inline_always,
        clippy::needless_pass_by_value,
        clippy::undocumented_unsafe_blocks,
        reason = "maps are named as the kernel shows them; entries are exported by macros that take the context by value and write unsafe blocks of their own"
    )
)]

#[cfg(target_arch = "bpf")]
#[path = "../../add.rs"]
#[allow(dead_code, reason = "the references count frames only")]
mod add;
#[cfg(target_arch = "bpf")]
#[path = "../../frame.rs"]
#[allow(dead_code, reason = "the references need frames of one buffer only")]
mod frame;
#[cfg(target_arch = "bpf")]
mod generator;
#[cfg(target_arch = "bpf")]
mod job;
#[cfg(target_arch = "bpf")]
#[path = "../../maps.rs"]
#[allow(dead_code, reason = "the references count neither what is sent nor for each peer")]
mod maps;
#[cfg(target_arch = "bpf")]
mod mix;
/// Nobody resolves them here, so all are off.
#[cfg(target_arch = "bpf")]
#[path = "../../settings.rs"]
mod settings;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
