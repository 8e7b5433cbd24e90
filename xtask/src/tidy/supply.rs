//! Rules for what is built from: the lock file is obeyed everywhere, dependencies bring what was asked for and no more, and the compiler that is pinned is the oldest that is promised.

use super::{Finding, SourceFile};

/// Where `cargo` may be started by its name: the one function that adds `--locked`, and the build of another version than the lock file's.
const MAY_NAME_CARGO: &[&str] = &["xtask/src/cmd.rs", "xtask/src/faults/next.rs", "xtask/src/tidy/supply.rs"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("xtask/src/")) {
        if MAY_NAME_CARGO.contains(&file.path.as_str()) {
            continue;
        }
        let by_name = file.lines().filter(|(_, line)| line.contains("Cmd::new(\"cargo\")"));
        findings.extend(by_name.map(|(number, _)| {
            file.finding(number, "starts cargo by its name; use Cmd::cargo, which obeys the lock file")
        }));
    }
    findings.extend(compiler(files));
    findings.extend(files.iter().filter(|file| file.path.ends_with("Cargo.toml")).flat_map(features));
    findings
}

/// What a dependency's authors switch on for everybody is not what this project needs: each feature is asked for by name.
fn features(manifest: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_dependencies = false;
    for (number, line) in manifest.lines() {
        if line.starts_with('[') {
            is_dependencies = line.ends_with("dependencies]");
            continue;
        }
        let Some((name, value)) = line.split_once(" = ").filter(|_| is_dependencies) else { continue };
        let has_version = value.starts_with('"') && !name.contains('.') || value.contains("version = ");
        if has_version && !value.contains("default-features = false") {
            let what = "comes with default features; say default-features = false and name those that are needed";
            findings.push(manifest.finding(number, format!("{name} {what}")));
        }
    }
    findings
}

/// `rust-toolchain.toml` pins what every crate promises to build with, so that every test is a test of that promise.
fn compiler(files: &[SourceFile]) -> Vec<Finding> {
    let value = |line: &str, key: &str| -> Option<String> {
        let rest = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        Some(rest.trim().trim_matches('"').to_owned())
    };
    let toolchain = files.iter().find(|file| file.path == "rust-toolchain.toml");
    let pinned = toolchain.and_then(|file| file.text.lines().find_map(|line| value(line, "channel")));
    let Some(pinned) = pinned else { return Vec::new() };
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        for (number, line) in file.lines() {
            let Some(promised) = value(line, "rust-version") else { continue };
            if !pinned.starts_with(&promised) {
                let what = format!("promises Rust {promised}, and rust-toolchain.toml pins {pinned}");
                findings.push(file.finding(number, what + ": what is promised is not tested"));
            }
        }
        if file.text.lines().any(|line| line == "[package]") && !file.text.contains("rust-version") {
            findings.push(file.finding(0, "promises no Rust version; add rust-version"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn cargo_by_its_name_and_promises_that_nobody_tests_are_found() {
        let files = [
            file("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95.0\"\n"),
            file("Cargo.toml", "[package]\nrust-version = \"1.90\"\n"),
            file("fuzz/Cargo.toml", "[package]\nname = \"x\"\n"),
            file(
                "a/Cargo.toml",
                "[package]\nrust-version = \"1.95\"\n[dev-dependencies]\na.workspace = true\nb = \"1\"\n",
            ),
            file("xtask/src/other.rs", "\n    Cmd::new(\"cargo\")\n"),
            file("xtask/src/cmd.rs", "    Cmd::new(\"cargo\")\n"),
        ];
        let found: Vec<(String, usize)> =
            check(&files).into_iter().map(|finding| (finding.file, finding.line)).collect();
        assert_eq!(
            found,
            [
                ("xtask/src/other.rs".to_owned(), 2),
                ("Cargo.toml".to_owned(), 2),
                ("fuzz/Cargo.toml".to_owned(), 0),
                ("a/Cargo.toml".to_owned(), 5)
            ]
        );
    }
}
