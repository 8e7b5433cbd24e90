//! What a filtered phase must and must not have delivered, measured by the phase without a filter.

use std::{collections::BTreeSet, fmt};

use etherparse::LaxSlicedPacket;
use node_ebpf_common::{Reason, decide, reason::Verdict};
use nodewall_testbed::Protocol;

use super::{
    phase::{Arrival, Arrived, Phase},
    plan::{Plan, Prepared},
    rig::{OPEN_PORTS, Rig},
    shapes::Public,
};

/// What is lost is asked again this often: two mutations may have met in the node's reassembly, and by chance only once.
const ATTEMPTS: u32 = 3;
/// Findings that are shown in full.
const SHOWN: usize = 8;
/// Drops by design. A mutation that nodewall drops for one of these may be lost; one that it drops for any other reason may not.
const BY_DESIGN: [Reason; 4] =
    [Reason::TooManyVlanTags, Reason::ExtensionChain, Reason::TunnelOutsider, Reason::NoPorts];

/// What was delivered of one row in one phase: of what was sent to closed ports, and to open ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) closed: usize,
    pub(crate) open: usize,
}

/// What a filtered phase came to.
#[derive(Default)]
pub(crate) struct Judgement {
    /// Arrivals at closed ports.
    pub(crate) forbidden: Vec<String>,
    /// What open ports did not get, and should have.
    pub(crate) lost: Vec<String>,
    /// What was dropped by design, by reason.
    pub(crate) by_design: usize,
    /// Shapes that should be dropped by design, and came through.
    pub(crate) undocumented: Vec<String>,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("forbidden", &self.forbidden),
            ("lost", &self.lost),
            ("not dropped, against the design", &self.undocumented),
        ];
        for (kind, findings) in kinds.into_iter().filter(|(_, findings)| !findings.is_empty()) {
            writeln!(f, "{kind}: {}", findings.len())?;
            findings.iter().take(SHOWN).try_for_each(|finding| writeln!(f, "  {finding}"))?;
        }
        Ok(())
    }
}

impl Judgement {
    pub(crate) fn is_clean(&self) -> bool {
        self.forbidden.is_empty() && self.lost.is_empty() && self.undocumented.is_empty()
    }
}

/// Per shape, and last for all mutations: how many were delivered.
pub(crate) fn delivered(plan: &Plan, arrived: &Arrived) -> Vec<Delivered> {
    let mut rows = vec![Delivered::default(); plan.shapes.len() + 1];
    for (id, _, port) in &arrived.tokens {
        let Some(prepared) = plan.prepared.get(*id as usize) else { continue };
        let row = &mut rows[prepared.shape.unwrap_or(plan.shapes.len())];
        if OPEN_PORTS.contains(port) {
            row.open += 1;
        } else {
            row.closed += 1;
        }
    }
    rows
}

/// Judges `with` by `without`, and asks again for what seems lost while the filter is still there.
pub(crate) fn judge(rig: &mut Rig, plan: &Plan, without: &Arrived, with: &Arrived) -> Judgement {
    let mut judgement = Judgement { forbidden: with.nameless.iter().cloned().collect(), ..Judgement::default() };
    let closed: BTreeSet<&Arrival> = with.tokens.iter().filter(|(_, _, port)| !OPEN_PORTS.contains(port)).collect();
    for (id, protocol, port) in closed {
        judgement.forbidden.push(finding(plan, *id, *protocol, *port));
    }
    for arrival in with.tokens.iter().filter(|(_, _, port)| OPEN_PORTS.contains(port)) {
        let prepared = plan.prepared.get(arrival.0 as usize);
        if prepared.is_some_and(|prepared| prepared.public != Public::MustArrive) {
            judgement.undocumented.push(finding(plan, arrival.0, arrival.1, arrival.2));
        }
    }
    let missing: BTreeSet<&Arrival> =
        without.tokens.difference(&with.tokens).filter(|(_, _, port)| OPEN_PORTS.contains(port)).collect();
    for arrival in missing {
        let Some(prepared) = plan.prepared.get(arrival.0 as usize) else { continue };
        if is_by_design(rig, prepared) {
            judgement.by_design += 1;
        } else if !arrives_later(rig, prepared, *arrival) {
            judgement.lost.push(finding(plan, arrival.0, arrival.1, arrival.2));
        }
    }
    judgement
}

fn is_by_design(rig: &Rig, prepared: &Prepared) -> bool {
    match (prepared.public, prepared.shape) {
        (Public::Dropped(_), _) => true,
        (Public::MustArrive, Some(_)) => false,
        (Public::MustArrive, None) => prepared.frames.iter().any(|frame| {
            let dropped = decide(frame.as_slice(), &rig.compiled.image)
                .reason()
                .filter(|reason| reason.verdict() == Verdict::Drop);
            dropped.is_some_and(|reason| BY_DESIGN.contains(&reason) || is_fragment(frame))
        }),
    }
}

/// What the kernel makes of overlapping fragments depends on each of them: without one that is for a closed port, the others may not come together.
fn is_fragment(frame: &[u8]) -> bool {
    let packet = LaxSlicedPacket::from_ethernet(frame);
    packet.is_ok_and(|packet| packet.ip_payload().is_some_and(|payload| payload.fragmented))
}

fn arrives_later(rig: &mut Rig, prepared: &Prepared, arrival: Arrival) -> bool {
    let mut phase = Phase::new(rig);
    (0..ATTEMPTS).any(|_| phase.again(prepared).contains(&arrival))
}

fn finding(plan: &Plan, id: u32, protocol: Protocol, port: u16) -> String {
    let Some(prepared) = plan.prepared.get(id as usize) else { return format!("{protocol}/{port}: unknown id {id}") };
    let hex = |frame: &Vec<u8>| frame.iter().take(200).map(|byte| format!("{byte:02x}")).collect::<String>();
    let frames: Vec<String> =
        prepared.frames.iter().take(4).map(|frame| format!("{} bytes {}", frame.len(), hex(frame))).collect();
    format!("{}, at the socket of {protocol}/{port}:\n    {}", prepared.title(&plan.shapes), frames.join("\n    "))
}
