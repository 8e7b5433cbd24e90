//! How much a configuration may hold.

use std::fmt::Write;

use super::super::{Config, MAX_ADDRESSES, MAX_FILE_BYTES, MAX_PREFIXES, MAX_RULE_GROUPS};
use super::{assert_refusal, refused};

fn addresses(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        write!(text, "\"10.1.{}.{}\",", i / 256, i % 256).unwrap();
        text
    })
}

fn prefixes(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        write!(text, "\"10.{}.{}.0/24\",", 2 + i / 256, i % 256).unwrap();
        text
    })
}

#[test]
fn addresses_and_prefixes() {
    let full = format!("[peers]\nstatic = [{}{}]\n", addresses(MAX_ADDRESSES), prefixes(MAX_PREFIXES));
    let config = Config::parse(&full, "t").unwrap();
    assert_eq!(config.peers.named.len(), MAX_ADDRESSES + MAX_PREFIXES);

    // Duplicates are counted once.
    let twice = format!("[peers]\nstatic = [{}{}]\n", addresses(MAX_ADDRESSES), addresses(MAX_ADDRESSES));
    assert!(Config::parse(&twice, "t").is_ok());

    let text = format!("[peers]\nstatic = [{}\n▶\"10.200.0.1\"]\n", addresses(MAX_ADDRESSES));
    assert_refusal(&text, "peers.static: \"10.200.0.1\" is one too many: at most 16384 addresses");
    let text = format!("[peers]\nstatic = [{}\n▶\"10.200.0.0/16\"]\n", prefixes(MAX_PREFIXES));
    assert_refusal(&text, "peers.static: \"10.200.0.0/16\" is one too many: at most 1024 prefixes");
    // also_allow counts, too.
    let text = format!(
        "[peers]\nstatic = [{}]\n[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [\n▶\"10.200.0.0/16\"]\n",
        prefixes(MAX_PREFIXES)
    );
    assert_refusal(&text, "also_allow: \"10.200.0.0/16\" is one too many: at most 1024 prefixes");
}

/// Rules on ports of their own, each with `also_allow`.
fn groups(count: usize, mark: usize) -> String {
    (0..count).fold(String::new(), |mut text, i| {
        let mark = if i == mark { "▶" } else { "" };
        writeln!(
            text,
            "[[rule]]\nname = \"r{i}\"\nports = [{}]\naccess = \"cluster\"\nalso_allow = {mark}[\"192.0.2.1\"]",
            1000 + i
        )
        .unwrap();
        text
    })
}

#[test]
fn groups_of_sources() {
    assert_eq!(Config::parse(&groups(MAX_RULE_GROUPS, usize::MAX), "t").unwrap().rules.len(), 29);
    assert_refusal(
        &groups(MAX_RULE_GROUPS + 1, MAX_RULE_GROUPS),
        "rule number 30 with also_allow; at most 29 rules may have it",
    );
    // Rules without sources of their own are not groups.
    let plain = groups(60, usize::MAX).replace("also_allow = [\"192.0.2.1\"]", "also_allow = []");
    assert_eq!(Config::parse(&plain, "t").unwrap().rules.len(), 60);
}

#[test]
fn size_of_the_text() {
    let limit = usize::try_from(MAX_FILE_BYTES).unwrap();
    let comment = format!("#{}", "x".repeat(limit - 1));
    assert!(Config::parse(&comment, "t").is_ok());
    let errors = refused(&format!("{comment}x"));
    assert!(errors.to_string().starts_with("nodewall.toml: is larger than 1048576 bytes"), "{errors}");
    assert_eq!(errors.errors()[0].line, None);
}

#[test]
fn hostile_text_ends_in_an_error() {
    for text in
        ["[".repeat(1_000_000), "a = ".to_owned() + &"[".repeat(1_000_000), "a = ".to_owned() + &"{a=".repeat(300_000)]
    {
        assert!(refused(&text).errors()[0].line.is_some());
    }
    // Many overlapping entries of one rule are one claim, and cost no more than sorting them.
    let wide = format!("[[rule]]\nname = \"a\"\naccess = \"public\"\nports = [{}]\n", "\"1-65535\",".repeat(100_000));
    assert_eq!(Config::parse(&wide, "t").unwrap().rules[0].ports.len(), 1);
}
