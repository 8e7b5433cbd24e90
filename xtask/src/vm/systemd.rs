//! The guest whose first process is a real systemd: a Debian on a disk image, with nodewall, its units and a configuration where the package puts them, and
//! the stand-ins of `tests/vm/systemd/`. The image is below `target/vm`, and no guest changes it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use fs_err::os::unix::fs::symlink;

use super::image;
use crate::cmd::Cmd;
use crate::progress::Step;
use crate::setup::debian_tree;
use crate::workspace;

/// Whose systemd it is.
const SUITE: &str = "trixie";
const DISK_MIB: u64 = 1024;
/// Units, and who wants them, as `systemctl enable` would link them.
const UNITS: &[(&str, &str)] = &[
    ("packaging/systemd/nodewall-apply.service", "sysinit.target"),
    ("packaging/systemd/nodewall.service", "multi-user.target"),
    ("tests/vm/systemd/wire.service", "sysinit.target"),
    ("tests/vm/systemd/wire-up.service", "multi-user.target"),
    ("tests/vm/systemd/outsider.service", "multi-user.target"),
    ("tests/vm/systemd/vendor.service", "multi-user.target"),
    ("tests/vm/systemd/plan.service", "graphical.target"),
];
/// Other files, and where they go.
const FILES: &[(&str, &str)] = &[
    ("tests/vm/systemd/nodewall.toml", "/etc/nodewall/nodewall.toml"),
    ("tests/vm/systemd/watchdog.conf", "/etc/systemd/system/nodewall.service.d/watchdog.conf"),
    ("packaging/systemd/captures.conf", "/guest/captures.conf"),
    ("tests/vm/systemd/bond.sh", "/guest/bond.sh"),
    ("tests/vm/systemd/bond.conf", "/guest/bond.conf"),
    ("tests/vm/systemd/bond-early.conf", "/guest/bond-early.conf"),
    ("tests/vm/systemd/listen.pl", "/guest/listen.pl"),
    ("tests/vm/systemd/knock.pl", "/guest/knock.pl"),
];

/// The disk with a Debian, made once for each list of packages.
pub(super) fn disk() -> Result<PathBuf> {
    let tree = debian_tree::tree("systemd", SUITE, debian_tree::WITH_SYSTEMD)?;
    let disk = super::folder().join("systemd.img");
    let newer = |a: &Path, b: &Path| -> Option<bool> {
        Some(fs::metadata(a).ok()?.modified().ok()? > fs::metadata(b).ok()?.modified().ok()?)
    };
    if newer(&disk, &debian_tree::stamp("systemd")).unwrap_or(false) {
        return Ok(disk);
    }
    let step = Step::start("making a disk of that Debian, target/vm/systemd.img (about 10 s)");
    // Under another name until it is whole.
    let unfinished = super::folder().join("systemd.img.new");
    fs::File::create(&unfinished).and_then(|file| file.set_len(DISK_MIB << 20))?;
    Cmd::new(workspace::tool("mke2fs")?).args(["-q", "-t", "ext4", "-d"]).args([&tree, &unfinished]).run_quiet()?;
    fs::rename(&unfinished, &disk)?;
    step.done();
    Ok(disk)
}

/// Puts what the disk gets at each boot below `root/guest`.
pub(super) fn fill(root: &Path, nodewall: &Path) -> Result<()> {
    let guest = root.join("guest");
    let from = |file: &str| workspace::root().join(file);
    image::copy(&guest, nodewall, Path::new("/usr/bin/nodewall"))?;
    for (file, wanted_by) in UNITS {
        let name = Path::new(file).file_name().unwrap_or_default();
        image::copy(&guest, &from(file), &Path::new("/usr/lib/systemd/system").join(name))?;
        let link = guest.join("etc/systemd/system").join(format!("{wanted_by}.wants")).join(name);
        fs::create_dir_all(link.parent().unwrap_or(&guest))
            .and_then(|()| symlink(Path::new("/usr/lib/systemd/system").join(name), &link))?;
    }
    for (file, place) in FILES {
        image::copy(&guest, &from(file), Path::new(place))?;
    }
    // The plan's unit is wanted by this one.
    let target = guest.join("etc/systemd/system/default.target");
    symlink("/usr/lib/systemd/system/graphical.target", &target)
        .and_then(|()| fs::set_permissions(guest.join("etc/nodewall"), std::fs::Permissions::from_mode(0o755)))?;
    Ok(())
}
