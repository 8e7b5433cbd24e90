//! docs/PERFORMANCE.md, docs/BENCH.md and docs/bench: puts a run's tables between their markers, its figures beside. What stands outside of the markers belongs to
//! people.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    machine::Machine,
    report::{Report, bars_table},
    setting::Setting,
};

/// Everything of a run of a section, for programs.
#[derive(Serialize)]
struct Record<'r> {
    section: &'r str,
    machine: &'r Machine,
    setting: &'r Setting,
    #[serde(flatten)]
    report: &'r Report,
}

/// The workspace's docs folder.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Writes what a section found; returns the files.
pub fn write(section: &str, machine: &Machine, setting: &Setting, report: &Report) -> Result<Vec<PathBuf>> {
    let folder = docs().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
    let record = serde_json::to_string_pretty(&Record { section, machine, setting, report })?;
    let mut files = vec![(folder.join(format!("{section}.json")), record + "\n")];
    let mut documents = Vec::new();
    for name in ["PERFORMANCE.md", "BENCH.md"] {
        let file = docs().join(name);
        let text = fs::read_to_string(&file).with_context(|| format!("{} can not be read", file.display()))?;
        documents.push((file, text));
    }
    let bars = bars_table(section, &report.bars);
    let tables = report.tables.iter().chain([&bars]).map(|table| (table.name.clone(), table.for_document()));
    for (name, new) in tables.chain([(format!("{section}-machine"), about(machine, setting, report))]) {
        let place = documents.iter_mut().find_map(|(_, text)| Some((between(text, &name, &new)?, text)));
        let (with, text) = place.with_context(|| format!("no document has markers for the table {name}"))?;
        *text = with;
    }
    files.append(&mut documents);
    for (file, text) in &files {
        fs::write(file, text).with_context(|| format!("{} can not be written", file.display()))?;
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
}

fn about(machine: &Machine, setting: &Setting, report: &Report) -> String {
    let mut text = format!(
        "{}; pinned to CPU {}, {} rounds of at least {} ms a sample.\n\nMitigations: {}.\n",
        machine.line(),
        setting.cpu,
        setting.rounds,
        setting.sample_ns / 1_000_000,
        machine.mitigations.iter().map(|(name, what)| format!("{name}: {what}")).collect::<Vec<_>>().join("; "),
    );
    for note in &report.notes {
        text.push_str(&format!("\n{note}\n"));
    }
    text
}

/// `text` with what stands between the markers of `name` replaced; `None` where they are not there.
fn between(text: &str, name: &str, new: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench {name} begin -->\n"), format!("<!-- bench {name} end -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{new}{end}{after}"))
}
