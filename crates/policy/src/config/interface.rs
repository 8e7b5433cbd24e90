//! Names of network interfaces, and patterns of them. Must not look at the machine's interfaces.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::enums::InterfaceAttach;
use super::error::ValueError;
use super::given::{List, Table};
use super::problems::Problems;
use super::schema::RawInterface;

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

/// Judges `[[interface]]`. `interfaces`: those that are filtered; none: the default set. What is refused is noted in `problems`.
pub(super) fn attach(
    raw: List<Table<RawInterface>>,
    interfaces: &[InterfacePattern],
    problems: &mut Problems<'_>,
) -> BTreeMap<String, InterfaceAttach> {
    let mut attach = BTreeMap::new();
    let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for raw in raw.elements() {
        let header = raw.span();
        let Table(raw) = raw.into_inner();
        let Some(span) = raw.name.span() else {
            problems.push(&header, "name: missing; this [[interface]] needs one such as \"eth1\"".to_owned(), None);
            continue;
        };
        let Some(how) = raw.attach.value() else {
            let message = "attach: missing; this [[interface]] must say \"native\", \"generic\" or \"none\"";
            problems.push(&header, message.to_owned(), None);
            continue;
        };
        let Some(pattern) = problems.take(raw.name) else { continue };
        let name = match judge(&pattern, how, interfaces) {
            Ok(name) => name.to_owned(),
            Err(error) => {
                problems.refuse(&span, error);
                continue;
            }
        };
        if let Some(first) = places.get(&name) {
            let place = problems.place(first);
            let error = format!("{name:?} has a table at {place} already; expected one for each interface");
            problems.refuse(&span, ValueError::new(error));
            continue;
        }
        attach.insert(name.clone(), how);
        places.insert(name, span);
    }
    attach
}

fn judge<'a>(
    pattern: &'a InterfacePattern,
    how: InterfaceAttach,
    interfaces: &[InterfacePattern],
) -> Result<&'a str, ValueError> {
    let Some(name) = pattern.exact() else {
        let error = format!("\"{pattern}\" is a pattern; an [[interface]] is for one interface, such as \"eth1\"");
        return Err(ValueError::new(error));
    };
    let named = interfaces.iter().any(|pattern| pattern.exact() == Some(name));
    if how == InterfaceAttach::None && named {
        let error = format!("{name:?} is named in `interfaces`, and is to be left open here");
        return Err(ValueError::new(error).help("take it out of one of the two"));
    }
    if how != InterfaceAttach::None && !interfaces.is_empty() && !interfaces.iter().any(|p| p.matches(name)) {
        let error = format!("nothing in `interfaces` means {name:?}, so it would not be attached");
        return Err(ValueError::new(error).help("add it to `interfaces`, too"));
    }
    Ok(name)
}
