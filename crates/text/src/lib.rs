//! Text: strangers' text made safe for a terminal, the one way out to it, bytes in hexadecimal, this host's name. Knows nothing of the rest of the project.

mod escape;
pub mod out;

use std::{fmt::Write as _, fs};

pub use escape::{fit, is_harmless, json as safe_json, one_line, plain, shown};

/// How many of a list are named in one line.
const NAMED: usize = 20;

/// Bytes in hexadecimal, two lower-case digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The first of many, in one line, and how many more there are.
pub fn first_of<T: ToString>(many: impl IntoIterator<Item = T>) -> String {
    let mut many = many.into_iter();
    let first: Vec<String> = many.by_ref().take(NAMED).map(|one| one.to_string()).collect();
    let more = many.count();
    first.join(" ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// This host's name, as the kernel has it; empty if it can not be read.
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim_end().to_owned()
}
