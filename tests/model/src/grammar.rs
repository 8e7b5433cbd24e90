//! Frames by a grammar, as a `proptest` strategy: link header and tags, IPv4 or IPv6 with their options, chains and fragments, transport, then damage
//! (lengths that lie, truncation, padding, changed bytes). Most frames are nearly right: a frame of noise says nothing about the rules behind the first
//! one. Must not know what the right verdict is.

use super::{
    generated::{Features, Generated},
    policies::{Aim, Case},
    shrink::Shrinking,
};
use proptest::{
    strategy::{NewTree, Strategy},
    test_runner::TestRunner,
};

mod dice;
mod ip;

use dice::Dice;
pub use dice::seeded;

/// Frames that are worth asking one policy about.
#[derive(Clone, Copy)]
pub struct Frames<'c> {
    pub about: &'c Case,
}

impl std::fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "frames about the policy {}", self.about.name)
    }
}

impl Strategy for Frames<'_> {
    type Tree = Shrinking;
    type Value = Generated;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut dice = Dice::new(runner.rng());
        Ok(Shrinking::new(frame(&mut dice, self.about)))
    }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// Beyond what the length fields can say, so that a length of 0 is an aggregate's.
const HUGE_BYTES: usize = 65_500;
const HUGE_SPREAD_BYTES: usize = 160;

fn frame(dice: &mut Dice<'_>, about: &Case) -> Generated {
    let mut features = Features::default();
    let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    tags(dice, &mut bytes, &mut features);
    let aim = if about.classes.is_empty() || dice.one_in(2) { &about.anywhere } else { dice.one_of(&about.classes) };
    match dice.below(100) {
        0..48 => {
            bytes.extend(IPV4.to_be_bytes());
            ip::v4(dice, aim, &mut bytes, &mut features);
        }
        48..96 => {
            bytes.extend(IPV6.to_be_bytes());
            ip::v6(dice, aim, &mut bytes, &mut features);
        }
        96 => {
            // The wrong packet for its type.
            bytes.extend(IPV4.to_be_bytes());
            ip::v6(dice, aim, &mut bytes, &mut features);
        }
        _ => {
            bytes.extend(other_ethertype(dice).to_be_bytes());
            let length = dice.below(64);
            bytes.extend(dice.bytes(length));
        }
    }
    if bytes.len() > 32 && dice.one_in(24) {
        without_link_header(dice, &mut bytes, &mut features);
    }
    damage(dice, &mut bytes, &mut features);
    Generated { frame: bytes, features }
}

/// As the kernel gives a node its own multicast back: an IP packet alone, whose sender may have any address.
fn without_link_header(dice: &mut Dice<'_>, bytes: &mut Vec<u8>, features: &mut Features) {
    bytes.drain(..14 + 4 * features.tags);
    features.tags = 0;
    if dice.one_in(2)
        && let Some(ethertype) = bytes.get_mut(12..14)
    {
        let known = [IPV4, IPV6, 0x8100, other_ethertype(dice)];
        ethertype.copy_from_slice(&dice.pick(&known).to_be_bytes());
    }
    if !dice.one_in(4)
        && let Some(destination) = bytes.get_mut(24)
    {
        *destination = 0xff;
    }
}

fn tags(dice: &mut Dice<'_>, bytes: &mut Vec<u8>, features: &mut Features) {
    features.tags = match dice.below(100) {
        0..45 => 0,
        45..60 => 1,
        60..66 => 2,
        _ => dice.below(11),
    };
    let uniform = dice.one_in(2);
    for _ in 0..features.tags {
        let tag: u16 = if uniform || dice.one_in(2) { 0x8100 } else { 0x88a8 };
        bytes.extend(tag.to_be_bytes());
        let control = if dice.one_in(3) { 0 } else { dice.below(65_536) as u16 };
        bytes.extend(control.to_be_bytes());
    }
}

fn other_ethertype(dice: &mut Dice<'_>) -> u16 {
    let known = [
        0x0806, 0x88cc, 0x8864, 0x8863, 0x8847, 0x8848, 0x8849, 0x88e5, 0x9100, 0x9200, 0x0008, 0xdd86, 46, 0x0801,
        0x86dc,
    ];
    if dice.one_in(8) { dice.below(65_536) as u16 } else { dice.pick(&known) }
}

/// What happens to frames on their way, or by intent.
fn damage(dice: &mut Dice<'_>, bytes: &mut Vec<u8>, features: &mut Features) {
    match dice.below(100) {
        0..12 => {
            bytes.truncate(dice.below(bytes.len() + 1));
            features.truncated = true;
        }
        12..18 => {
            // Near the end, where the checks are.
            let cut = dice.below(24).min(bytes.len());
            bytes.truncate(bytes.len() - cut);
            features.truncated = true;
        }
        18..34 => {
            let length = 1 + dice.below(48);
            let padding = if dice.one_in(2) { vec![0; length] } else { dice.bytes(length) };
            bytes.extend(padding);
            features.padded = true;
        }
        34..46 => {
            for _ in 0..=dice.below(4) {
                let at = mutated_at(dice, bytes.len());
                bytes[at] = if dice.one_in(2) { dice.below(256) as u8 } else { bytes[at] ^ 1 << dice.below(8) };
            }
            features.mutated = true;
        }
        _ => {}
    }
    if dice.one_in(2_000) {
        bytes.resize(HUGE_BYTES + dice.below(HUGE_SPREAD_BYTES), 0);
    } else if dice.one_in(200) {
        let length = 1_500 + dice.below(8_000);
        bytes.resize(bytes.len().max(length), 0);
    }
}

/// The headers, mostly; nobody reads the addresses of the link layer.
fn mutated_at(dice: &mut Dice<'_>, length: usize) -> usize {
    if dice.one_in(4) || length <= 13 { dice.below(length) } else { 12 + dice.below((length - 12).min(96)) }
}
