//! What this build is: for people who compare nodes, packages and checksums. It must not look at the machine.

use sha2::{Digest as _, Sha256};

use nodewall_datapath::{COMPILER, OBJECT, TARGET};
use nodewall_text::hex;

/// The day of the commit that was built, or of the release.
pub const DATE: &str = env!("NODEWALL_DATE");

/// What `nodewall --version --verbose` prints: a line each, the name first.
pub fn facts() -> Vec<(&'static str, String)> {
    let linkage = if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" };
    vec![
        ("nodewall", env!("CARGO_PKG_VERSION").to_owned()),
        ("commit", env!("NODEWALL_COMMIT").to_owned()),
        ("kernel object", format!("sha256:{}", hex(Sha256::digest(OBJECT).as_slice()))),
        ("abi", node_ebpf_common::ABI_VERSION.to_string()),
        ("target", format!("{TARGET}, {linkage}")),
        ("compiler", COMPILER.to_owned()),
    ]
}

/// The same as text.
pub fn text() -> String {
    facts().iter().map(|(name, value)| format!("{:<15}{value}\n", format!("{name}:"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_has_a_line_and_the_objects_hash_is_whole() {
        let text = text();
        assert_eq!(text.lines().count(), facts().len());
        let object = text.lines().find(|line| line.starts_with("kernel object:")).unwrap();
        let (_, digits) = object.split_once("sha256:").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{object}");
    }
}
