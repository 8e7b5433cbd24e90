//! Taking everything away again: links, maps, pins. It opens the node.

use std::{fs, io, path::Path};

use super::{
    bpffs::{NO_LINK, PinDir},
    classifier,
    error::DatapathError,
    links::Kind,
    tc::Side,
};

/// Begins the names of all maps.
const MAP_PREFIX: &str = "nw_";

impl PinDir {
    /// Detaches our links, removes our pins and, where nothing of others is in them, our directories. Links go first: maps
    /// without links harm nobody.
    pub fn remove(self) -> Result<(), DatapathError> {
        let failed = |path: &Path| DatapathError::io(format!("can not remove {}", path.display()));
        // Inbound first: that opens the node, which is what was asked for.
        let (outbound, inbound): (Vec<_>, Vec<_>) =
            self.link_pins()?.into_iter().partition(|(name, _)| Kind::of(name).0.side() == Side::Egress);
        for (name, path) in inbound.into_iter().chain(outbound) {
            classifier::remove(&name, &path)?;
        }
        let mut folders = vec![self.links()];
        // Of every layout, also of one that this build does not know. The sign goes last.
        for entry in entries(&self.root)? {
            if entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()) {
                folders.push(entry.path());
            }
        }
        folders.push(self.sign_folder());
        for entry in folders.iter().flat_map(|folder| entries(folder)).flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            let removed = if name.starts_with(NO_LINK) && path.is_dir() {
                fs::remove_dir(&path)
            } else if name.starts_with(MAP_PREFIX) || name.starts_with(NO_LINK) {
                fs::remove_file(&path)
            } else {
                continue;
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
                _ => {}
            }
        }
        for path in folders.into_iter().chain([self.root.clone()]) {
            match fs::remove_dir(&path) {
                // Somebody else's pins: not ours to remove.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                // The root of a bpf file system.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                result => result.map_err(failed(&path))?,
            }
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, DatapathError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map(|entries| entries.flatten().collect())
            .map_err(DatapathError::io(format!("can not list {}", folder.display()))),
    }
}
