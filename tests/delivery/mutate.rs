//! Random changes of the shapes' frames: bytes, lengths, cuts, tags, options, headers in front. The same seed gives the same frames. Checksums are mended
//! most of the time, so that the kernel looks further.

use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};

use super::{ask::TOKEN_BYTES, wire::checksum};

/// Bytes that mean something in one header or another.
const TELLING: [u8; 26] = [
    0, 1, 2, 4, 5, 6, 8, 17, 0x20, 0x29, 0x2b, 0x2c, 0x2f, 0x32, 0x33, 0x3a, 0x3b, 0x3c, 0x40, 0x45, 0x46, 0x4f, 0x60,
    0x81, 0x88, 0xff,
];
/// Where headers are.
const HEADERS_END: usize = 110;

/// Random choices.
pub(crate) struct Dice(TestRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give related streams, and all zeros is no state.
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(TestRng::from_seed(RngAlgorithm::XorShift, &[seed.to_le_bytes(), (mixed | 1).to_le_bytes()].concat()))
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Changes the frames a little.
pub(crate) fn mutate(frames: &mut Vec<Vec<u8>>, ports: &[u16], dice: &mut Dice) {
    for _ in 0..=dice.below(2) {
        if frames.is_empty() {
            return;
        }
        let which = dice.below(frames.len());
        if frames.len() > 1 && dice.below(4) == 0 {
            rearrange(frames, which, dice);
        } else {
            let frame = &mut frames[which];
            change(frame, ports, dice);
            if dice.below(8) != 0 {
                mend(frame, dice.below(2) == 0);
            }
        }
    }
}

fn rearrange(frames: &mut Vec<Vec<u8>>, which: usize, dice: &mut Dice) {
    let other = dice.below(frames.len());
    match dice.below(3) {
        0 => frames.swap(which, other),
        1 => frames.insert(other, frames[which].clone()),
        _ => drop(frames.remove(which)),
    }
}

fn change(frame: &mut Vec<u8>, ports: &[u16], dice: &mut Dice) {
    let end = frame.len().saturating_sub(TOKEN_BYTES).min(HEADERS_END);
    if end < 40 {
        return;
    }
    // The addresses of the link stay: a frame to nobody teaches nothing.
    let at = 12 + dice.below(end - 12 - 8);
    match dice.below(12) {
        0 | 1 => frame[at] ^= 1 << dice.below(8),
        2 | 3 => frame[at] = dice.pick(&TELLING),
        4 => frame.truncate(at + dice.below(frame.len() - at)),
        5 => {
            let more = 1 + dice.below(40);
            frame.extend((0..more).map(|_| dice.below(256) as u8).collect::<Vec<_>>());
        }
        6 => {
            let tag: [u8; 4] = dice.pick(&[[0x81, 0, 0, 0], [0x88, 0xa8, 0, 0], [0x81, 0, 0, 7], [0x81, 0, 0xe0, 0]]);
            frame.splice(12..12, tag);
        }
        7 => drop(frame.drain(at..at + dice.pick(&[1, 2, 4, 8]))),
        8 => {
            let copied = frame[at..at + dice.pick(&[1, 2, 4, 8])].to_vec();
            frame.splice(at..at, copied);
        }
        9 => {
            let port = dice.pick(ports).to_be_bytes();
            frame[at..at + 2].copy_from_slice(&port);
        }
        10 => lengthen_header(frame, dice),
        _ => {
            for _ in 0..4 {
                frame[at + dice.below(8)] = dice.below(256) as u8;
            }
        }
    }
}

/// Where the IP header begins, behind tags.
fn ip_at(frame: &[u8]) -> Option<(u8, usize)> {
    let mut at = 12;
    loop {
        let kind = frame.get(at..at + 2)?;
        match kind {
            [0x81, 0] | [0x88, 0xa8] => at += 4,
            [8, 0] => return Some((4, at + 2)),
            [0x86, 0xdd] => return Some((6, at + 2)),
            _ => return None,
        }
    }
}

/// An option or an extension header more, with right lengths.
fn lengthen_header(frame: &mut Vec<u8>, dice: &mut Dice) {
    match ip_at(frame) {
        Some((4, at)) if at + 20 <= frame.len() && frame[at] & 15 < 15 => {
            frame[at] += 1;
            frame.splice(at + 20..at + 20, [dice.pick(&[1, 0, 0x94, 0x83, 7]), 4, 4, 0]);
            grow(frame, at + 2, 4);
        }
        Some((6, at)) if at + 40 <= frame.len() => {
            let next = frame[at + 6];
            let number = dice.pick(&[0, 43, 44, 51, 60, 60, 135]);
            frame[at + 6] = number;
            let header = if number == 44 { [next, 0, 0, 0, 0, 0, 0, 9] } else { [next, 0, 1, 4, 0, 0, 0, 0] };
            frame.splice(at + 40..at + 40, header);
            grow(frame, at + 4, 8);
        }
        _ => {}
    }
}

fn grow(frame: &mut [u8], field: usize, by: u16) {
    let length = u16::from_be_bytes([frame[field], frame[field + 1]]).wrapping_add(by);
    frame[field..field + 2].copy_from_slice(&length.to_be_bytes());
}

/// Mends IPv4's header checksum and, if asked to, the length of the packet.
fn mend(frame: &mut [u8], length_too: bool) {
    let Some((version, at)) = ip_at(frame) else { return };
    let rest = frame.len() - at;
    if version == 6 && length_too && rest >= 40 {
        frame[at + 4..at + 6].copy_from_slice(&((rest - 40) as u16).to_be_bytes());
    }
    if version == 4 && rest >= 20 {
        if length_too {
            frame[at + 2..at + 4].copy_from_slice(&(rest as u16).to_be_bytes());
        }
        let header_end = (at + usize::from(frame[at] & 15) * 4).clamp(at + 20, frame.len());
        frame[at + 10..at + 12].copy_from_slice(&[0, 0]);
        let sum = checksum(&frame[at..header_end]);
        frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
    }
}
