//! Lines on standard output: for containers, whose runtime keeps them.

use std::io;

use nodewall_text::out;

use super::message::{Message, Output, SendError};

pub(super) struct Stdout;

impl Output for Stdout {
    fn send(&mut self, message: &Message) -> Result<(), SendError> {
        if let Message::Record { line, .. } = message {
            out::stdout().line(line)?;
        }
        Ok(())
    }

    fn idle(&mut self) -> io::Result<()> {
        out::stdout().flush()
    }
}
