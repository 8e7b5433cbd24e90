//! One phase: everything in the plan is sent once, and what reached a socket is noted. Batches end with sentinels, plain datagrams on the same way, so that
//! nothing is waited for by the clock and no queue overflows.

use std::{
    collections::{BTreeSet, HashSet},
    time::Instant,
};

use nodewall_testbed::{Family, PATIENCE, Protocol, RawSender};

use super::{
    ask::{Ask, token_in},
    plan::{Plan, Prepared},
    rig::{OPEN_PORTS, Rig},
    shapes::Via,
};

/// Fewer than any queue on the way holds (veth's ring: 256).
const BATCH_FRAMES: usize = 64;
/// Tokens of sentinels begin here.
const SENTINELS_FROM: u32 = 0xf000_0000;

/// A token that reached a port's socket.
pub(crate) type Arrival = (u32, Protocol, u16);

/// What reached sockets in one phase.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) tokens: HashSet<Arrival>,
    /// What reached a closed port without a token, for people.
    pub(crate) nameless: BTreeSet<String>,
    pub(crate) frames_on_wire: u64,
    /// The bridge may refuse some of them.
    pub(crate) frames_over_bridge: u64,
    /// Frames that the sender's kernel refused.
    pub(crate) frames_refused: u64,
}

/// Sends and catches.
pub(crate) struct Phase<'r> {
    rig: &'r mut Rig,
    pub(crate) arrived: Arrived,
    next_sentinel: u32,
}

impl<'r> Phase<'r> {
    pub(crate) fn new(rig: &'r mut Rig) -> Self {
        Self { rig, arrived: Arrived::default(), next_sentinel: SENTINELS_FROM }
    }

    /// Sends the whole plan.
    pub(crate) fn run(rig: &'r mut Rig, plan: &Plan) -> Arrived {
        let mut phase = Self::new(rig);
        let mut batch = 0;
        let mut ways = Vec::new();
        for prepared in &plan.prepared {
            phase.send(prepared);
            if !ways.contains(&prepared.via) {
                ways.push(prepared.via);
            }
            batch += prepared.frames.len();
            if batch >= BATCH_FRAMES {
                phase.settle(&ways);
                batch = 0;
                ways.clear();
            }
        }
        phase.settle(&[Via::Wire, Via::Bridge]);
        phase.note_half_open(plan);
        phase.arrived
    }

    /// Sends some of it alone, and says what has arrived so far.
    pub(crate) fn again(&mut self, prepared: &Prepared) -> &HashSet<Arrival> {
        self.send(prepared);
        self.settle(&[prepared.via]);
        &self.arrived.tokens
    }

    fn sender(&self, via: Via) -> &RawSender {
        match via {
            Via::Wire => &self.rig.wire,
            Via::Bridge => &self.rig.bridge,
        }
    }

    fn send(&mut self, prepared: &Prepared) {
        for frame in &prepared.frames {
            match self.sender(prepared.via).send(frame) {
                Ok(()) => self.sent(prepared.via),
                // Mutations may be too short or too long for the wire; shapes never.
                Err(error) if prepared.shape.is_none() => {
                    assert!(error.raw_os_error().is_some(), "{error}");
                    self.arrived.frames_refused += 1;
                }
                Err(error) => panic!("{} of {} bytes: {error}", prepared.label, frame.len()),
            }
        }
    }

    fn sent(&mut self, via: Via) {
        match via {
            Via::Wire => self.arrived.frames_on_wire += 1,
            Via::Bridge => self.arrived.frames_over_bridge += 1,
        }
    }

    /// A SYN without data reaches no socket's owner, but it leaves a trace: the source port is the token.
    fn note_half_open(&mut self, plan: &Plan) {
        for (port, remote) in self.rig.half_open() {
            let id = Ask::id_from(remote);
            let asked = plan.prepared.get(id as usize);
            if asked.is_some_and(|p| p.shape.is_some() && p.ask.protocol == Protocol::Tcp && p.ask.port == port) {
                self.arrived.tokens.insert((id, Protocol::Tcp, port));
            } else if self.rig.closed_ports.contains(&port) {
                self.arrived.nameless.insert(format!("tcp/{port}: a SYN from port {remote}"));
            }
        }
    }

    /// Returns when everything sent so far has been dealt with.
    fn settle(&mut self, ways: &[Via]) {
        let mut awaited = HashSet::new();
        for way in ways {
            let id = self.next_sentinel;
            self.next_sentinel += 1;
            let ask = Ask { id, protocol: Protocol::Udp, port: OPEN_PORTS[1], mtu: self.rig.mtu, unchecked: false };
            self.sender(*way).send(&ask.frame(Family::V4)).unwrap();
            self.sent(*way);
            awaited.insert(id);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.drain(&mut awaited);
            if awaited.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "a plain datagram to port {} did not arrive: the node is deaf",
                OPEN_PORTS[1]
            );
        }
    }

    fn drain(&mut self, awaited: &mut HashSet<u32>) {
        let Self { rig, arrived, .. } = self;
        let closed = &rig.closed_ports;
        rig.catcher
            .drain(|caught| match token_in(caught.bytes) {
                Some(id) if id >= SENTINELS_FROM => drop(awaited.remove(&id)),
                Some(id) => drop(arrived.tokens.insert((id, caught.protocol, caught.port))),
                None if closed.contains(&caught.port) => {
                    let (what, from) = (caught.bytes, caught.from);
                    arrived.nameless.insert(format!("{}/{} from {from}: {what:02x?}", caught.protocol, caught.port));
                }
                None => {}
            })
            .unwrap();
    }
}
