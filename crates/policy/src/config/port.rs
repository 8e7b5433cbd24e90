//! Ports, ranges of ports (both ends included) and sets of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::ValueError;

/// Ports from `first` to `last`, both included; a single port is a range of one. Never empty, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = &'static str;

    fn try_from((first, last): (u16, u16)) -> Result<Self, Self::Error> {
        Self::new(first, last).ok_or("an empty range of ports, or port 0")
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// A range, unless it is empty or holds port 0.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || first > last { None } else { Some(Self { first, last }) }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many ports, at least 1.
    pub const fn count(self) -> u32 {
        self.last as u32 - self.first as u32 + 1
    }

    /// Whether `port` is in it.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// The ports that are in both, if there are any.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The ports, ascending.
    pub fn ports(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }

    /// A port written as an integer.
    pub fn from_integer(port: i64) -> Result<Self, ValueError> {
        u16::try_from(port).ok().and_then(|port| Self::new(port, port)).ok_or_else(|| not_a_port(&port.to_string()))
    }
}

/// The one wording for everything that is not a port or a range.
pub(crate) fn not_a_port(found: &str) -> ValueError {
    ValueError::new(format!("{found} is not a port; expected 1 to 65535 or a range such as \"5701-5711\""))
}

/// Digits only: `u16::from_str` alone would take `+80`, and `080` may be a slip.
fn parse_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || not_a_port(&format!("{text:?}"));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first = parse_port(first).ok_or_else(refused)?;
        let last = parse_port(last).ok_or_else(refused)?;
        Self::new(first, last).ok_or_else(|| {
            ValueError::new(format!("{text:?} runs backwards; expected the lower port first: \"{last}-{first}\""))
        })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// A set of ports: the fewest ranges, ascending. Written as `7000-7001,7199`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSet(Vec<PortRange>);

impl PortSet {
    /// Its ranges, ascending; between two of them is at least one port.
    pub fn as_slice(&self) -> &[PortRange] {
        &self.0
    }

    /// The same, one after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, PortRange> {
        self.0.iter()
    }

    /// Whether no port is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `port` is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.iter().any(|range| range.contains(port))
    }

    /// The ports of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other).copied().collect()
    }

    /// The ports that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.iter().flat_map(|a| other.iter().filter_map(|b| a.intersection(*b))).collect()
    }

    /// The ports that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in self {
            // A number for the port after 65535, too.
            let mut next = u32::from(range.first);
            for cut in other.iter().filter(|cut| cut.intersection(*range).is_some()) {
                if let (Ok(first), Some(last)) = (u16::try_from(next), cut.first.checked_sub(1)) {
                    left.extend(PortRange::new(first, last));
                }
                next = u32::from(cut.last) + 1;
            }
            if let Ok(first) = u16::try_from(next) {
                left.extend(PortRange::new(first, range.last));
            }
        }
        Self(left)
    }
}

impl FromIterator<PortRange> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut ranges: Vec<PortRange> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(previous) if u32::from(range.first) <= u32::from(previous.last) + 1 => {
                    previous.last = previous.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl From<PortRange> for PortSet {
    fn from(range: PortRange) -> Self {
        Self(vec![range])
    }
}

impl<'a> IntoIterator for &'a PortSet {
    type Item = &'a PortRange;
    type IntoIter = std::slice::Iter<'a, PortRange>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self.iter().map(ToString::to_string).collect();
        f.write_str(&ranges.join(","))
    }
}
