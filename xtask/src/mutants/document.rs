//! docs/MUTATION.md as this verb reads it: the list of the mutants that may survive, each with its reason. Everything else on that page belongs to
//! people.

use anyhow::{Context as _, Result, bail, ensure};

use super::Survivor;

const MARKERS: [&str; 2] =
    ["<!-- begin: read by cargo xtask mutants -->\n", "<!-- end: read by cargo xtask mutants -->"];

/// The survivors that have a reason. An entry of the list is a line ``- `SURVIVOR`: reason``; the reason may go on in indented lines.
pub(super) fn listed(text: &str) -> Result<Vec<Survivor>> {
    let [begin, end] = MARKERS;
    let list = text.split_once(begin).and_then(|(_, rest)| Some(rest.split_once(end)?.0));
    let list =
        list.with_context(|| format!("docs/MUTATION.md lacks the lines {begin:?} and {end:?}; put them back"))?;
    let mut listed = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with("  ")) {
        let entry = line.strip_prefix("- `").and_then(|rest| rest.split_once('`'));
        let Some((survivor, reason)) = entry else {
            bail!("docs/MUTATION.md: {line:?} is no entry: - `SURVIVOR`: reason")
        };
        let reason = reason.strip_prefix(':').unwrap_or_default().trim();
        ensure!(!reason.is_empty(), "docs/MUTATION.md: `{survivor}` has no reason on its line");
        listed.push(survivor.to_owned());
    }
    Ok(listed)
}

/// What is wrong between list and survivors, a line each. When only a part of the mutants was run, the others on the list are not missed.
pub(super) fn problems(listed: &[Survivor], survivors: &[Survivor], is_whole: bool) -> Vec<String> {
    let mut problems = Vec::new();
    // Two survivors may have one name: as many must be listed.
    let mut stale = listed.to_vec();
    for survivor in survivors {
        match stale.iter().position(|listed| listed == survivor) {
            Some(at) => drop(stale.swap_remove(at)),
            None => problems.push(format!(
                "survived: `{survivor}`\n  write a test that fails for it; if nothing can tell it from the code, list it with the reason in docs/MUTATION.md"
            )),
        }
    }
    if is_whole {
        let stale = stale.iter();
        problems.extend(stale.map(|it| format!("no survivor: `{it}`\n  take it off the list in docs/MUTATION.md")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(list: &str) -> String {
        let [begin, end] = MARKERS;
        format!("# Title\n{begin}{list}{end}\nend\n")
    }

    fn names(names: &[&str]) -> Vec<Survivor> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn survivors_and_list_must_be_the_same() {
        let listed = listed(&page("\n- `a`: why\n  and more\n- `b | c`: why\n- `b | c`: why here, too\n\n")).unwrap();
        assert_eq!(listed, ["a", "b | c", "b | c"]);
        assert_eq!(problems(&listed, &names(&["b | c", "a", "b | c"]), true), [""; 0]);
        let found = problems(&listed, &names(&["a", "d", "b | c", "a"]), true);
        let first_words: Vec<&str> = found.iter().filter_map(|problem| problem.lines().next()).collect();
        assert_eq!(first_words, ["survived: `d`", "survived: `a`", "no survivor: `b | c`"]);
        // A part of the mutants need not have all survivors.
        assert_eq!(problems(&listed, &names(&["b | c"]), false), [""; 0]);
        assert_eq!(problems(&listed, &names(&["c"]), false).len(), 1);
    }

    #[test]
    fn a_list_without_reasons_or_markers_is_refused() {
        for list in ["- `a`\n", "- `a`:\n", "- `a`: \n", "- a: why\n", "a\n"] {
            assert!(listed(&page(list)).is_err(), "{list}");
        }
        for marker in MARKERS {
            assert!(listed(&page("").replace(marker, "")).is_err(), "{marker}");
        }
    }
}
