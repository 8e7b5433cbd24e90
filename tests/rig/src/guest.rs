//! Where a test runs: in a guest of `cargo xtask vm` or not, and on which kernel. Owns the lines that the host reads.

use std::fs;

/// Whether the test of this name has to be skipped because this is no guest.
pub fn skip_outside(test_name: &str) -> bool {
    if !inside() {
        println!("SKIPPED {test_name}: runs in the guests of `cargo xtask vm`");
    }
    !inside()
}

/// Whether this is a guest, which has every module that tests need.
pub fn inside() -> bool {
    std::env::var("NODEWALL_VM").as_deref() == Ok("1")
}

/// Tells the host something measured (tests run with `--nocapture` there).
pub fn fact(key: &str, value: &str) {
    say(&format!("fact {key} {value}"));
}

/// Says that the kernel lacks a feature, so that this test does not need it. Fails where the kernel has to have it.
pub fn lacks(test_name: &str, feature: &str, since: (u32, u32)) {
    let kernel = version();
    assert!(kernel < since, "Linux {kernel:?} has no {feature}, which came with {since:?}");
    say(&format!("skip {test_name} {feature} (Linux {}.{})", since.0, since.1));
}

fn say(what: &str) {
    // Elsewhere it is for people.
    println!("{}{what}", if inside() { "NODEWALL-VM " } else { "" });
}

/// Major and minor number of the running kernel.
pub fn version() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.trim().split(['.', '-', '+']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
