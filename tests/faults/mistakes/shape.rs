//! Mistakes in the shape of a file: syntax, types, unknown keys and words, interfaces.

use super::{MARK, MistakeKind, Section, between, kind, one, rule};

const WORDS: [&str; 6] = ["yes", "Enforced", "cluster-only", "öffentlich", "none at all", ""];

pub(super) const KINDS: &[MistakeKind] = &[
    // Syntax and shape.
    kind(
        "a word without quotes",
        Section::Top,
        "mode",
        |r| format!("mode = {MARK}{}", one(r, &["enforce", "audit", "on"])),
        "expected",
    ),
    kind(
        "a key twice",
        Section::Top,
        "mode",
        |r| format!("mode = \"audit\"\n{MARK}mode = \"{}\"", one(r, &["audit", "enforce"])),
        "duplicate key",
    ),
    kind(
        "a heading without its end",
        Section::End,
        "",
        |r| format!("[{}{MARK}\nstatic = []", one(r, &["peerz", "more", "x"])),
        "expected `]`",
    ),
    kind(
        "a word where yes or no belongs",
        Section::Top,
        "single_node",
        |r| format!("single_node = {MARK}\"{}\"", one(r, &WORDS)),
        "expected true or false",
    ),
    kind(
        "a number where yes or no belongs",
        Section::Top,
        "single_node",
        |r| format!("single_node = {MARK}{}", r.below(9)),
        "expected true or false",
    ),
    kind(
        "a word where a list belongs",
        Section::Top,
        "interfaces",
        |r| format!("interfaces = {MARK}\"{}\"", one(r, &["eth0", "bond0"])),
        "expected a list",
    ),
    kind(
        "a table where a list of tables belongs",
        Section::End,
        "rule",
        |r| format!("{MARK}[rule]\nname = \"r{}\"", r.below(9)),
        "expected a list",
    ),
    // Unknown keys and words.
    kind(
        "a key with a letter too many",
        Section::Top,
        "",
        |r| format!("{MARK}{} = \"x\"", one(r, &["modee", "tunnelss", "attach_modes"])),
        "did you mean",
    ),
    kind(
        "a peers key with a letter too many",
        Section::Peers,
        "",
        |r| format!("{MARK}{} = []", one(r, &["statics", "withins"])),
        "did you mean",
    ),
    kind(
        "a rule key with a letter too few",
        Section::Rule,
        "",
        |r| {
            let k = one(r, &["acess", "prts", "protocls"]);
            rule(r, &[&format!("{MARK}{k} = 1")])
        },
        "did you mean",
    ),
    kind(
        "a key that there is not",
        Section::Top,
        "",
        |r| format!("{MARK}{} = {}", one(r, &["colour", "zone", "retries"]), r.below(99)),
        "known here: mode",
    ),
    kind(
        "a mode that there is not",
        Section::Top,
        "mode",
        |r| format!("mode = {MARK}\"{}\"", one(r, &WORDS)),
        "expected \"enforce\" or \"audit\"",
    ),
    kind(
        "a way to attach that there is not",
        Section::Top,
        "attach_mode",
        |r| format!("attach_mode = {MARK}\"{}\"", one(r, &["skb", "drv", "xdp"])),
        "expected \"native\", \"tc\" or \"generic\"",
    ),
    kind(
        "a choice of tunnels that there is not",
        Section::Top,
        "tunnels",
        |r| format!("tunnels = {MARK}\"{}\"", one(r, &["none", "gre", "All"])),
        "expected \"peers\" or \"all\"",
    ),
    kind(
        "a profile that there is not",
        Section::Profile,
        "name",
        |r| format!("name = {MARK}\"{}\"", one(r, &["dynatrace", "Managed", "cassandra"])),
        "expected \"dynatrace-managed\"",
    ),
    kind(
        "an access that this port can not have",
        Section::Profile,
        "agent_port_8443",
        |r| format!("agent_port_8443 = {MARK}\"{}\"", one(r, &["closed", "peers", "open"])),
        "expected \"cluster\" or \"public\"",
    ),
    kind(
        "yes or no where an access belongs",
        Section::Profile,
        "web_port_8022",
        |r| format!("web_port_8022 = {MARK}{}", one(r, &["true", "false"])),
        "expected \"cluster\" or \"public\"",
    ),
    kind(
        "a version without quotes",
        Section::Profile,
        "cluster_version",
        |r| format!("cluster_version = {MARK}1.{}", between(r, 100, 400)),
        "expected a version in quotes",
    ),
    kind(
        "a version that is none",
        Section::Profile,
        "cluster_version",
        |r| format!("cluster_version = {MARK}\"{}\"", one(r, &["latest", "one.two", "new"])),
        "is not a cluster version",
    ),
    // Interfaces.
    kind(
        "no interface at all",
        Section::Top,
        "interfaces",
        |r| format!("interfaces = {MARK}[{}]", one(r, &["", " ", "  "])),
        "an empty list protects nothing",
    ),
    kind(
        "the loopback interface",
        Section::Top,
        "interfaces",
        |r| format!("interfaces = [\"eth{}\",{}{MARK}\"lo\"]", r.below(9), one(r, &[" ", "\n  "])),
        "is never attached",
    ),
    kind(
        "a name too long for an interface",
        Section::Top,
        "interfaces",
        |r| format!("interfaces = [{MARK}\"a-name-too-long{}\"]", r.below(99)),
        "expected 1 to 15 bytes",
    ),
];
