//! The map of the policy: which of its two images is in force, reading it, and swapping it. A swap is one word, and then the wait for the programs that
//! run, so that every packet sees exactly one whole policy. It must not know what is in an image but its head.

use std::{
    mem::offset_of,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::Ordering::{Relaxed, Release},
};

use aya::maps::MapData;
use node_ebpf_common::{
    ABI_VERSION, PolicyImage,
    images::{Images, STRIDE},
    maps::{MMAPABLE, name},
    policy::MAGIC,
};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes, transmute};

use super::{
    bpffs::{PinDir, pinned},
    error::DatapathError,
    memory::{Grace, ReadOnly, Words, new_array},
    sys,
};

/// Attempts to read an image that nobody swapped away meanwhile.
const READ_ATTEMPTS: usize = 8;
/// `BPF_F_RDONLY_PROG`
const RDONLY_PROG: u32 = 1 << 7;
const WORD: usize = size_of::<u64>();
const IMAGE_WORDS: usize = size_of::<PolicyImage>() / WORD;
const HEAD_WORDS: usize = size_of::<ImageHead>() / WORD;
/// The words of [`Images`] before its images.
const IN_FORCE: usize = offset_of!(Images, in_force) / WORD;
const SETTLED: usize = offset_of!(Images, settled) / WORD;
const SELECTOR_WORDS: usize = 2;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
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
    lengths_v4: u32,
}

const _: () = {
    macro_rules! same_place {
        ($($field:ident)*) => { $(assert!(offset_of!(ImageHead, $field) == offset_of!(PolicyImage, $field));)* };
    }
    same_place!(magic abi_version enforce per_peer generation policy_sha256 peers);
    assert!(size_of::<ImageHead>() <= size_of::<PolicyImage>() && size_of::<PolicyImage>().is_multiple_of(WORD));
    assert!(IN_FORCE == 0 && SETTLED == 1 && size_of::<ImageHead>().is_multiple_of(WORD));
};

impl ImageHead {
    fn check(&self) -> Result<(), DatapathError> {
        match (self.magic, self.abi_version) {
            (MAGIC, ABI_VERSION) => Ok(()),
            (MAGIC, found) => Err(DatapathError::Abi { found, expected: ABI_VERSION }),
            _ => Err(DatapathError::NoPolicy),
        }
    }
}

/// The map. Its descriptor stands in the instructions of programs that are still to be loaded: it must live as long as they.
pub(super) struct PolicyMap {
    data: MapData,
}

impl PolicyMap {
    /// The pinned map, which is made and pinned where it is missing; without `pins` a private one.
    pub(super) fn new(pins: Option<&PinDir>) -> Result<Self, DatapathError> {
        let path = pins.map(|pins| pins.maps().join(name::POLICY));
        if let Some(path) = path.as_ref().filter(|path| path.exists()) {
            return pinned(path).map(Self::of);
        }
        let map = made(MMAPABLE)?;
        if let Some(path) = path {
            sys::pin(map.as_fd(), &path).map_err(DatapathError::io(format!("can not pin {}", path.display())))?;
        }
        MapData::from_fd(map).map(Self::of).map_err(DatapathError::map(name::POLICY))
    }

    /// One that programs may not write, nor anybody else: the kernel refuses to map it writable.
    pub(super) fn read_only() -> Result<Self, DatapathError> {
        MapData::from_fd(made(MMAPABLE | RDONLY_PROG)?).map(Self::of).map_err(DatapathError::map(name::POLICY))
    }

    /// A map that was checked to be one.
    pub(super) const fn of(data: MapData) -> Self {
        Self { data }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        sys::fd_of(&self.data)
    }

    /// Which image is in force, 0 or 1, and whether the swap that made it so came to its end. Before the first policy an image of zeros is.
    fn in_force(&self) -> Result<(usize, bool), DatapathError> {
        let selector = ReadOnly::part(self.fd(), 0, SELECTOR_WORDS).map_err(unmapped())?;
        let words: Vec<u64> = selector.load().collect();
        match words[..] {
            [0, settled] => Ok((0, settled == 0)),
            [in_force, settled] if in_force == STRIDE as u64 => Ok((1, settled == in_force)),
            _ => Err(DatapathError::Missing("a policy map whose first word says which image is in force".into())),
        }
    }

    /// Reads an image's first words into `to`.
    fn read(&self, image: usize, to: &mut [u64]) -> Result<(), DatapathError> {
        let part = ReadOnly::part(self.fd(), begin(image), to.len()).map_err(unmapped())?;
        to.iter_mut().zip(part.load()).for_each(|(to, word)| *to = word);
        Ok(())
    }

    fn head(&self, image: usize) -> Result<ImageHead, DatapathError> {
        let mut words = [0; HEAD_WORDS];
        self.read(image, &mut words)?;
        Ok(transmute!(words))
    }

    /// Reads of the image in force what `read` reads: again, if it was swapped away meanwhile.
    fn read_in_force<T>(&self, mut read: impl FnMut(usize) -> Result<T, DatapathError>) -> Result<T, DatapathError> {
        for _ in 0..READ_ATTEMPTS {
            // In this order: it was whole when it was found in force, and if it was written into since, either it has another number or it is not in force.
            let (guess, _) = self.in_force()?;
            let before = self.head(guess)?;
            let (image, _) = self.in_force()?;
            if image != guess {
                continue;
            }
            let read = read(image)?;
            if self.head(image)? == before && self.in_force()?.0 == image {
                before.check()?;
                return Ok(read);
            }
        }
        Err(DatapathError::Missing("a policy that stays in force long enough to be read".into()))
    }
}

fn made(flags: u32) -> Result<OwnedFd, DatapathError> {
    new_array(name::POLICY, size_of::<Images>() as u32, 1, flags)
        .map_err(DatapathError::io("can not make the map of the policy"))
}

/// The byte where an image begins.
const fn begin(image: usize) -> usize {
    offset_of!(Images, images) + image * STRIDE
}

fn unmapped() -> impl FnOnce(std::io::Error) -> DatapathError {
    DatapathError::io("can not map the policy")
}

impl PolicyMap {
    /// A copy of the policy in force.
    pub(super) fn policy(&self) -> Result<Box<PolicyImage>, DatapathError> {
        // Straight into the heap: the image is far too large for a stack.
        let mut copy = PolicyImage::new_box_zeroed()
            .map_err(|_| DatapathError::Missing("memory for a copy of the policy".into()))?;
        let words = <[u64; IMAGE_WORDS]>::mut_from_bytes(copy.as_mut_bytes())
            .map_err(|_| DatapathError::Missing("an image of whole words".into()))?;
        self.read_in_force(|image| self.read(image, words))?;
        Ok(copy)
    }

    /// What the policy in force says of itself.
    pub(super) fn facts(&self) -> Result<ImageFacts, DatapathError> {
        let head = self.read_in_force(|image| self.head(image))?;
        Ok(ImageFacts {
            generation: head.generation,
            enforce: head.enforce != 0,
            per_peer: head.per_peer != 0,
            policy_sha256: head.policy_sha256,
            peers: u32::from(head.peers),
        })
    }

    /// Writes `image` beside the one in force.
    pub(super) fn fill(&mut self, image: &PolicyImage) -> Result<Filled, DatapathError> {
        let grace = Grace::new().map_err(DatapathError::io("can not make what waits for the programs that run"))?;
        let (in_force, is_settled) = self.in_force()?;
        // A process died between the word and the end of its wait.
        if !is_settled {
            self.settle(&grace, in_force)?;
        }
        let next = 1 - in_force;
        let words = <[u64; IMAGE_WORDS]>::ref_from_bytes(image.as_bytes())
            .map_err(|_| DatapathError::Missing("an image of whole words".into()))?;
        let part = Words::part(self.fd(), begin(next), IMAGE_WORDS).map_err(unmapped())?;
        part.all().iter().zip(words).for_each(|(to, word)| to.store(*word, Relaxed));
        Ok(Filled { next, grace })
    }

    fn settle(&mut self, grace: &Grace, in_force: usize) -> Result<(), DatapathError> {
        grace.wait().map_err(DatapathError::io("can not wait for the programs that run"))?;
        self.select(SETTLED, in_force)
    }

    /// Stores one of the selector's words.
    fn select(&mut self, word: usize, image: usize) -> Result<(), DatapathError> {
        let selector = Words::part(self.fd(), 0, SELECTOR_WORDS).map_err(unmapped())?;
        if let Some(word) = selector.all().get(word) {
            word.store((image * STRIDE) as u64, Release);
        }
        Ok(())
    }
}

/// An image that is written and not in force.
#[must_use]
pub struct Filled {
    next: usize,
    grace: Grace,
}

impl Filled {
    /// Puts it into force: one word. Returns after the kernel's grace period: no packet meets the image before it any more.
    pub(super) fn put_into(self, map: &mut PolicyMap) -> Result<(), DatapathError> {
        map.select(IN_FORCE, self.next)?;
        map.settle(&self.grace, self.next)
    }
}
