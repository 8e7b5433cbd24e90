//! The tree of files that both packages hold, in target/dist/tree. What becomes of a file (mode, configuration or not) is said in Cargo.toml.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

use super::folder;
use crate::cmd::Cmd;
use crate::{files, workspace};

/// Files of the project, and the folder that they go to.
const FILES: &[(&str, &str)] = &[
    ("packaging/nodewall.toml", "etc/nodewall"),
    ("packaging/systemd/nodewall-apply.service", "usr/lib/systemd/system"),
    ("packaging/systemd/nodewall.service", "usr/lib/systemd/system"),
    ("nodewall.schema.json", "usr/share/nodewall"),
    ("packaging/systemd/old-systemd.conf", "usr/share/nodewall"),
    ("packaging/systemd/captures.conf", "usr/share/nodewall"),
    ("packaging/package.sh", "usr/share/nodewall"),
    ("packaging/prometheus/rules.yml", "usr/share/nodewall"),
    ("packaging/grafana/nodewall.json", "usr/share/nodewall"),
    ("README.md", "usr/share/doc/nodewall"),
    ("CHANGELOG.md", "usr/share/doc/nodewall"),
    ("ARCHITECTURE.md", "usr/share/doc/nodewall"),
    ("CONTRIBUTING.md", "usr/share/doc/nodewall"),
    ("SECURITY.md", "usr/share/doc/nodewall"),
    ("LICENSE-MIT", "usr/share/doc/nodewall"),
    ("LICENSE-APACHE", "usr/share/doc/nodewall"),
];
/// Folders of documents with what they show, laid out as in the project: a link of the README is one on the node, too. By extension.
const DOCUMENTS: &[(&str, &str)] = &[("docs", "md"), ("docs/img", "png")];
/// The shells whose completions are packaged, and where each looks.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/nodewall"),
    ("zsh", "usr/share/zsh/vendor-completions/_nodewall"),
    ("fish", "usr/share/fish/vendor_completions.d/nodewall.fish"),
];

/// Where it is.
pub(super) fn root() -> PathBuf {
    folder().join("tree")
}

/// Makes it anew.
pub(super) fn lay_out(executable: &Path) -> Result<()> {
    let root = root();
    files::remove(&root)?;
    files::copy(executable, &root.join("usr/bin/nodewall"))?;
    for (file, to) in FILES {
        let name = Path::new(file).file_name().unwrap_or_default();
        files::copy(&workspace::root().join(file), &root.join(to).join(name))?;
    }
    for (folder, extension) in DOCUMENTS {
        let from = workspace::root().join(folder);
        for page in fs::read_dir(&from)?.flatten() {
            if page.path().extension().is_some_and(|found| found == *extension) {
                files::copy(&page.path(), &root.join("usr/share/doc/nodewall").join(folder).join(page.file_name()))?;
            }
        }
    }
    Cmd::new(executable).arg("man").arg(root.join("usr/share/man/man1")).run_quiet()?;
    for (shell, file) in COMPLETIONS {
        let script = Cmd::new(executable).args(["completions", shell]).read()?;
        files::write(&root.join(file), script)?;
    }
    Ok(())
}

/// Every file of it, relative to its root, sorted.
pub(super) fn files() -> Result<Vec<PathBuf>> {
    let root = root();
    let found = files::below(&root)?;
    Ok(found.iter().filter_map(|file| Some(file.strip_prefix(&root).ok()?.to_owned())).collect())
}
