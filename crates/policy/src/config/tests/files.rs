//! Which file counts, and which file is believed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::super::file::resolve_with;
use super::super::{Config, ConfigOrigin, MAX_FILE_BYTES, Mode, Trust};

fn write(directory: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn message(path: &Path) -> String {
    Config::load_with(path, Trust::OwnerOnly).unwrap_err().to_string()
}

#[test]
fn named_file_then_standard_file_then_embedded() {
    let directory = tempfile::tempdir().unwrap();
    let standard = directory.path().join("standard.toml");
    let embedded = resolve_with(None, &standard, Trust::OwnerOnly).unwrap();
    assert_eq!(embedded.origin, ConfigOrigin::Embedded);
    assert_eq!(embedded.origin.to_string(), "embedded default");

    write(directory.path(), "standard.toml", b"mode = \"audit\"\n", 0o644);
    let found = resolve_with(None, &standard, Trust::OwnerOnly).unwrap();
    assert_eq!((&found.origin, found.mode), (&ConfigOrigin::Standard(standard.clone()), Mode::Audit));
    assert_eq!(found.origin.to_string(), standard.display().to_string());

    let named = write(directory.path(), "named.toml", b"mode = \"enforce\"\n", 0o600);
    let found = resolve_with(Some(&named), &standard, Trust::OwnerOnly).unwrap();
    assert_eq!((&found.origin, found.mode), (&ConfigOrigin::Named(named), Mode::Enforce));
}

#[test]
fn a_named_file_that_is_missing_is_never_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let error = resolve_with(Some(&missing), &missing, Trust::OwnerOnly).unwrap_err().to_string();
    assert!(error.contains("missing.toml: cannot be read: No such file"), "{error}");
    // The standard file as a dangling link was meant to be something.
    let link = directory.path().join("link.toml");
    symlink(&missing, &link).unwrap();
    let error = resolve_with(None, &link, Trust::OwnerOnly).unwrap_err().to_string();
    assert!(error.contains("link.toml: cannot be read: No such file"), "{error}");
}

#[test]
fn a_broken_standard_file_is_never_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "standard.toml", b"mod = 1\n", 0o644);
    let error = resolve_with(None, &path, Trust::OwnerOnly).unwrap_err();
    assert_eq!(error.errors()[0].line, Some(1));
    assert!(error.to_string().contains("standard.toml:1:1: unknown key"), "{error}");
}

#[test]
fn files_that_others_can_write_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for mode in [0o664, 0o646, 0o666, 0o622] {
        let path = write(directory.path(), "open.toml", b"", mode);
        let error = message(&path);
        assert!(error.contains(&format!("can be written by others (mode {mode:04o})")), "{error}");
        assert!(error.contains("help: chmod go-w "), "{error}");
        assert!(Config::load_with(&path, Trust::Anyone).is_ok());
    }
    for mode in [0o644, 0o600, 0o400, 0o755] {
        assert!(
            Config::load_with(&write(directory.path(), &format!("{mode:o}.toml"), b"", mode), Trust::OwnerOnly).is_ok(),
            "{mode:o}"
        );
    }
    // A link is judged by the file it leads to.
    let link = directory.path().join("link.toml");
    symlink(directory.path().join("open.toml"), &link).unwrap();
    assert!(message(&link).contains("can be written by others"));
}

#[test]
fn what_is_no_configuration_at_all() {
    let directory = tempfile::tempdir().unwrap();
    assert!(message(directory.path()).ends_with(": is not a regular file"));

    let fifo = directory.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    assert!(message(&fifo).ends_with(": is not a regular file"), "a FIFO must be refused, not waited for");

    let latin = write(directory.path(), "latin1.toml", b"mode = \"audit\"\n# gr\xf6\xdfe\n", 0o600);
    assert!(message(&latin).contains("is not UTF-8 text: invalid byte in line 2"));

    let size = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
    let large = write(directory.path(), "large.toml", &vec![b'#'; size], 0o600);
    assert!(message(&large).contains("is larger than 1048576 bytes"));
}
