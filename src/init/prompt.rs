//! Questions to a person at a terminal. Owns how a question looks and what an answer may be; must not know what is asked.

use std::{
    io::{self, BufRead, IsTerminal},
    os::fd::AsFd as _,
};

use nodewall_text::out::{Part, stderr};

/// Somebody who can be asked.
pub trait Prompt {
    /// Shows text, then the question, and takes an answer without its line end.
    ///
    /// # Errors
    /// When nobody answers any more.
    fn ask(&mut self, question: &str) -> io::Result<String>;

    /// Shows text.
    fn tell(&mut self, text: &str);

    /// A question until the answer can be read. An empty answer is `default`.
    fn until<T>(
        &mut self,
        question: &str,
        default: Option<T>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> io::Result<T>
    where
        Self: Sized,
        T: Clone,
    {
        loop {
            let answer = self.ask(question)?;
            match (answer.trim(), &default) {
                ("", Some(default)) => return Ok(default.clone()),
                (answer, _) => match read(answer) {
                    Ok(value) => return Ok(value),
                    Err(problem) => self.tell(&format!("  {problem}")),
                },
            }
        }
    }

    /// Yes or no.
    fn yes(&mut self, question: &str, default: bool) -> io::Result<bool>
    where
        Self: Sized,
    {
        let shown = if default { "[Y/n]" } else { "[y/N]" };
        self.until(&format!("{question} {shown} "), Some(default), |answer| match answer.to_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("expected y or n".to_owned()),
        })
    }
}

/// The terminal that this process has, where it has one. Questions go to standard error: standard output is for the result.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// `None`: nobody is there to be asked.
    pub fn open() -> Option<Self> {
        (io::stdin().is_terminal() && stderr().as_fd().is_terminal()).then_some(Self(()))
    }
}

impl Prompt for Terminal {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        stderr().write(&[Part::Text(question)])?;
        let mut answer = String::new();
        if io::stdin().lock().read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
    }

    fn tell(&mut self, text: &str) {
        for line in text.lines() {
            // A terminal that went away is noticed by the next question.
            let _ = stderr().line(line);
        }
    }
}
