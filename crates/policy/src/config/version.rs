//! The cluster's version, of which only is asked who may reach the port that agents once used.

use std::fmt;
use std::str::FromStr;

use super::enums::ProfileAccess;
use super::error::ValueError;

/// The port that `agent_port_8443` and `cluster_version` decide.
pub const AGENT_PORT: u16 = 8443;
/// From this cluster version on, 8443 "doesn't need to be exposed to the outside of the cluster nodes" (the document's footnote 1).
const AGENT_PORT_INTERNAL_SINCE: (u32, u32) = (1, 166);

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
    /// Who may reach [`AGENT_PORT`] in such a cluster, unless `agent_port_8443` says otherwise.
    pub fn agent_port_access(&self) -> ProfileAccess {
        let is_public = (self.major, self.minor) < AGENT_PORT_INTERNAL_SINCE;
        if is_public { ProfileAccess::Public } else { ProfileAccess::Cluster }
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
