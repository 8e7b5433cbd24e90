//! The source `file` against real files.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use nodewall::peers::{FileSource, Source, sources};
use nodewall_policy::config::show;
use tempfile::TempDir;
use tokio::{
    join,
    time::{Instant, sleep},
};

struct Peers {
    directory: TempDir,
    source: FileSource,
}

impl Peers {
    fn new(text: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        let peers = Self { source: FileSource::new(&path), directory };
        peers.write(text);
        peers
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("peers")
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path(), text).unwrap();
        self.mode(0o644);
    }

    fn mode(&self, mode: u32) {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn read(&self) -> Result<Vec<String>, String> {
        let answer = self.source.read().map_err(|error| error.to_string())?;
        Ok(answer.peers.iter().map(show).collect())
    }

    /// Refused at this place, in these words.
    #[track_caller]
    fn refused(&self, place: &str, words: &str) {
        let error = self.read().unwrap_err();
        let expected = format!("{}{place}: ", self.path().display());
        assert!(error.starts_with(&expected) && error.contains(words), "expected {expected}…{words} in {error}");
    }
}

#[test]
fn one_address_a_line_with_comments_and_blank_lines() {
    let peers =
        Peers::new("# the cluster\n\n10.0.0.1\n  10.0.0.2  # node 2\r\n\t2001:db8:1::/64\n10.0.0.1\n10.1.0.0/16");
    assert_eq!(peers.read().unwrap(), ["10.0.0.1", "10.0.0.2", "10.1.0.0/16", "2001:db8:1::/64"]);
    // As Windows' editors and PowerShell's `-Encoding utf8` begin a file; nothing else of the kind is let in.
    peers.write("\u{feff}10.0.0.1\r\n10.0.0.2\r\n");
    assert_eq!(peers.read().unwrap(), ["10.0.0.1", "10.0.0.2"]);
    peers.write("10.0.0.1\n\u{feff}10.0.0.2\n");
    peers.refused(":2:1", "is not an address");
}

#[test]
fn a_bad_line_refuses_the_whole_file_and_is_named() {
    for (line, column, bad, words) in [
        (2, 1, "10.0.0", "is not an address or prefix"),
        (2, 3, "  node1.example # its name", "\"node1.example\" is not an address"),
        (2, 1, "10.0.0.5/24", "expected \"10.0.0.0/24\""),
        (2, 1, "0.0.0.0/0", "would make every address a peer"),
        (2, 1, "::/0", "would make every address a peer"),
        (2, 1, "10.0.0.0/7", "too wide"),
        (2, 1, "127.0.0.1", "loopback"),
        (2, 1, "::ffff:10.0.0.1", "IPv4-mapped"),
        (2, 1, "10.0.0.1 10.0.0.2", "is not an address or prefix"),
        (2, 1, "10.0.0.1:9042", "leave out the port"),
    ] {
        Peers::new(format!("10.0.0.1\n{bad}\n10.0.0.3\n")).refused(&format!(":{line}:{column}"), words);
    }
    let many: String = (0..16_385_u32).map(|n| format!("10.1.{}.{}\n", n >> 8, n & 255)).collect();
    Peers::new(many).refused(":16385:1", "at most 16384 addresses");
}

#[test]
fn a_file_that_names_nobody_or_is_no_text_is_refused() {
    Peers::new("").refused("", "names no peer");
    Peers::new("# 10.0.0.1\n\n").refused("", "names no peer");
    Peers::new(b"10.0.0.1\n\xff\n").refused("", "invalid byte in line 2");
    Peers::new(vec![b'#'; (4 << 20) + 1]).refused("", "is larger than 4194304 bytes");
    let peers = Peers::new("10.0.0.1\n");
    fs::remove_file(peers.path()).unwrap();
    peers.refused("", "take `file` out of [peers]");
    fs::create_dir(peers.path()).unwrap();
    peers.refused("", "is not a regular file");
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    let peers = Peers::new("10.0.0.1\n");
    for mode in [0o664, 0o646, 0o666] {
        peers.mode(mode);
        peers.refused("", "can be written by others");
    }
    peers.mode(0o600);
    assert_eq!(peers.read().unwrap(), ["10.0.0.1"]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(peers.path(), Some(65_534), None).unwrap();
        peers.refused("", "is owned by user 65534");
    }
}

#[test]
fn a_change_shows_also_when_the_file_is_replaced_by_rename() {
    let peers = Peers::new("10.0.0.1\n");
    let before = peers.source.stamp().unwrap();
    assert_eq!(peers.source.stamp(), Some(before.clone()));
    let new = peers.directory.path().join("new");
    fs::write(&new, "10.0.0.2\n").unwrap();
    // As old as the first one, to the nanosecond, and as long.
    let time = fs::metadata(peers.path()).unwrap().modified().unwrap();
    fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
    fs::rename(&new, peers.path()).unwrap();
    let renamed = peers.source.stamp().unwrap();
    assert_ne!(renamed, before);
    peers.write("10.0.0.2\n10.0.0.3\n");
    assert_ne!(peers.source.stamp(), Some(renamed));
    fs::remove_file(peers.path()).unwrap();
    assert_eq!(peers.source.stamp(), None);
}

#[test]
fn a_file_that_is_being_written_is_read_when_it_is_whole() {
    let mut peers = Peers::new("10.0.0.1\n10.0.0.2\n10.0.0.3\n");
    let path = peers.path();
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"10.0.0.1\n10.0").unwrap();
    // By a clock that goes on when everybody waits for it, and not by this machine's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut fetch = || {
        runtime.block_on(async {
            let asked = Instant::now();
            let writes = async {
                sleep(Duration::from_millis(100)).await;
                file.write_all(b".0.2\n10.0.0.4\n").unwrap();
            };
            let fetched = async { (peers.source.fetch().await.unwrap(), asked.elapsed()) };
            join!(fetched, writes).0
        })
    };
    let (answer, took) = fetch();
    assert!(took > Duration::from_millis(150), "{took:?}");
    assert_eq!(answer.peers.iter().map(show).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.2", "10.0.0.4"]);
    // An old file is not waited for.
    let old = SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    assert_eq!(fetch().1, Duration::ZERO);
}

#[test]
fn the_configuration_makes_the_source() {
    let peers = Peers::new("10.0.0.1\n");
    let text = format!("[peers]\nfile = {:?}\n", peers.path());
    let config = nodewall_policy::config::Config::parse(&text, "nodewall.toml").unwrap();
    let mut made = sources(&config);
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].name().as_str(), format!("file:{}", peers.path().display()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(made[0].fetch()).unwrap();
    assert_eq!((answer.peers.len(), answer.valid_for), (1, None));
}

/// What is told of a source is kept, listed and logged: a line of a megabyte is told by its beginning and its end.
#[test]
fn a_line_of_a_megabyte_is_told_in_one_that_fits() {
    let peers = Peers::new(format!("10.0.0.1\n{}\n", "x".repeat(1 << 20)));
    peers.refused(":2:1", "is not an address");
    let error = peers.read().unwrap_err();
    assert!(error.len() < 1_500 && error.contains("characters…]"), "{} bytes", error.len());
}
