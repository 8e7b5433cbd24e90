//! Rules for Rust modules: each says what it owns, stays short, promises nothing for later, and keeps to its own side of
//! the borders that ARCHITECTURE.md draws. The patterns are put together from pieces, so that this file passes its own
//! rules.

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

/// Names that belong to some places only: the name, how it is recognised, the places, and why.
struct Border {
    names: &'static [&'static str],
    used: fn(line: &str, name: &str) -> bool,
    /// Path prefixes, each with the reason why it may.
    places: &'static [(&'static str, &'static str)],
    instead: &'static str,
}

const BORDERS: &[Border] = &[
    Border {
        names: &["aya", "aya_log", "aya_obj"],
        used: names_crate,
        places: &[
            ("src/datapath/", "it is the kernel's BPF side"),
            ("benches/speed/", "it loads the programs that nodewall is measured against"),
        ],
        instead: "only src/datapath names aya; add what you need there",
    },
    Border {
        names: &[concat!("data_", "end")],
        used: has_word,
        places: &[
            ("node-ebpf/src/frame.rs", "it owns packet memory"),
            ("node-ebpf/src/bin/reference/", "it writes the bench's traffic into packets"),
            ("src/datapath/engine.rs", "a field of the test run's context has this name; there are no pointers"),
        ],
        instead: "only node-ebpf/src/frame.rs touches packet memory; read through its frame",
    },
];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut found = |line: usize, what: String| findings.push(Finding::new(&file.path, line, what));

    let first = (1..).zip(file.text.lines()).find(|(_, line)| !line.trim().is_empty());
    if !first.is_some_and(|(_, line)| line.starts_with("//!")) {
        found(
            first.map_or(1, |(number, _)| number),
            "must begin with `//!`: what this module owns and what it must not touch".to_owned(),
        );
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        found(lines, format!("has {lines} lines, more than {LINES_MAX}; split it by meaning"));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        for promise in PROMISES.iter().filter(|promise| has_word(line, promise)) {
            found(number, format!("has `{promise}`; finish it or leave it out"));
        }
        if line.trim_start().starts_with("//") {
            continue; // Comments may talk about what lies beyond a border.
        }
        for border in BORDERS.iter().filter(|border| !border.has(&file.path)) {
            for name in border.names.iter().filter(|name| (border.used)(line, name)) {
                found(number, format!("uses `{name}`; {}", border.instead));
            }
        }
    }
    findings
}

impl Border {
    fn has(&self, path: &str) -> bool {
        self.places.iter().any(|(place, _reason)| path.starts_with(place))
    }
}

/// Whether `word` stands in the line and is not a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    words(line, word).next().is_some()
}

/// Whether the line names the crate: `name::…` or `use name`.
fn names_crate(line: &str, name: &str) -> bool {
    words(line, name).any(|(before, after)| {
        // `crate::name::` is somebody else's module; `::name::` is the crate again.
        let nested = before.strip_suffix("::").is_some_and(|outer| outer.ends_with(in_name));
        let path = after.starts_with("::") && !nested;
        path || before.trim_end().ends_with("use") || before.trim_end().ends_with("extern crate")
    })
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What stands before and after each place where `word` is a whole word.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = line.split_at(at);
        let after = rest.strip_prefix(word)?;
        let glued = (before.ends_with(in_name) && word.starts_with(in_name))
            || (after.starts_with(in_name) && word.ends_with(in_name));
        (!glued).then_some((before, after))
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
    fn aya_stays_in_the_datapath() {
        let aya = concat!("ay", "a");
        for line in [
            format!("use {aya}::Ebpf;"),
            format!("use {aya};"),
            format!("use {aya} as bpf;"),
            format!("let x: {aya}::maps::Map = y;"),
            format!("{aya}_log::EbpfLogger::init();"),
            format!("extern crate {aya};"),
            format!("let x = ::{aya}::Ebpf::load(y);"),
        ] {
            for place in ["src/main.rs", "tests/kernel.rs", "src/datapath_other.rs"] {
                assert_eq!(findings(place, &line).len(), 1, "{place}: {line}");
            }
            assert!(findings("src/datapath/load.rs", &line).is_empty(), "{line}");
        }
        for line in [
            format!("use {aya}_ebpf::programs::XdpContext;"),
            format!("crate::{aya}::x()"),
            format!("// like {aya}::Ebpf"),
            format!("let malayalam = \"{aya}\";"),
        ] {
            assert!(findings("node-ebpf/src/main.rs", &line).is_empty(), "{line}");
        }
    }

    #[test]
    fn packet_memory_stays_in_its_file() {
        let line = concat!("let end = ctx.data_", "end();");
        assert_eq!(findings("node-ebpf/src/main.rs", line).len(), 1);
        assert!(findings("node-ebpf/src/frame.rs", line).is_empty());
        assert!(findings("node-ebpf/src/main.rs", "let data_ending = 1;").is_empty());
    }
}
