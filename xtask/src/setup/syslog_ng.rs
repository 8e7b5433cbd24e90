//! syslog-ng below `target/tools/syslog-ng`: a receiver of evidence that tests run. Debian's packages are unpacked and not installed, for Debian has one
//! syslog server at a time, and the tests need rsyslog, too.

use std::path::Path;

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::{private_apt::PrivateApt, sources};
use crate::{files, progress::Step, workspace};

/// Its version there stands in the tests' configuration.
const SUITE: &str = "bookworm";
/// It, and the libraries of it that machines lack.
const PACKAGES: &[&str] = &["syslog-ng-core", "libivykis0", "libnet1", "libwrap0", "libpcre3", "libjson-c5"];
/// Where Debian has the modules.
const MODULES: &str = "usr/lib/syslog-ng/3.38";

/// Makes sure that `bin`, `lib` and `modules` are there.
pub(super) fn ensure() -> Result<()> {
    let place = workspace::tools().join("syslog-ng");
    // The folder comes into its place whole.
    if place.is_dir() {
        return Ok(());
    }
    fetch(&place).context(
        "syslog-ng could not be fetched (tests send evidence to it); make sure that the Debian mirror of this machine's apt sources has bookworm's package \
         syslog-ng-core, then run the command again",
    )
}

fn fetch(place: &Path) -> Result<()> {
    let archive = sources::debian_archive()?;
    let step = Step::start("fetching Debian's syslog-ng into target/tools (1 MB, not installed; about 20 s)");
    let folder = workspace::tools().join("syslog-ng-apt");
    files::remove(&folder)?; // What an interrupted setup left there.
    let apt = PrivateApt::new(folder.clone(), &archive.uri)?;
    let (unpacked, staged) = (folder.join("unpacked"), folder.join("staged"));
    for package in PACKAGES {
        let version = apt.find(package, &[SUITE], |_| true)?;
        apt.unpack(package, &version, &unpacked)?;
    }
    files::copy(&unpacked.join("usr/sbin/syslog-ng"), &staged.join("bin/syslog-ng"))?;
    copy_libraries(&unpacked.join(MODULES), &staged.join("modules"))?;
    copy_libraries(&unpacked.join("usr/lib/syslog-ng"), &staged.join("lib"))?;
    for above in ["lib", "usr/lib"] {
        for architecture in fs::read_dir(unpacked.join(above))? {
            copy_libraries(&architecture?.path(), &staged.join("lib"))?;
        }
    }
    fs::rename(&staged, place)?;
    files::remove(&folder)?;
    step.done();
    Ok(())
}

/// The files of a folder that are shared libraries.
fn copy_libraries(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() && name.to_string_lossy().contains(".so") {
            files::copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}
