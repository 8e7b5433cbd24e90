//! The file: its text, and how it gets into its place. Whole or not at all, never over another one unasked, and only after the real parser has read
//! it where it will be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nodewall_files::{Dir, Refusal};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use toml::Value;

use super::{
    answers::{Answers, about_8443},
    discovery::{Discovery, Witness},
};
use nodewall_policy::config::{Chosen, Config, ConfigErrors, Trust, commented_file, show};

/// Readable by root's group, and writable by nobody else: it names the cluster's nodes, and holds no secret.
const MODE: u32 = 0o640;
/// Outsiders that the file's comment names.
const MAX_NAMED: usize = 10;

/// Why there is no file. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is one.
    #[error("{} is there already; --force replaces it and keeps the old one beside it, --stdout only shows the new one", .0.display())]
    Exists(PathBuf),
    /// The file system.
    #[error("can not write {}: {source}; nothing was changed", path.display())]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// What was written can not be read back.
    #[error("the new file would be refused, so it was not put in place: {0}")]
    Refused(#[from] ConfigErrors),
    /// The directory is not where nobody else can change what is in it.
    #[error("the file was not put in place: {0}")]
    Way(#[from] Refusal),
    /// The schema that is compiled in.
    #[error("the schema that is compiled in can not be read: {0}; this is a fault of nodewall, please report it")]
    Schema(#[from] serde_json::Error),
}

/// The file's text: it audits.
///
/// # Errors
/// Never with the schema that is compiled in.
pub fn text(answers: &Answers, found: &Discovery) -> Result<String, FileError> {
    let heading = [
        "nodewall's configuration, written by nodewall init: every key, what it means, and its default.",
        "A key without the # counts; so must its table's header in brackets. nodewall check reads the file and touches nothing.",
        "",
        "It audits: it counts and records what would be dropped, and drops nothing. To enforcing:",
        "nodewall plan --mode enforce; nodewall enforce --confirm-within 5m.",
    ];
    let mut chosen = BTreeMap::new();
    let mut choose =
        |key: &str, value: Value, because: Vec<String>| chosen.insert(key.to_owned(), Chosen { value, because });
    choose("mode", "audit".into(), Vec::new());
    if !answers.interfaces.is_empty() {
        choose("interfaces", list(answers.interfaces.iter().map(ToString::to_string)), Vec::new());
    }
    if answers.single_node {
        choose("single_node", true.into(), Vec::new());
    }
    if let Some(version) = &answers.cluster_version {
        choose("profile.cluster_version", version.to_string().into(), vec![about_8443(Some(version)).to_owned()]);
    }
    if let Some(access) = answers.agent_port_8443 {
        let outsiders = found.outsiders(&answers.all_peers(found));
        let seen =
            outsiders.iter().take(MAX_NAMED).map(|outsider| format!("Seen on it, and no peer: {}.", outsider.text()));
        choose("profile.agent_port_8443", access.to_string().into(), seen.collect());
    }
    let named: BTreeSet<IpNet> = answers.peers.iter().chain(&answers.own).copied().collect();
    if !named.is_empty() {
        let because = |net: &IpNet| {
            if answers.own.contains(net) {
                return format!("{}: this node; named like the others, so that all nodes have one policy.", show(net));
            }
            format!("{}: {}.", show(net), witness(found, net))
        };
        choose("peers.static", list(named.iter().map(show)), named.iter().map(because).collect());
    }
    if let Some(path) = &answers.peers_file {
        choose("peers.file", path.to_string_lossy().into_owned().into(), said(found, Witness::File));
    }
    if answers.vendor_firewall {
        choose("peers.vendor_firewall", true.into(), said(found, Witness::VendorFirewall));
    }
    Ok(commented_file(&heading.map(str::to_owned), &chosen)?)
}

/// The file that packages install: every default, but it audits.
///
/// # Errors
/// Never with the schema that is compiled in.
pub fn packaged_text() -> Result<String, FileError> {
    let heading = [
        "nodewall's configuration: every key, what it means, and its default. docs/CONFIGURATION.md says more.",
        "A key without the # counts; so must its table's header in brackets.",
        "",
        "This one audits: it counts and records what would be dropped, and drops nothing. To enforcing:",
        "nodewall init; nodewall plan --mode enforce; nodewall enforce --confirm-within 5m.",
    ];
    let chosen = BTreeMap::from([("mode".to_owned(), Chosen { value: "audit".into(), because: Vec::new() })]);
    Ok(commented_file(&heading.map(str::to_owned), &chosen)?)
}

/// Whether there is no file at `path` that anybody has put work into: none, or the packaged one as it came.
///
/// # Errors
/// When there is another one ([`FileError::Exists`]).
pub fn refuse_existing(path: &Path) -> Result<(), FileError> {
    if path.symlink_metadata().is_err() || fs::read_to_string(path).ok() == Some(packaged_text()?) {
        return Ok(());
    }
    Err(FileError::Exists(path.to_path_buf()))
}

fn list(words: impl Iterator<Item = String>) -> Value {
    Value::Array(words.map(Value::from).collect())
}

fn witness(found: &Discovery, net: &IpNet) -> &'static str {
    let peers = found.peers();
    let known = peers.iter().find(|peer| peer.address == show(net)).and_then(|peer| peer.found_by.first());
    known.map_or(Witness::Typed.text(), |witness| witness.text())
}

fn said(found: &Discovery, by: Witness) -> Vec<String> {
    let peers: Vec<String> = found.known_to(by).map(|net| show(&net)).collect();
    if peers.is_empty() { Vec::new() } else { vec![format!("When this was written: {}.", peers.join(", "))] }
}

/// Removes what was begun, unless it got to its end.
struct Unfinished(Option<PathBuf>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Puts the text at `path`. A file that is there is kept as `path.SECONDS` (Unix time), which is returned; it is replaced only with `replace`, or where
/// it is the packaged one.
///
/// # Errors
/// When there is another file and `replace` is not set, when the parser refuses the text, and when the file system does.
pub fn place(path: &Path, text: &str, replace: bool, now_unix_s: u64) -> Result<Option<PathBuf>, FileError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| FileError::Io { path, source }
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where nobody else can change what is meant: what follows goes by names.
    Dir::create(directory, 0o755)?;
    let new = sibling(path, &format!("new-{}", std::process::id()));
    let mut unfinished = Unfinished(Some(new.clone()));
    write_new(&new, text.as_bytes()).map_err(failed(&new))?;
    // As `apply` will: the same bytes, owner and mode, in the same directory.
    Config::load_with(&new, Trust::OwnerOnly)?;
    let replace = replace || (path.exists() && refuse_existing(path).is_ok());
    let backup = if replace { keep_old(path, now_unix_s).map_err(failed(path))? } else { None };
    if backup.is_some() {
        fs::rename(&new, path).map_err(failed(path))?;
    } else {
        // Not even one that came since somebody looked.
        renameat_with(CWD, &new, CWD, path, RenameFlags::NOREPLACE).map_err(|error| match error {
            rustix::io::Errno::EXIST => FileError::Exists(path.to_path_buf()),
            error => failed(path)(error.into()),
        })?;
    }
    unfinished.0 = None;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed(directory))?;
    Ok(backup)
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// A copy, so that the file is never away. `None`: there was none.
fn keep_old(path: &Path, now_unix_s: u64) -> io::Result<Option<PathBuf>> {
    let backup = sibling(path, &now_unix_s.to_string());
    let old = match fs::read(path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    write_new(&backup, &old)?;
    Ok(Some(backup))
}

fn sibling(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}
