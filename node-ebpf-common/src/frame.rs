//! How all code reads a frame: a small trait, and its host side over a byte slice. It must not know what the bytes mean.
//! The kernel's side is `node-ebpf/src/frame.rs`, which does the pointer checks that the verifier wants.

use core::cell::Cell;

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A plain value that can be read from any byte offset.
pub trait Wire: FromBytes + Immutable + KnownLayout + Unaligned + Copy {}
impl<T: FromBytes + Immutable + KnownLayout + Unaligned + Copy> Wire for T {}

/// A received Ethernet frame, from its first destination-address byte on; or a packet of a device whose frames have no such header.
pub trait Frame {
    /// What [`Frame::forgotten`] gives back.
    type Forgotten<'a>: Frame
    where
        Self: 'a;

    /// Bytes that can be read without help. For a multi-buffer frame in the kernel this is the first buffer only.
    fn linear_bytes(&self) -> usize;

    /// Whether the whole frame has at least `end` bytes.
    fn holds(&self, end: usize) -> bool;

    /// Index of the interface that it came in by, where that may matter. `number` is any at hand: the kernel's side wants one to ask by.
    #[inline(always)]
    fn interface(&self, _number: u64) -> Option<u32> {
        None
    }

    /// The `EtherType` (the wire's bytes read little-endian) of what begins with its IP header. `None`: it begins with an Ethernet header.
    #[inline(always)]
    fn protocol(&self) -> Option<u16> {
        None
    }

    /// Whether a VLAN tag was taken out of it before.
    #[inline(always)]
    fn has_tag_beside(&self) -> bool {
        false
    }

    /// The whole frame's length. May cost a helper call in the kernel: for unlikely paths only.
    fn total_bytes(&self) -> usize;

    /// The value at `offset`, or `None` where the frame ends before it does.
    fn read<T: Wire>(&self, offset: usize) -> Option<T>;

    /// The frame's first bytes behind `skipped`, a small number; `None` also where the first buffer does not hold them all: for shapes that are worth a
    /// shortcut.
    fn start<T: Wire>(&self, skipped: usize) -> Option<T>;

    /// The identity. In the kernel it hides the value from LLVM, so that a bound stated after it stays in the program.
    #[inline(always)]
    fn opaque(&self, value: u64) -> u64 {
        value
    }

    /// The same frame. In the kernel the verifier forgets how much of it was looked at (`zero` is 0, which it can not know), so that all ways to
    /// get here become one state and what follows is verified once.
    fn forgotten(&self, zero: u64) -> Self::Forgotten<'_>;

    /// The identity, too: what is computed from the result is not shared with what was computed from `value`, and keeps no register busy meanwhile.
    #[inline(always)]
    fn anew<'a, T>(&self, value: &'a T) -> &'a T {
        value
    }
}

impl Frame for [u8] {
    type Forgotten<'a> = &'a [u8];

    fn forgotten(&self, _zero: u64) -> &[u8] {
        self
    }

    #[inline(always)]
    fn linear_bytes(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn holds(&self, end: usize) -> bool {
        end <= self.len()
    }

    #[inline(always)]
    fn total_bytes(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let bytes = self.get(offset..)?;
        T::read_from_prefix(bytes).ok().map(|(value, _)| value)
    }

    #[inline(always)]
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        self.read(skipped)
    }
}

impl Frame for &[u8] {
    type Forgotten<'a>
        = &'a [u8]
    where
        Self: 'a;

    fn forgotten(&self, _zero: u64) -> &[u8] {
        self
    }

    fn linear_bytes(&self) -> usize {
        (**self).linear_bytes()
    }

    fn holds(&self, end: usize) -> bool {
        (**self).holds(end)
    }

    fn total_bytes(&self) -> usize {
        (**self).total_bytes()
    }

    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        (**self).read(offset)
    }

    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        (**self).start(skipped)
    }
}

/// A frame on the host, and by which interface it came in.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The frame.
    pub frame: &'a [u8],
    /// The interface's index; 0: one of which nothing is known.
    pub if_index: u32,
}

impl Frame for Received<'_> {
    type Forgotten<'a>
        = Self
    where
        Self: 'a;

    fn forgotten(&self, _zero: u64) -> Self {
        *self
    }

    fn interface(&self, _number: u64) -> Option<u32> {
        (self.if_index != 0).then_some(self.if_index)
    }

    fn linear_bytes(&self) -> usize {
        self.frame.linear_bytes()
    }

    fn holds(&self, end: usize) -> bool {
        self.frame.holds(end)
    }

    fn total_bytes(&self) -> usize {
        self.frame.total_bytes()
    }

    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        self.frame.read(offset)
    }

    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        self.frame.start(skipped)
    }
}

/// A frame on the host of which perhaps not all was kept. Its lengths are the whole frame's; whether something that it had is not there is noted.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    kept: Received<'a>,
    whole_bytes: usize,
    is_missed: &'a Cell<bool>,
}

impl<'a> Cut<'a> {
    /// The frame's first bytes; a whole that is shorter than these is a lie. `is_missed` becomes true when a header is asked for that was not kept: what
    /// is said of the frame then is worth nothing.
    pub fn new(kept: Received<'a>, whole_bytes: usize, is_missed: &'a Cell<bool>) -> Self {
        Self { kept, whole_bytes: whole_bytes.max(kept.frame.len()), is_missed }
    }
}

impl Frame for Cut<'_> {
    type Forgotten<'a>
        = Self
    where
        Self: 'a;

    fn forgotten(&self, _zero: u64) -> Self {
        *self
    }

    fn interface(&self, number: u64) -> Option<u32> {
        self.kept.interface(number)
    }

    fn linear_bytes(&self) -> usize {
        self.whole_bytes
    }

    fn holds(&self, end: usize) -> bool {
        end <= self.whole_bytes
    }

    fn total_bytes(&self) -> usize {
        self.whole_bytes
    }

    fn read<T: Wire>(&self, offset: usize) -> Option<T> {
        let value = self.kept.read(offset);
        if value.is_none() && offset.saturating_add(size_of::<T>()) <= self.whole_bytes {
            self.is_missed.set(true);
        }
        value
    }

    /// What is not there is read once more, piece by piece.
    fn start<T: Wire>(&self, skipped: usize) -> Option<T> {
        self.kept.start(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Bytes2;

    #[test]
    fn a_cut_frame_has_its_whole_length_and_tells_what_was_not_kept() {
        let (is_missed, kept) = (Cell::new(false), Received { frame: &[1, 2, 3], if_index: 7 });
        let frame = Cut::new(kept, 5, &is_missed);
        assert!(frame.holds(5) && !frame.holds(6));
        assert_eq!((frame.linear_bytes(), frame.total_bytes(), frame.interface(0)), (5, 5, Some(7)));
        assert_eq!(frame.read::<Bytes2>(1).map(Bytes2::value_le), Some(0x0302));
        assert_eq!(frame.start::<Bytes2>(1).map(Bytes2::value_le), Some(0x0302));
        assert!(frame.start::<Bytes2>(2).is_none() && frame.read::<Bytes2>(4).is_none() && !is_missed.get());
        assert!(frame.forgotten(0).read::<Bytes2>(3).is_none() && is_missed.get(), "the last two bytes of five");
        assert_eq!(Cut::new(kept, 2, &is_missed).total_bytes(), 3);
    }

    #[test]
    fn reads_end_where_the_frame_ends() {
        let frame: &[u8] = &[1, 2, 3];
        assert_eq!(frame.read::<Bytes2>(1).map(Bytes2::value_le), Some(0x0302));
        assert!(frame.read::<Bytes2>(2).is_none());
        assert!(frame.read::<Bytes2>(usize::MAX).is_none());
        assert!(frame.holds(3) && !frame.holds(4));
    }
}
