//! Takes from this process, for ever, the power to write anywhere but where the agent writes (Landlock, Linux 5.13). Reading stays free: a reload may name any
//! file. It must not know what is written where.
//!
//! Rules hold for the calling thread and for what it starts later, so this comes before every other thread.

use std::env;
use std::path::Path;
use std::path::PathBuf;

use landlock::ABI;
use landlock::AccessFs;
use landlock::CompatLevel;
use landlock::Compatible as _;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use landlock::RulesetCreatedAttr as _;
use landlock::RulesetError;
use landlock::RulesetStatus;
use landlock::path_beneath_rules;

/// What can be written by every process that starts others or sorts: devices (the null device), temporary files.
const SHARED: [&str; 3] = ["/dev", "/tmp", "/var/tmp"];
/// What systemd gives a service to write in; lists with colons.
const GIVEN: [&str; 4] = ["RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY", "CACHE_DIRECTORY"];

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// Nothing is written but where it was allowed.
    Whole,
    /// The kernel knows Landlock, but not all of what can be written.
    Partly,
    /// The kernel has no Landlock, or it is off.
    Not,
}

/// Confines this thread, and all that it starts from now on, to writing below `places`. One that is not there can not be allowed and is left out.
///
/// # Errors
/// When the kernel has Landlock and refuses the rules; then nothing is taken away.
pub fn confine(places: &[PathBuf]) -> Result<Confined, RulesetError> {
    // Truncation is the last thing that writes a file (ABI 3); kernels that know less are asked for what they know.
    let writing = AccessFs::from_write(ABI::V3);
    let rules = path_beneath_rules(places, writing);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writing)?
        .create()?
        .add_rules(rules)?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confined::Whole,
        RulesetStatus::PartiallyEnforced => Confined::Partly,
        RulesetStatus::NotEnforced => Confined::Not,
    })
}

/// Where the agent writes: its state, its pins, the files of evidence, and what systemd gives it.
pub fn writable(state: &Path, bpffs: &Path, outputs: &[PathBuf]) -> Vec<PathBuf> {
    // A file is written beside and renamed, and `detach` takes the pins' directory away: the directory above is what stays.
    let above = |path: &Path| path.parent().map(Path::to_path_buf);
    let given = GIVEN.iter().filter_map(env::var_os).collect::<Vec<_>>();
    std::iter::once(state.to_path_buf())
        .chain(above(bpffs))
        .chain(outputs.iter().filter_map(|file| above(file)))
        .chain(given.iter().flat_map(env::split_paths))
        .chain(SHARED.map(PathBuf::from))
        .chain([env::temp_dir()])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind, thread};

    use super::*;

    #[test]
    fn what_is_written_elsewhere_is_refused_and_reading_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("state"), folder.path().join("elsewhere"));
        for place in [&inside, &outside] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("file"), "before").unwrap();
        }
        // The rules hold for the thread alone.
        let confined = thread::spawn({
            let (inside, outside) = (inside.clone(), outside.clone());
            move || {
                let confined = confine(&[inside.clone(), PathBuf::from("/no/such/place")]).unwrap();
                if confined == Confined::Not {
                    // Said, not passed over: the kernel has nothing to be tested.
                    eprintln!("NOT TESTED: this kernel has no Landlock");
                    return confined;
                }
                assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "before");
                fs::write(inside.join("new"), "new").unwrap();
                fs::rename(inside.join("new"), inside.join("file")).unwrap();
                // And so it is for what it starts.
                let child = thread::spawn({
                    let outside = outside.clone();
                    move || fs::write(outside.join("file"), "after")
                });
                let refused = [
                    child.join().unwrap(),
                    fs::write(outside.join("file"), "after"),
                    fs::write(outside.join("new"), "new"),
                    fs::remove_file(outside.join("file")),
                    fs::create_dir(outside.join("folder")),
                    fs::rename(outside.join("file"), outside.join("other")),
                ];
                for (number, result) in refused.into_iter().enumerate() {
                    assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::PermissionDenied), "{number}");
                }
                confined
            }
        })
        .join()
        .unwrap();
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "before");
        if confined != Confined::Not {
            assert_eq!(fs::read_to_string(inside.join("file")).unwrap(), "new");
        }
        // Not for this one.
        fs::write(outside.join("file"), "after").unwrap();
    }

    #[test]
    fn the_agent_writes_beside_its_files() {
        let places =
            writable(Path::new("/s/state"), Path::new("/sys/fs/bpf/nodewall"), &["/var/log/nw/out.jsonl".into()]);
        for place in ["/s/state", "/sys/fs/bpf", "/var/log/nw", "/dev"] {
            assert!(places.contains(&place.into()), "{place}: {places:?}");
        }
        assert!(!places.contains(&"/s".into()) && !places.contains(&"/".into()));
    }
}
