//! The vendor's port tables, compiled in from one readable file each.

use super::PolicyError;
use crate::config::{ProfileName, Rule, RuleFile};

/// A profile: which document it states, and its classes in the document's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileTable {
    /// Which.
    pub name: ProfileName,
    /// The document it states, in a line.
    pub about: String,
    /// Its classes, as rules.
    pub rules: Vec<Rule>,
}

/// The compiled-in table of that name; `none` has no classes.
pub fn profile(name: ProfileName) -> Result<ProfileTable, PolicyError> {
    let (text, file) = match name {
        ProfileName::DynatraceManaged => (include_str!("profiles/dynatrace-managed.toml"), "dynatrace-managed.toml"),
        ProfileName::DynatraceManagedCurrent => {
            (include_str!("profiles/dynatrace-managed-current.toml"), "dynatrace-managed-current.toml")
        }
        ProfileName::None => {
            return Ok(ProfileTable { name, about: "No classes but your own rules".to_owned(), rules: Vec::new() });
        }
    };
    let RuleFile { about, rules } =
        RuleFile::parse(text, file).map_err(|errors| PolicyError::Profile { name, errors })?;
    Ok(ProfileTable { name, about, rules })
}
