//! nodewall at the tc hook of the node's devices, attached as the agent attaches it. Counts as its program does; it takes no time of anything.

use std::{fs, path::PathBuf, process};

use anyhow::{Context, Result};
use nodewall_datapath::{Hook, Layer, Loaded, PinDir, Target, attach_tc, detach};

use super::{device::Device, wire::Wire};
use crate::data::{lineup::PACKAGED, sources::Sources};

/// The program, and where its attachments are pinned.
pub struct AtTc {
    loaded: Loaded,
    pins: PinDir,
    folder: PathBuf,
}

impl AtTc {
    pub fn load(sources: &Sources) -> Result<Self> {
        let folder = PathBuf::from(format!("/sys/fs/bpf/nodewall-bench-{}", process::id()));
        let pins = PinDir::create(&folder)?;
        let mut loaded = Loaded::new(None, PACKAGED)?;
        loaded.maps.swap(&sources.compiled.image)?;
        Ok(Self { loaded, pins, folder })
    }

    /// Filters the flood and the service from now on.
    pub fn put(&mut self, wire: &Wire, hook: Hook) -> Result<()> {
        for device in [&wire.flooded, &wire.serving] {
            let attached = wire.node.run(|| attach_tc(&mut self.loaded, &self.pins, &target(device), Some(hook)))?;
            attached.with_context(|| format!("attaching to {}", device.name))?;
        }
        Ok(())
    }

    pub fn take_away(&self, wire: &Wire) -> Result<()> {
        for device in [&wire.flooded, &wire.serving] {
            wire.node.run(|| detach(&self.pins, &target(device)))??;
        }
        Ok(())
    }

    /// Packets that this counter cell holds.
    pub fn packets(&self, cell: u32) -> Result<u64> {
        Ok(self.loaded.maps.cell(cell)?.packets)
    }
}

impl Drop for AtTc {
    fn drop(&mut self) {
        // On bpffs, where a removed pin lets its attachment go.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn target(device: &Device) -> Target {
    Target { name: device.name.clone(), if_index: device.if_index, layer: Layer::Ethernet }
}
