//! The chain over the store: a leaf for each record, a hash for each batch that takes in the one before, a seal over each segment. Hashes are BLAKE3 over
//! an encoding of its own (version 1: length-prefixed, little-endian), so that what is proven does not hang on how the database lays out a page. It must
//! not read a database.

use std::{fmt, net::IpAddr};

use super::record::{Capture, Event, Flow, FlowKey, Loss};

/// A hash.
pub type Hash = [u8; 32];
/// Bytes of a leaf: what names a record within its batch.
pub const LEAF_BYTES: usize = 16;
/// A record's leaf.
pub type Leaf = [u8; LEAF_BYTES];
/// What stands before the first batch.
pub const BEGINNING: Hash = [0; 32];

/// Domains, so that no value of one kind is ever taken for one of another.
const FLOW: &str = "nodewall evidence 1 flow";
const CAPTURE: &str = "nodewall evidence 1 capture";
const LOSS: &str = "nodewall evidence 1 loss";
const EVENT: &str = "nodewall evidence 1 event";
const BATCH: &str = "nodewall evidence 1 batch";
const SEGMENT: &str = "nodewall evidence 1 segment";

struct Encoder(blake3::Hasher);

impl Encoder {
    fn new(domain: &str) -> Self {
        let mut encoder = Self(blake3::Hasher::new());
        encoder.bytes(domain.as_bytes());
        encoder
    }

    fn number(&mut self, value: u64) -> &mut Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
        self
    }

    fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.number(1).bytes(bytes),
            None => self.number(0),
        }
    }

    fn key(&mut self, key: &FlowKey) -> &mut Self {
        match key.source {
            Some(IpAddr::V4(address)) => self.optional(Some(&address.octets())),
            Some(IpAddr::V6(address)) => self.optional(Some(&address.octets())),
            None => self.optional(None),
        };
        self.bytes(key.protocol.as_bytes())
            .number(key.port.map_or(u64::MAX, u64::from))
            .number(u64::from(key.reason.number()))
            .bytes(key.outcome.name().as_bytes())
            .bytes(key.interface.as_bytes())
    }

    /// What flows and captures have in common.
    fn denied(&mut self, key: &FlowKey, class: Option<&str>, mac: [u8; 6], generation: u64) -> &mut Self {
        self.key(key).optional(class.map(str::as_bytes)).bytes(&mac).number(generation)
    }

    fn hash(&self) -> Hash {
        *self.0.finalize().as_bytes()
    }

    fn leaf(&self) -> Leaf {
        let mut leaf = Leaf::default();
        for (to, from) in leaf.iter_mut().zip(self.hash()) {
            *to = from;
        }
        leaf
    }
}

/// Something that has a leaf.
pub trait Chained {
    /// The leaf of this record under the number that it has in the store.
    fn leaf(&self, id: i64) -> Leaf;
    /// Its first time.
    fn first_unix_ns(&self) -> u64;
}

impl Chained for Flow {
    fn first_unix_ns(&self) -> u64 {
        self.first_unix_ns
    }

    fn leaf(&self, id: i64) -> Leaf {
        Encoder::new(FLOW)
            .number(id.cast_unsigned())
            .denied(&self.key, self.class.as_deref(), self.mac, self.generation)
            .number(self.first_unix_ns)
            .number(self.last_unix_ns)
            .number(self.packets)
            .number(self.bytes)
            .leaf()
    }
}

impl Chained for Capture {
    fn first_unix_ns(&self) -> u64 {
        self.unix_ns
    }

    fn leaf(&self, id: i64) -> Leaf {
        Encoder::new(CAPTURE)
            .number(id.cast_unsigned())
            .denied(&self.key, self.class.as_deref(), self.mac, self.generation)
            .number(self.unix_ns)
            .number(self.boot_ns)
            .number(u64::from(self.cpu))
            .number(u64::from(self.original_bytes))
            .bytes(&self.frame)
            .leaf()
    }
}

impl Chained for Loss {
    fn first_unix_ns(&self) -> u64 {
        self.first_unix_ns
    }

    fn leaf(&self, id: i64) -> Leaf {
        Encoder::new(LOSS)
            .number(id.cast_unsigned())
            .bytes(self.kind.name().as_bytes())
            .number(self.first_unix_ns)
            .number(self.last_unix_ns)
            .number(self.packets)
            .number(self.bytes)
            .leaf()
    }
}

impl Chained for Event {
    fn first_unix_ns(&self) -> u64 {
        self.unix_ns
    }

    fn leaf(&self, id: i64) -> Leaf {
        Encoder::new(EVENT)
            .number(id.cast_unsigned())
            .number(self.unix_ns)
            .bytes(self.kind.name().as_bytes())
            .bytes(self.detail.as_bytes())
            .optional(self.who.as_deref().map(str::as_bytes))
            .optional(self.text.as_deref().map(str::as_bytes))
            .leaf()
    }
}

/// What a batch's hash is over, besides its leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub seq: u64,
    /// Of the batch before.
    pub previous: Hash,
    /// When.
    pub unix_ns: u64,
    /// As in the batch.
    pub boot_offset_ns: i64,
    /// Flows, captures, losses, events.
    pub counts: [u64; 4],
}

impl Link {
    /// The batch's hash. `leaves` are those of its records one after the other, in the order of `counts`.
    pub fn hash(&self, leaves: &[u8]) -> Hash {
        let mut encoder = Encoder::new(BATCH);
        encoder.number(self.seq).bytes(&self.previous).number(self.unix_ns).number(self.boot_offset_ns.cast_unsigned());
        for count in self.counts {
            encoder.number(count);
        }
        encoder.bytes(leaves).hash()
    }
}

/// The seal over the batches `first_seq..=last_seq`.
pub fn seal(previous: &Hash, first_seq: u64, last_seq: u64, head: &Hash) -> Hash {
    Encoder::new(SEGMENT).bytes(previous).number(first_seq).number(last_seq).bytes(head).hash()
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Something is there that is not what was written.
    Altered,
    /// Something that was written is gone.
    Removed,
    /// Something is there that was not written.
    Inserted,
}

impl FaultKind {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
        }
    }
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In which way.
    pub kind: FaultKind,
    /// In which batch.
    pub seq: u64,
    /// Which record (`f12`, `c3`, `l1`, `e4`); `None`: the batch itself, or it can not be told which.
    pub record: Option<String>,
    /// In one line.
    pub what: String,
}

impl Fault {
    /// Of the batch itself.
    pub(super) fn of_batch(kind: FaultKind, seq: u64, what: impl Into<String>) -> Self {
        Self { kind, seq, record: None, what: what.into() }
    }

    /// `altered`, `removed` or `inserted`.
    pub const fn kind(&self) -> &'static str {
        self.kind.name()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record {
            Some(record) => write!(f, "batch {}: record {record} was {}: {}", self.seq, self.kind(), self.what),
            None => write!(f, "batch {}: {}: {}", self.seq, self.kind(), self.what),
        }
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Batches that are there and sound, up to the fault.
    pub batches: u64,
    /// Their records.
    pub records: u64,
    /// Hash of the last sound batch.
    pub head: Hash,
    /// The oldest batch that is there.
    pub first_seq: u64,
    /// The last sound one.
    pub last_seq: u64,
    /// `None`: nothing is wrong.
    pub fault: Option<Fault>,
}

/// Compares a batch's records with the leaves that were written, which its hash was found to be over. `names` are the records' (`f12`).
pub(super) fn compare(seq: u64, written: &[Leaf], found: &[(String, Leaf)]) -> Option<Fault> {
    let fault = |kind, record: Option<&String>, what: &str| {
        Some(Fault { kind, seq, record: record.cloned(), what: what.to_owned() })
    };
    let strange = found.iter().find(|(_, leaf)| !written.contains(leaf)).map(|(name, _)| name);
    match found.len().cmp(&written.len()) {
        std::cmp::Ordering::Less => {
            let at =
                written.iter().zip(found).position(|(written, (_, found))| written != found).unwrap_or(found.len());
            let (before, after) = (at.checked_sub(1).and_then(|n| found.get(n)), found.get(at));
            let place = match (before, after) {
                (Some((before, _)), Some((after, _))) => format!("between {before} and {after}"),
                (Some((before, _)), None) => format!("after {before}"),
                (None, Some((after, _))) => format!("before {after}"),
                (None, None) => "all of them".to_owned(),
            };
            let (gone, all) = (written.len() - found.len(), written.len());
            fault(FaultKind::Removed, None, &format!("{gone} of its {all} records are gone, the first {place}"))
        }
        std::cmp::Ordering::Greater => fault(FaultKind::Inserted, strange, "it was not written with its batch"),
        std::cmp::Ordering::Equal => match strange {
            Some(_) => fault(FaultKind::Altered, strange, "it is not what was written"),
            None if written.iter().zip(found).any(|(written, (_, found))| written != found) => {
                fault(FaultKind::Altered, None, "its records are in another order")
            }
            None => None,
        },
    }
}
