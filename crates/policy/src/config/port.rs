//! Ports and ranges of ports, both ends included.

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

    /// The ports, ascending.
    pub fn ports(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }

    /// The same ports in the fewest ranges, ascending.
    pub fn normalize(mut ranges: Vec<Self>) -> Vec<Self> {
        ranges.sort_unstable();
        let mut merged: Vec<Self> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(previous) if u32::from(range.first) <= u32::from(previous.last) + 1 => {
                    previous.last = previous.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        merged
    }

    /// The ports of `ranges` that are not in `taken`. Both normalized, and so is the result.
    pub fn subtract(ranges: &[Self], taken: &[Self]) -> Vec<Self> {
        let mut left = Vec::new();
        for range in ranges {
            let mut next = u32::from(range.first);
            for cut in taken.iter().filter(|cut| cut.first <= range.last && range.first <= cut.last) {
                if let (Ok(first), Some(last)) = (u16::try_from(next), cut.first.checked_sub(1)) {
                    left.extend(Self::new(first, last));
                }
                next = u32::from(cut.last) + 1;
            }
            if let Ok(first) = u16::try_from(next) {
                left.extend(Self::new(first, range.last));
            }
        }
        left
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
