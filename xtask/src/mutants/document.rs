//! docs/MUTATION.md as this verb reads it: the list of the mutants that may survive, each with its reason. Everything else on that page belongs to
//! people.

use anyhow::{Context as _, Result, bail, ensure};

use super::Survivor;

const SURVIVORS: [&str; 2] =
    ["<!-- begin: read by cargo xtask mutants -->\n", "<!-- end: read by cargo xtask mutants -->"];

pub(super) struct Document {
    listed: Vec<Survivor>,
}

impl Document {
    /// An entry of the list is a line ``- `SURVIVOR`: reason``; the reason may go on in indented lines.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let [begin, end] = SURVIVORS;
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
        Ok(Self { listed })
    }

    /// The survivors that have a reason.
    #[cfg(test)]
    pub(super) fn listed(&self) -> &[Survivor] {
        &self.listed
    }

    /// What is wrong between list and survivors, a line each. When only a part of the mutants was run, the others on the list are not missed.
    pub(super) fn compare(&self, survivors: &[Survivor], is_whole: bool) -> Vec<String> {
        // Two survivors may have one name: as many must be listed.
        let (mut unlisted, mut stale) = (Vec::new(), self.listed.clone());
        for survivor in survivors {
            match stale.iter().position(|listed| listed == survivor) {
                Some(at) => drop(stale.swap_remove(at)),
                None => unlisted.push(survivor),
            }
        }
        let mut problems: Vec<String> = unlisted
            .into_iter()
            .map(|survivor| {
                format!(
                    "survived: `{survivor}`\n  write a test that fails for it; if nothing can tell it from the code, list it with the reason in docs/MUTATION.md"
                )
            })
            .collect();
        if is_whole {
            problems.extend(
                stale
                    .iter()
                    .map(|listed| format!("no survivor: `{listed}`\n  take it off the list in docs/MUTATION.md")),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(list: &str) -> String {
        let [begin, end] = SURVIVORS;
        format!("# Title\n{begin}{list}{end}\nend\n")
    }

    fn names(names: &[&str]) -> Vec<Survivor> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn survivors_and_list_must_be_the_same() {
        let document =
            Document::parse(&page("\n- `a`: why\n  and more\n- `b | c`: why\n- `b | c`: why here, too\n\n")).unwrap();
        assert_eq!(document.listed(), ["a", "b | c", "b | c"]);
        assert_eq!(document.compare(&names(&["b | c", "a", "b | c"]), true), [""; 0]);
        let problems = document.compare(&names(&["a", "d", "b | c", "a"]), true);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|line| line.starts_with("survived: `a`")));
        assert!(problems.iter().any(|line| line.starts_with("survived: `d`")));
        assert!(problems.iter().any(|line| line.starts_with("no survivor: `b | c`")));
    }

    #[test]
    fn a_part_of_the_mutants_need_not_have_all_survivors() {
        let document = Document::parse(&page("- `a`: why\n- `b`: why\n")).unwrap();
        assert_eq!(document.compare(&names(&["b"]), false), [""; 0]);
        assert_eq!(document.compare(&names(&["c"]), false).len(), 1);
    }

    #[test]
    fn a_list_without_reasons_or_markers_is_refused() {
        for list in ["- `a`\n", "- `a`:\n", "- `a`: \n", "- a: why\n", "a\n"] {
            assert!(Document::parse(&page(list)).is_err(), "{list}");
        }
        for marker in SURVIVORS {
            assert!(Document::parse(&page("").replace(marker, "")).is_err(), "{marker}");
        }
    }
}
