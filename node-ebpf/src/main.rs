//! The kernel-side program: read the policy in force, decide, count, act. The entries only; it must not read packet memory itself
//! (`frame`) nor know what a header means (`node_ebpf_common`).
//!
//! On hosts that are not the BPF target this crate is an empty binary, so that the whole workspace builds and lints everywhere.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        unreachable_pub,
        clippy::inline_always,
        clippy::needless_pass_by_value,
        clippy::undocumented_unsafe_blocks,
        reason = "entries are exported by macros that take the context by value and write unsafe blocks of their own; a call \
                  costs more than the whole lookup"
    )
)]

#[cfg(target_arch = "bpf")]
mod act;
#[cfg(target_arch = "bpf")]
mod add;
#[cfg(target_arch = "bpf")]
mod arrival;
#[cfg(target_arch = "bpf")]
mod egress;
#[cfg(target_arch = "bpf")]
mod entry;
#[cfg(target_arch = "bpf")]
mod evidence;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod ingress;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod settings;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
