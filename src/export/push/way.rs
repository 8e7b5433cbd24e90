//! How far the request under way has come, in a few bytes that are overwritten in place. They outlive a killed process, which is what they are for; after a
//! power cut they count for nothing, and the ledger, which is flushed, says the rest. Must not be trusted beyond one boot.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use super::line::Taken;
use nodewall_host::state::{StateDir, StateError};

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not a byte of it was sent.
    NotSent,
    /// Sent; the rest is not known.
    Sent,
    /// The receiver's word.
    Settled(Taken),
}

/// The record of a request that is being sent (`None`), or of what became of it.
pub(super) fn record(boot_id: &str, number: u64, taken: Option<&Taken>) -> String {
    let state = match taken {
        None => "sent".to_owned(),
        Some(Taken::All) => "all".to_owned(),
        Some(Taken::None(_)) => "none".to_owned(),
        Some(Taken::Unknown(_)) => "unknown".to_owned(),
        Some(Taken::AllBut(refused)) => {
            let places: Vec<String> = refused.keys().map(ToString::to_string).collect();
            format!("all-but {}", places.join(","))
        }
    };
    format!("{boot_id} {number} {state}\n")
}

/// How far request `number` of this boot has come. What follows the first line is left from longer records.
pub(super) fn progress(text: Option<&str>, boot_id: &str, number: u64) -> Progress {
    let Some((line, _)) = text.and_then(|text| text.split_once('\n')) else { return Progress::NotSent };
    let mut words = line.split(' ');
    if words.next() != Some(boot_id) || words.next() != Some(&number.to_string()) {
        // Of the request before: its record is overwritten right before the first byte is sent.
        return Progress::NotSent;
    }
    let killed = || "nodewall was killed right then".to_owned();
    match (words.next(), words.next()) {
        (Some("all"), None) => Progress::Settled(Taken::All),
        (Some("none"), None) => Progress::Settled(Taken::None(killed())),
        (Some("unknown"), None) => Progress::Settled(Taken::Unknown(killed())),
        (Some("all-but"), Some(places)) => {
            let places: Option<BTreeMap<usize, String>> =
                places.split(',').map(|place| Some((place.parse().ok()?, killed()))).collect();
            places.map_or(Progress::Sent, |places| Progress::Settled(Taken::AllBut(places)))
        }
        _ => Progress::Sent,
    }
}

/// Overwritten in place.
const FILE: &str = "push.way";

/// How far the last request has come.
pub(super) fn read(state: &StateDir) -> Option<String> {
    std::fs::read_to_string(state.file(FILE)).ok()
}

/// Notes it, by one call that is done as soon as it is made, and not flushed: for a killed process, not for a power cut.
pub(super) fn save(state: &StateDir, record: &str) -> Result<(), StateError> {
    let path = state.file(FILE);
    let write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.write_all_at(record.as_bytes(), 0)
    };
    write().map_err(StateError::io(format!("can not write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read_and_of_another_request_nothing() {
        let places = BTreeMap::from([(0, "why".to_owned()), (12, "why".to_owned())]);
        let long = record("boot", 7, Some(&Taken::AllBut(places)));
        for (taken, found) in [
            (None, "Sent"),
            (Some(Taken::All), "Settled(All)"),
            (Some(Taken::None("busy".into())), "Settled(None(\"nodewall was killed right then\"))"),
            (Some(Taken::Unknown("cut".into())), "Settled(Unknown(\"nodewall was killed right then\"))"),
        ] {
            let short = record("boot", 7, taken.as_ref());
            // Overwritten in place: the longer record's end stays behind.
            let text = format!("{short}{}", long.get(short.len()..).unwrap_or_default());
            assert_eq!(format!("{:?}", progress(Some(&text), "boot", 7)), found);
            assert_eq!(progress(Some(&text), "boot", 8), Progress::NotSent);
            assert_eq!(progress(Some(&text), "other", 7), Progress::NotSent);
        }
        let Progress::Settled(Taken::AllBut(places)) = progress(Some(&long), "boot", 7) else {
            unreachable!("{long}");
        };
        assert!(places.keys().eq(&[0, 12]));
        assert_eq!(progress(None, "boot", 7), Progress::NotSent);
        assert_eq!(progress(Some("boot 7 odd\n"), "boot", 7), Progress::Sent);
    }
}
