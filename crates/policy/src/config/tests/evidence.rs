//! `[evidence]`: what it means, and what is refused.

use std::time::Duration;

use super::super::{Config, Evidence, EvidenceOutput, Syslog, SyslogFraming, SyslogTransport};
use super::{Case, assert_refusals, refused};

fn evidence(text: &str) -> Evidence {
    Config::parse(text, "nodewall.toml").unwrap_or_else(|errors| panic!("{errors}")).evidence
}

#[test]
fn without_a_word_evidence_is_kept_and_sent_nowhere() {
    let expected = Evidence {
        enabled: true,
        capture_bytes: 256,
        captures_per_second: 256,
        max_bytes: 1 << 30,
        max_age: Duration::from_secs(90 * 86_400),
        outputs: Vec::new(),
    };
    assert_eq!(Config::embedded().evidence, expected);
    assert_eq!(evidence(""), expected);
    assert_eq!(evidence("[evidence]\n"), expected);
}

#[test]
fn every_key_is_taken() {
    let text = "[evidence]\nenabled = false\ncapture_bytes = 0\ncaptures_per_second = 9\nmax_size = \"16MiB\"\nmax_age = \"12h\"\n\
        [[evidence.output]]\nkind = \"file\"\npath = \"/var/log/nodewall/e.jsonl\"\nmax_size = \"64 KiB\"\nkeep = 1\n\
        [[evidence.output]]\nkind = \"stdout\"\n[[evidence.output]]\nkind = \"journald\"\n\
        [[evidence.output]]\nkind = \"syslog\"\naddress = \"Logs.Example.:6514\"\ntransport = \"tls\"\nframing = \"newline\"\nca = \"/etc/ca.pem\"\nchain_head = false\n\
        [[evidence.output]]\nkind = \"syslog\"\naddress = \"[2001:DB8::1]:514\"\n";
    let file = |path: &str, max_bytes, keep| EvidenceOutput::File { path: path.into(), max_bytes, keep };
    let expected = Evidence {
        enabled: false,
        capture_bytes: 0,
        captures_per_second: 9,
        max_bytes: 16 << 20,
        max_age: Duration::from_secs(12 * 3600),
        outputs: vec![
            file("/var/log/nodewall/e.jsonl", 64 << 10, 1),
            EvidenceOutput::Stdout,
            EvidenceOutput::Journald,
            EvidenceOutput::Syslog(Syslog {
                host: "logs.example".into(),
                port: 6514,
                transport: SyslogTransport::Tls,
                framing: SyslogFraming::Newline,
                ca: Some("/etc/ca.pem".into()),
                chain_head: false,
            }),
            EvidenceOutput::Syslog(Syslog {
                host: "2001:db8::1".into(),
                port: 514,
                transport: SyslogTransport::Tcp,
                framing: SyslogFraming::OctetCounting,
                ca: None,
                chain_head: true,
            }),
        ],
    };
    assert_eq!(evidence(text), expected);
    let short = evidence("[[evidence.output]]\nkind = \"file\"\npath = \"/x\"\n");
    assert_eq!(short.outputs, [file("/x", 64 << 20, 8)]);
}

#[test]
fn what_makes_no_sense_is_refused_at_its_place() {
    const CASES: &[Case<'_>] = &[
        ("[evidence]\n▶colour = 1\n", "unknown key \"colour\""),
        ("[evidence]\nenabled = ▶\"yes\"\n", "expected true or false"),
        ("[evidence]\ncapture_bytes = ▶1501\n", "expected 0 to 1500"),
        ("[evidence]\ncapture_bytes = ▶-1\n", "expected 0 to 1500"),
        ("[evidence]\ncaptures_per_second = ▶100001\n", "expected 0 to 100000"),
        ("[evidence]\nmax_size = ▶\"1GB\"\n", "between 16MiB and 1TiB"),
        ("[evidence]\nmax_size = ▶\"1MiB\"\n", "out of bounds"),
        ("[evidence]\nmax_size = ▶\"MiB\"\n", "is not a size"),
        ("[evidence]\nmax_size = ▶\"99999999999999TiB\"\n", "is not a size"),
        ("[evidence]\nmax_age = ▶\"1m\"\n", "out of bounds"),
        ("[evidence]\nmax_age = ▶\"long\"\n", "is not a time"),
        ("▶[[evidence.output]]\n", "missing key \"kind\""),
        ("[[evidence.output]]\nkind = ▶\"kafka\"\n", "\"file\", \"stdout\", \"journald\" or \"syslog\""),
        ("▶[[evidence.output]]\nkind = \"file\"\n", "missing key \"path\""),
        ("[[evidence.output]]\nkind = \"file\"\npath = ▶\"e.jsonl\"\n", "not an absolute path"),
        ("[[evidence.output]]\nkind = \"file\"\npath = \"/e\"\nkeep = ▶0\n", "expected 1 to 1000"),
        ("[[evidence.output]]\nkind = \"file\"\npath = \"/e\"\nmax_size = ▶\"1KiB\"\n", "between 64KiB"),
        ("[[evidence.output]]\nkind = \"stdout\"\npath = ▶\"/e\"\n", "kind \"stdout\" has none"),
        ("[[evidence.output]]\nkind = \"file\"\npath = \"/e\"\nchain_head = ▶true\n", "kind \"file\" has none"),
        ("▶[[evidence.output]]\nkind = \"syslog\"\n", "missing key \"address\""),
        ("[[evidence.output]]\nkind = \"syslog\"\naddress = ▶\"logs.example\"\n", "no receiver"),
        ("[[evidence.output]]\nkind = \"syslog\"\naddress = ▶\"logs.example:0\"\n", "no receiver"),
        ("[[evidence.output]]\nkind = \"syslog\"\naddress = ▶\"a b:514\"\n", "no receiver"),
        ("[[evidence.output]]\nkind = \"syslog\"\naddress = ▶\"2001:db8::1:514\"\n", "no receiver"),
        (
            "[[evidence.output]]\nkind = \"syslog\"\naddress = \"h:1\"\ntransport = ▶\"relp\"\n",
            "\"udp\", \"tcp\" or \"tls\"",
        ),
        (
            "[[evidence.output]]\nkind = \"syslog\"\naddress = \"h:1\"\nframing = ▶\"lf\"\n",
            "\"octet-counting\" or \"newline\"",
        ),
        (
            "[[evidence.output]]\nkind = \"syslog\"\naddress = \"h:1\"\ntransport = \"udp\"\nframing = ▶\"newline\"\n",
            "a datagram holds one message",
        ),
        ("[[evidence.output]]\nkind = \"stdout\"\nframing = ▶\"newline\"\n", "kind \"stdout\" has none"),
        ("[[evidence.output]]\nkind = \"syslog\"\naddress = \"h:1\"\nca = ▶\"/ca\"\n", "nobody shows a certificate"),
        ("[[evidence.output]]\nkind = \"stdout\"\n▶[[evidence.output]]\nkind = \"stdout\"\n", "already goes there"),
    ];
    assert_refusals(CASES);
    let many: String = (0..9).map(|n| format!("[[evidence.output]]\nkind = \"file\"\npath = \"/{n}\"\n")).collect();
    assert!(refused(&many).to_string().contains("at most 8"));
}
