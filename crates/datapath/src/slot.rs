//! The policy in force: which of the two images it is, reading it, and swapping it. A swap is one pointer: the kernel waits for packets in
//! flight, so that every packet sees exactly one whole policy.

use std::{mem::offset_of, os::fd::AsFd};

use aya::maps::IterableMap;
use node_ebpf_common::{ABI_VERSION, PolicyImage, maps::ImageWords, maps::name, policy::MAGIC};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    error::DatapathError,
    maps::Maps,
    sys::{self, View},
};

/// Attempts to read an image that nobody swapped away meanwhile.
const READ_ATTEMPTS: usize = 8;

/// What an image says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its number.
    pub generation: u64,
    /// Whether drop verdicts drop.
    pub enforce: bool,
    /// Whether it counts for each peer.
    pub per_peer: bool,
    /// Hash of the policy's canonical text.
    pub policy_sha256: [u8; 32],
    /// Its peers, a prefix counted as one.
    pub peers: u32,
}

/// How every image begins: [`PolicyImage`] without its tables.
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
struct ImageHead {
    magic: u64,
    abi_version: u32,
    enforce: u16,
    per_peer: u8,
    evidence: u8,
    zero: u64,
    generation: u64,
    compiled_at_ns: u64,
    policy_sha256: [u8; 32],
    peers: u16,
    blocked: u16,
}

const _: () = {
    macro_rules! same_place {
        ($($field:ident)*) => { $(assert!(offset_of!(ImageHead, $field) == offset_of!(PolicyImage, $field));)* };
    }
    same_place!(magic abi_version enforce per_peer generation policy_sha256 peers);
    assert!(size_of::<ImageHead>() <= size_of::<PolicyImage>());
};

impl Maps {
    /// Which image the slot refers to; `None` before the first policy.
    pub(super) fn in_force(&self) -> Result<Option<usize>, DatapathError> {
        // ArrayOfMaps::get would open the inner map by its id, which needs CAP_SYS_ADMIN; the pins tell without it.
        let outer = self.policy_fd.as_fd();
        let Some(id) = sys::inner_map_id(outer, 0).map_err(DatapathError::io("can not read the policy slot"))? else {
            return Ok(None);
        };
        for (n, image) in self.images.iter().enumerate() {
            let info = IterableMap::map(image).info().map_err(DatapathError::map(name::POLICY))?;
            if info.id() == id {
                return Ok(Some(n));
            }
        }
        Err(DatapathError::Missing(format!("the pinned image with map id {id}")))
    }

    /// A copy of the policy that packets are judged by right now.
    pub fn policy(&self) -> Result<Box<PolicyImage>, DatapathError> {
        for _ in 0..READ_ATTEMPTS {
            let Some(n) = self.in_force()? else { return Err(DatapathError::NoPolicy) };
            let Some(map) = self.images.get(n) else { return Err(DatapathError::NoPolicy) };
            let view = View::<ImageWords>::new(sys::fd_of(IterableMap::map(map)))
                .map_err(DatapathError::io("can not map the policy image"))?;
            let image = PolicyImage::read_from_boxed(view.as_bytes())?;
            // Two swaps during the copy would have written into it.
            if self.in_force()? == Some(n) && view.as_bytes().get(..64) == image.as_bytes().get(..64) {
                return checked(image);
            }
        }
        Err(DatapathError::Missing("a policy that stays in force long enough to be read".into()))
    }

    /// What the image in force says of itself: without copying it.
    pub fn in_force_facts(&self) -> Result<ImageFacts, DatapathError> {
        let Some(n) = self.in_force()? else { return Err(DatapathError::NoPolicy) };
        let Some(map) = self.images.get(n) else { return Err(DatapathError::NoPolicy) };
        // The first page only: the whole image takes the kernel half a millisecond to map.
        let image = View::<ImageHead>::new(sys::fd_of(IterableMap::map(map)))
            .map_err(DatapathError::io("can not map the policy image"))?;
        if image.magic != MAGIC {
            return Err(DatapathError::NoPolicy);
        }
        if image.abi_version != ABI_VERSION {
            return Err(DatapathError::Abi { found: image.abi_version, expected: ABI_VERSION });
        }
        Ok(ImageFacts {
            generation: image.generation,
            enforce: image.enforce != 0,
            per_peer: image.per_peer != 0,
            policy_sha256: image.policy_sha256,
            peers: u32::from(image.peers),
        })
    }

    /// Puts `image` into force: fills the image map that is not in use, then updates the slot.
    pub fn swap(&mut self, image: &PolicyImage) -> Result<(), DatapathError> {
        self.fill(image)?.put(self)
    }

    /// Writes `image` beside the one in force.
    pub fn fill(&mut self, image: &PolicyImage) -> Result<Filled, DatapathError> {
        let next = self.in_force()?.map_or(0, |n| 1 - n);
        let words = ImageWords::ref_from_bytes(image.as_bytes())
            .map_err(|_| DatapathError::Missing("an image of whole words".into()))?;
        let Some(map) = self.images.get_mut(next) else { return Err(DatapathError::NoPolicy) };
        map.set(0, words, 0).map_err(DatapathError::map(name::POLICY))?;
        Ok(Filled(next))
    }

    /// Undoes the last [`Self::swap`] (the image before it is still whole in the other map).
    pub fn swap_back(&mut self) -> Result<(), DatapathError> {
        let Some(n) = self.in_force()? else { return Ok(()) };
        let Some(map) = self.images.get(1 - n) else { return Ok(()) };
        self.policy.set(0, map, 0).map_err(DatapathError::map(name::POLICY))
    }
}

/// An image that is written and not in force.
#[must_use]
pub struct Filled(usize);

impl Filled {
    /// Puts it into force: one pointer. Returns after the kernel's grace period: no packet meets the image before it any more.
    pub fn put(self, maps: &mut Maps) -> Result<(), DatapathError> {
        let Some(map) = maps.images.get(self.0) else { return Err(DatapathError::NoPolicy) };
        maps.policy.set(0, map, 0).map_err(DatapathError::map(name::POLICY))
    }
}

trait ReadBoxed: Sized {
    fn read_from_boxed(bytes: &[u8]) -> Result<Box<Self>, DatapathError>;
}

impl ReadBoxed for PolicyImage {
    /// Straight into the heap: the image is far too large for a stack.
    fn read_from_boxed(bytes: &[u8]) -> Result<Box<Self>, DatapathError> {
        let mut image = <Self as zerocopy::FromZeros>::new_box_zeroed()
            .map_err(|_| DatapathError::Missing("memory for a copy of the policy".into()))?;
        image.as_mut_bytes().copy_from_slice(bytes);
        Ok(image)
    }
}

fn checked(image: Box<PolicyImage>) -> Result<Box<PolicyImage>, DatapathError> {
    if image.magic != MAGIC {
        return Err(DatapathError::NoPolicy);
    }
    if image.abi_version != ABI_VERSION {
        return Err(DatapathError::Abi { found: image.abi_version, expected: ABI_VERSION });
    }
    Ok(image)
}
