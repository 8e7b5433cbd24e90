//! What the kernel object names and does not have: its settings, and the map whose value lies at a fixed address. Each is an undefined symbol, asked for by
//! a 64-bit load. aya passes over relocations against undefined symbols, so what is written here is what the kernel gets.

use std::os::fd::{AsRawFd, BorrowedFd};

use node_ebpf_common::{Shape, maps::name};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, read::elf::ElfFile64};
use zerocopy::IntoBytes;

use super::error::DatapathError;

/// `BPF_LD | BPF_IMM | BPF_DW`: the only instruction that can hold a symbol.
const LOAD_64: u8 = 0x18;
/// Bytes of that load: it is two instructions long.
const LOAD_64_BYTES: usize = 16;

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
        let load: &mut [u8; LOAD_64_BYTES] = resolved
            .get_mut(at..at + LOAD_64_BYTES)
            .and_then(|load| load.try_into().ok())
            .ok_or_else(|| broken(&format!("{symbol} is asked for behind its end")))?;
        // Of a symbol's value, the place that is asked for stands in the load.
        let [LOAD_64, registers, _, _, p0, p1, p2, p3, 0, _, _, _, 0, 0, 0, 0] = *load else {
            return Err(broken(&format!("{symbol} is asked for by {load:02x?}, which is no plain 64-bit load")));
        };
        let (register, place) = (registers & 0xf, u32::from_le_bytes([p0, p1, p2, p3]));
        let (register, low, high) = match (shape.symbol(&symbol), place) {
            (Some(value), 0) => (register, u32::from(value), 0),
            (None, _) if symbol == name::POLICY => {
                (register | PSEUDO_MAP_VALUE << 4, policy.as_raw_fd().cast_unsigned(), place)
            }
            _ => return Err(broken(&format!("it wants {symbol} + {place}, which is no setting and no map"))),
        };
        let ([l0, l1, l2, l3], [h0, h1, h2, h3]) = (low.to_le_bytes(), high.to_le_bytes());
        *load = [LOAD_64, register, 0, 0, l0, l1, l2, l3, 0, 0, 0, 0, h0, h1, h2, h3];
    }
    Ok(words)
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
    fn only_the_loads_of_settings_change() {
        let policy = std::fs::File::open("/dev/null").unwrap();
        let plain = resolve(OBJECT, Shape::PLAIN, policy.as_fd()).unwrap();
        let policies = undefined(OBJECT).unwrap().into_iter().filter(|(_, symbol)| symbol == name::POLICY);
        let mut expected = OBJECT.to_vec();
        for (at, _) in policies {
            // The register is the low half of the second byte; a setting that is off is the zero that stands there.
            expected[at + 1] |= PSEUDO_MAP_VALUE << 4;
            expected.copy_within(at + 4..at + 8, at + 12);
            expected[at + 4..at + 8].copy_from_slice(&policy.as_raw_fd().to_le_bytes());
        }
        assert!(plain.as_bytes().get(..OBJECT.len()) == Some(&expected[..]));
        for name in Shape::NAMES {
            let places = undefined(OBJECT).unwrap().into_iter().filter(|(_, symbol)| symbol.ends_with(name)).count();
            let set = resolve(OBJECT, Shape::PLAIN.with(name), policy.as_fd()).unwrap();
            let changed = plain.as_bytes().iter().zip(set.as_bytes()).filter(|(a, b)| a != b).count();
            assert_eq!(changed, places, "{name}");
        }
    }
}
