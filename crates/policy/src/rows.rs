//! Which counter row belongs to which port: a port keeps its row across swaps, restarts and upgrades, so that its counters carry on. A row is
//! given to another port only after a detach. It must not know what a row lets in (that is `compile`).

use std::collections::BTreeMap;

use node_ebpf_common::{
    counter::{ROW_FIRST, ROWS},
    maps::{CLASS_NAME_BYTES, RowRecord},
};

/// Ranges of more ports than this share one row.
pub(super) const MAX_PORTS_WITH_OWN_ROWS: u32 = 256;

/// What has a row: a port, or a large range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    /// IP protocol number.
    pub protocol: u8,
    /// First port.
    pub first_port: u16,
    /// Last port, inclusive.
    pub last_port: u16,
}

/// The rows ran out.
#[derive(Debug, thiserror::Error)]
#[error(
    "the policy names more ports than there are counter rows ({}); write large groups of ports as ranges of more than \
     {MAX_PORTS_WITH_OWN_ROWS} (such a range shares one row), or free the rows of earlier policies with `nodewall detach`",
    ROWS - ROW_FIRST
)]
pub struct RowsExhausted;

/// The rows of a data path: what each is for, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowTable {
    records: Vec<RowRecord>,
    numbers: BTreeMap<RowKey, u32>,
}

impl Default for RowTable {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl RowTable {
    /// The table as it was read from a live data path; missing records are free rows.
    pub fn new(mut records: Vec<RowRecord>) -> Self {
        records.resize(ROWS as usize, FREE);
        let numbers = (0..)
            .zip(&records)
            .filter(|(n, r)| *n >= ROW_FIRST && r.protocol != 0)
            .map(|(n, r)| (key_of(r), n))
            .collect();
        Self { records, numbers }
    }

    /// The records, in the order of their numbers.
    pub fn records(&self) -> &[RowRecord] {
        &self.records
    }

    /// Marks every row as not named by the policy; [`Self::assign`] names them again.
    pub(super) fn deactivate_all(&mut self) {
        for record in &mut self.records {
            record.active = 0;
        }
    }

    /// As [`Self::assign`], while no more than `most` rows ever were of this class. `None`: `key` has none, and gets none.
    pub(super) fn assign_few(&mut self, key: RowKey, class: &str, most: usize) -> Option<u32> {
        let of_class = self.records.iter().filter(|record| record.class == name_bytes(class)).count();
        if of_class >= most && !self.numbers.contains_key(&key) {
            return None;
        }
        self.assign(key, class).ok()
    }

    /// The row of `key`, now or as before, for a class of this name.
    pub(super) fn assign(&mut self, key: RowKey, class: &str) -> Result<u32, RowsExhausted> {
        let number = if let Some(number) = self.numbers.get(&key) {
            *number
        } else {
            let free = (0..).zip(&self.records).find(|(n, r)| *n >= ROW_FIRST && r.protocol == 0);
            let (number, _) = free.ok_or(RowsExhausted)?;
            self.numbers.insert(key, number);
            number
        };
        if let Some(record) = self.records.get_mut(number as usize) {
            *record = RowRecord {
                first_port: key.first_port,
                last_port: key.last_port,
                protocol: key.protocol,
                active: 1,
                reserved: [0; 2],
                class: name_bytes(class),
            };
        }
        Ok(number)
    }
}

/// The class name of a record.
pub fn class_name(record: &RowRecord) -> String {
    let end = record.class.iter().position(|b| *b == 0).unwrap_or(CLASS_NAME_BYTES);
    String::from_utf8_lossy(record.class.get(..end).unwrap_or_default()).into_owned()
}

const FREE: RowRecord =
    RowRecord { first_port: 0, last_port: 0, protocol: 0, active: 0, reserved: [0; 2], class: [0; CLASS_NAME_BYTES] };

fn key_of(record: &RowRecord) -> RowKey {
    RowKey { protocol: record.protocol, first_port: record.first_port, last_port: record.last_port }
}

fn name_bytes(name: &str) -> [u8; CLASS_NAME_BYTES] {
    let mut bytes = [0; CLASS_NAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> RowKey {
        RowKey { protocol: 6, first_port: port, last_port: port }
    }

    #[test]
    fn a_port_keeps_its_row_when_it_goes_and_comes_back() {
        let mut table = RowTable::default();
        let (a, b) = (table.assign(key(9042), "cassandra").unwrap(), table.assign(key(7000), "cassandra").unwrap());
        assert_eq!((a, b), (ROW_FIRST, ROW_FIRST + 1));

        let mut table = RowTable::new(table.records().to_vec());
        table.deactivate_all();
        assert_eq!(table.assign(key(443), "https").unwrap(), ROW_FIRST + 2, "9042's row is not free");
        assert_eq!(table.records()[a as usize].active, 0);
        assert_eq!(table.assign(key(9042), "storage").unwrap(), a);
        assert_eq!(class_name(&table.records()[a as usize]), "storage");
        assert_eq!(table.records()[a as usize].active, 1);
    }

    #[test]
    fn rows_run_out_with_a_clear_word() {
        let mut table = RowTable::default();
        for port in 1..=(ROWS - ROW_FIRST) as u16 {
            table.assign(key(port), "many").unwrap();
        }
        let error = table.assign(key(60_000), "many").unwrap_err().to_string();
        assert!(error.contains("2040") && error.contains("detach"), "{error}");
        assert!(table.assign(key(1), "many").is_ok());
    }
}
