//! Rules for Rust modules: each says what it owns, stays short, promises nothing for later, and leaves packet memory to the one
//! file that owns it. The patterns are put together from pieces, so that this file passes its own rules.

use super::{Finding, SourceFile};

/// The longest module; a longer one has two things in it.
const LINES_MAX: usize = 450;

/// Promises for later.
const PROMISES: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("#[ig", "nore"),
];

/// The name by which packet memory is recognised: no file reads a packet without asking where it ends.
const PACKET_END: &str = concat!("data_", "end");

/// Where it may stand: path prefixes, each with the reason.
const PACKET_END_PLACES: &[(&str, &str)] = &[
    ("node-ebpf/src/frame.rs", "it owns packet memory"),
    ("node-ebpf/src/bin/reference/", "it writes the bench's traffic into packets"),
];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut found = |line: usize, what: String| findings.push(file.finding(line, what));

    let first = file.lines().find(|(_, line)| !line.trim().is_empty());
    if !first.is_some_and(|(_, line)| line.starts_with("//!")) {
        found(
            first.map_or(1, |(number, _)| number),
            "must begin with `//!`: what this module owns and what it must not touch".to_owned(),
        );
    }
    let lines = file.lines().count();
    if lines > LINES_MAX {
        found(lines, format!("has {lines} lines, more than {LINES_MAX}; split it by meaning"));
    }
    let may_read_packets = PACKET_END_PLACES.iter().any(|(place, _reason)| file.path.starts_with(place));
    for (number, line) in file.lines() {
        for promise in PROMISES.iter().filter(|promise| has_word(line, promise)) {
            found(number, format!("has `{promise}`; finish it or leave it out"));
        }
        // Comments may talk about packet memory.
        if !may_read_packets && !line.trim_start().starts_with("//") && has_word(line, PACKET_END) {
            found(
                number,
                format!(
                    "uses `{PACKET_END}`; only node-ebpf/src/frame.rs touches packet memory; read through its frame"
                ),
            );
        }
    }
    findings
}

/// Whether `word` stands in the line and is not a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let after = rest.strip_prefix(word).unwrap_or_default();
        let glued = (before.ends_with(in_name) && word.starts_with(in_name))
            || (after.starts_with(in_name) && word.ends_with(in_name));
        !glued
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    /// The findings for a module whose first line is right.
    fn findings(path: &str, body: &str) -> Vec<String> {
        check(&file(path, &format!("//! Owns this.\n{body}"))).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn a_module_must_say_what_it_owns() {
        for text in ["fn main() {}\n", "", "// not a doc\n", "\n#![no_std]\n//! late\n"] {
            assert_eq!(check(&file("src/a.rs", text)).len(), 1, "{text:?}");
        }
        assert!(check(&file("src/a.rs", "\n//! Owns this.\n")).is_empty());
        assert!(check(&file("a.sh", "echo\n")).is_empty());
    }

    #[test]
    fn a_module_may_not_be_too_long() {
        let body = |lines: usize| "//\n".repeat(lines - 1);
        assert!(findings("a.rs", &body(LINES_MAX)).is_empty());
        let said = findings("a.rs", &body(LINES_MAX + 1)).join("\n");
        assert!(said.starts_with("a.rs:451: has 451 lines"), "{said}");
    }

    #[test]
    fn promises_are_refused_in_code_and_in_comments() {
        for promise in PROMISES {
            for line in [format!("    {promise}"), format!("// {promise} later")] {
                let said = findings("a.rs", &line).join("\n");
                assert!(said.starts_with("a.rs:2: has"), "{line}: {said}");
            }
        }
        assert!(findings("a.rs", concat!("let template = \"XX", "XXXX\";")).is_empty());
        assert!(findings("a.rs", concat!("mod unHA", "CKed;")).is_empty());
    }

    #[test]
    fn packet_memory_stays_in_its_file() {
        let line = concat!("let end = ctx.data_", "end();");
        assert_eq!(findings("node-ebpf/src/main.rs", line).len(), 1);
        assert!(findings("node-ebpf/src/frame.rs", line).is_empty());
        assert!(findings("node-ebpf/src/main.rs", "let data_ending = 1;").is_empty());
    }
}
