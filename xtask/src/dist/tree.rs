//! The tree of files that both packages hold, in target/dist/tree. What becomes of a file (mode, configuration or not) is said in Cargo.toml.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{copy, folder};
use crate::cmd::Cmd;
use crate::workspace;

/// Files of the project, and the folder that they go to.
const FILES: &[(&str, &str)] = &[
    ("packaging/nodewall.toml", "etc/nodewall"),
    ("packaging/systemd/nodewall-apply.service", "usr/lib/systemd/system"),
    ("packaging/systemd/nodewall.service", "usr/lib/systemd/system"),
    ("nodewall.schema.json", "usr/share/nodewall"),
    ("packaging/systemd/old-systemd.conf", "usr/share/nodewall"),
    ("packaging/systemd/captures.conf", "usr/share/nodewall"),
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
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("{} could not be removed", root.display()))?;
    }
    copy(executable, &root.join("usr/bin/nodewall"))?;
    for (file, to) in FILES {
        let name = Path::new(file).file_name().unwrap_or_default();
        copy(&workspace::root().join(file), &root.join(to).join(name))?;
    }
    for (folder, extension) in DOCUMENTS {
        let from = workspace::root().join(folder);
        for page in fs::read_dir(&from).with_context(|| format!("{} can not be read", from.display()))?.flatten() {
            if page.path().extension().is_some_and(|found| found == *extension) {
                copy(&page.path(), &root.join("usr/share/doc/nodewall").join(folder).join(page.file_name()))?;
            }
        }
    }
    Cmd::new(executable).arg("man").arg(root.join("usr/share/man/man1")).run_quiet()?;
    for (shell, file) in COMPLETIONS {
        let script = Cmd::new(executable).args(["completions", shell]).read()?;
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap_or(&root))
            .and_then(|()| fs::write(&file, script))
            .with_context(|| format!("{} could not be written", file.display()))?;
    }
    Ok(())
}

/// Every file of it, relative to its root, sorted.
pub(super) fn files() -> Result<Vec<PathBuf>> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("{} can not be read", folder.display()))? {
            let path = entry.with_context(|| format!("{} can not be read", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(file) = path.strip_prefix(&root) {
                found.push(file.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
