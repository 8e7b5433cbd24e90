//! What a rule may be called, and what may be noted of it.

use super::error::ValueError;

/// Longest rule name, in bytes.
const MAX_RULE_NAME_BYTES: usize = 31;
/// Names that outputs use for what belongs to no class.
pub(super) const RESERVED_RULE_NAMES: [&str; 6] = ["all", "any", "none", "null", "other", "unmanaged"];
/// Longest note, in characters.
pub(super) const MAX_NOTE_CHARS: usize = 600;

pub(super) fn rule_name(name: &str) -> Result<String, ValueError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > MAX_RULE_NAME_BYTES || !name.bytes().all(plain) {
        return Err(ValueError::new(format!(
            "{name:?} is not a rule name; expected 1 to {MAX_RULE_NAME_BYTES} of a-z, 0-9, \"_\" and \"-\""
        )));
    }
    if RESERVED_RULE_NAMES.contains(&name) {
        return Err(ValueError::new(format!("{name:?} is reserved: outputs use it for what belongs to no class"))
            .help(format!("reserved names: {}", RESERVED_RULE_NAMES.join(", "))));
    }
    Ok(name.to_owned())
}

pub(super) fn note(text: &str) -> Result<String, ValueError> {
    if text.chars().count() > MAX_NOTE_CHARS || text.chars().any(char::is_control) {
        return Err(ValueError::new(format!("expected one line of at most {MAX_NOTE_CHARS} characters")));
    }
    Ok(text.to_owned())
}
