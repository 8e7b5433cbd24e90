//! How values look: tables, JSON, the screen of `top`. It must not compute them.

mod event;
pub mod top;

use std::{
    io::{self, BufWriter, IsTerminal as _, StdoutLock},
    os::fd::AsFd as _,
};

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

pub use event::Log;

use nodewall_text::{
    out::{self, Out},
    safe_json, shown,
};

/// Prints one JSON document, indented; safe for a terminal.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_lines(&safe_json(serde_json::to_string_pretty(value)?))
}

/// Prints each value as JSON on a line of its own.
pub fn print_jsonl<T: Serialize>(values: impl IntoIterator<Item = T>) -> anyhow::Result<()> {
    values.into_iter().try_for_each(|value| print_line(&json_line(&value)?))
}

/// A value as JSON in one line; safe for a terminal.
pub fn json_line(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(safe_json(serde_json::to_string(value)?))
}

/// Prints a line; a reader that went away (`| head`) ends the program quietly, as other tools do.
pub fn print_line(text: &str) -> anyhow::Result<()> {
    written(out::stdout().line(text))
}

/// The same of text that has several: its line ends must be this program's own.
pub fn print_lines(text: &str) -> anyhow::Result<()> {
    text.lines().try_for_each(print_line)
}

/// Many lines. To a terminal each goes out at once, elsewhere in large pieces.
pub struct Lines {
    out: Out<BufWriter<StdoutLock<'static>>>,
    at_once: bool,
}

impl Lines {
    /// Takes standard output until it is dropped.
    pub fn new() -> Self {
        Self { at_once: is_terminal(), out: out::buffered_stdout() }
    }

    /// Prints a line.
    pub fn print(&mut self, text: &str) -> anyhow::Result<()> {
        written(self.out.line(text))?;
        if self.at_once { self.finish() } else { Ok(()) }
    }

    /// Sends out what is held back.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        written(self.out.flush())
    }
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    out::stdout().as_fd().is_terminal()
}

/// Values as they come, a line each: by themselves, or as the elements of one JSON array.
pub struct Values {
    out: Lines,
    is_array: bool,
    /// The element before: whether a comma follows is not known until the next one comes.
    held: Option<String>,
}

impl Values {
    /// None yet.
    pub fn new(is_array: bool) -> Self {
        Self { out: Lines::new(), is_array, held: None }
    }

    /// Prints one.
    pub fn print(&mut self, text: String) -> anyhow::Result<()> {
        if !self.is_array {
            return self.out.print(&text);
        }
        match self.held.replace(text) {
            None => self.out.print("["),
            Some(before) => self.out.print(&format!("  {before},")),
        }
    }

    /// Prints what is held back.
    pub fn finish(mut self) -> anyhow::Result<()> {
        match self.held.take() {
            _ if !self.is_array => {}
            None => self.out.print("[]")?,
            Some(last) => {
                self.out.print(&format!("  {last}"))?;
                self.out.print("]")?;
            }
        }
        self.out.finish()
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("can not write to standard output"),
    }
}

/// Prints a plain table with aligned columns; the columns in `right` hold numbers.
pub fn print_table(
    header: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|h| h.to_uppercase()));
    for row in rows {
        // Before its width is taken.
        table.add_row(row.iter().map(|cell| shown(cell)));
    }
    let last = header.len().saturating_sub(1);
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if n == last { 0 } else { 2 }));
        if right.contains(&n) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().try_for_each(|line| print_line(line.trim_end()))
}
