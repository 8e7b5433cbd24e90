//! ARCHITECTURE.md's code map and the modules must name each other: every module is in the map, by path or by a folder
//! above it, and every place in the map is there.

use std::path::Path;

use super::{Finding, SourceFile};

const MAP: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Code map";

/// Folders whose modules the map must have.
const MAPPED: &[&str] = &["src/", "crates/", "node-ebpf/src/", "node-ebpf-common/src/"];

/// The root package's table of contents, which owns nothing itself.
const CONTENTS: &str = "lib.rs";

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == MAP) else {
        return Vec::new();
    };
    let places = places(&map.text);
    if places.is_empty() {
        return vec![Finding::new(MAP, 0, format!("has no table of places under `{HEADING}`"))];
    }
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| must_be_mapped(&file.path)) {
        if !places.iter().any(|(_, place)| covers(place, &file.path)) {
            findings.push(Finding::new(&file.path, 0, format!("is not in {MAP}'s code map; say there what it owns")));
        }
    }
    for (line, place) in &places {
        if !files.iter().any(|file| covers(place, &file.path)) {
            findings.push(Finding::new(MAP, *line, format!("the code map names `{place}`, which is not there")));
        }
    }
    findings
}

fn must_be_mapped(path: &str) -> bool {
    is_module(path) && MAPPED.iter().any(|folder| path.strip_prefix(folder).is_some_and(|module| module != CONTENTS))
}

fn is_module(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ext| ext == "rs")
}

/// Whether a place of the map (a file, or a folder with its slash) covers the path.
fn covers(place: &str, path: &str) -> bool {
    // A module's own file may stand beside its folder: `src/cli/` covers `src/cli.rs`.
    let own_file = place.strip_suffix('/').and_then(|folder| path.strip_prefix(folder)) == Some(".rs");
    own_file || path == place || (place.ends_with('/') && path.starts_with(place))
}

/// The places in the first column of the code map's table, with their lines.
fn places(text: &str) -> Vec<(usize, &str)> {
    (1..)
        .zip(text.lines())
        .skip_while(|(_, line)| line.trim() != HEADING)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(number, line)| Some((number, line.strip_prefix('|')?.split('|').next()?)))
        .flat_map(|(number, column)| {
            // Every second piece stands between back quotes.
            let quoted = column.split('`').skip(1).step_by(2);
            quoted.map(move |place| (number, place))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    const TABLE: &str = "# A\n\n## Code map\n\n| place | owns |\n|---|---|\n| `src/main.rs`, `src/version.rs` | x |\n\
                         | `src/cli/` | not `src/lost.rs` |\n| `crates/text/` | y |\n\n## Else\n\n| `src/no.rs` | z |\n";

    fn findings(table: &str, paths: &[&str]) -> Vec<String> {
        let mut files = vec![file(MAP, table)];
        files.extend(paths.iter().map(|path| file(path, "")));
        check(&files).iter().map(Finding::to_string).collect()
    }

    const COMPLETE: &[&str] =
        &["src/main.rs", "src/version.rs", "src/lib.rs", "src/cli.rs", "src/cli/parse.rs", "crates/text/src/lib.rs"];

    #[test]
    fn a_map_and_modules_that_agree_are_fine() {
        assert_eq!(findings(TABLE, COMPLETE), Vec::<String>::new());
    }

    #[test]
    fn a_module_that_the_map_lacks_is_refused() {
        for lost in ["src/lost.rs", "node-ebpf/src/lost.rs", "src/net/lost.rs", "crates/lost/src/lib.rs"] {
            let paths = [COMPLETE, &[lost]].concat();
            let said = findings(TABLE, &paths).join("\n");
            assert!(said.starts_with(&format!("{lost}: is not in")), "{said}");
        }
    }

    #[test]
    fn a_place_without_a_file_is_refused() {
        let paths: Vec<&str> = COMPLETE.iter().copied().filter(|path| *path != "src/version.rs").collect();
        let said = findings(TABLE, &paths).join("\n");
        assert!(said.starts_with("ARCHITECTURE.md:7: ") && said.contains("`src/version.rs`"), "{said}");
    }

    #[test]
    fn a_document_without_a_map_is_refused() {
        assert_eq!(findings("# A\n", COMPLETE).len(), 1);
    }
}
