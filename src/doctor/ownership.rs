//! Files and directories that decide what is enforced: who else could write them. It must not read what is in them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Findings, Status, Subject};

const CHECK: &str = "ownership";

/// A file or directory that nodewall believes, and whose it is.
#[derive(Debug)]
pub struct TrustedPath {
    /// What it is for: `the configuration`, `the state directory`.
    pub what: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Owner, mode bits and whether it is a symbolic link; `None`: it is not there; or why it could not be looked at.
    pub ownership: io::Result<Option<Ownership>>,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The owner.
    pub uid: u32,
    /// Permission bits.
    pub mode: u32,
    /// A link, of which only the target matters for a file, and which is refused for a directory.
    pub is_link: bool,
}

/// Reads whose a path is, and not what is in it.
pub fn read(what: &'static str, path: &Path) -> TrustedPath {
    let read = fs::symlink_metadata(path).and_then(|own| {
        let is_link = own.is_symlink();
        let metadata = if is_link { fs::metadata(path)? } else { own };
        Ok(Ownership { uid: metadata.uid(), mode: metadata.mode() & 0o7777, is_link })
    });
    let ownership = match read {
        Ok(ownership) => Ok(Some(ownership)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    };
    TrustedPath { what, path: path.to_owned(), ownership }
}

/// Judges the paths. `own_uid` is the user that asks, who may own them besides root.
pub fn findings(paths: &[TrustedPath], own_uid: u32) -> Vec<Finding> {
    let mut findings = Findings::of(Subject::Files);
    for TrustedPath { what, path, ownership } in paths {
        let path = path.display();
        match ownership {
            Ok(None) => findings.ok(CHECK, format!("{what} {path}: not there")),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => findings
                .add(Status::NotLookedAt, CHECK, format!("{what} {path}"))
                .because(error.to_string())
                .advice("run `nodewall doctor` as root"),
            Err(error) => {
                findings
                    .add(Status::Degraded, CHECK, format!("{what} {path}: {error}"))
                    .because("nodewall can not use it either");
            }
            Ok(Some(Ownership { uid, mode, .. })) if mode & 0o022 != 0 || (*uid != 0 && *uid != own_uid) => findings
                .add(Status::Degraded, CHECK, format!("{what} {path}: owner {uid} and mode {mode:04o}"))
                .because("others than root can write what nodewall believes; it refuses to run from it")
                .advice(format!("chown root:root {path}; chmod go-w {path}")),
            Ok(Some(Ownership { uid, mode, is_link })) => {
                let link = if *is_link { ", by a symbolic link" } else { "" };
                findings.ok(CHECK, format!("{what} {path}: owner {uid}, mode {mode:04o}{link}"));
            }
        }
    }
    findings.into_vec()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn who_else_can_write_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodewall.toml");
        fs::write(&file, "").unwrap();
        let own = rustix::process::geteuid().as_raw();
        let status = |path: &Path| findings(&[read("the configuration", path)], own)[0].status;
        for (mode, expected) in [(0o644, Status::Ok), (0o664, Status::Degraded), (0o646, Status::Degraded)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(status(&file), expected, "{mode:o}");
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(status(&link), Status::Degraded, "the target counts");
        assert_eq!(status(&folder.path().join("none")), Status::Ok);
        assert_eq!(status(&file.join("below")), Status::Ok, "below a file nothing is");

        let strangers = Ownership { uid: own + 1, mode: 0o600, is_link: false };
        let path = |ownership| TrustedPath { what: "x", path: "/x".into(), ownership };
        assert_eq!(findings(&[path(Ok(Some(strangers)))], own)[0].status, Status::Degraded);
        let unseen = |kind: io::ErrorKind| path(Err(kind.into()));
        assert_eq!(findings(&[unseen(io::ErrorKind::PermissionDenied)], own)[0].status, Status::NotLookedAt);
        assert_eq!(findings(&[unseen(io::ErrorKind::Other)], own)[0].status, Status::Degraded);
    }
}
