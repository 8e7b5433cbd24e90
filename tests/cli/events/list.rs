//! `events list`: what is found, in every format.

use super::world::{HOUR, SECOND, T0, World, flow, key};
use node_ebpf_common::Reason;
use nodewall_evidence::record::Batch;
use serde_json::json;

#[test]
fn every_option_finds_what_it_says() {
    let world = World::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &["f5", "f4", "f3", "f2", "f1"]),
        (&["--port", "9042"], &["f2", "f1"]),
        (&["--port", "9042", "--port", "53"], &["f3", "f2", "f1"]),
        (&["--source", "203.0.113.0/24"], &["f5", "f2", "f1"]),
        (&["--source", "203.0.113.77"], &["f2"]),
        (&["--source", "2001:db8::/32", "--source", "203.0.113.77/32"], &["f3", "f2"]),
        (&["--reason", "closed"], &["f5", "f3"]),
        (&["--reason", "closed", "--reason", "short_frame"], &["f5", "f4", "f3"]),
        (&["--outcome", "would_drop"], &["f2"]),
        (&["--outcome", "drop", "--port", "9042"], &["f1"]),
        (&["--since", "2026-11-22T10:30:00Z"], &["f5", "f4", "f3"]),
        (&["--until", "2026-11-22T10:30:00Z"], &["f2", "f1"]),
        (&["--since", "2026-11-22T10:30", "--until", "2026-11-22T11:30"], &["f4", "f3"]),
        // A day counts whole, and where the zone says.
        (&["--since", "2026-11-22", "--until", "2026-11-22"], &["f4", "f3", "f2", "f1"]),
        (&["--since", "2026-11-23"], &["f5"]),
        (&["--since", "2026-11-22T16:15", "--tz", "local"], &["f5", "f4", "f3"]),
        (&["--until", "2026-11-22T11:30", "--tz", "Europe/Vienna"], &["f2", "f1"]),
        (&["--limit", "2"], &["f5", "f4"]),
        (&["--kind", "captures"], &["c1"]),
        (&["--kind", "captures", "--port", "53"], &[]),
        (&["--kind", "losses"], &["l2", "l1"]),
        (&["--kind", "losses", "--since", "2026-11-23"], &[]),
        (&["--kind", "events"], &["e2", "e1"]),
        (&["--kind", "events", "--until", "2026-11-22"], &["e1"]),
        (&["--port", "9042", "--source", "203.0.113.9", "--reason", "closed"], &[]),
    ];
    for (arguments, ids) in cases {
        assert_eq!(&world.ids(arguments), ids, "{arguments:?}");
    }
}

#[test]
fn a_time_ago_is_measured_from_now() {
    let world = World::empty();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut writer = world.writer();
    for (port, ago) in [(1, 50 * HOUR), (2, 3 * HOUR), (3, 60 * SECOND)] {
        let flows = vec![flow(key(Some("192.0.2.1"), "tcp", Some(port), Reason::Closed), None, now - ago, 1)];
        writer.append(&Batch { unix_ns: now - ago + SECOND, flows, ..Batch::default() }).unwrap();
    }
    assert_eq!(world.ids(&["--since", "2days"]), ["f3", "f2"]);
    assert_eq!(world.ids(&["--since", "90m"]), ["f3"]);
    assert_eq!(world.ids(&["--until", "24h"]), ["f1"]);
    assert_eq!(world.ids(&["--since", "4h", "--until", "2h"]), ["f2"]);
    // Whatever the hour is: 50 hours ago is neither today nor yesterday at the same time.
    let yesterday = world.ids(&["--since", "yesterday", "--until", "today"]);
    assert!(yesterday.starts_with(&["f3".into(), "f2".into()]), "{yesterday:?}");
}

/// What a person sees, to the letter.
#[test]
fn the_table_fits_a_hundred_columns() {
    let world = World::new();
    let ran = world.run(&["list"]).exits(0);
    let expected = "\
ID  LAST SEEN             SOURCE        PORT      CLASS      REASON       OUTCOME     IN    PACKETS
f5  2026-11-23T11:59:59Z  203.0.113.9   8443/tcp  ui         closed       drop        eth0       40
f4  2026-11-22T10:59:59Z  -             none      -          short_frame  drop        eth0        5
f3  2026-11-22T10:59:59Z  2001:db8::5   53/udp    dns        closed       drop        eth0        1
f2  2026-11-22T10:00:00Z  203.0.113.77  9042/tcp  cassandra  outsider     would_drop  eth0        3
f1  2026-11-22T10:00:00Z  203.0.113.9   9042/tcp  cassandra  outsider     drop        eth0       12

Not in the evidence of this time: not_attributed: 7 packets, 700 bytes
Not in the evidence of this time: capture_budget: 2 captures
Sources are unverified: a frame does not prove who sent it.
";
    assert_eq!(ran.out, expected);
    assert!(ran.out.lines().all(|line| line.chars().count() <= 100) && ran.err.is_empty(), "{}", ran.err);
    let ran = world.run(&["list", "--port", "8443", "--tz", "Europe/Vienna"]).exits(0);
    assert!(ran.out.contains("f5  2026-11-23T12:59:59+01:00  203.0.113.9"), "{}", ran.out);
    let nothing = world.run(&["list", "--port", "1"]).exits(0).out;
    assert!(
        nothing.starts_with("nothing of the kind is recorded\n") && nothing.contains("not_attributed"),
        "{nothing}"
    );
}

/// More than is held at once: each record comes once and in order, whatever narrows the list.
#[test]
fn a_list_of_many_pages_is_whole() {
    const RECORDS: u64 = 70_000;
    let world = World::empty();
    let mut writer = world.writer();
    for batch in 0..7 {
        let at = |n: u64| T0 + n * SECOND;
        let from = batch * RECORDS / 7;
        let one = |n: u64| {
            let source = format!("203.0.{}.{}", n % 100, n % 7);
            flow(
                key(Some(&source), "tcp", Some(if n.is_multiple_of(2) { 9042 } else { 7199 }), Reason::Outsider),
                None,
                at(n),
                1,
            )
        };
        let flows = (from..from + RECORDS / 7).map(one).collect();
        writer.append(&Batch { unix_ns: at(from + RECORDS / 7), flows, ..Batch::default() }).unwrap();
    }
    let expected: Vec<String> = (1..=RECORDS).rev().map(|id| format!("f{id}")).collect();
    assert!(world.ids(&[]) == expected);
    assert!(world.ids(&["--port", "9042", "--port", "7199"]) == expected);
    assert!(world.ids(&["--limit", "69999"]) == expected[..69_999]);
    let csv = world.run(&["list", "-o", "csv"]).exits(0).out;
    assert_eq!(csv.lines().count() as u64, RECORDS + 1);
    let sources = world.run(&["list", "--group-by", "source", "-o", "jsonl"]).exits(0).jsonl();
    let packets: u64 = sources.iter().map(|sum| sum["dropped_packets"].as_u64().unwrap()).sum();
    assert_eq!((sources.len(), packets), (700, RECORDS));
}

#[test]
fn sums_keep_what_was_dropped_from_what_would_have_been() {
    let world = World::new();
    let table = |what| world.run(&["list", "--group-by", what]).exits(0).out;
    let rows = |text: String| text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    assert_eq!(
        rows(table("source")),
        "\
SOURCE        PORTS              DROPPED  WOULD DROP  BYTES  FIRST SEEN            LAST SEEN
203.0.113.9   8443/tcp 9042/tcp       52           0   3120  2026-11-22T10:00:00Z  2026-11-23T11:59:59Z
-             none                     5           0    300  2026-11-22T10:59:59Z  2026-11-22T10:59:59Z
203.0.113.77  9042/tcp                 0           3    180  2026-11-22T10:00:00Z  2026-11-22T10:00:00Z
2001:db8::5   53/udp                   1           0     60  2026-11-22T10:59:59Z  2026-11-22T10:59:59Z"
    );
    assert_eq!(
        rows(table("hour")),
        "\
HOUR                  SOURCES  PORTS  DROPPED  WOULD DROP  BYTES
2026-11-23T11:00:00Z        1      1       40           0   2400
2026-11-22T10:00:00Z        4      3       18           3   1260"
    );
    let ports = world.run(&["list", "--group-by", "port", "-o", "json", "--limit", "2"]).exits(0);
    assert!(ports.err.contains("more ports than these 2"), "{}", ports.err);
    let ports = ports.json();
    assert_eq!((&ports["kind"], &ports["truncated"]), (&json!("ports"), &json!(true)));
    let first = &ports["records"][0];
    assert_eq!((&first["port"], &first["classes"]), (&json!(8443), &json!(["ui"])));
    let second = &ports["records"][1];
    let told = ["port", "sources", "dropped_packets", "would_drop_packets", "flows"].map(|name| second[name].clone());
    assert_eq!(told, [json!(9042), json!(2), json!(12), json!(3), json!(2)]);
    // The hours of a zone that is half an hour off.
    let hours = world.run(&["list", "--group-by", "hour", "--tz", "Asia/Kolkata", "-o", "jsonl"]).exits(0).jsonl();
    let hours: Vec<_> = hours.iter().map(|row| (row["hour"].as_str().unwrap(), &row["flows"])).collect();
    let (last, both) = (json!(1), json!(2));
    assert_eq!(
        hours,
        [
            ("2026-11-23T17:00:00+05:30", &last),
            ("2026-11-22T16:00:00+05:30", &both),
            ("2026-11-22T15:00:00+05:30", &both)
        ]
    );
}

#[test]
fn json_says_what_was_asked_and_what_is_missing() {
    let world = World::new();
    let ran = world.run(&["list", "-o", "json", "--port", "9042", "--since", "2026-11-22", "--limit", "1"]).exits(0);
    let document = ran.json();
    assert_eq!(document["since"], "2026-11-22T00:00:00.000000000Z");
    assert_eq!(
        (&document["until"], &document["truncated"], &document["kind"]),
        (&json!(null), &json!(true), &json!("flows"))
    );
    let record = &document["records"][0];
    assert_eq!(
        record,
        &json!({
            "id": "f2", "batch": 1, "first": "2026-11-22T10:00:00.250000000Z", "last": "2026-11-22T10:00:00.750000000Z",
            "first_unix_ns": T0 + SECOND / 4, "last_unix_ns": T0 + SECOND / 4 * 3, "source": "203.0.113.77",
            "source_verified": false, "protocol": "tcp", "port": 9042, "class": "cassandra", "reason": "outsider",
            "outcome": "would_drop", "interface": "eth0", "mac": "02:00:00:00:00:09", "generation": 4, "packets": 3,
            "bytes": 180
        })
    );
    let losses = json!([
        { "loss": "not_attributed", "packets": 7, "bytes": 700 },
        { "loss": "capture_budget", "packets": 2, "bytes": 0 }
    ]);
    assert_eq!(document["losses"], losses);
    // Machines get everything unless they ask for less.
    assert_eq!(world.run(&["list", "-o", "json"]).exits(0).json()["truncated"], false);
}

#[test]
fn csv_is_read_back_by_a_csv_reader() {
    let world = World::new();
    for (kind, records) in [("flows", 5), ("captures", 1), ("losses", 2), ("events", 2)] {
        let ran = world.run(&["list", "-o", "csv", "--kind", kind]).exits(0);
        let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
        let columns = reader.headers().unwrap().len();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), records, "{kind}");
        assert!(rows.iter().all(|row| row.len() == columns), "{kind}");
    }
    let ran = world.run(&["list", "-o", "csv", "--limit", "1"]).exits(0);
    assert_eq!(
        ran.out,
        "id,batch,first,last,source_unverified,protocol,port,class,reason,outcome,interface,mac,generation,packets,bytes\n\
         f5,3,2026-11-23T11:59:59.000000000Z,2026-11-23T11:59:59.500000000Z,203.0.113.9,tcp,8443,ui,closed,drop,eth0,\
         02:00:00:00:00:09,4,40,2400\n"
    );
    for what in ["source", "port", "hour"] {
        let ran = world.run(&["list", "-o", "csv", "--group-by", what]).exits(0);
        let mut reader = csv::Reader::from_reader(ran.out.as_bytes());
        assert!(reader.records().all(|row| row.is_ok()) && ran.out.lines().count() > 2, "{}", ran.out);
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let world = World::new();
    let cases: &[(&[&str], &str)] = &[
        (&["list", "--since", "soon"], "24h"),
        (&["list", "--since", "1960-01-01"], "out of range"),
        (&["list", "--since", "2026-11-23", "--until", "2026-11-21"], "after --until"),
        (&["list", "--tz", "Middle/Earth"], "no time zone"),
        (&["list", "--port", "0"], "0"),
        (&["list", "--limit", "0"], "0"),
        (&["list", "--source", "203.0.113.0/33"], "a prefix"),
        (&["list", "--reason", "peer"], "outsider"),
        (&["list", "--outcome", "pass"], "would_drop"),
        (&["list", "--kind", "events", "--port", "1"], "leave out --port"),
        (&["list", "--kind", "captures", "--group-by", "port"], "leave --kind out"),
        (&["show", "x1"], "f12"),
        (&["show", "f-1"], "f12"),
        (&["show", "f"], "f12"),
        (&["verify", "--head", "abc"], "64 hexadecimal"),
        (&["show", "f1", "-o", "csv"], "possible values: table, json, jsonl"),
        (&["tail", "-o", "csv"], "possible values: table, json, jsonl"),
    ];
    for (arguments, told) in cases {
        let ran = world.run(arguments).exits(2);
        assert!(ran.out.is_empty() && ran.err.contains(told), "{arguments:?}: {told:?}\n{}", ran.err);
    }
}

#[test]
fn without_a_store_it_says_what_to_do_and_makes_nothing() {
    let world = World::empty();
    for arguments in [&["list"][..], &["tail"], &["show", "f1"], &["verify"], &["list", "-o", "csv"]] {
        let ran = world.run(arguments).exits(1);
        assert!(ran.out.is_empty() && ran.err.contains("nodewall run"), "{arguments:?}: {}", ran.err);
    }
    assert!(!world.state().exists());
}
