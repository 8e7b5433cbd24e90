//! A record as a row, and back. It must not run a query.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use node_ebpf_common::Reason;
use rusqlite::{Row, types::Value};

use crate::record::{Capture, Event, EventKind, Flow, FlowKey, Loss, LossKind, Outcome};

/// The names of protocols, by their number in the store.
const PROTOCOLS: [&str; 6] = ["tcp", "udp", "tunnel", "fragment", "other", "none"];
/// Outcomes, by theirs.
const OUTCOMES: [Outcome; 2] = [Outcome::Drop, Outcome::WouldDrop];

pub(super) fn protocol_number(name: &str) -> i64 {
    (0..).zip(PROTOCOLS).find(|(_, known)| *known == name).map_or(5, |(number, _)| number)
}

pub(super) fn outcome_number(outcome: Outcome) -> i64 {
    i64::from(outcome == Outcome::WouldDrop)
}

pub(super) fn loss_number(kind: LossKind) -> i64 {
    (0..).zip(LossKind::ALL).find(|(_, known)| *known == kind).map_or(0, |(number, _)| number)
}

/// Unix time as `SQLite` counts: until the year 2262.
pub(super) fn time(unix_ns: u64) -> i64 {
    i64::try_from(unix_ns).unwrap_or(i64::MAX)
}

pub(super) fn source_bytes(source: Option<IpAddr>) -> Value {
    match source {
        None => Value::Null,
        Some(IpAddr::V4(address)) => Value::Blob(address.octets().to_vec()),
        Some(IpAddr::V6(address)) => Value::Blob(address.octets().to_vec()),
    }
}

/// Names by their number.
pub(super) type Names = HashMap<i64, String>;

/// Columns of a flow's row, in the order of [`flow`].
pub(super) const FLOW: &str = "id, seq, source, protocol, port, reason, outcome, interface, class, mac, generation, \
                               first_unix_ns, last_unix_ns, packets, bytes";
/// Of a capture's.
pub(super) const CAPTURE: &str = "id, seq, source, protocol, port, reason, outcome, interface, class, mac, generation, \
                                  unix_ns, boot_ns, cpu, original_bytes, frame";
/// Of a loss's.
pub(super) const LOSS: &str = "id, seq, kind, first_unix_ns, last_unix_ns, packets, bytes";
/// Of an event's.
pub(super) const EVENT: &str = "id, seq, unix_ns, kind, detail, who, text";

/// Kinds of event that are not an operator's.
pub(super) fn event_kind(name: &str) -> EventKind {
    EventKind::OWN.into_iter().find(|kind| kind.name() == name).unwrap_or_else(|| EventKind::Operator(name.to_owned()))
}

fn bad(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, what.to_owned().into())
}

fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    T::try_from(row.get::<_, i64>(column)?).map_err(|_| bad(column, "a number out of its range"))
}

fn name(row: &Row<'_>, column: usize, names: &Names) -> rusqlite::Result<String> {
    let id: i64 = row.get(column)?;
    names.get(&id).cloned().ok_or_else(|| bad(column, "a name that is not there"))
}

/// Columns 2 to 10.
fn key(row: &Row<'_>, names: &Names) -> rusqlite::Result<(FlowKey, Option<String>, [u8; 6], u64)> {
    let source = match row.get::<_, Option<Vec<u8>>>(2)? {
        None => None,
        Some(bytes) => Some(address(&bytes).ok_or_else(|| bad(2, "an address of a length that none has"))?),
    };
    let protocol = PROTOCOLS.get(number::<usize>(row, 3)?).ok_or_else(|| bad(3, "an unknown protocol"))?;
    let port = row.get::<_, Option<i64>>(4)?.map(u16::try_from).transpose().map_err(|_| bad(4, "no port"))?;
    let reason = Reason::from_number(number(row, 5)?).ok_or_else(|| bad(5, "an unknown reason"))?;
    let outcome = *OUTCOMES.get(number::<usize>(row, 6)?).ok_or_else(|| bad(6, "an unknown outcome"))?;
    let interface = name(row, 7, names)?;
    let class = match row.get::<_, Option<i64>>(8)? {
        None => None,
        Some(_) => Some(name(row, 8, names)?),
    };
    let mac = row.get::<_, Vec<u8>>(9)?.try_into().map_err(|_| bad(9, "a link-layer address of another length"))?;
    Ok((FlowKey { source, protocol, port, reason, outcome, interface }, class, mac, number(row, 10)?))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

pub(super) fn flow(row: &Row<'_>, names: &Names) -> rusqlite::Result<Flow> {
    let (key, class, mac, generation) = key(row, names)?;
    Ok(Flow {
        key,
        class,
        mac,
        generation,
        first_unix_ns: number(row, 11)?,
        last_unix_ns: number(row, 12)?,
        packets: number(row, 13)?,
        bytes: number(row, 14)?,
    })
}

pub(super) fn capture(row: &Row<'_>, names: &Names) -> rusqlite::Result<Capture> {
    let (key, class, mac, generation) = key(row, names)?;
    Ok(Capture {
        key,
        class,
        mac,
        generation,
        unix_ns: number(row, 11)?,
        boot_ns: number(row, 12)?,
        cpu: number(row, 13)?,
        original_bytes: number(row, 14)?,
        frame: row.get(15)?,
    })
}

pub(super) fn loss(row: &Row<'_>, _names: &Names) -> rusqlite::Result<Loss> {
    let kind = *LossKind::ALL.get(number::<usize>(row, 2)?).ok_or_else(|| bad(2, "an unknown kind of loss"))?;
    Ok(Loss {
        kind,
        first_unix_ns: number(row, 3)?,
        last_unix_ns: number(row, 4)?,
        packets: number(row, 5)?,
        bytes: number(row, 6)?,
    })
}

pub(super) fn event(row: &Row<'_>, _names: &Names) -> rusqlite::Result<Event> {
    Ok(Event {
        unix_ns: number(row, 2)?,
        kind: event_kind(&row.get::<_, String>(3)?),
        detail: row.get(4)?,
        who: row.get(5)?,
        text: row.get(6)?,
    })
}
