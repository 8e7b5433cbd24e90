//! Configurations that the repository already has: those that the tests refuse, the manual's examples, the profiles. And the words in them; and rules of packet
//! filters.

use std::collections::BTreeSet;
use std::error::Error;

use crate::Seeds;

/// The tables of malformed configurations. Their texts carry a mark where the error stands.
const MALFORMED: [&str; 2] = [
    include_str!("../../../crates/policy/src/config/tests/refusals_rules.rs"),
    include_str!("../../../crates/policy/src/config/tests/refusals_values.rs"),
];
const MARK: char = '▶';
const MANUAL: &str = include_str!("../../../docs/CONFIGURATION.md");
const PROFILES: [&str; 2] = [
    include_str!("../../../crates/policy/src/profiles/dynatrace-managed.toml"),
    include_str!("../../../crates/policy/src/profiles/dynatrace-managed-current.toml"),
];
/// What the tools printed of real rules: each by itself, and both.
const LISTINGS: [(&str, &str); 3] = [
    (
        include_str!("../../../crates/host/src/net/nat/tests/nft.json"),
        include_str!("../../../crates/host/src/net/nat/tests/iptables-save.txt"),
    ),
    ("", include_str!("../../../tests/remote/peers/vendor/firewalld.save")),
    ("", include_str!("../../../tests/remote/peers/vendor/firewalld.save6")),
];
/// Fewer mean that a table has moved: better to fail than to start from nothing.
const FEWEST_MALFORMED: usize = 40;

/// Every configuration with a name.
pub(crate) fn configurations() -> Result<Seeds, Box<dyn Error>> {
    let marked = MALFORMED.into_iter().flat_map(literals).filter(|text| text.contains(MARK));
    let malformed: Vec<String> = marked.map(|text| text.replace(MARK, "")).collect();
    if malformed.len() < FEWEST_MALFORMED {
        return Err(format!(
            "{} marked texts in crates/policy/src/config/tests/refusals_*.rs: are the tables elsewhere now?",
            malformed.len()
        )
        .into());
    }
    let examples = MANUAL.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned);
    // The profile's tables as an operator's own rules, but for the line that no operator's file has.
    let profiles = PROFILES.iter().map(|text| {
        let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with("about")).collect();
        format!("allow_lockout = true\nprofile.name = \"none\"\n{}\n", rules.join("\n"))
    });
    let named = |name: &'static str| move |text: String| (name.to_owned(), text.into_bytes());
    let all = malformed.into_iter().map(named("malformed"));
    Ok(all.chain(examples.map(named("manual"))).chain(profiles.map(named("profile"))).collect())
}

/// Listings of rules, as the target wants them: whole, and each rule of iptables alone.
pub(crate) fn listings() -> Seeds {
    let alone = LISTINGS.iter().flat_map(|(_, save)| save.lines()).filter(|line| line.starts_with("-A"));
    let alone = alone.map(|rule| ("rule".to_owned(), format!("\u{c}*filter\n{rule}\n").into_bytes()));
    let whole = LISTINGS.iter().map(|(nft, save)| ("listing".to_owned(), format!("{nft}\u{c}{save}").into_bytes()));
    whole.chain(alone).collect()
}

/// Every quoted word of the configurations that may be meant as an address.
pub(crate) fn addresses(configurations: &Seeds) -> Seeds {
    let texts = configurations.iter().filter_map(|(_, bytes)| str::from_utf8(bytes).ok());
    let words: BTreeSet<&str> = texts
        .flat_map(|text| text.split('"').skip(1).step_by(2))
        .filter(|word| !word.is_empty() && word.len() < 64 && word.contains(['.', ':', '/']))
        .collect();
    let more = [
        "fe80::1%eth0",
        "[2001:db8::1]:443",
        "10.0.0.0/255.0.0.0",
        "::ffff:10.0.0.0/104",
        "2001:db8::/32",
        "10.0.0.0/8",
    ];
    words.into_iter().chain(more).map(|word| (word.to_owned(), word.as_bytes().to_vec())).collect()
}

/// The plain string literals of a Rust source, unescaped as far as the table needs it.
fn literals(source: &str) -> impl Iterator<Item = String> {
    let mut characters = source.chars();
    std::iter::from_fn(move || {
        characters.find(|c| *c == '"')?;
        let mut text = String::new();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => text.push(match characters.next()? {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                }),
                plain => text.push(plain),
            }
        }
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_malformed_table_the_manual_and_their_addresses_are_found() {
        let texts = configurations().expect("the table is there");
        assert!(texts.iter().any(|(_, text)| text == b"mode = enforce\n"), "unmarked and unescaped");
        assert!(texts.iter().any(|(name, _)| name == "manual"));
        let addresses = addresses(&texts);
        assert!(addresses.iter().any(|(word, _)| word == "10.0.0.0/33"));
    }
}
