//! What the kernel object names and does not have: its settings, and the map whose value lies at a fixed address. Each is an undefined symbol. aya passes over
//! relocations against undefined symbols, so what is written here is what the kernel gets.
//!
//! A setting is asked for by a call and a conditional jump (`node-ebpf/src/settings.rs`). Of a setting that is off the verifier leaves nothing: it takes out a
//! jump that is never taken, and what only that leads to; of one that is on, the jump.

use std::os::fd::{AsRawFd, BorrowedFd};

use node_ebpf_common::{Shape, maps::name};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, read::elf::ElfFile64};
use zerocopy::IntoBytes;

use super::error::DatapathError;

/// `BPF_LD | BPF_IMM | BPF_DW`: the only instruction that can hold an address. It is two instructions long.
const LOAD_64: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`
const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_JGT | BPF_K`
const JUMP_IF_ABOVE: u8 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`
const JUMP_IF_AT_LEAST: u8 = 0x35;
/// A jump to the next instruction, which the verifier takes out (Linux 5.1).
const NOTHING: [u8; 8] = [5, 0, 0, 0, 0, 0, 0, 0];
/// Bytes of the two instructions that a symbol is asked for by.
const PLACE_BYTES: usize = 16;
/// `BPF_PSEUDO_MAP_VALUE`: the load's first half is a map's descriptor, its second the place in the map's value (Linux 5.2).
const PSEUDO_MAP_VALUE: u8 = 2;

/// `object` with the settings of `shape`, over the policy of the map `policy`: words, for an ELF reader wants it aligned, and zeros behind its end.
pub(super) fn resolve(object: &[u8], shape: Shape, policy: BorrowedFd<'_>) -> Result<Vec<u64>, DatapathError> {
    let mut words = vec![0_u64; object.len().div_ceil(size_of::<u64>())];
    let resolved = words.as_mut_bytes();
    for (to, from) in resolved.iter_mut().zip(object) {
        *to = *from;
    }
    for (at, symbol) in undefined(object)? {
        let place: &mut [u8; PLACE_BYTES] = resolved
            .get_mut(at..at + PLACE_BYTES)
            .and_then(|place| place.try_into().ok())
            .ok_or_else(|| broken(&format!("{symbol} is asked for behind its end")))?;
        let resolved = match shape.symbol(&symbol) {
            Some(value) => setting(*place, value),
            None if symbol == name::POLICY => map_value(*place, policy),
            None => return Err(broken(&format!("it wants {symbol}, which is no setting and no map"))),
        };
        *place = resolved.ok_or_else(|| broken(&format!("it asks for {symbol} by {place:02x?}")))?;
    }
    Ok(words)
}

/// A setting's question: the call goes, and the jump behind it, which is never taken, is always taken where the setting is on.
const fn setting(place: [u8; PLACE_BYTES], value: bool) -> Option<[u8; PLACE_BYTES]> {
    let [CALL, _, _, _, _, _, _, _, JUMP_IF_ABOVE, register, o0, o1, 0xff, 0xff, 0xff, 0xff] = place else {
        return None;
    };
    let [a, b, c, d, e, f, g, h] = NOTHING;
    let (opcode, immediate) = if value { (JUMP_IF_AT_LEAST, 0) } else { (JUMP_IF_ABOVE, 0xff) };
    Some([a, b, c, d, e, f, g, h, opcode, register, o0, o1, immediate, immediate, immediate, immediate])
}

/// The address of a part of a map's value. Which part stands in the load.
fn map_value(place: [u8; PLACE_BYTES], map: BorrowedFd<'_>) -> Option<[u8; PLACE_BYTES]> {
    let [LOAD_64, register, 0, 0, p0, p1, p2, p3, 0, 0, 0, 0, 0, 0, 0, 0] = place else { return None };
    let [d0, d1, d2, d3] = map.as_raw_fd().to_le_bytes();
    let register = register & 0xf | PSEUDO_MAP_VALUE << 4;
    Some([LOAD_64, register, 0, 0, d0, d1, d2, d3, 0, 0, 0, 0, p0, p1, p2, p3])
}

/// Where each undefined symbol is asked for: the load's place in the file, and the symbol's name.
fn undefined(object: &[u8]) -> Result<Vec<(usize, String)>, DatapathError> {
    let failed = |error: object::Error| broken(&error.to_string());
    let file: ElfFile64<'_> = ElfFile64::parse(object).map_err(failed)?;
    let mut found = Vec::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let Some((start, _)) = section.file_range() else { continue };
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(index).map_err(failed)?;
            if symbol.is_undefined() {
                let at = usize::try_from(start + offset).map_err(|_| broken("it is larger than memory"))?;
                found.push((at, symbol.name().map_err(failed)?.to_owned()));
            }
        }
    }
    Ok(found)
}

fn broken(problem: &str) -> DatapathError {
    DatapathError::Missing(format!("a sound kernel object in this executable ({problem})"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::{collections::BTreeSet, os::fd::AsFd as _};

    use super::*;
    use crate::object::OBJECT;

    /// A setting that the program does not ask for would do nothing, and one that nobody can set would keep the object from being loaded.
    #[test]
    fn the_object_asks_for_every_setting_and_for_the_policy_alone() {
        let asked: BTreeSet<String> = undefined(OBJECT).unwrap().into_iter().map(|(_, symbol)| symbol).collect();
        let known =
            Shape::NAMES.iter().map(|name| format!("setting_{name}")).chain([name::POLICY.to_owned()]).collect();
        assert_eq!(asked, known);
    }

    #[test]
    fn only_the_places_of_symbols_change_and_each_setting_changes_its_own() {
        let policy = std::fs::File::open("/dev/null").unwrap();
        let plain = resolve(OBJECT, Shape::PLAIN, policy.as_fd()).unwrap();
        let plain = &plain.as_bytes()[..OBJECT.len()];
        let places = |of: &str| -> Vec<usize> {
            undefined(OBJECT)
                .unwrap()
                .into_iter()
                .filter(|(_, symbol)| symbol.ends_with(of))
                .map(|(at, _)| at)
                .collect()
        };
        let is_place = |at: usize| places("").iter().any(|place| (*place..place + PLACE_BYTES).contains(&at));
        let differs: Vec<usize> = (0..OBJECT.len()).filter(|at| plain[*at] != OBJECT[*at]).collect();
        assert!(!differs.is_empty() && differs.into_iter().all(is_place));
        for name in Shape::NAMES {
            let set = resolve(OBJECT, Shape::PLAIN.with(name), policy.as_fd()).unwrap();
            let own: Vec<usize> = (0..OBJECT.len()).filter(|at| plain[*at] != set.as_bytes()[*at]).collect();
            // The operation and the number of each jump.
            let expected: Vec<usize> =
                places(name).iter().flat_map(|at| [8, 12, 13, 14, 15].map(|byte| at + byte)).collect();
            assert!(!own.is_empty());
            assert_eq!(own, expected, "{name}");
        }
    }
}
