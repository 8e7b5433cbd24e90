//! The pin directory: on bpffs, ours alone, trusted only after it was checked. It must not know what is pinned in it, except that
//! links have a folder, and the maps of each layout.
//!
//! ```text
//! <bpffs>/<layout>/<name>   every map of the one list, in the folder of its layout's number, and what was counted before them
//! <bpffs>/maps/nw_image_0   the sign of the layout in force
//! <bpffs>/links/<name>      the XDP link of each interface, and what counts outbound there
//! ```

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aya::maps::MapData;
use node_ebpf_common::{ABI_VERSION, Layout};
use rustix::{
    fs::{Mode, statfs},
    mount::{MountFlags, mount},
};

use super::error::DatapathError;

/// Where bpffs is by convention.
const BPFFS_MOUNT: &str = "/sys/fs/bpf";
/// `PROC_PID_INIT_INO` of the kernel: the first process namespace, on every kernel.
const FIRST_PROCESSES: u64 = 0xefff_fffc;
/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Begins the names of what is beside the links and no link: what sorts first is what an earlier build fails at.
pub(super) const NO_LINK: char = '!';

/// A checked pin directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinDir {
    pub(super) root: PathBuf,
}

impl PinDir {
    /// Mounts bpffs where `root` is to be below it and it is not there; makes no directory.
    pub fn mount(root: &Path) -> Result<(), DatapathError> {
        if root.starts_with(BPFFS_MOUNT) { mount_when_missing() } else { Ok(()) }
    }

    /// Makes the directory where it is missing (mounting bpffs at /sys/fs/bpf when that is what is missing) and checks it.
    pub fn create(root: &Path) -> Result<Self, DatapathError> {
        Self::mount(root)?;
        refuse_own_mounts(root)?;
        let dir = Self { root: root.to_path_buf() };
        for path in [dir.root.clone(), dir.sign_folder(), dir.links(), dir.maps()] {
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(DatapathError::io(format!("can not create {}", path.display()))(error)),
            }
            check(&path)?;
        }
        Ok(dir)
    }

    /// The directory as it is, or `None` when nothing was ever pinned there.
    pub fn open(root: &Path) -> Result<Option<Self>, DatapathError> {
        let dir = Self { root: root.to_path_buf() };
        match fs::symlink_metadata(dir.sign_folder()) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                refuse_own_mounts(root)?;
                return Ok(None);
            }
            Err(error) => {
                return Err(DatapathError::io(format!("can not look at {}", dir.sign_folder().display()))(error));
            }
        }
        let of_maps = Some(dir.maps()).filter(|path| path.exists());
        for path in [dir.root.clone(), dir.sign_folder(), dir.links()].into_iter().chain(of_maps) {
            check(&path)?;
        }
        Ok(Some(dir))
    }

    /// Where this build's maps are.
    pub(super) fn maps(&self) -> PathBuf {
        self.maps_of(ABI_VERSION)
    }

    /// Where the maps of a layout are.
    pub(super) fn maps_of(&self, version: u32) -> PathBuf {
        if version == Layout::SEVEN.version { self.sign_folder() } else { self.root.join(version.to_string()) }
    }

    /// Where the sign of the layout in force is, and where the maps of layout 7 were.
    pub(super) fn sign_folder(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Where the links are.
    pub(super) fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Pins of links, by name.
    pub(super) fn link_pins(&self) -> Result<Vec<(String, PathBuf)>, DatapathError> {
        let links = self.links();
        let failed = |e| DatapathError::io(format!("can not list {}", links.display()))(e);
        let mut pins = Vec::new();
        for entry in fs::read_dir(&links).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            pins.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
        pins.retain(|(name, _)| !name.starts_with(NO_LINK));
        pins.sort();
        Ok(pins)
    }
}

/// A pinned map.
pub(super) fn pinned(path: &Path) -> Result<MapData, DatapathError> {
    MapData::from_pin(path).map_err(DatapathError::map(path.display().to_string()))
}

fn mount_when_missing() -> Result<(), DatapathError> {
    if is_bpffs(Path::new(BPFFS_MOUNT)) {
        return Ok(());
    }
    if is_contained() {
        return Err(DatapathError::Contained { path: BPFFS_MOUNT.into() });
    }
    let options = c"mode=0700";
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", BPFFS_MOUNT, "bpf", flags, options)
        .map_err(|error| DatapathError::io(format!("can not mount bpffs at {BPFFS_MOUNT}"))(error.into()))
}

pub(super) fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.f_type.cast_unsigned() & 0xffff_ffff == BPF_FS_MAGIC)
}

/// Whether the first process that this one sees is a container's. Its mounts tell nothing of the host's, and end with it.
fn is_contained() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() != FIRST_PROCESSES)
}

/// Pins outlive a process only on a file system that the host has mounted, too: the first process's mounts tell. Where they can not be read nothing is refused.
fn refuse_own_mounts(root: &Path) -> Result<(), DatapathError> {
    let Ok(hosts) = fs::read_to_string("/proc/1/mountinfo") else { return Ok(()) };
    let refuse = || Err(DatapathError::OwnMounts { path: root.to_path_buf() });
    let existing = root.ancestors().find(|path| path.exists()).unwrap_or(root);
    let Ok(data) = fs::metadata(existing) else { return Ok(()) };
    let own = format!("{}:{}", rustix::fs::major(data.dev()), rustix::fs::minor(data.dev()));
    if is_bpffs(existing) {
        return if bpf_mounts(&hosts).any(|(device, _)| device == own) { Ok(()) } else { refuse() };
    }
    if is_contained() {
        return Err(DatapathError::Contained { path: root.to_path_buf() });
    }
    // Not on one here; where the host has one, this is not the host's view.
    if bpf_mounts(&hosts).any(|(_, at)| root.starts_with(at)) { refuse() } else { Ok(()) }
}

/// Device (`major:minor`) and place of each bpf file system in a mountinfo (proc(5)).
fn bpf_mounts(mountinfo: &str) -> impl Iterator<Item = (&str, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        kind.starts_with("bpf ").then_some((fields.nth(2)?, fields.nth(1)?))
    })
}

/// A directory that others can write, or that is not on bpffs, could hand us somebody else's maps.
fn check(path: &Path) -> Result<(), DatapathError> {
    let refuse = |problem: String, help| Err(DatapathError::PinDirectory { path: path.to_path_buf(), problem, help });
    let data = fs::symlink_metadata(path).map_err(DatapathError::io(format!("can not look at {}", path.display())))?;
    if data.is_symlink() || !data.is_dir() {
        return refuse(
            "this is not a directory (symbolic links are not followed)".into(),
            "name another place with --bpffs",
        );
    }
    if !is_bpffs(path) {
        return refuse(
            "this is not on a bpf file system".into(),
            "mount one (`mount -t bpf bpf /sys/fs/bpf`) or name a place on one with --bpffs",
        );
    }
    let mode = Mode::from_raw_mode(data.permissions().mode());
    if data.uid() != 0 || mode.intersects(Mode::RWXG | Mode::RWXO) {
        return refuse(
            format!(
                "owner {} and mode {:04o} instead of root and 0700: somebody else may have made it",
                data.uid(),
                data.mode() & 0o7777
            ),
            "remove the directory if you know who made it, or name another with --bpffs",
        );
    }
    nodewall_files::look(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpf_file_systems_are_found_among_mounts() {
        // From a Debian 12 with systemd 252.
        let mountinfo = "22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n\
                         33 22 0:29 / /sys/fs/bpf rw,nosuid,nodev,noexec,relatime shared:11 - bpf bpf rw,mode=700\n";
        assert_eq!(bpf_mounts(mountinfo).collect::<Vec<_>>(), [("0:29", "/sys/fs/bpf")]);
    }
}
