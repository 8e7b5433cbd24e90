//! Records -> lines of JSON in the Elastic Common Schema, one record a line. Each line stands by itself: who saw it, which record it is, and that its source is
//! only what a frame said. It must not send anything.
//!
//! Source of the fields: the ECS reference, version 8.17. What ECS has no field for is below `nodewall`.

use serde_json::{Map, Value, json};

use super::{
    node::Node,
    record::{Batch, Capture, Event, EventKind, Flow, FlowKey, Loss, Outcome},
    when::Zone,
};
use nodewall_text::{hex, safe_json};

/// The version of the schema that lines keep to.
pub const ECS_VERSION: &str = "8.17.0";

/// Makes lines of one node's records.
#[derive(Clone, Debug)]
pub struct Lines {
    node: Node,
    /// What all lines have in common.
    common: Map<String, Value>,
}

impl Lines {
    /// For records of this node.
    pub fn new(node: Node) -> Self {
        let common = json!({
            "ecs": { "version": ECS_VERSION },
            "observer": {
                "name": node.name,
                "vendor": "nodewall",
                "product": "nodewall",
                "type": "firewall",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "host": { "name": node.name, "id": node.id },
        });
        let common = if let Value::Object(common) = common { common } else { Map::new() };
        Self { node, common }
    }

    /// Every record of a batch, each with its stable id: the same whether it is sent at once or exported a year later.
    pub fn of_batch(&self, seq: u64, batch: &Batch) -> Vec<String> {
        let numbered = (0..).zip(&batch.flows).map(|(n, flow)| self.flow(seq, n, flow));
        let numbered = numbered.chain((0..).zip(&batch.captures).map(|(n, capture)| self.capture(seq, n, capture)));
        let numbered = numbered.chain((0..).zip(&batch.losses).map(|(n, loss)| self.loss(seq, n, loss)));
        numbered.chain((0..).zip(&batch.events).map(|(n, event)| self.event(seq, n, event))).collect()
    }

    /// A denied flow; `n` is its place among the flows of its batch.
    pub fn flow(&self, seq: u64, n: u64, flow: &Flow) -> String {
        let mut line = self.line(seq, 'f', n, "flow", flow.last_unix_ns);
        denied(&mut line, &flow.key, flow.class.as_deref(), flow.mac, flow.generation);
        span(&mut line, flow.first_unix_ns, flow.last_unix_ns);
        put(&mut line, &["source", "packets"], flow.packets);
        put(&mut line, &["source", "bytes"], flow.bytes);
        put(&mut line, &["network", "packets"], flow.packets);
        put(&mut line, &["network", "bytes"], flow.bytes);
        put(&mut line, &["event", "duration"], flow.last_unix_ns.saturating_sub(flow.first_unix_ns));
        safe_json(Value::Object(line).to_string())
    }

    /// A captured frame; it is in its flow's packets too, so it has no count.
    pub fn capture(&self, seq: u64, n: u64, capture: &Capture) -> String {
        let mut line = self.line(seq, 'c', n, "capture", capture.unix_ns);
        denied(&mut line, &capture.key, capture.class.as_deref(), capture.mac, capture.generation);
        span(&mut line, capture.unix_ns, capture.unix_ns);
        put(&mut line, &["nodewall", "frame"], hex(&capture.frame));
        put(&mut line, &["nodewall", "frame_bytes"], capture.original_bytes);
        put(&mut line, &["nodewall", "cpu"], capture.cpu);
        safe_json(Value::Object(line).to_string())
    }

    /// What is missing.
    pub fn loss(&self, seq: u64, n: u64, loss: &Loss) -> String {
        let mut line = self.line(seq, 'l', n, "loss", loss.last_unix_ns);
        categorize(&mut line, "metric", "network", &["info"], "evidence_lost");
        span(&mut line, loss.first_unix_ns, loss.last_unix_ns);
        put(&mut line, &["nodewall", "loss"], loss.kind.name());
        put(&mut line, &["nodewall", "lost", "packets"], loss.packets);
        put(&mut line, &["nodewall", "lost", "bytes"], loss.bytes);
        safe_json(Value::Object(line).to_string())
    }

    /// What was done.
    pub fn event(&self, seq: u64, n: u64, event: &Event) -> String {
        let mut line = self.line(seq, 'e', n, "event", event.unix_ns);
        let (category, kind) = match &event.kind {
            EventKind::AgentStarted => ("process", "start"),
            EventKind::AgentStopped | EventKind::AgentCutOff => ("process", "end"),
            EventKind::PortFirstUse | EventKind::PeerFirstUse | EventKind::PeerSilent => ("network", "info"),
            EventKind::Policy | EventKind::Peers | EventKind::Operator(_) => ("configuration", "change"),
        };
        categorize(&mut line, "event", category, &[kind], event.kind.name());
        put(&mut line, &["message"], event.detail.as_str());
        // JSON in text, as the journal has it; what is no JSON stays text.
        if let Some(who) = &event.who {
            let who: Value = serde_json::from_str(who).unwrap_or_else(|_| Value::String(who.clone()));
            if let Some(uid) = who.get("uid").and_then(Value::as_u64) {
                put(&mut line, &["user", "id"], uid.to_string());
            }
            put(&mut line, &["nodewall", "who"], who.to_string());
        }
        if let Some(text) = &event.text {
            put(&mut line, &["nodewall", "policy"], text.as_str());
        }
        safe_json(Value::Object(line).to_string())
    }

    /// What every record says. `letter` and `n`: what it is the how manyth of in its batch.
    fn line(&self, seq: u64, letter: char, n: u64, record: &str, unix_ns: u64) -> Map<String, Value> {
        let node = self.node.id.as_str();
        let mut line = self.common.clone();
        line.insert("@timestamp".to_owned(), time(unix_ns).into());
        put(&mut line, &["event", "id"], format!("{node}-{seq}-{letter}{n}"));
        put(&mut line, &["event", "module"], "nodewall");
        put(&mut line, &["event", "dataset"], format!("nodewall.{record}"));
        put(&mut line, &["event", "sequence"], seq);
        put(&mut line, &["nodewall", "record"], record);
        put(&mut line, &["nodewall", "node"], node);
        line
    }
}

/// What flows and captures have in common.
fn denied(line: &mut Map<String, Value>, key: &FlowKey, class: Option<&str>, link_sender: [u8; 6], generation: u64) {
    // The outcome is of what was wanted: the frame's sender did not get, or got, what it asked for.
    let (kind, outcome) = match key.outcome {
        Outcome::Drop => ("denied", "failure"),
        Outcome::WouldDrop => ("allowed", "success"),
    };
    categorize(line, "event", "network", &["connection", kind], key.outcome.name());
    put(line, &["event", "outcome"], outcome);
    put(line, &["event", "reason"], key.reason.name());
    put(line, &["source", "mac"], mac(link_sender));
    if let Some(source) = key.source {
        put(line, &["source", "ip"], source.to_string());
        put(line, &["network", "type"], if source.is_ipv4() { "ipv4" } else { "ipv6" });
    }
    if let Some(port) = key.port {
        put(line, &["destination", "port"], port);
    }
    if matches!(key.protocol, "tcp" | "udp") {
        put(line, &["network", "transport"], key.protocol);
    }
    put(line, &["network", "direction"], "ingress");
    put(line, &["observer", "ingress", "interface", "name"], key.interface.as_str());
    if let Some(class) = class {
        put(line, &["rule", "name"], class);
    }
    put(line, &["rule", "ruleset"], "nodewall");
    put(line, &["nodewall", "reason"], key.reason.name());
    put(line, &["nodewall", "outcome"], key.outcome.name());
    put(line, &["nodewall", "protocol"], key.protocol);
    put(line, &["nodewall", "generation"], generation);
    put(line, &["nodewall", "source_verified"], false);
}

/// What ECS sorts records by.
fn categorize(line: &mut Map<String, Value>, kind: &str, category: &str, types: &[&str], action: &str) {
    put(line, &["event", "kind"], kind);
    put(line, &["event", "category"], json!([category]));
    put(line, &["event", "type"], json!(types));
    put(line, &["event", "action"], action);
}

fn span(line: &mut Map<String, Value>, first_unix_ns: u64, last_unix_ns: u64) {
    put(line, &["event", "start"], time(first_unix_ns));
    put(line, &["event", "end"], time(last_unix_ns));
}

fn time(unix_ns: u64) -> String {
    Zone::UTC.show(unix_ns)
}

/// As ECS writes them: upper case, with hyphens.
fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02X}")).join("-")
}

/// Puts a value at a path, making objects on the way.
fn put(object: &mut Map<String, Value>, path: &[&str], value: impl Into<Value>) {
    match path {
        [] => {}
        [last] => drop(object.insert((*last).to_owned(), value.into())),
        [first, rest @ ..] => {
            let inner = object.entry(*first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
