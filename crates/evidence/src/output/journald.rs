//! Lines into the system's journal, by its native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`): one datagram an entry.

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use super::message::{Message, Output, SendError};

pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// Another than the agent's own messages have, which are no JSON.
const IDENTIFIER: &str = "nodewall-evidence";

pub(super) struct Journald {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journald {
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), socket: None }
    }
}

impl Output for Journald {
    fn send(&mut self, message: &Message) -> Result<(), SendError> {
        let Message::Record { is_loss, line, .. } = message else { return Ok(()) };
        let priority = if *is_loss { 4 } else { 5 };
        // A line has no end of line in it, so no value needs its length.
        let entry = format!("MESSAGE={line}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER={IDENTIFIER}\n");
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(UnixDatagram::unbound()?),
        };
        match socket.send_to(entry.as_bytes(), &self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Err(SendError::Never(io::Error::new(
                error.kind(),
                format!("a line of {} bytes is more than the journal takes at once", line.len()),
            ))),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", self.path.display())).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_datagram_with_its_fields_on_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let mut output = Journald::at(&path);
        let message = Message::Record { unix_ns: 0, is_loss: false, line: "{\"a\":1}".into() };
        assert!(matches!(output.send(&message), Err(SendError::Later(_))), "nobody is there yet");
        let journal = UnixDatagram::bind(&path).unwrap();
        assert!(output.send(&message).is_ok());
        let mut entry = [0; 200];
        let length = journal.recv(&mut entry).unwrap();
        let expected: &[u8] = b"MESSAGE={\"a\":1}\nPRIORITY=5\nSYSLOG_IDENTIFIER=nodewall-evidence\n";
        assert_eq!(entry.get(..length), Some(expected));
        let huge = Message::Record { unix_ns: 0, is_loss: false, line: "x".repeat(8 << 20).into() };
        assert!(matches!(output.send(&huge), Err(SendError::Never(_))));
    }
}
