//! Names of network interfaces, and patterns of them. Must not look at the machine's interfaces.

use std::fmt;
use std::str::FromStr;

use super::error::ValueError;

/// The kernel's `IFNAMSIZ` less the closing zero.
const MAX_NAME_BYTES: usize = 15;

/// An interface name (`eth0`), or a beginning of names followed by `*` (`bond*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfacePattern {
    stem: String,
    open_ended: bool,
}

impl InterfacePattern {
    /// Exactly the interface that has this name, whatever characters it is made of.
    pub fn named(name: &str) -> Self {
        Self { stem: name.to_owned(), open_ended: false }
    }

    /// Whether the interface called `name` is meant. Never true for `lo`.
    pub fn matches(&self, name: &str) -> bool {
        let meant = if self.open_ended { name.starts_with(&self.stem) } else { name == self.stem };
        meant && name != "lo"
    }

    /// The name, if this is exactly one interface and not a pattern.
    pub fn exact(&self) -> Option<&str> {
        (!self.open_ended).then_some(self.stem.as_str())
    }
}

impl FromStr for InterfacePattern {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (stem, open_ended) = text.strip_suffix('*').map_or((text, false), |stem| (stem, true));
        // As the kernel's dev_valid_name; a star inside a name and a question mark are legal there, but always a slip here.
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '*' | '?');
        let nameless = stem.is_empty() && !open_ended;
        if nameless || stem.len() > MAX_NAME_BYTES || stem.contains(bad) || matches!(stem, "." | "..") {
            let error = ValueError::new(format!(
                "{text:?} is not an interface name; expected 1 to {MAX_NAME_BYTES} bytes such as \"eth0\", or a beginning such as \"bond*\""
            ));
            let is_pattern = stem.contains(['*', '?']);
            return Err(if is_pattern { error.help("only a * at the end stands for something else") } else { error });
        }
        if stem == "lo" && !open_ended {
            return Err(ValueError::new("\"lo\" is never attached: loopback traffic does not come from the wire")
                .help("name Ethernet interfaces only"));
        }
        Ok(Self { stem: stem.to_owned(), open_ended })
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.stem, if self.open_ended { "*" } else { "" })
    }
}
