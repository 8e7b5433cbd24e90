//! A real terminal: tmux runs a command in the node's namespace, types keys and reads the screen. It must not know what is run.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use nodewall_testbed::{cleanup, eventually_or, run_to_end};

use super::node::{Node, PATIENCE};

/// A tmux server of its own, in the node's namespace. It and what it runs end when this is dropped, or at a signal.
pub(super) struct Screen<'a> {
    node: &'a Node,
    socket: String,
    _end: cleanup::Guard,
}

impl<'a> Screen<'a> {
    pub(super) fn start(node: &'a Node, command: &Command) -> Self {
        // One of its own: a server that is told to end still has its socket for a while.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let socket = node.directories.state_dir().join(format!("tmux-{number}")).to_string_lossy().into_owned();
        let kill = socket.clone();
        let end = cleanup::guard(move || {
            let _ = Command::new("tmux").args(["-S", &kill, "kill-server"]).output();
        });
        let set = command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        let set: String = set.map(|(name, value)| format!("{name}='{value}' ")).collect();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
        let screen = Self { node, socket, _end: end };
        // A shell around it, so that the screen that it leaves behind can be looked at.
        let line = format!("{set}{line}; echo ended with $?; exec sleep 60");
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", &line]);
        screen
    }

    pub(super) fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = self.node.netns().command("tmux");
        command.arg("-S").arg(&self.socket).args(arguments).env_remove("TMUX").env("TERM", "xterm-256color");
        let finished = run_to_end("tmux", command, PATIENCE).unwrap();
        assert!(finished.status.success(), "{finished:?}");
        finished.stdout
    }

    pub(super) fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    pub(super) fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    pub(super) fn shows(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let missed = || format!("the screen shows {what}; it shows:\n{}", self.text());
        eventually_or(missed, || Some(self.text()).filter(|text| is_so(text)))
    }
}
