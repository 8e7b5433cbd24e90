//! The vendor's port tables, compiled in from one readable file each.

use super::PolicyError;
use crate::config::{ProfileName, RuleFile};

/// The compiled-in table of that name, with its classes as rules in the document's order; `none` has no classes.
pub(super) fn profile(name: ProfileName) -> Result<RuleFile, PolicyError> {
    let (text, file) = match name {
        ProfileName::DynatraceManaged => (include_str!("profiles/dynatrace-managed.toml"), "dynatrace-managed.toml"),
        ProfileName::DynatraceManagedCurrent => {
            (include_str!("profiles/dynatrace-managed-current.toml"), "dynatrace-managed-current.toml")
        }
        ProfileName::None => {
            return Ok(RuleFile { about: "No classes but your own rules".to_owned(), rules: Vec::new() });
        }
    };
    RuleFile::parse(text, file).map_err(|errors| PolicyError::Profile { name, errors })
}
