//! The one way out to a terminal: what nodewall writes to standard output and standard error goes through here, or is a format of its own (a capture, a
//! page) that somebody sent there. Text is taken for a stranger's, always; what a terminal obeys can be written only as a [`Mark`] or a line's end.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, BufWriter, IsTerminal as _, StderrLock, StdoutLock, Write},
    os::fd::{AsFd, BorrowedFd},
};

use crate::escape::{fit, shown};

/// What the program itself says to a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Ends what the others began.
    Plain,
    /// Of less weight.
    Dim,
    /// A colour, as all that follow.
    Red,
    /// Green.
    Green,
    /// Yellow.
    Yellow,
    /// Blue.
    Blue,
    /// Magenta.
    Magenta,
    /// Back to the line's beginning.
    Return,
}

impl Mark {
    const fn bytes(self) -> &'static str {
        match self {
            Self::Plain => "\u{1b}[0m",
            Self::Dim => "\u{1b}[2m",
            Self::Red => "\u{1b}[31m",
            Self::Green => "\u{1b}[32m",
            Self::Yellow => "\u{1b}[33m",
            Self::Blue => "\u{1b}[34m",
            Self::Magenta => "\u{1b}[35m",
            Self::Return => "\r",
        }
    }
}

/// A part of what goes out.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Whoever wrote it.
    Text(&'a str),
    /// The program's own word.
    Mark(Mark),
    /// The end of a line.
    LineEnd,
}

/// A way out.
#[derive(Debug)]
pub struct Out<W>(W);

/// Standard output, until it is dropped.
#[expect(clippy::disallowed_methods, reason = "the gate itself")]
pub fn stdout() -> Out<StdoutLock<'static>> {
    Out(io::stdout().lock())
}

/// The same in large pieces: a system call for each line costs more than judging a frame.
pub fn buffered_stdout() -> Out<BufWriter<StdoutLock<'static>>> {
    Out(BufWriter::with_capacity(64 << 10, stdout().0))
}

/// Standard error, until it is dropped.
#[expect(clippy::disallowed_methods, reason = "the gate itself")]
pub fn stderr() -> Out<StderrLock<'static>> {
    Out(io::stderr().lock())
}

impl<W: Write> Out<W> {
    /// Writes the parts in one piece: messages of others may stand before and after, never between.
    pub fn write(&mut self, parts: &[Part<'_>]) -> io::Result<()> {
        let mut whole = String::new();
        for part in parts {
            match part {
                Part::Text(text) => whole.push_str(&shown(text)),
                Part::Mark(mark) => whole.push_str(mark.bytes()),
                Part::LineEnd => whole.push('\n'),
            }
        }
        self.0.write_all(whole.as_bytes())
    }

    /// Writes text as one line, whatever it holds.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.write(&[Part::Text(text), Part::LineEnd])
    }

    /// Sends out what is held back.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether colour belongs there: it is a terminal, and nobody asked for none (`NO_COLOR`).
pub fn takes_color(out: impl AsFd) -> bool {
    out.as_fd().is_terminal() && !no_color()
}

/// Whether somebody asked for none.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// For questions about where it leads, and for formats of their own.
impl AsFd for Out<StdoutLock<'_>> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Out<StderrLock<'_>> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// From here on a panic is told through the gate, too: its message may quote anything.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(|at| format!(" at {at}")).unwrap_or_default();
        let mut err = stderr();
        // Nobody may be there to read it.
        let _ = err.line(&fit(&format!("nodewall: panicked{at}: {}", panic.payload_as_str().unwrap_or("no message"))));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = trace.to_string().lines().try_for_each(|line| err.line(line));
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parts: &[Part<'_>]) -> String {
        let mut out = Out(Vec::new());
        out.write(parts).unwrap();
        String::from_utf8(out.0).unwrap()
    }

    #[test]
    fn a_sequence_passes_as_a_mark_and_never_as_text() {
        let same = "\u{1b}[31m";
        let parts =
            [Part::Mark(Mark::Red), Part::Text(same), Part::Text("a\r\nb"), Part::Mark(Mark::Return), Part::LineEnd];
        assert_eq!(written(&parts), "\u{1b}[31m\\u{1b}[31ma\\r\\nb\r\n");
    }

    #[test]
    fn a_panic_is_told_in_one_line() {
        const CHILD: &str = "NODEWALL_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            tell_panics();
            panic!("\u{1b}[31mhostile\u{202e}\nnodewall: all is well");
        }
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "out::tests::a_panic_is_told_in_one_line", "--nocapture"]).env(CHILD, "1");
        let told = String::from_utf8(again.env("RUST_BACKTRACE", "0").output().unwrap().stderr).unwrap();
        let line = told.lines().find(|line| line.contains("hostile")).unwrap();
        assert!(line.starts_with("nodewall: panicked at ") && line.ends_with("\\nnodewall: all is well"), "{told:?}");
        assert!(!told.contains(['\u{1b}', '\u{202e}']), "{told:?}");
    }
}
