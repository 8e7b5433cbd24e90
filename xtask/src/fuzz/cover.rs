//! Which few inputs reach the most, from what libFuzzer measured. Reads text only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Reads a control file of libFuzzer's set-cover merge (`FuzzerMerge.h`: counts, paths, then `FT NUMBER FEATURE…` for each input) and chooses
/// at most `most` inputs: always the one that adds the most features, of two equals the earlier.
pub(super) fn choose(control: &str, most: usize) -> Vec<PathBuf> {
    let mut lines = control.lines();
    let count = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    let paths: Vec<&str> = lines.by_ref().skip(1).take(count).collect();
    let mut left: BTreeMap<usize, BTreeSet<u64>> = lines
        .filter_map(|line| {
            let mut words = line.strip_prefix("FT ")?.split(' ');
            let number = words.next()?.parse().ok()?;
            Some((number, words.filter_map(|word| word.parse().ok()).collect()))
        })
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < most {
        let best = left.iter().rev().max_by_key(|(_, features)| features.len());
        let Some((number, gained)) = best.map(|(number, features)| (*number, features.clone())) else { break };
        if gained.is_empty() {
            break;
        }
        chosen.extend(paths.get(number).map(PathBuf::from));
        left.remove(&number);
        for features in left.values_mut() {
            features.retain(|feature| !gained.contains(feature));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str =
        "3\n0\n/a\n/b\n/c\nSTARTED 0 9\nFT 0 1 2\nCOV 0\nSTARTED 1 9\nFT 1 1 2 3\nSTARTED 2 9\nFT 2 4\n";

    #[test]
    fn the_inputs_that_add_the_most_come_first_and_no_other_is_kept() {
        assert_eq!(choose(CONTROL, 9), [PathBuf::from("/b"), PathBuf::from("/c")]);
        assert_eq!(choose(CONTROL, 1), [PathBuf::from("/b")]);
        assert!(choose("", 9).is_empty());
    }
}
