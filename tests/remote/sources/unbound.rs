//! A real DNS server: Debian's unbound on a loopback address, with zones that a test writes and changes while it runs.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
};

use nodewall_testbed::{PATIENCE, Process, find_tool, run_to_end, until};
use tempfile::TempDir;

/// Runs until it is dropped.
pub(crate) struct Unbound {
    pub(crate) address: SocketAddr,
    file: PathBuf,
    _process: Process,
    _directory: TempDir,
}

impl Unbound {
    /// On a loopback address that nobody else has, so that its port is free, also when it comes back. `server`: lines of its `server:` section;
    /// `rest`: further sections.
    pub(crate) fn start(server: &str, rest: &str) -> Self {
        static STARTED: AtomicU8 = AtomicU8::new(1);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = SocketAddr::from(([127, number, high, low], 5353));
        let command = Command::new(find_tool("unbound").unwrap());
        Self::try_start(address, command, server, rest).expect("unbound does not start")
    }

    /// With a command that may enter a namespace first.
    pub(crate) fn try_start(address: SocketAddr, mut command: Command, server: &str, rest: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (file, control) = (directory.path().join("unbound.conf"), directory.path().join("control"));
        let text = format!(
            "server:\n  interface: {}\n  port: {}\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  use-syslog: no\n  \
             logfile: \"\"\n  verbosity: 1\n  num-threads: 1\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  directory: \"{}\"\n  \
             module-config: \"iterator\"\n  msg-buffer-size: 65552\n{server}\n\
             remote-control:\n  control-enable: yes\n  control-interface: \"{}\"\n  control-use-cert: no\n{rest}\n",
            address.ip(),
            address.port(),
            directory.path().display(),
            control.display(),
        );
        std::fs::write(&file, text).unwrap();
        command.args(["-d", "-p", "-c"]).arg(&file);
        let process = Process::spawn("unbound", command).unwrap();
        let started = process.wait_for_line(PATIENCE, |line| line.contains("start of service"));
        if let Err(error) = started {
            eprintln!("{error}\n{}", process.output());
            return None;
        }
        let unbound = Self { address, file, _process: process, _directory: directory };
        until("unbound-control is answered", || unbound.try_control(&["status"]).is_ok());
        Some(unbound)
    }

    /// Changes what it answers from now on.
    pub(crate) fn control(&self, words: &[&str]) -> String {
        self.try_control(words).unwrap()
    }

    fn try_control(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(find_tool("unbound-control").unwrap());
        command.arg("-c").arg(&self.file).args(words);
        let finished = run_to_end("unbound-control", command, PATIENCE).map_err(|error| error.to_string())?;
        if finished.status.success() { Ok(finished.stdout) } else { Err(finished.stderr) }
    }

    /// How many questions came by TCP.
    pub(crate) fn asked_by_tcp(&self) -> u32 {
        let text = self.control(&["stats_noreset"]);
        let line = text.lines().find_map(|line| line.strip_prefix("num.query.tcp=")).expect("extended-statistics: yes");
        line.parse().unwrap()
    }
}
