//! `events show`: a record whole.

use serde_json::{Value, json};

use super::world::{POLICY_TEXT, World, syn};

#[test]
fn a_captured_frame_shows_its_headers_and_its_bytes() {
    let world = World::new();
    let shown = world.run(&["show", "c1", "-o", "json"]).exits(0).json();
    let layers: Vec<&str> = shown["layers"].as_array().unwrap().iter().map(|l| l["layer"].as_str().unwrap()).collect();
    // 40 bytes: the TCP header was cut.
    assert_eq!(layers, ["ethernet", "vlan", "ipv4", "payload", "undecoded"]);
    assert_eq!((&shown["layers"][1]["id"], &shown["layers"][2]["ttl"]), (&json!(7), &json!(61)));
    let frame = syn(b"hello");
    let hex: String = frame[..40].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown["frame"], Value::String(hex));
    let text = world.run(&["show", "c1"]).exits(0).out;
    for told in [
        "c1",
        "203.0.113.9",
        "\nvlan\n  id                    7\n",
        "0000  02 00 00 00 00 01 02 00  00 00 00 09 81 00 00 07  ................",
        &format!("{} more bytes were not kept", frame.len() - 40),
        "unverified",
    ] {
        assert!(text.contains(told), "{told:?}:\n{text}");
    }
}

#[test]
fn every_kind_of_record_is_shown_whole() {
    let world = World::new();
    let flow = world.run(&["show", "f2", "-o", "json"]).exits(0).json();
    assert_eq!((&flow["id"], &flow["outcome"], &flow["packets"]), (&json!("f2"), &json!("would_drop"), &json!(3)));
    let loss = world.run(&["show", "l1", "-o", "jsonl"]).exits(0).json();
    assert_eq!((&loss["loss"], &loss["packets"]), (&json!("not_attributed"), &json!(7)));
    let event = world.run(&["show", "e1", "-o", "json"]).exits(0).json();
    assert_eq!((&event["who"]["user"], &event["text"]), (&json!("root"), &json!(POLICY_TEXT)));
    let text = world.run(&["show", "e1", "--tz", "Asia/Kolkata"]).exits(0).out;
    assert!(text.contains("2026-11-22T15:30:00") && text.contains("\n  ports = [9042]\n"), "{text}");
    assert!(world.run(&["show", "f2"]).exits(0).out.contains("unverified"));
}

#[test]
fn a_record_that_is_not_there_is_an_error_that_says_so() {
    let world = World::new();
    for id in ["c9", "f0", "l77", "e9223372036854775807"] {
        let ran = world.run(&["show", id]).exits(1);
        assert!(ran.out.is_empty() && ran.err.contains(&format!("no record {id};")), "{}", ran.err);
    }
}
