//! Which Debian archive this machine's apt is configured for: apt reads its source files, and the archives say whose they are. The lists for that are
//! ours; nothing of the system's is changed.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::workspace;

/// A configured mirror of Debian's main archive and the suites that are used from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) uri: String,
    pub(crate) suites: Vec<String>,
}

/// The Debian archive that apt's sources name first.
pub(crate) fn debian_archive() -> Result<Archive> {
    let folder = workspace::tools().join("apt-lists");
    fs::create_dir_all(folder.join("lists/partial"))?;
    // Another source than Debian's may be out of order.
    let updated = apt("apt-get", &folder).arg("update").run_quiet();
    let said = apt("apt-get", &folder)
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"])
        // Updates have the label, too; security, backports and whatever others publish have not.
        .args(["Origin: Debian", "Label: Debian", "Component: main"])
        .read()?;
    let archive = first(&said);
    let none = "apt has no source that is Debian's main archive; add one to this machine's apt sources";
    if archive.is_none() {
        updated.context(none)?;
    }
    archive.ok_or_else(|| anyhow!(none))
}

/// A program of apt's with lists and cache in `folder`. Works without root.
pub(super) fn apt(program: &str, folder: &Path) -> Cmd {
    Cmd::new(program)
        .args(["-o", &format!("Dir::State::Lists={}", folder.join("lists").display())])
        .args(["-o", &format!("Dir::Cache={}", folder.join("cache").display())])
        // The sandbox user of a system-wide apt may not read a folder below somebody's checkout.
        .args(["-o", "APT::Sandbox::User=root"])
        .env("LC_ALL", "C")
}

/// The first archive in lines of `URI suite`, with its suites.
fn first(said: &str) -> Option<Archive> {
    let sources = || said.lines().filter_map(|line| line.split_once(' '));
    let (uri, _) = sources().next()?;
    let suites = sources().filter(|(of, _)| *of == uri).map(|(_, suite)| suite.to_owned()).collect();
    Some(Archive { uri: uri.to_owned(), suites })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_archive_is_taken_with_all_of_its_suites() {
        let said =
            "http://m.example/debian/ trixie\nhttp://n.example/debian/ sid\nhttp://m.example/debian/ trixie-updates\n";
        let suites = ["trixie", "trixie-updates"].map(str::to_owned).to_vec();
        assert_eq!(first(said), Some(Archive { uri: "http://m.example/debian/".to_owned(), suites }));
        assert_eq!(first(""), None);
    }
}
