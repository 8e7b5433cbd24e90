//! What nodewall says of itself: the manual pages, and what is built. It must not judge their words.

use std::{fs, path::Path, process::Command};

use crate::binary::Scratch;

const SECTIONS: [&str; 8] =
    ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMON OPTIONS", "EXIT STATUS", "FILES", "SEE ALSO"];

/// What git says of the clone that was built; nothing where there is none.
fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*"])
        .args(words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// The headings of a page.
fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| Some(line.strip_prefix(".SH ")?.trim_matches('"'))).collect()
}

/// A page without its escapes of hyphens.
fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).replace("\\-", "-")
}

#[test]
fn every_page_has_its_sections_a_date_and_neighbours_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    Scratch::run_bare(&["man", folder.path().to_str().unwrap()]).exits(0);
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 30 && !names.iter().any(|name| name.contains("trial-guard")), "{names:?}");
    for name in &names {
        let page = read(folder.path(), name);
        let found = sections(&page);
        for section in SECTIONS {
            assert!(found.contains(&section), "{name}: no {section} among {found:?}");
        }
        // Of a command that does something itself.
        assert_eq!(found.contains(&"EXAMPLES"), !found.contains(&"SUBCOMMANDS"), "{name}");
        let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
        // In a source without git the release's.
        let date = git(&["log", "-1", "--format=%cs"]).unwrap_or_else(|| " 20".to_owned());
        assert!(title.contains(&date), "{name}: no {date:?} in {title}");
        let named = page.split(|letter: char| letter.is_whitespace() || "(,".contains(letter));
        let named = named.filter(|word| word.starts_with("nodewall-")).map(|word| format!("{word}.1"));
        for neighbour in named {
            assert!(names.contains(&neighbour), "{name} names {neighbour}");
        }
    }
    // What is printed is the first of them.
    let printed = Scratch::run_bare(&["man"]).exits(0).out.replace("\\-", "-");
    assert_eq!(printed.trim(), read(folder.path(), "nodewall.1").trim());
}

/// A build from a clone names its commit, whoever made it, and says when it is not the commit alone.
#[test]
fn a_build_names_its_commit() {
    let said = Scratch::run_bare(&["--version", "--verbose"]).exits(0).out;
    let commit = said.lines().find_map(|line| line.strip_prefix("commit:")).unwrap().trim();
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(head) => assert!(commit == head || commit == format!("{head}-dirty"), "{commit} of {head}"),
        None => assert_eq!(commit, "unknown"),
    }
}
