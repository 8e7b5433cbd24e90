//! `nodewall man` and `nodewall completions`: the command line described for `man` and for shells, made from what the parser knows.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{FINE, Failure};
use crate::{
    cli::{Cli, examples, exit_codes::EXIT_CODES},
    ui, version,
};

/// What an operator looks for on the node.
const FILES: [(&str, &str); 5] = [
    ("/etc/nodewall/nodewall.toml", "The configuration. --config names another."),
    ("/var/lib/nodewall", "State, peers, the journal of what operators did, evidence. --state-dir names another."),
    ("/sys/fs/bpf/nodewall", "What is in the kernel: maps and links. --bpffs names another."),
    (
        "/usr/share/nodewall",
        "Of the package: alert rules, dashboard, schema of the configuration, drop-ins for the units.",
    ),
    ("/usr/share/doc/nodewall", "Of the package: README and the documents that it names."),
];
/// Pages of other projects that say what nodewall works with.
const OTHERS: [(&str, &str); 4] = [("systemctl", "1"), ("ip-link", "8"), ("tc", "8"), ("bpf", "2")];

/// One page on standard output, or all of them as files `nodewall*.1` in a folder.
pub(super) fn man(folder: Option<&Path>) -> Result<u8, Failure> {
    let mut all = Cli::described().disable_help_subcommand(true);
    all.build();
    match folder {
        None => ui::print_lines(page(&all, None).context("the page cannot be made")?.trim_end())?,
        Some(folder) => fs::create_dir_all(folder)
            .and_then(|()| write(&all, None, folder))
            .with_context(|| format!("the pages cannot be written to {}", folder.display()))?,
    }
    Ok(FINE)
}

/// Writes the page of a command, and of those below it.
fn write(command: &Command, above: Option<&Command>, folder: &Path) -> io::Result<()> {
    let mut file = nodewall_files::output(&folder.join(format!("{}.1", name(command)))).map_err(io::Error::other)?;
    file.write_all(page(command, above)?.as_bytes())?;
    typed(command).try_for_each(|inner| write(inner, Some(command), folder))
}

/// One that nobody types is hidden.
fn typed(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set())
}

/// What its page is called.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, above: Option<&Command>) -> io::Result<String> {
    let man = Man::new(command.clone())
        .date(version::DATE)
        .source(concat!("nodewall ", env!("CARGO_PKG_VERSION")))
        .manual("nodewall");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    rest(command, above).to_writer(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What a manual page has besides, in the order of man-pages(7).
fn rest(command: &Command, above: Option<&Command>) -> Roff {
    let mut page = Roff::new();
    let mut listed = |heading: &str, entries: &mut dyn Iterator<Item = (String, &str)>| {
        page.control("SH", [heading]);
        for (entry, meaning) in entries {
            page.control("TP", []).text([bold(entry)]).text([roman(meaning)]);
        }
    };
    listed("EXIT STATUS", &mut EXIT_CODES.iter().map(|(code, meaning)| (code.to_string(), *meaning)));
    listed("FILES", &mut FILES.iter().map(|(file, meaning)| ((*file).to_owned(), *meaning)));
    if !command.has_subcommands() {
        page.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples(command.get_bin_name().unwrap_or_default()) {
            page.text([roman(line)]);
        }
        page.control("fi", []);
    }
    page.control("SH", ["SEE ALSO"]);
    let own = ["nodewall", above.map_or("nodewall", name)].into_iter().chain(typed(command).map(name));
    let own = own.filter(|page| *page != name(command)).map(|page| (page, "1"));
    let mut pages: Vec<(&str, &str)> = own.chain(OTHERS.into_iter().filter(|_| above.is_none())).collect();
    pages.dedup();
    let last = pages.len();
    for (number, (page_name, section)) in (1..).zip(pages) {
        let comma = if number < last { "," } else { "" };
        page.text([bold(page_name), roman(format!("({section}){comma}"))]);
    }
    page
}

pub(super) fn completions(shell: Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::described(), "nodewall", &mut script);
    ui::print_lines(String::from_utf8_lossy(&script).trim_end())?;
    Ok(FINE)
}
