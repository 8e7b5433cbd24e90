//! etcd below `target/tools/etcd`: the clustered program that tests run nodewall beside. Debian's packages are unpacked and not installed, for their scripts
//! would start a server on this machine, now and at every boot.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fs_err as fs;

use super::{private_apt::PrivateApt, sources};
use crate::{files, progress::Step, workspace};

/// Each package's program.
const PROGRAMS: &[(&str, &str)] = &[("etcd-server", "etcd"), ("etcd-client", "etcdctl")];
/// Where they are looked for after the suites that the machine itself uses.
const SUITES_AFTER: &[&str] = &["trixie", "bookworm"];
/// The oldest version that will do: members whose log is not synced to the disk, and the API of today by default.
const OLDEST: (u32, u32) = (3, 4);

/// Makes sure that the programs are there.
pub(super) fn ensure() -> Result<()> {
    let place = workspace::tools().join("etcd");
    // The folder comes into its place whole.
    if place.is_dir() {
        return Ok(());
    }
    fetch(&place).context(
        "etcd could not be fetched (tests run a cluster of it under nodewall); make sure that the Debian mirror of this machine's apt sources has the \
         packages etcd-server and etcd-client, then run the command again",
    )
}

fn fetch(place: &Path) -> Result<()> {
    let archive = sources::debian_archive()?;
    let step =
        Step::start("fetching Debian's etcd into target/tools (a cluster for tests; 13 MB, not installed; about 10 s)");
    let folder = workspace::tools().join("etcd-apt");
    files::remove(&folder)?; // What an interrupted setup left there.
    let apt = PrivateApt::new(folder.clone(), &archive.uri)?;
    let suites: Vec<&str> = archive.suites.iter().map(String::as_str).chain(SUITES_AFTER.iter().copied()).collect();
    let staged: PathBuf = folder.join("staged");
    for (package, program) in PROGRAMS {
        let version = apt.find(package, &suites, will_do)?;
        let unpacked = folder.join("unpacked");
        apt.unpack(package, &version, &unpacked)?;
        files::copy(&unpacked.join("usr/bin").join(program), &staged.join(program))?;
    }
    fs::rename(&staged, place)?;
    files::remove(&folder)?;
    step.done();
    Ok(())
}

/// Whether this version of the package is new enough: `3.4.23-4+b4`.
fn will_do(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+', '~']).map_while(|part| part.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|found| found >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_will_not_do() {
        assert!(will_do("3.4.23-4+b4") && will_do("3.5.16-4") && will_do("4.0~rc1-1"));
        assert!(!will_do("3.3.25+dfsg-6") && !will_do("2:3.5") && !will_do(""));
    }
}
