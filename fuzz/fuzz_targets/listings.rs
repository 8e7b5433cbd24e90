//! Any text as what `nft -j list ruleset` and `iptables-save` print: rules name peers (the source `vendor_firewall`), and tell whose addresses are translated.
//! The two listings stand behind one another, a form feed between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nodewall_host::net::{Listing, NamedSources, named_sources, other_filters, source_nat_in, tcp_redirects};
use nodewall_policy::config::{PortRange, PortSet};

fuzz_target!(|text: &str| {
    let (nft, save) = text.split_once('\u{c}').unwrap_or((text, text));
    let listings = both(nft, save);
    let ports: PortSet = PortRange::from_integer(9042).into_iter().collect();
    let all_of = |listings: &[Listing]| {
        let named = named_sources(listings, &ports);
        (named, source_nat_in(listings), tcp_redirects(listings), other_filters(listings))
    };
    let (named, ..) = all_of(&listings);
    for rule in named.iter().flat_map(|found| &found.unread) {
        assert!(rule.len() <= text.len() + 200, "a rule that is longer than what it stands in: {rule}");
    }
    // A comment is no rule.
    assert_eq!(named_sources(&both(nft, &format!("{save}\n# a comment\n")), &ports), named, "a comment says something");
    // What accepts nobody lets nobody in.
    let refusing = [nft, save].map(|text| text.replace("ACCEPT", "DROP").replace("accept", "drop"));
    let [nft, save] = &refusing;
    let refused = named_sources(&both(nft, save), &ports);
    assert!(
        refused.is_err() || refused.is_ok_and(|NamedSources { sources, .. }| sources.is_empty()),
        "let in by a refusal"
    );
});

fn both(nft: &str, save: &str) -> [Listing; 2] {
    [("nft", nft), ("iptables-save", save)].map(|(tool, text)| Listing { tool, answer: Ok(text.to_owned()) })
}
