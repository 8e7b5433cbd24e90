//! `cargo xtask deny`: what nodewall is made of, held to deny.toml: licences, sources, versions that are there twice.

use anyhow::Result;

use crate::cmd::Cmd;
use crate::setup::Tool;
use crate::workspace;

const CARGO_DENY: Tool =
    Tool { name: "cargo-deny", version: "0.20.2", what_for: "it checks licences and sources; about 3 minutes" };

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ask `RustSec` for known vulnerabilities instead (fetches it from the internet)
    #[arg(long)]
    advisories: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let cargo_deny = CARGO_DENY.ensure()?;
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let deny = Cmd::new(&cargo_deny).args(["--locked", "--manifest-path", manifest]).dir(workspace::root());
        let deny = if args.advisories {
            deny.args(["check", "advisories"])
                .advice("this needs the internet; an advisory that does not concern nodewall goes into deny.toml with its reason")
        } else {
            deny.args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
                .advice("take out what is refused, or name it in deny.toml with its reason")
        };
        deny.run()?;
    }
    Ok(())
}
