//! Who gave a command: for the journal. Reads this process's own facts only.

use std::{ffi::CStr, fs, io};

use nodewall_text::out::{stderr, stdout};
use rustix::termios::ttyname;
use serde::{Deserialize, Serialize};

/// The kernel's "never logged in".
const NO_LOGIN: &str = "4294967295";

/// Who gave a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Effective user.
    pub uid: u32,
    /// The user that logged in, whatever `sudo` or `su` made of them since (audit's login uid).
    pub login_uid: Option<u32>,
    /// The user that `sudo` was called by, as it says.
    pub sudo_user: Option<String>,
    /// The terminal, if the command has one.
    pub tty: Option<String>,
    /// Process id.
    pub pid: u32,
    /// The command, without its flags' values.
    pub command: String,
}

impl Who {
    /// The caller of this process, for `command`.
    pub fn here(command: &str) -> Self {
        let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            login_uid: Some(login.trim()).filter(|uid| *uid != NO_LOGIN).and_then(|uid| uid.parse().ok()),
            sudo_user: std::env::var("SUDO_USER").ok(),
            tty: tty(),
            pid: std::process::id(),
            command: command.to_owned(),
        }
    }

    /// The user's name as people know it: `root`, or the number.
    pub fn user(&self) -> String {
        match (&self.sudo_user, self.uid) {
            (Some(user), _) => user.clone(),
            (None, 0) => "root".to_owned(),
            (None, uid) => format!("uid {uid}"),
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (uid {}", self.command, self.uid)?;
        if let Some(uid) = self.login_uid {
            write!(f, ", logged in as {uid}")?;
        }
        if let Some(user) = &self.sudo_user {
            write!(f, ", sudo by {user}")?;
        }
        if let Some(tty) = &self.tty {
            write!(f, ", {tty}")?;
        }
        f.write_str(")")
    }
}

/// Of whichever of the three standard descriptors is a terminal.
fn tty() -> Option<String> {
    let name = |result: Result<std::ffi::CString, _>| result.ok().map(|name| CStr::to_string_lossy(&name).into_owned());
    name(ttyname(io::stdin(), Vec::new()))
        .or_else(|| name(ttyname(stderr(), Vec::new())))
        .or_else(|| name(ttyname(stdout(), Vec::new())))
}
