//! A disk that is full, a file that is damaged or somebody else's: what was recorded is not lost, and recording goes on.

use std::{fs, path::Path, process::Command};

use super::samples::{BEGAN_NS, ROOMY, at, batch, filled, flow};
use nodewall_evidence::{
    record::Batch,
    store::{Limits, Reader, StoreError, Writer},
};
use nodewall_testbed::skip_unless_privileged;
use tempfile::tempdir;

fn many(n: u64) -> Batch {
    Batch { unix_ns: BEGAN_NS + n, flows: (0..500).map(|k| flow(n * 500 + k)).collect(), ..Batch::default() }
}

/// Fills it until there is no room.
fn until_full(writer: &mut Writer) -> u64 {
    for n in 0..10_000 {
        match writer.append(&many(n)) {
            Ok(_) => {}
            Err(StoreError::Full { .. }) => return n,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never full")
}

#[test]
fn a_full_store_takes_nothing_and_goes_on_when_there_is_room() {
    let place = tempdir().unwrap();
    let tight = Limits { max_bytes: 2 << 20, max_age_ns: u64::MAX };
    let mut writer = Writer::open(place.path(), tight).unwrap().writer;
    let written = until_full(&mut writer);
    let totals = writer.totals();
    assert!(matches!(writer.append(&many(written)), Err(StoreError::Full { .. })));
    assert_eq!((writer.totals(), writer.last_seq()), (totals, written), "nothing of it is there");
    assert!(writer.retain(&at(BEGAN_NS)).unwrap() > 0);
    assert_eq!(writer.append(&many(written)).unwrap().seq, written + 1);
    let reader = Reader::open(place.path()).unwrap().unwrap();
    assert_eq!(reader.verify(Some(writer.head())).unwrap().fault, None);
}

/// A file system of its own, in a namespace of its own, that is really full.
#[test]
fn a_full_disk_is_survived() {
    if skip_unless_privileged("a_full_disk_is_survived") {
        return;
    }
    let place = tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"]).arg(place.path()).status();
    assert!(mounted.unwrap().success());
    let result = std::panic::catch_unwind(|| full_disk(place.path()));
    assert!(Command::new("umount").arg(place.path()).status().unwrap().success());
    result.unwrap();
}

fn full_disk(place: &Path) {
    let mut writer = Writer::open(place, ROOMY).unwrap().writer;
    let ballast = place.join("ballast");
    fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    let written = until_full(&mut writer);
    let reader = Reader::open(place).unwrap().unwrap();
    assert_eq!(reader.last_seq().unwrap(), written);
    fs::remove_file(ballast).unwrap();
    assert_eq!(writer.append(&many(written)).unwrap().seq, written + 1, "there is room again");
    assert_eq!(reader.verify(Some(writer.head())).unwrap().fault, None);
    drop((reader, writer));
    assert_eq!(Writer::open(place, ROOMY).unwrap().set_aside, None);
}

#[test]
fn what_is_damaged_is_set_aside_and_a_new_one_begun() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("text", |db| fs::write(db, "not a database at all, but long enough to be looked at as one").unwrap()),
        ("a header of zeros", |db| {
            let mut bytes = fs::read(db).unwrap();
            bytes[..100].fill(0);
            fs::write(db, bytes).unwrap();
        }),
        ("a database of something else", |db| {
            fs::remove_file(db).unwrap();
            rusqlite::Connection::open(db)
                .unwrap()
                .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
                .unwrap();
        }),
        ("half of it", |db| {
            let bytes = fs::read(db).unwrap();
            fs::write(db, &bytes[..bytes.len() / 2]).unwrap();
            // As a killed writer leaves it: the pages are looked at.
            let db = rusqlite::Connection::open(db).unwrap();
            drop(db.execute("INSERT INTO meta VALUES ('open', '1')", []));
        }),
    ];
    for (name, damage) in damages {
        let place = tempdir().unwrap();
        drop(filled(place.path(), 40));
        let db = place.path().join("evidence.db");
        damage(&db);
        let before = fs::read(&db).unwrap();
        let opened = Writer::open(place.path(), ROOMY).unwrap();
        let (aside, problem) = opened.set_aside.unwrap_or_else(|| panic!("{name}: nothing was noticed"));
        assert!(!problem.is_empty());
        assert_eq!(fs::read(&aside).unwrap().len(), before.len(), "{name}: what was there is still there");
        assert!(aside.file_name().unwrap().to_str().unwrap().starts_with("evidence.db.damaged-"), "{aside:?}");
        let mut writer = opened.writer;
        assert_eq!(writer.append(&batch(1)).unwrap().seq, 1, "{name}");
    }
}

#[test]
fn a_newer_store_is_left_alone() {
    let place = tempdir().unwrap();
    drop(filled(place.path(), 1));
    let db = place.path().join("evidence.db");
    rusqlite::Connection::open(&db).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for error in [Writer::open(place.path(), ROOMY).unwrap_err(), Reader::open(place.path()).unwrap_err()] {
        assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    }
    assert!(db.exists());
}

#[test]
fn a_killed_writer_leaves_whole_batches() {
    let place = tempdir().unwrap();
    let mut writer = filled(place.path(), 5);
    writer.append(&batch(5)).unwrap();
    // As `kill -9`: no end in order, the log is not written back.
    let copy = tempdir().unwrap();
    for file in fs::read_dir(place.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let opened = Writer::open(copy.path(), ROOMY).unwrap();
    assert_eq!((opened.set_aside, opened.writer.last_seq(), opened.writer.head()), (None, 6, writer.head()));
}
