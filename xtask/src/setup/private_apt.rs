//! apt with a state of its own: one source, its own lists and cache, nothing of the system's changed. Works without root.
//! Proxies and credentials still come from the system's apt configuration.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use fs_err as fs;

use super::sources;
use crate::cmd::Cmd;

/// The installed keys of Debian's archive, under the names that its releases gave them.
const KEYRINGS: &[&str] =
    &["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// apt's private state in one folder.
pub(crate) struct PrivateApt {
    folder: PathBuf,
    mirror: String,
    keyring: &'static str,
    architecture: String,
}

impl PrivateApt {
    /// Makes the folders; `mirror` is the URI of a Debian archive.
    pub(crate) fn new(folder: PathBuf, mirror: &str) -> Result<Self> {
        let keyring = KEYRINGS.iter().find(|file| Path::new(file).is_file()).ok_or_else(|| {
            anyhow!(
                "{} is not there, so packages can not be verified; install debian-archive-keyring",
                KEYRINGS.join(" or ")
            )
        })?;
        for part in ["sources.list.d", "lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part)?;
        }
        let architecture = Cmd::new("dpkg").arg("--print-architecture").read()?;
        Ok(Self { folder, mirror: mirror.to_owned(), keyring, architecture: architecture.trim().to_owned() })
    }

    /// Leaves apt at the first suite whose package has a version that is wanted, and returns the newest such version.
    pub(crate) fn find(&self, package: &str, suites: &[&str], is_wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut looked = Vec::new();
        for suite in suites {
            match self.use_suite(suite).and_then(|()| self.versions(package)) {
                Ok(versions) => {
                    if let Some(found) = versions.iter().find(|version| is_wanted(version)) {
                        return Ok(found.clone());
                    }
                    let had = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
                    looked.push(format!("\n  {suite}: {had}"));
                }
                Err(error) => looked.push(format!("\n  {suite}: {error:#}")),
            }
        }
        bail!("no suite of the configured Debian mirror has the wanted {package}; they have{}", looked.concat())
    }

    /// Makes `suite` the only source and fetches its list of packages.
    fn use_suite(&self, suite: &str) -> Result<()> {
        let file = self.folder.join("sources.list.d/private.sources");
        let source = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: {}\nTargets: Packages\n\
             Signed-By: {}\n",
            self.mirror, self.architecture, self.keyring
        );
        fs::write(&file, source)?;
        // A failed download is an error, not a warning about an old list.
        self.apt("apt-get").args(["update", "-o", "APT::Update::Error-Mode=any"]).run_quiet()
    }

    /// The versions of `package` that the suite has, newest first.
    fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = self.apt("apt-cache").args(["madison", package]).read()?;
        Ok(madison_versions(&table))
    }

    /// What a version of a package depends on, first alternatives only; with the version where exactly one will do.
    pub(crate) fn depends(&self, package: &str, version: &str) -> Result<Vec<(String, Option<String>)>> {
        let shown =
            self.apt("apt-cache").args(["show", "--no-all-versions", &format!("{package}={version}")]).read()?;
        Ok(depends_field(&shown))
    }

    /// Downloads and verifies one package and unpacks it into a folder.
    pub(crate) fn unpack(&self, package: &str, version: &str, into: &Path) -> Result<()> {
        self.apt("apt-get").arg("download").arg(format!("{package}={version}")).dir(&self.folder).run_quiet()?;
        let mut files = fs::read_dir(&self.folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let file = files.find(|file| file.extension().is_some_and(|ext| ext == "deb")).ok_or_else(|| {
            anyhow!("apt-get downloaded {package} {version}, but left no .deb in {}", self.folder.display())
        })?;
        Cmd::new("dpkg-deb")
            .arg("-x")
            .args([&file, into])
            .advice("make sure that the disk has 500 MB left, then run the command again")
            .run_quiet()?;
        Ok(fs::remove_file(file)?)
    }

    fn apt(&self, program: &str) -> Cmd {
        sources::apt(program, &self.folder)
            .args(["-o", "Dir::Etc::SourceList=/dev/null"])
            .args(["-o", &format!("Dir::Etc::SourceParts={}", self.folder.join("sources.list.d").display())])
            // A default release that this one source does not have would be an error.
            .args(["-o", "APT::Default-Release="])
    }
}

/// The versions in `apt-cache madison`'s table: `package | version | source`.
fn madison_versions(table: &str) -> Vec<String> {
    table
        .lines()
        .filter(|line| line.ends_with("Packages"))
        .filter_map(|line| line.split('|').nth(1))
        .map(|version| version.trim().to_owned())
        .collect()
}

/// The field `Depends` in a package's description: `name (= version), name | other, …`.
fn depends_field(shown: &str) -> Vec<(String, Option<String>)> {
    let field = shown.lines().find_map(|line| line.strip_prefix("Depends:")).unwrap_or_default();
    let firsts = field.split(',').filter_map(|one| one.split('|').next());
    firsts
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .map(|one| {
            let (name, bound) = one.split_once(' ').unwrap_or((one, ""));
            let exact = bound.trim().strip_prefix("(= ").and_then(|rest| rest.strip_suffix(')'));
            (name.to_owned(), exact.map(str::to_owned))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_with_their_exact_versions() {
        let shown = "Package: a\nDepends: linux-x (= 7.3-1~b+1), kmod, dracut | initramfs-tools (>= 0.120)\nSize: 1\n";
        let expected = [("linux-x", Some("7.3-1~b+1")), ("kmod", None), ("dracut", None)];
        let found = depends_field(shown);
        assert_eq!(found, expected.map(|(name, version)| (name.to_owned(), version.map(str::to_owned))));
        assert!(depends_field("Package: a\n").is_empty());
    }

    #[test]
    fn versions_are_read_from_madisons_table() {
        let table = "  rust-src | 1.96.1+dfsg1-1~bpo13+1 | mirror://m/debian trixie-backports/main amd64 Packages\n  \
                     rust-src | 1.95.0+dfsg1-2~bpo13+1 | mirror://m/debian trixie-backports/main amd64 Packages\n     \
                     rustc | 1.95.0+dfsg1-2 | mirror://m/debian trixie-backports/main Sources\n";
        assert_eq!(madison_versions(table), ["1.96.1+dfsg1-1~bpo13+1", "1.95.0+dfsg1-2~bpo13+1"]);
        assert!(madison_versions("N: Unable to locate package rust-src\n").is_empty());
    }
}
