//! A node's shell, to which nodewall, its configuration, its state and its pins are at their usual places; the machine's own stay as they are. It must not know
//! what is typed there.

use std::process::Command;

use nodewall_testbed::{Finished, Process, find_tool, run_to_end};

use super::node::{Node, PATIENCE};
use crate::binary::executable;

/// Pins are on the machine's one bpf file system, as they must be. `root` is a chroot as they are made: the host's file systems are in it.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs none "$1"
layer() {
    mkdir -p "$1/upper" "$1/work" "$3"
    mount -t overlay none -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$3"
}
layer "$1/all" / "$1/root"
for place in etc usr/local usr/share var/lib; do
    layer "$1/$place" "/$place" "/$place"
done
mount -t tmpfs none /run
mkdir -p /run/systemd/system "$2" /usr/share/nodewall "$1/here"
mount --bind "$2" /sys/fs/bpf
: >/usr/local/bin/nodewall
mount --bind "$3" /usr/local/bin/nodewall
cp -r "$4/." /usr/share/nodewall
for place in proc sys run etc usr/local usr/share var/lib; do
    mkdir -p "$1/root/$place"
    mount --rbind "/$place" "$1/root/$place"
done
echo ready
exec sleep infinity
"#;

pub(super) struct Places {
    /// Holds the mounts.
    holder: Process,
    folder: tempfile::TempDir,
}

impl Places {
    pub(super) fn new(node: &Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(find_tool("unshare").unwrap());
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
        command.arg(folder.path()).arg(node.directories.pins()).arg(executable());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging"));
        let holder = Process::spawn("mounts", command).unwrap();
        holder.wait_for_line(PATIENCE, |line| line == "ready").unwrap();
        Self { holder, folder }
    }

    /// A line as a shell of the node takes it, in a folder that is empty at first.
    pub(super) fn shell(&self, node: &Node, line: &str) -> Command {
        let mut command = node.netns().command(find_tool("nsenter").unwrap());
        command.args(["--mount", "--target"]).arg(self.holder.id().to_string());
        command.args(["bash", "-o", "pipefail", "-c"]);
        command.arg(format!("cd {}/here && {line}", self.folder.path().display()));
        command.env("PATH", format!("/usr/local/bin:{}", std::env::var("PATH").unwrap())).env("PAGER", "cat");
        command
    }

    pub(super) fn run(&self, node: &Node, line: &str) -> Finished {
        run_to_end(line, self.shell(node, line), PATIENCE).unwrap()
    }

    /// The same in the chroot.
    pub(super) fn run_in_chroot(&self, node: &Node, line: &str) -> Finished {
        self.run(node, &format!("chroot {}/root sh -c '{line}'", self.folder.path().display()))
    }
}
