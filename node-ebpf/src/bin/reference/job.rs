//! The floor (do nothing), and nodewall's job with another source table: the same parse, port table, verdict and counters, but the groups of a source
//! come from a kernel hash map or LPM trie. They ask it only for ports whose row asks who sent the frame, as anybody would write it. What no
//! measured frame has (fragments, tunnels) is left to its reason alone, without a look at the source.

use core::hint::cold_path;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{HashMap, LpmTrie, lpm_trie::Key},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use node_ebpf_common::{
    Decision, Frame, Reason,
    address::Address,
    counter::{CELLS_PER_ROW, place, portless},
    packet::{PacketKind, common, walk},
    policy::GROUP_SPOOFED,
    rule::GROUP_PEER,
};

use crate::{add::One, frame::Linear, maps};

/// The bench sets the real number when it loads: as many as there are sources.
const ENTRIES: usize = 64;

#[btf_map]
static ref_hash_v4: HashMap<u32, u32, ENTRIES> = HashMap::new();
#[btf_map]
static ref_hash_v6: HashMap<[u64; 2], u32, ENTRIES> = HashMap::new();
#[btf_map]
static ref_lpm_v4: LpmTrie<u32, u32, ENTRIES> = LpmTrie::new();
#[btf_map]
static ref_lpm_v6: LpmTrie<[u64; 2], u32, ENTRIES> = LpmTrie::new();

/// The floor.
#[xdp]
pub fn reference_pass(_context: XdpContext) -> u32 {
    XDP_PASS
}

/// The floor of dropping.
#[xdp]
pub fn reference_drop(_context: XdpContext) -> u32 {
    XDP_DROP
}

/// Sources in hash maps: exact addresses only.
#[xdp]
pub fn reference_hash(context: XdpContext) -> u32 {
    filter(&context, |source| {
        // SAFETY: nobody writes the maps while packets are judged.
        let groups = if source.is_v6 == 0 {
            unsafe { ref_hash_v4.get(source.lo as u32) }
        } else {
            unsafe { ref_hash_v6.get([source.hi, source.lo]) }
        };
        groups.copied().unwrap_or(0)
    })
}

/// Sources in LPM tries: any number of prefix lengths.
#[xdp]
pub fn reference_lpm(context: XdpContext) -> u32 {
    filter(&context, |source| {
        let groups = if source.is_v6 == 0 {
            ref_lpm_v4.get(&Key::new(32, source.lo as u32))
        } else {
            ref_lpm_v6.get(&Key::new(128, [source.hi, source.lo]))
        };
        groups.copied().unwrap_or(0)
    })
}

#[inline(always)]
fn filter(context: &XdpContext, groups_of: impl Fn(Address) -> u32) -> u32 {
    let image = maps::image();
    let frame = Linear::new(context);
    let packet = if let Some(packet) = common(&frame) {
        packet
    } else {
        cold_path();
        walk(&frame.forgotten(image.zero), image.zero)
    };
    let cell = if packet.kind as u32 > PacketKind::Udp as u32 {
        portless(packet.reason.number(), image.denied_from.into())
    } else {
        let number = image.row_of(packet.kind as u32, packet.port_wire);
        let row = image.row(number);
        let groups = if packet.source.is_martian() {
            GROUP_SPOOFED
        } else if row.allow == 0 {
            0
        } else {
            groups_of(packet.source)
        };
        let at = if groups & GROUP_SPOOFED != 0 && !row.is_open() {
            place(Reason::SpoofedSource, image.enforce != 0)
        } else if groups & row.allow & GROUP_PEER != 0 {
            place(Reason::Peer, true)
        } else if groups & row.allow != 0 {
            place(Reason::AllowedSource, true)
        } else {
            u32::from(row.otherwise)
        };
        number * CELLS_PER_ROW + at
    };
    let decision = Decision { cell, source_peer: 0, bytes: packet.bytes };
    if let Some(area) = maps::area() {
        area.count(One, cell, u64::from(packet.bytes));
    }
    XDP_PASS - decision.dropped()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel reads the licence from here: GPL-only helpers are allowed.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
