//! `events verify`: exit codes and what is told. What the chain finds is the store's own to test.

use super::world::World;
use nodewall_text::hex;
use serde_json::json;

fn edit(world: &World, sql: &str) {
    let db = rusqlite::Connection::open(world.state().join("evidence/evidence.db")).unwrap();
    db.execute_batch(sql).unwrap();
}

#[test]
fn a_sound_store_is_sound_and_names_its_head() {
    let world = World::new();
    let head = hex(&world.writer().head());
    let report = world.run(&["verify", "-o", "json"]).exits(0).json();
    assert_eq!((&report["sound"], &report["batches"], &report["fault"]), (&json!(true), &json!(3), &json!(null)));
    assert_eq!((&report["records"], &report["head"]), (&json!(10), &json!(head)));
    let text = world.run(&["verify", "--head", &head]).exits(0).out;
    assert!(text.contains("sound: 3 batches (1 to 3), 10 records") && text.contains("in the chain"), "{text}");
    // Without a head from elsewhere it says what it can not know.
    assert!(world.run(&["verify"]).exits(0).out.contains("--head"));
}

#[test]
fn what_was_edited_is_named_and_the_exit_code_tells() {
    for (sql, kind, record) in [
        ("UPDATE flows SET packets = 11 WHERE id = 1", "altered", json!("f1")),
        ("UPDATE events SET detail = 'nothing' WHERE id = 2", "altered", json!("e2")),
        ("DELETE FROM captures", "removed", json!(null)),
    ] {
        let world = World::new();
        edit(&world, sql);
        let report = world.run(&["verify", "-o", "json"]).exits(3).json();
        assert_eq!(report["sound"], false, "{sql}");
        assert_eq!((&report["fault"]["kind"], &report["fault"]["record"]), (&json!(kind), &record), "{sql}: {report}");
        let text = world.run(&["verify"]).exits(3).out;
        assert!(text.contains("fault    batch") && text.contains(kind), "{text}");
    }
}

#[test]
fn a_head_that_is_not_in_the_chain_is_a_fault() {
    let world = World::new();
    let report = world.run(&["verify", "--head", &"ab".repeat(32), "-o", "jsonl"]).exits(3).json();
    assert_eq!(report["sound"], false, "{report}");
    assert!(!world.run(&["verify", "--head", &"ab".repeat(32)]).exits(3).out.contains("in the chain\n"));
}

/// A database that can not be read is a fault as well, not a crash: whether that shows when it is opened, or later.
#[test]
fn a_damaged_database_is_a_fault() {
    for from in [0, 100, 3 * 4096] {
        let world = World::new();
        let file = world.state().join("evidence/evidence.db");
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[from..].fill(0xa5);
        std::fs::write(&file, bytes).unwrap();
        let ran = world.run(&["verify", "-o", "json"]).exits(3);
        assert_eq!(ran.json()["fault"]["kind"], "unreadable", "from byte {from}: {}", ran.out);
        assert!(world.run(&["verify"]).exits(3).out.contains("not sound: it can not be read"), "from byte {from}");
        // No list of half of it.
        let ran = world.run(&["list"]).exits(1);
        assert!(ran.err.contains("evidence.db"), "{}", ran.err);
    }
}

/// What docs/EVIDENCE.md says that the chain alone can not prove, and what a head that was noted elsewhere is for.
#[test]
fn an_end_that_was_cut_off_shows_only_by_a_head() {
    let world = World::new();
    let head = hex(&world.writer().head());
    edit(
        &world,
        "DELETE FROM batches WHERE seq = 3; DELETE FROM flows WHERE seq = 3; DELETE FROM events WHERE seq = 3",
    );
    world.run(&["verify"]).exits(0);
    let report = world.run(&["verify", "--head", &head, "-o", "json"]).exits(3).json();
    assert_eq!(report["fault"]["kind"], "removed", "{report}");
}
