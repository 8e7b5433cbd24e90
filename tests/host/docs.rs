//! docs/VERDICTS.md says what the code does: its tables against the enum of reasons and the table of cases.

use node_ebpf_common::Reason;
use nodewall_model::cases;

const VERDICTS: &str = include_str!("../../docs/VERDICTS.md");

/// The rows below a heading's first table, without the table's head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let section =
        VERDICTS.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}")).1;
    let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = table.skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "no table below {heading:?}");
    rows
}

#[test]
fn the_table_of_reasons_is_the_enum() {
    let written: Vec<[String; 4]> = rows("Reasons")
        .into_iter()
        .map(|row| [row[0].clone(), row[1].clone(), row[2].clone(), row[3].clone()])
        .collect();
    let meant: Vec<[String; 4]> = Reason::ALL
        .iter()
        .map(|reason| {
            let name = format!("`{}`", reason.name());
            [reason.number().to_string(), name, reason.verdict().name().to_owned(), reason.text().to_owned()]
        })
        .collect();
    for reason in &meant {
        assert!(written.contains(reason), "docs/VERDICTS.md lacks the row | {} |", reason.join(" | "));
    }
    assert_eq!(written, meant, "docs/VERDICTS.md has other rows than the enum, or another order");
}

#[test]
fn every_case_named_exists_and_ends_with_that_reason() {
    let table: Vec<cases::Case> = cases::all().into_iter().chain(cases::ipv4::jumbo()).collect();
    for (row, reason) in rows("Reasons").iter().zip(Reason::ALL) {
        let named: Vec<&str> = row[4].split("; ").filter(|name| !name.is_empty()).collect();
        assert!(!named.is_empty(), "{reason:?}: no cases in docs/VERDICTS.md");
        for name in named {
            let found = table.iter().any(|case| case.name == name && case.reason == *reason);
            assert!(found, "docs/VERDICTS.md: no case {name:?} with the reason {reason:?}");
        }
    }
}

#[test]
fn the_table_of_shapes_names_reasons_that_exist_and_misses_none() {
    let named: Vec<String> = rows("Shapes")
        .iter()
        .flat_map(|row| row[2].split(' ').map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect();
    for name in &named {
        assert!(Reason::ALL.iter().any(|reason| reason.name() == name), "docs/VERDICTS.md: no reason {name:?}");
    }
    // Which port is whose, and who is blocked, are no shapes of packets.
    let policy_only = [Reason::AllowedSource, Reason::BlockedSource, Reason::Icmp];
    for reason in Reason::ALL.iter().filter(|reason| !policy_only.contains(reason)) {
        assert!(named.iter().any(|name| name == reason.name()), "docs/VERDICTS.md: no shape leads to {reason:?}");
    }
}
