//! Which node the evidence is of: a name for people, and an id that stays when the name changes. Reads two files of the host and nothing else.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use nodewall_text::hex;

const MACHINE_ID: &str = "/etc/machine-id";
/// The id is made for this purpose alone, as machine-id(5) asks: whoever reads exported evidence learns nothing that opens anything else.
const PURPOSE: &[u8] = b"nodewall evidence node id 1\0";
/// 128 bits, as the machine's own id has.
const ID_BYTES: usize = 16;

/// A node, as its records name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The host's name; empty if it can not be read.
    pub name: String,
    /// 32 hexadecimal digits, from a keyed hash of the machine's id; `unknown` on a host that has none.
    pub id: String,
}

impl Node {
    /// This host.
    pub fn here() -> Self {
        Self { name: nodewall_text::host_name(), id: id_of(Path::new(MACHINE_ID)) }
    }
}

fn id_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let machine = text.trim();
    if machine.is_empty() || machine == "uninitialized" {
        return "unknown".to_owned();
    }
    let digest = Sha256::new().chain_update(PURPOSE).chain_update(machine).finalize();
    hex(digest.get(..ID_BYTES).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_and_does_not_give_the_machine_s_away() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(&other, "0123456789abcdef0123456789abcdee\n").unwrap();
        assert_eq!(id_of(&one).len(), 32);
        assert_eq!(id_of(&one), id_of(&one));
        assert_ne!(id_of(&one), id_of(&other));
        assert!(!id_of(&one).contains("0123456789"));
        assert_eq!(id_of(&dir.path().join("none")), "unknown");
    }
}
