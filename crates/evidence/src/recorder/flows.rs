//! What sweeps bring, gathered into records: a flow is written when it is first seen, then each time its age has doubled, at the latest
//! once a minute while it goes on, then when it has gone quiet. Bounded, and what has no room is counted. It must not read a clock or the kernel.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use node_ebpf_common::{
    flow::{self, FlowEntry},
    maps::RowRecord,
    packet::PacketKind,
};

use super::in_force::RawCapture;
use crate::record::{Capture, Flow, FlowKey, Loss, LossKind, Outcome};
use nodewall_host::state::Clock;
use nodewall_policy::class_name;

const SECOND_NS: u64 = 1_000_000_000;
/// How long a flow that goes on waits to be written, at most.
pub(super) const WRITE_EVERY_NS: u64 = 60 * SECOND_NS;
/// After how long a flow is over.
const OVER_AFTER_NS: u64 = 10 * SECOND_NS;
/// Flows that are gathered at a time.
const MAX_FLOWS: usize = 4_096;
/// New flows in a second, in the long run: a flood of made-up sources must not wash the store out.
const NEW_PER_SECOND: u64 = 100;

/// What turns the kernel's numbers into names.
#[derive(Debug, Default)]
pub(super) struct Names {
    rows: Vec<RowRecord>,
    interfaces: HashMap<u32, String>,
}

impl Names {
    /// Those of the rows; interfaces are asked for when they are met.
    pub(super) fn new(rows: Vec<RowRecord>) -> Self {
        Self { rows, interfaces: HashMap::new() }
    }

    fn interface(&mut self, index: u32) -> String {
        if let Some(name) = self.interfaces.get(&index) {
            return name.clone();
        }
        match interface_name(index) {
            Some(name) => {
                self.interfaces.insert(index, name.clone());
                name
            }
            // Not remembered: it may come.
            None => index.to_string(),
        }
    }

    /// Interfaces may have got other names.
    pub(super) fn forget_interfaces(&mut self) {
        self.interfaces.clear();
    }

    fn key(&mut self, entry: &FlowEntry) -> Option<(FlowKey, Option<String>)> {
        let key = &entry.key;
        let row = self.rows.get(key.row() as usize).filter(|row| row.protocol != 0);
        let kind = key.kind(row.map(|row| row.protocol))?;
        let protocol = match kind {
            PacketKind::Tcp => "tcp",
            PacketKind::Udp => "udp",
            PacketKind::Tunnel => "tunnel",
            PacketKind::LaterFragment => "fragment",
            PacketKind::Portless => "other",
            PacketKind::Settled => "none",
        };
        let port = matches!(kind, PacketKind::Tcp | PacketKind::Udp).then(|| key.port());
        let class = port.and(row).map(class_name);
        let source = (kind != PacketKind::Settled).then(|| source(key));
        let outcome = if key.dropped() { Outcome::Drop } else { Outcome::WouldDrop };
        let interface = self.interface(entry.first.interface());
        Some((FlowKey { source, protocol, port, reason: key.reason()?, outcome, interface }, class))
    }

    /// A capture; `boot_offset_ns` is the wall clock's lead over the boot clock.
    pub(super) fn capture(&mut self, captured: RawCapture, boot_offset_ns: i64) -> Option<Capture> {
        let (key, class) = self.key(&captured.entry)?;
        Some(Capture {
            key,
            class,
            mac: captured.entry.first.mac(),
            generation: captured.entry.first.generation().into(),
            unix_ns: captured.entry.first.boot_ns.saturating_add_signed(boot_offset_ns),
            boot_ns: captured.entry.first.boot_ns,
            cpu: captured.cpu,
            original_bytes: captured.entry.first.frame_bytes(),
            frame: captured.frame,
        })
    }
}

fn source(key: &flow::FlowKey) -> IpAddr {
    let bytes = key.source_be();
    if key.is_v6() {
        return Ipv6Addr::from(bytes).into();
    }
    let [a, b, c, d, ..] = bytes;
    Ipv4Addr::new(a, b, c, d).into()
}

fn interface_name(index: u32) -> Option<String> {
    use rustix::net::{AddressFamily, SocketType, netdevice::index_to_name, socket};
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    index_to_name(&socket, index).ok()
}

/// A flow that goes on. Its record's span is what is not written yet. The rest is time since boot: a clock that is set makes nothing old, and nothing wait.
#[derive(Debug)]
struct Open {
    record: Flow,
    began_ns: u64,
    written_ns: u64,
    seen_ns: u64,
}

/// The flows that go on.
#[derive(Debug, Default)]
pub(super) struct Flows {
    open: HashMap<(u64, u64, u64, u32), Open>,
    /// New flows that may still be written, in parts of a second.
    tokens_ns: u64,
    refilled_ns: u64,
}

impl Flows {
    /// Takes a sweep's entries, which lie between `since_ns` (Unix) and `now`. What has no room is added to `losses`.
    pub(super) fn take(
        &mut self,
        entries: &[FlowEntry],
        names: &mut Names,
        since_ns: u64,
        now: &Clock,
        losses: &mut Losses,
    ) {
        let (now_ns, boot_ns) = (now.unix_ns, now.boot_ns);
        self.refill(boot_ns);
        if self.open.len() >= MAX_FLOWS {
            // What a flood of made-up sources leaves, a frame each: once written, it makes room for who comes next.
            self.open.retain(|_, open| open.record.packets > 0);
        }
        for entry in entries {
            let id = (entry.key.hi, entry.key.lo, entry.key.word, entry.first.interface());
            if let Some(open) = self.open.get_mut(&id) {
                if open.record.packets == 0 {
                    open.record.first_unix_ns = since_ns;
                    open.record.generation = entry.first.generation().into();
                    open.record.mac = entry.first.mac();
                }
                open.record.packets += entry.sums.packets;
                open.record.bytes += entry.sums.bytes;
                open.record.first_unix_ns = open.record.first_unix_ns.min(now_ns);
                open.record.last_unix_ns = now_ns;
                open.seen_ns = boot_ns;
                continue;
            }
            let key = if self.open.len() < MAX_FLOWS && self.tokens_ns >= SECOND_NS { names.key(entry) } else { None };
            let Some((key, class)) = key else {
                losses.add(LossKind::NotKept, entry.sums.packets, entry.sums.bytes, since_ns, now_ns);
                continue;
            };
            self.tokens_ns -= SECOND_NS;
            let record = Flow {
                key,
                class,
                mac: entry.first.mac(),
                generation: entry.first.generation().into(),
                first_unix_ns: since_ns,
                last_unix_ns: now_ns,
                packets: entry.sums.packets,
                bytes: entry.sums.bytes,
            };
            self.open.insert(id, Open { record, began_ns: boot_ns, written_ns: 0, seen_ns: boot_ns });
        }
    }

    fn refill(&mut self, now_ns: u64) {
        let full = MAX_FLOWS as u64 * SECOND_NS;
        let per_second = if self.refilled_ns == 0 { full } else { NEW_PER_SECOND };
        let earned = now_ns.saturating_sub(self.refilled_ns).saturating_mul(per_second);
        self.tokens_ns = self.tokens_ns.saturating_add(earned).min(full);
        self.refilled_ns = now_ns;
    }

    /// What is to be written now, in time since boot; all of it at the end.
    pub(super) fn due(&mut self, now_ns: u64, all: bool) -> Vec<Flow> {
        let mut due = Vec::new();
        self.open.retain(|_, open| {
            let is_over = now_ns.saturating_sub(open.seen_ns) >= OVER_AFTER_NS;
            // A young flow soon: somebody may be watching. An old one seldom: the store is not to be filled by it.
            let wait_ns = open.written_ns.saturating_sub(open.began_ns).clamp(SECOND_NS, WRITE_EVERY_NS);
            let is_due = all || is_over || now_ns.saturating_sub(open.written_ns) >= wait_ns;
            if is_due && open.record.packets > 0 {
                due.push(open.record.clone());
                (open.record.packets, open.record.bytes) = (0, 0);
                open.written_ns = now_ns;
            }
            !is_over
        });
        if self.open.is_empty() {
            // After a flood: its memory back.
            self.open.shrink_to_fit();
        }
        due
    }

    /// Packets and bytes that wait to be written.
    pub(super) fn waiting(&self) -> [u64; 2] {
        self.open
            .values()
            .fold([0; 2], |[packets, bytes], open| [packets + open.record.packets, bytes + open.record.bytes])
    }
}

/// What is missing, until it is written.
#[derive(Debug, Default)]
pub(super) struct Losses(Vec<Loss>);

impl Losses {
    /// Adds to a kind.
    pub(super) fn add(&mut self, kind: LossKind, packets: u64, bytes: u64, first_unix_ns: u64, last_unix_ns: u64) {
        if packets == 0 {
            return;
        }
        if let Some(loss) = self.0.iter_mut().find(|loss| loss.kind == kind) {
            loss.packets += packets;
            loss.bytes += bytes;
            loss.first_unix_ns = loss.first_unix_ns.min(first_unix_ns);
            loss.last_unix_ns = loss.last_unix_ns.max(last_unix_ns);
        } else {
            self.0.push(Loss { kind, first_unix_ns, last_unix_ns, packets, bytes });
        }
    }

    /// What is to be written.
    pub(super) fn take(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.0)
    }

    /// Packets and bytes of denied frames in it.
    pub(super) fn denied(&self) -> [u64; 2] {
        let denied = self.0.iter().filter(|loss| !loss.kind.is_of_captures());
        denied.fold([0; 2], |[packets, bytes], loss| [packets + loss.packets, bytes + loss.bytes])
    }
}

#[cfg(test)]
mod tests {
    use node_ebpf_common::{
        Reason,
        counter::{CELLS_PER_ROW, Counter, ROW_TCP_UNMANAGED, place},
    };

    use super::*;

    /// A blocked source's, on the row of unnamed TCP ports.
    fn entry(n: u64) -> FlowEntry {
        let cell = u64::from(ROW_TCP_UNMANAGED * CELLS_PER_ROW + place(Reason::BlockedSource, true));
        let key = flow::FlowKey { word: cell << 49 | n, ..flow::FlowKey::default() };
        FlowEntry { key, sums: Counter { packets: 1, bytes: 60 }, ..FlowEntry::default() }
    }

    fn at(ns: u64) -> Clock {
        Clock { boot_id: String::new(), boot_ns: ns, unix_ns: ns }
    }

    #[test]
    fn a_flood_leaves_room_for_who_comes_next() {
        let begin_ns = 1_795_363_200 * SECOND_NS;
        let (mut flows, mut names, mut losses) = (Flows::default(), Names::default(), Losses::default());
        let flood: Vec<FlowEntry> = (0..5_000).map(entry).collect();
        flows.take(&flood, &mut names, begin_ns - SECOND_NS, &at(begin_ns), &mut losses);
        assert_eq!(flows.due(begin_ns, false).len(), MAX_FLOWS);
        assert_eq!(losses.denied(), [904, 904 * 60]);
        // A second later: one of them goes on, and somebody new comes.
        let now_ns = begin_ns + SECOND_NS;
        flows.take(&[entry(3), entry(9_999)], &mut names, begin_ns, &at(now_ns), &mut losses);
        let due = flows.due(now_ns, false);
        assert_eq!((due.len(), losses.denied()), (2, [904, 904 * 60]));
        // Those that have something to be written stay.
        flows.take(&flood[..500], &mut names, now_ns, &at(now_ns + SECOND_NS), &mut losses);
        assert_eq!(flows.waiting()[0] + losses.denied()[0] - 904, 500);
    }

    #[test]
    fn a_flow_is_written_when_its_age_has_doubled_and_each_minute() {
        let begin_ns = 1_795_363_200 * SECOND_NS;
        let (mut flows, mut names, mut losses) = (Flows::default(), Names::default(), Losses::default());
        let mut written = Vec::new();
        let mut packets = 0;
        for second in 0..=200 {
            let now_ns = begin_ns + second * SECOND_NS;
            flows.take(&[entry(1)], &mut names, now_ns - SECOND_NS, &at(now_ns), &mut losses);
            let due = flows.due(now_ns, false);
            packets += due.iter().map(|flow| flow.packets).sum::<u64>();
            if !due.is_empty() {
                written.push(second);
            }
        }
        assert_eq!(written, [0, 1, 2, 4, 8, 16, 32, 64, 124, 184]);
        assert_eq!((packets, flows.waiting()), (185, [16, 16 * 60]));
        assert!(flows.due(begin_ns + 209 * SECOND_NS, false).is_empty(), "it may go on");
        let last = flows.due(begin_ns + 210 * SECOND_NS, false);
        assert_eq!(last.iter().map(|flow| flow.packets).collect::<Vec<_>>(), [16], "it has gone quiet");
        assert_eq!(losses.denied(), [0; 2]);
    }
}
