//! Refused `[[rule]]` tables: ports, names, protocols, extra sources, two rules for one port, lock-out.

use super::{Case, assert_refusals, refused};

/// A rule around one `ports` line.
fn with_ports(ports: &str) -> String {
    format!("[[rule]]\nname = \"own\"\naccess = \"cluster\"\nports = {ports}\n")
}

#[test]
fn ports() {
    const CASES: &[Case] = &[
        ("[▶\"0\"]", "ports: \"0\" is not a port; expected 1 to 65535 or a range such as \"5701-5711\""),
        ("[▶\"70000\"]", "ports: \"70000\" is not a port"),
        ("[▶\"65536\"]", "is not a port"),
        ("[\"9042\", ▶\"5711-5701\"]", "\"5711-5701\" runs backwards; expected the lower port first: \"5701-5711\""),
        ("[▶\"80-\"]", "\"80-\" is not a port"),
        ("[▶\"-80\"]", "\"-80\" is not a port"),
        ("[▶\"0-80\"]", "\"0-80\" is not a port"),
        ("[▶\"80-70000\"]", "\"80-70000\" is not a port"),
        ("[▶\"1-2-3\"]", "is not a port"),
        ("[▶\"abc\"]", "\"abc\" is not a port"),
        ("[▶\"\"]", "\"\" is not a port"),
        ("[▶\"+80\"]", "\"+80\" is not a port"),
        ("[▶\"080\"]", "\"080\" is not a port"),
        ("[▶\" 80\"]", "\" 80\" is not a port"),
        ("[▶\"80 - 90\"]", "is not a port"),
        ("[▶\"٨٠\"]", "is not a port"),
        ("[▶5701.5]", "ports: 5701.5 is not a port"),
        ("[▶0]", "ports: 0 is not a port"),
        ("[▶70000]", "ports: 70000 is not a port"),
        ("[▶-1]", "ports: -1 is not a port"),
        ("[▶true]", "ports: true is not a port"),
        ("[▶[9042]]", "ports: invalid type: a list, expected a port such as 9042 or a range"),
        ("▶[]", "ports: an empty list names no port"),
        ("▶9042", "ports: invalid type: integer `9042`, expected a list in square brackets"),
        ("▶\"9042\"", "ports: invalid type: string \"9042\", expected a list in square brackets"),
    ];
    let cases: Vec<(String, &str)> = CASES.iter().map(|(ports, message)| (with_ports(ports), *message)).collect();
    for (text, message) in &cases {
        super::assert_refusal(text, message);
    }
}

#[test]
fn missing_keys() {
    const CASES: &[Case] = &[
        ("▶[[rule]]\nports = [1]\naccess = \"public\"\n", "name: missing"),
        ("▶[[rule]]\nname = \"own\"\naccess = \"public\"\n", "ports: missing"),
        ("▶[[rule]]\nname = \"own\"\nports = [1]\n", "access: missing; this [[rule]] must say"),
    ];
    assert_refusals(CASES);
}

#[test]
fn names() {
    const CASES: &[Case] = &[
        ("[[rule]]\nname = ▶\"\"\nports = [1]\naccess = \"public\"\n", "name: \"\" is not a rule name"),
        ("[[rule]]\nname = ▶\"Own\"\nports = [1]\naccess = \"public\"\n", "expected 1 to 31 of a-z, 0-9"),
        ("[[rule]]\nname = ▶\"my rule\"\nports = [1]\naccess = \"public\"\n", "is not a rule name"),
        ("[[rule]]\nname = ▶\"jmx.ops\"\nports = [1]\naccess = \"public\"\n", "is not a rule name"),
        ("[[rule]]\nname = ▶\"größe\"\nports = [1]\naccess = \"public\"\n", "is not a rule name"),
        (
            "[[rule]]\nname = ▶\"a-name-of-thirty-two-characters-\"\nports = [1]\naccess = \"public\"\n",
            "is not a rule name",
        ),
        ("[[rule]]\nname = ▶\"none\"\nports = [1]\naccess = \"public\"\n", "name: \"none\" is reserved"),
        ("[[rule]]\nname = ▶\"unmanaged\"\nports = [1]\naccess = \"public\"\n", "is reserved"),
        (
            "[[rule]]\nname = ▶5\nports = [1]\naccess = \"public\"\n",
            "name: invalid type: integer `5`, expected a string",
        ),
        (
            "[[rule]]\nname = \"own\"\nports = [1]\naccess = \"public\"\n\n[[rule]]\nname = ▶\"own\"\nports = [2]\naccess = \"public\"\n",
            "name: \"own\" is taken by the rule at nodewall.toml:2:8",
        ),
    ];
    assert_refusals(CASES);
}

#[test]
fn protocols_access_and_extra_sources() {
    const CASES: &[Case] = &[
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = ▶\"open\"\n",
            "access: \"open\" is not an access; expected \"public\", \"cluster\" or \"closed\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nmode = ▶\"enforce\"\n",
            "mode: \"enforce\" is not a mode of a class, which follows the file's without this key; expected \"audit\"",
        ),
        ("[profile]\naudit = [▶\"my class\"]\n", "audit: \"my class\" is not a rule name"),
        ("[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nprotocols = ▶[]\n", "protocols: an empty list"),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nprotocols = [▶\"sctp\"]\n",
            "protocols: \"sctp\" is not a protocol; expected \"tcp\" or \"udp\"",
        ),
        ("[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nprotocols = ▶\"tcp\"\n", "protocols: invalid type"),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [▶\"0.0.0.0/0\"]\n",
            "also_allow: \"0.0.0.0/0\" would let everyone in; use access = \"public\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [\"10.0.0.1\", ▶\"::/0\"]\n",
            "use access = \"public\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [▶\"192.0.2.9/24\"]\n",
            "expected \"192.0.2.0/24\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [▶\"::ffff:192.0.2.9\"]\n",
            "IPv4-mapped",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"closed\"\nalso_allow = [▶\"ops.example\"]\n",
            "is not an address or prefix",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nalso_allow = ▶[\"192.0.2.0/24\"]\n",
            "lets everyone in already",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [1]\naccess = \"public\"\nnote = ▶\"two\\nlines\"\n",
            "note: expected one line",
        ),
    ];
    assert_refusals(CASES);
}

#[test]
fn two_rules_for_one_port() {
    const CASES: &[Case] = &[
        (
            "[[rule]]\nname = \"a\"\nports = [\"9042\"]\naccess = \"public\"\n[[rule]]\nname = \"b\"\nports = [▶\"9042\"]\naccess = \"public\"\n",
            "ports: 9042 of rule \"b\" overlaps 9042 of rule \"a\" at nodewall.toml:3:10: both name port 9042 (tcp)",
        ),
        // The later place is marked even where its range begins lower.
        (
            "[[rule]]\nname = \"a\"\nports = [1, \"1100-1200\"]\naccess = \"public\"\n[[rule]]\nname = \"b\"\nports = [2, ▶\"1050-1100\"]\naccess = \"closed\"\n",
            "1050-1100 of rule \"b\" overlaps 1100-1200 of rule \"a\" at nodewall.toml:3:13: both name port 1100 (tcp)",
        ),
        // A rule's own overlapping entries do not hide the other rule's.
        (
            "[[rule]]\nname = \"a\"\nports = [\"100-300\", \"100-400\"]\naccess = \"public\"\n[[rule]]\nname = \"b\"\nports = [▶\"350\"]\naccess = \"closed\"\n",
            "350 of rule \"b\" overlaps 100-400 of rule \"a\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [\"100-400\"]\naccess = \"public\"\n[[rule]]\nname = \"b\"\nports = [\"500-900\", ▶\"400\", \"510\"]\naccess = \"closed\"\n",
            "400 of rule \"b\" overlaps 100-400 of rule \"a\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nports = [7]\nprotocols = [\"udp\"]\naccess = \"public\"\n[[rule]]\nname = \"b\"\nports = [▶7]\naccess = \"closed\"\n",
            "both name port 7 (udp)",
        ),
    ];
    assert_refusals(CASES);
}

#[test]
fn three_rules_in_one_place_are_each_told() {
    let rule =
        |name: &str, ports: &str| format!("[[rule]]\nname = \"{name}\"\nports = [\"{ports}\"]\naccess = \"public\"\n");
    let errors = refused(&[rule("a", "100-900"), rule("b", "200-300"), rule("c", "250")].concat());
    let lines: Vec<_> = errors.errors().iter().map(|error| error.line.unwrap()).collect();
    assert_eq!(lines, [7, 11], "{errors}");
    // A rule's wide entry does not hide that its narrow one meets the other rule, too.
    let errors = refused(&[rule("a", "100-200"), rule("b", "150-400\", \"180")].concat());
    let columns: Vec<_> = errors.errors().iter().map(|error| error.column.unwrap()).collect();
    assert_eq!(columns, [10, 21], "{errors}");
}

#[test]
fn a_rules_own_entries_may_overlap() {
    let text = with_ports("[\"100-200\", \"150-300\", 160, \"160\", \"250-260\"]");
    let config = super::super::Config::parse(&text, "t").unwrap();
    assert_eq!(config.rules[0].ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["100-300"]);
}

#[test]
fn lock_out() {
    const CASES: &[Case] = &[
        (
            "[[rule]]\nname = \"a\"\nports = [▶22]\naccess = \"cluster\"\n",
            "ports: 22 with access = \"cluster\" closes port 22 (SSH) and may cut you off",
        ),
        ("[[rule]]\nname = \"a\"\nports = [▶\"20-25\"]\naccess = \"closed\"\n", "closes port 22 (SSH)"),
        ("[[rule]]\nname = \"a\"\nports = [80, ▶53]\naccess = \"cluster\"\n", "closes port 53 (DNS)"),
        ("[[rule]]\nname = \"a\"\nports = [▶67]\naccess = \"cluster\"\n", "closes port 67 (DHCP)"),
        ("[[rule]]\nname = \"a\"\nports = [▶\"68\"]\naccess = \"cluster\"\n", "closes port 68 (DHCP)"),
        (
            "lockout_ports = [\"2200-2300\"]\n[[rule]]\nname = \"a\"\nports = [▶\"2222-2400\"]\naccess = \"cluster\"\n",
            "closes port 2222 (of lockout_ports)",
        ),
        ("allow_lockout = false\n[[rule]]\nname = \"a\"\nports = [▶22]\naccess = \"closed\"\n", "closes port 22"),
    ];
    assert_refusals(CASES);
    let help = refused("[[rule]]\nname = \"a\"\nports = [22]\naccess = \"closed\"\n");
    assert!(help.to_string().contains("set allow_lockout = true"), "{help}");
}
