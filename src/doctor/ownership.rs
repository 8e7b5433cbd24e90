//! Files and directories that decide what is enforced: who else could write them. It must not read what is in them.

use std::path::{Path, PathBuf};

use nodewall_files::{Refusal, Seen};

use super::finding::{Finding, Findings, Status, Subject};

const CHECK: &str = "ownership";

/// A file or directory that nodewall believes, and whose it is.
#[derive(Debug)]
pub struct TrustedPath {
    /// What it is for: `the configuration`, `the state directory`.
    pub what: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Whose it is; `None`: it is not there; or why nodewall would not use it.
    pub seen: Result<Option<Seen>, Refusal>,
}

/// Reads whose a path is and the way to it, and not what is in it.
pub fn read(what: &'static str, path: &Path) -> TrustedPath {
    TrustedPath { what, path: path.to_owned(), seen: nodewall_files::look(path) }
}

/// Judges the paths, as whoever opens them does.
pub fn findings(paths: &[TrustedPath]) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Files);
    for TrustedPath { what, path, seen } in paths {
        let path = path.display();
        match seen {
            Ok(None) => findings.ok(CHECK, format!("{what} {path}: not there")),
            Ok(Some(Seen { uid, mode })) => findings.ok(CHECK, format!("{what} {path}: owner {uid}, mode {mode:04o}")),
            Err(refusal) if refusal.is_denied() => findings
                .add(Status::NotLookedAt, CHECK, format!("{what} {path}"))
                .because(refusal.problem())
                .advice("run `nodewall doctor` as root"),
            Err(refusal) => {
                let found = findings.add(Status::Degraded, CHECK, format!("{what} {path} {}", refusal.problem()));
                let found = found.because("nodewall refuses to run from it");
                if let Some(help) = refusal.help() {
                    found.advice(help);
                }
            }
        }
    }
    findings.into_vec()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn who_else_can_write_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodewall.toml");
        fs::write(&file, "").unwrap();
        let status = |path: &Path| findings(&[read("the configuration", path)])[0].status;
        for (mode, expected) in [(0o644, Status::Ok), (0o664, Status::Degraded), (0o646, Status::Degraded)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(status(&file), expected, "{mode:o}");
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(status(&link), Status::Degraded, "the target counts");
        assert_eq!(status(&folder.path().join("none")), Status::Ok);
        assert_eq!(status(&file.join("below")), Status::Ok, "below a file nothing is");

        // A directory on the way counts as much, and is named with what to type.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let [finding] = findings(&[read("the configuration", &file)]).try_into().unwrap();
        let place = folder.path().display();
        assert_eq!(finding.status, Status::Degraded);
        assert!(finding.found.contains(&format!("everybody can write in the directory {place}")), "{}", finding.found);
        assert_eq!(finding.advice.unwrap(), format!("chmod go-w {place}"));
    }
}
