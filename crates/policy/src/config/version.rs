//! The cluster's version, of which only "is it older than 1.166" is ever asked.

use std::fmt;
use std::str::FromStr;

use super::error::ValueError;

/// A cluster version such as `1.300`, `1.300.12` or `1.300.12.20240101-120000`. Its numbers compare as numbers: 1.99 is below 1.166.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// As it was written.
    text: String,
}

impl ClusterVersion {
    /// Whether this version is before `major.minor`.
    pub fn is_below(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) < (major, minor)
    }
}

fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// `YYYYMMDD-HHMMSS`.
fn is_build_stamp(text: &str) -> bool {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(day, time)| digits(day, 8) && digits(time, 6))
}

impl FromStr for ClusterVersion {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let parse = || {
            let mut parts = text.splitn(4, '.');
            let major = number(parts.next()?)?;
            let minor = number(parts.next()?)?;
            if let Some(patch) = parts.next() {
                number(patch)?;
            }
            let stamped = parts.next().is_none_or(is_build_stamp);
            stamped.then(|| Self { major, minor, text: text.to_owned() })
        };
        parse().ok_or_else(|| {
            ValueError::new(format!(
                "{text:?} is not a cluster version; expected \"1.300\", \"1.300.12\" or \"1.300.12.20240101-120000\""
            ))
        })
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
