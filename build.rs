//! Which commit is built, and of what day: for `nodewall --version --verbose` and the manual pages. A source without git builds all the same; whoever
//! builds one for others names the commit by `$NODEWALL_COMMIT`.

use std::{env, fs, path::Path, process::Command};

/// What nodewall is made of. What else is changed in a clone changes nothing of it.
const PARTS: [&str; 7] = ["build.rs", "Cargo.toml", "Cargo.lock", "src", "crates", "node-ebpf", "node-ebpf-common"];
/// Its last entry says of what day a source without git is.
const RELEASES: &str = "packaging/deb/changelog";

fn main() {
    println!("cargo::rerun-if-env-changed=NODEWALL_COMMIT");
    println!("cargo::rerun-if-changed={RELEASES}");
    for part in PARTS {
        println!("cargo::rerun-if-changed={part}");
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = env::var("NODEWALL_COMMIT").ok().or_else(commit).unwrap_or_else(|| "unknown".into());
    let date = git(&["log", "-1", "--format=%cs"]).or_else(released).unwrap_or_default();
    println!("cargo::rustc-env=NODEWALL_COMMIT={commit}");
    println!("cargo::rustc-env=NODEWALL_DATE={date}");
}

fn commit() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&[&["status", "--porcelain", "--"], PARTS.as_slice()].concat())?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-dirty") })
}

/// As Debian's changelog has it: ` -- NAME <ADDRESS>  Mon, 23 Nov 2026 12:00:00 +0000`.
fn released() -> Option<String> {
    let text = fs::read_to_string(RELEASES).ok()?;
    let (_, at) = text.lines().find_map(|line| line.strip_prefix(" -- ")?.split_once(", "))?;
    Some(at.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// What git says of this source, also where the clone is another user's, as in a container's build. A git folder above is of something else.
fn git(words: &[&str]) -> Option<String> {
    let here = env::current_dir().ok()?;
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*"]).args(words).env("GIT_CEILING_DIRECTORIES", here.parent()?);
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
