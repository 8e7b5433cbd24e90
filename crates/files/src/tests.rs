//! Real directories, links and owners. Who is not root cannot make what is somebody else's; those cases are root's.

use std::{
    fs::{self, File, Permissions},
    io::{Read as _, Write as _},
    os::unix::fs::{PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    process::geteuid,
};
use tempfile::TempDir;

use super::{Dir, OFlags, SECRET, WRITABLE, follow, look, open, output};

/// Not root, and nobody in particular.
const STRANGER: u32 = 65_534;

/// A directory of ours with `way/conf/file` in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.at("way/conf")).unwrap();
        fs::write(place.at("way/conf/file"), "ours").unwrap();
        place.mode("way/conf/file", 0o644);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), Permissions::from_mode(mode)).unwrap();
    }

    fn strangers(&self, name: &str) {
        lchown(self.at(name), Some(STRANGER), Some(STRANGER)).unwrap();
    }

    #[track_caller]
    fn is_read(&self, name: &str) {
        assert_eq!(read(&self.at(name)).as_deref(), Ok("ours"));
    }

    /// Refused for this part of the way, with these words and this to type.
    #[track_caller]
    fn is_refused(&self, name: &str, part: &str, words: &str, help: &str) {
        let (path, part) = (self.at(name), self.at(part).display().to_string());
        for refusal in [open(&path, WRITABLE).unwrap_err(), look(&path).unwrap_err()] {
            let told = refusal.to_string();
            assert!(told.starts_with(&path.display().to_string()) && told.contains(words), "{told}");
            assert!(told.ends_with(&format!("{help} {part}")), "{told}");
            assert!(!refusal.is_absent() && !refusal.is_denied());
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    open(path, WRITABLE).map_err(|refusal| refusal.to_string())?.read_to_string(&mut text).unwrap();
    Ok(text)
}

#[test]
fn each_directory_on_the_way_counts_and_is_named() {
    let place = Place::new();
    place.is_read("way/conf/file");
    for part in ["way", "way/conf"] {
        for (mode, who) in [(0o777, "everybody can write"), (0o757, "everybody can write"), (0o775, "group ")] {
            place.mode(part, mode);
            place.is_refused("way/conf/file", part, who, "chmod go-w");
            place.is_refused("way/conf/file", part, &format!("(mode {mode:04o})"), "chmod go-w");
        }
        // Others can make files there, and not move ours.
        place.mode(part, 0o1777);
        place.is_read("way/conf/file");
        place.mode(part, 0o755);
        if geteuid().is_root() {
            place.strangers(part);
            place.is_refused(
                "way/conf/file",
                part,
                "belongs to user 65534; expected root or user 0",
                "chown root:root",
            );
            lchown(place.at(part), Some(0), Some(0)).unwrap();
        }
    }
    place.is_read("way/../way/./conf/file");
}

#[test]
fn in_a_directory_for_everybody_a_file_must_be_ours() {
    if !geteuid().is_root() {
        return;
    }
    let place = Place::new();
    place.mode("way/conf", 0o1777);
    fs::write(place.at("way/conf/theirs"), "theirs").unwrap();
    place.strangers("way/conf/theirs");
    place.is_refused("way/conf/theirs", "way/conf/theirs", "is owned by user 65534", "chown root:root");
    symlink(place.at("way/conf/file"), place.at("way/conf/link")).unwrap();
    place.is_read("way/conf/link");
    place.strangers("way/conf/link");
    place.is_refused("way/conf/link", "way/conf/link", "the link", "where you do not know who made it: rm");
    // Whoever may give a file of ours another name chooses which one is read.
    fs::write(place.at("old"), "old").unwrap();
    fs::hard_link(place.at("old"), place.at("way/conf/hard")).unwrap();
    place.is_refused("way/conf/hard", "way/conf/hard", "has a second name", "rm");
    place.mode("way/conf", 0o755);
    assert_eq!(read(&place.at("way/conf/hard")).as_deref(), Ok("old"));
}

/// As Kubernetes lays out a `ConfigMap`: `file` -> `..data/file`, `..data` -> `..1`.
#[test]
fn links_of_ours_lead_on_and_what_they_lead_to_is_judged() {
    let place = Place::new();
    fs::create_dir(place.at("way/conf/..1")).unwrap();
    fs::rename(place.at("way/conf/file"), place.at("way/conf/..1/file")).unwrap();
    symlink("..1", place.at("way/conf/..data")).unwrap();
    symlink("..data/file", place.at("way/conf/file")).unwrap();
    symlink(place.at("way/conf"), place.at("absolute")).unwrap();
    place.is_read("way/conf/file");
    place.is_read("absolute/file");
    place.mode("way/conf/..1", 0o777);
    place.is_refused("way/conf/file", "way/conf/..1", "everybody can write", "chmod go-w");
    place.mode("way/conf/..1", 0o755);
    if geteuid().is_root() {
        place.strangers("way/conf/..data");
        place.is_refused("absolute/file", "way/conf/..data", "the link", "rm");
        lchown(place.at("way/conf/..data"), Some(0), Some(0)).unwrap();
    }
    symlink("loop", place.at("loop")).unwrap();
    assert!(open(&place.at("loop"), WRITABLE).unwrap_err().to_string().contains("Too many levels"));
}

#[test]
fn a_link_that_is_switched_to_an_older_file_is_newer_than_that_file() {
    let place = Place::new();
    fs::write(place.at("new"), "new!").unwrap();
    symlink("way/conf/file", place.at("link")).unwrap();
    let (old, made) = follow(&place.at("link")).unwrap();
    assert!(made >= super::changed_ns(&old) && made > 0);
    assert_eq!(follow(&place.at("new")).unwrap().1, 0);
    assert!(follow(&place.at("none")).is_none());
}

/// Looks that must end each way: both happen only while the two change places in the midst of one.
const ENOUGH: u32 = 100;

/// A stranger's directory and ours change places for as long as the file is read: what is read is ours, or it is refused.
#[test]
fn what_changes_places_during_the_look_is_never_believed() {
    if !geteuid().is_root() {
        return;
    }
    let place = Place::new();
    // A file of root's in it: whose the file is says nothing.
    fs::create_dir(place.at("trap")).unwrap();
    fs::write(place.at("trap/file"), "theirs").unwrap();
    symlink(place.at("trap"), place.at("way/link")).unwrap();
    place.strangers("trap");
    place.strangers("way/link");
    let done = AtomicBool::new(false);
    let (mut was_ours, mut was_refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (conf, link) = (place.at("way/conf"), place.at("way/link"));
                renameat_with(CWD, conf, CWD, link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..1_000_000 {
            match read(&place.at("way/conf/file")) {
                Ok(text) => {
                    was_ours += 1;
                    done.store(text != "ours", Ordering::Relaxed);
                }
                Err(_) => was_refused += 1,
            }
            if done.load(Ordering::Relaxed) || (was_ours > ENOUGH && was_refused > ENOUGH) {
                break;
            }
        }
        let read_theirs = done.swap(true, Ordering::Relaxed);
        assert!(!read_theirs, "a stranger's file was believed");
    });
    assert!(was_ours > ENOUGH && was_refused > ENOUGH, "{was_ours} read, {was_refused} refused");
}

#[test]
fn a_directory_that_is_held_stays_the_one_it_was() {
    let place = Place::new();
    let held = Dir::create(&place.at("way/state"), 0o700).unwrap();
    assert_eq!(fs::metadata(place.at("way/state")).unwrap().permissions().mode() & 0o7777, 0o700);
    let append = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    held.file("journal", append, WRITABLE).unwrap().write_all(b"1").unwrap();
    // Moved away, and another with a planted link in its place.
    fs::rename(place.at("way/state"), place.at("way/away")).unwrap();
    fs::create_dir(place.at("way/state")).unwrap();
    symlink(place.at("way/conf/file"), place.at("way/state/journal")).unwrap();
    held.file("journal", append, WRITABLE).unwrap().write_all(b"2").unwrap();
    assert_eq!(fs::read_to_string(place.at("way/away/journal")).unwrap(), "12");
    place.is_read("way/conf/file");
    // And in the directory itself no link is followed.
    let other = Dir::open(&place.at("way/state")).unwrap();
    for flags in [OFlags::RDONLY, append] {
        assert!(other.file("journal", flags, WRITABLE).is_err());
    }
    assert!(!other.has("journal") && other.look("journal", WRITABLE).is_err() && held.has("journal"));
    place.is_read("way/conf/file");
}

#[test]
fn a_directory_for_everybody_is_not_held() {
    let place = Place::new();
    for mode in [0o1777, 0o777, 0o770] {
        place.mode("way/conf", mode);
        let told = Dir::open(&place.at("way/conf")).unwrap_err().to_string();
        assert!(told.contains("can be written by others") && told.contains("chmod go-w"), "{told}");
    }
    assert!(Dir::open(&place.at("none")).unwrap_err().is_absent());
    place.mode("way", 0o777);
    assert!(Dir::create(&place.at("way/new/state"), 0o700).is_err() && !place.at("way/new").exists());
}

#[test]
fn a_secret_is_nobody_elses_to_read() {
    let place = Place::new();
    for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false)] {
        place.mode("way/conf/file", mode);
        assert_eq!(open(&place.at("way/conf/file"), SECRET).is_ok(), is_fine, "{mode:o}");
    }
}

/// A directory may be an operator's own; what is written to in it is never chosen by somebody else.
#[test]
fn output_goes_where_nobody_else_has_chosen() {
    let place = Place::new();
    let write = |name: &str| output(&place.at(name)).map(|mut file| file.write_all(b"out").unwrap());
    write("way/new").unwrap();
    assert_eq!(fs::metadata(place.at("way/new")).unwrap().permissions().mode() & 0o7777, 0o600);
    write("way/new").unwrap();
    assert_eq!(fs::read_to_string(place.at("way/new")).unwrap(), "out");
    // A link of our own is meant.
    symlink("new", place.at("way/own")).unwrap();
    write("way/own").unwrap();
    output(Path::new("/dev/null")).unwrap();
    // This process's own descriptor, whatever is behind it.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let descriptor = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
    output(Path::new(&descriptor)).unwrap().write_all(b"piped").unwrap();
    drop(writer);
    let mut piped = String::new();
    reader.read_to_string(&mut piped).unwrap();
    assert_eq!(piped, "piped");

    fs::hard_link(place.at("way/conf/file"), place.at("way/hard")).unwrap();
    assert!(write("way/hard").unwrap_err().to_string().contains("has a second name"));
    if geteuid().is_root() {
        place.strangers("way");
        write("way/another").unwrap();
        File::create(place.at("way/theirs")).unwrap().write_all(b"theirs").unwrap();
        place.strangers("way/theirs");
        let told = write("way/theirs").unwrap_err().to_string();
        assert!(told.contains("is owned by user 65534") && told.contains("rm "), "{told}");
        assert_eq!(fs::read_to_string(place.at("way/theirs")).unwrap(), "theirs");
        for (name, target) in [("way/planted", "conf/file"), ("way/missing", "conf/made"), ("way/folder", "conf")] {
            symlink(target, place.at(name)).unwrap();
            place.strangers(name);
        }
        for name in ["way/planted", "way/missing", "way/folder/file"] {
            let told = write(name).unwrap_err().to_string();
            assert!(told.contains("the link") && told.contains("belongs to user 65534"), "{told}");
        }
        assert!(!place.at("way/conf/made").exists());
    }
    fs::remove_file(place.at("way/hard")).unwrap();
    place.is_read_by_itself();
}

impl Place {
    fn is_read_by_itself(&self) {
        assert_eq!(fs::read_to_string(self.at("way/conf/file")).unwrap(), "ours");
    }
}
