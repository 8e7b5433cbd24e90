//! A flood, for live frames of a test run: every run makes its frame (a TCP SYN over IPv4 in Ethernet) come from another source and port, keeps both
//! checksums right, and sends it out of the interface that the test run names. It can wait between frames, so that a receiver keeps up. And the least
//! that any filter does with such a frame.

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_TX},
    btf_maps::Array,
    helpers::generated::bpf_ktime_get_ns,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

/// State of the generator; the bench sets all of it before a flood.
#[derive(Clone, Copy)]
#[repr(C)]
struct State {
    random: u64,
    /// Time from one frame to the next, ns; 0: none is waited for.
    interval_ns: u64,
    /// When the next frame is due, on the kernel's monotonic clock, ns.
    due_ns: u64,
    /// Sums (RFC 1071, over the wire's words read little-endian) of what both checksums cover and no frame changes.
    ip_sum: u64,
    tcp_sum: u64,
}

/// A generator that was held up makes up for at most this many frames at once, so that it does not overrun the receiver's ring.
const CATCH_UP_FRAMES: u64 = 16;
/// Looks at the clock while waiting for one frame, at most.
const LOOKS: u32 = 512;
/// Sources are in 11.0.0.0/8, where no peer of the bench is.
const FIRST_BYTE: u32 = 11;
/// Offsets in the frame.
const IP_CHECKSUM: usize = 14 + 10;
const SOURCE: usize = 14 + 12;
const SOURCE_PORT: usize = 14 + 20;
const TCP_CHECKSUM: usize = 14 + 20 + 16;

#[btf_map]
static gen_state: Array<State, 1> = Array::new();

#[xdp]
pub fn generator(context: XdpContext) -> u32 {
    let Some(state) = gen_state.get_ptr_mut(0) else { return XDP_ABORTED };
    // SAFETY: the map's one value; only one CPU generates.
    let state = unsafe { &mut *state };
    let start = context.data();
    if start + TCP_CHECKSUM + 2 > context.data_end() {
        return XDP_ABORTED;
    }
    wait(state);
    let random = next(&mut state.random);
    let source = FIRST_BYTE | (random as u32) << 8;
    // Port 0 is nobody's.
    let port = (random >> 32) as u16 | 1;
    let address = u64::from(source & 0xffff) + u64::from(source >> 16);
    // SAFETY: all four lie before the end that was checked above, which the verifier repeats.
    unsafe {
        core::ptr::write_unaligned((start + IP_CHECKSUM) as *mut u16, checksum(state.ip_sum + address));
        core::ptr::write_unaligned((start + SOURCE) as *mut u32, source);
        core::ptr::write_unaligned((start + SOURCE_PORT) as *mut u16, port);
        let tcp = checksum(state.tcp_sum + address + u64::from(port));
        core::ptr::write_unaligned((start + TCP_CHECKSUM) as *mut u16, tcp);
    }
    XDP_TX
}

/// Drops everything, but looks at the frame before: what every filter must fetch from the other CPU's cache, and a bare drop need not.
#[xdp]
pub fn reference_read(context: XdpContext) -> u32 {
    let start = context.data();
    if start + SOURCE + size_of::<u32>() > context.data_end() {
        return XDP_DROP;
    }
    // SAFETY: it lies before the end that was checked above, which the verifier repeats.
    let source = unsafe { core::ptr::read_unaligned((start + SOURCE) as *const u32) };
    // No frame comes from there; the compiler can not know.
    if source == 0 { XDP_ABORTED } else { XDP_DROP }
}

#[inline(always)]
fn wait(state: &mut State) {
    if state.interval_ns == 0 {
        return;
    }
    // SAFETY: the helper takes nothing and can not fail.
    let clock = || unsafe { bpf_ktime_get_ns() };
    let mut now_ns = clock();
    for _ in 0..LOOKS {
        if now_ns >= state.due_ns {
            break;
        }
        now_ns = clock();
    }
    let earliest_ns = now_ns.saturating_sub(CATCH_UP_FRAMES * state.interval_ns);
    state.due_ns = state.due_ns.max(earliest_ns) + state.interval_ns;
}

/// splitmix64, as in the bench itself.
#[inline(always)]
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[inline(always)]
fn checksum(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
