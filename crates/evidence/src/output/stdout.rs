//! Lines on standard output: for containers, whose runtime keeps them.

use std::io::{self, Write as _};

use super::message::{Message, Output, SendError};

pub(super) struct Stdout;

impl Output for Stdout {
    fn send(&mut self, message: &Message) -> Result<(), SendError> {
        if let Message::Record { line, .. } = message {
            // In one piece: messages of others may stand between.
            io::stdout().lock().write_all(format!("{line}\n").as_bytes())?;
        }
        Ok(())
    }

    fn idle(&mut self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}
