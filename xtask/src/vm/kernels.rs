//! Debian's kernels: which ones, and their packages unpacked below `target/vm/kernels`. Fetched by apt with a state of its own; what is
//! there is used again until `--refresh`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use fs_err as fs;

use crate::cmd::Cmd;
use crate::files;
use crate::progress::Step;
use crate::setup::{PrivateApt, debian_archive};

/// A series of kernels and the Debian suites that have it, tried in this order.
pub(super) struct Kernel {
    pub(super) series: &'static str,
    prefix: &'static str,
    suites: &'static [&'static str],
    pub(super) flavour: Flavour,
}

/// How Debian configured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// For virtual machines: every module that the tests need, and the fewest others.
    Cloud,
    /// `PREEMPT_RT`.
    RealTime,
}

impl Flavour {
    /// The package that depends on the newest kernel of a suite.
    const fn meta_package(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::RealTime => "linux-image-rt-amd64",
        }
    }
}

const NEWEST: &[&str] = &["trixie-backports", "sid", "forky"];

pub(super) const KERNELS: [Kernel; 5] = [
    Kernel { series: "5.10", prefix: "5.10.", suites: &["bullseye"], flavour: Flavour::Cloud },
    Kernel { series: "6.1", prefix: "6.1.", suites: &["bookworm"], flavour: Flavour::Cloud },
    Kernel { series: "6.12", prefix: "6.12.", suites: &["trixie"], flavour: Flavour::Cloud },
    Kernel { series: "7.x", prefix: "7.", suites: NEWEST, flavour: Flavour::Cloud },
    Kernel { series: "7.x-rt", prefix: "7.", suites: NEWEST, flavour: Flavour::RealTime },
];

/// The file that says which package was unpacked: written last, so that an interrupted fetch is not taken for a whole one.
const STAMP: &str = "PACKAGE";

/// A kernel on this machine's disk.
pub(super) struct Fetched {
    pub(super) kernel: &'static Kernel,
    /// What `uname -r` says there.
    pub(super) release: String,
    pub(super) package_version: String,
    folder: PathBuf,
}

impl Fetched {
    pub(super) fn vmlinuz(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// What `modprobe -d` takes: `lib/modules/<release>` is below it.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Major and minor number.
    pub(super) fn version(&self) -> (u32, u32) {
        version(&self.release)
    }

    fn read(kernel: &'static Kernel, folder: &Path) -> Option<Self> {
        let stamp = fs::read_to_string(folder.join(STAMP)).ok()?;
        let (release, package_version) = stamp.trim().split_once(' ')?;
        let (release, package_version) = (release.to_owned(), package_version.to_owned());
        Some(Self { kernel, release, package_version, folder: folder.to_owned() })
    }
}

/// Major and minor number of a release such as `6.1.0-50-cloud-amd64`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Makes sure that the kernel is there.
pub(super) fn fetch(kernel: &'static Kernel, refresh: bool) -> Result<Fetched> {
    let folder = super::folder().join("kernels").join(kernel.series);
    if !refresh && let Some(there) = Fetched::read(kernel, &folder) {
        return Ok(there);
    }
    let step = Step::start(&format!(
        "fetching Debian's Linux {} into target/vm/kernels (30 MB, with PREEMPT_RT 120; about 20 s)",
        kernel.series
    ));
    files::remove(&folder)?;
    let fetched = by_apt(kernel, &folder).with_context(|| {
        format!(
            "Linux {} could not be fetched; make sure that the Debian mirror of this machine's apt sources has {} (older suites move to \
             Debian's archive of old releases: add a mirror of that to the apt sources), or choose others by `--kernel`",
            kernel.series,
            kernel.suites.join(" or ")
        )
    })?;
    step.done();
    Ok(fetched)
}

fn by_apt(kernel: &'static Kernel, folder: &Path) -> Result<Fetched> {
    let private = folder.join("apt");
    let apt = PrivateApt::new(private.clone(), &debian_archive()?.uri)?;
    let meta_package = kernel.flavour.meta_package();
    let package_version = apt.find(meta_package, kernel.suites, |version| version.starts_with(kernel.prefix))?;
    let unpacked = folder.join("unpacked");
    for package in packages(&apt, meta_package, &package_version)? {
        apt.unpack(&package, &package_version, &unpacked)?;
    }
    let release = put_in_place(&unpacked, folder)?;
    // Packages bring no index of modules: it is made where they are installed.
    Cmd::new("depmod").arg("-b").arg(folder.join("root")).arg(&release).run_quiet()?;
    files::remove(&unpacked)?;
    files::remove(&private)?;
    fs::write(folder.join(STAMP), format!("{release} {package_version}\n"))?;
    Fetched::read(kernel, folder).ok_or_else(|| anyhow!("{} does not say what it is", folder.display()))
}

/// The packages of the kernel proper: whatever the meta package needs, directly or not, in the very same version.
fn packages(apt: &PrivateApt, meta_package: &str, version: &str) -> Result<Vec<String>> {
    let mut found = vec![meta_package.to_owned()];
    let mut next = 0;
    while let Some(package) = found.get(next).cloned() {
        for (name, exact) in apt.depends(&package, version)? {
            if name.starts_with("linux-") && exact.as_deref() == Some(version) && !found.contains(&name) {
                found.push(name);
            }
        }
        next += 1;
    }
    found.remove(0);
    ensure!(!found.is_empty(), "{meta_package} {version} depends on no kernel of its own version");
    Ok(found)
}

/// Older packages have /boot/vmlinuz-R and /lib/modules/R, newer ones /usr/lib/modules/R/vmlinuz. Returns R.
fn put_in_place(unpacked: &Path, folder: &Path) -> Result<String> {
    let all =
        ["lib/modules", "usr/lib/modules"].map(|place| unpacked.join(place)).into_iter().find(|place| place.is_dir());
    let all = all.ok_or_else(|| anyhow!("the packages bring no modules"))?;
    let mut releases = fs::read_dir(&all)?;
    let release = releases.next().transpose()?.ok_or_else(|| anyhow!("{} is empty", all.display()))?;
    let name = release.file_name().to_string_lossy().into_owned();
    let images = [unpacked.join(format!("boot/vmlinuz-{name}")), release.path().join("vmlinuz")];
    let image = images.iter().find(|file| file.is_file());
    let image = image.ok_or_else(|| anyhow!("the packages bring no vmlinuz for {name}"))?;
    let modules = folder.join("root/lib/modules");
    fs::create_dir_all(&modules)
        .and_then(|()| fs::rename(image, folder.join("vmlinuz")))
        .and_then(|()| fs::rename(release.path(), modules.join(&name)))
        .with_context(|| format!("the kernel could not be moved into {}", folder.display()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_two_numbers_that_count() {
        assert_eq!(version("6.1.0-50-cloud-amd64"), (6, 1));
        assert_eq!(version("7.3.4+deb13-cloud-amd64"), (7, 3));
        assert_eq!(version("6.12-rc1"), (6, 12));
    }

    #[test]
    fn no_series_takes_anothers_kernel() {
        for version in ["5.10.223-1", "6.1.176-1", "6.12.107-1", "7.3.4-1~bpo13+1"] {
            let cloud = KERNELS.iter().filter(|kernel| kernel.flavour == Flavour::Cloud);
            assert_eq!(cloud.filter(|kernel| version.starts_with(kernel.prefix)).count(), 1, "{version}");
        }
    }
}
