//! bpf-linker, which links the kernel program.

use anyhow::Result;

use super::tool::Tool;

/// The version that the kernel program is built and tested with.
const LINKER: Tool =
    Tool { name: "bpf-linker", version: "0.10.3", what_for: "it links the kernel program; 1 to 2 minutes" };

/// Installs bpf-linker unless this very version is there.
pub(super) fn ensure() -> Result<()> {
    LINKER.ensure().map(drop)
}
