//! A frame that the grammar made, and what it put into it.

use nodewall_text::hex;

/// What the grammar put into a frame before it was damaged, for the tally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is counted by itself; any of them can come together")]
pub struct Features {
    pub tags: usize,
    pub extensions: usize,
    pub authentication: bool,
    pub options: bool,
    pub first_fragment: bool,
    pub later_fragment: bool,
    pub atomic_fragment: bool,
    pub discovery: bool,
    pub lies: bool,
    pub truncated: bool,
    pub mutated: bool,
    pub padded: bool,
}

/// A generated frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Generated {
    pub frame: Vec<u8>,
    pub features: Features,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.frame))
    }
}
