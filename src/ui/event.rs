//! One line per event: what reads the agent's messages (journald, a log shipper) takes each line for a message. It must not choose what is logged.

use std::io::{self, Write};

/// Writes each event, which comes in one piece with its line's end, as one line. An error of several lines (a configuration's, with the picture of
/// the place) is joined, without the carets that point at nothing any more.
#[derive(Debug)]
pub struct OneLine<W>(pub W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let body = event.strip_suffix(b"\n").unwrap_or(event);
        if body.contains(&b'\n') {
            self.0.write_all(joined(&String::from_utf8_lossy(body)).as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn joined(body: &str) -> String {
    let is_caret = |line: &&str| !line.is_empty() && line.chars().all(|c| matches!(c, ' ' | '\t' | '|' | '^'));
    let lines: Vec<&str> = body.lines().filter(|line| !is_caret(line)).map(str::trim).collect();
    lines.join("; ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(event: &str) -> String {
        let mut out = OneLine(Vec::new());
        out.write_all(event.as_bytes()).unwrap();
        String::from_utf8(out.0).unwrap()
    }

    #[test]
    fn an_event_is_one_line() {
        assert_eq!(written("INFO  attached\n"), "INFO  attached\n");
        assert_eq!(
            written("ERROR refused: f:1:8: bad\n1 | mode = \"x\"\n  |        ^^^\n  = help: write \"audit\"\n"),
            "ERROR refused: f:1:8: bad; 1 | mode = \"x\"; = help: write \"audit\"\n"
        );
    }
}
