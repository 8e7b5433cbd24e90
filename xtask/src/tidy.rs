//! `cargo xtask tidy`: the house rules that no compiler checks. Each finding is one line: file, line, what is wrong and
//! what to do. Reads the files that git knows or would add; changes nothing. Also runs as a test of this crate.

mod circles;
mod code_map;
mod modules;
mod size;
mod supply;
mod text;

use std::fmt;

use anyhow::{Result, bail};
use fs_err as fs;

use crate::{files, workspace};

/// A broken rule. Lines count from 1; 0 is the file as a whole.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        match line {
            0 => write!(out, "{file}: {what}"),
            line => write!(out, "{file}:{line}: {what}"),
        }
    }
}

/// A file of the repository: its path from the root, with slashes, and its text.
struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// Its lines, each with its number.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding::new(&self.path, line, what)
    }

    fn has_extension(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only count lines: those of src and crates/*/src that are neither blank nor comment (files of tests left out), and xtask's
    #[arg(long)]
    size: bool,
}

pub(crate) fn run_with(args: &Args) -> Result<()> {
    if args.size {
        print!("{}", size::table(&files()?));
        return Ok(());
    }
    run()
}

/// Checks the whole repository.
pub(crate) fn run() -> Result<()> {
    let files = files()?;
    let findings = check(&files);
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy found {} broken house rules (above); each line says what to do", findings.len());
    }
    eprintln!("tidy: {} files are fine", files.len());
    Ok(())
}

fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(text::check(file));
        findings.extend(modules::check(file));
    }
    findings.extend(code_map::check(files));
    findings.extend(supply::check(files));
    findings.extend(circles::check(files));
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    findings
}

/// Every text file that is in git or would be added by `git add .`.
fn files() -> Result<Vec<SourceFile>> {
    let mut paths = files::known_to_git()?;
    paths.sort();
    paths.dedup();
    // What is deleted but not yet committed, and what is not text, has no lines to check.
    let read = |path: String| Some(SourceFile { text: fs::read_to_string(workspace::root().join(&path)).ok()?, path });
    Ok(paths.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as the checks see it.
    pub(super) fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn this_repository_is_tidy() {
        let files = files().unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy.rs"), "git lists this file");
        let findings: Vec<String> = check(&files).iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn findings_are_sorted_and_name_file_and_line() {
        let bad = [file("b.rs", "fn main() {} \n"), file("a.md", "x\ty\n")];
        let lines: Vec<String> = check(&bad).iter().map(Finding::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with("a.md:1: ")));
        assert!(lines.iter().any(|line| line.starts_with("b.rs:1: ")));
        assert!(lines.is_sorted());
    }
}
