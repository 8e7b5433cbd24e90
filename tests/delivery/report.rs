//! The table: shape by configuration, as text and as docs/DELIVERY.md between its marks. It computes nothing.

use std::{fmt::Write as _, fs, path::Path};

use super::{judge::Delivered, plan::Plan, rig::kernel_release, shapes::Public};

const BEGIN: &str = "<!-- begin: written by the test -->";
const END: &str = "<!-- end: written by the test -->";

/// One configuration, both offload settings together.
pub(crate) struct Column {
    pub(crate) name: String,
    /// One entry per shape, and one for the mutations.
    pub(crate) without: Vec<Delivered>,
    pub(crate) with: Vec<Delivered>,
}

impl Column {
    /// Adds the phase of the other offload setting.
    pub(crate) fn add(&mut self, without: &[Delivered], with: &[Delivered]) {
        for (sums, more) in [(&mut self.without, without), (&mut self.with, with)] {
            for (sum, more) in sums.iter_mut().zip(more) {
                sum.closed += more.closed;
                sum.open += more.open;
            }
        }
    }

    fn cell(&self, row: usize) -> String {
        let (without, with) = (self.without[row], self.with[row]);
        if without == Delivered::default() && with == without {
            return "never delivered".into();
        }
        format!("{} → {} · {} → {}", without.closed, with.closed, without.open, with.open)
    }
}

/// The table, one row per shape.
pub(crate) fn table(plan: &Plan, columns: &[Column], mutations: usize) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut text = format!("| shape | variants | {} |\n|---|---|{}\n", names.join(" | "), "---|".repeat(columns.len()));
    let mut row = |name: &str, variants: usize, cells: Vec<String>| {
        let _ = writeln!(text, "| {name} | {variants} | {} |", cells.join(" | "));
    };
    for (number, shape) in plan.shapes.iter().enumerate() {
        let name = match shape.public {
            Public::MustArrive => shape.name.to_owned(),
            Public::Dropped(reason) => format!("{} (dropped by design: `{reason}`)", shape.name),
        };
        let cells = match &shape.skipped {
            Some(reason) => {
                let mut cells = vec![String::new(); columns.len()];
                cells[0] = format!("skipped: {reason}");
                cells
            }
            None => columns.iter().map(|column| column.cell(number)).collect(),
        };
        row(&name, shape.variants.len(), cells);
    }
    let last = plan.shapes.len();
    row("random mutations of all of these", mutations, columns.iter().map(|column| column.cell(last)).collect());
    text
}

/// Replaces the part of docs/DELIVERY.md between the marks.
pub(crate) fn refresh(table: &str, seed: u64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DELIVERY.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let facts = format!("Linux {}, seed {seed}.", kernel_release());
    fs::write(&path, format!("{head}{BEGIN}\n{facts}\n\n{table}{END}{tail}")).unwrap();
}
