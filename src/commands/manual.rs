//! `nodewall man` and `nodewall completions`: the command line described for `man` and for shells, made from what the parser knows.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap_complete::Shell;

use super::{FINE, Failure};
use crate::{cli::Cli, ui};

/// One page on standard output, or all of them as files `nodewall*.1` in a folder.
pub(super) fn man(folder: Option<&Path>) -> Result<u8, Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::described()).render(&mut page).context("the page can not be made")?;
        ui::print_line(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(FINE);
    };
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::described(), folder))
        .with_context(|| format!("the pages can not be written to {}", folder.display()))?;
    Ok(FINE)
}

pub(super) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::described(), "nodewall", &mut script);
    ui::print_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(FINE)
}
