//! One frame put to every implementation: the model, `decide` in this process, and the kernel program for one buffer and for many. Says what each
//! answered; must not say which is right.

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    answer::{Answer, To},
    judge,
    policies::{Case, IF_INDEX},
};
use node_ebpf_common::{
    Decision, PolicyImage, Shape, counter::Outcome, counter::ROW_IP_TUNNELS, counter::ROW_LATER_FRAGMENTS,
    counter::ROW_TCP_UNMANAGED, counter::ROW_UDP_UNMANAGED, decide, frame::Received,
};
use nodewall_datapath::{Buffers, KernelEngine};
use nodewall_policy::{class_name, config::Protocol};

/// What a program for single buffers is given in a test run at most.
const LINEAR_MAX_BYTES: usize = 3_200;

/// The two kernel programs.
pub struct Kernel {
    linear: KernelEngine,
    frags: KernelEngine,
}

impl Kernel {
    pub fn new(image: &PolicyImage) -> Self {
        // What an interface asks of peers is data: a policy without it is judged alike.
        let shape = Shape { interface_rules: true, ..Shape::ANSWERS };
        let load = |buffers| KernelEngine::new(image, shape, Some(buffers)).unwrap();
        Self { linear: load(Buffers::Linear), frags: load(Buffers::Frags) }
    }

    pub fn swap(&mut self, image: &PolicyImage) {
        self.linear.swap(image).unwrap();
        self.frags.swap(image).unwrap();
    }
}

/// What an implementation answered; `Err` is what it said instead of an answer.
type EngineAnswer = Result<Answer, String>;

/// What everybody answered.
pub struct Answers {
    pub model: Answer,
    others: Vec<(&'static str, EngineAnswer)>,
}

impl Answers {
    /// Whether all agree with the model.
    pub fn agree(&self) -> bool {
        self.others.iter().all(|(_, heard)| heard.as_ref().is_ok_and(|answer| answer.agrees(&self.model)))
    }

    /// A line for each, for people.
    pub fn table(&self) -> String {
        let mut table = format!("  model: {}\n", self.model);
        for (name, heard) in &self.others {
            let _ = match heard {
                Ok(answer) => writeln!(table, "  {name}: {answer}"),
                Err(trouble) => writeln!(table, "  {name}: {trouble}"),
            };
        }
        table
    }
}

/// Asks everybody about a frame.
pub fn ask(frame: &[u8], case: &Case, kernel: Option<&mut Kernel>) -> Answers {
    let model = judge(frame, case);
    let mut others = vec![("host", host(frame, case))];
    if let Some(kernel) = kernel {
        if frame.len() <= LINEAR_MAX_BYTES {
            others.push(("kernel, one buffer", in_kernel(&mut kernel.linear, frame, case)));
        }
        others.push(("kernel, many buffers", in_kernel(&mut kernel.frags, frame, case)));
    }
    Answers { model, others }
}

fn host(frame: &[u8], case: &Case) -> EngineAnswer {
    // A panic is an answer, too: a wrong one that can be minimised.
    let decided =
        catch_unwind(AssertUnwindSafe(|| decide(&Received { frame, if_index: IF_INDEX }, &case.compiled.image)));
    let decision = decided.map_err(|_| "panicked".to_owned())?;
    let answer = understood(&decision, frame, case)?;
    Ok(answer.counting(decision.bytes as usize))
}

fn in_kernel(engine: &mut KernelEngine, frame: &[u8], case: &Case) -> EngineAnswer {
    let decision = engine.decide(frame).map_err(|error| error.to_string())?;
    understood(&decision, frame, case)
}

/// A decision in the words of an [`Answer`]: rows become ports and classes by the rows' records, numbers become peers.
fn understood(decision: &Decision, frame: &[u8], case: &Case) -> EngineAnswer {
    let reason = decision.reason().ok_or(format!("no reason has the cell {}", decision.cell))?;
    let outcome = decision.outcome().ok_or("no outcome")?;
    let verdict = decision.verdict();
    if decision.dropped() != u32::from(outcome == Outcome::Drop) {
        return Err(format!("{decision:?} is counted as {} and not so treated", outcome.name()));
    }
    let mut answer = Answer { verdict, reason, outcome, class: None, to: None, peer: None, bytes: None };
    match decision.row() {
        0 => {}
        ROW_IP_TUNNELS => {
            answer.to = Some(To::Tunnel);
            answer.class = Some("tunnel".to_owned());
        }
        ROW_LATER_FRAGMENTS => {
            answer.to = Some(To::LaterFragment);
            answer.class = Some("fragment".to_owned());
        }
        ROW_TCP_UNMANAGED => answer.to = Some(unnamed_port(Protocol::Tcp, frame, case)),
        ROW_UDP_UNMANAGED => answer.to = Some(unnamed_port(Protocol::Udp, frame, case)),
        row => {
            let record = case.compiled.rows.records()[row as usize];
            let protocol = if record.protocol == 6 { Protocol::Tcp } else { Protocol::Udp };
            answer.class = Some(class_name(&record));
            // A row of one port says which; of a range only that the port is in it, so then the model's word is checked against the range.
            let port = match judge(frame, case).to {
                Some(To::Port(_, port)) if (record.first_port..=record.last_port).contains(&port) => port,
                _ => record.first_port,
            };
            answer.to = Some(To::Port(protocol, port));
        }
    }
    if decision.peer() != 0 {
        let peers = &case.meaning.peers;
        answer.peer = Some(*peers.get(decision.peer() as usize - 1).ok_or(format!("no peer {}", decision.peer()))?);
    }
    Ok(answer)
}

/// The row of unnamed ports does not say which port: the model's word is taken for the number, not for the protocol.
fn unnamed_port(protocol: Protocol, frame: &[u8], case: &Case) -> To {
    match judge(frame, case).to {
        Some(To::Port(_, port)) => To::Port(protocol, port),
        _ => To::Port(protocol, 0),
    }
}
