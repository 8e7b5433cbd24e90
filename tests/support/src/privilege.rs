//! Whether this process may make network namespaces, and how a test says that it was skipped because it may not.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

/// Bits of `CapEff` in /proc/self/status (linux/capability.h).
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Whether this process has `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, which namespaces, links and XDP need.
pub fn privileged() -> bool {
    let needed = CAP_NET_ADMIN | CAP_SYS_ADMIN;
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| effective_capabilities(&status))
        .is_some_and(|effective| effective & needed == needed)
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether the test of this name has to be skipped for lack of privilege. Says so on standard output, in a line that the
/// test runner counts (it begins with `SKIPPED`).
///
/// # Panics
/// When the privilege is missing and `NODEWALL_REQUIRE_ROOT=1` is set, as in CI: there, a skipped test would be a hole.
pub fn skip_unless_privileged(test_name: &str) -> bool {
    if privileged() {
        return false;
    }
    assert!(
        std::env::var_os("NODEWALL_REQUIRE_ROOT").is_none_or(|value| value != "1"),
        "{test_name} needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and NODEWALL_REQUIRE_ROOT=1 forbids skipping it: run it as root"
    );
    println!("SKIPPED {test_name}: needs CAP_NET_ADMIN and CAP_SYS_ADMIN; run it as root");
    if let Some(list) = std::env::var_os("NODEWALL_SKIP_LIST") {
        note(test_name, Path::new(&list));
    }
    true
}

/// The test runner shows a passing test's output to nobody and knows no skipped tests, so `cargo xtask test` counts them from this list.
fn note(test_name: &str, list: &Path) {
    let line = format!("{test_name}\n");
    let written =
        OpenOptions::new().append(true).create(true).open(list).and_then(|mut f| f.write_all(line.as_bytes()));
    if let Err(error) = written {
        println!("{}: {error}", list.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_hexadecimal() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t0000000000201000\n";
        assert_eq!(effective_capabilities(status), Some(CAP_NET_ADMIN | CAP_SYS_ADMIN));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
