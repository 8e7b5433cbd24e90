//! Who could have chosen what nodewall reads and writes, with real users: an ordinary one who asks, and one who plants. What is refused is named with the part of
//! the path that is at fault.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, lchown, symlink},
    path::Path,
    process::Command,
};

use nodewall_evidence::store::{Limits, Writer};
use nodewall_host::state::StateDir;
use nodewall_testbed::skip_unless_privileged;

use crate::binary::{Ran, Scratch, executable, finish};

/// `nobody`.
const ORDINARY: u32 = 65_534;

/// Every command that answers from, or changes, what root alone may read; with what it cannot do without.
const FOR_ROOT: [(&str, &[&str]); 27] = [
    ("init", &["init", "--yes", "--single-node"]),
    ("run", &["run"]),
    ("apply", &["apply"]),
    ("check", &["check"]),
    ("plan", &["plan"]),
    ("enforce", &["enforce"]),
    ("confirm", &["confirm"]),
    ("rollback", &["rollback"]),
    ("panic-open", &["panic-open", "--for", "10m"]),
    ("block", &["block", "198.51.100.7"]),
    ("unblock", &["unblock", "198.51.100.7"]),
    ("peers", &["peers", "list"]),
    ("peers", &["peers", "diff"]),
    ("peers", &["peers", "add", "192.0.2.9"]),
    ("peers", &["peers", "remove", "192.0.2.9"]),
    ("status", &["status"]),
    ("top", &["top", "--once"]),
    ("counters", &["counters"]),
    ("events", &["events", "list"]),
    ("events", &["events", "tail"]),
    ("events", &["events", "show", "f1"]),
    ("events", &["events", "verify"]),
    ("usage", &["usage"]),
    ("page", &["page"]),
    ("capture", &["capture", "--write", "/dev/null"]),
    ("report", &["report", "--since", "1h", "--out", "/dev/null"]),
    ("detach", &["detach"]),
];
/// Those that have nothing to ask root for, or say it in their own way (`doctor`: what was not looked at).
const FOR_ALL: [&str; 6] = ["explain", "replay", "doctor", "completions", "man", "help"];

/// Runs it as an ordinary user, in a place where that user may at least look.
fn as_ordinary(place: &Scratch, arguments: &[&str]) -> Ran {
    let (beside, uid) = (place.path("nodewall"), ORDINARY.to_string());
    if !beside.exists() {
        fs::set_permissions(place.path(""), Permissions::from_mode(0o755)).unwrap();
        // Where it was built that user may not be able to go.
        fs::hard_link(executable(), &beside).or_else(|_| fs::copy(executable(), &beside).map(drop)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]).arg(beside);
    finish(place.on(command, arguments))
}

#[test]
fn an_ordinary_user_is_told_what_is_missing_and_nothing_else() {
    if skip_unless_privileged("an_ordinary_user_is_told_what_is_missing_and_nothing_else") {
        return;
    }
    let place = Scratch::new();
    StateDir::create(&place.state()).unwrap();
    Writer::open(&place.state().join("evidence"), Limits { max_bytes: 64 << 20, max_age_ns: u64::MAX }).unwrap();
    let config = place.file("nodewall.toml", "mode = \"audit\"\nsingle_node = true\n");
    fs::set_permissions(&config, Permissions::from_mode(0o640)).unwrap();
    for (_, arguments) in FOR_ROOT {
        let ran = as_ordinary(&place, &[arguments, &["--config", &config]].concat());
        let told = format!("{arguments:?}: {}\n{}{}", ran.code, ran.out, ran.err);
        assert!(ran.code == 4 && ran.out.is_empty(), "{told}");
        assert!(ran.err.contains("sudo") || ran.err.contains("run as root"), "{told}");
        assert!(!ran.err.contains("chown") && !ran.err.contains("others"), "{told}");
    }
    let doctor = as_ordinary(&place, &["doctor", "--config", &config]).exits(4);
    assert!(doctor.out.contains("as root") && !doctor.out.contains("chown"), "{}", doctor.out);

    // None is forgotten.
    let help = Scratch::run_bare(&["--help"]).exits(0).out;
    let listed = help.split_once("Commands:").unwrap().1.split_once("\n\n").unwrap().0;
    for command in listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = command.split_whitespace().next().unwrap();
        assert!(FOR_ROOT.iter().any(|(known, _)| *known == name) || FOR_ALL.contains(&name), "{name} is not tried");
    }
}

/// Refused, with the part of the way that is at fault, and nothing is made.
#[track_caller]
fn refused(place: &Scratch, arguments: &[&str], told: &[&str]) {
    let ran = place.run(arguments).exits(1);
    assert!(ran.out.is_empty() && told.iter().all(|words| ran.err.contains(words)), "{told:?}: {}", ran.err);
    assert!(!place.bpffs().exists());
}

#[test]
fn a_configuration_on_a_way_that_others_can_change_decides_nothing() {
    let place = Scratch::new();
    let (way, config) = (place.path("way"), place.path("way/conf/nodewall.toml"));
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::write(&config, "mode = \"audit\"\n").unwrap();
    let (way_text, config_text) = (way.to_str().unwrap(), config.to_str().unwrap());
    place.run(&["check", "--config", config_text]).exits(0);
    for mode in [0o777, 0o757, 0o775] {
        fs::set_permissions(&way, Permissions::from_mode(mode)).unwrap();
        for command in ["check", "apply", "run"] {
            let written = format!("can write in the directory {way_text} on the way to it (mode {mode:04o})");
            refused(
                &place,
                &[command, "--config", config_text],
                &[config_text, &written, &format!("chmod go-w {way_text}")],
            );
        }
        // What only computes may read it.
        place.run(&["explain", "--config", config_text, "--source", "192.0.2.1", "--port", "1"]).exits(0);
    }
    fs::set_permissions(&way, Permissions::from_mode(0o1777)).unwrap();
    place.run(&["check", "--config", config_text]).exits(0);
}

#[test]
fn a_state_directory_on_a_way_that_others_can_change_is_not_used() {
    let place = Scratch::new();
    StateDir::create(&place.state()).unwrap();
    let above = place.path("");
    let above_text = above.to_str().unwrap().trim_end_matches('/');
    let asks: [&[&str]; 3] = [&["events", "list"], &["page"], &["peers", "list"]];
    fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
    for arguments in asks {
        let written = format!("everybody can write in the directory {above_text} on the way to it (mode 0777)");
        refused(&place, arguments, &[&written, &format!("chmod go-w {above_text}")]);
    }
    fs::set_permissions(&above, Permissions::from_mode(0o700)).unwrap();
    place.run(&["peers", "list"]).exits(0);
    // Moved to another disk by root, it is the same; by anybody else, it is not.
    fs::rename(place.state(), place.path("disk")).unwrap();
    symlink("disk", place.state()).unwrap();
    place.run(&["peers", "list"]).exits(0);
    if rustix::process::geteuid().is_root() {
        lchown(place.state(), Some(ORDINARY), None).unwrap();
        for arguments in asks {
            refused(
                &place,
                arguments,
                &["the link", "belongs to user 65534", &format!("rm {}", place.state().display())],
            );
        }
    }
}

#[test]
fn what_is_written_for_root_is_where_nobody_else_has_chosen() {
    if skip_unless_privileged("what_is_written_for_root_is_where_nobody_else_has_chosen") {
        return;
    }
    let place = Scratch::new();
    StateDir::create(&place.state()).unwrap();
    Writer::open(&place.state().join("evidence"), Limits { max_bytes: 64 << 20, max_age_ns: u64::MAX }).unwrap();
    let home = place.path("home");
    fs::create_dir(&home).unwrap();
    let precious = place.file("precious", "precious");
    let plant = |name: &str, target: &Path| {
        symlink(target, home.join(name)).unwrap();
        lchown(home.join(name), Some(ORDINARY), Some(ORDINARY)).unwrap();
        home.join(name).to_str().unwrap().to_owned()
    };
    lchown(&home, Some(ORDINARY), Some(ORDINARY)).unwrap();
    let link = plant("link", Path::new(&precious));
    plant("nodewall.1", Path::new(&precious));
    let writers: [&[&str]; 3] = [
        &["report", "--since", "1h", "--out", &link],
        &["events", "export", "--format", "ecs", "--write", &link],
        &["man", home.to_str().unwrap()],
    ];
    for arguments in writers {
        let ran = place.run(arguments).exits(1);
        assert!(
            ran.err.contains("the link") && ran.err.contains("belongs to user 65534"),
            "{arguments:?}: {}",
            ran.err
        );
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious", "{arguments:?}");
    }
    // Into a directory of that user all the same, as `sudo` does in one's home.
    let fine = home.join("report.html");
    place.run(&["report", "--since", "1h", "--out", fine.to_str().unwrap()]).exits(0);
    assert_eq!(fs::metadata(&fine).unwrap().permissions().mode() & 0o777, 0o600);
}
