//! Taking everything away again: links, maps, pins. It opens the node.

use std::{fs, io, path::Path};

use node_ebpf_common::maps;

use super::{
    bpffs::PinDir,
    egress,
    error::DatapathError,
    links::{is_outbound, release},
};

impl PinDir {
    /// Detaches our links, removes our pins and, where nothing of others is in them, our directories. Links go first: maps
    /// without links harm nobody.
    pub fn remove(self) -> Result<(), DatapathError> {
        let failed = |path: &Path| DatapathError::io(format!("can not remove {}", path.display()));
        // Inbound first: that opens the node, which is what was asked for.
        let (outbound, inbound): (Vec<_>, Vec<_>) =
            self.link_pins()?.into_iter().partition(|(name, _)| is_outbound(name));
        for (_, path) in inbound {
            release(&path)?;
        }
        for (name, path) in outbound {
            egress::remove(&name, &path)?;
        }
        for spec in maps::ALL {
            let path = self.maps().join(spec.name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path)(error)),
                _ => {}
            }
        }
        for path in [self.links(), self.maps(), self.root.clone()] {
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
