//! A Python of our own below `target/python`, with the one package that tests ask: `DuckDB`, which reads exported evidence.

use anyhow::Result;

use crate::{cmd::Cmd, progress::Step, workspace};

const DUCKDB: &str = "duckdb==2.0.0";

/// Makes it unless this very version is there.
pub(super) fn ensure() -> Result<()> {
    let place = workspace::root().join("target/python");
    let python = place.join("bin/python");
    let frozen = || Cmd::new(&python).args(["-m", "pip", "freeze", "--disable-pip-version-check"]).read();
    if python.exists() && frozen().is_ok_and(|list| list.lines().any(|line| line == DUCKDB)) {
        return Ok(());
    }
    let step =
        Step::start("installing DuckDB into target/python by pip (it reads exported evidence in tests; about 20 s)");
    Cmd::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&place)
        .advice("install the Debian packages python3 and python3-venv, then run the command again")
        .run_quiet()?;
    Cmd::new(&python)
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet", DUCKDB])
        .advice("make sure that PyPI can be reached, then run the command again")
        .run_quiet()?;
    step.done();
    Ok(())
}
