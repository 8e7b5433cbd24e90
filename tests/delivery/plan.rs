//! What is sent: each shape's variants to closed and open ports by both protocols, then random mutations of them. Made once, sent in every phase.

use nodewall_testbed::Protocol;

use super::{
    ask::Ask,
    mutate::{Dice, mutate},
    rig::{OPEN_PORTS, Rig},
    shapes::{Public, Shape, Via, all},
};

/// Closed ports that each variant is sent to: one with a socket for both families, one with a socket each.
const CLOSED_PORTS_EACH: usize = 2;
/// Mutations of frames longer than this are rare: they cost time and teach little.
const LONG_BYTES: usize = 1200;

/// Each has a source port and an IPv4 identification of its own: two with the same one would meet in the node's reassembly.
const MOST_ASKS: usize = 64_000;

/// Frames with one token.
pub(crate) struct Prepared {
    pub(crate) ask: Ask,
    /// The row of the table; `None` for a mutation.
    pub(crate) shape: Option<usize>,
    pub(crate) label: String,
    pub(crate) public: Public,
    pub(crate) via: Via,
    pub(crate) frames: Vec<Vec<u8>>,
}

impl Prepared {
    /// For people.
    pub(crate) fn title(&self, shapes: &[Shape]) -> String {
        let shape = self.shape.and_then(|n| shapes.get(n)).map_or("mutation of", |shape| shape.name);
        format!("{shape} [{}] {}/{} (id {})", self.label, self.ask.protocol, self.ask.port, self.ask.id)
    }
}

/// All that is sent, by token.
pub(crate) struct Plan {
    pub(crate) shapes: Vec<Shape>,
    pub(crate) prepared: Vec<Prepared>,
}

impl Plan {
    pub(crate) fn new(rig: &Rig, mutations: usize, seed: u64) -> Self {
        let mut plan = Self { shapes: all(&rig.devices), prepared: Vec::new() };
        plan.add_shapes(rig);
        plan.add_mutations(rig, mutations, seed);
        let count = plan.prepared.len();
        assert!(
            count <= MOST_ASKS,
            "{count} asks, {MOST_ASKS} can be told apart: lower NODEWALL_FRAMES and use more seeds"
        );
        plan
    }

    fn add_shapes(&mut self, rig: &Rig) {
        let mut turn = 0;
        for (number, shape) in self.shapes.iter().enumerate().filter(|(_, shape)| shape.skipped.is_none()) {
            for variant in &shape.variants {
                for protocol in Protocol::ALL {
                    let closed = (0..CLOSED_PORTS_EACH).map(|n| rig.closed_ports[(turn + n) % rig.closed_ports.len()]);
                    for port in closed.chain(OPEN_PORTS) {
                        let ask =
                            Ask { id: self.prepared.len() as u32, protocol, port, mtu: rig.mtu, unchecked: false };
                        self.prepared.push(Prepared {
                            frames: variant.frames(&ask),
                            ask,
                            shape: Some(number),
                            label: variant.label.clone(),
                            public: shape.public,
                            via: shape.via,
                        });
                    }
                    turn += CLOSED_PORTS_EACH;
                }
            }
        }
    }

    fn add_mutations(&mut self, rig: &Rig, mutations: usize, seed: u64) {
        let mut dice = Dice::new(seed);
        let ports: Vec<u16> = rig.closed_ports.iter().chain(&OPEN_PORTS).copied().collect();
        let usable: Vec<&Shape> = self.shapes.iter().filter(|shape| shape.skipped.is_none()).collect();
        let mut sent = 0;
        while sent < mutations {
            let shape = usable[dice.below(usable.len())];
            let variant = &shape.variants[dice.below(shape.variants.len())];
            // UDP far more often: its checksum may be left out, so that more of the mutations are delivered.
            let protocol = if dice.below(5) == 0 { Protocol::Tcp } else { Protocol::Udp };
            let port = if dice.below(3) == 0 { dice.pick(&OPEN_PORTS) } else { dice.pick(&rig.closed_ports) };
            let ask = Ask { id: self.prepared.len() as u32, protocol, port, mtu: rig.mtu, unchecked: true };
            let mut frames = variant.frames(&ask);
            let long = frames.iter().map(Vec::len).sum::<usize>() > LONG_BYTES;
            if frames.is_empty() || long && dice.below(50) != 0 {
                continue;
            }
            mutate(&mut frames, &ports, &mut dice);
            sent += frames.len().max(1);
            self.prepared.push(Prepared {
                ask,
                shape: None,
                label: format!("{}, {}", shape.name, variant.label),
                public: Public::MustArrive,
                via: shape.via,
                frames,
            });
        }
    }
}
