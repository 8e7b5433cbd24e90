//! The committed tables of instructions in docs/BENCH.md. `tests/kernel/translated/table.rs` makes them and holds the programs to them; here they are read
//! and never counted again.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    frames::{Asks, Shape, Traffic},
    lineup::{NODEWALL, NODEWALL_ATOMIC, NODEWALL_EVIDENCE, NODEWALL_INTERFACES, NODEWALL_PLAIN},
};

const DOCUMENT: &str = "docs/BENCH.md";

/// Both tables.
pub struct Committed {
    /// For a frame, by shape.
    pub run: Table,
    /// For a shape, by buffers.
    pub verified: Table,
}

/// One table: the kernel that translated, a name for each column, and the rows.
#[derive(Debug, Serialize)]
pub struct Table {
    /// `Linux 6.18`
    pub kernel: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<u32>)>,
}

impl Committed {
    pub fn read() -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
        let document = fs::read_to_string(&file).with_context(|| format!("{} can not be read", file.display()))?;
        let table = |name: &str| {
            let text = document.split_once(&format!("<!-- {name} begin -->\n")).map(|(_, rest)| rest);
            let text = text.and_then(|rest| rest.split_once(&format!("<!-- {name} end -->"))).map(|(text, _)| text);
            text.and_then(Table::parse).with_context(|| format!("{} has no table of {name}", file.display()))
        };
        Ok(Self { run: table("instructions run")?, verified: table("instructions verified")? })
    }

    /// What a frame of a hot flow runs in the program of this name.
    pub fn of(&self, program: &str, traffic: Traffic) -> Option<u32> {
        self.run.figure(&frame(traffic)?, shape(program)?)
    }
}

/// The shape's name in the tables.
fn shape(program: &str) -> Option<&'static str> {
    Some(match program {
        NODEWALL => "packaged (evidence, per peer)",
        NODEWALL_EVIDENCE => "evidence",
        NODEWALL_PLAIN => "neither",
        NODEWALL_INTERFACES => "packaged, interface rules",
        NODEWALL_ATOMIC => "packaged, atomic",
        _ => return None,
    })
}

/// The frame's name in the tables.
fn frame(traffic: Traffic) -> Option<String> {
    let family = match traffic.shape {
        Shape::V4 => "IPv4",
        Shape::V6 => "IPv6",
        Shape::TaggedV4 => "IPv4 in one VLAN tag",
    };
    let what = match traffic.asks {
        Asks::Peer => "peer to a cluster port",
        Asks::Outsider => "outsider to a cluster port",
        Asks::Public => "outsider to a public port",
        Asks::Unmanaged | Asks::Mixed | Asks::Flood => return None,
    };
    Some(format!("{family}, {what}"))
}

impl Table {
    fn parse(text: &str) -> Option<Self> {
        let kernel = text.lines().next()?.trim_end_matches('.').to_owned();
        let cells = |line: &str| -> Vec<String> {
            line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let mut lines = text.lines().filter(|line| line.starts_with("| ")).map(cells);
        let columns = lines.next()?.into_iter().skip(1).collect();
        let rows = lines.map(|mut cells| {
            let figures = cells.split_off(1).iter().map(|cell| cell.parse().ok()).collect::<Option<Vec<u32>>>()?;
            Some((cells.pop()?, figures))
        });
        Some(Self { kernel, columns, rows: rows.collect::<Option<Vec<_>>>()? })
    }

    fn figure(&self, row: &str, column: &str) -> Option<u32> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.rows.iter().find(|(name, _)| name == row)?.1.get(at).copied()
    }

    /// The greatest figure of each column.
    pub fn worst(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.columns.iter().enumerate().filter_map(|(at, column)| {
            let figures = self.rows.iter().filter_map(|(row, figures)| Some((row.as_str(), *figures.get(at)?)));
            figures.max_by_key(|(_, figure)| *figure).map(|(row, figure)| (column.as_str(), row, figure))
        })
    }
}
