//! docs/MUTATION.md as this verb reads and writes it: the list of the mutants that may survive, each with its reason, and the figures between
//! their markers. Everything else on that page belongs to people.

use anyhow::{Context as _, Result, bail, ensure};

use super::Survivor;

const FIGURES: [&str; 2] =
    ["<!-- begin: written by cargo xtask mutants -->\n", "<!-- end: written by cargo xtask mutants -->"];
const SURVIVORS: [&str; 2] =
    ["<!-- begin: read by cargo xtask mutants -->\n", "<!-- end: read by cargo xtask mutants -->"];

pub(super) struct Document {
    before_figures: String,
    after_figures: String,
    listed: Vec<Survivor>,
}

impl Document {
    /// An entry of the list is a line ``- `SURVIVOR`: reason``; the reason may go on in indented lines.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (before, _, after) = between(text, FIGURES)?;
        let (_, list, _) = between(text, SURVIVORS)?;
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
        Ok(Self { before_figures: before.to_owned(), after_figures: after.to_owned(), listed })
    }

    /// The survivors that have a reason.
    #[cfg(test)]
    pub(super) fn listed(&self) -> &[Survivor] {
        &self.listed
    }

    /// The page with other figures.
    pub(super) fn with_figures(&self, figures: &str) -> String {
        let [begin, end] = FIGURES;
        format!("{}{begin}\n{figures}\n{end}{}", self.before_figures, self.after_figures)
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

/// What stands before, between and after a pair of markers.
fn between<'a>(text: &'a str, [begin, end]: [&str; 2]) -> Result<(&'a str, &'a str, &'a str)> {
    text.split_once(begin)
        .and_then(|(before, rest)| rest.split_once(end).map(|(inside, after)| (before, inside, after)))
        .with_context(|| {
            format!("docs/MUTATION.md lacks the pair of lines {:?} and {end:?}; put them back", begin.trim_end())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(list: &str) -> String {
        let ([figures, figures_end], [survivors, survivors_end]) = (FIGURES, SURVIVORS);
        format!("# Title\n{figures}old\n{figures_end}\ntext\n{survivors}{list}{survivors_end}\nend\n")
    }

    fn names(names: &[&str]) -> Vec<Survivor> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_the_figures_change() {
        let document = Document::parse(&page("- `a`: why\n")).unwrap();
        let text = document.with_figures("new\n");
        assert_eq!(text, page("- `a`: why\n").replace("old\n", "\nnew\n\n"));
        assert_eq!(Document::parse(&text).unwrap().with_figures("new\n"), text, "the same again");
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
        for marker in FIGURES.iter().chain(&SURVIVORS) {
            assert!(Document::parse(&page("").replace(marker, "")).is_err(), "{marker}");
        }
    }
}
