//! Mistakes in the values of a file: addresses, ports, rules.

use super::{MARK, MistakeKind, Section, address, among, between, kind, one, rule};

pub(super) const KINDS: &[MistakeKind] = &[
    // Addresses.
    kind(
        "an address with a part missing",
        Section::Peers,
        "static",
        |r| {
            let a = format!("10.0.{}", r.below(256));
            among(r, "static", &a)
        },
        "is not an address or prefix",
    ),
    kind(
        "an address with a part too large",
        Section::Peers,
        "static",
        |r| {
            let a = format!("10.0.0.{}", between(r, 256, 999));
            among(r, "static", &a)
        },
        "is not an address or prefix",
    ),
    kind(
        "an address with a leading zero",
        Section::Peers,
        "static",
        |r| {
            let a = format!("010.0.0.{}", between(r, 1, 9));
            among(r, "static", &a)
        },
        "is not an address or prefix",
    ),
    kind(
        "a name in an address's place",
        Section::Peers,
        "static",
        |r| {
            let a = one(r, &["node1.example", "db-2", "localhost"]);
            among(r, "static", &a)
        },
        "names are not looked up",
    ),
    kind(
        "an address with a port",
        Section::Peers,
        "static",
        |r| {
            let a = format!("{}:9042", address(r));
            among(r, "static", &a)
        },
        "leave out the port",
    ),
    kind(
        "a prefix with bits of a host",
        Section::Peers,
        "static",
        |r| {
            let a = format!("192.168.7.{}/24", between(r, 1, 254));
            among(r, "static", &a)
        },
        "expected \"192.168.7.0/24\"",
    ),
    kind(
        "a prefix that is too long",
        Section::Peers,
        "static",
        |r| {
            let a = format!("{}/{}", address(r), between(r, 33, 99));
            among(r, "static", &a)
        },
        "a prefix length is 0 to 32",
    ),
    kind(
        "everyone as a peer",
        Section::Peers,
        "static",
        |r| {
            let a = one(r, &["0.0.0.0/0", "::/0"]);
            among(r, "static", &a)
        },
        "would make every address a peer",
    ),
    kind(
        "the loopback address",
        Section::Peers,
        "static",
        |r| {
            let a = format!("127.0.0.{}", between(r, 1, 254));
            among(r, "static", &a)
        },
        "loopback",
    ),
    kind(
        "a multicast address",
        Section::Peers,
        "static",
        |r| {
            let a = one(r, &["ff02::1", "224.0.0.5", "239.1.2.3"]);
            among(r, "static", &a)
        },
        "multicast",
    ),
    kind(
        "an IPv4 address in IPv6's clothes",
        Section::Peers,
        "static",
        |r| {
            let a = format!("::ffff:{}", address(r));
            among(r, "static", &a)
        },
        "IPv4-mapped",
    ),
    kind(
        "a bound that bounds nothing",
        Section::Peers,
        "within",
        |r| {
            let a = one(r, &["0.0.0.0/0", "::/0"]);
            among(r, "within", &a)
        },
        "bounds nothing",
    ),
    // Ports.
    kind("port 0", Section::Rule, "", |r| rule(r, &[&format!("ports = [{MARK}\"0\"]")]), "0"),
    kind(
        "a port too large, in quotes",
        Section::Rule,
        "",
        |r| {
            let p = between(r, 65_536, 99_999);
            rule(r, &[&format!("ports = [{MARK}\"{p}\"]")])
        },
        "65535",
    ),
    kind(
        "a port too large",
        Section::Rule,
        "",
        |r| {
            let p = between(r, 65_536, 9_999_999);
            rule(r, &[&format!("ports = [{MARK}{p}]")])
        },
        "65535",
    ),
    kind(
        "a range the wrong way round",
        Section::Rule,
        "",
        |r| {
            let (a, b) = (between(r, 2, 99), between(r, 100, 999));
            rule(r, &[&format!("ports = [{MARK}\"{b}-{a}\"]")])
        },
        "runs backwards",
    ),
    kind(
        "a service's name in a port's place",
        Section::Rule,
        "",
        |r| {
            let p = one(r, &["https", "ssh", "all"]);
            rule(r, &[&format!("ports = [{MARK}\"{p}\"]")])
        },
        "expected",
    ),
    kind(
        "a port below nothing",
        Section::Rule,
        "",
        |r| {
            let p = between(r, 1, 65_535);
            rule(r, &[&format!("ports = [{MARK}-{p}]")])
        },
        "expected",
    ),
    kind(
        "half a port",
        Section::Rule,
        "",
        |r| {
            let p = between(r, 1, 65_535);
            rule(r, &[&format!("ports = [{MARK}{p}.5]")])
        },
        "expected",
    ),
    kind("no port at all", Section::Rule, "", |r| rule(r, &[&format!("ports = {MARK}[]")]), "expected"),
    // Rules.
    kind(
        "an access that there is not",
        Section::Rule,
        "",
        |r| {
            let w = one(r, &["open", "Public", "peers"]);
            rule(r, &[&format!("access = {MARK}\"{w}\"")])
        },
        "expected \"public\", \"cluster\" or \"closed\"",
    ),
    kind(
        "a protocol that there is not",
        Section::Rule,
        "",
        |r| {
            let w = one(r, &["sctp", "TCP", "icmp"]);
            rule(r, &[&format!("protocols = [{MARK}\"{w}\"]")])
        },
        "expected \"tcp\" or \"udp\"",
    ),
    kind(
        "everyone let in one by one",
        Section::Rule,
        "",
        |r| {
            let a = among(r, "also_allow", "0.0.0.0/0");
            rule(r, &[&a])
        },
        "use access = \"public\"",
    ),
    kind(
        "some let in where everyone is",
        Section::Rule,
        "",
        |r| rule(r, &["access = \"public\"", &format!("also_allow = {MARK}[\"192.0.2.0/24\"]")]),
        "lets everyone in already",
    ),
    kind(
        "two rules of one name",
        Section::Rule,
        "",
        |r| {
            let n = format!("twin-{}", r.below(99));
            [rule(r, &[&format!("name = \"{n}\"")]), rule(r, &["ports = [31000]", &format!("name = {MARK}\"{n}\"")])]
                .join("\n")
        },
        "twin-",
    ),
    kind(
        "two rules for one port",
        Section::Rule,
        "",
        |r| {
            let p = between(r, 30_001, 30_099);
            [rule(r, &["ports = [\"30000-30100\"]"]), rule(r, &[&format!("ports = [{MARK}\"{p}\"]")])].join("\n")
        },
        "overlaps",
    ),
    kind(
        "the way in closed",
        Section::Rule,
        "",
        |r| {
            let a = one(r, &["cluster", "closed"]);
            rule(r, &[&format!("ports = [{MARK}22]"), &format!("access = \"{a}\"")])
        },
        "closes port 22 (SSH)",
    ),
];
