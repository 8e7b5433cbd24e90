//! What a section found: tables for people, bars, and every figure for programs. How it looks on a terminal and in Markdown; it takes no
//! measurement.

use comfy_table::{CellAlignment, Table as Grid, presets};
use serde::Serialize;

/// A section's outcome.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// In the order of reading.
    pub tables: Vec<Table>,
    /// What was demanded and what came of it.
    pub bars: Vec<Bar>,
    /// Every figure, in a form of the section's own.
    pub figures: serde_json::Value,
    /// Sentences that belong to the figures.
    pub notes: Vec<String>,
}

/// One table.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Its marker in docs/BENCH.md.
    pub name: String,
    /// One line above it.
    pub title: String,
    /// Names of the columns; the first column holds words, the others numbers.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// A demand on a figure.
#[derive(Debug, Serialize)]
pub struct Bar {
    /// Which figure.
    pub what: String,
    /// What it must be.
    pub limit: String,
    /// What it is.
    pub got: String,
    /// Whether it is.
    pub ok: bool,
}

impl Bar {
    /// A figure that must not be above `limit`.
    pub fn at_most(what: impl Into<String>, limit: f64, got: f64, unit: &str) -> Self {
        let ok = got <= limit;
        Self { what: what.into(), limit: format!("<= {limit} {unit}"), got: format!("{} {unit}", short(got)), ok }
    }

    /// A figure that must not be below `limit`.
    pub fn at_least(what: impl Into<String>, limit: f64, got: f64, unit: &str) -> Self {
        let ok = got >= limit;
        Self { what: what.into(), limit: format!(">= {limit} {unit}"), got: format!("{} {unit}", short(got)), ok }
    }
}

/// Two digits behind the point below 10, one below 1,000: more is noise.
pub fn short(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middling if middling < 1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The bars of a section as a table.
pub fn bars_table(section: &str, bars: &[Bar]) -> Table {
    let rows = bars.iter().map(|bar| {
        let verdict = if bar.ok { "ok" } else { "MISSED" };
        vec![bar.what.clone(), bar.limit.clone(), bar.got.clone(), verdict.to_owned()]
    });
    let met = bars.iter().filter(|bar| bar.ok).count();
    Table {
        name: format!("{section}-bars"),
        title: format!("Bars: {met} of {} met", bars.len()),
        head: ["bar", "limit", "got", ""].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

impl Table {
    /// For a terminal.
    pub fn for_terminal(&self) -> String {
        let mut grid = Grid::new();
        grid.load_preset(presets::NOTHING).set_header(&self.head);
        for row in &self.rows {
            grid.add_row(row);
        }
        for column in grid.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("\n{}\n{}\n", self.title, grid.trim_fmt())
    }

    /// For a document.
    pub fn for_document(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<String> = (0..self.head.len()).map(|n| if n == 0 { "---" } else { "---:" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{}{rows}", self.title, line(&self.head), line(&rule))
    }
}
