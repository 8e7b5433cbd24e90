//! A Python of our own below `target/python`, with the packages that tests ask: `DuckDB`, which reads exported evidence, and Ansible, which rolls
//! nodewall out, with its linter.

use anyhow::Result;

use crate::{cmd::Cmd, progress::Step, workspace};

const PACKAGES: [&str; 3] = ["duckdb==2.0.0", "ansible-core==2.19.14", "ansible-lint==26.10.1"];

/// Makes it unless these very versions are there.
pub(super) fn ensure() -> Result<()> {
    let place = workspace::root().join("target/python");
    let python = place.join("bin/python");
    let frozen = || Cmd::new(&python).args(["-m", "pip", "freeze", "--disable-pip-version-check"]).read();
    if python.exists() && frozen().is_ok_and(|list| all_in(&list)) {
        return Ok(());
    }
    let step = Step::start(
        "installing DuckDB and Ansible into target/python by pip (tests read exports by one and roll out by the other; about 30 s)",
    );
    Cmd::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&place)
        .advice("install the Debian packages python3 and python3-venv, then run the command again")
        .run_quiet()?;
    Cmd::new(&python)
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"])
        .args(PACKAGES)
        .advice("make sure that PyPI can be reached, then run the command again")
        .run_quiet()?;
    step.done();
    Ok(())
}

/// Whether all packages are among those that pip lists.
fn all_in(list: &str) -> bool {
    PACKAGES.iter().all(|package| list.lines().any(|line| line == *package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_missing_or_of_another_version_is_noticed() {
        let list = PACKAGES.join("\n");
        assert!(all_in(&format!("attrs==1\n{list}\n")));
        assert!(!all_in(&list.replace("2.19.14", "2.19.1")));
        assert!(!all_in(PACKAGES.get(1).unwrap_or(&"")));
    }
}
