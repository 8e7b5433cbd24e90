//! How large the project is: lines of `src` and `crates/*/src` that are neither blank nor comment, tests in files of their own left out; and xtask's lines.

use std::collections::BTreeMap;
use std::path::Path;

use super::SourceFile;

/// A line for each folder, the largest first, then the sums.
pub(super) fn table(files: &[SourceFile]) -> String {
    let mut folders = BTreeMap::<&str, usize>::new();
    for file in files {
        if let Some(folder) = counted_in(&file.path) {
            *folders.entry(folder).or_default() += lines(&file.text);
        }
    }
    let total: usize = folders.values().sum();
    let in_xtask = files.iter().filter(|file| file.path.starts_with("xtask/") && file.has_extension(&["rs"]));
    let xtask: usize = in_xtask.map(|file| file.text.lines().count()).sum();
    let mut rows: Vec<(&str, usize)> = folders.into_iter().collect();
    rows.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    rows.extend([("all of src and crates", total), ("xtask, every line", xtask)]);
    rows.iter().map(|(name, lines)| format!("{lines:>7}  {name}\n")).collect()
}

/// Neither blank nor comment.
fn lines(text: &str) -> usize {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// The folder that a file is counted in: `src`, `src/agent`, `crates/policy`.
fn counted_in(path: &str) -> Option<&str> {
    let below_crates = path.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/"));
    let is_source = path.starts_with("src/") || below_crates.is_some_and(|(name, _)| !name.contains('/'));
    let is_test = ["/tests/", "/tests.rs", "/test/", "/test.rs"].iter().any(|part| path.contains(part));
    if !is_source || is_test || Path::new(path).extension().is_none_or(|extension| extension != "rs") {
        return None;
    }
    let second = path.match_indices('/').nth(1).map(|(at, _)| at);
    path.get(..second.or_else(|| path.find('/'))?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn only_code_is_counted_and_only_where_it_counts() {
        let text = "//! Doc.\n\nfn a() {} // with a remark\n    // no\n#[cfg(test)]\nmod tests {}\n";
        let paths = [
            "src/a.rs",
            "src/b/c.rs",
            "src/b/tests.rs",
            "src/b/tests/d.rs",
            "crates/x/src/y/z.rs",
            "crates/x/build.rs",
            "xtask/src/a.rs",
            "src/a.sh",
        ];
        let files: Vec<SourceFile> = paths.iter().map(|path| file(path, text)).collect();
        let rows: Vec<String> =
            table(&files).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rows, ["3 crates/x", "3 src", "3 src/b", "9 all of src and crates", "6 xtask, every line"]);
    }
}
