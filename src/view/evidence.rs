//! Records of the evidence as rows: what `events` prints, in every format. Names of others stand in them as they are: whoever prints to a terminal escapes them.
//! It must not read the store or print.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use nodewall_evidence::{
    layers,
    record::{Capture, Event, Flow, FlowKey, Loss},
    store::Stored,
    when::Zone,
};

/// A row of a list: JSON by `Serialize`, the rest here.
pub trait Row: Serialize {
    /// Headings of the table.
    const TABLE: &'static [&'static str];
    /// Which of its columns hold numbers.
    const NUMBERS: &'static [usize];
    /// The heading of CSV: keys of the JSON, but that a source is said to be unverified.
    const CSV: &'static str;

    /// Cells of the table: what a person needs first.
    fn table(&self) -> Vec<String>;

    /// Cells of CSV: everything.
    ///
    /// # Errors
    /// Never with the rows that there are: all of them are objects of JSON.
    fn csv(&self) -> serde_json::Result<Vec<String>> {
        let row = serde_json::to_value(self)?;
        let value = |name: &str| row.get(name.trim_end_matches("_unverified"));
        Ok(Self::CSV.split(',').map(|name| value(name).map_or_else(String::new, |value| cell(name, value))).collect())
    }
}

/// A value of JSON as a cell of CSV.
fn cell(name: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // JSON in any case.
        who if name == "who" => who.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A denied flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowRow {
    /// `f12`: what `events show` takes.
    pub id: String,
    /// The batch that it is in.
    pub batch: u64,
    /// Time of its first frame in the zone asked for.
    pub first: String,
    /// Time of its last frame.
    pub last: String,
    /// The same in Unix ns.
    pub first_unix_ns: u64,
    /// The same in Unix ns.
    pub last_unix_ns: u64,
    /// What denied it, and who sent it.
    #[serde(flatten)]
    pub key: KeyRow,
    /// Frames.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What flows and captures have in common.
#[derive(Clone, Debug, Serialize)]
pub struct KeyRow {
    /// What the frame said; `null`: it had no sound IP header.
    pub source: Option<IpAddr>,
    /// Always `false`: a denied frame proves no sender.
    pub source_verified: bool,
    /// As in the record.
    pub protocol: &'static str,
    /// Destination port.
    pub port: Option<u16>,
    /// Its class.
    pub class: Option<String>,
    /// Name of the reason.
    pub reason: &'static str,
    /// `drop` or `would_drop`.
    pub outcome: &'static str,
    /// By which it came in.
    pub interface: String,
    /// The link-layer sender: the last hop.
    pub mac: String,
    /// Number of the policy in force.
    pub generation: u64,
}

impl KeyRow {
    fn of(key: &FlowKey, class: Option<&String>, mac: [u8; 6], generation: u64) -> Self {
        Self {
            source: key.source,
            source_verified: false,
            protocol: key.protocol,
            port: key.port,
            class: class.cloned(),
            reason: key.reason.name(),
            outcome: key.outcome.name(),
            interface: key.interface.clone(),
            mac: layers::mac(&mac),
            generation,
        }
    }

    /// Id and time, then source, port with protocol, class, reason, outcome, interface, then an amount.
    fn table(&self, [id, time]: [String; 2], amount: String) -> Vec<String> {
        vec![
            id,
            time,
            self.source.map_or_else(dash, |source| source.to_string()),
            port_text(self.port, self.protocol),
            self.class.clone().unwrap_or_else(dash),
            self.reason.into(),
            self.outcome.into(),
            self.interface.clone(),
            amount,
        ]
    }
}

/// `9042/tcp`, or the protocol where there is no port.
pub fn port_text(port: Option<u16>, protocol: &str) -> String {
    port.map_or_else(|| protocol.to_owned(), |port| format!("{port}/{protocol}"))
}

pub(super) fn dash() -> String {
    "-".to_owned()
}

impl FlowRow {
    /// As a zone shows it.
    pub fn of(stored: &Stored<Flow>, zone: &Zone) -> Self {
        let flow = &stored.record;
        Self {
            id: format!("f{}", stored.id),
            batch: stored.seq,
            first: zone.show(flow.first_unix_ns),
            last: zone.show(flow.last_unix_ns),
            first_unix_ns: flow.first_unix_ns,
            last_unix_ns: flow.last_unix_ns,
            key: KeyRow::of(&flow.key, flow.class.as_ref(), flow.mac, flow.generation),
            packets: flow.packets,
            bytes: flow.bytes,
        }
    }
}

/// A time to the second: the fraction of what [`Zone::show`] made is left out.
pub(super) fn to_the_second(shown: &str) -> String {
    let (whole, rest) = shown.split_once('.').unwrap_or((shown, ""));
    format!("{whole}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

impl Row for FlowRow {
    const TABLE: &'static [&'static str] =
        &["id", "last seen", "source", "port", "class", "reason", "outcome", "in", "packets"];
    const NUMBERS: &'static [usize] = &[8];
    const CSV: &'static str = "id,batch,first,last,source_unverified,protocol,port,class,reason,outcome,interface,mac,generation,packets,bytes";

    fn table(&self) -> Vec<String> {
        self.key.table([self.id.clone(), to_the_second(&self.last)], self.packets.to_string())
    }
}

/// A captured frame, without its bytes.
#[derive(Clone, Debug, Serialize)]
pub struct CaptureRow {
    /// `c45`.
    pub id: String,
    /// The batch that it is in.
    pub batch: u64,
    /// When, in the zone asked for.
    pub time: String,
    /// The same in Unix ns.
    pub unix_ns: u64,
    /// The same by the boot clock.
    pub boot_ns: u64,
    /// What denied it, and who sent it.
    #[serde(flatten)]
    pub key: KeyRow,
    /// The processor that judged it.
    pub cpu: u32,
    /// Length of the frame.
    pub original_bytes: u32,
    /// How much of it was kept.
    pub captured_bytes: usize,
}

impl CaptureRow {
    /// As a zone shows it.
    pub fn of(stored: &Stored<Capture>, zone: &Zone) -> Self {
        let capture = &stored.record;
        Self {
            id: format!("c{}", stored.id),
            batch: stored.seq,
            time: zone.show(capture.unix_ns),
            unix_ns: capture.unix_ns,
            boot_ns: capture.boot_ns,
            key: KeyRow::of(&capture.key, capture.class.as_ref(), capture.mac, capture.generation),
            cpu: capture.cpu,
            original_bytes: capture.original_bytes,
            captured_bytes: capture.frame.len(),
        }
    }
}

impl Row for CaptureRow {
    const TABLE: &'static [&'static str] =
        &["id", "time", "source", "port", "class", "reason", "outcome", "in", "bytes"];
    const NUMBERS: &'static [usize] = &[8];
    const CSV: &'static str = "id,batch,time,boot_ns,source_unverified,protocol,port,class,reason,outcome,interface,mac,generation,cpu,original_bytes,captured_bytes";

    fn table(&self) -> Vec<String> {
        self.key.table([self.id.clone(), to_the_second(&self.time)], self.original_bytes.to_string())
    }
}

/// Something that is not in the evidence.
#[derive(Clone, Debug, Serialize)]
pub struct LossRow {
    /// `l3`.
    pub id: String,
    /// The batch that it is in.
    pub batch: u64,
    /// Since when, in the zone asked for.
    pub first: String,
    /// Until when.
    pub last: String,
    /// The same in Unix ns.
    pub first_unix_ns: u64,
    /// The same in Unix ns.
    pub last_unix_ns: u64,
    /// Of what: the loss's stable name.
    pub loss: &'static str,
    /// Frames.
    pub packets: u64,
    /// Bytes; 0 for captures.
    pub bytes: u64,
}

impl LossRow {
    /// As a zone shows it.
    pub fn of(stored: &Stored<Loss>, zone: &Zone) -> Self {
        let loss = &stored.record;
        Self {
            id: format!("l{}", stored.id),
            batch: stored.seq,
            first: zone.show(loss.first_unix_ns),
            last: zone.show(loss.last_unix_ns),
            first_unix_ns: loss.first_unix_ns,
            last_unix_ns: loss.last_unix_ns,
            loss: loss.kind.name(),
            packets: loss.packets,
            bytes: loss.bytes,
        }
    }
}

impl Row for LossRow {
    const TABLE: &'static [&'static str] = &["id", "first", "last", "loss", "packets", "bytes"];
    const NUMBERS: &'static [usize] = &[4, 5];
    const CSV: &'static str = "id,batch,first,last,loss,packets,bytes";

    fn table(&self) -> Vec<String> {
        let (first, last) = (to_the_second(&self.first), to_the_second(&self.last));
        vec![self.id.clone(), first, last, self.loss.into(), self.packets.to_string(), self.bytes.to_string()]
    }
}

/// Something that was done.
#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    /// `e4`.
    pub id: String,
    /// The batch that it is in.
    pub batch: u64,
    /// When, in the zone asked for.
    pub time: String,
    /// The same in Unix ns.
    pub unix_ns: u64,
    /// What.
    pub event: String,
    /// To what, and why.
    pub detail: String,
    /// Who wanted it; `null`: nobody, or it is not known.
    pub who: Option<Value>,
    /// The policy's whole text.
    pub text: Option<String>,
}

impl EventRow {
    /// As a zone shows it.
    pub fn of(stored: &Stored<Event>, zone: &Zone) -> Self {
        let event = &stored.record;
        // What is no JSON is not thrown away.
        let who = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
        Self {
            id: format!("e{}", stored.id),
            batch: stored.seq,
            time: zone.show(event.unix_ns),
            unix_ns: event.unix_ns,
            event: event.kind.name().to_owned(),
            detail: event.detail.clone(),
            who: event.who.as_ref().map(who),
            text: event.text.clone(),
        }
    }
}

impl Row for EventRow {
    const TABLE: &'static [&'static str] = &["id", "time", "event", "detail"];
    const NUMBERS: &'static [usize] = &[];
    const CSV: &'static str = "id,batch,time,event,detail,who,text";

    fn table(&self) -> Vec<String> {
        vec![self.id.clone(), to_the_second(&self.time), self.event.clone(), self.detail.clone()]
    }
}
